"""Transaction-cost analysis: where a parent order's shortfall against its decision comes from.

Implementation shortfall (Perold, 1988): what a paper portfolio, filled whole at the mid of the
decision, would have had more than the real one. The parts add up to it exactly.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from seawall.core.events import Side


class Trade(NamedTuple):
    """One fill of a parent; prices in quote units.

    Attributes:
        fee: quote units per lot, above 0 is paid.
        mid, half_spread: of the book when the order that it fills was sent. sent: ns UTC, then.
    """

    price: float
    lots: int
    fee: float
    mid: float
    half_spread: float
    sent: int = 0


class Course(NamedTuple):
    """What became of a parent.

    Attributes:
        algorithm: its schedule, empty where it was one order after another at once.
        decided, begun, ended: ns UTC: the decision, the first order, the end.
        decided_mid, begun_mid, ended_mid: then, quote units.
        vwap, twap: of the market from `begun` to `ended`, quote units, NaN where nothing traded.
    """

    name: str
    instrument: str
    strategy: str
    algorithm: str
    side: Side
    lots: int
    decided: int
    begun: int
    ended: int
    decided_mid: float
    begun_mid: float
    ended_mid: float
    vwap: float
    twap: float
    trades: tuple[Trade, ...]

    def by_order(self) -> list[tuple[int, list[Trade]]]:
        """(ns UTC of its sending, fills) of each order that filled."""
        found: dict[int, list[Trade]] = {}
        for trade in self.trades:
            found.setdefault(trade.sent, []).append(trade)
        return list(found.items())


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """A parent's costs. All in basis points of the decision's mid for all its lots; above 0 cost.

    Attributes:
        lots, filled: wanted, and had. notional: wanted lots at the decision's mid, quote units per
            unit of a lot's size.
        arrival: the decision's mid. average: price of what was filled, NaN where nothing was.
        shortfall: all of it = delay + spread + impact + timing + fees + opportunity.
        delay: the mid's way from the decision to the first order, on what was filled.
        spread: half the spread when each order was sent. impact: what was paid beyond the touch,
            below 0 where the price was better than it.
        timing: the mid's way from the first order to each one: the market's drift, and what our
            earlier orders left behind, which no single parent can tell apart.
        fees. opportunity: the mid's way to the end, on what was not filled.
        against_vwap, against_twap: the average price against the market's over the same time, bps
            of it, above 0 where ours was worse.
    """

    name: str
    instrument: str
    strategy: str
    algorithm: str
    side: str
    decided: int
    begun: int
    ended: int
    lots: int
    filled: int
    arrival: float
    average: float
    notional: float
    shortfall: float
    delay: float
    spread: float
    impact: float
    timing: float
    fees: float
    opportunity: float
    against_vwap: float
    against_twap: float


PARTS = ("delay", "spread", "impact", "timing", "fees", "opportunity")


def analyse(course: Course) -> Analysis:
    """The parts of one parent's shortfall; NaN where a price that they need is not known."""
    sign, paper = course.side.sign, course.decided_mid
    filled = sum(trade.lots for trade in course.trades)
    whole = course.lots * paper
    bps = 1e4 / whole if whole else math.nan
    paid = math.fsum(trade.price * trade.lots for trade in course.trades)
    spread = math.fsum(trade.half_spread * trade.lots for trade in course.trades)
    beyond = math.fsum((trade.price - trade.mid) * trade.lots for trade in course.trades)
    timing = math.fsum((trade.mid - course.begun_mid) * trade.lots for trade in course.trades)
    fees = math.fsum(trade.fee * trade.lots for trade in course.trades)
    left = course.lots - filled
    missed = sign * left * (course.ended_mid - paper) if left else 0.0
    average = paid / filled if filled else math.nan
    delay = sign * filled * (course.begun_mid - paper) if filled else 0.0
    shortfall = (sign * (paid - filled * paper) if filled else 0.0) + fees + missed
    return Analysis(
        name=course.name,
        instrument=course.instrument,
        strategy=course.strategy,
        algorithm=course.algorithm,
        side=course.side.name.lower(),
        decided=course.decided,
        begun=course.begun,
        ended=course.ended,
        lots=course.lots,
        filled=filled,
        arrival=paper,
        average=average,
        notional=whole,
        shortfall=shortfall * bps,
        delay=delay * bps,
        spread=spread * bps,
        impact=(sign * beyond - spread) * bps,
        timing=sign * timing * bps,
        fees=fees * bps,
        opportunity=missed * bps,
        against_vwap=sign * (average / course.vwap - 1.0) * 1e4,
        against_twap=sign * (average / course.twap - 1.0) * 1e4,
    )


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """Parents of one instrument, strategy and schedule together, each by its notional; bps."""

    instrument: str
    strategy: str
    algorithm: str
    parents: int
    unknown: int  # parents that are left out because a price is missing
    filled: float  # share of the lots
    shortfall: float
    delay: float
    spread: float
    impact: float
    timing: float
    fees: float
    opportunity: float


def totals(found: Sequence[Analysis]) -> list[Total]:
    """One line for each instrument, strategy and schedule, in order of appearance."""
    groups: dict[tuple[str, str, str], list[Analysis]] = {}
    for one in found:
        groups.setdefault((one.instrument, one.strategy, one.algorithm), []).append(one)
    lines = []
    for (instrument, strategy, algorithm), group in groups.items():
        known = [one for one in group if math.isfinite(one.shortfall)]
        weight = math.fsum(one.notional for one in known)
        means = {
            name: math.fsum(getattr(one, name) * one.notional for one in known) / weight
            if weight
            else math.nan
            for name in ("shortfall", *PARTS)
        }
        lines.append(
            Total(
                instrument=instrument,
                strategy=strategy,
                algorithm=algorithm,
                parents=len(group),
                unknown=len(group) - len(known),
                filled=sum(one.filled for one in group) / max(1, sum(one.lots for one in group)),
                **means,
            )
        )
    return lines
