"""What the verbs share: their settings, and how numbers, times and progress are shown."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.core.clock import SECOND

if TYPE_CHECKING:
    from seawall.core.settings import Settings
    from seawall.node.summary import Summary
    from seawall.storage.secrets import FileSecrets

KEYS = "keys"  # the folder of secrets in the data folder
_folder = Path("seawall-data")


def settings_of(config: Path | None, flags: Mapping[str, Any]) -> "Settings":
    """The settings of this command: its flags, the environment, the file."""
    from seawall.core.settings import load

    global _folder
    settings = load(config, flags, os.environ)
    _folder = settings.data_dir
    return settings


def strategies_of(
    strategies: Sequence[str] | None, parameters: Sequence[str] | None
) -> dict[str, str | None]:
    """The flags ``--strategy`` and ``--param`` as settings: one strategy, or several together."""
    given = strategies or ()
    several = len(given) > 1 or any("=" in text for text in given)
    return {
        "decision.strategy": given[0] if given and not several else None,
        "decision.parameters": ",".join(parameters) if parameters else None,
        "decision.strategies": ",".join(given) if several else None,
    }


def secrets_of(settings: "Settings") -> "FileSecrets":
    """The keys and tokens of this data folder; variables stand above files."""
    from seawall.storage.secrets import EnvironmentSecrets, FileSecrets

    return FileSecrets(settings.data_dir / KEYS, EnvironmentSecrets(os.environ))


def data_folder() -> Path:
    """The data_dir of the settings read last, or the default: where a crash is written down."""
    return _folder


def money(amount: float, asset: str) -> str:
    """``1,234.50 USD``."""
    return f"{amount:,.2f} {asset}"


def signed(amount: float, asset: str) -> str:
    """``+1,234.50 USD``."""
    return f"{amount:+,.2f} {asset}"


def shown_strategies(summary: "Summary") -> Iterator[tuple[str, str]]:
    """What each strategy came to: (a heading for the first of them, words)."""
    heading = "strategies"
    for name, result in summary.strategies.items():
        unit = summary.numeraire
        fees = money(result.fees, unit)
        yield heading, f"{name} {signed(result.pnl, unit)}, fees {fees}, {result.fills:,} fills"
        heading = ""


def moment(ns: int) -> str:
    """``2024-08-08 00:00:01 UTC``, of ns UTC."""
    return datetime.fromtimestamp(ns / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@contextlib.contextmanager
def progress(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, if that is a terminal; gives ``report(done, total)``."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed:,.0f}} of {{task.total:,.0f}} {unit}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=0)
        yield lambda done, total: bar.update(task, completed=done, total=total)
