"""Orders out and answers in, to the last unit: ccxt rounds nothing that is ours."""

from fractions import Fraction
from typing import Any

import ccxt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.errors import OrderRefusedError, SettingError, VenueError
from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.orders import Order, OrderState, OrderType, TimeInForce, Trigger
from seawall.venues.ccxt.terms import CONSERVATIVE, TERMS, inward, outward
from seawall.venues.ccxt.translation import (
    decimal,
    down,
    fill_of,
    in_book,
    report_of,
    request_of,
    up,
    wallet_of,
)

BTC = Instrument(
    venue="binance", symbol="BTC/USDT", kind=Kind.SPOT, base="BTC", quote="USDT",
    tick="0.01", lot="0.00001",
)  # fmt: skip
BINANCE = TERMS["binance"]
NOW = 1_700_000_000 * SECOND
DECIMALS = {"BTC": 8, "USDT": 8}
steps = st.sampled_from(["0.00000001", "0.00001", "0.01", "0.05", "0.25", "0.5", "1", "10", "100"])


def order(**changed: Any) -> Order:
    given: dict[str, Any] = {
        "client_id": "1a2b3c4d-17",
        "instrument": BTC.name,
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "size": 12,
        "price": 9_712_345,
        "time_in_force": TimeInForce.IOC,
        "accept_until": NOW + 2 * SECOND,
    }
    return Order(**{**given, **changed})


def trade(**changed: Any) -> dict[str, Any]:
    given = {
        "id": "28457", "order": "7", "side": "buy", "price": "97123.45", "amount": "0.00012",
        "fee": {"cost": "0.00000123", "currency": "BNB"}, "takerOrMaker": "maker",
        "timestamp": 1_700_000_000_123,
    }  # fmt: skip
    return {**given, **changed}


@given(units=st.integers(1, 10**15), step=steps)
def test_ccxt_sends_exactly_what_was_ordered(units: int, step: str) -> None:
    exchange = ccxt.binance()
    exchange.number = str
    exchange.markets = {
        "X/Y": {"id": "XY", "symbol": "X/Y", "precision": {"amount": step, "price": step}}
    }
    text = decimal(units, Fraction(step))
    assert Fraction(text) == units * Fraction(step)
    assert Fraction(exchange.amount_to_precision("X/Y", text)) == units * Fraction(step)
    assert Fraction(exchange.price_to_precision("X/Y", text)) == units * Fraction(step)


def test_an_order_says_until_when_it_may_be_accepted() -> None:
    request = request_of(order(), BTC, BINANCE, NOW)
    assert (request.symbol, request.type, request.side) == ("BTC/USDT", "limit", "buy")
    assert (request.amount, request.price) == ("0.00012", "97123.45")
    assert request.params == {
        "clientOrderId": "1a2b3c4d-17",
        "timeInForce": "IOC",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "recvWindow": 2_000,
    }
    late = request_of(order(), BTC, BINANCE, NOW + 1_500 * MILLISECOND)
    assert late.params["recvWindow"] == 500
    kraken = request_of(order(), BTC, TERMS["kraken"], NOW).params
    assert kraken["deadline"] == "2023-11-14T22:13:22.000Z"
    assert request_of(order(), BTC, TERMS["okx"], NOW).params["expTime"] == str(
        (NOW + 2 * SECOND) // MILLISECOND
    )
    with pytest.raises(OrderRefusedError, match="its time was over"):
        request_of(order(), BTC, BINANCE, NOW + 2 * SECOND)


def test_kinds_of_orders() -> None:
    post = request_of(
        order(time_in_force=TimeInForce.GTC, post_only=True, reduce_only=True), BTC, BINANCE, NOW
    )
    assert post.params["postOnly"] is True
    assert "reduceOnly" not in post.params  # a spot market knows no such thing
    market = request_of(order(type=OrderType.MARKET, price=None), BTC, BINANCE, NOW)
    assert (market.type, market.price) == ("market", None)
    assert "timeInForce" not in market.params


def test_a_contract_says_what_its_trade_realised() -> None:
    swap = Instrument(
        venue="binance", symbol="BTC/USDT:USDT", kind=Kind.LINEAR, base="BTC", quote="USDT",
        tick="0.1", lot="0.001", settle="USDT",
    )  # fmt: skip
    usdm = TERMS["binanceusdm"]
    given = trade(price="97123.4", amount="0.012", info={"realizedPnl": "-1.25"})
    assert fill_of(given, swap, "a", DECIMALS, usdm).realised == -125_000_000
    streamed = trade(price="97123.4", amount="0.012", info={"rp": "0"})
    assert fill_of(streamed, swap, "a", DECIMALS, usdm).realised == 0
    assert fill_of(given, swap, "a", DECIMALS, CONSERVATIVE).realised is None
    assert fill_of(trade(info={"rp": "1"}), BTC, "a", DECIMALS, usdm).realised is None


def test_ids_travel_there_and_back() -> None:
    for name, terms in [*TERMS.items(), ("another", CONSERVATIVE)]:
        out = outward(terms, "1a2b3c4d-123456789")
        assert inward(terms, out) == "1a2b3c4d-123456789", name
    assert outward(TERMS["okx"], "1a2b3c4d-17").isalnum()
    with pytest.raises(SettingError):
        outward(TERMS["kraken"], "1a2b3c4d-1234567890123")


def test_a_trade_is_booked_to_the_last_unit() -> None:
    fill = fill_of(trade(), BTC, "1a2b3c4d-17", DECIMALS, BINANCE)
    assert (fill.price, fill.size, fill.fee, fill.fee_asset) == (9_712_345, 12, 123, "BNB")
    assert fill.maker
    assert fill.ts == 1_700_000_000_123 * MILLISECOND
    both = [{"cost": "0.1", "currency": "USDT"}, {"cost": "0.02", "currency": "USDT"}]
    assert fill_of(trade(fees=both), BTC, "a", DECIMALS, BINANCE).fee == 12_000_000
    assert (
        fill_of(trade(fee={"cost": "-0.5", "currency": "USDT"}), BTC, "a", DECIMALS, BINANCE).fee
        < 0
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"price": "97123.456"},
        {"amount": "0.000121111"},
        {"price": None},
        {"id": None},
        {"fee": {"cost": "1", "currency": None}},
        {"fees": [{"cost": "1", "currency": "BNB"}, {"cost": "1", "currency": "USDT"}]},
    ],
)
def test_a_trade_that_cannot_be_exact_is_not_believed(changed: dict[str, Any]) -> None:
    with pytest.raises(VenueError):
        fill_of(trade(**changed), BTC, "a", DECIMALS, BINANCE)


@given(value=st.integers(-(10**20), 10**20))
def test_rounding_is_towards_the_venue(value: int) -> None:
    text = decimal(value, Fraction(1, 10**10))
    assert down(text, 8) * 100 <= value < (down(text, 8) + 1) * 100
    assert (up(text, 8) - 1) * 100 < value <= up(text, 8) * 100


@pytest.mark.parametrize(
    ("status", "filled", "state"),
    [
        ("open", "0", OrderState.NEW),
        ("open", "0.00001", OrderState.PARTIALLY_FILLED),
        ("closed", "0.00012", OrderState.FILLED),
        ("closed", "0.00005", OrderState.CANCELED),
        ("canceled", "0", OrderState.CANCELED),
        ("expired", "0.00001", OrderState.EXPIRED),
        ("rejected", "0", OrderState.REJECTED),
    ],
)
def test_states(status: str, filled: str, state: OrderState) -> None:
    found = {"status": status, "filled": filled, "amount": "0.00012", "timestamp": 1}
    report = report_of(found, BTC, "a-1", 3)
    assert report is not None
    assert (report.state, report.filled) == (state, int(Fraction(filled) * 100_000))


def test_a_finished_order_that_hides_its_fills_says_nothing() -> None:
    assert report_of({"status": "closed", "filled": None}, BTC, "a-1", 0) is None


def test_the_wallet_is_the_one_without_open_profit() -> None:
    usdm = {"assets": [{"asset": "USDT", "walletBalance": "12.5", "marginBalance": "99"}]}
    assert wallet_of(usdm, "walletBalance") == {"USDT": "12.5"}
    okx = {"data": [{"totalEq": "1", "details": [{"ccy": "USDT", "cashBal": "7", "eq": "9"}]}]}
    assert wallet_of(okx, "cashBal") == {"USDT": "7"}
    bybit = {"result": {"list": [{"coin": [{"coin": "BTC", "walletBalance": "0.1"}]}]}}
    assert wallet_of(bybit, "walletBalance") == {"BTC": "0.1"}


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({"algoId": 7, "clientAlgoId": "a-1", "actualOrderId": ""}, False),  # Binance, REST
        ({"orderId": 9, "clientOrderId": "a-1"}, True),
        ({"aid": 7, "caid": "a-1", "ai": "", "o": "STOP_MARKET"}, False),  # its stream
        ({"i": 9, "c": "a-1", "o": "MARKET"}, True),
        ({"algoId": "7", "ordId": ""}, False),  # OKX
        ({"algoId": "7", "ordId": "9"}, True),
        (None, False),
    ],
)
def test_an_order_that_waited_is_known_in_the_book_by_its_other_number(
    info: Any, found: bool
) -> None:
    assert in_book({"info": info}) is found


def test_a_gain_is_taken_at_another_kind_of_trigger() -> None:
    gain = order(type=OrderType.TAKE_PROFIT, price=None, trigger=Trigger(price=70_000_00))
    params = request_of(gain, BTC, BINANCE, NOW).params
    assert params["takeProfitPrice"] == "70000"
    assert "triggerPrice" not in params


@pytest.mark.parametrize(("side", "way"), [(Side.BUY, "ascending"), (Side.SELL, "descending")])
def test_bybit_is_told_which_way_a_contracts_price_must_come(side: Side, way: str) -> None:
    stop = order(side=side, type=OrderType.STOP, price=None, trigger=Trigger(price=70_000_00))
    contract = msgspec.structs.replace(
        BTC, venue="bybit", kind=Kind.LINEAR, symbol="BTC/USDT:USDT", settle="USDT"
    )
    assert request_of(stop, contract, TERMS["bybit"], NOW).params["triggerDirection"] == way
    for instrument, terms in ((BTC, TERMS["bybit"]), (contract, TERMS["okx"])):
        assert "triggerDirection" not in request_of(stop, instrument, terms, NOW).params
