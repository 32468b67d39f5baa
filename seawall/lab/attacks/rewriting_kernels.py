"""Attacks that say something else than the truth about books: moved, frozen, or nothing, compiled.

A book that changes its story does so by a snapshot in the place of the message under way, so that
what is sent stays one consistent book with an unbroken sequence.
"""

import numpy as np
from numba import njit

from seawall.core import ladder as ladders
from seawall.lab.attacks.shadow_kernels import (
    BAR_CLOSE,
    BAR_OPEN,
    BEGIN,
    BY_DEPTH,
    DEPTH,
    DOWN,
    END,
    LEVELS,
    QUOTE,
    ROOM,
    SNAPSHOT,
    find_book,
    learn,
    roll,
    sigma_of,
    write_snapshot,
)

PASS, SWALLOW, REWRITE, REPEAT, HOLD = range(5)  # what happens to the message under way
TRUE, MUTE, FROZEN = range(3)  # what the attack wants

STORY = np.dtype(
    [
        ("mode", "<i8"),  # of the message under way
        ("offset", "<i8"),  # ticks that the told book lies above the true one
        ("wanted", "<f8"),  # sigmas that `offset` was made of, NaN while the truth is told
        ("measured", "<i8"),  # with a measured sigma
        ("behind", "<i8"),  # messages were kept back: the told book must be sent anew
        ("frozen", "<i8"),  # the frozen book has been taken
        ("frame", "<i8"),  # of the frozen book's last repetition
        ("bid", "<i8"),  # the frozen touch, ticks
        ("ask", "<i8"),
        ("price", "<i8", (2, LEVELS)),  # the frozen book, lots 0 where there is no level
        ("size", "<i8", (2, LEVELS)),
    ]
)


@njit(cache=True)
def wanted_offset(shadow, at, story, wanted):
    """(ticks, made with a measured sigma): where the told book should lie above the true one."""
    if np.isnan(wanted):
        return np.int64(0), 0
    book = shadow.books[at]
    sigma, measured = sigma_of(shadow, book["group"])
    middle = 0.5 * (book["bid"] + book["ask"])
    if middle == 0.0 or (wanted == story["wanted"] and measured == story["measured"]):
        return np.int64(story["offset"]), measured
    offset = np.int64(np.rint(wanted * sigma * middle))
    return max(offset, -(book["bid"] // 2)), measured


@njit(cache=True)
def freeze(shadow, at, story):
    """Take the book as it stands."""
    book = shadow.books[at]
    ladder = shadow.ladders[at]
    story["frozen"] = 1
    story["bid"] = book["bid"]
    story["ask"] = book["ask"]
    story["price"][:, :] = 0
    story["size"][:, :] = 0
    for side in range(2):
        price = ladder["best"][side]
        for level in range(LEVELS):
            if price == ladders.NO_BID or price == ladders.NO_ASK:
                break
            story["price"][side, level] = price
            story["size"][side, level] = ladders.size_at(ladder, side, price)
            price = ladders.next_price(ladder, side, price)


@njit(cache=True)
def begin_frozen(shadow, at, story, row):
    """A message of a source that repeats its last book once a frame and nothing else."""
    book = shadow.books[at]
    kind = row["kind"]
    if story["frozen"] == 0 and book["bid"] > 0 and (book["whole"] or book["made_of"] != BY_DEPTH):
        freeze(shadow, at, story)
    story["mode"] = SWALLOW
    story["behind"] = 1
    if story["frozen"] == 0:
        return
    if kind == DEPTH or kind == SNAPSHOT:
        frame = row["recv_ts"] // shadow.clock[0]["frame"]
        if frame != story["frame"]:
            story["frame"] = frame
            story["mode"] = REPEAT
    elif kind == QUOTE or BAR_OPEN <= kind <= BAR_CLOSE:
        story["mode"] = HOLD


@njit(cache=True)
def begin(shadow, at, story, row, wish, wanted):
    """A message of an owned book begins: decide what becomes of it."""
    if wish == FROZEN:
        begin_frozen(shadow, at, story, row)
        return
    story["frozen"] = 0
    if wish == MUTE:
        story["mode"] = SWALLOW
        story["behind"] = 1
        return
    story["mode"] = PASS
    kind = row["kind"]
    book = shadow.books[at]
    bare = BAR_OPEN <= kind <= BAR_CLOSE or (kind == QUOTE and book["made_of"] != BY_DEPTH)
    rewritable = kind == DEPTH and book["whole"] == 1
    if kind == DOWN:
        story["behind"] = 0
    if not (bare or rewritable or kind == SNAPSHOT):
        return
    offset, measured = wanted_offset(shadow, at, story, wanted)
    if rewritable and (offset != story["offset"] or story["behind"] == 1):
        story["mode"] = REWRITE
    story["offset"] = offset
    story["wanted"] = wanted
    story["measured"] = measured
    story["behind"] = 0


@njit(cache=True)
def tell_frozen(out, count, row, story, ladder):
    """The frozen book as the message that `row` ends."""
    ladders.clear(ladder)
    for side in range(2):
        for level in range(LEVELS):
            if story["size"][side, level] > 0:
                price = story["price"][side, level]
                ladders.put(ladder, side, price, story["size"][side, level])
    return write_snapshot(out, count, row, ladder, np.int64(0))


@njit(cache=True)
def tell(shadow, at, story, row, spare, out, count):
    """Write what becomes of a row that the attacker has already learnt from."""
    mode = story["mode"]
    kind = row["kind"]
    if mode == SWALLOW:
        return count
    if mode == REWRITE or mode == REPEAT:
        if not row["flags"] & END:
            return count
        if mode == REPEAT:
            return tell_frozen(out, count, row, story, spare)
        return write_snapshot(out, count, row, shadow.ladders[at], story["offset"])
    out[count] = row
    if mode == HOLD:
        out[count]["price"] = story["ask"] if row["side"] == 1 else story["bid"]
    elif kind != SNAPSHOT and kind != DOWN and story["offset"] != 0 and row["price"] > 0:
        price = row["price"] + story["offset"]
        if price < 1:
            price = np.int64(1)
            if kind == DEPTH:
                out[count]["size"] = 0
        out[count]["price"] = price
    return count + 1


@njit(cache=True)
def run(shadow, stories, spare, rows, start, wishes, wanted, out):
    """Rows from `start` on, until they end or `out` is full.

    Args:
        stories: (books,) STORY. spare: (1,) LADDER, room to work in.
        wishes: (rows,) TRUE, MUTE or FROZEN; wanted: (rows,) sigmas, NaN for the truth. Both count
            at the first rows of owned messages.

    Returns:
        (next row, rows written to `out`).
    """
    count = 0
    limit = len(out) - ROOM
    for i in range(start, len(rows)):
        if count > limit:
            return i, count
        row = rows[i]
        roll(shadow, row["recv_ts"])
        at = find_book(shadow.book_of, row)
        if at < 0:
            out[count] = row
            count += 1
            continue
        if shadow.books[at]["own"] == 0:
            learn(shadow, at, row)
            out[count] = row
            count += 1
            continue
        story = stories[at]
        if row["flags"] & BEGIN:
            begin(shadow, at, story, row, wishes[i], wanted[i])
        learn(shadow, at, row)
        count = tell(shadow, at, story, row, spare[0], out, count)
    return len(rows), count
