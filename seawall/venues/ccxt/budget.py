"""How much may still be asked of an exchange: its own headers say what is used, and a share is kept
for cancels. After "too many requests" nothing is asked until it may be again.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress

from seawall.core.clock import MINUTE, SECOND, Clock
from seawall.venues.ccxt.terms import Terms

READ, PLACE, CANCEL = "read", "place", "cancel"
SHARES = {READ: 0.75, PLACE: 0.85, CANCEL: 0.97}  # of the minute's weight that each may use up
TOO_MANY = (418, 429)
FIRST_PAUSE, LONGEST_PAUSE = SECOND, 120 * SECOND
ORDER_WINDOW = 10 * SECOND
UNKNOWN_WEIGHT = 10  # of a request that was never made before


class Budget:
    """Weights as the exchange counts them; used from two threads.

    Args:
        clock: real time.
    """

    def __init__(self, terms: Terms, clock: Clock) -> None:
        self._terms = terms
        self._clock = clock
        self._lock = threading.Lock()
        self._used = 0
        self._minute = 0
        self._orders = 0
        self._orders_window = 0
        self._paused_until = 0
        self._pause = 0
        self._weights: dict[str, int] = {}  # what a request was seen to cost
        self._in_flight = 0
        self.refusals = 0  # times that the exchange said "too many requests"

    def blocks(self, purpose: str) -> str:
        """Why nothing may be asked for this purpose now; empty where it may."""
        now = self._clock.now()
        with self._lock:
            if now < self._paused_until:
                left = (self._paused_until - now) / SECOND
                return f"the exchange asked for a pause, {left:.1f} s are left"
            self._turn(now)
            limit = self._terms.weight_limit
            if limit and self._used > SHARES[purpose] * limit:
                return f"{self._used} of {limit} of the minute's weight are used"
            most = self._terms.order_limit
            if purpose == PLACE and most and self._orders >= SHARES[PLACE] * most:
                return f"{self._orders} of {most} orders in ten seconds are used"
        return ""

    def begin(self, path: str, purpose: str) -> int:
        """A request leaves; gives what was used before it, for `end`."""
        with self._lock:
            self._turn(self._clock.now())
            before = self._used
            self._used += self._weights.get(path, UNKNOWN_WEIGHT)
            self._orders += purpose == PLACE
            self._in_flight += 1
            return before

    def end(self, path: str, before: int) -> None:
        """The request is over; where it was alone, its weight is learned."""
        with self._lock:
            self._in_flight -= 1
            if not self._in_flight and self._used >= before:
                self._weights[path] = self._used - before

    def seen(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer's status and headers (names in lower case)."""
        now = self._clock.now()
        with self._lock:
            self._turn(now)
            if (used := _number(headers.get(self._terms.weight_header))) is not None:
                self._used = used
            if (orders := _number(headers.get(self._terms.order_header))) is not None:
                self._orders = orders
            if status in TOO_MANY:
                self.refusals += 1
                self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
                wanted = _number(headers.get("retry-after"))
                pause = self._pause if wanted is None else wanted * SECOND
                self._paused_until = max(self._paused_until, now + pause)
            elif status < 400:
                self._pause = 0

    def _turn(self, now: int) -> None:
        """A new minute, or ten seconds, begins with nothing used."""
        if now // MINUTE != self._minute:
            self._minute, self._used = now // MINUTE, 0
        if now // ORDER_WINDOW != self._orders_window:
            self._orders_window, self._orders = now // ORDER_WINDOW, 0


def _number(text: str | None) -> int | None:
    with suppress(TypeError, ValueError):
        return max(0, int(float(text or "")))
    return None
