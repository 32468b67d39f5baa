"""Limit first, market after a while: how a position is left once its stop was triggered.

The while counts from the trigger, never from when the resting stop was placed: else nearly every
exit would be a market order.
"""

from enum import StrEnum

import msgspec

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.events import Side


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """How it is done.

    Attributes:
        through_bps: how far through the trigger price the limit order goes, basis points.
        patience: ns from the trigger until the rest goes out at the market.
    """

    through_bps: float = 10.0
    patience: int = 5 * SECOND

    def check(self) -> "Fallback":
        """Self; SettingError names what is out of its range."""
        if not 0.0 <= self.through_bps < 10_000.0:
            raise SettingError(f"fallback: through_bps is {self.through_bps}; give 0 to 10000")
        if not 0 <= self.patience <= 3_600 * SECOND:
            raise SettingError(
                f"fallback: patience is {self.patience} ns; give 0 to an hour, from the trigger"
            )
        return self


class Do(StrEnum):
    """What is to be done now."""

    NOTHING = "nothing"
    LIMIT = "limit"  # place the limit order for what is left
    CANCEL = "cancel"  # take the limit order back
    MARKET = "market"  # place a market order for what is left


def limit_price(shape: Fallback, side: Side, trigger: int) -> int:
    """Ticks of the limit order that leaves by `side` after a trigger price, at least 1."""
    away = round(trigger * shape.through_bps / 10_000.0)
    return max(1, trigger + side.sign * away)


def next_step(
    shape: Fallback, triggered: int, now: int, left: int, working: bool, tried: bool
) -> Do:
    """The next step; pure, so that it is the same after a restart.

    Args:
        triggered: ns UTC when the trigger was met, 0: it was not. now: ns UTC.
        left: lots of the position that are still to leave.
        working: an order of this exit is open or on its way. tried: its limit order was placed.
    """
    if not triggered or left <= 0:
        return Do.NOTHING
    over = now - triggered >= shape.patience
    if working:
        return Do.CANCEL if over else Do.NOTHING
    # a limit order that ended before its time was refused: there is nothing to wait for
    return Do.MARKET if over or tried else Do.LIMIT
