"""The certificate: how far an attacker can have moved the adaptive mean (DEFINITIONS 13).

docs/certificate.md derives it. All figures are in the reference's standard deviations.
"""

import math
from collections import deque
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
HISTORY = 1440  # updates whose half-widths are kept: a day of minutes
QUANTILE = 0.999
VACUOUS = 1.0  # standard deviations from which a bound says nothing useful


class Standing(StrEnum):
    """What the certificate is worth."""

    CERTIFIED = "certified"  # true, and the attacker cannot make it vacuous
    SOUND = "sound"  # true, but a hostile source could inflate it
    VACUOUS = "vacuous"  # true, and too wide to be of use
    NONE = "none"  # too few sources to be compared


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The statement for one group after one update.

    Attributes:
        standing: what it is worth.
        past: bound of |mean' - mean| now, 2-norm over the axes. axes: the same for each axis.
        next_hour: bound an hour ahead; `conditional` where it rests on the last day's half-widths.
        sample: the last update's half-width (the term that consensus bounds).
        decisions: what updates that the clean run may have judged otherwise have added so far.
        reference: how far the mean may be at most by the market gate, D + limit + walk.
        sources, faulty, excluded: in the group, withstood, without a vote.
    """

    group: str
    ts: int
    standing: Standing
    past: float
    axes: tuple[float, ...]
    next_hour: float
    conditional: bool
    sample: float
    decisions: float
    reference: float
    sources: int
    faulty: int
    excluded: int
    updates: int


class Bound:
    """The recursion of one group's bound, axis by axis.

    Attributes:
        axes: (width,) the bound. envelope: (2, width) least and greatest that the clean run's mean
            can be: it is an average of the start and of locations, each within its half-width of
            ours, however its gates decided.
        decisions: what updates that the clean run may have judged otherwise have added.
    """

    def __init__(self, start: Array) -> None:
        self.axes: Array = np.zeros(len(start))
        self.envelope: Array = np.array([start, start])
        self.decisions = 0.0
        self.halfwidths: deque[Array] = deque(maxlen=HISTORY)

    def advance(
        self,
        rate: float,
        location: Array,
        halfwidth: Array,
        step: Array,
        learned: bool,
        alike: bool,
    ) -> None:
        """One update: the sample's location and its half-width, step = |location - mean before|.

        With d the bound before, e = rate: both runs learn, (1 - e) d + e b; ours alone learns,
        d + e step; the clean run alone, (1 - e) d + e (b + step); neither, d.
        """
        before = self.axes
        both = (1.0 - rate) * before + rate * halfwidth
        if learned:
            same, other = both, before + rate * step
        else:
            same, other = before, both + rate * step
        after = same if alike else np.maximum(same, other)
        self.decisions += float(np.linalg.norm(after - same))
        self.axes = after
        self.envelope[0] = np.minimum(self.envelope[0], location - halfwidth)
        self.envelope[1] = np.maximum(self.envelope[1], location + halfwidth)
        self.halfwidths.append(halfwidth)

    def hold(self, mean: Array, inside: Array) -> None:
        """Our mean is here: the bound is never more than the envelope's reach, nor than
        `inside`.
        """
        reach = np.maximum(self.envelope[1] - mean, mean - self.envelope[0])
        self.axes = np.minimum(np.minimum(self.axes, reach), inside)

    def roll_back(self, moved: Array) -> None:
        """Our mean went back by `moved` per axis; the clean run's stayed."""
        self.axes = self.axes + np.abs(moved)
        self.decisions += float(np.linalg.norm(moved))

    def ahead(self, updates: int, rate: float) -> float:
        """The bound after so many more updates, each with the QUANTILE half-width of the past
        day.
        """
        if not self.halfwidths:
            return float(np.linalg.norm(self.axes))
        usual = np.quantile(np.array(self.halfwidths), QUANTILE, axis=0)
        keep = (1.0 - rate) ** updates
        reached = np.maximum(self.axes, keep * self.axes + (1.0 - keep) * usual)
        return float(np.linalg.norm(reached))


def standing(sources: int, faulty: int, excluded: int, past: float) -> Standing:
    """What a bound is worth with so many registered sources, `excluded` of them without a vote."""
    lost = faulty + excluded
    if sources < 4 * faulty + 1 or sources < 2 * lost + 1:
        return Standing.NONE
    if not math.isfinite(past) or past >= VACUOUS:
        return Standing.VACUOUS
    return Standing.CERTIFIED if sources >= 4 * lost + 1 else Standing.SOUND
