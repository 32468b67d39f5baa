"""Goals: from the positions that risk approved to orders, for one strategy or several together.

Each strategy has its own goal in an instrument and its own sub-ledger to reach it in. Where two
want opposite things, lots change hands between their sub-ledgers and no order leaves; so two of our
own orders never trade with each other. docs/decisions/0012-netting.md says why.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.intents import Approved, Basket, Close, Urgency
from seawall.core.orders import Order, OrderState, OrderType, Purpose, TimeInForce
from seawall.core.records import LotsTransferred
from seawall.execution.desk import RESTING, Desk
from seawall.execution.orders import OrderEntry

Touch = tuple[int, int]  # best bid and ask in ticks
Key = tuple[str, str]  # instrument, and whose goal: a strategy's, or the whole account's
ACCOUNT = ""
TOWARD = (Purpose.GOAL, Purpose.BASKET)
AGGRESSIVE = (*TOWARD, Purpose.QUOTE)


class Due(NamedTuple):
    """What of a goal's delta goes out now: signed lots, and the limit price in ticks where it is
    not the one of the goal's urgency."""

    lots: int
    price: int | None = None


Pace = Callable[[Approved, int, Touch, int], Due]  # goal, delta in lots, touch, now in ns UTC


def at_once(goal: Approved, delta: int, touch: Touch, now: int) -> Due:
    """All of it."""
    return Due(delta)


class Strategies:
    """Who shares the account, and what each of them holds.

    Args:
        names: fewer than two: the account's position is that of the only one.
        position: signed lots of an instrument, of the account or of one strategy's sub-ledger.
        shares: instrument → signed lots of every sub-ledger that has any.
    """

    def __init__(
        self,
        names: Sequence[str],
        position: Callable[..., int],
        shares: Callable[[str], Mapping[str, int]],
    ) -> None:
        self.names = tuple(names) if len(names) > 1 else ()
        self._position = position
        self.shares = shares

    def owner(self, strategy: str) -> str:
        """Whose goals and orders those of a strategy are; risk and operator act for all."""
        return strategy if strategy in self.names else ACCOUNT

    def position(self, instrument: str, owner: str = ACCOUNT) -> int:
        """Signed lots that the owner holds."""
        return self._position(instrument, owner) if owner else self._position(instrument)


class Goals:
    """The approved positions of one account, and the orders that lead there.

    Args:
        pace: how much of a delta may go out now, and at what price.
    """

    def __init__(
        self,
        desk: Desk,
        instruments: Mapping[str, Instrument],
        strategies: Strategies,
        record: Callable[..., None],
        pace: Pace = at_once,
    ) -> None:
        self.standing: dict[Key, Approved] = {}
        self._desk = desk
        self._instruments = instruments
        self._strategies = strategies
        self._record = record
        self._pace = pace

    def aim(self, approval: Approved) -> None:
        """Take over what risk approved; it replaces what its owner wanted of the instrument.

        What is approved for the whole account replaces what every strategy wanted of it.
        """
        instrument, owner = approval.instrument, self._strategies.owner(approval.intent.strategy)
        if self._strategies.names:
            for key in [key for key in self.standing if key[0] == instrument]:
                if ACCOUNT in (owner, key[1]):
                    del self.standing[key]
        self.standing[instrument, owner] = approval

    def drop(self, instrument: str, owner: str) -> None:
        """Nothing is wanted any more."""
        self.standing.pop((instrument, owner), None)

    def work(self, touches: Mapping[str, Touch], now: int, blocked: Container[str]) -> None:
        """Send what the goals call for. `blocked`: instruments in which a position may only be
        reduced."""
        desk = self._desk
        for key, goal in list(self.standing.items()):
            if now >= goal.intent.expiry and not isinstance(goal.intent, Close):
                del self.standing[key]
        if not desk.silent:
            self._withdraw(now, blocked)
            if self._strategies.names:
                self._net(touches, now, blocked)
        for key, goal in list(self.standing.items()):
            if desk.silent:
                return
            if self._busy(key):
                self._reprice(key, goal, touches.get(goal.instrument), now, blocked)
                continue
            delta = self._delta(key, goal, blocked)
            touch = touches.get(goal.instrument)
            errand = (goal.instrument, goal.intent.strategy, purpose_of(goal))
            if delta == 0:
                del self.standing[key]
            elif touch is not None and not desk.waits(errand, now):
                delta = self._free(key, delta, now, goal.instrument in blocked)
                due = self._pace(goal, delta, touch, now) if delta else Due(0)
                if due.lots:
                    desk.send(self._order(key, goal, due, touch), now)

    def wanted(self, goal: Approved) -> int:
        """Signed lots to hold; on a spot market never fewer than none."""
        spot = self._instruments[goal.instrument].kind is Kind.SPOT
        return max(0, goal.position) if spot else goal.position

    def under_way(self, instrument: str, owner: str) -> bool:
        """Whether an order of this owner is on its way to a goal."""
        return any(self._leads(entry, owner) for entry in self._desk.orders.of(instrument))

    def _busy(self, key: Key) -> bool:
        """Whether an order of this goal is under way, or the fate of any other one is unknown."""
        instrument, owner = key
        return self.closing(key) or any(
            entry.state is OrderState.UNKNOWN or self._leads(entry, owner)
            for entry in self._desk.orders.of(instrument)
        )

    def closing(self, key: Key) -> bool:
        """Whether the account's own order is under way: it changes what each strategy holds."""
        instrument, owner = key
        return owner != ACCOUNT and self.under_way(instrument, ACCOUNT)

    def _leads(self, entry: OrderEntry, owner: str) -> bool:
        """Whether the order is on its way to a goal of this owner."""
        order = entry.order
        return order.purpose in TOWARD and self._strategies.owner(order.strategy) == owner

    def _delta(self, key: Key, goal: Approved, blocked: Container[str]) -> int:
        """Lots still to trade; 0 where the goal is reached or would add what nobody allows."""
        position, wanted = self._strategies.position(*key), self.wanted(goal)
        if (goal.reduce_only or goal.instrument in blocked) and not reduces(wanted, position):
            return 0
        return wanted - position

    def _withdraw(self, now: int, blocked: Container[str]) -> None:
        """Cancel resting orders that lead away from their goal, or to risk that nobody allows, that
        have no time to rest any more, or are a strategy's where the account's own goal stands."""
        for entry in list(self._desk.orders.open.values()):
            order = entry.order
            if order.purpose not in TOWARD or entry.state not in RESTING:
                continue
            owner = self._strategies.owner(order.strategy)
            goal = self.standing.get((order.instrument, owner))
            position = self._strategies.position(order.instrument, owner)
            change = order.side.sign * entry.remaining
            barred = order.instrument in blocked
            wrong = False
            if goal is None or goal.reduce_only or barred:
                wrong = not reduces(position + change, position)
            if barred and owner:
                account = self._strategies.position(order.instrument)
                wrong = wrong or not reduces(account + change, account)
            wrong = wrong or bool(owner and (order.instrument, ACCOUNT) in self.standing)
            if goal is not None:
                hurry = order.post_only and goal.intent.urgency is not Urgency.PASSIVE
                wrong = wrong or hurry or not reduces(change, self.wanted(goal) - position)
            if wrong:
                self._desk.cancel(entry, now)

    def _reprice(
        self,
        key: Key,
        goal: Approved,
        touch: Touch | None,
        now: int,
        blocked: Container[str],
    ) -> None:
        """Let a passive order that rests follow the touch, and what its goal lacks."""
        if touch is None or goal.intent.urgency is not Urgency.PASSIVE:
            return
        desk, delta = self._desk, self._delta(key, goal, blocked)
        entries = [e for e in desk.orders.of(key[0]) if self._leads(e, key[1])]
        errand = (goal.instrument, goal.intent.strategy, purpose_of(goal))
        if len(entries) != 1 or not delta or desk.waits(errand, now):
            return
        if self._unquoted(key, delta) != delta or self.closing(key):
            return
        (entry,) = entries
        due = self._pace(goal, delta, touch, now)
        price = touch[0 if due.lots > 0 else 1] if due.price is None else due.price
        same = (price, abs(due.lots)) == (entry.order.price, entry.remaining)
        turns = due.lots * entry.order.side.sign <= 0
        early = now - entry.changed < desk.shape.reprice_ns
        if entry.state in RESTING and not (same or turns or early):
            desk.amend(entry, now, abs(due.lots), price)

    def _order(self, key: Key, goal: Approved, due: Due, touch: Touch) -> Order:
        instrument = self._instruments[goal.instrument]
        side = Side.BUY if due.lots > 0 else Side.SELL
        bid, ask = touch
        urgency = goal.intent.urgency
        price = due.price
        passive = urgency is Urgency.PASSIVE
        if price is None and urgency is Urgency.NORMAL:
            touched = ask if side is Side.BUY else bid
            price = touched + side.sign * (touched * self._desk.shape.slippage_bps // 10_000)
        elif price is None and passive:
            price = bid if side is Side.BUY else ask
        reducing = all(
            reduces(held + due.lots, held)
            for held in {self._strategies.position(*key), self._strategies.position(key[0])}
        )
        return Order(
            client_id="",
            instrument=goal.instrument,
            side=side,
            type=OrderType.MARKET if price is None else OrderType.LIMIT,
            size=abs(due.lots),
            price=price,
            time_in_force=TimeInForce.GTC if passive else TimeInForce.IOC,
            post_only=passive,
            reduce_only=reducing and instrument.kind is not Kind.SPOT,
            strategy=goal.intent.strategy,
            purpose=purpose_of(goal),
            intent_ts=goal.intent.ts,
        )

    def _unquoted(self, key: Key, delta: int) -> int:
        """A delta without the lots that the owner's quotes, which it replaces, may still fill."""
        sign = 1 if delta > 0 else -1
        quoted = sum(
            entry.remaining
            for entry in self._desk.orders.of(key[0])
            if entry.order.purpose is Purpose.QUOTE
            and entry.order.side.sign == sign
            and self._strategies.owner(entry.order.strategy) == key[1]
        )
        return sign * max(0, abs(delta) - quoted)

    # --- several strategies on one account ---

    def _free(self, key: Key, delta: int, now: int, blocked: bool) -> int:
        """The part of a goal's delta that may leave as an order.

        Nothing while an order of ours stands on the other side: it is cancelled, so that the two
        are netted and do not trade with each other. What may still fill on the same side is not
        ordered again: of a ladder that the goal replaces, or for the account's own goal anybody's.
        Blocked: what reduces the account's position.
        """
        side, (instrument, owner) = Side.BUY if delta > 0 else Side.SELL, key
        same = 0
        for entry in self._desk.orders.of(instrument):
            order = entry.order
            if order.purpose not in AGGRESSIVE:
                continue
            if order.side is side:
                same += entry.remaining
                continue
            if entry.state in RESTING:
                self._desk.cancel(entry, now)
            delta = 0
        if owner == ACCOUNT and self._strategies.names:
            delta = side.sign * max(0, abs(delta) - same)
        delta = self._unquoted(key, delta)
        if blocked and delta:
            account = self._strategies.position(instrument)
            most = max(0, -side.sign * account - same)
            delta = side.sign * min(abs(delta), most)
        return delta

    def _net(self, touches: Mapping[str, Touch], now: int, blocked: Container[str]) -> None:
        """Where one strategy wants to buy what another wants to sell, book it between the two.

        First come, first served on both sides, in the order in which the goals were set.
        """
        wants: dict[str, tuple[list[tuple[str, int]], list[tuple[str, int]]]] = {}
        for key, goal in self.standing.items():
            if key[1] == ACCOUNT or key[0] not in touches or self._busy(key):
                continue
            delta = self._unquoted(key, self._delta(key, goal, blocked))
            if delta:
                sides = wants.setdefault(key[0], ([], []))
                sides[0 if delta > 0 else 1].append((key[1], abs(delta)))
        for instrument, (buyers, sellers) in wants.items():
            for giver, taker, lots in matched(sellers, buyers):
                self._transfer(instrument, giver, taker, lots, touches[instrument], now, "netted")

    def hand_out(self, touches: Mapping[str, Touch], now: int) -> set[str]:
        """What sub-ledgers without a strategy hold goes to the running ones.

        Risk, the operator and the venue reduce positions that are the strategies'; and a strategy
        that no longer runs may have left something. Where somebody is given more than before, what
        risk approved in ignorance of it may only reduce.

        Returns:
            The instruments in which that is so.
        """
        names, grown = self._strategies.names, set()
        for instrument, touch in touches.items():
            shares = self._strategies.shares(instrument)
            for other in [name for name in shares if name not in names]:
                held = {name: shares.get(name, 0) for name in names}
                if self.under_way(instrument, ACCOUNT):
                    break
                for name, lots in dealt(shares[other], held).items():
                    giver, taker = (other, name) if lots > 0 else (name, other)
                    self._transfer(
                        instrument, giver, taker, abs(lots), touch, now, "belongs to a strategy"
                    )
                    shares = {**shares, name: held[name] + lots}
                    if not reduces(shares[name], held[name]):
                        grown.add(instrument)
        for instrument in grown:
            self._tighten(instrument)
        return grown

    def _tighten(self, instrument: str) -> None:
        """No goal of the instrument may add to a position, until another one is approved."""
        for key, goal in self.standing.items():
            if key[0] == instrument:
                self.standing[key] = msgspec.structs.replace(goal, reduce_only=True)

    def _transfer(
        self, name: str, giver: str, taker: str, lots: int, touch: Touch, now: int, why: str
    ) -> None:
        """Book lots from one sub-ledger to another at the middle of the touch, rounded down."""
        self._record(
            LotsTransferred(
                ts=now,
                instrument=name,
                giver=giver,
                taker=taker,
                lots=lots,
                price=(touch[0] + touch[1]) // 2,
                reason=why,
            )
        )


def purpose_of(goal: Approved) -> Purpose:
    """Of the orders that lead to it."""
    return Purpose.BASKET if isinstance(goal.intent, Basket) else Purpose.GOAL


def matched(
    sellers: Iterable[tuple[str, int]], buyers: Iterable[tuple[str, int]]
) -> list[tuple[str, str, int]]:
    """(giver, taker, lots > 0): sellers and buyers paired in their order, until one side is done.

    Example:
        >>> matched([("a", 3)], [("b", 2), ("c", 5)])
        [('a', 'b', 2), ('a', 'c', 1)]
    """
    found = []
    giving, taking = list(sellers), list(buyers)
    while giving and taking:
        (giver, offered), (taker, asked) = giving[0], taking[0]
        lots = min(offered, asked)
        found.append((giver, taker, lots))
        giving[:1] = [(giver, offered - lots)] if offered > lots else []
        taking[:1] = [(taker, asked - lots)] if asked > lots else []
    return found


def dealt(lots: int, held: Mapping[str, int]) -> dict[str, int]:
    """How lots that are nobody's are dealt out: name → signed lots, their sum is `lots`.

    Those that hold the opposite take them in parts of what they hold, largest remainders first and
    no further than to zero; what is left goes to the first.

    Example:
        >>> dealt(-5, {"a": 6, "b": 4, "c": -2})
        {'a': -3, 'b': -2}
    """
    sign = 1 if lots > 0 else -1
    against = {name: -sign * has for name, has in held.items() if has * sign < 0}
    total = sum(against.values())
    part = min(abs(lots), total)
    found = {name: part * has // total for name, has in against.items()}
    rest = part - sum(found.values())
    by_remainder = sorted(against, key=lambda name: -(part * against[name] % total))
    for name in by_remainder[:rest]:
        found[name] += 1
    left = abs(lots) - part
    if left:
        first = next(iter(held))
        found[first] = found.get(first, 0) + left
    return {name: sign * share for name, share in found.items() if share}


def reduces(position: int, held: int) -> bool:
    """Whether going from `held` lots to `position` neither grows nor turns."""
    return min(0, held) <= position <= max(0, held)
