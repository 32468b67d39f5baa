"""Several strategies on one account: sub-ledgers add up, and no two orders of ours ever meet."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.events import Side
from seawall.core.intents import Approved, Close, Level, Quotes, Target, Urgency
from seawall.core.orders import Order
from seawall.core.records import LotsTransferred
from seawall.execution import ACCOUNT, Executor
from seawall.execution.goals import dealt, matched
from tests.execution.scripted_venue import CATALOG, OTHER, PERP, SPOT, TOUCH, Faults
from tests.execution.trading import (
    BLOCKED,
    EVERYTHING,
    FAULTS,
    ONE_FAULT,
    START,
    Trading,
    now_and_then,
)

NAMES = ("a", "b", "c")
MIDDLE = sum(TOUCH) // 2


class Shared(Trading):
    """The same account, shared by three strategies."""

    def __init__(self, **venue: object) -> None:
        super().__init__(**venue)
        self.executor = Executor(
            CATALOG,
            self.venue,
            self.orders,
            "a",
            self.record,
            self.ledger.position,
            lambda: self.ledger.last_fill_sequence("v"),
            strategies=NAMES,
            shares=self.ledger.shares,
        )
        self.executor.recover(self.now)
        self.reconcile()

    def want(
        self,
        strategy: str,
        position: int,
        instrument: str = PERP.name,
        *,
        urgency: Urgency = Urgency.NORMAL,
        reduce_only: bool = False,
        life: int = 1000,
    ) -> None:
        kind = Target if position else Close
        about = {"exposure": float(position)} if position else {}
        intent = kind(
            strategy=strategy,
            ts=self.now,
            tape=0,
            expiry=self.now + life * SECOND,
            urgency=urgency,
            instrument=instrument,
            **about,
        )
        approved = Approved(
            intent=intent, instrument=instrument, position=position, reduce_only=reduce_only
        )
        self.executor.aim([approved])

    def held(self, instrument: str = PERP.name) -> dict[str, int]:
        return self.ledger.shares(instrument)

    @property
    def transfers(self) -> list[tuple[str, str, int, int]]:
        return [
            (r.giver, r.taker, r.lots, r.price)
            for r in self.records
            if isinstance(r, LotsTransferred)
        ]


@pytest.fixture
def shared() -> Shared:
    return Shared()


def test_each_has_its_own_goal_and_position(shared):
    shared.want("a", 5)
    shared.want("b", 3)
    shared.steps(3)
    assert shared.held() == {"a": 5, "b": 3}
    assert shared.ledger.position(PERP.name) == 8
    assert [(order.strategy, order.size) for order in shared.sent] == [("a", 5), ("b", 3)]
    shared.want("a", 1)
    shared.steps(3)
    assert shared.held() == {"a": 1, "b": 3}
    shared.agrees()


def test_opposite_wishes_are_netted_without_an_order(shared):
    shared.want("a", 5)
    shared.want("b", -3)
    shared.steps(3)
    assert shared.transfers == [("b", "a", 3, MIDDLE)]
    assert [(order.side, order.size) for order in shared.sent] == [(Side.BUY, 2)]
    assert shared.held() == {"a": 5, "b": -3}
    shared.agrees()


def test_what_a_ladder_may_still_fill_is_not_netted(shared):
    about = {"strategy": "a", "ts": shared.now, "tape": 0, "expiry": shared.now + 100 * SECOND}
    quotes = Quotes(**about, instrument=PERP.name, bids=(Level(TOUCH[0], 4),), asks=())
    shared.executor.aim([Approved(intent=quotes, instrument=PERP.name, position=0)])
    shared.steps(2)
    shared.want("a", 5)
    shared.want("b", -5)
    shared.step()
    assert shared.transfers == [("b", "a", 1, MIDDLE)]
    shared.steps(2)
    assert shared.transfers == [("b", "a", 1, MIDDLE), ("b", "a", 4, MIDDLE)]
    assert shared.held() == {"a": 5, "b": -5}


def test_what_is_netted_pays_no_fee_and_is_worth_the_same(shared):
    shared.want("a", 4)
    shared.want("b", -4)
    shared.steps(2)
    assert shared.sent == []
    marks = {PERP.name: 10_500.0}
    earned = shared.ledger.earned(marks, {"USD": 1.0})
    assert (earned["a"].net, earned["b"].net) == (2_000.0, -2_000.0)
    assert earned["a"].trades == 0
    shared.ledger.conservation()


def test_a_resting_order_of_another_is_withdrawn_first_then_netted(shared):
    shared.want("a", 5, urgency=Urgency.PASSIVE)
    shared.steps(2)
    shared.want("b", -2, urgency=Urgency.URGENT)
    shared.steps(4)
    assert shared.venue.cancels == ["a-1"]
    assert shared.transfers == [("b", "a", 2, MIDDLE)]
    assert all(order.side is Side.BUY for order in shared.sent)
    assert shared.held() == {"a": 2, "b": -2}
    shared.agrees()


def test_a_reduction_of_the_account_is_borne_by_those_who_hold(shared):
    shared.want("a", 6)
    shared.want("b", 4)
    shared.want("c", -1)
    shared.steps(3)
    shared.want("risk", 4, urgency=Urgency.URGENT)
    shared.steps(3)
    assert shared.ledger.position(PERP.name) == 4
    assert shared.held() == {"a": 3, "b": 2, "c": -1}
    shared.agrees()


def test_each_waits_for_the_account_s_own_order(shared):
    """As after an emergency close that was released while its order was on the way."""
    shared.want("a", 6)
    shared.steps(3)
    shared.venue.faults.hold_reports = True
    shared.want("risk", 0)
    shared.step()
    shared.want("a", -6)
    shared.steps(2)
    assert shared.orders.worst(PERP.name) == (0, 6), "twelve more would lead to 12 lots short"
    shared.venue.faults.hold_reports = False
    shared.steps(4)
    assert shared.held() == {"a": -6}
    shared.agrees()


def test_risk_overrules_what_each_wants(shared):
    shared.venue.faults.hold_reports = True
    shared.want("a", 6)
    shared.executor.aim([])
    shared.want("risk", 0)
    assert list(shared.executor.goals) == [(PERP.name, ACCOUNT)]
    shared.want("b", 1)
    assert list(shared.executor.goals) == [(PERP.name, "b")]


def test_what_a_strategy_left_that_runs_no_more_goes_to_the_first(shared):
    shared.want("old", 7)
    shared.steps(3)
    assert shared.held() == {"a": 7}


def test_what_was_approved_before_somebody_was_given_more_only_reduces(shared):
    """As after a liquidation that crossed a strategy's own closing order: risk knew of neither."""
    shared.want("old", 7)
    shared.step()
    shared.want("b", 3)
    shared.want("a", 2)
    shared.step()
    assert (PERP.name, "b") not in shared.executor.goals
    shared.steps(3)
    assert shared.held() == {"a": 2}
    shared.want("b", 3)
    shared.steps(3)
    assert shared.held() == {"a": 2, "b": 3}


def test_blocked_nothing_makes_the_account_larger(shared):
    shared.want("a", 6)
    shared.want("b", -4)
    shared.steps(3)
    assert shared.ledger.position(PERP.name) == 2
    shared.blocked = EVERYTHING
    shared.want("b", 0)  # alone it would take the account to 6
    shared.steps(2)
    assert shared.ledger.position(PERP.name) == 2
    shared.want("a", 0)
    shared.steps(3)
    assert shared.ledger.position(PERP.name) == 0
    assert shared.held() == {}
    shared.agrees()


@pytest.mark.parametrize("blocked", BLOCKED)
def test_the_account_s_own_goal_takes_a_strategy_s_resting_order_away(shared, blocked):
    """Else what risk closes waits for it, or is closed twice."""
    shared.want("a", 6)
    shared.steps(3)
    shared.want("a", 2, urgency=Urgency.PASSIVE)
    shared.step()
    assert [entry.order.size for entry in shared.orders.open.values()] == [4]
    shared.blocked = blocked
    shared.want("risk", 0)
    shared.steps(4)
    assert shared.orders.open == {}
    assert shared.ledger.position(PERP.name) == 0
    shared.agrees()


def test_what_each_may_come_to_is_told_to_risk(shared):
    shared.venue.faults.hold_reports = True
    shared.want("a", 5, urgency=Urgency.PASSIVE)
    shared.step()
    shared.want("a", 2)
    shared.want("b", -3)
    assert shared.executor.reach(PERP.name) == {"a": (0, 5, 0), "b": (0, 0, -3), "c": (0, 0, 0)}


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 50)), max_size=5),
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 50)), max_size=5),
)
def test_as_much_is_netted_as_both_sides_have(sellers, buyers):
    pairs = matched(sellers, buyers)
    offered, asked = (sum(lots for _, lots in side) for side in (sellers, buyers))
    assert sum(lots for *_, lots in pairs) == min(offered, asked)
    assert all(lots > 0 for *_, lots in pairs)


@given(
    st.integers(-100, 100).filter(bool),
    st.fixed_dictionaries({name: st.integers(-60, 60) for name in NAMES}),
)
def test_lots_are_dealt_out_to_the_last_one(lots, held):
    parts = dealt(lots, held)
    assert sum(parts.values()) == lots
    assert all(part * lots > 0 for part in parts.values())
    against = -sum(has for has in held.values() if has * lots < 0) * (1 if lots > 0 else -1)
    if abs(lots) <= abs(against):
        assert all(held[name] * (held[name] + part) >= 0 for name, part in parts.items())
        assert all(abs(held[name] + part) <= abs(held[name]) for name, part in parts.items())


# --- whatever happens ---

INSTRUMENTS = [PERP.name, OTHER.name, SPOT.name]
WANTS = st.tuples(
    st.sampled_from((*NAMES, *NAMES, "risk")),
    st.integers(-9, 9),
    st.sampled_from(INSTRUMENTS),
    st.sampled_from(Urgency),
    st.sampled_from([False, False, True]),
    st.sampled_from([1, 5, 60]),
)
MOMENTS = st.tuples(
    now_and_then(st.one_of(st.just(Faults()), st.sampled_from(ONE_FAULT), FAULTS)),
    now_and_then(st.sampled_from(BLOCKED)),
    now_and_then(st.tuples(st.sampled_from([0, 1, 4, 100]), st.integers(9_900, 10_100))),
    st.lists(WANTS, max_size=3),
    now_and_then(st.tuples(st.integers(0, 9), st.integers(1, 9))),
    st.sampled_from([0.1, 1, 1, 3]),
)


class AnyDay:
    """Goals of all strategies, faults and time in any order."""

    def __init__(self) -> None:
        self.shared = Shared(clip=3)
        self.shared.venue.watch = self._watch

    def _watch(self, order: Order) -> None:
        """No order leaves while the venue has one of ours on the other side."""
        shared = self.shared
        others = [held.order for held in shared.venue.live(order.instrument)]
        assert all(other.side is order.side for other in others)
        if order.instrument in shared.blocked:
            held = shared.venue.lots(order.instrument)
            same = sum(h.left for h in shared.venue.live(order.instrument))
            after = held + order.side.sign * (order.size + same)
            assert min(0, held) <= after <= max(0, held)

    def moment(self, fault, blocked, market, wants, met, seconds) -> None:
        shared = self.shared
        if fault is not None:
            shared.venue.faults = fault
        if blocked is not None:
            shared.blocked = blocked
        if market is not None:
            shared.venue.depth, bid = market
            shared.venue.touches = dict.fromkeys(CATALOG.by_name, (bid, bid + 2))
        for strategy, lots, instrument, urgency, reduce_only, life in wants:
            position = abs(lots) if instrument == SPOT.name else lots
            about = {"urgency": urgency, "reduce_only": reduce_only, "life": life}
            shared.want(strategy, position, instrument, **about)
        if met is not None:
            resting = [h for h in shared.venue.standing.values() if not h.state.final]
            if resting:
                shared.venue.trade(resting[met[0] % len(resting)].order.client_id, met[1])
        shared.step(seconds)
        self.books_hold()

    def books_hold(self) -> None:
        shared = self.shared
        shared.ledger.conservation()
        for name in INSTRUMENTS:
            assert sum(shared.held(name).values()) == shared.ledger.position(name)

    def comes_right(self) -> None:
        shared = self.shared
        shared.venue.faults = Faults()
        shared.blocked = ()
        shared.venue.depth = 100
        for name in NAMES:
            for instrument in INSTRUMENTS:
                shared.want(name, 0, instrument)
        shared.steps(90)
        assert shared.orders.open == {}
        assert all(held.state.final for held in shared.venue.standing.values())
        for instrument in INSTRUMENTS:
            assert shared.held(instrument) == {}
        shared.agrees()


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(MOMENTS, min_size=30, max_size=60))
def test_whatever_happens_the_strategies_add_up_and_never_meet(moments):
    day = AnyDay()
    for moment in moments:
        day.moment(*moment)
    day.comes_right()


def test_it_starts_where_the_other_tests_do(shared):
    assert shared.now == START
