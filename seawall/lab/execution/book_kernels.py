"""The best levels of a venue's book, copied out."""

from numba import njit

from seawall.core import ladder as books
from seawall.core.ladder import NO_ASK, NO_BID


@njit(cache=True)
def top_levels(ladder, out):
    """Copy the best levels into `out`, (2, depth, 2) of ticks and lots by side, 0 where none."""
    for side in range(2):
        level = ladder["best"][side]
        for k in range(out.shape[1]):
            if level == NO_BID or level == NO_ASK:
                out[side, k, 0] = 0
                out[side, k, 1] = 0
                continue
            out[side, k, 0] = level
            out[side, k, 1] = books.size_at(ladder, side, level)
            level = books.next_price(ladder, side, level)
