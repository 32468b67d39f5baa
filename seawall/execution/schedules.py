"""Schedules: how many lots of a parent order should be done by now.

A plan is a staircase of lots over one clock: time, the others' volume, or what of ours is filled.
It is a pure function of the parent, so it never has to be kept. Sizes and times are drawn within
bounds, from the parent's seed and name alone, so that nobody can read the next step off the last.
"""

from bisect import bisect_right
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import SettingError
from seawall.core.money import PPM
from seawall.core.parents import Algorithm, Pace, Parent
from seawall.core.randomness import generator

MOST_SLICES = 10_000
LONGEST = 7 * 86_400 * 10**9  # ns of a horizon


class Reads(StrEnum):
    """What the clock of a plan counts since the parent began."""

    TIME = "time"  # ns
    VOLUME = "volume"  # lots that others traded
    FILLS = "fills"  # lots of the parent that are filled


class Plan(NamedTuple):
    """A staircase.

    Attributes:
        at: clock readings, never falling; from `at[k]` on, `done[k]` lots should be out.
        done: rising, the last one is the whole parent.
    """

    reads: Reads
    at: tuple[int, ...]
    done: tuple[int, ...]


def check(pace: Pace, where: str = "execution") -> Pace:
    """Self; SettingError names the first value that is out of its range."""
    for name, low, high in (
        ("horizon", 1, LONGEST),
        ("slices", 1, MOST_SLICES),
        ("jitter", 0.0, 1.0),
        ("bend", 0.0, 50.0),
        ("share_ppm", 1, PPM - 1),
        ("visible", 1 if pace.algorithm is Algorithm.ICEBERG else 0, 1 << 62),
    ):
        value = getattr(pace, name)
        if not low <= value <= high:
            raise SettingError(f"{where}: {name} is {value}; allowed is {low} to {high}")
    return pace


def plan_of(parent: Parent) -> Plan:
    """The plan of a parent: the same for the same parent, always.

    Raises:
        SettingError: its pace is out of range, or there is nothing to do.
    """
    pace = check(parent.pace, f"parent order {parent.parent_id}")
    if parent.lots <= 0 or parent.smallest <= 0:
        raise SettingError(
            f"parent order {parent.parent_id}: {parent.lots} lots of at least {parent.smallest}; "
            "both must be above 0"
        )
    draws = generator(parent.seed, "execution.schedule", parent.parent_id)
    if pace.algorithm is Algorithm.ICEBERG:
        slices, jitter = _hidden(parent)
        return _iceberg(parent, _steps(parent, even(slices), jitter, draws))
    steps = _steps(parent, parent.weights or even(pace.slices), pace.jitter, draws)
    if pace.algorithm is Algorithm.PARTICIPATION:
        others = PPM - pace.share_ppm
        at = tuple(-(-lots * others // pace.share_ppm) for _, lots in steps)
        return Plan(Reads.VOLUME, at, tuple(lots for _, lots in steps))
    slices = len(parent.weights) or pace.slices
    late = draws.random(slices) * pace.jitter
    at = tuple(int((k + late[k]) * pace.horizon / slices) for k, _ in steps)
    return Plan(Reads.TIME, at, tuple(lots for _, lots in steps))


def due(plan: Plan, reading: int) -> int:
    """Lots that should be out, all in all, when the plan's clock reads so much."""
    step = bisect_right(plan.at, reading)
    return plan.done[step - 1] if step else 0


def joined(parent: Parent, out: int, left: int) -> int:
    """Lots that go out now where the plan says `out` of what is `left`: nothing rather than less
    than the smallest child, and no rest that would be less than it.
    """
    if out >= left:
        return left
    if out < parent.smallest:
        return 0
    if left - out >= parent.smallest:
        return out
    hidden = parent.pace.algorithm is Algorithm.ICEBERG and left > parent.pace.visible
    return max(parent.smallest, left - parent.smallest) if hidden else left


def _hidden(parent: Parent) -> tuple[int, float]:
    """(slices, jitter) of an iceberg: no part above what is shown or below the smallest child."""
    jitter = parent.pace.jitter
    slices = -(-parent.lots // max(1, int(parent.pace.visible / (1 + jitter))))
    if parent.smallest > 1:
        slices = max(1, min(slices, parent.lots // parent.smallest))
        jitter = min(jitter, max(0.0, 1.0 - (parent.smallest + 1) * slices / parent.lots))
    return slices, jitter


def _iceberg(parent: Parent, steps: list[tuple[int, int]]) -> Plan:
    """The first part at once, each later one when those before it are filled."""
    done = [lots for _, lots in steps]
    shown = parent.pace.visible
    if any(b - a > shown for a, b in pairwise([0, *done])):  # merged up to the smallest child
        raise SettingError(
            f"parent order {parent.parent_id}: its smallest child has {parent.smallest} lots and "
            f"only {shown} may be seen; show more"
        )
    return Plan(Reads.FILLS, (0, *done[:-1]), tuple(done))


def _steps(
    parent: Parent, weights: tuple[float, ...], jitter: float, draws: np.random.Generator
) -> list[tuple[int, int]]:
    """(slice, lots done with it) of each child: rising to the whole, none under the smallest.

    The edges between slices are moved, each by at most half of jitter times the smaller of its two
    neighbours: so a slice differs from its weight by at most jitter times it, and what is done
    never strays from the even staircase by more than half a slice.
    """
    shares = np.asarray(weights, np.float64)
    shares = shares / shares.sum()
    edges = np.concatenate([[0.0], np.cumsum(shares)])
    moves = (draws.random(len(shares) - 1) - 0.5) * jitter
    edges[1:-1] += moves * np.minimum(shares[:-1], shares[1:])
    done = [round(edge * parent.lots) for edge in edges[1:-1].tolist()] + [parent.lots]
    kept: list[tuple[int, int]] = []
    before = 0
    for slot, lots in enumerate(done):
        left = parent.lots - lots
        last = left == 0
        if (lots > before and last) or (
            lots - before >= parent.smallest and left >= parent.smallest
        ):
            kept.append((slot, lots))
            before = lots
    return kept


# --- weights of the slices over time ---


def even(slices: int) -> tuple[float, ...]:
    """Equal weights: a time-weighted average price."""
    return (1.0,) * slices


def almgren_chriss(slices: int, bend: float) -> tuple[float, ...]:
    """Weights of Almgren and Chriss (2000): what is left at t is sinh(kappa (T - t)) / sinh(kappa
    T).

    Args:
        bend: kappa T, where kappa is `almgren_chriss.Terms.kappa` and T the horizon; 0 is even.
    """
    if bend < 1e-6:
        return even(slices)
    left = [_sinh_ratio(bend, 1.0 - k / slices) for k in range(slices + 1)]
    return tuple(a - b for a, b in pairwise(left))


def _sinh_ratio(bend: float, share: float) -> float:
    """sinh(bend share) / sinh(bend), without overflow."""
    return float(
        np.exp(bend * (share - 1.0)) * np.expm1(-2.0 * bend * share) / np.expm1(-2.0 * bend)
    )


def curve_weights(volumes: NDArray[np.float64]) -> tuple[float, ...]:
    """Weights from expected volumes of the slices; even where none is expected.

    Raises:
        SettingError: a volume is negative or not a number.
    """
    if not len(volumes) or not np.isfinite(volumes).all() or (volumes < 0).any():
        raise SettingError("a volume curve needs volumes of 0 or more for each slice")
    total = float(volumes.sum())
    return tuple((volumes / total).tolist()) if total > 0 else even(len(volumes))
