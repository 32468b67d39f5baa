"""The checks of admission, compiled: one reason code per row, 0 where the row is admitted.

What concerns a whole message (rate, quota, clock, sequence) is decided at its first row and holds
for the rest of it, so that no message is ever applied by half for those reasons.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

DEPTH, SNAPSHOT, TRADE, QUOTE, BAR_OPEN, BAR_HIGH, BAR_LOW, BAR_CLOSE, DOWN, TICK = range(1, 11)
BEGIN = 1
END = 2
IS_SIGNED, IS_FORGED, IS_REPLAYED, IS_REORDERED = 8, 16, 32, 64
MARKS = 120  # all four

ADMITTED, UNREGISTERED, BANNED, UNTRUSTED, RATE, QUOTA, STALE, CLOCK_STEP = range(8)
DUPLICATE, GAP, MALFORMED, CROSSED, PRICE_BAND = range(8, 13)
UNSIGNED, FORGED, REPLAYED, REORDERED = range(13, 17)
REASONS = 17

SETTLING = 10_000_000_000  # ns in which a new source's least delay is still being found, or lost
DRIFT_PPM = 100  # a clock may run this much faster than ours before its rows look late
PRICE_LIMIT = 1 << 40  # ticks; beyond any price that a tape may hold
SIZE_LIMIT = 1 << 61  # lots
TOKEN = 1_000_000_000  # what one row takes from its source's bucket
SHORT = 1_000_000_000  # ns in which no bucket's income overflows

SOURCE = np.dtype(
    [
        ("tokens", "<i8"),  # bucket, in 1e-9 rows
        ("token_ts", "<i8"),
        ("epoch", "<i8"),
        ("epoch_rows", "<i8"),
        ("envelope", "<i8"),  # least receive - exchange time, ns
        ("envelope_ts", "<i8"),
        ("stepped_at", "<i8"),  # when a clock step was first seen, 0 if none
        ("extra", "<i8"),  # ns of the last message above the envelope
        ("admitted", "<i8"),
        ("last_ts", "<i8"),
        ("seen", "<i8"),  # when the envelope began, 0 while there is none
        ("found", "<i8"),  # when it was last found, or fell by more than a clock step
        ("met", "<i8"),  # when a message was last within a clock step of it
        ("parted", "<i8"),  # the first message since then that was not, 0 if none
        ("least", "<i8"),  # least delay since `parted`, ns
        ("marks", "<i8"),  # what its rows must carry: IS_SIGNED where it signs, else 0
    ]
)

BOOK = np.dtype(
    [
        ("reason", "<i8"),  # of the message under way; GAP between two
        ("synced", "<i8"),  # a snapshot has come and no message is missing since
        ("in_snapshot", "<i8"),
        ("depth", "<i8"),  # last sequence, by kind
        ("trade", "<i8"),
        ("quote", "<i8"),
        ("bar", "<i8"),
        ("touch_bid", "<i8"),  # of the snapshot or quote under way
        ("touch_ask", "<i8"),
        ("open", "<i8"),  # of the bar under way
        ("high", "<i8"),
        ("low", "<i8"),
    ]
)

LIMITS = np.dtype(
    [
        ("rows_per_second", "<i8"),
        ("burst_rows", "<i8"),
        ("rows_per_epoch", "<i8"),
        ("stale_ns", "<i8"),
        ("clock_step_ns", "<i8"),
        ("epoch_ns", "<i8"),
        ("trust_minimum", "<f8"),
    ]
)


class AdmissionState(NamedTuple):
    """Carry of admission.

    book_of: (instruments, sources) book or -1. verdict: (books,) dtype VERDICT, in force now.
    limits: (1,) LIMITS. sources: (sources,) SOURCE. books: (books,) BOOK.
    refused: (sources, REASONS) counts.
    """

    book_of: np.ndarray
    verdict: np.ndarray
    limits: np.ndarray
    sources: np.ndarray
    books: np.ndarray
    refused: np.ndarray


@njit(cache=True)
def check_marks(marks):
    """Why a row is refused whose marks are not those of its source.

    A good signature that nobody asked for harms nothing; a bad mark is refused of any source,
    so that no forged batch can speak for a source that does not sign.
    """
    if marks & IS_FORGED:
        return FORGED
    if marks & IS_REPLAYED:
        return REPLAYED
    if marks & IS_REORDERED:
        return REORDERED
    return ADMITTED if marks & IS_SIGNED else UNSIGNED


@njit(cache=True)
def spend(limits, source, recv_ts):
    """Take one row from the source's bucket and quota; the reason where either is overdrawn.

    Divides only where the source was silent for long or an epoch ends: a division costs more than
    the rest.
    """
    passed = recv_ts - source["token_ts"]
    if passed > 0:
        burst = limits["burst_rows"] * TOKEN
        source["token_ts"] = recv_ts
        if passed > SHORT and passed > burst // limits["rows_per_second"]:  # or it could overflow
            source["tokens"] = burst
        else:
            source["tokens"] = min(burst, source["tokens"] + passed * limits["rows_per_second"])
        into = recv_ts - source["epoch"] * limits["epoch_ns"]
        if not 0 <= into < limits["epoch_ns"]:
            source["epoch"] = recv_ts // limits["epoch_ns"]
            source["epoch_rows"] = 0
    source["epoch_rows"] += 1
    if source["tokens"] < TOKEN:
        return RATE
    source["tokens"] -= TOKEN
    return QUOTA if source["epoch_rows"] > limits["rows_per_epoch"] else ADMITTED


@njit(cache=True)
def settle(limits, source, recv_ts, delay, envelope):
    """The envelope, found anew where it was a clock's passing error and not the source's delay.

    A clock that was ahead for a moment while the envelope was being found, or just as the node
    started, leaves one that no honest message comes near again: all would be stale for hours, as
    an envelope rises by DRIFT_PPM alone. So one that has not held good for an epoch is given up as
    soon as every message of SETTLING has stayed above it. One that has held good is kept: of a
    source that is known so well such messages are late.
    """
    if delay - envelope <= limits["clock_step_ns"]:
        source["met"] = recv_ts
        source["parted"] = 0
        return envelope
    if source["met"] - source["found"] >= limits["epoch_ns"]:
        return envelope
    if source["parted"] == 0:
        source["parted"] = recv_ts
        source["least"] = delay
    source["least"] = min(source["least"], delay)
    if recv_ts - source["parted"] < SETTLING:
        return envelope
    source["seen"] = recv_ts  # if it was lateness after all, the next ones may fall at once
    source["found"] = recv_ts
    source["met"] = recv_ts
    source["parted"] = 0
    return source["least"]


@njit(cache=True)
def check_clock(limits, source, recv_ts, exch_ts):
    """Hold a message's exchange time against the source's lower envelope of delays."""
    delay = recv_ts - exch_ts
    if source["seen"] == 0:
        source["seen"] = recv_ts
        source["found"] = recv_ts
        source["envelope"] = delay
        source["envelope_ts"] = recv_ts
    elapsed = recv_ts - source["envelope_ts"]
    source["envelope_ts"] = recv_ts
    envelope = source["envelope"]
    young = recv_ts - source["seen"] < SETTLING  # its first messages may have come late
    if delay < envelope - limits["clock_step_ns"]:  # its clock has jumped ahead
        if source["stepped_at"] == 0:
            source["stepped_at"] = recv_ts
        if recv_ts - source["stepped_at"] < limits["epoch_ns"] and not young:
            return CLOCK_STEP
        envelope = delay  # it has stayed there for an epoch: that is its clock now
        source["found"] = recv_ts
    source["stepped_at"] = 0
    envelope = min(delay, envelope + elapsed * DRIFT_PPM // 1_000_000)
    envelope = settle(limits, source, recv_ts, delay, envelope)
    source["envelope"] = envelope
    source["extra"] = delay - envelope
    return STALE if delay - envelope > limits["stale_ns"] else ADMITTED


@njit(cache=True)
def check_sequence(book, kind, sequence, previous):
    """Order of a message among its kind; a depth message must follow the book's last one."""
    if kind == DEPTH:
        last = book["depth"]
        if book["synced"] == 0:
            return GAP
        if sequence <= last:
            return DUPLICATE
        if previous > last:
            book["synced"] = 0
            return GAP
        book["depth"] = sequence
    elif kind == SNAPSHOT:
        book["synced"] = 1
        book["depth"] = sequence
    elif kind == TRADE:
        if sequence <= book["trade"]:
            return DUPLICATE
        book["trade"] = sequence
    elif kind == QUOTE:
        if sequence <= book["quote"]:
            return DUPLICATE
        book["quote"] = sequence
    else:
        if sequence <= book["bar"]:
            return DUPLICATE
        book["bar"] = sequence
    return ADMITTED


@njit(cache=True)
def check_bar(book, kind, price):
    """A bar's high must bound its open, low and close."""
    if kind == BAR_OPEN:
        book["open"] = price
        return ADMITTED
    if kind == BAR_HIGH:
        book["high"] = price
        return MALFORMED if price < book["open"] else ADMITTED
    if kind == BAR_LOW:
        book["low"] = price
        return MALFORMED if price > book["open"] else ADMITTED
    return MALFORMED if price > book["high"] or price < book["low"] else ADMITTED


@njit(cache=True)
def check_depth(verdict, book, side, price):
    """A depth row that adds a level: within the band, and a snapshot must not cross itself."""
    if (side == 0 and price > verdict["high"]) or (side == 1 and price < verdict["low"]):
        return PRICE_BAND
    if book["in_snapshot"]:
        if side == 0:
            book["touch_bid"] = max(book["touch_bid"], price)
        else:
            book["touch_ask"] = min(book["touch_ask"], price)
        if book["touch_bid"] >= book["touch_ask"]:
            return CROSSED
    return ADMITTED


@njit(cache=True)
def check_row(verdict, book, row):
    """What each row must satisfy by itself: sane numbers, price band, an uncrossed touch."""
    kind = row["kind"]
    if kind == SNAPSHOT:
        book["in_snapshot"] = 1
        book["touch_bid"] = 0
        book["touch_ask"] = PRICE_LIMIT
        return ADMITTED
    price = row["price"]
    size = row["size"]
    side = row["side"]
    if price <= 0 or price >= PRICE_LIMIT or size < 0 or size >= SIZE_LIMIT or side > 2:
        return MALFORMED
    if (kind == DEPTH or kind == QUOTE) and side > 1:
        return MALFORMED
    if kind == DEPTH:
        return check_depth(verdict, book, side, price) if size > 0 else ADMITTED
    if price < verdict["low"] or price > verdict["high"]:
        return PRICE_BAND
    if kind == TRADE:
        return MALFORMED if size == 0 else ADMITTED
    if kind == QUOTE:
        if row["flags"] & BEGIN:
            book["touch_bid"] = price
            return ADMITTED
        return CROSSED if price <= book["touch_bid"] else ADMITTED
    return check_bar(book, kind, price)


@njit(cache=True)
def check_message(limits, verdict, source, book, row):
    """What is decided at a message's first row."""
    if verdict["banned"]:
        return BANNED
    if verdict["trust"] < limits["trust_minimum"]:
        return UNTRUSTED
    kind = row["kind"]
    if row["exch_ts"] > 0 and (kind == DEPTH or kind == TRADE):
        reason = check_clock(limits, source, row["recv_ts"], row["exch_ts"])
        if reason != ADMITTED:
            return reason
    if kind >= TRADE:  # a row that is refused by itself must not move the sequence
        reason = check_row(verdict, book, row)
        if reason != ADMITTED:
            return reason
    return check_sequence(book, kind, row["sequence"], row["previous"])


@njit(cache=True)
def check(limits, verdict, source, book, row):
    """One row of a registered book: its reason, 0 where it is admitted.

    Takes records only, because a compiled call copies the header of each array that it is given.
    A row that its source cannot be shown to have sent is refused before anything is touched: it
    costs the source neither rate nor trust and leaves the book as good as it was, because anybody
    can send such rows. What was lost beneath them shows in the sequence of the next honest ones.
    """
    marks = row["flags"] & MARKS
    if marks != source["marks"]:
        reason = check_marks(marks)
        if reason != ADMITTED:
            return reason
    kind = row["kind"]
    source["last_ts"] = row["recv_ts"]
    if kind == DOWN:
        book["synced"] = 0
        source["admitted"] += 1
        return ADMITTED
    reason = spend(limits, source, row["recv_ts"])
    if row["flags"] & BEGIN:
        if reason == ADMITTED:
            reason = check_message(limits, verdict, source, book, row)
        book["reason"] = reason
    reason = book["reason"]
    if reason == ADMITTED and (kind < TRADE or not row["flags"] & BEGIN):  # else it has been
        reason = check_row(verdict, book, row)
        book["reason"] = reason
    if row["flags"] & END:
        book["in_snapshot"] = 0
        book["reason"] = GAP  # a row without a beginning is of no message that was looked at
    if reason == ADMITTED:
        source["admitted"] += 1
    elif (kind == DEPTH or kind == SNAPSHOT) and reason != DUPLICATE:
        book["synced"] = 0
    return reason


@njit(cache=True)
def pass_on(source, book, last, count):
    """`count` rows behind an admitted one, `last` the last of them, and nothing wrong with any.

    The same as `check` of each.
    """
    source["tokens"] -= min(count, source["tokens"] // TOKEN) * TOKEN
    source["epoch_rows"] += count
    source["admitted"] += count
    if last["flags"] & END:
        book["in_snapshot"] = 0
        book["reason"] = GAP


@njit(cache=True)
def find_book(book_of, row):
    """The row's book, -1 where the registry has none."""
    if row["instrument"] >= book_of.shape[0] or row["source"] >= book_of.shape[1]:
        return np.int64(-1)
    if row["kind"] < DEPTH or row["kind"] > TICK:
        return np.int64(-1)
    return np.int64(book_of[row["instrument"], row["source"]])


@njit(cache=True)
def step(state, row):
    """One row: its reason, counted by source and reason."""
    if row["kind"] == TICK:
        return ADMITTED
    at = find_book(state.book_of, row)
    if at < 0:
        state.refused[min(np.int64(row["source"]), len(state.sources) - 1), UNREGISTERED] += 1
        return UNREGISTERED
    source = state.sources[row["source"]]
    reason = check(state.limits[0], state.verdict[at], source, state.books[at], row)
    if reason != ADMITTED:
        state.refused[row["source"], reason] += 1
    return reason


@njit(cache=True)
def run(state, rows, reasons):
    """A block of rows; `reasons` (uint8, one per row) is filled in."""
    for i in range(len(rows)):
        reasons[i] = step(state, rows[i])
