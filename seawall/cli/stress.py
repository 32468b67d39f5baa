"""`seawall stress`: what orders cost on recorded books, and how stops fare in a flash crash."""

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seawall.cli import options
from seawall.cli.console import progress, settings_of
from seawall.core.clock import MILLISECOND, MINUTE, SECOND
from seawall.core.errors import SettingError

if TYPE_CHECKING:
    from seawall.lab.execution.crash import Scene
    from seawall.lab.execution.crash_study import Comparison, Widening
    from seawall.lab.execution.schedule_study import Row
    from seawall.node.crash import Detection

SCHEDULES_EXAMPLES = """\b
Examples:
  seawall stress schedules tape/btc tape/eth --bars BTCUSDT_5m.parquet
      TWAP, VWAP and Almgren-Chriss against the arrival price, beside one
      market order, on every book of these tapes; VWAP goes by the bars
  seawall stress schedules tape/btc --impact none --sizes 1,20
      without the venue's own impact, other sizes (multiples of the usual
      depth at the touch)
"""
CRASH_EXAMPLES = """\b
Examples:
  seawall stress flash-crash tape/btc tape/eth --bars BTCUSDT_30m.parquet
      stops on paths bridged from the bars of 2020-03-12, 2020-03-13 and
      2021-05-19, and on these tapes scaled to fall by 10 % in a minute:
      market orders against limit first, and how soon flash_crash opens
  seawall stress flash-crash tape/btc --bars bars.csv --days 2024-08-05 \\
      --paths 50
      other days, more paths of each bar
"""
DAYS = "2020-03-12,2020-03-13,2021-05-19"

app = typer.Typer(
    help="Try orders and stops under stress, on recorded markets.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Seed = Annotated[int, typer.Option(metavar="N", help="Of all random draws.")]
Tapes = Annotated[
    list[Path], typer.Argument(metavar="TAPE...", help="Recorded tapes with a book of levels.")
]


@app.callback()
def stress() -> None:
    """Try orders and stops under stress, on recorded markets."""


@app.command(epilog=SCHEDULES_EXAMPLES)
def schedules(
    tapes: Tapes,
    bars: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Bars that VWAP learns from (.parquet, .csv)."),
    ] = None,
    sizes: Annotated[
        str, typer.Option(metavar="N,...", help="Sizes, in multiples of the touch's depth.")
    ] = "1,10,50",
    impact: Annotated[
        str, typer.Option(metavar="NAME", help="none, linear or square_root.")
    ] = "square_root",
    seed: Seed = 0,
    json: options.Json = False,
) -> None:
    """What schedules cost against the arrival price, beside a single market order."""
    from seawall.execution.volume_curve import learn
    from seawall.lab.execution import bars as tables
    from seawall.lab.execution.recording import recordings
    from seawall.lab.execution.schedule_study import StudyShape, summary, work

    shape = StudyShape(multiples=_numbers(sizes, "--sizes"), impact=impact, seed=seed).check()
    curve = None
    if bars is not None:
        table = tables.read(bars)
        curve = learn(table.ts, table.volume, table.span)
    found, worked = recordings(tapes), []
    with progress("stress", "passes") as told:
        for k, one in enumerate(found):
            worked += work(
                one,
                shape,
                curve,
                lambda done, all_of_it, k=k: told(  # type: ignore[misc]
                    k * all_of_it + done, len(found) * all_of_it
                ),
            )
    rows = summary(worked, seed)
    if json:
        import msgspec

        lines = [row._asdict() for row in rows]
        books = [{"name": o.name, "touch": o.touch, "volatility": o.volatility} for o in found]
        typer.echo(msgspec.json.encode({"books": books, "rows": lines}))
        return
    _show(
        "bps of the arrival price, before fees; [95 % interval]",
        ("way", "size", "mean", "spread of one", "95 % worst", "filled", "parents"),
        [_schedule(row) for row in rows],
    )


def _schedule(row: "Row") -> tuple[str, ...]:
    return (
        row.way,
        f"{row.multiple:g} x",
        f"{row.mean:.2f} [{row.low:.2f}, {row.high:.2f}]",
        f"{row.spread:.2f} [{row.spread_low:.2f}, {row.spread_high:.2f}]",
        f"{row.worst:.2f}",
        f"{row.filled:.1%}",
        f"{row.parents:,}",
    )


@app.command(name="flash-crash", epilog=CRASH_EXAMPLES)
def flash_crash(
    tapes: Tapes,
    bars: Annotated[Path, typer.Option(metavar="FILE", help="Bars to bridge (.parquet, .csv).")],
    days: Annotated[
        str, typer.Option(metavar="DAY,...", help="Days whose falls are taken.")
    ] = DAYS,
    paths: Annotated[int, typer.Option(metavar="N", help="Paths of each bar.")] = 20,
    every_s: Annotated[
        int, typer.Option(metavar="N", help="Seconds between two falls of a tape.")
    ] = 20,
    detect: Annotated[
        bool, typer.Option("--detect/--no-detect", help="Show the scenes to the node too.")
    ] = True,
    cadence_ms: Annotated[
        str | None, typer.Option(metavar="N", help="Of the node's frames (default: 1000).")
    ] = None,
    chosen_on: Annotated[
        str,
        typer.Option(metavar="TEXT,...", help="Parts of names: show scenes with them apart."),
    ] = "",
    again_ms: Annotated[
        int, typer.Option(metavar="N", help="Between two market orders of what is left.")
    ] = 1000,
    seed: Seed = 0,
    json: options.Json = False,
) -> None:
    """Market stops against limit first, and how soon the breaker opens."""
    from seawall.lab.execution import bars as tables
    from seawall.lab.execution import crash, crash_study
    from seawall.lab.execution.recording import recordings
    from seawall.node import crash as node

    if again_ms < 100 or again_ms % 100:
        raise SettingError(f"--again-ms is {again_ms}; give whole steps of 100")
    if not (1 <= paths <= 10_000 and 1 <= every_s <= 3_600):
        raise SettingError("--paths is 1 to 10000 and --every-s 1 to 3600")
    table = tables.read(bars)
    chosen = crash.crashed(table.ts, table.prices, table.span, days.split(","))
    with progress("stress", "books") as told:
        books = []
        found = recordings(tapes)
        for k, one in enumerate(found):
            books.append(crash.prepared(one))
            told(k + 1, len(found))
    fitted = crash.fit(books)
    shape = crash_study.CrashShape(
        half_life=fitted.half_life if fitted.half_life > 0 else 1.0,
        again=again_ms * MILLISECOND,
    ).check()

    def bridged(count: int) -> "Iterator[Scene]":
        for bar in chosen:
            for k in range(count):
                name = f"{bar.name}/{k}"
                yield crash.bridged(name, bar.prices, bar.span, fitted, seed)

    def scaled(every: int) -> "Iterator[Scene]":
        for book in books:
            for start in crash.starts_in(book, every):
                yield crash.scaled(book, start)

    total = len(chosen) * paths
    with progress("stress", "paths") as told:
        exits = crash_study.study(bridged(paths), shape, lambda done: told(done, total))
        exits += crash_study.study(scaled(every_s * SECOND), shape)
    if chosen_on:
        exits = crash_study.parted(exits, chosen_on.split(","))
    lines = crash_study.compare(exits, seed)
    widened = crash_study.widen(list(bridged(min(paths, 10))), shape)
    detections = []
    if detect:
        with progress("stress", "scenes") as told:
            shown = [*bridged(1), *scaled(5 * MINUTE)]
            settings = settings_of(
                None, {"mode": "backtest", "seed": str(seed), "feed.cadence_ms": cadence_ms}
            )
            detections = node.detect(settings, shown, told)
    if json:
        import msgspec

        result = {
            "fitted": {name: _plain(value) for name, value in fitted._asdict().items()},
            "bars": [bar._asdict() for bar in chosen],
            "exits": [line._asdict() for line in lines],
            "widening": [line._asdict() for line in widened],
            "detection": [_finite(one) for one in detections],
        }
        typer.echo(msgspec.json.encode(result))
        return
    _crash(lines, widened, detections)


def _crash(
    lines: "Sequence[Comparison]", widened: "Sequence[Widening]", found: "Sequence[Detection]"
) -> None:
    """The whole result on stdout."""
    from seawall.lab.execution.crash_study import BASE, DOCUMENT, GOAL_MEAN

    _show(
        "shortfall below the stop, bps: market order, limit first, limit first at a fixed price",
        ("scenes", "recovery", "size", "exits", "mean", "lower by", "95 % worst", "first unfilled"),
        [_exit(line) for line in lines],
    )
    for line in lines:
        if line.recovery == BASE and not line.multiple:
            typer.echo(
                f"{line.kind}, base model: {line.lower:.1%} lower in the mean (wanted "
                f"{GOAL_MEAN:.0%}; the document's figure is {DOCUMENT:.0%})"
            )
    worse = [f"{x.kind} {x.recovery}" for x in lines if x.worse and not x.multiple]
    typer.echo(f"95 % worst above the market order's: {', '.join(worse) or 'nowhere'}")
    for line in lines:
        if not line.multiple:
            typer.echo(
                f"  {line.kind}, {line.recovery}: {line.hybrid_p95 - line.market_p95:+.1f} bp "
                f"[{line.gap_low:+.1f}, {line.gap_high:+.1f}]"
            )
    _show(
        "stops widened, size divided: loss over the money at risk",
        ("distance", "stopped", "of those in vain", "mean", "95 % worst"),
        [
            (f"{w.factor:g} x", f"{w.stopped:.0%}", f"{w.early:.0%}", *_both(w.mean, w.worst))
            for w in widened
        ],
    )
    crossed = [one for one in found if math.isfinite(one.crossed)]
    if crossed:
        _show(
            "flash_crash: seconds of event time from the crossing to the open breaker",
            ("scene", "crossed after", "delay"),
            [(one.scene, f"{one.crossed:.1f} s", f"{one.delay:.2f} s") for one in crossed],
        )


def _exit(line: "Comparison") -> tuple[str, ...]:
    return (
        line.kind,
        line.recovery,
        f"{line.multiple:g} x" if line.multiple else "all",
        f"{line.exits:,}",
        f"{line.market:.1f} / {line.hybrid:.1f} / {line.fixed:.1f}",
        f"{line.lower:.1%} [{line.low:.1%}, {line.high:.1%}]",
        f"{line.market_p95:.0f} / {line.hybrid_p95:.0f} / {line.fixed_p95:.0f}",
        f"{line.market_unfilled:.1%} / {line.hybrid_unfilled:.1%}",
    )


def _numbers(text: str, where: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SettingError(f"{where} is {text!r}; give numbers such as 1,10,50") from None


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _both(mean: float, worst: float) -> tuple[str, str]:
    return f"{mean:.2f}", f"{worst:.2f}"


def _finite(one: "Detection") -> dict[str, Any]:
    """JSON has no NaN: unknown is null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in one._asdict().items()
    }


def _show(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(file=sys.stdout, highlight=False).print(table)
