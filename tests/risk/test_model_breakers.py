"""Breakers of the models: they show, journal and latch; only concentration stops trading."""

import math

import pytest

from seawall.core.clock import MINUTE, SECOND
from seawall.risk.breakers import BREAKERS, Action, Breakers, Scope, configured
from seawall.risk.gauges import Gauges

START = 1_700_000_000 * SECOND
MODELS = {name: b for name, b in BREAKERS.items() if b.scope is Scope.MODEL}


class Desk:
    """Breakers and gauges, with one measure of a model."""

    def __init__(self) -> None:
        self.breakers, self.gauges = Breakers(), Gauges(BREAKERS)

    def tick(self, second: int, **measures: float) -> list[tuple[str, str]]:
        ts = START + second * SECOND
        given = {name: {"BTC": value} for name, value in measures.items()}
        read = self.gauges.read(ts, {}, {}, 1.0, 0.0, self.breakers, given)
        changes = self.breakers.check(read, ts)
        for change in changes:
            self.breakers.apply(change)
        return [(change.name, change.state) for change in changes]

    def blocks(self, asset: str | None) -> list[str]:
        return [r for r in self.breakers.blocking(asset) if "unknown" not in r]


def test_they_are_what_the_requirements_say() -> None:
    assert {n: (b.threshold, b.cooldown // MINUTE, b.action) for n, b in MODELS.items()} == {
        "anchor_anomaly": (4.0, 10, Action.LEARN),
        "kl_divergence": (1.0, 10, Action.LEARN),
        "provenance_concentration": (0.15, 1, Action.FREEZE),
        "vpin_toxicity": (0.75, 2, Action.LEARN),
        "slippage_anomaly": (2.5, 5, Action.FREEZE),
    }
    assert configured({"vpin_toxicity": 0.9})["vpin_toxicity"].threshold == 0.9


@pytest.mark.parametrize("name", [n for n, b in MODELS.items() if b.action is Action.LEARN])
def test_what_stops_learning_latches_and_lets_trading_go_on(name: str) -> None:
    desk, breaker = Desk(), MODELS[name]
    assert desk.tick(0, **{name: breaker.threshold}) == []
    assert desk.tick(1, **{name: 1.01 * breaker.threshold}) == [(name, "OPEN")]
    assert desk.breakers.acts(Action.LEARN)
    assert desk.blocks("BTC") == desk.blocks(None) == desk.blocks("") == []
    wait = breaker.cooldown // SECOND
    opened = [(at, desk.tick(at, **{name: 0.0})) for at in range(2, 2 * wait + 10)]
    assert [(at, c) for at, c in opened if c] == [
        (2 + wait, [(name, "HALF_OPEN")]),
        (2 + 2 * wait, [(name, "CLOSED")]),
    ]


def test_concentration_freezes_its_own_group() -> None:
    desk = Desk()
    assert desk.tick(0, provenance_concentration=0.2) == [("provenance_concentration", "OPEN")]
    assert len(desk.blocks("BTC")) == 1
    assert desk.blocks("ETH") == desk.blocks("") == []


def test_a_measure_that_is_not_known_blocks_nothing() -> None:
    desk = Desk()
    assert desk.tick(0, **dict.fromkeys(MODELS, math.nan)) == []
    assert desk.blocks("BTC") == []
    assert not [r for r in desk.breakers.blocking("BTC") if any(n in r for n in MODELS)]
    lines = {line.name: line for line in desk.breakers.status()}
    assert math.isnan(lines["vpin_toxicity"].measure)
    assert lines["vpin_toxicity"].key == "BTC"
