"""Frames: what perception tells the decision side, one row per book and cadence tick.

Later stages fill in their own columns of the same row, so a frame can be read in one place.
"""

from enum import IntEnum, IntFlag

import numpy as np

FRAME = np.dtype(
    [
        ("ts", "<i8"),  # ns UTC, the boundary at which the frame closed (receive time)
        ("index", "<i8"),  # number of the boundary since the start of the tape
        ("tape", "<i8"),  # rows of the tape seen when it closed
        ("instrument", "<u2"),
        ("source", "<u2"),
        ("book", "<u2"),
        ("flags", "<u2"),  # FrameFlag
        # market: the book at the boundary, in ticks and lots
        ("bid", "<i8"),
        ("ask", "<i8"),
        ("bid_size", "<i8"),
        ("ask_size", "<i8"),
        ("mid", "<f8"),  # quote units
        ("micro", "<f8"),  # size-weighted mid: I * ask + (1 - I) * bid, quote units
        ("spread_bps", "<f8"),  # (ask - bid) / mid * 1e4
        ("imbalance", "<f8"),  # (qb - qa) / (qb + qa) at the touch, in [-1, 1]
        ("imbalance_5", "<f8"),  # the same over the best five occupied levels a side
        ("depth_5", "<f8"),  # base units on the best five levels, both sides
        # market: what happened inside the frame
        ("ofi", "<f8"),  # order-flow imbalance at the touch, lots (Cont, Kukanov, Stoikov 2014)
        ("trades", "<i8"),
        ("buy_volume", "<f8"),  # base units (contracts x multiplier for INVERSE), aggressor
        # buys, and half of what nobody named a taker of
        ("sell_volume", "<f8"),
        ("vwap", "<f8"),  # quote units, 0 where nothing traded
        ("open", "<f8"),  # of mids (bars: of trades), quote units
        ("high", "<f8"),
        ("low", "<f8"),
        ("messages", "<i8"),  # book messages
        ("return_", "<f8"),  # mid / previous frame's mid - 1; 0 where RESET
        ("realised_variance", "<f8"),  # sum of squared mid changes over mid, per message
        ("age", "<f8"),  # seconds since the book's last message
        ("delay", "<f8"),  # seconds, last row's receive - exchange time, above the source's least
        # market: across sources
        ("consensus", "<f8"),  # median of sources, numeraire units; 0 where nobody votes
        ("votes", "<i8"),  # sources that voted
        ("deviation_bps", "<f8"),  # own mid against the consensus
        ("quote_mark", "<f8"),  # numeraire units per unit of the quote asset; 0 while unknown
        # estimation: EWMA of return_
        ("location", "<f8"),
        ("scale", "<f8"),
        # gating
        ("gate", "u1"),  # core.verdicts.GateDecision of the market gate
        # analysis
        ("regime", "u1"),  # Regime
        ("volatility", "<f8"),  # annualised EWMA volatility, fraction
    ]
)


class FrameFlag(IntFlag):
    """Marks of a frame."""

    VALID = 1  # two-sided, uncrossed, in sequence (or a bar): can be traded on
    STALE = 2  # no book message for longer than the limit
    RESET = 4  # first frame of the book after a start or a gap: no return, windows restarted
    LATE = 8  # holds rows whose exchange time lies before the frame
    BAR = 16  # made of bars: bid = ask = close
    UNCORROBORATED = 32  # fewer than three sources voted


class Regime(IntEnum):
    """Volatility regime; names as in the reconciled requirements."""

    UNKNOWN = 0
    LOW_VOL = 1
    NORMAL_VOL = 2
    HIGH_VOL = 3
    EXTREME_VOL = 4
