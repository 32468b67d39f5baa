"""Which requests can never be valid, whatever the market does: they are refused at the door."""

from seawall.core.errors import OrderRefusedError
from seawall.core.events import Side
from seawall.core.instruments import PRODUCT_LIMIT, Instrument, Kind
from seawall.core.money import PPM
from seawall.core.orders import Order, OrderType, TimeInForce

LONGEST_ID = 64
_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)


def refuse(order: Order, reason: str) -> OrderRefusedError:
    """The error that says so; the caller raises it."""
    return OrderRefusedError(f"order {order.client_id} on {order.instrument}: {reason}")


def unfit(order: Order, instrument: Instrument | None) -> str:
    """Why an order can never be valid; empty where it can.

    Args:
        instrument: what it names, None where that is not traded here.
    """
    priced = order.type.priced
    price = order.price if priced else 1
    largest = max(price or 1, order.trigger.price if order.trigger else 1)
    spot = instrument is not None and instrument.kind is Kind.SPOT
    gtd = order.time_in_force is TimeInForce.GTD
    wrong = (
        (
            not 0 < len(order.client_id) <= LONGEST_ID,
            f"a client id has 1 to {LONGEST_ID} characters",
        ),
        (instrument is None, "no such instrument is traded here"),
        (order.size <= 0, "the size must be above 0 lots"),
        (order.side not in (Side.BUY, Side.SELL), "the side must be BUY or SELL"),
        (price is None or price <= 0, "a limit order needs a price above 0 ticks"),
        (
            not priced and order.price is not None,
            "only a limit order has a limit price",
        ),
        (largest * order.size >= PRODUCT_LIMIT, "price x size is too large"),
        (order.reduce_only and spot, "reduce-only needs a position, and spot has none"),
        (
            order.post_only and (not priced or order.time_in_force in _AT_ONCE),
            "a post-only order must be able to rest",
        ),
        (gtd and order.expires <= 0, "a GTD order needs the time at which it expires"),
        (gtd and order.type is OrderType.MARKET, "a market order cannot wait until a time"),
    )
    for is_wrong, reason in wrong:
        if is_wrong:
            return reason
    waits = order.trigger is not None or order.type.waits
    return _wrong_trigger(order) if waits else ""


def _wrong_trigger(order: Order) -> str:
    """Why an order cannot wait as it says; empty where it can, or does not wait."""
    trigger = order.trigger
    if not order.type.waits:
        return f"a {order.type.value} order waits for no trigger"
    if trigger is None:
        return f"a {order.type.value} order needs a trigger"
    trails = order.type is OrderType.TRAILING_STOP
    wrong = (
        (trigger.price < 0 or (not trails and not trigger.price), "the trigger must be above 0"),
        (
            not trails and bool(trigger.trail or trigger.trail_ppm),
            "only a trailing stop follows the market",
        ),
        (
            trails and (trigger.trail > 0) == (trigger.trail_ppm > 0),
            "a trailing stop needs its distance either in ticks or in ppm",
        ),
        (min(trigger.trail, trigger.trail_ppm) < 0, "a distance cannot be below 0"),
        (trigger.trail_ppm >= PPM, "a distance must be below 1,000,000 ppm"),
        (
            not order.type.priced and order.time_in_force in _AT_ONCE,
            "a stop order without a limit price waits: GTC or GTD",
        ),
    )
    return next((reason for is_wrong, reason in wrong if is_wrong), "")
