"""Whatever the rows were without the attack, score and exposure lie inside what was reported."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.consensus import CONSENSUS
from seawall.core.frames import FrameFlag
from seawall.core.verdicts import OPINION
from seawall.decision.agents import AGENTS, build
from seawall.decision.orchestrator import Orchestrator, OrchestratorShape
from seawall.decision.order_flow import OrderFlowShape
from seawall.decision.trend import TrendShape
from tests.decision.rows import BOUNDS, GROUPS, certain, clean, otherwise, synthetic
from tests.tapes import COMPILED, catalog_of

SHAPES: dict[str, Any] = {  # gains so small that clipping hides nothing
    "trend": TrendShape(fast_half_life=5.0, slow_half_life=20.0, gain=0.02),
    "order_flow": OrderFlowShape(half_life=8.0, gain=0.8),
}
WEIGHTS = {"trend": 1.0, "order_flow": 0.7}
COLUMNS = ("price", "value", "scale", "mean", "volatility")
BOUNDARIES = 60 if COMPILED else 15
EXACT = 1e-9

FREE = st.sets(st.sampled_from(COLUMNS), min_size=1).map(lambda s: tuple(sorted(s)))


def opinions_on(rows: NDArray[Any], shapes: dict[str, Any] = SHAPES) -> dict[str, NDArray[Any]]:
    found = {}
    for name in AGENTS:
        agent = build(name, GROUPS, SECOND, shapes.get(name))
        found[name] = agent.opine(rows, agent.start())
    return found


def orchestrator(**shape: Any) -> Orchestrator:
    one = OrchestratorShape(volatility=BOUNDS, **shape)
    return Orchestrator(catalog_of(("USD",)), ["BTC"], WEIGHTS, SECOND, one)


def holds(inside: NDArray[np.float64], low: NDArray[Any], high: NDArray[Any]) -> None:
    known = ~np.isnan(inside)
    assert np.all(inside[known] >= low[known] - EXACT)
    assert np.all(inside[known] <= high[known] + EXACT)


@settings(max_examples=150 if COMPILED else 5, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    twin=st.integers(0, 2**32),
    corners=st.booleans(),
    columns=FREE,
    default=st.booleans(),
)
def test_the_clean_score_and_exposure_lie_inside_the_reported_interval(
    seed: int, twin: int, corners: bool, columns: tuple[str, ...], default: bool
) -> None:
    rows = synthetic(seed, BOUNDARIES)
    other = otherwise(rows, twin, corners, columns)
    shapes = {} if default else SHAPES
    said, would = opinions_on(rows, shapes), opinions_on(other, shapes)
    for name in AGENTS:
        holds(would[name]["score"], said[name]["low"], said[name]["high"])
    one = orchestrator(least_confidence=0.0)
    strengths, clean_ones = one.strengths(rows, said), one.strengths(other, would)
    assert np.array_equal(np.isnan(strengths[:, 0]), np.isnan(clean_ones[:, 0]))
    assert np.count_nonzero(~np.isnan(strengths[:, 0])) > BOUNDARIES
    holds(clean_ones[:, 0], strengths[:, 1], strengths[:, 2])
    holds(strengths[:, 0], strengths[:, 1], strengths[:, 2])


@pytest.mark.parametrize("name", AGENTS)
def test_the_interval_is_reached_where_all_values_lie_at_one_end(name: str) -> None:
    """The bounds are no wider than they have to be: the worst rows reach at least half of them."""
    rows = clean(8, 200)
    rows["low"], rows["high"] = rows["value"] - 0.1, rows["value"] + 0.1
    rows["price_low"], rows["price_high"] = 0.999 * rows["price"], 1.001 * rows["price"]
    rows["mean_bound"] = 0.0
    rows["scale_low"] = rows["scale_high"] = rows["scale"]
    said = opinions_on(rows)[name]
    worst = rows.copy()
    worst["value"] = rows["high"]
    half = len(rows) // 2
    worst["price"][:half], worst["price"][half:] = (
        rows["price_low"][:half],
        rows["price_high"][half:],
    )
    would = opinions_on(worst)[name]["score"]
    reach = (would - said["score"])[half:].max()
    assert reach >= 0.4 * (said["high"] - said["score"])[half:].min() > 0.0


def test_where_nobody_can_lie_the_exposure_is_certain() -> None:
    rows = certain(synthetic(4, BOUNDARIES))
    strengths = orchestrator(least_confidence=0.0).strengths(rows, opinions_on(rows))
    known = ~np.isnan(strengths[:, 0]) & ((rows["flags"] & FrameFlag.UNCORROBORATED) == 0)
    assert known.any()
    for side in (1, 2):
        np.testing.assert_allclose(strengths[known, side], strengths[known, 0], rtol=0, atol=1e-9)


def test_an_attacker_who_falls_silent_is_not_taken_for_proof_that_exposure_is_small() -> None:
    """Fewer than three votes halve the exposure, and that may be the attacker's doing."""
    row = np.zeros(1, CONSENSUS)
    row["flags"] = FrameFlag.VALID
    opinions = np.zeros(1, OPINION)
    opinions["score"], opinions["low"], opinions["high"] = 0.8, -1.0, 1.0
    opinions["confidence"] = 1.0
    one = orchestrator()
    full = one.strengths(row, {"trend": opinions})[0]
    row["flags"] |= np.uint16(FrameFlag.UNCORROBORATED)
    halved = one.strengths(row, {"trend": opinions})[0]
    assert halved[0] == 0.5 * full[0]
    assert halved[1] <= full[0] <= halved[2]
