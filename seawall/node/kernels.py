"""Perception's inner loop, compiled: admission and market over a block of the tape in one pass.

And the count of what each source has sent, for the page and the summary.
"""

from typing import Any

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
