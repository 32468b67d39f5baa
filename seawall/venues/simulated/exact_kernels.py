"""The exact venue from our side: what a compiled strategy calls, and requests at the exchange.

A strategy is a compiled function that loops `while elapse(venue, ns)` and looks and trades in
between, at `venue.desk`. It sees our book and our orders as rows and responses have told them; the
exchange has gone on meanwhile.
"""

import numpy as np
from numba import njit

from seawall.core import ladder as books
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID
from seawall.venues.simulated.exact_matching_kernels import (
    WHAT,
    available,
    eat,
    exchange_rows,
    fill,
    leave,
    price_of,
    put,
    queue_up,
    respond,
    rest,
    settle,
    share_ppm,
    shown,
    value_of,
)
from seawall.venues.simulated.exact_state import (
    ACCEPTED,
    ASK_SET,
    BID_SET,
    BOUGHT,
    BUY,
    CANCEL,
    CANCELED,
    CLEAR,
    DRAWS,
    DROPPED,
    EXCHANGE,
    EXECUTED,
    FILLED,
    FOK,
    GTC,
    MARKET,
    NEVER,
    NEW,
    NONE,
    OPEN,
    OURS,
    POST_ONLY,
    REFUSED,
    REJECTED,
    REPLACE,
    REPLACED,
    RESPONSES,
    SENT,
    SHARED,
    SLOTS,
    SOLD,
    UNCHANGED,
    UNKNOWN,
    VOID,
    WHAT_BITS,
    WHOLE,
)

# --- a request reaches the exchange ---


@njit(cache=True)
def takeable(desk, prices, side, limit, size):
    """Lots that book side `side` has for us down to `limit`, at most `size`."""
    ladder = desk["books"][EXCHANGE]
    level = ladder["best"][side]
    found = np.int64(0)
    while found < size and level != NO_BID and level != NO_ASK:
        price = price_of(prices, level)
        if price > limit if side == ASK else price < limit:
            break
        found += available(desk, side, price, books.size_at(ladder, side, level))
        level = books.next_price(ladder, side, level)
    return min(found, size)


@njit(cache=True)
def take(desk, prices, ts, slot, side, limit):
    """Fill an order from book side `side`, best price first, down to `limit`."""
    ladder = desk["books"][EXCHANGE]
    order = desk["orders"][slot]
    level = ladder["best"][side]
    shared = desk["rule"] == SHARED
    while order["left"] > 0 and level != NO_BID and level != NO_ASK:
        price = price_of(prices, level)
        if price > limit if side == ASK else price < limit:
            break
        lots = available(desk, side, price, books.size_at(ladder, side, level))
        lots = min(lots, order["left"])
        if lots > 0:
            if shared:
                eat(desk, side, price, lots)
            fill(desk, ts, slot, price, lots, 0)
        level = books.next_price(ladder, side, level)


@njit(cache=True)
def enter_whole(desk, prices, ts, slot, answer):
    """An order meets the book by hftbacktest's rule: what crosses is filled whole at the best."""
    order = desk["orders"][slot]
    other = 1 - order["side"]
    best = price_of(prices, desk["books"][EXCHANGE]["best"][other])
    crosses = best != NO_BID and best != NO_ASK
    if order["kind"] != MARKET:
        limit = order["price"]
        crosses = crosses and (limit >= best if other == ASK else limit <= best)
    if crosses and order["kind"] == POST_ONLY:
        respond(desk, ts, slot, REFUSED, 0, 0, 0)
    elif crosses:
        fill(desk, ts, slot, best, order["left"], 0)
    elif order["kind"] == GTC or order["kind"] == POST_ONLY:
        rest(desk, prices, slot)
        respond(desk, ts, slot, answer, order["price"], 0, 0)
    else:
        respond(desk, ts, slot, DROPPED, 0, 0, 0)


@njit(cache=True)
def enter(desk, prices, ts, slot, answer):
    """An order meets the book: it takes what is there for it, rests, or is dropped."""
    order = desk["orders"][slot]
    if desk["void"] == 1 or desk["building"] == 1:
        respond(desk, ts, slot, REFUSED, 0, 0, 0)
        return
    if desk["rule"] == WHOLE:
        enter_whole(desk, prices, ts, slot, answer)
        return
    kind = order["kind"]
    buys = order["side"] == BUY
    other = ASK if buys else BID
    limit = order["price"]
    if kind == MARKET:
        limit = np.int64(NO_ASK - 1) if buys else np.int64(1)
    own = desk["best_own"][other]
    # hftbacktest's rule lets our own orders cross one another; ours drops the later one.
    meets_own = desk["rule"] == SHARED and (limit >= own if buys else limit <= own)
    if meets_own:
        limit = own - 1 if buys else own + 1
    wanted = np.int64(1) if kind == POST_ONLY else order["left"]
    found = takeable(desk, prices, other, limit, wanted)
    if kind == POST_ONLY and (found > 0 or meets_own):
        respond(desk, ts, slot, REFUSED, 0, 0, 0)
        return
    if kind == FOK and found < wanted:
        respond(desk, ts, slot, DROPPED, 0, 0, 0)
        return
    take(desk, prices, ts, slot, other, limit)
    if order["left"] == 0:
        return
    if meets_own or (kind != GTC and kind != POST_ONLY):
        respond(desk, ts, slot, DROPPED, 0, 0, 0)
        return
    rest(desk, prices, slot)
    respond(desk, ts, slot, answer, order["price"], 0, 0)


@njit(cache=True)
def change(desk, prices, ts, slot, price, size):
    """A replacement arrives: fewer lots keep the place in the queue, all else goes to its end."""
    order = desk["orders"][slot]
    left = size - order["filled"]
    if left <= 0:
        leave(desk, slot)
        respond(desk, ts, slot, DROPPED, 0, 0, 0)
        return
    keeps = price == order["price"] and left <= order["left"]
    if keeps and desk["rule"] != WHOLE:
        order["left"] = left
        respond(desk, ts, slot, REPLACED, price, 0, 0)
        return
    leave(desk, slot)
    order["price"] = price
    order["left"] = left
    enter(desk, prices, ts, slot, REPLACED)


@njit(cache=True)
def arrive(desk, prices, message):
    """A request reaches the exchange."""
    ts = message["due"]
    slot = message["slot"]
    if message["kind"] == NEW:
        enter(desk, prices, ts, slot, ACCEPTED)
    elif desk["orders"][slot]["resting"] == 0:  # a fill was faster
        respond(desk, ts, slot, UNCHANGED, 0, 0, 0)
    elif message["kind"] == CANCEL:
        leave(desk, slot)
        respond(desk, ts, slot, DROPPED, 0, 0, 0)
    else:
        change(desk, prices, ts, slot, message["price"], message["lots"])


@njit(cache=True)
def exchange_until(desk, rows, prices, fills, until):
    """The exchange's rows and our requests; at equal times rows come first."""
    while desk["error"] == 0:
        due = np.int64(NEVER)
        if desk["requests"] > 0:
            due = desk["request_ring"][desk["first_request"]]["due"]
        exchange_rows(desk, rows, prices, fills, min(due, until))
        settle(desk, fills)
        if due > until:
            break
        message = desk["request_ring"][desk["first_request"]]
        desk["first_request"] = (desk["first_request"] + 1) % SLOTS
        desk["requests"] -= 1
        arrive(desk, prices, message)


# --- what we hear ---


@njit(cache=True)
def into_book(ladder, row):
    """A row of the market into our book."""
    code = np.int64(row["code"])
    what = code & WHAT
    if what <= ASK:
        put(ladder, what, code >> WHAT_BITS, row["size"])
    elif what == BID_SET or what == ASK_SET:
        put(ladder, what - BID_SET, code >> WHAT_BITS, row["size"])
    elif what == CLEAR or what == VOID:
        books.clear(ladder)


@njit(cache=True)
def touches(ladder, rows):
    """(rows, 2) best bid and ask levels of our book after each row; 0 where there is none.

    ladder: an empty one. It comes from outside, because a record does not keep its array alive.
    """
    best = np.zeros((len(rows), 2), np.int32)
    for i in range(len(rows)):
        into_book(ladder, rows[i])
        for side in range(2):
            level = ladder["best"][side]
            if level != NO_BID and level != NO_ASK:
                best[i, side] = level
    return best


@njit(cache=True)
def heard(rows, first, until):
    """How many of the rows have come by `until`, knowing that the first ones have."""
    low = first
    step = np.int64(1)
    while low + step <= len(rows) and rows[low + step - 1]["ts"] <= until:
        low += step
        step *= 2
    high = min(low + step - 1, np.int64(len(rows)))
    while low < high:
        middle = (low + high) >> 1
        if rows[middle]["ts"] <= until:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def hear_rows(desk, rows, touch, prices, until):
    """Our touch at a time of our clock. The book behind it is made when somebody asks for it."""
    count = heard(rows, desk["our_next"], until)
    desk["our_next"] = count
    if count == 0:
        return
    desk["our_lag"] = np.int64(rows[count - 1]["lag"]) * 1000
    bid = touch[count - 1, BID]
    ask = touch[count - 1, ASK]
    desk["bid"] = prices[bid - 1] if bid > 0 else np.int64(NO_BID)
    desk["ask"] = prices[ask - 1] if ask > 0 else np.int64(NO_ASK)


@njit(cache=True)
def catch_up(venue):
    """Bring our book, and what we know of trades, up to the rows that we have heard."""
    desk = venue.desk
    rows = venue.rows[OURS]
    ladder = desk["books"][OURS]
    for i in range(desk["in_book"], desk["our_next"]):
        row = rows[i]
        into_book(ladder, row)
        what = np.int64(row["code"]) & WHAT
        if BOUGHT <= what < CLEAR:
            desk["last_price"] = row["price"]
            if what == BOUGHT:
                desk["bought"] += row["size"]
            elif what == SOLD:
                desk["sold"] += row["size"]
    desk["in_book"] = desk["our_next"]


@njit(cache=True)
def hear(desk, message):
    """A response reaches us."""
    slot = message["slot"]
    order = desk["orders"][slot]
    kind = message["kind"]
    if kind == EXECUTED:
        sign = 1 if order["side"] == BUY else -1
        value = value_of(desk, message["price"], message["lots"])
        desk["position"] += sign * message["lots"]
        # an inverse contract pays in the asset that it is about
        desk["cash"] += (sign if desk["inverse"] == 1 else -sign) * value - message["fee"]
        desk["fees"] += message["fee"]
        order["our_left"] -= message["lots"]
        if message["left"] == 0:
            order["state"] = FILLED
            if order["in_flight"] == NEW:
                order["in_flight"] = NONE
    else:
        order["in_flight"] = NONE
        if kind == ACCEPTED or kind == REPLACED:
            order["state"] = OPEN
            order["our_price"] = message["price"]
            order["our_left"] = message["left"]
        elif kind == DROPPED:
            order["state"] = CANCELED
        elif kind == REFUSED:
            order["state"] = REJECTED
    if order["state"] >= FILLED and order["in_flight"] == NONE:
        at = (desk["first_free"] + desk["free"]) % SLOTS
        desk["free_ring"][at] = slot
        desk["free"] += 1


@njit(cache=True)
def mark(venue):
    """Note what we have and what it is worth in our book."""
    desk = venue.desk
    if desk["marks"] >= len(venue.marks):
        return
    row = venue.marks[desk["marks"]]
    row["ts"] = desk["now"]
    row["bid"] = desk["bid"]
    row["ask"] = desk["ask"]
    row["position"] = desk["position"]
    row["cash"] = desk["cash"]
    row["fees"] = desk["fees"]
    desk["marks"] += 1


@njit(cache=True)
def elapse(venue, ns):
    """Let time pass. False once the tape is at its end, or when something has run over.

    Everything up to and at the new time has then happened: rows into both books, requests at the
    exchange, responses to us.
    """
    desk = venue.desk
    until = desk["now"] + ns
    exchange_until(desk, venue.rows[EXCHANGE], venue.prices, venue.fills, until)
    hear_rows(desk, venue.rows[OURS], venue.touch, venue.prices, until)
    while desk["responses"] > 0:
        message = desk["response_ring"][desk["first_response"]]
        if message["due"] > until:
            break
        desk["first_response"] = (desk["first_response"] + 1) % RESPONSES
        desk["responses"] -= 1
        hear(desk, message)
    desk["now"] = until
    if until >= desk["next_mark"]:
        mark(venue)
        desk["next_mark"] += desk["mark_every"]
    more = min(desk["next"], desk["our_next"]) < venue.rows.shape[1]
    return more and desk["error"] == 0


# --- looking ---


@njit(cache=True)
def now(desk):
    """Our clock, ns UTC."""
    return desk["now"]


@njit(cache=True)
def best_bid(desk):
    """Highest bid of our book in ticks, NO_BID (-1) where there is none."""
    return desk["bid"]


@njit(cache=True)
def best_ask(desk):
    """Lowest ask of our book in ticks, NO_ASK (1 << 62) where there is none."""
    return desk["ask"]


@njit(cache=True)
def two_sided(desk):
    """Whether our book has a bid and an ask."""
    return desk["bid"] != NO_BID and desk["ask"] != NO_ASK


@njit(cache=True)
def depth_at(venue, side, price):
    """Lots that our book shows at a price; side 0 is the bids."""
    catch_up(venue)
    return shown(venue.desk["books"][OURS], venue.prices, side, price)


@njit(cache=True)
def depth_of(venue, side, levels):
    """Lots on the best `levels` occupied prices of a side of our book."""
    catch_up(venue)
    return books.depth(venue.desk["books"][OURS], side, levels)


@njit(cache=True)
def position(desk):
    """Lots that we hold, as far as we have heard; below 0 where we are short."""
    return desk["position"]


@njit(cache=True)
def cash(desk):
    """What trading has brought so far in smallest settle units, fees taken off."""
    return desk["cash"]


@njit(cache=True)
def fees(desk):
    """Fees paid so far in smallest settle units."""
    return desk["fees"]


@njit(cache=True)
def last_price(venue):
    """Ticks of the last trade of others that we heard of, 0 before the first."""
    catch_up(venue)
    return venue.desk["last_price"]


@njit(cache=True)
def traded(venue):
    """Lots that buyers and that sellers have taken so far, as we heard: (bought, sold)."""
    catch_up(venue)
    return venue.desk["bought"], venue.desk["sold"]


# --- trading ---


@njit(cache=True)
def slot_of(desk, number):
    """The slot of an order, -1 where it has been given to another one."""
    slot = number % SLOTS
    return slot if number > 0 and desk["orders"][slot]["number"] == number else -1


@njit(cache=True)
def send(desk, kind, slot, price, lots):
    """A request leaves us."""
    delay = desk["entry"][desk["sent"] % DRAWS]
    delay += share_ppm(desk["our_lag"], desk["entry_of_feed"])
    message = queue_up(
        desk["request_ring"], SLOTS, desk["first_request"], desk["requests"], desk["now"] + delay
    )
    desk["requests"] += 1
    desk["sent"] += 1
    message["kind"] = kind
    message["slot"] = slot
    message["price"] = price
    message["lots"] = lots
    desk["orders"][slot]["in_flight"] = kind


@njit(cache=True)
def place(desk, side, kind, price, size):
    """Send an order. Returns its number, 0 where it cannot be sent.

    Args:
        side: BUY or SELL. kind: GTC, POST_ONLY, IOC, FOK or MARKET.
        price: ticks, unused for MARKET. size: lots.
    """
    priced = kind == MARKET or 0 < price <= desk["most_price"]
    if not priced or size <= 0 or size > desk["most_lots"] or desk["free"] == 0:
        return np.int64(0)
    slot = desk["free_ring"][desk["first_free"]]
    desk["first_free"] = (desk["first_free"] + 1) % SLOTS
    desk["free"] -= 1
    order = desk["orders"][slot]
    slots = SLOTS
    order["number"] = order["number"] + slots if order["number"] > 0 else slot + slots
    order["side"] = side
    order["kind"] = kind
    order["price"] = price
    order["left"] = size
    order["filled"] = 0
    order["resting"] = 0
    order["state"] = SENT
    order["our_price"] = price
    order["our_left"] = size
    send(desk, NEW, slot, price, size)
    return order["number"]


@njit(cache=True)
def cancellable(desk, number):
    """Whether an order is open and none of our requests for it is on its way."""
    slot = slot_of(desk, number)
    if slot < 0:
        return False
    order = desk["orders"][slot]
    return order["state"] == OPEN and order["in_flight"] == NONE


@njit(cache=True)
def cancel(desk, number):
    """Ask for an order's end. False, and nothing sent, where it is not `cancellable`."""
    if not cancellable(desk, number):
        return False
    send(desk, CANCEL, slot_of(desk, number), 0, 0)
    return True


@njit(cache=True)
def replace(desk, number, price, size):
    """Ask for another price or size (in all, what is filled included), as `cancel` does."""
    good = 0 < size <= desk["most_lots"] and 0 < price <= desk["most_price"]
    if not good or not cancellable(desk, number):
        return False
    send(desk, REPLACE, slot_of(desk, number), price, size)
    return True


@njit(cache=True)
def state_of(desk, number):
    """SENT, OPEN, FILLED, CANCELED or REJECTED, as we know; UNKNOWN when it is long over."""
    slot = slot_of(desk, number)
    return np.int64(UNKNOWN) if slot < 0 else desk["orders"][slot]["state"]


@njit(cache=True)
def alive(desk, number):
    """Whether an order may still be filled, as far as we know."""
    state = state_of(desk, number)
    return state == SENT or state == OPEN


@njit(cache=True)
def order_price(desk, number):
    """Ticks of an order as we know it, 0 when it is long over."""
    slot = slot_of(desk, number)
    return np.int64(0) if slot < 0 else desk["orders"][slot]["our_price"]


@njit(cache=True)
def open_lots(desk, number):
    """Lots of an order that may still be filled, as we know; 0 when it is over."""
    slot = slot_of(desk, number)
    if slot < 0 or not alive(desk, number):
        return np.int64(0)
    return desk["orders"][slot]["our_left"]
