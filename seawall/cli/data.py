"""`seawall data`: bring recorded markets onto a tape, and say how sound a tape is."""

import sys
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli.console import moment, progress
from seawall.core.errors import DataError
from seawall.core.instruments import Kind

if TYPE_CHECKING:
    from rich.table import Table

    from seawall.ingestion.inspection import Inspection
    from seawall.ingestion.tables import Imported

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

Fields of --rows trades: ts, price, size (side, id, previous, recv, symbol);
quotes: ts, bid, bid_size, ask, ask_size (id, previous, recv, symbol);
depth: ts, price, size, side (id, previous, snapshot, recv, symbol).
"""
INSPECT_EXAMPLES = """\b
Examples:
  seawall data inspect tape/night
  seawall data inspect tape/night --json
"""

app = typer.Typer(
    help="Import recorded markets, inspect tapes.", no_args_is_help=True, rich_markup_mode=None
)


class Format(StrEnum):
    """How the sources are laid out."""

    AUTO = "auto"
    BINANCE = "binance"
    BARS = "bars"
    TABLE = "table"


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
    force: Annotated[bool, typer.Option("--force", help="Replace a tape at FOLDER.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Turn recorded market data into a tape: exact, checked, written whole or not at all."""
    from seawall.ingestion import bars, binance, mapping, tables
    from seawall.ingestion.tape import check_target, write_tape

    began = time.perf_counter()
    check_target(to, force)
    symbols = [s for s in (part.strip() for part in symbol.split(",")) if s]
    named = mapping.parse_columns(columns)
    with progress("import", "steps") as report:
        report(0, 2)
        chosen = layout if layout is not Format.AUTO else _told(sources, named)
        if chosen is Format.BINANCE:
            read = binance.read_sets(sources, venue=venue, symbol=symbol, kind=kind)
        else:
            read_files = bars.read_bars
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
    """The layout, by the names of the files or else by the columns of the first."""
    from seawall.ingestion import binance, tables

    files = tables.expanded(sources)
    if any(binance.set_of(path) for path in files):
        return Format.BINANCE
    if not files:
        raise DataError(
            f"{', '.join(map(str, sources))}: no table in this folder; give Parquet, feather or CSV"
        )
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


@app.command(epilog=INSPECT_EXAMPLES)
def inspect(
    tape: Annotated[Path, typer.Argument(metavar="FOLDER", help="A tape.")],
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
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
