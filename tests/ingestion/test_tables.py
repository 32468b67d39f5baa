"""Tables become exact integers, or one line says which file, column and row is wrong."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventFlag, EventKind, Side
from seawall.core.instruments import Kind
from seawall.ingestion import tables
from seawall.ingestion.mapping import parse_columns, read_tables

SECOND = 1_000_000_000
B, E = EventFlag.BEGIN, EventFlag.END


@given(
    places=st.integers(0, 8),
    units=st.lists(st.integers(1, 10**12), min_size=1, max_size=50),
)
def test_decimals_come_back_exactly(places: int, units: list[int]) -> None:
    values = np.array([float(f"{n}e-{places}") for n in units])
    increment = tables.infer_increment("here", values)
    assert len(increment) - 2 <= places or increment == "1"
    found = tables.to_units(values, increment, "here")
    step = 10 ** (places - (0 if increment == "1" else len(increment) - 2))
    assert [int(n) * step for n in found] == units


def test_increments_are_the_coarsest_that_hold_all_values() -> None:
    assert tables.infer_increment("here", np.array([1.5, 2.25])) == "0.01"
    assert tables.infer_increment("here", np.array([1.5]), np.array([0.000001])) == "0.000001"
    assert tables.infer_increment("here", np.array([5000.0, 70.0])) == "1"
    assert tables.infer_increment("here", np.array([0.1 + 0.2])) == "0.1"  # an ulp off is float's


def test_values_without_an_increment_are_refused() -> None:
    with pytest.raises(DataError, match="here: values have no common increment"):
        tables.infer_increment("here", np.array([np.pi]))
    with pytest.raises(DataError, match=r"row 2 is 1\.55, not a multiple of 0\.1"):
        tables.to_units(np.array([1.5, 1.55]), "0.1", "here")
    assert tables.to_units(np.array([1.5, 2.0]), "0.5", "here").tolist() == [3, 4]


@pytest.mark.parametrize(
    ("symbol", "parts"),
    [
        ("BTCUSDT", ("BTC", "USDT")),
        ("BTCUSD_PERP", ("BTC", "USD")),
        ("ETH/BTC", ("ETH", "BTC")),
        ("BTC-USD", ("BTC", "USD")),
        ("BTC/USDT:USDT", ("BTC", "USDT")),
        ("1000PEPEUSDT", ("1000PEPE", "USDT")),
    ],
)
def test_symbols_are_split(symbol: str, parts: tuple[str, str]) -> None:
    assert tables.split_symbol(symbol) == parts


def test_symbols_that_say_nothing() -> None:
    assert tables.split_symbol("BTC-PERP", "USD") == ("BTC", "USD")
    with pytest.raises(DataError, match=r"unknown symbol 'TRADES_1'.*--quote"):
        tables.split_symbol("TRADES_1")


@pytest.mark.parametrize(
    "cells",
    [
        ["1700000000", "1700000001"],
        ["1700000000000", "1700000001000"],
        ["1700000000000000", "1700000001000000"],
        ["1700000000000000000", "1700000001000000000"],
        ["1700000000.0", "1700000001.0"],
        ["2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z"],
        ["2023-11-14 22:13:20.000+00:00", "2023-11-14 22:13:21.000000000 UTC"],
    ],
)
def test_units_of_time_are_told(cells: list[str]) -> None:
    found = tables.times(pl.DataFrame({"t": cells}), "t", "here")
    assert found.tolist() == [1_700_000_000 * SECOND, 1_700_000_001 * SECOND]


def test_given_unit_and_typed_times() -> None:
    assert tables.times(pl.DataFrame({"t": [3]}), "t", "here", "s").tolist() == [3 * SECOND]
    stamps = pl.DataFrame({"t": [1_700_000_000_000]}).select(pl.col("t").cast(pl.Datetime("ms")))
    for frame in (stamps, stamps.select(pl.col("t").dt.replace_time_zone("UTC"))):
        assert tables.times(frame, "t", "here").tolist() == [1_700_000_000 * SECOND]
    with pytest.raises(DataError, match="column 't', row 2 is 'soon', not a time"):
        tables.times(pl.DataFrame({"t": ["1700000000", "soon"]}), "t", "here")
    with pytest.raises(SettingError, match="'weeks' is unknown"):
        tables.times(pl.DataFrame({"t": [1]}), "t", "here", "weeks")


def csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


TRADES = "time,px,qty,taker\n1700000000,10.5,0.25,buy\n1700000001,10.25,1,SELL\n1700000001,11,2,\n"
COLUMNS = parse_columns("ts=time, price=px, size=qty, side=taker")


def test_trades_through_a_mapping(tmp_path: Path) -> None:
    path = csv(tmp_path / "BTCUSDT.csv", TRADES)
    packed = tmp_path / "BTCUSDT.csv.gz"
    packed.write_bytes(gzip.compress(TRADES.encode()))
    pl.read_csv(path).write_parquet(tmp_path / "BTCUSDT.parquet")
    pl.read_csv(path).write_ipc(tmp_path / "BTCUSDT.feather")
    read = read_tables([path], columns=COLUMNS, venue="x", kind=Kind.LINEAR)
    one = read.catalog.instruments[0]
    assert (one.name, one.tick, one.lot, one.quote) == ("BTCUSDT@x", "0.01", "0.01", "USDT")
    assert read.rows["price"].tolist() == [1050, 1025, 1100]
    assert read.rows["size"].tolist() == [25, 100, 200]
    assert read.rows["side"].tolist() == [Side.BUY, Side.SELL, Side.UNKNOWN]
    assert read.rows["sequence"].tolist() == [1, 2, 3]
    assert set(read.rows["kind"]) == {EventKind.TRADE}
    assert set(read.rows["flags"]) == {B | E}
    for name in ("BTCUSDT.csv.gz", "BTCUSDT.parquet", "BTCUSDT.feather"):
        again = read_tables([tmp_path / name], columns=COLUMNS, venue="x", kind=Kind.LINEAR)
        assert np.array_equal(again.rows, read.rows)


def test_quotes_are_a_bid_and_an_ask_row(tmp_path: Path) -> None:
    path = csv(
        tmp_path / "q.csv",
        "ts,bid,bid_size,ask,ask_size,id,recv\n"
        "1700000000,10,1,11,2,7,1700000002\n1700000001,10,0,12,2,9,1700000003\n",
    )
    read = read_tables([path], rows="quotes", symbols=["BTCUSD"])
    assert read.rows["price"].tolist() == [10, 11, 10, 12]
    assert read.rows["size"].tolist() == [1, 2, 0, 2]
    assert read.rows["side"].tolist() == [0, 1, 0, 1]
    assert read.rows["sequence"].tolist() == [7, 7, 9, 9]
    assert read.rows["flags"].tolist() == [B, E, B, E]
    assert (read.rows["recv_ts"] - read.rows["exch_ts"] == 2 * SECOND).all()


def test_depth_is_messages_from_an_empty_book(tmp_path: Path) -> None:
    path = csv(
        tmp_path / "d.csv",
        "ts,price,size,side,id,snapshot\n1,10,1,bid,5,false\n1,11,1,ask,5,false\n"
        "2,10,0,bid,6,false\n3,9,1,bid,8,true\n3,12,1,ask,8,true\n",
    )
    read = read_tables([path], rows="depth", symbols=["BTCUSD"], unit="s")
    s, d = EventKind.SNAPSHOT, EventKind.DEPTH
    assert read.rows["kind"].tolist() == [s, d, d, d, s, d, d]
    assert read.rows["flags"].tolist() == [B, 0, E, B | E, B, 0, E]
    assert read.rows["sequence"].tolist() == [5, 5, 5, 6, 8, 8, 8]
    assert read.rows["size"].tolist() == [0, 1, 1, 0, 0, 1, 1]


def test_a_symbol_column_gives_an_instrument_each(tmp_path: Path) -> None:
    path = csv(
        tmp_path / "all.csv",
        "ts,price,size,symbol\n1,1.5,1,ETHUSD\n2,100,1,BTCUSD\n3,1.25,1,ETHUSD\n",
    )
    read = read_tables([path], unit="s")
    assert [(i.symbol, i.tick) for i in read.catalog.instruments] == [
        ("ETHUSD", "0.01"),
        ("BTCUSD", "1"),
    ]
    assert read.rows["instrument"].tolist() == [0, 1, 0]
    only = read_tables([path], unit="s", symbols=["BTCUSD"])
    assert len(only.rows) == 1
    with pytest.raises(DataError, match="unknown symbol 'XRPUSD'; it has ETHUSD, BTCUSD"):
        read_tables([path], symbols=["XRPUSD"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,px,qty\n1,1,nan\n", "column 'qty', row 1 is 'nan'"),
        ("time,px,qty\n1,1,1\n2,-3,1\n", "column 'px', row 2 is '-3'"),
        ("time,px,qty\n1,0,1\n", "column 'px', row 1 is '0'"),
        ("time,px,qty\n1,inf,1\n", "column 'px', row 1 is 'inf'"),
        ("time,px,qty\n1,1,-1\n", "column 'qty', row 1 is '-1'"),
        ("time,px,qty\n1,1,\n", "column 'qty', row 1 is None"),
        ("time,px,qty\n1,dear,1\n", "column 'px', row 1 is 'dear'"),
        ("time,px,qty\n5,1,1\n3,1,1\n", "row 2 .* is earlier than the row before it"),
        ("time,price,qty\n1,1,1\n", "no column 'px'; it has time, price, qty.*--columns"),
        ("time,px,qty,taker\n1,1,1,up\n", "column 'taker', row 1 is 'up', no side"),
        ("time,px,qty\n", "has no rows"),
        ("time,px,qty\nsoon,1,1\n", "column 'time', row 1 is 'soon', not a time"),
        ("", "the file is empty"),
    ],
)
def test_bad_tables_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = csv(tmp_path / "bad.csv", text)
    with pytest.raises(DataError, match=words) as caught:
        read_tables([path], columns=COLUMNS, symbols=["BTCUSD"])
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    csv(tmp_path / "ok.csv", TRADES)
    pl.read_csv(tmp_path / "ok.csv").write_parquet(tmp_path / "cut.parquet")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.feather").write_bytes(b"ARROW1 no more")
    csv(tmp_path / "notes.doc", "x")
    for name, words in {
        "cut.parquet": "cannot be read as parquet, it is truncated",
        "cut.feather": "cannot be read as ipc, it is truncated",
        "notes.doc": "not a kind of file",
        "none.csv": "no such file",
        ".": "is a folder",
    }.items():
        with pytest.raises(DataError, match=words) as caught:
            read_tables([tmp_path / name], columns=COLUMNS)
        assert "\n" not in str(caught.value)


def test_bad_mappings() -> None:
    with pytest.raises(SettingError, match="'price' is not FIELD=COLUMN"):
        parse_columns("ts=time,price")
    with pytest.raises(SettingError, match="trades have no field 'bid'; the fields are ts"):
        read_tables([], columns={"bid": "b"})
    with pytest.raises(SettingError, match="--rows 'candles' is unknown"):
        read_tables([], rows="candles")


def test_assets_share_one_smallest_unit(tmp_path: Path) -> None:
    path = csv(
        tmp_path / "all.csv",
        "ts,price,size,symbol\n1,1.00000001,0.00001,ETHUSD\n2,100,1,BTCUSD\n",
    )
    read = read_tables([path], unit="s")
    assert [i.settle_decimals for i in read.catalog.instruments] == [13, 13]
