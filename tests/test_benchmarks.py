"""The benchmarks run, say what they measured, and show a floor that is missed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import kept, report
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
    before = report.TARGET.read_bytes(), kept.TARGET.read_bytes()
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
    assert (report.TARGET.read_bytes(), kept.TARGET.read_bytes()) == before


def measured(*results: Result, **facts: str) -> kept.Measured:
    return kept.Measured(facts={"machine": "a small one", **facts}, results=list(results))


def test_a_missed_floor_is_shown_plainly() -> None:
    reached = result(4e6, 6.84e6, 9e6, floors=(FAST, FAR))
    page = report.markdown({"group": measured(reached, result(12, 30, 14, floors=(SHORT,)))})
    assert "| 6.84 M | 4.00 M | 9.00 M | rows/s | 1.00 M | 3 |" in page
    assert "≥ 5.00 M (the issue), ≥ 40.0 M (the design) | met, **NOT MET** |" in page
    assert "≤ 20.0 (the design) | met |" in page
    assert "1 of 2 measurements with a floor keep all their floors." in page
    assert "NOT MET" in report.line(reached)


def test_each_group_says_what_it_does_not_share_with_the_others() -> None:
    one, other = measured(result(1), commit="abc"), measured(result(2), commit="def")
    page = report.markdown({"one": one, "other": other})
    assert page.count("- machine: a small one") == 1
    assert "## one\n\ncommit: abc\n\n|" in page
    assert "## other\n\ncommit: def\n\n|" in page
    assert "- commit: abc" in report.markdown({"one": one, "again": one})


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


def test_a_group_can_be_measured_again_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "hash abc"

    def one(bench: Bench) -> Iterator[Result]:
        yield result(*[1.0] * bench.runs, floors=(FAST,), note=note)

    def other(bench: Bench) -> Iterator[Result]:
        yield result(*[2.0] * bench.runs, note="hash other")

    target, data = tmp_path / "RESULTS.md", tmp_path / "results.json"
    monkeypatch.setattr(report, "TARGET", target)
    monkeypatch.setattr(kept, "TARGET", data)
    monkeypatch.setattr(benchmarks, "GROUPS", {"one": one, "other": other})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--name", str(tmp_path / "night"), "--runs=2"])
    for silent in (["--no-write"], ["--quick"], ["--tape", str(tmp_path)]):
        assert benchmarks.main(["--runs", "2", *silent]) == 0
        assert not any(tmp_path.iterdir()), silent
    assert benchmarks.main(["--runs", "2"]) == 0
    page = target.read_text()
    assert "`python -m benchmarks --name night --runs=2`" in page
    assert "| hash abc |" in page
    assert str(tmp_path) not in page
    assert "written to RESULTS.md" in capsys.readouterr().out
    before, note = kept.load(data), "hash xyz"
    assert list(before) == ["one", "other"]
    assert benchmarks.main(["--only", "one", "--runs", "3"]) == 0
    page = target.read_text()
    assert "hash abc" not in page
    assert page.index("| 3 | ≥ 5.00 M (the issue) | **NOT MET** | hash xyz |") < page.index(
        "## other"
    )
    assert kept.load(data)["other"] == before["other"], "as it was"
    assert page == report.markdown(kept.load(data)), "the page is made of the data alone"
    monkeypatch.setattr(benchmarks, "GROUPS", {"other": other})
    assert benchmarks.main(["--only", "other"]) == 0
    assert list(kept.load(data)) == ["other"], "a group that is no more is dropped"


def test_the_page_is_that_of_the_data() -> None:
    assert report.TARGET.read_text() == report.markdown(kept.load(kept.TARGET))


def test_damaged_data_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kept, "TARGET", tmp_path / "results.json")
    monkeypatch.setattr(benchmarks, "GROUPS", {"one": lambda bench: iter([result(1.0)])})
    kept.TARGET.write_text('{"one": {"fa')
    assert benchmarks.main(["--only", "one"]) == 1
    assert capsys.readouterr().err.startswith("benchmarks: results.json: ")


def test_a_tape_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmarks.main(["--only", "tape", "--tape", str(tmp_path / "none"), "--quick"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("benchmarks: ")
    assert captured.err.count("\n") == 1
