"""What a run saw: its tape, perceived once more.

It is stopped at each fill to look at the book as it stood.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray

from seawall.core.events import Raw
from seawall.core.ladder import NO_ASK, NO_BID
from seawall.core.settings import Settings
from seawall.ingestion.tape import Tape
from seawall.node import assembly
from seawall.node.perception import Perception

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


class Market(NamedTuple):
    """What perception saw: the boundaries, and of each instrument the columns at them.

    Attributes:
        ts: (n,) ns UTC. columns: instrument → name → (n,), NaN where there was no frame.
        touches: (instrument, ns UTC) → best bid and ask then, quote units, NaN where there is none.
        rows: of the tape.
    """

    ts: Times
    columns: dict[str, dict[str, Floats]]
    touches: dict[tuple[str, int], tuple[float, float]]
    rows: int


KEPT = ["ts", "mid", "bid", "ask", "consensus", "votes", "quote_mark", "vwap"]  # of a frame
KEPT += ["buy_volume", "sell_volume"]


def perceive(
    settings: Settings,
    tape: Tape,
    span: tuple[int, int],
    fills: Iterable[tuple[str, int]],
    progress: Callable[[int, int], None],
) -> Market:
    """The tape through perception, stopped after the rows received by the time of each fill.

    Args:
        span: rows of the tape, [first, past). fills: (instrument, ns UTC).
    """
    perception = assembly.perception_of(settings, tape.catalog)
    wanted: dict[int, list[str]] = {}
    for name, ts in fills:
        wanted.setdefault(ts, []).append(name)
    stops = sorted(wanted)
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in tape.catalog.primary}
    touches: dict[tuple[str, int], tuple[float, float]] = {}
    rows = reached = 0
    for block in _between(tape, *span):
        at, last = 0, int(block["recv_ts"][-1])
        while reached < len(stops) and stops[reached] < last:
            ts = stops[reached]
            edge = int(np.searchsorted(block["recv_ts"], ts, side="right"))
            _take(perception, Raw(block[at:edge]), found)
            touches |= {(name, ts): _touch(perception, name) for name in wanted[ts]}
            at, reached = edge, reached + 1
        _take(perception, Raw(block[at:]), found)
        rows += len(block)
        progress(rows, span[1] - span[0])
    for ts in stops[reached:]:
        touches |= {(name, ts): _touch(perception, name) for name in wanted[ts]}
    for seen in perception.flush():
        _keep(seen.frames, tape.catalog.primary, found)
    return _aligned(tape, found, touches, rows)


def _between(tape: Tape, first: int, past: int) -> Iterator[Raw]:
    at = 0
    for block in tape.blocks(assembly.BLOCK):
        part = block[max(0, first - at) : max(0, past - at)]
        at += len(block)
        if len(part):
            yield Raw(part)


def _take(perception: Perception, rows: Raw, found: dict[str, list[NDArray[Any]]]) -> None:
    if len(rows):
        for seen in perception.observe(rows):
            _keep(seen.frames, perception.catalog.primary, found)


def _keep(
    frames: NDArray[Any], primary: dict[str, int], found: dict[str, list[NDArray[Any]]]
) -> None:
    for name, book in primary.items():
        mine = frames[KEPT][frames["book"] == book]
        if len(mine):
            found[name].append(repack_fields(mine))


def _touch(perception: Perception, name: str) -> tuple[float, float]:
    catalog = perception.catalog
    bid, ask = perception.market.state.ladders["best"][catalog.primary[name]].tolist()
    if bid == NO_BID or ask == NO_ASK:
        return math.nan, math.nan
    tick = catalog.by_name[name].tick_float
    return bid * tick, ask * tick


def _aligned(
    tape: Tape,
    found: dict[str, list[NDArray[Any]]],
    touches: dict[tuple[str, int], tuple[float, float]],
    rows: int,
) -> Market:
    """All instruments at the same boundaries."""
    tables = {name: np.concatenate(parts) for name, parts in found.items() if parts}
    times = [table["ts"] for table in tables.values()]
    every = np.unique(np.concatenate([np.zeros(0, np.int64), *times]))
    columns: dict[str, dict[str, Floats]] = {}
    for name, table in tables.items():
        tick = tape.catalog.by_name[name].tick_float
        columns[name] = {}
        for column in KEPT[1:]:
            values = np.full(len(every), np.nan)
            scale = tick if column in ("bid", "ask") else 1.0
            values[np.searchsorted(every, table["ts"])] = table[column] * scale
            columns[name][column] = values
    return Market(every, columns, touches, rows)


def filled(values: Floats) -> Floats:
    """Each NaN as the last known value before it."""
    known = np.where(np.isfinite(values), np.arange(len(values)), -1)
    last = np.maximum.accumulate(known) if len(values) else known
    return np.where(last >= 0, values[np.maximum(last, 0)], np.nan)
