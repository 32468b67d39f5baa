"""`seawall backtest` in processes of its own: the same tape, the same journal, byte for byte."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seawall.core.clock import SECOND
from seawall.core.records import RunStarted, RunStopped
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import write_tape
from seawall.storage.journal import JournalReader
from tests.cli.processes import LIVELY, ROOT, Shell

RECORDED = Path(os.environ.get("RECORDED_DATA", ROOT.parent / "shared" / "data"))
SPAN = 120  # seconds of the simulated market
LIBRARIES = "numpy, numba, polars, msgspec, pydantic_settings, sqlalchemy, typer, rich"
TIMES = {"seconds", "rows_per_s"}  # how long it took is not a result


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tapes") / "simulated"
    market = SimulatedMarket(7, 1_700_000_000 * SECOND)
    write_tape(folder, market.catalog, market.record(SPAN * SECOND))
    return folder


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "seawall.toml").write_text(LIVELY)
    return Shell(tmp_path)


def result(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in TIMES}


def test_twice_the_same_journal(shell: Shell, tape: Path) -> None:
    first = shell("backtest", tape, "--json", "--journal", "one/first.journal")
    second = shell("backtest", tape, "--json", "--journal", "second.journal")
    assert (first.code, first.err, second.code, second.err) == (0, "", 0, "")
    assert result(first.json) == result(second.json)
    assert first.json["fills"] > 10
    assert shell.hosts_asked == []
    heads = set()
    for name in ("one/first.journal", "second.journal"):
        reader = JournalReader(shell.folder / name)
        assert reader.verify() == first.json["journal_rows"]
        heads.add(reader.head)
        records = [record for _, record in reader.read()]
        assert isinstance(records[0], RunStarted)
        assert isinstance(records[-1], RunStopped)
        reader.close()
    assert heads == {first.json["journal_hash"]}


def test_another_seed_or_setting_is_another_journal(shell: Shell, tape: Path) -> None:
    """The hash can differ: it sees what was decided, not only that something was."""
    plain = shell("backtest", tape, "--json").json
    assert (
        shell("backtest", tape, "--json", "--seed", "1").json["journal_hash"]
        != (plain["journal_hash"])
    )
    small = shell("backtest", tape, "--json", "--profile", "conservative").json
    assert small["journal_hash"] != plain["journal_hash"]
    assert small["max_drawdown"] < plain["max_drawdown"]


def test_another_python_gives_the_same_journal(shell: Shell, tape: Path) -> None:
    other = os.environ.get("OTHER_PYTHON", "")
    if not other:
        pytest.skip("OTHER_PYTHON names no interpreter with the libraries of requirements.lock")
    program = f"import sys, {LIBRARIES}; print(*sys.version_info[:2])"
    seen = subprocess.run([other, "-c", program], capture_output=True, text=True, check=False)
    if seen.returncode:
        pytest.skip(f"{other} lacks libraries: {seen.stderr.splitlines()[-1]}")
    mine = shell("backtest", tape, "--json")
    theirs = shell("backtest", tape, "--json", python=other)
    assert (mine.code, theirs.code, theirs.err) == (0, 0, "")
    assert result(theirs.json) == result(mine.json)


def test_the_table_has_what_a_quant_wants(shell: Shell, tape: Path) -> None:
    ended = shell("backtest", tape)
    assert (ended.code, ended.err) == (0, "")
    said = {
        line[:14].rstrip(): line[16:].rstrip() for line in ended.out.splitlines() if line[0] != " "
    }
    assert said["span"] == "2023-11-14 22:13:20 UTC to 2023-11-14 22:15:19 UTC"
    assert "rows/s" in said["rows"]
    assert "orders" in said["trades"]
    assert said["PnL after fees"].split()[1] == "USD"
    assert said["fees"].endswith(" USD")
    assert float(said["fees"].split()[0].replace(",", "")) > 0
    assert said["equity"].startswith("100,000.00 USD to ")
    assert said["max drawdown"].endswith("%")
    assert "@sim-" in said["positions"]
    assert said["open orders"] == "none"
    assert {"refusals", "breakers", "gaps and notes", "realised", "frames"} <= set(said)
    assert said["journal"].endswith(" rows")
    assert max(map(len, ended.out.splitlines())) <= 80


def bars(first_day: int, count: int) -> pl.DataFrame:
    """15 m bars that swing, so that the trend agent trades."""
    frame = pl.DataFrame({"i": range(count)})
    price = 1_000 + 200 * (pl.col("i") / 40).sin()
    return frame.select(
        ts=(first_day * 86_400 + pl.col("i") * 900),
        open=price.round(2),
        high=(price + 3).round(2),
        low=(price - 3).round(2),
        close=(price + 1).round(2),
        volume=pl.lit(10_000.0),
    )


def test_a_long_gap_between_bars_is_seen_said_and_survived(shell: Shell) -> None:
    pl.concat([bars(19_000, 960), bars(19_253, 960)]).write_csv(shell.folder / "bars.csv")
    made = shell(
        "data", "import", "bars.csv", "--to", "tape", "--symbol", "ETHUSDT", "--kind", "linear"
    )
    assert (made.code, made.err) == (0, "")
    assert "no bars for 243 d" in made.out
    ended = shell("backtest", "tape", "--json", "--cadence-ms", "900000", "--config", "empty.toml")
    assert ended.code == 2  # a file that is named must be there
    (shell.folder / "empty.toml").touch()
    ended = shell("backtest", "tape", "--json", "--config", "empty.toml")
    assert (ended.code, ended.err) == (0, "")
    (gap,) = [note for note in ended.json["notes"] if note.startswith("gap: ")]
    assert "243.0 days" in gap
    assert ended.json["rows"] == 4 * 2 * 960
    assert ended.json["fills"] > 0
    assert ended.json["ended"] == (19_263 * 86_400) * SECOND


# -- recorded markets ---------------------------------------------------------------------------


@pytest.mark.recorded
@pytest.mark.slow
def test_six_binance_books_of_2024_08_08(shell: Shell) -> None:
    sources = sorted((RECORDED / "l2_tick").glob("binance_*_20240808_*.parquet"))
    if not sources:
        pytest.skip(f"no recorded sets at {RECORDED / 'l2_tick'} (set RECORDED_DATA)")
    assert shell("data", "import", *sources, "--to", "tape").code == 0
    seen = shell("data", "inspect", "tape", "--json").json
    assert seen["coincidences"] == 7_471
    assert seen["mismatches"] == 0
    assert len(seen["books"]) == 6
    assert sum(book["sequence_breaks"] + book["crossed"] for book in seen["books"]) == 0
    ended = shell("backtest", "tape", "--json", "--config", empty(shell))
    assert (ended.code, ended.err) == (0, "")
    assert ended.json["rows"] == seen["rows"] == 3_302_046
    notes = ended.json["notes"]
    assert any("in 7,471 of 7,471 coincidences" in note for note in notes)
    assert not any("crossed" in note for note in notes)
    assert sum(" s behind the venue's" in note for note in notes) == 3
    assert not any("sequence" in reason for reason in ended.json["refused"])


@pytest.mark.recorded
@pytest.mark.slow
def test_seven_perpetuals_with_a_gap_of_243_days(shell: Shell) -> None:
    folder = RECORDED / "ohlcv" / "binance_perp_15m"
    if not folder.is_dir():
        pytest.skip(f"no recorded bars at {folder} (set RECORDED_DATA)")
    options = ("--venue", "binance-usdm", "--kind", "linear", "--to", "tape")
    made = shell("data", "import", folder, *options)
    assert made.code == 0
    assert "no bars for 243 d" in made.out
    ended = shell("backtest", "tape", "--json", "--config", empty(shell))
    assert (ended.code, ended.err) == (0, "")
    assert ended.json["rows"] == 4 * 621_259
    assert ended.json["fills"] > 0
    assert sum("243.0 days" in note for note in ended.json["notes"]) >= 1
    shutil.rmtree(shell.folder / "tape")


def empty(shell: Shell) -> Path:
    """Settings as they come."""
    file = shell.folder / "default.toml"
    file.touch()
    return file
