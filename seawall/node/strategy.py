"""A strategy at work in the node, in place of the agents: one of its own for each asset.

What it wants goes the way of all intents: deadband and hold, risk's limits, the executor. A wish
where fewer than three sources price the asset is halved, as everybody's is.
"""

import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import SettingError
from seawall.core.frames import FrameFlag
from seawall.decision.strategies import Strategy, kind_of, shape_of

RULES = "rules"  # the agents and the orchestrator's blend of them: the node has them anyway
UNCORROBORATED = int(FrameFlag.UNCORROBORATED)


def parameters_of(given: Sequence[str]) -> dict[str, Any]:
    """``fast=10`` and the like as a mapping; SettingError for what is no such thing."""
    pairs = [text.partition("=") for text in given]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise SettingError(f"parameter {name + equals + value!r}: write NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}


def made(named: str, parameters: Sequence[str], cadence: int) -> Strategy:
    """The strategy of this name, or in this file, with these parameters (``fast=10``).

    Args:
        cadence: ns between two rows.

    Raises:
        SettingError: there is no such strategy, or it does not take these parameters.
    """
    kind = kind_of(named)
    return kind.build(shape_of(kind, parameters_of(parameters)), cadence)


class Chosen:
    """One strategy on every consensus group of a node.

    Args:
        named: its name, or the path of its file. parameters: in place of its defaults.
        groups: how many there are. cadence: ns between two rows of one.
        uncorroborated: scale of what it wants where fewer than three sources voted.

    Raises:
        SettingError: there is no such strategy, or it does not take these parameters.
    """

    def __init__(
        self,
        named: str,
        parameters: Sequence[str],
        groups: int,
        cadence: int,
        uncorroborated: float,
    ) -> None:
        self._each = [made(named, parameters, cadence) for _ in range(groups)]
        self.name = self._each[0].name if self._each else named
        self._states = [strategy.start() for strategy in self._each]
        self._uncorroborated = uncorroborated

    def strengths(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """(n, 3) wanted exposure of each CONSENSUS row and its bounds, as the orchestrator's.

        Nothing is certified of a strategy that gives no bounds: they are -1 and 1.

        Raises:
            SettingError: it failed, or did not say one number in [-1, 1], or NaN, for each row.
        """
        groups = len(self._each)
        found = np.empty((len(rows), 3))
        for at, strategy in enumerate(self._each):
            own = rows[at::groups].copy()
            own["group"] = 0
            try:
                wanted = np.asarray(strategy.exposures(own, self._states[at]), np.float64)
            except Exception as error:  # somebody else's code may raise anything
                last = traceback.extract_tb(error.__traceback__)[-1]
                raise SettingError(
                    f"strategy {self.name}, {last.filename}, line {last.lineno}: "
                    f"{type(error).__name__}: {error}"
                ) from error
            if wanted.shape != (len(own),) or bool((np.abs(wanted) > 1.0).any()):
                raise SettingError(
                    f"strategy {self.name}: exposures must be one number in [-1, 1] for each of "
                    f"{len(own)} rows, or NaN; it gave shape {wanted.shape}"
                    + (f", up to {np.nanmax(np.abs(wanted)):g}" if wanted.size else "")
                )
            scale = np.where(own["flags"] & UNCORROBORATED, self._uncorroborated, 1.0)
            found[at::groups, 0] = wanted * scale
            found[at::groups, 1] = np.where(np.isnan(wanted), np.nan, -1.0)
            found[at::groups, 2] = np.where(np.isnan(wanted), np.nan, 1.0)
        return found
