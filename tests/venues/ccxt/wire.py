"""A server that answers as an exchange's interface says, and keeps what it was asked."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from aiohttp import web

from seawall.core.clock import HOUR, SystemClock
from seawall.core.instruments import Instrument
from seawall.storage.secrets import EnvironmentSecrets
from seawall.venues.ccxt.budget import Budget
from seawall.venues.ccxt.client import Account, Credentials, client_of, close
from seawall.venues.ccxt.desk import Desk
from seawall.venues.ccxt.link import Link, offset_of
from seawall.venues.ccxt.log import VenueLog
from seawall.venues.ccxt.preflight import Expected, Preflight

Answer = Callable[[Any], Any]
EXPECTED = Expected(leverage=1.0, largest=10_000.0, maker_ppm=10_000, taker_ppm=10_000)


class Asked(NamedTuple):
    """One request: ``POST /path``, its parameters and its headers (names in lower case)."""

    what: str
    given: Any
    headers: dict[str, str]


class Wire:
    """The server. `answers`: ``METHOD /path`` -> the body, or what makes it of the parameters."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[Asked] = []

    def last(self, what: str) -> Asked:
        """The last request of a kind."""
        return [one for one in self.asked if one.what == what][-1]

    async def _answer(self, request: web.Request) -> web.Response:
        text = await request.text()
        given: Any = dict(request.query)
        if text.startswith(("{", "[")):
            given = json.loads(text)
        elif text:
            given |= dict(parse_qsl(text))
        what = f"{request.method} {request.path}"
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(what, given, headers))
        if what not in self.answers:
            return web.json_response({"error": [f"no answer to {what}"]}, status=404)
        found = self.answers[what]
        return web.json_response(found(given) if callable(found) else found)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[str]:
        """Its address."""
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            yield f"http://127.0.0.1:{port}"
        finally:
            await runner.cleanup()


class Scene(NamedTuple):
    """An account that was opened there with the real client."""

    wire: Wire
    desk: Desk
    link: Link
    looks: Preflight


@asynccontextmanager
async def scene(
    folder: Path, instrument: Instrument, secrets: dict[str, str], answers: dict[str, Any]
) -> AsyncIterator[Scene]:
    """An account of the instrument's exchange."""
    wire, clock, name = Wire(answers), SystemClock(), instrument.venue
    async with wire.opened() as url:
        account = Account(exchange=name, product="spot", keys=name, url=url)
        found = {f"SEAWALL_SECRET_{name.upper()}_API_{k}": text for k, text in secrets.items()}
        credentials = Credentials(EnvironmentSecrets(found), account)
        budget = Budget(account.terms, clock)
        client = client_of(account, credentials, 10.0, budget.seen)
        client.enableRateLimit = False  # the server has no limits, and nobody waits for them
        log = VenueLog(folder / "venue.log", account.name, clock.now() - HOUR)
        try:
            await client.load_markets()
            texts = tuple(credentials.texts)
            books = {instrument.symbol: instrument}
            desk = Desk(account, client, books, log, budget, clock, texts)
            desk.offset = await offset_of(client, clock)
            link = Link(account, desk, clock, True, lambda: False, texts)
            yield Scene(wire, desk, link, Preflight(account, desk, clock, EXPECTED, texts))
        finally:
            log.close()
            await close(client)
