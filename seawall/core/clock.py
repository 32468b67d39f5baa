"""Time as a port: nanoseconds UTC since 1970, from the machine or from the tape."""

import time
from typing import Protocol

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
YEAR = 365 * 24 * 3600 * SECOND  # crypto trades every day (DEFINITIONS 7)


class Clock(Protocol):
    """Where the node reads the time."""

    def now(self) -> int:
        """Nanoseconds UTC."""
        ...

    def wait(self, until: int) -> None:
        """Return when the time is `until` or later; at once when it has passed."""
        ...


class SystemClock:
    """The machine's clock, made monotone: it never goes back."""

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        self._last = max(self._last + 1, time.time_ns())
        return self._last

    def wait(self, until: int) -> None:
        while (left := until - time.time_ns()) > 0:
            time.sleep(min(left / SECOND, 1.0))


class TapeClock:
    """A clock that stands where the tape stands: the node moves it with each block."""

    def __init__(self, start: int = 0) -> None:
        self._now = start

    def now(self) -> int:
        return self._now

    def wait(self, until: int) -> None:
        self._now = max(self._now, until)
