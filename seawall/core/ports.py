"""The ports of a node: everything that reaches outside the path, each at most four methods.

The same node runs live, on paper and in a backtest; only what stands behind these differs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from seawall.core.commands import Command
from seawall.core.events import Raw, Side
from seawall.core.instruments import Catalog
from seawall.core.orders import Movement, Order, OrderReport, Report, Transfer


class Feed(Protocol):
    """Market events in the order in which we learn of them."""

    @property
    def catalog(self) -> Catalog: ...

    def read(self, timeout: float) -> Raw | None:
        """The next rows, possibly none after `timeout` seconds; None when the feed has ended."""
        ...

    def close(self) -> None: ...


class Gateway(Protocol):
    """Orders out. The venue's answers come over the Stream.

    Each raises OrderRefusedError (certainly not accepted) or VenueUnreachableError (unknown).
    """

    def place(self, order: Order) -> None: ...

    def cancel(self, instrument: str, client_id: str) -> None: ...

    def replace(self, client_id: str, order: Order) -> None:
        """Put `order` in the place of one that is open, or reject it where that is open no more.

        What the old one has filled beyond `order.carried` by then comes off the new one's size.
        """
        ...


class Account(Protocol):
    """What the venue says that we have. Raises VenueUnreachableError."""

    def orders(self, client_ids: Sequence[str] | None = None) -> list[OrderReport]:
        """All open orders, or the named ones in whatever state; unknown ids are left out."""
        ...

    def fills(self, after: int) -> Sequence[Movement]:
        """Fills and funding whose report sequence is greater than `after`, in order."""
        ...

    def balances(self) -> Mapping[str, int]:
        """Asset → smallest units."""
        ...

    def positions(self) -> Mapping[str, int]:
        """Instrument → signed lots (derivatives)."""
        ...


class Stream(Protocol):
    """Reports in. Raises VenueUnreachableError."""

    def poll(self, until: int) -> list[Report]:
        """Reports that have reached us by `until` (ns UTC) and were not given before."""
        ...


class Venue(Protocol):
    """An exchange: the three ports that a node speaks through."""

    @property
    def gateway(self) -> Gateway: ...

    @property
    def account(self) -> Account: ...

    @property
    def stream(self) -> Stream: ...


@runtime_checkable
class TransferHistory(Protocol):
    """A venue that keeps deposits and withdrawals. Raises VenueUnreachableError."""

    def transfers(self, since: int) -> Sequence[Transfer]:
        """Those that are done, from `since` on (ns UTC)."""
        ...


class Playback(Protocol):
    """A simulated exchange lives off the market data that the node sees."""

    def observe(self, rows: Raw, until: int) -> None:
        """Take in rows of the tape; the time is now `until` (ns UTC, receive time)."""
        ...


class Secrets(Protocol):
    """Where keys are kept."""

    def get(self, name: str) -> str | None:
        """The secret of this name; None where there is none."""
        ...


class Commands(Protocol):
    """What an operator wants done, in a bounded queue that others fill; must not block."""

    def poll(self) -> list[Command]:
        """The commands that have come since the last time, in order."""
        ...


class Publisher(Protocol):
    """Where the node shows itself; must not block."""

    def publish(self, topic: str, payload: Mapping[str, Any]) -> None: ...


__all__ = [
    "Account",
    "Commands",
    "Feed",
    "Gateway",
    "Playback",
    "Publisher",
    "Secrets",
    "Side",
    "Stream",
    "TransferHistory",
    "Venue",
]
