"""Passing over quiet boundaries changes nothing: the journal is that of acting at each of them."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.instruments import Kind
from seawall.core.records import BreakerChanged, Digest, FillBooked, IntentRefused
from seawall.core.settings import DecisionSettings, RiskSettings, Settings
from seawall.ingestion.bars import read_bars
from seawall.ingestion.binance import read_sets
from seawall.ingestion.simulated import MarketShape
from seawall.ledger import kernels as ledger
from seawall.node.action import Action
from tests.node.short_runs import (
    ONE_ASSET,
    QUICK,
    START,
    bend,
    every,
    fall,
    market,
    node_on,
    records,
    tape,
    with_risk,
)
from tests.recorded import DATA

PATIENT = Settings(
    mode="backtest",
    decision=DecisionSettings(trend_fast_s=10, trend_slow_s=60, minimum_hold_s=5),
    risk=RiskSettings(volatility_threshold=10.0),
)
WILD = msgspec.structs.replace(MarketShape().assets[0], volatility=0.9)


@pytest.fixture
def acted(monkeypatch):
    """How often an action side acted."""
    count = [0]
    act = Action.act

    def counted(self, *args):
        count[0] += 1
        act(self, *args)

    monkeypatch.setattr(Action, "act", counted)
    return count


def both(acted, catalog, rows, given_settings=PATIENT, cuts=()):
    """The node that passed over what it could, and the shares of boundaries that it acted at."""
    eager = node_on(catalog, rows, given_settings, cuts=cuts)
    whole = eager.run()
    at_each, acted[0] = acted[0], 0
    node = node_on(catalog, rows, given_settings, cuts=cuts, eager=False)
    summary = node.run()
    assert summary == whole
    assert summary.journal_hash == eager.recorder.journal.head
    share, acted[0] = acted[0] / at_each, 0
    return node, share


def test_a_quiet_market_is_passed_over(acted):
    node, share = both(acted, *tape(400))
    assert records(node, FillBooked)
    assert share < 0.5


def test_a_busy_one_gives_the_same(acted):
    both(acted, *tape(115), QUICK)


@pytest.mark.parametrize("cut", [37, 4096])
def test_however_the_tape_is_cut(acted, cut):
    catalog, rows = tape(115)
    both(acted, catalog, rows, cuts=every(rows, cut))


def test_breakers_open_and_recover_at_the_same_moment(acted):
    made = market(msgspec.structs.replace(ONE_ASSET, assets=(WILD,)))
    bend(made, range(5), fall(60, 0.9, 5.0))
    node, _ = both(
        acted, made.catalog, made.record(900 * SECOND), with_risk(drawdown_threshold=0.01)
    )
    states = [(r.name, r.state) for r in records(node, BreakerChanged)]
    assert ("flash_crash", "OPEN") in states
    assert ("flash_crash", "CLOSED") in states


def test_a_frozen_market_is_refused_once_and_passed_over(acted):
    chosen = PATIENT.model_copy(update={"risk": RiskSettings(volatility_threshold=0.3)})
    wild = msgspec.structs.replace(ONE_ASSET, assets=(WILD,))
    node, share = both(acted, *tape(900, shape=wild), chosen)
    assert any(r.name == "volatility_spike" for r in records(node, BreakerChanged))
    assert 0 < len(records(node, IntentRefused)) < 20
    assert share < 0.8


def test_a_source_that_falls_silent(acted):
    catalog, rows = tape(400, shape=msgspec.structs.replace(MarketShape(), outages_per_hour=0.0))
    asset = rows["instrument"] == rows["instrument"][0]
    late = rows["recv_ts"] > START + 200 * SECOND
    node, _ = both(acted, catalog, rows[~(asset & late)])
    assert records(node, Digest)


# --- the account, valued ---


@settings(deadline=None)
@given(st.lists(st.floats(-1e18, 1e18, allow_subnormal=False), max_size=12))
def test_the_sum_is_correctly_rounded(terms):
    given_terms = np.array(terms, np.float64)
    assert ledger.exact_sum(given_terms, len(terms), np.zeros(len(terms) + 1)) == math.fsum(terms)


def test_the_account_is_worth_the_same_to_the_last_bit():
    held, kinds = [], set()

    def look(node, seen):
        action, quiet = node.action, node._quiet
        marks = np.array([action.prices.marks.get(n, np.nan) for n in quiet._names])
        known = {action.books.ledger.numeraire: 1.0, **action.prices.asset_marks}
        assets = np.array([known.get(asset, np.nan) for asset in quiet.assets])
        cash, positions = quiet._cash(), quiet._held()
        found = ledger.value(cash, positions, marks, assets, np.zeros((2, len(cash) + 1)))
        portfolio = action.portfolio
        if not portfolio.unknown:
            assert found == (portfolio.equity, portfolio.gross)
            assert ledger.leverage(found[1], found[0]) == portfolio.leverage
            held.append(len(positions))
            catalog = action.prices.catalog.by_name
            kinds.update(catalog[n].kind for n in action.books.ledger.positions)

    shape = MarketShape(outages_per_hour=0.0)
    names = [i.name for i in shape.catalog().instruments]
    chosen = QUICK.decision.model_copy(update={"instruments": tuple(names)})
    node_on(
        *tape(115, shape=shape), QUICK.model_copy(update={"decision": chosen}), watch=look
    ).run()
    assert max(held) > 1
    assert kinds <= set(Kind)


# --- recorded markets ---


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason=f"recorded markets are missing: {DATA}")
@pytest.mark.parametrize("name", ["books", "bars"])
def test_recorded_markets(acted, name):
    if name == "books":
        read = read_sets(sorted((DATA / "l2_tick").glob("binance_*_20240808_*")))
        rows = read.rows
    else:
        paths = sorted((DATA / "ohlcv" / "binance_perp_15m").glob("*.parquet"))
        read = read_bars(paths, venue="binance-usdm", kind=Kind.LINEAR)
        rows = read.rows[: len(read.rows) // 4]
    node, share = both(acted, read.catalog, rows, Settings(mode="backtest"))
    assert records(node, FillBooked)
    assert share < 0.6
