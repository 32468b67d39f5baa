"""The compiled look at rows behind admission."""

from typing import Any

import numpy as np
from numba import njit

SNAPSHOT, DEPTH, DOWN, TICK, KINDS = 2, 1, 9, 10, 16
BEGIN = 1
WELL, BARRED, MALFORMED, BACKWARD = range(4)
NEVER = np.iinfo(np.int64).max


@njit(cache=True)
def first_wrong(rows: Any, reasons: Any, barred: Any, untrue: int, last: Any) -> tuple[int, int]:
    """What is wrong with the first admitted row that is not as it must be, and which it is.

    Args:
        rows: (n,) EVENT. reasons: (n,), 0: admitted.
        barred: (sources,) ns after which nothing of a source may be admitted; NEVER: it may.
        untrue: flags that no admitted row has.
        last: (instruments, sources, KINDS) sequence of the last message, -1: none; changed. No
            message is older than one before it, but for a whole book, which sets it anew.
    """
    for i in range(len(rows)):
        kind = np.int64(rows[i]["kind"])
        if reasons[i] != 0 or kind == TICK:
            continue
        source = np.int64(rows[i]["source"])
        if rows[i]["recv_ts"] > barred[source]:
            return BARRED, i
        if kind == DOWN:
            continue
        whole = kind == SNAPSHOT
        unsound = rows[i]["price"] <= 0 or rows[i]["size"] < 0 or rows[i]["flags"] & untrue != 0
        if not whole and unsound:
            return MALFORMED, i
        if rows[i]["flags"] & BEGIN != 0:
            place = DEPTH if whole else kind
            instrument = np.int64(rows[i]["instrument"])
            if not whole and rows[i]["sequence"] <= last[instrument, source, place]:
                return BACKWARD, i
            last[instrument, source, place] = rows[i]["sequence"]
    return WELL, -1
