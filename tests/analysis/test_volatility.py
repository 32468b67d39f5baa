"""EWMA volatility and regime: held to the formula written out and to what an attacker can do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.analysis import Volatility, VolatilityShape
from seawall.analysis.kernels import REACH
from seawall.core.clock import SECOND
from seawall.core.consensus import CONSENSUS
from seawall.core.frames import FrameFlag, Regime
from tests.tapes import COMPILED, Rows, carry, pieces_of

VALID, RESET = int(FrameFlag.VALID), int(FrameFlag.RESET)
SHAPE = VolatilityShape(halflife_s=40.0)
GROUPS = 3
SECONDS_A_YEAR = 365 * 86_400


def made(count: int, seed: int = 1) -> Rows:
    random = np.random.default_rng(seed)
    rows = np.zeros(count, CONSENSUS)
    rows["group"] = random.integers(0, GROUPS, count)
    returns = 6e-5 * random.standard_t(3, count)
    rows["value"][:, 0] = returns
    rows["low"][:, 0] = returns - 1e-5 * np.abs(random.standard_t(2, count))
    rows["high"][:, 0] = returns + 1e-5 * np.abs(random.standard_t(2, count))
    rows["flags"] = random.choice(
        [VALID, 0, RESET | VALID, RESET], count, p=[0.94, 0.04, 0.01, 0.01]
    )
    return rows


def written_out(returns: list[float], keep: float) -> float:
    """Root of the weighted mean square about zero, annualised (RiskMetrics 1996)."""
    if not returns:
        return 0.0
    weights = keep ** np.arange(len(returns) - 1, -1, -1)
    return float(np.sqrt(np.average(np.square(returns), weights=weights) * SECONDS_A_YEAR))


def test_volatility_equals_the_formula_and_the_regime_its_bounds() -> None:
    keep = 0.5 ** (1 / 40)
    rows = made(1_500)
    rows["value"][700, 0] = 5.0  # beyond the reach
    Volatility(GROUPS, SHAPE, SECOND).observe(rows)
    seen: dict[int, list[float]] = {group: [] for group in range(GROUPS)}
    met = set()
    for row in rows:
        mine = seen[int(row["group"])]
        if row["flags"] & VALID and not row["flags"] & RESET:
            mine.append(float(np.clip(row["value"][0], -REACH, REACH)))
        wanted = written_out(mine, keep)
        assert row["volatility"] == pytest.approx(wanted, rel=1e-9, abs=1e-12)
        regime = Regime.NORMAL_VOL
        if 1 - keep ** len(mine) < 0.5:
            regime = Regime.UNKNOWN
        elif wanted >= 0.60:
            regime = Regime.EXTREME_VOL
        elif wanted >= 0.50:
            regime = Regime.HIGH_VOL
        elif wanted < 0.15:
            regime = Regime.LOW_VOL
        assert row["regime"] == regime
        met.add(regime)
    assert met >= {Regime.UNKNOWN, Regime.EXTREME_VOL, Regime.HIGH_VOL}


@pytest.mark.parametrize(
    ("volatility", "regime"),
    [
        (0.10, Regime.LOW_VOL),
        (0.16, Regime.NORMAL_VOL),
        (0.49, Regime.NORMAL_VOL),
        (0.51, Regime.HIGH_VOL),
        (0.61, Regime.EXTREME_VOL),
    ],
)
def test_a_steady_market_has_the_regime_of_its_volatility(
    volatility: float, regime: Regime
) -> None:
    rows = np.zeros(120, CONSENSUS)
    rows["flags"] = VALID
    rows["value"][:, 0] = volatility / np.sqrt(SECONDS_A_YEAR)
    rows["value"][::2] *= -1
    Volatility(1, SHAPE, SECOND).observe(rows)
    assert rows["volatility"][-1] == pytest.approx(volatility)
    assert rows["regime"][-1] == regime


def test_the_regime_is_unknown_until_half_a_window_is_seen() -> None:
    rows = np.zeros(80, CONSENSUS)
    rows["flags"] = VALID
    rows["flags"][45] = RESET | VALID
    Volatility(1, VolatilityShape(halflife_s=39.5), SECOND).observe(rows)
    known = np.flatnonzero(rows["regime"] != Regime.UNKNOWN).tolist()
    assert known == list(range(39, 80))  # a reset brings no return and takes nothing away


@settings(max_examples=100 if COMPILED else 5, deadline=None)
@given(seed=st.integers(0, 2**32), blind=st.floats(0, 0.3), corners=st.booleans())
def test_whatever_was_said_without_the_attack_its_volatility_lies_inside_the_bounds(
    seed: int, blind: float, corners: bool
) -> None:
    random = np.random.default_rng(seed)
    rows = made(300 if COMPILED else 80, seed)
    nothing = random.uniform(size=len(rows)) < blind
    rows["low"][nothing, 0], rows["high"][nothing, 0] = -np.inf, np.inf
    share = random.uniform(size=len(rows))
    share = np.round(share) if corners else share
    low, high = np.maximum(rows["low"][:, 0], -0.3), np.minimum(rows["high"][:, 0], 0.3)
    other = rows.copy()
    other["value"][:, 0] = share * low + (1.0 - share) * high
    Volatility(GROUPS, SHAPE, SECOND).observe(rows)
    Volatility(GROUPS, SHAPE, SECOND).observe(other)
    for one in (rows, other):
        assert np.all(one["volatility"] >= rows["volatility_low"] * (1 - 1e-9))
        assert np.all(one["volatility"] <= rows["volatility_high"] * (1 + 1e-9))


def test_where_nobody_can_lie_the_bounds_are_the_volatility_itself() -> None:
    rows = made(400)
    rows["low"] = rows["high"] = rows["value"]
    Volatility(GROUPS, SHAPE, SECOND).observe(rows)
    for end in ("low", "high"):
        np.testing.assert_allclose(rows[f"volatility_{end}"], rows["volatility"], rtol=1e-12)


@settings(max_examples=40 if COMPILED else 5, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=8), seed=st.integers(0, 50))
def test_any_split_gives_the_same_bits(cuts: list[float], seed: int) -> None:
    whole, split = Volatility(GROUPS, SHAPE, SECOND), Volatility(GROUPS, SHAPE, SECOND)
    rows = made(400, seed)
    pieces = pieces_of(rows.copy(), cuts)
    whole.observe(rows)
    for piece in pieces:
        split.observe(piece)
    assert np.concatenate(pieces).tobytes() == rows.tobytes()
    assert carry(split.state) == carry(whole.state)


def test_step_by_step_gives_the_same_bits() -> None:
    whole, single = Volatility(GROUPS, SHAPE, SECOND), Volatility(GROUPS, SHAPE, SECOND)
    rows = made(400)
    one_by_one = rows.copy()
    whole.observe(rows)
    for i in range(len(one_by_one)):
        single.observe(one_by_one[i : i + 1])
    assert one_by_one.tobytes() == rows.tobytes()
    assert carry(single.state) == carry(whole.state)
