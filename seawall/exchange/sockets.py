"""WebSockets: market streams, user streams, and the WebSocket API."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import WSMsgType, web

from seawall.exchange import refusals
from seawall.exchange.answers import Json
from seawall.exchange.calls import Endpoint
from seawall.exchange.doors import Asked, Doors
from seawall.exchange.faults import Faults
from seawall.exchange.keys import ApiKey
from seawall.exchange.listing import Market
from seawall.exchange.streams import Listener, Streams

PING_EVERY = 20.0  # seconds; who does not answer within half of it is gone
LONGEST_MESSAGE = 1 << 20
REORDER_S = 0.2  # a message that is held for the next one goes by itself after this
_PLACES = re.compile(r"(?P<futures>/fstream)?(?:/(?:public|market|private|stream))?/?(?P<rest>.*)")

Respond = Callable[[Endpoint, Asked, str, str], Awaitable[tuple[int, dict[str, str], Any] | None]]

# The WebSocket API's methods, and the REST calls that they are.
_BOTH = {
    "ping": ("GET", "ping"),
    "time": ("GET", "time"),
    "exchangeInfo": ("GET", "exchangeInfo"),
    "depth": ("GET", "depth"),
    "klines": ("GET", "klines"),
    "ticker.price": ("GET", "ticker/price"),
    "ticker.book": ("GET", "ticker/bookTicker"),
    "ticker.24hr": ("GET", "ticker/24hr"),
    "order.place": ("POST", "order"),
    "order.test": ("POST", "order/test"),
    "order.status": ("GET", "order"),
    "order.cancel": ("DELETE", "order"),
}
_SPOT = {
    "trades.recent": ("GET", "trades"),
    "trades.aggregate": ("GET", "aggTrades"),
    "order.cancelReplace": ("POST", "order/cancelReplace"),
    "openOrders.status": ("GET", "openOrders"),
    "openOrders.cancelAll": ("DELETE", "openOrders"),
    "allOrders": ("GET", "allOrders"),
    "myTrades": ("GET", "myTrades"),
    "account.status": ("GET", "account"),
    "account.commission": ("GET", "account/commission"),
    "userDataStream.start": ("POST", "userDataStream"),
    "userDataStream.ping": ("PUT", "userDataStream"),
    "userDataStream.stop": ("DELETE", "userDataStream"),
}
_USDM = {
    "order.modify": ("PUT", "order"),
    "algoOrder.place": ("POST", "algoOrder"),
    "algoOrder.cancel": ("DELETE", "algoOrder"),
    "userDataStream.start": ("POST", "listenKey"),
    "userDataStream.ping": ("PUT", "listenKey"),
    "userDataStream.stop": ("DELETE", "listenKey"),
}
_USDM_PATHS = {
    "account.balance": ("GET", "/fapi/v3/balance"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "account.status": ("GET", "/fapi/v3/account"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
    "account.position": ("GET", "/fapi/v2/positionRisk"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
}
METHODS: dict[Market, dict[str, tuple[str, str]]] = {
    Market.SPOT: {
        name: (method, f"/api/v3/{path}") for name, (method, path) in (_BOTH | _SPOT).items()
    },
    Market.USDM: {
        name: (method, f"/fapi/v1/{path}") for name, (method, path) in (_BOTH | _USDM).items()
    }
    | _USDM_PATHS,
}


class Sockets:
    """All WebSockets of the exchange.

    Args:
        respond: answers a call, faults and all. pause: waits while nothing is to be answered.
    """

    def __init__(
        self,
        doors: Doors,
        streams: Streams,
        faults: Faults,
        respond: Respond,
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        self._doors = doors
        self._streams = streams
        self._faults = faults
        self._respond = respond
        self._pause = pause
        self._open: dict[Listener, web.BaseRequest] = {}
        self._held: dict[Listener, bytes] = {}
        self._listening: dict[Listener, str] = {}  # the listen key of each
        self._subscriptions = 0
        streams.deliver = self._deliver

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One connection, to its end."""
        path, query = request.path, request.query
        api = path.startswith(("/ws-api", "/ws-fapi"))
        place = _PLACES.fullmatch(path)
        futures = path.startswith("/ws-fapi") or bool(place and place["futures"])
        listener = Listener(Market.USDM if futures else Market.SPOT)
        socket = web.WebSocketResponse(
            heartbeat=PING_EVERY, max_msg_size=LONGEST_MESSAGE, compress=False
        )
        await socket.prepare(request)
        self._open[listener] = request
        self._streams.add(listener)
        writing = asyncio.get_running_loop().create_task(self._write(listener, socket))
        session = _Session(self, listener, request.remote or "127.0.0.1") if api else None
        try:
            if not api:
                listener.combined = "streams" in query
                rest = (place["rest"] if place else "").removeprefix("ws").strip("/")
                names = query.get("streams", "") or query.get("listenKey", "") or unquote(rest)
                self._begin(listener, names.split("/"))
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                await self._pause()
                if session is not None:
                    await session.hear(message.data)
                else:
                    listener.send(self._control(listener, message.data))
        finally:
            self._open.pop(listener, None)
            self._held.pop(listener, None)
            self._listening.pop(listener, None)
            self._streams.remove(listener)
            listener.end()
            writing.cancel()
        return socket

    async def _write(self, listener: Listener, socket: web.WebSocketResponse) -> None:
        while True:
            message = await listener.outbox.get()
            if message is None or listener.gone:
                await socket.close()
                return
            await self._pause()
            try:
                await socket.send_frame(message, WSMsgType.TEXT)
            except ConnectionError:
                return

    def _begin(self, listener: Listener, names: list[str]) -> None:
        """What the address asks for: streams, a user stream, or nothing yet."""
        streams = []
        for name in names:
            owner = self._doors.owner_of(name)
            if owner is not None and owner[0] is listener.market:
                listener.accounts[owner[1]] = None
                self._listening[listener] = name
            elif "@" in name or name.startswith("!"):
                streams.append(name)
        self._streams.subscribe(listener, streams)

    def _control(self, listener: Listener, text: str) -> Json:
        """SUBSCRIBE and its like."""
        try:
            asked = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError:
            return {"error": {"code": 3, "msg": "Invalid JSON: it cannot be read"}, "id": None}
        number, params = asked.get("id"), asked.get("params") or []
        names = [name for name in params if isinstance(name, str)]
        result: Any = None
        match asked.get("method"):
            case "SUBSCRIBE":
                self._begin(listener, names)
            case "UNSUBSCRIBE":
                self._streams.unsubscribe(listener, names)
            case "LIST_SUBSCRIPTIONS":
                result = list(listener.streams)
            case "SET_PROPERTY":
                listener.combined = params == ["combined", True]
            case _:
                return {
                    "error": {"code": 2, "msg": "Invalid request: unknown method"},
                    "id": number,
                }
        return {"result": result, "id": number}

    # --- user streams ---

    def _deliver(self, listener: Listener, data: bytes) -> None:
        """Send an event of a user stream, with the faults that were asked for."""
        faults = self._faults
        if not faults.rules:
            listener.put(data)
            return
        if faults.draw("drop", "user"):
            self._cut(listener)
            return
        held = self._held.pop(listener, None)
        if held is None and faults.draw("reorder", "user"):
            self._held[listener] = data
            asyncio.get_running_loop().call_later(REORDER_S, self._release, listener)
            return
        listener.put(data)
        if faults.draw("duplicate", "user"):
            listener.put(data)
        if held is not None:
            listener.put(held)

    def _release(self, listener: Listener) -> None:
        data = self._held.pop(listener, None)
        if data is not None:
            listener.put(data)

    def expire(self) -> None:
        """Listen keys whose hour has passed end their streams."""
        now = self._doors.exchange.now_ms()
        for listener, key in list(self._listening.items()):
            if self._doors.owner_of(key) is None:
                del self._listening[listener]
                listener.accounts.clear()
                listener.send({"e": "listenKeyExpired", "E": now, "listenKey": key})
                listener.end()

    # --- the end ---

    def drop(self, path: str) -> None:
        """Cut the connections whose path holds a text."""
        for listener, request in list(self._open.items()):
            if path in request.path:
                self._cut(listener)

    def _cut(self, listener: Listener) -> None:
        """End a connection without a word, as a network does."""
        self._faults.injected["drop"] = self._faults.injected.get("drop", 0) + 1
        listener.gone = True
        transport = self._open[listener].transport
        if transport is not None:
            transport.abort()

    def close(self) -> None:
        """Say goodbye to all."""
        for listener in list(self._open):
            listener.end()

    # --- for sessions of the WebSocket API ---

    async def call(self, listener: Listener, asked: Asked, name: str) -> Any:
        """Answer a method that is a REST call."""
        where = METHODS[listener.market].get(name)
        if where is None:
            refusal = refusals.RefusalError(
                -1000, f"The requested method '{name}' is unknown.", 400
            )
            return refusal.status, {}, {"code": refusal.code, "msg": refusal.text}
        return await self._respond(self._doors.endpoints[where], asked, name, "WS")

    def listen(self, listener: Listener, account: str) -> int:
        """Send an account's events here; the subscription's id."""
        if listener.accounts.get(account) is None:
            listener.accounts[account] = self._subscriptions
            self._subscriptions += 1
        return listener.accounts[account] or 0

    @property
    def doors(self) -> Doors:
        """Keys and endpoints."""
        return self._doors


class _Session:
    """One connection to the WebSocket API."""

    def __init__(self, sockets: Sockets, listener: Listener, ip: str) -> None:
        self._sockets = sockets
        self._listener = listener
        self._ip = ip
        self._logged: ApiKey | None = None

    async def hear(self, text: str) -> None:
        """One request."""
        try:
            message = msgspec.json.decode(text, type=dict[str, Any])
            name = str(message["method"])
            given = dict(message.get("params") or {})
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
            error = {"code": -1135, "msg": "JSON Request was invalid."}
            self._listener.send({"id": None, "status": 400, "error": error})
            return
        params = {key: _text(value) for key, value in given.items()}
        asked = Asked(
            params=params,
            payload="&".join(f"{k}={v}" for k, v in sorted(params.items()) if k != "signature"),
            key=params.get("apiKey", ""),
            ip=self._ip,
            logged=self._logged,
        )
        if (special := self._special(name)) is not None:
            try:
                answer: Any = (200, {}, special(asked))
            except refusals.RefusalError as refusal:
                answer = (refusal.status, {}, {"code": refusal.code, "msg": refusal.text})
        else:
            answer = await self._sockets.call(self._listener, asked, name)
        if answer is None:
            return
        status, headers, said = answer
        reply: Json = {"id": message.get("id"), "status": status}
        reply["result" if status == 200 else "error"] = said
        if "X-MBX-USED-WEIGHT-1M" in headers and given.get("returnRateLimits", True):
            reply["rateLimits"] = [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": self._sockets.doors.exchange.terms.limit(self._listener.market),
                    "count": int(headers["X-MBX-USED-WEIGHT-1M"]),
                }
            ]
        self._listener.send(reply)

    def _special(self, name: str) -> Callable[[Asked], Json] | None:
        return {
            "session.logon": self._log_on,
            "session.status": self._status,
            "session.logout": self._log_out,
            "userDataStream.subscribe": self._subscribe,
            "userDataStream.subscribe.signature": self._subscribe,
            "userDataStream.unsubscribe": self._unsubscribe,
        }.get(name)

    def _status(self, asked: Asked) -> Json:
        now = self._sockets.doors.exchange.now_ms()
        return {
            "apiKey": self._logged.key if self._logged else None,
            "authorizedSince": now if self._logged else None,
            "connectedSince": now,
            "returnRateLimits": True,
            "serverTime": now,
            "userDataStream": bool(self._listener.accounts),
        }

    def _signer(self, asked: Asked) -> ApiKey:
        doors = self._sockets.doors
        key = doors.ring.find(asked.key, self._ip) if asked.key else self._logged
        if key is None:
            raise refusals.bad_key_format()
        if self._logged is None or "signature" in asked.params:
            doors.check_signature(key, asked)
        return key

    def _log_on(self, asked: Asked) -> Json:
        key = self._signer(asked)
        if not key.public_key:
            raise refusals.RefusalError(
                -4056, "Only Ed25519 keys are supported for this operation.", 403
            )
        self._logged = key
        return self._status(asked)

    def _log_out(self, asked: Asked) -> Json:
        self._logged = None
        return self._status(asked)

    def _subscribe(self, asked: Asked) -> Json:
        key = self._signer(asked)
        if "read" not in key.permissions:
            raise refusals.bad_key()
        return {"subscriptionId": self._sockets.listen(self._listener, key.account)}

    def _unsubscribe(self, asked: Asked) -> Json:
        self._listener.accounts.clear()
        return {}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
