"""The attacker who knows everything does not beat the certificate, and does without a defence."""

import contextlib
from functools import lru_cache

import numpy as np
import pytest

from seawall.core.consensus import WIDTH
from seawall.gating import reference as references
from seawall.gating.group import Group
from seawall.lab import ablation, adaptive, twin
from seawall.lab.adaptive import ATTACK_FROM, EDGE, KNOBS, Scenario
from seawall.lab.campaign import INSIDE, MARKETS
from seawall.lab.twin import Excess
from seawall.market import agreement

QUICK = 1200  # frames: ten attacked minutes
HOUR = 3600
UP = np.concatenate((np.ones(WIDTH + 1), EDGE))


@lru_cache(maxsize=8)
def market(name: str, rows: int) -> Scenario:
    return adaptive.scenario(name, twin.market(MARKETS[name], rows, 5, 0))


# --- what the attacker may do ---


def test_the_attacker_changes_its_own_source_alone() -> None:
    honest = market("iid", QUICK)
    told = adaptive.attacked(honest, np.full(KNOBS, 0.4))
    assert np.array_equal(told[:, 1:], honest.panel[:, 1:], equal_nan=True)
    assert np.array_equal(told[:ATTACK_FROM], honest.panel[:ATTACK_FROM], equal_nan=True)
    assert not np.array_equal(told[:, 0], honest.panel[:, 0], equal_nan=True)


def test_it_can_take_the_edge_of_what_the_others_say() -> None:
    honest = market("iid", QUICK)
    knobs = UP.copy()
    knobs[WIDTH + 1] = 0.0  # a hundredth of a spread beyond
    told = adaptive.attacked(honest, knobs)[ATTACK_FROM:, :, :WIDTH]
    beyond = told[:, 0] - told[:, 1:].max(axis=1)
    assert (beyond > 0.0).all()
    assert (beyond < 0.011 * honest.scale[:WIDTH]).all()


def test_it_can_be_silent_where_the_market_is_low() -> None:
    honest = market("iid", QUICK)
    knobs = np.array(ablation.SILENT_WHERE_LOW)
    told = adaptive.attacked(honest, knobs)[ATTACK_FROM:]
    silent = np.isnan(told[:, 0, 0])
    assert silent.mean() == pytest.approx(adaptive.MOST_SILENT, abs=0.01)
    along = (np.median(told[:, 1:, :WIDTH], axis=1) / honest.scale[:WIDTH]).sum(axis=1)
    assert along[silent].max() <= along[~silent].min()


def test_going_on_from_the_honest_run_is_the_same_as_from_the_start() -> None:
    honest = market("iid", QUICK)
    for begins in (0.0, 0.9):
        knobs = UP.copy()
        knobs[WIDTH + 5] = begins
        told = adaptive.attacked(honest, knobs)
        quick, whole = adaptive.run(honest, told), twin.run(told)
        assert np.array_equal(quick.mean, whole.mean)
        assert np.array_equal(quick.exposure, whole.exposure, equal_nan=True)


def test_a_restart_is_the_same_twice_and_others_are_not() -> None:
    honest = market("iid", QUICK)
    one, again = (adaptive.search(honest, "mean", 4, 1) for _ in range(2))
    assert one.worst == again.worst
    assert np.array_equal(one.knobs, again.knobs)
    assert one.evaluations == 4
    assert adaptive.search(honest, "mean", 4, 3).worst != one.worst


def test_what_was_found_is_found_again_from_its_knobs() -> None:
    honest = market("iid", QUICK)
    found = adaptive.search(honest, "mean", 4, 0)
    assert adaptive.evaluate(honest, found.knobs) == found.excess
    assert found.excess.ratio == found.worst


# --- it does not beat the certificate ---


def within(excess: Excess) -> bool:
    """Whether mean and exposure are where the certificate says."""
    return max(excess.ratio, excess.exposure_ratio) <= INSIDE and excess.outside <= twin.SLACK


@pytest.mark.parametrize("name", list(MARKETS))
def test_a_short_search_does_not_beat_the_certificate(name: str) -> None:
    honest = market(name, QUICK)
    assert set(honest.clean.standing[ATTACK_FROM // twin.REVIEW :]) <= {"certified", "sound"}
    for seed, goal in ((0, "mean"), (1, "exposure")):
        found = adaptive.search(honest, goal, 8, seed)
        assert within(found.excess)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MARKETS))
def test_a_search_over_attacked_hours_does_not_beat_the_certificate(name: str) -> None:
    honest = market(name, HOUR)
    for seed in (0, 1):
        for goal in ("mean", "exposure"):
            found = adaptive.search(honest, goal, 25, seed)
            assert found.evaluations >= 20
            assert within(found.excess)


def test_the_certificate_is_not_much_too_wide() -> None:
    assert adaptive.evaluate(market("iid", 1800), UP).ratio >= 0.25


# --- each defence carries weight ---


def without(name: str, rows: int, evaluations: int) -> tuple[float, float]:
    """Best over the bound by the same search, without the defence and with it."""
    each = ablation.ABLATIONS[name]
    panel = twin.market(each.market, rows, 5, 0)
    start = None if each.start is None else np.array(each.start)
    found = []
    for context in (each.weaken(), contextlib.nullcontext()):
        with context:
            honest = adaptive.scenario(f"ablation.{name}", panel)
            found.append(adaptive.search(honest, each.goal, evaluations, 0, start).worst)
    return found[0], found[1]


@pytest.mark.parametrize("name", ["consensus", "clipping", "rate", "membership", "agents"])
def test_without_a_defence_a_few_trials_beat_its_term(name: str) -> None:
    weak, whole = without(name, QUICK, 3)
    assert weak > 1.0
    assert whole <= INSIDE


@pytest.mark.slow
def test_without_an_honest_gate_a_longer_search_beats_its_term() -> None:
    weak, whole = without("gate", HOUR, 20)
    assert weak > 1.0
    assert whole <= INSIDE


def test_a_defence_is_back_once_the_context_ends() -> None:
    kept = references.evaluate, Group._next, agreement.agree
    for each in ablation.ABLATIONS.values():
        with contextlib.suppress(KeyError), each.weaken():
            raise KeyError
    assert (references.evaluate, Group._next, agreement.agree) == kept
