"""The micro-price: where the mid is expected to end, held to that very expectation."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import DataError
from seawall.core.frames import FRAME, FrameFlag
from seawall.market import MarketShape
from seawall.market.features import features_of, fit_micro_price
from seawall.market.features.feature_kernels import BUCKETS, SPREADS
from seawall.market.features.micro_price import adjustment, transitions
from tests.tapes import COMPILED, simulated

COUNT = SPREADS * BUCKETS
MIRROR = np.arange(COUNT).reshape(SPREADS, BUCKETS)[:, ::-1].ravel()


def frames_of(touches: list[tuple[int, int, int, int]]) -> np.ndarray[Any, Any]:
    """Valid frames of one book: bid, ask, bid size, ask size."""
    frames = np.zeros(len(touches), FRAME)
    for name, values in zip(
        ("bid", "ask", "bid_size", "ask_size"), zip(*touches, strict=True), strict=True
    ):
        frames[name] = values
    frames["flags"] = FrameFlag.VALID
    return frames


def expected_move(states: np.ndarray, moves: np.ndarray, steps: int = 200_000) -> np.ndarray:
    """Where the mid of the mirrored chain has gone after many steps, by walking it."""
    now = np.concatenate((states[:, 0], MIRROR[states[:, 0]]))
    after = np.concatenate((states[:, 1], MIRROR[states[:, 1]]))
    change = np.concatenate((moves, -moves))
    chances, mean = np.zeros((COUNT, COUNT)), np.zeros(COUNT)
    for start in np.unique(now):
        mine = now == start
        chances[start] = np.bincount(after[mine], minlength=COUNT) / mine.sum()
        mean[start] = change[mine].mean()
    total, step = mean.copy(), chances
    while steps > 1:  # after n steps, then after 2 n
        total = total + step @ total
        step = step @ step
        steps //= 2
    return total


def test_a_chain_worked_out_by_hand() -> None:
    """Two imbalances. At the heavy bid the mid stays in half of all cases, and the imbalance too;
    in the other half it rises by one tick into the heavy ask, from where all is the mirror image.

    G1 = 1 tick: sooner or later it rises. Then it falls by as much, and so on: with that tick taken
    back for certain the sum 1 - 1 + 1 ... has no limit.
    """
    low, high = 1, BUCKETS - 2
    states = np.array([[high, high], [high, low]])
    with pytest.raises(DataError, match="does not converge"):
        adjustment(states, np.array([0.0, 1.0]), "a chain")
    # where half of the moves leave the bid heavy, G* = 1 + G*/2 - G*/2
    states = np.array([[high, high], [high, high], [high, low]])
    found = adjustment(states, np.array([0.0, 1.0, 1.0]), "a chain")
    assert found[0, high] == pytest.approx(1.0)
    assert found[0, low] == pytest.approx(-1.0)
    # three of four leave it heavy: G* = 1 + 3/4 G* - 1/4 G*, so 2 ticks
    states = np.array([[high, high]] * 3 + [[high, low]])
    found = adjustment(states, np.ones(4), "a chain")
    assert found[0, high] == pytest.approx(2.0)
    assert np.count_nonzero(found) == 2


@settings(max_examples=30 if COMPILED else 3, deadline=None)
@given(st.integers(0, 1 << 30))
def test_it_is_where_the_mid_is_expected_to_end(seed: int) -> None:
    random = np.random.default_rng(seed)
    states = random.integers(0, COUNT, (4_000, 2))
    tilt = (states[:, 0] % BUCKETS - 4.5) / 9
    moves = np.where(random.random(4_000) < 0.3, np.sign(tilt + random.normal(0, 0.4, 4_000)), 0.0)
    found = adjustment(states, moves, "a chain").ravel()
    np.testing.assert_allclose(found, expected_move(states, moves), atol=1e-7)
    np.testing.assert_allclose(found, -found[MIRROR], atol=1e-12)


def test_pairs_do_not_reach_across_a_reset_or_a_frame_that_is_not_valid() -> None:
    frames = frames_of([(99, 101, 9, 1), (99, 101, 1, 9), (98, 99, 5, 5), (90, 99, 2, 2)])
    states, moves = transitions(frames)
    spread = [1, 1, 0, 3]
    bucket = [9, 1, 5, 5]
    wanted = [s * BUCKETS + b for s, b in zip(spread, bucket, strict=True)]
    assert states.tolist() == [list(pair) for pair in pairwise(wanted)]
    assert moves.tolist() == [0, -1.5, -4]
    frames["flags"][2] |= FrameFlag.RESET
    assert len(transitions(frames)[0]) == 2
    frames["flags"][2] = 0
    assert len(transitions(frames)[0]) == 1
    frames["flags"][2] = FrameFlag.VALID | FrameFlag.BAR
    assert len(transitions(frames)[0]) == 1


def test_a_book_that_hardly_moves_has_none() -> None:
    assert fit_micro_price(frames_of([(99, 101, 9, 1)] * 500)) == {}


def test_the_feature_reads_the_table_that_was_fitted_on_the_past() -> None:
    catalog, rows = simulated(120 if COMPILED else 5, outages_per_hour=0.0)
    shape = MarketShape(cadence_ns=100_000_000)
    past = features_of(catalog, [rows], shape)
    assert np.isnan(past.features["micro_price"]).all()
    made_up = {0: np.arange(COUNT).reshape(SPREADS, BUCKETS) / 7}
    tables = fit_micro_price(past.frames) if COMPILED else made_up
    frames, features = features_of(catalog, [rows], shape, tables)
    assert len(tables) > 0
    for book, table in tables.items():
        mine = frames["book"] == book
        some, tick = frames[mine], catalog.instrument_of(book).tick_float
        imbalance = some["bid_size"] / (some["bid_size"] + some["ask_size"])
        bucket = np.minimum((BUCKETS * imbalance).astype(int), BUCKETS - 1)
        adjusted = tick * table[np.clip(some["ask"] - some["bid"], 1, SPREADS) - 1, bucket]
        valid = (some["flags"] & FrameFlag.VALID) > 0
        wanted = np.where(valid, some["mid"] + adjusted, np.nan)
        np.testing.assert_allclose(features["micro_price"][mine], wanted, rtol=1e-14)
        deviation = features["micro_price_deviation"][mine]
        np.testing.assert_allclose(deviation[valid], 1e4 * (adjusted / some["mid"])[valid])
    with pytest.raises(DataError, match="fit_micro_price"):
        features_of(catalog, [rows[:10]], shape, {0: np.zeros((2, 2))})
