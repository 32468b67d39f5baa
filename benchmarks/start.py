"""Starting: the command line's help, and compiling the kernels."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from benchmarks.measure import Bench, Result, nothing, repeat

COMPILE = "from seawall.node import rehearsal; rehearsal.compile_kernels(lambda text: None)"


def start(bench: Bench) -> Iterator[Result]:
    """How long a person waits for the first word."""
    timed = repeat(bench.runs, nothing, lambda _: _python("-m", "seawall", "--help"), nothing)
    yield Result("start", "seawall --help", "a new process", "s", timed.wall, timed.cpu_median)


def kernels(bench: Bench) -> Iterator[Result]:
    """All kernels: compiled into an empty cache (once, it is long), then loaded from it."""
    caches = (bench.scratch / f"numba-{number}" for number in count())
    cache = next(caches)
    cold = repeat(1, nothing, lambda _: _python("-c", COMPILE, cache=cache), nothing)
    warm = repeat(bench.runs, nothing, lambda _: _python("-c", COMPILE, cache=cache), nothing)
    for what, timed in (("compiled, empty cache", cold), ("loaded from the cache", warm)):
        yield Result(
            "kernels",
            f"all kernels {what}, and a rehearsal run through them",
            "a new process",
            "s",
            timed.wall,
            timed.cpu_median,
        )


def _python(*arguments: str, cache: Path | None = None) -> None:
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": str(cache)} if cache else {})}
    subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True
    )
