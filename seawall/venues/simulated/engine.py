"""The exchange itself: requests in, tape rows in, reports out, every one of them logged first.

Venue time is the receive time of the node's rows. A request sent at t reaches the book at t + entry
latency, its reports reach the node at effect + response latency, and each way is first in, first
out. At equal times the tape goes first, so a request at T is applied once the time is past T.
"""

import gc
import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import InvariantError, OrderRefusedError, StoreError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.orders import Fill, Movement, Order, OrderReport, OrderState, Report
from seawall.venues.simulated import kernels, requests
from seawall.venues.simulated.accounts import Accounts
from seawall.venues.simulated.desk import Desk, Working
from seawall.venues.simulated.keeping import Keeping, resumed
from seawall.venues.simulated.log import Log, Requested
from seawall.venues.simulated.matching import Matching, Timer
from seawall.venues.simulated.shape import VenueShape
from seawall.venues.simulated.told import Told

_NEVER = (1 << 63) - 1
_FAILED = "the exchange has failed and takes nothing more; start it again from its log"


class Engine:
    """One exchange: books, orders, accounts, time.

    Args:
        catalog: whose instruments are traded; the primary book of each is the exchange's.
        shape: fees, latencies and limits.
        log: where it is kept; what is in it is taken over. None: in memory only.

    Raises:
        SettingError: the shape is out of range.
        StoreError: the log cannot be read, or does not fit the catalog.
    """

    def __init__(self, catalog: Catalog, shape: VenueShape, log: Log | None = None) -> None:
        self.shape = shape.check()
        self.catalog = catalog
        self.now = 0
        self._told = Told(log)
        self.matching = Matching(catalog, shape, self._told, log is not None)
        self._keeping = Keeping(log, self.matching, self._told) if log is not None else None
        self.in_flight = 0
        self.last_arrival = 0
        self._failed = False
        self._begun = False
        self._review = 0  # ns UTC of the next look at the margin, 0: after the next row
        if self._keeping is not None:
            collecting = gc.isenabled()
            gc.disable()  # all that a long log holds stays: looking through it again is in vain
            try:
                self._open(self._keeping)
            finally:
                if collecting:
                    gc.enable()

    def _open(self, keeping: Keeping) -> None:
        """Take over what the log holds, then open for business."""
        open_requests = keeping.open()
        self.now = self.matching.said
        self.last_arrival = keeping.last_arrival
        for request in open_requests:
            self._deduct(request)
            if resumed(self.matching, request):
                self._send(request)
        keeping.opened()

    def _deduct(self, request: Requested) -> None:
        """After a restart: what the order before an amendment had filled when it was replaced."""
        old = self._report_of(request.client_id) if request.action == "replace" else None
        if old is None or request.order is None or not old.state.final:
            return
        new = self.matching.orders[request.order.client_id]
        new.forgone = max(0, old.filled - request.order.carried)

    @property
    def desk(self) -> Desk:
        """Resting orders, and the books that they rest in."""
        return self.matching.desk

    @property
    def made(self) -> int:
        """The sequence of the last report."""
        return len(self._told.due)

    def postpone(
        self,
        due: NDArray[np.int64],
        moves: NDArray[np.int64],
        tell: Sequence[tuple[int, Callable[[], list[Report]]]],
        prefix: str,
        numbers: NDArray[np.int64],
        finals: NDArray[np.int64],
    ) -> None:
        """Reports that were made elsewhere, see `Told.postpone`, and the orders that are done, see
        `Told.end`."""
        self._told.postpone(due, moves, tell)
        self._told.end(prefix, numbers, finals)

    def has_ended(self, client_id: str) -> bool:
        """Whether it is an order that ended elsewhere, or before the last checkpoint."""
        return self._told.final_of(client_id) is not None

    @property
    def last_due(self) -> int:
        """Ns UTC at which it reaches the node; 0 before the first."""
        return self._told.due[-1] if self._told.due else 0

    @property
    def accounts(self) -> Accounts:
        """Balances and positions."""
        return self.matching.accounts

    # --- what the node asks ---

    def place(self, order: Order, ts: int) -> None:
        """Accept an order that the node sent at `ts` (ns UTC).

        Raises:
            OrderRefusedError: it can never be valid, or its client id was used before.
            StoreError: the log cannot be written; the order is not accepted.
        """
        self._refuse_unfit(order)
        arrival = self._arrival(order.client_id, order.instrument, ts)
        self._accept(
            Requested(
                action="place", client_id=order.client_id, order=order, ts=ts, arrival=arrival
            )
        )

    def cancel(self, instrument: str, client_id: str, ts: int) -> None:
        """Accept a wish to cancel. When it arrives too late nothing happens: the fill was first.

        Raises:
            OrderRefusedError: there never was such an order.
        """
        self._known(client_id, instrument)
        arrival = self._arrival(f"{client_id}/cancel", instrument, ts)
        self._accept(Requested(action="cancel", client_id=client_id, ts=ts, arrival=arrival))

    def replace(self, client_id: str, order: Order, ts: int) -> None:
        """Accept a wish to cancel an order and, if it was still open, to place another for it.

        What the old one has filled beyond the new one's `carried` is taken off its size; where
        nothing is left it is rejected. When the new one is rejected on arrival the old one stays
        cancelled.

        Raises:
            OrderRefusedError: there never was such an order, or the new one is unfit.
        """
        self._known(client_id, order.instrument)
        self._refuse_unfit(order)
        arrival = self._arrival(order.client_id, order.instrument, ts)
        self._accept(
            Requested(action="replace", client_id=client_id, order=order, ts=ts, arrival=arrival)
        )

    def orders(self, client_ids: Sequence[str] | None = None) -> list[OrderReport]:
        """All open orders, or the named ones in whatever state; unknown ids are left out.

        An accepted order that has not reached the book yet is SENT, with sequence 0.
        """
        self._must_stand()
        if client_ids is None:
            return [working.report for working in self.matching.live.values()]
        found = (self._report_of(name) for name in client_ids)
        return [report for report in found if report is not None]

    def _report_of(self, client_id: str) -> OrderReport | None:
        working = self.matching.orders.get(client_id)
        return self._told.last_of(client_id) if working is None else working.report

    def movements(self, after: int, most: int | None = None) -> list[Movement]:
        """Fills and funding with a sequence greater than `after`, in order; the first `most`."""
        self._must_stand()
        return self._told.movements(after, most)

    def fills(self, after: int) -> list[Fill]:
        """Fills alone."""
        return [each for each in self.movements(after) if isinstance(each, Fill)]

    def balances(self) -> Mapping[str, int]:
        """Asset → smallest units."""
        self._must_stand()
        return dict(self.accounts.balances)

    def positions(self) -> Mapping[str, int]:
        """Instrument → signed lots (derivatives)."""
        self._must_stand()
        return {name: held.lots for name, held in self.accounts.positions.items() if held.lots}

    def reports(self, after: int, until: int, most: int | None = None) -> list[Report]:
        """Reports with a sequence greater than `after` that have reached the node by `until`.

        Args:
            most: no more than so many, the first ones.

        Raises:
            InvariantError: the node has reports that were never made here.
        """
        self._must_stand()
        made = len(self._told.due)
        if after > made:
            raise InvariantError(
                f"the node has report {after} of the exchange, which made {made}: "
                "its log is another one or has lost its end; do not trade on, compare both"
            )
        return self._told.between(after, until, most)

    # --- time and the market ---

    def observe(self, rows: Raw, until: int) -> None:
        """Take in rows of the tape (dtype EVENT, by receive time); the time is now `until`.

        Raises:
            StoreError: the log cannot be written; the exchange is of no use any more.
        """
        self._must_stand()
        self._failed = True  # until everything below has gone through
        view: NDArray[Any] = np.ascontiguousarray(rows).view()
        view.flags.writeable = False  # one compiled kernel for all
        self.matching.flow.begin(view)
        last = int(view["recv_ts"][-1]) if len(view) else 0
        until = max(until, last, self.now)
        if not self._begun:
            self._begun = True
            first = self.now or (int(view["recv_ts"][0]) if len(view) else until) - 1
            self.matching.schedule_funding(first)
        at = 0
        while True:
            timer = self.matching.timers[0][0] if self.matching.timers else _NEVER
            review = self._review_due(view, at)
            due = min(timer, review)
            at = self._run(view, at, due if due < until else _NEVER)
            self.matching.flow.advance(at)
            if due >= until:
                break
            self.now = max(due, self.now)
            if timer <= review:
                self._apply(heapq.heappop(self.matching.timers)[2], self.now)
            else:
                self._review = 0
                self.matching.review_margin(self.now)
        self.now = until
        if self._keeping is not None:
            self._keeping.flush()
        self._failed = False

    def _review_due(self, rows: NDArray[Any], at: int) -> int:
        """Ns UTC of the next look at the margin: the first whole second after the next row."""
        if not self._review and self.shape.maintenance_ppm and at < len(rows):
            self._review = -(-int(rows[at]["recv_ts"]) // SECOND) * SECOND
        return self._review or _NEVER

    def _must_stand(self) -> None:
        """After a failed write there may be reports that no log holds: they must not be told."""
        if self._failed:
            raise StoreError(_FAILED)

    def void(self) -> None:
        """Forget all books: rows may have been missed. Orders stay."""
        for index in range(len(self.catalog.instruments)):
            kernels.void(self.desk.floor, index)

    def _run(self, rows: NDArray[Any], at: int, limit: int) -> int:
        while at < len(rows):
            at, filled = kernels.run(self.desk.floor, rows, at, limit)
            if not filled:
                break
            self.matching.flow.advance(at)
            ts = max(self.now, int(rows[at - 1]["recv_ts"]))
            for happened in self.desk.happened(filled, int(rows[at - 1]["instrument"])):
                self.matching.meet(happened, ts)
        return int(at)

    def _apply(self, timer: Timer, ts: int) -> None:
        matching = self.matching
        if isinstance(timer, Working):
            if not timer.report.state.final:
                matching.finish(timer, OrderState.EXPIRED, ts, "its time is over")
            return
        if isinstance(timer, tuple):
            for rate in timer:
                matching.pay_funding(rate, ts)
            matching.schedule_funding(timer[0].ts)
            return
        self.in_flight -= 1
        old = matching.live.get(timer.client_id)
        if timer.action == "cancel":
            if old is not None:
                matching.finish(old, OrderState.CANCELED, ts, "cancelled")
        elif timer.action == "place":
            matching.arrive(matching.orders[timer.client_id], ts)
        elif timer.order is not None:
            new = matching.orders[timer.order.client_id]
            if old is None:
                reason = f"{timer.client_id} is no longer open"
                matching.finish(new, OrderState.REJECTED, ts, reason)
                return
            matching.finish(old, OrderState.CANCELED, ts, f"replaced by {new.order.client_id}")
            new.forgone = max(0, old.filled - new.order.carried)
            if new.left > 0:
                matching.arrive(new, ts)
            else:
                matching.finish(new, OrderState.REJECTED, ts, "the order before it took it all")

    # --- requests ---

    def _refuse_unfit(self, order: Order) -> None:
        """OrderRefusedError where the order can never be valid."""
        if self._failed:
            raise requests.refuse(order, _FAILED)
        if order.client_id in self.matching.orders or self.has_ended(order.client_id):
            raise requests.refuse(order, "this client id was used before")
        index = self.matching.index.get(order.instrument, -1)
        instrument = self.catalog.instruments[index] if index >= 0 else None
        if reason := requests.unfit(order, instrument):
            raise requests.refuse(order, reason)
        if self.in_flight >= 4 * self.shape.max_open_orders:
            raise requests.refuse(order, "too many requests are on their way; wait for the reports")

    def _known(self, client_id: str, instrument: str) -> None:
        report = self._report_of(client_id)
        if report is None or report.instrument != instrument or self._failed:
            reason = _FAILED if self._failed else "no such order is known"
            raise OrderRefusedError(f"order {client_id} on {instrument}: {reason}")

    def _arrival(self, event: str, instrument: str, ts: int) -> int:
        matching = self.matching
        sent = ts + matching.latency("entry", event, self.shape.entry_latency_ns)
        sent += matching.flow.delay(matching.index.get(instrument, -1))
        return max(sent, self.last_arrival, self.now)

    def _accept(self, request: Requested) -> None:
        """Log a request; it exists from here on, and is on its way."""
        if self._keeping is not None:
            self._keeping.accept(request)
        self.last_arrival = max(self.last_arrival, request.arrival)
        self.matching.said = max(self.matching.said, request.ts)
        if request.order is not None:
            self.matching.register(request.order, request.ts)
        self._send(request)

    def _send(self, request: Requested) -> None:
        self.in_flight += 1
        self.matching.set_timer(request.arrival, request)
