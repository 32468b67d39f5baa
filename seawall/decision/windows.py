"""How long agents remember: half-lives in seconds become EWMA weights for each book's cadence."""

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.instruments import Catalog


def frame_seconds(catalog: Catalog, cadence: int) -> NDArray[np.float64]:
    """Seconds between two frames of each book, shape (books,).

    Args:
        cadence: ns between frames of books that are not made of bars; a bar is its own frame.
    """
    spans = [catalog.sources[source].bar_span or cadence for _, source in catalog.books]
    return np.array(spans, dtype=np.float64) / SECOND


def half_life_frames(
    half_life: float, least: float, seconds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A half-life of `half_life` seconds in frames, at least `least` frames; shape of `seconds`.

    The floor keeps a rule meaningful on bars that are longer than its half-life.
    """
    frames: NDArray[np.float64] = np.maximum(half_life / seconds, least)
    return frames


def ewma_weight(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of the newest frame in an EWMA whose half-life is `frames`: 1 - 2 ** (-1 / frames)."""
    weight: NDArray[np.float64] = -np.expm1(-np.log(2.0) / frames)
    return weight


def difference_scale(fast: NDArray[np.float64], slow: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of fast EWMA - slow EWMA of a random walk with unit steps.

    With decays f = 1 - fast and s = 1 - slow the step made j frames ago enters the difference
    with s^(j+1) - f^(j+1); the squares sum to s²/(1-s²) + f²/(1-f²) - 2sf/(1-sf).

    Args:
        fast, slow: weights of the newest frame, each in (0, 1], fast > slow.
    """
    f, s = 1.0 - fast, 1.0 - slow
    variance = s * s / (1.0 - s * s) + f * f / (1.0 - f * f) - 2.0 * s * f / (1.0 - s * f)
    scale: NDArray[np.float64] = np.sqrt(variance)
    return scale
