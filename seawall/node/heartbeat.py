"""What goes on by time where the market says nothing: no frame closes, so no boundary is acted at.

The venue is heard and compared with all the same; nothing new is risked. Beats lie on a grid of the
tape's time behind the last boundary, so that they are the same however the tape is cut into blocks.
Where not even a tick was written for minutes nobody was there (the machine slept): of the beats of
such an absence the last alone is due, or a venue would be asked thousands of times at once.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MINUTE, SECOND
from seawall.core.frames import FRAME
from seawall.node.action import Action
from seawall.node.prices import SILENT

NOTHING = np.zeros(0, FRAME)


class Heartbeat:
    """Beats of one action side.

    Args:
        cadence_ns: between two boundaries; a beat falls on one that has closed without a frame.
    """

    def __init__(self, action: Action, cadence_ns: int) -> None:
        self._action = action
        self._cadence = cadence_ns
        self._period = -(-SECOND // cadence_ns) * cadence_ns
        self._last = 0  # ns UTC of the last boundary or beat
        self._compared = 0  # ns UTC since when no comparison was asked for by a beat
        self._absence = max(MINUTE, 2 * cadence_ns)  # ns between two rows of the tape
        self._before = 0  # ns UTC of the row before those that are looked at
        self._times = np.zeros(0, np.int64)  # theirs

    def look(self, times: NDArray[np.int64], before: int) -> None:
        """Rows that are about to be taken in, ns UTC; `before`: the last one before them."""
        self._times, self._before = times, before

    def acted(self, now: int) -> None:
        """A boundary was acted at, or found to need nothing; or the run begins, at any time."""
        self._last = self._compared = -(-now // self._cadence) * self._cadence

    def unbroken(self, times: NDArray[np.int64], boundary: int) -> int:
        """The first boundary behind the next silence that is long enough for a beat.

        Args:
            times: (boundaries,) ns UTC of a block. boundary: from which on they are looked at.
        """
        if boundary == len(times) - 1:
            return len(times)
        breaks = np.flatnonzero(np.diff(times[boundary:]) > self._period)
        return boundary + int(breaks[0]) + 1 if len(breaks) else len(times)

    def due(self, until: int) -> Iterator[int]:
        """The beats up to `until`, ns UTC; all boundaries up to then have closed.

        Where nothing is under way only the comparisons of each minute are left.
        """
        while self._last + self._period <= until and (beat := self._next()) <= until:
            self._last = beat
            yield beat

    def _next(self) -> int:
        """The next beat; the last one of an absence that it falls into."""
        span = self._span()
        beat = self._last + span
        at = int(np.searchsorted(self._times, beat))
        if at == len(self._times):
            return beat
        since, back = int(self._times[at - 1]) if at else self._before, int(self._times[at])
        away = since < beat and 0 < since <= back - self._absence
        return beat + (back - beat) // span * span if away else beat

    def _span(self) -> int:
        waits = self._action.accounts.waiting or self._action.compare_due
        return self._period if waits else max(self._period, MINUTE // self._cadence * self._cadence)

    def beat(self, now: int) -> None:
        """Hear the venue, and compare with it where that is due; nothing can be traded on."""
        action, accounts = self._action, self._action.accounts
        action.prices.update(NOTHING)
        accounts.listen(now)
        if now - self._compared >= MINUTE:
            self._compared = now
            action.compare_due = True
        accounts.reconcile_due(now)
        action.reasons, action.troubles = [*action.blocks(), SILENT], accounts.troubles()
