"""Breakers: open at their threshold, stay open until their rule or an operator, forget nothing."""

import copy
import math
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import MINUTE, SECOND
from seawall.core.errors import SeawallError, SettingError
from seawall.core.records import AnyRecord, BreakerChanged, Digest, decode, encode
from seawall.risk.breakers import BREAKERS, Action, Breakers, Measure, Reading, State, configured
from seawall.risk.gauges import Gauges

START = 1_700_000_000 * SECOND


class Desk:
    """Breakers and gauges as the node runs them: read, check, journal, apply."""

    def __init__(self, cadence: int = SECOND) -> None:
        self.breakers = Breakers()
        self.gauges = Gauges(BREAKERS, cadence)
        self.journal: list[AnyRecord] = []

    def tick(
        self,
        second: float,
        price: float = 100.0,
        volatility: float = 0.3,
        equity: float = 1_000.0,
        leverage: float = 1.0,
    ) -> list[tuple[str, str]]:
        """One boundary; (breaker, new state) of what changed."""
        ts = START + int(second * SECOND)
        measures = self.gauges.read(
            ts, {"BTC": price}, {"BTC": volatility}, equity, leverage, self.breakers
        )
        return self.enact(self.breakers.check(measures, ts))

    def enact(self, records: Sequence[AnyRecord]) -> list[tuple[str, str]]:
        changes = []
        for record in records:
            journaled = decode(encode(record))
            self.journal.append(journaled)
            self.breakers.apply(journaled)
            if isinstance(journaled, BreakerChanged):
                changes.append((journaled.name, journaled.state))
        return changes

    def state_of(self, name: str) -> str:
        return next(line.state for line in self.breakers.status() if line.name == name)


def run(desk: Desk, seconds: Sequence[float], prices: Sequence[float]) -> list[tuple[str, str]]:
    return [
        change
        for second, price in zip(seconds, prices, strict=True)
        for change in desk.tick(second, price)
    ]


# --- flash crash ---


@pytest.mark.parametrize(
    ("seconds", "prices", "opens"),
    [
        ([0, 1], [100.0, 94.9], True),  # at once
        ([0, 1], [100.0, 105.1], True),  # upward counts too
        ([0, 1], [100.0, 95.0], False),  # exactly at the threshold
        ([0, 1], [100.0, 105.0], False),
        ([0, 1], [60_000.0, 57_000.0], False),
        ([0, 1], [60_000.0, 56_999.99], True),
        ([0, 60], [100.0, 94.9], True),  # a minute apart is within the minute
        ([0, 60.000000001], [100.0, 94.9], False),
        (range(61), [100.0 - 0.0851 * s for s in range(61)], True),  # slow bleed: 5.1 % in 60 s
        (range(61), [100.0 - 0.0833 * s for s in range(61)], False),  # 4.998 %
        (range(121), [100.0 - 0.0780 * s for s in range(121)], False),  # 9.4 % in two minutes
        ([0, 20, 40, 50], [98.0, 102.0, 99.0, 96.8], True),  # from the top in the window
        ([0, 30, 70], [103.0, 99.0, 97.0], False),  # the top has left the window
    ],
)
def test_flash_crash(seconds: Sequence[float], prices: Sequence[float], opens: bool) -> None:
    desk = Desk()
    changes = run(desk, seconds, prices)
    assert (("flash_crash", "OPEN") in changes) is opens
    assert bool(desk.breakers.blocking()) is opens
    assert desk.breakers.acts(Action.HALT) is opens


def test_flash_crash_opens_once_and_says_why() -> None:
    desk = Desk()
    assert run(desk, [0, 1, 2, 3], [100.0, 90.0, 80.0, 70.0]) == [("flash_crash", "OPEN")]
    (reason,) = desk.breakers.blocking("ETH")  # a halt concerns every asset
    assert reason == (
        "breaker flash_crash of BTC is OPEN: move of the consensus within 60 s is 0.1 fraction, "
        "over 0.05"
    )
    (line,) = [s for s in desk.breakers.status() if s.name == "flash_crash"]
    assert (line.scope, line.key, line.state) == ("market", "BTC", "OPEN")
    assert (line.since, line.ts) == (START + SECOND, START + 3 * SECOND)
    assert line.measure == pytest.approx(0.3)
    assert (line.threshold, line.unit) == (0.05, "fraction")


def test_recovery_takes_the_cooldown_calm_and_probation() -> None:
    """Opens at 1 s; its window is calm from 62 s on; half open a cooldown later, closed another."""
    desk = Desk()
    prices = [100.0] + [90.0] * 1_000
    changed = {}
    for second, price in enumerate(prices):
        for change in desk.tick(second, price):
            changed[change] = second
    assert changed == {
        ("flash_crash", "OPEN"): 1,
        ("flash_crash", "HALF_OPEN"): 61 + 300,
        ("flash_crash", "CLOSED"): 61 + 600,
    }
    assert desk.breakers.blocking() == []


def test_half_open_still_blocks_and_opens_again() -> None:
    desk = Desk()
    for second, price in enumerate([100.0] + [90.0] * 400):
        desk.tick(second, price)
    assert desk.state_of("flash_crash") == "HALF_OPEN"
    assert "HALF_OPEN" in desk.breakers.blocking()[0]
    assert not desk.breakers.acts(Action.HALT)
    assert desk.tick(401, 80.0) == [("flash_crash", "OPEN")]
    (line,) = [s for s in desk.breakers.status() if s.name == "flash_crash"]
    assert line.since == START + 401 * SECOND


def test_between_calm_and_threshold_it_stays_open() -> None:
    desk = Desk()
    for second in range(2_000):
        desk.tick(second, volatility=0.7 if second == 5 else 0.5)  # calm is under 0.48
    assert desk.state_of("volatility_spike") == "OPEN"
    for second in range(2_000, 2_302):
        desk.tick(second, volatility=0.47)
    assert desk.state_of("volatility_spike") == "HALF_OPEN"


def test_an_unknown_measure_breaks_the_calm() -> None:
    desk = Desk()
    for second, price in enumerate([100.0] + [90.0] * 360):
        desk.tick(second, price if second != 300 else 0.0)
    desk.tick(361, 90.0)
    assert desk.state_of("flash_crash") == "OPEN"


def test_nobody_looking_breaks_the_calm() -> None:
    desk = Desk()
    for second, price in enumerate([100.0] + [90.0] * 100):
        desk.tick(second, price)
    assert desk.tick(500, 90.0) == []
    assert desk.state_of("flash_crash") == "OPEN"


def test_volatility_freezes_its_own_asset_alone() -> None:
    desk = Desk()
    assert desk.tick(0, volatility=0.60) == []
    assert desk.tick(1, volatility=0.61) == [("volatility_spike", "OPEN")]
    assert desk.breakers.blocking("ETH") == []
    assert len(desk.breakers.blocking("BTC")) == 1
    assert len(desk.breakers.blocking()) == 1
    assert desk.breakers.acts(Action.FREEZE)


# --- portfolio ---


def test_equity_crash_looks_back_ten_seconds() -> None:
    desk = Desk()
    assert [c for s in range(9) for c in desk.tick(s, equity=1_000 - 3 * s)] == []
    assert desk.tick(10, equity=970.0) == []  # exactly 3 %
    assert desk.tick(10, equity=969.9) == [("equity_crash", "OPEN")]
    other = Desk()
    other.tick(0, equity=1_000.0)
    assert other.tick(10.1, equity=960.0) == []


def test_drawdown_stays_open_for_ever_without_an_operator() -> None:
    desk = Desk()
    desk.tick(0, equity=1_000.0)
    assert desk.tick(100, equity=800.0) == []  # exactly 20 %
    assert ("drawdown", "OPEN") in desk.tick(101, equity=799.9)
    for day in range(1, 400):
        desk.tick(101 + day * 86_400, equity=5_000.0)
    assert desk.state_of("drawdown") == "OPEN"
    assert any("drawdown" in reason for reason in desk.breakers.blocking("ETH"))


def test_an_operator_releases_drawdown_in_two_steps_and_the_peak_starts_anew() -> None:
    desk = Desk()
    desk.tick(0, equity=1_000.0)
    desk.tick(100, equity=700.0)
    at = START + 700 * SECOND
    with pytest.raises(SeawallError, match="can be released in 1 s"):
        desk.breakers.release("drawdown", "", at - 1, "ann")
    with pytest.raises(SeawallError, match="not open"):
        desk.breakers.release("leverage", "", at, "ann")
    assert desk.enact(desk.breakers.release("drawdown", "", at, "ann")) == [
        ("drawdown", "HALF_OPEN")
    ]
    assert desk.tick(701, equity=690.0) == []
    assert desk.state_of("drawdown") == "HALF_OPEN"
    assert "released by ann" in desk.breakers.blocking()[0]
    assert desk.enact(desk.breakers.release("drawdown", "", at + 2 * SECOND, "ann")) == [
        ("drawdown", "CLOSED")
    ]
    assert desk.gauges.peak(desk.breakers) == 690.0
    assert desk.tick(800, equity=560.0) == []
    assert ("drawdown", "OPEN") in desk.tick(900, equity=551.0)


def test_the_peak_survives_a_restart_through_the_digest() -> None:
    desk = Desk()
    desk.tick(0, equity=1_000.0)
    peak = desk.gauges.peak(desk.breakers)
    digest = Digest(ts=START, tape=0, frames="", marks={}, equity=1_000.0, peak=peak)
    desk.enact([digest])
    again = Desk()
    again.enact(desk.journal)
    assert again.tick(1_000, equity=805.0) == []
    assert ("drawdown", "OPEN") in again.tick(2_000, equity=799.0)


def test_leverage_reduces_and_waits_for_an_operator() -> None:
    desk = Desk()
    assert desk.tick(0, leverage=2.0) == []
    assert desk.tick(1, leverage=2.01) == [("leverage", "OPEN")]
    assert Desk().tick(0, leverage=math.inf) == [("leverage", "OPEN")]
    assert desk.breakers.acts(Action.REDUCE)
    for second in range(2, 1_000):
        desk.tick(second, leverage=0.5)
    assert desk.state_of("leverage") == "OPEN"


@pytest.mark.parametrize(
    ("unknown", "blocked"),
    [
        ({"equity": math.nan, "leverage": math.nan}, ["equity_crash", "drawdown", "leverage"]),
        ({"equity": 0.0}, ["equity_crash", "drawdown"]),
        ({"leverage": math.nan}, ["leverage"]),
        ({"leverage": -3.0}, ["leverage"]),
    ],
)
def test_an_unknown_portfolio_measure_blocks_but_does_not_latch(
    unknown: dict[str, float], blocked: list[str]
) -> None:
    desk = Desk()
    assert desk.tick(1, **unknown) == []
    reasons = desk.breakers.blocking()
    assert all(reason.startswith("unknown measure") for reason in reasons)
    assert [reason.split("breaker ")[1] for reason in reasons] == [f"{name})" for name in blocked]
    desk.tick(2)
    assert desk.breakers.blocking() == []


def test_before_the_first_check_nothing_is_known() -> None:
    assert len(Breakers().blocking()) == 3
    assert [line.state for line in Breakers().status()] == ["CLOSED"] * len(BREAKERS)


# --- the fold ---


def test_check_changes_nothing_before_apply() -> None:
    breakers = Breakers()
    measures = [Measure(BREAKERS["leverage"], "", 3.0)]
    reading = Reading(lambda: measures, True, ["drawdown"])
    before = breakers.state()
    assert breakers.check(reading, START) == breakers.check(reading, START) != []
    assert breakers.state() == before
    assert breakers.blocking() != []  # other measures are missing
    assert not breakers.acts(Action.REDUCE)


def test_a_latch_whose_breaker_is_gone_still_halts() -> None:
    breakers = Breakers({})
    breakers.check(Reading(list, False, []), START)
    assert breakers.blocking() == []
    changed = BreakerChanged(
        ts=START,
        name="old",
        scope="market",
        key="BTC",
        state="OPEN",
        measure=1.0,
        threshold=0.5,
        reason="gone",
        since=START,
    )
    breakers.apply(changed)
    assert breakers.acts(Action.HALT)
    assert breakers.blocking("ETH") == ["breaker old of BTC is OPEN: gone"]
    released = breakers.release("old", "BTC", START + 1, "ann")
    assert released[0].state == State.HALF_OPEN


ticks = st.lists(
    st.tuples(
        st.sampled_from([0.5, 1.0, 30.0, 200.0]),
        st.sampled_from([100.0, 97.0, 94.0, 105.5, 0.0]),
        st.sampled_from([0.3, 0.5, 0.7, math.nan]),
        st.sampled_from([1_000.0, 985.0, 960.0, 780.0, math.nan]),
        st.sampled_from([1.0, 1.9, 2.5]),
    ),
    max_size=40,
)


def feed(desk: Desk, second: float, steps: list[tuple[float, ...]]) -> float:
    for gap, *values in steps:
        second += gap
        desk.tick(second, *values)
    return second


@settings(max_examples=150, deadline=None)
@given(ticks, ticks)
def test_state_and_restore_give_the_same_future(
    before: list[tuple[float, ...]], after: list[tuple[float, ...]]
) -> None:
    desk, again = Desk(30 * SECOND), Desk(30 * SECOND)
    second = feed(desk, 0.0, before)
    kept = msgspec.msgpack.encode(desk.breakers.state())
    again.breakers.restore(msgspec.msgpack.decode(kept))
    again.gauges = copy.deepcopy(desk.gauges)
    seen = len(desk.journal)
    feed(desk, second, after)
    feed(again, second, after)
    assert desk.journal[seen:] == again.journal
    assert desk.breakers.state() == again.breakers.state()
    if after:
        assert desk.breakers.blocking() == again.breakers.blocking()


def test_a_restart_in_the_middle_of_the_calm_changes_no_second() -> None:
    desk = Desk()
    for second, price in enumerate([100.0] + [90.0] * 360):
        desk.tick(second, price)
    again = Desk()
    again.breakers.restore(desk.breakers.state())
    fresh = Desk()
    fresh.breakers.restore(desk.breakers.state())
    again.gauges = copy.deepcopy(desk.gauges)
    assert again.tick(361, 90.0) == desk.tick(361, 90.0) == [("flash_crash", "HALF_OPEN")]
    assert fresh.tick(361, 90.0) == []  # without the gauges' memory it only takes longer
    for second in range(362, 662):
        fresh.tick(second, 90.0)
    assert fresh.state_of("flash_crash") == "HALF_OPEN"


@settings(max_examples=150, deadline=None)
@given(ticks)
def test_a_reading_knows_whether_any_breaker_has_to_change(
    steps: list[tuple[float, ...]],
) -> None:
    desk, second = Desk(30 * SECOND), 0.0
    for gap, price, volatility, equity, leverage in steps:
        second += gap
        ts = START + int(second * SECOND)
        gauges = copy.deepcopy(desk.gauges)
        reading = gauges.read(
            ts, {"BTC": price}, {"BTC": volatility}, equity, leverage, desk.breakers
        )
        assert reading.due == bool(desk.tick(second, price, volatility, equity, leverage))


@settings(max_examples=100, deadline=None)
@given(ticks)
def test_the_journal_alone_rebuilds_the_latches(steps: list[tuple[float, ...]]) -> None:
    desk = Desk(30 * SECOND)
    feed(desk, 0.0, steps)
    rebuilt = Breakers()
    for record in desk.journal:
        rebuilt.apply(record)
    assert rebuilt.state() == desk.breakers.state()


@settings(max_examples=100, deadline=None)
@given(ticks)
def test_every_change_is_a_legal_step(steps: list[tuple[float, ...]]) -> None:
    desk = Desk(30 * SECOND)
    feed(desk, 0.0, steps)
    legal = {"CLOSED": {"OPEN"}, "OPEN": {"HALF_OPEN"}, "HALF_OPEN": {"OPEN", "CLOSED"}}
    states: dict[tuple[str, str], BreakerChanged] = {}
    for record in desk.journal:
        assert isinstance(record, BreakerChanged)
        last = states.get((record.name, record.key))
        assert record.state in legal[last.state if last else "CLOSED"]
        if last and record.state != "OPEN":
            assert record.ts - last.ts >= BREAKERS[record.name].cooldown
        if record.name in ("drawdown", "leverage"):
            assert record.state == "OPEN"
        states[record.name, record.key] = record


def test_thresholds_come_from_the_settings() -> None:
    breakers = configured({"drawdown": 0.1})
    assert breakers["drawdown"].threshold == 0.1
    assert breakers["leverage"] == BREAKERS["leverage"]
    assert breakers["drawdown"].cooldown == 10 * MINUTE
    with pytest.raises(SettingError, match="no breaker is called 'luck'"):
        configured({"luck": 1.0})
    with pytest.raises(SettingError, match="must be positive"):
        configured({"drawdown": math.nan})
