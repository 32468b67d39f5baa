"""What else of the world a node touches: the feed, the time where nothing comes, the operator."""

from collections.abc import Callable

import numpy as np

from seawall.core.commands import (
    ADOPT,
    BAN,
    CLOSE,
    EMERGENCY_STOP,
    EVERY_ACCOUNT,
    KEEP,
    RECONCILE,
    RELEASE,
    ROLL_BACK,
    UNBAN,
    Command,
)
from seawall.core.events import EventFlag, Raw
from seawall.core.instruments import Catalog
from seawall.core.randomness import generator
from seawall.simulation.faults import Fault
from seawall.simulation.scene import LENGTH, START, Scene
from seawall.simulation.scheduler import Scheduler

FOR_GOOD = 0.4  # share of the emergency stops that nobody releases
WHO = "operator"

COMMANDS = {
    "ban": BAN,
    "unban": UNBAN,
    "roll_back": ROLL_BACK,
    "reconcile": RECONCILE,
    "adopt": ADOPT,
}


class Market:
    """What the feeds tell, and up to when they have told it; outlives the node.

    Attributes:
        time: ns UTC. at: rows told.
    """

    def __init__(self, rows: Raw, scene: Scene) -> None:
        self.rows = rows
        self.time = START
        self.at = self._past(START)
        self._scene = scene

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.time >= START + LENGTH

    def _past(self, until: int) -> int:
        return int(np.searchsorted(self.rows["recv_ts"], until, side="right"))

    def skip(self, until: int) -> None:
        """Nobody listened up to `until`."""
        self.time = max(self.time, until)
        self.at = max(self.at, self._past(self.time))

    def before(self, length: int) -> Raw:
        """The rows of the last `length` ns, whole messages: a past never begins within one."""
        rows = self.rows[self._past(self.time - length) : self.at]
        begins = np.flatnonzero(rows["flags"] & EventFlag.BEGIN)
        return Raw(rows[begins[0] :] if len(begins) else rows[:0])

    def more(self) -> Raw:
        """The next rows, whole messages, possibly none."""
        share = float(generator(self._scene.seed, "simulation.block", self.time).random())
        self.time = min(self.time + int(self._scene.block * (0.2 + 1.6 * share)), START + LENGTH)
        first, past = self.at, max(self.at, self._past(self.time))
        while first < past < len(self.rows) and not self._ends(past - 1):
            past += 1
        self.at = past
        return Raw(self.rows[first:past])

    def _ends(self, row: int) -> bool:
        return bool(self.rows["flags"][row] & EventFlag.END)


class Feed:
    """The market for one life of a node; see ports.Feed.

    Args:
        between: called before each read.
    """

    def __init__(self, catalog: Catalog, market: Market, between: Callable[[], None]) -> None:
        self._catalog = catalog
        self._market = market
        self._between = between

    @property
    def catalog(self) -> Catalog:
        """Instruments, sources and books."""
        return self._catalog

    def read(self, timeout: float) -> Raw | None:
        """The next rows; none where nothing came; None at the market's end."""
        self._between()
        return None if self._market.over else self._market.more()

    def close(self) -> None:
        """Nothing to let go of."""


class Time:
    """Real time, for a node whose feed is silent; see core.clock.Clock."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def now(self) -> int:
        """Ns UTC."""
        return self._market.time

    def wait(self, until: int) -> None:
        """Nobody waits here: reading the feed is what moves the time."""


class Operator:
    """Commands at the moments that the seed has chosen; see ports.Commands."""

    def __init__(self, catalog: Catalog, scheduler: Scheduler) -> None:
        self._catalog = catalog
        self._scheduler = scheduler
        self._shadow = scheduler.checks.shadow

    def poll(self) -> list[Command]:
        """The commands that are due, each once."""
        self._scheduler.step("commands.poll")
        given = []
        for kind, name in COMMANDS.items():
            if fault := self._scheduler.strike(kind):
                given.append(Command(name=name, target=self._target(fault), who=WHO))
        return given + self._emergency()

    def _emergency(self) -> list[Command]:
        """The hand on the big red button, and off it again: asked for until it is in the journal,
        and not once more."""
        fault, shadow = self._scheduler.during("emergency"), self._shadow
        if fault is not None:
            if fault.name in shadow.stops:
                return []
            target = CLOSE if fault.choice < 0.5 else KEEP
            return [Command(name=EMERGENCY_STOP, target=target, who=f"{WHO} {fault.name}")]
        if shadow.stops_by_hand and not self._scheduler.for_good("emergency", FOR_GOOD):
            name = next(iter(shadow.stops_by_hand))
            return [Command(name=RELEASE, target=name, who=WHO)]
        return []

    def _target(self, fault: Fault) -> str:
        if fault.kind in ("reconcile", "adopt"):
            return EVERY_ACCOUNT
        if fault.kind == "roll_back":
            groups = sorted({i.consensus_group for i in self._catalog.instruments})
            return groups[fault.pick(len(groups))]
        return self._catalog.sources[fault.pick(len(self._catalog.sources))].name
