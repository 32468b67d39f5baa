"""The practice exchange itself: markets, accounts and time, without a word of the network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from seawall.core.clock import MILLISECOND, SECOND, Clock
from seawall.core.errors import StoreError
from seawall.core.events import Raw
from seawall.exchange.account import Account
from seawall.exchange.commons import Commons
from seawall.exchange.listing import Listing, Market, listings, traded
from seawall.exchange.market import Book, Diff, PublicMarket, Trade
from seawall.exchange.pace import Endless, Pace, Recorded, moved
from seawall.exchange.terms import Terms
from seawall.exchange.wallet import Event, Wallet
from seawall.ingestion.tape import Tape

PLACE = "place.json"
PLACE_EVERY = SECOND // 5
LOOK_EVERY = SECOND // 50  # without rows: for what is due by the clock alone
QUOTE = "USDT"

Heard = Callable[[Account, Market, list[Event]], None]


class Place(msgspec.Struct, frozen=True):
    """Where a run had come. position, lap: see pace. prices: base → last mark. tape: which."""

    position: int
    prices: dict[str, float]
    lap: int = 0
    tape: str = ""


class Exchange:
    """Everything behind the protocol.

    Args:
        folder: where accounts and the place on the tape are kept; a start goes on from there.
        accounts: their names. tape: None: the simulated market.
        speed: seconds of the tape in a second.
        skip: seconds of the tape that are past at the first start.
        seed: of the simulated market.

    Raises:
        StoreError: the folder is unusable, or is another market's. DataError: so is the tape.
    """

    def __init__(
        self,
        folder: Path,
        accounts: tuple[str, ...],
        clock: Clock,
        terms: Terms,
        tape: Tape | None = None,
        speed: float = 1.0,
        skip: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.terms = terms.check()
        self.clock = clock
        self.heard: Heard = lambda account, market, events: None
        self.traded: Callable[[Book, Trade], None] = lambda book, trade: None
        self.changed: Callable[[Book, Diff], None] = lambda book, diff: None
        self._folder = folder
        self._tape = ""
        self._looked = 0  # ns UTC, when the accounts last saw the time pass
        place = self._read_place()
        self.pace, past = self._open_pace(tape, place, speed, skip, seed)
        catalog = self._catalog
        start = clock.now()
        self.opened = start
        self.ahead = 0  # ns by which the time that is told differs, where that was asked for
        self._noted = start
        self.markets: dict[Market, PublicMarket] = {}
        self.listed: dict[Market, dict[str, Listing]] = {}
        catalogs = {}
        for market in Market:
            found = listings(catalog, market, QUOTE)
            catalogs[market] = traded(catalog, found)
            self.listed[market] = {each.symbol: each for each in found}
            self.markets[market] = PublicMarket(catalogs[market], found, start, self._on_trade)
            for rows in past:
                self.markets[market].observe(moved(rows, self.pace.position, start, speed))
        self.accounts: dict[str, Account] = {}
        try:
            for name in accounts:
                self.accounts[name] = self._open_account(name, catalogs, start)
        except BaseException:
            self.close()
            raise
        self._commons = {
            market: Commons(market, public, self.accounts, clock)
            for market, public in self.markets.items()
        }
        for commons in self._commons.values():
            commons.begin()

    def _open_pace(
        self, tape: Tape | None, place: Place | None, speed: float, skip: float, seed: int
    ) -> tuple[Pace, list[Raw]]:
        if tape is None:
            start = self.clock.now()
            endless = Endless(seed, start, place.prices if place else None)
            self._catalog = endless.catalog
            return Pace(endless, self.clock, start, speed), []
        self._tape = f"{tape.folder.resolve()}, {tape.rows} rows"
        same = place is not None and place.tape == self._tape
        came = place if place is not None and same else Place(-1, {})
        recorded = Recorded(tape, came.position, int(skip * SECOND), came.lap)
        self._catalog = recorded.catalog
        return Pace(recorded, self.clock, recorded.position, speed), recorded.past

    def _open_account(self, name: str, catalogs: dict[Market, Any], start: int) -> Account:
        folder = self._folder / name
        wallets = {}
        for market in Market:
            listed = list(self.listed[market].values())
            shape = self.terms.shape(market, [each.instrument.name for each in listed], start)
            wallets[market] = Wallet(
                market,
                catalogs[market],
                listed,
                shape,
                folder / f"{market.value}.log",
                self.terms.strict_client_ids,
            )
            books = self.markets[market].rows_of_books(start)
            wallets[market].begin(books, start)
        return Account(name, folder, wallets, self.terms.leverage)

    def close(self) -> None:
        """Let go of all logs."""
        self._note()
        for account in self.accounts.values():
            account.close()

    # --- time ---

    def now_ms(self) -> int:
        """The exchange's time, as it tells it."""
        return (self.clock.now() + self.ahead) // MILLISECOND

    def pump(self) -> None:
        """Let the market come up to now.

        Raises:
            StoreError: a log cannot be written; the exchange must stop.
        """
        rows = self.pace.read()
        now = self.clock.now()
        if not len(rows) and now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        for market, public in self.markets.items():
            public.observe(rows)
            for account in self.accounts.values():
                seen = self._commons[market].rows_for(account, rows)
                account.wallets[market].observe(seen, now)
            self.tell(market)
        self._switch_off(now // MILLISECOND)
        if now - self._noted > PLACE_EVERY:
            self._noted = now
            self._note()

    def _switch_off(self, now: int) -> None:
        """Dead-man's switches whose time has come cancel the orders of their symbol."""
        for account in self.accounts.values():
            due = [name for name, when in account.choices.countdown.items() if when <= now]
            for symbol in due:
                for record in account.usdm.open_of(symbol):
                    account.usdm.cancel(record, self.clock.now())
                del account.choices.countdown[symbol]
                account.keep()
                self.tell(Market.USDM)

    def commit(self, book: Book) -> None:
        """Give a book's changes an update id and tell them."""
        diff = book.commit()
        if diff is not None:
            self.changed(book, diff)

    def tell(self, market: Market) -> None:
        """Tell what has happened, to whom it happened and to whom it means something."""
        busy = True
        while busy:  # what one account does may do something to another
            busy = False
            for account in self.accounts.values():
                events = account.wallets[market].take_events()
                if not events:
                    continue
                busy = True
                for book, execution in self._commons[market].share(account, events):
                    fill = execution.fill
                    buys = fill.side.sign > 0
                    self.traded(book, book.add_trade(fill.ts, fill.price, fill.size, buys))
                self.heard(account, market, events)

    def _on_trade(self, book: Book, trade: Trade) -> None:
        self.traded(book, trade)

    # --- the place on the tape ---

    def _read_place(self) -> Place | None:
        path = self._folder / PLACE
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return msgspec.json.decode(path.read_bytes(), type=Place) if path.exists() else None
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(f"{path} cannot be read ({error}); remove it") from None

    def _note(self) -> None:
        """Write where the tape has come; who starts again goes on from there."""
        prices = {}
        for book in self.markets[Market.SPOT].books.values():
            if book.mark:
                price = book.mark * book.listing.instrument.tick_float
                prices[book.listing.instrument.base] = price
        path = self._folder / PLACE
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_bytes(
                msgspec.json.encode(Place(self.pace.position, prices, self.pace.lap, self._tape))
            )
            temporary.replace(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror})") from None
