"""What an agent is, and the register of all agents.

To add one: write its file, import it here and add its line to AGENTS.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from seawall.core.errors import SettingError
from seawall.core.instruments import Catalog
from seawall.decision.order_flow import OrderFlowAgent
from seawall.decision.trend import TrendAgent


class Agent(Protocol):
    """Forms an opinion on each frame, from this frame and earlier ones only."""

    @property
    def name(self) -> str: ...

    def start(self) -> Any:
        """The state before the first frame: a named tuple of arrays, one value per book."""
        ...

    def opine(self, frames: NDArray[Any], state: Any) -> NDArray[Any]:
        """Opinions (dtype OPINION) on frames (dtype FRAME), row for row.

        Frames of several books come interleaved; `state` is moved on in place, so that any split
        of the frames into blocks gives the same bits.
        """
        ...


# Each is called with the catalog, the cadence in ns and, where its defaults will not do, its shape.
AGENTS: dict[str, Callable[..., Agent]] = {
    "trend": TrendAgent,
    "order_flow": OrderFlowAgent,
}


def build(name: str, catalog: Catalog, cadence: int, shape: msgspec.Struct | None = None) -> Agent:
    """The agent of that name, for the books of a catalog and frames every `cadence` ns.

    Args:
        shape: the agent's own parameters (TrendShape, OrderFlowShape, ...); None for its defaults.

    Raises:
        SettingError: there is no such agent.
    """
    if name not in AGENTS:
        raise SettingError(f"no agent is called {name!r}; choose from {', '.join(sorted(AGENTS))}")
    return (
        AGENTS[name](catalog, cadence) if shape is None else AGENTS[name](catalog, cadence, shape)
    )
