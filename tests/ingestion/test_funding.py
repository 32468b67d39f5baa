"""Funding rates from tables: exact, by time, and of this market's contracts alone."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest

from seawall.core.errors import DataError
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.money import RATE
from seawall.ingestion.funding import read_funding
from seawall.venues.simulated.shape import FundingRate
from tests.recorded import DATA

PERP = Instrument(
    venue="binance-usdm",
    symbol="BTCUSDT",
    kind=Kind.LINEAR,
    base="BTC",
    quote="USDT",
    tick="0.1",
    lot="0.001",
)
SPOT = msgspec.structs.replace(PERP, venue="binance", kind=Kind.SPOT)
OTHER = msgspec.structs.replace(PERP, symbol="ETH/USDT:USDT", base="ETH")
CATALOG = Catalog(
    instruments=(SPOT, PERP, OTHER),
    sources=(Source(name="a", venue="binance"), Source(name="b", venue="binance-usdm")),
    books=((0, 0), (1, 1), (2, 1)),
).check()
EIGHT = int(datetime(2024, 5, 1, 8, tzinfo=UTC).timestamp()) * 10**9


def test_a_table_of_text(tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(
        "time,instrument,rate\n"
        "2024-05-01T08:00:00Z,ETHUSDT,-0.0000145924539271\n"
        "2024-05-01T00:00:00Z,BTCUSDT@binance-usdm,0.0001\n"
        "2024-05-01T00:00:00Z,XRPUSDT,0.5\n"
    )
    assert read_funding(file, CATALOG) == (
        FundingRate(PERP.name, EIGHT - 8 * 3600 * 10**9, RATE // 10_000),
        FundingRate(OTHER.name, EIGHT, -14_592_454),
    )


def test_times_may_be_numbers(tmp_path: Path) -> None:
    file = tmp_path / "rates.parquet"
    pl.DataFrame({"ts": [EIGHT], "symbol": ["btc-usdt"], "funding_rate": [0.1]}).write_parquet(file)
    assert read_funding(file, CATALOG) == (FundingRate(PERP.name, EIGHT, RATE // 10),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ts,symbol\n1,BTCUSDT\n", "none of them is funding_rate or rate"),
        ("ts,symbol,rate\n1,XRPUSDT,0.1\n", "no funding rate for a contract of this market"),
        ("ts,symbol,rate\n1,BTCUSDT,1.5\n", "row 1 has no time or no rate"),
        ("ts,symbol,rate\nnever,BTCUSDT,0.1\n", "row 1 has no time or no rate"),
        ("", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=why):
        read_funding(file, CATALOG)
    with pytest.raises(DataError, match="cannot be read"):
        read_funding(tmp_path / "nothing.csv", CATALOG)


def test_the_recorded_rates_of_binance() -> None:
    file = DATA / "derivs" / "funding_binance_2023_2024.parquet"
    if not file.exists():
        pytest.skip(f"no recorded funding rates at {file}")
    rates = read_funding(file, CATALOG)
    table = pl.read_parquet(file).filter(pl.col("symbol").is_in(["BTCUSDT", "ETHUSDT"]))
    assert len(rates) == len(table)
    assert [rate.ts for rate in rates] == sorted(rate.ts for rate in rates)
    assert sum(rate.rate for rate in rates) / RATE == pytest.approx(table["funding_rate"].sum())
