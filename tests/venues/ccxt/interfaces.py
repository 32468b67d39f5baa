"""What Kraken, Coinbase, OKX and Bybit answer for one order of 0.001 BTC, after the bodies in their
published interfaces (read in November 2026).
"""

import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from seawall.core.instruments import Instrument, Kind

OURS = "1a2b3c4d-17"
PRICE, SIZE = "50000", "0.001"


class Shown(NamedTuple):
    """The account as the exchange shows it."""

    instrument: Instrument
    secrets: dict[str, str]
    answers: dict[str, Any]
    number: str  # the exchange's own of the order


def now_ms() -> int:
    return int(time.time() * 1_000)


def iso() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _instrument(name: str, quote: str, tick: str, lot: str, decimals: int = 18) -> Instrument:
    return Instrument(
        venue=name, symbol=f"BTC/{quote}", kind=Kind.SPOT, base="BTC", quote=quote,
        tick=tick, lot=lot, settle_decimals=decimals, base_decimals=decimals,
    )  # fmt: skip


def kraken(order: dict[str, Any]) -> Shown:
    number = "OQCLML-BW3P3-BUCMWZ"

    def told(result: Any) -> dict[str, Any]:
        return {"error": [], "result": result}

    def listed(wanted: tuple[str, ...]) -> dict[str, Any]:
        if order.get("status") not in wanted:
            return {}
        entry = {
            "refid": None, "userref": None, "cl_ord_id": order["id"], "status": order["status"],
            "opentm": time.time(), "starttm": 0, "expiretm": 0, "vol": SIZE,
            "vol_exec": order["filled"], "cost": "0", "fee": "0", "price": "0", "stopprice": "0",
            "limitprice": "0", "misc": "", "oflags": "fciq",
            "descr": {
                "pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": PRICE,
                "price2": "0", "leverage": "none", "order": "", "close": "",
            },
        }  # fmt: skip
        return {number: entry}

    def placed(given: Any) -> Any:
        order.update(id=given["cl_ord_id"], status="open", filled="0")
        return told({"txid": [number], "descr": {"order": "buy 0.001 XBTUSD @ limit 50000"}})

    def cancelled(given: Any) -> Any:
        order["status"] = "canceled"
        return told({"count": 1})

    trade = {
        "ordertxid": number, "postxid": "TKH2SE-M7IF5-CFI7LT", "pair": "XXBTZUSD",
        "time": time.time(), "type": "buy", "ordertype": "limit", "price": PRICE,
        "cost": "50.00000", "fee": "0.20000", "vol": SIZE, "margin": "0", "misc": "", "maker": True,
    }  # fmt: skip
    pair = {
        "altname": "XBTUSD", "wsname": "XBT/USD", "aclass_base": "currency", "base": "XXBT",
        "aclass_quote": "currency", "quote": "ZUSD", "lot": "unit", "cost_decimals": 5,
        "pair_decimals": 1, "lot_decimals": 8, "lot_multiplier": 1, "leverage_buy": [],
        "leverage_sell": [], "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]], "ordermin": "0.00005",
        "costmin": "0.5", "tick_size": "0.1", "status": "online",
    }  # fmt: skip
    coins = {
        name: {"aclass": "currency", "altname": short, "decimals": 10, "display_decimals": 5}
        for name, short in (("XXBT", "XBT"), ("ZUSD", "USD"))
    }
    closed = ("canceled", "closed", "expired")
    answers = {
        "GET /0/public/AssetPairs": told({"XXBTZUSD": pair}),
        "GET /0/public/Assets": told(coins),
        "GET /0/public/Time": lambda _: told({"unixtime": time.time(), "rfc1123": ""}),
        "POST /0/private/AddOrder": placed,
        "POST /0/private/CancelOrder": cancelled,
        "POST /0/private/OpenOrders": lambda _: told({"open": listed(("open",))}),
        "POST /0/private/ClosedOrders": lambda _: told({"closed": listed(closed), "count": 1}),
        "POST /0/private/QueryOrders": lambda _: told(listed(("open", *closed))),
        "POST /0/private/BalanceEx": told(
            {
                "ZUSD": {"balance": "950.1234", "hold_trade": "50"},
                "XXBT": {"balance": "0.0010000000", "hold_trade": "0"},
            }
        ),
        "POST /0/private/TradesHistory": told({"trades": {"THVRQM-33VKH-UCI7BS": trade}}),
        "POST /0/private/CancelAllOrdersAfter": told({"currentTime": iso(), "triggerTime": iso()}),
        "POST /0/private/GetApiKeyInfo": lambda _: told({"permissions": order["may"]}),
    }
    order["may"], order["greedy"] = ["query-funds", "modify-trades"], ["withdraw-funds"]
    secrets = {"KEY": "krakenkey5ec2e7", "SECRET": "a3Jha2Vuc2VjcmV0NWVjMmU3"}
    return Shown(_instrument("kraken", "USD", "0.1", "0.00000001", 10), secrets, answers, number)


def okx(order: dict[str, Any]) -> Shown:
    number = "312269865356374016"

    def told(*data: Any) -> dict[str, Any]:
        return {"code": "0", "msg": "", "data": list(data)}

    def shown(given: Any) -> Any:
        if given.get("clOrdId", order.get("id")) != order.get("id"):
            return {"code": "51603", "msg": "Order does not exist", "data": []}
        return told(
            {
                "instType": "SPOT",
                "instId": "BTC-USDT",
                "ordId": number,
                "clOrdId": order["id"],
                "px": PRICE,
                "sz": SIZE,
                "ordType": "limit",
                "side": "buy",
                "tgtCcy": "",
                "accFillSz": order["filled"],
                "fillSz": "0",
                "avgPx": "",
                "state": order["status"],
                "feeCcy": "BTC",
                "fee": "0",
                "cTime": str(now_ms()),
                "uTime": str(now_ms()),
            }
        )

    def done(given: Any, status: str) -> Any:
        one = given[0] if isinstance(given, list) else given
        if status == "live":
            order.update(id=one["clOrdId"], filled="0")
        order["status"] = status
        return told({"clOrdId": order["id"], "ordId": number, "sCode": "0", "sMsg": ""})

    fill = {
        "instType": "SPOT", "instId": "BTC-USDT", "tradeId": "123", "ordId": number,
        "clOrdId": OURS.replace("-", "Z"), "billId": "1111", "fillPx": PRICE, "fillSz": SIZE,
        "side": "buy", "execType": "M", "feeCcy": "BTC", "fee": "-0.0000008", "ts": str(now_ms()),
    }  # fmt: skip
    market = {
        "instType": "SPOT", "instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT",
        "lotSz": "0.00000001", "minSz": "0.00001", "tickSz": "0.1", "state": "live", "lever": "10",
        "settleCcy": "", "ctVal": "", "ctMult": "", "expTime": "", "listTime": "1548133413000",
        "maxLmtSz": "9999999999", "maxMktSz": "1000000", "uly": "", "instFamily": "",
    }  # fmt: skip
    coin = {"frozenBal": "0", "uTime": str(now_ms())}
    answers = {
        "GET /api/v5/public/instruments": told(market),
        "GET /api/v5/public/time": lambda _: told({"ts": str(now_ms())}),
        "POST /api/v5/trade/order": lambda given: done(given, "live"),
        "POST /api/v5/trade/batch-orders": lambda given: done(given, "live"),
        "POST /api/v5/trade/cancel-order": lambda given: done(given, "canceled"),
        "GET /api/v5/trade/order": shown,
        "GET /api/v5/account/balance": told(
            {
                "details": [
                    {"ccy": "USDT", "cashBal": "950.1234", "eq": "950.1234"}
                    | {"availBal": "950.1234", **coin},
                    {"ccy": "BTC", "cashBal": "0.001", "eq": "0.001", "availBal": "0.001", **coin},
                ]
            }
        ),
        "GET /api/v5/trade/fills": told(fill),
        "GET /api/v5/trade/fills-history": told(fill),
        "POST /api/v5/trade/cancel-all-after": told({"triggerTime": str(now_ms()), "ts": "1"}),
        "GET /api/v5/account/config": lambda _: told({"perm": order["may"], "posMode": "net_mode"}),
    }
    order["may"], order["greedy"] = "read_only,trade", "read_only,trade,withdraw"
    secrets = {"KEY": "okxkey5ec2e7", "SECRET": "okxsecret5ec2e7", "PASSWORD": "okxpass5ec2e7"}
    return Shown(_instrument("okx", "USDT", "0.1", "0.00000001"), secrets, answers, number)


def bybit(order: dict[str, Any]) -> Shown:
    number = "1321003749386327552"

    def told(**result: Any) -> dict[str, Any]:
        return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now_ms()}

    def listed(wanted: tuple[str, ...]) -> Any:
        if order.get("status") not in wanted:
            return told(list=[], nextPageCursor="", category="spot")
        entry = {
            "orderId": number, "orderLinkId": order["id"], "symbol": "BTCUSDT", "price": PRICE,
            "qty": SIZE, "side": "Buy", "orderStatus": order["status"], "orderType": "Limit",
            "timeInForce": "GTC", "cumExecQty": order["filled"], "cumExecValue": "0",
            "avgPrice": "", "leavesQty": SIZE, "cumExecFee": "0", "triggerPrice": "0",
            "stopOrderType": "", "createdTime": str(now_ms()), "updatedTime": str(now_ms()),
        }  # fmt: skip
        return told(list=[entry], nextPageCursor="", category="spot")

    def placed(given: Any) -> Any:
        order.update(id=given["orderLinkId"], status="New", filled="0")
        return told(orderId=number, orderLinkId=order["id"])

    def cancelled(given: Any) -> Any:
        order["status"] = "Cancelled"
        return told(orderId=number, orderLinkId=order["id"])

    def key(_: Any) -> Any:
        return told(id="1", readOnly=0, permissions=order["may"], uta=1, unified=0, ips=["*"])

    fill = {
        "symbol": "BTCUSDT", "orderId": number, "orderLinkId": OURS, "side": "Buy",
        "orderType": "Limit", "execId": "e0cbe81d-0f18-5866-9415-cf319b5dab3b",
        "execTime": str(now_ms()), "execPrice": PRICE, "execQty": SIZE, "execValue": "50",
        "execFee": "0.000001", "feeCurrency": "BTC", "feeRate": "0.001", "isMaker": True,
        "execType": "Trade", "leavesQty": "0",
    }  # fmt: skip
    market = {
        "symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "innovation": "0",
        "status": "Trading", "marginTrading": "both", "priceFilter": {"tickSize": "0.01"},
        "lotSizeFilter": {
            "basePrecision": "0.000001", "quotePrecision": "0.00000001", "maxOrderAmt": "4000000",
            "minOrderQty": "0.000048", "maxOrderQty": "71.73956243", "minOrderAmt": "1",
        },
    }  # fmt: skip
    coins = [
        {"coin": "USDT", "walletBalance": "950.1234", "equity": "950.1234", "locked": "0"},
        {"coin": "BTC", "walletBalance": "0.001", "equity": "0.001", "locked": "0"},
    ]
    closed = ("Cancelled", "Filled")
    answers = {
        "GET /v5/market/instruments-info": told(category="spot", list=[market]),
        "GET /v5/market/time": lambda _: told(
            timeSecond=str(now_ms() // 1_000), timeNano=str(now_ms() * 1_000_000)
        ),
        "GET /v5/user/query-api": key,
        "GET /v5/account/info": told(unifiedMarginStatus=6, marginMode="REGULAR_MARGIN"),
        "POST /v5/order/create": placed,
        "POST /v5/order/cancel": cancelled,
        "GET /v5/order/realtime": lambda _: listed(("New",)),
        "GET /v5/order/history": lambda _: listed(closed),
        "GET /v5/account/wallet-balance": told(list=[{"accountType": "UNIFIED", "coin": coins}]),
        "GET /v5/execution/list": told(list=[fill], nextPageCursor="", category="spot"),
    }
    order["may"] = {"Spot": ["SpotTrade"], "Wallet": ["AccountTransfer"]}
    order["greedy"] = {"Spot": ["SpotTrade"], "Wallet": ["AccountTransfer", "Withdraw"]}
    secrets = {"KEY": "bybitkey5ec2e7", "SECRET": "bybitsecret5ec2e7"}
    return Shown(_instrument("bybit", "USDT", "0.01", "0.000001"), secrets, answers, number)


def coinbase(order: dict[str, Any]) -> Shown:
    number = "52cfe5e2-0b29-4c19-a245-a6a773de5030"

    def listed(given: Any) -> Any:
        if "status" not in order:
            return {"orders": [], "has_next": False, "cursor": ""}
        entry = {
            "order_id": number, "client_order_id": order["id"], "product_id": "BTC-USD",
            "side": "BUY", "status": order["status"], "time_in_force": "GOOD_UNTIL_CANCELLED",
            "created_time": iso(), "filled_size": order["filled"], "average_filled_price": "0",
            "filled_value": "0", "total_fees": "0", "order_type": "LIMIT", "product_type": "SPOT",
            "order_configuration": {
                "limit_limit_gtc": {"base_size": SIZE, "limit_price": PRICE, "post_only": False}
            },
        }  # fmt: skip
        wanted = given.get("order_status", order["status"])
        return {"orders": [entry] if wanted == order["status"] else [], "has_next": False}

    def placed(given: Any) -> Any:
        order.update(id=given["client_order_id"], status="OPEN", filled="0")
        answer = {"order_id": number, "product_id": "BTC-USD", "side": "BUY"}
        return {
            "success": True,
            "order_id": number,
            "success_response": answer | {"client_order_id": order["id"]},
        }

    def cancelled(given: Any) -> Any:
        order["status"] = "CANCELLED"
        return {"results": [{"success": True, "failure_reason": "", "order_id": number}]}

    product = {
        "product_id": "BTC-USD", "price": PRICE, "base_increment": "0.00000001",
        "quote_increment": "0.01", "quote_min_size": "1", "quote_max_size": "150000000",
        "base_min_size": "0.00000001", "base_max_size": "3400", "base_name": "Bitcoin",
        "quote_name": "US Dollar", "status": "online", "cancel_only": False, "limit_only": False,
        "post_only": False, "trading_disabled": False, "auction_mode": False, "is_disabled": False,
        "product_type": "SPOT", "quote_currency_id": "USD", "base_currency_id": "BTC",
        "price_increment": "0.01", "volume_24h": "1", "price_percentage_change_24h": "1",
    }  # fmt: skip
    fill = {
        "entry_id": "b88b82cc89e326a2", "trade_id": "cdc39e45-bbd3-44ec-bf02-61742dfb16a1",
        "order_id": number, "trade_time": iso(), "trade_type": "FILL", "price": PRICE, "size": SIZE,
        "commission": "0.2", "product_id": "BTC-USD", "sequence_timestamp": iso(),
        "liquidity_indicator": "MAKER", "size_in_quote": False, "side": "BUY",
    }  # fmt: skip
    accounts = [
        {
            "uuid": f"0000-{coin}",
            "name": coin,
            "currency": coin,
            "active": True,
            "type": kind,
            "available_balance": {"value": amount, "currency": coin},
            "hold": {"value": "0", "currency": coin},
        }
        for coin, amount, kind in (
            ("USD", "950.1234", "ACCOUNT_TYPE_FIAT"),
            ("BTC", "0.001", "ACCOUNT_TYPE_CRYPTO"),
        )
    ]
    fees = {"fee_tier": {"taker_fee_rate": "0.006", "maker_fee_rate": "0.004"}}
    base = "/api/v3/brokerage"
    answers = {
        f"GET {base}/products": {"products": [product], "num_products": 1},
        f"GET {base}/market/products": {"products": [product], "num_products": 1},
        f"GET {base}/transaction_summary": fees,
        f"GET {base}/time": lambda _: {"epochMillis": str(now_ms()), "iso": iso()},
        "GET /v2/time": lambda _: {"data": {"iso": iso(), "epoch": now_ms() // 1_000}},
        f"POST {base}/orders": placed,
        f"POST {base}/orders/batch_cancel": cancelled,
        f"GET {base}/orders/historical/batch": listed,
        f"GET {base}/orders/historical/{number}": lambda _: {"order": listed({})["orders"][0]},
        f"GET {base}/accounts": {"accounts": accounts, "has_next": False, "cursor": ""},
        f"GET {base}/orders/historical/fills": {"fills": [fill], "cursor": ""},
        f"GET {base}/key_permissions": lambda _: {
            "can_view": True,
            "can_trade": True,
            "can_transfer": order["may"],
        },
    }
    order["may"], order["greedy"] = False, True
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    secrets = {"KEY": "organizations/abc/apiKeys/def", "SECRET": pem.decode()}
    return Shown(_instrument("coinbase", "USD", "0.01", "0.00000001"), secrets, answers, number)
