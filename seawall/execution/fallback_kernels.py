"""How deep into the book an exit goes now, and what it learns of the book while it waits.

Bands are distances from the mid, nearest first; sizes are lots of the side that is taken from.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from seawall.core import ladder as books
from seawall.core.ladder import NO_ASK, NO_BID


class Memory(NamedTuple):
    """What one exit has seen of its book.

    Attributes:
        usual: (bands,) lots when the trigger was met, before it took anything.
        after: (bands,) lots that its last slice left behind.
        reached: (bands,) whether its last slice went so far.
        tally: (4,) lots that had come back, over all slices; lots that were missing then; weight of
            the first guess, in missing lots; how often it looked.
    """

    usual: np.ndarray
    after: np.ndarray
    reached: np.ndarray
    tally: np.ndarray


@njit(cache=True)
def memory(bands):
    """Of an exit that has not looked at its book yet."""
    return Memory(np.zeros(bands), np.zeros(bands), np.zeros(bands, np.bool_), np.zeros(4))


@njit(cache=True)
def look(known, lots, trust):
    """Learn from the book before a slice: (bands,) lots that are there now.

    What is missing where the last slice was, against `usual`, is the hole; what is there beyond
    `after` has come back.
    """
    tally = known.tally
    if tally[3] == 0.0:
        known.usual[:] = lots
    else:
        missing = 0.0
        back = 0.0
        for band in range(len(lots)):
            hole = known.usual[band] - known.after[band]
            if known.reached[band] and hole > 0.0:
                missing += hole
                back += min(hole, max(0.0, lots[band] - known.after[band]))
        tally[0] += back
        tally[1] += missing
        if tally[3] == 1.0:
            tally[2] = trust * missing
    tally[3] += 1.0
    known.after[:] = lots


@njit(cache=True)
def refill(known, guess):
    """Share of a hole that is back by the next slice: of what was seen, and of the first guess."""
    seen = known.tally[1] + known.tally[2]
    return (guess * known.tally[2] + known.tally[0]) / seen if seen > 0.0 else guess


@njit(cache=True)
def reach(away, lots, usual, left, slices, back, drift):
    """The distance from the mid up to which it pays to take now.

    A lot at distance d costs d now, and d + n * drift as one of those that have come back n slices
    later. Each level refills by itself, so what is taken early comes back the oftener, and all that
    costs less than some price is taken as soon as it is there; the price is the lowest at which,
    over all slices, enough is expected to be had. As in Obizhaeva and Wang (2013) that is a first
    take and then one at the pace of the refill; without refill it is everything at once.

    Args:
        away: (bands,) rising distances, shares of the mid. lots: (bands,) there now. usual:
            (bands,) there when undisturbed. left: lots still to go.
        slices: further slices after this one. back: share of a hole that is back by the next.
        drift: what one slice of waiting costs, share of the mid, at least 0.

    Returns:
        The distance; 1 if even the whole book is not expected to be enough.
    """
    low = 0.0
    high = 1.0
    for _ in range(50):
        price = 0.5 * (low + high)
        had = 0.0
        for band in range(len(away)):
            room = price - away[band]
            if room >= 0.0:
                later = slices
                if drift * slices > room:
                    later = int(room / drift)
                had += lots[band] + back * usual[band] * later
        if had >= left:
            high = price
        else:
            low = price
    return high


@njit(cache=True)
def slice_reach(known, away, lots, left, slices, guess, trust, drift):
    """Look, and say how deep this slice goes: `look`, `refill` and `reach` in one."""
    look(known, lots, trust)
    found = reach(away, lots, known.usual, left, slices, refill(known, guess), drift)
    for band in range(len(away)):
        known.reached[band] = away[band] <= found
    return found


@njit(cache=True)
def took(known, filled):
    """What a slice got, in lots: it is gone from the nearest bands first."""
    for band in range(len(known.after)):
        here = min(filled, known.after[band])
        known.after[band] -= here
        filled -= here


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
