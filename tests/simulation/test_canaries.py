"""Each check finds the bug that was planted for it, within few seeds."""

import pytest

from seawall.simulation.campaign import faults_of, lived
from seawall.simulation.checks import CHECKS
from tests.simulation.canaries import CANARIES

MOST = 200  # seeds


def found_at(check: str) -> int:
    """Seeds until the check has found its canary."""
    plant = CANARIES[check]
    for seed in range(MOST):
        faults = faults_of(seed)
        outcome = lived(seed, faults, plant)
        if check == "determinism" and not outcome.check:
            if lived(seed, faults, plant).journal != outcome.journal:
                return seed + 1
        elif outcome.check == check:
            return seed + 1
    raise AssertionError(f"{check} is blind: {MOST} seeds, and {plant.__name__} was not found")


def test_every_check_has_one() -> None:
    assert list(CANARIES) == list(CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize("check", CANARIES)
def test_is_found(check: str) -> None:
    print(f"\n{check}: {CANARIES[check].__name__} is found in seed number {found_at(check)}")
