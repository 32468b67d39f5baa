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


@njit(cache=True)
def band_levels(ladder, edges_ppm, out):
    """Gather a book into bands of distance from the mid: (2, bands, 2) of mean distance, lots.

    Band k holds what stands within `edges_ppm[k]` of the mid, and further than the band before it.
    Distances are shares of the mid; an empty band has the distance of its edge and no lots.
    Returns the mid in ticks, 0 where a side is missing.
    """
    bid = ladder["best"][0]
    ask = ladder["best"][1]
    out[:] = 0.0
    if bid == NO_BID or ask == NO_ASK:
        return 0.0
    mid = (bid + ask) / 2.0
    for side in range(2):
        level = ladder["best"][side]
        band = 0
        while level != NO_BID and level != NO_ASK:
            away = abs(level - mid) / mid
            while band < len(edges_ppm) and away > edges_ppm[band] * 1e-6:
                band += 1
            if band == len(edges_ppm):
                break
            lots = books.size_at(ladder, side, level)
            out[side, band, 0] += away * lots
            out[side, band, 1] += lots
            level = books.next_price(ladder, side, level)
        for band in range(len(edges_ppm)):
            if out[side, band, 1] > 0:
                out[side, band, 0] /= out[side, band, 1]
            else:
                out[side, band, 0] = edges_ppm[band] * 1e-6
    return mid
