"""Luck, by the published examples and against slow references."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from seawall.core.errors import SettingError
from seawall.core.randomness import generator
from seawall.lab.research.performance import Moments
from seawall.lab.research.significance import (
    deflated_sharpe,
    expected_best_sharpe,
    independent_trials,
    minimum_track_record,
    overfitting,
    probabilistic_sharpe,
)

# Bailey, López de Prado 2014: annualised Sharpe 2.5 of five years of 250 days, variance 1/2 of the
# trials' annualised Sharpe ratios, skewness -3, kurtosis 10.
PAPER = Moments(2.5 / math.sqrt(250), 1250, -3.0, 10.0)
VARIANCE = 0.5 / 250


def test_the_deflated_sharpe_ratio_of_the_paper() -> None:
    assert expected_best_sharpe(VARIANCE, 100) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(PAPER, VARIANCE, 100) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(PAPER, VARIANCE, 46) == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.parametrize(("periods", "years"), [(250, 2.73), (52, 2.83), (12, 3.24)])
def test_the_least_track_record_of_the_paper(periods: int, years: float) -> None:
    """Bailey, López de Prado 2012: Sharpe 2 against 1, normal returns, 95 %."""
    root = math.sqrt(periods)
    needed = minimum_track_record(Moments(2 / root, 100, 0.0, 3.0), 1 / root)
    assert needed / periods == pytest.approx(years, abs=0.005)


@given(ratio=st.floats(0.01, 0.5), skewness=st.floats(-1.0, 1.0), kurtosis=st.floats(3.0, 9.0))
def test_after_the_least_track_record_the_probability_is_what_was_asked(
    ratio: float, skewness: float, kurtosis: float
) -> None:
    short = Moments(ratio, 10, skewness, kurtosis)
    needed = minimum_track_record(short, 0.0, 0.9)
    reached = short._replace(periods=needed)
    assert probabilistic_sharpe(reached) == pytest.approx(0.9, abs=1e-9)


def test_a_loser_never_has_enough_of_a_track_record() -> None:
    assert minimum_track_record(Moments(-0.1, 1000, 0.0, 3.0)) == math.inf


def test_the_best_of_many_by_simulation() -> None:
    drawn = generator(2, "tests.significance").standard_normal((20_000, 50)).max(axis=1)
    assert expected_best_sharpe(1.0, 50) == pytest.approx(drawn.mean(), abs=0.03)
    assert expected_best_sharpe(1.0, 1) == 0.0


def test_copies_of_one_trial_are_one_trial() -> None:
    random = generator(3, "tests.significance")
    one = random.standard_normal((500, 1))
    assert independent_trials(np.repeat(one, 20, axis=1)) == pytest.approx(1.0)
    apart = independent_trials(random.standard_normal((5000, 20)))
    assert apart == pytest.approx(20.0, abs=0.5)
    mixed = random.standard_normal((400, 7))
    mixed[:, 1] += mixed[:, 0]
    correlation = np.corrcoef(mixed.T)
    mean = (correlation.sum() - 7) / 42
    assert independent_trials(mixed) == pytest.approx(mean + (1 - mean) * 7)


def slow_overfitting(returns: np.ndarray, pieces: int) -> tuple[float, float]:
    """Word for word: both halves joined, Sharpe ratios, rank of the best one."""
    size = len(returns) // pieces
    parts = [returns[k * size : (k + 1) * size] for k in range(pieces)]
    below, lost, ways = 0, 0, 0
    for chosen in itertools.combinations(range(pieces), pieces // 2):
        own = np.concatenate([parts[k] for k in chosen])
        other = np.concatenate([parts[k] for k in range(pieces) if k not in chosen])
        seen = own.mean(axis=0) / own.std(axis=0)
        unseen = other.mean(axis=0) / other.std(axis=0)
        best = int(np.argmax(seen))
        rank = stats.rankdata(unseen)[best] / (returns.shape[1] + 1)
        below += math.log(rank / (1 - rank)) <= 0
        lost += unseen[best] < 0
        ways += 1
    return below / ways, lost / ways


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), pieces=st.sampled_from([4, 6]), sets=st.integers(2, 9))
def test_overfitting_as_the_paper_tells_it(seed: int, pieces: int, sets: int) -> None:
    returns = generator(seed, "tests.overfitting").standard_normal((120, sets))
    found = overfitting(returns, pieces)
    assert (found.probability, found.loss) == pytest.approx(slow_overfitting(returns, pieces))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_pieces_and_of_sets_does_not_matter(seed: int) -> None:
    random = generator(seed, "tests.symmetry")
    returns = random.standard_normal((96, 5))
    plain = overfitting(returns, 8)
    pieces = returns.reshape(8, 12, 5)[random.permutation(8)].reshape(96, 5)
    assert overfitting(pieces, 8).probability == pytest.approx(plain.probability)
    sets = returns[:, random.permutation(5)]
    assert overfitting(sets, 8).probability == pytest.approx(plain.probability)
    assert sorted(overfitting(sets, 8).logits) == pytest.approx(sorted(plain.logits))


def test_noise_is_overfitted_and_skill_is_not() -> None:
    # every half is as good as the other: the best of one is on average the middle of the other
    drawn = [generator(seed, "tests.noise").standard_normal((160, 20)) for seed in range(40)]
    mean = np.mean([overfitting(noise, 8).probability for noise in drawn])
    assert mean == pytest.approx(0.5, abs=0.1)
    noise = drawn[0]
    noise[:, 7] += 1.0
    found = overfitting(noise, 8)
    assert found.probability == 0.0
    assert found.loss == 0.0


def test_too_little_is_said() -> None:
    with pytest.raises(SettingError, match="periods"):
        overfitting(np.zeros((10, 3)), 16)
