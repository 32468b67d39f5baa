"""What one run of the exact venue holds: records of rows, orders, messages and fills.

All of it is made before the run, so that a compiled strategy and the venue need nothing but it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.ladder import LADDER
from seawall.venues.simulated import queue_kernels as queues

BUY, SELL = 0, 1
# What a row says. A level's code is its side.
BID_LEVEL, ASK_LEVEL, BOUGHT, SOLD, TRADED, CLEAR, BID_SET, ASK_SET, COMPLETE, VOID = range(10)
# Of feeds order by order, in front of the row of the level: lots of one order that went without a
# trade, and by one. In place of a level these carry the exchange's row at which the order joined.
LEFT_BID, LEFT_ASK, TAKEN_BID, TAKEN_ASK = range(10, 14)
SHARED, PARTIAL, WHOLE = range(3)  # the rule of liquidity
GTC, POST_ONLY, IOC, FOK, MARKET = range(5)  # kinds of order
NONE, NEW, CANCEL, REPLACE = range(4)  # requests
UNKNOWN, SENT, OPEN, FILLED, CANCELED, REJECTED = range(6)  # states of an order, as we know it
ACCEPTED, EXECUTED, DROPPED, REFUSED, REPLACED, UNCHANGED = range(6)  # responses
EXCHANGE, OURS = 0, 1  # the two books
NEVER = (1 << 63) - 1
TOO_MANY_FILLS, TOO_MANY_MESSAGES = 1, 2

SLOTS = 256  # orders that may be alive at one time
RESPONSES = 1 << 12  # on their way to us at one time
EATEN_LEVELS = 64  # levels of which the exchange remembers that we took lots
DRAWS = 1 << 14  # latencies drawn; they start again after so many
STAGE = 1 << 11  # fills of one event at the exchange
WHAT_BITS = 4

ROW = np.dtype(
    [
        ("ts", "<i8"),  # ns UTC: the exchange's clock in its rows, ours in ours
        ("price", "<i8"),  # ticks
        ("size", "<i8"),  # lots: of a level the new total, of a trade or an order what went
        (
            "code",
            "<i4",
        ),  # level << WHAT_BITS | what; the level is the price's rank, from 1 (see LEFT)
        ("lag", "<i4"),  # microseconds from the exchange to us
    ]
)

ORDER = np.dtype(
    [
        ("number", "<i8"),  # its name; 0 where the slot was never used
        ("side", "<i8"),
        ("kind", "<i8"),
        ("price", "<i8"),  # ticks, as the exchange has it
        ("left", "<i8"),  # lots that may still be filled, as the exchange has it
        ("filled", "<i8"),  # lots filled, as the exchange has it
        ("resting", "<i8"),  # 1 while it stands in the exchange's book
        # what we know, by the responses that have come
        ("state", "<i8"),
        ("in_flight", "<i8"),  # the request that has not been answered
        ("our_price", "<i8"),
        ("our_left", "<i8"),
    ]
)

MESSAGE = np.dtype(
    [
        ("due", "<i8"),  # ns UTC, when it is delivered
        ("kind", "<i8"),
        ("slot", "<i8"),
        ("price", "<i8"),  # ticks
        ("lots", "<i8"),
        ("fee", "<i8"),  # of a fill, smallest settle units
        ("left", "<i8"),  # of a response: lots that were then still to be filled
    ]
)

EXECUTION = np.dtype(
    [
        ("ts", "<i8"),  # exchange time
        ("told", "<i8"),  # when we hear of it
        ("number", "<i8"),  # the order
        ("row", "<i8"),  # exchange rows that had come
        ("price", "<i8"),  # ticks
        ("lots", "<i8"),
        ("fee", "<i8"),  # smallest settle units, below 0 a rebate
        ("side", "<i8"),
        ("maker", "<i8"),
    ]
)

MARK = np.dtype(
    [
        ("ts", "<i8"),
        ("bid", "<i8"),  # ticks, our book
        ("ask", "<i8"),
        ("position", "<i8"),  # lots, as far as we have heard
        ("cash", "<i8"),  # smallest settle units, fees taken off
        ("fees", "<i8"),
    ]
)

EATEN = np.dtype([("side", "<i8"), ("price", "<i8"), ("lots", "<i8")])

DESK = np.dtype(
    [
        # the rules
        ("rule", "<i8"),
        ("maker_ppm", "<i8"),
        ("taker_ppm", "<i8"),
        ("inverse", "<i8"),
        ("unit", "<i8"),  # numerator and denominator of the instrument's cash unit
        ("unit_parts", "<i8"),
        ("most_lots", "<i8"),  # of one order; more might overflow
        ("most_price", "<i8"),  # ticks, for the same reason
        ("model", queues.MODEL),
        # time on the way: a draw by number and a share of what the tape's rows take
        ("entry", "<i8", (DRAWS,)),  # ns
        ("response", "<i8", (DRAWS,)),  # ns
        ("entry_of_feed", "<i8"),  # ppm
        ("response_of_feed", "<i8"),  # ppm
        # the exchange
        ("next", "<i8"),  # row that comes next
        ("lag", "<i8"),  # ns that its last row will take to us
        ("void", "<i8"),  # 1 while its book is not to be believed
        ("building", "<i8"),  # 1 within a snapshot
        ("fills", "<i8"),  # in the venue's list
        ("staged", "<i8"),  # on the way there
        ("stage", EXECUTION, (STAGE,)),
        ("error", "<i8"),
        ("resting", "<i8", (2,)),  # our orders in its book, by side
        ("best_own", "<i8", (2,)),  # our best resting price, by side
        ("watch_low", "<i8", (2,)),  # prices at which a level's row concerns us, by side
        ("watch_high", "<i8", (2,)),
        ("eaten", "<i8"),
        ("eaten_levels", EATEN, (EATEN_LEVELS,)),
        ("queue", "<i8", (2, SLOTS)),  # slots by side, best price first, then by arrival
        ("orders", ORDER, (SLOTS,)),
        ("places", queues.PLACE, (SLOTS,)),
        # on the way
        ("first_request", "<i8"),
        ("requests", "<i8"),
        ("request_ring", MESSAGE, (SLOTS,)),
        ("first_response", "<i8"),
        ("responses", "<i8"),
        ("response_ring", MESSAGE, (RESPONSES,)),
        # ours
        ("now", "<i8"),
        ("our_next", "<i8"),  # row that we hear next
        ("in_book", "<i8"),  # rows that are in our book
        ("bid", "<i8"),  # ticks, of our book
        ("ask", "<i8"),
        ("our_lag", "<i8"),  # ns that the last row took to us
        ("sent", "<i8"),  # requests sent so far
        ("first_free", "<i8"),
        ("free", "<i8"),
        ("free_ring", "<i8", (SLOTS,)),
        ("position", "<i8"),
        ("cash", "<i8"),
        ("fees", "<i8"),
        ("last_price", "<i8"),
        ("bought", "<i8"),  # lots that buyers and sellers have taken so far
        ("sold", "<i8"),
        ("next_mark", "<i8"),
        ("mark_every", "<i8"),
        ("marks", "<i8"),
        ("books", LADDER, (2,)),  # the exchange's and ours; their prices are levels
    ]
)


class Venue(NamedTuple):
    """Everything of one run.

    A compiled call copies an array's header and passes a record as a pointer, so all that can
    lies in one record.

    desk: of DESK. rows: (2, rows) of ROW, on the exchange's clock and on ours.
    prices: (levels,) ascending ticks, level L at L - 1.
    touch: (rows, 2) best levels of our book after each of our rows, 0 where there is none.
    fills: EXECUTION, what the exchange did. marks: MARK at a cadence.
    """

    desk: Any
    rows: NDArray[Any]
    prices: NDArray[np.int64]
    touch: NDArray[np.int32]
    fills: NDArray[Any]
    marks: NDArray[Any]
