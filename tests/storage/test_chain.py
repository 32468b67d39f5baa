"""Hashes of many rows at once are those of one row after the other."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.storage import chain
from seawall.storage.schema import GENESIS, LINK, link

EDGES = [0, 10, 11, 12, 19, 20, 21, 22, 51, 52, 84, 116]  # where SHA-256 begins another block
bodies = st.one_of(st.sampled_from(EDGES), st.integers(0, 1000)).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)
heads = st.binary(min_size=chain.SIZE, max_size=chain.SIZE)
SCHEMA = 7

chain.compiled()  # loaded before anything is timed


def packed(rows: list[bytes], seq: int) -> tuple[bytes, np.ndarray]:
    """What the hashes of these rows are made of, and where each ends."""
    data = [
        number.to_bytes(8, "little") + SCHEMA.to_bytes(4, "little") + row
        for number, row in enumerate(rows, seq + 1)
    ]
    return b"".join(data), np.cumsum([len(row) + LINK for row in rows], dtype=np.int64)


@given(heads, st.lists(bodies, max_size=12), st.integers(0, 1 << 62))
@pytest.mark.parametrize("how", [chain.hashes, chain.one_by_one])
def test_hashes_at_once_are_links_one_by_one(how, head, rows, seq):
    data, ends = packed(rows, seq)
    found = how(head, data, ends)
    assert found.shape == (len(rows), chain.SIZE)
    for number, (row, row_hash) in enumerate(zip(rows, found, strict=True), seq + 1):
        head = link(head, number, SCHEMA, row)
        assert row_hash.tobytes() == head


def test_here_they_are_compiled_where_the_library_can_be_called():
    assert (chain.compiled() is None) == (chain.functions() is None)


def test_without_compilation_it_is_hashlib_that_hashes():
    data, ends = packed([b"one", b"two"], 0)
    told = f"chain.hashes({GENESIS!r}, {data!r}, np.array({ends.tolist()}))[-1].tobytes().hex()"
    code = f"import numpy as np; from seawall.storage import chain; print({told})"
    without = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert without.stdout.strip() == chain.hashes(GENESIS, data, ends)[-1].tobytes().hex()
