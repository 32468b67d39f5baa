"""Volatility per consensus group and the regime that it puts the market in."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.analysis import kernels
from seawall.core.clock import YEAR
from seawall.estimation.moments import decay


class VolatilityShape(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds are annualised fractions.

    Attributes:
        halflife_s: seconds after which a squared return counts half.
        low: below it LOW_VOL. high: from it HIGH_VOL (S1 halves its size at 50 %).
        extreme: from it EXTREME_VOL (S0's breaker: twice the normal 0.30).
    """

    halflife_s: float = 600.0
    low: float = 0.15
    high: float = 0.50
    extreme: float = 0.60

    @property
    def bounds(self) -> tuple[float, float, float]:
        """From which NORMAL, HIGH and EXTREME begin."""
        return min(self.low, self.extreme), min(self.high, self.extreme), self.extreme


class Volatility:
    """Fills the rows' columns of analysis; causal, carry in `state`."""

    def __init__(self, groups: int, shape: VolatilityShape, cadence_ns: int) -> None:
        self.shape = shape
        self.state = kernels.VolatilityState(
            np.zeros(groups),
            np.zeros(groups),
            np.zeros(groups),
            np.zeros(groups),
            np.array(
                [
                    decay(shape.halflife_s, cadence_ns),
                    YEAR / cadence_ns,
                    shape.low,
                    shape.high,
                    shape.extreme,
                ]
            ),
        )

    def observe(self, rows: NDArray[Any]) -> None:
        """Take in rows (dtype CONSENSUS, in order) and fill in their columns."""
        kernels.run(self.state, rows)
