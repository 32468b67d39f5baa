"""How long agents remember: half-lives in seconds become EWMA weights for the rows' cadence."""

import math


def half_life_rows(half_life: float, least: float, seconds: float) -> float:
    """A half-life of `half_life` seconds in rows that are `seconds` apart, at least `least` rows.

    The floor keeps a rule meaningful on bars that are longer than its half-life.
    """
    return max(half_life / seconds, least)


def ewma_weight(rows: float) -> float:
    """Weight of the newest row in an EWMA whose half-life is `rows`: 1 - 2 ** (-1 / rows)."""
    return -math.expm1(-math.log(2.0) / rows)


def difference_scale(fast: float, slow: float) -> float:
    """Standard deviation of fast EWMA - slow EWMA of a random walk with unit steps.

    With decays f = 1 - fast and s = 1 - slow the step made j rows ago enters the difference
    with s^(j+1) - f^(j+1); the squares sum to s²/(1-s²) + f²/(1-f²) - 2sf/(1-sf).

    Args:
        fast, slow: weights of the newest row, each in (0, 1], fast > slow.
    """
    f, s = 1.0 - fast, 1.0 - slow
    variance = s * s / (1.0 - s * s) + f * f / (1.0 - f * f) - 2.0 * s * f / (1.0 - s * f)
    return math.sqrt(variance)
