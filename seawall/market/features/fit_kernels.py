"""What features estimate over a window, compiled: slopes, spreads and a principal component.

Formulas and sources: seawall/market/features/table.py. Sums that come in are exact integers.
"""

import math

import numpy as np
from numba import njit

LAGS = 4  # of the Newey-West error, 4 (100 / 100)^(2/9); lag l weighs 1 - l / (LAGS + 1)
SWEEPS = 30  # of Jacobi's method, which needs six or so


@njit(cache=True)
def square_sum(values, mean):
    """Sum of (value - mean)^2 of integers; four sums side by side, as one must wait for itself."""
    n = len(values)
    one = two = three = four = 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        a, b = values[i] - mean, values[i + 1] - mean
        c, d = values[i + 2] - mean, values[i + 3] - mean
        one += a * a
        two += b * b
        three += c * c
        four += d * d
    for i in range(whole, n):
        a = values[i] - mean
        one += a * a
    return (one + two) + (three + four)


@njit(cache=True)
def slope(x, y, mean_x, mean_y, z):
    """y = c + slope x + u: the slope, and its t by Newey and West 1987.

    x, y: (n,) integers in order of time, and their means; z: (n + LAGS,) room.
    NaN where x does not vary, and t also where nothing is left over.
    """
    n = len(x)
    xx = 0.0
    xy = 0.0
    for i in range(n):
        dx = x[i] - mean_x
        xx += dx * dx
        xy += dx * (y[i] - mean_y)
    if xx == 0.0:
        return np.nan, np.nan
    found = xy / xx
    for i in range(LAGS):
        z[i] = 0.0
    for i in range(n):
        dx = x[i] - mean_x
        z[LAGS + i] = dx * (y[i] - mean_y - found * dx)
    lag_0 = lag_1 = lag_2 = lag_3 = lag_4 = 0.0
    for i in range(LAGS, n + LAGS):
        lag_0 += z[i] * z[i]
        lag_1 += z[i] * z[i - 1]
        lag_2 += z[i] * z[i - 2]
        lag_3 += z[i] * z[i - 3]
        lag_4 += z[i] * z[i - 4]
    total = lag_0 + 2.0 * (0.8 * lag_1 + 0.6 * lag_2 + 0.4 * lag_3 + 0.2 * lag_4)
    if total <= 0.0:
        return found, np.nan
    return found, found * xx / math.sqrt(total)


@njit(cache=True)
def roll_spread(n, new, old, product):
    """Roll 1984, in the unit of prices: from n pairs of changes, their sums and products."""
    if n < 2:
        return np.nan
    covariance = (product - np.float64(new) * np.float64(old) / n) / (n - 1)
    return 2.0 * math.sqrt(-covariance) if covariance < 0.0 else 0.0


@njit(cache=True)
def split_two(n, r01, p0, p1):
    """Huang and Stoll 1997 (5): (S, lambda) from sums over n trades; S in the unit of prices."""
    determinant = np.float64(n) * n - np.float64(r01) * r01
    if n < 2 or determinant <= 0.0:
        return np.nan, np.nan
    half = (np.float64(p0) * n - np.float64(p1) * r01) / determinant
    before = (np.float64(p1) * n - np.float64(p0) * r01) / determinant
    return 2.0 * half, 1.0 + before / half if half != 0.0 else np.nan


@njit(cache=True)
def split_three(n, r01, r12, r02, p0, p1, p2):
    """Huang and Stoll 1997, three ways: (adverse selection, inventory) as shares of S/2."""
    a, b, c, d = np.float64(n), np.float64(r01), np.float64(r02), np.float64(r12)
    determinant = a * (a * a - d * d) - b * (b * a - d * c) + c * (b * d - a * c)
    if n < 3 or determinant <= 0.0 or d == 0.0:
        return np.nan, np.nan
    now = p0 * (a * a - d * d) - p1 * (b * a - c * d) + p2 * (b * d - c * a)
    before = -p0 * (b * a - d * c) + p1 * (a * a - c * c) - p2 * (a * d - b * c)
    twice = p0 * (b * d - a * c) - p1 * (a * d - c * b) + p2 * (a * a - b * b)
    if now == 0.0:
        return np.nan, np.nan
    adverse = -twice / now * a / d
    return adverse, 1.0 + before / now - adverse


@njit(cache=True)
def collect(count, values, mean, scatter):
    """One more vector, the count-th (from 1), into a mean and a scatter matrix (Welford 1962)."""
    d = len(values)
    share = (count - 1.0) / count
    for i in range(d):
        away = share * (values[i] - mean[i])
        for j in range(i + 1):
            scatter[i, j] += away * (values[j] - mean[j])
    for i in range(d):
        mean[i] += (values[i] - mean[i]) / count


@njit(cache=True)
def rotate(matrix, vectors, p, q):
    """One rotation of Jacobi's method: makes the entry (p, q) zero."""
    if matrix[p, q] == 0.0:
        return
    theta = (matrix[q, q] - matrix[p, p]) / (2.0 * matrix[p, q])
    tangent = 1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0))
    if theta < 0.0:
        tangent = -tangent
    cosine = 1.0 / math.sqrt(tangent * tangent + 1.0)
    sine = tangent * cosine
    for k in range(len(matrix)):
        one, two = matrix[k, p], matrix[k, q]
        matrix[k, p] = cosine * one - sine * two
        matrix[k, q] = sine * one + cosine * two
    for k in range(len(matrix)):
        one, two = matrix[p, k], matrix[q, k]
        matrix[p, k] = cosine * one - sine * two
        matrix[q, k] = sine * one + cosine * two
        one, two = vectors[k, p], vectors[k, q]
        vectors[k, p] = cosine * one - sine * two
        vectors[k, q] = sine * one + cosine * two


@njit(cache=True)
def first_component(scatter, weights):
    """The first principal component of a scatter matrix, its magnitudes adding up to 1.

    scatter: (d, d), its lower triangle is read. weights: (d,), written; its sum is not negative.
    True where there is one: something varies.
    """
    d = len(weights)
    matrix = np.empty((d, d))
    vectors = np.zeros((d, d))
    trace = 0.0
    for i in range(d):
        vectors[i, i] = 1.0
        trace += scatter[i, i]
        for j in range(d):
            matrix[i, j] = scatter[max(i, j), min(i, j)]
    if not trace > 0.0:
        return False
    for _ in range(SWEEPS):
        off = 0.0
        for p in range(d):
            for q in range(p + 1, d):
                off += abs(matrix[p, q])
        if off <= 1e-15 * trace:
            break
        for p in range(d):
            for q in range(p + 1, d):
                rotate(matrix, vectors, p, q)
    best = 0
    for i in range(1, d):
        if matrix[i, i] > matrix[best, best]:
            best = i
    total = 0.0
    size = 0.0
    for i in range(d):
        total += vectors[i, best]
        size += abs(vectors[i, best])
    for i in range(d):
        weights[i] = vectors[i, best] / (size if total >= 0.0 else -size)
    return True
