"""Options that several verbs share, each with one wording."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Settings (default: seawall.toml, if it is there)."),
]
Seed = Annotated[str | None, typer.Option(metavar="N", help="Of all random draws (default: 0).")]
Cadence = Annotated[
    str | None, typer.Option(metavar="N", help="Milliseconds per frame (default: 1000).")
]
Capital = Annotated[
    str | None, typer.Option(metavar="AMOUNT", help="Money at the start (default: 100000).")
]
Strategies = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A strategy, or the path of its file (default: rules); again for several on one "
        'account, each as "NAME share=0.5 fast=10".',
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="A parameter of the strategy; again for more."),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "--risk-profile",
        metavar="NAME",
        help="conservative, balanced or aggressive (default: balanced).",
    ),
]
Keys = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Where keys are kept (default: seawall-data)."),
]
