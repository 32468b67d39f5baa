"""Candles and the last day's figures of one symbol, from its trades."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

SECOND_MS = 1_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
INTERVALS = {
    "1s": SECOND_MS,
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
}
_WEEK_OFFSET = 4 * DAY_MS  # 1970-01-01 was a Thursday; a week begins on Monday
KEPT = 20_160  # minutes: two weeks
KEPT_SECONDS = 7_200


def opening(ms: int, interval: str) -> int:
    """When the candle that holds a time began."""
    span = INTERVALS[interval]
    offset = _WEEK_OFFSET if interval == "1w" else 0
    return (ms - offset) // span * span + offset


@dataclass(slots=True)
class Candle:
    """One candle. Prices in ticks, sizes in lots, times in ms; `bought`: what takers bought."""

    opened: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    value: int = 0  # ticks x lots
    trades: int = 0
    bought: int = 0
    bought_value: int = 0
    first: int = 0  # trade ids
    last: int = 0

    def add(self, price: int, lots: int, buyer_takes: bool, trade: int) -> None:
        """A trade within it."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        self.volume += lots
        self.value += price * lots
        self.trades += 1
        self.first = self.first or trade
        self.last = trade
        if buyer_takes:
            self.bought += lots
            self.bought_value += price * lots

    def join(self, later: "Candle") -> None:
        """Take in a candle that follows."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume
        self.value += later.value
        self.trades += later.trades
        self.bought += later.bought
        self.bought_value += later.bought_value
        self.first = self.first or later.first
        self.last = later.last or self.last


def _copy(candle: Candle, opened: int) -> Candle:
    return Candle(
        opened,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.value,
        candle.trades,
        candle.bought,
        candle.bought_value,
        candle.first,
        candle.last,
    )


class Candles:
    """Minutes and seconds as they come, and all other intervals made of the minutes."""

    def __init__(self) -> None:
        self._minutes: deque[Candle] = deque(maxlen=KEPT)
        self._seconds: deque[Candle] = deque(maxlen=KEPT_SECONDS)

    def trade(self, ms: int, price: int, lots: int, buyer_takes: bool, trade: int) -> None:
        """One trade; times never go back."""
        for kept, span in ((self._minutes, MINUTE_MS), (self._seconds, SECOND_MS)):
            opened = ms // span * span
            if not kept or kept[-1].opened < opened:
                kept.append(Candle(opened, price, price, price, price))
            kept[-1].add(price, lots, buyer_takes, trade)

    def of(self, interval: str, since: int | None, until: int | None, most: int) -> list[Candle]:
        """Candles that open between two times (ms): the first `most`, or the last without `since`.

        An interval without a trade gives none.
        """
        fine = self._seconds if interval == "1s" else self._minutes
        made: list[Candle] = []
        begin = 0
        if since is not None:
            begin = bisect_left(fine, opening(since, interval), key=lambda each: each.opened)
        for at in range(begin, len(fine)):
            each = fine[at]
            opened = opening(each.opened, interval)
            if until is not None and opened > until:
                break
            if since is not None and opened < since:
                continue
            if made and made[-1].opened == opened:
                made[-1].join(each)
                continue
            if since is not None and len(made) == most:
                break
            made.append(_copy(each, opened))
        return made[-most:] if since is None else made

    def newest(self, interval: str) -> Candle | None:
        """The candle under way, or the last one."""
        fine = self._seconds if interval == "1s" else self._minutes
        if not fine:
            return None
        opened = opening(fine[-1].opened, interval)
        found = self.of(interval, opened, None, 1)
        return found[-1] if found else None

    def day(self, now: int) -> Candle | None:
        """The last 24 hours as one candle."""
        begin = bisect_left(self._minutes, now - DAY_MS, key=lambda each: each.opened)
        whole: Candle | None = None
        for at in range(begin, len(self._minutes)):
            if whole is None:
                whole = _copy(self._minutes[at], self._minutes[at].opened)
            else:
                whole.join(self._minutes[at])
        return whole
