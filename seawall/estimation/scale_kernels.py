"""Scale of one sample, compiled: the Qn of Rousseeuw and Croux."""

import numpy as np
from numba import njit

QN = 2.21914  # 1 / (sqrt 2 * the normal quantile at 5/8)
IQR_TO_QUANTILE = 0.334  # of a normal sample: first quartile of differences over the IQR
# Finite samples (Croux and Rousseeuw 1992, as robustbase has simulated them anew).
SMALL = (0.399356, 0.99365, 0.51321, 0.84401, 0.6122, 0.85877)  # of 2 to 7 rows
LESS_SMALL = (0.66993, 0.87344, 0.72014, 0.88906, 0.75743)  # of 8 to 12 rows


@njit(cache=True)
def within(ordered, reach):
    """How many pairs of the ascending values differ by at most reach.

    Two walks side by side, from the first value and from the middle one, without branches that
    hang on the values: each step moves the far end, or counts and moves the near one.
    """
    n = len(ordered)
    half = n // 2
    near0, far0 = 0, 0
    near1, far1 = half, half
    found = 0
    while near0 < half and far0 < n and far1 < n:
        inside0 = ordered[far0] - ordered[near0] <= reach
        inside1 = ordered[far1] - ordered[near1] <= reach
        found += (0 if inside0 else far0 - near0 - 1) + (0 if inside1 else far1 - near1 - 1)
        far0 += 1 if inside0 else 0
        near0 += 0 if inside0 else 1
        far1 += 1 if inside1 else 0
        near1 += 0 if inside1 else 1
    found += finished(ordered, reach, near0, half, far0)
    return found + finished(ordered, reach, near1, n, far1)


@njit(cache=True)
def finished(ordered, reach, near, end, far):
    """What one walk of `within` still counts, from where it stands."""
    n = len(ordered)
    found = 0
    while near < end:
        while far < n and ordered[far] - ordered[near] <= reach:
            far += 1
        found += far - near - 1
        near += 1
    return found


@njit(cache=True)
def between(ordered, low, high, out):
    """The differences in (low, high] of the ascending values, into out; how many."""
    n = len(ordered)
    found = 0
    first = 0
    for i in range(n):
        first = max(first, i + 1)
        while first < n and ordered[first] - ordered[i] <= low:
            first += 1
        j = first
        while j < n and ordered[j] - ordered[i] <= high:
            out[found] = ordered[j] - ordered[i]
            found += 1
            j += 1
    return found


@njit(cache=True)
def kth_difference(ordered, k):
    """The k-th smallest of all |x_i - x_j|, i < j, exactly; k from 1.

    A bracket of values is narrowed by counting, until few enough are left to be looked at.
    """
    n = len(ordered)
    low, high = 0.0, ordered[n - 1] - ordered[0]
    below, most = within(ordered, low), n * (n - 1) // 2
    if below >= k:
        return 0.0
    middle = IQR_TO_QUANTILE * (ordered[3 * n // 4] - ordered[n // 4])
    turn = 0
    while most - below > n:
        if not low < middle < high:
            middle = low + 0.5 * (high - low)
            if not low < middle < high:
                return high
        found = within(ordered, middle)
        if found < k:
            low, below = middle, found
            aim = k + 0.3 * n  # a little past k, so that the other end moves too
        else:
            high, most = middle, found
            aim = k - 0.3 * n
        turn += 1
        if turn < 4 and found > 0:  # among small differences the count grows nearly as they do
            middle += (aim - found) * middle / found
        elif turn % 2:
            middle = low + 0.5 * (high - low)
        else:
            middle = low + (aim - below) / (most - below) * (high - low)
    left = np.empty(most - below)
    count = between(ordered, low, high, left)
    return np.partition(left[:count], k - below - 1)[k - below - 1]


@njit(cache=True)
def qn(ordered):
    """Qn of ascending values (n,), n >= 2: a quarter quantile of all pairwise differences.

    Rousseeuw and Croux 1993, equation 3.1, consistent for normal rows, with the finite-sample
    factors of robustbase 0.93; half of the rows may be anything. 0 where over half are equal.
    """
    n = len(ordered)
    half = n // 2 + 1
    raw = QN * kth_difference(ordered, half * (half - 1) // 2)
    if n <= 7:
        return raw * SMALL[n - 2]
    if n <= 12:
        return raw * LESS_SMALL[n - 8]
    if n % 2:
        return raw / ((1.60188 + (-2.1284 - 5.172 / n) / n) / n + 1.0)
    return raw / ((3.67561 + (1.9654 + (6.987 - 77.0 / n) / n) / n) / n + 1.0)


@njit(cache=True)
def qn_of_each(ordered, out):
    """`qn` of each ascending row of (d, n), into out (d,)."""
    for j in range(len(ordered)):
        out[j] = qn(ordered[j])
