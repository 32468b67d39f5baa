"""Protected positions in the whole node: stops at the venue, their width, and the way back."""

import numpy as np
import pytest

from seawall.core.intents import Approved, Protection, Target
from seawall.core.orders import OrderType, Purpose
from seawall.core.records import (
    FillBooked,
    IntentApproved,
    IntentDecided,
    IntentRefused,
    OrderCreated,
    StopOutEnded,
)
from seawall.core.settings import DecisionSettings, RiskSettings, Settings
from seawall.risk.limits import Holding, Limits, approve
from tests.node.short_runs import node_on, records, tape

CROSS = ("fast=5", "slow=20")
NARROW = 0.0003  # so that a short tape meets it


def settings(**about: object) -> Settings:
    decision = DecisionSettings(
        strategy="moving_average_cross", parameters=CROSS, minimum_hold_s=1, **about
    )
    return Settings(mode="backtest", decision=decision, risk=RiskSettings(volatility_threshold=10))


def run(eager: bool = True, **about: object):
    node = node_on(*tape(400), settings(**about), eager=eager)
    return node, node.run()


@pytest.fixture(scope="module")
def ran():
    return run(stop_loss=NARROW, take_profit=3 * NARROW)


def test_every_position_stands_behind_a_stop(ran):
    node, _ = ran
    orders = [r.order for r in records(node, OrderCreated)]
    stops = [order for order in orders if order.purpose is Purpose.STOP]
    assert stops
    assert {order.type for order in stops} == {OrderType.STOP}
    assert all(order.reduce_only and order.trigger for order in stops)
    asked = {r.approved.intent.ts for r in records(node, IntentApproved)}
    assert {order.intent_ts for order in orders} <= asked
    node.action.books.ledger.conservation()


def test_who_was_stopped_out_does_not_go_straight_back(ran):
    node, _ = ran
    stops = {r.order.client_id for r in records(node, OrderCreated) if r.order.purpose == "stop"}
    out = [r for r in records(node, FillBooked) if r.fill.client_id in stops]
    assert out
    side = -out[0].fill.side.sign
    ended = [r.ts for r in records(node, StopOutEnded)]
    until = min((ts for ts in ended if ts > out[0].ts), default=1 << 62)
    between = [
        r.approved.intent
        for r in records(node, IntentApproved)
        if out[0].ts < r.ts < until and isinstance(r.approved.intent, Target)
    ]
    assert all(intent.exposure * side <= 0 for intent in between)
    refused = [r for r in records(node, IntentRefused) if "stopped out" in r.refused.reason]
    assert refused or ended


def test_acting_only_where_something_is_due_is_the_same(ran):
    quiet, _ = run(eager=False, stop_loss=NARROW, take_profit=3 * NARROW)
    assert quiet.recorder.journal.head == ran[0].recorder.journal.head


def test_a_trailing_stop_is_the_venues_own():
    node, summary = run(stop_loss=NARROW, trailing_stop="on")
    stops = [r.order for r in records(node, OrderCreated) if r.order.purpose is Purpose.STOP]
    assert {order.type for order in stops} <= {OrderType.TRAILING_STOP, OrderType.MARKET}
    assert sum(order.type is OrderType.TRAILING_STOP for order in stops) > 3
    assert summary.fills == len(records(node, FillBooked))
    node.action.books.ledger.conservation()


def test_without_protection_no_intent_speaks_of_it():
    node, _ = run()
    targets = [r.intent for r in records(node, IntentDecided) if isinstance(r.intent, Target)]
    assert targets
    assert all(intent.protection is None for intent in targets)
    assert node.action.books.protections.agreed == {}


@pytest.mark.parametrize("widening", [1.0, 1.5, 2.5])
def test_money_at_risk_is_the_same_however_wide_the_stop(widening):
    intent = Target(
        strategy="s",
        ts=0,
        tape=0,
        expiry=1,
        instrument="x",
        exposure=10_000.0,
        protection=Protection(stop=0.02, take_profit=0.1),
    )
    holding = Holding(asset="x", mark=1.0, value=1.0, widening=widening)
    (answer,), _ = approve([intent], {"x": holding}, 1e6, Limits(), [], 0)
    assert isinstance(answer, Approved)
    assert answer.protection is not None
    assert answer.protection.stop == pytest.approx(0.02 * widening)
    assert answer.protection.take_profit == 0.1
    assert np.isclose(answer.position * answer.protection.stop, 200.0, rtol=1e-3)


def test_no_trade_risks_more_than_its_share_of_equity():
    intent = Target(
        strategy="s",
        ts=0,
        tape=0,
        expiry=1,
        instrument="x",
        exposure=200_000.0,
        protection=Protection(stop=0.4),
    )
    holding = Holding(asset="x", mark=1.0, value=1.0)
    (answer,), _ = approve([intent], {"x": holding}, 1e6, Limits(), [], 0)
    assert answer.position * 0.4 <= 40_000
    assert answer.capped_by == "per_trade"
