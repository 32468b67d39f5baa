"""A position leaves through a book that thins out: market orders, or limit orders first.

One row is one step of the book; what we took of a band comes back by a share each step.
"""

import numpy as np
from numba import njit

from seawall.execution.fallback_kernels import slice_reach, took


@njit(cache=True)
def take(price, size, taken, limit, lots):
    """Take from bands at or above `limit`, best first: (lots, value)."""
    left = lots
    value = 0.0
    for band in range(len(price)):
        if left <= 0.0 or price[band] < limit:
            break
        here = min(left, max(0.0, size[band] - taken[band]))
        taken[band] += here
        left -= here
        value += here * price[band]
    return lots - left, value


@njit(cache=True)
def leave(price, size, lots, limits, patience, again, recovery):
    """Sell `lots` from step 0 on, where the stop was triggered.

    Args:
        price, size: (steps, bands) bids, best first.
        limits: (patience,) price of a resting limit order at each step that it waits.
        patience: steps that the limit order waits before the rest goes at the market; 0: market
            from the start. again: steps between two market orders.
        recovery: share of what we took that is back after a step, in [0, 1].

    Returns:
        (lots sold, value, lots that the first market order found no buyer for).
    """
    steps, bands = price.shape
    taken = np.zeros(bands)
    sold = 0.0
    value = 0.0
    unfilled = 0.0
    due = patience
    first = True
    for step in range(steps):
        if step > 0:
            taken *= 1.0 - recovery
        left = lots - sold
        if left <= 1e-12:
            break
        if step < patience:
            found, worth = take(price[step], size[step], taken, limits[step], left)
        elif step == due:
            found, worth = take(price[step], size[step], taken, 0.0, left)
            due += again
            if first:
                unfilled = left - found
                first = False
        else:
            continue
        sold += found
        value += worth
    return sold, value, unfilled


@njit(cache=True)
def leave_in_slices(mid, away, size, lots, known, drift, every, guess, trust, again, recovery):
    """Sell `lots` from step 0 on, as `execution.fallback` does, with no other eyes than its own.

    Args:
        mid: (steps,). away: (steps, bands) distances of the bids, rising. size: (steps, bands).
        known: the empty memory of the exit.
        drift: (patience,) of the price to our cost, share per `every` steps, carried on from each
            step that it may wait; after these the rest goes at the market.
        every: steps between two slices. guess, trust: of the fallback.
        again, recovery: as in `leave`.

    Returns:
        (lots sold, value, lots that the first market order found no buyer for).
    """
    steps, bands = size.shape
    patience = len(drift)
    taken = np.zeros(bands)
    there = np.zeros(bands)
    sold = 0.0
    value = 0.0
    unfilled = 0.0
    due = patience
    first = True
    for step in range(steps):
        if step > 0:
            taken *= 1.0 - recovery
        left = lots - sold
        if left <= 1e-12:
            break
        price = mid[step] * (1.0 - away[step])
        if step < patience:
            if step % every:
                continue
            for band in range(bands):
                there[band] = max(0.0, size[step, band] - taken[band])
            slices = (patience - step - 1) // every
            deep = slice_reach(known, away[step], there, left, slices, guess, trust, drift[step])
            limit = mid[step] * (1.0 - deep) * (1.0 - 1e-12)
            found, worth = take(price, size[step], taken, limit, left)
            took(known, found)
        elif step == due:
            found, worth = take(price, size[step], taken, 0.0, left)
            due += again
            if first:
                unfilled = left - found
                first = False
        else:
            continue
        sold += found
        value += worth
    return sold, value, unfilled
