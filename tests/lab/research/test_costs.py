"""Where the money went: the parts by hand, and that they sum to the shortfall."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import DataError
from seawall.core.randomness import generator
from seawall.lab.research.costs import breakdown, breakdown_of, funding_paid
from seawall.lab.research.following import FollowingShape, follow
from tests.lab.research.walks import walk


def test_a_purchase_by_hand() -> None:
    """2 BTC: decided at 100, arrives at 101, the book is 101 - 103 when it fills at 103.5."""
    found = breakdown([2.0], [103.5], [0.1], [100.0], [101.0], [101.0], [103.0], funding=0.25)
    assert (found.latency, found.waiting, found.spread, found.impact) == (2.0, 2.0, 2.0, 1.0)
    assert (found.fees, found.funding, found.traded) == (0.1, 0.25, 207.0)
    assert found.total == pytest.approx(2 * (103.5 - 100) + 0.35)
    assert found.bps(found.fees) == pytest.approx(0.1 / 207 * 1e4)


def test_a_resting_order_is_paid_the_spread() -> None:
    found = breakdown([-1.0], [103.0], [-0.02], [102.0], [102.0], [101.0], [103.0])
    assert (found.spread, found.impact, found.fees) == (-1.0, 0.0, -0.02)


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 30))
def test_the_parts_sum_to_the_shortfall(seed: int, count: int) -> None:
    random = generator(seed, "tests.costs")
    bid = 100 + random.standard_normal(count)
    ask = bid + random.random(count)
    quantity, fee = random.standard_normal(count), random.random(count)
    price, decision, arrival = 100 + random.standard_normal((3, count))
    found = breakdown(quantity, price, fee, decision, arrival, bid, ask)
    assert found.total == pytest.approx(np.sum(quantity * (price - decision)) + fee.sum(), abs=1e-9)
    mirrored = breakdown(
        -quantity, 200 - price, fee, 200 - decision, 200 - arrival, 200 - ask, 200 - bid
    )
    for part in ("latency", "waiting", "spread", "impact", "fees"):
        assert getattr(mirrored, part) == pytest.approx(getattr(found, part), abs=1e-9)


@pytest.mark.parametrize("bars", [True, False])
def test_it_agrees_with_the_account(bars: bool) -> None:
    market = walk(500, 5, bars=bars)
    said = np.sign(generator(5, "tests.costs").standard_normal(500))
    account = follow(market, said, FollowingShape(cap=1.0, hold=0.0))
    found = breakdown_of(account.fills, 0.5, 0.001)
    costs = account.costs
    assert found.fills == account.orders > 50
    assert (found.fees, found.spread) == pytest.approx((costs.fees, costs.spread))
    assert (found.impact, found.latency) == pytest.approx((costs.slippage, costs.latency), abs=1e-6)
    assert found.traded == pytest.approx(account.traded)


def test_longs_pay_positive_funding() -> None:
    assert funding_paid([2.0, -1.0], [100.0, 110.0], [0.0001, 0.0002]) == pytest.approx(-0.002)


def test_what_is_no_touch_is_refused() -> None:
    with pytest.raises(DataError, match="fill 1"):
        breakdown([1, 1], [100, 100], [0, 0], [100, 100], [100, 100], [99, 101], [101, 100])
    with pytest.raises(DataError, match="lengths"):
        breakdown([1, 1], [100], [0], [100], [100], [99], [101])
