"""The exchange and its log: what is written when, and how a start takes it over again."""

from collections.abc import Mapping

import msgspec

from seawall.core.errors import StoreError
from seawall.core.instruments import Instrument
from seawall.core.orders import Fill, Funding, OrderState
from seawall.venues.simulated import kernels, standing
from seawall.venues.simulated.accounts import Accounts
from seawall.venues.simulated.log import Log, Opened, Reported, Requested, Watched
from seawall.venues.simulated.matching import Matching
from seawall.venues.simulated.told import Past, Told


class Keeping:
    """Keeps one exchange in its log.

    Args:
        matching: new, as nothing has happened to it.
    """

    def __init__(self, log: Log, matching: Matching, told: Told) -> None:
        self.last_arrival = 0
        self._log = log
        self._matching = matching
        self._told = told
        self._requests: list[Requested] = []  # since the last checkpoint, or of open orders
        self._opened: Opened | None = None

    # --- writing ---

    def accept(self, request: Requested) -> None:
        """Write a request, before anybody is told that it was accepted."""
        at = self._log.append([request])
        self._told.framed(at, 1, len(self._told.due) + 1)
        self._requests.append(request)
        self.last_arrival = max(self.last_arrival, request.arrival)

    def flush(self) -> None:
        """Write the reports that were made since the last time, and a checkpoint when one is due.

        Raises:
            StoreError: they could not be written.
        """
        batch = self._matching.batch
        batch += self._matching.desk.watch()
        if batch:
            reports = sum(isinstance(entry, Reported) for entry in batch)
            at = self._log.append(batch)
            self._told.framed(at, len(batch), len(self._told.due) + 1 - reports)
            batch.clear()
        self._mark()

    def _mark(self) -> None:
        """Write a checkpoint when one is due, and let go of what has come to an end."""
        log, matching, opened = self._log, self._matching, self._opened
        if opened is None or self._told.unmarked < log.mark_every:
            return
        live = matching.live
        requests = standing.concerning(self._requests, live)
        state = standing.Standing(
            opened=opened,
            said=matching.said,
            last_arrival=self.last_arrival,
            balances=standing.balances_of(matching.accounts),
            positions=standing.positions_of(matching.accounts),
            requests=requests,
            live=[(working.filled, working.report) for working in live.values()],
            turnover=matching.turnover.state(),
            watched=[working.watched for working in live.values() if working.watched],
        )
        ended = [w.report for name, w in matching.orders.items() if name not in live]
        self._told.unmarked = 0
        if log.mark(self._told.past(ended), state):
            self._told.archive(ended, log.end)
            self._requests = requests
            matching.orders = dict(live)

    # --- taking over ---

    def open(self) -> list[Requested]:
        """Take over what the log holds; returns the requests whose orders are still open.

        Raises:
            StoreError: the log cannot be read, or does not fit the catalog.
        """
        log, matching = self._log, self._matching
        begin = self._restore()
        known = {i.name: i for i in self._opened.instruments} if self._opened else {}
        for at, entries in log.frames(begin, log.end):
            self._told.framed(at, len(entries), len(self._told.due) + 1)
            for entry in entries:
                if isinstance(entry, Reported):
                    self._fold(entry, known)
                elif isinstance(entry, Requested):
                    self._take_in(entry)
                elif isinstance(entry, Watched):
                    self._watch(entry)
                else:
                    if self._opened is None:
                        matching.accounts = Accounts(entry.shape.balances)
                    self._opened = entry
                    known = {i.name: i for i in entry.instruments}
        self._must_fit(known)
        matching.changed = dict.fromkeys(matching.index.values(), matching.said)
        return self._requests

    def opened(self) -> None:
        """The exchange is open: write on what terms, where they are new."""
        matching = self._matching
        here = Opened(shape=matching.shape, instruments=matching.catalog.instruments)
        if self._opened != here:
            self._told.framed(self._log.append([here]), 1, len(self._told.due) + 1)
            self._opened = here
        self._mark()

    def _restore(self) -> int:
        """Take over the newest checkpoint; returns the byte of the log to go on from."""
        marks = self._log.take_marks()
        try:
            pasts = [msgspec.msgpack.decode(mark.past, type=Past) for mark in marks]
            state = msgspec.msgpack.decode(marks[-1].state, type=standing.Standing)
        except (IndexError, msgspec.MsgspecError):  # there is none, or it is of another version
            self._log.forget_marks()
            return 0
        matching = self._matching
        self._told.restore(pasts, marks[-1].end)
        self._opened = state.opened
        matching.accounts = standing.accounts_of(state.balances, state.positions)
        for request in state.requests:
            self._take_in(request)
        for filled, report in state.live:
            working = matching.live[report.client_id]
            working.filled, working.report = filled, report
        matching.turnover.restore(state.turnover)
        for watched in state.watched:
            self._watch(watched)
        matching.said, self.last_arrival = state.said, state.last_arrival
        return marks[-1].end

    def _take_in(self, request: Requested) -> None:
        self.last_arrival = max(self.last_arrival, request.arrival)
        self._matching.said = max(self._matching.said, request.ts)
        self._requests.append(request)
        if request.order is not None:
            self._matching.register(request.order, request.ts)

    def _watch(self, watched: Watched) -> None:
        working = self._matching.orders[watched.client_id]
        working.watched, working.triggered = watched, watched.triggered

    def _fold(self, entry: Reported, known: Mapping[str, Instrument]) -> None:
        report, matching = entry.report, self._matching
        matching.keep(report, entry.due)
        if isinstance(report, Funding):
            matching.accounts.pay(report.asset, report.amount)
        elif isinstance(report, Fill):
            matching.settle(report, known[report.instrument])
            if not report.liquidation:
                matching.orders[report.client_id].filled += report.size
        else:
            matching.orders[report.client_id].report = report
            if report.state.final:
                del matching.live[report.client_id]

    def _must_fit(self, known: Mapping[str, Instrument]) -> None:
        """What is open must be tradable in the same increments as before."""
        matching = self._matching
        needed = {working.order.instrument for working in matching.live.values()}
        held = {name for name, each in matching.accounts.positions.items() if each.lots}
        for name in sorted(needed | held):
            if name not in matching.index or matching.catalog.by_name[name] != known[name]:
                raise StoreError(
                    f"venue log {self._log.path}: orders or positions are open in {name}, which "
                    "the market data lacks or has with other increments; use that run's data or a "
                    "new log"
                )


def resumed(matching: Matching, request: Requested) -> bool:
    """Put an order back where it stood; its place in the queue is lost.

    Returns:
        Whether the request is still on its way.
    """
    if request.order is None:
        return request.client_id in matching.live
    working = matching.orders[request.order.client_id]
    if working.report.state is OrderState.SENT:
        return True
    if not working.report.state.final:
        matching.reopen(working, kernels.FAR_BACK)
    return False
