"""The executor: at most one order per instrument on its way to what risk approved.

An order is journaled before it leaves and is never sent again blind: without an answer it is
UNKNOWN, takes no new risk on its instrument, and is asked for by its id until the venue has said
what became of it, or has shown twice, after it could no longer be accepted, that it never came.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.errors import InvariantError, OrderRefusedError, VenueUnreachableError
from seawall.core.events import Side
from seawall.core.instruments import Catalog, Kind
from seawall.core.intents import Approved, Close, Urgency
from seawall.core.orders import (
    TRANSITIONS,
    Fill,
    Funding,
    Movement,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Report,
    TimeInForce,
)
from seawall.core.ports import Venue
from seawall.core.records import FillBooked, FundingBooked, OrderChanged, OrderCreated
from seawall.execution.orders import OrderEntry, Orders

Touch = tuple[int, int]  # best bid and ask in ticks
LONGEST_WAIT = 60 * SECOND  # between two attempts of what the venue rejects
LIQUIDATION = "liquidation"  # whose sub-ledger holds what the venue closed
PENDING = (OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE)
RESTING = (OrderState.NEW, OrderState.PARTIALLY_FILLED)


class ExecutionShape(msgspec.Struct, frozen=True, kw_only=True):
    """How orders are sent and chased.

    Attributes:
        slippage_bps: how far through the touch a NORMAL order may fill; the rest is cancelled.
        accept_ns: the venue must refuse a request that reaches it later than this.
        answer_ns: without an answer for longer, an order is UNKNOWN.
        query_ns: between two questions about an UNKNOWN order.
    """

    slippage_bps: int = 20
    accept_ns: int = 2 * SECOND
    answer_ns: int = 5 * SECOND
    query_ns: int = SECOND
    margin_ns: int = 500 * MILLISECOND


class Executor:
    """Works approved intents against one venue.

    Args:
        prefix: of client ids; never the same for two journals at one venue.
        record: journals records, durably, and applies them to the folds.
        position: signed lots held, by instrument.
        last_fill: report sequence of the last fill that the ledger has booked.
    """

    def __init__(
        self,
        catalog: Catalog,
        venue: Venue,
        orders: Orders,
        prefix: str,
        record: Callable[..., None],
        position: Callable[[str], int],
        last_fill: Callable[[], int],
        shape: ExecutionShape | None = None,
    ) -> None:
        self.orders = orders
        self.unreachable = ""  # why the venue cannot be reached; empty while it answers
        self.behind = True  # the books were not compared with the venue since it was out of reach
        self.goals: dict[str, Approved] = {}
        self._instruments = catalog.by_name
        self._venue = venue
        self._prefix = prefix
        self._record = record
        self._position = position
        self._last_fill = last_fill
        self._shape = shape or ExecutionShape()
        self._rejections: dict[str, tuple[int, int]] = {}  # instrument → (in a row, retry at)
        self._misses: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._forgotten: dict[str, str] = {}  # instrument → the attempt that never arrived
        self._missed: set[str] = set()  # client ids whose reports may have been lost
        self._heard = 0  # the latest report's sequence

    # --- toward the venue ---

    def aim(self, approved: Iterable[Approved]) -> None:
        """Take over what risk approved; a newer approval replaces the instrument's older one."""
        for approval in approved:
            self.goals[approval.instrument] = approval

    def work(self, touches: Mapping[str, Touch], now: int, blocked: bool) -> None:
        """Send what the goals call for. `blocked`: only what reduces a position may go.

        Nothing goes to a venue that does not answer, or before the books agree with it again.
        """
        for instrument, goal in list(self.goals.items()):
            if now >= goal.intent.expiry and not isinstance(goal.intent, Close):
                del self.goals[instrument]
        if not (self.unreachable or self.behind):
            self._withdraw(now, blocked)
        for instrument, goal in list(self.goals.items()):
            if self.unreachable or self.behind:
                return
            if self.orders.of(instrument):
                continue
            position, wanted = self._position(instrument), self._wanted(goal)
            delta, reducing = wanted - position, _reduces(wanted, position)
            if delta == 0 or ((blocked or goal.reduce_only) and not reducing):
                del self.goals[instrument]
                continue
            touch = touches.get(instrument)
            if touch is not None and now >= self._rejections.get(instrument, (0, 0))[1]:
                self._send(self._order(goal, delta, reducing, touch, now), now)

    def _wanted(self, goal: Approved) -> int:
        """Signed lots to hold; on a spot market never fewer than none."""
        spot = self._instruments[goal.instrument].kind is Kind.SPOT
        return max(0, goal.position) if spot else goal.position

    def _withdraw(self, now: int, blocked: bool) -> None:
        """Cancel resting orders that lead away from their goal, or to risk that nobody allows."""
        for entry in list(self.orders.open.values()):
            order, goal = entry.order, self.goals.get(entry.order.instrument)
            position = self._position(order.instrument)
            change = order.side.sign * entry.remaining
            if goal is None or goal.reduce_only or blocked:
                wrong = not _reduces(position + change, position)
            else:
                wrong = False
            if goal is not None:
                wrong = wrong or not _reduces(change, self._wanted(goal) - position)
            if wrong and entry.state in RESTING:
                self.cancel(entry, now)

    def _order(self, goal: Approved, delta: int, reducing: bool, touch: Touch, now: int) -> Order:
        instrument = self._instruments[goal.instrument]
        side = Side.BUY if delta > 0 else Side.SELL
        bid, ask = touch
        urgency = goal.intent.urgency
        price: int | None = None
        if urgency is Urgency.NORMAL:
            touched = ask if side is Side.BUY else bid
            price = touched + side.sign * (touched * self._shape.slippage_bps // 10_000)
        elif urgency is Urgency.PASSIVE:
            price = bid if side is Side.BUY else ask
        return Order(
            client_id=f"{self._prefix}-{self.orders.created + 1}",
            instrument=goal.instrument,
            side=side,
            type=OrderType.MARKET if price is None else OrderType.LIMIT,
            size=abs(delta),
            price=price,
            time_in_force=(TimeInForce.GTC if urgency is Urgency.PASSIVE else TimeInForce.IOC),
            post_only=urgency is Urgency.PASSIVE,
            reduce_only=reducing and instrument.kind is not Kind.SPOT,
            accept_until=now + self._shape.accept_ns,
            replaces=self._forgotten.pop(goal.instrument, ""),
            strategy=goal.intent.strategy,
        )

    def _send(self, order: Order, now: int) -> None:
        """Journal, then send: what leaves is always known to our books."""
        self._record(
            OrderCreated(ts=now, order=order),
            OrderChanged(ts=now, client_id=order.client_id, state=OrderState.SENT),
        )
        try:
            self._venue.gateway.place(order)
        except OrderRefusedError as error:
            self._change(order.client_id, OrderState.REJECTED, now, str(error))
        except VenueUnreachableError as error:
            self.lost(str(error))
            self._change(order.client_id, OrderState.UNKNOWN, now, str(error))

    def cancel(self, entry: OrderEntry, now: int) -> None:
        """Ask the venue to cancel an order."""
        order = entry.order
        self._change(order.client_id, OrderState.PENDING_CANCEL, now, "")
        try:
            self._venue.gateway.cancel(order.instrument, order.client_id)
        except OrderRefusedError:
            self._missed.add(order.client_id)  # it is no longer open there: what became of it?
        except VenueUnreachableError as error:
            self.lost(str(error))

    def cancel_risk(self, now: int) -> None:
        """Cancel every order that could add risk; reduce-only ones stay."""
        for entry in list(self.orders.open.values()):
            if entry.state in RESTING and not entry.order.reduce_only:
                self.cancel(entry, now)

    # --- from the venue ---

    def listen(self, now: int) -> None:
        """Take in what the venue reported up to now, and chase what it has not answered."""
        try:
            for report in self._venue.stream.poll(now):
                self.take(report, now)
            self.unreachable = ""
            self._chase(now)
        except VenueUnreachableError as error:
            self.lost(str(error))

    def take(self, report: Report, now: int) -> None:
        """One report; what our books hold already is passed over. Raises VenueUnreachableError."""
        if report.sequence > self._heard + 1:
            self.sync_fills(now)  # others are missing before it, and fills may be among them
        self._heard = max(self._heard, report.sequence)
        if isinstance(report, Fill | Funding):
            self._book(report, now)
            return
        entry = self.orders.open.get(report.client_id)
        if entry is None:
            return
        if report.filled > entry.filled:
            self.sync_fills(now)
            entry = self.orders.open.get(report.client_id)
            if entry is not None and report.filled > entry.filled:
                self._missed.add(report.client_id)  # its fills are still to come
                return
        if entry is not None and report.state is not entry.state:
            self._follow(entry, report, now)

    def _follow(self, entry: OrderEntry, report: OrderReport, now: int) -> None:
        """Move an order to the state that the venue reports, where its life allows it."""
        pending = entry.state in PENDING and not report.state.final
        if pending or report.state not in TRANSITIONS[entry.state]:
            return
        self._change(report.client_id, report.state, now, report.reason, report.sequence)

    def _book(self, movement: Movement, now: int) -> None:
        if movement.sequence <= self._last_fill():
            return
        if isinstance(movement, Funding):
            self._record(FundingBooked(ts=now, funding=movement))
        elif movement.liquidation:
            self._record(FillBooked(ts=now, fill=movement, strategy=LIQUIDATION))
        else:
            self._book_fill(movement, now)

    def _book_fill(self, fill: Fill, now: int) -> None:
        entry = self.orders.open.get(fill.client_id)
        if entry is None:
            raise InvariantError(
                f"the venue reports fill {fill.fill_id} of order {fill.client_id}, which is not "
                "open in our books; compare the venue's log with the journal"
            )
        self._rejections.pop(fill.instrument, None)
        self._record(FillBooked(ts=now, fill=fill, strategy=entry.order.strategy))

    def sync_fills(self, now: int) -> int:
        """Book every fill and funding that the venue has and we have not; how many there were.

        Raises VenueUnreachableError.
        """
        fills = self._venue.account.fills(self._last_fill())
        for fill in fills:
            self._book(fill, now)
        return len(fills)

    @property
    def doubtful(self) -> list[str]:
        """Open orders of which we do not know for certain what became of them."""
        return [
            client_id
            for client_id, entry in self.orders.open.items()
            if entry.state is OrderState.UNKNOWN or client_id in self._missed
        ]

    def _chase(self, now: int) -> None:
        """Ask about orders without an answer. Raises VenueUnreachableError."""
        for entry in list(self.orders.open.values()):
            waiting = entry.state in (OrderState.SENT, *PENDING)
            if waiting and now - entry.changed > self._shape.answer_ns:
                self._change(entry.order.client_id, OrderState.UNKNOWN, now, "no answer")
        for client_id in self.doubtful:
            if client_id in self.orders.open:  # an answer about another may have finished it
                self._ask(self.orders.open[client_id], now)
        self._missed &= self.orders.open.keys()
        for client_id in self._asked.keys() - self.orders.open.keys():
            del self._asked[client_id]
            self._misses.pop(client_id, None)

    def _ask(self, entry: OrderEntry, now: int) -> None:
        """What became of an order? Absence counts twice, and only after it could be accepted.

        Raises VenueUnreachableError.
        """
        client_id = entry.order.client_id
        if now - self._asked.get(client_id, -self._shape.query_ns) < self._shape.query_ns:
            return
        self._asked[client_id] = now
        found = self._venue.account.orders([client_id])
        self.sync_fills(now)
        if found:
            self._misses.pop(client_id, None)
            if found[0].state is not OrderState.SENT:  # else it is still on its way
                self._missed.discard(client_id)
            self.take(found[0], now)
        elif now > entry.order.accept_until + self._shape.margin_ns:
            self._misses[client_id] = self._misses.get(client_id, 0) + 1
            if self._misses[client_id] >= 2 and client_id in self.orders.open:
                self._forget(entry, now)

    def _forget(self, entry: OrderEntry, now: int) -> None:
        client_id = entry.order.client_id
        if entry.state is not OrderState.UNKNOWN:
            self._change(client_id, OrderState.UNKNOWN, now, "absent at the venue")
        self._change(client_id, OrderState.REJECTED, now, "never reached the venue")
        self._forgotten[entry.order.instrument] = client_id

    # --- after a restart ---

    def recover(self, now: int) -> None:
        """Before the first decision: nothing of the last life is left in doubt without a name.

        Orders that were never sent are cancelled in our books; all others are UNKNOWN until the
        venue has been asked. Fills that we missed are booked.
        """
        for entry in list(self.orders.open.values()):
            if entry.state is OrderState.INTENT:
                self._change(entry.order.client_id, OrderState.CANCELED, now, "never sent")
            elif entry.state is not OrderState.UNKNOWN:
                self._change(entry.order.client_id, OrderState.UNKNOWN, now, "restart")
        self._missed = set(self.orders.open)
        try:
            self.sync_fills(now)
            self._chase(now)
        except VenueUnreachableError as error:
            self.lost(str(error))

    def strangers(self) -> list[str]:
        """Orders open at the venue that our books do not have. Raises VenueUnreachableError."""
        return [
            report.client_id
            for report in self._venue.account.orders()
            if report.client_id not in self.orders.open
        ]

    def lost(self, reason: str) -> None:
        """The venue did not answer: whatever was open there may have changed unheard."""
        self.unreachable = reason or "the venue does not answer"
        self.behind = True
        self._missed.update(self.orders.open)

    def _change(
        self, client_id: str, state: OrderState, now: int, reason: str, sequence: int = 0
    ) -> None:
        entry = self.orders.open[client_id]
        if state is OrderState.REJECTED:  # what was refused is not asked again at once
            count = self._rejections.get(entry.order.instrument, (0, 0))[0] + 1
            wait = min(LONGEST_WAIT, SECOND << min(count, 6))
            self._rejections[entry.order.instrument] = (count, now + wait)
        self._record(
            OrderChanged(
                ts=now,
                client_id=client_id,
                state=state,
                filled=entry.filled,
                reason=reason,
                venue_sequence=sequence,
            )
        )


def _reduces(position: int, held: int) -> bool:
    """Whether going from `held` lots to `position` neither grows nor turns."""
    return min(0, held) <= position <= max(0, held)
