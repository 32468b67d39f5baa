"""A call of the protocol: its parameters, who makes it, and what an endpoint is."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from seawall.exchange import refusals
from seawall.exchange.account import Account
from seawall.exchange.exchange import Exchange
from seawall.exchange.keys import ApiKey
from seawall.exchange.listing import Listing, Market
from seawall.exchange.market import Book, PublicMarket
from seawall.exchange.orders import Record
from seawall.exchange.wallet import Wallet

CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")


class Security(Enum):
    """What a call must carry: nothing, a key, or a signature by a key with a permission."""

    NONE = "none"
    KEY = "key"
    READ = "read"
    TRADE = "trade"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path and method, or one method of the WebSocket API.

    Attributes:
        weight: of a call, or what gives it. orders: new orders that a call counts as.
    """

    answer: Callable[["Call"], Any]
    market: Market
    security: Security = Security.NONE
    weight: int | Callable[["Call"], int] = 1
    orders: int = 0


@dataclass(slots=True)
class Call:
    """One call, after its key and signature were looked at.

    Attributes:
        params: as they were sent. account: of the key, where the call carries one.
        until: ns UTC after which it must not take effect any more.
    """

    exchange: Exchange
    market: Market
    params: Mapping[str, str]
    account: Account | None = None
    key: ApiKey | None = None
    until: int = 0

    @property
    def now(self) -> int:
        """The exchange's time, ms UTC."""
        return self.exchange.now_ms()

    @property
    def public(self) -> PublicMarket:
        """The market of the call."""
        return self.exchange.markets[self.market]

    @property
    def owner(self) -> Account:
        """The account of a signed call."""
        assert self.account is not None  # its endpoint asks for a signature
        return self.account

    @property
    def wallet(self) -> Wallet:
        """The account's half in this market."""
        return self.owner.wallets[self.market]

    # --- parameters ---

    def text(self, name: str) -> str | None:
        """A parameter, None where it was not sent. Refusal: it is empty."""
        value = self.params.get(name)
        if value == "":
            raise refusals.empty(name)
        return value

    def need(self, name: str) -> str:
        """A parameter that must be there."""
        value = self.params.get(name)
        if not value:
            raise refusals.missing(name)
        return value

    def integer(self, name: str) -> int | None:
        """A whole number."""
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise refusals.illegal(name)
        return int(value)

    def most(self, default: int, highest: int) -> int:
        """`limit`: how many answers there may be."""
        value = self.integer("limit")
        if value is not None and value < 1:
            raise refusals.illegal("limit")
        return min(default if value is None else value, highest)

    def flag(self, name: str) -> bool:
        """A truth value, false where it was not sent."""
        value = (self.text(name) or "false").lower()
        if value not in ("true", "false"):
            raise refusals.illegal(name)
        return value == "true"

    def choice(self, name: str, allowed: tuple[str, ...], default: str, code: int) -> str:
        """One of some words; `code` is the error where it is none of them."""
        value = self.text(name)
        if value is None:
            return default
        if value not in allowed:
            raise refusals.RefusalError(code, _INVALID.get(code, f"Invalid {name}."))
        return value

    def listing(self) -> Listing:
        """The symbol of the call, which must be there."""
        found = self.exchange.listed[self.market].get(self.need("symbol"))
        if found is None:
            raise refusals.bad_symbol()
        return found

    def listing_if_any(self) -> Listing | None:
        """The symbol of the call, if it names one."""
        return self.listing() if self.params.get("symbol") else None

    def book(self) -> Book:
        """The book of the call's symbol."""
        return self.public.books[self.listing().symbol]

    def client_id(self, name: str) -> str | None:
        """A client's id for an order."""
        value = self.text(name)
        if value is not None and not CLIENT_ID.fullmatch(value):
            if self.market is Market.USDM:
                raise refusals.RefusalError(-4015, "Client order id is not valid.")
            raise refusals.illegal(name)
        return value

    def order(self, number: str = "orderId", client: str = "origClientOrderId") -> Record:
        """The order that the call names. Refusal: there is none."""
        listing = self.listing()
        wanted, name = self.integer(number), self.text(client)
        if wanted is None and name is None:
            raise refusals.either(client, number)
        found = self.wallet.find(listing.symbol, wanted, name)
        if found is None:
            raise refusals.no_such_order()
        return found


_INVALID = {
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1136: "Invalid newOrderRespType.",
}


def by_symbol(one: int, every: int) -> Callable[[Call], int]:
    """The weight of a call that names a symbol, and of one that asks for all."""
    return lambda call: one if call.params.get("symbol") else every
