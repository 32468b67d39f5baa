"""The exchange's own durable log: what it accepted and what it reported, in order.

A file of frames, each a list of entries that stand or fall together, chained by CRC-32. A frame is
with the operating system before anything in it is told, so a killed process loses nothing it said.
Beside it lies a file of marks (see marks.py), from which a start goes on.
"""

import contextlib
import fcntl
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from seawall.core.errors import StoreError
from seawall.core.instruments import Instrument
from seawall.core.orders import Order, Report
from seawall.venues.simulated.marks import Mark, Marks
from seawall.venues.simulated.shape import VenueShape

MAGIC = b"SWVENUE1"
MARK_EVERY = 10_000  # entries
_CHUNK = 1 << 20
_HEADER = struct.Struct("<III")  # length of the payload, its CRC, CRC of these two; both chained


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened"):
    """The exchange opens, or opens again with other parameters. Only the first one deposits."""

    shape: VenueShape
    instruments: tuple[Instrument, ...]


class Requested(msgspec.Struct, frozen=True, kw_only=True, tag="requested"):
    """A request was accepted; it takes effect at `arrival`.

    Attributes:
        client_id: the order that is placed, cancelled or replaced.
        order: the new order of a place or a replace.
        ts: ns UTC, when the node sent it. arrival: ns UTC, when it reaches the book.
    """

    action: Literal["place", "cancel", "replace"]
    client_id: str
    order: Order | None = None
    ts: int
    arrival: int


class Reported(msgspec.Struct, frozen=True, kw_only=True, tag="reported"):
    """A report was made; it reaches the node at `due` (ns UTC)."""

    report: Report
    due: int


class Watched(msgspec.Struct, frozen=True, kw_only=True, tag="watched"):
    """A waiting order saw the market move, or was triggered.

    Attributes:
        activation: ticks that a trailing stop still waits for, 0: none.
        extreme: ticks, the best price that it has seen since; 0: none.
    """

    client_id: str
    triggered: bool
    activation: int
    extreme: int


Entry = Opened | Requested | Reported | Watched

_DECODER: msgspec.msgpack.Decoder[list[Entry]] = msgspec.msgpack.Decoder(list[Entry])


class Log:
    """An open log. Made by `Log(path)`; belongs to one process at a time.

    Args:
        path: the file, made if it is not there.
        sync: also wait for the disk after each frame (survives a power cut, not only a kill).
        mark_every: entries after which a checkpoint is due.

    Raises:
        StoreError: the file cannot be opened, is in use, or is damaged before its last frame.
    """

    def __init__(self, path: Path, sync: bool = False, mark_every: int = MARK_EVERY) -> None:
        self.path = path
        self.mark_every = mark_every
        self._sync = sync
        self._encoder = msgspec.msgpack.Encoder()
        self._chain = 0
        self._whole = 0
        self._broken = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(
                f"venue log {path}: {error.strerror}; choose a writable place"
            ) from None
        try:
            self._lock()
            self._marks = Marks(path.with_name(f"{path.name}.marks"))
            self._end = self._recover()
        except BaseException:
            os.close(self._file)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(
                f"venue log {self.path}: another exchange is using it; stop that one or choose "
                "another file"
            ) from None

    def _recover(self) -> int:
        """Check the chain and cut off a torn tail; returns where the next frame goes."""
        size = os.fstat(self._file).st_size
        if size < len(MAGIC):
            if os.pread(self._file, size, 0) != MAGIC[:size]:
                raise self._damage(0)
            os.ftruncate(self._file, 0)
            self._put(MAGIC, 0)
            self._marks.keep(0)
            self._whole = zlib.crc32(MAGIC)
            return len(MAGIC)
        if os.pread(self._file, len(MAGIC), 0) != MAGIC:
            raise StoreError(
                f"venue log {self.path}: this is not a venue's log; choose another file"
            )
        begin, self._chain = self._check_marks(size)
        end = begin
        for at, length, payload_crc in self._scan(begin, self._chain):
            end, self._chain = at + length, payload_crc
        self._whole = self._crc(begin, end, self._whole)
        if end < size:
            os.ftruncate(self._file, end)
        return end

    def _check_marks(self, size: int) -> tuple[int, int]:
        """Where the newest mark that holds ends, and its chain."""
        end, chain, good = 0, 0, 0
        whole = 0
        for mark in self._marks.good:
            if not max(end, len(MAGIC)) <= mark.end <= size:
                break
            whole = self._crc(end, mark.end, whole)
            if whole != mark.whole:
                break
            end, chain, self._whole = mark.end, mark.chain, whole
            good += 1
        self._marks.keep(good)
        if not good:
            self._whole = zlib.crc32(MAGIC)
        return max(end, len(MAGIC)), chain

    def _crc(self, begin: int, end: int, crc: int) -> int:
        """CRC-32 of the file's bytes from `begin` to `end`, going on from `crc`."""
        while begin < end:
            data = os.pread(self._file, min(_CHUNK, end - begin), begin)
            if not data:
                break
            crc = zlib.crc32(data, crc)
            begin += len(data)
        return crc

    def _scan(self, at: int, chain: int) -> Iterator[tuple[int, int, int]]:
        """(begin, length, CRC) of each whole payload, up to the file's end or a torn tail."""
        with mmap.mmap(self._file, 0, access=mmap.ACCESS_READ) as whole, memoryview(whole) as data:
            size = len(data)
            while size - at >= _HEADER.size:
                length, payload_crc, header_crc = _HEADER.unpack_from(data, at)
                if zlib.crc32(data[at : at + 8], chain) != header_crc:
                    if not any(data[at:]):
                        return  # zeros that the disk added at a power cut
                    raise self._damage(at)
                body = at + _HEADER.size
                if size - body < length:
                    return
                if zlib.crc32(data[body : body + length], chain) != payload_crc:
                    raise self._damage(at)
                at, chain = body + length, payload_crc
                yield body, length, chain

    def _damage(self, at: int) -> StoreError:
        return StoreError(
            f"venue log {self.path}: damaged at byte {at}; restore it from a backup or start "
            "with a new file"
        )

    @property
    def end(self) -> int:
        """Bytes that are written."""
        return self._end

    def entries(self) -> Iterator[Entry]:
        """Everything in the log, in order.

        Raises:
            StoreError: an entry cannot be read by this version.
        """
        for _, entries in self.frames(len(MAGIC), self._end):
            yield from entries

    def frames(self, begin: int, end: int) -> Iterator[tuple[int, list[Entry]]]:
        """The frames from byte `begin` to byte `end`: where each begins, and its entries.

        Raises:
            StoreError: an entry cannot be read by this version.
        """
        at = max(begin, len(MAGIC))
        with mmap.mmap(self._file, 0, access=mmap.ACCESS_READ) as whole, memoryview(whole) as data:
            while at < end:  # the CRCs were checked when the log was opened
                length = _HEADER.unpack_from(data, at)[0]
                start, body = at, at + _HEADER.size
                at = body + length
                try:
                    yield start, _DECODER.decode(data[body:at])
                except msgspec.DecodeError as error:
                    raise StoreError(
                        f"venue log {self.path}: the frame that ends at byte {at} cannot be read "
                        f"({error}); it was written by another version"
                    ) from None

    def take_marks(self) -> list[Mark]:
        """The checkpoints that hold, oldest first; told once."""
        marks, self._marks.good = self._marks.good, []
        return marks

    def forget_marks(self) -> None:
        """They cannot be read by this version; the next one is the first."""
        self._marks.keep(0)

    def mark(self, past: msgspec.Struct, state: msgspec.Struct) -> bool:
        """Add a checkpoint of all that was appended; False when it cannot be written."""
        return self._marks.write(
            Mark(
                end=self._end,
                chain=self._chain,
                whole=self._whole,
                past=msgspec.Raw(self._encoder.encode(past)),
                state=msgspec.Raw(self._encoder.encode(state)),
            )
        )

    def append(self, entries: Sequence[Entry]) -> int:
        """Add entries as one frame: after a crash all of them are there, or none.

        Returns:
            The byte at which the frame begins.

        Raises:
            StoreError: they could not be written, nor can anything after them.
        """
        if self._broken:
            raise self._unwritable("an earlier write failed")
        payload = self._encoder.encode(entries)
        payload_crc = zlib.crc32(payload, self._chain)
        start = struct.pack("<II", len(payload), payload_crc)
        frame = start + struct.pack("<I", zlib.crc32(start, self._chain)) + payload
        begin = self._end
        self._put(frame, begin)
        self._end += len(frame)
        self._chain = payload_crc
        self._whole = zlib.crc32(frame, self._whole)
        return begin

    def _put(self, data: bytes, at: int) -> None:
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._file, data[done:] if done else data, at + done)
            if self._sync:
                os.fdatasync(self._file)
        except OSError as error:
            self._broken = True  # a second write could stand behind half of the first
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, at)
            raise self._unwritable(error.strerror or "error") from None

    def _unwritable(self, reason: str) -> StoreError:
        return StoreError(
            f"venue log {self.path}: cannot be written ({reason}); make room and start again"
        )

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
