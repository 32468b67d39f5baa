"""How else it could have gone: bootstraps of the returns and shuffles of the trades.

Draws are keyed by seed and number of the draw, so that more of them change none of the others.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import SettingError
from seawall.core.randomness import generator
from seawall.lab.research.performance import max_drawdown

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
PURPOSE = "lab.research.resampling"


class Interval(NamedTuple):
    """A statistic of the sample, and where `confidence` of the resamples have it (percentiles)."""

    value: float
    low: float
    high: float
    confidence: float


def block_length(returns: Array) -> float:
    """Mean block length for the stationary bootstrap of the mean (Politis, White 2004, corrected
    by Patton, Politis, White 2009), at least 1 and at most 3 sqrt(n)."""
    n = len(returns)
    centred = returns - returns.mean()
    variance = float(np.mean(centred**2))
    if n < 10 or not variance > 1e-30:
        return 1.0
    most = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    span = max(5, math.ceil(math.log10(n)))
    lags = min(math.ceil(math.sqrt(n)) + span, n - 1)
    covariance = np.array([float(centred[k:] @ centred[: n - k]) / n for k in range(lags + 1)])
    small = np.abs(covariance / variance) < 2.0 * math.sqrt(math.log10(n) / n)
    quiet = [k for k in range(1, lags - span + 2) if small[k : k + span].all()]
    if quiet:
        reach = quiet[0] - 1
    else:
        large = np.flatnonzero(~small[1:]) + 1
        reach = int(large[-1]) if len(large) else 0
    window = min(2 * max(reach, 1), lags)
    k = np.arange(-window, window + 1)
    weight = np.clip(2.0 * (1.0 - np.abs(k) / window), 0.0, 1.0)
    shape = weight * covariance[np.abs(k)]
    pull, push = float(np.sum(np.abs(k) * shape)), 2.0 * float(shape.sum()) ** 2
    if not push > 0.0:
        return 1.0
    return float(min(max((2.0 * pull**2 / push * n) ** (1.0 / 3.0), 1.0), most))


def stationary(n: int, length: float, seed: int, number: int) -> Indices:
    """(n,) indices of one resample by the stationary bootstrap (Politis, Romano 1994): blocks of
    geometric length with this mean, around the end of the sample to its start."""
    random = generator(seed, PURPOSE, number)
    fresh = random.random(n) < 1.0 / length
    starts = random.integers(0, n, n)
    at = np.maximum.accumulate(np.where(fresh, np.arange(n), 0))
    return np.asarray((starts[at] + np.arange(n) - at) % n, dtype=np.int64)


def circular(n: int, length: int, seed: int, number: int) -> Indices:
    """(n,) indices of one resample by circular blocks of one length (Politis, Romano 1992)."""
    random = generator(seed, PURPOSE, number)
    starts = random.integers(0, n, -(-n // length))
    indices = (starts[:, None] + np.arange(length)) % n
    return np.asarray(indices.reshape(-1)[:n], dtype=np.int64)


def bootstrap(
    returns: Array,
    statistic: Callable[[Array], float],
    *,
    draws: int = 1000,
    confidence: float = 0.95,
    length: float | None = None,
    seed: int = 0,
) -> Interval:
    """Interval of a statistic of returns that depend on one another.

    Args:
        statistic: of (n,) returns. length: mean block length; None: by `block_length`.
    """
    if len(returns) < 2 or draws < 2:
        raise SettingError("bootstrap: it takes two returns and two draws")
    mean = block_length(returns) if length is None else length
    found = np.array(
        [statistic(returns[stationary(len(returns), mean, seed, k)]) for k in range(draws)]
    )
    return _interval(statistic(returns), found, confidence)


class Shuffled(NamedTuple):
    """What the order of the trades had to do with it: the sum is the same in every order."""

    final: float  # equity at the end
    drawdown: Interval
    lowest: Interval  # equity


def shuffle_trades(
    trades: Array, capital: float, *, draws: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Shuffled:
    """Equity curves of the same trades in other orders.

    Args:
        trades: (n,) profits, in the money of `capital`; sizes are as they were traded.
    """
    if not len(trades) or draws < 2:
        raise SettingError("shuffle: it takes one trade and two draws")
    own = capital + np.cumsum(trades)
    falls, lows = np.empty(draws), np.empty(draws)
    for number in range(draws):
        order = generator(seed, f"{PURPOSE}.shuffle", number).permutation(len(trades))
        curve = capital + np.cumsum(trades[order])
        falls[number], lows[number] = max_drawdown(curve, capital), min(capital, curve.min())
    return Shuffled(
        float(own[-1]),
        _interval(max_drawdown(own, capital), falls, confidence),
        _interval(min(capital, float(own.min())), lows, confidence),
    )


def _interval(value: float, found: Array, confidence: float) -> Interval:
    known = found[np.isfinite(found)]
    if not len(known):
        return Interval(value, math.nan, math.nan, confidence)
    low, high = np.quantile(known, [0.5 - confidence / 2.0, 0.5 + confidence / 2.0])
    return Interval(value, float(low), float(high), confidence)
