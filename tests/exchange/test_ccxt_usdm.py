"""The unmodified ccxt client trades USD-M futures at the practice exchange."""

import asyncio
from collections.abc import Iterator
from typing import Any

import ccxt
import ccxt.async_support
import pytest

from seawall.core.events import EventKind, Side
from tests.exchange.practice import ASK, BID, BOB, Practice, book, client, practice, tape_of

SWAP = "BTC/USDT:USDT"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    folder = tmp_path_factory.mktemp("exchange")
    trade = (0.5, EventKind.TRADE, Side.BUY, ASK, 1_000)
    tape = tape_of(folder / "tape", *book(0, levels=300, lots=1_000_000), trade, *book(3_600))
    with practice(folder / "state", tape, skip=1.0) as running:
        yield running


@pytest.fixture(scope="module")
def trader(server: Practice) -> Any:
    made = client(ccxt.binanceusdm, server.port)
    made.load_markets()
    return made


@pytest.fixture(autouse=True)
def _clean(trader: Any) -> Iterator[None]:
    yield
    trader.cancel_all_orders(SWAP)
    for order in trader.fetch_open_orders(SWAP, params={"trigger": True}):
        trader.cancel_order(order["id"], SWAP, {"trigger": True})
    for held in trader.fetch_positions([SWAP]):
        if held["contracts"]:
            side = "sell" if held["side"] == "long" else "buy"
            trader.create_order(SWAP, "market", side, held["contracts"], None, {"reduceOnly": True})


def test_a_position_is_opened_valued_and_closed(trader: Any) -> None:
    before = trader.fetch_balance()["USDT"]["total"]
    order = trader.create_order(SWAP, "market", "buy", 0.5)
    assert (order["status"], order["average"], order["filled"]) == ("closed", ASK / 100, 0.5)
    held = trader.fetch_positions([SWAP])[0]
    assert (held["side"], held["contracts"], held["entryPrice"]) == ("long", 0.5, ASK / 100)
    assert held["unrealizedPnl"] == pytest.approx(-0.5 * 0.05)
    assert held["initialMargin"] == pytest.approx(0.5 * 60_000.05 / 20, rel=1e-6)
    assert held["leverage"] == 20
    closed = trader.create_order(SWAP, "market", "sell", 0.5, None, {"reduceOnly": True})
    trades = trader.fetch_my_trades(SWAP)[-2:]
    assert closed["filled"] == 0.5
    assert [each["order"] for each in trades] == [order["id"], closed["id"]]
    assert float(trades[-1]["info"]["realizedPnl"]) == pytest.approx(-0.05)
    fees = sum(each["fee"]["cost"] for each in trades)
    after = trader.fetch_balance()["USDT"]["total"]
    assert after == pytest.approx(before - 0.05 - fees)
    income = trader.fapiprivate_get_income({"limit": 3})
    assert {each["incomeType"] for each in income} == {"COMMISSION", "REALIZED_PNL"}


def test_leverage_margin_and_position_mode(trader: Any) -> None:
    assert trader.set_leverage(5, SWAP)["leverage"] == 5
    assert trader.fetch_leverage(SWAP)["longLeverage"] == 5
    # Codes of USD-M alone ccxt looks up by the exchange's own https address, so it is no more
    # than an ExchangeError here.
    with pytest.raises(ccxt.ExchangeError, match="-2019"):
        trader.create_order(SWAP, "market", "buy", 9)
    trader.set_leverage(20, SWAP)
    with pytest.raises(ccxt.BadRequest, match="-4028"):
        trader.fapiprivate_post_leverage({"symbol": "BTCUSDT", "leverage": 200})
    trader.set_margin_mode("isolated", SWAP)
    assert trader.fetch_margin_mode(SWAP)["marginMode"] == "isolated"
    with pytest.raises(ccxt.MarginModeAlreadySet):
        trader.set_margin_mode("isolated", SWAP)
    trader.set_margin_mode("cross", SWAP)
    assert trader.fetch_position_mode()["hedged"] is False
    trader.set_position_mode(True)
    assert trader.fetch_position_mode()["hedged"] is True
    with pytest.raises(ccxt.OperationRejected, match="-4061"):
        trader.create_order(SWAP, "market", "buy", 0.01)
    trader.set_position_mode(False)
    with pytest.raises(ccxt.OperationRejected, match="-4059"):
        trader.set_position_mode(False)
    tiers = trader.fetch_leverage_tiers([SWAP])[SWAP]
    assert tiers[0]["maxLeverage"] == 125
    fee = trader.fetch_trading_fee(SWAP)
    assert (fee["maker"], fee["taker"]) == (0.0002, 0.0005)


def test_orders_that_wait(trader: Any) -> None:
    trader.create_order(SWAP, "market", "buy", 0.5)
    for kind, price, params in (
        ("market", None, {"stopLossPrice": 59_000}),
        ("limit", 58_990, {"stopLossPrice": 59_000}),
        ("market", None, {"takeProfitPrice": 61_000}),
        ("limit", 61_000, {"takeProfitPrice": 61_000}),
        ("market", None, {"trailingPercent": 1}),
        ("market", None, {"stopLossPrice": 59_000, "workingType": "MARK_PRICE"}),
    ):
        order = trader.create_order(SWAP, kind, "sell", 0.1, price, {**params, "reduceOnly": True})
        assert order["status"] == "open"
        found = trader.fetch_order(order["id"], SWAP, {"trigger": True})
        assert (found["id"], found["reduceOnly"]) == (order["id"], True)
        with pytest.raises(ccxt.OrderNotFound):
            trader.fetch_order(order["id"], SWAP)
        trader.cancel_order(order["id"], SWAP, {"trigger": True})
    assert trader.fetch_open_orders(SWAP, params={"trigger": True}) == []
    with pytest.raises(ccxt.BaseError, match="-2021"):
        trader.create_order(SWAP, "market", "sell", 0.1, None, {"stopLossPrice": 61_000})
    whole = {"stopLossPrice": 59_000, "closePosition": True}
    order = trader.create_order(SWAP, "market", "sell", None, None, whole)
    assert order["info"]["closePosition"] is True


def test_a_stop_is_triggered_and_closes_the_position(server: Practice, trader: Any) -> None:
    trader.create_order(SWAP, "market", "buy", 0.5)
    stop = trader.create_order(SWAP, "market", "sell", 0.5, None, {"stopLossPrice": 59_999.9})
    bob = client(ccxt.binanceusdm, server.port, BOB)
    bob.load_markets()
    bob.set_leverage(125, SWAP)
    bob.create_order(SWAP, "market", "sell", 10.01)
    found = trader.fetch_order(stop["id"], SWAP, {"trigger": True})
    assert found["info"]["algoStatus"] == "FINISHED"
    filled = trader.fetch_order(found["info"]["actualOrderId"], SWAP)
    assert (filled["status"], filled["filled"]) == ("closed", 0.5)
    assert (
        trader.fetch_positions([SWAP]) == [] or not trader.fetch_positions([SWAP])[0]["contracts"]
    )
    bob.create_order(SWAP, "market", "buy", 10.01, None, {"reduceOnly": True})


def test_times_in_force(trader: Any) -> None:
    with pytest.raises(ccxt.BaseError, match="-5022"):
        trader.create_order(SWAP, "limit", "buy", 0.01, 60_005, {"postOnly": True})
    kept = trader.create_order(SWAP, "limit", "buy", 0.01, 59_000, {"postOnly": True})
    assert (kept["status"], kept["timeInForce"]) == ("open", "PO")
    ioc = trader.create_order(SWAP, "limit", "buy", 0.01, 59_000, {"timeInForce": "IOC"})
    assert ioc["status"] == "expired"
    until = trader.milliseconds() + 700_000
    gtd = {"timeInForce": "GTD", "goodTillDate": until}
    assert trader.create_order(SWAP, "limit", "buy", 0.01, 59_000, gtd)["status"] == "open"
    with pytest.raises(ccxt.BaseError, match="-5040"):
        trader.create_order(
            SWAP, "limit", "buy", 0.01, 59_000, gtd | {"goodTillDate": until - 600_000}
        )
    with pytest.raises(ccxt.BaseError, match="-2022"):
        trader.create_order(SWAP, "market", "sell", 0.01, None, {"reduceOnly": True})


def test_an_order_is_modified_and_keeps_its_id(trader: Any) -> None:
    order = trader.create_order(SWAP, "limit", "buy", 0.01, 59_000)
    edited = trader.edit_order(order["id"], SWAP, "limit", "buy", 0.02, 59_100)
    assert (edited["id"], edited["price"], edited["amount"]) == (order["id"], 59_100, 0.02)
    found = trader.fetch_order(order["id"], SWAP)
    assert (found["status"], found["price"], found["amount"]) == ("open", 59_100, 0.02)
    assert len(trader.fetch_open_orders(SWAP)) == 1
    crossing = trader.edit_order(order["id"], SWAP, "limit", "buy", 0.02, 60_005)
    assert (crossing["id"], crossing["status"]) == (order["id"], "closed")


def test_batches_are_answered_one_by_one(trader: Any) -> None:
    made = trader.create_orders(
        [
            {"symbol": SWAP, "type": "limit", "side": "buy", "amount": 0.01, "price": price}
            for price in (59_000, 59_100, 10)
        ]
    )
    assert sorted(each["status"] for each in made) == ["open", "open", "rejected"]
    assert [each["info"]["code"] for each in made if each["status"] == "rejected"] == [-4164]
    ids = [each["id"] for each in made if each["status"] == "open"]
    assert [each["status"] for each in trader.cancel_orders(ids, SWAP)] == ["canceled"] * 2


def test_the_dead_mans_switch_cancels(server: Practice, trader: Any) -> None:
    order = trader.create_order(SWAP, "limit", "buy", 0.01, 59_000)
    trader.fapiprivate_post_countdowncancelall({"symbol": "BTCUSDT", "countdownTime": 1})
    server.do(server.exchange.pump)
    server.do(server.exchange.pump)
    while trader.fetch_order(order["id"], SWAP)["status"] == "open":
        continue
    assert trader.fetch_order(order["id"], SWAP)["status"] == "canceled"


def test_filters_of_contracts(trader: Any) -> None:
    def raw(**params: Any) -> Any:
        given = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        return trader.fapiprivate_post_order({**given, "quantity": 1, "price": 59_000, **params})

    for params, code in (
        ({"price": "59000.001"}, "-1111"),
        ({"quantity": "0.000001"}, "-1111"),
        ({"price": "-1"}, "-4001"),
        ({"quantity": "0"}, "-4003"),
        ({"price": "90000"}, "-4016"),
        ({"quantity": "0.00001"}, "-4164"),
        ({"type": "STOP_MARKET", "stopPrice": "1"}, "-4120"),
        ({"newClientOrderId": "a b"}, "-4015"),
        ({"quantity": "100"}, "-2019"),
    ):
        with pytest.raises(ccxt.BaseError, match=code):
            raw(**params)


def test_mark_price_funding_and_open_interest(trader: Any) -> None:
    funding = trader.fetch_funding_rate(SWAP)
    assert funding["markPrice"] == pytest.approx((ASK + BID) / 200, abs=1)
    assert funding["fundingRate"] == 0.0001
    assert funding["fundingTimestamp"] > trader.milliseconds()
    trader.create_order(SWAP, "market", "buy", 0.01)
    assert trader.fetch_open_interest(SWAP)["openInterestAmount"] == 0.01


def test_the_async_client(server: Practice) -> None:
    async def main() -> None:
        trader = client(ccxt.async_support.binance, server.port, BOB)
        try:
            await trader.load_markets()
            made = await asyncio.gather(
                *(trader.create_order(SWAP, "limit", "buy", 0.01, 59_000 + k) for k in range(20))
            )
            assert len({each["id"] for each in made}) == 20
            assert len(await trader.fetch_open_orders(SWAP)) == 20
            await trader.cancel_all_orders(SWAP)
            assert await trader.fetch_open_orders(SWAP) == []
        finally:
            await trader.close()

    asyncio.run(main())
