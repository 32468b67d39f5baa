"""Tapes to attack, and books rebuilt from tapes in plain Python."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.events import EventFlag, EventKind, Raw
from seawall.core.instruments import Catalog
from seawall.ingestion.simulated import MarketShape, SimulatedMarket
from tests.tapes import COMPILED

START = 1_700_000_040 * SECOND
TAPE = 150 if COMPILED else 12  # seconds; sigmas are measured over the first sixty
LAST = 4  # the source that attacks, unless told otherwise
LIVELY = MarketShape(outages_per_hour=0.0, snapshots_per_minute=2.0)
BROKEN = MarketShape(outages_per_hour=240.0, outage_s=(1.0, 6.0), snapshots_per_minute=6.0)
Rows = NDArray[Any]


@cache
def market(seconds: int = TAPE, broken: bool = False) -> tuple[Catalog, Raw]:
    """A catalog of five sources and two assets, and its tape."""
    made = SimulatedMarket(21, START, BROKEN if broken else LIVELY)
    return made.catalog, made.record(seconds * SECOND)


def of_source(rows: Rows, source: int = LAST) -> Rows:
    """The rows of one source."""
    return rows[rows["source"] == source]


def of_book(rows: Rows, instrument: int, source: int = LAST) -> Rows:
    """The rows of one book."""
    return rows[(rows["source"] == source) & (rows["instrument"] == instrument)]


def books(rows: Rows) -> list[tuple[int, dict[int, int], dict[int, int]]]:
    """(receive time, bids, asks) after each depth message of one book; fails on torn messages."""
    sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
    found, inside = [], False
    for row in rows:
        begins, ends = row["flags"] & EventFlag.BEGIN, row["flags"] & EventFlag.END
        assert bool(begins) != inside
        inside = not ends
        if row["kind"] in (EventKind.SNAPSHOT, EventKind.DOWN):
            sides = ({}, {})
        elif row["kind"] == EventKind.DEPTH:
            level = sides[row["side"]]
            if row["size"]:
                level[int(row["price"])] = int(row["size"])
            else:
                level.pop(int(row["price"]), None)
        if ends and row["kind"] in (EventKind.SNAPSHOT, EventKind.DEPTH):
            found.append((int(row["recv_ts"]), dict(sides[0]), dict(sides[1])))
    return found


def mids(rows: Rows, seconds: int) -> NDArray[np.float64]:
    """Mid in ticks of one book at the end of each second from START on; NaN while unknown."""
    line = [(ts, (max(bids) + min(asks)) / 2) for ts, bids, asks in books(rows) if bids and asks]
    times, values = np.array([ts for ts, _ in line]), np.array([mid for _, mid in line])
    at = np.searchsorted(times, START + np.arange(1, seconds + 1) * SECOND, side="left") - 1
    return np.where(at >= 0, values[at], np.nan)


def displaced(honest: Rows, told: Rows, instrument: int, source: int, seconds: int) -> Any:
    """(seconds,) told over true mid, minus one."""
    true = mids(of_book(honest, instrument, source), seconds)
    return mids(of_book(told, instrument, source), seconds) / true - 1.0
