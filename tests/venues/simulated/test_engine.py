"""What the exchange does to an order, told case by case with figures done by hand."""

import msgspec
import pytest

from seawall.core.errors import InvariantError, OrderRefusedError, SettingError
from seawall.core.events import EventFlag, EventKind, Side
from seawall.core.orders import Fill, OrderReport, OrderState, TimeInForce
from seawall.venues.simulated.engine import Engine
from tests.venues.simulated.market import (
    BOOK,
    CATALOG,
    INVERSE,
    LINEAR,
    MS,
    NAMES,
    SHAPE,
    SPOT,
    Story,
    bar,
    depth,
    fold,
    order,
    row,
    snapshot,
    tape,
    trade,
)

BUY, SELL = Side.BUY, Side.SELL
S = OrderState
IOC, FOK, GTD = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTD


# --- taking ---


def test_a_market_order_walks_the_book_with_a_fee_for_each_level() -> None:
    story = Story().ask(order("a", BUY, 12))
    reports = story.engine.reports(0, story.now)
    # One lot is 0.01 BTC, one tick 1 USD: 4 lots at 101 are worth 404 cents.
    # 500 ppm of 404, 612 and 206 cents, each rounded up to a whole cent.
    fills = [r for r in reports if isinstance(r, Fill)]
    assert [(f.price, f.size, f.fee, f.maker) for f in fills] == [
        (101, 4, 1, False),
        (102, 6, 1, False),
        (103, 2, 1, False),
    ]
    assert story.states() == [
        ("a", S.NEW, 0),
        ("a", S.PARTIALLY_FILLED, 4),
        ("a", S.PARTIALLY_FILLED, 10),
        ("a", S.FILLED, 12),
    ]
    assert [r.sequence for r in reports] == list(range(1, 8))
    assert [f.fill_id for f in fills] == ["2", "4", "6"]
    assert story.engine.positions() == {NAMES[LINEAR]: 12}
    assert story.engine.balances()["USD"] == SHAPE.balances["USD"] - 3


def test_what_was_taken_is_gone_until_the_next_row_for_that_price() -> None:
    story = Story().ask(order("a", BUY, 4), order("b", BUY, 1))
    assert story.fills() == [("a", 101, 4, False), ("b", 102, 1, False)]
    story.see(depth(10, SELL, 101, 3)).ask(order("c", BUY, 4))
    assert story.fills()[2:] == [("c", 101, 3, False), ("c", 102, 1, False)]


def test_ioc_takes_what_there_is_and_cancels_the_rest() -> None:
    story = Story().ask(order("a", BUY, 9, 101, time_in_force=IOC))
    assert story.fills() == [("a", 101, 4, False)]
    assert story.state("a") == (S.CANCELED, 4, "IOC: what could not be filled at once")


def test_fok_takes_all_or_nothing() -> None:
    story = Story().ask(order("a", BUY, 11, 102, time_in_force=FOK))
    assert story.state("a")[:2] == (S.CANCELED, 0)
    story.ask(order("b", BUY, 10, 102, time_in_force=FOK))
    assert story.state("b")[:2] == (S.FILLED, 10)
    assert story.fills() == [("b", 101, 4, False), ("b", 102, 6, False)]


def test_a_crossing_limit_order_rests_with_what_is_left() -> None:
    story = Story().ask(order("a", SELL, 8, 100))
    assert story.fills() == [("a", 100, 5, False)]
    assert story.state("a")[:2] == (S.PARTIALLY_FILLED, 5)
    story.see(trade(10, BUY, 100, 2))
    assert story.fills()[1:] == [("a", 100, 2, True)]


@pytest.mark.parametrize(
    "rows",
    [
        [row(1, EventKind.TICK)],
        snapshot(1, {}, {101: 4}),
        snapshot(1, {100: 5}, {}),
        [*BOOK, row(2, EventKind.DOWN)],
        [*BOOK, row(2, EventKind.SNAPSHOT, flags=EventFlag.BEGIN)],
    ],
    ids=["never seen", "no bids", "no asks", "down", "half a snapshot"],
)
def test_no_market_order_without_a_whole_book(rows: list[tuple[int, ...]]) -> None:
    story = Story(rows=rows)  # type: ignore[arg-type]
    story.ask(order("a", BUY, 1))
    assert story.state("a")[0] is S.REJECTED
    assert "book is" in story.state("a")[2]


def test_post_only_never_takes() -> None:
    story = Story().ask(order("a", BUY, 1, 101, post_only=True), order("b", BUY, 1, 100))
    assert story.state("a") == (S.REJECTED, 0, "post-only: it would trade at once")
    assert story.state("b")[0] is S.NEW
    assert story.fills() == []


# --- resting ---


def test_the_queue_starts_at_what_the_tick_shows_and_trades_eat_it() -> None:
    story = Story().ask(order("a", BUY, 4, 100))
    story.see(trade(10, SELL, 100, 5))  # those before us
    assert story.fills() == []
    story.see(trade(20, SELL, 100, 1))
    assert story.fills() == [("a", 100, 1, True)]
    story.see(trade(30, BUY, 100, 9), trade(31, Side.UNKNOWN, 100, 9))  # not from our side
    assert len(story.fills()) == 1
    story.see(trade(40, SELL, 100, 9))
    assert story.fills()[1:] == [("a", 100, 3, True)]


def test_a_depth_row_can_only_shorten_the_queue() -> None:
    story = Story().ask(order("a", BUY, 1, 100))
    story.see(depth(10, BUY, 100, 2), depth(11, BUY, 100, 50), trade(12, SELL, 100, 2))
    assert story.fills() == []
    story.see(trade(20, SELL, 100, 1))
    assert story.fills() == [("a", 100, 1, True)]


def test_one_trade_is_shared_between_our_orders_in_order_of_arrival() -> None:
    story = Story().ask(order("a", BUY, 3, 100), order("b", BUY, 3, 100))
    story.see(trade(10, SELL, 100, 9))  # 5 others, 3 to a, 1 to b
    assert story.fills() == [("a", 100, 3, True), ("b", 100, 1, True)]


@pytest.mark.parametrize(
    "rows", [[trade(10, SELL, 99, 1)], [depth(10, SELL, 100, 1)], [depth(10, SELL, 97, 1)]]
)
def test_what_goes_through_our_price_fills_us_at_our_price(rows: list[tuple[int, ...]]) -> None:
    story = Story().ask(order("a", BUY, 30, 100), order("b", BUY, 1, 96))
    story.see(*rows)  # type: ignore[arg-type]
    assert story.fills() == [("a", 100, 30, True)]


def test_a_quote_that_crosses_fills_us_too() -> None:
    story = Story().ask(order("a", SELL, 2, 103))
    story.see(row(10, EventKind.QUOTE, BUY, 103, 1), row(10, EventKind.QUOTE, SELL, 104, 1))
    assert story.fills() == [("a", 103, 2, True)]


def test_a_new_book_fills_nobody_before_it_is_whole() -> None:
    story = Story().ask(order("a", BUY, 1, 100), order("b", BUY, 1, 99))
    begin = row(10, EventKind.SNAPSHOT, flags=EventFlag.BEGIN)
    story.see(begin, row(10, EventKind.DEPTH, SELL, 90, 1, flags=0))
    assert story.fills() == []
    story.see(
        row(10, EventKind.DEPTH, SELL, 90, 0, flags=0),
        row(10, EventKind.DEPTH, SELL, 100, 3, flags=0),
        row(10, EventKind.DEPTH, BUY, 99, 2, flags=EventFlag.END),
    )
    assert story.fills() == [("a", 100, 1, True)]  # the market went there while we did not look
    story.see(trade(20, SELL, 99, 3))
    assert story.fills()[1:] == [("b", 99, 1, True)]


def test_nothing_happens_while_the_source_is_down() -> None:
    story = Story().ask(order("a", BUY, 1, 100))
    story.see(row(10, EventKind.DOWN), trade(11, SELL, 90, 9), depth(12, SELL, 90, 9))
    assert story.fills() == []
    assert story.state("a")[0] is S.NEW
    assert story.ask(order("b", BUY, 1, 90)).state("b")[0] is S.REJECTED


def test_only_the_primary_source_makes_the_book() -> None:
    story = Story(rows=snapshot(1, {100: 5}, {101: 4}, of=SPOT))
    story.see(row(2, EventKind.DOWN, of=SPOT, source=1), row(3, EventKind.DOWN, of=9, source=9))
    story.ask(order("a", BUY, 1, instrument=NAMES[SPOT]))
    assert story.fills() == [("a", 101, 1, False)]


def test_a_book_of_quotes_shows_no_queue_behind_its_touch() -> None:
    touch = [row(1, EventKind.QUOTE, BUY, 100, 5), row(1, EventKind.QUOTE, SELL, 101, 4)]
    story = Story(rows=touch).ask(order("a", BUY, 1, 99))
    story.see(trade(10, SELL, 99, 1000))
    assert story.fills() == []
    story.see(row(20, EventKind.QUOTE, BUY, 99, 2), trade(21, SELL, 99, 3))
    assert story.fills() == [("a", 99, 1, True)]
    story.ask(order("b", SELL, 9))
    assert story.fills()[1:] == [("b", 99, 2, False)]


def test_a_crossing_row_hides_the_levels_that_it_passed() -> None:
    story = Story().see(depth(10, SELL, 99, 1)).ask(order("a", SELL, 20))
    assert story.fills() == [("a", 98, 9, False)]


def test_own_orders_never_meet() -> None:
    story = Story().ask(order("a", SELL, 5, 102), order("b", BUY, 9, 103))
    assert story.fills() == [("b", 101, 4, False)]
    assert story.state("b") == (S.CANCELED, 4, "it would trade with our own a")
    assert story.state("a")[0] is S.NEW
    story.ask(order("c", BUY, 1, 102, post_only=True), order("d", BUY, 1))
    assert [story.state(name)[0] for name in "cd"] == [S.REJECTED, S.REJECTED]


# --- bars ---


def test_bars_make_a_book_about_the_close_and_share_their_volume() -> None:
    shape = msgspec.structs.replace(SHAPE, half_spread_ppm=1000, bar_participation=0.1)
    story = Story(shape, bar(0, 60, (10_000, 10_100, 9_900, 10_000), 50))
    story.ask(order("a", BUY, 3), order("b", SELL, 9))
    assert story.fills() == [("a", 10_010, 3, False), ("b", 9_990, 2, False)]
    assert story.state("b")[:2] == (S.CANCELED, 2)


def test_a_bar_fills_older_orders_that_it_passes_strictly() -> None:
    story = Story(rows=bar(0, 60, (10_000, 10_100, 9_900, 10_000), 50))
    story.ask(order("a", BUY, 7, 9_900), order("b", SELL, 1, 10_050), order("c", BUY, 1, 9_800))
    story.see(*bar(60, 120, (10_000, 10_090, 9_899, 10_000), 50))
    assert story.fills() == []  # all were sent after the bar had begun
    story.see(*bar(120, 180, (10_000, 10_050, 9_899, 10_000), 50))
    assert story.fills() == [("a", 9_900, 5, True)]  # a tenth of 50; nothing touches c, b is met
    story.see(*bar(180, 240, (10_000, 10_051, 9_800, 10_000), 50))
    assert story.fills()[1:] == [("a", 9_900, 2, True), ("b", 10_050, 1, True)]


def test_an_order_sent_at_a_close_may_fill_in_the_next_bar() -> None:
    shape = msgspec.structs.replace(SHAPE, entry_latency_ns=5)
    engine = Engine(CATALOG, shape)
    engine.observe(tape(*bar(0, 60, (10_000, 10_100, 9_900, 10_000), 50)), 60)
    engine.place(order("a", BUY, 1, 9_950), 60)
    engine.observe(tape(*bar(60, 120, (10_000, 10_000, 9_900, 9_960), 50)), 120)
    assert [(f.price, f.ts) for f in engine.fills(0)] == [(9_950, 120)]


# --- time ---


def test_latency_there_and_back() -> None:
    shape = msgspec.structs.replace(SHAPE, entry_latency_ns=5 * MS, response_latency_ns=3 * MS)
    engine = Engine(CATALOG, shape)
    engine.observe(tape(*BOOK), 10)
    engine.place(order("a", BUY, 1), 10)
    (on_its_way,) = engine.orders()
    assert (on_its_way.state, on_its_way.sequence) == (S.SENT, 0)
    engine.observe(tape(depth(10 + 5 * MS, SELL, 101, 0)), 10 + 5 * MS)
    assert engine.reports(0, 1 << 60) == []  # rows of that very instant may still come
    engine.observe(tape(depth(10 + 5 * MS, SELL, 102, 0)), 10 + 6 * MS)
    assert [f.price for f in engine.fills(0)] == [103]
    assert {report.ts for report in engine.reports(0, 1 << 60)} == {10 + 5 * MS}
    assert engine.reports(0, 10 + 8 * MS - 1) == []
    assert len(engine.reports(0, 10 + 8 * MS)) == 3


def test_jitter_reorders_nothing_and_depends_on_the_order_alone() -> None:
    shape = msgspec.structs.replace(
        SHAPE, entry_latency_ns=5 * MS, response_latency_ns=5 * MS, latency_jitter=0.9, seed=7
    )

    def effects(names: list[str]) -> dict[str, int]:
        engine = Engine(CATALOG, shape)
        engine.observe(tape(*BOOK), 10)
        for k, name in enumerate(names):
            engine.place(order(name, BUY, 1, 90), 10 + k * 100 * MS)
        engine.observe(tape(), 10_000 * MS)
        reports = engine.reports(0, 1 << 60)
        assert [r.client_id for r in reports] == names
        return {r.client_id: r.ts - 100 * MS * names.index(r.client_id) for r in reports}

    alone, among = effects(["a", "c"]), effects(["a", "b", "c"])
    assert alone.items() <= among.items()
    assert len(set(among.values())) == 3
    assert all(0.5 * MS <= ts - 10 <= 9.5 * MS for ts in among.values())


def test_each_way_is_first_in_first_out() -> None:
    shape = msgspec.structs.replace(
        SHAPE, entry_latency_ns=50, response_latency_ns=40, latency_jitter=0.9, seed=7
    )

    def heard(names: list[str]) -> list[tuple[str, int, int]]:
        """(client id, when it took effect, when the node heard of it)."""
        engine = Engine(CATALOG, shape)
        engine.observe(tape(*BOOK), 10)
        for name in names:
            engine.place(order(name, BUY, 1, 90), 10)
        engine.observe(tape(), 1000)
        dues = [
            next(ts for ts in range(1000) if len(engine.reports(0, ts)) > k)
            for k in range(len(names))
        ]
        reports = engine.reports(0, 1000)
        return [(r.client_id, r.ts, due) for r, due in zip(reports, dues, strict=True)]

    names = [f"{k}" for k in range(30)]
    expected = []
    effect = due = 0
    for name in names:
        ((_, alone, alone_due),) = heard([name])
        effect = max(effect, alone)
        due = max(due, effect + alone_due - alone)
        expected.append((name, effect, due))
    assert heard(names) == expected


def test_too_late_is_rejected() -> None:
    shape = msgspec.structs.replace(SHAPE, entry_latency_ns=100)
    engine = Engine(CATALOG, shape)
    engine.observe(tape(*BOOK), 10)
    engine.place(order("a", BUY, 1, accept_until=109), 10)
    engine.place(order("b", BUY, 1, accept_until=110), 10)
    engine.observe(tape(), 200)
    late, good = engine.orders(["a", "b"])
    assert (late.state, late.reason, good.state) == (S.REJECTED, "too late", S.FILLED)


def test_gtd_dies_at_its_time() -> None:
    story = Story().ask(order("a", BUY, 1, 100, time_in_force=GTD, expires=50))
    story.see(depth(50, BUY, 100, 0), trade(50, SELL, 100, 1))
    assert story.state("a")[0] is S.FILLED  # at its last instant
    story.ask(order("b", BUY, 1, 99, time_in_force=GTD, expires=90)).pass_time(100)
    assert story.state("b") == (S.EXPIRED, 0, "its time is over")
    story.see(trade(300, SELL, 90, 9)).ask(order("c", BUY, 1, 99, time_in_force=GTD, expires=90))
    assert story.state("c")[0] is S.REJECTED
    assert len(story.fills()) == 1


# --- cancel and replace ---


def test_cancel_comes_too_late_or_in_time() -> None:
    story = Story().ask(order("a", BUY, 1, 100), order("b", BUY, 1))
    for name in "ab":
        story.engine.cancel(NAMES[LINEAR], name, story.now)
    story.pass_time()
    assert story.state("a")[0] is S.CANCELED
    assert story.state("b")[0] is S.FILLED
    story.see(trade(10, SELL, 90, 9))
    assert len(story.fills()) == 1
    with pytest.raises(OrderRefusedError, match="no such order"):
        story.engine.cancel(NAMES[LINEAR], "z", story.now)
    with pytest.raises(OrderRefusedError, match="no such order"):
        story.engine.cancel(NAMES[SPOT], "a", story.now)


def test_replace_needs_the_old_one_open() -> None:
    story = Story().ask(order("a", BUY, 5, 100))
    story.engine.replace("a", order("b", BUY, 2, 99, replaces="a"), story.now)
    story.pass_time()
    assert story.state("a") == (S.CANCELED, 0, "replaced by b")
    assert story.state("b")[0] is S.NEW
    story.see(trade(10, SELL, 98, 9))
    story.engine.replace("b", order("c", BUY, 2, 97), story.now)
    story.pass_time()
    assert story.state("c") == (S.REJECTED, 0, "b is no longer open")


def test_what_the_old_one_filled_meanwhile_comes_off_the_new_one() -> None:
    story = Story().ask(order("a", BUY, 5, 100))
    story.see(trade(10, SELL, 100, 7))  # 5 others, 2 to a
    story.engine.replace("a", order("b", BUY, 4, 99, carried=1), story.now)
    story.pass_time()
    story.see(trade(20, SELL, 98, 9))
    assert story.fills() == [("a", 100, 2, True), ("b", 99, 3, True)]
    assert story.state("b") == (S.FILLED, 3, "")
    story.ask(order("c", BUY, 5, 97))
    story.see(depth(30, SELL, 98, 5), depth(31, SELL, 97, 3))
    assert story.state("c")[0] is S.FILLED
    story.ask(order("d", BUY, 3, 96))
    story.see(trade(40, SELL, 96, 2))
    story.engine.replace("d", order("e", BUY, 2, 95), story.now)
    story.pass_time()
    assert story.state("e") == (S.REJECTED, 0, "the order before it took it all")


# --- limits ---


def test_a_client_id_works_once() -> None:
    story = Story().ask(order("a", BUY, 1, 100))
    with pytest.raises(OrderRefusedError, match="used before"):
        story.engine.place(order("a", SELL, 9, 101), story.now)
    assert story.states() == [("a", S.NEW, 0)]


@pytest.mark.parametrize(
    "bad",
    [
        order("", BUY, 1, 100),
        order("a" * 65, BUY, 1, 100),
        order("a", BUY, 0, 100),
        order("a", Side.UNKNOWN, 1, 100),
        order("a", BUY, 1, 0),
        order("a", BUY, 1 << 40, 1 << 40),
        order("a", BUY, 1, 100, instrument="nothing@x"),
        order("a", BUY, 1, 100, instrument=NAMES[SPOT], reduce_only=True),
        order("a", BUY, 1, post_only=True),
        order("a", BUY, 1, 100, post_only=True, time_in_force=IOC),
        order("a", BUY, 1, 100, time_in_force=GTD),
        order("a", BUY, 1, time_in_force=GTD, expires=9),
        msgspec.structs.replace(order("a", BUY, 1, 100), type="market"),
        msgspec.structs.replace(order("a", BUY, 1), type="limit"),
    ],
)
def test_what_can_never_be_valid_is_refused_and_leaves_no_trace(bad: object) -> None:
    story = Story()
    with pytest.raises(OrderRefusedError):
        story.engine.place(msgspec.convert(msgspec.to_builtins(bad), type(order("x", BUY, 1))), 9)
    assert story.pass_time().news() == []
    assert story.engine.orders() == []


def test_open_orders_and_requests_on_their_way_are_bounded() -> None:
    shape = msgspec.structs.replace(SHAPE, max_open_orders=2, entry_latency_ns=1000)
    story = Story(shape)
    for k in range(8):
        story.engine.place(order(f"{k}", BUY, 1, 90), story.now)
    with pytest.raises(OrderRefusedError, match="too many requests"):
        story.engine.place(order("8", BUY, 1, 90), story.now)
    story.pass_time(5000)
    assert [story.state(f"{k}")[0] for k in range(3)] == [S.NEW, S.NEW, S.REJECTED]
    assert story.state("2")[2] == "too many open orders"


def test_spot_cannot_spend_what_it_has_not() -> None:
    shape = msgspec.structs.replace(SHAPE, balances={"USD": 1000, "BTC": 3})
    story = Story(shape, snapshot(1, {100: 5}, {101: 4, 102: 9}, of=SPOT))
    name = NAMES[SPOT]
    story.ask(order("a", BUY, 10, instrument=name))  # 404 + 612 and fees
    assert story.state("a")[:2] == (S.REJECTED, 0)
    story.ask(order("b", BUY, 9, 100, instrument=name))  # 900 + 1 set aside
    story.ask(order("c", BUY, 1, 99, instrument=name))  # 99 + 1: just too much
    assert [story.state(k)[0] for k in "bc"] == [S.NEW, S.REJECTED]
    assert "insufficient USD" in story.state("c")[2]
    story.ask(order("d", SELL, 3, 110, instrument=name), order("e", SELL, 1, instrument=name))
    assert [story.state(k)[0] for k in "de"] == [S.NEW, S.REJECTED]
    story.see(trade(10, SELL, 99, 1, of=SPOT))
    assert story.engine.balances() == {"USD": 99, "BTC": 12}


def test_fees_of_many_small_fills_never_make_a_balance_negative() -> None:
    shape = msgspec.structs.replace(SHAPE, balances={"USD": 1001})
    story = Story(shape, snapshot(1, {99: 5}, {101: 4}, of=SPOT))
    story.ask(order("a", BUY, 10, 100, instrument=NAMES[SPOT]))
    for ts in range(10, 20):
        story.see(trade(10 * ts, SELL, 100, 1, of=SPOT))
    assert story.state("a") == (S.CANCELED, 9, "insufficient balance for its fee")
    assert story.engine.balances() == {"USD": 1001 - 909, "BTC": 9}


def test_margin_counts_the_worse_side_and_lets_exposure_shrink() -> None:
    shape = msgspec.structs.replace(SHAPE, balances={"USD": 100}, max_leverage=20)
    story = Story(shape, snapshot(1, {100: 500}, {101: 500}))
    story.ask(order("a", BUY, 20, 100), order("b", BUY, 1, 99), order("c", SELL, 19, 105))
    assert [story.state(k)[0] for k in "abc"] == [S.NEW, S.REJECTED, S.NEW]
    assert "insufficient margin" in story.state("b")[2]
    story.see(trade(10, SELL, 99, 1))
    story.ask(order("d", SELL, 20, reduce_only=True))
    assert story.state("d")[0] is S.FILLED


def test_reduce_only_stands_for_no_more_than_the_position() -> None:
    story = Story().ask(order("none", SELL, 1, reduce_only=True))
    assert story.state("none")[0] is S.REJECTED
    story.ask(order("in", BUY, 4))
    for name in "ab":
        story.ask(order(name, SELL, 9, 103 if name == "a" else 104, reduce_only=True))
    story.ask(order("wrong", BUY, 1, 90, reduce_only=True))
    assert story.state("wrong")[0] is S.REJECTED
    story.see(depth(10, SELL, 103, 0), trade(11, BUY, 103, 3))  # 3 of a's 4
    assert story.engine.positions() == {NAMES[LINEAR]: 1}
    story.see(trade(20, BUY, 110, 9))  # through both; one lot is left to reduce
    assert story.fills()[1:] == [("a", 103, 3, True), ("a", 103, 1, True)]
    assert story.state("a")[:2] == (S.CANCELED, 4)
    assert story.state("b")[:2] == (S.CANCELED, 0)
    assert story.engine.positions() == {}


def test_reduce_only_takes_no_more_than_the_position() -> None:
    story = Story().ask(order("in", BUY, 4), order("out", SELL, 9, reduce_only=True))
    assert story.state("out")[:2] == (S.CANCELED, 4)
    assert story.engine.positions() == {}


def test_profit_and_loss_first_in_first_out() -> None:
    story = Story(rows=[*snapshot(1, {100: 90, 90: 90}, {101: 4, 110: 90})])
    story.ask(order("a", BUY, 6), order("b", SELL, 5), order("c", SELL, 3))
    # 4 at 101 and 2 at 110 in; 5 out at 100, then 1 out and 2 short at 100.
    gain = 5 * 100 - (4 * 101 + 110) + (100 - 110)
    fees = sum(fill.fee for fill in story.engine.fills(0))
    assert story.engine.positions() == {NAMES[LINEAR]: -2}
    assert story.engine.balances()["USD"] == SHAPE.balances["USD"] + gain - fees


def test_an_inverse_contract_pays_in_its_settle_asset() -> None:
    story = Story(rows=snapshot(1, {30_000: 9}, {30_001: 9}, of=INVERSE))
    name = NAMES[INVERSE]
    story.ask(order("a", BUY, 3, instrument=name)).see(
        *snapshot(10, {40_000: 9}, {40_001: 9}, of=INVERSE)
    )
    story.ask(order("b", SELL, 3, instrument=name))
    entry, out = round(300e8 / 30_001), round(300e8 / 40_000)
    fees = -(-entry * 500 // 10**6) + -(-out * 500 // 10**6)
    assert story.engine.balances()["XBT"] == SHAPE.balances["XBT"] + entry - out - fees
    assert entry > out
    assert (dict(story.engine.balances()), {}) == fold(SHAPE.balances, story.engine.fills(0))


def test_a_rebate_is_paid_to_us() -> None:
    shape = msgspec.structs.replace(SHAPE, maker_fee_ppm=-5_000)
    story = Story(shape).ask(order("a", BUY, 30, 100)).see(trade(10, SELL, 90, 1))
    assert [fill.fee for fill in story.engine.fills(0)] == [-15]


def test_a_shape_out_of_range_is_named() -> None:
    with pytest.raises(SettingError, match="bar_participation is 2"):
        Engine(CATALOG, msgspec.structs.replace(SHAPE, bar_participation=2))
    with pytest.raises(SettingError, match="balance of USD"):
        Engine(CATALOG, msgspec.structs.replace(SHAPE, balances={"USD": -1}))


def test_reports_come_in_order_of_sequence() -> None:
    story = Story().ask(order("a", BUY, 12), order("b", SELL, 3, 100))
    reports = story.engine.reports(0, story.now)
    assert story.engine.reports(3, story.now) == reports[3:]
    with pytest.raises(InvariantError, match="the node has report 99"):
        story.engine.reports(99, story.now)
    assert story.engine.fills(2) == [r for r in reports[2:] if isinstance(r, Fill)]
    assert {type(r) for r in reports} == {Fill, OrderReport}
