"""Admission: the registry of books, the limits in force and the counts of what was refused."""

from enum import IntEnum
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.admission import kernels
from seawall.core.events import Admitted, Raw
from seawall.core.instruments import Catalog
from seawall.core.verdicts import EPOCH, VERDICT

KEPT = 256  # refused rows kept for inspection
NO_LOW, NO_HIGH = 0, (1 << 62)


class Reason(IntEnum):
    """Why a row was refused."""

    ADMITTED = kernels.ADMITTED
    UNREGISTERED = kernels.UNREGISTERED  # no book of the catalog has this instrument and source
    BANNED = kernels.BANNED
    UNTRUSTED = kernels.UNTRUSTED  # trust below the minimum
    RATE = kernels.RATE  # token bucket empty
    QUOTA = kernels.QUOTA  # more rows in this epoch than a source may send
    STALE = kernels.STALE  # older than the limit, measured on the source's own clock
    CLOCK_STEP = kernels.CLOCK_STEP  # the source's clock jumped ahead
    DUPLICATE = kernels.DUPLICATE  # sequence not above the last one
    GAP = kernels.GAP  # a depth message is missing before this one; waits for a snapshot
    MALFORMED = kernels.MALFORMED  # impossible price, size or side
    CROSSED = kernels.CROSSED  # bid at or above ask
    PRICE_BAND = kernels.PRICE_BAND  # would set the touch outside the verdict's band
    UNSIGNED = kernels.UNSIGNED  # of a source that signs, and came without a signature
    FORGED = kernels.FORGED  # its signature is bad, or it speaks for another source
    REPLAYED = kernels.REPLAYED  # signed once, and sent again
    REORDERED = kernels.REORDERED  # signed, and overtaken by a later batch


class AdmissionShape(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of admission; rows are rows of the tape."""

    rows_per_second: int = 50_000
    burst_rows: int = 200_000
    rows_per_epoch: int = 5_000_000
    stale_ns: int = 5_000_000_000
    clock_step_ns: int = 250_000_000
    trust_minimum: float = 0.3


class Admission:
    """Turns Raw rows into Admitted ones; causal, block-wise, with its carry in `state`."""

    def __init__(self, catalog: Catalog, shape: AdmissionShape) -> None:
        books, sources = len(catalog.books), len(catalog.sources)
        verdict = np.zeros(books, VERDICT)
        verdict["instrument"] = [i for i, _ in catalog.books]
        verdict["source"] = [s for _, s in catalog.books]
        verdict["trust"] = 1.0
        verdict["low"], verdict["high"] = NO_LOW, NO_HIGH

        limits = np.zeros(1, kernels.LIMITS)
        for field in shape.__struct_fields__:
            limits[field] = getattr(shape, field)
        limits["epoch_ns"] = EPOCH
        per_source = np.zeros(sources, kernels.SOURCE)
        per_source["tokens"] = shape.burst_rows * 1_000_000_000
        signing = np.array([bool(source.signature) for source in catalog.sources], bool)
        per_source["marks"] = np.where(signing, kernels.IS_SIGNED, 0)
        per_book = np.zeros(books, kernels.BOOK)
        per_book["reason"] = kernels.GAP
        for field in ("depth", "trade", "quote", "bar"):
            per_book[field] = -1
        self.catalog = catalog
        self.state = kernels.AdmissionState(
            book_of=catalog.book_of,
            verdict=verdict,
            limits=limits,
            sources=per_source,
            books=per_book,
            refused=np.zeros((sources, kernels.REASONS), np.int64),
        )
        self._kept: NDArray[Any] = np.zeros(0)

    def admit(self, rows: Raw) -> Admitted:
        """The rows with their reasons (used where admission runs by itself)."""
        reasons = np.zeros(len(rows), np.uint8)
        kernels.run(self.state, rows, reasons)
        return self.admitted(rows, reasons)

    def admitted(self, rows: Raw, reasons: NDArray[np.uint8]) -> Admitted:
        """Rows whose reasons a fused kernel has filled in; keeps the last refused ones."""
        refused = np.flatnonzero(reasons)[-KEPT:]
        if len(refused):
            fresh = rows[refused].copy()
            self._kept = (
                fresh if not len(self._kept) else np.concatenate([self._kept, fresh])[-KEPT:]
            )
        return Admitted(rows, reasons)

    @property
    def kept(self) -> NDArray[Any]:
        """The last refused rows, dtype EVENT, at most KEPT."""
        return self._kept

    def counts(self) -> dict[str, dict[str, int]]:
        """Source → {"admitted": n, reason: n …}; reasons that never happened are left out."""
        return {
            source.name: {"admitted": int(self.state.sources["admitted"][i])}
            | {
                Reason(r).name.lower(): int(n)
                for r, n in enumerate(self.state.refused[i])
                if n and r != Reason.ADMITTED
            }
            for i, source in enumerate(self.catalog.sources)
        }
