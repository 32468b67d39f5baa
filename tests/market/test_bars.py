"""Bars by count, volume, value and time: against plain polars on recorded trades, and by rule."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import SettingError
from seawall.core.events import EventFlag, EventKind, Raw, empty
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.market.bars import Bars, bars_of
from tests.recorded import BOOKS, recorded

SECOND = 1_000_000_000
FIELDS = ("ts", "start", "open", "high", "low", "close", "volume", "bought", "trades", "value")


def catalog(kind=Kind.LINEAR):
    instrument = Instrument(
        venue="x", symbol="BTCUSD", kind=kind, base="BTC", quote="USD", tick="1", lot="1",
        multiplier="100" if kind is Kind.INVERSE else "1",
    )  # fmt: skip
    return Catalog((instrument,), (Source(name="x", venue="x"),), ((0, 0),)).check()


def trades(*told):
    """Rows of (seconds, side, ticks, lots)."""
    rows = empty(len(told))
    for row, (ts, side, price, size) in zip(rows, told, strict=True):
        row["recv_ts"], row["side"], row["price"], row["size"] = ts * SECOND, side, price, size
    rows["kind"] = EventKind.TRADE
    rows["flags"] = EventFlag.BEGIN | EventFlag.END
    return Raw(rows)


def plain(rows, by, size):
    """The same bars by polars: cumulative sums, and which multiple of the size each one reached."""
    frame = pl.DataFrame(
        {n: rows[n].astype(np.int64) for n in ("recv_ts", "side", "price", "size")}
    ).with_columns(value=pl.col("price") * pl.col("size"))
    if by == "time":
        frame = frame.with_columns(bar=-(-pl.col("recv_ts") // size), last=pl.lit(value=True))
        frame = frame.filter(pl.col("bar") * size < rows["recv_ts"][-1])
    else:
        amount = {
            "trades": pl.col("size") * 0 + 1,
            "volume": pl.col("size"),
            "value": pl.col("value"),
        }[by]
        reached = amount.cast(pl.Int64).cum_sum() // size
        frame = frame.with_columns(reached=reached).with_columns(
            bar=pl.col("reached").shift(1, fill_value=0)
        )
        frame = frame.with_columns(last=pl.col("reached").max().over("bar") > pl.col("bar"))
    return (
        frame.filter("last")
        .group_by("bar", maintain_order=True)
        .agg(
            ts=pl.col("recv_ts").last(),
            start=pl.col("recv_ts").first(),
            open=pl.col("price").first(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
            volume=pl.col("size").sum(),
            bought=pl.col("size").filter(pl.col("side") == 0).sum(),
            trades=pl.len().cast(pl.Int64),
            value=pl.col("value").sum().cast(pl.Float64),
        )
        .with_columns(ts=pl.col("bar") * size if by == "time" else pl.col("ts"))
    )


@pytest.mark.parametrize(
    ("by", "size", "count"),
    [("trades", "100", 40), ("volume", "10", 20), ("value", "500000", 20), ("time", "5s", 60)],
)
def test_bars_of_recorded_trades_are_those_of_polars(by, size, count):
    read = recorded(BOOKS)
    made = Bars(read.catalog, by, size)
    bars = made.observe(Raw(read.rows))
    for book in range(len(read.catalog.books)):
        instrument, source = read.catalog.books[book]
        own = (read.rows["instrument"] == instrument) & (read.rows["source"] == source)
        rows = read.rows[own & (read.rows["kind"] == EventKind.TRADE)]
        if read.catalog.instruments[instrument].kind is Kind.INVERSE:
            continue
        wanted = plain(rows, by, int(made.state.carries["size"][book]))
        told = bars[bars["book"] == book]
        if by == "time":  # the last may be closed by a row of another book
            told = told[: len(wanted)]
        assert len(wanted) >= count
        assert told["number"].tolist() == list(range(1, len(wanted) + 1))
        for field in FIELDS:
            if field == "value":
                np.testing.assert_allclose(told[field], wanted[field].to_numpy(), rtol=1e-12)
            else:
                assert told[field].tolist() == wanted[field].to_list(), field


TRADES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 2), st.integers(90, 110), st.integers(1, 30)),
    min_size=1,
    max_size=60,
)


@pytest.mark.parametrize(
    ("by", "size"), [("trades", "4"), ("volume", "20"), ("value", "1500"), ("time", "7s")]
)
@settings(deadline=None, max_examples=60)
@given(told=TRADES, data=st.data())
def test_any_split_gives_the_same_bars_and_the_future_changes_none(by, size, told, data):
    rows = trades(*sorted(told))
    whole = Bars(catalog(), by, size).observe(rows)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    parts = [Raw(part) for part in np.split(rows, cuts)]
    split = np.concatenate(list(bars_of(catalog(), parts, by, size)))
    assert split.tobytes() == whole.tobytes()
    some = Bars(catalog(), by, size).observe(Raw(rows[: cuts[0] if cuts else 0]))
    assert whole[: len(some)].tobytes() == some.tobytes()
    if by in ("trades", "volume"):
        amounts = np.cumsum(rows["size"] if by == "volume" else np.ones(len(rows), int))
        reached = amounts // int(size)
        assert len(whole) == len(set(reached.tolist()) - {0})  # one bar for each multiple met
    wanted = plain(rows, by, int(Bars(catalog(), by, size).state.carries["size"][0]))
    assert [tuple(int(bar[f]) for f in FIELDS) for bar in whole] == [
        tuple(int(row[f]) for f in FIELDS) for row in wanted.iter_rows(named=True)
    ]


def test_what_exceeds_a_threshold_counts_towards_the_next_bar():
    """Ten lots a bar: 7 + 8 closes one with 5 over; 5 more close the next; 27 close just one."""
    rows = trades((1, 0, 100, 7), (2, 1, 101, 8), (3, 0, 99, 5), (4, 0, 98, 27), (5, 1, 97, 3))
    bars = Bars(catalog(), "volume", "10").observe(rows)
    assert bars["volume"].tolist() == [15, 5, 27, 3]
    assert (bars["ts"] // SECOND).tolist() == [2, 3, 4, 5]
    assert bars["bought"].tolist() == [7, 5, 27, 0]


def test_a_bar_is_dropped_where_its_source_goes_down():
    rows = trades((1, 0, 100, 7), (2, 1, 101, 0), (3, 0, 99, 5), (4, 0, 98, 5))
    rows["kind"][1] = EventKind.DOWN
    bars = Bars(catalog(), "volume", "10").observe(rows)
    assert bars["volume"].tolist() == [10]
    assert bars["open"].tolist() == [99]


def test_dollars_of_an_inverse_contract_are_contracts():
    rows = trades((1, 0, 100, 7), (2, 1, 101, 8))
    made = Bars(catalog(Kind.INVERSE), "value", "1500")
    assert made.table(made.observe(rows))["value"].to_list() == [1500.0]


def test_bars_on_a_tape_are_events_at_their_close():
    made = Bars(catalog(), "trades", "2")
    bars = made.observe(trades((1, 0, 100, 7), (2, 1, 103, 8), (3, 1, 99, 1), (5, 0, 98, 2)))
    rows = made.rows_of(bars)
    assert (rows["recv_ts"] // SECOND).tolist() == [2] * 4 + [5] * 4
    assert (rows["exch_ts"] // SECOND).tolist() == [1] * 4 + [3] * 4
    assert rows["price"].tolist() == [100, 103, 100, 103, 99, 99, 98, 98]
    assert rows["size"].tolist() == [0, 0, 0, 15, 0, 0, 0, 3]
    assert Bars(catalog(), "time", "60s").told.sources[0].bar_span == 60 * SECOND


@pytest.mark.parametrize(
    ("by", "size"),
    [("ticks", "5"), ("volume", "0.5"), ("volume", "-1"), ("time", "5"), ("value", "x")],
)
def test_a_size_that_makes_no_sense_is_refused(by, size):
    with pytest.raises(SettingError, match="--"):
        Bars(catalog(), by, size)
