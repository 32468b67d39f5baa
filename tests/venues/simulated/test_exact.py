import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventFlag, EventKind, Side
from seawall.core.instruments import Kind
from seawall.lab.exact import equity_of, run
from seawall.venues.simulated import exact_kernels as exact
from seawall.venues.simulated import exact_matching_kernels as matching
from seawall.venues.simulated import exact_state as layout
from seawall.venues.simulated.exact import (
    ExactShape,
    constant,
    drawn,
    feed_of,
    sampled,
    venue_of,
)
from seawall.venues.simulated.exact_state import (
    BUY,
    CANCELED,
    EXCHANGE,
    FILLED,
    FOK,
    GTC,
    IOC,
    MARKET,
    OPEN,
    POST_ONLY,
    REJECTED,
    SELL,
)
from tests.venues.simulated.exact_markets import (
    LAG,
    MARKET_ROWS,
    ROW_SIDES,
    WISHES,
    Model,
    Own,
    catalog,
    fee_of,
    rows_of,
    tape,
)

ENTRY, RESPONSE = 3, 4  # ns
SHAPE = ExactShape(maker_fee_ppm=-150, taker_fee_ppm=437, mark_every_ns=10, most_fills=10_000)
BOOK = [(1000, "bid", 99, 5), (1000, "bid", 98, 7), (1000, "ask", 101, 4), (1000, "ask", 102, 6)]


def venue_on(told, shape=SHAPE, latency=None, kind=Kind.LINEAR):
    feed = feed_of(tape(*told), catalog(kind))
    return venue_of(feed, shape, latency or constant(ENTRY, RESPONSE))


def fills_of(venue):
    rows = venue.fills[: venue.desk["fills"]]
    fields = ("ts", "number", "side", "price", "lots", "maker")
    return [tuple(int(row[name]) for name in fields) for row in rows]


def to_the_end(venue):
    while exact.elapse(venue, 1000):
        pass
    exact.elapse(venue, 1 << 40)


def wished(venue, wishes, pieces=lambda wait: [wait]):
    """Send what is wished; returns the requests that were sent, with their arrival."""
    desk, sent, last = venue.desk, [], 0
    for wait, side, kind, price, size, also in wishes:
        for piece in pieces(wait):
            exact.elapse(venue, piece)
        arrival = int(exact.now(desk)) + ENTRY
        if also and last and exact.cancel(desk, last):
            sent.append((arrival, None, last))
        last = int(exact.place(desk, side, kind, price, size))
        assert last > 0
        sent.append((arrival, Own(last, side, kind, price, size), last))
    to_the_end(venue)
    return sent


def model_of(told, sent):
    """The same market and requests in the plain model."""
    model, rows = Model(), list(told)

    def rows_until(ts):
        while rows and rows[0][0] <= ts:
            row_ts, what, price, lots = rows.pop(0)
            if what in ("bid", "ask"):
                model.level(row_ts, ROW_SIDES[what], price, lots)
            else:
                model.trade(row_ts, ROW_SIDES[what], price, lots)

    for arrival, order, number in sent:
        rows_until(arrival)
        if order is None:
            model.cancel(number)
        else:
            model.arrive(arrival, order)
    rows_until(1 << 60)
    return model


@settings(deadline=None, max_examples=150)
@given(drawn=MARKET_ROWS, wishes=WISHES)
def test_fills_are_those_of_a_plain_model(drawn, wishes):
    """No lot twice, none through the book, none of nowhere: the model keeps account of all."""
    told = rows_of(drawn)
    venue = venue_on(told)
    sent = wished(venue, wishes)
    assert fills_of(venue) == model_of(told, sent).fills


@settings(deadline=None, max_examples=80)
@given(drawn=MARKET_ROWS, wishes=WISHES, data=st.data())
def test_how_time_is_cut_changes_nothing(drawn, wishes, data):
    def cut(wait):
        first = data.draw(st.integers(0, wait))
        return [first, wait - first]

    whole, pieces = venue_on(rows_of(drawn)), venue_on(rows_of(drawn))
    wished(whole, wishes)
    wished(pieces, wishes, cut)
    assert whole.desk["fills"] == pieces.desk["fills"]
    assert whole.fills.tobytes() == pieces.fills.tobytes()
    assert exact.traded(whole) == exact.traded(pieces)
    for field in ("position", "cash", "fees"):
        assert whole.desk[field] == pieces.desk[field]


@settings(deadline=None, max_examples=80)
@given(drawn=MARKET_ROWS, wishes=WISHES)
def test_latency_fees_and_accounts_to_the_last_unit(drawn, wishes):
    venue = venue_on(rows_of(drawn))
    arrivals = {order.name: ts for ts, order, _ in wished(venue, wishes) if order}
    instrument = catalog().instruments[0]
    position = cash = fees = told = 0
    for row in venue.fills[: venue.desk["fills"]]:
        assert row["ts"] >= arrivals[int(row["number"])]
        # no response overtakes another one
        assert row["told"] >= max(told, row["ts"] + RESPONSE)
        told = row["told"]
        price, lots = int(row["price"]), int(row["lots"])
        ppm = SHAPE.maker_fee_ppm if row["maker"] else SHAPE.taker_fee_ppm
        assert row["fee"] == fee_of(instrument, price, lots, ppm)
        sign = 1 if row["side"] == BUY else -1
        position += sign * lots
        cash -= sign * instrument.value(price, lots) + int(row["fee"])
        fees += int(row["fee"])
    desk = venue.desk
    assert (desk["position"], desk["cash"], desk["fees"]) == (position, cash, fees)


@settings(deadline=None, max_examples=60)
@given(drawn=MARKET_ROWS, wishes=WISHES)
def test_a_block_of_rows_is_the_rows_one_by_one(drawn, wishes):
    block, single = venue_on(rows_of(drawn)), venue_on(rows_of(drawn))
    for venue in (block, single):
        for _, side, kind, price, size, _ in wishes:
            exact.place(venue.desk, side, kind, price, size)
        exact.elapse(venue, ENTRY + 1)
    rows = block.rows[EXCHANGE]
    matching.exchange_rows(block.desk, rows, block.prices, block.fills, 1 << 60)
    matching.settle(block.desk, block.fills)
    while single.desk["next"] < len(rows):
        matching.step(single.desk, single.prices, rows[single.desk["next"]])
        matching.settle(single.desk, single.fills)
    assert block.fills.tobytes() == single.fills.tobytes()
    for field in ("books", "orders", "places", "queue", "resting", "eaten_levels", "next"):
        assert block.desk[field].tobytes() == single.desk[field].tobytes(), field


@settings(deadline=None, max_examples=80)
@given(drawn=MARKET_ROWS, wishes=WISHES)
def test_places_are_never_negative_and_both_sides_never_meet(drawn, wishes):
    venue = venue_on(rows_of(drawn))
    desk = venue.desk
    for wait, side, kind, price, size, _ in wishes:
        exact.elapse(venue, wait)
        exact.place(desk, side, kind, price, size)
        assert (desk["places"]["ahead"] >= 0).all()
        prices = [
            desk["orders"]["price"][desk["queue"][book][: desk["resting"][book]]]
            for book in (BUY, SELL)
        ]
        if len(prices[BUY]) and len(prices[SELL]):
            assert prices[BUY].max() < prices[SELL].min()
        assert (desk["orders"]["left"] >= 0).all()


@settings(deadline=None, max_examples=60)
@given(
    price=st.integers(1, 10**7),
    lots=st.integers(1, 10**6),
    ppm=st.integers(-(10**6), 10**6),
    kind=st.sampled_from([Kind.LINEAR, Kind.INVERSE]),
)
def test_value_and_fee_are_those_of_the_core(price, lots, ppm, kind):
    venue = venue_on(BOOK, kind=kind)
    instrument = catalog(kind).instruments[0]
    value = matching.value_of(venue.desk, price, lots)
    assert value == instrument.value(price, lots)
    assert matching.ceil_ppm(value, ppm) == fee_of(instrument, price, lots, ppm)


@settings(deadline=None, max_examples=60)
@given(drawn=MARKET_ROWS, step=st.integers(1, 40))
def test_the_touch_that_is_made_once_is_that_of_our_book(drawn, step):
    venue = venue_on(rows_of(drawn))
    desk = venue.desk
    bought = sum(lots for _, what, _, lots in rows_of(drawn) if what == "bought")
    more = True
    while more:
        more = exact.elapse(venue, step)
        exact.catch_up(venue)
        best = desk["books"][layout.OURS]["best"]
        assert exact.best_bid(desk) == matching.price_of(venue.prices, best[BUY])
        assert exact.best_ask(desk) == matching.price_of(venue.prices, best[SELL])
        if exact.two_sided(desk):
            assert exact.depth_at(venue, BUY, exact.best_bid(desk)) == exact.depth_of(venue, BUY, 1)
    assert exact.traded(venue)[0] == bought


def test_a_small_tape_by_hand():
    """The tape of docs/exact-venue.md, followed event by event."""
    venue = venue_on(
        [
            *BOOK,
            (1010, "sold", 99, 3),  # the queue before us is 5 and becomes 2
            (1015, "bid", 99, 2),  # the book shows it
            (1020, "sold", 99, 4),  # 2 stand before us: we get 2 of 3
            (1025, "ask", 99, 6),  # the market comes down to us: our last lot
            (1030, "bid", 98, 7),
        ]
    )
    desk = venue.desk
    exact.elapse(venue, 1)  # 1001: we know nothing yet, the exchange has its book
    assert not exact.two_sided(desk)
    order = exact.place(desk, BUY, POST_ONLY, 99, 3)  # arrives at 1004
    exact.elapse(venue, 7)  # 1008: our book has come (1007), and so has the answer
    assert (exact.best_bid(desk), exact.best_ask(desk)) == (99, 101)
    assert exact.state_of(desk, order) == OPEN
    assert desk["places"][order % layout.SLOTS]["ahead"] == 5
    exact.elapse(venue, 8)  # 1016
    assert desk["places"][order % layout.SLOTS]["ahead"] == 2
    exact.elapse(venue, 7)  # 1023: two lots are filled and we do not know it
    assert fills_of(venue) == [(1020, order, BUY, 99, 2, 1)]
    assert exact.position(desk) == 0
    exact.elapse(venue, 1)  # 1024
    assert exact.position(desk) == 2
    assert exact.open_lots(desk, order) == 1
    to_the_end(venue)
    assert fills_of(venue)[1:] == [(1025, order, BUY, 99, 1, 1)]
    assert exact.state_of(desk, order) == FILLED
    # 99 ticks x 3 lots x 10,000 units, and a rebate of 150 ppm, rounded down for each fill
    assert exact.cash(desk) == -99 * 3 * 10_000 + 297 + 148


def test_two_takers_never_take_the_same_lots():
    venue = venue_on([*BOOK, (1100, "ask", 101, 9), (1200, "bid", 99, 5)])
    desk = venue.desk
    exact.place(desk, BUY, IOC, 101, 3)
    exact.place(desk, BUY, IOC, 101, 3)
    exact.elapse(venue, 50)
    assert [lots for *_, lots, _ in fills_of(venue)] == [3, 1]
    exact.elapse(venue, 60)  # the level shows 9, of which 4 were ours
    exact.place(desk, BUY, IOC, 101, 9)
    to_the_end(venue)
    assert [lots for *_, lots, _ in fills_of(venue)] == [3, 1, 5]


@pytest.mark.parametrize(("side", "what", "price"), [(BUY, "sold", 99), (SELL, "bought", 101)])
def test_the_better_price_and_then_the_earlier_order_is_filled_first(side, what, price):
    venue = venue_on([*BOOK, (1100, what, price, 12), (1200, "bid", 97, 5)])
    desk = venue.desk
    better = 1 if side == BUY else -1
    first, second = (exact.place(desk, side, GTC, price, 3) for _ in range(2))
    best = exact.place(desk, side, GTC, price + better, 4)
    to_the_end(venue)
    queue = 5 if side == BUY else 4
    got = {best: 4, first: min(3, 8 - queue), second: max(0, 8 - queue - 3)}
    assert [(fill[1], fill[4]) for fill in fills_of(venue)] == [(n, g) for n, g in got.items() if g]


def test_our_orders_do_not_trade_with_one_another():
    venue = venue_on([*BOOK, (1200, "bid", 97, 5)])
    desk = venue.desk
    resting = exact.place(desk, SELL, GTC, 102, 5)
    met = exact.place(desk, BUY, GTC, 103, 9)
    refused = exact.place(desk, BUY, POST_ONLY, 102, 1)
    to_the_end(venue)
    # what stands at 101 is taken; at 102 we would meet ourselves
    assert fills_of(venue) == [(1003, met, BUY, 101, 4, 0)]
    assert exact.state_of(desk, met) == CANCELED
    assert exact.state_of(desk, refused) == REJECTED
    assert exact.state_of(desk, resting) == OPEN


def test_kinds_of_orders():
    venue = venue_on([*BOOK, (1200, "bid", 97, 5)])
    desk = venue.desk
    told = {
        "fok": exact.place(desk, BUY, FOK, 101, 5),  # only 4 are there
        "post": exact.place(desk, BUY, POST_ONLY, 101, 1),
        "market": exact.place(desk, SELL, MARKET, 0, 6),
        "rests": exact.place(desk, BUY, GTC, 101, 9),
    }
    to_the_end(venue)
    states = {name: exact.state_of(desk, number) for name, number in told.items()}
    assert states == {"fok": CANCELED, "post": REJECTED, "market": FILLED, "rests": OPEN}
    assert fills_of(venue) == [
        (1003, told["market"], SELL, 99, 5, 0),
        (1003, told["market"], SELL, 98, 1, 0),
        (1003, told["rests"], BUY, 101, 4, 0),
    ]
    assert exact.open_lots(desk, told["rests"]) == 5


def test_a_replacement_keeps_its_place_only_where_it_shrinks():
    venue = venue_on([*BOOK, (1050, "bid", 99, 9), (1200, "bid", 97, 5)])
    desk = venue.desk
    shrinks = exact.place(desk, BUY, GTC, 99, 3)
    grows = exact.place(desk, BUY, GTC, 99, 3)
    exact.elapse(venue, 60)
    assert exact.replace(desk, shrinks, 99, 2)
    assert exact.replace(desk, grows, 99, 4)
    assert not exact.cancel(desk, grows)  # one request of an order at a time
    to_the_end(venue)
    ahead = [int(desk["places"][n % layout.SLOTS]["ahead"]) for n in (shrinks, grows)]
    assert ahead == [5, 9]
    assert [int(exact.open_lots(desk, n)) for n in (shrinks, grows)] == [2, 4]


def test_a_fill_beats_a_cancel_in_flight():
    venue = venue_on([*BOOK, (1012, "sold", 98, 9), (1200, "bid", 97, 5)])
    desk = venue.desk
    order = exact.place(desk, BUY, GTC, 99, 2)
    exact.elapse(venue, 11)
    assert exact.cancel(desk, order)
    exact.elapse(venue, 100)
    assert fills_of(venue) == [(1012, order, BUY, 99, 2, 1)]
    assert exact.state_of(desk, order) == FILLED


def test_hftbacktests_rule_gives_all_of_a_trade_to_every_order():
    told = [*BOOK, (1050, "sold", 99, 6), (1200, "bid", 97, 5)]
    lots = {}
    for rule in ("shared", "partial", "whole"):
        venue = venue_on(told, ExactShape(rule=rule))
        for _ in range(2):
            exact.place(venue.desk, BUY, GTC, 99, 3)
        to_the_end(venue)
        lots[rule] = [fill[4] for fill in fills_of(venue)]
    assert lots == {"shared": [1], "partial": [1, 1], "whole": [3, 3]}


def test_a_snapshot_shortens_queues_and_fills_what_it_went_through():
    rows = tape(
        *BOOK,
        (1100, "bid", 0, 0),
        (1100, "bid", 97, 4),
        (1100, "ask", 98, 3),
        (1200, "bid", 97, 5),
    )
    rows["kind"][4], rows["side"][4] = EventKind.SNAPSHOT, Side.UNKNOWN
    rows["flags"][4:7] = EventFlag.BEGIN, 0, EventFlag.END
    venue = venue_of(feed_of(rows, catalog()), SHAPE, constant(ENTRY, RESPONSE))
    desk = venue.desk
    met = exact.place(desk, BUY, GTC, 99, 4)
    waits = exact.place(desk, BUY, GTC, 97, 2)
    to_the_end(venue)
    assert fills_of(venue) == [(1100, met, BUY, 99, 3, 1)]
    assert exact.state_of(desk, waits) == OPEN
    assert exact.best_ask(desk) == 98


def test_a_lost_feed_voids_the_book():
    rows = tape(*BOOK, (1100, "bid", 0, 0), (1150, "sold", 99, 50), (1200, "bid", 97, 5))
    rows["kind"][4] = EventKind.DOWN
    venue = venue_of(feed_of(rows, catalog()), SHAPE, constant(ENTRY, RESPONSE))
    desk = venue.desk
    waits = exact.place(desk, BUY, GTC, 99, 4)
    exact.elapse(venue, 120)
    late = exact.place(desk, BUY, GTC, 99, 4)
    to_the_end(venue)
    assert fills_of(venue) == []
    assert exact.state_of(desk, waits) == OPEN
    assert exact.state_of(desk, late) == REJECTED


def test_latencies_drawn_and_sampled():
    told = [*BOOK, *((1100 + 10 * k, "bid", 98, 7 + k) for k in range(20))]
    rows = tape(*told)
    rows["recv_ts"][8:] += 5000
    feed = feed_of(rows, catalog())
    venue = venue_of(feed, SHAPE, sampled(entry=2.0, response=0.5))
    exact.elapse(venue, 10)  # the fastest resolution is a microsecond: 7 ns are 0
    exact.place(venue.desk, BUY, IOC, 101, 1)
    exact.elapse(venue, 1)
    assert fills_of(venue)[0][0] == 1010
    exact.elapse(venue, 6000)
    exact.place(venue.desk, BUY, IOC, 101, 1)  # rows now take 5 us, so this takes 10
    sent = int(exact.now(venue.desk))
    to_the_end(venue)
    assert fills_of(venue)[1][0] == sent + 10_000
    first, again, other = (drawn(100, 200, 0.5, seed) for seed in (1, 1, 2))
    assert (first.entry == again.entry).all()
    assert (first.entry != other.entry).any()
    assert np.median(first.response) == pytest.approx(200, rel=0.02)
    with pytest.raises(SettingError, match="a latency is below 0"):
        venue_of(feed, SHAPE, constant(-1, 0))


@njit
def bids_and_waits(venue, ns, size):
    """A strategy: one bid at the best price, then time."""
    desk = venue.desk
    order = 0
    while exact.elapse(venue, ns):
        if exact.two_sided(desk) and not exact.alive(desk, order):
            order = exact.place(desk, BUY, POST_ONLY, exact.best_bid(desk), size)


def test_a_compiled_strategy_and_the_same_in_plain_python_agree():
    told = [*BOOK, *((1100 + 10 * k, "sold", 99, 3) for k in range(20))]
    feed = feed_of(tape(*told), catalog())
    ran = [
        run(feed, SHAPE, constant(ENTRY, RESPONSE), strategy, 5, 2)
        for strategy in (bids_and_waits, getattr(bids_and_waits, "py_func", bids_and_waits))
    ]
    assert ran[0].digest == ran[1].digest
    assert len(ran[0].fills) > 5
    assert ran[0].position == ran[0].fills["lots"].sum()
    assert ran[0].rows == len(told)
    last = ran[0].marks[-1]
    assert ran[0].equity[-1] == last["cash"] + last["position"] * (99 + 101) * 10_000 // 2


def test_equity_of_an_inverse_contract():
    """One contract of 100 USD bought at 10,000.0 and worth 10,001.0: 0.01 - 0.009999... BTC."""
    marks = np.zeros(1, layout.MARK)
    marks["bid"], marks["ask"], marks["position"], marks["cash"] = 100_005, 100_015, 1, 1_000_000
    equity = equity_of(marks, catalog(Kind.INVERSE).instruments[0])
    assert equity[0] == 1_000_000 - round(100 / 10_001 * 1e8)


def test_mistakes_are_one_clear_line():
    rows = tape(*BOOK)
    with pytest.raises(DataError, match="give a base latency"):
        feed_of(tape(*BOOK, lag=-50), catalog())
    with pytest.raises(DataError, match="no depth rows"):
        feed_of(tape((1000, "sold", 99, 1)), catalog())
    with pytest.raises(DataError, match="no book of ETH"):
        feed_of(rows, catalog(), "ETH")
    with pytest.raises(SettingError, match="queue_power is 0"):
        ExactShape(queue_power=0).check()
    with pytest.raises(SettingError, match="allowed is shared, partial, whole"):
        ExactShape(rule="all").check()
    feed = feed_of(tape(*BOOK, *((1100 + k, "sold", 99, 9) for k in range(99))), catalog())
    shape = ExactShape(most_fills=2)
    with pytest.raises(DataError, match="more fills than the 2"):
        run(feed, shape, constant(0, 0), bids_and_waits, 1, 1)


def test_the_base_latency_is_that_of_the_fastest_row():
    rows = tape(*BOOK, lag=-50)
    rows["recv_ts"][1] += 9
    feed = feed_of(rows, catalog(), base_latency_ns=20)
    ours = np.sort(feed.rows[layout.OURS]["ts"])
    assert ours.tolist() == [1020, 1020, 1020, 1029]
    assert feed.start == 1000
    assert LAG > 0
