import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.errors import DataError, SettingError
from seawall.execution.fallback import Fallback, Slices
from seawall.execution.fallback_kernels import memory
from seawall.lab.execution import crash, crash_study
from seawall.lab.execution.crash import BANDS, PER_SECOND, Fitted, Scene, bridged
from seawall.lab.execution.crash_kernels import leave, leave_in_slices
from seawall.lab.execution.crash_study import CrashShape

FITTED = Fitted(
    offset=np.geomspace(1e-5, 2e-2, BANDS),
    size=np.geomspace(1.0, 300.0, BANDS),
    volatility=1.3e-4,
    excess=7.0,
    half_life=1.0,
)
SPAN = 300 * SECOND
UNIT = 10_000  # lots of the usual touch


def falling(per_second: float, seconds: int = 120, calm: int = 20) -> Scene:
    """Calm, then an even fall."""
    steps = np.arange(seconds * PER_SECOND)
    fallen = np.maximum(0, steps - calm * PER_SECOND) / PER_SECOND * per_second
    mid = 10_000.0 * np.exp(-fallen)
    return Scene("even/0", "scaled", mid, FITTED.offset[None, :], FITTED.size[None, :], 1.3e-4)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.8, 1.0),
    st.floats(0.0, 0.3),
    st.floats(0.0, 0.3),
    st.floats(0.0, 1.0),
    st.integers(0, 99),
)
def test_a_bridged_path_touches_the_four_prices_and_leaves_no_range(
    opened: float, up: float, down: float, where: float, seed: int
) -> None:
    high, low = opened + up + 1e-3, opened * (1 - down) - 1e-3
    close = low + where * (high - low)
    mid = bridged("x/0", (opened, high, low, close), SPAN, FITTED, seed).mid
    assert mid[0] == pytest.approx(opened)
    assert mid[-1] == pytest.approx(close)
    assert mid.max() == pytest.approx(high)
    assert mid.min() == pytest.approx(low)


def test_paths_are_the_same_for_a_name_and_seed_and_others_for_others() -> None:
    bar = (1.0, 1.01, 0.9, 0.95)
    one = bridged("a/0", bar, SPAN, FITTED, 1).mid
    assert np.array_equal(one, bridged("a/0", bar, SPAN, FITTED, 1).mid)
    assert not np.array_equal(one, bridged("a/1", bar, SPAN, FITTED, 1).mid)
    assert not np.array_equal(one, bridged("a/0", bar, SPAN, FITTED, 2).mid)
    with pytest.raises(DataError, match="do not fit"):
        bridged("a/0", (1.0, 0.9, 0.8, 0.85), SPAN, FITTED, 1)


def test_depth_thins_as_volatility_rises_and_is_causal() -> None:
    scene = falling(1.75e-3)
    depth = crash.thinned(scene)
    calm = 20 * PER_SECOND
    assert (depth[:calm] == 1.0).all()
    # 1.75e-3 a second in even steps has a root mean square of 1.75e-3 / sqrt(10) per sqrt(second)
    assert depth[calm + 200] == pytest.approx(1.3e-4 / (1.75e-3 / np.sqrt(10)), rel=1e-6)
    cut = scene._replace(mid=scene.mid[: calm + 77])
    assert np.array_equal(crash.thinned(cut), depth[: calm + 77])


def test_a_market_order_in_a_still_book_walks_the_bands() -> None:
    price = np.array([[100.0, 99.0, 98.0]] * 5)
    size = np.array([[1.0, 2.0, 3.0]] * 5)
    sold, value, unfilled = leave(price, size, 4.0, np.zeros(1), 0, 1, 1.0)
    assert (sold, value, unfilled) == (4.0, 100.0 + 198.0 + 98.0, 0.0)
    sold, value, unfilled = leave(price, size, 8.0, np.zeros(1), 0, 2, 1.0)
    assert (sold, unfilled) == (8.0, 2.0)
    assert value == pytest.approx(100 + 198 + 294 + 100 + 99)
    sold, _, _ = leave(price, size, 8.0, np.zeros(1), 0, 2, 0.0)
    assert sold == 6.0


def test_a_limit_order_takes_nothing_below_its_price_before_its_time() -> None:
    price = np.array([[100.0, 99.0]] * 4 + [[90.0, 89.0]] * 4)
    size = np.ones((8, 2))
    sold, value, unfilled = leave(price, size, 4.0, np.full(6, 100.0), 6, 1, 0.0)
    assert sold == 2.0
    assert value == pytest.approx(100.0 + 89.0)
    assert unfilled == 2.0


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**6),
    st.floats(0.1, 500.0),
    st.integers(0, 40),
    st.sampled_from([0.0, 0.07, 1.0]),
)
def test_no_more_is_sold_than_there_is_and_none_above_the_best_price(
    seed: int, lots: float, patience: int, recovery: float
) -> None:
    draws = np.random.default_rng(seed)
    mid = 100 * np.exp(np.cumsum(draws.standard_normal(60) * 0.002))
    price = np.ascontiguousarray(mid[:, None] * (1 - FITTED.offset))
    size = np.ascontiguousarray(draws.random((60, BANDS)) * 20)
    limits = np.ascontiguousarray(mid[:patience] * 0.999) if patience else np.zeros(1)
    sold, value, unfilled = leave(price, size, lots, limits, patience, 10, recovery)
    assert 0.0 <= sold <= lots + 1e-9
    assert 0.0 <= unfilled <= lots
    assert value <= sold * price.max() + 1e-6
    if recovery == 0.0:
        assert sold <= size.max(axis=0).sum() + 1e-9


@pytest.mark.parametrize("model", crash_study.RECOVERIES)
def test_the_kernel_leaves_as_the_fallback_does(model: str) -> None:
    """Slice by slice: what the study's kernel sells is what `Slices` would have sold."""
    scene, shape, lots = falling(1.75e-3), CrashShape(), 60.0
    how, at = shape.fallback, 45 * PER_SECOND
    window = slice(at, at + crash_study.HORIZON)
    mid = scene.mid[window]
    away = np.ascontiguousarray(np.broadcast_to(scene.offset, (len(mid), BANDS)))
    size = scene.size * crash.thinned(scene)[window, None]
    drift = crash_study.drifts(scene, how, at)
    assert drift == pytest.approx(1.75e-4, rel=1e-3)  # an even fall is no chance
    back = shape.recovery(model)
    sold, value, _ = leave_in_slices(
        mid, away, size, lots, memory(BANDS), drift, 1, how.guess, how.trust, 10, back
    )
    slices, taken, left, worth = Slices(how), np.zeros(BANDS), lots, 0.0
    for k in range(50):
        there = np.maximum(0.0, size[k] - taken)
        deep = slices.distance(away[k], there * UNIT, round(left * UNIT), k * how.every, 1.75e-3)
        here = np.where(away[k] <= deep, there, 0.0)
        here = np.minimum(here, np.maximum(0.0, left - np.concatenate([[0], np.cumsum(here)[:-1]])))
        slices.took(round(here.sum() * UNIT))
        taken, left = (taken + here) * (1 - back), left - here.sum()
        worth += float(here @ (mid[k] * (1 - away[k])))
    if model == "none":
        assert left == pytest.approx(lots - size[0].sum(), abs=0.5) or left < 1e-3
    else:
        assert sold == pytest.approx(lots)
        assert left == pytest.approx(0.0, abs=1e-3)
        assert value == pytest.approx(worth, rel=1e-4)


def test_waiting_costs_next_to_nothing_where_the_book_does_not_refill() -> None:
    """The market's exit is the bound: what is lost by one slice's hope is a slice of the fall."""
    found = crash_study.exits(falling(1.75e-3), CrashShape())
    for one in found:
        if one.recovery == "none":
            assert one.hybrid <= one.market + 1.75e-4 * 1e4 * 1.5
        else:
            assert one.hybrid <= one.market + 1.0


def test_what_waits_does_not_look_ahead() -> None:
    scene, how, at = falling(1.75e-3), Fallback(), 30 * PER_SECOND
    cut = scene._replace(mid=scene.mid[: at + 50])
    assert np.array_equal(crash_study.drifts(scene, how, at), crash_study.drifts(cut, how, at))


def test_parts_that_a_rule_was_chosen_on_are_told_from_those_held_out() -> None:
    shape = CrashShape(stops=(0.02,), multiples=(10.0,))
    found = crash_study.exits(falling(1.75e-3), shape)
    found += crash_study.exits(falling(1.5e-3)._replace(name="2020-03-12/0"), shape)
    told = crash_study.parted(found, ["2020-03-12"])
    assert {one.kind for one in told} == {"scaled, held out", "scaled, chosen on"}
    assert len({one.kind for one in told if one.scene.startswith("2020")}) == 1


def test_exits_and_their_comparison_are_what_one_would_work_out() -> None:
    found = crash_study.exits(falling(1.75e-3), CrashShape(stops=(0.02,), multiples=(1.0, 50.0)))
    assert {one.recovery for one in found} == set(crash_study.RECOVERIES)
    small = [one for one in found if one.multiple == 1.0]
    assert all(one.market == pytest.approx(one.hybrid, abs=1.0) for one in small)
    large = {one.recovery: one for one in found if one.multiple == 50.0}
    assert large["instant"].market <= large["exponential"].market <= large["none"].market
    for line in crash_study.compare(found):
        assert line.lower == pytest.approx(1 - line.hybrid / line.market)
        assert line.worse == (line.hybrid_p95 > line.market_p95 * (1 + 1e-9))


def test_a_wider_stop_is_hit_less_often_and_risks_the_same() -> None:
    bar = (100.0, 101.0, 95.0, 99.0)
    scenes = [bridged(f"b/{k}", bar, 1_800 * SECOND, FITTED, 3) for k in range(20)]
    lines = crash_study.widen(scenes, CrashShape())
    assert [line.factor for line in lines] == [1.0, 1.5, 2.5]
    assert lines[0].stopped == 1.0
    assert lines[0].stopped >= lines[1].stopped >= lines[2].stopped
    assert lines[0].mean >= 1.0  # a stop never leaves above its price here


def test_crossings_look_back_on_the_window_alone() -> None:
    from seawall.lab.execution.crash_tape import crossing

    mid = np.concatenate([np.full(10, 100.0), np.linspace(100, 90, 11)])
    assert crossing(mid, 0.05, 600) == 16
    assert crossing(mid, 0.05, 3) == -1
    assert crossing(mid[::-1].copy(), 0.05, 600) == 5


def test_days_without_a_crash_and_shapes_out_of_range_are_refused() -> None:
    ts = np.arange(3) * 1_800 * SECOND
    prices = np.array([[100.0, 101.0, 99.0, 100.0]] * 3)
    with pytest.raises(DataError, match="no bar"):
        crash.crashed(ts, prices, 1_800 * SECOND, ["1970-01-01"])
    prices[1, 2] = 90.0
    (bar,) = crash.crashed(ts, prices, 1_800 * SECOND, ["1970-01-01"])
    assert bar.name == "1970-01-01T00:30"
    for wrong in (CrashShape(stops=()), CrashShape(multiples=(0.0,)), CrashShape(half_life=0.0)):
        with pytest.raises(SettingError):
            wrong.check()


def test_a_market_exit_is_what_the_simulated_venue_gives_for_it() -> None:
    """With the book back at once the kernel's market order is the venue's, to a tick."""
    from seawall.core.events import Side
    from seawall.core.orders import Fill
    from seawall.lab.execution import crash_tape
    from seawall.lab.execution.crash import STEP
    from seawall.lab.execution.recording import Desk, recording_of
    from seawall.venues.simulated.shape import VenueShape

    scene = falling(1.75e-3, seconds=60)
    rows = crash_tape.tape_of(scene)
    depth = crash.thinned(scene)
    for at, lots in ((100, 3.0), (350, 3.0), (350, 40.0)):
        desk = Desk(
            recording_of(rows, crash_tape.catalog()),
            VenueShape(entry_latency_ns=1, taker_fee_ppm=0, maker_fee_ppm=0),
        )
        desk.advance(crash_tape.START + at * STEP + crash_tape.FRAGMENT)
        desk.market("m", Side.SELL, round(lots * crash_tape.UNIT))
        desk.advance(crash_tape.START + (at + 1) * STEP)
        fills = [fill for fill in desk.venue.fills(0) if isinstance(fill, Fill)]
        size = sum(fill.size for fill in fills)
        price = sum(fill.price * fill.size for fill in fills) / size * float(crash_tape.TICK)
        bids = scene.mid[at : at + 1, None] * (1.0 - scene.offset)
        shown = np.ascontiguousarray(scene.size * depth[at : at + 1, None])
        sold, value, _ = leave(bids, shown, lots, np.zeros(1), 0, 10, 1.0)
        assert size / crash_tape.UNIT == pytest.approx(sold, rel=1e-4)
        assert price == pytest.approx(value / sold, rel=1e-5)
