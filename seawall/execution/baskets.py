"""Baskets: several legs that are traded together, and end complete, flat or hedged.

One that is not complete when its time is over is undone leg by leg, or cut down to the part that
all of its legs have reached. It is in the journal until then, so that a restart goes on with it.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import msgspec

from seawall.core.intents import Approved, Basket, Urgency
from seawall.core.records import AnyRecord, BasketMoved
from seawall.execution.goals import ACCOUNT, Goals, Strategies
from seawall.risk.limits import leg_of

LEADING, LEAVING = "leading", "leaving"
COMPLETE, FLAT, HEDGED, OVERRULED = "complete", "flat", "hedged", "overruled"
ENDS = (COMPLETE, FLAT, HEDGED, OVERRULED)
NEVER = 1 << 62
Place = tuple[str, int]  # strategy, and when the basket was decided


class Baskets:
    """The baskets that are being worked; Fold."""

    name = "baskets"

    def __init__(self) -> None:
        self.open: dict[Place, BasketMoved] = {}

    def apply(self, record: AnyRecord) -> None:
        """Take in one record."""
        if isinstance(record, BasketMoved):
            place = record.basket.strategy, record.basket.ts
            if record.state in ENDS:
                self.open.pop(place, None)
            else:
                self.open[place] = record

    def state(self) -> Any:
        """Plain values."""
        return msgspec.to_builtins(list(self.open.values()))

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        moved = msgspec.convert(state, list[BasketMoved])
        self.open = {(each.basket.strategy, each.basket.ts): each for each in moved}


class Carrying:
    """Works the baskets of one account by way of its goals."""

    def __init__(
        self,
        goals: Goals,
        strategies: Strategies,
        baskets: Baskets,
        record: Callable[..., None],
        busy: Callable[[str, str], bool],
    ) -> None:
        self._goals = goals
        self._strategies = strategies
        self._baskets = baskets
        self._record = record
        self._busy = busy  # whether an order of this owner is under way in this instrument

    def begin(self, basket: Basket, now: int) -> None:
        """Take over a basket that risk approved."""
        start = {leg.instrument: self._held(basket, leg.instrument) for leg in basket.legs}
        wanted = {leg.instrument: start[leg.instrument] + leg.lots for leg in basket.legs}
        self._record(BasketMoved(ts=now, basket=basket, start=start, wanted=wanted, state=LEADING))

    def work(self, now: int, stopping: bool) -> None:
        """Bring each basket nearer to its end. `stopping`: none is led on, all are left."""
        for course in list(self._baskets.open.values()):
            basket = course.basket
            owner = self._strategies.owner(basket.strategy)
            taken = [name for name in course.wanted if self._overruled(name, owner)]
            if course.state == LEADING and (taken or stopping or now >= basket.expiry):
                course = self._leave(course, now, bool(taken))  # noqa: PLW2901
            left = [
                name
                for name, lots in course.wanted.items()
                if name not in taken
                and (self._held(basket, name) != lots or self._busy(name, owner))
            ]
            if not left:
                self._end(course, now, bool(taken))
                continue
            for name in left:
                if (name, owner) not in self._goals.standing:
                    self._goals.aim(_goal(course, name))

    def _held(self, basket: Basket, instrument: str) -> int:
        return self._strategies.position(instrument, self._strategies.owner(basket.strategy))

    def _overruled(self, instrument: str, owner: str) -> bool:
        """Whether somebody wants something else of a leg: the strategy itself, or risk."""
        goals = [self._goals.standing.get((instrument, who)) for who in {owner, ACCOUNT}]
        return any(goal is not None and not isinstance(goal.intent, Basket) for goal in goals)

    def _leave(self, course: BasketMoved, now: int, overruled: bool) -> BasketMoved:
        """Undo what was traded, or cut it down to what all legs have in common."""
        basket = course.basket
        held = {leg.instrument: self._held(basket, leg.instrument) for leg in basket.legs}
        part = Fraction(0)
        if basket.hedged and not overruled:
            part = common(
                {leg.instrument: leg.lots for leg in basket.legs},
                {name: lots - course.start[name] for name, lots in held.items()},
            )
        wanted = {
            leg.instrument: course.start[leg.instrument] + int(leg.lots * part)
            for leg in basket.legs
        }
        owner = self._strategies.owner(basket.strategy)
        for name in wanted:
            if not self._overruled(name, owner):
                self._goals.drop(name, owner)
        moved = msgspec.structs.replace(course, ts=now, wanted=wanted, state=LEAVING)
        self._record(moved)
        return moved

    def _end(self, course: BasketMoved, now: int, overruled: bool) -> None:
        state = COMPLETE if course.state == LEADING else FLAT
        if overruled:
            state = OVERRULED
        elif state == FLAT and course.wanted != course.start:
            state = HEDGED
        self._record(msgspec.structs.replace(course, ts=now, state=state))


def common(legs: Mapping[str, int], done: Mapping[str, int]) -> Fraction:
    """The part of a basket that every leg has reached, in [0, 1].

    Example:
        >>> common({"a": 4, "b": -8}, {"a": 3, "b": -4})
        Fraction(1, 2)
    """
    parts = [Fraction(done[name], lots) for name, lots in legs.items()]
    return max(Fraction(0), min([Fraction(1), *parts]))


def _goal(course: BasketMoved, name: str) -> Approved:
    basket = course.basket
    if course.state == LEAVING:
        basket = msgspec.structs.replace(basket, urgency=Urgency.URGENT, expiry=NEVER)
    return leg_of(basket, name, course.start[name], course.wanted[name])
