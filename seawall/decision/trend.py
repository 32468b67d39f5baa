"""Trend agent: goes with the market when its fast average stands away from its slow one.

The signal is in standard deviations of what a random walk of the same volatility would show.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.verdicts import OPINION
from seawall.decision.kernels import TrendRule, TrendState, trend_run
from seawall.decision.windows import difference_scale, ewma_weight, half_life_rows


class TrendShape(msgspec.Struct, frozen=True, kw_only=True):
    """What the trend agent looks like.

    Attributes:
        fast_half_life, slow_half_life: seconds.
        fast_frames, slow_frames: the half-lives are at least as many frames long (bars).
        gain: score per standard deviation of the signal; 0.5 is full strength at two.
        least_scale: floor of the volatility per frame, fraction; 1e-6 is a hundredth of a bp.
    """

    fast_half_life: float = 60.0
    slow_half_life: float = 600.0
    fast_frames: float = 4.0
    slow_frames: float = 16.0
    gain: float = 0.5
    least_scale: float = 1e-6

    def __post_init__(self) -> None:
        if not (
            0.0 < self.fast_half_life < self.slow_half_life
            and 0.0 < self.fast_frames < self.slow_frames
        ):
            raise SettingError(
                f"trend: the fast half-life ({self.fast_half_life} s, {self.fast_frames} frames) "
                "must be shorter than the slow one "
                f"({self.slow_half_life} s, {self.slow_frames} frames)"
            )
        if not (self.gain > 0.0 and self.least_scale > 0.0):
            raise SettingError("trend: gain and least_scale must be positive")


class TrendAgent:
    """score = clip(gain x (fast - slow EWMA of price) / (slow EWMA x scale x norm), -1, 1).

    Price and scale are the consensus's.

    Args:
        groups: how many consensus groups there are. cadence: ns between two rows of one.
    """

    name = "trend"

    def __init__(self, groups: int, cadence: int, shape: TrendShape | None = None) -> None:
        shape = shape or TrendShape()
        seconds = cadence / SECOND
        warm = half_life_rows(shape.slow_half_life, shape.slow_frames, seconds)
        fast = ewma_weight(half_life_rows(shape.fast_half_life, shape.fast_frames, seconds))
        slow = ewma_weight(warm)
        self._groups = groups
        self._rule = TrendRule(
            fast, slow, difference_scale(fast, slow), warm, shape.gain, shape.least_scale
        )

    def start(self) -> TrendState:
        """The state before the first row."""
        averages = [np.zeros(self._groups) for _ in range(6)]
        return TrendState(np.zeros(self._groups, np.int64), *averages)

    def opine(self, rows: NDArray[Any], state: TrendState) -> NDArray[Any]:
        """One OPINION per CONSENSUS row, in order; `state` moves on in place."""
        opinions = np.empty(len(rows), dtype=OPINION)
        trend_run(rows, self._rule, state, opinions)
        return opinions
