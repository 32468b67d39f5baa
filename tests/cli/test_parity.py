"""`seawall parity` on a run of real processes: with a ban, killed, gone on, and stopped."""

import re
import signal
from pathlib import Path

import pytest

from tests.cli.processes import Running, Shell, assert_one_line
from tests.node.crash import SETTINGS


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "seawall.toml").write_text(SETTINGS)
    return Shell(tmp_path)


def orders(shell: Shell) -> int:
    """Bytes of the exchange's log: it grows with each order."""
    log = shell.folder / "seawall-data" / "simulated" / "venue.log"
    return log.stat().st_size if log.exists() else 0


def trading(shell: Shell, node: Running, more: int) -> None:
    """Wait until the exchange has heard some more."""
    goal = orders(shell) + more
    node.until(lambda: orders(shell) >= goal, f"{more} bytes of orders")


@pytest.mark.slow
def test_a_run_that_was_killed_and_stopped_is_the_same(shell: Shell) -> None:
    start = ("run", "--feed", "simulated", "--seed", "5", "--port", "0")
    with shell.start(*start) as node:
        node.said("dashboard: http")
        found = re.search(r"dashboard: (http\S+)", node.out)
        assert found
        trading(shell, node, 5_000)
        banned = shell("provenance", "ban", "sim-c", "--url", found[1])
        assert banned.code == 0, banned.err
        trading(shell, node, 5_000)
        node.signal(signal.SIGKILL)
        node.process.wait()
    with shell.start(*start, "--flatten") as node:
        node.said("sim-c is banned since an earlier run")
        trading(shell, node, 5_000)
        node.signal(signal.SIGTERM)
        assert node.end().code == 0

    ended = shell("parity", "seawall-data/simulated", "--json")
    assert (ended.code, ended.err) == (0, "")
    real, modelled = ended.json["real"], ended.json["modelled"]
    assert real["identical"] is True
    assert real["head"] == real["replayed"]
    assert [life["rows"] for life in real["lives"]] == [life["of"] for life in real["lives"]]
    assert len(real["lives"]) == 2
    assert modelled["recorded"]["fills"] > 8
    assert modelled["matched"] > 8
    # the same exchange in the same market: what it says comes from orders and rows alone
    assert modelled["equal"] == modelled["matched"]

    (shell.folder / "slow.toml").write_text("[venue]\nentry_latency_ms = 200\n")
    words = shell("parity", "seawall-data/simulated", "--model", "slow.toml")
    assert words.code == 0
    assert words.out.startswith(f"identical: {real['rows']:,} rows of the journal, hash ")
    assert re.search(r"latency +[+-][\d.,]+ USD", words.out)
    assert shell.hosts_asked == []


def test_no_run_there(shell: Shell) -> None:
    ended = shell("parity", "nowhere")
    assert_one_line(ended, 3, "nowhere", "journal.sqlite", "seawall-data/simulated")
