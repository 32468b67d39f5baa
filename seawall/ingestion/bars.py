"""Bars from Parquet, feather or CSV: each bar becomes four rows at its close, never before.

Columns: ts (open time), open, high, low, close, volume; symbol where a file holds several.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seawall.core.errors import DataError
from seawall.core.events import EventFlag, EventKind, Side, empty, ordered
from seawall.core.instruments import PRODUCT_LIMIT, Instrument, Kind, Source
from seawall.ingestion import tables

PRICES = ("open", "high", "low", "close")
FIELDS = ("ts", *PRICES, "volume", "symbol")
CASH_DECIMALS = 8  # tick x lot is kept no finer than this where that leaves a usable lot
LOT_DECIMALS = 4  # a lot is never made coarser than this for it
NOTED_GAPS = 5


def read_bars(
    paths: Sequence[Path],
    *,
    venue: str = "recorded",
    kind: Kind = Kind.SPOT,
    quote: str = "",
    multiplier: str = "1",
    symbols: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    unit: str = "auto",
    tick: str = "",
) -> tables.Imported:
    """Bars of one venue and one span, from files of one symbol each or with a symbol column.

    A file without a symbol column is named by `symbols` if there is just one, else by its name.
    Files of one symbol must follow one another in time. The span is the most frequent step; all
    steps must be multiples of it, and longer ones are gaps, which are legal and noted.

    Prices are kept exactly, unless `tick` says what to round them to: a venue that trades hidden
    orders between its ticks reports prices too fine for its price level. Volume is a statistic: it
    is rounded to the lot, which is the sizes' own increment, but made coarser where tick x lot
    would be finer than 10^-8 of the quote asset (yet not beyond 10^-4), or where int64 leaves no
    room.

    Args:
        multiplier: base units per contract (quote units if `kind` is INVERSE).
        columns: field → column, for fields not named as above.
        unit: unit of time, as in `tables.times`.
        tick: price increment as a decimal string; empty: what holds all prices exactly.

    Raises:
        DataError: one line that names file, column and row.
        SettingError: `tick` is no positive decimal.
    """
    names = {field: (columns or {}).get(field, field) for field in FIELDS}
    tables.check_increment(tick, "--tick")
    frames: dict[str, list[tuple[str, pl.DataFrame]]] = {}
    for path in paths:
        for symbol, frame in tables.by_symbol(path, names["symbol"], symbols):
            frames.setdefault(symbol, []).append((f"{path} ({symbol})", frame))
    series = {symbol: _Bars(pieces, names, unit) for symbol, pieces in frames.items()}
    span = _common_span(series)
    instruments, parts, notes = [], [], []
    for index, (symbol, bars) in enumerate(series.items()):
        base, quoted = tables.split_symbol(symbol, quote)
        if tick:
            notes += bars.round_prices(tick)
        own_tick, lot = bars.increments()
        instruments.append(
            Instrument(
                venue=venue,
                symbol=symbol,
                kind=kind,
                base=base,
                quote=quoted,
                tick=own_tick,
                lot=lot,
                multiplier=multiplier,
            )
        )
        parts.append(bars.rows(index, span, own_tick, lot))
        notes += bars.gap_notes(span)
    source = Source(name=venue, venue=venue, bar_span=span)
    catalog = tables.catalog_of(instruments, [source])
    return tables.Imported(catalog, ordered(np.concatenate(parts)), tuple(notes))


class _Bars:
    """The checked bars of one symbol, as floats."""

    def __init__(
        self, pieces: Sequence[tuple[str, pl.DataFrame]], names: Mapping[str, str], unit: str
    ) -> None:
        self.where = pieces[0][0]
        starts: list[NDArray[np.int64]] = []
        values: dict[str, list[NDArray[np.float64]]] = {f: [] for f in (*PRICES, "volume")}
        time_name = names["ts"]
        for where, frame in pieces:
            if time_name not in frame.columns and time_name == "ts":
                time_name = next((n for n in tables.TIME_NAMES if n in frame.columns), "ts")
            starts.append(tables.times(frame, time_name, where, unit))
            tables.refuse_unsorted(starts[-1], where, strict=True)
            if len(starts) > 1 and starts[-1][0] <= starts[-2][-1]:
                raise DataError(
                    f"{where}: begins before the file in front of it ends; give the files of one "
                    "symbol in the order of time, without overlap"
                )
            for field, arrays in values.items():
                arrays.append(tables.numbers(frame, names[field], where, zero=field == "volume"))
            _refuse_impossible({f: arrays[-1] for f, arrays in values.items()}, where)
        self.starts = np.concatenate(starts)
        self.values = {field: np.concatenate(arrays) for field, arrays in values.items()}

    def span(self) -> int:
        """The most frequent step, ns."""
        steps, counts = np.unique(np.diff(self.starts), return_counts=True)
        if len(steps) == 0:
            raise DataError(f"{self.where}: a single bar does not tell its span; give two or more")
        span = int(steps[np.argmax(counts)])
        odd = np.flatnonzero(np.diff(self.starts) % span)
        if len(odd):
            row = int(odd[0]) + 2
            raise DataError(
                f"{self.where}: row {row} ({tables.when(int(self.starts[row - 1]))}) does not lie "
                f"on the grid of {tables.length(span)} bars; correct or remove it"
            )
        return span

    def round_prices(self, tick: str) -> list[str]:
        """Round all prices to multiples of `tick`; a note on how many bars that changed."""
        step = Fraction(tick)
        changed = np.zeros(len(self.starts), np.bool_)
        for field in PRICES:
            given = self.values[field]
            ticks = np.rint(given * float(step.denominator) / float(step.numerator))
            rounded = ticks * float(step.numerator) / float(step.denominator)
            changed |= np.abs(rounded - given) > 2.0 * np.spacing(given)
            self.values[field] = rounded
        if not self.values["low"].min() > 0.0:
            raise DataError(f"{self.where}: --tick {tick} rounds a price to 0; give a finer one")
        count = int(changed.sum())
        return [f"{self.where}: prices of {count:,} bars rounded to {tick}"] if count else []

    def increments(self) -> tuple[str, str]:
        """Tick and lot as decimal strings."""
        prices = [self.values[field] for field in PRICES]
        tick = tables.infer_increment(f"{self.where}, prices", *prices)
        tables.check_ticks(self.values["high"], tick, self.where)
        tick_places = max(0, len(tick) - 2)
        volume = self.values["volume"]
        places = tables.decimals(volume)
        coarsest = max(CASH_DECIMALS - tick_places, LOT_DECIMALS)
        places = coarsest if places is None else min(places, coarsest)
        ticks = float(self.values["high"].max()) * 10.0**tick_places
        lot = Fraction(1, 10**places)
        while float(volume.max()) / lot * ticks >= PRODUCT_LIMIT / 2:
            lot *= 10
        return tick, str(int(lot)) if lot >= 1 else tables.increment_of(len(str(1 / lot)) - 1)

    def rows(self, instrument: int, span: int, tick: str, lot: str) -> NDArray[Any]:
        """Four rows a bar, at its close."""
        count = len(self.starts)
        rows = empty(4 * count).reshape(count, 4)
        rows["recv_ts"] = (self.starts + span)[:, None]
        rows["exch_ts"] = self.starts[:, None]
        rows["sequence"] = (self.starts // span)[:, None]
        rows["previous"] = -1
        rows["instrument"] = instrument
        rows["side"] = Side.UNKNOWN
        rows["kind"] = [
            EventKind.BAR_OPEN,
            EventKind.BAR_HIGH,
            EventKind.BAR_LOW,
            EventKind.BAR_CLOSE,
        ]
        for at, field in enumerate(PRICES):
            where = f"{self.where}, column {field!r}"
            rows["price"][:, at] = tables.to_units(self.values[field], tick, where)
        volume = np.rint(self.values["volume"] / float(Fraction(lot))).astype(np.int64)
        rows["size"][:, 3] = volume
        rows["flags"][:, 0] = EventFlag.BEGIN
        rows["flags"][:, 3] = EventFlag.END
        flat = rows.reshape(-1)
        tables.check_product(flat["price"], volume, self.where)
        return flat

    def gap_notes(self, span: int) -> list[str]:
        """One line for each of the longest gaps, and one for how many there are."""
        steps = np.diff(self.starts)
        gaps = np.flatnonzero(steps > span)
        longest = gaps[np.argsort(-steps[gaps], kind="stable")][:NOTED_GAPS]
        notes = [
            f"{self.where}: no bars for {tables.length(int(steps[at] - span))} after "
            f"{tables.when(int(self.starts[at] + span))}"
            for at in sorted(longest)
        ]
        if len(gaps) > NOTED_GAPS:
            notes.append(f"{self.where}: {len(gaps)} gaps in all, the longest are named above")
        return notes


def _refuse_impossible(values: Mapping[str, NDArray[np.float64]], where: str) -> None:
    """Raise DataError at a bar whose high or low does not hold its open and close."""
    top = np.maximum(values["open"], values["close"])
    bottom = np.minimum(values["open"], values["close"])
    bad = (values["high"] < top) | (values["low"] > bottom)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{where}: row {row + 1} has open or close outside its low and high; correct the file"
        )


def _common_span(series: Mapping[str, _Bars]) -> int:
    """The one span of all symbols, ns."""
    spans = {bars.where: bars.span() for bars in series.values()}
    if not spans:
        raise DataError("none of the files holds a wanted symbol; check --symbol")
    first = next(iter(spans))
    for where, span in spans.items():
        if span != spans[first]:
            raise DataError(
                f"{where}: bars of {tables.length(span)}, but those of {first} are of "
                f"{tables.length(spans[first])}; import each span into a tape of its own"
            )
    return spans[first]
