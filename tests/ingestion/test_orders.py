"""Books order by order: importers of the recorded sets, and the levels that follow from them."""

import numpy as np
import polars as pl
import pytest

from seawall.core import ladder as ladders
from seawall.core import order_book_kernels as orders
from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventKind, Raw
from seawall.core.order_book import new_ladders, new_order_book
from seawall.ingestion import tables
from seawall.ingestion.inspection import inspect_rows
from seawall.ingestion.orders import Levels, changes_of, read_orders
from seawall.ingestion.replay import ReplayFeed
from tests.recorded import DATA

BITSTAMP = [
    DATA / "l3_tick" / f"bitstamp_btcusd_20150501_{what}.parquet" for what in ("orders", "trades")
]
BITFINEX = DATA / "l3_tick" / "bitfinex_btcusd_r0_l3.parquet"
SNAPSHOTS = DATA / "l2_tick" / "bitstamp_btcusd_20150501_snapshots.parquet"

KINDS_OF_ORDERS = {
    "add": EventKind.ADD,
    "modify": EventKind.MODIFY,
    "cancel": EventKind.CANCEL,
    "execute": EventKind.EXECUTE,
}


def recorded(*paths, tick=""):
    for path in paths:
        if not path.exists():
            pytest.skip(f"no recorded orders at {path} (set RECORDED_DATA)")
    return read_orders(paths, tick=tick)


def log(tmp_path, **columns):
    """A table of orders; what is given overrules."""
    base = {
        "ts": [1_000, 2_000, 3_000],
        "order_id": [7, 8, 7],
        "action": ["created", "created", "deleted"],
        "side": ["bid", "ask", "bid"],
        "price": [100.5, 101.0, 100.5],
        "qty": [2.0, 1.5, 2.0],
    }
    path = tmp_path / "x_btcusd_orders.parquet"
    pl.DataFrame({**base, **columns}).write_parquet(path)
    return path


def test_the_recorded_book_of_orders_is_the_venues_own_book_of_levels():
    """Bitstamp, 1 May 2015: 4,104 books of twenty levels a side, told beside the orders.

    The orders begin without a snapshot, so a level that older orders stand on is told smaller or
    not at all; none may be larger, but for three where a row of the recording is missing.
    """
    read = recorded(*BITSTAMP)
    if not SNAPSHOTS.exists():
        pytest.skip(f"no recorded books at {SNAPSHOTS} (set RECORDED_DATA)")
    told = pl.read_parquet(SNAPSHOTS)
    instrument = read.catalog.instruments[0]
    when = tables.times(told, "ts", "snapshots")
    price = tables.to_units(told["price"].to_numpy(), instrument.tick, "price")
    size = tables.to_units(told["qty"].to_numpy(), instrument.lot, "qty")
    side = (told["side"] == "ask").to_numpy().astype(np.int64)
    levels = Levels(read.catalog)
    rows = levels.take(Raw(read.rows))
    counts = levels.counts[0]
    assert (counts["stale"], counts["crossed"], counts["unknown"]) == (0, 0, 201)
    rows = rows[rows["kind"] == EventKind.DEPTH]
    book = new_ladders(1)
    at, shown = 0, np.zeros(len(size), np.int64)
    for i in range(len(size)):
        while at < len(rows) and rows["recv_ts"][at] <= when[i]:
            ladders.put(book[0], np.int64(rows["side"][at]), rows["price"][at], rows["size"][at])
            at += 1
        shown[i] = ladders.size_at(book[0], side[i], price[i])
    late = when >= when[0] + 3 * 3_600_000_000_000
    assert len(size) == 164_160
    assert (shown > size).sum() <= 3
    assert (shown == size).mean() > 0.87
    assert late.sum() > 30_000
    assert (shown == size)[late].mean() > 0.997


def test_the_recorded_executions_are_first_come_first_served_and_the_recorded_trades():
    read = recorded(*BITSTAMP)
    changes = changes_of(new_order_book(), read.rows)
    queues, executions = {}, []
    for one in changes.tolist():
        _, what, side, price, number, before, after, _, _ = one
        queue = queues.setdefault((side, price), {})
        if what == orders.TAKEN:
            assert number == min(queue)
            executions.append((price, before - after))
        if what in (orders.JOINED, orders.LEFT, orders.TAKEN):
            queue[number] = after
            if not after:
                del queue[number]
    trades = read.rows[read.rows["kind"] == EventKind.TRADE]
    told = set(zip(trades["price"].tolist(), trades["size"].tolist(), strict=True))
    assert len(trades) == 489
    assert sum(one in told for one in executions) >= 465


def test_the_raw_book_is_imported_with_what_it_lacks_said():
    with pytest.raises(DataError, match="--tick"):
        recorded(BITFINEX)
    read = recorded(BITFINEX, tick="0.0001")
    kinds = np.bincount(read.rows["kind"], minlength=15)
    assert kinds[EventKind.SNAPSHOT] == 1
    assert kinds[EventKind.ADD] > 60_000
    assert kinds[EventKind.EXECUTE] == 0
    for lacks in ("no times", "no executions", "only the best orders", "rounded to 0.0001"):
        assert any(lacks in note for note in read.notes)
    report = inspect_rows(read.catalog, [Raw(read.rows)]).books[0]
    assert (report.unknown_orders, report.repeated_orders, report.malformed_orders) == (0, 0, 0)
    assert report.crossed == 0


def test_levels_are_the_same_however_a_tape_is_cut_into_messages():
    read = recorded(BITFINEX, tick="0.0001")
    rows = read.rows[:5_000]
    whole = Levels(read.catalog).take(Raw(rows))
    ends = np.flatnonzero(rows["flags"] & 2) + 1
    parts = np.split(rows, ends[[10, 11, 500, 2_000]])
    split = np.concatenate(list(Levels(read.catalog).blocks(Raw(part) for part in parts)))
    assert split.tobytes() == whole.tobytes()
    assert (np.diff(whole["sequence"]) >= 0).all()


def test_an_inspection_counts_what_cannot_be(tmp_path):
    path = log(
        tmp_path,
        ts=[1, 2, 3, 4, 5],
        order_id=[7, 7, 9, 8, 7],
        action=["created", "created", "deleted", "created", "changed"],
        side=["bid", "bid", "bid", "ask", "bid"],
        price=[100.0, 100.0, 99.0, 101.0, 100.0],
        qty=[2.0, 2.0, 1.0, 0.0, 3.0],
    )
    read = read_orders([path])
    report = inspect_rows(read.catalog, [Raw(read.rows)])
    book = report.books[0]
    assert (book.unknown_orders, book.repeated_orders, book.malformed_orders) == (1, 1, 2)
    assert sum("order" in line for line in report.findings) == 3
    # a negative size does not come through the importer, but may stand on a tape
    bad = read.rows.copy()
    bad["size"][1] = -5
    book = inspect_rows(read.catalog, [Raw(bad)]).books[0]
    assert (book.repeated_orders, book.malformed_orders) == (0, 3)


def test_an_inspection_sees_a_book_that_stays_crossed(tmp_path):
    second = 1_000_000_000
    path = log(
        tmp_path,
        ts=[1 * second, 2 * second, 9 * second],
        order_id=[7, 8, 9],
        action=["created"] * 3,
        side=["bid", "ask", "bid"],
        price=[100.0, 99.0, 90.0],
    )
    read = read_orders([path])
    assert inspect_rows(read.catalog, [Raw(read.rows)]).books[0].crossed == 1


def test_a_node_does_not_run_on_orders(tmp_path):
    read = read_orders([log(tmp_path)])
    feed = ReplayFeed(read.catalog, iter([Raw(read.rows)]), clock=None, speed=None)
    with pytest.raises(DataError, match="seawall data levels"):
        feed.read(0.0)


def test_what_cannot_be_imported_is_said_in_a_line(tmp_path):
    with pytest.raises(DataError, match="'action', row 2 is 'moved'"):
        read_orders([log(tmp_path, action=["created", "moved", "deleted"])])
    with pytest.raises(DataError, match="give one table of orders"):
        read_orders([log(tmp_path), log(tmp_path)])
    with pytest.raises(SettingError, match="--tick"):
        read_orders([log(tmp_path)], tick="-1")
    with pytest.raises(DataError, match="earlier than the row before"):
        read_orders([log(tmp_path, ts=[3, 2, 1])])
