"""The market stage: its carry, sized by the catalog, and what may be asked of it between blocks."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.events import EventFlag, EventKind, empty
from seawall.core.frames import FRAME
from seawall.core.instruments import Catalog
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID, next_price, size_at
from seawall.core.order_book import new_ladders
from seawall.core.verdicts import EPOCH
from seawall.market import kernels

REVIEW_FRAMES = 8


class MarketShape(msgspec.Struct, frozen=True, kw_only=True):
    """How the market is read.

    Attributes:
        cadence_ns: one frame per book each so often, at multiples of it (UTC).
        silent_ns: a book without a message for longer is STALE and does not vote.
        gap_ns: nothing for longer is a gap: no frames, windows restart.
        band_ppm: how far a touch may move in one epoch before its rows are refused.
    """

    cadence_ns: int = 1_000_000_000
    silent_ns: int = 5_000_000_000
    gap_ns: int = 30_000_000_000
    band_ppm: int = 250_000

    def fitted(self, catalog: Catalog) -> "MarketShape":
        """The shape for this catalog: bars set the cadence and what silence means."""
        span = max((s.bar_span for s in catalog.sources), default=0)
        if not span:
            return self
        return msgspec.structs.replace(
            self, cadence_ns=span, silent_ns=span // 2, gap_ns=max(self.gap_ns, 3 * span)
        )


class Market:
    """Books, running sums and consensus of one catalog, marked in one numeraire."""

    def __init__(self, catalog: Catalog, shape: MarketShape, numeraire: str) -> None:
        self.catalog = catalog
        self.shape = shape
        self.numeraire = numeraire
        self.quotes = [numeraire, *sorted({i.quote for i in catalog.instruments} - {numeraire})]
        self.groups = sorted({i.consensus_group for i in catalog.instruments})
        self.state = self._state()

    def _state(self) -> kernels.MarketState:
        catalog, shape = self.catalog, self.shape
        count = len(catalog.books)
        instruments = [catalog.instrument_of(b) for b in range(count)]
        group = np.array([self.groups.index(i.consensus_group) for i in instruments], np.int64)
        source = np.array([s for _, s in catalog.books], np.int64)
        clock = np.zeros(1, kernels.CLOCK)
        clock["cadence"], clock["silent"] = shape.cadence_ns, shape.silent_ns
        clock["gap"], clock["band_ppm"] = shape.gap_ns, shape.band_ppm
        clock["review"] = self.review_ns
        books = np.zeros(count, kernels.BOOK)
        books["group"], books["source"], books["fresh"] = group, source, 1
        books["quote_asset"] = [self.quotes.index(i.quote) for i in instruments]
        books["member"] = 1
        books["instrument"] = [i for i, _ in catalog.books]
        books["tick"] = [i.tick_float for i in instruments]
        books["lot"] = [i.lot_float for i in instruments]
        marks = np.zeros(len(self.quotes))
        marks[0] = 1.0
        order = np.lexsort((source, group)).astype(np.int64)
        seats = np.column_stack((group, source, books["quote_asset"]))[order]
        return kernels.MarketState(
            ladders=new_ladders(count),
            clock=clock,
            books=books,
            groups=np.zeros(len(self.groups), kernels.GROUP),
            marks=marks,
            marked=np.zeros(len(marks), np.int64),
            order=order,
            seats=np.ascontiguousarray(seats),
            mids=np.zeros(count),
            scratch=np.zeros(max(1, count)),
        )

    @property
    def review_ns(self) -> int:
        """Ns between two reviews by the gates: whole epochs, at least REVIEW_FRAMES frames."""
        return max(1, -(-REVIEW_FRAMES * self.shape.cadence_ns // EPOCH)) * EPOCH

    @property
    def most_frames_per_row(self) -> int:
        """How many frames one row can close: room that a buffer must have left."""
        return (self.shape.gap_ns // self.shape.cadence_ns + 3) * max(1, len(self.catalog.books))

    def new_frames(self, count: int) -> NDArray[Any]:
        """Room for frames; zeros."""
        return np.zeros(count, FRAME)

    def asset_marks(self) -> dict[str, float]:
        """Asset → numeraire units per whole unit, for quote assets and for what groups price."""
        marks = {a: float(m) for a, m in zip(self.quotes, self.state.marks, strict=True) if m > 0}
        for group, value in zip(self.groups, self.state.groups["consensus"], strict=True):
            if value > 0:
                marks.setdefault(group, float(value))
        return marks

    def snapshot(self, ts: int, levels: int = 50) -> NDArray[Any]:
        """The usable books as SNAPSHOT messages at `ts`: what a venue that lost its own needs."""
        parts = [
            self._snapshot_of(at, ts, levels)
            for at, book in enumerate(self.state.books)
            if book["valid"] and book["made_of"] == kernels.BY_DEPTH
        ]
        return np.concatenate(parts) if parts else empty(0)

    def _snapshot_of(self, at: int, ts: int, levels: int) -> NDArray[Any]:
        ladder = self.state.ladders[at]
        found = [(EventKind.SNAPSHOT, 0, 0, 0)]
        for side, none in ((BID, NO_BID), (ASK, NO_ASK)):
            price = int(ladder["best"][side])
            for _ in range(levels):
                if price == none:
                    break
                found.append((EventKind.DEPTH, side, price, int(size_at(ladder, side, price))))
                price = int(next_price(ladder, side, price))
        rows = empty(len(found))
        rows["recv_ts"] = ts
        rows["sequence"] = self.state.books["sequence"][at]
        rows["previous"] = -1
        rows["instrument"], rows["source"] = self.catalog.books[at]
        for column, values in zip(
            ("kind", "side", "price", "size"), zip(*found, strict=True), strict=True
        ):
            rows[column] = values
        rows["flags"][0] |= EventFlag.BEGIN
        rows["flags"][-1] |= EventFlag.END
        return rows

    def checks(self) -> dict[str, dict[str, int]]:
        """Book ("instrument/source") → coincidences, mismatches, crossings, voided, reanchored."""
        names = ("coincidences", "mismatches", "crossings", "voided", "reanchored")
        return {
            self.book_name(at): {name: int(book[name]) for name in names}
            for at, book in enumerate(self.state.books)
        }

    def book_name(self, book: int) -> str:
        """``instrument/source`` of a book."""
        instrument, source = self.catalog.books[book]
        return f"{self.catalog.instruments[instrument].name}/{self.catalog.sources[source].name}"
