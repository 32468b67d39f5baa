"""Slopes, spreads and components, each held to a library or to a case worked out by hand."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.decomposition import PCA

from seawall.market.features import vpin_kernels as vpins
from seawall.market.features.fit_kernels import (
    LAGS,
    collect,
    first_component,
    roll_spread,
    slope,
    split_three,
    split_two,
    square_sum,
)
from tests.tapes import COMPILED

MANY = 60 if COMPILED else 5


def components(rows: np.ndarray) -> tuple[bool, np.ndarray]:
    """The kernel's first component of rows (n, d)."""
    d = rows.shape[1]
    mean, scatter, weights = np.zeros(d), np.zeros((d, d)), np.zeros(d)
    for count, row in enumerate(rows, 1):
        collect(count, row, mean, scatter)
    return first_component(scatter, weights), weights


@pytest.mark.parametrize("seed", range(MANY))
def test_the_slope_and_its_error_are_those_of_statsmodels(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.integers(-1000, 1000, 100)
    noise = np.convolve(random.standard_normal(103), [1, 0.6, 0.4, 0.2], "valid")
    y = np.round(0.3 * x + 200 * noise).astype(np.int64)
    fit = sm.OLS(y, sm.add_constant(x)).fit(cov_type="HAC", cov_kwds={"maxlags": LAGS})
    found, t = slope(x, y, x.mean(), y.mean(), np.zeros(100 + LAGS))
    assert found == pytest.approx(fit.params[1], rel=1e-10)
    assert t == pytest.approx(fit.tvalues[1], rel=1e-9)


def test_no_slope_where_nothing_varies() -> None:
    ones = np.ones(100, np.int64)
    found = slope(ones, np.arange(100), 1.0, 49.5, np.zeros(100 + LAGS))
    assert np.isnan(found).all()
    found, t = slope(np.arange(100), 3 * np.arange(100), 49.5, 148.5, np.zeros(100 + LAGS))
    assert found == 3.0
    assert math.isnan(t)


@settings(max_examples=MANY, deadline=None)
@given(st.lists(st.integers(-(1 << 40), 1 << 40), min_size=2, max_size=100))
def test_squares_do_not_lose_what_is_small_beside_what_is_large(values: list[int]) -> None:
    array = np.array(values)
    mean = sum(values) / len(values)
    exact = math.fsum((value - mean) ** 2 for value in values)
    assert square_sum(array, mean) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("seed", range(MANY))
@pytest.mark.parametrize("d", [2, 10])
def test_the_component_is_that_of_scikit_learn(seed: int, d: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.standard_normal((300, d)) @ random.standard_normal((d, d)) + 5.0
    there, weights = components(rows)
    assert there
    wanted = PCA(n_components=1).fit(rows).components_[0]
    wanted /= np.abs(wanted).sum() * (1 if wanted.sum() >= 0 else -1)
    np.testing.assert_allclose(weights, wanted, rtol=1e-7, atol=1e-9)
    assert np.abs(weights).sum() == pytest.approx(1)
    assert weights.sum() >= 0


def test_there_is_no_component_of_what_stands_still() -> None:
    there, _ = components(np.full((300, 10), 7.0))
    assert not there


def test_a_component_worked_out_by_hand() -> None:
    """Levels that move 3 : 1 together: the weights are 3/4 and 1/4."""
    there, weights = components(np.array([[3.0, 1.0], [-3.0, -1.0], [6.0, 2.0], [0.0, 0.0]]))
    assert there
    assert weights.tolist() == pytest.approx([0.75, 0.25])


def test_roll_of_a_pure_bounce() -> None:
    """Trades at 99, 101, 99 … : the spread is 2; each pair of changes is (2, -2) or (-2, 2)."""
    n = 1000
    found = roll_spread(n, 0, 0, -4 * n)
    assert found == pytest.approx(4.0 * math.sqrt(n / (n - 1)))
    random = np.random.default_rng(4)
    price = 100 + np.cumsum(random.integers(-1, 2, 200_000)) * 0 + random.choice([-1, 1], 200_000)
    change = np.diff(price)
    new, old = change[1:], change[:-1]
    found = roll_spread(len(new), new.sum(), old.sum(), (new * old).sum())
    assert found == pytest.approx(2.0, rel=0.02)  # sides drawn freely: Roll's own model
    assert roll_spread(10, 0, 0, 5) == 0.0
    assert math.isnan(roll_spread(1, 1, 1, 1))


def sums_of(sign: np.ndarray, price: np.ndarray) -> tuple[int, ...]:
    """n, r01, r12, r02, p0, p1, p2 of a series of signed trades."""
    q0, q1, q2, change = sign[2:], sign[1:-1], sign[:-2], np.diff(price)[1:]
    pairs = (q0 * q1, q1 * q2, q0 * q2, change * q0, change * q1, change * q2)
    return len(q0), *(int(values.sum()) for values in pairs)


@pytest.mark.parametrize("seed", range(MANY))
def test_the_splits_are_least_squares(seed: int) -> None:
    random = np.random.default_rng(seed)
    sign = np.cumprod(random.choice([-1, 1], 200, p=[0.7, 0.3]))
    price = np.cumsum(random.integers(-3, 4, 200)) + 2 * sign
    n, r01, r12, r02, p0, p1, p2 = sums_of(sign, price)
    q = np.column_stack((sign[2:], sign[1:-1], sign[:-2]))
    change = np.diff(price)[1:]
    two = sm.OLS(change, np.column_stack((q[:, 0] - q[:, 1], q[:, 1]))).fit().params
    spread, share = split_two(n, r01, p0, p1)
    assert (spread, share) == pytest.approx((2 * two[0], two[1] / two[0]), rel=1e-9)
    half, second, third = sm.OLS(change, q).fit().params
    adverse = -third / half / np.mean(q[:, 1] * q[:, 2])
    found = split_three(n, r01, r12, r02, p0, p1, p2)
    assert found == pytest.approx((adverse, 1 + second / half - adverse), rel=1e-7)


def test_the_splits_find_what_made_the_prices() -> None:
    """Huang and Stoll's own model: value moves by the surprise of a trade, quotes by inventory."""
    random = np.random.default_rng(8)
    n, half, adverse, inventory, turn = 200_000, 1000.0, 0.3, 0.2, 0.7
    turns = np.where(random.random(n) < turn, -1, 1)
    sign = np.cumprod(turns)
    surprise = sign[1:-1] - (1 - 2 * turn) * sign[:-2]
    value = np.cumsum(adverse * half * surprise)
    stock = inventory * half * np.cumsum(sign[1:-1])
    price = np.round(value + stock + half * sign[2:]).astype(np.int64)
    sums = sums_of(sign[2:], price)
    found = split_three(*sums)
    assert found == pytest.approx((adverse, inventory), abs=0.005)
    spread, _ = split_two(*sums[:2], *sums[4:6])
    assert spread > 0


def test_the_split_of_one_spread_all_order_processing() -> None:
    """Prices that only bounce: lambda is 0, alpha and beta are 0, the spread is that between."""
    signs = np.array([1, -1, 1, 1, -1, -1, 1, -1, 1, -1, -1, 1])
    n, r01, r12, r02, p0, p1, p2 = sums_of(signs, 3 * signs)
    assert split_two(n, r01, p0, p1) == pytest.approx((6.0, 0.0))
    assert split_three(n, r01, r12, r02, p0, p1, p2) == pytest.approx((0.0, 0.0), abs=1e-12)
    # signs that do not foretell the next one cannot tell value from inventory
    assert np.isnan(split_three(9, 1, 0, 1, 3, 1, 1)).all()


def test_vpin_worked_out_by_hand() -> None:
    """Equal volumes: a bucket is twenty frames; each leans by 2 Phi(1) - 1."""
    state = np.zeros(1, vpins.VPIN)[0]
    vpins.begin(state)
    for frame in range(20 * vpins.BUCKETS):
        assert math.isnan(state["vpin"])
        vpins.step(state, 3.0, 0.01, 0.01)
        assert state["buckets"] == (frame + 1) // 20
    assert state["vpin"] == pytest.approx(2 * norm.cdf(1.0) - 1, rel=1e-12)
    for frame in range(20):
        vpins.step(state, 3.0, 0.01 if frame % 2 else -0.01, 0.01)
    assert state["vpin"] == pytest.approx(49 / 50 * (2 * norm.cdf(1.0) - 1), rel=1e-12)


def test_vpin_step_by_step_equals_a_block() -> None:
    random = np.random.default_rng(2)
    volumes, changes = random.exponential(1, 4000), random.standard_normal(4000)
    one, two = np.zeros(2, vpins.VPIN)
    vpins.begin(one)
    vpins.begin(two)
    vpins.run(one, volumes, changes, np.ones(4000))
    for volume, change in zip(volumes, changes, strict=True):
        vpins.step(two, volume, change, 1.0)
    assert one.tobytes() == two.tobytes()
    assert 0 < one["vpin"] < 1
