"""`seawall report`: the tear sheet of a run, one HTML file that can be mailed."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli import options
from seawall.cli.console import progress, settings_of
from seawall.core.errors import DataError, SettingError, StoreError

if TYPE_CHECKING:
    from seawall.core.settings import Settings
    from seawall.node.tearsheet import Story

EXAMPLES = """\b
Examples:
  seawall report seawall-data/simulated --out paper.html
      of a paper run, from its folder
  seawall report day.journal --tape seawall-data/tape/day --out day.html
      of a backtest, from its journal and the tape that it was on
  seawall report day.journal --tape TAPE --search sets.study --out day.html
      with the surface of a search: its study, or a table of sets with a value

  seawall report day.journal --tape seawall-data/tape/day --tca
      what each parent order cost against the mid at its decision, and why

The page needs nothing else: mail it, print it, open it anywhere.
"""


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a paper run, or a journal.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page to write, .html.")
    ] = None,
    tape: Annotated[
        Path | None,
        typer.Option(metavar="TAPE", help="The tape of the run (default: that in its folder)."),
    ] = None,
    search: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A search: its .study, or a .csv, .parquet or .json table."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings (default: those in the journal)."),
    ] = None,
    tca: Annotated[
        bool, typer.Option("--tca", help="Print what the parent orders cost, part by part.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Write the tear sheet of a run: what came of it, and why."""
    from seawall.node import tearsheet

    if (out is None) == (not tca) or (json and not tca):
        raise SettingError(
            "give --out FILE for the page, or --tca for the costs of the parent orders (and --json "
            "with it)"
        )
    journal = run / "journal.sqlite" if run.is_dir() else run
    if out is not None:
        check(out)
    story = tearsheet.read(journal)
    folder = tape or (_tape_in(run, story) if run.is_dir() else None)
    if folder is None:
        raise SettingError(f"{run} is a journal: name the tape of its run with --tape")
    settings = _settings(story, config, run)
    if out is None:
        costs(journal, folder, settings, json)
        return
    write(out, journal, folder, settings, search)
    typer.echo(f"written: {out}")


def costs(journal: Path, tape: Path, settings: "Settings", json: bool) -> None:
    """The transaction costs of every parent order, on stdout."""
    from seawall.execution.tca import PARTS, totals
    from seawall.node.tca import gather

    with progress("report", "rows") as told:
        found = gather(journal, tape, settings, told)
    lines = totals(found)
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"parents": found, "totals": lines}))
        return
    if not found:
        typer.echo("no parent order: nothing was sent toward an approved position")
        return
    typer.echo("Basis points of the mid at the decision; above 0 is cost.")
    for one in lines:
        unknown = f" ({one.unknown:,} of unknown prices)" if one.unknown else ""
        typer.echo(f"\n{one.instrument}, {one.strategy}, {one.algorithm or 'at once'}")
        typer.echo(f"  {one.parents:,} parents{unknown}, {one.filled:.1%} filled")
        typer.echo(f"  {'shortfall':<12}{one.shortfall:>9.2f}")
        for name in PARTS:
            typer.echo(f"    {name:<12}{getattr(one, name):>7.2f}")


def check(out: Path) -> None:
    """Refuse a page that could not be written, before any long work."""
    parent = out.absolute().parent
    if out.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise StoreError(f"{out}: cannot be written there; choose a file in a folder that exists")


def write(
    out: Path, journal: Path, tape: Path, settings: "Settings", search: Path | None = None
) -> None:
    """Gather and write the page.

    Raises:
        DataError: journal, tape or search cannot be used. StoreError: the page cannot be written.
    """
    from seawall.lab.tearsheet import page
    from seawall.lab.tearsheet.surface import surface_of
    from seawall.node.tearsheet import gather

    surface = None if search is None else surface_of(search)
    with progress("report", "rows") as told:
        text = page(gather(journal, tape, settings, told, surface))
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{out}: cannot be written: {error.strerror}") from None


def _settings(story: "Story", config: Path | None, run: Path) -> "Settings":
    """Those of the journal, unless a file is named."""
    from seawall.node.inputs import settings_in

    first = story.started[0]
    if config is None and first.values:
        return settings_in(first, run.parent)
    return settings_of(config, {"seed": first.seed})


def _tape_in(run: Path, story: "Story") -> Path:
    """The tape in a run's folder that the run was on."""
    from seawall.ingestion.tape import read_catalog

    wanted = story.started[0].instruments
    for path in sorted(run.glob("tape-*")):
        if read_catalog(path).instruments == wanted:
            return path
    raise DataError(f"{run}: the tape of run {story.started[0].run} is not in it; give --tape")
