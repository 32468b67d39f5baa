"""Which rows a simulated venue may live off: those that a signing source has signed."""

import numpy as np

from seawall.core.events import EventFlag, EventKind, Raw
from seawall.core.instruments import Catalog

SIGNED = int(EventFlag.SIGNED)
UNTRUE = int(EventFlag.FORGED | EventFlag.REPLAYED | EventFlag.REORDERED)


class Genuine:
    """The sources of a catalog, and which of them sign."""

    def __init__(self, catalog: Catalog) -> None:
        self._signing = np.zeros(1 << 16, np.bool_)  # by a source's index
        for at, source in enumerate(catalog.sources):
            self._signing[at] = bool(source.signature)
        self._any = bool(self._signing.any())

    def of(self, rows: Raw) -> Raw:
        """The rows without those that a signing source has not signed, so that a forged trade
        cannot fill an order of ours. What a banned source says still is what an exchange did."""
        if not self._any or not len(rows):
            return rows
        flags = rows["flags"]
        unsigned = self._signing[rows["source"]] & ((flags & SIGNED) == 0)
        bad = (unsigned & (rows["kind"] != EventKind.TICK)) | ((flags & UNTRUE) != 0)
        return Raw(rows[~bad]) if bad.any() else rows
