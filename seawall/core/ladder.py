"""The compiled order book: a dense window of ticks around the touch and a sorted list beyond it.

Prices are ticks, sizes lots, both int64. Side 0 holds bids, side 1 asks. Applying a row costs a few
nanoseconds inside the window; what lies outside (some per cent of real rows) costs a bisection.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

BID = 0
ASK = 1
NO_BID = -1  # best bid of an empty side
NO_ASK = 1 << 62  # best ask of an empty side
WINDOW = 1 << 16  # ticks in the dense window
FAR = 1 << 14  # levels kept beyond the window, per side; the farthest are dropped first
BASE, DROPPED = 2, 3  # columns of `head` behind the two counts of far levels
MARGIN = WINDOW // 8  # the window is moved when the touch comes this close to its edge


class Ladder(NamedTuple):
    """Books side by side.

    Few arrays, because a compiled call copies each one's header.

    size: (books, 2, WINDOW) lots. best: (books, 2) ticks.
    head: (books, 4): far levels of the bids, of the asks, tick of the window's first cell (-1 when
    unset), levels given up because FAR was full.
    far: (books, 2, 2, FAR): by side, prices (ascending) and their lots.
    """

    size: np.ndarray
    best: np.ndarray
    head: np.ndarray
    far: np.ndarray


@njit(cache=True)
def new_ladder(books):
    """Empty books."""
    best = np.empty((books, 2), np.int64)
    best[:, BID] = NO_BID
    best[:, ASK] = NO_ASK
    head = np.zeros((books, 4), np.int64)
    head[:, BASE] = -1
    return Ladder(
        np.zeros((books, 2, WINDOW), np.int64),
        best,
        head,
        np.zeros((books, 2, 2, FAR), np.int64),
    )


@njit(cache=True)
def clear(ladder, book):
    """Forget a book."""
    if ladder.head[book, BASE] >= 0:
        ladder.size[book] = 0
    ladder.head[book, BASE] = -1
    ladder.best[book, BID] = NO_BID
    ladder.best[book, ASK] = NO_ASK
    ladder.head[book, BID] = 0
    ladder.head[book, ASK] = 0


@njit(cache=True)
def far_index(ladder, book, side, price):
    """Where `price` stands, or would stand, among the far levels."""
    low = 0
    high = ladder.head[book, side]
    while low < high:
        middle = (low + high) >> 1
        if ladder.far[book, side, 0, middle] < price:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def far_put(ladder, book, side, price, size):
    """Set a level outside the window."""
    prices = ladder.far[book, side, 0]
    sizes = ladder.far[book, side, 1]
    count = ladder.head[book, side]
    at = far_index(ladder, book, side, price)
    if at < count and prices[at] == price:
        if size > 0:
            sizes[at] = size
        else:
            for i in range(at, count - 1):
                prices[i] = prices[i + 1]
                sizes[i] = sizes[i + 1]
            ladder.head[book, side] = count - 1
        return
    if size <= 0:
        return
    if count == FAR:
        ladder.head[book, DROPPED] += 1
        if side == BID:  # the lowest bid is the farthest
            if at == 0:
                return
            for i in range(at - 1):
                prices[i] = prices[i + 1]
                sizes[i] = sizes[i + 1]
            prices[at - 1] = price
            sizes[at - 1] = size
            return
        if at == count:
            return
        count -= 1
    for i in range(count, at, -1):
        prices[i] = prices[i - 1]
        sizes[i] = sizes[i - 1]
    prices[at] = price
    sizes[at] = size
    ladder.head[book, side] = count + 1


@njit(cache=True)
def move_window(ladder, book, base):
    """Put the window at `base`; levels change place, none is lost (but by FAR's bound)."""
    old = ladder.head[book, BASE]
    for side in range(2):
        cells = ladder.size[book, side]
        count = ladder.head[book, side]
        levels = count
        for i in range(WINDOW):
            if cells[i] > 0:
                levels += 1
        prices = np.empty(levels, np.int64)
        sizes = np.empty(levels, np.int64)
        n = 0
        far = 0
        while far < count and ladder.far[book, side, 0, far] < old:
            prices[n] = ladder.far[book, side, 0, far]
            sizes[n] = ladder.far[book, side, 1, far]
            n += 1
            far += 1
        for i in range(WINDOW):
            if cells[i] > 0:
                prices[n] = old + i
                sizes[n] = cells[i]
                n += 1
                cells[i] = 0
        while far < count:
            prices[n] = ladder.far[book, side, 0, far]
            sizes[n] = ladder.far[book, side, 1, far]
            n += 1
            far += 1
        ladder.head[book, side] = 0
        for k in range(levels):
            # from the touch outwards, so that FAR's bound drops the farthest
            i = levels - 1 - k if side == BID else k
            index = prices[i] - base
            if 0 <= index < WINDOW:
                cells[index] = sizes[i]
            else:
                far_put(ladder, book, side, prices[i], sizes[i])
    ladder.head[book, BASE] = base


@njit(cache=True)
def size_at(ladder, book, side, price):
    """Lots shown at a price."""
    base = ladder.head[book, BASE]
    if base < 0:
        return np.int64(0)
    index = price - base
    if 0 <= index < WINDOW:
        return ladder.size[book, side, index]
    at = far_index(ladder, book, side, price)
    if at < ladder.head[book, side] and ladder.far[book, side, 0, at] == price:
        return ladder.far[book, side, 1, at]
    return np.int64(0)


@njit(cache=True)
def next_bid(ladder, book, price):
    """Highest occupied bid below `price`, NO_BID where there is none."""
    base = ladder.head[book, BASE]
    cells = ladder.size[book, BID]
    far = far_index(ladder, book, BID, price) - 1  # highest far bid below price
    if price > base + WINDOW and far >= 0 and ladder.far[book, BID, 0, far] >= base + WINDOW:
        return ladder.far[book, BID, 0, far]
    for i in range(min(price - base, WINDOW) - 1, -1, -1):
        if cells[i] > 0:
            return base + i
    far = far_index(ladder, book, BID, min(price, base)) - 1
    return ladder.far[book, BID, 0, far] if far >= 0 else np.int64(NO_BID)


@njit(cache=True)
def next_ask(ladder, book, price):
    """Lowest occupied ask above `price`, NO_ASK where there is none."""
    base = ladder.head[book, BASE]
    cells = ladder.size[book, ASK]
    count = ladder.head[book, ASK]
    far = far_index(ladder, book, ASK, price + 1)  # lowest far ask above price
    if price < base - 1 and far < count and ladder.far[book, ASK, 0, far] < base:
        return ladder.far[book, ASK, 0, far]
    for i in range(max(price - base, -1) + 1, WINDOW):
        if cells[i] > 0:
            return base + i
    far = far_index(ladder, book, ASK, max(price + 1, base + WINDOW))
    return ladder.far[book, ASK, 0, far] if far < count else np.int64(NO_ASK)


@njit(cache=True)
def next_price(ladder, book, side, price):
    """The next occupied price behind `price`, away from the touch; NO_BID or NO_ASK if none."""
    if side == BID:
        return next_bid(ladder, book, price)
    return next_ask(ladder, book, price)


@njit(cache=True)
def center(ladder, book, price):
    """Keep the touch away from the window's edges."""
    index = price - ladder.head[book, BASE]
    if index < MARGIN or index >= WINDOW - MARGIN:
        base = max(np.int64(0), price - WINDOW // 2)
        if base != ladder.head[book, BASE]:
            move_window(ladder, book, base)


@njit(cache=True)
def put(ladder, book, side, price, size):
    """Set the total at a price; 0 removes the level. Needs price > 0 and size >= 0."""
    base = ladder.head[book, BASE]
    if base < 0:
        if size <= 0:
            return
        base = max(np.int64(0), price - WINDOW // 2)
        ladder.head[book, BASE] = base
    index = price - base
    if 0 <= index < WINDOW:
        ladder.size[book, side, index] = size
    else:
        far_put(ladder, book, side, price, size)
    best = ladder.best[book, side]
    if size > 0:
        if (side == BID and price > best) or (side == ASK and price < best):
            ladder.best[book, side] = price
            center(ladder, book, price)
    elif price == best:
        best = next_price(ladder, book, side, price)
        ladder.best[book, side] = best
        if best != NO_BID and best != NO_ASK:
            center(ladder, book, best)


@njit(cache=True)
def depth(ladder, book, side, levels):
    """Lots on the best `levels` occupied prices."""
    total = np.int64(0)
    price = ladder.best[book, side]
    for _ in range(levels):
        if price == NO_BID or price == NO_ASK:
            break
        total += size_at(ladder, book, side, price)
        price = next_price(ladder, book, side, price)
    return total
