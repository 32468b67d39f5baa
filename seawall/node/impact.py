"""Measures an attack: two nodes in step, one with and one without it, a naive system beside each.

Both read the same market, block by block, so that nothing but what is compared is kept.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND, TapeClock
from seawall.core.errors import SettingError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.settings import Settings
from seawall.execution import ACCOUNT
from seawall.gating.reference import LEAST_ROWS
from seawall.ingestion.replay import ReplayFeed
from seawall.ingestion.simulated import MarketShape, SimulatedMarket
from seawall.lab import impact
from seawall.lab.attacks import Attack, attacked
from seawall.lab.impact import Impact, Review
from seawall.lab.trading import NO_INTENT, Boundary, TradingTracker
from seawall.node import assembly, division
from seawall.node.action import Action
from seawall.node.naive import mean_prices
from seawall.node.node import Node
from seawall.node.perception import Perceived, Perception, boundaries
from seawall.storage.journal import MemoryJournal

START = 1_700_000_040 * SECOND  # of a simulated market, ns UTC; on a minute
STEP = 60 * SECOND  # of it at a time
SILENT = (math.nan, math.nan, math.nan)
REFERENCE = 1.25  # times the rows of a golden set: then the provisional reference has been taken

Array = NDArray[np.float64]
T = TypeVar("T", Boundary, Review)


def simulated_catalog() -> Catalog:
    """Of `simulated_market`: five sources and two assets."""
    return MarketShape().catalog()


def simulated_market(
    seed: int, seconds: float, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Raw]:
    """The simulated market, made as it is read; `progress` is told seconds."""
    market = SimulatedMarket(seed, START)
    end = START + round(seconds * SECOND)
    while market.position < end:
        rows = market.generate(min(end, market.position + STEP))
        progress((market.position - START) // SECOND, round(seconds))
        yield rows


def reference_seconds(catalog: Catalog, cadence_ns: int) -> float:
    """Seconds from a tape's first row until a provisional reference has been taken, with room."""
    frame = max([cadence_ns, *(source.bar_span for source in catalog.sources)])
    return REFERENCE * LEAST_ROWS * frame / SECOND


class Side:
    """One of the two runs: a node, or perception alone, and a naive system.

    Attributes:
        boundaries, reviews: what was seen and has not been compared yet, oldest first.
    """

    def __init__(
        self, settings: Settings, catalog: Catalog, blocks: Iterator[Raw], trading: bool
    ) -> None:
        self.feed = ReplayFeed(catalog, blocks, TapeClock(), None)
        self.boundaries: deque[Boundary] = deque()
        self.reviews: deque[Review] = deque()
        self.rows = 0
        deposits = division.deposits_of(settings, catalog)
        self._traded = division.traded_of(settings, catalog, deposits)
        self._node: Node | None = None
        if trading:
            self._node = assembly.build(
                settings,
                catalog,
                self.feed,
                MemoryJournal(),
                assembly.Silent(),
                assembly.run_id(settings.fingerprint(), catalog),
                strict=True,
                watch=lambda node, seen: self._see(seen, node.action),
            )
        self.perception = (
            self._node.perception if self._node else assembly.perception_of(settings, catalog)
        )
        self._naive = Naive(assembly.perception_of(settings, catalog))
        self._reviewed = 0
        self._half: deque[Review] = deque()  # reviews whose naive part is to come

    @property
    def rolled_back(self) -> int:
        """Models that went back."""
        return sum(group.rolled_back for group in self.perception.gating.groups)

    @property
    def deadband(self) -> float:
        """What the orchestrator takes for no change, share of its cap; 0 where nobody trades."""
        return self._node.action.orchestrator.shape.deadband if self._node else 0.0

    def step(self) -> bool:
        """Take in the next block; whether there was one."""
        rows = self.feed.read(0.0)
        if rows is None:
            return False
        self.rows += len(rows)
        self._naive.observe(rows)
        if self._node is not None:
            self._node.take(rows)
        else:
            self._perceive(self.perception.observe(rows))
            self.perception.gating.records.clear()
        self._look()
        return True

    def _perceive(self, blocks: Iterator[Perceived]) -> None:
        for seen in blocks:
            for one, _ in boundaries(seen):
                self._see(one, None)

    def finish(self) -> None:
        """The tape has ended."""
        if self._node is not None:
            self._node.run()  # its feed has ended, so it closes down in order
        else:
            self._perceive(self.perception.flush())
        self._look()

    def naive_price(self, ts: int) -> Array:
        """(groups,) logarithm of the mean of the sources' prices at a boundary; NaN: unknown."""
        unknown = np.full(len(self.perception.market.groups), np.nan)
        return self._naive.prices.pop(ts, unknown)

    def _see(self, seen: Perceived, action: Action | None) -> None:
        now = int(seen.frames["ts"][0])
        self._look()
        exposures: list[tuple[float, float, float]] = []
        intents: list[int] = []
        decided: list[float] = []
        lots: list[float] = []
        account = (math.nan, 0.0, 0)
        if action is not None:
            orchestrator = action.orchestrator
            for name in self._traded:
                bound = orchestrator.bounds.get(name)
                exposures.append((bound.wanted, bound.low, bound.high) if bound else SILENT)
                asked = orchestrator.standing.get(name)
                fresh = asked is not None and asked.ts == now
                intents.append(int(np.sign(asked.exposure)) if asked and fresh else NO_INTENT)
                goal = action.accounts.goals.get((name, ACCOUNT))
                lots.append(float(action.books.ledger.position(name)))
                decided.append(self._share(action, name, goal.position if goal else lots[-1]))
            account = _account(action)
        self.boundaries.append(Boundary(now, seen.rows, exposures, intents, decided, lots, account))

    def _share(self, action: Action, name: str, lots: float) -> float:
        """So many lots as a share of the orchestrator's cap; 0 where that is unknown."""
        value = action.prices.lot_value(action.prices.catalog.by_name[name])
        share = lots * value / (action.orchestrator.shape.cap_fraction * action.equity)
        return share if math.isfinite(share) else 0.0

    def _look(self) -> None:
        """Note a review that has been held since the last look; join it with the naive one."""
        gating = self.perception.gating
        if gating.reviewed != self._reviewed:
            self._reviewed = gating.reviewed
            models = tuple(impact.model_of(group) for group in gating.groups)
            self._half.append(Review(gating.reviewed, models, (), dict(gating.sources)))
        self._naive.look()
        while self._half:
            told = self._naive.reviews
            while told and told[0][0] < self._half[0].ts:
                told.popleft()
            if not told:
                return
            half = self._half.popleft()
            none = (None,) * len(half.models)
            naive = told.popleft()[1] if told[0][0] == half.ts else none
            self.reviews.append(msgspec.structs.replace(half, naive=naive))


class Naive:
    """Perception that trusts everybody, and plain means of all that it hears.

    Attributes:
        prices: boundary → (groups,) logarithm of the mean price. reviews: (ns UTC, moments).
    """

    def __init__(self, perception: Perception) -> None:
        self.prices: dict[int, Array] = {}
        self.reviews: deque[tuple[int, tuple[impact.NaiveSeen | None, ...]]] = deque()
        self._perception = perception
        gating = perception.gating
        gating.shape = msgspec.structs.replace(gating.shape, enforce=False)
        perception.tell()
        self._reviewed = 0

    def observe(self, rows: Raw) -> None:
        """Take in rows of the tape."""
        for seen in self._perception.observe(rows):
            self.look()
            for one, _ in boundaries(seen):
                self.prices[int(one.frames["ts"][0])] = np.log(
                    mean_prices(self._perception, one.frames)
                )
        self._perception.gating.records.clear()
        self.look()

    def look(self) -> None:
        """Note a review that has been held since the last look."""
        gating = self._perception.gating
        if gating.reviewed != self._reviewed:
            self._reviewed = gating.reviewed
            found = tuple(
                impact.naive_of(gating, at, gating.reviewed) for at in range(len(gating.groups))
            )
            self.reviews.append((gating.reviewed, found))


def _account(action: Action) -> tuple[float, float, int]:
    """Equity and turnover in the numeraire, and fills."""
    marks, catalog = action.prices.asset_marks, action.prices.catalog
    turnover, fills = 0.0, 0
    for name, book in action.books.ledger.books().items():
        instrument = catalog.by_name[name]
        settle = marks.get(instrument.settle_asset, 1.0)
        turnover += book.volume / 10.0**instrument.settle_decimals * settle
        fills += book.trades
    return action.equity, turnover, fills


def measure(
    settings: Settings,
    catalog: Catalog,
    blocks: Iterable[Raw],
    attack: Attack,
    *,
    trading: bool = True,
) -> Impact:
    """Run a market with and without an attack and compare; the impact is the attack's alone.

    Raises:
        SettingError: the market ended before the attack began.
    """
    honest, hostile = itertools.tee(blocks)
    clean = Side(settings, catalog, honest, trading)
    dirty = Side(settings, catalog, attacked(hostile, attack), trading)
    comparison = Comparison(settings, clean, dirty, attack)
    going = True
    while going:
        going = clean.step() | dirty.step()
        comparison.advance()
    for side in (clean, dirty):
        side.finish()
    comparison.advance()
    if comparison.last < attack.start:
        late = max(0.0, (attack.start - comparison.last) / SECOND)
        raise SettingError(
            f"the attack begins {late:,.0f} s after the market's end: give a longer one, or an "
            "earlier --start"
        )
    return comparison.impact()


class Comparison:
    """Holds two sides against each other as they go; `last`: ns UTC of the last boundary."""

    def __init__(self, settings: Settings, clean: Side, dirty: Side, attack: Attack) -> None:
        self.last = 0
        self._settings = settings
        self._sides = clean, dirty
        self._attack = attack
        self._names = [catalog_source(attack, index) for index in attack.sources]
        gating = clean.perception.gating
        faulty = min(group.shape.rule.faulty for group in gating.groups)
        self._covered = len(attack.sources) <= faulty
        self._groups = [impact.GroupTracker(g.name, g.shape.rate) for g in gating.groups]
        self._gate = impact.GateTracker(self._names)
        self._trading = TradingTracker(clean.deadband)
        self._matched = self._unmatched = 0

    def advance(self) -> None:
        """Compare what both sides have seen since the last time."""
        clean, dirty = self._sides
        kept: tuple[list[Boundary], list[Boundary]] = ([], [])
        for one, other in _matched(clean.boundaries, dirty.boundaries, self._skip):
            kept[0].append(one)
            kept[1].append(other)
        if kept[0]:
            self._boundaries(*kept)
        for before, after in _matched(clean.reviews, dirty.reviews, lambda: None):
            self._gate.review(before, after, self._attack.start, self._attack.end)
            for at, tracker in enumerate(self._groups):
                naive = before.naive[at], after.naive[at]
                tracker.review(before.models[at], after.models[at], naive)

    def _skip(self) -> None:
        self._unmatched += 1

    def _boundaries(self, clean: list[Boundary], dirty: list[Boundary]) -> None:
        self.last = clean[-1].ts
        self._matched += len(clean)
        naive = [np.array([side.naive_price(one.ts) for one in clean]) for side in self._sides]
        rows = [np.array([one.rows for one in run]) for run in (clean, dirty)]
        for at, tracker in enumerate(self._groups):
            said = naive[0][:, at], naive[1][:, at]
            tracker.frames(rows[0][:, at], rows[1][:, at], said, certified=self._covered)
        if clean[0].exposures:
            self._trading.boundaries(clean, dirty)

    def impact(self) -> Impact:
        """What it comes to."""
        groups = tuple(tracker.impact() for tracker in self._groups)
        trading = self._trading.impact(self._settings.seed)
        violations = sum(group.violations + group.outside for group in groups)
        violations += trading.violations if trading else 0
        return Impact(
            attack=self._attack.describe(),
            covered=self._covered,
            rows=(self._sides[0].rows, self._sides[1].rows),
            boundaries=self._matched,
            unmatched=self._unmatched,
            groups=groups,
            gate=self._gate.impact(self._sides[1].rolled_back),
            trading=trading,
            criteria=impact.criteria(groups, trading),
            violations=violations if self._covered else 0,
        )


def catalog_source(attack: Attack, index: int) -> str:
    """The name of a source of the attacked catalog."""
    return attack.catalog.sources[index].name


def _matched(clean: deque[T], dirty: deque[T], skip: Callable[[], None]) -> Iterator[tuple[T, T]]:
    """Pairs of one time, taken off both; what only one side has is passed over."""
    while clean and dirty:
        if clean[0].ts == dirty[0].ts:
            yield clean.popleft(), dirty.popleft()
        else:
            (clean if clean[0].ts < dirty[0].ts else dirty).popleft()
            skip()
