"""Several strategies in one node: their shares, their books, and one of them that fails."""

import pytest

from seawall.core.errors import SettingError
from seawall.core.orders import Purpose
from seawall.core.records import (
    FillBooked,
    IntentApproved,
    IntentDecided,
    LotsTransferred,
    OrderCreated,
    StrategyStopped,
)
from seawall.core.settings import DecisionSettings, RiskSettings, Settings
from seawall.decision.strategies import exposing
from seawall.ingestion.tape import write_tape
from seawall.lab.tearsheet.page import page
from seawall.node.strategy import Sleeve, made, sleeves_of
from seawall.node.tearsheet import gather
from seawall.storage.journal import MemoryJournal
from tests.node.short_runs import node_on, records, tape

FAST = "moving_average_cross share=0.5 name=fast fast=5 slow=20"
SLOW = "moving_average_cross share=0.3 name=slow fast=10 slow=60"
FAILING = """
from typing import Annotated
import msgspec
import numpy as np
from seawall.decision.strategies import Kind

class Shape(msgspec.Struct, frozen=True):
    rows: int = 200

class Failing:
    name = "failing"
    def __init__(self, shape, cadence): self.rows = shape.rows
    def start(self): return np.zeros(1)
    def exposures(self, rows, state):
        state[0] += len(rows)
        if state[0] > self.rows:
            raise RuntimeError("no more")
        return np.ones(len(rows))

STRATEGY = Kind(Shape, Failing)
"""


QUOTING = """
import msgspec
import numpy as np
from seawall.decision.quoting import QUOTE
from seawall.decision.strategies import Kind

class Shape(msgspec.Struct, frozen=True):
    half: float = 0.00005

class Maker:
    name, rungs, step = "maker", 2, 0.00003
    def __init__(self, shape, cadence): self.half = shape.half
    def start(self): return None
    def quotes(self, rows, state):
        said = np.zeros(len(rows), QUOTE)
        said["half"], said["skew"], said["size"] = self.half, self.half, 0.2
        return said

STRATEGY = Kind(Shape, Maker)
"""


def settings(*strategies: str, mode: str = "backtest") -> Settings:
    decision = DecisionSettings(strategies=strategies, minimum_hold_s=1)
    return Settings(mode=mode, decision=decision, risk=RiskSettings(volatility_threshold=10))


def run(*strategies: str, mode: str = "backtest", **about):
    node = node_on(*tape(400), settings(*strategies, mode=mode), **about)
    return node, node.run()


def test_each_trades_its_share_under_its_own_name():
    node, summary = run(FAST, SLOW)
    ledger = node.action.books.ledger
    assert set(ledger.strategies) == {"fast", "slow"}
    ledger.conservation()
    for name, lots in ledger.positions.items():
        assert sum(ledger.shares(name).values()) == lots
    assert set(summary.strategies) == {"fast", "slow"}
    gain = sum(result.pnl for result in summary.strategies.values())
    assert gain == pytest.approx(summary.equity_end - summary.equity_start, abs=1e-6)
    fills = sum(result.fills for result in summary.strategies.values())
    assert fills == summary.fills == len(records(node, FillBooked))
    most = {}
    for record in records(node, IntentDecided):
        exposure = abs(getattr(record.intent, "exposure", 0.0))
        most[record.intent.strategy] = max(most.get(record.intent.strategy, 0.0), exposure)
    assert most["slow"] / most["fast"] == pytest.approx(0.6, rel=0.01)


def test_one_alone_among_several_is_that_one():
    node, _ = run("moving_average_cross fast=5 slow=20")
    decision = DecisionSettings(
        strategy="moving_average_cross", parameters=("fast=5", "slow=20"), minimum_hold_s=1
    )
    alone = node_on(
        *tape(400),
        Settings(mode="backtest", decision=decision, risk=RiskSettings(volatility_threshold=10)),
    )
    alone.run()
    said = [records(each, FillBooked) for each in (node, alone)]
    assert said[0] == said[1] != []


def test_one_that_fails_is_closed_and_the_others_go_on(tmp_path):
    file = tmp_path / "failing.py"
    file.write_text(FAILING)
    node, summary = run(f"{file} share=0.5", FAST, mode="paper")
    (stopped,) = records(node, StrategyStopped)
    assert stopped.strategy == "failing"
    assert "RuntimeError: no more" in stopped.reason
    ledger = node.action.books.ledger
    assert all(not ledger.position(name, "failing") for name in ledger.positions)
    traded = [r for r in records(node, FillBooked) if r.ts > stopped.ts]
    assert {r.strategy for r in traded} == {"failing", "fast"}
    assert any("all of it to be closed" in note for note in summary.notes)
    assert not node.action.books.tally.halted


def test_in_a_backtest_a_failure_ends_the_run(tmp_path):
    file = tmp_path / "failing.py"
    file.write_text(FAILING)
    with pytest.raises(SettingError, match=r"failing\.py, line \d+: RuntimeError: no more"):
        run(f"{file} share=0.5", FAST)


def test_shares_that_are_not_given_are_equal_parts_of_the_rest():
    assert sleeves_of(["trend share=0.6 fast=5", "rules", "my files/x.py slow=3"]) == [
        Sleeve("trend", "trend", 0.6, ("fast=5",)),
        Sleeve("rules", "rules", pytest.approx(0.2), ()),
        Sleeve("my files/x.py", "x", pytest.approx(0.2), ("slow=3",)),
    ]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (("trend", "trend fast=5"), "two are called trend; give one of them another name"),
        (("trend share=0.7", "rules share=0.7"), "add up to 1.4, above 1"),
        (("trend share=1", "rules"), "leaves nothing for the others"),
        (("trend share=x",), "share of trend is 'x'"),
        (("trend share=0",), "share of trend is '0'"),
        (("fast=5",), "begin with a strategy's name"),
        (("trend fast=",), "write NAME=VALUE"),
    ],
)
def test_what_is_wrong_is_named(texts, says):
    with pytest.raises(SettingError, match=says):
        node_on(*tape(115), settings(*texts))


def test_one_strategy_or_several_not_both():
    with pytest.raises(ValueError, match="stands in place of"):
        DecisionSettings(strategy="trend", strategies=("trend",))


def test_settings_without_several_are_those_of_before():
    assert "strategies" not in Settings(mode="backtest").canonical()
    assert "strategies" in settings("trend").canonical()


def test_one_that_quotes_makes_a_market_beside_one_that_does_not(tmp_path):
    file = tmp_path / "maker.py"
    file.write_text(QUOTING)
    node, summary = run(f"{file} share=0.5", FAST)
    orders = [r.order for r in records(node, OrderCreated)]
    quotes = [order for order in orders if order.purpose is Purpose.QUOTE]
    assert {order.strategy for order in quotes} == {"maker"}
    assert all(order.post_only for order in quotes)
    asked = {r.approved.intent.ts for r in records(node, IntentApproved)}
    assert {order.intent_ts for order in orders} <= asked
    assert summary.strategies["maker"].fills > 5
    ledger = node.action.books.ledger
    ledger.conservation()
    most = 0.5 * 0.1 * summary.equity_start  # its part of an instrument's cap
    for name, lots in ledger.shares("BTC/USD@sim-a").items():
        value = node.action.prices.lot_value(node.action.prices.catalog.by_name["BTC/USD@sim-a"])
        assert name != "maker" or abs(lots) * value <= most * 1.01
    assert not node.action.books.orders.open


def test_what_quotes_is_not_searched_for_exposures():
    with pytest.raises(SettingError, match="market_making quotes, and this is for strategies of"):
        exposing("market_making", made("market_making", (), 10**9))


def test_the_tear_sheet_shows_what_each_came_to(tmp_path):
    catalog, rows = tape(400)
    write_tape(tmp_path / "tape", catalog, rows)
    kept = MemoryJournal()
    node, summary = run(FAST, SLOW, journal=kept)
    kept.write(tmp_path / "journal")
    sheet = gather(tmp_path / "journal", tmp_path / "tape", settings(FAST, SLOW), lambda *_: None)
    for each in sheet.sleeves:
        assert each.pnl == pytest.approx(summary.strategies[each.name].pnl, rel=1e-6, abs=1e-6)
        assert each.fills == summary.strategies[each.name].fills
    moved = records(node, LotsTransferred)
    assert sum(each.transfers for each in sheet.sleeves) == 2 * len(moved)
    shown = page(sheet)
    assert "<h2>Strategies</h2>" in shown
    assert ">fast<" in shown
