"""Two runs held against each other: nothing where they are alike, the attack where they are not."""

import itertools
import math
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import MINUTE
from seawall.core.consensus import CONSENSUS, WIDTH
from seawall.core.errors import SettingError
from seawall.core.events import Raw
from seawall.core.settings import Settings
from seawall.core.verdicts import Standing
from seawall.gating import certificate
from seawall.gating.sources import SourceState
from seawall.ingestion.tape import open_tape, write_blocks
from seawall.lab import impact, pairs, trading
from seawall.lab.attacks import attack_of, attacked
from seawall.lab.impact import Impact, ModelSeen, NaiveSeen, Review
from seawall.lab.trading import Boundary, TradingTracker
from seawall.node import assembly
from seawall.node import impact as runs
from seawall.node.calibration import calibrated
from seawall.node.perception import Perception
from tests.tapes import COMPILED

HOUR = 3600.0
BEGINS = 600.0  # seconds: the provisional reference has been taken
needs_compiled = pytest.mark.skipif(not COMPILED, reason="an hour of a market takes compiled code")


def market(seconds: float, rows_at_once: int = 0) -> Iterator[Raw]:
    """The simulated market, in whole minutes or cut anew into smaller blocks."""
    for block in runs.simulated_market(0, seconds):
        step = rows_at_once or len(block)
        yield from (Raw(block[at : at + step]) for at in range(0, len(block), step))


def measured(
    name: str, seconds: float, words: Mapping[str, str] | None = None, *, trading: bool = True
) -> Impact:
    catalog = runs.simulated_catalog()
    given = {"after": f"{BEGINS}", **(words or {})}
    attack = attack_of(name, catalog, given)
    return runs.measure(
        Settings(mode="backtest"), catalog, market(seconds), attack, trading=trading
    )


@cache
def an_hour(name: str, *words: tuple[str, str]) -> Impact:
    """An hour under attack, after a clean beginning."""
    return measured(name, BEGINS + HOUR, dict(words))


# --- whole runs ---


@pytest.mark.parametrize("trading", [True, False])
def test_an_attack_that_does_nothing_changes_nothing(trading: bool) -> None:
    long = BEGINS + 180.0 if COMPILED else 20.0
    words = {} if COMPILED else {"after": "5"}
    found = measured("mean_shift", long, {"offset": "0", "share": "0", **words}, trading=trading)
    assert found.unmatched == 0
    assert found.boundaries >= long - 2
    assert found.rows[0] == found.rows[1]
    for group in found.groups:
        assert (group.shift, group.ratio, group.axis_ratio, group.scatter) == (0.0,) * 4
        assert (group.naive_shift, group.naive_scatter) == (0.0, 0.0)
        assert (group.price_shift, group.naive_price_shift, group.outside) == (0.0, 0.0, 0)
        assert set(group.axes.values()) == {0.0}
        assert group.updates > 0 or not COMPILED
    assert found.violations == 0
    assert found.gate.false_rejects == 0
    assert all(one.value == 0.0 and one.ours for one in found.criteria)
    assert (found.trading is not None) == trading
    if found.trading is not None:
        assert found.trading.clean == found.trading.attacked
        assert found.trading.exposure == found.trading.ratio == found.trading.relative == 0.0
        assert found.trading.of_turnover == 0.0
        zero = pairs.Interval(0.0, 0.0, 0.0)
        assert found.trading.flipped == found.trading.wavering == zero
        assert found.trading.exposure_mean == zero
        assert set(found.trading.difference.values()) == {zero}


@needs_compiled
def test_how_the_tape_is_cut_does_not_matter() -> None:
    catalog = runs.simulated_catalog()
    found = [
        runs.measure(
            Settings(mode="backtest"),
            catalog,
            market(BEGINS + 120.0, cut),
            attack_of("random", catalog, {"after": f"{BEGINS}"}),
        )
        for cut in (0, 7_777)
    ]
    assert found[0] == found[1]


@needs_compiled
@pytest.mark.parametrize(
    "attack",
    [
        ("data_poisoning", ("offset", "5")),
        ("data_poisoning", ("offset", "50"), ("share", "0.2")),
        ("mean_shift", ("offset", "5")),
        pytest.param(("stale_feed", ("delay", "3")), marks=pytest.mark.slow),
    ],
    ids=lambda a: f"{a[0]} {a[1][1]}",
)
def test_one_hostile_source_stays_within_the_certificate(
    attack: tuple[str, tuple[str, str]],
) -> None:
    found = an_hour(*attack)
    assert found.covered
    assert found.violations == 0
    for group in found.groups:
        assert group.updates > 50
        assert group.certified == group.updates
        assert group.unlike == group.outside == 0
        assert group.certificate is not None
        assert 0.0 < group.shift < group.certificate
        assert group.ratio <= 1.0
        assert group.axis_ratio <= 1.0
        assert max(group.axes.values()) <= 0.05  # whoever is found out and left out has said little


@needs_compiled
@pytest.mark.parametrize(
    "attack",
    [
        ("wash_trading", ("intensity", "0.05")),
        ("data_poisoning", ("samples", "1000"), ("offset", "2.0")),
    ],
    ids=lambda a: str(a[0]),
)
def test_the_attacks_of_the_manual_move_the_estimate_by_less_than_a_hundredth(
    attack: tuple[str, tuple[str, str]],
) -> None:
    found = an_hour(*attack)
    assert found.violations == 0
    assert max(group.shift for group in found.groups) < 0.01
    assert found.trading is not None
    assert found.trading.clean.fills > 50
    assert found.trading.relative < 0.05
    assert found.trading.of_turnover < 1e-4
    assert found.trading.flipped.value < 0.01
    assert found.trading.wavering.value < 0.05


SLOW = pytest.mark.slow
HALF = "1800"  # seconds
AIMS = [
    pytest.param("shift", HALF, {"kind": "mean_shift", "offset": "5"}, id="mean shift"),
    pytest.param("price_shift_mean", HALF, {"kind": "data_poisoning", "offset": "50"}, id="prices"),
    pytest.param(
        "shift",
        "3600",
        {"kind": "mean_shift", "offset": "5", "share": "0.2"},
        id="mean shift in a fifth",
        marks=SLOW,
    ),
    pytest.param(
        "price_shift_mean", "3600", {"kind": "slow_drift", "speed": "1"}, id="drift", marks=SLOW
    ),
    pytest.param("shift", "3600", {"kind": "frozen_feed"}, id="frozen feed", marks=SLOW),
    pytest.param("price_shift_mean", "3600", {"kind": "replayed_feed"}, id="replay", marks=SLOW),
    pytest.param("shift", "3600", {"kind": "silence"}, id="silence", marks=SLOW),
]


@needs_compiled
@pytest.mark.parametrize(("aim", "seconds", "words"), AIMS)
def test_a_naive_system_is_moved_five_times_as_far_in_what_the_attack_aims_at(
    aim: str, seconds: str, words: dict[str, str]
) -> None:
    kind, *told = words.items()
    found = measured(kind[1], BEGINS + float(seconds), dict(told), trading=False)
    assert found.violations == 0
    for group in found.groups:
        assert getattr(group, f"naive_{aim}") >= 5.0 * getattr(group, aim)


@needs_compiled
@pytest.mark.slow
def test_a_slow_drift_is_contained_and_its_source_found_within_the_day(tmp_path: Path) -> None:
    """A hundredth of a sigma a minute; the golden set is two hours long."""
    catalog, told = runs.simulated_catalog(), Settings(mode="backtest")
    write_blocks(tmp_path / "tape", catalog, runs.simulated_market(7, 7200.0))
    shape = assembly.shape_of(told)
    span, tape = (0, 1 << 62), open_tape(tmp_path / "tape")
    golden, _ = calibrated(told, shape, tape, span, [], 1 << 16, lambda done, total: None)
    trusted = {reference.group: reference for reference in golden.references}
    one = Perception(catalog, shape, catalog.numeraire(told.numeraire), trusted)
    attack = attack_of("slow_drift", catalog, {"after": f"{BEGINS}", "speed": "0.01"})
    for rows in attacked(market(BEGINS + 13 * HOUR), attack):
        for _ in one.observe(rows):
            pass
        one.gating.records.clear()
    sources = one.gating.sources
    assert sources["sim-e"].rejections > 0
    assert [name for name, state in sources.items() if state.rejections] == ["sim-e"]
    assert max(sources, key=lambda name: sources[name].worst) == "sim-e"
    for group in one.gating.groups:
        assert group.model is not None
        assert group.reference is not None
        walked = np.abs(np.subtract(group.model.anchor, group.reference.mean))
        assert walked.max() <= 0.02 * 14  # sigma an hour


def test_a_market_that_ends_before_the_attack_is_refused() -> None:
    with pytest.raises(SettingError, match="after the market's end"):
        measured("silence", 20.0, {"after": "1h"}, trading=False)


def test_more_hostile_sources_than_withstood_are_not_held_to_the_certificate() -> None:
    found = measured(
        "colluding_sources", 20.0, {"after": "5", "offset": "500", "noise": "0"}, trading=False
    )
    assert not found.covered
    assert found.violations == 0
    assert max(group.price_shift for group in found.groups) > 1.0


# --- estimates ---


def model(mean: float, bound: float, name: str = "golden", scale: float = 2.0) -> ModelSeen:
    """A model that is moved along its first two features; the others are off."""
    on = np.arange(WIDTH) < 2
    return ModelSeen(
        reference=name,
        provisional=True,
        centre=np.where(on, 1.0, 0.0),
        scale=np.where(on, scale, 0.0),
        mean=np.where(on, mean, 0.0),
        covariance=np.eye(WIDTH),
        axes=np.where(on, bound, 0.0),
        past=math.sqrt(2.0) * bound,
        standing=certificate.Standing.CERTIFIED,
    )


def test_a_shift_is_held_to_the_certificate_of_its_update() -> None:
    tracker = impact.GroupTracker("BTC", 0.05)
    tracker.review(model(0.0, 0.5), model(0.3, 0.5), (None, None))
    found = tracker.impact()
    assert found.shift == pytest.approx(0.3 * math.sqrt(2.0))
    assert found.ratio == found.axis_ratio == pytest.approx(0.6)
    assert (found.updates, found.certified, found.violations) == (1, 1, 0)
    tracker.review(model(0.0, 0.5), model(0.2, 0.1), (None, None))
    found = tracker.impact()
    assert found.violations == 1
    assert found.ratio == pytest.approx(2.0)
    assert found.shift_last == pytest.approx(0.2 * math.sqrt(2.0))


def test_one_axis_beyond_its_bound_is_a_violation() -> None:
    attacked = msgspec.structs.replace(model(0.0, 0.5), mean=np.array([0.6] + 7 * [0.0]))
    tracker = impact.GroupTracker("BTC", 0.05)
    tracker.review(model(0.0, 0.5), attacked, (None, None))
    found = tracker.impact()
    assert found.ratio < 1.0 < found.axis_ratio
    assert found.violations == 1


def test_another_reference_is_compared_in_the_clean_ones_units_and_not_certified() -> None:
    tracker = impact.GroupTracker("BTC", 0.05)
    tracker.review(model(0.5, 0.0), model(0.5, 0.0, "poisoned", scale=3.0), (None, None))
    found = tracker.impact()
    assert (found.unlike, found.certified, found.violations) == (1, 0, 0)
    assert found.shift == pytest.approx(0.25 * math.sqrt(2.0))  # 1 + 1.5 against 1 + 1, over 2


def test_the_naive_system_learns_its_windows_at_the_same_rate() -> None:
    tracker = impact.GroupTracker("BTC", 0.1)
    clean = NaiveSeen(np.zeros(WIDTH), np.eye(WIDTH))
    moved = NaiveSeen(np.r_[4.0, np.zeros(7)], np.diag([9.0, *(7 * [1.0])]))
    tracker.review(model(0.0, 1.0), model(0.0, 1.0), (clean, clean))
    tracker.review(model(0.0, 1.0), model(0.0, 1.0), (clean, moved))
    found = tracker.impact()
    assert found.naive_shift == pytest.approx(0.1 * 4.0 / 2.0)
    assert found.naive_scatter == pytest.approx(math.log(0.9 + 0.1 * 9.0))
    assert found.shift == 0.0


def test_clean_values_outside_of_the_attacked_intervals_are_counted() -> None:
    rows = np.zeros((2, 3), CONSENSUS)
    rows["votes"], rows["factor"], rows["price"] = 5, 1e-4, 100.0
    rows["price_low"], rows["price_high"] = 99.0, 101.0
    rows["low"], rows["high"] = -1.0, 1.0
    rows["factor_low"], rows["factor_high"] = 0.5e-4, 2e-4
    clean, attacked = rows
    clean["price"][1] = 102.0
    clean["value"][2, 3] = -2.0
    tracker = impact.GroupTracker("BTC", 0.05)
    naive = np.log([100.0, 100.0, np.nan]), np.log([100.0, 100.05, 100.0])
    tracker.frames(clean, attacked, naive, certified=True)
    found = tracker.impact()
    assert (found.outside, found.of) == (2, 3 * (2 + WIDTH))
    assert found.price_shift == pytest.approx(math.log(1.02) / 1e-4)
    assert found.naive_price_shift == pytest.approx(math.log(1.0005) / 1e-4)


# --- the gate ---


def at(minute: int, **states: SourceState) -> Review:
    return Review(minute * MINUTE, (), (), states)


def test_the_gates_rights_and_wrongs_are_counted_from_the_attacks_start() -> None:
    tracker = impact.GateTracker(["e"])
    fine, hit = SourceState(), SourceState(rejections=1)
    away = SourceState(rejections=1, standing=Standing.SUSPENDED, trust=0.1)
    gone = SourceState(rejections=2, standing=Standing.BANNED, trust=0.0)
    start, end = 2 * MINUTE, 6 * MINUTE
    for minute, (honest, hostile) in enumerate(
        [
            (fine, fine),
            (fine, fine),
            (fine, fine),
            (fine, fine),
            (hit, hit),
            (hit, away),
            (hit, gone),
        ]
    ):
        clean = at(minute, a=fine, e=fine, parked=away)
        attacked = at(minute, a=honest, e=hostile)
        tracker.review(clean, attacked, start, end)
    found = tracker.impact(rolled_back=1)
    assert (found.rejected, found.suspended, found.banned) == (120.0, 180.0, 240.0)
    assert (found.false_accepts, found.attacked) == (1, 4)
    assert (found.false_rejects, found.judged, found.wronged) == (
        2,
        7 * 2 + 7 + 3 + 1,
        ("a", "parked"),
    )
    assert found.rolled_back == 1


# --- trading ---


def boundary(
    ts: int, wanted: float, low: float, high: float, equity: float, **more: float
) -> Boundary:
    intent, fills = int(more.get("intent", trading.NO_INTENT)), int(more.get("fills", 0))
    decided, lots = more.get("decided", 0.2), more.get("lots", 0.0)
    rows = np.zeros(1, CONSENSUS)
    account = (equity, 10.0 * fills, fills)
    return Boundary(ts, rows, [(wanted, low, high)], [intent], [decided], [lots], account)


def test_decisions_exposures_and_money_are_compared() -> None:
    clean = [boundary(t, 0.2, 0.2, 0.2, 100.0 + t, fills=t) for t in range(10)]
    attacked = [boundary(t, 0.2, 0.1, 0.4, 100.0 + t, fills=t) for t in range(10)]
    attacked[3] = boundary(3, -0.1, -0.2, 0.5, 103.0, fills=3)  # turned, as its bound allows
    attacked[4] = boundary(4, 0.5, 0.3, 0.6, 104.0, fills=4)  # further than it says
    attacked[5] = boundary(5, 0.2, 0.2, 0.2, 105.0, intent=1, fills=5)  # an intent of its own
    attacked[6] = boundary(6, 0.2, 0.1, 0.4, 106.0, decided=0.0, fills=6)  # is still flat
    clean[7] = boundary(7, 0.2, 0.2, 0.2, 107.0, decided=0.02, fills=7)  # and the other one hardly
    attacked[7] = boundary(7, 0.2, 0.1, 0.4, 107.0, decided=-0.02, fills=7)
    attacked[8] = boundary(8, 0.2, 0.1, 0.4, 108.0, decided=0.6, fills=8)  # more of the same side
    attacked[9] = boundary(9, math.nan, math.nan, math.nan, 99.0, fills=11)  # decides nothing
    tracker = TradingTracker(0.15)
    tracker.boundaries(clean[:6], attacked[:6])
    tracker.boundaries(clean[6:], attacked[6:])
    found = tracker.impact(seed=0)
    assert found is not None
    assert found.flipped.value == pytest.approx(0.1)
    assert found.wavering.value == pytest.approx(0.3)
    assert found.exposure == pytest.approx(0.3)
    assert found.exposure_mean.value == pytest.approx(0.06)
    assert found.ratio == pytest.approx(1.5)
    assert found.violations == 1
    assert (found.clean.pnl, found.attacked.pnl) == (9.0, -1.0)
    assert found.clean.drawdown == 0.0
    assert found.attacked.drawdown == pytest.approx(9.0 / 108.0)
    assert found.difference["pnl"].value == pytest.approx(-10.0)
    assert found.difference["fills"].value == pytest.approx(2.0)
    assert found.difference["turnover"].value == pytest.approx(20.0)
    assert found.relative == pytest.approx(10.0 / 9.0)
    assert found.of_turnover == pytest.approx(10.0 / 90.0)
    verdict = {one.name: (one.s0, one.ours) for one in impact.criteria((), found)}
    assert verdict["flipped decisions"] == (False, False)


def test_round_trips_are_positions_that_are_closed_or_turned() -> None:
    held = [0, 2, 3, 0, 0, -1, 1, 1, 0, 4]  # 0 to 3 and back, -1, 1 and back; 4 is still open
    runs = [
        [boundary(t, 0.1, 0.1, 0.1, 100.0, lots=lots, fills=10 * t) for t, lots in enumerate(some)]
        for some in (held, [0] * 10)
    ]
    for cut in (0, 1, 3, 6):
        tracker = TradingTracker(0.15)
        for part in (slice(None, cut), slice(cut, None)):
            if runs[0][part]:
                tracker.boundaries(runs[0][part], runs[1][part])
        found = tracker.impact(seed=0)
        assert found is not None
        assert (found.clean.round_trips, found.attacked.round_trips) == (3, 0)
        assert found.difference["round_trips"].value == -3.0
        assert found.clean.turns == pytest.approx(9.0)
        assert not found.enough


def test_unknown_equity_stays_as_it_was() -> None:
    account = np.array([[np.nan, 0, 0, 0], [100.0, 5, 1, 0], [np.nan, 5, 1, 0], [90.0, 9, 2, 1]])
    outcome = pairs.Run.of(account).outcome()
    assert (outcome.pnl, outcome.turnover, outcome.fills) == (-10.0, 9.0, 2)
    assert (outcome.round_trips, outcome.turns) == (1, 0.09)
    assert outcome.drawdown == pytest.approx(0.1)


@given(
    n=st.integers(1, 300),
    block=st.floats(1.0, 50.0),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=30, deadline=None)
def test_a_draw_is_made_of_blocks_that_wrap_around(n: int, block: float, seed: int) -> None:
    from seawall.core.randomness import generator

    places = pairs.stationary(generator(seed, "test"), n, block)
    assert places.shape == (n,)
    assert ((places >= 0) & (places < n)).all()
    joined = sum((a + 1) % n == b for a, b in itertools.pairwise(places.tolist()))
    if n == 300 and block > 20.0:
        assert joined > 0.8 * n


def test_intervals_cover_the_difference_of_noisy_runs_and_tell_zero_from_a_real_one() -> None:
    noise = np.random.Generator(np.random.Philox(3)).standard_normal((2, 6000))
    shared = 10.0 * noise[0]

    def run(gains: np.ndarray) -> pairs.Run:
        return pairs.Run(1e6, gains, np.zeros(6000), np.zeros(6000), np.zeros(6000))

    alike = pairs.differences({}, run(shared), run(shared + noise[1]), 0)["pnl"]
    apart = pairs.differences({}, run(shared), run(shared + noise[1] - 0.5), 0)["pnl"]
    assert alike.low < 0.0 < alike.high
    same = pairs.differences({}, run(shared), run(shared), 0)
    assert same["drawdown"] == same["pnl"] == pairs.Interval(0.0, 0.0, 0.0)
    assert apart.low < apart.value < apart.high < 0.0
    # the noise that both share cancels: sd of the sum is sqrt(6000), not ten times that
    assert apart.high - apart.low < 6.0 * math.sqrt(6000.0)


def test_long_runs_are_summed_up_before_they_are_drawn_from() -> None:
    values = np.arange(10_001.0)
    spans = pairs.binned(values, pairs.BINS)
    assert len(spans) <= pairs.BINS
    assert spans.sum() == values.sum()
