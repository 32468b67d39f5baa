"""The consensus of each group of instruments: its carry, and frames in, CONSENSUS rows out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.consensus import CONSENSUS, HORIZON, PANEL_WIDTH
from seawall.core.instruments import Catalog
from seawall.market import agreement


class Consensus:
    """Who says what of each group, and what they agree on.

    Attributes:
        groups: names of the consensus groups, in the order of a boundary's rows.
        sources: of each group, in the order of the panel's slots.
        member: (groups, slots), 1 where the source votes; the gates write it.
    """

    def __init__(self, catalog: Catalog, groups: list[str], cadence_ns: int, faulty: int) -> None:
        self.groups = groups
        self.sources: list[tuple[str, ...]] = []
        count = len(catalog.books)
        group_of = np.zeros(count, np.int64)
        slot_of = np.zeros(count, np.int64)
        for at, name in enumerate(groups):
            books = [b for b in range(count) if catalog.instrument_of(b).consensus_group == name]
            indexes = sorted({catalog.books[b][1] for b in books})
            for book in books:
                group_of[book] = at
                slot_of[book] = indexes.index(catalog.books[book][1])
            self.sources.append(tuple(catalog.sources[i].name for i in indexes))
        slots = max((len(names) for names in self.sources), default=1)
        self.member = np.zeros((len(groups), slots), np.uint8)
        for at, names in enumerate(self.sources):
            self.member[at, : len(names)] = 1
        self.slots = slots
        horizon = max(1, HORIZON // cadence_ns)
        self.state = agreement.AgreementState(
            group=group_of,
            slot=slot_of,
            member=self.member,
            registered=np.array([len(names) for names in self.sources], np.int64),
            past=np.zeros((len(groups), slots, horizon + 1, agreement.FRAME_WIDTH)),
            lived=np.zeros((len(groups), slots), np.int64),
            counts=np.zeros((len(groups), slots), np.int64),
            scratch=np.zeros(slots),
            faulty=np.array([faulty], np.int64),
        )

    def observe(self, frames: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Rows (CONSENSUS) and panel (rows, slots, PANEL_WIDTH) of whole boundaries of frames."""
        boundaries, times = min(1, len(frames)), frames["ts"]
        if boundaries and times[0] != times[-1]:
            boundaries += int(np.count_nonzero(np.diff(times)))
        rows = np.zeros(boundaries * len(self.groups), CONSENSUS)
        panel = np.empty((len(rows), self.slots, PANEL_WIDTH))
        agreement.collect(self.state, frames, rows, panel)
        self.agree(rows, panel)
        return rows, panel

    def agree(self, rows: NDArray[Any], panel: NDArray[np.float64]) -> None:
        """Fill in what the voting sources of the panel agree on."""
        agreement.agree(self.state, rows, panel)
