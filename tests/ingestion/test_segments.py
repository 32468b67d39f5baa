"""A closed segment gives back the rows that were written, or says that it is damaged."""

from pathlib import Path

import numpy as np
import pytest

from seawall.core.errors import DataError
from seawall.core.events import Raw
from seawall.ingestion import segments
from seawall.ingestion.simulated import SimulatedMarket


@pytest.fixture(scope="module")
def rows() -> Raw:
    return SimulatedMarket(7, 1_700_000_000_000_000_000).record(10_000_000_000)


def written(path: Path, rows: Raw) -> Path:
    path.write_bytes(segments.parquet_bytes(rows))
    return path


@pytest.mark.parametrize("group", [100, 1 << 17])
@pytest.mark.parametrize("most", [1, 77, 100, 250, 1 << 20])
def test_pieces_are_the_rows(
    tmp_path: Path, rows: Raw, monkeypatch: pytest.MonkeyPatch, group: int, most: int
) -> None:
    monkeypatch.setattr(segments, "ROW_GROUP", group)
    few = Raw(rows[:505])
    path = written(tmp_path / "s.parquet", few)
    assert segments.count_rows(path) == 505
    pieces = list(segments.pieces_of(path, 505, most))
    assert all(0 < len(piece) <= most for piece in pieces)
    assert np.array_equal(np.concatenate(pieces), few)


def test_no_flipped_bit_passes(tmp_path: Path, rows: Raw) -> None:
    """Parquet alone lets two of three through."""
    path = written(tmp_path / "s.parquet", rows)
    whole = path.read_bytes()
    told = 0
    for at in range(4, len(whole), len(whole) // 97):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        try:
            assert np.array_equal(segments.read_rows(path), rows)
        except DataError as error:
            assert "restore it from a backup" in str(error)  # noqa: PT017 - most, not all, raise
            told += 1
    assert told > 80


def test_another_program_s_parquet_is_no_segment(tmp_path: Path, rows: Raw) -> None:
    import polars as pl

    path = tmp_path / "s.parquet"
    pl.DataFrame({name: rows[name].copy() for name in segments.FIELDS}).write_parquet(path)
    with pytest.raises(DataError, match=r"s\.parquet: cannot be read as a tape segment"):
        segments.read_rows(path)
