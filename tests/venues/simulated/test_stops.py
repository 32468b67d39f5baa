"""Stop, stop-limit and trailing orders: never early, and the stop before the target."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import OrderRefusedError
from seawall.core.events import Side
from seawall.core.orders import (
    Order,
    OrderState,
    OrderType,
    TimeInForce,
    Trigger,
    TriggerBy,
)
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Log
from tests.venues.simulated.market import (
    BOOK,
    CATALOG,
    NAMES,
    SHAPE,
    SPOT,
    Story,
    bar,
    depth,
    order,
    row,
    snapshot,
    tape,
    trade,
)
from tests.venues.simulated.test_invariants import SEEDS, market, play, wishes

BUY, SELL = Side.BUY, Side.SELL
S = OrderState
MARK = TriggerBy.MARK


def stop(name: str, side: Side, size: int, at: int, limit: int | None = None, **more: Any) -> Order:
    """A stop order, or a stop-limit order where there is a limit."""
    by = more.pop("by", TriggerBy.LAST)
    plain = order(name, side, size, limit, **more)
    kind = OrderType.STOP if limit is None else OrderType.STOP_LIMIT
    return msgspec.structs.replace(plain, type=kind, trigger=Trigger(price=at, by=by))


def trailing(name: str, side: Side, size: int, **trigger: Any) -> Order:
    return msgspec.structs.replace(
        order(name, side, size), type=OrderType.TRAILING_STOP, trigger=Trigger(**trigger)
    )


# --- triggers ---


def test_a_stop_waits_out_of_the_book_and_becomes_a_market_order() -> None:
    story = Story().ask(order("in", BUY, 4), stop("out", SELL, 4, 98))
    story.see(trade(10, SELL, 99, 1), depth(11, BUY, 100, 0))
    assert story.state("out")[0] is S.NEW
    story.see(trade(20, SELL, 98, 1))
    # 99 is passed over: a seller who got 98 has left nothing there. 9 lots at 98 are shown.
    assert story.fills()[1:] == [("out", 98, 4, False)]
    assert story.state("out")[:2] == (S.FILLED, 4)
    assert story.engine.positions() == {}


def target(
    name: str, side: Side, size: int, at: int, limit: int | None = None, **more: Any
) -> Order:
    """A take-profit order, with a limit price where there is one."""
    kind = OrderType.TAKE_PROFIT if limit is None else OrderType.TAKE_PROFIT_LIMIT
    return msgspec.structs.replace(stop(name, side, size, at, limit, **more), type=kind)


def test_a_target_is_met_by_a_move_in_its_favour_alone() -> None:
    story = Story().ask(order("in", BUY, 4), target("out", SELL, 4, 103))
    story.see(trade(10, SELL, 98, 1), trade(11, BUY, 102, 1))
    assert story.state("out")[0] is S.NEW
    story.see(depth(20, SELL, 102, 0), depth(21, BUY, 102, 7), trade(22, BUY, 103, 1))
    assert story.fills()[1:] == [("out", 102, 4, False)]
    story = Story().ask(target("a", BUY, 3, 97))
    story.see(trade(10, BUY, 98, 1))
    assert story.state("a")[0] is S.NEW
    story.see(trade(20, SELL, 97, 1))
    assert story.state("a")[:2] == (S.FILLED, 3)


def test_a_target_that_is_met_already_is_rejected_and_one_with_a_limit_keeps_it() -> None:
    story = Story().see(trade(5, BUY, 102, 1)).ask(target("late", SELL, 4, 102))
    assert story.state("late") == (S.REJECTED, 0, "it would trigger at once")
    story = Story().ask(order("in", BUY, 4), target("out", SELL, 4, 103, 105))
    story.see(trade(20, BUY, 103, 1))
    assert story.state("out")[:2] == (S.NEW, 0)
    assert len(story.fills()) == 1


def test_a_buy_stop_is_met_from_below() -> None:
    story = Story().ask(stop("a", BUY, 9, 103))
    story.see(trade(10, BUY, 102, 1), depth(11, SELL, 102, 6))
    assert story.fills() == []
    story.see(trade(20, BUY, 103, 1))
    assert story.fills() == [("a", 103, 8, False)]
    assert story.state("a") == (S.CANCELED, 8, "the book shows no more size")


def test_the_mark_is_looked_at_where_a_message_is_complete() -> None:
    story = Story().ask(stop("a", SELL, 1, 99, by=MARK))
    story.see(trade(10, SELL, 90, 1))  # not the mark
    first = (*depth(11, BUY, 100, 0)[:-1], 1)
    story.see(first, (*depth(11, BUY, 100, 5)[:-1], 2))  # (99 + 101) / 2 in the middle of it
    assert story.state("a")[0] is S.NEW
    story.see(depth(12, BUY, 100, 0), depth(13, SELL, 101, 0))
    assert story.fills() == []
    story.see(depth(14, BUY, 99, 0))  # (98 + 102) / 2 = 100
    assert story.fills() == []
    story.see(depth(15, SELL, 100, 3))
    assert story.fills() == [("a", 98, 1, False)]


def test_a_stop_that_would_trigger_at_once_is_rejected() -> None:
    story = Story().see(trade(10, BUY, 100, 1)).ask(stop("a", SELL, 1, 100), stop("b", BUY, 1, 100))
    assert {story.state(k) for k in "ab"} == {(S.REJECTED, 0, "it would trigger at once")}
    story.ask(stop("c", SELL, 1, 99), stop("d", BUY, 1, 100, by=MARK))  # the mark is 100
    assert [story.state(k)[0] for k in "cd"] == [S.NEW, S.REJECTED]


def test_a_stop_limit_rests_at_its_limit_when_it_cannot_be_had() -> None:
    story = Story().ask(stop("b", SELL, 3, 99, 97, post_only=True), stop("a", SELL, 20, 99, 98))
    story.see(trade(10, SELL, 99, 1))
    assert story.state("b") == (S.CANCELED, 0, "triggered at 99: post-only: it would trade at once")
    # 7 at 99, 9 at 98; what is left rests at 98.
    assert story.fills() == [("a", 99, 7, False), ("a", 98, 9, False)]
    assert story.state("a")[:2] == (S.PARTIALLY_FILLED, 16)
    story.see(trade(20, BUY, 98, 2))
    assert story.fills()[2:] == [("a", 98, 2, True)]


def test_time_in_force_counts_from_the_trigger() -> None:
    ioc, fok, gtd = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTD
    story = Story().ask(
        stop("ioc", SELL, 8, 99, 99, time_in_force=ioc),
        stop("fok", SELL, 8, 99, 99, time_in_force=fok),
        stop("gtd", SELL, 1, 90, time_in_force=gtd, expires=40),
    )
    story.see(trade(10, SELL, 99, 1))
    assert story.state("ioc")[:2] == (S.CANCELED, 7)
    assert story.state("fok") == (S.CANCELED, 0, "FOK: not all of it can be filled")
    story.see(trade(50, SELL, 91, 1))
    assert story.state("gtd")[0] is S.EXPIRED


def test_a_trailing_stop_follows_by_ticks_and_never_back() -> None:
    story = Story(rows=snapshot(1, {100: 5, 90: 50}, {101: 4, 120: 9}))
    story.ask(trailing("a", SELL, 1, trail=3))
    for ts, price in ((10, 100), (20, 105), (30, 103)):
        story.see(trade(ts, BUY, price, 1))
    assert story.fills() == []  # best 105, trigger 102
    story.see(trade(40, SELL, 102, 1))
    assert story.fills() == [("a", 100, 1, False)]


def test_a_trailing_stop_by_ppm_rounds_away_from_the_market() -> None:
    rows = snapshot(1, {9_900: 5}, {10_101: 4})
    story = Story(rows=rows).ask(trailing("a", SELL, 1, trail_ppm=1_050))
    story.see(trade(10, BUY, 10_001, 1))  # 10,001 x 0.00105 = 10.5: 11 ticks behind
    story.see(trade(20, SELL, 9_991, 1))
    assert story.fills() == []
    story.see(trade(30, SELL, 9_990, 1))
    assert story.fills() == [("a", 9_900, 1, False)]


def test_a_trailing_stop_sleeps_until_its_activation() -> None:
    story = Story(rows=snapshot(1, {100: 5, 90: 50}, {101: 4, 120: 9}))
    story.ask(trailing("a", BUY, 1, trail=2, price=95))
    for ts, price in ((10, 99), (20, 104), (30, 95), (40, 93), (50, 94)):
        story.see(trade(ts, SELL, price, 1))
    assert story.fills() == []
    story.see(trade(60, BUY, 95, 1))
    assert story.fills() == [("a", 101, 1, False)]


def test_reduce_only_stops_stand_for_no_more_than_the_position() -> None:
    story = Story().ask(stop("none", SELL, 1, 99, reduce_only=True))
    assert story.state("none")[0] is S.REJECTED
    story.ask(order("in", BUY, 4), stop("a", SELL, 9, 99, reduce_only=True))
    story.ask(order("part", SELL, 3)).see(trade(10, SELL, 99, 1))
    assert story.fills()[2:] == [("a", 99, 1, False)]
    assert story.state("a")[:2] == (S.CANCELED, 1)
    assert story.engine.positions() == {}
    story.ask(order("again", BUY, 2), stop("b", SELL, 2, 97, reduce_only=True))
    story.ask(order("flat", SELL, 2))
    assert story.state("b") == (S.CANCELED, 0, "reduce-only: there is nothing left to reduce")


def test_a_stop_is_cancelled_and_replaced_like_any_order() -> None:
    story = Story().ask(stop("a", SELL, 1, 99), stop("b", SELL, 1, 99))
    story.engine.cancel(NAMES[1], "a", story.now)
    story.engine.replace("b", stop("c", SELL, 1, 98), story.now)
    story.pass_time().see(trade(10, SELL, 99, 1))
    assert [story.state(k)[0] for k in "abc"] == [S.CANCELED, S.CANCELED, S.NEW]


def test_what_the_account_cannot_carry_ends_at_the_trigger() -> None:
    poor = msgspec.structs.replace(SHAPE, balances={"USD": 0, "BTC": 1})
    story = Story(poor, snapshot(1, {100: 5}, {101: 4}, of=SPOT))
    story.ask(stop("a", SELL, 2, 99, instrument=NAMES[SPOT]))
    assert story.state("a")[0] is S.NEW
    story.see(trade(10, SELL, 98, 1, of=SPOT))
    assert story.state("a") == (S.CANCELED, 0, "triggered at 98: the book shows no size")
    story.see(depth(11, BUY, 98, 5, of=SPOT)).ask(stop("b", SELL, 2, 97, instrument=NAMES[SPOT]))
    story.see(depth(12, BUY, 97, 5, of=SPOT), trade(13, SELL, 97, 1, of=SPOT))
    assert story.state("b")[2] == "triggered at 97: insufficient BTC: 2 needed, 1 free"


@pytest.mark.parametrize(
    "bad",
    [
        msgspec.structs.replace(stop("a", SELL, 1, 99), trigger=None),
        msgspec.structs.replace(order("a", SELL, 1, 99), trigger=Trigger(price=9)),
        stop("a", SELL, 1, 0),
        stop("a", SELL, 1, 99, time_in_force=TimeInForce.IOC),
        stop("a", SELL, 1 << 40, 1 << 40),
        stop("a", SELL, 1, 99, post_only=True),
        msgspec.structs.replace(stop("a", SELL, 1, 99), price=98),
        msgspec.structs.replace(stop("a", SELL, 1, 99), trigger=Trigger(price=9, trail=1)),
        trailing("a", SELL, 1),
        trailing("a", SELL, 1, trail=1, trail_ppm=1),
        trailing("a", SELL, 1, trail=2, trail_ppm=-1),
        trailing("a", SELL, 1, trail_ppm=1_000_000),
        trailing("a", SELL, 1, trail=1, price=-1),
    ],
)
def test_what_can_never_trigger_is_refused(bad: Order) -> None:
    with pytest.raises(OrderRefusedError):
        Story().engine.place(bad, 9)


# --- bars ---

DAY = [bar(0, 60, (10_000, 10_100, 9_900, 10_000), 500)]
FREE = msgspec.structs.replace(SHAPE, half_spread_ppm=1_000)  # a tenth of a per cent


def held(*orders: Order, shape: Any = FREE) -> Story:
    """Long 20 lots at 10,010, and these orders, all sent before the next bar begins."""
    story = Story(shape, [each for rows in DAY for each in rows])
    story.now = 60
    story.ask(order("in", BUY, 20), *orders)
    return story


def test_where_a_bar_touches_stop_and_target_the_stop_is_what_happened() -> None:
    story = held(
        order("target", SELL, 20, 10_200, reduce_only=True),
        stop("stop", SELL, 20, 9_800, reduce_only=True),
    )
    story.see(*bar(100, 160, (10_000, 10_300, 9_700, 10_250), 500))
    # 9,800 less 0.1 %, rounded down: 9 ticks.
    assert story.fills()[1:] == [("stop", 9_791, 20, False)]
    assert story.state("target")[:2] == (S.CANCELED, 0)


def test_a_bar_that_opens_beyond_the_stop_fills_at_its_open() -> None:
    story = held(stop("stop", SELL, 20, 9_800))
    story.see(*bar(100, 160, (9_000, 9_900, 8_900, 9_850), 500))
    assert story.fills()[1:] == [("stop", 9_000 - 9, 20, False)]


def test_a_stop_sent_within_a_bar_waits_for_the_next_one() -> None:
    story = held(stop("stop", SELL, 20, 9_800))
    story.see(*bar(60, 120, (10_000, 10_000, 9_700, 10_000), 500))
    assert len(story.fills()) == 1
    story.see(*bar(120, 180, (10_000, 10_000, 9_700, 10_000), 500))
    assert len(story.fills()) == 2


def test_a_stop_takes_no_more_than_its_share_of_the_bar() -> None:
    story = held(stop("a", SELL, 12, 9_800), stop("b", SELL, 12, 9_800))
    story.see(*bar(100, 160, (10_000, 10_000, 9_700, 9_900), 150))  # a tenth of it: 15
    assert story.fills()[1:] == [("a", 9_791, 12, False), ("b", 9_791, 3, False)]
    assert story.state("b") == (S.CANCELED, 3, "the book shows no more size")


def test_a_trailing_stop_meets_its_old_trigger_before_it_moves() -> None:
    story = held(trailing("a", SELL, 5, trail=200), trailing("b", SELL, 5, trail=400))
    # a: 10,000 - 200 = 9,800 is met; b: 9,600 is not, moves to 11,000 - 400 and stays below 10,700.
    story.see(*bar(100, 160, (10_000, 11_000, 9_790, 10_700), 500))
    assert story.fills()[1:] == [("a", 9_800 - 9, 5, False)]
    # b: met at its trigger of 10,600 only where the close proves it.
    story.see(*bar(160, 220, (10_700, 11_200, 10_650, 10_700), 500))
    assert story.fills()[2:] == [("b", 10_800 - 10, 5, False)]


def test_a_stop_limit_on_bars_rests_from_the_next_bar_on() -> None:
    story = held(stop("a", SELL, 5, 9_800, 9_795))
    story.see(*bar(100, 160, (10_000, 10_000, 9_700, 9_750), 500))
    assert len(story.fills()) == 1  # 9,791 is below its limit
    story.see(*bar(160, 220, (9_750, 9_796, 9_700, 9_750), 500))
    assert story.fills()[1:] == [("a", 9_795, 5, True)]


# --- whatever happens ---


def test_the_last_price_is_forgotten_with_the_book() -> None:
    story = Story().see(trade(10, SELL, 90, 1), row(11, 9)).ask(stop("a", SELL, 1, 95))
    assert story.state("a")[0] is S.NEW
    story.see(trade(12, SELL, 90, 1))  # the book is void: nothing is believed
    assert story.state("a")[0] is S.NEW
    story.see(*snapshot(13, {89: 2}, {91: 2}), trade(14, SELL, 90, 1))
    assert story.fills() == [("a", 89, 1, False)]


@settings(max_examples=100, deadline=None)
@given(SEEDS, SEEDS)
def test_no_stop_is_triggered_before_the_market_was_there(seed: int, wish_seed: int) -> None:
    """Held against every price that the tape shows between the order and what it did."""
    rows, asked = market(seed), wishes(wish_seed)
    engine, _ = play(rows, asked, [])
    for wish in asked:
        each = wish.order
        if each.type not in (OrderType.STOP, OrderType.STOP_LIMIT) or each.trigger is None:
            continue
        taken = [f for f in engine.fills(0) if f.client_id == each.client_id]
        if not taken:
            continue
        of = rows["instrument"] == NAMES.index(each.instrument)
        seen = rows[of & (rows["recv_ts"] <= taken[0].ts) & (rows["price"] > 0)]
        prices = seen["price"]
        if each.trigger.by is TriggerBy.LAST:
            prices = prices[(seen["kind"] == 3) | (seen["kind"] > 4)]
            prices = prices[seen["recv_ts"][(seen["kind"] == 3) | (seen["kind"] > 4)] >= wish.ts]
        beyond = prices >= each.trigger.price
        assert (beyond if each.side is BUY else prices <= each.trigger.price).any()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(90, 110), min_size=1, max_size=40), st.integers(1, 6))
def test_a_trailing_stop_agrees_with_the_plainest_model(prices: list[int], trail: int) -> None:
    story = Story(rows=snapshot(1, {80: 50}, {120: 50})).ask(trailing("a", SELL, 1, trail=trail))
    best, expected = 0, 0
    for k, price in enumerate(prices):
        story.see(trade(10 * (k + 1), SELL, price, 1))
        best = max(best, price)
        expected = expected or (10 * (k + 1) if price <= best - trail else 0)
    assert [f.ts for f in story.engine.fills(0)] == ([expected] if expected else [])


def test_a_restart_goes_on_with_what_the_stops_have_seen(tmp_path: Path) -> None:
    for every in (0, 10_000):  # from a checkpoint, and from the whole log
        log = Log(tmp_path / f"{every}", mark_every=every)
        engine = Engine(CATALOG, SHAPE, log)
        engine.observe(tape(*BOOK, trade(2, BUY, 101, 1)), 2)
        engine.place(trailing("a", SELL, 1, trail=3), 2)
        engine.place(stop("b", SELL, 20, 99, 98), 2)
        engine.place(trailing("c", SELL, 1, trail=3, price=120), 2)
        engine.observe(tape(), 5)
        engine.observe(tape(trade(6, BUY, 110, 1)), 7)
        engine.observe(tape(trade(8, BUY, 108, 1)), 9)
        log.close()
        log = Log(tmp_path / f"{every}", mark_every=every)
        again = Engine(CATALOG, SHAPE, log)
        later = [(20, *each[1:]) for each in BOOK]
        again.observe(tape(*later, trade(21, SELL, 108, 1)), 21)
        assert again.fills(0) == []
        again.observe(tape(trade(22, SELL, 107, 1)), 22)  # 110 - 3
        assert [f.client_id for f in again.fills(0)] == ["a"]
        again.observe(tape(trade(23, SELL, 99, 1)), 23)
        assert [(f.client_id, f.price) for f in again.fills(0)[1:]] == [("b", 99), ("b", 98)]
        log.close()
        log = Log(tmp_path / f"{every}", mark_every=every)
        third = Engine(CATALOG, SHAPE, log)
        later = snapshot(30, {97: 5}, {98: 60})
        third.observe(tape(*later, trade(31, BUY, 98, 50)), 31)  # b rests at 98, far back
        assert third.orders(["b"])[0].filled == 16
        assert {r.client_id for r in third.orders()} == {"b", "c"}
        log.close()
