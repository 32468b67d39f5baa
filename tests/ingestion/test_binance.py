"""Binance recordings: a book starts at its snapshot, every message is whole, numbers are exact."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from seawall.core.errors import DataError
from seawall.core.events import EventFlag, EventKind, Side
from seawall.core.instruments import Kind
from seawall.ingestion.binance import read_sets
from seawall.ingestion.inspection import inspect
from seawall.ingestion.tape import open_tape, write_tape

RECORDED = Path(os.environ.get("RECORDED_DATA", Path(__file__).parents[3] / "shared" / "data"))
BEGIN, END = int(EventFlag.BEGIN), int(EventFlag.END)
MS = 1_000_000
T0 = 1_700_000_000_000 * MS
BEHIND = 1270  # ms that the receive clock lags


def stamps(*ms: int) -> pl.Series:
    values = pl.Series([T0 + m * MS for m in ms], dtype=pl.Int64)
    return values.cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")


def diff_table(futures: bool) -> pl.DataFrame:
    ids = [100, 101, 101, 105, 105, 108]
    recv = (10, 20, 20, 30, 30, 40)
    return pl.DataFrame(
        {
            "recv_ts": stamps(*recv),
            "event_ts": stamps(*(m + BEHIND for m in recv)),
            "first_update_id": [99, 101, 101, 102, 102, 106],
            "last_update_id": ids,
            "prev_update_id": [97, 100, 100, 101, 101, 105] if futures else [-1] * 6,
            "side": ["bid", "bid", "ask", "bid", "ask", "bid"],
            "price": [9.9, 10.0, 10.2, 10.1, 10.3, 9.8],
            "qty": [1.0, 2.5, 0.0, 3.0, 1.0, 0.0],
        }
    )


def snapshot_table(recv: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "recv_ts": stamps(*[recv] * 3),
            "txn_ts": pl.Series([None] * 3, dtype=pl.Datetime("ns", "UTC")),
            "last_update_id": [100] * 3,
            "side": ["bid", "bid", "ask"],
            "level": [0, 1, 0],
            "price": [9.9, 9.8, 10.2],
            "qty": [1.0, 1.5, 2.0],
        }
    )


def write_set(folder: Path, market: str = "usdm", snapshot: int = 35, **changed: object) -> Path:
    """A set of six diffs, one snapshot, two trades and three best bid/asks."""
    name = {"cm": "btcusd_perp"}.get(market, "btcusdt")
    tables = {
        "depth_diff": diff_table(market != "spot"),
        "depth_snapshot": snapshot_table(snapshot),
        "trades": pl.DataFrame(
            {
                "recv_ts": stamps(5, 25),
                "event_ts": stamps(5 + BEHIND, 25 + BEHIND),
                "trade_id": [7, 8],
                "price": [10.0, 10.2],
                "qty": [0.5, 0.25],
                "buyer_is_maker": [True, False],
            }
        ),
        "book_ticker": pl.DataFrame(
            {
                "recv_ts": stamps(8, 29, 41),
                "txn_ts": pl.Series([None] * 3, dtype=pl.Datetime("ns", "UTC")),
                "update_id": [100, 105, 107],
                "bid_price": [9.9, 10.1, 10.1],
                "bid_qty": [1.0, 3.0, 3.0],
                "ask_price": [10.2, 10.3, 10.3],
                "ask_qty": [2.0, 1.0, 1.0],
            }
        ),
    }
    tables.update(changed)
    for stream, table in tables.items():
        if table is not None:
            table.write_parquet(folder / f"binance_{market}_{name}_20240808_{stream}.parquet")
    return folder


def test_a_set_becomes_a_tape(tmp_path: Path) -> None:
    read = read_sets([write_set(tmp_path)])
    one, source = read.catalog.instruments[0], read.catalog.sources[0]
    assert (one.name, one.kind, one.tick, one.lot) == (
        "BTCUSDT@binance-usdm",
        Kind.LINEAR,
        "0.1",
        "0.01",
    )
    assert source.name == source.venue == "binance-usdm"
    depth = read.rows[np.isin(read.rows["kind"], [EventKind.SNAPSHOT, EventKind.DEPTH])]
    snap, diffs = depth[:4], depth[4:]
    assert snap["kind"].tolist() == [2, 1, 1, 1]
    assert snap["flags"].tolist() == [BEGIN, 0, 0, END]
    assert set(snap["sequence"]) == {100}
    assert set(snap["previous"]) == {-1}
    assert set(snap["recv_ts"]) == {T0 + 20 * MS}, "pulled forward to the first diff it serves"
    assert diffs["sequence"].tolist() == [101, 101, 105, 105, 108]
    assert diffs["previous"].tolist() == [100, 100, 101, 101, 105]
    assert diffs["flags"].tolist() == [BEGIN, END, BEGIN, END, BEGIN | END]
    assert diffs["price"].tolist() == [100, 102, 101, 103, 98]
    assert diffs["size"].tolist() == [250, 0, 300, 100, 0]
    assert (diffs["exch_ts"] - diffs["recv_ts"] == BEHIND * MS).all()
    assert (snap["exch_ts"] - snap["recv_ts"] == BEHIND * MS).all()
    assert any("1 diff rows" in note for note in read.notes)
    assert any("3 rows of trades and best bid/ask" in note for note in read.notes)


def test_trades_and_quotes(tmp_path: Path) -> None:
    read = read_sets([write_set(tmp_path)])
    trades = read.rows[read.rows["kind"] == EventKind.TRADE]
    assert trades["sequence"].tolist() == [8], "the one before the snapshot is dropped"
    assert trades["side"].tolist() == [Side.BUY], "the taker bought"
    assert trades["flags"].tolist() == [BEGIN | END]
    quotes = read.rows[read.rows["kind"] == EventKind.QUOTE]
    assert quotes["sequence"].tolist() == [105, 105, 107, 107]
    assert quotes["side"].tolist() == [0, 1, 0, 1]
    assert quotes["price"].tolist() == [101, 103, 101, 103]
    assert quotes["flags"].tolist() == [BEGIN, END, BEGIN, END]
    assert (quotes["exch_ts"] - quotes["recv_ts"] == BEHIND * MS).all(), "estimated"


def test_an_early_snapshot_stays_where_it_is(tmp_path: Path) -> None:
    read = read_sets([write_set(tmp_path, snapshot=12)])
    assert read.rows["kind"][0] == EventKind.SNAPSHOT
    assert read.rows["recv_ts"][0] == T0 + 12 * MS


def test_spot_chains_by_first_update_id(tmp_path: Path) -> None:
    read = read_sets([write_set(tmp_path, "spot")])
    diffs = read.rows[(read.rows["kind"] == EventKind.DEPTH) & (read.rows["previous"] >= 0)]
    assert diffs["previous"].tolist() == [100, 100, 101, 101, 105]
    assert read.catalog.instruments[0].kind is Kind.SPOT


def test_coin_margined_is_inverse(tmp_path: Path) -> None:
    whole = {
        "depth_diff": diff_table(True).with_columns(qty=pl.Series([1.0, 2, 0, 3, 1, 0])),
        "depth_snapshot": snapshot_table(35).with_columns(qty=pl.lit(4.0)),
        "trades": None,
        "book_ticker": None,
    }
    one = read_sets([write_set(tmp_path, "cm", **whole)]).catalog.instruments[0]
    assert (one.symbol, one.venue, one.kind) == ("BTCUSD_PERP", "binance-coinm", Kind.INVERSE)
    assert (one.base, one.quote, one.multiplier, one.lot) == ("BTC", "USD", "100", "1")
    assert one.settle_asset == "BTC"


def test_sets_are_merged_in_order_and_inspection_agrees(tmp_path: Path) -> None:
    write_set(tmp_path)
    read = read_sets([write_set(tmp_path, "spot", snapshot=12)])
    assert [s.name for s in read.catalog.sources] == ["binance", "binance-usdm"]
    keys = np.stack([read.rows["recv_ts"], read.rows["source"].astype(np.int64)], axis=1)
    assert (np.lexsort((keys[:, 1], keys[:, 0])) == np.arange(len(keys))).all()
    write_tape(tmp_path / "t", read.catalog, read.rows)
    result = inspect(open_tape(tmp_path / "t"))
    assert result.coincidences == 2
    assert result.mismatches == 0
    assert all(b.sequence_breaks + b.crossed + b.duplicates == 0 for b in result.books)


def test_receive_times_that_go_back_are_raised_and_flagged(tmp_path: Path) -> None:
    table = diff_table(True).with_columns(recv_ts=stamps(10, 20, 20, 30, 30, 25))
    read = read_sets([write_set(tmp_path, depth_diff=table)])
    last = read.rows[read.rows["sequence"] == 108]
    assert last["recv_ts"].tolist() == [T0 + 30 * MS]
    assert last["flags"].tolist() == [BEGIN | END | EventFlag.RECORDED_LATE]


@pytest.mark.parametrize(
    ("stream", "change", "words"),
    [
        ("depth_diff", {"price": pl.lit(-1.0)}, "depth_diff.* column 'price', row 1 is -1.0"),
        ("depth_diff", {"qty": pl.lit(float("nan"))}, "column 'qty', row 1 is nan"),
        ("depth_diff", {"side": pl.lit("up")}, "column 'side', row 1 is 'up', neither bid nor ask"),
        ("trades", {"qty": pl.lit(0.0)}, "trades.* column 'qty', row 1 is 0.0"),
        ("book_ticker", {"ask_price": pl.lit(None, pl.Float64)}, "'ask_price', row 1 is None"),
        (
            "depth_snapshot",
            {"last_update_id": pl.Series([1, 1, 2])},
            "holds more than one snapshot",
        ),
        ("depth_snapshot", {"price": pl.lit(float(np.pi))}, "no common increment"),
    ],
)
def test_bad_values_are_one_line(
    tmp_path: Path, stream: str, change: dict[str, object], words: str
) -> None:
    write_set(tmp_path)
    path = next(tmp_path.glob(f"*_{stream}.parquet"))
    pl.read_parquet(path).with_columns(**change).write_parquet(path)
    with pytest.raises(DataError, match=words) as caught:
        read_sets([tmp_path])
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Binance set here"):
        read_sets([tmp_path])
    with pytest.raises(DataError, match="no such file"):
        read_sets([tmp_path / "nowhere"])
    write_set(tmp_path)
    path = next(tmp_path.glob("*_depth_diff.parquet"))
    pl.read_parquet(path).drop("last_update_id").write_parquet(path)
    with pytest.raises(DataError, match="no column 'last_update_id'"):
        read_sets([tmp_path])
    next(tmp_path.glob("*_depth_snapshot.parquet")).unlink()
    with pytest.raises(DataError, match="a depth_diff but no depth_snapshot"):
        read_sets([tmp_path])


@pytest.mark.recorded
def test_the_six_books_of_2024_08_08(tmp_path: Path) -> None:
    paths = sorted((RECORDED / "l2_tick").glob("binance_*_20240808_*.parquet"))
    if not paths:
        pytest.skip(f"no recorded sets at {RECORDED / 'l2_tick'} (set RECORDED_DATA)")
    read = read_sets(paths)
    write_tape(tmp_path / "t", read.catalog, read.rows)
    tape = open_tape(tmp_path / "t")
    result = inspect(tape)
    assert len(result.books) == 6
    assert result.rows == tape.rows == 3_302_046
    assert result.coincidences >= 6_000
    assert result.mismatches == 0
    assert sum(b.sequence_breaks + b.duplicates + b.crossed for b in result.books) == 0
    for source in result.sources:
        assert source.skew_median_ms == pytest.approx(-1270, abs=10)
    assert sum("1.27 s behind" in line for line in result.findings) == 3
