"""Gauges: what the breakers look at, measured from consensus prices, equity and leverage.

They remember a minute of prices and are no fold: after a restart they fill again, which can delay
a recovery but never bring one on. Their memory lies in arrays, so that many boundaries can be read
in one go (`node/quiet.py`).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.risk import kernels
from seawall.risk.breakers import CALM, Breaker, Breakers, Measure, Reading, Recovery, State

PRICE_WINDOW = 60 * SECOND
EQUITY_WINDOW = 10 * SECOND
PORTFOLIO = ("equity_crash", "drawdown", "leverage")
MARKET = ("flash_crash", "volatility_spike")
_STATES = {State.OPEN: kernels.OPEN, State.HALF_OPEN: kernels.HALF_OPEN}

CAPACITY = 8192  # exact for a minute of frames every 10 ms

Models = Mapping[str, Mapping[str, float]]


class SlidingRange:
    """Exact highest and lowest value of the last `window` ns, both ends included.

    Args:
        window: ns.
        capacity: values kept; 8192 is exact for a minute of frames every 10 ms. When it is full
            the range can only come out too wide.
    """

    def __init__(self, window: int, capacity: int = CAPACITY) -> None:
        if capacity < 2:
            raise SettingError(f"a sliding range needs room for 2 values, not {capacity}")
        self._queue = np.zeros(1, sliding(capacity))
        self._queue["window"] = window

    def push(self, ts: int, value: float) -> tuple[float, float]:
        """Take in a finite value at `ts` (ns, never before the last one); (lowest, highest)."""
        return kernels.push(self._queue[0], ts, value)


class Gauges:
    """Measures of every breaker in `breakers`, taken at the boundary of a frame.

    Args:
        cadence: ns between two readings as a rule; ten times that without a reading breaks a calm,
            since nobody looked.

    Attributes:
        measures: (3 + 2 x groups,) of MEASURE: the portfolio's three, then each group's two.
        models: (n,) of MEASURE, those of the models. ranges: (groups,) sliding ranges of prices.
        groups: their order in all of these.
    """

    def __init__(self, breakers: Mapping[str, Breaker], cadence: int = SECOND) -> None:
        self._breakers = dict(breakers)
        self.gauge = np.zeros(1, kernels.GAUGE)
        self.gauge["longest_gap"] = 10 * cadence
        self.falls = _range(EQUITY_WINDOW)
        self.ranges = _range(PRICE_WINDOW)[:0]
        self.groups: list[str] = []
        self.measures = self._rows([self._breakers[name] for name in PORTFOLIO])
        self.models = self._rows([])
        self._model_keys: list[tuple[Breaker, str]] = []
        self._models: Models = {}
        self._latches: object = None
        self._peak_since = 0

    def read(
        self,
        ts: int,
        consensus: Mapping[str, float],
        volatility: Mapping[str, float],
        equity: float,
        leverage: float,
        breakers: Breakers,
        models: Models | None = None,
    ) -> Reading:
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
        self.know([*consensus, *volatility])
        self.listen(breakers, models)
        prices, volatilities = np.full((2, len(self.groups)), np.nan)
        asked = np.zeros(len(self.measures), np.bool_)
        asked[: len(PORTFOLIO)] = True
        for kind, told, values in (
            (0, consensus, prices),
            (1, volatility, volatilities),
        ):
            for group, value in told.items():
                at = self.groups.index(group)
                values[at] = value
                asked[len(PORTFOLIO) + 2 * at + kind] = True
        due = kernels.read(
            self.gauge[0],
            self.falls[0],
            self.ranges,
            self.measures,
            self.models,
            asked,
            ts,
            prices,
            volatilities,
            equity,
            leverage,
        )
        unknown = np.isnan(self.measures["value"][: len(PORTFOLIO)]).tolist()
        names = [name for name, is_so in zip(PORTFOLIO, unknown, strict=True) if is_so]
        return Reading(lambda: self._told(asked), due, names)

    def know(self, groups: list[str]) -> None:
        """Have room for these groups."""
        for group in groups:
            if group not in self.groups:
                self.groups.append(group)
                self.ranges = np.concatenate([self.ranges, _range(PRICE_WINDOW)])
                rows = self._rows([self._breakers[name] for name in MARKET])
                self.measures = np.concatenate([self.measures, rows])
                self._latches = None

    def listen(self, breakers: Breakers, models: Models | None) -> None:
        """What the latches and the models' gates have come to since the last reading."""
        if models is not None and models is not self._models:
            self._models = models
            before = dict(zip(self._model_keys, self.models["calm_since"].tolist(), strict=True))
            self._model_keys = [
                (self._breakers[name], group) for name, told in models.items() for group in told
            ]
            self.models = self._rows([breaker for breaker, _ in self._model_keys])
            values = [value for told in models.values() for value in told.values()]
            self.models["value"] = values
            self.models["calm_since"] = [before.get(k, kernels.NEVER) for k in self._model_keys]
            self._latches = None
        self.gauge["kept_high"] = self.peak(breakers)
        if self._latches is not breakers.latches:
            self._latches = breakers.latches
            self._latch(breakers)

    def peak(self, breakers: Breakers) -> float:
        """Highest equity since the start, or since an operator last accepted a drawdown."""
        if self._peak_since != breakers.peak_since:
            self.gauge["high"], self._peak_since = 0.0, breakers.peak_since
        return max(float(self.gauge["high"][0]), breakers.peak)

    def _keys(self) -> list[tuple[Breaker, str]]:
        """What each row of `measures` is about."""
        keys = [(self._breakers[name], "") for name in PORTFOLIO]
        return keys + [(self._breakers[name], group) for group in self.groups for name in MARKET]

    def _latch(self, breakers: Breakers) -> None:
        """The latches into the rows of the measures."""
        for rows, keys in ((self.measures, self._keys()), (self.models, self._model_keys)):
            for row, (breaker, key) in zip(rows, keys, strict=True):
                latch = breakers.latches.get((breaker.name, key))
                row["state"] = _STATES[latch.state] if latch else kernels.CLOSED
                row["changed"] = latch.ts if latch else 0

    def _rows(self, breakers: list[Breaker]) -> NDArray[Any]:
        rows = np.zeros(len(breakers), kernels.MEASURE)
        rows["value"] = math.nan
        rows["calm_since"] = kernels.NEVER
        rows["threshold"] = [breaker.threshold for breaker in breakers]
        rows["calm"] = CALM * rows["threshold"]
        rows["cooldown"] = [breaker.cooldown for breaker in breakers]
        rows["by_rule"] = [breaker.recovery is Recovery.RULE for breaker in breakers]
        return rows

    def _told(self, asked: NDArray[np.bool_]) -> list[Measure]:
        keys, table = self._keys(), self.measures
        market = range(len(PORTFOLIO), len(keys))
        order = [*market[::2], *market[1::2], *range(len(PORTFOLIO))]
        values, calm = table["value"].tolist(), table["calm_since"].tolist()
        found = [_measure(keys[at], values[at], calm[at]) for at in order if asked[at]]
        models = zip(
            self._model_keys,
            self.models["value"].tolist(),
            self.models["calm_since"].tolist(),
            strict=True,
        )
        return found + [_measure(key, value, since) for key, value, since in models]


def _measure(of: tuple[Breaker, str], value: float, calm_since: int) -> Measure:
    return Measure(*of, value, None if calm_since == kernels.NEVER else calm_since)


def _range(window: int) -> NDArray[Any]:
    queue = np.zeros(1, sliding())
    queue["window"] = window
    return queue


def sliding(capacity: int = CAPACITY) -> "np.dtype[Any]":
    """The dtype of a sliding range: two monotone queues in rings of `capacity` values."""
    return np.dtype(
        [
            ("window", "<i8"),  # ns
            ("first", "<i8", (2,)),  # of the queue of lows, of highs
            ("count", "<i8", (2,)),
            ("ts", "<i8", (2, capacity)),
            ("value", "<f8", (2, capacity)),
        ]
    )
