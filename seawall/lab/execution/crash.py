"""The model of a crash: its path, its book, and how the book recovers from what we take of it.

docs/execution-results.md has the model on a page. Paths are bridged from recorded bars, or are
recorded books that are scaled to fall; books are ten bands of depth fitted to recorded ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.errors import DataError
from seawall.core.randomness import generator
from seawall.execution.fallback import EDGES
from seawall.execution.fallback_kernels import band_levels
from seawall.lab.execution.recording import Desk, Recording
from seawall.venues.simulated.shape import VenueShape

STEP = 100 * MILLISECOND
PER_SECOND = SECOND // STEP
BANDS = len(EDGES)
CALM_WINDOW = 10 * PER_SECOND  # steps over which the volatility of the moment is taken
THINNEST = 0.02  # of the usual depth, however wild it is
RAMP = 60 * SECOND  # of a scaled tape
FALL = 0.10

Floats = NDArray[np.float64]


class Fitted(NamedTuple):
    """Recorded books in brief.

    Attributes:
        offset: (10,) mean distance of each band from the mid, as a share of it.
        size: (10,) median lots of each band over the median at the touch.
        volatility: median standard deviation of the relative change in a second.
        excess: excess kurtosis of changes of a second, median over recordings.
        half_life: seconds until half of what a trade took near the touch is back.
    """

    offset: Floats
    size: Floats
    volatility: float
    excess: float
    half_life: float


class Scene(NamedTuple):
    """A market in which a stop is triggered somewhere.

    Attributes:
        kind: ``bridged`` or ``scaled``. mid: (steps,) quote units, one each 100 ms.
        offset: (steps or 1, 10) distances of the bids. size: (steps or 1, 10) over the usual touch.
        usual: standard deviation of a second's change in calm times.
    """

    name: str
    kind: str
    mid: Floats
    offset: Floats
    size: Floats
    usual: float


def thinned(scene: Scene) -> Floats:
    """(steps,) share of the depth that is there: the usual volatility over that of the last ten
    seconds, at most 1: quoted depth falls as volatility rises, so that the risk of a quote stays.
    """
    now = volatility(scene.mid)
    with np.errstate(divide="ignore"):
        share = np.where(now > 0, scene.usual / now, 1.0)
    return np.clip(share, THINNEST, 1.0)


def volatility(mid: Floats) -> Floats:
    """(steps,) root mean square change per square root of a second, over the last ten seconds."""
    moves = np.diff(np.log(mid), prepend=np.log(mid[0]))
    total = np.cumsum(moves**2)
    before = np.concatenate([np.zeros(CALM_WINDOW), total[:-CALM_WINDOW]])[: len(total)]
    lived = np.minimum(np.arange(1, len(total) + 1), CALM_WINDOW) / PER_SECOND
    return np.asarray(np.sqrt(np.maximum(total - before, 0.0) / lived))


def fall(mid: Floats, at: int) -> float:
    """Relative fall per second over the ten seconds before a step; below 0 where it rose."""
    first = max(0, at - CALM_WINDOW)
    return float(np.log(mid[first] / mid[at])) / max(1, at - first) * PER_SECOND


def banded(recording: Recording) -> tuple[NDArray[np.int64], Floats, Floats]:
    """(ts, mid, bands): each 100 ms ns UTC, ticks (NaN where none) and (2, 10, 2) of the book."""
    times = np.arange(-(-recording.start // STEP) * STEP, recording.end, STEP)
    desk = Desk(recording, VenueShape())
    mids = np.full(len(times), np.nan)
    bands = np.zeros((len(times), 2, BANDS, 2))
    for k, ts in enumerate(times.tolist()):
        desk.advance(ts)
        mid = band_levels(desk.venue.engine.desk.floor.ladders[0], EDGES, bands[k])
        mids[k] = mid if mid > 0 else np.nan
    return times, mids, bands


class Banded(NamedTuple):
    """A recording and its bands, as `banded` gives them, where the book is whole."""

    recording: Recording
    ts: NDArray[np.int64]
    mid: Floats
    bands: Floats


def prepared(recording: Recording) -> Banded:
    """The recording's bands, without moments at which a side is missing."""
    ts, mid, bands = banded(recording)
    whole = np.isfinite(mid)
    return Banded(recording, ts[whole], mid[whole], bands[whole])


def fit(books: Sequence[Banded]) -> Fitted:
    """The model's figures of some recorded books.

    Raises:
        DataError: there are none, or they are shorter than a minute.
    """
    if not books or min(len(book.ts) for book in books) < 60 * PER_SECOND:
        raise DataError("a crash needs recorded books of a minute or more to be fitted to")
    offsets, sizes, volatility, excess = [], [], [], []
    for book in books:
        offsets.append(np.median(book.bands[:, :, :, 0], axis=(0, 1)))
        sizes.append(np.median(book.bands[:, :, :, 1], axis=(0, 1)) / book.recording.touch)
        moves = np.diff(np.log(book.mid[::PER_SECOND]))
        volatility.append(float(np.sqrt(np.mean(moves**2))))
        excess.append(float(np.mean(moves**4) / np.mean(moves**2) ** 2 - 3.0))
    half_lives = [found for book in books if np.isfinite(found := resilience(book))]
    return Fitted(
        np.sort(np.median(offsets, axis=0)),
        np.median(sizes, axis=0),
        float(np.median(volatility)),
        max(0.0, float(np.median(excess))),
        float(np.median(half_lives)) if half_lives else float("nan"),
    )


def resilience(book: Banded, near: int = 4, lost: float = 0.5, ahead: int = 20) -> float:
    """Seconds until half of a sudden loss of depth near the touch is back; NaN with few losses.

    A loss is a step in which the lots of the first `near` bands of a side fall by more than `lost`;
    how much of it is back is averaged over all losses, `ahead` seconds on.
    """
    depth = book.bands[:, :, :near, 1].sum(axis=2)
    span = ahead * PER_SECOND
    back: list[Floats] = []
    for side in range(2):
        series = depth[:, side]
        before, after = series[:-1], series[1:]
        at = np.flatnonzero((after < (1 - lost) * before) & (before > 0)) + 1
        at = at[at + span < len(series)]
        last = -span
        for k in at.tolist():
            if k - last >= PER_SECOND:  # one loss is counted once
                gone = series[k - 1] - series[k]
                back.append((series[k : k + span] - series[k]) / gone)
                last = k
    if len(back) < 10:
        return float("nan")
    middle = np.median(back, axis=0)
    over = np.flatnonzero(middle >= 0.5)
    return float(over[0] / PER_SECOND) if len(over) else float(ahead)


def bridged(name: str, bar: Sequence[float], span: int, fitted: Fitted, seed: int) -> Scene:
    """A path through a bar's open, high, low and close, a step each 100 ms.

    A variance-gamma bridge (Madan, Carr and Chang, 1998): a Brownian bridge between the four prices
    on a clock of gamma steps, whose kurtosis in a second is the recorded one; what would leave
    [low, high] is reflected. The low comes after the high where the bar fell, else before it; the
    times of both are drawn evenly. The bridge's variance is the bar's: ln(high / low)^2 / (4 ln 2)
    (Parkinson, 1980).

    Args:
        bar: open, high, low, close. span: ns.

    Raises:
        DataError: the bar's prices do not make sense.
    """
    opened, high, low, close = (float(value) for value in bar)
    if not 0 < low <= min(opened, close) <= max(opened, close) <= high:
        raise DataError(f"{name}: open, high, low and close {list(bar)} do not fit together")
    draws = generator(seed, "crash.bridge", name)
    steps = int(span // STEP)
    shape = 1.0 / max(fitted.excess / 3.0 * PER_SECOND, 1e-3)  # of the gamma law of one step
    clock = draws.gamma(shape, size=steps) + 1e-12
    first, second = sorted(draws.choice(np.arange(1, steps - 1), 2, replace=False).tolist())
    extremes = (high, low) if close < opened else (low, high)
    prices = np.log([opened, *extremes, close])
    knots = [0, first, second, steps]
    sigma2 = np.log(high / low) ** 2 / (4.0 * np.log(2.0)) / clock.sum()
    path = np.empty(steps + 1)
    for k in range(3):
        a, b = knots[k], knots[k + 1]
        ticks = clock[a:b]
        walk = np.concatenate([[0.0], np.cumsum(draws.standard_normal(b - a) * np.sqrt(ticks))])
        share = np.concatenate([[0.0], np.cumsum(ticks)]) / ticks.sum()
        line = prices[k] + (prices[k + 1] - prices[k]) * share
        path[a : b + 1] = line + np.sqrt(sigma2) * (walk - share * walk[-1])
    mid = np.exp(_reflected(path, np.log(low), np.log(high)))
    offset, size = fitted.offset[None, :], fitted.size[None, :]
    return Scene(name, "bridged", mid, offset, size, fitted.volatility)


def _reflected(path: Floats, low: float, high: float) -> Floats:
    """The path folded back at both ends."""
    width = max(high - low, 1e-12)
    folded = np.abs(np.mod(path - low + width, 2 * width) - width)
    return np.asarray(low + folded)


def ramp(ts: NDArray[np.int64], start: int, fallen: float = FALL) -> Floats:
    """(n,) factor on prices: evenly in logarithms, down to 1 - fallen a minute after `start`."""
    share = np.clip((ts - start) / RAMP, 0.0, 1.0)
    return np.asarray(np.exp(np.log1p(-fallen) * share))


def scaled(book: Banded, start: int, share: float = FALL) -> Scene:
    """A recorded book whose prices fall by a share within a minute from `start` (ns UTC) on.

    It begins ten seconds before, so that the volatility of the moment is known.
    """
    first = max(0, int(np.searchsorted(book.ts, start)) - CALM_WINDOW)
    factor = ramp(book.ts, start, share) * book.recording.instrument.tick_float
    moves = np.diff(np.log(book.mid[::PER_SECOND]))
    return Scene(
        f"{book.recording.name}/{start // SECOND}",
        "scaled",
        (book.mid * factor)[first:],
        book.bands[first:, 0, :, 0],
        book.bands[first:, 0, :, 1] / book.recording.touch,
        float(np.sqrt(np.mean(moves**2))),
    )


def starts_in(book: Banded, every: int) -> list[int]:
    """Ns UTC: starts of falls that leave ten seconds before and two minutes behind them."""
    first, last = int(book.ts[0]) + 10 * SECOND, int(book.ts[-1]) - RAMP - 65 * SECOND
    return list(range(first, last, every))


class Bar(NamedTuple):
    """A recorded bar that crashed. name: its time, UTC. prices: open, high, low, close."""

    name: str
    prices: tuple[float, float, float, float]
    span: int


def crashed(
    ts: NDArray[np.int64], prices: Floats, span: int, days: Sequence[str], deep: float = 0.04
) -> list[Bar]:
    """Bars of some days whose low is further below their open than `deep`.

    Args:
        ts: (bars,) ns UTC, open times. prices: (bars, 4) open, high, low, close. span: ns of a bar.
        days: such as ``2020-03-12``.

    Raises:
        DataError: there is none.
    """
    times = ts.astype("datetime64[ns]")
    day = times.astype("datetime64[D]")
    chosen = np.isin(day, np.array(days, "datetime64[D]")) & (
        prices[:, 2] < (1 - deep) * prices[:, 0]
    )
    if not chosen.any():
        raise DataError(
            f"no bar of {', '.join(days)} fell by {deep:.0%} or more; give bars of these days"
        )
    return [
        Bar(str(times[k].astype("datetime64[m]")), tuple(prices[k].tolist()), span)
        for k in np.flatnonzero(chosen).tolist()
    ]
