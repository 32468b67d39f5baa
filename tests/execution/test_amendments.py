"""Amendments: refused, filled meanwhile, lost on the way; never a lot more than was wanted."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.intents import Urgency
from seawall.core.orders import OrderState
from seawall.core.records import OrderCreated
from tests.execution.scripted_venue import PERP, RESTING, TOUCH, Faults
from tests.execution.trading import FAULTS, ONE_FAULT, Trading, now_and_then

S = OrderState
BID, ASK = TOUCH
WANTED = 8


@pytest.fixture
def trading() -> Trading:
    """A passive order rests at the bid."""
    made = Trading()
    made.aim(WANTED, urgency=Urgency.PASSIVE)
    made.steps(3)
    assert made.orders.open["a-1"].state is S.NEW
    return made


def move(trading: Trading, by: int) -> None:
    trading.venue.touches[PERP.name] = (BID + by, ASK + by)


def test_a_passive_order_follows_the_touch(trading):
    move(trading, 5)
    trading.steps(2)
    (entry,) = trading.orders.open.values()
    assert (entry.order.client_id, entry.order.price, entry.state) == ("a-2", BID + 5, S.NEW)
    assert (entry.order.replaces, entry.order.carried) == ("a-1", 0)
    assert trading.states("a-1")[-2:] == [S.PENDING_REPLACE, S.CANCELED]
    move(trading, -3)
    trading.steps(3)
    assert trading.orders.open["a-3"].order.price == BID - 3
    trading.venue.trade("a-3", WANTED)
    trading.steps(2)
    assert trading.ledger.position(PERP.name) == WANTED
    trading.agrees()


def test_it_is_amended_no_more_than_once_a_second(trading):
    for by in range(1, 41):
        move(trading, by)
        trading.step(0.1)
    sent = [r.ts for r in trading.records if isinstance(r, OrderCreated)]
    assert 3 <= len(sent) - 1 <= 4
    assert all(late - early >= SECOND for early, late in pairwise(sent[1:]))


def test_a_larger_goal_takes_the_resting_order_along(trading):
    trading.venue.trade("a-1", 3)
    trading.step(2)
    trading.aim(WANTED + 4, urgency=Urgency.PASSIVE)
    trading.steps(2)
    entry = trading.orders.open["a-2"]
    assert (entry.order.size, entry.remaining) == (WANTED + 1, WANTED + 1)


def test_what_fills_while_it_is_amended_is_taken_off(trading):
    trading.venue.faults = Faults(slow_request=SECOND)
    move(trading, 5)
    trading.step()
    assert {e.state for e in trading.orders.open.values()} == {S.PENDING_REPLACE, S.UNKNOWN}
    assert trading.orders.worst(PERP.name) == (WANTED, 0)
    trading.venue.trade("a-1", 3)
    trading.venue.faults = Faults()
    trading.steps(4)
    (entry,) = trading.orders.open.values()
    assert (entry.order.client_id, entry.order.size, entry.forgone) == ("a-2", WANTED, 3)
    assert entry.remaining == trading.venue.standing["a-2"].left == WANTED - 3
    trading.venue.trade("a-2", WANTED)
    trading.steps(3)
    assert trading.ledger.position(PERP.name) == WANTED
    assert not trading.orders.open
    trading.agrees()


def test_filled_before_the_amendment_came(trading):
    trading.venue.faults = Faults(slow_request=SECOND)
    move(trading, 5)
    trading.step()
    trading.venue.trade("a-1", WANTED)
    trading.venue.faults = Faults()
    trading.steps(4)
    assert not trading.orders.open
    assert trading.orders.finished == {S.FILLED: 1, S.REJECTED: 1}
    assert trading.ledger.position(PERP.name) == WANTED
    trading.agrees()


@pytest.mark.parametrize("at_the_door", [True, False])
def test_a_refused_amendment_leaves_the_order(trading, at_the_door):
    trading.venue.faults = Faults(refuse="no" if at_the_door else "", keep=True)
    move(trading, 5)
    trading.steps(2)
    assert trading.orders.finished == {S.REJECTED: 1}
    entry = trading.orders.open["a-1"]
    assert (entry.state, entry.order.price) == (S.NEW, BID)
    trading.venue.faults = Faults()
    trading.steps(6)
    (entry,) = trading.orders.open.values()
    assert entry.order.price == BID + 5


def test_an_amendment_that_never_came_is_proven_absent(trading):
    trading.venue.faults = Faults(lose_request=True)
    move(trading, 5)
    trading.step()
    trading.venue.faults = Faults()
    trading.steps(6)
    assert trading.states("a-2")[-2:] == [S.UNKNOWN, S.REJECTED]
    assert "a-1" not in trading.venue.cancels
    trading.steps(5)
    (entry,) = trading.orders.open.values()
    assert entry.order.price == BID + 5
    assert len(trading.venue.live(PERP.name)) == 1


def test_the_end_of_an_order_that_was_never_told_is_found(trading):
    trading.venue.faults = Faults(hold_reports=True)
    trading.venue.expire("a-1")
    trading.venue._queue.clear()
    trading.venue.faults = Faults()
    trading.steps(63)
    assert trading.states("a-1")[-1] is S.EXPIRED


MOMENTS = st.tuples(
    now_and_then(st.one_of(st.just(Faults()), st.sampled_from(ONE_FAULT), FAULTS)),
    st.one_of(st.just(0), st.integers(-20, 20)),  # the touch moves
    now_and_then(st.integers(1, 5)),  # somebody trades with what rests
    st.sampled_from([0.1, 0.5, 1, 2, 6]),
)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(MOMENTS, min_size=20, max_size=60), st.sampled_from([WANTED, -WANTED]))
def test_whatever_happens_no_lot_is_lost_or_doubled(moments, wanted):
    trading = Trading()
    name = PERP.name
    trading.aim(wanted, urgency=Urgency.PASSIVE)
    for fault, by, met, seconds in moments:
        if fault is not None:
            trading.venue.faults = fault
        bid, ask = trading.venue.touches[name]
        trading.venue.touches[name] = (bid + by, ask + by)
        if met is not None:
            for held in trading.venue.live(name):
                if held.state in RESTING:
                    trading.venue.trade(held.order.client_id, met)
        trading.step(seconds)
        assert 0 <= trading.venue.lots(name) * (1 if wanted > 0 else -1) <= abs(wanted)
        assert len(trading.venue.live(name)) <= 1
        trading.ledger.conservation()
    trading.venue.faults = Faults()
    for _ in range(200):
        trading.step()
        for held in trading.venue.live(name):
            if held.state in RESTING:
                trading.venue.trade(held.order.client_id, 1)
    assert trading.ledger.position(name) == wanted
    assert not trading.orders.open
    assert all(held.state.final for held in trading.venue.standing.values())
    assert sorted(trading.venue.requested) == sorted(order.client_id for order in trading.sent)
    trading.agrees()
