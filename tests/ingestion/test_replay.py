"""Replay: the same rows however the tape is cut into blocks, at the pace asked for."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.clock import MILLISECOND, SECOND, TapeClock
from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventFlag, Raw, empty
from seawall.core.instruments import Catalog
from seawall.ingestion.replay import LONGEST_WAIT, ReplayFeed

CATALOG = Catalog(instruments=(), sources=(), books=())
START = 1_700_000_000 * SECOND


class WatchedClock(TapeClock):
    """A clock of the test's own that keeps how long each wait was."""

    def __init__(self) -> None:
        super().__init__(START + 7 * SECOND)  # not the tape's
        self.waits: list[int] = []

    def wait(self, until: int) -> None:
        self.waits.append(until - self.now())
        super().wait(until)


def tape(lengths: Sequence[int], gap: int = 100 * MILLISECOND) -> Raw:
    """Messages of the given numbers of rows, `gap` ns apart; sequence is the message's number."""
    rows = empty(sum(lengths))
    rows["sequence"] = np.repeat(np.arange(len(lengths)), lengths)
    rows["recv_ts"] = START + rows["sequence"] * gap
    ends = np.cumsum(lengths)
    rows["flags"][ends - 1] |= np.uint16(EventFlag.END)
    rows["flags"][ends - np.asarray(lengths)] |= np.uint16(EventFlag.BEGIN)
    return Raw(rows)


def cut(rows: Raw, cuts: Sequence[int]) -> Iterator[Raw]:
    edges = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
    return (Raw(rows[a:b]) for a, b in pairwise(edges))


def read_all(feed: ReplayFeed, timeout: float = 1.0) -> list[Raw]:
    reads = []
    while (rows := feed.read(timeout)) is not None:
        reads.append(rows)
    return reads


messages = st.lists(st.integers(1, 5), min_size=1, max_size=20)
cuts = st.lists(st.integers(0, 100), max_size=8)


@given(messages, cuts, st.sampled_from([None, 0.5, 1.0, 30.0]), st.sampled_from([0.0, 0.03, 10.0]))
def test_any_cut_and_any_pace_give_the_same_whole_messages(
    lengths: list[int], where: list[int], speed: float | None, timeout: float
) -> None:
    rows = tape(lengths)
    clock = TapeClock(START)
    feed = ReplayFeed(CATALOG, cut(rows, where), clock, speed)
    reads = []
    for _ in range(2000):
        read = feed.read(timeout)
        if read is None:
            break
        reads.append(read)
        clock.wait(clock.now() + 10 * MILLISECOND)
    assert np.concatenate(reads).tobytes() == rows.tobytes()
    for read in reads:
        if len(read):
            assert read["flags"][0] & EventFlag.BEGIN
            assert read["flags"][-1] & EventFlag.END


def test_as_fast_as_possible_gives_the_blocks_as_they_come() -> None:
    rows = tape([3, 2, 4])
    clock = WatchedClock()
    reads = read_all(ReplayFeed(CATALOG, cut(rows, [5]), clock, None))
    assert [len(read) for read in reads] == [5, 4]
    assert clock.waits == []


@pytest.mark.parametrize("speed", [1.0, 10.0, 0.25])
def test_the_pace_is_the_clock_s(speed: float) -> None:
    rows = tape([2] * 30)
    clock = WatchedClock()
    begin = clock.now()
    feed = ReplayFeed(CATALOG, cut(rows, []), clock, speed)
    for number in range(30):
        read = feed.read(10.0)
        assert read is not None
        assert list(read["sequence"]) == [number, number]
        assert read["recv_ts"][0] == START + number * 100 * MILLISECOND
        passed = (clock.now() - begin) * speed
        assert passed == pytest.approx(number * 100 * MILLISECOND, abs=10)
    assert feed.read(10.0) is None
    assert max(clock.waits) <= LONGEST_WAIT


def test_a_read_returns_when_its_time_is_up() -> None:
    rows = tape([1, 1], gap=SECOND)
    clock = WatchedClock()
    feed = ReplayFeed(CATALOG, cut(rows, []), clock, 1.0)
    first = feed.read(0.0)
    assert first is not None
    assert len(first) == 1
    before = clock.now()
    second = feed.read(0.2)
    assert second is not None
    assert len(second) == 0
    assert clock.now() - before == 200 * MILLISECOND


def test_a_reader_that_was_held_up_gets_all_that_is_due() -> None:
    rows = tape([2] * 10)
    clock = WatchedClock()
    feed = ReplayFeed(CATALOG, cut(rows, []), clock, 1.0)
    feed.read(0.0)
    TapeClock.wait(clock, clock.now() + 450 * MILLISECOND)
    due = feed.read(0.0)
    assert due is not None
    assert list(due["sequence"]) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_message_without_an_end_is_not_given() -> None:
    rows = Raw(tape([2, 3])[:-1])
    feed = ReplayFeed(CATALOG, cut(rows, []), TapeClock(), None)
    assert [len(read) for read in read_all(feed)] == [2]
    assert feed.unfinished == 2


def test_time_that_goes_back_between_blocks_is_an_error() -> None:
    rows = tape([1, 1])
    feed = ReplayFeed(CATALOG, iter([Raw(rows[1:]), Raw(rows[:1])]), TapeClock(), None)
    feed.read(0.0)
    with pytest.raises(DataError, match="receive time goes back"):
        feed.read(0.0)


def test_a_closed_feed_has_ended_and_lets_go_of_the_tape() -> None:
    let_go = []

    def blocks() -> Iterator[Raw]:
        try:
            yield tape([1])
            yield tape([1])
        finally:
            let_go.append(True)

    feed = ReplayFeed(CATALOG, blocks(), TapeClock(), None)
    feed.read(0.0)
    feed.close()
    assert feed.read(0.0) is None
    assert let_go


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pace_that_is_none(speed: float) -> None:
    with pytest.raises(SettingError, match="speed"):
        ReplayFeed(CATALOG, iter([]), TapeClock(), speed)
