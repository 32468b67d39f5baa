"""`seawall exchange`: a practice exchange on this machine that speaks Binance's protocol."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli import options
from seawall.cli.console import secrets_of, settings_of
from seawall.core.errors import SettingError

if TYPE_CHECKING:
    from seawall.core.settings import Settings
    from seawall.exchange.faults import Faults
    from seawall.exchange.keys import KeyRing
    from seawall.exchange.terms import Terms
    from seawall.ingestion.tape import Tape

EXAMPLES = """\b
Examples:
  seawall exchange
      a simulated market on port 8200; the first start prints the keys, once
  seawall exchange --tape seawall-data/tape/day --speed 60
      a recorded market, an hour of it in a minute
  seawall exchange --account alice --account bob --spot USDT=5000,BTC=2
      two accounts that trade in one market
  seawall exchange --fault "ack_lost path=order probability=0.1" --seed 7
      every tenth order is taken and never answered
  seawall exchange --key-file keys.json
      keys of your own (mode 0600), also Ed25519

\b
Faults: delay, error, rate_limit, ban, request_lost, ack_lost, timeout, late,
drop, duplicate, reorder, silent, skew; with path=, method=, probability=,
count=, seconds= and status=.

Ctrl-C stops it. Accounts, orders and balances stay, and the next start goes
on with them; another --folder begins anew.
"""

KEYS = "exchange-keys"
FOLDER = "exchange"


def exchange(
    tape: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Play this recorded tape (default: simulated)."),
    ] = None,
    speed: Annotated[
        float, typer.Option(metavar="N", help="Seconds of the tape in a second.")
    ] = 1.0,
    skip: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="So much of the tape is past at the first start."),
    ] = 0.0,
    port: Annotated[int, typer.Option(metavar="N", help="0 takes any free one.")] = 8200,
    account: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An account; again for more (default: main)."),
    ] = None,
    spot: Annotated[
        str | None,
        typer.Option(metavar="ASSETS", help="What each begins with in spot: USDT=100000,BTC=1."),
    ] = None,
    usdm: Annotated[
        str | None,
        typer.Option(metavar="ASSETS", help="The same in USD-M futures: USDT=100000."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="API keys, readable by you alone (default: made)."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where it is kept (default: DATA_DIR/exchange)."),
    ] = None,
    strict_client_ids: Annotated[
        bool, typer.Option("--strict-client-ids", help="A client's order id is used only once.")
    ] = False,
    no_limits: Annotated[
        bool, typer.Option("--no-limits", help="No rate limits, for tests under load.")
    ] = False,
    funding_minutes: Annotated[
        int, typer.Option(metavar="N", help="Minutes between two funding times.")
    ] = 480,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="Something that goes wrong; again for more."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of market and faults.")] = 0,
    config: options.Config = None,
) -> None:
    """Run a practice exchange that speaks Binance's spot and USD-M protocol."""
    from seawall.exchange.faults import Faults, fault_of
    from seawall.exchange.terms import Terms

    if not 0 < speed <= 10_000 or skip < 0:
        raise SettingError("--speed is above 0 and at most 10,000; --skip is 0 or more")
    settings = settings_of(config, {})
    place = folder or settings.data_dir / FOLDER
    ring = _ring(settings, place, key_file, tuple(account or ()))
    plain = Terms()
    terms = Terms(
        strict_client_ids=strict_client_ids,
        funding_minutes=funding_minutes,
        spot=_assets("--spot", spot) if spot else plain.spot,
        usdm=_assets("--usdm", usdm) if usdm else plain.usdm,
    )
    terms = terms.unlimited() if no_limits else terms
    faults = Faults(seed, tuple(fault_of(text) for text in fault or ()))
    _serve(place, ring, terms, faults, _tape(tape), speed, skip, seed, port)


def _tape(folder: Path | None) -> "Tape | None":
    from seawall.ingestion.tape import open_tape

    return None if folder is None else open_tape(folder)


def _assets(option: str, text: str) -> dict[str, int]:
    """``USDT=100000,BTC=1`` → whole units by asset."""
    found = {}
    for part in text.split(","):
        name, _, amount = part.strip().partition("=")
        if not name.isalnum() or not amount.isdigit():
            raise SettingError(f"{option} is {text!r}; write it such as USDT=100000,BTC=1")
        found[name.upper()] = int(amount)
    return found


def _ring(
    settings: "Settings", place: Path, key_file: Path | None, accounts: tuple[str, ...]
) -> "KeyRing":
    """The keys: of a file, or made at the first start and printed then."""
    from seawall.exchange.keys import ring_of
    from seawall.storage.secrets import FileSecrets, read_private

    if key_file is not None:
        text = read_private(key_file)
        if text is None:
            raise SettingError(f"--key-file {key_file}: there is no such file")
        return ring_of(text, str(key_file))
    secrets = FileSecrets(place, secrets_of(settings))
    found = secrets.get(KEYS)
    if found is None:
        made = _made(accounts or ("main",))
        found = secrets.ensure(KEYS, lambda: made)
        if found == made:
            _show(ring_of(found, KEYS))
    ring = ring_of(found, str(place / KEYS))
    if accounts and set(accounts) - set(ring.accounts):
        raise SettingError(
            f"{place} has the accounts {', '.join(ring.accounts)}; choose another --folder for "
            f"{', '.join(accounts)}"
        )
    return ring


def _made(accounts: tuple[str, ...]) -> str:
    """New keys for accounts, as they are kept."""
    import msgspec

    from seawall.exchange.keys import new_ring
    from seawall.storage.secrets import new_tokens

    return msgspec.json.encode(new_ring(accounts, new_tokens(2 * len(accounts) + 1))).decode()


def _show(ring: "KeyRing") -> None:
    for each in ring.keys:
        typer.echo(f"account {each.account}")
        typer.echo(f"  key     {each.key}")
        typer.echo(f"  secret  {each.secret}")
    typer.echo(f"admin key {ring.admin}")
    typer.echo("These are shown once; they are kept beside the accounts, readable by you alone.")


def _serve(
    place: Path,
    ring: "KeyRing",
    terms: "Terms",
    faults: "Faults",
    tape: "Tape | None",
    speed: float,
    skip: float,
    seed: int,
    port: int,
) -> None:
    from seawall.core.clock import SystemClock
    from seawall.exchange.exchange import Exchange
    from seawall.exchange.server import HOST, Server

    def ready(where: int) -> None:
        market = "a simulated market" if tape is None else f"a recorded market at {speed:g} x"
        typer.echo(f"practice exchange: {market}, http://{HOST}:{where} (Ctrl-C stops it)")

    async def main() -> None:
        server = Server(practice, ring, faults)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        await server.run(port, ready)

    practice = Exchange(place, ring.accounts, SystemClock(), terms, tape, speed, skip, seed)
    try:
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            runner.run(main())
    finally:
        practice.close()


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed; None: Python's own loop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
