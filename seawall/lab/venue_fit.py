"""What terms an exchange had, from a run's own journal and tape: fees, latencies, the queue.

Fees are worked out exactly from what was paid. Latencies come from the times of our own fills. The
queue model is the one under which the run's own passive orders, placed again on the same tape, fill
most like they did.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.errors import DataError, OrderRefusedError
from seawall.core.events import Raw
from seawall.core.instruments import Instrument
from seawall.core.money import PPM
from seawall.core.orders import Fill, Order, OrderState, OrderType, TimeInForce
from seawall.core.records import AnyRecord, FillBooked, OrderChanged, OrderCreated, RunStarted
from seawall.ingestion.tape import Tape, open_tape
from seawall.storage.journal import JournalReader
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.fees import DAY
from seawall.venues.simulated.flow import Flow
from seawall.venues.simulated.shape import VenueShape

Progress = Callable[[int, int], None]
BLOCK = 1 << 18  # rows at a time
PLENTY = 10**30  # smallest units of each asset: the funds are not what is fitted
CANDIDATES = (("risk_averse", 1), *(("probabilistic", power) for power in (1, 2, 3, 5, 8)))
FEWEST = 20  # samples that a distribution takes


@dataclass(slots=True)
class Sent:
    """One order of the run.

    Attributes:
        sent, cancelled: ns UTC of the node's clock; cancelled 0: never.
        alone: nothing else was sent at that time before it, so it waited for nothing on its way.
        fills: (ns UTC at which the node heard of it, fill).
    """

    order: Order
    sent: int = 0
    cancelled: int = 0
    alone: bool = False
    fills: list[tuple[int, Fill]] = field(default_factory=list)

    @property
    def passive(self) -> bool:
        """It was meant to wait for others, and none of it was taken from the book."""
        waits = self.order.time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
        limit = self.order.type is OrderType.LIMIT
        return limit and waits and all(fill.maker for _, fill in self.fills)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run's folder says. cadence: ns from boundary to boundary; 0: not known."""

    orders: list[Sent]
    tape: Tape
    instruments: Mapping[str, Instrument]
    cadence: int


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Fees from a volume on, whole units of the settle asset; None: no fill tells."""

    volume: int
    maker_fee_ppm: int | None
    taker_fee_ppm: int | None


class Fees(msgspec.Struct, frozen=True, kw_only=True):
    """All tiers seen, the first from 0 on; and how many fills paid in another asset."""

    tiers: tuple[Tier, ...]
    fills: int
    left_out: int


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds. source: of the entry latency, as the settings name it.

    Attributes:
        entry: 5th, 50th and 95th percentile over `samples` takers.
        response: between these two it must lie; `told` fills agree.
    """

    entry: tuple[float, float, float]
    jitter: float
    source: str
    samples: int
    response: tuple[float, float]
    told: int
    heard: int


class QueueFit(msgspec.Struct, frozen=True, kw_only=True):
    """How one model fills the run's passive orders. error: mean share of an order that differs."""

    model: str
    power: int
    error: float
    later_ms: float  # mean absolute difference of first fills, where both have one
    orders: int


class VenueFit(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found."""

    fees: Fees
    latency: Latency | None
    queue: tuple[QueueFit, ...]


def read_run(folder: Path) -> Run:
    """A paper run's folder.

    Raises:
        DataError: its tape is missing or it never sent an order. StoreError: its journal is.
    """
    reader = JournalReader(folder / "journal.sqlite")
    try:
        records = [record for _, record in reader.read()]
    finally:
        reader.close()
    started = [record for record in records if isinstance(record, RunStarted)]
    orders = orders_of(records)
    if not started or not orders:
        raise DataError(f"{folder}: the run has sent no order, so there is nothing to learn from")
    for catalog in sorted(folder.glob("tape-*/catalog.json")):
        tape = open_tape(catalog.parent)
        if tape.catalog.instruments == started[-1].instruments:
            values = msgspec.json.decode(started[-1].values or "{}")
            cadence = int(values.get("feed", {}).get("cadence_ms", 0)) * MILLISECOND
            return Run(orders, tape, {i.name: i for i in started[-1].instruments}, cadence)
    raise DataError(f"{folder}: the tape of run {started[-1].run} is not there")


def orders_of(records: Iterable[AnyRecord]) -> list[Sent]:
    """Every order that was sent, with its fills, by the time it was sent."""
    found: dict[str, Sent] = {}
    last = -1  # when something was sent last
    for record in records:
        if isinstance(record, OrderCreated):
            found[record.order.client_id] = Sent(record.order)
        elif isinstance(record, OrderChanged) and record.client_id in found:
            sent = found[record.client_id]
            if record.state is OrderState.SENT:
                sent.sent, sent.alone = record.ts, record.ts != last
                last = record.ts
            elif record.state is OrderState.PENDING_CANCEL and not sent.cancelled:
                sent.cancelled = last = record.ts
        elif isinstance(record, FillBooked) and record.fill.client_id in found:
            found[record.fill.client_id].fills.append((record.ts, record.fill))
    return sorted((sent for sent in found.values() if sent.sent), key=lambda sent: sent.sent)


# --- fees ---


def possible(value: int, fee: int) -> tuple[int, int]:
    """The whole ppm, [low, high], that a fee rounded up towards the venue can have come from."""
    return (fee - 1) * PPM // value + 1, fee * PPM // value


def plainest(low: int, high: int) -> int:
    """The number of an interval that ends in the most zeros."""
    for digits in range(7, -1, -1):
        number = high // 10**digits * 10**digits
        if number >= low:
            return int(number)
    return high


def fit_fees(run: Run) -> Fees:
    """Rates by role, and from which volume of our own on they were lower.

    A tier holds for whole UTC days. What was traded before the run nobody knows: volumes count
    from its beginning.
    """
    fills = [(run.instruments[f.instrument], f) for s in run.orders for _, f in s.fills]
    paid = [(i, f) for i, f in fills if f.fee_asset == i.settle_asset]
    days: dict[int, list[tuple[Instrument, Fill]]] = {}
    for instrument, fill in sorted(paid, key=lambda each: each[1].ts):
        days.setdefault(fill.ts // DAY, []).append((instrument, fill))
    tiers: list[tuple[int, dict[bool, tuple[int, int]]]] = [(0, {})]
    volume = 0.0
    for each in days.values():
        today: dict[bool, tuple[int, int]] = {}
        for instrument, fill in each:
            found = possible(instrument.value(fill.price, fill.size), fill.fee)
            today[fill.maker] = _both(today.get(fill.maker, found), found)
        before = tiers[-1][1]
        if all(_meet(before[role], span) for role, span in today.items() if role in before):
            for role, span in today.items():
                before[role] = _both(before.get(role, span), span)
        elif all(span[1] < before[role][0] for role, span in today.items() if role in before):
            tiers.append((int(volume), today))
        volume += sum(i.value(f.price, f.size) / 10**i.settle_decimals for i, f in each)
    said = tuple(
        Tier(volume=at, maker_fee_ppm=_said(spans, True), taker_fee_ppm=_said(spans, False))
        for at, spans in tiers
    )
    return Fees(tiers=said, fills=len(paid), left_out=len(fills) - len(paid))


def _both(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return (max(a[0], b[0]), min(a[1], b[1])) if _meet(a, b) else a


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return max(a[0], b[0]) <= min(a[1], b[1])


def _said(spans: dict[bool, tuple[int, int]], maker: bool) -> int | None:
    return plainest(*spans[maker]) if maker in spans else None


# --- latencies ---


def fit_latency(run: Run) -> Latency | None:
    """Entry from orders that took at once, response from when the node heard; None: no fill.

    The entry latency is drawn evenly from around its median, as wide as its 5th and 95th
    percentile say; where the feed's own delay explains more than half of that width it is taken
    from the feed. The response of a fill lies between the last boundary at which the node had not
    heard of it and the one at which it had; what most fills agree on is taken.
    """
    takers = [s for s in run.orders if s.fills and not s.fills[0][1].maker]
    takers = [s for s in takers if not s.order.type.waits]
    alone = [s for s in takers if s.alone]
    takers = alone if len(alone) >= FEWEST else takers
    heard = [(at, fill) for s in run.orders for at, fill in s.fills]
    if not heard:
        return None
    low, high, told = _agreed([(_earliest(at, run.cadence) - f.ts, at - f.ts) for at, f in heard])
    response = (max(0.0, low / MILLISECOND), max(0.0, high / MILLISECOND))
    if not takers:
        middle = sum(response) / 2
        entry, jitter, source = (middle, middle, middle), 0.0, "own"
    else:
        took = np.array([s.fills[0][1].ts - s.sent for s in takers], float)
        entry, jitter, source = _entry(took, took - _delays(run, takers))
    return Latency(
        entry=entry,
        jitter=jitter,
        source=source,
        samples=len(takers),
        response=response,
        told=told,
        heard=len(heard),
    )


def _entry(took: np.ndarray, own: np.ndarray) -> tuple[tuple[float, float, float], float, str]:
    """Percentiles in ms, jitter and source; `own`: the same without the feed's delay."""

    def width(values: np.ndarray) -> float:
        low, high = np.percentile(values, [5, 95])
        return float(high - low)

    enough = len(took) >= FEWEST
    source = "feed" if enough and width(own) < 0.5 * width(took) else "own"
    values = own if source == "feed" else took
    low, middle, high = (float(p) / MILLISECOND for p in np.percentile(values, [5, 50, 95]))
    # nine tenths of an even draw from middle x (1 ± jitter) are 1.8 x middle x jitter wide
    jitter = (high - low) / (1.8 * middle) if enough and middle > 0 else 0.0
    return (low, middle, high), min(0.999, round(jitter, 3)), source


def _earliest(heard: int, cadence: int) -> int:
    return heard - cadence if cadence else -(1 << 62)


def _agreed(spans: list[tuple[int, int]]) -> tuple[int, int, int]:
    """Where most half-open spans (low, high] overlap: its ends, and how many do."""
    edges = sorted([(low, 1) for low, _ in spans] + [(high, -1) for _, high in spans])
    depth, most, best = 0, 0, (0, 0)
    for at, (where, step) in enumerate(edges):
        depth += step
        if depth > most:
            most, best = depth, (where, edges[at + 1][0])
    return *best, most


def _delays(run: Run, takers: list[Sent]) -> np.ndarray:
    """Ns by which the feed was later than its fastest when each order was sent."""
    catalog = run.tape.catalog
    flow = Flow(catalog, VenueShape(feed_latency=True), catalog.book_of.astype(np.int64))
    index = {i.name: k for k, i in enumerate(catalog.instruments)}
    found, at = np.zeros(len(takers)), 0
    for rows in run.tape.blocks(BLOCK):
        flow.begin(rows)
        times = rows["recv_ts"]
        while at < len(takers) and takers[at].sent < int(times[-1]):
            flow.advance(int(np.searchsorted(times, takers[at].sent, side="right")))
            found[at] = flow.delay(index[takers[at].order.instrument])
            at += 1
        flow.advance(len(rows))
    for k in range(at, len(takers)):
        found[k] = flow.delay(index[takers[k].order.instrument])
    return found


# --- the queue ---


def fit_queue(run: Run, fees: Fees, latency: Latency, report: Progress) -> tuple[QueueFit, ...]:
    """Every model, the best first; none where the run had no passive order that was filled."""
    passive = [sent for sent in run.orders if sent.passive]
    if not any(sent.fills for sent in passive):
        return ()
    found = []
    total = run.tape.rows * len(CANDIDATES)
    for at, (model, power) in enumerate(CANDIDATES):
        shape = shape_of(run, fees, latency, model, power)
        found.append(_scored(passive, replay(run, shape), model, power))
        report((at + 1) * run.tape.rows, total)
    return tuple(sorted(found, key=lambda fit: (fit.error, fit.later_ms)))


def shape_of(run: Run, fees: Fees, latency: Latency, model: str, power: int) -> VenueShape:
    """An exchange on what was found so far, which trusts us with any sum."""
    assets = {i.settle_asset for i in run.instruments.values()}
    assets |= {i.base for i in run.instruments.values()}
    return VenueShape(
        balances=dict.fromkeys(sorted(assets), PLENTY),
        maker_fee_ppm=fees.tiers[0].maker_fee_ppm or 0,
        taker_fee_ppm=fees.tiers[0].taker_fee_ppm or 0,
        entry_latency_ns=round(latency.entry[1] * MILLISECOND),
        feed_latency=latency.source == "feed",
        max_leverage=1_000,
        queue_model="probabilistic" if model == "probabilistic" else "risk_averse",
        queue_power=power,
    )


def replay(run: Run, shape: VenueShape) -> list[Fill]:
    """The run's own orders on its tape again; what was filled."""
    engine = Engine(run.tape.catalog, shape)
    asked = [(s.sent, 0, s) for s in run.orders] + [
        (s.cancelled, 1, s) for s in run.orders if s.cancelled
    ]
    asked.sort(key=lambda each: each[:2])
    at = 0
    for rows in run.tape.blocks(BLOCK):
        first, times = 0, rows["recv_ts"]
        while at < len(asked) and asked[at][0] < int(times[-1]):
            ts = asked[at][0]
            past = int(np.searchsorted(times, ts, side="right"))
            engine.observe(Raw(rows[first:past]), ts)
            first = max(first, past)
            _ask(engine, asked[at][2], asked[at][1] == 1, ts)
            at += 1
        engine.observe(Raw(rows[first:]), int(times[-1]))
    engine.observe(Raw(np.zeros(0, rows.dtype)), engine.now + 60 * SECOND)
    return engine.fills(0)


def _ask(engine: Engine, sent: Sent, cancels: bool, ts: int) -> None:
    order = sent.order
    try:
        if cancels:
            engine.cancel(order.instrument, order.client_id, ts)
        else:
            engine.place(msgspec.structs.replace(order, accept_until=0), ts)
    except OrderRefusedError:
        return  # so it was in the run, or it will not be filled here: the score sees it


def _scored(passive: list[Sent], filled: list[Fill], model: str, power: int) -> QueueFit:
    fills: dict[str, list[Fill]] = {}
    for fill in filled:
        fills.setdefault(fill.client_id, []).append(fill)
    errors, later = [], []
    for sent in passive:
        own, again = [f for _, f in sent.fills], fills.get(sent.order.client_id, [])
        difference = sum(f.size for f in own) - sum(f.size for f in again)
        errors.append(abs(difference) / sent.order.size)
        if own and again:
            later.append(abs(own[0].ts - again[0].ts) / MILLISECOND)
    return QueueFit(
        model=model,
        power=power,
        error=float(np.mean(errors)),
        later_ms=float(np.mean(later)) if later else 0.0,
        orders=len(passive),
    )


# --- together ---


def fit(run: Run, report: Progress) -> VenueFit:
    """Fees, latencies and the queue model of a run's exchange.

    Raises:
        DataError: none of the run's orders was filled.
    """
    fees, latency = fit_fees(run), fit_latency(run)
    if latency is None:
        raise DataError("none of the run's orders was filled, so there is nothing to learn from")
    return VenueFit(fees=fees, latency=latency, queue=fit_queue(run, fees, latency, report))


def toml(found: VenueFit) -> str:
    """A `[venue]` section for seawall.toml; what no fill tells is left out."""
    first = found.fees.tiers[0]
    rates = {"maker_fee_ppm": first.maker_fee_ppm, "taker_fee_ppm": first.taker_fee_ppm}
    lines = ["[venue]", *(f"{name} = {rate}" for name, rate in rates.items() if rate is not None)]
    tiers = [_tier(tier, first) for tier in found.fees.tiers[1:]]
    if tiers:
        lines.append(f"fee_tiers = [{', '.join(tiers)}]")
    if found.latency is not None:
        latency = found.latency
        lines.append(f"entry_latency_ms = {round(latency.entry[1], 6)}")
        response = sum(latency.response) / 2
        if latency.response[1] - latency.response[0] > max(1.0, latency.entry[1]):
            response = min(max(latency.entry[1], latency.response[0]), latency.response[1])
        lines.append(f"response_latency_ms = {round(response, 6)}")
        lines.append(f"latency_jitter = {latency.jitter}")
        lines.append(f'latency_source = "{latency.source}"')
    if found.queue:
        lines.append(f'queue_model = "{found.queue[0].model}"')
        lines.append(f"queue_power = {found.queue[0].power}")
    return "\n".join(lines) + "\n"


def _tier(tier: Tier, first: Tier) -> str:
    maker = first.maker_fee_ppm if tier.maker_fee_ppm is None else tier.maker_fee_ppm
    taker = first.taker_fee_ppm if tier.taker_fee_ppm is None else tier.taker_fee_ppm
    return f'"{tier.volume}:{maker or 0}:{taker or 0}"'
