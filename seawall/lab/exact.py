"""Runs of the exact venue: a feed, a strategy and what came of it."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError
from seawall.core.instruments import Instrument, Kind
from seawall.core.ladder import NO_ASK
from seawall.venues.simulated import exact_state as layout
from seawall.venues.simulated.exact import ExactShape, Feed, Latency, venue_of

_OVERRUN = {
    layout.TOO_MANY_FILLS: "more fills than the {fills} that most_fills makes room for; raise it",
    layout.TOO_MANY_MESSAGES: "more than {messages} responses are on their way at one time; "
    "shorten the response latency or trade less",
}


class ExactRun(NamedTuple):
    """What a strategy did, and what came of it.

    Attributes:
        fills: layout.EXECUTION, in the order of the exchange.
        marks: layout.MARK at the shape's cadence, as far as we had heard.
        equity: (marks,) smallest settle units: cash and the position at the middle of our book,
            after fees; carried on where the book has one side only.
        sent: requests. rows: of the tape that have been seen on both clocks.
        position, cash, fees: at the end, as far as we had heard.
    """

    fills: NDArray[Any]
    marks: NDArray[Any]
    equity: NDArray[np.int64]
    sent: int
    rows: int
    position: int
    cash: int
    fees: int

    @property
    def digest(self) -> str:
        """SHA-256 of the fills; runs that agree have the same."""
        return hashlib.sha256(np.ascontiguousarray(self.fills).data).hexdigest()


def run(
    feed: Feed,
    shape: ExactShape,
    latency: Latency,
    strategy: Callable[..., Any],
    *arguments: int | float,
) -> ExactRun:
    """Run a strategy over a feed.

    Args:
        strategy: called with the venue and `arguments`; compiled or plain, it loops over
            `exact_kernels.elapse` until that is False.

    Raises:
        SettingError: the shape is out of its range.
        DataError: the run had more fills or messages than there was room for.
    """
    venue = venue_of(feed, shape, latency)
    strategy(venue, *arguments)
    desk = venue.desk
    if desk["error"]:
        reason = _OVERRUN[int(desk["error"])]
        sizes = {"fills": len(venue.fills), "messages": layout.RESPONSES}
        raise DataError(f"exact venue on {feed.instrument.name}: {reason.format(**sizes)}")
    marks = venue.marks[: desk["marks"]].copy()
    return ExactRun(
        fills=venue.fills[: desk["fills"]].copy(),
        marks=marks,
        equity=equity_of(marks, feed.instrument),
        sent=int(desk["sent"]),
        rows=int(min(desk["next"], desk["our_next"])),
        position=int(desk["position"]),
        cash=int(desk["cash"]),
        fees=int(desk["fees"]),
    )


def equity_of(marks: NDArray[Any], instrument: Instrument) -> NDArray[np.int64]:
    """Cash and the position at the middle of the book, in smallest settle units.

    Exact to half a unit for SPOT and LINEAR. INVERSE: lots x unit / price off what was paid in.
    """
    equity = np.zeros(len(marks), np.int64)
    unit = instrument.cash_unit
    worth = 0
    for k, row in enumerate(marks.tolist()):
        _, bid, ask, position, cash, _ = row
        if bid > 0 and ask < NO_ASK:
            if instrument.kind is Kind.INVERSE:
                worth = -round(2 * position * unit / (bid + ask))
            else:
                worth = position * (bid + ask) * unit.numerator // 2
        elif not position:
            worth = 0
        equity[k] = cash + worth
    return equity
