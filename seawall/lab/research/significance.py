"""How much of a result is luck: the probabilistic and the deflated Sharpe ratio, the least track
record, and the probability that a search has overfitted.

Sharpe ratios are per period, not annualised; kurtosis is raw (a normal's is 3).
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from seawall.core.errors import SettingError
from seawall.lab.research.performance import Moments

Array = NDArray[np.float64]
EULER = 0.5772156649015329
BLOCK = 512  # halvings at a time
PIECES = 16  # of CSCV, as in the paper: 12,870 ways to halve the sample


def probabilistic_sharpe(moments: Moments, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above `benchmark` (Bailey, López de Prado 2012,
    "The Sharpe ratio efficient frontier", eq. 11)."""
    spread = _spread(moments)
    if not (math.isfinite(moments.sharpe) and spread > 0.0):
        return math.nan
    distance = (moments.sharpe - benchmark) * math.sqrt(moments.periods - 1)
    return float(norm.cdf(distance / math.sqrt(spread)))


def minimum_track_record(
    moments: Moments, benchmark: float = 0.0, confidence: float = 0.95
) -> float:
    """Periods that it takes until `probabilistic_sharpe` is `confidence` (same paper, eq. 13);
    infinite where the Sharpe ratio is not above the benchmark."""
    if not moments.sharpe > benchmark:
        return math.inf
    quantile = float(norm.ppf(confidence)) / (moments.sharpe - benchmark)
    return 1.0 + _spread(moments) * quantile * quantile


def _spread(moments: Moments) -> float:
    """Variance of the Sharpe ratio's estimate, times n - 1."""
    ratio = moments.sharpe
    return 1.0 - moments.skewness * ratio + (moments.kurtosis - 1.0) / 4.0 * ratio**2


def expected_best_sharpe(variance: float, trials: float) -> float:
    """Sharpe ratio that the best of so many worthless trials is expected to show (Bailey, López de
    Prado 2014, "The deflated Sharpe ratio", eq. 1).

    Args:
        variance: of the trials' Sharpe ratios. trials: how many independent ones.
    """
    if trials <= 1.0:
        return 0.0
    high = (1.0 - EULER) * norm.ppf(1.0 - 1.0 / trials)
    higher = EULER * norm.ppf(1.0 - 1.0 / (trials * math.e))
    return float(math.sqrt(variance) * (high + higher))


def deflated_sharpe(moments: Moments, variance: float, trials: float) -> float:
    """Probability that the true Sharpe ratio of the best of `trials` is above zero, once it is
    allowed for that it was chosen (same paper, eq. 2)."""
    return probabilistic_sharpe(moments, expected_best_sharpe(variance, trials))


def independent_trials(returns: Array, trials: int = 0) -> float:
    """How many independent trials correlated ones are worth: r + (1 - r) N, with r the mean
    correlation (same paper, appendix 3). At least 1.

    Args:
        returns: (T, sample) of the trials. trials: N, where these are only some of them.
    """
    moving = returns[:, returns.std(axis=0) > 0.0]
    count = float(moving.shape[1])
    if count < 2.0:
        return 1.0
    scaled = (moving - moving.mean(axis=0)) / moving.std(axis=0)
    # the mean of all correlations is the variance of the mean series
    whole = float(np.mean(scaled.mean(axis=1) ** 2))
    mean = (whole * count * count - count) / (count * (count - 1))
    return float(max(1.0, mean + (1.0 - mean) * (trials or count)))


class Overfitting(NamedTuple):
    """What cross-validation says of a search.

    Attributes:
        probability: share of halvings where the best in one half is below the median in the other.
        logits: (halvings,) of the rank that the best of one half has in the other; 0 is the median.
        loss: share of halvings where the chosen one's Sharpe ratio is negative in the other half.
        slope: of the chosen one's Sharpe ratio outside over the one inside.
    """

    probability: float
    logits: Array
    loss: float
    slope: float


def overfitting(returns: Array, pieces: int = PIECES) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation (Bailey,
    Borwein, López de Prado, Zhu 2017).

    Args:
        returns: (T, N) per period of each of N parameter sets; periods over a multiple of `pieces`
            are left out at the start.
        pieces: even; the T periods are cut into so many, and each half of them tried.

    Raises:
        SettingError: too few periods or sets.
    """
    size, count = len(returns) // pieces, returns.shape[1]
    if pieces % 2 or pieces < 2 or size < 2 or count < 2:
        raise SettingError(
            f"overfitting: {len(returns)} periods of {count} sets in {pieces} pieces; it takes an "
            "even number of pieces, two sets and two periods a piece"
        )
    cut = returns[len(returns) - size * pieces :].reshape(pieces, size, count)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    total, total_squares = sums.sum(axis=0), squares.sum(axis=0)
    half = size * pieces // 2
    logits, inside, outside = [], [], []
    for chosen in _halvings(pieces):
        own, own_squares = chosen @ sums, chosen @ squares
        seen = _sharpe(own, own_squares, half)
        unseen = _sharpe(total - own, total_squares - own_squares, half)
        best = (np.arange(len(chosen)), np.argmax(seen, axis=1))
        chosen_unseen = unseen[best][:, None]
        ties = np.sum(unseen == chosen_unseen, axis=1)
        rank = np.sum(unseen < chosen_unseen, axis=1) + 0.5 * (ties + 1.0)
        logits.append(np.log(rank / (count + 1.0 - rank)))
        inside.append(seen[best])
        outside.append(unseen[best])
    ranks, within, without = (np.concatenate(part) for part in (logits, inside, outside))
    slope = np.polyfit(within, without, 1)[0] if np.ptp(within) > 0.0 else math.nan
    return Overfitting(
        float(np.mean(ranks <= 0.0)), ranks, float(np.mean(without < 0.0)), float(slope)
    )


def _halvings(pieces: int) -> Iterator[Array]:
    """(ways, pieces) of 1 for a piece that is in the half, 0 for one that is not; in blocks."""
    ways = itertools.combinations(range(pieces), pieces // 2)
    while block := list(itertools.islice(ways, BLOCK)):
        chosen = np.zeros((len(block), pieces))
        np.put_along_axis(chosen, np.array(block), 1.0, axis=1)
        yield chosen


def _sharpe(sums: Array, squares: Array, periods: int) -> Array:
    """Sharpe ratios from sums; 0 of what never moved."""
    mean = sums / periods
    variance = np.maximum(squares / periods - mean**2, 0.0)
    moves = variance > 1e-30
    ratios: Array = np.where(moves, mean / np.sqrt(np.where(moves, variance, 1.0)), 0.0)
    return ratios
