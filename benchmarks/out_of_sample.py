"""`python -m benchmarks.out_of_sample`: walk the shipped strategies forward over recorded bars.

Writes docs/results.md, good or bad: out of sample, after fees, beside buying and holding.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.data import RECORDED
from benchmarks.report import ROOT
from seawall.core.clock import SECOND
from seawall.core.errors import SeawallError
from seawall.core.instruments import Kind
from seawall.core.settings import FeedSettings, Settings
from seawall.decision.strategies import kind_of
from seawall.ingestion.bars import read_bars
from seawall.ingestion.tape import write_tape
from seawall.lab.research.costs import funding_paid
from seawall.lab.research.evaluation import Plan
from seawall.lab.research.market import Market, load
from seawall.lab.research.search import drawn
from seawall.lab.research.space import space_of
from seawall.lab.research.walk_forward import WalkForward, WalkForwardShape, walk_forward
from seawall.node.research import following_of, perceive

TARGET = ROOT / "docs" / "results.md"
STRATEGIES = ("moving_average_cross", "trend", "rules")
SETS = 200
SHAPE = WalkForwardShape(folds=10, train=0.3, purge=1)
SURE = 0.95


@dataclass(frozen=True)
class Series:
    """Recorded bars of one perpetual. funding: the file with what it paid."""

    bars: str
    venue: str
    symbol: str
    funding: str

    @property
    def path(self) -> Path:
        return RECORDED / "ohlcv" / self.bars / f"{self.symbol}.parquet"


BINANCE, OKX = "derivs/funding_binance.parquet", "derivs/funding_okx.parquet"
SERIES = (
    Series("binance_perp_1h", "binance", "BTCUSDT", BINANCE),
    *(Series("binance_perp_15m", "binance", s, BINANCE) for s in ("BTCUSDT", "ETHUSDT", "XRPUSDT")),
    *(Series("okx_perp_1m", "okx", s, OKX) for s in ("BTCUSDT", "ETHUSDT", "XRPUSDT")),
)
SPANS = {"binance_perp_1h": "1 h", "binance_perp_15m": "15 m", "okx_perp_1m": "1 m"}


@dataclass(frozen=True)
class Line:
    """One row of the table. funding: paid over the capital, NaN where not all rates are at hand."""

    series: Series
    strategy: str
    since: int
    until: int
    found: WalkForward
    funding: float


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when the page was written."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.out_of_sample", description=__doc__)
    parser.add_argument("--sets", type=int, default=SETS, help=f"to choose among ({SETS})")
    parser.add_argument("--to", type=Path, default=TARGET, help="the page (docs/results.md)")
    given = parser.parse_args(arguments)
    missing = [series.path for series in SERIES if not series.path.exists()]
    if missing:
        print(f"no recorded bars at {missing[0]} (set RECORDED_DATA)", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="seawall-results-") as scratch:
            lines = [line for s in SERIES for line in _walked(s, Path(scratch), given.sets)]
    except SeawallError as error:
        print(f"out_of_sample: {error}", file=sys.stderr)
        return error.exit_code
    given.to.write_text(page(lines, given.sets), encoding="utf-8")
    print(f"written to {given.to.name}")
    return 0


def _walked(series: Series, scratch: Path, sets: int) -> Iterator[Line]:
    tape = scratch / f"{series.bars}-{series.symbol}"
    read = read_bars([series.path], venue=series.venue, kind=Kind.LINEAR, symbols=[series.symbol])
    write_tape(tape, read.catalog, read.rows)
    settings = Settings(
        mode="backtest", data_dir=scratch, feed=FeedSettings(name="replay", tape=tape)
    )
    market = load(perceive(settings, tape))
    for strategy in STRATEGIES:
        began = time.perf_counter()
        plan = Plan(strategy=strategy, following=following_of(settings, cap=1.0))
        chosen = drawn(plan, space_of(kind_of(strategy).shape, {}), 0, sets)
        found = walk_forward(market, plan, chosen, SHAPE)
        since, until = (int(market.path["ts"][at]) for at in (found.first, -1))
        line = Line(series, strategy, since, until, found, _funding(series, market, found))
        seconds = time.perf_counter() - began
        print(f"{_row(line)}  ({seconds:.0f} s)", flush=True)
        yield line


def _funding(series: Series, market: Market, found: WalkForward) -> float:
    """What the positions paid at each settlement out of sample, over the capital."""
    rates = pl.read_parquet(RECORDED / series.funding)
    name = next((n for n in rates.columns if n in ("funding_rate", "rate")), "funding_rate")
    rates = rates.filter(pl.col("symbol") == series.symbol).sort("ts")
    ts = rates["ts"].cast(pl.Datetime("ns")).cast(pl.Int64).to_numpy()
    inside = (ts > market.path["ts"][found.first]) & (ts <= market.path["ts"][-1])
    if not inside.any() or ts[0] > market.path["ts"][found.first]:
        return float("nan")  # of a part of the time the sum would say nothing
    at = np.searchsorted(market.path["ts"], ts[inside], side="left")
    fills, instrument = found.account.fills, market.instrument
    lots = np.bincount(fills["row"], weights=fills["lots"], minlength=len(market.path)).cumsum()
    held = lots[at - 1] * instrument.lot_float  # what was held as the moment came
    mark = market.path["mark"][at - 1] * instrument.tick_float
    near = market.path["ts"][at] - ts[inside] < 8 * 3600 * SECOND  # not over a hole in the bars
    paid = funding_paid(held[near], mark[near], rates[name].to_numpy()[inside][near])
    return paid / found.account.capital


HEADER = """\
| bars | market | strategy | out of sample | return | a year | Sharpe | max fall | trades | \
turnover | costs | funding | PSR | DSR | PBO | held: return | held: Sharpe | held: max fall |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def _row(line: Line) -> str:
    found, series = line.found, line.series
    ours, held = found.performance, found.held
    span = f"{_day(line.since)} to {_day(line.until)}"
    return (
        f"| {SPANS[series.bars]} | {series.symbol} {series.venue} | {line.strategy} | {span} "
        f"| {ours.total_return:+.1%} | {ours.annual_return:+.1%} | {ours.sharpe:.2f} "
        f"| {ours.max_drawdown:.0%} | {ours.trades:,} | {ours.turnover:,.0f} | {ours.costs:.1%} "
        f"| {line.funding:+.1%} | {found.psr:.2f} | {found.dsr:.2f} | {found.overfit:.2f} "
        f"| {held.total_return:+.1%} | {held.sharpe:.2f} | {held.max_drawdown:.0%} |"
    )


def page(lines: Sequence[Line], sets: int) -> str:
    """docs/results.md."""
    sure = sum(line.found.dsr > SURE for line in lines)
    beaten = sum(line.found.performance.sharpe > line.found.held.sharpe for line in lines)
    earned = sum(line.found.performance.total_return > 0.0 for line in lines)
    typical = [f.outside > f.typical for line in lines for f in line.found.folds]
    return "\n".join(
        [
            INTRODUCTION.format(sets=sets, folds=SHAPE.folds, train=SHAPE.train),
            "## What came of it",
            "",
            f"Of {len(lines)} walks {earned} made money, {beaten} had a higher Sharpe ratio than "
            f"buying and holding, and {sure} had a deflated Sharpe ratio above {SURE}. Choosing by "
            f"the past beat the median of all sets in {np.mean(typical):.0%} of the folds; a coin "
            "would in half of them. One walk that has earned is no evidence: of so many some do.",
            "",
            HEADER,
            *(_row(line).replace("nan%", "–").replace("+–", "–") for line in lines),
            "",
        ]
    )


INTRODUCTION = """\
# Results: what the shipped strategies were worth

Written by `make results` from recorded bars, and never by hand. Nothing is chosen after the fact:
what is shipped is walked forward as it is, and the table shows what came of it, good or bad.

## How it is measured

- **Walk-forward.** The first {train:.0%} of each series is only learned from, the rest is cut into
  {folds} folds. Before each fold {sets} parameter sets, drawn at random from the strategy's own
  ranges, are judged on as much history as the first part has; the one with the highest Sharpe ratio
  is traded in the fold. One row is left out between the two. Only the folds count, as one account.
- **Fills.** A decision at the close of a bar is filled at the opening of the next one, 1 bp away
  from it, and pays a taker fee of 5 bp. No more than a tenth of a bar's volume is taken. The whole
  capital is at work at full strength, long and short; a short that has outgrown twice the equity is
  cut back, as the node does it.
- **Holding** is to buy when the first fold begins, for all the capital, at the same costs.
- **Holes.** The recordings of 15 m and 1 h leave out 2024-07 to 2025-02. Everybody is flat over it.
- **Funding** is shown beside the return and is not in it: positive was paid. Holding would have
  paid it too. A dash: the rates of all that time are not at hand.
- **PSR**: probability that the true Sharpe ratio is above zero. **DSR**: the same, after allowing
  for the best of the sets having been picked in hindsight (Bailey, López de Prado 2014). **PBO**:
  probability that the best set of one half of the time is below the median in the other (CSCV,
  Bailey and others 2017). They allow for the sets, not for the number of rows in this table.
- Sharpe ratios are of returns per bar, a year has 365 days. Turnover is in multiples of the equity
  a year; costs are fees, spread and the price's way to the fill, over the capital at the start.
"""


def _day(ns: int) -> str:
    return datetime.fromtimestamp(ns / SECOND, UTC).strftime("%Y-%m-%d")


if __name__ == "__main__":
    sys.exit(main())
