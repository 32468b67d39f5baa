"""Perception's inner loop, compiled: admission and market over a block of the tape in one pass.

And the count of what each source has sent, for the page and the summary.
"""

from typing import Any

import numpy as np
from numba import njit

from seawall.admission import kernels as admission
from seawall.core import ladder as depth
from seawall.market import closing
from seawall.market import kernels as market

DEPTH, TICK = 1, 10
BEGIN, END = 1, 2
COMMON = (
    BEGIN | admission.MARKS
)  # of a row in the middle of a message: no BEGIN, its source's marks
TOKEN = 1_000_000_000  # of the rate's bucket, for one row


@njit(cache=True)
def perceive(
    admitting,
    state,
    rows,
    start,
    reasons,
    frames,
    room,
    book_of,
    verdicts,
    limits,
    sources,
    tickets,
    ladders,
    clocks,
    books,
):
    """Rows from `start` on into books and frames.

    The arrays behind `room` are those of `admitting` and `state` given once more by
    themselves because of what reading them out of a tuple costs (core.ladder).

    Stops early where fewer than `room` frames are left, so that the caller can empty the buffer,
    and at the end of each review period, so that the gates can speak before the next row is read.
    Returns (next row, frames written).
    """
    count = 0
    limit = len(frames) - room
    clock = clocks[0]
    rules = limits[0]
    i = start
    while i < len(rows):
        row = rows[i]
        if row["recv_ts"] > clock["boundary"]:
            if count > limit:
                return i, count
            review = clock["review_end"]
            count = closing.pass_boundary(state, verdicts, row["recv_ts"], frames, count)
            if clock["review_end"] != review:
                return i, count
        clock["last"] = row["recv_ts"]
        clock["tape"] += 1
        i += 1
        if row["kind"] == TICK:
            continue
        at = admission.find_book(book_of, row)
        if at < 0:
            reasons[i - 1] = admission.step(admitting, row)  # counts it
            continue
        source = sources[row["source"]]
        reason = admission.check(rules, verdicts[at], source, tickets[at], row)
        if reason != 0:
            reasons[i - 1] = reason
            admitting.refused[row["source"], reason] += 1
        market.apply(ladders[at], clock, books[at], row, reason, source["extra"])
        within = reason == 0 and row["kind"] == DEPTH and not row["flags"] & END
        if within and tickets[at]["in_snapshot"] == 0 and books[at]["whole"] == 1:
            first = i
            i = go_on(verdicts[at], source, tickets[at], ladders[at], books[at], rows, first)
            clock["tape"] += i - first
    return len(rows), count


@njit(cache=True)
def go_on(verdict, source, ticket, ladder, book, rows, start):
    """The rows of a depth message behind an admitted one, as far as nothing is wrong with them.

    What they have in common with the row before them has been checked there; this does what
    `admission.check` and `market.apply` would do. Returns the row that it leaves to those two.
    """
    head = rows[start - 1]
    low = verdict["low"]
    high = verdict["high"]
    tokens = source["tokens"]
    i = start
    while i < len(rows):
        row = rows[i]
        side = np.int64(row["side"])
        price = row["price"]
        size = row["size"]
        alike = row["recv_ts"] == head["recv_ts"] and row["source"] == head["source"]
        alike = alike and row["instrument"] == head["instrument"] and row["kind"] == DEPTH
        marks = (row["flags"] & COMMON) == (head["flags"] & admission.MARKS)
        if not (alike and marks and side <= 1 and 0 < price < admission.PRICE_LIMIT):
            break
        if not 0 <= size < admission.SIZE_LIMIT:
            break
        if size > 0 and ((side == 0 and price > high) or (side == 1 and price < low)):
            break
        if tokens >= TOKEN:
            tokens -= TOKEN
        depth.put(ladder, side, price, size)
        i += 1
        if row["flags"] & END:
            ticket["reason"] = admission.GAP
            book["delay"] = source["extra"] * 1e-9
            market.end_depth(ladder, book, row)
            break
    source["tokens"] = tokens
    source["epoch_rows"] += i - start
    source["admitted"] += i - start
    return i


@njit(cache=True)
def share(frames, rows, group_of, groups):
    """What is known of a group, into the frames of its books.

    Args:
        frames, rows: whole boundaries, in order. group_of: (books,).
    """
    first = 0
    for i in range(len(frames)):
        if i > 0 and frames[i]["ts"] != frames[i - 1]["ts"]:
            first += groups
        frame, row = frames[i], rows[first + group_of[frames[i]["book"]]]
        frame["location"] = row["location"]
        frame["scale"] = row["scale"]
        frame["gate"] = row["gate"]
        frame["regime"] = row["regime"]
        frame["volatility"] = row["volatility"]


@njit(cache=True)
def count_rows(rows: Any, counts: Any, last: Any, gap: int, gaps: Any) -> int:
    """Rows of each source, and the silences between them; how many silences there were.

    Args:
        counts: (sources,) raised. last: (sources,) ns UTC of each one's last row, 0: none yet.
        gap: ns, the shortest silence. gaps: (n, 3) source, start and length of the last n, a ring.
    """
    found = 0
    for i in range(len(rows)):
        row = rows[i]
        if row["kind"] == TICK:
            continue
        source = row["source"]
        counts[source] += 1
        before, now = last[source], row["recv_ts"]
        if before > 0 and now - before > gap:
            place = found % len(gaps)
            gaps[place, 0] = source
            gaps[place, 1] = before
            gaps[place, 2] = now - before
            found += 1
        last[source] = now
    return found
