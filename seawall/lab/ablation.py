"""The core with one of its defences taken away: what the certificate would be worth without it.

Each defence is a context in which a function of the core is replaced by a weaker one, while the
certificate keeps its formula (DEFINITIONS 13, "Falsify"). Inside, the search must find what
outside it must not. Contexts change the whole process: one at a time, in one thread.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.consensus import LEVEL, SCALED, WIDTH
from seawall.core.frames import FrameFlag
from seawall.estimation.location_kernels import catoni_columns
from seawall.gating import kernels, market
from seawall.gating import reference as references
from seawall.gating.group import Group
from seawall.lab.twin import MarketPanel
from seawall.market import agreement

Array = NDArray[np.float64]
Context = contextlib.AbstractContextManager[None]
HASTE = 10.0  # times the rate that the certificate's recursion assumes


@contextlib.contextmanager
def swapped(owner: Any, name: str, weaker: Any) -> Iterator[None]:
    """`owner.name` is `weaker` inside."""
    kept = getattr(owner, name)
    setattr(owner, name, weaker)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def _moved(ends: Array, to: Array) -> Array:
    """The three locations moved together, so that the half-widths stay what they are."""
    found: Array = ends + (to - ends[0])
    return found


def _unscaled_mean(panel: Array, usual: Array, member: NDArray[np.uint8]) -> Array:
    """(n, WIDTH) mean of the voting sources, each less what is usual for it; NaN where none."""
    values = panel[:, :, :WIDTH].copy()
    values[:, :, SCALED:] -= usual[None, :, SCALED:WIDTH]
    values[:, member == 0] = np.nan
    told = np.isfinite(values)
    total = np.where(told, values, 0.0).sum(axis=1)
    count = told.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def mean_of_sources() -> Context:
    """The model learns from the mean of the sources, not from their median."""
    kept = references.evaluate

    def weaker(
        panel: Array,
        factor: Array,
        member: NDArray[np.uint8],
        banned: int,
        rule: references.Rule,
        usual: Array,
        centre: Array,
        scale: Array,
        barred: NDArray[np.int64] | None = None,
    ) -> tuple[Array, Array, Array, int]:
        told = (panel, factor, member, banned, rule, usual, centre, scale, barred)
        boxed, ends, pair, short = kept(*told)
        values = _unscaled_mean(panel, usual, member)
        values[:, :SCALED] /= np.maximum(factor[:, :1], kernels.LEAST_FACTOR)
        units = (values - centre) / np.where(scale > 0.0, scale, 1.0)
        units = np.clip(np.where(np.isfinite(units), units, boxed[0]), -rule.radius, rule.radius)
        units = np.ascontiguousarray(np.where(scale > 0.0, units, 0.0))
        location = np.empty(WIDTH)
        catoni_columns(units, 1.0, rule.c, location)
        return boxed, _moved(ends, location), pair, short

    return swapped(references, "evaluate", weaker)


def plain_mean_of_rows() -> Context:
    """The sample's location is the plain mean of unclipped rows, without psi and clipping."""
    kept = references.evaluate

    def weaker(*told: Any) -> tuple[Array, Array, Array, int]:
        panel, factor, member, banned, rule, *rest = told
        boxed, ends, pair, short = kept(*told)
        wide = msgspec.structs.replace(rule, radius=1e300)
        raw, _, _, _ = kept(panel, factor, member, banned, wide, *rest)
        known = np.abs(raw[0]) < 1e299
        return boxed, _moved(ends, np.where(known, raw[0], 0.0).mean(axis=0)), pair, short

    return swapped(references, "evaluate", weaker)


def hasty() -> Context:
    """The model learns ten times faster than the certificate's recursion assumes."""
    kept = Group._next

    def weaker(self: Group, *told: Any) -> Any:
        shape = self.shape
        self.shape = msgspec.structs.replace(shape, rate=min(1.0, HASTE * shape.rate))
        try:
            return kept(self, *told)
        finally:
            self.shape = shape

    return swapped(Group, "_next", weaker)


def unlike(closeness: float = 0.45) -> Context:
    """A market gate whose limits stand where the window usually is, taken to decide alike always.

    closeness: of the limits, a share of what they are.
    """
    kept = market.judge

    def weaker(
        window: Any, reference: Any, limits: tuple[float, float, float], *told: Any
    ) -> market.MarketVerdict:
        tight = (limits[0] * closeness, limits[1] * closeness, limits[2] * closeness)
        verdict = kept(window, reference, tight, *told)
        return msgspec.structs.replace(verdict, alike=True)

    return swapped(market, "judge", weaker)


def whole_rows() -> Context:
    """Only rows in which every source spoke are in the sample: whoever is silent chooses them."""
    kept: Any = references.evaluate

    def weaker(panel: Array, factor: Array, *told: Any) -> Any:
        whole = np.isfinite(panel[:, :, LEVEL]).all(axis=1)
        if int(whole.sum()) < references.LEAST_ROWS // 2:
            return kept(panel, factor, *told)
        *others, last = told if len(told) == 7 else (*told, None)
        barred = None if last is None else np.ascontiguousarray(last[whole])
        found = (np.ascontiguousarray(panel[whole]), np.ascontiguousarray(factor[whole]))
        return kept(*found, *others, barred)

    return swapped(references, "evaluate", weaker)


def agents_hear_the_mean() -> Context:
    """Agents are fed with the mean of the sources; the intervals keep their widths."""
    kept = agreement.agree

    def weaker(state: Any, rows: NDArray[Any], panel: Array) -> None:
        kept(state, rows, panel)
        zeros = np.zeros_like(panel[0])
        for group in range(len(state.registered)):
            mine = np.flatnonzero(rows["group"] == group)
            member = state.member[group]
            means = _unscaled_mean(panel[mine], zeros, member)
            moved = np.where(np.isfinite(means), means - rows["value"][mine], 0.0)
            for column in ("value", "low", "high"):
                rows[column][mine] += moved
            _move_prices(rows, mine, panel[mine][:, member == 1, LEVEL])

    return swapped(agreement, "agree", weaker)


def _move_prices(rows: NDArray[Any], mine: NDArray[np.int64], levels: Array) -> None:
    """Prices and their intervals to the mean of the sources' prices."""
    told = np.isfinite(levels)
    count = told.sum(axis=1)
    valid = (count > 0) & ((rows["flags"][mine] & FrameFlag.VALID) > 0)
    prices = np.where(told, np.exp(np.clip(np.where(told, levels, 0.0), -700.0, 700.0)), 0.0)
    mean = prices.sum(axis=1) / np.maximum(count, 1)
    factor = np.where(valid, mean / np.where(valid, rows["price"][mine], 1.0), 1.0)
    for column in ("price", "price_low", "price_high"):
        rows[column][mine] *= factor


class Ablation(NamedTuple):
    """A defence: the context that takes it away, the certificate's term, where the search looks.

    goal: of adaptive.GOALS. market: a panel on which the defence carries weight. start: knobs that
    aim at what is left open.
    """

    name: str
    weaken: Callable[[], Context]
    term: str
    goal: str
    market: MarketPanel
    summary: str
    start: tuple[float, ...] | None = None


# Knobs: direction of each feature and of the price, then as in adaptive.attacked.
EVERYWHERE = (1.0,) * (WIDTH + 1)
BOUNDED = (0.5, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5)
NOW_AND_THEN = (*BOUNDED, 0.55, 0.0, 0.2, 0.3, 0.0, 0.0, 1.0, 0.0)
SILENT_WHERE_LOW = (*EVERYWHERE, 0.0, 0.0, 0.9, 1.0, 0.0, 1.0, 1.0, 1.0)
FAR_AWAY = (*EVERYWHERE, 0.7, 0.0, 0.9, 1.0, 0.0, 0.0, 1.0, 0.0)
CALM = MarketPanel(tau=0.1)
WANDERING = MarketPanel(tau=0.1, memory=0.8)
SLOW = MarketPanel(tau=0.02, memory=0.97)
JUMPY = MarketPanel(tau=0.05, jumps=0.03)
ABLATIONS: dict[str, Ablation] = {
    each.name: each
    for each in (
        Ablation(
            "consensus",
            mean_of_sources,
            "sample",
            "mean",
            CALM,
            "mean of sources, not median",
            NOW_AND_THEN,
        ),
        Ablation(
            "clipping", plain_mean_of_rows, "sample", "mean", JUMPY, "plain mean of unclipped rows"
        ),
        Ablation(
            "rate", hasty, "recursion", "mean", WANDERING, "learns ten times faster", FAR_AWAY
        ),
        Ablation(
            "gate", unlike, "decisions", "mean", SLOW, "a gate at the edge, taken to be alike"
        ),
        Ablation(
            "membership",
            whole_rows,
            "sample",
            "mean",
            CALM,
            "who is silent chooses the sample",
            SILENT_WHERE_LOW,
        ),
        Ablation(
            "agents",
            agents_hear_the_mean,
            "exposure",
            "exposure",
            CALM,
            "agents hear the mean of the sources",
            FAR_AWAY,
        ),
    )
}
