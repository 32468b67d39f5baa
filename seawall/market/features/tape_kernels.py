"""Perception's inner loop with features, compiled: rows into books, frames and their samples."""

from numba import njit

from seawall.admission import kernels as admission
from seawall.market import closing
from seawall.market import kernels as market
from seawall.market.features import flow_kernels as flow

TICK = 10


@njit(cache=True)
def run(
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
    flows,
    samples,
):
    """Rows from `start` on into books and frames, as `seawall.node.kernels.perceive` does.

    `flows` (books,) go along with the books, and `samples` (as many as frames) are filled in beside
    the frames. Stops where `perceive` stops. Returns (next row, frames written).
    """
    count = 0
    limit = len(frames) - room
    clock = clocks[0]
    rules = limits[0]
    gap = clock["gap"]
    for i in range(start, len(rows)):
        row = rows[i]
        if row["recv_ts"] > clock["boundary"]:
            if count > limit:
                return i, count
            review = clock["review_end"]
            before = count
            count = closing.pass_boundary(state, verdicts, row["recv_ts"], frames, count)
            flow.take_all(flows, frames, before, count, samples)
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
        flow.step(flows[at], ladders[at], books[at], row, reason, gap)
    return len(rows), count
