"""Stops and take-profits: at the venue, of the position's size, until it is flat."""

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.events import Side
from seawall.core.intents import Approved, Close, Protection, Target, Urgency
from seawall.core.orders import OrderState, OrderType, Purpose
from seawall.core.records import IntentApproved, StopOutEnded, StopWatched
from seawall.execution import Executor, Protections
from seawall.execution.protection import wanted_of
from seawall.storage import Recorder
from tests.execution.scripted_venue import CATALOG, PERP, RESTING, SPOT, TOUCH, Faults
from tests.execution.trading import FAULTS, ONE_FAULT, Trading, now_and_then

S = OrderState
BID, ASK = TOUCH
STOP = Protection(stop=0.02)
BOTH = Protection(stop=0.02, take_profit=0.03)
TRAILING = Protection(stop=0.02, trailing=True)


class Protected(Trading):
    """An account whose positions are protected."""

    def __init__(self, strategies: tuple[str, ...] = (), **venue: object) -> None:
        self.names = strategies
        super().__init__(**venue)
        self.protections = Protections()
        self.recorder = Recorder(self.journal, [self.ledger, self.orders, self.protections])
        self.start()

    def start(self) -> None:
        self.executor = Executor(
            CATALOG,
            self.venue,
            self.orders,
            "a",
            self.record,
            self.ledger.position,
            lambda: self.ledger.last_fill_sequence("v"),
            strategies=self.names,
            shares=self.ledger.shares,
            protections=self.protections,
            entry=self.entry,
        )
        self.executor.recover(self.now)
        self.reconcile()

    def entry(self, name: str, owner: str) -> float:
        book = self.ledger.books(owner or None).get(name)
        return self.ledger.ticks(name, book) if book else float("nan")

    def want(
        self,
        position: int,
        protection: Protection | None = STOP,
        name: str = PERP.name,
        strategy: str = "rules",
    ) -> None:
        about = {
            "strategy": strategy,
            "ts": self.now,
            "tape": 0,
            "expiry": self.now + 100_000 * SECOND,
            "instrument": name,
        }
        intent = (
            Target(**about, exposure=float(position), protection=protection)
            if position
            else Close(**about, urgency=Urgency.URGENT)
        )
        approved = Approved(
            intent=intent,
            instrument=name,
            position=position,
            protection=protection if position else None,
        )
        self.record(IntentApproved(ts=self.now, approved=approved))
        self.executor.aim([approved])

    def live(self, purpose: Purpose, name: str = PERP.name) -> list:
        return [h for h in self.venue.live(name) if h.order.purpose is purpose]

    def move(self, middle: int, name: str = PERP.name) -> None:
        self.venue.touches[name] = (middle - 1, middle + 1)


@pytest.fixture
def account() -> Protected:
    return Protected()


@pytest.mark.parametrize(
    ("position", "side", "at"), [(5, Side.SELL, 9_800), (-5, Side.BUY, 10_199)]
)
def test_a_position_gets_a_stop_of_its_size(account, position, side, at):
    account.want(position)
    account.steps(4)
    (stop,) = account.live(Purpose.STOP)
    order = stop.order
    assert (order.type, order.side, order.size, order.reduce_only) == (
        OrderType.STOP,
        side,
        5,
        True,
    )
    assert order.trigger.price == at  # 2 % from the entry, rounded away from it
    assert (order.strategy, order.intent_ts) == ("rules", account.now - 4 * SECOND)


@given(
    st.integers(-50, 50).filter(bool),
    st.floats(2.0, 1e6),
    st.floats(1e-5, 0.5),
    st.floats(0.0, 2.0),
)
def test_stop_and_profit_stand_on_their_sides_of_the_entry(position, entry, stop, profit):
    want = wanted_of(Protection(stop=stop, take_profit=profit), position, entry)
    sign = 1 if position > 0 else -1
    assert want.stop * sign < entry * sign or want.stop == 1
    assert not want.profit or want.profit * sign > entry * sign - 1 or want.profit == 1
    assert want.side.sign == -sign


def test_it_is_resized_by_amendment(account):
    account.want(5)
    account.steps(4)
    account.want(8)
    account.steps(4)
    (stop,) = account.live(Purpose.STOP)
    assert (stop.order.size, stop.order.replaces) == (8, "a-2")
    account.want(3)
    account.steps(4)
    (stop,) = account.live(Purpose.STOP)
    assert stop.order.size == 3
    assert account.venue.cancels == []


def test_it_leads_out_and_everything_is_gone(account):
    account.want(5, BOTH)
    account.steps(4)
    assert len(account.live(Purpose.PROFIT)) == 1
    account.move(9_790)
    account.steps(3)
    assert account.ledger.position(PERP.name) == 0
    assert account.venue.live(PERP.name) == []
    assert not account.orders.open
    assert account.protections.barred == {(PERP.name, "rules"): 1}
    account.agrees()


def test_the_profit_is_taken_and_the_stop_is_gone(account):
    account.want(5, BOTH)
    account.steps(4)
    (profit,) = account.live(Purpose.PROFIT)
    assert (profit.order.price, profit.order.type, profit.order.reduce_only) == (
        10_302,
        OrderType.LIMIT,
        True,
    )
    account.venue.trade(profit.order.client_id, 3)
    account.steps(3)
    assert [stop.left for stop in account.live(Purpose.STOP)] == [2]
    account.venue.trade(profit.order.client_id, 2)
    account.steps(3)
    assert account.venue.live(PERP.name) == []
    assert account.protections.barred == {}
    account.agrees()


def test_a_trailing_stop_follows_and_added_lots_have_their_own(account):
    account.want(5, TRAILING)
    account.steps(4)
    account.move(10_300)
    account.steps(2)
    account.want(8, TRAILING)
    account.steps(4)
    assert [(h.order.type, h.order.size) for h in account.live(Purpose.STOP)] == [
        (OrderType.TRAILING_STOP, 5),
        (OrderType.TRAILING_STOP, 3),
    ]
    account.move(10_090)
    account.steps(3)
    assert account.ledger.position(PERP.name) == 0
    account.agrees()


def test_protection_stays_when_all_else_is_given_up(account):
    account.want(5)
    account.steps(4)
    account.executor.abandon()
    account.executor.cancel_risk(account.now)
    account.steps(3)
    assert len(account.live(Purpose.STOP)) == 1
    assert account.executor.settled
    account.want(0)
    account.steps(4)
    assert account.venue.live(PERP.name) == []


def test_after_a_restart_it_is_the_same_one(account):
    account.want(5)
    account.steps(4)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(account.protections.state()))
    account.protections = Protections()
    account.protections.restore(state)
    account.recorder = Recorder(
        account.journal, [account.ledger, account.orders, account.protections]
    )
    account.start()
    account.steps(4)
    assert [h.order.client_id for h in account.live(Purpose.STOP)] == ["a-2"]
    account.want(7)
    account.steps(4)
    assert [h.order.size for h in account.live(Purpose.STOP)] == [7]


def test_a_stop_that_was_filled_while_we_were_away_bars_the_way_back(account):
    account.want(5)
    account.steps(4)
    account.venue.faults = Faults(dead=True)
    account.steps(2)
    account.move(9_700)
    account.steps(3)
    account.venue.faults = Faults()
    account.steps(5)
    assert account.ledger.position(PERP.name) == 0
    assert account.protections.barred == {(PERP.name, "rules"): 1}
    account.record(StopOutEnded(ts=account.now, instrument=PERP.name, strategy="rules"))
    assert account.protections.barred == {}
    account.agrees()


@pytest.mark.parametrize("protection", [STOP, TRAILING])
def test_where_the_venue_holds_no_stops_we_watch_ourselves(account, protection):
    account.venue.faults = Faults(no_stops="stop orders are not offered")
    account.want(5, protection)
    account.steps(4)
    told = [r for r in account.records if isinstance(r, StopWatched)]
    assert [(r.reason, r.strategy) for r in told] == [("stop orders are not offered", "rules")]
    assert account.executor.watched == {(PERP.name, ""): "stop orders are not offered"}
    account.move(9_900)
    account.steps(2)
    assert account.ledger.position(PERP.name) == 5
    account.move(9_750)
    account.steps(3)
    assert account.ledger.position(PERP.name) == 0
    assert account.protections.barred == {(PERP.name, "rules"): 1}
    assert account.executor.watched == {}
    account.agrees()


def test_a_stop_that_is_met_before_it_stands_leads_out_at_once(account):
    account.venue.faults = Faults(hold_reports=True)
    account.want(5)
    account.executor.work(account.venue.touches, account.now, ())
    account.move(9_700)
    account.venue.faults = Faults()
    account.steps(6)
    assert account.ledger.position(PERP.name) == 0
    account.agrees()


def test_on_a_spot_market_profit_is_taken_without_locking_the_coins(account):
    account.want(5, BOTH, SPOT.name)
    account.steps(4)
    assert [h.order.reduce_only for h in account.live(Purpose.STOP, SPOT.name)] == [False]
    assert account.live(Purpose.PROFIT, SPOT.name) == []
    account.move(10_400, SPOT.name)
    account.steps(4)
    assert account.ledger.position(SPOT.name) == 0
    assert account.venue.live(SPOT.name) == []
    account.agrees()


def test_each_strategy_has_its_own_stop():
    account = Protected(("a", "b"))
    account.want(5, STOP, strategy="a")
    account.want(3, Protection(stop=0.05), strategy="b")
    account.steps(5)
    assert sorted((h.order.strategy, h.order.size) for h in account.live(Purpose.STOP)) == [
        ("a", 5),
        ("b", 3),
    ]
    account.move(9_780)
    account.steps(4)
    assert account.ledger.shares(PERP.name) == {"b": 3}
    account.agrees()


# --- whatever happens ---

WANTS = st.tuples(st.integers(-6, 6), st.sampled_from([STOP, BOTH, TRAILING, None]))
MOMENTS = st.tuples(
    now_and_then(st.one_of(st.just(Faults()), st.sampled_from(ONE_FAULT), FAULTS)),
    st.one_of(st.just(0), st.integers(-150, 150)),
    now_and_then(WANTS),
    now_and_then(st.integers(1, 4)),
    st.sampled_from([0.5, 1, 2, 6]),
)


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(MOMENTS, min_size=20, max_size=50))
def test_whatever_happens_a_position_is_protected_in_the_end(moments):
    account = Protected(clip=3)
    name = PERP.name
    for fault, by, want, met, seconds in moments:
        if fault is not None:
            account.venue.faults = fault
        bid, _ = account.venue.touches[name]
        account.move(max(5_000, min(20_000, bid + 1 + by)))
        if want is not None:
            account.want(*want)
        resting = [h for h in account.live(Purpose.PROFIT) if h.state in RESTING]
        if met is not None and resting:
            account.venue.trade(resting[0].order.client_id, met)
        account.step(seconds)
        account.ledger.conservation()
    account.venue.faults = Faults()
    account.steps(90)
    account.agrees()
    held = account.ledger.position(name)
    agreed = account.protections.of(name, "")
    stops = [h.left for h in account.live(Purpose.STOP)]
    wanted = abs(held) if agreed else 0
    trailing = agreed is not None and agreed.protection.trailing
    assert sum(stops) >= wanted if trailing else sum(stops) == wanted
    account.want(0)
    account.steps(90)
    assert account.ledger.position(name) == 0
    assert not account.orders.open
    assert account.venue.live(name) == []
    account.agrees()
