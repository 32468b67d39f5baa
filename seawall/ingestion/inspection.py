"""What is on a tape and how sound it is: spans, rates, gaps, breaks, crossed books, clock skew."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np

from seawall.core.events import EventKind, Raw
from seawall.core.instruments import Catalog
from seawall.core.order_book import new_ladders
from seawall.ingestion import inspection_kernels as kernels
from seawall.ingestion import orders
from seawall.ingestion.tables import length, when
from seawall.ingestion.tape import Tape

QUIET = 10_000_000_000  # ns without a row from a source of ticks that count as a gap
CLOCK_BEHIND_MS = 250.0
LISTED_GAPS = 20


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A silence of a source, or missing bars of one of its instruments. Times in ns UTC.

    `instrument` is empty where the whole source was silent.
    """

    source: str
    instrument: str
    start: int
    end: int
    seconds: float


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One source. Times in ns UTC, rate in rows per second of its own span.

    `gap_count` counts all gaps, of which `gaps` lists the longest in the order of time. The skew is
    receive minus exchange time of depth and trade messages, None where there are none.
    """

    name: str
    venue: str
    rows: int
    first: int
    last: int
    rate: float
    gap_count: int
    gap_seconds: float
    gaps: tuple[Gap, ...]
    skew_median_ms: float | None
    skew_least_ms: float | None


class BookReport(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument at one source.

    `sequence_breaks` counts messages whose predecessor is missing, `duplicates` those whose id is
    not above the last, `crossed` depth messages after which bid >= ask, `coincidences` pairs of
    book and best bid/ask at one update id, `mismatches` those that differ in price or size.

    Of a book order by order: `unknown_orders` rows about an order that does not stand,
    `repeated_orders` orders that come while they stand, `malformed_orders` a negative size, none of
    a new order, more after an execution than before, or no price; `orders_dropped` those beyond the
    book's room. There `levels_dropped` and `crossed` are of the levels that follow from the orders.
    """

    instrument: str
    source: str
    kind: str
    tick: str
    lot: str
    rows: int
    rows_by_kind: dict[str, int]
    messages: int
    sequence_breaks: int
    duplicates: int
    crossed: int
    coincidences: int
    mismatches: int
    levels_dropped: int
    unknown_orders: int = 0
    repeated_orders: int = 0
    malformed_orders: int = 0
    orders_dropped: int = 0


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """The result for a tape. Times in ns UTC; `findings` are lines for people."""

    rows: int
    first: int
    last: int
    span_seconds: float
    rows_by_kind: dict[str, int]
    rate: float
    sources: tuple[SourceReport, ...]
    books: tuple[BookReport, ...]
    coincidences: int
    mismatches: int
    findings: tuple[str, ...]
    tape: str = ""
    torn_bytes: int = 0


def inspect(tape: Tape, progress: Callable[[int], None] | None = None) -> Inspection:
    """Read a tape once, in bounded memory.

    Args:
        progress: called with the number of rows read so far.

    Raises:
        DataError: the tape is damaged.
    """
    result = inspect_rows(tape.catalog, tape.blocks(), progress)
    torn = f"an unfinished block of {tape.torn} bytes at the end is left out"
    return msgspec.structs.replace(
        result,
        tape=str(tape.folder),
        torn_bytes=tape.torn,
        findings=(*([torn] if tape.torn else []), *result.findings),
    )


def inspect_rows(
    catalog: Catalog, blocks: Iterable[Raw], progress: Callable[[int], None] | None = None
) -> Inspection:
    """The same over blocks in the order of the tape, wherever they come from."""
    spans = np.array([s.bar_span for s in catalog.sources] or [0], dtype=np.int64)
    scan = kernels.new_scan(
        new_ladders(len(catalog.books)), catalog.book_of.astype(np.int64), spans
    )
    order_books = orders.Levels(catalog)
    done = 0
    for block in blocks:
        kernels.run(scan, block, QUIET)
        if order_books.counts or orders.has_orders(block):
            order_books.take(block)
        done += len(block)
        if progress:
            progress(done)
    counts = order_books.counts
    books = tuple(
        _with_orders(_book(catalog, scan, book), counts.get(book))
        for book in range(len(catalog.books))
    )
    gaps = _gaps(catalog, scan)
    sources = tuple(_source(catalog, scan, index, gaps) for index in range(len(catalog.sources)))
    seen = [s for s in sources if s.rows]
    first = min((s.first for s in seen), default=0)
    last = max((s.last for s in seen), default=0)
    seconds = (last - first) / 1e9
    totals = scan.of_book[:, kernels.KINDS :].sum(axis=0)
    return Inspection(
        rows=done,
        first=first,
        last=last,
        span_seconds=seconds,
        rows_by_kind=_by_kind(totals),
        rate=_rate(done, seconds),
        sources=sources,
        books=books,
        coincidences=sum(b.coincidences for b in books),
        mismatches=sum(b.mismatches for b in books),
        findings=tuple(_findings(sources, books, last)),
    )


def _rate(rows: int, seconds: float) -> float:
    return rows / seconds if seconds > 0 else 0.0


def _by_kind(counts: Any) -> dict[str, int]:
    return {kind.name.lower(): int(counts[kind]) for kind in EventKind if counts[kind]}


def _book(catalog: Catalog, scan: kernels.Scan, book: int) -> BookReport:
    instrument_index, source = catalog.books[book]
    instrument = catalog.instruments[instrument_index]
    state = scan.of_book[book]
    kinds = state[kernels.KINDS :]
    return BookReport(
        instrument=instrument.name,
        source=catalog.sources[source].name,
        kind=instrument.kind.value,
        tick=instrument.tick,
        lot=instrument.lot,
        rows=int(kinds.sum()),
        rows_by_kind=_by_kind(kinds),
        messages=int(state[kernels.MESSAGES]),
        sequence_breaks=int(state[kernels.BREAKS : kernels.DUPLICATES].sum()),
        duplicates=int(state[kernels.DUPLICATES : kernels.KINDS].sum()),
        crossed=int(state[kernels.CROSSED]),
        coincidences=int(state[kernels.COINCIDENCES]),
        mismatches=int(state[kernels.MISMATCHES]),
        levels_dropped=int(scan.ladders["dropped"][book]),
    )


def _with_orders(report: BookReport, counts: Any) -> BookReport:
    """The report, and what COUNTS say of its orders where it is told order by order."""
    if counts is None:
        return report
    return msgspec.structs.replace(
        report,
        crossed=report.crossed + int(counts["crossed"]),
        unknown_orders=int(counts["unknown"]),
        repeated_orders=int(counts["repeated"]),
        malformed_orders=int(counts["malformed"] + counts["grown"]),
        orders_dropped=int(counts["dropped"]),
    )


def _gaps(catalog: Catalog, scan: kernels.Scan) -> list[Gap]:
    """All gaps that the pass remembered, in the order of time."""
    names = [catalog.instrument_of(book).name for book in range(len(catalog.books))]
    return [
        Gap(
            source=catalog.sources[source].name,
            instrument=names[book] if book >= 0 else "",
            start=int(start),
            end=int(end),
            seconds=int(end - start) / 1e9,
        )
        for book, source, start, end in scan.gaps[: min(int(scan.gap_count[0]), kernels.GAPS)]
    ]


def _source(catalog: Catalog, scan: kernels.Scan, index: int, gaps: list[Gap]) -> SourceReport:
    source = catalog.sources[index]
    own = [gap for gap in gaps if gap.source == source.name]
    longest = sorted(own, key=lambda gap: -gap.seconds)[:LISTED_GAPS]
    state = scan.of_source[index]
    rows = int(state[kernels.ROWS])
    first = int(state[kernels.FIRST]) if rows else 0
    last = int(state[kernels.LAST]) if rows else 0
    counts = np.cumsum(scan.skew[index])
    median = least = None
    if counts[-1]:
        bin_index = int(np.searchsorted(counts, (counts[-1] + 1) // 2))
        median = bin_index - kernels.SKEW_RANGE + 0.5
        least = int(state[kernels.SKEW_LEAST]) / 1e6
    return SourceReport(
        name=source.name,
        venue=source.venue,
        rows=rows,
        first=first,
        last=last,
        rate=_rate(rows, (last - first) / 1e9),
        gap_count=len(own),
        gap_seconds=sum(gap.seconds for gap in own),
        gaps=tuple(sorted(longest, key=lambda gap: gap.start)),
        skew_median_ms=median,
        skew_least_ms=least,
    )


def _findings(
    sources: tuple[SourceReport, ...], books: tuple[BookReport, ...], last: int
) -> list[str]:
    """What a person should know, one line each."""
    lines = []
    for source in sources:
        lines += _source_findings(source, last)
    for book in books:
        name = f"{book.instrument} from {book.source}"
        for count, what in (
            (book.sequence_breaks, "messages do not follow the one before (sequence breaks)"),
            (book.duplicates, "messages repeat an id or come with an older one"),
            (book.crossed, "messages leave the book crossed"),
            (book.mismatches, "best bid/ask messages differ from the book at the same update id"),
            (book.levels_dropped, "levels far from the touch were given up"),
            (book.unknown_orders, "rows are about an order that does not stand"),
            (book.repeated_orders, "orders come while they stand"),
            (book.malformed_orders, "rows of orders have no possible size or price"),
            (book.orders_dropped, "orders were given up, the book has no room for more"),
        ):
            if count:
                lines.append(f"{name}: {count} {what}")
    return lines


def _source_findings(source: SourceReport, last: int) -> list[str]:
    if source.rows == 0:
        return [f"{source.name}: no rows"]
    lines = []
    if source.skew_median_ms is not None and source.skew_median_ms < -CLOCK_BEHIND_MS:
        lines.append(
            f"{source.name}: our receive clock runs {-source.skew_median_ms / 1e3:.2f} s behind "
            f"the exchange's (median; least {source.skew_least_ms:.1f} ms); ages are measured "
            "against that offset"
        )
    for gap in source.gaps[:LISTED_GAPS]:
        who = gap.instrument or source.name
        what = "bars missing" if gap.instrument else "silent"
        lines.append(f"{who}: {what} for {length(int(gap.seconds * 1e9))} after {when(gap.start)}")
    if source.gap_count > len(source.gaps):
        lines.append(
            f"{source.name}: {source.gap_count} gaps in all, together "
            f"{length(int(source.gap_seconds * 1e9))}; the longest are listed"
        )
    if last - source.last > QUIET:
        lines.append(f"{source.name}: ends {length(last - source.last)} before the tape does")
    return lines
