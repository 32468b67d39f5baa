"""Exponentially weighted location and scale of returns, compiled."""

from typing import NamedTuple

import numpy as np
from numba import njit

VALID, RESET = 1, 4


class MomentsState(NamedTuple):
    """Carry by book: mean and variance of `return_` per frame, weight (how warm, 0 to 1).

    decay: (1,) share that the old value keeps each frame.
    """

    mean: np.ndarray
    variance: np.ndarray
    weight: np.ndarray
    decay: np.ndarray


@njit(cache=True)
def step(state, frame):
    """West 1979 with exponential weights; the weight removes the bias of a cold start."""
    book = frame["book"]
    if frame["flags"] & RESET:
        state.mean[book] = 0.0
        state.variance[book] = 0.0
        state.weight[book] = 0.0
    elif frame["flags"] & VALID:
        keep = state.decay[0]
        weight = keep * state.weight[book] + (1.0 - keep)
        gain = (1.0 - keep) / weight
        delta = frame["return_"] - state.mean[book]
        state.mean[book] += gain * delta
        state.variance[book] = (1.0 - gain) * (state.variance[book] + gain * delta * delta)
        state.weight[book] = weight
    frame["location"] = state.mean[book]
    frame["scale"] = np.sqrt(state.variance[book])


@njit(cache=True)
def run(state, frames):
    """A block of frames, in order."""
    for i in range(len(frames)):
        step(state, frames[i])
