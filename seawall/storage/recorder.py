"""Folds over the journal.

A record is kept first and applied next; state is kept now and then, and rebuilt at the start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from seawall.core.errors import InvariantError, SeawallError, StoreError
from seawall.core.records import AnyRecord, Fold
from seawall.storage.journal import JournalReader, MemoryJournal, SnapshotJournal
from seawall.storage.schema import Packed

MANY = 100_000  # rows, ten times what lies behind a snapshot: some seconds


class Recorder:
    """The one way into the journal: a record is durable before any fold hears of it.

    Between `hold` and `release` the folds are ahead of the disk: all records of a boundary share
    one durable write, and nothing that they say may leave the process before `commit`.

    Args:
        folds: in step with the journal (new ones with an empty journal, else after `recover`).
            A fold whose state changes its layout must change its name: it is then rebuilt from
            the records.
        every: rows between snapshots.
    """

    def __init__(
        self, journal: SnapshotJournal, folds: Sequence[Fold], every: int = 10_000
    ) -> None:
        self.journal = journal
        self._folds = _distinct(folds)
        self._every = every
        self._failure: SeawallError | None = None
        self._holding = False
        self._held: list[AnyRecord] = []
        self._due = False  # a snapshot, once nothing waits for it

    @property
    def left(self) -> int:
        """Rows up to the one after which the next snapshot is taken."""
        return self._every - self.journal.rows % self._every

    def record(self, *records: AnyRecord) -> None:
        """Keep records, then apply them to every fold in turn.

        Raises:
            StoreError: they could not be kept; no fold has heard of them.
            InvariantError: a fold refused one that is kept; from then on nothing is recorded.
        """
        if self._failure is not None:
            raise self._failure
        first = self.journal.rows + len(self._held) + 1
        self._held += records
        if not self._holding:
            self._keep()
        for seq, record in enumerate(records, first):
            self._apply(seq, record)
        if not self._holding and self._is_due(first - 1):
            self.snapshot()

    def hold(self) -> None:
        """From here on records are applied at once, and kept together by `commit`."""
        self._holding = True

    def commit(self) -> None:
        """Keep what is held, durably.

        Raises:
            StoreError: it could not be kept; from then on nothing is recorded, as after any other
                error.
        """
        if self._failure is not None:
            raise self._failure
        before = self.journal.rows
        if self._held:
            try:
                self._keep()
            except BaseException as error:  # the folds are ahead of the journal for good
                self._failure = (
                    error
                    if isinstance(error, SeawallError)
                    else StoreError(f"the journal stopped after row {before}: {error}; start again")
                )
                raise
            self._due = self._due or self._is_due(before)

    def release(self) -> None:
        """Keep what is held; from here on each call is kept before it is applied. See `commit`.

        A snapshot that has come due is taken now, when the orders have left.
        """
        self._holding = False
        self.commit()
        if self._due:
            self.snapshot()

    def _keep(self) -> None:
        held, self._held = self._held, []
        self.journal.append(held)

    def _is_due(self, before: int) -> bool:
        return self.journal.rows // self._every > before // self._every

    def carry(
        self,
        journal: MemoryJournal,
        packed: Packed,
        moved: Sequence[Fold],
        move: Callable[[], None],
    ) -> None:
        """Keep rows whose effect on some folds is known already: `move` brings it to them.

        No snapshot may be due before the last of the rows: see `left`.

        Args:
            journal: this recorder's own.
            moved: these folds, and those that none of the records concerns.

        Raises:
            StoreError: they could not be kept; no fold has heard of them.
            InvariantError: a fold refused one that is kept; from then on nothing is recorded.
        """
        if self._failure is not None:
            raise self._failure
        journal.take(packed)
        move()
        for fold in self._folds:
            if not any(fold is each for each in moved):
                for at in range(len(packed.ends)):
                    fold.apply(packed.record(at))

    def _apply(self, seq: int, record: AnyRecord) -> None:
        try:
            for fold in self._folds:
                fold.apply(record)
        except BaseException as error:
            self._failure = InvariantError(
                f"the books stopped at journal row {seq}: {error}; nothing more is kept"
            )
            raise

    def snapshot(self) -> None:
        """Keep the state of all folds now; StoreError where that fails."""
        encode = msgspec.msgpack.encode
        self._due = False
        self.journal.keep({fold.name: encode(fold.state()) for fold in self._folds})


@dataclass(frozen=True, slots=True)
class Recovery:
    """How state was rebuilt.

    Attributes:
        snapshot: the row that the snapshot in use follows, 0 where there was none.
        replayed: rows applied after it.
    """

    snapshot: int
    replayed: int


def recover(
    journal: SnapshotJournal,
    folds: Sequence[Fold],
    say: Callable[[str], None] | None = None,
) -> Recovery:
    """Bring new folds in step with the journal: newest good snapshot, then the rows after it.

    Args:
        say: told where a snapshot is damaged, and where so many rows are read that it takes long.

    Raises:
        StoreError: the journal is broken after the snapshot, or was shortened.
        InvariantError: a fold refuses a row.
    """
    folds = _distinct(folds)
    start = 0
    for seq, states in journal.snapshots():
        if all(fold.name in states for fold in folds):
            for fold in folds:
                fold.restore(msgspec.msgpack.decode(states[fold.name]))
            start = seq
            break
    if say is not None:
        for damaged in journal.damaged() if isinstance(journal, JournalReader) else ():
            say(f"journal: the snapshot after row {damaged:,} is damaged and is not used")
        if journal.rows - start >= MANY:
            say(f"journal: reading {journal.rows - start:,} rows to rebuild the books")
    seq = start
    for seq, record in journal.read(start):
        for fold in folds:
            try:
                fold.apply(record)
            except InvariantError as error:
                raise InvariantError(f"journal row {seq}: {error}") from error
    return Recovery(start, seq - start)


def _distinct(folds: Sequence[Fold]) -> list[Fold]:
    names = [fold.name for fold in folds]
    if len(set(names)) != len(names):
        raise ValueError(f"two folds have one name: {', '.join(names)}")
    return list(folds)
