"""First in, first out, held against examples worked by hand and against a slow naive model."""

from collections import deque
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import InvariantError
from seawall.core.instruments import Instrument, Kind
from seawall.ledger import Book

SPOT = Instrument(
    venue="x", symbol="BTCUSD", kind=Kind.SPOT, base="BTC", quote="USD", tick="0.01", lot="0.0001"
)
LINEAR = Instrument(
    venue="x",
    symbol="BTCUSDT-PERP",
    kind=Kind.LINEAR,
    base="BTC",
    quote="USDT",
    tick="0.1",
    lot="0.001",
)
INVERSE = Instrument(
    venue="x", symbol="XBTUSD", kind=Kind.INVERSE, base="BTC", quote="USD", tick="0.5", lot="1"
)
KINDS = [SPOT, LINEAR, INVERSE]

TRADES = st.lists(
    st.tuples(
        st.sampled_from([1, -1]),
        st.one_of(st.integers(1, 12), st.integers(1, 10**6)),
        st.integers(1, 10**7),
    ),
    max_size=25,
)


def booked(instrument: Instrument, trades: list[tuple[int, int, int]]) -> Book:
    """A book of trades: (sign, lots, ticks)."""
    book = Book()
    for sign, size, ticks in trades:
        book.trade(instrument, sign, size, instrument.value(ticks, size))
    return book


# --- by hand ---


def test_inverse_golden() -> None:
    # BitMEX, Inverse Futures Guide, "XBTUSD Futures Contract Example": 100,000 contracts of 1 USD
    # bought at 10,000 and sold at 10,500 earn 100,000 x (1/10,000 - 1/10,500) = 0.47619... XBT.
    # In satoshi: bought for 1,000,000,000, sold for 952,380,952.38, rounded once.
    book = booked(INVERSE, [(1, 100_000, 20_000)])
    assert (book.cost, book.average_price(INVERSE)) == (1_000_000_000, 10_000.0)
    assert book.unrealised(INVERSE, 10_500.0) == pytest.approx(47_619_047.619, abs=0.001)
    assert book.trade(INVERSE, -1, 100_000, INVERSE.value(21_000, 100_000)) == 47_619_048
    assert (book.position, book.cost, book.flow) == (0, 0, 47_619_048)
    short = booked(INVERSE, [(-1, 100_000, 20_000), (1, 100_000, 21_000)])
    assert short.realised == -47_619_048


def test_linear_golden() -> None:
    # OrangeX, "How to calculate Profit & Loss for USDT-margined perpetual contracts": 10,000 USDT
    # at 50,000 are 0.2 BTC; long to 55,000, or short to 45,000, earns 1,000 USDT.
    thousand = 1_000 * 10**8
    long = booked(LINEAR, [(1, 200, 500_000), (-1, 200, 550_000)])
    short = booked(LINEAR, [(-1, 200, 500_000), (1, 200, 450_000)])
    assert long.realised == short.realised == thousand
    held = booked(LINEAR, [(-1, 200, 500_000)])
    assert held.unrealised(LINEAR, 45_000.0) == pytest.approx(thousand)


def test_first_in_is_first_out_and_zero_can_be_crossed() -> None:
    unit = LINEAR.cash_unit.numerator
    book = booked(LINEAR, [(1, 3, 100), (1, 4, 110), (-1, 5, 130)])
    assert book.realised == ((130 - 100) * 3 + (130 - 110) * 2) * unit
    assert book.lots == [(2, 220 * unit)]
    book.trade(LINEAR, -1, 5, 5 * 90 * unit)
    assert book.realised == (90 + 40 - 40) * unit
    assert book.lots == [(-3, 270 * unit)]
    assert book.position == -3
    book.check(LINEAR)


def test_part_of_a_lot_takes_its_share_rounded_down_and_the_rest_stays() -> None:
    book = Book()
    book.trade(INVERSE, 1, 3, 100)
    assert book.trade(INVERSE, -1, 1, 30) == 33 - 30
    assert book.lots == [(2, 67)]
    assert book.trade(INVERSE, -1, 1, 30) == 33 - 30
    assert book.trade(INVERSE, -1, 1, 30) == 34 - 30
    assert (book.position, book.cost, book.realised) == (0, 0, 10)
    # A trade that closes one lot and opens another shares its value in the same way.
    book.trade(INVERSE, 1, 1, 33)
    assert book.trade(INVERSE, -1, 3, 100) == 33 - 33
    assert book.lots == [(-2, 67)]


@pytest.mark.parametrize(
    ("instrument", "expected"),
    [(LINEAR, (3 * 100 + 4 * 110) / 7 * 0.1), (INVERSE, 7 / (3 / 100 + 4 / 110) * 0.5)],
)
def test_average_price_is_the_mean_and_for_inverse_the_harmonic_one(
    instrument: Instrument, expected: float
) -> None:
    book = booked(instrument, [(1, 3, 100), (1, 4, 110)])
    assert book.average_price(instrument) == pytest.approx(expected, rel=1e-6)
    assert booked(instrument, []).average_price(instrument) != expected


# --- against a naive model ---


class Naive:
    """Each single lot by itself, in exact fractions, never rounded."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.open: deque[tuple[int, Fraction]] = deque()
        self.realised = Fraction(0)

    def price(self, ticks: int) -> Fraction:
        unit = self.instrument.cash_unit
        return unit / ticks if self.instrument.kind is Kind.INVERSE else unit * ticks

    def trade(self, sign: int, size: int, ticks: int) -> None:
        worth = self.price(ticks)
        for _ in range(size):
            if self.open and self.open[0][0] != sign:
                entry_sign, entry = self.open.popleft()
                gain = entry_sign * (worth - entry)
                self.realised += -gain if self.instrument.kind is Kind.INVERSE else gain
            else:
                self.open.append((sign, worth))


SMALL = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 9), st.integers(1, 1000)), max_size=25
)


@given(trades=SMALL)
@pytest.mark.parametrize("instrument", [SPOT, LINEAR], ids=lambda i: i.kind)
def test_equal_to_single_lots_in_fractions(
    instrument: Instrument, trades: list[tuple[int, int, int]]
) -> None:
    book, naive = booked(instrument, trades), Naive(instrument)
    for trade in trades:
        naive.trade(*trade)
    assert book.realised == naive.realised
    assert book.position == sum(sign for sign, _ in naive.open)
    assert book.cost == sum(cost for _, cost in naive.open)
    singles = [cost / abs(size) for size, cost in book.lots for _ in range(abs(size))]
    assert singles == [float(cost) for _, cost in naive.open]


@given(trades=SMALL)
def test_inverse_is_within_its_roundings_of_single_lots_in_fractions(
    trades: list[tuple[int, int, int]],
) -> None:
    book, naive = Book(), Naive(INVERSE)
    roundings = Fraction(0)
    for sign, size, ticks in trades:
        before = len(book.lots)
        book.trade(INVERSE, sign, size, INVERSE.value(ticks, size))
        naive.trade(sign, size, ticks)
        # Half a unit for the trade; one for its share, and one for a lot's, per lot that it met.
        roundings += Fraction(1, 2) + 2 * (before + 1 - len(book.lots) + 1)
        assert abs(book.realised - naive.realised) <= roundings
        assert book.position == sum(s for s, _ in naive.open)
    assert abs(book.cost - sum(cost for _, cost in naive.open)) <= roundings


@given(trades=TRADES)
@pytest.mark.parametrize("instrument", KINDS, ids=lambda i: i.kind)
def test_nothing_is_made_or_lost(
    instrument: Instrument, trades: list[tuple[int, int, int]]
) -> None:
    book = booked(instrument, trades)
    book.check(instrument)
    direction = -1 if instrument.kind is Kind.INVERSE else 1
    values = [(sign, instrument.value(ticks, size)) for sign, size, ticks in trades]
    assert book.position == sum(sign * size for sign, size, _ in trades)
    assert book.flow == -direction * sum(sign * value for sign, value in values)
    assert book.volume == sum(value for _, value in values)
    assert book.trades == len(trades)
    if book.position:  # close it all: what was realised is then exactly what flowed
        sign = 1 if book.position > 0 else -1
        size = abs(book.position)
        book.trade(instrument, -sign, size, instrument.value(5_000, size))
    assert (book.position, book.cost, book.lots) == (0, 0, [])
    assert book.realised == book.flow


@given(trades=TRADES, more=TRADES)
@pytest.mark.parametrize("instrument", KINDS, ids=lambda i: i.kind)
def test_a_restored_book_goes_on_in_the_same_way(
    instrument: Instrument, trades: list[tuple[int, int, int]], more: list[tuple[int, int, int]]
) -> None:
    book = booked(instrument, trades)
    book.pay("BNB", -3)
    kept = msgspec.msgpack.encode(book.state())
    again = Book.restored(msgspec.msgpack.decode(kept))
    assert all(getattr(again, slot) == getattr(book, slot) for slot in Book.__slots__)
    for one in (book, again):
        for sign, size, ticks in more:
            one.trade(instrument, sign, size, instrument.value(ticks, size))
    assert again.state() == book.state()
    assert again.lots == book.lots


def test_amounts_past_64_bits_are_kept() -> None:
    wei = msgspec.structs.replace(SPOT, settle_decimals=18)
    book = booked(wei, [(1, 10**6, 6 * 10**6), (-1, 10**5, 6 * 10**6)])
    assert book.cost > 2**64
    again = Book.restored(msgspec.msgpack.decode(msgspec.msgpack.encode(book.state())))
    assert again.state() == book.state()


def test_a_book_that_lost_a_unit_is_found_out() -> None:
    book = booked(LINEAR, [(1, 3, 100)])
    book.cost -= 1
    with pytest.raises(InvariantError, match="do not explain"):
        book.check(LINEAR)
    book = booked(LINEAR, [(1, 3, 100), (-1, 1, 120)])
    book.realised += 1
    with pytest.raises(InvariantError, match="do not explain"):
        book.check(LINEAR)
