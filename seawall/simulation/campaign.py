"""Many seeds over one or more processes, what they came to in all, and how to see one again."""

import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import msgspec

from seawall.simulation.faults import ALL, Fault, drawn, kinds_of, only
from seawall.simulation.markets import Shelf
from seawall.simulation.scene import ACTIVE, CALM, scene_of
from seawall.simulation.shrinking import shrunk
from seawall.simulation.world import Outcome, Plant, World

TWICE = 20  # every so many seeds one is run twice, and must give the same journal
AT_ONCE = 8  # seeds that a process is handed
LIVES = 16  # times that a process is handed seeds before another takes its place: memory stays flat


class Totals(msgspec.Struct, kw_only=True):
    """What many seeds came to.

    Attributes:
        failed: the outcomes in which a check failed. struck: faults that happened, by kind.
    """

    seeds: int = 0
    rows: int = 0
    steps: int = 0
    lives: int = 0
    orders: int = 0
    fills: int = 0
    failed: list[Outcome] = []
    struck: dict[str, int] = {}

    def add(self, found: Outcome) -> None:
        """One more seed."""
        self.seeds += 1
        for name in ("rows", "steps", "lives", "orders", "fills"):
            setattr(self, name, getattr(self, name) + getattr(found, name))
        self.struck = dict(Counter(self.struck) + Counter(found.struck))
        if found.check:
            self.failed = [*self.failed, found]


def faults_of(seed: int, faults: str = ALL, chosen: str = "") -> list[Fault]:
    """The faults of a seed. chosen: ``kind.number,...`` of them, empty for all."""
    found = drawn(seed, kinds_of(faults), CALM, ACTIVE)
    return only(found, chosen) if chosen else found


def lived(
    seed: int,
    faults: Sequence[Fault],
    plant: Plant | None = None,
    trace: Callable[[str], None] | None = None,
) -> Outcome:
    """Live through a seed with these faults."""
    return World(scene_of(seed), faults, plant=plant, trace=trace).run()


def checked(seed: int, faults: str = ALL) -> Outcome:
    """Live through a seed; now and then twice, to see that it comes to the same."""
    drawn_faults = faults_of(seed, faults)
    found = lived(seed, drawn_faults)
    if not found.check and seed % TWICE == 0:
        again = lived(seed, drawn_faults)
        if again != found:
            found.check = "determinism"
            found.text = f"journal {found.journal[:16]}, the second time {again.journal[:16]}"
    return found


def shrunk_faults(seed: int, faults: Sequence[Fault], check: str) -> list[Fault]:
    """The few of a failing seed's faults that make the same check fail."""
    return shrunk(faults, lambda some: lived(seed, some).check == check)


def replay(seed: int, faults: str, chosen: Iterable[Fault] | None = None) -> str:
    """The command that shows a seed again."""
    words = f"seawall simulate --seed {seed} --faults {faults}"
    if chosen is not None and (names := ",".join(fault.name for fault in chosen)):
        words += f" --only {names}"
    return f"{words} --trace"


def outcomes(seeds: Sequence[int], faults: str, jobs: int) -> Iterator[Outcome]:
    """Each seed's outcome, in order."""
    if jobs == 1:
        for seed in seeds:
            yield checked(seed, faults)
        return
    context = get_context("forkserver")
    with (
        tempfile.TemporaryDirectory(prefix="seawall-simulate-") as folder,
        context.Pool(jobs, _set_up, (Path(folder),), maxtasksperchild=LIVES) as pool,
    ):
        yield from pool.imap(partial(checked, faults=faults), seeds, chunksize=AT_ONCE)


def _set_up(folder: Path) -> None:
    """Ctrl-C is for the process that hands out the seeds; it ends the others, and takes away what
    they leave.
    """
    Shelf.folder = folder
    tempfile.tempdir = str(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
