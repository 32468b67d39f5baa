"""What the accounts of one market have in common: each is a part of the others' market.

Every account has a venue of its own over the tape. What another account does reaches it as rows
of market data: its resting orders are depth, what it takes are trades. So the venue's own queue
decides who of several at one price is filled, and no lot of theirs is given twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import Clock
from seawall.core.events import EventFlag, EventKind, Raw, Side, empty
from seawall.core.ladder import size_at
from seawall.exchange.account import Account
from seawall.exchange.listing import Market
from seawall.exchange.market import Book, PublicMarket
from seawall.exchange.orders import Execution
from seawall.exchange.wallet import Event

Level = tuple[int, int]  # side of the book, ticks
_BOTH = EventFlag.BEGIN | EventFlag.END
_ANEW = (EventKind.SNAPSHOT, EventKind.DOWN)


class Commons:
    """One market's accounts, beside each other.

    Args:
        clock: when things happen that no row of the tape brings about.
    """

    def __init__(
        self,
        market: Market,
        public: PublicMarket,
        accounts: Mapping[str, Account],
        clock: Clock,
    ) -> None:
        self._market = market
        self._public = public
        self._accounts = accounts
        self._clock = clock
        # symbol → account → (side, ticks) → lots that rest there
        self._resting: dict[str, dict[str, dict[Level, int]]] = {
            symbol: {} for symbol in public.books
        }

    def begin(self) -> None:
        """Show what rests since before the start."""
        for symbol in self._public.books:
            self._show(symbol)

    # --- the tape ---

    def rows_for(self, account: Account, rows: Raw) -> Raw:
        """Rows of the tape as one account's venue must see them: with what the others rest."""
        if len(self._accounts) == 1 or not len(rows):
            return rows
        changed: NDArray[Any] | None = None
        for book in self._public.books.values():
            for (side, price), lots in self._others(account, book).items():
                hit = (rows["instrument"] == book.listing.index) & (rows["price"] == price)
                hit &= (rows["kind"] == EventKind.DEPTH) & (rows["side"] == side)
                if hit.any():
                    changed = rows.copy() if changed is None else changed
                    changed["size"][hit] += lots
        made = rows if changed is None else Raw(changed)
        return self._anew(account, made) if np.isin(rows["kind"], _ANEW).any() else made

    def _anew(self, account: Account, rows: Raw) -> Raw:
        """After a whole book the others' orders must be told again."""
        ts = int(rows["recv_ts"][-1])
        parts: list[NDArray[Any]] = [rows]
        for book in self._public.books.values():
            levels = list(self._others(account, book))
            parts.append(self._depth(account, book, levels, ts))
        return Raw(np.concatenate(parts))

    # --- what accounts do ---

    def share(self, account: Account, events: Sequence[Event]) -> list[tuple[Book, Execution]]:
        """Tell the others, and the public book, what has happened to one account.

        Returns:
            What it took: public trades.
        """
        taken = []
        for event in events:
            execution = event.execution
            if execution is not None and not execution.fill.maker:
                listing = account.wallets[self._market].listing_of(execution.fill.instrument)
                book = self._public.books[listing.symbol]
                self._took(book, execution)
                taken.append((book, execution))
        symbols = {event.record.listing.symbol for event in events if event.record is not None}
        for symbol in sorted(symbols):
            self._show(symbol)
        return taken

    def _took(self, book: Book, execution: Execution) -> None:
        """Lots were taken at a price: a trade for all, and gone from what is shown."""
        fill = execution.fill
        row = _row(book, self._source(book), self._clock.now())
        row["kind"], row["side"] = EventKind.TRADE, int(fill.side)
        row["price"], row["size"] = fill.price, fill.size
        given = 0
        for account in self._accounts.values():
            wallet = account.wallets[self._market]
            before = len(wallet.executions)
            wallet.observe(Raw(row), int(row["recv_ts"][0]))
            given += sum(
                each.fill.size
                for each in wallet.executions[before:]
                if each.fill.maker and each.fill.instrument == fill.instrument
            )
        side = int(fill.side.opposite)
        book.take(side, fill.price, max(0, fill.size - given))
        book.set_last(fill.price)
        self._show(book.listing.symbol, ((side, fill.price),))

    def _show(self, symbol: str, also: Sequence[Level] = ()) -> None:
        """Show the public, and the others, what rests now; and levels that were taken from.

        All is found out before anybody is told, so that nobody is told of an order that has gone.
        """
        book, every = self._public.books[symbol], self._resting[symbol]
        changed: dict[str, set[Level]] = {}
        for account in self._accounts.values():
            now = self._levels(account, symbol)
            before = every.get(account.name, {})
            every[account.name] = now
            changed[account.name] = {
                each for each in {*before, *now} if before.get(each) != now.get(each)
            }
        if any(changed.values()):
            book.resting = _sum(every.values())
        if len(self._accounts) == 1:
            return
        for account in self._accounts.values():
            levels = {*also}.union(
                *(found for name, found in changed.items() if name != account.name)
            )
            if levels:
                self._tell(account, book, sorted(levels))

    def _levels(self, account: Account, symbol: str) -> dict[Level, int]:
        found: dict[Level, int] = {}
        for record in account.wallets[self._market].open_of(symbol):
            if not record.waits and record.order.price is not None:
                level = int(record.order.side), record.order.price
                found[level] = found.get(level, 0) + record.left
        return found

    def _others(self, account: Account, book: Book) -> dict[Level, int]:
        every = self._resting[book.listing.symbol]
        return _sum(levels for name, levels in every.items() if name != account.name)

    def _tell(self, account: Account, book: Book, levels: list[Level]) -> None:
        """Bring levels of an account's book up to what the tape and the others show."""
        now = self._clock.now()
        rows = self._depth(account, book, levels, now)
        account.wallets[self._market].observe(Raw(rows), now)

    def _depth(
        self, account: Account, book: Book, levels: Sequence[Level], ts: int
    ) -> NDArray[Any]:
        others = self._others(account, book)
        ladder = self._public.floor.ladders[book.listing.index]
        rows = np.concatenate([empty(0), *(_row(book, self._source(book), ts) for _ in levels)])
        for row, (side, price) in zip(rows, levels, strict=True):
            row["kind"], row["side"], row["price"] = EventKind.DEPTH, side, price
            row["size"] = int(size_at(ladder, side, price)) + others.get((side, price), 0)
        return rows

    def _source(self, book: Book) -> int:
        index = book.listing.index
        return int(np.argmax(self._public.floor.book_of[index] == index))


def _row(book: Book, source: int, ts: int) -> NDArray[Any]:
    row = empty(1)
    row["recv_ts"], row["exch_ts"], row["previous"] = ts, ts, -1
    row["instrument"], row["source"] = book.listing.index, source
    row["side"], row["flags"] = Side.UNKNOWN, _BOTH
    return row


def _sum(every: Any) -> dict[Level, int]:
    total: dict[Level, int] = {}
    for levels in every:
        for level, lots in levels.items():
            total[level] = total.get(level, 0) + lots
    return total
