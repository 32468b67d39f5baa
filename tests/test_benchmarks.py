"""The benchmarks run, say what they measured, and show a floor that is missed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import report
from benchmarks.measure import Bench, Floor, Result, alternate, figure, same
from seawall.core.clock import SECOND
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import write_tape
from tests.tapes import COMPILED, START

FAST = Floor(5e6, "the issue")
FAR = Floor(40e6, "the design")
SHORT = Floor(20, "the design", at_least=False)


def result(*values: float, floors: tuple[Floor, ...] = (), note: str = "") -> Result:
    return Result("group", "a thing", "a tape", "rows/s", values, 1e6, floors, note)


@pytest.mark.skipif(not COMPILED, reason="the times of interpreted kernels say nothing")
def test_everything_is_measured_on_a_tiny_tape(tmp_path: Path) -> None:
    market = SimulatedMarket(3, START)
    write_tape(tmp_path / "tiny", market.catalog, market.record(5 * SECOND))
    before = report.TARGET.read_bytes() if report.TARGET.exists() else None
    flags = ["--quick", "--runs", "1", "--no-write", "--tape", str(tmp_path / "tiny")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *flags],
        cwd=report.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    groups = [line.strip("[]") for line in lines if line.startswith("[")]
    assert groups == [name for name in benchmarks.GROUPS if name not in benchmarks.SLOW]
    journals = [line.split("journal ")[-1] for line in lines if line.startswith("whole node, fr")]
    assert journals[0] == journals[1] != journals[2] == journals[3], "memory and disk: same results"
    assert any("as before" in line for line in lines if line.startswith("recovery"))
    assert "DIFFERS" not in done.stdout
    assert "NOT AS BEFORE" not in done.stdout
    assert str(tmp_path) not in done.stdout
    assert (report.TARGET.read_bytes() if report.TARGET.exists() else None) == before


def test_a_missed_floor_is_shown_plainly() -> None:
    reached = result(4e6, 6.84e6, 9e6, floors=(FAST, FAR))
    page = report.markdown([reached, result(12, 30, 14, floors=(SHORT,))], "make", [])
    assert "| 6.84 M | 4.00 M | 9.00 M | rows/s | 1.00 M | 3 |" in page
    assert "≥ 5.00 M (the issue), ≥ 40.0 M (the design) | met, **NOT MET** |" in page
    assert "≤ 20.0 (the design) | met |" in page
    assert "1 of 2 measurements with a floor keep all their floors." in page
    assert "NOT MET" in report.line(reached)


def test_a_run_with_other_results_is_shown() -> None:
    assert same("journal", ["a" * 64, "a" * 64]) == f"journal {'a' * 12}"
    assert "DIFFERS" in same("journal", ["a" * 64, "b" * 64])


def test_only_the_work_is_timed() -> None:
    order: list[str] = []

    def prepare() -> str:
        order.append("prepare")
        return "ready"

    def work(given: str) -> str:
        order.append(given)
        return "done"

    def outcome(done: str) -> int:
        order.append(done)
        return len(order)

    first, second = alternate(2, (prepare, work, outcome), (prepare, work, outcome))
    assert order == ["prepare", "ready", "done"] * 4
    assert (first.outcomes, second.outcomes) == ([3, 9], [6, 12]), "turn and turn about"
    assert len(first.wall) == len(second.cpu) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(6.84e6, "6.84 M"), (24_660, "24.7 k"), (999.9, "1.00 k"), (0.0312, "0.0312"), (150, "150")],
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert figure(value) == text


def test_the_page_is_written_whole_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one(bench: Bench) -> Iterator[Result]:
        yield result(*[1.0] * bench.runs, floors=(FAST,), note="hash abc")

    target = tmp_path / "RESULTS.md"
    monkeypatch.setattr(report, "TARGET", target)
    monkeypatch.setattr(benchmarks, "GROUPS", {"one": one})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--tape", str(tmp_path / "night"), "--runs=2"])
    assert benchmarks.main(["--runs", "2", "--no-write"]) == 0
    assert benchmarks.main(["--only", "one"]) == 0
    assert not target.exists(), "a part is no report"
    assert benchmarks.main(["--runs", "2"]) == 0
    page = target.read_text()
    assert "`python -m benchmarks --tape night --runs=2`" in page
    assert "| hash abc |" in page
    assert str(tmp_path) not in page
    assert "written to RESULTS.md" in capsys.readouterr().out


def test_a_tape_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmarks.main(["--only", "tape", "--tape", str(tmp_path / "none"), "--quick"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("benchmarks: ")
    assert captured.err.count("\n") == 1
