"""Location, compiled: Catoni's mean with a bounded influence function, the geometric median."""

import math

import numpy as np
from numba import njit

LOG_2 = math.log(2.0)
MADN = 1.482602218505602  # 1 / the upper quartile of the standard normal
CHUNK = 512  # factors of 1 to 2 in one product: far from overflow
GUESS = 32  # rows that the first guess looks at
MOST_STEPS = 400  # bisection alone ends long before
TOLERANCE = 1e-13  # of c * scale


@njit(cache=True)
def balance(x, theta, alpha):
    """Sum of the narrow psi at theta, minus its slope, and how many more lie above than below.

    With u = max(0, 1 - |t|): psi(t) = sign(t) (log 2 - log(1 + u^2)), psi'(t) = 2u / (1 + u^2).
    The logarithms are taken of whole products, kept as product minus one: where all of x is far
    away, the little that is left keeps its relative precision, and the root its place.
    """
    n = len(x)
    total, slope, above = 0.0, 0.0, 0
    for start in range(0, n, CHUNK):
        end = min(n, start + CHUNK)
        high0 = high1 = low0 = low1 = 0.0
        slope0 = slope1 = 0.0
        even = start + (end - start) // 2 * 2
        for i in range(start, even, 2):
            t0 = (x[i] - theta) * alpha
            t1 = (x[i + 1] - theta) * alpha
            u0 = max(0.0, 1.0 - abs(t0))
            u1 = max(0.0, 1.0 - abs(t1))
            v0 = u0 * u0
            v1 = u1 * u1
            slope0 += u0 / (1.0 + v0)
            slope1 += u1 / (1.0 + v1)
            up0 = v0 if t0 > 0.0 else 0.0
            up1 = v1 if t1 > 0.0 else 0.0
            down0 = v0 - up0
            down1 = v1 - up1
            high0 += up0 + high0 * up0
            high1 += up1 + high1 * up1
            low0 += down0 + low0 * down0
            low1 += down1 + low1 * down1
            above += (1 if t0 > 0.0 else -1) + (1 if t1 > 0.0 else -1)
        if even < end:
            t0 = (x[even] - theta) * alpha
            u0 = max(0.0, 1.0 - abs(t0))
            v0 = u0 * u0
            slope0 += u0 / (1.0 + v0)
            if t0 > 0.0:
                high0 += v0 + high0 * v0
                above += 1
            else:
                low0 += v0 + low0 * v0
                above -= 1
        total += math.log1p(low0) + math.log1p(low1) - math.log1p(high0) - math.log1p(high1)
        slope += slope0 + slope1
    return total + above * LOG_2, 2.0 * alpha * slope, above


@njit(cache=True)
def guess(x):
    """The median of some rows, evenly spread."""
    n = len(x)
    few = min(n, GUESS)
    picked = np.empty(few)
    for i in range(few):
        value = x[i * n // few]
        j = i
        while j > 0 and picked[j - 1] > value:
            picked[j] = picked[j - 1]
            j -= 1
        picked[j] = value
    return 0.5 * (picked[(few - 1) // 2] + picked[few // 2])


@njit(cache=True)
def middle_of_gap(x, theta, reach):
    """The middle of the gap around theta if nothing lies within reach of that; else theta."""
    below, over = -np.inf, np.inf
    for i in range(len(x)):
        if x[i] > theta:
            over = min(over, x[i])
        else:
            below = max(below, x[i])
    return 0.5 * below + 0.5 * over if over - below >= 2.0 * reach else theta


@njit(cache=True)
def catoni(x, scale, c):
    """Catoni 2012: the root of sum psi((x - theta) / (c scale)) = 0 with the narrow, bounded psi.

    Newton's method in a bracket. Nondecreasing in every x (up to 1e-12 scale, and rounding of
    theta itself). Where a whole interval solves it, its middle; scale 0 gives the median.

    Args:
        x: (n,) values, finite.
        scale: what counts as one standard deviation, in units of x.
        c: how many scales are still followed nearly linearly.
    """
    n = len(x)
    if n == 0 or not scale > 0.0:
        return np.median(x) if n else np.nan
    reach = c * scale
    alpha = 1.0 / reach
    low, high = x[0], x[0]
    for i in range(1, n):
        low = min(low, x[i])
        high = max(high, x[i])
    theta = guess(x)
    last = high - low
    above, slope = 1, 1.0
    for _ in range(MOST_STEPS):
        value, slope, above = balance(x, theta, alpha)
        if value > 0.0:
            low = max(low, theta)
        elif value < 0.0:
            high = min(high, theta)
        else:
            break
        step = value / slope if slope > 0.0 else np.inf
        target = theta + step
        if not low <= target <= high or abs(step) > 0.5 * last:
            target = 0.5 * low + 0.5 * high
        last = abs(target - theta)
        theta = target
        if last <= TOLERANCE * reach or not low < high:
            break
    if above == 0 and slope * reach < 0.1:
        return middle_of_gap(x, theta, reach)
    return theta


@njit(cache=True)
def catoni_columns(x, scale, c, out):
    """`catoni` of each column of x (n, d), all of one scale, into out (d,)."""
    n, d = x.shape
    column = np.empty(n)
    for j in range(d):
        for i in range(n):
            column[i] = x[i, j]
        out[j] = catoni(column, scale, c)


@njit(cache=True)
def median_and_madn(x, centre, scale):
    """Median and normalised median absolute deviation of each column of x (n, d), into (d,)."""
    n, d = x.shape
    column = np.empty(n)
    for j in range(d):
        for i in range(n):
            column[i] = x[i, j]
        centre[j] = np.median(column)
        for i in range(n):
            column[i] = abs(column[i] - centre[j])
        scale[j] = MADN * np.median(column)


@njit(cache=True)
def forced_down(x, count, far):
    """A copy of x (n,) with its `count` largest replaced by far."""
    forced = np.partition(x, len(x) - count)
    forced[len(x) - count :] = far
    return forced


@njit(cache=True)
def shift(x, scale, c, count, middle):
    """The farthest that `catoni` of x moves from `middle` if any `count` rows become anything.

    Exact for a scale that stays: the estimate is monotone in every row, so the worst is that the
    largest rows fall to where psi is saturated, or the smallest rise to it.
    """
    reach = c * scale
    spread = x.max() - x.min()
    far = middle - 4.0 * (spread + reach)
    down = middle - catoni(forced_down(x, count, far), scale, c)
    up = catoni(-forced_down(-x, count, -(2.0 * middle - far)), scale, c) - middle
    return max(0.0, down, up)


@njit(cache=True)
def weiszfeld(points, start, tolerance, steps):
    """The geometric median of points (n, d): Weiszfeld's steps, mended on a point itself.

    Vardi and Zhang 2000 (PNAS 97, equation 2.6): a step from a data point pulls by what the others
    want beyond its own weight, so that it may be left, or is the median.

    Returns:
        The median (d,) and whether the last step was at most tolerance.
    """
    n, d = points.shape
    place = start.copy()
    target = np.empty(d)
    pull = np.empty(d)
    for _ in range(steps):
        total = 0.0
        here = 0.0
        target[:] = 0.0
        for i in range(n):
            square = 0.0
            for j in range(d):
                square += (points[i, j] - place[j]) ** 2
            if square == 0.0:
                here += 1.0
                continue
            weight = 1.0 / np.sqrt(square)
            total += weight
            for j in range(d):
                target[j] += weight * points[i, j]
        if total == 0.0:
            return place, True
        size = 0.0
        for j in range(d):
            target[j] /= total
            pull[j] = target[j] - place[j]
            size += pull[j] ** 2
        size = np.sqrt(size)
        stay = min(1.0, here / (total * size)) if size > 0.0 else 1.0
        moved = (1.0 - stay) * size
        for j in range(d):
            place[j] += (1.0 - stay) * pull[j]
        if moved <= tolerance:
            return place, True
    return place, False
