"""Frames and consensus, compiled: what happens when receive time passes a boundary."""

import numpy as np
from numba import njit

from seawall.core import ladder as ladders
from seawall.core.ladder import ASK, BID, NO_ASK
from seawall.market.kernels import (
    BY_BAR,
    BY_DEPTH,
    BY_NOTHING,
    TICK,
    apply,
    clear_sums,
    reset,
)

EPOCH = 60_000_000_000
VALID, STALE, RESET, LATE, BAR, UNCORROBORATED = 1, 2, 4, 8, 16, 32


@njit(cache=True)
def usable(clock, book, boundary):
    """Whether the book may vote and be traded on at this boundary."""
    silent = boundary - book["message_ts"] > clock["silent"]
    return book["valid"] == 1 and not silent and book["mid_2"] > 0


@njit(cache=True)
def median(values, count):
    """Median of values[:count], which it sorts (insertion: a handful of sources)."""
    for i in range(1, count):
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    half = count // 2
    return values[half] if count & 1 else 0.5 * (values[half - 1] + values[half])


@njit(cache=True)
def vote(order, books, clock, mids, boundary):
    """What each book votes for, in its own units; read once, as a record costs more than a sum."""
    for k in range(len(order)):
        book = books[order[k]]
        votes = book["member"] and usable(clock, book, boundary)
        mids[k] = 0.5 * book["mid_2"] * book["tick"] if votes else 0.0


@njit(cache=True)
def group_median(seats, mids, marks, scratch, group, asset):
    """Median over sources of the group's mids; each source has one vote, the mean of its books.

    asset >= 0: only books quoted in that asset, in its own units. asset < 0: all books whose quote
    asset has a mark, in numeraire units. Returns (median, sources that voted).
    """
    voted = 0
    source = -1
    total = 0.0
    count = 0
    for k in range(len(mids)):
        if seats[k, 0] != group or mids[k] == 0.0:
            continue
        quote = seats[k, 2]
        mark = marks[quote]
        if (asset >= 0 and quote != asset) or (asset < 0 and mark <= 0.0):
            continue
        if seats[k, 1] != source:
            if count > 0:
                scratch[voted] = total / count
                voted += 1
            source = seats[k, 1]
            total = 0.0
            count = 0
        total += mids[k] if asset >= 0 else mids[k] * mark
        count += 1
    if count > 0:
        scratch[voted] = total / count
        voted += 1
    if voted == 0:
        return 0.0, 0
    return median(scratch, voted), voted


@njit(cache=True)
def update_consensus(state, boundary):
    """Value of each quote asset in the numeraire (mean over groups of the ratio of medians), then
    the consensus of each group: one vote per source."""
    # Taken out of the tuple once: each time costs as much as a book's vote.
    clock, scratch, seats, mids = state.clock[0], state.scratch, state.seats, state.mids
    marks, marked, groups = state.marks, state.marked, state.groups
    vote(state.order, state.books, clock, mids, boundary)
    for asset in range(1, len(marks)):
        total = 0.0
        count = 0
        for group in range(len(groups)):
            theirs, b = group_median(seats, mids, marks, scratch, group, asset)
            if b == 0:
                continue
            ours, a = group_median(seats, mids, marks, scratch, group, 0)
            if a > 0:
                total += ours / theirs
                count += 1
        if count > 0:
            marks[asset] = total / count
            marked[asset] = boundary
        elif boundary - marked[asset] > max(EPOCH, clock["gap"]):
            marks[asset] = 0.0  # nobody has priced it for too long
    for group in range(len(groups)):
        value, voted = group_median(seats, mids, marks, scratch, group, -1)
        groups[group]["votes"] = voted
        if voted > 0:
            groups[group]["consensus"] = value


@njit(cache=True)
def fill_book(ladder, book, frame):
    """The book's columns of a frame."""
    mid = 0.5 * book["mid_2"] * book["tick"]
    frame["bid"] = book["bid"]
    frame["ask"] = book["ask"]
    frame["bid_size"] = book["bid_size"]
    frame["ask_size"] = book["ask_size"]
    frame["mid"] = mid
    frame["micro"] = mid
    both = book["bid_size"] + book["ask_size"]
    if both > 0 and mid > 0.0:
        share = book["bid_size"] / both
        frame["micro"] = (share * book["ask"] + (1.0 - share) * book["bid"]) * book["tick"]
        frame["imbalance"] = (book["bid_size"] - book["ask_size"]) / both
        frame["spread_bps"] = (book["ask"] - book["bid"]) * book["tick"] / mid * 1e4
        bids, asks = book["bid_size"], book["ask_size"]
        if book["made_of"] == BY_DEPTH:
            bids = ladders.depth(ladder, BID, 5)
            asks = ladders.depth(ladder, ASK, 5)
        if bids + asks > 0:
            frame["imbalance_5"] = (bids - asks) / (bids + asks)
        frame["depth_5"] = (bids + asks) * book["lot"]
    last = book["last_mid"]
    frame["return_"] = mid / last - 1.0 if last > 0.0 and mid > 0.0 else 0.0


@njit(cache=True)
def fill_flow(book, frame):
    """The columns of a frame that sum up what happened in it."""
    half_tick = 0.5 * book["tick"]
    frame["ofi"] = np.float64(book["ofi"])
    frame["trades"] = book["trades"]
    frame["buy_volume"] = (book["buy"] + 0.5 * book["unsided"]) * book["lot"]
    frame["sell_volume"] = (book["sell"] + 0.5 * book["unsided"]) * book["lot"]
    volume = book["buy"] + book["sell"] + book["unsided"]
    if book["made_of"] == BY_BAR:  # a bar does not say who was the aggressor
        volume = book["bar_volume"] if book["messages"] > 0 else np.int64(0)
        frame["buy_volume"] = 0.5 * volume * book["lot"]
        frame["sell_volume"] = 0.5 * volume * book["lot"]
    if volume > 0:
        frame["vwap"] = book["traded_value"] / volume * book["tick"]
    moved = book["open_2"] > 0
    frame["open"] = (book["open_2"] if moved else book["mid_2"]) * half_tick
    frame["high"] = (book["high_2"] if moved else book["mid_2"]) * half_tick
    frame["low"] = (book["low_2"] if moved else book["mid_2"]) * half_tick
    frame["messages"] = book["messages"]
    frame["realised_variance"] = book["variance"]
    frame["delay"] = book["delay"]


@njit(cache=True)
def close_frame(ladder, clock, book, group, mark, at, boundary, frame):
    """Write one book's frame at a boundary and begin its next one.

    `at` is the book's number, `mark` that of its quote asset.
    """
    good = usable(clock, book, boundary)
    flags = VALID if good else 0
    if boundary - book["message_ts"] > clock["silent"]:
        flags |= STALE
    if book["fresh"]:
        flags |= RESET
    if book["late"]:
        flags |= LATE
    if book["made_of"] == BY_BAR:
        flags |= BAR
    if group["votes"] < 3:
        flags |= UNCORROBORATED
    frame["flags"] = flags
    frame["ts"] = boundary
    frame["index"] = clock["index"]
    frame["tape"] = clock["tape"]
    frame["instrument"] = book["instrument"]
    frame["source"] = book["source"]
    frame["book"] = at
    fill_book(ladder, book, frame)
    fill_flow(book, frame)
    frame["age"] = (boundary - book["message_ts"]) * 1e-9
    frame["consensus"] = group["consensus"] if group["votes"] > 0 else 0.0
    frame["votes"] = group["votes"]
    frame["quote_mark"] = mark
    value = frame["mid"] * frame["quote_mark"]
    if good and value > 0.0 and group["votes"] > 0:
        frame["deviation_bps"] = (value / group["consensus"] - 1.0) * 1e4
    if good:
        book["last_mid"] = frame["mid"]
        book["fresh"] = 0
        clear_sums(book)
    else:
        if book["last_mid"] > 0.0:
            book["last_mid"] = 0.0
            book["fresh"] = 1
        clear_sums(book)


@njit(cache=True)
def close_boundary(state, frames, count):
    """Frames of all living books at the current boundary; the new number of frames.

    A book that has never spoken, or not within the gap limit, has none.
    """
    ladders_of, clock, books = state.ladders, state.clock[0], state.books
    groups, marks = state.groups, state.marks
    boundary = clock["boundary"]
    update_consensus(state, boundary)
    for at in range(len(books)):
        book = books[at]
        if book["made_of"] == BY_NOTHING or boundary - book["message_ts"] > clock["gap"]:
            continue
        group, mark = groups[book["group"]], marks[book["quote_asset"]]
        close_frame(ladders_of[at], clock, book, group, mark, at, boundary, frames[count])
        count += 1
    clock["index"] += 1
    clock["boundary"] = boundary + clock["cadence"]
    return count


@njit(cache=True)
def set_verdict(state, verdict, boundary):
    """At the end of an epoch: where each book's touch may move in the next one.

    The band is re-centred on the book's own mid. A book all of whose prices were refused through a
    whole epoch is given a free epoch: a market that has really moved is found again, at the price
    of one epoch without it.
    """
    clock = state.clock[0]
    epoch = boundary // EPOCH + 1
    clock["epoch_end"] = epoch * EPOCH
    if boundary >= clock["review_end"]:
        clock["review_end"] = (boundary // clock["review"] + 1) * clock["review"]
    for at in range(len(state.books)):
        book = state.books[at]
        verdict[at]["epoch"] = epoch
        if usable(clock, book, boundary):
            reach = book["mid_2"] * clock["band_ppm"] // 2_000_000
            verdict[at]["low"] = max(np.int64(1), book["mid_2"] // 2 - reach)
            verdict[at]["high"] = book["mid_2"] // 2 + reach + 1
        elif book["admitted"] == 0:
            if book["refused"] > 0:
                book["reanchored"] += 1
            verdict[at]["low"] = 0
            verdict[at]["high"] = NO_ASK
        book["admitted"] = 0
        book["refused"] = 0


@njit(cache=True)
def skip_gap(state, verdict, recv_ts):
    """Nothing came for longer than the gap limit: the next boundary is the first one after it."""
    clock = state.clock[0]
    clock["boundary"] = (recv_ts + clock["cadence"] - 1) // clock["cadence"] * clock["cadence"]
    for at in range(len(state.books)):
        book = state.books[at]
        reset(book)
        verdict[at]["low"] = 0  # no price band is carried across
        verdict[at]["high"] = NO_ASK


@njit(cache=True)
def pass_boundary(state, verdict, recv_ts, frames, count):
    """Receive time is past the boundary: close frames, and the epoch where it ends.

    Needs room in `frames` for (gap limit / cadence + 3) x books. Returns the number of frames
    written so far. Goes before admission looks at the row, so that its verdict is the newest.
    """
    clock = state.clock[0]
    if clock["started"] == 0:
        clock["started"] = 1
        clock["boundary"] = (recv_ts + clock["cadence"] - 1) // clock["cadence"] * clock["cadence"]
        return count
    if recv_ts - clock["last"] > clock["gap"]:
        count = close_boundary(state, frames, count)
        skip_gap(state, verdict, recv_ts)
    while recv_ts > clock["boundary"]:
        count = close_boundary(state, frames, count)
    if recv_ts >= clock["epoch_end"]:
        set_verdict(state, verdict, clock["boundary"] - clock["cadence"])
    return count


@njit(cache=True)
def flush(state, frames, count):
    """The tape has ended exactly on the boundary under way: close that frame too."""
    clock = state.clock[0]
    if clock["started"] == 1 and clock["last"] == clock["boundary"]:
        count = close_boundary(state, frames, count)
    return count


@njit(cache=True)
def step(state, verdict, at, row, reason, extra, frames, count):
    """One row with admission's answer; returns the number of frames written so far."""
    clock = state.clock[0]
    if row["recv_ts"] > clock["boundary"]:
        count = pass_boundary(state, verdict, row["recv_ts"], frames, count)
    clock["last"] = row["recv_ts"]
    clock["tape"] += 1
    if at >= 0 and row["kind"] != TICK:
        apply(state.ladders[at], clock, state.books[at], row, reason, extra)
    return count


@njit(cache=True)
def run(state, verdict, rows, books_of, reasons, extras, frames):
    """A block of rows with admission's answers; returns the number of frames written."""
    count = 0
    for i in range(len(rows)):
        count = step(state, verdict, books_of[i], rows[i], reasons[i], extras[i], frames, count)
    return count
