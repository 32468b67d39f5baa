"""Funding rates of perpetual contracts from a table, for the contracts of a market."""

import re
from decimal import Decimal
from pathlib import Path

import polars as pl

from seawall.core.errors import DataError
from seawall.core.instruments import Catalog, Kind
from seawall.core.money import RATE
from seawall.venues.simulated.shape import FundingRate

COLUMNS = {
    "ts": ("ts", "time"),
    "symbol": ("symbol", "instrument"),
    "rate": ("funding_rate", "rate"),
}


def read_funding(path: Path, catalog: Catalog) -> tuple[FundingRate, ...]:
    """The rates of the catalog's contracts, by time.

    Args:
        path: CSV or Parquet with a time (a date-time in UTC, or ns UTC), a symbol (an instrument's
            name such as ``BTCUSDT@binance-usdm``, or its symbol with or without punctuation) and
            the rate of each payment as a fraction of the position's value.

    Raises:
        DataError: it cannot be read, a column is missing, a value is none, or it has no rate for
            any contract of this market.
    """
    table = _read(path)
    names = {field: _column(table, field, path) for field in COLUMNS}
    times = table[names["ts"]]
    if times.dtype == pl.String:
        times = times.str.to_datetime(time_unit="ns", time_zone="UTC", strict=False)
    if times.dtype.is_temporal():
        times = times.dt.cast_time_unit("ns").dt.timestamp("ns")
    contracts = _contracts(catalog)
    found = []
    rows = zip(times.to_list(), table[names["symbol"]], table[names["rate"]], strict=True)
    for row, (ts, symbol, rate) in enumerate(rows, start=1):
        instruments = contracts.get(symbol) or contracts.get(_plain(str(symbol)), [])
        if not instruments:
            continue
        if ts is None or rate is None or not abs(float(rate)) <= 1:
            raise DataError(f"{path}: row {row} has no time or no rate of at most 1; correct it")
        exact = round(Decimal(str(rate)) * RATE)
        found += [FundingRate(name, int(ts), exact) for name in instruments]
    if not found:
        raise DataError(
            f"{path}: it has no funding rate for a contract of this market, which lists "
            f"{', '.join(sorted(catalog.by_name))}; see venue.funding"
        )
    return tuple(sorted(found, key=lambda each: (each.ts, each.instrument)))


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: funding rates cannot be read: {reason}") from None


def _column(table: pl.DataFrame, field: str, path: Path) -> str:
    for name in COLUMNS[field]:
        if name in table.columns:
            return name
    raise DataError(
        f"{path}: it has the columns {', '.join(table.columns)}, and none of them is "
        f"{' or '.join(COLUMNS[field])}; rename the one that holds it"
    )


def _contracts(catalog: Catalog) -> dict[str, list[str]]:
    """What a table may call the catalog's derivatives → their names."""
    contracts: dict[str, list[str]] = {}
    for instrument in catalog.instruments:
        if instrument.kind is not Kind.SPOT:
            for text in {instrument.name, instrument.symbol, _plain(instrument.symbol)}:
                contracts.setdefault(text, []).append(instrument.name)
    return contracts


def _plain(symbol: str) -> str:
    """``BTC/USDT:USDT`` → ``BTCUSDT``."""
    return re.sub(r"[^A-Z0-9]", "", symbol.upper().partition(":")[0])
