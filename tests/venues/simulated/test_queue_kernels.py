import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.venues.simulated import queue_kernels as queues

LEVEL_MODELS = (queues.RISK_AVERSE, queues.PROBABILISTIC)


def model_of(kind, power=1):
    model = np.zeros(1, queues.MODEL)
    model["kind"], model["power"] = kind, power
    return model[0]


def place_behind(model, shown, number=0):
    place = np.zeros(1, queues.PLACE)[0]
    queues.arrive(model, place, shown, number)
    return place


@pytest.mark.parametrize("kind", LEVEL_MODELS)
@settings(deadline=None)
@given(
    power=st.integers(1, 6),
    shown=st.integers(0, 500),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 700)), max_size=40),
)
def test_a_place_is_never_negative_and_nothing_adds_to_it(kind, power, shown, steps):
    model = model_of(kind, power)
    place = place_behind(model, shown)
    total = shown
    for is_trade, lots in steps:
        before = int(place["ahead"])
        if is_trade:
            left = queues.on_trade(model, place, lots, -1)
            assert left == max(0, lots - before)
        else:
            queues.on_depth(model, place, total, lots)
            total = lots
            assert place["ahead"] <= total
        assert 0 <= place["ahead"] <= before


@settings(deadline=None)
@given(
    orders=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    data=st.data(),
)
def test_order_by_order_the_place_is_the_sum_of_the_orders_that_were_there(orders, data):
    """Against a plain list of orders: those before us, and those that come after."""
    model = model_of(queues.ORDER_BY_ORDER)
    place = place_behind(model, sum(orders), len(orders))
    standing = dict(enumerate(orders))
    for _ in range(data.draw(st.integers(1, 12))):
        what = data.draw(st.sampled_from(["cancel", "shrink", "join", "trade"]))
        if what == "join":
            standing[1 + max([len(orders), *standing])] = data.draw(st.integers(1, 30))
        elif what == "trade":
            lots = data.draw(st.integers(1, 40))
            ahead = sum(size for n, size in standing.items() if n < len(orders))
            assert queues.on_trade(model, place, lots, -1) == max(0, lots - ahead)
            for number in sorted(n for n in standing if n < len(orders)):
                taken = min(lots, standing[number])
                lots -= taken
                queues.on_order(model, place, number, standing[number], standing[number] - taken)
                standing[number] -= taken
        elif standing:
            number = data.draw(st.sampled_from(sorted(standing)))
            after = 0 if what == "cancel" else standing[number] // 2
            queues.on_order(model, place, number, standing[number], after)
            standing[number] = after
        standing = {n: size for n, size in standing.items() if size}
        assert place["ahead"] == sum(size for n, size in standing.items() if n < len(orders))


def test_the_risk_averse_place_moves_by_trades_and_by_the_shown_total_alone():
    model = model_of(queues.RISK_AVERSE)
    place = place_behind(model, 100)
    queues.on_depth(model, place, 100, 150)
    queues.on_depth(model, place, 150, 110)
    assert place["ahead"] == 100
    queues.on_depth(model, place, 110, 60)
    assert place["ahead"] == 60
    assert queues.on_trade(model, place, 60, -1) == 0
    assert queues.on_trade(model, place, 1, -1) == 1


def test_the_probabilistic_place_by_hand():
    """Power 1, 30 ahead of us and 10 behind: of 8 leavers a quarter, two, stood behind."""
    model = model_of(queues.PROBABILISTIC, 1)
    place = place_behind(model, 30)
    queues.on_depth(model, place, 30, 40)
    queues.on_depth(model, place, 40, 32)
    assert place["ahead"] == 24
    # a trade is not taken off twice: once by the trade, once by the book that shows it
    assert queues.on_trade(model, place, 4, -1) == 0
    queues.on_depth(model, place, 32, 28)
    assert place["ahead"] == 20


@settings(deadline=None)
@given(power=st.integers(1, 64), ahead=st.integers(0, 10**12), behind=st.integers(0, 10**12))
def test_the_longer_part_loses_more_and_a_greater_power_tells_it_more_strongly(
    power, ahead, behind
):
    share = queues.share_behind(power, ahead, behind)
    assert 0.0 <= share <= 1.0
    if ahead + behind:
        assert share == pytest.approx(1.0 - queues.share_behind(power, behind, ahead), abs=1e-12)
        assert (share >= 0.5 - 1e-12) == (behind >= ahead) or behind == pytest.approx(ahead)
