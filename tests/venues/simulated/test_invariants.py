"""What holds for any orders in any market: nothing is made, lost, overfilled or out of thin air."""

from collections import defaultdict
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seawall.core.events import EventFlag, EventKind, Raw, Side
from seawall.core.instruments import Kind
from seawall.core.ladder import size_at
from seawall.core.orders import (
    TRANSITIONS,
    Fill,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    TimeInForce,
    Trigger,
    TriggerBy,
)
from seawall.venues.simulated import kernels
from seawall.venues.simulated.accounts import Accounts, Position
from seawall.venues.simulated.engine import Engine
from tests.venues.simulated.market import (
    BOOK,
    CATALOG,
    INVERSE,
    LINEAR,
    NAMES,
    SHAPE,
    SPOT,
    Row,
    bar,
    fold,
    order,
    row,
    snapshot,
    tape,
)

LAST = 120  # ns; the tape and the wishes lie before
POOR = msgspec.structs.replace(
    SHAPE,
    balances={"USD": 1_500, "BTC": 40, "XBT": 20_00000000},
    latency_jitter=0.5,
    entry_latency_ns=3,
    response_latency_ns=2,
    max_open_orders=8,
    max_leverage=3,
)
SEEDS = st.integers(
    0, 1 << 32
)  # a whole random market is made from one: dense, where lists are not


def message(dice: Random, ts: int, of: int, middle: int) -> list[Row]:
    """One message of a random market about `middle`, correct in form, wild in content."""
    near = middle + dice.randint(-4, 4)
    lots = dice.randint(1, 12)
    side = dice.choice([Side.BUY, Side.SELL])
    match dice.choices(
        ["depth", "trade", "quote", "snapshot", "down", "bar"], [30, 30, 8, 6, 1, 6]
    )[0]:
        case "trade":
            aggressor = dice.choice([side, side, side, Side.UNKNOWN])
            return [row(ts, EventKind.TRADE, aggressor, near, lots, of=of)]
        case "down":
            return [row(ts, EventKind.DOWN, of=of)]
        case "snapshot":
            bids = {middle - k: lots + k for k in range(1, 4)}
            return snapshot(ts, bids, {middle + k: lots for k in range(3)}, of=of)
        case "bar":
            low, first, last, high = sorted(middle + dice.randint(-4, 4) for _ in range(4))
            span = dice.randint(0, 20)
            return bar(max(0, ts - span), ts, (first, high, low, last), 10 * lots, of=of)
        case "quote":
            low, high = middle - dice.randint(1, 2), middle + dice.randint(0, 1)
            first = row(ts, EventKind.QUOTE, Side.BUY, low, lots, of=of, flags=EventFlag.BEGIN)
            size = dice.randint(0, 9)
            return [
                first,
                row(ts, EventKind.QUOTE, Side.SELL, high, size, of=of, flags=EventFlag.END),
            ]
    away = -dice.randint(1, 4) if side is Side.BUY else dice.randint(0, 3)
    strays = dice.random() < 0.1
    rows = [
        row(
            ts, EventKind.DEPTH, side, near if strays else middle + away, dice.randint(0, 9), of=of
        ),
        row(ts, EventKind.DEPTH, side.opposite, middle - 1 - away, dice.randint(0, 9), of=of),
    ]
    return rows if dice.random() < 0.5 else rows[:1]


def market(seed: int) -> Raw:
    """A tape ordered by time; it begins with whole books, but one contract may have bars only."""
    dice = Random(seed)
    bars_only = dice.choice([SPOT, LINEAR, INVERSE, None])
    rows: list[Row] = []
    for of in (SPOT, LINEAR, INVERSE):
        if of != bars_only:
            rows += [(*each[:6], of, *each[7:]) for each in BOOK]
    middle = 101
    for ts in sorted(dice.randint(2, LAST) for _ in range(dice.randint(1, 150))):
        middle = min(106, max(96, middle + dice.choice([-1, 0, 0, 1])))
        rows += message(dice, ts, dice.choice([SPOT, LINEAR, LINEAR, INVERSE]), middle)
    return tape(*rows)


@dataclass(frozen=True)
class Wish:
    """What the node asks for, and when."""

    ts: int
    order: Order
    cancels: str = ""
    replaces: str = ""


def waiting(dice: Random, each: Order) -> Order:
    """The same order behind a random trigger."""
    by = dice.choice(list(TriggerBy))
    kind = OrderType.STOP_LIMIT
    trigger = Trigger(price=dice.randint(96, 106), by=by)
    if each.price is None:
        kind = dice.choice([OrderType.STOP, OrderType.TRAILING_STOP])
        if each.time_in_force not in (TimeInForce.GTC, TimeInForce.GTD):
            return each
    if kind is OrderType.TRAILING_STOP:
        distance = dice.choice([{"trail": dice.randint(1, 3)}, {"trail_ppm": 15_000}])
        trigger = Trigger(price=dice.choice([0, 0, trigger.price]), by=by, **distance)
    return msgspec.structs.replace(each, type=kind, trigger=trigger)


def wishes(seed: int, stops: bool = True) -> list[Wish]:
    """Random requests: mostly orders about the touch, some that wait, cancelled or replaced."""
    dice, other_dice = Random(seed), Random(f"{seed} stops")
    made: list[Wish] = []
    for k, ts in enumerate(sorted(dice.randint(2, LAST) for _ in range(dice.randint(1, 40)))):
        of = dice.choice([SPOT, LINEAR, LINEAR, INVERSE])
        price = dice.choice([None, *range(96, 107)])
        force = dice.choice([*TimeInForce, TimeInForce.GTC, TimeInForce.GTC])
        if price is None and force is TimeInForce.GTD:
            force = TimeInForce.GTC
        rests = price is not None and force in (TimeInForce.GTC, TimeInForce.GTD)
        each = order(
            f"{k}",
            dice.choice([Side.BUY, Side.SELL]),
            dice.randint(1, 12),
            price,
            instrument=NAMES[of],
            time_in_force=force,
            expires=ts + dice.randint(1, 30) if force is TimeInForce.GTD else 0,
            post_only=rests and dice.random() < 0.3,
            reduce_only=of != SPOT and dice.random() < 0.25,
            accept_until=dice.choice([0, 0, 0, ts + 3]),
        )
        if stops and other_dice.random() < 0.3:
            each = waiting(other_dice, each)
        older = [wish.order.client_id for wish in made if wish.order.instrument == each.instrument]
        match dice.choice(["place", "place", "place", "cancel", "replace"]) if older else "place":
            case "cancel":
                made.append(Wish(ts, each, cancels=dice.choice(older[-3:])))
            case "replace":
                made.append(Wish(ts, each, replaces=dice.choice(older[-3:])))
            case _:
                made.append(Wish(ts, each))
    return made


def tell(engine: Engine, wish: Wish) -> None:
    if wish.cancels:
        if engine.orders([wish.cancels]):
            engine.cancel(wish.order.instrument, wish.cancels, wish.ts)
    elif wish.replaces and engine.orders([wish.replaces]):
        engine.replace(wish.replaces, wish.order, wish.ts)
    else:
        engine.place(wish.order, wish.ts)


def play(rows: Raw, asked: list[Wish], cuts: list[int]) -> tuple[Engine, bytes]:
    """The whole story, the tape cut at the wishes and wherever else; and its reports as bytes."""
    engine = Engine(CATALOG, POOR)
    times = rows["recv_ts"]
    ends = sorted(cuts)
    at = 0
    for wish in asked:
        stop = int(np.searchsorted(times, wish.ts, side="right"))
        for cut in [c for c in ends if at < c < stop]:
            engine.observe(Raw(rows[at:cut]), int(times[cut - 1]))
            at = cut
        engine.observe(Raw(rows[at:stop]), wish.ts)
        at = stop
        tell(engine, wish)
    for cut in [c for c in ends if at < c < len(rows)]:
        engine.observe(Raw(rows[at:cut]), int(times[cut - 1]))
        at = cut
    engine.observe(Raw(rows[at:]), 200)
    due = [len(engine.reports(0, ts)) for ts in range(210)]
    return engine, msgspec.msgpack.encode((engine.reports(0, 1 << 60), due))


@settings(max_examples=150, deadline=None)
@given(SEEDS, SEEDS, st.lists(st.integers(1, 200), max_size=6))
def test_block_step_by_step_and_any_split_say_the_same(
    tape_seed: int, wish_seed: int, cuts: list[int]
) -> None:
    rows, asked = market(tape_seed), wishes(wish_seed)
    _, whole = play(rows, asked, [])
    assert play(rows, asked, [])[1] == whole
    assert play(rows, asked, list(range(len(rows))))[1] == whole
    assert play(rows, asked, cuts)[1] == whole


@settings(max_examples=150, deadline=None)
@given(SEEDS, SEEDS)
@example(44, 603850)  # an order filled in part is replaced by one for all or nothing
def test_accounts_conserve_and_orders_keep_their_bounds(tape_seed: int, wish_seed: int) -> None:
    rows, asked = market(tape_seed), wishes(wish_seed)
    engine, _ = play(rows, asked, [])
    reports = engine.reports(0, 1 << 60)
    assert [report.sequence for report in reports] == list(range(1, len(reports) + 1))
    fills = [report for report in reports if isinstance(report, Fill)]
    assert len({fill.fill_id for fill in fills}) == len(fills)
    orders = {wish.order.client_id: wish.order for wish in asked}
    replaces = {wish.order.client_id: wish.replaces for wish in asked}
    filled: dict[str, int] = defaultdict(int)
    for report in reports:
        each = orders[report.client_id]
        if isinstance(report, Fill):
            filled[report.client_id] += report.size
            limit = each.price
            if limit is not None:
                assert report.price <= limit if each.side is Side.BUY else report.price >= limit
                assert report.maker <= (report.price == limit)
            assert not (each.post_only and not report.maker)
        else:
            assert report.filled == filled[report.client_id]
    for name, size in filled.items():
        each = orders[name]
        assert size <= each.size
        if each.time_in_force is TimeInForce.FOK:  # all of what the replaced one has left it
            replaced = replaces[name]
            assert (
                size in (0, each.size - filled.get(replaced, 0))
                or each.reduce_only
                or (
                    replaces.get(replaced)  # which had replaced another one itself
                )
            )
    conserved(engine, fills)
    assert (dict(engine.balances()), dict(engine.positions())) == fold(POOR.balances, fills)
    spot = CATALOG.instruments[SPOT]
    assert engine.balances()[spot.base] >= 0
    one_last_word(reports)


def conserved(engine: Engine, fills: list[Fill]) -> None:
    """Balances, what open positions cost, and fees: together the deposits, to the last unit."""
    flow: dict[str, int] = defaultdict(int)
    for fill in fills:
        instrument = CATALOG.by_name[fill.instrument]
        sign = -fill.side.sign if instrument.kind is not Kind.INVERSE else fill.side.sign
        flow[fill.fee_asset] += sign * instrument.value(fill.price, fill.size) - fill.fee
        if instrument.kind is Kind.SPOT:
            flow["BTC"] += fill.side.sign * fill.size * instrument.base_unit
    for name, position in engine.accounts.positions.items():
        instrument = CATALOG.by_name[name]
        sign = 1 if position.lots > 0 else -1
        worth = -sign if instrument.kind is Kind.INVERSE else sign
        flow[instrument.settle_asset] += worth * position.cost
        assert position.lots == sign * sum(size for size, _ in position.parts)
        assert position.cost == sum(cost for _, cost in position.parts)
        assert all(size > 0 and cost >= 0 for size, cost in position.parts)
    for asset, amount in engine.balances().items():
        assert amount == POOR.balances.get(asset, 0) + flow[asset]


@settings(max_examples=150, deadline=None)
@given(SEEDS, SEEDS)
def test_time_and_reduce_only_are_kept(tape_seed: int, wish_seed: int) -> None:
    """Nothing before its latency, nothing after its time, and no reduce-only order that adds."""
    rows, asked = market(tape_seed), wishes(wish_seed)
    engine, _ = play(rows, asked, [])
    sent = {wish.order.client_id: wish for wish in asked}
    least = POOR.entry_latency_ns * (1 - POOR.latency_jitter)
    held: dict[str, int] = defaultdict(int)
    for report in engine.reports(0, 1 << 60):
        wish = sent[report.client_id]
        assert report.ts >= wish.ts + int(least)
        if not isinstance(report, Fill):
            continue
        if wish.order.time_in_force is TimeInForce.GTD:
            assert report.ts <= wish.order.expires
        before = held[report.instrument]
        held[report.instrument] = before + report.side.sign * report.size
        if wish.order.reduce_only:
            assert abs(held[report.instrument]) == abs(before) - report.size
    for name in (wish.order.client_id for wish in asked):
        for report in engine.orders([name]):
            wish = sent[name]
            gone = wish.order.time_in_force is TimeInForce.GTD and wish.order.expires < LAST
            assert report.state.final or not gone


def one_last_word(reports: list[Any]) -> None:
    """Nothing follows a final state, and states go the way that orders go."""
    last: dict[str, OrderState] = {}
    for report in reports:
        before = last.get(report.client_id)
        assert before is None or not before.final
        if isinstance(report, OrderReport):
            assert report.state in TRANSITIONS[before or OrderState.SENT]
            assert (before is None) == (report.state in (OrderState.NEW, OrderState.REJECTED))
            last[report.client_id] = report.state


@settings(max_examples=200, deadline=None)
@given(SEEDS, SEEDS)
def test_no_more_is_filled_than_was_shown_or_traded(tape_seed: int, wish_seed: int) -> None:
    """Row by row: makers at a trade's tick within its lots, takers within what is displayed."""
    rows, asked = market(tape_seed), wishes(wish_seed)
    engine, untouched = Engine(CATALOG, POOR), Engine(CATALOG, POOR)
    orders = {wish.order.client_id: wish.order for wish in asked}
    waiting = list(asked)

    def fresh(rows: Raw, now: int) -> list[Fill]:
        before = engine.fills(0)
        engine.observe(rows, now)
        return engine.fills(0)[len(before) :]

    for k in range(len(rows)):
        now = int(rows["recv_ts"][k])
        while waiting and waiting[0].ts < now:
            engine.observe(tape(), waiting[0].ts)
            tell(engine, waiting.pop(0))
        for ts in range(engine.now + 1, now + 1):  # requests arrive, one instant at a time
            shown = displayed(engine)
            for fill in fresh(tape(), ts):
                assert not fill.maker
                shown[NAMES.index(fill.instrument), 1 - int(fill.side), fill.price] -= fill.size
            assert min(shown.values()) >= 0
        fills = fresh(Raw(rows[k : k + 1]), now)
        untouched.observe(Raw(rows[k : k + 1]), now)
        shown = displayed(untouched)
        for fill in fills:
            if not fill.maker:  # a stop that this row has triggered
                assert orders[fill.client_id].type.waits
                key = NAMES.index(fill.instrument), 1 - int(fill.side), fill.price
                shown[key] -= 0 if rows[k]["kind"] == EventKind.BAR_CLOSE else fill.size
        assert min(shown.values()) >= 0
        if rows[k]["kind"] == EventKind.TRADE:
            price = rows[k]["price"]
            at_tick = [fill.size for fill in fills if fill.maker and fill.price == price]
            assert sum(at_tick) <= rows[k]["size"]
        if rows[k]["kind"] == EventKind.BAR_CLOSE:
            assert sum(fill.size for fill in fills) <= rows[k]["size"] // 10


def displayed(engine: Engine) -> dict[tuple[int, int, int], int]:
    """Lots that the exchange's copy shows, by instrument, side and price."""
    ladders = engine.desk.floor.ladders
    return {
        (of, side, price): int(size_at(ladders[of], side, price))
        for of in range(3)
        for side in range(2)
        for price in range(80, 125)
    }


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_the_kernel_is_a_loop_over_its_step(seed: int) -> None:
    """With and without orders at rest: `run` leaves the same state as `step` after `step`."""
    rows = market(seed)
    for resting in (False, True):
        floors = []
        for stepped in (False, True):
            engine = Engine(CATALOG, SHAPE)
            engine.observe(tape(*BOOK), 2)
            if resting:
                for side, first in ((Side.BUY, 98), (Side.SELL, 101)):
                    for price in range(first, first + 3):
                        engine.place(order(f"{price}", side, 9, price, post_only=True), 2)
                engine.observe(tape(), 20)
                assert len(engine.orders()) == 6
            floor = engine.desk.floor
            noted = []
            at = 0
            while at < len(rows):
                if stepped:
                    filled = kernels.step(floor, rows[at])
                    at += 1
                    noted += floor.fills[:filled].tolist()
                else:
                    at, filled = kernels.run(floor, rows, at, 1 << 62)
                    noted += floor.fills[:filled].tolist()
            floors.append(
                (noted, floor.markets.tobytes(), floor.resting.tobytes(), displayed(engine))
            )
        assert floors[0] == floors[1]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([SPOT, LINEAR, INVERSE]),
            st.sampled_from([Side.BUY, Side.SELL]),
            st.integers(1, 40),
            st.integers(1, 90),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_accounts_agree_with_the_plainest_fold(
    trades: list[tuple[int, Side, int, int]],
) -> None:
    accounts = Accounts({"USD": 5})
    fills = []
    for k, (of, side, size, price) in enumerate(trades, start=1):
        instrument = CATALOG.instruments[of]
        value = instrument.value(price, size)
        accounts.book(instrument, side, size, value, k)
        fills.append(
            Fill(
                sequence=k,
                fill_id=f"{k}",
                client_id="a",
                instrument=instrument.name,
                side=side,
                price=price,
                size=size,
                fee=k,
                fee_asset=instrument.settle_asset,
                maker=False,
                ts=k,
            )
        )
    held = {name: each.lots for name, each in accounts.positions.items() if each.lots}
    assert (accounts.balances, held) == fold({"USD": 5}, fills)


def test_a_split_value_loses_no_unit() -> None:
    position = Position()
    for size, value in ((3, 10), (4, 11)):
        assert position.trade(False, Side.BUY, size, value) == 0
    # 5 of 17: 3 take 10 whole (cost 10), 2 take 7 (cost floor(11 x 2 / 4) = 5).
    assert position.trade(False, Side.SELL, 5, 17) == (10 - 10) + (7 - 5)
    assert position.parts == [[2, 6]]
    # 3 of 10: 2 take floor(10 x 2 / 3) = 6 (cost 6); what is left, 4, opens one short.
    assert position.trade(False, Side.SELL, 3, 10) == 0
    assert (position.lots, position.cost, position.parts) == (-1, 4, [[1, 4]])
