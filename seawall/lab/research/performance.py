"""How good a run was: the figures of a scorecard, from its equity curve, trades and fills.

Returns are simple and per row; a year has 365 days, because the market has no holidays.
"""

import math
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.lab.research.following import Account
from seawall.lab.research.market import Market

Array = NDArray[np.float64]
YEAR = 365 * 86_400_000_000_000  # ns
CVAR_TAIL = 0.05
LEAST_VARIANCE = 1e-30  # less is rounding: nothing moved


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """The scorecard of a run; NaN where there is too little to say.

    Attributes:
        total_return: end over start, less 1. annual_return: the same by compound interest.
        volatility: standard deviation of returns (n - 1), a year.
        sharpe, sortino: mean over standard deviation and over downside deviation, a year, against
            a return of zero. sharpe_per_row: the same without the year.
        max_drawdown: greatest fall from a peak of the equity, its start included, a fraction.
        calmar: annual return over it. cvar: mean loss of the worst 5 % of rows, positive.
        hit_rate: share of trades with a profit. profit_factor: gains over losses of trades.
        trades: round trips, or parts of them. turnover: value traded a year over mean equity.
        exposure: mean of |position| over equity. fills: how many. costs: over the capital.
    """

    rows: int
    total_return: float
    annual_return: float
    volatility: float
    sharpe: float
    sharpe_per_row: float
    sortino: float
    max_drawdown: float
    calmar: float
    cvar: float
    hit_rate: float
    profit_factor: float
    trades: int
    fills: int
    turnover: float
    exposure: float
    costs: float


class Moments(NamedTuple):
    """Of a series of returns: Sharpe ratio per period, how many, skewness and raw kurtosis."""

    sharpe: float
    periods: int
    skewness: float
    kurtosis: float


def moments_of(returns: Array) -> Moments:
    """Sharpe by the standard deviation with n - 1; skewness and kurtosis by population moments
    (kurtosis of a normal is 3). NaN Sharpe where nothing varies."""
    n = len(returns)
    if n < 2:
        return Moments(math.nan, n, 0.0, 3.0)
    centred = returns - returns.mean()
    squares = centred * centred
    variance = float(squares.mean())
    if not variance > LEAST_VARIANCE:
        return Moments(math.nan, n, 0.0, 3.0)
    skewness = float((squares * centred).mean()) / variance**1.5
    return Moments(sharpe(returns), n, skewness, float((squares * squares).mean()) / variance**2)


def sharpe(returns: Array) -> float:
    """Per period, against zero, by the standard deviation with n - 1; NaN where nothing varies."""
    if len(returns) < 2:
        return math.nan
    variance = float(returns.var(ddof=1))
    return float(returns.mean()) / math.sqrt(variance) if variance > LEAST_VARIANCE else math.nan


def sortino(returns: Array) -> float:
    """Mean over downside deviation (Sortino, van der Meer 1991), per period, target zero."""
    if not len(returns):
        return math.nan
    downside = math.sqrt(float(np.square(np.minimum(returns, 0.0)).mean()))
    return float(returns.mean()) / downside if downside > 0.0 else math.nan


def drawdowns(equity: Array, start: float) -> Array:
    """(n,) fall from the highest equity so far, `start` included, as a fraction of it."""
    peaks = np.maximum.accumulate(np.concatenate(([start], equity)))[1:]
    falls: Array = 1.0 - equity / peaks
    return falls


def max_drawdown(equity: Array, start: float) -> float:
    """The greatest of `drawdowns`; 0 where equity never fell."""
    return float(drawdowns(equity, start).max(initial=0.0))


def cvar(returns: Array, tail: float = CVAR_TAIL) -> float:
    """Mean loss in the worst `tail` of periods, positive for a loss.

    Exact for the sample, with the fraction of one observation that the tail ends in (Rockafellar,
    Uryasev 2002, "Conditional value-at-risk for general loss distributions", eq. 8).
    """
    if not len(returns):
        return math.nan
    losses = np.sort(-returns)[::-1]
    weight = tail * len(losses)
    whole = min(int(weight), len(losses))
    rest = (weight - whole) * losses[whole] if whole < len(losses) else 0.0
    return float((losses[:whole].sum() + rest) / weight)


def periods_a_year(cadence: int) -> float:
    """Rows of this cadence (ns) in 365 days."""
    return YEAR / cadence


def performance_of(account: Account, market: Market, first: int = 0) -> Performance:
    """The scorecard of an account that kept its fills, from row `first` on."""
    equity, returns = account.equity[first:], account.returns[first:]
    start = account.equity[first - 1] if first else account.capital
    year = periods_a_year(market.cadence)
    fills = account.fills[account.fills["row"] >= first]
    trades = account._replace(fills=fills).trades
    per_row, down = sharpe(returns), sortino(returns)
    growth = float(equity[-1] / start)
    annual = growth ** (year / len(equity)) - 1.0 if growth > 0.0 else -1.0
    worst = max_drawdown(equity, start)
    gains, losses = float(trades[trades > 0.0].sum()), -float(trades[trades < 0.0].sum())
    traded = float((np.abs(fills["lots"]) * fills["price"]).sum()) * account.unit
    years = len(equity) / year
    return Performance(
        rows=len(equity),
        total_return=growth - 1.0,
        annual_return=annual,
        volatility=float(returns.std(ddof=1)) * math.sqrt(year) if len(returns) > 1 else math.nan,
        sharpe=per_row * math.sqrt(year),
        sharpe_per_row=per_row,
        sortino=down * math.sqrt(year),
        max_drawdown=worst,
        calmar=annual / worst if worst > 0.0 else math.nan,
        cvar=cvar(returns),
        hit_rate=float(np.mean(trades > 0.0)) if len(trades) else math.nan,
        profit_factor=gains / losses if losses > 0.0 else math.nan,
        trades=len(trades),
        fills=len(fills),
        turnover=traded / float(equity.mean()) / years,
        exposure=float(_exposure(account, market)[first:].mean()),
        costs=account.costs.total / account.capital,
    )


def _exposure(account: Account, market: Market) -> Array:
    """(n,) |position| over equity at the end of each row."""
    changes = np.bincount(
        account.fills["row"], weights=account.fills["lots"], minlength=len(market.path)
    )
    shares: Array = np.abs(np.cumsum(changes)) * market.path["mark"] * account.unit
    return shares / account.equity
