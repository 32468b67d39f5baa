"""Walk-forward: how it cuts, that nothing comes back from the future, and what it adds up to."""

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import SettingError
from seawall.decision.strategies import CrossShape
from seawall.lab.research.evaluation import Plan, account_of
from seawall.lab.research.following import FollowingShape, follow
from seawall.lab.research.performance import sharpe
from seawall.lab.research.space import Space, space_of
from seawall.lab.research.walk_forward import WalkForwardShape, splits, walk_forward
from tests.lab.research.walks import walk

PLAN = Plan(strategy="moving_average_cross", following=FollowingShape(cap=1.0))
SPACE: Space = space_of(CrossShape, {"fast": "2:40", "slow": "50:200", "band": "0:0.005"})
SETS = [SPACE.draw(0, k) for k in range(12)]
SHAPE = WalkForwardShape(folds=5)


@given(
    rows=st.integers(500, 100_000),
    folds=st.integers(1, 9),
    train=st.floats(0.25, 0.7),
    anchored=st.booleans(),
    purge=st.integers(0, 20),
    embargo=st.integers(0, 20),
)
def test_what_is_chosen_on_never_meets_what_it_is_judged_on(
    rows: int, folds: int, train: float, anchored: bool, purge: int, embargo: int
) -> None:
    shape = WalkForwardShape(
        folds=folds, train=train, anchored=anchored, purge=purge, embargo=embargo
    )
    try:
        cuts = splits(rows, shape)
    except SettingError:
        assert rows * min(train, (1 - train) / folds) < 110
        return
    assert len(cuts) == folds
    assert cuts[-1].end == rows
    for cut in cuts:
        assert 0 <= cut.first < cut.past
        assert cut.past + purge + embargo == cut.start < cut.end
        assert cut.first == 0 if anchored else cut.start - cut.first == cuts[0].start
    for one, other in itertools.pairwise(cuts):
        assert one.end == other.start


def test_the_future_changes_no_earlier_fold() -> None:
    market = walk(3_000, 3)
    whole = walk_forward(market, PLAN, SETS, SHAPE)
    cut = whole.folds[3].split.start
    path, rows = market.path.copy(), market.rows.copy()
    for column in ("open", "high", "low", "mark", "bid", "ask"):
        path[column][cut:] = path[column][cut:][::-1]
    rows["price"][cut:] = path["mark"][cut:] * 0.5
    other = walk_forward(market._replace(path=path, rows=rows), PLAN, SETS, SHAPE)
    assert np.array_equal(whole.account.equity[:cut], other.account.equity[:cut])
    assert [f.parameters for f in whole.folds[:4]] == [f.parameters for f in other.folds[:4]]
    assert not np.array_equal(whole.account.equity[cut:], other.account.equity[cut:])


def test_each_fold_takes_the_best_of_its_past() -> None:
    market = walk(3_000, 4)
    found = walk_forward(market, PLAN, SETS, SHAPE)
    for fold in found.folds:
        first, past = fold.split.first, fold.split.past
        values = []
        for parameters in SETS:
            equity = account_of(market, PLAN, parameters).equity
            before = np.concatenate(([100_000.0], equity))[first:past]
            values.append(sharpe(equity[first:past] / before - 1.0))
        assert fold.parameters == SETS[int(np.nanargmax(values))]


def test_with_one_set_it_is_that_set_traded_from_the_first_fold_on() -> None:
    market = walk(3_000, 5)
    found = walk_forward(market, PLAN, SETS[:1], SHAPE)
    strategy_alone = account_of(market, PLAN, SETS[0])
    ours = found.account.fills
    assert (ours["row"] >= found.first).all()
    # once both have traded they hold the same side; sizes differ with the equity
    theirs = strategy_alone.fills[strategy_alone.fills["row"] > found.first + 200]
    rows = set(theirs["row"].tolist())
    assert len(rows - set(ours["row"].tolist())) <= 0.1 * len(rows)


def test_the_account_is_flat_before_and_adds_up_after() -> None:
    market = walk(3_000, 6)
    found = walk_forward(market, PLAN, SETS, SHAPE)
    assert (found.account.equity[: found.first] == 100_000.0).all()
    total = np.prod([1.0 + fold.total_return for fold in found.folds]) - 1.0
    assert found.performance.total_return == pytest.approx(total)
    assert found.performance.rows == 3_000 - found.first == found.moments.periods
    assert found.trials == len(SETS)
    assert 1.0 <= found.independent <= len(SETS)
    assert found.dsr <= found.psr
    later = market.between(found.first, 3_000)
    held = follow(later, np.ones(len(later.path)), FollowingShape(cap=1.0, deadband=0.5))
    assert found.held.total_return == pytest.approx(held.equity[-1] / 100_000 - 1.0)


def test_noise_is_not_found_to_be_skill() -> None:
    """Twenty markets without drift: costs are paid, nothing is earned, the DSR stays low."""
    free = msgspec.structs.replace(PLAN, following=FollowingShape(cap=0.5))
    sure = 0
    for seed in range(20):
        found = walk_forward(walk(2_000, 100 + seed), free, SETS, SHAPE)
        sure += found.dsr > 0.95
    assert sure <= 1


def test_too_little_is_said() -> None:
    with pytest.raises(SettingError, match="too few"):
        walk_forward(walk(200), PLAN, SETS, SHAPE)
    with pytest.raises(SettingError, match="no set"):
        walk_forward(walk(3_000), PLAN, [], SHAPE)
    with pytest.raises(SettingError, match="train"):
        WalkForwardShape(train=1.0)
