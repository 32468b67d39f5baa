"""An audit of a run that reads journal and exchange's log by itself, with the node's code aside.

Cash and positions are computed anew from the fills, in fractions, and held against what the ledger
and the exchange say.
"""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.orders import Fill, Order, OrderReport, OrderState
from seawall.core.records import (
    AnyRecord,
    Deposited,
    FillBooked,
    Halted,
    OrderChanged,
    OrderCreated,
    RunStarted,
)
from seawall.ingestion.simulated import MarketShape
from seawall.ledger import Ledger
from seawall.storage import JournalReader
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Log, Reported, Requested
from seawall.venues.simulated.shape import VenueShape


@dataclass
class Fate:
    """What became of an order by one party's word."""

    order: Order
    state: OrderState = OrderState.INTENT
    filled: int = 0
    finals: int = 0
    reason: str = ""

    def enter(self, state: OrderState, reason: str = "") -> None:
        assert not self.finals, f"{self.order.client_id}: {state} after {self.state}"
        self.state, self.reason = state, reason
        self.finals += state.final


@dataclass
class Known:
    """All that one party knows."""

    orders: dict[str, Fate] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)

    @property
    def open(self) -> set[str]:
        return {name for name, fate in self.orders.items() if not fate.finals}


@dataclass
class Audit:
    """Figures of a run that has passed."""

    orders: int
    fills: int
    lives: int
    never_arrived: int
    doubts: int
    finals: Counter[str]


def ours(records: list[AnyRecord]) -> Known:
    """Orders and fills by the journal; no order has two final states, none moves after one."""
    known = Known()
    for record in records:
        if isinstance(record, OrderCreated):
            assert record.order.client_id not in known.orders, "a client id is used twice"
            known.orders[record.order.client_id] = Fate(record.order)
        elif isinstance(record, OrderChanged):
            known.orders[record.client_id].enter(record.state, record.reason)
        elif isinstance(record, FillBooked):
            fate = known.orders[record.fill.client_id]
            assert not fate.finals, f"fill {record.fill.fill_id} after {fate.state}"
            known.fills.append(record.fill)
            fate.filled += record.fill.size
            if fate.filled == fate.order.size:
                fate.enter(OrderState.FILLED)
    return known


def theirs(log: Log) -> Known:
    """The same by the exchange's log."""
    known = Known()
    for entry in log.entries():
        if isinstance(entry, Requested) and entry.order is not None:
            assert entry.client_id not in known.orders, "an order was sent twice"
            known.orders[entry.client_id] = Fate(entry.order)
        elif isinstance(entry, Reported) and isinstance(entry.report, Fill):
            known.fills.append(entry.report)
            known.orders[entry.report.client_id].filled += entry.report.size
        elif isinstance(entry, Reported) and isinstance(entry.report, OrderReport):
            known.orders[entry.report.client_id].enter(entry.report.state, entry.report.reason)
    return known


def same_orders(here: Known, there: Known) -> int:
    """Every order ends alike on both sides; how many never reached the exchange."""
    assert not there.orders.keys() - here.orders.keys(), "the exchange has orders that we have not"
    missing = 0
    for name, fate in here.orders.items():
        other = there.orders.get(name)
        if other is None:
            assert (fate.state, fate.filled) == (OrderState.REJECTED, 0), fate
            missing += 1
            continue
        assert fate.order == other.order
        assert (fate.finals, fate.filled) == (other.finals, other.filled), (fate, other)
        assert fate.state is other.state or not fate.finals, (fate, other)
    assert here.open == there.open
    return missing


def money(fills: list[Fill], instruments: dict[str, Instrument]) -> tuple[Fraction, dict[str, int]]:
    """Smallest units that the fills of linear instruments earned after fees, and lots held.

    First in, first out, in fractions; what is closed and what is open make up what was traded.
    """
    parts: dict[str, list[list[Fraction]]] = {}
    earned = fees = flow = Fraction(0)
    for fill in fills:
        instrument = instruments[fill.instrument]
        assert instrument.kind is Kind.LINEAR
        assert fill.fee_asset == instrument.settle
        unit = Fraction(instrument.tick) * Fraction(instrument.lot)
        price = fill.price * unit * 10**instrument.settle_decimals
        sign = 1 if fill.side is Side.BUY else -1
        flow -= sign * fill.size * price
        fees += fill.fee
        left, queue = Fraction(sign * fill.size), parts.setdefault(fill.instrument, [])
        while left and queue and queue[0][0] * left < 0:
            closed = min(abs(left), abs(queue[0][0])) * (1 if left > 0 else -1)
            earned -= closed * (price - queue[0][1])
            queue[0][0] += closed
            left -= closed
            if not queue[0][0]:
                queue.pop(0)
        if left:
            queue.append([left, price])
    worth = sum(lots * price for queue in parts.values() for lots, price in queue)
    assert earned == flow + worth  # cash, positions and fees: nothing is made or lost
    held = {name: sum(lots for lots, _ in queue) for name, queue in parts.items()}
    return earned - fees, {name: int(lots) for name, lots in held.items() if lots}


def audit(journal: Path, log_path: Path) -> Audit:
    """Hold journal, ledger and exchange against one another; AssertionError where they differ."""
    reader = JournalReader(journal)
    try:
        rows = reader.verify()
        records = [record for _, record in reader.read()]
    finally:
        reader.close()
    assert len(records) == rows
    runs = [record for record in records if isinstance(record, RunStarted)]
    assert not [record for record in records if isinstance(record, Halted)]
    log = Log(log_path)
    try:
        here, there = ours(records), theirs(log)
        engine = Engine(MarketShape().catalog(), VenueShape(), log)
        balances = {asset: units for asset, units in engine.balances().items() if units}
        positions = dict(engine.positions())
    finally:
        log.close()
    missing = same_orders(here, there)
    assert here.fills == there.fills  # ids, prices, sizes, fees, sequence: one to one, in order
    deposits = [record for record in records if isinstance(record, Deposited)]
    assert len(deposits) == 1
    earned, held = money(here.fills, {i.name: i for i in runs[0].instruments})
    ledger = Ledger()
    for record in records:
        ledger.apply(record)
    ledger.conservation()
    cash = {deposits[0].asset: deposits[0].amount + earned}
    assert {a: n for a, n in ledger.cash.items() if n} == balances == cash
    assert ledger.positions == positions == held
    doubts = sum(isinstance(r, OrderChanged) and r.state is OrderState.UNKNOWN for r in records)
    return Audit(
        orders=len(here.orders),
        fills=len(here.fills),
        lives=len(runs),
        never_arrived=missing,
        doubts=doubts,
        finals=Counter(str(fate.state) for fate in here.orders.values()),
    )
