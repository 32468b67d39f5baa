"""`seawall run` as a user runs it: real processes, the simulated market, no network at all."""

import re
import signal
from pathlib import Path

import httpx
import pytest

from seawall.core.clock import SECOND
from seawall.core.records import AnyRecord, RunStarted, RunStopped
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import open_tape, write_tape
from seawall.storage.journal import JournalReader
from tests.cli.processes import LIVELY, Running, Shell

RUN = (
    *("run", "--feed", "simulated", "--port", "0", "--data-dir", "data"),
    *("--hostile", "none"),
)
STOPS_WITHIN = 15.0  # seconds


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "seawall.toml").write_text(LIVELY)
    return Shell(tmp_path)


def address(node: Running) -> str:
    """Where its dashboard is, once it serves one."""
    node.said("dashboard: ")
    found = re.search(r"dashboard: (http://127\.0\.0\.1:\d+)", node.out + node.err)
    assert found
    return found[1]


def trading(node: Running) -> None:
    """Wait until it says so."""
    place = address(node)

    def it_is() -> bool:
        answer = httpx.get(f"{place}/api/health", trust_env=False, timeout=30)
        return bool(answer.json()["status"] == "trading")

    node.until(it_is, "trading")


def journal(shell: Shell) -> list[AnyRecord]:
    """Every record that the node has kept; the chain is checked on the way."""
    reader = JournalReader(shell.folder / "data" / "simulated" / "journal.sqlite")
    try:
        assert reader.verify() == reader.rows
        return [record for _, record in reader.read()]
    finally:
        reader.close()


def test_a_simulated_market_for_some_seconds(shell: Shell) -> None:
    ended = shell(*RUN, "--duration", "6")
    assert (ended.code, ended.err) == (0, "")
    dashboard, feed, traded, stopped, *summary = ended.out.splitlines()
    assert dashboard.startswith("dashboard: http://127.0.0.1:")
    assert feed == "simulated market: chosen by --feed simulated"
    assert traded == "trading"
    assert stopped.startswith("stopped: 20")
    assert [line.split()[0] for line in summary[:3]] == ["equity", "realised", "fills"]
    assert "nan" not in ended.out
    assert shell.hosts_asked == []
    records = journal(shell)
    assert isinstance(records[0], RunStarted)
    assert isinstance(records[-1], RunStopped)
    assert records[-1].reason == "6 s are over"
    (tape,) = (shell.folder / "data" / "simulated").glob("tape-*")
    recorded = open_tape(tape)
    assert recorded.rows > 1_000
    assert recorded.torn == 0


def test_auto_without_a_network_says_why_it_is_simulated(shell: Shell) -> None:
    ended = shell("run", "--no-dashboard", "--data-dir", "data", "--duration", "1")
    assert (ended.code, ended.err) == (0, "")
    (line,) = [line for line in ended.out.splitlines() if "simulated" in line]
    assert line.startswith("simulated market: no exchange answered within 5 s (binance, ")
    assert shell.hosts_asked  # it has tried; the test held it back


def test_a_run_that_ends_before_the_market_says_so(shell: Shell) -> None:
    ended = shell(*RUN[:3], "--no-dashboard", "--data-dir", "data", "--duration", "0")
    assert (ended.code, ended.err) == (0, "")
    assert "nan" not in ended.out
    assert "1970" not in ended.out
    assert "stopped: before the first market data" in ended.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_in_order_and_a_restart_goes_on(
    shell: Shell, number: signal.Signals
) -> None:
    with shell.start(*RUN, "--json") as node:
        trading(node)
        node.signal(number)
        ended = node.end(STOPS_WITHIN)
    assert ended.code == 0
    first = ended.json
    assert first["open_orders"] == []
    assert first["rows"] > 0
    assert re.fullmatch(r"dashboard: .*\nsimulated market: .*\ntrading\n", ended.err)
    before = journal(shell)
    assert len(before) == first["journal_rows"]
    assert isinstance(before[-1], RunStopped)
    assert before[-1].reason == number.name

    again = shell(*RUN, "--json", "--duration", "4")
    assert again.code == 0
    second = again.json
    after = journal(shell)
    assert len(after) == second["journal_rows"] > len(before)
    assert after[: len(before)] == before
    runs = [record.run for record in after if isinstance(record, RunStarted)]
    assert runs == [first["run"], second["run"]]
    assert second["started"] > first["ended"]
    (tape,) = (shell.folder / "data" / "simulated").glob("tape-*")
    assert open_tape(tape).rows > first["rows"]


def test_a_second_signal_leaves_at_once_and_costs_nothing(shell: Shell) -> None:
    """Ctrl-C twice is impatience: what was journaled stays, and the next run takes it up."""
    with shell.start(*RUN) as node:
        trading(node)
        node.signal(signal.SIGINT)
        node.signal(signal.SIGINT)
        assert node.end(STOPS_WITHIN).code in (0, 130)  # 0: it had stopped already
    assert shell(*RUN, "--duration", "2").code == 0
    journal(shell)


def test_a_replay_is_the_same_at_any_pace(shell: Shell) -> None:
    market = SimulatedMarket(7, 1_700_000_000 * SECOND)
    write_tape(shell.folder / "tape", market.catalog, market.record(60 * SECOND))
    run = ("run", "--feed", "replay", "--tape", "tape", "--no-dashboard", "--json", "--speed")
    fastest = shell(*run, "max")
    paced = shell(*run, "30")
    assert (fastest.code, fastest.err) == (0, "replay of tape as fast as possible\n")
    assert (paced.code, paced.err) == (0, "replay of tape at 30 x real time\n")
    assert paced.seconds >= 2.0  # 60 s of tape
    assert fastest.json == paced.json  # the journal's hash is in it
    assert fastest.json["fills"] > 0
    assert shell.hosts_asked == []
    assert not (shell.folder / "seawall-data").exists()  # a replay records nothing
