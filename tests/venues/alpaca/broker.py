"""A broker that speaks Alpaca's protocol for coins, after its published interface: orders, account,
activities, clock and the stream of trade updates. One price, no depth, fees out of what is bought.
"""

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal
from typing import Any

from aiohttp import WSMsgType, web

KEY, SECRET = "PKTESTKEY5EC2E7KEY", "plantedAlpacaSecret5ec2e7"
FEE = Decimal("0.0025")
UNIT = Decimal("0.000000001")
OPEN = ("new", "partially_filled", "accepted")
DEADLINE = 120.0


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def asset(symbol: str) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, symbol)),
        "class": "crypto",
        "exchange": "CRYPTO",
        "symbol": symbol,
        "name": symbol,
        "status": "active",
        "tradable": True,
        "marginable": False,
        "shortable": False,
        "easy_to_borrow": False,
        "fractionable": True,
        "attributes": [],
        "min_order_size": "0.0001",
        "min_trade_increment": "0.0001",
        "price_increment": "0.01",
    }


class Broker:
    """The account, and what its owner asks of it."""

    def __init__(self) -> None:
        self.bid, self.ask = Decimal("59999.90"), Decimal("60000.00")
        self.cash = Decimal(100_000)
        self.coins = Decimal(0)
        self.orders: dict[str, dict[str, Any]] = {}
        self.activities: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.faults: list[tuple[str, str, str]] = []  # (method, part of the path, what)
        self.skew = 0.0
        self.account: dict[str, Any] = {"crypto_status": "ACTIVE", "transfers_blocked": True}
        self.wallets: Any = []
        self.sockets: set[web.WebSocketResponse] = set()
        self.port = 0
        self._opened = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="broker")
        self._thread.start()
        assert self._opened.wait(DEADLINE)

    # --- the server ---

    async def _main(self) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(middlewares=[self._door])
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/stream/v1beta3/crypto/us", self._prices)
        app.router.add_route("*", "/v2/{rest:.*}", self._rest)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._opened.set()
        await self._stop.wait()
        await self._hang_up()
        await runner.cleanup()

    def do(self, work: Callable[[], Any]) -> Any:
        async def doing() -> Any:
            found = work()
            return await found if asyncio.iscoroutine(found) else found

        return asyncio.run_coroutine_threadsafe(doing(), self.loop).result(DEADLINE)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE)

    def fault(self, method: str, path: str, what: str) -> None:
        """The next such request is answered so: a status, `lost` (done, no answer), `cut`."""
        self.do(lambda: self.faults.append((method, path, what)))

    @web.middleware
    async def _door(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path.startswith("/stream"):
            return await handler(request)
        body = await request.json() if request.can_read_body else dict(request.query)
        self.requests.append((request.method, request.path, body))
        if request.headers.get("APCA-API-KEY-ID") != KEY or (
            request.headers.get("APCA-API-SECRET-KEY") != SECRET
        ):
            return web.json_response({"message": "forbidden."}, status=403)
        for fault in self.faults:
            method, path, what = fault
            if method == request.method and path in request.path:
                self.faults.remove(fault)
                if what == "lost":
                    await handler(request)
                if what in ("lost", "cut"):
                    request.transport.close()  # type: ignore[union-attr]
                    return web.Response()
                if what == "429":
                    said = {"code": 42910000, "message": "rate limit exceeded"}
                    return web.json_response(said, status=429, headers={"retry-after": "1"})
                return web.json_response({"message": "internal server error"}, status=int(what))
        response: web.StreamResponse = await handler(request)
        response.headers["X-RateLimit-Limit"] = "200"
        response.headers["X-RateLimit-Remaining"] = "190"
        return response

    async def _rest(self, request: web.Request) -> web.Response:
        path, method = request.match_info["rest"], request.method
        if method == "POST" and path == "orders":
            return await self._place(await request.json())
        if path.startswith("orders"):
            return await self._orders(method, path, request)
        if path == "account":
            told = {
                "cash": f"{self.cash:f}",
                "currency": "USD",
                "crypto_tier": 1,
                "status": "ACTIVE",
            }
            return web.json_response(told | self.account)
        if path == "positions":
            held = {"symbol": "BTCUSD", "asset_class": "crypto", "qty": f"{self.coins:f}"}
            return web.json_response([held] if self.coins else [])
        if path == "assets":
            return web.json_response([asset("BTC/USD"), asset("ETH/BTC")])
        if path == "clock":
            at = datetime.fromtimestamp(datetime.now(UTC).timestamp() + self.skew, UTC)
            return web.json_response({"timestamp": at.isoformat(), "is_open": True})
        if path == "wallets":
            return web.json_response(self.wallets)
        if path == "account/activities/FILL":
            after = datetime.fromisoformat(request.query["after"])
            found = [
                a for a in self.activities if datetime.fromisoformat(a["transaction_time"]) > after
            ]
            if token := request.query.get("page_token"):
                found = found[[a["id"] for a in found].index(token) + 1 :]
            return web.json_response(found[: int(request.query["page_size"])])
        return web.json_response({"message": "endpoint not found."}, status=404)

    async def _orders(self, method: str, path: str, request: web.Request) -> web.Response:
        gone = {"code": 40410000, "message": "order not found"}
        if path == "orders":
            return web.json_response([o for o in self.orders.values() if o["status"] in OPEN])
        if path == "orders:by_client_order_id":
            wanted = request.query["client_order_id"]
            found = [o for o in self.orders.values() if o["client_order_id"] == wanted]
            return web.json_response(found[0] if found else gone, status=200 if found else 404)
        order = self.orders.get(path.partition("/")[2])
        if order is None:
            return web.json_response(gone, status=404)
        if method == "DELETE":
            if order["status"] not in OPEN:
                said = {"code": 42210000, "message": 'order is already in "filled" state'}
                return web.json_response(said, status=422)
            await self._end(order, "canceled")
            return web.Response(status=204)
        return web.json_response(order)

    async def _place(self, body: dict[str, Any]) -> web.Response:
        def refused(status: int, code: int, message: str) -> web.Response:
            return web.json_response({"code": code, "message": message}, status=status)

        if any(o["client_order_id"] == body["client_order_id"] for o in self.orders.values()):
            return refused(422, 40010001, "client_order_id must be unique")
        if body["time_in_force"] not in ("gtc", "ioc"):
            return refused(422, 42210000, "invalid crypto time_in_force")
        if body["type"] not in ("market", "limit", "stop_limit"):
            return refused(422, 40010001, "invalid order type for crypto order")
        size = Decimal(str(body["qty"]))
        price = Decimal(str(body.get("limit_price") or self.ask))
        if size * price < 10:
            return refused(403, 40310000, "cost basis must be >= minimal amount of order 10")
        short = size > self.coins if body["side"] == "sell" else size * price > self.cash
        if short:
            return refused(403, 40310000, "insufficient balance for it (requested, available)")
        order = {
            "id": str(uuid.uuid4()),
            "client_order_id": body["client_order_id"],
            "created_at": now(),
            "updated_at": now(),
            "submitted_at": now(),
            "symbol": body["symbol"],
            "asset_class": "crypto",
            "qty": f"{size:f}",
            "filled_qty": "0",
            "type": body["type"],
            "side": body["side"],
            "time_in_force": body["time_in_force"],
            "limit_price": str(body["limit_price"]) if "limit_price" in body else None,
            "stop_price": str(body["stop_price"]) if "stop_price" in body else None,
            "status": "pending_new",
        }
        self.orders[order["id"]] = order
        answer = dict(order)  # as Alpaca answers: before the book has seen it
        order["status"] = "new"
        await self._tell("new", order)
        await self.match(order)
        if order["time_in_force"] == "ioc" and order["status"] in OPEN:
            await self._end(order, "expired")
        return web.json_response(answer)

    # --- the market ---

    async def move(self, bid: str, ask: str) -> None:
        self.bid, self.ask = Decimal(bid), Decimal(ask)
        for order in list(self.orders.values()):
            if order["status"] in OPEN:
                await self.match(order)

    async def match(self, order: dict[str, Any], part: Decimal | None = None) -> None:
        buys = order["side"] == "buy"
        price = self.ask if buys else self.bid
        if stop := order["stop_price"]:
            if not (price >= Decimal(stop) if buys else price <= Decimal(stop)):
                return
            order["stop_price"] = None
        limit = order["limit_price"] and Decimal(order["limit_price"])
        if part is None and limit and (price > limit if buys else price < limit):
            return
        filled = Decimal(order["filled_qty"])
        size = part or Decimal(order["qty"]) - filled
        price = limit if part else price
        if buys:
            self.cash -= size * price
            self.coins += size - (size * FEE).quantize(UNIT, ROUND_UP)
        else:
            self.cash += size * price - (size * price * FEE).quantize(UNIT, ROUND_UP)
            self.coins -= size
        done = filled + size == Decimal(order["qty"])
        order["filled_qty"] = f"{filled + size:f}"
        order["status"] = "filled" if done else "partially_filled"
        order["updated_at"] = now()
        trade = {
            "id": f"{datetime.now(UTC):%Y%m%d%H%M%S%f}::{uuid.uuid4()}",
            "activity_type": "FILL",
            "transaction_time": order["updated_at"],
            "type": "fill" if done else "partial_fill",
            "price": f"{price:f}",
            "qty": f"{size:f}",
            "side": order["side"],
            "symbol": "BTCUSD",
            "order_id": order["id"],
        }
        self.activities.append(trade)
        await self._tell(trade["type"], order)

    async def _end(self, order: dict[str, Any], status: str) -> None:
        order["status"], order["updated_at"] = status, now()
        await self._tell(status, order)

    # --- the stream ---

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            said = message.json()
            if said["action"] == "authenticate":
                given = said["data"]["key_id"], said["data"]["secret_key"]
                status = "authorized" if given == (KEY, SECRET) else "unauthorized"
                told = {"stream": "authorization", "data": {"status": status}}
            else:
                self.sockets.add(socket)
                told = {"stream": "listening", "data": said["data"]}
            await socket.send_json(told)
        self.sockets.discard(socket)
        return socket

    async def _prices(self, request: web.Request) -> web.WebSocketResponse:
        """Market data: one level a side, and a trade."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json([{"T": "success", "msg": "connected"}])
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            said = message.json()
            told: dict[str, Any] = {"T": "subscription"}
            if said["action"] == "auth":
                good = (said["key"], said["secret"]) == (KEY, SECRET)
                told = {"T": "success", "msg": "authenticated"}
                if not good:
                    told = {"T": "error", "code": 402, "msg": "auth failed"}
            await socket.send_json([told])
            head = {"S": "BTC/USD", "t": now()}
            if "orderbooks" in said:
                sides = {
                    "b": [{"p": float(self.bid), "s": 1.0}],
                    "a": [{"p": float(self.ask), "s": 1}],
                }
                await socket.send_json([{"T": "o", **head, **sides, "r": True}])
            if "trades" in said:
                trade = {"p": float(self.ask), "s": 0.5, "i": 7, "tks": "B"}
                await socket.send_json([{"T": "t", **head, **trade}])
        return socket

    async def _tell(self, event: str, order: dict[str, Any]) -> None:
        told = {"stream": "trade_updates", "data": {"event": event, "order": dict(order)}}
        for socket in list(self.sockets):
            await socket.send_bytes(web.json_response(told).body)  # binary frames, as on paper

    async def _hang_up(self) -> None:
        sockets, self.sockets = list(self.sockets), set()
        for socket in sockets:
            await socket.close()

    def drop(self) -> None:
        """All streams end."""
        self.do(self._hang_up)


@contextmanager
def broker() -> Iterator[Broker]:
    made = Broker()
    try:
        yield made
    finally:
        made.close()
