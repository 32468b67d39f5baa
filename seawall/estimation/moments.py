"""How large is normal: EWMA location and scale of each group's consensus return."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.estimation import kernels


class MomentsShape(msgspec.Struct, frozen=True, kw_only=True):
    """`halflife_s`: seconds after which an observation counts half."""

    halflife_s: float = 300.0


LEAST_FRAMES = 32  # a half-life is at least so many frames long, whatever the cadence (bars)


def decay(halflife_s: float, cadence_ns: int) -> float:
    """The share that an EWMA keeps from one frame to the next."""
    cadence_s = cadence_ns * 1e-9
    return float(0.5 ** (cadence_s / max(halflife_s, LEAST_FRAMES * cadence_s)))


class Moments:
    """Fills the rows' columns of estimation; causal, carry in `state`."""

    def __init__(self, groups: int, shape: MomentsShape, cadence_ns: int) -> None:
        self.state = kernels.MomentsState(
            np.zeros(groups),
            np.zeros(groups),
            np.zeros(groups),
            np.zeros(groups),
            np.zeros(groups),
            np.array([decay(shape.halflife_s, cadence_ns)]),
        )

    def observe(self, rows: NDArray[Any]) -> None:
        """Take in rows (dtype CONSENSUS, in order) and fill in their columns."""
        kernels.run(self.state, rows)
