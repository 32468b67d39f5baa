"""The slippage model: what an order will cost, how sure that is, and what a fill's cost says.

One model for three uses: the bound before a trade, the breaker after it, the rules of the alerts.
Costs are basis points of the mid at the moment of sending; above 0 is to our cost.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError, SettingError

LEAST_SAMPLES = 30
POWERS = (0.5, 1.0)  # square root (Toth et al., 2011), linear (Kyle, 1985)
NORMAL = 1.482602218505602  # median absolute deviation → standard deviation of a normal law
BREAKER = 2.5  # standard deviations that open the slippage breaker
# The documents' ladder with the tighter of two targets (requirements, contradiction 22), fractions.
TARGET, WARNING, SERIOUS, SINGLE = 0.015, 0.02, 0.03, 0.05


class Footprint(NamedTuple):
    """An order in its market, as it was sent.

    Attributes:
        half_spread: bps. walk: bps beyond the touch that the levels shown then would have cost;
            0 where no depth is known.
        volatility: bps, standard deviation of the mid over the window that `share` is of.
        share: lots over the lots that the market traded in that window, >= 0.
    """

    half_spread: float
    walk: float
    volatility: float
    share: float


class SlippageModel(msgspec.Struct, frozen=True):
    """Cost = half spread + walk + coefficient x volatility x share ** power.

    Attributes:
        residuals: rising, of the samples: (cost - expected) over `unit`; they make the intervals.
            Empty for the prior, which knows no interval.
    """

    coefficient: float = 1.0
    power: float = 0.5
    residuals: tuple[float, ...] = ()

    def expected(self, order: Footprint) -> float:
        """Bps."""
        return order.half_spread + order.walk + self.coefficient * _impact(order, self.power)

    def interval(self, order: Footprint, level: float = 0.95) -> tuple[float, float]:
        """(low, high) in bps that holds a new cost with probability `level`, if it comes like the
        samples did (split conformal: Vovk et al., 2005). Infinite where there are too few samples.

        Raises:
            SettingError: level is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise SettingError(f"slippage: level is {level}; it must be between 0 and 1")
        tail = (1.0 - level) / 2
        middle, unit = self.expected(order), _unit(order, self.power)
        return middle - unit * self._quantile(tail, -1), middle + unit * self._quantile(tail, 1)

    def bound(self, order: Footprint, level: float = 0.99) -> float:
        """Bps that a cost does not pass with probability `level`; infinite with few samples."""
        return self.expected(order) + _unit(order, self.power) * self._quantile(1.0 - level, 1)

    def score(self, order: Footprint, cost: float) -> float:
        """Robust standard deviations that a cost lies above the expected one; NaN without samples.

        Above BREAKER the fill was worse than the market explains.
        """
        if len(self.residuals) < LEAST_SAMPLES:
            return float("nan")
        residuals = np.asarray(self.residuals)
        middle = float(np.median(residuals))
        spread = NORMAL * float(np.median(np.abs(residuals - middle)))
        unit = _unit(order, self.power) * max(spread, 1e-9)
        return (cost - self.expected(order) - middle * _unit(order, self.power)) / unit

    def _quantile(self, tail: float, sign: int) -> float:
        """Size of the residual that only a share `tail` of new ones passes on that side."""
        count = len(self.residuals)
        rank = int(np.ceil((count + 1) * (1.0 - tail)))
        if rank > count:
            return float("inf")
        return self.residuals[rank - 1] if sign > 0 else -self.residuals[count - rank]


def _impact(order: Footprint, power: float) -> float:
    return order.volatility * float(max(order.share, 0.0) ** power)


def _unit(order: Footprint, power: float) -> float:
    """The scale that a cost's error grows with."""
    return order.half_spread + order.walk + _impact(order, power) + 0.05 * order.volatility


def fit(orders: Sequence[Footprint], costs: Sequence[float]) -> SlippageModel:
    """Least absolute deviations: a few wild fills do not move it.

    For each power the coefficient is the weighted median of (cost - spread - walk) / impact, which
    is the exact minimum of the summed absolute error; the power with the smaller error is taken.

    Args:
        costs: bps, as they came out; not finite ones are left out.

    Raises:
        DataError: fewer than 30 samples that can be used.
    """
    table = np.array([(*order, cost) for order, cost in zip(orders, costs, strict=True)], float)
    table = table.reshape(-1, 5)
    table = table[np.isfinite(table).all(axis=1) & (table[:, 2] > 0) & (table[:, 3] > 0)]
    if len(table) < LEAST_SAMPLES:
        raise DataError(
            f"slippage: {len(table)} fills can be used, {LEAST_SAMPLES} are needed; trade more, or "
            "fit on a recorded tape"
        )
    best: tuple[float, float, float] | None = None
    for power in POWERS:
        impact = table[:, 2] * table[:, 3] ** power
        beyond = table[:, 4] - table[:, 0] - table[:, 1]
        coefficient = max(0.0, _weighted_median(beyond / impact, impact))
        error = float(np.abs(beyond - coefficient * impact).sum())
        if best is None or error < best[0]:
            best = (error, coefficient, power)
    assert best is not None
    _, coefficient, power = best
    made = SlippageModel(coefficient, power)
    found = [
        (cost - made.expected(order)) / _unit(order, power)
        for *fields, cost in table.tolist()
        for order in (Footprint(*fields),)
    ]
    return SlippageModel(coefficient, power, tuple(sorted(found)))


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def walked(levels: Sequence[tuple[int, int]], lots: int) -> tuple[float, int]:
    """(mean ticks, lots found) of taking from levels (ticks, lots), best first."""
    paid = found = 0
    for price, size in levels:
        took = min(size, lots - found)
        paid += price * took
        found += took
        if found == lots:
            break
    return (paid / found if found else float("nan")), found


def severity(average: float, worst: float) -> str:
    """What the ladder says to costs as fractions of the price: their mean, and the worst one.

    Returns:
        ``critical``, ``P1``, ``warning``, ``over target`` or an empty text.
    """
    if worst > SINGLE:
        return "critical"
    if average > SERIOUS:
        return "P1"
    if average > WARNING:
        return "warning"
    return "over target" if average > TARGET else ""
