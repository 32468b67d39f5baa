"""The journal keeps what it was given, notices what was changed, and survives what it must."""

import hashlib
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core import records
from seawall.core.errors import InvariantError, StoreError
from seawall.core.records import AnyRecord, Deposited, Halted, OperatorCommanded, ReferenceMade
from seawall.storage import (
    Durability,
    JournalReader,
    MemoryJournal,
    Recorder,
    Recovery,
    SnapshotJournal,
    recover,
)
from seawall.storage.schema import GENESIS, link
from tests.storage.journals import Tally, deposit, opened


def tampered(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute(statement, values).rowcount > 0
    connection.commit()
    connection.close()


ANY_RECORD = st.one_of(
    st.builds(deposit, st.integers(-(2**62), 2**62)),
    st.builds(Halted, ts=st.integers(0, 2**62), reason=st.text()),
    st.builds(
        ReferenceMade,
        ts=st.just(5),
        group=st.just("g"),
        name=st.just("n"),
        reference=st.binary(max_size=6000),
    ),
    st.builds(
        OperatorCommanded,
        ts=st.just(7),
        command=st.text(),
        arguments=st.dictionaries(st.text(), st.text()),
        who=st.text(),
    ),
)


# --- what goes in comes out ---


@pytest.mark.parametrize("durability", Durability)
def test_records_come_back_in_order_after_closing(tmp_path: Path, durability: Durability) -> None:
    path = tmp_path / "a" / "new" / "folder" / "journal.db"
    journal = opened(path, durability)
    assert (journal.rows, journal.head) == (0, GENESIS.hex())
    journal.append([deposit(1), Halted(ts=2, reason="")])
    journal.append([])
    journal.append([deposit(3)])
    head = journal.head
    journal.close()
    again = opened(path, durability)
    assert list(again.read()) == [(1, deposit(1)), (2, Halted(ts=2, reason="")), (3, deposit(3))]
    assert list(again.read(after=2)) == [(3, deposit(3))]
    assert list(again.read(after=3)) == []
    assert (again.rows, again.head, again.verify()) == (3, head, 3)
    again.close()


@given(batches=st.lists(st.lists(ANY_RECORD, max_size=5), max_size=6))
@settings(max_examples=15, deadline=None)
def test_memory_and_file_hold_the_same_rows_and_hashes(
    batches: list[list[AnyRecord]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    kept, memory = opened(folder / "kept.db"), MemoryJournal()
    for batch in batches:
        kept.append(batch)
        memory.append(batch)
    memory.write(folder / "written.db")
    written = JournalReader(folder / "written.db")
    everything = [record for batch in batches for record in batch]
    for journal in (kept, memory, written):
        assert [record for _, record in journal.read()] == everything
        assert (journal.rows, journal.head) == (len(everything), kept.head)
    kept.close()
    written.close()


def large(ts: int, size: int) -> ReferenceMade:
    return ReferenceMade(ts=ts, group="g", name="n", reference=bytes(size))


def test_the_hash_is_the_documented_one(tmp_path: Path) -> None:
    journal = MemoryJournal()
    journal.append([deposit(1), deposit(2)])
    first = link(bytes(32), 1, records.SCHEMA, records.encode(deposit(1)))
    assert journal.head == link(first, 2, records.SCHEMA, records.encode(deposit(2))).hex()
    # Worked out apart from the code: 32 zeros, 01 and seven zeros, 05 00 00 00, then the body.
    plain = bytes(32) + b"\x01" + bytes(7) + b"\x05\x00\x00\x00" + records.encode(deposit(1))
    assert first == hashlib.sha256(plain).digest()


def test_reading_goes_on_past_a_page_while_rows_are_added(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j.db")
    journal.append([deposit(n) for n in range(1, 25_001)])
    walk = journal.read(after=4_999)
    assert next(walk) == (5_000, deposit(5_000))
    journal.append([deposit(25_001)])
    assert [seq for seq, _ in walk] == list(range(5_001, 25_002))
    journal.close()


def test_a_synced_append_asks_for_the_disk_and_a_paper_one_does_not(tmp_path: Path) -> None:
    for durability, level in ((Durability.SYNCED, 2), (Durability.PROCESS, 1)):
        journal = opened(tmp_path / f"{durability.value}.db", durability)
        ask = journal._connection.exec_driver_sql
        assert ask("PRAGMA synchronous").scalar() == level
        assert ask("PRAGMA journal_mode").scalar() == "wal"
        journal.close()


# --- one writer, many readers ---


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = opened(path)
    journal.append([deposit(1)])
    with pytest.raises(StoreError, match=f"process {os.getpid()} is writing it"):
        opened(path)
    program = (
        "import sys\nfrom seawall.storage import *\nSqliteJournal(sys.argv[1], Durability.SYNCED)"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert other.returncode != 0
    assert f"process {os.getpid()} is writing it; stop that one" in other.stderr
    reader = JournalReader(path)
    assert reader.rows == 1
    journal.append([deposit(2)])
    assert (reader.rows, reader.head, reader.verify()) == (2, journal.head, 2)
    reader.close()
    journal.close()
    opened(path).close()


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    memory, file = MemoryJournal(), opened(tmp_path / "j.db")
    for journal in (memory, file):
        journal.close()
        with pytest.raises(StoreError, match="closed"):
            journal.append([deposit(1)])


# --- what was changed is noticed ---


@pytest.mark.parametrize(
    ("statement", "values", "message"),
    [
        (
            "UPDATE journal SET body = ? WHERE seq = 3",
            (records.encode(deposit(9)),),
            "breaks at row 3",
        ),
        ("UPDATE journal SET hash = ? WHERE seq = 3", (bytes(32),), "breaks at row 3"),
        ("DELETE FROM journal WHERE seq = ?", (3,), "row 3 is missing"),
        ("UPDATE journal SET schema = ? WHERE seq = 3", (99,), r"schema 99.*update Seawall"),
        ("UPDATE journal SET ts = ? WHERE seq = 3", (77,), "row 3: ts or kind contradict"),
        ("UPDATE journal SET kind = ? WHERE seq = 3", ("fill",), "row 3: ts or kind contradict"),
    ],
)
def test_a_changed_row_is_named(
    tmp_path: Path, statement: str, values: tuple[object, ...], message: str
) -> None:
    path = tmp_path / "j.db"
    journal = opened(path)
    journal.append([deposit(n) for n in range(1, 6)])
    journal.close()
    tampered(path, statement, *values)
    journal = opened(path)
    with pytest.raises(StoreError, match=message):
        journal.verify()
    with pytest.raises(StoreError, match=message):
        recover(journal, [Tally()])
    journal.close()


def test_bytes_that_are_no_record_are_named_even_with_a_good_hash(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = opened(path)
    journal.append([deposit(1)])
    journal.close()
    forged = link(GENESIS, 1, records.SCHEMA, b"\xc1")
    tampered(path, "UPDATE journal SET body = ?, hash = ?", b"\xc1", forged)
    journal = opened(path)
    with pytest.raises(StoreError, match="row 1 is no record"):
        journal.verify()
    journal.close()


def test_removed_last_rows_are_noticed_by_the_snapshot_that_followed_them(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = opened(path)
    Recorder(journal, [Tally()], every=10).record(*(deposit(n) for n in range(10)))
    journal.close()
    tampered(path, "DELETE FROM journal WHERE seq > ?", 7)
    journal = opened(path)
    for walk in (journal.verify, lambda: recover(journal, [Tally()])):
        with pytest.raises(StoreError, match="ends at row 7 but once had row 10"):
            walk()
    journal.close()


def test_a_forged_chain_does_not_fit_the_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = opened(path)
    Recorder(journal, [Tally()], every=1).record(deposit(1))
    journal.close()
    body = records.encode(deposit(2))
    forged = link(GENESIS, 1, records.SCHEMA, body)
    tampered(path, "UPDATE journal SET ts = 2, body = ?, hash = ?", body, forged)
    journal = opened(path)
    for walk in (journal.verify, lambda: recover(journal, [Tally()])):
        with pytest.raises(StoreError, match="row 1 was changed after a snapshot"):
            walk()
    journal.close()


# --- what cannot be written or read ---


def test_no_file_no_database_no_journal_and_another_format(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        JournalReader(tmp_path / "missing.db")
    text = tmp_path / "text.db"
    text.write_text("these are not the rows you are looking for\n" * 99)
    for open_it in (opened, JournalReader):
        with pytest.raises(StoreError, match="it is not a database"):
            open_it(text)
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE cats (name)")
    connection.close()
    for open_it in (opened, JournalReader):
        with pytest.raises(StoreError, match="a database but no journal"):
            open_it(other)
    future = tmp_path / "future.db"
    opened(future).close()
    tampered(future, "UPDATE meta SET value = '2'")
    for open_it in (opened, JournalReader):
        with pytest.raises(StoreError, match="its format is 2, this Seawall knows 1"):
            open_it(future)
    opened(tmp_path / "unharmed.db").close()


def test_a_maker_that_died_at_once_leaves_a_file_that_still_serves(tmp_path: Path) -> None:
    (tmp_path / "j.db").touch()
    opened(tmp_path / "j.db").close()
    JournalReader(tmp_path / "j.db").close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"check the folder"):
        opened(tmp_path / "file" / "j.db")
    with pytest.raises(StoreError, match=r"check the folder"):
        MemoryJournal().write(tmp_path / "file" / "j.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        opened(tmp_path / "folder.db")


def test_a_full_disk_closes_the_journal_and_loses_nothing_before(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = opened(path)
    journal.append([deposit(1)])
    pages = journal._connection.exec_driver_sql("PRAGMA page_count").scalar()
    journal._connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    big = large(2, 100_000)
    with pytest.raises(StoreError, match="no space is left on its disk"):
        journal.append([deposit(2), big])
    journal._connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    for attempt in (lambda: journal.append([deposit(3)]), lambda: journal.keep({"tally": b""})):
        with pytest.raises(StoreError, match="closed after a failed write"):
            attempt()
    assert (journal.rows, journal.verify()) == (1, 1)
    journal.close()
    journal = opened(path)
    journal.append([deposit(2)])
    assert journal.verify() == 2
    journal.close()


def test_a_file_size_limit_of_the_system_is_one_clear_error(tmp_path: Path) -> None:
    program = """
import resource, sys
from seawall.core.errors import StoreError
from seawall.core.records import ReferenceMade
from seawall.storage import Durability, SqliteJournal
journal = SqliteJournal(sys.argv[1], Durability.PROCESS)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    for n in range(1000):
        journal.append([ReferenceMade(ts=n, group="g", name="n", reference=bytes(2000))])
except StoreError as error:
    print(journal.rows, error)
"""
    path = tmp_path / "j.db"
    child = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    rows, _, message = child.stdout.partition(" ")
    assert "check the disk and its free space" in message or "no space is left" in message
    journal = opened(path)
    assert journal.verify() == journal.rows == int(rows) > 10
    journal.close()


def test_an_amount_past_64_bits_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for journal in (opened(tmp_path / "j.db"), MemoryJournal()):
        with pytest.raises(StoreError, match="fewer decimals"):
            journal.append([deposit(1), deposit(1), Deposited(ts=0, asset="ETH", amount=10**20)])
        journal.append([deposit(1)])
        assert [record for _, record in journal.read()] == [deposit(1)]
        journal.close()


def test_writing_from_memory_is_whole_or_not_at_all(tmp_path: Path) -> None:
    memory = MemoryJournal()
    Recorder(memory, [Tally()], every=3).record(*(deposit(n) for n in range(7)))
    path = tmp_path / "runs" / "one.db"
    memory.write(path)
    assert os.listdir(path.parent) == ["one.db"]
    with pytest.raises(StoreError, match="it exists"):
        memory.write(path)
    journal = opened(path)
    tally = Tally()
    assert recover(journal, [tally]) == Recovery(snapshot=7, replayed=0)
    assert (tally.rows, tally.total, journal.verify()) == (7, 21, 7)
    journal.append([deposit(8)])
    journal.close()


def test_a_write_from_memory_that_fails_leaves_no_file(tmp_path: Path) -> None:
    memory = MemoryJournal()
    memory.append([large(1, 500_000)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StoreError):
            memory.write(tmp_path / "j.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


# --- snapshots and recovery ---


def filled(journal: SnapshotJournal, rows: int, every: int = 10) -> Tally:
    tally = Tally()
    recorder = Recorder(journal, [tally], every=every)
    for n in range(1, rows + 1):
        recorder.record(deposit(n))
    return tally


@pytest.mark.parametrize("memory", [True, False])
def test_recovery_is_the_newest_snapshot_and_the_rows_after_it(
    tmp_path: Path, memory: bool
) -> None:
    journal: SnapshotJournal = MemoryJournal() if memory else opened(tmp_path / "j.db")
    tally = filled(journal, 57)
    assert [seq for seq, _ in journal.snapshots()] == [50, 40, 30]
    again = Tally()
    assert recover(journal, [again]) == Recovery(snapshot=50, replayed=7)
    assert again.state() == tally.state() == [57, 57 * 58 // 2]
    journal.close()


def test_a_snapshot_that_comes_due_while_orders_wait_is_taken_when_they_have_left() -> None:
    journal = MemoryJournal()
    tally = Tally()
    recorder = Recorder(journal, [tally], every=10)
    recorder.hold()
    recorder.record(*(deposit(n) for n in range(9)))
    recorder.commit()
    recorder.record(deposit(1))
    recorder.commit()
    assert not list(journal.snapshots())
    recorder.record(deposit(2))  # refused at the door, say
    recorder.release()
    ((seq, _),) = journal.snapshots()
    assert seq == journal.rows == 11
    again = Tally()
    assert recover(journal, [again]) == Recovery(snapshot=11, replayed=0)
    assert again.state() == tally.state()


def test_a_batch_that_passes_a_boundary_takes_one_snapshot(tmp_path: Path) -> None:
    journal = MemoryJournal()
    recorder = Recorder(journal, [Tally()], every=10)
    for size in (9, 5, 3, 20):
        recorder.record(*(deposit(n) for n in range(size)))
    assert [seq for seq, _ in journal.snapshots()] == [37, 14]


def test_torn_snapshots_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = opened(path)
    filled(journal, 57)
    journal.close()
    for newest, expected in ((50, 40), (40, 30), (30, 0)):
        tampered(path, "UPDATE snapshots SET state = substr(state, 2) WHERE seq = ?", newest)
        journal, again = opened(path), Tally()
        assert recover(journal, [again]) == Recovery(snapshot=expected, replayed=57 - expected)
        assert again.state() == [57, 57 * 58 // 2]
        assert journal.verify() == 57
        journal.close()


def test_a_damaged_snapshot_and_a_long_way_back_are_said(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = opened(path)
    recorder = Recorder(journal, [Tally()], every=150_000)
    recorder.record(*(deposit(n) for n in range(150_000)))
    recorder.record(deposit(150_001))
    said: list[str] = []
    assert recover(journal, [Tally()], said.append).replayed == 1
    assert said == []
    journal.close()
    tampered(path, "UPDATE snapshots SET checksum = zeroblob(32)")
    journal, again = opened(path), Tally()
    assert recover(journal, [again], said.append) == Recovery(0, 150_001)
    assert said == [
        "journal: the snapshot after row 150,000 is damaged and is not used",
        "journal: reading 150,001 rows to rebuild the books",
    ]
    assert again.rows == 150_001
    journal.close()


def test_the_newest_record_of_a_kind_is_held_against_the_row_before_it(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = opened(path)
    assert journal.newest("halted") is None
    journal.append([Halted(ts=1, reason="a"), deposit(2), Halted(ts=3, reason="b"), deposit(4)])
    assert journal.newest("halted") == Halted(ts=3, reason="b")
    assert journal.newest("deposited") == deposit(4)
    journal.close()
    tampered(path, "UPDATE journal SET body = ? WHERE seq = 4", records.encode(deposit(9)))
    journal = opened(path)
    with pytest.raises(StoreError, match="breaks at row 4"):
        journal.newest("deposited")
    assert journal.newest("halted") == Halted(ts=3, reason="b")
    journal.close()


def test_recovery_does_not_look_before_the_snapshot_but_verify_does(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = opened(path)
    filled(journal, 57)
    journal.close()
    tampered(path, "UPDATE journal SET body = x'00' WHERE seq = 3")
    journal = opened(path)
    assert recover(journal, [Tally()]).replayed == 7
    with pytest.raises(StoreError, match="breaks at row 3"):
        journal.verify()
    journal.close()


def test_a_fold_that_no_snapshot_knows_is_rebuilt_from_the_records(tmp_path: Path) -> None:
    class Newer(Tally):
        name = "tally.2"

    journal = opened(tmp_path / "j.db")
    filled(journal, 57)
    newer, older = Newer(), Tally()
    assert recover(journal, [older, newer]) == Recovery(snapshot=0, replayed=57)
    assert newer.state() == older.state() == [57, 57 * 58 // 2]
    Recorder(journal, [newer, older]).snapshot()
    Recorder(journal, [newer, older]).snapshot()
    assert recover(journal, [Newer()]) == Recovery(snapshot=57, replayed=0)
    with pytest.raises(ValueError, match="two folds have one name"):
        Recorder(journal, [Tally(), Tally()])
    journal.close()


def test_a_record_is_kept_before_any_fold_hears_of_it(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j.db")
    seen: list[int] = []

    class Watcher(Tally):
        def apply(self, record: AnyRecord) -> None:
            reader = JournalReader(journal.path)
            seen.append(reader.rows)
            reader.close()

    Recorder(journal, [Watcher()]).record(deposit(1), deposit(2))
    assert seen == [2, 2]
    journal.close()


def test_a_fold_that_refuses_stops_the_recorder_and_names_the_row(tmp_path: Path) -> None:
    journal = MemoryJournal()
    recorder = Recorder(journal, [Tally()])
    recorder.record(deposit(1))
    with pytest.raises(InvariantError, match="poison"):
        recorder.record(Deposited(ts=2, asset="POISON", amount=1))
    with pytest.raises(InvariantError, match="stopped at journal row 2: poison"):
        recorder.record(deposit(3))
    assert journal.rows == 2
    with pytest.raises(InvariantError, match="journal row 2: poison"):
        recover(journal, [Tally()])


class Broken(MemoryJournal):
    """A journal with a defect: it fails once with something that is no StoreError, after that it
    would take everything."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__()
        self._failures = [failure]

    def append(self, records: Sequence[AnyRecord]) -> None:
        if self._failures:
            raise self._failures.pop()
        super().append(records)


@pytest.mark.parametrize("failure", [RuntimeError("a defect"), KeyboardInterrupt("stopped")])
def test_folds_that_are_ahead_of_the_journal_stay_stopped_whatever_it_was(
    failure: BaseException,
) -> None:
    journal, tally = Broken(failure), Tally()
    recorder = Recorder(journal, [tally])
    recorder.hold()
    recorder.record(deposit(1))
    assert tally.rows == 1
    with pytest.raises(type(failure)):
        recorder.commit()
    for again in (recorder.commit, recorder.release, lambda: recorder.record(deposit(2))):
        with pytest.raises(StoreError, match=f"after row 0: {failure}; start again"):
            again()
    assert journal.rows == 0
    assert tally.rows == 1


def test_after_a_failed_append_no_fold_has_moved(tmp_path: Path) -> None:
    journal, tally = opened(tmp_path / "j.db"), Tally()
    recorder = Recorder(journal, [tally])
    recorder.record(deposit(1))
    journal._connection.exec_driver_sql("PRAGMA max_page_count=1")
    with pytest.raises(StoreError):
        recorder.record(large(2, 100_000))
    assert tally.rows == 1
    journal.close()


# --- a long journal ---


@pytest.mark.slow
def test_a_million_rows_are_recovered_within_three_seconds(tmp_path: Path) -> None:
    path = tmp_path / "long.db"
    journal, tally = opened(path), Tally()
    recorder = Recorder(journal, [tally], every=10_000)
    for start in range(0, 1_009_000, 1_000):
        recorder.record(*(deposit(n) for n in range(start, start + 1_000)))
    journal.close()
    began = time.perf_counter()
    journal, again = opened(path), Tally()
    recovery = recover(journal, [again])
    took = time.perf_counter() - began
    assert journal.rows == 1_009_000
    assert recovery == Recovery(snapshot=1_000_000, replayed=9_000)
    assert again.state() == tally.state()
    journal.close()
    assert took < 3.0
