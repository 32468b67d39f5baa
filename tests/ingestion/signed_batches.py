"""Signed batches: keys, a catalog of sources that sign, and what tests do to good batches."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from seawall.core.events import EventFlag
from seawall.core.instruments import Catalog
from seawall.core.keys import HmacKey, SenderKey, SigningKey, SourceKey
from seawall.ingestion.signatures import Batch, Verifier, covered, sign
from tests.tapes import BUY, Rows, at, catalog_of, trade

SIGNED, FORGED = EventFlag.SIGNED, EventFlag.FORGED
REPLAYED, REORDERED = EventFlag.REPLAYED, EventFlag.REORDERED
MARKS = int(SIGNED | FORGED | REPLAYED | REORDERED)
ALGORITHMS = ("ed25519", "hmac-sha256", "")  # of v0, v1 and v2

SECRETS = {0: bytes(range(32)), 1: bytes(range(100, 140))}
SENDERS: dict[int, SenderKey] = {0: SigningKey(SECRETS[0]), 1: HmacKey(SECRETS[1])}
KEYS: dict[str, SourceKey] = {"v0": SigningKey(SECRETS[0]).verifying, "v1": HmacKey(SECRETS[1])}


def signing(catalog: Catalog, *algorithms: str) -> Catalog:
    """The catalog with sources that sign."""
    sources = tuple(
        msgspec.structs.replace(source, signature=algorithm)
        for source, algorithm in zip(catalog.sources, algorithms, strict=True)
    )
    return msgspec.structs.replace(catalog, sources=sources).check()


CATALOG = signing(catalog_of(("USD",), ("USD",), ("USD",)), *ALGORITHMS)


def verifier(**more: Any) -> Verifier:
    return Verifier(CATALOG, KEYS, more.pop("since", 0), **more)


def batch(number: int, *messages: Rows, source: int = 0, **more: Any) -> Batch:
    """A signed batch; without messages, of one trade."""
    rows = messages or (trade(0, number, BUY, 100, 1, book=(source, source)),)
    fields: dict[str, Any] = {"sent": at(number), "received": at(number)} | more
    made = Batch(
        source=f"v{source}", number=number, payload=np.concatenate(rows).tobytes(), **fields
    )
    return sign(made, SENDERS[source])


def changed(one: Batch, **fields: Any) -> Batch:
    return msgspec.structs.replace(one, **fields)


def hand_signed(one: Batch, source: int = 0) -> Batch:
    """Signed by the source's key without the checks that `sign` makes."""
    return changed(one, signature=SENDERS[source].sign(covered(one)))


def marks_of(rows: Rows) -> set[int]:
    return set((rows["flags"] & MARKS).tolist())


def judged(one: Verifier, *batches: Batch) -> list[int]:
    """The mark of each batch; all its rows must have got the same."""
    found = []
    for each in batches:
        marks = marks_of(one.verify([each]))
        assert len(marks) == 1
        found.append(marks.pop())
    return found


class Recorded:
    """Batches as they were received, a few at a time."""

    def __init__(self, *groups: Sequence[Batch]) -> None:
        self.groups = list(groups)
        self.closed = False

    def read(self, timeout: float) -> Sequence[Batch] | None:
        return self.groups.pop(0) if self.groups else None

    def close(self) -> None:
        self.closed = True
