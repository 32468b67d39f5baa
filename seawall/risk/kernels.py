"""Compiled kernels of the gauges: sliding ranges, what each breaker measures, whether it is calm.

One reading is `read`; whoever passes over many boundaries at once calls the same function for each.
"""

from typing import Any

import numpy as np
from numba import njit

CLOSED, OPEN, HALF_OPEN = range(3)
NEVER = -1

MEASURE = np.dtype(
    [
        ("value", "<f8"),  # in the breaker's unit, NaN where unknown
        ("calm_since", "<i8"),  # ns UTC, NEVER where it is not calm
        ("threshold", "<f8"),
        ("calm", "<f8"),  # below it the measure is calm
        # the breaker's latch
        ("state", "<i8"),
        ("changed", "<i8"),  # ns UTC
        ("cooldown", "<i8"),  # ns
        ("by_rule", "<i8"),  # 1: it recovers by itself
    ]
)

GAUGE = np.dtype(
    [
        ("last", "<i8"),  # ns UTC of the last reading
        ("longest_gap", "<i8"),  # ns without a reading that break every calm
        ("high", "<f8"),  # highest equity seen
        ("kept_high", "<f8"),  # the peak that the journal knows
    ]
)


@njit(cache=True)
def push_end(queue: Any, end: int, ts: int, value: float) -> float:
    """Take in a value at one end of the range (0 lowest, 1 highest); what stands there now.

    When the queue is full the newest two are merged, so that the range can only be too wide.
    """
    times, values = queue["ts"][end], queue["value"][end]
    room = len(times)
    first, count = queue["first"][end], queue["count"][end]
    while count > 0:
        newest = values[(first + count - 1) % room]
        if (end == 1 and newest > value) or (end == 0 and newest < value):
            break
        count -= 1
    while count > 0 and times[first] < ts - queue["window"]:
        first = (first + 1) % room
        count -= 1
    if count < room:
        times[(first + count) % room] = ts
        values[(first + count) % room] = value
        count += 1
    else:
        times[(first + count - 1) % room] = ts
    queue["first"][end] = first
    queue["count"][end] = count
    return float(values[first])


@njit(cache=True)
def push(queue: Any, ts: int, value: float) -> tuple[float, float]:
    """Lowest and highest value of the last `window` ns, both ends included.

    Two monotone queues (Lemire 2006, "Streaming maximum-minimum filter"): amortised constant time.
    Taking in the same value at the same time again changes nothing.
    """
    return push_end(queue, 0, ts, value), push_end(queue, 1, ts, value)


@njit(cache=True)
def note(measure: Any, value: float, ts: int) -> None:
    """What one breaker sees now, and since when it has been calm."""
    measure["value"] = value
    if not value < measure["calm"]:
        measure["calm_since"] = NEVER
    elif measure["calm_since"] == NEVER:
        measure["calm_since"] = ts


@njit(cache=True)
def calls(measure: Any, ts: int) -> bool:
    """Whether a measure calls for a change of its breaker's latch (risk.breakers has the rule)."""
    over = measure["value"] > measure["threshold"]
    if measure["state"] == CLOSED:
        return bool(over)
    if measure["state"] == HALF_OPEN and over:
        return True
    if measure["by_rule"] == 0 or measure["calm_since"] == NEVER:
        return False
    return bool(ts - max(measure["changed"], measure["calm_since"]) >= measure["cooldown"])


@njit(cache=True)
def move(queue: Any, ts: int, price: float) -> float:
    """Largest move to this price from any of the window, as a fraction of that one."""
    if not 0.0 < price < np.inf:
        return np.nan
    low, high = push(queue, ts, price)
    return max((price - low) / low, (high - price) / high)


@njit(cache=True)
def fall(queue: Any, ts: int, equity: float) -> float:
    """Largest fall of equity to this value from any of the window."""
    if not np.isfinite(equity):
        return np.nan
    _, high = push(queue, ts, equity)
    return (high - equity) / high if high > 0.0 else np.nan


@njit(cache=True)
def drawdown(gauge: Any, equity: float) -> float:
    """Fall of equity from its peak, as a fraction of the peak."""
    if not np.isfinite(equity):
        return np.nan
    gauge["high"] = max(gauge["high"], equity)
    peak = max(gauge["high"], gauge["kept_high"])
    return (peak - equity) / peak if peak > 0.0 else np.nan


@njit(cache=True)
def read(
    gauge: Any,
    falls: Any,
    ranges: Any,
    measures: Any,
    models: Any,
    asked: Any,
    ts: int,
    prices: Any,
    volatilities: Any,
    equity: float,
    leverage: float,
) -> bool:
    """One reading of all gauges; whether it calls for a change of any latch.

    Args:
        measures: equity_crash, drawdown, leverage, then flash_crash and volatility_spike of each
            group. asked: which of them are told of; the others stay as they are.
        models: what the gates measured, already in place.
        prices, volatilities: (groups,).
    """
    if ts - gauge["last"] > gauge["longest_gap"]:  # nobody looked: nothing has been calm
        measures["calm_since"][:] = NEVER
        models["calm_since"][:] = NEVER
    gauge["last"] = ts
    note(measures[0], fall(falls, ts, equity), ts)
    note(measures[1], drawdown(gauge, equity), ts)
    note(measures[2], leverage if leverage >= 0.0 else np.nan, ts)
    for group in range(len(ranges)):
        if asked[3 + 2 * group]:
            note(measures[3 + 2 * group], move(ranges[group], ts, prices[group]), ts)
        if asked[4 + 2 * group]:
            note(measures[4 + 2 * group], volatilities[group], ts)
    for row in range(len(models)):
        note(models[row], models[row]["value"], ts)
    due = False
    for row in range(len(measures)):
        due |= (row < 3 or asked[row]) and calls(measures[row], ts)
    for row in range(len(models)):
        due |= calls(models[row], ts)
    return due
