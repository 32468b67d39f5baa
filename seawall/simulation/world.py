"""One seed: a node lives through all of its faults, dies of some, and starts again.

The node is the real one, put together by the real assembly; what it is put together with is not.
"""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seawall.core.clock import SECOND
from seawall.core.errors import SeawallError, StoreError
from seawall.core.orders import OrderState
from seawall.core.randomness import generator
from seawall.node.assembly import Silent, build
from seawall.node.books import Books
from seawall.node.division import deposits_of
from seawall.node.exchange import venue_shape
from seawall.node.node import Node
from seawall.node.prices import SILENT
from seawall.node.strategy import sleeves_of
from seawall.risk.breakers import BREAKERS
from seawall.simulation.checks import Checks, ViolationError
from seawall.simulation.disturbing import disturbed, of_clocks
from seawall.simulation.exchange import Exchange, Line
from seawall.simulation.faults import Fault
from seawall.simulation.markets import market_of
from seawall.simulation.outside import Feed, Market, Operator, Time
from seawall.simulation.scene import START, Scene
from seawall.simulation.scheduler import Killed, Scheduler
from seawall.simulation.store import Disk, FaultyJournal, MemoryDisk, SqliteDisk
from seawall.simulation.trading import Trader
from seawall.venues.simulated.shape import FundingRate, VenueShape

DOWNTIME = 2 * SECOND  # at most, from a death to the next start
MOST_LIVES = 60
STOPS = ("stop", "flatten")
PATIENCE = 8 * SECOND  # in which what is due is done, where the market and the venue are there
ANSWER = 3 * SECOND  # in which the slowest venue has answered where nothing fails
UNANSWERED = (OrderState.SENT, OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE)

Plant = Callable[[Node, "World"], None]


class Outcome(msgspec.Struct, kw_only=True):
    """What one seed came to.

    Attributes:
        check: that failed, empty where none did. text: what it said.
        journal: the last row's hash. struck: faults that happened, by kind.
    """

    seed: int
    check: str = ""
    text: str = ""
    journal: str = ""
    rows: int = 0
    steps: int = 0
    lives: int = 0
    orders: int = 0
    fills: int = 0
    struck: dict[str, int] = {}


class World:
    """A seed's world.

    Args:
        faults: that happen in it. kills_at: steps at which the node dies besides.
        plant: changes each node that is put together, as no user could: a bug that a check must
            find.
        trace: told what happens.
    """

    def __init__(
        self,
        scene: Scene,
        faults: Sequence[Fault],
        kills_at: Collection[int] = (),
        plant: Plant | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.scene = scene
        self.faults = list(faults)
        self.catalog, rows = market_of(scene)
        self.rows, stepped = of_clocks(rows, self.faults)
        shown, struck = disturbed(self.rows, self.catalog, self.faults, scene.seed)
        self.market = Market(shown, scene)
        strategies = [each.name for each in sleeves_of(scene.settings.decision.strategies)]
        self.checks = Checks(self.catalog.by_name, scene.settings.risk, strategies)
        self.scheduler = Scheduler(faults, self.checks, kills_at, trace)
        self.scheduler.struck.update(stepped + struck)
        self.disk: Disk = MemoryDisk()
        self.lives = 0
        self._plant = plant
        self._stopped = False  # by an operator, who starts it again
        self._settled = False
        self._twin = Books(BREAKERS)
        self._twinned = 0
        self._open = contextlib.ExitStack()

    # --- the whole run ---

    def run(self) -> Outcome:
        """All lives, to the end of the market."""
        found = Outcome(seed=self.scene.seed)
        try:
            with self._open:
                self._prepare()
                self._live()
                found.journal = self.disk.hash.hex()
        except ViolationError as error:
            found.check, found.text = error.check, error.text
        found.rows, found.steps = self.checks.shadow.records, self.scheduler.steps
        found.lives, found.orders = self.lives, len(self.checks.shadow.orders)
        found.fills = self.checks.shadow.movements
        shadow = self.checks.shadow
        told = Counter({"funding": shadow.payments, "liquidation": shadow.liquidations})
        found.struck = dict(self.scheduler.struck + told)
        return found

    def _prepare(self) -> None:
        kinds = {fault.kind for fault in self.faults}
        folder = Path()
        if kinds & {"venue_restart", "power_loss"}:
            made = tempfile.TemporaryDirectory(prefix="seawall-")
            folder = Path(self._open.enter_context(made))
        if "power_loss" in kinds:
            self.disk = SqliteDisk(folder)
        self._open.callback(self.disk.close)
        log = folder / "venue.log" if "venue_restart" in kinds else None
        self.exchange = Exchange(self.catalog, self.rows, self._shape(), log)
        self._open.callback(self.exchange.close)
        self.checks.true_movements = lambda after: self.exchange.engine.movements(after, 1)
        self.exchange.live(START)
        self.scheduler.clock.wait(START)

    def _shape(self) -> VenueShape:
        """The exchange's terms; funding and liquidation are faults of the seed."""
        settings = self.scene.settings
        shape = venue_shape(settings, self.catalog, deposits_of(settings, self.catalog))
        rates = [
            FundingRate(instrument.name, START + fault.at, int((fault.strength - 0.5) * 2e10))
            for fault in self.faults
            if fault.kind == "funding" and not self.scene.spot
            for instrument in self.catalog.instruments
        ]
        if any(fault.kind == "liquidation" for fault in self.faults):
            shape = msgspec.structs.replace(shape, maintenance_ppm=900_000)
        return msgspec.structs.replace(shape, funding=tuple(rates)).check()

    def _live(self) -> None:
        """One life after the other, until one sees the market's end and closes down."""
        while not self._one_life():
            if self.lives >= MOST_LIVES:
                raise ViolationError("liveness", f"{MOST_LIVES} lives were not enough")
            self._die()

    def _die(self) -> None:
        """Nothing is left of the node but what is on the disk; time passes."""
        self.checks.node = None
        self.disk.power_off()
        kept = [record for _, record in self.disk.read(self.checks.shadow.records)]
        self.checks.told(kept)  # a write that was whole after all, and nobody was told
        share = self._draw("downtime", self.lives)
        self.market.skip(self.scheduler.now + int(share**3 * DOWNTIME))
        self.scheduler.clock.wait(self.market.time)

    def _draw(self, purpose: str, event: int) -> float:
        return float(generator(self.scene.seed, f"simulation.{purpose}", event).random())

    # --- one life ---

    def _one_life(self) -> bool:
        """From a start to a death, or to the market's end: then it is True."""
        self.lives += 1
        self._stopped = False
        try:
            self.scheduler.born()
            node = self._start()
            node.run()
            self._compare(node)
            return self._over(node)
        except Killed:
            return False
        except ViolationError:
            raise
        except StoreError as error:
            if "no space" not in str(error):
                raise ViolationError("halts", f"{type(error).__name__}: {error}") from error
            self.scheduler.say(f"ended: {error}")
            return False
        except Exception as error:
            refused = ("can be released in", "nothing to release")
            if isinstance(error, SeawallError) and any(words in str(error) for words in refused):
                self.scheduler.say(f"did not start: {error}")
                return False
            raise ViolationError("halts", f"{type(error).__name__}: {error}") from error

    def _start(self) -> Node:
        node = self._build()
        self.checks.node = node
        self.checks.watch(node)
        if self._plant is not None:
            self._plant(node, self)
        self._compare(node)
        if self.scene.history:
            node.warm(self.market.before(self.scene.history))
        return node

    def _build(self) -> Node:
        scheduler = self.scheduler

        def connected(
            settings: Any, catalog: Any, balances: Any, clock: Any, log: Any, after: int
        ) -> Any:
            scheduler.clock = clock
            clock.wait(self.market.time)
            return Line(self.exchange, scheduler, clock, after)

        node = build(
            self.scene.settings,
            self.catalog,
            Feed(self.catalog, self.market, self._between),
            FaultyJournal(self.disk, scheduler),
            Silent(),
            f"simulated-{self.scene.seed}",
            real_time=Time(self.market),
            commands=Operator(self.catalog, scheduler),
            exchange=connected,
            feed_name="simulated",
            releases=self._releases(),
        )
        traders: Any = [
            Trader(each, self.scene, self.catalog.by_name, lambda: self.exchange.shut)
            for each in node.action.orchestrators
        ]
        node.action.orchestrator, node.action.orchestrators = traders[0], traders
        return node

    def _releases(self) -> list[str]:
        """The breaker that the operator closes with this start, if any."""
        if not self.checks.shadow.latches or not self.scheduler.strike("release"):
            return []
        return [next(iter(self.checks.shadow.latches))[0]]

    def _compare(self, node: Node) -> None:
        """All folds of the node against twins that are made of the journal's rows alone."""
        for seq, record in self.disk.read(self._twinned):
            for fold in self._twin.folds:
                fold.apply(record)
            self._twinned = seq
        for live, anew in zip(node.action.books.folds, self._twin.folds, strict=True):
            if live.state() != anew.state():
                raise ViolationError("journal", f"{live.name} is not what the rows make of it")

    # --- between two reads of the feed ---

    def _between(self) -> None:
        """The node is about to ask for rows."""
        self.scheduler.step("feed.read")
        self.checks.look_at_models()
        node = self.checks.node
        assert node is not None
        if self._draw("snapshot", self.scheduler.now) < self.scene.snapshots * 0.002:
            node.recorder.snapshot()
        for kind in STOPS:
            if self.scheduler.strike(kind):
                self._stopped = True
                node.stop(f"an operator said {kind}", flatten=kind == "flatten")
        if self.market.over and not self._settled and not self._stopped:
            self._settled = True
            self._settle(node)

    def _settle(self, node: Node) -> None:
        """Faults are long over: all is well, or the node says why it is not."""
        shadow, now = self.checks.shadow, self.scheduler.now
        doubts = [
            life.order.client_id
            for life in shadow.open.values()
            if life.state is OrderState.UNKNOWN
            or (life.state in UNANSWERED and now - life.since > ANSWER)
        ]
        if doubts:
            raise ViolationError("liveness", f"orders are still in doubt: {', '.join(doubts)}")
        if node.action.executor.behind or node.action.executor.unreachable:
            raise ViolationError("liveness", f"out of touch: {node.action.blocks()}")
        known = ["breaker"] + ["unknown measure"] * self._unpriced(node)
        if all(source.name in shadow.barred for source in self.catalog.sources):
            known.append(SILENT)
        unexplained = [r for r in node.action.reasons if not r.startswith(tuple(known))]
        if unexplained and not shadow.latches:
            raise ViolationError("liveness", f"no trading: {'; '.join(unexplained)}")
        self._settled_markets(node)
        self._settled_stops(node)
        self._settled_plans(node)
        node.action.reconcile(now)
        rows = self.disk.rows
        node.action.reconcile(now)
        if self.disk.rows != rows:
            raise ViolationError("liveness", "a second reconciliation finds something again")
        if missing := self.exchange.engine.movements(shadow.sequence):
            raise ViolationError("liveness", f"not booked: {missing[0]}")

    def _unpriced(self, node: Node) -> bool:
        """No source votes on some asset: then nobody can know what the account is worth."""
        instruments, votes = self.catalog.instruments, node.perception.gating.votes
        voted = {each.consensus_group for each in instruments if votes(each.venue)}
        return any(each.consensus_group not in voted for each in instruments)

    def _settled_markets(self, node: Node) -> None:
        """Every market that is traded can be traded, or its source is barred, or its clock is
        held to have jumped ahead, which admission believes only after an epoch."""
        traded = {name for name, _ in node.action.orchestrator.traded}
        sources = zip(self.catalog.sources, node.perception.admission.state.sources, strict=False)
        stepped = {source.name for source, state in sources if state["stepped_at"] > 0}
        for name in sorted(traded):
            trouble = node.action.prices.trouble[name]
            venue = self.catalog.by_name[name].venue
            if trouble and venue not in {*self.checks.shadow.barred, *stepped}:
                raise ViolationError("liveness", f"{name} cannot be traded: {trouble}")

    def _settled_stops(self, node: Node) -> None:
        """An operator has said to stop: nothing rests that adds risk, and what was to be closed is
        flat where there is a market."""
        shadow = self.checks.shadow
        if not shadow.stops_by_hand:
            return
        for life in shadow.open.values():
            if not self.checks.reduces(life.order):
                text = f"order {life.order.client_id} still waits to add risk"
                raise ViolationError("emergency", text)
        for name, lots in shadow.positions.items():
            if "emergency_close" in shadow.stops_by_hand and name in node.action.prices.touches:
                raise ViolationError("emergency", f"{lots} lots of {name} are not closed")

    def _settled_plans(self, node: Node) -> None:
        """Baskets have come to their end, and what is to be protected is."""
        shadow, touches, now = self.checks.shadow, node.action.prices.touches, self.scheduler.now
        for moved in shadow.baskets.values():
            late = now > moved.basket.expiry + PATIENCE
            if late and not shadow.latches and all(name in touches for name in moved.wanted):
                text = f"the basket of {moved.basket.ts} is {moved.state} for too long"
                raise ViolationError("baskets", text)
        for key, lots in self.checks.bare(now - PATIENCE).items():
            if lots * shadow.positions.get(key[0], 0) <= 0:
                continue  # others hold as much against it: the account has nothing to protect
            if key not in node.action.accounts.watched and key[0] in touches:
                raise ViolationError("protection", f"{lots} lots of {key} have no stop")

    def _over(self, node: Node) -> bool:
        """The node has ended in order; whether the market was over. Books and venue agree."""
        if self._stopped and not self._settled:
            return False
        shadow, engine = self.checks.shadow, self.exchange.engine
        if missing := engine.movements(shadow.sequence):
            raise ViolationError("liveness", f"not booked at the end: {missing[0]}")
        cash = {asset: units for asset, units in shadow.cash.items() if units}
        true = {asset: units for asset, units in engine.balances().items() if units}
        if cash != true:
            raise ViolationError("conservation", f"the account has {true}, the journal {cash}")
        return True
