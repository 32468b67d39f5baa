"""Quotes: a ladder on both sides, kept at the venue with the fewest requests.

What is right stays where it stands in the queue; what is not is amended; only what is left over is
cancelled or placed anew.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple

from seawall.core.events import Side
from seawall.core.intents import Approved, Level, Quotes, within
from seawall.core.orders import Order, OrderState, OrderType, Purpose, TimeInForce
from seawall.execution.desk import RESTING, Desk
from seawall.execution.goals import Key, Strategies, Touch
from seawall.execution.orders import OrderEntry, worst_of

ENDING = (OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE)


class Ladder(NamedTuple):
    """An approved ladder, and the furthest that it may bring the position, long and short."""

    quotes: Quotes
    high: int
    low: int


class Change(NamedTuple):
    """What one side of a ladder calls for."""

    amend: list[tuple[OrderEntry, Level]]
    cancel: list[OrderEntry]
    place: list[Level]


class Quoting:
    """The ladders of one account.

    Args:
        waits: whether an order is under way after which the owner holds something else.
    """

    def __init__(
        self, desk: Desk, strategies: Strategies, waits: Callable[[Key], bool] = lambda key: False
    ) -> None:
        self.standing: dict[Key, Ladder] = {}
        self._desk = desk
        self._strategies = strategies
        self._waits = waits

    def aim(self, approval: Approved) -> None:
        """Take over a ladder; it replaces its owner's older one."""
        quotes = approval.intent
        assert isinstance(quotes, Quotes)
        key = approval.instrument, self._strategies.owner(quotes.strategy)
        held = self._strategies.position(*key)
        self.standing[key] = Ladder(
            quotes,
            held + sum(level.size for level in quotes.bids),
            held - sum(level.size for level in quotes.asks),
        )

    def work(self, touches: Mapping[str, Touch], now: int, blocked: Container[str]) -> None:
        """Bring what stands at the venue in line with the ladders."""
        for key, ladder in list(self.standing.items()):
            if key[0] in blocked or now >= ladder.quotes.expiry:
                del self.standing[key]
        self._withdraw(now)
        for key, ladder in self.standing.items():
            entries = self._desk.orders.of(key[0])
            if any(entry.state is OrderState.UNKNOWN for entry in entries) or self._waits(key):
                continue
            held = self._strategies.position(*key)
            touch = touches.get(key[0])
            buys, sells = worst_of(e for e in entries if self._owns(e, key))
            for side, levels, room, out in (
                (Side.BUY, ladder.quotes.bids, ladder.high - held, buys),
                (Side.SELL, ladder.quotes.asks, held - ladder.low, sells),
            ):
                fitting = within(levels, room) if touch else ()
                self._keep(key, ladder.quotes, side, fitting, room - out, touch or (0, 0), now)

    def _owns(self, entry: OrderEntry, key: Key) -> bool:
        return self._strategies.owner(entry.order.strategy) == key[1]

    def _withdraw(self, now: int) -> None:
        """Cancel what no ladder asks for any more."""
        for entry in list(self._desk.orders.open.values()):
            order = entry.order
            owner = self._strategies.owner(order.strategy)
            unasked = (order.instrument, owner) not in self.standing
            standing = entry.state in RESTING and not self._desk.silent
            if order.purpose is Purpose.QUOTE and unasked and standing:
                self._desk.cancel(entry, now)

    def _keep(
        self,
        key: Key,
        quotes: Quotes,
        side: Side,
        levels: Sequence[Level],
        spare: int,
        touch: Touch,
        now: int,
    ) -> None:
        """One side. `spare`: lots by which all open orders may grow; what needs more waits until
        others have gone, be they of an older ladder or on the way to a goal."""
        desk = self._desk
        orders = desk.orders.of(key[0])
        own = [
            entry
            for entry in orders
            if entry.order.purpose is Purpose.QUOTE
            and entry.order.side is side
            and self._owns(entry, key)
        ]
        fit = [level for level in levels if _rests(level, side, touch, orders)]
        change = changes([e for e in own if e.state not in ENDING], fit)
        errand = (key[0], quotes.strategy, Purpose.QUOTE)
        for entry in change.cancel:
            if entry.state in RESTING and not desk.silent:
                desk.cancel(entry, now)
        waits = desk.waits(errand, now)
        for entry, level in change.amend:
            early = now - entry.changed < desk.shape.reprice_ns
            more = max(0, level.size - entry.remaining)
            if entry.state in RESTING and more <= spare and not (early or waits or desk.silent):
                spare -= more
                desk.amend(entry, now, level.size, level.price)
        if waits or any(e.state is OrderState.PENDING_CANCEL for e in own):
            return  # until it is gone, it and what is placed for it could both fill
        for level in change.place:
            if level.size <= spare and not desk.silent:
                spare -= level.size
                desk.send(_order(quotes, side, level), now)


def changes(entries: Sequence[OrderEntry], levels: Sequence[Level]) -> Change:
    """The fewest requests that turn the open orders of one side into these levels.

    An order at the right price stays where it was filled in part: more lots would lose its place.
    """
    left, wanted = list(entries), []
    amend: list[tuple[OrderEntry, Level]] = []
    for level in levels:
        same = next((e for e in left if e.order.price == level.price), None)
        if same is None:
            wanted.append(level)
            continue
        left.remove(same)
        right = same.remaining == level.size or (same.filled and same.remaining < level.size)
        if not right:
            amend.append((same, level))
    movable = [entry for entry in left if entry.state in RESTING]
    amend += zip(movable, wanted, strict=False)
    place = wanted[len(movable) :]
    return Change(amend, movable[len(wanted) :], place)


def _rests(level: Level, side: Side, touch: Touch, orders: Sequence[OrderEntry]) -> bool:
    """Whether an order at this level meets neither the market nor one of our own."""
    buys = side is Side.BUY
    if level.price >= touch[1] if buys else level.price <= touch[0]:
        return False
    for entry in orders:
        order = entry.order
        if order.side is side or order.type.waits:
            continue
        if order.price is None or (
            order.price <= level.price if buys else order.price >= level.price
        ):
            return False
    return True


def _order(quotes: Quotes, side: Side, level: Level) -> Order:
    return Order(
        client_id="",
        instrument=quotes.instrument,
        side=side,
        type=OrderType.LIMIT,
        size=level.size,
        price=level.price,
        time_in_force=TimeInForce.GTC,
        post_only=True,
        strategy=quotes.strategy,
        purpose=Purpose.QUOTE,
        intent_ts=quotes.ts,
    )
