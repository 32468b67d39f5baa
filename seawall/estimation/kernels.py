"""Exponentially weighted location and scale of the consensus return, compiled, with bounds."""

from typing import NamedTuple

import numpy as np
from numba import njit

VALID, RESET = 1, 4
RETURN = 0
REACH = 8.0  # a return counts for at most so many scales
MOST = 1.0  # variance per frame beyond which a bound is not followed
LEAST = 1e-12  # variance per frame that it is taken for at least: else no scale leaves zero
SETTLED = 0.1  # share of a full window from which it is held to that


class MomentsState(NamedTuple):
    """Carry by group: mean and variance of the return per frame, bounds of the variance, weight.

    The bounds hold the variance that the clean run has (DEFINITIONS 13). weight: how warm, 0 to 1.
    decay: (1,) share that the old value keeps each frame.
    """

    mean: np.ndarray
    variance: np.ndarray
    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray
    decay: np.ndarray


@njit(cache=True)
def held(square, variance, settled):
    """The squared return, at most REACH scales' worth; nondecreasing in both arguments."""
    return min(square, REACH * REACH * max(variance, LEAST)) if settled else square


@njit(cache=True)
def step(state, row):
    """West 1979 about zero mean with exponential weights; the weight removes a cold start's bias.

    The update of the variance is nondecreasing in the variance and in the squared return, so its
    interval follows from the ends of theirs.
    """
    group = row["group"]
    row["factor"] = np.sqrt(state.variance[group])
    row["factor_low"] = np.sqrt(state.low[group])
    row["factor_high"] = np.sqrt(state.high[group])
    if row["flags"] & VALID and not row["flags"] & RESET:
        keep = state.decay[0]
        weight = keep * state.weight[group] + (1.0 - keep)
        gain = (1.0 - keep) / weight
        settled = state.weight[group] >= SETTLED
        value = row["value"][RETURN]
        from_, to = row["low"][RETURN], row["high"][RETURN]
        least = 0.0 if from_ <= 0.0 <= to else min(from_ * from_, to * to)
        most = max(from_ * from_, to * to)
        if not settled and not np.isfinite(most):
            most = value * value
        state.mean[group] += gain * (value - state.mean[group])
        state.low[group] += gain * (held(least, state.low[group], settled) - state.low[group])
        high = state.high[group]
        state.high[group] = min(MOST, high + gain * (held(most, high, settled) - high))
        variance = state.variance[group]
        state.variance[group] += gain * (held(value * value, variance, settled) - variance)
        state.weight[group] = weight
    row["location"] = state.mean[group]
    row["scale"] = np.sqrt(state.variance[group])
    row["scale_low"] = np.sqrt(state.low[group])
    row["scale_high"] = np.sqrt(state.high[group])


@njit(cache=True)
def run(state, rows):
    """A block of CONSENSUS rows, in order."""
    for i in range(len(rows)):
        step(state, rows[i])
