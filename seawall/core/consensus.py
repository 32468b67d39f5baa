"""What the sources of one asset agree on: one row per consensus group and cadence tick.

The panel beside it holds what each source said; both sides of an attack look at the same shapes.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Each is taken over the last HORIZON of the source's frames: sources that differ by a moment, or by
# a single trade, then still say the same.
FEATURES = (
    "return",  # logarithm of the value over the value HORIZON ago, for one frame
    "position",  # of the value between the lowest and the highest of that time, in [-1, 1]
    "micro",  # mean of (micro-price - mid) / mid
    "imbalance",  # mean at the touch, in [-1, 1]
    "imbalance_5",  # mean over five levels a side, in [-1, 1]
    "ofi",  # mean order-flow imbalance over the size at the touch, each held in [-1, 1]
    "flow",  # (buys - sells) / (buys + sells) of what was traded, in [-1, 1]
    "spread",  # logarithm of the mean of (ask - bid) / mid, 0 for bars
)
WIDTH = len(FEATURES)
HORIZON = 10_000_000_000  # ns, or one frame where that is longer
SCALED = 1  # the first so many features are measured in units of the market's own volatility
# The panel has two columns more: the logarithm of the source's value, and what it says was traded.
LEVEL, VOLUME = WIDTH, WIDTH + 1
PANEL_WIDTH = WIDTH + 2

CONSENSUS = np.dtype(
    [
        ("ts", "<i8"),  # ns UTC, the boundary
        ("index", "<i8"),  # number of the boundary since the start of the tape
        ("tape", "<i8"),  # rows of the tape seen when it closed
        ("group", "<u2"),
        ("flags", "<u2"),  # FrameFlag: VALID, RESET, BAR, UNCORROBORATED
        ("votes", "<i4"),  # sources that voted
        ("excluded", "<i4"),  # registered sources that may not vote, by the verdict
        # Each value is the median of the sources; the clean one lies in [low, high] whatever the
        # hostile sources said (DEFINITIONS 13), infinite where nothing can be said.
        ("price", "<f8"),  # numeraire units; 0 where nobody votes
        ("price_low", "<f8"),
        ("price_high", "<f8"),
        ("volume", "<f8"),  # base units
        ("value", "<f8", (WIDTH,)),
        ("low", "<f8", (WIDTH,)),
        ("high", "<f8", (WIDTH,)),
        # estimation: EWMA of the return per frame; `factor` is the scale before this frame
        ("location", "<f8"),
        ("scale", "<f8"),
        ("scale_low", "<f8"),
        ("scale_high", "<f8"),
        ("factor", "<f8"),
        ("factor_low", "<f8"),
        ("factor_high", "<f8"),
        # gating: the adaptive model in force, in the features' own units
        # (the first SCALED features over `factor`)
        ("mean", "<f8", (WIDTH,)),
        ("mean_bound", "<f8", (WIDTH,)),  # how far an attacker can have moved it
        ("vpin", "<f8"),  # share of one-sided volume, in [0, 1]
        ("gate", "u1"),  # core.verdicts.GateDecision
        # analysis
        ("regime", "u1"),  # core.frames.Regime
        ("volatility", "<f8"),  # annualised EWMA volatility, fraction
        ("volatility_low", "<f8"),
        ("volatility_high", "<f8"),
    ]
)


def column_of(feature: str) -> str:
    """What a feature's column is called on a row: its name, or `book_NAME` where a row has that."""
    return f"book_{feature}" if feature in (CONSENSUS.names or ()) else feature


@lru_cache(maxsize=64)
def with_features(features: tuple[str, ...]) -> np.dtype[Any]:
    """CONSENSUS with a column of float64 for each feature behind it; CONSENSUS itself for none."""
    if not features:
        return CONSENSUS
    return np.dtype([*CONSENSUS.descr, *((column_of(name), "<f8") for name in features)])


def narrowed(rows: NDArray[Any], features: Sequence[str]) -> NDArray[Any]:
    """The rows with the columns of these features and no others; themselves where they are so."""
    wanted = with_features(tuple(features))
    if rows.dtype == wanted:
        return rows
    made = np.empty(len(rows), wanted)
    for name in wanted.names or ():
        made[name] = rows[name]
    return made


def joined(rows: NDArray[Any], features: Sequence[str]) -> NDArray[Any]:
    """CONSENSUS rows with a column for each feature, NaN as long as nobody writes it."""
    made = np.empty(len(rows), with_features(tuple(features)))
    for name in made.dtype.names or ():
        made[name] = rows[name] if name in (rows.dtype.names or ()) else np.nan
    return made
