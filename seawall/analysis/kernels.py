"""EWMA volatility and its regime, compiled."""

from typing import NamedTuple

import numpy as np
from numba import njit

VALID, RESET = 1, 4
UNKNOWN, LOW_VOL, NORMAL_VOL, HIGH_VOL, EXTREME_VOL = range(5)
WARM = 0.5  # share of a full window after which the regime is named


class VolatilityState(NamedTuple):
    """Carry by book: variance of return_ per frame and its weight (0 to 1).

    shape: [decay, frames per year, low, high, extreme] with annualised volatilities as bounds.
    """

    variance: np.ndarray
    weight: np.ndarray
    shape: np.ndarray


@njit(cache=True)
def step(state, frame):
    """EWMA of squared returns about zero (RiskMetrics 1996), annualised; then the regime."""
    book = frame["book"]
    if frame["flags"] & RESET:
        state.variance[book] = 0.0
        state.weight[book] = 0.0
    elif frame["flags"] & VALID:
        keep = state.shape[0]
        weight = keep * state.weight[book] + (1.0 - keep)
        gain = (1.0 - keep) / weight
        state.variance[book] += gain * (frame["return_"] * frame["return_"] - state.variance[book])
        state.weight[book] = weight
    volatility = np.sqrt(state.variance[book] * state.shape[1])
    frame["volatility"] = volatility
    if state.weight[book] < WARM:
        frame["regime"] = UNKNOWN
    elif volatility >= state.shape[4]:
        frame["regime"] = EXTREME_VOL
    elif volatility >= state.shape[3]:
        frame["regime"] = HIGH_VOL
    elif volatility < state.shape[2]:
        frame["regime"] = LOW_VOL
    else:
        frame["regime"] = NORMAL_VOL


@njit(cache=True)
def run(state, frames):
    """A block of frames, in order."""
    for i in range(len(frames)):
        step(state, frames[i])
