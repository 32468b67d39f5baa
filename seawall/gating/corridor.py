"""How far one Gaussian lies from another, and how far it may lie given bounds on what went in.

Distance, spectrum and Kullback-Leibler divergence are those of DEFINITIONS 2; their intervals serve
the certificate (DEFINITIONS 13, "State").
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Triple = tuple[float, float, float]
SHRINKAGE = 0.3  # of correlations, on both sides (S0): axes that nearly repeat each other would
# otherwise magnify what the sources disagree on


class Corridor(msgspec.Struct, frozen=True):
    """S0's three figures: Mahalanobis distance, (least, greatest) eigenvalue, KL in nats."""

    distance: float
    spectrum: tuple[float, float]
    divergence: float

    @property
    def triple(self) -> Triple:
        """Distance, largest |log eigenvalue|, KL."""
        low, high = self.spectrum
        return self.distance, max(abs(math.log(low)), abs(math.log(high))), self.divergence


class Bounded(msgspec.Struct, frozen=True):
    """A location and a scatter, and how far each may lie from the clean run's, entry by entry."""

    mean: Array
    reach: Array
    covariance: Array
    bound: Array


NOWHERE = Corridor(0.0, (1.0, 1.0), 0.0)


def corridor(
    mean: Array,
    covariance: Array,
    reference_mean: Array,
    reference_covariance: Array,
    active: NDArray[np.bool_],
) -> Corridor:
    """D, eigenvalues and KL(A || R) of one Gaussian against another, over the active axes."""
    zeros = np.zeros_like(mean)
    none = np.zeros_like(covariance)
    figures, _, _ = extent(
        Bounded(mean, zeros, covariance, none),
        Bounded(reference_mean, zeros, reference_covariance, none),
        active,
        zeros,
    )
    return figures


def extent(
    window: Bounded, reference: Bounded, active: NDArray[np.bool_], ridge: Array
) -> tuple[Corridor, Triple, Triple]:
    """The figures, and the least and the greatest triple that the clean run's can be.

    With L the Cholesky factor of the reference's covariance, the distance moves by at most
    || |L^-1| (reach + reach_R) ||, and by Courant and Fischer each eigenvalue of L^-1 C L^-T lies
    in [(x - p) / (1 + q), (x + p) / (1 - q)], where p and q bound the norms of the whitened
    perturbations of both covariances. `ridge` (width,) is added to both diagonals: what the sources
    disagree on by so much is not looked at more closely. KL is least where each eigenvalue
    is as near to 1 as it may be and greatest at the worse ends, x - 1 - log x being convex.
    """
    if not active.any():
        return NOWHERE, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    keep = np.ix_(active, active)
    extra = np.diag(ridge[active])
    inverse = np.linalg.inv(np.linalg.cholesky(shrunk(reference.covariance[keep]) + extra))
    size = np.abs(inverse)
    distance = _norm(inverse @ (window.mean - reference.mean)[active])
    slack = _norm(size @ (window.reach + reference.reach)[active])
    ratio = inverse @ (shrunk(window.covariance[keep]) + extra) @ inverse.T
    values = np.maximum(np.linalg.eigvalsh(0.5 * (ratio + ratio.T)), 1e-12)
    p = _perturbation(size, window.bound[keep], ridge[active])
    q = _perturbation(size, reference.bound[keep], ridge[active])
    low = np.maximum((values - p) / (1.0 + q), 1e-12)
    high = (values + p) / (1.0 - q) if q < 1.0 else np.full(len(values), 1e12)
    nearest, furthest = max(0.0, distance - slack), distance + slack
    log_low, log_high = np.abs(np.log(low)), np.abs(np.log(high))
    across = (low <= 1.0) & (high >= 1.0)
    worse = np.maximum(low - 1.0 - np.log(low), high - 1.0 - np.log(high))
    figures = Corridor(
        distance, (float(values[0]), float(values[-1])), _divergence(values, distance)
    )
    return (
        figures,
        (
            nearest,
            float(np.where(across, 0.0, np.minimum(log_low, log_high)).max()),
            _divergence(np.clip(1.0, low, high), nearest),
        ),
        (
            furthest,
            float(np.maximum(log_low, log_high).max()),
            0.5 * (float(worse.sum()) + furthest * furthest),
        ),
    )


def shrunk(covariance: Array) -> Array:
    """The covariance with its off-diagonal entries shrunk; entrywise bounds stay bounds."""
    diagonal: Array = SHRINKAGE * np.diag(np.diag(covariance)) + (1.0 - SHRINKAGE) * covariance
    return diagonal


def _perturbation(size: Array, bound: Array, ridge: Array) -> float:
    """Largest |x' E x| over x' (reference + ridge) x, |E| <= bound entry by entry.

    By the largest row sum of the whitened bound, or by Gershgorin: |x' E x| <= sum_j rowsum_j
    x_j^2.
    """
    whitened = float((size @ bound @ size.T).sum(axis=1).max())
    rows = bound.sum(axis=1)
    if not (ridge > 0.0).all():
        return whitened
    return min(whitened, float((rows / ridge).max()))


def _norm(vector: Array) -> float:
    return float(np.sqrt(vector @ vector))


def _divergence(values: Array, distance: float) -> float:
    """KL of a Gaussian with these whitened eigenvalues at this distance, nats."""
    return 0.5 * (float(np.sum(values - 1.0 - np.log(values))) + distance * distance)
