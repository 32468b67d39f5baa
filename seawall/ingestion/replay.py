"""A recorded tape as a feed: as fast as it can be read, or at a multiple of real time.

The rows keep their recorded times whatever the pace; only when they are handed out is paced.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MILLISECOND, SECOND, Clock
from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventFlag, EventKind, Raw, empty
from seawall.core.instruments import Catalog

LONGEST_WAIT = 50 * MILLISECOND
ORDERS_WITHIN = 1 << 10  # rows of a block among which one of an order must be, if it has any


class ReplayFeed:
    """Blocks of a tape, cut so that no message is split across two reads.

    Args:
        blocks: rows in tape order; where a block ends is of no meaning. A tape that breaks off
            within a message loses that message (`unfinished` counts its rows).
        clock: paces the replay; not asked where `speed` is None.
        speed: seconds of the tape in a second; None for as fast as possible.

    Raises:
        SettingError: the speed is not positive.
    """

    def __init__(
        self, catalog: Catalog, blocks: Iterator[Raw], clock: Clock, speed: float | None
    ) -> None:
        if speed is not None and not (np.isfinite(speed) and speed > 0):
            raise SettingError(f"replay: speed is {speed}; give a number greater than 0")
        self._catalog = catalog
        self._blocks = blocks
        self._clock = clock
        self._speed = speed
        self._rest: NDArray[Any] = empty(0)  # the beginning of a message whose end is to come
        self._waiting: Raw | None = None  # what is left of the block
        self._rows: NDArray[Any] = empty(0)  # whole messages
        self._ends: NDArray[np.int64] = np.empty(0, np.int64)  # the row after each of them
        self._given = 0  # rows of `_rows` that were handed out
        self._last = -(1 << 63)  # receive time of the last row read
        self._origin: tuple[int, int] | None = None  # (clock, tape) at the first row
        self._closed = False
        self.unfinished = 0

    @property
    def catalog(self) -> Catalog:
        """Instruments, sources and books."""
        return self._catalog

    def read(self, timeout: float) -> Raw | None:
        """The next rows; none after `timeout` seconds without; None at the end of the tape.

        Raises:
            DataError: the tape's receive time goes back.
        """
        if self._speed is None:
            return self._take(len(self._rows)) if self._fill() else None
        deadline = self._clock.now() + int(timeout * SECOND)
        while self._fill():
            now = self._clock.now()
            if self._origin is None:
                self._origin = (now, int(self._rows["recv_ts"][0]))
            due = self._due(now, self._origin, self._speed)
            if due > self._given:
                return self._take(due)
            if now >= deadline:
                return Raw(empty(0))
            self._clock.wait(min(deadline, now + LONGEST_WAIT, self._time_of_next(self._speed)))
        return None

    def close(self) -> None:
        """End the feed and let go of the tape."""
        self._closed = True
        self._rows = self._rest = empty(0)
        self._waiting = None
        self._given = 0
        close = getattr(self._blocks, "close", None)  # a generator holds a file open
        if close is not None:
            close()

    def _fill(self) -> bool:
        """Have rows to give, or say that there are none left."""
        while self._given == len(self._rows):
            block, self._waiting = self._waiting, None
            if block is None and not self._closed:
                block = next(self._blocks, None)
            if block is None:
                self.unfinished += len(self._rest)
                self._rest = empty(0)
                return False
            if len(block):
                self._open(block)
        return True

    def _open(self, block: Raw) -> None:
        if int(block["recv_ts"][0]) < self._last:
            raise DataError(
                "replay: receive time goes back between two blocks; import the tape again with "
                "`seawall data import`"
            )
        if self._speed is None and len(self._rest):
            # the message that was broken off goes by itself, so that nothing large is copied
            first = _first_end(block)
            self._waiting = Raw(block[first:]) if first < len(block) else None
            block = Raw(block[:first])
        if (block["kind"][:ORDERS_WITHIN] >= EventKind.ADD).any():
            raise DataError(
                "replay: the tape tells its books order by order, and a node runs on levels; make "
                "them with `seawall data levels TAPE --to FOLDER`"
            )
        self._last = int(block["recv_ts"][-1])
        rows = np.concatenate([self._rest, block]) if len(self._rest) else block
        if self._speed is None:
            whole = len(rows) - _first_end(rows[::-1], ahead=0)
        else:
            self._ends = np.flatnonzero(rows["flags"] & EventFlag.END) + 1
            whole = int(self._ends[-1]) if len(self._ends) else 0
        self._rows, self._rest = rows[:whole], rows[whole:]
        self._given = 0

    def _take(self, end: int) -> Raw:
        rows = self._rows[self._given : end]
        self._given = end
        return Raw(rows)

    def _due(self, now: int, origin: tuple[int, int], speed: float) -> int:
        """How many rows, in whole messages, have been received by now on the tape's clock."""
        reached = origin[1] + int((now - origin[0]) * speed)
        received = int(np.searchsorted(self._rows["recv_ts"], reached, side="right"))
        whole = int(np.searchsorted(self._ends, received, side="right"))
        return max(self._given, int(self._ends[whole - 1]) if whole else 0)

    def _time_of_next(self, speed: float) -> int:
        """When, on our clock, the next message is due."""
        assert self._origin is not None  # set before anything waits
        end = self._ends[np.searchsorted(self._ends, self._given, side="right")]
        ahead = int(self._rows["recv_ts"][end - 1]) - self._origin[1]
        return self._origin[0] + int(ahead / speed) + 1


def _first_end(rows: NDArray[Any], ahead: int = 1) -> int:
    """Rows up to the first that ends a message, it included if `ahead` is 1; all if none does."""
    step = 1 << 12
    for first in range(0, len(rows), step):
        found = np.flatnonzero(rows["flags"][first : first + step] & EventFlag.END)
        if len(found):
            return first + int(found[0]) + ahead
    return len(rows)
