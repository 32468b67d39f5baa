"""What to think of the best set of a search: its scorecard, and how much of it is luck."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from seawall.lab.research.evaluation import Plan, account_of, matrix_of
from seawall.lab.research.following import buy_and_hold
from seawall.lab.research.market import Market
from seawall.lab.research.performance import (
    Performance,
    moments_of,
    performance_of,
    periods_a_year,
    sharpe,
)
from seawall.lab.research.resampling import Interval, bootstrap
from seawall.lab.research.significance import (
    PIECES,
    deflated_sharpe,
    independent_trials,
    minimum_track_record,
    overfitting,
    probabilistic_sharpe,
)
from seawall.lab.research.space import Parameters

SAMPLE = 200  # sets whose returns are compared: of ten thousand no more would tell
PERIODS = 2048  # rows are compounded to no more
DRAWS = 500


class Judgement(msgspec.Struct, frozen=True):
    """All in sample: the search has seen these rows.

    Attributes:
        parameters: of the set. performance, held: its scorecard, and that of buying and holding.
        sharpe: a year, with its 95 % interval by the stationary bootstrap.
        trials, independent: sets tried, and how many independent ones they are worth.
        psr: probability that the Sharpe ratio is above zero; dsr: the same after allowing for the
            choice among the trials; needed: rows until psr is 95 %.
        overfit: probability of backtest overfitting.
    """

    parameters: Parameters
    performance: Performance
    held: Performance
    sharpe: Interval
    trials: int
    independent: float
    psr: float
    dsr: float
    needed: float
    overfit: float


def judge(
    market: Market, plan: Plan, best: Parameters, tried: Sequence[Parameters], seed: int = 0
) -> Judgement:
    """Judge the best set by all that were tried, those given up included."""
    account = account_of(market, plan, best)
    performance = performance_of(account, market)
    others = [tried[k] for k in _spread(len(tried))]
    matrix = matrix_of(market, plan, [best, *(one for one in others if one != best)], PERIODS)
    size = -(-len(market.path) // PERIODS)
    ratios = np.array([sharpe(column) for column in matrix.T]) / math.sqrt(size)
    ratios = ratios[np.isfinite(ratios)]
    variance = float(ratios.var(ddof=1)) if len(ratios) > 1 else 0.0
    independent = independent_trials(matrix, len(tried))
    moments = moments_of(account.returns)
    year = math.sqrt(periods_a_year(market.cadence))
    enough = len(matrix) >= 4 * PIECES and matrix.shape[1] > 1
    return Judgement(
        parameters=best,
        performance=performance,
        held=performance_of(buy_and_hold(market, plan.following), market),
        sharpe=bootstrap(account.returns, lambda r: sharpe(r) * year, draws=DRAWS, seed=seed),
        trials=len(tried),
        independent=independent,
        psr=probabilistic_sharpe(moments),
        dsr=deflated_sharpe(moments, variance, independent),
        needed=minimum_track_record(moments),
        overfit=overfitting(matrix).probability if enough else math.nan,
    )


def _spread(count: int) -> list[int]:
    """At most SAMPLE of so many, at equal steps."""
    steps: list[int] = np.linspace(0, count - 1, min(count, SAMPLE)).astype(int).tolist()
    return sorted(set(steps))
