"""A recorded book as the execution studies use it: its rows, its instrument, and how deep it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND, TapeClock
from seawall.core.errors import DataError
from seawall.core.events import EventKind, Raw, Side
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.core.orders import Order, OrderType, TimeInForce
from seawall.lab.execution.book_kernels import top_levels
from seawall.venues.simulated.shape import VenueShape
from seawall.venues.simulated.venue import SimulatedVenue

PLENTY = 10**17  # smallest units: nothing in a study is refused for want of money


class Recording(NamedTuple):
    """One instrument's rows and what its book is like.

    Attributes:
        rows: dtype EVENT, of this instrument and its primary source alone.
        catalog: of this instrument alone.
        touch: median lots at the best price. volatility: standard deviation of the mid's relative
            change over a minute.
        start, end: ns UTC, first and last receive time.
    """

    name: str
    instrument: Instrument
    catalog: Catalog
    rows: Raw
    touch: int
    volatility: float
    start: int
    end: int


class Moments(NamedTuple):
    """A book at a cadence. ts: (n,) ns UTC. levels: (n, 2, depth, 2) of ticks and lots by side."""

    ts: NDArray[np.int64]
    levels: NDArray[np.int64]

    @property
    def whole(self) -> NDArray[np.bool_]:
        """(n,) where both sides have a price."""
        return np.asarray((self.levels[:, :, 0, 0] > 0).all(axis=1))

    @property
    def mid(self) -> NDArray[np.float64]:
        """(n,) ticks, NaN where a side is missing."""
        return np.where(self.whole, self.levels[:, :, 0, 0].mean(axis=1), np.nan)


def recording_of(rows: NDArray[Any], catalog: Catalog, instrument: str = "") -> Recording:
    """One instrument of a tape, made ready.

    Raises:
        DataError: no such instrument, or no book of levels.
    """
    name = instrument or next(iter(catalog.primary), "")
    if name not in catalog.primary:
        raise DataError(
            f"the tape has no book of {name or 'anything'}; it has {', '.join(catalog.primary)}"
        )
    index, source = catalog.books[catalog.primary[name]]
    kept = rows[(rows["source"] == source) & (rows["instrument"] == index)].copy()
    if not (kept["kind"] == EventKind.DEPTH).any():
        raise DataError(f"{name}: the tape has no depth rows of it; give one with a book of levels")
    kept["instrument"] = kept["source"] = 0
    chosen = catalog.instruments[index]
    alone = Catalog((chosen,), (catalog.sources[source],), ((0, 0),))
    made = Recording(name, chosen, alone, Raw(kept), 0, 0.0, *_span(kept))
    seen = sampled(made, SECOND, 1)
    usual = np.median(seen.levels[seen.whole][:, :, 0, 1]) if seen.whole.any() else 1
    steps = np.diff(np.log(seen.mid[seen.whole]))
    volatility = float(np.sqrt(60.0 * np.mean(steps**2))) if len(steps) else 0.0
    return made._replace(touch=max(1, int(usual)), volatility=volatility)


def recordings(tapes: Sequence[Path]) -> list[Recording]:
    """Every instrument with a book of levels on these tapes.

    Raises:
        DataError: there is none.
    """
    from seawall.ingestion.tape import open_tape

    found = []
    for path in tapes:
        tape = open_tape(path)
        rows = tape.read()
        for name in tape.catalog.primary:
            index, source = tape.catalog.books[tape.catalog.primary[name]]
            here = (rows["instrument"] == index) & (rows["source"] == source)
            if (rows["kind"][here] == EventKind.DEPTH).any():
                one = recording_of(rows, tape.catalog, name)
                found.append(one._replace(name=f"{path.name} {name}"))
    if not found:
        raise DataError(
            f"{', '.join(map(str, tapes))}: no book of levels on these tapes; import one with "
            "`seawall data import`"
        )
    return found


def _span(rows: NDArray[Any]) -> tuple[int, int]:
    return int(rows["recv_ts"][0]), int(rows["recv_ts"][-1])


class Desk:
    """A simulated exchange over one recording, moved along it, and orders for it.

    Args:
        shape: balances are added to it.
    """

    def __init__(self, recording: Recording, shape: VenueShape) -> None:
        from msgspec.structs import replace

        instrument = recording.instrument
        assets = {instrument.settle_asset, instrument.base, instrument.quote}
        if instrument.kind is not Kind.SPOT:
            assets = {instrument.settle_asset}
        self.recording = recording
        self.clock = TapeClock(recording.start)
        funded = replace(shape, balances=dict.fromkeys(sorted(assets), PLENTY))
        self.venue = SimulatedVenue(recording.catalog, funded, self.clock)
        self._at = 0
        self._levels = np.zeros((2, 20, 2), np.int64)

    def advance(self, ts: int) -> None:
        """Everything up to and at `ts` (ns UTC) happens."""
        rows = self.recording.rows
        end = int(np.searchsorted(rows["recv_ts"], ts, side="right"))
        self.venue.observe(Raw(rows[self._at : end]), ts)
        self._at = end
        self.clock.wait(ts)

    def market(self, client_id: str, side: Side, lots: int) -> None:
        """Send a market order now."""
        self.venue.place(
            Order(
                client_id=client_id,
                instrument=self.recording.instrument.name,
                side=side,
                type=OrderType.MARKET,
                size=lots,
                time_in_force=TimeInForce.IOC,
            )
        )

    def levels(self, depth: int = 1) -> NDArray[np.int64]:
        """(2, depth, 2) best ticks and lots by side, 0 where there are none; depth <= 20."""
        top_levels(self.venue.engine.desk.floor.ladders[0], self._levels[:, :depth])
        return self._levels[:, :depth].copy()

    def mid(self) -> float:
        """Ticks, NaN where a side is missing."""
        touch = self.levels()[:, 0, 0]
        return float(touch.mean()) if (touch > 0).all() else float("nan")


def sampled(recording: Recording, every: int, depth: int) -> Moments:
    """The book at a cadence (ns), from the first whole multiple of it on."""
    times = np.arange(-(-recording.start // every) * every, recording.end, every)
    desk = Desk(recording, VenueShape())
    levels = np.zeros((len(times), 2, depth, 2), np.int64)
    for k, ts in enumerate(times.tolist()):
        desk.advance(ts)
        levels[k] = desk.levels(depth)
    return Moments(times, levels)
