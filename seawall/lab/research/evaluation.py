"""One parameter set over a market: a value, and the account behind it. What a worker runs."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import SettingError
from seawall.decision.strategies import Kind, Strategy, exposing, kind_of, shape_of
from seawall.lab.research import performance
from seawall.lab.research.following import (
    MOST_FILLS_PER_ROW,
    Account,
    Follower,
    FollowingShape,
    returns_of,
)
from seawall.lab.research.market import Market
from seawall.lab.research.space import Parameters

Array = NDArray[np.float64]
Objective = Callable[[Array, float, float], float]  # equity, its start, rows a year


def _sharpe(equity: Array, start: float, year: float) -> float:
    return performance.sharpe(returns_of(equity, start)) * math.sqrt(year)


def _sortino(equity: Array, start: float, year: float) -> float:
    return performance.sortino(returns_of(equity, start)) * math.sqrt(year)


def _calmar(equity: Array, start: float, year: float) -> float:
    worst = performance.max_drawdown(equity, start)
    return _annual(equity, start, year) / worst if worst > 0.0 else math.nan


def _annual(equity: Array, start: float, year: float) -> float:
    growth = float(equity[-1] / start)
    return float(growth ** (year / len(equity)) - 1.0) if growth > 0.0 else -1.0


OBJECTIVES: dict[str, Objective] = {
    "sharpe": _sharpe,
    "sortino": _sortino,
    "calmar": _calmar,
    "return": _annual,
}


@functools.cache
def kind_named(strategy: str) -> Kind:
    """As `kind_of`; a file is run once in each process, not once for each set."""
    return kind_of(strategy)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for all sets of a search.

    Attributes:
        strategy: of STRATEGIES, or the path of a file. following: the account's rules.
        objective: of OBJECTIVES, the more the better. steps: pieces of the market after which a
            hopeless set may be given up.
    """

    strategy: str
    following: FollowingShape = FollowingShape()
    objective: str = "sharpe"
    steps: int = 5

    def __post_init__(self) -> None:
        kind_named(self.strategy)
        if self.objective not in OBJECTIVES:
            raise SettingError(
                f"no objective is called {self.objective!r}; choose from "
                f"{', '.join(sorted(OBJECTIVES))}"
            )
        if self.steps < 1:
            raise SettingError(f"steps is {self.steps}; it must be 1 or more")


class Evaluation(NamedTuple):
    """What came of a set.

    Attributes:
        value: of the objective over all rows; of those seen where it was given up; NaN: no value.
        so_far: the objective after each step but the last.
        pruned: given up. refused: why the strategy does not take the set, empty where it does.
        orders: fills.
    """

    value: float
    so_far: tuple[float, ...]
    pruned: bool
    refused: str
    orders: int


def build(plan: Plan, parameters: Parameters, cadence: int) -> Strategy:
    """The strategy with these parameters.

    Raises:
        SettingError: it does not take them.
    """
    kind = kind_named(plan.strategy)
    given: dict[str, Any] = dict(parameters)
    if "volatility" in kind.shape.__struct_fields__:
        given.setdefault("volatility", plan.following.volatility)
    return exposing(plan.strategy, kind.build(shape_of(kind, given), cadence))


def evaluate(
    market: Market, plan: Plan, parameters: Parameters, least: Sequence[float] = ()
) -> Evaluation:
    """The objective of one set.

    Args:
        least: after each step, the value below which the set is given up.
    """
    try:
        strategy = build(plan, parameters, market.cadence)
    except SettingError as error:
        return Evaluation(math.nan, (), False, str(error), 0)
    objective = OBJECTIVES[plan.objective]
    follower, state = Follower(market, plan.following, 0), strategy.start()
    equity = np.empty(len(market.path))
    year = performance.periods_a_year(market.cadence)
    edges = np.linspace(0, len(market.path), plan.steps + 1).astype(int).tolist()
    so_far: list[float] = []
    for number, (first, past) in enumerate(itertools.pairwise(edges)):
        exposures = strategy.exposures(market.rows[first:past], state)
        follower.follow(market.path[first:past], exposures, equity[first:past])
        if past == edges[-1]:
            break
        so_far.append(objective(equity[:past], plan.following.capital, year) if past else math.nan)
        if number < len(least) and so_far[-1] < least[number]:
            orders = follower.account(equity[:past]).orders
            return Evaluation(so_far[-1], tuple(so_far), True, "", orders)
    value = objective(equity, plan.following.capital, year)
    return Evaluation(value, tuple(so_far), False, "", follower.account(equity).orders)


def account_of(market: Market, plan: Plan, parameters: Parameters, fills: bool = True) -> Account:
    """The whole account of one set, with its fills.

    Raises:
        SettingError: the strategy does not take the set.
    """
    strategy = build(plan, parameters, market.cadence)
    exposures = strategy.exposures(market.rows, strategy.start())
    capacity = MOST_FILLS_PER_ROW * len(market.path) if fills else 0
    follower = Follower(market, plan.following, capacity)
    equity = np.empty(len(market.path))
    follower.follow(market.path, exposures, equity)
    return follower.account(equity)


def matrix_of(market: Market, plan: Plan, sets: Sequence[Parameters], periods: int) -> Array:
    """(T, sets) returns of each, rows compounded so that there are at most so many periods."""
    size = max(1, -(-len(market.path) // periods))
    columns = []
    for parameters in sets:
        equity = account_of(market, plan, parameters, fills=False).equity
        ends: Any = equity[size - 1 :: size]
        columns.append(returns_of(ends, plan.following.capital))
    return np.column_stack(columns)
