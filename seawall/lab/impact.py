"""What an attack has done: the run under attack held against the same run without it.

Both runs see the same market and share all randomness, which is keyed by events; so every
difference is the attack's. Nothing here runs a market: `node/impact.py` does and hands over what it
saw.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.consensus import FEATURES, WIDTH
from seawall.core.verdicts import Standing
from seawall.gating import Gating, certificate
from seawall.gating.group import Group
from seawall.gating.model import matrix, vector
from seawall.gating.reference import scaled
from seawall.gating.sources import SourceState
from seawall.lab.pairs import SLACK, TINY, ratio
from seawall.lab.trading import TradingImpact

Array = NDArray[np.float64]
LATE = 64  # newest rows of a window that a naive reader leaves out: see naive_of
S0_LIMIT, OUR_LIMIT = 0.05, 0.01


# --- what is seen of a run ---


class ModelSeen(msgspec.Struct, frozen=True):
    """A group's model and certificate after a review, in the units of `reference`.

    scale: (WIDTH,) the reference's, 0 where the feature is off; centre: likewise.
    """

    reference: str
    provisional: bool
    centre: Array
    scale: Array
    mean: Array
    covariance: Array
    axes: Array
    past: float
    standing: certificate.Standing


class NaiveSeen(msgspec.Struct, frozen=True):
    """Sample mean and covariance of all that every source said in a window, the features' units."""

    mean: Array
    covariance: Array


class Review(msgspec.Struct, frozen=True):
    """One run after one review, groups in order; None where there is nothing yet."""

    ts: int
    models: tuple[ModelSeen | None, ...]
    naive: tuple[NaiveSeen | None, ...]
    sources: Mapping[str, SourceState]


def model_of(group: Group) -> ModelSeen | None:
    """What a group's model is now; None before there is one."""
    reference, model = group.reference, group.model
    if reference is None or model is None or group.certificate is None:
        return None
    return ModelSeen(
        reference=reference.name,
        provisional=reference.provisional,
        centre=reference.centre,
        scale=reference.scale,
        mean=vector(model.mean),
        covariance=matrix(model.covariance),
        axes=vector(model.bound),
        past=group.certificate.past,
        standing=group.certificate.standing,
    )


def naive_of(gating: Gating, at: int, now: int) -> NaiveSeen | None:
    """The naive moments of group `at` over its window up to `now`, each message's source alike.

    The oldest LATE rows are left out, since as many newer ones may have come in since `now`.
    """
    window = gating.window
    length, seen = window.ts.shape[1], int(window.seen[at])
    places = np.arange(max(0, seen - length), seen) % length
    places = places[window.ts[at][places] <= now][-(length - LATE) :]
    slots = len(gating.groups[at].sources)
    panel = np.ascontiguousarray(window.panel[at][places][:, :slots])
    said = scaled(panel, window.factor[at][places])[:, :, :WIDTH].reshape(-1, WIDTH)
    said = said[np.isfinite(said).all(axis=1)]
    if len(said) < 2 * WIDTH:
        return None
    return NaiveSeen(mean=said.mean(axis=0), covariance=np.cov(said, rowvar=False))


# --- what comes of it ---


class GroupImpact(msgspec.Struct, frozen=True, kw_only=True):
    """Estimates of one group; shifts in standard deviations of the clean run's reference.

    Attributes:
        updates: reviews in which both runs had a model. certified: those of them whose certificate
            said something about this attack.
        unlike: reviews at which the two runs had different references: the attack began while the
            reference was taken, and the certificate, being in its units, says nothing.
        shift, shift_mean, shift_last: 2-norm over the features: largest, mean, at the end.
        axes: feature → largest shift.
        certificate: largest and last bound, None where it says nothing. ratio: largest shift over
            the bound of its update, axis_ratio: the same axis by axis. violations: updates with
            either over 1.
        scatter: largest |log eigenvalue| of the attacked covariance over the clean one.
        naive_*: the same of a system that takes the sample mean and covariance of everything.
        price_shift, price_shift_mean: of the consensus price, standard deviations of a frame's
            return. naive_price_shift, naive_price_shift_mean: of the mean of the sources' prices.
        outside: values of the clean run that lie outside of what the attacked run's intervals say,
            `of` so many (price, features, volatility at each boundary).
    """

    group: str
    updates: int
    certified: int
    unlike: int
    shift: float
    shift_mean: float
    shift_last: float
    axes: dict[str, float]
    certificate: float | None
    certificate_last: float | None
    ratio: float
    axis_ratio: float
    violations: int
    scatter: float
    naive_shift: float
    naive_shift_mean: float
    naive_scatter: float
    price_shift: float
    price_shift_mean: float
    naive_price_shift: float
    naive_price_shift_mean: float
    outside: int
    of: int


class GateImpact(msgspec.Struct, frozen=True, kw_only=True):
    """The authenticity gate, counted by source and review.

    Attributes:
        false_rejects: of honest sources in the attacked run, of all in the clean one, and of the
            hostile before they attack; `judged` so many times.
        false_accepts: reviews of hostile sources under attack which they passed with their vote;
            `attacked` reviews in all.
        rejected, suspended, banned: seconds from the attack's start until a hostile source was
            first; None where none was. wronged: honest sources that were rejected.
        rolled_back: models that went back.
    """

    false_rejects: int
    judged: int
    false_accepts: int
    attacked: int
    rejected: float | None
    suspended: float | None
    banned: float | None
    wronged: tuple[str, ...]
    rolled_back: int


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """One figure against S0's limit (5 %) and ours (1 %)."""

    name: str
    value: float
    s0: bool
    ours: bool


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """The whole comparison.

    Attributes:
        covered: the attacker owns no more sources than the certificate withstands.
        rows: of both tapes. unmatched: boundaries that only one run had.
        violations: of any certificate; what is not covered does not count.
    """

    attack: str
    covered: bool
    rows: tuple[int, int]
    boundaries: int
    unmatched: int
    groups: tuple[GroupImpact, ...]
    gate: GateImpact
    trading: TradingImpact | None
    criteria: tuple[Criterion, ...]
    violations: int


# --- estimates ---


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def spread_shift(clean: Array, attacked: Array) -> float:
    """Largest |log eigenvalue| of one covariance over the other."""
    if np.array_equal(clean, attacked):
        return 0.0
    inverse = np.linalg.inv(np.linalg.cholesky(clean))
    values = np.linalg.eigvalsh(inverse @ attacked @ inverse.T)
    return float(np.abs(np.log(np.maximum(values, TINY))).max())


class GroupTracker:
    """Gathers the estimates of one group.

    Args:
        rate: share of the way to its sample that a model goes in an update; the naive one's too.
    """

    def __init__(self, name: str, rate: float) -> None:
        self.name = name
        self._rate = rate
        self._shifts: list[float] = []
        self._bounds: list[float] = []
        self._axes = np.zeros(WIDTH)
        self._ratio = self._axis_ratio = self._scatter = 0.0
        self._violations = self._unlike = self._certified = 0
        self._naive: tuple[NaiveSeen, NaiveSeen] | None = None
        self._naive_shifts: list[float] = []
        self._naive_scatter = 0.0
        self._prices: list[Array] = []
        self._naive_prices: list[Array] = []
        self._outside = self._of = 0

    def review(
        self,
        clean: ModelSeen | None,
        attacked: ModelSeen | None,
        naive: tuple[NaiveSeen | None, NaiveSeen | None],
    ) -> None:
        """One update of both runs."""
        if clean is None or attacked is None:
            return
        on = clean.scale > 0.0
        scale = np.where(on, clean.scale, 1.0)
        raw = [one.centre + one.scale * one.mean for one in (clean, attacked)]
        shift = np.where(on, np.abs(raw[1] - raw[0]) / scale, 0.0)
        same = clean.reference == attacked.reference
        if same:
            shift = np.where(on, np.abs(attacked.mean - clean.mean), 0.0)
            keep = np.ix_(on, on)
            change = spread_shift(clean.covariance[keep], attacked.covariance[keep])
            self._scatter = max(self._scatter, change)
        self._axes = np.maximum(self._axes, shift)
        self._shifts.append(float(np.linalg.norm(shift)))
        self._unlike += not same
        if same and attacked.standing is not certificate.Standing.NONE:
            self._hold(shift, attacked)
        self._follow(naive, scale, on)

    def _hold(self, shift: Array, attacked: ModelSeen) -> None:
        """A shift against the certificate."""
        whole = ratio(float(np.linalg.norm(shift)), attacked.past)
        axis = max(ratio(s, b) for s, b in zip(shift.tolist(), attacked.axes.tolist(), strict=True))
        self._certified += 1
        self._bounds.append(attacked.past)
        self._ratio = max(self._ratio, whole)
        self._axis_ratio = max(self._axis_ratio, axis)
        self._violations += max(whole, axis) > 1.0 + SLACK

    def _follow(
        self, naive: tuple[NaiveSeen | None, NaiveSeen | None], scale: Array, on: NDArray[np.bool_]
    ) -> None:
        """The naive models learn their windows, and are compared in the same units."""
        if naive[0] is None or naive[1] is None:
            return
        before = self._naive or (naive[0], naive[1])
        rate = self._rate
        now = [
            NaiveSeen(
                mean=(1.0 - rate) * old.mean + rate * new.mean,
                covariance=(1.0 - rate) * old.covariance + rate * new.covariance,
            )
            for old, new in zip(before, (naive[0], naive[1]), strict=True)
        ]
        self._naive = (now[0], now[1])
        shift = np.where(on, (now[1].mean - now[0].mean) / scale, 0.0)
        self._naive_shifts.append(float(np.linalg.norm(shift)))
        keep = np.ix_(on, on)
        units = np.outer(scale, scale)[keep]
        ridge = TINY * np.eye(len(units))
        change = spread_shift(*((one.covariance[keep] / units) + ridge for one in now))
        self._naive_scatter = max(self._naive_scatter, change)

    def frames(
        self,
        clean: NDArray[Any],
        attacked: NDArray[Any],
        naive: tuple[Array, Array],
        certified: bool,
    ) -> None:
        """Boundaries of both runs: (n,) CONSENSUS rows; naive: (n,) logarithms of naive prices."""
        known = (clean["votes"] > 0) & (attacked["votes"] > 0) & (clean["factor"] > 0.0)
        if not known.any():
            return
        clean, attacked = clean[known], attacked[known]
        moved = np.abs(np.log(attacked["price"] / clean["price"])) / clean["factor"]
        self._prices.append(moved)
        away = np.abs(naive[1][known] - naive[0][known]) / clean["factor"]
        self._naive_prices.append(away[np.isfinite(away)])
        if certified:
            self._inside(clean, attacked)

    def _inside(self, clean: NDArray[Any], attacked: NDArray[Any]) -> None:
        """Whether the clean values lie in the attacked run's intervals."""
        for name, low, high in (
            ("price", "price_low", "price_high"),
            ("value", "low", "high"),
            ("factor", "factor_low", "factor_high"),
        ):
            value = clean[name]
            slack = SLACK * np.abs(value) + TINY
            outside = (value < attacked[low] - slack) | (value > attacked[high] + slack)
            self._outside += int(outside.sum())
            self._of += outside.size

    def impact(self) -> GroupImpact:
        """What it comes to."""
        shifts, naive = self._shifts or [0.0], self._naive_shifts or [0.0]
        prices, naive_prices = (
            np.concatenate(told) if told else np.zeros(1)
            for told in (self._prices, self._naive_prices)
        )
        return GroupImpact(
            group=self.name,
            updates=len(self._shifts),
            certified=self._certified,
            unlike=self._unlike,
            shift=max(shifts),
            shift_mean=float(np.mean(shifts)),
            shift_last=shifts[-1],
            axes=dict(zip(FEATURES, self._axes.tolist(), strict=True)),
            certificate=_finite(max(self._bounds, default=math.inf)),
            certificate_last=_finite(self._bounds[-1] if self._bounds else math.inf),
            ratio=self._ratio,
            axis_ratio=self._axis_ratio,
            violations=self._violations,
            scatter=self._scatter,
            naive_shift=max(naive),
            naive_shift_mean=float(np.mean(naive)),
            naive_scatter=self._naive_scatter,
            price_shift=float(prices.max()),
            price_shift_mean=float(prices.mean()),
            naive_price_shift=float(naive_prices.max(initial=0.0)),
            naive_price_shift_mean=float(naive_prices.mean()),
            outside=self._outside,
            of=self._of,
        )


# --- the gate ---


class GateTracker:
    """Counts the authenticity gate's rights and wrongs.

    Args:
        hostile: names of the attacker's sources.
    """

    def __init__(self, hostile: Sequence[str]) -> None:
        self._hostile = frozenset(hostile)
        self._before: list[Mapping[str, SourceState]] = [{}, {}]
        self._wrong = self._judged = self._passed = self._attacked = 0
        self._wronged: set[str] = set()
        self._delays: dict[str, float | None] = dict.fromkeys(("rejected", "suspended", "banned"))

    def review(self, clean: Review, attacked: Review, start: int, end: int) -> None:
        """One review of both runs; the attack lasts from `start` to `end`, ns UTC."""
        for run, review in enumerate((clean, attacked)):
            for name, state in review.sources.items():
                earlier = self._before[run].get(name, SourceState())
                rejected = state.rejections > earlier.rejections
                if run == 1 and name in self._hostile and review.ts > start:
                    self._under_attack(state, rejected, review.ts, start, end)
                elif earlier.admitted:
                    self._judged += 1
                    self._wrong += rejected
                    if rejected:
                        self._wronged.add(name)
            self._before[run] = dict(review.sources)

    def _under_attack(
        self, state: SourceState, rejected: bool, now: int, start: int, end: int
    ) -> None:
        if now <= end:
            self._attacked += 1
            self._passed += not rejected and state.votes
        for name, is_so in (
            ("rejected", rejected),
            ("suspended", state.standing is Standing.SUSPENDED),
            ("banned", state.standing is Standing.BANNED),
        ):
            if is_so and self._delays[name] is None:
                self._delays[name] = (now - start) / SECOND

    def impact(self, rolled_back: int) -> GateImpact:
        """What it comes to."""
        return GateImpact(
            false_rejects=self._wrong,
            judged=self._judged,
            false_accepts=self._passed,
            attacked=self._attacked,
            rejected=self._delays["rejected"],
            suspended=self._delays["suspended"],
            banned=self._delays["banned"],
            wronged=tuple(sorted(self._wronged)),
            rolled_back=rolled_back,
        )


def criteria(groups: Sequence[GroupImpact], trading: TradingImpact | None) -> tuple[Criterion, ...]:
    """S0's pass criterion (relative impact under 5 %) and ours (under 1 %), figure by figure."""
    figures = {"shift of the estimate (sigma)": max((g.shift for g in groups), default=0.0)}
    if trading is not None:
        figures["flipped decisions"] = trading.flipped.value
        figures["PnL, relative"] = trading.relative
    return tuple(
        Criterion(name=name, value=value, s0=value < S0_LIMIT, ours=value < OUR_LIMIT)
        for name, value in figures.items()
    )
