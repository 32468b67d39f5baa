"""The quoting strategy of the exact venue: post-only orders where a closed form wants them.

The form comes as its four coefficients (`quotes.Quotes`), so that no look needs a logarithm.
"""

import math

import numpy as np
from numba import njit

from seawall.venues.simulated.exact_kernels import (
    alive,
    best_ask,
    best_bid,
    cancel,
    elapse,
    now,
    open_lots,
    order_price,
    place,
    position,
    replace,
    two_sided,
)
from seawall.venues.simulated.exact_state import BUY, POST_ONLY, SELL


@njit(cache=True)
def wanted_prices(desk, form, left, lots):
    """(bid, ask) in whole ticks, rounded away from the mid and kept from crossing our book."""
    half, half_rate, skew, skew_rate = form
    bid = best_bid(desk)
    ask = best_ask(desk)
    reservation = (bid + ask) / 2 - position(desk) / lots * (skew + skew_rate * left)
    distance = half + half_rate * left
    buy = min(np.int64(math.floor(reservation - distance)), ask - 1)
    sell = max(np.int64(math.ceil(reservation + distance)), bid + 1)
    return buy, sell


@njit(cache=True)
def cancel_all(desk, ours):
    """Ask for the end of every order that can be asked for."""
    for side in (BUY, SELL):
        for rung in range(ours.shape[1]):
            cancel(desk, ours[side, rung])


@njit(cache=True)
def keep_side(desk, ours, sizes, side, first, step, lots, most):
    """Bring the orders of a side to their prices, and place the ones that are missing.

    What is held and all that may still be filled is at most `most`: an order counts until we have
    heard of its end, so that no answer on its way can take us past.
    """
    sign = 1 if side == BUY else -1
    room = most - sign * position(desk)
    for rung in range(ours.shape[1]):
        room -= open_lots(desk, ours[side, rung])
    for rung in range(ours.shape[1]):
        price = first - sign * rung * step
        if price <= 0:
            cancel(desk, ours[side, rung])
        elif alive(desk, ours[side, rung]):
            if order_price(desk, ours[side, rung]) != price:
                # the size in all, what is filled included, so that what is open never grows
                replace(desk, ours[side, rung], price, sizes[side, rung])
        elif min(lots, room) > 0:
            size = min(lots, room)
            ours[side, rung] = place(desk, side, POST_ONLY, price, size)
            sizes[side, rung] = size
            room -= open_lots(desk, ours[side, rung])


@njit(cache=True)
def make_market(venue, form, every_ns, start_ns, horizon_ns, lots, most, rungs, step):
    """Quote both sides from `start_ns` to the end of the tape.

    Args:
        form: (half, half_rate, skew, skew_rate) as `quotes.Quotes` has them.
        every_ns: between two looks. start_ns: ns UTC, nothing is quoted before.
        horizon_ns: of the form; when it is over the next one begins.
        lots: of an order, the form's unit of inventory. most: lots held at most, long or short.
        rungs: orders a side. step: ticks between two of them.
    """
    desk = venue.desk
    ours = np.zeros((2, rungs), np.int64)
    sizes = np.zeros((2, rungs), np.int64)
    while elapse(venue, every_ns):
        if now(desk) < start_ns:
            continue
        if not two_sided(desk):
            cancel_all(desk, ours)
            continue
        left = (horizon_ns - (now(desk) - start_ns) % horizon_ns) / 1e9
        buy, sell = wanted_prices(desk, form, left, lots)
        keep_side(desk, ours, sizes, BUY, buy, step, lots, most)
        keep_side(desk, ours, sizes, SELL, sell, step, lots, most)
