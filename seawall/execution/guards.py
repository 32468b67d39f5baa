"""Guards of one child order: how far its price may go, how much it may take, how long it may wait.

Pure functions; the bound of the price comes from the slippage model.
"""

import math
from collections.abc import Sequence

import msgspec

from seawall.core.errors import SettingError
from seawall.core.events import Side
from seawall.core.money import PPM
from seawall.execution.slippage import Footprint, SlippageModel


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """What holds a child.

    Attributes:
        least_bps, most_bps: between which the price bound is kept, whatever the model says.
        level: probability with which the model's cost stays within the bound.
        depth_ppm: share of what the book shows within the bound that one child may take.
        timeout: ns after which a child that is not filled is cancelled and planned anew.
    """

    least_bps: float = 2.0
    most_bps: float = 100.0
    level: float = 0.99
    depth_ppm: int = 500_000
    timeout: int = 5_000_000_000

    def check(self) -> "Guard":
        """Self; SettingError names what is out of its range."""
        if not 0.0 <= self.least_bps <= self.most_bps <= 5_000.0:
            raise SettingError(
                f"execution guard: bounds {self.least_bps:g} to {self.most_bps:g} bps; they must "
                "rise and lie within 0 to 5000"
            )
        if not 0.0 < self.level < 1.0:
            raise SettingError(f"execution guard: level is {self.level}; give 0 to 1")
        if not 1 <= self.depth_ppm <= PPM or self.timeout <= 0:
            raise SettingError("execution guard: depth_ppm is 1 to 1000000 and timeout above 0")
        return self


def bound_bps(guard: Guard, model: SlippageModel, order: Footprint) -> float:
    """Bps from the mid that a child may pay: the model's bound, kept between the guard's two."""
    wanted = model.bound(order, guard.level)
    return min(guard.most_bps, max(guard.least_bps, wanted if math.isfinite(wanted) else math.inf))


def limit_of(side: Side, bid: int, ask: int, bps: float) -> int:
    """The limit price in ticks: at most so far from the mid, rounded towards it, but never so near
    that the touch itself is out of reach: the least that takes anything is the touch.
    """
    middle = (bid + ask) / 2
    if side is Side.BUY:
        return max(ask, math.floor(middle * (1.0 + bps / 1e4)))
    return min(bid, math.ceil(middle * (1.0 - bps / 1e4)))


def allowed(
    guard: Guard, side: Side, limit: int, levels: Sequence[tuple[int, int]], wanted: int
) -> int:
    """Lots of `wanted` that a child may take now: its share of what is shown up to the limit.

    Args:
        levels: (ticks, lots) of the side that is taken from, best first.
    """
    shown = sum(
        lots for price, lots in levels if (price <= limit if side is Side.BUY else price >= limit)
    )
    return min(wanted, shown * guard.depth_ppm // PPM)


def timed_out(guard: Guard, sent: int, now: int) -> bool:
    """Whether a child that was sent then has had its time (both ns UTC)."""
    return now - sent >= guard.timeout
