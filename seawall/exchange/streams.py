"""Streams: who listens to what, and what is sent to them.

A listener has an outbox with an end; who reads too slowly is cut off, as at the real exchange.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from seawall.core.clock import MILLISECOND
from seawall.exchange import answers
from seawall.exchange.account import Account
from seawall.exchange.answers import Json
from seawall.exchange.candles import INTERVALS, opening
from seawall.exchange.data import aggregate, levels, ticker
from seawall.exchange.exchange import Exchange
from seawall.exchange.listing import Listing, Market, plain
from seawall.exchange.market import Book, Diff, Trade
from seawall.exchange.wallet import Event

OUTBOX = 20_000  # messages that may wait for a listener
MOST_STREAMS = 1_024
_PARTIAL = (5, 10, 20)
_ENCODER = msgspec.json.Encoder()


@dataclass(slots=True, eq=False)
class Listener:
    """One WebSocket.

    Attributes:
        streams: names that were subscribed to. combined: events come wrapped with their stream's.
        accounts: whose user stream it hears, with the subscription id of the WebSocket API or None.
    """

    market: Market
    combined: bool = False
    streams: dict[str, None] = field(default_factory=dict)
    accounts: dict[str, int | None] = field(default_factory=dict)
    outbox: "asyncio.Queue[bytes | None]" = field(
        default_factory=lambda: asyncio.Queue(maxsize=OUTBOX)
    )
    gone: bool = False

    def send(self, message: Any) -> None:
        """Put a message into the outbox."""
        self.put(_ENCODER.encode(message))

    def put(self, message: bytes) -> None:
        """The same of one that is encoded; a full outbox ends the connection."""
        if self.gone:
            return
        try:
            self.outbox.put_nowait(message)
        except asyncio.QueueFull:
            self.gone = True

    def end(self) -> None:
        """Close the connection once all is sent."""
        try:
            self.outbox.put_nowait(None)
        except asyncio.QueueFull:
            self.gone = True


class Streams:
    """All listeners, and what each event of the exchange says to them."""

    def __init__(self, exchange: Exchange) -> None:
        self.listeners: set[Listener] = set()
        self._exchange = exchange
        self._by_stream: dict[tuple[Market, str], dict[Listener, None]] = {}
        exchange.heard = self.on_events
        exchange.traded = self.on_trade
        exchange.changed = self.on_diff
        self.deliver: Callable[[Listener, bytes], None] = lambda listener, data: listener.put(data)

    # --- who listens ---

    def add(self, listener: Listener) -> None:
        """Somebody is there."""
        self.listeners.add(listener)

    def remove(self, listener: Listener) -> None:
        """Somebody is gone."""
        self.listeners.discard(listener)
        self.unsubscribe(listener, list(listener.streams))

    def subscribe(self, listener: Listener, names: Iterable[str]) -> None:
        """Begin to send streams; names that say nothing are taken too, as at the real exchange."""
        for name in names:
            if len(listener.streams) < MOST_STREAMS:
                listener.streams[name] = None
                self._by_stream.setdefault((listener.market, name), {})[listener] = None
                self._prime(listener.market, name)

    def unsubscribe(self, listener: Listener, names: Iterable[str]) -> None:
        """Stop sending streams."""
        for name in names:
            listener.streams.pop(name, None)
            key = listener.market, name
            if key in self._by_stream:
                self._by_stream[key].pop(listener, None)
                if not self._by_stream[key]:
                    del self._by_stream[key]

    def _prime(self, market: Market, name: str) -> None:
        """A book that is diffed from now on begins with what it shows now."""
        symbol, _, kind = name.partition("@")
        book = self._exchange.markets[market].books.get(symbol.upper())
        if book is not None and kind.startswith("depth"):
            self._exchange.commit(book)

    # --- telling ---

    def _tell(self, market: Market, name: str, make: Callable[..., Any], *of: Any) -> None:
        """Send a stream's event, `make(*of)`, to its listeners, if there are any."""
        heard = self._by_stream.get((market, name))
        if not heard:
            return
        event = make(*of)
        raw = _ENCODER.encode(event)
        wrapped = b""
        for listener in list(heard):
            if listener.combined:
                wrapped = wrapped or _ENCODER.encode({"stream": name, "data": event})
            listener.put(wrapped if listener.combined else raw)

    def on_trade(self, book: Book, trade: Trade) -> None:
        """A public trade."""
        listing, now = book.listing, self._exchange.now_ms()
        market, name = listing.market, listing.symbol.lower()
        self._tell(market, f"{name}@trade", _trade_event, listing, trade, now)
        self._tell(market, f"{name}@aggTrade", _aggregate_event, listing, trade, now)

    def on_diff(self, book: Book, diff: Diff) -> None:
        """A book has changed."""
        listing, now = book.listing, self._exchange.now_ms()
        for speed in ("", "@100ms", "@250ms", "@500ms", "@0ms", "@1000ms"):
            name = f"{listing.symbol.lower()}@depth{speed}"
            self._tell(listing.market, name, _diff_event, book, diff, now)

    def tick(self) -> None:
        """Ten times a second: depth, partial depth and candles."""
        for market, public in self._exchange.markets.items():
            for book in public.books.values():
                if self._watched(market, book, "@depth"):
                    self._exchange.commit(book)
                    self._partial(market, book)
                if self._watched(market, book, "@kline"):
                    self._candles(market, book)

    def touch(self) -> None:
        """After each move of the market: best bid and ask."""
        for market, public in self._exchange.markets.items():
            for book in public.books.values():
                name = f"{book.listing.symbol.lower()}@bookTicker"
                every = (market, "!bookTicker") in self._by_stream
                if (every or (market, name) in self._by_stream) and book.moved():
                    now = self._exchange.now_ms()
                    self._tell(market, name, _top_event, book, now)
                    self._tell(market, "!bookTicker", _top_event, book, now)

    def second(self) -> None:
        """Once a second: tickers and mark prices."""
        now = self._exchange.now_ms()
        for market, public in self._exchange.markets.items():
            books = list(public.books.values())
            for book in books:
                name = book.listing.symbol.lower()
                self._tell(market, f"{name}@ticker", _ticker_event, book, now)
                self._tell(market, f"{name}@miniTicker", _mini_event, book, now)
                if market is Market.USDM:
                    for stream in (f"{name}@markPrice", f"{name}@markPrice@1s"):
                        self._tell(market, stream, self._mark_event, book, now)
            for stream, make in (
                ("!ticker@arr", _ticker_event),
                ("!miniTicker@arr", _mini_event),
                ("!markPrice@arr", self._mark_event),
                ("!markPrice@arr@1s", self._mark_event),
            ):
                self._tell(market, stream, _of_all, make, books, now)

    def _watched(self, market: Market, book: Book, kind: str) -> bool:
        begin = f"{book.listing.symbol.lower()}{kind}"
        return any(where is market and name.startswith(begin) for where, name in self._by_stream)

    def _partial(self, market: Market, book: Book) -> None:
        listing, now = book.listing, self._exchange.now_ms()
        for most in _PARTIAL:
            for speed in ("", "@100ms", "@250ms", "@500ms"):
                name = f"{listing.symbol.lower()}@depth{most}{speed}"
                self._tell(market, name, _partial_event, book, most, now)

    def _candles(self, market: Market, book: Book) -> None:
        for interval in INTERVALS:
            name = f"{book.listing.symbol.lower()}@kline_{interval}"
            if (market, name) in self._by_stream:
                event = _candle_event(book, interval, self._exchange.now_ms())
                if event is not None:
                    self._tell(market, name, lambda found: found, event)

    def _mark_event(self, book: Book, now: int) -> Json:
        listing, terms = book.listing, self._exchange.terms
        mark = listing.price(book.mark)
        return {
            "e": "markPriceUpdate",
            "E": now,
            "s": listing.symbol,
            "p": mark,
            "i": mark,
            "P": mark,
            "r": plain(terms.funding_ppm * 100, 8),
            "T": terms.funding_after(now * MILLISECOND) // MILLISECOND,
        }

    # --- user streams ---

    def on_events(self, account: Account, market: Market, events: list[Event]) -> None:
        """Something has happened to an account."""
        heard = [
            each
            for each in self.listeners
            if each.market is market and account.name in each.accounts
        ]
        if not heard:
            return
        now = self._exchange.now_ms()
        make = self._usdm_messages if market is Market.USDM else _spot_messages
        for message in make(account, events, now):
            for listener in heard:
                subscription = listener.accounts[account.name]
                whole = message
                if subscription is not None:
                    whole = {"subscriptionId": subscription, "event": message}
                elif listener.combined:
                    whole = {"stream": "userData", "data": message}
                self.deliver(listener, _ENCODER.encode(whole))

    def _usdm_messages(self, account: Account, events: list[Event], now: int) -> list[Json]:
        messages: list[Json] = []
        moved: dict[str, Listing] = {}
        reason = "ORDER"
        for event in events:
            if event.funding is not None:
                reason = "FUNDING_FEE"
                listing = account.usdm.listing_of(event.funding.instrument)
                moved[listing.symbol] = listing
                continue
            record, execution = event.record, event.execution
            if execution is not None:
                listing = account.usdm.listing_of(execution.fill.instrument)
                moved[listing.symbol] = listing
            elif record is not None:
                listing = record.listing
            conditional = record is not None and record.wish.conditional
            if conditional:
                messages.append(answers.algo_update(event, now))
            if not conditional or (record is not None and record.triggered):
                messages.append(answers.order_trade_update(event, listing, now))
        if moved:
            public, last = self._exchange.markets[Market.USDM], events[-1].ms
            messages.insert(
                0,
                answers.account_update(account, public, list(moved.values()), reason, now, last),
            )
        return messages


def _spot_messages(account: Account, events: list[Event], now: int) -> list[Json]:
    messages = [answers.execution_report(event, now) for event in events if event.record]
    return [*messages, answers.account_position(account.spot, now)]


# --- events of the market ---


def _of_all(make: Callable[[Book, int], Json], books: list[Book], now: int) -> list[Json]:
    return [make(book, now) for book in books]


def _aggregate_event(listing: Listing, trade: Trade, now: int) -> Json:
    return {"e": "aggTrade", "E": now, "s": listing.symbol, **aggregate(listing, trade)}


def _trade_event(listing: Listing, trade: Trade, now: int) -> Json:
    event: Json = {
        "e": "trade",
        "E": now,
        "s": listing.symbol,
        "t": trade.number,
        "p": listing.price(trade.price),
        "q": listing.size(trade.lots),
        "T": trade.ms,
        "m": not trade.buyer_takes,
    }
    return event | ({"X": "MARKET"} if listing.futures else {"M": True})


def _diff_event(book: Book, diff: Diff, now: int) -> Json:
    listing = book.listing
    event: Json = {
        "e": "depthUpdate",
        "E": now,
        "s": listing.symbol,
        "U": diff.first,
        "u": diff.last,
        "b": levels(listing, diff.bids),
        "a": levels(listing, diff.asks),
    }
    if listing.futures:
        event |= {"T": book.changed // MILLISECOND, "pu": diff.previous}
    return event


def _partial_event(book: Book, most: int, now: int) -> Json:
    listing = book.listing
    bids, asks = (levels(listing, side) for side in book.depth(most))
    if not listing.futures:
        return {"lastUpdateId": book.update, "bids": bids, "asks": asks}
    return {
        "e": "depthUpdate",
        "E": now,
        "T": book.changed // MILLISECOND,
        "s": listing.symbol,
        "U": book.update,
        "u": book.update,
        "pu": book.update,
        "b": bids,
        "a": asks,
    }


def _top_event(book: Book, now: int) -> Json:
    listing = book.listing
    bid, bid_lots, ask, ask_lots = book.top()
    event: Json = {
        "u": book.update,
        "s": listing.symbol,
        "b": listing.price(bid),
        "B": listing.size(bid_lots),
        "a": listing.price(ask),
        "A": listing.size(ask_lots),
    }
    if listing.futures:
        event |= {"e": "bookTicker", "E": now, "T": book.changed // MILLISECOND}
    return event


def _ticker_event(book: Book, now: int) -> Json:
    day = ticker(book, now)
    event = {
        "e": "24hrTicker",
        "E": now,
        "s": day["symbol"],
        "p": day["priceChange"],
        "P": day["priceChangePercent"],
        "w": day["weightedAvgPrice"],
        "c": day["lastPrice"],
        "Q": day["lastQty"],
        "o": day["openPrice"],
        "h": day["highPrice"],
        "l": day["lowPrice"],
        "v": day["volume"],
        "q": day["quoteVolume"],
        "O": day["openTime"],
        "C": day["closeTime"],
        "F": day["firstId"],
        "L": day["lastId"],
        "n": day["count"],
    }
    if not book.listing.futures:
        event |= {
            "x": day["prevClosePrice"],
            "b": day["bidPrice"],
            "B": day["bidQty"],
            "a": day["askPrice"],
            "A": day["askQty"],
        }
    return event


def _mini_event(book: Book, now: int) -> Json:
    whole = _ticker_event(book, now)
    event = {name: whole[name] for name in ("E", "s", "c", "o", "h", "l", "v", "q")}
    return {"e": "24hrMiniTicker", **event}


def _candle_event(book: Book, interval: str, now: int) -> Json | None:
    listing = book.listing
    candle = book.candles.newest(interval)
    if candle is None:
        return None
    unit = listing.instrument.cash_unit.numerator
    end = opening(candle.opened, interval) + INTERVALS[interval] - 1
    return {
        "e": "kline",
        "E": now,
        "s": listing.symbol,
        "k": {
            "t": candle.opened,
            "T": end,
            "s": listing.symbol,
            "i": interval,
            "f": candle.first,
            "L": candle.last,
            "o": listing.price(candle.open),
            "c": listing.price(candle.close),
            "h": listing.price(candle.high),
            "l": listing.price(candle.low),
            "v": listing.size(candle.volume),
            "n": candle.trades,
            "x": now > end,
            "q": listing.amount(candle.value * unit),
            "V": listing.size(candle.bought),
            "Q": listing.amount(candle.bought_value * unit),
            "B": "0",
        },
    }
