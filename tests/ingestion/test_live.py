"""The live feed: the real ccxt client against a local exchange that loses things on demand."""

import asyncio
import re
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from seawall.core.clock import MILLISECOND, SystemClock
from seawall.core.errors import FeedError
from seawall.core.events import EVENT, EventFlag, EventKind, Side
from seawall.core.instruments import Kind
from seawall.ingestion.live import Inbox, LiveBook, LiveFeed, instrument_of, overridden
from tests.ingestion.exchange_server import TIME, ExchangeServer

# aiohttp says on newer interpreters that an option which ccxt sets is not needed there.
pytestmark = pytest.mark.filterwarnings("ignore:enable_cleanup_closed:DeprecationWarning")

READS = 200  # of 50 ms: how long a condition may take to come true


@pytest.fixture
def server() -> Iterator[ExchangeServer]:
    server = ExchangeServer()
    yield server
    server.close()


@pytest.fixture
def feed(server: ExchangeServer) -> Iterator[LiveFeed]:
    feed = open_feed(server)
    yield feed
    feed.close()


def open_feed(server: ExchangeServer, **settings: Any) -> LiveFeed:
    entry = {"name": "binance", "urls": server.urls}
    return LiveFeed([entry], ["BTC/USDT"], SystemClock(), first_wait=0.01, **settings)


def read_until(feed: LiveFeed, condition: Callable[[Any], Any]) -> Any:
    """All rows up to the read after which the condition holds for them."""
    rows = np.zeros(0, EVENT)
    for _ in range(READS):
        new = feed.read(0.05)
        assert new is not None
        rows = np.concatenate([rows, new])
        if condition(rows):
            return rows
    raise AssertionError(f"never came; there were {rows}")


def kinds(rows: Any) -> list[EventKind]:
    return [EventKind(int(kind)) for kind in rows["kind"]]


def has(kind: EventKind) -> Callable[[Any], bool]:
    return lambda rows: bool((rows["kind"] == kind).any())


def book_after(rows: Any) -> dict[int, dict[int, int]]:
    """Side → ticks → lots once the rows are applied."""
    book: dict[int, dict[int, int]] = {0: {}, 1: {}}
    for row in rows:
        if row["kind"] in (EventKind.SNAPSHOT, EventKind.DOWN):
            book = {0: {}, 1: {}}
        elif row["kind"] == EventKind.DEPTH and row["size"] == 0:
            del book[int(row["side"])][int(row["price"])]
        elif row["kind"] == EventKind.DEPTH:
            book[int(row["side"])][int(row["price"])] = int(row["size"])
    return book


FULL_BOOK = {
    0: {10_000: 100_000, 9_990: 200_000, 9_980: 300_000},
    1: {10_010: 150_000, 10_020: 250_000, 10_030: 350_000},
}


def test_the_catalog_comes_from_the_exchange(feed: LiveFeed) -> None:
    (instrument,) = feed.catalog.instruments
    assert instrument.name == "BTC/USDT@binance"
    assert (instrument.kind, instrument.base, instrument.quote) == (Kind.SPOT, "BTC", "USDT")
    assert (instrument.tick, instrument.lot) == ("0.01", "0.00001")
    assert [source.name for source in feed.catalog.sources] == ["binance"]
    assert feed.catalog.books == ((0, 0),)


def test_books_arrive_whole_and_then_as_differences(server: ExchangeServer, feed: LiveFeed) -> None:
    first = read_until(feed, has(EventKind.SNAPSHOT))
    assert kinds(first) == [EventKind.SNAPSHOT] + [EventKind.DEPTH] * 6
    assert set(first["sequence"]) == {1000}
    assert set(first["previous"]) == {-1}
    assert book_after(first) == FULL_BOOK
    assert first["flags"][0] == EventFlag.BEGIN
    assert first["flags"][-1] == EventFlag.END

    server.wait_for_streams()
    update = server.depth(bids={"100.00": "0", "99.95": "4.00000"}, asks={"100.10": "7.00000"})
    rows = read_until(feed, len)
    assert kinds(rows) == [EventKind.DEPTH] * 3
    assert [tuple(row) for row in rows[["side", "price", "size"]]] == [
        (0, 10_000, 0),
        (0, 9_995, 400_000),
        (1, 10_010, 700_000),
    ]
    assert set(rows["sequence"]) == {update}
    assert set(rows["previous"]) == {1000}
    assert set(rows["exch_ts"]) == {(TIME + 1) * MILLISECOND}
    assert (rows["recv_ts"] > first["recv_ts"][-1]).all()


def test_trades_carry_their_id_and_their_aggressor(server: ExchangeServer, feed: LiveFeed) -> None:
    read_until(feed, has(EventKind.SNAPSHOT))
    server.wait_for_streams()
    bought = server.trade("100.10", "0.50000")
    sold = server.trade("100.00", "0.25000", buyer_is_maker=True)
    rows = read_until(feed, lambda rows: len(rows) == 2)
    assert kinds(rows) == [EventKind.TRADE] * 2
    assert list(rows["side"]) == [Side.BUY, Side.SELL]
    assert list(rows["price"]) == [10_010, 10_000]
    assert list(rows["size"]) == [50_000, 25_000]
    assert list(rows["sequence"]) == [bought, sold]
    assert set(rows["flags"]) == {EventFlag.BEGIN | EventFlag.END}
    assert rows["exch_ts"][0] == (TIME + 1) * MILLISECOND


def test_a_lost_connection_voids_the_book_until_it_comes_whole(
    server: ExchangeServer, feed: LiveFeed
) -> None:
    before = read_until(feed, has(EventKind.SNAPSHOT))
    server.wait_for_streams()
    server.drop()
    rows = read_until(feed, has(EventKind.SNAPSHOT))
    assert kinds(rows)[:2] == [EventKind.DOWN, EventKind.SNAPSHOT]
    assert rows["flags"][0] == EventFlag.BEGIN | EventFlag.END
    assert book_after(rows) == FULL_BOOK
    server.wait_for_streams()
    server.depth(bids={"99.95": "4.00000"})
    after = read_until(feed, lambda rows: len(rows) == 1)
    assert after["price"][0] == 9_995
    assert np.all(np.diff(np.concatenate([before, rows, after])["recv_ts"]) >= 0)
    assert feed.counters["down"] == 1


def test_a_gap_in_the_sequence_resynchronises(server: ExchangeServer, feed: LiveFeed) -> None:
    read_until(feed, has(EventKind.SNAPSHOT))
    server.wait_for_streams()
    server.depth(bids={"99.95": "4.00000"})
    read_until(feed, len)
    asked = server.snapshots
    update = server.depth(asks={"100.10": "9.00000"}, skip=3)
    rows = read_until(feed, has(EventKind.SNAPSHOT))
    assert kinds(rows)[:2] == [EventKind.DOWN, EventKind.SNAPSHOT]
    assert server.snapshots > asked
    assert rows["sequence"][-1] == update
    assert book_after(rows)[1][10_010] == 900_000


def test_a_wait_that_ccxt_itself_cancels_is_a_loss_and_not_the_end(
    server: ExchangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ccxt.pro

    watch_trades = ccxt.pro.binance.watch_trades
    cancelled = []

    async def cancelled_once(self: Any, symbol: str) -> Any:
        if not cancelled:
            cancelled.append(symbol)
            raise asyncio.CancelledError
        return await watch_trades(self, symbol)

    monkeypatch.setattr(ccxt.pro.binance, "watch_trades", cancelled_once)
    feed = open_feed(server)
    server.wait_for_streams()
    server.trade("100.10", "0.50000")
    read_until(feed, has(EventKind.TRADE))
    feed.close()
    assert cancelled == ["BTC/USDT"]


def test_every_request_stays_on_this_machine(server: ExchangeServer, feed: LiveFeed) -> None:
    import ccxt.pro

    read_until(feed, has(EventKind.SNAPSHOT))
    here = {"rest": "http://127.0.0.1:9", "ws": "ws://127.0.0.1:9"}
    found = re.findall(r"\w+://[^'\"]+", repr(overridden(ccxt.pro.binance().urls, here)))
    assert len(found) > 50
    assert {url.split("/")[2] for url in found} == {"127.0.0.1:9"}
    assert {path.split("/")[1] for path in server.paths} == {
        "api.binance.com",
        "stream.binance.com",
    }


def test_closing_is_quick_and_leaves_nothing(server: ExchangeServer) -> None:
    feed = open_feed(server)
    read_until(feed, has(EventKind.SNAPSHOT))
    clock = SystemClock()
    before = clock.now()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        feed.close()
    assert clock.now() - before < 2_000 * MILLISECOND
    assert feed.read(0.0) is None
    assert not [t for t in threading.enumerate() if t.name == "live feed"]
    feed.close()


def test_no_exchange_is_one_clear_line_in_time(server: ExchangeServer) -> None:
    urls = server.urls
    server.close()
    clock = SystemClock()
    before = clock.now()
    with pytest.raises(FeedError) as failure:
        LiveFeed([{"name": "binance", "urls": urls}], ["BTC/USDT"], clock, timeout=3.0)
    assert clock.now() - before < 4_000 * MILLISECOND
    line = str(failure.value)
    assert "\n" not in line
    assert line.startswith("live feed: no exchange answered within 3 s (binance: ")
    assert "--feed simulated" in line


def test_an_exchange_that_keeps_silent_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base = f"http://127.0.0.1:{silent.getsockname()[1]}"
        entry = {"name": "binance", "urls": {"rest": base, "ws": base}}
        with pytest.raises(FeedError, match=r"within 0\.3 s \(binance: no answer\)"):
            LiveFeed([entry], ["BTC/USDT"], SystemClock(), timeout=0.3)


@pytest.mark.parametrize(
    ("name", "symbol", "why"),
    [
        ("nosuch", "BTC/USDT", "nosuch: ccxt has no WebSocket client of that name"),
        ("binance", "DOGE/USDT", "binance: it lists none of DOGE/USDT"),
    ],
)
def test_a_wrong_name_is_said(server: ExchangeServer, name: str, symbol: str, why: str) -> None:
    with pytest.raises(FeedError, match=why):
        LiveFeed([{"name": name, "urls": server.urls}], [symbol], SystemClock())


def test_an_exchange_that_does_not_answer_is_left_out(server: ExchangeServer) -> None:
    entries = [{"name": "nosuch"}, {"name": "binance", "urls": server.urls}]
    feed = LiveFeed(entries, ["BTC/USDT"], SystemClock())
    assert [source.name for source in feed.catalog.sources] == ["binance"]
    assert feed.notes == ("nosuch: ccxt has no WebSocket client of that name",)
    feed.close()


# --- a book on its own ---

SPOT = {
    "symbol": "BTC/USDT",
    "base": "BTC",
    "quote": "USDT",
    "spot": True,
    "precision": {"price": 0.01, "amount": 0.001},
}


def make_book(capacity: int = 1000, depth: int = 3) -> tuple[LiveBook, Inbox, dict[str, int]]:
    inbox = Inbox(SystemClock(), capacity)
    counters = {"refused": 0, "overflow": 0, "down": 0}
    instrument = instrument_of("test", SPOT, 4)
    return LiveBook(instrument, (0, 0), inbox, depth, counters), inbox, counters


def test_what_is_no_positive_number_is_refused_and_counted() -> None:
    book, inbox, counters = make_book()
    nan = float("nan")
    book.book({"bids": [[10.0, 1.0], [9.99, nan], [-1.0, 2.0]], "asks": [[None, 1.0]]})
    assert counters["refused"] == 3
    for price, amount in [(nan, 1.0), (10.0, None), (-1.0, 1.0), (0.0, 1.0), (10.0, float("inf"))]:
        book.trade({"id": "1", "price": price, "amount": amount, "side": "buy"})
    assert counters["refused"] == 8
    rows = inbox.take(0.0)
    assert rows is not None
    assert book_after(rows) == {0: {1000: 1000}, 1: {}}
    assert len(rows) == 2


def test_only_the_best_levels_are_told() -> None:
    book, inbox, _ = make_book(depth=2)
    book.book({"bids": [[10.0, 1.0], [9.9, 1.0], [9.8, 1.0]], "asks": []})
    book.book({"bids": [[10.1, 1.0], [10.0, 1.0], [9.9, 1.0]], "asks": []})
    rows = inbox.take(0.0)
    assert rows is not None
    assert book_after(rows) == {0: {1010: 1000, 1000: 1000}, 1: {}}


def test_without_numbers_of_the_exchange_a_book_counts_for_itself() -> None:
    book, inbox, _ = make_book()
    for size in (1.0, 1.0, 2.0, 3.0):
        book.book({"bids": [[10.0, size]], "asks": []})
    for _ in range(2):
        book.trade({"id": "5f-a3", "price": 10.0, "amount": 1e-9, "side": None})
    rows = inbox.take(0.0)
    assert rows is not None
    depth = rows[rows["kind"] != EventKind.TRADE]
    assert [*zip(depth["sequence"], depth["previous"], strict=True)] == [
        (1, -1),
        (1, -1),
        (2, 1),
        (3, 2),
    ]
    trades = rows[rows["kind"] == EventKind.TRADE]
    assert list(trades["sequence"]) == [1, 2]
    assert list(trades["size"]) == [1, 1]
    assert set(trades["side"]) == {Side.UNKNOWN}
    assert (trades["exch_ts"] == trades["recv_ts"]).all()


def test_a_full_buffer_voids_the_book_and_starts_it_afresh() -> None:
    book, inbox, counters = make_book(capacity=4)
    book.book({"bids": [[10.0, 1.0]], "asks": [[10.1, 1.0]]})
    for size in (2.0, 3.0, 4.0):
        book.book({"bids": [[10.0, size]], "asks": [[10.1, size]]})
        book.trade({"id": "1", "price": 10.0, "amount": 1.0, "side": "buy"})
    rows = inbox.take(0.0)
    assert rows is not None
    assert kinds(rows) == [
        EventKind.SNAPSHOT,
        EventKind.DEPTH,
        EventKind.DEPTH,
        EventKind.DOWN,
    ]
    assert counters["overflow"] == 6
    assert counters["down"] == 1
    book.book({"bids": [[10.0, 5.0]], "asks": [[10.1, 5.0]]})
    rows = inbox.take(0.0)
    assert rows is not None
    assert kinds(rows)[0] == EventKind.SNAPSHOT
    assert book_after(rows) == {0: {1000: 5000}, 1: {1010: 5000}}


@pytest.mark.parametrize(
    ("market", "kind", "multiplier", "settle"),
    [
        ({"linear": True, "settle": "USDT", "contractSize": 0.01}, Kind.LINEAR, "0.01", "USDT"),
        ({"inverse": True, "settle": "BTC", "contractSize": 100.0}, Kind.INVERSE, "100", "BTC"),
        ({"spot": True}, Kind.SPOT, "1", "USDT"),
    ],
)
def test_instruments_from_metadata(
    market: dict[str, Any], kind: Kind, multiplier: str, settle: str
) -> None:
    common = {"symbol": "X", "base": "BTC", "quote": "USDT"}
    precision = {"price": 1e-5, "amount": 1.0}
    instrument = instrument_of("test", {**common, **market, "precision": precision}, 4)
    assert (instrument.kind, instrument.multiplier) == (kind, multiplier)
    assert (instrument.tick, instrument.lot) == ("0.00001", "1")
    assert instrument.settle_asset == settle
    places = instrument_of("test", {**SPOT, "precision": {"price": 2, "amount": 12}}, 2)
    assert (places.tick, places.lot) == ("0.01", "0.000000000001")
    assert places.settle_decimals == 14


@pytest.mark.parametrize("market", [{"option": True}, {"spot": True, "precision": {}}])
def test_markets_that_cannot_be_kept_are_refused(market: dict[str, Any]) -> None:
    with pytest.raises(FeedError):
        instrument_of("test", {"symbol": "X", "base": "B", "quote": "Q", **market}, 4)


def test_a_failure_of_the_thread_reaches_the_reader() -> None:
    _, inbox, _ = make_book()
    inbox.end("live feed: it has failed")
    with pytest.raises(FeedError, match="it has failed"):
        inbox.take(0.0)
