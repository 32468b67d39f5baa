"""The whole node in a backtest: on books, from disk and from memory, and on bars."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import data
from benchmarks.measure import Bench, Floor, Result, Timings, itself, nothing, repeat, same
from benchmarks.perception import CADENCES, backtest_settings
from seawall.core.clock import TapeClock
from seawall.core.events import Raw
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.core.settings import DecisionSettings, RiskSettings, Settings
from seawall.ingestion.replay import ReplayFeed
from seawall.ingestion.tape import write_tape
from seawall.node import assembly, rehearsal
from seawall.node.summary import Summary
from seawall.storage.journal import MemoryJournal

FLOORS = (Floor(15e6, "goal"),)
BARS_RUNS = 3  # at most: one takes about a quarter of a minute
CALM = RiskSettings(volatility_threshold=10.0, drawdown_threshold=0.5)  # what trades on, trades on
FLIP = str(Path(__file__).with_name("flip.py"))


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
    rehearsal.backtests()  # kernels loaded
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


def candles(bench: Bench) -> Iterator[Result]:
    """Half a year of one-minute bars, a moving-average cross; one source: nothing is learned."""
    read, label = data.minutes(bench)
    folder = bench.scratch / "minutes-tape"
    write_tape(folder, read.catalog, read.rows)
    count = len(read.rows) // 4
    decision = DecisionSettings(
        strategy="moving_average_cross", parameters=("fast=50", "slow=200"), minimum_hold_s=0
    )
    settings = backtest_settings(folder, 1000).model_copy(
        update={"decision": decision, "risk": CALM}
    )
    _from_disk(settings, None)
    timed = repeat(bench.runs, nothing, partial(_from_disk, settings), itself)
    on = f"{label}, {count:,} candles"
    yield Result(
        "candles",
        "whole node, moving-average cross 50/200",
        on,
        "s",
        timed.wall,
        timed.cpu_median,
        (Floor(0.09, "the design", at_least=False),),
        _came_to(timed),
    )


def heavy(bench: Bench) -> Iterator[Result]:
    """An order at every frame of one book, frames so short that a round trip comes per 100 rows."""
    market = data.market(bench)
    book = busiest(market.catalog, market.rows)
    rows = book.rows
    settings = flipping(market.folder, book)
    blocks = [Raw(rows[at : at + data.BLOCK]) for at in range(0, len(rows), data.BLOCK)]
    one = data.Market(market.folder, market.catalog, rows, market.label)
    run = partial(_on, one, settings, blocks)
    run(None)
    timed = repeat(bench.runs, nothing, run, itself)
    orders = max(1, timed.outcomes[0].orders)
    on = f"{book.label}, of {market.label}"
    what = "whole node, an order at every frame"
    note = _came_to(timed)
    yield Result(
        "heavy", what, on, "rows/s", timed.rates(len(rows)), timed.cpu_rate(len(rows)), note=note
    )
    micros = [seconds / orders * 1e6 for seconds in timed.wall]
    yield Result("heavy", what, on, "µs/order", micros, timed.cpu_median / orders * 1e6, note=note)


class Book(NamedTuple):
    """The rows of one instrument, and frames of which one comes every 50 of them."""

    instrument: Instrument
    rows: Raw
    cadence_ms: int

    @property
    def label(self) -> str:
        """In words."""
        return f"{self.instrument.name}: {len(self.rows):,} rows, frames every {self.cadence_ms} ms"


def busiest(catalog: Catalog, rows: Raw) -> Book:
    """The book with most rows among those that a deposit of money pays for."""
    counts = np.bincount(rows["instrument"], minlength=len(catalog.instruments))
    paid = [instrument.kind is not Kind.INVERSE for instrument in catalog.instruments]
    book = int(np.where(paid, counts, 0).argmax())
    kept = Raw(rows[rows["instrument"] == book])
    span = (int(kept["recv_ts"][-1]) - int(kept["recv_ts"][0])) / 1e6
    return Book(catalog.instruments[book], kept, max(10, round(50 * span / len(kept))))


def flipping(folder: Path, book: Book) -> Settings:
    """An order at every frame of this book."""
    name = book.instrument.name
    decision = DecisionSettings(strategy=FLIP, instruments=(name,), minimum_hold_s=0, deadband=0)
    return backtest_settings(folder, book.cadence_ms).model_copy(
        update={
            "decision": decision,
            "risk": CALM,
            "numeraire": book.instrument.quote,  # no other book tells its worth
        }
    )


def _from_disk(settings: Settings, _: None) -> Summary:
    assert settings.feed.tape is not None
    return assembly.backtest(settings, settings.feed.tape, None, lambda done, of: None)


def _from_memory(market: data.Market, settings: Settings, _: None) -> Summary:
    """As `assembly.backtest`, less the reading of the tape."""
    return _on(market, settings, market.blocks, None)


def _on(market: data.Market, settings: Settings, blocks: list[Raw], _: None) -> Summary:
    catalog = market.catalog
    feed = ReplayFeed(catalog, iter(blocks), TapeClock(), None)
    run = assembly.run_id(settings.fingerprint(), catalog)
    return assembly.build(
        settings, catalog, feed, MemoryJournal(), assembly.Silent(), run, strict=True, eager=False
    ).run()


def _came_to(timed: Timings[Summary]) -> str:
    summary = timed.outcomes[0]
    hashes = same("journal", [one.journal_hash for one in timed.outcomes])
    return f"{hashes}, {summary.journal_rows:,} rows, {summary.orders:,} orders"
