"""When a stop order of ours is triggered, and where the trigger of a trailing one stands.

A sell waits for a price at or below its trigger, a buy for one at or above. The trigger of a
trailing stop follows the best price seen and never goes back. One that takes a profit waits the
other way round.
"""

import numpy as np
from numba import njit

SELL = 1
BY_LAST, BY_MARK = 0, 1  # what a stop watches
PPM = 1_000_000

STOP = np.dtype(
    [
        ("waiting", "<i8"),  # 1 until it has fired
        ("side", "<i8"),
        ("by", "<i8"),  # BY_LAST or BY_MARK; a bar has one price for both
        ("trigger", "<i8"),  # ticks; 0 where a trailing one has none yet
        ("remaining", "<i8"),  # lots that it may fill
        ("placed", "<i8"),  # ns UTC, when the node sent it
        ("activation", "<i8"),  # ticks that a trailing stop waits for before it trails; 0: it does
        ("extreme", "<i8"),  # ticks, the best price that it has seen since; 0: none
        ("trail", "<i8"),  # ticks behind the extreme,
        ("trail_ppm", "<i8"),  # or millionths of it; both 0: it does not trail
        ("gains", "<i8"),  # 1: the trigger lies on the side of a gain
    ]
)


@njit(cache=True)
def trail_level(side, extreme, trail, trail_ppm):
    """Where a trailing stop triggers; a part of a tick more is never given away."""
    away = extreme // PPM * trail_ppm + (extreme % PPM * trail_ppm + PPM - 1) // PPM
    away = max(trail, away)
    return extreme - away if side == SELL else extreme + away


@njit(cache=True)
def follow(stop, price):
    """A trailing stop sees a price: it may begin to trail, and its trigger may move."""
    if stop["trail"] == 0 and stop["trail_ppm"] == 0:
        return
    sells = stop["side"] == SELL
    if stop["activation"] > 0:
        if (price < stop["activation"]) if sells else (price > stop["activation"]):
            return
        stop["activation"] = 0
    best = stop["extreme"]
    if best == 0 or ((price > best) if sells else (price < best)):
        stop["extreme"] = price
        stop["trigger"] = trail_level(stop["side"], price, stop["trail"], stop["trail_ppm"])


@njit(cache=True)
def meets(stop, price):
    """Whether a price is at or beyond the trigger."""
    if stop["trigger"] <= 0:
        return False
    below = (stop["side"] == SELL) != (stop["gains"] == 1)
    return price <= stop["trigger"] if below else price >= stop["trigger"]


@njit(cache=True)
def on_bar(stop, market, close):
    """The price at which a whole bar fires a stop, 0 where it does not; a trailing one follows.

    What came first within the bar nobody knows, so the worse is taken: the trigger as it stood is
    met before it moves, and a moved one only if the close lies beyond it. A gap fires at the open.
    """
    sells = stop["side"] == SELL
    below = sells != (stop["gains"] == 1)
    first = market["open"]
    reached = market["low"] if below else market["high"]
    if stop["activation"] == 0 and meets(stop, reached):
        return min(stop["trigger"], first) if below else max(stop["trigger"], first)
    follow(stop, market["high"] if sells else market["low"])
    trails = stop["trail"] > 0 or stop["trail_ppm"] > 0
    if trails and stop["activation"] == 0 and meets(stop, close):
        return stop["trigger"]
    return np.int64(0)
