"""EWMA location and scale: held to the formula written out, restarted by RESET."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.frames import FRAME, FrameFlag
from seawall.estimation import Moments, MomentsShape
from seawall.estimation.moments import LEAST_FRAMES, decay
from tests.tapes import COMPILED, Rows, carry, pieces_of

VALID, RESET, STALE = int(FrameFlag.VALID), int(FrameFlag.RESET), int(FrameFlag.STALE)
SHAPE = MomentsShape(halflife_s=40.0)
BOOKS = 3


def made(count: int, seed: int = 1) -> Rows:
    """Frames of three books, interleaved, some invalid, a few resets."""
    random = np.random.default_rng(seed)
    frames = np.zeros(count, FRAME)
    frames["book"] = random.integers(0, BOOKS, count)
    frames["return_"] = 1e-4 + 1e-3 * random.standard_t(3, count)
    frames["flags"] = random.choice(
        [VALID, STALE, RESET | VALID, RESET], count, p=[0.9, 0.06, 0.02, 0.02]
    )
    return frames


def written_out(returns: list[float], keep: float) -> tuple[float, float]:
    """Mean and standard deviation with weights keep ** age, normalised (bias-corrected)."""
    if not returns:
        return 0.0, 0.0
    weights = keep ** np.arange(len(returns) - 1, -1, -1)
    mean = np.average(returns, weights=weights)
    return mean, np.sqrt(np.average((np.array(returns) - mean) ** 2, weights=weights))


def expected(frames: Rows, keep: float) -> list[tuple[float, float]]:
    seen: dict[int, list[float]] = {book: [] for book in range(BOOKS)}
    found = []
    for frame in frames:
        book = int(frame["book"])
        if frame["flags"] & RESET:
            seen[book] = []
        elif frame["flags"] & VALID:
            seen[book].append(float(frame["return_"]))
        found.append(written_out(seen[book], keep))
    return found


def test_location_and_scale_equal_the_formula() -> None:
    frames = made(1_500)
    Moments(BOOKS, SHAPE, SECOND).observe(frames)
    wanted = np.array(expected(frames, 0.5 ** (1 / 40)))
    np.testing.assert_allclose(frames["location"], wanted[:, 0], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(frames["scale"], wanted[:, 1], rtol=1e-9, atol=1e-12)


def test_the_first_return_is_believed_in_full() -> None:
    frames = np.zeros(3, FRAME)
    frames["flags"] = [RESET | VALID, VALID, VALID]
    frames["return_"] = [0.0, 0.01, 0.01]
    Moments(1, SHAPE, SECOND).observe(frames)
    assert frames["location"].tolist() == pytest.approx([0, 0.01, 0.01])
    assert frames["scale"].tolist() == [0, 0, 0]


def test_a_reset_forgets_what_came_before_it_and_other_books_go_on() -> None:
    frames = np.zeros(5, FRAME)
    frames["book"] = [0, 1, 0, 0, 1]
    frames["flags"] = [VALID, VALID, RESET | VALID, VALID, VALID]
    frames["return_"] = [0.5, 0.2, 0.0, 0.001, 0.2]
    Moments(2, SHAPE, SECOND).observe(frames)
    assert frames["location"].tolist() == pytest.approx([0.5, 0.2, 0, 0.001, 0.2])


def test_frames_that_are_not_valid_teach_nothing() -> None:
    frames = np.zeros(3, FRAME)
    frames["flags"] = [VALID, STALE, 0]
    frames["return_"] = [0.1, 9.0, 9.0]
    Moments(1, SHAPE, SECOND).observe(frames)
    assert frames["location"].tolist() == pytest.approx([0.1] * 3)


@pytest.mark.parametrize("cadence", [SECOND, SECOND // 10])
def test_an_observation_counts_half_after_the_half_life(cadence: int) -> None:
    frames = 300 * SECOND // cadence
    assert decay(300.0, cadence) ** frames == pytest.approx(0.5, rel=1e-9)


def test_a_half_life_is_some_frames_long_however_long_the_frames_are() -> None:
    assert decay(300.0, 900 * SECOND) ** LEAST_FRAMES == pytest.approx(0.5, rel=1e-9)


@settings(max_examples=40 if COMPILED else 5, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=8), seed=st.integers(0, 50))
def test_any_split_gives_the_same_bits(cuts: list[float], seed: int) -> None:
    whole, split = Moments(BOOKS, SHAPE, SECOND), Moments(BOOKS, SHAPE, SECOND)
    frames = made(400, seed)
    pieces = pieces_of(frames.copy(), cuts)
    whole.observe(frames)
    for piece in pieces:
        split.observe(piece)
    assert np.concatenate(pieces).tobytes() == frames.tobytes()
    assert carry(split.state) == carry(whole.state)


def test_step_by_step_gives_the_same_bits() -> None:
    whole, single = Moments(BOOKS, SHAPE, SECOND), Moments(BOOKS, SHAPE, SECOND)
    frames = made(400)
    one_by_one = frames.copy()
    whole.observe(frames)
    for i in range(len(one_by_one)):
        single.observe(one_by_one[i : i + 1])
    assert one_by_one.tobytes() == frames.tobytes()
    assert carry(single.state) == carry(whole.state)
