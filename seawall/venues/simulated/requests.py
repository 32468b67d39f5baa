"""Which requests can never be valid, whatever the market does: they are refused at the door."""

from seawall.core.errors import OrderRefusedError
from seawall.core.events import Side
from seawall.core.instruments import PRODUCT_LIMIT, Instrument, Kind
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
    price = order.price if order.type is OrderType.LIMIT else 1
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
        (order.type is OrderType.MARKET and order.price is not None, "a market order has no price"),
        ((price or 1) * order.size >= PRODUCT_LIMIT, "price x size is too large"),
        (order.reduce_only and spot, "reduce-only needs a position, and spot has none"),
        (
            order.post_only and (order.type is OrderType.MARKET or order.time_in_force in _AT_ONCE),
            "a post-only order must be able to rest",
        ),
        (gtd and order.expires <= 0, "a GTD order needs the time at which it expires"),
        (gtd and order.type is OrderType.MARKET, "a market order cannot wait until a time"),
    )
    return next((reason for is_wrong, reason in wrong if is_wrong), "")
