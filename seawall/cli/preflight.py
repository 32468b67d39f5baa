"""`seawall preflight`: whether the live account is as the settings take it to be."""

import tempfile
from pathlib import Path

import typer

from seawall.cli import options
from seawall.cli.console import settings_of

EXAMPLES = """\b
Examples:
  seawall preflight
      look at the account of [live] in seawall.toml, or at each of [[accounts]]:
      clock, key permissions, position and margin mode, leverage, symbols, fees;
      nothing is traded
  seawall preflight --json

It leaves with 1 if a look says stop; a live run looks first by itself.
"""


def preflight(
    json: options.Json = False,
    config: options.Config = None,
    data_dir: options.Keys = None,
) -> None:
    """Look at each account that a live run would trade."""
    from seawall.cli.keys import trading_secrets
    from seawall.core.clock import SystemClock
    from seawall.node import live
    from seawall.node.division import divided_of
    from seawall.venues.ccxt.preflight import STOP

    settings = settings_of(config, {"mode": "live", "data_dir": data_dir})
    clock = SystemClock()
    accounts = live.accounts_of(settings)
    secrets = trading_secrets(settings)
    feed = live.feed_of(settings, accounts, clock, secrets)
    feed.close()
    instruments = live.instruments_of(settings, feed.catalog, accounts)
    divided = divided_of(settings, feed.catalog)
    found = {}
    for name, account in accounts.items():
        with tempfile.TemporaryDirectory() as scratch:  # nothing of a look belongs to a run
            log = Path(scratch) / "venue.log"
            own = divided[name].settings
            venue = live.open_venue(own, account, secrets, instruments[name], clock, log, 0)
            try:
                found[name] = live.preflight_of(own, venue)
            finally:
                venue.close()
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(found if settings.accounts else found[""]))
    else:
        for name, findings in found.items():
            if name:
                typer.echo(f"account {name}, {accounts[name].name}")
            for finding in findings:
                typer.echo(f"{finding.level:<8} {finding.look:<22} {finding.text}")
    if any(finding.level == STOP for findings in found.values() for finding in findings):
        raise typer.Exit(1)
