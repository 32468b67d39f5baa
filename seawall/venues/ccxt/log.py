"""What an account's exchange has told us, in a file: which order ids left, which trades were heard.

Exchanges name trades, our ports count reports. The file gives each trade its number once, before
anybody hears of it, so that no kill loses a fill or brings it twice. Append-only; each entry is
MessagePack behind its length and a CRC-32.
"""

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import msgspec

from seawall.core.errors import StoreError
from seawall.core.orders import Funding, Movement

_HEAD = struct.Struct("<II")  # length, CRC-32
LARGEST = 1 << 16  # bytes of an entry


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The file's first entry: movements before `ts` (ns UTC, the venue's clock) are not ours."""

    account: str
    ts: int


class Left(msgspec.Struct, frozen=True, tag="left"):
    """An order with this id is about to leave. `ts`: ns UTC. `waits`: it has a trigger."""

    client_id: str
    instrument: str
    ts: int
    waits: bool = False


class Heard(msgspec.Struct, frozen=True, tag="heard"):
    """A fill or a funding payment, under the exchange's own name for it."""

    key: str
    movement: Movement


Entry = Opened | Left | Heard
_DECODER: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)


class VenueLog:
    """The file, and what it comes to.

    Args:
        path: of the file. account: whose it is, such as ``binance spot``.
        now: ns UTC of the venue's clock; a new file begins there.
        after: the highest report number that the journal knows; ours go on behind it.

    Raises:
        StoreError: it cannot be read or written, is another account's, or is damaged. A torn last
            entry, which nobody has heard of, is cut off.
    """

    def __init__(self, path: Path, account: str, now: int, after: int = 0) -> None:
        self._path = path
        self.movements: list[Movement] = []
        self.left: dict[str, Left] = {}
        self._keys: set[str] = set()
        self.opened = now
        self.sequence = after
        self._end = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._load(account, now)
        except OSError as error:
            raise self._failed(error) from None
        self.sequence = max(after, self.sequence)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def next(self) -> int:
        """A number for a report that is not kept here."""
        self.sequence += 1
        return self.sequence

    def leave(self, client_id: str, instrument: str, ts: int, waits: bool = False) -> None:
        """Note that an order is about to leave; survives a kill, not a power cut."""
        entry = Left(client_id, instrument, ts, waits)
        self._append(entry)
        self.left[client_id] = entry

    def hear(self, key: str, movement: Movement) -> Movement | None:
        """Number and keep a movement, durably; None where it is known already."""
        if key in self._keys:
            return None
        numbered = msgspec.structs.replace(movement, sequence=self.sequence + 1)
        self._append(Heard(key, numbered), sync=True)
        self.sequence += 1
        self._take(Heard(key, numbered))
        return numbered

    def after(self, sequence: int) -> list[Movement]:
        """The movements numbered above `sequence`, in order."""
        first = len(self.movements)
        while first and self.movements[first - 1].sequence > sequence:
            first -= 1
        return self.movements[first:]

    def close(self) -> None:
        """No more is kept."""
        os.close(self._file)

    def _append(self, entry: Entry, sync: bool = False) -> None:
        data = msgspec.msgpack.encode(entry)
        data = _HEAD.pack(len(data), zlib.crc32(data)) + data
        try:
            _write(self._file, data)
            if sync:
                os.fdatasync(self._file)
        except OSError as error:
            with suppress(OSError):  # what follows must not stand behind half an entry
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
            raise self._failed(error) from None
        self._end += len(data)

    def _load(self, account: str, now: int) -> None:
        content = self._path.read_bytes()
        at = 0
        first = True
        while at < len(content):
            entry, size = self._entry(content, at)
            if entry is None:
                break
            if first and not (isinstance(entry, Opened) and entry.account == account):
                raise StoreError(
                    f"{self._path} is not of the account {account}; choose another data folder"
                )
            first = False
            self._take(entry)
            at += size
        os.ftruncate(self._file, at)
        os.lseek(self._file, at, os.SEEK_SET)
        self._end = at
        if first:
            self._append(Opened(account, now), sync=True)

    def _entry(self, content: bytes, at: int) -> tuple[Entry | None, int]:
        """The entry at a place, or None where the file's end is torn."""
        if len(content) - at < _HEAD.size:
            return None, 0
        length, crc = _HEAD.unpack_from(content, at)
        data = content[at + _HEAD.size : at + _HEAD.size + length]
        end = at + _HEAD.size + length
        if length > LARGEST or zlib.crc32(data) != crc or len(data) < length:
            if end < len(content) and length <= LARGEST:
                raise self._damaged(at)
            return None, 0
        try:
            return _DECODER.decode(data), _HEAD.size + length
        except msgspec.MsgspecError:
            raise self._damaged(at) from None

    def _take(self, entry: Entry) -> None:
        if isinstance(entry, Opened):
            self.opened = entry.ts
        elif isinstance(entry, Left):
            self.left[entry.client_id] = entry
        elif entry.key not in self._keys:
            self._keys.add(entry.key)
            self.movements.append(entry.movement)
            self.sequence = max(self.sequence, entry.movement.sequence)

    def _damaged(self, at: int) -> StoreError:
        return StoreError(
            f"{self._path} is damaged at byte {at}; restore it from a backup, or compare the "
            "account by hand and start with a new data folder"
        )

    def _failed(self, error: OSError) -> StoreError:
        why = (error.strerror or "unknown").lower()
        return StoreError(f"the venue's log {self._path}: {why}; free space or give permission")


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def key_of(movement: Movement, name: str) -> str:
    """An exchange's name for a movement, made unique in the account."""
    kind = "funding" if isinstance(movement, Funding) else "fill"
    return f"{kind} {movement.instrument} {name}"
