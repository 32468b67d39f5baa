"""The exchange's desk: which orders rest where, and what an arriving one meets."""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seawall.core.events import Side
from seawall.core.instruments import Catalog
from seawall.core.ladder import NO_ASK, NO_BID
from seawall.core.order_book import new_ladders
from seawall.core.orders import Order, OrderReport, OrderType, TimeInForce, TriggerBy
from seawall.venues.simulated import kernels, queue_kernels, stop_kernels
from seawall.venues.simulated.log import Watched
from seawall.venues.simulated.shape import VenueShape

MOST_LEVELS = 4096  # one order walks no further; the rest of it finds nothing


@dataclass(slots=True, eq=False)
class Working:
    """An order as the exchange knows it.

    Attributes:
        index: of its instrument. placed: ns UTC, when the node sent it. number: by acceptance.
        response: ns that its reports take to the node.
        slot: in the kernels' arrays, -1 while it does not rest.
        waits: for its trigger. triggered: it waited, and waits no more.
        watched: what the log has of its waiting, if anything.
        forgone: lots of an amendment that the order before it filled while it was on its way.
        report: the last one.
    """

    order: Order
    index: int
    placed: int
    number: int
    response: int
    report: OrderReport
    filled: int = 0
    slot: int = -1
    waits: bool = False
    triggered: bool = False
    watched: Watched | None = None
    forgone: int = 0

    @property
    def left(self) -> int:
        """Lots that can still fill."""
        return self.order.size - self.forgone - self.filled

    @property
    def rank(self) -> tuple[int, int, int]:
        """By side, then the better price, then the earlier."""
        price = self.order.price or 0
        return self.order.side, -price if self.order.side is Side.BUY else price, self.number


class Plan(NamedTuple):
    """What an arriving order would take.

    Attributes:
        levels: (ticks, lots), best first. size: lots of all of them.
        own: an own order on the other side at or within its limit, which it must not meet.
    """

    levels: list[tuple[int, int]]
    size: int
    own: Working | None


class Happened(NamedTuple):
    """What a row of the tape did to an order.

    Attributes:
        lots: filled; of a stop that fired, what a bar grants it, or kernels.UNBOUNDED.
        price: ticks; of a stop that fired, what triggered it, or where a bar fills it.
    """

    working: Working
    lots: int
    price: int
    fired: bool


class Desk:
    """Resting orders of all instruments, and the books that they rest in."""

    def __init__(self, catalog: Catalog, shape: VenueShape) -> None:
        self.instruments = catalog.instruments
        instruments = max(1, len(catalog.instruments))
        book_of = np.full((instruments, max(1, len(catalog.sources))), -1, np.int64)
        for book in catalog.primary.values():
            instrument, source = catalog.books[book]
            book_of[instrument, source] = instrument
        most = shape.max_open_orders
        self.floor = kernels.Floor(
            ladders=new_ladders(instruments),
            markets=np.zeros(instruments, kernels.MARKET),
            resting=np.zeros(most, kernels.RESTING),
            slots=np.zeros((instruments, most), np.int64),
            fills=np.zeros((2 * most, 3), np.int64),
            book_of=book_of,
            half_spread_ppm=shape.half_spread_ppm,
            participation_ppm=shape.participation_ppm,
            stops=np.zeros((instruments, most), stop_kernels.STOP),
        )
        self.floor.markets["shared"] = int(shape.share_trades)
        self.floor.markets["kind"], self.floor.markets["power"] = shape.queue
        self.walked = np.zeros((MOST_LEVELS, 2), np.int64)
        self._queues: list[list[Working]] = [[] for _ in range(instruments)]
        self._free = list(range(most - 1, -1, -1))
        self._at: dict[int, Working] = {}
        self._waiting: list[list[Working]] = [[] for _ in range(instruments)]
        self._most = most

    def resting(self) -> Iterator[Working]:
        """All resting orders."""
        return (working for queue in self._queues for working in queue)

    def reduce_only(self, index: int) -> list[Working]:
        """Resting and waiting reduce-only orders of an instrument."""
        both = (*self._queues[index], *self._waiting[index])
        return [working for working in both if working.order.reduce_only]

    def open_lots(self, index: int) -> list[int]:
        """Lots that rest to buy and to sell; reduce-only orders add no exposure."""
        total = [0, 0]
        for working in self._queues[index]:
            if not working.order.reduce_only:
                total[working.order.side] += working.left
        return total

    def touch(self, index: int) -> tuple[int, int]:
        """Best bid and ask, ticks; NO_BID and NO_ASK where empty."""
        bid, ask = self.floor.ladders["best"][index].tolist()
        return bid, ask

    def mark(self, index: int) -> int:
        """The middle of the book in ticks, rounded down; 0 where it is not two-sided."""
        bid, ask = self.touch(index)
        return (bid + ask) // 2 if bid != NO_BID and ask != NO_ASK else 0

    # --- arrival ---

    def plan(self, working: Working, size: int, first: int = 0, shift: int = 0) -> Plan:
        """What the order would take if it went into the book now; takes nothing.

        Args:
            first: ticks; better levels are known to be gone, 0: none.
            shift: ticks that every level is worse than it shows.
        """
        order, index = working.order, working.index
        buys = order.side is Side.BUY
        limit = order.price if order.price is not None else (NO_ASK - 1 if buys else 1)
        own = self._own_opposite(order, index, limit)
        if own is not None and own.order.price is not None:
            limit = own.order.price - 1 if buys else own.order.price + 1
        shift *= order.side.sign
        limit -= shift
        bid, ask = self.touch(index)
        crosses = limit >= ask if buys else limit <= bid != NO_BID
        if not crosses or not size:
            return Plan([], 0, own)
        side = 1 - int(order.side)
        count = kernels.walk(self.floor, index, side, first, limit, size, self.walked)
        levels = [(price + shift, lots) for price, lots in self.walked[:count].tolist()]
        return Plan(levels, sum(lots for _, lots in levels), own)

    def _own_opposite(self, order: Order, index: int, limit: int) -> Working | None:
        """Our best resting order on the other side, if this one would reach it."""
        for working in self._queues[index]:
            price = working.order.price
            if working.order.side is order.side or price is None:
                continue
            met = price <= limit if order.side is Side.BUY else price >= limit
            return working if met else None
        return None

    def objection(self, working: Working, plan: Plan) -> str:
        """Why the book cannot take the order; empty when it can."""
        order = working.order
        market = self.floor.markets[working.index]
        if market["made_of"] == kernels.VOID or market["building"]:
            return "the book is void: its data has not come or has stopped"
        bid, ask = self.touch(working.index)
        if not order.type.priced:
            if bid == NO_BID or ask == NO_ASK:
                return "the book is empty or has one side only"
            if not plan.levels and plan.own is None:
                return "the book shows no size"
            if not plan.levels and plan.own is not None:
                return f"it would trade with our own {plan.own.order.client_id}"
        elif order.post_only and (plan.levels or plan.own):
            return "post-only: it would trade at once"
        elif order.time_in_force in (TimeInForce.GTC, TimeInForce.GTD) and not self._free:
            return "too many open orders"
        return ""

    def take(self, working: Working, plan: Plan) -> None:
        """Take the plan's levels out of the venue's copy of the book."""
        if plan.levels:
            side = 1 - int(working.order.side)
            kernels.take(self.floor, working.index, side, self.walked, len(plan.levels))

    def why_not_rest(self, working: Working, plan: Plan) -> str:
        """Why what is left of an order does not stay; empty when it does."""
        order = working.order
        if plan.own is not None:
            return f"it would trade with our own {plan.own.order.client_id}"
        if not order.type.priced:
            return "the book shows no more size"
        if order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
            return f"{order.time_in_force}: what could not be filled at once"
        return ""

    # --- resting ---

    def rest(self, working: Working, size: int, queue: int | None = None) -> None:
        """Put an order into the book with `size` lots; behind what its price shows by default."""
        order = working.order
        price, side = order.price or 0, int(order.side)
        if queue is None:
            queue = int(kernels.queue_ahead(self.floor, working.index, side, price))
        working.slot = self._free.pop()
        self._at[working.slot] = working
        resting = self.floor.resting
        resting[working.slot] = (side, price, size, working.placed, 0, 0, 0)
        model = self.floor.markets[working.index]
        queue_kernels.arrive(model, resting[working.slot], queue, 0)
        insort(self._queues[working.index], working, key=lambda other: other.rank)
        self._write(working.index)

    def resize(self, working: Working, size: int) -> None:
        """Lots of a resting order that may still be filled."""
        if working.slot >= 0:
            self.floor.resting[working.slot]["remaining"] = size
        elif working.waits:
            at = self._waiting[working.index].index(working)
            self.floor.stops[working.index, at]["remaining"] = size

    def leave(self, working: Working) -> None:
        """Take an order out of the book, if it rests, or end its waiting."""
        if working.waits:
            self._wait_no_more(working)
        if working.slot < 0:
            return
        self._queues[working.index].remove(working)
        del self._at[working.slot]
        self._free.append(working.slot)
        working.slot = -1
        self._write(working.index)

    def happened(self, count: int, index: int) -> list[Happened]:
        """What the last row, of this instrument, did, in this order."""
        return [
            Happened(self._at[slot], lots, price, False)
            if slot >= 0
            else Happened(self._waiting[index][-1 - slot], lots, price, True)
            for slot, lots, price in self.floor.fills[:count].tolist()
        ]

    # --- waiting ---

    def watched_price(self, working: Working) -> int:
        """What the order's trigger watches, as it is now; 0 where it is not known."""
        trigger = working.order.trigger
        if trigger is not None and trigger.by is TriggerBy.MARK:
            return self.mark(working.index)
        return int(self.floor.markets[working.index]["last"])

    def why_not_wait(self, working: Working) -> str:
        """Why a stop order cannot wait; empty when it can."""
        order = working.order
        if sum(map(len, self._waiting)) >= self._most:
            return "too many open orders"
        price = self.watched_price(working)
        if order.trigger is None or order.type is OrderType.TRAILING_STOP or not price:
            return ""
        above = (order.side is Side.BUY) != order.type.gains
        met = price >= order.trigger.price if above else price <= order.trigger.price
        return "it would trigger at once" if met else ""

    def wait(self, working: Working, size: int) -> None:
        """Let a stop order of `size` lots wait for its trigger; it goes on from what it watched."""
        order, trigger, watched = working.order, working.order.trigger, working.watched
        assert trigger is not None
        trails = order.type is OrderType.TRAILING_STOP
        queue = self._waiting[working.index]
        stop = self.floor.stops[working.index, len(queue)]
        stop["waiting"] = 1
        stop["side"] = int(order.side)
        stop["by"] = stop_kernels.BY_MARK if trigger.by is TriggerBy.MARK else stop_kernels.BY_LAST
        stop["trigger"] = 0 if trails else trigger.price
        stop["remaining"] = size
        stop["placed"] = working.placed
        stop["activation"] = trigger.price if trails else 0
        stop["extreme"] = 0
        stop["trail"], stop["trail_ppm"] = trigger.trail, trigger.trail_ppm
        stop["gains"] = int(order.type.gains)
        if watched is not None:
            stop["activation"] = watched.activation
            stop["extreme"] = watched.extreme
            if watched.extreme:
                stop["trigger"] = stop_kernels.trail_level(
                    int(order.side), watched.extreme, trigger.trail, trigger.trail_ppm
                )
        elif price := self.watched_price(working):
            stop_kernels.follow(stop, price)
        queue.append(working)
        working.waits = True
        self.floor.markets[working.index]["stops"] = len(queue)

    def _wait_no_more(self, working: Working) -> None:
        queue, stops = self._waiting[working.index], self.floor.stops[working.index]
        at = queue.index(working)
        stops[at : len(queue) - 1] = stops[at + 1 : len(queue)].copy()
        del queue[at]
        working.waits = False
        self.floor.markets[working.index]["stops"] = len(queue)

    def watch(self) -> Iterator[Watched]:
        """What trailing stops have seen since the last time they were asked."""
        for index, queue in enumerate(self._waiting):
            for at, working in enumerate(queue):
                if working.order.type is not OrderType.TRAILING_STOP:
                    continue
                stop = self.floor.stops[index, at]
                seen = Watched(
                    client_id=working.order.client_id,
                    triggered=False,
                    activation=int(stop["activation"]),
                    extreme=int(stop["extreme"]),
                )
                if seen != working.watched:
                    working.watched = seen
                    yield seen

    def _write(self, index: int) -> None:
        queue = self._queues[index]
        self.floor.slots[index, : len(queue)] = [working.slot for working in queue]
        market = self.floor.markets[index]
        market["count"] = len(queue)
        buys = [w.order.price or 0 for w in queue if w.order.side is Side.BUY]
        sells = [w.order.price or 0 for w in queue[len(buys) :]]
        market["buy_high"], market["buy_low"] = (buys[0], buys[-1]) if buys else (0, NO_ASK)
        market["sell_low"], market["sell_high"] = (sells[0], sells[-1]) if sells else (NO_ASK, 0)
