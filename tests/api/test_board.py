"""The board: publishing never waits, and nobody is shown anything but the newest."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import msgspec
import numpy as np
import pytest

from seawall.api.board import MOST_POINTS, Board, News, Reader
from seawall.core.clock import SECOND, TapeClock

PATIENCE = 10.0  # seconds; a test that waits so long has failed


def watching(board: Board, story: Callable[[Reader], Awaitable[None]]) -> None:
    """Run a story with a reader of the board, in an event loop of its own."""

    async def run() -> None:
        reader = board.reader()
        try:
            await story(reader)
        finally:
            reader.close()

    asyncio.run(run())


def in_a_thread(work: Callable[[], None]) -> Awaitable[None]:
    return asyncio.get_running_loop().run_in_executor(None, work)


def test_the_newest_view_is_pinned_with_its_time() -> None:
    clock = TapeClock(5 * SECOND)
    board = Board(clock)
    clock.wait(7 * SECOND)
    assert board.latest() is None
    assert board.age() == 2.0
    board.publish("view", {"status": "trading"})
    clock.wait(8 * SECOND)
    board.publish("view", {"status": "halted"})
    clock.wait(11 * SECOND)
    pinned = board.latest()
    assert pinned is not None
    assert (pinned.number, pinned.body, pinned.received) == (2, b'{"status":"halted"}', 8 * SECOND)
    assert board.age() == 3.0


def test_what_is_no_number_becomes_null() -> None:
    board = Board()
    values = [float("nan"), float("inf"), -float("inf"), np.float64("nan"), np.float32(1.5)]
    board.publish("view", {"values": [*values, np.int64(3), np.bool_(True)]})
    pinned = board.latest()
    assert pinned is not None
    assert msgspec.json.decode(pinned.body)["values"] == [None, None, None, None, 1.5, 3, True]


def test_what_cannot_be_shown_is_refused_at_once() -> None:
    board = Board()
    with pytest.raises(ValueError, match="topic 'gossip'"):
        board.publish("gossip", {})
    with pytest.raises(NotImplementedError, match="object"):
        board.publish("view", {"x": object()})
    assert board.latest() is None


def test_a_view_is_what_it_was_when_it_was_published() -> None:
    board = Board()
    view = {"reasons": ["a"]}
    board.publish("view", view)
    view["reasons"].append("b")
    pinned = board.latest()
    assert pinned is not None
    assert pinned.body == b'{"reasons":["a"]}'


def test_points_are_kept_up_to_an_hour() -> None:
    board = Board()
    for ts in range(MOST_POINTS + 5):
        board.publish("point", {"ts": ts})
    points = board.points()
    assert len(points) == MOST_POINTS
    assert (points[0], points[-1]) == (b'{"ts":5}', b'{"ts":3604}')


def test_a_reader_begins_with_the_view_and_without_old_points() -> None:
    board = Board()
    board.publish("point", {"ts": 1})
    board.publish("view", {"n": 1})

    async def story(reader: Reader) -> None:
        assert await reader.news(PATIENCE) == News(b'{"n":1}', [])

    watching(board, story)


def test_a_reader_is_woken_from_another_thread() -> None:
    board = Board()

    async def story(reader: Reader) -> None:
        waiting = asyncio.ensure_future(reader.news(PATIENCE))
        await in_a_thread(lambda: board.publish("view", {"n": 1}))
        assert await waiting == News(b'{"n":1}', [])
        waiting = asyncio.ensure_future(reader.news(PATIENCE))
        await in_a_thread(lambda: board.publish("point", {"ts": 1}))
        assert await waiting == News(None, [b'{"ts":1}'])

    watching(board, story)


def test_a_slow_reader_gets_the_newest_view_and_all_points_still_there() -> None:
    board = Board(most_points=3)

    async def story(reader: Reader) -> None:
        for n in range(1_000):  # the loop does not turn meanwhile
            board.publish("view", {"n": n})
            board.publish("point", {"ts": n})
        assert await reader.news(PATIENCE) == News(
            b'{"n":999}', [b'{"ts":997}', b'{"ts":998}', b'{"ts":999}']
        )
        assert await reader.news(0) == News(None, [])

    watching(board, story)


def test_patience_ends_without_news() -> None:
    async def story(reader: Reader) -> None:
        assert await reader.news(0) == News(None, [])

    watching(Board(), story)


def test_no_publication_is_missed_under_load() -> None:
    board = Board()
    total = 2_000

    def publish() -> None:
        for ts in range(total):
            board.publish("point", {"ts": ts})

    async def story(reader: Reader) -> None:
        seen: list[bytes] = []
        publisher = threading.Thread(target=publish)
        publisher.start()
        while len(seen) < total:
            news = await reader.news(PATIENCE)
            assert news is not None
            seen += news.points
        publisher.join()
        assert [msgspec.json.decode(point)["ts"] for point in seen] == list(range(total))

    watching(board, story)


def test_the_end_reaches_readers_that_wait_and_readers_that_come() -> None:
    board = Board()

    async def waits(reader: Reader) -> None:
        waiting = asyncio.ensure_future(reader.news(PATIENCE))
        await in_a_thread(board.close)
        assert await waiting is None

    async def comes(reader: Reader) -> None:
        assert await reader.news(PATIENCE) is None

    watching(board, waits)
    watching(board, comes)


def test_a_reader_whose_loop_is_gone_does_not_stop_the_node() -> None:
    board = Board()

    async def leave_without_closing() -> None:
        board.reader()

    asyncio.run(leave_without_closing())
    board.publish("view", {"n": 1})
    assert board.latest() is not None
