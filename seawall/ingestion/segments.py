"""Closed segments of a tape: Parquet files that carry checksums of their rows.

Parquet itself lets most flipped bits pass as other prices, sizes and times.
"""

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seawall.core.errors import DataError
from seawall.core.events import EVENT, empty

ROW_GROUP = 1 << 17
CHECKSUMS = "seawall.crc32"  # in the file's metadata: of the rows of each row group
FIELDS = tuple(EVENT.names or ())


def parquet_bytes(rows: NDArray[Any]) -> memoryview:
    """A closed segment's file."""
    frame = pl.DataFrame({name: np.ascontiguousarray(rows[name]) for name in FIELDS})
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer,
        compression="zstd",
        row_group_size=ROW_GROUP,
        metadata={CHECKSUMS: " ".join(_checksums(rows))},
    )
    return buffer.getbuffer()


def _checksums(rows: NDArray[Any]) -> list[str]:
    """CRC32 of each ROW_GROUP rows, the last of what is left; hexadecimal."""
    whole = np.ascontiguousarray(rows).view(np.uint8)
    step = ROW_GROUP * EVENT.itemsize
    return [f"{zlib.crc32(whole[at : at + step].data):08x}" for at in range(0, len(whole), step)]


def read_rows(path: Path, offset: int = 0, length: int | None = None) -> NDArray[Any]:
    """Rows of a closed segment, dtype EVENT, each row group held against its checksum.

    Args:
        offset, length: whole row groups.

    Raises:
        DataError: truncated, or a bit is not as it was written.
    """
    try:
        frame = pl.scan_parquet(path).slice(offset, length).select(FIELDS).collect()
        checksums = pl.read_parquet_metadata(path).get(CHECKSUMS, "").split()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(path) from error
    rows = empty(frame.height)
    for name in FIELDS:
        values = frame[name].to_numpy()
        if values.dtype != EVENT[name]:
            raise _damaged(path)
        rows[name] = values
    first = offset // ROW_GROUP
    found = _checksums(rows)
    if found != checksums[first : first + len(found)]:
        raise _damaged(path)
    return rows


def pieces_of(path: Path, rows: int, max_rows: int) -> Iterator[NDArray[Any]]:
    """The rows of a closed segment in pieces of at most `max_rows`."""
    step = max(1, max_rows // ROW_GROUP) * ROW_GROUP
    for at in range(0, rows, step):
        whole = read_rows(path, at, step)
        for first in range(0, len(whole), max_rows):
            yield whole[first : first + max_rows]


def count_rows(path: Path) -> int:
    """How many rows there are, by the file's own word. Raises DataError."""
    try:
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path}: cannot be read as a tape segment, it is truncated, damaged or not Parquet; "
        "restore it from a backup or import the data again"
    )
