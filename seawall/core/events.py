"""The tape: one structured row per market event, ordered by (receive time, source, sequence).

A message of a venue may take several rows (a depth update of ten levels takes ten); its first row
carries BEGIN and its last END, and its effect is complete at END.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, NewType

import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError

EVENT = np.dtype(
    [
        ("recv_ts", "<i8"),  # ns UTC, our clock, monotone on the tape
        ("exch_ts", "<i8"),  # ns UTC, the venue's clock; a bar's open time
        ("sequence", "<i8"),  # the venue's: last update id, trade id, bar number
        # sequence that must have come before, -1 where the venue gives none; of ADD to EXECUTE the
        # order's id (those feeds number messages one by one, so that they need no predecessor)
        ("previous", "<i8"),
        ("price", "<i8"),  # ticks of the instrument
        # lots of the instrument; for DEPTH the NEW total at the price, 0 removes; of an order what
        # is left of it now
        ("size", "<i8"),
        ("instrument", "<u2"),  # index in the catalog
        ("source", "<u2"),  # index in the catalog
        ("kind", "u1"),
        ("side", "u1"),
        ("flags", "<u2"),
    ]
)


class EventKind(IntEnum):
    """What a row says."""

    DEPTH = 1  # new total at one price
    SNAPSHOT = 2  # first row of a full book: forget the old one (its price and size are unused)
    TRADE = 3  # side is the aggressor's
    QUOTE = 4  # best bid or best ask by the venue's own word; bid row first, then ask row
    BAR_OPEN = 5  # a bar is four rows at its CLOSE time: open, high, low, close
    BAR_HIGH = 6
    BAR_LOW = 7
    BAR_CLOSE = 8  # size is the bar's volume in lots
    DOWN = 9  # the source is gone or must be resynchronised: its books are void
    TICK = 10  # time has passed and nothing else happened (source and instrument are 0)
    ADD = 11  # books order by order: an order has come (`previous` is its id, as in the next three)
    MODIFY = 12  # its lots are now `size`; fewer keep the place in the queue, more lose it
    CANCEL = 13  # it has gone
    EXECUTE = 14  # a trade took of it and left `size`; 0: it has gone


class Side(IntEnum):
    """Side of a book or of an order: BUY joins the bids."""

    BUY = 0
    SELL = 1
    UNKNOWN = 2

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL, 0 where unknown."""
        return (1, -1, 0)[self]

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return (Side.SELL, Side.BUY, Side.UNKNOWN)[self]


class EventFlag(IntFlag):
    """Marks of a row."""

    BEGIN = 1  # first row of its message
    END = 2  # last row of its message
    RECORDED_LATE = 4  # recv_ts was raised at recording to keep the tape monotone
    SIGNED = 8  # the signature of its batch was good (set by ingestion alone, as the next three)
    FORGED = 16  # a bad signature, another source's row, or a batch that is no whole messages
    REPLAYED = 32  # its batch has been seen, or is too old to tell
    REORDERED = 64  # its batch comes after a later one


Raw = NewType("Raw", NDArray[Any])
"""Rows as they came (dtype EVENT); nothing behind admission takes them."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Rows that passed through admission. Made in `admission` only.

    Attributes:
        rows: dtype EVENT, all rows in tape order.
        reasons: uint8, 0 where the row is admitted, else an `admission.Reason`.
    """

    rows: NDArray[Any]
    reasons: NDArray[np.uint8]


def empty(count: int) -> NDArray[Any]:
    """Rows of zeros, to be filled in."""
    return np.zeros(count, dtype=EVENT)


def checked(rows: NDArray[Any], where: str) -> Raw:
    """Rows as a Raw tape.

    Raises:
        DataError: the dtype is not EVENT or receive times go back.
    """
    if rows.dtype != EVENT:
        raise DataError(
            f"{where}: rows have the layout {rows.dtype}, not the tape's; import them again"
        )
    if len(rows) > 1:
        back = np.flatnonzero(np.diff(rows["recv_ts"]) < 0)
        if len(back):
            raise DataError(
                f"{where}: receive time goes back at row {int(back[0]) + 1}; a tape is ordered by "
                "receive time, import the data again with `seawall data import`"
            )
    return Raw(rows)


def ordered(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows in the tape's order: receive time, source, then as given (a stable sort)."""
    order = np.lexsort((rows["source"], rows["recv_ts"]))
    return rows[order]
