"""Signed sources: batches of rows that carry a number and a signature, verified as they come in.

Each batch is judged by itself. Its rows are marked and go on the tape as evidence; admission
refuses what is marked as forged, replayed or reordered, or lacks the mark of a good signature.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError, SettingError
from seawall.core.events import EVENT, EventFlag, EventKind, Raw, Side, empty
from seawall.core.instruments import Catalog
from seawall.core.keys import SenderKey, SourceKey, source_key
from seawall.core.ports import Secrets

WINDOW = 1_024  # batches below the highest number of which it is known whether they were seen
LARGEST_BATCH = 1 << 20  # bytes of rows; what is longer is refused before it is hashed
LARGEST_NUMBER = (1 << 63) - 1
DOMAIN = b"seawall batch 1\0"  # no signature made for another purpose is good here
WAYS = ("signed", "unsigned", "forged", "replayed", "reordered")  # how a batch can be judged
UNKNOWN = "unknown"  # stands in the counts for every source that has no key

BEGIN, END = int(EventFlag.BEGIN), int(EventFlag.END)
SIGNED, FORGED = int(EventFlag.SIGNED), int(EventFlag.FORGED)
REPLAYED, REORDERED = int(EventFlag.REPLAYED), int(EventFlag.REORDERED)


class Batch(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Whole messages of one source, signed together.

    Attributes:
        source: its name in the catalog.
        number: counts up by one for as long as the key lives (a restarted source goes on counting,
            or starts from its clock); 0 to 2^63 - 1.
        sent: ns UTC, the source's clock.
        payload: rows, dtype EVENT, each message whole; their recv_ts means nothing.
        signature: over all of the above; empty where there is none.
        received: ns UTC, our clock; filled in by whoever takes the batch from the wire.
    """

    source: str
    number: int
    sent: int
    payload: bytes
    signature: bytes = b""
    received: int = 0


class Arrivals(Protocol):
    """Where batches come from, in the order of their receipt."""

    def read(self, timeout: float) -> Sequence[Batch] | None:
        """The next batches, possibly none after `timeout` seconds; None at the end."""
        ...

    def close(self) -> None: ...


def _prefix(source: str) -> bytes:
    name = source.encode()
    return DOMAIN + struct.pack("<I", len(name)) + name


_numbers = struct.Struct("<qq").pack


def covered(batch: Batch) -> bytes:
    """What a signature covers: domain tag, source, number, time sent, SHA-256 of the payload."""
    digest = hashlib.sha256(batch.payload).digest()
    return _prefix(batch.source) + _numbers(batch.number, batch.sent) + digest


def sign(batch: Batch, key: SenderKey) -> Batch:
    """The batch with its signature.

    Raises:
        DataError: the number is out of range, or the payload is no rows, too long, or cuts a
            message in two: such a batch would be refused.
    """
    if not 0 <= batch.number <= LARGEST_NUMBER:
        raise DataError(f"batch of {batch.source}: number {batch.number} is not within int64")
    if not _is_rows(batch.payload):
        raise DataError(
            f"batch {batch.number} of {batch.source}: {len(batch.payload)} bytes are not at most "
            f"{LARGEST_BATCH} bytes of rows of {EVENT.itemsize}; send less at a time"
        )
    rows = np.frombuffer(batch.payload, EVENT)
    if _torn(rows, np.zeros(len(rows), np.int64)).any():
        raise DataError(
            f"batch {batch.number} of {batch.source} cuts a message in two; send whole messages"
        )
    return msgspec.structs.replace(batch, signature=key.sign(covered(batch)))


def _is_rows(payload: bytes) -> bool:
    return len(payload) <= LARGEST_BATCH and len(payload) % EVENT.itemsize == 0


def _torn(rows: NDArray[Any], batch_of: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows that do not stand within a whole message of one book inside their batch."""
    if len(rows) == 0:
        return np.zeros(0, bool)
    begins, ends = (rows["flags"] & BEGIN) != 0, (rows["flags"] & END) != 0
    same_batch = batch_of[1:] == batch_of[:-1]
    goes_on = np.zeros(len(rows), bool)  # belongs to the message of the row before
    goes_on[1:] = same_batch & ~ends[:-1]
    other_book = np.zeros(len(rows), bool)
    for field in ("instrument", "source"):
        other_book[1:] |= rows[field][1:] != rows[field][:-1]
    last = np.ones(len(rows), bool)
    last[:-1] = ~same_batch
    torn: NDArray[np.bool_] = (begins == goes_on) | (last & ~ends) | (goes_on & other_book)
    return torn


class _Channel:
    """One source's key, and which numbers have been seen.

    The window is a bit mask below the highest number, as in RFC 4303 (IPsec), 3.4.3 and A2; only
    a good signature moves it, so that a forged number cannot shut the honest ones out.
    """

    __slots__ = (
        "_highest",
        "_key",
        "_mask",
        "_prefix",
        "_seen",
        "_since",
        "_window",
        "index",
        "missing",
    )

    def __init__(self, name: str, index: int, key: SourceKey, window: int, since: int) -> None:
        self._prefix = _prefix(name)
        self._key = key
        self._window = window
        self._mask = (1 << window) - 1
        self._since = since
        self._highest = -1  # no batch yet
        self._seen = 0  # bit i: number highest - i has come
        self.index = index
        self.missing = 0

    def judge(self, batch: Batch) -> int:
        """The marks of a batch's rows: 0 where it is unsigned."""
        signature, number, payload = batch.signature, batch.number, batch.payload
        if not signature:
            return 0
        if not 0 <= number <= LARGEST_NUMBER or not _is_rows(payload):
            return FORGED
        try:
            stated = _numbers(number, batch.sent)
        except struct.error:  # a time beyond int64
            return FORGED
        message = self._prefix + stated + hashlib.sha256(payload).digest()
        if not self._key.verify(message, signature):
            return FORGED
        if batch.sent < self._since:
            return SIGNED | REPLAYED
        return self._place(number)

    def _place(self, number: int) -> int:
        """Where the number of a well-signed batch stands among those that were seen."""
        ahead = number - self._highest
        if ahead > 0:
            if self._highest >= 0:
                self.missing += ahead - 1
            # A jump beyond the window forgets all; to shift by it could ask for any memory.
            kept = (self._seen << ahead) & self._mask if ahead < self._window else 0
            self._seen = kept | 1
            self._highest = number
            return SIGNED
        if -ahead >= self._window or self._seen >> -ahead & 1:
            return SIGNED | REPLAYED
        self._seen |= 1 << -ahead
        return SIGNED | REORDERED


class Verifier:
    """Marks the rows of batches by what their signatures, numbers and contents are worth.

    Args:
        catalog: its sources with a `signature` are those that may send batches.
        keys: source → key, one for each of them.
        since: ns UTC on the sources' clocks; what was sent before is a replay. It is all that
            stops what was recorded before this run began, so give the time of the start.
        window: batches that may be told apart as replayed or reordered.

    Raises:
        SettingError: a source that signs has no key or one of another algorithm, or a key is for
            a source that does not sign.
    """

    def __init__(
        self, catalog: Catalog, keys: Mapping[str, SourceKey], since: int, window: int = WINDOW
    ) -> None:
        signing = {s.name: (i, s.signature) for i, s in enumerate(catalog.sources) if s.signature}
        if window < 1:
            raise SettingError(f"the window of signed batches is {window}; give at least 1")
        if strangers := sorted(set(keys) - set(signing)):
            raise SettingError(
                f"there is a key for {strangers[0]}, which is no source that signs; set its "
                "signature in the catalog, or take the key away"
            )
        self._catalog = catalog
        self._channels: dict[str, _Channel] = {}
        for name, (index, algorithm) in signing.items():
            key = keys.get(name)
            if key is None or key.algorithm != algorithm:
                found = "has no key" if key is None else f"has a key for {key.algorithm}"
                raise SettingError(
                    f"source {name} signs with {algorithm}, but {found}; give its {algorithm} key"
                )
            self._channels[name] = _Channel(name, index, key, window, since)
        self._counts = np.zeros((len(catalog.sources) + 1, len(WAYS)), np.int64)
        self.unfit = 0  # rows that no tape can hold and that were left out

    def verify(self, batches: Sequence[Batch]) -> Raw:
        """All rows of the batches in order, marked, with their batch's receive time.

        None is dropped but what a tape cannot hold: rows outside the catalog, and what a batch has
        beyond its first megabyte. Batches must be in the order of their receipt.
        """
        marks, owners, payloads = [], [], []
        for batch in batches:
            channel = self._channels.get(batch.source)
            marks.append(FORGED if channel is None else channel.judge(batch))
            owners.append(-1 if channel is None else channel.index)
            payload = batch.payload
            payloads.append(payload if _is_rows(payload) else _readable(payload))
        lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
        batch_of = np.repeat(np.arange(len(payloads)), lengths // EVENT.itemsize)
        rows = np.frombuffer(bytearray().join(payloads), EVENT)
        received = np.fromiter((b.received for b in batches), np.int64, len(payloads))
        told = np.array(marks, np.int64), np.array(owners, np.int64)
        return self._marked(rows, batch_of, *told, received)

    def _marked(
        self,
        rows: NDArray[Any],
        batch_of: NDArray[np.int64],
        marks: NDArray[np.int64],
        owners: NDArray[np.int64],
        received: NDArray[np.int64],
    ) -> Raw:
        """The rows with their batch's marks; a batch that is no whole messages is FORGED."""
        fit = (rows["instrument"] < len(self._catalog.instruments)) & (
            rows["source"] < len(self._catalog.sources)
        )
        fit &= (rows["kind"] <= max(EventKind)) & (rows["side"] <= max(Side))
        broken = np.zeros(len(marks), bool)
        broken[batch_of[~fit | _torn(rows, batch_of)]] = True
        marks[broken & (marks != 0)] |= FORGED
        self._count(marks, owners)
        of_rows = marks[batch_of]
        of_rows[rows["source"] != owners[batch_of]] |= FORGED
        rows["flags"] = (rows["flags"] & (BEGIN | END)) | of_rows.astype(np.uint16)
        rows["recv_ts"] = received[batch_of]
        if fit.all():
            return Raw(rows)
        self.unfit += int((~fit).sum())
        return Raw(rows[fit])

    def _count(self, marks: NDArray[np.int64], owners: NDArray[np.int64]) -> None:
        """One more batch of its kind, by source; the last line is for all unknown ones."""
        ways = np.select(
            [(marks & mark) != 0 for mark in (FORGED, REPLAYED, REORDERED, SIGNED)],
            [WAYS.index(way) for way in ("forged", "replayed", "reordered", "signed")],
            WAYS.index("unsigned"),
        )
        np.add.at(self._counts, (owners, ways), 1)

    def counts(self) -> dict[str, dict[str, int]]:
        """Source → batches by how they were judged, and `missing`: numbers that were skipped.

        A number that comes late is missing and reordered. Batches of unknown sources are counted
        together under ``unknown``.
        """
        found = {
            name: dict(zip(WAYS, self._counts[channel.index].tolist(), strict=True))
            | {"missing": channel.missing}
            for name, channel in self._channels.items()
        }
        found[UNKNOWN] = {"forged": int(self._counts[-1].sum())}
        return found


def _readable(payload: bytes) -> bytes:
    """The whole rows at the beginning of a payload that cannot be what was sent."""
    length = min(len(payload), LARGEST_BATCH)
    return payload[: length - length % EVENT.itemsize]


class SignedFeed:
    """A feed of signed sources: batches in, verified rows out."""

    def __init__(self, catalog: Catalog, arrivals: Arrivals, verifier: Verifier) -> None:
        self._catalog = catalog
        self._arrivals = arrivals
        self._verifier = verifier
        self._last = 0  # receive time of the last row

    @property
    def catalog(self) -> Catalog:
        """Instruments, sources and books."""
        return self._catalog

    def read(self, timeout: float) -> Raw | None:
        """The next rows, marked; none after `timeout` seconds without; None at the end.

        Their receive time never goes back, whatever the batches say.
        """
        batches = self._arrivals.read(timeout)
        if batches is None:
            return None
        rows = self._verifier.verify(batches)
        if len(rows) == 0:
            return Raw(empty(0))
        rows["recv_ts"] = np.maximum.accumulate(np.maximum(rows["recv_ts"], self._last))
        self._last = int(rows["recv_ts"][-1])
        return rows

    def close(self) -> None:
        """End the feed."""
        self._arrivals.close()

    def counts(self) -> dict[str, dict[str, int]]:
        """As `Verifier.counts`."""
        return self._verifier.counts()


def keys_of(catalog: Catalog, secrets: Secrets) -> dict[str, SourceKey]:
    """The keys of all sources that sign, each kept as the secret ``source-NAME``.

    Raises:
        SettingError: one is missing or is no key; the message never shows it.
    """
    keys: dict[str, SourceKey] = {}
    for source in catalog.sources:
        if not source.signature:
            continue
        name = f"source-{source.name}"
        text = secrets.get(name)
        if text is None:
            half = "its public key" if source.signature == "ed25519" else "the key you share"
            raise SettingError(
                f"source {source.name} signs with {source.signature}, but there is no secret "
                f"{name}; keep {half} there"
            )
        keys[source.name] = source_key(source.signature, text, f"the secret {name}")
    return keys
