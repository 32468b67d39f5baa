"""Twice the tape costs twice the work and no more memory: counted, not timed.

The times and the memory of ten million rows are measured in benchmarks/growth.py.
"""

import contextlib
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seawall.core.clock import SECOND, TapeClock
from seawall.core.events import Raw
from seawall.ingestion.replay import ReplayFeed
from seawall.node.assembly import Silent, build
from seawall.node.node import Node
from seawall.storage.journal import Durability, SqliteJournal
from tests.node.short_runs import QUICK, tape

SECONDS = 40
BLOCK = 2_000
LONGEST = 8  # times that the tape comes
REMEMBERED = 4_000  # bytes that the simulated exchange, and it alone, keeps of an order for ever


def repeated(times: int) -> Iterator[Raw]:
    """The tape so many times, one after the other, in blocks of which none is kept."""
    _, rows = tape(SECONDS)
    span = int(rows["recv_ts"][-1]) - int(rows["recv_ts"][0]) + SECOND
    numbers = int(rows["sequence"].max()) + 1
    for number in range(times):
        for at in range(0, len(rows), BLOCK):
            part = rows[at : at + BLOCK].copy()
            part["recv_ts"] += number * span
            part["exch_ts"] += number * span
            part["sequence"] += number * numbers
            part["previous"][part["previous"] >= 0] += number * numbers
            yield Raw(part)


@contextlib.contextmanager
def node_over(times: int, folder: Path) -> Iterator[Node]:
    """A node before its run, its journal on disk."""
    catalog, _ = tape(SECONDS)
    folder.mkdir()
    journal = SqliteJournal(folder / "journal.sqlite", Durability.PROCESS)
    with contextlib.closing(journal):
        feed = ReplayFeed(catalog, repeated(times), TapeClock(), None)
        yield build(QUICK, catalog, feed, journal, Silent(), "growth", strict=True, eager=False)


def calls(times: int, folder: Path) -> tuple[int, int]:
    """Calls of functions, and orders, of a run."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    with node_over(times, folder) as node:
        sys.setprofile(seen)
        try:
            summary = node.run()
        finally:
            sys.setprofile(None)
    return count, summary.orders


def peak(times: int, folder: Path) -> tuple[int, int]:
    """Bytes that a run has held at most, beyond what was there before it; and its orders."""
    with node_over(times, folder) as node:
        tracemalloc.start()
        try:
            orders = node.run().orders
            return tracemalloc.get_traced_memory()[1], orders
        finally:
            tracemalloc.stop()


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the longest run needs is loaded: its code would count as memory of the run."""
    with node_over(LONGEST, tmp_path_factory.mktemp("warm") / "run") as node:
        node.run()


def test_twice_the_tape_and_the_orders_take_twice_the_calls(tmp_path: Path) -> None:
    once, orders = calls(2, tmp_path / "once")
    twice, more = calls(4, tmp_path / "twice")
    assert orders > 20
    assert more > 1.5 * orders
    assert twice <= 2.2 * once


def test_a_longer_tape_takes_no_more_memory(tmp_path: Path) -> None:
    once, orders = peak(2, tmp_path / "once")
    long, more = peak(LONGEST, tmp_path / "long")
    assert long <= 1.1 * once + REMEMBERED * (more - orders)
