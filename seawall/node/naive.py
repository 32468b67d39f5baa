"""What a naive system would believe of the same rows: everybody is let in, everything is averaged.

It decides nothing; it is shown beside the robust consensus while a source is hostile.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MILLISECOND, MINUTE
from seawall.core.consensus import WIDTH
from seawall.core.events import Raw
from seawall.core.frames import FrameFlag
from seawall.core.instruments import Catalog
from seawall.gating import reference as references
from seawall.gating.group import Group
from seawall.node.perception import Perception, PerceptionShape

FIRST = 2 * MINUTE  # of a tape, while the volatility that returns are measured in is not known


class Watching(Perception):
    """Perception that lets everybody in and judges nobody; its windows hold what was said."""

    def __init__(self, catalog: Catalog, shape: PerceptionShape, numeraire: str) -> None:
        gating = msgspec.structs.replace(shape.gating, enforce=False)
        super().__init__(catalog, msgspec.structs.replace(shape, gating=gating), numeraire)

    def review(self, now: int) -> None:
        """Nobody is judged."""


class NaiveModel:
    """The plain mean over all sources, of prices and of features."""

    def __init__(self, catalog: Catalog, shape: PerceptionShape, numeraire: str) -> None:
        self._perception = Watching(catalog, shape, numeraire)
        self._from = 0
        self._prices = np.full(len(self._perception.market.groups), math.nan)
        self._ts = 0

    def observe(self, rows: Raw) -> None:
        """Take in rows of the tape."""
        if len(rows) and not self._from:
            self._from = int(rows["recv_ts"][0]) + FIRST
        for seen in self._perception.observe(rows):
            if len(seen.frames):
                self._ts = int(seen.frames["ts"][-1])
                last = seen.frames[seen.frames["ts"] == self._ts]
                self._prices = mean_prices(self._perception, last)

    def beliefs(self, groups: list[Group], consensus: Mapping[str, float]) -> dict[str, Any]:
        """Group → price, consensus (numeraire), price_off_bps, shift (reference sigma), ts (ms).

        Args:
            groups: of the robust perception, whose units are used. consensus: its prices.
        """
        return {
            group.name: self._belief(at, group, consensus.get(group.name, math.nan))
            for at, group in enumerate(groups)
        }

    def _belief(self, at: int, group: Group, ours: float) -> dict[str, Any]:
        window = self._perception.gating.window
        seen, length = int(window.seen[at]), window.ts.shape[1]
        price = float(self._prices[at])
        off = (price / ours - 1.0) * 1e4 if ours > 0.0 else math.nan
        return {
            "price": price,
            "consensus": ours,
            "price_off_bps": off,
            "shift": self._shift(at, group, min(seen, length)),
            "ts": self._ts // MILLISECOND,
        }

    def _shift(self, at: int, group: Group, count: int) -> float:
        """How far the plain mean of the window lies from the robust model's mean, 2-norm."""
        reference, model = group.reference, group.model
        if reference is None or model is None:
            return math.nan
        window = self._perception.gating.window
        late = window.ts[at, :count] >= self._from
        slots = len(group.sources)
        panel = np.ascontiguousarray(window.panel[at, :count][late][:, :slots])
        values = references.scaled(panel, window.factor[at, :count][late])[:, :, :WIDTH]
        active = reference.active
        units = (values[:, :, active] - reference.centre[active]) / reference.scale[active]
        told = np.isfinite(units)
        counts = told.sum(axis=(0, 1))
        if not len(units) or not counts.all():
            return math.nan
        mean = np.where(told, units, 0.0).sum(axis=(0, 1)) / counts
        return float(np.linalg.norm(mean - np.array(model.mean)[active]))


def mean_prices(perception: Perception, frames: NDArray[Any]) -> NDArray[np.float64]:
    """(groups,) the plain mean of what all books of a group say, one boundary's frames; NaN where
    none says anything. Numeraire units."""
    value = frames["mid"] * frames["quote_mark"]
    known = ((frames["flags"] & FrameFlag.VALID) > 0) & (value > 0.0)
    groups = perception.consensus.state.group[frames["book"]][known]
    count = len(perception.market.groups)
    sums, books = np.bincount(groups, value[known], count), np.bincount(groups, minlength=count)
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = sums / books
    return found
