"""The API over a real server: its answers, its stream, and whom it does not answer."""

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from seawall import __version__
from seawall.api import server as api
from seawall.api.board import Board
from seawall.api.server import ApiServer, Breakers, Health, History, Portfolio, build
from seawall.core.clock import SECOND, TapeClock
from seawall.core.errors import PortInUseError, SettingError

BREAKER = {
    "name": "drawdown", "scope": "portfolio", "state": "CLOSED", "measure": 0.01,
    "threshold": 0.2, "unit": "fraction", "reason": "", "since": 0, "ts": 1,
}  # fmt: skip
VIEW: dict[str, Any] = {
    "now": 1_723_075_200_000, "mode": "paper", "status": "trading", "reasons": [],
    "feed": {"name": "simulated", "detail": "no network"}, "numeraire": "USD", "uptime_s": 12.5,
    "equity": {
        "value": 100_010.0, "cash": 90_000.0, "unrealised": 10.0, "realised": 0.0, "fees": 1.0,
        "peak": 100_020.0, "drawdown": 0.0001, "leverage": 0.1, "ts": 1_723_075_200_000,
    },
    "positions": [{
        "instrument": "BTC/USDT@sim", "quantity": "0.15", "unit": "BTC", "average_price": 60_000.0,
        "mark": 60_010.0, "notional": 9_001.5, "unrealised": 1.5, "realised": float("nan"),
        "target": 0.2, "ts": 1,
    }],
    "orders": [], "fills": [], "breakers": [BREAKER, {**BREAKER, "name": "flash", "state": "OPEN"}],
    "sources": [], "gates": [], "instruments": [], "journal": {"rows": 3, "hash": "ab"},
}  # fmt: skip
POINT = {"ts": 1, "equity": 100_000.0, "drawdown": 0.0, "prices": {"BTC/USDT@sim": 60_000.0}}


class House:
    """A board with a clock that the test moves, and its server."""

    def __init__(self, page: Path) -> None:
        self.clock = TapeClock(1)
        self.board = Board(self.clock)
        limits = {"max_leverage": 2.0}
        self.server = ApiServer(self.board, "127.0.0.1", 0, limits=limits, page=page)
        self.server.start()
        self.client = httpx.Client(base_url=self.server.address, timeout=10, trust_env=False)

    def close(self) -> None:
        self.client.close()
        self.server.stop()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """(event, data) of a stream; a comment is ("", its text)."""
    kind = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))
        elif line.startswith(": "):
            yield "", line.removeprefix(": ")


# -- answers ------------------------------------------------------------------------------------


def test_health_from_start_to_silence(house: House) -> None:
    first = house.client.get("/api/health")
    assert (first.status_code, first.json()["status"]) == (503, "starting")

    house.board.publish("view", VIEW)
    alive = house.client.get("/api/health")
    assert alive.status_code == 200
    health = Health.model_validate(alive.json())
    assert (health.status, health.mode, health.uptime_s) == ("trading", "paper", 12.5)
    assert health.versions["seawall"] == __version__

    house.board.publish("view", {**VIEW, "status": "halted", "reasons": ["drawdown"]})
    halted = house.client.get("/api/health")
    assert (halted.status_code, halted.json()["status"]) == (200, "halted")
    assert halted.json()["reasons"] == ["drawdown"]

    house.clock.wait(1 + 11 * SECOND)
    stale = house.client.get("/api/health")
    assert (stale.status_code, stale.json()["status"]) == (503, "stale")
    assert stale.json()["age_s"] == 11.0
    assert stale.json()["reasons"] == [
        "the node has been silent for 11 s; it was halted",
        "drawdown",
    ]


def test_the_portfolio_with_its_limits(house: House) -> None:
    assert house.client.get("/api/risk/portfolio").status_code == 503
    house.board.publish("view", VIEW)
    answer = Portfolio.model_validate(house.client.get("/api/risk/portfolio").json())
    assert answer.equity.value == 100_010.0
    assert answer.positions[0].quantity == "0.15"
    assert answer.positions[0].realised is None
    assert answer.limits == {"max_leverage": 2.0}


def test_breakers_and_which_are_open(house: House) -> None:
    assert house.client.get("/api/circuit-breakers/status").status_code == 503
    house.board.publish("view", VIEW)
    answer = Breakers.model_validate(house.client.get("/api/circuit-breakers/status").json())
    assert [breaker.name for breaker in answer.breakers] == ["drawdown", "flash"]
    assert answer.active == ["flash"]


def test_history(house: House) -> None:
    assert house.client.get("/api/history").json() == {"points": []}
    house.board.publish("point", POINT)
    house.board.publish("point", {**POINT, "ts": 2})
    history = History.model_validate(house.client.get("/api/history").json())
    assert [point.ts for point in history.points] == [1, 2]


COMMANDS = {
    "/api/account/adopt",
    "/api/account/reconcile",
    "/api/models/rollback",
    "/api/provenance/ban",
    "/api/provenance/unban",
    "/api/trading/release",
    "/api/trading/stop",
}


def test_nothing_can_be_changed_but_by_a_command(house: House) -> None:
    document = house.client.get("/api/openapi.json").json()
    assert set(document["paths"]) > COMMANDS
    for path, verbs in document["paths"].items():
        allowed = "post" if path in COMMANDS else "get"
        assert list(verbs) == [allowed]
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {allowed.upper()}:
            assert house.client.request(method, path).status_code == 405


def test_a_node_without_a_desk_takes_no_command(house: House) -> None:
    house.board.publish("view", VIEW)
    for path in COMMANDS:
        answer = house.client.post(path, json={}, headers={"authorization": "Bearer x"})
        assert (answer.status_code, list(answer.json())) == (503, ["detail"])


def test_the_interface_describes_itself(house: House) -> None:
    document = house.client.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == __version__
    text = json.dumps(document)
    known = set(document["components"]["schemas"])
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) == known
    assert {"Health", "Portfolio", "Breakers", "History", "Problem"} <= known
    for verbs in document["paths"].values():
        (operation,) = verbs.values()
        assert operation["description"]
        done = next(iter(operation["responses"].keys() & {"200", "202"}))
        (kind, content), *_ = operation["responses"][done]["content"].items()
        assert kind == "text/event-stream" or "$ref" in content["schema"]


def test_a_defect_is_told_to_the_log_and_not_to_the_client(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.board.publish("view", {**VIEW, "breakers": [{"name": "of no state"}]})
    answer = house.client.get("/api/circuit-breakers/status")
    assert (answer.status_code, list(answer.json())) == (500, ["detail"])
    assert "KeyError: 'state'" in caplog.text
    assert "state" not in answer.text
    assert house.client.get("/api/health").status_code == 200


# -- the stream ---------------------------------------------------------------------------------


def test_a_published_view_arrives(house: House) -> None:
    house.board.publish("view", VIEW)
    with house.client.stream("GET", "/api/monitoring/stream") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-length" not in response.headers
        stream = events(response)
        kind, view = next(stream)
        assert (kind, view["status"]) == ("view", "trading")
        assert view["positions"][0]["realised"] is None
        house.board.publish("point", POINT)
        assert next(stream) == ("point", POINT)
        house.board.publish("view", {**VIEW, "status": "halted"})
        kind, view = next(stream)
        assert (kind, view["status"]) == ("view", "halted")


def test_a_silent_stream_gives_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_S", 0.01)
    house = House(tmp_path)
    with (
        contextlib.closing(house),
        house.client.stream("GET", "/api/monitoring/stream") as response,
    ):
        stream = events(response)
        assert [next(stream), next(stream)] == [("", "nothing new")] * 2


def test_the_end_of_the_run_is_the_end_of_the_stream(house: House) -> None:
    house.board.publish("view", VIEW)
    with house.client.stream("GET", "/api/monitoring/stream") as response:
        stream = events(response)
        assert next(stream)[0] == "view"
        house.server.stop()
        assert list(stream) == []
    with pytest.raises(httpx.ConnectError):
        house.client.get("/api/health")


def stall(house: House) -> socket.socket:
    """A client that opens the stream and never reads."""
    client = socket.create_connection(("127.0.0.1", int(house.server.address.split(":")[-1])))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(b"GET /api/monitoring/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


def test_a_client_that_does_not_read_holds_up_nobody(house: House) -> None:
    big = {**VIEW, "reasons": ["x" * 100_000]}
    house.board.publish("view", big)
    with stall(house), house.client.stream("GET", "/api/monitoring/stream") as response:
        stream = events(response)
        for number in range(200):  # far more than any buffer between holds
            house.board.publish("view", {**big, "number": number})
        numbers = (view.get("number") for _, view in stream)
        assert next(number for number in numbers if number == 199) == 199
        assert house.client.get("/api/health").status_code == 200


def test_a_client_that_takes_nothing_loses_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "STALLED_S", 0.05)
    monkeypatch.setattr(api, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(api, "MOST_STREAMS", 1)
    house = House(tmp_path)
    with contextlib.closing(house), stall(house) as client:
        assert client.recv(1)  # it has the only place
        house.board.publish("view", {**VIEW, "reasons": ["x" * 20_000_000]})
        status = 503
        while status == 503:  # the answer is quick; the place is free after STALLED_S
            with house.client.stream("GET", "/api/monitoring/stream") as response:
                status = response.status_code
        assert status == 200


def test_the_number_of_streams_is_bounded(house: House) -> None:
    house.board.publish("view", VIEW)
    limits = httpx.Limits(max_connections=None)
    with (
        httpx.Client(base_url=house.server.address, limits=limits, trust_env=False) as many,
        contextlib.ExitStack() as open_streams,
    ):
        watched = []  # a stream that is no longer read would be closed
        for _ in range(api.MOST_STREAMS):
            response = open_streams.enter_context(many.stream("GET", "/api/monitoring/stream"))
            watched.append(events(response))
            assert next(watched[-1])[0] == "view"
        refused = many.get("/api/monitoring/stream")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "10"
        assert "32 clients" in refused.json()["detail"]
        assert many.get("/api/health").status_code == 200


# -- whom it answers, and what it lets a page do --------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:8000", "[::1]:8000"])
def test_it_answers_to_its_own_names(house: House, host: str) -> None:
    assert house.client.get("/api/history", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.168.0.7", "[::2]"]
)
def test_it_does_not_answer_to_other_names(house: House, host: str) -> None:
    for path in ("/", "/api/history", "/api/monitoring/stream"):
        answer = house.client.get(path, headers={"host": host})
        assert answer.status_code == 400
        assert "points" not in answer.text


def test_where_it_serves_all_addresses_it_answers_to_addresses_but_not_to_names() -> None:
    app = build(Board(), host="0.0.0.0")

    async def ask(host: str) -> int:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client:
            return (await client.get("/api/history", headers={"host": host})).status_code

    assert asyncio.run(ask("192.168.0.7:8000")) == 200
    assert asyncio.run(ask("evil.example")) == 400


def test_browsers_are_told_what_a_page_must_not_do(house: House) -> None:
    for path in ("/", "/api/health", "/api/nothing"):
        headers = house.client.get(path, headers={"origin": "https://evil.example"}).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
        assert not [name for name in headers if name.startswith("access-control-")]
    assert house.client.get("/api/health").headers["cache-control"] == "no-store"


# -- the page -----------------------------------------------------------------------------------


def test_without_the_page_it_says_how_to_build_it(house: House) -> None:
    answer = house.client.get("/")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "`make setup`" in answer.text
    paths = set(house.client.get("/api/openapi.json").json()["paths"]) - COMMANDS
    assert set(re.findall(r"/api/[a-z/-]+", answer.text)) == paths | {"/api/openapi"}


def test_the_built_page_is_served(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>Seawall</title>")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "index.js").write_text("1")
    (tmp_path.parent / "secret.txt").write_text("x")
    house = House(tmp_path)
    with contextlib.closing(house):
        assert "Seawall" in house.client.get("/").text
        assert "javascript" in house.client.get("/assets/index.js").headers["content-type"]
        assert house.client.get("/%2e%2e/secret.txt").status_code == 404
        assert house.client.get("/api/history").json() == {"points": []}


# -- the address --------------------------------------------------------------------------------


def test_a_taken_port_is_one_clear_line(house: House) -> None:
    port = int(house.server.address.split(":")[-1])
    with pytest.raises(PortInUseError) as caught:
        ApiServer(Board(), "127.0.0.1", port).start()
    assert str(caught.value).startswith(f"127.0.0.1:{port} is taken by another program")
    assert "--port" in str(caught.value)


def test_an_address_that_is_not_ours_is_one_clear_line() -> None:
    with pytest.raises(SettingError, match=r"cannot be served at 192\.0\.2\.1:0: "):
        ApiServer(Board(), "192.0.2.1", 0).start()
    with pytest.raises(SettingError, match=r"api.host is 'no such host'"):
        ApiServer(Board(), "no such host", 0).start()


def test_the_address_is_given_back(tmp_path: Path) -> None:
    house = House(tmp_path)
    port = int(house.server.address.split(":")[-1])
    house.close()
    house.server.stop()  # twice is as good as once
    again = ApiServer(Board(), "127.0.0.1", port)
    again.start()
    assert again.address == f"http://127.0.0.1:{port}"
    again.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "api"]
