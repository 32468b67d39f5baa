"""The verdict: the one record by which later stages speak back to admission, once per epoch."""

from enum import IntEnum

import numpy as np

EPOCH = 60_000_000_000  # ns of tape time

VERDICT = np.dtype(
    [
        ("epoch", "<i8"),  # the epoch that it is in force from
        ("instrument", "<u2"),
        ("source", "<u2"),
        ("trust", "<f8"),  # [0, 1]
        ("banned", "u1"),
        ("frozen", "u1"),  # learning is frozen
        ("low", "<i8"),  # ticks; prices that would set the touch outside [low, high] are refused
        ("high", "<i8"),
    ]
)


class GateDecision(IntEnum):
    """What a gate says of an update."""

    PASS = 0
    FREEZE = 1  # do not learn, wait
    REJECT = 2  # a source lies: roll back


OPINION = np.dtype(
    [
        ("ts", "<i8"),  # ns UTC of the row
        ("group", "<u2"),
        ("score", "<f8"),  # [-1, 1]: wanted exposure as a share of the cap
        # whatever the hostile sources did, the score without them lies in [low, high]
        ("low", "<f8"),
        ("high", "<f8"),
        ("confidence", "<f8"),  # [0, 1]
        ("age", "<f8"),  # seconds since it was formed
    ]
)


class Standing(IntEnum):
    """How a source stands."""

    TRUSTED = 0  # it votes
    SUSPENDED = 1  # trust below the minimum: its rows are refused for a while
    PROBATION = 2  # admitted again and judged, without a vote
    BANNED = 3  # until an operator says otherwise
