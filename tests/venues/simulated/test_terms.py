"""The exchange's terms: fee tiers, latency from the feed, queue models, our own impact."""

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import SettingError
from seawall.core.events import EventKind, Side
from seawall.core.orders import OrderState
from seawall.venues.simulated import flow_kernels
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.fees import DAY, Turnover
from seawall.venues.simulated.log import Log
from seawall.venues.simulated.shape import FeeTier, VenueShape
from tests.venues.simulated import test_invariants as invariants
from tests.venues.simulated.market import (
    BOOK,
    CATALOG,
    LINEAR,
    NAMES,
    SHAPE,
    Story,
    bar,
    depth,
    order,
    row,
    snapshot,
    tape,
    trade,
)
from tests.venues.simulated.test_invariants import SEEDS, market, play, wishes

BUY, SELL = Side.BUY, Side.SELL
S = OrderState


def shaped(**more: Any) -> VenueShape:
    return msgspec.structs.replace(SHAPE, **more)


# --- fee tiers ---

TIERS = (
    FeeTier(volume=1_000, maker_fee_ppm=100, taker_fee_ppm=400),
    FeeTier(volume=2_000, maker_fee_ppm=-100, taker_fee_ppm=300),
)


def test_a_tier_counts_from_the_next_midnight_for_thirty_days() -> None:
    book = snapshot(1, {9_990: 500}, {10_000: 500})
    story = Story(shaped(fee_tiers=TIERS), book)
    story.ask(order("a", BUY, 10))  # 10 x 0.01 BTC x 10,000 USD = 1,000 USD
    story.ask(order("b", BUY, 10))
    story.now = DAY
    story.ask(order("c", BUY, 10))  # 2,000 USD of yesterday
    story.now = 30 * DAY
    story.ask(order("d", BUY, 10))
    story.now = 31 * DAY
    story.ask(order("e", BUY, 10))  # c and d; the first day is over thirty days ago
    story.now = 61 * DAY
    story.ask(order("f", BUY, 10))  # e alone
    fees = {fill.client_id: fill.fee for fill in story.engine.fills(0)}
    assert fees == {"a": 50, "b": 50, "c": 30, "d": 30, "e": 30, "f": 40}


def test_a_tier_s_rebate_reaches_the_maker() -> None:
    story = Story(shaped(fee_tiers=TIERS), snapshot(1, {9_990: 500}, {10_000: 500}))
    story.ask(order("in", BUY, 20))
    story.now = DAY
    story.ask(order("a", BUY, 10, 9_995)).see(trade(DAY + 10, SELL, 9_995, 10))
    assert story.engine.fills(0)[1].fee == -9  # 99,950 cents x -100 ppm, rounded towards the venue


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10**30)), max_size=60))
def test_turnover_agrees_with_the_plainest_sum(fills: list[tuple[int, int]]) -> None:
    turnover, past = Turnover(), []
    for day, value in sorted(fills):
        turnover.add("USD", day * DAY + 5, value)
        past.append((day, value))
        for asked in (day, day + 1, day + 30, day + 31):
            plain = sum(v for d, v in past if asked - 30 <= d < asked)
            assert turnover.volume("USD", asked * DAY) == plain
        again = Turnover()
        again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(turnover.state())))
        assert again.days == turnover.days
    assert turnover.volume("BTC", 0) == 0


def test_a_restart_remembers_the_volume(tmp_path: Path) -> None:
    book = snapshot(1, {9_990: 500}, {10_000: 500})
    for every in (0, 10_000):
        fees = []
        for life in range(2):
            log = Log(tmp_path / f"{every}", mark_every=every)
            engine = Engine(CATALOG, shaped(fee_tiers=TIERS), log)
            engine.observe(tape(*[(life * DAY + 1, *each[1:]) for each in book]), life * DAY + 2)
            engine.place(order(f"{life}", BUY, 20), engine.now)
            engine.observe(tape(), engine.now + 5)
            fees = [fill.fee for fill in engine.fills(0)]
            log.close()
        assert fees == [100, 60]


@pytest.mark.parametrize(
    "tiers",
    [
        (FeeTier(volume=0, maker_fee_ppm=0, taker_fee_ppm=0),),
        (FeeTier(volume=5, maker_fee_ppm=201, taker_fee_ppm=0),),
        (TIERS[1], TIERS[0]),
    ],
)
def test_tiers_that_make_no_sense_are_named(tiers: tuple[FeeTier, ...]) -> None:
    with pytest.raises(SettingError, match="fee tier from"):
        shaped(fee_tiers=tiers).check()


# --- latency of the feed ---


def late(ts: int, delay: int, of: int = LINEAR) -> Any:
    """A depth row that took `delay` ns to come."""
    return row(ts, EventKind.DEPTH, BUY, 90, 1, of=of, opened=ts - delay)


def test_latency_grows_by_what_the_feed_is_late() -> None:
    shape = shaped(entry_latency_ns=10, response_latency_ns=5, feed_latency=True)
    engine = Engine(CATALOG, shape)
    engine.observe(tape(*[(100, 80, *each[2:]) for each in BOOK], late(110, 13)), 110)
    engine.place(order("a", BUY, 1), 110)  # the fastest took 13, and so did the last
    engine.observe(tape(late(200, 60)), 200)
    engine.place(order("b", BUY, 1), 200)  # 47 more than the fastest
    engine.observe(tape(late(230, 20)), 300)
    a, b = (f for f in engine.fills(0))
    assert (a.ts, b.ts) == (120, 200 + 10 + 47)
    dues = [next(t for t in range(400) if len(engine.reports(0, t)) > k) for k in range(4)]
    assert dues == [125, 125, 125, 257 + 5 + 7]  # by then the last row took 20


def test_without_the_switch_the_feed_does_not_matter() -> None:
    engine = Engine(CATALOG, SHAPE)
    engine.observe(tape(*BOOK, late(110, 13), late(200, 60)), 200)
    engine.place(order("a", BUY, 1), 200)
    engine.observe(tape(), 300)
    assert engine.fills(0)[0].ts == 200


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.lists(st.integers(0, 200), max_size=5), st.booleans())
def test_what_is_noted_of_the_tape_does_not_depend_on_its_pieces(
    seed: int, cuts: list[int], width: bool
) -> None:
    rows = market(seed)
    dice = Random(seed)
    rows["exch_ts"] -= np.array([dice.randint(0, 50) for _ in rows])
    found = []
    for ends in ([len(rows)], [*sorted(c for c in cuts if c < len(rows)), len(rows)]):
        delays = np.zeros(2, flow_kernels.DELAY)
        delays["least"] = flow_kernels.UNSEEN
        traded = np.zeros(3, flow_kernels.TRADED)
        book_of = np.array([[0, -1], [1, -1], [2, -1]])
        at = 0
        for end in ends:
            flow_kernels.run(delays, traded, book_of, 1 if width else 7, rows[at:end])
            at = end
        found.append((delays.tobytes(), traded.tobytes()))
    assert found[0] == found[1]


@settings(max_examples=60, deadline=None)
@given(SEEDS, SEEDS, st.lists(st.integers(1, 200), max_size=6), st.integers(0, 2))
def test_any_terms_give_the_same_story_for_any_split(
    seed: int, wish_seed: int, cuts: list[int], which: int
) -> None:
    terms: list[dict[str, Any]] = [
        {"feed_latency": True, "queue_model": "probabilistic", "queue_power": 2},
        {"impact": "square_root", "impact_ppm": 50_000, "impact_window_ns": 1_000_000},
        {"impact": "linear", "impact_ppm": 50_000, "share_trades": False},
    ]
    rows, asked = market(seed), wishes(wish_seed)
    rows["exch_ts"][rows["kind"] < 5] -= seed % 3
    poor = invariants.POOR
    invariants.POOR = msgspec.structs.replace(poor, **terms[which])
    try:
        engine, whole = play(rows, asked, [])
        assert play(rows, asked, cuts)[1] == whole
        assert play(rows, asked, list(range(len(rows))))[1] == whole
    finally:
        invariants.POOR = poor
    assert engine.balances().keys() == poor.balances.keys()


# --- queue models ---


def test_who_leaves_stood_behind_us_or_before_us() -> None:
    """Ten lots before us; the total grows to 20, then 10 leave without a trade."""

    def left(model: str, power: int) -> int:
        story = Story(
            shaped(queue_model=model, queue_power=power), snapshot(1, {100: 10}, {101: 4})
        )
        story.ask(order("a", BUY, 1, 100))
        story.see(depth(10, BUY, 100, 20), depth(20, BUY, 100, 10))
        resting = story.engine.desk.floor.resting[story.engine.matching.live["a"].slot]
        return int(resting["ahead"])

    assert left("risk_averse", 1) == 10
    assert left("probabilistic", 1) == 5  # as long before us as behind us: half of them each
    story = Story(shaped(queue_model="probabilistic"), snapshot(1, {100: 10}, {101: 4}))
    story.ask(order("a", BUY, 1, 100)).see(depth(10, BUY, 100, 20), depth(20, BUY, 100, 10))
    story.see(trade(30, SELL, 100, 5))
    assert story.fills() == []
    story.see(trade(40, SELL, 100, 1))
    assert story.fills() == [("a", 100, 1, True)]


def test_the_switch_lets_each_order_meet_the_whole_trade() -> None:
    for shared, expected in (
        (True, [("a", 100, 3, True), ("b", 100, 1, True)]),
        (False, [("a", 100, 3, True), ("b", 100, 3, True)]),
    ):
        story = Story(shaped(share_trades=shared))
        story.ask(order("a", BUY, 3, 100), order("b", BUY, 3, 100))
        story.see(trade(10, SELL, 100, 9))  # 5 others stand before both
        assert story.fills() == expected


# --- our own impact ---


def impact(kind: str, ppm: int = 10_000) -> Story:
    book = snapshot(1, {9_990: 500}, {10_000: 500})
    shape = shaped(impact=kind, impact_ppm=ppm, impact_window_ns=61 * 10**6)
    return Story(shape, book).see(trade(10, BUY, 10_000, 400))


@pytest.mark.parametrize(("kind", "ticks"), [("none", 0), ("linear", 25), ("square_root", 50)])
def test_what_we_took_moves_what_we_take_next(kind: str, ticks: int) -> None:
    # 100 lots of 400 traded: a quarter of 1 % of 10,000, or its root, one half of it.
    story = impact(kind).ask(order("a", BUY, 100), order("b", BUY, 1))
    assert story.fills() == [("a", 10_000, 100, False), ("b", 10_000 + ticks, 1, False)]
    story.ask(order("c", SELL, 1))
    assert story.fills()[2:] == [("c", 9_990, 1, False)]  # never in our favour
    story.ask(order("d", BUY, 1, 10_000 + ticks, time_in_force="IOC"))
    assert story.state("d")[0] is S.FILLED  # at its very limit
    story.pass_time(200 * 10**6).see(trade(story.now + 1, BUY, 10_000, 400))
    story.ask(order("e", BUY, 1))
    assert story.fills()[-1] == ("e", 10_000, 1, False)  # forgotten


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 300)), min_size=1, max_size=12),
    st.sampled_from(["linear", "square_root"]),
    st.integers(0, 100_000),
)
def test_impact_is_bounded_and_never_helps(
    takes: list[tuple[bool, int]], kind: str, ppm: int
) -> None:
    with_it, without = impact(kind, ppm), impact("none")
    for k, (buys, lots) in enumerate(takes):
        for story in (with_it, without):
            story.ask(order(f"{k}", BUY if buys else SELL, lots))
    for moved, plain in zip(with_it.engine.fills(0), without.engine.fills(0), strict=True):
        worse = (moved.price - plain.price) * moved.side.sign
        assert 0 <= worse <= -(-plain.price * ppm // 1_000_000)


def test_bars_count_as_volume() -> None:
    rows = bar(0, 60, (10_000, 10_000, 10_000, 10_000), 4_000)
    story = Story(shaped(impact="linear", impact_ppm=10_000, half_spread_ppm=0), rows)
    story.ask(order("a", BUY, 40), order("b", BUY, 1))
    assert [f.price for f in story.engine.fills(0)] == [10_001, 10_001 + 2]
    assert story.engine.positions() == {NAMES[LINEAR]: 41}


def test_rows_of_other_sources_are_not_this_venue_s_volume() -> None:
    story = impact("linear")
    story.see(row(20, EventKind.TRADE, BUY, 10_000, 10**9, of=0, source=1))
    story.ask(order("a", BUY, 100), order("b", BUY, 1))
    assert story.fills()[-1] == ("b", 10_025, 1, False)
