"""How orders, trades and events look on the wire."""

from typing import Any

from seawall.core.clock import MILLISECOND
from seawall.core.events import Side
from seawall.core.orders import OrderType
from seawall.exchange.account import Account
from seawall.exchange.listing import Listing, decimal_text, plain
from seawall.exchange.market import PublicMarket
from seawall.exchange.orders import Execution, Record
from seawall.exchange.wallet import Event, Wallet

Json = dict[str, Any]


def side_of(side: Side) -> str:
    return "BUY" if side is Side.BUY else "SELL"


# --- spot ---


def spot_order(record: Record) -> Json:
    """An order as queries give it."""
    listing, wish = record.listing, record.wish
    return {
        "symbol": listing.symbol,
        "orderId": record.number,
        "orderListId": -1,
        "clientOrderId": wish.client,
        "price": listing.price(wish.ticks),
        "origQty": listing.size(wish.lots),
        "executedQty": listing.size(record.filled),
        "origQuoteOrderQty": listing.amount(wish.quote),
        "cummulativeQuoteQty": listing.amount(record.value),
        "status": record.status,
        "timeInForce": wish.force,
        "type": wish.type,
        "side": wish.side,
        "stopPrice": listing.price(wish.stop),
        "icebergQty": listing.size(0),
        "time": record.placed,
        "updateTime": record.updated,
        "isWorking": not record.waits,
        "workingTime": -1 if record.waits else record.triggered or record.placed,
        "selfTradePreventionMode": wish.prevention,
    }


def spot_answer(record: Record, kind: str) -> Json:
    """What a new order is answered with: ACK, RESULT or FULL."""
    listing = record.listing
    answer: Json = {
        "symbol": listing.symbol,
        "orderId": record.number,
        "orderListId": -1,
        "clientOrderId": record.wish.client,
        "transactTime": record.updated,
    }
    if kind == "ACK":
        return answer
    order = spot_order(record)
    for name in ("time", "updateTime", "isWorking", "icebergQty"):
        del order[name]
    if not record.wish.stop:
        del order["stopPrice"]
    answer |= order
    if kind == "FULL":
        answer["fills"] = [
            {
                "price": listing.price(each.fill.price),
                "qty": listing.size(each.fill.size),
                "commission": listing.amount(each.fill.fee),
                "commissionAsset": each.fill.fee_asset,
                "tradeId": each.fill.sequence,
            }
            for each in record.fills
        ]
    return answer


def spot_cancelled(record: Record, cancel_id: str) -> Json:
    """What a cancelled order is answered with."""
    order = spot_order(record)
    for name in ("time", "updateTime", "isWorking", "workingTime", "icebergQty"):
        del order[name]
    order["origClientOrderId"] = record.wish.client
    order["clientOrderId"] = cancel_id
    order["transactTime"] = record.updated
    return order


def my_trade(execution: Execution, listing: Listing) -> Json:
    """One of an account's spot trades."""
    fill = execution.fill
    return {
        "symbol": listing.symbol,
        "id": fill.sequence,
        "orderId": execution.number,
        "orderListId": -1,
        "price": listing.price(fill.price),
        "qty": listing.size(fill.size),
        "quoteQty": listing.amount(listing.instrument.value(fill.price, fill.size)),
        "commission": listing.amount(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": execution.ms,
        "isBuyer": fill.side is Side.BUY,
        "isMaker": fill.maker,
        "isBestMatch": True,
    }


def spot_balances(wallet: Wallet) -> list[Json]:
    """All balances of a spot wallet."""
    decimals: dict[str, int] = {}
    for listing in wallet.listed.values():
        decimals[listing.instrument.base] = listing.instrument.base_decimals
        decimals[listing.instrument.settle_asset] = listing.instrument.settle_decimals
    names = sorted({*decimals, *wallet.engine.accounts.balances})
    answer = []
    for asset in names:
        locked = wallet.locked(asset)
        free = wallet.balance(asset) - locked
        places = decimals.get(asset, 8)
        answer.append(
            {
                "asset": asset,
                "free": decimal_text(free, places),
                "locked": decimal_text(locked, places),
            }
        )
    return answer


def execution_report(event: Event, now: int) -> Json:
    """`executionReport` of the spot user stream."""
    record = event.record
    assert record is not None
    listing, wish, execution = record.listing, record.wish, event.execution
    fill = execution.fill if execution else None
    value = listing.instrument.value(fill.price, fill.size) if fill else 0
    cancelled = event.what == "CANCELED"
    return {
        "e": "executionReport",
        "E": now,
        "s": listing.symbol,
        "c": f"cancel-{record.number}" if cancelled else wish.client,
        "S": wish.side,
        "o": wish.type,
        "f": wish.force,
        "q": listing.size(wish.lots),
        "p": listing.price(wish.ticks),
        "P": listing.price(wish.stop),
        "F": listing.size(0),
        "g": -1,
        "C": wish.client if cancelled else "",
        "x": event.what,
        "X": event.status,
        "r": "NONE",
        "i": record.number,
        "l": listing.size(fill.size if fill else 0),
        "z": listing.size(event.filled),
        "L": listing.price(fill.price if fill else 0),
        "n": listing.amount(fill.fee) if fill else "0",
        "N": fill.fee_asset if fill else None,
        "T": event.ms,
        "t": fill.sequence if fill else -1,
        "I": record.number,
        "w": not record.waits,
        "m": fill.maker if fill else False,
        "M": False,
        "O": record.placed,
        "Z": listing.amount(event.value),
        "Y": listing.amount(value),
        "Q": listing.amount(wish.quote),
        "W": record.placed,
        "V": wish.prevention,
    }


def account_position(wallet: Wallet, now: int) -> Json:
    """`outboundAccountPosition` of the spot user stream."""
    return {
        "e": "outboundAccountPosition",
        "E": now,
        "u": wallet.updated,
        "B": [
            {"a": each["asset"], "f": each["free"], "l": each["locked"]}
            for each in spot_balances(wallet)
        ],
    }


# --- USD-M ---


def _shown_type(record: Record) -> str:
    """The type that a triggered order goes on as."""
    if not record.triggered:
        return record.wish.type
    return "LIMIT" if record.order.type.priced else "MARKET"


def usdm_order(record: Record) -> Json:
    """An order of a contract."""
    listing, wish = record.listing, record.wish
    answer = {
        "orderId": record.number,
        "symbol": listing.symbol,
        "status": record.status,
        "clientOrderId": wish.client,
        "price": listing.price(wish.ticks),
        "avgPrice": listing.average(record.value, record.filled),
        "origQty": listing.size(wish.lots),
        "executedQty": listing.size(record.filled),
        "cumQty": listing.size(record.filled),
        "cumQuote": plain(record.value, listing.instrument.settle_decimals),
        "timeInForce": wish.force,
        "type": _shown_type(record) if wish.conditional else wish.type,
        "reduceOnly": wish.reduce or wish.close,
        "closePosition": wish.close,
        "side": wish.side,
        "positionSide": "BOTH",
        "stopPrice": listing.price(0 if wish.conditional else wish.stop),
        "workingType": "MARK_PRICE" if wish.mark else "CONTRACT_PRICE",
        "priceProtect": wish.protect,
        "origType": wish.type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": wish.prevention,
        "goodTillDate": wish.good_till,
        "time": record.triggered or record.placed,
        "updateTime": record.updated,
    }
    if record.order.type is OrderType.TRAILING_STOP:
        answer["activatePrice"] = listing.price(wish.stop)
        answer["priceRate"] = plain(wish.rate, 4)
    return answer


_ALGO_STATUS = {"NEW": "NEW", "CANCELED": "CANCELED", "EXPIRED": "EXPIRED"}


def algo_status(record: Record) -> str:
    """Of a conditional order: NEW until it is triggered."""
    if record.waits:
        return "NEW"
    if record.triggered:
        return "TRIGGERED" if record.open else "FINISHED"
    return _ALGO_STATUS.get(record.status, "EXPIRED")


def algo_order(record: Record) -> Json:
    """A conditional order of a contract."""
    listing, wish = record.listing, record.wish
    trails = record.order.type is OrderType.TRAILING_STOP
    answer = {
        "algoId": record.number,
        "clientAlgoId": wish.client,
        "algoType": "CONDITIONAL",
        "orderType": wish.type,
        "symbol": listing.symbol,
        "side": wish.side,
        "positionSide": "BOTH",
        "timeInForce": wish.force,
        "quantity": listing.size(wish.lots),
        "algoStatus": algo_status(record),
        "actualOrderId": str(record.number) if record.triggered else "",
        "actualPrice": listing.average(record.value, record.filled),
        "triggerPrice": listing.price(0 if trails else wish.stop),
        "price": listing.price(wish.ticks),
        "icebergQuantity": None,
        "selfTradePreventionMode": wish.prevention,
        "workingType": "MARK_PRICE" if wish.mark else "CONTRACT_PRICE",
        "priceMatch": "NONE",
        "closePosition": wish.close,
        "priceProtect": wish.protect,
        "reduceOnly": wish.reduce or wish.close,
        "createTime": record.placed,
        "updateTime": record.updated,
        "triggerTime": record.triggered,
        "goodTillDate": wish.good_till,
    }
    if trails:
        answer["activatePrice"] = listing.price(wish.stop)
        answer["callbackRate"] = plain(wish.rate, 4)
    return answer


def user_trade(execution: Execution, listing: Listing) -> Json:
    """One of an account's trades of a contract."""
    fill = execution.fill
    value = listing.instrument.value(fill.price, fill.size)
    return {
        "symbol": listing.symbol,
        "id": fill.sequence,
        "orderId": execution.number,
        "side": side_of(fill.side),
        "price": listing.price(fill.price),
        "qty": listing.size(fill.size),
        "realizedPnl": listing.amount(execution.realised),
        "quoteQty": listing.amount(value),
        "commission": listing.amount(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": execution.ms,
        "positionSide": "BOTH",
        "buyer": fill.side is Side.BUY,
        "maker": fill.maker,
    }


def order_trade_update(event: Event, listing: Listing, now: int) -> Json:
    """`ORDER_TRADE_UPDATE` of the USD-M user stream; of a liquidation there is no record."""
    record, execution = event.record, event.execution
    fill = execution.fill if execution else None
    order: Json = {"s": listing.symbol}
    if record is not None:
        wish = record.wish
        order |= {
            "c": wish.client,
            "S": wish.side,
            "o": _shown_type(record),
            "f": wish.force,
            "q": listing.size(wish.lots),
            "p": listing.price(wish.ticks),
            "ap": listing.average(event.value, event.filled),
            "sp": listing.price(wish.stop),
            "i": record.number,
            "z": listing.size(event.filled),
            "R": wish.reduce or wish.close,
            "wt": "MARK_PRICE" if wish.mark else "CONTRACT_PRICE",
            "ot": wish.type,
            "cp": wish.close,
            "V": wish.prevention,
            "gtd": wish.good_till,
        }
    elif fill is not None:
        order |= {
            "c": f"autoclose-{fill.sequence}",
            "S": side_of(fill.side),
            "o": "MARKET",
            "f": "IOC",
            "q": listing.size(fill.size),
            "p": listing.price(0),
            "ap": listing.price(fill.price),
            "sp": listing.price(0),
            "i": 0,
            "z": listing.size(fill.size),
            "R": True,
            "wt": "MARK_PRICE",
            "ot": "LIQUIDATION",
            "cp": False,
            "V": "NONE",
            "gtd": 0,
        }
    order |= {
        "x": {"LIQUIDATION": "CALCULATED", "TRIGGERED": "NEW"}.get(event.what, event.what),
        "X": event.status or "FILLED",
        "l": listing.size(fill.size if fill else 0),
        "L": listing.price(fill.price if fill else 0),
        "n": listing.amount(fill.fee if fill else 0),
        "N": listing.instrument.settle_asset,
        "T": event.ms,
        "t": fill.sequence if fill else 0,
        "b": "0",
        "a": "0",
        "m": fill.maker if fill else False,
        "ps": "BOTH",
        "pP": False,
        "si": 0,
        "ss": 0,
        "rp": listing.amount(execution.realised if execution else 0),
        "pm": "NONE",
    }
    return {"e": "ORDER_TRADE_UPDATE", "E": now, "T": event.ms, "o": order}


def algo_update(event: Event, now: int) -> Json:
    """`ALGO_UPDATE` of the USD-M user stream."""
    record = event.record
    assert record is not None
    listing, wish = record.listing, record.wish
    return {
        "e": "ALGO_UPDATE",
        "E": now,
        "T": event.ms,
        "o": {
            "caid": wish.client,
            "aid": record.number,
            "at": "CONDITIONAL",
            "o": wish.type,
            "s": listing.symbol,
            "S": wish.side,
            "ps": "BOTH",
            "f": wish.force,
            "q": listing.size(wish.lots),
            "X": algo_status(record),
            "ai": str(record.number) if record.triggered else "",
            "ap": listing.average(record.value, record.filled),
            "aq": listing.size(record.filled),
            "act": "0",
            "tp": listing.price(wish.stop),
            "p": listing.price(wish.ticks),
            "V": wish.prevention,
            "wt": "MARK_PRICE" if wish.mark else "CONTRACT_PRICE",
            "pm": "NONE",
            "cp": wish.close,
            "pP": wish.protect,
            "R": wish.reduce or wish.close,
            "tt": record.triggered,
            "gtd": wish.good_till,
            "rm": record.reason if not record.open else "",
        },
    }


def account_update(
    account: Account, market: PublicMarket, listings: list[Listing], reason: str, now: int, ms: int
) -> Json:
    """`ACCOUNT_UPDATE` of the USD-M user stream, of the contracts that changed."""
    wallet = account.usdm
    assets = sorted(wallet.engine.accounts.balances)
    return {
        "e": "ACCOUNT_UPDATE",
        "E": now,
        "T": ms,
        "a": {
            "m": reason,
            "B": [
                {
                    "a": asset,
                    "wb": decimal_text(wallet.balance(asset), 8),
                    "cw": decimal_text(wallet.balance(asset), 8),
                    "bc": "0",
                }
                for asset in assets
            ],
            "P": [
                {
                    "s": listing.symbol,
                    "pa": listing.size(wallet.position(listing).lots),
                    "ep": entry_price(wallet, listing),
                    "bep": entry_price(wallet, listing),
                    "cr": "0",
                    "up": listing.amount(account.unrealised(listing, market)),
                    "mt": "cross",
                    "iw": "0",
                    "ps": "BOTH",
                }
                for listing in listings
            ],
        },
    }


def entry_price(wallet: Wallet, listing: Listing) -> str:
    """The mean price of the open lots."""
    position = wallet.position(listing)
    return listing.average(position.cost, abs(position.lots))


def milliseconds(ns: int) -> int:
    """Ns as ms."""
    return ns // MILLISECOND
