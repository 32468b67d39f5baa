"""The simulated venue where nothing is out of the ordinary, compiled: an order arrives, takes what
it finds, and what it got is reported. Anything else is left to `venues.simulated.matching`.

Kernels with `_nrt=False` make no array and hand none out, so that none has to be counted: else
every array of a tuple is counted up and down wherever one of them is read.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from seawall.core.ladder import NO_ASK, NO_BID
from seawall.venues.simulated import kernels as venue

BUY, SELL = venue.BUY, venue.SELL
PPM = 1_000_000
SMALL = float(1 << 60)  # products below it fit in 64 bits with room to spare
NARROW = 1 << 31  # of lots: `part_of` stays exact
LEDGER, STRATEGY, VENUE = range(3)  # whose books
NEW, FILLED_LOTS, TOLD, CANCELED = range(4)  # what a report says; TOLD: only what fills have said

TERM = np.dtype(
    [
        ("spot", "<i8"),
        ("inverse", "<i8"),
        ("settle", "<i8"),  # asset
        ("base", "<i8"),  # asset
        ("quote", "<i8"),  # asset
        ("group", "<i8"),  # consensus group
        ("unit", "<i8"),  # smallest settle units per tick and lot
        ("base_unit", "<i8"),  # smallest base units per lot
        ("deposited", "<i8"),  # 1: there is collateral for it
        ("lot", "<f8"),
    ]
)

BOOK = np.dtype(  # sums are counted from the beginning of the pass
    [
        ("position", "<i8"),  # lots, signed
        ("cost", "<i8"),  # of the open lots, smallest settle units
        ("first", "<i8"),  # of the open lots, in their ring
        ("count", "<i8"),
        ("realised", "<i8"),
        ("flow", "<i8"),
        ("volume", "<i8"),
        ("trades", "<i8"),
        ("fees", "<i8"),
    ]
)

ORDER = np.dtype(
    [
        ("number", "<i8"),  # 0: there is none
        ("side", "<i8"),
        ("price", "<i8"),  # ticks
        ("size", "<i8"),  # lots
        ("filled", "<i8"),  # lots, as far as the node has heard
        ("reduce_only", "<i8"),
        ("sent", "<i8"),  # ns UTC
        ("arrival", "<i8"),
        ("accept_until", "<i8"),
    ]
)

REPORT = np.dtype(
    [
        ("sequence", "<i8"),
        ("what", "<i8"),
        ("instrument", "<i8"),
        ("number", "<i8"),  # of the order
        ("side", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("fee", "<i8"),
        ("filled", "<i8"),  # lots of the order so far
        ("whole", "<i8"),  # 1: that is all of it
        ("ts", "<i8"),  # ns UTC at the venue
        ("due", "<i8"),  # ns UTC at the node
    ]
)

STAND = np.dtype(
    [
        # the venue's terms
        ("entry", "<i8"),  # latencies, ns
        ("response", "<i8"),
        ("taker_ppm", "<i8"),
        ("max_leverage", "<i8"),
        # where it stands
        ("at", "<i8"),  # rows that it has taken in
        ("now", "<i8"),  # ns UTC
        ("last_arrival", "<i8"),
        ("last_due", "<i8"),
        ("sequence", "<i8"),  # of the last report
        ("flying", "<i8"),  # orders on their way
        ("reported", "<i8"),  # reports of this pass
        ("heard", "<i8"),  # of these, what the node has heard
    ]
)


class Exchange(NamedTuple):
    """The venue, and what it shares with the node.

    terms: (instruments,) TERM. books: (3, instruments) BOOK. lots: (3, instruments, room, 2) open
    lots and their cost, rings, oldest first. cash: (2, assets) of the ledger and of the venue.
    orders: (instruments,) ORDER. flight: (instruments,) instruments of the orders on their way, by
    arrival. walked: (levels, 2). stand: (1,) STAND.
    """

    terms: np.ndarray
    books: np.ndarray
    lots: np.ndarray
    cash: np.ndarray
    orders: np.ndarray
    flight: np.ndarray
    reports: np.ndarray
    walked: np.ndarray
    stand: np.ndarray


@njit(cache=True, _nrt=False)
def part_of(amount: int, part: int, whole: int) -> int:
    """floor(amount x part / whole) without overflow; 0 <= part, 0 < whole < NARROW."""
    return amount // whole * part + amount % whole * part // whole


@njit(cache=True, _nrt=False)
def fee_of(value: int, rate_ppm: int) -> int:
    """`core.money.fee` without overflow; value >= 0."""
    return value // PPM * rate_ppm - (-(value % PPM) * rate_ppm) // PPM


@njit(cache=True, _nrt=False)
def trade(book: Any, lots: Any, sign: int, size: int, value: int) -> int:
    """`ledger.Book.trade`: closes the oldest lots, opens with the rest; what it realised."""
    book["flow"] -= sign * value
    book["volume"] += value
    book["trades"] += 1
    realised = 0
    room = len(lots)
    if book["position"] * sign < 0:
        while size > 0 and book["count"] > 0:
            first = book["first"]
            open_size, open_cost = lots[first, 0], lots[first, 1]
            closed = min(open_size, size)
            cost = part_of(open_cost, closed, open_size)
            proceeds = part_of(value, closed, size)
            realised += -sign * (proceeds - cost)
            if closed == open_size:
                book["first"] = (first + 1) % room
                book["count"] -= 1
            else:
                lots[first, 0] = open_size - closed
                lots[first, 1] = open_cost - cost
            book["position"] += sign * closed
            book["cost"] -= cost
            size -= closed
            value -= proceeds
        book["realised"] += realised
    if size > 0:
        last = (book["first"] + book["count"]) % room
        lots[last, 0] = size
        lots[last, 1] = value
        book["count"] += 1
        book["cost"] += value
        book["position"] += sign * size
    return realised


@njit(cache=True, _nrt=False)
def advance(floor: Any, rows: Any, exchange: Any, until: int) -> bool:
    """Let the venue live to `until`, order by order; False before an arrival that is not plain."""
    stand = exchange.stand[0]
    while stand["flying"] > 0:
        instrument = exchange.flight[0]
        arrival = exchange.orders[instrument]["arrival"]
        if arrival >= until:
            break
        stand["at"], filled = venue.run(floor, rows, stand["at"], arrival)
        stand["now"] = max(stand["now"], arrival)
        if filled > 0 or not arrive(floor, exchange, instrument, stand["now"]):
            return False
        stand["flying"] -= 1
        for k in range(stand["flying"]):
            exchange.flight[k] = exchange.flight[k + 1]
    return True


@njit(cache=True, _nrt=False)
def arrive(floor: Any, exchange: Any, instrument: int, ts: int) -> bool:
    """An IOC limit order reaches the book; False where it may be rejected (nothing is done)."""
    order, stand = exchange.orders[instrument], exchange.stand[0]
    book, market = exchange.books[VENUE, instrument], floor.markets[instrument]
    sign = 1 if order["side"] == BUY else -1
    size = order["size"]
    if order["reduce_only"] == 1:
        size = min(size, -book["position"] * sign)
    void = market["made_of"] == venue.VOID or market["building"] == 1
    if size <= 0 or void or ts > order["accept_until"]:
        return False
    best = floor.ladders[instrument]["best"]
    side = 1 - order["side"]
    limit = order["price"]
    crosses = limit >= best[side] if sign > 0 else limit <= best[side] != NO_BID
    levels = 0
    if crosses:
        levels = venue.walk(floor, instrument, side, 0, limit, size, exchange.walked)
    room = exchange.lots.shape[2] - book["count"]
    if levels >= room or stand["reported"] + 2 * levels + 2 > len(exchange.reports):
        return False
    if not affordable(floor, exchange, instrument, levels):
        return False
    due = max(ts + stand["response"], stand["last_due"])
    stand["last_due"] = due
    report(exchange, instrument, NEW, 0, 0, 0, 0, ts, due)
    venue.take(floor, instrument, side, exchange.walked, levels)
    filled = 0
    for k in range(levels):
        price, lots = exchange.walked[k, 0], exchange.walked[k, 1]
        filled += lots
        fill(exchange, instrument, price, lots, filled, ts, due)
    if filled < order["size"]:
        report(exchange, instrument, CANCELED, 0, 0, 0, filled, ts, due)
    return True


@njit(cache=True, _nrt=False)
def fill(
    exchange: Any, instrument: int, price: int, lots: int, filled: int, ts: int, due: int
) -> None:
    """One fill: into the venue's accounts and to the node."""
    term, order = exchange.terms[instrument], exchange.orders[instrument]
    sign = 1 if order["side"] == BUY else -1
    value = price * lots * term["unit"]
    fee = fee_of(value, exchange.stand[0]["taker_ppm"])
    balances = exchange.cash[1]
    if term["spot"] == 1:
        balances[term["base"]] += sign * lots * term["base_unit"]
        balances[term["settle"]] -= sign * value + fee
    else:
        book = exchange.books[VENUE, instrument]
        realised = trade(book, exchange.lots[VENUE, instrument], sign, lots, value)
        balances[term["settle"]] += realised - fee
    report(exchange, instrument, FILLED_LOTS, price, lots, fee, filled, ts, due)
    report(exchange, instrument, TOLD, 0, 0, 0, filled, ts, due)


@njit(cache=True, _nrt=False)
def report(
    exchange: Any,
    instrument: int,
    what: int,
    price: int,
    lots: int,
    fee: int,
    filled: int,
    ts: int,
    due: int,
) -> None:
    """One report more, on its way to the node."""
    stand, order = exchange.stand[0], exchange.orders[instrument]
    one = exchange.reports[stand["reported"]]
    stand["reported"] += 1
    stand["sequence"] += 1
    one["sequence"] = stand["sequence"]
    one["what"] = what
    one["instrument"] = instrument
    one["number"] = order["number"]
    one["side"] = order["side"]
    one["price"] = price
    one["size"] = lots
    one["fee"] = fee
    one["filled"] = filled
    one["whole"] = 1 if filled == order["size"] else 0
    one["ts"] = ts
    one["due"] = due


@njit(cache=True, _nrt=False)
def affordable(floor: Any, exchange: Any, instrument: int, levels: int) -> bool:
    """Whether `venues.simulated.funds` has no objection; also False where 64 bits may not do."""
    term, order = exchange.terms[instrument], exchange.orders[instrument]
    walked, stand = exchange.walked, exchange.stand[0]
    taken, needed, most = 0, 0, 0.0
    for k in range(levels):
        taken += walked[k, 1]
        most = max(most, float(walked[k, 0]))
    if most * float(order["size"]) * float(term["unit"]) * stand["max_leverage"] > SMALL:
        return False
    if term["spot"] == 0:
        return order["reduce_only"] == 1 or within_margin(floor, exchange, instrument, levels)
    if order["side"] == SELL:
        return bool(taken * term["base_unit"] <= exchange.cash[1, term["base"]])
    for k in range(levels):
        value = walked[k, 0] * walked[k, 1] * term["unit"]
        needed += value + fee_of(value, max(0, stand["taker_ppm"]))
    return bool(needed <= exchange.cash[1, term["settle"]])


@njit(cache=True, _nrt=False)
def within_margin(floor: Any, exchange: Any, instrument: int, levels: int) -> bool:
    """Whether a derivative's exposure, as large as the order makes it, can be carried."""
    order, stand = exchange.orders[instrument], exchange.stand[0]
    sign = 1 if order["side"] == BUY else -1
    held = exchange.books[VENUE, instrument]["position"]
    taken = 0
    for k in range(levels):
        taken += exchange.walked[k, 1]
    after = abs(held + sign * taken)
    if max(after, abs(held)) <= abs(held):
        return True
    settle = exchange.terms[instrument]["settle"]
    equity = exchange.cash[1, settle]
    exposure = exchange.walked[levels - 1, 0] * after * exchange.terms[instrument]["unit"]
    for k in range(len(exchange.terms)):
        term, book = exchange.terms[k], exchange.books[VENUE, k]
        if term["spot"] == 1 or term["settle"] != settle or book["position"] == 0:
            continue
        best = floor.ladders[k]["best"]
        if best[0] == NO_BID or best[1] == NO_ASK:
            exposure += book["cost"] if k != instrument else 0
            continue
        mark = (best[0] + best[1]) // 2
        worth = float(mark) * float(abs(book["position"])) * float(term["unit"])
        if worth * stand["max_leverage"] > SMALL:
            return False
        value = mark * abs(book["position"]) * term["unit"]
        equity += (value - book["cost"]) * (1 if book["position"] > 0 else -1)
        exposure += value if k != instrument else 0
    return bool(exposure <= equity * stand["max_leverage"])
