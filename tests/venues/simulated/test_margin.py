"""Funding, liquidation and inverse contracts: to the last unit, and equal to our own ledger."""

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core import money
from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.events import Raw, Side
from seawall.core.orders import Fill, Funding, OrderState, Report
from seawall.core.records import Deposited, FillBooked, FundingBooked, RunStarted
from seawall.ledger import Ledger
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Log
from seawall.venues.simulated.shape import FundingRate, VenueShape
from tests.venues.simulated import test_invariants as invariants
from tests.venues.simulated.market import (
    CATALOG,
    INVERSE,
    LINEAR,
    NAMES,
    SHAPE,
    Story,
    bar,
    depth,
    fold,
    order,
    row,
    snapshot,
    tape,
    trade,
)
from tests.venues.simulated.test_invariants import LAST, SEEDS, market, play, tell, wishes
from tests.venues.simulated.test_stops import stop

BUY, SELL = Side.BUY, Side.SELL
S = OrderState
BASIS_POINT = money.RATE // 10_000


def shaped(**more: Any) -> VenueShape:
    return msgspec.structs.replace(SHAPE, **more)


def funded(*rates: tuple[int, int, int], **more: Any) -> VenueShape:
    """A shape with (ns UTC, instrument, rate) payments."""
    return shaped(funding=tuple(FundingRate(NAMES[of], ts, rate) for ts, of, rate in rates), **more)


def payments(engine: Engine) -> list[Funding]:
    return [each for each in engine.movements(0) if isinstance(each, Funding)]


# --- funding ---


@pytest.mark.parametrize(("side", "amount"), [(BUY, 50_00), (SELL, -50_00)])
def test_longs_pay_shorts_of_a_linear_contract(side: Side, amount: int) -> None:
    book = snapshot(1, {49_999: 5_000}, {50_001: 5_000})
    story = Story(funded((100, LINEAR, BASIS_POINT), balances={"USD": 10**9}), book)
    story.ask(order("a", side, 1_000))  # 10 BTC
    before = story.engine.balances()["USD"]
    story.pass_time(200)
    (paid,) = payments(story.engine)
    # 10 BTC at a mark of 50,000 USD, one basis point: 50 USD.
    assert (paid.amount, paid.price, paid.lots, paid.ts) == (amount, 50_000, 1_000 * side.sign, 100)
    assert (paid.asset, paid.rate) == ("USD", BASIS_POINT)
    assert story.engine.balances()["USD"] == before - amount


@pytest.mark.parametrize(("rate", "amount"), [(1, 10_000), (-1, -10_000)])
def test_an_inverse_contract_pays_in_coins(rate: int, amount: int) -> None:
    book = snapshot(1, {29_999: 500}, {30_001: 500}, of=INVERSE)
    story = Story(funded((100, INVERSE, rate * BASIS_POINT)), book)
    story.ask(order("a", BUY, 300, instrument=NAMES[INVERSE])).pass_time(200)
    # 300 contracts of 100 USD at 30,000 are 1 BTC, one basis point: 0.0001 BTC.
    assert [(paid.amount, paid.asset) for paid in payments(story.engine)] == [(amount, "XBT")]


@given(st.integers(-(10**24), 10**24), st.integers(-money.RATE, money.RATE))
def test_funding_is_rounded_towards_the_venue(value: int, rate: int) -> None:
    exact = value * rate
    paid = money.funding(value, rate)
    assert exact <= paid * money.RATE < exact + money.RATE
    assert paid + money.funding(-value, rate) in (0, 1)


def test_funding_comes_at_its_time_and_only_to_who_holds() -> None:
    rates = [(50, LINEAR, BASIS_POINT), (50, INVERSE, BASIS_POINT), (90, LINEAR, 10**10)]
    book = snapshot(10, {49_999: 5_000}, {50_001: 5_000})
    story = Story(funded((5, LINEAR, BASIS_POINT), *rates, balances={"USD": 10**9}), book)
    story.pass_time(39)  # now 50: who arrives at a funding time comes after it
    story.ask(order("a", BUY, 1_000))
    story.see(depth(80, BUY, 49_999, 0), depth(90, BUY, 39_999, 5), depth(95, BUY, 50_000, 5))
    # 1 % of 10 BTC at (39,999 + 50,001) / 2: the book as it is once the time is past 90.
    assert [(paid.ts, paid.amount) for paid in payments(story.engine)] == [(90, 4_500_00)]


def test_where_there_is_no_book_the_last_trade_or_the_entry_counts() -> None:
    book = snapshot(1, {49_999: 5_000}, {50_001: 5_000})
    rates = [(100, LINEAR, BASIS_POINT), (200, LINEAR, BASIS_POINT)]
    story = Story(funded(*rates, balances={"USD": 10**9}), book).ask(order("a", BUY, 1_000))
    story.see(row(90, 9)).pass_time(60).see(trade(160, BUY, 60_000, 1)).pass_time(60)
    # 500,010 USD at the entry, then 600,000 USD at the last trade.
    assert [(p.price, p.amount) for p in payments(story.engine)] == [(0, 50_01), (60_000, 60_00)]


def test_rates_that_make_no_sense_are_named() -> None:
    with pytest.raises(SettingError, match="ordered by time"):
        funded((9, LINEAR, 1), (8, LINEAR, 1)).check()
    with pytest.raises(SettingError, match="beyond the whole value"):
        funded((9, LINEAR, money.RATE + 1)).check()


# --- inverse contracts ---


@pytest.mark.parametrize(
    ("side", "out", "profit"),
    # BitMEX's guide to inverse contracts: 50,000 contracts of 1 USD in at 10,000 bring 0.4545 XBT
    # at 11,000 and lose 0.5556 XBT at 9,000.
    [(BUY, 11_000, 45_454_545), (BUY, 9_000, -55_555_556), (SELL, 9_000, 55_555_556)],
)
def test_the_published_profit_of_an_inverse_contract(side: Side, out: int, profit: int) -> None:
    free = shaped(taker_fee_ppm=0, balances={"XBT": 10**9})
    book = snapshot(1, {10_000: 900}, {10_000 + 1: 1}, of=INVERSE)
    if side is BUY:
        book = snapshot(1, {9_999: 1}, {10_000: 900}, of=INVERSE)
    story = Story(free, book).ask(order("in", side, 500, instrument=NAMES[INVERSE]))
    story.see(*snapshot(10, {out: 900}, {out + 1: 900}, of=INVERSE))
    if side is SELL:
        story.see(*snapshot(20, {out - 1: 900}, {out: 900}, of=INVERSE))
    story.ask(order("out", side.opposite, 500, instrument=NAMES[INVERSE]))
    assert story.engine.balances()["XBT"] - 10**9 == profit
    assert story.engine.positions() == {}


def test_the_fee_of_an_inverse_contract_is_of_its_value_in_coins() -> None:
    book = snapshot(1, {39_999: 900}, {40_000: 900}, of=INVERSE)
    story = Story(shaped(taker_fee_ppm=750), book)
    story.ask(order("a", BUY, 100, instrument=NAMES[INVERSE]))
    # 10,000 USD at 40,000 are 0.25 BTC; 0.075 % of that: 0.0001875 BTC.
    assert [(f.fee, f.fee_asset) for f in story.engine.fills(0)] == [(18_750, "XBT")]


# --- liquidation ---

THIN: dict[str, Any] = {
    "balances": {"USD": 400_00},
    "maintenance_ppm": 50_000,
    "liquidation_fee_ppm": 10_000,
}


def leveraged(**more: Any) -> Story:
    """Long 100 lots (1 BTC) at 1,000 USD with 400 USD: 2.5 times."""
    story = Story(shaped(**THIN, **more), snapshot(1, {999: 500}, {1_000: 500}))
    return story.ask(order("in", BUY, 100), order("more", BUY, 1, 400))


def test_equity_under_the_maintenance_margin_closes_the_position() -> None:
    story = leveraged()
    fee = story.engine.fills(0)[0].fee
    assert fee == 50  # 0.05 % of 1,000 USD
    # At 631: equity 399.50 - 369 = 30.50 USD under 5 % of 631 = 31.55 USD; at 640 both are near:
    # 39.50 over 32.
    story.see(*snapshot(SECOND // 2, {639: 500}, {642: 500})).pass_time(SECOND)
    assert story.engine.positions() == {NAMES[LINEAR]: 100}
    story.see(*snapshot(2 * SECOND - 5, {630: 60, 629: 500}, {633: 500})).pass_time(3)
    assert len(story.engine.fills(0)) == 1  # the margin is looked at once a second
    story.pass_time(SECOND)
    closed = story.engine.fills(0)[1:]
    assert [(f.price, f.size, f.liquidation, f.ts) for f in closed] == [
        (630, 60, True, 2 * SECOND),
        (629, 40, True, 2 * SECOND),
    ]
    assert [f.fee for f in closed] == [397, 265]  # 1.05 % of 378.00 and of 251.60 USD, rounded up
    assert story.engine.positions() == {}
    assert story.state("more")[0] is S.CANCELED
    assert "under the maintenance margin" in story.state("more")[2]
    loss = (60 * 630 + 40 * 629) - 100 * 1_000
    assert story.engine.balances()["USD"] == 400_00 - 50 + loss - 397 - 265


def test_what_the_book_cannot_take_is_closed_at_the_next_look() -> None:
    story = leveraged()
    story.see(*snapshot(2 * SECOND - 5, {600: 60}, {603: 500})).pass_time(SECOND)
    assert story.engine.positions() == {NAMES[LINEAR]: 40}
    story.see(depth(5 * SECOND + 1, BUY, 600, 60)).pass_time(2 * SECOND)
    assert story.engine.positions() == {}
    assert story.engine.fills(0)[-1].ts == 6 * SECOND


def test_without_a_maintenance_margin_nothing_is_closed() -> None:
    story = Story(shaped(balances={"USD": 400_00}), snapshot(1, {999: 500}, {1_000: 500}))
    story.ask(order("in", BUY, 100)).see(*snapshot(2 * SECOND, {1: 500}, {3: 500}))
    story.pass_time(5 * SECOND)
    assert story.engine.positions() == {NAMES[LINEAR]: 100}


def test_a_bar_closes_at_its_far_end_unless_the_position_is_younger() -> None:
    shape = shaped(**THIN, half_spread_ppm=1_000)
    story = Story(shape, bar(0, SECOND, (1_000, 1_000, 500, 1_000), 5_000))
    story.now = SECOND
    story.ask(order("in", BUY, 100)).pass_time(SECOND)
    story.see(*bar(SECOND, 2 * SECOND, (1_000, 1_000, 500, 1_000), 5_000)).pass_time(SECOND)
    assert story.engine.positions() == {NAMES[LINEAR]: 100}  # it was opened within that bar
    story.see(*bar(2 * SECOND, 3 * SECOND, (1_000, 1_000, 600, 990), 5_000)).pass_time(SECOND)
    assert [(f.price, f.size) for f in story.engine.fills(0)[1:]] == [(600, 100)]


def test_the_most_demanding_position_goes_first_and_others_stay_if_they_can() -> None:
    two = msgspec.structs.replace(
        CATALOG,
        instruments=(
            *CATALOG.instruments,
            msgspec.structs.replace(CATALOG.instruments[LINEAR], symbol="BTC-2"),
        ),
        books=(*CATALOG.books, (3, 0)),
    ).check()
    engine = Engine(two, shaped(**THIN))
    books = [*snapshot(1, {999: 900}, {1_000: 900}), *snapshot(1, {999: 900}, {1_000: 900}, of=3)]
    engine.observe(tape(*books), 2)
    engine.place(order("big", BUY, 60), 2)
    engine.place(order("small", BUY, 20, instrument="BTC-2@x"), 2)
    # Equity 400 - 0.40 - 341.40 - 39.80 = 18.40 USD under 20.94; without the first 15.09 over 8.01.
    fall = [*snapshot(5, {430: 900}, {432: 900}), *snapshot(5, {800: 900}, {802: 900}, of=3)]
    engine.observe(tape(*fall), 2 * SECOND)
    assert engine.positions() == {"BTC-2@x": 20}


def test_a_stop_saves_what_a_liquidation_would_take() -> None:
    story = leveraged()
    story.ask(stop("out", SELL, 100, 800, reduce_only=True))
    story.see(depth(10, BUY, 799, 500), trade(11, SELL, 800, 1))
    story.see(*snapshot(12, {600: 500}, {603: 500})).pass_time(2 * SECOND)
    assert story.fills()[1:] == [("out", 799, 100, False)]
    assert not any(f.liquidation for f in story.engine.fills(0))


# --- whatever happens ---


def wild(seed: int) -> VenueShape:
    """Poor, with funding often and a margin that is soon too small."""
    dice = Random(seed)
    rates = sorted(
        (dice.randint(2, LAST), dice.choice(NAMES[1:]), dice.randint(-(10**11), 10**11))
        for _ in range(dice.randint(0, 8))
    )
    return msgspec.structs.replace(
        invariants.POOR,
        funding=tuple(FundingRate(name, ts, rate) for ts, name, rate in rates),
        maintenance_ppm=dice.choice([0, 300_000, 900_000]),
        liquidation_fee_ppm=20_000,
    )


def slowed(rows: Raw) -> Raw:
    """The same market, some milliseconds to a nanosecond, so that margins are looked at."""
    for name in ("recv_ts", "exch_ts"):
        rows[name] *= SECOND // 10
    return rows


def booked(reports: list[Report], deposits: dict[str, int]) -> Ledger:
    """Our own books of what the exchange says."""
    ledger = Ledger()
    ledger.apply(
        RunStarted(
            ts=0,
            run="r",
            mode="backtest",
            seed=0,
            settings="",
            numeraire="USD",
            instruments=CATALOG.instruments,
        )
    )
    for asset, amount in deposits.items():
        ledger.apply(Deposited(ts=0, asset=asset, amount=amount))
    dice = Random(0)
    for report in reports:
        if isinstance(report, Fill):
            strategy = "liquidation" if report.liquidation else dice.choice("ab")
            ledger.apply(FillBooked(ts=report.ts, fill=report, strategy=strategy))
        elif isinstance(report, Funding):
            ledger.apply(FundingBooked(ts=report.ts, funding=report))
    return ledger


@settings(max_examples=150, deadline=None)
@given(SEEDS, SEEDS)
def test_no_unit_is_made_or_lost_and_our_ledger_agrees(seed: int, wish_seed: int) -> None:
    shape, rows = wild(seed), market(seed)
    engine = Engine(CATALOG, shape)
    at = 0
    for wish in wishes(wish_seed):
        stop_at = int((rows["recv_ts"] <= wish.ts).sum())
        engine.observe(Raw(rows[at:stop_at]), wish.ts)
        at = stop_at
        tell(engine, wish)
    engine.observe(Raw(rows[at:]), 200)
    reports = engine.reports(0, 1 << 60)
    assert [report.sequence for report in reports] == list(range(1, len(reports) + 1))
    balances, positions = fold(shape.balances, engine.fills(0))
    for paid in payments(engine):
        balances[paid.asset] -= paid.amount
    assert (balances, positions) == (dict(engine.balances()), dict(engine.positions()))
    ledger = booked(reports, shape.balances)
    ledger.conservation()
    assert {a: n for a, n in ledger.cash.items() if n} == {
        a: n for a, n in engine.balances().items() if n
    }
    again = Ledger()
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.state())))
    again.conservation()
    assert again.funding == ledger.funding


@settings(max_examples=60, deadline=None)
@given(SEEDS, SEEDS, st.lists(st.integers(1, 200), max_size=6))
def test_funding_and_margin_do_not_depend_on_the_pieces_of_the_tape(
    seed: int, wish_seed: int, cuts: list[int]
) -> None:
    rows = market(seed)
    poor, invariants.POOR = invariants.POOR, wild(seed)
    try:
        asked = wishes(wish_seed)
        _, whole = play(rows, asked, [])
        assert play(rows, asked, cuts)[1] == whole
    finally:
        invariants.POOR = poor


@settings(max_examples=80, deadline=None)
@given(SEEDS, SEEDS, st.integers(1, 7))
def test_liquidations_only_ever_reduce_and_any_split_says_the_same(
    seed: int, wish_seed: int, step: int
) -> None:
    shape = msgspec.structs.replace(wild(seed), maintenance_ppm=900_000, funding=())
    rows = slowed(market(seed))
    told = []
    for size in (len(rows), step):
        engine = Engine(CATALOG, shape)
        asked = [(w.ts * SECOND // 10, w) for w in wishes(wish_seed)]
        at = 0
        for ts, wish in asked:
            end = int((rows["recv_ts"] <= ts).sum())
            for first in range(at, end, size):
                part = rows[first : min(first + size, end)]
                engine.observe(Raw(part), int(part["recv_ts"][-1]))
            engine.observe(tape(), ts)
            at = end
            if not (wish.cancels or wish.replaces) and not wish.order.expires:
                patient = msgspec.structs.replace(wish.order, accept_until=0)
                engine.place(patient, ts)
        engine.observe(Raw(rows[at:]), 30 * SECOND)
        told.append(engine.reports(0, 1 << 60))
        held: dict[str, int] = {}
        for fill in engine.fills(0):
            before = held.get(fill.instrument, 0)
            held[fill.instrument] = before + fill.side.sign * fill.size
            if fill.liquidation:
                assert abs(held[fill.instrument]) == abs(before) - fill.size
                assert fill.ts % SECOND == 0
    assert told[0] == told[1]


@settings(max_examples=30, deadline=None)
@given(SEEDS, SEEDS, st.integers(0, 40), st.integers(0, 10))
def test_a_restart_knows_what_was_paid_and_closed(
    tmp_path_factory: pytest.TempPathFactory, seed: int, wish_seed: int, cut: int, every: int
) -> None:
    shape, rows = wild(seed), market(seed)
    path: Path = tmp_path_factory.mktemp("log") / "venue.log"
    log = Log(path, mark_every=every)
    engine = Engine(CATALOG, shape, log)
    last = 0
    for wish in wishes(wish_seed)[:cut]:
        engine.observe(Raw(rows[(rows["recv_ts"] > last) & (rows["recv_ts"] <= wish.ts)]), wish.ts)
        last = wish.ts
        tell(engine, wish)
    before = engine.balances(), engine.positions(), engine.movements(0)
    log.close()
    log = Log(path, mark_every=every)
    again = Engine(CATALOG, shape, log)
    assert (again.balances(), again.positions(), again.movements(0)) == before
    again.observe(Raw(rows[rows["recv_ts"] > last]), 400)
    times = [(paid.instrument, paid.ts) for paid in payments(again)]
    rates = [(rate.instrument, rate.ts) for rate in shape.funding]
    assert all(times.count(each) <= rates.count(each) for each in rates)  # nothing is paid twice
    booked(again.reports(0, 1 << 60), shape.balances).conservation()
    log.close()
