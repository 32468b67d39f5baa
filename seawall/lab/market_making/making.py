"""One run of a market maker on the exact venue, and what it comes to."""

from typing import NamedTuple

import msgspec
import numpy as np

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.instruments import Instrument
from seawall.lab.exact import ExactRun, run
from seawall.lab.market_making.quotes import Quotes
from seawall.lab.market_making.quoting_kernels import make_market
from seawall.venues.simulated.exact import ExactShape, Feed, Latency
from seawall.venues.simulated.exact_state import BUY, SLOTS


class Quoting(msgspec.Struct, frozen=True, kw_only=True):
    """How the quotes are kept.

    Attributes:
        lots: of an order, which is the formulas' unit of inventory.
        most: lots held at most, long or short.
        every_ns: between two looks.
        horizon_ns: T of Avellaneda and Stoikov; when it is over the next one begins.
        rungs: orders a side. step: ticks between two of them.
    """

    lots: int
    most: int
    every_ns: int = SECOND // 10
    horizon_ns: int = 10 * SECOND
    rungs: int = 1
    step: int = 1

    def check(self) -> "Quoting":
        """Self; SettingError names the first value that is out of its range."""
        high = 1 << 40
        for name, most in (
            ("lots", high),
            ("most", high),
            ("every_ns", 1 << 62),
            ("horizon_ns", 1 << 62),
            ("rungs", SLOTS // 2),
            ("step", high),
        ):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise SettingError(f"market making: {name} is {value}; allowed is 1 to {most}")
        return self


class Outcome(NamedTuple):
    """What a run comes to; money in units of the settle asset.

    Attributes:
        fills: executions, all as maker. lots: that changed hands. requests: sent.
        position: lots at the end. furthest: most lots held, long or short, at the exchange.
        typical: root mean square of the lots held over the marks since the start.
        gross: profit before fees, what is held valued at the mid. fees: below 0 a rebate.
        net: profit after fees. swing: standard deviation of the net profit's change a second.
        break_even_ppm: maker fee at which nothing would be left, NaN without a fill.
    """

    fills: int
    lots: int
    requests: int
    position: int
    furthest: int
    typical: float
    gross: float
    fees: float
    net: float
    swing: float
    break_even_ppm: float


def trade(
    feed: Feed, shape: ExactShape, latency: Latency, form: Quotes, quoting: Quoting, start: int
) -> ExactRun:
    """Make a market by a closed form from `start` (ns UTC, our clock) to the end of the feed.

    The equity curve has a mark at each look.

    Raises:
        SettingError: a value of the shape or of the quoting is out of its range.
        DataError: the run had more fills or messages than there was room for.
    """
    quoting.check()
    coefficients = tuple(float(value) for value in form)
    return run(
        feed,
        msgspec.structs.replace(shape, mark_every_ns=quoting.every_ns),
        latency,
        lambda venue: make_market(
            venue,
            coefficients,
            quoting.every_ns,
            start,
            quoting.horizon_ns,
            quoting.lots,
            quoting.most,
            quoting.rungs,
            quoting.step,
        ),
    )


def outcome_of(made: ExactRun, instrument: Instrument, start: int) -> Outcome:
    """Figures of a run that started to quote at `start`, as far as we had heard at its end."""
    unit = 10.0**-instrument.settle_decimals
    fills = made.fills
    signed = np.where(fills["side"] == BUY, fills["lots"], -fills["lots"])
    held = np.cumsum(signed)
    since = made.marks["ts"] >= start
    marks, equity = made.marks[since], made.equity[since]
    net = int(equity[-1]) if len(equity) else 0
    fees = int(marks["fees"][-1]) if len(marks) else 0
    traded = sum(
        instrument.value(price, lots)
        for price, lots in zip(fills["price"].tolist(), fills["lots"].tolist(), strict=True)
    )
    seconds = (marks["ts"] - start) // SECOND
    each = np.unique(seconds, return_index=True)[1]
    swing = float(np.diff(equity[each]).std()) if len(each) > 2 else 0.0
    return Outcome(
        fills=len(fills),
        lots=int(fills["lots"].sum()),
        requests=made.sent,
        position=made.position,
        furthest=int(np.abs(held).max()) if len(held) else 0,
        typical=float(np.sqrt(np.mean(marks["position"] ** 2.0))) if len(marks) else 0.0,
        gross=(net + fees) * unit,
        fees=fees * unit,
        net=net * unit,
        swing=swing * unit,
        break_even_ppm=(net + fees) / traded * 1e6 if traded else float("nan"),
    )
