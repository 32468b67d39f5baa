"""The whole node in a backtest: on books, from disk and from memory, and on bars."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks import data
from benchmarks.measure import Bench, Floor, Result, Timings, itself, nothing, repeat, same
from benchmarks.perception import CADENCES, backtest_settings
from seawall.core.clock import TapeClock
from seawall.core.settings import Settings
from seawall.ingestion.replay import ReplayFeed
from seawall.ingestion.tape import write_tape
from seawall.node import assembly
from seawall.node.summary import Summary
from seawall.storage.journal import MemoryJournal

FLOORS = (Floor(15e6, "goal"),)
BARS_RUNS = 3  # at most: one takes about a minute


def node(bench: Bench) -> Iterator[Result]:
    """Every stage with its journal in memory; few orders (at most one per 10,000 rows)."""
    market = data.market(bench)
    rows = len(market.rows)
    for cadence in CADENCES:
        settings = backtest_settings(market.folder, cadence)
        _from_memory(market, settings, None)  # kernels loaded
        for how, work in (
            ("rows in memory", partial(_from_memory, market, settings)),
            ("rows on disk", partial(_from_disk, settings)),
        ):
            timed = repeat(bench.runs, nothing, work, itself)
            yield Result(
                "node",
                f"whole node, frames every {cadence} ms, {how}",
                market.label,
                "rows/s",
                timed.rates(rows),
                timed.cpu_rate(rows),
                FLOORS,
                _came_to(timed),
            )


def bars(bench: Bench) -> Iterator[Result]:
    """A backtest over bars; at each boundary all bars that close there."""
    sources = data.candles(bench)
    read = data.read_candles(sources)
    folder = bench.scratch / "bars-tape"
    write_tape(folder, read.catalog, read.rows)
    boundaries = len(np.unique(read.rows["recv_ts"]))
    settings = backtest_settings(folder, 1000)
    assembly.compile_kernels(lambda _: None)
    runs = min(bench.runs, BARS_RUNS)
    timed = repeat(runs, nothing, partial(_from_disk, settings), itself)
    label = f"{sources.label}, {boundaries:,} boundaries"
    what, note = "whole node, backtest of bars", _came_to(timed)
    yield Result(
        "bars",
        what,
        label,
        "boundaries/s",
        timed.rates(boundaries),
        timed.cpu_rate(boundaries),
        note=note,
    )
    yield Result("bars", what, label, "s", timed.wall, timed.cpu_median, note=note)


def _from_disk(settings: Settings, _: None) -> Summary:
    assert settings.feed.tape is not None
    return assembly.backtest(settings, settings.feed.tape, None, lambda done, of: None)


def _from_memory(market: data.Market, settings: Settings, _: None) -> Summary:
    """As `assembly.backtest`, less the reading of the tape."""
    catalog = market.catalog
    feed = ReplayFeed(catalog, iter(market.blocks), TapeClock(), None)
    run = assembly.run_id(settings.fingerprint(), catalog)
    return assembly.build(
        settings, catalog, feed, MemoryJournal(), assembly.Silent(), run, strict=True, eager=False
    ).run()


def _came_to(timed: Timings[Summary]) -> str:
    summary = timed.outcomes[0]
    hashes = same("journal", [one.journal_hash for one in timed.outcomes])
    return f"{hashes}, {summary.journal_rows:,} rows, {summary.orders:,} orders"
