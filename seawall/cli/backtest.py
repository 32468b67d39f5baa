"""`seawall backtest`: run a recorded market through the whole node and say what came of it."""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli import options
from seawall.cli import report as tearsheet
from seawall.cli.console import (
    moment,
    money,
    progress,
    settings_of,
    shown_strategies,
    signed,
    strategies_of,
)
from seawall.core.clock import SECOND
from seawall.core.errors import DataError

if TYPE_CHECKING:
    from seawall.core.settings import Settings
    from seawall.node.summary import Summary

LOOK_ROWS = 5000  # of the market are enough to see whether a strategy looks ahead
EXAMPLES = """\b
Examples:
  seawall backtest seawall-data/tape/day
      the recorded market with the settings of seawall.toml
  seawall backtest seawall-data/tape/day --profile conservative --seed 7
      smaller positions, other random draws
  seawall backtest seawall-data/tape/day --journal day.journal --json
      keep every decision, print the result for another program
  seawall backtest seawall-data/tape/day --report day.html
      with a tear sheet to look at, or to mail
  seawall backtest TAPE --strategy moving_average_cross --param fast=10 \\
      --symbol BTCUSDT@binance-usdm --start 2024-01-01 --end 2024-07-01
      another strategy, one market, half a year; what comes before warms it up
  seawall backtest TAPE --strategy "trend share=0.6 fast=8" \\
      --strategy order_flow
      several on one account, each with its part of the capital
  seawall backtest TAPE --schedule twap --horizon-s 120 --journal day.journal
      each change of a position in parts; `seawall report day.journal --tca
      --tape TAPE` says what they cost
  seawall backtest TAPE --strategy my_idea.py
      a strategy of your own; `seawall new strategy my_idea` writes the file

A tape is made by `seawall data import` or by `seawall run`. The same tape,
settings and seed give the same journal, byte for byte.
"""


def backtest(
    tape: Annotated[Path, typer.Argument(metavar="TAPE", help="A recorded tape.")],
    strategy: options.Strategies = None,
    param: options.Parameters = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Instrument to trade; again for more."),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="twap, vwap, almgren_chriss, participation or iceberg (default: at_once).",
        ),
    ] = None,
    horizon_s: Annotated[
        str | None,
        typer.Option(metavar="N", help="Seconds that a parent order takes (default: 300)."),
    ] = None,
    start: Annotated[
        str, typer.Option(metavar="TIME", help="Trade from here on, such as 2024-08-08T12:00.")
    ] = "",
    end: Annotated[str, typer.Option(metavar="TIME", help="Up to here, UTC.")] = "",
    capital: options.Capital = None,
    profile: options.Profile = None,
    seed: options.Seed = None,
    cadence_ms: options.Cadence = None,
    numeraire: Annotated[
        str | None,
        typer.Option(metavar="ASSET", help="What money is shown in (default: from the tape)."),
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the journal to this file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tear sheet to this file, .html.")
    ] = None,
    check_lookahead: Annotated[
        bool,
        typer.Option("--check-lookahead", help="Only try whether the strategy sees the future."),
    ] = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Run a recorded tape through the whole node, as fast as it goes."""
    settings = settings_of(
        config,
        {
            "mode": "backtest",
            "feed.name": "replay",
            "feed.tape": tape,
            "feed.speed": "max",
            "feed.cadence_ms": cadence_ms,
            **strategies_of(strategy, param),
            "decision.instruments": ",".join(symbol) if symbol else None,
            "execution.schedule": schedule,
            "execution.horizon_s": horizon_s,
            "capital": capital,
            "profile": profile,
            "seed": seed,
            "numeraire": numeraire,
        },
    )
    if not tape.exists():
        raise DataError(f"{tape}: there is no such tape; `seawall data import` makes one")
    if check_lookahead:
        look(settings, tape, json)
        return
    from seawall.ingestion.merging import span_of
    from seawall.node import assembly

    span = span_of(start, end, ("--start", "--end"))

    if report is not None:
        tearsheet.check(report)
    with tempfile.TemporaryDirectory(prefix="seawall-") as folder:
        kept = Path(folder) / "journal" if journal is None and report is not None else journal
        with progress("backtest", "rows") as told:
            began = time.perf_counter()
            summary = assembly.backtest(settings, tape, kept, told, *span)
            seconds = time.perf_counter() - began
        if report is not None and kept is not None:
            tearsheet.write(report, kept, tape, settings)
    if json:
        import msgspec

        values = msgspec.to_builtins(summary)
        speed = {"seconds": round(seconds, 3), "rows_per_s": round(summary.rows / seconds)}
        typer.echo(msgspec.json.encode({**values, **speed}))
    else:
        show(summary, seconds)


def look(settings: "Settings", tape: Path, json: bool) -> None:
    """Whether the strategy sees the future: one line, and exit code 1 if it does."""
    import msgspec

    from seawall.core.consensus import narrowed
    from seawall.decision.strategies import exposing, kind_of
    from seawall.lab.research.lookahead import check_lookahead
    from seawall.node.research import perceived_market
    from seawall.node.strategy import features_wanted, made, sleeves_of

    decision = settings.decision
    market = perceived_market(
        settings,
        tape,
        decision.instruments[0] if decision.instruments else "",
        features_wanted(decision),
    )
    several = [(each.named, each.parameters) for each in sleeves_of(decision.strategies)]
    wrong = False
    for named, parameters in several or [(decision.strategy, decision.parameters)]:
        strategy = exposing(named, made(named, parameters, market.cadence))
        rows = narrowed(market.rows[:LOOK_ROWS], kind_of(named).features)
        found = check_lookahead(strategy, rows)
        if json:
            values = {**msgspec.to_builtins(found), "honest": found.honest, "words": found.words}
            typer.echo(msgspec.json.encode(values))
        else:
            typer.echo(found.words)
        wrong = wrong or not found.honest or not found.decided
    if wrong:
        raise typer.Exit(1)


def show(summary: "Summary", seconds: float) -> None:
    """The result as a table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows(summary, seconds):
        table.add_row(name, Text(text))
    Console(file=sys.stdout, highlight=False).print(table)


def rows(summary: "Summary", seconds: float) -> Iterator[tuple[str, str]]:
    """What a quant wants first: (name, value), both as text."""
    unit = summary.numeraire
    gain = summary.equity_end - summary.equity_start
    share = gain / summary.equity_start if summary.equity_start else 0.0
    yield "span", f"{moment(summary.started)} to {moment(summary.ended)}"
    yield "", _length(summary.ended - summary.started)
    speed = f"{summary.rows / seconds:,.0f} rows/s"
    yield "rows", f"{summary.rows:,} in {seconds:.1f} s: {speed}"
    yield "frames", f"{summary.frames:,}"
    yield "trades", f"{summary.fills:,} from {summary.orders:,} orders, {summary.intents:,} intents"
    yield "PnL after fees", f"{signed(gain, unit)} ({share:+.2%})"
    yield "realised", signed(summary.realised, unit)
    yield "fees", money(summary.fees, unit)
    yield "equity", f"{money(summary.equity_start, unit)} to {money(summary.equity_end, unit)}"
    yield "max drawdown", f"{summary.max_drawdown:.2%}"
    yield from shown_strategies(summary)
    yield from _each("positions", [f"{name} {held}" for name, held in summary.positions.items()])
    yield from _each("open orders", summary.open_orders)
    yield from _each(
        "refusals", [f"{count:,} {reason}" for reason, count in summary.refused.items()]
    )
    yield from _each("breakers", summary.breakers)
    yield from _each("gaps and notes", summary.notes)
    yield "journal", f"{summary.journal_rows:,} rows"
    yield "", summary.journal_hash


def _each(name: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """One row per text, the name in front of the first."""
    yield name, texts[0] if texts else "none"
    for text in texts[1:]:
        yield "", text


def _length(ns: int) -> str:
    """A span of time in the two units that tell most."""
    seconds = ns // SECOND
    for unit, size, smaller, part in (
        ("day", 86_400, "hour", 3_600),
        ("hour", 3_600, "minute", 60),
        ("minute", 60, "second", 1),
    ):
        if seconds >= size:
            return f"{_count(seconds // size, unit)} {_count(seconds % size // part, smaller)}"
    return f"{ns / SECOND:.1f} seconds"


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}" + ("" if number == 1 else "s")
