"""alpaca-py behind the part of ccxt's interface that the desk, its link and the preflight speak.

Requests run in threads of their own, since alpaca-py waits for them; none is made twice, since
alpaca-py repeats orders that were not answered. What the stream tells is passed on as it comes.
"""

import asyncio
import json
import ssl
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from typing import Any

import ccxt
import msgspec

from seawall.core.errors import SettingError
from seawall.venues.alpaca.fees import Fees
from seawall.venues.alpaca.translation import (
    FEES_PPM,
    error_of,
    market_of,
    milliseconds,
    number,
    order_of,
    trade_of,
)
from seawall.venues.ccxt.translation import decimal

THREADS = 8
PAGE, MOST_PAGES = 100, 1_000  # of activities in an answer
OPEN_ORDERS = 500  # in an answer, the most
LOOKS = 5  # at the account until no trade happens between two of them
PPM = 1_000_000
PING, PING_TIMEOUT = 10.0, 20.0  # seconds, of the stream
USED = "x-ratelimit-used"  # our word: how many of the minute's requests are used


class Place(msgspec.Struct, frozen=True):
    """Where Alpaca is. `url`: of a local server in its place. `tls`: the oldest version spoken."""

    paper: bool = False
    url: str = ""
    tls: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    timeout: float = 10.0


class _Connection:
    """The stream's connection, as ccxt shows its own."""

    def __init__(self) -> None:
        self.connectionStarted = int(time.time() * 1_000)
        self.connectionEstablished = 0
        self.lost = False

    def closed(self) -> bool:
        """Nothing comes over it any more."""
        return self.lost


class AlpacaClient:
    """One account.

    Args:
        key, secret: of the account. seen: told each answer's status and headers.

    Attributes:
        has, markets, precisionMode, options, clients, ssl_context: as a client of ccxt's has them.

    Raises:
        SettingError: alpaca-py is not installed.
    """

    precisionMode = 4  # noqa: N815  ccxt's word: increments
    has: Mapping[str, Any] = {
        "fetchTime": True,
        "watchOrders": True,
        "watchMyTrades": False,  # a trade has no fee before it was measured
        "fetchFundingHistory": False,
        "fetchDeposits": False,
    }

    def __init__(
        self,
        key: str,
        secret: str,
        place: Place,
        seen: Callable[[int, Mapping[str, str]], None] | None = None,
    ) -> None:
        self.options: dict[str, Any] = {}
        self.markets: dict[str, dict[str, Any]] = {}
        self.clients: dict[str, _Connection] = {}
        self.ssl_context = ssl.create_default_context()
        self.ssl_context.minimum_version = place.tls
        self._secrets = (key, secret)
        self._place = place
        self._seen = seen
        self._symbols: dict[str, str] = {}
        self._fees = Fees()
        self._trades: dict[str, dict[str, Any]] = {}
        self._settling = asyncio.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="alpaca")
        self._rest, self._stream_kind = _library(self._secrets, place, self.ssl_context, self._hear)
        self._stream: Any = None

    def __repr__(self) -> str:
        return "AlpacaClient(…)"

    # --- the account and its markets ---

    async def load_markets(self) -> dict[str, dict[str, Any]]:
        """The pairs of coins that Alpaca lists."""
        wanted = {"asset_class": "crypto", "status": "active"}
        assets = await self._ask(self._rest.get, "/assets", wanted)
        self.markets = {m["symbol"]: m for m in map(market_of, assets)}
        self._symbols = {symbol.replace("/", ""): symbol for symbol in self.markets}
        self._symbols |= {symbol: symbol for symbol in self.markets}
        return self.markets

    def market_id(self, symbol: str) -> str:
        """Alpaca's name of a market."""
        return str(self.markets[symbol]["id"])

    async def fetch_time(self) -> int:
        """Alpaca's clock, ms UTC."""
        found = milliseconds((await self._ask(self._rest.get_clock))["timestamp"])
        if found is None:
            raise ccxt.ExchangeError("Alpaca does not tell its time")
        return found

    async def fetch_balance(self) -> dict[str, Any]:
        """Cash, and each coin as the position in it that Alpaca makes of it."""
        return {"total": {asset: decimal(1, n) for asset, n in (await self._holdings()).items()}}

    async def fetch_trading_fee(self, symbol: str) -> dict[str, float]:
        """The fees of the account's tier."""
        maker, taker = await self._tier()
        return {"maker": maker / PPM, "taker": taker / PPM}

    async def fetch_standing(self) -> dict[str, bool]:
        """What the key may do: Alpaca's keys may do all that the account may."""
        account = await self._ask(self._rest.get_account)
        closed = account.get("trading_blocked") or account.get("account_blocked")
        crypto = str(account.get("crypto_status") or "ACTIVE")
        withdraws = not (account.get("transfers_blocked") or self._place.paper)
        if withdraws:
            try:
                withdraws = bool(await self._ask(self._rest.get, "/wallets"))
            except (ccxt.InvalidOrder, ccxt.OrderNotFound, ccxt.AuthenticationError):
                withdraws = False  # the account has no wallets for coins
        return {"withdraw": withdraws, "trade": not closed and crypto == "ACTIVE"}

    # --- orders ---

    async def create_order(
        self,
        symbol: str,
        kind: str,
        side: str,
        amount: str,
        price: str | None,
        params: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Send one; ccxt.NotSupported for what Alpaca has no order for."""
        request = _request(self.market_id(symbol), kind, side, amount, price, params)
        return self._order(await self._ask(self._rest.submit_order, request))

    async def cancel_order(
        self, number: str, symbol: str, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Ask for its end; what became of it is asked for afterwards."""
        if not number:
            raise ccxt.OrderNotFound("no order of that id is known")
        await self._ask(self._rest.cancel_order_by_id, number)
        return {"id": number}

    async def fetch_order(
        self, number: str, symbol: str, params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """One, by Alpaca's id or, where that is empty, by ours."""
        if number:
            return self._order(await self._ask(self._rest.get_order_by_id, number))
        name = (params or {}).get("clientOrderId")
        return self._order(await self._ask(self._rest.get_order_by_client_id, name))

    async def fetch_open_orders(self, symbol: str | None) -> list[dict[str, Any]]:
        """All that are open."""
        params = {"status": "open", "limit": OPEN_ORDERS}
        found = await self._ask(self._rest.get, "/orders", params)
        if len(found) >= OPEN_ORDERS:
            raise ccxt.ExchangeError(f"{OPEN_ORDERS} orders are open, and Alpaca shows no more")
        return [self._order(one) for one in found if one.get("asset_class") == "crypto"]

    async def fetch_my_trades(
        self, symbol: str, since: int, limit: int, params: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """All trades of a market from a time on (ms UTC), with their fees."""
        async with self._settling:
            await self._settle(since)
        return [
            trade
            for trade in self._trades.values()
            if trade["symbol"] == symbol and trade["timestamp"] >= since
        ]

    async def _settle(self, since: int) -> None:
        """Take in trades that are not known yet and measure what they cost."""
        new = await self._activities(since)
        if self._fees.watched and not new:
            return
        for _ in range(LOOKS):
            held = await self._holdings()
            again = await self._activities(since)
            if len(again) == len(new):
                break
            new = again
        else:
            raise ccxt.ExchangeError("trades come faster than the account can be looked at")
        rate = Fraction((await self._tier())[1], PPM) if new else Fraction()
        self._fees.settle(new, held, rate)
        self._trades |= {trade["id"]: trade for trade in new}

    async def _activities(self, since: int) -> list[dict[str, Any]]:
        """Trades in pairs of coins from a time on that are not known yet."""
        after = datetime.fromtimestamp((since - 1) / 1_000, UTC).isoformat()
        params = {"after": after, "direction": "asc", "page_size": PAGE}
        new = []
        for _ in range(MOST_PAGES):
            page = await self._ask(self._rest.get, "/account/activities/FILL", dict(params))
            trades = [trade_of(one, self._symbols) for one in page]
            new += [
                t for t in trades if t["symbol"] in self.markets and t["id"] not in self._trades
            ]
            if len(page) < PAGE:
                return new
            params["page_token"] = page[-1]["id"]
        raise ccxt.ExchangeError("the account's trades have no end")

    # --- the stream ---

    async def watch_orders(self) -> list[dict[str, Any]]:
        """The next orders that something happened to; raises where the connection is lost."""
        try:
            if self._stream is None:
                self._stream = self._stream_kind()
                connection = self.clients["stream"] = _Connection()
                await self._stream.start()
                connection.connectionEstablished = int(time.time() * 1_000)
            while True:
                found = (await self._stream.next()).get("data") or {}
                if (order := found.get("order")) and order.get("asset_class") == "crypto":
                    return [self._order(order)]
        except BaseException:
            await self._hang_up()
            raise

    async def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        for connection in self.clients.values():
            connection.lost = True
        if stream is not None:
            await stream.close()

    async def close(self) -> None:
        """Close all connections; a request that is on its way is not waited for."""
        await self._hang_up()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._rest._session.close()

    # --- beneath ---

    async def _holdings(self) -> dict[str, Fraction]:
        account = await self._ask(self._rest.get_account)
        held = {str(account.get("currency") or "USD"): Fraction(str(account["cash"]))}
        for position in await self._ask(self._rest.get_all_positions):
            symbol = str(position["symbol"])
            if position.get("asset_class") == "crypto":
                base = self._symbols.get(symbol, symbol.removesuffix("USD")).partition("/")[0]
                held[base] = held.get(base, Fraction()) + Fraction(str(position["qty"]))
        return held

    async def _tier(self) -> tuple[int, int]:
        account = await self._ask(self._rest.get_account)
        tier = int(account.get("crypto_tier") or 1)
        return FEES_PPM[min(max(tier, 1), len(FEES_PPM)) - 1]

    def _order(self, found: Any) -> dict[str, Any]:
        if not isinstance(found, dict) or not found.get("id"):
            raise ccxt.ExchangeError("Alpaca's answer holds no order")
        return order_of(found, self._symbols)

    async def _ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """One request; raises errors of ccxt's."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(_asked, call, *arguments))

    def _hear(self, response: Any, *_: Any, **__: Any) -> None:
        """An answer has come."""
        if self._seen is None:
            return
        headers = {str(k).lower(): str(v) for k, v in response.headers.items()}
        most, left = headers.get("x-ratelimit-limit"), headers.get("x-ratelimit-remaining")
        if most and left and most.isdigit() and left.isdigit():
            headers[USED] = str(int(most) - int(left))
        self._seen(int(response.status_code), headers)


def _request(
    market: str, kind: str, side: str, amount: str, price: str | None, params: Mapping[str, Any]
) -> Any:
    """alpaca-py's request for an order in ccxt's words."""
    from alpaca.trading.enums import OrderSide, TimeInForce
    from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest, StopLimitOrderRequest

    lasts = str(params.get("timeInForce") or "GTC")
    trigger = params.get("triggerPrice")
    if params.get("postOnly"):
        raise ccxt.NotSupported("Alpaca has no orders that only add to the book")
    if lasts not in ("GTC", "IOC"):
        raise ccxt.NotSupported(f"Alpaca takes orders in coins as GTC or IOC, not as {lasts}")
    if any(name.startswith("trailing") for name in params) or params.get("workingType"):
        raise ccxt.NotSupported("Alpaca has no trailing stops and no mark price in coins")
    if trigger is not None and price is None:
        raise ccxt.NotSupported("Alpaca has stops in coins with a limit price only")
    given: dict[str, Any] = {
        "symbol": market,
        "qty": number(amount, "the size"),
        "side": OrderSide(side),
        "time_in_force": TimeInForce(lasts.lower()),
        "client_order_id": params["clientOrderId"],
    }
    if price is None:
        return MarketOrderRequest(**given)
    given["limit_price"] = number(price, "the price")
    if trigger is None:
        return LimitOrderRequest(**given)
    return StopLimitOrderRequest(**given, stop_price=number(trigger, "the trigger"))


def _asked(call: Callable[..., Any], *arguments: Any) -> Any:
    """Do a request and raise what ccxt would; in a thread of its own."""
    import requests
    from alpaca.common.exceptions import APIError

    try:
        return call(*arguments)
    except APIError as error:
        raise error_of(int(error.status_code or 0), " ".join(str(error).split())) from None
    except requests.Timeout as error:
        raise ccxt.RequestTimeout(type(error).__name__) from _reason(error)
    except requests.RequestException as error:
        raise ccxt.NetworkError(type(error).__name__) from _reason(error)
    except ValueError as error:  # an answer that is no JSON
        raise ccxt.ExchangeError(f"Alpaca's answer could not be read: {error}") from None


def _reason(error: BaseException) -> BaseException | None:
    """What is at the bottom of an error of requests', without the address that it was sent to."""
    for part in error.args:
        reason = getattr(part, "reason", None)
        if isinstance(reason, BaseException):
            return reason
    return None


def _library(
    secrets: Sequence[str],
    place: Place,
    context: ssl.SSLContext,
    hear: Callable[..., None],
) -> tuple[Any, Callable[[], Any]]:
    """alpaca-py's client for requests, and what makes its client for the stream."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of how it uses websockets
            from alpaca.trading.client import TradingClient
            from alpaca.trading.stream import TradingStream
    except ImportError:
        raise SettingError(
            "live.exchange is alpaca, which needs the extra `alpaca`; install it with "
            "pip install 'seawall[alpaca]'"
        ) from None
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        """Waits no longer than wanted and speaks no older TLS than wanted."""

        def init_poolmanager(self, *given: Any, **more: Any) -> Any:
            return super().init_poolmanager(*given, **more, ssl_context=context)

        def send(self, request: Any, *given: Any, **more: Any) -> Any:
            return super().send(request, *given, **{**more, "timeout": place.timeout})

    class Stream(TradingStream):  # type: ignore[misc]
        """The stream's parts, one at a time: its own loop would hide a loss from us."""

        async def start(self) -> None:
            """Connect, sign in and subscribe."""
            self.subscribe_trade_updates(_nothing)
            await self._start_ws()

        async def next(self) -> dict[str, Any]:
            """The next message."""
            found = json.loads(await self._ws.recv())
            return found if isinstance(found, dict) else {}

    url = place.url.rstrip("/")
    rest = TradingClient(*secrets, paper=place.paper, raw_data=True, url_override=url or None)
    rest._retry = 0  # an order that was not answered is looked up, not sent again
    rest._session.mount("https://", Adapter())
    rest._session.mount("http://", Adapter())
    rest._session.hooks["response"].append(hear)
    options: dict[str, Any] = {"ping_interval": PING, "ping_timeout": PING_TIMEOUT}
    if not url:
        options["ssl"] = context
    address = f"{url.replace('http', 'ws', 1)}/stream" if url else None

    def stream() -> Any:
        return Stream(
            *secrets,
            paper=place.paper,
            raw_data=True,
            url_override=address,
            websocket_params=options,
        )

    return rest, stream


async def _nothing(_: Any) -> None:
    """What alpaca-py would call for each update; they are taken from `next`."""
