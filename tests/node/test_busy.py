"""Acting in one go changes nothing: journal, books and exchange are those of acting by steps."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.records import (
    BreakerChanged,
    FillBooked,
    IntentApproved,
    IntentRefused,
    OrderChanged,
    OrderCreated,
)
from seawall.core.sections import VenueSettings
from seawall.core.settings import DecisionSettings, RiskSettings, Settings
from seawall.ingestion.simulated import MarketShape
from seawall.node.action import Action
from seawall.node.busy import Busy
from tests.node.short_runs import ONE_ASSET, bend, every, fall, market, node_on, records, tape

ERRATIC = str(Path(__file__).with_name("erratic.py"))
CALM = RiskSettings(volatility_threshold=10.0, drawdown_threshold=0.5)


def erratic(seed=0, rows=1, traded=(), capital=100_000, risk=CALM, venue=None, **decision):
    given = {"minimum_hold_s": 0, "deadband": 0.0, **decision}
    return Settings(
        mode="backtest",
        capital=Decimal(capital),
        risk=risk,
        venue=venue or VenueSettings(),
        decision=DecisionSettings(
            strategy=ERRATIC,
            parameters=(f"seed={seed}", f"every={rows}"),
            instruments=traded,
            **given,
        ),
    )


def both(catalog, rows, chosen, cuts=(), snapshots=10_000):
    """The node that went through what it could, after one that acted everywhere: all the same."""
    nodes = [node_on(catalog, rows, chosen, cuts=cuts, eager=eager) for eager in (True, False)]
    for node in nodes:
        node.recorder._every = snapshots
    summaries = [node.run() for node in nodes]
    told, found = ([r for _, r in node.recorder.journal.read()] for node in nodes)
    for expected, got in zip(told, found, strict=False):
        assert got == expected
    assert summaries[0] == summaries[1]
    assert state_of(nodes[0]) == state_of(nodes[1])
    return nodes[1]


def state_of(node):
    """All that folds, executor and exchange hold."""
    engine = node.ports.venue.engine
    executor, matching = node.action.executor, engine.matching
    return {
        **{fold.name: fold.state() for fold in node.action.books.folds},
        "snapshots": list(node.recorder.journal.snapshots()),
        "goals": executor.goals,
        "heard": executor._heard,
        "targets": node.action.targets,
        "standing": node.action.orchestrator.standing,
        "wishes": node.action.orchestrator.wishes.tolist(),
        "reports": engine._told.between(0, 1 << 62),
        "due": list(engine._told.due),
        "orders": engine.orders([f"r-{n}" for n in range(1, executor.orders.created + 1)]),
        "balances": {a: n for a, n in engine.balances().items() if n},
        "positions": {n: p.parts for n, p in engine.accounts.positions.items() if p.lots},
        "turnover": matching.turnover.days,
        "changed": matching.changed,
        "live": list(matching.live),
    }


@pytest.fixture
def passed(monkeypatch):
    """Boundaries that were gone through."""
    count = [0]
    go = Busy.go_through

    def counted(self, frames, edges, strengths, opinions, boundary, *more):
        reached, at = go(self, frames, edges, strengths, opinions, boundary, *more)
        count[0] += reached - boundary
        return reached, at

    monkeypatch.setattr(Busy, "go_through", counted)
    return count


def test_orders_at_every_row(passed):
    node = both(*tape(115), erratic())
    assert len(records(node, FillBooked)) > 50
    assert passed[0] > 60


@pytest.mark.parametrize("cut", [37, 4096])
def test_however_the_tape_is_cut(passed, cut):
    catalog, rows = tape(60)
    both(catalog, rows, erratic(3), cuts=every(rows, cut))
    assert passed[0] > 10


def test_several_markets_spot_among_them(passed):
    catalog, rows = tape(90, shape=MarketShape(outages_per_hour=0.0))
    names = tuple(i.name for i in catalog.instruments)
    node = both(catalog, rows, erratic(1, traded=names))
    assert len({r.fill.instrument for r in records(node, FillBooked)}) > 1
    assert any(r.approved.capped_by == "position" for r in records(node, IntentApproved))
    assert passed[0] > 20


def test_thin_books_fill_in_part(passed):
    risk = CALM.model_copy(update={"max_position_size": 1.0})
    node = both(*tape(90), erratic(2, capital=500_000_000, risk=risk))
    assert any(r.reason.startswith("IOC") for r in records(node, OrderChanged))
    assert passed[0] > 20


def test_refusals(passed):
    node = both(
        *tape(90), erratic(4, capital=100, risk=CALM.model_copy(update={"max_position_size": 0.01}))
    )
    assert records(node, IntentRefused)


@pytest.mark.parametrize("latency", [0, 400, 1500, 7000])
def test_slow_venues(passed, latency):
    venue = VenueSettings(entry_latency_ms=latency, response_latency_ms=latency / 2)
    node = both(*tape(90), erratic(5, venue=venue))
    assert records(node, OrderCreated)


def test_breakers_that_open_under_way(passed):
    wild = msgspec.structs.replace(MarketShape().assets[0], volatility=0.9)
    made = market(msgspec.structs.replace(ONE_ASSET, assets=(wild,)))
    bend(made, range(5), fall(60, 0.9, 5.0))
    risk = RiskSettings(volatility_threshold=10.0, drawdown_threshold=0.01)
    node = both(made.catalog, made.record(400 * SECOND), erratic(6, rows=3, risk=risk))
    assert ("flash_crash", "OPEN") in [(r.name, r.state) for r in records(node, BreakerChanged)]


def test_snapshots_stand_at_the_same_rows(passed):
    node = both(*tape(90), erratic(7), snapshots=50)
    assert passed[0] > 10
    assert list(node.recorder.journal.snapshots())


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10_000),
    market_seed=st.integers(1, 3),
    rows=st.integers(1, 7),
    capital=st.sampled_from([50, 10_000, 100_000, 20_000_000]),
    deadband=st.sampled_from([0.0, 0.05, 0.5]),
    hold=st.sampled_from([0, 2, 20]),
    size=st.sampled_from([0.005, 0.1, 1.0]),
    fee=st.sampled_from([-20, 0, 500]),
    latency=st.sampled_from([0.0, 5.0, 700.0]),
    snapshots=st.sampled_from([23, 10_000]),
)
def test_markets_at_random(
    seed, market_seed, rows, capital, deadband, hold, size, fee, latency, snapshots
):
    chosen = erratic(
        seed,
        rows,
        capital=capital,
        deadband=deadband,
        minimum_hold_s=hold,
        risk=CALM.model_copy(update={"max_position_size": size}),
        venue=VenueSettings(
            taker_fee_ppm=fee,
            maker_fee_ppm=-20,
            entry_latency_ms=latency,
            response_latency_ms=latency,
        ),
    )
    catalog, tape_rows = tape(60, market_seed, MarketShape(outages_per_hour=20.0))
    both(catalog, tape_rows, chosen, snapshots=snapshots)


def test_it_acts_seldom(passed, monkeypatch):
    acted = [0]
    act = Action.act

    def counted(self, *args):
        acted[0] += 1
        act(self, *args)

    monkeypatch.setattr(Action, "act", counted)
    catalog, rows = tape(115)
    node_on(catalog, rows, erratic(), eager=False).run()
    assert acted[0] < 40
