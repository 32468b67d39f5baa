"""Bars of a tape's trades, by count, volume, value or time, and the tape rows that tell them."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from seawall.core.clock import HOUR, MINUTE, SECOND
from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventFlag, EventKind, Raw, Side, empty
from seawall.core.instruments import PRODUCT_LIMIT, Catalog, Instrument, Kind
from seawall.market import bar_kernels as kernels

BY: Mapping[str, int] = {
    "trades": kernels.BY_TRADES,
    "volume": kernels.BY_VOLUME,
    "value": kernels.BY_VALUE,
    "time": kernels.BY_TIME,
}
SPANS: Mapping[str, int] = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": 24 * HOUR}
ROOM = 4096
PRICES = ("open", "high", "low", "close")


class Bars:
    """Bars of all books of a catalog, block by block; a bar comes with the row that closes it.

    Bars by time end at multiples of the span (UTC) and are empty nowhere: where nothing trades
    there is none. The others have no fixed length; what exceeds a threshold counts towards the
    next. Where a source goes DOWN the bar under way is dropped.

    Args:
        by: trades, volume (in the instrument's size, base units or contracts), value (in the quote
            asset) or time.
        size: the threshold, such as ``1000``, ``2.5``; of time ``90s``, ``15m``, ``4h``, ``1d``.

    Raises:
        SettingError: unknown `by`, or a size that is no multiple of what the tape counts in.
    """

    def __init__(self, catalog: Catalog, by: str, size: str) -> None:
        if by not in BY:
            raise SettingError(f"--by {by!r} is unknown; use {', '.join(BY)}")
        self.catalog = catalog
        self.by = by
        count = len(catalog.books)
        carries = np.zeros(max(1, count), kernels.CARRY)
        carries["by"] = BY[by]
        for book in range(count):
            instrument = catalog.instrument_of(book)
            carries["size"][book] = _threshold(instrument, by, size)
            if by == "value" and instrument.kind is Kind.INVERSE:  # a contract is quote units
                carries["by"][book] = kernels.BY_VOLUME
        under_way = np.zeros(max(1, count), kernels.BAR)
        under_way["book"] = np.arange(len(under_way))
        self.state = kernels.BarState(carries, under_way, catalog.book_of)
        self._room = np.zeros(ROOM + len(under_way), kernels.BAR)

    def observe(self, rows: Raw) -> NDArray[Any]:
        """The bars (BAR) that these rows close."""
        parts, first = [self._room[:0]], 0
        while first < len(rows):
            first, count = kernels.run(self.state, rows, first, self._room)
            parts.append(self._room[:count].copy())
        return np.concatenate(parts)

    @property
    def told(self) -> Catalog:
        """The catalog of a tape that holds the bars; only bars of time have a span."""
        span = int(self.state.carries["size"][0]) if self.by == "time" else 0
        sources = tuple(msgspec.structs.replace(s, bar_span=span) for s in self.catalog.sources)
        return msgspec.structs.replace(self.catalog, sources=sources).check()

    def rows_of(self, bars: NDArray[Any]) -> NDArray[Any]:
        """Four tape rows a bar, at its close."""
        rows = empty(4 * len(bars)).reshape(-1, 4)
        rows["recv_ts"] = bars["ts"][:, None]
        span = int(self.state.carries["size"][0])
        rows["exch_ts"] = (bars["ts"] - span if self.by == "time" else bars["start"])[:, None]
        rows["sequence"] = bars["number"][:, None]
        rows["previous"] = -1
        books = np.array(self.catalog.books)[bars["book"]].reshape(-1, 2)
        rows["instrument"], rows["source"] = books[:, :1], books[:, 1:]
        rows["side"] = Side.UNKNOWN
        rows["kind"] = np.arange(EventKind.BAR_OPEN, EventKind.BAR_CLOSE + 1)
        for at, field in enumerate(PRICES):
            rows["price"][:, at] = bars[field]
        rows["size"][:, 3] = bars["volume"]
        rows["flags"][:, 0], rows["flags"][:, 3] = EventFlag.BEGIN, EventFlag.END
        return rows.reshape(-1)

    def table(self, bars: NDArray[Any]) -> pl.DataFrame:
        """The bars in units: ts (close) and start ns UTC, prices and value in the quote asset.

        volume and bought are base units or contracts.
        """
        of = bars["book"]
        instruments = [self.catalog.instrument_of(b) for b in range(len(self.catalog.books))]
        tick = np.array([one.tick_float for one in instruments])[of]
        lot = np.array([float(one.lot) for one in instruments])[of]
        worth = np.array([float(_worth(one)) for one in instruments])[of]
        inverse = np.array([one.kind is Kind.INVERSE for one in instruments])[of]
        columns: dict[str, Any] = {
            "symbol": [instruments[book].name for book in of.tolist()],
            "ts": bars["ts"],
            "start": bars["start"],
            **{field: bars[field] * tick for field in PRICES},
            "volume": bars["volume"] * lot,
            "bought": bars["bought"] * lot,
            "trades": bars["trades"],
            "value": np.where(inverse, bars["volume"], bars["value"]) * worth,
        }
        return pl.DataFrame(columns)


def bars_of(catalog: Catalog, blocks: Iterable[Raw], by: str, size: str) -> Iterator[NDArray[Any]]:
    """The bars of a recorded tape, block by block; the one under way at the end is left out."""
    bars = Bars(catalog, by, size)
    for block in blocks:
        yield bars.observe(block)


def _worth(instrument: Instrument) -> Fraction:
    """Quote units of one tick x lot; of inverse contracts of one lot."""
    lots = instrument.lot_value * Fraction(instrument.multiplier)
    return lots if instrument.kind is Kind.INVERSE else lots * instrument.tick_value


def _threshold(instrument: Instrument, by: str, size: str) -> int:
    """The size in what the kernel counts."""
    number, unit = size, 1
    if by == "time":
        number, unit = size[:-1], SPANS.get(size[-1:], 0)
    try:
        wanted = Fraction(number) * unit
    except (ValueError, ZeroDivisionError):
        wanted = Fraction(0)
    if by == "volume":
        wanted /= instrument.lot_value
    elif by == "value":
        wanted = Fraction(round(wanted / _worth(instrument)))
    if wanted <= 0 or wanted.denominator != 1:
        raise SettingError(
            f"--size {size!r}: of bars by {by} it must be "
            + {
                "time": "such as 90s, 15m, 4h or 1d",
                "volume": f"a positive multiple of the lot {instrument.lot} of {instrument.name}",
            }.get(by, "a positive number")
        )
    if wanted >= PRODUCT_LIMIT:
        raise DataError(f"--size {size}: too large for {instrument.name}; give less")
    return int(wanted)
