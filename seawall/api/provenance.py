"""What the API answers of sources, models and certificates, and the operator's commands.

What is read is open to this machine, like all answers; a command needs the operator's token.
"""

import hmac
import math
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from seawall.api.answers import Answer, JsonResponse, Milliseconds, Problem
from seawall.api.board import Board
from seawall.api.commands import CommandDesk
from seawall.core.clock import MILLISECOND
from seawall.core.commands import (
    ADOPT,
    BAN,
    EMERGENCY_STOP,
    EVERY_ACCOUNT,
    RECONCILE,
    RELEASE,
    ROLL_BACK,
    UNBAN,
    Command,
)
from seawall.node.provenance_views import statement
from seawall.risk.breakers import BREAKERS

MOST_AT_ONCE = 16  # sources in one command
MOST_BYTES = 16_384  # of a command's body
OPERATOR = "operator"
DRIFT = "The figures of each group's last reviews, oldest first."
NOT_YET: dict[int | str, dict[str, Any]] = {
    503: {"model": Problem, "description": "The node has not spoken yet"}
}
REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No token"},
    403: {"model": Problem, "description": "Not the operator's token"},
    404: {"model": Problem, "description": "No such source or group"},
    503: {"model": Problem, "description": "The node has not spoken yet, or takes no commands"},
}


class Certificates(Answer):
    """What an attacker can have done to each group's model, and to each exposure."""

    now: Milliseconds
    reviewed: Milliseconds
    statements: list[str] = Field(description="one line a group, in words")
    groups: list[dict[str, Any]]
    exposures: list[dict[str, Any]]


class Sources(Answer):
    """The sources: standing, trust, scores, refusals."""

    now: Milliseconds
    sources: list[dict[str, Any]]


class Influences(Answer):
    """Group → who moved the sample's location in the last review, the most first, sigma."""

    now: Milliseconds
    groups: dict[str, Any]


class Drift(Answer):
    """Group → figures of its last reviews."""

    now: Milliseconds
    breakers: list[dict[str, Any]]
    groups: dict[str, Any]


class Updates(Answer):
    """The last changes of the models, newest first, at most 200."""

    now: Milliseconds
    updates: list[dict[str, Any]]


class Incidents(Answer):
    """The last incidents, newest first, and the last one of each kind."""

    now: Milliseconds
    incidents: list[dict[str, Any]]
    latest: dict[str, Any]


class SourcesNamed(BaseModel):
    """Which sources."""

    model_config = ConfigDict(extra="forbid")
    sources: Annotated[list[str], Field(min_length=1, max_length=MOST_AT_ONCE)]


class AccountNamed(BaseModel):
    """Which account; left out: all that there are."""

    model_config = ConfigDict(extra="forbid")
    account: str = EVERY_ACCOUNT


class GroupNamed(BaseModel):
    """Which group."""

    model_config = ConfigDict(extra="forbid")
    group: str


class Stopping(BaseModel):
    """What becomes of the positions: keep, or close."""

    model_config = ConfigDict(extra="forbid")
    positions: Literal["keep", "close"] = "keep"


class BreakerNamed(BaseModel):
    """Which breaker."""

    model_config = ConfigDict(extra="forbid")
    breaker: str


class Accepted(Answer):
    """The command waits for the node, which takes it within a second and journals it."""

    accepted: list[str]


def suspicion(source: dict[str, Any]) -> tuple[int, float, float, float, float]:
    """What sources are ranked by: standing, score now, worst so far, rejections, lack of trust."""
    rank = {"banned": 3, "suspended": 2, "probation": 1}.get(str(source.get("standing")), 0)
    numbers = [float(source.get(name) or 0.0) for name in ("score", "worst", "rejections")]
    return rank, numbers[0], numbers[1], numbers[2], 1.0 - float(source.get("trust") or 0.0)


def add_provenance(app: FastAPI, board: Board) -> None:
    """The answers that show."""
    _add_sources(app, board)
    _add_models(app, board)


def _view(board: Board) -> dict[str, Any] | None:
    pinned = board.latest()
    return None if pinned is None else msgspec.json.decode(pinned.body, type=dict[str, Any])


def _lists(board: Board) -> dict[str, Any] | None:
    pinned = board.lists()
    return None if pinned is None else msgspec.json.decode(pinned, type=dict[str, Any])


def _not_yet() -> Response:
    return JsonResponse({"detail": "the node has not spoken yet"}, 503)


def _add_sources(app: FastAPI, board: Board) -> None:
    @app.get(
        "/api/provenance/certificate",
        response_model=Certificates,
        responses=NOT_YET,
        tags=["provenance"],
    )
    async def certificate() -> Response:
        """How far an attacker can have moved each model and each exposure, each term apart."""
        if (now := _view(board)) is None:
            return _not_yet()
        robust = now.get("robust") or {"reviewed": None, "groups": [], "exposures": []}
        words = [statement(group) for group in robust["groups"]]
        return JsonResponse({"now": now.get("now"), "statements": words, **robust})

    @app.get(
        "/api/provenance/sources", response_model=Sources, responses=NOT_YET, tags=["provenance"]
    )
    async def sources() -> Response:
        """Every source: its standing, trust, scores and what was refused of it."""
        if (now := _view(board)) is None:
            return _not_yet()
        return JsonResponse({"now": now.get("now"), "sources": now.get("sources", [])})

    @app.get(
        "/api/provenance/suspicious", response_model=Sources, responses=NOT_YET, tags=["provenance"]
    )
    async def suspicious() -> Response:
        """The sources that something speaks against, the most suspicious first."""
        if (now := _view(board)) is None:
            return _not_yet()
        ranked = sorted(now.get("sources", []), key=suspicion, reverse=True)
        found = [one for one in ranked if _suspect(one)]
        return JsonResponse({"now": now.get("now"), "sources": found})


def _suspect(source: dict[str, Any]) -> bool:
    """Whether anything speaks against a source."""
    bad = source.get("standing", "trusted") != "trusted" or bool(source.get("rejections"))
    return bad or float(source.get("score") or 0.0) >= 0.5


def _add_models(app: FastAPI, board: Board) -> None:
    @app.get(
        "/api/monitoring/top-influences",
        response_model=Influences,
        responses=NOT_YET,
        tags=["monitoring"],
    )
    async def influences() -> Response:
        """Who moved the sample that the model learns from, and by how much."""
        if (now := _lists(board)) is None:
            return _not_yet()
        groups = {
            group: {
                "ts": last["ts"],
                "sources": [
                    {"source": name, "sigma": moved}
                    for name, moved in sorted(
                        last["influence"].items(), key=lambda one: -(one[1] or 0.0)
                    )
                ],
            }
            for group, last in now["influences"].items()
        }
        return JsonResponse({"now": now["now"], "groups": groups})

    @app.get(
        "/api/monitoring/anchor-drift/report",
        response_model=Drift,
        responses=NOT_YET,
        tags=["monitoring"],
        description=DRIFT,
    )
    async def drift() -> Response:
        now, view = _lists(board), _view(board)
        if now is None or view is None:
            return _not_yet()
        breakers = [one for one in view.get("breakers", []) if one.get("scope") == "model"]
        return JsonResponse({"now": now["now"], "breakers": breakers, "groups": now["drift"]})

    @app.get("/api/models/updates", response_model=Updates, responses=NOT_YET, tags=["models"])
    async def updates() -> Response:
        """What changed the models, or why nothing did, and which source moved what."""
        if (now := _lists(board)) is None:
            return _not_yet()
        return JsonResponse({"now": now["now"], "updates": now["updates"]})

    @app.get(
        "/api/incidents/latest", response_model=Incidents, responses=NOT_YET, tags=["monitoring"]
    )
    async def incidents() -> Response:
        """The last freezes, rollbacks, bans, breakers and commands: market-wide or targeted."""
        if (now := _lists(board)) is None:
            return _not_yet()
        latest: dict[str, Any] = {}
        for one in now["incidents"]:
            latest.setdefault(one["kind"], one)
        return JsonResponse({"now": now["now"], "incidents": now["incidents"], "latest": latest})


Made = Callable[[Any], list[tuple[str, str]]]  # what was told → names and targets of commands
_COMMANDS: tuple[tuple[str, type[BaseModel], Made, str], ...] = (
    (
        "/api/provenance/ban",
        SourcesNamed,
        lambda told: [(BAN, one) for one in dict.fromkeys(told.sources)],
        "Ban sources until told otherwise.",
    ),
    (
        "/api/provenance/unban",
        SourcesNamed,
        lambda told: [(UNBAN, one) for one in dict.fromkeys(told.sources)],
        "Let sources in, on probation.",
    ),
    (
        "/api/account/reconcile",
        AccountNamed,
        lambda told: [(RECONCILE, told.account)],
        "Compare ledger and venue now.",
    ),
    (
        "/api/account/adopt",
        AccountNamed,
        lambda told: [(ADOPT, told.account)],
        "Take the account, or all, as their venues have them.",
    ),
    (
        "/api/models/rollback",
        GroupNamed,
        lambda told: [(ROLL_BACK, told.group)],
        "Send a model back to its checkpoint.",
    ),
    (
        "/api/trading/stop",
        Stopping,
        lambda told: [(EMERGENCY_STOP, told.positions)],
        "Stop all trading until it is released.",
    ),
    (
        "/api/trading/release",
        BreakerNamed,
        lambda told: [(RELEASE, told.breaker)],
        "Close a breaker that waits for a person.",
    ),
)


def add_commands(app: FastAPI, board: Board, desk: CommandDesk | None) -> None:
    """The operator's commands; without a desk, or where it has no token, none is taken."""
    for path, kind, made, about in _COMMANDS:
        schema = {"content": {"application/json": {"schema": kind.model_json_schema()}}}
        app.post(
            path,
            status_code=202,
            response_model=Accepted,
            responses=REFUSED,
            tags=["operator"],
            description=about,
            openapi_extra={"requestBody": {**schema, "required": True}},
        )(_taking(board, desk, kind, made))


def _taking(
    board: Board, desk: CommandDesk | None, kind: type[BaseModel], made: Made
) -> Callable[[Request], Awaitable[Response]]:
    """What answers a request for one kind of command."""

    async def command(request: Request) -> Response:
        refusal = _refusal(request, desk.token if desk else "")
        if refusal is not None:
            return refusal
        try:
            told = kind.model_validate_json(await _body(request))
        except ValueError:
            fields = ", ".join(kind.model_fields)
            return JsonResponse(
                {"detail": f"the body is JSON with {fields}; see openapi.json"}, 422
            )
        commands = [Command(name=name, target=one, who=OPERATOR) for name, one in made(told)]
        if (view := _view(board)) is None or desk is None:
            return _not_yet()
        if unknown := _unknown(commands, view):
            return JsonResponse({"detail": unknown}, 404)
        if not desk.put(commands):
            return JsonResponse({"detail": "too many commands wait; try again in a second"}, 503)
        words = [f"{command.name} {command.target}" for command in commands]
        return JsonResponse({"accepted": words}, 202)

    return command


def _refusal(request: Request, token: str) -> Response | None:
    """Why a command is not taken from this client; None where it is."""
    given = request.headers.get("authorization", "")
    scheme, _, said = given.partition(" ")
    if not token:
        return JsonResponse({"detail": "this node takes no commands over the API"}, 503)
    if scheme.lower() != "bearer" or not said.strip():
        detail = "a command needs the operator's token (Authorization: Bearer TOKEN)"
        return JsonResponse({"detail": detail}, 401, {"www-authenticate": "Bearer"})
    if not hmac.compare_digest(said.strip().encode(), token.encode()):
        return JsonResponse({"detail": "this is not the operator's token"}, 403)
    return None


async def _body(request: Request) -> bytes:
    """The request's body; ValueError where it is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise ValueError("too long")
    return body


def _unknown(commands: list[Command], view: dict[str, Any]) -> str:
    """What is wrong with the target of a command; empty where nothing is."""
    sources = [one["name"] for one in view.get("sources", [])]
    groups = [one["name"] for one in (view.get("robust") or {}).get("groups", [])]
    accounts = [one["name"] for one in view.get("accounts", []) if one["name"]]
    for command in commands:
        if command.name == EMERGENCY_STOP:
            continue
        if command.name in (RECONCILE, ADOPT):
            if command.target not in (EVERY_ACCOUNT, *accounts):
                hint = f"choose from {', '.join(accounts)}" if accounts else "there is one alone"
                return f"there is no account {command.target}; {hint}"
            continue
        if command.name == RELEASE:
            if said := _not_released(command.target, view):
                return said
            continue
        kind, known = ("group", groups) if command.name == ROLL_BACK else ("source", sources)
        if command.target not in known:
            return f"there is no {kind} {command.target}; choose from {', '.join(known)}"
    return ""


def _not_released(name: str, view: dict[str, Any]) -> str:
    """Why a breaker cannot be released now; empty where it can."""
    standing = [one for one in view.get("breakers", []) if one["state"] != "CLOSED"]
    open_ = {str(one["name"]).split()[0]: one for one in standing}
    if name not in open_:
        words = f"open: {', '.join(open_)}" if open_ else "none is"
        return f"breaker {name} is not open; {words}"
    cooldown = BREAKERS[name].cooldown // MILLISECOND if name in BREAKERS else 0
    left = cooldown - (view["now"] - open_[name]["since"])
    if open_[name]["state"] == "OPEN" and left > 0:
        return f"breaker {name} is open; it can be released in {math.ceil(left / 1000)} s"
    return ""
