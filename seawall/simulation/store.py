"""The journal of a simulated world: what is on the disk outlives the node, and only that.

Either in memory, or in SQLite's files where the machine may die within a write: then the files are
what a disk may hold of them, the last write not at all, in part, or whole.
"""

import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from seawall.core.errors import StoreError
from seawall.core.records import AnyRecord
from seawall.storage.journal import Durability, SqliteJournal, sealed
from seawall.storage.schema import GENESIS, Row, Snapshot, chained, unchained

if TYPE_CHECKING:
    from seawall.simulation.scheduler import Scheduler

FULL = "journal: no space is left on its disk; free some and start again"


class MemoryDisk:
    """Rows and snapshots that are durable."""

    def __init__(self) -> None:
        self.kept: list[Row] = []
        self.sets: dict[int, list[Snapshot]] = {}

    @property
    def rows(self) -> int:
        return len(self.kept)

    @property
    def hash(self) -> bytes:
        return self.kept[-1].hash if self.kept else GENESIS

    def append(self, records: Sequence[AnyRecord]) -> None:
        self.kept += chained(records, self.rows, self.hash)

    def append_in_part(self, records: Sequence[AnyRecord], share: float) -> None:
        """A write that the machine's death interrupts: it was one, so that nothing of it stays."""

    def read(self, after: int) -> Iterator[tuple[int, AnyRecord]]:
        head = self.kept[after - 1].hash if after else GENESIS
        for row, record in unchained(self.kept[after:], after, head, "journal"):
            yield row.seq, record

    def keep(self, states: Mapping[str, bytes]) -> None:
        self.sets[self.rows] = [
            sealed(self.rows, name, self.hash, state) for name, state in states.items()
        ]

    def tear_snapshot(self) -> None:
        """The newest set is no longer what was written."""
        if self.sets:
            newest = self.sets[max(self.sets)]
            newest[0] = newest[0]._replace(state=newest[0].state[:-1])

    def snapshots(self) -> Iterator[tuple[int, dict[str, bytes]]]:
        for seq in sorted(self.sets, reverse=True):
            good = {each.fold: each.state for each in self.sets[seq] if each.good}
            if good:
                yield seq, good

    def power_off(self) -> None:
        """The node is gone; what is durable stays."""

    def close(self) -> None:
        """Nothing is held."""


class SqliteDisk:
    """The same in SQLite's own files, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lives = 0
        self._torn: tuple[int, float] | None = None  # size of the log before, share of the write
        self._open()

    def _open(self) -> None:
        self._path = self._folder / f"{self._lives}" / "journal.sqlite"
        self._journal = SqliteJournal(self._path, Durability.PROCESS)

    @property
    def rows(self) -> int:
        return self._journal.rows

    @property
    def hash(self) -> bytes:
        return bytes.fromhex(self._journal.head)

    @property
    def _wal(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    def append(self, records: Sequence[AnyRecord]) -> None:
        self._journal.append(records)

    def append_in_part(self, records: Sequence[AnyRecord], share: float) -> None:
        """A write of which only a share of the bytes reaches the disk."""
        size = self._wal.stat().st_size if self._wal.exists() else 0
        self._journal.append(records)
        self._torn = size, share

    def read(self, after: int) -> Iterator[tuple[int, AnyRecord]]:
        return self._journal.read(after)

    def keep(self, states: Mapping[str, bytes]) -> None:
        self._journal.keep(states)

    def tear_snapshot(self) -> None:
        """One fold's state of the newest set is no longer what was written."""
        with closing(sqlite3.connect(self._path)) as file, file:
            file.execute(
                "UPDATE snapshots SET state = x'00' WHERE rowid IN "
                "(SELECT rowid FROM snapshots ORDER BY seq DESC LIMIT 1)"
            )

    def snapshots(self) -> Iterator[tuple[int, dict[str, bytes]]]:
        return self._journal.snapshots()

    def power_off(self) -> None:
        """Copy what the files hold at this instant, less what was torn, and open the copy."""
        old, wal = self._path, self._wal
        self._lives += 1
        new = self._folder / f"{self._lives}" / old.name
        new.parent.mkdir(parents=True)
        shutil.copyfile(old, new)
        if wal.exists():
            data = wal.read_bytes()
            if self._torn is not None:
                size, share = self._torn
                size = min(size, len(data))
                data = data[: size + int(share * (len(data) - size))]
            new.with_name(wal.name).write_bytes(data)
        self._torn = None
        self._journal.close()
        shutil.rmtree(old.parent)
        self._open()

    def close(self) -> None:
        self._journal.close()


Disk = MemoryDisk | SqliteDisk


class FaultyJournal:
    """A journal for one life of the node; see SnapshotJournal."""

    def __init__(self, disk: Disk, scheduler: "Scheduler") -> None:
        self._disk = disk
        self._scheduler = scheduler
        self._refusal = ""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._disk.rows

    @property
    def head(self) -> str:
        """The last row's hash, hexadecimal."""
        return self._disk.hash.hex()

    def append(self, records: list[AnyRecord]) -> None:
        """Add records; after a failure it takes no more, as the real one."""
        scheduler = self._scheduler
        scheduler.step("journal.append")
        if self._refusal:
            raise StoreError(self._refusal)
        if not records:
            return
        if scheduler.strike("disk_full"):
            self._refusal = FULL
            raise StoreError(FULL)
        if torn := scheduler.strike("power_loss"):
            self._disk.append_in_part(records, torn.strength)
            scheduler.kill(f"power loss within a write of {len(records)} records")
        self._disk.append(records)
        scheduler.checks.told(records)
        scheduler.step("journal.appended", settled=False)

    def read(self, after: int = 0) -> Iterator[tuple[int, AnyRecord]]:
        """Rows after row `after`."""
        self._scheduler.step("journal.read", settled=False)
        return self._disk.read(after)

    def keep(self, states: Mapping[str, bytes]) -> None:
        """Keep a snapshot."""
        self._scheduler.step("journal.keep")
        if self._refusal:
            raise StoreError(self._refusal)
        self._disk.keep(states)
        if self._scheduler.strike("torn_snapshot"):
            self._disk.tear_snapshot()
        self._scheduler.step("journal.kept")

    def snapshots(self) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Sets of states, newest first."""
        return self._disk.snapshots()

    def close(self) -> None:
        """Nothing more is taken."""
        self._refusal = self._refusal or "journal: it is closed; open it again"
