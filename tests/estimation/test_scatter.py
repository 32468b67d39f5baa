"""The minimum regularised covariance determinant: how good its subset is, and what moves it."""

import math
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import eigvalsh
from scipy.stats import chi2, norm, rankdata, spearmanr
from sklearn.covariance import MinCovDet
from statsmodels.robust.scale import qn_scale

from seawall.core.errors import DataError
from seawall.estimation import Mrcd, MrcdEstimate, SampleCovariance
from seawall.estimation import scale_kernels as scales
from seawall.estimation import scatter_kernels as kernels
from seawall.estimation.scatter import _axes, _ranks, least_rho, qn, standardisation
from tests.tapes import COMPILED

Array = NDArray[np.float64]
N = 400 if COMPILED else 120


def correlated(n: int = N, d: int = 4, seed: int = 0, correlation: float = 0.5) -> Array:
    """Gaussian rows of unit variance and one common correlation."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 1))
    own = rng.standard_normal((n, d))
    return math.sqrt(correlation) * common + math.sqrt(1.0 - correlation) * own


def contaminated(share: float, seed: int = 0, far: float = 8.0, **shape: Any) -> Array:
    """As `correlated`, the first rows in a tight cluster against the common direction."""
    x = correlated(seed=seed, **shape)
    count = int(share * len(x))
    signs = np.where(np.arange(x.shape[1]) % 2, 1.0, -1.0)
    x[:count] = far * signs + 0.1 * x[:count]
    return x


def objective(z: Array, chosen: NDArray[np.bool_], rho: float) -> float:
    """log det K(H), as the paper writes it."""
    n, d = z.shape
    count = int(chosen.sum())
    share = count / n
    constant = share / chi2.cdf(chi2.ppf(share, d), d + 2) if share < 1.0 else 1.0
    scatter = np.cov(z[chosen].T, ddof=0).reshape(d, d)
    return float(np.linalg.slogdet(rho * np.eye(d) + (1.0 - rho) * constant * scatter)[1])


def standardised(x: Array, found: MrcdEstimate) -> Array:
    return np.ascontiguousarray((x - found.centre) / found.scale)


# --- its parts ---


@pytest.mark.parametrize("d", [1, 2, 3, 8, 50, 300])
def test_quantiles_of_chi_squared_are_those_of_scipy(d: int) -> None:
    for share in (0.5, 0.75, 0.9, 0.999):
        assert kernels.chi2_quantile(share, d) == pytest.approx(chi2.ppf(share, d), rel=1e-11)


def test_the_consistency_factor_is_the_published_one() -> None:
    factors = [kernels.c_alpha(count, 1000, 8) for count in (500, 750, 900, 1000)]
    assert factors == pytest.approx([1.6266, 1.2965, 1.1309, 1.0], abs=5e-5)


SHAPES = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "ties": lambda rng, n: rng.integers(0, 5, n) * 1.0,
    "few decimals": lambda rng, n: np.round(rng.standard_normal(n), 1),
    "heavy": lambda rng, n: rng.standard_cauchy(n) ** 3,
    "pairs": lambda rng, n: np.repeat(rng.standard_normal(n // 2 + 1), 2)[:n],
    "a third far": lambda rng, n: np.r_[rng.standard_normal(n - n // 3), np.full(n // 3, 1e9)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [2, 3, 4, 7, 8, 12, 13, 50, 201])
def test_the_order_statistic_of_differences_is_exact(shape: str, n: int) -> None:
    x = SHAPES[shape](np.random.default_rng(n), n)
    differences = np.sort(np.abs(x[:, None] - x)[np.triu_indices(n, 1)])
    for k in {1, (n // 2 + 1) * (n // 2) // 2, len(differences)}:
        assert scales.kth_difference(np.sort(x), k) == differences[k - 1]


def test_qn_is_that_of_statsmodels_but_for_the_finite_sample_factor() -> None:
    x = np.random.default_rng(1).standard_normal(2001)
    factor = (1.60188 + (-2.1284 - 5.172 / 2001) / 2001) / 2001 + 1.0
    assert qn(x[None])[0] == pytest.approx(qn_scale(x, c=2.21914) / factor, rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 11, 12, 13, 14, 30])
def test_qn_is_unbiased_for_small_normal_samples(n: int) -> None:
    draws = np.random.default_rng(n).standard_normal((20_000 if COMPILED else 2000, n))
    assert qn(draws).mean() == pytest.approx(1.0, abs=0.02 if COMPILED else 0.06)


def test_the_least_rho_brings_the_condition_number_to_fifty() -> None:
    scatter = np.diag([100.0, 3.0, 0.5])
    rho = least_rho(scatter)
    assert np.linalg.cond(rho * np.eye(3) + (1.0 - rho) * scatter) == pytest.approx(50.0)
    assert least_rho(np.diag([10.0, 1.0])) == 0.0
    assert 0.0 < least_rho(np.diag([1.0, 0.0])) < 1.0


@given(st.lists(st.integers(-3, 3) | st.floats(-9, 9), min_size=1, max_size=60))
def test_ranks_are_those_of_scipy_to_the_bit(values: list[float]) -> None:
    column = np.array(values, np.float64)
    assert _ranks(column).tobytes() == rankdata(column).tobytes()


def test_the_six_starts_are_those_of_the_paper() -> None:
    z = standardised(contaminated(0.1, seed=23), Mrcd().fit(contaminated(0.1, seed=23)))
    ranks, norms = rankdata(z, axis=0), np.linalg.norm(z, axis=1)
    near = z[np.argsort(norms)[: (len(z) + 1) // 2]]
    pairs = np.eye(4)
    for j, k in combinations(range(4), 2):
        ends = qn(np.stack([z[:, j] + z[:, k], z[:, j] - z[:, k]]))
        pairs[j, k] = pairs[k, j] = (ends[0] ** 2 - ends[1] ** 2) / 4.0
    scatters = [
        np.corrcoef(np.tanh(z).T),
        spearmanr(z).statistic,
        np.corrcoef(norm.ppf((ranks - 1 / 3) / (len(z) + 1 / 3)).T),
        (z / norms[:, None]).T @ (z / norms[:, None]),
        np.cov(near.T),
        pairs,
    ]
    axes = _axes(z, np.ascontiguousarray(z.T))
    for scatter, vectors in zip(scatters, axes, strict=True):
        turned = vectors.T @ scatter @ vectors
        assert turned == pytest.approx(np.diag(np.diag(turned)), abs=1e-9 * np.trace(scatter))


def test_the_distances_of_a_start_are_those_of_the_paper() -> None:
    z = correlated(seed=24) + np.array([0.3, 0.0, -0.2, 1.0])
    vectors = np.linalg.eigh(np.cov(z.T))[1]
    along = z @ vectors
    scale = qn(np.ascontiguousarray(along.T))
    root = vectors @ np.diag(scale) @ vectors.T
    centre = root @ np.median(z @ np.linalg.inv(root), axis=0)
    away = np.linalg.solve(root, (z - centre).T)
    out = np.empty(len(z))
    columns = kernels.project(np.ascontiguousarray(z.T), vectors)
    kernels.orthogonalised_distances(columns, scale, vectors, out)
    assert columns == pytest.approx(along.T, abs=1e-12)
    assert out == pytest.approx((away**2).sum(axis=0), rel=1e-9)


# --- how good the subset is ---


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_no_random_start_finds_a_clearly_better_subset(share: float, rho: float) -> None:
    x = contaminated(share, seed=3)
    found = Mrcd(rho=rho).fit(x)
    z = standardised(x, found)
    n, d = z.shape
    count = int(found.subset.sum())
    constant = kernels.c_alpha(count, n, d)
    rng = np.random.default_rng(4)
    best = math.inf
    for _ in range(100 if COMPILED else 5):
        chosen = np.zeros(n, np.bool_)
        chosen[rng.choice(n, d + 1, replace=False)] = True
        scatter = np.cov(z[chosen].T, ddof=0) + 1e-9 * np.eye(d)
        root = np.linalg.cholesky(scatter)
        start, columns = z[chosen].mean(axis=0), np.ascontiguousarray(z.T)
        ended = kernels.concentrate(z, columns, count, rho, constant, start, root, chosen, 200)
        best = min(best, ended[2])
    assert found.objective <= best + 0.02


@pytest.mark.parametrize("share", [0.0, 0.15])
def test_its_subset_is_as_good_as_that_of_scikit_learn(share: float) -> None:
    x = contaminated(share, seed=5)
    found = Mrcd(rho=0.0).fit(x)
    z = standardised(x, found)
    theirs = MinCovDet(support_fraction=0.75, random_state=0).fit(z).raw_support_
    chosen = np.zeros(len(z), np.bool_)
    distance = np.linalg.norm(
        np.linalg.solve(np.linalg.cholesky(np.cov(z[theirs].T)), (z - z[theirs].mean(axis=0)).T),
        axis=0,
    )
    chosen[np.argsort(distance)[: int(found.subset.sum())]] = True
    assert found.objective <= objective(z, chosen, 0.0) + 0.01
    if share:
        assert not found.subset[: int(share * len(x))].any(), "no hostile row is in the subset"


def test_the_reported_objective_and_moments_are_those_of_the_subset() -> None:
    x = correlated(seed=6, correlation=0.97)
    found = Mrcd().fit(x)
    z = standardised(x, found)
    count = int(found.subset.sum())
    assert 0.0 < found.rho < 0.5, "so correlated a sample asks for some shrinkage"
    assert found.objective == pytest.approx(objective(z, found.subset, found.rho), abs=1e-9)
    assert found.mean == pytest.approx(x[found.subset].mean(axis=0), abs=1e-12)
    constant = kernels.c_alpha(count, *z.shape)
    shrunk = found.rho * np.eye(4) + (1.0 - found.rho) * constant * np.cov(z[found.subset].T)
    expected = shrunk * np.outer(found.scale, found.scale)
    assert found.covariance == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert (count, found.effective_n) == (math.ceil(0.75 * len(x)), math.ceil(0.75 * len(x)))


def test_c_steps_never_raise_the_objective() -> None:
    x = contaminated(0.2, seed=7)
    z = standardised(x, Mrcd().fit(x))
    ends = [
        kernels.warm_mrcd(z, 0.75, 0.1, np.full(4, 0.5), np.eye(4), steps)[2]
        for steps in range(1, 12)
    ]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(ends))
    assert ends[-1] < ends[0]


def test_it_is_consistent_for_gaussian_rows() -> None:
    n = 20_000 if COMPILED else 1000
    found = Mrcd().fit(correlated(n, seed=8))
    expected = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    assert found.rho == 0.0
    assert found.covariance == pytest.approx(expected, abs=0.06 if COMPILED else 0.25)


def test_a_fixed_rho_shrinks_every_correlation_by_that_and_more() -> None:
    # 0.7 by the target; the rest because the subset is cut out by the shrunk ellipsoid.
    covariance = Mrcd(rho=0.3).fit(correlated(2000 if COMPILED else 500, seed=9)).covariance
    deviations = np.sqrt(np.diag(covariance))
    correlations = (covariance / np.outer(deviations, deviations))[np.triu_indices(4, 1)]
    assert 0.2 < correlations.min() < correlations.max() < 0.7 * 0.5


# --- what moves it ---


@pytest.mark.parametrize("far", [1e1, 1e3, 1e6])
@pytest.mark.parametrize(("support", "share"), [(0.75, 0.24), (0.5, 0.45)])
def test_hostile_rows_up_to_the_breakdown_hardly_move_it(
    far: float, support: float, share: float
) -> None:
    x = contaminated(share, seed=10, far=far)
    hostile = int(share * len(x))
    found, clean = Mrcd(support=support).fit(x), Mrcd().fit(x[hostile:])
    assert share <= found.breakdown
    assert np.abs(found.mean - clean.mean).max() < 0.3
    ratios = eigvalsh(found.covariance, clean.covariance)
    # c_alpha makes good for clean rows that were cut off; here it is hostile ones.
    assert 0.7 < ratios.min() < ratios.max() < 2.7
    assert np.abs(SampleCovariance().fit(x).mean - clean.mean).max() > 0.2 * far


def test_one_row_moves_the_mean_by_about_the_bound_at_most() -> None:
    x = correlated(seed=11)
    found = Mrcd(rho=0.0).fit(x)
    deviations = np.sqrt(np.diag(found.covariance))
    moved = []
    for far in (0.0, 1.0, 2.0, 3.0, 5.0, 1e6):
        spoilt = x.copy()
        spoilt[0] = far
        shift = np.abs(Mrcd(rho=0.0).fit(spoilt, start=found).mean - found.mean)
        moved.append(float((shift / deviations).max()))
    # To first order: the rim itself moves a little, and a few rows there change places.
    assert 0.0 < max(moved) <= 3.0 * found.bound


@settings(deadline=None, max_examples=20 if COMPILED else 3)
@given(
    st.integers(0, 1000),
    st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3),
    st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3),
)
def test_it_follows_shifts_and_scales_of_columns(
    seed: int, shift: list[float], factors: list[float]
) -> None:
    x = correlated(80, 3, seed=seed)
    base, moved = Mrcd().fit(x), Mrcd().fit(x * factors + shift)
    assert np.array_equal(base.subset, moved.subset)
    assert moved.mean == pytest.approx(base.mean * factors + shift, rel=1e-6, abs=1e-6)
    expected = base.covariance * np.outer(factors, factors)
    assert moved.covariance == pytest.approx(expected, rel=1e-6)


def test_the_order_of_the_rows_does_not_matter() -> None:
    x = contaminated(0.15, seed=12)
    order = np.random.default_rng(0).permutation(len(x))
    base, moved = Mrcd().fit(x), Mrcd().fit(x[order])
    assert np.array_equal(base.subset[order], moved.subset)
    assert moved.mean == pytest.approx(base.mean, abs=1e-12)
    assert moved.covariance == pytest.approx(base.covariance, abs=1e-12)


def test_the_same_rows_give_the_same_bits() -> None:
    x = correlated(seed=13)
    first, second = Mrcd().fit(x), Mrcd().fit(x.copy())
    assert first.mean.tobytes() == second.mean.tobytes()
    assert first.covariance.tobytes() == second.covariance.tobytes()


# --- warm starts ---


def test_a_warm_start_from_the_end_stays_there() -> None:
    x = contaminated(0.1, seed=14)
    for rho in (None, 0.0, 0.3):
        cold = Mrcd(rho=rho).fit(x)
        warm = Mrcd(rho=rho).fit(x, start=cold)
        assert warm.steps <= 3
        assert np.abs(warm.mean - cold.mean).max() < 0.02
        assert warm.objective == pytest.approx(cold.objective, abs=0.01)


def test_a_warm_start_follows_a_sliding_window() -> None:
    x = contaminated(0.1, seed=15, n=2 * N)
    x = x[np.random.default_rng(0).permutation(len(x))]
    estimate = Mrcd().fit(x[:N])
    for begin in range(0, N + 1, N // 8):
        window = x[begin : begin + N]
        estimate = Mrcd().fit(window, start=estimate)
        assert estimate.objective <= Mrcd().fit(window).objective + 0.05


def test_the_kernel_and_the_estimator_take_the_same_warm_steps() -> None:
    x = correlated(seed=16)
    cold = Mrcd(rho=0.1).fit(x[: N // 2])
    whole = Mrcd(rho=0.1).fit(x, start=cold)
    z = standardised(x, whole)
    kept = z.copy()
    centre = (cold.mean - whole.centre) / whole.scale
    scatter = cold.covariance / np.outer(whole.scale, whole.scale)
    mean, covariance, reached, steps = kernels.warm_mrcd(z, 0.75, 0.1, centre, scatter, 200)
    assert mean * whole.scale + whole.centre == pytest.approx(whole.mean, abs=1e-12)
    back = covariance * np.outer(whole.scale, whole.scale)
    assert back == pytest.approx(whole.covariance, abs=1e-12)
    assert (reached, steps) == (whole.objective, whole.steps)
    assert np.array_equal(z, kept)


# --- samples that are hard ---


@pytest.mark.parametrize("start", [False, True])
def test_more_columns_than_rows_are_allowed(start: bool) -> None:
    x = correlated(20, 40, seed=17)
    found = Mrcd().fit(x, start=Mrcd().fit(x) if start else None)
    assert found.rho > 0.0
    assert np.linalg.eigvalsh(found.covariance).min() > 0.0


def test_a_constant_column_keeps_its_value_and_has_no_variance() -> None:
    x = np.column_stack([correlated(seed=18, d=2), np.full(N, 7.0)])
    found, without = Mrcd().fit(x), Mrcd().fit(x[:, :2])
    assert found.mean[2] == 7.0
    assert not found.covariance[2].any()
    assert np.array_equal(found.covariance[:2, :2], without.covariance)
    with pytest.raises(DataError, match="nothing varies"):
        Mrcd().fit(np.ones((9, 2)))


def test_a_column_that_is_mostly_equal_is_scaled_by_its_mean_deviation() -> None:
    column = np.zeros(N)
    column[: N // 3] = np.random.default_rng(19).standard_normal(N // 3)
    x = np.column_stack([correlated(seed=19, d=2), column])
    centre, scale = standardisation(np.ascontiguousarray(x.T))
    assert centre[2] == 0.0
    assert scale[2] == pytest.approx(math.sqrt(math.pi / 2.0) * np.abs(column).mean())
    assert np.isfinite(Mrcd().fit(x).covariance).all()


def test_ties_and_doubled_columns_are_fitted_with_some_shrinkage() -> None:
    x = np.round(correlated(seed=20, d=2), 1)
    doubled = np.column_stack([x, x[:, 0]])
    found = Mrcd().fit(doubled)
    assert found.rho > 0.0
    assert np.linalg.eigvalsh(found.covariance).min() > 0.0
    with pytest.raises(DataError, match=r"lie in a plane.*leave rho to the rows"):
        Mrcd(rho=0.0).fit(doubled)


def test_steps_that_end_in_a_plane_get_the_shrinkage_that_they_need() -> None:
    x = correlated(seed=22, d=2, correlation=0.0)
    x[: int(0.8 * N), 1] = x[: int(0.8 * N), 0]
    x[int(0.8 * N) :] = 0.3 * np.array([1.0, -1.0]) * x[int(0.8 * N) :, :1]
    near = SampleCovariance().fit(correlated(seed=22, d=2, correlation=0.0))
    found = Mrcd().fit(x, start=near)
    assert found.rho > 0.0
    assert math.isfinite(found.objective)
    assert np.linalg.cond(found.covariance) < 1000.0


def test_the_warm_kernel_survives_a_singular_start() -> None:
    z = correlated(seed=21, d=2)
    mean, covariance, reached, _ = kernels.warm_mrcd(
        z, 0.75, 0.0, np.zeros(2), np.zeros((2, 2)), 50
    )
    assert np.isfinite(mean).all()
    assert np.linalg.eigvalsh(covariance).min() > 0.0
    assert math.isfinite(reached)
    flat = np.column_stack([z[:, 0], z[:, 0]])
    assert kernels.warm_mrcd(flat, 0.75, 0.0, np.zeros(2), np.eye(2), 50)[2] == -math.inf


def test_two_rows_are_a_sample() -> None:
    found = Mrcd().fit([[0.0, 1.0], [1.0, 3.0]])
    assert found.mean == pytest.approx([0.5, 2.0])
    assert found.bound == math.inf
    assert found.breakdown == 0.0


def test_what_cannot_be_fitted_is_refused() -> None:
    x = correlated(20, 2)
    bad = x.copy()
    bad[3, 1] = math.nan
    for call, words in (
        (lambda: Mrcd(support=0.4), "give 0.5 to 1"),
        (lambda: Mrcd(rho=1.0), "rho"),
        (lambda: Mrcd(steps=0), "C-steps"),
        (lambda: Mrcd().fit(bad), "row 3, column 1 of a sample is nan"),
        (lambda: Mrcd().fit(x, np.ones(20)), "takes no weights"),
        (lambda: Mrcd().fit(x, start=Mrcd().fit(correlated(20, 3))), "a start with 3 columns"),
    ):
        with pytest.raises(DataError, match=words):
            call()
