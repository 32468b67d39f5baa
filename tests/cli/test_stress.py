"""`seawall stress` and `seawall calibrate slippage` on small markets, as a user runs them."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from seawall.core.clock import SECOND
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import write_tape
from tests.cli.processes import LIVELY, Shell, assert_one_line
from tests.lab.execution.test_schedule_study import catalog, steady


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with a book of levels and bars of a crash."""
    folder = tmp_path_factory.mktemp("stress")
    write_tape(folder / "tape", catalog(), steady(240, slope=0.3))
    ts = np.arange(8 * 96) * 900 * SECOND
    prices = np.full(len(ts), 100.0)
    low = np.where(ts == 7 * 86_400 * SECOND, 88.0, 99.0)
    columns = {"open": prices, "high": prices + 1, "low": low, "close": prices - 0.5}
    bars = pl.DataFrame({"ts": ts, **columns, "volume": 1.0 + np.arange(len(ts)) % 96})
    bars.write_parquet(folder / "bars.parquet")
    return Shell(folder)


def test_schedules_beside_a_market_order(shell: Shell) -> None:
    arguments = ("stress", "schedules", "tape", "--bars", "bars.parquet", "--sizes", "1,4")
    ended = shell(*arguments, "--json")
    assert (ended.code, ended.err) == (0, "")
    told = msgspec.json.decode(ended.out)
    ways = {row["way"] for row in told["rows"]}
    assert {"market order", "TWAP", "VWAP"} < ways
    assert len(told["rows"]) == 2 * len(ways)
    assert shell(*arguments, "--json").out == ended.out


def test_stops_in_a_crash(shell: Shell) -> None:
    arguments = ("stress", "flash-crash", "tape", "--bars", "bars.parquet", "--paths", "2")
    ended = shell(*arguments, "--days", "1970-01-08", "--no-detect", "--json")
    assert (ended.code, ended.err) == (0, "")
    told = msgspec.json.decode(ended.out)
    assert {line["kind"] for line in told["exits"]} == {"bridged", "scaled"}
    assert {line["recovery"] for line in told["exits"]} == {"instant", "exponential", "none"}
    assert [line["factor"] for line in told["widening"]] == [1.0, 1.5, 2.5]
    shown = shell(*arguments, "--days", "1970-01-08", "--no-detect")
    assert "base model" in shown.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("flash-crash", "tape", "--bars", "bars.parquet", "--days", "1970-01-02"), "no bar"),
        (("flash-crash", "tape", "--bars", "none.parquet"), "none.parquet"),
        (("flash-crash", "tape", "--bars", "bars.parquet", "--paths", "0"), "--paths"),
        (("schedules", "tape", "--sizes", "x"), "--sizes"),
        (("schedules", "tape", "--impact", "cubic"), "impact"),
        (("schedules", "nowhere"), "nowhere"),
    ],
)
def test_what_is_wrong_is_one_line(shell: Shell, arguments: tuple[str, ...], word: str) -> None:
    ended = shell("stress", *arguments)
    assert ended.code in (2, 3)
    assert word in assert_one_line(ended, ended.code)


def test_a_slippage_model_from_a_run(tmp_path: Path) -> None:
    market = SimulatedMarket(7, 1_700_000_000 * SECOND)
    write_tape(tmp_path / "tape", market.catalog, market.record(240 * SECOND))
    (tmp_path / "seawall.toml").write_text(LIVELY)
    shell = Shell(tmp_path)
    assert shell("backtest", "tape", "--journal", "run.journal").code == 0
    ended = shell("calibrate", "slippage", "run.journal", "--tape", "tape", "--out", "m.json")
    if ended.code == 0:
        assert "x volatility of a minute" in ended.out
        assert (tmp_path / "m.json").exists()
    else:  # too few orders to learn from is said
        assert "30 are needed" in assert_one_line(ended, 3)
