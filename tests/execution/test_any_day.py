"""The executor on days on which anything may happen."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.instruments import Kind
from seawall.core.intents import Urgency
from seawall.core.orders import (
    Order,
)
from seawall.execution import ACCOUNT
from tests.execution.scripted_venue import (
    CATALOG,
    OTHER,
    PERP,
    RESTING,
    SPOT,
    Faults,
)
from tests.execution.trading import BLOCKED, FAULTS, ONE_FAULT, S, Trading, now_and_then

INSTRUMENTS = [PERP.name, OTHER.name, SPOT.name]
WISHES = st.tuples(
    st.sampled_from(INSTRUMENTS),
    st.integers(-9, 9),
    st.sampled_from(Urgency),
    st.sampled_from([False, False, True]),
    st.sampled_from([1, 5, 60]),
)


MOMENTS = st.tuples(
    now_and_then(st.one_of(st.just(Faults()), st.sampled_from(ONE_FAULT), FAULTS)),
    now_and_then(st.sampled_from(BLOCKED)),  # blocked
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
        if name in trading.blocked or wanted.reduce_only or order.reduce_only:
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
