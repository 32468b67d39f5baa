"""Influence clipping: far rows come nearer, near rows stay, and the covariance is made good."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from seawall.core.errors import DataError
from seawall.estimation import clip, consistency, radius_of

COVARIANCE = np.array([[2.0, 0.6], [0.6, 1.0]])
MEAN = np.array([1.0, -1.0])


def distances(x: np.ndarray) -> np.ndarray:
    away = x - MEAN
    return np.sqrt(np.einsum("ij,jk,ik->i", away, np.linalg.inv(COVARIANCE), away))


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 10.0), st.floats(0.1, 1e6))
def test_far_rows_end_on_the_radius_and_near_rows_stay(
    seed: int, radius: float, spread: float
) -> None:
    x = MEAN + spread * np.random.default_rng(seed).standard_normal((20, 2))
    clipped, before = clip(x, MEAN, COVARIANCE, radius), distances(x)
    near = before <= radius * (1.0 - 1e-12)
    assert np.array_equal(clipped[near], x[near])
    assert distances(clipped) == pytest.approx(np.minimum(before, radius), rel=1e-9)
    along = (clipped - MEAN) * before[:, None]
    assert along == pytest.approx((x - MEAN) * distances(clipped)[:, None], rel=1e-8, abs=1e-12)


def test_the_radius_grows_with_the_columns() -> None:
    assert radius_of(8) == pytest.approx(4.48, abs=0.005)
    for d in (1, 3, 8, 16):
        assert chi2.cdf(radius_of(d) ** 2, d) == pytest.approx(0.99)
    x = np.random.default_rng(0).standard_normal((20_000, 8))
    moved = (clip(x, np.zeros(8), np.eye(8)) != x).any(axis=1).mean()
    assert moved == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize(("d", "factor"), [(8, 0.853), (10, 0.776), (16, 0.554)])
def test_the_covariance_of_clipped_rows_is_made_good(d: int, factor: float) -> None:
    assert consistency(3.0, d) == pytest.approx(factor, abs=5e-4)
    x = np.random.default_rng(1).standard_normal((40_000, d))
    clipped = clip(x, np.zeros(d), np.eye(d), 3.0)
    spread = np.trace(clipped.T @ clipped) / (len(x) * d)
    assert spread / consistency(3.0, d) == pytest.approx(1.0, abs=0.01)


def test_a_row_of_any_size_has_bounded_influence() -> None:
    x = np.random.default_rng(2).standard_normal((100, 2))
    x[0] = 1e90
    assert np.abs(clip(x, MEAN, COVARIANCE)).max() < 10.0


def test_what_cannot_be_clipped_is_refused() -> None:
    x = np.zeros((3, 2))
    for mean, covariance, radius, words in (
        (np.zeros(3), np.eye(2), 1.0, r"give \(2,\) and \(2, 2\)"),
        (np.zeros(2), np.eye(3), 1.0, "covariance of shape"),
        (np.zeros(2), np.diag([1.0, 0.0]), 1.0, "leave constant columns out"),
        (np.zeros(2), np.eye(2), 0.0, "positive number"),
    ):
        with pytest.raises(DataError, match=words):
            clip(x, mean, covariance, radius)
    for call in (
        lambda: radius_of(0),
        lambda: radius_of(2, 1.0),
        lambda: consistency(-1.0, 2),
    ):
        with pytest.raises(DataError):
            call()
