"""The exchange itself: requests in, tape rows in, reports out, every one of them logged first.

Venue time is the receive time of the node's rows. A request sent at t reaches the book at t + entry
latency, its reports reach the node at effect + response latency, and each way is first in, first
out. At equal times the tape goes first, so a request at T is applied once the time is past T.
"""

import gc
import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core import money
from seawall.core.errors import InvariantError, OrderRefusedError, StoreError
from seawall.core.events import Raw, Side
from seawall.core.instruments import PRODUCT_LIMIT, Catalog, Instrument, Kind
from seawall.core.orders import Fill, Order, OrderReport, OrderState, OrderType, Report, TimeInForce
from seawall.core.randomness import generator
from seawall.venues.simulated import funds, kernels, standing
from seawall.venues.simulated.accounts import Accounts
from seawall.venues.simulated.desk import Desk, Working
from seawall.venues.simulated.log import Log, Opened, Reported, Requested
from seawall.venues.simulated.shape import VenueShape
from seawall.venues.simulated.told import Past, Told

LONGEST_ID = 64
_NEVER = (1 << 63) - 1
_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)
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
        self.accounts = Accounts(shape.balances)
        self.desk = Desk(catalog, shape)
        self._log = log
        self._index = {
            i.name: k for k, i in enumerate(catalog.instruments) if i.name in catalog.primary
        }
        self._orders: dict[str, Working] = {}  # all, less those that the last checkpoint ended
        self._live: dict[str, Working] = {}
        self._timers: list[tuple[int, int, Requested | Working]] = []
        self._numbers = 0
        self._in_flight = 0
        self._last_arrival = 0
        self._said = 0  # the latest time in the log
        self._told = Told(log)
        self._requests: list[Requested] = []  # since the last checkpoint, or of open orders
        self._opened: Opened | None = None
        self._batch: list[Reported] = []
        self._failed = False
        if log is not None:
            collecting = gc.isenabled()
            gc.disable()  # all that a long log holds stays: looking through it again is in vain
            try:
                self._open(log)
            finally:
                if collecting:
                    gc.enable()

    # --- what the node asks ---

    def place(self, order: Order, ts: int) -> None:
        """Accept an order that the node sent at `ts` (ns UTC).

        Raises:
            OrderRefusedError: it can never be valid, or its client id was used before.
            StoreError: the log cannot be written; the order is not accepted.
        """
        self._refuse_unfit(order)
        arrival = self._arrival(order.client_id, ts)
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
        arrival = self._arrival(f"{client_id}/cancel", ts)
        self._accept(Requested(action="cancel", client_id=client_id, ts=ts, arrival=arrival))

    def replace(self, client_id: str, order: Order, ts: int) -> None:
        """Accept a wish to cancel an order and, if it was still open, to place another for it.

        The new order stands for itself: its size does not count what the old one had filled. When
        the new one is rejected on arrival the old one stays cancelled.

        Raises:
            OrderRefusedError: there never was such an order, or the new one is unfit.
        """
        self._known(client_id, order.instrument)
        self._refuse_unfit(order)
        arrival = self._arrival(order.client_id, ts)
        self._accept(
            Requested(action="replace", client_id=client_id, order=order, ts=ts, arrival=arrival)
        )

    def orders(self, client_ids: Sequence[str] | None = None) -> list[OrderReport]:
        """All open orders, or the named ones in whatever state; unknown ids are left out.

        An accepted order that has not reached the book yet is SENT, with sequence 0.
        """
        self._must_stand()
        if client_ids is None:
            return [working.report for working in self._live.values()]
        found = (self._report_of(name) for name in client_ids)
        return [report for report in found if report is not None]

    def _report_of(self, client_id: str) -> OrderReport | None:
        working = self._orders.get(client_id)
        return self._told.last_of(client_id) if working is None else working.report

    def fills(self, after: int, most: int | None = None) -> list[Fill]:
        """Fills whose report sequence is greater than `after`, in order; the first `most`."""
        self._must_stand()
        return self._told.fills(after, most)

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
        last = int(view["recv_ts"][-1]) if len(view) else 0
        until = max(until, last, self.now)
        at = 0
        while True:
            timer = self._timers[0][0] if self._timers else _NEVER
            at = self._run(view, at, timer if timer < until else _NEVER)
            if timer >= until:
                break
            self._apply(heapq.heappop(self._timers)[2], max(timer, self.now))
        self.now = until
        if self._batch:
            if self._log is not None:
                at = self._log.append(self._batch)
                self._told.framed(at, len(self._batch), self._batch[0].report.sequence)
            self._batch = []
        self._mark()
        self._failed = False

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
            ts = max(self.now, int(rows[at - 1]["recv_ts"]))
            for working, lots in self.desk.filled(filled):
                self._fill_resting(working, lots, ts)
        return int(at)

    def _apply(self, timer: Requested | Working, ts: int) -> None:
        if isinstance(timer, Working):
            if not timer.report.state.final:
                self._finish(timer, OrderState.EXPIRED, ts, "its time is over")
            return
        self._in_flight -= 1
        old = self._live.get(timer.client_id)
        if timer.action == "cancel":
            if old is not None:
                self._finish(old, OrderState.CANCELED, ts, "cancelled")
        elif timer.action == "place":
            self._arrive(self._orders[timer.client_id], ts)
        elif timer.order is not None:
            new = self._orders[timer.order.client_id]
            if old is None:
                self._finish(new, OrderState.REJECTED, ts, f"{timer.client_id} is no longer open")
                return
            self._finish(old, OrderState.CANCELED, ts, f"replaced by {new.order.client_id}")
            self._arrive(new, ts)

    # --- requests ---

    def _refuse_unfit(self, order: Order) -> None:
        """OrderRefusedError where the order can never be valid."""
        index = self._index.get(order.instrument, -1)
        price = order.price if order.type is OrderType.LIMIT else 1
        spot = index >= 0 and self.catalog.instruments[index].kind is Kind.SPOT
        gtd = order.time_in_force is TimeInForce.GTD
        wrong = (
            (self._failed, _FAILED),
            (
                not 0 < len(order.client_id) <= LONGEST_ID,
                f"a client id has 1 to {LONGEST_ID} characters",
            ),
            (
                order.client_id in self._orders or order.client_id in self._told.ended,
                "this client id was used before",
            ),
            (index < 0, "no such instrument is traded here"),
            (order.size <= 0, "the size must be above 0 lots"),
            (order.side not in (Side.BUY, Side.SELL), "the side must be BUY or SELL"),
            (price is None or price <= 0, "a limit order needs a price above 0 ticks"),
            (
                order.type is OrderType.MARKET and order.price is not None,
                "a market order has no price",
            ),
            ((price or 1) * order.size >= PRODUCT_LIMIT, "price x size is too large"),
            (order.reduce_only and spot, "reduce-only needs a position, and spot has none"),
            (
                order.post_only
                and (order.type is OrderType.MARKET or order.time_in_force in _AT_ONCE),
                "a post-only order must be able to rest",
            ),
            (gtd and order.expires <= 0, "a GTD order needs the time at which it expires"),
            (gtd and order.type is OrderType.MARKET, "a market order cannot wait until a time"),
            (
                self._in_flight >= 4 * self.shape.max_open_orders,
                "too many requests are on their way; wait for the reports",
            ),
        )
        for refused, reason in wrong:
            if refused:
                raise OrderRefusedError(f"order {order.client_id} on {order.instrument}: {reason}")

    def _known(self, client_id: str, instrument: str) -> None:
        report = self._report_of(client_id)
        if report is None or report.instrument != instrument or self._failed:
            reason = _FAILED if self._failed else "no such order is known"
            raise OrderRefusedError(f"order {client_id} on {instrument}: {reason}")

    def _latency(self, way: str, event: str, base: int) -> int:
        jitter = self.shape.latency_jitter
        if not jitter or not base:
            return base
        draw = generator(self.shape.seed, f"venue.{way}", event).random()
        return int(base * (1.0 + jitter * (2.0 * float(draw) - 1.0)))

    def _arrival(self, event: str, ts: int) -> int:
        sent = ts + self._latency("entry", event, self.shape.entry_latency_ns)
        return max(sent, self._last_arrival, self.now)

    def _accept(self, request: Requested) -> None:
        if self._log is not None:
            at = self._log.append([request])
            self._told.framed(at, 1, len(self._told.due) + 1)
        self._take_in(request)
        self._send(request)

    def _take_in(self, request: Requested) -> None:
        """The order exists from here on."""
        self._last_arrival = max(self._last_arrival, request.arrival)
        self._said = max(self._said, request.ts)
        if self._log is not None:
            self._requests.append(request)
        order = request.order
        if order is None:
            return
        index = self._index.get(order.instrument, -1)
        self._numbers += 1
        working = Working(
            order=order,
            index=index,
            placed=request.ts,
            number=self._numbers,
            response=self._latency("response", order.client_id, self.shape.response_latency_ns),
            report=OrderReport(
                sequence=0,
                client_id=order.client_id,
                instrument=order.instrument,
                state=OrderState.SENT,
                filled=0,
                ts=request.ts,
            ),
        )
        self._orders[order.client_id] = working
        self._live[order.client_id] = working

    def _send(self, request: Requested) -> None:
        self._in_flight += 1
        self._set_timer(request.arrival, request)

    def _set_timer(self, ts: int, what: Requested | Working) -> None:
        self._numbers += 1
        heapq.heappush(self._timers, (ts, self._numbers, what))

    # --- what happens to an order ---

    def _arrive(self, working: Working, ts: int) -> None:
        """The order reaches the book."""
        order = working.order
        size = order.size
        if order.reduce_only:
            size = min(size, self._reducible(order))
        plan = self.desk.plan(working, size)
        reason = (
            self._untimely(order, ts)
            or ("reduce-only: there is nothing to reduce" if not size else "")
            or self.desk.objection(working, plan)
            or funds.objection(self.accounts, self.desk, self.shape, working, plan.levels, size)
        )
        if reason:
            self._finish(working, OrderState.REJECTED, ts, reason)
            return
        self._report(working, OrderState.NEW, ts)
        if order.time_in_force is TimeInForce.FOK and plan.size < size:
            self._finish(working, OrderState.CANCELED, ts, "FOK: not all of it can be filled")
            return
        self.desk.take(working, plan)
        for price, lots in plan.levels:
            self._book(working, price, lots, False, ts)
        if working.report.state.final:
            return
        reason = self.desk.why_not_rest(working, plan)
        if not reason and order.reduce_only and not self._reducible(order):
            reason = "reduce-only: there is nothing left to reduce"
        if reason:
            self._finish(working, OrderState.CANCELED, ts, reason)
            return
        self.desk.rest(working, self._open_size(working))
        if order.time_in_force is TimeInForce.GTD:
            self._set_timer(order.expires, working)

    def _untimely(self, order: Order, ts: int) -> str:
        if order.accept_until and ts > order.accept_until:
            return "too late"
        if order.time_in_force is TimeInForce.GTD and order.expires <= ts:
            return "it had expired before it arrived"
        return ""

    def _reducible(self, order: Order) -> int:
        """Lots that an order can take off the position."""
        held = self.accounts.lots(order.instrument)
        return max(0, -held * order.side.sign)

    def _open_size(self, working: Working) -> int:
        left = working.order.size - working.filled
        return min(left, self._reducible(working.order)) if working.order.reduce_only else left

    def _fill_resting(self, working: Working, lots: int, ts: int) -> None:
        """The market came to one of our resting orders."""
        if working.report.state.final:
            return  # an earlier fill of the same row left it nothing to reduce
        order = working.order
        lots = min(lots, self._open_size(working))
        price = order.price or 0
        instrument = self.catalog.instruments[working.index]
        if instrument.kind is Kind.SPOT and order.side is Side.BUY:
            # Each partial fill rounds its fee up by itself, which may pass what was set aside.
            needed = funds.purchase(instrument, price, lots, self.shape.maker_fee_ppm)
            if needed > self.accounts.balances.get(instrument.settle_asset, 0):
                self._finish(working, OrderState.CANCELED, ts, "insufficient balance for its fee")
                return
        self._book(working, price, lots, True, ts)
        if not working.report.state.final:
            self.desk.resize(working, self._open_size(working))

    def _book(self, working: Working, price: int, lots: int, maker: bool, ts: int) -> None:
        """One fill: into the accounts, to the node, and its effect on reduce-only orders."""
        order = working.order
        instrument = self.catalog.instruments[working.index]
        value = instrument.value(price, lots)
        rate = self.shape.maker_fee_ppm if maker else self.shape.taker_fee_ppm
        fee = money.fee(value, rate)
        sequence = len(self._told.due) + 1
        fill = Fill(
            sequence=sequence,
            fill_id=f"{sequence}",
            client_id=order.client_id,
            instrument=order.instrument,
            side=order.side,
            price=price,
            size=lots,
            fee=fee,
            fee_asset=instrument.settle_asset,
            maker=maker,
            ts=ts,
        )
        self.accounts.book(instrument, order.side, lots, value, fee)
        working.filled += lots
        self._tell(fill, working, ts)
        if working.filled >= order.size:
            self._finish(working, OrderState.FILLED, ts, "")
        else:
            self._report(working, OrderState.PARTIALLY_FILLED, ts)
        if instrument.kind is not Kind.SPOT:
            self._refit(working.index, ts)

    def _refit(self, index: int, ts: int) -> None:
        """The position changed: reduce-only orders never stand for more than it."""
        for other in self.desk.reduce_only(index):
            size = self._open_size(other)
            if size:
                self.desk.resize(other, size)
            else:
                self._finish(
                    other, OrderState.CANCELED, ts, "reduce-only: there is nothing left to reduce"
                )

    # --- reports ---

    def _finish(self, working: Working, state: OrderState, ts: int, reason: str) -> None:
        self.desk.leave(working)
        del self._live[working.order.client_id]
        self._report(working, state, ts, reason)

    def _report(self, working: Working, state: OrderState, ts: int, reason: str = "") -> None:
        report = OrderReport(
            sequence=len(self._told.due) + 1,
            client_id=working.order.client_id,
            instrument=working.order.instrument,
            state=state,
            filled=working.filled,
            ts=ts,
            reason=reason,
        )
        working.report = report
        self._tell(report, working, ts)

    def _tell(self, report: Report, working: Working, ts: int) -> None:
        last = self._told.due[-1] if self._told.due else 0
        due = max(ts + working.response, last)
        self._keep(report, due)
        if self._log is not None:
            self._batch.append(Reported(report=report, due=due))

    def _keep(self, report: Report, due: int) -> None:
        self._told.keep(report, due)
        self._said = max(self._said, report.ts)

    # --- to and from the log ---

    def _mark(self) -> None:
        """Write a checkpoint when one is due, and let go of what has come to an end."""
        log, opened = self._log, self._opened
        if log is None or opened is None or self._told.unmarked < log.mark_every:
            return
        live = self._live
        requests = standing.concerning(self._requests, live)
        state = standing.Standing(
            opened=opened,
            said=self._said,
            last_arrival=self._last_arrival,
            balances=standing.balances_of(self.accounts),
            positions=standing.positions_of(self.accounts),
            requests=requests,
            live=[(working.filled, working.report) for working in live.values()],
        )
        ended = [w.report for name, w in self._orders.items() if name not in live]
        self._told.unmarked = 0
        if log.mark(self._told.past(ended), state):
            self._told.archive(ended, log.end)
            self._requests = requests
            self._orders = dict(live)

    def _restore(self, log: Log) -> int:
        """Take over the newest checkpoint; returns the byte of the log to go on from."""
        marks = log.take_marks()
        try:
            pasts = [msgspec.msgpack.decode(mark.past, type=Past) for mark in marks]
            state = msgspec.msgpack.decode(marks[-1].state, type=standing.Standing)
        except (IndexError, msgspec.MsgspecError):  # there is none, or it is of another version
            log.forget_marks()
            return 0
        self._told.restore(pasts, marks[-1].end)
        self._opened = state.opened
        self.accounts = standing.accounts_of(state.balances, state.positions)
        for request in state.requests:
            self._take_in(request)
        for filled, report in state.live:
            working = self._live[report.client_id]
            working.filled, working.report = filled, report
        self._said, self._last_arrival = state.said, state.last_arrival
        return marks[-1].end

    def _open(self, log: Log) -> None:
        """Take over what the log holds, then open for business."""
        begin = self._restore(log)
        known = {i.name: i for i in self._opened.instruments} if self._opened else {}
        for at, entries in log.frames(begin, log.end):
            self._told.framed(at, len(entries), len(self._told.due) + 1)
            for entry in entries:
                if isinstance(entry, Reported):
                    self._fold(entry, known)
                elif isinstance(entry, Requested):
                    self._take_in(entry)
                else:
                    if self._opened is None:
                        self.accounts = Accounts(entry.shape.balances)
                    self._opened = entry
                    known = {i.name: i for i in entry.instruments}
        self.now = self._said
        self._must_fit(log, known)
        for request in self._requests:
            self._resume(request)
        here = Opened(shape=self.shape, instruments=self.catalog.instruments)
        if self._opened != here:
            self._told.framed(log.append([here]), 1, len(self._told.due) + 1)
            self._opened = here
        self._mark()

    def _fold(self, entry: Reported, known: Mapping[str, Instrument]) -> None:
        report = entry.report
        working = self._orders[report.client_id]
        self._keep(report, entry.due)
        if isinstance(report, Fill):
            instrument = known[report.instrument]
            value = instrument.value(report.price, report.size)
            self.accounts.book(instrument, report.side, report.size, value, report.fee)
            working.filled += report.size
        else:
            working.report = report
            if report.state.final:
                del self._live[report.client_id]

    def _must_fit(self, log: Log, known: Mapping[str, Instrument]) -> None:
        """What is open must be tradable in the same increments as before."""
        needed = {working.order.instrument for working in self._live.values()}
        for name in sorted(needed | set(self.positions())):
            if name not in self._index or self.catalog.by_name[name] != known[name]:
                raise StoreError(
                    f"venue log {log.path}: orders or positions are open in {name}, which the "
                    "market data lacks or has with other increments; use that run's data or a "
                    "new log"
                )

    def _resume(self, request: Requested) -> None:
        """Put an order back where it stood, or on its way. Its place in the queue is lost."""
        if request.order is not None:
            working = self._orders[request.order.client_id]
            if working.report.state is OrderState.SENT:
                self._send(request)
            elif not working.report.state.final:
                self.desk.rest(working, self._open_size(working), queue=kernels.FAR_BACK)
                if working.order.time_in_force is TimeInForce.GTD:
                    self._set_timer(working.order.expires, working)
        elif request.client_id in self._live:
            self._send(request)
