"""What is traded here: symbols, the instruments of the tape behind them, and their filters."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cached_property

import msgspec

from seawall.core.errors import DataError
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.exchange import refusals

_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?(e-[0-9]{1,2})?", re.IGNORECASE)
MIN_NOTIONAL = 5  # quote units
LARGEST_LOTS = 10**9
LARGEST_TICKS = 10**9
SPOT_BAND = (Decimal("0.2"), Decimal(5))  # PERCENT_PRICE_BY_SIDE, of the last price
FUTURES_BAND = (Decimal("0.95"), Decimal("1.05"))  # PERCENT_PRICE, of the mark
MOST_ORDERS = 200  # open ones of an account and symbol
MOST_STOPS = 100


class Market(StrEnum):
    """The two halves of the exchange; an account has a wallet in each."""

    SPOT = "spot"
    USDM = "usdm"


def decimal_text(amount: int, decimals: int) -> str:
    """``amount`` x 10 ** -decimals with all its decimals."""
    if not decimals:
        return str(amount)
    whole, part = divmod(abs(amount), 10**decimals)
    return f"{'-' if amount < 0 else ''}{whole}.{part:0{decimals}d}"


def plain(amount: int, decimals: int) -> str:
    """The same without zeros at the end."""
    text = decimal_text(amount, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimals(step: Fraction) -> int:
    for decimals in range(19):
        if (step * 10**decimals).denominator == 1:
            return decimals
    raise DataError(f"an increment of {step} cannot be written in decimals; import the tape again")


def number(name: str, text: str) -> Decimal:
    """A decimal parameter. Refusal: it is no plain number of a sensible length."""
    if not _NUMBER.fullmatch(text):
        raise refusals.illegal(name)
    return Decimal(text)


@dataclass(frozen=True)
class Listing:
    """One symbol of one market.

    Attributes:
        index: of the instrument in the catalog, which the tape's rows name.
        instrument: as this market trades it: SPOT or LINEAR.
    """

    market: Market
    symbol: str
    index: int
    instrument: Instrument

    @property
    def futures(self) -> bool:
        """It is a contract."""
        return self.market is Market.USDM

    @cached_property
    def price_decimals(self) -> int:
        """Of the tick."""
        return _decimals(self.instrument.tick_value)

    @cached_property
    def size_decimals(self) -> int:
        """Of the lot."""
        return _decimals(self.instrument.lot_value)

    @cached_property
    def _tick(self) -> int:
        return int(self.instrument.tick_value * 10**self.price_decimals)

    @cached_property
    def _lot(self) -> int:
        return int(self.instrument.lot_value * 10**self.size_decimals)

    @cached_property
    def _shown(self) -> tuple[int, int]:
        """Decimals that prices and sizes are shown with: spot fills them up to eight."""
        if self.futures:
            return self.price_decimals, self.size_decimals
        return max(8, self.price_decimals), max(8, self.size_decimals)

    def price(self, ticks: int) -> str:
        """A price as the protocol writes it."""
        shown = self._shown[0]
        return decimal_text(ticks * self._tick * 10 ** (shown - self.price_decimals), shown)

    def size(self, lots: int) -> str:
        """A size as the protocol writes it."""
        shown = self._shown[1]
        return decimal_text(lots * self._lot * 10 ** (shown - self.size_decimals), shown)

    def amount(self, units: int) -> str:
        """An amount of the settle asset, from its smallest units."""
        return decimal_text(units, self.instrument.settle_decimals)

    def average(self, units: int, lots: int) -> str:
        """A mean price, from a value in smallest settle units and its lots."""
        decimals = self._shown[0] if not self.futures else min(8, self.price_decimals + 4)
        if not lots:
            return decimal_text(0, decimals)
        scale = Fraction(10) ** (decimals - self.instrument.settle_decimals)
        return decimal_text(round(units * scale / (lots * self.instrument.lot_value)), decimals)

    def ticks(self, name: str, text: str) -> int:
        """A price parameter in ticks.

        Raises:
            Refusal: no number, not above 0, not a multiple of the tick, or out of range.
        """
        value = number(name, text)
        ticks = Fraction(value) / self.instrument.tick_value
        if self.futures:
            if value <= 0:
                raise refusals.RefusalError(-4001, "Price less than 0.")
            if -int(value.as_tuple().exponent) > self.price_decimals and ticks.denominator != 1:
                raise refusals.RefusalError(
                    -1111, "Precision is over the maximum defined for this asset."
                )
            if ticks.denominator != 1:
                raise refusals.RefusalError(-4014, "Price not increased by tick size.")
            if ticks > LARGEST_TICKS:
                raise refusals.RefusalError(-4002, "Price greater than max price.")
        else:
            if -int(value.normalize().as_tuple().exponent) > self._shown[0]:
                raise refusals.RefusalError(-1111, f"Parameter '{name}' has too much precision.")
            if ticks.denominator != 1 or not 0 < ticks <= LARGEST_TICKS:
                raise refusals.filtered("PRICE_FILTER")
        return int(ticks)

    def lots(self, name: str, text: str) -> int:
        """A size parameter in lots. Refusal as for `ticks`."""
        value = number(name, text)
        lots = Fraction(value) / self.instrument.lot_value
        if self.futures:
            if value <= 0:
                raise refusals.RefusalError(-4003, "Quantity less than or equal to zero.")
            if lots.denominator != 1:
                raise refusals.RefusalError(
                    -1111, "Precision is over the maximum defined for this asset."
                )
            if lots > LARGEST_LOTS:
                raise refusals.RefusalError(-4005, "Quantity greater than max quantity.")
        else:
            if -int(value.normalize().as_tuple().exponent) > self._shown[1]:
                raise refusals.RefusalError(-1111, f"Parameter '{name}' has too much precision.")
            if lots.denominator != 1 or not 0 < lots <= LARGEST_LOTS:
                raise refusals.filtered("LOT_SIZE")
        return int(lots)

    def check_notional(self, ticks: int, lots: int) -> None:
        """Refusal where a trade would be too small."""
        least = MIN_NOTIONAL * 10**self.instrument.settle_decimals
        if self.instrument.value(ticks, lots) >= least:
            return
        if self.futures:
            raise refusals.RefusalError(
                -4164,
                f"Order's notional must be no smaller than {MIN_NOTIONAL} (unless you choose "
                "reduce only).",
            )
        raise refusals.filtered("NOTIONAL")

    def check_band(self, buys: bool, ticks: int, reference: int) -> None:
        """Refusal where a limit price is too far from the reference (ticks; 0: there is none)."""
        if not reference:
            return
        low, high = FUTURES_BAND if self.futures else SPOT_BAND
        above, below = ticks > reference * high, ticks < reference * low
        if not self.futures and (above or below):
            raise refusals.filtered("PERCENT_PRICE_BY_SIDE")
        if above and buys:
            cap = self.price(int(reference * high))
            raise refusals.RefusalError(-4016, f"Limit price can't be higher than {cap}.")
        if below and not buys:
            floor = self.price(int(reference * low))
            raise refusals.RefusalError(-4024, f"Limit price can't be lower than {floor}.")


def listings(catalog: Catalog, market: Market, quote: str) -> list[Listing]:
    """The symbols of a market: each asset's own instruments, or those that stand in for them.

    Where a tape has no contract of an asset, its spot book stands in for one, and the other way
    round; where several venues have it, the first is taken.

    Args:
        quote: what USD is called, as clients look for it.
    """
    native = Kind.SPOT if market is Market.SPOT else Kind.LINEAR
    first: dict[str, Listing] = {}
    books = {catalog.books[book][0] for book in catalog.primary.values()}
    order = sorted(books, key=lambda index: catalog.instruments[index].kind is not native)
    for index in order:
        given = catalog.instruments[index]
        if given.kind is Kind.INVERSE or given.multiplier != "1":
            continue
        quoted = quote if given.quote == "USD" else given.quote
        symbol = f"{given.base}{quoted}"
        instrument = msgspec.structs.replace(
            given, kind=native, quote=quoted, settle="", symbol=symbol
        )
        first.setdefault(symbol, Listing(market, symbol, index, instrument))
    return sorted(first.values(), key=lambda listing: listing.symbol)


def traded(catalog: Catalog, listed: Iterable[Listing]) -> Catalog:
    """The catalog with the instruments as a market trades them; rows mean the same in both."""
    instruments = list(catalog.instruments)
    for listing in listed:
        instruments[listing.index] = listing.instrument
    return Catalog(
        instruments=tuple(instruments), sources=catalog.sources, books=catalog.books
    ).check()
