"""Checkpoints, rollbacks, and a model that a crash leaves old or new, never mixed."""

import msgspec
import numpy as np
import pytest

from seawall.core.clock import MINUTE
from seawall.core.consensus import WIDTH
from seawall.core.records import ModelRolledBack, ModelUpdated, SourceJudged, decode, encode
from seawall.core.verdicts import Standing
from seawall.gating import sources as standings
from seawall.gating.model import CHECKPOINTS, Model, Models, Shelf
from seawall.gating.sources import Sources, SourceState
from seawall.lab import twin

WIDE = (0.0,) * WIDTH
SQUARE = tuple(np.eye(WIDTH).ravel().tolist())


def model(minutes, level=0.0):
    return Model(
        ts=minutes * MINUTE,
        origin=MINUTE,
        updates=minutes,
        mean=(level,) * WIDTH,
        covariance=SQUARE,
        anchor=WIDE,
        anchor_bound=WIDE,
        walked=WIDE,
        day=0,
        scatter=SQUARE,
        scatter_bound=SQUARE,
        bound=WIDE,
        envelope=WIDE + WIDE,
        decisions=0.0,
    )


def updated(minutes, level=0.0, reference="r"):
    made = model(minutes, level)
    return ModelUpdated(
        ts=made.ts,
        group="X",
        decision="learned",
        reason="",
        rows=100,
        shift=0.0,
        corroboration=1.0,
        influence={},
        model=made.encoded(),
        reference=reference,
    )


def test_a_checkpoint_each_five_minutes_and_twenty_in_all():
    shelf = Shelf()
    for minutes in range(1, 301):
        shelf.keep(model(minutes))
    kept = [m.ts // MINUTE for m in shelf.kept]
    assert len(kept) == CHECKPOINTS
    assert set(np.diff(kept)) == {5}
    assert kept[-1] == 296


@pytest.mark.parametrize("suspicion", range(1, 60, 7))
def test_a_rollback_goes_to_the_newest_checkpoint_before_suspicion_and_poisoned_ones_go(suspicion):
    shelf = Shelf()
    for minutes in range(1, 61):
        shelf.keep(model(minutes, level=float(minutes)))
    earlier = shelf.before(suspicion * MINUTE)
    clean = [m for m in range(1, 61, 5) if m < suspicion]
    assert (earlier.ts // MINUTE if earlier else None) == (clean[-1] if clean else None)
    assert all(m.ts < suspicion * MINUTE for m in shelf.kept)


def test_the_fold_at_any_record_holds_the_old_or_the_new_model():
    """A crash between any two records: what is restored is one of the models as they were."""
    whole = [updated(k, float(k)) for k in range(1, 40)]
    whole.insert(
        20,
        ModelRolledBack(
            ts=20 * MINUTE,
            group="X",
            to=6 * MINUTE,
            reason="s0 rejected",
            corroboration=0.2,
            model=model(20, 6.0).encoded(),
        ),
    )
    known = {m.model for m in whole}
    fold = Models()
    for record in whole:
        fold.apply(decode(encode(record)))
        again = Models()
        again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(fold.state())))
        assert again.current["X"].encoded() in known
        assert again.current == fold.current
        assert [m.encoded() for m in again.shelf("X").kept] == [
            m.encoded() for m in fold.shelf("X").kept
        ]
    assert all(m.ts <= 6 * MINUTE or m.ts > 20 * MINUTE for m in fold.shelf("X").kept)


def test_checkpoints_in_other_units_are_thrown_away():
    fold = Models()
    for minutes in range(1, 30):
        fold.apply(updated(minutes))
    fold.apply(updated(31, reference="another"))
    assert [m.ts // MINUTE for m in fold.shelf("X").kept] == [31]


def test_after_a_rollback_the_model_is_that_of_before_and_the_bound_holds_what_was_moved():
    panel = twin.market(twin.MarketPanel(tau=0.3, memory=0.8), 3600, 5, 0)
    told = panel.copy()
    told[1500:, 0, :WIDTH] += 3.0 * np.nanstd(panel[:, 0, :WIDTH], axis=0)
    honest, run = twin.run(panel), twin.run(told)
    assert run.group.rolled_back >= 1
    found = twin.excess(honest, run, 10)
    assert found.ratio <= 1.0 + 1e-9


def test_an_operators_rollback_is_journaled_and_bounded():
    run = twin.run(twin.market(twin.MarketPanel(), 2400, 5, 0))
    before = run.group.model
    run.gating.roll_back(twin.GROUP, "ops", run.gating.reviewed)
    (record,) = run.gating.records
    assert isinstance(record, ModelRolledBack)
    assert "ops" in record.reason
    moved = np.abs(np.subtract(before.mean, run.group.model.mean))
    assert (run.group.bound.axes >= moved - 1e-12).all()


# --- standings ---


def test_trust_falls_fast_and_rises_slowly():
    state = SourceState(trust=0.9)
    fallen = standings.rejected(state, 1.2, "x", 1, MINUTE)
    assert fallen.trust == pytest.approx(0.45)
    assert fallen.standing is Standing.TRUSTED
    gone = standings.rejected(fallen, 1.2, "x", 1, 2 * MINUTE)
    assert gone.standing is Standing.SUSPENDED
    assert not gone.votes
    assert not gone.admitted
    risen = standings.passed(state, 0.1, 0.9, 1.0, 0, MINUTE)
    assert 0.9 <= risen.trust <= 0.91


def test_a_flagrant_lie_suspends_at_once_and_another_on_probation_bans():
    state = standings.rejected(SourceState(trust=0.9), 5.0, "x", 1, MINUTE)
    assert state.standing is Standing.SUSPENDED
    early = standings.waited(state, state.until - 1)
    assert early.standing is Standing.SUSPENDED
    back = standings.waited(state, state.until)
    assert back.standing is Standing.PROBATION
    assert back.admitted
    assert not back.votes
    assert standings.rejected(back, 1.0, "x", 1, 9 * MINUTE).standing is Standing.BANNED


def test_probation_ends_after_ten_clean_reviews():
    state = standings.unbanned(standings.banned(SourceState(), "x"), MINUTE)
    for k in range(standings.PROBATION):
        assert not state.votes
        state = standings.passed(state, 0.1, 0.9, 1.0, k, (k + 2) * MINUTE)
    assert state.votes


def test_only_an_operator_lifts_a_ban():
    state = standings.banned(SourceState(trust=1.0), "x")
    for k in range(100):
        state = standings.waited(state, k * 60 * MINUTE)
    assert state.standing is Standing.BANNED
    assert state.trust == 0.0


def test_standings_survive_a_restart():
    panel = twin.market(twin.MarketPanel(tau=0.2), 2400, 5, 1)
    told = panel.copy()
    told[600:, 0, 8] += 0.01
    gating = twin.run(told).gating
    fold = Sources()
    for name, state in gating.sources.items():
        fold.apply(
            SourceJudged(
                ts=1,
                source=name,
                trust=state.trust,
                standing=int(state.standing),
                score=state.score,
                reason=state.reason,
                since=state.since,
                strikes=state.strikes,
                until=state.until,
                clean=state.clean,
            )
        )
    again = Sources()
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(fold.state())))
    fresh = twin.run(panel[:60]).gating
    fresh.restore(Models(), again, {})
    assert fresh.sources["s0"].standing is Standing.BANNED
    assert not fresh.member[0, 0]
    assert fresh.admits("s0") == (0.0, True)
