"""EWMA volatility and its regime: held to the formula written out, restarted by RESET."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.analysis import Volatility, VolatilityShape
from seawall.core.clock import SECOND
from seawall.core.frames import FRAME, FrameFlag, Regime
from tests.tapes import COMPILED, Rows, carry, pieces_of

VALID, RESET, STALE = int(FrameFlag.VALID), int(FrameFlag.RESET), int(FrameFlag.STALE)
SHAPE = VolatilityShape(halflife_s=40.0)
BOOKS = 3
SECONDS_A_YEAR = 365 * 86_400


def made(count: int, seed: int = 1) -> Rows:
    random = np.random.default_rng(seed)
    frames = np.zeros(count, FRAME)
    frames["book"] = random.integers(0, BOOKS, count)
    frames["return_"] = 1e-4 * random.standard_t(3, count)
    frames["flags"] = random.choice(
        [VALID, STALE, RESET | VALID, RESET], count, p=[0.94, 0.04, 0.01, 0.01]
    )
    return frames


def written_out(returns: list[float], keep: float) -> float:
    """Root of the weighted mean square about zero, annualised (RiskMetrics 1996)."""
    if not returns:
        return 0.0
    weights = keep ** np.arange(len(returns) - 1, -1, -1)
    return float(np.sqrt(np.average(np.square(returns), weights=weights) * SECONDS_A_YEAR))


def test_volatility_equals_the_formula_and_the_regime_its_bounds() -> None:
    keep = 0.5 ** (1 / 40)
    frames = made(1_500)
    Volatility(BOOKS, SHAPE, SECOND).observe(frames)
    seen: dict[int, list[float]] = {book: [] for book in range(BOOKS)}
    met = set()
    for frame in frames:
        mine = seen[int(frame["book"])]
        if frame["flags"] & RESET:
            mine.clear()
        elif frame["flags"] & VALID:
            mine.append(float(frame["return_"]))
        wanted = written_out(mine, keep)
        assert frame["volatility"] == pytest.approx(wanted, rel=1e-9, abs=1e-12)
        regime = Regime.NORMAL_VOL
        if 1 - keep ** len(mine) < 0.5:
            regime = Regime.UNKNOWN
        elif wanted >= 0.60:
            regime = Regime.EXTREME_VOL
        elif wanted >= 0.50:
            regime = Regime.HIGH_VOL
        elif wanted < 0.15:
            regime = Regime.LOW_VOL
        assert frame["regime"] == regime
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
    frames = np.zeros(120, FRAME)
    frames["flags"] = VALID
    frames["return_"] = volatility / np.sqrt(SECONDS_A_YEAR)
    frames["return_"][::2] *= -1
    Volatility(1, SHAPE, SECOND).observe(frames)
    assert frames["volatility"][-1] == pytest.approx(volatility)
    assert frames["regime"][-1] == regime


def test_the_regime_is_unknown_until_half_a_window_is_seen() -> None:
    frames = np.zeros(80, FRAME)
    frames["flags"] = VALID
    frames["flags"][45] = RESET | VALID
    Volatility(1, VolatilityShape(halflife_s=39.5), SECOND).observe(frames)
    known = np.flatnonzero(frames["regime"] != Regime.UNKNOWN).tolist()
    assert known == [39, 40, 41, 42, 43, 44]


@settings(max_examples=40 if COMPILED else 5, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=8), seed=st.integers(0, 50))
def test_any_split_gives_the_same_bits(cuts: list[float], seed: int) -> None:
    whole, split = Volatility(BOOKS, SHAPE, SECOND), Volatility(BOOKS, SHAPE, SECOND)
    frames = made(400, seed)
    pieces = pieces_of(frames.copy(), cuts)
    whole.observe(frames)
    for piece in pieces:
        split.observe(piece)
    assert np.concatenate(pieces).tobytes() == frames.tobytes()
    assert carry(split.state) == carry(whole.state)


def test_step_by_step_gives_the_same_bits() -> None:
    whole, single = Volatility(BOOKS, SHAPE, SECOND), Volatility(BOOKS, SHAPE, SECOND)
    frames = made(400)
    one_by_one = frames.copy()
    whole.observe(frames)
    for i in range(len(one_by_one)):
        single.observe(one_by_one[i : i + 1])
    assert one_by_one.tobytes() == frames.tobytes()
    assert carry(single.state) == carry(whole.state)
