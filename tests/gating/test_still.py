"""A market in which nothing moves from row to row: there is nothing to learn."""

import numpy as np

from seawall.core.clock import MINUTE, SECOND
from seawall.core.consensus import PANEL_WIDTH
from seawall.core.records import ModelUpdated
from seawall.gating.figures import Review
from seawall.gating.group import Group, GroupShape

ROWS = 600
SOURCES = ("a", "b", "c", "d", "e")


def test_a_reference_without_a_scale_freezes_learning_and_does_not_hang() -> None:
    group = Group("BTC", SOURCES, GroupShape(), None, 0)
    still = Review(
        now=20 * MINUTE,
        panel=np.zeros((ROWS, len(SOURCES), PANEL_WIDTH)),
        factor=np.ones((ROWS, 3)),
        barred=np.zeros(ROWS, np.int64),
        ts=np.arange(ROWS, dtype=np.int64) * SECOND,
        member=np.ones(len(SOURCES), np.uint8),
        vpin=0.0,
        accused={},
        doubted=frozenset(),
    )
    told = [record for record in group.review(still, True) if isinstance(record, ModelUpdated)]
    assert group.reference is not None
    assert not group.reference.active.any()
    assert [record.decision for record in told] == ["frozen"]
    assert "nothing has moved" in told[0].reason
