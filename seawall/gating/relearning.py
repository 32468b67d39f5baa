"""What a model has learned lately, so that it can be learned again without somebody found lying.

A rollback that made up for all updates since its checkpoint by one look at the present window would
weigh that window as if it had stood all the time, and move the mean more than the liar did.
"""

from collections import deque
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
REMEMBERED = 128  # reviews: beyond the twenty checkpoints of five minutes each


class Step(NamedTuple):
    """One update that was learned at `ts` (ns UTC).

    location: (width,) what it went toward. without: the same window's location without the sources
    that were `doubted` then; None where nobody was.
    """

    ts: int
    location: Array
    doubted: frozenset[str]
    without: Array | None


class Steps:
    """The last updates of one model, oldest first."""

    def __init__(self) -> None:
        self._kept: deque[Step] = deque(maxlen=REMEMBERED)

    def keep(self, step: Step) -> None:
        """Note an update that has been learned."""
        self._kept.append(step)

    def forget(self, since: int) -> None:
        """Somebody does not want what was learned after `since` (ns UTC)."""
        while self._kept and self._kept[-1].ts > since:
            self._kept.pop()

    def again(
        self,
        mean: Array,
        since: int,
        updates: int,
        rate: float,
        accused: Collection[str],
        present: Array,
    ) -> Array:
        """`mean` (width,), the model's at `since` (ns UTC), after the updates made from then on.

        Each goes toward what it went toward then, without the accused where they were in doubt.

        Args:
            updates: how many there have been; those no longer remembered (a restart, a long time)
                go toward `present`, the location now without the accused.
        """
        known = [step for step in self._kept if step.ts > since]
        found = mean + (1.0 - (1.0 - rate) ** max(0, updates - len(known))) * (present - mean)
        for step in known:
            told = step.location
            if step.without is not None and step.doubted.issuperset(accused):
                told = step.without
            found = (1.0 - rate) * found + rate * told
        return found
