"""Inspection finds what was planted: breaks, repeats, crossed books, gaps, clocks that lag."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from seawall.core.events import EventFlag, EventKind, Side, empty
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.order_book import new_ladders
from seawall.ingestion import inspection_kernels as kernels
from seawall.ingestion.inspection import QUIET, Inspection, inspect
from seawall.ingestion.tape import TapeWriter, open_tape, write_tape

MS, SECOND = 1_000_000, 1_000_000_000
BEGIN, END = int(EventFlag.BEGIN), int(EventFlag.END)
CATALOG = Catalog(
    instruments=(
        Instrument(
            venue="v", symbol="A", kind=Kind.SPOT, base="A", quote="USD", tick="0.01", lot="0.01"
        ),
    ),
    sources=(Source(name="v", venue="v"), Source(name="w", venue="w")),
    books=((0, 0), (0, 1)),
)
BID, ASK = Side.BUY, Side.SELL
Row = tuple[int, EventKind, int, int, int, int, int, int]


def row(
    ms: int,
    kind: EventKind,
    side: int = 2,
    price: int = 0,
    size: int = 0,
    sequence: int = 0,
    previous: int = -1,
    flags: int = BEGIN | END,
) -> Row:
    return (ms, kind, side, price, size, sequence, previous, flags)


def tape_of(rows: list[Row], lag_ms: int = -5) -> np.ndarray:
    made = empty(len(rows))
    for at, (ms, kind, side, price, size, sequence, previous, flags) in enumerate(rows):
        made[at] = (
            1000 * SECOND + ms * MS,
            1000 * SECOND + (ms + lag_ms) * MS,
            sequence,
            previous,
            price,
            size,
            0,
            0,
            kind,
            side,
            flags,
        )
    return made


START = [
    row(0, EventKind.SNAPSHOT, sequence=10, flags=BEGIN),
    row(0, EventKind.DEPTH, BID, 100, 5, 10, flags=0),
    row(0, EventKind.DEPTH, ASK, 102, 5, 10, flags=END),
]


def inspected(folder: Path, rows: np.ndarray) -> Inspection:
    write_tape(folder / "t", CATALOG, rows, force=True)
    return inspect(open_tape(folder / "t"))


def test_a_sound_tape_has_no_findings_but_the_silent_source(tmp_path: Path) -> None:
    rows = [
        *START,
        row(1, EventKind.DEPTH, BID, 101, 4, 12, 9),
        row(2, EventKind.QUOTE, BID, 101, 4, 12, flags=BEGIN),
        row(2, EventKind.QUOTE, ASK, 102, 5, 12, flags=END),
        row(3, EventKind.TRADE, BID, 102, 1, 1),
    ]
    result = inspected(tmp_path, tape_of(rows))
    book = result.books[0]
    assert (book.sequence_breaks, book.duplicates, book.crossed) == (0, 0, 0)
    assert (book.coincidences, book.mismatches) == (1, 0)
    assert book.rows_by_kind == {"depth": 3, "snapshot": 1, "trade": 1, "quote": 2}
    assert result.findings == ("w: no rows",)
    assert result.sources[0].skew_least_ms == 5
    assert result.sources[0].skew_median_ms == pytest.approx(5, abs=1)
    assert msgspec.json.decode(msgspec.json.encode(result), type=Inspection) == result


@pytest.mark.parametrize(
    ("extra", "counts", "words"),
    [
        ([row(1, EventKind.DEPTH, BID, 99, 1, 13, 11)], (1, 0, 0), "1 messages do not follow"),
        ([row(1, EventKind.DEPTH, BID, 99, 1, 10, 9)], (0, 1, 0), "1 messages repeat an id"),
        ([row(1, EventKind.DEPTH, BID, 102, 1, 11, 10)], (0, 0, 1), "1 messages leave the book cr"),
        (
            [row(1, EventKind.TRADE, 0, 99, 1, 4), row(2, EventKind.TRADE, 0, 99, 1, 4)],
            (0, 1, 0),
            "1 messages repeat an id",
        ),
    ],
)
def test_what_is_wrong_is_counted_and_said(
    tmp_path: Path, extra: list[Row], counts: tuple[int, int, int], words: str
) -> None:
    result = inspected(tmp_path, tape_of([*START, *extra]))
    book = result.books[0]
    assert (book.sequence_breaks, book.duplicates, book.crossed) == counts
    assert any(words in line for line in result.findings)


@pytest.mark.parametrize("quote_first", [False, True])
@pytest.mark.parametrize(("size", "mismatches"), [(4, 0), (3, 1)])
def test_top_of_book_against_the_venues_own(
    tmp_path: Path, quote_first: bool, size: int, mismatches: int
) -> None:
    depth = [row(1, EventKind.DEPTH, BID, 101, 4, 12, 10)]
    quote = [
        row(1, EventKind.QUOTE, BID, 101, size, 12, flags=BEGIN),
        row(1, EventKind.QUOTE, ASK, 102, 5, 12, flags=END),
    ]
    order = [*quote, *depth] if quote_first else [*depth, *quote]
    result = inspected(tmp_path, tape_of([*START, *order]))
    assert (result.coincidences, result.mismatches) == (1, mismatches)


def test_a_source_that_goes_down_starts_anew(tmp_path: Path) -> None:
    again = [
        row(50, EventKind.SNAPSHOT, sequence=90, flags=BEGIN),
        row(50, EventKind.DEPTH, BID, 120, 5, 90, flags=0),
        row(50, EventKind.DEPTH, ASK, 121, 5, 90, flags=END),
        row(51, EventKind.DEPTH, ASK, 121, 0, 95, 88),
    ]
    result = inspected(tmp_path, tape_of([*START, row(9, EventKind.DOWN), *again]))
    assert result.books[0].sequence_breaks == 0
    assert result.books[0].crossed == 0


def test_silence_and_an_early_end_are_gaps(tmp_path: Path) -> None:
    rows = tape_of([row(0, EventKind.TRADE, 0, 5, 1, 1), row(60_000, EventKind.TRADE, 0, 5, 1, 2)])
    other = rows[:1].copy()
    other["source"] = 1
    result = inspected(tmp_path, np.concatenate([rows[:1], other, rows[1:]]))
    gap = result.sources[0].gaps[0]
    assert (gap.seconds, gap.instrument) == (60, "")
    assert QUIET < 60 * SECOND
    assert any("v: silent for 1.0 min" in line for line in result.findings)
    assert any("w: ends 1.0 min before the tape does" in line for line in result.findings)


@pytest.mark.parametrize(
    ("lag_ms", "said"), [(1270, True), (251, True), (200, False), (-900, False)]
)
def test_a_receive_clock_that_lags_is_said(tmp_path: Path, lag_ms: int, said: bool) -> None:
    rows = [row(at, EventKind.TRADE, 0, 5, 1, at + 1) for at in range(9)]
    result = inspected(tmp_path, tape_of(rows, lag_ms=lag_ms))
    assert any(f"{lag_ms / 1000:.2f} s behind" in x for x in result.findings) is said


def test_a_torn_tail_is_said(tmp_path: Path) -> None:
    with TapeWriter(tmp_path / "t", CATALOG) as writer:
        writer.append(tape_of(START))
    segment = tmp_path / "t" / "000001.segment"
    segment.write_bytes(segment.read_bytes() + b"torn")
    result = inspect(open_tape(tmp_path / "t"))
    assert (result.rows, result.torn_bytes) == (3, 4)
    assert result.findings[0] == "an unfinished block of 4 bytes at the end is left out"


def test_any_split_gives_the_same_bits() -> None:
    chooser = np.random.default_rng(7)
    rows = empty(400)
    rows["recv_ts"] = np.sort(chooser.integers(0, 100 * SECOND, 400))
    rows["exch_ts"] = rows["recv_ts"] - 3
    rows["kind"] = chooser.choice([1, 1, 1, 2, 3, 4, 5, 9, 10], 400)
    rows["side"] = chooser.integers(0, 2, 400)
    rows["price"] = chooser.integers(95, 106, 400)
    rows["size"] = chooser.integers(0, 4, 400)
    rows["sequence"] = np.cumsum(chooser.integers(0, 3, 400))
    rows["previous"] = rows["sequence"] - chooser.integers(0, 3, 400)
    rows["flags"] = chooser.integers(0, 4, 400)
    spans = np.array([0, SECOND])

    def state(cuts: list[int]) -> list[np.ndarray]:
        scan = kernels.new_scan(new_ladders(2), CATALOG.book_of.astype(np.int64), spans)
        for piece in np.split(rows, cuts):
            kernels.run(scan, piece, SECOND)
        return list(scan)

    whole = state([])
    for cuts in ([200], [1, 2, 399], sorted(chooser.integers(0, 400, 20).tolist())):
        for one, other in zip(whole, state(cuts), strict=True):
            assert np.array_equal(one, other)
    stepped = kernels.new_scan(new_ladders(2), CATALOG.book_of.astype(np.int64), spans)
    for one_row in rows:
        kernels.step(stepped, one_row, SECOND)
    for one, other in zip(whole, list(stepped), strict=True):
        assert np.array_equal(one, other)
