"""Order-flow agent: leans to the side that pushes harder, in the book and in the trades.

After Cont, Kukanov and Stoikov (2014), "The price impact of order book events". Each part is
bounded per frame, so that one forged frame moves the score by no more than gain x weight x 2.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import SettingError
from seawall.core.instruments import Catalog
from seawall.core.verdicts import OPINION
from seawall.decision.kernels import FlowRule, FlowState, flow_run
from seawall.decision.windows import ewma_weight, frame_seconds, half_life_frames


class OrderFlowShape(msgspec.Struct, frozen=True, kw_only=True):
    """What the order-flow agent looks like.

    Attributes:
        half_life: seconds; `frames`: it is at least as many frames long.
        gain: score per unit of pressure (pressure is in [-1, 1]).
        ofi: share of order-flow imbalance over the size at the touch.
        volume: share of (buys - sells) / (buys + sells) of what was traded.
        imbalance: share of the imbalance resting at the touch. The shares sum to 1.
    """

    half_life: float = 30.0
    frames: float = 4.0
    gain: float = 4.0
    ofi: float = 0.4
    volume: float = 0.4
    imbalance: float = 0.2

    def __post_init__(self) -> None:
        shares = (self.ofi, self.volume, self.imbalance)
        if not (min(shares) >= 0.0 and abs(sum(shares) - 1.0) < 1e-9):
            raise SettingError(
                f"order flow: the shares ofi, volume and imbalance are {shares}; they must be "
                "zero or more and sum to 1"
            )
        if not (self.half_life > 0.0 and self.frames > 0.0 and self.gain > 0.0):
            raise SettingError("order flow: half_life, frames and gain must be positive")


class OrderFlowAgent:
    """score = clip(gain x EWMA of pressure, -1, 1). Bars have no order flow: confidence 0.

    Args:
        catalog: its books are what the frames' `book` column counts.
        cadence: ns between two frames of a book that is not made of bars.
    """

    name = "order_flow"

    def __init__(self, catalog: Catalog, cadence: int, shape: OrderFlowShape | None = None) -> None:
        shape = shape or OrderFlowShape()
        warm = half_life_frames(shape.half_life, shape.frames, frame_seconds(catalog, cadence))
        self._rule = FlowRule(
            ewma_weight(warm), warm, shape.gain, shape.ofi, shape.volume, shape.imbalance
        )

    def start(self) -> FlowState:
        """The state before the first frame."""
        books = len(self._rule.weight)
        return FlowState(np.zeros(books, np.int64), np.zeros(books))

    def opine(self, frames: NDArray[Any], state: FlowState) -> NDArray[Any]:
        """One OPINION per FRAME row, in order; `state` moves on in place."""
        opinions = np.empty(len(frames), dtype=OPINION)
        flow_run(frames, self._rule, state, opinions)
        return opinions
