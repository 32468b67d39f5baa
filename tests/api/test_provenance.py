"""The operator's interface over a real server: who may tell the node what, and what it shows."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from seawall.api.board import Board
from seawall.api.commands import MOST, CommandDesk
from seawall.api.server import ApiServer
from seawall.core.commands import Command

TOKEN = "the-operators-own-token"
SOURCE: dict[str, Any] = {
    "name": "sim-a", "standing": "trusted", "trust": 0.9, "score": 0.2, "worst": 0.4,
    "rejections": 0, "refused": 0, "reason": "",
}  # fmt: skip
LIAR = {
    **SOURCE,
    "name": "sim-e",
    "standing": "banned",
    "trust": 0.0,
    "score": 7.0,
    "rejections": 3,
}
NOISY = {**SOURCE, "name": "sim-b", "score": 0.7}
CERTIFICATE = {
    "standing": "certified", "past": 0.0123, "next_hour": 0.05, "conditional": True, "sample": 0.02,
    "decisions": 0.0, "reference": 1.9, "axes": {}, "sources": 5, "faulty": 1, "excluded": 0,
    "updates": 12, "ts": 1,
}  # fmt: skip
GROUP = {"name": "BTC", "reason": "", "certificate": CERTIFICATE}
VIEW: dict[str, Any] = {
    "now": 1, "sources": [SOURCE, NOISY, LIAR], "breakers": [],
    "robust": {"reviewed": 1, "groups": [GROUP], "exposures": []},
}  # fmt: skip
UPDATE = {"ts": 5, "group": "BTC", "decision": "learned", "reason": "", "shift": 0.1,
          "corroboration": 1.0, "influence": {"sim-a": 0.01, "sim-b": 0.3}}  # fmt: skip
LISTS: dict[str, Any] = {
    "now": 5,
    "updates": [UPDATE],
    "influences": {"BTC": {"ts": 5, "influence": UPDATE["influence"]}},
    "incidents": [
        {"ts": 4, "kind": "ban", "what": "sim-e", "verdict": "targeted"},
        {"ts": 3, "kind": "ban", "what": "sim-d", "verdict": "targeted"},
        {"ts": 2, "kind": "freeze", "what": "BTC", "verdict": "market-wide"},
    ],
    "drift": {"BTC": [{"ts": 5, "anchor_rate": 0.0}]},
}
SHOWN = (
    "/api/provenance/certificate",
    "/api/provenance/sources",
    "/api/provenance/suspicious",
    "/api/monitoring/top-influences",
    "/api/monitoring/anchor-drift/report",
    "/api/models/updates",
    "/api/incidents/latest",
)


class House:
    """A board, a desk and their server."""

    def __init__(self) -> None:
        self.board, self.desk = Board(), CommandDesk(TOKEN)
        self.server = ApiServer(self.board, "127.0.0.1", 0, desk=self.desk)
        self.server.start()
        self.client = httpx.Client(base_url=self.server.address, timeout=10, trust_env=False)

    def tell(self, path: str, body: Any, token: str | None = TOKEN) -> httpx.Response:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return self.client.post(path, json=body, headers=headers)


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    house.board.publish("view", VIEW)
    house.board.publish("provenance", LISTS)
    yield house
    house.client.close()
    house.server.stop()


BAN = ("/api/provenance/ban", {"sources": ["sim-e"]})


def test_a_command_waits_on_the_desk_with_the_operators_name(house: House) -> None:
    answer = house.tell(*BAN)
    assert (answer.status_code, answer.json()) == (202, {"accepted": ["ban sim-e"]})
    assert house.tell("/api/provenance/unban", {"sources": ["sim-a", "sim-a"]}).status_code == 202
    assert house.tell("/api/models/rollback", {"group": "BTC"}).status_code == 202
    assert house.tell("/api/account/adopt", {}).status_code == 202
    assert house.tell("/api/account/reconcile", {}).status_code == 202
    assert house.desk.poll() == [
        Command(name="ban", target="sim-e", who="operator"),
        Command(name="unban", target="sim-a", who="operator"),
        Command(name="rollback", target="BTC", who="operator"),
        Command(name="adopt", target="account", who="operator"),
        Command(name="reconcile", target="account", who="operator"),
    ]
    assert house.desk.poll() == []


def test_a_breaker_is_released_once_its_cooldown_is_over(house: House) -> None:
    def opened(name: str, seconds: int) -> dict[str, Any]:
        return {"name": name, "state": "OPEN", "since": VIEW["now"] - 1_000 * seconds}

    standing = [opened("drawdown", 599), opened("leverage", 60), opened("emergency_stop", 0)]
    house.board.publish("view", {**VIEW, "breakers": standing})
    answer = house.tell("/api/trading/release", {"breaker": "drawdown"})
    assert answer.json() == {"detail": "breaker drawdown is open; it can be released in 1 s"}
    for name in ("leverage", "emergency_stop"):
        assert house.tell("/api/trading/release", {"breaker": name}).status_code == 202
    assert house.tell("/api/trading/stop", {}).status_code == 202
    assert house.tell("/api/trading/stop", {"positions": "close"}).status_code == 202
    assert [(one.name, one.target) for one in house.desk.poll()] == [
        ("release", "leverage"),
        ("release", "emergency_stop"),
        ("emergency_stop", "keep"),
        ("emergency_stop", "close"),
    ]


@pytest.mark.parametrize(
    ("token", "code"),
    [(None, 401), ("wrong", 403), (TOKEN + "x", 403), (TOKEN[:-1], 403)],
)
def test_without_the_token_nothing_is_told(house: House, token: str | None, code: int) -> None:
    for path, body in (BAN, ("/api/models/rollback", {"group": "BTC"})):
        answer = house.tell(path, body, token)
        assert answer.status_code == code
        assert TOKEN not in answer.text
    assert house.desk.poll() == []


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/api/provenance/ban", {"sources": ["nobody"]}, 404),
        ("/api/provenance/ban", {"sources": ["sim-a", "nobody"]}, 404),
        ("/api/provenance/ban", {"sources": []}, 422),
        ("/api/provenance/ban", {"sources": "sim-a"}, 422),
        ("/api/provenance/ban", {"sources": ["sim-a"], "why": "x"}, 422),
        ("/api/provenance/ban", {"sources": ["x" * 20_000]}, 422),
        ("/api/provenance/unban", ["sim-a"], 422),
        ("/api/models/rollback", {"group": "DOGE"}, 404),
        ("/api/models/rollback", {}, 422),
        ("/api/trading/stop", {"positions": "double"}, 422),
        ("/api/trading/release", {"breaker": "leverage"}, 404),
        ("/api/trading/release", {"breaker": "nothing"}, 404),
    ],
)
def test_what_makes_no_sense_is_refused_whole(
    house: House, path: str, body: Any, code: int
) -> None:
    answer = house.tell(path, body)
    assert (answer.status_code, list(answer.json())) == (code, ["detail"])
    assert house.desk.poll() == []


def test_the_desk_is_bounded(house: House) -> None:
    for _ in range(MOST):
        assert house.tell(*BAN).status_code == 202
    assert house.tell(*BAN).status_code == 503
    assert len(house.desk.poll()) == MOST
    assert house.tell(*BAN).status_code == 202


def test_what_is_shown_needs_no_token(house: House) -> None:
    for path in SHOWN:
        assert house.client.get(path).status_code == 200


def test_the_certificate_in_words_and_figures(house: House) -> None:
    told = house.client.get("/api/provenance/certificate").json()
    assert told["statements"] == [
        "BTC: an attacker who owns 1 of 5 sources can have moved the model by at most 0.0123 sigma"
    ]
    assert told["groups"][0]["certificate"] == CERTIFICATE
    for standing, words in (("none", "no certificate"), ("vacuous", "(vacuous: ")):
        changed = {**GROUP, "certificate": {**CERTIFICATE, "standing": standing}}
        robust = {**VIEW["robust"], "groups": [changed]}
        house.board.publish("view", {**VIEW, "robust": robust})
        assert words in house.client.get("/api/provenance/certificate").json()["statements"][0]


def test_the_suspicious_are_ranked_and_the_others_left_out(house: House) -> None:
    told = house.client.get("/api/provenance/suspicious").json()
    assert [one["name"] for one in told["sources"]] == ["sim-e", "sim-b"]


def test_influences_updates_and_incidents(house: House) -> None:
    moved = house.client.get("/api/monitoring/top-influences").json()["groups"]["BTC"]["sources"]
    assert [one["source"] for one in moved] == ["sim-b", "sim-a"]
    assert house.client.get("/api/models/updates").json()["updates"] == [UPDATE]
    incidents = house.client.get("/api/incidents/latest").json()
    assert {kind: one["what"] for kind, one in incidents["latest"].items()} == {
        "ban": "sim-e",
        "freeze": "BTC",
    }
    assert len(incidents["incidents"]) == 3
    drift = house.client.get("/api/monitoring/anchor-drift/report").json()
    assert drift["groups"] == LISTS["drift"]


def test_before_the_node_has_spoken_there_is_nothing() -> None:
    house = House()
    try:
        for path in SHOWN:
            assert house.client.get(path).status_code == 503
        assert house.tell(*BAN).status_code == 503
        assert house.desk.poll() == []
    finally:
        house.client.close()
        house.server.stop()
