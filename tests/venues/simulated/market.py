"""A small market for the exchange's tests: rows written by hand, and three instruments."""

from typing import Any

import numpy as np

from seawall.core.events import EVENT, EventFlag, EventKind, Raw, Side
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.orders import Fill, Order, OrderReport, OrderState, OrderType, Report
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.shape import VenueShape

SPOT, LINEAR, INVERSE = range(3)
BOTH = EventFlag.BEGIN | EventFlag.END
MS = 1_000_000

CATALOG = Catalog(
    instruments=(
        Instrument(
            venue="x",
            symbol="BTC/USD",
            kind=Kind.SPOT,
            base="BTC",
            quote="USD",
            tick="1",
            lot="0.01",
            settle_decimals=2,
            base_decimals=2,
        ),
        Instrument(
            venue="x",
            symbol="BTC-PERP",
            kind=Kind.LINEAR,
            base="BTC",
            quote="USD",
            tick="1",
            lot="0.01",
            settle_decimals=2,
        ),
        Instrument(
            venue="x",
            symbol="BTC-INV",
            kind=Kind.INVERSE,
            base="BTC",
            quote="USD",
            tick="1",
            lot="1",
            multiplier="100",
            settle="XBT",
            settle_decimals=8,
        ),
    ),
    sources=(Source(name="x", venue="x"), Source(name="other", venue="y")),
    books=((0, 0), (1, 0), (2, 0), (0, 1)),
).check()
NAMES = tuple(i.name for i in CATALOG.instruments)

SHAPE = VenueShape(
    balances={"USD": 1_000_000_00, "BTC": 1_000, "XBT": 10_00000000},
    maker_fee_ppm=200,
    taker_fee_ppm=500,
    entry_latency_ns=0,
    response_latency_ns=0,
)

Row = tuple[int, int, int, int, int, int, int, int, int, int, int]


def row(
    ts: int,
    kind: EventKind,
    side: int = 0,
    price: int = 0,
    size: int = 0,
    *,
    of: int = LINEAR,
    flags: int = BOTH,
    source: int = 0,
    opened: int = 0,
) -> Row:
    return ts, opened or ts, 0, -1, price, size, of, source, kind, side, flags


def tape(*rows: Row) -> Raw:
    return Raw(np.array(list(rows), dtype=EVENT))


def depth(ts: int, side: Side, price: int, size: int, of: int = LINEAR) -> Row:
    return row(ts, EventKind.DEPTH, side, price, size, of=of)


def trade(ts: int, aggressor: Side, price: int, size: int, of: int = LINEAR) -> Row:
    return row(ts, EventKind.TRADE, aggressor, price, size, of=of)


def snapshot(ts: int, bids: dict[int, int], asks: dict[int, int], of: int = LINEAR) -> list[Row]:
    """A whole book as one message."""
    levels = [(Side.BUY, *level) for level in bids.items()]
    levels += [(Side.SELL, *level) for level in asks.items()]
    rows = [row(ts, EventKind.SNAPSHOT, of=of, flags=EventFlag.BEGIN)]
    rows += [row(ts, EventKind.DEPTH, *level, of=of, flags=0) for level in levels]
    rows[-1] = (*rows[-1][:-1], rows[-1][-1] | EventFlag.END)
    return rows


def bar(
    open_ts: int, close_ts: int, prices: tuple[int, int, int, int], volume: int, of: int = LINEAR
) -> list[Row]:
    kinds = (EventKind.BAR_OPEN, EventKind.BAR_HIGH, EventKind.BAR_LOW, EventKind.BAR_CLOSE)
    return [
        row(close_ts, kind, 2, price, volume, of=of, opened=open_ts)
        for kind, price in zip(kinds, prices, strict=True)
    ]


BOOK = snapshot(1, {100: 5, 99: 7, 98: 9}, {101: 4, 102: 6, 103: 8})


def order(name: str, side: Side, size: int, price: int | None = None, **more: Any) -> Order:
    """A limit order, or a market order without a price, on the linear contract."""
    return Order(
        client_id=name,
        instrument=more.pop("instrument", NAMES[LINEAR]),
        side=side,
        type=OrderType.MARKET if price is None else OrderType.LIMIT,
        size=size,
        price=price,
        **more,
    )


class Story:
    """An exchange without latency, told one step after the other."""

    def __init__(self, shape: VenueShape = SHAPE, rows: list[Row] | None = None) -> None:
        self.engine = Engine(CATALOG, shape)
        self.now = 0
        self.seen = 0
        self.see(*(BOOK if rows is None else rows))

    def see(self, *rows: Row) -> "Story":
        """The market moves; the time is just past the last row."""
        self.now = max(self.now, rows[-1][0]) + 1
        self.engine.observe(tape(*rows), self.now)
        return self

    def ask(self, *orders: Order) -> "Story":
        """Orders are sent one after the other and reach the book."""
        for each in orders:
            self.engine.place(each, self.now)
            self.pass_time()
        return self

    def pass_time(self, ns: int = 1) -> "Story":
        self.now += ns
        self.engine.observe(tape(), self.now)
        return self

    def news(self) -> list[Report]:
        """Reports since the last time."""
        fresh = self.engine.reports(self.seen, self.now)
        self.seen += len(fresh)
        return fresh

    def states(self) -> list[tuple[str, OrderState, int]]:
        return [(r.client_id, r.state, r.filled) for r in self.news() if isinstance(r, OrderReport)]

    def fills(self) -> list[tuple[str, int, int, bool]]:
        """(client id, price, lots, maker) of all fills so far."""
        return [(f.client_id, f.price, f.size, f.maker) for f in self.engine.fills(0)]

    def state(self, name: str) -> tuple[OrderState, int, str]:
        (report,) = self.engine.orders([name])
        return report.state, report.filled, report.reason


def fold(deposits: dict[str, int], fills: list[Fill]) -> tuple[dict[str, int], dict[str, int]]:
    """Balances and positions from fills, told in the plainest way: lot by lot."""
    balances = dict(deposits)
    lots: dict[str, list[tuple[int, int, int]]] = {}  # sign, lots, cost
    for fill in fills:
        instrument = CATALOG.by_name[fill.instrument]
        value = instrument.value(fill.price, fill.size)
        balances[fill.fee_asset] = balances.get(fill.fee_asset, 0) - fill.fee
        sign = fill.side.sign
        if instrument.kind is Kind.SPOT:
            balances["BTC"] = balances.get("BTC", 0) + sign * fill.size * instrument.base_unit
            balances["USD"] = balances.get("USD", 0) - sign * value
            continue
        queue = lots.setdefault(fill.instrument, [])
        left = fill.size
        while left and queue and queue[0][0] == -sign:
            _, size, cost = queue.pop(0)
            part = min(left, size)
            out = value * part // left
            entry = cost * part // size
            gain = (out - entry) * -sign
            balances[fill.fee_asset] += -gain if instrument.kind is Kind.INVERSE else gain
            left, value = left - part, value - out
            if size > part:
                queue.insert(0, (-sign, size - part, cost - entry))
        if left:
            queue.append((sign, left, value))
    positions = {name: sum(s * n for s, n, _ in queue) for name, queue in lots.items()}
    return balances, {name: held for name, held in positions.items() if held}
