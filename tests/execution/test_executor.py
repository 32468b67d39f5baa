"""The executor: journaled before sent, and only what may be sent."""

from itertools import pairwise

import pytest

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.events import Side
from seawall.core.intents import Approved, Close, Urgency
from seawall.core.orders import (
    Order,
    OrderType,
    TimeInForce,
)
from seawall.core.records import (
    OrderChanged,
    OrderCreated,
)
from tests.execution.scripted_venue import (
    OTHER,
    PERP,
    SPOT,
    TOUCH,
    Faults,
)
from tests.execution.trading import (
    ASK,
    BID,
    EVERYTHING,
    SHAPE,
    START,
    S,
    goal,
    resting,
)

# --- what is sent ---


def test_an_order_is_in_the_journal_before_it_leaves(trading):
    known = []

    def journaled(order: Order) -> None:
        records = [r for _, r in trading.journal.read()]
        assert OrderCreated(ts=trading.now, order=order) in records
        assert trading.orders.open[order.client_id].state is S.SENT
        assert any(isinstance(r, OrderChanged) and r.state is S.SENT for r in records)
        known.append(order.client_id)

    trading.venue.watch = journaled
    trading.aim(5)
    trading.aim(-3, OTHER.name)
    assert known == ["a-1", "a-2"]


def test_an_order_that_cannot_be_journaled_does_not_leave(trading):
    class FullDiskError(Exception):
        pass

    def full(*_: object) -> None:
        raise FullDiskError

    trading.executor._record = full
    with pytest.raises(FullDiskError):
        trading.aim(5)
    assert trading.venue.requested == []


def test_a_goal_is_reached_and_booked_to_the_last_unit(trading):
    trading.venue.clip = 2
    trading.aim(5)
    trading.steps(2)
    assert trading.ledger.position(PERP.name) == 5
    assert [fill.size for fill in trading.booked] == [2, 2, 1]
    trading.aim(-4)
    trading.steps(2)
    assert trading.ledger.position(PERP.name) == -4
    assert not trading.orders.open
    assert trading.executor.goals == {}
    trading.agrees()


def test_a_newer_goal_replaces_the_older_one(trading):
    trading.executor.aim([goal(5), goal(2), goal(1, OTHER.name)])
    trading.steps(3)
    assert [(order.instrument, order.size) for order in trading.sent] == [
        (PERP.name, 2),
        (OTHER.name, 1),
    ]


def test_what_was_filled_in_part_is_sent_again_for_the_rest(trading):
    trading.venue.depth = 3
    trading.aim(7)
    trading.steps(4)
    assert [order.size for order in trading.sent] == [7, 4, 1]
    assert trading.orders.finished == {S.CANCELED: 2, S.FILLED: 1}
    trading.agrees()


def test_nothing_is_sent_without_a_touch(trading):
    trading.venue.touches.clear()
    trading.aim(5)
    trading.steps(3)
    assert trading.sent == []
    trading.venue.touches[PERP.name] = TOUCH
    trading.step()
    assert len(trading.sent) == 1


def test_one_order_per_instrument_is_under_way(trading):
    trading.venue.faults.hold_reports = True
    for position in (5, 6, -7, 5):
        trading.aim(position)
        trading.step()
    assert [order.client_id for order in trading.sent] == ["a-1"]
    trading.aim(2, OTHER.name)
    assert [order.instrument for order in trading.sent] == [PERP.name, OTHER.name]


@pytest.mark.parametrize("touch", [TOUCH, (400, 401), (3, 4), (1, 2), (40_000, 50_000)])
@pytest.mark.parametrize("position", [5, -5])
def test_a_normal_order_reaches_no_further_than_the_slippage(trading, touch, position):
    trading.venue.touches[PERP.name] = touch
    trading.aim(position)
    (order,) = trading.sent
    bid, ask = touch
    assert (order.type, order.time_in_force) == (OrderType.LIMIT, TimeInForce.IOC)
    assert not order.post_only
    if position > 0:
        assert ask <= order.price <= ask * (1 + SHAPE.slippage_bps / 10_000)
    else:
        assert bid * (1 - SHAPE.slippage_bps / 10_000) <= order.price <= bid
    trading.step()
    assert trading.ledger.position(PERP.name) == position


def test_the_slippage_is_used_in_full(trading):
    trading.aim(5)
    trading.aim(-5, OTHER.name)
    assert [order.price for order in trading.sent] == [ASK + 20, BID - 19]


@pytest.mark.parametrize(("position", "price"), [(5, BID), (-5, ASK)])
def test_a_passive_order_rests_at_the_touch_and_takes_nothing(trading, position, price):
    trading.aim(position, urgency=Urgency.PASSIVE)
    (order,) = trading.sent
    assert (order.type, order.time_in_force) == (OrderType.LIMIT, TimeInForce.GTC)
    assert (order.price, order.post_only) == (price, True)
    trading.step()
    assert trading.orders.open["a-1"].state is S.NEW
    trading.venue.trade("a-1", 2)
    trading.step()
    assert trading.orders.open["a-1"].state is S.PARTIALLY_FILLED
    trading.venue.trade("a-1", 3)
    trading.steps(2)
    assert trading.ledger.position(PERP.name) == position
    trading.agrees()


@pytest.mark.parametrize("position", [5, -5])
def test_an_urgent_order_goes_to_market(trading, position):
    trading.aim(position, urgency=Urgency.URGENT)
    (order,) = trading.sent
    assert (order.type, order.price, order.post_only) == (OrderType.MARKET, None, False)


def test_sizes_are_whole_lots_and_each_request_can_lapse(trading):
    trading.aim(5)
    trading.aim(-3, OTHER.name, urgency=Urgency.PASSIVE)
    for order in trading.sent:
        assert type(order.size) is int
        assert order.size > 0
        assert order.price is None or type(order.price) is int
        assert order.accept_until == trading.now + SHAPE.accept_ns
        assert order.strategy == "rules"


def test_only_what_reduces_carries_the_mark_and_spot_never(trading):
    trading.hold(5)
    trading.hold(5, SPOT.name)
    trading.aim(2)
    trading.aim(2, SPOT.name)
    assert [order.reduce_only for order in trading.sent] == [False, False, True, False]
    trading.steps(2)
    trading.aim(-2)
    assert trading.sent[-1].size == 4
    assert not trading.sent[-1].reduce_only


@pytest.mark.parametrize("position", [-5, -1, 0])
def test_spot_never_sells_more_than_it_has(trading, position):
    trading.aim(position, SPOT.name)
    trading.steps(2)
    assert trading.sent == []
    trading.hold(3, SPOT.name)
    trading.aim(position, SPOT.name)
    trading.steps(5)
    assert sum(order.side.sign * order.size for order in trading.sent) == 0
    assert trading.venue.lots(SPOT.name) == 0


# --- what is not sent ---


@pytest.mark.parametrize("position", [-1, 6, 9, -20])
def test_a_reducing_goal_never_grows_or_turns_a_position(trading, position):
    trading.hold(5)
    trading.aim(position, reduce_only=True)
    trading.steps(3)
    assert len(trading.sent) == 1
    assert trading.executor.goals == {}


@pytest.mark.parametrize("position", [4, 1, 0])
def test_a_reducing_goal_reduces(trading, position):
    trading.hold(5)
    trading.aim(position, reduce_only=True)
    trading.steps(3)
    assert trading.ledger.position(PERP.name) == position
    assert trading.sent[-1].reduce_only


@pytest.mark.parametrize(("held", "position"), [(0, 5), (0, -5), (5, 6), (5, -1), (-5, -6)])
def test_while_blocked_nothing_takes_on_risk(trading, held, position):
    if held:
        trading.hold(held)
    sent = len(trading.sent)
    trading.blocked = EVERYTHING
    trading.aim(position)
    trading.steps(3)
    assert len(trading.sent) == sent


@pytest.mark.parametrize(("held", "position"), [(5, 2), (5, 0), (-5, -1), (-5, 0)])
def test_while_blocked_risk_can_be_taken_off(trading, held, position):
    trading.hold(held)
    trading.blocked = EVERYTHING
    trading.aim(position)
    trading.steps(2)
    assert trading.ledger.position(PERP.name) == position


def test_an_expired_goal_is_dropped(trading):
    trading.executor.aim([goal(5, expiry=trading.now + SECOND)])
    trading.step()
    assert trading.sent == []
    assert trading.executor.goals == {}


def test_a_wish_to_close_does_not_expire(trading):
    trading.hold(5)
    intent = Close(strategy="rules", ts=START, tape=0, expiry=START, instrument=PERP.name)
    trading.executor.aim(
        [Approved(intent=intent, instrument=PERP.name, position=0, reduce_only=True)]
    )
    trading.steps(2)
    assert trading.ledger.position(PERP.name) == 0


# --- resting orders ---


@pytest.mark.parametrize("position", [0, -5, 3])
def test_a_resting_order_that_leads_away_is_cancelled(trading, position):
    resting(trading)
    trading.aim(position, urgency=Urgency.PASSIVE)
    assert trading.orders.open["a-1"].state is S.PENDING_CANCEL
    trading.step()
    assert trading.orders.done[0].state is S.CANCELED
    assert [order.side.sign * order.size for order in trading.sent[1:]] == (
        [position] if position else []
    )


def test_a_resting_order_that_still_leads_there_stays(trading):
    resting(trading)
    trading.aim(8, urgency=Urgency.PASSIVE)
    trading.steps(3)
    assert trading.venue.cancels == []


def test_a_resting_order_does_not_outlive_its_goal(trading):
    resting(trading, expiry=trading.now + 3 * SECOND)
    trading.steps(5)
    assert trading.venue.cancels == ["a-1"]
    assert trading.orders.done[-1].state is S.CANCELED


def test_a_resting_order_that_adds_risk_is_cancelled_once_blocked(trading):
    resting(trading)
    trading.blocked = EVERYTHING
    trading.steps(2)
    assert trading.venue.cancels == ["a-1"]
    assert trading.sent == trading.sent[:1]


def test_a_resting_order_that_reduces_stays_while_blocked(trading):
    trading.hold(5)
    resting(trading, 0)
    trading.blocked = EVERYTHING
    trading.steps(3)
    assert trading.venue.cancels == []


def test_stopping_cancels_risk_and_leaves_protection(trading):
    trading.hold(5)
    resting(trading, 0)
    trading.aim(5, OTHER.name, urgency=Urgency.PASSIVE)
    trading.step()
    trading.executor.goals.clear()
    trading.executor.cancel_risk(trading.now)
    trading.steps(3)
    assert trading.venue.cancels == ["a-3"]
    assert list(trading.orders.open) == ["a-2"]


def test_an_order_on_its_way_at_the_stop_is_cancelled_once_it_rests(trading):
    trading.aim(5, urgency=Urgency.PASSIVE)
    trading.executor.goals.clear()
    trading.executor.cancel_risk(trading.now)
    trading.steps(3)
    assert not trading.orders.open
    assert trading.orders.done[-1].state is S.CANCELED


def test_a_cancel_that_got_lost_is_asked_about_and_sent_again(trading):
    resting(trading)
    trading.venue.faults.lose_cancel = True
    trading.aim(0)
    assert trading.orders.open["a-1"].state is S.PENDING_CANCEL
    trading.steps(6)
    assert S.UNKNOWN in trading.states("a-1")
    trading.venue.faults = Faults()
    trading.steps(8)
    assert trading.states("a-1")[-1] is S.CANCELED
    assert len(trading.venue.cancels) >= 2


def test_a_cancel_without_an_answer_still_ends_the_order(trading):
    resting(trading)
    trading.venue.faults.lose_cancel_answer = True
    trading.aim(0)
    trading.venue.faults = Faults()
    trading.steps(2)
    assert trading.states("a-1")[-2:] == [S.PENDING_CANCEL, S.CANCELED]


def test_an_old_report_does_not_undo_a_cancel(trading):
    resting(trading)
    trading.venue.faults.lose_cancel = True
    trading.aim(0)
    trading.venue.tell(trading.venue.history[0])
    trading.step()
    assert trading.orders.open["a-1"].state is S.PENDING_CANCEL
    assert trading.venue.cancels == ["a-1"]


def test_a_cancel_that_is_refused_is_asked_about_at_once(trading):
    resting(trading)
    trading.venue.faults.hold_reports = True
    trading.venue.expire("a-1")
    trading.aim(0)
    trading.step()
    assert trading.orders.done[-1].state is S.EXPIRED


def test_a_fill_that_crosses_a_cancel_is_booked(trading):
    resting(trading)
    trading.venue.faults.hold_reports = True
    trading.venue.trade("a-1", 5)
    trading.aim(0)  # the venue refuses to cancel what is filled
    trading.venue.faults = Faults()
    trading.steps(3)
    assert trading.states("a-1").count(S.FILLED) == 0  # the fill itself ended it
    assert trading.orders.finished[S.FILLED] == 2  # and the goal of 0 sold it again
    assert trading.ledger.position(PERP.name) == 0
    trading.agrees()


def test_an_order_that_the_venue_ends_is_ended(trading):
    resting(trading)
    trading.executor.goals.clear()
    trading.venue.expire("a-1")
    trading.step()
    assert trading.orders.done[-1].state is S.EXPIRED


# --- refusals ---


@pytest.mark.parametrize("fault", [Faults(refuse="no margin"), Faults(reject="no margin")])
def test_what_is_refused_is_asked_for_less_and_less_often(trading, fault):
    asked = []
    trading.venue.watch = lambda order: asked.append(trading.now)
    trading.venue.faults = fault
    trading.aim(5)
    trading.steps(400)
    waits = [(b - a) / SECOND for a, b in pairwise(asked)]
    for wait, least in zip(waits, [2, 4, 8, 16, 32, 60, 60, 60], strict=False):
        assert least <= wait <= least + 2
    assert len(waits) >= 7
    assert len(trading.venue.requested) == len(set(trading.venue.requested))
    assert trading.orders.finished == {S.REJECTED: len(asked)}
    assert {entry.reason for entry in trading.orders.done} == {"no margin"}


def test_a_refusal_on_one_instrument_holds_up_no_other(trading):
    trading.venue.faults.refuse = "no"
    trading.aim(5)
    trading.venue.faults = Faults()
    trading.aim(5, OTHER.name)
    assert [order.instrument for order in trading.sent] == [PERP.name, OTHER.name]


def test_a_fill_ends_the_waiting(trading):
    trading.venue.faults.refuse = "no"
    trading.aim(5)
    trading.steps(10)
    trading.venue.faults = Faults()
    trading.steps(20)
    assert trading.ledger.position(PERP.name) == 5
    trading.venue.faults.refuse = "no"
    sent = len(trading.sent)
    trading.aim(6)
    trading.steps(3)
    assert len(trading.sent) == sent + 2  # again after the first, shortest wait


def test_the_shape_is_the_one_that_these_tests_speak_of():
    assert (SHAPE.accept_ns, SHAPE.margin_ns) == (2 * SECOND, 500 * MILLISECOND)
    assert Side.BUY.sign == 1
