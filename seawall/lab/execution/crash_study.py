"""Stops in a crash: market orders against limit first, over scenes, sizes and ways of recovery.

Every exit is measured against the stop's price and includes what was left over: it counts at the
mid a minute after the trigger.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.randomness import generator
from seawall.execution.fallback import Fallback, carried
from seawall.execution.fallback_kernels import memory
from seawall.lab.execution.crash import (
    BANDS,
    CALM_WINDOW,
    PER_SECOND,
    STEP,
    Floats,
    Scene,
    fall,
    thinned,
    volatility,
)
from seawall.lab.execution.crash_kernels import leave, leave_in_slices

HORIZON = 60 * PER_SECOND  # steps after the trigger
DRAWS = 2_000
RECOVERIES = ("instant", "exponential", "none")
BASE = "exponential"
FIXED = 1e-3  # below the stop: the limit of the source document's own form
GOAL_MEAN = 0.30  # the hybrid's mean shortfall is to be lower by so much in the base model
DOCUMENT = 1.0 - 0.8 / 5.2  # S3's figure: 0.8 % against 5.2 %


class CrashShape(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried.

    Attributes:
        stops: distances of the stop below the start, as shares.
        multiples: sizes of the position, over the usual depth at the touch.
        fallback: how the hybrid leaves.
        again: ns between two market orders of what is left.
        half_life: seconds, of the base model's recovery.
        thin: the depth that is there falls as volatility rises; False: it stays as recorded.
    """

    stops: tuple[float, ...] = (0.01, 0.02, 0.03)
    multiples: tuple[float, ...] = (1.0, 10.0, 30.0, 100.0)
    fallback: Fallback = Fallback()
    again: int = SECOND
    half_life: float = 1.0
    thin: bool = True

    def check(self) -> "CrashShape":
        """Self; SettingError names what is out of its range."""
        self.fallback.check()
        if self.fallback.every % STEP or self.fallback.patience % STEP:
            raise SettingError("crash study: slices and patience are whole steps of 100 ms")
        if not all(0 < stop < 1 for stop in self.stops) or not self.stops:
            raise SettingError("crash study: stops are distances between 0 and 1, at least one")
        if not all(lots > 0 for lots in self.multiples) or not self.multiples:
            raise SettingError("crash study: sizes must be above 0, at least one")
        if self.half_life <= 0 or self.again < STEP:
            raise SettingError("crash study: half_life must be above 0 and again at least 100 ms")
        return self

    def recovery(self, model: str) -> float:
        """Share of what we took that is back after a step."""
        if model == "instant":
            return 1.0
        return -math.expm1(-math.log(2.0) / self.half_life / PER_SECOND) if model == BASE else 0.0


class Exit(NamedTuple):
    """One stop that was triggered, left in both ways.

    Attributes:
        market, hybrid: shortfall below the stop's price, bps of it, with what was left over.
        fixed: the same of a limit order that keeps its first price, `FIXED` below the stop.
        market_left, hybrid_left: share of the position that was never sold.
        market_unfilled, hybrid_unfilled: share that the first market order did not find a buyer
            for.
        speed: the fall from the trigger to the mid five seconds later, bps.
    """

    scene: str
    kind: str
    recovery: str
    stop: float
    multiple: float
    market: float
    hybrid: float
    fixed: float
    market_left: float
    hybrid_left: float
    market_unfilled: float
    hybrid_unfilled: float
    speed: float


class Comparison(NamedTuple):
    """Both ways over the same stops; shortfalls in bps.

    Attributes:
        lower: by which share the hybrid's mean is below the market's; low, high: 95 % interval,
            drawn over bars or starts (what `/` divides in a scene's name belongs together).
        gap_low, gap_high: 95 % interval, drawn alike, of the hybrid's 95 % quantile less the
            market's.
        worse: the hybrid's 95 % quantile is above the market's.
    """

    kind: str
    recovery: str
    multiple: float
    exits: int
    market: float
    hybrid: float
    lower: float
    low: float
    high: float
    fixed: float
    market_p95: float
    hybrid_p95: float
    fixed_p95: float
    gap_low: float
    gap_high: float
    worse: bool
    market_unfilled: float
    hybrid_unfilled: float
    market_left: float
    hybrid_left: float


def exits(scene: Scene, shape: CrashShape) -> list[Exit]:
    """Every stop of the shape that the scene triggers, left in both ways under each recovery."""
    shape.check()
    found: list[Exit] = []
    depth = thinned(scene) if shape.thin else np.ones(len(scene.mid))
    for stop in shape.stops:
        price = scene.mid[0] * (1.0 - stop)
        hit = np.flatnonzero(scene.mid <= price)
        if not len(hit) or hit[0] + HORIZON > len(scene.mid):
            continue
        found += _left(scene, shape, depth, stop, price, int(hit[0]))
    return found


def _left(
    scene: Scene,
    shape: CrashShape,
    depth: Floats,
    stop: float,
    price: float,
    at: int,
) -> Iterable[Exit]:
    window = slice(at, at + HORIZON)
    mid = scene.mid[window]
    offset, size = (
        values if len(values) == 1 else values[window] for values in (scene.offset, scene.size)
    )
    away = np.ascontiguousarray(np.broadcast_to(offset, (len(mid), BANDS)))
    sizes = np.ascontiguousarray(size * depth[window, None])
    bids = mid[:, None] * (1.0 - away)
    how = shape.fallback
    drift = drifts(scene, how, at)
    fixed = np.full(len(drift), price * (1.0 - FIXED))
    every, again = int(how.every // STEP), int(shape.again // STEP)
    speed = float((1.0 - mid[min(len(mid) - 1, 5 * PER_SECOND)] / price) * 1e4)
    for recovery in RECOVERIES:
        back = shape.recovery(recovery)
        for lots in shape.multiples:
            market, hybrid, kept = (
                ((1.0 - (value + (lots - sold) * mid[-1]) / (lots * price)) * 1e4, sold, unfilled)
                for sold, value, unfilled in (
                    leave(bids, sizes, lots, fixed, 0, again, back),
                    leave_in_slices(
                        mid,
                        away,
                        sizes,
                        lots,
                        memory(BANDS),
                        drift,
                        every,
                        how.guess,
                        how.trust,
                        again,
                        back,
                    ),
                    leave(bids, sizes, lots, fixed, len(fixed), again, back),
                )
            )
            yield Exit(
                scene.name,
                scene.kind,
                recovery,
                stop,
                lots,
                market[0],
                hybrid[0],
                kept[0],
                1.0 - market[1] / lots,
                1.0 - hybrid[1] / lots,
                market[2] / lots,
                hybrid[2] / lots,
                speed,
            )


def drifts(scene: Scene, how: Fallback, at: int) -> Floats:
    """(patience,) fall of the mid per slice that an exit triggered at step `at` carries on from
    each step that it may wait: of the last ten seconds, as `carried` has it. Causal.
    """
    wait = int(how.patience // STEP)
    now = volatility(scene.mid[: at + wait])
    found = np.empty(wait)
    for step in range(wait):
        drift = fall(scene.mid, at + step)
        about = math.sqrt(max(0.0, float(now[at + step]) ** 2 - drift**2 / PER_SECOND))
        found[step] = carried(drift, about, CALM_WINDOW / PER_SECOND) * how.every / SECOND
    return found


def parted(found: Sequence[Exit], chosen_on: Sequence[str]) -> list[Exit]:
    """Exits whose kind says whether a rule was chosen on their scene: one of these in its name."""
    return [
        one._replace(
            kind=f"{one.kind}, "
            + ("chosen on" if any(part in one.scene for part in chosen_on) else "held out")
        )
        for one in found
    ]


def compare(found: Sequence[Exit], seed: int = 0) -> list[Comparison]:
    """A line for each kind of scene, recovery and size, and one of all sizes (multiple 0)."""
    lines = []
    for kind in dict.fromkeys(one.kind for one in found):
        for recovery in RECOVERIES:
            here = [one for one in found if one.kind == kind and one.recovery == recovery]
            for multiple in (0.0, *sorted({one.multiple for one in here})):
                chosen = [one for one in here if multiple in (0.0, one.multiple)]
                if chosen:
                    lines.append(_line(kind, recovery, multiple, chosen, seed))
    return lines


def _line(
    kind: str, recovery: str, multiple: float, chosen: Sequence[Exit], seed: int
) -> Comparison:
    market = np.array([one.market for one in chosen])
    hybrid = np.array([one.hybrid for one in chosen])
    names = {name: k for k, name in enumerate(dict.fromkeys(_family(one) for one in chosen))}
    of = np.array([names[_family(one)] for one in chosen])
    sums = np.array([np.bincount(of, values) for values in (market, hybrid)])
    draws = generator(seed, "crash.bootstrap", f"{kind}/{recovery}/{multiple:g}")
    picks = draws.integers(0, len(names), (DRAWS, len(names)))
    drawn = 1.0 - sums[1][picks].sum(axis=1) / sums[0][picks].sum(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    gaps = _worst(hybrid, of, picks) - _worst(market, of, picks)
    gap_low, gap_high = np.quantile(gaps, [0.025, 0.975])
    fixed = np.array([one.fixed for one in chosen])
    p95 = [float(np.quantile(values, 0.95)) for values in (market, hybrid, fixed)]

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in chosen]))

    return Comparison(
        kind,
        recovery,
        multiple,
        len(chosen),
        float(market.mean()),
        float(hybrid.mean()),
        float(1.0 - hybrid.mean() / market.mean()),
        float(low),
        float(high),
        float(fixed.mean()),
        p95[0],
        p95[1],
        p95[2],
        float(gap_low),
        float(gap_high),
        bool(p95[1] > p95[0] * (1.0 + 1e-9)),
        mean("market_unfilled"),
        mean("hybrid_unfilled"),
        mean("market_left"),
        mean("hybrid_left"),
    )


def _worst(values: Floats, of: NDArray[np.int64], picks: NDArray[np.int64]) -> Floats:
    """(draws,) 95 % quantile where each value counts as often as its family (`of`) was picked."""
    order = np.argsort(values)
    found = np.empty(len(picks))
    for k, pick in enumerate(picks):
        weights = np.cumsum(np.bincount(pick, minlength=picks.shape[1])[of[order]])
        found[k] = values[order[np.searchsorted(weights, 0.95 * weights[-1])]]
    return found


def _family(one: Exit) -> str:
    return one.scene.rsplit("/", 1)[0]


class Widening(NamedTuple):
    """One stop distance over bridged bars, sized so that the same money is at risk.

    Attributes:
        factor: on the distance, and one over it on the size.
        stopped: share of bars in which the stop was hit. early: of those, share that closed above
            the stop's price, so that leaving was in vain.
        mean, worst: loss over the money at risk, of all bars: mean, and 95 % quantile.
    """

    factor: float
    bars: int
    stopped: float
    early: float
    mean: float
    worst: float


def widen(
    scenes: Sequence[Scene],
    shape: CrashShape,
    distance: float = 0.02,
    factors: Sequence[float] = (1.0, 1.5, 2.5),
    multiple: float = 10.0,
) -> list[Widening]:
    """Stops at several distances, held from each scene's start to its end, left at the market.

    What is at risk at the stop is the same for all: the size is divided by the factor.
    """
    lines = []
    for factor in factors:
        losses, stopped, early = [], 0, 0
        for scene in scenes:
            price = scene.mid[0] * (1.0 - distance * factor)
            hit = np.flatnonzero(scene.mid <= price)
            at_risk = scene.mid[0] * distance * factor
            if not len(hit) or hit[0] + PER_SECOND > len(scene.mid):
                losses.append((scene.mid[0] - scene.mid[-1]) / at_risk)
                continue
            stopped += 1
            early += bool(scene.mid[-1] > price)
            price_got = _sold(scene, shape, int(hit[0]), multiple / factor)
            losses.append((scene.mid[0] - price_got) / at_risk)
        lines.append(
            Widening(
                factor,
                len(scenes),
                stopped / len(scenes),
                early / max(1, stopped),
                float(np.mean(losses)),
                float(np.quantile(losses, 0.95)),
            )
        )
    return lines


def _sold(scene: Scene, shape: CrashShape, at: int, lots: float) -> float:
    """Mean price of a market exit from step `at` on, in the base model."""
    window = slice(at, at + HORIZON)
    mid = scene.mid[window]
    depth = thinned(scene)[window] if shape.thin else np.ones(len(mid))
    offset = scene.offset if len(scene.offset) == 1 else scene.offset[window]
    size = scene.size if len(scene.size) == 1 else scene.size[window]
    sold, value, _ = leave(
        np.ascontiguousarray(mid[:, None] * (1.0 - offset)),
        np.ascontiguousarray(size * depth[:, None]),
        lots,
        np.zeros(1),
        0,
        int(shape.again // STEP),
        shape.recovery(BASE),
    )
    return float((value + (lots - sold) * mid[-1]) / lots)


def study(
    scenes: Iterable[Scene], shape: CrashShape, report: Callable[[int], None] = lambda done: None
) -> list[Exit]:
    """Exits of all scenes."""
    found: list[Exit] = []
    for k, scene in enumerate(scenes):
        found += exits(scene, shape)
        report(k + 1)
    return found
