"""Who moved the model, and what went wrong last: a fold over the journal; figures over time."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from seawall.core.clock import MILLISECOND
from seawall.core.records import (
    AnyRecord,
    BreakerChanged,
    ModelRolledBack,
    ModelUpdated,
    OperatorCommanded,
    SourceJudged,
)
from seawall.core.verdicts import Standing
from seawall.gating.group import MARKET_WIDE, Group
from seawall.gating.model import Past

UPDATES = 200  # kept
INCIDENTS = 100
REVIEWS = 1440  # of which figures are kept for each group: a day of minutes
BY_HAND = "banned by "  # how the reason of an operator's ban begins
MARKET, TARGETED = "market-wide", "targeted"


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a model, or the reason why there was none. ts: ms; shift: reference sigma."""

    ts: int
    group: str
    decision: str  # learned, frozen, rejected, held, rolled back
    reason: str
    shift: float | None
    corroboration: float
    influence: dict[str, float]  # source → sigma by which it moved the sample's location


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person should look at.

    Attributes:
        kind: freeze, rollback, suspension, ban, breaker, command. what: a group, source or breaker.
        corroboration: share of the sources that showed the same by themselves; None if unknown.
        verdict: market-wide or targeted; None where it is neither.
    """

    ts: int
    kind: str
    what: str
    reason: str
    corroboration: float | None = None
    verdict: str | None = None


class _Memory(msgspec.Struct):
    updates: list[Update] = []
    incidents: list[Incident] = []
    decisions: dict[str, str] = {}
    corroboration: dict[str, float] = {}
    standings: dict[str, int] = {}
    certificates: dict[str, bytes] = {}


class UpdateLog:
    """The newest updates and incidents, oldest first; Fold.

    Attributes:
        certificates: group → its last certificate (gating.certificate.Certificate, MessagePack).
    """

    name = "update_log"

    def __init__(self) -> None:
        self.updates: deque[Update] = deque(maxlen=UPDATES)
        self.incidents: deque[Incident] = deque(maxlen=INCIDENTS)
        self.certificates: dict[str, bytes] = {}
        self._decisions: dict[str, str] = {}
        self._corroboration: dict[str, float] = {}
        self._standings: dict[str, int] = {}

    def apply(self, record: AnyRecord) -> None:
        """Take in one record."""
        match record:
            case ModelUpdated():
                self._updated(record)
            case ModelRolledBack():
                self._rolled_back(record)
            case SourceJudged(source=source, standing=standing):
                if self._standings.get(source, int(Standing.TRUSTED)) != standing:
                    self._standings[source] = standing
                    self._judged(record)
            case BreakerChanged(state="OPEN", name=name, key=key):
                known = self._corroboration.get(key)
                what = f"{name} of {key}" if key else name
                self._incident(record, "breaker", what, record.reason, known, _verdict(known))
            case OperatorCommanded(command=command, who=who):
                what = ", ".join(record.arguments.values())
                self._incident(record, "command", what, f"{command} by {who}")
            case _:
                pass  # nothing else concerns a model or a source

    def _updated(self, record: ModelUpdated) -> None:
        group, decision, share = record.group, record.decision, record.corroboration
        self.updates.append(
            Update(
                ts=record.ts // MILLISECOND,
                group=group,
                decision=decision,
                reason=record.reason,
                shift=record.shift,
                corroboration=share,
                influence=record.influence,
            )
        )
        if record.certificate:
            self.certificates[group] = record.certificate
        if decision == "frozen" != self._decisions.get(group):
            self._incident(record, "freeze", group, record.reason, share, _verdict(share))
        self._decisions[group] = decision
        self._corroboration[group] = share

    def _rolled_back(self, record: ModelRolledBack) -> None:
        self.updates.append(
            Update(
                ts=record.ts // MILLISECOND,
                group=record.group,
                decision="rolled back",
                reason=record.reason,
                shift=None,
                corroboration=record.corroboration,
                influence={},
            )
        )
        self._incident(
            record, "rollback", record.group, record.reason, record.corroboration, TARGETED
        )

    def _judged(self, record: SourceJudged) -> None:
        kinds = {int(Standing.SUSPENDED): "suspension", int(Standing.BANNED): "ban"}
        kind = kinds.get(record.standing)
        if kind is not None and record.reason.startswith(BY_HAND):
            self._incident(record, kind, record.source, record.reason)
        elif kind is not None:
            share = max(0.0, 1.0 - record.score)
            self._incident(record, kind, record.source, record.reason, share, TARGETED)

    def _incident(
        self,
        record: AnyRecord,
        kind: str,
        what: str,
        reason: str,
        corroboration: float | None = None,
        verdict: str | None = None,
    ) -> None:
        self.incidents.append(
            Incident(
                ts=record.ts // MILLISECOND,
                kind=kind,
                what=what,
                reason=reason,
                corroboration=corroboration,
                verdict=verdict,
            )
        )

    def pasts(self) -> dict[str, Past]:
        """Group → what its reviews came to.

        What was learned before a rollback is in the model no longer by itself.
        """
        learned: dict[str, set[int]] = {group: set() for group in self._decisions}
        reasons = dict.fromkeys(self._decisions, "")
        for update in self.updates:
            if update.decision == "rolled back":
                learned.setdefault(update.group, set()).clear()
                continue
            reasons[update.group] = update.reason
            if update.decision == "learned":
                learned[update.group].add(update.ts * MILLISECOND)
        return {
            group: Past(
                decision,
                reasons[group],
                self.certificates.get(group, b""),
                frozenset(learned[group]),
            )
            for group, decision in self._decisions.items()
        }

    def state(self) -> Any:
        """Plain values."""
        memory = _Memory(
            list(self.updates),
            list(self.incidents),
            self._decisions,
            self._corroboration,
            self._standings,
            self.certificates,
        )
        return msgspec.to_builtins(memory, builtin_types=(bytes,))

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        memory = msgspec.convert(state, _Memory, builtin_types=(bytes,))
        self.updates = deque(memory.updates, maxlen=UPDATES)
        self.incidents = deque(memory.incidents, maxlen=INCIDENTS)
        self._decisions = memory.decisions
        self._corroboration = memory.corroboration
        self._standings = memory.standings
        self.certificates = memory.certificates


class Reviewed:
    """The figures of each group over its last reviews, as of this run; bounded."""

    def __init__(self) -> None:
        self.points: dict[str, deque[dict[str, Any]]] = {}
        self._last = 0

    def note(self, groups: Iterable[Group], reviewed: int) -> bool:
        """Take in the figures of a review at `reviewed` (ns UTC); whether it is a new one."""
        if reviewed == self._last:
            return False
        self._last = reviewed
        for group in groups:
            figures, certificate = group.figures, group.certificate
            if not figures.ts:
                continue
            kept = self.points.setdefault(group.name, deque(maxlen=REVIEWS))
            kept.append(
                {
                    "ts": figures.ts // MILLISECOND,
                    "anchor_rate": figures.anchor_rate,
                    "anchor_surprise": figures.anchor_surprise,
                    "distance": figures.model.distance,
                    "divergence": figures.model.divergence,
                    "window_distance": figures.window.distance,
                    "window_divergence": figures.window.divergence,
                    "past": certificate.past if certificate else math.nan,
                    "trusted_rows": group.reference.rows if group.reference else 0,
                }
            )
        return True


def long_lists(log: UpdateLog, reviewed: Reviewed, now: int) -> Mapping[str, Any]:
    """What is too long for the view: updates and incidents (newest first), figures over time."""
    updates = [msgspec.to_builtins(update) for update in reversed(log.updates)]
    influences: dict[str, Any] = {}
    for update in log.updates:
        if update.influence:
            influences[update.group] = {"ts": update.ts, "influence": update.influence}
    return {
        "now": now // MILLISECOND,
        "updates": updates,
        "influences": influences,
        "incidents": [msgspec.to_builtins(one) for one in reversed(log.incidents)],
        "drift": {group: list(points) for group, points in reviewed.points.items()},
    }


def _verdict(corroboration: float | None) -> str | None:
    if corroboration is None or not math.isfinite(corroboration):
        return None
    return MARKET if corroboration >= MARKET_WIDE else TARGETED
