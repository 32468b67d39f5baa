"""Streams as a client without a library sees them: raw, combined, and the book put together."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from typing import Any

import aiohttp
import ccxt.pro
import pytest

from seawall.core.events import EventKind, Side
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

MOVES = [
    row
    for k in range(1, 6_000)
    for row in (
        (k * 0.1, EventKind.DEPTH, Side.BUY, BID - 10 * (k % 7), 1_000 * (k % 5)),
        (k * 0.1 + 0.02, EventKind.DEPTH, Side.SELL, ASK + 10 * (k % 11), 1_000 * (k % 3)),
        (k * 0.1 + 0.05, EventKind.TRADE, Side.SELL, BID, 10 + k),
    )
] + book(60, levels=10, lots=77)
MOVES.sort(key=lambda row: row[0])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    folder = tmp_path_factory.mktemp("exchange")
    tape = tape_of(folder / "tape", *book(0), *MOVES)
    with practice(folder / "state", tape, speed=5.0) as running:
        yield running


def run(server: Practice, story: Callable[[aiohttp.ClientSession, str], Awaitable[None]]) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session, asyncio.timeout(DEADLINE):
            await story(session, f"127.0.0.1:{server.port}")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("place", "rest"), [("/ws", "/api/v3"), ("/fstream/public/ws", "/fapi/v1")]
)
def test_a_snapshot_and_the_diffs_after_it_are_the_book(
    server: Practice, place: str, rest: str
) -> None:
    async def story(session: aiohttp.ClientSession, host: str) -> None:
        async def whole() -> Any:
            url = f"http://{host}{rest}/depth?symbol=BTCUSDT&limit=1000"
            async with session.get(url) as answer:
                return await answer.json()

        async with session.ws_connect(f"ws://{host}{place}/btcusdt@depth@100ms") as socket:
            diffs = [await socket.receive_json()]
            start = await whole()
            mine = {side: dict(start[side]) for side in ("bids", "asks")}
            while len(diffs) < 25:
                diffs.append(await socket.receive_json())
            end = await whole()
            while diffs[-1]["u"] < end["lastUpdateId"]:
                diffs.append(await socket.receive_json())
            for before, diff in pairwise(diffs):
                assert diff["U"] == before["u"] + 1
                assert diff.get("pu", before["u"]) == before["u"]
            for diff in diffs:
                if not start["lastUpdateId"] < diff["u"] <= end["lastUpdateId"]:
                    continue
                for side, key in (("bids", "b"), ("asks", "a")):
                    for price, size in diff[key]:
                        mine[side][price] = size
                        if not float(size):
                            del mine[side][price]
            assert mine == {side: dict(end[side]) for side in ("bids", "asks")}

    run(server, story)


def test_streams_are_subscribed_to_listed_and_left(server: Practice) -> None:
    async def story(session: aiohttp.ClientSession, host: str) -> None:
        async with session.ws_connect(f"ws://{host}/ws") as socket:

            async def ask(method: str, *params: Any) -> Any:
                await socket.send_json({"id": 7, "method": method, "params": list(params)})
                while True:
                    answer = await socket.receive_json()
                    if "id" in answer:
                        return answer

            assert await ask("SUBSCRIBE", "btcusdt@trade", "btcusdt@bookTicker") == {
                "result": None,
                "id": 7,
            }
            event = await socket.receive_json()
            assert event.get("e") == "trade" or "b" in event
            listed = await ask("LIST_SUBSCRIPTIONS")
            assert listed["result"] == ["btcusdt@trade", "btcusdt@bookTicker"]
            await ask("UNSUBSCRIBE", "btcusdt@trade", "btcusdt@bookTicker")
            assert (await ask("LIST_SUBSCRIPTIONS"))["result"] == []
            assert (await ask("NONSENSE"))["error"]["code"] == 2
            await socket.send_str("{")
            while "error" not in (answer := await socket.receive_json()):
                continue
            assert answer["error"]["code"] == 3

    run(server, story)


def test_combined_streams_name_the_stream(server: Practice) -> None:
    wanted = ["btcusdt@trade", "btcusdt@aggTrade", "btcusdt@depth5@100ms", "btcusdt@kline_1m"]

    async def story(session: aiohttp.ClientSession, host: str) -> None:
        url = f"ws://{host}/stream?streams={'/'.join(wanted)}"
        heard: dict[str, Any] = {}
        async with session.ws_connect(url) as socket:
            while set(heard) != set(wanted):
                message = await socket.receive_json()
                heard[message["stream"]] = message["data"]
        assert heard["btcusdt@trade"]["e"] == "trade"
        assert heard["btcusdt@trade"]["m"] is True
        assert len(heard["btcusdt@depth5@100ms"]["bids"]) == 5
        assert heard["btcusdt@kline_1m"]["k"]["i"] == "1m"

    run(server, story)


def test_candles_hold_the_trades(server: Practice) -> None:
    async def story(session: aiohttp.ClientSession, host: str) -> None:
        async def get(path: str) -> Any:
            async with session.get(f"http://{host}/api/v3/{path}") as answer:
                return await answer.json()

        heard: list[int] = []  # ms: a hundred trades, with a whole second between two others
        async with session.ws_connect(f"ws://{host}/ws/btcusdt@trade") as socket:
            while len(heard) < 100 or heard[-1] // 1_000 < heard[0] // 1_000 + 2:
                heard.append((await socket.receive_json())["T"])
        trades = await get("trades?symbol=BTCUSDT&limit=1000")
        assert len(trades) >= 100
        seconds = await get("klines?symbol=BTCUSDT&interval=1s&limit=1000")
        counted = {row[0]: 0.0 for row in seconds}
        for trade in trades:
            counted[trade["time"] // 1_000 * 1_000] += float(trade["qty"])
        first, last = (trades[at]["time"] // 1_000 * 1_000 for at in (0, -1))
        inner = [row for row in seconds if first < row[0] < last]
        assert inner
        for row in inner:
            assert float(row[5]) == pytest.approx(counted[row[0]])
        minutes = await get("klines?symbol=BTCUSDT&interval=1m")
        assert sum(float(row[5]) for row in minutes) >= sum(counted.values()) - 1e-9
        late = [each["id"] for each in trades[-5:]]  # early ones may be forgotten by now
        aggregates = await get(f"aggTrades?symbol=BTCUSDT&fromId={late[0]}&limit=5")
        assert [each["a"] for each in aggregates] == late
        assert (await get("klines?symbol=BTCUSDT&interval=9m"))["code"] == -1120

    run(server, story)


def test_ccxt_hears_best_prices_and_all_tickers(server: Practice) -> None:
    async def main() -> None:
        trader = client(ccxt.pro.binance, server.port)
        try:
            await trader.load_markets()
            for symbol in ("BTC/USDT", "BTC/USDT:USDT"):
                best = await trader.watch_bids_asks([symbol])
                assert best[symbol]["bid"] < best[symbol]["ask"]
                assert (await trader.watch_tickers([symbol]))[symbol]["last"] > 0
        finally:
            await trader.close()

    asyncio.run(asyncio.wait_for(main(), DEADLINE))
