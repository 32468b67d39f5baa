"""Orders at a venue: sent, amended, cancelled, and what the venue says of them, in our books.

An order is journaled before it leaves (all of a boundary in one durable write) and is never sent
again blind: without an answer it is UNKNOWN, takes no new risk on its instrument, and is asked for
by its id until the venue has said what became of it, or has shown twice, after it could no longer
be accepted, that it never came.
"""

from collections.abc import Callable

import msgspec

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.errors import InvariantError, OrderRefusedError, VenueUnreachableError
from seawall.core.orders import (
    EXTERNAL,
    PROTECTIVE,
    TRANSITIONS,
    Fill,
    Funding,
    Movement,
    Order,
    OrderReport,
    OrderState,
    Purpose,
    Report,
    Trigger,
)
from seawall.core.ports import Venue
from seawall.core.records import FillBooked, FundingBooked, OrderChanged, OrderCreated
from seawall.execution.orders import OrderEntry, Orders

LONGEST_WAIT = 60 * SECOND  # between two attempts of what the venue rejects
LIQUIDATION = "liquidation"  # whose sub-ledger holds what the venue closed
PENDING = (OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE)
RESTING = (OrderState.NEW, OrderState.PARTIALLY_FILLED)
Errand = tuple[str, str, Purpose]  # instrument, strategy and what for


class ExecutionShape(msgspec.Struct, frozen=True, kw_only=True):
    """How orders are sent and chased.

    Attributes:
        slippage_bps: how far through the touch a NORMAL order may fill; the rest is cancelled.
        accept_ns: the venue must refuse a request that reaches it later than this.
        answer_ns: without an answer for longer, an order is UNKNOWN.
        query_ns: between two questions about an UNKNOWN order.
        recheck_ns: a resting order of which nothing was heard for so long is asked about, since its
            end may not have reached us.
        reprice_ns: between two amendments of one resting order.
    """

    slippage_bps: int = 20
    accept_ns: int = 2 * SECOND
    answer_ns: int = 5 * SECOND
    query_ns: int = SECOND
    margin_ns: int = 500 * MILLISECOND
    reprice_ns: int = SECOND
    recheck_ns: int = 60 * SECOND


def errand_of(order: Order) -> Errand:
    """What an order is sent for."""
    return order.instrument, order.strategy, order.purpose


class Desk:
    """One account at one venue.

    Args:
        prefix: of client ids; never the same for two journals at one venue.
        record: journals records, durably or until `hold`'s commit, and applies them to the folds.
        last_fill: report sequence of the last fill that the ledger has booked.
    """

    def __init__(
        self,
        venue: Venue,
        orders: Orders,
        prefix: str,
        record: Callable[..., None],
        last_fill: Callable[[], int],
        shape: ExecutionShape | None = None,
    ) -> None:
        self.orders = orders
        self.shape = shape or ExecutionShape()
        self.unreachable = ""  # why the venue cannot be reached; empty while it answers
        self.behind = True  # the books were not compared with the venue since it was out of reach
        self._venue = venue
        self._prefix = prefix
        self._record = record
        self._last_fill = last_fill
        self._commit: Callable[[], None] | None = None  # while requests wait
        self._waiting: list[Callable[[], None]] = []  # requests that are journaled and not sent yet
        self._cut = False  # while requests leave: the venue has stopped answering
        self._rejections: dict[Errand, tuple[int, int]] = {}  # (in a row, retry at)
        self._misses: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._forgotten: dict[Errand, str] = {}  # the attempt that never arrived
        self._missed: set[str] = set()  # client ids whose reports may have been lost
        self._heard = 0  # the latest report's sequence

    @property
    def prefix(self) -> str:
        """Of client ids."""
        return self._prefix

    @property
    def plain(self) -> bool:
        """Whether no order was refused or lost of late, and none is in doubt."""
        trouble = (self._rejections, self._misses, self._asked, self._forgotten, self._missed)
        return not (self.silent or any(trouble))

    def hear(self, sequence: int) -> None:
        """The reports up to this one have been taken in some other way."""
        self._heard = max(self._heard, sequence)

    @property
    def silent(self) -> bool:
        """Nothing may be sent: the venue does not answer, or was not compared with since."""
        return bool(self.unreachable) or self.behind

    def waits(self, errand: Errand, now: int) -> bool:
        """Whether the venue has rejected this of late, so that it is not asked again yet."""
        return now < self._rejections.get(errand, (0, 0))[1]

    # --- toward the venue ---

    def hold(self, commit: Callable[[], None]) -> None:
        """Requests wait from here on, so that all of a boundary share one durable write.

        Args:
            commit: makes durable what was recorded since. StoreError where it cannot.
        """
        self._commit = commit

    def release(self) -> None:
        """Requests leave from here on, first those that have waited. See `depart`."""
        self.depart()
        self._commit = None

    def depart(self) -> None:
        """Make durable what was recorded; then the requests that wait leave, in their order.

        Raises:
            StoreError: it could not be kept; nothing leaves.
        """
        if self._commit is not None:
            self._commit()
        self._cut = False
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            request()

    def _leave(self, request: Callable[[], None]) -> None:
        self._waiting.append(request)
        if self._commit is None:
            self.depart()

    def send(self, order: Order, now: int, at_once: bool = False) -> OrderEntry | None:
        """Journal, then send: what leaves is always known to our books.

        Args:
            order: its client id, its time limit and the attempt that it follows are filled in here.
            at_once: it does not wait for the others, since the caller goes by what comes of it.

        Returns:
            The order as it stands after; None where it was refused at the door.
        """
        order = msgspec.structs.replace(
            order,
            client_id=self._next_id(),
            accept_until=now + self.shape.accept_ns,
            replaces=self._forgotten.pop(errand_of(order), ""),
        )
        client_id = order.client_id
        self._record(
            OrderCreated(ts=now, order=order),
            OrderChanged(ts=now, client_id=client_id, state=OrderState.SENT),
        )
        self._leave(lambda: self._request(client_id, now, lambda: self._venue.gateway.place(order)))
        if at_once:
            self.depart()
        return self.orders.open.get(client_id)

    def _request(self, client_id: str, now: int, ask: Callable[[], None]) -> None:
        """Place an order or put it in another one's place, and take in how that went."""
        if self._cut:
            self._change(client_id, OrderState.REJECTED, now, f"not sent: {self.unreachable}")
            return
        try:
            ask()
        except OrderRefusedError as error:
            self._change(client_id, OrderState.REJECTED, now, str(error))
        except VenueUnreachableError as error:
            self.lost(str(error))
            self._change(client_id, OrderState.UNKNOWN, now, str(error))

    def amend(
        self,
        entry: OrderEntry,
        now: int,
        size: int,
        price: int | None,
        trigger: Trigger | None = None,
    ) -> None:
        """Ask the venue to put another order in the place of one that rests.

        Until the venue has answered both are open in our books; at its worst the pair counts once.

        Args:
            size: lots still to be had. What the old order fills until it is replaced is taken off.
        """
        old = entry.order
        order = msgspec.structs.replace(
            old,
            client_id=self._next_id(),
            accept_until=now + self.shape.accept_ns,
            replaces=old.client_id,
            carried=entry.filled,
            size=size,
            price=price,
            trigger=trigger,
        )
        self._record(
            OrderCreated(ts=now, order=order),
            OrderChanged(ts=now, client_id=order.client_id, state=OrderState.SENT),
            OrderChanged(
                ts=now,
                client_id=old.client_id,
                state=OrderState.PENDING_REPLACE,
                filled=entry.filled,
            ),
        )
        gateway = self._venue.gateway
        self._leave(
            lambda: self._request(
                order.client_id, now, lambda: gateway.replace(old.client_id, order)
            )
        )

    def _next_id(self) -> str:
        return f"{self._prefix}-{self.orders.created + 1}"

    def cancel(self, entry: OrderEntry, now: int) -> None:
        """Ask the venue to cancel an order."""
        self._change(entry.order.client_id, OrderState.PENDING_CANCEL, now, "")
        self._leave(lambda: self._ask_to_cancel(entry.order))

    def _ask_to_cancel(self, order: Order) -> None:
        if self._cut:
            return  # its fate is asked for with all others
        try:
            self._venue.gateway.cancel(order.instrument, order.client_id)
        except OrderRefusedError:
            self._missed.add(order.client_id)  # it is no longer open there: what became of it?
        except VenueUnreachableError as error:
            self.lost(str(error))

    def cancel_risk(self, now: int) -> None:
        """Cancel every order that could add risk; reduce-only and protective ones stay."""
        for entry in list(self.orders.open.values()):
            order = entry.order
            stays = order.reduce_only or order.purpose in PROTECTIVE
            if entry.state in RESTING and not stays:
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
            self._missed.update(self.orders.open)  # or the end of an order
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
        if entry is None and not fill.client_id.startswith(f"{self._prefix}-"):
            self._record(FillBooked(ts=now, fill=fill, strategy=EXTERNAL))
            return
        if entry is None:
            raise InvariantError(
                f"the venue reports fill {fill.fill_id} of order {fill.client_id}, which is not "
                "open in our books; compare the venue's log with the journal"
            )
        self._rejections.pop(errand_of(entry.order), None)
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
            if waiting and now - entry.changed > self.shape.answer_ns:
                self._change(entry.order.client_id, OrderState.UNKNOWN, now, "no answer")
            elif entry.state in RESTING:
                last = max(entry.changed, self._asked.get(entry.order.client_id, 0))
                if now - last > self.shape.recheck_ns:
                    self._missed.add(entry.order.client_id)
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
        if now - self._asked.get(client_id, -self.shape.query_ns) < self.shape.query_ns:
            return
        self._asked[client_id] = now
        found = self._venue.account.orders([client_id])
        self.sync_fills(now)
        if found:
            self._misses.pop(client_id, None)
            if found[0].state is not OrderState.SENT:  # else it is still on its way
                self._missed.discard(client_id)
            self.take(found[0], now)
        elif now > entry.order.accept_until + self.shape.margin_ns:
            self._misses[client_id] = self._misses.get(client_id, 0) + 1
            if self._misses[client_id] >= 2 and client_id in self.orders.open:
                self._forget(entry, now)

    def _forget(self, entry: OrderEntry, now: int) -> None:
        client_id = entry.order.client_id
        if entry.state is not OrderState.UNKNOWN:
            self._change(client_id, OrderState.UNKNOWN, now, "absent at the venue")
        self._change(client_id, OrderState.REJECTED, now, "never reached the venue")
        self._forgotten[errand_of(entry.order)] = client_id

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
        self._cut = True
        self.behind = True
        self._missed.update(self.orders.open)

    def _change(
        self, client_id: str, state: OrderState, now: int, reason: str, sequence: int = 0
    ) -> None:
        entry = self.orders.open[client_id]
        rejected = state is OrderState.REJECTED
        if rejected:  # what was refused is not asked again at once
            errand = errand_of(entry.order)
            count = self._rejections.get(errand, (0, 0))[0] + 1
            wait = min(LONGEST_WAIT, SECOND << min(count, 6))
            self._rejections[errand] = (count, now + wait)
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
        if rejected:
            self._stands(entry.order.replaces, now)

    def _stands(self, client_id: str, now: int) -> None:
        """An amendment was refused: what it was to replace may stand, which is asked."""
        old = self.orders.open.get(client_id)
        if old is None:
            return
        self._missed.add(client_id)
        if old.state is OrderState.PENDING_REPLACE:
            state = OrderState.PARTIALLY_FILLED if old.filled else OrderState.NEW
            self._change(client_id, state, now, "the amendment was refused")
