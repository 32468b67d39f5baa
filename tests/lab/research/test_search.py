"""Search: every sampler, the same results however it is interrupted and whoever does the work."""

import math
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from seawall.core.errors import SettingError, StoreError
from seawall.decision.strategies import CrossShape
from seawall.lab.research import market as markets
from seawall.lab.research.evaluation import Plan, account_of, evaluate, matrix_of
from seawall.lab.research.search import Found, SearchShape, search
from seawall.lab.research.space import Space, space_of
from seawall.lab.research.workers import workers
from tests.lab.research.walks import walk

PLAN = Plan(strategy="moving_average_cross", steps=4)
SPACE = space_of(CrossShape, {"fast": "2:40", "slow": "10:200:log"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("market")
    markets.save(walk(3_000, 1, drift=0.0002), made)
    return made


def stop_after(count: int) -> Callable[[int, int], None]:
    """Ctrl-C once so many sets are done."""

    def report(done: int, total: int) -> None:
        if done >= count:
            raise KeyboardInterrupt

    return report


def plain(found: Found) -> list[tuple[str, float, bool]]:
    """What was found, in an order of its own; NaN as -inf, which equals itself."""
    return sorted(
        (str(sorted(t.parameters.items())), t.value if t.value == t.value else -math.inf, t.pruned)
        for t in found.tried
    )


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe"])
def test_it_finds_what_is_there(folder: Path, sampler: str) -> None:
    found = search(folder, PLAN, SPACE, SearchShape(sampler=sampler, sets=40))
    assert not found.interrupted
    assert len(found.tried) == found.wanted
    best = found.ranked[0]
    market = markets.load(folder)
    assert evaluate(market, PLAN, best.parameters).value == best.value
    assert best.value == max(one.value for one in found.tried if one.value == one.value)


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe"])
@pytest.mark.parametrize("prune", [False, True])
def test_interrupted_and_resumed_it_ends_the_same(
    folder: Path, tmp_path: Path, sampler: str, prune: bool
) -> None:
    shape = SearchShape(sampler=sampler, sets=90, prune=prune, seed=3)
    whole = search(folder, PLAN, SPACE, shape)
    study = tmp_path / "a.study"
    first = search(folder, PLAN, SPACE, shape, study, report=stop_after(21))
    assert first.interrupted
    assert len(first.tried) == 21
    second = search(folder, PLAN, SPACE, shape, study, report=stop_after(22))
    assert second.earlier == 21
    third = search(folder, PLAN, SPACE, shape, study)
    assert (third.earlier, len(third.tried), third.interrupted) == (22, whole.wanted, False)
    assert plain(third) == plain(whole)


def test_a_line_that_was_torn_off_costs_its_own_set_alone(folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "a.study"
    shape = SearchShape(sampler="random", sets=12)
    whole = search(folder, PLAN, SPACE, shape, study)
    study.write_bytes(study.read_bytes()[:-20])
    again = search(folder, PLAN, SPACE, shape, study)
    assert again.earlier == 11
    assert plain(again) == plain(whole)


def test_two_searches_do_not_write_to_one_study(folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "a.study"

    def second(done: int, total: int) -> None:
        with pytest.raises(StoreError, match="another search"):
            search(folder, PLAN, SPACE, SearchShape(sets=2, sampler="random"), study)

    search(folder, PLAN, SPACE, SearchShape(sets=2, sampler="random"), study, report=second)
    study.write_text("not a study\n")
    with pytest.raises(StoreError, match="cannot be opened"):
        search(folder, PLAN, SPACE, SearchShape(sets=2, sampler="random"), study)


def test_optunas_own_reader_reads_a_study(folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "a.study"
    found = search(folder, PLAN, SPACE, SearchShape(sampler="tpe", sets=20), study)
    read = optuna.load_study(
        study_name=None, storage=JournalStorage(JournalFileBackend(str(study)))
    )
    assert read.best_value == found.ranked[0].value
    assert len(read.trials) == 20


def test_more_sets_go_on_from_those_there_are(folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "a.study"
    search(folder, PLAN, SPACE, SearchShape(sampler="random", sets=10), study)
    more = search(folder, PLAN, SPACE, SearchShape(sampler="random", sets=25), study)
    assert (more.earlier, len(more.tried)) == (10, 25)


def test_a_study_of_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "a.study"
    shape = SearchShape(sampler="random", sets=3)
    search(folder, PLAN, SPACE, shape, study)
    for plan, space, other in (
        (msgspec.structs.replace(PLAN, objective="calmar"), SPACE, shape),
        (PLAN, Space(SPACE.dimensions[:1]), shape),
        (PLAN, SPACE, msgspec.structs.replace(shape, seed=1)),
    ):
        with pytest.raises(SettingError, match="another"):
            search(folder, plan, space, other, study)
    other_market = tmp_path / "other"
    other_market.mkdir()
    markets.save(walk(3_000, 2), other_market)
    with pytest.raises(SettingError, match="another market"):
        search(other_market, PLAN, SPACE, shape, study)


def test_pruning_gives_up_the_bad_half_early(folder: Path) -> None:
    shape = SearchShape(sampler="random", sets=600, prune=True)
    found = search(folder, PLAN, SPACE, shape)
    given_up = [one for one in found.tried if one.pruned]
    assert 100 < len(given_up) < 500
    assert all(not one.pruned for one in found.ranked)


@pytest.mark.slow
def test_other_processes_find_the_same(folder: Path) -> None:
    for sampler in ("random", "tpe"):
        shape = SearchShape(sampler=sampler, sets=50, prune=True)
        here = search(folder, PLAN, SPACE, shape)
        there = search(folder, PLAN, SPACE, shape, count=2)
        assert plain(here) == plain(there)


@pytest.mark.slow
def test_a_worker_that_dies_is_one_line_and_costs_no_finished_set(
    folder: Path, tmp_path: Path
) -> None:
    shape, study = SearchShape(sampler="random", sets=600), tmp_path / "a.study"

    def report(done: int, total: int) -> None:
        if done == 300:
            for child in multiprocessing.active_children():
                child.kill()

    with pytest.raises(SettingError, match="with fewer --workers"):
        search(folder, PLAN, SPACE, shape, study, count=2, report=report)
    found = search(folder, PLAN, SPACE, shape, study)
    assert found.earlier >= 300
    assert plain(found) == plain(search(folder, PLAN, SPACE, shape))


def test_what_a_strategy_refuses_is_not_drawn_and_not_in_the_grid(folder: Path) -> None:
    space = space_of(CrossShape, {"fast": "10:100:4", "slow": "10:100:4", "band": "0"})
    found = search(folder, PLAN, space, SearchShape(sampler="grid"))
    assert found.wanted == 6
    drawn = search(folder, PLAN, space, SearchShape(sampler="random", sets=30))
    assert all(one.parameters["fast"] < one.parameters["slow"] for one in drawn.tried)
    backwards = space_of(CrossShape, {"fast": "100:150", "slow": "10:50"})
    for sampler in ("grid", "random"):
        with pytest.raises(SettingError, match="takes none"):
            search(folder, PLAN, backwards, SearchShape(sampler=sampler, sets=3))


def test_tpe_learns_to_leave_what_is_refused(folder: Path) -> None:
    space = space_of(CrossShape, {"fast": "10:100", "slow": "10:100"})
    found = search(folder, PLAN, space, SearchShape(sampler="tpe", sets=160))
    taken = [one.parameters["fast"] < one.parameters["slow"] for one in found.tried]
    assert sum(taken[80:]) > 0.7 * 80
    assert all(math.isnan(one.value) for one, ok in zip(found.tried, taken, strict=True) if not ok)


def test_what_is_missing_is_said_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("optuna", "seawall.lab.research.study", "ray"):
        monkeypatch.setitem(sys.modules, name, None)  # as Python marks what cannot be imported
    with pytest.raises(SettingError, match=r"seawall\[research\]"):
        search(folder, PLAN, SPACE, SearchShape())
    with pytest.raises(SettingError, match=r"seawall\[ray\]"), workers(folder, PLAN, 1, "local"):
        pass


def test_a_strategy_of_ones_own_is_searched_from_its_file(folder: Path, tmp_path: Path) -> None:
    file, runs = tmp_path / "mine.py", tmp_path / "runs"
    own = f'''"""Mine."""
from seawall.decision.strategies import CrossShape, Kind, MovingAverageCross

with open({str(runs)!r}, "a") as log:
    log.write("x")
STRATEGY = Kind(CrossShape, MovingAverageCross)
'''
    file.write_text(own)
    shape, study = SearchShape(sampler="random", sets=20), tmp_path / "a.study"
    plan = msgspec.structs.replace(PLAN, strategy=str(file))
    assert plain(search(folder, plan, SPACE, shape, study)) == plain(
        search(folder, PLAN, SPACE, shape)
    )
    assert runs.read_text() == "x", "the file is run once, not for each set"
    file.write_text(own + "# changed\n")
    with pytest.raises(SettingError, match="another"):
        search(folder, plan, SPACE, shape, study)


def test_the_matrix_has_a_column_for_each_set(folder: Path) -> None:
    market = markets.load(folder)
    sets = [{"fast": 5, "slow": 20}, {"fast": 10, "slow": 100}]
    matrix = matrix_of(market, PLAN, sets, 500)
    assert matrix.shape == (500, 2)
    grown = account_of(market, PLAN, sets[1]).equity[-1] / 100_000
    assert (1.0 + matrix[:, 1]).prod() == pytest.approx(grown)
