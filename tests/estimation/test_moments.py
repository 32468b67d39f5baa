"""EWMA location and scale: held to the formula written out, and to what an attacker can do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.consensus import CONSENSUS
from seawall.core.frames import FrameFlag
from seawall.estimation import Moments, MomentsShape
from seawall.estimation.kernels import LEAST, REACH, SETTLED
from seawall.estimation.moments import LEAST_FRAMES, decay
from tests.tapes import COMPILED, Rows, carry, pieces_of

VALID, RESET = int(FrameFlag.VALID), int(FrameFlag.RESET)
SHAPE = MomentsShape(halflife_s=40.0)
KEEP = 0.5 ** (1 / 40)
GROUPS = 3


def said(*returns: float, groups: list[int] | None = None) -> Rows:
    """Valid rows with these returns, which nobody can have forged."""
    rows = np.zeros(len(returns), CONSENSUS)
    rows["flags"] = VALID
    rows["group"] = 0 if groups is None else groups
    for column in ("value", "low", "high"):
        rows[column][:, 0] = returns
    return rows


def made(count: int, seed: int = 1) -> Rows:
    """Rows of three groups, interleaved, some invalid, a few resets; each return has bounds."""
    random = np.random.default_rng(seed)
    groups = random.integers(0, GROUPS, count).tolist()
    rows = said(*(1e-4 + 1e-3 * random.standard_t(3, count)), groups=groups)
    rows["low"][:, 0] -= 1e-4 * np.abs(random.standard_t(2, count))
    rows["high"][:, 0] += 1e-4 * np.abs(random.standard_t(2, count))
    rows["flags"] = random.choice(
        [VALID, 0, RESET | VALID, RESET], count, p=[0.9, 0.06, 0.02, 0.02]
    )
    return rows


def written_out(values: list[float]) -> float:
    """Mean with weights KEEP ** age, normalised (bias-corrected)."""
    weights = KEEP ** np.arange(len(values) - 1, -1, -1)
    return float(np.average(values, weights=weights)) if values else 0.0


def expected(rows: Rows) -> list[tuple[float, float]]:
    """Location; and the root of the mean square, each square at most REACH scales' worth."""
    returns: dict[int, list[float]] = {group: [] for group in range(GROUPS)}
    squares: dict[int, list[float]] = {group: [] for group in range(GROUPS)}
    found = []
    for row in rows:
        group = int(row["group"])
        if row["flags"] & VALID and not row["flags"] & RESET:
            value = float(row["value"][0])
            square = value**2
            if 1.0 - KEEP ** len(squares[group]) >= SETTLED:
                square = min(square, REACH**2 * written_out(squares[group]))
            returns[group].append(value)
            squares[group].append(square)
        found.append((written_out(returns[group]), np.sqrt(written_out(squares[group]))))
    return found


def test_location_and_scale_equal_the_formula() -> None:
    rows = made(1_500)
    rows["value"][900, 0] = 0.5  # beyond the reach
    Moments(GROUPS, SHAPE, SECOND).observe(rows)
    wanted = np.array(expected(rows))
    np.testing.assert_allclose(rows["location"], wanted[:, 0], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(rows["scale"], wanted[:, 1], rtol=1e-9, atol=1e-12)


def test_the_factor_is_the_scale_before_the_row() -> None:
    rows = made(600)
    Moments(GROUPS, SHAPE, SECOND).observe(rows)
    for group in range(GROUPS):
        own = rows[rows["group"] == group]
        for end in ("", "_low", "_high"):
            assert own[f"factor{end}"].tolist() == [0.0, *own[f"scale{end}"][:-1]]


def test_the_first_return_is_believed_in_full() -> None:
    rows = said(0.0, 0.01, 0.01)
    rows["flags"][0] |= RESET
    Moments(1, SHAPE, SECOND).observe(rows)
    assert rows["location"].tolist() == pytest.approx([0, 0.01, 0.01])
    assert rows["scale"].tolist() == pytest.approx([0, 0.01, 0.01])


def test_a_reset_brings_no_return_and_takes_nothing_away_and_other_groups_go_on() -> None:
    rows = said(0.5, 0.2, 9.0, 0.5, 0.2, groups=[0, 1, 0, 0, 1])
    rows["flags"][2] |= RESET
    Moments(2, SHAPE, SECOND).observe(rows)
    assert rows["location"].tolist() == pytest.approx([0.5, 0.2, 0.5, 0.5, 0.2])
    assert rows["scale"].tolist() == pytest.approx([0.5, 0.2, 0.5, 0.5, 0.2])


def test_rows_that_are_not_valid_teach_nothing() -> None:
    rows = said(0.1, 9.0, 9.0)
    rows["flags"] = [VALID, 0, FrameFlag.UNCORROBORATED]
    Moments(1, SHAPE, SECOND).observe(rows)
    assert rows["location"].tolist() == pytest.approx([0.1] * 3)


def test_one_return_moves_the_scale_by_a_known_little() -> None:
    rows = said(*[1e-3, -1e-3] * 200, 1e9)
    Moments(1, SHAPE, SECOND).observe(rows)
    most = np.sqrt(1.0 + (1.0 - KEEP) * (REACH**2 - 1.0) * 1.001)
    assert rows["scale"][-1] == pytest.approx(most * rows["scale"][-2], rel=1e-3)


def test_a_market_that_stood_still_at_first_has_a_scale_when_it_moves() -> None:
    rows = said(*[0.0] * 100, *[1e-3, -1e-3] * 200)
    Moments(1, SHAPE, SECOND).observe(rows)
    assert rows["scale"][99] == 0.0
    assert rows["scale"][-1] == pytest.approx(1e-3, rel=0.02)
    assert 0.0 < rows["scale"][100] <= REACH * np.sqrt(LEAST)


@pytest.mark.parametrize("cadence", [SECOND, SECOND // 10])
def test_an_observation_counts_half_after_the_half_life(cadence: int) -> None:
    rows = 300 * SECOND // cadence
    assert decay(300.0, cadence) ** rows == pytest.approx(0.5, rel=1e-9)


def test_a_half_life_is_some_rows_long_however_long_the_rows_are() -> None:
    assert decay(300.0, 900 * SECOND) ** LEAST_FRAMES == pytest.approx(0.5, rel=1e-9)


# --- bounds ---


@settings(max_examples=100 if COMPILED else 5, deadline=None)
@given(seed=st.integers(0, 2**32), blind=st.floats(0, 0.3), corners=st.booleans())
def test_whatever_was_said_without_the_attack_its_scale_lies_inside_the_bounds(
    seed: int, blind: float, corners: bool
) -> None:
    random = np.random.default_rng(seed)
    rows = made(300 if COMPILED else 80, seed)
    late = np.flatnonzero(random.uniform(size=len(rows)) < blind)
    late = late[late > 60]
    rows["low"][late, 0], rows["high"][late, 0] = -np.inf, np.inf  # nothing can be said
    share = random.uniform(size=len(rows))
    share = np.round(share) if corners else share
    low, high = np.maximum(rows["low"][:, 0], -0.3), np.minimum(rows["high"][:, 0], 0.3)
    other = rows.copy()
    other["value"][:, 0] = share * low + (1.0 - share) * high
    Moments(GROUPS, SHAPE, SECOND).observe(rows)
    Moments(GROUPS, SHAPE, SECOND).observe(other)
    for column in ("scale", "factor"):
        for one in (rows, other):
            assert np.all(one[column] >= rows[f"{column}_low"] * (1 - 1e-9))
            assert np.all(one[column] <= rows[f"{column}_high"] * (1 + 1e-9))


def test_where_nobody_can_lie_the_bounds_are_the_scale_itself() -> None:
    rows = made(400)
    rows["low"] = rows["high"] = rows["value"]
    Moments(GROUPS, SHAPE, SECOND).observe(rows)
    for end in ("low", "high"):
        np.testing.assert_allclose(rows[f"scale_{end}"], rows["scale"], rtol=1e-12)


# --- splits ---


@settings(max_examples=40 if COMPILED else 5, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=8), seed=st.integers(0, 50))
def test_any_split_gives_the_same_bits(cuts: list[float], seed: int) -> None:
    whole, split = Moments(GROUPS, SHAPE, SECOND), Moments(GROUPS, SHAPE, SECOND)
    rows = made(400, seed)
    pieces = pieces_of(rows.copy(), cuts)
    whole.observe(rows)
    for piece in pieces:
        split.observe(piece)
    assert np.concatenate(pieces).tobytes() == rows.tobytes()
    assert carry(split.state) == carry(whole.state)


def test_step_by_step_gives_the_same_bits() -> None:
    whole, single = Moments(GROUPS, SHAPE, SECOND), Moments(GROUPS, SHAPE, SECOND)
    rows = made(400)
    one_by_one = rows.copy()
    whole.observe(rows)
    for i in range(len(one_by_one)):
        single.observe(one_by_one[i : i + 1])
    assert one_by_one.tobytes() == rows.tobytes()
    assert carry(single.state) == carry(whole.state)
