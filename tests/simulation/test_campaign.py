"""The whole node in worlds that fail: no check may."""

from collections import Counter

import pytest

from seawall.simulation.campaign import checked, faults_of, lived, replay
from seawall.simulation.faults import KINDS

FEW = 40  # the rarest kind first happens in seed 38 (torn_snapshot)


def test_seeds_pass_and_every_fault_happens() -> None:
    struck: Counter[str] = Counter()
    for seed in range(FEW):
        found = checked(seed)
        assert not found.check, f"{found.check}: {found.text}\n{replay(seed, 'all')}"
        assert found.journal
        struck.update(found.struck)
    assert set(struck) >= set(KINDS)


def test_the_same_seed_gives_the_same_journal() -> None:
    first, second = lived(3, faults_of(3)), lived(3, faults_of(3))
    assert first == second
    assert first.lives > 1
    assert lived(4, faults_of(4)).journal != first.journal


def test_a_trace_tells_of_calls_and_faults() -> None:
    lines: list[str] = []
    lived(3, faults_of(3), trace=lines.append)
    assert any("FAULT" in line for line in lines)
    assert any("KILLED" in line for line in lines)
    assert any("venue.place simulated-3-1" in line for line in lines)


@pytest.mark.slow
def test_more_seeds_pass() -> None:
    bad = [f"{f.seed} {f.check}: {f.text}" for f in map(checked, range(FEW, 300)) if f.check]
    assert not bad
