"""The executor: journaled before sent, never sent blind, and right about what became of it all."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.errors import InvariantError, VenueUnreachableError
from seawall.core.events import Side
from seawall.core.instruments import Kind
from seawall.core.intents import Approved, Close, Target, Urgency
from seawall.core.orders import (
    Fill,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    TimeInForce,
)
from seawall.core.records import (
    AnyRecord,
    Deposited,
    FillBooked,
    OrderChanged,
    OrderCreated,
    RunStarted,
)
from seawall.execution import ACCOUNT, ExecutionShape, Executor, Orders
from seawall.ledger import Ledger
from seawall.storage import MemoryJournal, Recorder
from tests.execution.scripted_venue import (
    BALANCES,
    CATALOG,
    OTHER,
    PERP,
    RESTING,
    SPOT,
    TOUCH,
    Faults,
    ScriptedVenue,
)

S = OrderState
START = 1_000 * SECOND
BID, ASK = TOUCH
SHAPE = ExecutionShape()


def goal(
    position: int,
    instrument: str = PERP.name,
    *,
    urgency: Urgency = Urgency.NORMAL,
    reduce_only: bool = False,
    expiry: int = START + 10_000 * SECOND,
) -> Approved:
    intent = Target(
        strategy="rules",
        ts=START,
        tape=0,
        expiry=expiry,
        urgency=urgency,
        instrument=instrument,
        exposure=float(position),
    )
    return Approved(
        intent=intent, instrument=instrument, position=position, reduce_only=reduce_only
    )


class Trading:
    """An executor with its journal and books, a scripted venue, and a clock that a test moves."""

    def __init__(self, **venue: object) -> None:
        self.now = START
        self.venue = ScriptedVenue(now=START, **venue)
        self.journal = MemoryJournal()
        self.ledger, self.orders = Ledger(), Orders()
        self.recorder = Recorder(self.journal, [self.ledger, self.orders])
        self.records: list[AnyRecord] = []  # the journal's, at hand
        self.record(
            RunStarted(
                ts=START,
                run="r",
                mode="paper",
                seed=0,
                settings="",
                numeraire="USD",
                instruments=CATALOG.instruments,
            ),
            *(Deposited(ts=START, asset=a, amount=n) for a, n in BALANCES.items()),
        )
        self.blocked = False
        self.executor = Executor(
            CATALOG,
            self.venue,
            self.orders,
            "a",
            self.record,
            self.ledger.position,
            lambda: self.ledger.last_fill_sequence("v"),
        )
        self.executor.recover(self.now)
        self.reconcile()

    def record(self, *records: AnyRecord) -> None:
        self.recorder.record(*records)
        self.records += records

    def reconcile(self) -> None:
        """What the node does once the venue answers: with nothing in doubt, all must agree."""
        if self.executor.unreachable or self.executor.doubtful:
            return
        try:
            self.executor.sync_fills(self.now)
            strangers = self.executor.strangers()
        except VenueUnreachableError as error:
            self.executor.lost(str(error))
            return
        assert strangers == []
        assert dict(self.ledger.cash) == self.venue.balances_
        self.executor.behind = False

    def step(self, seconds: float = 1.0) -> None:
        """Time goes on by one boundary."""
        self.now += round(seconds * SECOND)
        self.venue.pass_to(self.now)
        self.executor.listen(self.now)
        if self.executor.behind:
            self.reconcile()
        self.executor.work(self.venue.touches, self.now, self.blocked)

    def steps(self, seconds: int) -> None:
        for _ in range(seconds):
            self.step()

    def aim(self, position: int, instrument: str = PERP.name, **about: object) -> None:
        """Approve a position and send what it calls for."""
        self.executor.aim([goal(position, instrument, **about)])
        self.executor.work(self.venue.touches, self.now, self.blocked)

    def hold(self, position: int, instrument: str = PERP.name) -> None:
        """Get there, undisturbed."""
        self.aim(position, instrument, urgency=Urgency.URGENT)
        self.steps(3)
        assert self.ledger.position(instrument) == position
        assert not self.orders.open

    @property
    def sent(self) -> list[Order]:
        """Every order that was created, in order."""
        return [r.order for r in self.records if isinstance(r, OrderCreated)]

    @property
    def booked(self) -> list[Fill]:
        return [r.fill for r in self.records if isinstance(r, FillBooked)]

    def states(self, client_id: str) -> list[OrderState]:
        changes = (r for r in self.records if isinstance(r, OrderChanged))
        return [change.state for change in changes if change.client_id == client_id]

    def agrees(self) -> None:
        """Our books are the venue's, to the last unit."""
        assert self.booked == self.venue.trades
        assert dict(self.ledger.cash) == self.venue.balances_
        for name in CATALOG.by_name:
            assert self.ledger.position(name) == self.venue.lots(name)
        self.ledger.conservation()


@pytest.fixture
def trading() -> Trading:
    return Trading()


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
    trading.blocked = True
    trading.aim(position)
    trading.steps(3)
    assert len(trading.sent) == sent


@pytest.mark.parametrize(("held", "position"), [(5, 2), (5, 0), (-5, -1), (-5, 0)])
def test_while_blocked_risk_can_be_taken_off(trading, held, position):
    trading.hold(held)
    trading.blocked = True
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


def resting(trading: Trading, position: int = 5, **about: object) -> None:
    trading.aim(position, urgency=Urgency.PASSIVE, **about)
    trading.step()
    assert trading.orders.open[trading.sent[-1].client_id].state is S.NEW


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
    trading.blocked = True
    trading.steps(2)
    assert trading.venue.cancels == ["a-1"]
    assert trading.sent == trading.sent[:1]


def test_a_resting_order_that_reduces_stays_while_blocked(trading):
    trading.hold(5)
    resting(trading, 0)
    trading.blocked = True
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
    trading.executor.work(trading.venue.touches, trading.now, False)
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


# --- whatever happens ---

INSTRUMENTS = [PERP.name, OTHER.name, SPOT.name]
FAULTS = st.builds(
    Faults,
    refuse=st.sampled_from(["", "", "", "no"]),
    reject=st.sampled_from(["", "", "", "no"]),
    lose_request=st.sampled_from([False, False, True]),
    slow_request=st.sampled_from([0, 0, 0, SECOND, 10 * SECOND]),
    lose_answer=st.sampled_from([False, False, True]),
    lose_cancel=st.booleans(),
    lose_cancel_answer=st.booleans(),
    hold_reports=st.booleans(),
    repeat=st.booleans(),
    scramble=st.booleans(),
    drop=st.booleans(),
    keep=st.booleans(),
    deaf=st.sampled_from([False, False, True]),
    dead=st.sampled_from([False, False, False, True]),
)


ONE_FAULT = [
    Faults(refuse="no"),
    Faults(reject="no"),
    Faults(slow_request=SECOND),
    Faults(slow_request=10 * SECOND),
    *(
        Faults(**{name: True})
        for name, kind in Faults.__annotations__.items()
        if kind is bool and name != "lag_fills"  # the port says that what is asked for is whole
    ),
]

WISHES = st.tuples(
    st.sampled_from(INSTRUMENTS),
    st.integers(-9, 9),
    st.sampled_from(Urgency),
    st.sampled_from([False, False, True]),
    st.sampled_from([1, 5, 60]),
)


def now_and_then(what: st.SearchStrategy) -> st.SearchStrategy:
    """Mostly nothing."""
    return st.one_of(st.none(), st.none(), st.none(), what)


MOMENTS = st.tuples(
    now_and_then(st.one_of(st.just(Faults()), st.sampled_from(ONE_FAULT), FAULTS)),
    now_and_then(st.booleans()),  # blocked
    now_and_then(st.tuples(st.sampled_from([0, 1, 4, 100]), st.integers(9_900, 10_100))),
    st.one_of(st.none(), WISHES),
    now_and_then(st.tuples(st.integers(0, 9), st.integers(1, 9), st.booleans())),
    st.sampled_from([False] * 15 + [True]),  # the node stops adding
    st.sampled_from([0.1, 1, 1, 1, 3, 7]),  # and so many seconds pass
)


class AnyDay:
    """Goals, faults and time in any order; then the faults stop and all must come right."""

    def __init__(self) -> None:
        self.trading = Trading(clip=3)
        self.trading.venue.watch = self._watch

    def _watch(self, order: Order) -> None:
        """What holds of every order that leaves, by the venue's own truth."""
        trading, name = self.trading, order.instrument
        entry = trading.orders.open[order.client_id]
        assert (entry.order, entry.state) == (order, S.SENT)
        amended = [e for e in trading.orders.of(name) if e is not entry]
        assert all(
            (e.order.client_id, e.state) == (order.replaces, S.PENDING_REPLACE) for e in amended
        )
        assert len(amended) <= 1
        assert amended or trading.venue.live(name) == []
        held = trading.ledger.position(name)
        assert amended or held == trading.venue.lots(name)
        after = held + order.side.sign * order.size
        assert type(order.size) is int
        assert order.size > 0
        wanted = trading.executor.goals[name, ACCOUNT]
        if trading.blocked or wanted.reduce_only or order.reduce_only:
            assert abs(after) < abs(held)
            assert after * held >= 0
        if CATALOG.by_name[name].kind is Kind.SPOT:
            assert after >= 0

    def moment(self, fault, blocked, market, wish, met, stops, seconds) -> None:
        """Much may happen in one moment, and then time goes on."""
        trading = self.trading
        if fault is not None:
            trading.venue.faults = fault
        if blocked is not None:
            trading.blocked = blocked
        if market is not None:
            trading.venue.depth, bid = market
            trading.venue.touches = dict.fromkeys(CATALOG.by_name, (bid, bid + 2))
        if wish is not None:
            instrument, position, urgency, reduce_only, life = wish
            about = {"reduce_only": reduce_only, "expiry": trading.now + life * SECOND}
            trading.aim(position, instrument, urgency=urgency, **about)
        if met is not None:
            self._meet(*met)
        if stops:
            trading.executor.goals.clear()
            trading.executor.cancel_risk(trading.now)
        trading.step(seconds)
        self._books_hold()

    def _meet(self, which: int, lots: int, ends: bool) -> None:
        """The venue ends one of the resting orders, or somebody takes it."""
        standing = self.trading.venue.standing.values()
        names = [held.order.client_id for held in standing if held.state in RESTING]
        if names and ends:
            self.trading.venue.expire(names[which % len(names)])
        elif names:
            self.trading.venue.trade(names[which % len(names)], lots)

    def _books_hold(self) -> None:
        trading = self.trading
        trading.ledger.conservation()
        assert trading.booked == trading.venue.trades[: len(trading.booked)]
        for name in INSTRUMENTS:
            *_, last = [None, *trading.orders.of(name)]
            amended = {e.order.client_id for e in trading.orders.of(name) if e is not last}
            assert amended <= {last and last.order.replaces}
            assert len(trading.venue.live(name)) <= 1
        assert trading.ledger.position(SPOT.name) >= 0

    def comes_right(self) -> None:
        """Without faults, and with time enough, every order ends and all is as the venue says."""
        trading = self.trading
        trading.venue.faults = Faults()
        trading.executor.goals.clear()
        for _ in range(80):
            trading.step()
            for entry in list(trading.orders.open.values()):  # protection stays until it is told
                if entry.state in RESTING:
                    trading.executor.cancel(entry, trading.now)
        assert trading.orders.open == {}
        assert sum(trading.orders.finished.values()) == trading.orders.created
        assert all(held.state.final for held in trading.venue.standing.values())
        ids = [order.client_id for order in trading.sent]
        assert len(set(ids)) == len(ids)
        assert sorted(trading.venue.requested) == sorted(ids)
        trading.agrees()


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(MOMENTS, min_size=60, max_size=100))
def test_whatever_happens_on_a_day_all_comes_right(moments):
    # A list of moments rather than a state machine: Hypothesis keeps those too short to get far.
    day = AnyDay()
    for moment in moments:
        day.moment(*moment)
    day.comes_right()


def test_the_shape_is_the_one_that_these_tests_speak_of():
    assert (SHAPE.accept_ns, SHAPE.margin_ns) == (2 * SECOND, 500 * MILLISECOND)
    assert Side.BUY.sign == 1
