"""Pacing: an approved position becomes a parent order, and its children go out by its plan.

What is done of a parent is what the ledger holds beyond what was held at its begin, and what should
be done is a function of the journaled parent: so neither is kept anywhere else, and after a restart
neither can be counted twice.
"""

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from seawall.core.events import Side
from seawall.core.intents import Approved, Urgency
from seawall.core.parents import Algorithm, Pace, Parent
from seawall.core.records import ParentBegan, ParentEnded
from seawall.execution import schedules
from seawall.execution.goals import Due, Key, Touch
from seawall.execution.parents import Parents, Place
from seawall.execution.schedules import Plan, Reads
from seawall.execution.volume_curve import VolumeCurve

Bound = Callable[[str, Side, int, Touch], int | None]
Least = Callable[[str, Touch], int]
Room = Callable[[str, Side, int, Touch], int]
SAME = 0.1  # a target that moves by no more than this share of the parent leaves its plan alone


class Pacer:
    """Says how much of each goal may go out now; `goals.Pace`.

    Args:
        parents: the fold. record: journals records and applies them to the folds.
        held: signed lots that a goal counts from: the account's, or its strategy's.
        prefix: of parent ids. seed: of the random part of the plans.
        usual: the pace of goals whose intent names none; None sends them at once.
        visible: of icebergs that do not say it, the share of the parent that is shown.
        curve: what VWAP goes by; None goes evenly.
        bound: (instrument, side, lots, touch) → price in ticks that a NORMAL order must not pass;
            None leaves it to the urgency.
        least: (instrument, touch) → lots of the smallest order that the exchange takes; None: 1.
        room: (instrument, side, lots, touch) → how many of them a NORMAL order may take of what the
            book shows; None: all.
    """

    def __init__(
        self,
        parents: Parents,
        record: Callable[..., None],
        held: Callable[[Approved], int],
        prefix: str,
        seed: int,
        usual: Pace | None = None,
        visible: float = 0.1,
        curve: VolumeCurve | None = None,
        bound: Bound | None = None,
        least: Least | None = None,
        room: Room | None = None,
    ) -> None:
        self._parents = parents
        self._record = record
        self._held = held
        self._prefix = prefix
        self._seed = seed
        self._usual = usual
        self._visible = visible
        self._curve = curve
        self._bound = bound
        self._least = least
        self._room = room
        self._plans: dict[str, Plan] = {}
        self._volume: dict[str, int] = {}  # parent → reading of its volume clock

    def __call__(self, goal: Approved, delta: int, touch: Touch, now: int) -> Due:
        """What of `delta` goes out now."""
        place = goal.instrument, goal.intent.strategy
        pace = goal.intent.pace or self._usual
        hurried = goal.intent.urgency is Urgency.URGENT or goal.reduce_only
        if pace is None or hurried:
            self._end(place, "sent at once", now)
            return self._due(goal, delta, touch)
        parent = self._parents.open.get(place)
        held = self._held(goal)
        if parent is not None and not _goes_on(parent, goal, held, delta):
            self._end(place, "another goal", now)
            parent = None
        if parent is None:
            parent = self._begin(goal, delta, held, pace, touch, now)
        done = parent.side.sign * (held - parent.held)
        plan = self._plan(parent)
        reading = self._reading(parent, plan, done, now)
        left = abs(delta)
        out = left if reading >= plan.at[-1] else min(left, schedules.due(plan, reading) - done)
        if parent.pace.algorithm is Algorithm.ICEBERG:  # what a goal has grown by is hidden too
            out = min(out, parent.pace.visible)
        return self._due(goal, parent.side.sign * schedules.joined(parent, out, left), touch)

    def _due(self, goal: Approved, lots: int, touch: Touch) -> Due:
        """Lots that go out now, no more than the depth allows, at the bound of their price where
        there is one. What only reduces a position is not held back."""
        if goal.intent.urgency is not Urgency.NORMAL or not lots:
            return Due(lots)
        side = Side.BUY if lots > 0 else Side.SELL
        if self._room is not None and not goal.reduce_only:
            room = self._room(goal.instrument, side, abs(lots), touch)
            least = self._least(goal.instrument, touch) if self._least else 1
            if abs(lots) - max(room, least) >= least:  # else what is left could not be sent
                lots = side.sign * max(room, least)
        if self._bound is None:
            return Due(lots)
        return Due(lots, self._bound(goal.instrument, side, abs(lots), touch))

    @property
    def idle(self) -> bool:
        """Nothing is worked over time or bounded, and nothing will be unless an intent asks."""
        free = self._bound is None and self._room is None
        return self._usual is None and free and not self._parents.open

    def heard(self, volumes: Mapping[str, float]) -> None:
        """Lots that others traded since the last boundary, by instrument."""
        for (instrument, _), parent in self._parents.open.items():
            if parent.parent_id in self._volume:
                self._volume[parent.parent_id] += int(volumes.get(instrument, 0))

    def finish(self, goals: Iterable[Key], strategies: Callable[[str], str], now: int) -> None:
        """End the parents that have no goal any more.

        Args:
            goals: those that stand. strategies: whose goals those of a strategy are.
        """
        if not self._parents.open:
            return
        standing = set(goals)
        for instrument, strategy in list(self._parents.open):
            if (instrument, strategies(strategy)) not in standing:
                self._end((instrument, strategy), "over", now)

    def resumed(self, owner: Callable[[str], str], now: int) -> list[Approved]:
        """After a restart: the approvals behind the parents that are still to be worked.

        None that a newer one had replaced: of the same owner, or for the whole account.

        Args:
            owner: whose goals those of a strategy are; empty: the account's.
        """
        found: dict[Key, Approved] = {}
        for (instrument, strategy), approval in self._parents.approvals.items():
            whose = owner(strategy)
            for place in [key for key in found if key[0] == instrument]:
                if whose in ("", place[1]):
                    del found[place]
            if now < approval.intent.expiry and (instrument, strategy) in self._parents.open:
                found[instrument, whose] = approval
        return list(found.values())

    def _begin(
        self, goal: Approved, delta: int, held: int, pace: Pace, touch: Touch, now: int
    ) -> Parent:
        lots = abs(delta)
        least = self._least(goal.instrument, touch) if self._least else 1
        weights: tuple[float, ...] = ()
        if pace.algorithm is Algorithm.ALMGREN_CHRISS:
            weights = schedules.almgren_chriss(pace.slices, pace.bend)
        elif pace.algorithm is Algorithm.VWAP and self._curve is not None:
            expected = self._curve.between(now, now + pace.horizon, pace.slices)
            weights = schedules.curve_weights(expected)
        elif pace.algorithm is Algorithm.ICEBERG:
            shown = pace.visible or max(1, int(lots * self._visible))
            # two of the smallest orders at least, or what is hidden could not be divided
            pace = replace(pace, visible=max(shown, 2 * least + 2) if least > 1 else shown)
        parent = Parent(
            parent_id=f"{self._prefix}-p{self._parents.begun + 1}",
            instrument=goal.instrument,
            side=Side.BUY if delta > 0 else Side.SELL,
            lots=lots,
            held=held,
            pace=pace,
            seed=self._seed,
            start=now,
            bid=touch[0],
            ask=touch[1],
            decided=goal.intent.ts,
            strategy=goal.intent.strategy,
            smallest=least,
            weights=weights,
        )
        self._plans[parent.parent_id] = schedules.plan_of(parent)  # refused before it is journaled
        self._record(ParentBegan(ts=now, parent=parent))
        return parent

    def _end(self, place: Place, reason: str, now: int) -> None:
        parent = self._parents.open.get(place)
        if parent is not None:
            self._plans.pop(parent.parent_id, None)
            self._volume.pop(parent.parent_id, None)
            self._record(ParentEnded(ts=now, parent_id=parent.parent_id, reason=reason))

    def _plan(self, parent: Parent) -> Plan:
        plan = self._plans.get(parent.parent_id)
        if plan is None:
            plan = self._plans[parent.parent_id] = schedules.plan_of(parent)
        return plan

    def _reading(self, parent: Parent, plan: Plan, done: int, now: int) -> int:
        """What the plan's clock reads. A volume clock that nobody has read starts where what is
        done has brought it: volume that we did not hear does not count."""
        if plan.reads is Reads.TIME:
            return now - parent.start
        if plan.reads is Reads.FILLS:
            return max(0, done)
        if parent.parent_id not in self._volume:
            steps = [at for at, lots in zip(plan.at, plan.done, strict=True) if lots <= done]
            self._volume[parent.parent_id] = steps[-1] if steps else 0
        return self._volume[parent.parent_id]


def _goes_on(parent: Parent, goal: Approved, held: int, delta: int) -> bool:
    """Whether the parent is on its way to this goal: same side, and about the same lots."""
    if (delta > 0) != (parent.side is Side.BUY):
        return False
    target = parent.held + parent.side.sign * parent.lots
    return abs(held + delta - target) <= SAME * parent.lots
