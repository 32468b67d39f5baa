"""The exchange on the network: HTTP and WebSockets on 127.0.0.1.

One event loop does everything. The market moves every few milliseconds; a request takes effect, and
its effect is in the log, before it is answered and before the next one is looked at.
"""

import asyncio
import hmac
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from seawall.core.clock import SECOND
from seawall.core.errors import PortInUseError, SeawallError, SettingError
from seawall.exchange import refusals
from seawall.exchange.calls import Endpoint
from seawall.exchange.doors import Asked, Doors, unsigned
from seawall.exchange.exchange import Exchange
from seawall.exchange.faults import Fault, Faults, fault_of
from seawall.exchange.keys import KeyRing
from seawall.exchange.sockets import Sockets
from seawall.exchange.spot import Partial
from seawall.exchange.streams import Streams

HOST = "127.0.0.1"
STEP = 0.002  # seconds between two moves of the market
FAULTS = "/admin/faults"
ADMIN_HEADER = "X-Admin-Key"
_TYPE = "application/json;charset=UTF-8"
_ENCODER = msgspec.json.Encoder()
_ERROR = {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}
_ERRORS = {  # what stands before the exchange answers with a page
    502: "<html><head><title>502 Bad Gateway</title></head></html>",
    503: "<html><head><title>503 Service Unavailable</title></head></html>",
    504: "<html><head><title>504 Gateway Time-out</title></head></html>",
}


class Server:
    """One exchange behind one port.

    Args:
        faults: what goes wrong on purpose.
    """

    def __init__(self, exchange: Exchange, ring: KeyRing, faults: Faults) -> None:
        self.exchange = exchange
        self.faults = faults
        self.streams = Streams(exchange)
        self.doors = Doors(exchange, ring)
        self.port = 0
        self._sockets = Sockets(self.doors, self.streams, faults, self.respond, self.pause)
        self._quiet_until = 0.0  # by the loop's clock
        self._stop = asyncio.Event()
        self._failure: SeawallError | None = None
        self._later: set[asyncio.Task[None]] = set()

    async def run(self, port: int, ready: Callable[[int], None]) -> None:
        """Serve until `stop`.

        Args:
            port: 0 takes any free one. ready: called with the port that it is.

        Raises:
            PortInUseError: the port is taken. StoreError: a log cannot be written any more.
        """
        runner = web.ServerRunner(web.Server(self._handle, access_log=None))
        await runner.setup()
        site = web.TCPSite(runner, HOST, port, backlog=256)
        try:
            try:
                await site.start()
            except OSError as error:
                why = (error.strerror or "unknown").lower()
                raise PortInUseError(
                    f"practice exchange: cannot listen on {HOST}:{port} ({why}); choose another "
                    "port with --port"
                ) from None
            self.port = runner.addresses[0][1]
            self.exchange.pump()
            ready(self.port)
            await self._run()
        finally:
            for task in self._later:
                task.cancel()
            self._sockets.close()
            await runner.cleanup()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    async def _run(self) -> None:
        """Move the market, and send what is due, until told to stop."""
        loop = asyncio.get_running_loop()
        begin, steps = loop.time(), 0
        while not self._stop.is_set():
            try:
                self.exchange.pump()
                self._send(steps)
            except SeawallError as error:
                self.fail(error)
                break
            steps += 1
            due = begin + steps * STEP
            now = loop.time()
            if now > due + 1:  # held up: no hurry to catch up with the steps
                begin, steps, due = now, 0, now
            await asyncio.sleep(max(0.0, due - now))

    def _send(self, steps: int) -> None:
        if self._quiet():
            return
        self.streams.touch()
        if steps % round(0.1 / STEP) == 0:
            self.streams.tick()
        if steps % round(1 / STEP) == 0:
            self.streams.second()
            self._sockets.expire()

    def fail(self, error: SeawallError) -> None:
        """Nothing more may be answered: what was said could be lost."""
        self._failure = error
        self._stop.set()

    # --- HTTP ---

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._sockets.serve(request)
        body = await request.text() if request.can_read_body else ""
        path, method = request.path, request.method
        if path == FAULTS:
            return self._admin(request, body)
        query = request.rel_url.raw_query_string
        endpoint = self.doors.endpoints.get((method, path))
        if endpoint is None:
            refusal = refusals.unknown_path()
            return _response(refusal.status, {}, _said(refusal))
        asked = Asked(
            params=dict(parse_qsl(f"{query}&{body}", keep_blank_values=True)),
            payload=unsigned(query) + unsigned(body),
            key=request.headers.get("X-MBX-APIKEY", ""),
            ip=request.remote or HOST,
        )
        answer = await self.respond(endpoint, asked, path, method)
        if answer is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return _response(*answer)

    async def respond(
        self, endpoint: Endpoint, asked: Asked, path: str, method: str
    ) -> tuple[int, dict[str, str], Any] | None:
        """(status, headers, what is said), or None where the connection ends without a word."""
        faults = self.faults
        if not faults.rules:
            return self._process(endpoint, asked)
        await self.pause()
        if delay := faults.draw("delay", path, method):
            await asyncio.sleep(delay.seconds)
        if faults.draw("request_lost", path, method):
            return None
        if error := faults.draw("error", path, method):
            return error.status, {}, _ERRORS.get(error.status, _ERROR)
        if refusal := self._refusing(path, method):
            return refusal.status, _waiting(refusal), _said(refusal)
        if late := faults.draw("late", path, method):
            self._do_later(late.seconds, endpoint, asked)
            return None
        answer = self._process(endpoint, asked)
        if faults.draw("ack_lost", path, method):
            return None
        if faults.draw("timeout", path, method):
            refusal = refusals.RefusalError(
                -1007,
                "Timeout waiting for response from backend server. Send status unknown; execution "
                "status unknown.",
                504,
            )
            return refusal.status, {}, _said(refusal)
        return answer

    def _refusing(self, path: str, method: str) -> refusals.RefusalError | None:
        """A refusal that was asked for."""
        limit, now = self.exchange.terms.weight[0], self.exchange.now_ms()
        if rule := self.faults.draw("rate_limit", path, method):
            return refusals.too_much_weight(limit, max(1, round(rule.seconds)))
        if rule := self.faults.draw("ban", path, method):
            seconds = max(1, round(rule.seconds))
            return refusals.banned(now + 1_000 * seconds, seconds)
        return None

    def _process(self, endpoint: Endpoint, asked: Asked) -> tuple[int, dict[str, str], Any]:
        headers: dict[str, str] = {}
        try:
            return 200, headers, self.doors.answer(endpoint, asked, headers)
        except refusals.RefusalError as refusal:
            headers |= _waiting(refusal)
            return refusal.status, headers, _said(refusal)
        except SeawallError as error:
            self.fail(error)
            return 500, headers, {"code": -1000, "msg": "An unknown error occurred."}

    def _do_later(self, seconds: float, endpoint: Endpoint, asked: Asked) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            self._process(endpoint, asked)

        self._spawn(later())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    # --- faults ---

    def _quiet(self) -> bool:
        return asyncio.get_running_loop().time() < self._quiet_until

    async def pause(self) -> None:
        """Wait while nothing is to be answered."""
        while self._quiet():
            await asyncio.sleep(self._quiet_until - asyncio.get_running_loop().time())

    def inject(self, rule: Fault) -> None:
        """Put a fault into force; those that are one event happen now."""
        if rule.kind == "skew":
            self.exchange.ahead = int(rule.seconds * SECOND)
        elif rule.kind == "silent":
            self._quiet_until = asyncio.get_running_loop().time() + rule.seconds
            self.faults.add(rule)
        elif rule.kind == "drop" and rule.count == 1:
            self._sockets.drop(rule.path)
        else:
            self.faults.add(rule)

    def _admin(self, request: web.BaseRequest, body: str) -> web.Response:
        """GET shows the rules, POST adds one (JSON, or the words of --fault), DELETE ends all."""
        given = request.headers.get(ADMIN_HEADER, "").encode()
        if not hmac.compare_digest(given, self.doors.ring.admin.encode()):
            return _response(401, {}, {"code": -2015, "msg": "Invalid admin key."})
        if request.method == "POST":
            try:
                text = body.strip()
                decoded = msgspec.json.decode(text, type=Fault) if text.startswith("{") else None
                self.inject(decoded.check() if decoded is not None else fault_of(text))
            except (SettingError, msgspec.MsgspecError) as error:
                return _response(400, {}, {"code": -1130, "msg": str(error)})
        elif request.method == "DELETE":
            self.faults.clear()
            self.exchange.ahead = 0
            self._quiet_until = 0.0
        return _response(200, {}, {"rules": self.faults.rules, "injected": self.faults.injected})


def _said(refusal: refusals.RefusalError) -> dict[str, Any]:
    said: dict[str, Any] = {"code": refusal.code, "msg": refusal.text}
    if isinstance(refusal, Partial):
        said["data"] = refusal.data
    return said


def _waiting(refusal: refusals.RefusalError) -> dict[str, str]:
    return {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}


def _response(status: int, headers: Mapping[str, str], said: Any) -> web.Response:
    if isinstance(said, str):
        return web.Response(text=said, status=status, content_type="text/html")
    return web.Response(
        body=_ENCODER.encode(said), status=status, headers={"Content-Type": _TYPE, **headers}
    )
