"""Growth: twice the tape and twice the orders against once, and the memory of ten million rows.

The tape is set end to end as often as it takes; each run's memory is that of a process of its own.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import data
from benchmarks.measure import Bench, Floor, Result, Timings, figure
from benchmarks.node import busiest, flipping
from benchmarks.peers import environments, talking
from benchmarks.peers.environments import Half, Told
from benchmarks.perception import backtest_settings
from seawall.core.clock import SECOND
from seawall.core.settings import Settings, VenueSettings
from seawall.ingestion.tape import write_blocks
from seawall.node import assembly

LONG = 10_000_000  # rows of the long tape, at least
CADENCE_MS = 1000
TWICE = (Floor(2.2, "design, section 7", at_least=False),)
FLAT = (Floor(1.1, "design, section 7: flat", at_least=False),)
WANTED = (("light", 1), ("light", 2), ("heavy", 1), ("heavy", 2))
FREE = VenueSettings(maker_fee_ppm=0, taker_fee_ppm=0)  # else the money ends before the tape
OURS = "benchmarks.growth"


def growth(bench: Bench) -> Iterator[Result]:
    """Time of twice the rows, few orders and many; memory of a long tape over that of the tape."""
    market = data.market(bench)
    book = busiest(market.catalog, market.rows)
    settings = {
        "light": backtest_settings(market.folder, CADENCE_MS),
        "heavy": flipping(market.folder, book).model_copy(update={"venue": FREE}),
    }
    rows = {"light": market.rows, "heavy": book.rows}
    long = 4 if bench.quick else max(2, math.ceil(LONG / len(market.rows)))
    job = {
        "core": environments.core(),
        "settings": {name: one.model_dump_json() for name, one in settings.items()},
        "tapes": {
            f"{name} {times}": str(_end_to_end(bench, name, rows[name], times))
            for name, times in (*WANTED, ("light", long))
        },
    }
    path = bench.scratch / "growth.json"
    path.write_bytes(msgspec.json.encode(job))
    labels = {"light": market.label, "heavy": book.label}
    half = _half(path)
    try:
        yield from _times(bench, half, labels)
        if bench.quick:  # a process more for each takes longer than all the rest
            peaks = _peaks(bench, (1, long), lambda: half, lambda _: None)
    finally:
        half.end()
    if not bench.quick:
        peaks = _peaks(bench, (1, long), lambda: _half(path), Half.end)
    yield from _memory(peaks, market.label)


def _end_to_end(bench: Bench, name: str, rows: NDArray[Any], times: int) -> Path:
    """A tape of these rows so many times, each a second after the last."""
    folder = bench.scratch / f"growth-{name}-{times}"
    if folder.exists():
        return folder
    span = int(rows["recv_ts"][-1]) - int(rows["recv_ts"][0]) + SECOND
    first = int(rows["sequence"].max()) - int(rows["sequence"].min()) + 1

    def blocks() -> Iterator[NDArray[Any]]:
        for number in range(times):
            for at in range(0, len(rows), data.BLOCK):
                part = rows[at : at + data.BLOCK].copy()
                part["recv_ts"] += number * span
                part["exch_ts"] += number * span
                part["sequence"] += number * first
                part["previous"] += np.where(part["previous"] >= 0, number * first, 0)
                yield part

    write_blocks(folder, data.market(bench).catalog, blocks())
    return folder


def _times(bench: Bench, half: Half, labels: dict[str, str]) -> Iterator[Result]:
    """Twice over once, in one process."""
    for name, words in (("light", "few orders"), ("heavy", "an order at every frame")):
        once, twice = environments.in_turns(bench, (half, f"{name} 1"), (half, f"{name} 2"))
        walls, cpu = environments.ratios(twice, once)
        what = f"time of twice the tape over once, {words}"
        yield Result("growth", what, labels[name], "×", walls, cpu, TWICE, _orders(once, twice))


def _peaks(
    bench: Bench, sizes: Sequence[int], begin: Callable[[], Half], end: Callable[[Half], None]
) -> list[tuple[int, list[float]]]:
    """Of each size the rows, and run by run the most bytes that its process holds."""
    found: list[tuple[int, list[float]]] = []
    for times in sizes:
        peaks = []
        for _ in range(bench.runs):
            half = begin()
            try:
                told = half.turn(f"light {times}")
            finally:
                end(half)
            peaks.append(float(told["peak"]))
        found.append((told["rows"], peaks))
    return found


def _memory(peaks: Sequence[tuple[int, list[float]]], label: str) -> Iterator[Result]:
    """The most that a process holds on the tape, and on the long one."""
    for count, held in peaks:
        yield Result("growth", f"peak memory over {count:,} rows from disk", label, "B", held)
    (fewer, short), (more, long) = peaks
    ratios = [high / low for low, high in zip(short, long, strict=True)]
    what = f"peak memory, {figure(more)} rows over {figure(fewer)}"
    yield Result("growth", what, label, "×", ratios, floors=FLAT)


def _orders(once: Timings[Told], twice: Timings[Told]) -> str:
    one, other = once.outcomes[0], twice.outcomes[0]
    rows, orders = (f"{one[name]:,} and {other[name]:,} {name}" for name in ("rows", "orders"))
    return f"{rows}, {orders}"


def _half(path: Path) -> Half:
    return Half([sys.executable, "-m", OURS], path)


# --- a run ---


class Runs:
    """Backtests of the job's tapes, as `seawall backtest` makes them, without a journal on disk."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.tapes = job["tapes"]
        self.settings = {
            name: Settings(**msgspec.json.decode(text)) for name, text in job["settings"].items()
        }

    def run(self, name: str) -> Told:
        """One of them."""
        settings = self.settings[name.split(maxsplit=1)[0]]
        cpu_began, began = time.process_time(), time.perf_counter()
        summary = assembly.backtest(settings, Path(self.tapes[name]), None, lambda done, of: None)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        return {"seconds": seconds, "cpu": cpu, "rows": summary.rows, "orders": summary.orders}


def main() -> None:
    """The runs, one by one."""
    talking.answer(Runs(talking.job()).run)


if __name__ == "__main__":
    main()
