"""Writes the journal's rows of a compiled pass: MessagePack, byte for byte as msgspec does.

What a record looks like is told by its form (see `busy_writer`): bytes that stay the same, and
between them cells that say which field of an event goes there, and how. No function that branches
is given an array: that would count every array at every call, and take six times as long.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from seawall.node.busy_kernels import APPROVED, SENT, WANTED

# how a field is written; a NAME is the prefix and a number in digits, DIGITS the number alone
INTEGER, REAL, TRUTH, TEXT, NAME, DIGITS, NOTHING = range(7)

CELL = np.dtype(
    [
        ("first", "<i8"),  # of the bytes before it, in `fixed`
        ("past", "<i8"),
        ("how", "<i8"),  # NOTHING: the record ends
        ("field", "<i8"),  # place in EVENT
        ("plus", "<i8"),  # is added to the field; of TEXT the first text that it may be
        ("wanted", "<i8"),  # 1: of the intent's event
    ]
)

ROW = np.dtype(
    [
        ("form", "<i8"),
        ("event", "<i8"),
        ("wanted", "<i8"),  # the event of the intent behind a decision
        ("ts", "<i8"),
        ("end", "<i8"),  # of its bytes
    ]
)


class Script(NamedTuple):
    """What rows are made of.

    fixed: the bytes of all forms. cells: CELL, form by form. begins: (forms,) first cell of each.
    texts: in MessagePack, end to end. text_ends: (texts + 1,), the first 0. prefix: of names.
    """

    fixed: np.ndarray
    cells: np.ndarray
    begins: np.ndarray
    texts: np.ndarray
    text_ends: np.ndarray
    prefix: np.ndarray


@njit(cache=True)
def lay_out(events: Any, forms: Any, newest: Any, rows: Any) -> None:
    """Which rows there are, and of what form.

    events: EVENT. forms: (kinds of events, 2) the first form of each, plain and where a Close is
    wanted. newest: (instruments,) room. rows: ROW, as many as there will be.
    """
    count = 0
    for number in range(len(events)):
        event = events[number]
        what, instrument = event["what"], event["instrument"]
        if what == WANTED:
            newest[instrument] = number
        wanted = newest[instrument] if what <= APPROVED else number
        closes = 1 if what <= APPROVED and events[wanted]["flag"] == 1 else 0
        for more in range(2 if what == SENT else 1):  # that it was made, and that it was sent
            row = rows[count]
            row["form"] = forms[what, closes] + more
            row["event"], row["wanted"], row["ts"] = number, wanted, event["ts"]
            count += 1


@njit(cache=True)
def head_of(value: int) -> tuple[int, int]:
    """First byte of a whole number, and the bytes that follow; -1: it is its own first byte."""
    if -32 <= value < 128:
        return -1, 1
    if value >= 0:
        size = 0 if value < 1 << 8 else 1 if value < 1 << 16 else 2 if value < 1 << 32 else 3
        return 0xCC + size, 1 << size
    size = 0 if value >= -128 else 1 if value >= -(1 << 15) else 2 if value >= -(1 << 31) else 3
    return 0xD0 + size, 1 << size


@njit(cache=True)
def text_head_of(length: int) -> tuple[int, int]:
    """First byte of a text below 64 KiB, and the bytes that its length takes."""
    if length < 32:
        return 0xA0 + length, 0
    return (0xD9, 1) if length < 1 << 8 else (0xDA, 2)


@njit(cache=True)
def digits_of(number: int) -> int:
    """How many digits a number >= 0 has."""
    count, rest = 1, np.uint64(number) // np.uint64(10)
    while rest > np.uint64(0):
        count += 1
        rest //= np.uint64(10)
    return count


@njit(cache=True)
def put(out: Any, at: int, data: Any, first: int, past: int) -> int:
    """Bytes as they are; where the next one goes."""
    to, begin = np.uint64(at), np.uint64(first)
    for k in range(np.uint64(past - first)):
        out[to + k] = data[begin + k]
    return at + past - first


@njit(cache=True)
def put_number(out: Any, at: int, value: int, size: int) -> int:
    """So many bytes of a number, the highest first."""
    to = np.uint64(at)
    for k in range(np.uint64(size)):
        out[to + k] = (value >> np.int64(8 * (size - 1 - k))) & 0xFF
    return at + size


@njit(cache=True)
def put_digits(out: Any, at: int, number: int, count: int) -> int:
    """A number >= 0 in digits."""
    rest, ten = np.uint64(number), np.uint64(10)
    for k in range(count):
        out[np.uint64(at + count - 1 - k)] = np.uint64(48) + rest % ten
        rest //= ten
    return at + count


@njit(cache=True)
def put_link(out: Any, at: int, seq: int, schema: int) -> int:
    """What `storage.schema.link` hashes between the hash before it and the body."""
    for k in range(8):
        out[at + k] = (seq >> (8 * k)) & 0xFF
    for k in range(4):
        out[at + 8 + k] = (schema >> (8 * k)) & 0xFF
    return at + 12


@njit(cache=True)
def write(fields: Any, script: Any, rows: Any, seq: int, schema: int, out: Any) -> None:
    """The rows' bytes, end to end, each behind its link; `rows` gets to know where they end.

    fields: the events as (events, fields) whole numbers. seq: of the row before the first. out:
    room for all bytes.
    """
    fixed, cells, begins = script.fixed, script.cells, script.begins
    texts, text_ends, prefix = script.texts, script.text_ends, script.prefix
    end = 0
    for at in range(len(rows)):
        row = rows[at]
        end = put_link(out, end, seq + at + 1, schema)
        place = begins[row["form"]]
        while True:
            cell = cells[place]
            place += 1
            how = cell["how"]
            end = put(out, end, fixed, cell["first"], cell["past"])
            if how == NOTHING:
                break
            event = row["wanted"] if cell["wanted"] == 1 else row["event"]
            value = fields[event, cell["field"]] + cell["plus"]
            if how == TEXT:
                end = put(out, end, texts, text_ends[value], text_ends[value + 1])
            elif how == NAME or how == DIGITS:
                digits, before = digits_of(value), len(prefix) if how == NAME else 0
                out[end], size = text_head_of(before + digits)
                end = put_number(out, end + 1, before + digits, size)
                end = put(out, end, prefix, 0, before)
                end = put_digits(out, end, value, digits)
            else:
                tag, size = 0xCB, 8
                if how == INTEGER:
                    tag, size = head_of(value)
                elif how == TRUTH:
                    tag, size = 0xC2 + value, 0
                if tag >= 0:
                    out[end] = tag
                    end += 1
                end = put_number(out, end, value, size)
        row["end"] = end
