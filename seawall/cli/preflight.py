"""`seawall preflight`: whether the live account is as the settings take it to be."""

import tempfile
from pathlib import Path

import typer

from seawall.cli import options
from seawall.cli.console import settings_of

EXAMPLES = """\b
Examples:
  seawall preflight
      look at the account of [live] in seawall.toml: clock, key permissions,
      position and margin mode, leverage, symbols, fees; nothing is traded
  seawall preflight --json

It leaves with 1 if a look says stop; a live run looks first by itself.
"""


def preflight(
    json: options.Json = False,
    config: options.Config = None,
    data_dir: options.Keys = None,
) -> None:
    """Look at the account that a live run would trade."""
    from seawall.cli.keys import trading_secrets
    from seawall.core.clock import SystemClock
    from seawall.node import live
    from seawall.venues.ccxt.preflight import STOP

    settings = settings_of(config, {"mode": "live", "data_dir": data_dir})
    clock = SystemClock()
    account = live.account_of(settings)
    secrets = trading_secrets(settings)
    feed = live.feed_of(settings, account, clock, secrets)
    try:
        instruments = live.instruments_of(feed.catalog, account)
    finally:
        feed.close()
    with tempfile.TemporaryDirectory() as scratch:  # nothing of a look belongs to a run
        looking = settings.model_copy(update={"data_dir": Path(scratch)})
        venue = live.open_venue(looking, account, secrets, instruments, clock, 0)
        try:
            findings = live.preflight_of(settings, venue)
        finally:
            venue.close()
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(findings))
    else:
        for finding in findings:
            typer.echo(f"{finding.level:<8} {finding.look:<22} {finding.text}")
    if any(finding.level == STOP for finding in findings):
        raise typer.Exit(1)
