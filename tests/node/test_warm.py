"""A start that looks back over the tape learns nothing again: it goes on where it stood."""

import numpy as np
import pytest

from seawall.core.clock import MINUTE, SECOND
from seawall.core.commands import ROLL_BACK, Command
from seawall.core.events import Raw
from seawall.core.records import ModelUpdated
from seawall.node.node import Node
from tests.node.short_runs import EAGER, QUICK, START, node_on, records, tape
from tests.tapes import COMPILED

pytestmark = pytest.mark.skipif(not COMPILED, reason="twelve minutes of market need the compiler")

CUT = 630 * SECOND  # the reference is found at 480 s, the last review before is at 600 s
GROUP = "BTC"
IDLE = QUICK.model_copy(update={"decision": EAGER.model_copy(update={"deadband": 1.0})})


class Given:
    """Commands for one poll."""

    def __init__(self) -> None:
        self.waiting: list[Command] = []

    def poll(self) -> list[Command]:
        given, self.waiting = self.waiting, []
        return given


def parts() -> tuple[object, Raw, Raw]:
    catalog, rows = tape(720)
    at = int(np.searchsorted(rows["recv_ts"], START + CUT))
    return catalog, Raw(rows[:at]), Raw(rows[at:])


@pytest.fixture(scope="module")
def lives() -> tuple[Node, Node]:
    """At CUT: a node that has come there, and one that has started there on its journal."""
    catalog, before, after = parts()
    whole = node_on(catalog, before, IDLE)
    for block in np.array_split(before, 40):
        whole.take(Raw(block))
    again = node_on(catalog, after, IDLE, journal=whole.recorder.journal)
    again.warm(before)
    return whole, again


def group_of(node: Node):
    (group,) = [g for g in node.perception.gating.groups if g.name == GROUP]
    return group


def test_it_stands_where_it_stood(lives):
    stood, stands = map(group_of, lives)
    assert stood.model.updates >= 2
    assert stands.model == stood.model
    assert list(stands.shelf.kept) == list(stood.shelf.kept)
    assert stands.certificate == stood.certificate
    assert (stands.decision, stands.reason) == (stood.decision, stood.reason)
    assert stands.bound.axes.tolist() == stood.bound.axes.tolist()
    assert not lives[1].perception.gating.records
    assert lives[1].perception.gating.reviewed == lives[0].perception.gating.reviewed


def test_what_is_measured_again_is_as_it_was(lives):
    stood, stands = map(group_of, lives)
    assert stands.figures.ts == stood.figures.ts
    assert stands.figures.window.distance == pytest.approx(stood.figures.window.distance, rel=0.05)
    assert stands.figures.model == stood.figures.model
    assert [s.ts for s in stands.steps._kept] == [s.ts for s in stood.steps._kept]
    for mine, theirs in zip(stands.steps._kept, stood.steps._kept, strict=True):
        np.testing.assert_allclose(mine.location, theirs.location, atol=1e-9)
    # what is usual for a source is learned of the past again, at the trust of today
    np.testing.assert_allclose(stands.residuals.usual, stood.residuals.usual, atol=2e-3)
    before, now = lives[0].perception.gating.sources, lives[1].perception.gating.sources
    for name, state in before.items():
        assert now[name].standing is state.standing
        assert now[name].trust == pytest.approx(state.trust, abs=0.05)


def test_it_goes_on_learning_once(lives):
    _, again = lives
    again.run()
    known = [r.ts for r in records(again, ModelUpdated) if r.group == GROUP]
    assert known == sorted(set(known))
    assert known[-1] == START // MINUTE * MINUTE + 12 * MINUTE
    assert group_of(again).model.updates == len(
        [r for r in records(again, ModelUpdated) if r.decision == "learned" and r.group == GROUP]
    )


def test_steps_of_before_a_rollback_are_not_taken_up_again():
    catalog, before, after = parts()
    commands = Given()
    node = node_on(catalog, before, IDLE, commands=commands)
    for block in np.array_split(before, 40):
        node.take(Raw(block))
    commands.waiting = [Command(name=ROLL_BACK, target=GROUP, who="operator")]
    node._command()
    again = node_on(catalog, after, IDLE, journal=node.recorder.journal)
    again.warm(before)
    assert not group_of(again).steps._kept
    assert group_of(again).model == group_of(node).model
