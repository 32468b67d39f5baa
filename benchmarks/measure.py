"""Measuring: repeated timings by wall clock and by CPU time, and floors to hold them against."""

import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

P = TypeVar("P")  # what is prepared
W = TypeVar("W")  # what the work gives
S = TypeVar("S")  # what is kept of it
Part = tuple[Callable[[], P], Callable[[P], W], Callable[[W], S]]
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Bench:
    """What the person asked for.

    Attributes:
        runs: of each measurement; the median counts.
        scratch: a folder that is thrown away afterwards.
        tape: a tape to read instead of the recorded sets.
        quick: little work on a simulated market, to see that everything runs.
    """

    runs: int
    scratch: Path
    tape: Path | None = None
    quick: bool = False


@dataclass(frozen=True)
class Floor:
    """A bound that a median must keep. origin: where it is laid down."""

    bound: float
    origin: str
    at_least: bool = True

    def met(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {figure(self.bound)} ({self.origin})"


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        group: of which benchmark.
        what: was measured, and `on` which data.
        values: one per run, in `unit`.
        by_cpu: the median where it counts CPU time in place of the wall clock; None if it cannot.
        note: hashes that show whether a speed-up kept the results, and counts.
    """

    group: str
    what: str
    on: str
    unit: str
    values: Sequence[float]
    by_cpu: float | None = None
    floors: tuple[Floor, ...] = ()
    note: str = ""

    @property
    def median(self) -> float:
        """The figure that counts."""
        return statistics.median(self.values)

    @property
    def floor(self) -> str:
        """All floors in words."""
        return ", ".join(map(str, self.floors)) or "–"

    @property
    def verdict(self) -> str:
        """Of each floor, whether it is met."""
        words = ["met" if floor.met(self.median) else "NOT MET" for floor in self.floors]
        return ", ".join(words) or "–"


@dataclass(frozen=True)
class Timings(Generic[S]):
    """Seconds of each run, by wall clock and of CPU (children and all threads), and its outcome."""

    wall: list[float]
    cpu: list[float]
    outcomes: list[S]

    def rates(self, count: float) -> list[float]:
        """Units of work in a second, by wall clock."""
        return [count / seconds for seconds in self.wall]

    def cpu_rate(self, count: float) -> float:
        """Median of the units of work in a second of CPU time."""
        return count / statistics.median(self.cpu)

    @property
    def cpu_median(self) -> float:
        """Median of the seconds of CPU time."""
        return statistics.median(self.cpu)


def repeat(
    runs: int,
    prepare: Callable[[], P],
    work: Callable[[P], W],
    outcome: Callable[[W], S],
) -> Timings[S]:
    """Times `work(prepare())`; preparing, and what is made of the outcome, are not timed."""
    return alternate(runs, (prepare, work, outcome))[0]


def alternate(runs: int, *parts: Part[Any, Any, S]) -> list[Timings[S]]:
    """As `repeat`, for several that are to be compared: run by run, one after the other."""
    timings = [Timings[S]([], [], []) for _ in parts]
    for _ in range(runs):
        for timed, (prepare, work, outcome) in zip(timings, parts, strict=True):
            prepared = prepare()
            gc.collect()
            cpu_began, began = _cpu(), time.perf_counter()
            done = work(prepared)
            timed.wall.append(time.perf_counter() - began)
            timed.cpu.append(_cpu() - cpu_began)
            timed.outcomes.append(outcome(done))
    return timings


def nothing(*_: object) -> None:
    """There is nothing to prepare, or to keep."""


def itself(value: S) -> S:
    """The outcome is kept as it is."""
    return value


def same(name: str, hashes: Sequence[str]) -> str:
    """The hash that all runs gave, or a plain word that they differ."""
    if len(set(hashes)) > 1:
        return f"{name} DIFFERS between runs: {', '.join(one[:12] for one in hashes)}"
    return f"{name} {hashes[0][:12]}"


def percentile(sorted_values: Sequence[int], share: float) -> float:
    """The value that `share` of all do not exceed (nearest rank)."""
    return float(sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))])


def figure(value: float) -> str:
    """Three significant digits with a prefix: 6.84 M, 24.7 k, 0.0312."""
    for size, prefix in UNITS:
        if abs(value) >= size * 0.9995:
            return f"{value / size:#.3g} {prefix}".replace(". ", " ")
    return f"{value:#.3g}".rstrip(".")


def _cpu() -> float:
    """Seconds of CPU time used so far by this process, its threads and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
