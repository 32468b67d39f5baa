"""Parent orders: what is to be done over a while, and the pace at which its children go out.

A parent is journaled whole when it begins. Its plan is a function of these fields alone, so that a
restart finds it where it was, and what is done of it is what the ledger holds.
"""

from enum import StrEnum

import msgspec

from seawall.core.events import Side


class Algorithm(StrEnum):
    """How a parent is divided."""

    TWAP = "twap"  # evenly over time
    VWAP = "vwap"  # as the market's volume usually comes
    ALMGREN_CHRISS = "almgren_chriss"  # sooner, the more risk is feared
    PARTICIPATION = "participation"  # a share of the volume as it comes
    ICEBERG = "iceberg"  # the next part when the one that was shown is filled


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How a parent is worked.

    Attributes:
        horizon: ns within which it should be done.
        slices: parts it is divided into, 1 to 10,000.
        jitter: in [0, 1]: how much of a slice its size may differ, and how much of its slot its
            time; 0 is exactly regular.
        bend: of ALMGREN_CHRISS: kappa times the horizon, >= 0; 0 is even.
        share_ppm: of PARTICIPATION: our part of all that is traded, ours included, in millionths.
        visible: of ICEBERG: most lots that are shown at once.
    """

    algorithm: Algorithm
    horizon: int
    slices: int = 20
    jitter: float = 0.3
    bend: float = 0.0
    share_ppm: int = 100_000
    visible: int = 0


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """One parent order.

    Attributes:
        parent_id: never used twice; with `seed` it decides the random part of the plan.
        lots: to be done in all, > 0. held: signed lots held when it began.
        smallest: lots of the smallest child; a parent that is smaller is one child.
        start: ns UTC, when it began. bid, ask: ticks of the touch then: the arrival price.
        decided: ns UTC of the decision it comes from. decided_bid, decided_ask: ticks then.
        weights: of the slices over time, empty where all are equal.
    """

    parent_id: str
    instrument: str
    side: Side
    lots: int
    held: int
    pace: Pace
    seed: int
    start: int
    bid: int
    ask: int
    decided: int
    strategy: str = ""
    smallest: int = 1
    weights: tuple[float, ...] = ()
