"""`seawall calibrate`: golden sets that a market is measured against, and an exchange's terms."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seawall.cli import options
from seawall.cli.console import moment, progress, secrets_of, settings_of
from seawall.core.errors import DataError, StoreError

if TYPE_CHECKING:
    from seawall.lab.venue_fit import VenueFit

EXAMPLES = """\b
Examples:
  seawall calibrate reference seawall-data/simulated/tape-0123abcd \\
      --out seawall-data/simulated/reference.golden
      the usual place: the next `seawall run` on this feed finds it there
  seawall calibrate reference tape/night --group BTC --until 2024-08-08T06:00
      only a part that you vouch for

You vouch for the tape: whatever is on it counts as normal from then on. The
file is signed with the key in the data folder (keys/golden-set-signing-key);
one that was altered or signed elsewhere is refused.
"""
VENUE_EXAMPLES = """\b
Examples:
  seawall calibrate venue seawall-data/live --out terms.toml
      what the exchange of that run took in fees and time, and how its queue
      moved, as far as the run's own fills tell
  seawall backtest TAPE --config terms.toml
      a backtest on these terms; or copy the section into seawall.toml

Only fills tell anything: what none of them shows keeps its default. The more
orders rested, the more is known of the queue.
"""
MICRO_EXAMPLES = """\b
Examples:
  seawall calibrate micro-price tape/yesterday --out micro.toml
  seawall backtest tape/today --strategy my_idea.py --config micro.toml
      for a strategy that wants micro_price or micro_price_deviation

The fit is a part of the settings: it stands in the journal of every run that
uses it, and is never made anew without being asked for.
"""
SLIPPAGE_EXAMPLES = """\b
Examples:
  seawall calibrate slippage seawall-data/live --tape TAPE --out slippage.json
      what that run's own orders cost beyond the spread, by size and
      volatility
  seawall backtest TAPE --config with-model.toml
      where [execution] slippage_model = "slippage.json": prices are bounded
      by the model, and a fill far above it opens slippage_anomaly

It needs 30 orders that filled at once.
"""
BLOCK = 1 << 16  # rows at a time

app = typer.Typer(
    help="Make golden sets, and learn an exchange's terms.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def calibrate() -> None:
    """Make golden sets, and learn an exchange's terms."""


@app.command(epilog=VENUE_EXAMPLES)
def venue(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a paper run.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the terms to this file, as TOML.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Fit fees, latencies and the queue model of a run's exchange from its own fills."""
    from seawall.lab import venue_fit

    with progress("calibrate", "rows") as report:
        found = venue_fit.fit(venue_fit.read_run(run), report)
    text = venue_fit.toml(found)
    if out is not None:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"cannot write {out}: {(error.strerror or str(error)).lower()}; choose a writable "
                "place"
            ) from None
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(found))
        return
    _show_venue(found)
    typer.echo(f"\n{text.rstrip()}" if out is None else f"written: {out}")


@app.command(name="micro-price", epilog=MICRO_EXAMPLES)
def micro_price(
    tape: Annotated[Path, typer.Argument(metavar="TAPE", help="A tape from before its use.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write the fit to this file, as TOML.")],
    cadence_ms: options.Cadence = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Data folder (default: seawall-data).")
    ] = None,
) -> None:
    """Fit the micro-price of a tape's books (Stoikov 2018), for the features of strategies."""
    from seawall.ingestion.tape import open_tape
    from seawall.market.features.micro_price import fit_micro_price, written
    from seawall.node.research import frames_of

    settings = settings_of(
        None, {"mode": "backtest", "feed.cadence_ms": cadence_ms, "data_dir": data_dir}
    )
    opened = open_tape(tape)
    with progress("calibrate", "rows") as report:
        fits = fit_micro_price(frames_of(settings, tape, report))
    if not fits:
        raise DataError(f"{tape}: no mid moved often enough to fit anything; record more of it")
    lines = [f'    "{text}",' for text in written(fits, opened.catalog)]
    text = "\n".join(["[decision]", "micro_prices = [", *lines, "]"]) + "\n"
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"cannot write {out}: {(error.strerror or str(error)).lower()}; choose a writable place"
        ) from None
    typer.echo(f"fitted {len(fits)} of {len(opened.catalog.books)} books; written: {out}")


@app.command(epilog=SLIPPAGE_EXAMPLES)
def slippage(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a paper run, or a journal.")
    ],
    tape: Annotated[Path, typer.Option(metavar="TAPE", help="The tape of the run.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write the model to this file.")],
    json: options.Json = False,
) -> None:
    """Fit the slippage model to a run's own fills."""
    from seawall.execution.slippage import Footprint
    from seawall.node import tearsheet
    from seawall.node.inputs import settings_in
    from seawall.node.slippage import save
    from seawall.node.slippage_fit import fitted

    journal = run / "journal.sqlite" if run.is_dir() else run
    settings = settings_in(tearsheet.read(journal).started[0], run.parent)
    with progress("calibrate", "rows") as report:
        model, orders = fitted(journal, tape, settings, report)
    save(model, out)
    typical = Footprint(0.1, 0.0, 10.0, 0.1)
    low, high = model.interval(typical, 0.9)
    if json:
        import msgspec

        values = {"orders": orders, "coefficient": model.coefficient, "power": model.power}
        typer.echo(msgspec.json.encode({**values, "file": str(out)}))
        return
    typer.echo(
        f"cost beyond the spread = {model.coefficient:.3g} x volatility of a minute x share of its "
        f"volume ^ {model.power:g}, from {orders:,} orders"
    )
    typer.echo(
        f"a tenth of a minute's volume at 10 bps a minute: {model.expected(typical):.2f} bps, 90 % "
        f"within {low:.2f} to {high:.2f}"
    )
    typer.echo(f"written: {out}")


def _show_venue(found: "VenueFit") -> None:
    """What was found, and how well it is known."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("what", "found", "from"):
        table.add_column(name, overflow="fold")
    fees, latency = found.fees, found.latency
    for tier in fees.tiers:
        name = "fees" if not tier.volume else f"fees from {tier.volume:,} on"
        rates = [("maker", tier.maker_fee_ppm), ("taker", tier.taker_fee_ppm)]
        said = ", ".join(f"{who} {'unknown' if r is None else f'{r} ppm'}" for who, r in rates)
        table.add_row(name, said, f"{fees.fills:,} fills")
    if fees.left_out:
        table.add_row("", f"{fees.left_out:,} fills left out", "paid in another asset")
    if latency is not None:
        low, middle, high = latency.entry
        samples = f"{latency.samples:,} orders that took" if latency.samples else "the response"
        spread = f"{middle:.3f} ms (90 % within {low:.3f} to {high:.3f})"
        more = " and the feed's delay" if latency.source == "feed" else ""
        table.add_row("entry latency", spread + more, samples)
        first, last = latency.response
        agree = f"{latency.told:,} of {latency.heard:,} fills agree"
        table.add_row("response latency", f"between {first:.3f} and {last:.3f} ms", agree)
    for fit in found.queue:
        name = fit.model if fit.model == "risk_averse" else f"{fit.model} {fit.power}"
        error = f"{fit.error:.2%} of an order differs, {fit.later_ms:.1f} ms apart"
        table.add_row(f"queue: {name}", error, f"{fit.orders:,} passive orders")
    if not found.queue:
        table.add_row("queue", "unknown", "no passive order was filled")
    Console(file=sys.stdout, highlight=False).print(table)


@app.command(epilog=EXAMPLES)
def reference(
    tape: Annotated[Path, typer.Argument(metavar="TAPE", help="A recorded tape.")],
    group: Annotated[
        str, typer.Option(metavar="NAME,...", help="Which consensus groups (default: all).")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write it (default: TAPE/../reference.golden)."),
    ] = None,
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Leave out what comes before (UTC).")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="Leave out what comes from then on.")
    ] = "",
    cadence_ms: options.Cadence = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Whose key signs it (default: seawall-data)."),
    ] = None,
    seed: options.Seed = None,
    config: options.Config = None,
    json: options.Json = False,
) -> None:
    """Fit the trusted reference of each group on a recorded tape, and sign it."""
    settings = settings_of(
        config,
        {
            "mode": "backtest",
            "feed.cadence_ms": cadence_ms,
            "data_dir": data_dir,
            "seed": seed,
        },
    )
    if not tape.exists():
        raise DataError(f"{tape}: there is no such tape; `seawall data import` makes one")
    from seawall.gating import golden
    from seawall.ingestion.merging import span_of
    from seawall.ingestion.tape import open_tape
    from seawall.node.assembly import shape_of
    from seawall.node.calibration import FILE, calibrated
    from seawall.storage.secrets import ensure_signing_key

    span = span_of(start, until)
    wanted = [name for name in (part.strip() for part in group.split(",")) if name]
    key = ensure_signing_key(secrets_of(settings))
    target = out or tape.absolute().parent / FILE
    with progress("calibrate", "rows") as report:
        shape = shape_of(settings)
        made, lacking = calibrated(settings, shape, open_tape(tape), span, wanted, BLOCK, report)
    golden.save(target, made, key)
    _show(made, lacking, target, json)


def _show(made: Any, lacking: dict[str, str], target: Path, json: bool) -> None:
    """What was made, on stdout."""
    from seawall.gating.reference import describe

    described = [describe(reference) for reference in made.references]
    if json:
        import msgspec

        result = {
            "file": str(target),
            "made": made.made,
            "cadence_ns": made.cadence_ns,
            "references": described,
            "skipped": lacking,
        }
        typer.echo(msgspec.json.encode(result))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("group", "reference", "rows", "sources", "features"):
        table.add_column(name, no_wrap=name in ("group", "reference"))
    for one in described:
        sources, features = ", ".join(one["sources"]), ", ".join(one["features"])
        table.add_row(one["group"], one["name"], f"{one['rows']:,}", sources, features)
    Console(file=sys.stdout, highlight=False).print(table)
    for name, why in lacking.items():
        typer.echo(f"- left out: {name}: {why}")
    typer.echo(f"signed, up to {moment(made.made)}: {target}")
