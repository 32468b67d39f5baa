"""Recorded markets of one asset on several venues, as tapes: what tests hold the robust stages to.

Each set is put together as a user does it: `seawall data import` of each venue, then
`seawall data merge`. A test that asks for a set is skipped where the recordings are missing.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from seawall.core.instruments import Kind
from seawall.ingestion.bars import read_bars
from seawall.ingestion.binance import read_sets
from seawall.ingestion.merging import between, merged, span_of
from seawall.ingestion.tables import Imported
from seawall.ingestion.tape import write_tape

DATA = Path(os.environ.get("RECORDED_DATA", Path(__file__).parents[2] / "shared" / "data"))


class Bars(NamedTuple):
    """One source of bars: its venue, its file below DATA, and what the file does not say."""

    venue: str
    file: str
    symbol: str
    kind: Kind = Kind.SPOT
    multiplier: str = "1"
    tick: str = ""


class BarSet(NamedTuple):
    """Sources of one span, and the days that all of them have: pieces of [first, last) UTC."""

    sources: tuple[Bars, ...]
    pieces: tuple[tuple[str, str], ...]


CROSS = "cross_exchange"
LEAN = f"{CROSS}/lean"
BAR_SETS: Mapping[str, BarSet] = {
    # the collapse of Silicon Valley Bank: USDC falls to 0.875 USD on 11 March
    "depeg-2023": BarSet(
        (
            Bars("binanceus-usd", f"{CROSS}/binanceus_BTCUSD_1m_202303.parquet", "BTCUSD"),
            Bars("binanceus-usdt", f"{CROSS}/binanceus_BTCUSDT_1m_202303.parquet", "BTCUSDT"),
            Bars("binanceus-usdc", f"{CROSS}/binanceus_BTCUSDC_1m_202303.parquet", "BTCUSDC"),
            Bars("kraken-usdc", f"{CROSS}/kraken_BTCUSDC_1m_2023q1.parquet", "BTC/USDC"),
        ),
        (("2023-03-01", "2023-03-15"),),
    ),
    # two of the five end at 12:00
    "venues-2022": BarSet(
        (
            Bars("bybit", f"{LEAN}_crypto_bybit_btcusdt_minute_trades.parquet", "BTCUSDT"),
            Bars(
                "bybit-linear",
                f"{LEAN}_cryptofuture_bybit_btcusdt_minute_trades.parquet",
                "BTCUSDT",
                Kind.LINEAR,
            ),
            Bars(
                "bybit-inverse",
                f"{LEAN}_cryptofuture_bybit_btcusd_minute_trades.parquet",
                "BTCUSD",
                Kind.INVERSE,
            ),
            Bars("binance", f"{LEAN}_crypto_binance_btcbusd_minute_trades.parquet", "BTCBUSD"),
            Bars(
                "binance-coinm",
                f"{LEAN}_cryptofuture_binance_btcusd_minute_trades.parquet",
                "BTCUSD",
                Kind.INVERSE,
                "100",
            ),
        ),
        (("2022-12-13", "2022-12-14"),),
    ),
    # Coinbase has only these days of 2017
    "spot-2017": BarSet(
        (
            Bars("coinbase", f"{LEAN}_crypto_coinbase_btcusd_minute_trades.parquet", "BTCUSD"),
            # hidden orders trade between the ticks, at up to eight decimals
            Bars("bitfinex", "ohlcv/bitfinex_spot_1m/BTCUSD_2017.parquet", "BTCUSD", tick="0.01"),
        ),
        (("2017-09-03", "2017-09-05"), ("2017-12-17", "2017-12-18")),
    ),
    # both leave out 2024-07-01 to 2025-03-01
    "perpetuals-15m": BarSet(
        (
            Bars("binance-usdm", "ohlcv/binance_perp_15m/BTCUSDT.parquet", "BTCUSDT", Kind.LINEAR),
            Bars("okx", "ohlcv/okx_perp_15m/BTCUSDT.parquet", "BTCUSDT", Kind.LINEAR),
        ),
        (("2022-01-01", "2025-05-27T10:45"),),
    ),
}
BOOKS = "books-2024"  # Binance spot, USD-M and COIN-M, BTC, 2024-08-08 23:54
SETS = (*BAR_SETS, BOOKS)


def recorded(name: str) -> Imported:
    """Catalog and rows of a set; shared between tests, so they are not to be written to.

    Args:
        name: one of SETS.
    """
    for path in files_of(name):
        if not path.exists():
            pytest.skip(f"no recorded market at {path} (set RECORDED_DATA)")
    return _read(name)


def recorded_tape(name: str, folder: Path) -> Path:
    """The set as a tape of that name in the folder."""
    read = recorded(name)
    write_tape(folder / name, read.catalog, read.rows)
    return folder / name


def files_of(name: str) -> list[Path]:
    """The recordings that make up a set."""
    if name == BOOKS:
        folder = DATA / "l2_tick"
        found = sorted(folder.glob("binance_*_btcusd*_20240808_*.parquet"))
        return found or [folder / "binance_spot_btcusdt_20240808_depth_diff.parquet"]
    return [DATA / source.file for source in BAR_SETS[name].sources]


@lru_cache(maxsize=2)
def _read(name: str) -> Imported:
    if name == BOOKS:
        read = read_sets(files_of(name))
    else:
        read = _joined(BAR_SETS[name])
    read.rows.flags.writeable = False
    return read


def _joined(bars: BarSet) -> Imported:
    parts = [
        read_bars(
            [DATA / one.file],
            venue=one.venue,
            kind=one.kind,
            multiplier=one.multiplier,
            symbols=[one.symbol],
            tick=one.tick,
        )
        for one in bars.sources
    ]
    whole = merged(parts, [one.venue for one in bars.sources])
    # a bar is received at its close: the first comes after the start, the last one at the end
    pieces = [
        between(whole, start + 1, end + 1, "recorded")
        for start, end in (span_of(*piece) for piece in bars.pieces)
    ]
    return Imported(whole.catalog, np.concatenate([piece.rows for piece in pieces]), whole.notes)
