"""Perception's inner loop, compiled: admission and market over a block of the tape in one pass."""

from numba import njit

from seawall.admission import kernels as admission
from seawall.market import closing
from seawall.market import kernels as market

TICK = 10


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
    for i in range(start, len(rows)):
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
        if row["kind"] == TICK:
            continue
        at = admission.find_book(book_of, row)
        if at < 0:
            reasons[i] = admission.step(admitting, row)  # counts it
            continue
        source = sources[row["source"]]
        reason = admission.check(rules, verdicts[at], source, tickets[at], row)
        if reason != 0:
            reasons[i] = reason
            admitting.refused[row["source"], reason] += 1
        market.apply(ladders[at], clock, books[at], row, reason, source["extra"])
    return len(rows), count
