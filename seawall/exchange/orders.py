"""An order as a client of the protocol knows it, and how it is asked of the simulated venue.

What the venue has no word for (the client's own id, the protocol's type) travels in the venue's
order as its `strategy` text, so that one log holds both and neither can be there without the other.
"""

from dataclasses import dataclass, field

import msgspec

from seawall.core.clock import MILLISECOND
from seawall.core.events import Side
from seawall.core.orders import Fill, Order, OrderState, OrderType, TimeInForce, Trigger, TriggerBy
from seawall.exchange.listing import Listing

# The protocol's type → (market, limit) types of the venue. One without a price is a market type.
TYPES = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT,
    "STOP_LOSS": OrderType.STOP,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT,
    "TAKE_PROFIT_LIMIT": OrderType.TAKE_PROFIT_LIMIT,
}
FUTURES_TYPES = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "STOP": OrderType.STOP_LIMIT,
    "STOP_MARKET": OrderType.STOP,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_LIMIT,
    "TAKE_PROFIT_MARKET": OrderType.TAKE_PROFIT,
    "TRAILING_STOP_MARKET": OrderType.TRAILING_STOP,
}
STATUS = {
    OrderState.SENT: "NEW",
    OrderState.NEW: "NEW",
    OrderState.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    OrderState.FILLED: "FILLED",
    OrderState.CANCELED: "CANCELED",
    OrderState.REJECTED: "REJECTED",
    OrderState.EXPIRED: "EXPIRED",
}
_CANCELLED_BY_WISH = ("cancelled", "replaced by")


class Wish(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client asked for, in the protocol's words.

    Attributes:
        number: of the order, its `orderId` (or `algoId`).
        client: its client's id. type, force: the protocol's type and time in force.
        lots: wished in all. ticks: limit price, 0: none. stop: trigger price in ticks, 0: none.
        quote: `quoteOrderQty` in smallest quote units, 0: none.
        mark: triggered by the mark price. rate: callback of a trailing stop, ppm.
        conditional: placed as an algo order. close: closes the whole position.
        prevention: the self-trade prevention mode.
        good_till: ms, of GTD orders.
    """

    number: int
    client: str
    type: str
    force: str = "GTC"
    side: str
    lots: int
    ticks: int = 0
    stop: int = 0
    quote: int = 0
    mark: bool = False
    rate: int = 0
    reduce: bool = False
    conditional: bool = False
    close: bool = False
    prevention: str = "EXPIRE_TAKER"
    good_till: int = 0
    protect: bool = False
    attempt: int = 0


_DECODER = msgspec.json.Decoder(Wish)


def wish_of(order: Order) -> Wish:
    """The wish that an order of the venue came from."""
    return _DECODER.decode(order.strategy)


def venue_order(wish: Wish, listing: Listing, lots: int, until: int = 0) -> Order:
    """The order for the venue.

    Args:
        lots: to ask for, those that are left of the wish.
        until: ns UTC after which the venue must not take it any more; 0: no such time.
    """
    kind = (FUTURES_TYPES if listing.futures else TYPES)[wish.type]
    force = wish.force if wish.force in ("IOC", "FOK") and kind.priced else "GTC"
    if kind is OrderType.MARKET:
        force = "GTC"
    if wish.good_till:
        force = "GTD"
    if wish.rate:
        kind = OrderType.TRAILING_STOP
    trigger = None
    if kind.waits:
        trigger = Trigger(
            price=wish.stop,
            by=TriggerBy.MARK if wish.mark else TriggerBy.LAST,
            trail_ppm=wish.rate if kind is OrderType.TRAILING_STOP else 0,
        )
    return Order(
        client_id=f"{wish.number}.{wish.attempt}",
        instrument=listing.instrument.name,
        side=Side.BUY if wish.side == "BUY" else Side.SELL,
        type=kind,
        size=lots,
        price=wish.ticks if kind.priced else None,
        time_in_force=TimeInForce(force),
        post_only=wish.type == "LIMIT_MAKER" or wish.force == "GTX",
        reduce_only=wish.reduce or wish.close,
        expires=wish.good_till * MILLISECOND,
        accept_until=until,
        strategy=msgspec.json.encode(wish).decode(),
        trigger=trigger,
    )


@dataclass(slots=True)
class Execution:
    """One fill, as the account's trade list shows it. `realised`: of a contract, smallest units."""

    fill: Fill
    number: int  # of the order; 0 of a liquidation
    realised: int = 0

    @property
    def ms(self) -> int:
        """When, ms UTC."""
        return self.fill.ts // MILLISECOND


@dataclass(slots=True)
class Record:
    """One order of an account, through all its amendments.

    Attributes:
        wish: as it stands now. order: what the venue has of it now.
        filled: lots. value: of the fills, smallest settle units.
        placed, updated: ms UTC. reason: the venue's, of the end.
        triggered: ms UTC, 0: not, or it waits for nothing.
    """

    listing: Listing
    wish: Wish
    order: Order
    placed: int
    updated: int
    state: OrderState = OrderState.SENT
    filled: int = 0
    value: int = 0
    reason: str = ""
    triggered: int = 0
    fills: list[Execution] = field(default_factory=list)
    wanted: Order | None = None  # an amendment on its way
    matched: bool = False  # it ended because it met an order of the same account
    refused: str = ""  # why the venue did not take the last one

    @property
    def number(self) -> int:
        """Its orderId."""
        return self.wish.number

    @property
    def open(self) -> bool:
        """It may still be filled."""
        return not self.state.final

    @property
    def waits(self) -> bool:
        """Its trigger has not been met."""
        return self.open and self.order.type.waits and not self.triggered

    @property
    def left(self) -> int:
        """Lots that are not filled."""
        return self.wish.lots - self.filled

    @property
    def status(self) -> str:
        """The protocol's word for its state."""
        if self.matched and self.state is OrderState.CANCELED:
            return "EXPIRED_IN_MATCH"
        if self.state is OrderState.CANCELED and not self.reason.startswith(_CANCELLED_BY_WISH):
            return "EXPIRED_IN_MATCH" if "our own" in self.reason else "EXPIRED"
        if self.open and self.filled:
            return "PARTIALLY_FILLED"
        return STATUS[self.state]
