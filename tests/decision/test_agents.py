"""Rule agents: causal, same bits for any split, bounded, piecewise linear, silent when blind."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seawall.core.clock import MINUTE, SECOND
from seawall.core.errors import SettingError
from seawall.core.frames import FRAME, FrameFlag
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.verdicts import OPINION
from seawall.decision.agents import AGENTS, build
from seawall.decision.kernels import flow_step, trend_step
from seawall.decision.order_flow import OrderFlowAgent, OrderFlowShape
from seawall.decision.trend import TrendAgent, TrendShape
from seawall.decision.windows import difference_scale, ewma_weight, frame_seconds, half_life_frames

BOOKS = 3


def catalog(bar_span: int = 0) -> Catalog:
    instruments = tuple(
        Instrument(
            venue="sim",
            symbol=f"{base}/USD",
            kind=Kind.LINEAR,
            base=base,
            quote="USD",
            tick="0.01",
            lot="0.001",
        )
        for base in ("BTC", "ETH", "SOL")
    )
    source = Source(name="sim", venue="sim", bar_span=bar_span)
    return Catalog(instruments, (source,), ((0, 0), (1, 0), (2, 0))).check()


def synthetic(seed: int, boundaries: int, books: int = BOOKS) -> NDArray[Any]:
    """Frames of several books, interleaved by boundary, with every kind of trouble in them."""
    random = np.random.default_rng(seed)
    frames = np.zeros(boundaries * books, dtype=FRAME)
    count = len(frames)
    frames["index"] = np.repeat(np.arange(boundaries), books)
    frames["ts"] = (frames["index"] + 1) * SECOND
    frames["book"] = frames["instrument"] = np.tile(np.arange(books), boundaries)
    frames["mid"] = 100.0 * np.exp(np.cumsum(1e-3 * random.standard_normal(count)))
    frames["scale"] = random.uniform(5e-4, 2e-3, count)
    frames["bid_size"] = random.integers(0, 50, count)
    frames["ask_size"] = random.integers(0, 50, count)
    frames["ofi"] = random.normal(0.0, 40.0, count)
    frames["imbalance"] = random.uniform(-1.0, 1.0, count)
    frames["buy_volume"] = random.integers(0, 3, count)
    frames["sell_volume"] = random.integers(0, 3, count)
    odd = random.uniform(size=count)
    flags = np.full(count, FrameFlag.VALID, dtype=np.uint16)
    flags[odd < 0.05] |= np.uint16(FrameFlag.STALE)
    flags[(odd > 0.05) & (odd < 0.1)] &= ~np.uint16(FrameFlag.VALID)
    flags[(odd > 0.1) & (odd < 0.13)] |= np.uint16(FrameFlag.RESET)
    flags[(odd > 0.13) & (odd < 0.15)] |= np.uint16(FrameFlag.BAR)
    frames["flags"] = flags
    frames["mid"][odd > 0.99] = np.nan
    frames["scale"][odd > 0.98] = 0.0
    frames["ofi"][odd > 0.995] = np.inf
    return frames


# shorter than the defaults, so that few frames see all phases
SHAPES = {
    "trend": TrendShape(fast_half_life=20.0, slow_half_life=120.0),
    "order_flow": OrderFlowShape(half_life=30.0, gain=2.0),
}


def fresh(name: str, frames: NDArray[Any]) -> NDArray[Any]:
    agent = build(name, catalog(), SECOND, SHAPES.get(name))
    return agent.opine(frames, agent.start())


@pytest.mark.parametrize("name", AGENTS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 300), data=st.data())
def test_what_comes_later_changes_no_earlier_opinion(
    name: str, seed: int, cut: int, data: st.DataObject
) -> None:
    frames = synthetic(seed, 100)
    whole = fresh(name, frames)
    other = frames.copy()
    other[cut:] = synthetic(data.draw(st.integers(0, 2**32)), 100)[cut:]
    assert fresh(name, frames[:cut]).tobytes() == whole[:cut].tobytes()
    assert fresh(name, other)[:cut].tobytes() == whole[:cut].tobytes()


@pytest.mark.parametrize("name", AGENTS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_any_split_gives_the_same_bits(name: str, seed: int, cuts: list[int]) -> None:
    frames = synthetic(seed, 100)
    agent = build(name, catalog(), SECOND, SHAPES.get(name))
    state = agent.start()
    blocks = np.split(frames, sorted(cuts))
    pieces = np.concatenate([agent.opine(block, state) for block in blocks])
    assert pieces.tobytes() == fresh(name, frames).tobytes()


@pytest.mark.parametrize(("agent", "step"), [(TrendAgent, trend_step), (OrderFlowAgent, flow_step)])
def test_step_by_step_equals_block(agent: Any, step: Any) -> None:
    frames = synthetic(5, 200)
    made = agent(catalog(), SECOND)
    state = made.start()
    stepped = [step(frames[i], made._rule, state) for i in range(len(frames))]
    block = made.opine(frames, made.start())
    assert [score for score, _ in stepped] == block["score"].tolist()
    assert [confidence for _, confidence in stepped] == block["confidence"].tolist()


@pytest.mark.parametrize("name", AGENTS)
def test_books_do_not_mix(name: str) -> None:
    frames = synthetic(7, 200)
    together = fresh(name, frames)
    for book in range(BOOKS):
        own = frames["book"] == book
        assert fresh(name, frames[own]).tobytes() == together[own].tobytes()


@pytest.mark.parametrize("name", AGENTS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_opinions_are_bounded_stamped_and_silent_on_bad_markets(name: str, seed: int) -> None:
    frames = synthetic(seed, 200)
    opinions = fresh(name, frames)
    assert opinions.dtype == OPINION
    assert opinions["ts"].tolist() == frames["ts"].tolist()
    assert opinions["instrument"].tolist() == frames["instrument"].tolist()
    assert np.all(np.abs(opinions["score"]) <= 1.0)
    assert np.all((opinions["confidence"] >= 0.0) & (opinions["confidence"] <= 1.0))
    assert np.all(opinions["age"] == 0.0)
    flags = frames["flags"]
    dead = ((flags & FrameFlag.VALID) == 0) | ((flags & FrameFlag.STALE) != 0)
    assert dead.any()
    assert not opinions["score"][dead].any()
    assert not opinions["confidence"][dead].any()


def clean(seed: int, count: int) -> NDArray[Any]:
    """Frames of one book without trouble."""
    frames = synthetic(seed, count, books=1)
    frames["flags"] = FrameFlag.VALID
    random = np.random.default_rng(seed)
    frames["mid"] = 100.0 * np.exp(np.cumsum(1e-3 * random.standard_normal(count)))
    frames["scale"] = 1e-3
    frames["ofi"] = random.normal(0.0, 20.0, count)
    frames["bid_size"] = frames["ask_size"] = 20
    return frames


@pytest.mark.parametrize(
    ("name", "feature", "values"),
    [
        ("trend", "mid", np.linspace(80.0, 125.0, 901)),
        ("order_flow", "ofi", np.linspace(-200.0, 200.0, 801)),
        ("order_flow", "imbalance", np.linspace(-1.0, 1.0, 401)),
    ],
)
def test_score_is_piecewise_linear_in_the_newest_frame(
    name: str, feature: str, values: NDArray[np.float64]
) -> None:
    """Second differences vanish but for the few steps that hold a kink, and nothing jumps."""
    frames = clean(3, 400)
    scores = []
    for value in values:
        frames[feature][-1] = value
        scores.append(fresh(name, frames)["score"][-1])
    first = np.diff(scores)
    assert np.max(first) > 0.0
    assert np.min(first) >= -1e-12  # monotone
    bends = np.abs(np.diff(first)) > 1e-9
    assert np.count_nonzero(bends) <= 4
    assert np.max(first) < 0.2


def test_trend_signal_has_unit_variance_on_a_random_walk() -> None:
    shape = TrendShape(gain=0.01, fast_half_life=5.0, slow_half_life=30.0)
    steps = np.random.default_rng(11).standard_normal(200_000)
    frames = np.zeros(len(steps), dtype=FRAME)
    frames["flags"] = FrameFlag.VALID
    frames["mid"] = 1e6 + np.cumsum(steps)
    frames["scale"] = 1e-6
    agent = TrendAgent(catalog(), SECOND, shape)
    scores = agent.opine(frames, agent.start())["score"][1000:] / shape.gain
    assert np.std(scores) == pytest.approx(1.0, rel=0.03)
    fast, slow = np.array([0.5]), np.array([0.1])
    lags = np.arange(1, 2000)
    expected = np.sqrt(np.sum((0.9**lags - 0.5**lags) ** 2))
    assert difference_scale(fast, slow)[0] == pytest.approx(expected, rel=1e-12)


def test_trend_follows_the_market() -> None:
    frames = clean(1, 600)
    frames["mid"] = 100.0 * np.exp(5e-4 * np.arange(600))
    assert fresh("trend", frames)["score"][-1] == 1.0
    frames["mid"] = 100.0 * np.exp(-5e-4 * np.arange(600))
    assert fresh("trend", frames)["score"][-1] == -1.0


def test_order_flow_leans_to_the_stronger_side() -> None:
    frames = clean(1, 500)
    frames["ofi"], frames["buy_volume"], frames["sell_volume"] = 50.0, 3.0, 0.0
    frames["imbalance"] = 0.5
    assert fresh("order_flow", frames)["score"][-1] == 1.0
    frames["ofi"], frames["buy_volume"], frames["sell_volume"] = -5.0, 0.0, 0.0
    frames["imbalance"] = -0.1
    # pressure 0.4 x -5/40 + 0.2 x -0.1, gain 2
    assert fresh("order_flow", frames)["score"][-1] == pytest.approx(-0.14, abs=1e-3)


def test_one_forged_frame_moves_order_flow_by_a_known_little() -> None:
    frames = clean(2, 200)
    honest = fresh("order_flow", frames)["score"][-1]
    frames["ofi"][-1], frames["imbalance"][-1] = 1e12, 1.0
    frames["buy_volume"][-1], frames["sell_volume"][-1] = 1e12, 0.0
    weight = float(ewma_weight(np.array([OrderFlowShape().half_life]))[0])
    assert abs(fresh("order_flow", frames)["score"][-1] - honest) <= 2.0 * weight * 2.0


@pytest.mark.parametrize(("name", "warm"), [("trend", 120), ("order_flow", 30)])
def test_confidence_ramps_over_one_half_life_and_again_after_a_reset(name: str, warm: int) -> None:
    frames = clean(4, 400)
    confidence = fresh(name, frames)["confidence"]
    assert confidence[0] == 0.0
    assert np.allclose(confidence[: warm + 1], np.arange(warm + 1) / warm)
    assert np.all(confidence[warm:] == 1.0)
    frames["flags"][200] |= np.uint16(FrameFlag.RESET)
    restarted = fresh(name, frames)
    assert restarted["confidence"][200] == 0.0
    assert restarted[200:].tobytes() == fresh(name, frames[200:]).tobytes()


def test_a_reset_on_an_invalid_frame_still_restarts() -> None:
    frames = clean(4, 400)
    frames["flags"][200] = FrameFlag.RESET
    assert fresh("trend", frames)["confidence"][201] == 0.0
    assert fresh("trend", frames)["confidence"][202] == pytest.approx(1 / 120)


def test_bars_have_a_trend_but_no_order_flow() -> None:
    frames = clean(4, 100)
    frames["flags"] |= np.uint16(FrameFlag.BAR)
    assert not fresh("order_flow", frames)["confidence"].any()
    agent = TrendAgent(catalog(15 * MINUTE), SECOND)
    confidence = agent.opine(frames, agent.start())["confidence"]
    assert np.all(confidence[16:] == 1.0)  # 16 bars, since two minutes are less than one bar
    assert confidence[15] < 1.0


def test_half_lives_follow_the_cadence_of_each_book() -> None:
    assert frame_seconds(catalog(), SECOND // 10).tolist() == [0.1] * BOOKS
    assert frame_seconds(catalog(MINUTE), SECOND).tolist() == [60.0] * BOOKS
    assert half_life_frames(30.0, 4.0, np.array([0.1, 60.0])).tolist() == [300.0, 4.0]
    weight = ewma_weight(np.array([7.0]))[0]
    assert (1.0 - weight) ** 7 == pytest.approx(0.5, rel=1e-12)


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
        build("oracle", catalog(), SECOND)
