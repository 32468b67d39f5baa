"""The market, compiled: one event at a time into books and running sums, frames at boundaries.

Whatever is counted per row is int64 or a plain sum in tape order; no logarithm, no exponential.
Formulas: DEFINITIONS 5 (order-flow imbalance, imbalance in [-1, 1], weighted mid).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from seawall.core import ladder as ladders
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID

DEPTH, SNAPSHOT, TRADE, QUOTE, BAR_OPEN, BAR_HIGH, BAR_LOW, BAR_CLOSE, DOWN, TICK = range(1, 11)
END = 2
DUPLICATE = 8  # admission's reason that leaves a book as good as it was
PRICE_BAND = 12  # and the one that says that its price was too far away
UNSIGNED, REORDERED = 13, 16  # from .. to: not shown to be the source's own, as good as never sent

RING = 1024  # tops of book and quotes kept to be compared, by sequence
BY_NOTHING, BY_DEPTH, BY_QUOTE, BY_BAR = range(4)  # what a book is made of

CLOCK = np.dtype(
    [
        ("boundary", "<i8"),  # where the frames under way end, ns of receive time
        ("cadence", "<i8"),
        ("last", "<i8"),  # receive time of the last row
        ("index", "<i8"),  # number of the boundary
        ("gap", "<i8"),  # ns without a row that make a gap
        ("silent", "<i8"),  # ns without a message that make a book stale
        ("tape", "<i8"),  # rows seen
        ("epoch_end", "<i8"),
        ("review", "<i8"),  # ns between two reviews by the gates, whole epochs
        ("review_end", "<i8"),
        ("started", "<i8"),
        ("band_ppm", "<i8"),  # how far a touch may move in an epoch
    ]
)

BOOK = np.dtype(
    [
        # what the book is
        ("group", "<i8"),
        ("quote_asset", "<i8"),
        ("source", "<i8"),
        ("instrument", "<i8"),
        ("member", "<i8"),  # its source has a vote
        ("tick", "<f8"),
        ("lot", "<f8"),
        # where it stands after its last whole message, ticks and lots
        ("made_of", "<i8"),
        ("whole", "<i8"),  # a snapshot has come and the book has not been void since
        ("valid", "<i8"),
        ("sequence", "<i8"),
        ("message_ts", "<i8"),
        ("bid", "<i8"),
        ("bid_size", "<i8"),
        ("ask", "<i8"),
        ("ask_size", "<i8"),
        ("mid_2", "<i8"),  # bid + ask
        ("last_mid", "<f8"),  # of the last frame, 0 after a reset
        ("fresh", "<i8"),  # no frame yet since a reset
        # the quote and the bar under way
        ("quote_bid", "<i8"),
        ("quote_bid_size", "<i8"),
        ("bar_open", "<i8"),
        ("bar_high", "<i8"),
        ("bar_low", "<i8"),
        ("bar_volume", "<i8"),
        # sums of the frame under way
        ("ofi", "<i8"),
        ("trades", "<i8"),
        ("buy", "<i8"),
        ("sell", "<i8"),
        ("unsided", "<i8"),  # traded, and nobody said who took it
        ("messages", "<i8"),
        ("open_2", "<i8"),
        ("high_2", "<i8"),
        ("low_2", "<i8"),
        ("traded_value", "<f8"),  # ticks x lots
        ("variance", "<f8"),
        ("delay", "<f8"),  # s
        ("late", "<i8"),
        # counters
        ("coincidences", "<i8"),  # touches held against the venue's own at the same update id
        ("mismatches", "<i8"),
        ("crossings", "<i8"),
        ("voided", "<i8"),  # times that a refused message made the book unusable
        ("reanchored", "<i8"),
        ("admitted", "<i8"),  # priced messages since the epoch began
        ("refused", "<i8"),  # rows refused for their price since then
        # the last touches, by sequence: bid, its size, ask, its size; the sequences by themselves,
        # because most are looked at in vain, and so close together stay in the cache
        ("top_sequences", "<i8", (RING,)),  # of the book
        ("quote_sequences", "<i8", (RING,)),  # by the venue's own word
        ("tops", "<i8", (RING, 4)),
        ("quotes", "<i8", (RING, 4)),
    ]
)

GROUP = np.dtype([("consensus", "<f8"), ("votes", "<i8")])


class MarketState(NamedTuple):
    """Carry of the market.

    ladders: (books,) LADDER. clock: (1,) CLOCK. books: (books,) BOOK. groups: (groups,) GROUP.
    marks: (quote assets,) value in the numeraire, which is asset 0; 0 while unknown. marked: the
    boundary at which it was last found.
    order: books sorted by (group, source). seats: (books, 3) group, source and quote asset of each,
    in that order. mids: (books,) what each votes for in its own units, in that order; 0: no vote.
    scratch: (books,) room for sorting.
    """

    ladders: np.ndarray
    clock: np.ndarray
    books: np.ndarray
    groups: np.ndarray
    marks: np.ndarray
    marked: np.ndarray
    order: np.ndarray
    seats: np.ndarray
    mids: np.ndarray
    scratch: np.ndarray


@njit(cache=True)
def void(ladder, book):
    """The book can no longer be believed; it waits for a snapshot."""
    ladders.clear(ladder)
    book["whole"] = 0
    book["valid"] = 0
    book["mid_2"] = 0
    book["bid_size"] = 0
    book["ask_size"] = 0


@njit(cache=True)
def clear_sums(book):
    """A frame of the book begins."""
    book["ofi"] = 0
    book["trades"] = 0
    book["buy"] = 0
    book["sell"] = 0
    book["unsided"] = 0
    book["messages"] = 0
    book["open_2"] = 0
    book["traded_value"] = 0.0
    book["variance"] = 0.0
    book["late"] = 0


@njit(cache=True)
def reset(book):
    """Start the book's windows anew: no return crosses this point."""
    book["fresh"] = 1
    book["last_mid"] = 0.0
    book["mid_2"] = 0
    clear_sums(book)


@njit(cache=True)
def note_mid(book, mid_2):
    """The mid (twice, in ticks) is here now: range and realised variance of the frame."""
    last = book["mid_2"]
    if mid_2 == last and book["open_2"] > 0:
        return
    if last > 0 and mid_2 != last:
        change = (mid_2 - last) / last
        book["variance"] += change * change
    if book["open_2"] == 0:
        first = last if last > 0 else mid_2
        book["open_2"] = first
        book["high_2"] = first
        book["low_2"] = first
    book["high_2"] = max(book["high_2"], mid_2)
    book["low_2"] = min(book["low_2"], mid_2)
    book["mid_2"] = mid_2


@njit(cache=True)
def note_touch(ladder, book, row, touch):
    """A whole message has been applied: order-flow imbalance, mid, validity."""
    book["messages"] += 1
    book["admitted"] += 1
    book["message_ts"] = row["recv_ts"]
    book["sequence"] = row["sequence"]
    bid, bid_size, ask, ask_size = touch
    if bid_size == 0 or ask_size == 0:
        book["valid"] = 0
        return
    if bid >= ask:
        book["crossings"] += 1
        void(ladder, book)
        return
    if book["valid"]:
        if bid >= book["bid"]:
            book["ofi"] += bid_size
        if bid <= book["bid"]:
            book["ofi"] -= book["bid_size"]
        if ask <= book["ask"]:
            book["ofi"] -= ask_size
        if ask >= book["ask"]:
            book["ofi"] += book["ask_size"]
    book["bid"] = bid
    book["bid_size"] = bid_size
    book["ask"] = ask
    book["ask_size"] = ask_size
    book["valid"] = 1
    note_mid(book, bid + ask)


@njit(cache=True)
def compare(book, quoted, sequence, touch):
    """Keep a touch and hold it against the other side's word at the same update id, once."""
    slot = sequence & (RING - 1)
    if quoted:
        kept, known = book["quotes"], book["quote_sequences"]
        rival, others = book["tops"], book["top_sequences"]
    else:
        kept, known = book["tops"], book["top_sequences"]
        rival, others = book["quotes"], book["quote_sequences"]
    same = others[slot] == sequence and known[slot] != sequence and sequence > 0
    known[slot] = sequence
    for i in range(4):
        kept[slot, i] = touch[i]
    if not same:
        return
    matches = True
    for i in range(4):
        matches = matches and rival[slot, i] == touch[i]
    book["coincidences"] += 1
    book["mismatches"] += not matches


@njit(cache=True)
def end_depth(ladder, book, row):
    """The last row of a depth message or a snapshot."""
    bid = ladder["best"][BID]
    ask = ladder["best"][ASK]
    bid_size = np.int64(0)
    ask_size = np.int64(0)
    if bid != NO_BID:
        bid_size = ladders.size_at(ladder, BID, bid)
    if ask != NO_ASK:
        ask_size = ladders.size_at(ladder, ASK, ask)
    touch = (bid, bid_size, ask, ask_size)
    compare(book, False, row["sequence"], touch)
    note_touch(ladder, book, row, touch)


@njit(cache=True)
def end_diff(ladder, book, row, extra):
    """The last row of a depth message, `extra` ns above its source's least delay."""
    book["delay"] = extra * 1e-9
    end_depth(ladder, book, row)


@njit(cache=True)
def on_quote(ladder, book, row):
    """The venue's own best bid and ask: the book itself where no depth is sent, else a check."""
    if row["side"] == BID:
        book["quote_bid"] = row["price"]
        book["quote_bid_size"] = row["size"]
    if not row["flags"] & END:
        return
    touch = (book["quote_bid"], book["quote_bid_size"], row["price"], row["size"])
    if book["made_of"] == BY_DEPTH:
        compare(book, True, row["sequence"], touch)
        return
    book["made_of"] = BY_QUOTE
    note_touch(ladder, book, row, touch)


@njit(cache=True)
def on_trade(book, row):
    """A public trade: volumes by aggressor."""
    book["trades"] += 1
    if row["side"] == BID:
        book["buy"] += row["size"]
    elif row["side"] == ASK:
        book["sell"] += row["size"]
    else:
        book["unsided"] += row["size"]
    book["traded_value"] += np.float64(row["price"]) * np.float64(row["size"])


@njit(cache=True)
def on_bar(book, row):
    """A row of a bar; the bar takes effect at its close."""
    if row["kind"] == BAR_OPEN:
        book["bar_open"] = row["price"]
    elif row["kind"] == BAR_HIGH:
        book["bar_high"] = row["price"]
    elif row["kind"] == BAR_LOW:
        book["bar_low"] = row["price"]
    if row["kind"] != BAR_CLOSE:
        return
    first = book["messages"] == 0
    book["made_of"] = BY_BAR
    book["admitted"] += 1
    book["messages"] += 1
    book["trades"] += 1
    book["message_ts"] = row["recv_ts"]
    book["sequence"] = row["sequence"]
    book["bar_volume"] = row["size"] if first else book["bar_volume"] + row["size"]
    book["bid"] = row["price"]
    book["ask"] = row["price"]
    book["valid"] = 1
    note_mid(book, 2 * row["price"])
    if first:
        book["open_2"] = 2 * book["bar_open"]
        book["high_2"] = 2 * book["bar_high"]
        book["low_2"] = 2 * book["bar_low"]
    book["high_2"] = max(book["high_2"], 2 * book["bar_high"])
    book["low_2"] = min(book["low_2"], 2 * book["bar_low"])
    book["traded_value"] += np.float64(row["price"]) * np.float64(row["size"])


@njit(cache=True)
def refuse(ladder, book, kind, reason):
    """A row was not admitted: a book that misses a message cannot be believed any longer.

    A forged one is none of the book's messages, or a flood of them would void any book at will.
    """
    if UNSIGNED <= reason <= REORDERED:
        return
    if (kind == DEPTH or kind == SNAPSHOT) and reason != DUPLICATE:
        book["voided"] += book["valid"]
        void(ladder, book)
    if reason == PRICE_BAND:
        book["refused"] += 1


@njit(cache=True)
def apply(ladder, clock, book, row, reason, extra):
    """One row into book `at`: admission's reason, `extra` ns above the source's least delay."""
    kind = row["kind"]
    if reason != 0:
        refuse(ladder, book, kind, reason)
    elif kind == DOWN:
        void(ladder, book)
        reset(book)
    else:
        if row["recv_ts"] - book["message_ts"] > clock["gap"] and book["made_of"] != BY_NOTHING:
            reset(book)
            book["message_ts"] = row["recv_ts"]
        if row["recv_ts"] - extra <= clock["boundary"] - clock["cadence"]:
            book["late"] = 1
        if kind == DEPTH:
            if book["whole"] == 0:
                return
            side = np.int64(row["side"])
            ladders.put(ladder, side, row["price"], row["size"])
            if row["flags"] & END:
                end_diff(ladder, book, row, extra)
        elif kind == QUOTE:
            on_quote(ladder, book, row)
        elif kind == TRADE:
            on_trade(book, row)
        elif kind == SNAPSHOT:
            book["made_of"] = BY_DEPTH
            ladders.clear(ladder)
            book["whole"] = 1
            if row["flags"] & END:
                end_depth(ladder, book, row)
        elif kind <= BAR_CLOSE:
            on_bar(book, row)
