"""The tape in the exchange's time: at its pace, over and over, and where a start goes on."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND, TapeClock
from seawall.core.errors import DataError
from seawall.core.events import EventKind, Side, empty
from seawall.exchange.pace import CATCH_UP, LAP_GAP, Pace, Recorded
from seawall.ingestion.tape import Tape, open_tape, write_tape
from tests.exchange.practice import ASK, BEGIN, CATALOG, tape_of

NOW = 2 * BEGIN
TRADES = [(0.1 * k, EventKind.TRADE, Side.BUY, ASK, 1 + k) for k in range(50)]
LAP = int(4.9 * SECOND) + LAP_GAP


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    return tape_of(tmp_path_factory.mktemp("pace") / "tape", *TRADES)


def played(tape: Tape, speed: float, steps: list[int]) -> list[tuple[int, int]]:
    """(ns after the start, lots) of all rows, read at some times of the clock."""
    clock = TapeClock(NOW)
    recorded = Recorded(tape, -1)
    pace = Pace(recorded, clock, recorded.position, speed)
    found = []
    for step in steps:
        clock.wait(clock.now() + step)
        rows = pace.read()
        found += [(int(row["recv_ts"]) - NOW, int(row["size"])) for row in rows]
        assert all(row["recv_ts"] <= clock.now() for row in rows)
    return found


@settings(max_examples=40, deadline=None)
@given(
    speed=st.sampled_from((1.0, 3.0, 60.0)),
    cuts=st.lists(st.integers(0, 8 * SECOND), min_size=1, max_size=12),
)
def test_how_often_it_is_read_changes_no_row(tape: Tape, speed: float, cuts: list[int]) -> None:
    every = sorted({*cuts, *range(0, max(cuts) + 1, CATCH_UP)})
    steps = [b - a for a, b in zip([0, *every], every, strict=False)]
    whole = sorted({*range(0, every[-1] + 1, CATCH_UP), every[-1]})
    coarse = [b - a for a, b in zip([0, *whole], whole, strict=False)]
    fine, rough = played(tape, speed, steps), played(tape, speed, coarse)
    assert [lots for _, lots in fine] == [lots for _, lots in rough]
    assert all(abs(a - b) < 1_000 for (a, _), (b, _) in zip(fine, rough, strict=True))


def test_it_begins_again_where_it_ends(tape: Tape) -> None:
    found = played(tape, 1.0, [SECOND] * 13)
    assert [lots for _, lots in found] == [*range(1, 51), *range(1, 51), *range(1, 13)]
    assert found[50][0] - found[0][0] == LAP
    assert found[100][0] - found[0][0] == 2 * LAP


def test_who_was_held_up_misses_nothing_but_time(tape: Tape) -> None:
    found = played(tape, 1.0, [SECOND, 600 * SECOND])
    assert [lots for _, lots in found] == list(range(1, 31))


@settings(max_examples=30, deadline=None)
@given(seconds=st.floats(0.05, 20.0))
def test_a_start_goes_on_where_the_last_run_had_come(tape: Tape, seconds: float) -> None:
    first = Recorded(tape, -1)
    begin = first.position
    before = first.until(begin + int(seconds * SECOND))
    again = Recorded(tape, begin + int(seconds * SECOND), 0, first.lap)
    after = begin + 30 * SECOND
    assert np.array_equal(first.until(after), again.until(after))
    lap = [rows for rows in again.past if len(rows)]
    if lap and len(before) < 50:
        assert np.array_equal(np.concatenate(lap), before)


def test_an_empty_tape_is_refused(tmp_path: Path) -> None:
    write_tape(tmp_path / "tape", CATALOG, empty(0))
    with pytest.raises(DataError, match="empty"):
        Recorded(open_tape(tmp_path / "tape"), -1)


def test_a_start_between_two_laps_has_the_rows_of_the_last(tape: Tape) -> None:
    clock = TapeClock(NOW)
    recorded = Recorded(tape, -1)
    pace = Pace(recorded, clock, recorded.position, 4.0)
    for seconds in (5.2, 5.9):  # of the tape: into one gap, and into the next
        clock.wait(clock.now() + int(seconds / 4 * SECOND))
        pace.read()
        again = Recorded(tape, pace.position, lap=pace.lap)
        assert sum(map(len, again.past)) == len(TRADES)
