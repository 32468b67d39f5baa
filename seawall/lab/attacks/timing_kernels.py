"""Attacks on time, compiled: a source that lags behind, and one that tells an old minute again.

Held rows come out in the tape's order: before the first row whose (receive time, source) is not
below theirs. What is due after the last row of a tape does not come out.
"""

import numpy as np
from numba import njit

from seawall.lab.attacks.shadow_kernels import (
    BAR_OPEN,
    BEGIN,
    DEPTH,
    END,
    QUOTE,
    ROOM,
    SNAPSHOT,
    TRADE,
    find_book,
    learn,
    write_snapshot,
)

LANE = np.dtype(  # of one owned source
    [
        ("head", "<i8"),  # where the oldest held row lies
        ("held", "<i8"),
        ("due", "<i8"),  # ns, of the message under way
        ("early", "<i8"),  # rows let go before their time, because there was no more room
    ]
)

COPY, SKIP, WHOLE = range(3)  # what becomes of the message under way while recording
STREAMS = 4  # book, trades, quotes, bars: each counts by itself
HONEST = -1  # who numbers a message, where it is not a round of the replay

ECHO = np.dtype(
    [
        ("mode", "<i8"),  # of the message under way while recording
        ("taken", "<i8"),  # the recording holds a whole book, later messages follow on it
        ("round", "<i8", (STREAMS,)),  # who sent the last message: HONEST or a round
        ("bump", "<i8", (STREAMS,)),  # added to the numbers now
        ("last", "<i8", (STREAMS,)),  # last number sent
        ("behind", "<i8"),  # the true book must be sent anew
        ("telling", "<i8"),  # a snapshot stands in for the message under way
    ]
)

REEL = np.dtype(
    [
        ("rows", "<i8"),  # recorded
        ("begun", "<i8"),  # where the message under way began in the recording
        ("full", "<i8"),
        ("at", "<i8"),  # next row to be told
        ("round", "<i8"),
        ("length", "<i8"),  # ns of a round
        ("from", "<i8"),  # ns: recorded in [from, start), told in [start, end)
        ("start", "<i8"),
        ("end", "<i8"),
    ]
)


@njit(cache=True)
def next_lane(lanes, held, recv_ts, source):
    """The lane whose oldest row comes next and not after (recv_ts, source); -1 if none does."""
    best = -1
    due = recv_ts
    owner = np.int64(source)
    for k in range(len(lanes)):
        if lanes[k]["held"] == 0:
            continue
        oldest = held[k, lanes[k]["head"]]
        if oldest["recv_ts"] < due or (oldest["recv_ts"] == due and oldest["source"] <= owner):
            best = k
            due = oldest["recv_ts"]
            owner = np.int64(oldest["source"])
    return best


@njit(cache=True)
def release(lane, queue, out, count):
    """Let the oldest row of a lane go."""
    out[count] = queue[lane["head"]]
    lane["head"] = (lane["head"] + 1) % len(queue)
    lane["held"] -= 1
    return count + 1


@njit(cache=True)
def run_delay(lanes, lane_of, held, rows, start, active, delay, restamp, out):
    """Rows from `start` on, those of owned sources `delay` ns late while `active`.

    Args:
        lanes: (owned,) LANE. lane_of: (sources,) lane or -1. held: (owned, room) EVENT.
        active: (rows,) bool, counts at first rows of messages.
        restamp: 1 where exchange times are moved as well.

    Returns:
        (next row, rows written to `out`).
    """
    count = 0
    limit = len(out) - ROOM
    for i in range(start, len(rows)):
        row = rows[i]
        recv_ts = row["recv_ts"]
        while True:
            if count > limit:
                return i, count
            k = next_lane(lanes, held, recv_ts, row["source"])
            if k < 0:
                break
            count = release(lanes[k], held[k], out, count)
        k = lane_of[row["source"]] if row["source"] < len(lane_of) else -1
        if k < 0 or row["kind"] > 9:
            out[count] = row
            count += 1
            continue
        lane, queue = lanes[k], held[k]
        if row["flags"] & BEGIN:
            due = recv_ts + delay if active[i] else recv_ts
            lane["due"] = max(lane["due"], due)
        due = max(lane["due"], recv_ts)
        if lane["held"] == 0 and due == recv_ts:
            out[count] = row
            count += 1
            continue
        if lane["held"] == len(queue):
            oldest = count
            count = release(lane, queue, out, count)
            out[oldest]["recv_ts"] = recv_ts
            lane["early"] += 1
        place = (lane["head"] + lane["held"]) % len(queue)
        queue[place] = row
        queue[place]["recv_ts"] = due
        if restamp and row["exch_ts"] > 0:
            queue[place]["exch_ts"] = row["exch_ts"] + (due - recv_ts)
        lane["held"] += 1
    return len(rows), count


@njit(cache=True)
def stream_of(kind):
    """Which count a row belongs to, -1 for none."""
    if kind == DEPTH or kind == SNAPSHOT:
        return 0
    if kind == TRADE:
        return 1
    if kind == QUOTE:
        return 2
    return 3 if kind >= BAR_OPEN and kind < 9 else -1


@njit(cache=True)
def renumber(echo, told, number):
    """Give rows of a message numbers above all that were sent; `number`: HONEST or a round."""
    stream = stream_of(told["kind"])
    if stream < 0:
        return
    if told["flags"] & BEGIN:
        if echo["round"][stream] != number:
            echo["round"][stream] = number
            bump = echo["last"][stream] + 1 - told["sequence"]
            echo["bump"][stream] = max(bump, np.int64(0))
        echo["last"][stream] = told["sequence"] + echo["bump"][stream]
    told["sequence"] += echo["bump"][stream]
    if told["previous"] >= 0:
        told["previous"] += echo["bump"][stream]


@njit(cache=True)
def begin_record(book, echo, row):
    """A message begins while the recording runs: take it, leave it, or take the book instead."""
    kind = row["kind"]
    if kind == SNAPSHOT:
        echo["taken"] = 1
    if kind != DEPTH or echo["taken"] == 1:
        echo["mode"] = COPY
    elif book["whole"] == 1:
        echo["taken"] = 1
        echo["mode"] = WHOLE
    else:
        echo["mode"] = SKIP


@njit(cache=True)
def record(shadow, at, echo, row, tape, reel):
    """Keep a row for later; a message that finds no room is left out whole, and all after it."""
    if row["flags"] & BEGIN:
        reel["begun"] = reel["rows"]
        begin_record(shadow.books[at], echo, row)
    if reel["full"] == 1 or echo["mode"] == SKIP:
        return
    if echo["mode"] == WHOLE and not row["flags"] & END:
        return
    if reel["rows"] + ROOM > len(tape):
        reel["full"] = 1
        reel["rows"] = reel["begun"]
        return
    if echo["mode"] == WHOLE:
        reel["rows"] = write_snapshot(tape, reel["rows"], row, shadow.ladders[at], np.int64(0))
        return
    tape[reel["rows"]] = row
    reel["rows"] += 1


@njit(cache=True)
def replay(shadow, echoes, tape, reel, recv_ts, source, out, count):
    """Tell recorded rows that are due by (recv_ts, source), as far as `out` has room."""
    limit = len(out) - ROOM
    while reel["rows"] > 0 and count <= limit:
        row = tape[reel["at"]]
        shift = (reel["round"] + 1) * reel["length"]
        due = row["recv_ts"] + shift
        if due >= reel["end"] or due > recv_ts or (due == recv_ts and row["source"] > source):
            break
        at = find_book(shadow.book_of, row)
        out[count] = row
        out[count]["recv_ts"] = due
        if row["exch_ts"] > 0:
            out[count]["exch_ts"] = row["exch_ts"] + shift
        renumber(echoes[at], out[count], reel["round"])
        count += 1
        reel["at"] += 1
        if reel["at"] == reel["rows"]:
            reel["at"] = 0
            reel["round"] += 1
    return count


@njit(cache=True)
def tell_honest(shadow, at, echo, row, muted, out, count):
    """An honest row of an owned source: kept back, as it is, or in a snapshot of the true book."""
    if muted:
        echo["behind"] = 1
        return count
    kind = row["kind"]
    if row["flags"] & BEGIN and (kind == DEPTH or kind == SNAPSHOT):
        lost = echo["behind"] == 1 and kind == DEPTH
        echo["telling"] = 1 if lost and shadow.books[at]["whole"] == 1 else 0
        echo["behind"] = 0
    if kind == DEPTH and echo["telling"] == 1:
        if not row["flags"] & END:
            return count
        first = count
        count = write_snapshot(out, count, row, shadow.ladders[at], np.int64(0))
        for k in range(first, count):
            renumber(echo, out[k], HONEST)
        return count
    out[count] = row
    renumber(echo, out[count], HONEST)
    return count + 1


@njit(cache=True)
def run_replay(shadow, echoes, tape, reels, rows, start, out):
    """Rows from `start` on; from the reel's start to its end owned sources tell the recording.

    echoes: (books,) ECHO. tape: (room,) EVENT. reels: (1,) REEL.
    Returns (next row, rows written to `out`).
    """
    count = 0
    limit = len(out) - ROOM
    reel = reels[0]
    for i in range(start, len(rows)):
        row = rows[i]
        recv_ts = row["recv_ts"]
        if recv_ts >= reel["start"]:
            count = replay(shadow, echoes, tape, reel, recv_ts, np.int64(row["source"]), out, count)
        if count > limit:
            return i, count
        at = find_book(shadow.book_of, row)
        if at < 0 or shadow.books[at]["own"] == 0:
            out[count] = row
            count += 1
            continue
        learn(shadow, at, row)
        if reel["from"] <= recv_ts < reel["start"]:
            record(shadow, at, echoes[at], row, tape, reel)
        muted = reel["start"] <= recv_ts < reel["end"]
        count = tell_honest(shadow, at, echoes[at], row, muted, out, count)
    return len(rows), count
