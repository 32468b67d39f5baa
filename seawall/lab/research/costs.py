"""Where the money went: what each fill cost against the mid at its decision, part by part.

The implementation shortfall (Perold 1988, "The implementation shortfall: paper versus reality")
in the order of time: the market moved while the order was on its way (latency), the order took
the other side's best price (spread), it went beyond it (impact), the venue took its fee.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from seawall.core.errors import DataError

Array = NDArray[np.float64]
BPS = 1e4


class Breakdown(msgspec.Struct, frozen=True):
    """Costs in the quote asset, positive is a loss; their sum is `total`.

    Attributes:
        latency: the mid's way from the decision to the order's arrival, against us.
        waiting: the mid's way from its arrival to its fill (0 for orders that take).
        spread: from the mid at the fill to the best price of the other side; negative where the
            fill was on our own side of the mid (a resting order was paid for waiting).
        impact: beyond that best price.
        fees: of the venue; negative is a rebate. funding: paid on positions held.
        traded: value traded, what the bps are of. fills: how many.
    """

    latency: float
    waiting: float
    spread: float
    impact: float
    fees: float
    funding: float
    traded: float
    fills: int

    @property
    def total(self) -> float:
        """All of it."""
        return self.latency + self.waiting + self.spread + self.impact + self.fees + self.funding

    def bps(self, part: float) -> float:
        """A part per value traded, in basis points; 0 where nothing was."""
        return part / self.traded * BPS if self.traded else 0.0


def breakdown(
    quantity: ArrayLike,
    price: ArrayLike,
    fee: ArrayLike,
    decision: ArrayLike,
    arrival: ArrayLike,
    bid: ArrayLike,
    ask: ArrayLike,
    funding: float = 0.0,
) -> Breakdown:
    """Costs of n fills.

    Args:
        quantity: (n,) base units, positive bought. price: (n,) quote units. fee: (n,) quote units.
        decision, arrival: (n,) mid when it was decided, and when the order reached the venue.
        bid, ask: (n,) the venue's touch right before the fill.
        funding: paid over the time, quote units; negative was received.

    Raises:
        DataError: columns of different length, or a touch that is no touch.
    """
    columns = (quantity, price, fee, decision, arrival, bid, ask)
    q, p, f, d, a, b, s = (np.asarray(column, dtype=np.float64) for column in columns)
    if len({len(column) for column in (q, p, f, d, a, b, s)}) != 1:
        raise DataError("cost breakdown: the columns have different lengths; give one row per fill")
    bad = np.flatnonzero(~((b > 0.0) & (s >= b) & (d > 0.0) & (a > 0.0) & (p > 0.0)))
    if len(bad):
        raise DataError(f"cost breakdown: fill {int(bad[0])} has no price, mid or two-sided touch")
    mid = 0.5 * (b + s)
    other = np.where(q > 0.0, s, b)
    beyond = np.where(q > 0.0, np.maximum(p - other, 0.0), np.minimum(p - other, 0.0))
    impact = q * beyond
    return Breakdown(
        latency=float(np.sum(q * (a - d))),
        waiting=float(np.sum(q * (mid - a))),
        spread=float(np.sum(q * (p - mid) - impact)),
        impact=float(np.sum(impact)),
        fees=float(np.sum(f)),
        funding=float(funding),
        traded=float(np.sum(np.abs(q) * p)),
        fills=len(q),
    )


def breakdown_of(fills: NDArray[Any], tick: float, lot: float, funding: float = 0.0) -> Breakdown:
    """Of the fast tier's FILL rows; an order of it fills where it arrives.

    Args:
        tick: quote units per tick; lot: base units per lot.
    """
    touch, mid = fills["touch"] * tick, fills["mid"] * tick
    bought = fills["lots"] > 0
    return breakdown(
        fills["lots"] * lot,
        fills["price"] * tick,
        fills["fee"] * tick * lot,
        fills["decision"] * tick,
        mid,
        np.where(bought, 2.0 * mid - touch, touch),
        np.where(bought, touch, 2.0 * mid - touch),
        funding,
    )


def funding_paid(position: ArrayLike, mark: ArrayLike, rate: ArrayLike) -> float:
    """Funding over n settlements: position (base units, signed) x mark x rate; positive: paid."""
    held, at, share = (np.asarray(c, dtype=np.float64) for c in (position, mark, rate))
    return float(np.sum(held * at * share))
