"""Frames and features of a recorded tape, in one call or block by block."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.admission import Admission, AdmissionShape
from seawall.core.events import Raw
from seawall.core.frames import FRAME
from seawall.core.instruments import Catalog
from seawall.market import closing
from seawall.market.features import flow_kernels, tape_kernels
from seawall.market.features.features import Features, MicroPrices
from seawall.market.features.table import FEATURES
from seawall.market.market import Market, MarketShape

BUFFER = 8192  # frames handed on at a time


class Sampled(NamedTuple):
    """Frames (FRAME, (n,)) and their samples (SAMPLE, (n,)), row by row."""

    frames: NDArray[Any]
    samples: NDArray[Any]


class Featured(NamedTuple):
    """Frames (FRAME, (n,)) and their features (FEATURES, (n,)), row by row."""

    frames: NDArray[Any]
    features: NDArray[Any]


def features_of(
    catalog: Catalog,
    blocks: Iterable[Raw],
    shape: MarketShape | None = None,
    micro_prices: MicroPrices | None = None,
) -> Featured:
    """Frames and features of a recorded tape, by the kernels that serve a live one.

    Rows pass admission with its default limits; nobody is banned, as the gates are not asked.

    Args:
        catalog: the tape's.
        blocks: its rows in order, in pieces of any size (``tape.blocks()``).
        shape: as the market's; one frame a second by default.
        micro_prices: as in Features; fit them on an earlier tape.
    """
    reader = FeatureReader(catalog, shape, micro_prices)
    found = [one for block in blocks for one in reader.observe(block)]
    found += reader.flush()
    return Featured(
        np.concatenate([np.zeros(0, FRAME), *(one.frames for one in found)]),
        np.concatenate([np.zeros(0, FEATURES), *(one.features for one in found)]),
    )


class FeatureReader:
    """Admission, market and features over a tape that comes in blocks of any size.

    Args: as of `features_of`.

    Attributes:
        market: the books.
        features: what goes along with them.
    """

    def __init__(
        self,
        catalog: Catalog,
        shape: MarketShape | None = None,
        micro_prices: MicroPrices | None = None,
    ) -> None:
        fitted = (shape or MarketShape()).fitted(catalog)
        self.market = Market(catalog, fitted, catalog.numeraire("auto"))
        self.features = Features(catalog, fitted, micro_prices)
        self._admission = Admission(catalog, AdmissionShape())
        self._room = self.market.most_frames_per_row
        self._frames = self.market.new_frames(BUFFER + self._room)
        self._samples = self.features.new_samples(len(self._frames))

    def observe(self, rows: Raw) -> list[Featured]:
        """The frames that these rows close, and their features."""
        return [self._featured(*one) for one in self.read(rows)]

    def flush(self) -> list[Featured]:
        """The tape has ended: the frames that end exactly with it."""
        count = closing.flush(self.market.state, self._frames, 0)
        flow_kernels.take_all(self.features.flows, self._frames, 0, count, self._samples)
        return [self._featured(*self._taken(count))]

    def read(self, rows: Raw) -> Iterator[Sampled]:
        """The frames that these rows close with their samples, for `features.observe`."""
        admitting, market = self._admission.state, self.market.state
        reasons = np.zeros(len(rows), np.uint8)
        at = 0
        while at < len(rows):
            at, count = tape_kernels.run(
                admitting,
                market,
                rows,
                at,
                reasons,
                self._frames,
                self._room,
                admitting.book_of,
                admitting.verdict,
                admitting.limits,
                admitting.sources,
                admitting.books,
                market.ladders,
                market.clock,
                market.books,
                self.features.flows,
                self._samples,
            )
            yield self._taken(count)

    def _taken(self, count: int) -> Sampled:
        taken = Sampled(self._frames[:count].copy(), self._samples[:count].copy())
        self._frames[:count] = 0
        return taken

    def _featured(self, frames: NDArray[Any], samples: NDArray[Any]) -> Featured:
        return Featured(frames, self.features.observe(frames, samples))
