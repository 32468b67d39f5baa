"""The tape played into the exchange's own clock: at N times its pace, its times moved to now."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND, Clock
from seawall.core.events import Raw, empty
from seawall.core.instruments import Catalog
from seawall.ingestion.simulated import SOURCES, MarketShape, SimulatedMarket
from seawall.ingestion.tape import Tape

CATCH_UP = 2 * SECOND  # of the clock: whoever was held up longer goes on from there


class Tapelike(Protocol):
    """Rows in the time of the tape."""

    @property
    def catalog(self) -> Catalog: ...

    def until(self, position: int) -> Raw | None:
        """Rows received up to a time of the tape; None when there are no more."""
        ...


class Recorded:
    """A recorded tape.

    Args:
        after: ns UTC on it where the last run had come; below 0: there was none, and the first
            `skip` ns are past.

    Attributes:
        position: ns UTC on the tape at which it goes on. past: the rows before.
    """

    def __init__(self, tape: Tape, after: int, skip: int = 0) -> None:
        self.catalog = tape.catalog
        self.past: list[Raw] = []
        self._blocks: Iterator[Raw] = tape.blocks()
        self._rest: Raw = Raw(empty(0))
        if after < 0 and self._fill():
            after = int(self._rest["recv_ts"][0]) + skip - 1
        self.position = after
        while self._fill() and int(self._rest["recv_ts"][0]) <= after:
            self.past.append(self._cut(after))

    def _fill(self) -> bool:
        while not len(self._rest):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._rest = block
        return True

    def _cut(self, position: int) -> Raw:
        at = int(np.searchsorted(self._rest["recv_ts"], position, side="right"))
        rows, self._rest = Raw(self._rest[:at]), Raw(self._rest[at:])
        return rows

    def until(self, position: int) -> Raw | None:
        """See Tapelike; rows of one message have one receive time, so none is torn."""
        parts: list[NDArray[Any]] = []
        while self._fill():
            rows = self._cut(position)
            if not len(rows):
                break
            parts.append(rows)
        if not parts:
            return Raw(empty(0)) if len(self._rest) else None
        return Raw(np.concatenate(parts)) if len(parts) > 1 else Raw(parts[0])


class Endless:
    """The simulated market, one honest source without outages."""

    def __init__(self, seed: int, start: int, prices: dict[str, float] | None = None) -> None:
        shape = MarketShape(sources=SOURCES[:1], outages_per_hour=0.0)
        self._market = SimulatedMarket(seed, start, shape, prices)
        self.catalog = self._market.catalog

    def until(self, position: int) -> Raw | None:
        """See Tapelike."""
        return self._market.generate(position)


class Pace:
    """Hands out a tape's rows as the clock goes on, their times moved to the clock's.

    Args:
        begin: ns UTC on the tape at which it begins now. speed: seconds of the tape in a second.

    Attributes:
        position: ns UTC on the tape up to which rows were handed out.
        ended: there are no more rows.
    """

    def __init__(self, tape: Tapelike, clock: Clock, begin: int, speed: float) -> None:
        self.position = begin
        self.speed = speed
        self.ended = False
        self._tape = tape
        self._clock = clock
        self._reached = clock.now()

    def read(self) -> Raw:
        """The rows that are due by now, none where there are none."""
        now = self._clock.now()
        begin, origin = self._reached, self.position
        if now - begin > CATCH_UP:
            begin = now - CATCH_UP
        until = origin + int((now - begin) * self.speed)
        rows = self._tape.until(until)
        self._reached, self.position = now, until
        if rows is None:
            self.ended = True
            return Raw(empty(0))
        return moved(rows, origin, begin, self.speed)


def moved(rows: Raw, origin: int, begin: int, speed: float) -> Raw:
    """Rows whose times on the tape from `origin` on are times of the clock from `begin` on."""
    changed = rows.copy()
    for field in ("recv_ts", "exch_ts"):
        since = rows[field] - origin
        changed[field] = begin + (since if speed == 1.0 else (since / speed).astype(np.int64))
    return Raw(changed)


__all__ = ["Endless", "Pace", "Recorded", "Tapelike", "moved"]
