"""Agreement across sources, compiled: frames into the panel (who said what), the panel into rows.

Each live source has one value per group, boundary and feature, however many messages it sent
(DEFINITIONS 13, "Frames"); the consensus is their median, with the interval that holds the median
without the attack.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from seawall.market.closing import median

VALID, RESET, BAR, UNCORROBORATED = 1, 4, 16, 32
WIDTH = 8
LEVEL, VOLUME = 8, 9
PANEL_WIDTH = 10
RETURN, POSITION, MICRO, IMBALANCE, IMBALANCE_5, OFI, FLOW, SPREAD = range(WIDTH)
HIGH, LOW, NET = 10, 11, 12  # of a frame, beside the panel's columns
FRAME_WIDTH = 13


class AgreementState(NamedTuple):
    """Carry, by group and slot (a source's place in its group).

    group: (books,), slot: (books,) of each book. member: (groups, slots) 1 where the source votes.
    registered: (groups,) sources in the group. past: (groups, slots, horizon + 1, FRAME_WIDTH) what
    each source's last frames said, a ring. lived: (groups, slots) frames since the source was last
    silent. counts: (groups, slots) books in the frame under way. scratch: (slots,) room. faulty:
    (1,) how many hostile sources are withstood.
    """

    group: np.ndarray
    slot: np.ndarray
    member: np.ndarray
    registered: np.ndarray
    past: np.ndarray
    lived: np.ndarray
    counts: np.ndarray
    scratch: np.ndarray
    faulty: np.ndarray


@njit(cache=True, _nrt=False)
def lowest(observed, excluded, faulty):
    """Place (1-based) of the order statistic below which the clean median cannot lie; < 1: none.

    Of the observed values at most `faulty` are false, and at most `faulty + excluded` values of the
    clean run are missing. With |H| true values kept and c missing ones the clean median is at least
    H_(floor((|H| + c + 1) / 2) - c), and the least over what is possible is at |H| = observed -
    faulty, c = faulty + excluded.
    """
    return (observed + excluded + 1) // 2 - faulty - excluded


@njit(cache=True, _nrt=False)
def agree_on(scratch, count, excluded, faulty):
    """Median of scratch[:count] (sorted in place) and the interval of the clean one."""
    if count == 0:
        return np.nan, -np.inf, np.inf
    middle = median(scratch, count)
    place = lowest(count, excluded, faulty)
    if place < 1:
        return middle, -np.inf, np.inf
    return middle, scratch[place - 1], scratch[count - place]


@njit(cache=True, _nrt=False)
def clip_unit(value):
    """The value, held in [-1, 1]."""
    return min(1.0, max(-1.0, value))


@njit(cache=True, _nrt=False)
def add(frame, past, group, slot, at):
    """A valid frame's numbers onto its source's, past[group, slot, at]; LEVEL is the value here.

    Whole arrays and places in them: to cut a piece out of an array costs more than the sum.
    """
    mid = frame["mid"]
    mark = frame["quote_mark"]
    past[group, slot, at, MICRO] += (frame["micro"] - mid) / mid
    past[group, slot, at, IMBALANCE] += frame["imbalance"]
    past[group, slot, at, IMBALANCE_5] += frame["imbalance_5"]
    size = np.float64(frame["bid_size"] + frame["ask_size"])
    if size > 0.0:
        past[group, slot, at, OFI] += clip_unit(frame["ofi"] / size)
    past[group, slot, at, SPREAD] += 1e-4 * frame["spread_bps"]
    past[group, slot, at, LEVEL] += mid * mark
    past[group, slot, at, VOLUME] += frame["buy_volume"] + frame["sell_volume"]
    past[group, slot, at, HIGH] += frame["high"] * mark
    past[group, slot, at, LOW] += frame["low"] * mark
    past[group, slot, at, NET] += frame["buy_volume"] - frame["sell_volume"]


@njit(cache=True, _nrt=False)
def close_cell(past, group, slot, lived, panel, row):
    """The features of a source over its last frames, the newest at lived % length, into the panel.

    The return is brought to one frame by the square root of the frames that it spans. A source
    that has not lived so long has no features yet: over less it could not be compared.
    """
    length = past.shape[2]
    span = length - 1
    at = lived % length
    value = past[group, slot, at, LEVEL]
    for k in range(PANEL_WIDTH):
        panel[row, slot, k] = np.nan
    panel[row, slot, LEVEL] = np.log(value)
    panel[row, slot, VOLUME] = past[group, slot, at, VOLUME]
    if lived < span:
        return
    high, low = past[group, slot, at, HIGH], past[group, slot, at, LOW]
    micro, imbalance, deep, ofi, spread, net, volume = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for _ in range(span):
        top, bottom = past[group, slot, at, HIGH], past[group, slot, at, LOW]
        high = top if top > high else high
        low = bottom if bottom < low else low
        micro += past[group, slot, at, MICRO]
        imbalance += past[group, slot, at, IMBALANCE]
        deep += past[group, slot, at, IMBALANCE_5]
        ofi += past[group, slot, at, OFI]
        spread += past[group, slot, at, SPREAD]
        net += past[group, slot, at, NET]
        volume += past[group, slot, at, VOLUME]
        at = at - 1 if at > 0 else span  # a division here would cost more than all else
    panel[row, slot, RETURN] = np.log(value / past[group, slot, at, LEVEL]) / np.sqrt(span)
    panel[row, slot, POSITION] = (2.0 * value - high - low) / (high - low) if high > low else 0.0
    panel[row, slot, MICRO] = micro / span
    panel[row, slot, IMBALANCE] = imbalance / span
    panel[row, slot, IMBALANCE_5] = deep / span
    panel[row, slot, OFI] = ofi / span
    panel[row, slot, FLOW] = net / volume if volume > 0.0 else 0.0
    panel[row, slot, SPREAD] = np.log(spread / span) if spread > 0.0 else 0.0


@njit(cache=True, _nrt=False)
def close_source(past, lived, count, group, slot, panel, row):
    """The frame under way of one source ends: the mean over its books counts; NaN if silent."""
    if count == 0:
        lived[group, slot] = 0
        for k in range(PANEL_WIDTH):
            panel[row, slot, k] = np.nan
        return
    at = lived[group, slot] % past.shape[2]
    if count > 1:
        for k in range(FRAME_WIDTH):
            past[group, slot, at, k] /= count
    close_cell(past, group, slot, lived[group, slot], panel, row)
    lived[group, slot] += 1


@njit(cache=True, _nrt=False)
def collect(state, frames, rows, panel):
    """Frames (FRAME, whole boundaries in order) into rows' heads and the panel.

    rows: CONSENSUS, panel: (rows, slots, PANEL_WIDTH), one row per group and boundary, groups in
    order. Returns the number of rows.
    """
    past, lived, counts = state.past, state.lived, state.counts
    group_of, slot_of, registered = state.group, state.slot, state.registered
    groups, slots, length = counts.shape[0], counts.shape[1], past.shape[2]
    count = 0
    at = 0
    while at < len(frames):
        first = frames[at]
        ts = first["ts"]
        for g in range(groups):
            for slot in range(slots):
                counts[g, slot] = 0
            row = rows[count + g]
            row["ts"] = ts
            row["index"] = first["index"]
            row["tape"] = first["tape"]
            row["group"] = g
            row["flags"] = BAR
        while at < len(frames) and frames[at]["ts"] == ts:
            frame = frames[at]
            group = group_of[frame["book"]]
            slot = slot_of[frame["book"]]
            if frame["flags"] & VALID and frame["mid"] > 0.0 and frame["quote_mark"] > 0.0:
                if counts[group, slot] == 0 and frame["flags"] & RESET:
                    lived[group, slot] = 0
                place = lived[group, slot] % length
                if counts[group, slot] == 0:
                    for k in range(FRAME_WIDTH):
                        past[group, slot, place, k] = 0.0
                add(frame, past, group, slot, place)
                counts[group, slot] += 1
                if not frame["flags"] & BAR:
                    rows[count + group]["flags"] = 0
            at += 1
        for g in range(groups):
            for slot in range(slots):
                if slot < registered[g]:
                    close_source(past, lived, counts[g, slot], g, slot, panel, count + g)
                else:
                    for k in range(PANEL_WIDTH):
                        panel[count + g, slot, k] = np.nan
        count += groups
    return count


@njit(cache=True, _nrt=False)
def gather(panel, member, registered, feature, scratch):
    """The voting sources' finite values of one feature, into scratch; how many."""
    count = 0
    for slot in range(registered):
        value = panel[slot, feature]
        if member[slot] and np.isfinite(value):
            scratch[count] = value
            count += 1
    return count


@njit(cache=True, _nrt=False)
def agree(state, rows, panel):
    """The panel into the rows' consensus columns."""
    faulty = state.faulty[0]
    scratch = state.scratch
    for i in range(len(rows)):
        row = rows[i]
        group = row["group"]
        registered = state.registered[group]
        member = state.member[group]
        excluded = 0
        for slot in range(registered):
            excluded += 1 - member[slot]
        row["excluded"] = excluded
        votes = gather(panel[i], member, registered, LEVEL, scratch)
        row["votes"] = votes
        middle, low, high = agree_on(scratch, votes, excluded, faulty)
        row["price"] = np.exp(middle) if votes > 0 else 0.0
        row["price_low"] = np.exp(low)
        row["price_high"] = np.exp(high)
        returns = 0
        count = gather(panel[i], member, registered, VOLUME, scratch)
        row["volume"] = median(scratch, count) if count > 0 else 0.0
        for k in range(WIDTH):
            count = gather(panel[i], member, registered, k, scratch)
            if k == RETURN:
                returns = count
            middle, low, high = agree_on(scratch, count, excluded, faulty)
            row["value"][k] = middle if count > 0 else 0.0
            row["low"][k] = low
            row["high"][k] = high
        flags = row["flags"] & BAR
        if votes > 0:
            flags |= VALID
        if returns == 0:
            flags |= RESET
        if votes < 3:
            flags |= UNCORROBORATED
        row["flags"] = flags
