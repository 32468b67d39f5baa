"""Two runs over the same boundaries: what each came to, and how sure their difference is.

Intervals are by the stationary bootstrap (Politis and Romano 1994) over boundaries: the same draw
serves both runs, so what they share cancels.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.randomness import generator

Array = NDArray[np.float64]
DRAWS = 400
BLOCK = 120.0  # mean length of a block, boundaries: twice the least time that a position is held
BINS = 2048  # longer runs are summed up to so many spans first
LEVEL = 0.95
MOST_RATIO = 1e9  # stands for infinite
SLACK = 1e-9  # a ratio to a bound may be this much more than 1: rounding
TINY = 1e-12  # a difference up to this is rounding


def ratio(difference: float, bound: float) -> float:
    """A difference over its bound; 0 where there is none, MOST_RATIO where there must be none."""
    if difference <= TINY:
        return 0.0
    return min(MOST_RATIO, difference / bound) if bound > 0.0 else MOST_RATIO


class Interval(msgspec.Struct, frozen=True):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run's trading. Money in the numeraire; total_return and drawdown as fractions.

    Attributes:
        turnover: value of all trades; turns: over the equity at the start.
        round_trips: positions that were opened and are closed, or turned, again.
    """

    pnl: float
    total_return: float
    drawdown: float
    turnover: float
    turns: float
    fills: int
    round_trips: int


class Run(NamedTuple):
    """One run: equity at the start, and per span what equity, turnover, fills and round trips grew
    by."""

    start: float
    gains: Array
    turnover: Array
    fills: Array
    trips: Array

    @classmethod
    def of(cls, account: Array) -> "Run":
        """From (n, 4): equity, turnover and fills at boundaries, round trips since the one before.

        Unknown equity stays as it was.
        """
        equity = account[:, 0]
        known = np.isfinite(equity)
        first = float(equity[known][0]) if known.any() else 0.0
        last = np.maximum.accumulate(np.where(known, np.arange(len(equity)), -1))
        equity = np.where(last >= 0, equity[last], first)
        return cls(
            first,
            np.diff(equity, prepend=first),
            np.diff(account[:, 1], prepend=0.0),
            np.diff(account[:, 2], prepend=0.0),
            account[:, 3],
        )

    def outcome(self) -> Outcome:
        """What it came to."""
        pnl, turnover = float(self.gains.sum()), float(self.turnover.sum())
        return Outcome(
            pnl=pnl,
            total_return=pnl / self.start if self.start else 0.0,
            drawdown=float(drawdown(self.start, self.gains[None])[0]),
            turnover=turnover,
            turns=turnover / self.start if self.start else 0.0,
            fills=round(float(self.fills.sum())),
            round_trips=round(float(self.trips.sum())),
        )


def drawdown(start: float, gains: Array) -> Array:
    """(n,) largest fall from a peak as a fraction of it, of (n, spans) gains."""
    equity = start + np.cumsum(gains, axis=1)
    peak = np.maximum(start, np.maximum.accumulate(equity, axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.where(peak > 0.0, (peak - equity) / peak, 0.0).max(axis=1)
    return found


def stationary(random: np.random.Generator, n: int, block: float) -> NDArray[np.int64]:
    """(n,) places of one draw: blocks of geometric length with mean `block`, wrapped around."""
    fresh = random.random(n) < 1.0 / block
    fresh[0] = True
    begins = np.maximum.accumulate(np.where(fresh, np.arange(n), 0))
    starts = random.integers(0, n, n)
    return np.asarray((starts[begins] + np.arange(n) - begins) % n, np.int64)


def binned(values: Array, most: int) -> Array:
    """Sums over consecutive spans, `most` of them at most."""
    size = -(-len(values) // most)
    return np.asarray(np.add.reduceat(values, np.arange(0, len(values), size)), np.float64)


def differences(
    shares: Mapping[str, Array], clean: Run, attacked: Run, seed: int
) -> dict[str, Interval]:
    """Attacked less clean, with intervals: PnL, return, drawdown, turnover, fills, round trips; and
    the means of `shares`, name → (n,)."""
    n = len(clean.gains)
    spans = {name: binned(values, BINS) for name, values in shares.items()}
    before, after = (
        [binned(values, BINS) for values in (run.gains, run.turnover, run.fills, run.trips)]
        for run in (clean, attacked)
    )
    count = len(before[0])
    block = max(1.0, BLOCK * count / n)
    places = np.array(
        [np.arange(count)]
        + [
            stationary(generator(seed, "lab.impact.bootstrap", draw), count, block)
            for draw in range(DRAWS)
        ]
    )
    found = {name: _interval(values[places].sum(axis=1) / n) for name, values in spans.items()}
    gains = [before[0][places], after[0][places]]
    returned = [
        g.sum(axis=1) / run.start if run.start else g.sum(axis=1)
        for g, run in zip(gains, (clean, attacked), strict=True)
    ]
    found["pnl"] = _interval((gains[1] - gains[0]).sum(axis=1))
    found["return"] = _interval(returned[1] - returned[0])
    fall = drawdown(attacked.start, gains[1]) - drawdown(clean.start, gains[0])
    found["drawdown"] = _interval(fall)
    for at, name in enumerate(("turnover", "fills", "round_trips"), 1):
        found[name] = _interval((after[at] - before[at])[places].sum(axis=1))
    return found


def _interval(values: Array) -> Interval:
    """The first value, which is the sample's own, in the percentiles of the others."""
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(values[1:], [tail, 1.0 - tail])
    own = float(values[0])
    return Interval(own, min(float(low), own), max(float(high), own))
