"""Live markets: public trades and order books of exchanges, through ccxt's WebSocket clients.

The network lives in a thread of its own that only appends to a bounded buffer. Whatever is lost
(a connection, a sequence, room in the buffer) voids the book with a DOWN row and starts it afresh.
"""

import asyncio
import contextlib
import logging
import math
import threading
from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple, NotRequired, TypedDict
from urllib.parse import urlsplit

import numpy as np

from seawall.core.clock import MILLISECOND, SECOND, Clock
from seawall.core.errors import FeedError, SeawallError
from seawall.core.events import EVENT, EventFlag, EventKind, Raw, Side, empty
from seawall.core.instruments import Catalog, Instrument, Source
from seawall.core.randomness import generator
from seawall.venues.alpaca.translation import STREAM
from seawall.venues.ccxt.client import Credentials, practice
from seawall.venues.ccxt.markets import instrument_of

DEPTH = 50  # levels a side
CAPACITY = 400_000  # rows in the buffer, 22 MB
FIRST_WAIT = 0.5  # seconds before the first reconnection; doubled with each failure
LONGEST_WAIT = 60.0
CLOSING = 2.0  # seconds that closing may take
WHOLE_AGAIN = 60 * SECOND  # ns after which a book is told whole again
LARGEST = 1 << 62  # ticks, lots and sequences stay below
LONGEST_REASON = 160  # characters of an exchange's own words in a message

Part = tuple[int, int, int, int]  # kind, side, ticks, lots


class Override(TypedDict):
    """Where a local server stands in for the exchange; each host becomes a first path segment."""

    rest: str
    ws: str


class ExchangeEntry(TypedDict):
    """An exchange by its ccxt name; `urls` sends all its requests elsewhere, `practice` to the
    practice exchange at this address, `credentials` sign where only accounts are told prices,
    `kinds` are the products to ask it for (spot, linear), where others are asked for elsewhere."""

    name: str
    urls: NotRequired[Override]
    practice: NotRequired[str]
    credentials: NotRequired[Credentials]
    kinds: NotRequired[Set[str]]


class Inbox:
    """Rows on their way from the network's thread to the reader's, at most `capacity` of them.

    Receive times are given here, strictly rising from message to message.
    """

    def __init__(self, clock: Clock, capacity: int) -> None:
        self._clock = clock
        self._capacity = capacity
        self._changed = threading.Condition()
        self._rows: list[tuple[int, ...]] = []
        self._last = 0
        self._ended = False
        self._failure: str | None = None

    def now(self) -> int:
        """Ns UTC."""
        return self._clock.now()

    def put(
        self,
        book: "LiveBook",
        parts: Sequence[Part],
        sequence: int,
        previous: int = -1,
        exch_ts: int = 0,
        must: bool = False,
    ) -> bool:
        """Append one message; False where there is no room, unless it `must` go in.

        Args:
            exch_ts: ns UTC; 0 where the exchange gave none, the receive time stands in for it.
        """
        with self._changed:
            if len(self._rows) + len(parts) > self._capacity and not must:
                return False
            self._last = recv_ts = max(self._last + 1, self._clock.now())
            message = [recv_ts, exch_ts or recv_ts, sequence, previous]
            last = len(parts) - 1
            for index, (kind, side, price, size) in enumerate(parts):
                flags = EventFlag.BEGIN * (index == 0) | EventFlag.END * (index == last)
                row = (*message, price, size, book.instrument_index, book.source_index)
                self._rows.append((*row, kind, side, flags))
            self._changed.notify()
            return True

    def take(self, timeout: float) -> Raw | None:
        """All rows, waiting up to `timeout` seconds for some; None when ended and empty.

        Raises:
            FeedError: the network's thread has failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._ended, timeout)
            if not self._rows:
                if self._failure is not None:
                    raise FeedError(self._failure)
                return None if self._ended else Raw(empty(0))
            taken, self._rows = self._rows, []
        return Raw(np.array(taken, dtype=EVENT))

    def end(self, failure: str | None = None) -> None:
        """Nothing more comes."""
        with self._changed:
            self._ended = True
            self._failure = self._failure or failure
            self._changed.notify_all()


class LiveBook:
    """What was last told of one instrument at one exchange, and what to tell next."""

    def __init__(
        self,
        instrument: Instrument,
        place: tuple[int, int],
        inbox: Inbox,
        depth: int,
        counters: dict[str, int],
    ) -> None:
        self.symbol = instrument.symbol
        self.instrument_index, self.source_index = place
        self._tick = instrument.tick_float
        self._lot = float(instrument.lot_value)
        self._inbox = inbox
        self._depth = depth
        self._counters = counters
        self._up = False
        self._sequence = 0
        self._trades = 0
        self._numbered = True  # the exchange's trade ids are numbers
        self._told: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._whole_ts = 0  # when the whole book was told last

    def book(self, message: Mapping[str, Any]) -> None:
        """Tell the book as ccxt holds it: whole when it was down and once a minute, so that a book
        that admission had to void comes back by itself; else what differs."""
        sides = (self._levels(message.get("bids")), self._levels(message.get("asks")))
        nonce = _sequence(message.get("nonce"))
        now = self._inbox.now()
        if self._up and now - self._whole_ts < WHOLE_AGAIN:
            parts = _difference(self._told, sides)
            sequence = max(nonce, self._sequence + 1)
            previous = self._sequence
        else:
            self._whole_ts = now
            parts = [(int(EventKind.SNAPSHOT), 0, 0, 0), *_difference(({}, {}), sides)]
            sequence, previous = max(nonce, self._sequence + 1), -1
        if not any(sides) or not parts:
            return
        if self._inbox.put(self, parts, sequence, previous, _time(message.get("timestamp"))):
            self._up = True
            self._sequence, self._told = sequence, sides
        else:
            self._overflow()

    def trade(self, message: Mapping[str, Any]) -> None:
        """Tell one trade."""
        price, size = self._ticks(message.get("price")), self._lots(message.get("amount"))
        if price <= 0 or size <= 0:
            self._counters["refused"] += 1
            return
        number = _sequence(message.get("id"))
        self._numbered = self._numbered and number > 0
        self._trades = number if self._numbered else self._trades + 1
        side = {"buy": Side.BUY, "sell": Side.SELL}.get(str(message.get("side")), Side.UNKNOWN)
        part = (int(EventKind.TRADE), int(side), price, size)
        exch_ts = _time(message.get("timestamp"))
        if not self._inbox.put(self, [part], self._trades, exch_ts=exch_ts):
            self._overflow()

    def lost(self) -> None:
        """The connection, or the sequence, is lost: the book is void until it comes whole again."""
        if self._up:
            self._up = False
            self._told = ({}, {})
            self._counters["down"] += 1
            down = (int(EventKind.DOWN), 0, 0, 0)
            self._inbox.put(self, [down], self._sequence, must=True)

    def _overflow(self) -> None:
        self._counters["overflow"] += 1
        self.lost()

    def _levels(self, side: Sequence[Sequence[Any]] | None) -> dict[int, int]:
        """Ticks → lots of the best levels; what is no positive number is refused and counted."""
        levels: dict[int, int] = {}
        for entry in (side or ())[: self._depth]:
            price, size = self._ticks(entry[0]), self._lots(entry[1])
            if price <= 0 or size <= 0:
                self._counters["refused"] += 1
            else:
                levels[price] = levels.get(price, 0) + size
        return levels

    def _ticks(self, value: object) -> int:
        """Nearest tick; 0 where it is no positive number."""
        return _units(value, self._tick)

    def _lots(self, value: object) -> int:
        """Nearest lot, at least one; 0 where it is no positive number.

        Some exchanges report sums finer than their own increment.
        """
        return max(_units(value, self._lot), 1) if _positive(value) else 0


def _positive(value: object) -> bool:
    """A number that is finite and > 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value > 0


def _units(value: object, unit: float) -> int:
    """Nearest whole number of units; 0 where it is no positive number or out of range."""
    if not _positive(value):
        return 0
    assert isinstance(value, int | float)
    units = round(value / unit)
    return units if units < LARGEST else 0


def _sequence(value: object) -> int:
    """A sequence number, 0 where there is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 < value < LARGEST else 0


def _time(value: object) -> int:
    """Milliseconds as ns UTC, 0 where there are none."""
    milliseconds = _units(value, 1.0)
    return milliseconds * MILLISECOND if milliseconds < LARGEST // MILLISECOND else 0


def _difference(
    old: tuple[dict[int, int], dict[int, int]], new: tuple[dict[int, int], dict[int, int]]
) -> list[Part]:
    """DEPTH rows that turn the old book into the new one: levels gone first."""
    kind = int(EventKind.DEPTH)
    gone = [
        (kind, side, price, 0) for side in (0, 1) for price in old[side] if price not in new[side]
    ]
    here = [
        (kind, side, price, size)
        for side in (0, 1)
        for price, size in new[side].items()
        if old[side].get(price) != size
    ]
    return gone + here


def overridden(urls: Any, override: Override) -> Any:
    """All URLs in a nested structure of ccxt, sent to the override's servers.

    ``wss://stream.example.com:9443/ws`` becomes ``{ws}/stream.example.com/ws``.
    """
    if isinstance(urls, dict):
        return {key: overridden(value, override) for key, value in urls.items()}
    if isinstance(urls, list):
        return [overridden(value, override) for value in urls]
    if not (isinstance(urls, str) and "://" in urls):
        return urls
    parts = urlsplit(urls)
    base = override["ws"] if parts.scheme in ("ws", "wss") else override["rest"]
    return f"{base}/{parts.netloc.partition(':')[0]}{parts.path}"


class Link(NamedTuple):
    """An exchange that has answered: its ccxt client and the wanted markets that it lists."""

    name: str
    client: Any
    instruments: tuple[Instrument, ...]


class LiveFeed:
    """Trades and books of one exchange or more.

    Opening waits until every exchange has sent its list of markets, or `timeout` seconds; those
    that have not answered by then are left out, and `notes` says so.

    Args:
        exchanges: ccxt names, with overrides for tests.
        symbols: ccxt symbols, such as ``BTC/USDT`` or ``BTC/USDT:USDT``.
        timeout: seconds to answer in.
        seed: of the jitter in the waits before reconnections.
        depth: levels a side. capacity: rows in the buffer. first_wait: seconds before the first
            reconnection, doubled up to a minute. decimals: that smallest units have at least.

    Raises:
        FeedError: no exchange answered, or none lists a wanted symbol.
    """

    def __init__(
        self,
        exchanges: Sequence[ExchangeEntry],
        symbols: Sequence[str],
        clock: Clock,
        *,
        timeout: float = 10.0,
        seed: int = 0,
        depth: int = DEPTH,
        capacity: int = CAPACITY,
        first_wait: float = FIRST_WAIT,
        decimals: int = 8,
    ) -> None:
        import ccxt.pro  # takes a second: only who trades live pays for it

        self._ccxt = ccxt.pro
        places = {(entry["name"], entry.get("practice")): entry for entry in exchanges}
        self._entries = tuple(places.values())
        self._symbols = tuple(dict.fromkeys(symbols))
        self._timeout = timeout
        self._seed = seed
        self._depth = depth
        self._first_wait = first_wait
        self._decimals = decimals
        self._inbox = Inbox(clock, capacity)
        self._catalog: Catalog | None = None
        self._loop = asyncio.new_event_loop()
        self._main: asyncio.Task[None] | None = None
        self._opened = threading.Event()
        self.notes: tuple[str, ...] = ()
        self.counters = {"refused": 0, "overflow": 0, "down": 0, "retries": 0}
        self._thread = threading.Thread(target=self._run, name="live feed", daemon=True)
        self._thread.start()
        self._opened.wait()
        if self._catalog is None:
            self._thread.join()
            raise FeedError(self._refusal())

    @property
    def catalog(self) -> Catalog:
        """Instruments, sources and books."""
        assert self._catalog is not None  # or the constructor has raised
        return self._catalog

    def read(self, timeout: float) -> Raw | None:
        """The rows that have come in; none after `timeout` seconds; None once closed.

        Raises:
            FeedError: the feed has failed and nothing more will come.
        """
        return self._inbox.take(timeout)

    def close(self) -> None:
        """Close all connections; returns within two seconds."""
        self._inbox.end()
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(CLOSING)

    def _stop(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _refusal(self) -> str:
        return (
            f"live feed: no exchange answered within {self._timeout:g} s "
            f"({', '.join(self.notes).replace('; ', ', ')}); "
            "check the network and the symbols, or run with --feed simulated"
        )

    # --- the network's thread ---

    def _run(self) -> None:
        """The thread: one loop, closed with nothing left in it."""
        asyncio.set_event_loop(self._loop)
        try:
            self._main = self._loop.create_task(self._live())
            self._loop.run_until_complete(self._main)
        except asyncio.CancelledError:
            self._inbox.end()
        except Exception as failure:  # noqa: BLE001 - a thread cannot raise; the reader will
            self._inbox.end(f"live feed: it has failed ({_said(failure)}); start again")
        finally:
            self._loop.run_until_complete(self._sweep())
            self._loop.close()
            self._opened.set()

    async def _sweep(self) -> None:
        """Cancel what ccxt has left running."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _live(self) -> None:
        """Open, then listen until cancelled."""
        links = await self._open_all()
        if not links:
            return
        try:
            books = self._books(links)
            async with asyncio.TaskGroup() as group:
                for link, book in books:
                    group.create_task(self._listen(link, book, "order_book"))
                    group.create_task(self._listen(link, book, "trades"))
                self._opened.set()
        finally:
            await _close_all([link.client for link in links])

    def _books(self, links: Sequence[Link]) -> list[tuple[Link, LiveBook]]:
        """The catalog of what has answered, and a book for each of its instruments."""
        books: list[tuple[Link, LiveBook]] = []
        sources = list(dict.fromkeys(link.name for link in links))
        for link in links:
            for instrument in link.instruments:
                place = (len(books), sources.index(link.name))
                book = LiveBook(instrument, place, self._inbox, self._depth, self.counters)
                books.append((link, book))
        self._catalog = Catalog(
            instruments=tuple(i for link in links for i in link.instruments),
            sources=tuple(Source(name=name, venue=name) for name in sources),
            books=tuple((book.instrument_index, book.source_index) for _, book in books),
        ).check()
        return books

    async def _open_all(self) -> list[Link]:
        """The exchanges that answer in time, in the order asked for."""
        tasks = [self._loop.create_task(self._open(entry)) for entry in self._entries]
        if tasks:
            await asyncio.wait(tasks, timeout=self._timeout)
        notes, links = [], []
        for entry, task in zip(self._entries, tasks, strict=True):
            if not task.done():
                task.cancel()
                notes.append(f"{entry['name']}: no answer")
            elif failure := task.exception():
                notes.append(f"{entry['name']}: {_said(failure)}")
            else:
                links.append(task.result())
        await asyncio.gather(*tasks, return_exceptions=True)
        self.notes = tuple(notes) or (() if links else ("no exchange was named",))
        return links

    async def _open(self, entry: ExchangeEntry) -> Link:
        """A client that knows its markets."""
        name = entry["name"]
        if name not in self._ccxt.exchanges:
            raise FeedError("ccxt has no WebSocket client of that name")
        client = getattr(self._ccxt, name)(
            {"enableRateLimit": True, "newUpdates": True, "timeout": int(self._timeout * 1000)}
        )
        try:
            client.has["fetchCurrencies"] = False  # not needed, and often refused without a key
            if "credentials" in entry:
                logging.getLogger("ccxt").setLevel(logging.WARNING)  # at DEBUG it tells keys
                entry["credentials"].give(client)
            if name == "alpaca":
                client.urls["api"]["ws"]["crypto"] = STREAM
            if "urls" in entry:
                client.urls = overridden(client.urls, entry["urls"])
            if "practice" in entry:
                client.urls = practice(client.urls, entry["practice"])
            kinds = entry.get("kinds")
            symbols = [s for s in self._symbols if kinds is None or _kind_of(s) in kinds]
            _narrow(client, symbols)
            await client.load_markets()
            instruments = tuple(
                instrument_of(name, client.markets[symbol], client.precisionMode, self._decimals)
                for symbol in symbols
                if symbol in client.markets
            )
            if not instruments:
                raise FeedError(f"it lists none of {', '.join(symbols) or 'the symbols'}")
            return Link(name, client, instruments)
        except BaseException:
            await client.close()
            raise

    async def _listen(self, link: Link, book: LiveBook, what: str) -> None:
        """Hand on one stream; on any loss void the book, wait, subscribe again."""
        watch = getattr(link.client, f"watch_{what}")
        failures = 0
        while True:
            try:
                message = await watch(book.symbol)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Else ccxt has cancelled its own future while closing a connection: a loss.
            except Exception:  # noqa: BLE001 - whatever ccxt raises, the stream is lost
                pass
            else:
                failures = 0
                self._tell(book, what, message)
                continue
            book.lost()
            failures += 1
            await asyncio.sleep(self._wait(link, book, what, failures))

    def _tell(self, book: LiveBook, what: str, message: Any) -> None:
        if what == "order_book":
            book.book(message)
        else:
            for trade in message:
                book.trade(trade)

    def _wait(self, link: Link, book: LiveBook, what: str, failures: int) -> float:
        """Seconds before the next attempt: exponential, between half and the whole of it."""
        self.counters["retries"] += 1
        longest = min(LONGEST_WAIT, self._first_wait * 2.0 ** min(failures - 1, 30))
        event = f"{link.name}.{book.symbol}.{what}.{self.counters['retries']}"
        return longest * float(generator(self._seed, "live.wait", event).uniform(0.5, 1.0))


def _narrow(client: Any, symbols: Sequence[str]) -> None:
    """Ask for the kinds of markets that are wanted alone: it is several times faster."""
    wanted = client.options.get("fetchMarkets")
    types = wanted.get("types") if isinstance(wanted, dict) else None
    needed = {_kind_of(symbol) for symbol in symbols}
    if isinstance(types, list) and needed <= set(types):
        wanted["types"] = sorted(needed)


def _kind_of(symbol: str) -> str:
    """ccxt's word for the kind of a market, from its symbol."""
    pair, _, settle = symbol.partition(":")
    if not settle:
        return "spot"
    return "linear" if pair.endswith(f"/{settle}") else "inverse"


async def _close_all(clients: Sequence[Any]) -> None:
    await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)


def _said(failure: BaseException) -> str:
    """An error in one line: what ccxt calls it, and the beginning of what it says."""
    if isinstance(failure, BaseExceptionGroup):
        return _said(failure.exceptions[0])
    text = " ".join(str(failure).split())[:LONGEST_REASON]
    if isinstance(failure, SeawallError):
        return text
    return f"{type(failure).__name__} {text}".strip()
