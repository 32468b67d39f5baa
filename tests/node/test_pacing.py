"""Parent orders through the whole node: in the journal with their children, and after a restart."""

from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from seawall.core.errors import DataError
from seawall.core.events import Side
from seawall.core.orders import Purpose
from seawall.core.records import IntentApproved, OrderCreated, ParentBegan, ParentEnded
from seawall.core.settings import ExecutionSettings, RiskSettings, Settings
from seawall.execution.schedules import plan_of
from seawall.node.node import Node
from seawall.node.pacing import curve_of
from seawall.node.perception import Perceived
from tests.node.short_runs import EAGER, QUICK, node_on, records, tape, with_risk

SIDES = (Side.BUY, Side.SELL)
TWAP = ExecutionSettings(schedule="twap", horizon_s=20, slices=5)
PACED = Settings(
    mode="backtest",
    decision=EAGER,
    risk=RiskSettings(volatility_threshold=10.0),
    execution=TWAP,
)


def test_parents_and_children_are_in_the_journal_and_no_child_is_larger_than_its_step() -> None:
    node = node_on(*tape(120), PACED)
    summary = node.run()
    parents = {r.parent.parent_id: r.parent for r in records(node, ParentBegan)}
    ended = {r.parent_id: r.ts for r in records(node, ParentEnded)}
    assert len(parents) >= 3
    assert summary.fills > 0
    for name, parent in parents.items():
        plan = plan_of(parent)
        until = ended.get(name, 1 << 62)
        children = [
            r.order
            for r in records(node, OrderCreated)
            if r.order.instrument == parent.instrument
            and parent.start <= r.ts <= until
            and r.order.side is parent.side
            and r.order.purpose is Purpose.GOAL
        ]
        assert sum(c.size for c in children) <= parent.lots * 1.1 + 1
        if parent.lots > 100 and children:
            most = max(b - a for a, b in pairwise((0, *plan.done)))
            assert children[0].size <= 2 * most
    node.action.books.ledger.conservation()


def test_two_runs_are_the_same_and_another_seed_is_not() -> None:
    heads = []
    for seed in (0, 0, 1):
        settings = PACED.model_copy(update={"seed": seed})
        node = node_on(*tape(60), settings)
        node.run()
        heads.append(node.recorder.journal.head)
    assert heads[0] == heads[1] != heads[2]


def test_a_backtest_that_passes_over_quiet_boundaries_works_the_same_parents() -> None:
    heads = []
    for eager in (True, False):
        node = node_on(*tape(60), PACED, eager=eager)
        node.run()
        assert records(node, ParentBegan)
        heads.append(node.recorder.journal.head)
    assert heads[0] == heads[1]


def test_at_once_is_as_it_was() -> None:
    assert "execution" not in QUICK.canonical()
    assert "execution" in PACED.canonical()
    node = node_on(*tape(60), QUICK)
    node.run()
    assert not records(node, ParentBegan)


def test_no_child_takes_more_of_the_book_than_its_share() -> None:
    orders = {}
    for share in (0.0, 0.02):
        shown: dict[tuple[str, int], dict[Side, int | None]] = {}

        def look(node: Node, seen: Perceived, shown: Any = shown) -> None:
            prices = node.action.prices
            for name in prices.frames:
                shown[name, node.now] = {side: prices.shown(name, side) for side in SIDES}

        execution = ExecutionSettings(depth_share=share)
        settings = with_risk(20_000_000).model_copy(update={"execution": execution})
        node = node_on(*tape(120), settings, watch=look)
        node.run()
        assert not node.action.books.tally.halted
        node.action.books.ledger.conservation()
        approvals = [r.approved for r in records(node, IntentApproved)]
        free = {(a.instrument, a.intent.ts) for a in approvals if a.reduce_only}
        created = [
            (r.ts, r.order)
            for r in records(node, OrderCreated)
            if (r.order.instrument, r.order.intent_ts) not in free
        ]
        orders[share] = [
            (order.size, shown[order.instrument, ts][order.side])
            for ts, order in created
            if (order.instrument, ts) in shown
        ]
        assert len(orders[share]) > 20
    assert any(size > max(1, 0.02 * there) for size, there in orders[0.0])
    assert all(size <= max(1, 0.02 * there) for size, there in orders[0.02])


def test_what_the_depth_bounds_is_the_same_where_quiet_boundaries_are_passed_over() -> None:
    settings = QUICK.model_copy(update={"execution": ExecutionSettings(depth_share=0.02)})
    heads = []
    for eager in (True, False):
        node = node_on(*tape(60), settings, eager=eager)
        node.run()
        heads.append(node.recorder.journal.head)
    assert heads[0] == heads[1]
    assert '"depth_share":0.02' in settings.canonical()
    assert "depth_share" not in PACED.canonical()


def test_vwap_needs_bars_that_can_be_read(tmp_path) -> None:
    with pytest.raises(ValidationError, match="volume_bars"):
        ExecutionSettings(schedule="vwap")
    given = ExecutionSettings(schedule="vwap", volume_bars=str(tmp_path / "none.parquet"))
    with pytest.raises(DataError, match="no table of bars"):
        curve_of(Settings(mode="backtest", execution=given))
