"""From what a quoting strategy says to ladders of limit orders about the middle of the touch.

The quotes of Avellaneda and Stoikov (2008) and of Guéant, Lehalle and Fernandez-Tapia (2013) are
straight lines in what is held: so much away from the middle, leaning so much for each part held.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.intents import Level, Quotes

QUOTE = np.dtype(
    [
        ("half", "<f8"),  # distance of the first rung from the middle, a share of it; NaN: none
        ("skew", "<f8"),  # how far both sides go down where all of the cap is held, a share of it
        ("size", "<f8"),  # of one rung, a share of the cap in [0, 1]
    ]
)
LIFE = 60 * SECOND  # a ladder that nobody has renewed for so long is taken back


class Quoter(Protocol):
    """A strategy that quotes: it says after each row how, from this row and earlier ones only.

    Attributes:
        rungs: orders on each side. step: from one rung to the next, a share of the middle.
    """

    @property
    def name(self) -> str: ...

    @property
    def rungs(self) -> int: ...

    @property
    def step(self) -> float: ...

    def start(self) -> Any:
        """The state before the first row."""
        ...

    def quotes(self, rows: NDArray[Any], state: Any) -> NDArray[Any]:
        """(n,) QUOTE, one per CONSENSUS row. `state` is moved on in place, so that any split of the
        rows into blocks gives the same bits."""
        ...


class Held(NamedTuple):
    """What a ladder is made for.

    Attributes:
        lots: signed. most: lots of the cap. touch: best bid and ask, ticks. long_only: no ask
            without lots.
    """

    lots: int
    most: int
    touch: tuple[int, int]
    long_only: bool


def ladder(
    half: float, skew: float, size: float, held: Held, rungs: int, step: float
) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
    """Bids and asks, best first; prices are rounded away from the middle and never cross the touch.

    No rung takes the position beyond the cap.
    """
    bid, ask = held.touch
    middle = (bid + ask) / 2.0
    centre = middle * (1.0 - skew * (held.lots / held.most if held.most else 0.0))
    lots = int(size * held.most)
    sides: tuple[list[Level], list[Level]] = ([], [])
    buying = held.most - held.lots
    selling = held.lots + (0 if held.long_only else held.most)
    for rung in range(rungs if lots > 0 else 0):
        away = middle * (half + rung * step)
        low = min(math.floor(centre - away), ask - 1)
        high = max(math.ceil(centre + away), bid + 1)
        if min(lots, buying) > 0 and low > 0:
            sides[0].append(Level(low, min(lots, buying)))
            buying -= lots
        if min(lots, selling) > 0:
            sides[1].append(Level(high, min(lots, selling)))
            selling -= lots
    return tuple(sides[0]), tuple(sides[1])


class Ladders:
    """Asks for ladders, anew where the last one has become wrong.

    Args:
        strategy: the sub-ledger of what it trades. traded: instruments and their groups' places.
        patience: share of the half spread that a ladder may be off before it is asked for anew.
    """

    def __init__(
        self,
        strategy: str,
        traded: Sequence[tuple[str, int]],
        rungs: int,
        step: float,
        patience: float = 0.25,
    ) -> None:
        self.strategy = strategy
        self._traded = tuple(traded)
        self._rungs, self._step, self._patience = rungs, step, patience
        self._last: dict[str, tuple[Quotes, int]] = {}  # and the lots held then

    def again(self) -> None:
        """Whatever was asked for is asked for anew."""
        self._last.clear()

    def decide(
        self, said: NDArray[np.float64], held: Mapping[str, Held], now: int, tape: int
    ) -> list[Quotes]:
        """Ladders at one boundary.

        Args:
            said: (groups, 3) half, skew and size as in QUOTE. held: instruments that can be quoted.
        """
        found = []
        for name, place in self._traded:
            half, skew, size = said[place].tolist()
            if name not in held or not (half > 0.0 and math.isfinite(skew) and 0.0 <= size <= 1.0):
                continue
            bids, asks = ladder(half, skew, size, held[name], self._rungs, self._step)
            quotes = Quotes(
                strategy=self.strategy,
                ts=now,
                tape=tape,
                expiry=now + LIFE,
                rationale=f"half {half * 1e4:.2f} bp, lots {held[name].lots}",
                instrument=name,
                bids=bids,
                asks=asks,
            )
            if (bids or asks) and self._due(name, quotes, half, held[name], now):
                self._last[name] = quotes, held[name].lots
                found.append(quotes)
        return found

    def _due(self, name: str, quotes: Quotes, half: float, held: Held, now: int) -> bool:
        if name not in self._last:
            return True
        last, lots = self._last[name]
        if lots != held.lots or now >= last.expiry - LIFE // 2:
            return True
        off = self._patience * half * sum(held.touch) / 2.0
        for old, new in ((last.bids, quotes.bids), (last.asks, quotes.asks)):
            if len(old) != len(new):
                return True
            if any(abs(a.price - b.price) > off for a, b in zip(old, new, strict=True)):
                return True
        return False
