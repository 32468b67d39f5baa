"""Alpaca's answers, markets and errors in ccxt's words; numbers stay the texts that were sent."""

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

import ccxt

# Alpaca's states of an order (docs.alpaca.markets, "Orders at Alpaca") in ccxt's words.
STATES = {
    "filled": "closed",
    "canceled": "canceled",
    "replaced": "canceled",  # another order stands in its place
    "pending_cancel": "canceling",
    "expired": "expired",
    "rejected": "rejected",
}
# Of prices in coins, as alpaca-py has it; ccxt's address is one version behind.
STREAM = "wss://stream.data.alpaca.markets/v1beta3/crypto/us"
LEAST_USD = "10"  # value of the smallest order that is paid for in USD

# Maker's and taker's fee in ppm by the account's tier (docs.alpaca.markets, "Crypto fees").
FEES_PPM = (
    (1_500, 2_500),
    (1_200, 2_200),
    (1_000, 2_000),
    (800, 1_800),
    (500, 1_500),
    (200, 1_300),
    (200, 1_200),
    (0, 1_000),
)


def milliseconds(text: Any) -> int | None:
    """RFC 3339 as ms UTC; finer digits are left out."""
    return int(datetime.fromisoformat(str(text)).timestamp() * 1_000) if text else None


def number(text: str, what: str) -> float:
    """A decimal as the float that alpaca-py takes; ccxt.BadRequest where it is not the same."""
    value = float(text)
    if Fraction(repr(value)) != Fraction(text):
        raise ccxt.BadRequest(f"{what} {text} has more digits than alpaca-py can carry")
    return value


def market_of(asset: Mapping[str, Any]) -> dict[str, Any]:
    """ccxt's market of an asset of Alpaca's, such as ``BTC/USD``."""
    base, _, quote = str(asset["symbol"]).partition("/")
    return {
        "id": asset["symbol"],
        "symbol": asset["symbol"],
        "base": base,
        "quote": quote,
        "spot": True,
        "active": asset.get("status") == "active" and bool(asset.get("tradable")),
        "precision": {
            "price": asset.get("price_increment"),
            "amount": asset.get("min_trade_increment"),
        },
        "limits": {
            "amount": {"min": asset.get("min_order_size")},
            "cost": {"min": LEAST_USD if quote == "USD" else None},
        },
    }


def order_of(found: Mapping[str, Any], symbols: Mapping[str, str]) -> dict[str, Any]:
    """ccxt's order. `symbols`: Alpaca's names, with and without the slash, to ours."""
    name = str(found.get("symbol"))
    return {
        "id": found.get("id"),
        "clientOrderId": found.get("client_order_id"),
        "symbol": symbols.get(name, name),
        "status": STATES.get(str(found.get("status")), "open"),
        "amount": found.get("qty"),
        "filled": found.get("filled_qty"),
        "timestamp": milliseconds(found.get("submitted_at")),
        "lastUpdateTimestamp": milliseconds(found.get("updated_at")),
    }


def trade_of(found: Mapping[str, Any], symbols: Mapping[str, str]) -> dict[str, Any]:
    """ccxt's trade of an activity of the type FILL; Alpaca does not say its fee."""
    name = str(found.get("symbol"))
    return {
        "id": found.get("id"),
        "order": found.get("order_id"),
        "symbol": symbols.get(name, name),
        "side": found.get("side"),
        "price": found.get("price"),
        "amount": found.get("qty"),
        "timestamp": milliseconds(found.get("transaction_time")),
        "fee": None,
    }


def error_of(status: int, text: str) -> Exception:
    """The class of ccxt's that says what an answer of Alpaca's proves."""
    error: Exception = _kind_of(status, text)(text)
    return error


def _kind_of(status: int, text: str) -> Any:
    if status == 429:
        return ccxt.RateLimitExceeded
    if status == 401 or (status == 403 and "forbidden" in text):
        return ccxt.AuthenticationError
    if status == 404:
        return ccxt.OrderNotFound
    if status == 403:
        return ccxt.InsufficientFunds if "insufficient" in text else ccxt.InvalidOrder
    if status == 422 and "client_order_id must be unique" in text:
        return ccxt.DuplicateOrderId
    if status in (400, 422):
        return ccxt.BadRequest
    return ccxt.ExchangeNotAvailable if status >= 500 else ccxt.ExchangeError
