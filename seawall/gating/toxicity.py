"""VPIN of each group: how one-sided the traded volume is.

Easley, Lopez de Prado and O'Hara 2012 (RFS 25): buckets of equal volume, split by bulk
classification, V_buy = V Phi(dP / sigma); VPIN = mean |V_sell - V_buy| / V over the last buckets.
Choices: sigma is the scale before the frame (causal), Phi the normal distribution, a frame's volume
is spread over buckets pro rata, the bucket is FRAMES frames' EWMA volume when it begins.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.gating.toxicity_kernels import BUCKETS, TOXICITY, run

__all__ = ["BUCKETS", "new", "run"]


def new(groups: int) -> NDArray[Any]:
    """The carry of so many groups."""
    state = np.zeros(groups, TOXICITY)
    state["vpin"] = np.nan
    return state
