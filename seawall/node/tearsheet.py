"""The tear sheet of a run, gathered from its journal and its tape.

The journal says what was decided, ordered and filled; the tape is perceived once more for prices,
and stopped at each fill to look at the book as it stood. The account is valued at every boundary.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from seawall import __version__
from seawall.core.clock import HOUR, SECOND
from seawall.core.errors import DataError
from seawall.core.instruments import Instrument, Kind
from seawall.core.orders import OrderState
from seawall.core.records import (
    AnyRecord,
    BreakerChanged,
    Deposited,
    Digest,
    FillBooked,
    Halted,
    IntentApproved,
    IntentDecided,
    IntentRefused,
    LotsTransferred,
    ModelRolledBack,
    ModelUpdated,
    OperatorCommanded,
    OrderChanged,
    OrderCreated,
    RunStarted,
    RunStopped,
    SourceJudged,
)
from seawall.core.settings import Settings
from seawall.core.verdicts import Standing
from seawall.execution.tca import analyse
from seawall.ingestion.tape import Tape, open_tape
from seawall.lab.tearsheet import Execution, Incident, Sheet, Surface, Track
from seawall.lab.tearsheet.sheet import Line, Sleeve
from seawall.ledger import Ledger
from seawall.node import tca
from seawall.node.perceived import Floats, Market, Times, filled, perceive
from seawall.storage.journal import JournalReader

NUMBER = re.compile(r"(?<![\w.-])\d[\d.,]*\d|(?<![\w.-])\d\b")  # the same reason has many
CLOSE = 1e-6  # of the equity: how far the curve may lie from the journal's digests


class Balance(NamedTuple):
    """The account after some records: cash by asset, (lots, cost) of each derivative or pair."""

    ts: int
    cash: dict[str, int]
    positions: dict[str, tuple[int, int]]


class Story(NamedTuple):
    """A journal, sorted by what a tear sheet needs of it."""

    started: list[RunStarted]
    stopped: list[RunStopped]
    created: dict[str, OrderCreated]
    fills: list[FillBooked]
    balances: list[Balance]
    digests: list[Digest]
    incidents: list[Incident]
    refusals: "Counter[tuple[str, str]]"
    counts: "Counter[str]"
    decisions: "Counter[str]"
    deposits: dict[str, int]
    funding: dict[str, int]
    rows: int
    head: str
    last: int
    ledger: Ledger
    transfers: "Counter[str]"


def read(path: Path) -> Story:
    """A journal's story.

    Raises:
        StoreError: it cannot be read. DataError: there is no run in it.
    """
    reader = JournalReader(path)
    try:
        story = tell((record for _, record in reader.read()), reader.rows, reader.head)
    finally:
        reader.close()
    if not story.started:
        raise DataError(f"{path}: no run is in this journal")
    return story


def tell(written: Iterable[AnyRecord], rows: int, head: str) -> Story:
    """The story of some records."""
    ledger = Ledger()
    lists: tuple[Any, ...] = ([], [], {}, [], [], [], [])
    counters: tuple[Any, ...] = (Counter(), Counter(), Counter(), {}, {})
    story = Story._make([*lists, *counters, rows, head, 0, ledger, Counter()])
    last = 0
    for record in written:
        last = max(last, record.ts)
        cash = dict(ledger.cash)
        ledger.apply(record)
        if isinstance(record, FillBooked | Deposited) or cash != ledger.cash:
            held = {n: (b.position, b.cost) for n, b in ledger.books().items()}
            story.balances.append(Balance(record.ts, dict(ledger.cash), held))
        _note(story, record)
    story.deposits.update(ledger.deposits)
    story.funding.update(ledger.funding)
    return story._replace(last=last)


def _note(story: Story, record: AnyRecord) -> None:
    """Put one record where it belongs."""
    story.incidents.extend(_incidents(record))
    match record:
        case RunStarted():
            story.started.append(record)
        case RunStopped():
            story.stopped.append(record)
        case OrderCreated():
            story.created[record.order.client_id] = record
        case FillBooked():
            story.fills.append(record)
        case LotsTransferred():
            story.transfers.update((record.giver, record.taker))
        case Digest():
            story.digests.append(record)
        case IntentDecided():
            story.counts["intents"] += 1
        case IntentApproved():
            story.counts["approved"] += 1
        case IntentRefused():
            story.refusals["risk", NUMBER.sub("…", record.refused.reason)] += 1
        case OrderChanged(state=OrderState.REJECTED):
            story.refusals["exchange", NUMBER.sub("…", record.reason)] += 1
        case ModelUpdated():
            story.decisions[record.decision] += 1
        case _:
            pass


def _incidents(record: AnyRecord) -> Iterator[Incident]:
    match record:
        case BreakerChanged():
            of = f" of {record.key}" if record.key else ""
            measured = f"{record.measure:.4g} against {record.threshold:.4g}"
            why = f"; {record.reason}" if record.reason else ""
            text = f"{record.name}{of} {record.state.lower()}: {measured}{why}"
            yield Incident(record.ts, "breaker", text)
        case Halted(reason=why, account=who):
            yield Incident(record.ts, f"halt {who}".strip(), why or "trading goes on")
        case OperatorCommanded():
            said = ", ".join(record.arguments.values())
            yield Incident(record.ts, "operator", f"{record.command} {said} ({record.who})")
        case SourceJudged() if record.standing != Standing.TRUSTED:
            name = Standing(record.standing).name.lower().replace("_", " ")
            yield Incident(record.ts, "gate", f"{record.source} is {name}: {record.reason}")
        case ModelRolledBack():
            yield Incident(
                record.ts, "gate", f"model of {record.group} rolled back: {record.reason}"
            )
        case RunStarted():
            yield Incident(record.ts, "run", f"run {record.run} starts, {record.mode}")
        case RunStopped():
            left = len(record.open_orders)
            stays = f"; {left} orders stay open" if left else ""
            yield Incident(record.ts, "run", f"stopped: {record.reason}{stays}")
        case _:
            return


# --- the account ---


class Marks(NamedTuple):
    """What things were worth at each boundary, (n,): instruments in quote units, assets in the
    numeraire. As the node marks: by consensus where anyone votes, else by the book's own mid."""

    instruments: dict[str, Floats]
    assets: dict[str, Floats]


def marks_of(market: Market, instruments: Iterable[Instrument], numeraire: str) -> Marks:
    """From the frames' columns."""
    by_name: dict[str, Floats] = {}
    assets: dict[str, Floats] = {}
    for instrument in instruments:
        columns = market.columns.get(instrument.name)
        if columns is None:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            quote = np.where(columns["quote_mark"] > 0, columns["quote_mark"], np.nan)
            voted = (columns["votes"] > 0) & np.isfinite(quote)
            own = np.where(columns["mid"] > 0, columns["mid"], np.nan)
            by_name[instrument.name] = filled(np.where(voted, columns["consensus"] / quote, own))
        for asset, values in (
            (instrument.quote, quote),
            (instrument.base, np.where(voted, columns["consensus"], np.nan)),
        ):
            if asset not in assets or not np.isfinite(assets[asset]).any():
                assets[asset] = filled(values)
    assets[numeraire] = np.ones(len(market.ts))
    return Marks(by_name, assets)


def track_of(
    story: Story, market: Market, marks: Marks, instruments: dict[str, Instrument]
) -> Track:
    """The account at each boundary since the first deposit, as `Ledger.portfolio` values it; and
    once more at the last prices where something was booked after the last one."""
    starts = np.array([b.ts for b in story.balances], np.int64)
    began = story.started[0].ts
    rows = np.flatnonzero((market.ts >= began) & (market.ts <= story.last))
    ts = market.ts[rows]
    if len(ts) and story.balances and story.balances[-1].ts > ts[-1]:
        rows, ts = np.append(rows, rows[-1]), np.append(ts, story.balances[-1].ts)
    which = np.searchsorted(starts, ts, side="right") - 1
    equity, gross, net = (np.zeros(len(ts)) for _ in range(3))
    decimals = _decimals(instruments.values())
    for number in np.unique(which[which >= 0]).tolist():
        at = np.flatnonzero(which == number)
        balance, here = story.balances[number], rows[at]
        for asset, amount in balance.cash.items():
            if amount:
                mark = marks.assets.get(asset, np.full(len(market.ts), np.nan))
                equity[at] += amount / 10 ** decimals[asset] * mark[here]
        for name, (lots, cost) in balance.positions.items():
            if not lots:
                continue
            value, unrealised = _position(
                instruments[name], lots, cost, marks, here, len(market.ts)
            )
            gross[at] += np.abs(value)
            net[at] += value
            equity[at] += unrealised
    equity[which < 0] = np.nan
    return Track(ts, equity, gross, net)


def _position(
    instrument: Instrument, lots: int, cost: int, marks: Marks, rows: Times, count: int
) -> tuple[Floats, Floats]:
    """Value and unrealised profit of a position, numeraire; a spot pair's coins are cash."""
    unknown = np.full(count, np.nan)
    mark = marks.instruments.get(instrument.name, unknown)[rows]
    settle = marks.assets.get(instrument.settle_asset, unknown)[rows]
    size = lots * instrument.lot_float
    if instrument.kind is Kind.SPOT:
        return size * mark * settle, np.zeros(len(rows))
    unit = float(instrument.cash_unit) * abs(lots)
    ticks = mark / instrument.tick_float
    sign = 1 if lots > 0 else -1
    if instrument.kind is Kind.INVERSE:
        quote = marks.assets.get(instrument.quote, unknown)[rows]
        value, gain = size * quote, -sign * (unit / ticks - cost)
    else:
        value, gain = size * mark * settle, sign * (unit * ticks - cost)
    return value, gain / 10**instrument.settle_decimals * settle


def _decimals(instruments: Iterable[Instrument]) -> dict[str, int]:
    found: dict[str, int] = {}
    for instrument in instruments:
        found[instrument.base] = instrument.base_decimals
    for instrument in instruments:
        found[instrument.settle_asset] = instrument.settle_decimals
    return found


def executions_of(
    story: Story, market: Market, marks: Marks, instruments: dict[str, Instrument]
) -> Iterator[Execution]:
    """Each fill with the book at its decision and at its time."""
    for booked in story.fills:
        fill = booked.fill
        instrument = instruments[fill.instrument]
        created = story.created.get(fill.client_id)
        decided = created.ts if created else fill.ts
        columns = market.columns.get(instrument.name, {})
        row = int(np.searchsorted(market.ts, decided, side="right")) - 1
        seen = row >= 0 and bool(columns)
        side = "ask" if fill.side.sign > 0 else "bid"
        mid, touch = (float(columns[c][row]) if seen else math.nan for c in ("mid", side))
        then = market.touches.get((instrument.name, fill.ts), (math.nan, math.nan))
        settle = marks.assets.get(instrument.settle_asset)
        unit = float(settle[-1]) if settle is not None and len(settle) else math.nan
        yield Execution(
            ts=fill.ts,
            decided=decided,
            instrument=instrument.name,
            strategy=booked.strategy,
            sign=fill.side.sign,
            quantity=fill.size * instrument.lot_float,
            price=fill.price * instrument.tick_float,
            unit=unit,
            inverse=instrument.kind is Kind.INVERSE,
            fee=fill.fee / 10**instrument.settle_decimals * unit,
            maker=fill.maker,
            mid=mid if mid > 0 else math.nan,
            touch=touch if touch > 0 else math.nan,
            touch_then=then[1] if fill.side.sign > 0 else then[0],
        )


# --- the sheet ---


def gather(
    journal: Path,
    tape: Path,
    settings: Settings,
    progress: Callable[[int, int], None],
    surface: Surface | None = None,
) -> Sheet:
    """Everything that the page of a run shows.

    Args:
        settings: of the run; for prices only what perception reads of them counts.

    Raises:
        DataError, StoreError: the journal or the tape cannot be used, or they do not belong
            together.
    """
    story = read(journal)
    recorded = open_tape(tape)
    first = story.started[0]
    if recorded.catalog.instruments != first.instruments:
        raise DataError(f"{tape}: the run of {journal} was on another tape; name that one")
    instruments = {i.name: i for start in story.started for i in start.instruments}
    looked = [(one.fill.instrument, one.fill.ts) for one in story.fills]
    span = (max(0, first.taped), recorded.rows)
    market = perceive(settings, recorded, span, looked, progress)
    marks = marks_of(market, instruments.values(), first.numeraire)
    track = track_of(story, market, marks, instruments)
    executions = tuple(executions_of(story, market, marks, instruments))
    traded = list(dict.fromkeys(one.instrument for one in executions))
    shown = traded or list(market.columns)[:1]
    lines = {name: _line(market, name, track) for name in shown if name in market.columns}
    worth = _worth(story.deposits, marks, instruments)
    courses = tca.courses_in(tca.read(journal)[1], market, instruments)
    return Sheet(
        title=f"{first.mode} run {first.run}",
        about=_about(story, traded, recorded),
        numeraire=first.numeraire,
        capital=worth,
        track=track,
        prices=lines,
        executions=executions,
        open_marks={n: float(m[-1]) for n, m in marks.instruments.items() if len(m)},
        funding=_worth(story.funding, marks, instruments, last=True),
        intents=story.counts["intents"],
        approved=story.counts["approved"],
        orders=len(story.created),
        refusals=tuple((*who, n) for who, n in story.refusals.most_common()),
        incidents=tuple(story.incidents),
        decisions=dict(story.decisions),
        seen=tuple(_seen(story, track, market, recorded)),
        reproduce=_reproduce(story, recorded, tape),
        settings=_pretty(first.values or settings.canonical()),
        surface=surface,
        sleeves=_sleeves(story, marks),
        parents=tuple(analyse(course) for course in courses),
    )


def _sleeves(story: Story, marks: Marks) -> tuple[Sleeve, ...]:
    lasts = ({n: float(m[-1]) for n, m in of.items()} for of in (marks.instruments, marks.assets))
    return tuple(
        Sleeve(name, each.net, each.fees, each.funding, each.trades, story.transfers[name])
        for name, each in story.ledger.earned(*lasts).items()
    )


def _line(market: Market, name: str, track: Track) -> Line:
    first = track.ts[0] if len(track.ts) else 0
    rows = market.ts >= first
    mid = market.columns[name]["mid"][rows]
    return Line(market.ts[rows], np.where(mid > 0, mid, np.nan))


def _worth(
    amounts: dict[str, int],
    marks: Marks,
    instruments: dict[str, Instrument],
    last: bool = False,
) -> float:
    """Numeraire value of balances, at the first known marks or at the last ones."""
    decimals = _decimals(instruments.values())
    total = 0.0
    for asset, amount in amounts.items():
        mark = marks.assets.get(asset)
        known = mark[np.isfinite(mark)] if mark is not None else np.zeros(0)
        total += (
            amount
            / 10 ** decimals[asset]
            * (float(known[-1 if last else 0]) if len(known) else math.nan)
        )
    return total


def _about(story: Story, traded: Iterable[str], tape: Tape) -> tuple[tuple[str, str], ...]:
    first, lives = story.started[0], len(story.started)
    count = len(first.instruments)
    sources = ", ".join(source.name for source in tape.catalog.sources)
    found = [
        ("traded", ", ".join(traded) or "nothing"),
        ("market", f"{count} instrument{'s' if count > 1 else ''}, told by {sources}"),
    ]
    if lives > 1:
        found.append(("lives", f"{lives}: it was stopped or killed, and went on"))
    return tuple(found)


def _seen(story: Story, track: Track, market: Market, tape: Tape) -> Iterator[str]:
    """What the figures were made of."""
    cadence = int(np.median(np.diff(market.ts))) / SECOND if len(market.ts) > 1 else math.nan
    yield (
        f"The account is valued at each of {len(track.ts):,} boundaries, {cadence:g} s apart: the "
        "journal's balances at the prices of the tape, perceived once more."
    )
    off = [
        abs(float(track.equity[row]) - digest.equity) / abs(digest.equity)
        for digest in story.digests
        if math.isfinite(digest.equity) and digest.equity
        for row in np.flatnonzero(track.ts == digest.ts)[:1].tolist()
        if math.isfinite(float(track.equity[row]))
    ]
    if off:
        worst = max(off)
        word = "agrees with" if worst <= CLOSE else "is off by up to"
        amount = "" if worst <= CLOSE else f"{worst:.2%} from "
        yield f"The curve {word} {amount}the equity in the journal's {len(off):,} digests."
    missing = int((~np.isfinite(track.equity)).sum())
    if missing:
        yield f"At {missing:,} boundaries a price was missing; the account is not known there."
    if not story.stopped:
        yield "The journal does not end in order: the run was killed, or it still goes on."
    span = int(track.ts[-1] - track.ts[0]) if len(track.ts) else 0
    if span < 24 * HOUR:
        yield "The run is shorter than a day: it has no yearly return and no yearly ratios."
    elif span < 30 * 24 * HOUR:
        yield "The run is shorter than a month: what is given a year says little."
    if any(source.bar_span for source in tape.catalog.sources):
        yield "Where the tape has bars only, spread and depth of the book are assumed."
    yield "The book at a fill is the book that we had received by then, from one source."


def _reproduce(story: Story, tape: Tape, folder: Path) -> tuple[tuple[str, str], ...]:
    first = story.started[0]
    return (
        ("seawall", __version__),
        ("run", ", ".join(start.run for start in story.started[:8])),
        ("seed", str(first.seed)),
        ("settings", first.settings),
        ("tape", f"{folder.name}, {tape.rows:,} rows"),
        ("journal", f"{story.rows:,} rows"),
        ("journal hash", story.head),
        *((("frames hash", story.digests[-1].frames),) if story.digests else ()),
    )


def _pretty(settings: str) -> str:
    return msgspec.json.format(settings, indent=2)
