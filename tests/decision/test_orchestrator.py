"""Orchestrator: few, bounded intents; out at once, in again after the hold; none on bad markets."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seawall.core.clock import MINUTE, SECOND
from seawall.core.errors import SettingError
from seawall.core.frames import FRAME, FrameFlag, Regime
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.intents import Close, Target
from seawall.core.verdicts import OPINION
from seawall.decision.orchestrator import Orchestrator, OrchestratorShape

EQUITY = 10_000.0
CAP = 1_000.0
PERP, SPOT = "BTCUSDT@sim", "BTC/USDT@sim"
GOOD = FrameFlag.VALID


def catalog(bar_span: int = 0) -> Catalog:
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
        (Source(name="a", venue="sim", bar_span=bar_span), Source(name="b", venue="sim")),
        ((0, 0), (0, 1), (1, 0)),
    ).check()


def make(bar_span: int = 0) -> Orchestrator:
    shape = OrchestratorShape(deadband=0.1, hold=30.0)
    return Orchestrator(catalog(bar_span), {"one": 1.0, "two": 1.0}, SECOND, shape)


def frame(book: int = 0, flags: int = GOOD, regime: int = Regime.NORMAL_VOL) -> NDArray[Any]:
    frames = np.zeros(1, dtype=FRAME)
    frames["book"], frames["flags"], frames["regime"] = book, flags, regime
    return frames


def says(score: float, confidence: float = 1.0, age: float = 0.0) -> NDArray[Any]:
    opinions = np.zeros(1, dtype=OPINION)
    opinions["score"], opinions["confidence"], opinions["age"] = score, confidence, age
    return opinions


def ask(
    orchestrator: Orchestrator,
    score: float,
    at: float,
    held: float = 0.0,
    frames: NDArray[Any] | None = None,
    name: str = PERP,
) -> Target | Close | None:
    intents = orchestrator.decide(
        frame() if frames is None else frames,
        {"one": says(score), "two": says(score)},
        EQUITY,
        {name: held},
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
    intent = ask(make(bar_span=15 * MINUTE), 1.0, 100)
    assert intent is not None
    assert intent.expiry == 100 * SECOND + 30 * MINUTE


def test_the_mean_is_weighted_by_confidence_and_shrunk_by_the_best() -> None:
    orchestrator = make()
    opinions = {"one": says(1.0, 0.6), "two": says(-0.5, 0.2), "stranger": says(-1.0)}
    expected = (0.6 * 1.0 - 0.2 * 0.5) / 0.8 * 0.6
    assert orchestrator.strengths(frame(), opinions)[0] == pytest.approx(expected, rel=1e-12)
    only = orchestrator.strengths(frame(), {"one": says(0.8), "two": says(0.0, 0.0)})
    assert only[0] == 0.8  # a silent agent does not water down the other


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
    assert make().decide(frame(), opinions, EQUITY, held, 100 * SECOND, 7) == []


@pytest.mark.parametrize("equity", [np.nan, 0.0, -5.0, np.inf])
def test_nothing_is_decided_without_equity(equity: float) -> None:
    opinions = {"one": says(1.0)}
    assert make().decide(frame(), opinions, equity, {}, 100 * SECOND, 7) == []


@pytest.mark.parametrize("flags", [0, FrameFlag.VALID | FrameFlag.STALE, FrameFlag.STALE])
@pytest.mark.parametrize("held", [0.0, 800.0])
def test_a_bad_market_brings_no_intent(flags: int, held: float) -> None:
    assert ask(make(), -1.0, 100, held, frame(flags=flags)) is None


def test_an_unknown_position_brings_no_intent() -> None:
    assert ask(make(), 1.0, 100, np.nan) is None


def test_only_the_primary_book_decides() -> None:
    assert ask(make(), 1.0, 100, frames=frame(book=1)) is None


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
    assert exposure(ask(make(), 1.0, 100, frames=frame(0, flags, regime))) == CAP * scale


def test_deadband_swallows_small_moves() -> None:
    orchestrator = make()
    assert ask(orchestrator, 0.09, 0) is None
    assert exposure(ask(orchestrator, 0.5, 0)) == 500.0
    assert ask(orchestrator, 0.59, 40) is None
    assert ask(orchestrator, 0.41, 41) is None
    assert exposure(ask(orchestrator, 0.61, 42)) == 610.0


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
    spot = frame(book=2)
    assert ask(make(), -1.0, 100, frames=spot, name=SPOT) is None
    assert isinstance(ask(make(), -1.0, 100, 500.0, spot, SPOT), Close)


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
        frames = frame(flags=flags)
        for intent in orchestrator.decide(frames, opinions, EQUITY, {}, second * SECOND, 0):
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
        Orchestrator(catalog(), {"one": -1.0}, SECOND)
