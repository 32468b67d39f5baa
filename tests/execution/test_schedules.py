import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import SettingError
from seawall.core.events import Side
from seawall.core.parents import Algorithm, Pace, Parent
from seawall.execution import schedules
from seawall.execution.schedules import Plan, Reads, due, joined, plan_of

SECOND = 10**9


def parent(**given: object) -> Parent:
    pace = Pace(
        algorithm=given.pop("algorithm", Algorithm.TWAP),  # type: ignore[arg-type]
        horizon=given.pop("horizon", 600 * SECOND),  # type: ignore[arg-type]
        slices=given.pop("slices", 20),  # type: ignore[arg-type]
        jitter=given.pop("jitter", 0.3),  # type: ignore[arg-type]
        share_ppm=given.pop("share_ppm", 100_000),  # type: ignore[arg-type]
        visible=given.pop("visible", 0),  # type: ignore[arg-type]
    )
    values = {
        "parent_id": "p-1",
        "instrument": "BTCUSDT@x",
        "side": Side.BUY,
        "lots": 1_000,
        "held": 0,
        "pace": pace,
        "seed": 7,
        "start": 0,
        "bid": 99,
        "ask": 101,
        "decided": 0,
    }
    return Parent(**{**values, **given})  # type: ignore[arg-type]


PARENTS = st.builds(
    lambda algorithm, lots, slices, jitter, share, smallest, seed, weights: parent(
        algorithm=algorithm,
        lots=lots,
        slices=slices,
        jitter=jitter,
        share_ppm=share,
        visible=max(1, 2 * smallest, lots // 7) * 2,
        smallest=smallest,
        seed=seed,
        weights=tuple(weights) if algorithm is Algorithm.VWAP else (),
    ),
    st.sampled_from(list(Algorithm)),
    st.integers(1, 10**6),
    st.integers(1, 60),
    st.floats(0, 1),
    st.integers(1, 999_999),
    st.integers(1, 50),
    st.integers(0, 2**32),
    st.lists(st.floats(0.01, 100), min_size=1, max_size=40),
)


@settings(max_examples=300, deadline=None)
@given(PARENTS)
def test_every_plan_is_exact_rises_and_has_no_child_below_the_smallest(one: Parent) -> None:
    plan = plan_of(one)
    assert plan.done[-1] == one.lots
    assert list(plan.at) == sorted(plan.at)
    children = [b - a for a, b in pairwise((0, *plan.done))]
    assert all(child >= min(one.smallest, one.lots) for child in children)
    assert due(plan, -1) == 0
    assert due(plan, plan.at[-1]) == one.lots
    assert plan_of(msgspec.json.decode(msgspec.json.encode(one), type=Parent)) == plan
    if plan.reads is Reads.TIME:
        assert plan.at[-1] < one.pace.horizon


@settings(max_examples=200, deadline=None)
@given(PARENTS, st.lists(st.integers(0, 10**13), min_size=2, max_size=20))
def test_what_is_due_never_falls_and_never_passes_the_parent(one: Parent, at: list[int]) -> None:
    plan = plan_of(one)
    told = [due(plan, reading) for reading in sorted(at)]
    assert told == sorted(told)
    assert all(0 <= lots <= one.lots for lots in told)


@settings(max_examples=100, deadline=None)
@given(st.integers(100, 10**6), st.integers(1, 50), st.floats(0, 1), st.integers(0, 10**6))
def test_a_slice_differs_by_no_more_than_the_jitter(
    lots: int, slices: int, jitter: float, seed: int
) -> None:
    one = parent(lots=lots, slices=slices, jitter=jitter, seed=seed)
    plan = plan_of(one)
    slot = one.pace.horizon / slices
    for reading in plan.at:
        even = lots * (math.floor(reading / slot + 1e-6) + 1) / slices
        # at the moment of a step the staircase is within half a slice of the even one
        assert abs(due(plan, reading) - even) <= jitter / 2 * lots / slices + 1


def test_without_jitter_a_twap_is_even() -> None:
    plan = plan_of(parent(jitter=0.0, slices=4, lots=10, horizon=400))
    assert plan.at == (0, 100, 200, 300)
    assert plan.done == (2, 5, 8, 10)


def test_names_and_seeds_make_different_plans() -> None:
    plans = {plan_of(parent(seed=s, parent_id=n)) for s in range(3) for n in ("a", "b")}
    assert len(plans) == 6


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**5), st.integers(1_000, 900_000), st.integers(0, 99))
def test_participation_never_takes_more_than_its_share(lots: int, share: int, seed: int) -> None:
    plan = plan_of(parent(algorithm=Algorithm.PARTICIPATION, lots=lots, share_ppm=share, seed=seed))
    assert plan.reads is Reads.VOLUME
    for others, ours in zip(plan.at, plan.done, strict=True):
        assert ours * 1_000_000 <= share * (ours + others)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**5), st.integers(1, 500), st.floats(0, 1), st.integers(0, 99))
def test_an_iceberg_shows_no_more_than_its_tip(
    lots: int, visible: int, jitter: float, seed: int
) -> None:
    one = parent(algorithm=Algorithm.ICEBERG, lots=lots, visible=visible, jitter=jitter, seed=seed)
    plan = plan_of(one)
    filled = 0
    shown = []
    while filled < lots:  # as it goes: each part is filled, then the next one shows
        out = due(plan, filled)
        assert 0 < out - filled <= visible
        shown.append(out - filled)
        filled = out
    assert sum(shown) == lots


def test_a_tip_below_the_smallest_child_is_refused() -> None:
    with pytest.raises(SettingError, match="show more"):
        plan_of(parent(algorithm=Algorithm.ICEBERG, visible=3, smallest=50))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"jitter": 1.5}, "jitter is 1.5"),
        ({"slices": 0}, "slices is 0"),
        ({"horizon": 0}, "horizon is 0"),
        ({"lots": 0}, "0 lots"),
        ({"algorithm": Algorithm.ICEBERG}, "visible is 0"),
    ],
)
def test_what_cannot_be_planned_says_so(given: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        plan_of(parent(**given))


def test_almgren_chriss_weights_are_the_sinh_profile() -> None:
    weights = schedules.almgren_chriss(10, 3.0)
    left = 1.0 - np.cumsum(weights)
    expected = np.sinh(3.0 * (1 - np.arange(1, 11) / 10)) / np.sinh(3.0)
    assert np.allclose(left, expected, atol=1e-12)
    assert schedules.almgren_chriss(5, 0.0) == schedules.even(5)
    assert np.isfinite(schedules.almgren_chriss(50, 50.0)).all()


def test_curve_weights_are_shares_and_even_without_volume() -> None:
    assert schedules.curve_weights(np.array([1.0, 3.0])) == (0.25, 0.75)
    assert schedules.curve_weights(np.zeros(3)) == schedules.even(3)
    with pytest.raises(SettingError):
        schedules.curve_weights(np.array([1.0, np.nan]))


# --- smallest children ---


def worked(plan: Plan, whole: Parent, fills: st.DataObject) -> list[int]:
    """Children in the order in which they go out, some filled but for a smallest order."""
    sent, done = [], 0
    for reading in plan.at:
        left = whole.lots - done
        if not left:
            break
        clock = done if plan.reads is Reads.FILLS else reading
        out = left if clock >= plan.at[-1] else min(left, due(plan, clock) - done)
        out = joined(whole, out, left)
        if out > 0:
            sent.append(out)
            done += out if fills.draw(st.booleans()) else max(0, out - whole.smallest)
    return sent


@settings(max_examples=300, deadline=None)
@given(
    st.data(),
    st.sampled_from(list(Algorithm)),
    st.integers(1, 20_000),
    st.integers(1, 500),
    st.integers(1, 60),
    st.floats(0, 1),
    st.integers(0, 10**6),
)
def test_no_child_and_no_rest_is_smaller_than_the_exchange_takes(
    data: st.DataObject,
    algorithm: Algorithm,
    lots: int,
    smallest: int,
    slices: int,
    jitter: float,
    seed: int,
) -> None:
    visible = 2 * smallest + 2 + lots // 10 if algorithm is Algorithm.ICEBERG else 0
    whole = parent(
        algorithm=algorithm,
        slices=slices,
        jitter=jitter,
        visible=visible,
        lots=lots,
        seed=seed,
        smallest=smallest,
    )
    plan = plan_of(whole)
    children = [b - a for a, b in pairwise([0, *plan.done])]
    assert sum(children) == lots
    if lots < smallest:
        assert children == [lots]  # one order; the exchange has the last word
        return
    assert min(children) >= smallest
    if algorithm is Algorithm.ICEBERG:
        assert max(children) <= visible
    sent = worked(plan, whole, data)
    assert all(one >= smallest for one in sent)
    if algorithm is Algorithm.ICEBERG:
        assert all(one <= max(visible, 2 * smallest) for one in sent)


@given(st.integers(1, 1_000), st.integers(1, 3_000), st.data())
def test_what_goes_out_leaves_nothing_behind_that_could_not_go(
    smallest: int, left: int, data: st.DataObject
) -> None:
    out = data.draw(st.integers(0, left))
    whole = parent(lots=left, smallest=smallest)
    goes = joined(whole, out, left)
    assert 0 <= goes <= left
    assert goes in (0, left) or goes >= smallest
    assert left - goes == 0 or left - goes >= smallest or goes == 0
    assert goes >= out or goes == 0
