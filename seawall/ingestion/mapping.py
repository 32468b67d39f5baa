"""Any table of trades, best bid/ask or depth, through a mapping of its columns to fields."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventFlag, EventKind, Side, empty, ordered
from seawall.core.instruments import Instrument, Kind, Source
from seawall.ingestion import tables

ROWS: Mapping[str, tuple[str, ...]] = {
    "trades": ("ts", "price", "size"),
    "quotes": ("ts", "bid", "bid_size", "ask", "ask_size"),
    "depth": ("ts", "price", "size", "side"),
}
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "trades": ("side", "id", "previous", "recv", "symbol"),
    "quotes": ("id", "previous", "recv", "symbol"),
    "depth": ("id", "previous", "snapshot", "recv", "symbol"),
}
BUYS = ("buy", "b", "bid", "bids", "long", "1", "+1")
SELLS = ("sell", "s", "ask", "asks", "a", "short", "-1")
NO_SIDE = ("", "unknown", "none", "0", "u")
TRUE = ("true", "1", "t", "yes", "y", "snapshot")


def parse_columns(text: str) -> dict[str, str]:
    """``ts=time,price=px`` → {"ts": "time", "price": "px"}.

    Raises:
        SettingError: not of that form.
    """
    mapping: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        field, equals, name = (p.strip() for p in part.partition("="))
        if not (field and equals and name):
            raise SettingError(
                f"--columns: {part!r} is not FIELD=COLUMN; write such as ts=time,price=px,size=qty"
            )
        mapping[field] = name
    return mapping


def read_tables(
    paths: Sequence[Path],
    *,
    rows: str = "trades",
    columns: Mapping[str, str] | None = None,
    venue: str = "recorded",
    kind: Kind = Kind.SPOT,
    quote: str = "",
    multiplier: str = "1",
    symbols: Sequence[str] = (),
    unit: str = "auto",
) -> tables.Imported:
    """Any tables of trades, best bid/ask (quotes) or depth, of one venue.

    Fields that must be there: ROWS; that may be: OPTIONAL. `ts` is the venue's time, `recv` ours,
    taken as the same where it is missing. `id` is the sequence, else rows (of depth: messages) are
    numbered. Depth rows of one id (else: of one time) are one message; a book starts empty at the
    first row of its file and wherever `snapshot` turns true.

    Args:
        rows: trades, quotes or depth.
        columns: field → column, for fields not named as above.

    Raises:
        DataError: one line that names file, column and row.
        SettingError: `columns` names an unknown field.
    """
    names = _mapped(rows, columns or {})
    pieces: dict[str, list[_Piece]] = {}
    for path in paths:
        for symbol, frame in tables.by_symbol(path, names["symbol"], symbols):
            piece = _Piece(rows, frame, names, f"{path} ({symbol})", unit)
            pieces.setdefault(symbol, []).append(piece)
    if not pieces:
        raise DataError("none of the files holds a wanted symbol; check --symbol")
    instruments, parts = [], []
    for index, (symbol, own) in enumerate(pieces.items()):
        base, quoted = tables.split_symbol(symbol, quote)
        tick, lot = _increments(own)
        instrument = Instrument(
            venue=venue,
            symbol=symbol,
            kind=kind,
            base=base,
            quote=quoted,
            tick=tick,
            lot=lot,
            multiplier=multiplier,
        )
        instruments.append(instrument)
        done = 0
        for piece in own:
            made = piece.rows(instrument, done)
            made["instrument"] = index
            done += len(made)
            parts.append(made)
    catalog = tables.catalog_of(instruments, [Source(name=venue, venue=venue)])
    return tables.Imported(catalog, ordered(np.concatenate(parts)))


def _mapped(rows: str, columns: Mapping[str, str]) -> dict[str, str]:
    """Every field of this kind of rows → its column."""
    if rows not in ROWS:
        raise SettingError(f"--rows {rows!r} is unknown; use {', '.join(ROWS)}")
    fields = (*ROWS[rows], *OPTIONAL[rows])
    for field in columns:
        if field not in fields:
            raise SettingError(
                f"--columns: {rows} have no field {field!r}; the fields are {', '.join(fields)}"
            )
    return {field: columns.get(field, field) for field in fields}


class _Piece:
    """The rows of one symbol in one file, checked; prices and sizes still as floats."""

    def __init__(
        self, kind: str, frame: pl.DataFrame, names: Mapping[str, str], where: str, unit: str
    ) -> None:
        self.kind, self.where = kind, where
        self.frame, self.names = frame, names
        time_name = names["ts"]
        if time_name == "ts" and "ts" not in frame.columns:
            time_name = next((n for n in tables.TIME_NAMES if n in frame.columns), "ts")
        self.exch = tables.times(frame, time_name, where, unit)
        self.recv = (
            tables.times(frame, names["recv"], where, unit) if self._has("recv") else self.exch
        )
        tables.refuse_unsorted(self.recv, where)
        halves = ("bid", "ask") if kind == "quotes" else ("",)
        self.prices = [tables.numbers(frame, names[h or "price"], where) for h in halves]
        self.sizes = [
            tables.numbers(frame, names[f"{h}_size" if h else "size"], where, zero=kind != "trades")
            for h in halves
        ]

    def _has(self, field: str) -> bool:
        return self.names.get(field, "") in self.frame.columns

    def rows(self, instrument: Instrument, done: int) -> NDArray[Any]:
        """Tape rows; `done` rows of the instrument came before, for numbers where ids are none."""
        halves = len(self.prices)
        rows = empty(halves * len(self.exch)).reshape(-1, halves)
        rows["recv_ts"] = self.recv[:, None]
        rows["exch_ts"] = self.exch[:, None]
        for at, (price, size) in enumerate(zip(self.prices, self.sizes, strict=True)):
            rows["price"][:, at] = tables.to_units(price, instrument.tick, f"{self.where}, price")
            rows["size"][:, at] = tables.to_units(size, instrument.lot, f"{self.where}, size")
            rows["side"][:, at] = (Side.BUY, Side.SELL)[at]
        rows["previous"] = -1
        if self._has("previous"):
            previous = tables.whole_numbers(self.frame, self.names["previous"], self.where)
            rows["previous"] = previous[:, None]
        numbered = np.arange(done + 1, done + 1 + len(rows))
        if self._has("id"):
            numbered = tables.whole_numbers(self.frame, self.names["id"], self.where)
        elif self.kind == "depth":
            numbered = done + 1 + np.cumsum(np.diff(self.exch, prepend=self.exch[0]) != 0)
        rows["sequence"] = numbered[:, None]
        rows["flags"][:, 0] |= np.uint16(EventFlag.BEGIN)
        rows["flags"][:, -1] |= np.uint16(EventFlag.END)
        rows["kind"] = EventKind.QUOTE if self.kind == "quotes" else EventKind.TRADE
        flat = rows.reshape(-1)
        tables.check_product(flat["price"], flat["size"], self.where)
        if self.kind != "quotes":
            flat["side"] = self._sides()
        return self._depth(flat) if self.kind == "depth" else flat

    def _sides(self) -> NDArray[np.uint8]:
        if not self._has("side") and self.kind == "trades":
            return np.full(len(self.exch), Side.UNKNOWN, dtype=np.uint8)
        series = tables.column(self.frame, self.names["side"], self.where)
        words = series.cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()
        sides = np.full(len(words), 255, dtype=np.uint8)
        sides[words.is_in(BUYS).to_numpy()] = Side.BUY
        sides[words.is_in(SELLS).to_numpy()] = Side.SELL
        if self.kind == "trades":
            sides[words.is_in(NO_SIDE).to_numpy()] = Side.UNKNOWN
        if (sides == 255).any():
            row = int(np.argmax(sides == 255))
            raise DataError(
                f"{self.where}: column {self.names['side']!r}, row {row + 1} is {series[row]!r}, "
                "no side that is known; use buy and sell, or bid and ask"
            )
        return sides

    def _depth(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Messages flagged, and a SNAPSHOT row wherever a whole book begins."""
        rows["kind"] = EventKind.DEPTH
        rows["flags"] = tables.message_flags(rows["sequence"])
        begins = (rows["flags"] & EventFlag.BEGIN) != 0
        whole = np.zeros(len(rows), dtype=np.bool_)
        if self._has("snapshot"):
            series = tables.column(self.frame, self.names["snapshot"], self.where).cast(pl.String)
            whole = series.str.to_lowercase().is_in(TRUE).fill_null(value=False).to_numpy()
        turns = whole & np.concatenate([[True], ~whole[:-1] | (np.diff(rows["sequence"]) != 0)])
        turns[0] = True
        at = np.flatnonzero(turns & begins)
        heads = rows[at]
        heads["kind"] = EventKind.SNAPSHOT
        heads["side"] = Side.UNKNOWN
        heads["price"] = heads["size"] = 0
        heads["flags"] = EventFlag.BEGIN
        heads["previous"] = -1
        rows["flags"][at] &= np.uint16(EventFlag.END)
        return np.insert(rows, at, heads)


def _increments(pieces: Sequence[_Piece]) -> tuple[str, str]:
    """Tick and lot that hold every value of a symbol."""
    where = pieces[0].where
    tick = tables.infer_increment(f"{where}, prices", *(p for one in pieces for p in one.prices))
    lot = tables.infer_increment(f"{where}, sizes", *(s for one in pieces for s in one.sizes))
    return tick, lot
