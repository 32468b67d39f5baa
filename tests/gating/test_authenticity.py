"""Who lies is found, who does not is left alone, and nobody can be framed."""

import math

import numpy as np
import pytest
from scipy import stats

from seawall.core.consensus import LEVEL, WIDTH
from seawall.core.verdicts import Standing
from seawall.gating.figures import _at_least
from seawall.gating.reference import _chi_squared
from seawall.lab import twin

FROM = 600
CLEAN = {
    "iid": twin.MarketPanel(tau=0.2),
    "student": twin.MarketPanel(tau=0.2, tail=5.0),
    "garch": twin.MarketPanel(tau=0.2, garch=(0.1, 0.88)),
}


def test_chances_are_those_of_scipy_to_the_bit():
    chance = np.random.default_rng(5)
    for _ in range(2000):
        trials = int(chance.integers(1, 1000))
        events = int(chance.integers(0, trials + 3))
        rate = float(chance.choice([1.0, 1.0 / trials, chance.random()]))
        assert _at_least(events, trials, rate) == stats.binom.sf(events - 1, trials, rate)
    for degrees in np.arange(0.5, 200.0, 0.5):
        assert _chi_squared(degrees) == stats.chi2.ppf(0.999, degrees)


def upper(rejected, reviews):
    """Upper 95 % Clopper-Pearson bound of a rate."""
    return float(stats.beta.ppf(0.95, rejected + 1, reviews - rejected))


def rejections(shape, hours, seeds):
    rejected = reviews = 0
    for seed in seeds:
        run = twin.run(twin.market(shape, hours * 3600, 5, seed))
        reviews += len(run.ts) - FROM // twin.REVIEW
        rejected += sum(bool(accused) for accused in run.accused)
    return rejected, reviews


@pytest.mark.parametrize("name", CLEAN)
def test_honest_sources_are_not_rejected(name):
    rejected, reviews = rejections(CLEAN[name], 6, range(2))
    assert rejected == 0
    assert reviews >= 650


@pytest.mark.slow
@pytest.mark.parametrize("name", CLEAN)
def test_honest_sources_are_rejected_in_less_than_a_thousandth_of_the_updates(name):
    rejected, reviews = rejections(CLEAN[name], 24, range(7))
    assert reviews >= 10_000
    print(f"{name}: {rejected} of {reviews}, at most {upper(rejected, reviews):.2e}")
    assert upper(rejected, reviews) <= 1e-3


def lie(panel, change):
    told = panel.copy()
    change(told[FROM:], panel[FROM:])
    return told


def shifted(told, honest):
    told[:, 0, :WIDTH] += 3.0 * np.nanstd(honest[:, 0, :WIDTH], axis=0)


def price_off(told, honest):
    told[:, 0, LEVEL] += 0.01


def noisy(told, honest):
    rng = np.random.default_rng(5)
    scale = np.nanstd(honest[:, 0, :WIDTH], axis=0)
    told[:, 0, :WIDTH] += 5.0 * scale * rng.standard_normal(told[:, 0, :WIDTH].shape)


def frozen(told, honest):
    told[:, 0] = honest[0, 0]


def replayed(told, honest):
    told[:, 0] = np.roll(honest[:, 0], 300, axis=0)


def burst(told, honest):
    told[::3, 0, 0] += 1e3


@pytest.mark.parametrize("change", [shifted, price_off, noisy, frozen, replayed, burst])
def test_a_liar_is_found_and_banned_and_nobody_else(change):
    panel = twin.market(twin.MarketPanel(tau=0.2), 2400, 5, 1)
    run = twin.run(lie(panel, change))
    assert set().union(*run.accused) == {"s0"}
    assert run.gating.sources["s0"].standing is Standing.BANNED
    first = next(k for k, accused in enumerate(run.accused) if accused)
    assert run.ts[first] - FROM * 1_000_000_000 <= 300e9
    assert all(run.gating.sources[f"s{i}"].votes for i in range(1, 5))


def test_a_slow_drift_is_found_within_the_day():
    """0.01 standard deviations a minute, in all that the source says."""
    panel = twin.market(twin.MarketPanel(tau=0.2), 12 * 3600, 5, 2)
    minutes = np.arange(len(panel) - FROM)[:, None] / 60.0
    scale = np.nanstd(panel[:, 0, :WIDTH], axis=0)
    told = panel.copy()
    told[FROM:, 0, :WIDTH] += 0.01 * minutes * scale
    honest, run = twin.run(panel), twin.run(told)
    found = twin.excess(honest, run, FROM // twin.REVIEW)
    assert found.ratio <= 1.0 + 1e-9
    assert found.axis < 0.25  # a day's walk of the reference
    accused = set().union(*run.accused)
    assert accused == {"s0"}
    ranked = sorted(run.gating.sources.items(), key=lambda item: -item[1].worst)
    assert ranked[0][0] == "s0"


def test_one_liar_among_three_does_not_make_the_honest_look_false():
    panel = twin.market(twin.MarketPanel(tau=0.2), 2400, 3, 3)
    run = twin.run(lie(panel, price_off))
    assert "s0" in set().union(*run.accused)
    assert not run.gating.sources["s1"].rejections
    assert not run.gating.sources["s2"].rejections


def test_a_market_that_splits_in_two_accuses_nobody():
    panel = twin.market(twin.MarketPanel(tau=0.2), 1800, 4, 4)
    told = panel.copy()
    told[FROM:, :2, LEVEL] += 0.02
    run = twin.run(told)
    assert not set().union(*run.accused)


def test_two_sources_are_never_compared():
    run = twin.run(twin.market(twin.MarketPanel(), 1800, 2, 5))
    assert run.group.reference is None
    assert not run.group.counts["learned"]
    assert math.isinf(run.group.raw_bound()[0])


def test_a_move_of_the_whole_market_is_the_markets():
    """All sources at once: nobody is accused, and corroboration says that everybody saw it."""
    panel = twin.market(twin.MarketPanel(tau=0.2), 3000, 5, 6)
    told = panel.copy()
    told[1800:, :, 3:7] += 3.0 * np.nanstd(panel[:, 0, 3:7], axis=0)
    run = twin.run(told)
    assert not set().union(*run.accused)
    assert run.group.figures.corroboration >= 0.8
    assert run.group.rolled_back == 0
