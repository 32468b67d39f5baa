"""A strategy that turns around at every row: as many orders as there can be."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.decision.strategies import Kind


class FlipShape(msgspec.Struct, frozen=True, kw_only=True):
    """It has no parameters."""


class Flip:
    """Long, short, long, ..."""

    name = "flip"

    def __init__(self, shape: FlipShape, cadence: int) -> None:
        pass

    def start(self) -> list[int]:
        """Rows seen."""
        return [0]

    def exposures(self, rows: NDArray[Any], state: list[int]) -> NDArray[np.float64]:
        """See seawall.decision.strategies.Strategy."""
        numbers = np.arange(state[0], state[0] + len(rows))
        state[0] += len(rows)
        return np.where(numbers % 2 == 0, 1.0, -1.0)


STRATEGY = Kind(FlipShape, Flip)
