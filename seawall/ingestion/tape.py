"""The tape on disk: a folder with a catalog, closed Parquet segments and at most one open segment.

The open segment is append-only binary with a CRC per block, so that kill -9 costs no whole block;
it becomes Parquet when it is full. Closing a segment is safe against a crash between any two steps.
"""

import errno
import fcntl
import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError, StoreError
from seawall.core.events import EVENT, EventKind, Raw, Side, checked, empty
from seawall.core.instruments import Catalog
from seawall.ingestion import segments

ROTATE_ROWS = 1 << 20
BLOCK_ROWS = 1 << 20
MAGIC = b"SEAWALLT"
VERSION = 1
HEADER = struct.Struct("<8sII")  # magic, version, bytes per row
BLOCK = struct.Struct("<IQI")  # rows, bytes, CRC32 of rows, bytes and the rows themselves
CATALOG = "catalog.json"
AGAIN = "import the data again with `seawall data import`"
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an OSError into a StoreError of one line: what, where, what to do."""
    try:
        yield
    except OSError as error:
        advice = "give it write permission or choose another folder"
        if error.errno in NO_ROOM:
            advice = "free some space or choose a folder on another disk"
        elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENOENT):
            advice = "choose a folder whose parent is a folder"
        why = (error.strerror or str(error)).lower()
        raise StoreError(f"cannot write {path}: {why}; {advice}") from error


def _crc(rows: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<IQ", rows, len(payload))))


def _limits(catalog: Catalog) -> dict[str, int]:
    """The greatest value of each field that points somewhere."""
    return {
        "instrument": max(0, len(catalog.instruments) - 1),
        "source": max(0, len(catalog.sources) - 1),
        "kind": max(EventKind),
        "side": max(Side),
    }


def _sound(rows: NDArray[Any], catalog: Catalog, where: str) -> Raw:
    """Rows that are in order and point into the catalog, or DataError."""
    tape = checked(rows, where)
    if len(rows) == 0:
        return tape
    for field, limit in _limits(catalog).items():
        if int(rows[field].max()) > limit:
            row = int(np.argmax(rows[field] > limit))
            raise DataError(
                f"{where}: row {row + 1} has {field} {int(rows[field][row])}, the greatest there "
                f"is is {limit}; {AGAIN}"
            )
    return tape


def _scan(path: Path) -> Iterator[tuple[NDArray[Any], int]]:
    """Whole blocks of an open segment, each with the offset of its end; a torn tail ends it.

    Raises:
        DataError: damage before the last block.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HEADER.size)
        if len(head) < HEADER.size or not any(head):
            return
        if head != HEADER.pack(MAGIC, VERSION, EVENT.itemsize):
            raise DataError(
                f"{path}: not a segment of this version of Seawall; read it with the version that "
                "wrote it, or move the file away"
            )
        number, at = 0, HEADER.size
        while len(head := file.read(BLOCK.size)) == BLOCK.size:
            number += 1
            rows, length, crc = BLOCK.unpack(head)
            end = at + BLOCK.size + length
            if length != rows * EVENT.itemsize or rows == 0:
                if not any(head) and not any(file.read()):
                    return  # a machine that lost power leaves zeros
            elif end > size:
                return
            else:
                payload = file.read(length)
                if _crc(rows, payload) == crc:
                    yield np.frombuffer(payload, dtype=EVENT), end
                    at = end
                    continue
                if end == size:
                    return
            raise DataError(
                f"{path}: block {number} (byte {at}) is damaged; restore the file from a backup, "
                f"or cut it there with `truncate --size {at}` to keep what comes before"
            )


class _Extent(NamedTuple):
    """What an open segment holds: whole rows, where they end, bytes of a torn block behind them."""

    rows: int
    end: int
    torn: int
    last_ts: int


def _extent(path: Path) -> _Extent:
    rows, end, last_ts = 0, 0, 0
    for block, end in _scan(path):  # noqa: B007 the last end is wanted
        rows += len(block)
        last_ts = int(block["recv_ts"][-1])
    size = path.stat().st_size
    if end == 0 and size >= HEADER.size:
        with path.open("rb") as file:
            end = HEADER.size if any(file.read(HEADER.size)) else 0
    return _Extent(rows, end, size - end, last_ts)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write under a temporary name, sync, rename, sync the folder: the file is whole or absent."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _segments(folder: Path) -> list[Path]:
    """Segments in order; where a crash left both forms of one, the Parquet file is the whole one.

    Raises:
        DataError: a segment is missing, or one that is not the last is still open.
    """
    found: dict[int, Path] = {}
    for suffix in ("*.segment", "*.parquet"):
        for path in folder.glob(suffix):
            if path.stem.isdigit() and not path.name.startswith("."):
                found[int(path.stem)] = path
    for expected, number in enumerate(sorted(found), start=1):
        if number != expected:
            raise DataError(
                f"tape {folder}: segment {expected:06d} is missing; restore it from a backup or "
                "import the data again"
            )
        if found[number].suffix == ".segment" and number != len(found):
            raise DataError(
                f"tape {folder}: segment {number:06d} is open, yet a later one exists; restore the "
                "folder from a backup"
            )
    return [found[number] for number in sorted(found)]


def read_catalog(folder: Path) -> Catalog:
    """The catalog of a tape folder.

    Raises:
        DataError: no such tape, or its catalog cannot be read.
    """
    path = folder / CATALOG
    try:
        return msgspec.json.decode(path.read_bytes(), type=Catalog).check()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{folder} is not a tape (there is no {CATALOG} in it); make one with "
            "`seawall data import SOURCE --to FOLDER`"
        ) from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); "
            "check its permissions"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not a catalog ({error}); restore it from a backup or import the data again"
        ) from error


class Tape:
    """A tape opened for reading; rows that a writer adds later are not seen.

    Attributes:
        folder: where it lies.
        catalog: its instruments, sources and books.
        rows: how many rows it holds.
        torn: bytes of an unfinished block at the end of the open segment, left out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = read_catalog(folder)
        self.torn = 0
        self._parts: list[tuple[Path, int]] = []
        for path in _segments(folder):
            if path.suffix == ".parquet":
                self._parts.append((path, segments.count_rows(path)))
            else:
                extent = _extent(path)
                self.torn = extent.torn
                self._parts.append((path, extent.rows))
        self.rows = sum(rows for _, rows in self._parts)

    def blocks(self, max_rows: int = BLOCK_ROWS) -> Iterator[Raw]:
        """Consecutive pieces of the tape, none empty and none longer than `max_rows`.

        Raises:
            DataError: a segment is damaged; the message names file and block.
        """
        last = -(1 << 63)
        for path, rows in self._parts:
            pieces = (
                segments.pieces_of(path, rows, max_rows)
                if path.suffix == ".parquet"
                else _regrouped(path, rows, max_rows)
            )
            for piece in pieces:
                sound = _sound(piece, self.catalog, str(path))
                if sound["recv_ts"][0] < last:
                    raise DataError(
                        f"{path}: begins before the segment in front of it ends; {AGAIN}"
                    )
                last = int(sound["recv_ts"][-1])
                yield sound

    def read(self) -> Raw:
        """The whole tape in memory, 56 bytes a row."""
        rows, at = empty(self.rows), 0
        for block in self.blocks():
            rows[at : at + len(block)] = block
            at += len(block)
        return Raw(rows)


def _regrouped(path: Path, rows: int, max_rows: int) -> Iterator[NDArray[Any]]:
    """The first `rows` rows of an open segment in pieces of at most `max_rows`."""
    waiting: list[NDArray[Any]] = []
    held, left = 0, rows
    for whole, _ in _scan(path):
        block = whole[:left]
        left -= len(block)
        while len(block):
            waiting.append(block[: max_rows - held])
            block = block[len(waiting[-1]) :]
            held += len(waiting[-1])
            if held == max_rows:
                yield np.concatenate(waiting)
                waiting, held = [], 0
        if left == 0:
            break
    if waiting:
        yield np.concatenate(waiting)


def open_tape(folder: Path | str) -> Tape:
    """Open a tape for reading; an unfinished last block is left out, not an error.

    Raises:
        DataError: not a tape, or damaged.
    """
    return Tape(Path(folder))


class TapeWriter:
    """Appends to a tape, new or existing. One writer a folder.

    A block is with the operating system when `append` returns, so kill -9 loses nothing; only
    `sync` guards against loss of power. Rows are 56 bytes each until the segment is rotated.

    Attributes:
        rows: rows on the tape. last_ts: receive time of the last one, ns UTC; -2^63: there is none.
        recovered: one line on what was cut off at opening, empty if nothing was.
    """

    def __init__(
        self, folder: Path | str, catalog: Catalog, rotate_rows: int = ROTATE_ROWS
    ) -> None:
        """Open `folder`, made where it is missing; an existing tape is continued.

        Raises:
            DataError: the folder holds a tape with another catalog, or a damaged one.
            StoreError: it cannot be written, holds something else, or another process writes it.
        """
        self.folder = Path(folder)
        self.catalog = catalog.check()
        self.recovered = ""
        self._rotate_rows = rotate_rows
        from seawall.ingestion import tape_kernels  # for those who write alone

        self._kernels = tape_kernels
        self._greatest = np.array([*_limits(catalog).values()], np.int64)
        with storing(self.folder):
            self._lock = self._claim()
        try:
            with storing(self.folder):
                self._resume()
        except BaseException:
            os.close(self._lock)
            raise

    def _claim(self) -> int:
        """Make the folder and its catalog where missing, and lock it for this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / CATALOG
        if not path.exists():
            foreign = [p.name for p in self.folder.iterdir() if not p.name.startswith(".")]
            if foreign:
                raise StoreError(
                    f"cannot record in {self.folder}: it holds {foreign[0]} and is no tape; choose "
                    "an empty or a new folder"
                )
            _write_whole(path, msgspec.json.format(msgspec.json.encode(self.catalog)))
        lock = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreError(
                f"cannot record in {self.folder}: another process is writing this tape; stop it or "
                "choose another folder"
            ) from None
        return lock

    def _resume(self) -> None:
        """Find the end of the tape, cut off a torn block, and open the segment to write to."""
        if read_catalog(self.folder) != self.catalog:
            raise DataError(
                f"tape {self.folder} has another catalog (instruments or sources differ); record "
                "into a new folder"
            )
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink()
        closed = [p for p in _segments(self.folder) if p.suffix == ".parquet"]
        for path in closed:
            path.with_suffix(".segment").unlink(missing_ok=True)
        self.rows = sum(segments.count_rows(path) for path in closed)
        self.last_ts = -(1 << 63)
        if closed:
            end = max(0, segments.count_rows(closed[-1]) - 1)
            last = segments.read_rows(closed[-1], end // segments.ROW_GROUP * segments.ROW_GROUP)
            self.last_ts = int(last["recv_ts"].max(initial=self.last_ts))
        self._number = len(closed) + 1
        self._open_segment()

    def _open_segment(self) -> None:
        """Open segment `_number`, new or as it was left."""
        self._path = self.folder / f"{self._number:06d}.segment"
        extent = _Extent(0, 0, 0, self.last_ts)
        if self._path.exists():
            extent = _extent(self._path)
        self._segment_rows, self._end = extent.rows, extent.end
        self.rows += extent.rows
        if extent.rows:
            self.last_ts = extent.last_ts
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if extent.torn:
                os.ftruncate(self._file, self._end)
                self.recovered = (
                    f"{self._path}: an unfinished block of {extent.torn} bytes was cut off its end"
                )
            if self._end == 0:
                self._put(HEADER.pack(MAGIC, VERSION, EVENT.itemsize))
                _sync_folder(self.folder)
        except BaseException:
            os.close(self._file)
            self._file = -1
            raise

    def _put(self, content: bytes) -> None:
        """Write all bytes or none."""
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except BaseException:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise
        self._end += len(content)

    def append(self, rows: NDArray[Any]) -> Raw:
        """Record rows and return them as recorded: what the path must see.

        A receive time before the last one is raised to it and flagged RECORDED_LATE.

        Args:
            rows: dtype EVENT, in order of arrival.

        Raises:
            DataError: rows of another dtype, or outside the catalog.
            StoreError: no space, or the folder cannot be written; none of the block is kept.
        """
        if len(rows) == 0:
            return Raw(empty(0))
        recorded = self._monotone(rows)
        if self._segment_rows and self._segment_rows + len(rows) > self._rotate_rows:
            self._rotate()
        payload = recorded.tobytes()
        head = BLOCK.pack(len(recorded), len(payload), _crc(len(recorded), payload))
        with storing(self._path):
            self._put(head + payload)
        self._segment_rows += len(recorded)
        self.rows += len(recorded)
        self.last_ts = int(recorded["recv_ts"][-1])
        return recorded

    def _monotone(self, rows: NDArray[Any]) -> Raw:
        """A copy whose receive time never goes back."""
        recorded = rows.copy()
        if rows.dtype == EVENT and self._kernels.put_in_order(
            recorded, self.last_ts, self._greatest
        ):
            return Raw(recorded)
        return _sound(recorded, self.catalog, f"append to {self.folder}")

    def _rotate(self) -> None:
        """Turn the full segment into Parquet and begin the next one.

        The Parquet file appears whole, by rename, before the segment goes. A crash in between
        leaves both, and the Parquet file counts.
        """
        with storing(self._path):
            self.sync()
            rows = np.concatenate([block for block, _ in _scan(self._path)])
            _write_whole(self._path.with_suffix(".parquet"), segments.parquet_bytes(rows))
            self._path.unlink()
            os.close(self._file)
            self._file = -1
            self._number += 1
            self._open_segment()

    def sync(self) -> None:
        """Bring all rows to the disk itself. Raises StoreError."""
        with storing(self._path):
            os.fsync(self._file)

    def close(self) -> None:
        """Sync and close; the open segment stays open for whoever continues the tape."""
        if self._lock < 0:
            return
        try:
            if self._file >= 0:
                self.sync()
        finally:
            if self._file >= 0:
                os.close(self._file)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> "TapeWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_target(folder: Path, force: bool) -> None:
    """Refuse a target that `write_tape` would refuse, before any long work.

    Raises:
        StoreError: it exists and `force` is off, or it is no tape.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / CATALOG).is_file():
        raise StoreError(f"{folder} exists and is no tape; choose another folder with --to")
    if not force:
        raise StoreError(f"{folder} holds a tape already; choose another folder, or add --force")


def write_tape(
    folder: Path | str, catalog: Catalog, rows: NDArray[Any], *, force: bool = False
) -> None:
    """Write a whole tape, all segments closed, and put it in place by one rename.

    Args:
        folder: the target; with `force` a tape that stands there is replaced.
        rows: dtype EVENT, ordered.

    Raises:
        DataError: rows out of order or outside the catalog.
        StoreError: the target exists, or cannot be written; nothing is left behind.
    """
    write_blocks(folder, catalog, [rows], force=force)


def write_blocks(
    folder: Path | str,
    catalog: Catalog,
    blocks: Iterable[NDArray[Any]],
    *,
    force: bool = False,
) -> int:
    """The same from consecutive pieces, none of which is kept; returns how many rows there are."""
    target = Path(folder).absolute()
    check_target(target, force)
    catalog.check()
    temporary = target.with_name(f".{target.name}.importing")
    written = 0
    with storing(target):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for number, part in enumerate(_full_segments(blocks, catalog, str(target)), start=1):
                _write_whole(temporary / f"{number:06d}.parquet", segments.parquet_bytes(part))
                written += len(part)
            _write_whole(temporary / CATALOG, msgspec.json.format(msgspec.json.encode(catalog)))
            _replace(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return written


def _full_segments(
    blocks: Iterable[NDArray[Any]], catalog: Catalog, where: str
) -> Iterator[NDArray[Any]]:
    """The rows in pieces of ROTATE_ROWS, the last one shorter; checked."""
    waiting: list[NDArray[Any]] = []
    held, last = 0, -(1 << 63)
    for block in blocks:
        rows: NDArray[Any] = _sound(block, catalog, where)
        if len(rows) and rows["recv_ts"][0] < last:
            raise DataError(f"{where}: receive time goes back between blocks; {AGAIN}")
        while len(rows):
            last = int(rows["recv_ts"][-1])
            waiting.append(rows[: ROTATE_ROWS - held])
            rows = rows[len(waiting[-1]) :]
            held += len(waiting[-1])
            if held == ROTATE_ROWS:
                yield np.concatenate(waiting)
                waiting, held = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _replace(made: Path, target: Path) -> None:
    """Put `made` where `target` is; a crash in between leaves the old tape as `.NAME.replaced`."""
    old = target.with_name(f".{target.name}.replaced")
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    try:
        made.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    _sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)
