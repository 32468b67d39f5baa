"""Baskets end complete, flat or hedged, never half-done, whatever the venue does."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.intents import Approved, Basket, Leg, Refused
from seawall.core.orders import Purpose
from seawall.core.records import BasketMoved
from seawall.execution import Baskets, Executor
from seawall.execution.baskets import common
from seawall.risk.limits import Holding, Limits, approve
from seawall.storage import Recorder
from tests.execution.scripted_venue import CATALOG, OTHER, PERP, Faults
from tests.execution.trading import EVERYTHING, FAULTS, ONE_FAULT, Trading, goal, now_and_then

LIFE = 10  # seconds


class Pairs(Trading):
    """An account that trades baskets."""

    def __init__(self, **venue: object) -> None:
        super().__init__(**venue)
        self.baskets = Baskets()
        self.start()

    def start(self) -> None:
        self.recorder = Recorder(self.journal, [self.ledger, self.orders, self.baskets])
        self.executor = Executor(
            CATALOG,
            self.venue,
            self.orders,
            "a",
            self.record,
            self.ledger.position,
            lambda: self.ledger.last_fill_sequence("v"),
            baskets=self.baskets,
        )
        self.executor.recover(self.now)
        self.reconcile()

    def trade(self, first: int, second: int, *, hedged: bool = False) -> None:
        basket = Basket(
            strategy="pairs",
            ts=self.now,
            tape=0,
            expiry=self.now + LIFE * SECOND,
            legs=(Leg(PERP.name, first), Leg(OTHER.name, second)),
            hedged=hedged,
        )
        self.executor.aim([Approved(intent=basket, instrument="", position=0)])
        self.executor.work(self.venue.touches, self.now, self.blocked)

    @property
    def held(self) -> tuple[int, int]:
        return self.ledger.position(PERP.name), self.ledger.position(OTHER.name)

    @property
    def states(self) -> list[str]:
        return [r.state for r in self.records if isinstance(r, BasketMoved)]


@pytest.fixture
def pairs() -> Pairs:
    return Pairs()


def test_both_legs_are_traded(pairs):
    pairs.trade(5, -3)
    pairs.steps(4)
    assert pairs.held == (5, -3)
    assert pairs.states == ["leading", "complete"]
    assert {order.purpose for order in pairs.sent} == {Purpose.BASKET}
    assert len({order.intent_ts for order in pairs.sent}) == 1
    assert pairs.executor.idle
    pairs.agrees()


def test_a_leg_that_cannot_be_had_brings_the_other_one_back(pairs):
    del pairs.venue.touches[OTHER.name]
    pairs.trade(5, -3)
    pairs.steps(4)
    assert pairs.held == (5, 0)
    pairs.steps(LIFE)
    assert pairs.held == (0, 0)
    assert pairs.states == ["leading", "leaving", "flat"]
    pairs.agrees()


def test_what_is_hedged_keeps_what_both_legs_have(pairs):
    pairs.venue.depth = 2
    pairs.trade(8, -4, hedged=True)
    del pairs.venue.touches[OTHER.name]
    pairs.venue.depth = 100
    pairs.steps(3)
    assert pairs.held == (8, -2)
    pairs.steps(LIFE)
    assert pairs.held == (4, -2)
    assert pairs.states[-1] == "hedged"
    pairs.agrees()


def test_a_restart_goes_on_with_it(pairs):
    del pairs.venue.touches[OTHER.name]
    pairs.trade(5, -3)
    pairs.steps(3)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(pairs.baskets.state()))
    pairs.baskets = Baskets()
    pairs.baskets.restore(state)
    pairs.start()
    pairs.venue.touches[OTHER.name] = (9_999, 10_001)
    pairs.steps(4)
    assert pairs.held == (5, -3)
    assert pairs.states[-1] == "complete"


def test_who_stops_leaves_it(pairs):
    del pairs.venue.touches[OTHER.name]
    pairs.trade(5, -3)
    pairs.steps(2)
    pairs.executor.abandon()
    pairs.blocked = EVERYTHING
    assert not pairs.executor.settled
    pairs.steps(4)
    assert pairs.held == (0, 0)
    assert pairs.executor.settled


def test_who_is_overruled_in_one_leg_leaves_the_other(pairs):
    del pairs.venue.touches[OTHER.name]
    pairs.trade(5, -3)
    pairs.steps(2)
    pairs.executor.aim([goal(2, OTHER.name)])
    pairs.steps(4)
    assert pairs.held == (0, 0)
    assert pairs.states == ["leading", "leaving", "overruled"]


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 30)), min_size=1, max_size=4))
def test_the_part_that_all_have_reached(legs):
    lots = {str(at): size for at, (size, _) in enumerate(legs)}
    done = {str(at): reached for at, (_, reached) in enumerate(legs)}
    part = common(lots, done)
    assert 0 <= part <= 1
    assert all(size * part <= done[name] for name, size in lots.items())
    assert part == 1 or any(size * part == done[name] for name, size in lots.items())
    assert isinstance(part, Fraction)


def test_risk_takes_all_of_a_basket_or_none_of_it():
    def asked(*legs: Leg) -> Approved | Refused:
        about = {"strategy": "pairs", "ts": 0, "tape": 0, "expiry": 1}
        holdings = {name: Holding(asset=name, mark=1.0, value=100.0) for name in "xy"}
        holdings["z"] = msgspec.structs.replace(holdings["x"], tradable=False, reason="stale")
        basket = Basket(**about, legs=legs)
        approved, refused = approve([basket], holdings, 10_000.0, Limits(), [], 0)
        return (*approved, *refused)[0]

    assert asked(Leg("x", 20), Leg("y", -20)).instrument == ""
    assert asked(Leg("x", 20), Leg("y", -21)).reason == "y: the position cap leaves no room"
    assert asked(Leg("x", 1), Leg("z", -1)).reason == "z: stale"
    assert "legs" in asked(Leg("x", 1), Leg("x", -1)).reason
    assert "legs" in asked().reason


MOMENTS = st.tuples(
    now_and_then(st.one_of(st.just(Faults()), st.sampled_from(ONE_FAULT), FAULTS)),
    now_and_then(st.sampled_from([0, 1, 3, 100])),
    st.sampled_from([0.5, 1, 3]),
)


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    st.lists(MOMENTS, min_size=10, max_size=25),
    st.tuples(st.integers(-9, 9).filter(bool), st.integers(-9, 9).filter(bool)),
    st.booleans(),
)
def test_whatever_happens_a_basket_is_never_half_done(moments, legs, hedged):
    pairs = Pairs(clip=2)
    pairs.trade(*legs, hedged=hedged)
    for fault, depth, seconds in moments:
        if fault is not None:
            pairs.venue.faults = fault
        if depth is not None:
            pairs.venue.depth = depth
        pairs.step(seconds)
        pairs.ledger.conservation()
    pairs.venue.faults = Faults()
    pairs.venue.depth = 100
    pairs.steps(120)
    ends = {"complete": legs, "flat": (0, 0)}
    state = pairs.states[-1]
    if state == "hedged":
        part = [Fraction(has, lots) for has, lots in zip(pairs.held, legs, strict=True)]
        assert all(0 <= each < 1 for each in part)
        smallest = min(abs(lots) for lots in legs)
        assert abs(part[0] - part[1]) <= Fraction(1, smallest)
    else:
        assert pairs.held == ends[state]
    assert pairs.baskets.open == {}
    assert not pairs.orders.open
    pairs.agrees()
