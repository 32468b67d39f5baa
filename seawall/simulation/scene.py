"""What a seed's world is like where nothing fails: its market, its settings, its exchange."""

from decimal import Decimal
from typing import Any

import msgspec

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.randomness import generator
from seawall.core.settings import (
    DecisionSettings,
    FeedSettings,
    RiskSettings,
    Settings,
    VenueSettings,
)

START = 1_700_000_020 * SECOND  # the gates review at full minutes: 20 s later, faults all about
HISTORY = 520 * SECOND  # that a life may look back on before it trades
SHORT = 20 * SECOND  # the same where nothing is learned
LEARNING = 0.15  # share of the seeds in which there is enough of it for models to be learned
CALM = 4 * SECOND  # after the start in which nothing fails, so that there is something to lose
ACTIVE = 28 * SECOND  # after the start by which all faults are over
LENGTH = 52 * SECOND  # what is left is the time in which all must be well again
QUIET = 3 * SECOND  # before the end, in which nothing new is wanted
PROTECTED = 0.25  # share of the seeds in which positions have stops
SHARED = 0.2  # share of the seeds in which two strategies share the account
BASKETS = 0.25  # share of those with two assets in which a trader of baskets is alone
LADDERS = 0.2  # share of those without baskets in which somebody quotes
TOGETHER = (("trend share=0.5", "order_flow"), ("rules share=0.7", "moving_average_cross"))
PACED = (0.0, 0.0, 0.3, 0.9)  # shares of the random wishes
MARKETS = 4  # different markets of each form


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One seed's world.

    Attributes:
        assets: traded, 1 or 2. sources: that report them. spot: instruments are spot pairs.
        market: which of the markets.
        history: ns of the past that a new life looks back on.
        wishes: mean share of boundaries at which the random trader wants something, 0: the agents
            trade alone.
        baskets: the trader wants baskets, and nobody else anything while one may be led.
        ladders: the trader quotes where it wishes nothing else, and nobody else wants anything.
        paced: share of the trader's wishes that are worked as parent orders.
        block: mean ns of the tape in one read of the feed.
        snapshots: mean number of the folds' snapshots in a run.
    """

    seed: int
    assets: int
    sources: int
    spot: bool
    market: int
    history: int
    wishes: float
    paced: float
    baskets: bool
    ladders: bool
    block: int
    snapshots: float
    settings: Settings


def scene_of(seed: int) -> Scene:
    """The world of a seed."""
    random = generator(seed, "simulation.scene")
    draws = random.random(24).tolist()

    def one(*choices: float) -> float:
        return choices[int(draws.pop() * len(choices))]

    assets, spot = int(one(1, 2, 2)), bool(one(0, 0, 0, 1))
    learning = bool(draws.pop() < LEARNING)
    cadence = int(one(100, 200, 250))
    protection, strategies, baskets = _more_of(seed, assets, learning)
    settings = Settings(
        mode="paper",
        seed=seed,
        capital=Decimal(int(one(100_000, 1_000_000))),
        feed=FeedSettings(cadence_ms=1_000 if learning else cadence),
        decision=DecisionSettings(
            trend_fast_s=1,
            trend_slow_s=3,
            order_flow_halflife_s=1,
            minimum_hold_s=one(0.0, 0.5, 2.0),
            deadband=one(0.0, 0.02, 0.1),
            strategies=strategies,
            **protection,
        ),
        risk=RiskSettings(
            max_position_size=one(0.1, 0.2, 0.5, 1.0),
            max_leverage=one(0.15, 0.5, 1.0, 2.0),
            drawdown_threshold=one(0.01, 0.2, 0.5),
            flash_crash_threshold=one(0.005, 0.05, 0.5),
            volatility_threshold=one(0.6, 10.0, 10.0),
        ),
        venue=VenueSettings(
            maker_fee_ppm=int(one(-50, 0, 200)),
            taker_fee_ppm=int(one(0, 300, 500)),
            entry_latency_ms=one(1.0, 20.0, 150.0, 600.0),
            response_latency_ms=one(1.0, 20.0, 150.0, 600.0),
            latency_jitter=one(0.0, 0.5, 0.9),
            maintenance_ppm=0,
        ),
    )
    return Scene(
        seed=seed,
        assets=assets,
        sources=int(one(3, 5)),
        spot=spot,
        market=int(one(*range(MARKETS))),
        history=HISTORY if learning else int(one(0, SHORT)),
        wishes=one(0.0, 0.05, 0.2, 0.5),
        paced=PACED[int(generator(seed, "simulation.scene.paced").random() * len(PACED))],
        baskets=baskets,
        ladders=not baskets
        and bool(generator(seed, "simulation.scene.ladders").random() < LADDERS),
        block=int(one(60, 150, 400) * MILLISECOND),
        snapshots=one(0.0, 2.0, 10.0),
        settings=settings,
    )


def _more_of(
    seed: int, assets: int, learning: bool
) -> tuple[dict[str, Any], tuple[str, ...], bool]:
    """How positions are protected, which strategies share the account, and whether there are
    baskets: drawn apart from the rest, which they leave as it is."""
    protected, trailing, wide, gain, shared, which, basket = (
        generator(seed, "simulation.scene.more").random(7).tolist()
    )
    protection = {
        "stop_loss": 0.0005 + 0.01 * wide * wide,
        "take_profit": 0.0 if gain < 0.4 else 0.0005 + 0.005 * gain,
        "trailing_stop": "on" if trailing < 0.4 else "off",
    }
    together = TOGETHER[int(which * len(TOGETHER))] if shared < SHARED and not learning else ()
    baskets = assets > 1 and not together and basket < BASKETS
    return (protection if protected < PROTECTED else {}), together, baskets
