"""`seawall attack`: forge part of a market, and measure what it does to the node."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli import campaign, options
from seawall.cli.console import progress, settings_of
from seawall.core.errors import DataError, SettingError

if TYPE_CHECKING:
    from rich.table import Table

    from seawall.core.events import Raw
    from seawall.core.instruments import Catalog
    from seawall.core.settings import Settings
    from seawall.lab.attacks import Attack
    from seawall.lab.impact import GroupImpact, Impact
    from seawall.lab.pairs import Interval, Outcome
    from seawall.lab.trading import TradingImpact

SIMULATE_EXAMPLES = """\b
Examples:
  seawall attack simulate --type wash_trading --intensity 0.05 --duration 24h
      a day of a simulated market of five sources, one of them hostile:
      what came of the attack (nothing is stored)
  seawall attack simulate --type data_poisoning --samples 1000 --offset 2.0
  seawall attack simulate tape/night --type spoofing --start 30m --out tape/spoofed
      a tape under attack, to be inspected and backtested
  seawall attack simulate tape/night --type mean_shift --sources kraken,okx \\
      --set share=0.2 --out tape/shifted

Types:
  mean_shift, data_poisoning, slow_drift (boiling_frog), colluding_sources,
  wash_trading, spoofing, layering, stale_feed, frozen_feed, replayed_feed,
  time_skew, outlier_burst, label_flipping, silence, quote_noise, random
A type that does not know a parameter of --set names those that it knows.
"""
IMPACT_EXAMPLES = """\b
Examples:
  seawall attack measure-impact --type mean_shift --offset 5
      six hours of a simulated market of five sources
  seawall attack measure-impact tape/night --type wash_trading --intensity 0.05
  seawall attack measure-impact tape/night --type random --no-trading --json

Exit code 0: every difference lies within its certificate; 1: one does not.
"""
HOUR = 3600.0
LASTS, TRADING_LASTS = HOUR, 6 * HOUR  # an hour has too few round trips for figures of trading

app = typer.Typer(
    help="Attack a market, and measure what it does.", no_args_is_help=True, rich_markup_mode=None
)

app.command(epilog=campaign.EXAMPLES)(campaign.campaign)

TapeArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[TAPE]", help="A recorded tape (default: a simulated market)."),
]
TypeOption = Annotated[str, typer.Option("--type", metavar="NAME", help="What the attacker does.")]
SourcesOption = Annotated[
    str,
    typer.Option(metavar="NAME,...", help="The attacker's own sources (default: the last)."),
]
StartOption = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="Into the market, such as 5m (default: when its reference is taken)."
    ),
]
DurationOption = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Such as 24h (default: to the end; simulated: 6h, without trading 1h).",
    ),
]
IntensityOption = Annotated[
    float | None, typer.Option(metavar="X", help="How strong: see the type.")
]
OffsetOption = Annotated[
    float | None, typer.Option(metavar="X", help="By how much, in sigma of a frame's return.")
]
SamplesOption = Annotated[int | None, typer.Option(metavar="N", help="Frames that are poisoned.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other parameter of the type."),
]
NoTradingOption = Annotated[
    bool, typer.Option("--no-trading", help="Compare the estimates alone; faster.")
]


@app.command(epilog=SIMULATE_EXAMPLES)
def simulate(
    tape: TapeArgument = None,
    kind: TypeOption = "",
    sources: SourcesOption = "",
    start: StartOption = "",
    duration: DurationOption = "",
    intensity: IntensityOption = None,
    offset: OffsetOption = None,
    samples: SamplesOption = None,
    parameters: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the attacked tape here; measure nothing."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a tape at FOLDER.")] = False,
    seed: options.Seed = None,
    cadence_ms: options.Cadence = None,
    no_trading: NoTradingOption = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Attack a market: write it as a tape (--out), or say what came of the attack."""
    words = _words(sources, start, duration, intensity, offset, samples, parameters)
    settings = _settings(config, seed, cadence_ms)
    if out is None:
        _measure(settings, tape, kind, words, no_trading, json)
        return
    from seawall.ingestion.tape import check_target, write_blocks
    from seawall.lab.attacks import attacked

    check_target(out, force)
    began = time.perf_counter()
    with progress("attack", "rows" if tape else "seconds") as report:
        catalog, blocks, attack = _market(settings, tape, kind, words, report)
        rows = write_blocks(out, catalog, attacked(blocks, attack), force=force)
    seconds = time.perf_counter() - began
    if json:
        import msgspec

        result = {"tape": str(out), "attack": attack.describe(), "rows": rows}
        typer.echo(msgspec.json.encode({**result, "seconds": round(seconds, 3)}))
        return
    typer.echo(attack.describe())
    typer.echo(f"{rows:,} rows in {seconds:.1f} s, on the tape {out}")


@app.command(name="measure-impact", epilog=IMPACT_EXAMPLES)
def measure_impact(
    tape: TapeArgument = None,
    kind: TypeOption = "",
    sources: SourcesOption = "",
    start: StartOption = "",
    duration: DurationOption = "",
    intensity: IntensityOption = None,
    offset: OffsetOption = None,
    samples: SamplesOption = None,
    parameters: SetOption = None,
    seed: options.Seed = None,
    cadence_ms: options.Cadence = None,
    no_trading: NoTradingOption = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Run a market twice, with and without an attack, and compare."""
    words = _words(sources, start, duration, intensity, offset, samples, parameters)
    settings = _settings(config, seed, cadence_ms)
    _measure(settings, tape, kind, words, no_trading, json)


# --- what is asked for ---


def _words(
    sources: str,
    start: str,
    duration: str,
    intensity: float | None,
    offset: float | None,
    samples: int | None,
    parameters: Sequence[str] | None,
) -> dict[str, str]:
    """The attack's parameters as words; what was not given is left out."""
    given = {
        "sources": sources,
        "after": start,
        "duration": duration,
        "intensity": "" if intensity is None else f"{intensity!r}",
        "offset": "" if offset is None else f"{offset!r}",
        "samples": "" if samples is None else f"{samples}",
    }
    words = {name: text for name, text in given.items() if text}
    for pair in parameters or ():
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise SettingError(f"--set {pair!r} is not KEY=VALUE")
        words[name.strip()] = text
    return words


def _settings(config: Path | None, seed: str | None, cadence_ms: str | None) -> "Settings":
    flags = {"mode": "backtest", "seed": seed, "feed.cadence_ms": cadence_ms}
    return settings_of(config, flags)


def _seconds(name: str, text: str) -> float:
    from seawall.lab.attacks.parameters import seconds_of

    try:
        return seconds_of(text)
    except ValueError as error:
        raise SettingError(f"--{name}: {error}") from None


def _market(
    settings: "Settings",
    tape: Path | None,
    kind: str,
    words: dict[str, str],
    report: Callable[[int, int], None],
    usually: float = LASTS,
) -> tuple["Catalog", Iterable["Raw"], "Attack"]:
    """The market that is asked for, its rows, and the attack on it.

    Args:
        usually: seconds of a simulated market where no duration is given.
    """
    from seawall.core.clock import MILLISECOND
    from seawall.lab.attacks import attack_of
    from seawall.node import impact

    if not kind:
        raise SettingError("which attack? give --type NAME, such as --type wash_trading")
    cadence = settings.feed.cadence_ms * MILLISECOND
    lasts = _seconds("duration", words["duration"]) if "duration" in words else 0.0
    if tape is None:
        catalog = impact.simulated_catalog()
        usual = impact.reference_seconds(catalog, cadence)
        begins = _seconds("start", words["after"]) if "after" in words else usual
        attack = attack_of(kind, catalog, {**words, "after": f"{begins}"}, settings.seed)
        blocks = impact.simulated_market(settings.seed, begins + (lasts or usually), report)
        return catalog, blocks, attack
    from seawall.ingestion.tape import open_tape

    if not tape.exists():
        raise DataError(f"{tape}: there is no such tape; `seawall data import` makes one")
    opened = open_tape(tape)
    if not opened.rows:
        raise DataError(f"{tape}: the tape is empty; import data into it")
    if "after" in words:
        _seconds("start", words["after"])
    usual = impact.reference_seconds(opened.catalog, cadence)
    attack = attack_of(kind, opened.catalog, {"after": f"{usual}", **words}, settings.seed)
    return opened.catalog, _read(opened.blocks(), opened.rows, report), attack


def _read(
    blocks: Iterable["Raw"], total: int, report: Callable[[int, int], None]
) -> Iterator["Raw"]:
    done = 0
    for block in blocks:
        done += len(block)
        report(done, total)
        yield block


# --- what comes of it ---


def _measure(
    settings: "Settings",
    tape: Path | None,
    kind: str,
    words: dict[str, str],
    no_trading: bool,
    json: bool,
) -> None:
    from seawall.node import impact

    began = time.perf_counter()
    with progress("attack", "rows" if tape else "seconds") as report:
        usually = LASTS if no_trading else TRADING_LASTS
        catalog, blocks, attack = _market(settings, tape, kind, words, report, usually)
        found = impact.measure(settings, catalog, blocks, attack, trading=not no_trading)
    seconds = time.perf_counter() - began
    if json:
        import msgspec

        result = {**msgspec.to_builtins(found), "seconds": round(seconds, 3)}
        typer.echo(msgspec.json.encode(result))
    else:
        show(found, seconds)
    if found.violations:
        raise typer.Exit(1)


def show(found: "Impact", seconds: float) -> None:
    """The result as tables on stdout."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    typer.echo(f"{found.attack}")
    typer.echo(f"{found.boundaries:,} boundaries of {found.rows[0]:,} rows in {seconds:.1f} s\n")
    for group in found.groups:
        console.print(_estimates(group))
        typer.echo("")
    if found.trading is not None:
        console.print(_trading(found.trading))
        typer.echo("")
    for line in _lines(found):
        typer.echo(line)


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(columns):
        table.add_column(name, justify="left" if at == 0 else "right", no_wrap=at == 0)
    return table


def _estimates(group: "GroupImpact") -> "Table":
    table = _table(f"{group.group}, {group.updates} updates", "ours", "naive", "certificate")
    table.add_row(
        "shift of the mean, most (sigma)",
        f"{group.shift:.5f}",
        f"{group.naive_shift:.5f}",
        "none" if group.certificate is None else f"{group.certificate:.3f}",
    )
    table.add_row(
        "  mean over the updates", f"{group.shift_mean:.5f}", f"{group.naive_shift_mean:.5f}", ""
    )
    table.add_row("  over its certificate, most", f"{group.ratio:.3f}", "", "")
    table.add_row("  the same axis by axis", f"{group.axis_ratio:.3f}", "", "")
    table.add_row(
        "shift of the scatter (log)", f"{group.scatter:.4f}", f"{group.naive_scatter:.4f}", ""
    )
    table.add_row(
        "shift of the price, most (sigma)",
        f"{group.price_shift:.2f}",
        f"{group.naive_price_shift:.2f}",
        "",
    )
    table.add_row(
        "  mean over the boundaries",
        f"{group.price_shift_mean:.2f}",
        f"{group.naive_price_shift_mean:.2f}",
        "",
    )
    table.add_row("clean values outside of intervals", f"{group.outside:,} of {group.of:,}", "", "")
    return table


def _trading(trading: "TradingImpact") -> "Table":
    table = _table("trading", "clean", "attacked", "difference", "95 %")

    def row(name: str, values: Callable[["Outcome"], float], key: str, form: str) -> None:
        apart: Interval = trading.difference[key]
        table.add_row(
            name,
            format(values(trading.clean), form),
            format(values(trading.attacked), form),
            format(apart.value, f"+{form}"),
            f"{apart.low:+{form}} to {apart.high:+{form}}",
        )

    row("PnL", lambda run: run.pnl, "pnl", ",.2f")
    row("return", lambda run: run.total_return, "return", ".4%")
    row("drawdown", lambda run: run.drawdown, "drawdown", ".4%")
    row("turnover", lambda run: run.turnover, "turnover", ",.0f")
    table.add_row(
        "  over the capital", f"{trading.clean.turns:.1f}", f"{trading.attacked.turns:.1f}", "", ""
    )
    row("fills", lambda run: run.fills, "fills", ",.0f")
    row("round trips", lambda run: run.round_trips, "round_trips", ",.0f")
    for name, found in (
        ("flipped decisions", trading.flipped),
        ("wavering", trading.wavering),
        ("exposure, of the cap", trading.exposure_mean),
    ):
        table.add_row(name, "", "", f"{found.value:.3%}", f"{found.low:.3%} to {found.high:.3%}")
    return table


def _lines(found: "Impact") -> Iterator[str]:
    """What is not a table: the gate, the certificates, the criteria."""
    from seawall.lab.trading import ENOUGH_TRIPS, ENOUGH_TURNS

    gate = found.gate
    yield (
        f"gate: {gate.false_rejects} of {gate.judged:,} honest reviews rejected, "
        f"{gate.false_accepts} of {gate.attacked:,} hostile ones passed"
    )
    delays = {"rejected": gate.rejected, "suspended": gate.suspended, "banned": gate.banned}
    told = [f"{name} after {late:,.0f} s" for name, late in delays.items() if late is not None]
    yield f"  the attacker was {', '.join(told) or 'not noticed'}"
    if gate.wronged:
        yield f"  honest sources rejected: {', '.join(gate.wronged)}"
    if found.trading is not None:
        yield (
            f"PnL: the difference is {1e4 * found.trading.of_turnover:.3f} basis points of the "
            "clean run's turnover"
        )
        if not found.trading.enough:
            yield (
                f"the clean run made {found.trading.clean.round_trips} round trips and turned its "
                f"capital over {found.trading.clean.turns:.1f} times: below {ENOUGH_TRIPS} and "
                f"{ENOUGH_TURNS:g} one trade decides the figures of trading; a longer --duration "
                "has more"
            )
        yield (
            f"exposure: at most {found.trading.exposure:.3f} of the cap, the bound allows "
            f"{found.trading.bound:.3f} (mean {found.trading.bound_mean:.3f}); "
            f"{found.trading.ratio:.3f} of its bound"
        )
    unlike = sum(group.unlike for group in found.groups)
    if unlike:
        yield (
            f"the attack began while the reference was taken: {unlike} updates are not covered by "
            "a certificate (a later --start is)"
        )
    if not found.covered:
        yield "the attacker owns more sources than the certificate withstands: not covered"
    for one in found.criteria:
        limits = f"S0 < 5 %: {_passed(one.s0)}, ours < 1 %: {_passed(one.ours)}"
        yield f"{one.name}: {one.value:.3%}; {limits}"
    if found.violations:
        yield f"CERTIFICATE VIOLATED {found.violations:,} times"
    elif found.covered and any(group.certified for group in found.groups):
        yield "within every certificate"
    elif found.covered:
        yield "no update was certified: the market was too short, or has too few sources"


def _passed(passed: bool) -> str:
    return "passed" if passed else "missed"
