"""Several accounts in one market: they trade with each other, and no lot is given twice."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.core.events import EventKind, Side
from seawall.exchange import refusals
from seawall.exchange.listing import Market
from tests.exchange.practice import ASK, BID, book
from tests.exchange.story import NAMES, Story


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path, *book(0), (5, EventKind.TRADE, Side.SELL, BID + 1, 60_000))


def test_who_takes_trades_with_who_rests_inside_the_spread(story: Story) -> None:
    resting = story.place("alice", "SELL", 500, ASK - 3)
    assert story.exchange.markets[Market.SPOT].books["BTCUSDT"].top()[2:] == (ASK - 3, 500)
    taker = story.place("bob", "BUY", 800)
    assert [(each.fill.price, each.fill.size) for each in taker.fills] == [
        (ASK - 3, 500),
        (ASK, 300),
    ]
    assert (resting.status, resting.fills[0].fill.maker) == ("FILLED", True)
    shown = story.exchange.markets[Market.SPOT].books["BTCUSDT"]
    assert shown.top()[2:] == (ASK, 100_000 - 300)
    assert [(each.price, each.lots) for each in shown.trades] == [(ASK - 3, 500), (ASK, 300)]


def test_who_came_later_to_a_price_waits_for_who_came_before(story: Story) -> None:
    first = story.place("alice", "SELL", 500, ASK - 3)
    second = story.place("bob", "SELL", 500, ASK - 3)
    story.place("carol", "BUY", 700)
    assert (first.filled, second.filled) == (500, 200)
    assert story.exchange.markets[Market.SPOT].books["BTCUSDT"].top()[2:] == (ASK - 3, 300)


def test_an_order_at_the_tapes_price_stands_behind_the_tape(story: Story) -> None:
    resting = story.place("alice", "SELL", 500, ASK)
    story.place("bob", "BUY", 100_000)
    assert resting.filled == 0
    story.place("bob", "BUY", 200)
    assert resting.filled == 200


def test_a_trade_of_the_tape_is_shared_by_place(story: Story) -> None:
    first = story.place("alice", "BUY", 30_000, BID + 1)
    second = story.place("bob", "BUY", 50_000, BID + 1)
    story.pass_time(6)  # 60,000 lots are sold at their price
    assert (first.filled, second.filled) == (30_000, 30_000)


def test_a_stop_is_triggered_by_what_another_account_trades(story: Story) -> None:
    stop = story.place("alice", "BUY", 100, kind="STOP_LOSS", stop=ASK + 10)
    story.place("bob", "BUY", 100_000)
    assert stop.waits
    story.place("bob", "BUY", 100)
    assert (stop.status, stop.filled) == ("FILLED", 100)


def test_a_cancelled_order_is_gone_for_all(story: Story) -> None:
    resting = story.place("alice", "SELL", 500, ASK - 3)
    story.account("alice").spot.cancel(resting, story.clock.now())
    story.exchange.tell(Market.SPOT)
    taker = story.place("bob", "BUY", 100)
    assert taker.fills[0].fill.price == ASK


def test_post_only_sees_the_others(story: Story) -> None:
    story.place("alice", "SELL", 500, ASK - 3)
    with pytest.raises(refusals.RefusalError, match="immediately match"):
        story.place("bob", "BUY", 100, ASK - 3, kind="LIMIT_MAKER")


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(("BUY", "SELL")),
        st.integers(1, 3_000),
        st.integers(-4, 14),
        st.booleans(),
    ),
    min_size=1,
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(orders=ORDERS)
def test_nothing_is_made_or_lost(
    tmp_path_factory: pytest.TempPathFactory, orders: list[tuple[str, str, int, int, bool]]
) -> None:
    """What accounts sold to each other inside the spread the others bought, to the last unit."""
    inside = Story(tmp_path_factory.mktemp("story"), *book(0, levels=2, lots=10**7))
    try:
        for name, side, lots, offset, at_market in orders:
            try:
                inside.place(name, side, lots, 0 if at_market else BID + offset)
            except refusals.RefusalError:
                continue
        fills = [each.fill for name in NAMES for each in inside.account(name).spot.executions]
        for price in {fill.price for fill in fills}:
            made = sum(fill.size for fill in fills if fill.price == price and fill.maker)
            taken = sum(fill.size for fill in fills if fill.price == price and not fill.maker)
            if BID < price < ASK:
                assert made == taken
            assert made <= taken
        lots = sum(fill.size * fill.side.sign for fill in fills)
        held = sum(inside.account(name).spot.balance("BTC") for name in NAMES)
        assert held == len(NAMES) * 100 * 10**8 + lots * 1_000
    finally:
        inside.close()
