"""Compiled rules of the strategies that come along."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

VALID, RESET = 1, 4  # core.frames.FrameFlag


class CrossState(NamedTuple):
    """Carry of the moving-average cross: the last prices of each group, and sums over them."""

    seen: NDArray[np.int64]  # usable rows since the last reset
    prices: NDArray[np.float64]  # (groups, slow) ring
    fast: NDArray[np.float64]
    slow: NDArray[np.float64]


@njit(cache=True)
def cross_step(row: Any, fast: int, slow: int, band: float, short: float, state: Any) -> float:
    """1 where the mean of the last `fast` prices stands above that of `slow`, `short` below it.

    Within `band` (fraction) of each other, and before `slow` prices are there, NaN.
    """
    group = row["group"]
    if row["flags"] & RESET:
        state.seen[group] = 0
    price = row["price"]
    if not row["flags"] & VALID or not 0.0 < price < np.inf:
        return np.nan
    seen = state.seen[group]
    ring = state.prices[group]
    if seen == 0:
        state.fast[group] = 0.0
        state.slow[group] = 0.0
    at = seen % slow
    if seen >= slow:
        state.slow[group] -= ring[at]
    if seen >= fast:
        state.fast[group] -= ring[(seen - fast) % slow]
    ring[at] = price
    state.fast[group] += price
    state.slow[group] += price
    state.seen[group] = seen + 1
    if seen + 1 < slow:
        return np.nan
    apart = (state.fast[group] / fast) / (state.slow[group] / slow) - 1.0
    if apart > band:
        return 1.0
    return short if apart < -band else np.nan


@njit(cache=True)
def cross_run(
    rows: Any, fast: int, slow: int, band: float, short: float, state: Any, exposures: Any
) -> None:
    """`cross_step` for a block of CONSENSUS rows, into `exposures` (same length)."""
    for i in range(len(rows)):
        exposures[i] = cross_step(rows[i], fast, slow, band, short, state)
