"""Admission and time: what is late, and what a clock that steps or drifts does to its source."""

import pytest

from seawall.admission import Reason
from seawall.core.clock import MILLISECOND, SECOND
from tests.admission.admitting import BOOK, admission, reasons_of
from tests.tapes import (
    BUY,
    Rows,
    at,
    depth,
    trade,
)


def sent(ts: int, delay: int, sequence: int) -> Rows:
    return trade(ts, sequence, BUY, 100, 1, exch=ts - delay)


@pytest.mark.parametrize("offset", [0, -1_270 * MILLISECOND, 3_600 * SECOND])
def test_staleness_is_measured_on_the_sources_own_clock(offset: int) -> None:
    one = admission(stale_ns=5 * SECOND)
    delays = [20, 20, 1_000, 5_010, 5_030, 20]
    messages = [
        sent(at(i), offset + delay * MILLISECOND, i) for i, delay in enumerate(delays, start=1)
    ]
    fine, stale = Reason.ADMITTED, Reason.STALE
    assert reasons_of(one, *messages) == [fine, fine, fine, fine, stale, fine]


def test_a_stale_diff_leaves_a_gap() -> None:
    one = admission(stale_ns=5 * SECOND)
    assert reasons_of(
        one,
        BOOK,
        depth(at(1), 101, (BUY, 98, 1)),
        depth(at(9), 102, (BUY, 98, 2), exch=at(3)),
        depth(at(9.1), 103, (BUY, 98, 3)),
    ) == [Reason.ADMITTED, Reason.ADMITTED, Reason.STALE, Reason.GAP]


def test_a_clock_that_jumps_ahead_is_refused_for_an_epoch_and_then_believed() -> None:
    one = admission(clock_step_ns=250 * MILLISECOND)
    delays = [(0, 10), (11, -240), (11.1, 10), (12, -500), (41, -500), (71.9, -500), (72, -500)]
    messages = [
        sent(at(seconds), delay * MILLISECOND, i)
        for i, (seconds, delay) in enumerate(delays, start=1)
    ]
    step = Reason.CLOCK_STEP  # 10 - 250 is no more than the limit, -240 - 260 is
    assert reasons_of(one, *messages) == [Reason.ADMITTED] * 3 + [step] * 3 + [Reason.ADMITTED]
    assert reasons_of(one, sent(at(63), -500 * MILLISECOND, 9)) == [Reason.ADMITTED]


def test_a_clock_that_comes_back_must_wait_a_whole_epoch_again() -> None:
    one = admission()
    ahead = -SECOND
    assert reasons_of(
        one,
        sent(at(0), 0, 1),
        sent(at(10), ahead, 2),
        sent(at(40), 0, 3),
        sent(at(71), ahead, 4),
        sent(at(130), ahead, 5),
        sent(at(131), ahead, 6),
    ) == [
        Reason.ADMITTED,
        Reason.CLOCK_STEP,
        Reason.ADMITTED,
        Reason.CLOCK_STEP,
        Reason.CLOCK_STEP,
        Reason.ADMITTED,
    ]


def test_a_slowly_drifting_clock_is_followed() -> None:
    one = admission(stale_ns=SECOND)
    hours = [sent(at(3_600 * i), i * 180 * MILLISECOND, i) for i in range(1, 40)]  # 50 ppm
    assert set(reasons_of(one, *hours)) == {Reason.ADMITTED}
    fast = [sent(at(3_600 * i), i * 1_800 * MILLISECOND, i) for i in range(40, 50)]
    assert Reason.STALE in reasons_of(one, *fast)


def test_a_late_first_message_does_not_lock_its_source_out() -> None:
    one = admission(clock_step_ns=250 * MILLISECOND)
    messages = [sent(at(0), 900 * MILLISECOND, 1), sent(at(1), 10 * MILLISECOND, 2)]
    assert reasons_of(one, *messages) == [Reason.ADMITTED] * 2


@pytest.mark.parametrize("ahead", [(0, 0.5, 1), (4, 4.5), (9.9,)])
def test_a_clock_that_was_ahead_while_its_source_began_locks_it_out_for_a_moment_only(
    ahead: tuple[float, ...],
) -> None:
    """Its true delays are stale until they have been all there is for 10 s, and then believed."""
    one = admission(stale_ns=5 * SECOND)
    times = sorted({*ahead, *range(21)})
    messages = [
        sent(at(each), (-6_000 if each in ahead else 10 + i % 5) * MILLISECOND, i)
        for i, each in enumerate(times, start=1)
    ]
    found = dict(zip(times, reasons_of(one, *messages), strict=True))
    back = next(each for each in times if each > ahead[-1])
    stale = {each for each, reason in found.items() if reason is Reason.STALE}
    assert stale == {each for each in times if back <= each < back + 10}
    assert set(found.values()) == {Reason.ADMITTED, Reason.STALE}
    assert reasons_of(one, sent(at(21), 5_100 * MILLISECOND, 99)) == [Reason.STALE]


def test_a_source_whose_delay_is_well_known_stays_stale_while_it_is_late() -> None:
    one = admission(stale_ns=5 * SECOND)
    well = [sent(at(i), 10 * MILLISECOND, i) for i in range(1, 63)]
    late = [sent(at(i), 6_000 * MILLISECOND, i) for i in range(63, 200)]
    assert set(reasons_of(one, *well)) == {Reason.ADMITTED}
    assert set(reasons_of(one, *late)) == {Reason.STALE}
    assert reasons_of(one, sent(at(200), 10 * MILLISECOND, 200)) == [Reason.ADMITTED]
