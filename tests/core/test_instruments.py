"""Instruments keep values exact; catalogs say where rows belong."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import DataError
from seawall.core.instruments import Catalog, Instrument, Kind, Source


def made(**fields: Any) -> Instrument:
    given_fields = {
        "venue": "v",
        "symbol": "BTCUSDT",
        "kind": Kind.LINEAR,
        "base": "BTC",
        "quote": "USDT",
        "tick": "0.1",
        "lot": "0.001",
    }
    return Instrument(**(given_fields | fields))


INVERSE = made(symbol="BTCUSD_PERP", kind=Kind.INVERSE, quote="USD", lot="1", multiplier="100")


@pytest.mark.parametrize("kind", [Kind.SPOT, Kind.LINEAR])
def test_a_trade_in_quote_is_worth_price_times_size_exactly(kind: Kind) -> None:
    one = made(kind=kind)
    # 60,000.1 USDT x 0.123 BTC in units of 1e-8 USDT
    assert one.value(600_001, 123) == 738_001_230_000
    assert one.value(600_001, -123) == -738_001_230_000
    assert one.cash_unit == 10_000


@given(st.integers(1, 1 << 40), st.integers(-(1 << 40), 1 << 40))
def test_value_is_linear_in_size_where_it_is_exact(ticks: int, lots: int) -> None:
    one = made(tick="0.01", lot="0.00001")
    assert one.value(ticks, lots) == Fraction(ticks, 100) * Fraction(lots, 10**5) * 10**8


def test_an_inverse_contract_is_worth_its_face_over_the_price() -> None:
    # 3 contracts of 100 USD at 60,000.0: 0.005 BTC
    assert INVERSE.value(600_000, 3) == 500_000
    assert INVERSE.settle_asset == "BTC"


def test_an_inverse_value_rounds_half_to_even() -> None:
    one = made(kind=Kind.INVERSE, tick="1", lot="1", settle_decimals=0)
    assert [one.value(2, lots) for lots in (1, 3, 5, 7)] == [0, 2, 2, 4]
    assert [one.value(2, -lots) for lots in (1, 3, 5, 7)] == [0, -2, -2, -4]
    assert [one.value(3, lots) for lots in (1, 2, 4, 5)] == [0, 1, 1, 2]


@given(st.integers(1, 1 << 40), st.integers(0, 1 << 40))
def test_an_inverse_value_is_within_half_a_unit_and_symmetric(ticks: int, lots: int) -> None:
    exact = Fraction(lots * 100 * 10**8) / (Fraction(ticks) / 10)
    value = INVERSE.value(ticks, lots)
    assert abs(value - exact) <= Fraction(1, 2)
    assert INVERSE.value(ticks, -lots) == -value


def test_a_spot_lot_is_a_whole_number_of_base_units() -> None:
    assert made(kind=Kind.SPOT).base_unit == 100_000


def test_floats_are_for_statistics_and_in_base_units() -> None:
    assert (made().tick_float, made().lot_float) == (0.1, 0.001)
    assert INVERSE.lot_float == 100.0


def test_names_groups_and_settlement_have_defaults() -> None:
    assert made().name == "BTCUSDT@v"
    assert made(version=2).name == "BTCUSDT@v#2"
    assert made().settle_asset == "USDT"
    assert made(settle="USDC").settle_asset == "USDC"
    assert made().consensus_group == "BTC"
    assert made(group="bitcoin").consensus_group == "bitcoin"


@pytest.mark.parametrize("field", ["tick", "lot", "multiplier"])
@pytest.mark.parametrize("text", ["0", "-1", "", "a lot", "nan", "inf", "1/0"])
def test_an_increment_that_is_no_positive_decimal_is_refused(field: str, text: str) -> None:
    with pytest.raises(DataError, match=f"BTCUSDT@v: {field} is "):
        made(**{field: text}).check()


def test_increments_finer_than_the_smallest_unit_are_refused() -> None:
    made(tick="0.00001", lot="0.001").check()
    with pytest.raises(DataError, match="finer than the smallest unit of USDT"):
        made(tick="0.00001", lot="0.0001").check()
    made(tick="0.00001", lot="0.0001", settle_decimals=9).check()
    with pytest.raises(DataError, match="raise settle_decimals or base_decimals"):
        made(kind=Kind.SPOT, tick="1", lot="0.001", base_decimals=2).check()
    INVERSE.check()  # rounds, once for each trade


A, B = made(), made(symbol="ETHUSDT", base="ETH")
SOURCES = (Source(name="x", venue="v"), Source(name="y", venue="v"))


def test_a_catalog_finds_books_and_primaries() -> None:
    catalog = Catalog(instruments=(A, B), sources=SOURCES, books=((1, 1), (0, 0), (1, 0))).check()
    assert catalog.book_of.tolist() == [[1, -1], [2, 0]]
    assert catalog.primary == {"ETHUSDT@v": 0, "BTCUSDT@v": 1}
    assert catalog.by_name["ETHUSDT@v"] == B
    assert catalog.instrument_of(0) == B


@pytest.mark.parametrize(
    ("catalog", "message"),
    [
        (Catalog((A, A), SOURCES, ()), "named twice"),
        (Catalog((A,), (SOURCES[0], SOURCES[0]), ()), "named twice"),
        (Catalog((A,), SOURCES, ((1, 0),)), "not in it"),
        (Catalog((A,), SOURCES, ((0, -1),)), "not in it"),
        (Catalog((A,), (Source(name="x", venue="v", signature="rsa"),), ()), "signature 'rsa'"),
        (Catalog((made(tick="0"),), SOURCES, ()), "tick is '0'"),
    ],
)
def test_a_catalog_that_contradicts_itself_is_refused(catalog: Catalog, message: str) -> None:
    with pytest.raises(DataError, match=message):
        catalog.check()


def test_versions_of_an_instrument_live_side_by_side() -> None:
    Catalog((A, made(version=2, tick="0.01")), SOURCES, ((0, 0), (1, 0))).check()


def numeraire_of(wanted: str, *quotes: str) -> str:
    instruments = tuple(made(symbol=f"BTC{quote}", quote=quote) for quote in quotes)
    return Catalog(instruments, SOURCES, ()).numeraire(wanted)


def test_the_numeraire_is_dollars_where_something_is_quoted_in_them() -> None:
    assert numeraire_of("auto", "USDT", "USD") == "USD"
    assert numeraire_of("auto", "USDT", "USDT") == "USDT"
    assert numeraire_of("EUR", "USD", "EUR") == "EUR"


@pytest.mark.parametrize(("wanted", "quotes"), [("USD", ["USDT"]), ("auto", ["USDT", "EUR"])])
def test_a_numeraire_that_nothing_is_quoted_in_is_refused(wanted: str, quotes: list[str]) -> None:
    with pytest.raises(DataError, match="no instrument is quoted in USD"):
        numeraire_of(wanted, *quotes)
