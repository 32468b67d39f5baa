"""The fast tier's account: by hand on a few rows, and what holds on any."""

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.instruments import Kind
from seawall.core.randomness import generator
from seawall.lab.research.following import Account, Follower, FollowingShape, buy_and_hold, follow
from seawall.lab.research.following_kernels import (
    BREAK,
    BY_BREAK,
    BY_STOP,
    BY_TAKE,
    TRADABLE,
)
from seawall.lab.research.market import Market
from tests.lab.research.walks import walk

FREE = FollowingShape(taker_fee_ppm=0, half_spread_ppm=0, deadband=0.2, hold=0.0, cap=1.0)
UNIT = 0.5 * 0.001


def quiet(rows: int, **columns: list[float]) -> Market:
    """Bars that stand still at 40,000 ticks, but for what is said; plenty is traded."""
    market = walk(rows)
    for column in ("open", "high", "low", "mark", "bid", "ask"):
        market.path[column] = columns.get(column, [40_000] * rows)
    for column in ("bid", "ask"):
        market.path[column] = market.path["mark"]
    market.path["bid_size"] = market.path["ask_size"] = 10**9
    return market


def wanted(market: Market, seed: int) -> np.ndarray:
    """Exposures that change often, with gaps in them."""
    random = generator(seed, "tests.wanted")
    said = np.clip(np.cumsum(random.standard_normal(len(market.path))) * 0.2, -1.0, 1.0)
    said[random.random(len(said)) < 0.2] = np.nan
    return said


def test_a_decision_is_filled_at_the_next_opening_and_pays_fee_and_spread() -> None:
    market = quiet(3, open=[40_000, 40_400, 41_000], mark=[40_000, 41_000, 41_000])
    shape = msgspec.structs.replace(FREE, taker_fee_ppm=1000, half_spread_ppm=1000)
    account = follow(market, np.array([1.0, math.nan, math.nan]), shape)
    assert len(account.fills) == 1
    fill = account.fills[0]
    lots = int(100_000 / (20_000 * 0.001))  # of the equity, at the mark of the decision
    assert (fill["row"], fill["lots"], fill["price"]) == (1, lots, 40_400 + 40)
    assert fill["fee"] == pytest.approx(lots * 40_440 * 0.001)
    assert account.costs.spread == pytest.approx(lots * 40 * UNIT)
    assert account.costs.latency == pytest.approx(lots * 400 * UNIT)
    assert account.equity[0] == 100_000.0
    paid = lots * 40_440 * (1 + 0.001) * UNIT
    assert account.equity[1] == pytest.approx(100_000.0 - paid + lots * 41_000 * UNIT)


def test_without_latency_it_is_filled_at_the_close_of_its_own_row() -> None:
    market = quiet(2, open=[40_000, 40_400], mark=[40_000, 41_000])
    shape = msgspec.structs.replace(FREE, latency=0)
    account = follow(market, np.array([1.0, math.nan]), shape)
    assert (account.fills["row"].tolist(), account.fills["price"].tolist()) == ([0], [40_001.0])
    assert account.costs.latency == 0.0


def test_where_stop_and_target_were_both_touched_the_stop_counts() -> None:
    rows = {"high": [40_000, 40_000, 44_500], "low": [40_000, 40_000, 37_500]}
    market = quiet(3, **rows)
    shape = msgspec.structs.replace(FREE, stop=0.05, take=0.1)
    account = follow(market, np.array([1.0, 1.0, 1.0]), shape)
    assert account.fills["reason"].tolist() == [0, BY_STOP]
    entry = account.fills["price"][0]
    assert account.fills["price"][1] == pytest.approx(entry * 0.95, abs=1.0)
    assert account.lots == 0


def test_a_target_alone_fills_where_it_stands_though_the_bar_opened_beyond() -> None:
    market = quiet(3, open=[40_000, 40_000, 45_000], high=[40_000, 40_000, 45_500])
    shape = msgspec.structs.replace(FREE, stop=0.05, take=0.1)
    account = follow(market, np.array([-1.0, -1.0, -1.0]), shape)
    assert account.fills["reason"].tolist() == [0, BY_STOP]
    account = follow(market, np.array([1.0, 1.0, 1.0]), shape)
    assert account.fills["reason"].tolist() == [0, BY_TAKE]
    assert account.fills["price"][1] == pytest.approx(account.fills["price"][0] * 1.1, abs=1.0)


def test_a_stop_that_the_opening_has_passed_fills_at_the_opening() -> None:
    market = quiet(3, open=[40_000, 40_000, 30_000], low=[40_000, 40_000, 29_000])
    account = follow(market, np.ones(3), msgspec.structs.replace(FREE, stop=0.05))
    assert account.fills["price"][1] == pytest.approx(30_000, abs=1.0)


def test_what_a_stop_has_closed_is_not_bought_again_until_it_was_not_wanted() -> None:
    low = [40_000] * 8
    low[2] = 30_000
    market = quiet(8, low=low)
    said = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    account = follow(market, said, msgspec.structs.replace(FREE, stop=0.05))
    assert account.fills["row"].tolist() == [1, 2, 6]


def test_of_a_bar_no_more_than_its_share_is_to_be_had() -> None:
    market = quiet(6)
    market.path["ask_size"] = 1_000
    account = follow(market, np.full(6, 1.0), msgspec.structs.replace(FREE, participation=0.1))
    assert account.fills["lots"].tolist() == [100] * 5


def test_what_does_not_fit_at_the_touch_of_a_book_costs_more() -> None:
    market = walk(2, bars=False)
    market.path["ask_size"] = 1_000
    market.path["mark"] = 40_000
    market.path["bid"], market.path["ask"] = 39_999, 40_001
    shape = msgspec.structs.replace(FREE, slippage_bps=100.0, cap=0.5)
    account = follow(market, np.array([1.0, math.nan]), shape)
    lots = 2_500
    mean = (1_000 * 40_001 + 1_500 * 40_001 * 1.01) / lots
    assert account.fills["price"].tolist() == pytest.approx([mean])
    assert account.costs.slippage == pytest.approx(1_500 * 400.01 * UNIT)
    assert account.costs.spread == pytest.approx(lots * UNIT)


def test_over_a_break_nothing_is_held() -> None:
    market = quiet(
        5, mark=[40_000, 40_000, 40_000, 80_000, 80_000], open=[40_000] * 3 + [80_000] * 2
    )
    market.path["flags"][3] |= BREAK
    account = follow(market, np.array([1.0, 1.0, 1.0, math.nan, math.nan]), FREE)
    assert account.fills["reason"].tolist() == [0, BY_BREAK]
    assert account.fills["price"][1] == 40_000.0  # not what it cost after it
    assert account.equity[-1] == pytest.approx(account.equity[2], rel=1e-4)


def test_a_spot_market_is_not_sold_short() -> None:
    assert not len(follow(walk(50, kind=Kind.SPOT), np.full(50, -1.0), FREE).fills)
    assert len(follow(walk(50), np.full(50, -1.0), FREE).fills)


def test_nothing_is_traded_while_the_market_cannot_be() -> None:
    market = quiet(4)
    market.path["flags"][1:3] &= ~TRADABLE
    account = follow(market, np.array([1.0, math.nan, math.nan, math.nan]), FREE)
    assert not len(account.fills)  # it has expired when the market is back


def test_the_deadband_keeps_small_changes_from_trading() -> None:
    market = quiet(6)
    shape = msgspec.structs.replace(FREE, deadband=0.25, cap=0.5)
    account = follow(market, np.array([0.5, 0.6, 0.74, 0.76, 0.9, 0.9]), shape)
    assert account.fills["row"].tolist() == [1, 4]


def test_a_position_that_outgrows_the_equity_is_cut_back() -> None:
    """Short for all the capital at 40,000; at 56,000 it is 1.4 of 0.6: more than twice."""
    prices = [40_000, 40_000, 48_000, 56_000, 56_000, 56_000, 100_000, 100_000, 100_000]
    market = quiet(9, open=prices, mark=prices)
    said = np.full(9, math.nan)
    said[0] = -1.0
    account = follow(market, said, msgspec.structs.replace(FREE, leverage=2.0))
    assert account.fills["row"].tolist() == [1, 4, 7]
    after = abs(account.fills["lots"][:2].sum()) * 56_000 * UNIT / account.equity[4]
    assert after == pytest.approx(0.9 * 2.0, abs=0.01)
    assert account.equity[6] < 0.0  # it went beyond what there was, in one bar
    assert account.lots == 0
    assert account.equity[8] == account.equity[7]


def test_buying_and_holding_is_the_market_less_its_costs() -> None:
    market = walk(400, drift=0.001)
    market.path["bid_size"] = market.path["ask_size"] = 10**9
    account = buy_and_hold(market, FollowingShape())
    assert len(account.fills) == 1
    grown = market.path["mark"][-1] / account.fills["price"][0]
    assert account.equity[-1] / 100_000 == pytest.approx(grown - 0.0005, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    bars=st.booleans(),
    latency=st.sampled_from([0, 1]),
    stop=st.sampled_from([0.0, 0.01]),
    cuts=st.lists(st.integers(0, 300), max_size=5),
)
def test_any_split_gives_the_same_bits(
    seed: int, bars: bool, latency: int, stop: float, cuts: list[int]
) -> None:
    market = walk(300, seed, bars=bars)
    market.path["flags"][137] |= BREAK
    said = wanted(market, seed)
    shape = FollowingShape(latency=latency, stop=stop, take=2 * stop, cap=1.0, hold=120.0)
    whole = follow(market, said, shape)
    follower = Follower(market, shape, 900)
    equity = np.empty(300)
    edges = [0, *sorted(cuts), 300]
    for first, past in itertools.pairwise(edges):
        follower.follow(market.path[first:past], said[first:past], equity[first:past])
    pieces = follower.account(equity)
    assert pieces.equity.tobytes() == whole.equity.tobytes()
    assert pieces.fills.tobytes() == whole.fills.tobytes()
    cut = follow(market.between(0, 200), said[:200], shape)
    assert cut.equity.tobytes() == whole.equity[:200].tobytes()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), bars=st.booleans(), stop=st.sampled_from([0.0, 0.01]))
def test_the_books_balance(seed: int, bars: bool, stop: float) -> None:
    market = walk(300, seed, bars=bars)
    shape = FollowingShape(cap=1.0, stop=stop, take=stop, slippage_bps=50.0)
    account = follow(market, wanted(market, seed), shape)
    fills = account.fills
    assert np.array_equal(np.cumsum(fills["lots"])[:-1], fills["held"][1:])
    cash = -np.sum(fills["lots"] * fills["price"] + fills["fee"])
    value = fills["lots"].sum() * market.path["mark"][-1]
    assert account.equity[-1] == pytest.approx(100_000 + (cash + value) * UNIT, rel=1e-12)
    # profit is what the mids made of what was decided, less every cost
    shortfall = np.sum(fills["lots"] * (fills["price"] - fills["decision"])) + fills["fee"].sum()
    assert account.costs.total == pytest.approx(shortfall * UNIT, rel=1e-9, abs=1e-6)
    assert account.costs.fees == pytest.approx(account.traded * 500e-6, rel=1e-9)
    assert (np.sign(fills["lots"]) * (fills["price"] - fills["mid"]) > 0).all()


def test_trades_and_what_is_held_make_up_the_profit() -> None:
    market = walk(500, 3)
    market.path["bid_size"] = market.path["ask_size"] = 10**9
    said = wanted(market, 3)
    said[-3:] = 0.0  # flat at the end
    account = follow(market, said, FollowingShape(cap=1.0, deadband=0.0, hold=0.0))
    assert account.lots == 0
    assert isinstance(account, Account)
    assert account.trades.sum() == pytest.approx(account.equity[-1] - 100_000, abs=1e-6)
