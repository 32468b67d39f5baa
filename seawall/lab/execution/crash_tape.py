"""A scene of a crash as a tape: whole books, so that the node can be shown it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.events import EventFlag, EventKind, Raw, Side, empty
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.lab.execution.crash import STEP, Floats, Scene, thinned

START = 1_600_000_000 * SECOND  # of every scene's tape
SOURCE = "scene"
TICK, LOT = "0.01", "0.0001"
UNIT = 10_000  # lots of the usual touch
FRAGMENT = MILLISECOND  # what a book takes from the exchange to us


def catalog() -> Catalog:
    """One perpetual at one source."""
    instrument = Instrument(
        venue=SOURCE,
        symbol="BTCUSDT",
        kind=Kind.LINEAR,
        base="BTC",
        quote="USDT",
        tick=TICK,
        lot=LOT,
    )
    return Catalog((instrument,), (Source(name=SOURCE, venue=SOURCE),), ((0, 0),)).check()


def crossing(mid: Floats, threshold: float, window: int) -> int:
    """The first step at which the price has moved by more than `threshold` from any of the last
    `window` steps, as a share of that one; -1 where there is none.
    """
    for step in range(1, len(mid)):
        part = mid[max(0, step - window) : step + 1]
        low, high = float(part.min()), float(part.max())
        price = float(mid[step])
        if max((price - low) / low, (high - price) / high) > threshold:
            return step
    return -1


def tape_of(scene: Scene) -> Raw:
    """A full book of ten levels a side each 100 ms, the same on both sides of the mid."""
    steps = len(scene.mid)
    depth = thinned(scene)
    offset = np.broadcast_to(scene.offset, (steps, scene.offset.shape[1]))
    size = np.broadcast_to(scene.size, offset.shape) * depth[:, None]
    ticks = scene.mid / float(TICK)
    away = np.maximum(np.arange(1, offset.shape[1] + 1), np.rint(ticks[:, None] * offset))
    away = np.maximum.accumulate(away + np.arange(offset.shape[1]) * 1e-9, axis=1).astype(np.int64)
    away += np.cumsum(np.diff(away, axis=1, prepend=0) == 0, axis=1)  # one level to a price
    middle = np.rint(ticks).astype(np.int64)
    levels = offset.shape[1]
    rows: NDArray[Any] = empty(steps * (2 * levels + 1)).reshape(steps, 2 * levels + 1)
    ts = START + np.arange(steps, dtype=np.int64) * STEP
    rows["exch_ts"] = ts[:, None]
    rows["recv_ts"] = ts[:, None] + FRAGMENT
    rows["sequence"] = np.arange(1, steps + 1)[:, None]
    rows["previous"] = -1
    rows["kind"] = EventKind.DEPTH
    rows["kind"][:, 0] = EventKind.SNAPSHOT
    rows["flags"][:, 0] = EventFlag.BEGIN
    rows["flags"][:, -1] = EventFlag.END
    lots = np.maximum(1, np.rint(size * UNIT)).astype(np.int64)
    for side, part in ((Side.BUY, slice(1, levels + 1)), (Side.SELL, slice(levels + 1, None))):
        rows["side"][:, part] = side
        rows["price"][:, part] = middle[:, None] - side.sign * away
        rows["size"][:, part] = lots
    return Raw(rows.reshape(-1))
