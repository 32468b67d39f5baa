"""A weighted reservoir with a cap per source, compiled: which rows are kept, and which make way."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit


class ReservoirState(NamedTuple):
    """What is kept, in no particular order, and what each source holds of it.

    key: (capacity,) log(u) / trust, nearer to 0 is better; source, event, trust: (capacity,);
    row: (capacity, d); held: (sources,) kept rows by source; least: (sources,) place of the worst
    of each that is at its cap, -1 where it must be looked for; size: (1,) kept in all; worst: (1,)
    place of the worst of all, or -1; offered: (1,) rows that have come by.
    Of the jumps alone: left: (sources,) trust to skip until the next candidate; floor: (sources,)
    the key that this candidate exceeds, -inf while there is none.
    """

    key: np.ndarray
    source: np.ndarray
    event: np.ndarray
    trust: np.ndarray
    row: np.ndarray
    held: np.ndarray
    least: np.ndarray
    size: np.ndarray
    worst: np.ndarray
    offered: np.ndarray
    left: np.ndarray
    floor: np.ndarray


@njit(cache=True)
def before(state, place, key, source, event):
    """Whether what is kept at a place is worse than a candidate; equal keys fall back on names."""
    if state.key[place] != key:
        return state.key[place] < key
    if state.source[place] != source:
        return state.source[place] > source
    return state.event[place] > event


@njit(cache=True)
def worst_of(state, source):
    """Place of the worst row of a source, or of all for -1; -1 where there is none."""
    found = -1
    for i in range(state.size[0]):
        if source >= 0 and state.source[i] != source:
            continue
        if found < 0 or before(state, i, state.key[found], state.source[found], state.event[found]):
            found = i
    return found


@njit(cache=True)
def rival(state, source, cap):
    """Place that a new row of this source would have to take; -1 where there is room."""
    if state.held[source] >= cap:
        if state.least[source] < 0:
            state.least[source] = worst_of(state, source)
        return state.least[source]
    if state.size[0] == len(state.key):
        if state.worst[0] < 0:
            state.worst[0] = worst_of(state, -1)
        return state.worst[0]
    return -1


@njit(cache=True)
def keep(state, cap, source, event, trust, key, row):
    """Keep one row if its key is among the best; whether it was kept. A known event stays once."""
    if not key > -np.inf:
        return False
    place = rival(state, source, cap)
    if place >= 0 and not before(state, place, key, source, event):
        return False
    for i in range(state.size[0]):
        if state.event[i] == event and state.source[i] == source:
            return False
    if place < 0:
        place = state.size[0]
        state.size[0] += 1
    else:
        state.held[state.source[place]] -= 1
    state.key[place] = key
    state.source[place] = source
    state.event[place] = event
    state.trust[place] = trust
    for j in range(len(row)):
        state.row[place, j] = row[j]
    state.held[source] += 1
    state.least[source] = -1
    state.worst[0] = -1
    return True


@njit(cache=True)
def offer(state, cap, source, event, trust, uniform, rows):
    """A block of rows, keys log(uniform) / trust (Efraimidis and Spirakis 2006, algorithm A-Res).

    Returns how many were kept when they came.
    """
    kept = 0
    for i in range(len(source)):
        state.offered[0] += 1
        if trust[i] > 0.0:
            key = math.log(uniform[i]) / trust[i]
            # Most rows end here, without a call.
            place = -1
            if state.held[source[i]] >= cap:
                place = state.least[source[i]]
            elif state.size[0] == len(state.key):
                place = state.worst[0]
            if place >= 0 and state.key[place] > key:
                continue
            kept += keep(state, cap, source[i], event[i], trust[i], key, rows[i])
    return kept


@njit(cache=True)
def offer_jumping(state, cap, source, event, trust, draws, rows):
    """A block of rows by exponential jumps (Efraimidis and Spirakis 2006, algorithm A-ExpJ).

    Each source has its own jump. While its rows have rivals, the trust that goes by until one
    exceeds the floor has the law of log(r) / floor; the row on which it ends gets a key from the
    part of its law above the floor. A floor that has risen since is met by comparing again.
    draws: (n, 2) uniforms tied to the events, for the key and for the next jump.
    """
    kept = 0
    for i in range(len(source)):
        state.offered[0] += 1
        one, weight = source[i], trust[i]
        if not weight > 0.0:
            continue
        if state.floor[one] == -np.inf:
            key = math.log(draws[i, 0]) / weight
        else:
            state.left[one] -= weight
            if state.left[one] > 0.0:
                continue
            # log of a uniform on (exp(w floor), 1), over w
            low = math.exp(weight * state.floor[one])
            key = math.log(low + (1.0 - low) * draws[i, 0]) / weight
        kept += keep(state, cap, one, event[i], weight, key, rows[i])
        place = rival(state, one, cap)
        if place >= 0:
            state.floor[one] = state.key[place]
            state.left[one] = math.log(draws[i, 1]) / state.key[place]
        else:
            state.floor[one] = -np.inf
    return kept
