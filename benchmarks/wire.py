"""From a row of the tape to the bytes of an order, and how many orders a second a node sustains.

The node is the one of a paper run: it acts at every boundary, writes tape and journal, and its
exchange is a process of its own behind a loopback socket. Its market is a simulated one, told as
fast as the node takes it, but for a pause before each row whose latency counts.
"""

import contextlib
import gc
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.measure import Bench, Floor, Result, percentile
from benchmarks.node import CALM, FLIP
from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.collecting import keep_all
from seawall.core.errors import DataError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.orders import Order
from seawall.core.records import FillBooked, OrderCreated
from seawall.core.settings import (
    DecisionSettings,
    FeedSettings,
    Settings,
    VenueSettings,
)
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import TapeWriter
from seawall.node import assembly, division
from seawall.node.exchange import venue_shape
from seawall.node.node import Node
from seawall.storage.journal import Durability, JournalReader, SqliteJournal
from seawall.venues.simulated.client import RemoteVenue

GROUP = "wire"
CADENCE_MS = 100
WARM = 3_000  # rows of a run before the first that is measured
PAUSE = 0.002  # s before a row that closes a frame, in which nothing is to be done
SYNCED = (Floor(2.0, "design, section 7", at_least=False),)
UNSYNCED = (Floor(0.4, "design, section 7", at_least=False),)
SUSTAINED = (Floor(1000, "issue 5"),)
SLEEVES = 32  # strategies of the run with many orders; each turns around in every asset
FREE = VenueSettings(maker_fee_ppm=0, taker_fee_ppm=0)  # else the money ends before the tape


def wire(bench: Bench) -> Iterator[Result]:
    """Latency of single orders, synced and not, beside the disk's own sync; then many orders."""
    orders = 20 if bench.quick else 2_200
    market = SimulatedMarket(1, data.START)
    rows = market.record((orders + 20) * CADENCE_MS * MILLISECOND)
    for durability, floors in ((Durability.SYNCED, SYNCED), (Durability.PROCESS, UNSYNCED)):
        yield from _latency(bench, market.catalog, rows, durability, floors)
    yield from _sustained(bench, SimulatedMarket(1, data.START))


# --- latency ---


class Feed:
    """A tape in pieces: a row that closes a frame comes alone, at a known time.

    Attributes:
        came: ns at which the last such row was handed to the node, by the clock and of this
            thread's CPU time. closed: how many there were.
    """

    def __init__(self, catalog: Catalog, rows: Raw, pause: float, seconds: float = 1e9) -> None:
        self.catalog = catalog
        self.came = 0, 0
        self.closed = 0
        self._pause = pause
        self._seconds = seconds
        self._end = 0.0
        closing = np.flatnonzero(np.diff(rows["recv_ts"] // (CADENCE_MS * MILLISECOND))) + 1
        self._pieces = self._cut(rows, closing)

    def _cut(self, rows: Raw, closing: "np.ndarray[Any, Any]") -> Iterator[tuple[Raw, bool]]:
        yield Raw(rows[: closing[0]]), False
        for first, last in zip(closing, [*closing[1:], len(rows)], strict=True):
            yield Raw(rows[first : first + 1]), True
            yield Raw(rows[first + 1 : last]), False

    def read(self, timeout: float) -> Raw | None:
        """The next piece that has rows, until the time is over."""
        self._end = self._end or time.monotonic() + self._seconds
        for rows, closes in self._pieces:
            if len(rows) and time.monotonic() < self._end:
                if closes and self._pause:
                    time.sleep(self._pause)
                self.closed += closes
                used = time.thread_time_ns()
                self.came = time.perf_counter_ns(), used  # the clock is read last here, first there
                return rows
        return None

    def close(self) -> None:
        """Nothing is held."""


class Stamped:
    """A socket that notes when the bytes of an order were handed to the system."""

    def __init__(self, socket: Any, venue: "Watched") -> None:
        self._socket, self._venue = socket, venue

    def sendall(self, data: bytes) -> None:
        """See socket.socket; the bytes are the kernel's when it returns."""
        self._socket.sendall(data)
        self._venue.written()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class Watched(RemoteVenue):
    """The simulated exchange behind its socket; notes how long each order was under way to it."""

    feed: Feed

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.waited: list[int] = []  # ns
        self.worked: list[int] = []  # ns of CPU time
        self._placing = False

    def place(self, order: Order) -> None:
        self._placing = True
        super().place(order)

    def written(self) -> None:
        """The request has left."""
        if self._placing:
            now, used = time.perf_counter_ns(), time.thread_time_ns()
            self.waited.append(now - self.feed.came[0])
            self.worked.append(used - self.feed.came[1])
        self._placing = False

    def _connected(self) -> Any:
        connection = super()._connected()
        return Stamped(connection, self) if self._placing else connection


def _latency(
    bench: Bench, catalog: Catalog, rows: Raw, durability: Durability, floors: tuple[Floor, ...]
) -> Iterator[Result]:
    settings = _settings((FLIP,), (catalog.instruments[0].name,))
    runs, works, syncs = [], [], []
    for number in range(0 if bench.quick else -1, bench.runs):
        folder = bench.scratch / f"wire-{durability.value}-{number}"
        with _exchange(folder) as address:
            feed = Feed(catalog, rows if number >= 0 else Raw(rows[:WARM]), PAUSE)
            node, venue = _node(settings, feed, folder, durability, address)
            venue.feed = feed
            keep_all()  # as `seawall run`
            node.run()
            venue.close()
        gc.unfreeze()
        if number < 0:
            continue  # that one has loaded the kernels
        runs.append(sorted(venue.waited))
        works.append(sorted(venue.worked))
        syncs.append(_disk(folder, len(runs[-1]) if durability is Durability.SYNCED else 0))
    on = f"{len(runs[0]):,} orders, simulated market, frames every {CADENCE_MS} ms"
    for share, held in ((0.5, ()), (0.99, floors)):
        values = [percentile(waited, share) / 1e6 for waited in runs]
        cpu = statistics.median(percentile(worked, share) / 1e6 for worked in works)
        what = f"row that closes a frame → order written to the socket, {durability.value}"
        yield Result(GROUP, f"{what}, p{share * 100:g}", on, "ms", values, cpu, held)
        if durability is Durability.SYNCED:
            values = [percentile(waited, share) / 1e6 for waited in syncs]
            yield Result(
                GROUP, f"the disk's own append + fsync, p{share * 100:g}", on, "ms", values
            )


def _disk(folder: Path, times: int) -> list[int]:
    """ns of plain appends of 1,000 bytes, each synced, ascending; at the pace of the rows, since a
    disk that was left alone for a while answers more slowly than a busy one."""
    spent = []
    file = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(times):
        time.sleep(PAUSE)
        began = time.perf_counter_ns()
        os.write(file, bytes(1_000))
        os.fsync(file)
        spent.append(time.perf_counter_ns() - began)
    os.close(file)
    return sorted(spent)


# --- many orders ---


@dataclass
class Sustained:
    """What one run came to. wrong: where ledger and venue differ, or what was lost."""

    orders: int
    seconds: float
    cpu: float
    boundaries: int
    wrong: list[str]


def _sustained(bench: Bench, market: SimulatedMarket) -> Iterator[Result]:
    """All orders of all strategies at every boundary, for at least ten seconds."""
    seconds = 2.0 if bench.quick else 12.0
    rows = market.record(round((20 if bench.quick else 240) * SECOND))
    names = [f"{FLIP} name=flip{number} share={1 / SLEEVES}" for number in range(SLEEVES)]
    for where in ("in the node's process", "in a process of its own"):
        runs = []
        for number in range(bench.runs):
            folder = bench.scratch / f"sustained-{where.split()[-1]}-{number}"
            with contextlib.ExitStack() as stack:
                remote = where.endswith("own")
                address = stack.enter_context(_exchange(folder)) if remote else ""
                feed = Feed(market.catalog, rows, 0.0, seconds)
                settings = _settings((), (), tuple(names), address)
                runs.append(_run(settings, feed, folder, address))
        assets = len(market.shape.assets)
        on = f"{SLEEVES} strategies on {assets} assets, exchange {where}"
        wrong = [text for run in runs for text in run.wrong]
        note = (
            f"{runs[0].orders:,} orders at {runs[0].boundaries:,} boundaries in "
            f"{runs[0].seconds:.1f} s; " + ("; ".join(wrong) or "ledger = venue, nothing lost")
        )
        yield Result(
            GROUP,
            "orders sustained, journal synced",
            on,
            "orders/s",
            [run.orders / run.seconds for run in runs],
            sorted(run.orders / run.cpu for run in runs)[len(runs) // 2],
            SUSTAINED,
            note,
        )


def _run(settings: Settings, feed: Feed, folder: Path, address: str) -> Sustained:
    node, venue = _node(settings, feed, folder, Durability.SYNCED, address)
    began, used = time.perf_counter(), time.process_time()
    node.run()
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    books = node.action.books
    wrong = [*node.action.disagreements(), *books.orders.open]
    told = venue.fills(0)
    books.ledger.conservation()
    venue.close()
    with contextlib.closing(JournalReader(folder / "journal.sqlite")) as kept:
        kinds = Counter(type(record) for _, record in kept.read())
    if kinds[FillBooked] != len(told) or books.tally.halted:
        wrong.append(f"{len(told)} fills there, {kinds[FillBooked]} here {books.tally.halted}")
    return Sustained(kinds[OrderCreated], seconds, cpu, feed.closed, wrong)


# --- a node ---


def _settings(
    strategy: Sequence[str],
    instruments: tuple[str, ...],
    several: tuple[str, ...] = (),
    url: str = "",
) -> Settings:
    decision = DecisionSettings(
        strategy=strategy[0] if strategy else "rules",
        strategies=several,
        instruments=instruments,
        deadband=0,
        minimum_hold_s=0,
    )
    return Settings(
        mode="paper",
        feed=FeedSettings(name="simulated", cadence_ms=CADENCE_MS),
        decision=decision,
        risk=CALM,
        venue=FREE.model_copy(update={"url": url}),
    )


def _node(
    settings: Settings, feed: Feed, folder: Path, durability: Durability, address: str
) -> tuple[Node, Any]:
    """A node as `seawall run` builds it, on this feed; its clock is the tape's."""
    opened: list[Any] = []

    def exchange(_: Any, catalog: Catalog, balances: Any, clock: Any, log: Any, after: int) -> Any:
        if address:
            shape = venue_shape(settings, catalog, balances)
            opened.append(Watched(address, catalog, shape, clock, after))
        else:
            opened.append(division.venue_of(settings, catalog, balances, clock, log, after))
        return opened[0]

    node = assembly.build(
        settings,
        feed.catalog,
        feed,
        SqliteJournal(folder / "journal.sqlite", durability),
        assembly.Silent(),
        "benchmark",
        venue_log=folder / "venue.log",
        tape=TapeWriter(folder / "tape", feed.catalog),
        feed_name="simulated",
        exchange=exchange,
    )
    if address:
        opened[0].feed = feed
    return node, opened[0]


@contextlib.contextmanager
def _exchange(folder: Path) -> Iterator[str]:
    """The simulated exchange's process, until the measurement is over."""
    folder.mkdir(parents=True)
    place = f"unix:{folder}/venue"
    command = [sys.executable, "-m", "seawall.venues.simulated.server", "--listen", place]
    process = subprocess.Popen(
        [*command, "--log", str(folder / "remote.log")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        if not process.stdout.readline().startswith("ready"):
            raise DataError("the simulated exchange has not started; see what it said")
        yield place
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
