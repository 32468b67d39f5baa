"""Attacks on flow, compiled: wash trades, and orders that are shown and never meant.

Cong, Li, Tang, Yang 2023 (wash trading: volume without price, round sizes). Spoofing: a large order
behind the touch of one side; layering: several. They ride in the source's own depth messages.
"""

import numpy as np
from numba import njit

from seawall.core import ladder as ladders
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID
from seawall.lab.attacks.shadow_kernels import (
    BAR_CLOSE,
    BEGIN,
    DEPTH,
    DOWN,
    END,
    ROOM,
    SNAPSHOT,
    TRADE,
    find_book,
    learn,
    roll,
    write_level,
)

PAIRS = 8  # wash pairs after one trade, at most
LAYERS = 10  # standing spoof orders of a book, at most
TYPICAL = 16  # trades that the typical size remembers

WASH = np.dtype(
    [
        ("debt", "<f8"),  # lots still to be washed
        ("typical", "<i8"),  # size of a trade, lots x TYPICAL
        ("added", "<i8"),  # trades added so far: later ones are numbered on
    ]
)

SPOOF = np.dtype(
    [
        ("standing", "<i8"),  # orders shown now
        ("side", "<i8"),
        ("price", "<i8", (LAYERS,)),  # ticks
        ("size", "<i8", (LAYERS,)),  # lots
    ]
)


@njit(cache=True)
def round_size(lots):
    """The largest of 1, 2, 5, 10, 20, 50 ... lots that is not above `lots`; at least 1."""
    unit = np.int64(1)
    while unit * 10 <= lots:
        unit *= 10
    if 5 * unit <= lots:
        return 5 * unit
    return 2 * unit if 2 * unit <= lots else unit


@njit(cache=True)
def write_trade(out, count, row, wash, side, price, size):
    """One more trade right behind `row`, with the next number."""
    wash["added"] += 1
    out[count] = row
    out[count]["sequence"] = row["sequence"] + wash["added"]
    if row["previous"] >= 0:
        out[count]["previous"] = row["sequence"] + wash["added"] - 1
    out[count]["side"] = side
    out[count]["price"] = price
    out[count]["size"] = size
    out[count]["flags"] = row["flags"] | BEGIN | END
    return count + 1


@njit(cache=True)
def wash_trade(book, wash, row, ratio, draw, out, count):
    """An honest trade, renumbered, and the pairs at the touch that it is time for.

    `ratio`: washed lots per honest lot, 0 while the attack rests. `draw`: uniform.
    """
    out[count] = row
    out[count]["sequence"] = row["sequence"] + wash["added"]
    if row["previous"] >= 0:
        out[count]["previous"] = row["previous"] + wash["added"]
    count += 1
    size = row["size"]
    if ratio == 0.0 or size <= 0 or not row["flags"] & END:
        return count
    if wash["typical"] == 0:
        wash["typical"] = size * TYPICAL
    wash["typical"] += size - wash["typical"] // TYPICAL
    wash["debt"] += size * ratio
    if book["bid"] <= 0:
        return count
    pair = 2 * round_size(np.int64((0.5 + draw) * (wash["typical"] // TYPICAL)))
    for _ in range(PAIRS):
        owed = np.int64(wash["debt"])
        if owed < pair:
            break
        lots = pair
        if owed > 4 * pair:  # a large trade went before: larger ones do
            lots = 2 * round_size(owed // 4)
        wash["debt"] -= lots
        first = 1 if draw < 0.5 else 0
        for side in (first, 1 - first):
            price = book["ask"] if side == 0 else book["bid"]
            count = write_trade(out, count, row, wash, side, price, lots // 2)
    return count


@njit(cache=True)
def run_wash(shadow, washes, rows, start, ratio, active, draws, out):
    """Rows from `start` on; washes: (books,) WASH; active, draws: (rows,) bool and uniforms.

    Returns (next row, rows written to `out`).
    """
    count = 0
    limit = len(out) - ROOM
    for i in range(start, len(rows)):
        if count > limit:
            return i, count
        row = rows[i]
        at = find_book(shadow.book_of, row)
        if at < 0 or shadow.books[at]["own"] == 0:
            out[count] = row
            count += 1
            continue
        learn(shadow, at, row)
        now = ratio if active[i] else 0.0
        if row["kind"] == TRADE:
            count = wash_trade(shadow.books[at], washes[at], row, now, draws[i], out, count)
            continue
        out[count] = row
        if row["kind"] == BAR_CLOSE:  # a bar shows volume only
            out[count]["size"] = row["size"] + np.int64(row["size"] * now)
        count += 1
    return len(rows), count


@njit(cache=True)
def layer_at(spoof, side, price):
    """Lots of ours at a price."""
    if spoof["standing"] > 0 and spoof["side"] == side:
        for k in range(spoof["standing"]):
            if spoof["price"][k] == price:
                return spoof["size"][k]
    return np.int64(0)


@njit(cache=True)
def exposed(ladder, spoof):
    """Whether an order of ours is no longer behind the honest touch: it could be traded."""
    best = ladder["best"][spoof["side"]]
    for k in range(spoof["standing"]):
        if spoof["side"] == BID and spoof["price"][k] >= best:
            return True
        if spoof["side"] == ASK and spoof["price"][k] <= best:
            return True
    return False


@njit(cache=True)
def withdraw(ladder, spoof, row, out, count):
    """Cancel what stands."""
    for k in range(spoof["standing"]):
        price = spoof["price"][k]
        honest = ladders.size_at(ladder, spoof["side"], price)
        count = write_level(out, count, row, spoof["side"], price, honest)
    spoof["standing"] = 0
    return count


@njit(cache=True)
def show(ladder, spoof, side, distance, layers, multiple, row, out, count):
    """Show orders at `layers` occupied prices from the one `distance` behind the touch on.

    Each is `multiple` times the mean honest size of the best five levels.
    """
    size = np.int64(np.rint(multiple * ladders.depth(ladder, side, 5) / 5.0))
    price = ladder["best"][side]
    for _ in range(distance):
        if price == NO_BID or price == NO_ASK:
            return count
        price = ladders.next_price(ladder, side, price)
    spoof["side"] = side
    for _ in range(layers):
        if price == NO_BID or price == NO_ASK or size <= 0:
            break
        spoof["price"][spoof["standing"]] = price
        spoof["size"][spoof["standing"]] = size
        spoof["standing"] += 1
        honest = ladders.size_at(ladder, side, price)
        count = write_level(out, count, row, side, price, honest + size)
        price = ladders.next_price(ladder, side, price)
    return count


@njit(cache=True)
def end_message(ladder, book, spoof, row, side, distance, layers, multiple, out, count):
    """The last row of a depth message has been written: withdraw, show, and end it anew."""
    first = count
    wanted = side >= 0 and book["bid"] > 0
    if spoof["standing"] > 0 and (not wanted or spoof["side"] != side or exposed(ladder, spoof)):
        count = withdraw(ladder, spoof, row, out, count)
    if wanted and spoof["standing"] == 0 and not exposed_book(ladder):
        count = show(ladder, spoof, side, distance, layers, multiple, row, out, count)
    if count > first:
        out[first - 1]["flags"] = out[first - 1]["flags"] & ~np.uint16(END)
        out[count - 1]["flags"] |= END
    return count


@njit(cache=True)
def exposed_book(ladder):
    """Whether a side is empty or the book is crossed: nothing can stand behind its touch."""
    bid, ask = ladder["best"][BID], ladder["best"][ASK]
    return bid == NO_BID or ask == NO_ASK or bid >= ask


@njit(cache=True)
def run_spoof(shadow, spoofs, rows, start, sides, distance, layers, multiple, out):
    """Rows from `start` on; spoofs: (books,) SPOOF; sides: (rows,) 0 bids, 1 asks, -1 none now.

    Returns (next row, rows written to `out`).
    """
    count = 0
    limit = len(out) - ROOM
    for i in range(start, len(rows)):
        if count > limit:
            return i, count
        row = rows[i]
        roll(shadow, row["recv_ts"])
        at = find_book(shadow.book_of, row)
        out[count] = row
        count += 1
        if at < 0 or shadow.books[at]["own"] == 0:
            continue
        learn(shadow, at, row)
        book, spoof, ladder = shadow.books[at], spoofs[at], shadow.ladders[at]
        kind = row["kind"]
        if kind == SNAPSHOT or kind == DOWN:
            spoof["standing"] = 0
        elif kind == DEPTH:
            out[count - 1]["size"] += layer_at(spoof, row["side"], row["price"])
        if (kind == DEPTH or kind == SNAPSHOT) and row["flags"] & END and book["whole"] == 1:
            count = end_message(
                ladder, book, spoof, row, sides[i], distance, layers, multiple, out, count
            )
    return len(rows), count
