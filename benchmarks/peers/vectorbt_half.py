"""vectorbt's half of the comparison. Runs in an environment of its own and knows no Seawall.

    python vectorbt_half.py JOB.json

The job names one-minute candles, the moving averages, a grid of them and the account. A line on
stdin is a run: `one` set or the whole `grid`. What it took is printed as a line of JSON; the fills
of the one set and the results of the grid go to the job's `out`.
"""

import os
import time

import numpy as np
import pandas as pd
import vectorbt as vbt
from talking import answer, job

COLUMNS = 10  # sets of the grid at a time: all at once do not fit into memory


class Half:
    """The candles, and runs over them."""

    def __init__(self, given):
        self.job = given
        candles = np.load(given["candles"])
        self.times = candles[:, 0].astype(np.int64) + 60_000  # a candle is known at its close
        self.close = pd.Series(candles[:, 2])

    def portfolio(self, sets, share):
        """An account for each (fast, slow). share: of its equity that it holds."""
        fast, slow = (
            vbt.MA.run(self.close, sorted(set(column))).ma for column in zip(*sets, strict=True)
        )
        places = [sorted(set(column)) for column in zip(*sets, strict=True)]
        quick = self._columns(fast)[:, [places[0].index(one) for one, _ in sets]]
        late = self._columns(slow)[:, [places[1].index(one) for _, one in sets]]
        wanted = pd.DataFrame(np.sign(quick - late)).replace(0.0, np.nan).ffill().to_numpy()
        before = np.vstack([np.full((1, len(sets)), np.nan), wanted[:-1]])
        size = np.where(wanted != before, wanted * share, np.nan)
        return vbt.Portfolio.from_orders(
            self.close,
            size,
            size_type="targetpercent",
            fees=self.job["fee"],
            init_cash=self.job["capital"],
            freq="1min",
        )

    def _columns(self, averages):
        return averages.to_numpy().reshape(len(self.close), -1)

    def run(self, what):
        """One set, or the grid in pieces."""
        cpu_began, began = time.process_time(), time.perf_counter()
        if what == "one":
            made = self.portfolio([(self.job["fast"], self.job["slow"])], self.job["share"])
            values = [float(np.ravel(made.final_value())[0])]
        else:
            grid = [tuple(one) for one in self.job["grid"]]
            values = []
            for first in range(0, len(grid), COLUMNS):
                made = self.portfolio(grid[first : first + COLUMNS], self.job["cap"])
                values += np.ravel(made.final_value()).tolist()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        told = {"seconds": seconds, "cpu": cpu, "values": values}
        if what == "one":
            told |= self.kept(made) | {"result": values[0] - self.job["capital"]}
        return told

    def kept(self, made):
        """Fills as (n, 4): ms, quantity bought, price, fee."""
        orders = made.orders.values
        sign = np.where(orders["side"] == 0, 1.0, -1.0)
        columns = (
            self.times[orders["idx"]],
            sign * orders["size"],
            orders["price"],
            orders["fees"],
        )
        np.save(os.path.join(self.job["out"], "vectorbt-1.npy"), np.column_stack(columns))
        return {"orders": len(orders)}


def main():
    given = job()
    answer(Half(given).run)


if __name__ == "__main__":
    main()
