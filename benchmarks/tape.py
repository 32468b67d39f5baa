"""Import, reading a tape, and generating the simulated market."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from numpy.typing import NDArray

from benchmarks import data
from benchmarks.measure import Bench, Result, nothing, repeat, same
from seawall.core.clock import SECOND
from seawall.ingestion import binance
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import open_tape, write_tape


def importing(bench: Bench) -> Iterator[Result]:
    """Binance files in, a tape on disk out, as `seawall data import` does it."""
    sources = data.books(bench)
    targets = (bench.scratch / f"imported-{number}" for number in count())

    def work(_: None) -> NDArray[Any]:
        read = binance.read_sets(sources.paths)
        write_tape(next(targets), read.catalog, read.rows)
        return read.rows

    rows = len(binance.read_sets(sources.paths).rows)
    timed = repeat(bench.runs, nothing, work, data.rows_hash)
    yield Result(
        "import",
        "import of Binance sets, files to tape",
        f"{sources.label}, {rows:,} rows",
        "rows/s",
        timed.rates(rows),
        timed.cpu_rate(rows),
        note=same("rows", timed.outcomes),
    )


def reading(bench: Bench) -> Iterator[Result]:
    """The whole tape from disk into memory."""
    market = data.market(bench)
    rows = len(market.rows)
    timed = repeat(bench.runs, nothing, lambda _: open_tape(market.folder).read(), data.rows_hash)
    yield Result(
        "tape",
        "reading a tape from disk",
        market.label,
        "rows/s",
        timed.rates(rows),
        timed.cpu_rate(rows),
        note=same("rows", timed.outcomes),
    )


def simulated(bench: Bench) -> Iterator[Result]:
    """Rows of the simulated market, made as fast as it goes."""
    seconds = 5 if bench.quick else 300

    def prepare() -> SimulatedMarket:
        market = SimulatedMarket(1, data.START)
        market.record(2 * SECOND)
        return market

    prepare()
    timed = repeat(
        bench.runs,
        prepare,
        lambda market: market.record(seconds * SECOND),
        lambda made: (data.rows_hash(made), len(made)),
    )
    hashes, rows = [one for one, _ in timed.outcomes], timed.outcomes[0][1]
    yield Result(
        "simulated",
        "generating the simulated market",
        f"{seconds} s of 5 sources, {rows:,} rows",
        "rows/s",
        timed.rates(rows),
        timed.cpu_rate(rows),
        note=same("rows", hashes),
    )
