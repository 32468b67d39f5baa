"""What a tear sheet is made of: the account over time, fills with what they cost, round trips.

Money is in the numeraire, times in ns UTC, shares are fractions.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import HOUR, MILLISECOND, MINUTE, SECOND, YEAR
from seawall.execution.tca import Analysis
from seawall.lab.research.performance import cvar, drawdowns, sharpe, sortino

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
DAY = 24 * HOUR
# A return's length: the longest of these of which the run has so many.
STEPS = (DAY, HOUR, 15 * MINUTE, 5 * MINUTE, MINUTE, 10 * SECOND, SECOND)
ENOUGH = 60
SILENT = 10  # times the usual distance of two points is a gap
FEW = 20  # returns: fewer have no spread worth a name
ROLLING = 30  # returns in a rolling figure, at least; a sixth of them where that is more


class Track(NamedTuple):
    """The account at each boundary.

    Attributes:
        ts: (n,) ns UTC, ascending. equity: (n,), NaN where a mark was missing. gross, net: (n,)
            sum of the positions' values without and with their signs.
    """

    ts: Times
    equity: Floats
    gross: Floats
    net: Floats


class Line(NamedTuple):
    """The price of an instrument: (n,) ns UTC and mids in quote units."""

    ts: Times
    mid: Floats


class Execution(NamedTuple):
    """A fill, and what it cost against the book.

    Attributes:
        sign: +1 bought, -1 sold. quantity: base units (contracts for inverse), > 0. price, mid,
            touch, touch_then: quote units; mid and touch at the decision, `touch_then` at the
            fill, on the side that a taker takes from; NaN where unknown.
        unit: numeraire per unit of what it settles in, at the end of the run. inverse: it settles
            in the base asset. fee: numeraire.
    """

    ts: int
    decided: int
    instrument: str
    strategy: str
    sign: int
    quantity: float
    price: float
    unit: float
    inverse: bool
    fee: float
    maker: bool
    mid: float
    touch: float
    touch_then: float

    def worth(self, price: float, quantity: float) -> float:
        """What a quantity is worth at a price, numeraire; it rises with the price, and is below 0
        for inverse contracts."""
        if not price > 0:
            return math.nan
        return (-quantity / price if self.inverse else quantity * price) * self.unit

    @property
    def value(self) -> float:
        """Traded, numeraire."""
        return abs(self.worth(self.price, self.quantity))

    def worse(self, price: float, than: float) -> float:
        """What paying `price` instead of `than` costs, numeraire; 0 where one is unknown."""
        cost = self.sign * (self.worth(price, self.quantity) - self.worth(than, self.quantity))
        return cost if math.isfinite(cost) else 0.0

    @property
    def slippage(self) -> float:
        """Against the mid at the decision, bps; positive is a cost."""
        return self.sign * (self.price / self.mid - 1.0) * 1e4 if self.mid > 0 else math.nan

    @property
    def through(self) -> float:
        """Against the touch at the fill, bps; positive is a cost."""
        known = self.touch_then > 0
        return self.sign * (self.price / self.touch_then - 1.0) * 1e4 if known else math.nan


class Costs(NamedTuple):
    """From what a run would have made at the mids of its decisions to what it made, numeraire.

    Attributes:
        spread: from mid to touch at the decision (a maker's fill: from mid to its price; below 0
            it was earned). latency: how far the touch went until the fill. impact: through it.
        funding: paid less received.
    """

    gross: float
    spread: float
    latency: float
    impact: float
    fees: float
    funding: float
    net: float


class Trip(NamedTuple):
    """A round trip: from flat, or from a turn, to flat or to the next turn.

    Attributes:
        quantity: the most that was held. entry, exit: average prices, quote units.
        pnl: after fees; of an open one at the last price. open: it still stands.
    """

    instrument: str
    strategy: str
    sign: int
    opened: int
    closed: int
    quantity: float
    entry: float
    exit: float
    value: float
    pnl: float
    fees: float
    fills: int
    open: bool


class Incident(NamedTuple):
    """Something that a person should see. kind: breaker, halt, gate, operator, run."""

    ts: int
    kind: str
    text: str


class Surface(NamedTuple):
    """Results over two parameters: (rows, columns), NaN where nothing was tried."""

    rows: str
    columns: str
    row_values: tuple[str, ...]
    column_values: tuple[str, ...]
    values: Floats
    measure: str
    best: str


class Sleeve(NamedTuple):
    """What one strategy's sub-ledger came to, numeraire.

    Attributes:
        pnl: after fees and funding. transfers: times that lots went to or from another strategy.
    """

    name: str
    pnl: float
    fees: float
    funding: float
    fills: int
    transfers: int


class Sheet(NamedTuple):
    """Everything that the page shows.

    Attributes:
        about: (name, value) of the run. numeraire: its unit of money. capital: deposited.
        intents, approved, orders: how many. refusals: (who refused, why, how often).
        seen: what the figures were made of, and how far they can be trusted, in sentences.
        reproduce: (name, value) to make it again. settings: JSON, empty if not known.
        sleeves: of each strategy, where there are several. parents: by their decision.
    """

    title: str
    about: tuple[tuple[str, str], ...]
    numeraire: str
    capital: float
    track: Track
    prices: dict[str, Line]
    executions: tuple[Execution, ...]
    open_marks: dict[str, float]
    funding: float
    intents: int
    approved: int
    orders: int
    refusals: tuple[tuple[str, str, int], ...]
    incidents: tuple[Incident, ...]
    decisions: dict[str, int]
    seen: tuple[str, ...]
    reproduce: tuple[tuple[str, str], ...]
    settings: str
    surface: Surface | None = None
    sleeves: tuple[Sleeve, ...] = ()
    parents: tuple[Analysis, ...] = ()


# --- figures ---


def sampled(track: Track, step: int) -> Track:
    """The last of each `step` ns of the boundaries whose equity is known, and the first of all."""
    known = np.flatnonzero(np.isfinite(track.equity))
    at = known
    if len(known):
        slots = track.ts[known] // step
        last = np.flatnonzero(np.append(slots[1:] != slots[:-1], True))
        at = known[np.unique(np.append(0, last))]
    return Track(track.ts[at], track.equity[at], track.gross[at], track.net[at])


def step_of(track: Track) -> int:
    """How long the returns are that the figures are made of, ns."""
    span = int(track.ts[-1] - track.ts[0]) if len(track.ts) else 0
    cadence = int(np.median(np.diff(track.ts))) if len(track.ts) > 1 else SECOND
    fitting = [step for step in STEPS if span >= ENOUGH * step and step >= cadence]
    return fitting[0] if fitting else max(cadence, STEPS[-1])


def returns_of(track: Track) -> Floats:
    """Simple returns between the rows of a sampled track."""
    equity = track.equity
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = equity[1:] / equity[:-1] - 1.0
    return np.where(np.isfinite(found), found, 0.0)


class Figures(NamedTuple):
    """The headline; NaN where there is too little to say: yearly ratios need a day. A year has 365
    days.
    """

    step: int
    returns: int
    gain: float
    total_return: float
    annual_return: float
    volatility: float
    sharpe: float
    sortino: float
    max_drawdown: float
    longest_drawdown: int
    calmar: float
    cvar: float
    exposure: float
    most_exposure: float
    turnover: float
    trips: int
    won: float
    profit_factor: float
    average_win: float
    average_loss: float
    held: float


def figures_of(sheet: Sheet, trips: Sequence[Trip]) -> Figures:
    """Of a run that is sampled at `step_of`."""
    track = sheet.track
    step = step_of(track)
    rows = sampled(track, step)
    returns = returns_of(rows)
    year = math.sqrt(YEAR / step)
    known = np.isfinite(track.equity)
    equity, times = track.equity[known], track.ts[known]
    first, last = (float(equity[0]), float(equity[-1])) if len(equity) else (math.nan, math.nan)
    falls = drawdowns(equity, first) if len(equity) else np.zeros(0)
    worst = float(falls.max(initial=0.0)) if len(equity) else math.nan
    span = int(times[-1] - times[0]) if len(times) else 0
    growth = last / first if first > 0 else math.nan
    long = span >= DAY
    annual = growth ** (YEAR / span) - 1.0 if long and growth > 0 else math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = track.gross[known] / equity if len(equity) else np.zeros(0)
    closed = [trip for trip in trips if not trip.open]
    wins = [t.pnl for t in closed if t.pnl > 0]
    losses = [-t.pnl for t in closed if t.pnl <= 0]
    traded = sum(one.value for one in sheet.executions)
    return Figures(
        step=step,
        returns=len(returns),
        gain=last - first,
        total_return=growth - 1.0,
        annual_return=annual,
        volatility=float(returns.std(ddof=1)) * year if len(returns) >= FEW else math.nan,
        sharpe=sharpe(returns) * year if long else math.nan,
        sortino=sortino(returns) * year if long else math.nan,
        max_drawdown=worst,
        longest_drawdown=_longest(times, falls),
        calmar=annual / worst if worst > 0 else math.nan,
        cvar=cvar(returns) if len(returns) >= FEW else math.nan,
        exposure=float(np.nanmean(shares)) if len(shares) else math.nan,
        most_exposure=float(np.nanmax(shares)) if len(shares) else math.nan,
        turnover=traded / first if first > 0 else math.nan,
        trips=len(closed),
        won=len(wins) / len(closed) if closed else math.nan,
        profit_factor=sum(wins) / sum(losses) if losses and sum(losses) > 0 else math.nan,
        average_win=float(np.mean(wins)) if wins else math.nan,
        average_loss=float(np.mean(losses)) if losses else math.nan,
        held=float(np.mean([t.closed - t.opened for t in closed])) if closed else math.nan,
    )


def _longest(times: Times, falls: Floats) -> int:
    """The longest time below a peak, ns."""
    if not len(times):
        return 0
    peaks = np.flatnonzero(falls <= 0.0)
    marks = np.concatenate(([times[0]], times[peaks], [times[-1]]))
    return int(np.diff(marks).max())


class Rolling(NamedTuple):
    """Of the `width` returns up to then.

    Attributes:
        ts: (n,) ns UTC. sharpe: a year, or of one return where the run is shorter than a day.
        volatility: a year. yearly: which of the two `sharpe` is. step: a return's length, ns.
    """

    ts: Times
    sharpe: Floats
    volatility: Floats
    width: int
    yearly: bool
    step: int


def rolling_of(track: Track) -> Rolling:
    """Over at least ROLLING returns of `step_of`; empty where there are fewer."""
    step = step_of(track)
    rows = sampled(track, step)
    returns = returns_of(rows)
    width = max(ROLLING, len(returns) // 6)
    yearly = len(rows.ts) > 0 and int(rows.ts[-1] - rows.ts[0]) >= DAY
    if len(returns) < width:
        return Rolling(rows.ts[:0], np.zeros(0), np.zeros(0), width, yearly, step)
    year = math.sqrt(YEAR / step)
    windows = np.lib.stride_tricks.sliding_window_view(returns, width)
    deviation = windows.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(deviation > 1e-15, windows.mean(axis=1) / deviation, np.nan)
    scale = year if yearly else 1.0
    return Rolling(rows.ts[width:], ratio * scale, deviation * year, width, yearly, step)


def periods_of(track: Track) -> tuple[str, list[str], dict[str, dict[str, float]]]:
    """Returns by calendar: by month, or by hour where the run is shorter than forty days.

    Returns:
        What a cell is, the columns, and row → column → return.
    """
    span = int(track.ts[-1] - track.ts[0]) if len(track.ts) else 0
    monthly = span >= 40 * DAY
    rows = sampled(track, HOUR if not monthly else DAY)
    cells: dict[str, dict[str, float]] = {}
    before = float(rows.equity[0]) if len(rows.equity) else math.nan
    keyed: dict[tuple[str, str], float] = {}
    for ts, equity in zip(rows.ts.tolist(), rows.equity.tolist(), strict=True):
        day = datetime.fromtimestamp((ts - 1) // SECOND, UTC)  # a boundary ends what came before
        key = f"{day:%Y}" if monthly else f"{day:%Y-%m-%d}"
        keyed[key, f"{day:%b}" if monthly else f"{day:%H}"] = equity
    for (row, column), equity in keyed.items():
        cells.setdefault(row, {})[column] = equity / before - 1.0 if before > 0 else math.nan
        before = equity
    columns = [f"{hour:02}" for hour in range(24)]
    if monthly:
        columns = [f"{datetime(2000, month, 1, tzinfo=UTC):%b}" for month in range(1, 13)]
    return ("month" if monthly else "hour (UTC)"), columns, cells


# --- trades and costs ---


def trips_of(executions: Iterable[Execution], last: dict[str, float]) -> list[Trip]:
    """Round trips in the order in which they ended, open ones at the end.

    Args:
        last: instrument → last price in quote units, to value what is still open.
    """
    found: list[Trip] = []
    held: dict[str, _Held] = defaultdict(_Held)
    for one in executions:
        mine = held[one.instrument]
        left = one.quantity
        if mine.quantity > 0 and mine.sign != one.sign:
            closed = min(left, mine.quantity)
            mine.close(one, closed)
            left -= closed
            if mine.quantity <= 1e-12 * max(1.0, mine.most):
                found.append(mine.trip(one.instrument, one.ts, False))
                mine = held[one.instrument] = _Held()
        if left > 1e-12 * one.quantity:
            mine.add(one, left)
    for name, mine in held.items():
        if mine.quantity > 0:
            mine.mark(last.get(name, math.nan))
            found.append(mine.trip(name, mine.last, True))
    return found


class _Held:
    """A position that is not over."""

    def __init__(self) -> None:
        self.sign = 0
        self.quantity = self.most = 0.0
        self.bought = self.sold = 0.0  # worth of what went in, and came out
        self.entered = self.left = 0.0  # quantity
        self.entry = self.exit = 0.0  # sums of price x quantity
        self.fees = 0.0
        self.fills = 0
        self.opened = self.last = 0
        self.last_one: Execution | None = None
        self.strategy = ""

    def add(self, one: Execution, quantity: float) -> None:
        if not self.fills:
            self.opened, self.sign, self.strategy = one.ts, one.sign, one.strategy
        self.quantity += quantity
        self.most = max(self.most, self.quantity)
        self.entered += quantity
        self.entry += one.price * quantity
        self._take(one, quantity)
        self.bought += one.worth(one.price, quantity)

    def close(self, one: Execution, quantity: float) -> None:
        self.quantity -= quantity
        self.left += quantity
        self.exit += one.price * quantity
        self._take(one, quantity)
        self.sold += one.worth(one.price, quantity)

    def mark(self, price: float) -> None:
        """As if the rest were sold at a price."""
        self.left += self.quantity
        self.exit += price * self.quantity
        if self.last_one is not None:
            self.sold += self.last_one.worth(price, self.quantity)

    def _take(self, one: Execution, quantity: float) -> None:
        self.fees += one.fee * quantity / one.quantity
        self.fills += 1
        self.last = one.ts
        self.last_one = one

    def trip(self, instrument: str, ts: int, still: bool) -> Trip:
        return Trip(
            instrument=instrument,
            strategy=self.strategy,
            sign=self.sign,
            opened=self.opened,
            closed=ts,
            quantity=self.most,
            entry=self.entry / self.entered,
            exit=self.exit / self.left if self.left else math.nan,
            value=abs(self.bought),
            pnl=self.sign * (self.sold - self.bought) - self.fees,
            fees=self.fees,
            fills=self.fills,
            open=still,
        )


def costs_of(sheet: Sheet) -> Costs:
    """Gross is net with the costs added: what holding and timing brought."""
    spread = latency = impact = 0.0
    for one in sheet.executions:
        bar = one.touch == one.mid and not one.touch_then > 0
        if one.maker or bar:  # on bars the spread is assumed, and nothing else is known
            spread += one.worse(one.price, one.mid)
            continue
        at = one.touch_then if one.touch_then > 0 else one.touch
        spread += one.worse(one.touch, one.mid)
        latency += one.worse(at, one.touch)
        impact += one.worse(one.price, at)
    fees = sum(one.fee for one in sheet.executions)
    known = sheet.track.equity[np.isfinite(sheet.track.equity)]
    net = float(known[-1] - known[0]) if len(known) else math.nan
    gross = net + spread + latency + impact + fees + sheet.funding
    return Costs(gross, spread, latency, impact, fees, sheet.funding, net)


def thinned(ts: Times, values: Floats, most: int) -> tuple[list[int], list[Any]]:
    """At most about `most` points that keep every peak and trough: the first, the least, the
    greatest and the last of each stretch. Times in ms; unknown values are None, and one stands
    in each silence of the market, so that no line is drawn over it."""
    if len(ts) > 2:
        steps = np.diff(ts)
        silent = (steps > SILENT * np.median(steps)) & (steps > (ts[-1] - ts[0]) // 200)
        gaps = np.flatnonzero(silent) + 1
        ts = np.insert(ts, gaps, ts[gaps - 1] + 1)
        values = np.insert(values, gaps, np.nan)
    if len(ts) > most:
        edges = np.linspace(0, len(ts), most // 4 + 1).astype(np.int64)
        kept: set[int] = set()
        for first, past in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            part = values[first:past]
            kept |= {first, past - 1}
            unknown = ~np.isfinite(part)
            if not unknown.all():
                kept |= {first + int(np.nanargmin(part)), first + int(np.nanargmax(part))}
            if unknown.any():
                kept.add(first + int(np.argmax(unknown)))
        at = np.array(sorted(kept))
        ts, values = ts[at], values[at]
    digits = [float(f"{v:.8g}") if math.isfinite(v) else None for v in values.tolist()]
    return (ts // MILLISECOND).tolist(), digits
