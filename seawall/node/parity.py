"""A recorded run replayed: with the exchange's real answers the journal must come out the same.

Each life of a run (from one RunStarted to the next) is replayed by itself, from the journal as it
was then, over its own rows of the tape. What the operator said comes at its place in the journal.
"""

import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core import records
from seawall.core.clock import TapeClock
from seawall.core.commands import COMMANDS, RELEASE, Command
from seawall.core.errors import DataError, InvariantError, SettingError
from seawall.core.events import Raw, empty
from seawall.core.instruments import Catalog
from seawall.core.orders import OrderState
from seawall.core.records import (
    AccountsOpened,
    AnyRecord,
    OperatorCommanded,
    OrderChanged,
    RunStarted,
    RunStopped,
    RunStopping,
)
from seawall.core.settings import Settings
from seawall.decision.strategies import own_file
from seawall.ingestion.tape import Tape, open_tape
from seawall.node import assembly, division
from seawall.node.inputs import changed_inputs, settings_of
from seawall.node.node import AT_START
from seawall.node.strategy import sleeves_of
from seawall.storage.journal import JournalReader
from seawall.storage.schema import GENESIS, link
from seawall.venues.simulated.log import Entry, Log
from seawall.venues.simulated.recorded import Answers, RecordedVenue

if TYPE_CHECKING:
    from seawall.node.node import Node
    from seawall.node.perception import Perceived

JOURNAL, VENUE_LOG = "journal.sqlite", "venue.log"


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One life of a run.

    Attributes:
        after: rows of the journal before it. records: its own.
        tape: the tape's folder. taped, past: its rows of the tape, [taped, past).
    """

    number: int
    after: int
    records: tuple[AnyRecord, ...]
    tape: Path
    taped: int
    past: int

    @property
    def started(self) -> RunStarted:
        """The record that opens it."""
        assert isinstance(self.records[0], RunStarted)
        return self.records[0]

    @property
    def stopped(self) -> RunStopped | None:
        """The record that ends it; None where it was killed or still goes on."""
        return last if isinstance(last := self.records[-1], RunStopped) else None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first row at which a replay leaves the record; None where one of them has ended.

    Attributes:
        row: of the journal. ts: ns UTC. fields: path → (recorded, replayed).
    """

    row: int
    ts: int
    recorded: str | None
    replayed: str | None
    fields: dict[str, tuple[Any, Any]]


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one life.

    Attributes:
        rows: of the journal that came out the same. of: that were to.
        beyond: what the replay wrote after the record ended, where that was not in order.
    """

    number: int
    started: int
    run: str
    rows: int
    of: int
    tape_rows: int
    beyond: int
    difference: Difference | None


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The replay with the real answers. head: the journal's hash; replayed: as it came out.

    changed: a line for each file that the run read and that says something else by now.
    """

    run: str
    identical: bool
    rows: int
    head: str
    replayed: str
    lives: tuple[Replayed, ...]
    changed: tuple[str, ...] = ()


class Recorded:
    """A run's folder: its journal, its tapes and its exchange's log.

    Args:
        folder: such as seawall-data/simulated.
        trusting: a strategy's own file, which the journal names, may be run. Whoever made the
            folder chose that file, so nobody but the user can say so.

    Raises:
        DataError: something of it is missing. StoreError: something is damaged.
    """

    def __init__(self, folder: Path, trusting: bool = False) -> None:
        self.folder = folder
        self._trusting = trusting
        self._need(JOURNAL)
        reader = JournalReader(folder / JOURNAL)
        try:
            self.records = [record for _, record in reader.read()]
            self.head = reader.head
        finally:
            reader.close()
        if not self.records:
            raise DataError(f"{folder}: its journal is empty")
        if isinstance(self.records[0], RunStarted) and self.records[0].mode == "live":
            raise DataError(f"{folder}: a live run; its exchange's answers cannot be replayed")
        self.answers = {  # of each account's exchange; of the only one: ""
            name: answers_of(self._need(log), self.records) for name, log in self._logs()
        }

    def _logs(self) -> Iterator[tuple[str, str]]:
        """Account and name of its exchange's log."""
        opened = (r.accounts for r in self.records if isinstance(r, AccountsOpened))
        names = dict.fromkeys(name for accounts in opened for name in accounts)
        yield from ((name, division.log_of(Path(VENUE_LOG), name).name) for name in names or [""])

    def _need(self, name: str) -> Path:
        if not (self.folder / name).is_file():
            raise DataError(
                f"{self.folder}: there is no {name}; name the folder of a paper run, such as "
                "seawall-data/simulated, and put the log of an exchange of its own there"
            )
        return self.folder / name

    def answers_for(self, settings: Settings) -> Answers:
        """Of the account whose settings these are; see `Division`."""
        return self.answers[settings.accounts[0].name if settings.accounts else ""]

    def lives(self) -> list[Life]:
        """All lives in order."""
        starts = [at for at, r in enumerate(self.records) if isinstance(r, RunStarted)]
        if not starts or starts[0]:
            raise DataError(f"{self.folder}: its journal does not begin with a run")
        tapes = [open_tape(path.parent) for path in sorted(self.folder.glob("tape-*/catalog.json"))]
        lives: list[Life] = []
        ends: dict[Path, int] = {}  # of the tape's rows, by the next life on it
        for number in reversed(range(len(starts))):
            first, past = starts[number], [*starts, len(self.records)][number + 1]
            started = self.records[first]
            assert isinstance(started, RunStarted)
            tape = self._tape_of(started, tapes)
            if started.taped < 0:
                raise DataError(
                    f"{self.folder}: the run of journal row {first + 1} is of a version that did "
                    "not note where on the tape it began; it cannot be replayed"
                )
            lives.append(
                Life(
                    number=number + 1,
                    after=first,
                    records=tuple(self.records[first:past]),
                    tape=tape.folder,
                    taped=started.taped,
                    past=ends.get(tape.folder, tape.rows),
                )
            )
            ends[tape.folder] = started.taped
        return lives[::-1]

    def _tape_of(self, started: RunStarted, tapes: list[Tape]) -> Tape:
        for tape in tapes:
            if tape.catalog.instruments == started.instruments:
                return tape
        raise DataError(f"{self.folder}: the tape of run {started.run} is not there any more")

    def settings(self, life: Life) -> Settings:
        """Those of a life, with this folder's keys and golden sets.

        Raises:
            SettingError: they cannot be read, or name a strategy's file that is not trusted.
        """
        found = settings_of(life.started, self.folder.parent)
        decision = found.decision
        names = [decision.strategy, *(each.named for each in sleeves_of(decision.strategies))]
        files = [name for name in names if own_file(name)]
        if files and not self._trusting:
            raise SettingError(
                f"run {life.started.run} was decided by {', '.join(files)}, and a replay "
                "runs that file: look at it, then say --trust-strategy"
            )
        return found


def answers_of(log: Path, written: list[AnyRecord]) -> Answers:
    """The exchange's answers: its log, and what the journal has of requests that failed."""
    with tempfile.TemporaryDirectory(prefix="seawall-") as folder:
        copy = Path(folder) / log.name
        shutil.copyfile(log, copy)  # opening takes the lock and cuts off a torn tail
        opened = Log(copy)
        try:
            entries: list[Entry] = list(opened.entries())
        finally:
            opened.close()
    refused: dict[str, str] = {}
    lost: dict[str, str] = {}
    sent: dict[str, int] = {}
    for record in written:
        if not isinstance(record, OrderChanged):
            continue
        name = record.client_id
        if record.state is OrderState.SENT:
            sent[name] = record.ts
        elif sent.pop(name, None) == record.ts and not record.venue_sequence:
            if record.state is OrderState.REJECTED:
                refused[name] = record.reason
            elif record.state is OrderState.UNKNOWN:
                lost[name] = record.reason
    return Answers(entries, refused, lost)


# --- the journal that is compared as it is written ---


class KeptJournal:
    """A journal that begins with the record up to a life and keeps what is appended in memory."""

    def __init__(self, before: list[AnyRecord]) -> None:
        self._before = before
        self.written: list[AnyRecord] = []

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._before) + len(self.written)

    @property
    def head(self) -> str:
        """Not kept: `verify` chains what came out the same."""
        return ""

    @property
    def over(self) -> bool:
        """Nothing more is wanted."""
        return False

    def append(self, new: list[AnyRecord]) -> None:
        """Keep records."""
        self.written += new

    def read(self, after: int = 0) -> Iterator[tuple[int, AnyRecord]]:
        """The rows before the life, for the folds."""
        yield from enumerate(self._before[after:], after + 1)

    def keep(self, states: Mapping[str, bytes]) -> None:
        """Nothing: the record is on disk."""

    def snapshots(self) -> Iterator[tuple[int, dict[str, bytes]]]:
        """None."""
        return iter(())

    def close(self) -> None:
        """Nothing to let go of."""


class ComparedJournal(KeptJournal):
    """Holds what is appended against the record, and is over at the first difference.

    Attributes:
        same: rows that came out as expected. beyond: rows appended after the record's end.
    """

    def __init__(self, before: list[AnyRecord], expected: tuple[AnyRecord, ...]) -> None:
        super().__init__(before)
        self._expected = expected
        self.same = 0
        self.beyond = 0
        self.difference: Difference | None = None

    @property
    def over(self) -> bool:
        """There is no more to compare."""
        return self.difference is not None or self.beyond > 0

    def append(self, new: list[AnyRecord]) -> None:
        """Hold records against the expected ones."""
        for record in new:
            self.written.append(record)
            if self.difference is not None or self.same == len(self._expected):
                self.beyond += 1
                continue
            expected = self._expected[self.same]
            if records.encode(expected) == records.encode(record):
                self.same += 1
            else:
                row = len(self._before) + self.same + 1
                self.difference = difference(row, expected, record)


def difference(row: int, recorded: AnyRecord | None, replayed: AnyRecord | None) -> Difference:
    """How two records differ, field by field."""
    texts = [_text(one) for one in (recorded, replayed)]
    flat = [_flat(msgspec.to_builtins(one)) if one else {} for one in (recorded, replayed)]
    names = list(dict.fromkeys((*flat[0], *flat[1])))
    one = recorded or replayed
    return Difference(
        row=row,
        ts=one.ts if one else 0,
        recorded=texts[0],
        replayed=texts[1],
        fields={
            name: (flat[0].get(name), flat[1].get(name))
            for name in names
            if repr(flat[0].get(name)) != repr(flat[1].get(name))
        },
    )


def _text(record: AnyRecord | None) -> str | None:
    return None if record is None else msgspec.json.encode(record).decode()


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested values by dotted path; bytes by their length alone."""
    if isinstance(value, dict):
        parts = ((f"{path}.{name}" if path else str(name), v) for name, v in value.items())
        return {name: leaf for at, part in parts for name, leaf in _flat(part, at).items()}
    return {path: value}


# --- what the node gets ---


class LifeFeed:
    """The rows of a life, cut where the record shows that the node stood still to look.

    A cut comes at each boundary, so that a frame never knows of a later one, at each command, at
    the moment at which it was told to stop, and at each answer that it heard after that.

    Args:
        first: the row that trading began with. cuts: ns UTC; a piece ends with the last row
            received by then. stop: ns UTC; `on_stop` is called with the piece that ends there.
        over: asked before each piece; True ends the feed.
    """

    def __init__(
        self,
        tape: Tape,
        first: int,
        past: int,
        cadence: int,
        cuts: list[int],
        stop: int | None,
        on_stop: Callable[[], None],
        over: Callable[[], bool],
    ) -> None:
        self.catalog: Catalog = tape.catalog
        self._pieces = cut(rows_of(tape, first, past), cadence, cuts, stop)
        self._stop = stop
        self._on_stop = on_stop
        self._over = over

    def read(self, timeout: float) -> Raw | None:
        """See Feed."""
        if self._over():
            return None
        rows = next(self._pieces, None)
        if self._stop is not None and (rows is None or int(rows["recv_ts"][-1]) >= self._stop):
            self._stop = None
            self._on_stop()
        return rows

    def close(self) -> None:
        """See Feed."""
        self._pieces.close()


def rows_of(tape: Tape, first: int, past: int) -> Iterator[Raw]:
    """Rows [first, past) of a tape in blocks."""
    at = 0
    for block in tape.blocks(assembly.BLOCK):
        if at >= past:
            return
        part = block[max(0, first - at) : past - at]
        at += len(block)
        if len(part):
            yield Raw(part)


def cut(
    blocks: Iterator[Raw], cadence: int, cuts: list[int], stop: int | None
) -> Generator[Raw, None, None]:
    """Pieces of which none reaches over one of the cuts, or up to `stop` over a boundary.

    A node that stops listens at the end of each block, and no longer at boundaries.
    """
    wanted = np.array(sorted(set(cuts)), np.int64)
    rest: NDArray[Any] = empty(0)
    for block in blocks:
        rows = np.concatenate([rest, block]) if len(rest) else block
        times = rows["recv_ts"]
        first, last = int(times[0]), int(times[-1])
        until = last if stop is None else min(last, stop)
        regular = np.arange(-(-first // cadence) * cadence, until, cadence, dtype=np.int64)
        between = wanted[(wanted >= first) & (wanted < last)]
        marks = np.union1d(regular, between)
        edges = np.unique(np.searchsorted(times, marks, side="right"))
        at = 0
        for edge in edges[(edges > 0) & (edges < len(rows))].tolist():
            yield Raw(rows[at:edge])
            at = edge
        rest = rows[at:]
    if len(rest):
        yield Raw(rest)


class RecordedCommands:
    """What the operator said, when the journal has it."""

    def __init__(self, commands: list[OperatorCommanded]) -> None:
        self._left = deque(commands)
        self.now: Callable[[], int] = lambda: 0

    def poll(self) -> list[Command]:
        """See Commands."""
        due: list[Command] = []
        while self._left and self._left[0].ts <= self.now():
            said = self._left.popleft()
            target = said.arguments[COMMANDS[said.command]]
            due.append(Command(name=said.command, target=target, who=said.who))
        return due


# --- the replay ---


def replay(
    recorded: Recorded,
    life: Life,
    journal: KeptJournal,
    exchange: "division.Exchange",
    progress: Callable[[int, int], None],
    watch: "Callable[[Node, Perceived], None] | None" = None,
) -> "Node":
    """One life again, into `journal`; ends where that is over. The node at its end."""
    tape = open_tape(life.tape)
    settings = recorded.settings(life)
    started, total = life.started, life.past - life.taped
    said = [r for r in life.records if isinstance(r, OperatorCommanded)]
    at_start = [r for r in said if r.command == RELEASE and r.who == AT_START]
    commands = RecordedCommands([r for r in said if r.command in COMMANDS and r not in at_start])
    stop, flatten, heard = stopping(life)
    cuts = [*(r.ts for r in said), *heard, *([] if stop is None else [stop])]
    reason = life.stopped.reason if life.stopped else ""
    node: Node
    feed = LifeFeed(
        tape,
        started.first,
        life.past,
        settings.feed.cadence_ms * 1_000_000,
        cuts,
        stop,
        lambda: node.stop(reason, flatten),
        lambda: journal.over,
    )
    node = assembly.build(
        settings,
        tape.catalog,
        feed,
        journal,
        assembly.Silent(),
        started.run,
        exchange=exchange,
        commands=commands,
        feed_name=recorded.folder.name,
        releases=[r.arguments[COMMANDS[RELEASE]] for r in at_start],
        progress=lambda done: progress(done - life.taped, total),
        watch=watch,
    )
    commands.now = node.ports.now.now
    node.started = msgspec.structs.replace(
        node.started,
        taped=started.taped,
        first=started.first,
        settings=started.settings,  # what has changed in the files they name is told by itself
        values=started.values,
    )
    node.perception.market.state.clock["tape"] = started.taped
    for rows in rows_of(tape, life.taped, started.first):
        node.warm(rows)
    try:
        node.run()
    except InvariantError:
        if not journal.over:  # past the record's end the exchange answers what was never asked
            raise
    return node


def stopping(life: Life) -> tuple[int | None, bool, list[int]]:
    """When the node was told to stop, whether to flatten, and when it then heard something."""
    for at, record in enumerate(life.records):
        if isinstance(record, RunStopping):
            return record.ts, record.flatten, [later.ts for later in life.records[at:]]
    return None, False, []


def verify(recorded: Recorded, progress: Callable[[int, int], None]) -> Parity:
    """All lives with the real answers.

    Raises:
        DataError, SettingError: it cannot be replayed, and why.
    """
    lives, head, all_same = [], GENESIS, True
    changed: dict[str, None] = {}  # in order, once each
    for life in recorded.lives():
        wanted = recorded.settings(life)
        changed |= dict.fromkeys(changed_inputs(life.started, wanted, recorded.folder.name))
        journal = ComparedJournal(recorded.records[: life.after], life.records)

        def exchange(
            settings: Settings,
            catalog: Catalog,
            balances: dict[str, int],
            clock: TapeClock,
            log: Path | None,
            after: int,
        ) -> RecordedVenue:
            return RecordedVenue(recorded.answers_for(settings), catalog, clock, after)

        replay(recorded, life, journal, exchange, progress)
        found = journal.difference
        if found is None and journal.same < len(life.records):
            row = life.after + journal.same + 1
            found = difference(row, life.records[journal.same], None)
        elif found is None and journal.beyond and life.stopped is not None:
            row = life.after + journal.same + 1
            found = difference(row, None, journal.written[journal.same])
        all_same = all_same and found is None
        for seq, record in enumerate(journal.written[: journal.same], life.after + 1):
            head = link(head, seq, records.SCHEMA, records.encode(record))
        lives.append(
            Replayed(
                number=life.number,
                started=life.started.ts,
                run=life.started.run,
                rows=journal.same,
                of=len(life.records),
                tape_rows=life.past - life.taped,
                beyond=journal.beyond if found is None else 0,
                difference=found,
            )
        )
    return Parity(
        run=str(recorded.folder),
        identical=all_same and head.hex() == recorded.head,
        rows=sum(life.rows for life in lives),
        head=recorded.head,
        replayed=head.hex(),
        lives=tuple(lives),
        changed=tuple(changed),
    )


__all__ = ["Difference", "Life", "Parity", "Recorded", "Replayed", "verify"]
