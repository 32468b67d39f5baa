import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from seawall.core.errors import DataError, SettingError
from seawall.core.events import Side
from seawall.execution import guards, slippage
from seawall.execution.guards import Guard
from seawall.execution.slippage import Footprint, SlippageModel, fit


def market(
    count: int, coefficient: float, power: float, noise: float, seed: int = 1
) -> tuple[list[Footprint], list[float]]:
    draws = np.random.default_rng(seed)
    orders, costs = [], []
    for _ in range(count):
        order = Footprint(
            draws.uniform(0.1, 1.0), draws.exponential(0.5), draws.uniform(5, 20), draws.random()
        )
        impact = coefficient * order.volatility * order.share**power
        orders.append(order)
        costs.append(order.half_spread + order.walk + impact + noise * draws.standard_t(3))
    return orders, costs


@pytest.mark.parametrize("power", slippage.POWERS)
def test_it_finds_the_law_that_made_the_costs(power: float) -> None:
    found = fit(*market(2_000, 0.8, power, 1.0))
    assert found.power == power
    assert found.coefficient == pytest.approx(0.8, rel=0.03)


def test_a_fifth_of_wild_fills_does_not_move_it_far() -> None:
    orders, costs = market(1_000, 0.8, 0.5, 0.5)
    wild = [c + (1e4 if k % 5 == 0 else 0.0) for k, c in enumerate(costs)]
    assert fit(orders, wild).coefficient == pytest.approx(0.8, rel=0.15)


def test_the_coefficient_is_the_least_absolute_error_of_a_numeric_search() -> None:
    orders, costs = market(201, 0.5, 1.0, 2.0)
    impact = np.array([o.volatility * o.share for o in orders])
    beyond = np.array(costs) - [o.half_spread + o.walk for o in orders]
    best = minimize_scalar(
        lambda a: np.abs(beyond - a * impact).sum(), bounds=(0, 5), method="bounded"
    )
    found = fit(orders, costs)
    assert found.power == 1.0
    assert found.coefficient == pytest.approx(best.x, abs=1e-4)


def test_intervals_hold_what_they_promise_on_new_orders() -> None:
    model = fit(*market(1_000, 0.8, 0.5, 1.0))
    orders, costs = market(4_000, 0.8, 0.5, 1.0, seed=2)
    inside = [
        low <= cost <= high
        for order, cost in zip(orders, costs, strict=True)
        for low, high in (model.interval(order, 0.9),)
    ]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)
    over = [c > model.bound(o, 0.95) for o, c in zip(orders, costs, strict=True)]
    assert np.mean(over) == pytest.approx(0.05, abs=0.02)


def test_scores_are_those_of_a_normal_law_and_a_bad_fill_stands_out() -> None:
    orders, costs = market(2_000, 0.8, 0.5, 1.0)
    model = fit(orders, costs)
    scores = [model.score(o, c) for o, c in zip(orders, costs, strict=True)]
    assert abs(float(np.median(scores))) < 1e-6
    one = Footprint(0.5, 0.2, 10.0, 0.25)
    assert model.score(one, model.expected(one) + 40.0) > slippage.BREAKER
    assert math.isnan(SlippageModel().score(one, 5.0))


def test_few_samples_make_no_model_and_no_finite_bound() -> None:
    with pytest.raises(DataError, match="29 fills"):
        fit(*market(29, 1.0, 0.5, 1.0))
    assert SlippageModel().bound(Footprint(1, 0, 10, 0.1)) == math.inf
    with pytest.raises(SettingError):
        SlippageModel().interval(Footprint(1, 0, 10, 0.1), 1.0)


def test_a_walk_goes_level_by_level() -> None:
    assert slippage.walked([(100, 2), (101, 3)], 4) == (100.5, 4)
    assert slippage.walked([(100, 2)], 4) == (100.0, 2)
    assert math.isnan(slippage.walked([], 4)[0])


@pytest.mark.parametrize(
    ("average", "worst", "said"),
    [
        (0.010, 0.01, ""),
        (0.016, 0.03, "over target"),
        (0.021, 0.03, "warning"),
        (0.031, 0.04, "P1"),
        (0.0, 0.051, "critical"),
    ],
)
def test_the_ladder(average: float, worst: float, said: str) -> None:
    assert slippage.severity(average, worst) == said


@given(
    st.sampled_from([Side.BUY, Side.SELL]),
    st.integers(1_000, 10**7),
    st.integers(1, 50),
    st.floats(0, 500),
)
def test_a_limit_reaches_the_touch_and_keeps_its_bound(
    side: Side, bid: int, spread: int, bps: float
) -> None:
    ask = bid + spread
    limit = guards.limit_of(side, bid, ask, bps)
    touch = ask if side is Side.BUY else bid
    assert side.sign * (limit - touch) >= 0
    if limit != touch:
        assert abs(limit - (bid + ask) / 2) <= (bid + ask) / 2 * bps / 1e4 + 1e-6


def test_guards_bound_price_depth_and_time() -> None:
    guard = Guard(least_bps=2.0, most_bps=50.0, depth_ppm=500_000).check()
    model = fit(*market(500, 0.8, 0.5, 0.1))
    small, large = Footprint(0.1, 0.0, 0.1, 1e-9), Footprint(5.0, 300.0, 100.0, 4.0)
    assert guards.bound_bps(guard, model, small) == 2.0
    assert guards.bound_bps(guard, model, large) == 50.0
    assert guards.bound_bps(guard, SlippageModel(), small) == 50.0
    asks = [(101, 10), (102, 10), (105, 100)]
    assert guards.allowed(guard, Side.BUY, 102, asks, 50) == 10
    assert guards.allowed(guard, Side.BUY, 102, asks, 3) == 3
    assert guards.timed_out(guard, 0, guard.timeout)
    assert not guards.timed_out(guard, 1, guard.timeout)
    for wrong in (Guard(least_bps=9, most_bps=3), Guard(level=1.0), Guard(timeout=0)):
        with pytest.raises(SettingError):
            wrong.check()
