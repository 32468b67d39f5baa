"""A node that is killed at any call comes to the same account as one that lives on."""

import pytest

from seawall.simulation.campaign import lived
from seawall.simulation.kill_points import kill_points
from seawall.simulation.scene import scene_of
from tests.simulation.canaries import never_follows_up


@pytest.mark.parametrize(("seed", "every", "first"), [(0, 61, 5), (1, 97, 20)])
def test_some_of_the_steps(seed, every, first):
    found = kill_points(scene_of(seed), every, first)
    assert not found.failed
    assert found.points == (found.steps - first) // every + 1
    assert found.orders > 5
    assert found.fills > 20


def test_a_node_that_never_asks_is_found():
    lines: list[str] = []
    lived(1, [], trace=lines.append)
    placed = next(line for line in lines if "venue.place simulated-1-1" in line)
    journaled, never = int(placed.split()[0]), 100_000  # there the order has not left yet
    assert not kill_points(scene_of(1), never, journaled).failed
    found = kill_points(scene_of(1), never, journaled, never_follows_up)
    assert found.calls == {"venue.place": 1}
    assert "simulated-1-1" in found.failed[0]


@pytest.mark.slow
def test_every_step_of_a_run():
    found = kill_points(scene_of(0))
    assert not found.failed
    assert found.points == found.steps
    assert {"venue.place", "journal.append", "journal.appended", "venue.poll"} <= set(found.calls)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
def test_more_seeds(seed):
    assert not kill_points(scene_of(seed), 53, 1 + seed).failed
