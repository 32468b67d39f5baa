"""Robust means: where they lie, what moves them, and how far."""

import math
from itertools import combinations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import norm
from statsmodels.robust.scale import mad

from seawall.core.errors import DataError
from seawall.estimation import (
    CatoniMean,
    Estimator,
    GeometricMedianOfMeans,
    MedianOfMeans,
    SampleMean,
)
from seawall.estimation.location_kernels import catoni, catoni_columns
from tests.tapes import COMPILED

Array = NDArray[np.float64]
ROWS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30)


def normal(n: int, d: int = 1, seed: int = 0) -> Array:
    """Rows of independent standard normal columns."""
    return np.random.default_rng(seed).standard_normal((n, d))


def exact_root(x: Array, scale: float, c: float) -> mpmath.mpf:
    """The root of Catoni's equation with the psi as it is written, by bisection to 50 digits."""

    def psi(t: mpmath.mpf) -> mpmath.mpf:
        if abs(t) >= 1:
            return mpmath.sign(t) * mpmath.log(2)
        return -mpmath.sign(t) * mpmath.log(1 - abs(t) + t * t / 2)

    low, high = mpmath.mpf(float(x.min())), mpmath.mpf(float(x.max()))
    alpha = 1 / (mpmath.mpf(c) * mpmath.mpf(scale))
    values = [mpmath.mpf(float(one)) for one in x]
    for _ in range(200):
        middle = (low + high) / 2
        if sum(psi(alpha * (one - middle)) for one in values) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


SAMPLES = {
    "normal": normal(21)[:, 0],
    "one": np.array([3.25]),
    "two": np.array([0.0, 3.9]),
    "a third far away": np.concatenate([normal(14, seed=2)[:, 0], np.full(6, 1e6)]),
    "heavy tails": np.random.default_rng(3).standard_cauchy(30),
    "half and half, nearly out of reach": np.array([0.0, 1e-7, 2e-7, 3.9999, 4.0, 3.99999]),
}


@pytest.mark.parametrize(
    ("name", "c"),
    [(name, 2.0) for name in SAMPLES] + [("normal", 0.7), ("heavy tails", 0.7)],
)
def test_catoni_is_the_root_to_fifty_digits(name: str, c: float) -> None:
    with mpmath.workdps(50):
        expected = float(exact_root(SAMPLES[name], 1.0, c))
    assert catoni(SAMPLES[name], 1.0, c) == pytest.approx(expected, abs=1e-12, rel=1e-14)


def test_where_an_interval_solves_the_equation_its_middle_is_taken() -> None:
    assert catoni(np.array([0.0, 0.5, 10.0, 30.0]), 1.0, 2.0) == 5.25
    assert catoni(np.array([0.0, 4.0]), 1.0, 2.0) == 2.0
    low = np.arange(64) % 2 == 0  # all that a first guess looks at lies on one side
    for values in (np.where(low, 0.0, 10.0), np.where(low, 10.0, 0.0)):
        assert catoni(values, 1.0, 2.0) == 5.0


@settings(deadline=None)
@given(ROWS, st.data(), st.floats(0.01, 100.0), st.floats(0.2, 5.0))
def test_catoni_never_falls_when_a_row_rises(
    values: list[float], data: st.DataObject, scale: float, c: float
) -> None:
    x = np.array(values)
    higher = x.copy()
    place = data.draw(st.integers(0, len(x) - 1))
    higher[place] += data.draw(st.floats(0.0, 1e6) | st.floats(0.0, 1e-6))
    before, after = catoni(x, scale, c), catoni(higher, scale, c)
    rounding = 4.0 * np.spacing(max(abs(before), abs(after)))
    assert after >= before - 1e-12 * scale - rounding


@settings(deadline=None)
@given(ROWS, st.floats(-1e3, 1e3), st.floats(0.01, 100.0), st.randoms(use_true_random=False))
def test_catoni_follows_shifts_scales_and_no_order(
    values: list[float], shift: float, factor: float, random: object
) -> None:
    x = np.array(values)
    shuffled = values[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    base = catoni(x, 1.5, 2.0)
    tolerance = 1e-9 * max(1.0, np.abs(x).max(), abs(shift))
    assert x.min() <= base <= x.max()
    assert catoni(np.array(shuffled), 1.5, 2.0) == pytest.approx(base, abs=tolerance)
    assert catoni(x + shift, 1.5, 2.0) == pytest.approx(base + shift, abs=tolerance)
    scaled = catoni(factor * x, factor * 1.5, 2.0)
    assert scaled == pytest.approx(factor * base, abs=tolerance * factor)


@pytest.mark.parametrize(("share", "most"), [(0.4, 3.3), (0.25, 0.95)])
def test_far_rows_move_catoni_by_a_few_deviations_only(share: float, most: float) -> None:
    for seed in range(20):
        rows = normal(1000, seed=seed)
        clean = CatoniMean().fit(rows).mean[0]
        rows[: int(share * 1000)] = 1e6
        assert abs(CatoniMean().fit(rows).mean[0] - clean) <= most


@pytest.mark.parametrize(
    ("share", "floor", "most"), [(0.05, 0.066, 1.6), (0.10, 0.140, 1.6), (0.20, 0.319, 1.9)]
)
def test_the_worst_bias_is_near_the_least_that_any_estimator_can_have(
    share: float, floor: float, most: float
) -> None:
    n = 4001 if COMPILED else 401
    count = round(share * n)
    clean = norm.ppf((np.arange(n - count) + 0.5) / (n - count))
    offsets = np.concatenate([np.arange(0.5, 8.0, 0.25), 10.0 ** np.arange(1, 7)])
    worst = max(
        CatoniMean().fit(np.concatenate([clean, np.full(count, offset)])[:, None]).mean[0]
        for offset in offsets
    )
    assert floor * 0.97 <= worst <= most * floor


def test_each_column_is_its_own_sample() -> None:
    x = normal(101, 3)
    out = np.empty(3)
    catoni_columns(x, 1.0, 2.0, out)
    assert list(out) == [catoni(np.ascontiguousarray(x[:, j]), 1.0, 2.0) for j in range(3)]
    assert list(CatoniMean(scale=(1.0, 1.0, 1.0)).fit(x).mean) == list(out)


def test_its_own_scale_is_the_normalised_median_absolute_deviation() -> None:
    x = normal(100, 2, seed=4)
    found = CatoniMean().fit(x)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(mad(x), rel=1e-12)
    assert found.breakdown == 49 / 100


def test_a_column_without_scale_has_its_median() -> None:
    x = np.column_stack([np.full(9, 7.0), [0, 0, 0, 0, 0, 1, 2, 3, 50], np.arange(9)])
    assert list(CatoniMean().fit(x).mean) == [7.0, 0.0, 4.0]
    assert CatoniMean(scale=(0.0, 1.0, 1.0)).fit(x).mean[0] == 7.0
    assert math.isfinite(CatoniMean().fit(np.full((5, 1), 3.0)).bound)


@pytest.mark.parametrize(
    ("n", "contamination", "count"), [(15, 0.0, 1), (15, 0.2, 3), (12, 0.4, 4)]
)
def test_catonis_bound_is_reached_and_not_passed(n: int, contamination: float, count: int) -> None:
    x = normal(n, seed=n)
    estimator = CatoniMean(scale=(1.0,), contamination=contamination)
    found = estimator.fit(x)
    shifts = []
    for rows in combinations(range(n), count):
        for far in (-1e6, -2.0, 2.0, 1e6):
            spoilt = x.copy()
            spoilt[list(rows)] = far
            shifts.append(abs(catoni(spoilt[:, 0], 1.0, 2.0) - found.mean[0]))
    assert max(shifts) == pytest.approx(found.bound, abs=1e-9)


def test_a_median_of_means_is_what_it_says() -> None:
    x = normal(103, 2, seed=5)
    blocks = [block.mean(axis=0) for block in np.array_split(x, 10)]
    found = MedianOfMeans(blocks=10).fit(x)
    assert found.mean == pytest.approx(np.median(blocks, axis=0), abs=1e-15)
    assert found.breakdown == 4 / 103


@pytest.mark.parametrize("kind", [MedianOfMeans, GeometricMedianOfMeans])
def test_ten_blocks_withstand_four_bad_rows_and_not_the_fifth(
    kind: type[MedianOfMeans] | type[GeometricMedianOfMeans],
) -> None:
    x = normal(1000, 2, seed=6)
    four, five = x.copy(), x.copy()
    four[[0, 100, 200, 300]] = 1e9
    five[[0, 100, 200, 300, 400]] = 1e9
    assert np.abs(kind(blocks=10).fit(four).mean).max() < 1.0
    assert np.abs(kind(blocks=10).fit(five).mean).max() > 1e5


def test_the_blocks_follow_from_the_contamination() -> None:
    x = normal(1000, seed=7)
    x[::20] = 1e9  # five per cent, spread over as many blocks as they can reach
    found = MedianOfMeans(contamination=0.05).fit(x)
    assert found.breakdown == 0.05
    assert abs(found.mean[0]) < 2.0
    assert abs(MedianOfMeans(contamination=0.04).fit(x).mean[0]) > 1e6


def test_the_bound_of_a_median_of_means_is_reached() -> None:
    x = normal(30, seed=8)
    found = MedianOfMeans(blocks=6).fit(x)
    moved = []
    for row in range(30):
        for far in (-1e9, 1e9):
            spoilt = x.copy()
            spoilt[row] = far
            moved.append(abs(MedianOfMeans(blocks=6).fit(spoilt).mean[0] - found.mean[0]))
    deviation = math.sqrt(found.covariance[0, 0])
    assert max(moved) == pytest.approx(found.bound * deviation, rel=1e-12)


def test_the_geometric_median_minimises_the_sum_of_distances() -> None:
    x = np.random.default_rng(9).standard_t(2, (90, 3))
    means = np.stack([block.mean(axis=0) for block in np.array_split(x, 9)])

    def total(place: Array) -> float:
        return float(np.sqrt(((means - place) ** 2).sum(axis=1)).sum())

    found = GeometricMedianOfMeans(blocks=9).fit(x).mean
    best = minimize(total, means.mean(axis=0), method="Nelder-Mead", options={"xatol": 1e-10})
    assert found == pytest.approx(best.x, abs=1e-4)
    assert total(found) <= best.fun + 1e-12


@pytest.mark.parametrize("on_start", [True, False])
def test_the_geometric_median_leaves_and_finds_points_of_the_sample(on_start: bool) -> None:
    # The middle of a triangle with an obtuse corner over 120 degrees is that corner.
    x = np.array([[0.0, 0.0], [-1.0, 0.1], [1.0, 0.1]])
    if on_start:  # the column medians lie on a row that is not the median
        x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0], [-4.0, 0.0], [0.0, -4.0]])
        x = np.vstack([x, [[0.0, 3.0]]])
    found = GeometricMedianOfMeans(blocks=len(x)).fit(x).mean
    away = x - found
    distances = np.sqrt((away**2).sum(axis=1))
    here = distances < 1e-9
    pull = (away[~here] / distances[~here, None]).sum(axis=0)
    assert np.sqrt((pull**2).sum()) <= here.sum() + 1e-5
    assert on_start or found == pytest.approx([0.0, 0.0], abs=1e-9)


def test_the_geometric_median_stays_on_a_point_that_is_the_median() -> None:
    x = [[0.0, 0.0], [-1.0, 0.3], [1.0, 0.2], [-1.0, -0.1], [0.9, -0.5]]
    assert list(GeometricMedianOfMeans(blocks=5).fit(x).mean) == [0.0, 0.0]


def test_the_geometric_median_turns_with_its_rows_and_keeps_its_bound() -> None:
    x = normal(60, 2, seed=10) * [1.0, 3.0]
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    estimator = GeometricMedianOfMeans(blocks=6)
    found = estimator.fit(x)
    assert estimator.fit(x @ turn).mean == pytest.approx(found.mean @ turn, abs=1e-9)
    deviations = np.sqrt(np.diag(found.covariance))
    for far in ([1e9, 0.0], [0.0, -1e9], [2.0, 2.0]):
        spoilt = x.copy()
        spoilt[0] = far
        assert (np.abs(estimator.fit(spoilt).mean - found.mean) / deviations).max() <= found.bound


def test_the_sample_mean_is_that_of_numpy_and_promises_nothing() -> None:
    x, weights = normal(50, 3, seed=11), np.random.default_rng(1).uniform(0.0, 1.0, 50)
    found = SampleMean().fit(x, weights)
    assert found.mean == pytest.approx(np.average(x, axis=0, weights=weights), rel=1e-12)
    assert found.covariance == pytest.approx(np.cov(x.T, aweights=weights), rel=1e-12)
    assert found.effective_n == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert SampleMean().fit(x).covariance == pytest.approx(np.cov(x.T), rel=1e-12)
    assert (found.breakdown, found.bound) == (0.0, math.inf)


ROBUST: list[Estimator] = [
    CatoniMean(),
    MedianOfMeans(blocks=3),
    GeometricMedianOfMeans(blocks=3),
]


@pytest.mark.parametrize("estimator", [*ROBUST, SampleMean()], ids=lambda one: type(one).__name__)
def test_the_same_rows_give_the_same_bits_and_stay_as_they_are(estimator: Estimator) -> None:
    x = normal(40, 3, seed=12)
    kept = x.copy()
    first, second = estimator.fit(x), estimator.fit(np.asfortranarray(x))
    assert first.mean.tobytes() == second.mean.tobytes()
    assert first.covariance.tobytes() == second.covariance.tobytes()
    assert np.array_equal(x, kept)


@pytest.mark.parametrize("estimator", [*ROBUST, SampleMean()], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1.0, 2.0], [math.nan, 4.0], [1.0, 1.0]], "row 1, column 0 of a sample is nan"),
        ([[1.0], [2.0], [math.inf]], "row 2, column 0"),
        ([[1e200], [2.0], [3.0]], "beyond 1e"),
        ([[1.0, 2.0]], "at least two rows"),
        ([1.0, 2.0, 3.0], "at least two rows"),
        ([["a"], ["b"], ["c"]], "give numbers"),
    ],
)
def test_what_is_no_sample_is_refused(estimator: Estimator, rows: list[object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        estimator.fit(rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("estimator", ROBUST, ids=lambda one: type(one).__name__)
def test_weights_are_refused_where_they_would_be_ignored(estimator: Estimator) -> None:
    with pytest.raises(DataError, match="takes no weights: draw the rows by a Reservoir"):
        estimator.fit(normal(9), np.ones(9))


@pytest.mark.parametrize("weights", [[1.0], [0.0] * 4, [1.0, -1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
def test_weights_that_say_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(DataError, match="weight"):
        SampleMean().fit(normal(4), weights)


def test_settings_out_of_range_are_refused() -> None:
    for make in (
        lambda: CatoniMean(c=0.0),
        lambda: CatoniMean(scale=(-1.0,)),
        lambda: CatoniMean(contamination=0.5),
        MedianOfMeans,
        lambda: MedianOfMeans(blocks=3, contamination=0.1),
        lambda: MedianOfMeans(blocks=5).fit(normal(4)),
        lambda: CatoniMean(scale=(1.0, 1.0)).fit(normal(4)),
    ):
        with pytest.raises(DataError):
            make()
