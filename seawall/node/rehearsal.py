"""The rehearsal: small runs of everything that is compiled, so that no user's run waits for it."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from seawall.core.clock import SECOND, TapeClock
from seawall.core.errors import InvariantError
from seawall.core.events import EventFlag, EventKind, Raw, empty
from seawall.core.instruments import Catalog
from seawall.core.ladder import ASK, BID
from seawall.core.sections import DecisionSettings, VenueSettings
from seawall.core.settings import Settings
from seawall.ingestion.simulated import SimulatedMarket
from seawall.node import assembly

START = 1_700_000_000 * SECOND
SHORT = 5 * SECOND
SOME = 60 * SECOND
LONG = assembly.HISTORY  # after which the gates learn at each review
BAR = "1s"  # so that a short tape has enough of them
RESEARCH = "from seawall.node.rehearsal import research; research()"


def compile_kernels(say: Callable[[str], None], trading_only: bool = False) -> None:
    """Run through everything that is compiled, so that it is on disk; on two processors at once.

    What both halves call is compiled before they part: where two processes add to the index of the
    same kernel at the same time, one may take the other's code for its own.

    Raises:
        InvariantError: the half in a process of its own has failed; it has said why on stderr.
    """
    say("compiling the kernels (once; a minute or two)")
    paper()
    if trading_only:
        backtests()
        return
    beside = subprocess.Popen([sys.executable, "-c", RESEARCH])
    try:
        backtests()
    finally:
        failed = beside.wait()
    if failed:
        raise InvariantError("the rehearsal of research has failed")


def paper() -> None:
    """Every boundary is acted on, beside a hostile source and the naive model."""
    from seawall.ingestion.inspection import inspect_rows
    from seawall.ingestion.tape import TapeWriter
    from seawall.node.hostile import AUTO, attacks_of
    from seawall.node.naive import NaiveModel

    market = SimulatedMarket(1, START)
    catalog, rows = market.catalog, market.record(SHORT)
    inspect_rows(catalog, iter([rows]))
    with TemporaryDirectory() as folder, closing(TapeWriter(Path(folder), catalog)) as tape:
        tape.append(rows)
    settings = Settings()
    attacks = attacks_of(AUTO, catalog, (), settings.seed)
    naive = NaiveModel(catalog, assembly.shape_of(settings), catalog.numeraire("auto"))
    for attack in attacks:
        rows = attack.apply(rows)
    _run(settings, catalog, [rows], eager=True, attacks=attacks, naive=naive)


def backtests() -> None:
    """Reviews by the gates, what passes over many boundaries at once, and bars."""
    from seawall.market.bars import Bars

    market = SimulatedMarket(1, START)
    rows = market.record(LONG)
    few = Raw(rows[: len(rows) // 20])
    settings = Settings(mode="backtest")
    _run(settings, market.catalog, [rows])
    venue = VenueSettings(latency_source="feed", impact="linear")
    _run(settings.model_copy(update={"venue": venue}), market.catalog, [few])
    bars = Bars(market.catalog, "time", BAR)
    told = Raw(bars.rows_of(bars.observe(rows)))
    cross = DecisionSettings(
        strategy="moving_average_cross", parameters=("fast=2", "slow=5"), minimum_hold_s=0
    )
    _run(settings.model_copy(update={"decision": cross}), bars.told, [told])


def research() -> None:
    """The laboratory: attacks, copies of a market, features, the exact venue, parameter search."""
    market = SimulatedMarket(1, START)
    catalog, rows = market.catalog, market.record(SOME)
    name = next(iter(catalog.primary))
    _attacks(catalog, Raw(rows[: len(rows) // 10]))
    _copies(catalog, name, rows)
    _exact(catalog, name, rows)
    _search(catalog, name, rows)
    _crash(catalog, name, rows)


def _run(
    settings: Settings, catalog: Catalog, blocks: list[Raw], eager: bool = False, **about: Any
) -> None:
    from seawall.ingestion.replay import ReplayFeed
    from seawall.storage.journal import MemoryJournal

    feed = ReplayFeed(catalog, iter(blocks), TapeClock(), None)
    run = assembly.run_id("rehearsal")
    assembly.build(
        settings,
        catalog,
        feed,
        MemoryJournal(),
        assembly.Silent(),
        run,
        strict=True,
        eager=eager,
        **about,
    ).run()


def _attacks(catalog: Catalog, rows: Raw) -> None:
    from seawall.lab.attacks import attack_of
    from seawall.lab.attacks.catalogue import TYPES

    for kind in TYPES:
        attack_of(kind.name, catalog).apply(rows)


def _copies(catalog: Catalog, name: str, rows: Raw) -> None:
    from seawall.lab.replicate import ReplicaShape, Replication, replicated, survey

    copies = Replication(catalog, survey(catalog, [rows], [name]), ReplicaShape(), 0)
    for _ in replicated([rows], copies):
        pass


def _exact(catalog: Catalog, name: str, rows: Raw) -> None:
    """A market maker on the exact venue, on levels and on a book order by order."""
    from seawall.ingestion.orders import Levels
    from seawall.lab.market_making.making import Quoting, trade
    from seawall.lab.market_making.quotes import Quotes
    from seawall.venues.simulated.exact import ExactShape, constant, feed_of

    quotes, quoting = Quotes(5.0, 0.0, 1.0, 0.0), Quoting(lots=1, most=2)
    orders = _orders(catalog, name)
    for told in (rows, orders):
        feed = feed_of(told, catalog, name, 0)
        trade(feed, ExactShape(most_fills=1_000), constant(1, 1), quotes, quoting, feed.start)
    Levels(catalog).take(orders)


def _orders(catalog: Catalog, name: str) -> Raw:
    """Two orders that rest; one of them trades."""
    rows = empty(3)
    rows["instrument"], rows["source"] = catalog.books[catalog.primary[name]]
    rows["recv_ts"] = rows["sequence"] = np.arange(1, 4)
    rows["kind"] = EventKind.ADD, EventKind.ADD, EventKind.EXECUTE
    rows["previous"], rows["side"] = (1, 2, 2), (BID, ASK, ASK)
    rows["price"], rows["size"] = (100, 102, 102), (5, 5, 1)
    rows["flags"] = EventFlag.BEGIN | EventFlag.END
    return Raw(rows)


def _search(catalog: Catalog, name: str, rows: Raw) -> None:
    """Features, alone and beside perception, and an account that follows a market."""
    from seawall.lab.research.following import FollowingShape, follow
    from seawall.lab.research.market import market_of
    from seawall.market.features import COLUMNS
    from seawall.market.features.reader import features_of

    features_of(catalog, [rows])
    perception = assembly.perception_of(Settings(), catalog, features=COLUMNS[:1])
    seen = next(perception.observe(rows))
    groups = tuple(perception.market.groups)
    market = market_of(catalog, name, groups, perception.cadence_ns, seen.frames, seen.rows)
    follow(market, np.ones(len(market.path)), FollowingShape())


def _crash(catalog: Catalog, name: str, rows: Raw) -> None:
    """A recorded book in bands, and a stop that is triggered in a fall."""
    from seawall.lab.execution.crash import BANDS, Scene, banded
    from seawall.lab.execution.crash_study import CrashShape, exits
    from seawall.lab.execution.recording import recording_of

    banded(recording_of(rows, catalog, name))
    mid = 10_000.0 * np.exp(-1e-4 * np.arange(1_000))
    offset, size = np.geomspace(1e-5, 2e-2, BANDS), np.geomspace(1.0, 300.0, BANDS)
    exits(Scene("even", "scaled", mid, offset[None, :], size[None, :], 1e-4), CrashShape())
