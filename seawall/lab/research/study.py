"""A study: the finished sets of a search, in Optuna's hands and in a file of its journal's format.

The file takes one line per event and is with the operating system when a set counts as finished:
it survives the death of the process at any moment, and Optuna's own tools read it.
"""

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend

from seawall.core.errors import SettingError, StoreError
from seawall.lab.research.evaluation import Evaluation
from seawall.lab.research.space import Dimension, Parameters, Space
from seawall.lab.research.workers import Task

KEY = "seawall"  # of what the study belongs to, and of what is kept of a set
NAME = "search"
WARM = 64  # sets that have passed a step before any is given up there


class StudyFile(BaseJournalBackend):
    """Optuna's journal in a file of one writer; a line that was torn off by a crash is cut away.

    Raises:
        StoreError: the file cannot be opened or read, or another search is writing to it.
    """

    def __init__(self, path: Path) -> None:
        with contextlib.ExitStack() as stack:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = stack.enter_context(path.open("a+b"))
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._file.seek(0)
                lines = self._file.read().split(b"\n")
                self._file.truncate(self._file.tell() - len(lines[-1]))
                self._logs: list[dict[str, Any]] = [json.loads(line) for line in lines[:-1]]
            except BlockingIOError:
                raise StoreError(f"{path}: another search is writing to this study") from None
            except (OSError, ValueError) as error:
                raise StoreError(f"{path}: the study cannot be opened: {error}") from error
            stack.pop_all()

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """As the base class has it."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """As the base class has it."""
        lines = [json.dumps(log, separators=(",", ":")) for log in logs]
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()
        self._logs += [json.loads(line) for line in lines]

    def close(self) -> None:
        """Down to the disk."""
        os.fsync(self._file.fileno())
        self._file.close()


class Tried(NamedTuple):
    """A set and what came of it. value: NaN where it was refused or says nothing."""

    parameters: Parameters
    value: float
    pruned: bool


class Study:
    """The finished sets, in memory and in Optuna's study."""

    def __init__(self, study: optuna.Study) -> None:
        self.study = study
        self.tried: list[Tried] = []
        self.numbers: set[int] = set()
        self.running: list[optuna.trial.FrozenTrial] = []  # begun, by a run that was interrupted
        self._steps: list[list[tuple[int, float]]] = []  # of each, who reached it and with what
        for trial in study.get_trials(deepcopy=False):
            if trial.state is optuna.trial.TrialState.RUNNING:
                self.running.append(trial)
            else:
                values = [trial.intermediate_values[s] for s in sorted(trial.intermediate_values)]
                about = trial.user_attrs[KEY]
                complete = trial.state is optuna.trial.TrialState.COMPLETE
                value = trial.value if complete and trial.value is not None else math.nan
                self._take(about["parameters"], value, about["pruned"], values, about["set"])

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
            if step == len(self._steps):
                self._steps.append([])
            if math.isfinite(reached):
                self._steps[step].append((number, reached))

    def least(self, prune: bool, before: int) -> tuple[float, ...]:
        """Medians of the sets in earlier batches (numbers below `before`) that came as far, where
        there are enough of them."""
        if not prune:
            return ()
        known = [[value for at, value in step if at < before] for step in self._steps]
        return tuple(float(np.median(v)) if len(v) >= WARM else -math.inf for v in known)

    def about(self, number: int, parameters: Parameters, one: Evaluation) -> dict[str, Any]:
        """What is kept of a set beside its value."""
        refused = {"refused": one.refused} if one.refused else {}
        return {
            "set": number,
            "parameters": parameters,
            "pruned": one.pruned,
            "orders": one.orders,
            **refused,
        }

    def state(self, one: Evaluation) -> optuna.trial.TrialState:
        """As Optuna names it. What a strategy refuses counts as bad, so that TPE leaves it."""
        states = optuna.trial.TrialState
        return states.COMPLETE if _has_value(one) else states.PRUNED

    def add(self, number: int, task: Task, space: Space, one: Evaluation) -> None:
        """Keep a set that was not asked of Optuna."""
        varied = {d.name: task.parameters[d.name] for d in space.dimensions}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=self.state(one),
                value=one.value if _has_value(one) else None,
                params=varied,
                distributions={d.name: self.distribution(d) for d in space.dimensions},
                user_attrs={KEY: self.about(number, task.parameters, one)},
                intermediate_values=_finite(one.so_far),
            )
        )
        self._keep(number, task.parameters, one)

    def tell(self, trial: optuna.Trial, parameters: Parameters, one: Evaluation) -> None:
        """Keep a set that was."""
        told = {
            number
            for begun in self.running
            if begun.number == trial.number
            for number in begun.intermediate_values
        }
        for step, value in _finite(one.so_far).items():
            if step not in told:
                trial.report(value, step)
        trial.set_user_attr(KEY, self.about(trial.number, parameters, one))
        self.study.tell(trial, one.value if _has_value(one) else None, self.state(one))
        self._keep(trial.number, parameters, one)

    def _keep(self, number: int, parameters: Parameters, one: Evaluation) -> None:
        value = one.value if _has_value(one) else math.nan
        self._take(parameters, value, one.pruned, one.so_far, number)

    def distribution(self, one: Dimension) -> Any:
        """A dimension as Optuna has it."""
        kinds = optuna.distributions
        if one.values:
            return kinds.CategoricalDistribution(one.values)
        if one.whole:
            return kinds.IntDistribution(int(one.low), int(one.high), log=one.log)
        return kinds.FloatDistribution(one.low, one.high, log=one.log)


def _has_value(one: Evaluation) -> bool:
    return not one.pruned and not one.refused and math.isfinite(one.value)


def _finite(values: Sequence[float]) -> dict[int, float]:
    return {step: value for step, value in enumerate(values) if math.isfinite(value)}


@contextlib.contextmanager
def opened(path: Path | None, identity: str) -> Iterator[Study]:
    """A study, new or to be gone on with; None keeps it in memory.

    Args:
        identity: of the search; a study belongs to one.

    Raises:
        StoreError: the file cannot be used. SettingError: it is of another search.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with contextlib.ExitStack() as stack:
        storage: Any = InMemoryStorage()
        if path is not None:
            file = StudyFile(path)
            stack.callback(file.close)
            storage = JournalStorage(file)
        study = optuna.create_study(
            storage=storage, study_name=NAME, direction="maximize", load_if_exists=True
        )
        owner = study.user_attrs.get(KEY)
        if owner is None:
            study.set_user_attr(KEY, identity)
        elif owner != identity:
            raise SettingError(
                f"{path} holds a search of another market, strategy, space or seed; give another "
                "--study"
            )
        yield Study(study)
