import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from seawall.core.errors import SettingError
from seawall.core.randomness import generator
from seawall.lab.market_making.quotes import (
    MODELS,
    Market,
    avellaneda_stoikov,
    glft,
    glft_exact,
    monopoly_half_spread,
    quotes_of,
)

# Numbers that the papers simulate with: Avellaneda and Stoikov in dollars and one day; Guéant,
# Lehalle and Fernandez-Tapia in ticks and seconds.
PAPER_2008 = Market(sigma=2.0, k=1.5, rate=140.0)
PAPER_2013 = Market(sigma=0.3, k=0.3, rate=0.9)
GAMMA_2013 = 0.01

MARKETS = st.builds(
    Market,
    sigma=st.floats(0.01, 100),
    k=st.floats(0.01, 5),
    rate=st.floats(0.01, 100),
)
RISKS = st.floats(1e-3, 10)  # gamma in parts of k


@pytest.mark.parametrize(("gamma", "spread"), [(0.1, 1.49), (0.01, 1.35)])
def test_spreads_are_those_of_the_paper(gamma: float, spread: float) -> None:
    """Avellaneda and Stoikov's mean over the day, steps of 0.005, nothing held."""
    form = avellaneda_stoikov(PAPER_2008, gamma)
    left = 1 - np.arange(0, 1, 0.005)
    widths = [ask - bid for bid, ask in (form.prices(100, 0, t) for t in left)]
    assert round(float(np.mean(widths)), 2) == spread


def test_simulation_of_the_paper_comes_out_again() -> None:
    """Avellaneda and Stoikov's 1000 days at gamma 0.1: profit, its deviation and that of what is
    held at the end, of their quotes (65.0, 6.6, 2.9) and of symmetric ones (68.4, 12.7, 8.4)."""
    draws = generator(0, "avellaneda-stoikov")
    form, days, dt = avellaneda_stoikov(PAPER_2008, 0.1), 1000, 0.005
    figures = []
    for quotes in (form, form._replace(skew_rate=0.0)):
        mid, held, cash = np.full(days, 100.0), np.zeros(days), np.zeros(days)
        for step in range(200):
            reservation = mid - held * quotes.skew_rate * (1 - step * dt)
            half = quotes.half + quotes.half_rate * (1 - step * dt)
            for sign in (1, -1):
                price = reservation - sign * half
                chance = PAPER_2008.rate * np.exp(-PAPER_2008.k * sign * (mid - price)) * dt
                filled = draws.random(days) < chance
                held += sign * filled
                cash -= sign * filled * price
            mid += PAPER_2008.sigma * math.sqrt(dt) * draws.choice([-1, 1], days)
        profit = cash + held * mid
        figures.append((profit.mean(), profit.std(), held.std()))
    assert figures[0] == (
        pytest.approx(65.0, abs=1),
        pytest.approx(6.6, abs=0.5),
        pytest.approx(2.9, abs=0.3),
    )
    assert figures[1] == (
        pytest.approx(68.4, abs=1.5),
        pytest.approx(12.7, abs=1.2),
        pytest.approx(8.4, abs=0.5),
    )


def test_avellaneda_stoikov_by_hand() -> None:
    # r = 100 - 3 × 0.1 × 4 × 0.5 = 99.4; half = 0.1 × 4 × 0.5 / 2 + ln(1 + 0.1 / 1.5) / 0.1
    bid, ask = avellaneda_stoikov(PAPER_2008, 0.1).prices(100.0, 3, 0.5)
    half = 0.1 + 10 * math.log(16 / 15)
    assert (bid, ask) == (pytest.approx(99.4 - half), pytest.approx(99.4 + half))


def test_exact_quotes_are_those_of_the_matrix_exponential() -> None:
    market, gamma, most, left = PAPER_2013, GAMMA_2013, 6, 20.0
    held = np.arange(-most, most + 1)
    alpha = market.k / 2 * gamma * market.sigma**2
    eta = market.rate * (1 + gamma / market.k) ** -(1 + market.k / gamma)
    matrix = np.diag(alpha * held**2.0) - eta * (np.eye(13, k=1) + np.eye(13, k=-1))
    v = expm(-matrix * left) @ np.ones(13)
    base = math.log(1 + gamma / market.k) / gamma
    bids, asks = glft_exact(market, gamma, left, most)
    np.testing.assert_allclose(bids[:-1], base + np.log(v[:-1] / v[1:]) / market.k, rtol=1e-10)
    np.testing.assert_allclose(asks[1:], base + np.log(v[1:] / v[:-1]) / market.k, rtol=1e-10)
    assert np.isinf(bids[-1])
    assert np.isinf(asks[0])


def test_asymptotic_quotes_are_near_the_exact_ones_far_from_the_horizon() -> None:
    """The paper's market, T = 600 s and Q = 30: within a hundredth of a tick for small holdings."""
    bids, asks = glft_exact(PAPER_2013, GAMMA_2013, 600.0, 30)
    form = glft(PAPER_2013, GAMMA_2013)
    for held in range(-5, 6):
        bid, ask = form.prices(0.0, held)
        assert -bid == pytest.approx(bids[30 + held], abs=0.01)
        assert ask == pytest.approx(asks[30 + held], abs=0.01)


def test_at_the_horizon_nothing_leans() -> None:
    bids, asks = glft_exact(PAPER_2013, GAMMA_2013, 0.0, 5)
    half = monopoly_half_spread(PAPER_2013.k, GAMMA_2013)
    np.testing.assert_allclose(bids[:-1], half)
    np.testing.assert_allclose(asks[1:], half)
    bid, ask = avellaneda_stoikov(PAPER_2013, GAMMA_2013).prices(0.0, 4)
    assert (bid, ask) == (-half, half)


@given(market=MARKETS)
def test_who_fears_nothing_asks_one_over_k_and_does_not_lean(market: Market) -> None:
    for model in MODELS:
        form = quotes_of(model, market, 1e-12 * market.k)
        assert form.half == pytest.approx(1 / market.k, rel=1e-4, abs=1e-3 * market.sigma)
        assert form.half_rate + form.skew_rate < 1e-7 * market.sigma**2
    # (1 + gamma / k)^(1 + k / gamma) goes to e
    form = glft(market, 1e-9 * market.k)
    whole = market.sigma * math.sqrt(1e-9 * math.e / (2 * market.rate))
    assert form.skew == pytest.approx(whole, rel=1e-6)


@given(
    market=MARKETS,
    risk=RISKS,
    held=st.integers(-20, 20),
    left=st.floats(1, 600),
    model=st.sampled_from(MODELS),
)
def test_quotes_lean_against_what_is_held(
    market: Market, risk: float, held: int, left: float, model: str
) -> None:
    form = quotes_of(model, market, risk * market.k)
    bid, ask = form.prices(0.0, held, left)
    more_bid, more_ask = form.prices(0.0, held + 1, left)
    assert more_bid < bid
    assert more_ask < ask
    assert (bid + ask) * held <= 0
    assert ask - bid == pytest.approx(more_ask - more_bid)
    # short is the mirror image of long
    mirrored = form.prices(0.0, -held, left)
    assert mirrored == (pytest.approx(-ask), pytest.approx(-bid))


@given(market=MARKETS, risk=RISKS)
def test_fear_leans_more_and_a_calm_market_less(market: Market, risk: float) -> None:
    gamma = risk * market.k
    calm = market._replace(sigma=market.sigma / 2)
    for model in MODELS:
        form, bolder = quotes_of(model, market, gamma), quotes_of(model, market, gamma / 2)
        calmer = quotes_of(model, calm, gamma)
        assert form.skew + form.skew_rate > bolder.skew + bolder.skew_rate
        assert form.skew + form.skew_rate > calmer.skew + calmer.skew_rate


@pytest.mark.parametrize(
    ("market", "gamma", "named"),
    [
        (PAPER_2013, 0.0, "gamma"),
        (PAPER_2013, math.nan, "gamma"),
        (PAPER_2013._replace(k=0.0), 0.1, "k"),
        (PAPER_2013._replace(rate=math.inf), 0.1, "rate"),
        (PAPER_2013._replace(sigma=-1.0), 0.1, "sigma"),
    ],
)
def test_what_makes_no_sense_is_refused(market: Market, gamma: float, named: str) -> None:
    for model in MODELS:
        with pytest.raises(SettingError, match=f"{named} is"):
            quotes_of(model, market, gamma)
    with pytest.raises(SettingError, match="allowed is avellaneda-stoikov, glft"):
        quotes_of("naive", PAPER_2013, 0.1)
