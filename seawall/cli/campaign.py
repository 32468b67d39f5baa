"""`seawall attack campaign`: every attack at every strength, and a search by one who knows all."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli import options
from seawall.cli.console import progress, settings_of
from seawall.core.errors import DataError, SettingError, StoreError

if TYPE_CHECKING:
    from seawall.core.settings import Settings
    from seawall.lab.campaign import Campaign, Job
    from seawall.lab.campaign_summary import Summary

EXAMPLES = """\b
Examples:
  seawall attack campaign --out campaign
      the grid of known attacks, the search by an attacker who knows everything,
      and the same search with one defence off at a time (about an hour)
  seawall attack campaign --out campaign --resume
      goes on with what an interrupted one left undone
  seawall attack campaign --evaluations 600 --restarts 36 --adaptive-only \\
      --out quick
  seawall attack campaign --tape tape/night-x5 --out night
      a recorded market too, told by five sources (seawall data replicate)

Exit code 0: nothing beats its certificate; 1: something does.
"""
BEGINNING = 60.0  # seconds of a market until all sources have said enough


def campaign(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Results and report.html go here.")
    ] = Path("campaign"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the campaign in the folder.")
    ] = False,
    sources: Annotated[int, typer.Option(metavar="N", help="Of each market.")] = 5,
    rows: Annotated[int, typer.Option(metavar="N", help="Frames of each market.")] = 3600,
    evaluations: Annotated[
        int, typer.Option(metavar="N", help="Attacks that the search tries, in all.")
    ] = 10_000,
    restarts: Annotated[int, typer.Option(metavar="N", help="Of the search.")] = 60,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes.")] = 2,
    tape: Annotated[
        Path | None,
        typer.Option(metavar="TAPE", help="Attack this recorded market too."),
    ] = None,
    adaptive_only: Annotated[
        bool, typer.Option("--adaptive-only", help="The search and the ablations alone.")
    ] = False,
    grid_only: Annotated[bool, typer.Option("--grid-only", help="The grid alone.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Of all random draws.")] = 0,
    json: options.Json = False,
) -> None:
    """Attack the robust core in every known way, and hold what comes of it to its certificate."""
    from seawall.lab import campaign as lab
    from seawall.lab.campaign_report import page
    from seawall.lab.campaign_summary import summary_of

    if adaptive_only and grid_only:
        raise SettingError("--adaptive-only and --grid-only exclude each other; give one of them")
    if not 1 <= workers <= 256:
        raise SettingError(f"--workers is {workers}; give a number from 1 to 256")
    began = time.perf_counter()
    _folder(out, resume)
    asked = lab.Campaign(
        sources=sources, rows=rows, evaluations=evaluations, restarts=restarts, seed=seed
    ).check()
    settings = settings_of(None, {"mode": "backtest", "seed": str(seed)})
    asked = _with_panels(asked, settings, out, tape)
    jobs = [] if adaptive_only else lab.grid_jobs(asked)
    jobs += [] if grid_only else lab.search_jobs(asked)
    _work(asked, out, jobs, workers)
    lines = list(lab.read(out, asked.name).values())
    summary = summary_of(asked, lines)
    try:
        (out / "report.html").write_text(page(asked, lines, summary), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {out / 'report.html'}: {error.strerror}") from None
    _show(summary, out, time.perf_counter() - began, json)
    if summary.beaten:
        raise typer.Exit(1)


def _folder(out: Path, resume: bool) -> None:
    from seawall.lab.campaign import RESULTS

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {out}: {error.strerror}") from None
    if (out / RESULTS).exists() and not resume:
        raise SettingError(
            f"{out} holds a campaign; go on with it by --resume, or give another folder with --out"
        )


def _with_panels(
    asked: "Campaign", settings: "Settings", out: Path, tape: Path | None
) -> "Campaign":
    """The campaign with its recorded markets, whose panels are put into the folder."""
    import msgspec

    from seawall.ingestion.tape import open_tape
    from seawall.lab import campaign as lab
    from seawall.node import impact, panels

    catalog = impact.simulated_catalog()
    if len(catalog.sources) == asked.sources and lab.load_panel(out, "simulated") is None:
        with progress("market", "s") as report:
            market = impact.simulated_market(asked.seed, asked.rows + BEGINNING, report)
            panel = panels.panel_of(settings, catalog, market, lab.LEAST_ROWS, asked.rows)
        lab.save_panel(out, "simulated", panel)
    if tape is not None and lab.load_panel(out, "recorded") is None:
        if not tape.exists():
            raise DataError(f"{tape}: there is no such tape; `seawall data import` makes one")
        opened = open_tape(tape)
        blocks = opened.blocks()
        panel = panels.panel_of(settings, opened.catalog, blocks, lab.LEAST_ROWS, asked.rows)
        if panel.shape[1] < lab.LEAST_SOURCES:
            raise DataError(
                f"{tape} has {panel.shape[1]} sources of one asset and a certificate takes five; "
                "tell it by five with `seawall data replicate`"
            )
        lab.save_panel(out, "recorded", panel)
    found = {}
    for name in ("simulated", "recorded"):
        stored = lab.load_panel(out, name)
        if stored is not None:
            found[name] = lab.digest_of(stored)
    return msgspec.structs.replace(asked, panels=found)


def _work(asked: "Campaign", out: Path, jobs: "list[Job]", workers: int) -> None:
    from seawall.lab import campaign as lab

    with progress("campaign", "jobs") as report:
        told = report if sys.stderr.isatty() else _lines_of_progress()
        try:
            lab.run(asked, out, jobs, workers, told, lambda words: typer.echo(words, err=True))
        except KeyboardInterrupt:
            typer.echo(f"interrupted; `--resume --out {out}` goes on with it", err=True)
            raise


def _lines_of_progress() -> Callable[[int, int], None]:
    """A line on stderr for each twentieth of the work."""
    told = -1

    def report(done: int, total: int) -> None:
        nonlocal told
        part = 20 * done // max(total, 1)
        if part != told:
            told = part
            typer.echo(f"campaign: {done:,} of {total:,} jobs", err=True)

    return report


def _show(summary: "Summary", out: Path, seconds: float, json: bool) -> None:
    if json:
        import msgspec

        plain = msgspec.to_builtins(summary)
        report = {"report": str(out / "report.html"), "seconds": round(seconds, 3)}
        typer.echo(msgspec.json.encode({**plain, **report}))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(
        ("market", "goal", "best / bound", "shift", "certificate", "tried", "restarts")
    ):
        table.add_column(name, justify="left" if at < 2 else "right")
    for one in summary.searches:
        table.add_row(
            one.market,
            one.goal,
            f"{one.ratio:.3f}",
            f"{one.shift:.4f}",
            f"{one.certificate:.4f}",
            f"{one.evaluations:,}",
            f"{one.restarts}",
        )
    if summary.searches:
        console.print(table)
        typer.echo("")
    for each in summary.ablations:
        typer.echo(
            f"without {each.defence}: {each.ratio:.2f} of the bound ({each.term}), with it "
            f"{each.whole:.2f}"
        )
    if summary.cells:
        typer.echo(
            f"grid: {summary.cells:,} cells, {summary.covered:,} covered by a certificate; largest "
            f"share of it {summary.grid_ratio:.3f}; {summary.false_rejects:,} of "
            f"{summary.judged:,} honest reviews rejected"
        )
    for hit in summary.beaten:
        typer.echo(f"CERTIFICATE BEATEN by {hit.key}: {max(hit.ratio, hit.exposure_ratio):.3f}")
    verdict = "something beats its certificate" if summary.beaten else "nothing beats a certificate"
    typer.echo(f"{verdict}; {out / 'report.html'}, {seconds:,.0f} s")
