"""What the page is told: every field of its contract, in plain values, and no number made up."""

import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from seawall.api.board import Board
from seawall.core.clock import SECOND
from seawall.core.errors import VenueUnreachableError
from seawall.node.node import Node
from seawall.node.views import Window, view_of
from tests.house import ROOT
from tests.node.short_runs import START, node_on, tape

CONTRACT = ROOT / "web" / "src" / "view.ts"
MORE = {"Figures", "Group"}  # the API tells more of these than the page shows
PLAIN = (str, int, float, bool, type(None))


def contract(path: Path = CONTRACT) -> dict[str, dict[str, str]]:
    """Type → field → type of the field, as the page declares them."""
    text = re.sub(r"/\*\*.*?\*/", "", path.read_text("utf-8"), flags=re.S)
    text = text.replace("} & Partial<{", "").replace("}>;", "};")  # newer fields of a type
    return {
        name: dict(re.findall(r"(\w+)\??: ((?:\{[^}]*\}|[^;{}])+);", body))
        for name, body in re.findall(r"export type (\w+) = \{\n(.*?)\n\};", text, re.S)
    } | {
        name: dict(re.findall(r"(\w+)\??: ([^;]+)", body))
        for name, body in re.findall(r"export type (\w+) = \{ (.*?) \};", text)
    }


class Kept:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Any]] = []

    def publish(self, topic: str, payload: Any) -> None:
        self.published.append((topic, msgspec.to_builtins(payload)))


@pytest.fixture(scope="module")
def ran() -> Node:
    node = node_on(*tape(100))
    node.run()
    return node


@pytest.fixture
def fresh() -> Node:
    return node_on(*tape(100))


def fits(value: Any, kind: str, types: dict[str, dict[str, str]], where: str) -> None:
    """AssertionError unless a value is what the page calls `kind`."""
    if kind.endswith("[]"):
        assert isinstance(value, list), where
        for number, item in enumerate(value):
            fits(item, kind[:-2], types, f"{where}[{number}]")
    elif kind.endswith(" | null") and value is None:
        return
    elif kind.removesuffix(" | null") in types or kind.startswith("{"):
        kind = kind.removesuffix(" | null")
        fields = types.get(kind) or dict(re.findall(r"(\w+): ([^;}]+?)\s*(?:;|\})", kind))
        told = fields.keys() if kind in MORE or kind.startswith("{") else value.keys()
        assert fields.keys() == told, where
        assert told <= value.keys(), where
        for name, inner in fields.items():
            fits(value[name], inner, types, f"{where}.{name}")
    elif " | " in kind:
        literals = re.findall(r'"(\w+)"', kind)
        if literals:
            assert value in literals, where
        elif value is not None:
            fits(value, kind.replace(" | null", ""), types, where)
    elif kind.startswith("Record<string, "):
        for name, item in value.items():
            assert isinstance(name, str)
            fits(item, kind[15:-1], types, f"{where}.{name}")
    else:
        expected = {
            "Maybe": (int, float, type(None)),
            "string": (str,),
            "boolean": (bool,),
            "[Maybe, Maybe]": (list,),
        }[kind]
        assert type(value) in expected or (kind == "string" and isinstance(value, str)), where


def plain(value: Any, where: str = "view") -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            plain(item, f"{where}.{name}")
    elif isinstance(value, list):
        for item in value:
            plain(item, where)
    else:
        assert isinstance(value, PLAIN), f"{where} is {type(value)}"


def test_the_contract_can_be_read():
    types = contract()
    assert {"View", "Equity", "Position", "Order", "Fill", "Breaker", "Source", "Gate"} <= set(
        types
    )
    assert types["Instrument"]["spread_bps"] == "Maybe"
    assert types["View"]["fills"] == "Fill[]"
    assert types["View"]["journal"].startswith("{ rows")


@pytest.mark.parametrize("which", ["ran", "fresh"])
def test_a_view_is_what_the_page_expects(which, request):
    view = view_of(request.getfixturevalue(which), 1.5)
    fits(view, "View", contract(), "view")
    plain(view)


@pytest.mark.parametrize("lost", ["equity", "mode", "journal"])
def test_a_field_that_is_left_out_is_noticed(fresh, lost):
    view = view_of(fresh, 1.5)
    del view[lost]
    with pytest.raises(AssertionError):
        fits(view, "View", contract(), "view")


def test_a_view_after_a_run_has_something_of_everything(ran):
    view = view_of(ran, 1.5)
    empty = {name for name, value in view.items() if value in ([], {}, None, "")}
    assert empty - {"positions"} == {"reasons", "hostile", "naive"}  # all sources are honest
    assert view["equity"]["value"] > 0
    assert {source["state"] for source in view["sources"]} == {"live"}
    assert len(view["instruments"]) == 5
    assert 0 < len(view["fills"]) <= 50
    assert view["fills"][0]["ts"] >= view["fills"][-1]["ts"]


@pytest.mark.parametrize("which", ["ran", "fresh"])
def test_a_view_is_json_without_nan(which, request):
    board = Board()
    node = request.getfixturevalue(which)
    board.publish("view", view_of(node, 1.5))
    text = board._view.body

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    told = json.loads(text, parse_constant=refuse)
    assert told["now"] == node.now // 1_000_000


def test_before_the_first_row_nothing_is_claimed(fresh):
    view = view_of(fresh, 0.0)
    assert all(value is None for name, value in view["equity"].items() if name != "ts")
    assert {source["state"] for source in view["sources"]} == {"down"}
    assert view["instruments"] == view["positions"] == view["fills"] == []
    assert view["reasons"]
    assert view["status"] != "trading"


def test_an_unknown_mark_is_no_number(ran):
    node = node_on(*tape(100))
    node.run()
    node.action.prices.marks.clear()
    node.action.books.ledger._account["BTC/USD@sim-a"].position += 1
    node.action.value()
    told = json.loads(msgspec.json.encode(view_of(node, 1.5)))
    assert told["equity"]["value"] is None
    assert math.isnan(node.action.equity)


def test_a_block_shows_as_halted_with_its_reason(fresh):
    fresh.status = "trading"
    fresh.action.halt("somebody pulled the plug", START)
    view = view_of(fresh, 1.5)
    assert view["status"] == "halted"
    assert view["reasons"][0] == "somebody pulled the plug"


def test_a_venue_out_of_reach_is_said(fresh):
    fresh.action.executor.lost(str(VenueUnreachableError("the line is cut")))
    assert "the venue does not answer: the line is cut" in view_of(fresh, 1.5)["reasons"]


def test_points_come_once_a_second_and_are_handed_out_once():
    publisher = Kept()
    node = node_on(*tape(100), publisher=publisher)
    node.run()
    times = [point["ts"] for topic, point in publisher.published if topic == "point"]
    assert len(times) == len(set(times)) >= 98
    assert all(b - a >= 1000 for a, b in pairwise(times))
    assert node.window.points() == []
    assert publisher.published[-1][0] in ("view", "point", "provenance")
    assert [topic for topic, _ in publisher.published].count("view") >= 1


def test_silences_and_rates_are_counted_by_source():
    catalog, rows = tape(100)
    node = node_on(catalog, rows[:0])
    window = Window(node.perception)
    early = rows[rows["recv_ts"] < START + 10 * SECOND]
    late = rows[rows["recv_ts"] > START + 60 * SECOND]
    window.note(early)
    rates = window.rates(int(early["recv_ts"][-1]))
    assert all(rate > 1 for rate in rates)
    window.note(late)
    assert window.gap_count == 5
    assert {name for name, _, _ in window.gaps} == {source.name for source in catalog.sources}
    assert all(49 * SECOND < length < 52 * SECOND for _, _, length in window.gaps)
    assert window.rates(int(late["recv_ts"][-1]) + 60 * SECOND) == [0.0] * 5


def test_a_summary_counts_what_the_journal_holds(ran):
    summary = ran.summary()
    assert summary.orders == ran.action.books.orders.created
    assert summary.journal_hash == ran.recorder.journal.head
    assert summary.rows == len(tape(100)[1])
    assert 0 <= summary.max_drawdown < 1
    assert summary.equity_start == 100_000.0
    assert set(summary.positions) == set(ran.action.books.ledger.positions)
