"""The compiled pass of an inspection over a tape: counts, sequence, books, gaps, clock skew."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID, clear, put, size_at

DEPTH, SNAPSHOT, TRADE, QUOTE, BAR_OPEN, BAR_CLOSE, DOWN, TICK = 1, 2, 3, 4, 5, 8, 9, 10
BEGIN, END = 1, 2
STREAM_DEPTH, STREAM_TRADE, STREAM_QUOTE, STREAM_BAR = 0, 1, 2, 3
# columns of `of_book`; the last four stand for four streams each, KINDS for fifteen kinds
MESSAGES, CROSSED, COINCIDENCES, MISMATCHES, FRESH, BAR_TS, BID_PRICE, BID_SIZE = range(8)
SEQUENCE, BREAKS, DUPLICATES, KINDS, BOOK_COLUMNS = 8, 12, 16, 20, 35
# columns of `of_source`
ROWS, FIRST, LAST, SKEW_LEAST, BAR_SPAN, SOURCE_COLUMNS = range(6)
TOP, BEST = 0, 1  # what the book says, what the venue says
SLOTS = 1 << 14  # tops and quotes remembered per book, by update id
GAPS = 1 << 16  # gaps remembered
SKEW_RANGE = 60_000  # ms on each side, in bins of 1 ms
NONE = -1
NEVER = -(1 << 63)


class Scan(NamedTuple):
    """The state of the pass; times in ns. Few arrays: a compiled call copies each one's header.

    book_of: (instruments, sources). of_book: (books, BOOK_COLUMNS). of_source: (sources,
    SOURCE_COLUMNS). tops: (books, 2, SLOTS, 5) of id, bid, its lots, ask, its lots. gaps: (GAPS, 4)
    of book (NONE for ticks), source, start, end. gap_count: (1,). skew: (sources, bins) messages.
    """

    ladders: Any
    book_of: np.ndarray[Any, Any]
    of_book: np.ndarray[Any, Any]
    of_source: np.ndarray[Any, Any]
    tops: np.ndarray[Any, Any]
    gaps: np.ndarray[Any, Any]
    gap_count: np.ndarray[Any, Any]
    skew: np.ndarray[Any, Any]


@njit(cache=True)
def new_scan(ladders: Any, book_of: Any, bar_span: Any) -> Scan:
    """An empty state. ladders: (books,). book_of: (instruments, sources). bar_span: (sources,)."""
    books, sources = len(ladders), len(bar_span)
    of_book = np.zeros((books, BOOK_COLUMNS), np.int64)
    of_book[:, BAR_TS] = NEVER
    of_book[:, SEQUENCE:BREAKS] = NONE
    of_source = np.zeros((sources, SOURCE_COLUMNS), np.int64)
    of_source[:, FIRST] = NEVER
    of_source[:, LAST] = NEVER
    of_source[:, SKEW_LEAST] = 1 << 62
    of_source[:, BAR_SPAN] = bar_span
    return Scan(
        ladders,
        book_of,
        of_book,
        of_source,
        np.full((books, 2, SLOTS, 5), NONE, np.int64),
        np.zeros((GAPS, 4), np.int64),
        np.zeros(1, np.int64),
        np.zeros((sources, 2 * SKEW_RANGE + 1), np.int64),
    )


@njit(cache=True)
def note_gap(gaps: Any, gap_count: Any, book: int, source: int, start: int, end: int) -> None:
    """Remember a silence; beyond GAPS they are only counted."""
    count = gap_count[0]
    if count < GAPS:
        gaps[count, 0] = book
        gaps[count, 1] = source
        gaps[count, 2] = start
        gaps[count, 3] = end
    gap_count[0] = count + 1


@njit(cache=True)
def step_sequence(state: Any, stream: int, sequence: int, previous: int) -> None:
    """Count a message whose id does not follow the last one; `state` is the book's row.

    The first diff after a snapshot may begin before it; it only must not begin after it.
    """
    last = state[SEQUENCE + stream]
    if last >= 0 and sequence <= last:
        state[DUPLICATES + stream] += 1
        return
    if last >= 0 and previous >= 0:
        fresh = stream == STREAM_DEPTH and state[FRESH] == 1
        if (fresh and previous > last) or (not fresh and previous != last):
            state[BREAKS + stream] += 1
    state[SEQUENCE + stream] = sequence


@njit(cache=True)
def note_top(
    state: Any, tops: Any, who: int, sequence: int, bid: int, bids: int, ask: int, asks: int
) -> None:
    """Remember a top of book and hold it against the other side's at the same update id.

    Args:
        state: the book's row; `tops`: (2, SLOTS, 5) of the book.
        who: TOP or BEST, whose word this is.
    """
    slot = sequence & (SLOTS - 1)
    own = tops[who, slot]
    own[0] = sequence
    own[1] = bid
    own[2] = bids
    own[3] = ask
    own[4] = asks
    other = tops[1 - who, slot]
    if other[0] != sequence:
        return
    state[COINCIDENCES] += 1
    if other[1] != bid or other[2] != bids or other[3] != ask or other[4] != asks:
        state[MISMATCHES] += 1


@njit(cache=True)
def end_depth(ladder: Any, state: Any, tops: Any, book: int, sequence: int) -> None:
    """A depth message is complete: look at the book."""
    bid = ladder["best"][BID]
    ask = ladder["best"][ASK]
    if bid == NO_BID or ask == NO_ASK:
        return
    if bid >= ask:
        state[CROSSED] += 1
    bids = size_at(ladder, BID, bid)
    asks = size_at(ladder, ASK, ask)
    note_top(state, tops[book], TOP, sequence, bid, bids, ask, asks)


@njit(cache=True)
def step_skew(scan_row: Any, skew_row: Any, difference: int) -> None:
    """Count receive minus exchange time of a message, ns."""
    scan_row[SKEW_LEAST] = min(scan_row[SKEW_LEAST], difference)
    ms = min(max(difference // 1_000_000, -SKEW_RANGE), SKEW_RANGE)
    skew_row[ms + SKEW_RANGE] += 1


@njit(cache=True)
def step_void(ladders: Any, book_of: Any, of_book: Any, source: int) -> None:
    """A source is gone: its books are void."""
    for instrument in range(book_of.shape[0]):
        book = book_of[instrument, source]
        if book >= 0:
            clear(ladders[book])
            of_book[book, SEQUENCE + STREAM_DEPTH] = NONE


@njit(cache=True)
def step_message(scan: Scan, row: Any, book: int, source: int) -> None:
    """The rows that begin or end a message, and those of best bid/ask."""
    kind = row["kind"]
    sequence = row["sequence"]
    state = scan.of_book[book]
    if (row["flags"] & BEGIN) != 0:
        if kind == SNAPSHOT:
            clear(scan.ladders[book])
            state[SEQUENCE + STREAM_DEPTH] = sequence
            state[FRESH] = 1
        elif kind == DEPTH:
            step_sequence(state, STREAM_DEPTH, sequence, row["previous"])
            state[FRESH] = 0
        elif kind == TRADE:
            step_sequence(state, STREAM_TRADE, sequence, row["previous"])
        elif kind == QUOTE:
            step_sequence(state, STREAM_QUOTE, sequence, row["previous"])
        elif BAR_OPEN <= kind <= BAR_CLOSE:
            step_sequence(state, STREAM_BAR, sequence, row["previous"])
            last = state[BAR_TS]
            span = scan.of_source[source, BAR_SPAN]
            if last != NEVER and span > 0 and row["recv_ts"] - last > span:
                start = row["recv_ts"] - span
                note_gap(scan.gaps, scan.gap_count, book, source, last, start)
            state[BAR_TS] = row["recv_ts"]
    if (row["flags"] & END) != 0:
        state[MESSAGES] += 1
        if (kind == DEPTH or kind == TRADE) and row["exch_ts"] > 0:
            step_skew(scan.of_source[source], scan.skew[source], row["recv_ts"] - row["exch_ts"])


@njit(cache=True)
def step(scan: Scan, row: Any, quiet: int) -> None:
    """Take in one row."""
    kind = row["kind"]
    if kind == TICK:
        return
    source = row["source"]
    own = scan.of_source[source]
    recv_ts = row["recv_ts"]
    if own[ROWS] == 0:
        own[FIRST] = recv_ts
    elif own[BAR_SPAN] == 0 and recv_ts - own[LAST] > quiet:
        note_gap(scan.gaps, scan.gap_count, NONE, source, own[LAST], recv_ts)
    own[LAST] = recv_ts
    own[ROWS] += 1
    if kind == DOWN:
        step_void(scan.ladders, scan.book_of, scan.of_book, source)
        return
    book = scan.book_of[row["instrument"], source]
    if book < 0:
        return
    scan.of_book[book, KINDS + kind] += 1
    if (row["flags"] & (BEGIN | END)) != 0:
        step_message(scan, row, book, source)
    side = row["side"]
    if kind == DEPTH:
        if row["price"] > 0 and row["size"] >= 0 and side <= ASK:
            put(scan.ladders[book], side, row["price"], row["size"])
        if (row["flags"] & END) != 0:
            end_depth(scan.ladders[book], scan.of_book[book], scan.tops, book, row["sequence"])
    elif kind == QUOTE:
        state = scan.of_book[book]
        if side == BID:
            state[BID_PRICE] = row["price"]
            state[BID_SIZE] = row["size"]
        else:
            bid, bids = state[BID_PRICE], state[BID_SIZE]
            tops = scan.tops[book]
            note_top(state, tops, BEST, row["sequence"], bid, bids, row["price"], row["size"])


@njit(cache=True)
def run(scan: Scan, rows: Any, quiet: int) -> None:
    """Take in a block; `quiet` is the silence of a source, ns, that counts as a gap."""
    for i in range(len(rows)):
        step(scan, rows[i], quiet)
