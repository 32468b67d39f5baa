"""Gauges: what the breakers look at, measured from consensus prices, equity and leverage.

They remember a minute of prices and are no fold: after a restart they fill again, which can delay
a recovery but never bring one on. `state` and `restore` carry them over where that is wished.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.risk.breakers import CALM, Breaker, Breakers, Measure

PRICE_WINDOW = 60 * SECOND
EQUITY_WINDOW = 10 * SECOND


class SlidingRange:
    """Exact highest and lowest value of the last `window` ns, both ends included.

    Two monotone queues (Lemire 2006, "Streaming maximum-minimum filter"): amortised constant time.
    A queue never holds more than `capacity` values; when it is full the newest two are merged so
    that the range can only come out too wide.

    Args:
        window: ns.
        capacity: 8192 is exact for a minute of frames every 10 ms.
    """

    def __init__(self, window: int, capacity: int = 8192) -> None:
        if capacity < 2:
            raise SettingError(f"a sliding range needs room for 2 values, not {capacity}")
        self._window = window
        self._capacity = capacity
        self._highs: deque[tuple[int, float]] = deque()
        self._lows: deque[tuple[int, float]] = deque()

    def push(self, ts: int, value: float) -> tuple[float, float]:
        """Take in a finite value at `ts` (ns, never before the last one); (lowest, highest)."""
        highs, lows, oldest = self._highs, self._lows, ts - self._window
        while highs and highs[-1][1] <= value:
            highs.pop()
        while lows and lows[-1][1] >= value:
            lows.pop()
        while highs and highs[0][0] < oldest:
            highs.popleft()
        while lows and lows[0][0] < oldest:
            lows.popleft()
        self._append(highs, ts, value)
        self._append(lows, ts, value)
        return lows[0][1], highs[0][1]

    def _append(self, queue: deque[tuple[int, float]], ts: int, value: float) -> None:
        if len(queue) < self._capacity:
            queue.append((ts, value))
        else:
            queue[-1] = (ts, queue[-1][1])

    def state(self) -> Any:
        """Both queues as plain values."""
        return [[list(entry) for entry in queue] for queue in (self._lows, self._highs)]

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        lows, highs = state
        self._lows = deque((int(ts), float(value)) for ts, value in lows)
        self._highs = deque((int(ts), float(value)) for ts, value in highs)


class _Memory(msgspec.Struct, frozen=True):
    """What the gauges keep."""

    prices: dict[str, Any]
    equity: Any
    calm: list[tuple[str, str, int]]
    high: float
    high_since: int
    last: int


class Gauges:
    """Measures of every breaker in `breakers`, taken at the boundary of a frame.

    Args:
        cadence: ns between two readings as a rule; ten times that without a reading breaks a calm,
            since nobody looked.
    """

    def __init__(self, breakers: Mapping[str, Breaker], cadence: int = SECOND) -> None:
        self._breakers = dict(breakers)
        self._longest_gap = 10 * cadence
        self._last = 0  # ns UTC of the last reading
        self._prices: dict[str, SlidingRange] = {}
        self._equity = SlidingRange(EQUITY_WINDOW)
        self._calm: dict[tuple[str, str], int] = {}
        self._high = 0.0  # highest equity seen since `_high_since`
        self._high_since = 0
        self._models: Mapping[str, Mapping[str, float]] = {}
        self._model_measures: list[Measure] = []  # of `_models`, which change once a review

    def read(
        self,
        ts: int,
        consensus: Mapping[str, float],
        volatility: Mapping[str, float],
        equity: float,
        leverage: float,
        breakers: Breakers,
        models: Mapping[str, Mapping[str, float]] | None = None,
    ) -> list[Measure]:
        """One measure of each breaker for each of its keys.

        Args:
            ts: ns UTC, never before the last one.
            consensus: group → price in the numeraire; 0 or NaN where nobody votes.
            volatility: group → annualised volatility, fraction; NaN where unknown.
            equity: numeraire, by consensus marks; NaN where unknown.
            leverage: gross notional over equity, infinite where there is none left; NaN where
                unknown.
            breakers: keeps the peak of equity across restarts.
            models: breaker of scope MODEL → group → measure in its unit, NaN where unknown; a new
                mapping where anything has changed.
        """
        if ts - self._last > self._longest_gap:
            self._calm.clear()
            self._models = {}
        self._last = ts
        measures = [
            self._measure("flash_crash", group, self._move(ts, group, price), ts)
            for group, price in consensus.items()
        ]
        measures += [
            self._measure("volatility_spike", group, value, ts)
            for group, value in volatility.items()
        ]
        drawdown = self._drawdown(equity, breakers)
        measures.append(self._measure("equity_crash", "", self._fall(ts, equity), ts))
        measures.append(self._measure("drawdown", "", drawdown, ts))
        measures.append(
            self._measure("leverage", "", leverage if leverage >= 0.0 else math.nan, ts)
        )
        if models is not None and models is not self._models:
            self._models = models
            self._model_measures = [
                self._measure(name, group, value, ts)
                for name, values in models.items()
                for group, value in values.items()
            ]
        if models:
            measures += self._model_measures
        return measures

    def peak(self, breakers: Breakers) -> float:
        """Highest equity since the start, or since an operator last accepted a drawdown."""
        if self._high_since != breakers.peak_since:
            self._high, self._high_since = 0.0, breakers.peak_since
        return max(self._high, breakers.peak)

    def _move(self, ts: int, group: str, price: float) -> float:
        """Largest move to this price from any of the last minute, as a fraction of that one."""
        if not 0.0 < price < math.inf:
            return math.nan
        prices = self._prices.get(group)
        if prices is None:
            prices = self._prices[group] = SlidingRange(PRICE_WINDOW)
        low, high = prices.push(ts, price)
        return max((price - low) / low, (high - price) / high)

    def _fall(self, ts: int, equity: float) -> float:
        """Largest fall of equity to this value from any of the last ten seconds."""
        if not math.isfinite(equity):
            return math.nan
        _, high = self._equity.push(ts, equity)
        return (high - equity) / high if high > 0.0 else math.nan

    def _drawdown(self, equity: float, breakers: Breakers) -> float:
        """Fall of equity from its peak, as a fraction of the peak."""
        peak = self.peak(breakers)
        if not math.isfinite(equity):
            return math.nan
        self._high = max(self._high, equity)
        peak = max(peak, equity)
        return (peak - equity) / peak if peak > 0.0 else math.nan

    def _measure(self, name: str, key: str, value: float, ts: int) -> Measure:
        """The measure, with the time since which it has been calm."""
        breaker = self._breakers[name]
        place = (name, key)
        if value < CALM * breaker.threshold:
            return Measure(breaker, key, value, self._calm.setdefault(place, ts))
        self._calm.pop(place, None)
        return Measure(breaker, key, value)

    def state(self) -> Any:
        """All memory as plain values."""
        return msgspec.to_builtins(
            _Memory(
                {group: prices.state() for group, prices in self._prices.items()},
                self._equity.state(),
                [(name, key, ts) for (name, key), ts in sorted(self._calm.items())],
                self._high,
                self._high_since,
                self._last,
            )
        )

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        memory = msgspec.convert(state, _Memory)
        self._prices = {}
        for group, queues in memory.prices.items():
            self._prices[group] = SlidingRange(PRICE_WINDOW)
            self._prices[group].restore(queues)
        self._equity.restore(memory.equity)
        self._calm = {(name, key): ts for name, key, ts in memory.calm}
        self._high, self._high_since = memory.high, memory.high_since
        self._last = memory.last
        self._models = {}
