"""Where the peers live: an environment of its own for each, made once; and the talk with a half.

A comparison has two halves, theirs and ours, each in a process of its own on the same core. They
make their runs turn and turn about, so that whatever else the machine does meets both.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure import Bench, Timings, figure
from seawall.core.errors import DataError

ENVIRONMENTS = Path(os.environ.get("PEER_ENVIRONMENTS", Path.home() / ".cache/seawall/peers"))
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
Told = dict[str, Any]


class Peer(NamedTuple):
    """Another system. wanted: what pip installs; pythons: versions it runs on, the best first;
    empty: the one that runs this."""

    name: str
    wanted: tuple[str, ...]
    pythons: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Its environment; another version gets another one."""
        return ENVIRONMENTS / self.wanted[0].replace("==", "-").replace("[", "-").replace("]", "")


def environment(peer: Peer) -> Path:
    """The Python of a peer's environment, made where it is missing.

    Raises:
        DataError: it cannot be installed, or there is no Python for it.
    """
    python = peer.folder / "bin" / "python"
    if not (peer.folder / "ready").exists():
        base = interpreter(peer)
        print(f"installing {', '.join(peer.wanted)} in {peer.folder} ...", file=sys.stderr)
        subprocess.run([base, "-m", "venv", "--clear", peer.folder], check=False)
        pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        if subprocess.run([*pip, *peer.wanted], check=False).returncode:
            raise DataError(
                f"{peer.wanted[0]} cannot be installed in {peer.folder}; look at what pip said"
            )
        (peer.folder / "ready").touch()
    return python


def interpreter(peer: Peer) -> str:
    """A Python that a peer runs on: on the path, or one of pyenv's.

    Raises:
        DataError: there is none.
    """
    if not peer.pythons:
        return sys.executable
    for version in peer.pythons:
        found = sorted(PYENV.glob(f"versions/{version}.*/bin/python"))
        for candidate in (sys.executable, f"python{version}", *map(str, reversed(found))):
            if _runs(candidate, version):
                return candidate
    versions = " or ".join(peer.pythons)
    raise DataError(f"{peer.wanted[0]} needs Python {versions}, and there is none; install one")


def _runs(python: str, version: str) -> bool:
    """Whether this command is that Python; pyenv's shims are there for versions that are not."""
    asked = [python, "-c", "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


class Half:
    """One side, in a process of its own: it makes its runs one by one, when it is its turn."""

    def __init__(self, command: Sequence[Any], job: Path) -> None:
        self.name = str(command[-1])
        self.process = subprocess.Popen(
            [*command, job], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self, run: str = "") -> Told:
        """What its next run measured. run: which one, where a half has several.

        Raises:
            DataError: the half has ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{run}\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise DataError(f"{self.name} ended with {self.process.wait()}; see what it said")
        told: Told = json.loads(line)
        return told

    def end(self) -> None:
        """There are no further turns."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@contextlib.contextmanager
def halves(theirs: Sequence[Any], ours: str, job: dict[str, Any], path: Path) -> Iterator[Any]:
    """Both halves at work on a job, and ended whatever happens.

    Args:
        theirs: a command. ours: a module that takes ``--half``. path: where the job is written.
    """
    path.write_text(json.dumps(job))
    both = [Half(theirs, path), Half([sys.executable, "-m", ours, "--half"], path)]
    try:
        yield both
    finally:
        for one in both:
            one.end()


def in_turns(bench: Bench, *asked: tuple[Half, str]) -> list[Timings[Told]]:
    """Runs of several halves, run by run, one after the other; the first of each warms it up."""
    timings = [Timings[Told]([], [], []) for _ in asked]
    for number in range(bench.runs + 1):
        for timed, (half, run) in zip(timings, asked, strict=True):
            told = half.turn(run)
            if number:
                timed.wall.append(told["seconds"])
                timed.cpu.append(told["cpu"])
                timed.outcomes.append(told)
    return timings


def ratios(slower: Timings[Told], quicker: Timings[Told]) -> tuple[list[float], float]:
    """How many times as fast, run by run by wall clock, and of the medians by CPU time."""
    walls = [one / other for one, other in zip(slower.wall, quicker.wall, strict=True)]
    return walls, slower.cpu_median / quicker.cpu_median


def peak(timed: Timings[Told]) -> str:
    """The most memory that a half's process has held, with its tape."""
    return f"{figure(max(one['peak'] for one in timed.outcomes))}B"


def core() -> int:
    """The core that both halves run on."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
