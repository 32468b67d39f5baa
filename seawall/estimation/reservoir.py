"""A weighted sample of a stream, with a cap per source: no source can crowd out the others.

Sampling without replacement with trust as weight: Efraimidis and Spirakis 2006 (IPL 97).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seawall.core.errors import DataError
from seawall.core.randomness import generator
from seawall.estimation import reservoir_kernels as kernels
from seawall.estimation.estimate import Array

MOST_SOURCES = 4096
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


class Reservoir:
    """At most `capacity` rows, at most `per_source_cap` of one source, the best keys of each.

    A row's key is u^(1 / trust) with u a hash of (seed, source, event number). So an event that is
    added or left out changes no other key; what is kept does not depend on the order of offers,
    nor on how they are cut into blocks; and the reservoirs of two parts of a stream merge into
    that of the whole. m sources that collude hold at most m * per_source_cap rows.

    Rows are drawn one after the other with chances as their trust: the share of a source among the
    kept ones grows with its trust, but is not proportional to it.

    Args:
        capacity: most rows kept.
        per_source_cap: most rows of one source.
        seed: the run's seed.
        jumps: skip over rows by exponential jumps (A-ExpJ) in place of a key for each. The same
            law with fewer logarithms; but then an event that is added moves the later keys of its
            own source (never those of another while no cap or capacity is reached), and what is
            kept depends on the order. For streams in one order.
    """

    def __init__(
        self, capacity: int, per_source_cap: int, seed: int, *, jumps: bool = False
    ) -> None:
        if capacity < 1 or not 1 <= per_source_cap <= capacity:
            raise DataError(
                f"a reservoir of {capacity} rows, {per_source_cap} of one source: "
                "give 1 or more, and no larger cap than the whole"
            )
        self.capacity, self.cap, self.seed, self.jumps = capacity, per_source_cap, seed, jumps
        self._key = generator(seed, "estimation.reservoir").integers(0, 1 << 64, dtype=np.uint64)
        self._state: kernels.ReservoirState | None = None

    def offer(self, source: ArrayLike, event: ArrayLike, trust: ArrayLike, row: ArrayLike) -> int:
        """Offer one row, or a block of them.

        Args:
            source: number of the source, from 0; (n,) for a block.
            event: number of the event, unique within its source; (n,). Offered again it is the
                same row and counts once.
            trust: weight, from 0 (never kept) up; (n,).
            row: (d,) values, or (n, d).

        Returns:
            How many were kept when they came.

        Raises:
            DataError: shapes do not fit, or values are out of range.
        """
        sources = np.atleast_1d(np.asarray(source, np.int64))
        events = np.atleast_1d(np.asarray(event, np.int64))
        weights = np.atleast_1d(np.asarray(trust, np.float64))
        rows = np.ascontiguousarray(np.atleast_2d(np.asarray(row, np.float64)))
        n = len(rows)
        if not sources.shape == events.shape == weights.shape == (n,):
            raise DataError(
                f"{sources.shape} sources, {events.shape} events and {weights.shape} trusts for "
                f"{n} rows: give one of each per row"
            )
        if n == 0:
            return 0
        if sources.min() < 0 or sources.max() >= MOST_SOURCES:
            raise DataError(f"a source outside 0 to {MOST_SOURCES - 1}: number them from 0")
        if not (np.isfinite(weights).all() and (weights >= 0.0).all() and np.isfinite(rows).all()):
            raise DataError("rows must be finite, and trust finite and not negative")
        state = self._ready(rows.shape[1])
        if self.jumps:
            draws = np.stack([self.uniforms(sources, events, salt) for salt in (0, 1)], axis=1)
            return int(
                kernels.offer_jumping(state, self.cap, sources, events, weights, draws, rows)
            )
        drawn = self.uniforms(sources, events)
        return int(kernels.offer(state, self.cap, sources, events, weights, drawn, rows))

    def uniforms(
        self, sources: NDArray[np.int64], events: NDArray[np.int64], salt: int = 0
    ) -> Array:
        """u in (0, 1) of each event: (n,), of nothing but seed, source, event and salt."""
        mixed = np.full(len(sources), self._key, np.uint64)
        for column in (sources, events, np.full(len(sources), salt, np.int64)):
            mixed = _mixed((mixed + _GOLDEN) ^ column.view(np.uint64))
        return (np.asarray(mixed >> np.uint64(11), np.float64) + 0.5) * 2.0**-53

    def sample(self) -> tuple[Array, NDArray[np.int64]]:
        """What is kept: rows (k, d) and their sources (k,), by source and event."""
        if self._state is None:
            return np.empty((0, 0)), np.empty(0, np.int64)
        order = self._order()
        return self._state.row[order], self._state.source[order]

    def events(self) -> NDArray[np.int64]:
        """The numbers of the events that are kept (k,), in the order of `sample`."""
        if self._state is None:
            return np.empty(0, np.int64)
        return np.asarray(self._state.event[self._order()])

    @property
    def offered(self) -> int:
        """Rows that have come by."""
        return 0 if self._state is None else int(self._state.offered[0])

    def merge(self, other: "Reservoir") -> None:
        """Take in the reservoir of another part of the stream; the result is that of both parts.

        Raises:
            DataError: the other has another seed, size, cap, or other columns.
        """
        mine = (self.capacity, self.cap, self.seed)
        if mine != (other.capacity, other.cap, other.seed) or self.jumps or other.jumps:
            raise DataError(
                "reservoirs merge only with equal capacity, cap and seed, and without jumps"
            )
        if other._state is None:
            return
        theirs, state = other._state, self._ready(other._state.row.shape[1])
        for i in other._order():
            kernels.keep(
                state,
                self.cap,
                theirs.source[i],
                theirs.event[i],
                theirs.trust[i],
                theirs.key[i],
                theirs.row[i],
            )
        state.offered[0] += theirs.offered[0]

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of the arrays that `restore` takes; empty before the first row."""
        if self._state is None:
            return {}
        return {name: value.copy() for name, value in self._state._asdict().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state` of a reservoir with the same arguments."""
        if not state:
            self._state = None
            return
        kept = kernels.ReservoirState(**{name: value.copy() for name, value in state.items()})
        if len(kept.key) != self.capacity:
            raise DataError(
                f"a saved reservoir of {len(kept.key)} rows for one of {self.capacity}: "
                "restore it with the settings that it was saved under"
            )
        self._state = kept

    def _order(self) -> NDArray[np.int64]:
        assert self._state is not None
        size = int(self._state.size[0])
        return np.lexsort((self._state.event[:size], self._state.source[:size]))

    def _ready(self, d: int) -> kernels.ReservoirState:
        if self._state is None:
            k = self.capacity
            self._state = kernels.ReservoirState(
                key=np.full(k, -np.inf),
                source=np.zeros(k, np.int64),
                event=np.zeros(k, np.int64),
                trust=np.zeros(k),
                row=np.zeros((k, d)),
                held=np.zeros(MOST_SOURCES, np.int64),
                least=np.full(MOST_SOURCES, -1, np.int64),
                size=np.zeros(1, np.int64),
                worst=np.full(1, -1, np.int64),
                offered=np.zeros(1, np.int64),
                left=np.zeros(MOST_SOURCES),
                floor=np.full(MOST_SOURCES, -np.inf),
            )
        if self._state.row.shape[1] != d:
            raise DataError(
                f"rows of {d} columns for a reservoir of {self._state.row.shape[1]}: keep to one"
            )
        return self._state


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014, figure 16)."""
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))
