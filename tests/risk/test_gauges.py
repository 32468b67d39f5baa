"""Gauges: the sliding range is exact, bounded, and when it must be coarse it is too wide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.risk.breakers import BREAKERS, Breakers
from seawall.risk.gauges import Gauges, SlidingRange

series = st.lists(st.tuples(st.integers(0, 8), st.floats(1.0, 100.0)), min_size=1, max_size=80)


@settings(max_examples=300, deadline=None)
@given(series)
def test_range_equals_brute_force(steps: list[tuple[int, float]]) -> None:
    window, seen, ts = SlidingRange(10), [], 0
    for gap, value in steps:
        ts += gap
        seen.append((ts, value))
        inside = [v for t, v in seen if t >= ts - 10]
        assert window.push(ts, value) == (min(inside), max(inside))


@settings(max_examples=300, deadline=None)
@given(series)
def test_a_full_range_is_too_wide_and_never_too_narrow(steps: list[tuple[int, float]]) -> None:
    window, seen, ts = SlidingRange(10, capacity=3), [], 0
    for gap, value in steps:
        ts += gap
        seen.append((ts, value))
        inside = [v for t, v in seen if t >= ts - 10]
        low, high = window.push(ts, value)
        assert low <= min(inside)
        assert high >= max(inside)


def test_the_move_is_the_largest_to_now_from_any_price_of_the_minute() -> None:
    random = np.random.default_rng(1)
    prices = 100.0 * np.exp(np.cumsum(0.01 * random.standard_normal(300)))
    gauges, breakers = Gauges(BREAKERS), Breakers()
    for second, price in enumerate(prices.tolist()):
        measures = list(gauges.read(second * SECOND, {"BTC": price}, {}, 1.0, 0.0, breakers))
        past = prices[max(0, second - 60) : second + 1]
        # as a fraction of the earlier price
        assert measures[0].value == pytest.approx(np.max(np.abs(price / past - 1.0)), abs=1e-12)


def test_a_range_needs_room() -> None:
    with pytest.raises(SettingError, match="not 1"):
        SlidingRange(10, capacity=1)
