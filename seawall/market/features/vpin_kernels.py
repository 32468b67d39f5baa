"""VPIN, compiled: traded volume into equal buckets, and how one-sided the last buckets are.

Easley, Lopez de Prado and O'Hara 2012 (RFS 25): V_buy = V Phi(dP / sigma) (bulk classification),
VPIN = mean |V_sell - V_buy| / V over the last buckets. A bucket is FRAMES frames' EWMA volume when
it begins; a frame's volume is spread over buckets pro rata.
"""

import math

import numpy as np
from numba import njit

BUCKETS = 50
FRAMES = 20.0  # of usual volume in a bucket
DECAY = 1.0 - 1.0 / 600.0  # of the usual volume, per frame

VPIN = np.dtype(
    [
        ("usual", "<f8"),  # EWMA of volume per frame
        ("weight", "<f8"),
        ("size", "<f8"),  # of the bucket under way, 0 before the first
        ("filled", "<f8"),
        ("one_sided", "<f8"),  # buys - sells of the bucket under way
        ("buckets", "<i8"),  # ever filled
        ("ring", "<f8", (BUCKETS,)),  # |buys - sells| / size
        ("vpin", "<f8"),  # NaN until all buckets are filled once
    ]
)


@njit(cache=True)
def begin(state):
    """No volume has been seen."""
    state["usual"] = 0.0
    state["weight"] = 0.0
    state["size"] = 0.0
    state["filled"] = 0.0
    state["one_sided"] = 0.0
    state["buckets"] = 0
    state["vpin"] = np.nan


@njit(cache=True)
def close_bucket(state):
    """A bucket is full: VPIN over the last ones."""
    state["ring"][state["buckets"] % BUCKETS] = abs(state["one_sided"]) / state["size"]
    state["buckets"] += 1
    state["filled"] = 0.0
    state["one_sided"] = 0.0
    state["size"] = FRAMES * state["usual"]
    if state["buckets"] >= BUCKETS:
        total = 0.0
        for i in range(BUCKETS):
            total += state["ring"][i]
        state["vpin"] = total / BUCKETS


@njit(cache=True)
def step(state, volume, change, scale):
    """One frame: its volume > 0, and its price change, whose causal scale is `scale` > 0."""
    state["weight"] = DECAY * state["weight"] + (1.0 - DECAY)
    state["usual"] += (1.0 - DECAY) / state["weight"] * (volume - state["usual"])
    if state["size"] <= 0.0:
        state["size"] = FRAMES * state["usual"]
    buys = 0.5 * (1.0 + math.erf(change / scale / math.sqrt(2.0)))
    left = min(volume, BUCKETS * state["size"])
    while left > 0.0:
        part = min(left, state["size"] - state["filled"])
        state["filled"] += part
        state["one_sided"] += part * (2.0 * buys - 1.0)
        left -= part
        if state["filled"] >= state["size"] * (1.0 - 1e-12):
            close_bucket(state)


@njit(cache=True)
def run(state, volumes, changes, scales):
    """A block of frames of one book or group."""
    for i in range(len(volumes)):
        step(state, volumes[i], changes[i], scales[i])
