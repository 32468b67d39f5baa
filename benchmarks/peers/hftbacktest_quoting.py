"""Our half of the comparison with hftbacktest: the same two quoting strategies, compiled."""

import numpy as np
from numba import njit

from seawall.venues.simulated.exact_kernels import (
    alive,
    best_ask,
    best_bid,
    cancel,
    elapse,
    order_price,
    place,
    position,
    two_sided,
)
from seawall.venues.simulated.exact_state import BUY, POST_ONLY, SELL


@njit(cache=True)
def touch(venue, cadence, size, most):
    """One post-only order a side at the best price; moved when the best price moves.

    Buys while the position is below `most` lots, sells while it is above -most.
    """
    desk = venue.desk
    frames = 0
    ours = np.zeros(2, np.int64)
    while elapse(venue, cadence):
        frames += 1
        if not two_sided(desk):
            continue
        held = position(desk)
        for side in (BUY, SELL):
            wanted = best_bid(desk) if side == BUY else best_ask(desk)
            allowed = held < most if side == BUY else held > -most
            if alive(desk, ours[side]):
                if order_price(desk, ours[side]) != wanted or not allowed:
                    cancel(desk, ours[side])
            elif allowed:
                ours[side] = place(desk, side, POST_ONLY, wanted, size)
    return frames


@njit(cache=True)
def grid(venue, cadence, size, most):
    """Three post-only orders a side, one to three ticks apart, leaning against the position.

    The centre moves down by one tick for each `most` / 4 lots held; an order whose price is no
    longer wanted is cancelled, a price that has none gets one.
    """
    levels = 3
    desk = venue.desk
    frames = 0
    ours = np.zeros((2, levels), np.int64)
    while elapse(venue, cadence):
        frames += 1
        if not two_sided(desk):
            continue
        held = position(desk)
        bid = best_bid(desk)
        ask = best_ask(desk)
        lean = 4 * held // most
        for side in (BUY, SELL):
            sign = 1 if side == BUY else -1
            first = min(bid, bid - lean) if side == BUY else max(ask, ask - lean)
            allowed = sign * held < most
            for k in range(levels):
                if not alive(desk, ours[side, k]):
                    ours[side, k] = 0
                elif allowed:
                    away = sign * (first - order_price(desk, ours[side, k]))
                    if away < 0 or away >= levels:
                        cancel(desk, ours[side, k])
                else:
                    cancel(desk, ours[side, k])
            if not allowed:
                continue
            for step in range(levels):
                wanted = first - sign * step
                free = -1
                taken = False
                for k in range(levels):
                    if ours[side, k] == 0:
                        free = k
                    elif order_price(desk, ours[side, k]) == wanted:
                        taken = True
                if not taken and free >= 0:
                    ours[side, free] = place(desk, side, POST_ONLY, wanted, size)
    return frames
