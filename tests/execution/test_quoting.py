"""Ladders at the venue: the fewest requests, never across the touch or beyond what is allowed."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.events import Side
from seawall.core.intents import Approved, Close, Level, Quotes, Urgency
from seawall.core.orders import Order, OrderState, Purpose
from seawall.execution import OrderEntry
from seawall.execution.quoting import changes
from tests.execution.scripted_venue import PERP, RESTING, TOUCH, Faults
from tests.execution.trading import BLOCKED, EVERYTHING, FAULTS, ONE_FAULT, Trading, now_and_then

S = OrderState
NAME = PERP.name
BID, ASK = TOUCH


def ladder(trading: Trading, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> Approved:
    quotes = Quotes(
        strategy="maker",
        ts=trading.now,
        tape=0,
        expiry=trading.now + 100_000 * SECOND,
        instrument=NAME,
        bids=tuple(Level(*level) for level in bids),
        asks=tuple(Level(*level) for level in asks),
    )
    return Approved(intent=quotes, instrument=NAME, position=trading.ledger.position(NAME))


def quote(trading: Trading, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
    trading.executor.aim([ladder(trading, bids, asks)])
    trading.executor.work(trading.venue.touches, trading.now, trading.blocked)


def shown(trading: Trading) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """What stands at the venue: bids and asks."""
    live = trading.venue.live(NAME)
    return tuple(  # type: ignore[return-value]
        sorted((h.order.price, h.left) for h in live if h.order.side is side)
        for side in (Side.BUY, Side.SELL)
    )


@pytest.fixture
def quoting() -> Trading:
    made = Trading()
    quote(made, [(BID, 3), (BID - 5, 3)], [(ASK, 3)])
    made.steps(2)
    return made


def test_the_ladder_stands_at_the_venue(quoting):
    assert shown(quoting) == ([(BID - 5, 3), (BID, 3)], [(ASK, 3)])
    for order in quoting.sent:
        assert order.post_only
        assert (order.purpose, order.strategy, order.intent_ts) == (
            Purpose.QUOTE,
            "maker",
            quoting.executor._quoting.standing[NAME, ""].quotes.ts,
        )


def test_what_is_right_is_left_alone(quoting):
    quote(quoting, [(BID, 3), (BID - 5, 3)], [(ASK, 3)])
    quoting.steps(3)
    assert len(quoting.sent) == 3
    assert quoting.venue.cancels == []


def test_one_request_moves_a_rung(quoting):
    quote(quoting, [(BID, 3), (BID - 7, 3)], [(ASK, 3)])
    quoting.steps(2)
    assert shown(quoting)[0] == [(BID - 7, 3), (BID, 3)]
    assert [order.replaces for order in quoting.sent[3:]] == ["a-2"]
    assert quoting.venue.cancels == []


def test_what_is_left_over_is_cancelled_and_what_is_new_is_placed(quoting):
    quote(quoting, [(BID, 3)], [(ASK, 3), (ASK + 4, 2)])
    quoting.steps(3)
    assert shown(quoting) == ([(BID, 3)], [(ASK, 3), (ASK + 4, 2)])
    assert quoting.venue.cancels == ["a-2"]


def test_a_filled_rung_is_not_sent_again_beyond_what_was_approved(quoting):
    quoting.venue.trade("a-1", 3)
    quoting.steps(4)
    assert quoting.ledger.position(NAME) == 3
    assert shown(quoting)[0] == [(BID, 3)]  # the other rung's lots, at the better price
    quoting.venue.trade(quoting.venue.live(NAME)[-1].order.client_id, 3)
    quoting.steps(4)
    assert sum(lots for _, lots in shown(quoting)[0]) + max(0, quoting.ledger.position(NAME)) <= 6


def test_nothing_is_quoted_across_the_touch(quoting):
    quote(quoting, [(ASK, 3)], [(ASK + 1, 3)])
    quoting.steps(3)
    assert all(h.order.price < ASK for h in quoting.venue.live(NAME) if h.order.side is Side.BUY)


@pytest.mark.parametrize("how", ["blocked", "expired", "abandoned", "close"])
def test_all_is_taken_back(quoting, how):
    quoting.venue.trade("a-1", 2)
    quoting.step()
    if how == "blocked":
        quoting.blocked = EVERYTHING
    elif how == "expired":
        quoting.step(100_001)
    elif how == "abandoned":
        quoting.executor.abandon()
    else:
        close = Close(
            strategy="maker",
            ts=quoting.now,
            tape=0,
            expiry=0,
            instrument=NAME,
            urgency=Urgency.NORMAL,
        )
        quoting.executor.aim([Approved(intent=close, instrument=NAME, position=0)])
    quoting.steps(4)
    assert shown(quoting) == ([], [])
    assert quoting.ledger.position(NAME) == (0 if how == "close" else 2)
    quoting.agrees()


def most(trading: Trading) -> int:
    """Lots held were every open buy to fill."""
    return trading.ledger.position(NAME) + trading.orders.worst(NAME)[0]


def test_a_smaller_ladder_waits_until_the_larger_one_is_gone(quoting):
    quote(quoting, [(BID - 1, 5)], [])
    for _ in range(6):
        assert most(quoting) <= 6, "what stood: nothing is added to it"
        quoting.step()
    assert shown(quoting) == ([(BID - 1, 5)], [])


def test_a_goal_does_not_order_what_a_ladder_may_still_fill(quoting):
    quote(quoting, [(BID, 3), (BID - 5, 3)], [])
    quoting.steps(2)
    quoting.aim(4)
    for _ in range(6):
        assert most(quoting) <= 6
        quoting.step()
    assert shown(quoting) == ([], [])
    assert quoting.ledger.position(NAME) == 4
    quoting.agrees()


def test_a_ladder_counts_what_is_still_under_way_to_a_goal():
    trading = Trading()
    trading.aim(4)
    quote(trading, [(BID, 3)], [(ASK, 3)])
    assert most(trading) == 4
    trading.steps(4)
    assert trading.ledger.position(NAME) == 4
    assert shown(trading) == ([], [(ASK, 3)]), "what was approved was 3 lots at most"


def entry(price: int, size: int, filled: int = 0, state: OrderState = S.NEW) -> OrderEntry:
    order = Order(
        client_id=f"{price}-{size}",
        instrument=NAME,
        side=Side.BUY,
        type="limit",
        size=size,
        price=price,
        purpose=Purpose.QUOTE,
    )
    return OrderEntry(order=order, state=state, filled=filled, changed=0)


LEVELS = st.lists(
    st.builds(Level, st.integers(1, 8), st.integers(1, 3)),
    max_size=5,
    unique_by=lambda level: level.price,
)


@given(LEVELS, LEVELS)
def test_the_fewest_requests_lead_to_the_ladder(standing, wanted):
    entries = [entry(level.price, level.size) for level in standing]
    change = changes(entries, wanted)
    after = {(e.order.price, e.remaining) for e in entries}
    after -= {(e.order.price, e.remaining) for e in change.cancel}
    after -= {(e.order.price, e.remaining) for e, _ in change.amend}
    after |= {(level.price, level.size) for _, level in change.amend}
    after |= {(level.price, level.size) for level in change.place}
    assert after == {(level.price, level.size) for level in wanted}
    kept = len({(level.price, level.size) for level in standing} & {*wanted_pairs(wanted)})
    requests = len(change.amend) + len(change.cancel) + len(change.place)
    assert requests == max(len(standing), len(wanted)) - kept


def wanted_pairs(levels):
    return {(level.price, level.size) for level in levels}


def test_a_rung_that_was_filled_in_part_keeps_its_place():
    held = entry(5, 3, filled=2, state=S.PARTIALLY_FILLED)
    assert changes([held], [Level(5, 3)]) == ([], [], [])
    assert changes([held], [Level(6, 3)]).amend == [(held, Level(6, 3))]


MOMENTS = st.tuples(
    now_and_then(st.one_of(st.just(Faults()), st.sampled_from(ONE_FAULT), FAULTS)),
    st.one_of(st.just(0), st.integers(-6, 6)),  # the touch moves, and the ladder with it
    now_and_then(st.tuples(st.integers(0, 5), st.integers(1, 4))),  # somebody trades
    now_and_then(st.sampled_from(BLOCKED)),  # blocked
    st.booleans(),  # asked for anew
    st.sampled_from([0.2, 1, 2, 6]),
)
MOST = 10


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(MOMENTS, min_size=20, max_size=50))
def test_whatever_happens_the_position_stays_within_what_was_approved(moments):
    trading = Trading()
    for fault, by, met, blocked, anew, seconds in moments:
        if fault is not None:
            trading.venue.faults = fault
        if blocked is not None:
            trading.blocked = blocked
        bid, ask = trading.venue.touches[NAME]
        bid, ask = bid + by, ask + by
        trading.venue.touches[NAME] = (bid, ask)
        if anew and not trading.executor.unreachable:
            held = trading.ledger.position(NAME)
            bids = [(bid - rung, 4) for rung in range((MOST - held) // 4)]
            asks = [(ask + rung, 4) for rung in range((MOST + held) // 4)]
            trading.executor.aim([ladder(trading, bids, asks)])
        live = [h for h in trading.venue.live(NAME) if h.state in RESTING]
        if met is not None and live:
            trading.venue.trade(live[met[0] % len(live)].order.client_id, met[1])
        trading.step(seconds)
        assert abs(trading.venue.lots(NAME)) <= MOST
        trading.ledger.conservation()
    trading.venue.faults = Faults()
    trading.executor.abandon()
    trading.steps(90)
    assert not trading.orders.open
    assert all(held.state.final for held in trading.venue.standing.values())
    trading.agrees()
