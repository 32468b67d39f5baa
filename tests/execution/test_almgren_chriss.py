import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import SettingError
from seawall.execution.almgren_chriss import Terms, bend_of, cost, holdings

# The example of the paper (section 3.4): 50 USD, 30 % a year, a million shares in five days; time
# in days. epsilon is half a spread of 1/8, eta pays one spread per 1 % of 5 million shares a day.
PAPER = Terms(sigma=0.95, gamma=2.5e-7, eta=2.5e-6, epsilon=0.0625, risk_aversion=1e-6)


def test_the_paper_s_urgency() -> None:
    """The paper gives kappa = 0.61 a day and a half-life of 1.6 days (memory; 0.607 computed)."""
    assert PAPER.kappa(1.0) == pytest.approx(0.607, abs=0.0005)
    assert 1.0 / PAPER.kappa(1.0) == pytest.approx(1.6, abs=0.05)


def test_expectation_and_variance_of_an_even_trajectory_are_the_paper_s_closed_forms() -> None:
    """Equations 10 and 11: E = gamma X^2/2 + eps X + (eta - gamma tau/2) X^2/T,
    V = sigma^2 X^2 T (1 - 1/N)(1 - 1/(2N)) / 3."""
    shares, horizon, steps = 1e6, 5.0, 5
    left = np.linspace(shares, 0, steps + 1)
    expectation, variance = cost(left, horizon, PAPER)
    tilde = PAPER.eta - PAPER.gamma * 1.0 / 2
    closed = PAPER.gamma * shares**2 / 2 + PAPER.epsilon * shares + tilde * shares**2 / horizon
    assert expectation == pytest.approx(closed)
    closed = PAPER.sigma**2 * shares**2 * horizon * (1 - 1 / steps) * (1 - 1 / (2 * steps)) / 3
    assert variance == pytest.approx(closed)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.05, 3.0),
    st.floats(1e-8, 1e-4),
    st.floats(0.0, 0.5),
    st.floats(0.0, 1e-3),
    st.integers(2, 40),
    st.floats(0.5, 20.0),
)
def test_it_is_the_optimum_of_the_quadratic_programme(
    sigma: float, eta: float, permanent: float, aversion: float, steps: int, horizon: float
) -> None:
    """The minimum of E + lambda V solved as linear equations, without the closed form."""
    tau = horizon / steps
    terms = Terms(sigma, permanent * eta / tau, eta, 0.01, aversion)
    shares = 1_000.0
    smooth = 2.0 * terms.eta_tilde(tau) / tau
    size = steps - 1
    matrix = np.eye(size) * (2 * smooth + 2 * aversion * sigma**2 * tau)
    matrix -= smooth * (np.eye(size, k=1) + np.eye(size, k=-1))
    right = np.zeros(size)
    right[0] = smooth * shares
    best = np.concatenate([[shares], np.linalg.solve(matrix, right), [0.0]])
    assert np.allclose(holdings(shares, horizon, steps, terms), best, atol=1e-6 * shares)


def test_without_risk_aversion_it_is_even() -> None:
    left = holdings(100.0, 10.0, 10, PAPER._replace(risk_aversion=0.0))
    assert np.allclose(left, np.linspace(100, 0, 11))
    assert bend_of(10.0, 10, PAPER._replace(risk_aversion=0.0)) == 0.0


def test_more_fear_costs_more_and_varies_less() -> None:
    costs = [
        cost(holdings(1e6, 5.0, 50, PAPER._replace(risk_aversion=a)), 5.0, PAPER)
        for a in (0.0, 1e-7, 1e-6, 1e-5)
    ]
    expectations, variances = zip(*costs, strict=True)
    assert list(expectations) == sorted(expectations)
    assert list(variances) == sorted(variances, reverse=True)


def test_terms_without_a_meaning_are_refused() -> None:
    with pytest.raises(SettingError, match="sigma"):
        holdings(1.0, 1.0, 2, PAPER._replace(sigma=-1.0))
    with pytest.raises(SettingError, match="eta"):
        holdings(1.0, 1.0, 2, PAPER._replace(eta=0.0))
    with pytest.raises(SettingError, match="shorter steps"):
        holdings(1.0, 100.0, 2, PAPER._replace(gamma=1.0))
