"""The live path: from rows of the live feed to an order's bytes at an exchange, with ccxt between.

The node is the one of `seawall run --mode live`; the exchange is `seawall exchange`, a process of
its own, which plays a simulated market at its pace. What came and when is noted by a relay before
it, so the time spent in ccxt and its network thread is in the figure and the exchange's is not.
"""

import contextlib
import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.exchange import Running, practice
from benchmarks.measure import Bench, Result, percentile
from benchmarks.node import CALM, FLIP
from seawall.core.collecting import keep_all
from seawall.core.errors import DataError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.orders import Order
from seawall.core.ports import Feed
from seawall.core.settings import DecisionSettings, FeedSettings, LiveSettings, Settings
from seawall.node import assembly
from seawall.node.live import live as live_node
from seawall.venues.ccxt.venue import CcxtVenue

GROUP = "live"
SYMBOL = "BTC/USDT:USDT"
CADENCE_MS = 100
ORDERS = 250  # of a run
RUNS = 3  # at most: each takes half a minute of real time
LONGEST = 90.0  # s of a run, however few its orders


def live(bench: Bench) -> Iterator[Result]:
    """Latency of single orders, journal synced: up to ccxt, and up to the exchange."""
    runs = [_run(bench.scratch / f"live-{at}", ORDERS) for at in range(min(bench.runs, RUNS))]
    orders = min(len(there) for _, there in runs)
    if not orders:
        raise DataError(f"no order has reached the practice exchange within {LONGEST:g} s")
    on = f"{orders:,} orders, ccxt {SYMBOL} at `seawall exchange`, frames every {CADENCE_MS} ms"
    ways = ("order handed to the client", "request's bytes at the exchange")
    for way, what in enumerate(ways):
        for share in (0.5, 0.99):
            values = [percentile(run[way], share) / 1e6 for run in runs]
            name = f"rows that close a frame → {what}, synced, p{share * 100:g}"
            yield Result(GROUP, name, on, "ms", values)


class Marked:
    """A feed that notes when it handed rows to the node; ends when enough has been measured."""

    def __init__(self, feed: Feed, enough: Callable[[], bool]) -> None:
        self.came = 0  # ns
        self._feed, self._enough = feed, enough
        self._end = time.monotonic() + LONGEST

    @property
    def catalog(self) -> Catalog:
        """See Feed."""
        return self._feed.catalog

    def read(self, timeout: float) -> Raw | None:
        """See Feed."""
        if self._enough() or time.monotonic() > self._end:
            return None
        rows = self._feed.read(timeout)
        self.came = time.perf_counter_ns()
        return rows

    def close(self) -> None:
        """See Feed."""
        self._feed.close()


class Secrets:
    """The keys of the practice exchange."""

    def __init__(self, running: Running) -> None:
        self._known = {"binance-api-key": running.key, "binance-api-secret": running.secret}

    def get(self, name: str) -> str | None:
        """See ports.Secrets."""
        return self._known.get(name)


def _run(folder: Path, count: int) -> tuple[list[int], list[int]]:
    """ns up to the client, and up to the exchange, ascending; of the same orders."""
    came: dict[str, int] = {}
    handed: dict[str, int] = {}
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(practice(folder / "exchange"))
        notes = folder / "notes"
        port = stack.enter_context(_relay(running.port, notes))
        settings = _settings(folder, port)
        node = live_node(settings, Secrets(running), assembly.Silent(), lambda _: None, stack)
        feed = Marked(node.ports.feed, lambda: len(came) >= count)
        node.ports.feed = feed
        venue = node.ports.venue
        assert isinstance(venue, CcxtVenue)
        place = venue.place

        def noted(order: Order) -> None:
            came[order.client_id] = feed.came
            place(order)
            handed[order.client_id] = time.perf_counter_ns()

        venue.place = noted  # type: ignore[method-assign]
        keep_all()  # as `seawall run`
        node.run()
        gc.unfreeze()
        there = dict(line.split() for line in notes.read_text().splitlines())
    seen = [name for name in there if name in handed]
    return (
        sorted(handed[name] - came[name] for name in seen),
        sorted(int(there[name]) - came[name] for name in seen),
    )


@contextmanager
def _relay(port: int, notes: Path) -> Iterator[int]:
    """A relay before this port; the port that it listens on."""
    command = [sys.executable, "-m", "benchmarks.relay", str(port), str(notes)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(30)


def _settings(folder: Path, port: int) -> Settings:
    return Settings(
        mode="live",
        data_dir=folder,
        feed=FeedSettings(name="live", cadence_ms=CADENCE_MS, symbols=(SYMBOL,)),
        decision=DecisionSettings(strategy=FLIP, deadband=0, minimum_hold_s=0),
        risk=CALM,
        live=LiveSettings(
            exchange="binance", product="linear", url=f"http://127.0.0.1:{port}", dead_man="off"
        ),
    )
