"""Limit first, market after a while: how a position is left once its stop was triggered.

The while counts from the trigger, never from when the resting stop was placed: else nearly every
exit would be a market order. While it lasts, the limit order takes what costs less than waiting is
expected to, and is priced anew each second.
"""

import math
from enum import StrEnum

import msgspec

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.events import Side


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """How it is done.

    Attributes:
        through_bps: how far through the mid the limit order goes at least, basis points.
        fear: standard deviations of the price over the time that is left that it goes further, on
            top of the adverse drift carried on.
        patience: ns from the trigger until the rest goes out at the market.
        every: ns between two prices of the limit order.
    """

    through_bps: float = 10.0
    fear: float = 0.5
    patience: int = 5 * SECOND
    every: int = SECOND

    def check(self) -> "Fallback":
        """Self; SettingError names what is out of its range."""
        if not 0.0 <= self.through_bps < 10_000.0:
            raise SettingError(f"fallback: through_bps is {self.through_bps}; give 0 to 10000")
        if not 0.0 <= self.fear <= 10.0:
            raise SettingError(f"fallback: fear is {self.fear}; give 0 to 10 standard deviations")
        if not 0 <= self.patience <= 3_600 * SECOND or self.every <= 0:
            raise SettingError(
                f"fallback: patience is {self.patience} ns; give 0 to an hour, from the trigger, "
                "and prices every nanosecond at most"
            )
        return self


class Do(StrEnum):
    """What is to be done now."""

    NOTHING = "nothing"
    LIMIT = "limit"  # place the limit order for what is left
    REPRICE = "reprice"  # replace it by one at the price of this moment
    CANCEL = "cancel"  # take the limit order back
    MARKET = "market"  # place a market order for what is left


def distance(shape: Fallback, volatility: float, drift: float, left: int) -> float:
    """How far from the mid the limit order may go now, as a share of it: what waiting may cost.

    Args:
        volatility: standard deviation of the relative price per square root of a second.
        drift: relative change per second to our cost, of late; below 0 it is in our favour.
        left: ns until the patience is over.
    """
    seconds = max(0, left) / SECOND
    waiting = shape.fear * volatility * math.sqrt(seconds) + max(0.0, drift) * seconds
    return max(shape.through_bps / 1e4, waiting)


def limit_price(side: Side, mid: float, away: float) -> int:
    """Ticks of the limit order that leaves by `side`, `away` (a share) from the mid; at least 1.

    Rounded towards the mid, so that the distance is kept.
    """
    price = mid * (1.0 + side.sign * away)
    return max(1, math.floor(price) if side is Side.BUY else math.ceil(price))


def next_step(
    shape: Fallback,
    triggered: int,
    now: int,
    left: int,
    *,
    working: bool,
    tried: bool,
    priced: int = 0,
) -> Do:
    """The next step; pure, so that it is the same after a restart.

    Args:
        triggered: ns UTC when the trigger was met, 0: it was not. now: ns UTC.
        left: lots of the position that are still to leave.
        working: an order of this exit is open or on its way. tried: its limit order was placed.
        priced: ns UTC when the limit order got its price.
    """
    if not triggered or left <= 0:
        return Do.NOTHING
    over = now - triggered >= shape.patience
    if working:
        if over:
            return Do.CANCEL
        return Do.REPRICE if priced and now - priced >= shape.every else Do.NOTHING
    # a limit order that ended before its time was refused: there is nothing to wait for
    return Do.MARKET if over or tried else Do.LIMIT
