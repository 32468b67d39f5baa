"""Hand-written tapes: messages of a venue as rows, catalogs, and what tests do to good tapes."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.consensus import CONSENSUS
from seawall.core.events import EventFlag, EventKind, Raw, Side, empty
from seawall.core.frames import FRAME
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.ingestion.simulated import MarketShape, SimulatedMarket
from seawall.market import MarketShape as TapeShape
from seawall.node.perception import Perceived, Perception, PerceptionShape

COMPILED = not numba.config.DISABLE_JIT
START = 1_700_000_040 * SECOND  # on a minute
BEGIN, END = int(EventFlag.BEGIN), int(EventFlag.END)
BUY, SELL = int(Side.BUY), int(Side.SELL)

Rows = NDArray[Any]


def at(seconds: float) -> int:
    """ns UTC, `seconds` after START."""
    return START + round(seconds * SECOND)


def instrument(venue: str = "v0", quote: str = "USD", base: str = "BTC") -> Instrument:
    """A spot pair with a tick of 1 and a lot of 0.001."""
    return Instrument(
        venue=venue,
        symbol=f"{base}/{quote}",
        kind=Kind.SPOT,
        base=base,
        quote=quote,
        tick="1",
        lot="0.001",
    )


def catalog_of(*venues: tuple[str, ...], bar_span: int = 0) -> Catalog:
    """One source per argument, each with a BTC book per named quote asset (``("USD", "USDT")``)."""
    instruments = [
        instrument(f"v{v}", quote) for v, quotes in enumerate(venues) for quote in quotes
    ]
    sources = [Source(name=f"v{v}", venue=f"v{v}", bar_span=bar_span) for v in range(len(venues))]
    owners = [v for v, quotes in enumerate(venues) for _ in quotes]
    return Catalog(
        instruments=tuple(instruments), sources=tuple(sources), books=tuple(enumerate(owners))
    ).check()


def message(
    ts: int,
    sequence: int,
    levels: list[tuple[int, int, int, int]],
    *,
    previous: int = -1,
    exch: int = 0,
    book: tuple[int, int] = (0, 0),
) -> Rows:
    """Rows of one message; each level is (kind, side, price, size), `book` (instrument, source)."""
    rows = empty(len(levels))
    rows["recv_ts"], rows["exch_ts"] = ts, exch or ts
    rows["sequence"], rows["previous"] = sequence, previous
    rows["instrument"], rows["source"] = book
    for name, column in zip(
        ("kind", "side", "price", "size"), zip(*levels, strict=True), strict=True
    ):
        rows[name] = column
    rows["flags"][0] |= BEGIN
    rows["flags"][-1] |= END
    return rows


def snapshot(
    ts: int, sequence: int, bids: dict[int, int], asks: dict[int, int], **more: Any
) -> Rows:
    """A full book; price → lots."""
    levels = [(int(EventKind.SNAPSHOT), 2, 0, 0)]
    for side, book in ((BUY, bids), (SELL, asks)):
        levels += [(int(EventKind.DEPTH), side, price, size) for price, size in book.items()]
    return message(ts, sequence, levels, **more)


def depth(ts: int, sequence: int, *levels: tuple[int, int, int], **more: Any) -> Rows:
    """A diff of (side, price, new total); follows `sequence` - 1 unless told otherwise."""
    more.setdefault("previous", sequence - 1)
    return message(ts, sequence, [(int(EventKind.DEPTH), *level) for level in levels], **more)


def trade(ts: int, sequence: int, side: int, price: int, size: int, **more: Any) -> Rows:
    """A public trade by an aggressor of `side`."""
    return message(ts, sequence, [(int(EventKind.TRADE), side, price, size)], **more)


def quote(ts: int, sequence: int, bid: int, ask: int, sizes: Any = (1, 1), **more: Any) -> Rows:
    """The venue's own best bid and ask."""
    kind = int(EventKind.QUOTE)
    return message(ts, sequence, [(kind, BUY, bid, sizes[0]), (kind, SELL, ask, sizes[1])], **more)


def bar(close: int, span: int, prices: tuple[int, int, int, int], volume: int, **more: Any) -> Rows:
    """A bar that closes at `close`; open, high, low, close."""
    kinds = range(int(EventKind.BAR_OPEN), int(EventKind.BAR_CLOSE) + 1)
    sizes = (0, 0, 0, volume)
    levels = [(k, 2, p, s) for k, p, s in zip(kinds, prices, sizes, strict=True)]
    return message(close, close // span, levels, exch=close - span, **more)


def down(ts: int, **more: Any) -> Rows:
    """The source is gone."""
    return message(ts, 0, [(int(EventKind.DOWN), 0, 0, 0)], **more)


def tick(ts: int) -> Rows:
    """Time passes."""
    return message(ts, 0, [(int(EventKind.TICK), 0, 0, 0)])


def tape(*messages: Rows) -> Raw:
    """Messages one after the other."""
    return Raw(np.concatenate(messages))


def simulated(seconds: float, **shape: Any) -> tuple[Catalog, Raw]:
    """A simulated market with outages; the tape is short where kernels are not compiled."""
    shape.setdefault("outages_per_hour", 240.0)
    shape.setdefault("snapshots_per_minute", 6.0)
    market = SimulatedMarket(11, START, MarketShape(**shape))
    return market.catalog, market.record(int(seconds * SECOND))


def spoiled(rows: Rows, seed: int = 5) -> Raw:
    """A tape with everything in it that a hostile or broken feed sends.

    Messages twice, messages missing, crossed and impossible prices, strange books, kinds and
    sides, clocks that jump, silence longer than a gap, ticks, and sources that go down.
    """
    random = np.random.default_rng(seed)
    starts = np.flatnonzero(rows["flags"] & BEGIN)
    pieces = []
    for number, original in enumerate(np.split(rows, starts[1:])):
        chance = random.random()
        piece = original.copy()
        if chance < 0.02:
            continue
        if chance < 0.04:
            pieces.append(piece)
        elif chance < 0.05:
            piece["price"][-1] = random.choice([0, -7, 1 << 50, 1, 1 << 39])
        elif chance < 0.06:
            piece["side"][-1] = random.choice([0, 1, 2, 3, 200])
        elif chance < 0.065:
            piece["size"][-1] = -1
        elif chance < 0.07:
            piece["instrument"] = random.choice([1, 9, 60_000])
        elif chance < 0.075:
            piece["source"] = random.choice([1, 4, 60_000])
        elif chance < 0.08:
            piece["kind"][0] = random.integers(0, 14)
        elif chance < 0.085:
            piece["exch_ts"] += int(random.choice([-20, 1, 400])) * SECOND
        elif chance < 0.09:
            pieces.append(message(0, 1, [(int(random.choice([9, 10])), 0, 0, 0)]))
            pieces[-1]["recv_ts"] = piece["recv_ts"][0]
        pieces.append(piece)
        if number == len(starts) // 2 or number == len(starts) * 3 // 4:
            rows["recv_ts"][starts[number + 1] :] += 45 * SECOND
            rows["exch_ts"][starts[number + 1] :] += 45 * SECOND
    mixed = np.concatenate(pieces)
    mixed["recv_ts"] = np.maximum.accumulate(mixed["recv_ts"])
    return Raw(mixed)


def pieces_of(rows: Rows, cuts: list[float]) -> list[Raw]:
    """The rows cut at these shares of their length."""
    marks = sorted(int(cut * len(rows)) for cut in cuts)
    return [Raw(piece) for piece in np.split(rows, marks)]


def carry(state: Any) -> bytes:
    """All bytes of a kernel's state."""
    if isinstance(state, tuple):
        return b"".join(carry(part) for part in state)
    return state.tobytes()


def observed(one: Perception, *blocks: Rows) -> Perceived:
    """All frames and rows that a perception makes of some more of the tape."""
    seen = [found for block in blocks for found in one.observe(Raw(block))]
    return Perceived(
        np.concatenate([np.zeros(0, FRAME), *(found.frames for found in seen)]),
        np.concatenate([np.zeros(0, CONSENSUS), *(found.rows for found in seen)]),
    )


def perception(catalog: Catalog, numeraire: str = "USD", **market: Any) -> Perception:
    """A fresh perception; `market` as in the market's shape."""
    return Perception(catalog, PerceptionShape(market=TapeShape(**market)), numeraire)


def perceived(
    catalog: Catalog, *blocks: Rows, numeraire: str = "USD", **market: Any
) -> tuple[Rows, Perception]:
    """All frames of a tape, given in blocks, and the perception that made them."""
    one = perception(catalog, numeraire, **market)
    return observed(one, *blocks).frames, one
