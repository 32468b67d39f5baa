"""Whatever is asked, the answer is one of the protocol: nothing that is sent breaks it."""

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.exchange.calls import Security
from seawall.exchange.doors import Asked, Doors, unsigned
from seawall.exchange.keys import ApiKey, KeyRing
from seawall.exchange.listing import Market
from seawall.exchange.refusals import RefusalError
from tests.exchange.practice import ASK, BID, book
from tests.exchange.story import FREE, Story

ANY_IP = "10.0.0.1"
KEYS = tuple(ApiKey(account=name, key=name * 8, secret="s" * 20) for name in ("alice", "carol"))
FIXED = ApiKey(account="bob", key="bob" * 8, secret="t" * 20, ips=("10.0.0.2",))
TAKER = ApiKey(
    account="bob", key="taker" * 8, secret="u" * 20, permissions=("read", "trade", "withdraw")
)
RING = KeyRing(admin="admin-key-admin-key", keys=(*KEYS, FIXED, TAKER)).check()


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    story = Story(tmp_path_factory.mktemp("doors"), *book(0), terms=FREE.unlimited())
    yield Doors(story.exchange, RING)
    story.close()


def asked(doors: Doors, key: ApiKey, params: dict[str, str], ip: str = ANY_IP) -> Asked:
    """A request that is signed as it must be."""
    whole = {"timestamp": str(doors.exchange.now_ms()), "recvWindow": "60000", **params}
    query = urlencode(whole)
    mac = hmac.new(key.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    return Asked({**whole, "signature": mac}, query, key.key, ip)


VALUES = """
    0 1 -1 0.01 0.001 50000 60000.1 59990 1e-5 1e999999 NaN Infinity true FALSE BUY SELL LIMIT
    MARKET STOP_LOSS STOP_MARKET TAKE_PROFIT_LIMIT LIMIT_MAKER TRAILING_STOP_MARKET GTC IOC FOK GTX
    GTD BTCUSDT btcusdt CONDITIONAL ISOLATED CROSSED EXPIRE_MAKER EXPIRE_BOTH FULL 1m 1s 9m [] [1]
    [{"symbol":"BTCUSDT"}] [[ { STOP_ON_FAILURE ALLOW_FAILURE MARK_PRICE 10 100
    99999999999999999999
"""
NAMES = """
    symbol side type timeInForce quantity quoteOrderQty price stopPrice triggerPrice trailingDelta
    callbackRate activatePrice newClientOrderId clientAlgoId origClientOrderId orderId algoId
    algoType cancelOrderId cancelReplaceMode newOrderRespType reduceOnly closePosition workingType
    positionSide goodTillDate selfTradePreventionMode leverage marginType dualSidePosition
    countdownTime limit startTime endTime fromId interval symbols pair batchOrders orderIdList
    origClientOrderIdList incomeType listenKey icebergQty cancelRestrictions omitZeroBalances
"""
WORDS = st.sampled_from(["", "a b", "☃", "x" * 500, *VALUES.split()])
LIKELY = {
    "symbol": st.just("BTCUSDT"),
    "side": st.sampled_from(("BUY", "SELL")),
    "quantity": st.sampled_from(("0.001", "0.01", "5")),
    "price": st.sampled_from(("59000", "60000.1", "60500")),
    "interval": st.just("1m"),
}
PARAMS = st.dictionaries(st.sampled_from(NAMES.split()), WORDS, max_size=12).flatmap(
    lambda wild: st.fixed_dictionaries({}, optional=LIKELY).map(lambda likely: {**wild, **likely})
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), params=PARAMS)
def test_whatever_is_sent_is_answered(
    doors: Doors, data: st.DataObject, params: dict[str, str]
) -> None:
    where = data.draw(st.sampled_from(sorted(doors.endpoints)))
    endpoint = doors.endpoints[where]
    key = data.draw(st.sampled_from(KEYS))
    try:
        said = doors.answer(endpoint, asked(doors, key, params), {})
        msgspec.json.encode(said)
        return
    except RefusalError as refusal:
        said = refusal
    assert said.code < 0
    assert said.status >= 400
    assert said.text


def test_every_path_with_an_account_needs_its_key(doors: Doors) -> None:
    for where, endpoint in doors.endpoints.items():
        if endpoint.security is Security.NONE:
            continue
        with pytest.raises(RefusalError) as refused:
            doors.answer(endpoint, Asked({}, "", "", ANY_IP), {})
        assert refused.value.code == -2014, where
        if endpoint.security is not Security.KEY:
            with pytest.raises(RefusalError) as refused:
                doors.answer(endpoint, Asked({}, "", KEYS[0].key, ANY_IP), {})
            assert refused.value.code == -1102, where


def test_a_key_is_held_to_its_addresses_and_shows_what_it_may(doors: Doors) -> None:
    may = doors.endpoints["GET", "/sapi/v1/account/apiRestrictions"]
    with pytest.raises(RefusalError, match="Invalid API-key, IP"):
        doors.answer(may, asked(doors, FIXED, {}), {})
    shown = doors.answer(may, asked(doors, FIXED, {}, "10.0.0.2"), {})
    assert (shown["ipRestrict"], shown["enableWithdrawals"]) == (True, False)
    shown = doors.answer(may, asked(doors, TAKER, {}), {})
    assert (shown["ipRestrict"], shown["enableWithdrawals"]) == (False, True)


def test_a_signature_is_of_everything_that_was_sent(doors: Doors) -> None:
    account = doors.endpoints["GET", "/api/v3/account"]
    good = asked(doors, KEYS[0], {"omitZeroBalances": "true"})
    assert doors.answer(account, good, {})["balances"]
    for payload in (good.payload + "&x=1", good.payload[:-1], good.payload.upper()):
        with pytest.raises(RefusalError, match="Signature"):
            doors.answer(account, replace(good, payload=payload), {})
    assert unsigned("a=1&signature=ff&b=2") == "a=1&b=2"
    assert unsigned("a=1&b=2&signature=ff") == "a=1&b=2"
    assert unsigned("signature=ff") == ""


def test_the_order_of_the_filters_is_kept_at_the_edges(doors: Doors) -> None:
    listing = doors.exchange.listed[Market.SPOT]["BTCUSDT"]
    assert listing.ticks("price", "0.01") == 1
    assert listing.lots("quantity", "0.00001") == 1
    assert (listing.price(BID), listing.size(1)) == ("60000.00000000", "0.00001000")
    contract = doors.exchange.listed[Market.USDM]["BTCUSDT"]
    assert (contract.price(ASK), contract.size(-1)) == ("60000.10", "-0.00001")
    assert contract.average(6_000_010 * 10 * 2 + 10, 2) == "60000.105000"
    for text in ("1e999999", "Infinity", "", "1,0", "0x1", "١"):
        with pytest.raises(RefusalError):
            listing.ticks("price", text)
