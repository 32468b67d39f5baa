"""Parameter search: thousands of sets over one market, kept as they finish, gone on with at will.

A study is a file that grows by one record per set (Optuna's journal). Sets are tried in batches
whose size does not depend on the workers, so that the same search has the same results however
often it was interrupted and whoever did the work.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from seawall.core.errors import SettingError
from seawall.core.randomness import generator
from seawall.decision.strategies import own_file, shape_of
from seawall.lab.research.evaluation import Plan, kind_named
from seawall.lab.research.market import FILES
from seawall.lab.research.space import ATTEMPTS, Parameters, Space
from seawall.lab.research.workers import Task, Workers, workers

if TYPE_CHECKING:
    from seawall.lab.research.study import Study, Tried

SAMPLERS = ("tpe", "random", "grid")
BATCHES = {"tpe": 16, "random": 256, "grid": 256}  # sets; TPE learns from a batch to the next
Report = Callable[[int, int], None]


class SearchShape(msgspec.Struct, frozen=True, kw_only=True):
    """How the space is gone through.

    Attributes:
        sampler: tpe (Bergstra et al. 2011), random, or grid, which takes every set.
        sets: how many in all, those of earlier runs counted; a grid knows by itself.
        prune: give a set up when it falls below the median of those that came as far.
    """

    sampler: str = "tpe"
    sets: int = 1000
    prune: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise SettingError(
                f"no sampler is called {self.sampler!r}; choose from {', '.join(SAMPLERS)}"
            )
        if self.sets < 1:
            raise SettingError(f"sets is {self.sets}; it must be 1 or more")


class Found(NamedTuple):
    """The end of a search, or of a part of it.

    Attributes:
        tried: finished sets, as they finished. earlier: how many of them an earlier run did.
        wanted: how many there are to be. interrupted: stopped before that.
    """

    tried: "list[Tried]"
    earlier: int
    wanted: int
    interrupted: bool

    @property
    def ranked(self) -> "list[Tried]":
        """Those with a value that were not given up, best first."""
        good = [one for one in self.tried if not one.pruned and math.isfinite(one.value)]
        return sorted(good, key=lambda one: -one.value)


def search(
    folder: Path,
    plan: Plan,
    space: Space,
    shape: SearchShape,
    study: Path | None = None,
    *,
    count: int = 1,
    ray: str = "",
    report: Report = lambda done, total: None,
) -> Found:
    """Go through the space; Ctrl-C ends it early, with all that has finished kept.

    Args:
        folder: a saved market. study: file to keep the sets in, and to go on from; None: memory.
        count: processes. ray: address of a cluster. report: told how many of how many are done.

    Raises:
        SettingError: Optuna is missing, or the study is of another search.
        StoreError: the study cannot be read or written.
    """
    try:
        from seawall.lab.research.study import opened
    except ImportError:
        raise SettingError("a search needs Optuna: pip install 'seawall[research]'") from None
    wanted = _grid_size(plan, space) if shape.sampler == "grid" else shape.sets
    with opened(study, identity(folder, plan, space, shape)) as kept:
        return _searched(kept, folder, plan, space, shape, wanted, count, ray, report)


def _searched(
    kept: "Study",
    folder: Path,
    plan: Plan,
    space: Space,
    shape: SearchShape,
    wanted: int,
    count: int,
    ray: str,
    report: Report,
) -> Found:
    """Until all sets are there, or Ctrl-C."""
    earlier = kept.finished
    interrupted = False
    with workers(folder, plan, count, ray) as crew:
        report(earlier, wanted)
        try:
            rounds = _asked if shape.sampler == "tpe" else _numbered
            for done in rounds(kept, crew, plan, space, shape, wanted):
                report(done, wanted)
        except KeyboardInterrupt:
            interrupted = True
    return Found(kept.tried, earlier, wanted, interrupted)


def _numbered(
    kept: "Study", crew: Workers, plan: Plan, space: Space, shape: SearchShape, wanted: int
) -> Iterator[int]:
    """Sets that are known by their number: drawn at random, or of a grid."""
    if shape.sampler == "grid":
        sets = [one for one in space.sets() if _taken(plan, one)]
    else:
        sets = []
    size = BATCHES[shape.sampler]
    for first in range(0, wanted, size):
        numbers = [n for n in range(first, min(first + size, wanted)) if n not in kept.numbers]
        if not numbers:
            continue
        least = kept.least(shape.prune, first)
        chosen = [sets[n] if sets else _draw(plan, space, shape.seed, n) for n in numbers]
        tasks = [Task(parameters, least) for parameters in chosen]
        for number, task, one in zip(numbers, tasks, crew.evaluate(tasks), strict=True):
            kept.add(number, task, space, one)
            yield kept.finished


def _asked(
    kept: "Study", crew: Workers, plan: Plan, space: Space, shape: SearchShape, wanted: int
) -> Iterator[int]:
    """Sets that Optuna's TPE proposes; those that an interrupted run had begun come first."""
    import optuna

    known = {one.name: kept.distribution(one) for one in space.dimensions}
    begun = [optuna.Trial(kept.study, trial._trial_id) for trial in kept.running]
    while kept.finished < wanted:
        batch = kept.finished // BATCHES["tpe"]
        room = min((batch + 1) * BATCHES["tpe"], wanted) - kept.finished
        seed = int(generator(shape.seed, "lab.research.search", batch).integers(1 << 31))
        kept.study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        trials = begun[:room]
        trials += [kept.study.ask(known) for _ in range(room - len(trials))]
        begun = begun[room:]
        least = kept.least(shape.prune, batch * BATCHES["tpe"])
        tasks = [Task({**space.fixed, **trial.params}, least) for trial in trials]
        for trial, task, one in zip(trials, tasks, crew.evaluate(tasks), strict=True):
            kept.tell(trial, task.parameters, one)
            yield kept.finished


def _taken(plan: Plan, parameters: Parameters) -> bool:
    """Whether the strategy takes the set."""
    try:
        shape_of(kind_named(plan.strategy), parameters)
    except SettingError:
        return False
    return True


def drawn(plan: Plan, space: Space, seed: int, count: int) -> list[Parameters]:
    """So many sets that the strategy takes; the first ones of a random search.

    Raises:
        SettingError: it takes none.
    """
    return [_draw(plan, space, seed, number) for number in range(count)]


def _draw(plan: Plan, space: Space, seed: int, number: int) -> Parameters:
    """The set with this number: the first of its draws that the strategy takes."""
    for attempt in range(ATTEMPTS):
        drawn = space.draw(seed, number * ATTEMPTS + attempt)
        if _taken(plan, drawn):
            return drawn
    raise SettingError(
        f"{plan.strategy} takes none of {ATTEMPTS} sets drawn from this space; give other ranges"
    )


def _grid_size(plan: Plan, space: Space) -> int:
    """How many sets of the grid the strategy takes; SettingError where none."""
    count = sum(_taken(plan, one) for one in space.sets())
    if not count:
        raise SettingError(f"{plan.strategy} takes none of the grid's sets; give other ranges")
    return count


def identity(folder: Path, plan: Plan, space: Space, shape: SearchShape) -> str:
    """What must be the same for a study to be gone on with; how many sets is not part of it."""
    digest = hashlib.sha256()
    for file in FILES:
        digest.update((folder / file).read_bytes())
    if own_file(plan.strategy):
        digest.update(Path(plan.strategy).expanduser().read_bytes())
    asked = msgspec.structs.replace(shape, sets=1)
    digest.update(msgspec.json.encode([plan, space, asked]))
    return digest.hexdigest()
