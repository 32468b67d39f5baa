"""What an attack has done to trading: decisions, exposures and money of two runs side by side.

A decision is what is in force, not a wish: a wanted exposure of a thousandth of the cap that turns
its sign asks for nothing, and the orchestrator lets nothing change by less than its dead band. So
two figures are told apart. `flipped` counts boundaries at which the two runs stand on different
sides of the market: long, flat or short, by the approved target that is being worked on and by the
position where there is none, and at least half a dead band apart. `wavering` counts boundaries at
which anything at all differs in direction: the sign of a wanted exposure however small, or an
intent that one run made a second before the other.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.lab import pairs
from seawall.lab.pairs import MOST_RATIO, SLACK, TINY, ratio

Array = NDArray[np.float64]
NO_INTENT = 2
ENOUGH_TRIPS, ENOUGH_TURNS = 50, 5.0  # of a clean run that a comparison means something with


class Boundary(NamedTuple):
    """One run at one boundary; lists by instrument.

    rows: (groups,) CONSENSUS. exposures: wanted, low, high as shares of the cap, NaN where nothing
    is decided. intents: sign of the exposure asked for here, NO_INTENT where none was. decided:
    the approved target in force, the position where none is, as a share of the cap. lots: the
    position held. account: equity and turnover in the numeraire, fills.
    """

    ts: int
    rows: NDArray[Any]
    exposures: list[tuple[float, float, float]]
    intents: list[int]
    decided: list[float]
    lots: list[float]
    account: tuple[float, float, int]


class TradingImpact(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it in trading. Money in the numeraire, exposures as shares of the cap.

    Attributes:
        flipped: share of the boundaries where the decisions in force differ in direction (long,
            flat, short), and by half a dead band, for any instrument. wavering: where a wanted
            exposure differs in sign, however small, or an intent in time or direction.
        exposure, exposure_mean: difference of wanted exposures: largest, mean.
        bound, bound_mean: what the exposure's certificate allows: largest, mean. ratio: largest
            difference over the bound of its boundary. violations: boundaries with a ratio over 1.
        clean, attacked: the two runs. difference: attacked less clean, with 95 % intervals.
        relative: |difference of PnL| over |PnL of the clean run|, which means little where that is
            near zero; of_turnover: over the clean run's turnover.
        enough: the clean run made ENOUGH_TRIPS round trips and turned its capital over
            ENOUGH_TURNS times.
    """

    boundaries: int
    flipped: pairs.Interval
    wavering: pairs.Interval
    exposure: float
    exposure_mean: pairs.Interval
    bound: float
    bound_mean: float
    ratio: float
    violations: int
    clean: pairs.Outcome
    attacked: pairs.Outcome
    difference: dict[str, pairs.Interval]
    relative: float
    of_turnover: float
    enough: bool


class TradingTracker:
    """Gathers what the two runs wanted and what it brought them.

    Args:
        deadband: of the orchestrator, share of the cap.
    """

    def __init__(self, deadband: float) -> None:
        self._least = 0.5 * deadband
        self._series: list[Array] = []
        self._exposure = self._bound = self._ratio = 0.0
        self._violations = 0
        self._sides: list[Array | None] = [None, None]  # of the positions last seen, of each run

    def boundaries(self, clean: Sequence[Boundary], attacked: Sequence[Boundary]) -> None:
        """Matched boundaries of both runs."""
        wanted = np.array([one.exposures for one in clean])
        told = np.array([one.exposures for one in attacked])
        if not wanted.size:
            return
        runs = clean, attacked
        asked = np.array([[one.intents for one in run] for run in runs])
        decided = np.array([[one.decided for one in run] for run in runs])
        difference, bound = self._exposures(wanted[:, :, 0], told)
        sign = np.sign(np.nan_to_num(wanted[:, :, 0])) != np.sign(np.nan_to_num(told[:, :, 0]))
        silent = np.isnan(wanted[:, :, 0]) != np.isnan(told[:, :, 0])
        sides = np.sign(decided)
        far = np.abs(decided[0] - decided[1]) >= self._least
        flipped = ((sides[0] != sides[1]) & far).any(axis=1)
        wavering = (sign | silent | (asked[0] != asked[1])).any(axis=1)
        accounts = [np.array([one.account for one in run], float) for run in runs]
        trips = [self._trips(at, run) for at, run in enumerate(runs)]
        columns = [flipped, wavering, difference.mean(axis=1), bound]
        for account, closed in zip(accounts, trips, strict=True):
            columns += [*account.T, closed]
        self._series.append(np.column_stack(columns))

    def _trips(self, at: int, run: Sequence[Boundary]) -> Array:
        """(n,) positions that were closed or turned since the boundary before, in all."""
        sides = np.sign([one.lots for one in run])
        first = self._sides[at]
        before = np.vstack([sides[:1] if first is None else first[None], sides[:-1]])
        self._sides[at] = sides[-1]
        closed: Array = ((before != 0.0) & (sides != before)).sum(axis=1).astype(np.float64)
        return closed

    def _exposures(self, wanted: Array, told: Array) -> tuple[Array, Array]:
        """(n, instruments) |difference|, held to the bounds, and (n,) the mean bound.

        Both are 0 where one of the runs decides nothing.
        """
        seen, low, high = told[:, :, 0], told[:, :, 1], told[:, :, 2]
        both = np.isfinite(wanted) & np.isfinite(seen)
        apart = np.where(both, wanted - seen, 0.0)
        difference = np.abs(apart)
        room = np.where(apart > 0.0, high - seen, seen - low)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(difference <= TINY, 0.0, difference / np.maximum(room, 0.0))
        ratios = np.minimum(ratios, MOST_RATIO)
        bound = np.where(both, np.maximum(high - seen, seen - low), 0.0)
        self._bound = max(self._bound, float(bound.max(initial=0.0)))
        self._exposure = max(self._exposure, float(difference.max()))
        self._ratio = max(self._ratio, float(ratios.max()))
        self._violations += int((ratios > 1.0 + SLACK).any(axis=1).sum())
        return difference, bound.mean(axis=1)

    def impact(self, seed: int) -> TradingImpact | None:
        """What it comes to; None where nothing was traded."""
        if not self._series:
            return None
        series = np.concatenate(self._series)
        shares = {"flipped": series[:, 0], "wavering": series[:, 1], "exposure": series[:, 2]}
        clean, attacked = pairs.Run.of(series[:, 4:8]), pairs.Run.of(series[:, 8:12])
        found = pairs.differences(shares, clean, attacked, seed)
        before, after = clean.outcome(), attacked.outcome()
        lost = abs(after.pnl - before.pnl)
        return TradingImpact(
            boundaries=len(series),
            flipped=found.pop("flipped"),
            wavering=found.pop("wavering"),
            exposure=self._exposure,
            exposure_mean=found.pop("exposure"),
            bound=self._bound,
            bound_mean=float(series[:, 3].mean()),
            ratio=self._ratio,
            violations=self._violations,
            clean=before,
            attacked=after,
            difference=found,
            relative=ratio(lost, abs(before.pnl)),
            of_turnover=ratio(lost, before.turnover),
            enough=before.round_trips >= ENOUGH_TRIPS and before.turns >= ENOUGH_TURNS,
        )
