import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.events import Side
from seawall.execution.tca import PARTS, Course, Trade, analyse, totals

PRICE = st.floats(50, 150)


def course(side: Side, lots: int, trades: tuple[Trade, ...], **given: float) -> Course:
    values = {"decided_mid": 100.0, "begun_mid": 101.0, "ended_mid": 103.0, "vwap": 101.5}
    values = {**values, "twap": 101.0, **given}
    return Course(
        name="p-1",
        instrument="X",
        strategy="rules",
        algorithm="twap",
        side=side,
        lots=lots,
        decided=1,
        begun=2,
        ended=3,
        trades=trades,
        **values,
    )


def test_a_worked_example() -> None:
    """Buy 100 at a decision mid of 100; 60 are bought in two orders, fees 0.1 a lot.

    Paper: 60 x 0 + 40 x 3 missed. First order: mid 101, half spread 0.5, paid 101.7 for 20; second:
    mid 102, paid 102.5 for 40.
    """
    trades = (Trade(101.7, 20, 0.1, 101.0, 0.5), Trade(102.5, 40, 0.1, 102.0, 0.5))
    found = analyse(course(Side.BUY, 100, trades))
    assert found.delay == pytest.approx(60.0)  # 60 lots x 1, over 10,000
    assert found.spread == pytest.approx(30.0)
    assert found.impact == pytest.approx(4.0)  # 0.2 beyond the touch on 20
    assert found.timing == pytest.approx(40.0)  # the mid rose by 1 before the 40
    assert found.fees == pytest.approx(6.0)
    assert found.opportunity == pytest.approx(120.0)
    assert found.shortfall == pytest.approx(34 + 100 + 6 + 120)
    assert found.average == pytest.approx((101.7 * 20 + 102.5 * 40) / 60)
    assert found.against_twap == pytest.approx((found.average / 101 - 1) * 1e4)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([Side.BUY, Side.SELL]),
    st.integers(0, 50),
    PRICE,
    PRICE,
    PRICE,
    st.lists(
        st.builds(Trade, PRICE, st.integers(1, 100), st.floats(-0.1, 0.5), PRICE, st.floats(0, 2)),
        max_size=8,
    ),
)
def test_the_parts_are_the_shortfall_and_that_is_perold_s(
    side: Side, left: int, decided: float, begun: float, ended: float, trades: list[Trade]
) -> None:
    lots = sum(t.lots for t in trades) + left
    if not lots:
        return
    one = course(side, lots, tuple(trades), decided_mid=decided, begun_mid=begun, ended_mid=ended)
    found = analyse(one)
    assert found.shortfall == pytest.approx(sum(getattr(found, name) for name in PARTS), abs=1e-6)
    # the paper portfolio at the end against the real one, in money
    paper = side.sign * lots * (ended - decided)
    real = math.fsum(side.sign * t.lots * (ended - t.price) - t.fee * t.lots for t in trades)
    assert found.shortfall * lots * decided / 1e4 == pytest.approx(paper - real, abs=1e-6)


def test_nothing_filled_is_all_opportunity_and_what_is_unknown_is_said() -> None:
    found = analyse(course(Side.SELL, 10, ()))
    assert found.shortfall == found.opportunity == pytest.approx(-300.0)
    assert math.isnan(found.average)
    lost = analyse(course(Side.BUY, 10, (), ended_mid=math.nan))
    assert math.isnan(lost.shortfall)
    (line,) = totals([found, lost])
    assert (line.parents, line.unknown, line.filled) == (2, 1, 0.0)
    assert line.shortfall == pytest.approx(-300.0)


def test_totals_weigh_by_notional() -> None:
    one = analyse(course(Side.BUY, 10, (Trade(101.0, 10, 0.0, 101.0, 0.0),)))
    two = analyse(course(Side.BUY, 30, (Trade(103.0, 30, 0.0, 101.0, 0.0),)))
    (line,) = totals([one, two])
    assert line.shortfall == pytest.approx((100 + 3 * 300) / 4)
    assert line.filled == 1.0
