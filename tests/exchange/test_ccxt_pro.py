"""The unmodified ccxt pro client hears the practice exchange: market streams and user streams."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import ccxt.pro
import pytest

from seawall.core.events import EventKind, Side
from seawall.exchange.listing import Market
from tests.exchange.practice import (
    ASK,
    BID,
    DEADLINE,
    Practice,
    book,
    client,
    practice,
    tape_of,
)

SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"
MOVES = [
    row
    for k in range(1, 600)
    for row in (
        (k * 0.2, EventKind.DEPTH, Side.BUY, BID - 10, 100_000 + k),
        (k * 0.2 + 0.1, EventKind.TRADE, Side.BUY, ASK, 1_000 + k),
    )
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    folder = tmp_path_factory.mktemp("exchange")
    with practice(folder / "state", tape_of(folder / "tape", *book(0), *MOVES)) as running:
        yield running


async def heard_by(server: Practice, market: Market) -> None:
    """Return when somebody listens to a user stream."""

    def there() -> bool:
        return any(
            each.market is market and each.accounts for each in server.server.streams.listeners
        )

    while not await asyncio.to_thread(server.do, there):
        await asyncio.sleep(0)


def run(server: Practice, story: Callable[[Any], Awaitable[None]], **options: Any) -> None:
    """A story with a client of its own."""

    async def main() -> None:
        made = client(ccxt.pro.binance, server.port, **options)
        try:
            await made.load_markets()
            async with asyncio.timeout(DEADLINE):
                await story(made)
        finally:
            await made.close()

    asyncio.run(main())


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_the_book_is_watched_without_a_gap(server: Practice, symbol: str) -> None:
    async def story(trader: Any) -> None:
        nonces = []
        for _ in range(5):
            seen = await trader.watch_order_book(symbol)
            nonces.append(seen["nonce"])
            assert seen["bids"][0] == [BID / 100, 1.0]
            assert seen["asks"][0][0] == ASK / 100
        assert nonces == sorted(nonces)
        assert len(set(nonces)) > 2
        whole = await trader.fetch_order_book(symbol, 100)
        while seen["nonce"] < whole["nonce"]:
            seen = await trader.watch_order_book(symbol)
        if seen["nonce"] == whole["nonce"]:
            assert seen["bids"] == whole["bids"]

    run(server, story)


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_trades_tickers_and_candles_are_watched(server: Practice, symbol: str) -> None:
    async def story(trader: Any) -> None:
        trades = await trader.watch_trades(symbol)
        assert trades[-1]["price"] == ASK / 100
        assert trades[-1]["side"] == "buy"
        candles = await trader.watch_ohlcv(symbol, "1m")
        assert candles[-1][4] == ASK / 100
        assert (await trader.watch_ticker(symbol))["last"] == ASK / 100
        if symbol == SWAP:
            assert (await trader.watch_mark_price(symbol))["markPrice"] > 0

    run(server, story)


def test_the_spot_user_stream_tells_of_orders_trades_and_balances(server: Practice) -> None:
    async def story(trader: Any) -> None:
        first = asyncio.ensure_future(trader.watch_orders(SPOT))
        balances = asyncio.ensure_future(trader.watch_balance())
        trades = asyncio.ensure_future(trader.watch_my_trades(SPOT))
        await heard_by(server, Market.SPOT)
        order = await trader.create_order(SPOT, "limit", "buy", 0.01, 50_000)
        heard = (await first)[-1]
        assert (heard["id"], heard["status"], heard["clientOrderId"]) == (
            order["id"],
            "open",
            order["clientOrderId"],
        )
        assert (await balances)["USDT"]["used"] == pytest.approx(500.5)
        await trader.cancel_order(order["id"], SPOT)
        heard = (await trader.watch_orders(SPOT))[-1]
        assert (heard["id"], heard["status"]) == (order["id"], "canceled")
        taken = await trader.create_order(SPOT, "market", "buy", 0.01)
        fill = (await trades)[-1]
        assert (fill["order"], fill["amount"], fill["price"]) == (taken["id"], 0.01, ASK / 100)
        assert fill["fee"] == {"currency": "USDT", "cost": pytest.approx(0.600001)}

    run(server, story)


def test_the_futures_user_stream_tells_of_orders_positions_and_balances(server: Practice) -> None:
    async def story(trader: Any) -> None:
        first = asyncio.ensure_future(trader.watch_orders(SWAP))
        await heard_by(server, Market.USDM)
        order = await trader.create_order(SWAP, "limit", "buy", 0.01, 59_000)
        heard = (await first)[-1]
        assert (heard["id"], heard["status"]) == (order["id"], "open")
        await trader.cancel_order(order["id"], SWAP)
        assert (await trader.watch_orders(SWAP))[-1]["status"] == "canceled"
        await trader.create_order(SWAP, "market", "sell", 0.01)
        held = (await trader.watch_positions([SWAP]))[-1]
        assert (held["side"], held["contracts"]) == ("short", 0.01)
        balance = await trader.fetch_balance({"type": "swap"})
        assert balance["USDT"]["total"] < 100_000
        await trader.create_order(SWAP, "market", "buy", 0.01, None, {"reduceOnly": True})
        held = (await trader.watch_positions([SWAP]))[-1]
        assert held["contracts"] == 0

    run(server, story, defaultType="swap")


def test_orders_are_placed_and_cancelled_over_the_websocket_api(server: Practice) -> None:
    async def story(trader: Any) -> None:
        for symbol, price in ((SPOT, 50_000), (SWAP, 59_000)):
            order = await trader.create_order_ws(symbol, "limit", "buy", 0.01, price)
            assert order["status"] == "open"
            found = await trader.fetch_order_ws(order["id"], symbol)
            assert found["id"] == order["id"]
            gone = await trader.cancel_order_ws(order["id"], symbol)
            assert gone["status"] == "canceled"
        balance = await trader.fetch_balance_ws()  # which ccxt does not parse for spot
        assert {each["asset"] for each in balance["info"]["balances"]} == {"BTC", "USDT"}
        with pytest.raises(ccxt.InsufficientFunds):
            await trader.create_order_ws(SPOT, "limit", "buy", 10, 59_000)

    run(server, story)
