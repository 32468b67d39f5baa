"""`seawall provenance`: ask a running node who says what and who may be believed, or a journal."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from seawall.cli import options
from seawall.cli.console import moment, secrets_of, settings_of
from seawall.core.clock import MILLISECOND
from seawall.core.errors import DataError, FeedError, SettingError

EXAMPLES = """\b
Examples:
  seawall provenance certificate
      how far an attacker can have moved each model, each term apart
  seawall provenance certificate --journal seawall-data/simulated/journal.sqlite
      the same from a journal, with no node running
  seawall provenance suspicious
  seawall provenance log --json
      what changed the models, and which source moved what
  seawall provenance ban sim-e
      until `seawall provenance unban sim-e`
"""
URL = "http://127.0.0.1:8000"
PATIENCE = 10.0  # seconds
TERMS = ("past", "next_hour", "sample", "decisions", "reference")

app = typer.Typer(
    help="Sources, certificates and the update log of a running node.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Url = Annotated[str, typer.Option(metavar="URL", help=f"Where the node answers (default: {URL}).")]
JournalFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read this journal instead of asking a node.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Whose operator's token is shown (default: seawall-data)."),
]


@app.command(epilog=EXAMPLES)
def certificate(url: Url = URL, journal: JournalFile = None, json: options.Json = False) -> None:
    """How far an attacker can have moved each model."""
    answer = _certificates(journal) if journal is not None else _get(url, "certificate")
    if json:
        _print_json(answer)
        return
    for line in answer["statements"]:
        typer.echo(line)
    rows = []
    for group in answer["groups"]:
        said = group["certificate"] or {}
        terms = [_sigma(said.get(term)) for term in TERMS]
        if said.get("conditional"):
            terms[1] += " *"
        rows.append([group["name"], said.get("standing", "none"), *terms])
    _table(("group", "standing", *(term.replace("_", " ") for term in TERMS)), rows)
    typer.echo("in the reference's sigma; * rests on the half-widths of the last day")
    for one in answer.get("exposures", ()):
        typer.echo(
            f"{one['instrument']}: exposure moved by at most {_share(one['bound'])} of its cap"
        )


@app.command(epilog=EXAMPLES)
def suspicious(url: Url = URL, json: options.Json = False) -> None:
    """The sources that something speaks against, the most suspicious first."""
    answer = _get(url, "suspicious")
    if json:
        _print_json(answer)
        return
    if not answer["sources"]:
        typer.echo("nothing speaks against any source")
        return
    rows = [
        [
            one["name"],
            one["standing"],
            f"{one['trust']:.2f}",
            f"{one['score']:.2f}",
            f"{one['worst']:.2f}",
            str(one["rejections"]),
            f"{one['refused']:,}",
            one["reason"] or "-",
        ]
        for one in answer["sources"]
    ]
    columns = ("source", "standing", "trust", "score", "worst", "rejected", "rows refused", "why")
    _table(columns, rows)


@app.command(epilog=EXAMPLES)
def influences(url: Url = URL, json: options.Json = False) -> None:
    """Who moved the sample that the models learn from, in the last review."""
    answer = _fetch(url, "/api/monitoring/top-influences")
    if json:
        _print_json(answer)
        return
    rows = [
        [group, one["source"], _sigma(one["sigma"]), _when(last["ts"])]
        for group, last in answer["groups"].items()
        for one in last["sources"]
    ]
    _table(("group", "source", "moved by", "at"), rows)


@app.command(epilog=EXAMPLES)
def log(url: Url = URL, journal: JournalFile = None, json: options.Json = False) -> None:
    """What changed the models, or why nothing did, the newest first."""
    if journal is not None:
        answer = _journaled(journal)["lists"]
    else:
        answer = _fetch(url, "/api/models/updates")
    if json:
        _print_json({"updates": answer["updates"]})
        return
    rows = []
    for one in answer["updates"]:
        moved = sorted(one["influence"].items(), key=lambda item: -(item[1] or 0.0))[:2]
        who = ", ".join(f"{name} {_sigma(by)}" for name, by in moved)
        rows.append(
            [_when(one["ts"]), one["group"], one["decision"], _sigma(one["shift"]), who or "-",
             one["reason"] or "-"]
        )  # fmt: skip
    _table(("at", "group", "decision", "shift", "moved most by", "why"), rows)


@app.command(epilog=EXAMPLES)
def ban(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Whom to ban.")],
    url: Url = URL,
    data_dir: DataDir = None,
    json: options.Json = False,
) -> None:
    """Ban sources until told otherwise; the node journals who said so."""
    command(url, "/api/provenance/ban", {"sources": sources}, data_dir, json)


@app.command(epilog=EXAMPLES)
def unban(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Whom to let in.")],
    url: Url = URL,
    data_dir: DataDir = None,
    json: options.Json = False,
) -> None:
    """Let sources in again, on probation: judged, and without a vote at first."""
    command(url, "/api/provenance/unban", {"sources": sources}, data_dir, json)


# --- a running node ---


def _get(url: str, name: str) -> Any:
    return _fetch(url, f"/api/provenance/{name}")


def _fetch(url: str, path: str) -> Any:
    return _asked(url, "GET", path, None, None)


def _asked(url: str, method: str, path: str, body: Any, token: str | None) -> Any:
    """The node's answer.

    Raises:
        FeedError: nothing answers there. SettingError: it says no. DataError: it has nothing yet.
    """
    import httpx

    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.request(
            method,
            url.rstrip("/") + path,
            json=body,
            headers=headers,
            timeout=PATIENCE,
            trust_env=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        raise FeedError(
            f"no node answers at {url}; start one with `seawall run`, or give the address that it "
            "says with --url"
        ) from None
    try:
        told = answer.json()
    except ValueError:
        raise FeedError(f"what answers at {url} is no seawall node; give --url") from None
    if answer.status_code in (200, 202):
        return told
    detail = str(told.get("detail", answer.status_code)) if isinstance(told, dict) else ""
    if answer.status_code in (401, 403):
        raise SettingError(f"{detail}; give the --data-dir of that run")
    raise DataError(f"the node at {url} says: {detail}")


def command(
    url: str, path: str, body: Mapping[str, Any], data_dir: Path | None, json: bool
) -> None:
    from seawall.storage.secrets import OPERATOR_TOKEN

    settings = settings_of(None, {"data_dir": data_dir})
    token = secrets_of(settings).get(OPERATOR_TOKEN)
    if token is None:
        raise SettingError(
            f"there is no operator's token in {settings.data_dir}; a run makes one, so give the "
            "--data-dir of that run"
        )
    answer = _asked(url, "POST", path, body, token)
    if json:
        _print_json(answer)
        return
    for line in answer["accepted"]:
        typer.echo(f"told the node: {line}")


# --- a journal ---


def _journaled(path: Path) -> dict[str, Any]:
    """The update log of a journal and what its last certificates say."""
    from seawall.node.provenance import Reviewed, UpdateLog, long_lists
    from seawall.storage.journal import JournalReader

    if not path.exists():
        raise DataError(f"{path}: there is no such journal")
    updates = UpdateLog()
    last = 0
    reader = JournalReader(path)
    try:
        for _, record in reader.read():
            updates.apply(record)
            last = record.ts
    finally:
        reader.close()
    return {"log": updates, "lists": dict(long_lists(updates, Reviewed(), last)), "now": last}


def _certificates(path: Path) -> dict[str, Any]:
    """As the API answers, from a journal."""
    import msgspec

    from seawall.gating.certificate import Certificate
    from seawall.node.provenance_views import certificate_of, statement

    told = _journaled(path)
    groups: list[dict[str, Any]] = []
    for name, data in sorted(told["log"].certificates.items()):
        said = msgspec.msgpack.decode(data, type=Certificate)
        groups.append({"name": name, "reason": "", "certificate": certificate_of(said)})
    if not groups:
        raise DataError(f"{path}: no model was reviewed in this journal, so nothing is certified")
    return {
        "now": told["now"] // MILLISECOND,
        "statements": [statement(group) for group in groups],
        "groups": groups,
        "exposures": [],
    }


# --- words ---


def _sigma(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.1%}"


def _when(ms: int) -> str:
    return moment(ms * MILLISECOND)


def _print_json(answer: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(answer))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]] | Iterator[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name not in ("why", "moved most by"))
    for row in rows:
        table.add_row(*row)
    Console(file=sys.stdout, highlight=False).print(table)
