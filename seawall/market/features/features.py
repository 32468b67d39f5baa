"""The features of each book, frame by frame, and their carry."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError
from seawall.core.instruments import Catalog
from seawall.market.features import feature_kernels, flow_kernels
from seawall.market.features.table import COLUMNS, FEATURES
from seawall.market.features.vpin_kernels import VPIN
from seawall.market.market import MarketShape

MICRO_PRICE = (feature_kernels.SPREADS, feature_kernels.BUCKETS)
MicroPrices = Mapping[int, NDArray[np.float64]]


class Features:
    """The features of all books of a catalog; causal, block-wise, with its carry in arrays.

    Two steps: `flows` go along with the books row by row (`flow_kernels.step` after each row that
    the market has applied, `flow_kernels.take_all` when frames have closed), and `observe` turns
    frames and the samples taken with them into features. `FeatureReader` shows both.

    Args:
        shape: as the market's.
        micro_prices: book → adjustment of the mid, (spread classes, imbalance buckets), as
            `fit_micro_price` gives it; the micro-price of other books is NaN.

    Attributes:
        flows: (books,) FLOW.
        states: (books,) STATE.
        vpins: (books,) VPIN.
    """

    def __init__(
        self, catalog: Catalog, shape: MarketShape, micro_prices: MicroPrices | None = None
    ) -> None:
        count = len(catalog.books)
        instruments = [catalog.instrument_of(book) for book in range(count)]
        self.flows = np.zeros(count, flow_kernels.FLOW)
        self.states = np.zeros(count, feature_kernels.STATE)
        self.vpins = np.zeros(count, VPIN)
        self.states["tick"] = [i.tick_float for i in instruments]
        self.states["lot"] = [i.lot_float for i in instruments]
        self.states["seconds"] = shape.fitted(catalog).cadence_ns * 1e-9
        self.states["adjustment"] = np.nan
        for book, table in (micro_prices or {}).items():
            if not 0 <= book < count or table.shape != MICRO_PRICE:
                raise DataError(
                    f"micro-price of book {book}, a table of {table.shape}: give one of "
                    f"{MICRO_PRICE} for a book from 0 to {count - 1}, as fit_micro_price does"
                )
            self.states["adjustment"][book] = table
        for book in range(count):
            flow_kernels.begin(self.flows[book])
            feature_kernels.begin(self.states[book], self.vpins[book])

    @staticmethod
    def new_samples(count: int) -> NDArray[Any]:
        """Room for the samples of as many frames; zeros."""
        return np.zeros(count, flow_kernels.SAMPLE)

    def observe(self, frames: NDArray[Any], samples: NDArray[Any]) -> NDArray[Any]:
        """FEATURES of frames in order, (n,); a feature that is not known yet is NaN.

        Args:
            frames: (n,) FRAME.
            samples: (n,) SAMPLE, taken when they closed.
        """
        out = np.zeros(len(frames), FEATURES)
        matrix(out)[:] = np.nan
        feature_kernels.run(self.states, self.vpins, frames, samples, out)
        return out


def matrix(features: NDArray[Any]) -> NDArray[np.float64]:
    """Features (n,) as plain numbers, (n, len(COLUMNS)): the same memory, columns by COLUMNS."""
    return features.view(np.float64).reshape(len(features), len(COLUMNS))
