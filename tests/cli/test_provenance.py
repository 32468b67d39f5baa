"""`seawall provenance` and `seawall calibrate` as an operator uses them: real processes."""

from pathlib import Path

import httpx
import pytest

from seawall.core.clock import SECOND
from seawall.core.records import AnyRecord, OperatorCommanded, SourceJudged
from seawall.core.verdicts import Standing
from seawall.ingestion.simulated import MarketShape, SimulatedMarket
from seawall.ingestion.tape import write_tape
from seawall.storage.journal import JournalReader
from tests.cli.processes import LIVELY, Shell
from tests.cli.test_run import address, trading

RUN = ("run", "--feed", "simulated", "--port", "0", "--data-dir", "data", "--hostile", "none")
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "seawall.toml").write_text(LIVELY)
    return Shell(tmp_path)


def journal(shell: Shell) -> list[AnyRecord]:
    reader = JournalReader(shell.folder / "data" / "simulated" / "journal.sqlite")
    try:
        return [record for _, record in reader.read()]
    finally:
        reader.close()


def test_an_operator_asks_bans_and_lets_in(shell: Shell) -> None:
    with shell.start(*RUN) as node:
        trading(node)
        url = ("--url", address(node))
        asked = shell("provenance", "certificate", *url)
        assert (asked.code, asked.err) == (0, "")
        assert "BTC: an attacker who owns 1 of 5 sources can have moved the model by" in asked.out
        assert shell("provenance", "influences", "--json", *url).json["groups"].keys() == {
            "BTC",
            "ETH",
        }
        quiet = shell("provenance", "suspicious", *url)
        assert quiet.out == "nothing speaks against any source\n"

        stranger = shell("provenance", "ban", "sim-e", *url, "--data-dir", "elsewhere")
        assert stranger.code == 2
        assert "no operator's token in elsewhere" in stranger.err
        unknown = shell("provenance", "ban", "sim-z", *url, "--data-dir", "data")
        assert (unknown.code, unknown.err.count("\n")) == (3, 1)
        assert "there is no source sim-z" in unknown.err

        banned = shell("provenance", "ban", "sim-e", "sim-d", *url, "--data-dir", "data")
        assert banned.out == "told the node: ban sim-e\ntold the node: ban sim-d\n"

        def standings() -> dict[str, str]:
            place = f"{address(node)}/api/provenance/suspicious"
            told = httpx.get(place, trust_env=False, timeout=30).json()["sources"]
            return {source["name"]: source["standing"] for source in told}

        both = {"sim-d": "banned", "sim-e": "banned"}
        node.until(lambda: standings() == both, "two bans")
        table = shell("provenance", "suspicious", *url).out
        assert "banned by operator" in " ".join(table.split())
        shell("provenance", "unban", "sim-d", *url, "--data-dir", "data")
        node.until(lambda: standings()["sim-d"] == "probation", "a probation")
    records = journal(shell)
    orders = [r for r in records if isinstance(r, OperatorCommanded)]
    assert [(r.command, r.arguments["source"], r.who) for r in orders] == [
        ("ban", "sim-e", "operator"),
        ("ban", "sim-d", "operator"),
        ("unban", "sim-d", "operator"),
    ]
    last = {r.source: r.standing for r in records if isinstance(r, SourceJudged)}
    assert (last["sim-e"], last["sim-d"]) == (Standing.BANNED, Standing.PROBATION)

    offline = ("--journal", "data/simulated/journal.sqlite", "--json")
    certificate = shell("provenance", "certificate", *offline)
    assert [g["name"] for g in certificate.json["groups"]] == ["BTC", "ETH"]
    terms = certificate.json["groups"][0]["certificate"]
    assert {"past", "sample", "decisions", "reference", "next_hour"} <= terms.keys()
    updates = shell("provenance", "log", *offline).json["updates"]
    assert updates[0]["ts"] >= updates[-1]["ts"]
    assert {u["decision"] for u in updates} <= {"learned", "frozen", "held"}


@pytest.mark.parametrize("verb", [("certificate",), ("suspicious",), ("log",), ("influences",)])
def test_where_nothing_runs_it_says_so_in_one_line(shell: Shell, verb: tuple[str, ...]) -> None:
    ended = shell("provenance", *verb, "--url", NOBODY)
    assert (ended.code, ended.out) == (4, "")
    assert ended.err == (
        f"seawall: no node answers at {NOBODY}; start one with `seawall run`, or give the address "
        "that it says with --url\n"
    )


def test_a_journal_that_is_not_there(shell: Shell) -> None:
    ended = shell("provenance", "log", "--journal", "nothing.sqlite")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == "seawall: nothing.sqlite: there is no such journal\n"


def test_a_golden_set_is_made_used_and_refused_once_altered(shell: Shell) -> None:
    shape = MarketShape(outages_per_hour=0.0, jumps_per_hour=0.0)
    market = SimulatedMarket(7, 1_700_000_000 * SECOND, shape)
    write_tape(shell.folder / "tape", market.catalog, market.record(560 * SECOND))
    file = shell.folder / "data" / "simulated" / "reference.golden"
    make = ("calibrate", "reference", "tape", "--data-dir", "data", "--out", str(file), "--json")
    ended = shell(*make)
    assert (ended.code, ended.err) == (0, "")
    assert [one["group"] for one in ended.json["references"]] == ["BTC", "ETH"]
    assert all(not one["provisional"] for one in ended.json["references"])
    again = shell(*make)
    assert again.json["references"] == ended.json["references"]

    with shell.start(*RUN) as node:
        trading(node)
        asked = ("provenance", "certificate", "--json", "--url", address(node))
        names = {g["name"]: g["reference"]["name"] for g in shell(*asked).json["groups"]}
    assert names == {one["group"]: one["name"] for one in ended.json["references"]}

    bad = bytearray(file.read_bytes())
    bad[len(bad) // 2] ^= 1
    file.write_bytes(bytes(bad))
    refused = shell(*RUN, "--duration", "1")
    assert refused.code == 3
    assert refused.err.count("\n") == 1
    assert "was altered after it was signed" in refused.err


def test_a_tape_that_is_too_short_makes_no_golden_set(shell: Shell) -> None:
    market = SimulatedMarket(7, 1_700_000_000 * SECOND)
    write_tape(shell.folder / "tape", market.catalog, market.record(60 * SECOND))
    ended = shell("calibrate", "reference", "tape", "--data-dir", "data")
    assert (ended.code, ended.out) == (3, "")
    assert "rows, and 480 are needed; give a longer tape" in ended.err
    assert not (shell.folder / "reference.golden").exists()


def test_a_run_says_that_a_source_will_turn_hostile(shell: Shell) -> None:
    ended = shell(*RUN[:-2], "--duration", "1", "--no-dashboard")
    assert ended.code == 0
    (line,) = [line for line in ended.out.splitlines() if "hostile" in line]
    assert line.startswith("sim-e will turn hostile 60 s from now")
    wrong = shell(*RUN[:-1], "mean_shit", "--duration", "1", "--no-dashboard")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "there is no attack 'mean_shit'; did you mean mean_shift?" in wrong.err
