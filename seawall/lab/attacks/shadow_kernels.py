"""What an attacker sees, compiled: all books, and how far the market moves in a frame (a sigma).

The sigma of a group is the root of the mean square of the median return over the sources that the
attacker does not own, one return per frame; it is fixed once, when an attack needs it.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from seawall.core import ladder as ladders
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID

DEPTH, SNAPSHOT, TRADE, QUOTE, BAR_OPEN, BAR_HIGH, BAR_LOW, BAR_CLOSE, DOWN, TICK = range(1, 11)
BEGIN, END = 1, 2
BY_NOTHING, BY_DEPTH, BY_QUOTE, BY_BAR = range(4)  # what a book is made of

LEVELS = 20  # per side, in a snapshot that an attacker sends
ROOM = 2 * LEVELS + 24  # rows that one row of the tape may turn into, at most
MATURE = 60  # frames before the measured sigma is believed
MEMORY = 600  # frames that the mean square remembers
FALLBACK = 5e-5  # sigma until then: 28 % a year at one frame a second

BOOK = np.dtype(
    [
        ("own", "<i8"),  # the attacker's
        ("group", "<i8"),
        ("made_of", "<i8"),
        ("whole", "<i8"),  # a snapshot has come and the book has not been void since
        ("bid", "<i8"),  # the touch after the last whole message, ticks; 0 while unknown
        ("ask", "<i8"),
        ("quote_bid", "<i8"),  # of the quote under way
        ("last_mid", "<i8"),  # bid + ask at the last frame's end, 0 if unknown
    ]
)
GROUP = np.dtype([("square", "<f8"), ("frames", "<i8"), ("sigma", "<f8")])  # sigma 0: not yet fixed
CLOCK = np.dtype([("boundary", "<i8"), ("frame", "<i8")])  # ns; boundary 0 before the first row


class Shadow(NamedTuple):
    """The attacker's view.

    ladders: (books,) LADDER. books: (books,) BOOK. groups: (groups,) GROUP. clock: (1,) CLOCK.
    book_of: (instruments, sources) book or -1. scratch: (books,) room for sorting.
    """

    ladders: np.ndarray
    books: np.ndarray
    groups: np.ndarray
    clock: np.ndarray
    book_of: np.ndarray
    scratch: np.ndarray


@njit(cache=True)
def find_book(book_of, row):
    """The row's book, -1 where the catalog has none or where the row is a tick."""
    if row["kind"] < DEPTH or row["kind"] > DOWN:
        return np.int64(-1)
    if row["instrument"] >= book_of.shape[0] or row["source"] >= book_of.shape[1]:
        return np.int64(-1)
    return np.int64(book_of[row["instrument"], row["source"]])


@njit(cache=True)
def measure(shadow, group, frames):
    """A frame, or several, have ended: the median return of the others' books of a group."""
    scratch = shadow.scratch
    count = 0
    for k in range(len(shadow.books)):
        book = shadow.books[k]
        if book["group"] != group or book["own"] == 1:
            continue
        mid = book["bid"] + book["ask"]
        last = book["last_mid"]
        if mid > 0 and last > 0:
            value = (mid - last) / last
            j = count - 1
            while j >= 0 and scratch[j] > value:
                scratch[j + 1] = scratch[j]
                j -= 1
            scratch[j + 1] = value
            count += 1
    if count == 0:
        return
    half = count // 2
    median = scratch[half] if count & 1 else 0.5 * (scratch[half - 1] + scratch[half])
    record = shadow.groups[group]
    record["frames"] += 1
    square = median * median / frames
    record["square"] += (square - record["square"]) / min(record["frames"], MEMORY)


@njit(cache=True)
def roll(shadow, recv_ts):
    """Time has come to `recv_ts`: close the frames that have ended before it."""
    clock = shadow.clock[0]
    if recv_ts < clock["boundary"]:
        return
    frame = clock["frame"]
    if clock["boundary"] > 0:
        frames = (recv_ts - clock["boundary"]) // frame + 1
        for group in range(len(shadow.groups)):
            measure(shadow, group, frames)
        for k in range(len(shadow.books)):
            book = shadow.books[k]
            book["last_mid"] = book["bid"] + book["ask"]
    clock["boundary"] = (recv_ts // frame + 1) * frame


@njit(cache=True)
def sigma_of(shadow, group):
    """(sigma, 1 where it is the measured one): a fraction of the price per frame."""
    record = shadow.groups[group]
    if record["sigma"] == 0.0 and record["frames"] >= MATURE and record["square"] > 0.0:
        record["sigma"] = np.sqrt(record["square"])
    if record["sigma"] > 0.0:
        return record["sigma"], 1
    return FALLBACK, 0


@njit(cache=True)
def void(ladder, book):
    """Nothing is known of the book any longer."""
    ladders.clear(ladder)
    book["whole"] = 0
    book["bid"] = 0
    book["ask"] = 0


@njit(cache=True)
def note_touch(ladder, book):
    """A depth message is complete."""
    bid = ladder["best"][BID]
    ask = ladder["best"][ASK]
    if bid != NO_BID and ask != NO_ASK and bid < ask:
        book["bid"] = bid
        book["ask"] = ask


@njit(cache=True)
def learn(shadow, at, row):
    """Take in a row of book `at`."""
    kind = row["kind"]
    book = shadow.books[at]
    ladder = shadow.ladders[at]
    if kind == DEPTH:
        if book["whole"] == 1:
            if row["price"] > 0 and row["size"] >= 0 and row["side"] <= 1:
                ladders.put(ladder, np.int64(row["side"]), row["price"], row["size"])
            if row["flags"] & END:
                note_touch(ladder, book)
    elif kind == SNAPSHOT:
        ladders.clear(ladder)
        book["made_of"] = BY_DEPTH
        book["whole"] = 1
    elif kind == QUOTE:
        if book["made_of"] != BY_DEPTH:
            book["made_of"] = BY_QUOTE
            if row["side"] == BID:
                book["quote_bid"] = row["price"]
            if row["flags"] & END:
                book["bid"] = book["quote_bid"]
                book["ask"] = row["price"]
    elif kind == BAR_CLOSE:
        book["made_of"] = BY_BAR
        book["bid"] = row["price"]
        book["ask"] = row["price"]
    elif kind == DOWN:
        for instrument in range(shadow.book_of.shape[0]):
            lost = shadow.book_of[instrument, row["source"]]
            if lost >= 0:
                void(shadow.ladders[lost], shadow.books[lost])


@njit(cache=True)
def write_level(out, at, row, side, price, size):
    """One level of a message whose rows share what `row` says of it; no BEGIN, no END."""
    out[at] = row
    out[at]["kind"] = DEPTH
    out[at]["side"] = side
    out[at]["price"] = price
    out[at]["size"] = size
    out[at]["flags"] = row["flags"] & ~np.uint16(BEGIN | END)
    return at + 1


@njit(cache=True)
def write_snapshot(out, at, row, ladder, offset):
    """The best LEVELS of a book, moved by `offset` ticks, as the message that `row` belongs to."""
    first = at
    at = write_level(out, at, row, 0, np.int64(0), np.int64(0))
    out[first]["kind"] = SNAPSHOT
    for side in range(2):
        price = ladder["best"][side]
        for _ in range(LEVELS):
            if price == NO_BID or price == NO_ASK:
                break
            if price + offset > 0:
                size = ladders.size_at(ladder, side, price)
                at = write_level(out, at, row, side, price + offset, size)
            price = ladders.next_price(ladder, side, price)
    for k in range(first, at):
        out[k]["previous"] = -1
    out[first]["flags"] |= BEGIN
    out[at - 1]["flags"] |= END
    return at
