"""Who evaluates parameter sets: this process, others on this machine, or a Ray cluster.

All give the same values; each worker maps the market's files into memory once.
"""

import contextlib
import logging
import re
import signal
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from seawall.core.errors import SettingError
from seawall.lab.research.evaluation import Evaluation, Plan, evaluate
from seawall.lab.research.market import Market, load
from seawall.lab.research.space import Parameters

ANSWER_S = 5.0  # seconds that a cluster has to take a connection
PIECES = 4  # that a batch is cut into for each worker, so that none of them waits long


class Task(NamedTuple):
    """A set to evaluate, and below what it is given up after each step."""

    parameters: Parameters
    least: tuple[float, ...]


class Workers(Protocol):
    """Evaluate batches of tasks, in order."""

    def evaluate(self, tasks: Sequence[Task]) -> Iterator[Evaluation]: ...

    def close(self) -> None: ...


class Here:
    """In this process."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._market, self._plan = load(folder), plan

    def evaluate(self, tasks: Sequence[Task]) -> Iterator[Evaluation]:
        """One after the other."""
        for task in tasks:
            yield evaluate(self._market, self._plan, task.parameters, task.least)

    def close(self) -> None:
        """Nothing is open."""


class Processes:
    """In processes of their own on this machine."""

    def __init__(self, folder: Path, plan: Plan, count: int) -> None:
        self._count = count
        self._pool = ProcessPoolExecutor(
            count, get_context("spawn"), initializer=_begin, initargs=(folder, plan)
        )

    def evaluate(self, tasks: Sequence[Task]) -> Iterator[Evaluation]:
        """In pieces, whichever worker is free."""
        try:
            futures = [self._pool.submit(_piece, part) for part in _parts(tasks, self._count)]
            for future in futures:
                yield from future.result()
        except BrokenProcessPool:
            raise SettingError(
                "a worker of the search was ended from outside, perhaps for lack of memory; what "
                "has finished is kept: run the same command again, with fewer --workers"
            ) from None

    def close(self) -> None:
        """Give up what has not begun, and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)


_worker: tuple[Market, Plan] | None = None


def _begin(folder: Path, plan: Plan) -> None:
    """In the worker. Ctrl-C reaches it too; the parent says when to stop."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = load(folder), plan


def _piece(tasks: Sequence[Task]) -> list[Evaluation]:
    assert _worker is not None
    market, plan = _worker
    return [evaluate(market, plan, task.parameters, task.least) for task in tasks]


def _parts(tasks: Sequence[Task], count: int) -> Iterator[Sequence[Task]]:
    size = max(1, len(tasks) // (count * PIECES))
    for at in range(0, len(tasks), size):
        yield tasks[at : at + size]


class Cluster:
    """On a Ray cluster; the market goes there once.

    Raises:
        SettingError: Ray is not installed, or does not answer.
    """

    def __init__(self, folder: Path, plan: Plan, address: str) -> None:
        try:
            import ray
        except ImportError:
            raise SettingError(
                "a search on a cluster needs Ray: pip install 'seawall[ray]', or leave --ray out"
            ) from None
        _answers(address)
        try:
            ray.init(
                address=address,
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        except (ConnectionError, ImportError, RuntimeError, ValueError) as error:
            raise SettingError(f"--ray {address}: {str(error).splitlines()[0]}") from error
        kept = load(folder)
        arrays = kept.rows.copy(), kept.path.copy()
        self._ray, self._plan = ray, plan
        self._market = ray.put(Market(kept.instrument, kept.cadence, *arrays))
        self._remote = ray.remote(_remote)
        self._count = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def evaluate(self, tasks: Sequence[Task]) -> Iterator[Evaluation]:
        """In pieces, wherever there is room."""
        parts = _parts(tasks, self._count)
        for future in [self._remote.remote(self._market, self._plan, part) for part in parts]:
            yield from self._ray.get(future)

    def close(self) -> None:
        """Leave the cluster as it was."""
        self._ray.shutdown()


def _answers(address: str) -> None:
    """Whether anything listens at HOST:PORT; Ray itself would wait for it for minutes.

    Raises:
        SettingError: nothing does.
    """
    found = re.fullmatch(r"(?:ray://)?([^:/\s]+):([0-9]{1,5})", address)
    if found is None:
        return  # another form, such as `auto`: Ray says by itself what is wrong with it
    try:
        socket.create_connection((found[1], int(found[2])), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        why = str(getattr(error, "strerror", "") or error).lower()
        raise SettingError(
            f"--ray {address}: {why}; start a head there (`ray start --head`) or leave --ray out"
        ) from None


def _remote(market: Market, plan: Plan, tasks: Sequence[Task]) -> list[Evaluation]:
    return [evaluate(market, plan, task.parameters, task.least) for task in tasks]


@contextlib.contextmanager
def workers(folder: Path, plan: Plan, count: int, ray: str = "") -> Iterator[Workers]:
    """The workers for a saved market.

    Args:
        count: processes; 1: this one. ray: address of a cluster, which then does it all.
    """
    if count < 1:
        raise SettingError(f"workers is {count}; it must be 1 or more")
    found: Any
    if ray:
        found = Cluster(folder, plan, ray)
    else:
        found = Here(folder, plan) if count == 1 else Processes(folder, plan, count)
    try:
        yield found
    finally:
        found.close()
