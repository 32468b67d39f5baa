"""`seawall emergency-stop` and `seawall release` as an operator uses them: real processes."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.processes import LIVELY, Running, Shell, assert_one_line
from tests.cli.test_run import address, trading

RUN = ("run", "--feed", "simulated", "--port", "0", "--data-dir", "data", "--hostile", "none")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "seawall.toml").write_text(LIVELY)
    return Shell(tmp_path)


def told(node: Running, name: str) -> Any:
    return httpx.get(f"{address(node)}/api/{name}", trust_env=False, timeout=30).json()


def held(node: Running) -> list[str]:
    positions = told(node, "risk/portfolio")["positions"]
    return [one["instrument"] for one in positions if one["quantity"].strip("-0.")]


def standing(node: Running) -> list[str]:
    """The breakers that are not closed; none where the node has not spoken yet."""
    known = told(node, "circuit-breakers/status").get("breakers", [])
    return [one["name"] for one in known if one["state"] != "CLOSED"]


def test_an_emergency_close_holds_over_a_restart_until_it_is_released(shell: Shell) -> None:
    with shell.start(*RUN) as node:
        trading(node)
        node.until(lambda: bool(held(node)), "a position")
        operator = ("--url", address(node), "--data-dir", "data")
        early = shell("release", "emergency_close", *operator)
        assert_one_line(early, 3, "breaker emergency_close is not open")
        stopped = shell("emergency-stop", "--close-positions", *operator)
        assert stopped.out == "told the node: emergency_stop close\n"
        node.until(lambda: "emergency_close" in standing(node), "a breaker that stands")
        node.until(lambda: not held(node), "no position")
    with shell.start(*RUN) as node:
        node.until(lambda: "emergency_close" in standing(node), "a breaker that still stands")
        node.said("not trading: breaker emergency_close is OPEN")
        operator = ("--url", address(node), "--data-dir", "data")
        assert shell("release", "emergency_close", *operator).code == 0
        node.until(lambda: "emergency_close" not in standing(node), "a breaker released")


def test_where_nothing_runs_it_says_so_in_one_line(shell: Shell) -> None:
    with shell.start(*RUN) as node:
        trading(node)
    ended = shell("emergency-stop", "--url", "http://127.0.0.1:9", "--data-dir", "data")
    assert_one_line(ended, 4, "no node answers at http://127.0.0.1:9")
