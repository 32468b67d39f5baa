"""Where no frame closes time goes on: answers are heard and the venue is compared with."""

from typing import Any

import numpy as np
import pytest

from seawall.core.clock import MINUTE, SECOND
from seawall.core.errors import VenueUnreachableError
from seawall.core.events import EventKind, Raw, empty
from seawall.core.records import FillBooked, IntentDecided, OrderChanged, OrderCreated
from seawall.core.sections import AdmissionSettings, VenueSettings
from seawall.node.heartbeat import Heartbeat
from seawall.node.prices import SILENT
from tests.node.short_runs import QUICK, START, every, node_on, records, tape

HOLES = ((30, 50), (70, 73))  # seconds in which nobody says anything
SLOW = QUICK.model_copy(
    update={
        "admission": AdmissionSettings(silent_s=1.0),
        "venue": VenueSettings(entry_latency_ms=1_500, response_latency_ms=2_500),
    }
)


def holed(ticks: bool, holes: Any = HOLES) -> tuple[Any, Raw]:
    """A tape with holes; with TICK rows in them as a live feed has, or with nothing."""
    catalog, rows = tape(115)
    for first, past in holes:
        since = (rows["recv_ts"] - START) / SECOND
        kept = rows[(since < first) | (since >= past)]
        passing = empty((past - first) * 10 if ticks else 0)
        passing["kind"] = EventKind.TICK
        passing["recv_ts"] = START + first * SECOND + np.arange(len(passing)) * (SECOND // 10)
        at = np.searchsorted(kept["recv_ts"], START + first * SECOND)
        rows = np.concatenate([kept[:at], passing, kept[at:]])
    return catalog, Raw(rows)


@pytest.mark.parametrize("ticks", [True, False])
def test_the_same_however_the_tape_is_cut_and_whoever_acts(ticks):
    catalog, rows = holed(ticks)
    whole = node_on(catalog, rows, SLOW)
    whole.run()
    head = whole.recorder.journal.head
    inside = [
        r
        for r in records(whole, OrderChanged, FillBooked)
        if any(first + 1 < (r.ts - START) / SECOND < past for first, past in HOLES)
    ]
    assert inside  # heard while nothing came
    assert len(records(whole, OrderCreated)) > 5
    for eager in (True, False):
        for cut in (97, 4096, len(rows)):
            node = node_on(catalog, rows, SLOW, every(rows, cut), eager=eager)
            node.run()
            assert node.recorder.journal.head == head, (eager, cut)


def test_nothing_is_decided_in_silence():
    node = node_on(*holed(True), SLOW)
    node.run()
    asked = [(r.ts - START) / SECOND for r in records(node, IntentDecided, OrderCreated)]
    assert any(at > 73 for at in asked)
    assert not [at for at in asked if 31.5 < at < 50]


def test_a_venue_that_was_lost_is_found_again_without_a_frame():
    catalog, rows = holed(True, ((30, 100),))
    said: list[str] = []
    node = node_on(catalog, rows, SLOW, say=said.append)
    venue: Any = node.ports.venue
    balances, lost = venue.balances, [0]

    def failing() -> Any:
        if node.now < START + 60 * SECOND:
            lost[0] += 1
            raise VenueUnreachableError("balances: no answer")
        return balances()

    venue.balances = failing
    for block in np.array_split(rows[rows["recv_ts"] < START + 99 * SECOND], 500):
        node.take(Raw(block))
        if START + 20 * SECOND < node.now < START + 59 * SECOND:
            assert node.action.executor.silent
    assert lost[0] > 40
    assert not node.action.executor.silent
    assert node.action.reasons == [SILENT]
    assert said[-1] == f"not trading: {SILENT}"


@pytest.mark.parametrize("at_once", [True, False])
def test_after_an_absence_the_venue_is_asked_once_and_not_for_each_second_of_it(at_once):
    """A machine that slept for hours would be shut out by its exchange."""
    catalog, rows = tape(60)
    rows = Raw(rows.copy())
    rows["recv_ts"][rows["recv_ts"] >= START + 30 * SECOND] += 8 * 60 * MINUTE
    node = node_on(catalog, rows, SLOW)
    venue: Any = node.ports.venue
    orders, asked = venue.orders, [0]

    def counted(*given: Any) -> Any:
        asked[0] += 1
        return orders(*given)

    venue.orders = counted
    for block in [rows] if at_once else np.array_split(rows, 200):
        node.take(Raw(block))
    assert 0 < asked[0] < 100
    whole = node_on(catalog, rows, SLOW)
    whole.take(rows)
    assert node.recorder.journal.head == whole.recorder.journal.head


def test_the_grid():
    node = node_on(*tape(3))
    heart = Heartbeat(node.action, 200_000_000)
    heart.acted(START + 1)
    first = START + 200_000_000
    assert list(heart.due(first + SECOND - 1)) == []
    assert list(heart.due(first + 2 * SECOND)) == [first + SECOND, first + 2 * SECOND]
    node.action.executor.behind = False  # nothing is waited for: each minute is enough
    assert list(heart.due(first + 2 * MINUTE)) == [first + 2 * SECOND + MINUTE]
    times = np.array([0, 1, 2, 8, 9, 20]) * 200_000_000
    assert [heart.unbroken(times, at) for at in (0, 2, 3, 5)] == [3, 3, 5, 6]
