"""Transaction costs of a run, parent order by parent order, from its journal and its tape."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from seawall.core.errors import DataError
from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.intents import Approved
from seawall.core.orders import Fill, Purpose
from seawall.core.parents import Parent
from seawall.core.records import (
    AnyRecord,
    FillBooked,
    IntentApproved,
    OrderCreated,
    ParentBegan,
    ParentEnded,
    RunStarted,
)
from seawall.core.settings import Settings
from seawall.execution.tca import Analysis, Course, Trade, analyse
from seawall.ingestion.tape import open_tape
from seawall.ledger import Ledger
from seawall.node.perceived import Market, perceive
from seawall.storage.journal import JournalReader

Key = tuple[str, str]  # instrument and strategy


@dataclass
class _Working:
    """A parent as the journal tells of it."""

    name: str
    instrument: str
    strategy: str
    algorithm: str
    side: Side
    lots: int
    decided: int
    sent: dict[str, int] = field(default_factory=dict)  # client id → ns UTC
    fills: list[Fill] = field(default_factory=list)
    ended: int = 0


class _Told:
    """Parents, told record by record.

    Without a schedule an approval is a parent from its first order on, until the next approval.
    """

    def __init__(self) -> None:
        self.found: list[_Working] = []
        self.started: list[RunStarted] = []
        self._ledger = Ledger()
        self._open: dict[Key, _Working] = {}
        self._approved: dict[Key, Approved] = {}
        self._of: dict[str, _Working] = {}
        self.last = 0

    def take(self, record: AnyRecord) -> None:
        """One record of the journal."""
        self._ledger.apply(record)
        self.last = max(self.last, record.ts)
        match record:
            case RunStarted():
                self.started.append(record)
            case IntentApproved(approved=approved):
                self._approve((approved.instrument, approved.intent.strategy), approved, record.ts)
            case ParentBegan(parent=parent):
                self._begin(parent, record.ts)
            case ParentEnded(parent_id=name):
                for key in [k for k, one in self._open.items() if one.name == name]:
                    self._end(key, record.ts)
            case OrderCreated(order=order) if order.purpose is Purpose.GOAL:
                key = order.instrument, order.strategy
                one = self._open.get(key) or self._unscheduled(key, order.side)
                if one is not None and one.side is order.side:
                    one.sent[order.client_id] = record.ts
                    self._of[order.client_id] = one
            case FillBooked(fill=fill) if fill.client_id in self._of:
                self._of[fill.client_id].fills.append(fill)

    def _approve(self, key: Key, approved: Approved, ts: int) -> None:
        self._approved[key] = approved
        one = self._open.get(key)
        if one is not None and not one.algorithm:
            self._end(key, ts)

    def _begin(self, parent: Parent, ts: int) -> None:
        key = parent.instrument, parent.strategy
        self._end(key, ts)
        self._open[key] = _Working(
            parent.parent_id,
            parent.instrument,
            parent.strategy,
            parent.pace.algorithm,
            parent.side,
            parent.lots,
            parent.decided,
        )

    def _unscheduled(self, key: Key, side: Side) -> _Working | None:
        """The parent that an approval is, at its first order."""
        approved = self._approved.get(key)
        if approved is None:
            return None
        instrument, strategy = key
        shares = self._ledger.shares(instrument)
        held = shares.get(strategy, 0) if len(shares) > 1 else self._ledger.position(instrument)
        lots = side.sign * (approved.position - held)
        if lots <= 0:
            return None
        number = len(self.found) + len(self._open) + 1
        one = _Working(
            f"approval {number}", instrument, strategy, "", side, lots, approved.intent.ts
        )
        self._open[key] = one
        return one

    def _end(self, key: Key, ts: int) -> None:
        one = self._open.pop(key, None)
        if one is not None:
            one.ended = ts
            self.found.append(one)

    def close(self) -> list[_Working]:
        """All parents, by their decision; those that are still open end with the journal."""
        for key in list(self._open):
            self._end(key, self.last)
        return sorted(self.found, key=lambda one: (one.decided, one.instrument, one.strategy))


def told(records: Iterable[AnyRecord]) -> tuple[list[RunStarted], list[_Working]]:
    """The runs of a journal and their parents."""
    story = _Told()
    for record in records:
        story.take(record)
    return story.started, story.close()


def read(journal: Path) -> tuple[list[RunStarted], list[_Working]]:
    """`told` of a journal's file; StoreError where it cannot be read."""
    reader = JournalReader(journal)
    try:
        return told(record for _, record in reader.read())
    finally:
        reader.close()


def gather(
    journal: Path,
    tape: Path,
    settings: Settings,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Analysis]:
    """The costs of every parent of a run; raises as `courses`."""
    return [analyse(course) for course, _, _ in courses(journal, tape, settings, progress)]


def courses(
    journal: Path,
    tape: Path,
    settings: Settings,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[Course, Market, Instrument]]:
    """Every parent of a run that sent an order, beside its market.

    Raises:
        DataError, StoreError: the journal or the tape cannot be used, or they do not belong
            together.
    """
    started, parents = read(journal)
    if not started:
        raise DataError(f"{journal}: no run is in this journal")
    recorded = open_tape(tape)
    if recorded.catalog.instruments != started[0].instruments:
        raise DataError(f"{tape}: the run of {journal} was on another tape; name that one")
    span = (max(0, started[0].taped), recorded.rows)
    market = perceive(settings, recorded, span, (), progress)
    instruments = recorded.catalog.by_name
    found = courses_in(parents, market, instruments)
    return [(course, market, instruments[course.instrument]) for course in found]


def courses_in(
    parents: Iterable[_Working], market: Market, instruments: Mapping[str, Instrument]
) -> list[Course]:
    """Every parent that sent an order and whose market was seen."""
    return [
        course_of(one, market, instruments[one.instrument])
        for one in parents
        if one.sent and one.instrument in market.columns
    ]


def course_of(one: _Working, market: Market, instrument: Instrument) -> Course:
    """A parent beside its market."""
    done = sum(fill.size for fill in one.fills) >= one.lots
    ended = max((fill.ts for fill in one.fills), default=one.ended) if done else one.ended
    begun = min(one.sent.values())
    trades = tuple(_trade(fill, one.sent[fill.client_id], market, instrument) for fill in one.fills)
    vwap, twap = _benchmarks(market, instrument.name, begun, ended)
    return Course(
        name=one.name,
        instrument=one.instrument,
        strategy=one.strategy,
        algorithm=one.algorithm,
        side=one.side,
        lots=one.lots,
        decided=one.decided,
        begun=begun,
        ended=ended,
        decided_mid=_at(market, instrument.name, "mid", one.decided),
        begun_mid=_at(market, instrument.name, "mid", begun),
        ended_mid=_at(market, instrument.name, "mid", ended),
        vwap=vwap,
        twap=twap,
        trades=trades,
    )


def _trade(fill: Fill, sent: int, market: Market, instrument: Instrument) -> Trade:
    bid, ask, mid = (_at(market, instrument.name, c, sent) for c in ("bid", "ask", "mid"))
    price = fill.price * instrument.tick_float
    if fill.fee_asset == instrument.settle_asset:
        # a fee is a share of the value in whatever it is paid; that share of the price, per lot
        fee = price * fill.fee / instrument.value(fill.price, fill.size)
    elif instrument.kind is Kind.SPOT and fill.fee_asset == instrument.base:
        fee = price * fill.fee / (fill.size * instrument.base_unit)
    else:
        fee = math.nan
    return Trade(price, fill.size, fee, mid, (ask - bid) / 2, sent)


def _at(market: Market, name: str, column: str, ts: int) -> float:
    """A column at the last boundary by then; NaN where the book was not whole."""
    row = int(np.searchsorted(market.ts, ts, side="right")) - 1
    value = float(market.columns[name][column][row]) if row >= 0 else math.nan
    return value if value > 0 else math.nan


def _benchmarks(market: Market, name: str, begun: int, ended: int) -> tuple[float, float]:
    """(VWAP, TWAP) of the frames that closed within (begun, ended]; NaN where there is none."""
    rows = (market.ts > begun) & (market.ts <= ended)
    columns = market.columns[name]
    volume = np.nan_to_num(columns["buy_volume"][rows] + columns["sell_volume"][rows])
    priced = np.nan_to_num(columns["vwap"][rows])
    mids = columns["mid"][rows]
    mids = mids[mids > 0]
    vwap = float(priced @ volume / volume.sum()) if volume.sum() > 0 else math.nan
    return vwap, float(mids.mean()) if len(mids) else math.nan
