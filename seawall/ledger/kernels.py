"""The account at market prices, compiled: the same bits as `Ledger.portfolio`, many times over."""

from typing import Any

import numpy as np
from numba import njit

CASH = np.dtype([("units", "<f8"), ("asset", "<i8")])  # whole units of an asset

HELD = np.dtype(
    [
        ("instrument", "<i8"),  # in marks
        ("settle", "<i8"),  # in asset marks
        ("quote", "<i8"),
        ("spot", "<i8"),
        ("inverse", "<i8"),
        ("size", "<f8"),  # signed lots times the lot
        ("unit", "<f8"),  # value at one tick, smallest settle units
        ("cost", "<f8"),  # smallest settle units
        ("gain", "<f8"),  # +1 where it gains as its value rises, else -1
        ("tick", "<f8"),  # quote units
        ("divisor", "<f8"),  # smallest units in one settle unit
    ]
)


@njit(cache=True)
def exact_sum(terms: Any, count: int, partials: Any) -> float:
    """The correctly rounded sum of the first `count` terms (Shewchuk 1997), as math.fsum.

    partials: (count + 1,) scratch. Terms must be finite.
    """
    kept = 0
    for k in range(count):
        x = terms[k]
        left = 0
        for j in range(kept):
            y = partials[j]
            if abs(x) < abs(y):
                x, y = y, x
            high = x + y
            low = y - (high - x)
            if low != 0.0:
                partials[left] = low
                left += 1
            x = high
        partials[left] = x
        kept = left + 1
    if kept == 0:
        return 0.0
    kept -= 1
    high, low = partials[kept], 0.0
    while kept > 0:
        x = high
        kept -= 1
        y = partials[kept]
        high = x + y
        low = y - (high - x)
        if low != 0.0:
            break
    if kept > 0 and ((low < 0.0 and partials[kept - 1] < 0.0) or (low > 0.0 < partials[kept - 1])):
        x = high + 2.0 * low  # half way: the rest decides
        if x - high == 2.0 * low:
            high = x
    return float(high)


@njit(cache=True)
def value(cash: Any, held: Any, marks: Any, asset_marks: Any, scratch: Any) -> tuple[float, float]:
    """Equity and gross notional in the numeraire; NaN where a mark that they need is not positive.

    cash: (n,) CASH, no zeros among them. held: (m,) HELD, open positions in the ledger's order.
    marks: (instruments,) quote units. asset_marks: (assets,) numeraire units.
    scratch: (2, n + 1).
    """
    for row in range(len(cash)):
        mark = asset_marks[cash[row]["asset"]]
        if not (mark > 0.0 and np.isfinite(mark)):
            return np.nan, np.nan
        scratch[0, row] = cash[row]["units"] * mark
    total = exact_sum(scratch[0], len(cash), scratch[1])
    derivatives = gross = 0.0
    for row in range(len(held)):
        one = held[row]
        mark, settle = marks[one["instrument"]], asset_marks[one["settle"]]
        of_size = asset_marks[one["quote"]] if one["inverse"] else settle
        if not (0.0 < mark < np.inf and 0.0 < settle < np.inf and 0.0 < of_size < np.inf):
            return np.nan, np.nan
        if one["inverse"]:
            gross += abs(one["size"] * of_size)
        else:
            gross += abs(one["size"] * mark * of_size)
        if not one["spot"]:
            ticks = mark / one["tick"]
            worth = one["unit"] / ticks if one["inverse"] else one["unit"] * ticks
            amount = one["gain"] * (worth - one["cost"])
            derivatives += amount / one["divisor"] * settle if amount != 0.0 else 0.0
    return total + derivatives, gross


@njit(cache=True)
def leverage(gross: float, equity: float) -> float:
    """Gross exposure per equity; 0 without exposure, infinite where there is no equity."""
    if gross == 0.0:
        return 0.0
    if np.isnan(gross) or np.isnan(equity):
        return np.nan
    return gross / equity if equity > 0.0 else np.inf
