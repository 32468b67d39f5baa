"""Binance-style recordings: depth snapshot, depth diffs, trades and best bid/ask, as tape rows.

A set is up to four files of one symbol and night, found by the ends of their names:
`*_depth_snapshot`, `*_depth_diff`, `*_trades` and `*_book_ticker`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seawall.core.errors import DataError
from seawall.core.events import EventFlag, EventKind, Side, empty, ordered
from seawall.core.instruments import Instrument, Kind, Source
from seawall.ingestion import tables

STREAMS = ("depth_snapshot", "depth_diff", "trades", "book_ticker")
VENUES: Mapping[str, tuple[str, Kind]] = {
    "spot": ("binance", Kind.SPOT),
    "usdm": ("binance-usdm", Kind.LINEAR),
    "um": ("binance-usdm", Kind.LINEAR),
    "cm": ("binance-coinm", Kind.INVERSE),
    "coinm": ("binance-coinm", Kind.INVERSE),
}
NAME = re.compile(r"(?P<set>.+)_(?P<stream>depth_snapshot|depth_diff|trades|book_ticker)$")
SET = re.compile(r"binance_(?P<market>spot|usdm|um|cm|coinm)_(?P<symbol>.+?)(_\d{6,8})?$")
SIDES = {"bid": Side.BUY, "ask": Side.SELL}


@dataclass(frozen=True, slots=True)
class RecordedSet:
    """The files of one set. `files`: stream → path."""

    name: str
    venue: str
    symbol: str
    kind: Kind
    files: Mapping[str, Path]


def find_sets(
    paths: Sequence[Path], *, venue: str = "", symbol: str = "", kind: Kind | None = None
) -> list[RecordedSet]:
    """The sets among files and folders, by their names.

    Args:
        venue, symbol, kind: for sets whose name does not tell (``binance_spot_btcusdt_20240808``
            does); they overrule the name.

    Raises:
        DataError: no such path, no set, or a set that lacks what it needs.
    """
    files: dict[str, dict[str, Path]] = {}
    for path in tables.expanded(paths):
        match = NAME.match(path.name.split(".")[0])
        if match:
            files.setdefault(str(path.parent / match["set"]), {})[match["stream"]] = path
    sets = []
    for name, streams in sorted(files.items()):
        told = SET.match(Path(name).name)
        if told is None and not (venue and symbol):
            continue
        market = VENUES[told["market"]] if told else ("", Kind.SPOT)
        sets.append(
            RecordedSet(
                name=name,
                venue=venue or market[0],
                symbol=symbol or (told["symbol"].upper() if told else ""),
                kind=kind or market[1],
                files=streams,
            )
        )
    if not sets:
        raise DataError(
            f"{', '.join(map(str, paths))}: no Binance set here (files named such as "
            "binance_spot_btcusdt_20240808_depth_diff.parquet); give --venue and --symbol for "
            "files named otherwise"
        )
    for one in sets:
        if "depth_diff" in one.files and "depth_snapshot" not in one.files:
            raise DataError(
                f"{one.name}: there is a depth_diff but no depth_snapshot to start the book from; "
                "add the file"
            )
    return sets


def set_of(path: Path) -> str:
    """The set that a file belongs to by its name, empty where it is none of a known market."""
    match = NAME.match(path.name.split(".")[0])
    return match["set"] if match and SET.match(match["set"]) else ""


def read_sets(
    paths: Sequence[Path], *, venue: str = "", symbol: str = "", kind: Kind | None = None
) -> tables.Imported:
    """Sets of files as one tape, ordered by receive time, source and arrival.

    Every stream keeps its order of arrival; a receive time that goes back within a stream is
    raised and flagged. `exch_ts` is the event's time; best bid/ask has only a matching time, and on
    spot none: there it is the receive time less the least (receive - event) seen so far in the
    other streams, the lower envelope of the clock's offset. Sizes are totals in base units or, for
    COIN-M, contracts.

    Raises:
        DataError: one line that names file, column and row.
    """
    sets = find_sets(paths, venue=venue, symbol=symbol, kind=kind)
    loaded: dict[tuple[str, str], list[_Loaded]] = {}
    for one in sets:
        loaded.setdefault((one.venue, one.symbol), []).append(_Loaded(one))
    venues = list(dict.fromkeys(one.venue for one in sets))
    instruments, parts, notes = [], [], []
    for index, ((venue_name, _), pieces) in enumerate(loaded.items()):
        instrument = _instrument(pieces)
        instruments.append(instrument)
        for piece in pieces:
            rows, note = piece.rows(instrument)
            rows["instrument"] = index
            rows["source"] = venues.index(venue_name)
            parts.append(rows)
            notes += note
    sources = [Source(name=name, venue=name) for name in venues]
    catalog = tables.catalog_of(instruments, sources)
    return tables.Imported(catalog, ordered(np.concatenate(parts)), tuple(notes))


def _instrument(pieces: Sequence["_Loaded"]) -> Instrument:
    """The instrument of all sets of a symbol, with increments that hold all their values."""
    one = pieces[0].recorded
    base, quote = tables.split_symbol(one.symbol)
    inverse = one.kind is Kind.INVERSE
    prices = [p for piece in pieces for p in piece.prices.values()]
    sizes = [s for piece in pieces for s in piece.sizes.values()]
    return Instrument(
        venue=one.venue,
        symbol=one.symbol,
        kind=one.kind,
        base=base,
        quote=quote,
        tick=tables.infer_increment(f"{one.name}, prices", *prices),
        lot=tables.infer_increment(f"{one.name}, sizes", *sizes),
        multiplier=("100" if base == "BTC" else "10") if inverse else "1",
    )


class _Loaded:
    """The files of a set, read and checked."""

    def __init__(self, recorded: RecordedSet) -> None:
        self.recorded = recorded
        self.short = Path(recorded.name).name
        self.frames: dict[str, pl.DataFrame] = {}
        self.prices: dict[str, NDArray[np.float64]] = {}
        self.sizes: dict[str, NDArray[np.float64]] = {}
        for stream in STREAMS:
            if stream not in recorded.files:
                continue
            frame = tables.read_frame(recorded.files[stream])
            where = str(recorded.files[stream])
            self.frames[stream] = frame
            ticker = stream == "book_ticker"
            for prefix in ("bid_", "ask_") if ticker else ("",):
                self.prices[prefix + stream] = tables.numbers(frame, f"{prefix}price", where)
                self.sizes[prefix + stream] = tables.numbers(
                    frame, f"{prefix}qty", where, zero=stream == "depth_diff" or ticker
                )

    def where(self, stream: str) -> str:
        """The file of a stream, for messages."""
        return str(self.recorded.files[stream])

    def times(self, stream: str, *names: str) -> NDArray[np.int64] | None:
        """The first of the named columns that is there and filled, ns."""
        frame = self.frames[stream]
        for name in names:
            if name in frame.columns and frame[name].null_count() < frame.height:
                return tables.times(frame, name, self.where(stream))
        return None

    def received(self, stream: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Receive times made monotone, and where they had to be raised."""
        given = tables.times(self.frames[stream], "recv_ts", self.where(stream))
        raised = np.maximum.accumulate(given)
        return raised, raised > given

    def rows(self, instrument: Instrument) -> tuple[NDArray[Any], list[str]]:
        """The set's rows, snapshot first (not ordered between streams), and notes."""
        notes: list[str] = []
        diffs = self._diffs(instrument, notes) if "depth_diff" in self.frames else empty(0)
        parts = [diffs]
        start = -(1 << 63)
        if "depth_snapshot" in self.frames:
            snapshot = self._snapshot(instrument, diffs)
            start = int(snapshot["recv_ts"][0])
            parts.insert(0, snapshot)
        if "trades" in self.frames:
            parts.append(self._trades(instrument))
        if "book_ticker" in self.frames:
            parts.append(self._quotes(instrument, np.concatenate([diffs, *parts[2:]])))
        rows = np.concatenate(parts)
        early = rows["recv_ts"] < start
        if early.any():
            notes.append(
                f"{self.short}: {int(early.sum())} rows of trades and best bid/ask from before "
                "the snapshot were left out"
            )
        return rows[~early], notes

    def _filled(
        self, stream: str, instrument: Instrument, recv: NDArray[np.int64], kind: EventKind
    ) -> NDArray[Any]:
        """One row per row of the stream, with what all streams have in common."""
        rows = empty(len(recv))
        where = self.where(stream)
        rows["recv_ts"] = recv
        rows["kind"] = kind
        rows["previous"] = -1
        rows["price"] = tables.to_units(self.prices[stream], instrument.tick, f"{where}, price")
        rows["size"] = tables.to_units(self.sizes[stream], instrument.lot, f"{where}, qty")
        tables.check_product(rows["price"], rows["size"], where)
        return rows

    def _sides(self, stream: str) -> NDArray[np.uint8]:
        series = tables.column(self.frames[stream], "side", self.where(stream)).cast(pl.String)
        sides = np.full(len(series), Side.UNKNOWN, dtype=np.uint8)
        for word, side in SIDES.items():
            sides[(series == word).fill_null(value=False).to_numpy()] = side
        if (sides == Side.UNKNOWN).any():
            row = int(np.argmax(sides == Side.UNKNOWN))
            raise DataError(
                f"{self.where(stream)}: column 'side', row {row + 1} is {series[row]!r}, neither "
                "bid nor ask; correct the file"
            )
        return sides

    def _snapshot_id(self) -> int:
        where = self.where("depth_snapshot")
        ids = tables.whole_numbers(self.frames["depth_snapshot"], "last_update_id", where)
        if (ids != ids[0]).any():
            raise DataError(
                f"{where}: holds more than one snapshot; give each its own set of files"
            )
        return int(ids[0])

    def _diffs(self, instrument: Instrument, notes: list[str]) -> NDArray[Any]:
        """The diffs that come after the snapshot, flagged message by message."""
        stream, where = "depth_diff", self.where("depth_diff")
        recv, late = self.received(stream)
        rows = self._filled(stream, instrument, recv, EventKind.DEPTH)
        rows["side"] = self._sides(stream)
        exch = self.times(stream, "event_ts", "txn_ts")
        rows["exch_ts"] = recv if exch is None else exch
        last = tables.whole_numbers(self.frames[stream], "last_update_id", where)
        rows["sequence"] = last
        if self.recorded.kind is Kind.SPOT:
            rows["previous"] = (
                tables.whole_numbers(self.frames[stream], "first_update_id", where) - 1
            )
        else:
            rows["previous"] = tables.whole_numbers(self.frames[stream], "prev_update_id", where)
        rows["flags"] = tables.message_flags(last)
        rows["flags"][late] |= np.uint16(EventFlag.RECORDED_LATE)
        kept = rows[last > self._snapshot_id()]
        if len(kept) < len(rows):
            notes.append(
                f"{self.short}: {len(rows) - len(kept)} diff rows that the snapshot "
                "already holds were left out"
            )
        return kept

    def _snapshot(self, instrument: Instrument, diffs: NDArray[Any]) -> NDArray[Any]:
        """SNAPSHOT and its levels, at the latest when the first kept diff arrives.

        A snapshot comes by another road (REST) than the diffs and often after diffs that build on
        it: then its receive time is pulled forward to theirs. Its venue time is then (and where
        it has none) such that the clocks differ by as much as in the first kept diff.
        """
        stream = "depth_snapshot"
        recv, _ = self.received(stream)
        levels = self._filled(stream, instrument, recv, EventKind.DEPTH)
        levels["side"] = self._sides(stream)
        rows = np.concatenate([levels[:1], levels])
        rows["kind"][0] = EventKind.SNAPSHOT
        rows["price"][0] = rows["size"][0] = 0
        rows["side"][0] = Side.UNKNOWN
        rows["sequence"] = self._snapshot_id()
        moment = int(recv[-1])
        exch = self.times(stream, "txn_ts", "event_ts")
        venue_time = moment if exch is None else int(exch[0])
        if len(diffs):
            first = diffs[0]
            if exch is None or moment > first["recv_ts"]:
                moment = min(moment, int(first["recv_ts"]))
                venue_time = moment - int(first["recv_ts"] - first["exch_ts"])
        rows["exch_ts"] = venue_time
        rows["recv_ts"] = moment
        rows["flags"][0] = EventFlag.BEGIN
        rows["flags"][-1] = EventFlag.END
        return rows

    def _trades(self, instrument: Instrument) -> NDArray[Any]:
        stream, where = "trades", self.where("trades")
        recv, late = self.received(stream)
        rows = self._filled(stream, instrument, recv, EventKind.TRADE)
        exch = self.times(stream, "event_ts", "trade_ts")
        rows["exch_ts"] = recv if exch is None else exch
        rows["sequence"] = tables.whole_numbers(self.frames[stream], "trade_id", where)
        maker = tables.column(self.frames[stream], "buyer_is_maker", where)
        if maker.dtype == pl.String:
            maker = maker.str.to_lowercase() == "true"
        rows["side"] = np.where(maker.cast(pl.Boolean).to_numpy(), Side.SELL, Side.BUY)
        rows["flags"] = EventFlag.BEGIN | EventFlag.END
        rows["flags"][late] |= np.uint16(EventFlag.RECORDED_LATE)
        return rows

    def _quotes(self, instrument: Instrument, timed: NDArray[Any]) -> NDArray[Any]:
        """Two rows for each best bid/ask: bid, then ask.

        Args:
            timed: rows of the other streams, which carry the venue's clock.
        """
        stream, where = "book_ticker", self.where("book_ticker")
        recv, late = self.received(stream)
        exch = self.times(stream, "txn_ts", "event_ts")
        rows = empty(2 * len(recv)).reshape(-1, 2)
        for at, (prefix, side) in enumerate((("bid_", Side.BUY), ("ask_", Side.SELL))):
            price, size = self.prices[prefix + stream], self.sizes[prefix + stream]
            label = f"{where}, {prefix}"
            rows["price"][:, at] = tables.to_units(price, instrument.tick, f"{label}price")
            rows["size"][:, at] = tables.to_units(size, instrument.lot, f"{label}qty")
            rows["side"][:, at] = side
            rows["flags"][:, at] = np.where(late, EventFlag.RECORDED_LATE, 0)
        rows["recv_ts"] = recv[:, None]
        rows["exch_ts"] = (_estimated(recv, timed) if exch is None else exch)[:, None]
        ids = tables.whole_numbers(self.frames[stream], "update_id", where)
        rows["sequence"] = ids[:, None]
        rows["previous"] = -1
        rows["kind"] = EventKind.QUOTE
        rows["flags"][:, 0] |= np.uint16(EventFlag.BEGIN)
        rows["flags"][:, 1] |= np.uint16(EventFlag.END)
        return rows.reshape(-1)


def _estimated(recv: NDArray[np.int64], timed: NDArray[Any]) -> NDArray[np.int64]:
    """Venue times of rows that have none, from the clock's offset as known when each arrived."""
    if len(timed) == 0:
        return recv
    timed = timed[np.argsort(timed["recv_ts"], kind="stable")]
    least = np.minimum.accumulate(timed["recv_ts"] - timed["exch_ts"])
    at = np.searchsorted(timed["recv_ts"], recv, side="right") - 1
    return np.asarray(recv - least[np.maximum(at, 0)], dtype=np.int64)
