"""The standing of each source: trust that moves with what it says, suspension, probation, ban.

Only the authenticity gate lowers trust. Trust rises slowly with corroboration, age and stability;
a suspended source comes back on probation, where it is judged but has no vote.
"""

from typing import Any

import msgspec

from seawall.core.clock import HOUR, MINUTE
from seawall.core.records import AnyRecord, OperatorCommanded, SourceJudged
from seawall.core.verdicts import Standing

NEW = 0.5  # trust of a source that nobody has seen yet
VOTES_FROM = 0.3
RISE = 0.1  # share of what is missing to its target that a clean review gives back
FALL = 0.5  # factor of a rejection; its square where the score is FLAGRANT
FLAGRANT = 3.0
SUSPICIOUS = 0.5  # score from which a rollback will go back to before this review
SUSPENSION = 2 * MINUTE  # the first; each further one is twice as long
PROBATION = 10  # clean reviews until it votes again
STRIKES = 3  # suspensions after which it is banned; a rejection on probation bans at once


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """One source. Times in ns UTC, 0 where there is none."""

    trust: float = NEW
    standing: Standing = Standing.TRUSTED
    first_seen: int = 0
    until: int = 0  # end of the suspension
    clean: int = 0  # reviews passed on probation
    strikes: int = 0
    since: int = 0  # first suspicion of the last rejection
    score: float = 0.0  # of the last review
    worst: float = 0.0  # highest score so far
    reason: str = ""
    rejections: int = 0

    @property
    def votes(self) -> bool:
        """Whether it takes part in the consensus."""
        return self.standing is Standing.TRUSTED and self.trust >= VOTES_FROM

    @property
    def admitted(self) -> bool:
        """Whether its rows are let in."""
        return self.standing in (Standing.TRUSTED, Standing.PROBATION)


def rejected(state: SourceState, score: float, reason: str, since: int, now: int) -> SourceState:
    """After the authenticity gate has turned it down."""
    factor = FALL * FALL if score >= FLAGRANT else FALL
    trust = state.trust * factor
    changed = msgspec.structs.replace(
        state,
        trust=trust,
        score=score,
        worst=max(state.worst, score),
        reason=reason,
        since=state.since or since,
        clean=0,
        rejections=state.rejections + 1,
    )
    if state.standing is Standing.PROBATION or (
        state.strikes + 1 >= STRIKES and trust < VOTES_FROM
    ):
        return msgspec.structs.replace(changed, standing=Standing.BANNED, trust=0.0)
    if trust >= VOTES_FROM:
        return changed
    length = SUSPENSION << state.strikes
    return msgspec.structs.replace(
        changed, standing=Standing.SUSPENDED, strikes=state.strikes + 1, until=now + length
    )


def passed(
    state: SourceState,
    score: float,
    corroboration: float,
    stability: float,
    before: int,
    now: int,
) -> SourceState:
    """After a clean review; the last one was at `before`. corroboration, stability: in [0, 1]."""
    maturity = min(1.0, (now - state.first_seen) / HOUR) if state.first_seen else 0.0
    target = NEW + (1.0 - NEW) * corroboration * stability * (0.5 + 0.5 * maturity)
    trust = state.trust + RISE * (target - state.trust) if target > state.trust else state.trust
    changed = msgspec.structs.replace(
        state,
        trust=trust,
        score=score,
        worst=max(state.worst, score),
        first_seen=state.first_seen or now,
    )
    if state.standing is Standing.TRUSTED:
        return msgspec.structs.replace(
            changed, since=0 if score < SUSPICIOUS else state.since or before
        )
    if state.standing is Standing.PROBATION:
        if state.clean + 1 >= PROBATION:
            return msgspec.structs.replace(
                changed, standing=Standing.TRUSTED, trust=max(trust, VOTES_FROM), clean=0, since=0
            )
        return msgspec.structs.replace(changed, clean=state.clean + 1)
    return changed


def waited(state: SourceState, now: int) -> SourceState:
    """A suspension that is over becomes probation."""
    if state.standing is Standing.SUSPENDED and now >= state.until:
        return msgspec.structs.replace(
            state, standing=Standing.PROBATION, trust=VOTES_FROM, clean=0, reason="on probation"
        )
    return state


def banned(state: SourceState, reason: str) -> SourceState:
    """By an operator's word."""
    return msgspec.structs.replace(state, standing=Standing.BANNED, trust=0.0, reason=reason)


def unbanned(state: SourceState, now: int) -> SourceState:
    """By an operator's word: on probation, so that it is judged before it votes."""
    return msgspec.structs.replace(
        state,
        standing=Standing.PROBATION,
        trust=VOTES_FROM,
        strikes=0,
        clean=0,
        since=0,
        reason="let in again by an operator: on probation",
        until=now,
    )


class Sources:
    """The standing of all sources, by name, as the journal has it; Fold."""

    name = "sources"

    def __init__(self) -> None:
        self.states: dict[str, SourceState] = {}

    def apply(self, record: AnyRecord) -> None:
        """Take in one record."""
        match record:
            case SourceJudged(source=source):
                before = self.states.get(source, SourceState())
                self.states[source] = msgspec.structs.replace(
                    before,
                    trust=record.trust,
                    standing=Standing(record.standing),
                    score=record.score,
                    worst=max(before.worst, record.score),
                    reason=record.reason,
                    since=record.since,
                    strikes=record.strikes,
                    until=record.until,
                    clean=record.clean,
                    first_seen=before.first_seen or record.ts,
                )
            case OperatorCommanded():
                pass  # what comes of it is journaled as SourceJudged
            case _:
                pass

    def state(self) -> Any:
        """Plain values."""
        return msgspec.to_builtins(self.states)

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        self.states = msgspec.convert(state, dict[str, SourceState])
