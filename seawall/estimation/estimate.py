"""What every estimator of a sample gives back, and what every one of them asks of its rows."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seawall.core.errors import DataError

Array = NDArray[np.float64]
LARGEST = 1e100  # beyond it squares of differences would leave the range of a float


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """Location and scatter of a sample, and how much of it may be hostile.

    Attributes:
        mean: (d,) location, in units of x.
        covariance: (d, d) scatter, in units of x squared. Estimators of location alone give the
            diagonal of their squared scales: they say nothing of correlations.
        n: rows that were given.
        effective_n: rows that carry the estimate: (sum w)^2 / sum w^2 of the weights (Kish 1965),
            or the size of the subset.
        breakdown: the largest share of rows, in [0, 0.5], that may be replaced by anything while
            mean and covariance stay bounded.
        bound: how far replacing rows of this sample by anything can move the mean along any axis,
            in that axis's standard deviations (square roots of the diagonal of covariance), with
            the scales, axes and distances that weigh the rows held as they are. As many rows as
            the estimator's `contamination` says, and one where it has none. Infinite where
            nothing holds it; each estimator says what else it assumes.
    """

    mean: Array
    covariance: Array
    n: int
    effective_n: float
    breakdown: float
    bound: float


class Estimator(Protocol):
    """Anything that fits rows."""

    def fit(self, x: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
        """Location and scatter of x (n, d).

        Args:
            x: n >= 2 rows of d >= 1 columns, finite.
            weights: (n,) not negative, not all zero; an estimator that knows no weights refuses
                them: draw the rows by `Reservoir`, with trust as weight, instead.

        Raises:
            DataError: rows or weights are not as they must be.
        """
        ...


def checked_rows(x: ArrayLike) -> Array:
    """x as a contiguous (n, d) array of floats, not modified; DataError says what is wrong."""
    rows: NDArray[Any] = np.asarray(x)
    if rows.dtype.kind not in "fiu":
        raise DataError(f"a sample of {rows.dtype}: give numbers")
    if rows.ndim != 2 or rows.shape[0] < 2 or rows.shape[1] < 1:
        raise DataError(
            f"a sample of shape {rows.shape}: give at least two rows of one column or more, (n, d)"
        )
    rows = np.ascontiguousarray(rows, np.float64)
    bad = ~(np.abs(rows) <= LARGEST)
    if bad.any():
        row, column = (int(one[0]) for one in np.nonzero(bad))
        raise DataError(
            f"row {row}, column {column} of a sample is {rows[row, column]}: "
            f"leave out what is not finite, or beyond {LARGEST:g}"
        )
    return rows


def checked_weights(weights: ArrayLike | None, n: int) -> Array:
    """Weights as shares that sum to 1, (n,); equal where none are given."""
    if weights is None:
        return np.full(n, 1.0 / n)
    given = np.asarray(weights, np.float64)
    if given.shape != (n,):
        raise DataError(f"weights of shape {given.shape} for {n} rows: give one weight per row")
    if not (np.isfinite(given).all() and (given >= 0.0).all() and given.sum() > 0.0):
        raise DataError("weights must be finite, not negative and not all zero")
    scaled = given / given.max()
    return np.asarray(scaled / scaled.sum(), np.float64)


def without_weights(weights: ArrayLike | None, name: str) -> None:
    """Refuse weights where the estimator knows none."""
    if weights is not None:
        raise DataError(
            f"{name} takes no weights: draw the rows by a Reservoir, trust as weight, and fit those"
        )


def in_deviations(shifts: Array, deviations: Array) -> float:
    """The largest shift (d,) in standard deviations (d,); none is none where both are zero."""
    ratios = np.divide(
        shifts,
        deviations,
        out=np.where(shifts > 0.0, np.inf, 0.0),
        where=deviations > 0.0,
    )
    return float(ratios.max())
