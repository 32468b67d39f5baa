"""`seawall simulate` as a person runs it."""

import json
import signal
import tempfile
from pathlib import Path

import pytest

from tests.cli.processes import Shell, assert_one_line


def test_seeds_pass_and_are_gone_on_with(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    first = shell("simulate", "--seeds", "2", "--faults", "venue,kill", "--resume", "soak.json")
    assert (first.code, first.err) == (0, "")
    assert "no check has failed" in first.out
    more = shell(
        "simulate", "--seeds", "3", "--faults", "venue,kill", "--resume", "soak.json", "--json"
    )
    assert more.json["result"]["seeds"] == 3
    assert more.json["result"]["failed"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_it_keeps_what_it_has_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    with tempfile.TemporaryDirectory() as short:  # a socket's address holds hundred letters
        scratch = Path(short)
        with Shell(tmp_path).start(
            *("simulate", "--jobs", "2", "--seeds", "9999", "--resume", "soak.json"),
            TMPDIR=short,
        ) as running:
            running.until(lambda: any(scratch.glob("seawall-simulate-*/*.npy")), "a market")
            running.signal(number)
            ended = running.end()
        assert (ended.code, "Traceback" in ended.err) == (130, False)
        assert json.loads((tmp_path / "soak.json").read_text())["from"] == 0
        assert list(scratch.iterdir()) == []


def test_one_seed_is_shown(tmp_path: Path) -> None:
    shown = Shell(tmp_path)("simulate", "--seed", "3", "--faults", "none", "--trace")
    assert shown.code == 0
    assert "venue.place simulated-3-1" in shown.out
    assert "no check has failed; journal " in shown.out


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert_one_line(shell("simulate", "--faults", "gaps"), 2, "there is no fault 'gaps'")
    assert_one_line(shell("simulate", "--trace"), 2, "name it with --seed")
    (tmp_path / "soak.json").write_text("{}")
    assert_one_line(shell("simulate", "--resume", "soak.json"), 3, "no progress of a simulation")


def test_one_seed_is_killed_at_some_calls(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    found = shell("simulate", "--seed", "1", "--kill-every", "400")
    assert (found.code, found.err) == (0, "")
    assert "of them and compared" in found.out
    assert "none differs from the node that lived on" in found.out
    assert_one_line(shell("simulate", "--kill-every", "9"), 2, "name it with --seed")
