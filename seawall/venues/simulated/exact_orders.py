"""Books order by order for the exact venue: each change as a row of the order and one of its level.

The row of the order says whose lots went and whether by a trade; models of levels take the trade
and leave out whose it was.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core import order_book_kernels as kernels
from seawall.core.events import EventKind
from seawall.core.order_book import new_order_book
from seawall.venues.simulated import exact_state as layout


def told(rows: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[np.int64]]:
    """Rows of one book as the venue takes them.

    Args:
        rows: EVENT; trades are left out where there are executions, which say more.

    Returns:
        Codes as in the layout (rows of orders still without a number); the rows, with prices and
        sizes to go with them; and for each the row at which its order joined, -1 where it is none.
    """
    if (rows["kind"] == EventKind.EXECUTE).any():
        rows = rows[rows["kind"] != EventKind.TRADE]
    changes = _changes(rows)
    trades = np.flatnonzero(rows["kind"] == EventKind.TRADE)
    what, side = changes["what"], changes["side"]
    shrinks = (what == kernels.LEFT) | (what == kernels.TAKEN)
    inside = _in_snapshot(rows)[changes["row"]]
    level = np.where(inside, layout.BID_SET, layout.BID_LEVEL) + side
    down = rows["kind"][changes["row"]] == EventKind.DOWN
    level[what == kernels.CLEARED] = layout.CLEAR
    level[(what == kernels.CLEARED) & down] = layout.VOID
    level[what == kernels.COMPLETED] = layout.COMPLETE
    order = np.where(what == kernels.TAKEN, layout.TAKEN_BID, layout.LEFT_BID) + side
    codes = np.concatenate([order[shrinks], level, layout.BOUGHT + rows["side"][trades]])
    of = np.concatenate([changes["row"][shrinks], changes["row"], trades])
    size = np.concatenate(
        [(changes["before"] - changes["after"])[shrinks], changes["total"], rows["size"][trades]]
    )
    price = np.concatenate([changes["price"][shrinks], changes["price"], rows["price"][trades]])
    # By change, the row of the order before that of the level; trades where they stood.
    at = np.arange(len(changes))
    after = np.searchsorted(changes["row"], trades)
    sequence = np.concatenate([2 * at[shrinks], 2 * at + 1, 2 * after - 1])
    place = np.argsort(sequence, kind="stable")
    number = np.concatenate(
        [changes["number"][shrinks], np.full(len(changes) + len(trades), -1, np.int64)]
    )[place]
    joins = np.full(int(changes["number"].max(initial=0)) + 1, -1, np.int64)
    stands = np.empty(len(place), np.int64)
    stands[place] = np.arange(len(place))
    new = what == kernels.JOINED
    joins[changes["number"][new]] = stands[int(shrinks.sum()) + at[new]]
    made = rows[of[place]]
    made["price"], made["size"] = price[place], size[place]
    return codes[place].astype(np.int32), made, np.where(number >= 0, joins[number], -1)


def _changes(rows: NDArray[Any]) -> NDArray[Any]:
    book = new_order_book()
    room = np.zeros(2 * len(rows) + 2 * kernels.MOST_CHANGES, kernels.CHANGE)
    first, count = kernels.run(book, rows, room, 0)
    assert first == len(rows)  # a row brings one change, or two, and what it lets join came before
    return room[:count]


def _in_snapshot(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows belong to a snapshot's message."""
    starts = np.flatnonzero(rows["flags"] & 1)
    if len(starts) == 0:
        return np.zeros(len(rows), np.bool_)
    message = np.maximum(np.searchsorted(starts, np.arange(len(rows)), side="right") - 1, 0)
    return np.asarray((rows["kind"][starts] == EventKind.SNAPSHOT)[message])


def number(codes: NDArray[np.int32], joined: NDArray[np.int64], order: NDArray[np.int64]) -> None:
    """Give rows of orders the exchange's row at which theirs joined; `order` is the exchange's."""
    stands = np.empty(len(order), np.int64)
    stands[order] = np.arange(len(order))
    of_orders = joined >= 0
    codes[of_orders] |= (stands[joined[of_orders]] << layout.WHAT_BITS).astype(np.int32)


def hear_as_trades(codes: NDArray[np.int32]) -> None:
    """What we hear of an execution is that somebody sold to a bid or bought from an ask."""
    what = codes & ((1 << layout.WHAT_BITS) - 1)
    codes[what == layout.TAKEN_BID] = layout.SOLD
    codes[what == layout.TAKEN_ASK] = layout.BOUGHT
