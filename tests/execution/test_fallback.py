import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.events import Side
from seawall.execution.fallback import EDGES, Do, Fallback, Slices, carried, limit_price, next_step
from seawall.execution.fallback_kernels import look, memory, reach, refill, slice_reach, took

SHAPE = Fallback()
BANDS = len(EDGES)
AWAY = np.cumsum(np.full(BANDS, 1e-3))


def step(
    triggered: int, now: int, left: int, working: bool, refused: bool = False, sliced: int = 0
) -> Do:
    return next_step(SHAPE, triggered, now, left, working=working, refused=refused, sliced=sliced)


def test_the_five_seconds_count_from_the_trigger() -> None:
    placed, triggered = 0, 1_000 * SECOND  # the stop rested for a quarter of an hour
    assert step(0, placed + 900 * SECOND, 5, False) is Do.NOTHING
    assert step(triggered, triggered, 5, False) is Do.SLICE
    almost = triggered + 5 * SECOND - 1
    assert step(triggered, almost, 5, False, sliced=triggered) is Do.SLICE
    assert step(triggered, almost + 1, 5, False, sliced=triggered) is Do.MARKET
    assert step(triggered, almost + 1, 5, True, sliced=triggered) is Do.NOTHING


def test_a_slice_that_was_refused_is_followed_by_a_market_order_at_once() -> None:
    assert step(SECOND, SECOND + 1, 5, False, True, SECOND) is Do.MARKET


def test_slices_keep_their_pace() -> None:
    assert step(SECOND, SECOND + SHAPE.every - 1, 5, False, sliced=SECOND) is Do.NOTHING
    assert step(SECOND, SECOND + SHAPE.every, 5, False, sliced=SECOND) is Do.SLICE
    assert SHAPE.slices(0) == 49
    assert SHAPE.slices(SHAPE.patience - 1) == SHAPE.slices(SHAPE.patience + 1) == 0


@given(st.integers(1, 10**6), st.integers(0, 20 * SECOND), st.booleans(), st.booleans())
def test_nothing_is_done_without_a_position_or_a_trigger(
    left: int, later: int, working: bool, refused: bool
) -> None:
    assert step(SECOND, SECOND + later, 0, working, refused) is Do.NOTHING
    assert step(0, SECOND + later, left, working, refused) is Do.NOTHING


@given(st.integers(1, 10**6), st.booleans(), st.integers(0, 9 * SECOND))
def test_after_its_time_there_is_never_a_limit_order(left: int, refused: bool, sliced: int) -> None:
    assert step(SECOND, 6 * SECOND, left, False, refused, sliced) is Do.MARKET
    assert step(SECOND, 6 * SECOND, left, True, refused, sliced) is Do.NOTHING


def test_without_refill_all_goes_at_once_and_no_deeper_than_it_must() -> None:
    lots = np.full(BANDS, 2.0)
    for left, last in ((2.0, 0), (2.1, 1), (19.9, 9)):
        found = reach(AWAY, lots, lots, left, 49, 0.0, 0.0)
        assert found == pytest.approx(AWAY[last], rel=1e-9)
        assert found >= AWAY[last]
    assert reach(AWAY, lots, lots, 20.1, 49, 0.0, 0.0) == pytest.approx(1.0)


def test_in_a_flat_book_the_price_is_that_of_the_lots_over_what_refills() -> None:
    """One lot a band, a tenth back each slice, 20 more slices: a band yields 3 lots in all."""
    lots = np.ones(BANDS)
    assert reach(AWAY, lots, lots, 9.0, 20, 0.1, 0.0) == pytest.approx(AWAY[2])
    # with a drift of one band in ten slices, band k is worth 10 (3 - k) of the slices up to band 3
    worth = sum(1 + 0.1 * min(20, 10 * (3 - k)) for k in range(4))
    found = reach(AWAY, lots, lots, worth - 0.01, 20, 0.1, 1e-4)
    assert found == pytest.approx(AWAY[3], rel=1e-6)


sizes = st.lists(st.floats(0.1, 50.0), min_size=BANDS, max_size=BANDS).map(np.array)


@settings(max_examples=200, deadline=None)
@given(sizes, st.floats(0.1, 400.0), st.integers(0, 60), st.floats(0, 1), st.floats(0, 1e-3))
def test_more_to_leave_goes_deeper_and_more_refill_less_deep(
    lots: np.ndarray, left: float, slices: int, back: float, drift: float
) -> None:
    found = reach(AWAY, lots, lots, left, slices, back, drift)
    assert reach(AWAY, lots, lots, left * 1.5, slices, back, drift) >= found
    assert reach(AWAY, lots, lots, left, slices, back * 0.5, drift) >= found
    assert reach(AWAY, lots, lots, left, slices, back, drift * 2) >= found
    assert reach(AWAY, lots, lots, left, slices + 1, back, drift) <= found
    assert AWAY[0] <= found <= 1.0


def walked(lots: np.ndarray, left: float, slices: int, back: float, drift: float) -> float:
    """What the rule pays where refill and drift are as it takes them to be."""
    taken, cost = np.zeros(BANDS), 0.0
    for k in range(slices + 1):
        there = lots - taken
        deep = reach(AWAY, there, lots, left, slices - k, back, drift)
        for band in range(BANDS):
            if AWAY[band] <= deep:
                here = min(left, there[band])
                taken[band] += here
                left -= here
                cost += here * (AWAY[band] + k * drift)
        taken *= 1.0 - back
    assert left <= 1e-6
    return cost


@settings(max_examples=60, deadline=None)
@given(sizes, st.floats(0.05, 0.95), st.integers(1, 12), st.floats(0, 1), st.floats(0, 1e-3))
def test_it_costs_what_the_best_plan_in_hindsight_does(
    lots: np.ndarray, share: float, slices: int, back: float, drift: float
) -> None:
    """The best plan is a linear program: lots of each band and slice, each band's hole refilled."""
    times = slices + 1
    left = share * lots.sum() * (1 + back * slices)
    cost = (AWAY[:, None] + drift * np.arange(times)[None, :]).ravel()
    bounds_left = np.zeros((BANDS * times, BANDS * times))
    for band in range(BANDS):
        for n in range(times):
            for m in range(n + 1):
                bounds_left[band * times + n, band * times + m] = (1 - back) ** (n - m)
    best = linprog(
        cost,
        A_ub=bounds_left,
        b_ub=np.repeat(lots, times),
        A_eq=np.ones((1, len(cost))),
        b_eq=[left],
    )
    assert best.success
    # a band is all or nothing to the rule where the plan may split it: what it takes too much of
    # one band, and too early, could have come from the first one at the last slice
    most = lots.max() * (AWAY[-1] - AWAY[0] + drift * slices)
    assert best.fun * (1 - 1e-4) <= walked(lots, left, slices, back, drift) <= best.fun + most


@settings(max_examples=100, deadline=None)
@given(sizes, st.floats(0.0, 1.0), st.floats(1.0, 100.0))
def test_it_learns_the_refill_of_its_own_takes(lots: np.ndarray, back: float, left: float) -> None:
    known, taken = memory(BANDS), np.zeros(BANDS)
    for k in range(40):
        there = lots - taken
        deep = slice_reach(known, AWAY, there, left, 40 - k, 0.5, 0.5, 0.0)
        got = 0.0
        for band in range(BANDS):
            here = there[band] if AWAY[band] <= deep else 0.0
            here = min(here, left - got)
            taken[band] += here
            got += here
        took(known, got)
        taken *= 1.0 - back
    assert refill(known, 0.5) == pytest.approx(back, abs=0.03)


def test_where_nothing_comes_back_the_second_slice_takes_nearly_all() -> None:
    lots = np.full(BANDS, 10.0)
    slices, left = Slices(SHAPE), 90.0
    deep = slices.distance(AWAY, lots, 90, 0, 0.0)
    first = int((deep >= AWAY).sum())
    assert first < 5  # most is left to the refill that is hoped for
    slices.took(10 * first)
    lots[:first] = 0.0
    left -= 10 * first
    for waited in range(1, 4):
        deep = slices.distance(AWAY, lots, round(left), waited * SHAPE.every, 0.0)
        got = min(left, lots[deep >= AWAY].sum())
        left -= got
        lots[deep >= AWAY] = 0.0
        slices.took(round(got))
    assert left <= 20.0


def test_a_book_that_only_grows_thinner_has_not_come_back() -> None:
    known, lots = memory(BANDS), np.full(BANDS, 10.0)
    slice_reach(known, AWAY, lots, 30.0, 0, 0.1, 0.5, 0.0)
    took(known, 30.0)
    look(known, np.where(np.arange(BANDS) < 3, 0.0, 5.0), 0.5)
    assert refill(known, 0.1) == pytest.approx(0.1 * 0.5 / 1.5)


def test_a_drift_no_larger_than_chance_makes_is_not_carried_on() -> None:
    assert carried(-0.01, 0.0, 10.0) == 0.0
    assert carried(0.001, 0.0, 10.0) == pytest.approx(0.001)
    assert carried(0.001, 0.001 * np.sqrt(10.0), 10.0) == pytest.approx(0.0, abs=1e-12)
    assert carried(0.001, 0.002, 10.0) == pytest.approx(0.0006)


@given(st.sampled_from([Side.BUY, Side.SELL]), st.floats(10, 1e7), st.floats(0, 0.5))
def test_the_limit_reaches_its_distance(side: Side, mid: float, away: float) -> None:
    price = limit_price(side, mid, away)
    assert price >= 1
    assert side.sign * (price - mid) >= mid * away * (1 - 1e-9) - 1e-6
    assert abs(price - mid) <= mid * away + 1 + 1e-6


def test_shapes_out_of_range_are_refused() -> None:
    for wrong in (
        Fallback(patience=-1),
        Fallback(every=0),
        Fallback(refill=-0.1),
        Fallback(trust=1e6),
    ):
        with pytest.raises(SettingError):
            wrong.check()
