"""Deposits in a journal, a fold that counts them, and processes that write them and die."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from seawall.core.errors import InvariantError
from seawall.core.records import AnyRecord, Deposited
from seawall.storage import Durability, SqliteJournal


class Tally:
    """A fold that counts rows and adds up deposits."""

    name = "tally.1"

    def __init__(self) -> None:
        self.rows = 0
        self.total = 0

    def apply(self, record: AnyRecord) -> None:
        self.rows += 1
        if isinstance(record, Deposited):
            if record.asset == "POISON":
                raise InvariantError("poison was deposited")
            self.total += record.amount

    def state(self) -> Any:
        return [self.rows, self.total]

    def restore(self, state: Any) -> None:
        self.rows, self.total = state


def deposit(n: int) -> Deposited:
    return Deposited(ts=n, asset="USDT", amount=n)


def opened(path: Path, durability: Durability = Durability.PROCESS) -> SqliteJournal:
    return SqliteJournal(path, durability)


@contextmanager
def interpreter(script: str) -> Iterator[tuple[IO[str], IO[str]]]:
    """One that runs a script which has `folder` as the place of this file; its input and output."""
    here = Path(__file__).parent
    command = [sys.executable, "-c", script.format(folder=str(here))]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=here.parents[1], text=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdin, process.stdout
        process.stdin.close()
