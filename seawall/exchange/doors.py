"""Who may come in: keys, signatures and limits are looked at before an endpoint is asked."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seawall.exchange import data, refusals, spot, usdm
from seawall.exchange.calls import Call, Endpoint, Security
from seawall.exchange.exchange import Exchange
from seawall.exchange.keys import DEFAULT_WINDOW, LONGEST_WINDOW, ApiKey, KeyRing, check_time
from seawall.exchange.limits import Limits
from seawall.exchange.listing import Market

LISTEN_KEY_LIFE = 60 * 60_000  # ms
_SIGNATURE = re.compile(r"(^|&)signature=[^&]*")
_NUMBER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came, over HTTP or the WebSocket API.

    Attributes:
        payload: what must be signed. key: the API key, empty where there is none.
        logged: the key that the connection is logged on with, which needs no signature.
    """

    params: Mapping[str, str]
    payload: str
    key: str
    ip: str
    logged: ApiKey | None = None


class Doors:
    """All endpoints, behind their guards.

    Attributes:
        listen_keys: key of a user stream → when it ends (ms UTC).
    """

    def __init__(self, exchange: Exchange, ring: KeyRing) -> None:
        self.exchange = exchange
        self.ring = ring
        self.limits = Limits(exchange.terms)
        self.endpoints: dict[tuple[str, str], Endpoint] = {
            **data.endpoints(),
            **spot.endpoints(),
            **usdm.endpoints(),
            **self._listening(),
        }
        self.listen_keys: dict[str, int] = {}
        self._owners: dict[str, tuple[Market, str]] = {}
        for name in exchange.accounts:
            for market in Market:
                self._owners[self._listen_key(market, name)] = market, name
        for key in self._owners:  # who listened before a restart goes on
            self.listen_keys[key] = exchange.now_ms() + LISTEN_KEY_LIFE

    def answer(self, endpoint: Endpoint, asked: Asked, headers: dict[str, str]) -> Any:
        """Ask an endpoint.

        Args:
            headers: out, what was used of the limits; also where there is no answer.

        Raises:
            Refusal: the guards or the endpoint say no.
        """
        exchange, market = self.exchange, endpoint.market
        call = Call(exchange, market, asked.params)
        weight = endpoint.weight if isinstance(endpoint.weight, int) else endpoint.weight(call)
        used = str(self.limits.request(market, asked.ip, weight, exchange.now_ms()))
        headers["X-MBX-USED-WEIGHT"] = headers["X-MBX-USED-WEIGHT-1M"] = used
        if endpoint.security is not Security.NONE:
            call.key = self._key(endpoint, asked)
            call.account = exchange.accounts[call.key.account]
        if endpoint.orders:
            assert call.account is not None  # only signed calls place orders
            short, long = self.limits.orders(
                market, call.account.name, endpoint.orders, exchange.now_ms()
            )
            headers["X-MBX-ORDER-COUNT-10S"] = str(short)
            headers[f"X-MBX-ORDER-COUNT-1{'M' if market is Market.USDM else 'D'}"] = str(long)
        return endpoint.answer(call)

    def _key(self, endpoint: Endpoint, asked: Asked) -> ApiKey:
        """Whose request it is. Refusal: nobody's who may do that."""
        key = asked.logged
        if asked.key or key is None:
            if not asked.key:
                raise refusals.bad_key_format()
            key = self.ring.find(asked.key, asked.ip)
        needed = endpoint.security
        if needed in (Security.READ, Security.TRADE):
            if asked.logged is None or "signature" in asked.params:
                self.check_signature(key, asked)
            else:
                self._check_time(asked.params)
            if needed.value not in key.permissions:
                raise refusals.bad_key()
        return key

    def check_signature(self, key: ApiKey, asked: Asked) -> None:
        """Refusal where the time is not now, or the key did not sign it."""
        if "signature" not in asked.params:
            raise refusals.missing("signature")
        self._check_time(asked.params)
        if not key.signed(asked.payload, asked.params["signature"]):
            raise refusals.bad_signature()

    def _check_time(self, params: Mapping[str, str]) -> None:
        given, wanted = params.get("timestamp", ""), params.get("recvWindow", str(DEFAULT_WINDOW))
        if not given:
            raise refusals.missing("timestamp")
        if not _NUMBER.fullmatch(given):
            raise refusals.illegal("timestamp")
        if not re.fullmatch(r"[0-9]+(\.[0-9]{1,3})?", wanted):
            raise refusals.illegal("recvWindow")
        window = int(float(wanted))
        if window > LONGEST_WINDOW:
            raise refusals.RefusalError(-1131, "recvWindow must be less than 60000.")
        check_time(self.exchange.now_ms(), int(given), window)

    # --- listen keys ---

    def _listen_key(self, market: Market, account: str) -> str:
        text = f"listen/{market.value}/{account}".encode()
        return hmac.new(self.ring.admin.encode(), text, hashlib.sha256).hexdigest()

    def owner_of(self, listen_key: str) -> tuple[Market, str] | None:
        """Whose user stream a key opens; None where it has ended or never was."""
        if self.listen_keys.get(listen_key, 0) <= self.exchange.now_ms():
            return None
        return self._owners.get(listen_key)

    def _listen(self, call: Call) -> dict[str, str]:
        key = self._listen_key(call.market, call.owner.name)
        self.listen_keys[key] = call.now + LISTEN_KEY_LIFE
        return {"listenKey": key}

    def _named(self, call: Call) -> str:
        """The key that a call is about: spot names it, USD-M has one for each account."""
        key = self._listen_key(call.market, call.owner.name)
        named = call.text("listenKey") if call.market is Market.USDM else call.need("listenKey")
        if (named or key) != key or self.owner_of(key) is None:
            raise refusals.bad_listen_key()
        return key

    def _keep(self, call: Call) -> dict[str, str]:
        key = self._named(call)
        self.listen_keys[key] = call.now + LISTEN_KEY_LIFE
        return {"listenKey": key} if call.market is Market.USDM else {}

    def _unlisten(self, call: Call) -> dict[str, str]:
        self.listen_keys[self._named(call)] = 0
        return {}

    def _listening(self) -> dict[tuple[str, str], Endpoint]:
        found = {}
        for path, market in (
            ("/api/v3/userDataStream", Market.SPOT),
            ("/fapi/v1/listenKey", Market.USDM),
        ):
            for method, answer in (
                ("POST", self._listen),
                ("PUT", self._keep),
                ("DELETE", self._unlisten),
            ):
                found[method, path] = Endpoint(answer, market, Security.KEY, 2)
        return found


def unsigned(payload: str) -> str:
    """A payload without its signature."""
    return _SIGNATURE.sub("", payload, count=1)
