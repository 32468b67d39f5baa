"""Kernels of replication: one true book per instrument, and what each source has told of it.

All randomness is drawn outside, per message, and comes in as arrays. Prices are ticks, sizes lots.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID, clear, next_price, put, size_at

DEPTH, SNAPSHOT, TRADE, QUOTE, BAR_OPEN, BAR_HIGH, BAR_LOW, BAR_CLOSE, DOWN, TICK = range(1, 11)
BEGIN, END = 1, 2
UNKNOWN_SIDE = 2
LEVELS = 20  # per side, of the book that a source tells
MESSAGE_ROWS = 4 * LEVELS + 1  # two whole sides away, two whole sides in, and a first row
EVENNESS = 4.0  # of shares in a bar's volume: they differ by 1 / (1 + EVENNESS) of their mean

BOOK = np.dtype(
    [
        ("whole", "<i8"),  # a snapshot has come and the source has not gone since
        ("gone", "<i8"),  # its source has gone and not come back
        ("fresh", "<i8"),  # the message under way is a snapshot
        ("by_depth", "<i8"),  # it sends depth: its own best bid and ask are left out
        ("frame", "<i8"),  # ns per frame: the bar's span, else a second
        ("bid", "<i8"),  # the quote under way: price and size
        ("bid_size", "<i8"),
        ("open", "<i8"),  # the bar under way
        ("high", "<i8"),
        ("low", "<i8"),
        ("white", "<f8"),  # standard deviation of a message's own offset, of the log-price
        ("slow", "<f8"),  # the same of the offset that stays
        ("sample", "<i8"),  # survey: number of the frame under way
        ("mid_2", "<i8"),  # survey: bid + ask
    ]
)

COPY = np.dtype(
    [
        ("started", "<i8"),  # a snapshot has been sent and holds
        ("offset", "<f8"),  # the slow part, of the log-price
        ("offset_ts", "<i8"),  # of its last step, ns; 0 before the first
        ("shown", "<f8"),  # bars: the whole offset of the last close
        ("shift", "<i8"),  # ticks by which the levels sent are moved
        ("depth", "<i8"),  # sequence of the last depth message, trade and quote
        ("trade", "<i8"),
        ("quote", "<i8"),
        ("count", "<i8", (2,)),  # levels sent, by side
        ("price", "<i8", (2, LEVELS)),  # from the touch outwards
        ("size", "<i8", (2, LEVELS)),
    ]
)


class State(NamedTuple):
    """Carry of a replication.

    ladders, books: (books,), the true ones. copies: (books, sources) COPY. received: (sources,)
    ns, of the last row that each has sent. message: (1,) number of the message under way, -1 before
    the first. book_of: (instruments, sources of the tape) → book, -1 for what is not replicated.
    persistence: (1,) what a frame leaves of the slow offset. thin: (1,) chance to skip a message.
    """

    ladders: Any
    books: Any
    copies: Any
    received: Any
    message: Any
    book_of: Any
    persistence: Any
    thin: Any


class Draws(NamedTuple):
    """What is drawn for messages `first` on; each (messages, sources).

    skip: uniform. share: exponential. white, slow, high, low: normal. latency: ns.
    """

    first: int
    skip: Any
    share: Any
    white: Any
    slow: Any
    high: Any
    low: Any
    latency: Any


@njit(cache=True)
def emit(out, count, row, source, received, exchange):
    """Begin a row of a source: a copy of the recorded one, told by `source`. Returns the row."""
    new = out[count]
    new["recv_ts"] = received
    new["exch_ts"] = exchange
    new["sequence"] = row["sequence"]
    new["previous"] = -1
    new["price"] = row["price"]
    new["size"] = row["size"]
    new["instrument"] = 0
    new["source"] = source
    new["kind"] = row["kind"]
    new["side"] = row["side"]
    new["flags"] = BEGIN | END
    return new


@njit(cache=True)
def arrival(state, source, row, latency):
    """When a source's message reaches us: a connection does not reorder."""
    at = max(state.received[source], row["recv_ts"] + latency)
    state.received[source] = at
    return at


@njit(cache=True)
def own_instrument(state, at, source):
    """Where a source's instrument stands in the catalog: source by source, book by book."""
    return source * len(state.books) + at


@njit(cache=True)
def step_offset(state, book, copy, ts, normal):
    """The slow offset at `ts`: Ornstein and Uhlenbeck 1930, exact step, once a frame."""
    frame = book["frame"]
    if copy["offset_ts"] == 0:
        copy["offset"] = book["slow"] * normal
        copy["offset_ts"] = ts
    elif ts - copy["offset_ts"] >= frame:
        frames = (ts - copy["offset_ts"]) // frame
        keep = state.persistence[0] ** frames
        copy["offset"] = copy["offset"] * keep + book["slow"] * normal * np.sqrt(1.0 - keep * keep)
        copy["offset_ts"] += frames * frame


@njit(cache=True)
def put_level(out, count, side, price, size):
    """A row's side, price and new total."""
    row = out[count]
    row["kind"] = DEPTH
    row["side"] = side
    row["price"] = price
    row["size"] = size


@njit(cache=True)
def tell_side(copy, side, prices, sizes, levels, out, count):
    """Rows that turn what the copy has told of a side into `levels` of `prices` and `sizes`."""
    sign = -1 if side == BID else 1
    old = 0
    new = 0
    had = copy["count"][side]
    while old < had or new < levels:
        if new == levels or (
            old < had and sign * copy["price"][side, old] < sign * prices[side, new]
        ):
            put_level(out, count, side, copy["price"][side, old], 0)
            count += 1
            old += 1
            continue
        same = old < had and copy["price"][side, old] == prices[side, new]
        if not same or copy["size"][side, old] != sizes[side, new]:
            put_level(out, count, side, prices[side, new], sizes[side, new])
            count += 1
        old += same
        new += 1
    for i in range(levels):
        copy["price"][side, i] = prices[side, i]
        copy["size"][side, i] = sizes[side, i]
    copy["count"][side] = levels
    return count


@njit(cache=True)
def top_levels(ladder, prices, sizes, counts):
    """The best LEVELS of both sides, from the touch outwards."""
    for side in range(2):
        none = NO_BID if side == BID else NO_ASK
        price = ladder["best"][side]
        count = 0
        while price != none and count < LEVELS:
            prices[side, count] = price
            sizes[side, count] = size_at(ladder, side, price)
            count += 1
            price = next_price(ladder, side, price)
        counts[side] = count


@njit(cache=True)
def tell_book(copy, row, source, instrument, received, levels, out, count):
    """The message that brings a source's book up to date; a snapshot where it has none."""
    prices, sizes, counts = levels
    first = count
    if copy["started"] == 0:
        copy["count"][:] = 0
        count += 1
    for side in range(2):
        count = tell_side(copy, side, prices, sizes, counts[side], out, count)
    if count == first:
        return count
    copy["depth"] += 1
    for i in range(first, count):
        new = out[i]
        new["recv_ts"] = received
        new["exch_ts"] = row["exch_ts"]
        new["sequence"] = copy["depth"]
        new["previous"] = copy["depth"] - 1 if copy["started"] else -1
        new["instrument"] = instrument
        new["source"] = source
        new["flags"] = 0
    if copy["started"] == 0:
        out[first]["kind"] = SNAPSHOT
        out[first]["side"] = UNKNOWN_SIDE
        out[first]["price"] = 0
        out[first]["size"] = 0
        copy["started"] = 1
    out[first]["flags"] |= BEGIN
    out[count - 1]["flags"] |= END
    return count


@njit(cache=True)
def end_depth(state, at, row, draws, k, out, count):
    """A depth message is complete: each source that does not skip it tells its own book."""
    book = state.books[at]
    ladder = state.ladders[at]
    bid = ladder["best"][BID]
    ask = ladder["best"][ASK]
    if bid == NO_BID or ask == NO_ASK or bid >= ask:
        return count
    prices = np.empty((2, LEVELS), np.int64)
    sizes = np.empty((2, LEVELS), np.int64)
    counts = np.empty(2, np.int64)
    top_levels(ladder, prices, sizes, counts)
    shifted = np.empty((2, LEVELS), np.int64)
    kept = np.empty(2, np.int64)
    mid = 0.5 * (bid + ask)
    for source in range(state.copies.shape[1]):
        copy = state.copies[at, source]
        if book["fresh"]:
            copy["started"] = 0
        elif draws.skip[k, source] < state.thin[0] and copy["started"]:
            continue
        step_offset(state, book, copy, row["recv_ts"], draws.slow[k, source])
        offset = copy["offset"] + book["white"] * draws.white[k, source]
        shift = np.int64(np.rint(mid * np.expm1(offset)))
        copy["shift"] = max(shift, 1 - bid)
        for side in range(2):
            kept[side] = 0
            for i in range(counts[side]):
                if prices[side, i] + copy["shift"] > 0:
                    shifted[side, i] = prices[side, i] + copy["shift"]
                    kept[side] = i + 1
        received = arrival(state, source, row, draws.latency[k, source])
        levels = (shifted, sizes, kept)
        own = own_instrument(state, at, source)
        count = tell_book(copy, row, source, own, received, levels, out, count)
    return count


@njit(cache=True)
def share_out(total, weights, parts):
    """Whole parts of `total` in proportion to `weights`; the greatest takes what is left over."""
    whole = weights.sum()
    left = total
    greatest = 0
    for i in range(len(weights)):
        if weights[i] > weights[greatest]:
            greatest = i
        parts[i] = min(left, np.int64(total * (weights[i] / whole)))
        left -= parts[i]
    parts[greatest] += left


@njit(cache=True)
def on_trade(state, at, row, draws, k, out, count):
    """A trade is shared out among the sources that do not skip it, at the shift of their books."""
    sources = state.copies.shape[1]
    weights = np.empty(sources, np.float64)
    parts = np.empty(sources, np.int64)
    likeliest = 0
    for source in range(sources):
        skipped = draws.skip[k, source] < state.thin[0]
        weights[source] = 0.0 if skipped else draws.share[k, source]
        if draws.skip[k, source] > draws.skip[k, likeliest]:
            likeliest = source
    if weights.sum() <= 0.0:
        weights[likeliest] = 1.0
    share_out(row["size"], weights, parts)
    for source in range(sources):
        copy = state.copies[at, source]
        if parts[source] == 0 or row["price"] + copy["shift"] <= 0:
            continue
        copy["trade"] += 1
        received = arrival(state, source, row, draws.latency[k, source])
        new = emit(out, count, row, source, received, row["exch_ts"])
        new["sequence"] = copy["trade"]
        new["instrument"] = own_instrument(state, at, source)
        new["price"] += copy["shift"]
        new["size"] = parts[source]
        count += 1
    return count


@njit(cache=True)
def on_quote(state, at, row, draws, k, out, count):
    """A row of best bid/ask, of a book that has no depth: two rows from each source at its end."""
    book = state.books[at]
    if row["side"] == BID:
        book["bid"] = row["price"]
        book["bid_size"] = row["size"]
    if not row["flags"] & END or book["by_depth"] or not 0 < book["bid"] < row["price"]:
        return count
    mid = 0.5 * (book["bid"] + row["price"])
    for source in range(state.copies.shape[1]):
        copy = state.copies[at, source]
        if draws.skip[k, source] < state.thin[0] and copy["quote"] > 0:
            continue
        step_offset(state, book, copy, row["recv_ts"], draws.slow[k, source])
        offset = copy["offset"] + book["white"] * draws.white[k, source]
        copy["shift"] = max(np.int64(np.rint(mid * np.expm1(offset))), 1 - book["bid"])
        copy["quote"] += 1
        received = arrival(state, source, row, draws.latency[k, source])
        for side in range(2):
            new = emit(out, count + side, row, source, received, row["exch_ts"])
            new["sequence"] = copy["quote"]
            new["instrument"] = own_instrument(state, at, source)
            new["side"] = side
            new["price"] = (book["bid"] if side == BID else row["price"]) + copy["shift"]
            new["size"] = book["bid_size"] if side == BID else row["size"]
            new["flags"] = BEGIN if side == BID else END
        count += 2
    return count


@njit(cache=True)
def moved(price, offset):
    """A price in ticks moved by an offset of its logarithm."""
    return max(np.int64(1), np.int64(np.rint(price * np.exp(offset))))


@njit(cache=True)
def on_bar(state, at, row, draws, k, out, count):
    """A row of a bar; at its close each source tells its own bar, without delay or thinning."""
    book = state.books[at]
    kind = row["kind"]
    if kind == BAR_OPEN:
        book["open"] = row["price"]
    elif kind == BAR_HIGH:
        book["high"] = row["price"]
    elif kind == BAR_LOW:
        book["low"] = row["price"]
    if kind != BAR_CLOSE:
        return count
    sources = state.copies.shape[1]
    parts = np.empty(sources, np.int64)
    share_out(row["size"], EVENNESS + draws.share[k], parts)
    for source in range(sources):
        copy = state.copies[at, source]
        step_offset(state, book, copy, row["recv_ts"], draws.slow[k, source])
        slow = copy["offset"]
        shown = slow + book["white"] * draws.white[k, source]
        opened = moved(book["open"], copy["shown"])
        closed = moved(row["price"], shown)
        high = moved(book["high"], slow + book["white"] * draws.high[k, source])
        low = moved(book["low"], slow + book["white"] * draws.low[k, source])
        copy["shown"] = shown
        values = (opened, max(high, opened, closed), min(low, opened, closed), closed)
        for i in range(4):
            new = emit(out, count + i, row, source, row["recv_ts"], row["exch_ts"])
            new["instrument"] = own_instrument(state, at, source)
            new["kind"] = BAR_OPEN + i
            new["price"] = values[i]
            new["size"] = parts[source] if i == 3 else 0
            new["flags"] = BEGIN if i == 0 else (END if i == 3 else 0)
        count += 4
    return count


@njit(cache=True)
def on_down(state, row, draws, k, out, count):
    """The recorded source has gone: the copies of its books are void, each told so once.

    All other books of the copies begin anew with a snapshot, as a source that was away does.
    """
    for instrument in range(state.book_of.shape[0]):
        at = state.book_of[instrument, row["source"]]
        if at < 0 or state.books[at]["gone"]:
            continue
        clear(state.ladders[at])
        state.books[at]["whole"] = 0
        state.books[at]["gone"] = 1
        for source in range(state.copies.shape[1]):
            received = arrival(state, source, row, draws.latency[k, source])
            new = emit(out, count, row, source, received, received)
            new["instrument"] = own_instrument(state, at, source)
            count += 1
            for other in range(state.copies.shape[0]):
                state.copies[other, source]["started"] = 0
                state.copies[other, source]["count"][:] = 0
    return count


@njit(cache=True)
def take(ladder, book, row):
    """A row of depth into a true book."""
    if row["kind"] == SNAPSHOT:
        clear(ladder)
        book["whole"] = 1
        book["fresh"] = 1
    elif row["flags"] & BEGIN:
        book["fresh"] = 0
    good = row["price"] > 0 and row["size"] >= 0 and row["side"] <= ASK
    if row["kind"] == DEPTH and book["whole"] and good:
        put(ladder, np.int64(row["side"]), row["price"], row["size"])


@njit(cache=True)
def step(state, row, draws, k, out, count):
    """Take in one row; the new number of rows sent."""
    kind = row["kind"]
    if kind == TICK:
        emit(out, count, row, 0, row["recv_ts"], row["exch_ts"])
        return count + 1
    if kind == DOWN:
        return on_down(state, row, draws, k, out, count)
    at = state.book_of[row["instrument"], row["source"]]
    if at < 0:
        return count
    state.books[at]["gone"] = 0
    if kind == DEPTH or kind == SNAPSHOT:
        take(state.ladders[at], state.books[at], row)
        if row["flags"] & END and state.books[at]["whole"]:
            return end_depth(state, at, row, draws, k, out, count)
        return count
    if row["price"] <= 0 or row["size"] < 0:
        return count
    if kind == TRADE:
        return on_trade(state, at, row, draws, k, out, count)
    if kind == QUOTE:
        return on_quote(state, at, row, draws, k, out, count)
    return on_bar(state, at, row, draws, k, out, count)


@njit(cache=True)
def run(state, draws, rows, at, out):
    """Rows from `at` on, until they, the draws or the room end: (next row, rows sent)."""
    count = 0
    last = draws.first + len(draws.skip) - 1
    room = max(MESSAGE_ROWS, len(state.books)) * len(state.received)
    for i in range(at, len(rows)):
        row = rows[i]
        if count + room > len(out):
            return i, count
        if row["flags"] & BEGIN:
            if state.message[0] == last:
                return i, count
            state.message[0] += 1
        if state.message[0] >= 0:
            count = step(state, row, draws, state.message[0] - draws.first, out, count)
    return len(rows), count


@njit(cache=True)
def survey(ladders, books, book_of, rows, samples):
    """Mids at the end of frames, to measure returns: (n, 3) of book, frame, bid + ask.

    `samples` has room for as many as there are rows. Also finds which books are made of depth.
    """
    count = 0
    for i in range(len(rows)):
        row = rows[i]
        kind = row["kind"]
        at = np.int64(-1)
        if kind != TICK and kind != DOWN and kind != TRADE:
            at = np.int64(book_of[row["instrument"], row["source"]])
        if at < 0:
            continue
        book = books[at]
        if kind == DEPTH or kind == SNAPSHOT:
            book["by_depth"] = 1
            take(ladders[at], book, row)
        if kind == QUOTE and row["side"] == BID:
            book["bid"] = row["price"]
        if not row["flags"] & END:
            continue
        # a bar is received at the end of its frame, a message inside of it
        frame = (row["recv_ts"] - (kind == BAR_CLOSE)) // book["frame"]
        if frame != book["sample"] and book["mid_2"] > 0:
            samples[count, 0] = at
            samples[count, 1] = book["sample"]
            samples[count, 2] = book["mid_2"]
            count += 1
        book["sample"] = frame
        bid = ladders[at]["best"][BID]
        ask = ladders[at]["best"][ASK]
        if kind == BAR_CLOSE:
            book["mid_2"] = 2 * row["price"]
        elif kind == QUOTE and not book["by_depth"]:
            book["mid_2"] = book["bid"] + row["price"]
        elif kind != QUOTE and NO_BID < bid < ask < NO_ASK:
            book["mid_2"] = bid + ask
    return count
