"""A recorded run replayed with modelled answers: what a backtest of the same market would have
said, order by order, and why the two differ.

Orders are the same where instrument, side and the moment of the decision are. The difference of
the result, at the marks of the end, falls to the causes without a rest.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from seawall.core.clock import MILLISECOND, TapeClock
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.core.orders import Fill, Order, OrderState
from seawall.core.records import (
    AnyRecord,
    FillBooked,
    IntentApproved,
    IntentDecided,
    IntentRefused,
    OrderChanged,
    OrderCreated,
)
from seawall.core.settings import Settings, VenueSettings
from seawall.node import division
from seawall.node.parity import VENUE_LOG, KeptJournal, Life, Recorded, replay
from seawall.venues.simulated.log import Entry, Log, Reported, Requested
from seawall.venues.simulated.venue import SimulatedVenue

if TYPE_CHECKING:
    from seawall.node.node import Node
    from seawall.node.perception import Perceived

CAUSES = {
    "price": "filled at another price, as early",
    "latency": "reached the book earlier or later",
    "queue": "rested, and came to its turn at another time",
    "missing fill": "one filled more of it",
    "refusal": "only one exchange took it",
    "fees": "charged otherwise",
    "decision": "only one run sent it: the books differed by then",
}
SAME_DELAY = MILLISECOND // 10  # ns; less is no other latency
SHOWN = 20  # orders that differ, the costliest first


class Sent(msgspec.Struct, kw_only=True):
    """An order and what became of it.

    Attributes:
        ts: ns UTC of the decision. mid: of the book then, ticks; NaN where it is not known.
    """

    order: Order
    ts: int
    state: OrderState = OrderState.INTENT
    reason: str = ""
    fills: list[Fill] = []
    mid: float = math.nan

    @property
    def lots(self) -> int:
        """Filled, signed."""
        return self.order.side.sign * sum(fill.size for fill in self.fills)

    @property
    def fee(self) -> int:
        """Smallest settle units."""
        return sum(fill.fee for fill in self.fills)

    @property
    def delay(self) -> int:
        """Ns from the decision to the first fill; -1 where there is none."""
        return self.fills[0].ts - self.ts if self.fills else -1

    def slippage(self) -> float:
        """How much worse than the mid at the decision it filled, bps of it; NaN if it did not."""
        size = sum(fill.size for fill in self.fills)
        if not size or not self.mid > 0:
            return math.nan
        price = sum(fill.price * fill.size for fill in self.fills) / size
        return self.order.side.sign * (price / self.mid - 1.0) * 1e4


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs.

    Attributes:
        refused_orders: by the exchange. value: traded, numeraire. slippage: bps of the mid at
            the decision, weighted by value; positive is a cost. pnl: of its fills, at the marks of
            the end, after fees, numeraire.
    """

    intents: int
    approved: int
    refused: int
    orders: int
    refused_orders: int
    fills: int
    value: float
    slippage: float
    fees: float
    pnl: float


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A reason for differences. orders: how many show it; pnl: modelled less recorded."""

    name: str
    meaning: str
    orders: int
    pnl: float


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One order that differs. lots, price (quote units), delay (ms): (recorded, modelled)."""

    ts: int
    instrument: str
    side: str
    causes: tuple[str, ...]
    pnl: float
    lots: tuple[int, int]
    price: tuple[float | None, float | None]
    delay_ms: tuple[float | None, float | None]
    reason: str


class Modelled(msgspec.Struct, frozen=True, kw_only=True):
    """Recorded against modelled. matched: orders that both sent; equal: without any difference."""

    numeraire: str
    recorded: Outcome
    modelled: Outcome
    matched: int
    equal: int
    difference: float
    causes: tuple[Cause, ...]
    examples: tuple[Example, ...]


class _Marks:
    """What things were worth: touches at the decisions, marks at the end of a life."""

    def __init__(self, times: set[int]) -> None:
        self.touches: dict[tuple[str, int], float] = {}
        self._times = times

    def watch(self, node: "Node", seen: "Perceived") -> None:
        """Note the touches where an order was sent, there or here."""
        now = int(seen.frames["ts"][0])
        sent = any(entry.changed >= now for entry in node.action.books.orders.open.values())
        if sent or now in self._times:
            for name, (bid, ask) in node.action.prices.touches.items():
                self.touches[name, now] = (bid + ask) / 2.0


def compare(
    recorded: Recorded,
    venue: VenueSettings | None,
    progress: Callable[[int, int], None],
) -> Modelled:
    """All lives, each from the recorded books on, against an exchange of these settings.

    Args:
        venue: None: those of the run.
    """
    tally = _Tally()
    numeraire = ""
    for life in recorded.lives():
        numeraire = life.started.numeraire
        journal = KeptJournal(recorded.records[: life.after])
        real = until_the_end(life.records, life)
        mine = sent_of(real)
        marks = _Marks({one.ts for one in mine.values()})
        with tempfile.TemporaryDirectory(prefix="seawall-") as folder:
            opened = _opening(recorded, life, venue, Path(folder))
            node = replay(recorded, life, journal, opened, progress, marks.watch)
            for desk in node.action.accounts:
                desk.venue.close()  # type: ignore[attr-defined]  # of the simulated one
        written = until_the_end(journal.written, life)
        theirs = sent_of(written)
        for sent in (*mine.values(), *theirs.values()):
            sent.mid = marks.touches.get((sent.order.instrument, sent.ts), math.nan)
        worth = Worth(life.started.instruments, node)
        tally.count(0, real, mine, worth)
        tally.count(1, written, theirs, worth)
        tally.match(mine, theirs, worth)
    return tally.result(numeraire)


def until_the_end(written: Iterable[AnyRecord], life: Life) -> list[AnyRecord]:
    """Of a life that was killed nothing of its last moment, of which the record may lack a part."""
    last = life.records[-1].ts
    return [r for r in written if r.ts < last or (r.ts == last and life.stopped is not None)]


def _opening(
    recorded: Recorded, life: Life, venue: VenueSettings | None, folder: Path
) -> "division.Exchange":
    """Exchanges that have lived through their logs up to this life; they go on in `folder`."""

    def opened(
        settings: Settings,
        catalog: Catalog,
        balances: dict[str, int],
        clock: TapeClock,
        path: Path | None,
        after: int,
    ) -> SimulatedVenue:
        account = settings.accounts[0].name if settings.accounts else ""
        log = division.log_of(folder / VENUE_LOG, account)
        past = Log(log)
        before = entries_before(recorded.answers_for(settings).entries, life.started.ts)
        for entry in before:
            past.append([entry])
        past.close()
        given = (venue or settings.venue).model_copy(update={"url": ""})
        wanted = settings.model_copy(update={"venue": given})
        made = division.venue_of(wanted, catalog, balances, clock, log, after)
        assert isinstance(made, SimulatedVenue)
        return made

    return opened


def entries_before(entries: Iterable[Entry], ts: int) -> list[Entry]:
    """The log up to what was requested or reported at `ts` or later."""
    found: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Requested) and entry.ts >= ts:
            break
        if isinstance(entry, Reported) and entry.report.ts >= ts:
            break
        found.append(entry)
    return found


Key = tuple[str, int, int]  # instrument, side, ns UTC of the decision


def sent_of(written: Iterable[AnyRecord]) -> dict[Key, Sent]:
    """The orders that a stretch of journal created, with what it has of them."""
    by_id: dict[str, Sent] = {}
    for record in written:
        match record:
            case OrderCreated(order=order, ts=ts):
                by_id[order.client_id] = Sent(order=order, ts=ts, fills=[])
            case OrderChanged(client_id=name, state=state, reason=reason) if name in by_id:
                by_id[name].state, by_id[name].reason = state, reason
            case FillBooked(fill=fill) if fill.client_id in by_id:
                by_id[fill.client_id].fills.append(fill)
            case _:
                pass
    return {(s.order.instrument, int(s.order.side), s.ts): s for s in by_id.values()}


class Worth:
    """What lots and fees are worth in the numeraire, at a node's last marks."""

    def __init__(self, instruments: Iterable[Instrument], node: "Node") -> None:
        self.instruments = {i.name: i for i in instruments}
        self._marks: Mapping[str, float] = dict(node.action.prices.marks)
        self._assets: Mapping[str, float] = {
            **node.action.prices.asset_marks,
            node.started.numeraire: 1.0,
        }

    def of_settle(self, name: str) -> float:
        """Numeraire value of one whole unit of what an instrument settles in."""
        return self._assets.get(self.instruments[name].settle_asset, math.nan)

    def lot(self, name: str, price: float) -> float:
        """What one lot is worth at a price in quote units, settle units; rises with the price."""
        instrument = self.instruments[name]
        if instrument.kind is Kind.INVERSE:
            return -instrument.lot_float / price
        return instrument.lot_float * price

    def entry(self, sent: Sent) -> float:
        """`lot` at the prices that an order filled at, averaged; NaN without fills."""
        name = sent.order.instrument
        tick = self.instruments[name].tick_float
        size = sum(fill.size for fill in sent.fills)
        if not size:
            return math.nan
        return sum(self.lot(name, fill.price * tick) * fill.size for fill in sent.fills) / size

    def now(self, name: str) -> float:
        """`lot` at the last mark."""
        return self.lot(name, self._marks.get(name, math.nan))

    def fee(self, sent: Sent) -> float:
        """Numeraire."""
        name = sent.order.instrument
        units = 10.0 ** self.instruments[name].settle_decimals
        return sent.fee / units * self.of_settle(name)

    def traded(self, sent: Sent) -> float:
        """Value traded, numeraire."""
        if not sent.fills:
            return 0.0
        return abs(sent.lots * self.entry(sent)) * self.of_settle(sent.order.instrument)

    def pnl(self, sent: Sent) -> float:
        """Of an order's fills at the last mark, after fees, numeraire."""
        if not sent.fills:
            return 0.0
        name = sent.order.instrument
        gain = sent.lots * (self.now(name) - self.entry(sent)) * self.of_settle(name)
        return gain - self.fee(sent)


def parts(mine: Sent, theirs: Sent, worth: Worth) -> dict[str, float]:
    """Cause → what it adds to the modelled result over the recorded one, numeraire; exact."""
    name = mine.order.instrument
    unit, now = worth.of_settle(name), worth.now(name)
    found: dict[str, float] = {}
    common = min(abs(mine.lots), abs(theirs.lots)) * mine.order.side.sign
    if mine.lots != theirs.lots:
        gain = 0.0
        for sent, sign in ((theirs, 1.0), (mine, -1.0)):
            if sent.fills:
                gain += sign * (sent.lots - common) * (now - worth.entry(sent))
        rejected = (mine.state is OrderState.REJECTED) != (theirs.state is OrderState.REJECTED)
        found["refusal" if rejected else "missing fill"] = gain * unit
    if common and worth.entry(mine) != worth.entry(theirs):
        gain = common * (worth.entry(mine) - worth.entry(theirs)) * unit
        maker = any(fill.maker for fill in (*mine.fills, *theirs.fills))
        late = abs(mine.delay - theirs.delay) > SAME_DELAY
        found["queue" if maker else "latency" if late else "price"] = gain
    if mine.fee != theirs.fee:
        found["fees"] = worth.fee(mine) - worth.fee(theirs)
    return found


class _Tally:
    """Sums over lives."""

    def __init__(self) -> None:
        self._counts = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
        self._sums: list[dict[str, float]] = [
            dict.fromkeys(("value", "weighted", "known", "fees", "pnl"), 0.0) for _ in range(2)
        ]
        self._causes = {name: [0, 0.0] for name in CAUSES}
        self._examples: list[Example] = []
        self._matched = self._equal = 0

    def count(
        self, side: int, written: Iterable[AnyRecord], sent: Mapping[Key, Sent], worth: Worth
    ) -> None:
        """One run's life: 0 the recorded, 1 the modelled one."""
        counts, sums = self._counts[side], self._sums[side]
        kinds = {
            IntentDecided: "intents",
            IntentApproved: "approved",
            IntentRefused: "refused",
            FillBooked: "fills",
        }
        for record in written:
            if name := kinds.get(type(record)):
                counts[side, name] += 1
        for one in sent.values():
            counts[side, "orders"] += 1
            counts[side, "refused_orders"] += one.state is OrderState.REJECTED
            value, slippage = worth.traded(one), one.slippage()
            sums["value"] += value
            sums["fees"] += worth.fee(one)
            sums["pnl"] += worth.pnl(one)
            if math.isfinite(slippage):
                sums["weighted"] += slippage * value
                sums["known"] += value

    def match(self, mine: Mapping[Key, Sent], theirs: Mapping[Key, Sent], worth: Worth) -> None:
        """Lay the orders of a life side by side."""
        for key in sorted({*mine, *theirs}, key=lambda key: (key[2], key)):
            one, other = mine.get(key), theirs.get(key)
            if one is None or other is None:
                lone = one or other
                assert lone is not None
                gain = worth.pnl(lone) * (1.0 if one is None else -1.0)
                found = {"decision": gain}
            else:
                found = parts(one, other, worth)
                self._matched += 1
                self._equal += not found
            for name, gain in found.items():
                self._causes[name][0] += 1
                self._causes[name][1] += gain
            if found:
                self._examples.append(_example(one, other, found, worth))

    def result(self, numeraire: str) -> Modelled:
        """All of it."""
        sides = [self._side(side) for side in (0, 1)]
        worst = sorted(self._examples, key=lambda e: -abs(e.pnl))[:SHOWN]
        return Modelled(
            numeraire=numeraire,
            recorded=sides[0],
            modelled=sides[1],
            matched=self._matched,
            equal=self._equal,
            difference=sides[1].pnl - sides[0].pnl,
            causes=tuple(
                Cause(name=name, meaning=CAUSES[name], orders=int(orders), pnl=pnl)
                for name, (orders, pnl) in self._causes.items()
                if orders
            ),
            examples=tuple(worst),
        )

    def _side(self, side: int) -> Outcome:
        counts, sums = self._counts[side], self._sums[side]
        names = ("intents", "approved", "refused", "orders", "refused_orders", "fills")
        return Outcome(
            **{name: counts[side, name] for name in names},
            value=sums["value"],
            slippage=sums["weighted"] / sums["known"] if sums["known"] else math.nan,
            fees=sums["fees"],
            pnl=sums["pnl"],
        )


def _example(
    one: Sent | None, other: Sent | None, found: Mapping[str, float], worth: Worth
) -> Example:
    lone = one or other
    assert lone is not None
    tick = worth.instruments[lone.order.instrument].tick_float

    def price(sent: Sent | None) -> float | None:
        size = sum(fill.size for fill in sent.fills) if sent else 0
        if sent is None or not size:
            return None
        return sum(fill.price * fill.size for fill in sent.fills) / size * tick

    def delay(sent: Sent | None) -> float | None:
        return sent.delay / MILLISECOND if sent and sent.fills else None

    return Example(
        ts=lone.ts,
        instrument=lone.order.instrument,
        side=lone.order.side.name.lower(),
        causes=tuple(found),
        pnl=sum(found.values()),
        lots=(one.lots if one else 0, other.lots if other else 0),
        price=(price(one), price(other)),
        delay_ms=(delay(one), delay(other)),
        reason=(other or lone).reason,
    )
