"""What becomes of an account: triggers, expiry, funding, liquidation, and a start from its logs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seawall.core.clock import MILLISECOND
from seawall.core.events import EventKind, Side
from seawall.exchange import refusals
from seawall.exchange.listing import Market
from seawall.exchange.orders import Record
from seawall.exchange.terms import MAINTENANCE_PPM, Terms
from tests.exchange.practice import ASK, BID, book
from tests.exchange.story import NAMES, Story

USDM = Market.USDM
DOWN = [
    row
    for k in range(1, 11)
    for row in (
        *[(k, EventKind.DEPTH, Side.BUY, BID - 10 * n, 0) for n in range(10 * (k - 1), 10 * k)],
        (k + 0.1, EventKind.DEPTH, Side.SELL, BID - 100 * k + 10, 100_000),
        (k + 0.2, EventKind.TRADE, Side.SELL, BID - 100 * k, 100),
    )
]  # the market falls by 1.00 a second


@pytest.fixture
def falling(tmp_path: Path) -> Iterator[Story]:
    story = Story(tmp_path, *book(0, levels=200), *DOWN)
    yield story
    story.close()


def test_a_trailing_stop_follows_and_then_sells(falling: Story) -> None:
    falling.place("alice", "BUY", 100, market=USDM)
    stop = falling.place(
        "alice", "SELL", 100, kind="TRAILING_STOP_MARKET", rate=100, market=USDM, conditional=True
    )
    falling.pass_time(4)
    assert stop.waits
    falling.pass_time(5)  # 6.00 below the best that it saw
    assert (stop.status, stop.filled) == ("FILLED", 100)
    told = [event.what for name, event in falling.events if event.record is stop]
    assert told == ["NEW", "TRADE"]


def test_a_stop_with_a_limit_rests_once_it_is_triggered(falling: Story) -> None:
    stop = falling.place(
        "alice", "BUY", 100, BID - 5_000, kind="TAKE_PROFIT", stop=BID - 300, market=USDM
    )
    falling.pass_time(2)
    assert stop.waits
    falling.pass_time(2)
    assert (stop.waits, stop.status, stop.triggered > 0) == (False, "NEW", True)
    assert [e.what for _, e in falling.events if e.record is stop] == ["NEW", "TRIGGERED"]
    falling.restart()
    again = falling.account("alice").usdm.records[stop.number]
    assert (again.waits, again.status) == (False, "NEW")


def test_an_order_good_till_a_date_ends_there(falling: Story) -> None:
    until = falling.exchange.now_ms() + 3_000
    order = falling.place(
        "alice", "BUY", 100, BID - 5_000, market=USDM, force="GTD", good_till=until
    )
    falling.pass_time(2)
    assert order.status == "NEW"
    falling.pass_time(2)
    assert order.status == "EXPIRED"
    assert falling.events[-1][1].what == "EXPIRED"


def test_funding_is_paid_by_who_is_long(tmp_path: Path) -> None:
    terms = Terms(funding_minutes=1, funding_ppm=100, usdm_fees_ppm=(0, 0))
    story = Story(tmp_path, *book(0), terms=terms)
    story.place("alice", "BUY", 100_000, market=USDM)
    story.place("bob", "SELL", 50_000, market=USDM)
    story.pass_time(121)
    mark = (BID + ASK) // 2
    times = len(story.account("alice").usdm.fundings)
    assert times in (2, 3)
    paid = 10**13 - story.account("alice").usdm.balance("USDT")
    assert paid == sum(each.amount for each in story.account("alice").usdm.fundings)
    assert paid == pytest.approx(times * mark * 100_000 * 1e-4 * 10, rel=1e-3)
    assert story.account("bob").usdm.balance("USDT") > 10**13
    assert {event.what for _, event in story.events if event.funding} == {"FUNDING"}
    story.close()


def test_who_cannot_carry_a_position_is_liquidated(tmp_path: Path) -> None:
    terms = Terms(usdm={"USDT": 600}, leverage=125)
    story = Story(tmp_path, *book(0), *book(6, lower=50_000), terms=terms)
    story.place("alice", "BUY", 100_000, market=USDM)
    wallet = story.account("alice").usdm
    story.pass_time(3)
    assert not any(each.fill.liquidation for each in wallet.executions)
    story.pass_time(9)
    closed = [each for each in wallet.executions if each.fill.liquidation]
    assert sum(each.fill.size for each in closed) == 100_000
    assert wallet.position(wallet.listed["BTCUSDT"]).lots == 0
    assert MAINTENANCE_PPM == 4_000
    story.restart()
    assert story.account("alice").usdm.balance("USDT") == wallet.balance("USDT")
    story.close()


def test_the_dead_mans_switch_outlives_a_restart(falling: Story) -> None:
    order = falling.place("alice", "BUY", 100, BID - 5_000, market=USDM)
    alice = falling.account("alice")
    alice.choices.countdown["BTCUSDT"] = falling.exchange.now_ms() + 2_000
    alice.keep()
    falling.restart()
    number = order.number
    assert falling.account("alice").usdm.records[number].status == "NEW"
    falling.pass_time(3)
    assert falling.account("alice").usdm.records[number].status == "CANCELED"
    assert falling.account("alice").choices.countdown == {}


# --- what a start makes of the logs ---


def _shown(record: Record) -> Any:
    return (
        record.wish,
        record.status,
        record.waits,
        record.filled,
        record.value,
        record.placed,
        record.updated,
        [(each.fill, each.realised) for each in record.fills],
    )


def _state(story: Story) -> Any:
    return {
        (name, market): (
            [_shown(each) for each in wallet.records.values()],
            sorted(wallet.open),
            [(each.fill, each.number, each.realised) for each in wallet.executions],
            dict(wallet.engine.accounts.balances),
            {n: (p.lots, p.cost) for n, p in wallet.engine.accounts.positions.items()},
            wallet.next_number(),
        )
        for name in NAMES
        for market, wallet in story.account(name).wallets.items()
    }


WISHES = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(("place", "market", "stop", "cancel", "amend", "wait")),
        st.sampled_from(("BUY", "SELL")),
        st.integers(1, 5_000),
        st.integers(-400, 20),
    ),
    min_size=1,
    max_size=14,
)


LIMIT, STOP, WAIT = (
    ("alice", "place", "BUY", 1, 0),
    ("alice", "stop", "SELL", 1, -201),
    ("alice", "wait", "BUY", 1, 0),
)


@settings(max_examples=8, deadline=None)
@given(wishes=WISHES)
@example(wishes=[LIMIT] * 9 + [STOP] + [WAIT] * 4)  # its trade comes just after the last start
def test_a_restart_at_any_point_finds_what_was_there(
    tmp_path_factory: pytest.TempPathFactory, wishes: list[tuple[str, str, str, int, int]]
) -> None:
    story = Story(tmp_path_factory.mktemp("story"), *book(0, levels=200), *DOWN)
    try:
        for name, what, side, lots, offset in wishes:
            try:
                _do(story, name, what, side, lots, offset)
            except refusals.RefusalError:
                continue
            before = _state(story)
            story.restart()
            assert _state(story) == before
            story.pass_time(0.1)  # the market goes on, and may do something to what was found
    finally:
        story.close()


def test_a_stop_that_a_start_finds_is_triggered_once_by_the_next_trade(falling: Story) -> None:
    falling.place("alice", "BUY", 100, market=USDM)
    stop = falling.place("alice", "SELL", 100, kind="STOP_MARKET", stop=BID - 201, market=USDM)
    falling.pass_time(3.05)  # at 3.15 of the tape; the trade at BID - 300 is at 3.20
    falling.restart()
    wallet = falling.account("alice").usdm
    assert wallet.records[stop.number].waits
    falling.restart()  # again, with nothing between
    falling.pass_time(1)
    wallet = falling.account("alice").usdm
    again = wallet.records[stop.number]
    assert (again.status, [each.fill.price for each in again.fills]) == ("FILLED", [BID - 300])
    assert wallet.position(wallet.listed["BTCUSDT"]).lots == 0
    falling.pass_time(2)
    falling.restart()
    wallet = falling.account("alice").usdm
    assert [each.number for each in wallet.executions] == [1, stop.number]


def _do(story: Story, name: str, what: str, side: str, lots: int, offset: int) -> None:
    wallet = story.account(name).usdm
    mine = [each for each in wallet.open.values() if not each.waits]
    match what:
        case "place":
            story.place(name, side, lots, BID + offset, market=USDM)
        case "market":
            story.place(name, side, lots, market=USDM)
        case "stop":
            story.place(name, side, lots, kind="STOP_MARKET", stop=BID + offset, market=USDM)
        case "cancel" if mine:
            wallet.cancel(mine[0], story.clock.now())
            story.exchange.tell(USDM)
        case "amend" if mine:
            old = mine[0].wish
            wish = msgspec.structs.replace(
                old, lots=lots, ticks=BID + offset, attempt=old.attempt + 1
            )
            try:
                wallet.amend(mine[0], wish, story.clock.now() + MILLISECOND)
            finally:
                story.exchange.tell(USDM)
        case "wait":
            story.pass_time(0.7)
