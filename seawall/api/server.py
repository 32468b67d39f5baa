"""The API: the newest view, the history and the live stream over HTTP, and the dashboard's page.

It changes nothing in the node but by an operator's command, which needs the operator's token. It
answers to names of this machine only, so that no web page elsewhere can reach it through a name
that it has bent to 127.0.0.1 (DNS rebinding).
"""

import asyncio
import ipaddress
import logging
import platform
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seawall import __version__
from seawall.api.address import bracketed, listen
from seawall.api.answers import (
    Accounts,
    Breakers,
    Health,
    History,
    JsonResponse,
    Portfolio,
    Problem,
)
from seawall.api.board import Board, News
from seawall.api.commands import CommandDesk
from seawall.api.provenance import add_commands, add_provenance

PAGE = Path(__file__).parent / "page"
NO_PAGE = """\
The dashboard's page is not built. `make setup` builds it; that needs Node 20.19 or newer and npm.

Everything else works. What the page would show, as JSON:

  /api/health                     is it alive and what does it do
  /api/risk/portfolio             equity, positions, limits
  /api/accounts                   each account, and whether it trades
  /api/circuit-breakers/status    what may stop it
  /api/history                    equity and prices of the last hour
  /api/provenance/certificate     what an attacker can have done to the models
  /api/provenance/sources         how each source stands
  /api/provenance/suspicious      which sources something speaks against
  /api/models/updates             what changed the models, and who moved what
  /api/monitoring/top-influences  who moved the last sample
  /api/monitoring/anchor-drift/report   the models' figures over time
  /api/incidents/latest           what went wrong last
  /api/monitoring/stream          everything, live (server-sent events)
  /api/openapi.json               what these answer, in full
"""

_log = logging.getLogger(__name__)

STALE_S = 10.0
HEARTBEAT_S = 10.0
MOST_STREAMS = 32
STALLED_S = 30.0  # a client that takes nothing for this long is dropped

_SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in _SECURITY.items()]


class StreamResponse(Response):
    """Server-sent events: `view` and `point`, and a comment when there was nothing to say."""

    media_type = "text/event-stream"

    def __init__(self, board: Board) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._board = board

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        talk = asyncio.ensure_future(self._talk(send))
        try:
            await asyncio.wait({gone, talk}, return_when=asyncio.FIRST_COMPLETED)
            if talk.done():
                talk.result()
        except TimeoutError:  # a client that does not read: its place is for another
            pass
        finally:
            gone.cancel()
            talk.cancel()
            await asyncio.gather(gone, talk, return_exceptions=True)

    async def _talk(self, send: Send) -> None:
        reader = self._board.reader()
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await self._say(send, start)
            body = b"retry: 2000\n\n"
            while True:
                await self._say(send, _body(body, more=True))
                news = await reader.news(HEARTBEAT_S)
                if news is None:
                    return await self._say(send, _body(b"", more=False))
                body = _events(news)
        finally:
            reader.close()

    async def _say(self, send: Send, message: Message) -> None:
        async with asyncio.timeout(STALLED_S):
            await send(message)


def _events(news: News) -> bytes:
    """News as they go over the wire."""
    parts = [b"event: point\ndata: " + point + b"\n\n" for point in news.points]
    if news.view is not None:
        parts.append(b"event: view\ndata: " + news.view + b"\n\n")
    return b"".join(parts) or b": nothing new\n\n"


def _body(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Guard:
    """Answers to this machine's own names only, and tells browsers what a page must not do."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._names = {"localhost", "127.0.0.1", "::1", host.lower()}
        self._any_address = host in ("0.0.0.0", "::")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        caching = b"no-store" if scope["path"].startswith("/api/") else b"no-cache"
        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = [*message["headers"], *_HEADERS, (b"cache-control", caching)]
                message = {**message, "headers": headers}
            await send(message)

        if not self._ours(scope):
            refusal = PlainTextResponse("This is not the host that you think it is.\n", 400)
            return await refusal(scope, receive, guarded)
        try:
            await self._app(scope, receive, guarded)
        except Exception:  # noqa: BLE001 - a defect: the log says which, the client that there is one
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if not begun:
                answer = JsonResponse({"detail": "internal error; the log says more"}, 500)
                await answer(scope, receive, guarded)

    def _ours(self, scope: Scope) -> bool:
        """Whether the request's Host is a name of ours."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        name = _without_port(hosts[0].decode("latin-1").lower())
        return name in self._names or (self._any_address and _is_address(name))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def build(
    board: Board,
    *,
    host: str = "127.0.0.1",
    limits: Mapping[str, float] | None = None,
    page: Path = PAGE,
    desk: CommandDesk | None = None,
) -> FastAPI:
    """The app over a board.

    Args:
        host: what it is bound to; requests must name it, or localhost.
        limits: of risk, shown with the portfolio.
        page: the folder of the built dashboard.
        desk: where the operator's commands go; None: none is taken.
    """
    app = FastAPI(
        title="Seawall",
        version=__version__,
        summary="What the node sees, holds and does, and what an operator may tell it.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages would be fetched from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Guard, host=host)
    _add_answers(app, board, dict(limits or {}))
    add_provenance(app, board)
    add_commands(app, board, desk)
    _add_stream(app, board)
    _add_page(app, page)
    return app


_NOT_YET: dict[int | str, dict[str, Any]] = {
    503: {"model": Problem, "description": "The node has not spoken yet"}
}


def _add_answers(app: FastAPI, board: Board, limits: dict[str, float]) -> None:
    """The single answers, each a part of the newest view."""

    def view() -> dict[str, Any] | None:
        pinned = board.latest()
        return None if pinned is None else msgspec.json.decode(pinned.body, type=dict[str, Any])

    def not_yet() -> Response:
        return JsonResponse({"detail": "the node has not spoken yet"}, 503)

    @app.get(
        "/api/health",
        response_model=Health,
        responses={503: {"model": Health, "description": "Starting, or silent for ten seconds"}},
        tags=["health"],
    )
    async def health() -> Response:
        """Whether the node is alive: 200 while it speaks (a halted one does), else 503."""
        status, body = _health(view(), board.age())
        return JsonResponse(body, status)

    @app.get("/api/risk/portfolio", response_model=Portfolio, responses=_NOT_YET, tags=["risk"])
    async def portfolio() -> Response:
        """Equity, positions, leverage and drawdown, and the limits in force."""
        if (now := view()) is None:
            return not_yet()
        parts = {name: now.get(name) for name in ("now", "numeraire", "equity", "positions")}
        return JsonResponse({**parts, "limits": limits})

    @app.get("/api/accounts", response_model=Accounts, responses=_NOT_YET, tags=["risk"])
    async def accounts() -> Response:
        """Each account: equity, cash, positions, whether it trades, when it was last compared."""
        if (now := view()) is None:
            return not_yet()
        return JsonResponse({name: now.get(name) for name in ("now", "numeraire", "accounts")})

    @app.get(
        "/api/circuit-breakers/status", response_model=Breakers, responses=_NOT_YET, tags=["risk"]
    )
    async def breakers() -> Response:
        """All circuit breakers and which are open."""
        if (now := view()) is None:
            return not_yet()
        all_of_them = now.get("breakers", [])
        active = [breaker["name"] for breaker in all_of_them if breaker["state"] == "OPEN"]
        return JsonResponse({"now": now.get("now"), "active": active, "breakers": all_of_them})

    @app.get("/api/history", response_model=History, tags=["monitoring"])
    async def history() -> Response:
        """Equity, drawdown and prices of the last hour, oldest first."""
        return JsonResponse(b'{"points":[' + b",".join(board.points()) + b"]}")


def _health(view: dict[str, Any] | None, age: float) -> tuple[int, dict[str, Any]]:
    """HTTP status and body. A halted node is alive: to start it anew would change nothing."""
    now = view or {}
    status, reasons, code = now.get("status", "starting"), list(now.get("reasons", [])), 200
    if view is None:
        reasons, code = ["the node has not spoken yet"], 503
    elif age > STALE_S:
        reasons = [f"the node has been silent for {age:.0f} s; it was {status}", *reasons]
        status, code = "stale", 503
    return code, {
        "status": status,
        "reasons": reasons,
        "mode": now.get("mode"),
        "feed": now.get("feed"),
        "uptime_s": now.get("uptime_s"),
        "age_s": round(age, 3),
        "versions": {"seawall": __version__, "python": platform.python_version()},
    }


def _add_stream(app: FastAPI, board: Board) -> None:
    """The live stream, for a bounded number of clients."""
    places = threading.BoundedSemaphore(MOST_STREAMS)

    class Seated(StreamResponse):
        """A stream that gives its place back."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if not places.acquire(blocking=False):
                full = {"detail": f"{MOST_STREAMS} clients are watching already"}
                answer = JsonResponse(full, 503, {"retry-after": "10"})
                return await answer(scope, receive, send)
            try:
                return await super().__call__(scope, receive, send)
            finally:
                places.release()

    example = 'event: point\ndata: {"ts":1,"equity":100000.0,"drawdown":0.0,"prices":{}}\n\n'

    @app.get(
        "/api/monitoring/stream",
        response_class=Response,  # of no media type: the one below is it
        responses={
            200: {
                "description": "`view` (everything, the newest only) and `point` events; a "
                "comment every ten seconds without any",
                "content": {
                    "text/event-stream": {"schema": {"type": "string"}, "example": example}
                },
            },
            503: {"model": Problem, "description": "Too many clients"},
        },
        tags=["monitoring"],
    )
    async def stream() -> Response:
        """Everything the node shows, live, as server-sent events."""
        return Seated(board)


def _add_page(app: FastAPI, page: Path) -> None:
    """The built dashboard at `/`, or how to build it."""
    if (page / "index.html").is_file():
        app.mount("/", StaticFiles(directory=page, html=True), name="page")
        return

    @app.get("/", include_in_schema=False)
    async def no_page() -> PlainTextResponse:
        return PlainTextResponse(NO_PAGE)


class _Uvicorn(uvicorn.Server):
    """Says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.up.set()


class ApiServer:
    """The app in a thread of its own; the node's thread never waits for it."""

    def __init__(
        self,
        board: Board,
        host: str = "127.0.0.1",
        port: int = 8_000,
        *,
        limits: Mapping[str, float] | None = None,
        page: Path = PAGE,
        desk: CommandDesk | None = None,
    ) -> None:
        self._board = board
        self._host = host
        self._port = port
        config = uvicorn.Config(
            build(board, host=host, limits=limits, page=page, desk=desk),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # it complains of every client that is slow or leaves
            access_log=False,
            server_header=False,
            limit_concurrency=256,
            timeout_graceful_shutdown=2,
        )
        self._server = _Uvicorn(config)
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """What a browser is given: ``http://127.0.0.1:8000``."""
        return f"http://{bracketed(self._host)}:{self._port}"

    def start(self, listening: socket.socket | None = None) -> None:
        """Serve, at an address that was taken before or at its own; returns when it answers.

        Raises PortInUseError where it is taken, SettingError where it is none of this machine's.
        """
        listening = listening or listen(self._host, self._port)
        self._port = listening.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), name="api", daemon=True
        )
        self._thread.start()
        self._server.up.wait(timeout=30)

    def stop(self) -> None:
        """End all streams and give the address back; at most a few seconds."""
        if self._thread is None:
            return
        self._board.close()
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._thread = None
