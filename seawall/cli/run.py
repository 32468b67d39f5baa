"""`seawall run`: trade on paper until told to stop, with the dashboard beside it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from seawall.cli import options
from seawall.cli.console import (
    moment,
    money,
    secrets_of,
    settings_of,
    shown_strategies,
    signed,
    strategies_of,
)
from seawall.core.errors import SettingError

if TYPE_CHECKING:
    from seawall.core.settings import Settings
    from seawall.node.summary import Summary

EXAMPLES = """\b
Examples:
  seawall run
      live markets if an exchange answers, else a simulated one
  seawall run --feed simulated --seed 7 --duration 600
      ten minutes of a simulated market, its draws from seed 7
  seawall run --tape seawall-data/tape/day --speed 10
      a recorded market at ten times its pace
  seawall run --profile conservative --port 8080
      smaller positions, dashboard on another port
  seawall run --feed simulated --hostile none
      all sources honest; by default one of the simulated market turns hostile
      after a minute, so that one sees the gates at work
  seawall run --feed simulated --hostile "mean_shift offset=200 sources=sim-d"
  seawall run --release drawdown
      go on after a breaker that waits for a person
  seawall run --mode live
      trade the account of [live] in seawall.toml with real money; it asks

Ctrl-C stops it in order: orders that would add risk are cancelled first, and
what stays at the venue is said. Ctrl-C again leaves at once.
"""

LONGEST = 31_536_000  # seconds: a year


class Node(Protocol):
    """What this command asks of a node."""

    def run(self) -> "Summary": ...

    def stop(self, reason: str, flatten: bool = False) -> None: ...


def run(
    feed: Annotated[
        str | None,
        typer.Option(metavar="FEED", help="auto, live, simulated or replay (default: auto)."),
    ] = None,
    tape: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Replay this recorded tape.")
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Replay at N times its pace (default: as fast as possible)."
        ),
    ] = None,
    strategy: options.Strategies = None,
    param: options.Parameters = None,
    profile: options.Profile = None,
    port: Annotated[
        str | None,
        typer.Option(metavar="N", help="Dashboard's port; 0 takes any free one (default: 8000)."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where tape and journal are kept (default: seawall-data)."
        ),
    ] = None,
    seed: options.Seed = None,
    duration: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Stop by itself after so many seconds."),
    ] = None,
    config: options.Config = None,
    venue_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Venue as a process of its own: unix:/path or tcp:127.0.0.1:port.",
        ),
    ] = None,
    no_dashboard: Annotated[
        bool, typer.Option("--no-dashboard", help="Serve no dashboard.")
    ] = False,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Close all positions when stopping.")
    ] = False,
    hostile: Annotated[
        str | None,
        typer.Option(
            metavar="ATTACK",
            help="What one source of the simulated market turns to: auto, none, or an attack "
            "(default: auto).",
        ),
    ] = None,
    release: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BREAKER", help="Close this breaker, such as drawdown, before trading."
        ),
    ] = None,
    mode: Annotated[
        str, typer.Option("--mode", metavar="MODE", help="paper or live (default: paper).")
    ] = "paper",
    real_money: Annotated[
        str | None,
        typer.Option(
            metavar="EXCHANGE",
            help="With --mode live: yes, real money of the account there (several: a,b).",
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON; all else goes to stderr.")
    ] = False,
) -> None:
    """Trade on paper, or live, and serve the dashboard, until Ctrl-C."""
    if mode not in ("paper", "live"):
        raise SettingError(f"--mode is {mode!r}, allowed is paper or live")
    if mode == "live" and (feed or tape or hostile or venue_url):
        raise SettingError(
            "--mode live takes its markets and its exchange from [live] and [feed] in "
            "seawall.toml: leave --feed, --tape, --hostile and --venue-url out"
        )
    if tape is not None and feed not in (None, "replay"):
        raise SettingError(f"--tape is for --feed replay, not for --feed {feed}: leave one out")
    if duration is not None and not 0 <= duration <= LONGEST:
        raise SettingError(f"--duration is {duration:g}, allowed is 0 to {LONGEST:,} seconds")
    settings = settings_of(
        config,
        {
            "mode": mode,
            "feed.name": feed,
            "feed.tape": tape,
            "feed.speed": speed,
            **strategies_of(strategy, param),
            "profile": profile,
            "api.port": port,
            "data_dir": data_dir,
            "seed": seed,
            "venue.url": venue_url,
            "feed.hostile": hostile,
        },
    )

    def say(text: str) -> None:
        typer.echo(text, err=json)

    if mode == "live":
        confirm(settings, real_money)
    summary = trade(
        settings,
        say,
        dashboard=not no_dashboard,
        duration=duration,
        flatten=flatten,
        releases=release or (),
    )
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(summary))
    else:
        for line in lines(summary):
            say(line)


def trade(
    settings: "Settings",
    say: Callable[[str], None],
    *,
    dashboard: bool,
    duration: float | None,
    flatten: bool,
    releases: Sequence[str] = (),
) -> "Summary":
    """Run a node to its end. The address is taken first, before anything is opened."""
    from seawall.api.board import Board
    from seawall.core.collecting import keep_all

    board, desk = Board(), None
    with contextlib.ExitStack() as stack:
        if dashboard:
            from seawall.api.commands import CommandDesk
            from seawall.api.dashboard import Dashboard
            from seawall.storage.secrets import ensure_operator_token

            limits, desk = settings.risk.model_dump(), CommandDesk()
            host, port = settings.api.host, settings.api.port
            page = Dashboard(board, host, port, limits=limits, desk=desk)
            stack.callback(page.stop)
            desk.token = ensure_operator_token(secrets_of(settings))
            say(f"dashboard: {page.address}")
        node: Node
        if settings.mode == "live":
            from seawall.cli.keys import trading_secrets
            from seawall.node.live import live

            secrets = trading_secrets(settings)
            node = live(settings, secrets, board, say, stack, releases, desk)
        else:
            from seawall.node import assembly

            node = assembly.paper(settings, board, say, releases, desk)
        stack.enter_context(stopping(node, duration, flatten))
        keep_all()
        return node.run()


def confirm(settings: "Settings", given: str | None) -> None:
    """Make sure that real money is meant: the exchanges' names, typed or in --real-money.

    A practice exchange and a test network need no such word. Raises SettingError.
    """
    import sys

    accounts = settings.live_accounts().values()
    real = [one for one in accounts if not (one.url or one.network == "testnet")]
    names = ",".join(dict.fromkeys(one.exchange for one in real))
    if not names:
        return
    if given is None and sys.stdin.isatty():
        whose = f"{len(real)} accounts ({names})" if len(real) > 1 else f"{names} account"
        given = typer.prompt(
            f"This trades real money of your {whose}. Type {names} to go on",
            default="",
            show_default=False,
        )
    if given != names:
        raise SettingError(
            f"real money was not confirmed, so nothing was started; give --real-money {names}, "
            "or set live.url to a practice exchange"
        )


@contextlib.contextmanager
def stopping(node: Node, duration: float | None, flatten: bool) -> Iterator[None]:
    """While inside, SIGINT, SIGTERM and the end of the time given stop the node in order.

    The second signal raises KeyboardInterrupt.
    """
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        node.stop(signal.Signals(number).name, flatten)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    timer = None
    if duration is not None:
        timer = threading.Timer(duration, node.stop, (f"{duration:g} s are over", flatten))
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def lines(summary: "Summary") -> Iterator[str]:
    """What a trader wants to know at the end of a run."""
    if not summary.rows:
        yield f"stopped: before the first market data came, run {summary.run}"
        return
    unit = summary.numeraire
    gain = summary.equity_end - summary.equity_start
    yield f"stopped: {moment(summary.ended)}, run {summary.run}"
    yield (
        f"  equity        {money(summary.equity_end, unit)} ({signed(gain, unit)}), "
        f"largest drawdown {summary.max_drawdown:.2%}"
    )
    yield f"  realised      {signed(summary.realised, unit)}, fees {money(summary.fees, unit)}"
    yield f"  fills         {summary.fills:,} from {summary.orders:,} orders"
    for name, result in shown_strategies(summary):
        yield f"  {name:<13} {result}"
    for name, quantity in summary.positions.items():
        yield f"  still held    {name} {quantity}"
    for order in summary.open_orders:
        yield f"  stays open    {order}"
    if not summary.open_orders:
        yield "  stays open    nothing: no order is left at the venue"
    for breaker in summary.breakers:
        yield f"  breaker       {breaker}"
    for note in summary.notes:
        yield f"  note          {note}"
