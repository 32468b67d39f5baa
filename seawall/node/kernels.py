"""Perception's inner loop, compiled: admission and market over a block of the tape in one pass.

And the count of what each source has sent, for the page and the summary.
"""

from typing import Any

from numba import njit

from seawall.admission import kernels as admission
from seawall.core import ladder as depth
from seawall.market import closing
from seawall.market import kernels as market

DEPTH, QUOTE, TICK = 1, 4, 10
BEGIN, END = 1, 2
COMMON = BEGIN | admission.MARKS  # of a row inside a message: no BEGIN, the marks of the first one


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

    The arrays behind `room` are those of `admitting` and `state` once more, because of what
    reading them out of a tuple costs. What is called for a row is given no array: each is counted.

    Stops early where fewer than `room` frames are left, so that the caller can empty the buffer,
    and when a review is due, before the next row. Returns (next row, frames written).
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
        if reason != 0 or row["flags"] & END:
            continue
        first = i
        if row["kind"] == QUOTE:
            if i < len(rows) and ends_quote(verdicts[at], tickets[at], row, rows[i]):
                row = rows[i]
                market.on_quote(ladders[at], books[at], row)
                i += 1
        elif row["kind"] == DEPTH and tickets[at]["in_snapshot"] == 0 and books[at]["whole"] == 1:
            while i < len(rows) and carries_on(verdicts[at], row, rows[i]):
                row = rows[i]
                depth.put(ladders[at], row["side"], row["price"], row["size"])
                i += 1
                if row["flags"] & END:
                    market.end_diff(ladders[at], books[at], row, source["extra"])
                    break
        clock["tape"] += i - first
        admission.pass_on(source, tickets[at], row, i - first)
    return len(rows), count


@njit(cache=True)
def follows(head, row):
    """Whether a row is of the message, and of the kind, of the one before it, by its own word.

    What it has in common with that one, which was admitted, has been checked there.
    """
    alike = row["recv_ts"] == head["recv_ts"] and row["source"] == head["source"]
    alike = alike and row["instrument"] == head["instrument"] and row["kind"] == head["kind"]
    return alike and (row["flags"] & COMMON) == (head["flags"] & admission.MARKS)


@njit(cache=True)
def carries_on(verdict, head, row):
    """Whether a row of a depth message follows its admitted `head` and nothing is wrong with it.

    With `admission.pass_on` this is what `admission.check` would do.
    """
    side = row["side"]
    price = row["price"]
    size = row["size"]
    if not (follows(head, row) and side <= 1 and 0 < price < admission.PRICE_LIMIT):
        return False
    beyond = price < verdict["low"] if side else price > verdict["high"]
    # one comparison for three: neither the size nor the side can be foreseen
    return 0 <= size < admission.SIZE_LIMIT and not ((size > 0) & beyond)


@njit(cache=True)
def ends_quote(verdict, ticket, head, row):
    """The same of the second and last row of a quote."""
    price = row["price"]
    if not (follows(head, row) and row["flags"] & END and row["side"] <= 1):
        return False
    if not (0 < price < admission.PRICE_LIMIT and 0 <= row["size"] < admission.SIZE_LIMIT):
        return False
    return verdict["low"] <= price <= verdict["high"] and price > ticket["touch_bid"]


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
