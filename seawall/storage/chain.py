"""Hashes rows of the journal that were encoded all at once: OpenSSL is called without Python's
object for each row, where its functions are at hand."""

import ctypes
import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = 32  # bytes of a hash
_LIBRARIES = ("libcrypto.so.3",)  # for a Python that keeps its own to itself
_ROOM = 64  # 8-byte words: four times what OpenSSL's state takes

Hashing = Callable[[bytes, bytes, NDArray[np.int64]], NDArray[np.uint8]]


def hashes(head: bytes, data: bytes, ends: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(rows, 32) every row's hash: SHA-256(previous hash | what `data` has of the row).

    Args:
        head: the hash before the first. data: of all rows, end to end. ends: where each ends.
    """
    return (compiled() or one_by_one)(head, data, ends)


def one_by_one(head: bytes, data: bytes, ends: NDArray[np.int64]) -> NDArray[np.uint8]:
    """As `hashes`, by hashlib: three times as slow."""
    found, first, sha256 = [], 0, hashlib.sha256
    for end in ends.tolist():
        head = sha256(head + data[first:end]).digest()
        found.append(head)
        first = end
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, SIZE)


@cache
def compiled() -> Hashing | None:
    """As `hashes`, by OpenSSL's own functions; None where they cannot be called, or say otherwise.

    OpenSSL calls them deprecated, as they do not choose among its providers at every hash; that
    choice is much of what hashlib takes.
    """
    from seawall.storage import chain_kernels as kernels  # Numba: not for all who open a journal

    calls = functions()
    if calls is None or not hasattr(kernels.chain, "py_func"):  # as with NUMBA_DISABLE_JIT
        return None

    def calling(chain: Callable[..., None]) -> Hashing:
        def at_once(head: bytes, data: bytes, ends: NDArray[np.int64]) -> NDArray[np.uint8]:
            found = np.empty((len(ends), SIZE), np.uint8)
            if len(ends):
                given = np.frombuffer(head, np.uint8), np.frombuffer(data, np.uint8)
                room, past = np.empty(_ROOM, np.uint64), np.ascontiguousarray(ends, np.int64)
                chain(*calls, room, *given, past, found)
            return found

        return at_once

    lengths = np.cumsum([0, 1, 23, 24, 31, 32, 33, 64, 96, 1000])
    probe = bytes(SIZE), bytes(range(256)) * 8, lengths
    if not np.array_equal(calling(kernels.chain)(*probe), one_by_one(*probe)):
        return None
    # by its types: to find those of OpenSSL's functions takes as long as a thousand hashes
    return calling(kernels.chain.get_overload(kernels.chain.signatures[0]))


def functions() -> tuple[Any, Any, Any] | None:
    """`SHA256_Init(state)`, `SHA256_Update(state, data, length)`, `SHA256_Final(hash, state)` of
    the library behind hashlib; None where it cannot be found."""
    import _hashlib

    for name in (getattr(_hashlib, "__file__", None), *_LIBRARIES):
        if name is None:
            continue
        try:
            library = ctypes.CDLL(name)
            calls = library.SHA256_Init, library.SHA256_Update, library.SHA256_Final
        except (OSError, AttributeError):
            continue
        for call, arguments in zip(calls, (1, 3, 2), strict=True):
            call.argtypes = [ctypes.c_size_t] * arguments  # addresses as well
            call.restype = ctypes.c_int
        return calls
    return None
