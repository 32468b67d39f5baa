"""`seawall doctor`: whether this machine is fit to run Seawall, and what to do where it is not."""

import ast
import errno
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

import seawall
from seawall.cli import options
from seawall.cli.console import moment, settings_of
from seawall.core.clock import SECOND, SystemClock
from seawall.core.errors import SeawallError, SettingError

if TYPE_CHECKING:
    from seawall.core.settings import Settings

EXAMPLES = """\b
Examples:
  seawall doctor
      check everything that a run needs
  seawall doctor --compile
      compile all kernels now, so that no run has to wait for it
  seawall doctor --json
      the same for another program

It leaves with 1 if a check failed, and says what to do about it.
"""

GIB = 1 << 30
ENOUGH_DISK = 10 * GIB  # some days of recorded books
LEAST_DISK = GIB // 2
DAY = 86_400 * SECOND
LIBRARIES = (
    "ccxt",
    "fastapi",
    "httpx",
    "msgspec",
    "numba",
    "numpy",
    "polars",
    "scipy",
    "sqlalchemy",
    "uvicorn",
)


class Check(NamedTuple):
    """One finding. todo: what to do about it, empty if nothing."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    todo: str = ""


RESEARCH = (  # a run and a backtest need nothing of it
    "lab/",
    "market/features/",
    "venues/simulated/exact",
    "core/order_book_kernels",
    "execution/fallback_kernels",
    "simulation/",
)


def doctor(
    compile_: Annotated[bool, typer.Option("--compile", help="Compile all kernels first.")] = False,
    trading_only: Annotated[
        bool, typer.Option("--trading-only", help="Of the kernels those of the node alone.")
    ] = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Check this machine: what is missing, and what to do about it."""
    if compile_:
        from seawall.node import rehearsal

        rehearsal.compile_kernels(lambda text: typer.echo(text, err=json), trading_only)
        if not trading_only:
            from seawall.simulation.campaign import checked

            checked(1)
    checks = list(examine(config))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode([check._asdict() for check in checks]))
    else:
        show(checks)
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)


def examine(config: Path | None) -> Iterator[Check]:
    """All checks, one after the other."""
    yield python(sys.version_info[:3])
    yield libraries(LIBRARIES)
    yield processors(len(os.sched_getaffinity(0)))
    yield clock(SystemClock().now(), Path(seawall.__file__).stat().st_mtime_ns)
    try:
        settings = settings_of(config, {})
    except SettingError as error:
        yield Check("settings", "fail", str(error), "correct it; the rest used the defaults")
        from seawall.core.settings import Settings

        settings = Settings()
    else:
        yield Check("settings", "ok", f"profile {settings.profile}")
    yield folder(settings.data_dir)
    yield disk(settings.data_dir, shutil.disk_usage(_nearest(settings.data_dir)).free)
    yield port(settings)
    yield dashboard(Path(seawall.__file__).parent / "api" / "page")
    yield kernels(Path(seawall.__file__).parent)


def python(version: tuple[int, ...]) -> Check:
    """Python 3.11 to 3.13."""
    found = ".".join(map(str, version))
    if (3, 11) <= version[:2] <= (3, 13):
        return Check("Python", "ok", found)
    return Check("Python", "fail", found, "use Python 3.11, 3.12 or 3.13")


def libraries(names: tuple[str, ...]) -> Check:
    """What the base install brings."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if not missing:
        return Check("libraries", "ok", "all installed")
    return Check("libraries", "fail", f"missing: {', '.join(missing)}", "run `make setup`")


def processors(count: int) -> Check:
    """One for the path, one for all else."""
    if count >= 2:
        return Check("processors", "ok", str(count))
    return Check("processors", "warn", str(count), "two keep the dashboard from slowing trading")


def clock(now: int, installed: int) -> Check:
    """Whether the clock can be right; both in ns UTC."""
    found = moment(now)
    if now + DAY >= installed:
        return Check("clock", "ok", found)
    return Check("clock", "fail", f"{found}, before the program was installed", "set it (NTP)")


def folder(path: Path) -> Check:
    """Whether the data folder can be written; nothing is left behind."""
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with tempfile.TemporaryFile(dir=_nearest(path)):
            pass
    except OSError as error:
        reason = f"{path}: {error.strerror}"
        return Check("data folder", "fail", reason, "choose another with --data-dir FOLDER")
    return Check("data folder", "ok", str(path) + ("" if path.exists() else " (made on first use)"))


def disk(path: Path, free: int) -> Check:
    """Whether there is room for tape and journal; free: bytes."""
    found = f"{free / GIB:,.1f} GiB free"
    if free >= ENOUGH_DISK:
        return Check("disk", "ok", found)
    state: Literal["warn", "fail"] = "warn" if free >= LEAST_DISK else "fail"
    return Check("disk", state, found, f"make room for 10 GiB where {path} lies")


def port(settings: "Settings") -> Check:
    """Whether the dashboard's address is free."""
    from seawall.api.address import listen

    where = f"{settings.api.host}:{settings.api.port}"
    try:
        listen(settings.api.host, settings.api.port).close()
    except SeawallError:
        todo = "is Seawall running already? else: seawall run --port N"
        return Check("port", "warn", f"{where} is taken", todo)
    return Check("port", "ok", f"{where} is free")


def dashboard(page: Path) -> Check:
    """Whether the page is built."""
    if (page / "index.html").is_file():
        return Check("dashboard", "ok", "built")
    todo = "`make setup` builds it, with Node 20.19 or newer and npm"
    return Check("dashboard", "warn", "not built; all else works", todo)


def kernels(package: Path) -> Check:
    """Whether every file with kernels has been compiled since it was written, for this Python."""
    mine = f".py{sys.version_info[0]}{sys.version_info[1]}.nbi"
    sources = [path for path in sorted(package.rglob("*.py")) if _has_kernels(path)]
    stale = [path for path in sources if not _compiled(path, mine)]
    waiting = [path for path in stale if path.relative_to(package).as_posix().startswith(RESEARCH)]
    if not stale:
        return Check("kernels", "ok", f"{len(sources)} files compiled")
    if len(stale) == len(waiting):
        done, left = len(sources) - len(stale), "those of research at their first use"
        return Check("kernels", "ok", f"{done} files compiled; {left}")
    found = f"{len(stale)} of {len(sources)} files not compiled: the first run waits for it"
    return Check("kernels", "warn", found, "seawall doctor --compile")


def _has_kernels(path: Path) -> bool:
    source = path.read_text(encoding="utf-8")
    if "@njit(" not in source:
        return False
    functions = (part for part in ast.parse(source).body if isinstance(part, ast.FunctionDef))
    return any(
        ast.unparse(mark).startswith("njit(") for f in functions for mark in f.decorator_list
    )


def _compiled(path: Path, suffix: str) -> bool:
    written = path.stat().st_mtime
    cache = path.parent / "__pycache__"
    return any(
        index.name.endswith(suffix) and index.stat().st_mtime >= written
        for index in cache.glob(f"{path.stem}.*.nbi")
    )


def _nearest(path: Path) -> Path:
    """The folder itself, or the nearest above it that exists."""
    return next(each for each in (path, *path.absolute().parents) if each.is_dir())


def show(checks: list[Check]) -> None:
    """The findings as a table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table(show_header=False, box=None, pad_edge=False)
    for check in checks:
        found = Text(check.found)
        if check.todo:
            found.append(f"\n→ {check.todo}", style=colours[check.state])
        table.add_row(Text(check.state, style=colours[check.state]), check.name, found)
    Console(file=sys.stdout, highlight=False).print(table)
