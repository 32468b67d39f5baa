"""VPIN of each group: how one-sided the traded volume is.

The formula and its choices: seawall/market/features/vpin_kernels.py. Here a frame is a row of the
consensus, and sigma the group's scale before it (causal).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.gating.toxicity_kernels import run
from seawall.market.features.vpin_kernels import BUCKETS, VPIN

__all__ = ["BUCKETS", "new", "run"]


def new(groups: int) -> NDArray[Any]:
    """The carry of so many groups."""
    state = np.zeros(groups, VPIN)
    state["vpin"] = np.nan
    return state
