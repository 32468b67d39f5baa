"""First in, first out: the open lots of one position and what closing them has realised.

All amounts are integers; a division rounds down and its remainder stays with what is left, so that
nothing is ever lost.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from seawall.core.errors import InvariantError
from seawall.core.instruments import Instrument, Kind


class Traded(NamedTuple):
    """What a run of trades left of a position.

    Attributes:
        lots: open, oldest first: signed, with their cost.
        realised, flow, volume, trades, fees: what the trades added to a Book's figures.
    """

    lots: Sequence[tuple[int, int]]
    realised: int
    flow: int
    volume: int
    trades: int
    fees: int


class Book:
    """One position and its history, in lots and in smallest units of the settle asset.

    Attributes:
        position: signed lots; positive is long.
        cost: what the open lots were worth when they were opened, >= 0.
        realised: profit of all closed lots, before fees.
        flow: sum over all trades of what a sale brings less what a purchase costs (for INVERSE the
            other way round, since its value falls as the price rises). Kept apart from FIFO, so
            that the two can be held against each other: see `check`.
        volume: value of all trades.
        trades: their number.
        fees: asset → smallest units paid (negative: received).
        funding: smallest units of the settle asset paid (negative: received).
    """

    __slots__ = (
        "_lots",
        "cost",
        "fees",
        "flow",
        "funding",
        "position",
        "realised",
        "trades",
        "volume",
    )

    def __init__(self) -> None:
        self._lots: deque[tuple[int, int]] = (
            deque()
        )  # (lots > 0, their remaining cost), oldest first
        self.position = 0
        self.cost = 0
        self.realised = 0
        self.flow = 0
        self.volume = 0
        self.trades = 0
        self.fees: dict[str, int] = {}
        self.funding = 0

    @property
    def lots(self) -> list[tuple[int, int]]:
        """Open lots, oldest first: (signed lots, remaining cost)."""
        sign = 1 if self.position > 0 else -1
        return [(sign * size, cost) for size, cost in self._lots]

    def trade(self, instrument: Instrument, sign: int, size: int, value: int) -> int:
        """Book a trade: close the oldest lots of the other side, then open with the rest.

        Args:
            sign: +1 for a purchase, -1 for a sale.
            size: lots, > 0.
            value: of the whole trade, >= 0; each lot closed takes its share, rounded down.

        Returns:
            What the trade realised.
        """
        self.volume += value
        self.trades += 1
        return self.move(instrument, sign, size, value)

    def move(self, instrument: Instrument, sign: int, size: int, value: int) -> int:
        """Lots come in or go out as in `trade`, without being one: between two strategies."""
        direction = _direction(instrument)
        self.flow -= direction * sign * value
        realised = 0
        if self.position * sign < 0:
            realised, size, value = self._close(direction * -sign, size, value)
            self.realised += realised
        if size:
            self._lots.append((size, value))
            self.cost += value
            self.position += sign * size
        return realised

    def _close(self, gain: int, size: int, value: int) -> tuple[int, int, int]:
        """Close up to `size` lots; what they realised, and the size and value left to open with.

        Args:
            gain: +1 where the position gains from a higher value at its exit, else -1.
        """
        lots = self._lots
        sign = 1 if self.position > 0 else -1
        realised = 0
        while size and lots:
            open_size, open_cost = lots[0]
            closed = min(open_size, size)
            cost = open_cost * closed // open_size
            proceeds = value * closed // size
            realised += gain * (proceeds - cost)
            if closed == open_size:
                lots.popleft()
            else:
                lots[0] = (open_size - closed, open_cost - cost)
            self.position -= sign * closed
            self.cost -= cost
            size -= closed
            value -= proceeds
        return realised, size, value

    def carry(self, traded: Traded, asset: str) -> None:
        """Take over a run of trades that was booked elsewhere; their fees were in `asset`."""
        self._lots = deque((abs(size), cost) for size, cost in traded.lots)
        self.position = sum(size for size, _ in traded.lots)
        self.cost = sum(cost for _, cost in traded.lots)
        self.realised += traded.realised
        self.flow += traded.flow
        self.volume += traded.volume
        self.trades += traded.trades
        self.pay(asset, traded.fees)

    def pay(self, asset: str, fee: int) -> None:
        """Book a fee in smallest units of its asset."""
        self.fees[asset] = self.fees.get(asset, 0) + fee

    def average_price(self, instrument: Instrument) -> float:
        """Average price of the open lots in quote units (INVERSE: harmonic); NaN where flat."""
        if not self.position or not self.cost:
            return float("nan")
        unit = _units(instrument, self.position)
        ticks = unit / self.cost if instrument.kind is Kind.INVERSE else self.cost / unit
        return ticks * instrument.tick_float

    def unrealised(self, instrument: Instrument, price: float) -> float:
        """Profit of closing all open lots at a price in quote units, in smallest settle units."""
        if not self.position:
            return 0.0
        ticks = price / instrument.tick_float
        unit = _units(instrument, self.position)
        worth = unit / ticks if instrument.kind is Kind.INVERSE else unit * ticks
        gain = _direction(instrument) * (1 if self.position > 0 else -1)
        return gain * (worth - float(self.cost))

    def check(self, instrument: Instrument) -> None:
        """Raise InvariantError unless lots and cash flows agree to the last unit.

        What has flowed is what was realised less what still lies in the open lots.
        """
        sign = 1 if self.position > 0 else -1
        held = sum(size for size, _ in self._lots)
        cost = sum(cost for _, cost in self._lots)
        in_lots = _direction(instrument) * sign * cost
        if held != abs(self.position) or cost != self.cost or self.flow != self.realised - in_lots:
            raise InvariantError(
                f"{instrument.name}: lots {held} at cost {cost} with {self.realised} realised do "
                f"not explain position {self.position} and flow {self.flow}; stop and replay the "
                "journal"
            )

    def state(self) -> Any:
        """The book as MessagePack values; amounts are texts, since they may outgrow 64 bits."""
        amounts = [self.position, self.cost, self.realised, self.flow, self.volume, self.trades]
        amounts.append(self.funding)
        return {
            "amounts": [str(amount) for amount in amounts],
            "lots": [[size, str(cost)] for size, cost in self._lots],
            "fees": {asset: str(fee) for asset, fee in self.fees.items()},
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "Book":
        """The book of a state that `state` gave."""
        book = cls()
        amounts = [int(amount) for amount in state["amounts"]]
        book.position, book.cost, book.realised, book.flow, *others = amounts
        book.volume, book.trades, book.funding = others
        book._lots.extend((size, int(cost)) for size, cost in state["lots"])
        book.fees = {asset: int(fee) for asset, fee in state["fees"].items()}
        return book


def _units(instrument: Instrument, position: int) -> float:
    """Value of a position at one tick, smallest settle units; for statistics."""
    unit = instrument.cash_unit
    return abs(position) * unit.numerator / unit.denominator


def _direction(instrument: Instrument) -> int:
    """+1 where value rises with the price, -1 where it falls."""
    return -1 if instrument.kind is Kind.INVERSE else 1


def sums_of(books: Sequence[Book]) -> tuple[object, ...]:
    """What must be the same for the account and for the sum of its strategies."""
    fees: dict[str, int] = {}
    for book in books:
        for asset, fee in book.fees.items():
            fees[asset] = fees.get(asset, 0) + fee
    figures = ((b.position, b.flow, b.volume, b.trades, b.funding) for b in books)
    return *(sum(part) for part in zip(*figures, strict=True)), fees
