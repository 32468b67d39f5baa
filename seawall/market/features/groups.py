"""Features beside the rows of the consensus: those of each asset's first book, and just those that
were asked for."""

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.consensus import column_of, joined
from seawall.core.errors import SettingError
from seawall.core.instruments import Catalog
from seawall.market.features import flow_kernels, tape_kernels
from seawall.market.features.features import Features, MicroPrices, matrix
from seawall.market.features.table import COLUMNS
from seawall.market.market import MarketShape

FITTED = ("micro_price", "micro_price_deviation")


class GroupFeatures:
    """Goes along with perception and puts columns on its rows.

    An asset may be told by several books; the features are of the first in the catalog. They are
    that one source's word, which the consensus does not vouch for.

    Args:
        shape: the market's. groups: consensus groups in the order of the rows.
        names: of COLUMNS. micro_prices: book → fit, as in Features. room: frames of the buffer.

    Raises:
        SettingError: there is no such feature, or no fit of the micro-price where it is wanted.
    """

    def __init__(
        self,
        catalog: Catalog,
        shape: MarketShape,
        groups: Sequence[str],
        names: Sequence[str],
        micro_prices: MicroPrices,
        room: int,
    ) -> None:
        for name in names:
            if name not in COLUMNS:
                near = difflib.get_close_matches(name, COLUMNS, 1, 0.0)
                raise SettingError(
                    f"there is no feature {name!r}; do you mean {near[0]!r}? See docs/features.md"
                )
        self.names = tuple(names)
        of = [catalog.instrument_of(book).consensus_group for book in range(len(catalog.books))]
        self._groups = np.full(len(of), -1, np.int64)
        for at, group in enumerate(groups):
            book = of.index(group)
            self._groups[book] = at
            if set(names) & set(FITTED) and book not in micro_prices:
                raise SettingError(
                    f"the micro-price of {catalog.instrument_of(book).name} is wanted and has not "
                    "been fitted; fit it on an earlier tape with `seawall calibrate micro-price "
                    "TAPE --out FILE` and give that file with --config"
                )
        self._count = len(groups)
        self._features = Features(catalog, shape, micro_prices)
        self._samples = self._features.new_samples(room)

    def perceive(self, given: tuple[Any, ...]) -> tuple[int, int]:
        """`node.kernels.perceive` with these arguments, and the flows along with it."""
        run: Any = tape_kernels.run
        at, count = run(*given, self._features.flows, self._samples)
        return int(at), int(count)

    def close(self, frames: NDArray[Any], count: int) -> None:
        """The frames that closed without a row, at the end of the tape."""
        flow_kernels.take_all(self._features.flows, frames, 0, count, self._samples)

    def beside(self, frames: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
        """The rows of these frames (whole boundaries) with the columns behind them."""
        made = joined(rows, self.names)
        found = matrix(self._features.observe(frames, self._samples[: len(frames)]))
        boundary = np.cumsum(np.diff(frames["ts"], prepend=frames["ts"][0]) > 0)
        group = self._groups[frames["book"]]
        first = group >= 0
        at = boundary[first] * self._count + group[first]
        for name in self.names:
            made[column_of(name)][at] = found[first, COLUMNS.index(name)]
        return made
