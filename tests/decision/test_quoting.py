"""Ladders about the middle: rounded away from it, leaning, within the cap, asked for seldom."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.consensus import CONSENSUS
from seawall.core.errors import SettingError
from seawall.decision.market_making import MarketMaking, MarketMakingShape
from seawall.decision.quoting import LIFE, Held, Ladders, ladder

TOUCH = (9_999, 10_001)


def held(lots: int = 0, most: int = 100, touch=TOUCH, long_only: bool = False) -> Held:
    return Held(lots, most, touch, long_only)


def test_flat_it_stands_evenly_about_the_middle():
    bids, asks = ladder(0.001, 0.001, 0.1, held(), 3, 0.0005)
    assert [(level.price, level.size) for level in bids] == [(9_990, 10), (9_985, 10), (9_980, 10)]
    assert [(level.price, level.size) for level in asks] == [
        (10_010, 10),
        (10_015, 10),
        (10_020, 10),
    ]


def test_long_both_sides_go_down():
    flat, long = (ladder(0.001, 0.001, 0.1, held(lots), 1, 0.0) for lots in (0, 50))
    assert flat[0][0].price - long[0][0].price == 5
    assert flat[1][0].price - long[1][0].price == 5


@given(
    st.floats(1e-6, 0.05),
    st.floats(0.0, 0.2),
    st.floats(0.0, 1.0),
    st.integers(-150, 150),
    st.integers(0, 100),
    st.tuples(st.integers(10, 20_000), st.integers(1, 50)),
    st.integers(1, 5),
    st.booleans(),
)
def test_no_ladder_crosses_the_touch_or_goes_beyond_the_cap(
    half, skew, size, lots, most, market, rungs, long_only
):
    bid, spread = market
    one = held(lots, most, (bid, bid + spread), long_only)
    bids, asks = ladder(half, skew, size, one, rungs, 0.0003)
    assert all(0 < level.price < bid + spread for level in bids)
    assert all(level.price > bid for level in asks)
    assert all(level.size > 0 for level in (*bids, *asks))
    assert not bids or lots + sum(level.size for level in bids) <= most
    assert not asks or lots - sum(level.size for level in asks) >= (0 if long_only else -most)


def test_it_asks_again_only_where_it_has_become_wrong():
    ladders = Ladders("maker", [("x", 0)], 1, 0.0)
    said = np.array([[0.001, 0.0, 0.1]])
    assert len(ladders.decide(said, {"x": held()}, 0, 0)) == 1
    assert ladders.decide(said, {"x": held()}, SECOND, 0) == []
    near = held(touch=(10_000, 10_002))
    assert ladders.decide(said, {"x": near}, 2 * SECOND, 0) == []
    far = held(touch=(10_004, 10_006))
    assert len(ladders.decide(said, {"x": far}, 3 * SECOND, 0)) == 1
    assert len(ladders.decide(said, {"x": held(5, touch=(10_004, 10_006))}, 4 * SECOND, 0)) == 1
    later = 4 * SECOND + LIFE // 2
    assert len(ladders.decide(said, {"x": held(5, touch=(10_004, 10_006))}, later, 0)) == 1
    ladders.again()
    assert len(ladders.decide(said, {"x": held(5, touch=(10_004, 10_006))}, later, 0)) == 1
    said[:] = np.nan
    assert ladders.decide(said, {"x": far}, later, 0) == []


def test_the_market_maker_is_wider_in_restless_times_and_silent_where_it_knows_nothing():
    rows = np.zeros(3, CONSENSUS)
    rows["flags"] = [1, 1, 0]
    rows["regime"] = 2
    rows["volatility"] = [0.01, 2.0, 2.0]
    maker = MarketMaking(MarketMakingShape(half_bps=1.0), SECOND)
    said = maker.quotes(rows, maker.start())
    assert said["half"][0] == pytest.approx(1e-4)
    assert said["half"][1] > 5e-4
    assert np.isnan(said["half"][2])


def test_parameters_that_make_no_sense_are_refused():
    with pytest.raises(SettingError, match="half_bps must be above 0"):
        MarketMakingShape(half_bps=0.0)
