"""Kernels of the simulated market: ten-level books and the tape rows that they send.

All randomness is drawn outside and comes in as arrays; prices are ticks, sizes lots, both int64.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Rows = NDArray[Any]  # dtype EVENT
Whole = int | np.int64
Real = float | np.float64

LEVELS = 10  # per side
JITTER = 1024  # grid cells before the offsets inside the cells repeat
ROWS_PER_MESSAGE = 4 * LEVELS + 1  # two whole sides away, two whole sides in, and a first row

MESSAGE_DEPTH = 0
MESSAGE_SNAPSHOT = 1
MESSAGE_TRADE = 2
MESSAGE_DOWN = 3

KIND_DEPTH = 1  # as in core.events
KIND_SNAPSHOT = 2
KIND_TRADE = 3
KIND_DOWN = 9
FLAG_BEGIN = 1
FLAG_END = 2


class Books(NamedTuple):
    """The books of one source, one per asset.

    best: (assets, 2) grid cell of the best bid and of the best ask. size: (assets, 2, LEVELS) lots
    now. sent_best, sent_size: the same as last told to the world. counter: (assets, 2) last depth
    sequence and last trade number. step: (assets,) ticks per grid cell. jitter: (assets, JITTER)
    ticks, 0 ≤ jitter < step: the price of cell k is k × step + jitter[k mod JITTER].
    """

    best: Integers
    size: Integers
    sent_best: Integers
    sent_size: Integers
    counter: Integers
    step: Integers
    jitter: Integers


class Messages(NamedTuple):
    """Messages of one source in the order of its own clock; n of them.

    asset, kind (MESSAGE_…), muted (the source is away: the books go on, nothing is sent): (n,).
    bid, ask: (n,) wanted best prices in ticks (float). side (0 BUY, 1 SELL) and lots of a trade:
    (n,). change: (n, 2 × LEVELS) uniforms, a level is redrawn where it is below `churn`. fresh:
    (n, 2 × LEVELS) lots ≥ 2 for new and redrawn levels.
    """

    asset: Integers
    kind: Integers
    muted: NDArray[np.bool_]
    bid: Floats
    ask: Floats
    side: Integers
    lots: Integers
    change: Floats
    fresh: Integers


@njit(cache=True)
def price_of(books: Books, asset: Whole, cell: Whole) -> Whole:
    """Ticks at the grid cell."""
    price: Whole = cell * books.step[asset] + books.jitter[asset, cell % JITTER]
    return price


@njit(cache=True)
def move_side(
    books: Books,
    asset: Whole,
    side: Whole,
    target: Whole,
    change: Floats,
    fresh: Integers,
    churn: Real,
) -> None:
    """Put the best of a side at cell `target`: levels that stay keep their size, unless redrawn."""
    outward = -1 if side == 0 else 1
    shift = (target - books.best[asset, side]) * outward
    old = books.size[asset, side].copy()
    for level in range(LEVELS):
        before = level + shift
        draw = side * LEVELS + level
        if 0 <= before < LEVELS and change[draw] >= churn:
            books.size[asset, side, level] = old[before]
        else:
            books.size[asset, side, level] = fresh[draw]
    books.best[asset, side] = target


@njit(cache=True)
def move_book(
    books: Books,
    asset: Whole,
    bid: Real,
    ask: Real,
    change: Floats,
    fresh: Integers,
    churn: Real,
) -> None:
    """Move both sides to the wanted best prices; the best ask stays above the best bid."""
    step = books.step[asset]
    bid_cell = np.int64(np.floor(bid / step))
    ask_cell = max(bid_cell + 1, np.int64(np.floor(ask / step)))
    move_side(books, asset, 0, bid_cell, change, fresh, churn)
    move_side(books, asset, 1, ask_cell, change, fresh, churn)


@njit(cache=True)
def put(out: Rows, at: Whole, kind: Whole, side: Whole, price: Whole, size: Whole) -> Whole:
    """Write one row's own part; the message's part is written by `seal`."""
    out[at]["kind"] = kind
    out[at]["side"] = side
    out[at]["price"] = price
    out[at]["size"] = size
    return at + 1


@njit(cache=True)
def seal(
    out: Rows, start: Whole, end: Whole, asset: Whole, sequence: Whole, previous: Whole
) -> None:
    """Write what the rows of a message share."""
    for at in range(start, end):
        out[at]["instrument"] = asset
        out[at]["sequence"] = sequence
        out[at]["previous"] = previous
        out[at]["flags"] = 0
    out[start]["flags"] |= FLAG_BEGIN
    out[end - 1]["flags"] |= FLAG_END


@njit(cache=True)
def tell(books: Books, asset: Whole) -> None:
    """Mark the books as sent."""
    books.sent_best[asset] = books.best[asset]
    books.sent_size[asset] = books.size[asset]


@njit(cache=True)
def send_snapshot(out: Rows, at: Whole, books: Books, asset: Whole) -> Whole:
    """The whole book."""
    at = put(out, at, KIND_SNAPSHOT, 0, 0, 0)
    for side in range(2):
        outward = -1 if side == 0 else 1
        for level in range(LEVELS):
            price = price_of(books, asset, books.best[asset, side] + outward * level)
            at = put(out, at, KIND_DEPTH, side, price, books.size[asset, side, level])
    return at


@njit(cache=True)
def send_difference(out: Rows, at: Whole, books: Books, asset: Whole) -> Whole:
    """What has changed since the books were last sent: levels gone first, so nothing crosses."""
    for side in range(2):
        outward = -1 if side == 0 else 1
        for level in range(LEVELS):
            cell = books.sent_best[asset, side] + outward * level
            now = (cell - books.best[asset, side]) * outward
            if not 0 <= now < LEVELS:
                at = put(out, at, KIND_DEPTH, side, price_of(books, asset, cell), 0)
    for side in range(2):
        outward = -1 if side == 0 else 1
        for level in range(LEVELS):
            cell = books.best[asset, side] + outward * level
            before = (cell - books.sent_best[asset, side]) * outward
            size = books.size[asset, side, level]
            known = 0 <= before < LEVELS
            if not known or books.sent_size[asset, side, before] != size:
                at = put(out, at, KIND_DEPTH, side, price_of(books, asset, cell), size)
    return at


@njit(cache=True)
def trade(
    out: Rows, at: Whole, books: Books, asset: Whole, side: Whole, lots: Whole, muted: bool
) -> Whole:
    """An aggressor of `side` takes from the best opposite level, which keeps at least one lot."""
    against = 1 - side
    there = books.size[asset, against, 0]
    taken = max(1, min(lots, there - 1))
    books.size[asset, against, 0] = max(1, there - taken)
    books.counter[asset, 1] += 1
    if muted:
        return at
    price = price_of(books, asset, books.best[asset, against])
    end = put(out, at, KIND_TRADE, side, price, taken)
    seal(out, at, end, asset, books.counter[asset, 1], -1)
    return end


@njit(cache=True)
def emit(books: Books, messages: Messages, churn: Real, out: Rows, owner: Integers) -> Whole:
    """Rows of the messages, in order.

    Args:
        books: the state, moved on.
        messages: what to send.
        churn: chance that a message redraws a level's size.
        out: (n × ROWS_PER_MESSAGE,) EVENT; instrument holds the asset's index, the times and the
            source are left alone.
        owner: the same length, int64; the message that a row belongs to.

    Returns:
        The number of rows written.
    """
    at: Whole = 0
    for index in range(len(messages.asset)):
        asset = np.int64(messages.asset[index])
        kind = messages.kind[index]
        muted = messages.muted[index]
        start = at
        if kind == MESSAGE_TRADE:
            side, lots = np.int64(messages.side[index]), messages.lots[index]
            at = trade(out, at, books, asset, side, lots, muted)
        elif kind == MESSAGE_DOWN:
            at = put(out, at, KIND_DOWN, 0, 0, 0)
            seal(out, start, at, asset, books.counter[asset, 0], -1)
        else:
            change, fresh = messages.change[index], messages.fresh[index]
            move_book(books, asset, messages.bid[index], messages.ask[index], change, fresh, churn)
            previous = books.counter[asset, 0]
            if muted:
                books.counter[asset, 0] += 1
            elif kind == MESSAGE_SNAPSHOT:
                at = send_snapshot(out, at, books, asset)
                previous = -1
            else:
                at = send_difference(out, at, books, asset)
            if at > start:
                books.counter[asset, 0] += 1
                seal(out, start, at, asset, books.counter[asset, 0], previous)
                tell(books, asset)
        for row in range(start, at):
            owner[row] = index
    return at
