"""Instruments with exact increments, the sources that report them, and the catalog of both.

An instrument is (venue, symbol, version); its prices are integers of `tick`, its sizes of `lot`.
Instruments that price one asset form a consensus group.
"""

from enum import StrEnum
from fractions import Fraction
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError

SIGNATURES = ("", "hmac-sha256", "ed25519")  # how a source may sign; "" does not
PRODUCT_LIMIT = 1 << 62  # |ticks x lots| must fit in int64 with room for a sum


class Kind(StrEnum):
    """How an instrument pays."""

    SPOT = "spot"  # base against quote, both change hands
    LINEAR = "linear"  # settles in quote: lots x (price - entry)
    INVERSE = "inverse"  # settles in base: lots x (1/entry - 1/price), multiplier in quote


class Instrument(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One tradable thing at one venue.

    Attributes:
        tick: price increment in quote units, a decimal string such as ``"0.01"``.
        lot: size increment in base units (contracts for LINEAR and INVERSE).
        multiplier: base units per contract (LINEAR, SPOT: 1) or quote units (INVERSE).
        settle_decimals: the settle asset's smallest unit is 10 ** -settle_decimals.
        base_decimals: the same for the base asset (spot moves both).
        valid_from, valid_to: ns UTC; a changed increment is a new version.
    """

    venue: str
    symbol: str
    kind: Kind
    base: str
    quote: str
    tick: str
    lot: str
    version: int = 1
    multiplier: str = "1"
    settle: str = ""
    group: str = ""
    settle_decimals: int = 8
    base_decimals: int = 8
    valid_from: int = 0
    valid_to: int = (1 << 63) - 1

    @cached_property
    def name(self) -> str:
        """``symbol@venue``, with ``#version`` from the second version on."""
        return f"{self.symbol}@{self.venue}" + (f"#{self.version}" if self.version > 1 else "")

    @cached_property
    def settle_asset(self) -> str:
        """The asset that cash moves in."""
        return self.settle or (self.base if self.kind is Kind.INVERSE else self.quote)

    @cached_property
    def consensus_group(self) -> str:
        """Instruments of one group price one asset."""
        return self.group or self.base

    @cached_property
    def tick_value(self) -> Fraction:
        """Quote units per tick, exact."""
        return Fraction(self.tick)

    @cached_property
    def lot_value(self) -> Fraction:
        """Base units (or contracts) per lot, exact."""
        return Fraction(self.lot)

    @cached_property
    def tick_float(self) -> float:
        """Quote units per tick, for statistics."""
        return float(self.tick_value)

    @cached_property
    def lot_float(self) -> float:
        """Base units (contracts for INVERSE) per lot, for statistics."""
        return float(self.lot_value * Fraction(self.multiplier))

    @cached_property
    def cash_unit(self) -> Fraction:
        """Smallest settle units per tick x lot (SPOT, LINEAR), or per lot / tick (INVERSE)."""
        scale = Fraction(10) ** self.settle_decimals
        contract = self.lot_value * Fraction(self.multiplier) * scale
        return (
            contract / self.tick_value if self.kind is Kind.INVERSE else contract * self.tick_value
        )

    @cached_property
    def base_unit(self) -> int:
        """Smallest base units per lot (SPOT)."""
        return int(self.lot_value * Fraction(10) ** self.base_decimals)

    def check(self) -> None:
        """Raise DataError where the increments cannot be kept exactly."""
        for field in ("tick", "lot", "multiplier"):
            try:
                good = Fraction(getattr(self, field)) > 0
            except (ValueError, ZeroDivisionError):
                good = False
            if not good:
                raise DataError(
                    f"instrument {self.name}: {field} is {getattr(self, field)!r}, not a positive "
                    "decimal; correct it in the catalog"
                )
        exact_base = self.kind is not Kind.SPOT or (
            (self.lot_value * Fraction(10) ** self.base_decimals).denominator == 1
        )
        exact_cash = self.kind is Kind.INVERSE or self.cash_unit.denominator == 1
        if not (exact_base and exact_cash):
            raise DataError(
                f"instrument {self.name}: tick {self.tick} x lot {self.lot} is finer than the "
                f"smallest unit of {self.settle_asset} or {self.base}; raise settle_decimals or "
                "base_decimals"
            )

    def value(self, ticks: int, lots: int) -> int:
        """Cash value of a trade, in smallest settle units, exact for SPOT and LINEAR.

        INVERSE divides by the price and rounds half to even, once for each trade.
        """
        if self.kind is not Kind.INVERSE:
            return ticks * lots * self.cash_unit.numerator
        numerator = lots * self.cash_unit.numerator
        denominator = ticks * self.cash_unit.denominator
        return round(Fraction(numerator, denominator))


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One feed: who tells us. Trust, rate and bans are kept per source."""

    name: str
    venue: str
    bar_span: int = 0  # ns; > 0 where the source sends bars
    signature: str = ""  # of SIGNATURES; where it is set, nothing unsigned of it is admitted


class Catalog(msgspec.Struct, frozen=True, dict=True):
    """Instruments, sources and books of a tape; rows refer to them by index.

    A book is an (instrument, source) pair. The first book of an instrument is its primary one.
    """

    instruments: tuple[Instrument, ...]
    sources: tuple[Source, ...]
    books: tuple[tuple[int, int], ...]

    def check(self) -> "Catalog":
        """Self, or DataError where names repeat or a book points nowhere."""
        names = [i.name for i in self.instruments]
        for instrument in self.instruments:
            instrument.check()
        if len(set(names)) != len(names) or len({s.name for s in self.sources}) != len(
            self.sources
        ):
            raise DataError(
                "catalog: an instrument or a source is named twice; give each its own name"
            )
        for source in self.sources:
            if source.signature not in SIGNATURES:
                raise DataError(
                    f"source {source.name}: there is no signature {source.signature!r}; use "
                    "hmac-sha256 or ed25519, or leave it out"
                )
        for instrument_index, source_index in self.books:
            if not (0 <= instrument_index < len(names) and 0 <= source_index < len(self.sources)):
                raise DataError("catalog: a book names an instrument or a source that is not in it")
        return self

    @cached_property
    def book_of(self) -> NDArray[np.int16]:
        """(instruments, sources) → book index, -1 where there is none."""
        table = np.full(
            (max(1, len(self.instruments)), max(1, len(self.sources))), -1, dtype=np.int16
        )
        for book, (instrument, source) in enumerate(self.books):
            table[instrument, source] = book
        return table

    @cached_property
    def primary(self) -> dict[str, int]:
        """Instrument name → its first book."""
        first: dict[str, int] = {}
        for book, (instrument, _) in enumerate(self.books):
            first.setdefault(self.instruments[instrument].name, book)
        return first

    @cached_property
    def by_name(self) -> dict[str, Instrument]:
        """Instrument name → instrument."""
        return {i.name: i for i in self.instruments}

    @cached_property
    def alike(self) -> dict[str, tuple[str, ...]]:
        """Instrument name → the others that price the same asset in the same money."""
        kinds: dict[tuple[str, str], list[str]] = {}
        for each in self.instruments:
            kinds.setdefault((each.consensus_group, each.quote), []).append(each.name)
        return {
            each.name: tuple(
                name for name in kinds[each.consensus_group, each.quote] if name != each.name
            )
            for each in self.instruments
        }

    def instrument_of(self, book: int) -> Instrument:
        """The instrument of a book."""
        return self.instruments[self.books[book][0]]

    def numeraire(self, wanted: str) -> str:
        """The asset that everything is marked in.

        Args:
            wanted: an asset, or ``auto``: USD where some instrument is quoted in it, else the one
                asset that all instruments are quoted in.

        Raises:
            DataError: nothing prices an instrument's quote asset in the numeraire.
        """
        quotes = {i.quote for i in self.instruments}
        choice = wanted
        if wanted == "auto":
            choice = "USD" if "USD" in quotes or len(quotes) != 1 else next(iter(quotes))
        if choice not in quotes:
            raise DataError(
                f"no instrument is quoted in {choice}, so nothing can be marked in it; set "
                f"numeraire to one of {', '.join(sorted(quotes))}"
            )
        return choice
