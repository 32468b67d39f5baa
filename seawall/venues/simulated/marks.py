"""Checkpoints beside the exchange's log: what a prefix of it came to, so that it need not be read.

A file of marks, chained by CRC-32, each with what came since the one before and the state that
stands then. A mark holds for a log only if the CRC of the whole prefix is the same, so that nothing
depends on which file reached the disk first: a mark that is torn, damaged, ahead of its log or of
another log is passed over for the one before it, and without any the whole log is read.
"""

import os
import struct
import zlib
from pathlib import Path

import msgspec

MAGIC = b"SWMARKS1"
_HEADER = struct.Struct("<II")  # length of the payload, CRC of length and payload, chained


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """One checkpoint.

    Attributes:
        end: bytes of the log that it stands for. chain: CRC that the next frame goes on from.
        whole: CRC of all those bytes.
        past: what came to an end since the mark before. state: what stands.
    """

    end: int
    chain: int
    whole: int
    past: msgspec.Raw
    state: msgspec.Raw


_DECODER = msgspec.msgpack.Decoder(Mark)


class Marks:
    """The file of marks; it belongs to whoever holds the log's lock.

    A mark that cannot be written is no error: the log alone is enough.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoder = msgspec.msgpack.Encoder()
        self._ends: list[tuple[int, int]] = [(0, 0)]  # of the file, and the chain, after each mark
        self.good = self._read()

    def _read(self) -> list[Mark]:
        """All marks up to the first that is not whole."""
        try:
            data = memoryview(self._path.read_bytes())
        except OSError:
            return []
        if data[: len(MAGIC)] != MAGIC:
            return []
        marks: list[Mark] = []
        at, chain = len(MAGIC), 0
        while len(data) - at >= _HEADER.size:
            length, crc = _HEADER.unpack_from(data, at)
            body = at + _HEADER.size
            payload = data[body : body + length]
            chain = zlib.crc32(payload, zlib.crc32(data[at : at + 4], chain))
            if len(payload) < length or chain != crc:
                break
            try:
                marks.append(_DECODER.decode(payload))
            except msgspec.MsgspecError:
                break
            at = body + length
            self._ends.append((at, chain))
        return marks

    def keep(self, count: int) -> None:
        """Only the first `count` marks hold; the next one is written over the others."""
        del self.good[count:]
        del self._ends[count + 1 :]

    def write(self, mark: Mark) -> bool:
        """Add a mark; False when it cannot be now."""
        at, chain = self._ends[-1]
        payload = self._encoder.encode(mark)
        length = struct.pack("<I", len(payload))
        chain = zlib.crc32(payload, zlib.crc32(length, chain))
        data = (b"" if at else MAGIC) + length + struct.pack("<I", chain) + payload
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.ftruncate(file, at)
                done = 0
                while done < len(data):
                    done += os.pwrite(file, data[done:] if done else data, at + done)
            finally:
                os.close(file)
        except OSError:
            return False
        self._ends.append((at + len(data), chain))
        return True
