"""The board: where the node pins its newest view and its recent points for whoever looks.

Publishing encodes once and never waits: a slow reader finds the newest view when it comes, and the
views between are gone.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from seawall.core.clock import SECOND, Clock, SystemClock

VIEW = "view"
POINT = "point"
LISTS = "provenance"  # what is too long for the view
MOST_POINTS = 3_600


class Pinned(NamedTuple):
    """The newest view. number: counts views from 1. received: ns UTC of the board's clock."""

    number: int
    body: bytes
    received: int


class News(NamedTuple):
    """What a reader has not seen: the newest view, if it is new, and all points since."""

    view: bytes | None
    points: list[bytes]


class Board:
    """Keeps what the node publishes; a `core.ports.Publisher`, safe to use from any thread."""

    def __init__(self, clock: Clock | None = None, most_points: int = MOST_POINTS) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._started = self._clock.now()
        self._view: Pinned | None = None
        self._lists: bytes | None = None
        self._points: deque[bytes] = deque(maxlen=most_points)
        self._pointed = 0  # points ever published
        self._readers: set[Reader] = set()
        self._closed = False

    def publish(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Pin a view or the long lists, or add a point, as JSON; NaN and infinity become null."""
        if topic not in (VIEW, POINT, LISTS):
            raise ValueError(f"nothing shows the topic {topic!r}")
        body = msgspec.json.encode(payload, enc_hook=_plain)
        with self._lock:
            if topic == VIEW:
                number = self._view.number + 1 if self._view else 1
                self._view = Pinned(number, body, self._clock.now())
            elif topic == LISTS:
                self._lists = body
                return
            else:
                self._points.append(body)
                self._pointed += 1
            self._wake()

    def close(self) -> None:
        """The run is over: every reader comes to its end."""
        with self._lock:
            self._closed = True
            self._wake()

    def latest(self) -> Pinned | None:
        """The newest view, if there is one yet."""
        with self._lock:
            return self._view

    def lists(self) -> bytes | None:
        """The newest long lists, as JSON, if there are any yet."""
        with self._lock:
            return self._lists

    def age(self) -> float:
        """Seconds since the newest view came, or since the board was made."""
        with self._lock:
            since = self._view.received if self._view else self._started
            return (self._clock.now() - since) / SECOND

    def points(self) -> list[bytes]:
        """The recent points, oldest first, each as JSON."""
        with self._lock:
            return list(self._points)

    def reader(self) -> "Reader":
        """A new reader for the running event loop; it must be closed after use."""
        reader = Reader(self, asyncio.get_running_loop())
        with self._lock:
            reader.pointed = self._pointed
            self._readers.add(reader)
            if self._closed or self._view:
                reader.wake()
        return reader

    def news(self, reader: "Reader") -> News | None:
        """What is new to a reader; None when there will be no more."""
        with self._lock:
            if self._closed:
                return None
            view = None
            if self._view and self._view.number != reader.viewed:
                reader.viewed, view = self._view.number, self._view.body
            missed = min(self._pointed - reader.pointed, len(self._points))
            reader.pointed = self._pointed
            return News(view, list(self._points)[-missed:] if missed else [])

    def forget(self, reader: "Reader") -> None:
        """Wake a reader no more."""
        with self._lock:
            self._readers.discard(reader)

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()


class Reader:
    """One who waits for news in an event loop. Holds no copy of anything, however slow it is."""

    def __init__(self, board: Board, loop: asyncio.AbstractEventLoop) -> None:
        self.viewed = 0  # number of the view seen last
        self.pointed = 0  # points seen
        self._board = board
        self._loop = loop
        self._event = asyncio.Event()
        self._called = False  # so that a busy loop is called once, not once per view

    def wake(self) -> None:
        """From any thread, under the board's lock: there is news."""
        if self._called:
            return
        self._called = True
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to be told
            self._loop.call_soon_threadsafe(self._event.set)

    async def news(self, patience: float) -> News | None:
        """Wait for news, at most `patience` seconds: empty news then; None at the end."""
        try:
            async with asyncio.timeout(patience):
                await self._event.wait()
        except TimeoutError:
            return News(None, [])
        self._event.clear()
        self._called = False
        return self._board.news(self)

    def close(self) -> None:
        """Stop listening."""
        self._board.forget(self)


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise NotImplementedError(f"a view cannot hold a {type(value).__name__}")
