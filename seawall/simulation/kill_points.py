"""A run without faults that splits in two at every k-th step: one node lives on, one is killed.

From the split on nobody wants anything new and no request gets in any more, so that both have the
same left to do: find out what became of what had left. The exchange fills, cancels and reports as
ever. When all has had time to settle both accounts must be the same, to the last unit.
"""

import os
from collections.abc import Callable

import msgspec

from seawall.core.clock import SECOND
from seawall.core.orders import OrderState
from seawall.core.records import FillBooked
from seawall.node.node import Node
from seawall.simulation.checks import ViolationError
from seawall.simulation.scene import LENGTH, START, Scene
from seawall.simulation.scheduler import Killed
from seawall.simulation.world import Plant, World

SETTLING = 12 * SECOND  # from a split to the comparison: an absence is proven after 2.5 s
STOPS = 8 * SECOND  # before the last split: then the operator stops the node, which is split too


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """What must not depend on a kill.

    Attributes:
        orders: client id → instrument, side, lots, lots filled and state, of all that the journal
            had at the split. fills: all that are booked, in the venue's order.
        positions, cash, fees: of the account. true: cash that the exchange has.
        trouble: why it is nothing to compare with; empty where all is well.
    """

    orders: dict[str, tuple[str, int, int, int, str]] = {}
    fills: list[tuple[int, str, str, int, int, int]] = []
    positions: dict[str, int] = {}
    cash: dict[str, int] = {}
    fees: dict[str, int] = {}
    true: dict[str, int] = {}
    trouble: str = ""


class KillPoints(msgspec.Struct, kw_only=True):
    """What the splits of one seed came to.

    Attributes:
        steps: of the whole run. points: at how many of them it was split.
        calls: splits by the call at which they were. failed: a line each.
    """

    seed: int
    steps: int = 0
    points: int = 0
    orders: int = 0
    fills: int = 0
    calls: dict[str, int] = {}
    failed: list[str] = []


class _Ended(BaseException):
    """A world has come to where it is compared."""


class _Splitting(World):
    """The world of a seed without faults, which splits.

    Args:
        every: steps from one split to the next. first: the step of the first one.
    """

    def __init__(
        self,
        scene: Scene,
        every: int,
        first: int,
        plant: Plant | None,
        progress: Callable[[int, int], None],
    ) -> None:
        # A ladder goes on being wanted while it stands, and a node that was killed forgets it.
        super().__init__(msgspec.structs.replace(scene, ladders=False), [])
        self.found = KillPoints(seed=scene.seed)
        self._every, self._next = every, first
        self._bug, self._progress = plant, progress
        self._end = START + LENGTH - SETTLING
        self._last = self._end - STOPS
        self._ended = False  # the operator has stopped the node for good
        self._writes: int | None = None  # in one of two: where its projection goes
        self._known: set[str] = set()
        self.scheduler.at_step = self._at_step

    def split_all(self) -> KillPoints:
        """Live through the run; all of its splits with it."""
        with self._open:
            try:
                self._prepare()
                self._live()
            except _Ended:
                pass
            except ViolationError as error:
                self._tell(Projection(trouble=str(error)))
            except BaseException:
                if self._writes is not None:
                    os._exit(1)  # never go on as a second parent
                raise
            self.scheduler.at_step = None
            self.found.steps = self.scheduler.steps
            self._tell(self._projection())
        self.found.orders = len(self.checks.shadow.orders)
        self.found.fills = self.checks.shadow.movements
        return self.found

    # --- one step ---

    def _at_step(self, call: str) -> None:
        if self._writes is not None or self.scheduler.steps < self._next:
            return
        self._next = self.scheduler.steps + self._every
        self._progress(self.scheduler.now - START, LENGTH - SETTLING)
        lived = self._half(call, killed=False)
        if lived is None:
            return
        died = self._half(call, killed=True)
        if died is None:
            raise Killed(call)
        self.found.points += 1
        self.found.calls[call] = self.found.calls.get(call, 0) + 1
        if difference := _difference(lived, died):
            self.found.failed.append(f"step {self.scheduler.steps}, {call}: {difference}")

    def _half(self, call: str, killed: bool) -> Projection | None:
        """What one of the two comes to; None in the process that is to become it."""
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            os.close(reads)
            self._writes = writes
            self._known = set(self.checks.shadow.orders)
            self._end = self.scheduler.now + SETTLING
            self.exchange.shut = True
            if killed and self._bug is not None:
                self._plant = self._bug
            return None
        os.close(writes)
        with os.fdopen(reads, "rb") as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        if not said:
            return Projection(trouble="it ended without a word")
        return msgspec.msgpack.decode(said, type=Projection)

    def _tell(self, projection: Projection) -> None:
        """In one of the two: the end of the process."""
        if self._writes is not None:
            with os.fdopen(self._writes, "wb") as pipe:
                pipe.write(msgspec.msgpack.encode(projection))
            os._exit(0)
        if projection.trouble:
            self.found.failed.append(f"without a kill: {projection.trouble}")

    # --- the world ---

    def _die(self) -> None:
        """Time stands still where nobody lives."""
        self.checks.node = None
        self.market.skip(self.scheduler.now)
        self.scheduler.clock.wait(self.market.time)

    def _between(self) -> None:
        super()._between()
        if self._writes is None and self.market.time >= self._last and not self._ended:
            self._ended = self._stopped = True
            node = self.checks.node
            assert node is not None
            node.stop("the run is over")
        if self.market.time >= self._end:
            raise _Ended

    def _over(self, node: Node) -> bool:
        return self._writes is None and self._ended

    def _reconciled(self) -> str:
        """What a second comparison with the exchange finds that the first did not."""
        node = self.checks.node
        if node is None:
            return ""
        node.action.reconcile(self.scheduler.now)
        rows = self.disk.rows
        node.action.reconcile(self.scheduler.now)
        return "a second reconciliation finds something again" if self.disk.rows > rows else ""

    def _projection(self) -> Projection:
        shadow = self.checks.shadow
        again = self._reconciled()
        self.exchange.live(max(self._end, self.scheduler.now))
        fills = [r.fill for _, r in self.disk.read(0) if isinstance(r, FillBooked)]
        lives = {name: shadow.orders[name] for name in sorted(self._known)}
        doubts = [n for n, life in lives.items() if life.state is OrderState.UNKNOWN]
        return Projection(
            orders={
                name: (
                    life.order.instrument,
                    int(life.order.side),
                    life.order.size,
                    life.filled,
                    life.state.value,
                )
                for name, life in lives.items()
            },
            fills=[(f.sequence, f.client_id, f.instrument, f.price, f.size, f.fee) for f in fills],
            positions=dict(shadow.positions),
            cash=dict(shadow.cash),
            fees=dict(shadow.fees),
            true=dict(self.exchange.engine.balances()),
            trouble=f"in doubt for {SETTLING // SECOND} s: {doubts}" if doubts else again,
        )


def kill_points(
    scene: Scene,
    every: int = 1,
    first: int = 1,
    plant: Plant | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> KillPoints:
    """Split a seed's run at every k-th step; nothing else fails in it.

    Args:
        every: steps from one split to the next. first: the step of the first one.
        plant: a bug of the nodes that start again, as `World` has it.
    """
    return _Splitting(scene, every, first, plant, progress).split_all()


def _difference(lived: Projection, died: Projection) -> str:
    """In words; empty where there is none."""
    for name, one in (("the one that lived on", lived), ("the one that was killed", died)):
        if one.trouble:
            return f"{name}: {one.trouble}"
    for field in lived.__struct_fields__:
        ours, theirs = getattr(lived, field), getattr(died, field)
        if ours != theirs:
            return f"{field}: {ours} without a kill, {theirs} with one"
    return ""
