"""Random numbers that belong to what they are drawn for, so that no split of a tape changes them.

A key comes from `core.randomness.generator`; the rest is a hash of the columns given.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from seawall.core.randomness import generator

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)


def key_of(seed: int, purpose: str) -> int:
    """The key of one purpose, 64 bits."""
    return int(generator(seed, purpose).integers(0, 1 << 64, dtype=np.uint64))


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014, figure 16)."""
    state = (state ^ (state >> np.uint64(30))) * FIRST
    state = (state ^ (state >> np.uint64(27))) * SECOND
    return state ^ (state >> np.uint64(31))


def uniforms(key: int, *columns: NDArray[Any]) -> NDArray[np.float64]:
    """Uniform on (0, 1), one per row of the integer columns, all of one length (n,)."""
    state = np.full(len(columns[0]), key, np.uint64)
    for column in columns:
        state = _mixed((state + GOLDEN) ^ column.astype(np.int64).view(np.uint64))
    return (np.asarray(state >> np.uint64(11), np.float64) + 0.5) * 2.0**-53


def normals(key: int, *columns: NDArray[Any]) -> NDArray[np.float64]:
    """Standard normal, by inversion of `uniforms`."""
    return np.asarray(ndtri(uniforms(key, *columns)), np.float64)
