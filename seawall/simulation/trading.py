"""A trader of random wishes, in front of the node's own: what a person or a strategy might want.

What it wants depends on the seed and the time alone, so that a node that was restarted wants the
same again.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from numpy.typing import NDArray

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.instruments import Instrument
from seawall.core.intents import AnyIntent, Basket, Close, Leg, Level, Quotes, Target, Urgency
from seawall.core.parents import Algorithm, Pace
from seawall.core.randomness import generator
from seawall.decision.orchestrator import Orchestrator
from seawall.node.strategy import protection_of
from seawall.simulation.scene import LENGTH, QUIET, START, Scene

STRATEGY = "random"
LASTS = 5 * SECOND
QUOTED = 2 * SECOND  # how long a ladder stands
EVERY, LED = 6 * SECOND, 4 * SECOND  # from one basket to the next, and how long each has to itself
ALGORITHMS = tuple(Algorithm)
URGENCIES = (Urgency.NORMAL, Urgency.PASSIVE, Urgency.PASSIVE, Urgency.URGENT)


class Trader:
    """Stands where the orchestrator stands, and hands its wishes on.

    Args:
        inner: decides too, unless the scene's wishes are random ones alone.
        silenced: whether nothing is wanted any more.
    """

    def __init__(
        self,
        inner: Orchestrator,
        scene: Scene,
        instruments: Mapping[str, Instrument],
        silenced: Callable[[], bool] = lambda: False,
    ) -> None:
        self._inner = inner
        self._several = bool(scene.settings.decision.strategies)
        self._strategy = inner.strategy if self._several else STRATEGY
        self._instruments = instruments
        self._protection = protection_of(scene.settings.decision)
        self._scene = scene
        self._silenced = silenced

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def decide(
        self,
        rows: NDArray[Any],
        opinions: Mapping[str, NDArray[Any]],
        equity: float,
        positions: Mapping[str, float],
        ready: Mapping[str, tuple[int, int]],
        now: int,
        tape: int,
        strengths: NDArray[Any] | None = None,
    ) -> list[AnyIntent]:
        """See Orchestrator; in the last seconds nobody wants anything new."""
        if now >= START + LENGTH - QUIET or self._silenced():
            return []
        if self._scene.baskets and now % EVERY < LED:
            first = now % EVERY < self._scene.settings.feed.cadence_ms * MILLISECOND
            return self._basket(equity, ready, now, tape) if first else []
        wishes = self._wishes(equity, now, tape)
        asked = {intent.instrument for intent in wishes}
        if self._scene.ladders:
            return [*wishes, *self._ladders(equity, ready, asked, now, tape)]
        if self._scene.wishes >= 0.5 or self._scene.baskets:
            return [*wishes]
        decided = self._inner.decide(rows, opinions, equity, positions, ready, now, tape, strengths)
        return [*wishes, *(intent for intent in decided if intent.instrument not in asked)]

    def _wishes(self, equity: float, now: int, tape: int) -> list[Target | Close]:
        wishes: list[Target | Close] = []
        if not self._scene.wishes or not equity > 0:
            return wishes
        purpose = f"simulation.trader.{self._strategy}" if self._several else "simulation.trader"
        random = generator(self._scene.seed, purpose, now)
        paces = generator(self._scene.seed, "simulation.pace", now)
        for name, _ in self._inner.traded:
            pace = self._pace(paces.random(4).tolist())
            wanted, size, urgency, closing = random.random(4).tolist()
            if wanted >= self._scene.wishes:
                continue
            kind = URGENCIES[int(urgency * len(URGENCIES))]
            if closing < 0.2:
                wishes.append(
                    Close(
                        strategy=self._strategy,
                        ts=now,
                        tape=tape,
                        expiry=now + LASTS,
                        urgency=kind,
                        instrument=name,
                    )
                )
            else:
                wishes.append(
                    Target(
                        strategy=self._strategy,
                        ts=now,
                        tape=tape,
                        expiry=now + LASTS,
                        urgency=kind,
                        instrument=name,
                        exposure=1.5 * equity * (2.0 * size - 1.0),
                        pace=pace,
                        protection=self._protection,
                    )
                )
        return wishes

    def _ladders(
        self,
        equity: float,
        touches: Mapping[str, tuple[int, int]],
        asked: Collection[str],
        now: int,
        tape: int,
    ) -> list[Quotes]:
        """Up to three rungs a side, at the touch or some basis points behind it."""
        random = generator(self._scene.seed, "simulation.ladders", now)
        found = []
        for name, _ in self._inner.traded:
            wanted, rungs, behind, size, one_sided = random.random(5).tolist()
            if name in asked or name not in touches or wanted >= 0.3 or not equity > 0:
                continue
            (bid, ask), one = touches[name], self._instruments[name]
            lots = 1 + int(0.2 * size * equity / (one.lot_float * one.tick_float * bid))
            away = [int(3e-4 * bid * (behind + rung)) for rung in range(1 + int(3 * rungs))]
            found.append(
                Quotes(
                    strategy=self._strategy,
                    ts=now,
                    tape=tape,
                    expiry=now + QUOTED,
                    instrument=name,
                    bids=tuple(Level(bid - ticks, lots) for ticks in away if one_sided < 0.8),
                    asks=tuple(Level(ask + ticks, lots) for ticks in away if one_sided >= 0.2),
                )
            )
        return found

    def _basket(
        self, equity: float, touches: Mapping[str, tuple[int, int]], now: int, tape: int
    ) -> list[AnyIntent]:
        """All that is traded, each leg to its own side, as large as the market is not."""
        random = generator(self._scene.seed, "simulation.basket", now)
        urgency, hedged, *sizes = random.random(2 + len(self._inner.traded)).tolist()
        legs = []
        for size, (name, _) in zip(sizes, self._inner.traded, strict=True):
            if name in touches and equity > 0:
                one = self._instruments[name]
                value = one.lot_float * one.tick_float * touches[name][0]
                if lots := int(0.2 * equity * (2.0 * size - 1.0) / value):
                    legs.append(Leg(name, lots))
        if len(legs) < 2:
            return []
        return [
            Basket(
                strategy=self._strategy,
                ts=now,
                tape=tape,
                expiry=now + LED // 2,
                urgency=URGENCIES[int(urgency * len(URGENCIES))],
                legs=tuple(legs),
                hedged=hedged < 0.5,
            )
        ]

    def _pace(self, draws: list[float]) -> Pace | None:
        """How a wish is to be worked, drawn from four numbers in [0, 1); None: as it comes."""
        paced, algorithm, length, slices = draws
        if paced >= self._scene.paced:
            return None
        return Pace(
            algorithm=ALGORITHMS[int(algorithm * len(ALGORITHMS))],
            horizon=int((1.0 + 7.0 * length) * SECOND),
            slices=2 + int(8 * slices),
            bend=2.0,
            visible=1 + int(1000 * slices),
        )
