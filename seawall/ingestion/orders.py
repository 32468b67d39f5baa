"""Books order by order: tables of orders as tape rows, and the books of levels that follow.

Two layouts are known by their columns: a log of orders as they are created, changed and deleted
(Bitstamp), beside which trades may lie; and Bitfinex' raw book (R0), which has no times.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seawall.core import order_book_kernels as kernels
from seawall.core.errors import DataError
from seawall.core.events import EventFlag, EventKind, Raw, Side, empty, ordered
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.order_book import new_order_book
from seawall.ingestion import tables

LOG = {"order_id", "action", "side", "price"}
RAW = {"order_id", "is_snapshot", "price", "amount"}
TRADES = {"trade_id", "price", "qty"}
ACTIONS: Mapping[str, EventKind] = {
    "created": EventKind.ADD,
    "changed": EventKind.EXECUTE,
    "deleted": EventKind.CANCEL,
    "executed": EventKind.EXECUTE,
}
SIDES: Mapping[str, Side] = {"bid": Side.BUY, "ask": Side.SELL}
ROW_NS = 1_000_000  # between rows that have no time
ONE = int(EventFlag.BEGIN | EventFlag.END)
IS_ORDER = (EventKind.ADD, EventKind.MODIFY, EventKind.CANCEL, EventKind.EXECUTE)


def is_orders(columns: Iterable[str]) -> bool:
    """Whether a table with these columns holds orders."""
    return set(columns) >= LOG or set(columns) >= RAW


def has_orders(rows: NDArray[Any]) -> bool:
    """Whether rows of a tape tell a book order by order."""
    return bool((rows["kind"] >= EventKind.ADD).any())


def read_orders(
    paths: Sequence[Path],
    *,
    venue: str = "",
    symbol: str = "",
    kind: Kind | None = None,
    tick: str = "",
) -> tables.Imported:
    """The orders of one instrument, and its trades where a table of them is given.

    A log of orders (ts, order_id, action, side, price, qty) gives one row each; qty is
    what is left, of a deleted order what was cancelled. `changed`, and `deleted` with nothing left,
    are executions: a venue of that layout does not amend orders. The book starts empty. Its
    exch_ts is that of the order's coming, not of the row, so it is left out.

    The raw book (seq, is_snapshot, order_id, price, amount) gives snapshot, new, changed and gone
    orders; an order with another price is cancelled and added in one message. It has no times: rows
    get 1 ms each from 1970 on, so that their order alone is true.

    Args:
        venue, symbol: what the files' names (``bitstamp_btcusd_20150501_orders``) do not tell.
        tick: price increment to round bids down and asks up to, where prices are too fine to be
            kept; empty: what holds all prices exactly.

    Raises:
        DataError: one line that names file, column and row.
        SettingError: `tick` is no positive decimal.
    """
    tables.check_increment(tick, "--tick")
    frames = [(str(path), tables.read_frame(path)) for path in paths]
    books = [(where, frame) for where, frame in frames if is_orders(frame.columns)]
    trades = [(w, f) for w, f in frames if not is_orders(f.columns) and set(f.columns) >= TRADES]
    if len(books) != 1 or len(books) + len(trades) != len(frames):
        raise DataError(
            f"{', '.join(map(str, paths))}: give one table of orders (order_id, action, side, "
            "price, qty) and at most its trades (ts, trade_id, price, qty); others go to tapes of "
            "their own"
        )
    where, frame = books[0]
    told = (*Path(where).name.split(".")[0].split("_"), "")
    symbol = symbol or told[1].upper()
    base, quote = tables.split_symbol(symbol)
    raw = set(frame.columns) >= RAW
    size_name = "amount" if raw else "qty"
    sizes = frame.with_columns(pl.col(size_name).cast(pl.Float64).abs())
    price = [tables.numbers(frame, "price", where, zero=raw)]
    size = [tables.numbers(sizes, size_name, where, zero=True)]
    price += [tables.numbers(f, "price", w) for w, f in trades]
    size += [tables.numbers(f, "qty", w) for w, f in trades]
    notes: list[str] = []
    if tick:
        notes = _round(price, _asks(frame, where), Fraction(tick), where)
    instrument = Instrument(
        venue=venue or told[0],
        symbol=symbol,
        kind=kind or Kind.SPOT,
        base=base,
        quote=quote,
        tick=tick or tables.infer_increment(f"{where}, prices", *price),
        lot=tables.infer_increment(f"{where}, sizes", *size),
    )
    tables.check_ticks(price[0], instrument.tick, where)
    units = [
        (tables.to_units(p, instrument.tick, w), tables.to_units(s, instrument.lot, w))
        for p, s, w in zip(price, size, (where, *(w for w, _ in trades)), strict=True)
    ]
    for ticks, lots in units:
        tables.check_product(ticks, lots, where)
    read = _raw if raw else _log
    rows, told_of = read(frame, *units[0], where)
    parts = [_opened(rows)]
    parts += [_trades(f, *u, w) for (w, f), u in zip(trades, units[1:], strict=True)]
    catalog = tables.catalog_of(
        [instrument], [Source(name=instrument.venue, venue=instrument.venue)]
    )
    return tables.Imported(catalog, ordered(np.concatenate(parts)), (*notes, *told_of))


def _asks(frame: pl.DataFrame, where: str) -> NDArray[np.bool_]:
    """Which orders sell."""
    if "amount" in frame.columns:
        return np.asarray(frame["amount"].cast(pl.Float64).to_numpy() < 0)
    return np.asarray(_words(frame, "side", SIDES, where) == Side.SELL)


def _round(
    prices: list[NDArray[np.float64]], asks: NDArray[np.bool_], step: Fraction, where: str
) -> list[str]:
    """Round prices away from the other side's, trades to the nearest; a note on how many."""
    changed = 0
    for at, given in enumerate(prices):
        parts = given * float(step.denominator) / float(step.numerator)
        near = np.rint(parts)
        away = np.abs(near - parts) > 1e-6
        if at == 0:
            near = np.where(away, np.where(asks, np.ceil(parts), np.floor(parts)), near)
            changed = int(away.sum())
        prices[at] = near * float(step.numerator) / float(step.denominator)
    return [f"{where}: prices of {changed:,} rows rounded to {float(step):g}"] if changed else []


def _log(
    frame: pl.DataFrame, ticks: NDArray[np.int64], lots: NDArray[np.int64], where: str
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Orders as they are created, changed and deleted."""
    rows = empty(len(ticks))
    rows["recv_ts"] = tables.times(frame, "ts", where)
    tables.refuse_unsorted(rows["recv_ts"], where)
    rows["kind"] = _words(frame, "action", ACTIONS, where)
    rows["side"] = _words(frame, "side", SIDES, where)
    rows["price"], rows["size"] = ticks, lots
    rows["previous"] = tables.whole_numbers(frame, "order_id", where)
    rows["sequence"] = np.arange(1, len(rows) + 1)
    rows["flags"] = ONE
    gone = rows["kind"] == EventKind.CANCEL
    rows["kind"][gone & (lots == 0)] = EventKind.EXECUTE
    rows["size"][gone] = 0
    return rows, (
        f"{where}: there is no snapshot; the book starts empty and fills as orders come",
        f"{where}: no row has a venue time of its own (only that of its order's coming, to the "
        "second), so the venue's clock is taken to be ours",
    )


def _words(
    frame: pl.DataFrame, name: str, known: Mapping[str, Any], where: str
) -> NDArray[np.uint8]:
    """A column of known words as their values."""
    words = tables.column(frame, name, where).cast(pl.String)
    values = np.full(len(words), 255, np.uint8)
    for word, value in known.items():
        values[(words == word).fill_null(value=False).to_numpy()] = value
    if (values == 255).any():
        row = int(np.argmax(values == 255))
        raise DataError(
            f"{where}: column {name!r}, row {row + 1} is {words[row]!r}, none of "
            f"{', '.join(known)}; correct the file"
        )
    return values


def _raw(
    frame: pl.DataFrame, ticks: NDArray[np.int64], lots: NDArray[np.int64], where: str
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Bitfinex' raw book: price 0 removes an order, the amount's sign is its side."""
    sides = _asks(frame, where).astype(int).tolist()
    ids = tables.whole_numbers(frame, "order_id", where).tolist()
    whole = frame["is_snapshot"].cast(pl.String).str.to_lowercase().is_in(["true", "1"]).to_list()
    standing: dict[int, tuple[int, int]] = {}
    told: list[tuple[int, int, int, int, int, int]] = []  # message, kind, side, id, price, size
    message = 0
    for at, (one, side, price, size) in enumerate(
        zip(ids, sides, ticks.tolist(), lots.tolist(), strict=True)
    ):
        inside = whole[at] and at > 0 and whole[at - 1]
        message += not inside
        if whole[at] and not inside:
            standing = {}
            told.append((message, EventKind.SNAPSHOT, Side.UNKNOWN, 0, 0, 0))
        stood = standing.pop(one, None)
        if price == 0:
            told.append((message, EventKind.CANCEL, side, one, *(stood or (side, 1))[1:], 0))
            continue
        if stood == (side, price):
            told.append((message, EventKind.MODIFY, side, one, price, size))
        else:
            if stood is not None:
                told.append((message, EventKind.CANCEL, stood[0], one, stood[1], 0))
            told.append((message, EventKind.ADD, side, one, price, size))
        standing[one] = (side, price)
    rows = empty(len(told))
    for column, name in enumerate(("sequence", "kind", "side", "previous", "price", "size")):
        rows[name] = [one[column] for one in told]
    rows["recv_ts"] = rows["sequence"] * ROW_NS
    rows["flags"] = tables.message_flags(rows["sequence"])
    return rows, (
        f"{where}: there are no times; messages stand 1 ms apart from 1970-01-01 on, so only their "
        "order is true: no latency, no rate and no bar of time means anything here",
        f"{where}: there are no executions and no trades; every order that goes is a cancellation",
        f"{where}: of each side only the best orders are told; one that falls out of that window "
        "goes, and comes back as a new one at the end of its price",
    )


def _opened(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows, with an empty snapshot before them where there is none."""
    if rows["kind"][0] == EventKind.SNAPSHOT:
        return rows
    head = rows[:1].copy()
    head["kind"], head["side"], head["flags"] = EventKind.SNAPSHOT, Side.UNKNOWN, ONE
    for field in ("price", "size", "sequence", "exch_ts"):
        head[field] = 0
    head["previous"] = -1
    return np.concatenate([head, rows])


def _trades(
    frame: pl.DataFrame, ticks: NDArray[np.int64], lots: NDArray[np.int64], where: str
) -> NDArray[Any]:
    """Trades whose aggressor nobody tells."""
    rows = empty(len(ticks))
    rows["recv_ts"] = tables.times(frame, "ts", where)
    tables.refuse_unsorted(rows["recv_ts"], where)
    rows["sequence"] = tables.whole_numbers(frame, "trade_id", where)
    rows["previous"] = -1
    rows["price"], rows["size"] = ticks, lots
    rows["kind"], rows["side"], rows["flags"] = EventKind.TRADE, Side.UNKNOWN, ONE
    return rows


class Levels:
    """Blocks of a tape with books order by order → the same with books of levels.

    Each change of a level is a DEPTH row of the order row's message, and a row that brings several
    gives several. All other rows stay. Sequences of depth are counted anew.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._books: dict[tuple[int, int], kernels.OrderBook] = {}
        self._sequence: dict[tuple[int, int], int] = {}

    @property
    def counts(self) -> dict[int, NDArray[Any]]:
        """Book → COUNTS, as far as rows have come, of those that are told order by order."""
        of = self._catalog.book_of
        return {int(of[key]): book.counts[0] for key, book in self._books.items()}

    def blocks(
        self, blocks: Iterable[Raw], progress: Callable[[int], None] | None = None
    ) -> Iterator[Raw]:
        """The same tape with books of levels.

        Args:
            progress: called with the rows read so far.
        """
        done = 0
        for block in blocks:
            yield self.take(block)
            done += len(block)
            if progress:
                progress(done)

    def take(self, block: Raw) -> Raw:
        """One block. Messages may be cut where the block ends."""
        kinds = block["kind"]
        told = np.unique(block[["instrument", "source"]][kinds >= EventKind.ADD])
        kept = kinds < EventKind.ADD
        parts, order = [], []
        for key in sorted({*self._books, *told.tolist()}):
            own = (block["instrument"] == key[0]) & (block["source"] == key[1])
            kept &= ~own | (kinds != EventKind.SNAPSHOT)
            own |= (kinds == EventKind.DOWN) & (block["source"] == key[1])
            at = np.flatnonzero(own)
            rows, of = self._levels(key, block[at])
            parts.append(rows)
            order.append(at[of])
        parts.append(block[kept])
        order.append(np.flatnonzero(kept))
        places = np.concatenate(order)
        return Raw(np.concatenate(parts)[np.argsort(places, kind="stable")])

    def _levels(
        self, key: tuple[int, int], rows: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The levels that a book's rows change, and which of them did."""
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = new_order_book()
        told = changes_of(book, rows)
        told = told[told["what"] != kernels.COMPLETED]
        told = told[
            (told["what"] != kernels.CLEARED) | (rows["kind"][told["row"]] != EventKind.DOWN)
        ]
        made = rows[told["row"]]
        clears = told["what"] == kernels.CLEARED
        made["kind"] = np.where(clears, EventKind.SNAPSHOT, EventKind.DEPTH)
        made["side"] = np.where(clears, Side.UNKNOWN, told["side"])
        made["price"], made["size"] = told["price"], told["total"]
        made["previous"] = -1
        messages = np.cumsum((rows["flags"] & EventFlag.BEGIN) != 0)[told["row"]]
        first = self._sequence.get(key, 0)
        fresh = np.diff(messages, prepend=-1) != 0
        made["sequence"] = first + np.cumsum(fresh)
        self._sequence[key] = int(made["sequence"][-1]) if len(made) else first
        made["flags"] &= ~np.uint16(ONE)
        made["flags"] |= tables.message_flags(made["sequence"])
        return made, told["row"]


def changes_of(book: kernels.OrderBook, rows: NDArray[Any]) -> NDArray[Any]:
    """What rows of one book change in it (CHANGE); `row` counts in them."""
    parts, first = [], 0
    room = np.zeros(max(4 * kernels.MOST_CHANGES, 2 * len(rows)), kernels.CHANGE)
    while first < len(rows):
        first, count = kernels.run(book, rows, room, first)
        parts.append(room[:count].copy())
    return np.concatenate(parts) if parts else room[:0]
