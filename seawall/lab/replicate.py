"""Replication: one recorded market told again by several sources, each with its own imperfections.

A source delays its messages, skips some, keeps a slow offset from the recorded price and adds noise
to each message; its book is made anew, so that what it sends holds together. The same bytes for the
same seed, however the tape is cut into blocks.

How unlike are real venues? Fitted on minute closes of BTC that several sources have, pair by pair:
d is the difference of a pair's log-returns, r their mean; a scale is 1.4826 MAD. The residual of
one source is scale(d) / √2, tau the same over scale(r); the autocorrelation is d's at lag 1, cut at
5 scales; kept is what a frame leaves of the slow part: (autocorrelation of the level difference at
lag 10 over that at lag 1) ^ 1/9; still is the share of frames in which a source does not move
though the other does. Medians over pairs:

    set (files of cross_exchange)                 pairs  residual   tau  autocorr.  kept  still
    2022-12-13, lean_*: Bybit spot, linear,          10   1.09 bps  0.48    -0.40  0.986   0.12
      inverse, Binance BTCBUSD and COIN-M
    2023-03, Binance.US USD, USDT, USDC, Kraken       6   4.12 bps  0.91    -0.30  0.999   0.05
    2017, Coinbase, Bitfinex                          1   7.76 bps  1.12    -0.11  0.996   0.15
    15 min: Binance and OKX perpetuals of ohlcv       1   0.81 bps  0.05    -0.40  0.993   0.00

The first set, five live sources in a quiet market, gives the defaults; the white share is -2 x the
autocorrelation. Its tau holds for books each second too (0.47 to 0.56 on 2024-08-08 between Binance
spot, USD-M and COIN-M). Minute bars tell nothing of delays: those are as in the simulated market.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.errors import DataError, SettingError
from seawall.core.events import Raw, empty, ordered
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.order_book import new_ladders
from seawall.core.randomness import generator
from seawall.lab import replicate_kernels as kernels

TAU = 0.485
WHITE = 0.80
PERSISTENCE = 0.986
THIN = 0.12
LATENCY_SPREAD = 0.35  # standard deviation of the logarithm of a latency, as in simulated markets
MOST_SOURCES = 64
LEAST_RETURNS = 10  # frames with a return, to measure their scale
MOST_SAMPLES = 1 << 20  # mids per instrument that the scale is measured on; later ones are left out
BLOCK_ROWS = 1 << 16  # of the recorded tape, at a time
BATCH = 1024  # messages whose randomness is drawn at once
ROOM = 1 << 16  # rows


class ReplicaShape(msgspec.Struct, frozen=True, kw_only=True):
    """How the copies differ from the record and from each other.

    Attributes:
        sources: how many, named r1, r2 and so on.
        tau: scale of a source's residual return per frame (a bar; of books, a second), as a
            fraction of the scale of the market's own return. Delays and thinning add to it.
        white: share of that residual's variance that is each message's own noise; the rest is the
            movement of the slow offset.
        persistence: what is left of the slow offset after a frame.
        thin: chance that a source skips a message. Bars are never skipped.
        latency_ms: median delay of the first and of the last source, the others in geometric steps
            between. Bars come at their close.
        latency_spread: standard deviation of the logarithm of a delay.
    """

    sources: int = 5
    tau: float = TAU
    white: float = WHITE
    persistence: float = PERSISTENCE
    thin: float = THIN
    latency_ms: tuple[float, float] = (5.0, 60.0)
    latency_spread: float = LATENCY_SPREAD

    def check(self) -> "ReplicaShape":
        """Self, or SettingError."""
        limits: tuple[tuple[str, float, float, float], ...] = (
            ("--sources", self.sources, 1, MOST_SOURCES),
            ("--tau", self.tau, 0.0, 100.0),
            ("white", self.white, 0.0, 1.0),
            ("persistence", self.persistence, 0.0, 0.999999),
            ("--thin", self.thin, 0.0, 0.99),
            ("--latency-ms", min(self.latency_ms), 0.001, 60_000.0),
            ("--latency-ms", max(self.latency_ms), 0.001, 60_000.0),
            ("latency_spread", self.latency_spread, 0.0, 3.0),
        )
        for name, value, least, most in limits:
            if not least <= value <= most:
                raise SettingError(f"{name} is {value:g}; give a number from {least:g} to {most:g}")
        return self

    def latencies(self) -> NDArray[np.float64]:
        """Median delay of each source, (sources,) ns."""
        first, last = self.latency_ms
        return np.geomspace(first, last, self.sources) * MILLISECOND


def parse_latencies(text: str) -> tuple[float, float]:
    """``5,60`` or ``20`` → median delays of the first and of the last source, ms.

    Raises:
        SettingError: not one or two numbers.
    """
    try:
        values = [float(part) for part in text.split(",")]
        if len(values) > 2:
            raise ValueError
    except ValueError:
        raise SettingError(
            f"--latency-ms {text!r} is not FIRST,LAST; give milliseconds such as 5,60"
        ) from None
    return values[0], values[-1]


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded instrument that is told again.

    Attributes:
        instrument, source: where it stands in its catalog.
        name: of the instrument.
        frame: ns; the span of its bars, else a second.
        scale: of the log-return of its mid per frame (1.4826 MAD; where that is 0, 1.2533 times the
            mean absolute deviation).
        by_depth: it has an order book; its own best bid and ask are then not told again.
    """

    instrument: int
    source: int
    name: str
    frame: int
    scale: float
    by_depth: bool


def survey(
    catalog: Catalog, blocks: Iterable[Raw], names: Sequence[str] = ()
) -> tuple[Original, ...]:
    """What there is to be told again, and how much it moves: one pass over the tape.

    Args:
        names: the instruments wanted; empty: all.

    Raises:
        DataError: an unknown instrument; two of one consensus group, whose copies would not be
            independent; or one with too few prices to measure its returns.
    """
    chosen = _chosen(catalog, names)
    books = np.zeros(len(chosen), kernels.BOOK)
    books["frame"] = [catalog.sources[s].bar_span or SECOND for _, s in chosen]
    ladders = new_ladders(len(chosen))
    book_of = _book_of(catalog, chosen)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in chosen]
    counts = [0] * len(chosen)
    for block in blocks:
        samples = np.empty((len(block), 3), np.int64)
        samples = samples[: kernels.survey(ladders, books, book_of, block, samples)]
        for at, held in enumerate(parts):
            own = samples[samples[:, 0] == at][: MOST_SAMPLES - counts[at], 1:]
            counts[at] += len(own)
            held.append(own)
    return tuple(
        Original(
            instrument=i,
            source=s,
            name=catalog.instruments[i].name,
            frame=int(books["frame"][at]),
            scale=_return_scale(catalog.instruments[i].name, parts[at]),
            by_depth=bool(books["by_depth"][at]),
        )
        for at, (i, s) in enumerate(chosen)
    )


def _chosen(catalog: Catalog, names: Sequence[str]) -> list[tuple[int, int]]:
    """The primary books of the wanted instruments, at most one in a consensus group."""
    for name in names:
        if name not in catalog.by_name:
            there = ", ".join(catalog.by_name)
            raise DataError(f"unknown instrument {name!r}; the tape has {there}")
    chosen: dict[str, tuple[int, int]] = {}
    for name, book in catalog.primary.items():
        if names and name not in names:
            continue
        instrument = catalog.instrument_of(book)
        group = instrument.consensus_group
        if group in chosen:
            other = catalog.instruments[chosen[group][0]].name
            raise DataError(
                f"{other} and {name} are both of the group {group}; choose the one to tell again "
                f"with --instrument {other}"
            )
        chosen[group] = catalog.books[book]
    if not chosen:
        raise DataError("the tape has no instrument; record or import another")
    return list(chosen.values())


def _book_of(catalog: Catalog, chosen: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    table = np.full((len(catalog.instruments), len(catalog.sources)), -1, np.int64)
    for at, place in enumerate(chosen):
        table[place] = at
    return table


def _return_scale(name: str, parts: Sequence[NDArray[np.int64]]) -> float:
    """Scale of the log-returns between frames that follow one another."""
    samples = np.concatenate([np.zeros((0, 2), np.int64), *parts])
    follows = np.diff(samples[:, 0]) == 1
    returns = np.diff(np.log(samples[:, 1].astype(np.float64)))[follows]
    if len(returns) < LEAST_RETURNS:
        raise DataError(
            f"{name}: {len(returns)} returns of its price in the tape's {len(samples)} frames, too "
            f"few to measure how much it moves; give a tape with {LEAST_RETURNS} or more"
        )
    return robust_scale(returns)


def robust_scale(values: NDArray[np.float64]) -> float:
    """1.4826 x median absolute deviation; where that is 0, 1.2533 x mean absolute deviation."""
    distance = np.abs(values - np.median(values))
    return float(1.4826 * np.median(distance) or 1.2533 * np.mean(distance))


def replica_catalog(catalog: Catalog, originals: Sequence[Original], sources: int) -> Catalog:
    """Instruments (source by source), sources and books of the copies.

    Each source is a venue of its own. Spot becomes a linear perpetual without funding, settled in
    its quote asset, so that a position may be short.
    """
    instruments: list[Instrument] = []
    names = [f"r{number}" for number in range(1, sources + 1)]
    for venue in names:
        for original in originals:
            one = catalog.instruments[original.instrument]
            spot = one.kind is Kind.SPOT
            instruments.append(
                msgspec.structs.replace(
                    one,
                    venue=venue,
                    kind=Kind.LINEAR if spot else one.kind,
                    settle=one.quote if spot else one.settle,
                    group=one.consensus_group,
                )
            )
    spans = {catalog.sources[original.source].bar_span for original in originals}
    if len(spans) > 1:
        raise DataError(
            "the tape holds bars of several spans, or bars and books; choose instruments of one "
            "kind with --instrument"
        )
    span = spans.pop()
    return Catalog(
        instruments=tuple(instruments),
        sources=tuple(Source(name=name, venue=name, bar_span=span) for name in names),
        books=tuple((i, i // len(originals)) for i in range(len(instruments))),
    ).check()


class Replication:
    """A tape under way: recorded rows in, the copies' rows out.

    Attributes:
        catalog: of the copies.
    """

    def __init__(
        self, catalog: Catalog, originals: Sequence[Original], shape: ReplicaShape, seed: int
    ) -> None:
        self.catalog = replica_catalog(catalog, originals, shape.check().sources)
        self._shape = shape
        self._seed = seed
        self._latencies = shape.latencies()
        self._state = self._new_state(catalog, originals)
        self._draws = self._draw(0)
        self._room = empty(max(ROOM, max(kernels.MESSAGE_ROWS, len(originals)) * shape.sources))
        self._late = empty(0)  # told, but received after the last recorded row

    def _new_state(self, catalog: Catalog, originals: Sequence[Original]) -> kernels.State:
        count, sources = len(originals), self._shape.sources
        books = np.zeros(count, kernels.BOOK)
        books["frame"] = [one.frame for one in originals]
        books["by_depth"] = [one.by_depth for one in originals]
        residual = self._shape.tau * np.array([one.scale for one in originals])
        # return variance of white noise: 2 σ²; of the slow offset: 2 σ² (1 - persistence)
        keep = self._shape.persistence
        books["white"] = residual * np.sqrt(self._shape.white / 2.0)
        books["slow"] = residual * np.sqrt((1.0 - self._shape.white) / (2.0 * (1.0 - keep)))
        return kernels.State(
            ladders=new_ladders(count),
            books=books,
            copies=np.zeros((count, sources), kernels.COPY),
            received=np.full(sources, -(1 << 63), np.int64),
            message=np.full(1, -1, np.int64),
            book_of=_book_of(catalog, [(one.instrument, one.source) for one in originals]),
            persistence=np.array([keep]),
            thin=np.array([self._shape.thin]),
        )

    def _draw(self, first: int) -> kernels.Draws:
        """The randomness of messages `first` to `first` + BATCH - 1."""
        random = generator(self._seed, "lab.replicate", first // BATCH)
        size = (BATCH, self._shape.sources)
        spread = self._shape.latency_spread
        return kernels.Draws(
            first=first,
            skip=random.random(size),
            share=random.standard_exponential(size),
            white=random.standard_normal(size),
            slow=random.standard_normal(size),
            high=random.standard_normal(size),
            low=random.standard_normal(size),
            latency=(self._latencies * np.exp(spread * random.standard_normal(size))).astype(
                np.int64
            ),
        )

    def take(self, rows: Raw) -> Raw:
        """The copies' rows received before the last of `rows`, in the order of the tape."""
        if len(rows) == 0:
            return Raw(empty(0))
        told = ordered(np.concatenate([self._late, *self._told(rows)]))
        cut = int(np.searchsorted(told["recv_ts"], rows["recv_ts"][-1], side="left"))
        self._late = told[cut:].copy()
        return Raw(told[:cut])

    def _told(self, rows: Raw) -> Iterator[NDArray[Any]]:
        at = 0
        while at < len(rows):
            at, count = kernels.run(self._state, self._draws, rows, at, self._room)
            yield self._room[:count].copy()
            if at < len(rows) and self._state.message[0] == self._draws.first + BATCH - 1:
                self._draws = self._draw(self._draws.first + BATCH)

    def flush(self) -> Raw:
        """The tape has ended: what was still on its way."""
        rest, self._late = self._late, empty(0)
        return Raw(rest)


def replicated(
    blocks: Iterable[Raw],
    replication: Replication,
    progress: Callable[[int], None] = lambda rows: None,
) -> Iterator[Raw]:
    """The copies' tape, block by block; `progress` is told how many recorded rows are done."""
    done = 0
    for block in blocks:
        rows = replication.take(block)
        done += len(block)
        progress(done)
        if len(rows):
            yield rows
    rest = replication.flush()
    if len(rest):
        yield rest
