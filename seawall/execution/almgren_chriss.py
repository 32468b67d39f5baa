"""Optimal execution by Almgren and Chriss (2000, J. Risk 3 (2001) 5-39): closed form.

Linear permanent and temporary impact, arithmetic random walk; minimises E + lambda V.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import SettingError


class Terms(NamedTuple):
    """What a trade meets; prices in one currency, time in one unit.

    Attributes:
        sigma: standard deviation of the price per square root of time.
        gamma: permanent impact, price per share. eta: temporary impact, price per share and time.
        epsilon: fixed cost per share, half the spread and fees.
        risk_aversion: lambda, >= 0, per unit of currency.
    """

    sigma: float
    gamma: float
    eta: float
    epsilon: float
    risk_aversion: float

    def check(self) -> "Terms":
        """Self; SettingError where a term is negative or not finite, or eta is 0."""
        for name, value in self._asdict().items():
            if not (math.isfinite(value) and value >= 0):
                raise SettingError(f"Almgren-Chriss: {name} is {value}; it must be 0 or more")
        if self.eta <= 0:
            raise SettingError("Almgren-Chriss: eta is 0; without temporary impact trade at once")
        return self

    def eta_tilde(self, tau: float) -> float:
        """eta - gamma tau / 2, for steps of length tau (equation 13).

        Raises:
            SettingError: it is not above 0; the steps are too long for this permanent impact.
        """
        value = self.eta - self.gamma * tau / 2
        if value <= 0:
            raise SettingError(
                f"Almgren-Chriss: permanent impact {self.gamma:g} is too large beside temporary "
                f"impact {self.eta:g} for steps of {tau:g}; take shorter steps"
            )
        return value

    def kappa(self, tau: float) -> float:
        """Urgency per unit of time: cosh(kappa tau) = 1 + lambda sigma^2 tau^2 / (2 eta~)."""
        squared = self.risk_aversion * self.sigma**2 / self.eta_tilde(tau)
        return 2.0 * math.asinh(math.sqrt(squared) * tau / 2.0) / tau


def holdings(shares: float, horizon: float, steps: int, terms: Terms) -> NDArray[np.float64]:
    """(steps + 1,) shares left at each t_j = j T / N: X sinh(kappa (T - t_j)) / sinh(kappa T)."""
    tau = horizon / steps
    bend = terms.check().kappa(tau) * horizon
    share = np.linspace(1.0, 0.0, steps + 1)
    if bend < 1e-6:
        return shares * share
    ratio = np.exp(bend * (share - 1.0)) * np.expm1(-2.0 * bend * share) / np.expm1(-2.0 * bend)
    return np.asarray(shares * ratio)


def cost(left: NDArray[np.float64], horizon: float, terms: Terms) -> tuple[float, float]:
    """(expectation, variance) of the shortfall of any trajectory (equations 4, 5 and 8).

    E = gamma X^2 / 2 + epsilon sum |n_k| + eta~ / tau sum n_k^2; V = sigma^2 tau sum x_k^2.
    """
    tau = horizon / (len(left) - 1)
    traded = -np.diff(left)
    expectation = (
        terms.gamma * left[0] ** 2 / 2
        + terms.epsilon * np.abs(traded).sum()
        + terms.eta_tilde(tau) / tau * (traded**2).sum()
    )
    return float(expectation), float(terms.sigma**2 * tau * (left[1:] ** 2).sum())


def bend_of(horizon: float, steps: int, terms: Terms) -> float:
    """kappa T: what a journaled pace needs of the terms."""
    return terms.check().kappa(horizon / steps) * horizon
