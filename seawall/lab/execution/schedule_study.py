"""What schedules cost against the arrival price on recorded books, beside a single market order.

Parents are worked on the simulated venue with its impact on: sizes are multiples of the usual depth
at the touch, starts are spread over the tape, and each is both bought and sold, so that the drift
of the market cancels in the mean and shows in the spread.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import DataError, SettingError
from seawall.core.events import Side
from seawall.core.orders import Fill
from seawall.core.parents import Algorithm, Pace, Parent
from seawall.core.randomness import generator
from seawall.execution import schedules
from seawall.execution.schedules import Plan, Reads
from seawall.execution.volume_curve import VolumeCurve
from seawall.lab.execution.recording import Desk, Recording
from seawall.venues.simulated.shape import VenueShape

MARKET = "market order"
WARM = 10 * SECOND  # of a tape before the first parent
DRAWS = 2_000  # of the bootstrap
Way = tuple[str, Algorithm | None, float]  # name, algorithm, bend
WAYS: tuple[Way, ...] = (
    (MARKET, None, 0.0),
    ("TWAP", Algorithm.TWAP, 0.0),
    ("VWAP", Algorithm.VWAP, 0.0),
    ("Almgren-Chriss, bend 2", Algorithm.ALMGREN_CHRISS, 2.0),
    ("Almgren-Chriss, bend 6", Algorithm.ALMGREN_CHRISS, 6.0),
)


class StudyShape(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried.

    Attributes:
        multiples: of the usual depth at the touch: the sizes of the parents.
        horizon: ns. slices, jitter: of the pace. every: ns between two starts.
        impact: of the venue: none, linear or square_root. strength: of the impact, as a multiple of
            the tape's volatility over a minute (Toth et al., 2011 find about 1).
        latency: ns each way.
    """

    multiples: tuple[float, ...] = (1.0, 10.0, 50.0)
    horizon: int = 120 * SECOND
    slices: int = 24
    jitter: float = 0.3
    every: int = 30 * SECOND
    impact: str = "square_root"
    strength: float = 1.0
    latency: int = 5_000_000
    seed: int = 0

    def check(self) -> "StudyShape":
        """Self; SettingError names what is out of its range."""
        if not self.multiples or min(self.multiples) <= 0 or self.every <= 0:
            raise SettingError("schedule study: sizes and the distance of starts must be above 0")
        if self.impact not in ("none", "linear", "square_root"):
            raise SettingError(
                f"schedule study: impact is {self.impact!r}; give none, linear or square_root"
            )
        return self


class Worked(NamedTuple):
    """One parent and what it came to.

    Attributes:
        cost: bps of the arrival price, without fees; what was not filled counts at the mid at the
            end of the horizon.
        filled: share of the lots.
    """

    tape: str
    way: str
    multiple: float
    side: int
    start: int
    cost: float
    filled: float


class Row(NamedTuple):
    """One way and size over all tapes.

    Attributes:
        mean, low, high: bps of the arrival price, with a 95 % interval (bootstrap over starts).
        spread, spread_low, spread_high: standard deviation of a single parent's cost, the same.
        worst: 95 % quantile of the cost. filled: share of lots. parents: how many.
    """

    way: str
    multiple: float
    mean: float
    low: float
    high: float
    spread: float
    spread_low: float
    spread_high: float
    worst: float
    filled: float
    parents: int


class _Job(NamedTuple):
    parent: Parent
    plan: Plan
    side: Side


def work(
    recording: Recording,
    shape: StudyShape,
    curve: VolumeCurve | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Worked]:
    """Work every parent of the study on one recording.

    Args:
        curve: what VWAP goes by; None leaves VWAP out.

    Raises:
        DataError: the recording is shorter than the horizon.
    """
    shape.check()
    first, last = recording.start + WARM, recording.end - shape.horizon - SECOND
    starts = list(range(first, last, shape.every))
    if not starts:
        raise DataError(
            f"{recording.name}: {(recording.end - recording.start) / SECOND:.0f} s of tape, the "
            f"study needs {(shape.horizon + WARM + 2 * SECOND) / SECOND:.0f} s"
        )
    # parents of one pass must not feel one another's impact: it is forgotten after a window
    apart = -(-(shape.horizon + 70 * SECOND) // shape.every)
    ways = [way for way in WAYS if curve is not None or way[1] is not Algorithm.VWAP]
    passes = [
        (way, multiple, side, starts[offset::apart])
        for way in ways
        for multiple in shape.multiples
        for side in (Side.BUY, Side.SELL)
        for offset in range(min(apart, len(starts)))
    ]
    found: list[Worked] = []
    for k, (way, multiple, side, chosen) in enumerate(passes):
        found += _pass(recording, shape, curve, way, multiple, side, chosen)
        report(k + 1, len(passes))
    return found


def _pass(
    recording: Recording,
    shape: StudyShape,
    curve: VolumeCurve | None,
    way: Way,
    multiple: float,
    side: Side,
    starts: Sequence[int],
) -> list[Worked]:
    jobs = [_job(recording, shape, curve, way, multiple, side, start) for start in starts]
    events: list[tuple[int, int, int, int]] = []  # ns UTC, parent, child, lots
    for number, job in enumerate(jobs):
        begin = job.parent.start
        events.append((begin, number, -1, 0))
        before = 0
        for child, (at, done) in enumerate(zip(job.plan.at, job.plan.done, strict=True)):
            events.append((begin + at, number, child, done - before))
            before = done
        events.append((begin + shape.horizon, number, len(job.plan.at), 0))
    desk = Desk(recording, _venue(recording, shape))
    arrival, finish = np.full(len(jobs), np.nan), np.full(len(jobs), np.nan)
    for ts, number, child, lots in sorted(events):
        desk.advance(ts)
        if child < 0:
            arrival[number] = desk.mid()
        elif lots:
            desk.market(f"{number}-{child}", side, lots)
        else:
            finish[number] = desk.mid()
    desk.advance(recording.end)
    return _told(recording, jobs, way[0], multiple, desk, arrival, finish)


def _told(
    recording: Recording,
    jobs: Sequence[_Job],
    way: str,
    multiple: float,
    desk: Desk,
    arrival: NDArray[np.float64],
    finish: NDArray[np.float64],
) -> list[Worked]:
    paid, filled = np.zeros(len(jobs)), np.zeros(len(jobs), np.int64)
    for fill in desk.venue.fills(0):
        if isinstance(fill, Fill):
            number = int(fill.client_id.split("-")[0])
            paid[number] += fill.price * fill.size
            filled[number] += fill.size
    found = []
    for number, job in enumerate(jobs):
        lots, mid = job.parent.lots, arrival[number]
        whole = paid[number] + (lots - filled[number]) * finish[number]
        cost = job.side.sign * (whole / (lots * mid) - 1.0) * 1e4
        if math.isfinite(cost):
            share = float(filled[number]) / lots
            start = job.parent.start
            found.append(
                Worked(recording.name, way, multiple, int(job.side), start, float(cost), share)
            )
    return found


def _venue(recording: Recording, shape: StudyShape) -> VenueShape:
    ppm = min(100_000, round(shape.strength * recording.volatility * 1e6))
    return VenueShape(
        impact=shape.impact,  # type: ignore[arg-type]
        impact_ppm=ppm,
        entry_latency_ns=shape.latency,
        response_latency_ns=shape.latency,
        maker_fee_ppm=0,
        taker_fee_ppm=0,
    )


def _job(
    recording: Recording,
    shape: StudyShape,
    curve: VolumeCurve | None,
    way: Way,
    multiple: float,
    side: Side,
    start: int,
) -> _Job:
    _, algorithm, bend = way
    lots = max(1, round(multiple * recording.touch))
    pace = Pace(
        algorithm=algorithm or Algorithm.TWAP,
        horizon=shape.horizon,
        slices=shape.slices,
        jitter=shape.jitter,
        bend=bend,
    )
    weights: tuple[float, ...] = ()
    if algorithm is Algorithm.ALMGREN_CHRISS:
        weights = schedules.almgren_chriss(shape.slices, bend)
    elif algorithm is Algorithm.VWAP and curve is not None:
        weights = schedules.curve_weights(curve.between(start, start + shape.horizon, shape.slices))
    parent = Parent(
        parent_id=f"{recording.name}/{start}/{multiple:g}",  # alike for all ways: paired draws
        instrument=recording.instrument.name,
        side=side,
        lots=lots,
        held=0,
        pace=pace,
        seed=shape.seed,
        start=start,
        bid=0,
        ask=0,
        decided=start,
        weights=weights,
    )
    plan = Plan(Reads.TIME, (0,), (lots,)) if algorithm is None else schedules.plan_of(parent)
    return _Job(parent, plan, side)


def summary(worked: Sequence[Worked], seed: int = 0) -> list[Row]:
    """One row for each way and size, over all tapes: every start weighs the same.

    Intervals come from a bootstrap over blocks of starts that overlap (five minutes of a tape), as
    neighbours share their market.
    """
    rows = []
    for name in dict.fromkeys(one.way for one in worked):
        for multiple in sorted({one.multiple for one in worked}):
            group = [one for one in worked if one.way == name and one.multiple == multiple]
            rows.append(_row(name, multiple, group, seed))
    return rows


def _row(name: str, multiple: float, group: Sequence[Worked], seed: int) -> Row:
    blocks: dict[tuple[str, int], list[float]] = {}
    for one in group:
        blocks.setdefault((one.tape, one.start // (300 * SECOND)), []).append(one.cost)
    parts = [np.array(costs) for costs in blocks.values()]
    costs = np.concatenate(parts)
    draws = generator(seed, "schedule.bootstrap", f"{name}/{multiple:g}")
    picks = draws.integers(0, len(parts), (DRAWS, len(parts)))
    drawn = [np.concatenate([parts[k] for k in pick]) for pick in picks]
    low, high = np.quantile([sample.mean() for sample in drawn], [0.025, 0.975])
    spread = np.quantile([sample.std() for sample in drawn], [0.025, 0.975])
    return Row(
        name,
        multiple,
        float(costs.mean()),
        float(low),
        float(high),
        float(costs.std()),
        float(spread[0]),
        float(spread[1]),
        float(np.quantile(costs, 0.95)),
        float(np.mean([one.filled for one in group])),
        len(group),
    )
