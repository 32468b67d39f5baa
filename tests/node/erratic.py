"""A strategy that wants something else at every row, at random: as much happens as can."""

from typing import Any

import msgspec
import numpy as np

from seawall.core.randomness import generator
from seawall.decision.strategies import Kind

WISHES = np.array([-1.0, -0.5, -0.02, 0.0, 0.0, 0.3, 1.0, np.nan, np.nan])


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    seed: int = 0
    every: int = 1  # rows between two wishes


class Erratic:
    name = "erratic"

    def __init__(self, shape: Shape, cadence: int) -> None:
        self._shape = shape
        self._draws = generator(shape.seed, "erratic").choice(WISHES, 100_000)

    def start(self) -> list[int]:
        return [0]

    def exposures(self, rows: Any, state: list[int]) -> Any:
        numbers = np.arange(state[0], state[0] + len(rows))
        state[0] += len(rows)
        wishes = self._draws[numbers // self._shape.every]
        return np.where(numbers % self._shape.every == 0, wishes, np.nan)


STRATEGY = Kind(Shape, Erratic)
