"""The report, as Markdown: the machine, and a table for each group with its commit and date."""

import os
import platform
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.kept import Measured
from benchmarks.measure import Result, figure

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(__file__).with_name("RESULTS.md")
LIBRARIES = ("numpy", "numba", "polars", "msgspec", "sqlalchemy")
COLUMNS = "what | on | median | min | max | unit | by CPU time | runs | floor | met | same results"
HEAD = """\
# Results

Written by `make bench`, and one group at a time by `make bench ARGS="--only GROUP"`: each group
says at which commit and when it was measured. *Load before* is that of other work. Medians of the
runs count; *by CPU time* is the same figure with the CPU time of all threads in place of the wall
clock, which other work on the machine disturbs less. *Same results* are the first digits of
SHA-256 hashes: a change for speed alone leaves them as they are. Floors are what the first version
had to reach, and the goals beyond it. How the peers are compared, and what they do not do:
[beside the others](../docs/benchmarks.md).
"""


def line(result: Result) -> str:
    """A result in one line for the terminal."""
    spread = f"({figure(min(result.values))} to {figure(max(result.values))})"
    text = f"{result.what}: {figure(result.median)} {result.unit} {spread}"
    if result.by_cpu is not None:
        text += f", by CPU time {figure(result.by_cpu)}"
    if result.floors:
        text += f"; floor {result.floor}: {result.verdict}"
    return f"{text}; {result.note}" if result.note else text


def markdown(kept: Mapping[str, Measured]) -> str:
    """The whole page, of at least one group."""
    results = [one for each in kept.values() for one in each.results]
    missed = [one for one in results if "NOT MET" in one.verdict]
    held = sum(bool(one.floors) for one in results)
    words = f"{held - len(missed)} of {held} measurements with a floor keep all their floors."
    first, *others = (each.facts for each in kept.values())
    shared = {
        name: text for name, text in first.items() if all(o.get(name) == text for o in others)
    }
    lines = [HEAD, *(f"- {name}: {text}" for name, text in shared.items()), "", words]
    for name, each in kept.items():
        facts = [f"{fact}: {text}" for fact, text in each.facts.items() if fact not in shared]
        lines += ["", f"## {name}", "", *([" · ".join(facts), ""] if facts else [])]
        lines += [f"| {COLUMNS} |", "|" + "---|" * (COLUMNS.count("|") + 1)]
        lines += [f"| {' | '.join(_cells(one))} |" for one in each.results]
    return "\n".join(lines) + "\n"


def _cells(one: Result) -> list[str]:
    verdict = one.verdict.replace("NOT MET", "**NOT MET**")
    return [
        one.what,
        one.on,
        figure(one.median),
        figure(min(one.values)),
        figure(max(one.values)),
        one.unit,
        "–" if one.by_cpu is None else figure(one.by_cpu),
        str(len(one.values)),
        one.floor,
        verdict,
        one.note or "–",
    ]


def surroundings(scratch: Path) -> dict[str, str]:
    """Where and when: to be taken before the work, so that the load is that of others."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    busy = "; other work was running, the times are noisy" if load > 0.3 else ""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return {
        "command": f"`{command()}`",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "load before": f"{load:.1f}{busy}",
        "machine": f"{_processor()}, {cores} cores, {memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {_disk(scratch)} for the journals",
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "libraries": f"{libraries}, SQLite {sqlite3.sqlite_version}",
    }


def command() -> str:
    """How this was called; of paths only the last name."""
    words = [re.sub(r"(.*=)?.*/(.+)", r"\1\2", word) for word in sys.argv[1:]]
    return " ".join(["python -m benchmarks", *words])


def _commit() -> str:
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    written = (":!benchmarks/RESULTS.md", ":!benchmarks/results.json")
    changed = _git("status", "--porcelain", "--", ".", *written)
    return f"{head} with changes that are not committed" if changed else head


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    try:
        for text in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _disk(folder: Path) -> str:
    """The kind of file system that a folder lies on."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "a disk"
    best = ("", "a disk")
    for text in mounts:
        _, point, kind, *_ = text.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
