"""Against the simulated exchange: funding and liquidation reach our books, to the last unit."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core import money
from seawall.core.clock import SECOND, TapeClock
from seawall.core.events import Raw, Side
from seawall.core.intents import Approved, Target, Urgency
from seawall.core.records import Deposited, FillBooked, FundingBooked, RunStarted
from seawall.execution import Executor, Orders
from seawall.execution.desk import LIQUIDATION
from seawall.ledger import Ledger
from seawall.storage import MemoryJournal, Recorder, recover
from seawall.venues.simulated import SimulatedVenue
from seawall.venues.simulated.shape import FundingRate
from tests.venues.simulated.market import CATALOG, LINEAR, NAMES, SHAPE, snapshot, tape

PERP = NAMES[LINEAR]
VENUE = msgspec.structs.replace(
    SHAPE,
    balances={"USD": 400_00},
    funding=(FundingRate(PERP, 3 * SECOND, money.RATE // 100),),
    maintenance_ppm=50_000,
)


class Trading:
    """An executor, its journal and books, on a simulated exchange that keeps a log."""

    def __init__(self, venue: SimulatedVenue, clock: TapeClock, journal: MemoryJournal) -> None:
        self.venue, self.clock, self.journal = venue, clock, journal
        self.ledger, self.orders = Ledger(), Orders()
        recover(journal, [self.ledger, self.orders])
        self.recorder = Recorder(journal, [self.ledger, self.orders])
        self.executor = Executor(
            CATALOG,
            venue,
            self.orders,
            "r",
            self.recorder.record,
            self.ledger.position,
            lambda: self.ledger.last_fill_sequence("x"),
        )
        self.executor.behind = False

    def live(self, rows: Raw, until: int) -> None:
        self.venue.observe(rows, until)
        self.clock.wait(until)
        self.executor.listen(until)

    def agrees(self) -> bool:
        self.ledger.conservation()
        same = dict(self.ledger.cash) == dict(self.venue.balances())
        return same and self.ledger.positions == dict(self.venue.positions())


def trading() -> Trading:
    clock = TapeClock(1)
    venue = SimulatedVenue(CATALOG, VENUE, clock)
    made = Trading(venue, clock, MemoryJournal())
    made.recorder.record(
        RunStarted(
            ts=0,
            run="r",
            mode="backtest",
            seed=0,
            settings="",
            numeraire="USD",
            instruments=CATALOG.instruments,
        ),
        Deposited(ts=0, asset="USD", amount=400_00),
    )
    made.live(tape(*snapshot(SECOND, {999: 500}, {1_000: 500})), SECOND)
    intent = Target(
        strategy="rules",
        ts=SECOND,
        tape=0,
        expiry=60 * SECOND,
        urgency=Urgency.URGENT,
        instrument=PERP,
        exposure=1.0,
    )
    made.executor.aim([Approved(intent=intent, instrument=PERP, position=100)])
    made.executor.work({PERP: (999, 1_000)}, SECOND, ())
    made.live(tape(), 2 * SECOND)
    return made


def test_funding_and_liquidation_reach_our_books() -> None:
    made = trading()
    assert made.ledger.positions == {PERP: 100}
    assert made.agrees()
    made.live(tape(), 4 * SECOND)
    records = [record for _, record in made.journal.read()]
    (paid,) = [r.funding for r in records if isinstance(r, FundingBooked)]
    assert paid.amount == 9_99  # 1 % of 1 BTC at (999 + 1,000) // 2
    assert dict(made.ledger.funding) == {"USD": 9_99}
    assert made.agrees()
    made.live(tape(*snapshot(5 * SECOND, {600: 500}, {602: 500})), 7 * SECOND)
    closed = [record for _, record in made.journal.read() if isinstance(record, FillBooked)][-1]
    assert (closed.fill.liquidation, closed.fill.side, closed.strategy) == (
        True,
        Side.SELL,
        LIQUIDATION,
    )
    assert made.ledger.positions == {}
    assert made.agrees()
    assert made.executor.strangers() == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=3, max_size=3))
def test_what_was_missed_is_asked_for(deaf: list[bool]) -> None:
    """The node is killed and restarted, or not, around each of the three movements."""
    made = trading()
    rows = [tape(), tape(*snapshot(5 * SECOND, {600: 500}, {602: 500})), tape()]
    for dies, block, until in zip(deaf, rows, (4 * SECOND, 7 * SECOND, 9 * SECOND), strict=True):
        if dies:
            made.venue.observe(block, until)
            made.clock.wait(until)
            again = Trading(made.venue, made.clock, made.journal)
            made.venue._after = again.orders.sequence
            again.executor.recover(until)
            made = again
        else:
            made.live(block, until)
    made.live(tape(), 10 * SECOND)
    assert made.agrees()
    records = [record for _, record in made.journal.read()]
    assert sum(isinstance(record, FundingBooked) for record in records) == 1
    assert sum(isinstance(record, FillBooked) for record in records) == 2
