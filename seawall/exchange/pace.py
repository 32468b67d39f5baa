"""The tape played into the exchange's own clock: at N times its pace, its times moved to now."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND, Clock
from seawall.core.errors import DataError
from seawall.core.events import Raw, empty
from seawall.core.instruments import Catalog
from seawall.ingestion.simulated import SOURCES, MarketShape, SimulatedMarket
from seawall.ingestion.tape import Tape

CATCH_UP = 2 * SECOND  # of the clock: whoever was held up longer goes on from there


LAP_GAP = SECOND  # between the tape's last row and its first, when it begins again


class Tapelike(Protocol):
    """Rows in the time of the tape.

    Attributes:
        lap: ns by which the times that it gives are after those of the recording.
    """

    lap: int

    @property
    def catalog(self) -> Catalog: ...

    def until(self, position: int) -> Raw:
        """Rows received up to a time of the tape that were not given before."""
        ...


class Recorded:
    """A recorded tape, which begins again where it ends.

    Args:
        after: ns UTC on it where the last run had come; below 0: there was none, and the first
            `skip` ns are past.
        lap: see Tapelike; of the last run.

    Attributes:
        position: ns UTC on the tape at which it goes on. past: the rows before, of this lap.

    Raises:
        DataError: the tape is empty.
    """

    def __init__(self, tape: Tape, after: int, skip: int = 0, lap: int = 0) -> None:
        self.catalog = tape.catalog
        self.lap = lap
        self.past: list[Raw] = []
        self._tape = tape
        self._blocks: Iterator[Raw] = tape.blocks()
        self._rest: Raw = Raw(empty(0))
        self._last = 0  # ns UTC of the last row that was read
        self._fill(after)
        if not len(self._rest):
            raise DataError("the tape is empty; import data into it")
        self._first = int(self._rest["recv_ts"][0]) - lap
        self.position = after if after >= 0 else self._first + skip - 1
        while len(self._rest) and self._rest["recv_ts"][0] <= self.position and self.lap == lap:
            self.past.append(self._cut(self.position))
            self._fill(self.position)

    def _fill(self, position: int) -> None:
        """Have rows to give; a new lap only once it has begun: who starts before needs the last."""
        while not len(self._rest):
            block = next(self._blocks, None)
            if block is not None and len(block):
                rows = block.copy()
                rows["recv_ts"] += self.lap
                rows["exch_ts"] += self.lap
                self._rest, self._last = Raw(rows), int(rows["recv_ts"][-1])
            elif block is None and self._last:
                lap = self._last - self._first + LAP_GAP
                if self._first + lap > position:
                    return
                self.lap = lap
                self._blocks = self._tape.blocks()
            elif block is None:
                return

    def _cut(self, position: int) -> Raw:
        at = int(np.searchsorted(self._rest["recv_ts"], position, side="right"))
        rows, self._rest = Raw(self._rest[:at]), Raw(self._rest[at:])
        return rows

    def until(self, position: int) -> Raw:
        """See Tapelike; rows of one message have one receive time, so none is torn."""
        parts: list[NDArray[Any]] = []
        while True:
            self._fill(position)
            rows = self._cut(position)
            if not len(rows):
                break
            parts.append(rows)
        if not parts:
            return Raw(empty(0))
        return Raw(np.concatenate(parts)) if len(parts) > 1 else Raw(parts[0])


class Endless:
    """The simulated market, one honest source without outages."""

    def __init__(self, seed: int, start: int, prices: dict[str, float] | None = None) -> None:
        shape = MarketShape(sources=SOURCES[:1], outages_per_hour=0.0)
        self._market = SimulatedMarket(seed, start, shape, prices)
        self.catalog = self._market.catalog
        self.lap = 0

    def until(self, position: int) -> Raw:
        """See Tapelike."""
        return self._market.generate(position)


class Pace:
    """Hands out a tape's rows as the clock goes on, their times moved to the clock's.

    Args:
        begin: ns UTC on the tape at which it begins now. speed: seconds of the tape in a second.

    Attributes:
        position: ns UTC on the tape up to which rows were handed out.
    """

    def __init__(self, tape: Tapelike, clock: Clock, begin: int, speed: float) -> None:
        self.position = begin
        self._speed = speed
        self._tape = tape
        self._clock = clock
        self._reached = clock.now()

    @property
    def lap(self) -> int:
        """See Tapelike."""
        return self._tape.lap

    def read(self) -> Raw:
        """The rows that are due by now, none where there are none."""
        now = self._clock.now()
        begin, origin = max(self._reached, now - CATCH_UP), self.position
        until = origin + int((now - begin) * self._speed)
        rows = self._tape.until(until)
        self._reached, self.position = now, until
        return moved(rows, origin, begin, self._speed)


def moved(rows: Raw, origin: int, begin: int, speed: float) -> Raw:
    """Rows whose times on the tape from `origin` on are times of the clock from `begin` on."""
    changed = rows.copy()
    for field in ("recv_ts", "exch_ts"):
        since = rows[field] - origin
        changed[field] = begin + (since if speed == 1.0 else (since / speed).astype(np.int64))
    return Raw(changed)


__all__ = ["Endless", "Pace", "Recorded", "Tapelike", "moved"]
