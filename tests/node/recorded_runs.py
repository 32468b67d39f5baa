"""Paper runs on disk, made in the test's own process: tape, journal and the exchange's log."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from seawall.core.clock import TapeClock
from seawall.core.commands import Command
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.settings import RiskSettings, Settings
from seawall.ingestion.replay import ReplayFeed
from seawall.ingestion.tape import TapeWriter
from seawall.node.assembly import Silent, build, run_id
from seawall.node.node import Node
from seawall.storage.journal import Durability, SqliteJournal
from tests.node.short_runs import EAGER

PAPER = Settings(mode="paper", decision=EAGER, risk=RiskSettings(volatility_threshold=10.0))


class Killed(BaseException):
    """The process is gone."""


class _Said:
    """Commands that come at some of the reads."""

    def __init__(self, commands: dict[int, Command]) -> None:
        self._commands = commands
        self._asked = 0

    def poll(self) -> list[Command]:
        self._asked += 1
        found = self._commands.get(self._asked)
        return [found] if found else []


class _Cut:
    """Rows in blocks that end where `cuts` say; stops or kills the node at the last one."""

    def __init__(self, rows: Raw, cuts: Sequence[int], end: int | None, flatten: bool) -> None:
        self.blocks = [Raw(part) for part in np.split(rows, list(cuts))]
        self.end = end
        self.flatten = flatten
        self.node: Node | None = None

    def read(self) -> Any:
        for number, block in enumerate(self.blocks):
            if number == self.end and self.node is not None:
                self.node.stop("the test is over", self.flatten)
            yield block
        if self.end is None:
            raise Killed


def record(
    folder: Path,
    catalog: Catalog,
    rows: Raw,
    cuts: Sequence[int],
    *,
    past: int = 0,
    end: int | None = None,
    flatten: bool = False,
    commands: dict[int, Command] | None = None,
    settings: Settings = PAPER,
) -> None:
    """One life of a paper run in `folder`, as `assembly.paper` puts it together.

    Args:
        cuts: where blocks end, beyond the rows of the `past`. end: the block after which the node
            is told to stop; None: it is killed when all were read.
    """
    with contextlib.ExitStack() as stack:
        journal = SqliteJournal(folder / "journal.sqlite", Durability.PROCESS)
        stack.callback(journal.close)
        tape = TapeWriter(folder / f"tape-{run_id(catalog)}", catalog)
        stack.callback(tape.close)
        source = _Cut(Raw(rows[past:]), cuts, end, flatten)
        feed = ReplayFeed(catalog, source.read(), TapeClock(), None)
        node = build(
            settings,
            catalog,
            feed,
            journal,
            Silent(),
            run_id("life", tape.rows),
            venue_log=folder / "venue.log",
            tape=tape,
            commands=_Said(commands or {}),
            feed_name=folder.name,
        )
        for desk in node.action.accounts:
            stack.callback(desk.venue.close)  # type: ignore[attr-defined]
        source.node = node
        node.perception.market.state.clock["tape"] = tape.rows
        if past:
            node.warm(Raw(rows[:past]))
        node.started = msgspec.structs.replace(node.started, first=tape.rows)
        with contextlib.suppress(Killed):
            node.run()
