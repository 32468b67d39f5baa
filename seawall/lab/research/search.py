"""Parameter search: thousands of sets over one market, kept as they finish, gone on with at will.

A study is a file that grows by one record per set (Optuna's journal). Sets are tried in batches
whose size does not depend on the workers, so that the same search has the same results however
often it was interrupted and whoever did the work.
"""

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from seawall.core.errors import SettingError, StoreError
from seawall.core.randomness import generator
from seawall.lab.research.evaluation import Evaluation, Plan
from seawall.lab.research.market import FILES
from seawall.lab.research.space import ATTEMPTS, Dimension, Parameters, Space
from seawall.lab.research.strategies import kind_of, shape_of
from seawall.lab.research.workers import Task, Workers, workers

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "random", "grid")
BATCHES = {"tpe": 16, "random": 256, "grid": 256}  # sets; TPE learns from a batch to the next
WARM = 64  # sets that have passed a step before any is given up there
KEY = "seawall"
STUDY = "search"
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


class Tried(NamedTuple):
    """A set and what came of it. value: NaN where it was refused or says nothing."""

    parameters: Parameters
    value: float
    pruned: bool


class Found(NamedTuple):
    """The end of a search, or of a part of it.

    Attributes:
        tried: finished sets, as they finished. earlier: how many of them an earlier run did.
        wanted: how many there are to be. interrupted: stopped before that.
    """

    tried: list[Tried]
    earlier: int
    wanted: int
    interrupted: bool

    @property
    def ranked(self) -> list[Tried]:
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
    kept = _open(study, _identity(folder, plan, space, shape))
    wanted = _refuse_nothing(plan, space) if shape.sampler == "grid" else shape.sets
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


class _Study:
    """The finished sets, in memory and in Optuna's study."""

    def __init__(self, study: "optuna.Study") -> None:
        import optuna

        self.optuna = optuna
        self.study = study
        self.tried: list[Tried] = []
        self.numbers: set[int] = set()
        self.steps: list[list[float]] = []
        self.running = []
        for trial in study.get_trials(deepcopy=False):
            if trial.state is optuna.trial.TrialState.RUNNING:
                self.running.append(trial)
            else:
                values = [trial.intermediate_values[s] for s in sorted(trial.intermediate_values)]
                about = trial.user_attrs
                pruned = trial.state is optuna.trial.TrialState.PRUNED and "refused" not in about
                value = trial.value if trial.value is not None else math.nan
                self._take(about["parameters"], value, pruned, values, about["set"])

    @property
    def finished(self) -> int:
        return len(self.tried)

    def _take(
        self,
        parameters: Parameters,
        value: float,
        pruned: bool,
        so_far: Sequence[float],
        number: int,
    ) -> None:
        self.tried.append(Tried(parameters, value, pruned))
        self.numbers.add(number)
        for step, reached in enumerate(so_far):
            if step == len(self.steps):
                self.steps.append([])
            self.steps[step].append(reached)

    def least(self, prune: bool) -> tuple[float, ...]:
        """Medians of those that came as far, while there are enough of them."""
        if not prune:
            return ()
        known = [[v for v in values if math.isfinite(v)] for values in self.steps]
        return tuple(float(np.median(v)) if len(v) >= WARM else -math.inf for v in known)

    def about(self, number: int, parameters: Parameters, one: Evaluation) -> dict[str, Any]:
        """What is kept of a set beside its value."""
        refused = {"refused": one.refused} if one.refused else {}
        return {"set": number, "parameters": parameters, "orders": one.orders, **refused}

    def state(self, one: Evaluation) -> "optuna.trial.TrialState":
        """As Optuna names it. What a strategy refuses counts as bad, so that TPE leaves it."""
        states = self.optuna.trial.TrialState
        return states.COMPLETE if _has_value(one) else states.PRUNED

    def add(self, number: int, task: Task, space: Space, one: Evaluation) -> None:
        """Keep a set that was not asked of Optuna."""
        varied = {d.name: task.parameters[d.name] for d in space.dimensions}
        self.study.add_trial(
            self.optuna.trial.create_trial(
                state=self.state(one),
                value=one.value if _has_value(one) else None,
                params=varied,
                distributions={d.name: self.distribution(d) for d in space.dimensions},
                user_attrs=self.about(number, task.parameters, one),
                intermediate_values=_finite(one.so_far),
            )
        )
        self._keep(number, task.parameters, one)

    def tell(self, trial: "optuna.Trial", parameters: Parameters, one: Evaluation) -> None:
        """Keep a set that was."""
        for step, value in _finite(one.so_far).items():
            trial.report(value, step)
        for name, value in self.about(trial.number, parameters, one).items():
            trial.set_user_attr(name, value)
        self.study.tell(trial, one.value if _has_value(one) else None, self.state(one))
        self._keep(trial.number, parameters, one)

    def _keep(self, number: int, parameters: Parameters, one: Evaluation) -> None:
        value = one.value if _has_value(one) else math.nan
        self._take(parameters, value, one.pruned, one.so_far, number)

    def distribution(self, one: Dimension) -> Any:
        """A dimension as Optuna has it."""
        kinds = self.optuna.distributions
        if one.values:
            return kinds.CategoricalDistribution(one.values)
        if one.whole:
            return kinds.IntDistribution(int(one.low), int(one.high), log=one.log)
        return kinds.FloatDistribution(one.low, one.high, log=one.log)


def _has_value(one: Evaluation) -> bool:
    return not one.pruned and not one.refused and math.isfinite(one.value)


def _finite(values: Sequence[float]) -> dict[int, float]:
    return {step: value for step, value in enumerate(values) if math.isfinite(value)}


def _numbered(
    kept: _Study, crew: Workers, plan: Plan, space: Space, shape: SearchShape, wanted: int
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
        least = kept.least(shape.prune)
        drawn = [sets[n] if sets else _draw(plan, space, shape.seed, n) for n in numbers]
        tasks = [Task(parameters, least) for parameters in drawn]
        for number, task, one in zip(numbers, tasks, crew.evaluate(tasks), strict=True):
            kept.add(number, task, space, one)
            yield kept.finished


def _asked(
    kept: _Study, crew: Workers, plan: Plan, space: Space, shape: SearchShape, wanted: int
) -> Iterator[int]:
    """Sets that Optuna's TPE proposes; those that an interrupted run had begun come first."""
    optuna = kept.optuna
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
        least = kept.least(shape.prune)
        tasks = [Task({**space.fixed, **trial.params}, least) for trial in trials]
        for trial, task, one in zip(trials, tasks, crew.evaluate(tasks), strict=True):
            kept.tell(trial, task.parameters, one)
            yield kept.finished


def _taken(plan: Plan, parameters: Parameters) -> bool:
    """Whether the strategy takes the set."""
    try:
        shape_of(kind_of(plan.strategy), parameters)
    except SettingError:
        return False
    return True


def _draw(plan: Plan, space: Space, seed: int, number: int) -> Parameters:
    """The set with this number: the first of its draws that the strategy takes."""
    for attempt in range(ATTEMPTS):
        drawn = space.draw(seed, number * ATTEMPTS + attempt)
        if _taken(plan, drawn):
            return drawn
    raise SettingError(
        f"{plan.strategy} takes none of {ATTEMPTS} sets drawn from this space; give other ranges"
    )


def _refuse_nothing(plan: Plan, space: Space) -> int:
    """How many sets of the grid the strategy takes; SettingError where none."""
    count = sum(_taken(plan, one) for one in space.sets())
    if not count:
        raise SettingError(f"{plan.strategy} takes none of the grid's sets; give other ranges")
    return count


def _identity(folder: Path, plan: Plan, space: Space, shape: SearchShape) -> str:
    """What must be the same for a study to be gone on with; how many sets is not part of it."""
    digest = hashlib.sha256()
    for file in FILES:
        digest.update((folder / file).read_bytes())
    asked = msgspec.structs.replace(shape, sets=1)
    digest.update(msgspec.json.encode([plan, space, asked]))
    return digest.hexdigest()


def _open(path: Path | None, identity: str) -> _Study:
    try:
        import optuna
    except ImportError:
        raise SettingError("a search needs Optuna: pip install 'seawall[research]'") from None
    from optuna.storages import InMemoryStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage: Any = InMemoryStorage()
    if path is not None:
        with _storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.create_study(
        storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True
    )
    owner = study.user_attrs.get(KEY)
    if owner is None:
        study.set_user_attr(KEY, identity)
    elif owner != identity:
        raise SettingError(
            f"{path} holds a search of another market, strategy, space or seed; give another "
            "--study"
        )
    return _Study(study)


@contextlib.contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: the study cannot be opened: {error}") from error
