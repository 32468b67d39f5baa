"""Orders: what is asked of a venue, the states an order can be in, and what the venue reports."""

from enum import StrEnum

import msgspec

from seawall.core.events import Side


class OrderType(StrEnum):
    """How the price is given."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"  # waits for its trigger, then a market order
    STOP_LIMIT = "stop_limit"  # waits for its trigger, then a limit order
    TRAILING_STOP = "trailing_stop"  # a stop whose trigger follows the market; then a market order
    TAKE_PROFIT = "take_profit"  # as a stop, but its trigger lies on the side of a gain
    TAKE_PROFIT_LIMIT = "take_profit_limit"

    @property
    def waits(self) -> bool:
        """The order has a trigger, and is not in the book before it was met."""
        return self in _WAITING

    @property
    def priced(self) -> bool:
        """The order has a limit price."""
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)

    @property
    def gains(self) -> bool:
        """Its trigger is met by a move in the order's favour: a sell's from below."""
        return self in (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT)


class Purpose(StrEnum):
    """Why an order exists."""

    GOAL = "goal"  # toward an approved position
    QUOTE = "quote"  # a rung of an approved ladder
    STOP = "stop"  # protects a position from a loss
    PROFIT = "profit"  # closes a protected position at its gain
    BASKET = "basket"  # a leg, on its way or undone


PROTECTIVE = frozenset({Purpose.STOP, Purpose.PROFIT})
_WAITING = frozenset(
    {
        OrderType.STOP,
        OrderType.STOP_LIMIT,
        OrderType.TRAILING_STOP,
        OrderType.TAKE_PROFIT,
        OrderType.TAKE_PROFIT_LIMIT,
    }
)


class TriggerBy(StrEnum):
    """Which price a trigger watches."""

    LAST = "last"  # of the last trade
    MARK = "mark"  # the venue's mark price


class TimeInForce(StrEnum):
    """How long an order lives."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"


class OrderState(StrEnum):
    """Where an order stands; UNKNOWN means that we do not know whether the venue has it."""

    INTENT = "INTENT"
    SENT = "SENT"
    UNKNOWN = "UNKNOWN"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    PENDING_REPLACE = "PENDING_REPLACE"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def final(self) -> bool:
        """Nothing more can happen to the order."""
        return self in _FINAL


_S = OrderState
_FINAL = frozenset({_S.FILLED, _S.CANCELED, _S.REJECTED, _S.EXPIRED})
_WORKING = {_S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELED, _S.EXPIRED, _S.UNKNOWN}
_PENDING = {_S.PENDING_CANCEL, _S.PENDING_REPLACE}
TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    _S.INTENT: frozenset({_S.SENT, _S.CANCELED}),
    _S.SENT: frozenset({_S.NEW, _S.REJECTED} | _WORKING | _PENDING),
    _S.UNKNOWN: frozenset({_S.NEW, _S.REJECTED} | _WORKING | _PENDING),
    _S.NEW: frozenset(_WORKING | _PENDING),
    _S.PARTIALLY_FILLED: frozenset(_WORKING | _PENDING),
    _S.PENDING_CANCEL: frozenset({_S.NEW} | _WORKING),
    _S.PENDING_REPLACE: frozenset({_S.NEW} | _WORKING),
    _S.FILLED: frozenset(),
    _S.CANCELED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.EXPIRED: frozenset(),
}


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """What a waiting order waits for: a buy until the price is at or above it, a sell at or below.

    The two that take a profit wait the other way round: a buy for a price at or below.

    Attributes:
        price: ticks, the stop price. Of a TRAILING_STOP the activation price: it follows the market
            from there on; 0 follows it at once.
        trail: ticks that a TRAILING_STOP stays behind the best price it has seen;
            trail_ppm: the same in millionths of that price. One of the two is above 0.
    """

    price: int = 0
    by: TriggerBy = TriggerBy.LAST
    trail: int = 0
    trail_ppm: int = 0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a venue.

    Attributes:
        client_id: ours, never used twice.
        instrument: its name.
        size: lots, > 0. price: ticks, for LIMIT and STOP_LIMIT alone.
        expires: ns UTC of the venue's clock after which a GTD order is dead.
        accept_until: ns UTC of the venue's clock; a request that arrives later must be rejected,
            which is what makes "it never arrived" provable.
        replaces: the client id of the attempt that this one follows, or that it amends.
        carried: of an amendment, the lots that the amended order had filled as far as we knew.
            What it fills beyond them until it is replaced, the venue takes off `size`.
        trigger: of the types that wait, else None.
        purpose: why it exists. intent_ts: when the intent behind it was decided, ns UTC; with
            strategy and instrument it names that intent in the journal. 0: none.
    """

    client_id: str
    instrument: str
    side: Side
    type: OrderType
    size: int
    price: int | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False
    expires: int = 0
    accept_until: int = 0
    replaces: str = ""
    strategy: str = ""
    trigger: Trigger | None = None
    carried: int = 0
    purpose: Purpose = Purpose.GOAL
    intent_ts: int = 0


class OrderReport(msgspec.Struct, frozen=True, kw_only=True, tag="order"):
    """The venue's word on an order's state.

    Attributes:
        sequence: the venue's own count of its reports, gapless from 1.
        filled: lots filled so far.
        ts: ns UTC, the venue's clock.
    """

    sequence: int
    client_id: str
    instrument: str
    state: OrderState
    filled: int
    ts: int
    reason: str = ""


class Fill(msgspec.Struct, frozen=True, kw_only=True, tag="fill"):
    """One trade of ours.

    Attributes:
        sequence: as in OrderReport. fill_id: the venue's, never used twice.
        price: ticks. size: lots, > 0.
        fee: smallest units of `fee_asset`; positive is paid, negative is a rebate.
        liquidation: the venue closed the position; there is no order of ours behind it.
        realised: what a derivative's trade added to the wallet by the venue's own reckoning (most
            go by average cost), smallest settle units; None: by ours, first in, first out.
    """

    sequence: int
    fill_id: str
    client_id: str
    instrument: str
    side: Side
    price: int
    size: int
    fee: int
    fee_asset: str
    maker: bool
    ts: int
    liquidation: bool = False
    realised: int | None = None


class Funding(msgspec.Struct, frozen=True, kw_only=True, tag="funding"):
    """What holding a perpetual contract cost or brought at a funding time.

    Attributes:
        sequence: as in OrderReport.
        lots: signed, what was held; 0: the venue does not say. price: ticks, what they were valued
            at; 0: at their entries.
        rate: 10^-12 of the value; above 0 longs pay shorts.
        amount: smallest units of `asset`; positive is paid, negative is received.
    """

    sequence: int
    instrument: str
    lots: int
    price: int
    rate: int
    amount: int
    asset: str
    ts: int


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came into an account or left it, as the venue's history has it.

    Attributes:
        name: the venue's id. kind: deposit or withdrawal. text: the amount in the venue's words.
        amount: smallest units of `asset`; negative: it left. fee: of it, the same units; venues
            differ in whether it is part of the amount.
        ts: ns UTC, the venue's clock.
    """

    name: str
    kind: str
    asset: str
    text: str
    amount: int
    fee: int
    ts: int


EXTERNAL = "external"  # whose sub-ledger holds what was traded with no order of ours
Report = OrderReport | Fill | Funding
Movement = Fill | Funding  # what changes the account
