"""Compiled kernels of the decision stage: the rule agents and the blend of their opinions.

Each agent is a state (arrays, one value per consensus group) with a `step` for one row and a `run`
for a block, a loop over `step`: whatever the split of the rows, the bits are the same. Beside each
score goes the interval that holds the score without the attack (DEFINITIONS 13, "Exposure").
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from seawall.core.consensus import FEATURES
from seawall.core.frames import FrameFlag

VALID = int(FrameFlag.VALID)
RESET = int(FrameFlag.RESET)
BAR = int(FrameFlag.BAR)
UNCORROBORATED = int(FrameFlag.UNCORROBORATED)


IMBALANCE, OFI, FLOW = (FEATURES.index(name) for name in ("imbalance", "ofi", "flow"))
PRICE_REACH = 0.25  # admission lets no book move further within an epoch
RAMP = 0.2  # share of a regime's bound over which exposure goes down to that regime's scale


class TrendRule(NamedTuple):
    """Constants of the trend agent."""

    fast: float  # weight of the newest row
    slow: float
    norm: float  # windows.difference_scale of the two
    warm: float  # rows until confidence is 1
    gain: float  # score per standard deviation
    least_scale: float  # floor of the rows' scale, fraction


class TrendState(NamedTuple):
    """Carry of the trend agent, one value per group; EWMAs of the price and of its bounds."""

    seen: NDArray[np.int64]  # usable rows since the last reset
    fast: NDArray[np.float64]  # numeraire units
    slow: NDArray[np.float64]
    fast_low: NDArray[np.float64]
    fast_high: NDArray[np.float64]
    slow_low: NDArray[np.float64]
    slow_high: NDArray[np.float64]


class FlowRule(NamedTuple):
    """Constants of the order-flow agent."""

    weight: float  # of the newest row
    warm: float  # rows until confidence is 1
    gain: float  # score per unit of pressure
    ofi: float  # shares of the three parts of pressure, sum 1
    volume: float
    imbalance: float


class FlowState(NamedTuple):
    """Carry of the order-flow agent, one value per group; EWMAs in [-1, 1]."""

    seen: NDArray[np.int64]  # usable rows since the last reset
    pressure: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


LONG_AGO = -(1 << 60)
FROZEN_BAND = 0.2  # of the dead band, for what shrinks while no new risk may be taken
WISH = np.dtype(
    [
        ("long_only", "<i8"),  # 1: it cannot be sold short
        ("exposure", "<f8"),  # what was last asked for, numeraire
        ("ts", "<i8"),  # ns UTC, when; LONG_AGO: never
        ("expiry", "<i8"),  # ns UTC, until when it is in force
        ("refused_until", "<i8"),  # ns UTC; risk refused more, and nothing has changed since
        ("frozen", "<i8"),  # 1: no new risk may be taken in it now
    ]
)


class Blend(NamedTuple):
    """Constants of the blend of opinions."""

    weights: NDArray[np.float64]  # per agent, >= 0
    most_age: float  # seconds; older opinions do not count
    least_confidence: float  # below it nothing is decided
    regime: NDArray[np.float64]  # scale per core.frames.Regime, not growing from LOW_VOL on
    bounds: NDArray[np.float64]  # annualised volatility from which NORMAL, HIGH, EXTREME begin
    uncorroborated: float  # scale where fewer than three sources voted


@njit(cache=True, _nrt=False)
def clip(value: float) -> float:
    """The value, held in [-1, 1]."""
    return min(1.0, max(-1.0, value))


@njit(cache=True, _nrt=False)
def follow(averages: Any, group: int, weight: float, value: float, first: bool) -> None:
    """Move one EWMA on to `value`, or set it there."""
    averages[group] = value if first else averages[group] + weight * (value - averages[group])


@njit(cache=True, _nrt=False)
def over(value: float, low: float, high: float) -> float:
    """The quotient value / x that is greatest over x in [low, high], 0 < low."""
    return value / (low if value > 0.0 else high)


@njit(cache=True, _nrt=False)
def trend_step(row: Any, rule: TrendRule, state: TrendState) -> tuple[float, float, float, float]:
    """Score, its bounds and confidence of the trend agent for one CONSENSUS row.

    The divisor is the slow average before this row, so the score is piecewise linear in its price.
    """
    group = row["group"]
    if row["flags"] & RESET:
        state.seen[group] = 0
    price = row["price"]
    if not row["flags"] & VALID or not 0.0 < price < np.inf:
        return 0.0, 0.0, 0.0, 0.0
    low = max(row["price_low"], (1.0 - PRICE_REACH) * price)
    high = min(row["price_high"], (1.0 + PRICE_REACH) * price)
    seen = state.seen[group]
    state.seen[group] = seen + 1
    first = seen == 0
    before = state.slow[group]
    before_low, before_high = state.slow_low[group], state.slow_high[group]
    follow(state.fast, group, rule.fast, price, first)
    follow(state.slow, group, rule.slow, price, first)
    follow(state.fast_low, group, rule.fast, low, first)
    follow(state.fast_high, group, rule.fast, high, first)
    follow(state.slow_low, group, rule.slow, low, first)
    follow(state.slow_high, group, rule.slow, high, first)
    scale = row["scale"]
    if first or not 0.0 < scale < np.inf:
        return 0.0, 0.0, 0.0, 0.0
    unit = before * max(scale, rule.least_scale) * rule.norm
    unit_low = before_low * max(row["scale_low"], rule.least_scale) * rule.norm
    unit_high = before_high * max(row["scale_high"], rule.least_scale) * rule.norm
    signal = (state.fast[group] - state.slow[group]) / unit
    most = over(state.fast_high[group] - state.slow_low[group], unit_low, unit_high)
    least = -over(state.slow_high[group] - state.fast_low[group], unit_low, unit_high)
    confidence = min(1.0, seen / rule.warm)
    return clip(rule.gain * signal), clip(rule.gain * least), clip(rule.gain * most), confidence


@njit(cache=True, _nrt=False)
def trend_run(rows: Any, rule: TrendRule, state: TrendState, opinions: Any) -> None:
    """Opinions of the trend agent on a block of rows, into `opinions` (same length)."""
    for i in range(len(rows)):
        write(rows[i], trend_step(rows[i], rule, state), opinions[i])


@njit(cache=True, _nrt=False)
def pressure_of(part: Any, rule: FlowRule) -> float:
    """Signed pressure of one column of a row, in [-1, 1]; each part is bounded before it counts."""
    return (
        rule.ofi * clip(part[OFI])
        + rule.volume * clip(part[FLOW])
        + rule.imbalance * clip(part[IMBALANCE])
    )


@njit(cache=True, _nrt=False)
def flow_step(row: Any, rule: FlowRule, state: FlowState) -> tuple[float, float, float, float]:
    """Score, its bounds and confidence of the order-flow agent for one CONSENSUS row.

    Pressure counts from what the model has learned to be usual.
    """
    group = row["group"]
    if row["flags"] & RESET:
        state.seen[group] = 0
    if (row["flags"] & BAR) or not row["flags"] & VALID:
        return 0.0, 0.0, 0.0, 0.0
    usual = pressure_of(row["mean"], rule)
    doubt = min(
        2.0,
        rule.ofi * row["mean_bound"][OFI]
        + rule.volume * row["mean_bound"][FLOW]
        + rule.imbalance * row["mean_bound"][IMBALANCE],
    )
    seen = state.seen[group]
    state.seen[group] = seen + 1
    if seen == 0:
        state.pressure[group] = 0.0
        state.low[group] = 0.0
        state.high[group] = 0.0
    value = clip(pressure_of(row["value"], rule) - usual)
    least = clip(pressure_of(row["low"], rule) - usual - doubt)
    most = clip(pressure_of(row["high"], rule) - usual + doubt)
    follow(state.pressure, group, rule.weight, value, False)
    follow(state.low, group, rule.weight, least, False)
    follow(state.high, group, rule.weight, most, False)
    return (
        clip(rule.gain * state.pressure[group]),
        clip(rule.gain * state.low[group]),
        clip(rule.gain * state.high[group]),
        min(1.0, seen / rule.warm),
    )


@njit(cache=True, _nrt=False)
def flow_run(rows: Any, rule: FlowRule, state: FlowState, opinions: Any) -> None:
    """Opinions of the order-flow agent on a block of rows, into `opinions` (same length)."""
    for i in range(len(rows)):
        write(rows[i], flow_step(rows[i], rule, state), opinions[i])


@njit(cache=True, _nrt=False)
def write(row: Any, said: tuple[float, float, float, float], opinion: Any) -> None:
    """Set an opinion, formed on the row itself."""
    opinion["ts"] = row["ts"]
    opinion["group"] = row["group"]
    opinion["score"] = said[0]
    opinion["low"] = said[1]
    opinion["high"] = said[2]
    opinion["confidence"] = said[3]
    opinion["age"] = 0.0


@njit(cache=True, _nrt=False)
def regime_scale(rule: Blend, volatility: float) -> float:
    """The scale of exposure at this annualised volatility; it never grows with it.

    A regime's scale is reached where it begins, in a ramp over the last RAMP of the way there, or
    from where the regime before begins: at a step a hair's breadth of volatility would halve or
    double what is wanted, and with it how far an attacker can move it.
    """
    scale, start = rule.regime[1], 0.0
    for at in range(len(rule.bounds)):
        end, next_scale = rule.bounds[at], rule.regime[at + 2]
        if volatility < end:
            start = max(start, (1.0 - RAMP) * end)
            part = max(0.0, (volatility - start) / (end - start))
            return float(scale + part * (next_scale - scale))
        scale, start = next_scale, end
    return float(scale)


@njit(cache=True, _nrt=False)
def blend_step(row: Any, opinions: Any, rule: Blend) -> tuple[float, float, float]:
    """Wanted exposure as a share of the cap, in [-1, 1], and the interval that holds the clean one.

    NaN where nothing may be decided. opinions: (agents,) of dtype OPINION. Confidence-weighted mean
    of the scores times the highest confidence: a blend of agents that are still warming up stays
    small. Nondecreasing in each score, so its bounds are those of the scores' bounds.
    """
    nothing = (np.nan, np.nan, np.nan)
    if not row["flags"] & VALID:
        return nothing
    total, least, most, weight, best = 0.0, 0.0, 0.0, 0.0, 0.0
    for agent in range(len(rule.weights)):
        opinion = opinions[agent]
        known = np.isfinite(opinion["score"]) and opinion["confidence"] > 0.0
        if not (known and rule.weights[agent] > 0.0 and 0.0 <= opinion["age"] <= rule.most_age):
            continue
        confidence = min(1.0, opinion["confidence"])
        share = rule.weights[agent] * confidence
        total += share * clip(opinion["score"])
        least += share * clip(opinion["low"])
        most += share * clip(opinion["high"])
        weight += share
        best = max(best, confidence)
    if weight == 0.0 or best < rule.least_confidence:
        return nothing
    scale = rule.regime[0]
    tight, wide = scale, scale
    if row["regime"] > 0:
        scale = regime_scale(rule, row["volatility"])
        tight = regime_scale(rule, row["volatility_high"])
        wide = regime_scale(rule, row["volatility_low"])
    if row["flags"] & UNCORROBORATED:
        # that votes are missing may be the attacker's doing: `wide` stays
        scale *= rule.uncorroborated
        tight *= rule.uncorroborated
    least = clip(least / weight * best)
    most = clip(most / weight * best)
    return (
        clip(total / weight * best) * scale,
        least * (wide if least < 0.0 else tight),
        most * (wide if most > 0.0 else tight),
    )


@njit(cache=True, _nrt=False)
def blend_run(rows: Any, opinions: Any, rule: Blend, strengths: Any) -> None:
    """`blend_step` for a block; opinions: (rows, agents), `strengths`: (rows, 3)."""
    for i in range(len(rows)):
        value, low, high = blend_step(rows[i], opinions[i], rule)
        strengths[i, 0] = value
        strengths[i, 1] = low
        strengths[i, 2] = high


@njit(cache=True, _nrt=False)
def wanted_of(
    wish: Any, strength: float, cap: float, held: float, deadband: float, hold: int, now: int
) -> float:
    """The exposure to ask for now, numeraire; NaN where what stands is good enough.

    While no new risk may be taken a position follows the wish down more closely: what the dead band
    leaves standing could not be had back if it went, but it has lost its reason.

    Args:
        wish: a WISH: what was last asked for. cap: exposure at full strength, numeraire.
        held: signed notional held; not finite where unknown: nothing is asked for.
        deadband: share of the cap that the wanted exposure must move. hold: ns after an intent in
            which exposure may shrink but not grow or turn.
    """
    if not np.isfinite(held):
        return np.nan
    wanted = strength * cap
    if wish["long_only"] == 1:
        wanted = max(0.0, wanted)
    reference = wish["exposure"] if now < wish["expiry"] else held
    band = deadband * cap
    if wish["frozen"] == 1 and abs(wanted) < abs(reference):
        band *= FROZEN_BAND
    turns = reference != 0.0 and wanted * reference <= 0.0
    if turns and abs(wanted) <= band:
        wanted = 0.0
    elif not turns and abs(wanted - reference) <= band:
        return np.nan
    grows = abs(wanted) > abs(reference) or (turns and wanted != 0.0)
    if grows and now < wish["refused_until"]:
        return 0.0 if turns else np.nan
    if grows and now - wish["ts"] < hold:
        return 0.0 if turns else np.nan  # out at once, in again after the hold
    return wanted
