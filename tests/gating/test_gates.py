"""The gates at their simplest: a reference is found, clean sources pass, trust rises, few learn."""

from typing import Any

import numpy as np
import pytest

from seawall.core.clock import SECOND
from seawall.core.consensus import CONSENSUS
from seawall.core.errors import DataError
from seawall.core.records import ModelUpdated, ReferenceMade, SourceJudged
from seawall.core.verdicts import GateDecision, Standing
from seawall.gating import Gating, GatingShape
from seawall.gating.reference import LEAST_ROWS
from seawall.gating.sources import NEW
from seawall.ingestion.simulated import MarketShape
from seawall.market import Consensus
from seawall.node.perception import Perception, PerceptionShape
from tests.tapes import COMPILED, Rows, at, catalog_of, observed, perception, simulated

pytestmark = pytest.mark.skipif(
    not COMPILED, reason="ten minutes of market take hours without the compiler"
)

SECONDS = 12 * 60  # the last review comes a minute before: no row shows that the end has passed
STEADY: dict[str, Any] = {
    "assets": MarketShape().assets[:1],
    "outages_per_hour": 0.0,
    "jumps_per_hour": 0.0,
}


@pytest.fixture(scope="module")
def market() -> tuple[Any, Rows]:
    """Five clean sources; gates review at each whole minute."""
    catalog, rows = simulated(SECONDS, **STEADY)
    return catalog, rows


@pytest.fixture(scope="module")
def clean(market: tuple[Any, Rows]) -> Perception:
    catalog, rows = market
    one = perception(catalog)
    observed(one, rows)
    return one


def minutes(rows: Rows, count: int) -> Rows:
    """So much of the tape, and the row that shows that the time has passed."""
    end = int(np.searchsorted(rows["recv_ts"], at(60 * count), side="right")) + 1
    return rows[:end]


def test_a_reference_is_found_once_480_rows_are_seen(market: tuple[Any, Rows]) -> None:
    catalog, rows = market
    found = {}
    for count in (7, 8):
        one = perception(catalog)
        observed(one, minutes(rows, count))
        found[count] = one
    for count, known in ((7, False), (8, True)):
        (group,) = found[count].gating.groups
        assert (group.reference is not None) is known, count
        assert (group.model is not None) is known
    reference = found[8].gating.groups[0].reference
    assert reference is not None
    assert reference.provisional
    assert reference.rows == LEAST_ROWS == 480
    reports = found[7].gating.reports
    assert "waiting for a reference: 420 of 480 rows" in reports["market"].detail
    assert reports["market"].ts == at(7 * 60)


def test_before_there_is_a_reference_nothing_is_learned_and_nothing_certified(
    market: tuple[Any, Rows],
) -> None:
    catalog, rows = market
    one = perception(catalog)
    seen = observed(one, minutes(rows, 7))
    assert not seen.rows["mean"].any()
    assert np.isinf(seen.rows["mean_bound"]).all()
    assert set(seen.rows["gate"].tolist()) == {GateDecision.FREEZE}
    assert not [record for record in one.gating.records if isinstance(record, ModelUpdated)]


def test_clean_sources_pass(clean: Perception) -> None:
    for report in clean.gating.reports.values():
        assert report.decision is GateDecision.PASS
        assert report.ts == clean.gating.reviewed == at(SECONDS - 60)
    assert clean.gating.reports["authenticity"].detail == "sources agree"
    for state in clean.gating.sources.values():
        assert (state.standing, state.rejections, state.strikes) == (Standing.TRUSTED, 0, 0)
        assert state.worst < 1.0
        assert state.votes
    assert clean.gating.member.all()
    (group,) = clean.gating.groups
    assert group.counts["learned"] >= 2
    assert group.counts["rejected"] == 0


def test_trust_rises_with_every_clean_review(clean: Perception, market: tuple[Any, Rows]) -> None:
    catalog, rows = market
    fewer = perception(catalog)
    observed(fewer, minutes(rows, 10))
    for name, state in clean.gating.sources.items():
        assert NEW < fewer.gating.sources[name].trust < state.trust < 1.0
    verdict = clean.admission.state.verdict
    names = [catalog.sources[source].name for _, source in catalog.books]
    assert verdict["trust"].tolist() == [clean.gating.sources[n].trust for n in names]
    assert not verdict["banned"].any()


def test_what_is_decided_is_told_in_order(clean: Perception) -> None:
    records = clean.gating.records
    assert {type(record) for record in records} == {ModelUpdated, ReferenceMade, SourceJudged}
    assert [r.ts for r in records] == sorted(r.ts for r in records)
    learned = [r for r in records if isinstance(r, ModelUpdated)]
    assert [r.group for r in learned] == ["BTC"] * len(learned)
    decisions = [r.decision for r in learned]
    assert decisions.count("learned") == clean.gating.groups[0].counts["learned"] > 0


@pytest.mark.parametrize("sources", [1, 2])
def test_fewer_than_three_sources_learn_nothing(market: tuple[Any, Rows], sources: int) -> None:
    _, rows = market
    few = catalog_of(*[("USD",)] * sources)
    one = perception(few)
    seen = observed(one, rows[rows["source"] < sources])
    assert len(seen.rows) > 600
    (group,) = one.gating.groups
    assert (group.reference, group.model, group.certificate) == (None, None, None)
    assert group.counts["learned"] == 0
    assert {state.trust for state in one.gating.sources.values()} == {NEW}
    detail = one.gating.reports["authenticity"].detail
    assert detail == "fewer than three sources: nothing to compare"
    assert np.isinf(seen.rows["mean_bound"]).all()


def test_a_liar_loses_its_trust_and_its_vote_and_the_others_keep_theirs(
    market: tuple[Any, Rows],
) -> None:
    catalog, rows = market
    lies = rows.copy()
    liar = (lies["source"] == 4) & (lies["recv_ts"] > at(600)) & (lies["price"] > 0)
    lies["price"][liar] += lies["price"][liar] // 100
    one = perception(catalog)
    observed(one, lies)
    states = [one.gating.sources[source.name] for source in catalog.sources]
    assert states[4].rejections > 0
    assert [state.votes for state in states] == [True] * 4 + [False]
    assert [state.rejections for state in states[:4]] == [0] * 4
    assert one.gating.member[0].tolist() == [1, 1, 1, 1, 0]
    told = [r for r in one.gating.records if isinstance(r, SourceJudged) and r.score >= 1.0]
    assert {r.source for r in told} == {catalog.sources[4].name}


def test_where_nothing_is_enforced_a_liar_keeps_its_vote(market: tuple[Any, Rows]) -> None:
    catalog, rows = market
    lies = rows.copy()
    liar = (lies["source"] == 4) & (lies["recv_ts"] > at(600)) & (lies["price"] > 0)
    lies["price"][liar] += lies["price"][liar] // 100
    shape = PerceptionShape(gating=GatingShape(enforce=False))
    one = Perception(catalog, shape, "USD")
    observed(one, lies)
    assert one.gating.member.all()
    assert one.gating.sources[catalog.sources[4].name].rejections > 0  # measured all the same
    assert all(one.gating.admits(source.name) == (1.0, False) for source in catalog.sources)


def test_an_operator_bans_and_lets_in_again(market: tuple[Any, Rows]) -> None:
    catalog, rows = market
    one = perception(catalog)
    name = catalog.sources[2].name
    one.gating.ban(name, "somebody", at(0))
    one.tell()
    seen = observed(one, minutes(rows, 1))
    assert set(seen.rows["votes"].tolist()) == {4}
    assert set(seen.rows["excluded"].tolist()) == {1}
    assert one.admission.counts()[name]["admitted"] == 0
    one.gating.unban(name, "somebody", at(60))
    assert one.gating.sources[name].standing is Standing.PROBATION
    assert not one.gating.votes(name)  # judged before it votes
    with pytest.raises(DataError, match="no source nobody; they are sim-a"):
        one.gating.ban("nobody", "somebody", at(60))
    with pytest.raises(DataError, match="no group XYZ; they are BTC"):
        one.gating.roll_back("XYZ", "somebody", at(60))


def test_a_group_of_too_many_sources_is_refused() -> None:
    catalog = catalog_of(*[("USD",)] * 61)
    consensus = Consensus(catalog, ["BTC"], SECOND, 1)
    with pytest.raises(DataError, match="more than 60 sources"):
        Gating(["BTC"], consensus.sources, consensus.member, GatingShape(), SECOND, {}, 0)


def test_the_gates_fill_in_their_columns_and_nothing_else(clean: Perception) -> None:
    rows = np.zeros(3, CONSENSUS)
    rows["price"] = [1.0, 1e9, np.nan]
    before = rows.copy()
    member = np.ones((1, 3), np.uint8)
    gating = Gating(["X"], [("a", "b", "c")], member, GatingShape(), SECOND, {}, 0)
    gating.observe(rows, np.full((3, 3, 10), np.nan))
    for name in CONSENSUS.names:
        if name not in ("mean", "mean_bound", "gate", "vpin"):
            assert rows[name].tobytes() == before[name].tobytes()
    assert member.all()
