"""Spot: orders, account and trades over REST and the WebSocket API."""

from seawall.exchange import answers, refusals, trading
from seawall.exchange.answers import Json
from seawall.exchange.calls import Call, Endpoint, Security, by_symbol
from seawall.exchange.listing import Listing, Market, decimal_text, number
from seawall.exchange.orders import TYPES, Record, Wish

FORCES = ("GTC", "IOC", "FOK")
_LIMITS = ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
_KINDS = ("ACK", "RESULT", "FULL")


def wish_of_call(call: Call, client: str) -> Wish:
    """A new order as it was asked for.

    Raises:
        Refusal: a parameter is missing, wrong, or against a filter.
    """
    listing, book = call.listing(), call.book()
    call.need("side")
    side = call.choice("side", ("BUY", "SELL"), "", -1117)
    call.need("type")
    kind = call.choice("type", tuple(TYPES), "", -1116)
    for unknown in ("icebergQty", "pegPriceType"):
        if call.text(unknown) is not None:
            raise refusals.unsupported(f"There is no {unknown} here.")
    limited = kind in _LIMITS
    if limited:
        call.need("timeInForce")
    elif call.text("timeInForce") is not None:
        raise refusals.not_required("timeInForce")
    force = call.choice("timeInForce", FORCES, "GTC", -1115)
    ticks = 0
    if limited or kind == "LIMIT_MAKER":
        ticks = listing.ticks("price", call.need("price"))
        listing.check_band(side == "BUY", ticks, book.last or book.mark)
    elif call.text("price") is not None:
        raise refusals.not_required("price")
    stop, rate = _trigger(call, listing, kind)
    lots, quote = _size(call, listing, kind, side)
    price = ticks or stop or trading.reference(book, side)
    if price:
        listing.check_notional(price, lots)
    call.wallet.check_room(listing.symbol, bool(stop or rate))
    wish = Wish(
        number=call.wallet.next_number(),
        client=client,
        type=kind,
        force=force,
        side=side,
        lots=lots,
        ticks=ticks,
        stop=stop,
        rate=rate,
        quote=quote,
        prevention=call.choice("selfTradePreventionMode", trading.MODES, trading.MODES[0], -1130),
    )
    _check_funds(call, listing, wish)
    return wish


def _trigger(call: Call, listing: Listing, kind: str) -> tuple[int, int]:
    """Trigger price in ticks, and the distance of a trailing one in ppm."""
    price, delta = call.text("stopPrice"), call.integer("trailingDelta")
    if not TYPES[kind].waits:
        if price is not None or delta is not None:
            raise refusals.not_required("stopPrice" if price is not None else "trailingDelta")
        return 0, 0
    if price is None and delta is None:
        raise refusals.either("stopPrice", "trailingDelta")
    if delta is not None and kind != "STOP_LOSS":
        raise refusals.unsupported("trailingDelta is for STOP_LOSS orders.")
    if delta is not None and not 10 <= delta <= 2_000:
        raise refusals.filtered("TRAILING_DELTA")
    stop = listing.ticks("stopPrice", price) if price is not None else 0
    return stop, (delta or 0) * 100


def _size(call: Call, listing: Listing, kind: str, side: str) -> tuple[int, int]:
    """Lots, and the amount of the quote asset that they came from."""
    wanted = call.text("quoteOrderQty")
    if wanted is None:
        return listing.lots("quantity", call.need("quantity")), 0
    if kind != "MARKET" or call.text("quantity") is not None:
        raise refusals.bad_combination()
    quote = int(number("quoteOrderQty", wanted) * 10**listing.instrument.settle_decimals)
    lots = trading.lots_for(call.book(), side, quote)
    if lots <= 0:
        raise refusals.filtered("NOTIONAL")
    return lots, quote


def _check_funds(call: Call, listing: Listing, wish: Wish) -> None:
    """Refusal where what is not locked does not suffice, stops that wait being locked too."""
    instrument, wallet = listing.instrument, call.wallet
    if wish.side == "SELL":
        asset, needed = instrument.base, wish.lots * instrument.base_unit
    elif wish.ticks or wish.stop:
        asset = instrument.settle_asset
        needed = instrument.value(wish.ticks or wish.stop, wish.lots)
    else:
        return  # what a market order costs the venue knows
    if needed > wallet.balance(asset) - wallet.locked(asset):
        raise refusals.rejected("Account has insufficient balance for requested action.")


# --- orders ---


def _kind(call: Call, wish: Wish) -> str:
    default = "FULL" if wish.type in ("MARKET", "LIMIT") else "ACK"
    return call.choice("newOrderRespType", _KINDS, default, -1136)


def _new_order(call: Call) -> Json:
    client = trading.client_id_of(call, "newClientOrderId")
    wish = wish_of_call(call, client)
    kind = _kind(call, wish)
    record = trading.place(call.exchange, call, wish, call.listing())
    return answers.spot_answer(record, kind)


def _test_order(call: Call) -> Json:
    wish_of_call(call, trading.client_id_of(call, "newClientOrderId"))
    return {}


def _query(call: Call) -> Json:
    return answers.spot_order(call.order())


def _cancel_id(call: Call, record: Record, name: str = "newClientOrderId") -> str:
    return call.client_id(name) or f"cancel-{record.number}"


def _check_restrictions(call: Call, record: Record) -> None:
    """Refusal where an order may only be cancelled in another state than it is in."""
    wanted = call.choice("cancelRestrictions", ("ONLY_NEW", "ONLY_PARTIALLY_FILLED"), "", -1145)
    if wanted and wanted != f"ONLY_{record.status}":
        raise refusals.RefusalError(
            -2011, "Order was not canceled due to cancel restrictions.", 400
        )


def _cancel(call: Call) -> Json:
    record = trading.open_order(call)
    _check_restrictions(call, record)
    trading.cancel(call.exchange, call, [record])
    return answers.spot_cancelled(record, _cancel_id(call, record))


def _cancel_all(call: Call) -> list[Json]:
    records = call.wallet.open_of(call.listing().symbol)
    if not records:
        raise refusals.unknown_order()
    trading.cancel(call.exchange, call, records)
    return [answers.spot_cancelled(each, _cancel_id(call, each)) for each in records]


def _cancel_replace(call: Call) -> Json:
    call.need("cancelReplaceMode")
    mode = call.choice("cancelReplaceMode", ("STOP_ON_FAILURE", "ALLOW_FAILURE"), "", -1130)
    answer: Json = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED"}
    answer |= {"cancelResponse": None, "newOrderResponse": None}
    failed: list[refusals.RefusalError] = []
    try:
        record = trading.open_order(call, "cancelOrderId", "cancelOrigClientOrderId")
        _check_restrictions(call, record)
        trading.cancel(call.exchange, call, [record])
        name = _cancel_id(call, record, "cancelNewClientOrderId")
        answer["cancelResponse"] = answers.spot_cancelled(record, name)
    except refusals.RefusalError as refusal:
        failed.append(refusal)
        answer["cancelResult"] = "FAILURE"
        answer["cancelResponse"] = {"code": refusal.code, "msg": refusal.text}
    if not failed or mode == "ALLOW_FAILURE":
        try:
            answer["newOrderResponse"] = _new_order(call)
            answer["newOrderResult"] = "SUCCESS"
        except refusals.RefusalError as refusal:
            failed.append(refusal)
            answer["newOrderResult"] = "FAILURE"
            answer["newOrderResponse"] = {"code": refusal.code, "msg": refusal.text}
    if not failed:
        return answer
    whole = "FAILURE" not in (answer["cancelResult"], answer["newOrderResult"]) or (
        "SUCCESS" not in (answer["cancelResult"], answer["newOrderResult"])
    )
    raise Partial(
        -2022 if whole else -2021,
        "Order cancel-replace failed." if whole else "Order cancel-replace partially failed.",
        answer,
        400 if whole else 409,
    )


class Partial(refusals.RefusalError):
    """A failure of which a part may have been done; `data` says which."""

    def __init__(self, code: int, text: str, data: Json, status: int) -> None:
        super().__init__(code, text, status)
        self.data = data


def _open_orders(call: Call) -> list[Json]:
    listing = call.listing_if_any()
    records = call.wallet.open_of(listing.symbol if listing else None)
    return [answers.spot_order(each) for each in records]


def _all_orders(call: Call) -> list[Json]:
    symbol = call.listing().symbol
    records = [each for each in call.wallet.records.values() if each.listing.symbol == symbol]
    return [answers.spot_order(each) for each in trading.orders_asked(call, records)]


def _my_trades(call: Call) -> list[Json]:
    listing = call.listing()
    found = trading.trades_asked(call, call.wallet.executions, listing.symbol)
    return [answers.my_trade(each, listing) for each in found]


# --- the account ---


def _rate(ppm: int) -> str:
    return decimal_text(ppm * 100, 8)


def _account(call: Call) -> Json:
    wallet = call.wallet
    maker, taker = call.exchange.terms.spot_fees_ppm
    balances = answers.spot_balances(wallet)
    if call.flag("omitZeroBalances"):
        zero = decimal_text(0, 8)
        balances = [each for each in balances if {each["free"], each["locked"]} != {zero}]
    return {
        "makerCommission": maker // 100,
        "takerCommission": taker // 100,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": _rate(maker),
            "taker": _rate(taker),
            "buyer": _rate(0),
            "seller": _rate(0),
        },
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": wallet.updated,
        "accountType": "SPOT",
        "balances": balances,
        "permissions": ["SPOT"],
        "uid": 1 + list(call.exchange.accounts).index(call.owner.name),
    }


def _commission(call: Call) -> Json:
    maker, taker = call.exchange.terms.spot_fees_ppm
    none = {"maker": _rate(0), "taker": _rate(0), "buyer": _rate(0), "seller": _rate(0)}
    return {
        "symbol": call.listing().symbol,
        "standardCommission": none | {"maker": _rate(maker), "taker": _rate(taker)},
        "taxCommission": none,
        "specialCommission": none,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": _rate(0),
        },
    }


def _trade_fees(call: Call) -> list[Json]:
    maker, taker = call.exchange.terms.spot_fees_ppm
    one = call.listing_if_any()
    listed = [one] if one else list(call.exchange.listed[Market.SPOT].values())
    return [
        {"symbol": each.symbol, "makerCommission": _rate(maker), "takerCommission": _rate(taker)}
        for each in listed
    ]


def _restrictions(call: Call) -> Json:
    """What the key may do."""
    assert call.key is not None  # a signed call carries one
    may = call.key.permissions
    return {
        "ipRestrict": bool(call.key.ips),
        "createTime": call.exchange.opened // 1_000_000,
        "enableReading": "read" in may,
        "enableSpotAndMarginTrading": "trade" in may,
        "enableFutures": "trade" in may,
        "enableWithdrawals": "withdraw" in may,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableVanillaOptions": False,
        "permitsUniversalTransfer": False,
        "enablePortfolioMarginTrading": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
    }


def _coins(call: Call) -> list[Json]:
    names = {
        name
        for market in Market
        for each in call.exchange.listed[market].values()
        for name in (each.instrument.base, each.instrument.settle_asset)
    }
    spot = {each["asset"]: each for each in answers.spot_balances(call.owner.spot)}
    nothing = {"free": "0", "locked": "0"}
    return [
        {
            "coin": name,
            "name": name,
            "depositAllEnable": False,
            "withdrawAllEnable": False,
            "trading": True,
            "isLegalMoney": False,
            "free": spot.get(name, nothing)["free"],
            "locked": spot.get(name, nothing)["locked"],
            "networkList": [],
        }
        for name in sorted(names)
    ]


def _system_status(call: Call) -> Json:
    return {"status": 0, "msg": "normal"}


def _account_status(call: Call) -> Json:
    return {"data": "Normal"}


def _nothing(call: Call) -> list[Json]:
    """What is not traded here: margin pairs."""
    return []


def _withdraw(call: Call) -> Json:
    raise refusals.unsupported("Nothing can be withdrawn from the practice exchange.")


def endpoints() -> dict[tuple[str, str], Endpoint]:
    """(method, path) → what answers."""
    spot, read, trade = Market.SPOT, Security.READ, Security.TRADE
    base = "/api/v3"
    return {
        ("POST", f"{base}/order"): Endpoint(_new_order, spot, trade, 1, 1),
        ("POST", f"{base}/order/test"): Endpoint(_test_order, spot, trade),
        ("GET", f"{base}/order"): Endpoint(_query, spot, read, 4),
        ("DELETE", f"{base}/order"): Endpoint(_cancel, spot, trade),
        ("POST", f"{base}/order/cancelReplace"): Endpoint(_cancel_replace, spot, trade, 1, 1),
        ("GET", f"{base}/openOrders"): Endpoint(_open_orders, spot, read, by_symbol(6, 80)),
        ("DELETE", f"{base}/openOrders"): Endpoint(_cancel_all, spot, trade),
        ("GET", f"{base}/allOrders"): Endpoint(_all_orders, spot, read, 20),
        ("GET", f"{base}/myTrades"): Endpoint(_my_trades, spot, read, 20),
        ("GET", f"{base}/account"): Endpoint(_account, spot, read, 20),
        ("GET", f"{base}/account/commission"): Endpoint(_commission, spot, read, 20),
        ("GET", "/sapi/v1/asset/tradeFee"): Endpoint(_trade_fees, spot, read),
        ("GET", "/sapi/v1/account/apiRestrictions"): Endpoint(_restrictions, spot, read),
        ("GET", "/sapi/v1/account/status"): Endpoint(_account_status, spot, read),
        ("GET", "/sapi/v1/capital/config/getall"): Endpoint(_coins, spot, read, 10),
        ("GET", "/sapi/v1/margin/allPairs"): Endpoint(_nothing, spot, read),
        ("GET", "/sapi/v1/margin/isolated/allPairs"): Endpoint(_nothing, spot, read),
        ("POST", "/sapi/v1/capital/withdraw/apply"): Endpoint(_withdraw, spot, trade),
        ("GET", "/sapi/v1/system/status"): Endpoint(_system_status, spot),
    }
