"""The adaptive attacker: it owns one source, knows everything, and searches for the worst it can
do.

It sees the honest values of every frame, past and future, the code, the seed and every threshold,
and evaluates the core itself as often as it likes. What it may do is say anything, or nothing, in
the name of its own source. The search is Nelder and Mead's simplex (1965) from random starts
(SciPy).
"""

import copy
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from seawall.core.consensus import LEVEL, WIDTH
from seawall.core.randomness import generator
from seawall.lab import twin
from seawall.lab.twin import Excess, Run, Twin

Array = NDArray[np.float64]
KNOBS = WIDTH + 9
ATTACK_FROM = 600  # frames of honest market first, in which the reference is made
EDGE = (0.1, 1.0, 0.9, 1.0, 0.0, 0.0, 1.0, 0.0)  # knobs behind the directions: always at the edge
MOST_SILENT = 0.3  # share of the frames in which it may say nothing


class Scenario(NamedTuple):
    """A market to be attacked: its honest panel, the run on it, and who is hostile.

    scale: (PANEL_WIDTH,) each feature's own spread over time. twins: frame → the core when the
    honest panel had come so far, to go on from.
    """

    name: str
    panel: Array
    clean: Run
    slot: int
    scale: Array
    twins: dict[int, Twin]


def scenario(name: str, panel: Array, slot: int = 0) -> Scenario:
    """A scenario on an honest panel (T, sources, PANEL_WIDTH)."""
    halfway = (ATTACK_FROM + len(panel)) // 2
    clean, twins = twin.saved(panel, ATTACK_FROM, halfway)
    return Scenario(name, panel, clean, slot, spread(panel), twins)


def spread(panel: Array) -> Array:
    """(PANEL_WIDTH,) half the central 68 % of each feature over time; of LEVEL, of its changes."""
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames in which nobody speaks
        middle = np.nanmedian(panel, axis=1)
    low, high = np.nanpercentile(middle, [16, 84], axis=0)
    scale = np.maximum(0.5 * (high - low), 1e-12)
    scale[LEVEL] = max(float(np.nanstd(np.diff(middle[:, LEVEL]))), 1e-9)
    return np.asarray(scale)


def run(market: Scenario, panel: Array) -> Run:
    """The core over an attacked panel, from the last review before it differs from the honest."""
    same = np.all((panel == market.panel) | (np.isnan(panel) & np.isnan(market.panel)), axis=(1, 2))
    differs = int(np.argmin(same)) if not same.all() else len(panel)
    known = [frame for frame in market.twins if frame <= differs]
    if not known:
        return twin.run(panel)
    return twin.resume(copy.deepcopy(market.twins[max(known)]), panel)


def attacked(market: Scenario, knobs: Array) -> Array:
    """The panel with what the hostile source says.

    knobs: (KNOBS,) in [0, 1]: direction of each feature and of the price; size, 1e-2 to 1e6
    spreads; how much of it is counted from the edge of the others' values rather than from the
    truth; period and share of an on-off pattern; start; share of the frames in which it is silent;
    whether it is honest or says the opposite in the off part; whether it is silent at random or
    where the market is lowest along its direction.
    """
    direction = 2.0 * knobs[: WIDTH + 1] - 1.0
    size, edge, period, duty, begins, silent, rest, chosen = knobs[WIDTH + 1 :]
    first = ATTACK_FROM + int(0.5 * begins * (len(market.panel) - ATTACK_FROM))
    panel = market.panel.copy()
    truth = market.panel[first:, market.slot, : WIDTH + 1]
    others = np.delete(market.panel[first:, :, : WIDTH + 1], market.slot, axis=1)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        high, low = np.nanmax(others, axis=1), np.nanmin(others, axis=1)
        middle = np.nan_to_num(np.nanmedian(others, axis=1))
    base = np.where(direction >= 0.0, high, low)
    start = (1.0 - edge) * truth + edge * np.where(np.isfinite(base), base, truth)
    time = np.arange(len(truth))
    long = 10.0 ** (1.0 + 2.6 * period)
    on = ((time % long) / long < 0.02 + 0.98 * duty)[:, None]
    reach = direction * 10.0 ** (-2.0 + 8.0 * size**2) * market.scale[: WIDTH + 1]
    opposite = (2.0 * truth - start if edge > 0.5 else start) - reach
    told = np.where(on, start + reach, truth if rest > 0.5 else opposite)
    share = max(0.0, silent - (1.0 - MOST_SILENT))
    rank = (time * 0.6180339887) % 1.0
    if chosen > 0.5:
        along = (middle / market.scale[: WIDTH + 1])[:, :WIDTH] @ direction[:WIDTH]
        rank = np.argsort(np.argsort(along, kind="stable"), kind="stable") / len(along)
    told[rank < share] = np.nan
    panel[first:, market.slot, : WIDTH + 1] = told
    return panel


class Found(NamedTuple):
    """The worst of a search: what was asked for, the knobs, and all that came of them."""

    scenario: str
    goal: str
    worst: float
    knobs: Array
    excess: Excess
    evaluations: int


GOALS: dict[str, Callable[[Excess], float]] = {
    "mean": lambda e: e.ratio,
    "exposure": lambda e: e.exposure_ratio,
    "axis": lambda e: e.axis,
}


def search(
    market: Scenario,
    goal: str,
    evaluations: int,
    seed: int,
    start: Array | None = None,
) -> Found:
    """One restart: a simplex from one start, so many evaluations.

    Odd seeds start anywhere; even ones start from a source that always takes the edge of what the
    others say, which is the most that a single source can move a median without being seen.

    Args:
        goal: of GOALS. start: knobs to start from in place of the edge.
    """
    random = generator(seed, f"lab.adaptive.{market.name}.{goal}")
    measure = GOALS[goal]
    best: list[tuple[float, Array, Excess]] = []
    used = 0

    def badness(knobs: Array) -> float:
        nonlocal used
        used += 1
        held = np.clip(knobs, 0.0, 1.0)
        excess = evaluate(market, held)
        value = measure(excess)
        if not best or value > best[0][0]:
            best[:] = [(value, held, excess)]
        return -value

    first = random.random(KNOBS)
    spread = 0.35
    if seed % 2 == 0:
        sides = np.where(first[: WIDTH + 1] < 0.5, 0.02, 0.98)
        first = np.concatenate((sides, EDGE)) if start is None else start.copy()
        spread = 0.2
    simplex = np.clip(first + spread * random.standard_normal((KNOBS + 1, KNOBS)), 0.0, 1.0)
    simplex[0] = first
    optimize.minimize(
        badness,
        first,
        method="Nelder-Mead",
        options={
            "maxfev": evaluations,
            "initial_simplex": simplex,
            "adaptive": True,
            "xatol": 1e-6,
            "fatol": 1e-9,
        },
    )
    value, knobs, excess = best[0]
    return Found(market.name, goal, value, knobs, excess, used)


def evaluate(market: Scenario, knobs: Array) -> Excess:
    """What one attack comes to."""
    done = run(market, attacked(market, knobs))
    return twin.excess(market.clean, done, ATTACK_FROM // twin.REVIEW)
