"""The journal's hash chain over many rows at once, by the SHA-256 of the library behind `hashlib`.

`hashlib` makes an object and copies the bytes for every row, which takes four times as long as the
hash itself.
"""

from typing import Any

from numba import njit


@njit(cache=True)
def chain(
    init: Any, update: Any, final: Any, room: Any, head: Any, data: Any, ends: Any, out: Any
) -> None:
    """Every row's hash: of the hash before it and of what `data` has of the row.

    init, update, final: OpenSSL's `SHA256_Init` and so on, see `chain`. room: 8-byte words, enough
    for its state. head: (32,) the hash before the first row. data: bytes of all rows, end to end.
    ends: where each ends. out: (rows, 32).
    """
    state, before, begin = room.ctypes.data, head.ctypes.data, data.ctypes.data
    first, past = 0, out.ctypes.data
    for end in ends:
        init(state)
        update(state, before, 32)
        update(state, begin + first, end - first)
        final(past, state)
        first, before = end, past
        past += 32
