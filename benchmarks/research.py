"""Research: the fast tier against the whole node on the same grid, and a search of many sets."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import data
from benchmarks.measure import Bench, Floor, Result, itself, nothing, repeat, same
from seawall.core.settings import DecisionSettings, FeedSettings, RiskSettings, Settings
from seawall.decision.strategies import CrossShape
from seawall.ingestion.merging import between, span_of
from seawall.ingestion.tape import open_tape, write_tape
from seawall.lab.research.evaluation import Plan, account_of
from seawall.lab.research.following import Account
from seawall.lab.research.market import Market, load
from seawall.lab.research.search import SearchShape, search
from seawall.lab.research.space import space_of
from seawall.node import assembly, rehearsal
from seawall.node.research import following_of, perceive
from seawall.node.summary import Summary

FLOOR = (Floor(100, "goal"),)
HOURLY = data.RECORDED / "ohlcv" / "binance_perp_1h" / "BTCUSDT.parquet"
GRIDS = {"bars": ((4, 24), (12, 72), (48, 240)), "books": ((10, 60), (20, 120), (60, 600))}
UNITS = {"bars": 3600, "books": 1}  # seconds that the grids are in
SETS = 10_000
AGAIN = 10  # times that the fast tier takes the grid, to be measured at all
# The fast tier has no breakers; where none opens in the node the two can be compared.
NO_BREAKERS = RiskSettings(
    volatility_threshold=10.0, flash_crash_threshold=0.5, drawdown_threshold=0.5
)


def tiers(bench: Bench) -> Iterator[Result]:
    """Parameter sets a second, in the whole node and on perceived frames; and how far apart."""
    yield from _compared(bench, "bars", *_hourly(bench))
    market = data.market(bench)
    yield from _compared(bench, "books", market.folder, market.label)


def searching(bench: Bench) -> Iterator[Result]:
    """A random search, every set kept in a study on disk, on all cores."""
    folder, label = _hourly(bench)
    settings = _settings(bench, folder, "bars", (4, 24))
    kept = perceive(settings, folder)
    sets, cores = 50 if bench.quick else SETS, os.cpu_count() or 1
    plan = Plan(strategy="moving_average_cross", following=following_of(settings))
    shape = SearchShape(sampler="random", sets=sets)
    study = bench.scratch / "benchmark.study"

    def work(_: None) -> float:
        found = search(kept, plan, space_of(CrossShape, {}), shape, study, count=cores)
        study.unlink()
        return found.ranked[0].value

    timed = repeat(1, nothing, work, itself)
    on = f"{label}, {sets:,} sets, {cores} processes"
    note = f"best {same('value', [f'{value:.6f}' for value in timed.outcomes])}"
    yield Result("search", "random search, sets kept on disk", on, "sets/s", timed.rates(sets))
    yield Result("search", "random search, all of it", on, "s", timed.wall, note=note)


def _compared(bench: Bench, what: str, folder: Path, label: str) -> Iterator[Result]:
    grid = GRIDS[what][:1] if bench.quick else GRIDS[what]
    first = _settings(bench, folder, what, grid[0])
    market = load(perceive(first, folder, first.decision.instruments[0]))
    _fast(bench, market, folder, what, grid[:1], None)  # kernels loaded
    rehearsal.backtests()  # kernels loaded
    exact = repeat(1, nothing, partial(_exact, bench, folder, what, grid), itself)
    many = grid * AGAIN
    fast = repeat(bench.runs, nothing, partial(_fast, bench, market, folder, what, many), itself)
    on = f"{label}, {len(market.path):,} frames, {len(grid)} sets"
    slow, quick = exact.rates(len(grid)), fast.rates(len(many))
    yield Result(
        "tiers",
        "parameter sets in the whole node",
        on,
        "sets/s",
        slow,
        exact.cpu_rate(len(grid)),
    )
    yield Result(
        "tiers", "parameter sets in the fast tier", on, "sets/s", quick, fast.cpu_rate(len(many))
    )
    yield Result(
        "tiers",
        "fast tier over whole node",
        on,
        "×",
        [rate / slow[0] for rate in quick],
        fast.cpu_rate(len(many)) / exact.cpu_rate(len(grid)),
        FLOOR,
        _difference(exact.outcomes[0], fast.outcomes[0]),
    )


def _difference(nodes: list[Summary], accounts: list[Account]) -> str:
    """The results of both, side by side."""
    apart = max(
        abs(account.equity[-1] - node.equity_end) / node.equity_start * 1e4
        for node, account in zip(nodes, accounts, strict=False)
    )
    fills = "/".join(
        f"{account.orders} of {node.fills}" for node, account in zip(nodes, accounts, strict=False)
    )
    return f"equity at the end within {apart:.2f} bps, fills {fills}"


def _exact(
    bench: Bench, folder: Path, what: str, grid: tuple[tuple[int, int], ...], _: None
) -> list[Summary]:
    return [
        assembly.backtest(
            _settings(bench, folder, what, one), folder, None, lambda done, total: None
        )
        for one in grid
    ]


def _fast(
    bench: Bench,
    market: Market,
    folder: Path,
    what: str,
    grid: tuple[tuple[int, int], ...],
    _: None,
) -> list[Account]:
    settings = _settings(bench, folder, what, grid[0])
    plan = Plan(strategy="rules", following=following_of(settings, latency=0))
    unit = float(UNITS[what])
    return [
        account_of(market, plan, {"trend_fast_s": fast * unit, "trend_slow_s": slow * unit})
        for fast, slow in grid
    ]


def _settings(bench: Bench, folder: Path, what: str, grid: tuple[int, int]) -> Settings:
    unit = UNITS[what]
    listed = open_tape(folder).catalog.instruments
    traded = next((i.name for i in listed if i.kind == "linear"), listed[0].name)
    return Settings(
        mode="backtest",
        data_dir=bench.scratch,
        feed=FeedSettings(name="replay", tape=folder),
        risk=NO_BREAKERS,
        decision=DecisionSettings(
            trend_fast_s=grid[0] * unit, trend_slow_s=grid[1] * unit, instruments=(traded,)
        ),
    )


def _hourly(bench: Bench) -> tuple[Path, str]:
    """A tape of one perpetual's bars: recorded, 1 h, 2019 to 2025, else a random walk."""
    folder = bench.scratch / "hourly-tape"
    recorded = HOURLY.exists() and not bench.quick
    sources = data.Sources([HOURLY], "") if recorded else data.candles(bench)
    if not folder.exists():
        read = data.read_candles(data.Sources(sources.paths[:1], ""))
        if recorded:  # eight months are missing after this; the tiers differ in what they hold then
            read = between(read, *span_of("2019-09-09", "2024-07-01"), "recorded")
        write_tape(folder, read.catalog, read.rows)
    return folder, "recorded 1 h bars of BTC, 2019 to 2024" if recorded else sources.label
