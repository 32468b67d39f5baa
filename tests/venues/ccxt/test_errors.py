"""What an error proves: in doubt nothing, and never a secret in its text."""

import aiohttp
import ccxt
import pytest

from seawall.core.errors import OrderRefusedError, VenueUnreachableError
from seawall.venues.ccxt.errors import refused, said, translated
from seawall.venues.ccxt.terms import CONSERVATIVE, TERMS

BINANCE = TERMS["binance"]
SECRET = "hush5ec2e7hush"


@pytest.mark.parametrize(
    "kind",
    [
        ccxt.InsufficientFunds,
        ccxt.InvalidOrder,
        ccxt.OrderImmediatelyFillable,
        ccxt.BadSymbol,
        ccxt.BadRequest,
        ccxt.AuthenticationError,
        ccxt.PermissionDenied,
        ccxt.AccountSuspended,
        ccxt.MarketClosed,
        ccxt.NotSupported,
    ],
)
def test_an_answer_to_the_request_itself_is_a_refusal_everywhere(kind: type[Exception]) -> None:
    assert refused(kind("no"), BINANCE)
    assert refused(kind("no"), CONSERVATIVE)


@pytest.mark.parametrize(
    "kind",
    [
        ccxt.RequestTimeout,
        ccxt.ExchangeNotAvailable,
        ccxt.OnMaintenance,
        ccxt.NetworkError,
        ccxt.BadResponse,
        ccxt.NullResponse,
        ccxt.OperationFailed,
        ccxt.ExchangeError,  # a code that ccxt does not know
        ccxt.DuplicateOrderId,  # ours may be the first
        ccxt.OrderNotFound,
        ValueError,
        KeyError,
    ],
)
def test_what_proves_nothing_is_unknown_everywhere(kind: type[Exception]) -> None:
    for terms in (*TERMS.values(), CONSERVATIVE):
        assert not refused(kind("?"), terms)
    assert isinstance(translated(kind("?"), BINANCE, "place", ()), VenueUnreachableError)


@pytest.mark.parametrize("kind", [ccxt.RateLimitExceeded, ccxt.DDoSProtection, ccxt.InvalidNonce])
def test_a_limit_is_a_refusal_only_where_the_exchange_says_so(kind: type[Exception]) -> None:
    assert refused(kind("429"), BINANCE)
    assert not refused(kind("429"), CONSERVATIVE)
    assert isinstance(translated(kind("429"), BINANCE, "place", ()), OrderRefusedError)


def test_without_a_connection_nothing_left() -> None:
    error = ccxt.ExchangeNotAvailable("binance POST")
    assert not refused(error, CONSERVATIVE)
    error.__cause__ = aiohttp.ClientConnectorError(None, OSError(111, "refused"))  # type: ignore[arg-type]
    assert refused(error, CONSERVATIVE)


def test_no_text_holds_what_is_secret() -> None:
    error = ccxt.ExchangeError(
        "binance GET https://api.binance.com/api/v3/order?timestamp=1&signature=abcdef0123 "
        f'{{"apiKey": "{SECRET}", "signature": "abcdef0123"}} {SECRET}'
    )
    text = said(error, (SECRET,))
    assert SECRET not in text
    assert "abcdef0123" not in text
    assert "https://api.binance.com/api/v3/order" in text
    assert "\n" not in said(ccxt.ExchangeError("a\nb"))
