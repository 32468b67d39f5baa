"""Concentration steps of the minimum regularised covariance determinant, compiled.

Rows are kept as columns (d, n), so that the inner loops run over observations.
"""

import math

import numpy as np
from numba import njit

MOST_TERMS = 100_000


@njit(cache=True)
def gamma_share(a, x):
    """The regularised lower incomplete gamma function P(a, x), by its series of positive terms."""
    if x <= 0.0:
        return 0.0
    term = 1.0
    total = 1.0
    k = a
    for _ in range(MOST_TERMS):
        k += 1.0
        term *= x / k
        total += term
        if term < 1e-17 * total:
            break
    return min(1.0, total * math.exp(a * math.log(x) - x - math.lgamma(a + 1.0)))


@njit(cache=True)
def chi2_quantile(share, d):
    """The value that a chi-squared variable of d degrees does not exceed with this probability."""
    low, high = 0.0, 1.0 * d
    while gamma_share(0.5 * d, 0.5 * high) < share:
        low = high
        high *= 2.0
    value = 0.5 * (low + high)
    for _ in range(200):
        miss = gamma_share(0.5 * d, 0.5 * value) - share
        if miss < 0.0:
            low = value
        else:
            high = value
        log_density = (0.5 * d - 1.0) * math.log(0.5 * value) - 0.5 * value - math.lgamma(0.5 * d)
        density = 0.5 * math.exp(log_density)
        target = value - miss / density if density > 0.0 else low
        if not low < target < high:
            target = 0.5 * (low + high)
        moved = abs(target - value)
        value = target
        if moved <= 1e-15 * value:
            break
    return value


@njit(cache=True)
def c_alpha(count, n, d):
    """Makes the covariance of the count central of n Gaussian rows that of all of them.

    alpha / P(chi2_{d+2} <= q), q the alpha quantile of chi2_d, alpha = count / n (Croux and
    Haesbroeck 1999; Boudt et al. 2020, section 2).
    """
    share = count / n
    if share >= 1.0:
        return 1.0
    return share / gamma_share(0.5 * d + 1.0, 0.5 * chi2_quantile(share, d))


@njit(cache=True)
def cholesky(matrix, factor):
    """The lower factor of a symmetric matrix, into factor; False where it is not positive."""
    d = len(matrix)
    for j in range(d):
        for i in range(j, d):
            value = matrix[i, j]
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            if i == j:
                if not value > 1e-14 * abs(matrix[j, j]):
                    return False
                factor[j, j] = math.sqrt(value)
            else:
                factor[i, j] = value / factor[j, j]
    return True


@njit(cache=True)
def log_determinant(factor):
    """Of the matrix whose Cholesky factor this is."""
    total = 0.0
    for j in range(len(factor)):
        total += math.log(factor[j, j])
    return 2.0 * total


@njit(cache=True)
def distances(columns, centre, factor, work, out):
    """Squared Mahalanobis distances of all rows, into out (n,); work is (d, n)."""
    d, n = columns.shape
    out[:] = 0.0
    for j in range(d):
        target = work[j]
        source = columns[j]
        shift = centre[j]
        for i in range(n):
            target[i] = source[i] - shift
        for k in range(j):
            weight = factor[j, k]
            earlier = work[k]
            for i in range(n):
                target[i] -= weight * earlier[i]
        scale = 1.0 / factor[j, j]
        for i in range(n):
            target[i] *= scale
            out[i] += target[i] * target[i]


@njit(cache=True)
def nearest(squared, count, chosen):
    """Mark the count smallest in chosen (n,), the first of equals; whether any mark changed."""
    limit = np.partition(squared, count - 1)[count - 1]
    n = len(squared)
    ties = count
    for i in range(n):
        if squared[i] < limit:
            ties -= 1
    changed = False
    for i in range(n):
        take = squared[i] < limit
        if squared[i] == limit and ties > 0:
            take = True
            ties -= 1
        if take != chosen[i]:
            chosen[i] = take
            changed = True
    return changed


@njit(cache=True)
def moments(z, chosen, count, mean, scatter):
    """Mean and covariance (divisor count) of the chosen rows of z (n, d), in two passes."""
    n, d = z.shape
    mean[:] = 0.0
    scatter[:, :] = 0.0
    for i in range(n):
        if chosen[i]:
            for j in range(d):
                mean[j] += z[i, j]
    for j in range(d):
        mean[j] /= count
    row = np.empty(d)
    for i in range(n):
        if chosen[i]:
            for j in range(d):
                row[j] = z[i, j] - mean[j]
            for j in range(d):
                weight = row[j]
                line = scatter[j]
                for k in range(j + 1):
                    line[k] += weight * row[k]
    for j in range(d):
        for k in range(j + 1):
            scatter[j, k] /= count
            scatter[k, j] = scatter[j, k]


@njit(cache=True)
def regularise(scatter, rho, factor, out):
    """K = rho I + (1 - rho) factor S, into out."""
    d = len(scatter)
    for j in range(d):
        for k in range(d):
            out[j, k] = (1.0 - rho) * factor * scatter[j, k]
        out[j, j] += rho


@njit(cache=True)
def concentrate(z, columns, count, rho, constant, centre, root, chosen, steps):
    """C-steps from a centre and the Cholesky root of a covariance, until the subset stays.

    Returns the subset's mean, its covariance (divisor count), log det K and the steps taken.
    root is overwritten, chosen (n,) marks the subset. The determinant of K never grows (Boudt et
    al. 2020, theorem 2); where K is singular (rho 0 and an exact fit) its logarithm is -inf.
    """
    d, n = columns.shape
    mean = centre.copy()
    scatter = np.empty((d, d))
    regular = np.empty((d, d))
    work = np.empty((d, n))
    squared = np.empty(n)
    objective = np.inf
    used = 0
    while used < max(1, steps):
        distances(columns, mean, root, work, squared)
        used += 1
        changed = nearest(squared, count, chosen)
        if not changed and used > 1:
            break
        moments(z, chosen, count, mean, scatter)
        regularise(scatter, rho, constant, regular)
        if not cholesky(regular, root):
            return mean, scatter, -np.inf, used
        objective = log_determinant(root)
    return mean, scatter, objective, used


@njit(cache=True)
def transposed(z):
    """The columns of z (n, d), each contiguous: (d, n)."""
    n, d = z.shape
    columns = np.empty((d, n))
    for i in range(n):
        for j in range(d):
            columns[j, i] = z[i, j]
    return columns


@njit(cache=True)
def warm_mrcd(z, support, rho, centre, covariance, steps):
    """C-steps on standardised rows from an earlier centre and covariance (MRCD, target identity).

    Args:
        z: (n, d) rows, each column of location about 0 and scale about 1.
        support: h / n, the share of rows in the subset, h = ceil(support n).
        rho: weight of the identity in K = rho I + (1 - rho) c_alpha S_H.
        centre, covariance: where to start, (d,) and (d, d); a covariance that is not positive
            definite starts from Euclidean distances.
        steps: most C-steps.

    Returns:
        Mean of the subset, K with divisor h - 1 in S_H, log det K with divisor h (the objective;
        -inf where it is singular), and the steps taken.
    """
    n, d = z.shape
    count = min(n, max(2, math.ceil(support * n - 1e-9)))
    constant = c_alpha(count, n, d)
    root = np.zeros((d, d))
    if not cholesky(covariance, root):
        root[:, :] = np.eye(d)
    chosen = np.zeros(n, dtype=np.bool_)
    mean, scatter, objective, used = concentrate(
        z, transposed(z), count, rho, constant, centre, root, chosen, steps
    )
    shrunk = np.empty((d, d))
    regularise(scatter, rho, constant * count / (count - 1), shrunk)
    return mean, shrunk, objective, used


@njit(cache=True)
def project(columns, vectors):
    """Coordinates along orthonormal vectors (the columns of (d, d)) of rows kept as (d, n)."""
    d, n = columns.shape
    out = np.zeros((d, n))
    for j in range(d):
        target = out[j]
        for k in range(d):
            weight = vectors[k, j]
            source = columns[k]
            for i in range(n):
                target[i] += weight * source[i]
    return out


@njit(cache=True)
def orthogonalised_distances(along, scale, vectors, out):
    """Squared distances by robust scales along given axes, into out (n,).

    Hubert, Rousseeuw and Verdonck 2012, section 3: B = Z E, L = diag(Qn(B)^2), Sigma = E L E',
    centre Sigma^(1/2) median(Z Sigma^(-1/2)).

    Args:
        along: (d, n) B as columns.
        scale: (d,) Qn of each, positive.
        vectors: (d, d) E.
    """
    d, n = along.shape
    back = np.empty((d, d))
    for j in range(d):
        for k in range(d):
            back[j, k] = vectors[k, j]
    sphered = np.empty((d, n))
    for j in range(d):
        for i in range(n):
            sphered[j, i] = along[j, i] / scale[j]
    turned = project(sphered, back)
    median = np.empty((d, 1))
    for j in range(d):
        median[j, 0] = np.median(turned[j])
    centre = project(median, vectors)
    out[:] = 0.0
    for j in range(d):
        for i in range(n):
            away = sphered[j, i] - centre[j, 0]
            out[i] += away * away
