"""Perception as one fold: rows of the tape in, frames out, the same bits however it is fed."""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.admission import Admission, AdmissionShape
from seawall.analysis import Volatility, VolatilityShape
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.estimation import Moments, MomentsShape
from seawall.gating import Gate, standard_gates
from seawall.market import Market, MarketShape, closing
from seawall.node import kernels

FRAMES = 8192  # frames handed on at a time


class PerceptionShape(msgspec.Struct, frozen=True, kw_only=True):
    """The shapes of perception's stages."""

    admission: AdmissionShape = AdmissionShape()
    market: MarketShape = MarketShape()
    moments: MomentsShape = MomentsShape()
    volatility: VolatilityShape = VolatilityShape()


class Perception:
    """admission → market → estimation → gating → analysis over one catalog."""

    def __init__(self, catalog: Catalog, shape: PerceptionShape, numeraire: str) -> None:
        books = len(catalog.books)
        market_shape = shape.market.fitted(catalog)
        self.catalog = catalog
        self.cadence_ns = market_shape.cadence_ns
        self.admission = Admission(catalog, shape.admission)
        self.market = Market(catalog, market_shape, numeraire)
        self.moments = Moments(books, shape.moments, self.cadence_ns)
        self.volatility = Volatility(books, shape.volatility, self.cadence_ns)
        self.gates: list[Gate] = standard_gates()
        self._room = self.market.most_frames_per_row
        self._buffer = self.market.new_frames(FRAMES + self._room)
        admitting, market = self.admission.state, self.market.state
        self._hot = (
            admitting.book_of,
            admitting.verdict,
            admitting.limits,
            admitting.sources,
            admitting.books,
            market.ladders,
            market.clock,
            market.books,
        )
        self._hash = hashlib.sha256()

    @property
    def rows(self) -> int:
        """Rows of the tape seen."""
        return int(self.market.state.clock["tape"][0])

    @property
    def last_ts(self) -> int:
        """Receive time of the last row, ns UTC."""
        return int(self.market.state.clock["last"][0])

    @property
    def frames_hash(self) -> str:
        """SHA-256 over all frames so far."""
        return self._hash.hexdigest()

    def observe(self, rows: Raw) -> Iterator[NDArray[Any]]:
        """Take in rows; yields blocks of finished frames (dtype FRAME) in order."""
        reasons = np.zeros(len(rows), np.uint8)
        at = 0
        while at < len(rows):
            at, count = kernels.perceive(
                self.admission.state,
                self.market.state,
                rows,
                at,
                reasons,
                self._buffer,
                self._room,
                *self._hot,
            )
            if count:
                yield self._finish(count)
        self.admission.admitted(rows, reasons)

    def flush(self) -> Iterator[NDArray[Any]]:
        """The tape has ended: the frame that ends exactly with it."""
        count = closing.flush(self.market.state, self._buffer, 0)
        if count:
            yield self._finish(count)

    def _finish(self, count: int) -> NDArray[Any]:
        frames = self._buffer[:count].copy()
        self._buffer[:count] = 0
        self.moments.observe(frames)
        for gate in self.gates:
            gate.judge(frames, self.admission.state.verdict)
        self.volatility.observe(frames)
        self._hash.update(frames.tobytes())
        return frames
