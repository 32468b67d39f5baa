"""Two runs over the same boundaries: what each came to, and how sure their difference is.

Intervals are by the stationary bootstrap (Politis and Romano 1994) over boundaries: the same draw
serves both runs, so what they share cancels.
"""

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


class Interval(msgspec.Struct, frozen=True):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run's trading. Money in the numeraire; total_return and drawdown as fractions."""

    pnl: float
    total_return: float
    drawdown: float
    turnover: float
    fills: int


class Run(NamedTuple):
    """One run: equity at the start, and per span what equity, turnover and fills grew by."""

    start: float
    gains: Array
    turnover: Array
    fills: Array

    @classmethod
    def of(cls, account: Array) -> "Run":
        """From (n, 3) equity, turnover and fills at boundaries; unknown equity stays as it was."""
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
        )

    def outcome(self) -> Outcome:
        """What it came to."""
        pnl = float(self.gains.sum())
        return Outcome(
            pnl=pnl,
            total_return=pnl / self.start if self.start else 0.0,
            drawdown=float(drawdown(self.start, self.gains[None])[0]),
            turnover=float(self.turnover.sum()),
            fills=round(float(self.fills.sum())),
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
    flipped: Array, exposure: Array, clean: Run, attacked: Run, seed: int
) -> dict[str, Interval]:
    """Attacked less clean, with intervals: PnL, return, drawdown, turnover, fills, and the means of
    `flipped` and `exposure` (n,)."""
    n = len(flipped)
    sums = [flipped, exposure, *clean[1:], *attacked[1:]]
    spans = np.array([binned(values, BINS) for values in sums])
    block = max(1.0, BLOCK * spans.shape[1] / n)
    places = np.array(
        [np.arange(spans.shape[1])]
        + [
            stationary(generator(seed, "lab.impact.bootstrap", draw), spans.shape[1], block)
            for draw in range(DRAWS)
        ]
    )
    flips, apart, *runs = (values[places] for values in spans)
    gained = [runs[0].sum(axis=1), runs[3].sum(axis=1)]
    pnl = (runs[3] - runs[0]).sum(axis=1)
    returned = [
        g / r.start if r.start else g for g, r in zip(gained, (clean, attacked), strict=True)
    ]
    fall = drawdown(attacked.start, runs[3]) - drawdown(clean.start, runs[0])
    return {
        "flipped": _interval(flips.sum(axis=1) / n),
        "exposure": _interval(apart.sum(axis=1) / n),
        "pnl": _interval(pnl),
        "return": _interval(returned[1] - returned[0]),
        "drawdown": _interval(fall),
        "turnover": _interval((runs[4] - runs[1]).sum(axis=1)),
        "fills": _interval((runs[5] - runs[2]).sum(axis=1)),
    }


def _interval(values: Array) -> Interval:
    """The first value, which is the sample's own, in the percentiles of the others."""
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(values[1:], [tail, 1.0 - tail])
    own = float(values[0])
    return Interval(own, min(float(low), own), max(float(high), own))
