"""Where every call through a port passes: what strikes there, and what is checked.

A step is one such call. The node may be killed at any of them.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from seawall.core.clock import SECOND, TapeClock
from seawall.core.orders import Order
from seawall.simulation.faults import Fault
from seawall.simulation.scene import ACTIVE, START

if TYPE_CHECKING:
    from seawall.simulation.checks import Checks

KILLS = {"kill": 0, "kill_recovery": 1, "double_kill": 2}  # and so often in the next lives' starts
WITHIN = 400  # steps after a kill is due by which it has happened
PATIENCE = 3 * SECOND  # that a fault which strikes once waits for something to strike
GRACE = 4 * SECOND  # after the last fault by which a kill that is due has happened
EARLY = 40  # steps of a new life within which a kill in recovery happens


class Killed(BaseException):
    """The process is gone, at once; nothing may catch it but the world."""


class Scheduler:
    """Time, faults that are due, and steps.

    Args:
        faults: of the seed, by time. kills_at: steps at which the node dies besides.
        checks: hold at every step. trace: told what happens.

    Attributes:
        struck: faults that have happened, by kind. steps: so far, of all lives.
    """

    def __init__(
        self,
        faults: Iterable[Fault],
        checks: "Checks",
        kills_at: Collection[int] = (),
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.clock = TapeClock()
        self.checks = checks
        self.struck: Counter[str] = Counter()
        self.steps = 0
        self.at_step: Callable[[str], None] | None = None  # told of each
        self._kills_at = frozenset(kills_at)
        self._trace = trace
        self._once: dict[str, list[Fault]] = {}
        self._lasting: dict[str, list[Fault]] = {}
        for fault in faults:
            kept = self._lasting if fault.span else self._once
            kept.setdefault(fault.kind, []).append(fault)
        self._begun: set[str] = set()
        self._die_at = -1  # the step of a kill that has been decided
        self._early: list[float] = []  # kills to come, each soon after a start

    @property
    def now(self) -> int:
        """Ns UTC, the node's clock."""
        return self.clock.now()

    def say(self, text: str) -> None:
        """One line of the trace."""
        if self._trace is not None:
            seconds = (self.now - START) / SECOND
            self._trace(f"{self.steps:>7} {seconds:>9.4f} s  {text}")

    # --- lives ---

    def born(self) -> None:
        """A node is about to start on a clock of its own."""
        self.clock = TapeClock(self.clock.now())
        self._die_at = -1
        if self._early:
            self._die_at = self.steps + 1 + int(self._early.pop() * EARLY)

    def step(self, call: str, settled: bool = True, order: Order | None = None) -> None:
        """One call through a port.

        Args:
            settled: the folds have heard of all that the journal holds.
            order: that is about to leave.
        """
        self.steps += 1
        if self._trace is not None and call not in _SILENT:
            self.say(call if order is None else f"{call} {order.client_id}")
        if order is not None:
            self.checks.leaves(order)
        if settled:
            self.checks.look()
        if self.at_step is not None:
            self.at_step(call)
        self._perhaps_die(call)

    def _perhaps_die(self, call: str) -> None:
        if self._die_at < 0:
            for kind, again in KILLS.items():
                if fault := self.strike(kind):
                    self._die_at = self.steps + int(fault.strength * WITHIN)
                    self._early += [fault.choice, 1.0 - fault.choice][:again]
        late = self.now > START + ACTIVE + GRACE
        due = self._die_at >= 0 and (late or self._die_at <= self.steps)
        if due or self.steps in self._kills_at:
            self.kill(call)

    def kill(self, where: str) -> None:
        """End this life now."""
        self._die_at = -1
        self.say(f"KILLED at {where}")
        raise Killed(where)

    # --- faults ---

    def strike(self, kind: str) -> Fault | None:
        """The next fault of a kind that strikes once, if one is due; it is spent then."""
        waiting = self._once.get(kind)
        while waiting and START + waiting[0].at + PATIENCE < self.now:
            waiting.pop(0)
        if not waiting or START + waiting[0].at > self.now:
            return None
        fault = waiting.pop(0)
        self.struck[kind] += 1
        self.say(f"FAULT {fault.name}")
        return fault

    def during(self, kind: str) -> Fault | None:
        """The fault of a kind that lasts, if there is one now."""
        for fault in self._lasting.get(kind, ()):
            if START + fault.at <= self.now < START + fault.at + fault.span:
                if fault.name not in self._begun:
                    self._begun.add(fault.name)
                    self.struck[kind] += 1
                    self.say(f"FAULT {fault.name} for {fault.span / SECOND:.3f} s")
                return fault
        return None

    def for_good(self, kind: str, share: float) -> bool:
        """Whether what a fault of this kind has left behind stays: so of a share of them."""
        begun = [f for f in self._lasting.get(kind, ()) if f.name in self._begun]
        return any(fault.strength < share for fault in begun)

    def first(self, fault: Fault) -> bool:
        """Whether this is the first time that somebody asks about a fault that lasts."""
        name = f"{fault.name} seen"
        fresh = name not in self._begun
        self._begun.add(name)
        return fresh


_SILENT = frozenset({"venue.observe", "venue.poll", "commands.poll", "feed.read"})
