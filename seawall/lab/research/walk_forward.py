"""Walk-forward: choose parameters on the past, trade them on what comes next, and go on.

Only what was traded out of sample is counted; it is one account that goes through all folds, so
that what it costs to change from one set to the next is in it.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import SettingError
from seawall.lab.research.evaluation import OBJECTIVES, Plan, account_of, build
from seawall.lab.research.following import Account, buy_and_hold, follow, returns_of
from seawall.lab.research.market import Market
from seawall.lab.research.performance import (
    Moments,
    Performance,
    moments_of,
    performance_of,
    periods_a_year,
)
from seawall.lab.research.significance import (
    deflated_sharpe,
    independent_trials,
    minimum_track_record,
    overfitting,
    probabilistic_sharpe,
)
from seawall.lab.research.space import Parameters

Array = NDArray[np.float64]
MOST_PERIODS = 4096  # of the matrix of all sets' returns: rows are compounded to no more
LEAST_FOLD = 32  # rows


class WalkForwardShape(msgspec.Struct, frozen=True, kw_only=True):
    """How the market is cut.

    Attributes:
        folds: pieces out of sample, one after the other, of equal length.
        train: rows in sample before each; anchored: all rows from the start on instead.
        purge: rows cut off the end of each piece in sample, so that no position or label of it
            reaches into what it is judged on; embargo: so many more, for what only fades.
    """

    folds: int = 10
    train: float = 0.3  # share of all rows that lies before the first fold
    anchored: bool = False
    purge: int = 1
    embargo: int = 0

    def __post_init__(self) -> None:
        if not (self.folds >= 1 and 0.0 < self.train < 1.0):
            raise SettingError("walk-forward: folds must be 1 or more and train in (0, 1)")
        if not (self.purge >= 0 and self.embargo >= 0):
            raise SettingError("walk-forward: purge and embargo must be 0 rows or more")


class Split(NamedTuple):
    """Rows [first, past) in sample, [start, end) out of sample."""

    first: int
    past: int
    start: int
    end: int


class Fold(msgspec.Struct, frozen=True):
    """One fold. value: of the objective in sample, of the set chosen; `outside`: out of sample;
    `typical`: median of all sets out of sample, which choosing should beat."""

    split: Split
    since: int  # ns UTC, of the first row out of sample
    parameters: Parameters
    value: float
    outside: float
    typical: float
    total_return: float


class WalkForward(NamedTuple):
    """What came of it, out of sample.

    Attributes:
        first: the first row out of sample. account: of all rows; flat before `first`.
        performance, held: scorecards out of sample: ours, and of who buys at `first` and holds.
        moments: of the returns out of sample. trials: sets tried, and how many independent ones
            they are worth. psr: probability that the Sharpe ratio is above zero; dsr: the same
            after allowing for the trials; needed: rows until psr is 95 %.
        overfit: probability of backtest overfitting of the choice among these sets.
    """

    folds: list[Fold]
    first: int
    account: Account
    performance: Performance
    held: Performance
    moments: Moments
    trials: int
    independent: float
    psr: float
    dsr: float
    needed: float
    overfit: float


def splits(rows: int, shape: WalkForwardShape) -> list[Split]:
    """The folds of so many rows, in order; their outer parts follow one another without a gap.

    Raises:
        SettingError: too few rows.
    """
    edges = np.linspace(round(rows * shape.train), rows, shape.folds + 1).astype(int).tolist()
    length = edges[0]
    gap = shape.purge + shape.embargo
    if min(length - gap, *np.diff(edges).tolist()) < LEAST_FOLD:
        raise SettingError(
            f"walk-forward: {rows} rows are too few for {shape.folds} folds with {gap} rows "
            "between; give fewer folds or more of the market"
        )
    return [
        Split(0 if shape.anchored else start - length, start - gap, start, end)
        for start, end in itertools.pairwise(edges)
    ]


def walk_forward(
    market: Market,
    plan: Plan,
    sets: Sequence[Parameters],
    shape: WalkForwardShape,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> WalkForward:
    """Walk forward over a market, choosing among these sets at each fold.

    In sample a set is judged by the rows of one run of it over the whole market: a strategy is
    causal, so the rows of a fold know nothing of what came after it.

    Args:
        report: told how many of the sets have been run.
    """
    if not sets:
        raise SettingError("walk-forward: no set to choose from")
    cuts = splits(len(market.path), shape)
    year = periods_a_year(market.cadence)
    objective = OBJECTIVES[plan.objective]
    size = max(1, -(-len(market.path) // MOST_PERIODS))
    inside, outside = np.empty((len(cuts), len(sets))), np.empty((len(cuts), len(sets)))
    columns: list[Array] = []
    for number, parameters in enumerate(sets):
        equity = account_of(market, plan, parameters, fills=False).equity
        before = np.concatenate(([plan.following.capital], equity))
        for k, cut in enumerate(cuts):
            inside[k, number] = objective(equity[cut.first : cut.past], before[cut.first], year)
            outside[k, number] = objective(equity[cut.start : cut.end], before[cut.start], year)
        seen = equity[cuts[0].start :]
        columns.append(returns_of(seen[size - 1 :: size], before[cuts[0].start]))
        report(number + 1, len(sets))
    chosen = [_best(row) for row in inside]
    account = follow(market, _stitched(market, plan, sets, chosen, cuts), plan.following)
    returns = account.returns
    folds = [
        Fold(
            cut,
            int(market.path["ts"][cut.start]),
            sets[best],
            float(inside[k, best]),
            objective(account.equity[cut.start : cut.end], account.equity[cut.start - 1], year),
            float(np.nanmedian(outside[k])) if np.isfinite(outside[k]).any() else math.nan,
            float(np.prod(1.0 + returns[cut.start : cut.end]) - 1.0),
        )
        for k, (cut, best) in enumerate(zip(cuts, chosen, strict=True))
    ]
    return _judged(market, plan, folds, cuts[0].start, account, np.column_stack(columns), size)


def _best(values: Array) -> int:
    """The best set; the first of several, and of those that say nothing."""
    return int(np.argmax(np.where(np.isfinite(values), values, -math.inf)))


def _stitched(
    market: Market,
    plan: Plan,
    sets: Sequence[Parameters],
    chosen: Sequence[int],
    cuts: Sequence[Split],
) -> Array:
    """(n,) what is wanted: of each fold's set its exposures there; nothing before the first.

    A fold begins with what its own set wants to hold by then, also where it says nothing new.
    """
    wanted = np.full(len(market.path), np.nan)
    for best, cut in zip(chosen, cuts, strict=True):
        strategy = build(plan, sets[best], market.cadence)
        said = strategy.exposures(market.rows[: cut.end], strategy.start())
        known = np.flatnonzero(np.isfinite(said[: cut.start + 1]))
        wanted[cut.start : cut.end] = said[cut.start :]
        wanted[cut.start] = said[known[-1]] if len(known) else 0.0
    return wanted


def _judged(
    market: Market,
    plan: Plan,
    folds: list[Fold],
    first: int,
    account: Account,
    matrix: Array,
    size: int,
) -> WalkForward:
    moments = moments_of(account.returns[first:])
    ratios = np.array([moments_of(column).sharpe for column in matrix.T])
    ratios = ratios[np.isfinite(ratios)] / math.sqrt(size)  # of compounded rows, per row
    variance = float(ratios.var(ddof=1)) if len(ratios) > 1 else 0.0
    independent = independent_trials(matrix)
    later = market.between(first, len(market.path))
    held = buy_and_hold(later, plan.following)
    pieces = 16 if len(matrix) >= 64 and matrix.shape[1] > 1 else 0
    return WalkForward(
        folds=folds,
        first=first,
        account=account,
        performance=performance_of(account, market, first),
        held=performance_of(held, later),
        moments=moments,
        trials=matrix.shape[1],
        independent=independent,
        psr=probabilistic_sharpe(moments),
        dsr=deflated_sharpe(moments, variance, independent),
        needed=minimum_track_record(moments),
        overfit=overfitting(matrix, pieces).probability if pieces else math.nan,
    )
