"""What an exchange really answered, told again at the same times: its log, read as a venue."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from seawall.core.clock import Clock
from seawall.core.errors import OrderRefusedError, VenueUnreachableError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog, Instrument
from seawall.core.orders import (
    Fill,
    Funding,
    Movement,
    Order,
    OrderReport,
    OrderState,
    Report,
)
from seawall.venues.simulated.accounts import Accounts
from seawall.venues.simulated.log import Entry, Opened, Reported, Requested


class Answers:
    """An exchange's log in memory.

    Attributes:
        entries: all of it, in order.
        reported: every report with its due time. accepted: client id → the request that brought it.
        cancelled: client ids that a cancel was accepted for.
        refused, lost: client id → reason, where the node's journal has it that `place` was refused
            or got no answer; the log holds nothing of those.
    """

    def __init__(
        self, entries: Iterable[Entry], refused: Mapping[str, str], lost: Mapping[str, str]
    ) -> None:
        self.entries = list(entries)
        self.refused, self.lost = refused, lost
        self.reported: list[Reported] = []
        self.accepted: dict[str, Requested] = {}
        self.cancelled: set[str] = set()
        self.balances: dict[str, int] = {}
        self.instruments: dict[str, Instrument] = {}
        opened = False
        for entry in self.entries:
            if isinstance(entry, Reported):
                self.reported.append(entry)
            elif isinstance(entry, Opened):
                if not opened:
                    self.balances = entry.shape.balances
                opened = True
                self.instruments |= {i.name: i for i in entry.instruments}
            elif isinstance(entry, Requested):
                if entry.order is not None:
                    self.accepted[entry.order.client_id] = entry
                if entry.action != "place":
                    self.cancelled.add(entry.client_id)


class RecordedVenue:
    """A Venue and its Playback in one that says what the log has, when it was said.

    A request that the log does not have gets no answer: the run has gone another way.

    Args:
        clock: the node's. after: the last report sequence that the node has.
    """

    def __init__(self, answers: Answers, catalog: Catalog, clock: Clock, after: int) -> None:
        self._answers = answers
        self._clock = clock
        self._after = after
        self._instruments = {**answers.instruments, **catalog.by_name}
        self._accounts = Accounts(dict(answers.balances))
        self._made = 0  # reports that the exchange has made by now
        self._now = 0
        self._placed: set[str] = set()
        self._last: dict[str, OrderReport] = {}
        self._movements: list[Movement] = []
        self._dues = [each.due for each in answers.reported]

    @property
    def gateway(self) -> "RecordedVenue":
        return self

    @property
    def account(self) -> "RecordedVenue":
        return self

    @property
    def stream(self) -> "RecordedVenue":
        return self

    def place(self, order: Order) -> None:
        """See Gateway."""
        name = order.client_id
        self._placed.add(name)
        if name in self._answers.refused:
            raise OrderRefusedError(self._answers.refused[name])
        if name in self._answers.lost:
            raise VenueUnreachableError(self._answers.lost[name])

    def cancel(self, instrument: str, client_id: str) -> None:
        """See Gateway."""
        if client_id not in self._answers.cancelled:
            raise OrderRefusedError(f"order {client_id} on {instrument}: the log has no cancel")

    def replace(self, client_id: str, order: Order) -> None:
        """See Gateway."""
        self.place(order)

    def orders(self, client_ids: Sequence[str] | None = None) -> list[OrderReport]:
        """See Account."""
        self._live_to(self._clock.now())
        if client_ids is not None:
            found = [self._report_of(name) for name in client_ids]
            return [report for report in found if report is not None]
        reports = (self._report_of(name) for name in self._answers.accepted)
        return [report for report in reports if report is not None and not report.state.final]

    def _report_of(self, client_id: str) -> OrderReport | None:
        request = self._answers.accepted.get(client_id)
        if request is None or request.order is None:
            return None
        if request.ts >= self._clock.now() and client_id not in self._placed:
            return None
        return self._last.get(client_id) or OrderReport(
            sequence=0,
            client_id=client_id,
            instrument=request.order.instrument,
            state=OrderState.SENT,
            filled=0,
            ts=request.ts,
        )

    def fills(self, after: int) -> list[Movement]:
        """See Account."""
        self._live_to(self._clock.now())
        first = bisect_right(self._movements, after, key=lambda each: each.sequence)
        return self._movements[first:]

    def balances(self) -> Mapping[str, int]:
        """See Account."""
        self._live_to(self._clock.now())
        return dict(self._accounts.balances)

    def positions(self) -> Mapping[str, int]:
        """See Account."""
        self._live_to(self._clock.now())
        return {name: held.lots for name, held in self._accounts.positions.items() if held.lots}

    def poll(self, until: int) -> list[Report]:
        """See Stream."""
        self._live_to(until)
        end = min(self._made, bisect_right(self._dues, until))
        told = [each.report for each in self._answers.reported[self._after : end]]
        self._after = max(self._after, end)
        return told

    def observe(self, rows: Raw, until: int) -> None:
        """See Playback; the market is nothing to it, only the time."""
        self._live_to(until)

    def _live_to(self, now: int) -> None:
        """Take in the reports made by now; what a request brings that arrives now comes after."""
        self._now = max(self._now, now)
        reported = self._answers.reported
        while self._made < len(reported):
            report = reported[self._made].report
            if report.ts > self._now or self._begun(report) >= self._now:
                return
            self._made += 1
            if isinstance(report, OrderReport):
                self._last[report.client_id] = report
                continue
            self._movements.append(report)
            if isinstance(report, Funding):
                self._accounts.pay(report.asset, report.amount)
                continue
            instrument = self._instruments[report.instrument]
            value = instrument.value(report.price, report.size)
            self._accounts.book(instrument, report.side, report.size, value, report.fee)

    def _begun(self, report: Report) -> int:
        """When the request arrived that a report answers; -1 where the exchange acted by itself."""
        if isinstance(report, Funding) or (isinstance(report, Fill) and report.liquidation):
            return -1
        return self._answers.accepted[report.client_id].arrival
