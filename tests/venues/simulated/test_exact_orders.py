"""The exact venue on books order by order: our place in the queue is known, not estimated."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.peers import hftbacktest_quoting
from seawall.core.errors import SettingError
from seawall.core.events import EventFlag, EventKind, empty
from seawall.lab.exact import run
from seawall.venues.simulated import exact_kernels as exact
from seawall.venues.simulated import exact_matching_kernels as matching
from seawall.venues.simulated import exact_state as layout
from seawall.venues.simulated.exact import ExactShape, constant, feed_of, venue_of
from seawall.venues.simulated.exact_state import BUY, POST_ONLY
from tests.ingestion.test_orders import BITSTAMP, KINDS_OF_ORDERS, recorded
from tests.venues.simulated.exact_markets import catalog, tape

ONE = int(EventFlag.BEGIN | EventFlag.END)
SHAPE = ExactShape(
    maker_fee_ppm=0, taker_fee_ppm=0, queue="order-by-order", mark_every_ns=10, most_fills=1000
)
OURS = 3  # lots of our order


def orders(*told):
    """Rows of (ns, kind, id, side, ticks, lots left)."""
    rows = empty(len(told))
    for row, (ts, kind, number, side, price, lots) in zip(rows, told, strict=True):
        row["recv_ts"] = row["exch_ts"] = ts
        row["kind"], row["previous"], row["side"] = KINDS_OF_ORDERS[kind], number, side
        row["price"], row["size"], row["flags"] = price, lots, ONE
    return rows


def resting(rows, at, price, shape=SHAPE):
    """A venue in which we bid for OURS lots, that arrive at `at`; and the slot of the order."""
    venue = venue_of(feed_of(rows, catalog()), shape, constant(0, 0))
    exact.elapse(venue, at - int(exact.now(venue.desk)))
    number = exact.place(venue.desk, BUY, POST_ONLY, price, OURS)
    exact.elapse(venue, 0)
    return venue, int(exact.slot_of(venue.desk, number))


def fills_of(venue):
    rows = venue.fills[: venue.desk["fills"]]
    return [(int(row["ts"]), int(row["price"]), int(row["lots"])) for row in rows]


def test_a_small_tape_by_hand():
    """Five lots of two orders stand before us, four behind; the docs follow the same tape."""
    rows = orders(
        (10, "add", 1, 0, 99, 2),
        (10, "add", 2, 0, 99, 3),
        (10, "add", 3, 1, 101, 4),
        (30, "add", 4, 0, 99, 4),  # behind us
        (40, "cancel", 1, 0, 99, 0),
        (50, "modify", 4, 0, 99, 3),
        (60, "execute", 2, 0, 99, 1),
        (70, "modify", 2, 0, 99, 2),  # it wants more, and goes to the end
        (80, "execute", 4, 0, 99, 1),
        (90, "execute", 4, 0, 99, 0),
        (99, "cancel", 3, 1, 101, 0),
    )
    venue, slot = resting(rows, 20, 99)
    place, seen = venue.desk["places"][slot], []
    for until in (20, 30, 40, 50, 60, 70, 80, 90):
        exact.elapse(venue, until - int(exact.now(venue.desk)))
        seen.append(int(place["ahead"]))
    assert seen == [5, 5, 3, 3, 1, 0, 0, 0]
    assert fills_of(venue) == [(80, 99, 2), (90, 99, 1)]


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "modify", "cancel", "execute"]),
        st.integers(1, 14),
        st.integers(98, 100),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(acts=ACTS, arrival=st.integers(0, 40))
def test_only_those_before_us_move_us_and_only_those_behind_us_fill_us(acts, arrival):
    """Against plain lists of orders: bids at 98 to 100, of which ours is at 99."""
    told = [(10, "add", 99, 1, 200, 1), (10, "add", 98, 0, 50, 1)]
    told += [(20 + 10 * k, kind, n, 0, p, q) for k, (kind, n, p, q) in enumerate(acts)]
    told += [(10_000, "cancel", 99, 1, 200, 0)]
    at = 15 + 10 * min(arrival, len(acts))
    standing, before, left, fills, seen = {}, {}, OURS, [], []
    for ts, kind, number, side, asked, size in told:
        price, lots = asked, size
        if ts > at and not seen:
            before = {n: q for n, (p, q) in standing.items() if p == 99}
            seen.append(sum(before.values()))
        known = standing.get(number) if side == 0 else None
        if side == 0 and kind == "add":
            if lots and known is None:
                standing[number] = (price, lots)
        elif known is not None and not (
            (kind == "modify" and not lots) or (kind == "execute" and lots > known[1])
        ):
            price, lots = known[0], 0 if kind == "cancel" else lots
            gone = known[1] - lots
            if gone < 0:
                before.pop(number, None)
            elif number in before:
                before[number] = lots
            elif kind == "execute" and price <= 99 and seen and left and gone:
                fills.append((ts, 99, min(left, gone)))
                left -= min(left, gone)
            standing[number] = (price, lots)
            if not lots:
                del standing[number]
                before.pop(number, None)
        if seen and ts > at:
            seen.append(sum(before.values()))
    venue, slot = resting(orders(*told), at, 99)
    place, desk = venue.desk["places"][slot], venue.desk
    places = [int(place["ahead"])]
    for ts in [one[0] for one in told if one[0] > at]:
        exact.elapse(venue, ts - int(exact.now(desk)))
        places.append(int(place["ahead"]))
    open_for = len(places) if left else 1 + [ts for ts, *_ in told if ts > at].index(fills[-1][0])
    assert places[:open_for] == seen[:open_for]
    assert all(0 <= later <= sooner for sooner, later in itertools.pairwise(places))
    assert fills_of(venue) == fills


def test_rows_one_by_one_are_rows_in_a_block():
    read = recorded(*BITSTAMP)
    feed = feed_of(read.rows[:6_000], read.catalog, base_latency_ns=1_000_000)
    shape = ExactShape(queue="order-by-order")
    block, single = (venue_of(feed, shape, constant(0, 0)) for _ in range(2))
    matching.exchange_rows(block.desk, feed.rows[0], feed.prices, block.fills, feed.end)
    for row in feed.rows[0]:
        matching.step(single.desk, feed.prices, row)
    assert block.desk["books"][0].tobytes() == single.desk["books"][0].tobytes()


def test_models_of_levels_run_on_the_same_feed_and_the_truth_lies_between_them():
    """On the recorded Bitstamp orders; the share of equal fills is in docs/exact-venue.md."""
    read = recorded(*BITSTAMP)
    feed = feed_of(read.rows, read.catalog, base_latency_ns=1_000_000)
    lots = {}
    for queue, power in (("risk-averse", 1), ("probabilistic", 1), ("order-by-order", 1)):
        shape = ExactShape(rule="whole", queue=queue, queue_power=power)
        told = run(
            feed,
            shape,
            constant(10_000_000, 10_000_000),
            hftbacktest_quoting.touch,
            100_000_000,
            10_000_000,
            1_000_000_000,
        )
        lots[queue] = int(told.fills["lots"].sum())
    assert 0 < lots["risk-averse"] <= lots["order-by-order"] <= lots["probabilistic"]


def test_a_book_of_levels_knows_no_place():
    rows = tape((1000, "bid", 99, 5), (1000, "ask", 101, 4))
    with pytest.raises(SettingError, match="nobody knows his place"):
        venue_of(feed_of(rows, catalog()), SHAPE, constant(1, 1))


def test_trades_serve_where_orders_are_told_without_executions():
    """A feed that cancels whom it executes: its trades eat the queue, and once only."""
    rows = orders(
        (10, "add", 1, 0, 99, 2),
        (10, "add", 3, 1, 101, 4),
        (30, "cancel", 9, 0, 99, 0),
        (31, "cancel", 1, 0, 99, 0),
        (90, "cancel", 3, 1, 101, 0),
    )
    rows["kind"][2], rows["size"][2], rows["side"][2] = EventKind.TRADE, 4, 1
    venue, slot = resting(rows, 20, 99)
    exact.elapse(venue, 50)
    assert venue.desk["places"][slot]["ahead"] == 0
    assert fills_of(venue) == [(30, 99, 2)]
    assert np.array_equal(venue.rows[layout.OURS]["code"] & 15, venue.rows[0]["code"] & 15)
