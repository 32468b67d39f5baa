"""Bars of trades, compiled: by count, by volume, by value or by time; each is known at its close.

The trade that reaches the threshold belongs whole to the bar that it closes. What it is above the
last multiple of the threshold counts towards the next bar, so that the n-th threshold's worth of
trading closes the n-th bar; a trade of several thresholds closes one bar.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

TRADE, DOWN, BUY = 3, 9, 0
BY_TRADES, BY_VOLUME, BY_VALUE, BY_TIME = range(4)

BAR = np.dtype(
    [
        ("ts", "<i8"),  # receive time of its close, ns UTC
        ("start", "<i8"),  # and of its first trade
        ("book", "<i8"),
        ("number", "<i8"),  # from 1, by book
        ("open", "<i8"),  # ticks
        ("high", "<i8"),
        ("low", "<i8"),
        ("close", "<i8"),
        ("volume", "<i8"),  # lots
        ("bought", "<i8"),  # lots that buyers took
        ("trades", "<i8"),
        ("value", "<f8"),  # ticks x lots, in the sequence of the trades
    ]
)

CARRY = np.dtype(
    [
        ("by", "<i8"),
        ("size", "<i8"),  # threshold: trades, lots, ticks x lots or ns
        ("filled", "<i8"),  # of the threshold, what exceeded the one before included
        ("boundary", "<i8"),  # BY_TIME: where the bars under way end, 0 before the first row
    ]
)


class BarState(NamedTuple):
    """The carry. book_of: (instruments, sources).

    carries: (books,) CARRY. bars: (books,) BAR, those under way.
    """

    carries: np.ndarray
    bars: np.ndarray
    book_of: np.ndarray


@njit(cache=True)
def start_over(carry, bar):
    """A source is gone: no bar spans that."""
    carry["filled"] = 0
    bar["trades"] = 0


@njit(cache=True)
def take(bar, row):
    """A trade goes into the bar under way."""
    price = row["price"]
    if bar["trades"] == 0:
        bar["start"] = row["recv_ts"]
        bar["open"] = price
        bar["high"] = price
        bar["low"] = price
        bar["volume"] = 0
        bar["bought"] = 0
        bar["value"] = 0.0
    bar["high"] = max(bar["high"], price)
    bar["low"] = min(bar["low"], price)
    bar["close"] = price
    bar["volume"] += row["size"]
    if row["side"] == BUY:
        bar["bought"] += row["size"]
    bar["trades"] += 1
    bar["value"] += np.float64(price) * np.float64(row["size"])


@njit(cache=True)
def close(bar, ts, bars, count):
    """The bar is an event now. Returns how many there are."""
    bar["ts"] = ts
    bar["number"] += 1
    bars[count] = bar
    bar["trades"] = 0
    return count + 1


@njit(cache=True)
def pass_time(carries, under_way, now, bars, count):
    """Close all that ended before `now`; a bar holds what came up to and at its end."""
    size = carries[0]["size"]
    boundary = carries[0]["boundary"]
    if now <= boundary:
        return count
    for at in range(len(under_way)):
        if under_way[at]["trades"] > 0:
            count = close(under_way[at], boundary, bars, count)
    carries[0]["boundary"] = -(-now // size) * size
    return count


@njit(cache=True)
def step(state, row, bars, count):
    """One row of the tape. Returns how many bars there are; at most one a book is added."""
    if state.carries[0]["by"] == BY_TIME:
        count = pass_time(state.carries, state.bars, row["recv_ts"], bars, count)
    if row["kind"] == DOWN and row["source"] < state.book_of.shape[1]:
        for instrument in range(state.book_of.shape[0]):
            at = state.book_of[instrument, row["source"]]
            if at >= 0:
                start_over(state.carries[at], state.bars[at])
    if row["kind"] != TRADE or row["size"] <= 0:
        return count
    at = state.book_of[row["instrument"], row["source"]]
    if at < 0:
        return count
    carry, bar = state.carries[at], state.bars[at]
    take(bar, row)
    by = carry["by"]
    if by == BY_TIME:
        return count
    if by == BY_TRADES:
        carry["filled"] += 1
    elif by == BY_VOLUME:
        carry["filled"] += row["size"]
    else:
        carry["filled"] += row["price"] * row["size"]
    if carry["filled"] >= carry["size"]:
        carry["filled"] %= carry["size"]
        count = close(bar, row["recv_ts"], bars, count)
    return count


@njit(cache=True)
def run(state, rows, first, bars):
    """Rows from `first` on while there is room. Returns (the first not taken, bars written)."""
    count = 0
    i = first
    while i < len(rows) and count + len(state.bars) <= len(bars):
        count = step(state, rows[i], bars, count)
        i += 1
    return i, count
