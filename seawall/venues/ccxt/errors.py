"""What an error of ccxt proves: that the exchange did nothing, or nothing at all.

In doubt it proves nothing: an order that is taken for refused and is not would be doubled.
"""

import json
import re
from collections.abc import Sequence

from seawall.core.errors import OrderRefusedError, VenueUnreachableError
from seawall.venues.ccxt.terms import Terms

LONGEST = 200  # characters of an exchange's own words
_ADDRESS = re.compile(r"\b(?:https?|wss?)://\S+")
_SIGNED = re.compile(r"(?i)\b(signature|apikey|api_key|listenkey|token|sign)\W{1,4}[\w%+/=.-]+")

# Answers to the request itself, by ccxt's hierarchy. Not among them: ExchangeError itself (any code
# that ccxt does not know, and broken answers), NetworkError with all below it, OperationFailed.
REFUSALS = (
    "ArgumentsRequired",
    "AuthenticationError",
    "BadRequest",
    "InsufficientFunds",
    "InvalidOrder",
    "NotSupported",
    "OperationRejected",
)
# Below those, but about an order that is there already: ours may be it.
UNPROVEN = ("DuplicateOrderId", "NoChange", "OrderNotFound", "OrderNotCached")
NEVER_LEFT = (
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "NewConnectionError",  # of alpaca-py's library
    "gaierror",
)


def refused(error: BaseException, terms: Terms) -> bool:
    """Whether the error proves that the request did nothing and never will."""
    cause = error.__cause__
    if cause is not None and any(name in NEVER_LEFT for name in _kinds(cause)):
        return True  # there was no connection that it could have left by
    kinds = _kinds(error)
    if any(name in UNPROVEN for name in kinds):
        return False
    return any(name in REFUSALS or name in terms.refusals for name in kinds)


def swapped(error: BaseException) -> tuple[bool, Exception | None]:
    """Of an order that was to take another's place at Binance: (the other was cancelled, why the
    new one was not taken). Nothing is known for certain where there is no reason."""
    text = str(error)
    try:
        answer = json.loads(text[text.index("{") :])
        done, failed = answer["data"]["cancelResult"], answer["data"]["newOrderResult"]
        part = answer["data"]["newOrderResponse" if done == "SUCCESS" else "cancelResponse"]
        if (done, failed) not in (("SUCCESS", "FAILURE"), ("FAILURE", "NOT_ATTEMPTED")):
            return False, None
        return done == "SUCCESS", OrderRefusedError(f"{part['code']} {part['msg']}")
    except (ValueError, KeyError, TypeError):
        return False, None


def translated(error: BaseException, terms: Terms, what: str, secrets: Sequence[str]) -> Exception:
    """OrderRefusedError or VenueUnreachableError, in one line that holds no secret."""
    kind = OrderRefusedError if refused(error, terms) else VenueUnreachableError
    return kind(f"{what}: {said(error, secrets)}")


def said(error: BaseException, secrets: Sequence[str] = ()) -> str:
    """An error in one line: what ccxt calls it and how the exchange put it, nothing secret."""
    text = " ".join(str(error).split())
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    text = _SIGNED.sub(r"\1=…", _ADDRESS.sub(_place, text))[:LONGEST]
    return f"{type(error).__name__} {text}".strip()


def _place(found: re.Match[str]) -> str:
    """An address without what was asked there."""
    return found.group().partition("?")[0]


def _kinds(error: BaseException) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]
