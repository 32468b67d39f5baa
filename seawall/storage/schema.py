"""The journal's tables, its hash chain and its snapshots' seals.

Nothing here is SQLite's own: the same tables serve in PostgreSQL.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table

from seawall.core import records
from seawall.core.errors import StoreError
from seawall.core.records import AnyRecord
from seawall.storage import chain

FORMAT = "1"  # of the tables; a record's own layout is its row's `schema`
GENESIS = bytes(32)  # the hash before the first row

METADATA = MetaData()
_SEQ = BigInteger().with_variant(Integer(), "sqlite")  # in SQLite the row id itself: no index

JOURNAL = Table(
    "journal",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=False),  # 1, 2, ...
    Column("ts", BigInteger, nullable=False),  # ns UTC
    Column("kind", String, nullable=False),  # the record's tag
    Column("schema", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # the row it follows
    Column("fold", String, primary_key=True),
    Column("hash", LargeBinary, nullable=False),  # of that row
    Column("state", LargeBinary, nullable=False),  # MessagePack
    Column("checksum", LargeBinary, nullable=False),
)
META = Table(
    "meta",
    METADATA,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)


class Row(NamedTuple):
    """One row of the journal, in the order of its columns."""

    seq: int
    ts: int
    kind: str
    schema: int
    body: bytes
    hash: bytes


class Snapshot(NamedTuple):
    """A fold's state right after row `seq`, in the order of its columns."""

    seq: int
    fold: str
    hash: bytes
    state: bytes
    checksum: bytes

    @property
    def good(self) -> bool:
        """The snapshot is as it was written."""
        return self.checksum == seal(self.seq, self.fold, self.hash, self.state)


_LINK = Struct("<QI")
LINK = _LINK.size  # bytes of a row's seq and schema


def link(previous: bytes, seq: int, schema: int, body: bytes) -> bytes:
    """A row's hash: SHA-256(previous hash | seq, 8 bytes LE | schema, 4 bytes LE | body)."""
    return hashlib.sha256(previous + _LINK.pack(seq, schema) + body).digest()


def seal(seq: int, fold: str, row_hash: bytes, state: bytes) -> bytes:
    """A snapshot's checksum."""
    name = fold.encode()
    head = _LINK.pack(seq, len(name)) + name + row_hash
    return hashlib.sha256(head + state).digest()


def chained(new: Sequence[AnyRecord], seq: int, head: bytes) -> list[Row]:
    """The rows that follow row `seq` with hash `head`.

    Raises:
        StoreError: a record holds what MessagePack cannot, such as an amount past 64 bits.
    """
    rows = []
    schema, sha256, pack, encode = records.SCHEMA, hashlib.sha256, _LINK.pack, records.encode
    for record in new:
        kind = record.__struct_config__.tag
        try:
            body = encode(record)
        except (OverflowError, TypeError, msgspec.MsgspecError) as error:
            raise StoreError(
                f"a record of kind {kind} cannot be kept: {error}; amounts must fit in 64 bits, "
                "give the asset fewer decimals"
            ) from error
        seq += 1
        head = sha256(head + pack(seq, schema) + body).digest()  # as `link`, without its call
        rows.append(Row(seq, record.ts, str(kind), schema, body, head))
    return rows


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows that were encoded all at once.

    Attributes:
        seq: of the row before the first. data: end to end what each row's hash is made of, but for
            the hash before it: seq, schema and body, see `link`.
        ends: where each ends in `data`. ts: of each. kinds: of each, a place in `names`.
    """

    seq: int
    data: bytes
    ends: NDArray[Any]
    ts: NDArray[Any]
    kinds: NDArray[Any]
    names: Sequence[str]

    def body(self, at: int) -> bytes:
        """Of the row at this place."""
        return self.data[(self.ends[at - 1] if at else 0) + LINK : self.ends[at]]

    def record(self, at: int) -> AnyRecord:
        """Of the row at this place."""
        return records.decode(self.body(at))

    def records(self, at: NDArray[np.int64]) -> list[AnyRecord]:
        """Of the rows at these places."""
        begins = np.where(at > 0, self.ends[at - 1], 0) + LINK
        parts = zip(begins.tolist(), self.ends[at].tolist(), strict=True)
        return [records.decode(self.data[begin:end]) for begin, end in parts]

    def hashes(self, head: bytes) -> NDArray[np.uint8]:
        """(rows, 32) every row's hash, as `link`. head: of the row before the first."""
        return chain.hashes(head, self.data, self.ends)

    def rows(self, hashes: NDArray[np.uint8]) -> list[Row]:
        """All rows. hashes: of each."""
        ts, kinds, schema = self.ts.tolist(), self.kinds.tolist(), records.SCHEMA
        return [
            Row(
                self.seq + at + 1,
                ts[at],
                self.names[kinds[at]],
                schema,
                self.body(at),
                row_hash.tobytes(),
            )
            for at, row_hash in enumerate(hashes)
        ]


def unchained(
    rows: Iterable[Row], seq: int, head: bytes, where: str
) -> Iterator[tuple[Row, AnyRecord]]:
    """The records of the rows that follow row `seq` with hash `head`, each checked.

    Args:
        where: the journal's name in messages.

    Raises:
        StoreError: a row is missing, changed, unreadable, or of a newer Seawall.
    """
    for row in rows:
        seq += 1
        if row.seq != seq:
            raise StoreError(f"{where}: row {seq} is missing; {_RESTORE}")
        if row.schema > records.SCHEMA:
            raise StoreError(
                f"{where}: row {seq} was written by a newer Seawall (schema {row.schema}, this one "
                f"knows {records.SCHEMA}); update Seawall"
            )
        head = link(head, seq, row.schema, row.body)
        if row.hash != head:
            raise StoreError(f"{where}: the hash chain breaks at row {seq}; {_RESTORE}")
        try:
            record = records.decode(row.body)
        except msgspec.MsgspecError as error:
            raise StoreError(f"{where}: row {seq} is no record ({error}); {_RESTORE}") from error
        if row.ts != record.ts or row.kind != record.__struct_config__.tag:
            raise StoreError(f"{where}: row {seq}: ts or kind contradict the body; {_RESTORE}")
        yield row, record


_RESTORE = (
    "the file was changed or damaged: restore it from a backup, or move it away and start anew"
)
