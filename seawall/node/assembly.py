"""Puts nodes together from settings: which ports stand behind which mode."""

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from seawall.core.clock import MILLISECOND, MINUTE, SECOND, Clock, SystemClock, TapeClock
from seawall.core.errors import DataError, SettingError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.ports import Commands, Feed, Publisher
from seawall.core.records import Digest, RunStarted
from seawall.core.settings import Settings
from seawall.node.perception import Perception, PerceptionShape
from seawall.node.summary import Summary

if TYPE_CHECKING:
    from seawall.ingestion.simulated import SimulatedFeed
    from seawall.ingestion.tape import TapeWriter
    from seawall.node.accounts import AccountDesk
    from seawall.node.action import Action
    from seawall.node.books import Books
    from seawall.node.division import Exchange
    from seawall.node.node import Node
    from seawall.node.prices import Prices
    from seawall.node.slippage import Watch
    from seawall.storage.journal import SnapshotJournal
    from seawall.storage.recorder import Recorder

HISTORY = 15 * MINUTE  # of the simulated market before a run, so that the agents have seen some
SHARE = 0.5  # of the position cap that one instrument is given at full strength
FOREVER = 1 << 62  # ns UTC
BLOCK = 1 << 18  # rows of a recorded tape at a time


class Silent:
    """A publisher for runs that nobody watches."""

    def publish(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Nothing."""


def shape_of(settings: Settings) -> PerceptionShape:
    """The shapes of perception's stages as the settings want them."""
    from seawall.admission import AdmissionShape
    from seawall.analysis import VolatilityShape
    from seawall.estimation import MomentsShape
    from seawall.gating import GatingShape, GroupShape
    from seawall.gating.reference import Rule
    from seawall.market import MarketShape

    given, gating = settings.admission, settings.gating
    return PerceptionShape(
        admission=AdmissionShape(
            rows_per_second=given.rows_per_second,
            burst_rows=given.burst_rows,
            rows_per_epoch=given.rows_per_epoch,
            stale_ns=given.stale_ms * MILLISECOND,
            clock_step_ns=given.clock_step_ms * MILLISECOND,
            trust_minimum=given.trust_minimum,
        ),
        market=MarketShape(
            cadence_ns=settings.feed.cadence_ms * MILLISECOND,
            gap_ns=round(given.silent_s * SECOND),
            band_ppm=round(given.price_band * 1_000_000),
        ),
        moments=MomentsShape(halflife_s=settings.estimation.halflife_s),
        gating=GatingShape(
            group=GroupShape(
                rule=Rule(faulty=gating.faulty), window=gating.window, rate=gating.rate
            )
        ),
        volatility=VolatilityShape(
            halflife_s=settings.estimation.volatility_halflife_s,
            extreme=settings.risk.volatility_threshold,
        ),
    )


def perception_of(
    settings: Settings, catalog: Catalog, feed: str = "", features: Sequence[str] = ()
) -> Perception:
    """Perception as the settings want it.

    Args:
        feed: name of the feed whose folder may hold a golden set; empty where there is none.
        features: names of those that somebody wants on the rows.

    Raises:
        DataError: the golden set is altered, foreign or for another market.
        SettingError: there is no such feature, or a fit of the micro-price is missing or no fit.
    """
    from seawall.node.calibration import trusted_of

    fits = None
    if features:
        from seawall.market.features.micro_price import fits_of

        fits = fits_of(settings.decision.micro_prices, catalog)
    shape = shape_of(settings)
    return Perception(
        catalog,
        shape,
        catalog.numeraire(settings.numeraire),
        trusted_of(settings, catalog, shape, feed),
        seed=settings.seed,
        features=features,
        micro_prices=fits,
    )


def build(
    settings: Settings,
    catalog: Catalog,
    feed: Feed,
    journal: "SnapshotJournal",
    publisher: Publisher,
    run: str,
    *,
    venue_log: Path | None = None,
    real_time: Clock | None = None,
    tape: "TapeWriter | None" = None,
    commands: Commands | None = None,
    exchange: "Exchange | None" = None,
    funds: "Callable[[Any], dict[str, int]] | None" = None,
    **about: Any,
) -> "Node":
    """A node on these ports; its folds are brought in step with the journal first.

    Args:
        exchange: opens what answers the orders, of each account; None: that of the settings.
        funds: what a new journal begins with, as that exchange says; None: the capital.
    """
    from seawall.node import division
    from seawall.node.books import Books
    from seawall.node.inputs import inputs_of
    from seawall.node.node import Node, Ports
    from seawall.node.strategy import features_wanted
    from seawall.risk.breakers import configured
    from seawall.storage.recorder import Recorder, recover

    inputs = inputs_of(settings, about.get("feed_name", ""))
    wanted = features_wanted(settings.decision)
    perception = perception_of(settings, catalog, about.get("feed_name", ""), wanted)
    risk = settings.risk
    breakers = configured(
        {
            "flash_crash": risk.flash_crash_threshold,
            "drawdown": risk.drawdown_threshold,
            "leverage": risk.max_leverage,
            "volatility_spike": risk.volatility_threshold,
        }
    )
    divided = division.divided_of(settings, catalog)
    books = Books(breakers, [name for name in divided if name])
    recover(journal, books.folds, about.get("say"))
    division.check_division(divided, books)
    recorder = Recorder(journal, books.folds)
    now = TapeClock()
    opened = division.opened_of(
        catalog, divided, books, now, venue_log, exchange or division.venue_of, funds
    )
    traded = division.chosen_of(settings, catalog, opened.paid)
    perception.gating.restore(books.models, books.sources, books.updates.pasts())
    perception.tell()

    def desks(names: list[str], watch: "Watch | None", prices: "Prices") -> "list[AccountDesk]":
        given = (settings, catalog, opened.venues, divided, books, recorder, run)
        return division.desks_of(*given, names, watch, prices.shown)

    action = action_of(settings, perception, books, recorder, traded, desks)
    started = RunStarted(
        ts=0,
        run=run,
        mode=settings.mode,
        seed=settings.seed,
        settings=settings.fingerprint(inputs),
        numeraire=perception.market.numeraire,
        instruments=catalog.instruments,
        values=settings.canonical(inputs),
        taped=tape.rows if tape is not None else 0,
        first=tape.rows if tape is not None else 0,
    )
    venue = next(iter(opened.venues.values()))
    ports = Ports(feed, venue, recorder, publisher, now, real_time, tape, commands)
    return Node(ports, perception, action, started, opened.deposits, **about)


def action_of(
    settings: Settings,
    perception: Perception,
    books: "Books",
    recorder: "Recorder",
    traded: list[str],
    desks: "Callable[[list[str], Watch | None, Prices], list[AccountDesk]]",
) -> "Action":
    """Agents, orchestrator, limits and breakers' gauges as the settings want them, on accounts that
    `desks` makes for strategies of these names."""
    from seawall.decision.agents import AGENTS
    from seawall.decision.agents import build as build_agent
    from seawall.decision.orchestrator import Orchestrator, OrchestratorShape
    from seawall.decision.order_flow import OrderFlowShape
    from seawall.decision.trend import TrendShape
    from seawall.node import strategy as strategies
    from seawall.node.action import Action
    from seawall.node.pacing import watch_of
    from seawall.node.prices import Prices
    from seawall.risk.gauges import Gauges
    from seawall.risk.limits import Limits

    decision, risk = settings.decision, settings.risk
    catalog, cadence = perception.catalog, perception.cadence_ns
    groups = perception.market.groups
    trend = TrendShape(fast_half_life=decision.trend_fast_s, slow_half_life=decision.trend_slow_s)
    flow = OrderFlowShape(half_life=decision.order_flow_halflife_s)
    given = {"trend": trend, "order_flow": flow}  # shapes that come from the settings
    agents = {name: build_agent(name, len(groups), cadence, given.get(name)) for name in AGENTS}
    shape = OrchestratorShape(
        cap_fraction=SHARE * risk.max_position_size,
        deadband=decision.deadband,
        hold=decision.minimum_hold_s,
        volatility=perception.volatility.shape.bounds,
    )
    chosen = None
    if decision.strategy != strategies.RULES:
        chosen = strategies.Chosen(
            decision.strategy, decision.parameters, len(groups), cadence, shape.uncorroborated
        )
    elif decision.parameters:
        raise SettingError(
            "decision.parameters are of a strategy, and none is chosen; the rules have settings of "
            "their own under decision"
        )
    several = strategies.at_work(
        decision.strategies,
        chosen,
        (catalog, groups, cadence, shape, traded),
        protection=strategies.protection_of(decision),
        strict=settings.mode == "backtest",
    )
    orchestrator = Orchestrator(
        catalog,
        groups,
        dict.fromkeys(AGENTS, 1.0),
        cadence,
        shape,
        traded,
        chosen.name if chosen else strategies.RULES,
        (chosen and chosen.protection) or strategies.protection_of(decision),
        chosen.pace if chosen else None,
    )
    watch, prices = watch_of(settings, catalog), Prices(catalog)
    return Action(
        books,
        prices,
        agents,
        orchestrator,
        Gauges(books.breakers.definitions, cadence),
        Limits(position=risk.max_position_size, leverage=risk.max_leverage),
        desks([each.name for each in several], watch, prices),
        recorder,
        chosen,
        several,
        watch,
    )


def run_id(*parts: object) -> str:
    """Eight hexadecimal digits that name a run."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def backtest(
    settings: Settings,
    tape: Path,
    journal: Path | None,
    progress: Callable[[int, int], None],
    start: int = -FOREVER,
    end: int = FOREVER,
) -> Summary:
    """Run a recorded tape through the whole node; `journal` is written at the end, whole or not.

    Args:
        start, end: ns UTC. What lies before `start` is perceived and not traded on; `end` is the
            first moment that is left out.

    Raises:
        DataError: the tape cannot be used, or nothing of it lies between the two.
    """
    from seawall.ingestion.replay import ReplayFeed
    from seawall.ingestion.tape import open_tape
    from seawall.storage.journal import MemoryJournal, check_target

    if journal is not None:
        check_target(journal)
    recorded = open_tape(tape)
    if not recorded.rows:
        raise DataError(f"{tape}: the tape is empty; import data into it")
    span = Span(recorded.blocks(BLOCK), start, end)
    feed = ReplayFeed(recorded.catalog, span.rest(), TapeClock(), None)
    total = recorded.rows
    kept = MemoryJournal()
    node = build(
        settings,
        recorded.catalog,
        feed,
        kept,
        Silent(),
        run_id(settings.fingerprint(), recorded.catalog),
        progress=lambda done: progress(done, total),
        strict=True,
        eager=acts_by_itself(settings),
    )
    for rows in span.past():
        node.warm(rows)
        progress(node.perception.rows, total)
    summary = node.run()
    if not summary.frames:
        raise DataError(f"{tape}: nothing of it lies between the given start and end")
    if journal is not None:
        kept.write(journal)
    return summary


def acts_by_itself(settings: Settings) -> bool:
    """Whether the exchange may tell of something that no order of ours brought about, or fills are
    judged beside the market: then every boundary is looked at."""
    venue = settings.venue
    return bool(venue.funding or venue.maintenance_ppm or settings.execution.slippage_model)


class Span:
    """The rows of a tape before a moment, to be taken first, and those from there to the end."""

    def __init__(self, blocks: Iterator[Raw], start: int, end: int) -> None:
        self._blocks = blocks
        self._start, self._end = start, end
        self._cut: list[Raw] = []

    def past(self) -> Iterator[Raw]:
        """Blocks before `start`, whole messages or not."""
        for block in self._blocks:
            first = int(np.searchsorted(block["recv_ts"], self._start))
            if first:
                yield Raw(block[:first])
            if first < len(block):
                self._cut.append(Raw(block[first:]))
                return

    def rest(self) -> Iterator[Raw]:
        """Blocks from there on, up to `end`."""
        for block in itertools.chain(self._cut, self._blocks):
            past = int(np.searchsorted(block["recv_ts"], self._end))
            if past:
                yield Raw(block[:past])
            if past < len(block):
                return


def paper(
    settings: Settings,
    publisher: Publisher,
    say: Callable[[str], None],
    releases: Sequence[str] = (),
    commands: Commands | None = None,
) -> "Node":
    """A node that trades on paper: real time, its own tape, journal and exchange on disk."""
    if settings.feed.name == "replay":
        if releases:
            raise SettingError(
                "--release is for a run that goes on; a replay starts with all breakers closed"
            )
        return _paper_replay(settings, publisher, say, commands)
    from seawall.ingestion.choice import choose
    from seawall.ingestion.tape import TapeWriter
    from seawall.storage.journal import Durability, SqliteJournal

    clock = SystemClock()
    with contextlib.ExitStack() as stack:
        marks: dict[str, float] = {}
        past = settings.data_dir / "simulated" / "journal.sqlite"
        if past.exists():
            with contextlib.closing(SqliteJournal(past, Durability.PROCESS)) as kept:
                digest = kept.newest("digest")
            if isinstance(digest, Digest):
                marks = {name.split("/")[0]: mark for name, mark in digest.marks.items()}
        feed: Any
        feed, why = choose(
            settings.feed.name,
            lambda timeout: _live(settings, clock, timeout),
            lambda: _simulated(settings, clock, marks),
        )
        stack.callback(feed.close)
        say(why)
        name = why.split(" ", 1)[0]
        folder = settings.data_dir / name
        journal = SqliteJournal(folder / "journal.sqlite", Durability.PROCESS)
        stack.callback(journal.close)
        catalog = feed.catalog
        turned: dict[str, Any] = {}
        tape = TapeWriter(folder / f"tape-{run_id(catalog)}", catalog)
        stack.callback(tape.close)
        if name == "simulated":
            feed.follow(min(tape.last_ts, clock.now()))
            feed, turned = _turned(settings, feed, say)
        node = build(
            settings,
            catalog,
            feed,
            journal,
            publisher,
            run_id(settings.fingerprint(), clock.now()),
            venue_log=folder / "venue.log",
            real_time=clock,
            tape=tape,
            feed_name=name,
            feed_detail=why,
            say=say,
            releases=releases,
            commands=commands,
            **turned,
        )
        node.perception.market.state.clock["tape"] = tape.rows
        for source in node.perception.gating.banned():
            say(
                f"{source} is banned since an earlier run: nothing of it gets in; "
                f"`seawall provenance unban {source}` lets it in on probation"
            )
        if name == "simulated":
            node.warm(feed.history(clock.now()))
            node.started = msgspec.structs.replace(node.started, first=tape.rows)
        stack.pop_all()
        return node


def _turned(
    settings: Settings, feed: Feed, say: Callable[[str], None]
) -> tuple[Feed, dict[str, Any]]:
    """The simulated market with its hostile source, if any, and what the node is told of it."""
    from seawall.node.division import deposits_of, traded_of
    from seawall.node.hostile import announced, attacks_of, hostile
    from seawall.node.naive import NaiveModel

    catalog = feed.catalog
    traded = traded_of(settings, catalog, deposits_of(settings, catalog))
    attacks = attacks_of(settings.feed.hostile, catalog, traded, settings.seed)
    if not attacks:
        return feed, {}
    say(announced(attacks))
    naive = NaiveModel(catalog, shape_of(settings), catalog.numeraire(settings.numeraire))
    return hostile(feed, attacks), {"attacks": attacks, "naive": naive}


def _live(settings: Settings, clock: SystemClock, timeout: float) -> Feed:
    from seawall.ingestion.live import LiveFeed

    entries: Any = [{"name": name} for name in settings.feed.exchanges]
    return LiveFeed(entries, settings.feed.symbols, clock, timeout=timeout, seed=settings.seed)


def _simulated(settings: Settings, clock: SystemClock, marks: dict[str, float]) -> "SimulatedFeed":
    from seawall.ingestion.simulated import MarketShape, SimulatedFeed, SimulatedMarket

    shape = MarketShape(outages_per_hour=settings.feed.outages_per_hour)
    prices = {asset.base: marks[asset.base] for asset in shape.assets if asset.base in marks}
    start = clock.now() - HISTORY
    return SimulatedFeed(SimulatedMarket(settings.seed, start, shape, prices), clock)


def _paper_replay(
    settings: Settings,
    publisher: Publisher,
    say: Callable[[str], None],
    commands: Commands | None,
) -> "Node":
    """A recorded tape at N times real time, or as fast as possible; the journal in memory."""
    from seawall.ingestion.replay import ReplayFeed
    from seawall.ingestion.tape import open_tape
    from seawall.storage.journal import MemoryJournal

    folder = settings.feed.tape
    if folder is None:
        raise SettingError("feed.name is replay and feed.tape is empty; give --tape FOLDER")
    recorded = open_tape(folder)
    speed = settings.feed.speed
    pace = "as fast as possible" if speed is None else f"at {speed:g} x real time"
    why = f"replay of {folder.name} {pace}"
    say(why)
    feed = ReplayFeed(recorded.catalog, recorded.blocks(BLOCK), SystemClock(), speed)
    return build(
        settings,
        recorded.catalog,
        feed,
        MemoryJournal(),
        publisher,
        run_id(settings.fingerprint(), recorded.catalog),
        feed_name="replay",
        feed_detail=why,
        commands=commands,
    )
