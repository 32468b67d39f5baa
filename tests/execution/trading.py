"""An executor with its books on a scripted venue, and the faults that it is tried with."""

from collections.abc import Container

from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.errors import VenueUnreachableError
from seawall.core.intents import Approved, Target, Urgency
from seawall.core.orders import (
    Fill,
    Order,
    OrderState,
)
from seawall.core.records import (
    AnyRecord,
    Deposited,
    FillBooked,
    OrderChanged,
    OrderCreated,
    RunStarted,
)
from seawall.execution import ExecutionShape, Executor, Orders
from seawall.ledger import Ledger
from seawall.storage import MemoryJournal, Recorder
from tests.execution.scripted_venue import (
    BALANCES,
    CATALOG,
    PERP,
    TOUCH,
    Faults,
    ScriptedVenue,
)

S = OrderState
START = 1_000 * SECOND
BID, ASK = TOUCH
EVERYTHING = frozenset(CATALOG.by_name)  # in which nothing may grow
BLOCKED = ((), (PERP.name,), EVERYTHING)
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
        self.blocked: Container[str] = ()
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
        self.executor.settle(self.venue.touches, self.now)
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


def now_and_then(what: st.SearchStrategy) -> st.SearchStrategy:
    """Mostly nothing."""
    return st.one_of(st.none(), st.none(), st.none(), what)


def resting(trading: Trading, position: int = 5, **about: object) -> None:
    trading.aim(position, urgency=Urgency.PASSIVE, **about)
    trading.step()
    assert trading.orders.open[trading.sent[-1].client_id].state is S.NEW
