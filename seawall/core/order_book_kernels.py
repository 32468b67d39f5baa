"""The compiled order book, order by order: who stands at each price and in which sequence.

It turns rows about orders into changes of what rests: the order, its place among all that joined,
and the new total at its price. An order that crosses the other side does not rest. It is held back
until what it takes has been told, so that the book of levels behind it is the one a venue shows.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from seawall.core import ladder as ladders
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID

SNAPSHOT, DOWN, ADD, MODIFY, CANCEL, EXECUTE = 2, 9, 11, 12, 13, 14
END = 2
SMALL = ladders.SMALL
CAPACITY = 1 << (10 if SMALL else 17)  # orders that may stand at one time, half of the table
TABLE = 2 * CAPACITY
HELD = 64  # orders held back at one time; one more and the oldest is shown
HOLD_NS = 1_000_000_000  # of receive time; what is held longer is shown as told, and crosses
MOST_CHANGES = 2 * HELD + 2  # that one row can bring

JOINED, LEFT, TAKEN, CLEARED, COMPLETED = range(5)  # what a change is

ORDER = np.dtype(
    [
        ("id", "<i8"),  # the venue's
        ("price", "<i8"),  # ticks
        ("left", "<i8"),  # lots; 0 where the place in the table is free
        ("number", "<i8"),  # of its joining; -1 while it is held back
        ("since", "<i8"),  # receive time of its coming
        ("owed", "<i8"),  # while it is held back: lots it took of others and has not told yet
        ("side", "<i8"),
    ]
)

CHANGE = np.dtype(
    [
        ("row", "<i8"),  # of the block
        ("what", "<i8"),  # JOINED, LEFT (without a trade), TAKEN (by one), CLEARED, COMPLETED
        ("side", "<i8"),
        ("price", "<i8"),  # ticks
        ("number", "<i8"),  # of the order; smaller ones at its price stand before it
        ("before", "<i8"),  # its lots
        ("after", "<i8"),
        ("total", "<i8"),  # lots at the price, after
        ("id", "<i8"),
    ]
)

COUNTS = np.dtype(
    [
        ("orders", "<i8"),  # standing now
        ("joined", "<i8"),
        ("in_snapshot", "<i8"),
        ("unknown", "<i8"),  # rows about an order that does not stand
        ("repeated", "<i8"),  # orders that came while they stood
        ("malformed", "<i8"),  # a negative size, a new order of none, no price, no side
        ("grown", "<i8"),  # executions that left more than there was
        ("dropped", "<i8"),  # orders beyond CAPACITY
        ("takers", "<i8"),  # orders that crossed the other side as they came
        ("stale", "<i8"),  # of those, shown crossed because nothing was told of them for HOLD_NS
        ("crossed", "<i8"),  # messages after which the book was crossed
        ("held", "<i8"),
        ("held_ids", "<i8", (HELD + 1,)),  # in the sequence of their coming
    ]
)


class OrderBook(NamedTuple):
    """One book. orders: (TABLE,) ORDER, found by id. counts: (1,) COUNTS. ladders: (1,) LADDER."""

    orders: np.ndarray
    counts: np.ndarray
    ladders: np.ndarray


@njit(cache=True)
def home(order_id):
    """Where the table looks for an id first."""
    mixed = (order_id ^ (order_id >> 17) ^ (order_id >> 34)) & 0x3FFFFFFF
    return (mixed * 1640531527 >> 12) & (TABLE - 1)


@njit(cache=True)
def find(orders, order_id):
    """The place of an order in the table, or the free one where it would go."""
    at = home(order_id)
    while orders[at]["left"] > 0 and orders[at]["id"] != order_id:
        at = (at + 1) & (TABLE - 1)
    return at


@njit(cache=True)
def copy(orders, at, place):
    """The order at `at` goes to `place`."""
    order, to = orders[at], orders[place]
    to["id"] = order["id"]
    to["price"] = order["price"]
    to["left"] = order["left"]
    to["number"] = order["number"]
    to["since"] = order["since"]
    to["owed"] = order["owed"]
    to["side"] = order["side"]


@njit(cache=True)
def remove(orders, at):
    """Free a place; those that had to go on because of it move up."""
    gap = at
    while True:
        at = (at + 1) & (TABLE - 1)
        if orders[at]["left"] == 0:
            break
        way = (at - home(orders[at]["id"])) & (TABLE - 1)
        if way >= (at - gap) & (TABLE - 1):
            copy(orders, at, gap)
            gap = at
    orders[gap]["left"] = 0


@njit(cache=True)
def crosses(ladder, side, price):
    """Whether an order at this price meets the other side."""
    if side == BID:
        return price >= ladder["best"][ASK]
    return price <= ladder["best"][BID]


@njit(cache=True)
def forget(counts, order_id):
    """An order is no longer held back."""
    held = counts["held"]
    for k in range(held):
        if counts["held_ids"][k] == order_id:
            for j in range(k, held - 1):
                counts["held_ids"][j] = counts["held_ids"][j + 1]
            counts["held"] = held - 1
            return


@njit(cache=True)
def note(change, row, what, order, before, after, total):
    """Write a change."""
    change["row"] = row
    change["what"] = what
    change["side"] = order["side"]
    change["price"] = order["price"]
    change["number"] = order["number"]
    change["before"] = before
    change["after"] = after
    change["total"] = total
    change["id"] = order["id"]


@njit(cache=True)
def resize(ladder, change, row, what, order, after):
    """A resting order now has `after` lots: the total at its price follows. Writes the change."""
    before = order["left"]
    side, price = order["side"], order["price"]
    total = ladders.size_at(ladder, side, price) + after - before
    ladders.put(ladder, side, price, total)
    note(change, row, what, order, before, after, total)


@njit(cache=True)
def join(counts, ladder, change, row, order):
    """An order takes its place at the end of its price."""
    order["number"] = counts["joined"]
    counts["joined"] += 1
    lots = order["left"]
    order["left"] = 0
    resize(ladder, change, row, JOINED, order, lots)
    order["left"] = lots


@njit(cache=True)
def owe(book, side, price, lots):
    """A resting order was executed: the first held one that meets it has yet to tell its part."""
    counts = book.counts[0]
    for k in range(counts["held"]):
        order = book.orders[find(book.orders, counts["held_ids"][k])]
        if order["side"] == side:
            continue
        if order["price"] >= price if side == ASK else order["price"] <= price:
            order["owed"] += lots
            return


@njit(cache=True)
def release(book, changes, count, row, recv_ts):
    """Who is held back joins once it crosses no longer and has told all that it took.

    So does who is not done with after HOLD_NS: then it is the others that are doubtful.
    """
    counts, ladder = book.counts[0], book.ladders[0]
    k = 0
    while k < counts["held"]:
        order = book.orders[find(book.orders, counts["held_ids"][k])]
        crossing = crosses(ladder, order["side"], order["price"])
        late = recv_ts - order["since"] > HOLD_NS or counts["held"] > HELD
        if (crossing or order["owed"] > 0) and not late:
            k += 1
            continue
        counts["stale"] += crossing
        forget(counts, order["id"])
        join(counts, ladder, changes[count], row, order)
        count += 1
    return count


@njit(cache=True)
def clear(book):
    """Forget all orders; what was counted stays."""
    book.orders["left"][:] = 0
    book.counts[0]["orders"] = 0
    book.counts[0]["held"] = 0
    ladders.clear(book.ladders[0])


@njit(cache=True)
def add(book, changes, count, index, row):
    """A new order: it joins, or is held back where it crosses."""
    counts, ladder = book.counts[0], book.ladders[0]
    if row["size"] <= 0 or row["price"] <= 0 or row["side"] > ASK:
        counts["malformed"] += 1
        return count
    at = find(book.orders, row["previous"])
    order = book.orders[at]
    if order["left"] > 0:
        counts["repeated"] += 1
        return count
    if counts["orders"] >= CAPACITY:
        counts["dropped"] += 1
        return count
    counts["orders"] += 1
    order["id"] = row["previous"]
    order["price"] = row["price"]
    order["left"] = row["size"]
    order["since"] = row["recv_ts"]
    order["owed"] = 0
    order["side"] = row["side"]
    order["number"] = -1
    if counts["in_snapshot"] == 0 and crosses(ladder, np.int64(row["side"]), row["price"]):
        counts["takers"] += 1
        counts["held_ids"][counts["held"]] = row["previous"]
        counts["held"] += 1
        return count
    join(counts, ladder, changes[count], index, order)
    return count + 1


@njit(cache=True)
def change_order(book, changes, count, index, row):
    """An order that stands gets smaller, grows, or goes."""
    counts, ladder = book.counts[0], book.ladders[0]
    at = find(book.orders, row["previous"])
    order = book.orders[at]
    before = order["left"]
    if before == 0:
        counts["unknown"] += 1
        return count
    kind = row["kind"]
    after = np.int64(0) if kind == CANCEL else row["size"]
    if after < 0 or (kind == MODIFY and after == 0):
        counts["malformed"] += 1
        return count
    if kind == EXECUTE and after > before:
        counts["grown"] += 1
        return count
    if order["number"] < 0:  # held back: nothing of it is in the book
        order["left"] = after
        order["owed"] -= before - after if kind == EXECUTE else 0
        if after == 0:
            forget(counts, row["previous"])
    elif after > before:  # who wants more has lost the place
        resize(ladder, changes[count], index, LEFT, order, np.int64(0))
        order["left"] = after
        join(counts, ladder, changes[count + 1], index, order)
        count += 2
    else:
        what = TAKEN if kind == EXECUTE else LEFT
        if what == TAKEN and counts["held"] > 0:
            owe(book, order["side"], order["price"], before - after)
        resize(ladder, changes[count], index, what, order, after)
        order["left"] = after
        count += 1
    if after == 0:
        remove(book.orders, at)
        counts["orders"] -= 1
    return count


@njit(cache=True)
def mark(changes, count, index, what):
    """A change that is of no order."""
    change = changes[count]
    change["row"] = index
    change["what"] = what
    change["side"] = 0
    change["price"] = 0
    change["number"] = -1
    change["before"] = 0
    change["after"] = 0
    change["total"] = 0
    change["id"] = 0


@njit(cache=True)
def step(book, changes, count, index, row):
    """One row. Returns how many changes there are now; at most MOST_CHANGES are added.

    Args:
        changes: CHANGE, of which `count` are written. index: what the row is called in them.
        row: EVENT. Kinds other than SNAPSHOT, DOWN and those of orders say nothing here.
    """
    kind = row["kind"]
    counts = book.counts[0]
    if kind == SNAPSHOT or kind == DOWN:
        clear(book)
        counts["in_snapshot"] = kind == SNAPSHOT
        mark(changes, count, index, CLEARED)
        count += 1
    elif kind == ADD:
        count = add(book, changes, count, index, row)
    elif MODIFY <= kind <= EXECUTE:
        count = change_order(book, changes, count, index, row)
    else:
        return count
    if counts["held"] > 0:
        count = release(book, changes, count, index, row["recv_ts"])
    if row["flags"] & END:
        if counts["in_snapshot"] == 1:
            counts["in_snapshot"] = 0
            mark(changes, count, index, COMPLETED)
            count += 1
        best = book.ladders[0]["best"]
        if best[BID] != NO_BID and best[ASK] != NO_ASK and best[BID] >= best[ASK]:
            counts["crossed"] += 1
    return count


@njit(cache=True)
def run(book, rows, changes, first):
    """Rows from `first` on, while there is room for what one more may bring.

    Returns (the first row that was not taken, changes written); their `row` counts in `rows`.
    """
    count = 0
    i = first
    while i < len(rows) and count + MOST_CHANGES <= len(changes):
        count = step(book, changes, count, i, rows[i])
        i += 1
    return i, count
