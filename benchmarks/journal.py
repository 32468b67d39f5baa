"""The journal: appends against the disk's own sync, and recovery from a long one."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import chain, count, islice
from pathlib import Path

import msgspec

from benchmarks import records
from benchmarks.measure import (
    Bench,
    Floor,
    Part,
    Result,
    Timings,
    alternate,
    itself,
    nothing,
    repeat,
    same,
)
from seawall.core.records import AnyRecord, encode
from seawall.node.books import Books
from seawall.risk.breakers import BREAKERS
from seawall.storage.journal import Durability, MemoryJournal, SnapshotJournal, SqliteJournal
from seawall.storage.recorder import Recorder, recover

GROUP = 100
SNAPSHOT_ROWS = 10_000  # rows between two snapshots
LIVES_PER_COMMIT = 10
SINGLE_FLOOR = (Floor(0.5, "goal"),)
GROUPED_FLOOR = (Floor(20, "goal"),)
RECOVERY_FLOOR = (Floor(3, "first version", at_least=False),)


def journal(bench: Bench) -> Iterator[Result]:
    """Appends that are durable when they return, single and in groups, beside raw fsync."""
    appends = 50 if bench.quick else 1000
    some = list(islice(chain.from_iterable(records.lives()), appends))
    grouped = [some[at : at + GROUP] for at in range(0, appends, GROUP)]
    singles = [[record] for record in some]
    paths = (bench.scratch / f"append-{number}.sqlite" for number in count())
    raw, single, many, process, memory = alternate(
        bench.runs,
        _raw(bench.scratch / "raw", some),
        _appending(lambda: SqliteJournal(next(paths), Durability.SYNCED), singles),
        _appending(lambda: SqliteJournal(next(paths), Durability.SYNCED), grouped),
        _appending(lambda: SqliteJournal(next(paths), Durability.PROCESS), singles),
        _appending(MemoryJournal, singles),
    )
    yield _line("raw append + fsync", raw, appends, "appends/s")
    yield _line("journal, synced, single", single, appends)
    yield _line(f"journal, synced, grouped by {GROUP}", many, appends)
    yield _line("journal, safe from kill -9, single", process, appends)
    yield _line("journal in memory, single", memory, appends)
    yield _share("journal, synced, single, over raw fsync", single, raw, SINGLE_FLOOR)
    yield _share(f"journal, synced, grouped by {GROUP}, over raw fsync", many, raw, GROUPED_FLOOR)


def recovery(bench: Bench) -> Iterator[Result]:
    """A restart's work on the journal: newest snapshot and the longest tail behind it."""
    wanted = 1_000 if bench.quick else 1_000_000
    path = bench.scratch / "long.sqlite"
    rows, truth = _fill(path, wanted)

    def work(_: None) -> str:
        books = Books(BREAKERS)
        with closing(SqliteJournal(path, Durability.PROCESS)) as kept:
            found = recover(kept, books.folds)
        return f"{_state(books)} {found.replayed}"

    timed = repeat(bench.runs, nothing, work, itself)
    states = [outcome.split()[0] for outcome in timed.outcomes]
    replayed = int(timed.outcomes[0].split()[1])
    agreed = "as before" if set(states) == {truth} else "NOT AS BEFORE"
    yield Result(
        "recovery",
        "recovery of all folds from the journal",
        f"{rows:,} rows, the last {replayed:,} behind the snapshot",
        "s",
        timed.wall,
        timed.cpu_median,
        RECOVERY_FLOOR,
        f"{same('state', states)}, {agreed}",
    )


def _appending(
    opened: Callable[[], SnapshotJournal], groups: Sequence[list[AnyRecord]]
) -> Part[SnapshotJournal, SnapshotJournal, str]:
    """Into a new journal; opening and closing are not timed."""

    def work(kept: SnapshotJournal) -> SnapshotJournal:
        for group in groups:
            kept.append(group)
        return kept

    def outcome(kept: SnapshotJournal) -> str:
        head = kept.head
        kept.close()
        return head

    return opened, work, outcome


def _raw(path: Path, some: Sequence[AnyRecord]) -> Part[int, int, str]:
    """The same records' bytes at the end of a plain file, each synced."""
    payloads = [encode(record) for record in some]

    def work(file: int) -> int:
        for payload in payloads:
            os.write(file, payload)
            os.fsync(file)
        return file

    def outcome(file: int) -> str:
        os.close(file)
        return ""

    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    return lambda: os.open(path, flags), work, outcome


def _line(what: str, timed: Timings[str], appends: int, unit: str = "rows/s") -> Result:
    head = same("head", timed.outcomes) if timed.outcomes[0] else ""
    on = f"{appends:,} records of orders' lives"
    rates, by_cpu = timed.rates(appends), timed.cpu_rate(appends)
    return Result("journal", what, on, unit, rates, by_cpu, note=head)


def _share(what: str, timed: Timings[str], raw: Timings[str], floors: tuple[Floor, ...]) -> Result:
    """How many times the raw rate, run by run."""
    shares = [theirs / ours for theirs, ours in zip(raw.wall, timed.wall, strict=True)]
    return Result("journal", what, "the lines above, run by run", "x", shares, floors=floors)


def _fill(path: Path, wanted: int) -> tuple[int, str]:
    """A journal whose last snapshot is as far back as it can be; its rows and folds' state."""
    books = Books(BREAKERS)
    with closing(SqliteJournal(path, Durability.PROCESS)) as kept:
        recorder = Recorder(kept, books.folds)
        recorder.record(*records.opening())
        step = records.LIFE * LIVES_PER_COMMIT
        last = wanted + SNAPSHOT_ROWS - 1
        lives = records.lives()
        while kept.rows + step <= last:
            recorder.record(*chain.from_iterable(islice(lives, LIVES_PER_COMMIT)))
        return kept.rows, _state(books)


def _state(books: Books) -> str:
    states = {fold.name: fold.state() for fold in books.folds}
    return hashlib.sha256(msgspec.msgpack.encode(states)).hexdigest()
