"""Location of rows (n, d): Catoni's mean, medians of means, and the plain mean beside them.

Each is a choice of how much of the sample may be hostile; `Estimate.breakdown` says how much.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from seawall.core.errors import DataError
from seawall.estimation import location_kernels as kernels
from seawall.estimation.estimate import (
    Array,
    Estimate,
    checked_rows,
    checked_weights,
    in_deviations,
    without_weights,
)

MOST_STEPS = 10_000  # of Weiszfeld, which converges linearly at least off the points


@dataclass(frozen=True)
class SampleMean:
    """The weighted mean and covariance: best for clean Gaussian rows, moved at will by one row."""

    def fit(self, x: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
        """Mean and unbiased covariance (reliability weights); breakdown 0, bound infinite."""
        rows = checked_rows(x)
        return plain_moments(rows, checked_weights(weights, len(rows)))


def plain_moments(rows: Array, shares: Array) -> Estimate:
    """Mean and covariance by shares that sum to 1, divisor 1 - sum of squares (n - 1 over n)."""
    mean = np.einsum("i,ij->j", shares, rows)
    centred = rows - mean
    squares = float(np.sum(shares * shares))
    if squares >= 1.0:
        raise DataError("all weight lies on one row: give weight to two rows at least")
    covariance = np.einsum("i,ij,ik->jk", shares, centred, centred) / (1.0 - squares)
    return Estimate(
        mean=mean,
        covariance=0.5 * (covariance + covariance.T),
        n=len(rows),
        effective_n=1.0 / squares,
        breakdown=0.0,
        bound=math.inf,
    )


@dataclass(frozen=True)
class CatoniMean:
    """Catoni's mean per column with the narrow psi, whose influence is bounded.

    Catoni 2012 (AIHP 48), section 2: the root of sum psi((x - theta) / (c scale)) = 0.

    Attributes:
        c: scales that count nearly in full; beyond, a row pulls as log 2 and no more.
        scale: (d,) standard deviations from a reference. None takes each column's own normalised
            median absolute deviation. With a scale from outside the mean is nondecreasing in
            every row; with its own it need not be. Scale 0 gives the column's median.
        contamination: share of rows that `bound` speaks of; 0: one row.
    """

    c: float = 2.0
    scale: tuple[float, ...] | None = None
    contamination: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.c) and self.c > 0.0):
            raise DataError(f"Catoni's c is {self.c}: give a positive number, such as 2")
        if self.scale is not None and not all(
            math.isfinite(one) and one >= 0.0 for one in self.scale
        ):
            raise DataError(f"Catoni's scales are {self.scale}: give finite numbers from 0 up")
        _check_share(self.contamination)

    def fit(self, x: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
        """Mean, and the diagonal of squared scales; half of the rows less one may be anything.

        The bound is exact: the estimate is monotone, so its extremes come from extreme rows.
        """
        without_weights(weights, "CatoniMean")
        rows = checked_rows(x)
        n, d = rows.shape
        median, scale = _centre_and_scale(rows)
        if self.scale is not None:
            if len(self.scale) != d:
                raise DataError(f"{len(self.scale)} scales for {d} columns: give one per column")
            scale = np.array(self.scale, np.float64)
        mean, shifts = median.copy(), np.zeros(d)
        count = max(1, math.floor(self.contamination * n))
        for j, column in enumerate(np.ascontiguousarray(rows.T)):
            mean[j] = kernels.catoni(column, scale[j], self.c)
            shifts[j] = (
                math.inf
                if 2 * count >= n
                else kernels.shift(column, scale[j], self.c, count, mean[j])
            )
        return Estimate(
            mean=mean,
            covariance=np.diag(scale * scale),
            n=n,
            effective_n=float(n),
            breakdown=((n - 1) // 2) / n,
            bound=in_deviations(shifts, scale),
        )


@dataclass(frozen=True)
class MedianOfMeans:
    """The median, per column, of the means of contiguous blocks (Lugosi and Mendelson 2019).

    Attributes:
        blocks: how many, K; (K - 1) // 2 hostile rows are withstood, each spoiling its block.
        contamination: share of rows to withstand: sets K to the least odd one above
            2 contamination n. Give one of the two. Blocks follow the order of the rows: an
            opponent who chooses the order can do no worse than that, a random order much less.
    """

    blocks: int = 0
    contamination: float = 0.0

    def __post_init__(self) -> None:
        _check_blocks(self.blocks, self.contamination)

    def fit(self, x: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
        """Mean, and the diagonal of squared MADN. The bound is exact: order statistics of blocks.

        Raises:
            DataError: fewer rows than blocks, beside what `Estimator` says.
        """
        without_weights(weights, "MedianOfMeans")
        rows = checked_rows(x)
        n, d = rows.shape
        means = block_means(rows, _block_count(n, self.blocks, self.contamination))
        k = len(means)
        hostile = max(1, math.floor(self.contamination * n))
        mean = np.median(means, axis=0)
        shifts = np.full(d, np.inf)
        if 2 * hostile < k:
            low, high = np.sort(means, axis=0), np.sort(means, axis=0)
            low[k - hostile :] = -np.inf
            high[:hostile] = np.inf
            ends = [_middle(np.sort(one, axis=0)) for one in (low, high)]
            shifts = np.maximum(mean - ends[0], ends[1] - mean)
        _, scale = _centre_and_scale(rows)
        return _of_blocks(mean, scale, n, k, in_deviations(shifts, scale))


@dataclass(frozen=True)
class GeometricMedianOfMeans:
    """The geometric median of the means of contiguous blocks: as good in any rotation.

    Minsker 2015 (Bernoulli 21); Weiszfeld's steps as Vardi and Zhang 2000 mended them.

    Attributes:
        blocks, contamination: as of `MedianOfMeans`.
    """

    blocks: int = 0
    contamination: float = 0.0

    def __post_init__(self) -> None:
        _check_blocks(self.blocks, self.contamination)

    def fit(self, x: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
        """Mean, and the diagonal of squared MADN.

        The bound is not tight: with f of K blocks hostile the median moves at most
        2 (K - f) / (K - 2 f) times the farthest block's distance (Lopuhaä and Rousseeuw 1991,
        theorem 2.2), here over the least standard deviation.
        """
        without_weights(weights, "GeometricMedianOfMeans")
        rows = checked_rows(x)
        n = len(rows)
        means = block_means(rows, _block_count(n, self.blocks, self.contamination))
        k = len(means)
        hostile = max(1, math.floor(self.contamination * n))
        start = np.median(means, axis=0)
        spread = np.abs(means - start).max()
        mean, _ = kernels.weiszfeld(means, start, 1e-13 * spread, MOST_STEPS)
        farthest = float(np.sqrt(((means - mean) ** 2).sum(axis=1).max()))
        moved = 2.0 * (k - hostile) / (k - 2 * hostile) * farthest if 2 * hostile < k else math.inf
        _, scale = _centre_and_scale(rows)
        bound = in_deviations(np.array([moved]), np.array([scale.min()]))
        return _of_blocks(mean, scale, n, k, bound)


def block_means(rows: Array, blocks: int) -> Array:
    """Means of contiguous blocks of rows (n, d), sizes as of numpy.array_split: (blocks, d)."""
    return np.stack([block.mean(axis=0) for block in np.array_split(rows, blocks)])


def _of_blocks(mean: Array, scale: Array, n: int, k: int, bound: float) -> Estimate:
    return Estimate(
        mean=mean,
        covariance=np.diag(scale * scale),
        n=n,
        effective_n=float(n),
        breakdown=((k - 1) // 2) / n,
        bound=bound,
    )


def _centre_and_scale(rows: Array) -> tuple[Array, Array]:
    centre, scale = np.empty(rows.shape[1]), np.empty(rows.shape[1])
    kernels.median_and_madn(rows, centre, scale)
    return centre, scale


def _middle(ordered: Array) -> Array:
    """The median of ascending rows that may hold infinities, as long as the middle does not."""
    k = len(ordered)
    return np.asarray(0.5 * (ordered[(k - 1) // 2] + ordered[k // 2]), np.float64)


def _block_count(n: int, blocks: int, contamination: float) -> int:
    k = blocks or 2 * math.floor(contamination * n) + 1
    if k > n:
        raise DataError(f"{k} blocks of {n} rows: give more rows, or ask for fewer blocks")
    return k


def _check_blocks(blocks: int, contamination: float) -> None:
    _check_share(contamination)
    if (blocks > 0) == (contamination > 0.0) or blocks < 0:
        raise DataError(
            f"medians of means with blocks={blocks}, contamination={contamination}: "
            "give one of the two"
        )


def _check_share(contamination: float) -> None:
    if not 0.0 <= contamination < 0.5:
        raise DataError(
            f"contamination is {contamination}: give a share from 0 to less than one half"
        )
