"""Passes over boundaries at which the action side would do nothing, as long as that is certain."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from seawall.core.frames import FrameFlag, Regime
from seawall.decision.kernels import wanted_of
from seawall.ledger import kernels as ledger
from seawall.risk import kernels as gauges

GOOD, UNKNOWN = int(FrameFlag.VALID), int(Regime.UNKNOWN)
FIXED, QUOTE, CONSENSUS = range(3)  # where the mark of an asset comes from

MARK = np.dtype(
    [
        ("slot", "<i8"),  # of the frame in its boundary
        ("column", "<i8"),
        ("value", "<f8"),  # where it is FIXED
    ]
)

TRADED = np.dtype(
    [
        ("ready", "<i8"),  # 0: its market cannot be traded on
        ("group", "<i8"),  # place of its row in the boundary
        ("instrument", "<i8"),
        ("quote", "<i8"),  # asset
        ("inverse", "<i8"),
        ("lot", "<f8"),
        ("lots", "<f8"),  # held, signed
    ]
)

LIMITS = np.dtype(
    [
        ("cap_fraction", "<f8"),
        ("deadband", "<f8"),
        ("hold", "<i8"),
        # where the last digest was made
        ("digest_ts", "<i8"),
        ("digest_span", "<i8"),  # ns
        ("digest_left", "<i8"),  # boundaries from the first one on before which none is due
        # out
        ("high", "<f8"),  # peak of equity before the first boundary
        ("drawdown", "<f8"),  # largest
    ]
)


class Plan(NamedTuple):
    """What a boundary must look like, and what is held and wished for.

    books: (frames,) of each boundary, in order. watched: (frames,) 1 where an instrument trades.
    primary: (instruments,) MARK. group_of: (frames,) row of the gauges.
    """

    books: np.ndarray
    watched: np.ndarray
    group_of: np.ndarray
    primary: np.ndarray
    assets: np.ndarray  # of MARK
    cash: np.ndarray
    held: np.ndarray
    traded: np.ndarray  # of TRADED
    limits: np.ndarray  # (1,) of LIMITS


class Scratch(NamedTuple):
    """Room for one boundary."""

    marks: np.ndarray  # (instruments,)
    asset_marks: np.ndarray
    prices: np.ndarray  # (groups,)
    volatilities: np.ndarray
    asked: np.ndarray
    sums: np.ndarray


@njit(cache=True)
def regular(frames: Any, first: int, past: int, plan: Any) -> bool:
    """Whether a boundary has the frames that it should have, each good to trade on."""
    if past - first != len(plan.books):
        return False
    for slot in range(len(plan.books)):
        frame = frames[first + slot]
        if frame["book"] != plan.books[slot]:
            return False
        if plan.watched[slot]:
            if not frame["flags"] & GOOD or frame["votes"] <= 0 or not frame["mid"] > 0.0:
                return False
            if not (frame["quote_mark"] > 0.0 and frame["consensus"] > 0.0):
                return False
    return True


@njit(cache=True)
def mark(frames: Any, first: int, plan: Any, scratch: Any) -> None:
    """Prices and volatilities of one boundary."""
    for instrument in range(len(plan.primary)):
        one = plan.primary[instrument]
        if one["column"] == FIXED:
            scratch.marks[instrument] = one["value"]
        else:
            frame = frames[first + one["slot"]]
            scratch.marks[instrument] = frame["consensus"] / frame["quote_mark"]
    for asset in range(len(plan.assets)):
        one = plan.assets[asset]
        if one["column"] == FIXED:
            scratch.asset_marks[asset] = one["value"]
        else:
            frame = frames[first + one["slot"]]
            price = frame["quote_mark"] if one["column"] == QUOTE else frame["consensus"]
            scratch.asset_marks[asset] = price
    scratch.asked[3:] = False
    scratch.volatilities[:] = 0.0
    for slot in range(len(plan.books)):
        if plan.watched[slot]:
            frame, group = frames[first + slot], plan.group_of[slot]
            scratch.prices[group] = frame["consensus"]
            scratch.asked[3 + 2 * group] = True
            if frame["regime"] != UNKNOWN:
                volatility = max(scratch.volatilities[group], frame["volatility"])
                scratch.volatilities[group] = volatility
                scratch.asked[4 + 2 * group] = True


@njit(cache=True)
def asks(
    strengths: Any, row: int, wishes: Any, plan: Any, scratch: Any, equity: float, now: int
) -> bool:
    """Whether the orchestrator would ask for anything; rows from `row` on are the boundary's."""
    limits = plan.limits[0]
    if not 0.0 < equity < np.inf:
        return True
    cap = limits["cap_fraction"] * equity
    for at in range(len(plan.traded)):
        one = plan.traded[at]
        strength = strengths[row + one["group"], 0]
        if one["ready"] == 0 or np.isnan(strength):
            continue
        held = 0.0
        if one["lots"] != 0.0:
            price = scratch.asset_marks[one["quote"]]
            if one["inverse"] == 0:
                held = one["lots"] * (one["lot"] * scratch.marks[one["instrument"]] * price)
            else:
                held = one["lots"] * (one["lot"] * price)
        band, hold = limits["deadband"], limits["hold"]
        if not np.isnan(wanted_of(wishes[at], strength, cap, held, band, hold, now)):
            return True
    return False


@njit(cache=True)
def pass_over(
    frames: Any,
    edges: Any,
    strengths: Any,
    groups: int,
    boundary: int,
    plan: Any,
    scratch: Any,
    wishes: Any,
    gauge: Any,
    falls: Any,
    ranges: Any,
    measures: Any,
    models: Any,
) -> int:
    """The first boundary from `boundary` on at which something may be due; len(edges) - 1: none.

    Every boundary before it has been read by the gauges. edges: where each boundary's frames
    begin, and the end. strengths: (boundaries x groups, 3).
    """
    limits = plan.limits[0]
    start = boundary
    while boundary < len(edges) - 1:
        first = edges[boundary]
        now = frames[first]["ts"]
        late = now - limits["digest_ts"] >= limits["digest_span"]
        if late and boundary - start >= limits["digest_left"]:
            break
        if not regular(frames, first, edges[boundary + 1], plan):
            break
        mark(frames, first, plan, scratch)
        equity, gross = ledger.value(
            plan.cash, plan.held, scratch.marks, scratch.asset_marks, scratch.sums
        )
        if not np.isfinite(equity):
            break
        if asks(strengths, boundary * groups, wishes, plan, scratch, equity, now):
            break
        if gauges.read(
            gauge,
            falls,
            ranges,
            measures,
            models,
            scratch.asked,
            now,
            scratch.prices,
            scratch.volatilities,
            equity,
            ledger.leverage(gross, equity),
        ):
            break
        limits["drawdown"] = max(limits["drawdown"], measures[1]["value"])
        boundary += 1
    return boundary
