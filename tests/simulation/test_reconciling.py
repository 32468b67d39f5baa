"""Reconciling twice is reconciling once: at any moment of any world nothing new is journaled."""

import pytest

from seawall.simulation.campaign import faults_of
from seawall.simulation.scene import scene_of
from seawall.simulation.world import World


class Looking(World):
    """Compares with the exchange twice between any two reads of the feed."""

    found = 0
    looks = 0

    def _between(self) -> None:
        super()._between()
        node = self.checks.node
        assert node is not None
        if not node.first_ts:
            return
        before = self.disk.rows
        node.action.reconcile(self.scheduler.now)
        rows = self.disk.rows
        node.action.reconcile(self.scheduler.now)
        assert self.disk.rows == rows
        self.found += rows > before
        self.looks += 1


def twice(seed: int) -> Looking:
    world = Looking(scene_of(seed), faults_of(seed, "feed,venue,process,store"))
    outcome = world.run()
    assert not outcome.check, f"{seed}, {outcome.check}: {outcome.text}"
    return world


def test_a_second_look_finds_nothing():
    worlds = [twice(seed) for seed in range(4)]
    assert sum(world.looks for world in worlds) > 500
    assert sum(world.found for world in worlds) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_nor_in_more_worlds(seed):
    twice(seed)
