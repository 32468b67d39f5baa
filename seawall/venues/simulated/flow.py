"""What the exchange knows of the tape beside its books: how late it comes, and how much is traded.

It is looked at row by row with the market, so a delay or a volume is never one of later rows.
"""

from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.events import Side
from seawall.core.instruments import Catalog
from seawall.core.money import PPM
from seawall.venues.simulated import flow_kernels
from seawall.venues.simulated.shape import VenueShape

LONGEST = 60 * SECOND  # a delay that is longer is no network's
SPANS = flow_kernels.BUCKETS - 3  # of a window


class Flow:
    """Delays of the feed, volume of the market, and what our own orders took of late.

    Attributes:
        moves: our own orders move what we take next.
    """

    def __init__(self, catalog: Catalog, shape: VenueShape, book_of: NDArray[np.int64]) -> None:
        self._shape = shape
        self.moves = shape.impact != "none"
        self._on = shape.feed_latency or self.moves
        self._book_of = book_of
        self._source = [0] * len(catalog.instruments)
        for book in catalog.primary.values():
            instrument, source = catalog.books[book]
            self._source[instrument] = source
        self._delays = np.zeros(book_of.shape[1], flow_kernels.DELAY)
        self._delays["least"] = flow_kernels.UNSEEN
        self._traded = np.zeros(book_of.shape[0], flow_kernels.TRADED)
        self._traded["bucket"] = -1
        self._width = max(1, shape.impact_window_ns // SPANS)
        self._took: dict[int, list[tuple[int, int]]] = {}  # instrument → (ns UTC, signed lots)
        self._rows: NDArray[Any] = np.zeros(0)
        self._at = 0

    def begin(self, rows: NDArray[Any]) -> None:
        """A block of the tape comes."""
        self._rows, self._at = rows, 0

    def advance(self, at: int) -> None:
        """The market has gone through the rows before `at`."""
        if self._on and at > self._at:
            part = self._rows[self._at : at]
            flow_kernels.run(self._delays, self._traded, self._book_of, self._width, part)
            self._at = at

    def delay(self, index: int) -> int:
        """Ns by which the last row of an instrument's source came later than its fastest."""
        if not self._shape.feed_latency or index < 0:
            return 0
        least, last = self._delays[self._source[index]].item()
        return min(LONGEST, last - least) if least != flow_kernels.UNSEEN else 0

    def took(self, index: int, side: Side, lots: int, ts: int) -> None:
        """An order of ours took lots out of a book."""
        if self.moves:
            self._took.setdefault(index, []).append((ts, side.sign * lots))

    def shift(self, index: int, side: Side, price: int, ts: int) -> int:
        """Ticks by which what we took before moves the market against an order that takes now.

        The move grows with our net taking over the window as a share of all that was traded in
        it: linear (A. Kyle, 1985) or with its square root (B. Tóth et al., 2011), and reaches
        `impact_ppm` of the price where the two are equal. It is never in our favour, and is
        forgotten with the window.
        """
        shape = self._shape
        if not self.moves or price <= 0:
            return 0
        taken = self._took.get(index, [])
        recent = self._took[index] = [t for t in taken if t[0] > ts - shape.impact_window_ns]
        net = side.sign * sum(lots for _, lots in recent)
        if net <= 0:
            return 0
        first = (ts - shape.impact_window_ns) // self._width
        volume = int(flow_kernels.since(self._traded[index], first))
        share = min(PPM, net * PPM // volume) if volume else PPM
        if shape.impact == "square_root":
            share = isqrt(share * PPM)
        return -(-price * shape.impact_ppm * share // (PPM * PPM))
