"""Sigma, k and A of a recorded market, from the part of a tape before a moment.

What counts is what a quote would have met: after each look at the book, how far from the mid the
trades went before the next look.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import DataError
from seawall.lab.market_making.quotes import Market
from seawall.venues.simulated import exact_state as layout
from seawall.venues.simulated.exact import Feed

LEAST_HITS = 10  # distances that fewer looks reached say more about chance than about the market
_WHAT = (1 << layout.WHAT_BITS) - 1


class Calibration(NamedTuple):
    """A market, and how well the exponential describes it.

    Attributes:
        market: sigma, k and A.
        distances: (n,) ticks from the mid. intensity: (n,) arrivals a second and side there.
        fit: share of the variance of ln intensity that the line explains, weighted as it was.
        trade_lots: median size of a trade.
    """

    market: Market
    distances: NDArray[np.float64]
    intensity: NDArray[np.float64]
    fit: float
    trade_lots: int


def calibrate(feed: Feed, until: int, every_ns: int) -> Calibration:
    """Fit the formulas' market to what our clock had told before `until`.

    Intensity at a distance is -ln(1 - p) / dt, where p is the share of looks after which a trade
    went at least so far from the mid of that look within dt; both sides count together. k and A
    are the weighted least squares line of its logarithm, each distance weighted by its hits.

    Args:
        until: ns UTC on our clock; no row after it is read. every_ns: between two looks.

    Raises:
        DataError: too few trades, or no fall of the intensity, to fit k and A to.
    """
    rows = feed.rows[layout.OURS]
    count = int(np.searchsorted(rows["ts"], until, side="right"))
    start = int(rows["ts"][0])
    times = np.arange(start, until - every_ns + 1, every_ns)
    mids = _mids(feed, times)
    what = rows["code"][:count] & _WHAT
    trades = rows[:count][(what >= layout.BOUGHT) & (what <= layout.TRADED)]
    reached = _reached(trades, mids, start, every_ns)
    distances, hits = _exceeded(reached)
    where = f"calibration on {feed.instrument.name}, {(until - start) / SECOND:.0f} s of tape"
    if len(distances) < 3:
        raise DataError(
            f"{where}: {len(distances)} of the 3 distances that k and A need were reached "
            f"{LEAST_HITS} times; give more tape, or look less often"
        )
    sides = int(2 * np.isfinite(mids).sum())
    share = np.minimum(hits / sides, 1 - 0.5 / sides)
    intensity = -np.log1p(-share) / (every_ns / SECOND)
    k, rate, fit = _exponential(distances, intensity, hits)
    if k <= 0:
        raise DataError(f"{where}: trades come no rarer away from the mid; give more tape")
    market = Market(_volatility(feed, start, until), k, rate).check()
    return Calibration(market, distances, intensity, fit, int(np.median(trades["size"])))


def _mids(feed: Feed, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mids of our book at times, in ticks; NaN while a side is missing."""
    last = np.searchsorted(feed.rows["ts"][layout.OURS], times, side="right") - 1
    levels = np.where(last[:, None] >= 0, feed.touch[last], 0)
    whole = (levels > 0).all(axis=1)
    prices = feed.prices[np.maximum(levels - 1, 0)]
    return np.where(whole, prices.sum(axis=1) / 2, np.nan)


def _reached(
    trades: NDArray[np.void], mids: NDArray[np.float64], start: int, every_ns: int
) -> NDArray[np.float64]:
    """(2, looks) furthest that buyers went above, and sellers below, the mid; -inf for nobody."""
    # a row at the very moment of a look was seen by it
    look = (trades["ts"] - start - 1) // every_ns
    kept = (look >= 0) & (look < len(mids))
    trades, look = trades[kept], look[kept]
    what = trades["code"] & _WHAT
    above = trades["price"] - mids[look]
    sold = np.where(what == layout.TRADED, above < 0, what == layout.SOLD).astype(np.int64)
    distance = np.where(sold == 1, -above, above)
    reached = np.full((2, len(mids)), -np.inf)
    known = np.isfinite(distance)
    np.maximum.at(reached, (sold[known], look[known]), distance[known])
    return reached


def _exceeded(reached: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances that trades went, and how many looks and sides saw one go so far or further.

    Up to the furthest distance with LEAST_HITS.
    """
    ordered = np.sort(reached[reached > 0])
    distances, first = np.unique(ordered, return_index=True)
    hits = len(ordered) - first
    enough = hits >= LEAST_HITS
    return distances[enough], hits[enough]


def _exponential(
    distances: NDArray[np.float64], intensity: NDArray[np.float64], hits: NDArray[np.int64]
) -> tuple[float, float, float]:
    """(k, A, share of variance explained) of the weighted line through ln intensity."""
    # ln of a count of n has a variance of about 1 / n
    weights = hits / hits.sum()
    logs = np.log(intensity)
    centre, level = float(weights @ distances), float(weights @ logs)
    spread = float(weights @ (distances - centre) ** 2)
    slope = float(weights @ ((distances - centre) * (logs - level))) / spread
    whole = float(weights @ (logs - level) ** 2)
    fit = slope**2 * spread / whole if whole > 0 else 0.0
    return -slope, float(np.exp(level - slope * centre)), fit


def _volatility(feed: Feed, start: int, until: int) -> float:
    """Of the mid, ticks per square root of a second: realised over steps of a second."""
    mids = _mids(feed, np.arange(start, until + 1, SECOND))
    steps = np.diff(mids[np.isfinite(mids)])
    return float(np.sqrt(np.mean(steps**2))) if len(steps) else 0.0
