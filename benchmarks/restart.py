"""A killed `seawall run` started again, after short and long lives: how long until it trades.

The lives are a node's own, with all it journals and with its exchange's log, on a market whose time
goes as fast as it can be made; at the end the process kills itself in the midst of an order's life.
"""

import hashlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.measure import Bench, Floor, Result, itself, nothing, repeat
from benchmarks.node import FLIP
from seawall.core.clock import SECOND, TapeClock
from seawall.core.events import Raw
from seawall.core.settings import Settings, load
from seawall.ingestion.replay import ReplayFeed
from seawall.ingestion.simulated import SimulatedMarket
from seawall.node.assembly import Silent, build
from seawall.node.books import Books
from seawall.risk.breakers import BREAKERS
from seawall.storage.journal import Durability, SqliteJournal
from seawall.storage.recorder import recover

SIZES = (100_000, 1_000_000, 10_000_000)  # rows of the journal
WHOLE = 1_000_000  # the longest that is also folded from its first row on
SNAPSHOT_ROWS = 10_000  # rows between two snapshots
TAIL = 9_000  # rows behind the last one at which a life may end
START = 1_700_000_040 * SECOND
MINUTES = 2  # of the market, which come again and again
BLOCK = 512  # rows of the market at a time
FLOOR = (Floor(3, "design, section 7", at_least=False),)
OURS = "benchmarks.restart"
VENUE = "seawall.venues.simulated.server"
JOURNAL = Path("simulated") / "journal.sqlite"
SAID = "trading"  # the line with which a node says that it trades
SETTINGS = f"""\
seed = 7
capital = 10000000

[feed]
name = "simulated"
cadence_ms = 100
hostile = "none"

[decision]
strategy = "{FLIP}"
minimum_hold_s = 0
deadband = 0

[risk]
max_position_size = 0.001
volatility_threshold = 10.0
drawdown_threshold = 0.5

[venue]
maker_fee_ppm = 0
taker_fee_ppm = 0
"""


def restart(bench: Bench) -> Iterator[Result]:
    """Kill -9, then the time from the start of the new process to its first decision."""
    for wanted in (2_000,) if bench.quick else SIZES:
        folder = bench.scratch / f"life-{wanted}"
        folder.mkdir()
        (folder / "seawall.toml").write_text(SETTINGS)
        yield from measured(folder, _lived(folder, wanted), bench.runs)
        shutil.rmtree(folder)


def measured(folder: Path, truth: str, runs: int) -> Iterator[Result]:
    """Of one life. truth: the state that it ended in."""
    with closing(SqliteJournal(folder / JOURNAL, Durability.PROCESS)) as journal:
        books = Books(BREAKERS)
        found = recover(journal, books.folds)
        on = f"{journal.rows:,} rows, the last {found.replayed:,} behind the snapshot"
        note = f"state {truth[:12]}, {_agreed(books, truth)}"
        if journal.rows < 2 * WHOLE:
            timed = repeat(1, nothing, partial(_folded, journal), itself)
            what = "all folds from the first row on, as without a snapshot"
            same = f"state {truth[:12]}, {_agreed(timed.outcomes[0], truth)}"
            yield Result("restart", what, on, "s", timed.wall, timed.cpu_median, note=same)
    start(folder, "")  # a killed run has a tape
    yield _line("its exchange in the same process", on, folder, "", runs, note)
    with tempfile.TemporaryDirectory(prefix="seawall-") as place:
        url = f"unix:{place}/venue"
        log = str(folder / "simulated" / "venue.log")
        command = [sys.executable, "-m", VENUE, "--listen", url, "--log", log]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **pipes) as venue:
            assert venue.stdout is not None
            venue.stdout.readline()
            try:
                yield _line("its exchange lives on beside it", on, folder, url, runs, note)
            finally:
                venue.terminate()


def _line(where: str, on: str, folder: Path, url: str, runs: int, note: str) -> Result:
    lived = [start(folder, url) for _ in range(runs)]
    wall, used = [one[0] for one in lived], statistics.median(one[1] for one in lived)
    what = f"seawall run after kill -9 until it trades, {where}"
    return Result("restart", what, on, "s", wall, used, FLOOR, note)


def _folded(journal: SqliteJournal, _: None) -> Books:
    books = Books(BREAKERS)
    for _seq, record in journal.read():
        for fold in books.folds:
            fold.apply(record)
    return books


def _agreed(books: Books, truth: str) -> str:
    return "as before" if _state(books) == truth else "NOT AS BEFORE"


def _lived(folder: Path, wanted: int) -> str:
    """Have a node live until its journal has so many rows; the state in which it was killed."""
    command = [sys.executable, "-m", OURS, str(folder), str(wanted)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the life of {wanted:,} rows ended by itself: {done.stdout}")
    return done.stdout.strip()


def start(folder: Path, url: str) -> tuple[float, float]:
    """Start it, kill it as soon as it trades; seconds until then by wall clock and of CPU."""
    flags = ["--config", str(folder / "seawall.toml"), "--data-dir", str(folder), "--port", "0"]
    flags += ["--venue-url", url] if url else []
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "seawall", "run", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            if line.startswith(SAID):
                break
        else:
            process.wait()
            raise RuntimeError(f"seawall run did not trade: {''.join(told)}")
        took = time.perf_counter() - began
        process.kill()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = -signal.SIGKILL
    return took, used.ru_utime + used.ru_stime


def _state(books: Books) -> str:
    states = {fold.name: fold.state() for fold in books.folds}
    return hashlib.sha256(msgspec.msgpack.encode(states)).hexdigest()


# --- a life ---


def live(folder: Path, wanted: int) -> None:
    """A node on the market of a few minutes, again and again; it never returns."""
    market = SimulatedMarket(7, START)
    names = ",".join(each.name for each in market.catalog.instruments)
    flags: dict[str, Any] = {"data_dir": folder, "decision.instruments": names}
    settings: Settings = load(folder / "seawall.toml", flags, {})
    journal = SqliteJournal(folder / JOURNAL, Durability.PROCESS)

    def ended() -> bool:
        deep = journal.rows % SNAPSHOT_ROWS >= TAIL
        return journal.rows >= wanted and (deep or wanted < SNAPSHOT_ROWS)

    def dies() -> None:
        print(_state(node.action.books), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    node = build(
        settings,
        market.catalog,
        ReplayFeed(market.catalog, _again(market, ended, dies), TapeClock(), None),
        journal,
        Silent(),
        "life",
        venue_log=folder / "simulated" / "venue.log",
        feed_name="simulated",
        strict=True,
        eager=False,
    )
    node.run()


def _again(
    market: SimulatedMarket, ended: Callable[[], bool], dies: Callable[[], None]
) -> Iterator[Raw]:
    """The first minutes of the market, without end."""
    span = MINUTES * 60 * SECOND
    rows = market.record(span)
    numbers = int(rows["sequence"].max()) + 1
    while True:
        for at in range(0, len(rows), BLOCK):
            yield Raw(rows[at : at + BLOCK].copy())
            if ended():
                dies()
        rows["recv_ts"] += span
        rows["exch_ts"] += span
        rows["sequence"] += numbers
        rows["previous"][rows["previous"] >= 0] += numbers


if __name__ == "__main__":
    live(Path(sys.argv[1]), int(sys.argv[2]))
