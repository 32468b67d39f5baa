"""Compiled kernels of the decision stage: the rule agents and the blend of their opinions.

Each agent is a state (arrays, one value per book) with a `step` for one frame and a `run` for a
block, a loop over `step`: whatever the split of the frames, the bits are the same.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from seawall.core.frames import FrameFlag

VALID = int(FrameFlag.VALID)
STALE = int(FrameFlag.STALE)
RESET = int(FrameFlag.RESET)
BAR = int(FrameFlag.BAR)
UNCORROBORATED = int(FrameFlag.UNCORROBORATED)


class TrendRule(NamedTuple):
    """Constants of the trend agent; arrays have one value per book."""

    fast: NDArray[np.float64]  # weight of the newest frame
    slow: NDArray[np.float64]
    norm: NDArray[np.float64]  # windows.difference_scale of the two
    warm: NDArray[np.float64]  # frames until confidence is 1
    gain: float  # score per standard deviation
    least_scale: float  # floor of the frames' scale, fraction


class TrendState(NamedTuple):
    """Carry of the trend agent, one value per book."""

    seen: NDArray[np.int64]  # usable frames since the last reset
    fast: NDArray[np.float64]  # EWMA of mid, quote units
    slow: NDArray[np.float64]


class FlowRule(NamedTuple):
    """Constants of the order-flow agent; arrays have one value per book."""

    weight: NDArray[np.float64]  # of the newest frame
    warm: NDArray[np.float64]  # frames until confidence is 1
    gain: float  # score per unit of pressure
    ofi: float  # shares of the three parts of pressure, sum 1
    volume: float
    imbalance: float


class FlowState(NamedTuple):
    """Carry of the order-flow agent, one value per book."""

    seen: NDArray[np.int64]  # usable frames since the last reset
    pressure: NDArray[np.float64]  # EWMA, in [-1, 1]


class Blend(NamedTuple):
    """Constants of the blend of opinions."""

    weights: NDArray[np.float64]  # per agent, >= 0
    most_age: float  # seconds; older opinions do not count
    least_confidence: float  # below it nothing is decided
    regime: NDArray[np.float64]  # scale per core.frames.Regime
    uncorroborated: float  # scale where fewer than three sources voted


@njit(cache=True)
def usable(flags: int) -> bool:
    """Whether a frame with these flags may be traded on."""
    return (flags & VALID) != 0 and (flags & STALE) == 0


@njit(cache=True)
def clip(value: float) -> float:
    """The value, held in [-1, 1]."""
    return min(1.0, max(-1.0, value))


@njit(cache=True)
def trend_step(frame: Any, rule: TrendRule, state: TrendState) -> tuple[float, float]:
    """Score and confidence of the trend agent for one frame (one row of FRAME).

    The divisor is the slow average before this frame, so the score is piecewise linear in its mid.
    """
    book = frame["book"]
    if frame["flags"] & RESET:
        state.seen[book] = 0
    mid = frame["mid"]
    if not usable(frame["flags"]) or not 0.0 < mid < np.inf:
        return 0.0, 0.0
    seen = state.seen[book]
    state.seen[book] = seen + 1
    if seen == 0:
        state.fast[book] = mid
        state.slow[book] = mid
        return 0.0, 0.0
    before = state.slow[book]
    state.fast[book] += rule.fast[book] * (mid - state.fast[book])
    state.slow[book] += rule.slow[book] * (mid - before)
    scale = frame["scale"]
    if not 0.0 < scale < np.inf:
        return 0.0, 0.0
    unit = before * max(scale, rule.least_scale) * rule.norm[book]
    signal = (state.fast[book] - state.slow[book]) / unit
    return clip(rule.gain * signal), min(1.0, seen / rule.warm[book])


@njit(cache=True)
def trend_run(frames: Any, rule: TrendRule, state: TrendState, opinions: Any) -> None:
    """Opinions of the trend agent on a block of frames, into `opinions` (same length)."""
    for i in range(len(frames)):
        score, confidence = trend_step(frames[i], rule, state)
        write(frames[i], score, confidence, opinions, i)


@njit(cache=True)
def pressure_of(frame: Any, rule: FlowRule) -> float:
    """Signed pressure inside one frame, in [-1, 1]; each part is bounded before it is averaged."""
    depth = frame["bid_size"] + frame["ask_size"]
    ofi = clip(frame["ofi"] / depth) if depth > 0 else 0.0
    volume = frame["buy_volume"] + frame["sell_volume"]
    traded = clip((frame["buy_volume"] - frame["sell_volume"]) / volume) if volume > 0.0 else 0.0
    resting = clip(frame["imbalance"])
    return rule.ofi * ofi + rule.volume * traded + rule.imbalance * resting


@njit(cache=True)
def readable(frame: Any) -> bool:
    """Whether all numbers that order flow reads are finite."""
    total = frame["ofi"] + frame["buy_volume"] + frame["sell_volume"] + frame["imbalance"]
    return bool(np.isfinite(total))


@njit(cache=True)
def flow_step(frame: Any, rule: FlowRule, state: FlowState) -> tuple[float, float]:
    """Score and confidence of the order-flow agent for one frame (one row of FRAME)."""
    book = frame["book"]
    if frame["flags"] & RESET:
        state.seen[book] = 0
        state.pressure[book] = 0.0
    if (frame["flags"] & BAR) or not usable(frame["flags"]) or not readable(frame):
        return 0.0, 0.0
    before = state.pressure[book]
    seen = state.seen[book]
    state.seen[book] = seen + 1
    state.pressure[book] = before + rule.weight[book] * (pressure_of(frame, rule) - before)
    return clip(rule.gain * state.pressure[book]), min(1.0, seen / rule.warm[book])


@njit(cache=True)
def flow_run(frames: Any, rule: FlowRule, state: FlowState, opinions: Any) -> None:
    """Opinions of the order-flow agent on a block of frames, into `opinions` (same length)."""
    for i in range(len(frames)):
        score, confidence = flow_step(frames[i], rule, state)
        write(frames[i], score, confidence, opinions, i)


@njit(cache=True)
def write(frame: Any, score: float, confidence: float, opinions: Any, i: int) -> None:
    """Set row `i` of `opinions`, formed on the frame itself."""
    opinions[i]["ts"] = frame["ts"]
    opinions[i]["instrument"] = frame["instrument"]
    opinions[i]["score"] = score
    opinions[i]["confidence"] = confidence
    opinions[i]["age"] = 0.0


@njit(cache=True)
def blend_step(
    frame: Any,
    scores: NDArray[np.float64],
    confidences: NDArray[np.float64],
    ages: NDArray[np.float64],
    rule: Blend,
) -> float:
    """Wanted exposure as a share of the cap, in [-1, 1]; NaN where nothing may be decided.

    Confidence-weighted mean of the agents' scores (arrays of one value per agent), times the
    highest confidence: a blend of agents that are still warming up stays small.
    """
    if not usable(frame["flags"]):
        return np.nan
    total, weight, best = 0.0, 0.0, 0.0
    for agent in range(len(rule.weights)):
        if not (
            np.isfinite(scores[agent]) and confidences[agent] > 0.0 and rule.weights[agent] > 0.0
        ):
            continue
        if not 0.0 <= ages[agent] <= rule.most_age:
            continue
        confidence = min(1.0, confidences[agent])
        total += rule.weights[agent] * confidence * clip(scores[agent])
        weight += rule.weights[agent] * confidence
        best = max(best, confidence)
    if weight == 0.0 or best < rule.least_confidence:
        return np.nan
    scale = rule.regime[frame["regime"]] if frame["regime"] < len(rule.regime) else 0.0
    if frame["flags"] & UNCORROBORATED:
        scale *= rule.uncorroborated
    return clip(total / weight * best) * scale


@njit(cache=True)
def blend_run(
    frames: Any,
    scores: NDArray[np.float64],
    confidences: NDArray[np.float64],
    ages: NDArray[np.float64],
    rule: Blend,
    strengths: NDArray[np.float64],
) -> None:
    """`blend_step` for a block; opinions have shape (frames, agents), `strengths` (frames,)."""
    for i in range(len(frames)):
        strengths[i] = blend_step(frames[i], scores[i], confidences[i], ages[i], rule)
