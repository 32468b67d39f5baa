"""The ledger conserves every unit, whatever fills it is told, and says what it does not know."""

import math
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core import records
from seawall.core.errors import InvariantError
from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.orders import Fill
from seawall.core.records import (
    AnyRecord,
    Deposited,
    FillBooked,
    Halted,
    LedgerAdjusted,
    RunStarted,
)
from seawall.ledger import Book, Ledger
from seawall.storage import MemoryJournal, Recorder, recover

SPOT = Instrument(
    venue="alpha",
    symbol="BTCUSD",
    kind=Kind.SPOT,
    base="BTC",
    quote="USD",
    tick="0.01",
    lot="0.001",
)
LINEAR = Instrument(
    venue="alpha",
    symbol="BTCUSDT-PERP",
    kind=Kind.LINEAR,
    base="BTC",
    quote="USDT",
    tick="0.1",
    lot="0.001",
    settle_decimals=6,
)
INVERSE = Instrument(
    venue="beta",
    symbol="BTCUSD-PERP",
    kind=Kind.INVERSE,
    base="BTC",
    quote="USD",
    tick="0.1",
    lot="1",
    multiplier="100",
)
INSTRUMENTS = (SPOT, LINEAR, INVERSE)
NAMED = {i.name: i for i in INSTRUMENTS}
BTC = USD = 10**8
USDT = 10**6


def started(*instruments: Instrument, numeraire: str = "USD") -> RunStarted:
    return RunStarted(
        ts=0,
        run="r",
        mode="paper",
        seed=1,
        settings="",
        numeraire=numeraire,
        instruments=instruments or INSTRUMENTS,
    )


def fill(
    sequence: int,
    instrument: Instrument,
    side: Side,
    size: int,
    price: int,
    *,
    fee: int = 0,
    fee_asset: str = "",
    strategy: str = "trend",
) -> FillBooked:
    return FillBooked(
        ts=sequence,
        strategy=strategy,
        fill=Fill(
            sequence=sequence,
            fill_id=f"f{sequence}",
            client_id=f"c{sequence}",
            instrument=instrument.name,
            side=side,
            price=price,
            size=size,
            fee=fee,
            fee_asset=fee_asset or instrument.settle_asset,
            maker=False,
            ts=sequence,
        ),
    )


def told(*told_records: AnyRecord) -> Ledger:
    ledger = Ledger()
    for record in told_records:
        ledger.apply(record)
    return ledger


def seen(ledger: Ledger) -> dict[str, Any]:
    """All that the ledger shows."""
    marks = dict.fromkeys(NAMED, 5_000.0)
    assets = {"BTC": 5_000.0, "USDT": 0.99, "BNB": 300.0}
    books = {
        who: {
            name: {slot: getattr(book, slot) for slot in Book.__slots__}
            for name, book in ledger.books(who).items()
        }
        for who in (None, *ledger.strategies)
    }
    amounts = (ledger.cash, ledger.deposits, ledger.fees, ledger.realised, ledger.positions)
    last = [ledger.last_fill_sequence(venue) for venue in ("alpha", "beta")]
    # repr, because NaN is not equal to itself
    return {"books": books, "last": last, "all": repr((amounts, ledger.portfolio(marks, assets)))}


@st.composite
def histories(draw: st.DrawFn) -> list[AnyRecord]:
    """A run's start, then deposits and fills of three kinds, two venues and three strategies."""
    history: list[AnyRecord] = [started()]
    for sequence in range(1, draw(st.integers(0, 30)) + 1):
        if draw(st.integers(0, 5)) == 0:
            asset = draw(st.sampled_from(["BTC", "USD", "USDT", "BNB"]))
            amount = draw(st.integers(-(10**12), 10**12))
            history.append(Deposited(ts=sequence, asset=asset, amount=amount))
        if draw(st.integers(0, 9)) == 0:
            history.append(started())  # the node died and came back
        instrument = draw(st.sampled_from(INSTRUMENTS))
        history.append(
            fill(
                sequence,
                instrument,
                draw(st.sampled_from([Side.BUY, Side.SELL])),
                draw(st.one_of(st.integers(1, 9), st.integers(1, 10**6))),
                draw(st.integers(1, 10**6)),
                fee=draw(st.integers(-(10**4), 10**6)),
                fee_asset=draw(st.sampled_from([instrument.settle_asset, "BTC", "BNB"])),
                strategy=draw(st.sampled_from(["trend", "flow", "quotes"])),
            )
        )
    return history


# --- properties ---


@given(history=histories())
def test_every_unit_is_conserved_after_every_record(history: list[AnyRecord]) -> None:
    ledger = Ledger()
    for record in history:
        ledger.apply(record)
        ledger.conservation()


def lots_gone_in_fees(fills: list[FillBooked], name: str, strategy: str) -> int:
    """Whole lots, rounded up, that a strategy's fees in the coin itself have taken."""
    instrument, owed, gone = NAMED[name], 0, 0
    for record in fills:
        fill = record.fill
        if fill.instrument != name or record.strategy != strategy:
            continue
        if instrument.kind is Kind.SPOT and fill.fee_asset == instrument.base:
            owed += fill.fee
            gone = max(gone, math.ceil(Fraction(owed, instrument.base_unit)))
    return gone


@given(history=histories())
def test_positions_are_the_sums_of_fills_and_strategies_add_up(history: list[AnyRecord]) -> None:
    ledger = told(*history)
    fills = [record for record in history if isinstance(record, FillBooked)]
    for name in NAMED:
        signed = [
            (record.strategy, record.fill.side.sign * record.fill.size)
            for record in fills
            if record.fill.instrument == name
        ]
        total = 0
        for strategy in ("trend", "flow", "quotes"):
            own = sum(size for who, size in signed if who == strategy)
            own -= lots_gone_in_fees(fills, name, strategy)
            assert ledger.position(name, strategy) == own
            total += own
        assert ledger.position(name) == total
    assert set(ledger.strategies) == {record.strategy for record in fills}
    assert all(ledger.positions.values())
    for venue in ("alpha", "beta"):
        sequences = [r.fill.sequence for r in fills if NAMED[r.fill.instrument].venue == venue]
        assert ledger.last_fill_sequence(venue) == max(sequences, default=0)


@given(history=histories())
def test_cash_is_what_a_venue_would_hold_once_all_is_closed(history: list[AnyRecord]) -> None:
    """Worked out from the records alone, with no lots: what flowed in and out."""
    ledger = told(*history)
    expected: dict[str, int] = {}

    def move(asset: str, amount: int) -> None:
        expected[asset] = expected.get(asset, 0) + amount

    closing = [
        fill(
            1000 + n,
            NAMED[name],
            Side.SELL if lots > 0 else Side.BUY,
            abs(lots),
            7_000,
        )
        for n, (name, lots) in enumerate(ledger.positions.items())
    ]
    for record in (*history, *closing):
        if isinstance(record, Deposited):
            move(record.asset, record.amount)
        elif isinstance(record, FillBooked):
            one, instrument = record.fill, NAMED[record.fill.instrument]
            paid = one.side.sign * instrument.value(one.price, one.size)
            move(instrument.settle_asset, paid if instrument.kind is Kind.INVERSE else -paid)
            if instrument.kind is Kind.SPOT:
                move("BTC", one.side.sign * one.size * 100_000)
            move(one.fee_asset, -one.fee)
    for record in closing:
        ledger.apply(record)
    assert ledger.positions == {}
    assert dict(ledger.cash) == expected


@given(history=histories(), data=st.data())
def test_a_restored_ledger_goes_on_in_the_same_way(
    history: list[AnyRecord], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(history)))
    ledger = told(*history[:cut])
    kept = msgspec.msgpack.encode(ledger.state())
    again = told(started(SPOT), Deposited(ts=0, asset="LEFT", amount=1))
    again.restore(msgspec.msgpack.decode(kept))
    assert msgspec.msgpack.encode(again.state()) == kept
    assert seen(again) == seen(ledger)
    for record in history[cut:]:
        ledger.apply(record)
        again.apply(record)
    assert msgspec.msgpack.encode(again.state()) == msgspec.msgpack.encode(ledger.state())
    again.conservation()
    assert seen(again) == seen(ledger)


def test_recovered_from_a_journal_it_is_the_same_ledger() -> None:
    journal, ledger = MemoryJournal(), Ledger()
    recorder = Recorder(journal, [ledger], every=4)
    recorder.record(started(), Deposited(ts=0, asset="USDT", amount=10_000 * USDT))
    for n in range(1, 12):
        side = Side.BUY if n % 3 else Side.SELL
        recorder.record(fill(n, LINEAR, side, n, 600_000 + n, fee=7))
    again = Ledger()
    assert recover(journal, [again]).replayed == 1
    assert again.state() == ledger.state()


# --- by hand ---


def test_spot_moves_both_assets() -> None:
    ledger = told(
        started(),
        Deposited(ts=0, asset="USD", amount=1_000 * USD),
        fill(1, SPOT, Side.BUY, 10, 50_000_00, fee=BTC // 1000, fee_asset="BTC"),
        fill(2, SPOT, Side.SELL, 4, 60_000_00, fee=USD),
    )
    assert ledger.cash == {"USD": (1_000 - 500 + 240 - 1) * USD, "BTC": 500_000}
    assert ledger.realised == {"USD": 40 * USD}
    assert ledger.fees == {"BTC": 100_000, "USD": USD}
    assert ledger.position(SPOT.name) == 5  # one of ten went into the fee, four were sold
    portfolio = ledger.portfolio({SPOT.name: 70_000.0}, {"BTC": 70_000.0})
    assert portfolio.cash == portfolio.equity == pytest.approx(739 + 0.005 * 70_000)
    assert portfolio.unrealised == pytest.approx(0.005 * 20_000)
    assert portfolio.realised == pytest.approx(40)
    assert portfolio.fees == pytest.approx(0.001 * 70_000 + 1)
    assert portfolio.gross == portfolio.net == pytest.approx(350)
    assert portfolio.known


def test_linear_cash_moves_by_profit_and_fee_alone() -> None:
    ledger = told(
        started(),
        Deposited(ts=0, asset="USDT", amount=1_000 * USDT),
        fill(1, LINEAR, Side.SELL, 20, 500_000, fee=400_000),
    )
    assert ledger.cash == {"USDT": 1_000 * USDT - 400_000}
    ledger.apply(fill(2, LINEAR, Side.BUY, 5, 480_000, fee=-100_000))
    assert ledger.cash == {"USDT": 1_010 * USDT - 300_000}
    assert ledger.realised == {"USDT": 10 * USDT}
    portfolio = ledger.portfolio({LINEAR.name: 47_000.0}, {"USDT": 0.98})
    (holding,) = portfolio.holdings
    assert holding.average_price == pytest.approx(50_000)
    assert holding.unrealised == portfolio.unrealised == pytest.approx(45 * 0.98)
    assert holding.notional == portfolio.net == pytest.approx(-0.015 * 47_000 * 0.98)
    assert portfolio.gross == -portfolio.net
    assert portfolio.equity == pytest.approx((1_010 - 0.3 + 45) * 0.98)
    assert portfolio.leverage == pytest.approx(portfolio.gross / portfolio.equity)


def test_inverse_pays_in_coin_and_is_worth_its_contracts() -> None:
    # 10 contracts of 100 USD, bought at 50,000 for 0.02 BTC and sold at 55,000 for 0.0181818 BTC.
    ledger = told(
        started(),
        Deposited(ts=0, asset="BTC", amount=BTC),
        fill(1, INVERSE, Side.BUY, 10, 500_000, fee=1_000),
    )
    portfolio = ledger.portfolio({INVERSE.name: 55_000.0}, {"BTC": 55_000.0, "USD": 1.0})
    assert portfolio.net == pytest.approx(1_000)
    assert portfolio.unrealised == pytest.approx(100)
    assert portfolio.equity == pytest.approx((1 - 0.00001) * 55_000 + 100)
    ledger.apply(fill(2, INVERSE, Side.SELL, 10, 550_000))
    assert ledger.cash == {"BTC": BTC - 1_000 + 2_000_000 - 1_818_182}
    assert ledger.realised == {"BTC": 181_818}


def test_two_strategies_against_each_other_are_flat_at_the_venue() -> None:
    ledger = told(
        started(),
        fill(1, LINEAR, Side.BUY, 5, 500_000, strategy="trend"),
        fill(2, LINEAR, Side.SELL, 5, 510_000, strategy="flow"),
    )
    assert ledger.positions == {}
    assert (ledger.position(LINEAR.name, "trend"), ledger.position(LINEAR.name, "flow")) == (5, -5)
    assert ledger.cash == {"USDT": 5 * USDT}
    assert ledger.books("trend")[LINEAR.name].realised == 0
    ledger.conservation()


# --- what it refuses ---


@pytest.mark.parametrize("sequence", [1, 7])
def test_a_fill_that_comes_again_is_refused_and_changes_nothing(sequence: int) -> None:
    ledger = told(started(), fill(1, LINEAR, Side.BUY, 5, 100), fill(7, SPOT, Side.BUY, 5, 100))
    before = ledger.state()
    with pytest.raises(InvariantError, match=f"report {sequence} comes again"):
        ledger.apply(fill(sequence, LINEAR, Side.BUY, 5, 100))
    assert ledger.state() == before
    ledger.apply(fill(sequence, INVERSE, Side.BUY, 5, 100))  # another venue counts for itself


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (fill(1, msgspec.structs.replace(SPOT, symbol="ETHUSD"), Side.BUY, 1, 1), "not among"),
        (fill(1, SPOT, Side.BUY, 0, 1), "no trade"),
        (fill(1, SPOT, Side.BUY, -5, 1), "no trade"),
        (fill(1, SPOT, Side.BUY, 1, 0), "no trade"),
        (fill(1, SPOT, Side.UNKNOWN, 1, 1), "no trade"),
        (fill(1, SPOT, Side.BUY, 1 << 31, 1 << 31), "no trade"),
    ],
)
def test_an_impossible_fill_is_refused_and_changes_nothing(bad: FillBooked, message: str) -> None:
    ledger = told(started())
    before = ledger.state()
    with pytest.raises(InvariantError, match=message):
        ledger.apply(bad)
    assert ledger.state() == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (msgspec.structs.replace(SPOT, tick="0.1"), "increments or assets have changed"),
        (msgspec.structs.replace(SPOT, quote="EUR"), "increments or assets have changed"),
        (
            msgspec.structs.replace(SPOT, symbol="ETHUSD", base="ETH", settle_decimals=2),
            "USD has 2 decimals here and 8 elsewhere",
        ),
    ],
)
def test_instruments_that_contradict_the_journal_are_refused(
    changed: Instrument, message: str
) -> None:
    ledger = told(started(), fill(1, SPOT, Side.BUY, 1, 1))
    with pytest.raises(InvariantError, match=message):
        ledger.apply(started(changed))
    ledger.apply(started(msgspec.structs.replace(SPOT, valid_to=99, group="coins")))
    ledger.apply(started(msgspec.structs.replace(SPOT, tick="0.1", version=2)))
    ledger.conservation()


def test_a_unit_that_is_made_or_lost_is_found_out() -> None:
    def fresh() -> Ledger:
        return told(
            started(),
            Deposited(ts=0, asset="USDT", amount=1_000),
            fill(1, LINEAR, Side.BUY, 3, 100, fee=1),
            fill(2, LINEAR, Side.SELL, 1, 90, strategy="flow"),
        )

    fresh().conservation()
    broken: list[tuple[Any, str]] = []
    ledger = fresh()
    ledger._cash["USDT"] += 1
    broken.append((ledger, "USDT: the books explain"))
    ledger = fresh()
    ledger._strategies["trend"][LINEAR.name] = ledger._strategies["flow"][LINEAR.name]
    broken.append((ledger, "do not add up"))
    ledger = fresh()
    ledger._strategies["flow"][LINEAR.name].realised += 1
    broken.append((ledger, "do not explain"))
    ledger = fresh()
    ledger._account[LINEAR.name].fees["USDT"] += 1
    ledger._strategies["trend"][LINEAR.name].fees["USDT"] += 1
    broken.append((ledger, "not those of the fills"))
    for ledger, message in broken:
        with pytest.raises(InvariantError, match=message):
            ledger.conservation()


def test_other_records_are_ignored() -> None:
    ledger = told(started())
    before = ledger.state()
    ledger.apply(Halted(ts=1, reason="tired"))
    ledger.apply(records.Digest(ts=1, tape=1, frames="", marks={}, equity=1.0, peak=1.0))
    assert ledger.state() == before


# --- what it does not know ---


def test_a_missing_mark_is_named_and_never_zero() -> None:
    ledger = told(
        started(),
        Deposited(ts=0, asset="USDT", amount=1_000 * USDT),
        fill(1, LINEAR, Side.BUY, 20, 500_000),
    )
    unmarked = ledger.portfolio({}, {"USDT": 1.0})
    assert unmarked.unknown == (LINEAR.name,)
    assert not unmarked.known
    assert unmarked.cash == pytest.approx(1_000)
    assert all(
        math.isnan(value)
        for value in (unmarked.equity, unmarked.gross, unmarked.net, unmarked.leverage)
    )
    assert math.isnan(unmarked.holdings[0].notional)
    for bad in ({}, {"USDT": math.nan}, {"USDT": 0.0}, {"USDT": -1.0}):
        unpriced = ledger.portfolio({LINEAR.name: 50_000.0}, bad)
        assert unpriced.unknown == ("USDT",)
        assert math.isnan(unpriced.cash)
        assert math.isnan(unpriced.equity)


def test_an_asset_of_unknown_decimals_is_named() -> None:
    ledger = told(started(), Deposited(ts=0, asset="BNB", amount=5))
    portfolio = ledger.portfolio({}, {"BNB": 300.0})
    assert portfolio.unknown == ("BNB",)
    assert math.isnan(portfolio.equity)


def test_fees_in_a_coin_that_nothing_prices_are_booked_in_it_and_count_in_no_sum() -> None:
    money = [Deposited(ts=0, asset=a, amount=n) for a, n in (("USD", 5 * USD), ("BNB", 50))]
    bought = fill(1, SPOT, Side.BUY, 1, 100, fee=7, fee_asset="BNB")
    ledger = told(started(), *money, bought)
    ledger.conservation()
    assert (ledger.cash["BNB"], ledger.fees["BNB"]) == (43, 7)
    marks, assets = {SPOT.name: 5_000.0}, {"BTC": 5_000.0, SPOT.quote: 1.0}
    portfolio = ledger.portfolio(marks, assets)
    without = told(started(), *money, fill(1, SPOT, Side.BUY, 1, 100)).portfolio(marks, assets)
    assert portfolio.foreign == ("BNB",)
    assert portfolio.known
    assert (portfolio.equity, portfolio.fees) == (without.equity, 0.0)


def test_marks_of_what_is_not_held_are_not_needed() -> None:
    ledger = told(
        started(),
        Deposited(ts=0, asset="USD", amount=5 * USD),
        Deposited(ts=0, asset="BTC", amount=5),
        Deposited(ts=0, asset="BTC", amount=-5),
    )
    portfolio = ledger.portfolio({}, {})
    assert (portfolio.equity, portfolio.leverage, portfolio.unknown) == (5.0, 0.0, ())
    assert Ledger().portfolio({}, {}).equity == 0.0


def test_exposure_without_equity_is_infinite_leverage() -> None:
    ledger = told(started(), fill(1, LINEAR, Side.BUY, 20, 500_000))
    assert ledger.portfolio({LINEAR.name: 49_000.0}, {"USDT": 1.0}).leverage == math.inf


def test_a_fee_in_the_coin_bought_leaves_what_can_be_sold() -> None:
    unit = SPOT.base_unit
    ledger = told(started(), Deposited(ts=0, asset="USD", amount=10**12))
    for number in range(1, 8):
        bought = fill(number, SPOT, Side.BUY, 10, 100, fee=unit // 3, fee_asset="BTC")
        ledger.apply(bought)
        ledger.conservation()
        assert ledger.position(SPOT.name) * unit <= ledger.cash["BTC"]
        assert (ledger.position(SPOT.name) + 1) * unit > ledger.cash["BTC"]
    assert ledger.position(SPOT.name) == 70 - 3  # 7/3 of a lot, rounded up


def test_cash_follows_a_venue_that_reckons_by_average_cost() -> None:
    """Lots at 100 and 200, one sold at 300: first in, first out makes 200, the average 150."""
    ledger = told(started(), Deposited(ts=0, asset="USDT", amount=10**9))
    value = LINEAR.value(1, 1)
    marks, assets = {LINEAR.name: 300 * LINEAR.tick_float}, {"USDT": 1.0, "BTC": 1.0}
    steps = [(Side.BUY, 100, 0), (Side.BUY, 200, 0), (Side.SELL, 300, 150), (Side.SELL, 300, 150)]
    equities = []
    for number, (side, price, told_ticks) in enumerate(steps, 1):
        traded = fill(number, LINEAR, side, 1, price).fill
        traded = msgspec.structs.replace(traded, realised=told_ticks * value)
        ledger.apply(FillBooked(ts=1, fill=traded, strategy="trend"))
        ledger.conservation()
        equities.append(ledger.portfolio(marks, assets).equity)
    assert ledger.cash["USDT"] == 10**9 + 300 * value
    again = Ledger()
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.state())))
    assert again.cash == ledger.cash
    again.conservation()
    # Once both lots are bought, selling at the mark changes no equity, whoever reckons.
    assert equities[1] == pytest.approx(equities[2]) == pytest.approx(equities[3])


def test_what_an_operator_adopts_is_booked() -> None:
    ledger = told(started(), Deposited(ts=0, asset="USDT", amount=1_000))
    cash = LedgerAdjusted(
        ts=1, kind="deposit", reason="found", who="operator", asset="USDT", amount=500
    )
    held = LedgerAdjusted(
        ts=1,
        kind="position",
        reason="found",
        who="operator",
        instrument=LINEAR.name,
        lots=-3,
        price=100,
    )
    for record in (cash, held):
        ledger.apply(record)
        ledger.conservation()
    assert ledger.cash["USDT"] == ledger.deposits["USDT"] == 1_500
    assert ledger.position(LINEAR.name) == ledger.position(LINEAR.name, "external") == -3
    with pytest.raises(InvariantError, match="cannot be adopted"):
        ledger.apply(msgspec.structs.replace(held, instrument=SPOT.name))
