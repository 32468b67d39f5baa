"""`seawall emergency-stop` and `seawall release`: an operator's word to a running node."""

from typing import Annotated

import typer

from seawall.cli import options
from seawall.cli.provenance import URL, DataDir, Url, command

STOP_EXAMPLES = """\b
Examples:
  seawall emergency-stop
      orders that add risk are cancelled, nothing new is risked, positions and
      their stops stay; the node goes on watching, and a restart remembers it
  seawall emergency-stop --close-positions
      and all positions are closed at the market
  seawall release emergency_stop
      trade again
"""
RELEASE_EXAMPLES = """\b
Examples:
  seawall release drawdown
      accept the loss, and trade again; the peak is counted anew from here
  seawall release emergency_stop
"""


def emergency_stop(
    close_positions: Annotated[
        bool, typer.Option("--close-positions", help="Close all positions at the market.")
    ] = False,
    url: Url = URL,
    data_dir: DataDir = None,
    json: options.Json = False,
) -> None:
    """Stop all trading of a running node at once, until an operator releases it."""
    positions = "close" if close_positions else "keep"
    command(url, "/api/trading/stop", {"positions": positions}, data_dir, json)


def release(
    breaker: Annotated[str, typer.Argument(metavar="BREAKER", help="Such as drawdown.")],
    url: Url = URL,
    data_dir: DataDir = None,
    json: options.Json = False,
) -> None:
    """Close a breaker of a running node that waits for a person."""
    command(url, "/api/trading/release", {"breaker": breaker}, data_dir, json)
