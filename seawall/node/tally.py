"""Counts of a run and why it may take no new risk: folds over the journal."""

from typing import Any

import msgspec

from seawall.core.records import (
    AnyRecord,
    BreakerChanged,
    Digest,
    FillBooked,
    Halted,
    IntentDecided,
    OrderCreated,
    RunStarted,
)


class _Memory(msgspec.Struct):
    halted: str = ""
    runs: int = 0
    origin: str = ""
    marks: dict[str, float] = {}
    intents: int = 0
    orders: int = 0
    fills: int = 0
    opened: dict[str, int] = {}
    halts: dict[str, str] = {}


class Tally:
    """How often things happened since the journal began, and the standing halt; Fold."""

    name = "tally"

    def __init__(self) -> None:
        self._memory = _Memory()

    @property
    def halted(self) -> str:
        """Why trading is halted; empty if it is not."""
        return self._memory.halted

    @property
    def halts(self) -> dict[str, str]:
        """Account → why it alone is halted, where there are several."""
        return self._memory.halts

    @property
    def counts(self) -> tuple[int, int, int]:
        """Intents, orders, fills."""
        return self._memory.intents, self._memory.orders, self._memory.fills

    @property
    def runs(self) -> int:
        """Runs begun."""
        return self._memory.runs

    @property
    def origin(self) -> str:
        """The first run's id, which client ids begin with; empty in a new journal."""
        return self._memory.origin

    @property
    def marks(self) -> dict[str, float]:
        """Instrument → mark of the last digest, quote units."""
        return self._memory.marks

    @property
    def opened(self) -> dict[str, int]:
        """Breaker (with its key) → times that it opened."""
        return self._memory.opened

    def apply(self, record: AnyRecord) -> None:
        """Take in one record."""
        memory = self._memory
        match record:
            case Halted(reason=reason, account=""):
                memory.halted = reason
            case Halted(reason=reason, account=account):
                memory.halts.pop(account, None)
                if reason:
                    memory.halts[account] = reason
            case RunStarted(run=run):
                memory.runs += 1
                memory.origin = memory.origin or run
            case Digest(marks=marks):
                memory.marks = marks
            case IntentDecided():
                memory.intents += 1
            case OrderCreated():
                memory.orders += 1
            case FillBooked():
                memory.fills += 1
            case BreakerChanged(state="OPEN", name=name, key=key):
                label = f"{name} of {key}" if key else name
                memory.opened[label] = memory.opened.get(label, 0) + 1
            case _:
                pass  # nothing else is counted

    def carry(self, intents: int, orders: int, fills: int) -> None:
        """Count what was recorded elsewhere."""
        self._memory.intents += intents
        self._memory.orders += orders
        self._memory.fills += fills

    def state(self) -> Any:
        """Plain values."""
        return msgspec.to_builtins(self._memory)

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        self._memory = msgspec.convert(state, _Memory)
