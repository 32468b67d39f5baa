"""Volatility per book and the regime that it puts the market in."""

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


class Volatility:
    """Fills the frames' columns `volatility` and `regime`; causal, carry in `state`."""

    def __init__(self, books: int, shape: VolatilityShape, cadence_ns: int) -> None:
        self.state = kernels.VolatilityState(
            np.zeros(books),
            np.zeros(books),
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

    def observe(self, frames: NDArray[Any]) -> None:
        """Take in frames (dtype FRAME, in order) and fill in their columns."""
        kernels.run(self.state, frames)
