from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import SettingError
from seawall.core.events import Side
from seawall.execution.routing import Quote, all_in, route

LEVELS = st.lists(st.tuples(st.integers(90, 110), st.integers(1, 4)), min_size=1, max_size=3)


@st.composite
def quotes(draw: st.DrawFn, side: Side) -> list[Quote]:
    made = []
    for k in range(draw(st.integers(1, 3))):
        levels = dict(draw(LEVELS))
        ordered = sorted(levels.items(), reverse=side is Side.SELL)
        made.append(
            Quote(
                venue=f"v{k}",
                levels=tuple((float(p), s) for p, s in ordered),
                fee_ppm=draw(st.sampled_from([0, 500, 20_000])),
                reliability=draw(st.sampled_from([0.9, 1.0])),
                delay=draw(st.sampled_from([0.0, 0.2])),
                smallest=draw(st.integers(1, 5)),
            )
        )
    return made


def brute(offers: list[Quote], side: Side, lots: int) -> tuple[int, float]:
    """(lots left, cost) of the best of all divisions."""
    best = (lots, 0.0)
    sizes = [[0, *range(q.smallest, lots + 1)] for q in offers]
    for division in product(*sizes):
        if sum(division) > lots:
            continue
        cost = 0.0
        for quote, wanted in zip(offers, division, strict=True):
            left = wanted
            prices = sorted(
                (side.sign * all_in(quote, side, p, 0.01, 1_000), s) for p, s in quote.levels
            )
            for price, size in prices:
                took = min(left, size)
                cost += price * took
                left -= took
            if left:
                break
        else:
            best = min(best, (lots - sum(division), cost))
    return best


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@settings(max_examples=250, deadline=None)
@given(data=st.data(), lots=st.integers(1, 12))
def test_no_division_is_better(side: Side, data: st.DataObject, lots: int) -> None:
    offers = data.draw(quotes(side))
    found = route(offers, side, lots, volatility=0.01)
    left, cost = brute(offers, side, lots)
    assert found.left == left
    assert found.cost == pytest.approx(cost)
    assert sum(found.lots.values()) + found.left == lots
    for quote in offers:
        assert found.lots.get(quote.venue, quote.smallest) >= quote.smallest


def test_the_cheaper_venue_loses_to_its_fee_its_distance_and_its_failures() -> None:
    near = Quote(venue="near", levels=((100.0, 10),))
    for dear in (
        Quote(venue="dear", levels=((99.9, 10),), fee_ppm=2_000),
        Quote(venue="dear", levels=((99.9, 10),), delay=2.0),
        Quote(venue="dear", levels=((99.9, 10),), reliability=0.5),
    ):
        assert route([near, dear], Side.BUY, 5, volatility=0.01, failure_ppm=10_000).lots == {
            "near": 5
        }
    plain = Quote(venue="plain", levels=((99.9, 10),))
    assert route([near, plain], Side.BUY, 5).lots == {"plain": 5}


def test_an_order_is_split_where_depth_runs_out_and_stops_at_the_limit() -> None:
    one = Quote(venue="one", levels=((100.0, 3), (103.0, 9)))
    two = Quote(venue="two", levels=((101.0, 4),))
    assert route([one, two], Side.BUY, 9).lots == {"one": 5, "two": 4}
    found = route([one, two], Side.BUY, 9, limit=102.0)
    assert (found.lots, found.left) == ({"one": 3, "two": 4}, 2)
    assert route([one, two], Side.SELL, 20).left == 4


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(SettingError, match="makes no sense"):
        route([Quote(venue="x", levels=((0.0, 1),))], Side.BUY, 1)
    with pytest.raises(SettingError, match="13 venues"):
        route([Quote(venue=str(k), levels=((1.0, 1),)) for k in range(13)], Side.BUY, 1)
