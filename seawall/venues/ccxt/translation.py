"""Orders into ccxt's words, and ccxt's answers into reports: exact, from texts, never by floats.

Amounts finer than an asset's smallest unit are rounded towards the venue (a fee up, a balance
down); prices and sizes must be whole ticks and lots, or they are not believed.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil, floor
from typing import Any

import msgspec

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.errors import OrderRefusedError, VenueError
from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.orders import (
    Fill,
    Funding,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    TimeInForce,
    TriggerBy,
)
from seawall.venues.ccxt.terms import DEADLINE, EXP_TIME, RECV_WINDOW, Terms, inward, outward

STATES = {
    "canceled": OrderState.CANCELED,
    "cancelled": OrderState.CANCELED,
    "canceling": OrderState.PENDING_CANCEL,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}
NAMELESS = "#"  # begins the id of an order that the exchange has under no id of a client


class Request(msgspec.Struct, frozen=True):
    """The arguments of ccxt's create_order."""

    symbol: str
    type: str
    side: str
    amount: str
    price: str | None
    params: dict[str, Any]


def decimal(units: int, unit: Fraction) -> str:
    """A plain decimal of so many units."""
    value = units * unit
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
        if digits > 40:
            raise VenueError(f"{value} has no end as a decimal; correct the catalog's increments")
    text = f"{abs(int(value * 10**digits)):0{digits + 1}d}"
    text = text if not digits else f"{text[:-digits]}.{text[-digits:]}"
    return ("-" if value < 0 else "") + text


def request_of(order: Order, instrument: Instrument, terms: Terms, now: int) -> Request:
    """What ccxt is asked for an order.

    Args:
        now: ns UTC of the venue's clock.

    Raises:
        OrderRefusedError: it is too late for it, or the exchange has no such order.
    """
    if order.accept_until and now >= order.accept_until:
        raise OrderRefusedError("not sent: its time was over before it could leave")
    tick, lot = instrument.tick_value, instrument.lot_value
    params: dict[str, Any] = {terms.sends_as: outward(terms, order.client_id)}
    kind = "limit" if order.type.priced else "market"
    if order.type is OrderType.TRAILING_STOP:
        params |= _trailing(order, tick)
    elif order.trigger is not None:
        name = "takeProfitPrice" if order.type.gains else "triggerPrice"
        params[name] = decimal(order.trigger.price, tick)
        if terms.directs and instrument.kind is not Kind.SPOT and not order.type.gains:
            rising = order.side is Side.BUY
            params["triggerDirection"] = "ascending" if rising else "descending"
    if order.trigger is not None and order.trigger.by is TriggerBy.MARK:
        params["workingType"] = "MARK_PRICE"
    if order.post_only:
        params["postOnly"] = True
    elif kind == "limit":
        params["timeInForce"] = order.time_in_force.value
        if order.time_in_force is TimeInForce.GTD:
            params["goodTillDate"] = order.expires // MILLISECOND
    if order.reduce_only and instrument.kind is not Kind.SPOT:
        params["reduceOnly"] = True
    params |= dict(terms.prevention)
    params |= expiry(terms, now, order.accept_until)
    return Request(
        symbol=instrument.symbol,
        type=kind,
        side="buy" if order.side is Side.BUY else "sell",
        amount=decimal(order.size, lot),
        price=None if order.price is None or not order.type.priced else decimal(order.price, tick),
        params=params,
    )


def expiry(terms: Terms, now: int, until: int) -> dict[str, Any]:
    """How the exchange is told until when it may accept a request (ns UTC of its own clock)."""
    if not until or not terms.expiry:
        return {}
    if terms.expiry == RECV_WINDOW:
        return {"recvWindow": max(1, (until - now) // MILLISECOND)}
    if terms.expiry == EXP_TIME:
        return {"expTime": str(until // MILLISECOND)}
    assert terms.expiry == DEADLINE
    moment = datetime.fromtimestamp(max(until, now + 2 * SECOND) / SECOND, UTC)
    return {"deadline": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def _trailing(order: Order, tick: Fraction) -> dict[str, Any]:
    trigger = order.trigger
    assert trigger is not None
    params: dict[str, Any] = {}
    if trigger.price:
        params["trailingTriggerPrice"] = decimal(trigger.price, tick)
    if trigger.trail_ppm:
        params["trailingPercent"] = decimal(trigger.trail_ppm, Fraction(1, 10_000))
    else:
        params["trailingAmount"] = decimal(trigger.trail, tick)
    return params


def whole(text: Any, unit: Fraction, what: str) -> int:
    """Whole units in a decimal text; VenueError where it is none, or finer."""
    try:
        value = Fraction(str(text)) / unit
    except (ValueError, ZeroDivisionError):
        raise VenueError(f"{what} is {text!r}, not a number") from None
    if value.denominator != 1:
        raise VenueError(f"{what} is {text}, finer than its increment; renew the catalog")
    return int(value)


def down(text: Any, decimals: int) -> int:
    """Smallest units of a balance, the rest left out."""
    return floor(Fraction(str(text)) * Fraction(10) ** decimals)


def up(text: Any, decimals: int) -> int:
    """Smallest units of a fee, rounded towards the venue."""
    return ceil(Fraction(str(text)) * Fraction(10) ** decimals)


def moment(value: Any) -> int:
    """ccxt's milliseconds as ns UTC; 0 where there are none."""
    return int(value) * MILLISECOND if value else 0


def client_id_of(found: Mapping[str, Any], terms: Terms) -> str:
    """Our id of an order as ccxt tells of it; ``#`` and the exchange's own where it has none."""
    given = found.get("clientOrderId")
    return inward(terms, str(given)) if given else f"{NAMELESS}{found.get('id')}"


def in_book(found: Mapping[str, Any]) -> bool:
    """Whether an order, where those that wait are kept apart, has been among the others: only
    there it has such an id (REST of Binance and OKX, Binance's stream)."""
    info = found.get("info")
    if not isinstance(info, dict):
        return False
    places = (info, info.get("o"))
    return any(
        isinstance(place, dict) and place.get(field) not in (None, "")
        for place in places
        for field in ("orderId", "ordId", "i")
    )


def report_of(
    found: Mapping[str, Any], instrument: Instrument, client_id: str, sequence: int
) -> OrderReport | None:
    """What an order of ccxt's comes to; None where it does not say how far it has been filled."""
    status, filled = found.get("status"), found.get("filled")
    if filled is None:
        if status != "open":
            return None
        filled = "0"
    lots = whole(filled, instrument.lot_value, f"filled of order {client_id}")
    amount = found.get("amount")
    size = whole(amount, instrument.lot_value, f"size of order {client_id}") if amount else 0
    if status == "closed":
        state = OrderState.FILLED if lots >= size else OrderState.CANCELED
    elif status in STATES:
        state = STATES[status]
    else:
        state = OrderState.PARTIALLY_FILLED if lots else OrderState.NEW
    return OrderReport(
        sequence=sequence,
        client_id=client_id,
        instrument=instrument.name,
        state=state,
        filled=lots,
        ts=moment(found.get("lastUpdateTimestamp") or found.get("timestamp")),
        reason="" if state not in (OrderState.EXPIRED, OrderState.REJECTED) else str(status),
    )


def fill_of(
    trade: Mapping[str, Any],
    instrument: Instrument,
    client_id: str,
    decimals: Mapping[str, int],
    terms: Terms,
) -> Fill:
    """A trade of ccxt's as a fill, sequence 0.

    Args:
        decimals: asset → decimals of its smallest unit; others have those of the terms.

    Raises:
        VenueError: it lacks something, or is not in whole ticks and lots.
    """
    what = f"trade {trade.get('id')} of {instrument.symbol}"
    if trade.get("id") is None or trade.get("side") not in ("buy", "sell"):
        raise VenueError(f"{what} has no id or no side")
    asset, cost = _fee(trade, what)
    return Fill(
        sequence=0,
        fill_id=str(trade["id"]),
        client_id=client_id,
        instrument=instrument.name,
        side=Side.BUY if trade["side"] == "buy" else Side.SELL,
        price=whole(trade.get("price"), instrument.tick_value, f"price of {what}"),
        size=whole(trade.get("amount"), instrument.lot_value, f"size of {what}"),
        fee=up(cost, decimals.get(asset, terms.decimals)) if cost else 0,
        fee_asset=asset or instrument.settle_asset,
        maker=trade.get("takerOrMaker") == "maker",
        ts=moment(trade.get("timestamp")),
        realised=_realised(trade.get("info"), instrument, terms),
    )


def _realised(info: Any, instrument: Instrument, terms: Terms) -> int | None:
    """What the exchange says that a derivative's trade added to the wallet; None: it says none."""
    if instrument.kind is Kind.SPOT or not isinstance(info, dict):
        return None
    for place in (info, info.get("o")):
        for field in terms.realised:
            if isinstance(place, dict) and place.get(field) not in (None, ""):
                return down(place[field], instrument.settle_decimals)
    return None


def _fee(trade: Mapping[str, Any], what: str) -> tuple[str, str]:
    """Asset and amount of a trade's fee; both empty where there was none."""
    fees = [f for f in _fees(trade) if f.get("cost") is not None and Fraction(str(f["cost"]))]
    if not fees:
        return "", ""
    if len({fee.get("currency") for fee in fees}) > 1 or not fees[0].get("currency"):
        raise VenueError(f"{what} has fees in several assets, or in none; compare it by hand")
    total = sum(Fraction(str(fee["cost"])) for fee in fees)
    return str(fees[0]["currency"]), str(total)


def _fees(trade: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    several = [fee for fee in trade.get("fees") or () if fee]
    one = trade.get("fee")
    return several or ([one] if one else [])


def funding_of(entry: Mapping[str, Any], instrument: Instrument, decimals: int) -> Funding:
    """A funding payment as ccxt tells of it; what was held then it does not say."""
    received = Fraction(str(entry["amount"]))
    return Funding(
        sequence=0,
        instrument=instrument.name,
        lots=0,
        price=0,
        rate=0,
        amount=ceil(-received * Fraction(10) ** decimals),
        asset=str(entry.get("code") or instrument.settle_asset),
        ts=moment(entry.get("timestamp")),
    )


def wallet_of(info: Any, field: str) -> dict[str, str]:
    """Asset → balance without open profit, found in an exchange's own answer by its field."""
    return {asset: amount for asset, amount in _wallets(info, field) if Fraction(amount)}


def _wallets(info: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(info, list):
        for part in info:
            yield from _wallets(part, field)
    elif isinstance(info, dict):
        asset = next((info[k] for k in ("asset", "coin", "ccy") if info.get(k)), None)
        if asset and field in info:
            yield str(asset), str(info[field] or "0")
        else:
            for part in info.values():
                if isinstance(part, list | dict):
                    yield from _wallets(part, field)


def lots_of(position: Mapping[str, Any], instrument: Instrument) -> int:
    """Signed lots of a position as ccxt tells of it."""
    contracts = position.get("contracts") or "0"
    lots = whole(contracts, instrument.lot_value, f"position of {instrument.symbol}")
    return -abs(lots) if position.get("side") == "short" else lots
