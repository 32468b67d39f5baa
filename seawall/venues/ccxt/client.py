"""ccxt's client of one account: exact numbers, no words printed, TLS and addresses as wanted."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from seawall.core.errors import SettingError
from seawall.core.ports import Secrets
from seawall.venues.ccxt.terms import EXP_TIME, RECV_WINDOW, Terms, terms_of

if TYPE_CHECKING:
    from seawall.venues.alpaca.client import AlpacaClient

PRODUCTS = ("spot", "linear")
CREDENTIALS = {"apiKey": "api-key", "secret": "api-secret", "password": "api-password"}
TLS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Which account is traded, and where.

    Attributes:
        exchange: ccxt's name. product: of PRODUCTS. keys: what its secrets' names begin with.
        url: of a practice exchange on this machine, in place of the real one. network: real or
            testnet. tls: the oldest version that is spoken.
    """

    exchange: str
    product: str
    keys: str
    url: str = ""
    network: str = "real"
    tls: str = "1.3"

    @property
    def client_name(self) -> str:
        """ccxt's class: Binance's contracts have one of their own."""
        if self.exchange == "binance" and self.product == "linear":
            return "binanceusdm"
        return self.exchange

    @property
    def terms(self) -> Terms:
        """What the exchange promises."""
        return terms_of(self.client_name)

    @property
    def name(self) -> str:
        """``binance spot``, for messages and files."""
        return f"{self.exchange} {self.product}"


class Credentials:
    """The secrets of an account; no repr and no error shows them.

    Raises:
        SettingError: the key or its secret is not to be had.
    """

    __slots__ = ("_found",)

    def __init__(self, secrets: Secrets, account: Account) -> None:
        self._found = {
            field: found
            for field, part in CREDENTIALS.items()
            if (found := secrets.get(f"{account.keys}-{part}"))
        }
        missing = [
            f"{account.keys}-{CREDENTIALS[f]}" for f in ("apiKey", "secret") if f not in self._found
        ]
        if missing:
            raise SettingError(
                f"there is no secret {missing[0]} for {account.name}; run `seawall keys add "
                f"{account.keys}`"
            )

    def give(self, client: Any) -> None:
        """Let a client sign."""
        for field, secret in self._found.items():
            setattr(client, field, secret)

    @property
    def pair(self) -> tuple[str, str]:
        """Key and secret."""
        return self._found["apiKey"], self._found["secret"]

    @property
    def texts(self) -> Sequence[str]:
        """What must appear nowhere."""
        return tuple(self._found.values())

    def __repr__(self) -> str:
        return "Credentials(…)"


Seen = Callable[[int, Mapping[str, str]], None]


def client_of(
    account: Account, credentials: Credentials, timeout: float, seen: Seen | None = None
) -> Any:
    """A client of ccxt.pro that can sign; it must be closed.

    Args:
        timeout: seconds for one request. seen: told each answer's status and headers.

    Raises:
        SettingError: there is no such exchange, or it has no network for practice.
    """
    if account.exchange == "alpaca":
        return _alpaca(account, credentials, timeout, seen)
    import ccxt.pro  # takes a second: only who trades live pays for it

    if account.client_name not in ccxt.pro.exchanges:
        raise SettingError(
            f"live.exchange is {account.exchange!r}, which ccxt has no client for; it has "
            "binance, kraken, coinbase, okx, bybit and others"
        )
    logging.getLogger("ccxt").setLevel(logging.WARNING)  # at DEBUG it tells keys
    kind = _quiet(getattr(ccxt.pro, account.client_name), account.terms, seen)
    client = kind(
        {
            "enableRateLimit": not account.terms.weight_limit,
            "newUpdates": True,
            "timeout": int(timeout * 1000),
            "options": {
                "defaultType": "spot" if account.product == "spot" else "swap",
                "warnOnFetchOpenOrdersWithoutSymbol": False,
                "maxRetriesOnFailure": 0,
                # nobody asks for these, and their code compares numbers that are texts here
                "watchPositions": {"fetchPositionsSnapshot": False},
                "watchBalance": {"fetchBalanceSnapshot": False},
                **dict(account.terms.options),
            },
        }
    )
    client.number = str
    client.has["fetchCurrencies"] = False  # not needed, and often refused
    credentials.give(client)
    client.ssl_context = ssl.create_default_context(cafile=client.cafile)
    client.ssl_context.minimum_version = TLS[account.tls]
    if account.url:
        client.urls = practice(client.urls, account.url)
    elif account.network == "testnet":
        _to_testnet(client, account)
    _narrow(client, account.product)
    return client


def _alpaca(
    account: Account, credentials: Credentials, timeout: float, seen: Seen | None
) -> "AlpacaClient":
    """alpaca-py's client; SettingError where it is not installed or has no such product."""
    from seawall.venues.alpaca.client import AlpacaClient, Place

    if account.product != "spot":
        raise SettingError("alpaca trades coins at spot only; set live.product to spot")
    paper = account.network == "testnet"
    place = Place(paper=paper, url=account.url, tls=TLS[account.tls], timeout=timeout)
    return AlpacaClient(*credentials.pair, place, seen)


def practice(urls: Any, base: str) -> Any:
    """All addresses of ccxt's, sent to one server with the paths that a practice exchange has.

    A stream's host becomes the first part of its path, since only that tells it from others:
    ``wss://fstream.example.com/ws`` becomes ``ws://127.0.0.1:8200/fstream/ws``.
    """
    if isinstance(urls, dict):
        return {key: practice(value, base) for key, value in urls.items()}
    if isinstance(urls, list):
        return [practice(value, base) for value in urls]
    if not (isinstance(urls, str) and "://" in urls):
        return urls
    parts, place = urlsplit(urls), base.rstrip("/")
    if parts.scheme not in ("ws", "wss"):
        return f"{place}{parts.path}"
    place = place.replace("http", "ws", 1)
    if parts.path.startswith("/ws-"):  # a host of its own for requests over a WebSocket
        return f"{place}{parts.path}"
    return f"{place}/{parts.netloc.partition('.')[0]}{parts.path}"


async def close(client: Any) -> None:
    """Close a client's connections; whatever goes wrong then matters to nobody."""
    await asyncio.gather(client.close(), return_exceptions=True)


def _quiet(base: Any, terms: Terms, seen: Seen | None) -> Any:
    """A client class that prints nothing, shows its answers' headers and takes expiry times."""

    class Quiet(base):  # type: ignore[misc]
        """One account's client."""

        def log(self, *parts: object) -> None:
            """Nothing: what ccxt prints holds keys."""

        def on_rest_response(self, code: int, *rest: Any) -> Any:
            if seen is not None:
                headers = rest[3] or {}
                seen(int(code), {str(k).lower(): str(v) for k, v in headers.items()})
            return super().on_rest_response(code, *rest)

        def sign(self, path: Any, api: Any = "public", method: Any = "GET", *rest: Any) -> Any:
            given = rest[0] if rest else {}
            several = given if isinstance(given, list) else [given]
            parts = [dict(part) if isinstance(part, dict) else part for part in several]
            if rest:  # copies, since what is taken out here is sent another way
                rest = (parts if isinstance(given, list) else parts[0], *rest[1:])
            window = self.options.get("recvWindow")
            expires = None
            for params in (part for part in parts if isinstance(part, dict)):
                if terms.expiry == EXP_TIME:
                    expires = params.pop("expTime", expires)
                if terms.expiry == RECV_WINDOW and base.__name__ == "bybit":
                    self.options["recvWindow"] = params.pop("recvWindow", window)
            signed = super().sign(path, api, method, *rest)
            if window is not None:
                self.options["recvWindow"] = window
            if expires is not None:
                signed["headers"] = {**(signed.get("headers") or {}), "expTime": expires}
            return signed

    Quiet.__name__ = Quiet.__qualname__ = base.__name__
    return Quiet


def _to_testnet(client: Any, account: Account) -> None:
    try:
        client.set_sandbox_mode(True)
    except Exception as error:
        raise SettingError(
            f"{account.exchange} has no test network that ccxt knows; leave live.network out"
        ) from error


def _narrow(client: Any, product: str) -> None:
    """Ask for the markets of one product alone: it is several times faster."""
    wanted = client.options.get("fetchMarkets")
    types = wanted.get("types") if isinstance(wanted, dict) else None
    if isinstance(types, list) and product in types:
        wanted["types"] = [product]
