"""The scorecard against plain definitions and independent solvers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linprog

from seawall.core.clock import MINUTE
from seawall.core.randomness import generator
from seawall.lab.research import performance
from seawall.lab.research.following import FollowingShape, follow
from seawall.lab.research.performance import moments_of, performance_of
from tests.lab.research.walks import walk

RETURNS = generator(1, "tests.performance").standard_t(4, 300) * 0.01 + 0.001


def test_sharpe_and_moments_are_those_of_scipy() -> None:
    found = moments_of(RETURNS)
    assert found.sharpe == pytest.approx(RETURNS.mean() / RETURNS.std(ddof=1), rel=1e-12)
    assert found.skewness == pytest.approx(stats.skew(RETURNS), rel=1e-10)
    assert found.kurtosis == pytest.approx(stats.kurtosis(RETURNS, fisher=False), rel=1e-10)


def test_sortino_counts_only_what_fell_short() -> None:
    returns = np.array([0.02, -0.01, 0.03, -0.03])
    downside = math.sqrt((0.01**2 + 0.03**2) / 4)
    assert performance.sortino(returns) == pytest.approx(0.0025 / downside)


@pytest.mark.parametrize("tail", [0.05, 0.013, 0.5, 1.0])
def test_cvar_is_the_least_that_rockafellar_and_uryasev_minimise(tail: float) -> None:
    n = len(RETURNS)
    # min z + sum(u) / (tail n) with u >= loss - z, u >= 0
    answer = linprog(
        np.concatenate(([1.0], np.full(n, 1.0 / (tail * n)))),
        A_ub=np.column_stack([-np.ones(n), -np.eye(n)]),
        b_ub=RETURNS,
        bounds=[(None, None)] + [(0.0, None)] * n,
    )
    assert performance.cvar(RETURNS, tail) == pytest.approx(answer.fun, rel=1e-9)


def test_the_start_is_a_peak_too() -> None:
    assert performance.max_drawdown(np.array([90.0, 95.0]), 100.0) == pytest.approx(0.1)


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=40))
def test_drawdown_is_the_worst_of_all_pairs(steps: list[float]) -> None:
    equity = 100.0 * np.cumprod(1.0 + np.array(steps))
    curve = [100.0, *equity.tolist()]
    slow = max(1.0 - b / a for i, a in enumerate(curve) for b in curve[i:])
    assert performance.max_drawdown(equity, 100.0) == pytest.approx(slow, abs=1e-12)


def test_what_never_moves_has_no_ratio() -> None:
    assert math.isnan(performance.sharpe(np.zeros(10)))
    assert math.isnan(performance.sharpe(np.array([0.1])))
    assert math.isnan(performance.sortino(np.full(5, 0.01)))


def test_a_year_has_365_days() -> None:
    assert performance.periods_a_year(MINUTE) == 525_600


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), first=st.sampled_from([0, 150]))
def test_the_scorecard_of_an_account(seed: int, first: int) -> None:
    market = walk(400, seed)
    said = np.sign(generator(seed, "tests.scorecard").standard_normal(400))
    account = follow(market, said, FollowingShape(cap=1.0, hold=0.0))
    found = performance_of(account, market, first)
    start = account.equity[first - 1] if first else 100_000.0
    assert found.rows == 400 - first
    assert found.total_return == pytest.approx(account.equity[-1] / start - 1.0)
    fills = account.fills[account.fills["row"] >= first]
    assert found.fills == len(fills)
    years = found.rows / 525_600
    traded = (np.abs(fills["lots"]) * fills["price"]).sum() * account.unit
    assert found.turnover == pytest.approx(traded / account.equity[first:].mean() / years)
    assert found.sharpe == pytest.approx(found.sharpe_per_row * math.sqrt(525_600))
    held = np.zeros(400)
    for fill in account.fills:
        held[fill["row"] :] += fill["lots"]
    share = np.abs(held) * market.path["mark"] * account.unit / account.equity
    assert found.exposure == pytest.approx(share[first:].mean())
    assert 0.0 <= found.hit_rate <= 1.0
