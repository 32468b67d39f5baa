"""The slippage model at work: it bounds the prices of what is sent, and judges what fills cost.

Footprints are made of frames alone, so that fitting and trading see the same.
"""

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MINUTE
from seawall.core.errors import DataError, StoreError
from seawall.core.events import Side
from seawall.core.instruments import Catalog
from seawall.core.orders import Order, Purpose
from seawall.core.records import AnyRecord, FillBooked, OrderCreated
from seawall.execution.guards import Guard, bound_bps, limit_of
from seawall.execution.slippage import Footprint, SlippageModel

WINDOW = MINUTE
BREAKER = "slippage_anomaly"


def footprint(
    mids: NDArray[np.float64], volume: float, bid: float, ask: float, lots: float
) -> Footprint:
    """An order's footprint.

    Args:
        mids: of the frames of the last minute, NaN where there was none. volume: lots that the
            market traded in it. bid, ask: of the touch, in the mids' unit. lots: of the order.
    """
    known = mids[mids > 0]
    moves = np.diff(np.log(known)) if len(known) > 1 else np.zeros(1)
    half = (ask - bid) / (ask + bid) * 1e4
    return Footprint(half, 0.0, math.sqrt(float(moves @ moves)) * 1e4, lots / max(volume, 1.0))


def save(model: SlippageModel, path: Path) -> None:
    """Write a model as JSON. StoreError where it cannot be written."""
    try:
        path.write_bytes(msgspec.json.encode(model))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StoreError(f"cannot write {path}: {why}; choose a writable place") from None


def load(path: Path) -> SlippageModel:
    """A model that `save` wrote. DataError where it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=SlippageModel)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(
            f"{path}: no slippage model ({str(error).splitlines()[0]}); "
            "`seawall calibrate slippage` makes one"
        ) from None


class Watch:
    """Bounds the prices of orders, and scores what they cost, by one model.

    Args:
        model: fitted; the prior bounds and scores nothing. catalog: of the instruments.
    """

    def __init__(self, model: SlippageModel, catalog: Catalog, guard: Guard | None = None) -> None:
        self.model = model
        self._guard = (guard or Guard()).check()
        self._instruments = catalog.by_name
        self._frames: dict[str, deque[tuple[int, float, float]]] = {}  # ns UTC, mid, lots traded
        self._touches: dict[str, tuple[int, int]] = {}
        self._sent: dict[str, tuple[Order, Footprint, float]] = {}
        self._paid: dict[str, tuple[int, int]] = {}  # client id → ticks x lots, lots
        self._scores: deque[tuple[int, str, float]] = deque()
        self._others: Mapping[str, Mapping[str, float]] | None = None
        self._merged: dict[str, Mapping[str, float]] = {}
        self._last: dict[str, float] = {}

    def look(
        self, frames: Mapping[str, Any], touches: Mapping[str, tuple[int, int]], now: int
    ) -> None:
        """Take in the frames that closed at `now`, and the touches."""
        self._touches = dict(touches)
        for name, frame in frames.items():
            if int(frame["ts"]) != now:
                continue
            kept = self._frames.setdefault(name, deque())
            traded = float(frame["buy_volume"] + frame["sell_volume"])
            kept.append((now, float(frame["mid"]), traded / self._instruments[name].lot_float))
            while kept[0][0] <= now - WINDOW:
                kept.popleft()
        while self._scores and self._scores[0][0] <= now - WINDOW:
            self._scores.popleft()

    def _footprint(self, name: str, touch: tuple[int, int], lots: int) -> Footprint:
        kept = self._frames.get(name, ())
        mids = np.array([mid for _, mid, _ in kept])
        return footprint(mids, sum(lot for _, _, lot in kept), *touch, lots)

    def price(self, name: str, side: Side, lots: int, touch: tuple[int, int]) -> int | None:
        """Ticks that an order's price must not pass, by the model; None where it cannot say."""
        if not self.model.residuals:
            return None
        order = self._footprint(name, touch, lots)
        return limit_of(side, *touch, bound_bps(self._guard, self.model, order))

    def take(self, record: AnyRecord) -> None:
        """One record of the journal as it is written."""
        match record:
            case OrderCreated(order=order) if order.purpose is Purpose.GOAL:
                touch = self._touches.get(order.instrument)
                if touch is not None:
                    mark = self._footprint(order.instrument, touch, order.size)
                    self._sent[order.client_id] = order, mark, sum(touch) / 2
            case FillBooked(fill=fill) if fill.client_id in self._sent:
                order, mark, mid = self._sent[fill.client_id]
                ticks, lots = self._paid.get(fill.client_id, (0, 0))
                ticks, lots = ticks + fill.price * fill.size, lots + fill.size
                self._paid[fill.client_id] = ticks, lots
                cost = order.side.sign * (ticks / lots / mid - 1.0) * 1e4
                group = self._instruments[order.instrument].consensus_group
                self._scores.append((record.ts, group, self.model.score(mark, cost)))
                if lots == order.size:
                    del self._sent[fill.client_id], self._paid[fill.client_id]
            case _:
                pass

    def measures(
        self, others: Mapping[str, Mapping[str, float]]
    ) -> Mapping[str, Mapping[str, float]]:
        """The measures of other models and the worst score of the last minute by group, 0 where
        nothing filled; the same mapping as long as nothing has changed."""
        groups = dict.fromkeys(i.consensus_group for i in self._instruments.values())
        worst = dict.fromkeys(groups, 0.0)
        for _, group, score in self._scores:
            worst[group] = max(worst[group], score) if math.isfinite(score) else worst[group]
        if self._others is not others or worst != self._last:
            self._merged = {**others, BREAKER: worst}
            self._others, self._last = others, worst
        return self._merged
