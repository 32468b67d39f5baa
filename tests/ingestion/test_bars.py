"""A bar is four rows at its close; gaps are said; bad bars are refused with their row."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from seawall.admission.kernels import PRICE_LIMIT
from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventFlag, EventKind
from seawall.core.instruments import PRODUCT_LIMIT, Kind
from seawall.ingestion.bars import PRICES, read_bars
from seawall.ingestion.inspection import inspect
from seawall.ingestion.tables import TICKS_MOST
from seawall.ingestion.tape import open_tape, write_tape

RECORDED = Path(os.environ.get("RECORDED_DATA", Path(__file__).parents[3] / "shared" / "data"))
MINUTE = 60_000_000_000
START = datetime(2024, 1, 1, tzinfo=UTC)


def frame(count: int = 6, first: int = 0) -> pl.DataFrame:
    at = np.arange(count)
    return pl.DataFrame(
        {
            "ts": [START + timedelta(minutes=int(first + i)) for i in at],
            "open": 100.0 + at,
            "high": 102.5 + at,
            "low": 99.25 + at,
            "close": 101.0 + at,
            "volume": 0.5 + at,
        }
    ).with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC")))


def saved(path: Path, table: pl.DataFrame) -> Path:
    if path.suffix == ".csv":
        table.write_csv(path)
    elif path.suffix == ".feather":
        table.write_ipc(path)
    else:
        table.write_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["parquet", "feather", "csv"])
def test_a_bar_is_four_rows_at_its_close(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path / f"BTCUSDT.{kind}", frame())
    read = read_bars([path], venue="x", kind=Kind.LINEAR)
    start = int(START.timestamp()) * 1_000_000_000
    rows = read.rows.reshape(-1, 4)
    opens = start + MINUTE * np.arange(6)
    assert np.array_equal(rows["exch_ts"], np.repeat(opens[:, None], 4, 1))
    assert np.array_equal(rows["recv_ts"], rows["exch_ts"] + MINUTE)
    assert np.array_equal(rows["sequence"], rows["exch_ts"] // MINUTE)
    assert rows["kind"][2].tolist() == [5, 6, 7, 8]
    assert rows["flags"][2].tolist() == [EventFlag.BEGIN, 0, 0, EventFlag.END]
    assert rows["price"][1].tolist() == [10100, 10350, 10025, 10200]
    assert rows["size"][1].tolist() == [0, 0, 0, 15]
    assert read.catalog.sources[0].bar_span == MINUTE
    assert read.catalog.instruments[0].name == "BTCUSDT@x"
    assert read.notes == ()


def test_several_files_are_several_instruments_of_one_source(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{s}.parquet", frame()) for s in ("BTCUSDT", "ETHUSDT")]
    read = read_bars(paths)
    assert read.catalog.books == ((0, 0), (1, 0))
    assert read.rows["instrument"][:8].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert (np.diff(read.rows["recv_ts"]) >= 0).all()


def test_files_of_one_symbol_follow_one_another(tmp_path: Path) -> None:
    first = saved(tmp_path / "y1.parquet", frame(6))
    second = saved(tmp_path / "y2.parquet", frame(6, first=6))
    assert len(read_bars([first, second], symbols=["BTCUSDT"]).rows) == 48
    with pytest.raises(DataError, match=r"y1\.parquet .*begins before the file in front"):
        read_bars([second, first], symbols=["BTCUSDT"])


def test_a_symbol_column_and_other_names(tmp_path: Path) -> None:
    both = pl.concat([frame().with_columns(symbol=pl.lit(s)) for s in ("ETH/BTC", "LTC/BTC")])
    path = saved(tmp_path / "all.parquet", both.rename({"volume": "vol", "ts": "date"}))
    read = read_bars([path], columns={"volume": "vol"})
    assert [i.base for i in read.catalog.instruments] == ["ETH", "LTC"]
    assert len(read_bars([path], columns={"volume": "vol"}, symbols=["LTC/BTC"]).rows) == 24
    with pytest.raises(DataError, match="unknown symbol 'XRP/BTC'; it has ETH/BTC, LTC/BTC"):
        read_bars([path], symbols=["XRP/BTC"])


def test_gaps_are_legal_and_said(tmp_path: Path) -> None:
    table = pl.concat([frame(6), frame(6, first=6 + 3 * 1440)])
    path = saved(tmp_path / "BTCUSDT.parquet", table)
    read = read_bars([path])
    assert len(read.notes) == 1
    assert "no bars for 3 d 0.0 h after 2024-01-01 00:06:00" in read.notes[0]
    write_tape(tmp_path / "t", read.catalog, read.rows)
    result = inspect(open_tape(tmp_path / "t"))
    gap = result.sources[0].gaps[0]
    assert (gap.seconds, gap.instrument) == (3 * 86400, "BTCUSDT@recorded")
    assert any("bars missing for 3 d 0.0 h" in line for line in result.findings)


def test_volume_is_rounded_where_cash_or_int64_ask_for_it(tmp_path: Path) -> None:
    fine = frame().with_columns(volume=pl.col("volume") + 0.123456789)
    one = read_bars([saved(tmp_path / "BTCUSDT.parquet", fine)]).catalog.instruments[0]
    assert (one.tick, one.lot) == ("0.01", "0.000001")
    big = frame().with_columns(volume=pl.lit(9.1e15), high=pl.lit(5e6))
    read = read_bars([saved(tmp_path / "ETHUSDT.parquet", big)])
    ticks, lots = int(read.rows["price"].max()), int(read.rows["size"].max())
    assert ticks * lots < PRODUCT_LIMIT
    lot = float(read.catalog.instruments[0].lot)
    assert lot > 1
    assert abs(lots * lot - 9.1e15) <= lot / 2


BAD = {
    "row 3 .* is earlier than the row before": frame()[[0, 2, 1, 3, 4, 5]],
    "row 3 .* repeats the time of the row before": frame()[[0, 1, 1, 2]],
    "row 6 .* does not lie on the grid of 1.0 min bars": pl.concat(
        [frame(5), frame(1, first=7).with_columns(pl.col("ts").dt.offset_by("10s"))]
    ),
    "column 'low', row 1 is -1.0": frame().with_columns(low=pl.lit(-1.0)),
    "column 'open', row 1 is nan": frame().with_columns(open=pl.lit(float("nan"))),
    "column 'close', row 1 is inf": frame().with_columns(close=pl.lit(float("inf"))),
    "column 'volume', row 1 is -0.5": frame().with_columns(volume=pl.lit(-0.5)),
    "column 'open', row 1 is None": frame().with_columns(open=pl.lit(None, pl.Float64)),
    "no column 'high'; it has ts, open": frame().drop("high"),
    "row 1 has open or close outside its low and high": frame().with_columns(high=pl.lit(100.0)),
    "a single bar does not tell its span": frame(1),
    "column 'open' holds Boolean, not numbers": frame().with_columns(open=pl.lit(value=True)),
}


@pytest.mark.parametrize("words", BAD)
def test_bad_bars_are_one_line(tmp_path: Path, words: str) -> None:
    path = saved(tmp_path / "BTCUSDT.parquet", BAD[words])
    with pytest.raises(DataError, match=words) as caught:
        read_bars([path])
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_two_spans_are_two_tapes(tmp_path: Path) -> None:
    wide = frame(12)[::2]
    paths = [saved(tmp_path / "A.parquet", frame()), saved(tmp_path / "B.parquet", wide)]
    with pytest.raises(DataError, match=r"bars of 2\.0 min, but those of .* are of 1\.0 min"):
        read_bars(paths, quote="USD")


def test_prices_too_fine_for_their_level_are_kept_only_rounded(tmp_path: Path) -> None:
    fine = frame().with_columns(*((pl.col(n) + 19_000.00000001).alias(n) for n in PRICES))
    path = saved(tmp_path / "BTCUSD.parquet", fine)
    with pytest.raises(
        DataError, match=r"prices up to 19107\.5 are as fine as 0\.00000001.*--tick"
    ):
        read_bars([path])
    read = read_bars([path], tick="0.5")
    assert read.catalog.instruments[0].tick == "0.1"
    assert read.notes == (f"{path} (BTCUSD): prices of 6 bars rounded to 0.5",)
    assert read.rows["price"][:4].tolist() == [191_000, 191_025, 190_995, 191_010]


def test_a_tick_that_is_none_or_leaves_nothing_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "BTCUSD.parquet", frame())
    for tick in ("0", "-1", "x", "1e-3", "0.0"):
        with pytest.raises(SettingError, match=r"--tick .* is not a positive decimal"):
            read_bars([path], tick=tick)
    with pytest.raises(DataError, match="--tick 1000 rounds a price to 0"):
        read_bars([path], tick="1000")


def test_what_the_importer_keeps_admission_lets_in() -> None:
    assert TICKS_MOST == PRICE_LIMIT


@pytest.mark.recorded
def test_seven_perpetuals_and_their_gap_of_243_days() -> None:
    folder = RECORDED / "ohlcv" / "binance_perp_15m"
    if not folder.is_dir():
        pytest.skip(f"no recorded bars at {folder} (set RECORDED_DATA)")
    read = read_bars(sorted(folder.iterdir()), venue="binance-usdm", kind=Kind.LINEAR)
    assert len(read.catalog.instruments) == 7
    assert len(read.rows) == 4 * 621_259
    assert len(read.notes) == 1
    assert "no bars for 243 d" in read.notes[0]
    btc = read.catalog.by_name["BTCUSDT@binance-usdm"]
    closes = read.rows[
        (read.rows["instrument"] == read.catalog.instruments.index(btc))
        & (read.rows["kind"] == EventKind.BAR_CLOSE)
    ]
    truth = pl.read_parquet(folder / "BTCUSDT.parquet")
    assert np.array_equal(closes["price"] / 100, truth["close"].to_numpy())
