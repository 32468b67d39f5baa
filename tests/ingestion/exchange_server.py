"""A small exchange on 127.0.0.1 that speaks Binance's spot REST and WebSocket, for the live feed.

It runs in a thread of its own; the test moves its market, cuts its connections and skips updates.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import WSMsgType, web

MARKET = "BTCUSDT"
TIME = 1_700_000_000_000  # ms, the exchange's own clock at the first message
PATIENCE = 10.0  # seconds that a condition may take to come true

Levels = dict[str, str]  # price → size, as the exchange writes them


class ExchangeServer:
    """One spot market with a book, trades, and the faults that a test asks for."""

    def __init__(self) -> None:
        self.paths: list[str] = []  # of all requests
        self.snapshots = 0  # full books asked for
        self._bids: Levels = {"100.00": "1.00000", "99.90": "2.00000", "99.80": "3.00000"}
        self._asks: Levels = {"100.10": "1.50000", "100.20": "2.50000", "100.30": "3.50000"}
        self._update = 1000
        self._trade = 500
        self._time = TIME
        self._streams: dict[web.WebSocketResponse, set[str]] = {}
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="exchange")
        self._thread.start()
        self.port = 0
        self._do(self._open())

    @property
    def urls(self) -> dict[str, str]:
        """The override that brings the live feed here."""
        return {"rest": f"http://127.0.0.1:{self.port}", "ws": f"ws://127.0.0.1:{self.port}"}

    def close(self) -> None:
        """Be gone; a second time is one too many and does nothing."""
        if self._loop.is_closed():
            return
        self._do(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- what a test does ---

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; it is looked at after each request."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), "the client never came"

    def wait_for_streams(self) -> None:
        """Books and trades are subscribed to, and the full book was asked for since the drop."""
        wanted = {f"{MARKET.lower()}@depth@100ms", f"{MARKET.lower()}@trade"}
        self.wait(lambda: wanted <= set().union(*self._streams.values()))

    def depth(self, bids: Levels | None = None, asks: Levels | None = None, skip: int = 0) -> int:
        """Change levels (size 0 removes one); `skip` updates are lost before. The update id."""
        return self._do(self._depth(bids or {}, asks or {}, skip))

    def trade(self, price: str, size: str, buyer_is_maker: bool = False) -> int:
        """One trade; its id."""
        return self._do(self._send_trade(price, size, buyer_is_maker))

    def drop(self) -> None:
        """Cut all connections."""
        self._do(self._drop())

    # --- the exchange's own thread ---

    def _do(self, action: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(action, self._loop).result(PATIENCE)

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_get("/{host}/api/v3/exchangeInfo", self._exchange_info)
        app.router.add_get("/{host}/api/v3/depth", self._full_book)
        app.router.add_get("/{host}/ws/{stream}", self._web_socket)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _shut(self) -> None:
        await self._drop()
        assert self._runner is not None
        await self._runner.cleanup()

    def _note(self, path: str) -> None:
        with self._changed:
            self.paths.append(path)
            self._changed.notify_all()

    async def _exchange_info(self, request: web.Request) -> web.Response:
        self._note(request.path)
        filters = [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01",
                "maxPrice": "1e6",
                "tickSize": "0.01",
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": "0.00001",
                "maxQty": "9000",
                "stepSize": "0.00001",
            },
        ]
        market = {
            "symbol": MARKET,
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "MARKET"],
            "isSpotTradingAllowed": True,
            "permissions": ["SPOT"],
            "filters": filters,
        }
        return web.json_response({"symbols": [market]})

    async def _full_book(self, request: web.Request) -> web.Response:
        book = {
            "lastUpdateId": self._update,
            "bids": [list(level) for level in self._bids.items()],
            "asks": [list(level) for level in self._asks.items()],
        }
        self.snapshots += 1
        self._note(request.path)
        return web.json_response(book)

    async def _web_socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._streams[socket] = set()
        self._note(request.path)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    wish = json.loads(message.data)
                    await socket.send_json({"result": None, "id": wish["id"]})
                    self._streams.get(socket, set()).update(wish["params"])
                    self._note(request.path)
        finally:
            self._streams.pop(socket, None)
        return socket

    async def _publish(self, stream: str, message: dict[str, Any]) -> None:
        self._time += 1
        for socket, streams in list(self._streams.items()):
            if stream in streams and not socket.closed:
                await socket.send_json({**message, "E": self._time, "s": MARKET})

    async def _depth(self, bids: Levels, asks: Levels, skip: int) -> int:
        self._update += skip
        first = self._update + 1
        self._update += len(bids) + len(asks)
        for book, changes in ((self._bids, bids), (self._asks, asks)):
            book.update(changes)
            for price in [p for p, size in book.items() if float(size) == 0]:
                del book[price]
        message = {
            "e": "depthUpdate",
            "U": first,
            "u": self._update,
            "b": [list(level) for level in bids.items()],
            "a": [list(level) for level in asks.items()],
        }
        await self._publish(f"{MARKET.lower()}@depth@100ms", message)
        return self._update

    async def _send_trade(self, price: str, size: str, buyer_is_maker: bool) -> int:
        self._trade += 1
        message = {
            "e": "trade",
            "t": self._trade,
            "p": price,
            "q": size,
            "T": self._time + 1,
            "m": buyer_is_maker,
        }
        await self._publish(f"{MARKET.lower()}@trade", message)
        return self._trade

    async def _drop(self) -> None:
        sockets = list(self._streams)
        self._streams.clear()
        await asyncio.gather(*(socket.close() for socket in sockets))
