"""What the simulation says of rows that should not have been admitted."""

import numpy as np
import pytest

from seawall.core.events import EventFlag, EventKind, empty
from seawall.simulation import check_kernels as kernels

FORGED = int(EventFlag.FORGED)


def rows() -> np.ndarray:
    """Six messages of two sources, as they must be."""
    made = empty(6)
    made["recv_ts"] = np.arange(10, 16)
    made["kind"] = EventKind.SNAPSHOT, *[EventKind.DEPTH] * 3, EventKind.TRADE, EventKind.TICK
    made["source"] = 0, 0, 1, 0, 0, 0
    made["sequence"] = 5, 6, 3, 9, 2, 0
    made["flags"] = EventFlag.BEGIN | EventFlag.END
    made["price"], made["size"] = (0, *[100] * 5), (0, 1, 0, 1, 1, 0)
    return made


@pytest.mark.parametrize(
    ("column", "at", "value", "wrong"),
    [
        ("price", 1, 0, kernels.MALFORMED),
        ("size", 2, -1, kernels.MALFORMED),
        ("flags", 4, FORGED, kernels.MALFORMED),
        ("sequence", 3, 6, kernels.BACKWARD),
        ("sequence", 1, 5, kernels.BACKWARD),
        ("source", 5, 1, kernels.WELL),  # time that passes is of nobody
        ("kind", 2, EventKind.DOWN, kernels.WELL),
        ("sequence", 4, 1, kernels.WELL),  # trades are numbered on their own
    ],
)
def test_what_is_wrong_is_found_where_it_is(column, at, value, wrong):
    told = rows()
    told[column][at] = value
    found = judged(told)
    assert found == ((wrong, at) if wrong else (kernels.WELL, -1))
    let_in = np.zeros(len(told), np.uint8)
    let_in[at] = 1
    assert judged(told, let_in) == (kernels.WELL, -1), "what is not admitted may be anything"


def test_nothing_comes_of_a_source_once_it_is_barred():
    assert judged(rows(), barred=[kernels.NEVER, 12]) == (kernels.WELL, -1)
    assert judged(rows(), barred=[kernels.NEVER, 11]) == (kernels.BARRED, 2)
    assert judged(rows(), barred=[13, kernels.NEVER]) == (kernels.BARRED, 4)


def test_a_whole_book_sets_the_sequence_anew():
    last = np.full((1, 2, kernels.KINDS), 50)
    assert judged(rows()[:2], last=last) == (kernels.WELL, -1)
    assert last[0, 0, EventKind.DEPTH] == 6
    assert judged(rows()[1:2], last=last) == (kernels.BACKWARD, 0)


def judged(told, reasons=None, barred=(kernels.NEVER, kernels.NEVER), last=None):
    last = np.full((1, 2, kernels.KINDS), -1) if last is None else last
    reasons = np.zeros(len(told), np.uint8) if reasons is None else reasons
    return kernels.first_wrong(told, reasons, np.array(barred), FORGED, last)
