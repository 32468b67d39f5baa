"""The unmodified ccxt client trades spot at the practice exchange."""

from collections.abc import Iterator
from typing import Any

import ccxt
import pytest

from seawall.core.events import EventKind, Side
from tests.exchange.practice import ASK, BID, BOB, READER, Practice, book, client, practice, tape_of

SPOT = "BTC/USDT"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    folder = tmp_path_factory.mktemp("exchange")
    trade = (0.5, EventKind.TRADE, Side.BUY, ASK, 1_000)
    tape = tape_of(folder / "tape", *book(0), trade, *book(3_600))
    with practice(folder / "state", tape, skip=1.0) as running:
        yield running


@pytest.fixture(scope="module")
def trader(server: Practice) -> Any:
    made = client(ccxt.binance, server.port)
    made.load_markets()
    return made


@pytest.fixture(autouse=True)
def _clean(trader: Any) -> Iterator[None]:
    yield
    for order in trader.fetch_open_orders(SPOT):
        trader.cancel_order(order["id"], SPOT)


def test_markets_have_the_increments_and_limits_of_the_tape(trader: Any) -> None:
    market = trader.market(SPOT)
    assert market["spot"]
    assert market["precision"]["price"] == 0.01
    assert market["precision"]["amount"] == 0.00001
    assert market["limits"]["cost"]["min"] == 5
    assert trader.market("BTC/USDT:USDT")["linear"]
    assert abs(trader.fetch_time() - trader.milliseconds()) < 1_000


def test_the_book_is_the_tapes(trader: Any) -> None:
    shown = trader.fetch_order_book(SPOT, 5)
    assert shown["bids"][0] == [BID / 100, 1.0]
    assert shown["asks"][0] == [ASK / 100, 1.0]
    assert len(shown["asks"]) == 5
    assert shown["nonce"] > 0


def test_an_order_rests_locks_its_funds_and_is_cancelled(trader: Any) -> None:
    before = trader.fetch_balance()["USDT"]
    order = trader.create_order(SPOT, "limit", "buy", 0.01, 50_000)
    assert (order["status"], order["filled"]) == ("open", 0)
    assert [each["id"] for each in trader.fetch_open_orders(SPOT)] == [order["id"]]
    balance = trader.fetch_balance()["USDT"]
    assert balance["used"] == pytest.approx(500.5)  # the maker's fee is set aside too
    assert balance["total"] == before["total"]
    assert trader.cancel_order(order["id"], SPOT)["status"] == "canceled"
    assert trader.fetch_order(order["id"], SPOT)["status"] == "canceled"
    assert trader.fetch_balance()["USDT"] == before
    with pytest.raises(ccxt.OrderNotFound):
        trader.cancel_order(order["id"], SPOT)


def test_a_market_order_takes_pays_its_fee_and_is_among_my_trades(trader: Any) -> None:
    before = trader.fetch_balance()
    order = trader.create_order(SPOT, "market", "buy", 0.01)
    assert (order["status"], order["filled"], order["average"]) == ("closed", 0.01, ASK / 100)
    after = trader.fetch_balance()
    assert after["BTC"]["total"] == pytest.approx(before["BTC"]["total"] + 0.01)
    paid = before["USDT"]["total"] - after["USDT"]["total"]
    assert paid == pytest.approx(600.001 * 1.001)
    trade = trader.fetch_my_trades(SPOT)[-1]
    assert (trade["order"], trade["price"], trade["takerOrMaker"]) == (
        order["id"],
        60000.1,
        "taker",
    )
    public = trader.fetch_trades(SPOT)[-1]
    assert (public["price"], public["amount"]) == (60000.1, 0.01)
    assert trader.fetch_order_book(SPOT, 1)["asks"][0][1] == pytest.approx(0.99)


def test_what_is_against_a_filter_is_refused(trader: Any) -> None:
    def raw(**params: Any) -> Any:
        given = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        return trader.private_post_order({**given, "quantity": "0.01", "price": "50000", **params})

    for params, code in (
        ({"price": "50000.001"}, "PRICE_FILTER"),
        ({"quantity": "0.010001"}, "LOT_SIZE"),
        ({"quantity": "0.00001"}, "NOTIONAL"),
        ({"price": "500"}, "PERCENT_PRICE_BY_SIDE"),
        ({"price": "x"}, "-1100"),
        ({"type": "NONE"}, "-1116"),
        ({"side": "HOLD"}, "-1117"),
        ({"timeInForce": "DAY"}, "-1115"),
        ({"symbol": "NOSUCH"}, "-1121"),
        ({"newClientOrderId": "a b"}, "-1100"),
        ({"quantity": ""}, "-1102"),
    ):
        with pytest.raises(ccxt.ExchangeError, match=code):
            raw(**params)
    assert trader.amount_to_precision(SPOT, 0.0100019) == "0.01"
    with pytest.raises(ccxt.InsufficientFunds):
        trader.create_order(SPOT, "limit", "buy", 10, 59_000)
    with pytest.raises(ccxt.InsufficientFunds):
        trader.create_order(SPOT, "market", "sell", 10)


def test_each_type_of_order(trader: Any) -> None:
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        trader.create_order(SPOT, "limit", "buy", 0.01, 60_001, {"postOnly": True})
    maker = trader.create_order(SPOT, "limit", "buy", 0.01, 59_000, {"postOnly": True})
    assert (maker["status"], maker["postOnly"]) == ("open", True)
    ioc = trader.create_order(SPOT, "limit", "buy", 0.01, 59_000, {"timeInForce": "IOC"})
    assert (ioc["status"], ioc["filled"]) == ("expired", 0)
    fok = trader.create_order(SPOT, "limit", "buy", 1.2, 60_000.1, {"timeInForce": "FOK"})
    assert fok["status"] == "expired"
    cost = trader.create_market_buy_order_with_cost(SPOT, 600)
    assert cost["filled"] == pytest.approx(0.00999)
    trader.create_order(SPOT, "market", "sell", 0.00999)
    for kind, price, trigger, name in (
        ("market", None, 50_000, "stopLossPrice"),
        ("limit", 49_000, 50_000, "stopLossPrice"),
        ("market", None, 70_000, "takeProfitPrice"),
        ("limit", 70_100, 70_000, "takeProfitPrice"),
    ):
        order = trader.create_order(SPOT, kind, "sell", 0.01, price, {name: trigger})
        waiting = trader.fetch_order(order["id"], SPOT)
        assert (waiting["status"], waiting["triggerPrice"]) == ("open", trigger)
        assert waiting["info"]["isWorking"] is False
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        trader.create_order(SPOT, "market", "sell", 0.01, None, {"stopLossPrice": 61_000})


def test_a_client_id_is_unique_among_open_orders_alone(trader: Any) -> None:
    asked = {"clientOrderId": "mine-1"}
    first = trader.create_order(SPOT, "limit", "buy", 0.01, 50_000, asked)
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        trader.create_order(SPOT, "limit", "buy", 0.01, 50_000, asked)
    trader.cancel_order(None, SPOT, {"origClientOrderId": "mine-1"})
    second = trader.create_order(SPOT, "limit", "buy", 0.01, 50_001, asked)
    assert second["id"] != first["id"]
    found = trader.fetch_order(None, SPOT, {"origClientOrderId": "mine-1"})
    assert found["id"] == second["id"]


def test_an_order_is_replaced_and_all_are_cancelled(trader: Any) -> None:
    order = trader.create_order(SPOT, "limit", "buy", 0.01, 50_000)
    edited = trader.edit_order(order["id"], SPOT, "limit", "buy", 0.02, 51_000)
    assert (edited["amount"], edited["price"]) == (0.02, 51_000)
    assert trader.fetch_order(order["id"], SPOT)["status"] == "canceled"
    trader.create_order(SPOT, "limit", "sell", 0.01, 70_000)
    assert len(trader.cancel_all_orders(SPOT)) == 2
    assert trader.fetch_open_orders(SPOT) == []
    with pytest.raises(ccxt.OrderNotFound):
        trader.cancel_all_orders(SPOT)
    assert trader.fetch_orders(SPOT)[-1]["status"] == "canceled"


def test_an_account_does_not_trade_with_itself(trader: Any) -> None:
    def crossing(mode: str) -> Any:
        resting = trader.create_order(SPOT, "limit", "buy", 0.01, 60_000.05)
        params = {"selfTradePrevention": mode, "timeInForce": "IOC"}
        taker = trader.create_order(SPOT, "limit", "sell", 0.01, 60_000.05, params)
        return trader.fetch_order(resting["id"], SPOT), taker

    resting, taker = crossing("EXPIRE_TAKER")
    assert (resting["status"], taker["info"]["status"]) == ("open", "EXPIRED_IN_MATCH")
    trader.cancel_order(resting["id"], SPOT)
    resting, taker = crossing("EXPIRE_MAKER")
    assert (resting["info"]["status"], taker["filled"]) == ("EXPIRED_IN_MATCH", 0)


def test_a_key_may_do_what_it_may(server: Practice, trader: Any) -> None:
    reader = client(ccxt.binance, server.port, READER)
    reader.load_markets()
    assert reader.fetch_balance()["BTC"] == trader.fetch_balance()["BTC"]
    with pytest.raises(ccxt.BaseError, match="-2015"):
        reader.create_order(SPOT, "limit", "buy", 0.01, 50_000)
    may = reader.sapi_get_account_apirestrictions()
    assert (may["enableReading"], may["enableSpotAndMarginTrading"]) == (True, False)
    assert may["enableWithdrawals"] is False
    wrong = client(ccxt.binance, server.port)
    wrong.secret = "not the secret at all"
    with pytest.raises(ccxt.AuthenticationError, match="-1022"):
        wrong.private_get_account()
    wrong.apiKey = "z" * 64
    with pytest.raises(ccxt.AuthenticationError, match="-2015"):
        wrong.private_get_account()
    wrong.apiKey = "short"
    with pytest.raises(ccxt.AuthenticationError, match="-2014"):
        wrong.private_get_account()


def test_a_clock_that_is_off_is_refused(server: Practice) -> None:
    for ahead in (-20_000, 20_000):
        late = client(ccxt.binance, server.port)
        late.options["timeDifference"] = -ahead
        with pytest.raises(ccxt.InvalidNonce, match="-1021"):
            late.private_get_account()


def test_accounts_are_apart_and_see_each_other_in_the_book(server: Practice, trader: Any) -> None:
    bob = client(ccxt.binance, server.port, BOB)
    bob.load_markets()
    order = trader.create_order(SPOT, "limit", "buy", 0.5, 60_000.05)
    assert bob.fetch_open_orders(SPOT) == []
    assert bob.fetch_order_book(SPOT, 1)["bids"][0] == [60_000.05, 0.5]
    with pytest.raises(ccxt.OrderNotFound):
        bob.cancel_order(order["id"], SPOT)
