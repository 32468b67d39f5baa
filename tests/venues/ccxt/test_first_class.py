"""Kraken, Coinbase, OKX and Bybit at the wire: the real ccxt clients against a server that answers
as their interfaces say; what is asked is compared with those interfaces.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seawall.core.clock import MINUTE, SECOND
from seawall.core.events import Side
from seawall.core.orders import Fill, Order, OrderReport, OrderState, OrderType, TimeInForce
from seawall.venues.ccxt.transfers import transfers
from tests.venues.ccxt import interfaces
from tests.venues.ccxt.interfaces import OURS, PRICE, Shown
from tests.venues.ccxt.wire import Scene, scene

EXCHANGES: dict[str, Callable[[dict[str, Any]], Shown]] = {
    "kraken": interfaces.kraken,
    "coinbase": interfaces.coinbase,
    "okx": interfaces.okx,
    "bybit": interfaces.bybit,
}
PLACES = {
    "kraken": "POST /0/private/AddOrder",
    "coinbase": "POST /api/v3/brokerage/orders",
    "okx": "POST /api/v5/trade/batch-orders",
    "bybit": "POST /v5/order/create",
}
CANCELS = {
    "kraken": "POST /0/private/CancelOrder",
    "coinbase": "POST /api/v3/brokerage/orders/batch_cancel",
    "okx": "POST /api/v5/trade/cancel-order",
    "bybit": "POST /v5/order/cancel",
}
every = pytest.mark.parametrize("name", EXCHANGES)


def seen(name: str, folder: Path, work: Callable[[Scene, Shown, dict[str, Any]], Any]) -> None:
    """Do something with an account of that exchange."""

    async def main() -> None:
        order: dict[str, Any] = {}
        shown = EXCHANGES[name](order)
        async with scene(folder, shown.instrument, shown.secrets, shown.answers) as opened:
            await work(opened, shown, order)

    asyncio.run(main())


def limit(opened: Scene, shown: Shown, **changed: Any) -> Order:
    tick, lot = shown.instrument.tick_value, shown.instrument.lot_value
    given: dict[str, Any] = {
        "client_id": OURS,
        "instrument": shown.instrument.name,
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "price": int(int(PRICE) / tick),
        "size": int(1 / (1_000 * lot)),
        "accept_until": opened.desk.venue_now() + 5 * SECOND,
    }
    return Order(**{**given, **changed})


def states(opened: Scene) -> list[OrderState]:
    return [r.state for r in opened.desk.outbox if isinstance(r, OrderReport)]


def placed_by(name: str, sent: Any) -> dict[str, Any]:
    """What an order says, in one form."""
    if name == "kraken":
        assert sent["deadline"].endswith("Z")
        return {
            "id": sent["cl_ord_id"], "side": sent["type"], "kind": sent["ordertype"],
            "price": sent["price"], "size": sent["volume"], "prevention": sent["stptype"],
        }  # fmt: skip
    if name == "coinbase":
        limits = sent["order_configuration"]["limit_limit_gtc"]
        return {
            "id": sent["client_order_id"], "side": sent["side"].lower(), "kind": "limit",
            "price": limits["limit_price"], "size": limits["base_size"], "prevention": None,
        }  # fmt: skip
    if name == "okx":
        return {
            "id": sent["clOrdId"], "side": sent["side"], "kind": sent["ordType"],
            "price": sent["px"], "size": sent["sz"], "prevention": sent["stpMode"],
        }  # fmt: skip
    return {
        "id": sent["orderLinkId"], "side": sent["side"].lower(), "kind": sent["orderType"].lower(),
        "price": sent["price"], "size": sent["qty"], "prevention": sent["smpType"],
    }  # fmt: skip


PREVENTION = {
    "kraken": "cancel-newest",
    "coinbase": None,
    "okx": "cancel_maker",
    "bybit": "CancelMaker",
}


@every
def test_an_order_carries_our_id_and_all_that_was_decided(name: str, tmp_path: Path) -> None:
    async def work(opened: Scene, shown: Shown, _: Any) -> None:
        await opened.desk.place(limit(opened, shown))
        assert states(opened) == [OrderState.NEW], opened.desk.outbox
        asked = opened.wire.last(PLACES[name])
        sent = asked.given[0] if isinstance(asked.given, list) else asked.given
        assert placed_by(name, sent) == {
            "id": OURS.replace("-", opened.desk.terms.dash),
            "side": "buy",
            "kind": "limit",
            "price": PRICE,
            "size": "0.001",
            "prevention": PREVENTION[name],
        }
        until = int(asked.headers.get("exptime", 0)) or int(
            asked.headers.get("x-bapi-recv-window", 0)
        )
        assert bool(until) is (name in ("okx", "bybit"))
        if name == "okx":
            assert 0 < until - opened.desk.venue_now() // 1_000_000 <= 5_000
            assert "expTime" not in sent
        if name == "bybit":
            assert 0 < until <= 5_000

    seen(name, tmp_path, work)


def lasting(name: str, sent: Any) -> dict[str, Any]:
    """How long an order lasts, and whether it may take, in the exchange's words."""
    if name == "coinbase":
        (kind, limits), *_ = sent["order_configuration"].items()
        return {"kind": kind, "post": limits.get("post_only", False)}
    fields = {
        "kraken": ("timeinforce", "oflags"),
        "okx": ("ordType",),
        "bybit": ("timeInForce",),
    }
    return {field: sent[field] for field in fields[name] if field in sent}


@pytest.mark.parametrize(
    ("name", "ioc", "post_only"),
    [
        ("kraken", {"timeinforce": "IOC"}, {"oflags": "post"}),
        (
            "coinbase",
            {"kind": "sor_limit_ioc", "post": False},
            {"kind": "limit_limit_gtc", "post": True},
        ),
        ("okx", {"ordType": "ioc"}, {"ordType": "post_only"}),
        ("bybit", {"timeInForce": "IOC"}, {"timeInForce": "PostOnly"}),
    ],
)
def test_how_long_an_order_lasts_is_said_in_its_words(
    name: str, ioc: dict[str, Any], post_only: dict[str, Any], tmp_path: Path
) -> None:
    async def work(opened: Scene, shown: Shown, _: Any) -> None:
        for changed, wanted in (
            ({"time_in_force": TimeInForce.IOC}, ioc),
            ({"post_only": True, "client_id": "1a2b3c4d-18"}, post_only),
        ):
            await opened.desk.place(limit(opened, shown, **changed))
            given = opened.wire.last(PLACES[name]).given
            assert lasting(name, given[0] if isinstance(given, list) else given) == wanted

    seen(name, tmp_path, work)


@every
def test_an_order_is_found_by_our_id_and_one_that_is_not_there_is_not(
    name: str, tmp_path: Path
) -> None:
    async def work(opened: Scene, shown: Shown, order: dict[str, Any]) -> None:
        desk = opened.desk
        (before,) = await desk.orders([OURS]) or [None]
        assert before is None
        await desk.place(limit(opened, shown))
        desk._numbers.clear()  # as after a kill: only our id is known
        (found,) = await desk.orders([OURS])
        assert (found.client_id, found.state, found.filled) == (OURS, OrderState.NEW, 0)
        (one,) = await desk.orders(None) if name != "okx" else [found]
        assert one.client_id == OURS

    seen(name, tmp_path, work)


@every
def test_an_order_is_cancelled_by_our_id_where_that_is_offered(name: str, tmp_path: Path) -> None:
    async def work(opened: Scene, shown: Shown, _: Any) -> None:
        await opened.desk.place(limit(opened, shown))
        opened.desk._numbers.clear()
        assert await opened.desk.cancel(OURS, shown.instrument.name)
        assert states(opened) == [OrderState.NEW, OrderState.CANCELED]
        sent = opened.wire.last(CANCELS[name]).given
        named = {
            "kraken": {"cl_ord_id": OURS},
            "coinbase": {"order_ids": [shown.number]},
            "okx": {"clOrdId": OURS.replace("-", "Z"), "instId": "BTC-USDT"},
            "bybit": {"orderLinkId": OURS, "symbol": "BTCUSDT", "category": "spot"},
        }[name]
        assert {key: sent[key] for key in named} == named

    seen(name, tmp_path, work)


@every
def test_balances_and_fills_are_exact(name: str, tmp_path: Path) -> None:
    async def work(opened: Scene, shown: Shown, _: Any) -> None:
        desk, quote = opened.desk, shown.instrument.quote
        unit = 10 ** desk.decimals("BTC")
        assert await desk.balances() == {"BTC": unit // 1_000, quote: 9_501_234 * unit // 10_000}
        await desk.place(limit(opened, shown))
        await opened.link.trades(shown.instrument.symbol)
        await opened.link.trades(shown.instrument.symbol)
        (fill,) = [r for r in desk.outbox if isinstance(r, Fill)]
        assert (fill.client_id, fill.side, fill.maker) == (OURS, Side.BUY, True)
        assert fill.price * shown.instrument.tick_value == int(PRICE)
        assert fill.size * shown.instrument.lot_value * 1_000 == 1
        fees = {
            "kraken": (quote, unit // 5),
            "coinbase": (quote, unit // 5),
            "okx": ("BTC", 8 * unit // 10**7),
            "bybit": ("BTC", unit // 10**6),
        }
        assert (fill.fee_asset, fill.fee) == fees[name]

    seen(name, tmp_path, work)


@pytest.mark.parametrize(
    ("name", "path", "field", "unit"),
    [
        ("kraken", "POST /0/private/CancelAllOrdersAfter", "timeout", 1),
        ("okx", "POST /api/v5/trade/cancel-all-after", "timeOut", 1),
    ],
)
def test_the_dead_mans_switch_is_armed_and_disarmed(
    name: str, path: str, field: str, unit: int, tmp_path: Path
) -> None:
    async def work(opened: Scene, *_: Any) -> None:
        await opened.link.arm(MINUTE)
        assert int(opened.wire.last(path).given[field]) == 60 * unit
        assert opened.link.armed
        await opened.link.disarm()
        assert int(opened.wire.last(path).given[field]) == 0
        assert not opened.link.armed

    seen(name, tmp_path, work)


@every
def test_a_key_that_can_withdraw_is_refused(name: str, tmp_path: Path) -> None:
    async def work(opened: Scene, _: Any, order: dict[str, Any]) -> None:
        good, _said = await opened.looks._permissions()
        assert good == "good"
        order["may"] = order["greedy"]
        bad, said = await opened.looks._permissions()
        assert bad == "stop"
        assert "can withdraw money" in said

    seen(name, tmp_path, work)


def test_deposits_and_withdrawals_come_with_their_ids(tmp_path: Path) -> None:
    async def work(opened: Scene, *_: Any) -> None:
        now = int(opened.desk.venue_now() // SECOND)
        entry = {"method": "Bitcoin", "aclass": "currency", "asset": "XXBT", "txid": "", "info": ""}
        came = {**entry, "refid": "Q2CANKL", "amount": "0.5000000000", "fee": "0", "time": now}
        went = {**entry, "refid": "A2BF34S", "amount": "0.2", "fee": "0.0005", "time": now}
        waits = {**came, "refid": "LATER", "status": "Pending"}
        done = {"status": "Success"}
        opened.wire.answers |= {
            "POST /0/private/DepositStatus": {"error": [], "result": [came | done, waits]},
            "POST /0/private/WithdrawStatus": {"error": [], "result": [went | done]},
        }
        found = await transfers(opened.desk, (now - 60) * SECOND)
        unit = 10 ** opened.desk.decimals("BTC")
        assert [(t.name, t.kind, t.asset, t.amount, t.fee) for t in found] == [
            ("Q2CANKL", "deposit", "BTC", unit // 2, 0),
            ("A2BF34S", "withdrawal", "BTC", -unit // 5, unit // 2_000),
        ]

    seen("kraken", tmp_path, work)
