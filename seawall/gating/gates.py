"""The gates' final interface, and the gate of this first version, which passes everything.

Authenticity asks whether a source lies and may lower trust; market asks whether the world has
changed and may only freeze learning. Nothing learns yet, so there is nothing to hold back; the
page says so.
"""

from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from seawall.core.verdicts import GateDecision


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate said last, and why. `ts`: ns UTC of the newest frame that it saw."""

    name: str
    decision: GateDecision
    detail: str
    ts: int = 0


class Gate(Protocol):
    """A gate looks at frames and at the verdict, and may change the verdict's next epoch."""

    @property
    def name(self) -> str: ...

    def judge(self, frames: NDArray[Any], verdict: NDArray[Any]) -> GateDecision:
        """Judge frames (dtype FRAME, in order); may lower trust, ban or freeze in `verdict`."""
        ...

    def report(self) -> GateReport:
        """The last judgement."""
        ...


class OpenGate:
    """Passes everything, and says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._ts = 0

    def judge(self, frames: NDArray[Any], verdict: NDArray[Any]) -> GateDecision:
        """PASS."""
        if len(frames):
            self._ts = int(frames["ts"][-1])
            frames["gate"] = GateDecision.PASS
        return GateDecision.PASS

    def report(self) -> GateReport:
        """PASS, with the reason that nothing is armed."""
        return GateReport(
            name=self.name,
            decision=GateDecision.PASS,
            detail="passes everything: not armed, no model learns yet",
            ts=self._ts,
        )


def standard_gates() -> list[Gate]:
    """The gates of a node, in the order in which they judge."""
    return [OpenGate("authenticity"), OpenGate("market")]
