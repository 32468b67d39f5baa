"""The robust update, compiled: a window of the panel into location, scatter and their bounds.

Everything is measured in the reference's units, (value - centre) / scale; the psi function and the
clipping take their scale from there and not from the sample, so the location is nondecreasing in
each observation and an interval of observations becomes an interval of the location
(DEFINITIONS 13, "Sample" and "Update").
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from seawall.estimation.location_kernels import catoni_columns
from seawall.market.agreement import agree_on

WIDTH = 8
SCALED = 1
FAR, GROSS = 6.0, 60.0  # typical spreads
LEAST_FACTOR = 1e-9  # floor of the volatility per frame, a hundred-thousandth of a basis point


class WindowState(NamedTuple):
    """The last rows of each group, by group and place (a ring of `length` rows).

    panel: (groups, length, slots, WIDTH + 2). factor: (groups, length, 3): scale, low, high.
    ts: (groups, length) ns. barred: (groups, length) bit per slot that was excluded then.
    seen: (groups,) rows ever pushed. thin: (1,) one row of so many is kept, by its number.
    """

    panel: np.ndarray
    factor: np.ndarray
    ts: np.ndarray
    barred: np.ndarray
    seen: np.ndarray
    thin: np.ndarray


@njit(cache=True)
def chosen(index, thin):
    """Whether the frame of this number is kept: by a key on the number, which nobody can change.

    splitmix64 (Steele, Lea and Flood 2014).
    """
    if thin <= 1:
        return True
    key = np.uint64(index) + np.uint64(0x9E3779B97F4A7C15)
    key = np.multiply(key ^ (key >> np.uint64(30)), np.uint64(0xBF58476D1CE4E5B9))  # modulo 2^64
    key = np.multiply(key ^ (key >> np.uint64(27)), np.uint64(0x94D049BB133111EB))
    key = key ^ (key >> np.uint64(31))
    return key % np.uint64(thin) == np.uint64(0)


@njit(cache=True)
def push(window, barred, rows, panel):
    """Rows (CONSENSUS) and their panel into the rings; barred: (groups,) bits excluded now."""
    length = window.ts.shape[1]
    for i in range(len(rows)):
        row = rows[i]
        if not chosen(row["index"], window.thin[0]):
            continue
        group = row["group"]
        at = window.seen[group] % length
        window.panel[group, at] = panel[i]
        window.factor[group, at, 0] = row["factor"]
        window.factor[group, at, 1] = row["factor_low"]
        window.factor[group, at, 2] = row["factor_high"]
        window.ts[group, at] = row["ts"]
        window.barred[group, at] = barred[group]
        window.seen[group] += 1


@njit(cache=True)
def bits(mask):
    """How many bits are set."""
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@njit(cache=True)
def scaled_interval(low, high, factor_low, factor_high):
    """[low, high] over a factor that lies in [factor_low, factor_high] > 0."""
    return (
        low / (factor_low if low < 0.0 else factor_high),
        high / (factor_high if high < 0.0 else factor_low),
    )


@njit(cache=True)
def clip(value, radius):
    """The value, held in [-radius, radius]."""
    return min(radius, max(-radius, value))


@njit(cache=True)
def standardise(panel, factor, barred, member, banned, rule, usual, centre, scale, out):
    """A window into the reference's units.

    panel: (n, slots, WIDTH + 2), factor: (n, 3), barred: (n,) bits, member: (slots,), banned: bits
    excluded now. rule: [faulty, radius]. usual: (slots, WIDTH + 2) what each source is usually away
    from the others, taken off first (but for the scaled features, whose factor is uncertain).
    centre, scale: (WIDTH,), scale 0 where the feature is off.
    out: (3, n, WIDTH): consensus, low, high. Returns how many rows had too few sources: they stand
    at the centre with the widest interval, so that which rows are in depends on nobody.
    """
    faulty = np.int64(rule[0])
    radius = rule[1]
    slots = panel.shape[1]
    scratch = np.empty(slots)
    short = 0
    for i in range(panel.shape[0]):
        excluded = bits(barred[i] | banned)
        lacking = False
        for k in range(WIDTH):
            if scale[k] <= 0.0:
                out[0, i, k] = 0.0
                out[1, i, k] = 0.0
                out[2, i, k] = 0.0
                continue
            count = 0
            for slot in range(slots):
                value = panel[i, slot, k]
                if member[slot] and np.isfinite(value):
                    scratch[count] = value - usual[slot, k] if k >= SCALED else value
                    count += 1
            if count < 2 * faulty + 1:
                lacking = True
                out[0, i, k] = 0.0
                out[1, i, k] = -radius
                out[2, i, k] = radius
                continue
            value, low, high = agree_on(scratch, count, excluded, faulty)
            if k < SCALED:
                value /= max(factor[i, 0], LEAST_FACTOR)
                low, high = scaled_interval(
                    low, high, max(factor[i, 1], LEAST_FACTOR), max(factor[i, 2], LEAST_FACTOR)
                )
            out[0, i, k] = clip((value - centre[k]) / scale[k], radius)
            out[1, i, k] = clip((low - centre[k]) / scale[k], radius)
            out[2, i, k] = clip((high - centre[k]) / scale[k], radius)
        short += lacking
    return short


@njit(cache=True)
def scatter(y, mean, covariance):
    """Covariance of y (n, WIDTH) about `mean`, divisor n, into covariance (WIDTH, WIDTH)."""
    covariance[:] = 0.0
    for i in range(y.shape[0]):
        for j in range(WIDTH):
            a = y[i, j] - mean[j]
            for k in range(j + 1):
                covariance[j, k] += a * (y[i, k] - mean[k])
    for j in range(WIDTH):
        for k in range(j + 1):
            covariance[j, k] /= y.shape[0]
            covariance[k, j] = covariance[j, k]


@njit(cache=True)
def scatter_bound(boxed, mean, reach, bound):
    """Entrywise bound of how far `scatter` lies from the clean run's, into bound (WIDTH, WIDTH).

    boxed: (3, n, WIDTH) from `standardise`; reach: (WIDTH,) how far the mean may be off. With
    |y' - y| <= b per entry and a = |y - mean|, |(y'_j - m'_j)(y'_k - m'_k) - (y_j - m_j)(y_k -
    m_k)| is at most a_j d_k + d_j a_k + d_j d_k where d = b + reach.
    """
    bound[:] = 0.0
    n = boxed.shape[1]
    far = np.empty(WIDTH)
    off = np.empty(WIDTH)
    for i in range(n):
        for k in range(WIDTH):
            value = boxed[0, i, k]
            far[k] = abs(value - mean[k])
            off[k] = max(value - boxed[1, i, k], boxed[2, i, k] - value) + reach[k]
        for j in range(WIDTH):
            for k in range(j + 1):
                bound[j, k] += far[j] * off[k] + off[j] * far[k] + off[j] * off[k]
    for j in range(WIDTH):
        for k in range(j + 1):
            bound[j, k] /= n
            bound[k, j] = bound[j, k]


@njit(cache=True)
def summarise(boxed, c, ends, pair):
    """Location at the consensus and at both ends, and scatter with its bound, of (3, n, WIDTH)."""
    for k in range(3):
        catoni_columns(boxed[k], 1.0, c, ends[k])
    reach = np.maximum(ends[0] - ends[1], ends[2] - ends[0])
    scatter(boxed[0], ends[0], pair[0])
    scatter_bound(boxed, ends[0], reach, pair[1])


@njit(cache=True)
def update(panel, factor, barred, member, banned, rule, usual, centre, scale, boxed, ends, pair):
    """Location, scatter and their bounds for one group's window.

    rule: [faulty, radius, c of Catoni]. boxed: (3, n, WIDTH), ends: (3, WIDTH): location of the
    consensus and of both ends; pair: (2, WIDTH, WIDTH): scatter and its entrywise bound. All are
    filled in. Returns the rows with too few sources.
    """
    short = standardise(panel, factor, barred, member, banned, rule, usual, centre, scale, boxed)
    summarise(boxed, rule[2], ends, pair)
    return short


# --- authenticity: what each source says against what the others say ---


@njit(cache=True)
def residuals(panel, member, slot, column, scratch, out):
    """Residual of one source against the median of the other members, per row; NaN without three.

    panel: (n, slots, WIDTH + 2), out: (n,).
    """
    for i in range(panel.shape[0]):
        out[i] = np.nan
        own = panel[i, slot, column]
        if not np.isfinite(own):
            continue
        count = 0
        for other in range(panel.shape[1]):
            value = panel[i, other, column]
            if other != slot and member[other] and np.isfinite(value):
                scratch[count] = value
                count += 1
        if count >= 2:
            middle, _, _ = agree_on(scratch, count, 0, 0)
            out[i] = own - middle


@njit(cache=True)
def describe(values):
    """Median, 1.4826 x MAD, correlation of neighbours and number of the finite values.

    The correlation is taken from signs about the median, sin(pi/2 mean(s_t s_t-1)), which no
    single value can move (Kendall's relation, exact for Gaussian pairs).
    """
    kept = values[np.isfinite(values)]
    count = len(kept)
    if count == 0:
        return np.nan, np.nan, 0.0, 0
    middle = np.median(kept)
    spread = 1.482602218505602 * np.median(np.abs(kept - middle))
    alike = 0.0
    for i in range(1, count):
        alike += np.sign(kept[i] - middle) * np.sign(kept[i - 1] - middle)
    return middle, spread, np.sin(0.5 * np.pi * alike / max(1, count - 1)), count


@njit(cache=True)
def typical(values, member, count):
    """Median over the voting sources that have a value."""
    room = np.empty(len(values))
    voices = 0
    for slot in range(len(values)):
        if member[slot] and count[slot] > 0:
            room[voices] = values[slot]
            voices += 1
    if voices == 0:
        return 0.0
    middle, _, _ = agree_on(room, voices, 0, 0)
    return middle


@njit(cache=True)
def compare(panel, member, judged, usual, noise, found, counts):
    """Each judged source's residuals, per column.

    usual, noise: (slots, WIDTH + 2) each source's usual residual, and its spread over the typical.
    found: (5, slots, WIDTH + 2): median residual; 1.4826 x MAD; share of residuals beyond FAR of
    its usual spreads from the usual residual; correlation of neighbours; share beyond GROSS
    spreads.
    counts: (slots, WIDTH + 2) finite residuals.
    """
    n, slots, columns = panel.shape
    scratch = np.empty(slots)
    residual = np.empty((slots, n))
    for column in range(columns):
        for slot in range(slots):
            counts[slot, column] = 0
            found[:, slot, column] = np.nan
            found[2, slot, column] = 0.0
            found[3, slot, column] = 0.0
            found[4, slot, column] = 0.0
            if not judged[slot]:
                continue
            residuals(panel, member, slot, column, scratch, residual[slot])
            middle, spread, alike, count = describe(residual[slot])
            found[0, slot, column] = middle
            found[1, slot, column] = spread
            found[3, slot, column] = alike
            counts[slot, column] = count
        width = typical(found[1, :, column], member, counts[:, column])
        if width <= 0.0:
            continue
        for slot in range(slots):
            beyond = 0
            gross = 0
            unit = width * noise[slot, column]
            for i in range(n if counts[slot, column] > 0 else 0):
                if np.isfinite(residual[slot, i]):
                    away = abs(residual[slot, i] - usual[slot, column])
                    beyond += away > FAR * unit
                    gross += away > GROSS * unit
            if counts[slot, column] > 0:
                found[2, slot, column] = beyond / counts[slot, column]
                found[4, slot, column] = gross / counts[slot, column]


LEVEL = WIDTH
MEDIAN_ERROR = 1.2533141373155003  # standard error of a median over sigma / sqrt(n)


@njit(cache=True)
def independent(counts, alike, out):
    """Residuals reduced to the independent ones, n (1 - a) / (1 + a), a typical of the sources."""
    slots, columns = counts.shape
    everyone = np.ones(slots, np.uint8)
    for column in range(columns):
        a = typical(alike[:, column], everyone, counts[:, column])
        a = min(0.98, max(0.0, a))
        for slot in range(slots):
            out[slot, column] = counts[slot, column] * (1.0 - a) / (1.0 + a)


@njit(cache=True)
def score(found, counts, usual, noise, spread, weight, member, least, floor, tests):
    """Test statistics of each source and feature from `compare`, into tests (5, slots, WIDTH + 2).

    spread, weight: (WIDTH + 2,) of the reference. least: residuals that it takes. floor: least
    scale of the price test. Rows of `tests`: location, spread, outside, level (its column LEVEL),
    gross.
    """
    slots, columns = counts.shape
    tests[:] = 0.0
    free = np.empty((slots, columns))
    independent(counts, found[3], free)
    for column in range(columns):
        width = max(typical(found[1, :, column], member, counts[:, column]), 0.5 * spread[column])
        usually = typical(found[2, :, column], member, counts[:, column])
        for slot in range(slots):
            if counts[slot, column] < least or width <= 1e-15:
                continue
            own = max(found[1, slot, column], width * noise[slot, column])
            away = abs(found[0, slot, column] - usual[slot, column])
            variance = 1.0 / max(free[slot, column], 1e-9) + 1.0 / max(weight[column], 1e-9)
            tests[0, slot, column] = away / (MEDIAN_ERROR * own * np.sqrt(variance))
            tests[1, slot, column] = found[1, slot, column] / (width * noise[slot, column])
            tests[2, slot, column] = found[2, slot, column] - usually
            tests[4, slot, column] = found[4, slot, column]
    level = found[0, :, LEVEL] - usual[:, LEVEL]
    middle = typical(level, member, counts[:, LEVEL])
    apart = 1.482602218505602 * typical(np.abs(level - middle), member, counts[:, LEVEL])
    width = typical(found[1, :, LEVEL], member, counts[:, LEVEL])
    scale = max(apart, width, 0.5 * spread[LEVEL], floor)
    for slot in range(slots):
        if counts[slot, LEVEL] >= least:
            tests[3, slot, LEVEL] = abs(level[slot]) / scale


@njit(cache=True)
def own_locations(panel, factor, usual, centre, scale, out):
    """Each source's own median by feature, reference units, into out (slots, WIDTH); NaN if none.

    panel: (n, slots, WIDTH + 2), factor: (n, 3). A feature that is off gives 0.
    """
    n, slots, _ = panel.shape
    values = np.empty(n)
    for slot in range(slots):
        for k in range(WIDTH):
            out[slot, k] = 0.0
            if scale[k] <= 0.0:
                continue
            for i in range(n):
                value = panel[i, slot, k]
                if k < SCALED:
                    value /= max(factor[i, 0], LEAST_FACTOR)
                else:
                    value -= usual[slot, k]
                values[i] = (value - centre[k]) / scale[k]
            middle, _, _, _ = describe(values)
            out[slot, k] = middle


@njit(cache=True)
def plain_mean(panel, factor, centre, scale, out):
    """Mean of everything that every source said, reference units, into out (WIDTH,).

    A row whose volatility is not known yet, the first of a tape, says nothing of a scaled feature.
    """
    n, slots, _ = panel.shape
    for k in range(WIDTH):
        total = 0.0
        count = 0
        out[k] = 0.0
        if scale[k] <= 0.0:
            continue
        for i in range(n):
            unit = factor[i, 0] if k < SCALED else 1.0
            if unit < LEAST_FACTOR:
                continue
            for slot in range(slots):
                value = panel[i, slot, k]
                if np.isfinite(value):
                    total += (value / unit - centre[k]) / scale[k]
                    count += 1
        if count > 0:
            out[k] = total / count
