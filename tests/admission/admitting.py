"""An admission with few settings, and what it says of whole messages."""

from typing import Any

from seawall.admission import Admission, AdmissionShape, Reason
from seawall.core.events import Raw
from tests.tapes import (
    Rows,
    at,
    catalog_of,
    snapshot,
)

BOOK = snapshot(at(0), 100, {99: 5, 98: 6}, {101: 5, 102: 6})


def admission(catalog: Any = None, **limits: Any) -> Admission:
    return Admission(catalog or catalog_of(("USD",)), AdmissionShape(**limits))


def reasons_of(one: Admission, *messages: Rows) -> list[Reason]:
    """The reason of each message; all its rows must have got the same."""
    found = []
    for rows in messages:
        reasons = set(one.admit(Raw(rows)).reasons.tolist())
        assert len(reasons) == 1
        found.append(Reason(reasons.pop()))
    return found


def last_reason(one: Admission, rows: Rows) -> Reason:
    """The reason of a message's last row."""
    return Reason(int(one.admit(Raw(rows)).reasons[-1]))
