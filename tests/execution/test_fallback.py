import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.events import Side
from seawall.execution.fallback import Do, Fallback, limit_price, next_step

SHAPE = Fallback()


def test_the_five_seconds_count_from_the_trigger() -> None:
    placed, triggered = 0, 1_000 * SECOND  # the stop rested for a quarter of an hour
    assert next_step(SHAPE, 0, placed + 900 * SECOND, 5, False, False) is Do.NOTHING
    assert next_step(SHAPE, triggered, triggered, 5, False, False) is Do.LIMIT
    almost = triggered + 5 * SECOND - 1
    assert next_step(SHAPE, triggered, almost, 5, True, True) is Do.NOTHING
    assert next_step(SHAPE, triggered, almost + 1, 5, True, True) is Do.CANCEL
    assert next_step(SHAPE, triggered, almost + 2, 5, False, True) is Do.MARKET


def test_a_limit_order_that_was_refused_is_followed_by_a_market_order_at_once() -> None:
    assert next_step(SHAPE, SECOND, SECOND + 1, 5, False, True) is Do.MARKET


@given(st.integers(1, 10**6), st.integers(0, 20 * SECOND), st.booleans(), st.booleans())
def test_nothing_is_done_without_a_position_or_a_trigger(
    left: int, later: int, working: bool, tried: bool
) -> None:
    assert next_step(SHAPE, SECOND, SECOND + later, 0, working, tried) is Do.NOTHING
    assert next_step(SHAPE, 0, SECOND + later, left, working, tried) is Do.NOTHING


@given(st.integers(1, 10**6), st.booleans())
def test_after_its_time_there_is_never_a_limit_order(left: int, tried: bool) -> None:
    for working in (True, False):
        step = next_step(SHAPE, SECOND, 6 * SECOND, left, working, tried)
        assert step is (Do.CANCEL if working else Do.MARKET)


def test_the_limit_goes_through_the_trigger() -> None:
    assert limit_price(Fallback(through_bps=10), Side.SELL, 100_000) == 99_900
    assert limit_price(Fallback(through_bps=10), Side.BUY, 100_000) == 100_100
    assert limit_price(Fallback(through_bps=9_999), Side.SELL, 2) == 1


def test_shapes_out_of_range_are_refused() -> None:
    for wrong in (Fallback(through_bps=-1), Fallback(patience=-1)):
        with pytest.raises(SettingError):
            wrong.check()
