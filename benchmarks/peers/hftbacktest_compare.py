"""The exact venue against hftbacktest: the same tape, strategies and latencies; fills and speed.

    python -m benchmarks.peers.hftbacktest_compare [--write]

hftbacktest is installed in an environment of its own below PEER_ENVIRONMENTS (by default
~/.cache/seawall/peers); both sides run in processes of their own on one core.
"""

import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import data
from benchmarks.measure import Bench, Floor, Result, figure
from benchmarks.peers import hftbacktest_quoting
from benchmarks.peers.environments import Half, Peer, environment
from benchmarks.peers.talking import most_memory
from seawall.core.errors import DataError
from seawall.core.events import EventKind, Side
from seawall.core.instruments import Instrument
from seawall.ingestion.binance import read_sets
from seawall.lab.exact import ExactRun, run
from seawall.venues.simulated.exact import ExactShape, Feed, constant, feed_of, venue_of

VERSION = "2.4.4"
PEER = Peer("hftbacktest", (f"hftbacktest=={VERSION}",))
HALF = Path(__file__).with_name("hftbacktest_half.py")
TABLE = Path(__file__).with_name("hftbacktest.md")
BASE_LATENCY = 1_000_000  # ns of the fastest row
CADENCE = 100_000_000  # ns between two looks of the strategy
SIZE, MOST = 50, 1000  # lots of an order, lots held at most
SETS = (
    "usdm_btcusdt_20240808",
    "usdm_ethusdt_20240808",
    "usdm_btcusdt_20240718",
    "spot_btcusdt_20240808",
    "spot_ethusdt_20240808",
    "cm_btcusd_perp_20240808",
    "cm_ethusd_perp_20240808",
)
STRATEGIES = ("touch", "grid")
LATENCIES = ((500_000, 500_000), (5_000_000, 20_000_000), (80_000_000, 3_000_000))  # ns
TIMED = (10_000_000, 10_000_000)
QUEUES = ("risk-averse", "3")  # the power of the probabilistic one
FLOORS = (Floor(3.0, "design, section 7"),)
# hftbacktest's event: flags, two clocks, price, quantity and three fields that stay 0
EVENT = np.dtype(
    [("ev", "<u8"), ("exch_ts", "<i8"), ("local_ts", "<i8"), ("px", "<f8"), ("qty", "<f8")]
)
DEPTH, TRADE, BUYS, SELLS = 1, 2, 1 << 29, 1 << 28
Run = dict[str, Any]
Key = tuple[int, int, int]  # exchange time, side, price


@dataclass(frozen=True)
class Compared:
    """One run of both. only_theirs, only_ours: fills without a counterpart."""

    tape: str
    strategy: str
    entry: int
    response: int
    queue: str
    depth: str
    theirs: int
    ours: int
    only_theirs: list[Key]
    only_ours: list[Key]
    shared: int  # fills by our own rule
    shared_same: int  # of those, the ones that they have too
    shared_lots: int


def events_of(rows: NDArray[Any], instrument: Instrument) -> NDArray[Any]:
    """Depth and trades of a tape as hftbacktest wants them, in the tape's order."""
    kept = rows[np.isin(rows["kind"], (EventKind.DEPTH, EventKind.TRADE))]
    events = np.zeros(len(kept), EVENT)
    events["ev"] = np.where(kept["kind"] == EventKind.DEPTH, DEPTH, TRADE)
    events["ev"] |= np.where(kept["side"] == Side.BUY, BUYS, SELLS).astype(np.uint64)
    events["exch_ts"], events["local_ts"] = kept["exch_ts"], kept["recv_ts"]
    events["px"] = kept["price"] * instrument.tick_float
    events["qty"] = kept["size"] * float(instrument.lot)
    return events


def job_of(names: Sequence[str], folder: Path, runs: list[Run]) -> dict[str, Any]:
    """What both halves are to do; the events lie in the folder."""
    tapes = []
    for name in names:
        read = read_sets(paths_of(name))
        instrument = read.catalog.instruments[0]
        events = folder / f"{name}-events.npy"
        np.save(events, events_of(read.rows, instrument))
        traded = read.rows["price"][read.rows["kind"] == EventKind.TRADE]
        middle = float(np.median(traded)) * instrument.tick_float
        tapes.append(
            {
                "name": name,
                "events": str(events),
                "tick": instrument.tick_float,
                "lot": float(instrument.lot),
                "roi": [middle * 0.9, middle * 1.1],  # the prices that their quicker book keeps
            }
        )
    return {
        "tapes": tapes,
        "out": str(folder),
        "base_latency": BASE_LATENCY,
        "most_fills": 1 << 17,
        "core": max(os.sched_getaffinity(0)),
        "runs": runs,
    }


def paths_of(name: str) -> list[Path]:
    """The files of a recorded set."""
    return sorted((data.RECORDED / "l2_tick").glob(f"binance_{name}_*.parquet"))


def run_of(
    strategy: str, entry: int, response: int, queue: str, depth: str, repeat: int
) -> dict[str, Any]:
    """One line of a job."""
    return {
        "name": f"{strategy}-{entry}-{response}-{queue}-{depth}",
        "strategy": strategy,
        "entry": entry,
        "response": response,
        "queue": queue,
        "depth": depth,
        "cadence": CADENCE,
        "size": SIZE,
        "most": MOST,
        "repeat": repeat,
    }


def halves(job: dict[str, Any], folder: Path) -> tuple[Half, Half]:
    """Theirs and ours."""
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    ours = [sys.executable, "-m", "benchmarks.peers.hftbacktest_compare", "--timed"]
    return Half([environment(PEER), HALF], path), Half(ours, path)


def one_of_ours(feed: Feed, one: Run, rule: str) -> ExactRun:
    """The same run on our side, by a rule of liquidity."""
    return run(
        feed,
        shape_of(one, rule),
        constant(one["entry"], one["response"]),
        getattr(hftbacktest_quoting, one["strategy"]),
        one["cadence"],
        one["size"],
        one["most"],
    )


def shape_of(one: Run, rule: str) -> ExactShape:
    """The venue of a run."""
    known = one["queue"] in ("risk-averse", "order-by-order")
    return ExactShape(
        maker_fee_ppm=0,
        taker_fee_ppm=0,
        rule=rule,
        queue=one["queue"] if known else "probabilistic",
        queue_power=3 if known else int(one["queue"]),
    )


def compared(names: Sequence[str], folder: Path) -> Iterator[Compared]:
    """All strategies, latencies, queue models and depths on these tapes."""
    runs = [
        run_of(strategy, entry, response, queue, depth, 0)
        for strategy in STRATEGIES
        for entry, response in LATENCIES
        for queue, depth in (("risk-averse", "roi"), ("risk-averse", "hash"), ("3", "hash"))
    ]
    job = folder / "job.json"
    job.write_text(json.dumps(job_of(names, folder, runs)))
    half = Half([environment(PEER), HALF], job)
    for name in names:
        read = read_sets(paths_of(name))
        feed = feed_of(read.rows, read.catalog, base_latency_ns=BASE_LATENCY)
        for one in runs:
            half.turn()
            fills = keys(np.load(folder / f"{name}-{one['name']}.npy"))
            whole = keys(one_of_ours(feed, one, "whole").fills)
            own = one_of_ours(feed, one, "shared").fills
            yield Compared(
                name,
                one["strategy"],
                one["entry"],
                one["response"],
                one["queue"],
                one["depth"],
                fills.total(),
                whole.total(),
                sorted((fills - whole).elements()),
                sorted((whole - fills).elements()),
                len(own),
                (keys(own) & fills).total(),
                int(own["lots"].sum()),
            )


def keys(fills: NDArray[Any]) -> Counter[Key]:
    """How often each (exchange time, side, price) was filled."""
    return Counter(
        zip(fills["ts"].tolist(), fills["side"].tolist(), fills["price"].tolist(), strict=True)
    )


# --- speed ---


def timed(job: dict[str, Any]) -> None:
    """Our half of the timing: one line of JSON for each run, as theirs."""
    os.sched_setaffinity(0, {job["core"]})
    for tape in job["tapes"]:
        read = read_sets(paths_of(tape["name"]))
        began = time.process_time()
        feed = feed_of(read.rows, read.catalog, base_latency_ns=job["base_latency"])
        prepared = time.process_time() - began
        for one in job["runs"]:
            sys.stdin.readline()  # our turn
            strategy = getattr(hftbacktest_quoting, one["strategy"])
            latency = constant(one["entry"], one["response"])
            seconds, cpu = [], []
            for _ in range(one["repeat"] + 1):
                venue = venue_of(feed, shape_of(one, "whole"), latency)
                cpu_began, began = time.process_time(), time.perf_counter()
                frames = strategy(venue, one["cadence"], one["size"], one["most"])
                seconds.append(time.perf_counter() - began)
                cpu.append(time.process_time() - cpu_began)
            told = {
                "tape": tape["name"],
                "run": one["name"],
                "frames": int(frames),
                "fills": int(venue.desk["fills"]),
                "seconds": seconds[1:],
                "cpu": cpu[1:],
                "prepared": prepared,
                "rows": feed.rows.shape[1],
                "bytes": sum(one.nbytes for one in (*feed[1:], venue.desk)),
                "peak": most_memory(),
            }
            print(json.dumps(told), flush=True)


def hftbacktest(bench: Bench) -> Iterator[Result]:
    """How many times as fast as hftbacktest, by wall clock and by CPU time."""
    names = [name for name in SETS if paths_of(name)]
    try:
        environment(PEER)
    except DataError as error:
        names = []
        print(f"{error}; left out", file=sys.stderr)
    if bench.quick or not names:
        return
    runs = [
        run_of(strategy, *TIMED, "risk-averse", depth, bench.runs)
        for strategy in STRATEGIES
        for depth in ("roi", "hash")
    ]
    theirs, ours = halves(job_of(names, bench.scratch, runs), bench.scratch)
    for name, one in itertools.product(names, runs):
        their, our = theirs.turn(), ours.turn()
        rows = our["rows"]
        yield Result(
            "hftbacktest",
            f"exact venue over hftbacktest {VERSION}, {one['strategy']}, {one['depth']}",
            f"{name}, {rows:,} rows",
            "×",
            [t / o for t, o in zip(their["seconds"], our["seconds"], strict=True)],
            statistics.median(their["cpu"]) / statistics.median(our["cpu"]),
            FLOORS,
            f"{figure(rows / statistics.median(our['seconds']))} against "
            f"{figure(rows / statistics.median(their['seconds']))} rows/s; "
            f"{our['fills']} and {their['fills']} fills; "
            f"{our['bytes'] / 1e6:.0f} and {their['bytes'] / 1e6:.0f} MB of tape, "
            f"at most {our['peak'] / 1e6:.0f} and {their['peak'] / 1e6:.0f} MB in all",
        )


def table(results: list[Compared]) -> str:
    """The comparison of fills as Markdown."""
    lines = [
        f"# Fills of the exact venue and of hftbacktest {VERSION}",
        "",
        "Made by `python -m benchmarks.peers.hftbacktest_compare --write`. A fill is the same when "
        "exchange time, side and price are. *Own rule*: fills by the shared rule of liquidity, "
        "how many of them hftbacktest has too, and their lots in per cent of its lots.",
        "",
        "| tape | strategy | entry / response ms | queue | depth | theirs | ours | only theirs "
        "| only ours | own rule | the same | lots by it, % |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.tape} | {one.strategy} | {one.entry / 1e6:g} / {one.response / 1e6:g} "
        f"| {one.queue} | {one.depth} | {one.theirs} | {one.ours} | {len(one.only_theirs)} "
        f"| {len(one.only_ours)} | {one.shared} | {one.shared_same} "
        f"| {100 * one.shared_lots / (SIZE * max(1, one.theirs)):.1f} |"
        for one in results
    ]
    for queue in QUEUES:
        part = [one for one in results if one.queue == queue]
        total = sum(one.theirs for one in part)
        wrong = sum(len(one.only_theirs) + len(one.only_ours) for one in part)
        lines += [
            "",
            f"Queue {queue}: {len(part)} runs, {total:,} fills of theirs, {wrong} without a "
            f"counterpart ({100 * (1 - wrong / max(1, total)):.3f} % the same).",
        ]
    lines += ["", "## Fills without a counterpart", ""]
    for one in results:
        for whose, which in (("theirs", one.only_theirs), ("ours", one.only_ours)):
            lines += [
                f"- {one.tape}, {one.strategy}, {one.entry / 1e6:g} / {one.response / 1e6:g} ms, "
                f"queue {one.queue}, {one.depth}: only {whose}: {ts} ns, "
                f"{'sell' if side else 'buy'} at {price} ticks"
                for ts, side, price in which
            ]
    if lines[-1] == "":
        lines.append("None.")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Compare the fills on all recorded tapes."""
    if sys.argv[1:2] == ["--timed"]:
        timed(json.loads(Path(sys.argv[2]).read_text()))
        return 0
    names = [name for name in SETS if paths_of(name)]
    if not names:
        print(f"no recorded set below {data.RECORDED}; set RECORDED_DATA", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        text = table(list(compared(names, Path(folder))))
    if "--write" in sys.argv[1:]:
        TABLE.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
