"""`seawall reconcile`: hold a running node's books against its venue, or adopt what differs."""

from typing import Annotated

import typer

from seawall.cli import options
from seawall.cli.provenance import URL, DataDir, Url, command

EXAMPLES = """\b
Examples:
  seawall reconcile
      compare ledger and venue at once, not only each minute
  seawall reconcile --adopt
      take the account as the venue has it: deposits, withdrawals, positions,
      orders and trades that are not ours; each is journaled, and trading goes
      on where that was what stopped it
  seawall reconcile --adopt --account kraken
      only this one of several; without it all are taken, and what went from
      one to another is booked as a transfer
"""


def reconcile(
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Book what differs; look at it first.")
    ] = False,
    account: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of several accounts (default: all).")
    ] = None,
    url: Url = URL,
    data_dir: DataDir = None,
    json: options.Json = False,
) -> None:
    """Let a running node compare its books with its venues; it says what it found."""
    path = "/api/account/adopt" if adopt else "/api/account/reconcile"
    command(url, path, {"account": account} if account else {}, data_dir, json)
