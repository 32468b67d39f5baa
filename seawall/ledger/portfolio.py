"""The ledger at market prices, in floats of the numeraire: what risk and the page look at.

A mark that is missing makes what depends on it NaN and is named; it never counts as zero.
"""

import math
from collections.abc import Mapping

import msgspec

from seawall.core.instruments import Instrument, Kind
from seawall.ledger.positions import Book

NAN = float("nan")


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument that was ever traded; NaN where a mark is missing.

    Attributes:
        lots: signed.
        notional: signed, numeraire.
        average_price: of the open lots, quote units; NaN where flat.
        mark: quote units; NaN where none was given.
        unrealised, realised: numeraire at the settle asset's mark of now, before fees.
    """

    instrument: str
    lots: int
    notional: float
    average_price: float
    mark: float
    unrealised: float
    realised: float


class Portfolio(msgspec.Struct, frozen=True, kw_only=True):
    """The account in the numeraire at the marks of now.

    Attributes:
        equity: cash plus the unrealised profit of derivatives.
        cash: all balances, what spot trades bought included.
        unrealised, realised: of all holdings, before fees.
        fees: paid so far.
        gross, net: sum of the holdings' notionals without and with their signs.
        leverage: gross / equity; infinite where there is exposure and no equity left.
        unknown: held instruments and assets whose mark or decimals are missing. Where there are
            any, the sums that need them are NaN: whoever limits risk looks here first.
        foreign: assets that no instrument has and nothing prices, such as a coin that fees are
            paid in: they are kept in their own units, and no sum here counts them.
    """

    numeraire: str
    equity: float
    cash: float
    unrealised: float
    realised: float
    fees: float
    gross: float
    net: float
    leverage: float
    holdings: tuple[Holding, ...]
    unknown: tuple[str, ...]
    foreign: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Nothing is missing: every number is what it says."""
        return not self.unknown


class Earned(msgspec.Struct, frozen=True, kw_only=True):
    """What one strategy's sub-ledger came to, numeraire; NaN where a mark is missing.

    Attributes:
        realised, unrealised: before fees. fees, funding: paid less received. trades: fills.
    """

    realised: float
    unrealised: float
    fees: float
    funding: float
    trades: int

    @property
    def net(self) -> float:
        """After everything."""
        return self.realised + self.unrealised - self.fees - self.funding


class Valuation:
    """Marks, the names that were looked for and not found, and assets that no instrument has.

    Args:
        marks: instrument → mid in quote units.
        asset_marks: asset → numeraire value of one whole unit.
        decimals: asset → decimals of its smallest unit.
    """

    def __init__(
        self,
        marks: Mapping[str, float],
        asset_marks: Mapping[str, float],
        decimals: Mapping[str, int],
    ) -> None:
        self._marks = marks
        self._asset_marks = asset_marks
        self._decimals = decimals
        self.unknown: dict[str, None] = {}
        self.foreign: dict[str, None] = {}

    def worth(self, asset: str, amount: float) -> float:
        """Numeraire value of smallest units of an asset; nothing is worth nothing at any price, and
        a coin that no instrument has and nothing prices counts for nothing here."""
        if not amount:
            return 0.0
        if asset not in self._decimals and asset not in self._asset_marks:
            self.foreign[asset] = None
            return 0.0
        mark = self._found(self._asset_marks, asset)
        if asset not in self._decimals:
            self.unknown[asset] = None
            return NAN
        return float(amount) / float(10 ** self._decimals[asset]) * mark

    def total(self, amounts: Mapping[str, int]) -> float:
        """Numeraire value of balances."""
        return math.fsum(self.worth(asset, amount) for asset, amount in amounts.items())

    def holding(self, instrument: Instrument, book: Book) -> Holding:
        """One instrument's position at its mark."""
        settle = instrument.settle_asset
        mark = notional = unrealised = 0.0
        if book.position:
            mark = self._found(self._marks, instrument.name)
            unrealised = self.worth(settle, book.unrealised(instrument, mark))
            size = book.position * instrument.lot_float
            if instrument.kind is Kind.INVERSE:  # a contract is worth a fixed sum of quote
                notional = size * self._found(self._asset_marks, instrument.quote)
            else:
                notional = size * mark * self._found(self._asset_marks, settle)
        else:
            mark = self._marks.get(instrument.name, NAN)
        return Holding(
            instrument=instrument.name,
            lots=book.position,
            notional=notional,
            average_price=book.average_price(instrument),
            mark=mark,
            unrealised=unrealised,
            realised=self.worth(settle, book.realised),
        )

    def _found(self, marks: Mapping[str, float], name: str) -> float:
        mark = marks.get(name, NAN)
        if math.isfinite(mark) and mark > 0:
            return mark
        self.unknown[name] = None
        return NAN


def leverage(gross: float, equity: float) -> float:
    """Gross exposure per equity; 0 without exposure, infinite where there is no equity."""
    if gross == 0.0:
        return 0.0
    if math.isnan(gross) or math.isnan(equity):
        return NAN
    return gross / equity if equity > 0 else math.inf
