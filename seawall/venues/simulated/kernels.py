"""The exchange's compiled half: tape rows into its books, fills of our orders, triggers of stops.

The rules are those that were equal fill for fill with hftbacktest: the queue starts at what the
tick shows, depth rows can only shorten it, trades eat it, and what goes through a price fills it.
How much of a falling total stood before us is for the queue model to say (see queue_kernels).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from seawall.core import ladder as books
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID
from seawall.venues.simulated import queue_kernels as queues
from seawall.venues.simulated import stop_kernels
from seawall.venues.simulated.stop_kernels import BY_LAST, BY_MARK

DEPTH, SNAPSHOT, TRADE, QUOTE, BAR_OPEN, BAR_HIGH, BAR_LOW, BAR_CLOSE, DOWN, TICK = range(1, 11)
END = 2
BUY, SELL = 0, 1
VOID, BY_DEPTH, BY_QUOTE, BY_BAR = range(4)  # what a book is made of
FAR_BACK = 1 << 62  # queue ahead where we cannot see how long it is
PPM = 1_000_000
UNBOUNDED = -1  # lots of a stop that takes what the book has

MARKET = np.dtype(
    [
        ("made_of", "<i8"),
        ("building", "<i8"),  # 1 while a snapshot is incomplete: nothing is evaluated
        ("count", "<i8"),  # our orders resting here
        ("bid", "<i8"),  # the touch of a quote or bar book, to be taken away by the next one
        ("ask", "<i8"),
        ("open", "<i8"),  # of the bar under way, or of the last one
        ("high", "<i8"),
        ("low", "<i8"),
        ("opened", "<i8"),  # ns UTC at which the last bar began
        ("buy_high", "<i8"),  # the span of our resting prices; high below low where there are none
        ("buy_low", "<i8"),
        ("sell_high", "<i8"),
        ("sell_low", "<i8"),
        ("last", "<i8"),  # ticks of the last trade or close; 0 where there was none
        ("stops", "<i8"),  # our stop orders waiting here
        ("shared", "<i8"),  # 1: our orders share the lots of a trade; 0: each meets all of it
        ("kind", "<i8"),  # from here on: a MODEL of the queue
        ("power", "<i8"),
    ]
)

RESTING = np.dtype(
    [
        ("side", "<i8"),
        ("price", "<i8"),  # ticks
        ("remaining", "<i8"),  # lots that may still be filled
        ("placed", "<i8"),  # ns UTC, when the node sent it
        ("ahead", "<i8"),  # from here on: a PLACE of the queue model
        ("traded", "<i8"),
        ("number", "<i8"),
    ]
)


class Floor(NamedTuple):
    """The trading floor: the carry of these kernels.

    ladders: the venue's own copy of the book, one per instrument.
    markets: (instruments,) of MARKET. resting: (open orders,) of RESTING.
    slots: (instruments, open orders) indices in `resting`, by side, then price, then arrival.
    fills: (2 x open orders, 3), out: what the last row did. Slot, lots and price of a fill; where
        the slot is negative, stop `-1 - slot` of the row's instrument has fired: the lots that a
        bar grants it, or UNBOUNDED, and where a bar fills it, or the price that triggered it.
    book_of: (instruments, sources) instrument whose venue this source is, else -1.
    half_spread_ppm, participation_ppm: of bar books.
    stops: (instruments, open orders) of stop_kernels.STOP, those that wait first, by arrival.
    """

    ladders: np.ndarray
    markets: np.ndarray
    resting: np.ndarray
    slots: np.ndarray
    fills: np.ndarray
    book_of: np.ndarray
    half_spread_ppm: int
    participation_ppm: int
    stops: np.ndarray


@njit(cache=True)
def fill(floor, count, slot, lots):
    """Note a fill of a resting order; returns the new count."""
    floor.resting[slot]["remaining"] -= lots
    floor.fills[count, 0] = slot
    floor.fills[count, 1] = lots
    floor.fills[count, 2] = floor.resting[slot]["price"]
    return count + 1


@njit(cache=True)
def on_touch(floor, instrument, side, price):
    """Others now show `price` on `side`: our orders on the other side that it meets are filled."""
    count = 0
    for k in range(floor.markets[instrument]["count"]):
        slot = floor.slots[instrument, k]
        order = floor.resting[slot]
        if order["side"] == side or order["remaining"] <= 0:
            continue
        if (side == ASK and price <= order["price"]) or (side == BID and price >= order["price"]):
            count = fill(floor, count, slot, order["remaining"])
    return count


@njit(cache=True)
def on_level(floor, instrument, side, price, before, after):
    """The total at a price went from `before` to `after`: no more than that stands before us."""
    market = floor.markets[instrument]
    for k in range(market["count"]):
        order = floor.resting[floor.slots[instrument, k]]
        if order["side"] == side and order["price"] == price:
            if market["kind"] == queues.RISK_AVERSE:
                order["ahead"] = min(order["ahead"], after)  # as the model, without its call
            else:
                queues.on_depth(market, order, before, after)


@njit(cache=True)
def pass_crossed(floor, instrument, side, price):
    """A row that crosses moves the other side's best price past it and erases no level."""
    ladder = floor.ladders[instrument]
    other = 1 - side
    best = ladder["best"][other]
    if side == ASK:
        while best != NO_BID and best >= price:
            best = books.next_price(ladder, BID, best)
    else:
        while best != NO_ASK and best <= price:
            best = books.next_price(ladder, ASK, best)
    ladder["best"][other] = best


@njit(cache=True)
def void(floor, instrument):
    """The book can no longer be believed; our orders keep their places and wait."""
    market = floor.markets[instrument]
    books.clear(floor.ladders[instrument])
    market["made_of"] = VOID
    market["building"] = 0
    market["bid"] = 0
    market["ask"] = 0
    market["last"] = 0


@njit(cache=True)
def rebuilt(floor, instrument):
    """A snapshot is complete: shorten our queues, and fill what the market went through."""
    market = floor.markets[instrument]
    market["building"] = 0
    ladder = floor.ladders[instrument]
    bid = ladder["best"][BID]
    ask = ladder["best"][ASK]
    count = 0
    for k in range(market["count"]):
        slot = floor.slots[instrument, k]
        order = floor.resting[slot]
        shown = books.size_at(ladder, order["side"], order["price"])
        order["ahead"] = min(order["ahead"], shown)
        order["traded"] = 0
        met = ask <= order["price"] if order["side"] == BUY else bid >= order["price"]
        if met and order["remaining"] > 0:
            count = fill(floor, count, slot, order["remaining"])
    return count


@njit(cache=True)
def on_depth(floor, instrument, row):
    """One level of the book; returns the fills."""
    market = floor.markets[instrument]
    if market["made_of"] != BY_DEPTH or row["side"] > ASK or row["price"] <= 0 or row["size"] < 0:
        return 0
    side = np.int64(row["side"])
    before = np.int64(0)
    if market["kind"] != queues.RISK_AVERSE:  # which asks for the new total alone
        before = np.int64(books.size_at(floor.ladders[instrument], side, row["price"]))
    books.put(floor.ladders[instrument], side, row["price"], row["size"])
    if market["building"] == 1:
        return rebuilt(floor, instrument) if row["flags"] & END else 0
    if row["size"] > 0:
        pass_crossed(floor, instrument, side, row["price"])
    if market["count"] == 0:
        return 0
    on_level(floor, instrument, side, row["price"], before, row["size"])
    return on_touch(floor, instrument, side, row["price"]) if row["size"] > 0 else 0


@njit(cache=True)
def on_snapshot(floor, instrument, row):
    """A whole book follows; returns the fills (of a book that is empty)."""
    market = floor.markets[instrument]
    void(floor, instrument)
    market["made_of"] = BY_DEPTH
    market["building"] = 1
    return rebuilt(floor, instrument) if row["flags"] & END else 0


@njit(cache=True)
def on_trade(floor, instrument, row):
    """A trade of others; its lots are shared among our orders at its price, none given twice."""
    market = floor.markets[instrument]
    count = 0
    given = np.int64(0)
    for k in range(market["count"]):
        slot = floor.slots[instrument, k]
        order = floor.resting[slot]
        if order["remaining"] <= 0 or row["side"] == order["side"]:
            continue
        if order["price"] == row["price"]:
            if row["side"] > SELL:
                continue  # nobody said who took it
            excess = queues.on_trade(market, order, row["size"] - given, -1)
            if excess > 0:
                lots = min(excess, order["remaining"])
                given += lots * market["shared"]
                count = fill(floor, count, slot, lots)
        elif (row["price"] < order["price"]) == (order["side"] == BUY):
            count = fill(floor, count, slot, order["remaining"])
    return count


@njit(cache=True)
def set_touch(ladder, market, side, price, size):
    """Make one side of a one-level book."""
    old = market["bid"] if side == BID else market["ask"]
    if price > 0:
        books.put_only(ladder, side, price, size)
    elif old > 0:
        books.put(ladder, side, old, 0)
    if side == BID:
        market["bid"] = price
    else:
        market["ask"] = price


@njit(cache=True)
def on_quote(floor, instrument, row):
    """The venue's own touch. It makes the book where nothing better does; returns the fills."""
    market = floor.markets[instrument]
    if row["side"] > ASK or row["price"] < 0 or row["size"] < 0 or market["building"] == 1:
        return 0
    side = np.int64(row["side"])
    before = np.int64(0)
    if market["kind"] != queues.RISK_AVERSE:  # which asks for the new total alone
        before = np.int64(books.size_at(floor.ladders[instrument], side, row["price"]))
    if market["made_of"] != BY_DEPTH:
        market["made_of"] = BY_QUOTE
        set_touch(floor.ladders[instrument], market, side, row["price"], row["size"])
        if row["size"] > 0:
            pass_crossed(floor, instrument, side, row["price"])
    if market["count"] == 0 or row["size"] == 0 or row["price"] == 0:
        return 0
    on_level(floor, instrument, side, row["price"], before, row["size"])
    return on_touch(floor, instrument, side, row["price"])


@njit(cache=True)
def share(volume, ppm):
    """floor(volume x ppm / 1e6) without overflow."""
    return volume // PPM * ppm + volume % PPM * ppm // PPM


@njit(cache=True)
def fire(floor, count, instrument, k, lots, price):
    """Note that a stop has fired; returns the new count."""
    floor.stops[instrument, k]["waiting"] = 0
    floor.fills[count, 0] = -1 - k
    floor.fills[count, 1] = lots
    floor.fills[count, 2] = price
    return count + 1


@njit(cache=True)
def on_price(floor, instrument, by, price, count):
    """A new last or mark price: stops that it meets fire. Returns the new count."""
    for k in range(floor.markets[instrument]["stops"]):
        stop = floor.stops[instrument, k]
        if stop["waiting"] == 1 and stop["by"] == by:
            stop_kernels.follow(stop, price)
            if stop_kernels.meets(stop, price):
                count = fire(floor, count, instrument, k, UNBOUNDED, price)
    return count


@njit(cache=True)
def watch(floor, instrument, row, count):
    """The stops' turn, after a row of depth, quotes or trades. Returns the new count.

    The mark is looked at where a message is complete.
    """
    market = floor.markets[instrument]
    seen = market["made_of"] == BY_DEPTH or market["made_of"] == BY_QUOTE
    if market["building"] == 1 or not seen:
        return count
    if row["kind"] == TRADE:
        return (
            on_price(floor, instrument, BY_LAST, row["price"], count) if row["price"] > 0 else count
        )
    bid = floor.ladders[instrument]["best"][BID]
    ask = floor.ladders[instrument]["best"][ASK]
    if row["flags"] & END == 0 or bid == NO_BID or ask == NO_ASK:
        return count
    return on_price(floor, instrument, BY_MARK, (bid + ask) // 2, count)


@njit(cache=True)
def on_bar_stops(floor, instrument, row, left):
    """A bar ends: stops older than it fire, within `left` lots. Returns (fired, lots left)."""
    market = floor.markets[instrument]
    count = 0
    for k in range(market["stops"]):
        stop = floor.stops[instrument, k]
        if stop["waiting"] == 0 or stop["placed"] > row["exch_ts"]:
            continue
        price = stop_kernels.on_bar(stop, market, row["price"])
        if price > 0:
            away = share(price, floor.half_spread_ppm)
            price = max(np.int64(1), price - away) if stop["side"] == SELL else price + away
            lots = min(stop["remaining"], left)
            left -= lots
            count = fire(floor, count, instrument, k, lots, price)
    return count, left


@njit(cache=True)
def note_bar(market, row):
    """A row of a bar into its open, high and low; whether it is the close of one that counts."""
    if market["made_of"] == BY_DEPTH or market["made_of"] == BY_QUOTE or row["price"] <= 0:
        return False
    if row["kind"] == BAR_OPEN:
        market["open"] = row["price"]
    elif row["kind"] == BAR_HIGH:
        market["high"] = row["price"]
    elif row["kind"] == BAR_LOW:
        market["low"] = row["price"]
    return row["kind"] == BAR_CLOSE


@njit(cache=True)
def on_bar(floor, instrument, row):
    """A row of a bar; at its close our older orders fill, then the touch stands about the close.

    Stops come first: where a bar touches both a stop and a target, the stop is what happened.
    """
    market = floor.markets[instrument]
    if not note_bar(market, row):
        return 0
    market["opened"] = row["exch_ts"]
    market["last"] = row["price"]
    left = share(row["size"], floor.participation_ppm)
    count = 0
    if market["stops"] > 0:
        count, left = on_bar_stops(floor, instrument, row, left)
    for k in range(market["count"]):
        slot = floor.slots[instrument, k]
        order = floor.resting[slot]
        passed = (
            market["low"] < order["price"]
            if order["side"] == BUY
            else market["high"] > order["price"]
        )
        lots = min(order["remaining"], left)
        if passed and lots > 0 and order["placed"] <= row["exch_ts"]:
            left -= lots
            count = fill(floor, count, slot, lots)
    market["made_of"] = BY_BAR
    away = share(row["price"], floor.half_spread_ppm)
    bid = max(np.int64(1), row["price"] - away)
    ask = max(row["price"] + away, bid + 1)
    set_touch(floor.ladders[instrument], market, BID, bid, left)
    set_touch(floor.ladders[instrument], market, ASK, ask, left)
    return count


@njit(cache=True)
def step(floor, row):
    """One row of the tape. Returns how many of our orders it filled; they are in `floor.fills`."""
    kind = row["kind"]
    table = floor.book_of
    if kind >= TICK or row["instrument"] >= table.shape[0] or row["source"] >= table.shape[1]:
        return 0
    instrument = np.int64(table[row["instrument"], row["source"]])
    if instrument < 0:
        return 0
    if kind == DOWN:
        void(floor, instrument)
        return 0
    if BAR_OPEN <= kind <= BAR_CLOSE:
        return on_bar(floor, instrument, row)
    market = floor.markets[instrument]
    count = 0
    if kind == DEPTH:
        count = on_depth(floor, instrument, row)
    elif kind == TRADE:
        if row["price"] > 0:
            market["last"] = row["price"]
        seen = market["made_of"] == BY_DEPTH or market["made_of"] == BY_QUOTE
        if market["count"] > 0 and market["building"] == 0 and seen:
            count = on_trade(floor, instrument, row)
    elif kind == QUOTE:
        count = on_quote(floor, instrument, row)
    elif kind == SNAPSHOT:
        count = on_snapshot(floor, instrument, row)
    return watch(floor, instrument, row, count) if market["stops"] > 0 else count


@njit(cache=True)
def concerns_us(market, kind, side, price):
    """Whether a depth, trade or quote row can touch one of our orders. Side: of the row."""
    if kind == TRADE:
        met = price <= market["buy_high"] and side != BUY
        return met or (price >= market["sell_low"] and side != SELL)
    if side == BID:
        ours = market["buy_low"] <= price <= market["buy_high"]
        return ours or price >= market["sell_low"]
    return market["sell_low"] <= price <= market["sell_high"] or price <= market["buy_high"]


@njit(cache=True)
def run(floor, rows, start, limit):
    """Rows from `start` on whose receive time is not after `limit`, up to the first that fills.

    Returns (the next row, fills of the last one). The same as a loop over `step`, but rows that
    cannot touch our orders take a short way: depth into the book, trades and quotes nowhere.
    """
    ladders = floor.ladders
    markets = floor.markets
    table = floor.book_of
    i = start
    while i < len(rows):
        row = rows[i]
        if row["recv_ts"] > limit:
            break
        i += 1
        kind = row["kind"]
        if row["instrument"] >= table.shape[0] or row["source"] >= table.shape[1]:
            continue
        instrument = np.int64(table[row["instrument"], row["source"]])
        if instrument < 0:
            continue
        market = markets[instrument]
        side = np.int64(row["side"])
        price = row["price"]
        quiet = kind == DEPTH or kind == TRADE or (kind == QUOTE and market["made_of"] == BY_DEPTH)
        if (
            quiet
            and market["building"] == 0
            and market["stops"] == 0
            and (market["count"] == 0 or not concerns_us(market, kind, side, price))
        ):
            size = row["size"]
            if kind == TRADE and price > 0:
                market["last"] = price
            if (
                kind != DEPTH
                or market["made_of"] != BY_DEPTH
                or side > ASK
                or price <= 0
                or size < 0
            ):
                continue
            books.put(ladders[instrument], side, price, size)
            best = ladders[instrument]["best"]
            crossed = best[ASK] <= price if side == BID else best[BID] >= price
            if size > 0 and crossed:
                pass_crossed(floor, instrument, side, price)
            continue
        if BAR_OPEN <= kind < BAR_CLOSE:
            note_bar(market, row)  # as `step`, without its call, which counts every array
            continue
        filled = step(floor, row)
        if filled > 0:
            return i, filled
    return i, 0


@njit(cache=True)
def queue_ahead(floor, instrument, side, price):
    """Lots that stand before an order which arrives at a price now."""
    market = floor.markets[instrument]
    best = floor.ladders[instrument]["best"][side]
    behind = price < best if side == BID else best != NO_ASK and price > best
    if market["made_of"] == BY_QUOTE and behind:
        return np.int64(FAR_BACK)
    return books.size_at(floor.ladders[instrument], side, price)


@njit(cache=True)
def walk(floor, instrument, side, first, limit, size, out):
    """What an order for `size` lots finds on book side `side` down to `limit`, best first.

    Args:
        first: levels better than it are passed over: a trade beyond them has shown that they are
            gone. 0: none.
        out: (levels, 2) price and lots taken at it.

    Returns how many levels. Takes nothing yet.
    """
    ladder = floor.ladders[instrument]
    price = ladder["best"][side]
    while first > 0 and price != NO_BID and price != NO_ASK:
        if (side == ASK and price >= first) or (side == BID and price <= first):
            break
        price = books.next_price(ladder, side, price)
    count = 0
    while size > 0 and count < len(out) and price != NO_BID and price != NO_ASK:
        if (side == ASK and price > limit) or (side == BID and price < limit):
            break
        lots = min(size, books.size_at(ladder, side, price))
        if lots > 0:
            out[count, 0] = price
            out[count, 1] = lots
            count += 1
            size -= lots
        price = books.next_price(ladder, side, price)
    return count


@njit(cache=True)
def take(floor, instrument, side, out, count):
    """Take what `walk` found out of the venue's copy, until the next row for those prices.

    A bar's volume is one for both sides.
    """
    ladder = floor.ladders[instrument]
    market = floor.markets[instrument]
    for k in range(count):
        price = out[k, 0]
        left = books.size_at(ladder, side, price) - out[k, 1]
        books.put(ladder, side, price, left)
        if market["made_of"] == BY_BAR:
            other = market["ask"] if side == BID else market["bid"]
            books.put(ladder, 1 - side, other, left)
