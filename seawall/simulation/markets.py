"""The markets that seeds draw: each is made once, by the first process of a run that needs it.

There are some fifty of them, up to twenty megabytes each. Processes that share a folder map the
same file, so that memory holds each market once, and a new process finds all that others made.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.events import Raw
from seawall.core.instruments import Catalog, Kind
from seawall.ingestion.simulated import MarketShape, SimulatedMarket
from seawall.simulation.scene import LENGTH, START, Scene


class Shelf:
    """Where this process finds and leaves markets; nowhere unless a run says so."""

    folder: Path | None = None


def market_of(scene: Scene) -> tuple[Catalog, Raw]:
    """The instruments, and the rows from the scene's history before START to LENGTH after it."""
    shape = _shape(scene.assets, scene.sources)
    catalog = shape.catalog()
    if scene.spot:
        pairs = tuple(msgspec.structs.replace(i, kind=Kind.SPOT) for i in catalog.instruments)
        catalog = msgspec.structs.replace(catalog, instruments=pairs).check()
    return catalog, Raw(_rows(shape, scene.market, scene.history, Shelf.folder))


@cache
def _shape(assets: int, sources: int) -> MarketShape:
    shape = MarketShape()
    lively = tuple(
        msgspec.structs.replace(asset, volatility=0.6, size=asset.size * 0.25)
        for asset in shape.assets[:assets]
    )
    return msgspec.structs.replace(
        shape,
        assets=lively,
        sources=shape.sources[:sources],
        outages_per_hour=0.0,
        jumps_per_hour=20.0,
        snapshots_per_minute=20.0,
    )


@cache
def _rows(shape: MarketShape, number: int, history: int, shelf: Path | None) -> NDArray[Any]:
    if shelf is None:
        return _made(shape, number, history)
    name = f"{len(shape.assets)}-{len(shape.sources)}-{number}-{history // SECOND}"
    file = shelf / f"{name}.npy"
    if not file.exists():
        rows, draft = _made(shape, number, history), shelf / f"{name}.{os.getpid()}.part"
        try:
            with draft.open("wb") as out:
                np.save(out, rows)
            os.replace(draft, file)
        except OSError:  # no room for it: this process keeps its own
            draft.unlink(missing_ok=True)
            return rows
    return np.asarray(np.load(file, mmap_mode="r"))


def _made(shape: MarketShape, number: int, history: int) -> NDArray[Any]:
    history = max(history, SECOND)
    rows = SimulatedMarket(number, START - history, shape).record(history + LENGTH)
    rows.flags.writeable = False
    return rows
