"""Jesse's half of the comparison. Runs in an environment of its own and knows no Seawall.

    python jesse_half.py JOB.json

The job names one-minute candles, the moving averages and the account. A line on stdin is a run: the
number of minutes from one decision to the next. What it took is printed as a line of JSON, the
fills go to the job's `out`.
"""

import os
import time

import numpy as np
from jesse.research import backtest
from jesse.strategies import Strategy
from talking import answer, job

EXCHANGE, SYMBOL = "Binance Perpetual Futures", "BTC-USDT"
TIMEFRAMES = {1: "1m", 240: "4h"}


def strategy_of(given):
    """The cross with running sums, which is the least work for a candle."""
    fast, slow, share = given["fast"], given["slow"], given["share"]

    class Cross(Strategy):
        def __init__(self):
            super().__init__()
            self.ring = [0.0] * slow
            self.seen, self.sums, self.wanted, self.worth = 0, [0.0, 0.0], 0, 0.0

        def before(self):
            price, seen, ring = self.current_candle[2], self.seen, self.ring
            if seen >= slow:
                self.sums[1] -= ring[seen % slow]
            if seen >= fast:
                self.sums[0] -= ring[(seen - fast) % slow]
            ring[seen % slow] = price
            self.sums[0] += price
            self.sums[1] += price
            self.seen = seen + 1
            if self.seen < slow:
                return
            apart = (self.sums[0] / fast) / (self.sums[1] / slow) - 1.0
            wanted = 1 if apart > 0.0 else -1 if apart < 0.0 else self.wanted
            if wanted != self.wanted:
                self.wanted = wanted
                self.worth = self.portfolio_value  # the new position is a share of what is there

        def should_long(self):
            return self.wanted > 0

        def should_short(self):
            return self.wanted < 0

        def go_long(self):
            self.buy = share * self.worth / self.price, self.price

        def go_short(self):
            self.sell = share * self.worth / self.price, self.price

        def update_position(self):
            if (self.position.qty > 0) != (self.wanted > 0):
                self.liquidate()

        def should_cancel_entry(self):
            return False

    return Cross


class Half:
    """The candles, and runs over them."""

    def __init__(self, given):
        self.job = given
        self.candles = np.load(given["candles"])
        self.strategy = strategy_of(given)

    def run(self, asked):
        """One backtest in fast mode."""
        minutes = int(asked)
        key = f"{EXCHANGE}-{SYMBOL}"
        account = {
            "starting_balance": self.job["capital"],
            "fee": self.job["fee"],
            "type": "futures",
            "futures_leverage": 1,
            "futures_leverage_mode": "cross",
            "exchange": EXCHANGE,
            "warm_up_candles": 0,
        }
        route = {
            "exchange": EXCHANGE,
            "strategy": self.strategy,
            "symbol": SYMBOL,
            "timeframe": TIMEFRAMES[minutes],
        }
        candles = {key: {"exchange": EXCHANGE, "symbol": SYMBOL, "candles": self.candles}}
        cpu_began, began = time.process_time(), time.perf_counter()
        result = backtest(account, [route], [], candles, fast_mode=True)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        fills, closing = self.fills(result.get("trades", []))
        np.save(os.path.join(self.job["out"], f"jesse-{minutes}.npy"), fills)
        gain = result["metrics"].get("net_profit", 0.0) + closing
        return {"seconds": seconds, "cpu": cpu, "orders": len(fills), "result": gain}

    def fills(self, trades):
        """(n, 4): ms, quantity bought, price, fee, one row a minute; and the fee of the last trade,
        with which the engine itself closes what is held at the end."""
        by_time = {}
        orders = [order for trade in trades for order in trade["orders"]]
        orders = [order for order in orders if order["status"] == "EXECUTED"]
        closing = 0.0
        if orders:
            last = orders.pop()
            closing = abs(last["qty"]) * last["price"] * self.job["fee"]
        for order in orders:
            row = by_time.setdefault(order["executed_at"], [0.0, order["price"], 0.0])
            row[0] += order["qty"]
            row[2] += abs(order["qty"]) * order["price"] * self.job["fee"]
        kept = [(when, *row) for when, row in sorted(by_time.items())]
        return np.array(kept).reshape(-1, 4), closing


def main():
    given = job()
    os.chdir(given["out"])  # it keeps a folder of its own where it runs
    answer(Half(given).run)


if __name__ == "__main__":
    main()
