"""The exact venue's exchange: the recorded market on exchange time, and our orders in it.

Rows come in the order of the exchange's clock. A row that cannot touch our orders goes into the
book and nowhere else; all others go through `on_row`. Requests arrive between rows.
"""

import numpy as np
from numba import njit

from seawall.core import ladder as books
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID
from seawall.venues.simulated import queue_kernels as queues
from seawall.venues.simulated.exact_state import (
    ASK_LEVEL,
    BID_LEVEL,
    BID_SET,
    BOUGHT,
    BUY,
    CLEAR,
    COMPLETE,
    DRAWS,
    EATEN_LEVELS,
    EXCHANGE,
    EXECUTED,
    LEFT_BID,
    NEVER,
    RESPONSES,
    SELL,
    SHARED,
    SOLD,
    STAGE,
    TAKEN_BID,
    TOO_MANY_FILLS,
    TOO_MANY_MESSAGES,
    TRADED,
    VOID,
    WHAT_BITS,
    WHOLE,
)

PPM = 1_000_000
WHAT = (1 << WHAT_BITS) - 1

# --- books of levels ---


@njit(cache=True)
def level_of(prices, price):
    """The level of a price, 0 where the tape never names it."""
    low = np.int64(0)
    high = np.int64(len(prices))
    while low < high:
        middle = (low + high) >> 1
        if prices[middle] < price:
            low = middle + 1
        else:
            high = middle
    if low < len(prices) and prices[low] == price:
        return low + 1
    return np.int64(0)


@njit(cache=True)
def price_of(prices, level):
    """Ticks of a level; NO_BID and NO_ASK stay what they are."""
    if level <= 0 or level == NO_ASK:
        return np.int64(level)
    return prices[level - 1]


@njit(cache=True)
def put(ladder, side, level, size):
    """Set a level. Where it crosses, the other side's best moves past it and loses no level."""
    books.put(ladder, side, level, size)
    if size <= 0:
        return
    best = ladder["best"][1 - side]
    if side == BID:
        while best <= level:
            best = books.ask_above(ladder, best)
        ladder["best"][ASK] = best
    else:
        while best >= level:
            best = books.bid_below(ladder, best)
        ladder["best"][BID] = best


@njit(cache=True)
def shown(ladder, prices, side, price):
    """Lots that a book shows at a price."""
    level = level_of(prices, price)
    return books.size_at(ladder, side, level) if level > 0 else np.int64(0)


@njit(cache=True)
def eaten_at(desk, side, price):
    """Index in `eaten` of a level, -1 where we took nothing of it."""
    for k in range(desk["eaten"]):
        if desk["eaten_levels"][k]["price"] == price and desk["eaten_levels"][k]["side"] == side:
            return k
    return -1


@njit(cache=True)
def available(desk, side, price, size):
    """Of `size` lots shown at a price those that we have not taken already."""
    k = eaten_at(desk, side, price)
    return size if k < 0 else max(np.int64(0), size - desk["eaten_levels"][k]["lots"])


@njit(cache=True)
def eat(desk, side, price, lots):
    """Remember that lots of a level are gone, whatever the tape shows; the oldest is forgotten."""
    k = eaten_at(desk, side, price)
    if k < 0:
        if desk["eaten"] == EATEN_LEVELS:
            leave_eaten(desk, 0)
        k = desk["eaten"]
        desk["eaten"] = k + 1
        desk["eaten_levels"][k]["side"] = side
        desk["eaten_levels"][k]["price"] = price
        desk["eaten_levels"][k]["lots"] = 0
    desk["eaten_levels"][k]["lots"] += lots
    watch(desk)


@njit(cache=True)
def leave_eaten(desk, k):
    """Forget the k-th eaten level."""
    for i in range(k, desk["eaten"] - 1):
        level, after = desk["eaten_levels"][i], desk["eaten_levels"][i + 1]
        level["side"] = after["side"]
        level["price"] = after["price"]
        level["lots"] = after["lots"]
    desk["eaten"] -= 1
    watch(desk)


@njit(cache=True)
def regrown(desk, side, price, most):
    """No more than `most` lots of a level can be among those that we took."""
    k = eaten_at(desk, side, price)
    if k >= 0:
        desk["eaten_levels"][k]["lots"] = min(
            desk["eaten_levels"][k]["lots"], max(np.int64(0), most)
        )
        if desk["eaten_levels"][k]["lots"] == 0:
            leave_eaten(desk, k)


@njit(cache=True)
def watch(desk):
    """Which prices concern us: those of our orders and those that we ate from."""
    for side in range(2):
        low = np.int64(NO_ASK)
        high = np.int64(NO_BID)
        for k in range(desk["resting"][side]):
            price = desk["orders"][desk["queue"][side, k]]["price"]
            low = min(low, price)
            high = max(high, price)
        none = NO_BID if side == BUY else NO_ASK
        desk["best_own"][side] = none if high < 0 else (high if side == BUY else low)
        for k in range(desk["eaten"]):
            if desk["eaten_levels"][k]["side"] == side:
                low = min(low, desk["eaten_levels"][k]["price"])
                high = max(high, desk["eaten_levels"][k]["price"])
        desk["watch_low"][side] = low
        desk["watch_high"][side] = high


@njit(cache=True)
def open_desk(desk):
    """Empty books, and nothing that concerns us."""
    for book in range(2):
        books.clear(desk["books"][book])
    desk["bid"] = NO_BID
    desk["ask"] = NO_ASK
    watch(desk)


# --- fills and responses ---


@njit(cache=True)
def ceil_ppm(value, ppm):
    """ceil(value x ppm / 1e6), value >= 0, without overflow."""
    part = value % PPM * ppm
    return value // PPM * ppm - (-part // PPM)


@njit(cache=True)
def value_of(desk, price, lots):
    """Cash value of a trade in smallest settle units, as `Instrument.value` has it."""
    if desk["inverse"] == 0:
        return price * lots * desk["unit"]
    parts = lots * desk["unit"]
    whole = price * desk["unit_parts"]
    value = parts // whole
    rest = 2 * (parts % whole)
    if rest > whole or (rest == whole and value % 2 == 1):
        value += 1
    return value


@njit(cache=True)
def share_ppm(amount, ppm):
    """floor(amount x ppm / 1e6), amount >= 0, without overflow."""
    return amount // PPM * ppm + amount % PPM * ppm // PPM


@njit(cache=True)
def queue_up(ring, size, first, count, due):
    """The next message of a ring, delivered at `due` but never before the one in front of it."""
    if count > 0:
        due = max(due, ring[(first + count - 1) % size]["due"])
    message = ring[(first + count) % size]
    message["due"] = due
    return message


@njit(cache=True)
def respond(desk, ts, slot, kind, price, lots, fee):
    """The exchange tells us something; returns when we hear of it."""
    if desk["responses"] >= RESPONSES:
        desk["error"] = TOO_MANY_MESSAGES
        return np.int64(NEVER)
    order = desk["orders"][slot]
    delay = desk["response"][order["number"] % DRAWS]
    delay += share_ppm(desk["lag"], desk["response_of_feed"])
    message = queue_up(
        desk["response_ring"], RESPONSES, desk["first_response"], desk["responses"], ts + delay
    )
    desk["responses"] += 1
    message["kind"] = kind
    message["slot"] = slot
    message["price"] = price
    message["lots"] = lots
    message["fee"] = fee
    message["left"] = order["left"]
    return message["due"]


@njit(cache=True)
def fill(desk, ts, slot, price, lots, maker):
    """One fill: off the order, onto the stage, and on its way to us."""
    count = desk["staged"]
    if count >= STAGE:
        desk["error"] = TOO_MANY_FILLS
        return
    order = desk["orders"][slot]
    order["left"] -= lots
    order["filled"] += lots
    ppm = desk["maker_ppm"] if maker == 1 else desk["taker_ppm"]
    fee = ceil_ppm(value_of(desk, price, lots), ppm)
    desk["staged"] = count + 1
    row = desk["stage"][count]
    row["ts"] = ts
    row["told"] = respond(desk, ts, slot, EXECUTED, price, lots, fee)
    row["number"] = order["number"]
    row["row"] = desk["next"]
    row["price"] = price
    row["lots"] = lots
    row["fee"] = fee
    row["side"] = order["side"]
    row["maker"] = maker


@njit(cache=True)
def settle(desk, fills):
    """Staged fills into the list. A call that is handed an array costs more than a row does."""
    stage = desk["stage"]
    for k in range(desk["staged"]):
        count = desk["fills"]
        if count >= len(fills):
            desk["error"] = TOO_MANY_FILLS
            break
        fills[count] = stage[k]
        desk["fills"] = count + 1
    desk["staged"] = 0


@njit(cache=True)
def rest(desk, prices, slot):
    """An order joins its side's list: behind those of its price, before the worse ones."""
    order = desk["orders"][slot]
    side = order["side"]
    at = desk["resting"][side]
    while at > 0:
        other = desk["orders"][desk["queue"][side, at - 1]]["price"]
        if other >= order["price"] if side == BUY else other <= order["price"]:
            break
        desk["queue"][side, at] = desk["queue"][side, at - 1]
        at -= 1
    desk["queue"][side, at] = slot
    desk["resting"][side] += 1
    order["resting"] = 1
    total = shown(desk["books"][EXCHANGE], prices, side, order["price"])
    total = available(desk, side, order["price"], total)
    queues.arrive(desk["model"], desk["places"][slot], total, desk["next"])
    watch(desk)


@njit(cache=True)
def leave(desk, slot):
    """An order leaves its side's list."""
    side = desk["orders"][slot]["side"]
    at = 0
    while desk["queue"][side, at] != slot:
        at += 1
    for k in range(at, desk["resting"][side] - 1):
        desk["queue"][side, k] = desk["queue"][side, k + 1]
    desk["resting"][side] -= 1
    desk["orders"][slot]["resting"] = 0
    watch(desk)


@njit(cache=True)
def sweep_filled(desk, side):
    """Take those of a side that have nothing left out of the book."""
    k = desk["resting"][side] - 1
    while k >= 0:
        slot = desk["queue"][side, k]
        if desk["orders"][slot]["left"] == 0:
            leave(desk, slot)
        k -= 1


# --- rows ---


@njit(cache=True)
def on_total(desk, side, price, before, after):
    """The total of a level changed: our places in it, and what we ate of it."""
    model = desk["model"]
    orders = desk["orders"]
    places = desk["places"]
    queue = desk["queue"]
    for k in range(desk["resting"][side]):
        slot = queue[side, k]
        if orders[slot]["price"] == price:
            queues.on_depth(model, places[slot], before, after)
    if desk["eaten"] > 0:
        regrown(desk, side, price, after)


@njit(cache=True)
def on_shown(desk, ts, side, price, size):
    """Others show `size` lots at a price: our orders on the other side that it meets are filled."""
    other = 1 - side
    orders = desk["orders"]
    queue = desk["queue"]
    for k in range(desk["resting"][other]):
        slot = queue[other, k]
        order = orders[slot]
        if price > order["price"] if side == ASK else price < order["price"]:
            break
        lots = order["left"]
        if desk["rule"] == SHARED:
            lots = min(lots, available(desk, side, price, size))
            if lots <= 0:
                break
            eat(desk, side, price, lots)
        fill(desk, ts, slot, order["price"], lots, 1)
    sweep_filled(desk, other)


@njit(cache=True)
def meets_us(desk, side, price):
    """Whether a price on book side `side` meets our best order on the other side."""
    best = desk["best_own"][1 - side]
    return price <= best if side == ASK else price >= best


@njit(cache=True)
def on_trade(desk, ts, side, price, size, number):
    """Others traded against `side` of the book at a price: what of it is ours.

    `number` is the row at which the order joined that was taken of, -1 where nobody tells.
    """
    model = desk["model"]
    shared = desk["rule"] == SHARED
    orders = desk["orders"]
    places = desk["places"]
    queue = desk["queue"]
    given = np.int64(0)
    for k in range(desk["resting"][side]):
        slot = queue[side, k]
        order = orders[slot]
        if order["price"] < price if side == BUY else order["price"] > price:
            break
        if order["price"] != price:  # it went through our price
            if number >= 0 and desk["rule"] == WHOLE:  # hftbacktest looks at that price alone
                continue
            lots = min(order["left"], size - given) if shared else order["left"]
        else:
            excess = queues.on_trade(model, places[slot], size - given, number)
            lots = order["left"] if desk["rule"] == WHOLE else min(order["left"], excess)
            if excess <= 0:
                lots = np.int64(0)
        if lots > 0:
            if shared:
                given += lots
            fill(desk, ts, slot, order["price"], lots, 1)
    # The front of the queue is what we took of a level, so that is what this trade took.
    k = eaten_at(desk, side, price)
    if k >= 0:
        regrown(desk, side, price, desk["eaten_levels"][k]["lots"] - size)
    sweep_filled(desk, side)


@njit(cache=True)
def on_order(desk, side, price, lots, number):
    """An order of others that joined at row `number` lost lots without a trade."""
    for k in range(desk["resting"][side]):
        slot = desk["queue"][side, k]
        if desk["orders"][slot]["price"] == price:
            queues.on_order(desk["model"], desk["places"][slot], number, lots, 0)


@njit(cache=True)
def on_complete(desk, prices, ts):
    """A snapshot is complete: shorten our queues, and meet what now stands against us."""
    desk["building"] = 0
    desk["eaten"] = 0
    watch(desk)
    ladder = desk["books"][EXCHANGE]
    for side in range(2):
        for k in range(desk["resting"][side]):
            slot = desk["queue"][side, k]
            total = shown(desk["books"][EXCHANGE], prices, side, desk["orders"][slot]["price"])
            place = desk["places"][slot]
            place["traded"] = 0
            place["ahead"] = min(place["ahead"], total)
            if desk["model"]["kind"] == queues.ORDER_BY_ORDER:
                place["number"] = desk["next"]  # of those in a snapshot the first stood before us
    for side in range(2):
        level = ladder["best"][side]
        while level != NO_BID and level != NO_ASK and desk["resting"][1 - side] > 0:
            price = price_of(prices, level)
            if not meets_us(desk, side, price):
                break
            size = books.size_at(ladder, side, level)
            on_shown(desk, ts, side, price, size)
            level = books.next_price(ladder, side, level)


@njit(cache=True)
def on_row(desk, row):
    """One row of the exchange's, but for the end of a snapshot."""
    ladder = desk["books"][EXCHANGE]
    code = np.int64(row["code"])
    what = code & WHAT
    level = code >> WHAT_BITS
    ts = row["ts"]
    price = row["price"]
    size = row["size"]
    desk["lag"] = np.int64(row["lag"]) * 1000
    if what == CLEAR or what == VOID:
        books.clear(ladder)
        desk["void"] = 1 if what == VOID else 0
        desk["building"] = 1 - desk["void"]
    elif desk["void"] == 1:
        return
    elif what <= ASK_LEVEL:
        before = books.size_at(ladder, what, level)
        put(ladder, what, level, size)
        if desk["watch_low"][what] <= price <= desk["watch_high"][what]:
            on_total(desk, what, price, before, size)
        if size > 0 and meets_us(desk, what, price):
            on_shown(desk, ts, what, price, size)
    elif what <= TRADED:
        if desk["building"] == 1:
            return
        if what != SOLD:
            on_trade(desk, ts, np.int64(SELL), price, size, np.int64(-1))
        if what != BOUGHT:
            on_trade(desk, ts, np.int64(BUY), price, size, np.int64(-1))
    elif what >= TAKEN_BID:
        on_trade(desk, ts, what - TAKEN_BID, price, size, level)
    elif what >= LEFT_BID:
        on_order(desk, what - LEFT_BID, price, size, level)
    else:
        put(ladder, what - BID_SET, level, size)


@njit(cache=True)
def step(desk, prices, row):
    """The next row of the exchange's."""
    desk["next"] += 1
    if np.int64(row["code"]) & WHAT == COMPLETE:
        on_complete(desk, prices, row["ts"])
    else:
        on_row(desk, row)


@njit(cache=True)
def quiet_rows(desk, rows, until):
    """Rows up to a time of the exchange, or up to the first that may fill us or is no market's.

    Returns whether there is such a row; it is the next one.
    """
    ladder = desk["books"][EXCHANGE]
    bid_low = desk["watch_low"][BID]
    bid_high = desk["watch_high"][BID]
    ask_low = desk["watch_low"][ASK]
    ask_high = desk["watch_high"][ASK]
    own_bid = desk["best_own"][BUY]
    own_ask = desk["best_own"][SELL]
    void = desk["void"] == 1
    found = False
    i = desk["next"]
    while i < len(rows):
        row = rows[i]
        if row["ts"] > until:
            break
        code = np.int64(row["code"])
        what = code & WHAT
        price = row["price"]
        if what == BID_LEVEL:
            found = void or price >= own_ask
            ours = bid_low <= price <= bid_high
        elif what == ASK_LEVEL:
            found = void or price <= own_bid
            ours = ask_low <= price <= ask_high
        elif what == BOUGHT:
            found = price >= ask_low
        elif what == SOLD:
            found = price <= bid_high
        else:
            found = True
        if found:
            break
        i += 1
        if what <= ASK_LEVEL:
            level = code >> WHAT_BITS
            if ours:
                before = books.size_at(ladder, what, level)
                put(ladder, what, level, row["size"])
                on_total(desk, what, price, before, row["size"])
            else:
                put(ladder, what, level, row["size"])
    desk["next"] = i
    if i > 0:
        desk["lag"] = np.int64(rows[i - 1]["lag"]) * 1000
    return found


@njit(cache=True)
def exchange_rows(desk, rows, prices, fills, until):
    """All rows up to a time of the exchange. The same as `step` one by one."""
    while quiet_rows(desk, rows, until):
        step(desk, prices, rows[desk["next"]])
        if desk["staged"] > STAGE // 2:
            settle(desk, fills)
        if desk["error"] != 0:
            break
