"""Influence clipping: no row counts as farther from the centre than a radius (Mahalanobis)."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtr, chdtri

from seawall.core.errors import DataError
from seawall.estimation.estimate import Array, checked_rows

SHARE = 0.99  # of clean Gaussian rows that the default radius leaves as they are


def radius_of(d: int, share: float = SHARE) -> float:
    """The radius that a Gaussian row of d columns keeps with probability `share`.

    sqrt of the chi-squared quantile: 2.58 for one column, 4.48 for eight. A radius that does not
    grow with d clips nearly everything in high dimensions.
    """
    if d < 1 or not 0.0 < share < 1.0:
        raise DataError(f"a radius for {d} columns and a share of {share}: d >= 1, 0 < share < 1")
    return math.sqrt(float(chdtri(d, 1.0 - share)))


def clip(
    x: ArrayLike, mean: ArrayLike, covariance: ArrayLike, radius: float | None = None
) -> Array:
    """Rows pulled straight towards the mean until none is farther than the radius.

    x -> mean + (x - mean) min(1, radius / D(x)), D the Mahalanobis distance.

    Args:
        x: (n, d) rows; a copy is returned.
        mean: (d,), and covariance: (d, d), positive definite, of a trusted reference.
        radius: in Mahalanobis distances; None: `radius_of` d.

    Raises:
        DataError: shapes do not fit, or the covariance is not positive definite.
    """
    rows = checked_rows(x)
    d = rows.shape[1]
    centre, scatter = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if centre.shape != (d,) or scatter.shape != (d, d):
        raise DataError(
            f"rows of {d} columns with a mean of shape {centre.shape} and a covariance of shape "
            f"{scatter.shape}: give ({d},) and ({d}, {d})"
        )
    reach = radius_of(d) if radius is None else radius
    if not reach > 0.0:
        raise DataError(f"a clipping radius of {reach}: give a positive number")
    try:
        root = np.linalg.cholesky(scatter)
    except np.linalg.LinAlgError as error:
        raise DataError(
            "the covariance to clip by is not positive definite: leave constant columns out"
        ) from error
    away = rows - centre
    whitened = np.linalg.solve(root, away.T)
    distance = np.sqrt(np.einsum("ij,ij->j", whitened, whitened))
    share = np.divide(reach, distance, out=np.ones(len(rows)), where=distance > reach)
    return np.asarray(np.where(share[:, None] < 1.0, centre + away * share[:, None], rows))


def consistency(radius: float, d: int) -> float:
    """By what the covariance of clipped Gaussian rows falls short: divide it by this factor.

    (d F_{d+2}(r^2) + r^2 (1 - F_d(r^2))) / d with F_k the chi-squared distribution function: the
    mean of min(D^2, r^2) / d. 0.853 for a radius of 3 and eight columns.
    """
    if d < 1 or not radius > 0.0:
        raise DataError(f"clipping at {radius} in {d} columns: give a positive radius, d >= 1")
    square = radius * radius
    return float((d * chdtr(d + 2, square) + square * (1.0 - chdtr(d, square))) / d)
