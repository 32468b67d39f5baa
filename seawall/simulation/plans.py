"""What parent orders and baskets must keep to, by bounds that are simpler than their plans."""

from collections.abc import Sequence

from seawall.core.orders import Order, Purpose
from seawall.core.parents import Algorithm, Parent
from seawall.simulation.shadow import Shadow

ROOM = 0.1  # a goal may move by this share of its parent and be worked by the same plan
BY_TIME = (Algorithm.TWAP, Algorithm.VWAP, Algorithm.ALMGREN_CHRISS)


class Plans:
    """Whether an order is one that a plan allows.

    Args:
        strategies: that share the account; fewer than two: the account is the only one's.
    """

    def __init__(self, shadow: Shadow, strategies: Sequence[str]) -> None:
        self._shadow = shadow
        self._several = set(strategies) if len(strategies) > 1 else set()

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
        held = shadow.positions.get(order.instrument, 0)
        if order.strategy in self._several:
            held = shadow.held.get((order.instrument, order.strategy), 0)
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
