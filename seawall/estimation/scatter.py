"""Scatter of rows (n, d): the minimum regularised covariance determinant, and the plain one."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from seawall.core.errors import DataError
from seawall.estimation import scatter_kernels as kernels
from seawall.estimation.estimate import (
    Array,
    Estimate,
    checked_rows,
    checked_weights,
    in_deviations,
    without_weights,
)
from seawall.estimation.location import plain_moments
from seawall.estimation.scale_kernels import qn_of_each

MOST_CONDITION = 50.0  # of K where rho is left to the rows (Boudt et al. 2020, step 3.4)
MOST_STEPS = 200
USUAL_RHO = 0.1  # a start that asks for more, and for more than the median one, does not set rho
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class SampleCovariance:
    """The plain mean and covariance, moved at will by one row."""

    def fit(self, x: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
        """Mean and unbiased covariance (reliability weights); breakdown 0, bound infinite."""
        rows = checked_rows(x)
        return plain_moments(rows, checked_weights(weights, len(rows)))


@dataclass(frozen=True, kw_only=True, eq=False)
class MrcdEstimate(Estimate):
    """An `Estimate` with the subset that it rests on.

    Attributes:
        subset: (n,) the h rows with the least determinant that was found.
        rho: weight of the identity target.
        objective: log det K(H) of the standardised columns, divisor h.
        steps: C-steps in all.
        centre, scale: (d,) median and Qn that standardised the columns; a column of scale 0 is
            constant and took no part.
    """

    subset: Flags
    rho: float
    objective: float
    steps: int
    centre: Array
    scale: Array


@dataclass(frozen=True)
class Mrcd:
    """Minimum regularised covariance determinant, deterministic.

    Boudt, Rousseeuw, Vanduffel and Verdonck 2020 (Stat Comput 30): of all subsets of h rows the
    one with the least det(rho I + (1 - rho) c_alpha S_H), in columns standardised by median and
    Qn; six starts of Hubert, Rousseeuw and Verdonck 2012. No reweighting. Equivariant to shifts
    and to scales of single columns, not to rotations. More columns than rows are allowed.

    Attributes:
        support: h / n, in [0.5, 1]; 1 - support of the rows may be anything.
        rho: None: the least that keeps the condition number of K within 50, which is 0 for well
            conditioned rows. A fixed one shrinks all correlations by 1 - rho.
        steps: most C-steps from one start.
    """

    support: float = 0.75
    rho: float | None = None
    steps: int = MOST_STEPS

    def __post_init__(self) -> None:
        if not 0.5 <= self.support <= 1.0:
            raise DataError(f"support of an MRCD is {self.support}: give 0.5 to 1")
        if self.rho is not None and not 0.0 <= self.rho < 1.0:
            raise DataError(f"rho of an MRCD is {self.rho}: give 0 to less than 1, or None")
        if self.steps < 1:
            raise DataError(f"{self.steps} C-steps of an MRCD: give one or more")

    def fit(
        self, x: ArrayLike, weights: ArrayLike | None = None, *, start: Estimate | None = None
    ) -> MrcdEstimate:
        """Mean and covariance of the best subset, made consistent for Gaussian rows.

        A column over half of whose rows are equal (Qn 0) is scaled by its mean absolute deviation;
        a constant one keeps its value and has covariance 0. The bound is for one row and to first
        order: distances held, a row enters or leaves the subset at its rim.

        Args:
            x: n >= 2 rows of d columns.
            weights: refused.
            start: an earlier estimate of rows like these: C-steps from its mean and covariance
                alone, in place of the six starts. Far quicker, and it ends in the local optimum
                next to the old one.

        Raises:
            DataError: as `Estimator` says, or all columns are constant, or a fixed rho of 0 meets
                a subset that lies in a plane.
        """
        without_weights(weights, "Mrcd")
        rows = checked_rows(x)
        n, d = rows.shape
        columns = np.ascontiguousarray(rows.T)
        centre, scale = standardisation(columns)
        active = scale > 0.0
        if not active.any():
            raise DataError("all columns of the sample are constant: nothing varies")
        columns = (columns[active] - centre[active, None]) / scale[active, None]
        z = np.ascontiguousarray(columns.T)
        if start is None:
            found = self._cold(z, columns)
        else:
            found = self._warm(z, columns, start, centre, scale, active)
        count = self.count(n)
        if found.objective == -math.inf:  # rho was left to the rows, and the steps led to a plane
            rho = least_rho(kernels.c_alpha(count, *z.shape) * found.scatter)
            found = self._descend(z, columns, rho, found.mean, found.scatter)
        k = kernels.c_alpha(count, n, z.shape[1]) * count / max(1, count - 1)
        shrunk = found.rho * np.eye(z.shape[1]) + (1.0 - found.rho) * k * found.scatter
        mean, covariance = centre.copy(), np.zeros((d, d))
        mean[active] += scale[active] * found.mean
        covariance[np.ix_(active, active)] = shrunk * np.outer(scale[active], scale[active])
        return MrcdEstimate(
            mean=mean,
            covariance=covariance,
            n=n,
            effective_n=float(count),
            breakdown=min(n - count, (n - 1) // 2) / n,
            bound=_rim(columns, found.mean, shrunk, count),
            subset=found.chosen,
            rho=found.rho,
            objective=found.objective,
            steps=found.steps,
            centre=centre,
            scale=scale,
        )

    def count(self, n: int) -> int:
        """h: how many of n rows the subset has."""
        return min(n, max(2, math.ceil(self.support * n - 1e-9)))

    def _cold(self, z: Array, columns: Array) -> "_Found":
        """The best of six starts."""
        n, d = z.shape
        count = self.count(n)
        starts = [_subset(z, columns, vectors, count) for vectors in _axes(z, columns)]
        rho = self.rho
        if rho is None:
            constant = kernels.c_alpha(count, n, d)
            asked = np.array([least_rho(constant * scatter) for _, scatter in starts])
            cutoff = max(USUAL_RHO, float(np.median(asked)))
            rho = float(asked[asked <= cutoff].max())
            starts = [one for one, least in zip(starts, asked, strict=True) if least <= cutoff]
        best: _Found | None = None
        steps = 0
        for mean, scatter in starts:
            found = self._descend(z, columns, rho, mean, scatter)
            steps += found.steps
            if best is None or found.objective < best.objective:
                best = found
        assert best is not None  # six starts, and the cutoff keeps at least the median one
        best.steps = steps
        return best

    def _warm(
        self,
        z: Array,
        columns: Array,
        start: Estimate,
        centre: Array,
        scale: Array,
        active: Flags,
    ) -> "_Found":
        """C-steps from an earlier mean and covariance, brought to the new standardisation."""
        d = len(centre)
        if start.mean.shape != (d,) or start.covariance.shape != (d, d):
            raise DataError(
                f"a start with {len(start.mean)} columns for rows with {d}: give one of like rows"
            )
        mean = ((start.mean - centre)[active]) / scale[active]
        pick = np.ix_(active, active)
        scatter = start.covariance[pick] / np.outer(scale[active], scale[active])
        if self.rho is not None:
            return self._descend(z, columns, self.rho, mean, scatter, whole=True)
        count = self.count(len(z))
        mean, scatter = _nearest(z, columns, mean, _root(scatter), count)
        rho = least_rho(kernels.c_alpha(count, *z.shape) * scatter)
        return self._descend(z, columns, rho, mean, scatter)

    def _descend(
        self,
        z: Array,
        columns: Array,
        rho: float,
        mean: Array,
        scatter: Array,
        *,
        whole: bool = False,
    ) -> "_Found":
        """C-steps from a subset's mean and scatter; whole: the scatter is K already."""
        n, d = z.shape
        count = self.count(n)
        constant = kernels.c_alpha(count, n, d)
        regular = (
            np.ascontiguousarray(scatter)
            if whole
            else rho * np.eye(d) + (1.0 - rho) * constant * scatter
        )
        chosen = np.zeros(n, np.bool_)
        mean, scatter, objective, steps = kernels.concentrate(
            z, columns, count, rho, constant, mean, _root(regular), chosen, self.steps
        )
        if objective == -math.inf and self.rho is not None:
            raise DataError(
                f"{count} of {n} rows lie in a plane and rho is {rho:g}: leave out columns that "
                "depend on others, or leave rho to the rows"
            )
        return _Found(mean, scatter, chosen, rho, objective, steps)


@dataclass
class _Found:
    """Where the C-steps ended, in standardised columns; scatter has divisor h."""

    mean: Array
    scatter: Array
    chosen: Flags
    rho: float
    objective: float
    steps: int


def standardisation(columns: Array) -> tuple[Array, Array]:
    """Median and Qn of each row of (d, n); where Qn is 0 the mean absolute deviation."""
    ordered = np.sort(columns, axis=1)
    n = columns.shape[1]
    centre = 0.5 * (ordered[:, (n - 1) // 2] + ordered[:, n // 2])
    scale = np.empty(len(columns))
    qn_of_each(ordered, scale)
    flat = scale == 0.0
    if flat.any():
        away = np.abs(columns[flat] - centre[flat, None]).mean(axis=1)
        scale[flat] = math.sqrt(0.5 * math.pi) * away
    return centre, scale


def qn(columns: Array) -> Array:
    """Qn of each row of (d, n), see `scale_kernels.qn`; d values."""
    out = np.empty(len(columns))
    qn_of_each(np.sort(columns, axis=1), out)
    return out


def least_rho(scatter: Array) -> float:
    """The least rho in [0, 1) with cond(rho I + (1 - rho) scatter) <= 50, in closed form."""
    values = np.linalg.eigvalsh(scatter)
    excess = float(values[-1] - MOST_CONDITION * max(0.0, values[0]))
    return max(0.0, excess / (MOST_CONDITION - 1.0 + excess)) if excess > 0.0 else 0.0


def _axes(z: Array, columns: Array) -> list[Array]:
    """Eigenvectors of the six scatters of Hubert, Rousseeuw and Verdonck 2012, section 3."""
    n = len(z)
    ranks = np.stack([_ranks(column) for column in z.T]).T
    norms = np.sqrt((z * z).sum(axis=1))
    signs = np.divide(z, norms[:, None], out=np.zeros_like(z), where=norms[:, None] > 0.0)
    near = np.zeros(n, np.bool_)
    kernels.nearest(norms, (n + 1) // 2, near)
    scatters = [
        _correlation(np.tanh(z)),
        _correlation(ranks),
        _correlation(ndtri((ranks - 1.0 / 3.0) / (n + 1.0 / 3.0))),
        _moments(signs, np.ones(n, np.bool_), about_zero=True)[1],
        _moments(z, near)[1],
        _pairwise(columns),
    ]
    return [np.ascontiguousarray(np.linalg.eigh(one)[1]) for one in scatters]


def _ranks(column: Array) -> Array:
    """From 1 on; equal values share the middle of theirs."""
    _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2.0)[place]


def _correlation(rows: Array) -> Array:
    """Of all rows; a column without spread goes with nothing."""
    _, scatter = _moments(np.ascontiguousarray(rows), np.ones(len(rows), np.bool_))
    deviation = np.sqrt(np.diag(scatter))
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0.0)
    return np.asarray(scatter * np.outer(inverse, inverse), np.float64)


def _pairwise(columns: Array) -> Array:
    """Robust covariances of all pairs (Gnanadesikan and Kettenring 1972), of scales of about 1."""
    d = len(columns)
    out = np.eye(d)
    for j in range(1, d):
        plus, minus = qn(columns[:j] + columns[j]), qn(columns[:j] - columns[j])
        out[j, :j] = out[:j, j] = 0.25 * (plus * plus - minus * minus)
    return out


def _moments(rows: Array, chosen: Flags, *, about_zero: bool = False) -> tuple[Array, Array]:
    """Mean and covariance (divisor: their number) of the chosen rows."""
    d = rows.shape[1]
    mean, scatter = np.empty(d), np.empty((d, d))
    kernels.moments(rows, chosen, int(chosen.sum()), mean, scatter)
    return mean, scatter + np.outer(mean, mean) if about_zero else scatter


def _subset(z: Array, columns: Array, vectors: Array, count: int) -> tuple[Array, Array]:
    """The first subset of h rows of a start: by the half nearest along its axes."""
    n = len(z)
    squared, half = np.empty(n), np.zeros(n, np.bool_)
    along = kernels.project(columns, vectors)
    # An axis without spread counts as nearly none, so that rows off it are far.
    scale = qn(along)
    scale = np.maximum(scale, 1e-8 * max(float(scale.max()), 1e-8))
    kernels.orthogonalised_distances(along, scale, vectors, squared)
    kernels.nearest(squared, (n + 1) // 2, half)
    mean, scatter = _moments(z, half)
    return _nearest(z, columns, mean, _root(scatter), count)


def _nearest(z: Array, columns: Array, mean: Array, root: Array, count: int) -> tuple[Array, Array]:
    """Mean and covariance of the rows nearest to a mean, by the root of a covariance."""
    squared, chosen = np.empty(len(z)), np.zeros(len(z), np.bool_)
    kernels.distances(columns, mean, root, np.empty_like(columns), squared)
    kernels.nearest(squared, count, chosen)
    return _moments(z, chosen)


def _root(scatter: Array) -> Array:
    """The Cholesky factor; of the least regularised scatter where that itself is singular."""
    d = len(scatter)
    root = np.zeros((d, d))
    if not kernels.cholesky(np.ascontiguousarray(scatter), root):
        rho = max(least_rho(scatter), 1e-6)
        kernels.cholesky(rho * np.eye(d) + (1.0 - rho) * scatter, root)
    return root


def _rim(columns: Array, mean: Array, shrunk: Array, count: int) -> float:
    """How far one row can move the subset's mean, in deviations: out and in at the rim, over h."""
    d, n = columns.shape
    squared = np.empty(n)
    root = np.zeros((d, d))
    if not kernels.cholesky(shrunk, root):
        return math.inf
    kernels.distances(columns, mean, root, np.empty_like(columns), squared)
    rim = np.sqrt(np.partition(squared, [count - 1, min(count, n - 1)]))
    last, following = rim[count - 1], rim[min(count, n - 1)]
    shift = (last + following) / count if count < n else math.inf
    return in_deviations(np.array([shift]), np.ones(1))
