"""What is usual for each source, as time goes: a residual model that may only walk.

It is learned from a trust-weighted reservoir with a cap per source, so that a source that talks
more counts no more, and a suspect one less. From the reference it moves at a metered rate; a slow
drift cannot carry it along.
"""

import numpy as np
from numpy.typing import NDArray

from seawall.core.consensus import PANEL_WIDTH
from seawall.estimation import Reservoir
from seawall.gating import kernels
from seawall.gating.reference import Reference

Array = NDArray[np.float64]
CAP = 200  # rows of one source (S0: 50 to 200)
LEAST = 50  # rows of a source before its usual residual moves


class Residuals:
    """The usual residual of each source of one group.

    Attributes:
        usual: (sources, PANEL_WIDTH) in the units of `reference.scaled`.
    """

    def __init__(self, reference: Reference, seed: int) -> None:
        self.usual: Array = reference.usual.copy()
        self._spread = reference.spread
        sources = len(reference.sources)
        self._kept = Reservoir(CAP * sources, CAP, seed)

    def learn(
        self,
        panel: Array,
        ts: NDArray[np.int64],
        member: NDArray[np.uint8],
        trust: Array,
        walk: float,
    ) -> None:
        """Take in new rows and walk by at most `walk` typical spreads.

        Args:
            panel: (n, sources, PANEL_WIDTH), scaled. ts: (n,) their boundaries, ns UTC.
            member: (sources,) who votes. trust: (sources,) weight in the sample.
        """
        rows, sources = len(panel), panel.shape[1]
        scratch, found = np.empty(sources), np.empty((PANEL_WIDTH, rows))
        for slot in range(sources):
            if trust[slot] <= 0.0:
                continue
            for column in range(PANEL_WIDTH):
                kernels.residuals(panel, member, slot, column, scratch, found[column])
            whole = np.isfinite(found).all(axis=0)
            count = int(whole.sum())
            self._kept.offer(
                np.full(count, slot), ts[whole], np.full(count, trust[slot]), found[:, whole].T
            )
        kept, owners = self._kept.sample()
        most = walk * self._spread
        for slot in range(sources):
            mine = kept[owners == slot] if len(kept) else kept
            if len(mine) >= LEAST:
                step = np.median(mine, axis=0) - self.usual[slot]
                self.usual[slot] += np.clip(step, -most, most)
