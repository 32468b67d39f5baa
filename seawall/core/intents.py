"""What a strategy wants, and what risk allows of it. Only what is approved can become an order."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from seawall.core.parents import Pace


class Urgency(StrEnum):
    """How an intent may be filled."""

    PASSIVE = "passive"  # rest at the touch
    NORMAL = "normal"  # limit through the touch, immediate or cancel
    URGENT = "urgent"  # market


class Intent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What all intents share.

    Attributes:
        strategy: whose sub-ledger the fills belong to.
        ts: ns UTC, when it was decided; `tape` is the tape position known at that moment.
        expiry: ns UTC after which it is void.
        rationale: a short reason for people.
        pace: how it is to be worked where it is not URGENT; None: as the settings say.
    """

    strategy: str
    ts: int
    tape: int
    expiry: int
    urgency: Urgency = Urgency.NORMAL
    rationale: str = ""
    pace: Pace | None = None


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """How a position is left where it goes wrong, or well enough.

    Attributes:
        stop: distance from the average entry at which it is left at the market, a share of it.
        take_profit: the same on the other side, by a limit order; 0: none.
        trailing: the stop follows the best price seen since the position was opened.
    """

    stop: float
    take_profit: float = 0.0
    trailing: bool = False


class Target(Intent, frozen=True, kw_only=True, tag="target"):
    """Hold this exposure: signed notional in the numeraire, positive is long.

    Attributes:
        protection: of what comes to be held; None leaves it bare.
    """

    instrument: str
    exposure: float
    protection: Protection | None = None


class Level(msgspec.Struct, frozen=True):
    """One rung of a quoting ladder: price in ticks, size in lots."""

    price: int
    size: int


def within(levels: Sequence[Level], room: int) -> tuple[Level, ...]:
    """The first levels, as far as there is room for their lots.

    Example:
        >>> [level.size for level in within([Level(9, 5), Level(8, 5), Level(7, 5)], 7)]
        [5, 2]
    """
    found: list[Level] = []
    for level in levels:
        size = min(level.size, room)
        if size > 0:
            found.append(Level(level.price, size))
            room -= size
    return tuple(found)


class Quotes(Intent, frozen=True, kw_only=True, tag="quotes"):
    """Keep these resting orders on both sides."""

    instrument: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Leg(msgspec.Struct, frozen=True):
    """One instrument of a basket, signed lots."""

    instrument: str
    lots: int


class Basket(Intent, frozen=True, kw_only=True, tag="basket"):
    """Trade all legs or none; `hedged` accepts a partial fill if the rest is hedged."""

    legs: tuple[Leg, ...]
    hedged: bool = False


class Close(Intent, frozen=True, kw_only=True, tag="close"):
    """Go flat in an instrument; always reduces risk."""

    instrument: str


AnyIntent = Target | Quotes | Basket | Close


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """An intent that passed risk. Made in `risk` only; execution takes nothing else.

    Attributes:
        position: signed lots to hold when done.
        reduce_only: no order under it may increase the position.
        capped_by: the cap that made it smaller than asked, empty if none.
        protection: the intent's, its stop as wide as the market's volatility wants it.
    """

    intent: AnyIntent
    instrument: str
    position: int
    reduce_only: bool = False
    capped_by: str = ""
    protection: Protection | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """An intent that risk turned down, and why."""

    intent: AnyIntent
    reason: str
