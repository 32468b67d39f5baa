"""EWMA volatility and its regime, compiled, with the bounds that an attacker is held to."""

from typing import NamedTuple

import numpy as np
from numba import njit

VALID, RESET = 1, 4
RETURN = 0
UNKNOWN, LOW_VOL, NORMAL_VOL, HIGH_VOL, EXTREME_VOL = range(5)
WARM = 0.5  # share of a full window after which the regime is named
REACH = 0.1  # a frame's return counts for at most this much


class VolatilityState(NamedTuple):
    """Carry by group: variance of the return per frame, its bounds and its weight (0 to 1).

    shape: [decay, frames per year, low, high, extreme] with annualised volatilities as bounds.
    """

    variance: np.ndarray
    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray
    shape: np.ndarray


@njit(cache=True)
def regime_of(shape, volatility):
    """The regime of an annualised volatility."""
    if volatility >= shape[4]:
        return EXTREME_VOL
    if volatility >= shape[3]:
        return HIGH_VOL
    return LOW_VOL if volatility < shape[2] else NORMAL_VOL


@njit(cache=True)
def clip(value):
    """The return, held in [-REACH, REACH]."""
    return min(REACH, max(-REACH, value))


@njit(cache=True)
def step(state, row):
    """EWMA of squared returns about zero (RiskMetrics 1996), annualised; then the regime."""
    group = row["group"]
    if row["flags"] & VALID and not row["flags"] & RESET:
        keep = state.shape[0]
        weight = keep * state.weight[group] + (1.0 - keep)
        gain = (1.0 - keep) / weight
        value = clip(row["value"][RETURN])
        low, high = clip(row["low"][RETURN]), clip(row["high"][RETURN])
        least = 0.0 if low <= 0.0 <= high else min(low * low, high * high)
        most = max(low * low, high * high)
        state.variance[group] += gain * (value * value - state.variance[group])
        state.low[group] += gain * (least - state.low[group])
        state.high[group] += gain * (most - state.high[group])
        state.weight[group] = weight
    year = state.shape[1]
    row["volatility"] = np.sqrt(state.variance[group] * year)
    row["volatility_low"] = np.sqrt(state.low[group] * year)
    row["volatility_high"] = np.sqrt(state.high[group] * year)
    warm = state.weight[group] >= WARM
    row["regime"] = regime_of(state.shape, row["volatility"]) if warm else UNKNOWN


@njit(cache=True)
def run(state, rows):
    """A block of CONSENSUS rows, in order."""
    for i in range(len(rows)):
        step(state, rows[i])
