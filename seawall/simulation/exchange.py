"""The exchange of a simulated world, and the bad line that each life of the node speaks to it over.

The exchange itself is the simulated one, lives on the true market whatever the node is shown, and
outlives the node. What fails is what lies between.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from seawall.core.clock import SECOND, Clock
from seawall.core.errors import OrderRefusedError, VenueUnreachableError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.orders import Fill, Movement, Order, OrderReport, Report
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Log
from seawall.venues.simulated.shape import VenueShape

if TYPE_CHECKING:
    from seawall.simulation.scheduler import Scheduler

_T = TypeVar("_T")


class Exchange:
    """The true exchange.

    Args:
        rows: the true market.
        log: where it keeps itself so that it can die; None: it never does.
    """

    def __init__(self, catalog: Catalog, rows: Raw, shape: VenueShape, log: Path | None) -> None:
        self.catalog = catalog
        self.shape = shape
        self._rows = rows
        self._at = 0
        self._path = log
        self._log = Log(log) if log is not None else None
        self.engine = Engine(catalog, shape, self._log)
        self.shut = False  # nobody is let in any more; what is there lives on
        self.late: list[tuple[int, Order]] = []  # on a slow way here: (ns UTC of arrival, order)
        self.stale: dict[str, tuple[Mapping[str, int], Mapping[str, int]]] = {}  # by fault

    @property
    def mortal(self) -> bool:
        """Whether it can start again from what it has kept."""
        return self._log is not None

    def live(self, until: int) -> None:
        """Take in the true market up to `until`, and the requests that arrive by then."""
        for due, order in [each for each in self.late if each[0] <= until]:
            self._observe(due)
            self.late.remove((due, order))
            if due > order.accept_until:
                continue  # refused at the door: that is what the limit is for
            try:
                self.engine.place(order, due)
            except OrderRefusedError:
                continue  # nobody is there to be told
        self._observe(until)

    def _observe(self, until: int) -> None:
        to = int(np.searchsorted(self._rows["recv_ts"], until, side="right"))
        self.engine.observe(Raw(self._rows[self._at : max(self._at, to)]), until)
        self._at = max(self._at, to)

    def restart(self) -> None:
        """Die, and start again from the log; the books come with the next whole ones."""
        assert self._log is not None
        assert self._path is not None
        self._log.close()
        self._log = Log(self._path)
        self.engine = Engine(self.catalog, self.shape, self._log)

    def close(self) -> None:
        """Let go of the log."""
        if self._log is not None:
            self._log.close()


class Line:
    """A Venue and its Playback for one life of the node.

    Args:
        clock: the node's. after: the last report sequence that the node has.
    """

    needs_snapshot = False

    def __init__(
        self, exchange: Exchange, scheduler: "Scheduler", clock: Clock, after: int
    ) -> None:
        self._exchange = exchange
        self._scheduler = scheduler
        self._clock = clock
        self._after = after
        self._held: list[Report] = []  # reports that come later, or again

    @property
    def gateway(self) -> "Line":
        return self

    @property
    def account(self) -> "Line":
        return self

    @property
    def stream(self) -> "Line":
        return self

    # --- Gateway ---

    def place(self, order: Order) -> None:
        """See Gateway."""
        now = self._clock.now()
        self._scheduler.step("venue.place", order=order)
        if late := self._scheduler.strike("late_request"):
            due = now + int((0.1 + 6.0 * late.strength) * SECOND)
            self._exchange.late.append((due, order))
            raise self._silence("place", "no answer in time")
        self._request("place", lambda: self._exchange.engine.place(order, now))

    def cancel(self, instrument: str, client_id: str) -> None:
        """See Gateway."""
        now = self._clock.now()
        self._scheduler.step("venue.cancel")
        if self._scheduler.strike("cancel_rejected"):
            raise OrderRefusedError(f"order {client_id}: too late to cancel")
        self._request("cancel", lambda: self._exchange.engine.cancel(instrument, client_id, now))

    def replace(self, client_id: str, order: Order) -> None:
        """See Gateway."""
        now = self._clock.now()
        self._scheduler.step("venue.replace", order=order)
        self._request("replace", lambda: self._exchange.engine.replace(client_id, order, now))

    def _request(self, name: str, act: Callable[[], None]) -> None:
        """A request that changes something, over a line that may fail before or behind it."""
        scheduler = self._scheduler
        if self._exchange.shut:
            raise OrderRefusedError(f"{name}: nobody is let in")
        self._reachable(name)
        if scheduler.strike("rate_limited"):
            raise OrderRefusedError(f"{name}: 429, too many requests")
        if scheduler.strike("request_lost"):
            raise self._silence(name, "no answer")
        if failing := scheduler.strike("server_error"):
            if failing.choice < 0.5:
                act()
            raise self._silence(name, "503")
        act()
        scheduler.step(f"venue.{name}.accepted")
        if scheduler.strike("ack_lost"):
            raise self._silence(name, "no answer")

    # --- Account ---

    def orders(self, client_ids: Sequence[str] | None = None) -> list[OrderReport]:
        """See Account."""
        return self._ask("orders", lambda: self._exchange.engine.orders(client_ids))

    def fills(self, after: int) -> Sequence[Movement]:
        """See Account."""
        return self._ask("fills", lambda: self._exchange.engine.movements(after))

    def balances(self) -> Mapping[str, int]:
        """See Account."""
        return self._ask("balances", lambda: self._account_of()[0])

    def positions(self) -> Mapping[str, int]:
        """See Account."""
        return self._ask("positions", lambda: self._account_of()[1])

    def _account_of(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Balances and positions; while they lag, those of when that began."""
        lagging = self._scheduler.during("stale_account")
        now = self._exchange.engine.balances(), self._exchange.engine.positions()
        return now if lagging is None else self._exchange.stale.setdefault(lagging.name, now)

    def _ask(self, name: str, answer: Callable[[], _T]) -> _T:
        """A question; it changes nothing, so that a failure is just a silence."""
        scheduler = self._scheduler
        scheduler.step(f"venue.{name}")
        self._reachable(name)
        for kind in ("query_lost", "rate_limited", "server_error"):
            if scheduler.strike(kind):
                raise self._silence(name, kind.replace("_", " "))
        return answer()

    def _reachable(self, name: str) -> None:
        """Raise where nobody can be reached; a venue that died comes back first."""
        restarts = self._scheduler.during("venue_restart")
        if restarts is not None and self._exchange.mortal:
            if self._scheduler.first(restarts):
                self._exchange.restart()
            raise self._silence(name, "the venue is down")
        if self._scheduler.during("outage") is not None:
            raise self._silence(name, "no route")

    def _silence(self, name: str, why: str) -> VenueUnreachableError:
        return VenueUnreachableError(f"{name}: {why}")

    # --- Stream ---

    def poll(self, until: int) -> list[Report]:
        """See Stream."""
        scheduler = self._scheduler
        scheduler.step("venue.poll")
        self._reachable("poll")
        slow = scheduler.during("slow_reports")
        if slow is not None:
            until -= int(4.0 * slow.strength * SECOND)
        fresh = list(self._exchange.engine.reports(self._after, until))
        if fresh:
            self._after = fresh[-1].sequence
        held, self._held = self._held, []
        reports = held + fresh
        reports = self._hold_back("fill_hidden", reports, lambda each: isinstance(each, Fill))
        reports = self._hold_back("ack_hidden", reports, lambda each: isinstance(each, OrderReport))
        if reports and (lost := scheduler.strike("report_lost")):
            del reports[lost.pick(len(reports))]
        if reports and scheduler.strike("report_twice"):
            self._held += reports
        if len(reports) > 1 and (turned := scheduler.strike("report_order")):
            first = turned.pick(len(reports))
            reports = reports[first:] + reports[:first]
        return reports

    def _hold_back(
        self, kind: str, reports: list[Report], of: Callable[[Report], bool]
    ) -> list[Report]:
        if not reports or self._scheduler.during(kind) is None:
            return reports
        self._held += [report for report in reports if of(report)]
        return [report for report in reports if not of(report)]

    # --- Playback ---

    def observe(self, rows: Raw, until: int) -> None:
        """The exchange lives on; it knows its own market, and needs no rows of the node's."""
        if self._scheduler.during("stale_account") is not None:
            self._account_of()  # as it was before what comes now
        self._exchange.live(until)
        self._scheduler.step("venue.observe")
