"""Perception's inner loop, compiled: admission and market over a block of the tape in one pass."""

from numba import njit

from seawall.admission import kernels as admission
from seawall.market import closing
from seawall.market import kernels as market

TICK = 10


@njit(cache=True)
def perceive(admitting, state, rows, start, reasons, frames, room):
    """Rows from `start` on into books and frames.

    Stops early where fewer than `room` frames are left, so that the caller can empty the buffer.
    Returns (next row, frames written).
    """
    count = 0
    limit = len(frames) - room
    clock = state.clock[0]
    limits = admitting.limits[0]
    ladder = state.ladder
    rings = state.rings
    for i in range(start, len(rows)):
        row = rows[i]
        if row.recv_ts > clock.boundary:
            if count > limit:
                return i, count
            count = closing.pass_boundary(state, admitting.verdict, row.recv_ts, frames, count)
        clock.last = row.recv_ts
        clock.tape += 1
        if row.kind == TICK:
            continue
        at = admission.find_book(admitting.book_of, row)
        if at < 0:
            reasons[i] = admission.step(admitting, row)  # counts it
            continue
        source = admitting.sources[row.source]
        verdict = admitting.verdict[at]
        reason = admission.check(limits, verdict, source, admitting.books[at], row)
        if reason != 0:
            reasons[i] = reason
            admitting.refused[row.source, reason] += 1
        market.apply(ladder, rings, clock, at, state.books[at], row, reason, source.extra)
    return len(rows), count
