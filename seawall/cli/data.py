"""`seawall data`: bring recorded markets onto a tape, and say how sound a tape is."""

import sys
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli import options
from seawall.cli.console import moment, progress
from seawall.core.clock import SECOND
from seawall.core.errors import DataError, SettingError
from seawall.core.instruments import Kind

if TYPE_CHECKING:
    from rich.table import Table

    from seawall.ingestion.inspection import Inspection
    from seawall.ingestion.tables import Imported
    from seawall.lab.replicate import Original, ReplicaShape

IMPORT_EXAMPLES = """\b
Examples:
  seawall data import recordings/*_20240808_* --to tape/night
      Binance depth snapshots, diffs, trades and best bid/ask, found by
      their names (binance_spot_btcusdt_20240808_depth_diff.parquet)
  seawall data import bars/*.parquet --to tape/bars --venue binance-usdm --kind linear
      bars with the columns ts, open, high, low, close, volume
  seawall data import trades.csv --to tape/trades --symbol BTCUSDT \\
      --columns ts=time,price=px,size=qty,side=taker
      any table; --rows quotes and --rows depth for the other kinds
  seawall data import bitstamp_btcusd_20150501_*.parquet --to tape/orders
      a book order by order, and its trades; `seawall data levels` makes of
      it the book of levels that a node runs on

Fields of --rows trades: ts, price, size (side, id, previous, recv, symbol);
quotes: ts, bid, bid_size, ask, ask_size (id, previous, recv, symbol);
depth: ts, price, size, side (id, previous, snapshot, recv, symbol).
"""
INSPECT_EXAMPLES = """\b
Examples:
  seawall data inspect tape/night
  seawall data inspect tape/night --json
"""

BARS_EXAMPLES = """\b
Examples:
  seawall data bars tape/night --by volume --size 50 --to bars.parquet
      a table: symbol, ts (close), start, open, high, low, close, volume,
      bought, trades, value
  seawall data bars tape/night --by value --size 1000000 --to tape/dollars
      a tape of bars, each an event at its close
  seawall data bars tape/night --by time --size 15m --to tape/quarters
"""
LEVELS_EXAMPLES = """\b
Examples:
  seawall data levels tape/orders --to tape/levels
  seawall backtest --tape tape/levels
"""
MERGE_EXAMPLES = """\b
Examples:
  seawall data import a.parquet --to tape/a --venue kraken --symbol BTCUSD
  seawall data import b.parquet --to tape/b --venue coinbase --symbol BTCUSD
  seawall data merge tape/a tape/b --to tape/both
      two venues that price one asset, in one consensus group
  seawall data merge tape/a tape/b --to tape/week --from 2023-03-06 --until 2023-03-13
"""
REPLICATE_EXAMPLES = """\b
Examples:
  seawall data replicate tape/night --sources 5 --out tape/night-x5
      five sources that differ as much as recorded venues do
  seawall data replicate tape/night --out tape/close --tau 0.1 --latency-ms 2,20 --thin 0
"""

app = typer.Typer(
    help="Import recorded markets, inspect tapes.", no_args_is_help=True, rich_markup_mode=None
)


class Format(StrEnum):
    """How the sources are laid out."""

    AUTO = "auto"
    BINANCE = "binance"
    BARS = "bars"
    ORDERS = "orders"
    TABLE = "table"


class By(StrEnum):
    """What a bar is measured by."""

    TRADES = "trades"
    VOLUME = "volume"
    VALUE = "value"
    TIME = "time"


class Rows(StrEnum):
    """What the rows of a table are."""

    TRADES = "trades"
    QUOTES = "quotes"
    DEPTH = "depth"


@app.command(name="import", epilog=IMPORT_EXAMPLES)
def import_(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Files, or folders of files.")
    ],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="The tape to make.")],
    layout: Annotated[
        Format, typer.Option("--format", help="How the sources are laid out.")
    ] = Format.AUTO,
    rows: Annotated[Rows, typer.Option(help="What the rows of a table are.")] = Rows.TRADES,
    columns: Annotated[
        str, typer.Option(metavar="FIELD=COLUMN,...", help="Columns that have names of their own.")
    ] = "",
    symbol: Annotated[
        str, typer.Option(metavar="NAME,...", help="Which symbols, or the name of the only one.")
    ] = "",
    venue: Annotated[
        str, typer.Option(metavar="NAME", help="The exchange (default: as told, or recorded).")
    ] = "",
    kind: Annotated[
        Kind | None, typer.Option(help="How the instruments pay (default: as told, or spot).")
    ] = None,
    quote: Annotated[
        str, typer.Option(metavar="ASSET", help="The quote asset (default: from the symbol).")
    ] = "",
    multiplier: Annotated[
        str, typer.Option(metavar="N", help="Size of a contract (quote units if inverse).")
    ] = "1",
    time_unit: Annotated[
        str, typer.Option(metavar="UNIT", help="auto, s, ms, us, ns or iso.")
    ] = "auto",
    tick: Annotated[
        str,
        typer.Option(
            metavar="STEP", help="Round prices of bars or orders to this (default: exact)."
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a tape at FOLDER.")] = False,
    json: options.Json = False,
) -> None:
    """Turn recorded market data into a tape: exact, checked, written whole or not at all."""
    from seawall.ingestion import bars, binance, mapping, orders, tables
    from seawall.ingestion.tape import check_target, write_tape

    began = time.perf_counter()
    check_target(to, force)
    symbols = [s for s in (part.strip() for part in symbol.split(",")) if s]
    named = mapping.parse_columns(columns)
    with progress("import", "steps") as report:
        report(0, 2)
        chosen = layout if layout is not Format.AUTO else _told(sources, named)
        if tick and chosen not in (Format.BARS, Format.ORDERS):
            raise SettingError(
                "--tick is for bars and orders; trades, quotes and levels are kept exactly"
            )
        if chosen is Format.BINANCE:
            read = binance.read_sets(sources, venue=venue, symbol=symbol, kind=kind)
        elif chosen is Format.ORDERS:
            files = tables.expanded(sources)
            read = orders.read_orders(files, venue=venue, symbol=symbol, kind=kind, tick=tick)
        else:
            read_files = partial(bars.read_bars, tick=tick)
            if chosen is Format.TABLE:
                read_files = partial(mapping.read_tables, rows=rows.value)
            read = read_files(
                tables.expanded(sources),
                columns=named,
                venue=venue or "recorded",
                kind=kind or Kind.SPOT,
                quote=quote,
                multiplier=multiplier,
                symbols=symbols,
                unit=time_unit,
            )
        report(1, 2)
        write_tape(to, read.catalog, read.rows, force=force)
        report(2, 2)
    _show_import(read, to, time.perf_counter() - began, json)


def _told(sources: Sequence[Path], named: dict[str, str]) -> Format:
    """The layout, by the names of the files or else by their columns."""
    from seawall.ingestion import binance, orders, tables

    files = tables.expanded(sources)
    if any(binance.set_of(path) for path in files):
        return Format.BINANCE
    if not files:
        raise DataError(
            f"{', '.join(map(str, sources))}: no table in this folder; give Parquet, feather or CSV"
        )
    if any(orders.is_orders(tables.read_frame(path).columns) for path in files[:2]):
        return Format.ORDERS
    names = {*tables.read_frame(files[0]).columns, *named}
    return Format.BARS if {"open", "high", "low", "close"} <= names else Format.TABLE


def _show_import(read: "Imported", to: Path, seconds: float, json: bool) -> None:
    """What was imported, on stdout."""
    import msgspec
    import numpy as np

    counts = np.bincount(read.rows["instrument"], minlength=len(read.catalog.instruments))
    if json:
        result = {
            "tape": str(to),
            "rows": len(read.rows),
            "instruments": [
                {"name": one.name, "tick": one.tick, "lot": one.lot, "rows": int(count)}
                for one, count in zip(read.catalog.instruments, counts, strict=True)
            ],
            "notes": read.notes,
            "seconds": round(seconds, 3),
        }
        typer.echo(msgspec.json.encode(result))
        return
    table = _table("instrument", "kind", "tick", "lot", "rows")
    for one, count in zip(read.catalog.instruments, counts, strict=True):
        table.add_row(one.name, one.kind.value, one.tick, one.lot, f"{count:,}")
    _print(table, read.notes)
    typer.echo(f"{len(read.rows):,} rows in {seconds:.1f} s, on the tape {to}")


@app.command(name="bars", epilog=BARS_EXAMPLES)
def bars_(
    tape: Annotated[Path, typer.Argument(metavar="TAPE", help="A tape with trades.")],
    to: Annotated[
        Path, typer.Option(metavar="FILE|FOLDER", help="A table (.parquet, .csv), or a tape.")
    ],
    size: Annotated[str, typer.Option(metavar="N", help="What a bar holds, or how long it is.")],
    by: Annotated[By, typer.Option(help="What a bar is measured by.")] = By.TIME,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Make bars of a tape's trades: by count, volume, value (dollars) or time."""
    import numpy as np

    from seawall.ingestion.tape import check_target, open_tape, write_tape
    from seawall.market.bars import Bars

    as_table = to.suffix in (".parquet", ".csv")
    if as_table and to.exists() and not force:
        raise DataError(f"{to}: is there already; give --force to replace it")
    if not as_table:
        check_target(to, force)
    opened = open_tape(tape)
    made = Bars(opened.catalog, by.value, size)
    parts, done = [], 0
    with progress("bars", "rows") as report:
        for block in opened.blocks():
            parts.append(made.observe(block))
            done += len(block)
            report(done, opened.rows)
    found = np.concatenate(parts) if parts else made.state.bars[:0]
    if len(found) == 0:
        raise DataError(f"{tape}: not one bar is full; give a smaller --size")
    if not as_table:
        write_tape(to, made.told, made.rows_of(found), force=force)
    elif to.suffix == ".csv":
        made.table(found).write_csv(to)
    else:
        made.table(found).write_parquet(to)
    typer.echo(f"{len(found):,} bars of {done:,} rows, in {to}")


@app.command(epilog=LEVELS_EXAMPLES)
def levels(
    tape: Annotated[Path, typer.Argument(metavar="TAPE", help="A tape with orders.")],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="The tape to make.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a tape at FOLDER.")] = False,
) -> None:
    """Make books of levels of books that are told order by order."""
    from seawall.ingestion import orders
    from seawall.ingestion.tape import check_target, open_tape, write_blocks

    check_target(to, force)
    opened = open_tape(tape)
    made = orders.Levels(opened.catalog)
    with progress("levels", "rows") as report:
        told = made.blocks(opened.blocks(), lambda done: report(done, opened.rows))
        rows = write_blocks(to, opened.catalog, told, force=force)
    if not made.counts:
        typer.echo("- no book of this tape is told order by order; it was copied as it is")
    typer.echo(f"{rows:,} rows of {opened.rows:,}, on the tape {to}")


@app.command(epilog=MERGE_EXAMPLES)
def merge(
    tapes: Annotated[list[Path], typer.Argument(metavar="TAPE...", help="Recorded tapes.")],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="The tape to make.")],
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Leave out what comes before (UTC).")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="Leave out what comes from then on.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a tape at FOLDER.")] = False,
    json: options.Json = False,
) -> None:
    """Put the sources of several tapes onto one, so that they are held against each other."""
    from seawall.ingestion import merging, tables
    from seawall.ingestion.tape import check_target, open_tape, write_tape

    began = time.perf_counter()
    check_target(to, force)
    span = merging.span_of(start, until)
    parts = []
    with progress("merge", "tapes") as report:
        for done, folder in enumerate(tapes):
            report(done, len(tapes) + 1)
            tape = open_tape(folder)
            parts.append(tables.Imported(tape.catalog, tape.read()))
        whole = merging.merged(parts, [str(folder) for folder in tapes])
        whole = merging.between(whole, *span, ", ".join(str(folder) for folder in tapes))
        report(len(tapes), len(tapes) + 1)
        write_tape(to, whole.catalog, whole.rows, force=force)
        report(len(tapes) + 1, len(tapes) + 1)
    _show_import(whole, to, time.perf_counter() - began, json)


@app.command(epilog=REPLICATE_EXAMPLES)
def replicate(
    tape: Annotated[Path, typer.Argument(metavar="TAPE", help="A recorded tape.")],
    to: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The tape to make.")],
    sources: Annotated[int, typer.Option(metavar="N", help="How many sources tell it.")] = 5,
    seed: Annotated[int, typer.Option(metavar="N", help="Of all random draws.")] = 0,
    tau: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="A source's own noise, as a fraction of the market's moves (default: fitted).",
        ),
    ] = None,
    latency_ms: Annotated[
        str,
        typer.Option(metavar="FIRST,LAST", help="Median delays of the first and last source."),
    ] = "5,60",
    thin: Annotated[
        float | None,
        typer.Option(metavar="X", help="Chance to skip a message (default: fitted)."),
    ] = None,
    instrument: Annotated[
        str, typer.Option(metavar="NAME,...", help="Which instruments (default: all).")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a tape at FOLDER.")] = False,
    json: options.Json = False,
) -> None:
    """Tell a recorded market again by several sources, each with delays, gaps and noise."""
    from seawall.ingestion.tape import check_target, open_tape, write_blocks
    from seawall.lab import replicate as lab

    began = time.perf_counter()
    given = {"tau": tau, "thin": thin}
    shape = lab.ReplicaShape(
        sources=sources,
        latency_ms=lab.parse_latencies(latency_ms),
        **{name: value for name, value in given.items() if value is not None},
    ).check()
    check_target(to, force)
    opened = open_tape(tape)
    names = [name for name in (part.strip() for part in instrument.split(",")) if name]
    with progress("replicate", "rows") as report:
        originals = lab.survey(opened.catalog, opened.blocks(lab.BLOCK_ROWS), names)
        replication = lab.Replication(opened.catalog, originals, shape, seed)
        told = lab.replicated(
            opened.blocks(lab.BLOCK_ROWS), replication, lambda done: report(done, opened.rows)
        )
        rows = write_blocks(to, replication.catalog, told, force=force)
    _show_replicas(originals, shape, rows, to, time.perf_counter() - began, json)


def _show_replicas(
    originals: "Sequence[Original]",
    shape: "ReplicaShape",
    rows: int,
    to: Path,
    seconds: float,
    json: bool,
) -> None:
    """What was told again, on stdout."""
    if json:
        import msgspec

        result = {
            "tape": str(to),
            "rows": rows,
            "shape": shape,
            "instruments": [
                {"name": one.name, "frame_ns": one.frame, "return_scale": one.scale}
                for one in originals
            ],
            "seconds": round(seconds, 3),
        }
        typer.echo(msgspec.json.encode(result))
        return
    table = _table("instrument", "frame", "moves by", "noise of a source")
    for one in originals:
        frame = f"{one.frame / SECOND:g} s"
        noise = f"{one.scale * shape.tau * 1e4:.3f} bps"
        table.add_row(one.name, frame, f"{one.scale * 1e4:.3f} bps", noise)
    _print(table, ())
    typer.echo(f"{rows:,} rows of {shape.sources} sources in {seconds:.1f} s, on the tape {to}")


@app.command(epilog=INSPECT_EXAMPLES)
def inspect(
    tape: Annotated[Path, typer.Argument(metavar="FOLDER", help="A tape.")],
    json: options.Json = False,
) -> None:
    """Say what is on a tape and how sound it is."""
    from seawall.ingestion import inspection
    from seawall.ingestion.tape import open_tape

    opened = open_tape(tape)
    with progress("inspect", "rows") as report:
        result = inspection.inspect(opened, lambda done: report(done, opened.rows))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(result))
    else:
        _show_inspection(result)


def _show_inspection(result: "Inspection") -> None:
    """The inspection as tables on stdout."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in result.rows_by_kind.items())
    typer.echo(f"{result.tape}: {result.rows:,} rows ({kinds or 'none'})")
    typer.echo(f"{moment(result.first)} to {moment(result.last)}, {_rate(result.rate)} rows/s")
    sources = _table("source", "rows", "rows/s", "gaps", "clock skew", "least")
    for one in result.sources:
        sources.add_row(
            one.name,
            f"{one.rows:,}",
            _rate(one.rate),
            f"{one.gap_count:,}",
            *(
                "-" if skew is None else f"{skew:,.1f} ms"
                for skew in (one.skew_median_ms, one.skew_least_ms)
            ),
        )
    books = _table("instrument", "rows", "breaks", "repeats", "crossed", "top is venue's")
    for book in result.books:
        told = "" if book.instrument.endswith(f"@{book.source}") else f" by {book.source}"
        agreed = f"{book.coincidences - book.mismatches:,} of {book.coincidences:,}"
        books.add_row(
            book.instrument + told,
            f"{book.rows:,}",
            f"{book.sequence_breaks:,}",
            f"{book.duplicates:,}",
            f"{book.crossed:,}",
            agreed if book.coincidences else "-",
        )
    _print(sources, ())
    _print(books, _findings(result))


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _findings(result: "Inspection") -> Iterator[str]:
    yield from result.findings
    if result.coincidences:
        yield (
            f"the top of the book equals the venue's own best bid/ask in "
            f"{result.coincidences - result.mismatches:,} of {result.coincidences:,} "
            "coincidences of update id"
        )


def _table(*columns: str) -> "Table":
    """A plain table whose first column is text and whose others are figures."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(columns):
        left = at == 0 or name == "kind"
        table.add_column(name, justify="left" if left else "right", no_wrap=at == 0)
    return table


def _print(table: "Table", lines: Sequence[str] | Iterator[str]) -> None:
    from rich.console import Console

    Console(file=sys.stdout, highlight=False).print(table)
    for line in lines:
        typer.echo(f"- {line}")
