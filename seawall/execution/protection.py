"""Protection: stops and take-profits of open positions, kept at the venue.

They are reduce-only, as large as the position, and stay until it is flat, even when the node stops.
Where the venue does not hold a stop, we watch the touch ourselves and leave at the market.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.intents import Close, Protection, Target
from seawall.core.orders import (
    Order,
    OrderState,
    OrderType,
    Purpose,
    TimeInForce,
    Trigger,
    TriggerBy,
)
from seawall.core.records import (
    AnyRecord,
    FillBooked,
    IntentApproved,
    OrderChanged,
    OrderCreated,
    StopOutEnded,
    StopWatched,
)
from seawall.execution.desk import RESTING, Desk
from seawall.execution.goals import ACCOUNT, Key, Strategies, Touch, reduces
from seawall.execution.orders import OrderEntry

CLOSE_ENOUGH = 0.1  # share of its distance that a stop may be off before it is amended
ENDING = (OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE)
Entry = Callable[[str, str], float]  # instrument, owner → average price in ticks, NaN where flat


class Agreed(msgspec.Struct):
    """What was approved for one strategy in one instrument, and when (ns UTC)."""

    instrument: str
    strategy: str
    protection: Protection
    ts: int


class _Memory(msgspec.Struct):
    agreed: list[Agreed]
    stops: dict[str, tuple[str, str, int]]
    barred: list[tuple[str, str, int]]


class Protections:
    """Which positions are protected and how, and who was stopped out; Fold.

    A strategy that was stopped out may not go back the same way before it has wanted to be flat or
    on the other side.
    """

    name = "protections"

    def __init__(self) -> None:
        self.agreed: dict[Key, Agreed] = {}  # by instrument and strategy
        self.barred: dict[Key, int] = {}  # +1: not long again, -1: not short
        self._stops: dict[str, tuple[str, str, int]] = {}  # open stops: whose, and the side barred

    def apply(self, record: AnyRecord) -> None:
        """Take in one record."""
        match record:
            case IntentApproved(approved=approved):
                self._approve(approved.intent, approved.protection)
            case OrderCreated(order=order):
                if order.purpose is Purpose.STOP:
                    side = -order.side.sign
                    self._stops[order.client_id] = (order.instrument, order.strategy, side)
            case FillBooked(fill=fill):
                if fill.client_id in self._stops:
                    instrument, strategy, side = self._stops[fill.client_id]
                    self.barred[instrument, strategy] = side
            case StopOutEnded(instrument=instrument, strategy=strategy):
                self.barred.pop((instrument, strategy), None)
            case OrderChanged(client_id=client_id, state=state):
                if state.final:
                    self._stops.pop(client_id, None)
            case _:
                pass  # nothing else concerns it

    def _approve(self, intent: Any, protection: Protection | None) -> None:
        if not isinstance(intent, Target | Close):
            return
        key = intent.instrument, intent.strategy
        if protection is not None:
            self.agreed.pop(key, None)  # the newest is the last
            self.agreed[key] = Agreed(intent.instrument, intent.strategy, protection, intent.ts)
        elif isinstance(intent, Target) and intent.protection is None:
            self.agreed.pop(key, None)

    def of(self, instrument: str, owner: str) -> Agreed | None:
        """What protects the owner's position; the whole account's is its only strategy's."""
        if owner != ACCOUNT:
            return self.agreed.get((instrument, owner))
        mine = [each for (name, _), each in self.agreed.items() if name == instrument]
        return mine[-1] if mine else None

    def state(self) -> Any:
        """Plain values."""
        barred = [(*key, side) for key, side in self.barred.items()]
        return msgspec.to_builtins(_Memory(list(self.agreed.values()), self._stops, barred))

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        memory = msgspec.convert(state, _Memory)
        self.agreed = {(each.instrument, each.strategy): each for each in memory.agreed}
        self._stops = memory.stops
        self.barred = {(name, strategy): side for name, strategy, side in memory.barred}


class Wanted(NamedTuple):
    """What should stand at the venue for one position.

    Attributes:
        side: that reduces it. size: lots. stop, profit: ticks; profit 0: none.
        trail: ticks that the stop follows at, 0: it stays.
    """

    side: Side
    size: int
    stop: int
    profit: int
    trail: int


def wanted_of(protection: Protection, position: int, entry: float) -> Wanted:
    """Stop and take-profit of a position that was entered at `entry` ticks on average.

    Both are rounded away from the entry, and at least a tick from it.
    """
    sign = 1 if position > 0 else -1
    away = max(1, -int(-entry * protection.stop // 1))
    gain = max(1, -int(-entry * protection.take_profit // 1)) if protection.take_profit else 0
    base = int(entry) if sign > 0 else -int(-entry // 1)
    return Wanted(
        side=Side.SELL if sign > 0 else Side.BUY,
        size=abs(position),
        stop=max(1, base - sign * away),
        profit=max(1, base + sign * gain) if gain else 0,
        trail=away if protection.trailing else 0,
    )


class Protecting:
    """Keeps the protective orders of one account.

    Args:
        entry: average price in ticks of what an owner holds.
        by: which price the venue's stops watch.
    """

    def __init__(
        self,
        desk: Desk,
        instruments: Mapping[str, Instrument],
        strategies: Strategies,
        protections: Protections,
        record: Callable[..., None],
        entry: Entry,
        by: TriggerBy = TriggerBy.MARK,
    ) -> None:
        self.watched: dict[Key, str] = {}  # positions whose stop we watch ourselves, and why
        self._desk = desk
        self._instruments = instruments
        self._strategies = strategies
        self._protections = protections
        self._record = record
        self._entry = entry
        self._by = by
        self._best: dict[Key, int] = {}  # of positions that we watch with a trailing stop

    def work(self, touches: Mapping[str, Touch], now: int) -> None:
        """Bring what stands at the venue in line with what is held."""
        if self._desk.silent:
            return
        self._withdraw(now)
        owners = self._strategies.names or (ACCOUNT,)
        for instrument in dict.fromkeys(name for name, _ in self._protections.agreed):
            for owner in owners:
                agreed = self._protections.of(instrument, owner)
                position = self._strategies.position(instrument, owner)
                if agreed is not None and position and not self._desk.silent:
                    key = instrument, owner
                    entry = self._entry(instrument, owner)
                    if entry > 0:
                        want = wanted_of(agreed.protection, position, entry)
                        self._keep(key, agreed, want, touches.get(instrument), now)

    def _own(self, key: Key, purpose: Purpose) -> list[OrderEntry]:
        return [
            entry
            for entry in self._desk.orders.of(key[0])
            if entry.order.purpose is purpose
            and self._strategies.owner(entry.order.strategy) == key[1]
        ]

    def _withdraw(self, now: int) -> None:
        """Cancel what protects nothing any more: the position is gone, or has turned."""
        for entry in list(self._desk.orders.open.values()):
            order = entry.order
            if order.purpose not in (Purpose.STOP, Purpose.PROFIT) or entry.state not in RESTING:
                continue
            owner = self._strategies.owner(order.strategy)
            held = self._strategies.position(order.instrument, owner)
            agreed = self._protections.of(order.instrument, owner)
            wrong = not held or not reduces(held + order.side.sign, held) or agreed is None
            if wrong and not self._desk.silent:
                self._desk.cancel(entry, now)
        for key in list(self.watched):
            if not self._strategies.position(*key):
                del self.watched[key]
                self._best.pop(key, None)

    def _keep(self, key: Key, agreed: Agreed, want: Wanted, touch: Touch | None, now: int) -> None:
        stops = [e for e in self._own(key, Purpose.STOP) if e.state not in ENDING]
        if any(entry.order.type is OrderType.MARKET for entry in stops):
            return  # we are on our way out
        if not stops or all(entry.state is OrderState.SENT for entry in stops):
            self._watch(key, agreed, want, touch, now)
        if want.trail:
            self._trail(key, agreed, want, stops, now)
        else:
            self._fix(key, agreed, want, stops, now)
        self._profit(key, agreed, want, touch, now)

    # --- stops ---

    def _fix(
        self, key: Key, agreed: Agreed, want: Wanted, stops: list[OrderEntry], now: int
    ) -> None:
        """One stop at its price, of the position's size."""
        trigger = Trigger(price=want.stop, by=self._by)
        if not stops:
            self._place(key, agreed, want, OrderType.STOP, trigger, want.size, now)
            return
        stop, *others = stops
        for other in others:
            if other.state in RESTING and not self._desk.silent:
                self._desk.cancel(other, now)
        placed = stop.order.trigger
        off = abs(placed.price - want.stop) if placed and not placed.trail else want.stop
        reach = max(1.0, CLOSE_ENOUGH * abs(self._entry(*key) - want.stop))
        if (stop.remaining != want.size or off > reach) and self._may_amend(stop, now):
            if placed and placed.trail:  # what follows the market becomes what stays: not amended
                self._desk.cancel(stop, now)
            else:
                self._desk.amend(stop, now, want.size, None, trigger)

    def _trail(
        self, key: Key, agreed: Agreed, want: Wanted, stops: list[OrderEntry], now: int
    ) -> None:
        """Stops that follow the market. An amended one would forget the best price it has seen, so
        that what is added to a position gets one of its own, and only what is too much is amended.
        """
        total = sum(entry.remaining for entry in stops)
        trigger = Trigger(trail=want.trail, by=self._by)
        if total < want.size:
            lots = want.size - total
            self._place(key, agreed, want, OrderType.TRAILING_STOP, trigger, lots, now)
            return
        surplus = total - want.size
        for stop in reversed(stops):
            if not surplus or not self._may_amend(stop, now):
                return
            if stop.remaining <= surplus:
                surplus -= stop.remaining
                self._desk.cancel(stop, now)
            elif self._strategies.names:  # else the venue itself never goes beyond the position
                self._desk.amend(stop, now, stop.remaining - surplus, None, stop.order.trigger)
                return
            else:
                return

    def _may_amend(self, entry: OrderEntry, now: int) -> bool:
        early = now - entry.changed < self._desk.shape.reprice_ns
        return entry.state in RESTING and not (early or self._desk.silent)

    def _place(
        self,
        key: Key,
        agreed: Agreed,
        want: Wanted,
        kind: OrderType,
        trigger: Trigger | None,
        size: int,
        now: int,
        purpose: Purpose = Purpose.STOP,
    ) -> None:
        desk = self._desk
        waits = desk.waits((key[0], agreed.strategy, purpose), now) and kind is not OrderType.MARKET
        doubtful = any(e.state is OrderState.UNKNOWN for e in self._own(key, purpose))
        ending = any(e.state is OrderState.PENDING_CANCEL for e in self._own(key, purpose))
        if waits or doubtful or ending or desk.silent or size <= 0:
            return
        limit = purpose is Purpose.PROFIT and kind is OrderType.LIMIT
        sent = desk.send(
            Order(
                client_id="",
                instrument=key[0],
                side=want.side,
                type=kind,
                size=size,
                price=want.profit if limit else None,
                time_in_force=TimeInForce.IOC if kind is OrderType.MARKET else TimeInForce.GTC,
                reduce_only=self._instruments[key[0]].kind is not Kind.SPOT,
                strategy=agreed.strategy,
                trigger=trigger,
                purpose=purpose,
                intent_ts=agreed.ts,
            ),
            now,
            at_once=True,
        )
        if sent is None and purpose is Purpose.STOP and key not in self.watched:
            why = desk.orders.done[-1].reason
            self.watched[key] = why
            self._record(
                StopWatched(
                    ts=now, instrument=key[0], strategy=agreed.strategy, price=want.stop, reason=why
                )
            )
        elif sent is not None and kind is not OrderType.MARKET and purpose is Purpose.STOP:
            self.watched.pop(key, None)

    def _watch(self, key: Key, agreed: Agreed, want: Wanted, touch: Touch | None, now: int) -> None:
        """While the venue holds no stop: leave at the market where the touch is beyond it."""
        if touch is None:
            return
        price = touch[0] if want.side is Side.SELL else touch[1]
        stop = want.stop
        if want.trail:
            sign = -want.side.sign  # +1 long
            best = self._best.get(key, price)
            self._best[key] = max(best, price) if sign > 0 else min(best, price)
            stop = self._best[key] - sign * want.trail
        beyond = price <= stop if want.side is Side.SELL else price >= stop
        if beyond and not self._own(key, Purpose.STOP):
            self._place(key, agreed, want, OrderType.MARKET, None, want.size, now)

    # --- take-profit ---

    def _profit(
        self, key: Key, agreed: Agreed, want: Wanted, touch: Touch | None, now: int
    ) -> None:
        """A limit order at the gain; it and the stop are reduce-only, so that only one can fill.

        On a spot market it would lock what the stop needs: there we wait for the price ourselves.
        """
        own = [e for e in self._own(key, Purpose.PROFIT) if e.state not in ENDING]
        if not want.profit:
            for entry in own:
                if entry.state in RESTING and not self._desk.silent:
                    self._desk.cancel(entry, now)
            return
        if self._instruments[key[0]].kind is Kind.SPOT:
            reached = touch is not None and touch[0] >= want.profit
            if reached and not own:
                kind = OrderType.MARKET
                self._place(key, agreed, want, kind, None, want.size, now, Purpose.PROFIT)
            return
        if not own:
            kind = OrderType.LIMIT
            self._place(key, agreed, want, kind, None, want.size, now, Purpose.PROFIT)
            return
        first = own[0]
        off = abs((first.order.price or 0) - want.profit)
        reach = max(1.0, CLOSE_ENOUGH * abs(self._entry(*key) - want.profit))
        if (first.remaining != want.size or off > reach) and self._may_amend(first, now):
            self._desk.amend(first, now, want.size, want.profit)
