"""Circuit breakers: what stops the trading, and by which rule it may go on. They latch.

The latches are a fold over the journal, so a restart forgets none; `check` only says what is to
be journaled. To add a breaker: add its line to BREAKERS, and its measure to the gauges.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from seawall.core.clock import MINUTE, SECOND
from seawall.core.errors import SeawallError, SettingError
from seawall.core.records import AnyRecord, BreakerChanged, Digest

CALM = 0.8  # a breaker recovers by rule once its measure is back under this share of the threshold


class Action(StrEnum):
    """What an open breaker does."""

    HALT = "halt"  # no new risk anywhere
    CLOSE = "close"  # no new risk anywhere, and close all positions
    FREEZE = "freeze"  # no new entries and no learning where it opened
    REDUCE = "reduce"  # no new risk anywhere, and bring leverage under its cap
    LEARN = "learn"  # no learning where it opened; trading goes on


class Scope(StrEnum):
    """What a breaker watches: a consensus group or its model, key is the group, or the portfolio
    (key empty)."""

    MARKET = "market"
    PORTFOLIO = "portfolio"
    MODEL = "model"


class Recovery(StrEnum):
    """How a breaker gets from OPEN to HALF_OPEN and from there to CLOSED."""

    RULE = "rule"  # measure under CALM x threshold for one cooldown, each time
    MANUAL = "manual"  # by an operator, never by itself


class State(StrEnum):
    """CLOSED: trading. OPEN: stopped. HALF_OPEN: reductions only, on probation."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class Breaker(msgspec.Struct, frozen=True):
    """One breaker: it opens when its measure is greater than `threshold` (in `unit`).

    Attributes:
        cooldown: ns that it stays open at least.
        about: what the measure is, for people.
    """

    name: str
    scope: Scope
    threshold: float
    unit: str
    cooldown: int
    recovery: Recovery
    action: Action
    about: str


_DEFINITIONS = (
    Breaker(
        "flash_crash",
        Scope.MARKET,
        0.05,
        "fraction",
        5 * MINUTE,
        Recovery.RULE,
        Action.HALT,
        "move of the consensus within 60 s",
    ),
    Breaker(
        "equity_crash",
        Scope.PORTFOLIO,
        0.03,
        "fraction",
        5 * MINUTE,
        Recovery.RULE,
        Action.HALT,
        "fall of equity within 10 s",
    ),
    Breaker(
        "drawdown",
        Scope.PORTFOLIO,
        0.20,
        "fraction",
        10 * MINUTE,
        Recovery.MANUAL,
        Action.HALT,
        "fall of equity from its peak",
    ),
    Breaker(
        "leverage",
        Scope.PORTFOLIO,
        2.0,
        "x equity",
        MINUTE,
        Recovery.MANUAL,
        Action.REDUCE,
        "gross notional over equity",
    ),
    Breaker(
        "volatility_spike",
        Scope.MARKET,
        0.60,
        "fraction a year",
        5 * MINUTE,
        Recovery.RULE,
        Action.FREEZE,
        "annualised volatility",
    ),
    Breaker(
        "anchor_anomaly",
        Scope.MODEL,
        4.0,
        "-log10 p",
        10 * MINUTE,
        Recovery.RULE,
        Action.LEARN,
        "surprise at the share of golden rows that the model finds odd",
    ),
    Breaker(
        "kl_divergence",
        Scope.MODEL,
        1.0,
        "× limit",
        10 * MINUTE,
        Recovery.RULE,
        Action.LEARN,
        "KL divergence of the consensus, over the larger of 0.2 nats and twice the gate's limit",
    ),
    Breaker(
        "provenance_concentration",
        Scope.MODEL,
        0.15,
        "normalised HHI",
        MINUTE,
        Recovery.RULE,
        Action.FREEZE,
        "concentration of the sources' votes",
    ),
    Breaker(
        "vpin_toxicity",
        Scope.MODEL,
        0.75,
        "VPIN",
        2 * MINUTE,
        Recovery.RULE,
        Action.LEARN,
        "share of one-sided volume",
    ),
    Breaker(
        "slippage_anomaly",
        Scope.MODEL,
        2.5,
        "deviations",
        5 * MINUTE,
        Recovery.RULE,
        Action.FREEZE,
        "cost of an order above what the slippage model expects",
    ),
)
BREAKERS: dict[str, Breaker] = {breaker.name: breaker for breaker in _DEFINITIONS}
BY_HAND: dict[str, Breaker] = {  # nothing is measured: an operator trips and releases them
    name: Breaker(name, Scope.PORTFOLIO, 0.5, "pulled", 0, Recovery.MANUAL, action, about)
    for name, action, about in (
        ("emergency_stop", Action.HALT, "an operator has stopped the trading"),
        ("emergency_close", Action.CLOSE, "an operator closes all positions"),
    )
}


def configured(thresholds: Mapping[str, float]) -> dict[str, Breaker]:
    """All breakers, with the thresholds of some of them replaced.

    Raises:
        SettingError: no breaker has that name, or the threshold is not positive.
    """
    breakers = dict(BREAKERS)
    for name, threshold in thresholds.items():
        if name not in breakers:
            raise SettingError(f"no breaker is called {name!r}; they are {', '.join(BREAKERS)}")
        if not 0.0 < threshold < math.inf:
            raise SettingError(f"breaker {name}: threshold is {threshold}; it must be positive")
        breakers[name] = msgspec.structs.replace(breakers[name], threshold=float(threshold))
    return breakers


class Measure(msgspec.Struct, frozen=True):
    """What a breaker sees at one moment.

    Attributes:
        key: the consensus group, empty for the portfolio.
        value: in the breaker's unit, NaN where unknown.
        calm_since: ns UTC since when it has been under CALM x threshold without a break; None
            where it is not, or where that is not known.
    """

    breaker: Breaker
    key: str
    value: float
    calm_since: int | None = None


class Reading:
    """All measures of one moment, told in full only where somebody asks.

    Args:
        tell: gives them. due: whether any of them calls for a change of its breaker.
        unknown: breakers of the portfolio whose measure is not known.
    """

    def __init__(self, tell: Callable[[], list[Measure]], due: bool, unknown: list[str]) -> None:
        self._tell = tell
        self.due = due
        self.unknown = unknown

    def __iter__(self) -> Iterator[Measure]:
        return iter(self._tell())


class Latch(msgspec.Struct, frozen=True):
    """A breaker that is not CLOSED. `since`: ns UTC it opened; `ts`: of its last change."""

    name: str
    key: str
    scope: str
    state: State
    measure: float
    threshold: float
    reason: str
    since: int
    ts: int


class BreakerStatus(msgspec.Struct, frozen=True):
    """One line of the page. `ts`: ns UTC of the latest measure; `since` is 0 where CLOSED."""

    name: str
    scope: str
    key: str
    state: str
    measure: float
    threshold: float
    unit: str
    reason: str
    since: int
    ts: int


class _Memory(msgspec.Struct, frozen=True):
    """What the fold keeps."""

    latches: tuple[Latch, ...]
    peak: float
    peak_since: int


class Breakers:
    """All breakers' latches, and the peak of equity: a fold over BreakerChanged and Digest.

    Besides the fold it remembers the last reading, to show them and to block new risk while a
    portfolio measure is unknown; a fresh one has none and therefore blocks until its first check.
    """

    name = "breakers"

    def __init__(self, breakers: Mapping[str, Breaker] | None = None) -> None:
        self._breakers = dict(BREAKERS if breakers is None else breakers)
        self.latches: Mapping[tuple[str, str], Latch] = {}  # a new mapping at each change
        portfolio = [b.name for b in self._breakers.values() if b.scope is Scope.PORTFOLIO]
        self._reading = Reading(list, False, portfolio)
        self._blocks: dict[str | None, list[str]] = {}  # reasons of `_blocked_by`, by asset
        self._blocked_by: object = None
        self._measured = 0  # ns UTC
        self.peak = 0.0  # numeraire, highest equity of the journal since `peak_since`
        self.peak_since = 0  # ns UTC, when an operator last accepted a drawdown

    @property
    def definitions(self) -> Mapping[str, Breaker]:
        """Name → breaker, thresholds as configured."""
        return self._breakers

    # --- the fold ---

    def apply(self, record: AnyRecord) -> None:
        """Take in one record; only BreakerChanged and Digest concern it."""
        if isinstance(record, BreakerChanged):
            self._change(record)
        elif isinstance(record, Digest):
            self.peak = max(self.peak, record.peak)

    def _change(self, record: BreakerChanged) -> None:
        place = (record.name, record.key)
        latches = {at: latch for at, latch in self.latches.items() if at != place}
        if record.state == State.CLOSED:
            self.latches = latches
            return
        latches[place] = Latch(
            record.name,
            record.key,
            record.scope,
            State(record.state),
            record.measure,
            record.threshold,
            record.reason,
            record.since,
            record.ts,
        )
        self.latches = latches
        if record.name == "drawdown" and record.state == State.HALF_OPEN:
            self.peak, self.peak_since = 0.0, record.ts

    def state(self) -> Any:
        """The fold's state as plain values."""
        latches = tuple(self.latches[place] for place in sorted(self.latches))
        return msgspec.to_builtins(_Memory(latches, self.peak, self.peak_since))

    def restore(self, state: Any) -> None:
        """Take over a state that `state` gave."""
        memory = msgspec.convert(state, _Memory)
        self.latches = {(latch.name, latch.key): latch for latch in memory.latches}
        self.peak, self.peak_since = memory.peak, memory.peak_since

    # --- what is to be journaled ---

    def check(self, reading: Reading, ts: int) -> list[BreakerChanged]:
        """Changes that a reading calls for at `ts` (ns UTC); nothing changes before `apply`."""
        self._reading, self._measured = reading, ts
        if not reading.due:
            return []
        return [change for m in reading if (change := self._judge(m, ts)) is not None]

    def _judge(self, measure: Measure, ts: int) -> BreakerChanged | None:
        """The change that one measure calls for, if any."""
        breaker = measure.breaker
        latch = self.latches.get((breaker.name, measure.key))
        over = measure.value > breaker.threshold
        if latch is None:
            return _opened(measure, ts) if over else None
        if latch.state is State.HALF_OPEN and over:
            return _opened(measure, ts)
        if breaker.recovery is Recovery.MANUAL or measure.calm_since is None:
            return None
        if ts - max(latch.ts, measure.calm_since) < breaker.cooldown:
            return None
        reason = f"under {CALM * breaker.threshold:g} {breaker.unit} for {_seconds(breaker)} s"
        return _stepped(latch, measure.value, reason, ts)

    def trip(self, name: str, ts: int, who: str) -> list[BreakerChanged]:
        """What an operator's stop changes; nothing where it is open already. name: of BY_HAND."""
        latch = self.latches.get((name, ""))
        if latch is not None and latch.state is State.OPEN:
            return []
        opened = _opened(Measure(BY_HAND[name], "", 1.0), ts)
        return [msgspec.structs.replace(opened, reason=f"{BY_HAND[name].about} ({who})")]

    def release(self, name: str, key: str, ts: int, who: str) -> list[BreakerChanged]:
        """What an operator's word changes: OPEN to HALF_OPEN, and HALF_OPEN to CLOSED.

        Raises:
            SeawallError: it is not open, or its cooldown is not over.
        """
        latch = self.latches.get((name, key))
        called = f"breaker {name}" + (f" of {key}" if key else "")
        if latch is None:
            raise SeawallError(f"{called} is not open; nothing to release")
        breaker = self._breakers.get(name)
        left = (breaker.cooldown if breaker else 0) - (ts - latch.since)
        if latch.state is State.OPEN and left > 0:
            raise SeawallError(
                f"{called} is open; it can be released in {math.ceil(left / SECOND)} s"
            )
        value = next(
            (m.value for m in self._reading if (m.breaker.name, m.key) == (name, key)),
            latch.measure,
        )
        return [_stepped(latch, value, f"released by {who}", ts)]

    # --- what it means ---

    def blocking(self, asset: str | None = None) -> list[str]:
        """Reasons why no new risk may be taken, the longest standing first.

        Breakers that only stop learning are no reason.

        Args:
            asset: leave out what concerns other consensus groups alone; None for all reasons.
        """
        if self._blocked_by is not self.latches:
            self._blocked_by, self._blocks = self.latches, {}
        if asset not in self._blocks:
            self._blocks[asset] = self._latched(asset)
        return self._blocks[asset] + [
            f"unknown measure: {self._breakers[name].about} (breaker {name})"
            for name in self._reading.unknown
            if name in self._breakers
        ]

    def _latched(self, asset: str | None) -> list[str]:
        """Why the latches allow no new risk."""
        latches = sorted(
            (one for one in self.latches.values() if self._action(one) is not Action.LEARN),
            key=lambda latch: (latch.since, latch.name),
        )
        return [
            f"breaker {latch.name}{' of ' + latch.key if latch.key else ''} is {latch.state}: "
            f"{latch.reason}"
            for latch in latches
            if asset is None or latch.key == asset or self._action(latch) is not Action.FREEZE
        ]

    def restrains(self, action: Action) -> bool:
        """Whether a breaker with this action is OPEN or on probation."""
        return any(self._action(latch) is action for latch in self.latches.values())

    def acts(self, action: Action) -> bool:
        """Whether a breaker with this action is OPEN."""
        return any(
            latch.state is State.OPEN and self._action(latch) is action
            for latch in self.latches.values()
        )

    def _action(self, latch: Latch) -> Action:
        """What the latch does; a breaker that is no longer defined still halts."""
        breaker = self._breakers.get(latch.name) or BY_HAND.get(latch.name)
        return breaker.action if breaker else Action.HALT

    def status(self) -> list[BreakerStatus]:
        """Every breaker, once per key that was measured or is latched, in order of the registry."""
        values = {(m.breaker.name, m.key): m.value for m in self._reading}
        places = dict.fromkeys([*values, *self.latches])
        lines: list[BreakerStatus] = []
        pulled = [one for one in BY_HAND.values() if (one.name, "") in self.latches]
        for breaker in [*self._breakers.values(), *pulled]:
            keys = [key for name, key in places if name == breaker.name]
            lines += [
                self._line(breaker, key, values.get((breaker.name, key), _hand(breaker)))
                for key in (keys or [""])
            ]
        return lines

    def _line(self, breaker: Breaker, key: str, value: float) -> BreakerStatus:
        latch = self.latches.get((breaker.name, key))
        return BreakerStatus(
            breaker.name,
            breaker.scope,
            key,
            latch.state if latch else State.CLOSED,
            value,
            breaker.threshold,
            breaker.unit,
            latch.reason if latch else "",
            latch.since if latch else 0,
            self._measured,
        )


def _hand(breaker: Breaker) -> float:
    """The measure of a breaker that has none: 1 where it is one that an operator has tripped."""
    return 1.0 if breaker.name in BY_HAND else math.nan


def _seconds(breaker: Breaker) -> int:
    return breaker.cooldown // SECOND


def _opened(measure: Measure, ts: int) -> BreakerChanged:
    """The record of a breaker that opens now."""
    breaker = measure.breaker
    return BreakerChanged(
        ts=ts,
        name=breaker.name,
        scope=breaker.scope,
        key=measure.key,
        state=State.OPEN,
        measure=measure.value,
        threshold=breaker.threshold,
        reason=f"{breaker.about} is {measure.value:.4g} {breaker.unit}, over {breaker.threshold:g}",
        since=ts,
    )


def _stepped(latch: Latch, value: float, reason: str, ts: int) -> BreakerChanged:
    """The record of one step toward CLOSED."""
    return BreakerChanged(
        ts=ts,
        name=latch.name,
        scope=latch.scope,
        key=latch.key,
        state=State.HALF_OPEN if latch.state is State.OPEN else State.CLOSED,
        measure=value,
        threshold=latch.threshold,
        reason=reason,
        since=latch.since,
    )
