"""A paper run of real processes that can be killed at any point: the node, and its exchange."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random

from tests.house import ROOT

PATIENCE = 240.0  # seconds until a condition must have come true, on a busy machine
SETTINGS = """
[feed]
cadence_ms = 50
outages_per_hour = 0
[estimation]
halflife_s = 1
volatility_halflife_s = 1
[decision]
trend_fast_s = 1
trend_slow_s = 2
order_flow_halflife_s = 1
deadband = 0
minimum_hold_s = 0
[risk]
volatility_threshold = 10
drawdown_threshold = 0.5
"""  # some two hundred orders a second
NEWEST = "SELECT seq FROM journal ORDER BY seq DESC LIMIT 1"
CAME = "SELECT seq FROM journal WHERE seq > ? AND kind = ? LIMIT 1"
CREATED = "SELECT max(seq), sum(kind = 'order_created') FROM journal WHERE seq > ?"


class Run:
    """One paper run with all its lives.

    Args:
        folder: of the settings and of all stores.
        socket: where the exchange listens; None: it is in the node's process.
        seed: of the moments at which something dies, and of the market.
    """

    def __init__(self, folder: Path, socket: Path | None, seed: int) -> None:
        self.folder = folder
        self.data = folder / "data" / "simulated"
        self.journal = self.data / "journal.sqlite"
        self.log = folder / "venue.log" if socket else self.data / "venue.log"
        self.random = Random(seed)
        self.seed = seed
        self.lives = 0
        self._socket = socket
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._counted = (0, 0)  # rows of the journal, and orders created in them
        (folder / "seawall.toml").write_text(SETTINGS)

    # --- processes ---

    def start_node(self) -> None:
        arguments = ["-m", "seawall", "run", "--feed", "simulated", "--no-dashboard"]
        arguments += ["--config", str(self.folder / "seawall.toml"), "--seed", str(self.seed)]
        arguments += ["--data-dir", str(self.folder / "data")]
        if self._socket:
            arguments += ["--venue-url", f"unix:{self._socket}"]
        self._start("node", arguments)
        self.lives += 1

    def start_venue(self) -> None:
        module = "seawall.venues.simulated.server"
        listen = ["--listen", f"unix:{self._socket}", "--log", str(self.log)]
        self._start("venue", ["-m", module, *listen])

    def _start(self, name: str, arguments: list[str]) -> None:
        with (self.folder / f"{name}.out").open("a") as out:
            self._processes[name] = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, stdout=out, stderr=out, text=True
            )

    def words(self, name: str) -> str:
        """What a process has said in all its lives."""
        return (self.folder / f"{name}.out").read_text()

    def kill(self, *names: str) -> None:
        """kill -9, all at once."""
        for name in names:
            self._alive(name).kill()
        for name in names:
            assert self._processes[name].wait(PATIENCE) == -signal.SIGKILL

    def stop(self, name: str) -> float:
        """SIGTERM; how many seconds it took to end in order."""
        process = self._alive(name)
        began = time.monotonic()
        process.terminate()
        assert process.wait(PATIENCE) == 0, self.words(name)
        return time.monotonic() - began

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def _alive(self, name: str) -> subprocess.Popen[str]:
        process = self._processes[name]
        assert process.poll() is None, self.words(name)
        return process

    # --- conditions ---

    def until(self, what: str, met: Callable[[], bool]) -> None:
        """Wait for a condition while the node lives."""
        node = self._alive("node")
        deadline = time.monotonic() + PATIENCE
        while not met():
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.words('node')}"
            with suppress(subprocess.TimeoutExpired):
                code = node.wait(0.02)
                raise AssertionError(f"the node ended with {code}: {self.words('node')}")

    @property
    def orders(self) -> int:
        """Orders ever created."""
        rows, orders = self._counted
        with suppress(sqlite3.OperationalError), closing(self._reader()) as file:  # none yet
            last, more = file.execute(CREATED, (rows,)).fetchone()
            if last:
                self._counted = last, orders + more
        return self._counted[1]

    def _reader(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.journal.as_uri()}?mode=ro", uri=True)

    @property
    def taped(self) -> int:
        """Bytes of all tapes: they grow while the node lives."""
        return sum(f.stat().st_size for f in self.data.glob("tape-*/*") if f.is_file())

    def trade(self) -> None:
        """Let it trade on for a random while, some tens to some hundreds of orders."""
        goal = self.orders + self.random.randint(5, 80)
        self.until("orders", lambda: self.orders >= goal)

    def await_moment(self) -> None:
        """Until an instant after some step of an order's way.

        The journal has a new row of some kind (a change to SENT is written before the order
        leaves, with all of its boundary), or the exchange's log has grown (the order is accepted,
        or something was reported).
        """
        step = self.random.choice(("order_changed", "approved", "fill", "log", "log"))
        deadline = time.monotonic() + PATIENCE
        with closing(self._reader()) as file:
            file.execute("PRAGMA busy_timeout=5000")
            start, logged = file.execute(NEWEST).fetchone()[0], self.log.stat().st_size
            while True:  # no pause: the moment lasts some microseconds
                if step == "log" and self.log.stat().st_size > logged:
                    return
                if step != "log" and file.execute(CAME, (start, step)).fetchone():
                    return
                assert time.monotonic() < deadline, f"no {step}: {self.words('node')}"
                self._alive("node")
