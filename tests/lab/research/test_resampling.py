"""Resampling: what it keeps, what it may not depend on, and that its intervals cover."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from seawall.core.randomness import generator
from seawall.lab.research.resampling import (
    block_length,
    bootstrap,
    circular,
    shuffle_trades,
    stationary,
)


def autoregressive(n: int, weight: float, seed: int) -> np.ndarray:
    steps = generator(seed, "tests.resampling").standard_normal(n)
    found = np.empty(n)
    last = 0.0
    for k, step in enumerate(steps):
        last = found[k] = weight * last + step
    return found


@given(n=st.integers(2, 200), length=st.floats(1.0, 30.0), number=st.integers(0, 50))
def test_blocks_go_on_where_they_began(n: int, length: float, number: int) -> None:
    drawn = stationary(n, length, 0, number)
    assert drawn.shape == (n,)
    assert ((drawn >= 0) & (drawn < n)).all()
    assert np.array_equal(drawn, stationary(n, length, 0, number))


def test_blocks_are_as_long_as_was_asked_on_average() -> None:
    drawn = stationary(200_000, 20.0, 0, 0)
    breaks = np.sum(np.diff(drawn) % 200_000 != 1)
    assert 200_000 / (breaks + 1) == pytest.approx(20.0, rel=0.03)
    fixed = circular(1000, 7, 0, 0)
    assert len(fixed) == 1000
    assert np.array_equal((np.diff(fixed) % 1000)[:6], np.ones(6))


def test_more_draws_change_none_of_the_others() -> None:
    returns = autoregressive(200, 0.0, 1)
    few, many = [], []
    bootstrap(returns, lambda r: few.append(r.sum()) or 0.0, draws=5, length=3.0)
    bootstrap(returns, lambda r: many.append(r.sum()) or 0.0, draws=9, length=3.0)
    assert few[:5] == many[:5]


def test_a_series_that_remembers_gets_longer_blocks() -> None:
    """For a first-order autoregression the best length is known: (2 G² / D)^(1/3) n^(1/3) with
    G = 2 a / (1 - a)^2 x R(0) ... and D = 2 g(0)²; see Politis, White 2004, section 2."""
    n, weight = 20_000, 0.5
    variance = 1.0 / (1.0 - weight**2)
    pull = 2.0 * variance * weight / (1.0 - weight) ** 2
    push = 2.0 * (1.0 / (1.0 - weight) ** 2) ** 2
    best = (2.0 * pull**2 / push) ** (1.0 / 3.0) * n ** (1.0 / 3.0)
    found = [block_length(autoregressive(n, weight, seed)) for seed in range(5)]
    assert np.median(found) == pytest.approx(best, rel=0.3)
    assert block_length(autoregressive(n, 0.0, 1)) < 8.0
    assert block_length(np.ones(50)) == 1.0


def test_of_independent_returns_the_interval_is_that_of_the_plain_bootstrap() -> None:
    returns = autoregressive(400, 0.0, 2)
    found = bootstrap(returns, lambda r: float(r.mean()), draws=4000, length=1.0)
    plain = stats.bootstrap(
        (returns,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.value == pytest.approx(returns.mean())
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.02)


def test_the_interval_covers_where_returns_depend_on_one_another() -> None:
    hits = plain = 0
    for seed in range(60):
        returns = autoregressive(400, 0.6, 100 + seed)
        blocks = bootstrap(returns, lambda r: float(r.mean()), draws=200, confidence=0.9)
        hits += blocks.low <= 0.0 <= blocks.high
        single = bootstrap(
            returns, lambda r: float(r.mean()), draws=200, confidence=0.9, length=1.0
        )
        plain += single.low <= 0.0 <= single.high
    assert hits >= 46  # 54 would be 90 %
    assert plain < 46


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=60), st.integers(0, 9))
def test_shuffling_keeps_the_sum(trades: list[float], seed: int) -> None:
    profits = np.array(trades)
    found = shuffle_trades(profits, 10_000.0, draws=20, seed=seed)
    assert found.final == pytest.approx(10_000.0 + math.fsum(trades), abs=1e-6)
    assert found.lowest.low <= min(10_000.0, found.final) + 1e-9
    assert 0.0 <= found.drawdown.low <= found.drawdown.high


def test_winners_before_losers_is_the_deepest_fall() -> None:
    profits = np.array([100.0] * 10 + [-100.0] * 10)
    found = shuffle_trades(profits, 10_000.0, draws=500)
    assert found.drawdown.value == pytest.approx(1_000 / 11_000)
    assert found.drawdown.high < found.drawdown.value
