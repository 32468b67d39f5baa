"""The two gates at work: reviews of all groups and sources, once per epoch of the tape.

Authenticity compares the sources with each other and alone may lower trust, ban or roll back; the
market gate compares their consensus with the reference and may only freeze learning. What they
decide goes into the verdict, which admission and the consensus read from the next row on.
"""

from collections.abc import Mapping
from operator import is_not
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.consensus import LEVEL, PANEL_WIDTH
from seawall.core.errors import DataError
from seawall.core.records import AnyRecord, SourceJudged
from seawall.core.verdicts import GateDecision, Standing
from seawall.gating import kernels, toxicity
from seawall.gating import reference as references
from seawall.gating import sources as standings
from seawall.gating.figures import Review
from seawall.gating.group import Group, GroupShape
from seawall.gating.model import Models, Past
from seawall.gating.reference import LOOK, Reference
from seawall.gating.sources import Sources, SourceState

MOST_SOURCES = 60  # in one group; each is a bit of a mask
INNOCENT = 0.99  # the highest score of a source that was not accused
TOLD = 0.05  # trust moves of this size are journaled


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate said last, and why. `ts`: ns UTC of the review."""

    name: str
    decision: GateDecision
    detail: str
    ts: int = 0


class GatingShape(msgspec.Struct, frozen=True, kw_only=True):
    """How the gates work.

    Attributes:
        group: of each group's model.
        window_s: seconds that a full window spans at least.
        enforce: False: everything is measured and nothing acted on (a naive system, for
        comparison).
    """

    group: GroupShape = GroupShape()
    window_s: float = 1000.0
    enforce: bool = True


class Gating:
    """The gates, models and certificates of one catalog.

    Args:
        groups: names of the consensus groups. sources: of each group, in the order of its slots.
        member: (groups, slots) of the agreement's carry: 1 where the source votes; written here.
        references: group → trusted reference; a group without one makes a provisional one of its
            own beginning.
    """

    def __init__(
        self,
        groups: list[str],
        sources: list[tuple[str, ...]],
        member: NDArray[np.uint8],
        shape: GatingShape,
        cadence_ns: int,
        trusted: Mapping[str, Reference],
        seed: int,
    ) -> None:
        if max((len(s) for s in sources), default=0) > MOST_SOURCES:
            raise DataError(
                f"a consensus group has more than {MOST_SOURCES} sources; split it into groups"
            )
        self.shape = shape
        self.member = member
        count, slots, length = len(groups), member.shape[1], shape.group.window
        thin = max(1, round(shape.window_s * SECOND / cadence_ns / length))
        self.window = kernels.WindowState(
            panel=np.full((count, length, slots, PANEL_WIDTH), np.nan),
            factor=np.zeros((count, length, 3)),
            ts=np.zeros((count, length), np.int64),
            barred=np.zeros((count, length), np.int64),
            seen=np.zeros(count, np.int64),
            thin=np.array([thin], np.int64),
        )
        self.toxicity = toxicity.new(count)
        self.vpin: list[float] = self.toxicity["vpin"].tolist()  # of each group at the last review
        self.groups = [
            Group(name, names, shape.group, trusted.get(name), seed)
            for name, names in zip(groups, sources, strict=True)
        ]
        self.sources: dict[str, SourceState] = {
            name: SourceState() for names in sources for name in names
        }
        registered = [np.arange(slots) < len(names) for names in sources]
        self._bits = np.where(registered, np.int64(1) << np.arange(slots, dtype=np.int64), 0)
        self._based: list[object] = []  # what `_held` was made of
        self._held = self._in_force()
        self.records: list[AnyRecord] = []  # to be journaled; whoever journals them empties it
        self.reviewed = 0  # ns UTC of the last review
        self.reports: dict[str, GateReport] = {}
        self._told: dict[str, SourceState] = {}

    # --- rows ---

    def observe(self, rows: NDArray[Any], panel: NDArray[np.float64]) -> None:
        """Take in rows (CONSENSUS) and their panel; fill in the gates' columns."""
        kernels.push(self.window, self._barred(), rows, panel)
        toxicity.run(self.toxicity, rows)
        means, bounds, decisions = self._in_force()
        groups = rows["group"]
        rows["mean"] = means[groups]
        rows["mean_bound"] = bounds[groups]
        rows["gate"] = decisions[groups]

    def _in_force(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.uint8]]:
        """Every group's mean, its bound and the gate's decision; made anew where one has changed,
        since rows come one boundary at a time."""
        based = [part for group in self.groups for part in group.based_on]
        if len(based) != len(self._based) or any(map(is_not, based, self._based)):
            self._based = based
            self._held = (
                np.array([group.raw_mean() for group in self.groups]),
                np.array([group.raw_bound() for group in self.groups]),
                np.array([group.decision for group in self.groups], np.uint8),
            )
        return self._held

    def _barred(self) -> NDArray[np.int64]:
        """(groups,) a bit for each registered source that may not vote."""
        barred: NDArray[np.int64] = ((self.member == 0) * self._bits).sum(axis=1)
        return barred

    # --- reviews ---

    def review(self, now: int) -> None:
        """The end of an epoch at `now` (ns UTC): judge sources, then update each group's model."""
        self.vpin = self.toxicity["vpin"].tolist()
        found = [self._judge(at, now) for at in range(len(self.groups))]
        suspects = self._sources(found, now)
        self._seat()
        for at, group in enumerate(self.groups):
            if not group.comparable:
                continue
            accused = {s: since for s, since in suspects.items() if s in group.sources}
            review = self._view(at, now, self.vpin[at], accused)
            if now > group.taught:
                self.records += group.review(review, self.shape.enforce)
            else:
                group.remember(review, self.shape.enforce)
        self._report(suspects, now)
        self.reviewed = now

    def _rows(self, at: int) -> NDArray[np.int64]:
        """Places of the group's window, oldest first."""
        length = self.window.ts.shape[1]
        seen = int(self.window.seen[at])
        places: NDArray[np.int64] = np.arange(max(0, seen - length), seen) % length
        return places

    def _view(self, at: int, now: int, vpin: float, accused: dict[str, int]) -> Review:
        rows = self._rows(at)
        names = self.groups[at].sources
        slots = len(names)
        return Review(
            now=now,
            panel=np.ascontiguousarray(self.window.panel[at][rows][:, :slots]),
            factor=self.window.factor[at][rows],
            barred=self.window.barred[at][rows],
            ts=self.window.ts[at][rows],
            member=self.member[at, :slots].copy(),
            vpin=vpin,
            accused=accused,
            doubted=frozenset(s for s in names if self.sources[s].since and s not in accused),
        )

    def _judge(self, at: int, now: int) -> dict[str, tuple[float, str, float, float]]:
        """Source → (score, reason, corroboration, stability) from its rows in a group's window.

        The worst offender is set aside and the others judged again without it, so that one liar
        among few does not make the honest look false. Where half or more would go nobody is
        accused: the market has split, and the market gate sees it.
        """
        group = self.groups[at]
        rows = self._rows(at)
        slots = len(group.sources)
        if slots < 3 or group.reference is None or len(rows) < LOOK // 4:
            return {}
        panel = references.scaled(
            np.ascontiguousarray(self.window.panel[at][rows][:, :slots]),
            self.window.factor[at][rows],
        )
        member = self.member[at, :slots].copy()
        judged = np.array([self.sources[s].admitted for s in group.sources], np.uint8)
        live = np.isfinite(panel[-LOOK:, :, LEVEL]).mean(axis=0)
        times = self.window.ts[at][rows]
        new = times > self.reviewed
        trust = np.array([self.sources[s].trust for s in group.sources])
        group.learn_residuals(
            np.ascontiguousarray(panel[new]), times[new], member, np.where(judged, trust, 0.0)
        )
        if now <= group.taught:
            return {}  # a warm-up goes through what the journal has judged already
        verdicts: dict[int, tuple[float, str]] = {}
        accused: set[int] = set()
        while int(member.sum()) >= 3:
            scores = group.scores(panel, member, judged)
            for slot in range(slots):
                if slot not in accused and judged[slot]:
                    verdicts[slot] = scores[slot]
            worst = max(verdicts, key=lambda s: -1.0 if s in accused else verdicts[s][0])
            if worst in accused or verdicts[worst][0] < 1.0:
                break
            accused.add(worst)
            member[worst] = 0
        voting = int(self.member[at, :slots].sum())
        guilty = [s for s in accused if self.member[at, s]]
        if 2 * len(guilty) >= voting:
            accused.clear()
        verdicts = {
            s: v if s in accused else (min(v[0], INNOCENT), v[1]) for s, v in verdicts.items()
        }
        return {
            group.sources[s]: (score, reason, max(0.0, 1.0 - score), float(live[s]))
            for s, (score, reason) in verdicts.items()
        }

    def _sources(
        self, found: list[dict[str, tuple[float, str, float, float]]], now: int
    ) -> dict[str, int]:
        """Move each source's standing; returns those rejected now, with the start of suspicion."""
        suspects: dict[str, int] = {}
        for name, state in list(self.sources.items()):
            said = [group[name] for group in found if name in group]
            changed = standings.waited(state, now)
            if said:
                score, reason, _, _ = max(said)
                if score >= 1.0:
                    since = state.since or self.reviewed
                    changed = standings.rejected(changed, score, reason, since, now)
                    suspects[name] = changed.since
                else:
                    corroboration = min(s[2] for s in said)
                    stability = min(s[3] for s in said)
                    changed = standings.passed(
                        changed, score, corroboration, stability, self.reviewed, now
                    )
            self._set(name, changed, now)
        return suspects

    def _set(self, name: str, state: SourceState, now: int) -> None:
        """Note a source's state; journal it where it says something new."""
        self.sources[name] = state
        told = self._told.get(name, SourceState())
        if (
            state.standing is not told.standing
            or state.rejections != told.rejections
            or abs(state.trust - told.trust) >= TOLD
            or state.clean != told.clean
        ):
            self._told[name] = state
            self.records.append(
                SourceJudged(
                    ts=now,
                    source=name,
                    trust=state.trust,
                    standing=int(state.standing),
                    score=state.score,
                    reason=state.reason,
                    since=state.since,
                    strikes=state.strikes,
                    until=state.until,
                    clean=state.clean,
                )
            )

    def _seat(self) -> None:
        """Who votes from here on."""
        if not self.shape.enforce:
            return
        for at, group in enumerate(self.groups):
            for slot, name in enumerate(group.sources):
                self.member[at, slot] = self.sources[name].votes

    def _report(self, suspects: dict[str, int], now: int) -> None:
        names = ", ".join(f"{s} ({self.sources[s].reason})" for s in sorted(suspects))
        judged = sum(1 for g in self.groups if g.reference is not None and len(g.sources) >= 3)
        quiet = "sources agree" if judged else "fewer than three sources: nothing to compare"
        self.reports["authenticity"] = GateReport(
            name="authenticity",
            decision=GateDecision.REJECT if suspects else GateDecision.PASS,
            detail=names or quiet,
            ts=now,
        )
        frozen = [g for g in self.groups if g.decision is GateDecision.FREEZE]
        detail = "; ".join(f"{g.name}: {g.reason}" for g in frozen)
        waiting = [g.name for g in self.groups if g.reference is None]
        learning = "the consensus looks like the reference"
        if waiting:
            learning = f"waiting for a reference: {', '.join(waiting)}"
        self.reports["market"] = GateReport(
            name="market",
            decision=GateDecision.FREEZE if frozen else GateDecision.PASS,
            detail=detail or learning,
            ts=now,
        )

    # --- operators and restarts ---

    def ban(self, name: str, who: str, now: int) -> None:
        """An operator bans a source.

        Raises:
            DataError: there is no such source.
        """
        self._known(name)
        self._set(name, standings.banned(self.sources[name], f"banned by {who}"), now)
        self._seat()

    def unban(self, name: str, who: str, now: int) -> None:
        """An operator lets a source in again, on probation; DataError where there is none."""
        self._known(name)
        self._set(name, standings.unbanned(self.sources[name], now), now)
        self._seat()

    def roll_back(self, name: str, who: str, now: int) -> None:
        """An operator sends a group's model back to its last checkpoint.

        Raises:
            DataError: no such group, or nothing to go back to.
        """
        for group in self.groups:
            if group.name == name:
                if group.model is None:
                    raise DataError(f"{name} has no model yet, so there is nothing to go back to")
                self.records += group.roll_back(now, now, f"rolled back by {who}", 1.0)
                return
        raise DataError(
            f"there is no group {name}; they are {', '.join(g.name for g in self.groups)}"
        )

    def _known(self, name: str) -> None:
        if name not in self.sources:
            known = ", ".join(sorted(self.sources))
            raise DataError(f"there is no source {name}; they are {known}")

    def restore(self, models: Models, states: Sources, pasts: Mapping[str, Past]) -> None:
        """Go on from what the journal holds: models, checkpoints, standings, the last reviews."""
        for name, state in states.states.items():
            if name in self.sources:
                self.sources[name] = self._told[name] = state
        self._seat()
        for group in self.groups:
            group.restore(models, pasts.get(group.name))

    def banned(self) -> list[str]:
        """Sources that only an operator lets in again."""
        return [n for n, s in self.sources.items() if s.standing is Standing.BANNED]

    def votes(self, name: str) -> bool:
        """Whether a source takes part in the consensus."""
        return not self.shape.enforce or self.sources[name].votes

    def admits(self, name: str) -> tuple[float, bool]:
        """(trust, banned) of a source, as admission wants them."""
        state = self.sources[name]
        if not self.shape.enforce:
            return 1.0, False
        return state.trust, state.standing is Standing.BANNED
