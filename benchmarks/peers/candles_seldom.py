"""The moving-average cross at every n-th candle alone: a decision on a longer timeframe."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.decision.strategies import CrossShape, Kind, MovingAverageCross
from seawall.decision.strategy_kernels import CrossState


class SeldomShape(CrossShape, frozen=True, kw_only=True):
    """Attributes: every: candles from one that counts to the next."""

    every: int = 240


class Seldom:
    """Sees the last candle of each `every`, and decides nothing in between."""

    name = "moving_average_cross_seldom"

    def __init__(self, shape: SeldomShape, cadence: int) -> None:
        self._every = shape.every
        self._cross = MovingAverageCross(shape, cadence)

    def start(self) -> tuple[list[int], CrossState]:
        """Rows seen, and the cross's own state."""
        return [0], self._cross.start()

    def exposures(
        self, rows: NDArray[Any], state: tuple[list[int], CrossState]
    ) -> NDArray[np.float64]:
        """See seawall.decision.strategies.Strategy."""
        seen, cross = state
        wanted = np.full(len(rows), np.nan)
        first = -(seen[0] + 1) % self._every
        wanted[first :: self._every] = self._cross.exposures(rows[first :: self._every], cross)
        seen[0] += len(rows)
        return wanted


STRATEGY = Kind(SeldomShape, Seldom)
