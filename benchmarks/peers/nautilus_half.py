"""NautilusTrader's half of the comparison. Runs in an environment of its own, knows no Seawall.

    python nautilus_half.py JOB.json

The job names the tape's rows, the instruments and the orders to send, with the moment at which
each reaches the venue. A line on stdin is a run: `shared` (two orders never take the same lot,
trades do not move the book), `default` (the engine's own defaults) or `replay` (no strategy).
Each is a new engine over the same data; what it took is printed as a line of JSON, its fills go
to the job's `out`.
"""

import os
import time
from decimal import Decimal

import numpy as np
from nautilus_trader.backtest import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common import LoggerConfig, LogLevel
from nautilus_trader.execution import MakerTakerFeeModel
from nautilus_trader.model import (
    AccountType,
    AggressorSide,
    BookAction,
    BookOrder,
    BookType,
    CryptoPerpetual,
    Currency,
    CurrencyPair,
    InstrumentId,
    Money,
    OmsType,
    OrderBookDelta,
    OrderBookDeltas,
    OrderSide,
    Price,
    Quantity,
    StrategyId,
    Symbol,
    TimeInForce,
    TradeId,
    TradeTick,
    Venue,
)
from nautilus_trader.risk import RiskEngineConfig
from nautilus_trader.trading import Strategy, StrategyConfig
from talking import answer, job

SNAPSHOT, TRADE = 2, 3  # kinds of rows
END, LAST = 2, 128  # the flag of a message's last row, here and there
LEVERAGE = Decimal(20)
MODES = {
    "shared": {"liquidity_consumption": True, "trade_execution": False},
    "default": {},
    "replay": {"liquidity_consumption": True, "trade_execution": False},
}


def decimals(text):
    """Digits behind the point of an increment."""
    return len(text.partition(".")[2])


class Market:
    """An instrument, and what makes its numbers of ticks and lots."""

    def __init__(self, given):
        self.id = InstrumentId.from_str(f"{given['symbol']}.{given['venue'].upper()}")
        self.venue = Venue(given["venue"].upper())
        self.tick, self.lot = float(given["tick"]), float(given["lot"])
        self.price_digits, self.size_digits = decimals(given["tick"]), decimals(given["lot"])
        base, quote = Currency.from_str(given["base"]), Currency.from_str(given["quote"])
        self.settle = base if given["kind"] == "inverse" else quote
        symbol = Symbol(given["symbol"])
        steps = (Price.from_str(given["tick"]), Quantity.from_str(given["lot"]), 0, 0)
        digits = (self.price_digits, self.size_digits)
        if given["kind"] == "spot":
            self.definition = CurrencyPair(self.id, symbol, base, quote, *digits, *steps)
        else:
            self.definition = CryptoPerpetual(
                self.id,
                symbol,
                base,
                quote,
                self.settle,
                given["kind"] == "inverse",
                *digits,
                *steps,
                multiplier=Quantity.from_str(given["multiplier"]),
            )

    def price(self, ticks):
        """As the engine wants it."""
        return Price(ticks * self.tick, self.price_digits)

    def size(self, lots):
        """As the engine wants it."""
        return Quantity(lots * self.lot, self.size_digits)


def data_of(rows, markets):
    """Trades, and depth with one object for each message: what the engine replays fastest."""
    made = []
    batches = [[] for _ in markets]
    names = ("kind", "side", "price", "size", "recv_ts", "exch_ts", "flags", "sequence")
    columns = [rows[name].tolist() for name in ("instrument", *names)]
    for number, kind, side, ticks, lots, received, told, flags, sequence in zip(
        *columns, strict=True
    ):
        market = markets[number]
        if kind == TRADE:
            aggressor = AggressorSide.BUY if side == 0 else AggressorSide.SELL
            name = TradeId(str(sequence))
            price, size = market.price(ticks), market.size(lots)
            made.append(TradeTick(market.id, price, size, aggressor, name, told, received))
            continue
        batch = batches[number]
        if kind == SNAPSHOT:
            batch.append(OrderBookDelta.clear(market.id, sequence, told, received))
        else:
            action = BookAction.UPDATE if lots else BookAction.DELETE
            owner = OrderSide.BUY if side == 0 else OrderSide.SELL
            level = BookOrder(owner, market.price(ticks), market.size(lots), 0)
            last = LAST if flags & END else 0
            batch.append(OrderBookDelta(market.id, action, level, last, sequence, told, received))
        if flags & END:
            made.append(OrderBookDeltas(market.id, batch))
            batches[number] = []
    return made


class Sender(Strategy):
    """Sends the given orders, each at its moment; it is told of every change of every book."""

    def set_up(self, markets, orders):
        """What it is to do; the constructor is the engine's."""
        self.markets, self.orders = markets, orders
        self.next, self.fills, self.numbers = 0, [], {}

    def on_start(self):
        for market in self.markets:
            self.subscribe_book_deltas(market.id, BookType.L2_MBP)
        self.wait()

    def wait(self):
        """For the next order's moment."""
        if self.next < len(self.orders):
            moment = self.orders[self.next][0]
            self.clock.set_time_alert_ns(f"order-{self.next}", moment, callback=self.send)

    def send(self, event):
        """All orders of this moment."""
        moment = self.orders[self.next][0]
        while self.next < len(self.orders) and self.orders[self.next][0] == moment:
            _, number, side, lots, ticks = self.orders[self.next]
            market = self.markets[number]
            order = self.order_factory.limit(
                market.id,
                OrderSide.BUY if side == 0 else OrderSide.SELL,
                market.size(lots),
                market.price(ticks),
                TimeInForce.IOC,
            )
            self.numbers[order.client_order_id] = self.next
            self.next += 1
            self.submit_order(order)
        self.wait()

    def on_order_filled(self, event):
        self.fills.append(event)


class Half:
    """The data, and the runs over it."""

    def __init__(self, given):
        self.job = given
        self.markets = [Market(given) for given in given["instruments"]]
        self.rows = np.load(given["rows"], mmap_mode="r")
        self.data = data_of(self.rows, self.markets)

    def engine(self, mode):
        """A new one with all its data."""
        made = BacktestEngine(
            BacktestEngineConfig(
                bypass_logging=True,
                run_analysis=False,
                logging=LoggerConfig(stdout_level=LogLevel.ERROR),
                risk_engine=RiskEngineConfig(max_order_submit_rate="1000000/00:00:01"),
            )
        )
        fees = MakerTakerFeeModel(*(Decimal(ppm) / 1_000_000 for ppm in self.job["fees_ppm"]))
        for venue in {market.venue for market in self.markets}:
            here = [market for market in self.markets if market.venue == venue]
            assets = {market.settle for market in here}
            made.add_venue(
                venue,
                OmsType.NETTING,
                AccountType.MARGIN,
                [Money(self.job["capital"], asset) for asset in assets],
                default_leverage=LEVERAGE,
                book_type=BookType.L2_MBP,
                fee_model=fees,
                **MODES[mode],
            )
        for market in self.markets:
            made.add_instrument(market.definition)
        made.add_data(self.data, validate=False, sort=True)
        return made

    def run(self, mode):
        """One run: what it took, and its fills on disk."""
        engine = self.engine(mode)
        sender = None
        orders = np.load(self.job["orders"]).tolist()
        if mode != "replay":
            sender = Sender(StrategyConfig(strategy_id=StrategyId("SENDER-1")))
            sender.set_up(self.markets, orders)
            engine.add_strategy(sender)
        cpu_began, began = time.process_time(), time.perf_counter()
        engine.run()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        told = {"rows": len(self.rows), "seconds": seconds, "cpu": cpu}
        if sender is not None:
            fills = self.fills(sender)
            np.save(os.path.join(self.job["out"], f"theirs-{mode}.npy"), fills)
            told |= {"fills": len(fills), "orders": sender.next}
            told["realised"] = [self.realised(engine, m) for m in self.markets]
        engine.dispose()
        return told

    def realised(self, engine, market):
        """By the engine's own account, after fees."""
        money = engine.portfolio.realized_pnl(market.id)
        return float(money.as_decimal()) if money is not None else 0.0

    def fills(self, sender):
        """(fills, 6): order, instrument, side, ticks, lots, fee in units of 1e-8."""
        places = {str(market.id): number for number, market in enumerate(self.markets)}
        kept = []
        for fill in sender.fills:
            number = places[str(fill.instrument_id)]
            market = self.markets[number]
            kept.append(
                (
                    sender.numbers[fill.client_order_id],
                    number,
                    0 if fill.order_side == OrderSide.BUY else 1,
                    round(float(fill.last_px) / market.tick),
                    round(float(fill.last_qty) / market.lot),
                    round(float(fill.commission) * 1e8),
                )
            )
        return np.array(kept, np.int64).reshape(-1, 6)


def main():
    given = job()
    answer(Half(given).run)


if __name__ == "__main__":
    main()
