"""All orders and where they stand: a fold over the journal.

Every order has one life through the states of core.orders; a transition that those do not allow
is a defect and stops the books.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from seawall.core.errors import InvariantError
from seawall.core.events import Side
from seawall.core.orders import EXTERNAL, PROTECTIVE, TRANSITIONS, Fill, Order, OrderState
from seawall.core.records import (
    AnyRecord,
    FillBooked,
    FundingBooked,
    OrderChanged,
    OrderCreated,
)

KEPT = 100  # finished orders kept to be shown


class OrderEntry(msgspec.Struct, kw_only=True):
    """One order.

    Attributes:
        filled: lots booked. changed: ns UTC of the last change. reason: of the last change.
        forgone: lots that the order which this one amends has filled meanwhile.
    """

    order: Order
    state: OrderState
    filled: int
    changed: int
    reason: str = ""
    forgone: int = 0

    @property
    def remaining(self) -> int:
        """Lots that can still fill."""
        return max(0, self.order.size - self.filled - self.forgone)


def worst_of(entries: Iterable[OrderEntry]) -> tuple[int, int]:
    """Lots that the buys among them, and the sells, can still add to a position (both >= 0).

    An order and its amendment count once, by the larger of the two. Protective orders add nothing:
    they never stand for more than what is held, and only one of them can fill.
    """
    counted = {
        entry.order.client_id: entry for entry in entries if entry.order.purpose not in PROTECTIVE
    }
    buys = sells = 0
    for entry in counted.values():
        lots = entry.remaining
        amended = counted.get(entry.order.replaces)
        if amended is not None:
            lots = max(0, lots - amended.remaining)
        if entry.order.side is Side.BUY:
            buys += lots
        else:
            sells += lots
    return buys, sells


class _Memory(msgspec.Struct):
    """What the fold keeps."""

    open: dict[str, OrderEntry]
    done: list[OrderEntry]
    fills: list[Fill]
    created: int
    sequence: int
    finished: dict[str, int]


class Orders:
    """Open orders, the last finished ones and how many there were; Fold."""

    name = "orders"

    def __init__(self) -> None:
        self.open: dict[str, OrderEntry] = {}
        self.done: deque[OrderEntry] = deque(maxlen=KEPT)
        self.fills: deque[Fill] = deque(maxlen=KEPT)  # the last ones
        self.created = 0  # orders ever made; client ids count on from here
        self.sequence = 0  # the venue's last report that changed anything
        self.finished: dict[str, int] = {}  # final state → orders

    def apply(self, record: AnyRecord) -> None:
        """Take in one record."""
        match record:
            case OrderCreated(order=order, ts=ts):
                if order.client_id in self.open:
                    raise InvariantError(f"order {order.client_id} is created twice")
                self.created += 1
                self.open[order.client_id] = OrderEntry(
                    order=order, state=OrderState.INTENT, filled=0, changed=ts
                )
            case OrderChanged():
                self._change(record)
            case FillBooked():
                self._fill(record)
            case FundingBooked(funding=funding):
                self.sequence = max(self.sequence, funding.sequence)

    def _change(self, change: OrderChanged) -> None:
        entry = self._entry(change.client_id)
        if change.state not in TRANSITIONS[entry.state]:
            raise InvariantError(
                f"order {change.client_id} cannot go from {entry.state} to {change.state}"
            )
        self.sequence = max(self.sequence, change.venue_sequence)
        self._move(entry, change.state, change.ts, change.reason)

    def _fill(self, booked: FillBooked) -> None:
        fill = booked.fill
        if fill.liquidation or booked.strategy == EXTERNAL:  # no order of ours stands behind it
            self.sequence = max(self.sequence, fill.sequence)
            self.fills.append(fill)
            return
        entry = self._entry(fill.client_id)
        if fill.size > entry.remaining:
            raise InvariantError(f"order {fill.client_id} is filled beyond its size")
        if entry.state is OrderState.INTENT:
            raise InvariantError(f"order {fill.client_id} cannot go from INTENT to a fill")
        self.sequence = max(self.sequence, fill.sequence)
        entry.filled += fill.size
        self.fills.append(fill)
        for other in self.open.values():
            if other.order.replaces == fill.client_id:
                other.forgone = entry.filled - other.order.carried
        if entry.remaining == 0:
            self._move(entry, OrderState.FILLED, booked.ts, "")
        elif entry.state not in (OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE):
            self._move(entry, OrderState.PARTIALLY_FILLED, booked.ts, "")

    def carry(
        self,
        created: int,
        opened: Mapping[str, OrderEntry],
        ended: Mapping[OrderState, int],
        done: Iterable[OrderEntry],
        fills: Iterable[Fill],
        sequence: int,
    ) -> None:
        """Take over what became of orders elsewhere, by the same rules.

        Args:
            created: how many are new. opened: those that are open now. ended: final state -> how
                many came to it. done, fills: the last ones, at least KEPT where there are so many.
            sequence: of the venue's last report that changed anything.
        """
        self.created += created
        self.open = dict(opened)
        for state, count in ended.items():
            self.finished[state] = self.finished.get(state, 0) + count
        self.done.extend(done)
        self.fills.extend(fills)
        self.sequence = max(self.sequence, sequence)

    def _entry(self, client_id: str) -> OrderEntry:
        entry = self.open.get(client_id)
        if entry is None:
            raise InvariantError(f"order {client_id} is not open in our books")
        return entry

    def _move(self, entry: OrderEntry, state: OrderState, ts: int, reason: str) -> None:
        entry.state, entry.changed, entry.reason = state, ts, reason
        if state.final:
            del self.open[entry.order.client_id]
            self.done.append(entry)
            self.finished[state] = self.finished.get(state, 0) + 1

    def of(self, instrument: str) -> list[OrderEntry]:
        """Open orders of an instrument, oldest first."""
        return [e for e in self.open.values() if e.order.instrument == instrument]

    def worst(self, instrument: str) -> tuple[int, int]:
        """Lots that open buys, and open sells, can still add (both >= 0)."""
        return worst_of(self.of(instrument))

    def state(self) -> Any:
        """Plain values."""
        return msgspec.to_builtins(
            _Memory(
                self.open,
                list(self.done),
                list(self.fills),
                self.created,
                self.sequence,
                self.finished,
            )
        )

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        memory = msgspec.convert(state, _Memory)
        self.open = memory.open
        self.done = deque(memory.done, maxlen=KEPT)
        self.fills = deque(memory.fills, maxlen=KEPT)
        self.created, self.sequence = memory.created, memory.sequence
        self.finished = memory.finished
