"""The market's volume by time of day, learned from recorded bars: what VWAP goes by.

Robust: a day counts by its shares and not by its size, and the shares of a bucket are combined by
their median, so that a few wild days or a few wild hours move nothing far.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError

DAY = 86_400 * 10**9  # ns
LEAST_DAYS = 5
WHOLE = 0.9  # a day with fewer of its buckets tells nothing about the missing ones


class VolumeCurve(NamedTuple):
    """Expected shares of a day's volume.

    Attributes:
        shares: (buckets,) of equal length from midnight UTC, sum 1.
        days: that it was learned from.
    """

    shares: NDArray[np.float64]
    days: int

    def between(self, start: int, end: int, slices: int) -> NDArray[np.float64]:
        """(slices,) expected volumes of equal parts of [start, end), ns UTC, as shares of a day."""
        buckets = len(self.shares)
        cumulative = np.concatenate([[0.0], np.cumsum(self.shares)])
        edges = np.linspace(0.0, 1.0, slices + 1) * ((end - start) / DAY) + (start % DAY) / DAY
        days = np.floor(edges)
        within = np.interp((edges - days) * buckets, np.arange(buckets + 1), cumulative)
        return np.diff(days * cumulative[-1] + within)


def learn(ts: NDArray[np.int64], volume: NDArray[np.float64], bucket: int) -> VolumeCurve:
    """Fit a curve to bars.

    Args:
        ts: (bars,) ns UTC, open times, rising. volume: (bars,) of any unit, >= 0.
        bucket: ns, divides a day.

    Raises:
        DataError: bars of different shape, a bucket that does not divide a day, or fewer than five
            whole days.
    """
    if len(ts) != len(volume) or bucket <= 0 or DAY % bucket:
        raise DataError(
            "volume curve: it needs as many volumes as times, and buckets that divide a day"
        )
    buckets = DAY // bucket
    days, row = np.unique(ts // DAY, return_inverse=True)
    column = ts % DAY // bucket
    known = np.isfinite(volume) & (volume >= 0)
    sums = np.zeros((len(days), buckets))
    seen = np.zeros((len(days), buckets), bool)
    np.add.at(sums, (row[known], column[known]), volume[known])
    seen[row[known], column[known]] = True
    whole = (seen.mean(axis=1) >= WHOLE) & (sums.sum(axis=1) > 0)
    if whole.sum() < LEAST_DAYS:
        raise DataError(
            f"volume curve: {int(whole.sum())} whole days of bars, {LEAST_DAYS} are needed; give a "
            "longer recording"
        )
    each = sums[whole] / sums[whole].sum(axis=1, keepdims=True)
    shares = np.nanmedian(np.where(seen[whole], each, np.nan), axis=0)
    smooth = (np.roll(shares, 1) + 2.0 * shares + np.roll(shares, -1)) / 4.0
    return VolumeCurve(smooth / smooth.sum(), int(whole.sum()))
