"""Rule agents: causal, same bits for any split, bounded, piecewise linear, silent when blind."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seawall.core.clock import MINUTE, SECOND
from seawall.core.errors import SettingError
from seawall.core.frames import FrameFlag
from seawall.core.verdicts import OPINION
from seawall.decision.agents import AGENTS, build
from seawall.decision.kernels import FLOW, IMBALANCE, OFI, flow_step, trend_step
from seawall.decision.order_flow import OrderFlowAgent, OrderFlowShape
from seawall.decision.trend import TrendAgent, TrendShape
from seawall.decision.windows import difference_scale, ewma_weight, half_life_rows
from tests.decision.rows import GROUPS, certain, clean, synthetic

# shorter than the defaults, so that few rows see all phases
SHAPES = {
    "trend": TrendShape(fast_half_life=20.0, slow_half_life=120.0),
    "order_flow": OrderFlowShape(half_life=30.0, gain=2.0),
}


def fresh(name: str, rows: NDArray[Any]) -> NDArray[Any]:
    agent = build(name, GROUPS, SECOND, SHAPES.get(name))
    return agent.opine(rows, agent.start())


@pytest.mark.parametrize("name", AGENTS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 300), data=st.data())
def test_what_comes_later_changes_no_earlier_opinion(
    name: str, seed: int, cut: int, data: st.DataObject
) -> None:
    rows = synthetic(seed, 100)
    whole = fresh(name, rows)
    other = rows.copy()
    other[cut:] = synthetic(data.draw(st.integers(0, 2**32)), 100)[cut:]
    assert fresh(name, rows[:cut]).tobytes() == whole[:cut].tobytes()
    assert fresh(name, other)[:cut].tobytes() == whole[:cut].tobytes()


@pytest.mark.parametrize("name", AGENTS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_any_split_gives_the_same_bits(name: str, seed: int, cuts: list[int]) -> None:
    rows = synthetic(seed, 100)
    agent = build(name, GROUPS, SECOND, SHAPES.get(name))
    state = agent.start()
    blocks = np.split(rows, sorted(cuts))
    pieces = np.concatenate([agent.opine(block, state) for block in blocks])
    assert pieces.tobytes() == fresh(name, rows).tobytes()


@pytest.mark.parametrize(("agent", "step"), [(TrendAgent, trend_step), (OrderFlowAgent, flow_step)])
def test_step_by_step_equals_block(agent: Any, step: Any) -> None:
    rows = synthetic(5, 200)
    made = agent(GROUPS, SECOND)
    state = made.start()
    stepped = [step(rows[i], made._rule, state) for i in range(len(rows))]
    block = made.opine(rows, made.start())
    for at, column in enumerate(("score", "low", "high", "confidence")):
        assert [said[at] for said in stepped] == block[column].tolist()


@pytest.mark.parametrize("name", AGENTS)
def test_groups_do_not_mix(name: str) -> None:
    rows = synthetic(7, 200)
    together = fresh(name, rows)
    for group in range(GROUPS):
        own = rows["group"] == group
        assert fresh(name, rows[own]).tobytes() == together[own].tobytes()


@pytest.mark.parametrize("name", AGENTS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_opinions_are_bounded_stamped_and_silent_on_bad_markets(name: str, seed: int) -> None:
    rows = synthetic(seed, 200)
    opinions = fresh(name, rows)
    assert opinions.dtype == OPINION
    assert opinions["ts"].tolist() == rows["ts"].tolist()
    assert opinions["group"].tolist() == rows["group"].tolist()
    for column in ("score", "low", "high"):
        assert np.all(np.abs(opinions[column]) <= 1.0)
    assert np.all(opinions["low"] <= opinions["score"] + 1e-12)
    assert np.all(opinions["score"] <= opinions["high"] + 1e-12)
    assert np.all((opinions["confidence"] >= 0.0) & (opinions["confidence"] <= 1.0))
    assert np.all(opinions["age"] == 0.0)
    dead = (rows["flags"] & FrameFlag.VALID) == 0
    assert dead.any()
    assert not opinions["score"][dead].any()
    assert not opinions["confidence"][dead].any()


def test_where_nobody_can_lie_the_interval_is_the_score_itself() -> None:
    rows = certain(synthetic(9, 300))
    for name in AGENTS:
        opinions = fresh(name, rows)
        assert np.count_nonzero(opinions["score"]) > 300
        np.testing.assert_allclose(opinions["low"], opinions["score"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(opinions["high"], opinions["score"], rtol=0, atol=1e-9)


def set_newest(rows: NDArray[Any], column: str, value: float) -> None:
    """One column of the newest row, or one feature of its consensus."""
    if column == "price":
        rows["price"][-1] = value
    else:
        rows["value"][-1, {"ofi": OFI, "flow": FLOW, "imbalance": IMBALANCE}[column]] = value


@pytest.mark.parametrize(
    ("name", "feature", "values"),
    [
        ("trend", "price", np.linspace(80.0, 125.0, 901)),
        ("order_flow", "ofi", np.linspace(-2.0, 2.0, 801)),
        ("order_flow", "flow", np.linspace(-1.0, 1.0, 401)),
        ("order_flow", "imbalance", np.linspace(-1.0, 1.0, 401)),
    ],
)
def test_score_is_piecewise_linear_in_the_newest_row(
    name: str, feature: str, values: NDArray[np.float64]
) -> None:
    """Second differences vanish but for the few steps that hold a kink, and nothing jumps."""
    rows = clean(3, 400)
    scores = []
    for value in values:
        set_newest(rows, feature, value)
        scores.append(fresh(name, rows)["score"][-1])
    first = np.diff(scores)
    assert np.max(first) > 0.0
    assert np.min(first) >= -1e-12  # monotone
    bends = np.abs(np.diff(first)) > 1e-9
    assert np.count_nonzero(bends) <= 4
    assert np.max(first) < 0.2


def test_trend_signal_has_unit_variance_on_a_random_walk() -> None:
    shape = TrendShape(gain=0.01, fast_half_life=5.0, slow_half_life=30.0)
    steps = np.random.default_rng(11).standard_normal(200_000)
    rows = clean(11, len(steps))
    rows["price"] = 1e6 + np.cumsum(steps)
    rows["scale"] = 1e-6
    agent = TrendAgent(1, SECOND, shape)
    scores = agent.opine(rows, agent.start())["score"][1000:] / shape.gain
    assert np.std(scores) == pytest.approx(1.0, rel=0.03)
    lags = np.arange(1, 2000)
    expected = np.sqrt(np.sum((0.9**lags - 0.5**lags) ** 2))
    assert difference_scale(0.5, 0.1) == pytest.approx(expected, rel=1e-12)


def test_trend_follows_the_market() -> None:
    rows = clean(1, 600)
    rows["price"] = 100.0 * np.exp(5e-4 * np.arange(600))
    assert fresh("trend", rows)["score"][-1] == 1.0
    rows["price"] = 100.0 * np.exp(-5e-4 * np.arange(600))
    assert fresh("trend", rows)["score"][-1] == -1.0


def set_pressure(rows: NDArray[Any], ofi: float, flow: float, imbalance: float) -> None:
    rows["value"][:, OFI], rows["value"][:, FLOW] = ofi, flow
    rows["value"][:, IMBALANCE] = imbalance


def test_order_flow_leans_to_the_stronger_side() -> None:
    rows = clean(1, 500)
    rows["mean"] = 0.0
    set_pressure(rows, 1.25, 1.0, 0.5)
    assert fresh("order_flow", rows)["score"][-1] == 1.0
    set_pressure(rows, -0.125, 0.0, -0.1)
    # pressure 0.4 x -0.125 + 0.2 x -0.1, gain 2
    assert fresh("order_flow", rows)["score"][-1] == pytest.approx(-0.14, abs=1e-3)


def test_what_the_model_has_learned_to_be_usual_is_no_pressure() -> None:
    rows = clean(1, 500)
    set_pressure(rows, 0.2, -0.3, 0.4)
    rows["mean"] = rows["value"]
    assert not fresh("order_flow", rows)["score"].any()
    rows["mean"][:, IMBALANCE] -= 0.1  # a book that is fuller than usual: 0.2 x 0.1, gain 2
    assert fresh("order_flow", rows)["score"][-1] == pytest.approx(0.04, abs=1e-3)


def test_one_forged_row_moves_order_flow_by_a_known_little() -> None:
    rows = clean(2, 200)
    honest = fresh("order_flow", rows)["score"][-1]
    set_pressure(rows[-1:], 1e12, 1e12, 1e12)
    weight = ewma_weight(OrderFlowShape().half_life)
    assert abs(fresh("order_flow", rows)["score"][-1] - honest) <= 2.0 * weight * 2.0


@pytest.mark.parametrize(("name", "warm"), [("trend", 120), ("order_flow", 30)])
def test_confidence_ramps_over_one_half_life_and_again_after_a_reset(name: str, warm: int) -> None:
    rows = clean(4, 400)
    confidence = fresh(name, rows)["confidence"]
    assert confidence[0] == 0.0
    assert np.allclose(confidence[: warm + 1], np.arange(warm + 1) / warm)
    assert np.all(confidence[warm:] == 1.0)
    rows["flags"][200] |= np.uint16(FrameFlag.RESET)
    restarted = fresh(name, rows)
    assert restarted["confidence"][200] == 0.0
    assert restarted[200:].tobytes() == fresh(name, rows[200:]).tobytes()


def test_a_reset_on_an_invalid_row_still_restarts() -> None:
    rows = clean(4, 400)
    rows["flags"][200] = FrameFlag.RESET
    assert fresh("trend", rows)["confidence"][201] == 0.0
    assert fresh("trend", rows)["confidence"][202] == pytest.approx(1 / 120)


def test_bars_have_a_trend_but_no_order_flow() -> None:
    rows = clean(4, 100)
    rows["flags"] |= np.uint16(FrameFlag.BAR)
    assert not fresh("order_flow", rows)["confidence"].any()
    agent = TrendAgent(1, 15 * MINUTE)
    confidence = agent.opine(rows, agent.start())["confidence"]
    assert np.all(confidence[16:] == 1.0)  # 16 bars, since ten minutes are less than one bar
    assert confidence[15] < 1.0


def test_half_lives_follow_the_cadence() -> None:
    assert half_life_rows(30.0, 4.0, 0.1) == 300.0
    assert half_life_rows(30.0, 4.0, 60.0) == 4.0
    assert (1.0 - ewma_weight(7.0)) ** 7 == pytest.approx(0.5, rel=1e-12)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(SettingError, match="shorter than the slow"):
        TrendShape(fast_half_life=60.0, slow_half_life=30.0)
    with pytest.raises(SettingError, match="positive"):
        TrendShape(gain=0.0)
    with pytest.raises(SettingError, match="sum to 1"):
        OrderFlowShape(ofi=0.9)
    with pytest.raises(SettingError, match="positive"):
        OrderFlowShape(half_life=0.0)
    with pytest.raises(SettingError, match="no agent is called 'oracle'"):
        build("oracle", GROUPS, SECOND)
