"""USD-M: orders of contracts over REST and the WebSocket API."""

from collections.abc import Callable
from typing import Any

import msgspec

from seawall.core.clock import MILLISECOND
from seawall.exchange import answers, refusals, trading, usdm_account
from seawall.exchange.answers import Json
from seawall.exchange.calls import Call, Endpoint, Security, by_symbol
from seawall.exchange.listing import Listing, Market, number
from seawall.exchange.orders import FUTURES_TYPES, Record, Wish

PLAIN = ("LIMIT", "MARKET")
CONDITIONAL = tuple(kind for kind in FUTURES_TYPES if kind not in PLAIN)
FORCES = ("GTC", "IOC", "FOK", "GTX", "GTD")
MOST_BATCH = 5
SOONEST = 600_000  # ms that a GTD order must live at least
_WORKING = ("CONTRACT_PRICE", "MARK_PRICE")


def _invalid(code: int, text: str) -> refusals.RefusalError:
    return refusals.RefusalError(code, text)


def _sides(call: Call) -> str:
    """The side; with one position per contract there is no other."""
    call.need("side")
    side = call.choice("side", ("BUY", "SELL"), "", -1117)
    position = call.choice("positionSide", ("BOTH", "LONG", "SHORT"), "BOTH", -4060)
    if (position == "BOTH") == call.owner.choices.hedge:
        raise _invalid(-4061, "Order's position side does not match user's setting.")
    if call.owner.choices.hedge:
        raise refusals.unsupported("The practice exchange keeps one position per contract.")
    return side


def _force(call: Call, kind: str) -> tuple[str, int]:
    """Time in force, and until when (ms) a GTD order lives."""
    if kind == "LIMIT":
        call.need("timeInForce")
    elif kind == "MARKET" and call.text("timeInForce") is not None:
        raise refusals.not_required("timeInForce")
    force = call.choice("timeInForce", FORCES, "GTC", -1115)
    if force != "GTD":
        return force, 0
    until = call.integer("goodTillDate")
    if until is None:
        raise refusals.missing("goodTillDate")
    if until <= call.now + SOONEST:
        raise _invalid(
            -5040,
            "The goodTillDate timestamp must be greater than the current time plus 600 seconds "
            "and smaller than 253402300799000",
        )
    return force, until


def wish_of_call(call: Call, client: str) -> Wish:
    """A plain order as it was asked for. Refusal: a parameter is wrong, or against a filter."""
    listing, book = call.listing(), call.book()
    side = _sides(call)
    call.need("type")
    kind = call.choice("type", tuple(FUTURES_TYPES), "", -1116)
    if kind in CONDITIONAL:
        raise _invalid(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints "
            "instead.",
        )
    if call.text("priceMatch") not in (None, "NONE"):
        raise refusals.unsupported("There is no priceMatch here.")
    force, until = _force(call, kind)
    ticks = 0
    if kind == "LIMIT":
        ticks = listing.ticks("price", call.need("price"))
        listing.check_band(side == "BUY", ticks, book.mark)
    elif call.text("price") is not None:
        raise refusals.not_required("price")
    lots = listing.lots("quantity", call.need("quantity"))
    reduce = call.flag("reduceOnly")
    price = ticks or trading.reference(book, side)
    if price and not reduce:
        listing.check_notional(price, lots)
        call.owner.check_margin(call.public, listing, side, lots, price)
    call.wallet.check_room(listing.symbol, waits=False)
    return Wish(
        number=call.wallet.next_number(),
        client=client,
        type=kind,
        force=force,
        side=side,
        lots=lots,
        ticks=ticks,
        reduce=reduce,
        good_till=until,
        prevention=_prevention(call),
    )


def _prevention(call: Call) -> str:
    return call.choice("selfTradePreventionMode", trading.MODES, trading.MODES[0], -1130)


def conditional_wish(call: Call, client: str) -> Wish:
    """A conditional order as it was asked for. Refusal as for a plain one."""
    listing, book = call.listing(), call.book()
    if call.choice("algoType", ("CONDITIONAL",), "", -1130) != "CONDITIONAL":
        raise refusals.missing("algoType")
    side = _sides(call)
    call.need("type")
    kind = call.choice("type", CONDITIONAL, "", -1116)
    force, until = _force(call, kind)
    ticks = stop = rate = 0
    if kind in ("STOP", "TAKE_PROFIT"):
        ticks = listing.ticks("price", call.need("price"))
    if kind == "TRAILING_STOP_MARKET":
        rate = int(number("callbackRate", call.need("callbackRate")) * 10_000)
        if not 1_000 <= rate <= 100_000:
            raise _invalid(-2007, "Invalid callBack rate.")
        activation = call.text("activatePrice")
        stop = listing.ticks("activatePrice", activation) if activation else 0
    else:
        stop = listing.ticks("triggerPrice", call.need("triggerPrice"))
    close, reduce = call.flag("closePosition"), call.flag("reduceOnly")
    lots = _close_lots(call, listing, kind) if close else 0
    if not close:
        lots = listing.lots("quantity", call.need("quantity"))
        price = ticks or stop or book.mark
        if price and not reduce:
            listing.check_notional(price, lots)
    call.wallet.check_room(listing.symbol, waits=True)
    return Wish(
        number=call.wallet.next_number(),
        client=client,
        type=kind,
        force=force,
        side=side,
        lots=lots,
        ticks=ticks,
        stop=stop,
        rate=rate,
        mark=call.choice("workingType", _WORKING, _WORKING[0], -4031) == "MARK_PRICE",
        reduce=reduce,
        close=close,
        conditional=True,
        good_till=until,
        protect=call.flag("priceProtect"),
        prevention=_prevention(call),
    )


def _close_lots(call: Call, listing: Listing, kind: str) -> int:
    """The whole position, for an order that closes it."""
    if kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        raise refusals.bad_combination()
    if call.text("quantity") is not None:
        raise _invalid(-4137, "Quantity must be zero with closePosition equals true.")
    if call.text("reduceOnly") is not None:
        raise refusals.not_required("reduceOnly")
    lots = abs(call.wallet.position(listing).lots)
    if not lots:
        raise _invalid(
            -4509,
            "Time in Force (TIF) GTE can only be used with open positions. Please ensure that "
            "positions are available.",
        )
    return lots


# --- orders ---


def _new_order(call: Call) -> Json:
    wish = wish_of_call(call, trading.client_id_of(call, "newClientOrderId"))
    record = trading.place(call.exchange, call, wish, call.listing())
    return answers.usdm_order(record)


def _test_order(call: Call) -> Json:
    wish_of_call(call, trading.client_id_of(call, "newClientOrderId"))
    return {}


def _query(call: Call) -> Json:
    record = call.order()
    if record.wish.conditional and not record.triggered:
        raise refusals.no_such_order()
    return answers.usdm_order(record)


def _query_open(call: Call) -> Json:
    record = call.order()
    if not record.open:
        raise refusals.no_such_order()
    return _query(call)


def _cancel(call: Call) -> Json:
    record = trading.open_order(call)
    trading.cancel(call.exchange, call, [record])
    return answers.usdm_order(record)


def _regular(record: Record) -> bool:
    """It is, or has become, an order that is in the book."""
    return not record.wish.conditional or bool(record.triggered)


def _cancel_all(call: Call) -> Json:
    records = [each for each in call.wallet.open_of(call.listing().symbol) if _regular(each)]
    trading.cancel(call.exchange, call, records)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def _open_orders(call: Call) -> list[Json]:
    listing = call.listing_if_any()
    records = call.wallet.open_of(listing.symbol if listing else None)
    return [answers.usdm_order(each) for each in records if _regular(each)]


def _all_orders(call: Call) -> list[Json]:
    symbol = call.listing().symbol
    records = [
        each
        for each in call.wallet.records.values()
        if each.listing.symbol == symbol and _regular(each)
    ]
    return [answers.usdm_order(each) for each in trading.orders_asked(call, records)]


def _modify(call: Call) -> Json:
    record = trading.open_order(call)
    listing, old = record.listing, record.wish
    if old.type != "LIMIT":
        raise refusals.unsupported("Only LIMIT orders can be modified.")
    if _sides(call) != old.side:
        raise _invalid(-1117, "Invalid side.")
    ticks = listing.ticks("price", call.need("price"))
    lots = listing.lots("quantity", call.need("quantity"))
    if (ticks, lots) == (old.ticks, old.lots):
        raise _invalid(-5027, "No need to modify the order.")
    listing.check_band(old.side == "BUY", ticks, call.public.books[listing.symbol].mark)
    if not old.reduce:
        listing.check_notional(ticks, lots)
        more = max(0, lots - old.lots)
        call.owner.check_margin(call.public, listing, old.side, more, ticks)
    wish = msgspec.structs.replace(old, ticks=ticks, lots=lots, attempt=old.attempt + 1)
    try:
        call.wallet.amend(record, wish, call.exchange.clock.now())
    finally:
        call.exchange.tell(call.market)
    return answers.usdm_order(record)


# --- batches ---


def _batch(call: Call, one: Callable[[Call], Json]) -> list[Json]:
    """Several orders in one request; each is answered for itself."""
    try:
        given = msgspec.json.decode(call.need("batchOrders"), type=list[dict[str, Any]])
    except msgspec.MsgspecError:
        raise refusals.illegal("batchOrders") from None
    if not 1 <= len(given) <= MOST_BATCH:
        raise _invalid(-4082, "Invalid number of batch place orders.")
    return [_answered(call, each, one) for each in given]


def _answered(call: Call, params: dict[str, Any], one: Callable[[Call], Json]) -> Json:
    text = {name: _text(value) for name, value in params.items()}
    part = Call(call.exchange, call.market, text, call.account, call.key)
    try:
        return one(part)
    except refusals.RefusalError as refusal:
        return {"code": refusal.code, "msg": refusal.text}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _new_orders(call: Call) -> list[Json]:
    return _batch(call, _new_order)


def _modify_orders(call: Call) -> list[Json]:
    return _batch(call, _modify)


def _cancel_orders(call: Call) -> list[Json]:
    wanted = []
    for param, name in (("orderIdList", "orderId"), ("origClientOrderIdList", "origClientOrderId")):
        text = call.text(param) or call.text(param.lower())
        if text is None:
            continue
        try:
            values = msgspec.json.decode(text, type=list[int | str])
        except msgspec.MsgspecError:
            raise refusals.illegal(param) from None
        wanted += [{"symbol": call.need("symbol"), name: value} for value in values]
    if not 1 <= len(wanted) <= 2 * MOST_BATCH:
        raise refusals.either("orderIdList", "origClientOrderIdList")
    return [_answered(call, each, _cancel) for each in wanted]


# --- conditional orders ---


def _new_algo(call: Call) -> Json:
    wish = conditional_wish(call, trading.client_id_of(call, "clientAlgoId"))
    record = trading.place(call.exchange, call, wish, call.listing())
    return answers.algo_order(record)


def _algo(call: Call, open_only: bool = False) -> Record:
    """The conditional order that the call names; its symbol may be left out."""
    wallet = call.wallet
    wanted, name = call.integer("algoId"), call.text("clientAlgoId")
    if wanted is None and name is None:
        raise refusals.either("algoId", "clientAlgoId")
    for symbol in wallet.listed:
        record = wallet.find(symbol, wanted, name)
        if record is not None and record.wish.conditional and (record.waits or not open_only):
            return record
    raise refusals.unknown_order() if open_only else refusals.no_such_order()


def _cancel_algo(call: Call) -> Json:
    record = _algo(call, open_only=True)
    trading.cancel(call.exchange, call, [record])
    return {
        "algoId": record.number,
        "clientAlgoId": record.wish.client,
        "code": "200",
        "msg": "success",
    }


def _query_algo(call: Call) -> Json:
    return answers.algo_order(_algo(call))


def _open_algos(call: Call) -> list[Json]:
    listing = call.listing_if_any()
    records = call.wallet.open_of(listing.symbol if listing else None)
    return [answers.algo_order(each) for each in records if each.wish.conditional and each.waits]


def _all_algos(call: Call) -> list[Json]:
    symbol = call.listing().symbol
    records = [
        each
        for each in call.wallet.records.values()
        if each.listing.symbol == symbol and each.wish.conditional
    ]
    return [answers.algo_order(each) for each in trading.orders_asked(call, records, "algoId")]


def _cancel_algos(call: Call) -> Json:
    records = [each for each in call.wallet.open_of(call.listing().symbol) if each.waits]
    trading.cancel(call.exchange, call, records)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


# --- the dead-man's switch ---


def _countdown(call: Call) -> Json:
    listing, time = call.listing(), call.integer("countdownTime")
    if time is None:
        raise refusals.missing("countdownTime")
    if time < 0:
        raise refusals.illegal("countdownTime")
    switches = call.owner.choices.countdown
    switches.pop(listing.symbol, None)
    if time:
        switches[listing.symbol] = call.now + time
    call.owner.keep()
    return {"symbol": listing.symbol, "countdownTime": str(time)}


def _user_trades(call: Call) -> list[Json]:
    listing = call.listing()
    found = trading.trades_asked(call, call.wallet.executions, listing.symbol)
    return [answers.user_trade(each, listing) for each in found]


def _forced(call: Call) -> list[Json]:
    """Liquidations of the account, as orders."""
    rows = []
    for each in call.wallet.executions:
        if not each.fill.liquidation:
            continue
        listing = call.wallet.listing_of(each.fill.instrument)
        trade = answers.user_trade(each, listing)
        rows.append(
            {
                "orderId": 0,
                "symbol": listing.symbol,
                "status": "FILLED",
                "clientOrderId": f"autoclose-{each.fill.sequence}",
                "price": trade["price"],
                "avgPrice": trade["price"],
                "origQty": trade["qty"],
                "executedQty": trade["qty"],
                "cumQuote": trade["quoteQty"],
                "timeInForce": "IOC",
                "type": "LIMIT",
                "reduceOnly": False,
                "closePosition": False,
                "side": trade["side"],
                "positionSide": "BOTH",
                "stopPrice": listing.price(0),
                "workingType": "CONTRACT_PRICE",
                "origType": "LIMIT",
                "time": each.fill.ts // MILLISECOND,
                "updateTime": each.fill.ts // MILLISECOND,
            }
        )
    return rows[-call.most(50, 100) :]


def endpoints() -> dict[tuple[str, str], Endpoint]:
    """(method, path) → what answers."""
    usdm, read, trade = Market.USDM, Security.READ, Security.TRADE
    base = "/fapi/v1"
    return {
        ("POST", f"{base}/order"): Endpoint(_new_order, usdm, trade, 0, 1),
        ("POST", f"{base}/order/test"): Endpoint(_test_order, usdm, trade),
        ("GET", f"{base}/order"): Endpoint(_query, usdm, read),
        ("PUT", f"{base}/order"): Endpoint(_modify, usdm, trade, 0, 1),
        ("DELETE", f"{base}/order"): Endpoint(_cancel, usdm, trade),
        ("POST", f"{base}/batchOrders"): Endpoint(_new_orders, usdm, trade, 5, 5),
        ("PUT", f"{base}/batchOrders"): Endpoint(_modify_orders, usdm, trade, 5, 5),
        ("DELETE", f"{base}/batchOrders"): Endpoint(_cancel_orders, usdm, trade),
        ("DELETE", f"{base}/allOpenOrders"): Endpoint(_cancel_all, usdm, trade),
        ("POST", f"{base}/countdownCancelAll"): Endpoint(_countdown, usdm, trade, 10),
        ("GET", f"{base}/openOrder"): Endpoint(_query_open, usdm, read),
        ("GET", f"{base}/openOrders"): Endpoint(_open_orders, usdm, read, by_symbol(1, 40)),
        ("GET", f"{base}/allOrders"): Endpoint(_all_orders, usdm, read, 5),
        ("GET", f"{base}/userTrades"): Endpoint(_user_trades, usdm, read, 5),
        ("GET", f"{base}/forceOrders"): Endpoint(_forced, usdm, read, by_symbol(20, 50)),
        ("POST", f"{base}/algoOrder"): Endpoint(_new_algo, usdm, trade, 0, 1),
        ("DELETE", f"{base}/algoOrder"): Endpoint(_cancel_algo, usdm, trade),
        ("GET", f"{base}/algoOrder"): Endpoint(_query_algo, usdm, read),
        ("GET", f"{base}/openAlgoOrders"): Endpoint(_open_algos, usdm, read, by_symbol(1, 40)),
        ("GET", f"{base}/allAlgoOrders"): Endpoint(_all_algos, usdm, read, 5),
        ("DELETE", f"{base}/algoOpenOrders"): Endpoint(_cancel_algos, usdm, trade),
        **usdm_account.endpoints(),
    }
