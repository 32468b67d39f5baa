"""Short runs of the whole node on a simulated market, in the node's own process."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from seawall.core.clock import SECOND, TapeClock
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.records import AnyRecord
from seawall.core.settings import DecisionSettings, RiskSettings, Settings
from seawall.ingestion.replay import ReplayFeed
from seawall.ingestion.simulated import MarketShape, SimulatedMarket, SourceStream
from seawall.node.assembly import Silent, build
from seawall.node.node import Node
from seawall.storage.journal import MemoryJournal

START = 1_700_000_000 * SECOND
EAGER = DecisionSettings(
    trend_fast_s=2, trend_slow_s=10, order_flow_halflife_s=2, minimum_hold_s=1, deadband=0.02
)
QUICK = Settings(mode="backtest", decision=EAGER, risk=RiskSettings(volatility_threshold=10.0))
LIVELY = (msgspec.structs.replace(MarketShape().assets[0], volatility=0.45),)
ONE_ASSET = MarketShape(assets=LIVELY, outages_per_hour=0.0, jumps_per_hour=0.0)
ONE_SOURCE = MarketShape(
    assets=LIVELY,
    sources=MarketShape().sources[:1],
    outages_per_hour=0.0,
    jumps_per_hour=0.0,
)


def market(shape: MarketShape = ONE_ASSET, seed: int = 3) -> SimulatedMarket:
    return SimulatedMarket(seed, START, shape)


@cache
def tape(seconds: int, seed: int = 3, shape: MarketShape = ONE_ASSET) -> tuple[Catalog, Raw]:
    """An undisturbed tape."""
    made = market(shape, seed)
    return made.catalog, made.record(seconds * SECOND)


def bend(made: SimulatedMarket, sources: Sequence[int], factor: Callable[[Any], Any]) -> None:
    """Make sources quote the latent price times `factor` of the seconds since the start."""
    for index in sources:
        _bend(made._streams[index], factor)


def _bend(stream: SourceStream, factor: Callable[[Any], Any]) -> None:
    honest = stream.quotes

    def quotes(random: Any, moment: Any, times: Any, asset: Any) -> Any:
        bid, ask = honest(random, moment, times, asset)
        by = factor((times - START) / SECOND)
        return bid * by, ask * by

    stream.quotes = quotes


def fall(at: float, to: float, seconds: float = 10.0) -> Callable[[Any], Any]:
    """A price that falls to a share of itself from `at` on."""
    return lambda t: 1.0 - (1.0 - to) * np.clip((t - at) / seconds, 0.0, 1.0)


def node_on(
    catalog: Catalog,
    rows: Raw,
    settings: Settings = QUICK,
    cuts: Sequence[int] = (),
    journal: MemoryJournal | None = None,
    publisher: Any = None,
    **about: Any,
) -> Node:
    """A node before its run. cuts: where the tape's blocks end."""
    feed = ReplayFeed(catalog, _blocks(rows, cuts), TapeClock(), None)
    about.setdefault("strict", True)
    journal = MemoryJournal() if journal is None else journal
    return build(settings, catalog, feed, journal, publisher or Silent(), "r", **about)


def _blocks(rows: Raw, cuts: Sequence[int]) -> Iterator[Raw]:
    edges = [0, *cuts, len(rows)]
    for first, past in pairwise(edges):
        yield Raw(rows[first:past])


def every(rows: Raw, count: int) -> list[int]:
    return list(range(count, len(rows), count))


def records(node: Node, *kinds: type[AnyRecord]) -> list[Any]:
    """The journal's records of some kinds."""
    return [r for _, r in node.recorder.journal.read() if isinstance(r, kinds)]


def with_risk(capital: int = 100_000, **risk: float) -> Settings:
    given = {"volatility_threshold": 10.0, **risk}
    return Settings(
        mode="backtest", decision=EAGER, risk=RiskSettings(**given), capital=Decimal(capital)
    )
