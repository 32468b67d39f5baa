"""Perception as one fold: rows of the tape in, frames out, the same bits however it is fed."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.admission import Admission, AdmissionShape
from seawall.analysis import Volatility, VolatilityShape
from seawall.core.clock import HOUR, MINUTE
from seawall.core.consensus import CONSENSUS
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.estimation import Moments, MomentsShape
from seawall.gating import Gating, GatingShape
from seawall.gating.reference import Reference
from seawall.market import Consensus, Market, MarketShape, closing
from seawall.node import kernels

if TYPE_CHECKING:
    from seawall.market.features.features import MicroPrices
    from seawall.market.features.groups import GroupFeatures

FRAMES = 8192  # frames handed on at a time
LEAST = 1024  # and at least so many before a buffer is given up
DAY = 24 * HOUR


class PerceptionShape(msgspec.Struct, frozen=True, kw_only=True):
    """The shapes of perception's stages."""

    admission: AdmissionShape = AdmissionShape()
    market: MarketShape = MarketShape()
    moments: MomentsShape = MomentsShape()
    gating: GatingShape = GatingShape()
    volatility: VolatilityShape = VolatilityShape()


class Perceived(NamedTuple):
    """Whole boundaries: frames (FRAME, by book) and rows (CONSENSUS, by group), both in order.

    wide: the rows with the features that somebody has asked for (core.consensus.with_features).
    """

    frames: NDArray[Any]
    rows: NDArray[Any]
    wide: NDArray[Any] | None = None

    @property
    def told(self) -> NDArray[Any]:
        """What strategies and agents are shown."""
        return self.rows if self.wide is None else self.wide


class FramesHash:
    """What has been perceived in one number, however it came in blocks."""

    def __init__(self) -> None:
        self._frames, self._rows = hashlib.sha256(), hashlib.sha256()

    def add(self, frames: NDArray[Any], rows: NDArray[Any]) -> None:
        """Frames and rows behind those so far; contiguous."""
        self._frames.update(frames.view(np.uint8).data)
        self._rows.update(rows.view(np.uint8).data)

    def digits(self) -> str:
        """SHA-256 over the SHA-256 of all frames and that of all rows, as hexadecimal digits."""
        return hashlib.sha256(self._frames.digest() + self._rows.digest()).hexdigest()


def _columns(
    catalog: Catalog,
    shape: MarketShape,
    groups: Sequence[str],
    features: Sequence[str],
    micro_prices: "MicroPrices | None",
    room: int,
) -> "GroupFeatures":
    """What computes the features; its kernels take a while to load, so only where it is wanted."""
    from seawall.market.features.groups import GroupFeatures

    return GroupFeatures(catalog, shape, groups, features, micro_prices or {}, room)


class Perception:
    """admission → market → estimation → gating → analysis over one catalog.

    Args:
        trusted: group → golden reference; seed: of the gates' bootstrap.
        features: names of COLUMNS that are wanted on the rows; without any nothing is computed.
        micro_prices: book → fit of the micro-price, needed where it is wanted.

    Attributes:
        hash: of all that it has told; None where another keeps one, to hash it all once only.

    Raises:
        SettingError: there is no such feature, or no fit for one that needs it.
    """

    def __init__(
        self,
        catalog: Catalog,
        shape: PerceptionShape,
        numeraire: str,
        trusted: Mapping[str, Reference] | None = None,
        seed: int = 0,
        features: Sequence[str] = (),
        micro_prices: "MicroPrices | None" = None,
    ) -> None:
        market_shape = shape.market.fitted(catalog)
        self.catalog = catalog
        self.cadence_ns = market_shape.cadence_ns
        self.admission = Admission(catalog, shape.admission)
        self.market = Market(catalog, market_shape, numeraire)
        groups = self.market.groups
        faulty = shape.gating.group.rule.faulty
        self.consensus = Consensus(catalog, groups, self.cadence_ns, faulty)
        self.moments = Moments(len(groups), shape.moments, self.cadence_ns)
        self.gating = Gating(
            groups,
            self.consensus.sources,
            self.consensus.member,
            shape.gating,
            self.cadence_ns,
            trusted or {},
            seed,
        )
        if self.cadence_ns >= MINUTE and not any(g.comparable for g in self.gating.groups):
            self.market.state.clock["review"] = DAY  # bars of one source: nothing to review
        self.volatility = Volatility(len(groups), shape.volatility, self.cadence_ns)
        self._room = self.market.most_frames_per_row
        self._buffer, self._used = self.market.new_frames(FRAMES + self._room), 0
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
        self._group = self.consensus.state.group
        self._source = [catalog.sources[s].name for _, s in catalog.books]
        self._silence = Perceived(self.market.new_frames(0), np.zeros(0, CONSENSUS))
        self.hash: FramesHash | None = FramesHash()
        self._columns = (
            _columns(catalog, market_shape, groups, features, micro_prices, len(self._buffer))
            if features
            else None
        )
        self.tell()

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
        """Digits of `hash`."""
        assert self.hash is not None  # whoever took it away keeps its own
        return self.hash.digits()

    @property
    def passed(self) -> int:
        """The last boundary that has closed, ns UTC, with frames or without."""
        return int(self.market.state.clock["boundary"][0]) - self.cadence_ns

    def observe(self, rows: Raw) -> Iterator[Perceived]:
        """Take in rows of the tape; yields blocks of whole boundaries in order."""
        return (seen for seen in self.spans(rows) if len(seen.frames))

    def spans(self, rows: Raw) -> Iterator[Perceived]:
        """The same; where silence comes before a review, also a block of no boundary before it."""
        reasons = np.zeros(len(rows), np.uint8)
        clock = self.market.state.clock
        at = 0
        while at < len(rows):
            review = int(clock["review_end"][0])
            given = (
                self.admission.state,
                self.market.state,
                rows,
                at,
                reasons,
                self._free(),
                self._room,
                *self._hot,
            )
            if self._columns is None:
                at, count = kernels.perceive(*given)
            else:
                at, count = self._columns.perceive(given)
            if count:
                yield self._finish(count)
            if review and int(clock["review_end"][0]) != review:
                if not count:
                    yield self._silence
                self.review(int(clock["boundary"][0]) - self.cadence_ns)
        self.admission.admitted(rows, reasons)

    def review(self, now: int) -> None:
        """The end of a review period at `now` (ns UTC): the gates speak."""
        self.gating.review(now)
        self.tell()

    def flush(self) -> Iterator[Perceived]:
        """The tape has ended: the frame that ends exactly with it."""
        free = self._free()
        count = closing.flush(self.market.state, free, 0)
        if self._columns is not None:
            self._columns.close(free, count)
        if count:
            yield self._finish(count)

    def tell(self) -> None:
        """What the gates hold of the sources goes into the verdict and to the books."""
        verdict, books = self.admission.state.verdict, self.market.state.books
        for book, name in enumerate(self._source):
            verdict["trust"][book], verdict["banned"][book] = self.gating.admits(name)
            books["member"][book] = self.gating.votes(name)

    def _finish(self, count: int) -> Perceived:
        frames = self._buffer[self._used : self._used + count]
        self._used += count
        rows, panel = self.consensus.observe(frames)
        self.moments.observe(rows)
        self.gating.observe(rows, panel)
        self.volatility.observe(rows)
        kernels.share(frames, rows, self._group, len(self.market.groups))
        if self.hash is not None:
            self.hash.add(frames, rows)
        if self._columns is None:
            return Perceived(frames, rows)
        return Perceived(frames, rows, self._columns.beside(frames, rows))

    def _free(self) -> NDArray[Any]:
        """Room for frames, zeros: what is left of the buffer, or a new one.

        Pieces of it are given away as they are written, which saves copying and clearing it.
        """
        if len(self._buffer) - self._used < self._room + LEAST:
            self._buffer, self._used = self.market.new_frames(len(self._buffer)), 0
        return self._buffer[self._used :]


def edges_of(seen: Perceived) -> NDArray[np.int64]:
    """(boundaries + 1,) where the frames of each boundary of a block begin, and their end."""
    times = seen.frames["ts"]
    if times[0] == times[-1]:  # as live: one boundary at a time
        return np.array([0, len(times)], np.int64)
    inner = np.flatnonzero(np.diff(times)) + 1
    return np.concatenate([[0], inner, [len(times)]]).astype(np.int64)


def boundary_of(seen: Perceived, edges: NDArray[np.int64], at: int) -> tuple[Perceived, slice]:
    """One boundary of a block, and where its rows stand among all."""
    groups = len(seen.rows) // (len(edges) - 1)
    part = slice(at * groups, (at + 1) * groups)
    return Perceived(seen.frames[edges[at] : edges[at + 1]], seen.rows[part]), part


def boundaries(seen: Perceived) -> Iterator[tuple[Perceived, slice]]:
    """The boundaries of a block one by one, and where each one's rows stand among all."""
    edges = edges_of(seen)
    for at in range(len(edges) - 1):
        yield boundary_of(seen, edges, at)
