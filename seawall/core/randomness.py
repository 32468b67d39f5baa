"""Counter-based randomness: a draw depends on (seed, purpose, event) and on nothing else.

Adding an event therefore changes no other draw. Philox 4x64-10: Salmon, Moraes, Dror, Shaw 2011.
"""

import hashlib

import numpy as np

_MASK = (1 << 64) - 1


def generator(seed: int, purpose: str, event: int | str = 0) -> np.random.Generator:
    """A generator for one purpose and one event.

    Args:
        seed: the run's seed.
        purpose: what the numbers are for, such as ``"venue.latency"``.
        event: the number or the name of the event that asks.
    """
    purpose_key = int.from_bytes(
        hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little"
    )
    if isinstance(event, str):
        event = int.from_bytes(hashlib.blake2b(event.encode(), digest_size=8).digest(), "little")
    key = np.array([seed & _MASK, purpose_key], dtype=np.uint64)
    counter = np.array([0, 0, event & _MASK, 0], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
