"""The executor where answers are missing, late, twice or out of order."""

import msgspec
import pytest

from seawall.core.clock import SECOND
from seawall.core.errors import InvariantError
from seawall.core.intents import Urgency
from seawall.core.orders import (
    OrderReport,
    OrderState,
)
from tests.execution.scripted_venue import (
    CATALOG,
    OTHER,
    PERP,
    SPOT,
    Faults,
)
from tests.execution.trading import SHAPE, S, goal, resting

# --- no answer ---


def test_without_an_answer_the_order_is_unknown_and_nothing_follows(trading):
    trading.venue.faults = Faults(lose_request=True, deaf=True)
    trading.aim(5)
    assert trading.orders.open["a-1"].state is S.UNKNOWN
    for position in (5, 9, -4, 0):
        trading.aim(position)
        trading.steps(20)
    assert trading.venue.requested == ["a-1"]
    assert trading.orders.open["a-1"].state is S.UNKNOWN


def test_absence_is_proven_late_and_twice_and_the_next_try_is_another_order(trading):
    trading.venue.faults.lose_request = True
    trading.aim(5)
    sent = trading.now
    trading.venue.faults = Faults()
    provable = sent + SHAPE.accept_ns + SHAPE.margin_ns
    asked_since = 0
    while "a-1" in trading.orders.open:
        before = trading.venue.questions
        trading.step(0.25)
        asked_since += trading.venue.questions > before and trading.now > provable
        assert trading.now < sent + 10 * SECOND
    assert trading.now > provable
    assert asked_since == 2
    assert trading.states("a-1") == [S.SENT, S.UNKNOWN, S.REJECTED]
    trading.steps(4)
    assert trading.venue.requested == ["a-1", "a-2"]
    assert trading.ledger.position(PERP.name) == 5
    trading.agrees()


def test_silence_is_not_absence(trading):
    trading.venue.faults.lose_request = True
    trading.aim(5)
    trading.venue.faults = Faults(deaf=True)
    trading.steps(60)
    assert trading.orders.open["a-1"].state is S.UNKNOWN
    assert trading.executor.unreachable


def test_a_request_that_arrives_late_is_found_and_booked_once(trading):
    trading.venue.faults.slow_request = round(1.5 * SECOND)
    trading.aim(5)
    trading.venue.faults = Faults()
    trading.step(0.5)
    assert trading.orders.open["a-1"].state is S.UNKNOWN
    trading.steps(3)
    assert trading.venue.requested == ["a-1"]
    assert trading.ledger.position(PERP.name) == 5
    trading.agrees()


def test_a_request_that_arrives_too_late_cannot_trade(trading):
    trading.venue.faults.slow_request = 60 * SECOND
    trading.aim(5)
    trading.venue.faults = Faults()
    trading.steps(80)
    assert trading.venue.standing["a-1"].state is S.REJECTED
    assert trading.ledger.position(PERP.name) == 5
    trading.agrees()


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("repeat", [False, True])
def test_accepted_without_an_answer_ends_with_its_fills_booked_once(trading, repeat, scramble):
    trading.venue.clip = 2
    trading.venue.faults = Faults(lose_answer=True, hold_reports=True)
    trading.aim(5)
    assert trading.orders.open["a-1"].state is S.UNKNOWN
    trading.step(0.1)
    trading.venue.faults = Faults(repeat=repeat, scramble=scramble)
    trading.steps(5)
    assert trading.venue.requested == ["a-1"]
    assert trading.orders.done[-1].state is S.FILLED
    assert [fill.size for fill in trading.booked] == [2, 2, 1]
    trading.agrees()


def test_reports_that_never_come_are_fetched(trading):
    trading.venue.faults.hold_reports = True
    trading.aim(5)
    trading.steps(8)
    assert S.UNKNOWN in trading.states("a-1")
    assert trading.ledger.position(PERP.name) == 5
    trading.venue.faults = Faults()  # and now they all come
    rows = trading.journal.rows
    trading.steps(3)
    assert trading.journal.rows == rows
    trading.agrees()


def test_a_dead_connection_is_told_and_ends(trading):
    trading.venue.faults.dead = True
    trading.step()
    assert trading.executor.unreachable == "the connection is gone"
    trading.venue.faults = Faults()
    trading.step()
    assert trading.executor.unreachable == ""


def test_a_dead_connection_takes_one_order_at_most(trading):
    trading.venue.faults.dead = True
    trading.executor.aim([goal(5), goal(5, OTHER.name), goal(5, SPOT.name)])
    trading.executor.work(trading.venue.touches, trading.now, ())
    assert len(trading.venue.requested) == 1
    trading.venue.faults = Faults()
    trading.steps(12)
    assert {name: trading.ledger.position(name) for name in CATALOG.by_name} == dict.fromkeys(
        CATALOG.by_name, 5
    )
    trading.agrees()


# --- what the venue says ---


def test_reports_that_come_twice_change_nothing(trading):
    trading.venue.clip = 1
    trading.venue.faults.repeat = True
    trading.aim(5)
    trading.steps(2)
    trading.agrees()
    rows = trading.journal.rows
    trading.venue.tell(*trading.venue.history)
    trading.steps(3)
    assert trading.journal.rows == rows


def test_reports_after_the_end_are_harmless(trading):
    trading.hold(5)
    rows = trading.journal.rows
    for state in OrderState:
        trading.venue.tell(
            OrderReport(
                sequence=99, client_id="a-1", instrument=PERP.name, state=state, filled=5, ts=1
            )
        )
    trading.steps(2)
    assert trading.journal.rows == rows


def test_reports_in_any_order_come_to_the_same(trading):
    trading.venue.clip = 1
    trading.venue.faults.scramble = True
    for position in (5, -2, 3):
        trading.aim(position)
        trading.aim(-position, OTHER.name)
        trading.steps(6)
    trading.agrees()
    assert not trading.orders.open


def test_a_fill_that_is_overtaken_by_a_later_one_is_not_lost(trading):
    trading.venue.faults.hold_reports = True
    trading.aim(5, urgency=Urgency.PASSIVE)
    trading.venue.trade("a-1", 2)
    trading.venue.trade("a-1", 2)
    early, late = trading.venue.trades
    trading.executor.take(late, trading.now)
    trading.executor.take(early, trading.now)
    assert trading.booked == [early, late]


def test_a_fill_is_not_lost_behind_a_report_that_overtook_it(trading):
    trading.venue.clip = 2
    trading.venue.faults.hold_reports = True
    trading.aim(4, urgency=Urgency.PASSIVE)
    trading.venue.trade("a-1", 1)
    trading.aim(4, OTHER.name)
    new_1, fill_1, _, new_2, fill_2, *_ = trading.venue.history
    for report in (new_1, new_2, fill_2, fill_1):
        trading.executor.take(report, trading.now)
    assert trading.booked[:2] == [fill_1, fill_2]


def test_an_end_waits_for_the_fills_that_it_speaks_of(trading):
    trading.venue.depth = 3
    trading.venue.faults = Faults(hold_reports=True)
    trading.aim(5)
    end = trading.venue.history[-1]
    assert (end.state, end.filled) == (S.CANCELED, 3)
    trading.venue.faults.lag_fills = True
    trading.executor.take(end, trading.now)
    trading.step()
    assert not trading.orders.open["a-1"].state.final
    assert trading.executor.doubtful == ["a-1"]
    trading.venue.faults = Faults()
    trading.executor.goals.clear()
    trading.steps(3)
    assert trading.orders.done[-1].state is S.CANCELED
    assert trading.orders.done[-1].filled == 3
    trading.agrees()


def test_one_question_without_an_answer_loses_none_of_the_other_reports(trading):
    trading.venue.depth = 3
    trading.venue.faults = Faults(hold_reports=True)
    trading.aim(5)
    trading.aim(2, OTHER.name, urgency=Urgency.PASSIVE)
    trading.venue.faults = Faults(deaf=True, scramble=True)
    trading.step()
    assert trading.executor.unreachable
    trading.venue.faults = Faults()
    trading.steps(10)
    assert trading.orders.open["a-2"].state is S.NEW
    assert trading.ledger.position(PERP.name) == 5
    trading.agrees()


def told_of(trading, client_id):
    stranger = msgspec.structs.replace(
        trading.venue.trades[-1],
        sequence=len(trading.venue.history) + 1,
        fill_id="x",
        client_id=client_id,
    )
    trading.executor.take(stranger, trading.now)


def test_a_fill_of_ours_that_cannot_be_stops_the_books(trading):
    trading.hold(5)
    with pytest.raises(InvariantError, match="which is not open in our books"):
        told_of(trading, "a-1")
    assert trading.ledger.position(PERP.name) == 5


def test_a_fill_of_somebody_elses_order_is_booked_apart(trading):
    trading.hold(5)
    told_of(trading, "someone-else")
    told_of(trading, "someone-else")  # known already
    held = trading.ledger.position(PERP.name)
    assert held == 5 + trading.ledger.position(PERP.name, "external") != 5


def test_orders_that_are_not_ours_are_named(trading):
    resting(trading)
    assert trading.executor.strangers() == []
    trading.venue.place(msgspec.structs.replace(trading.sent[0], client_id="x-1"))
    assert trading.executor.strangers() == ["x-1"]


def test_an_order_that_is_on_its_way_is_not_absent(trading):
    trading.venue.faults.hold_reports = True
    trading.aim(5, urgency=Urgency.PASSIVE)
    trading.venue.standing["a-1"].state = S.SENT  # as the simulated venue words it
    trading.steps(20)
    assert trading.orders.open["a-1"].state is S.UNKNOWN
    assert trading.venue.requested == ["a-1"]
