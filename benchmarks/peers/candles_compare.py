"""Half a year of one-minute candles against Jesse and vectorbt: the same rule, fills compared.

All get the same candles: the recorded minutes set end to end, without the gaps of the venue's
outages. What the peers do not know is taken out of the way: the ticks are so fine that a spread of
one costs next to nothing, and every bar has volume enough for any order.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import data
from benchmarks.measure import Bench, Floor, Result, Timings, figure
from benchmarks.node import CALM
from benchmarks.peers import environments, talking
from benchmarks.peers.environments import Half, Peer, Told, peak
from benchmarks.perception import backtest_settings
from seawall.core.clock import MILLISECOND, MINUTE, TapeClock
from seawall.core.errors import DataError
from seawall.core.events import Raw
from seawall.core.records import FillBooked
from seawall.core.settings import DecisionSettings, Settings, VenueSettings
from seawall.decision.orchestrator import OrchestratorShape
from seawall.ingestion.replay import ReplayFeed
from seawall.ingestion.tables import Imported
from seawall.ingestion.tape import open_tape, write_tape
from seawall.lab.research.evaluation import Plan, account_of
from seawall.lab.research.market import load
from seawall.node import assembly
from seawall.node.research import following_of, perceive
from seawall.storage.journal import MemoryJournal

JESSE, VECTORBT = "3.5.3", "1.2.0"
PEERS = {
    "jesse": Peer("Jesse", (f"jesse=={JESSE}",), ("3.11", "3.12")),
    "vectorbt": Peer("vectorbt", (f"vectorbt=={VECTORBT}",), ("3.11", "3.12")),
}
START = 1_514_764_800_000_000_000  # 2018-01-01, ns UTC; a boundary of every timeframe
FAST, SLOW = 50, 200  # candles
EVERY = {1: "a decision every minute", 240: "a decision every 4 h"}
FEE_PPM = 500
FINER, VOLUME = 10, 10**10  # ticks in one of before; lots of every candle
SELDOM = str(Path(__file__).with_name("candles_seldom.py"))
GRID = [(fast, slow) for fast in range(10, 60, 5) for slow in range(80, 280, 20)]
CROSS = "moving_average_cross"
OURS = "benchmarks.peers.candles_compare"
FLOORS = (Floor(2.0, "design, section 7"),)


def jesse(bench: Bench) -> Iterator[Result]:
    """Their fast mode, with a decision at every candle and at every 240th."""
    for both, on in _at_work(bench, "jesse"):
        theirs, ours = both
        for every, words in EVERY.items():
            our, their = environments.in_turns(bench, (ours, str(every)), (theirs, str(every)))
            yield _seconds("jesse", f"whole node, {words}", on, our)
            yield _seconds("jesse", f"Jesse {JESSE} fast mode, {words}", on, their)
            walls, cpu = environments.ratios(their, our)
            what = f"whole node over Jesse {JESSE} fast mode, {words}"
            folder = bench.scratch / "candles-jesse"
            note = f"{_same(folder, 'jesse', every, our, their)}; {_memory(our, their)}"
            yield Result("jesse", what, on, "×", walls, cpu, FLOORS, note)


def vectorbt(bench: Bench) -> Iterator[Result]:
    """One set against the whole node; a grid of sets against the tier that is made for it."""
    folder = bench.scratch / "candles-vectorbt"
    for both, on in _at_work(bench, "vectorbt"):
        theirs, ours = both
        our, their = environments.in_turns(bench, (ours, "1"), (theirs, "one"))
        yield _seconds("vectorbt", "whole node, one set", on, our)
        yield _seconds("vectorbt", f"vectorbt {VECTORBT}, one set", on, their)
        walls, cpu = environments.ratios(their, our)
        note = f"{_same(folder, 'vectorbt', 1, our, their)}; {_memory(our, their)}"
        what = f"over vectorbt {VECTORBT}"
        yield Result("vectorbt", f"whole node {what}, one set", on, "×", walls, cpu, (), note)
        our, their = environments.in_turns(bench, (ours, "grid"), (theirs, "grid"))
        many = f"{on}, {len(GRID)} sets"
        yield _seconds("vectorbt", "fast tier, perceived before", many, our)
        yield _seconds("vectorbt", f"vectorbt {VECTORBT}, pieces of the grid", many, their)
        walls, cpu = environments.ratios(their, our)
        note = f"{_grids(our, their)}; {_memory(our, their)}"
        yield Result("vectorbt", f"fast tier {what}, a grid", many, "×", walls, cpu, (), note)


def _at_work(bench: Bench, name: str) -> Iterator[tuple[tuple[Half, Half], str]]:
    """Both halves and what they work on; nothing where the peer cannot be had."""
    try:
        python = environments.environment(PEERS[name])
    except DataError as error:
        print(f"{error}; left out", file=sys.stderr)
        return
    folder = bench.scratch / f"candles-{name}"
    read, label = data.minutes(bench)
    job = _job(_end_to_end(read), folder)
    half = Path(__file__).with_name(f"{name}_half.py")
    with environments.halves([python, half], OURS, job, folder / "job.json") as both:
        yield both, f"{label}, set end to end: {len(read.rows) // 4:,} candles"


def _end_to_end(read: Imported) -> Imported:
    """The same candles, each right after the one before, in finer ticks and with much volume."""
    rows = read.rows.copy()
    number = np.arange(len(rows)) // 4
    rows["exch_ts"] = START + number * MINUTE
    rows["recv_ts"] = rows["exch_ts"] + MINUTE
    rows["price"] *= FINER
    rows["size"] = VOLUME
    (given,) = read.catalog.instruments
    tick = format(Decimal(given.tick) / FINER, "f")
    listed = msgspec.structs.replace(given, tick=tick, settle_decimals=12)
    catalog = msgspec.structs.replace(read.catalog, instruments=(listed,))
    return replace(read, catalog=catalog, rows=rows)


def _job(read: Imported, folder: Path) -> dict[str, Any]:
    """What the halves are to do."""
    write_tape(folder / "tape", read.catalog, read.rows)
    (instrument,) = read.catalog.instruments
    opened, high, low, close = (read.rows["price"][at::4] for at in range(4))
    prices = [column * instrument.tick_float for column in (opened, close, high, low)]
    volume = read.rows["size"][3::4] * instrument.lot_float
    times = read.rows["exch_ts"][::4] // MILLISECOND
    candles = np.column_stack([times, *np.round(prices, 8), volume]).astype(np.float64)
    np.save(folder / "candles.npy", candles)
    settings = _settings(folder / "tape", 1)
    cap = assembly.SHARE * settings.risk.max_position_size
    return {
        "tape": str(folder / "tape"),
        "candles": str(folder / "candles.npy"),
        "out": str(folder),
        "fast": FAST,
        "slow": SLOW,
        "grid": GRID,
        "share": cap * OrchestratorShape().uncorroborated,  # of equity; one source cannot vote
        "cap": cap,  # what the fast tier takes
        "capital": float(settings.capital),
        "fee": FEE_PPM / 1e6,
        "core": environments.core(),
    }


def _settings(tape: Path, every: int) -> Settings:
    """The node's, with a venue like theirs: all at the close, one fee, no breaker that opens."""
    own = every > 1
    parameters = (f"fast={FAST}", f"slow={SLOW}", *((f"every={every}",) if own else ()))
    decision = DecisionSettings(
        strategy=SELDOM if own else CROSS, parameters=parameters, minimum_hold_s=0, deadband=0.4
    )
    venue = VenueSettings(
        taker_fee_ppm=FEE_PPM,
        half_spread_ppm=0,
        bar_participation=1.0,
        entry_latency_ms=0,
        response_latency_ms=0,
    )
    return backtest_settings(tape, 1000).model_copy(
        update={
            "decision": decision,
            "venue": venue,
            "risk": CALM.model_copy(update={"flash_crash_threshold": 0.5}),
            "data_dir": tape.parent,
        }
    )


# --- what it came to ---


def _seconds(group: str, what: str, on: str, timed: Timings[Told]) -> Result:
    return Result(group, what, on, "s", timed.wall, timed.cpu_median)


def _memory(our: Timings[Told], their: Timings[Told]) -> str:
    return f"at most {peak(our)} and {peak(their)} of memory"


def _same(folder: Path, name: str, every: int, our: Timings[Told], their: Timings[Told]) -> str:
    """Fills at the same moments, sides and prices; how far apart their sizes; fees and results."""
    mine, other = np.load(folder / f"ours-{every}.npy"), np.load(folder / f"{name}-{every}.npy")
    _, left, right = np.intersect1d(mine[:, 0], other[:, 0], return_indices=True)
    one, two = mine[left], other[right]
    alike = np.sign(one[:, 1]) == np.sign(two[:, 1])
    size, price = (np.abs(one[:, at] / two[:, at] - 1.0).max(initial=0.0) for at in (1, 2))
    return (
        f"{len(mine):,} and {len(other):,} fills, {int(alike.sum()):,} of one moment and side, "
        f"prices within {price:.0e} and sizes within {size:.0e}, fees {mine[:, 3].sum():,.2f} and "
        f"{other[:, 3].sum():,.2f}, result {our.outcomes[0]['result']:,.2f} and "
        f"{their.outcomes[0]['result']:,.2f}"
    )


def _grids(our: Timings[Told], their: Timings[Told]) -> str:
    """How far the sets' results lie apart, and what perceiving them once has cost before."""
    mine, other = (np.array(timed.outcomes[0]["values"]) for timed in (our, their))
    apart = np.abs(mine - other) / float(Settings().capital) * 1e4
    order = np.corrcoef(mine.argsort().argsort(), other.argsort().argsort())[0, 1]
    spent = statistics.median(told["perceived"] for told in our.outcomes)
    return (
        f"results within {apart.max():.2f} bps of the capital, ranks {order:.4f}; "
        f"perception {figure(spent)} s of CPU, once"
    )


# --- our half ---


class Ours:
    """The tape, and runs over it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.tape = Path(job["tape"])
        tape = open_tape(self.tape)
        self.catalog, self.rows = tape.catalog, tape.read()
        self.market: Any = None
        self.perceived = 0.0

    def run(self, what: str) -> Told:
        """The whole node deciding at every so many candles, or the grid in the fast tier."""
        return self._grid() if what == "grid" else self._node(int(what))

    def _node(self, every: int) -> Told:
        settings = _settings(self.tape, every)
        blocks = [
            Raw(self.rows[at : at + data.BLOCK]) for at in range(0, len(self.rows), data.BLOCK)
        ]
        feed = ReplayFeed(self.catalog, iter(blocks), TapeClock(), None)
        journal = MemoryJournal()
        run = assembly.run_id(settings.fingerprint(), self.catalog)
        cpu_began, began = time.process_time(), time.perf_counter()
        node = assembly.build(
            settings, self.catalog, feed, journal, assembly.Silent(), run, strict=True, eager=False
        )
        summary = node.run()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        fills = self._fills(journal)
        np.save(Path(self.job["out"]) / f"ours-{every}.npy", fills)
        result = summary.equity_end - summary.equity_start
        return {"seconds": seconds, "cpu": cpu, "orders": summary.orders, "result": result}

    def _fills(self, journal: MemoryJournal) -> NDArray[np.float64]:
        """(n, 4): ms, quantity bought, price, fee, one row a moment."""
        (instrument,) = self.catalog.instruments
        unit = 10.0**instrument.settle_decimals
        kept: dict[int, list[float]] = {}
        for _, record in journal.read():
            if isinstance(record, FillBooked):
                fill = record.fill
                price = fill.price * instrument.tick_float
                row = kept.setdefault(fill.ts // MILLISECOND, [0.0, price, 0.0])
                row[0] += fill.side.sign * fill.size * instrument.lot_float
                row[2] += fill.fee / unit
        return np.array([(when, *row) for when, row in kept.items()]).reshape(-1, 4)

    def _grid(self) -> Told:
        settings = _settings(self.tape, 1)
        name = self.catalog.instruments[0].name
        if self.market is None:
            began = time.process_time()
            self.market = load(perceive(settings, self.tape, name))
            self.perceived = time.process_time() - began
        plan = Plan(strategy=CROSS, following=following_of(settings, latency=0))
        sets = [{"fast": fast, "slow": slow} for fast, slow in self.job["grid"]]
        cpu_began, began = time.process_time(), time.perf_counter()
        values = [float(account_of(self.market, plan, one, fills=False).equity[-1]) for one in sets]
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        return {"seconds": seconds, "cpu": cpu, "values": values, "perceived": self.perceived}


def main() -> None:
    """Our half."""
    talking.answer(Ours(talking.job()).run)


if __name__ == "__main__":
    main()
