import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.events import Side
from seawall.execution.fallback import Do, Fallback, distance, limit_price, next_step

SHAPE = Fallback()


def step(triggered: int, now: int, left: int, working: bool, tried: bool, priced: int = 0) -> Do:
    return next_step(SHAPE, triggered, now, left, working=working, tried=tried, priced=priced)


def test_the_five_seconds_count_from_the_trigger() -> None:
    placed, triggered = 0, 1_000 * SECOND  # the stop rested for a quarter of an hour
    assert step(0, placed + 900 * SECOND, 5, False, False) is Do.NOTHING
    assert step(triggered, triggered, 5, False, False) is Do.LIMIT
    almost = triggered + 5 * SECOND - 1
    assert step(triggered, almost, 5, True, True) is Do.NOTHING
    assert step(triggered, almost + 1, 5, True, True) is Do.CANCEL
    assert step(triggered, almost + 2, 5, False, True) is Do.MARKET


def test_a_limit_order_that_was_refused_is_followed_by_a_market_order_at_once() -> None:
    assert step(SECOND, SECOND + 1, 5, False, True) is Do.MARKET


@given(st.integers(1, 10**6), st.integers(0, 20 * SECOND), st.booleans(), st.booleans())
def test_nothing_is_done_without_a_position_or_a_trigger(
    left: int, later: int, working: bool, tried: bool
) -> None:
    assert step(SECOND, SECOND + later, 0, working, tried) is Do.NOTHING
    assert step(0, SECOND + later, left, working, tried) is Do.NOTHING


@given(st.integers(1, 10**6), st.booleans())
def test_after_its_time_there_is_never_a_limit_order(left: int, tried: bool) -> None:
    for working in (True, False):
        told = step(SECOND, 6 * SECOND, left, working, tried)
        assert told is (Do.CANCEL if working else Do.MARKET)


def test_the_limit_order_is_priced_anew_each_second() -> None:
    assert step(SECOND, SECOND + SECOND // 2, 5, True, True, SECOND) is Do.NOTHING
    assert step(SECOND, 2 * SECOND, 5, True, True, SECOND) is Do.REPRICE
    assert step(SECOND, 6 * SECOND, 5, True, True, 5 * SECOND) is Do.CANCEL


def test_it_goes_as_far_as_waiting_is_expected_to_cost() -> None:
    assert distance(SHAPE, 0.0, 0.0, 5 * SECOND) == pytest.approx(0.001)
    assert distance(SHAPE, 0.002, 0.0, 4 * SECOND) == pytest.approx(0.002)
    assert distance(SHAPE, 0.0, 0.0017, 5 * SECOND) == pytest.approx(0.0085)
    assert distance(SHAPE, 0.0, -0.01, 5 * SECOND) == pytest.approx(0.001)
    assert distance(SHAPE, 1.0, 1.0, -1) == pytest.approx(0.001)


@given(st.sampled_from([Side.BUY, Side.SELL]), st.floats(10, 1e7), st.floats(0, 0.5))
def test_the_limit_keeps_its_distance(side: Side, mid: float, away: float) -> None:
    price = limit_price(side, mid, away)
    assert price >= 1
    assert side.sign * (price - mid) <= mid * away * (1 + 1e-9) + 1e-6


def test_shapes_out_of_range_are_refused() -> None:
    for wrong in (Fallback(through_bps=-1), Fallback(patience=-1), Fallback(fear=11)):
        with pytest.raises(SettingError):
            wrong.check()
