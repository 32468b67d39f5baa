"""Limit first, market after a while: how a position is left once its stop was triggered.

The while counts from the trigger, never from when the resting stop was placed: else nearly every
exit would be a market order. While it lasts, slices (limit orders that take and are gone) go as
deep as it pays: the exit measures how fast what it took comes back. Where nothing does, waiting is
worthless and all goes at once; where it does, it is taken as it comes.
"""

import math
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.errors import SettingError
from seawall.core.events import Side
from seawall.execution.fallback_kernels import memory, slice_reach
from seawall.execution.fallback_kernels import took as _took

EDGES = np.array([50, 100, 200, 400, 800, 1_500, 3_000, 6_000, 12_000, 25_000], np.float64)
"""Ppm of the mid: outer edges of the bands in which an exit sees its book (`band_levels`)."""


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """How it is done.

    Attributes:
        patience: ns from the trigger until the rest goes out at the market.
        every: ns between two slices.
        refill: share of what was taken that comes back per second, continuously compounded, until
            the exit has seen it for itself.
        trust: how much that counts against what is seen: as much as so many slices.
    """

    patience: int = 5 * SECOND
    every: int = 100 * MILLISECOND
    refill: float = 1.0
    trust: float = 0.5

    def check(self) -> "Fallback":
        """Self; SettingError names what is out of its range."""
        if not 0 <= self.patience <= 3_600 * SECOND or self.every <= 0:
            raise SettingError(
                f"fallback: patience is {self.patience} ns; give 0 to an hour, from the trigger, "
                "and slices a nanosecond apart at least"
            )
        if not 0.0 <= self.refill <= 1_000.0:
            raise SettingError(f"fallback: refill is {self.refill}; give 0 to 1000 a second")
        if not 0.0 <= self.trust <= 1_000.0:
            raise SettingError(f"fallback: trust is {self.trust}; give 0 to 1000 slices")
        return self

    @property
    def guess(self) -> float:
        """Share of a hole that is back by the next slice, before anything was seen."""
        return -math.expm1(-self.refill * self.every / SECOND)

    def slices(self, waited: int) -> int:
        """Slices that are still to come after one `waited` ns after the trigger."""
        return max(0, -(-(self.patience - waited) // self.every) - 1)


class Do(StrEnum):
    """What is to be done now."""

    NOTHING = "nothing"
    SLICE = "slice"  # a limit order for what is left that takes what it finds and is gone (IOC)
    MARKET = "market"  # a market order for what is left


def carried(drift: float, volatility: float, seconds: float) -> float:
    """A drift as it may be carried on: at least 0, and shrunk by how much of it may be chance.

    The positive part of James and Stein's (1961) factor, for one mean: 1 - variance of the estimate
    over its square. A fall that is no larger than chance makes it counts as none.

    Args:
        drift: relative change per second to our cost, over the last `seconds`.
        volatility: standard deviation of the relative price per square root of a second about it.
    """
    if drift <= 0.0:
        return 0.0
    return max(0.0, drift - volatility**2 / (seconds * drift))


class Slices:
    """The slices of one exit. After a restart a new one begins with the first guess again."""

    def __init__(self, shape: Fallback) -> None:
        self._shape = shape
        self._known = memory(len(EDGES))

    def distance(
        self,
        away: NDArray[np.float64],
        lots: NDArray[np.float64],
        left: int,
        waited: int,
        drift: float,
    ) -> float:
        """How far from the mid the slice of this moment goes, as a share of it; 1: through all.

        Args:
            away: (bands,) rising distances from the mid of the side that is taken from, as
                `band_levels` gives them. lots: (bands,) what stands there.
            left: lots that are still to leave. waited: ns since the trigger.
            drift: `carried`, per second.
        """
        shape = self._shape
        return float(
            slice_reach(
                self._known,
                away,
                lots,
                float(left),
                shape.slices(waited),
                shape.guess,
                shape.trust,
                drift * shape.every / SECOND,
            )
        )

    def took(self, lots: int) -> None:
        """The last slice was filled with so many lots."""
        _took(self._known, float(lots))


def limit_price(side: Side, mid: float, away: float) -> int:
    """Ticks of a slice that leaves by `side`, `away` (a share) from the mid; at least 1.

    Rounded away from the mid, so that a level at just this distance is reached.
    """
    price = mid * (1.0 + side.sign * away)
    return max(1, math.ceil(price) if side is Side.BUY else math.floor(price))


def next_step(
    shape: Fallback,
    triggered: int,
    now: int,
    left: int,
    *,
    working: bool,
    refused: bool = False,
    sliced: int = 0,
) -> Do:
    """The next step; pure, so that it is the same after a restart.

    Args:
        triggered: ns UTC when the trigger was met, 0: it was not. now: ns UTC.
        left: lots of the position that are still to leave.
        working: an order of this exit is on its way; all of them end by themselves.
        refused: its last slice was refused by the venue: there is nothing to wait for.
        sliced: ns UTC when its last slice went out, 0: none did.
    """
    if not triggered or left <= 0 or working:
        return Do.NOTHING
    if refused or now - triggered >= shape.patience:
        return Do.MARKET
    return Do.SLICE if not sliced or now - sliced >= shape.every else Do.NOTHING
