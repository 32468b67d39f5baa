"""The market once more, slowly: dictionaries, one row at a time, formulas as they are written."""

import statistics
from collections import Counter
from typing import Any

from seawall.core.events import EventFlag, EventKind
from seawall.core.frames import FrameFlag
from seawall.core.instruments import Catalog
from seawall.market import MarketShape
from tests.tapes import Rows

NS = 1e-9
DRIFT = 1e-4  # a source's clock may run this much fast before its rows count as late


class Book:
    """One (instrument, source): its levels, and what has happened in the frame under way."""

    def __init__(self) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.touch: tuple[int, int, int, int] | None = None
        self.spoke: int | None = None
        self.delay = 0.0
        self.restart()

    def restart(self) -> None:
        """Windows begin anew."""
        self.mids: list[float] = []  # in ticks, the first one carried over from the last frame
        self.before: float | None = None  # mid of the last frame
        self.fresh = True
        self.clear()

    def clear(self) -> None:
        """A frame begins."""
        self.mids = self.mids[-1:]
        self.sums: Counter[str] = Counter()
        self.late = False

    def void(self) -> None:
        """The book is not to be believed."""
        self.sides[0].clear()
        self.sides[1].clear()
        self.touch = None
        self.mids = []

    def message_done(self) -> None:
        """Order-flow imbalance by Cont, Kukanov and Stoikov (2014), eq. 2, and the new mid."""
        self.sums["messages"] += 1
        bid, ask = max(self.sides[0]), min(self.sides[1])
        q_bid, q_ask = self.sides[0][bid], self.sides[1][ask]
        if self.touch:
            bid_0, q_bid_0, ask_0, q_ask_0 = self.touch
            self.sums["ofi"] += (
                (bid >= bid_0) * q_bid
                - (bid <= bid_0) * q_bid_0
                - (ask <= ask_0) * q_ask
                + (ask >= ask_0) * q_ask_0
            )
        self.touch = (bid, q_bid, ask, q_ask)
        self.mids.append((bid + ask) / 2)


def frames_of(catalog: Catalog, rows: Rows, shape: MarketShape) -> list[dict[str, Any]]:
    """The frames of a tape whose rows are all admitted and all quoted in the numeraire."""
    model = _Model(catalog, shape)
    for row in rows:
        model.take({name: int(row[name]) for name in rows.dtype.names})
    return model.frames


class _Model:
    def __init__(self, catalog: Catalog, shape: MarketShape) -> None:
        self.catalog, self.shape = catalog, shape
        self.books = {key: Book() for key in catalog.books}
        self.envelope: dict[int, tuple[float, int]] = {}
        self.extra: Counter[int] = Counter()
        self.boundary = self.last = self.index = self.seen = 0
        self.frames: list[dict[str, Any]] = []

    def after(self, ts: int) -> int:
        """The first boundary at or after a time."""
        return -(-ts // self.shape.cadence_ns) * self.shape.cadence_ns

    def take(self, row: dict[str, int]) -> None:
        """One row."""
        ts = row["recv_ts"]
        if not self.seen:
            self.boundary = self.after(ts)
        elif ts - self.last > self.shape.gap_ns:
            self.close()
            self.boundary = self.after(ts)
            for book in self.books.values():
                book.restart()
        while ts > self.boundary:
            self.close()
        self.last = ts
        self.seen += 1
        if row["kind"] != EventKind.TICK:
            self.apply(row, self.books[row["instrument"], row["source"]])

    def apply(self, row: dict[str, int], book: Book) -> None:
        """One row into its book."""
        ts, kind, end = row["recv_ts"], row["kind"], row["flags"] & EventFlag.END
        if kind == EventKind.DOWN:
            book.void()
            book.restart()
            return
        if row["flags"] & EventFlag.BEGIN and kind in (EventKind.DEPTH, EventKind.TRADE):
            self.measure(row)
        if book.spoke is not None and ts - book.spoke > self.shape.gap_ns:
            book.restart()
            book.spoke = ts
        extra = self.extra[row["source"]]
        book.late |= ts - extra <= self.boundary - self.shape.cadence_ns
        if kind == EventKind.TRADE:
            book.sums["trades"] += 1
            book.sums["sell" if row["side"] else "buy"] += row["size"]
            book.sums["value"] += row["price"] * row["size"]
            return
        if kind == EventKind.SNAPSHOT:
            book.sides[0].clear()
            book.sides[1].clear()
        elif row["size"]:
            book.sides[row["side"]][row["price"]] = row["size"]
        else:
            book.sides[row["side"]].pop(row["price"], None)
        if end:
            book.spoke = ts
            book.delay = extra * NS
            book.message_done()

    def measure(self, row: dict[str, int]) -> None:
        """The message's delay above the least that its source has shown (a lower envelope)."""
        ts, source = row["recv_ts"], row["source"]
        delay = ts - row["exch_ts"]
        least, when = self.envelope.get(source, (delay, ts))
        least = min(delay, least + int((ts - when) * DRIFT))
        self.envelope[source] = (least, ts)
        self.extra[source] = delay - least

    def usable(self, book: Book) -> bool:
        return bool(book.touch and book.mids and self.boundary - book.spoke <= self.shape.silent_ns)

    def close(self) -> None:
        """All frames at the boundary."""
        votes: dict[str, list[float]] = {}
        for (i, _), book in self.books.items():
            if self.usable(book):
                one = self.catalog.instruments[i]
                votes.setdefault(one.consensus_group, []).append(book.mids[-1] * one.tick_float)
        for at, ((i, source), book) in enumerate(self.books.items()):
            if book.spoke is None or self.boundary - book.spoke > self.shape.gap_ns:
                continue
            group = votes.get(self.catalog.instruments[i].consensus_group, [])
            where = {"instrument": i, "source": source, "book": at}
            self.frames.append(where | self.frame(i, book, group))
            if self.usable(book):
                book.before, book.fresh = book.mids[-1], False
            elif book.before:
                book.before, book.fresh = None, True
            book.clear()
        self.index += 1
        self.boundary += self.shape.cadence_ns

    def frame(self, i: int, book: Book, group: list[float]) -> dict[str, Any]:
        """One book's columns."""
        tick, lot = self.catalog.instruments[i].tick_float, self.catalog.instruments[i].lot_float
        silence = self.boundary - (book.spoke or 0)
        good = self.usable(book)
        flags = FrameFlag.VALID * good | FrameFlag.STALE * (silence > self.shape.silent_ns)
        flags |= FrameFlag.RESET * book.fresh | FrameFlag.LATE * book.late
        flags |= FrameFlag.UNCORROBORATED * (len(group) < 3)
        sums, volume = book.sums, book.sums["buy"] + book.sums["sell"]
        columns: dict[str, Any] = {
            "ts": self.boundary,
            "index": self.index,
            "tape": self.seen,
            "flags": int(flags),
            "ofi": sums["ofi"],
            "trades": sums["trades"],
            "messages": sums["messages"],
            "buy_volume": sums["buy"] * lot,
            "sell_volume": sums["sell"] * lot,
            "vwap": sums["value"] / volume * tick if volume else 0.0,
            "age": silence * NS,
            "delay": book.delay,
            "votes": len(group),
            "consensus": statistics.median(group) if group else 0.0,
            "quote_mark": 1.0,
            "realised_variance": sum(
                ((new - old) / old) ** 2 for old, new in zip(book.mids, book.mids[1:], strict=False)
            ),
        }
        if good and book.touch:
            columns |= self.good_columns(book, tick, lot, columns["consensus"])
        return columns

    def good_columns(self, book: Book, tick: float, lot: float, consensus: float) -> dict[str, Any]:
        """What can be said of a two-sided book that speaks."""
        bid, q_bid, ask, q_ask = book.touch or (0, 0, 0, 0)
        mid = book.mids[-1] * tick
        bids = [book.sides[0][p] for p in sorted(book.sides[0], reverse=True)[:5]]
        asks = [book.sides[1][p] for p in sorted(book.sides[1])[:5]]
        return {
            "bid": bid,
            "ask": ask,
            "bid_size": q_bid,
            "ask_size": q_ask,
            "mid": (bid + ask) / 2 * tick,
            "micro": (q_bid * ask + q_ask * bid) / (q_bid + q_ask) * tick,
            "spread_bps": (ask - bid) / ((ask + bid) / 2) * 10_000,
            "imbalance": (q_bid - q_ask) / (q_bid + q_ask),
            "imbalance_5": (sum(bids) - sum(asks)) / (sum(bids) + sum(asks)),
            "depth_5": (sum(bids) + sum(asks)) * lot,
            "open": book.mids[0] * tick,
            "high": max(book.mids) * tick,
            "low": min(book.mids) * tick,
            "return_": book.mids[-1] / book.before - 1 if book.before else 0.0,
            "deviation_bps": (mid / consensus - 1) * 10_000,
        }
