"""Faults of the feeds and the clocks, as rewritings of the rows that the node is shown.

Whole messages are dropped, moved, copied or changed; receive times never go back, which is what
the recorder makes sure of in a live feed.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.events import EventFlag, EventKind, Raw
from seawall.core.instruments import Catalog
from seawall.core.randomness import generator
from seawall.simulation.faults import Fault
from seawall.simulation.scene import START

Rows = NDArray[Any]
PRICED = (EventKind.DEPTH, EventKind.TRADE, EventKind.QUOTE)


def of_clocks(rows: Raw, faults: list[Fault]) -> tuple[Raw, Counter[str]]:
    """The rows as our own clock, which steps, stamps them: for the node and the venue alike; and
    how many faults of a kind met any row."""
    steps = [fault for fault in faults if fault.kind in ("clock_forward", "clock_back")]
    struck: Counter[str] = Counter()
    if not steps:
        return rows, struck
    changed = rows.copy()
    for fault in steps:
        first = START + fault.at
        inside = (rows["recv_ts"] >= first) & (rows["recv_ts"] < first + fault.span)
        most = 5.0 if fault.kind == "clock_forward" else -2.0
        changed["recv_ts"][inside] += int(most * fault.strength * SECOND)
        struck[fault.kind] += bool(inside.any())
    changed["recv_ts"] = np.maximum.accumulate(changed["recv_ts"])
    return Raw(changed), struck


def disturbed(
    rows: Raw, catalog: Catalog, faults: list[Fault], seed: int
) -> tuple[Raw, Counter[str]]:
    """The rows as faulty feeds hand them to the node, and how many faults of a kind met any."""
    shown: Rows = rows
    struck: Counter[str] = Counter()
    for fault in faults:
        if fault.kind in _CHANGES or fault.kind in _MOVES:
            shown = shown.copy() if shown is rows else shown
            source = fault.pick(len(catalog.sources))
            inside = _inside(shown, fault, source)
            if inside.any():
                shown = _applied(shown, inside, fault, seed)
                struck[fault.kind] += 1
    return Raw(shown), struck


def _applied(rows: Rows, inside: NDArray[np.bool_], fault: Fault, seed: int) -> Rows:
    if fault.kind in _CHANGES:
        _CHANGES[fault.kind](rows, inside, fault)
        return rows
    return _MOVES[fault.kind](rows, inside, fault, seed)


def _inside(rows: Rows, fault: Fault, source: int) -> NDArray[np.bool_]:
    """Rows of the messages that fall into the fault's span, of its source (of all: blackout)."""
    first = START + fault.at
    begin = rows["flags"] & EventFlag.BEGIN != 0
    when = rows["recv_ts"][np.maximum.accumulate(np.where(begin, np.arange(len(rows)), 0))]
    inside: NDArray[np.bool_] = (when >= first) & (when < first + fault.span)
    return inside if fault.kind == "blackout" else inside & (rows["source"] == source)


# --- rows are changed where they stand ---


def _priced(rows: Rows, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    priced: NDArray[np.bool_] = inside & np.isin(rows["kind"], PRICED)
    return priced


def _scale(rows: Rows, chosen: NDArray[np.bool_], factor: Any) -> None:
    prices = np.rint(rows["price"][chosen] * factor).astype(np.int64)
    rows["price"][chosen] = np.maximum(1, prices)


def _spike(rows: Rows, inside: NDArray[np.bool_], fault: Fault) -> None:
    _scale(rows, _priced(rows, inside), 1.0 + 0.4 * (fault.strength - 0.5))


def _hostile(rows: Rows, inside: NDArray[np.bool_], fault: Fault) -> None:
    chosen = _priced(rows, inside)
    along = (rows["recv_ts"][chosen] - START - fault.at) / fault.span
    _scale(rows, chosen, 1.0 + 0.06 * (fault.strength - 0.5) * along)


def _wall(rows: Rows, inside: NDArray[np.bool_], fault: Fault) -> None:
    side = 0 if fault.strength < 0.5 else 1
    chosen = inside & (rows["kind"] == EventKind.DEPTH) & (rows["side"] == side)
    rows["size"][chosen] *= 1000


def _crossed(rows: Rows, inside: NDArray[np.bool_], fault: Fault) -> None:
    chosen = inside & (rows["kind"] == EventKind.DEPTH) & (rows["side"] == 0)
    _scale(rows, chosen, 1.0 + 0.02 * fault.strength)


def _sequence_jump(rows: Rows, inside: NDArray[np.bool_], fault: Fault) -> None:
    by = 1 + int(1e6 * fault.strength)
    rows["sequence"][inside] += by
    known = inside & (rows["previous"] >= 0)
    rows["previous"][known] += by


def _source_clock(rows: Rows, inside: NDArray[np.bool_], fault: Fault) -> None:
    rows["exch_ts"][inside] += int(12.0 * (fault.strength - 0.5) * SECOND)


# --- rows go, come, or change places ---


def _dropped(rows: Rows, inside: NDArray[np.bool_], fault: Fault, seed: int) -> Rows:
    return rows[~inside]


def _duplicated(rows: Rows, inside: NDArray[np.bool_], fault: Fault, seed: int) -> Rows:
    """Each message of the span comes again right behind the last of them."""
    last = int(np.flatnonzero(inside)[-1]) + 1
    again = rows[inside].copy()
    again["recv_ts"] = rows["recv_ts"][last - 1]
    return np.concatenate([rows[:last], again, rows[last:]])


def _replayed(rows: Rows, inside: NDArray[np.bool_], fault: Fault, seed: int) -> Rows:
    """Messages of the span come again up to 8 s later, stamped with the times of then."""
    old = rows[inside].copy()
    old["recv_ts"] += int((1.0 + 7.0 * fault.strength) * SECOND)
    return _merged(rows, old)


def _merged(rows: Rows, more: Rows) -> Rows:
    """Both by receive time; no message comes to stand within another."""
    ends = np.flatnonzero(rows["flags"] & EventFlag.END) + 1
    begins = more["flags"] & EventFlag.BEGIN != 0
    when = more["recv_ts"][np.maximum.accumulate(np.where(begins, np.arange(len(more)), 0))]
    before = np.searchsorted(rows["recv_ts"], when, side="right")
    at = np.concatenate([[0], ends])[np.searchsorted(ends, before, side="right")]
    merged = np.insert(rows, at, more)
    merged["recv_ts"] = np.maximum.accumulate(merged["recv_ts"])
    return merged


def _reordered(rows: Rows, inside: NDArray[np.bool_], fault: Fault, seed: int) -> Rows:
    """The messages of the span trade places; what was said when it came stays in them."""
    places = np.flatnonzero(inside)
    message = np.cumsum(rows["flags"][places] & EventFlag.BEGIN != 0)
    random = generator(seed, "simulation.reorder", fault.number)
    rank = random.permutation(int(message[-1]) + 1)
    mixed = rows[places][np.argsort(rank[message], kind="stable")]
    times = np.sort(rows["recv_ts"][places])
    rest = rows[~inside]
    mixed["recv_ts"] = times
    return _merged(rest, mixed)


_CHANGES: dict[str, Callable[[Rows, NDArray[np.bool_], Fault], None]] = {
    "spike": _spike,
    "hostile": _hostile,
    "wall": _wall,
    "crossed": _crossed,
    "sequence_jump": _sequence_jump,
    "source_clock": _source_clock,
}
_MOVES: dict[str, Callable[[Rows, NDArray[np.bool_], Fault, int], Rows]] = {
    "gap": _dropped,
    "silence": _dropped,
    "blackout": _dropped,
    "duplicate": _duplicated,
    "replay": _replayed,
    "reorder": _reordered,
}
