"""The public market: books with update ids, trades, candles and tickers, from the tape's rows.

The book that all see is the tape's, less what accounts took, and with what they rest in it.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core import ladder as ladders
from seawall.core.clock import MILLISECOND
from seawall.core.events import EventFlag, EventKind, Raw, Side, empty
from seawall.core.instruments import Catalog
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID
from seawall.exchange.candles import Candles
from seawall.exchange.listing import Listing
from seawall.venues.simulated import kernels
from seawall.venues.simulated.desk import Desk
from seawall.venues.simulated.shape import VenueShape

KEPT_TRADES = 1_000
_NEVER = (1 << 63) - 1
_BARS = (EventKind.BAR_OPEN, EventKind.BAR_HIGH, EventKind.BAR_LOW, EventKind.BAR_CLOSE)

Levels = tuple[NDArray[np.int64], NDArray[np.int64]]  # ticks and lots, best first


class Trade(NamedTuple):
    """One public trade; `ms`: UTC."""

    number: int
    price: int
    lots: int
    ms: int
    buyer_takes: bool


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed in a book since the last one: (ticks, lots), 0 lots remove.

    first, last: update ids. previous: `last` of the diff before.
    """

    first: int
    last: int
    previous: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class Book:
    """One symbol, as the public sees it.

    Args:
        start: ns UTC; update and trade ids go on from it, so that they never go back.
    """

    def __init__(self, listing: Listing, floor: kernels.Floor, start: int) -> None:
        self.listing = listing
        self.candles = Candles()
        self.trades: deque[Trade] = deque(maxlen=KEPT_TRADES)
        self.resting: Mapping[tuple[int, int], int] = {}  # (side, ticks) → lots of all accounts
        self.update = start // 1_000
        self.changed = 0  # ns UTC of the last row
        self._trade = start // MILLISECOND
        self._floor = floor
        self._sent: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
        self._shown: tuple[int, int, int, int] | None = None

    @property
    def last(self) -> int:
        """Ticks of the last trade; 0 where there was none."""
        return int(self._floor.markets[self.listing.index]["last"])

    @property
    def touch(self) -> tuple[int, int]:
        """The tape's best bid and ask in ticks; NO_BID and NO_ASK where empty."""
        bid, ask = self._floor.ladders["best"][self.listing.index].tolist()
        return bid, ask

    @property
    def mark(self) -> int:
        """The middle of the book in ticks, or the last trade; 0 where there is neither."""
        bid, ask = self.touch
        return (bid + ask) // 2 if bid != NO_BID and ask != NO_ASK else self.last

    def side(self, side: int) -> dict[int, int]:
        """All levels of a side, best first: ticks → lots."""
        index = self.listing.index
        best = self.touch[side]
        found: dict[int, int] = {}
        if best not in (NO_BID, NO_ASK):
            prices, sizes = ladders.levels_of(self._floor.ladders[index], side)
            kept = prices <= best if side == BID else prices >= best
            found = dict(zip(prices[kept].tolist(), sizes[kept].tolist(), strict=True))
        for (where, price), lots in self.resting.items():
            if where == side:
                found[price] = found.get(price, 0) + lots
        return dict(sorted(found.items(), reverse=side == BID))

    def commit(self) -> Diff | None:
        """Give what changed since the last time an update id; None where nothing did."""
        changes: list[list[tuple[int, int]]] = []
        for side in (BID, ASK):
            now, before = self.side(side), self._sent[side]
            changed = [(price, lots) for price, lots in now.items() if before.get(price) != lots]
            changed += [(price, 0) for price in before if price not in now]
            changes.append(changed)
            self._sent[side] = now
        count = len(changes[BID]) + len(changes[ASK])
        if not count:
            return None
        previous = self.update
        self.update += count
        return Diff(previous + 1, self.update, previous, changes[BID], changes[ASK])

    def depth(self, most: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The book as of the last commit, best first."""
        bids, asks = (list(self._sent[side].items())[:most] for side in (BID, ASK))
        return bids, asks

    def top(self) -> tuple[int, int, int, int]:
        """Best bid, its lots, best ask, its lots; 0 where a side is empty."""
        found = []
        for side in (BID, ASK):
            best = self.touch[side]
            lots = 0
            if best in (NO_BID, NO_ASK):
                best = 0
            else:
                lots = int(ladders.size_at(self._floor.ladders[self.listing.index], side, best))
            for (where, price), more in self.resting.items():
                if where != side:
                    continue
                better = price > best if side == BID else price < best
                if not best or better:
                    best, lots = price, more
                elif price == best:
                    lots += more
            found += [best, lots]
        return found[0], found[1], found[2], found[3]

    def moved(self) -> bool:
        """Whether the top is another than when this was asked last."""
        top = self.top()
        if top == self._shown:
            return False
        self._shown = top
        return True

    def add_trade(self, ns: int, price: int, lots: int, buyer_takes: bool) -> Trade:
        """A trade happened."""
        self._trade += 1
        ms = ns // MILLISECOND
        trade = Trade(self._trade, price, lots, ms, buyer_takes)
        self.trades.append(trade)
        self.candles.trade(ms, price, lots, buyer_takes, trade.number)
        return trade

    def set_last(self, price: int) -> None:
        """An account traded at a price (ticks)."""
        self._floor.markets[self.listing.index]["last"] = price

    def take(self, side: int, price: int, lots: int) -> None:
        """An account took lots of the tape's liquidity: gone until the next row for the price."""
        ladder = self._floor.ladders[self.listing.index]
        left = max(0, int(ladders.size_at(ladder, side, price)) - lots)
        ladders.put(ladder, side, price, left)


class PublicMarket:
    """All symbols of one market.

    Args:
        catalog: as this market trades it. start: see Book.
        heard: called with each public trade.
    """

    def __init__(
        self,
        catalog: Catalog,
        listed: list[Listing],
        start: int,
        heard: Callable[[Book, Trade], None],
    ) -> None:
        self._desk = Desk(catalog, VenueShape(max_open_orders=1).check())
        self.floor = self._desk.floor
        self.books = {each.symbol: Book(each, self.floor, start) for each in listed}
        self._by_index = {book.listing.index: book for book in self.books.values()}
        self._heard = heard

    def observe(self, rows: Raw) -> None:
        """Take in rows of the tape."""
        if not len(rows):
            return
        view: NDArray[Any] = np.ascontiguousarray(rows).view()
        view.flags.writeable = False  # one compiled kernel for all
        kernels.run(self.floor, view, 0, _NEVER)
        last = int(view["recv_ts"][-1])
        for index in np.unique(view["instrument"]).tolist():
            if (book := self._by_index.get(index)) is not None:
                book.changed = last
        kinds = view["kind"]
        for row in view[(kinds == EventKind.TRADE) | np.isin(kinds, _BARS)]:
            self._trade(row)

    def _trade(self, row: Any) -> None:
        table = self.floor.book_of
        index = int(row["instrument"])
        book = self._by_index.get(index)
        if book is None or table[index, int(row["source"])] < 0 or row["price"] <= 0:
            return
        lots = int(row["size"])
        if row["kind"] != EventKind.TRADE:
            lots = lots if row["kind"] == EventKind.BAR_CLOSE else 0
        buys = int(row["side"]) != Side.SELL
        trade = book.add_trade(int(row["recv_ts"]), int(row["price"]), lots, buys)
        if lots:
            self._heard(book, trade)

    def rows_of_books(self, ts: int) -> Raw:
        """All books and last prices as rows: what an engine needs that has missed some."""
        made = [self._rows_of(book, ts) for book in self._by_index.values()]
        return Raw(np.concatenate(made)) if made else Raw(empty(0))

    def _rows_of(self, book: Book, ts: int) -> NDArray[Any]:
        index = book.listing.index
        ladder = self.floor.ladders[index]
        levels = [
            (side, price, lots)
            for side in (BID, ASK)
            for price, lots in zip(
                *map(np.ndarray.tolist, ladders.levels_of(ladder, side)), strict=True
            )
        ]
        rows = empty(1 + len(levels) + (1 if book.last else 0))
        rows["recv_ts"], rows["exch_ts"], rows["previous"] = ts, ts, -1
        rows["instrument"] = index
        rows["source"] = int(np.argmax(self.floor.book_of[index] == index))
        rows["kind"] = EventKind.DEPTH
        rows["kind"][0] = EventKind.SNAPSHOT
        for at, (side, price, lots) in enumerate(levels, start=1):
            rows["side"][at], rows["price"][at], rows["size"][at] = side, price, lots
        rows["flags"][0] = EventFlag.BEGIN
        rows["flags"][len(levels)] |= np.uint16(EventFlag.END)
        if book.last:
            rows["kind"][-1], rows["side"][-1] = EventKind.TRADE, Side.UNKNOWN
            rows["price"][-1] = book.last
            rows["flags"][-1] = EventFlag.BEGIN | EventFlag.END
        return rows
