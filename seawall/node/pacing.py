"""The executor of a node, and the pace at which it works parent orders, from the settings."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seawall.core.clock import SECOND
from seawall.core.events import Side
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.core.intents import Approved
from seawall.core.money import PPM
from seawall.core.parents import Algorithm, Pace
from seawall.core.ports import Venue
from seawall.core.records import AnyRecord
from seawall.core.settings import Settings

if TYPE_CHECKING:
    from seawall.execution import Executor
    from seawall.execution.goals import Touch
    from seawall.execution.pacing import Pacer, Room
    from seawall.execution.parents import Parents
    from seawall.execution.volume_curve import VolumeCurve
    from seawall.node.books import Books
    from seawall.node.slippage import Watch
    from seawall.storage.recorder import Recorder

AT_ONCE = "at_once"


def pace_of(settings: Settings) -> Pace | None:
    """The pace of goals whose intent names none; None sends them at once."""
    given = settings.execution
    if given.schedule == AT_ONCE:
        return None
    return Pace(
        algorithm=Algorithm(given.schedule),
        horizon=round(given.horizon_s * SECOND),
        slices=given.slices,
        jitter=given.jitter,
        bend=given.bend,
        share_ppm=round(given.participation * 1_000_000),
    )


def curve_of(settings: Settings) -> "VolumeCurve | None":
    """What VWAP goes by.

    Raises:
        DataError: the table of bars cannot be used.
    """
    if not settings.execution.volume_bars:
        return None
    from seawall.execution.volume_curve import learn
    from seawall.lab.execution.bars import read

    table = read(Path(settings.execution.volume_bars))
    return learn(table.ts, table.volume, table.span)


def watch_of(settings: Settings, catalog: Catalog) -> "Watch | None":
    """What bounds prices and judges fills; None where the settings name no model.

    Raises:
        DataError: the model cannot be read.
    """
    if not settings.execution.slippage_model:
        return None
    from seawall.node.slippage import Watch, load

    return Watch(load(Path(settings.execution.slippage_model)), catalog)


def room_of(settings: Settings, shown: Callable[[str, Side], int | None]) -> "Room | None":
    """How much of what a book shows one order may take; None where the settings do not bound it.

    At least one lot, so that what is wanted is reached in a thin book too.

    Args:
        shown: lots of the side that is taken from; None: unknown, nothing is bounded.
    """
    if not settings.execution.depth_share:
        return None
    from seawall.execution.guards import Guard, allowed

    guard = Guard(depth_ppm=max(1, round(settings.execution.depth_share * PPM))).check()

    def room(name: str, side: Side, lots: int, touch: "Touch") -> int:
        there = shown(name, side)
        if there is None:
            return lots
        price = touch[1] if side is Side.BUY else touch[0]
        return max(1, allowed(guard, side, price, [(price, there)], lots))

    return room


def pacer_of(
    settings: Settings,
    catalog: Catalog,
    books: "Books",
    record: Callable[..., None],
    prefix: str,
    strategies: Sequence[str],
    watch: "Watch | None",
    parents: "Parents",
    room: "Room | None",
) -> "Pacer":
    """What says how much of a goal may go out, and at what price.

    Args:
        prefix: of parent ids. strategies: who shares the account, if several do.
        parents: of the account. room: see `room_of`.
    """
    from seawall.execution.pacing import Pacer

    def held(goal: Approved) -> int:
        name, strategy = goal.instrument, goal.intent.strategy
        if strategy in strategies and len(strategies) > 1:
            return books.ledger.position(name, strategy)
        return books.ledger.position(name)

    return Pacer(
        parents,
        record,
        held,
        prefix,
        settings.seed,
        pace_of(settings),
        settings.execution.visible,
        curve_of(settings),
        None if watch is None else watch.price,
        least_of(settings.execution.smallest_order, catalog.by_name),
        room,
    )


def least_of(
    value: float, instruments: Mapping[str, Instrument]
) -> Callable[[str, tuple[int, int]], int]:
    """(instrument, touch) → lots of the smallest order, of a value in quote units.

    A tenth more is asked for, as the price may fall while a parent is worked.
    """

    def least(name: str, touch: tuple[int, int]) -> int:
        one = instruments[name]
        price = 1.0 if one.kind is Kind.INVERSE else touch[0] * one.tick_float
        lot = one.lot_float * price
        return max(1, math.ceil(value * 1.1 / lot)) if lot > 0 else 1

    return least


def executor_of(
    settings: Settings,
    catalog: Catalog,
    venue: Venue,
    books: "Books",
    recorder: "Recorder",
    run: str,
    strategies: Sequence[str],
    watch: "Watch | None",
    account: str,
    shown: Callable[[str, Side], int | None],
) -> "Executor":
    """The executor of an account on these books.

    Args:
        run: of a new journal. strategies: who shares the account, if several do.
        watch: is shown what the executor journals. account: empty: the only one.
        shown: see `room_of`.
    """
    from seawall.execution import Executor
    from seawall.node.accounts import recording

    journal = recording(recorder.record, books, account)

    def record(*records: AnyRecord) -> None:
        journal(*records)
        if watch is not None:
            for each in records:
                watch.take(each)

    venues = sorted({i.venue for i in catalog.instruments})
    sources = [account] if account else venues
    room = room_of(settings, shown)
    share = books.shares[account] if account else books
    prefix = books.prefix(account, run)
    return Executor(
        catalog,
        venue,
        share.orders,
        prefix,
        record,
        books.ledger.position,
        lambda: max((books.ledger.last_fill_sequence(s) for s in sources), default=0),
        strategies=strategies,
        shares=books.ledger.shares,
        protections=share.protections,
        entry=books.entry,
        baskets=share.baskets,
        pace=pacer_of(
            settings, catalog, books, record, prefix, strategies, watch, share.parents, room
        ),
    )
