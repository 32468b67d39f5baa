"""VPIN of a group, compiled: traded volume into buckets, and how one-sided the buckets are.

The formula and the choices: seawall/gating/toxicity.py.
"""

import math

import numpy as np
from numba import njit

VALID = 1
BUCKETS = 50
FRAMES = 20.0  # of usual volume in a bucket
DECAY = 1.0 - 1.0 / 600.0  # of the usual volume, per frame

TOXICITY = np.dtype(
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
def step(state, row):
    """One CONSENSUS row: its volume into the buckets; fills in its `vpin`."""
    volume = row["volume"]
    if row["flags"] & VALID and volume > 0.0 and row["factor"] > 0.0:
        state["weight"] = DECAY * state["weight"] + (1.0 - DECAY)
        state["usual"] += (1.0 - DECAY) / state["weight"] * (volume - state["usual"])
        if state["size"] <= 0.0:
            state["size"] = FRAMES * state["usual"]
        buys = 0.5 * (1.0 + math.erf(row["value"][0] / row["factor"] / math.sqrt(2.0)))
        left = min(volume, BUCKETS * state["size"])
        while left > 0.0:
            part = min(left, state["size"] - state["filled"])
            state["filled"] += part
            state["one_sided"] += part * (2.0 * buys - 1.0)
            left -= part
            if state["filled"] >= state["size"] * (1.0 - 1e-12):
                close_bucket(state)
    row["vpin"] = state["vpin"]


@njit(cache=True)
def run(states, rows):
    """A block of CONSENSUS rows, in order; states: (groups,)."""
    for i in range(len(rows)):
        step(states[rows[i]["group"]], rows[i])
