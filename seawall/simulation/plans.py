"""What parent orders and baskets must keep to, by bounds that are simpler than their plans."""

from fractions import Fraction

from seawall.core.events import Side
from seawall.core.orders import PROTECTIVE, Order, Purpose
from seawall.core.parents import Algorithm, Parent
from seawall.core.records import BasketMoved
from seawall.execution.baskets import COMPLETE, FLAT, HEDGED
from seawall.simulation.shadow import Shadow

ROOM = 0.1  # a goal may move by this share of its parent and be worked by the same plan
BY_TIME = (Algorithm.TWAP, Algorithm.VWAP, Algorithm.ALMGREN_CHRISS)


class Plans:
    """Whether an order is one that a plan allows."""

    def __init__(self, shadow: Shadow) -> None:
        self._shadow = shadow

    def broken(self, order: Order, now: int) -> str:
        """How an order that is about to exist goes beyond its parent; empty where it does not."""
        parent = self._parent(order)
        if parent is None:
            return ""
        what = f"order {order.client_id} of parent {parent.parent_id} ({parent.pace.algorithm})"
        if order.side is not parent.side:
            return f"{what} goes the other way"
        pace = parent.pace
        if pace.algorithm is Algorithm.ICEBERG and order.size > pace.visible:
            return f"{what} shows {order.size} lots, allowed are {pace.visible}"
        done, most = self._done(order, parent), self._most(parent, now)
        if done > most:
            return f"{what} brings it to {done} lots, {most:g} of {parent.lots} are due"
        return ""

    def _parent(self, order: Order) -> Parent | None:
        if order.purpose is not Purpose.GOAL:
            return None
        place = order.instrument, order.strategy
        parents = self._shadow.parents.values()
        return next((p for p in parents if (p.instrument, p.strategy) == place), None)

    def _done(self, order: Order, parent: Parent) -> int:
        """Lots of the parent, were this order and all others of its goal to fill."""
        shadow = self._shadow
        held = shadow.own(order.instrument, order.strategy)
        under_way = sum(
            life.left
            for name, life in shadow.open.items()
            if self._parent(life.order) is parent and name != order.replaces
        )
        return parent.side.sign * (held - parent.held) + under_way + order.size

    def _most(self, parent: Parent, now: int) -> float:
        """Lots that may be out: of those by time no more than half a slice ahead of an even
        staircase, and what could not leave as an order of its own."""
        pace, whole = parent.pace, parent.lots * (1.0 + ROOM)
        if pace.algorithm not in BY_TIME:
            return whole
        weights = parent.weights or (1.0,) * pace.slices
        begun = 1 + int((now - parent.start) * len(weights) / pace.horizon)
        if begun >= len(weights):
            return whole
        share = (sum(weights[:begun]) + max(weights) / 2) / sum(weights)
        return min(whole, parent.lots * share + parent.smallest + 1)

    # --- ladders ---

    def overdone(self, order: Order) -> str:
        """How a quote that is about to exist goes beyond its ladder; empty where it does not."""
        owner = self._shadow.owner(order.strategy)
        low, high = self._shadow.worst(order.instrument, order, owner)
        what = f"quote {order.client_id}"
        if (bounds := self._shadow.ladders.get((order.instrument, owner))) is None:
            return f"{what} is of no ladder"
        least, most = bounds
        if high > most if order.side is Side.BUY else low < least:
            return f"{what} leads to {low} to {high} lots, approved are {least} to {most}"
        return ""

    # --- protective orders ---

    def unprotective(self, order: Order) -> str:
        """What is wrong with a protective order that is about to exist; empty: nothing."""
        if order.purpose not in PROTECTIVE:
            return ""
        shadow = self._shadow
        held = shadow.own(order.instrument, order.strategy)
        what = f"{order.purpose} order {order.client_id}"
        if held * order.side.sign >= 0:
            return f"{what} does not reduce {held} lots"
        if order.size > abs(held) + self._added(order):
            return f"{what} has {order.size} lots, held are {held}"
        return ""

    def _added(self, order: Order) -> int:
        """Lots of an amended order that have filled, or that others may already have closed."""
        life = self._shadow.orders.get(order.replaces)
        return life.filled if life is not None else 0

    def bare(self, until: int) -> dict[tuple[str, str], int]:
        """(instrument, whose) → signed lots that are to be protected, were not traded since
        `until` (ns UTC), and whose stops are for fewer lots."""
        shadow, found = self._shadow, {}
        for name, strategy in shadow.agreed:
            owner = shadow.owner(strategy)
            lots = shadow.own(name, strategy)
            stops = sum(
                life.left
                for life in shadow.open.values()
                if life.order.purpose is Purpose.STOP
                and life.order.instrument == name
                and shadow.owner(life.order.strategy) == owner
            )
            if stops < abs(lots) and shadow.filled_at.get(name, 0) < until:
                found[name, owner] = lots
        return found

    # --- baskets ---

    def misled(self, order: Order) -> str:
        """How a basket's order leaves the way of its basket; empty where it does not."""
        shadow = self._shadow
        if order.purpose is not Purpose.BASKET:
            return ""
        held = shadow.own(order.instrument, order.strategy)
        owner = shadow.owner(order.strategy)
        low, high = shadow.worst(order.instrument, order, owner)
        after = high if order.side.sign > 0 else low
        for moved in shadow.baskets.values():
            start = moved.start.get(order.instrument)
            if start is not None and moved.basket.strategy == order.strategy:
                legs = {leg.instrument: leg.lots for leg in moved.basket.legs}
                ends = (start, start + legs[order.instrument], held)
                if min(ends) <= after <= max(ends):
                    return ""
        return f"order {order.client_id} leads to {after} lots, where no basket leads"

    def ended(self, moved: BasketMoved) -> str:
        """What is not true of a basket that is said to have ended so; empty where all is."""
        basket = moved.basket
        held = {
            leg.instrument: self._shadow.own(leg.instrument, basket.strategy) for leg in basket.legs
        }
        wanted = {
            COMPLETE: {
                leg.instrument: moved.start[leg.instrument] + leg.lots for leg in basket.legs
            },
            FLAT: moved.start,
            HEDGED: moved.wanted,
        }.get(moved.state)
        what = f"the basket of {basket.ts} is said to be {moved.state}"
        if wanted is not None and held != wanted:
            return f"{what}, held are {held} for {wanted}"
        if moved.state == HEDGED:
            done = [
                (Fraction(held[leg.instrument] - moved.start[leg.instrument], leg.lots), leg.lots)
                for leg in basket.legs
            ]
            least = min(part for part, _ in done)
            if any(
                part - least >= Fraction(1, abs(lots)) + Fraction(1, min(abs(n) for _, n in done))
                for part, lots in done
            ):
                return f"{what}, and its legs are not in proportion: {held}"
        return ""
