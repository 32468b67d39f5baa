"""Order-flow agent: leans to the side that pushes harder, in the book and in the trades.

After Cont, Kukanov and Stoikov (2014), "The price impact of order book events". It reads what the
sources agree on, less what the model has learned to be usual.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.verdicts import OPINION
from seawall.decision.kernels import FlowRule, FlowState, flow_run
from seawall.decision.windows import ewma_weight, half_life_rows


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
        groups: how many consensus groups there are. cadence: ns between two rows of one.
    """

    name = "order_flow"

    def __init__(self, groups: int, cadence: int, shape: OrderFlowShape | None = None) -> None:
        shape = shape or OrderFlowShape()
        warm = half_life_rows(shape.half_life, shape.frames, cadence / SECOND)
        self._groups = groups
        self._rule = FlowRule(
            ewma_weight(warm), warm, shape.gain, shape.ofi, shape.volume, shape.imbalance
        )

    def start(self) -> FlowState:
        """The state before the first row."""
        averages = [np.zeros(self._groups) for _ in range(3)]
        return FlowState(np.zeros(self._groups, np.int64), *averages)

    def opine(self, rows: NDArray[Any], state: FlowState) -> NDArray[Any]:
        """One OPINION per CONSENSUS row, in order; `state` moves on in place."""
        opinions = np.empty(len(rows), dtype=OPINION)
        flow_run(rows, self._rule, state, opinions)
        return opinions
