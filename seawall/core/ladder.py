"""The compiled order book: a dense window of ticks around the touch and a sorted list beyond it.

Prices are ticks, sizes lots, both int64. Side 0 holds bids, side 1 asks. Applying a row costs a few
nanoseconds inside the window; what lies outside (some per cent of real rows) costs a bisection.

A ladder is one record with its levels inside, because a compiled call passes a record as a pointer,
while arrays are copied and counted at each call, which costs four times the work itself.
"""

import numpy as np
from numba import config as numba_config
from numba import njit

BID = 0
ASK = 1
NO_BID = -1  # best bid of an empty side
NO_ASK = 1 << 62  # best ask of an empty side
SMALL = bool(getattr(numba_config, "DISABLE_JIT", False))  # in plain Python a wide window is slow
WINDOW = 1 << (8 if SMALL else 16)  # ticks in the dense window; any width gives the same books
FAR = 1 << (7 if SMALL else 14)  # levels beyond it, per side; the farthest go first
STRIDE = 8  # cells looked at together
MARGIN = WINDOW // 8  # the window is moved when the touch comes this close to its edge

LADDER = np.dtype(
    [
        ("origin", "<i8"),  # tick of the window's first cell, -1 when unset
        ("dropped", "<i8"),  # levels given up because FAR was full
        ("best", "<i8", (2,)),  # ticks, by side
        ("far_count", "<i8", (2,)),  # far levels, by side
        ("cells", "<i8", (2, WINDOW)),  # lots in the window
        ("far_price", "<i8", (2, FAR)),  # ticks, ascending
        ("far_size", "<i8", (2, FAR)),  # lots
    ]
)


@njit(cache=True)
def clear(ladder):
    """Forget a book."""
    if ladder["origin"] >= 0:
        ladder["cells"][:, :] = 0
    ladder["origin"] = -1
    for side in range(2):
        ladder["best"][side] = NO_BID if side == BID else NO_ASK
        ladder["far_count"][side] = 0


@njit(cache=True)
def far_index(ladder, side, price):
    """Where `price` stands, or would stand, among the far levels."""
    low = np.int64(0)
    high = ladder["far_count"][side]
    while low < high:
        middle = (low + high) >> 1
        if ladder["far_price"][side, middle] < price:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def far_down(ladder, side, at, past):
    """Levels behind `at`, up to `past`, go one place down, over the one that stands there."""
    prices, sizes = ladder["far_price"][side], ladder["far_size"][side]
    for k in range(np.uint64(at), np.uint64(past - 1)):  # unsigned: no index counts from the end
        prices[k] = prices[k + np.uint64(1)]
    for k in range(np.uint64(at), np.uint64(past - 1)):
        sizes[k] = sizes[k + np.uint64(1)]


@njit(cache=True)
def far_up(ladder, side, at, past):
    """Levels from `at` on, up to `past`, go one place up, and leave their first place free."""
    prices, sizes = ladder["far_price"][side], ladder["far_size"][side]
    top = np.uint64(past)
    for k in range(np.uint64(past - at)):
        prices[top - k] = prices[top - k - np.uint64(1)]
    for k in range(np.uint64(past - at)):
        sizes[top - k] = sizes[top - k - np.uint64(1)]


@njit(cache=True)
def far_put(ladder, side, price, size):
    """Set a level outside the window."""
    count = ladder["far_count"][side]
    at = far_index(ladder, side, price)
    if at < count and ladder["far_price"][side, at] == price:
        if size > 0:
            ladder["far_size"][side, at] = size
        else:
            far_down(ladder, side, at, count)
            ladder["far_count"][side] = count - 1
        return
    if size <= 0:
        return
    if count == FAR:
        ladder["dropped"] += 1
        if side == BID:  # the lowest bid is the farthest
            if at == 0:
                return
            far_down(ladder, side, 0, at)
            ladder["far_price"][side, at - 1] = price
            ladder["far_size"][side, at - 1] = size
            return
        if at == count:
            return
        count -= 1
    far_up(ladder, side, at, count)
    ladder["far_price"][side, at] = price
    ladder["far_size"][side, at] = size
    ladder["far_count"][side] = count + 1


@njit(cache=True)
def levels_of(ladder, side):
    """All levels of a side, ascending: (prices, sizes)."""
    base = ladder["origin"]
    count = ladder["far_count"][side]
    levels = count
    for i in range(WINDOW):
        if ladder["cells"][side, i] > 0:
            levels += 1
    prices = np.empty(levels, np.int64)
    sizes = np.empty(levels, np.int64)
    n = 0
    k = 0
    while k < count and ladder["far_price"][side, k] < base:
        prices[n] = ladder["far_price"][side, k]
        sizes[n] = ladder["far_size"][side, k]
        n += 1
        k += 1
    for i in range(WINDOW):
        if ladder["cells"][side, i] > 0:
            prices[n] = base + i
            sizes[n] = ladder["cells"][side, i]
            n += 1
    while k < count:
        prices[n] = ladder["far_price"][side, k]
        sizes[n] = ladder["far_size"][side, k]
        n += 1
        k += 1
    return prices, sizes


@njit(cache=True)
def move_window(ladder, base):
    """Put the window at `base`; levels change place, none is lost (but by FAR's bound)."""
    for side in range(2):
        prices, sizes = levels_of(ladder, side)
        ladder["cells"][side, :] = 0
        ladder["far_count"][side] = 0
        levels = len(prices)
        for k in range(levels):
            # from the touch outwards, so that FAR's bound drops the farthest
            i = levels - 1 - k if side == BID else k
            index = prices[i] - base
            if 0 <= index < WINDOW:
                ladder["cells"][side, index] = sizes[i]
            else:
                far_put(ladder, side, prices[i], sizes[i])
    ladder["origin"] = base


@njit(cache=True)
def size_at(ladder, side, price):
    """Lots shown at a price."""
    base = ladder["origin"]
    if base < 0:
        return np.int64(0)
    index = price - base
    if 0 <= index < WINDOW:
        return ladder["cells"][side, index]
    at = far_index(ladder, side, price)
    if at < ladder["far_count"][side] and ladder["far_price"][side, at] == price:
        return ladder["far_size"][side, at]
    return np.int64(0)


@njit(cache=True)
def any_of(cells, side, first):
    """Whether any of STRIDE cells is occupied; books are sparse, and this looks at them at once."""
    found = np.int64(0)
    for k in range(STRIDE):
        found |= cells[side, first + k]
    return found != 0


@njit(cache=True)
def bid_below(ladder, price):
    """Highest occupied bid below `price`, NO_BID where there is none."""
    base = ladder["origin"]
    if price > base + WINDOW:
        at = far_index(ladder, BID, price) - 1
        if at >= 0 and ladder["far_price"][BID, at] >= base + WINDOW:
            return ladder["far_price"][BID, at]
    i = min(price - base, WINDOW) - 1
    cells = ladder["cells"]
    while i >= STRIDE - 1 and not any_of(cells, BID, i - STRIDE + 1):
        i -= STRIDE
    while i >= 0:
        if cells[BID, i] > 0:
            return base + i
        i -= 1
    at = far_index(ladder, BID, min(price, base)) - 1
    return ladder["far_price"][BID, at] if at >= 0 else np.int64(NO_BID)


@njit(cache=True)
def ask_above(ladder, price):
    """Lowest occupied ask above `price`, NO_ASK where there is none."""
    base = ladder["origin"]
    count = ladder["far_count"][ASK]
    if price < base - 1:
        at = far_index(ladder, ASK, price + 1)
        if at < count and ladder["far_price"][ASK, at] < base:
            return ladder["far_price"][ASK, at]
    i = max(price - base, -1) + 1
    cells = ladder["cells"]
    while i <= WINDOW - STRIDE and not any_of(cells, ASK, i):
        i += STRIDE
    while i < WINDOW:
        if cells[ASK, i] > 0:
            return base + i
        i += 1
    at = far_index(ladder, ASK, max(price + 1, base + WINDOW))
    return ladder["far_price"][ASK, at] if at < count else np.int64(NO_ASK)


@njit(cache=True)
def lose_best(ladder, side, price):
    """The best price is gone: find the next one and keep the window around it."""
    if side == BID:
        found = bid_below(ladder, price)
    else:
        found = ask_above(ladder, price)
    ladder["best"][side] = found
    if found != NO_BID and found != NO_ASK:
        center(ladder, found)


@njit(cache=True)
def center(ladder, price):
    """Keep the touch away from the window's edges."""
    index = price - ladder["origin"]
    if index < MARGIN or index >= WINDOW - MARGIN:
        base = max(np.int64(0), price - WINDOW // 2)
        if base != ladder["origin"]:
            move_window(ladder, base)


@njit(cache=True)
def put_at_touch(ladder, side, price, size):
    """`put` for what may move the touch or lies outside the window."""
    if ladder["origin"] < 0 and size > 0:
        ladder["origin"] = max(np.int64(0), price - WINDOW // 2)
    index = price - ladder["origin"]
    if 0 <= index < WINDOW:
        ladder["cells"][side, index] = size
    else:
        far_put(ladder, side, price, size)
    touch = ladder["best"][side]
    if size > 0:
        if (side == BID and price > touch) or (side == ASK and price < touch):
            ladder["best"][side] = price
            center(ladder, price)
    elif price == touch:
        lose_best(ladder, side, price)


@njit(cache=True)
def put(ladder, side, price, size):
    """Set the total at a price; 0 removes the level. Needs price > 0 and size >= 0.

    Most rows lie in the window and behind the touch. One comparison finds them, which nearly always
    comes out alike (the side and the size do not), and they are spared a call.
    """
    side = np.uint64(side)  # unsigned: no index counts from the end
    index = np.uint64(price - ladder["origin"])
    ahead = price - ladder["best"][side]
    behind = ahead > 0 if side else ahead < 0
    if (ladder["origin"] >= 0) & (index < np.uint64(WINDOW)) & behind:
        ladder["cells"][side, index] = size
    else:
        put_at_touch(ladder, np.int64(side), price, size)


@njit(cache=True)
def put_only(ladder, side, price, size):
    """Make this the only level of a side, for books that never have more than one.

    Spares `put` the search for a next level that is not there.
    """
    old = ladder["best"][side]
    if old != price and old != NO_BID and old != NO_ASK:
        index = old - ladder["origin"]
        if 0 <= index < WINDOW:
            ladder["cells"][side, index] = 0
        ladder["best"][side] = NO_BID if side == BID else NO_ASK
        ladder["far_count"][side] = 0
    put(ladder, side, price, size)


@njit(cache=True)
def next_price(ladder, side, price):
    """The next occupied price behind `price`, away from the touch; NO_BID or NO_ASK if none."""
    return bid_below(ladder, price) if side == BID else ask_above(ladder, price)


@njit(cache=True)
def depth(ladder, side, levels):
    """Lots on the best `levels` occupied prices."""
    total = np.int64(0)
    price = ladder["best"][side]
    for level in range(levels):
        if price == NO_BID or price == NO_ASK:
            break
        total += size_at(ladder, side, price)
        if level + 1 < levels:  # the next one may be far away
            price = next_price(ladder, side, price)
    return total
