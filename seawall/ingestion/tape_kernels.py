"""The compiled look at rows that go on the tape: receive times raised, indexes within the catalog.

A live message is a row or a few, so the look is one pass and one call, not one for each column.
"""

import numpy as np
from numba import njit

RECORDED_LATE = np.uint16(4)


@njit(cache=True)
def put_in_order(rows, last, limits):
    """Raise receive times that go back to the one before them, and flag their rows RECORDED_LATE.

    Args:
        rows: (n,) EVENT, written. last: ns UTC of the row before them.
        limits: (4,) the greatest instrument, source, kind and side that there are.

    Returns:
        Whether no row is beyond a limit.
    """
    sound = True
    for i in range(len(rows)):
        row = rows[i]
        if row["recv_ts"] < last:
            row["recv_ts"] = last
            row["flags"] |= RECORDED_LATE
        last = row["recv_ts"]
        known = row["instrument"] <= limits[0] and row["source"] <= limits[1]
        sound = sound and known and row["kind"] <= limits[2] and row["side"] <= limits[3]
    return sound
