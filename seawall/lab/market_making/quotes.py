"""Where to quote: the closed forms of two papers, as functions of what is held and of time left.

Both take a mid that moves as a Brownian motion and orders that reach a quote at distance delta
from it A exp(-k delta) times a second; both maximise the expected utility -exp(-gamma wealth).
Here prices are ticks, time is seconds, and one unit of inventory is one order.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import SettingError

AVELLANEDA_STOIKOV, GLFT = "avellaneda-stoikov", "glft"
MODELS = (AVELLANEDA_STOIKOV, GLFT)


class Market(NamedTuple):
    """What the formulas know of a market.

    Attributes:
        sigma: of the mid, ticks per square root of a second.
        k: how fast arrivals thin out away from the mid, per tick.
        rate: A, arrivals a second and side at the mid itself.
    """

    sigma: float
    k: float
    rate: float

    def check(self) -> "Market":
        """Self; SettingError names the first value that is not positive and finite."""
        for name, value in zip(self._fields, self, strict=True):
            allowed = math.isfinite(value) and (value >= 0 if name == "sigma" else value > 0)
            if not allowed:
                least = "0 or more" if name == "sigma" else "above 0"
                raise SettingError(f"market making: {name} is {value}; it has to be {least}")
        return self


class Quotes(NamedTuple):
    """A closed form: both papers' quotes are straight lines in inventory and in time left.

    With q orders held and `left` seconds to the horizon, in ticks:
    reservation price = mid - q (skew + skew_rate left), bid and ask at the distance
    half + half_rate left below and above it.
    """

    half: float
    half_rate: float
    skew: float
    skew_rate: float

    def prices(self, mid: float, held: float, left: float = 0.0) -> tuple[float, float]:
        """(bid, ask) in ticks, not rounded."""
        reservation = mid - held * (self.skew + self.skew_rate * left)
        distance = self.half + self.half_rate * left
        return reservation - distance, reservation + distance


def monopoly_half_spread(k: float, gamma: float) -> float:
    """(1 / gamma) ln(1 + gamma / k), ticks: what both papers ask where inventory has no risk.

    It goes to 1 / k as gamma goes to 0.
    """
    return math.log1p(gamma / k) / gamma


def avellaneda_stoikov(market: Market, gamma: float) -> Quotes:
    """Quotes of Avellaneda and Stoikov (2008), "High-frequency trading in a limit order book".

    Reservation price s - q gamma sigma^2 (T - t); total spread
    gamma sigma^2 (T - t) + (2 / gamma) ln(1 + gamma / k). A plays no part.

    Raises:
        SettingError: gamma, or a value of the market, is out of its range.
    """
    _check(market, gamma)
    risk = gamma * market.sigma**2
    return Quotes(monopoly_half_spread(market.k, gamma), risk / 2, 0.0, risk)


def glft(market: Market, gamma: float) -> Quotes:
    """Asymptotic quotes of Guéant, Lehalle and Fernandez-Tapia (2013), arXiv 1105.3115.

    delta_bid = (1 / gamma) ln(1 + gamma / k) + (2 q + 1) / 2 c and delta_ask the same with -q,
    c = sqrt(sigma^2 gamma / (2 k A) (1 + gamma / k)^(1 + k / gamma)): far from the horizon, and
    without a limit on inventory.

    Raises:
        SettingError: gamma, or a value of the market, is out of its range.
    """
    _check(market, gamma)
    power = math.exp((1 + market.k / gamma) * math.log1p(gamma / market.k))
    skew = market.sigma * math.sqrt(gamma / (2 * market.k * market.rate) * power)
    return Quotes(monopoly_half_spread(market.k, gamma) + skew / 2, 0.0, skew, 0.0)


def glft_exact(
    market: Market, gamma: float, left: float, most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same paper's quotes before any approximation, at `left` seconds to the horizon.

    v = exp(-M left) 1 for the tridiagonal M with k gamma sigma^2 q^2 / 2 on its diagonal and
    -A (1 + gamma / k)^-(1 + k / gamma) beside it; delta_bid(q) = ln(v_q / v_{q+1}) / k +
    (1 / gamma) ln(1 + gamma / k), delta_ask(q) with v_{q-1}.

    Args:
        most: orders held at most, Q.

    Returns:
        (2 Q + 1,) distances of bid and ask from the mid in ticks, for q from -Q to Q; inf where
        the limit forbids the quote.

    Raises:
        SettingError: gamma, or a value of the market, is out of its range.
    """
    _check(market, gamma)
    held = np.arange(-most, most + 1)
    beside = market.rate * math.exp(-(1 + market.k / gamma) * math.log1p(gamma / market.k))
    matrix = np.diag(market.k * gamma * market.sigma**2 / 2 * held.astype(np.float64) ** 2)
    matrix -= beside * (np.eye(len(held), k=1) + np.eye(len(held), k=-1))
    values, vectors = np.linalg.eigh(matrix)
    # Only ratios of v count, so the slowest mode is taken as 1 and nothing underflows.
    v = vectors @ (np.exp(-(values - values[0]) * left) * vectors.sum(axis=0))
    step = np.diff(np.log(v)) / market.k
    base = monopoly_half_spread(market.k, gamma)
    return np.append(base - step, np.inf), np.append(np.inf, base + step)


def quotes_of(model: str, market: Market, gamma: float) -> Quotes:
    """The closed form of that name, one of MODELS; SettingError where there is none."""
    if model == AVELLANEDA_STOIKOV:
        return avellaneda_stoikov(market, gamma)
    if model == GLFT:
        return glft(market, gamma)
    raise SettingError(f"market making: model is {model!r}; allowed is {', '.join(MODELS)}")


def _check(market: Market, gamma: float) -> None:
    market.check()
    if not (math.isfinite(gamma) and gamma > 0):
        raise SettingError(f"market making: gamma is {gamma}; it has to be above 0")
