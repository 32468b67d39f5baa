"""`seawall parity`: replay a recorded run; is it the same, and if not, why."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seawall.cli import options
from seawall.cli.console import moment, money, progress, settings_of, signed

if TYPE_CHECKING:
    from seawall.core.settings import VenueSettings
    from seawall.node.parity import Difference, Parity
    from seawall.node.parity_model import Modelled

EXAMPLES = """\b
Examples:
  seawall parity seawall-data/simulated
      replay the run; with the exchange's real answers its journal must come out
      the same, with modelled ones the difference is explained
  seawall parity seawall-data/simulated --model slower.toml
      let the model be the [venue] section of that file
  seawall parity seawall-data/live --json
      the same for another program

RUN is the folder of a paper run: its tape, its journal, its exchange's log.
The exit code is 1 where the journal does not come out the same.
"""


def parity(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a paper run.")],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Settings whose [venue] is the model (default: the run's own)."
        ),
    ] = None,
    trust_strategy: Annotated[
        bool,
        typer.Option("--trust-strategy", help="Run the strategy's own file that the run used."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Replay a recorded run: must be identical with the real answers."""
    from seawall.node.parity import Recorded, verify
    from seawall.node.parity_model import compare

    venue = venue_of(model)
    recorded = Recorded(run, trust_strategy)
    with progress("real answers", "rows") as report:
        real = verify(recorded, report)
    with progress("modelled answers", "rows") as report:
        modelled = compare(recorded, venue, report)
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"real": real, "modelled": modelled}))
    else:
        for line in (*real_lines(real), "", *modelled_lines(modelled)):
            typer.echo(line)
    if not real.identical:
        raise typer.Exit(1)


def venue_of(model: Path | None) -> "VenueSettings | None":
    """The model that a file describes; None: the run's own."""
    return None if model is None else settings_of(model, {}).venue


def real_lines(found: "Parity") -> Iterator[str]:
    """The replay with the real answers, in words."""
    if found.identical:
        yield f"identical: {found.rows:,} rows of the journal, hash {found.head}"
    else:
        yield f"not identical: {found.run}"
    for line in found.changed:
        yield f"  {line}"
    if not found.identical and all(life.difference is None for life in found.lives):
        yield "  all rows say the same, in other bytes: another version of Seawall wrote them"
    for life in found.lives:
        name = f"  life {life.number}, run {life.run} from {moment(life.started)}"
        yield f"{name}: {life.rows:,} of {life.of:,} rows, {life.tape_rows:,} rows of the tape"
        if life.difference is not None:
            yield from difference_lines(life.difference)


def difference_lines(found: "Difference") -> Iterator[str]:
    """The first row that differs."""
    yield f"    first difference: journal row {found.row}, {moment(found.ts)}"
    if found.recorded is None or found.replayed is None:
        here = "replay" if found.recorded is None else "record"
        there = "record" if found.recorded is None else "replay"
        yield f"      the {there} has ended; the {here} goes on with"
        yield f"      {_short(found.replayed or found.recorded)}"
        return
    for path, (recorded, replayed) in found.fields.items():
        yield f"      {path}: recorded {_short(recorded)}, replayed {_short(replayed)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def modelled_lines(found: "Modelled") -> Iterator[str]:
    """The replay with modelled answers, in words."""
    unit = found.numeraire
    one, other = found.recorded, found.modelled
    yield f"with modelled answers: {found.equal:,} of {found.matched:,} common orders are equal"
    yield f"  {'':16}{'recorded':>18}{'modelled':>18}"
    rows = [
        ("intents", f"{one.intents:,}", f"{other.intents:,}"),
        ("refused by risk", f"{one.refused:,}", f"{other.refused:,}"),
        ("orders", f"{one.orders:,}", f"{other.orders:,}"),
        ("refused there", f"{one.refused_orders:,}", f"{other.refused_orders:,}"),
        ("fills", f"{one.fills:,}", f"{other.fills:,}"),
        ("traded", money(one.value, unit), money(other.value, unit)),
        ("slippage", _bps(one.slippage), _bps(other.slippage)),
        ("fees", money(one.fees, unit), money(other.fees, unit)),
        ("PnL after fees", signed(one.pnl, unit), signed(other.pnl, unit)),
    ]
    for name, recorded, modelled in rows:
        yield f"  {name:16}{recorded:>18}{modelled:>18}"
    yield f"  the model's PnL less the recorded one: {signed(found.difference, unit)}"
    for cause in found.causes:
        words = f"{cause.orders:,} orders, {cause.meaning}"
        yield f"    {cause.name:14}{signed(cause.pnl, unit):>16}   {words}"
    if found.examples:
        yield "  the costliest differences (recorded, modelled):"
    for each in found.examples[:5]:
        lots = f"{each.lots[0]:,} and {each.lots[1]:,} lots"
        at = " and ".join("-" if p is None else f"{p:,.10g}" for p in each.price)
        yield (
            f"    {moment(each.ts)}  {each.side} {each.instrument}: {lots} at {at}, "
            f"{signed(each.pnl, unit)} ({', '.join(each.causes)})"
        )


def _bps(value: float) -> str:
    return "-" if value != value else f"{value:+.2f} bps"
