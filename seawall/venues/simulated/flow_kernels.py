"""What the exchange notes of the tape beside its books: the feed's delays, and what is traded."""

import numpy as np
from numba import njit

DEPTH, QUOTE, BAR_CLOSE, TRADE = 1, 4, 8, 3
BUCKETS = 64  # of traded volume; a window is all but the newest three, which are being filled
UNSEEN = 1 << 62

DELAY = np.dtype(
    [
        ("least", "<i8"),  # ns; receive time less the venue's time, of all messages so far
        ("last", "<i8"),  # ns; of the last one
    ]
)
TRADED = np.dtype(
    [
        ("bucket", "<i8", (BUCKETS,)),  # which span of time each holds
        ("lots", "<i8", (BUCKETS,)),  # traded in it
    ]
)


@njit(cache=True)
def add(traded, bucket, lots):
    """Count lots in a span of time."""
    at = bucket % BUCKETS
    if traded["bucket"][at] != bucket:
        traded["bucket"][at] = bucket
        traded["lots"][at] = 0
    traded["lots"][at] += lots


@njit(cache=True)
def since(traded, bucket):
    """Lots of all spans from `bucket` on."""
    total = np.int64(0)
    for k in range(BUCKETS):
        if traded["bucket"][k] >= bucket:
            total += traded["lots"][k]
    return total


@njit(cache=True)
def step(delays, traded, book_of, width, row):
    """One row of the tape.

    Args:
        delays: (sources,) of DELAY. traded: (instruments,) of TRADED.
        book_of: (instruments, sources) instrument whose venue this source is, else -1.
        width: ns of a bucket.
    """
    kind = row["kind"]
    if row["instrument"] >= book_of.shape[0] or row["source"] >= book_of.shape[1]:
        return
    if DEPTH <= kind <= QUOTE and row["exch_ts"] > 0:
        delay = delays[row["source"]]
        delay["last"] = row["recv_ts"] - row["exch_ts"]
        delay["least"] = min(delay["least"], delay["last"])
    if kind == TRADE or kind == BAR_CLOSE:
        instrument = book_of[row["instrument"], row["source"]]
        if instrument >= 0 and row["size"] > 0:
            add(traded[instrument], row["recv_ts"] // width, row["size"])


@njit(cache=True)
def run(delays, traded, book_of, width, rows):
    """A block of the tape: a loop over `step`."""
    for i in range(len(rows)):
        step(delays, traded, book_of, width, rows[i])
