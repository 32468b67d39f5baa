"""Small recorded markets for the exact venue, and a plain model of its exchange.

The model says the rule of shared liquidity once more, in dictionaries and without any of the
venue's code but the price of a row and the arithmetic of `core`.
"""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from seawall.core import money
from seawall.core.events import EventFlag, EventKind, Side, empty
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.venues.simulated.exact_state import FOK, GTC, IOC, MARKET, POST_ONLY

LAG = 7  # ns from the exchange to us
BUY, SELL = int(Side.BUY), int(Side.SELL)


def catalog(kind=Kind.LINEAR):
    instrument = Instrument(
        venue="x",
        symbol="BTCUSDT",
        kind=kind,
        base="BTC",
        quote="USDT",
        tick="0.1",
        lot="1" if kind is Kind.INVERSE else "0.001",
        multiplier="100" if kind is Kind.INVERSE else "1",
    )
    return Catalog((instrument,), (Source(name="x", venue="x"),), ((0, 0),)).check()


def tape(*told, lag=LAG):
    """Rows of (exchange time, what, price, lots); what is bid, ask, bought, sold."""
    rows = empty(len(told))
    for row, (ts, what, price, lots) in zip(rows, told, strict=True):
        row["exch_ts"], row["recv_ts"] = ts, ts + lag
        row["price"], row["size"] = price, lots
        row["kind"] = EventKind.DEPTH if what in ("bid", "ask") else EventKind.TRADE
        row["side"] = BUY if what in ("bid", "bought") else SELL
        row["flags"] = EventFlag.BEGIN | EventFlag.END
    return rows


@dataclass
class Own:
    """An order as the model has it."""

    name: int
    side: int
    kind: int
    price: int
    left: int
    ahead: int = 0


@dataclass
class Model:
    """The exchange, said plainly. fills: (ts, order, side, price, lots, maker)."""

    shown: tuple[dict, dict] = field(default_factory=lambda: ({}, {}))
    eaten: dict = field(default_factory=dict)
    best: list = field(default_factory=lambda: [None, None])
    own: list = field(default_factory=list)
    fills: list = field(default_factory=list)

    def queue(self, side):
        """Our orders of a side, best price first, then by arrival."""
        mine = [order for order in self.own if order.side == side]
        return sorted(mine, key=lambda order: -order.price if side == BUY else order.price)

    def free(self, side, price):
        return max(0, self.shown[side].get(price, 0) - self.eaten.get((side, price), 0))

    def levels(self, side):
        """Prices from the best one away from the touch."""
        if self.best[side] is None:
            return []
        behind = (
            (lambda p: p <= self.best[side]) if side == BUY else (lambda p: p >= self.best[side])
        )
        return sorted(filter(behind, self.shown[side]), reverse=side == BUY)

    def fill(self, ts, order, price, lots, maker):
        order.left -= lots
        self.fills.append((ts, order.name, order.side, price, lots, maker))
        self.own = [other for other in self.own if other.left]

    def level(self, ts, side, price, lots):
        if lots:
            self.shown[side][price] = lots
        else:
            self.shown[side].pop(price, None)
        best = self.best[side]
        if lots and (best is None or (price > best if side == BUY else price < best)):
            self.best[side] = price
        elif not lots and price == best:
            behind = [p for p in self.shown[side] if (p < price if side == BUY else p > price)]
            self.best[side] = (max if side == BUY else min)(behind, default=None)
        other = 1 - side
        if lots and self.best[other] is not None:
            past = [p for p in self.shown[other] if (p > price if side == BUY else p < price)]
            met = self.best[other] <= price if side == BUY else self.best[other] >= price
            if met:
                self.best[other] = (min if side == BUY else max)(past, default=None)
        for order in self.own:
            if order.side == side and order.price == price:
                order.ahead = min(order.ahead, lots)
        taken = min(self.eaten.get((side, price), 0), lots)
        self.eaten[side, price] = taken
        for order in self.queue(other):
            met = price >= order.price if side == BUY else price <= order.price
            give = min(order.left, self.free(side, price)) if met and lots else 0
            if give:
                self.eaten[side, price] += give
                self.fill(ts, order, order.price, give, 1)

    def trade(self, ts, side, price, lots):
        """Somebody took from book side `side`."""
        left = lots
        for order in self.queue(side):
            better = order.price > price if side == BUY else order.price < price
            if order.price == price:
                reached = max(0, left - order.ahead)
                order.ahead = max(0, order.ahead - left)
            else:
                reached = left if better else 0
            give = min(order.left, reached)
            if give:
                left -= give
                self.fill(ts, order, order.price, give, 1)
        self.eaten[side, price] = max(0, self.eaten.get((side, price), 0) - lots)

    def arrive(self, ts, order):
        other = 1 - order.side
        buys = order.side == BUY

        def within(price):
            return order.kind == MARKET or (price <= order.price if buys else price >= order.price)

        plan, wanted, own = [], order.left, None
        for mine in self.queue(other)[:1]:
            own = mine.price if within(mine.price) else None
        for price in self.levels(other):
            if not within(price) or (own is not None and (price >= own if buys else price <= own)):
                break
            lots = min(wanted, self.free(other, price))
            if lots:
                plan.append((price, lots))
                wanted -= lots
        if order.kind == POST_ONLY and (plan or own is not None):
            return
        if order.kind == FOK and wanted:
            return
        self.own.append(order)
        for price, lots in plan:
            self.eaten[other, price] = self.eaten.get((other, price), 0) + lots
            self.fill(ts, order, price, lots, 0)
        if order.left and (own is not None or order.kind in (IOC, FOK, MARKET)):
            self.own.remove(order)
        elif order.left:
            order.ahead = self.free(order.side, order.price)

    def cancel(self, name):
        self.own = [order for order in self.own if order.name != name]


def fee_of(instrument, price, lots, ppm):
    return money.fee(instrument.value(price, lots), ppm)


PRICES = st.integers(96, 104)
MARKET_ROWS = st.lists(
    st.tuples(
        st.integers(0, 8),  # ns since the row before
        st.sampled_from(["bid", "ask", "bid", "ask", "bought", "sold"]),
        PRICES,
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=60,
)


def rows_of(drawn):
    """Market rows of draws; a trade has at least one lot."""
    ts, told = 1000, [(1000, "bid", 98, 6), (1000, "ask", 102, 6)]
    for wait, what, price, lots in drawn:
        ts += wait
        told.append((ts, what, price, max(1, lots) if what in ("bought", "sold") else lots))
    return told


WISHES = st.lists(
    st.tuples(
        st.integers(1, 15),  # ns since the wish before
        st.sampled_from([BUY, SELL]),
        st.sampled_from([GTC, GTC, POST_ONLY, POST_ONLY, IOC, FOK, MARKET]),
        PRICES,
        st.integers(1, 9),
        st.booleans(),  # cancel the order before it, too
    ),
    max_size=25,
)

ROW_SIDES = {"bid": BUY, "ask": SELL, "sold": BUY, "bought": SELL}  # the book side it is about
