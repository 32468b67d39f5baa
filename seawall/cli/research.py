"""`seawall search` and `seawall walk-forward`: parameters of a strategy, and their worth."""

import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seawall.cli import options
from seawall.cli.console import moment, progress, settings_of
from seawall.core.errors import DataError, SettingError

if TYPE_CHECKING:
    from rich.table import Table

    from seawall.core.settings import Settings
    from seawall.lab.research.evaluation import Plan
    from seawall.lab.research.judgement import Judgement
    from seawall.lab.research.performance import Performance
    from seawall.lab.research.search import Found
    from seawall.lab.research.space import Space
    from seawall.lab.research.walk_forward import WalkForward

INTERRUPTED = 130
SEARCH_EXAMPLES = """\b
Examples:
  seawall search TAPE --strategy moving_average_cross
      1,000 sets of all parameters that the strategy has ranges for
  seawall search TAPE --strategy trend --param fast=4:64:log --param gain=0.5 \\
      --sampler random --sets 10000 --objective calmar --prune
  seawall search TAPE --strategy moving_average_cross --sampler grid \\
      --param fast=5,10,20 --param slow=50:200:4 --param band=0

A range is LOW:HIGH, LOW:HIGH:POINTS for a grid, with :log to go by ratio. Sets
are kept as they finish: interrupted with Ctrl-C, the same command goes on.
"""
WALK_FORWARD_EXAMPLES = """\b
Examples:
  seawall walk-forward TAPE --strategy moving_average_cross
      choose among 200 sets on the past, trade them on the next tenth, and so on
  seawall walk-forward TAPE --strategy trend --folds 20 --anchored --json
"""

Tape = Annotated[Path, typer.Argument(metavar="TAPE", help="A recorded tape.")]
StrategyName = Annotated[
    str, typer.Option(metavar="NAME", help="The strategy, or the path of its file (*.py).")
]
Symbol = Annotated[
    str, typer.Option(metavar="NAME", help="Instrument (default: the one that is traded).")
]
Param = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=RANGE", help="A parameter's range or values; again for more."),
]
Objective = Annotated[str, typer.Option(metavar="NAME", help="sharpe, sortino, calmar or return.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Of all random draws.")]
Profile = Annotated[
    str | None,
    typer.Option("--risk-profile", metavar="NAME", help="conservative, balanced or aggressive."),
]
Cap = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="Exposure at full strength (default: by risk profile)."),
]
Latency = Annotated[
    int, typer.Option(metavar="N", help="Rows between a decision and its fill, 0 or 1.")
]


def search(
    tape: Tape,
    strategy: StrategyName,
    param: Param = None,
    symbol: Symbol = "",
    sampler: Annotated[str, typer.Option(metavar="NAME", help="tpe, random or grid.")] = "tpe",
    sets: Annotated[
        int, typer.Option(metavar="N", help="Sets in all; a grid has as many as it has.")
    ] = 1000,
    objective: Objective = "sharpe",
    prune: Annotated[
        bool, typer.Option("--prune", help="Give up early what falls below the median.")
    ] = False,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes (default: one per core).")
    ] = 0,
    ray: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of a Ray cluster that does the work.")
    ] = "",
    study: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the sets here (default: in the data folder)."),
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", help="Sets to show.")] = 10,
    seed: Seed = 0,
    capital: options.Capital = None,
    profile: Profile = None,
    cap: Cap = None,
    latency: Latency = 1,
    cadence_ms: options.Cadence = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Search a strategy's parameters on a recorded market; interrupt and go on at will."""
    settings = _settings(tape, config, capital, profile, seed, cadence_ms)
    from seawall.lab.research import search as searching
    from seawall.lab.research.judgement import judge
    from seawall.lab.research.market import load

    plan, space = _plan(settings, strategy, param, objective, cap, latency)
    shape = searching.SearchShape(sampler=sampler, sets=sets, prune=prune, seed=seed)
    folder = _perceived(settings, tape, symbol, strategy)
    name = f"{Path(strategy).stem}-{searching.identity(folder, plan, space, shape)[:8]}.study"
    file = study or folder.parent / name
    count = workers or os.cpu_count() or 1
    with progress("search", "sets") as report:
        found = searching.search(
            folder, plan, space, shape, file, count=count, ray=ray, report=report
        )
    best = found.ranked[:top]
    judged = None
    if best and not found.interrupted:
        tried = [one.parameters for one in found.tried if one.value == one.value or one.pruned]
        judged = judge(load(folder), plan, best[0].parameters, tried, seed)
    if json:
        _print_json({"study": str(file), **_search_json(found, top), "best": judged})
    else:
        _show_search(found, plan, space, file, top, judged)
    if found.interrupted:
        raise typer.Exit(INTERRUPTED)


def walk_forward(
    tape: Tape,
    strategy: StrategyName,
    param: Param = None,
    symbol: Symbol = "",
    folds: Annotated[int, typer.Option(metavar="N", help="Pieces out of sample.")] = 10,
    train: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the market, in sample before each fold.")
    ] = 0.3,
    anchored: Annotated[
        bool, typer.Option("--anchored", help="All of the past in sample, not just the last part.")
    ] = False,
    purge: Annotated[
        int, typer.Option(metavar="ROWS", help="Between in sample and out of sample.")
    ] = 1,
    embargo: Annotated[int, typer.Option(metavar="ROWS", help="So many more.")] = 0,
    sets: Annotated[int, typer.Option(metavar="N", help="Sets to choose among.")] = 200,
    objective: Objective = "sharpe",
    seed: Seed = 0,
    capital: options.Capital = None,
    profile: Profile = None,
    cap: Cap = None,
    latency: Latency = 1,
    cadence_ms: options.Cadence = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Choose parameters on the past, trade them on what came next, and count only that."""
    settings = _settings(tape, config, capital, profile, seed, cadence_ms)
    from seawall.lab.research import walk_forward as walking
    from seawall.lab.research.market import load
    from seawall.lab.research.search import drawn

    plan, space = _plan(settings, strategy, param, objective, cap, latency)
    shape = walking.WalkForwardShape(
        folds=folds, train=train, anchored=anchored, purge=purge, embargo=embargo
    )
    market = load(_perceived(settings, tape, symbol, strategy))
    walking.splits(len(market.path), shape)
    chosen = drawn(plan, space, seed, sets)
    with progress("walk-forward", "sets") as report:
        found = walking.walk_forward(market, plan, chosen, shape, report)
    if json:
        _print_json(_walk_forward_json(found))
    else:
        _show_walk_forward(found)


def _settings(
    tape: Path,
    config: Path | None,
    capital: str | None,
    profile: str | None,
    seed: int,
    cadence_ms: str | None,
) -> "Settings":
    if not tape.exists():
        raise DataError(f"{tape}: there is no such tape; `seawall data import` makes one")
    return settings_of(
        config,
        {
            "mode": "backtest",
            "feed.name": "replay",
            "feed.tape": tape,
            "feed.speed": "max",
            "feed.cadence_ms": cadence_ms,
            "capital": capital,
            "profile": profile,
            "seed": seed,
        },
    )


def _plan(
    settings: "Settings",
    strategy: str,
    param: Sequence[str] | None,
    objective: str,
    cap: float | None,
    latency: int,
) -> tuple["Plan", "Space"]:
    from seawall.decision.strategies import kind_of
    from seawall.lab.research.evaluation import Plan
    from seawall.lab.research.space import space_of
    from seawall.node.research import following_of

    given = {}
    for text in param or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(f"--param {text}: give NAME=RANGE, such as fast=5:50")
        given[name.strip()] = value.strip()
    chosen: dict[str, Any] = (
        {"latency": latency} if cap is None else {"latency": latency, "cap": cap}
    )
    following = following_of(settings, **chosen)
    plan = Plan(strategy=strategy, following=following, objective=objective)
    return plan, space_of(kind_of(strategy).shape, given)


def _perceived(settings: "Settings", tape: Path, symbol: str, strategy: str) -> Path:
    from seawall.decision.strategies import kind_of
    from seawall.node.research import perceive

    features = kind_of(strategy).features
    with progress("perceive", "rows") as report:
        return perceive(settings, tape, symbol, report, features)


# --- what a person sees ---


def _show_search(
    found: "Found",
    plan: "Plan",
    space: "Space",
    file: Path,
    top: int,
    judged: "Judgement | None",
) -> None:
    refused = sum(1 for one in found.tried if one.value != one.value and not one.pruned)
    pruned = sum(1 for one in found.tried if one.pruned)
    parts = [f"{len(found.tried):,} of {found.wanted:,} sets"]
    parts += [f"{found.earlier:,} of them earlier"] if found.earlier else []
    parts += [f"{pruned:,} given up early"] if pruned else []
    parts += [f"{refused:,} never traded"] if refused else []
    names = [one.name for one in space.dimensions]
    table = _table(*names, plan.objective)
    for one in found.ranked[:top]:
        values = [_value(one.parameters[name]) for name in names]
        table.add_row(*values, f"{one.value:.3f}")
    _print(", ".join(parts), table)
    if judged is not None:
        _print(_pairs(_verdict(judged)))
        _print("in sample: what of it holds out of sample, `seawall walk-forward` tells")
    if found.interrupted:
        _print(f"interrupted: all that is finished is kept in {file}; the same command goes on")
    else:
        _print(f"kept in {file}")


def _verdict(judged: "Judgement") -> Iterator[tuple[str, str]]:
    yield from _scores(judged.performance, judged.held)
    low, high = judged.sharpe.low, judged.sharpe.high
    yield "Sharpe, 95 %", f"{low:.2f} to {high:.2f} by bootstrap"
    yield from _luck(judged)
    yield "overfitting", f"{_percent(judged.overfit)} probability (CSCV)"


def _show_walk_forward(found: "WalkForward") -> None:
    names = list(found.folds[0].parameters)
    table = _table("from", *names, "in sample", "outside", "all sets", "return")
    for fold in found.folds:
        table.add_row(
            moment(fold.since)[:10],
            *(_value(fold.parameters[name]) for name in names),
            f"{fold.value:.2f}",
            f"{fold.outside:.2f}",
            f"{fold.typical:.2f}",
            f"{fold.total_return:+.2%}",
        )
    _print(table)
    _print(_pairs([*_scores(found.performance, found.held), *_luck(found)]))


def _scores(ours: "Performance", held: "Performance") -> Iterator[tuple[str, str]]:
    """Our figures, those of buying and holding behind them."""
    for name, one, other in (
        ("return", f"{ours.total_return:+.2%}", f"{held.total_return:+.2%}"),
        ("a year", f"{ours.annual_return:+.2%}", f"{held.annual_return:+.2%}"),
        ("volatility", f"{ours.volatility:.2%}", f"{held.volatility:.2%}"),
        ("Sharpe", f"{ours.sharpe:.2f}", f"{held.sharpe:.2f}"),
        ("Sortino", f"{ours.sortino:.2f}", f"{held.sortino:.2f}"),
        ("Calmar", f"{ours.calmar:.2f}", f"{held.calmar:.2f}"),
        ("max drawdown", f"{ours.max_drawdown:.2%}", f"{held.max_drawdown:.2%}"),
    ):
        yield name, f"{one} (buy and hold {other})"
    yield "trades", f"{ours.trades:,}, {_percent(ours.hit_rate)} with a profit"
    yield "profit factor", f"{ours.profit_factor:.2f}"
    yield "turnover", f"{ours.turnover:.1f} x equity a year"
    yield "exposure", f"{ours.exposure:.1%} of equity on average"
    yield "costs", f"{ours.costs:.2%} of the capital"


def _luck(found: "Judgement | WalkForward") -> Iterator[tuple[str, str]]:
    yield "PSR", f"{found.psr:.3f}: probability that the Sharpe ratio is above zero"
    yield (
        "deflated Sharpe",
        f"{found.dsr:.3f}: the same, knowing that it is the best of {found.trials:,} sets "
        f"(worth {found.independent:.0f} independent ones)",
    )
    rows = found.needed
    yield "track record", f"{rows:,.0f} rows for 95 %" if math.isfinite(rows) else "none is enough"


def _value(value: float | int) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if math.isfinite(share) else "unknown"


def _table(*names: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _pairs(pairs: Iterable[tuple[str, str]]) -> "Table":
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in pairs:
        table.add_row(name, text)
    return table


def _print(*parts: Any) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    for part in parts:
        console.print(part, markup=False)


def _search_json(found: "Found", top: int) -> dict[str, Any]:
    return {
        "done": len(found.tried),
        "wanted": found.wanted,
        "interrupted": found.interrupted,
        "top": [{"parameters": o.parameters, "value": o.value} for o in found.ranked[:top]],
    }


def _walk_forward_json(found: "WalkForward") -> dict[str, Any]:
    values = found._asdict()
    folds = [{**_fields(fold), "split": fold.split._asdict()} for fold in values.pop("folds")]
    del values["account"], values["moments"]
    return {"folds": folds, "costs": _fields(found.account.costs), **values}


def _fields(struct: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.structs.asdict(struct)


def _print_json(values: dict[str, Any]) -> None:
    """NaN and infinity become null, as JSON has neither."""
    import msgspec

    typer.echo(msgspec.json.encode(values))
