"""The simulated exchange in the node's own process: the three ports, and the rows that feed it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from seawall.core.clock import Clock
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.orders import Movement, Order, OrderReport, Report
from seawall.venues.simulated.batch import is_plain
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Log
from seawall.venues.simulated.shape import VenueShape


class SimulatedVenue:
    """A Venue and its Playback in one.

    Args:
        catalog: of the rows that `observe` gets.
        clock: the node's; a request leaves at its time.
        log: where the exchange keeps itself; None: in memory, for backtests.
        after: the last report sequence that the node has; `poll` starts behind it.

    Raises:
        SettingError: the shape is out of range. StoreError: the log is unusable.
    """

    def __init__(
        self,
        catalog: Catalog,
        shape: VenueShape,
        clock: Clock,
        log: Path | None = None,
        after: int = 0,
    ) -> None:
        self._clock = clock
        self._log = Log(log) if log is not None else None
        self._after = after
        try:
            self.engine = Engine(catalog, shape, self._log)
        except BaseException:
            self.close()
            raise

    @property
    def plain(self) -> bool:
        """Whether its plain rules may run compiled; see batch."""
        return self._log is None and is_plain(self.engine.shape)

    @property
    def heard(self) -> int:
        """The last report sequence that `poll` has given."""
        return self._after

    def hear(self, sequence: int) -> None:
        """The node has taken in the reports up to this one some other way."""
        self._after = sequence

    @property
    def gateway(self) -> "SimulatedVenue":
        return self

    @property
    def account(self) -> "SimulatedVenue":
        return self

    @property
    def stream(self) -> "SimulatedVenue":
        return self

    def place(self, order: Order) -> None:
        """See Gateway."""
        self.engine.place(order, self._clock.now())

    def cancel(self, instrument: str, client_id: str) -> None:
        """See Gateway."""
        self.engine.cancel(instrument, client_id, self._clock.now())

    def replace(self, client_id: str, order: Order) -> None:
        """See Gateway; Engine.replace says what becomes of both orders."""
        self.engine.replace(client_id, order, self._clock.now())

    def orders(self, client_ids: Sequence[str] | None = None) -> list[OrderReport]:
        """See Account; an order that is still on its way is SENT, with sequence 0."""
        return self.engine.orders(client_ids)

    def fills(self, after: int) -> list[Movement]:
        """See Account."""
        return self.engine.movements(after)

    def balances(self) -> Mapping[str, int]:
        """See Account."""
        return self.engine.balances()

    def positions(self) -> Mapping[str, int]:
        """See Account."""
        return self.engine.positions()

    def poll(self, until: int) -> list[Report]:
        """See Stream."""
        reports = self.engine.reports(self._after, until)
        if reports:
            self._after = reports[-1].sequence
        return reports

    def observe(self, rows: Raw, until: int) -> None:
        """See Playback."""
        self.engine.observe(rows, until)

    def close(self) -> None:
        """Let go of the log."""
        if self._log is not None:
            self._log.close()
