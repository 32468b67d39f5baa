"""Orchestrator: few, bounded intents; out at once, in again after the hold; none on bad markets."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seawall.core.clock import MINUTE, SECOND
from seawall.core.consensus import CONSENSUS
from seawall.core.errors import SettingError
from seawall.core.frames import FrameFlag, Regime
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.intents import Close, Target
from seawall.core.verdicts import OPINION
from seawall.decision.orchestrator import Orchestrator, OrchestratorShape

EQUITY = 10_000.0
CAP = 1_000.0
PERP, SPOT = "BTCUSDT@sim", "BTC/USDT@sim"
GOOD = FrameFlag.VALID


def catalog() -> Catalog:
    def instrument(symbol: str, kind: Kind) -> Instrument:
        return Instrument(
            venue="sim",
            symbol=symbol,
            kind=kind,
            base="BTC",
            quote="USDT",
            tick="0.01",
            lot="0.001",
        )

    return Catalog(
        (instrument("BTCUSDT", Kind.LINEAR), instrument("BTC/USDT", Kind.SPOT)),
        (Source(name="a", venue="sim"), Source(name="b", venue="sim")),
        ((0, 0), (0, 1), (1, 0)),
    ).check()


def make(traded: tuple[str, ...] = (PERP,), cadence: int = SECOND, **shape: Any) -> Orchestrator:
    about = OrchestratorShape(deadband=0.1, hold=30.0, **shape)
    weights = {"one": 1.0, "two": 1.0}
    return Orchestrator(catalog(), ["BTC"], weights, cadence, about, traded)


TYPICAL = {
    Regime.UNKNOWN: 0.0,
    Regime.LOW_VOL: 0.1,
    Regime.NORMAL_VOL: 0.2,
    Regime.HIGH_VOL: 0.5,
    Regime.EXTREME_VOL: 0.9,
}


def row(
    flags: int = GOOD,
    regime: Regime = Regime.NORMAL_VOL,
    low: float | None = None,
    high: float | None = None,
) -> NDArray[Any]:
    rows = np.zeros(1, dtype=CONSENSUS)
    volatility = TYPICAL[regime]
    rows["flags"], rows["regime"], rows["volatility"] = flags, regime, volatility
    rows["volatility_low"] = volatility if low is None else low
    rows["volatility_high"] = volatility if high is None else high
    return rows


def says(
    score: float, confidence: float = 1.0, age: float = 0.0, doubt: float = 0.0
) -> NDArray[Any]:
    opinions = np.zeros(1, dtype=OPINION)
    opinions["score"], opinions["confidence"], opinions["age"] = score, confidence, age
    opinions["low"], opinions["high"] = score - doubt, score + doubt
    return opinions


def ask(
    orchestrator: Orchestrator,
    score: float,
    at: float,
    held: float = 0.0,
    rows: NDArray[Any] | None = None,
    name: str = PERP,
    ready: tuple[str, ...] = (PERP, SPOT),
) -> Target | Close | None:
    intents = orchestrator.decide(
        row() if rows is None else rows,
        {"one": says(score), "two": says(score)},
        EQUITY,
        {name: held},
        ready,
        int(at * SECOND),
        7,
    )
    assert len(intents) <= 1
    return intents[0] if intents else None


def exposure(intent: Target | Close | None) -> float:
    assert isinstance(intent, Target)
    return intent.exposure


def test_full_strength_asks_for_the_whole_cap() -> None:
    intent = ask(make(), 1.0, 100)
    assert exposure(intent) == CAP
    assert intent is not None
    assert (intent.instrument, intent.ts, intent.tape) == (PERP, 100 * SECOND, 7)
    assert intent.expiry == 160 * SECOND
    assert "one +1.00" in intent.rationale


def test_expiry_is_two_bars_where_bars_are_long() -> None:
    intent = ask(make(cadence=15 * MINUTE), 1.0, 100)
    assert intent is not None
    assert intent.expiry == 100 * SECOND + 30 * MINUTE


def test_the_mean_is_weighted_by_confidence_and_shrunk_by_the_best() -> None:
    orchestrator = make()
    opinions = {"one": says(1.0, 0.6), "two": says(-0.5, 0.2), "stranger": says(-1.0)}
    expected = (0.6 * 1.0 - 0.2 * 0.5) / 0.8 * 0.6
    assert orchestrator.strengths(row(), opinions)[0, 0] == pytest.approx(expected, rel=1e-12)
    only = orchestrator.strengths(row(), {"one": says(0.8), "two": says(0.0, 0.0)})
    assert only[0, 0] == 0.8  # a silent agent does not water down the other


@pytest.mark.parametrize(
    "opinions",
    [
        {},
        {"one": says(1.0, 0.4)},
        {"one": says(1.0, 0.0)},
        {"one": says(1.0, np.nan)},
        {"one": says(np.nan)},
        {"one": says(1.0, age=61.0)},
        {"one": says(1.0, age=np.nan)},
    ],
)
def test_nothing_is_decided_where_nobody_knows(opinions: dict[str, NDArray[Any]]) -> None:
    held = {PERP: 500.0}
    assert make().decide(row(), opinions, EQUITY, held, [PERP], 100 * SECOND, 7) == []


@pytest.mark.parametrize("equity", [np.nan, 0.0, -5.0, np.inf])
def test_nothing_is_decided_without_equity(equity: float) -> None:
    opinions = {"one": says(1.0)}
    assert make().decide(row(), opinions, equity, {}, [PERP], 100 * SECOND, 7) == []


@pytest.mark.parametrize("flags", [0, FrameFlag.RESET, FrameFlag.UNCORROBORATED])
@pytest.mark.parametrize("held", [0.0, 800.0])
def test_a_group_without_votes_brings_no_intent(flags: int, held: float) -> None:
    assert ask(make(), -1.0, 100, held, row(flags=flags)) is None


@pytest.mark.parametrize("held", [0.0, 800.0])
def test_an_instrument_whose_own_market_is_bad_brings_no_intent(held: float) -> None:
    assert ask(make(), -1.0, 100, held, ready=(SPOT,)) is None
    assert ask(make(), -1.0, 100, held, ready=(PERP,)) is not None


def test_an_unknown_position_brings_no_intent() -> None:
    assert ask(make(), 1.0, 100, np.nan) is None


def test_all_instruments_of_a_group_are_decided_by_its_consensus_if_they_are_traded() -> None:
    both = [PERP, SPOT]
    for traded in (None, both, [PERP], [SPOT], []):
        one = Orchestrator(catalog(), ["BTC"], {"one": 1.0}, SECOND, traded=traded)
        found = one.decide(row(), {"one": says(1.0)}, EQUITY, {}, both, SECOND, 7)
        assert [intent.instrument for intent in found] == (both if traded is None else traded)


def test_a_group_is_decided_by_its_own_row_and_opinion() -> None:
    eth = msgspec.structs.replace(catalog().instruments[0], base="ETH", symbol="ETHUSDT")
    two = Catalog((catalog().instruments[0], eth), catalog().sources[:1], ((0, 0), (1, 0))).check()
    one = Orchestrator(two, ["BTC", "ETH"], {"one": 1.0}, SECOND)
    rows, opinions = np.concatenate([row(), row()]), np.concatenate([says(1.0), says(-0.5)])
    rows["group"] = [0, 1]
    found = one.decide(rows, {"one": opinions}, EQUITY, {}, [PERP, eth.name], SECOND, 7)
    assert [(intent.instrument, exposure(intent)) for intent in found] == [
        (PERP, CAP),
        (eth.name, -0.5 * CAP),
    ]


def test_the_bound_says_how_far_an_attacker_can_have_moved_the_exposure() -> None:
    one = make(traded=(PERP, SPOT))
    opinions = {"one": says(0.5, doubt=0.1), "two": says(0.2, confidence=0.5, doubt=0.4)}
    one.decide(row(), opinions, EQUITY, {}, [PERP], SECOND, 7)
    assert set(one.bounds) == {PERP, SPOT}  # also of what cannot be traded on now
    found = one.bounds[PERP]
    assert found.ts == SECOND
    assert found.wanted == pytest.approx((0.5 + 0.5 * 0.2) / 1.5)
    assert found.low == pytest.approx((0.4 - 0.5 * 0.2) / 1.5)
    assert found.high == pytest.approx((0.6 + 0.5 * 0.6) / 1.5)
    assert found.bound == pytest.approx(0.2)


def test_a_regime_that_an_attacker_may_have_brought_about_widens_the_bound() -> None:
    one, opinions = make(), {"one": says(0.8)}
    calm_or_wild = row(regime=Regime.HIGH_VOL, low=0.3, high=0.9)
    one.decide(calm_or_wild, opinions, EQUITY, {}, [PERP], SECOND, 7)
    found = one.bounds[PERP]
    assert (found.wanted, found.low, found.high) == pytest.approx((0.4, 0.2, 0.8))
    one.decide(row(regime=Regime.UNKNOWN, low=0.3, high=0.9), opinions, EQUITY, {}, [], SECOND, 7)
    assert one.bounds[PERP].bound == 0.0


def test_where_nothing_is_decided_no_bound_is_claimed() -> None:
    one = make()
    one.decide(row(flags=0), {"one": says(1.0)}, EQUITY, {}, [PERP], SECOND, 7)
    assert np.isnan(one.bounds[PERP].bound)


@pytest.mark.parametrize(
    ("flags", "regime", "scale"),
    [
        (GOOD, Regime.UNKNOWN, 1.0),
        (GOOD, Regime.LOW_VOL, 1.0),
        (GOOD, Regime.HIGH_VOL, 0.5),
        (GOOD, Regime.EXTREME_VOL, 0.25),
        (GOOD | FrameFlag.UNCORROBORATED, Regime.NORMAL_VOL, 0.5),
        (GOOD | FrameFlag.UNCORROBORATED, Regime.EXTREME_VOL, 0.125),
    ],
)
def test_wild_or_uncorroborated_markets_scale_exposure(
    flags: int, regime: Regime, scale: float
) -> None:
    assert exposure(ask(make(), 1.0, 100, rows=row(flags, regime))) == CAP * scale


def test_exposure_goes_down_with_volatility_and_never_by_a_step() -> None:
    one, opinions = make(), {"one": says(1.0)}
    rows = np.concatenate([row()] * 20_001)
    rows["volatility"] = np.linspace(0.0, 1.0, len(rows))
    scales = one.strengths(rows, dict.fromkeys(opinions, np.repeat(says(1.0), len(rows))))[:, 0]
    assert np.all(np.diff(scales) <= 0.0)
    assert np.abs(np.diff(scales)).max() < 5e-4
    at = dict(zip(rows["volatility"].round(9).tolist(), scales, strict=True))
    assert [at[v] for v in (0.15, 0.4, 0.45, 0.5, 0.55, 0.6, 1.0)] == pytest.approx(
        [1.0, 1.0, 0.75, 0.5, 0.375, 0.25, 0.25]
    )


def test_more_exposure_at_more_volatility_is_refused() -> None:
    with pytest.raises(SettingError, match="extreme volatility"):
        make(high_volatility=0.2, extreme_volatility=0.3)


def test_deadband_swallows_small_moves() -> None:
    orchestrator = make()
    assert ask(orchestrator, 0.09, 0) is None
    assert exposure(ask(orchestrator, 0.5, 0)) == 500.0
    assert ask(orchestrator, 0.59, 40) is None
    assert ask(orchestrator, 0.41, 41) is None
    assert exposure(ask(orchestrator, 0.61, 42)) == 610.0


def test_while_no_new_risk_may_be_taken_a_position_follows_the_wish_down() -> None:
    orchestrator = make()
    assert exposure(ask(orchestrator, 0.5, 0)) == 500.0
    orchestrator.again({PERP})
    assert ask(orchestrator, 0.59, 40) is None  # the dead band is 0.1
    assert ask(orchestrator, 0.49, 41) is None  # 0.02 of what shrinks
    assert exposure(ask(orchestrator, 0.47, 42)) == 470.0
    assert exposure(ask(orchestrator, 0.03, 43)) == 30.0
    assert isinstance(ask(orchestrator, -0.001, 44), Close)
    orchestrator.again({SPOT})
    assert exposure(ask(orchestrator, 0.5, 104)) == 500.0
    assert ask(orchestrator, 0.41, 105) is None


def test_crossing_zero_gets_out_whatever_the_deadband() -> None:
    assert isinstance(ask(make(), -0.02, 100, held=60.0), Close)
    assert isinstance(ask(make(), 0.0, 100, held=60.0), Close)
    assert exposure(ask(make(), -0.5, 100, held=60.0)) == -500.0


def test_hold_delays_growth_and_turns_but_no_exit() -> None:
    orchestrator = make()
    assert exposure(ask(orchestrator, 0.5, 100)) == 500.0
    assert ask(orchestrator, 1.0, 129) is None
    assert exposure(ask(orchestrator, 0.2, 129)) == 200.0
    assert isinstance(ask(orchestrator, -1.0, 130), Close)  # flat first
    assert ask(orchestrator, -1.0, 159) is None
    assert exposure(ask(orchestrator, -1.0, 160)) == -CAP


def test_what_has_expired_is_measured_against_the_position() -> None:
    orchestrator = make()
    assert exposure(ask(orchestrator, 0.5, 0)) == 500.0
    assert ask(orchestrator, 0.5, 59, held=0.0) is None  # in force
    assert exposure(ask(orchestrator, 0.5, 60, held=0.0)) == 500.0  # it came to nothing: again
    assert ask(orchestrator, 0.5, 120, held=480.0) is None  # it was done


def test_a_fresh_one_goes_on_from_the_positions_alone() -> None:
    old = make()
    ask(old, 0.5, 0)
    for at, score, held in [(100, 0.5, 500.0), (101, 0.9, 500.0), (140, -0.4, 900.0)]:
        assert ask(old, score, at, held) == ask(make(), score, at, held)


def test_spot_is_never_sold_short() -> None:
    assert ask(make((SPOT,)), -1.0, 100, name=SPOT) is None
    assert isinstance(ask(make((SPOT,)), -1.0, 100, 500.0, name=SPOT), Close)


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.floats(-3, 3), min_size=1, max_size=60),
    confidence=st.floats(0, 2),
    flags=st.sampled_from([1, 3, 0, 33]),
)
def test_exposure_stays_inside_the_cap_and_intents_are_seldom(
    scores: list[float], confidence: float, flags: int
) -> None:
    orchestrator, grown = make(), -1e9
    reference = 0.0
    for second, score in enumerate(scores):
        opinions = {"one": says(score, confidence)}
        rows = row(flags=flags)
        now = second * SECOND
        for intent in orchestrator.decide(rows, opinions, EQUITY, {}, [PERP], now, 0):
            wanted = intent.exposure if isinstance(intent, Target) else 0.0
            assert abs(wanted) <= CAP
            if abs(wanted) > abs(reference):
                assert second - grown >= 30
            grown, reference = second, wanted


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(SettingError, match=r"\[0, 1\]"):
        OrchestratorShape(cap_fraction=1.5)
    with pytest.raises(SettingError, match="hold"):
        OrchestratorShape(hold=-1.0)
    with pytest.raises(SettingError, match="weights"):
        Orchestrator(catalog(), ["BTC"], {"one": -1.0}, SECOND)


spoken = st.lists(st.sampled_from(["one", "two", "somebody else"]), unique=True)
strengths = st.lists(st.sampled_from([0.0, -0.0, 0.004, 0.125, -0.126, 1.0]), max_size=8)


@given(spoken, strengths, st.randoms(use_true_random=False))
def test_many_rationales_are_those_of_one_by_one(agents, strengths, random):
    orchestrator = make()
    opinions = {agent: np.zeros(8, OPINION) for agent in agents}
    for opinion in opinions.values():
        opinion["score"] = [random.uniform(-1.0, 1.0) for _ in opinion]
        opinion["confidence"] = [random.random() for _ in opinion]
    rows = np.array([random.randrange(8) for _ in strengths], np.int64)
    words, places = orchestrator.rationales(np.array(strengths), opinions, rows)
    assert [words[place] for place in places] == [
        orchestrator.rationale(strength, opinions, row)
        for strength, row in zip(strengths, rows, strict=True)
    ]
