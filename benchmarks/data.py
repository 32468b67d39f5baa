"""What is measured on: the recorded markets where they are at hand, else simulated ones."""

import hashlib
import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.measure import Bench
from seawall.core.clock import MINUTE, SECOND
from seawall.core.events import EventFlag, EventKind, Raw, Side
from seawall.core.instruments import Catalog, Kind
from seawall.core.randomness import generator
from seawall.ingestion import bars, binance
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tables import Imported
from seawall.ingestion.tape import open_tape, write_tape

RECORDED = Path(
    os.environ.get("RECORDED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)
NIGHT = "binance_*_20240808_*"
START = 1_700_000_040 * SECOND
SIMULATED_S = 7200  # seconds of the simulated market: about 3 M rows
BARS = 20_000  # simulated bars of each perpetual
CANDLES = 262_080  # half a year of minutes
BAR_SYMBOLS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "TRX")
BLOCK = 1 << 18  # rows that a backtest takes at a time


@dataclass(frozen=True)
class Sources:
    """Files to import. label: what they are."""

    paths: list[Path]
    label: str


@dataclass(frozen=True)
class Market:
    """A tape on disk and in memory. label: what it is."""

    folder: Path
    catalog: Catalog
    rows: Raw
    label: str

    @property
    def blocks(self) -> list[Raw]:
        """The rows in the pieces that a backtest takes."""
        return [Raw(self.rows[at : at + BLOCK]) for at in range(0, len(self.rows), BLOCK)]


@cache
def market(bench: Bench) -> Market:
    """The tape that is given, else the recorded night, else a simulated one."""
    folder = bench.tape
    if folder is None:
        given = books(bench)
        read = binance.read_sets(given.paths)
        folder, label = bench.scratch / "market", given.label
        write_tape(folder, read.catalog, read.rows)
    else:
        label = f"tape {folder.name}"
    tape = open_tape(folder)
    rows = tape.read()
    return Market(folder, tape.catalog, rows, f"{label}, {len(rows):,} rows")


@cache
def books(bench: Bench) -> Sources:
    """Binance sets: the six of 2024-08-08, else a simulated market written as such."""
    paths = sorted((RECORDED / "l2_tick").glob(NIGHT))
    if paths and not bench.quick:
        return Sources(paths, "recorded Binance books of 2024-08-08")
    folder = bench.scratch / "sets"
    folder.mkdir()
    simulated = SimulatedMarket(1, START)
    rows = simulated.record((20 if bench.quick else SIMULATED_S) * SECOND)
    for index in range(len(simulated.shape.assets)):
        _write_set(folder, simulated.catalog, index, rows)
    return Sources(sorted(folder.iterdir()), "SIMULATED books (recorded ones missing)")


def read_candles(sources: Sources) -> Imported:
    """Bars of linear perpetuals."""
    return bars.read_bars(sources.paths, venue="binance-usdm", kind=Kind.LINEAR)


@cache
def candles(bench: Bench) -> Sources:
    """Bars of seven perpetuals: recorded, 15 m, 2022 to 2025, else random walks."""
    paths = sorted((RECORDED / "ohlcv" / "binance_perp_15m").glob("*.parquet"))
    if paths and not bench.quick:
        return Sources(paths, "recorded 15 m bars of 7 Binance perpetuals, 2022 to 2025")
    folder = bench.scratch / "bars"
    folder.mkdir()
    for index, base in enumerate(BAR_SYMBOLS):
        _write_bars(folder / f"{base}USDT.parquet", index, 200 if bench.quick else BARS)
    return Sources(
        sorted(folder.iterdir()), "SIMULATED bars of 7 perpetuals (recorded ones missing)"
    )


def minutes(bench: Bench) -> tuple[Imported, str]:
    """One-minute bars of one market: recorded, the first half of 2018, else a random walk."""
    recorded = RECORDED / "ohlcv" / "bitfinex_spot_1m" / "BTCUSD_2018.parquet"
    if recorded.exists() and not bench.quick:
        read = bars.read_bars(
            [recorded], venue="bitfinex", kind=Kind.LINEAR, symbols=("BTCUSD",), tick="0.1"
        )
        read = replace(read, rows=read.rows[: 4 * CANDLES])
        return read, "recorded 1 m bars of BTCUSD, 2018"
    path = bench.scratch / "BTCUSD.parquet"
    _write_bars(path, 0, 400 if bench.quick else CANDLES, MINUTE)
    read = bars.read_bars([path], venue="bitfinex", kind=Kind.LINEAR, symbols=("BTCUSD",))
    return read, "SIMULATED 1 m bars (recorded ones missing)"


def rows_hash(rows: NDArray[Any]) -> str:
    """SHA-256 over all bytes of the rows."""
    return hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()


def _write_set(folder: Path, catalog: Catalog, index: int, rows: NDArray[Any]) -> None:
    """One instrument of the first source as a Binance set: a snapshot, diffs and trades."""
    mine = rows[(rows["instrument"] == index) & (rows["source"] == 0)]
    starts = np.flatnonzero(mine["flags"] & EventFlag.BEGIN)
    message = np.searchsorted(starts, np.arange(len(mine)), side="right") - 1
    full = mine["kind"][starts][message] == EventKind.SNAPSHOT
    depth = mine["kind"] == EventKind.DEPTH
    first = depth & full & (message == message[np.argmax(full)])
    instrument = catalog.instruments[index]
    tick, lot = float(instrument.tick), float(instrument.lot)
    name = f"binance_usdm_{instrument.base.lower()}usdt_20240808"
    for stream, chosen in (
        ("depth_snapshot", first),
        ("depth_diff", depth & ~full),
        ("trades", mine["kind"] == EventKind.TRADE),
    ):
        part = mine[chosen]
        table = pl.DataFrame(
            {
                "recv_ts": pl.Series(part["recv_ts"].copy()).cast(pl.Datetime("ns", "UTC")),
                "event_ts": pl.Series(part["exch_ts"].copy()).cast(pl.Datetime("ns", "UTC")),
                "first_update_id": part["previous"] + 1,
                "last_update_id": part["sequence"].copy(),
                "prev_update_id": part["previous"].copy(),
                "trade_id": part["sequence"].copy(),
                "side": np.where(part["side"] == Side.BUY, "bid", "ask"),
                "price": np.round(part["price"] * tick, 9),
                "qty": np.round(part["size"] * lot, 9),
                "buyer_is_maker": part["side"] == Side.SELL,
            }
        )
        table.write_parquet(folder / f"{name}_{stream}.parquet")


def _write_bars(path: Path, index: int, count: int, span: int = 15 * MINUTE) -> None:
    """A random walk as bars of `span` ns."""
    random = generator(1, "benchmarks.bars", index)
    steps = random.standard_normal((count, 4)) * 0.002
    path_of = np.round(100 * np.exp(np.cumsum(steps.ravel()).reshape(count, 4)), 2)
    times = START // span * span + span * np.arange(count)
    table = pl.DataFrame(
        {
            "ts": pl.Series(times).cast(pl.Datetime("ns", "UTC")),
            "open": path_of[:, 0],
            "high": path_of.max(axis=1),
            "low": path_of.min(axis=1),
            "close": path_of[:, 3],
            "volume": np.round(1 + 100 * random.random(count), 3),
        }
    )
    table.write_parquet(path)
