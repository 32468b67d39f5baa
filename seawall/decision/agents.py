"""What an agent is, and the register of all agents.

To add one: write its file, import it here and add its line to AGENTS.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from seawall.core.errors import SettingError
from seawall.decision.order_flow import OrderFlowAgent
from seawall.decision.trend import TrendAgent


class Agent(Protocol):
    """Forms an opinion on each row of the consensus, from this row and earlier ones only.

    One that has a tuple `features` of names (docs/features.md) finds these columns on its rows.
    """

    @property
    def name(self) -> str: ...

    def start(self) -> Any:
        """The state before the first row: a named tuple of arrays, one value per group."""
        ...

    def opine(self, rows: NDArray[Any], state: Any) -> NDArray[Any]:
        """Opinions (dtype OPINION) on rows (dtype CONSENSUS), one each.

        `low` and `high` hold the score that the run without the attack has; an agent that cannot
        say gives -1 and 1. Rows of several groups come interleaved; `state` is moved on in place,
        so that any split of the rows into blocks gives the same bits.
        """
        ...


# Each is called with the number of groups, the cadence in ns and, where its defaults will not do,
# its shape.
AGENTS: dict[str, Callable[..., Agent]] = {
    "trend": TrendAgent,
    "order_flow": OrderFlowAgent,
}


def features_of(agent: Any) -> tuple[str, ...]:
    """The features that an agent, or its class, names; most name none."""
    return tuple(getattr(agent, "features", ()))


def build(name: str, groups: int, cadence: int, shape: msgspec.Struct | None = None) -> Agent:
    """The agent of that name, for so many consensus groups and rows every `cadence` ns.

    Args:
        shape: the agent's own parameters (TrendShape, OrderFlowShape, ...); None for its defaults.

    Raises:
        SettingError: there is no such agent.
    """
    if name not in AGENTS:
        raise SettingError(f"no agent is called {name!r}; choose from {', '.join(sorted(AGENTS))}")
    return AGENTS[name](groups, cadence) if shape is None else AGENTS[name](groups, cadence, shape)
