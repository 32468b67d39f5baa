"""An exchange whose plain rules run elsewhere for a while: what it hands out, and takes back.

Plain is an exchange in the node's own process at which nothing rests or waits: orders arrive, take
what they find and are done.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.events import Side
from seawall.core.orders import Order, Report
from seawall.venues.simulated.accounts import Position
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.fees import DAY
from seawall.venues.simulated.log import Requested
from seawall.venues.simulated.shape import VenueShape


class Batch(NamedTuple):
    """What happened at an exchange.

    Attributes:
        due: of each report, ns UTC at the node. moves: the sequences of the fills. tell: parts of
            the reports, how many they are and what puts them into words. said: ns UTC of the last.
        ended: orders that are done: how their client ids begin, their numbers, and the sequence of
            the last report of each.
        traded, at, values: of each fill its instrument's place, time (ns UTC) and value.
        flying: orders that have not arrived, with when they were sent and when they will.
        balances: asset -> smallest units. positions: instrument -> [lots, cost] of the open lots,
            oldest first, lots signed.
        now, last_arrival: ns UTC.
    """

    due: NDArray[np.int64]
    moves: NDArray[np.int64]
    tell: Sequence[tuple[int, Callable[[], list[Report]]]]
    said: int
    ended: tuple[str, NDArray[np.int64], NDArray[np.int64]]
    traded: NDArray[np.int64]
    at: NDArray[np.int64]
    values: NDArray[np.int64]
    flying: Sequence[tuple[Order, int, int]]
    balances: Mapping[str, int]
    positions: Mapping[str, list[tuple[int, int]]]
    now: int
    last_arrival: int


def is_plain(shape: VenueShape) -> bool:
    """Whether nothing happens but by our orders, at terms that stay the same."""
    return not (
        shape.latency_jitter
        or shape.fee_tiers
        or shape.feed_latency
        or shape.impact != "none"
        or shape.funding
        or shape.maintenance_ppm
    )


def flying(engine: Engine) -> list[Requested] | None:
    """The orders on their way, by arrival; None where anything else is under way."""
    matching = engine.matching
    found = [what for _, _, what in sorted(matching.timers)]
    placed = [each for each in found if isinstance(each, Requested) and each.action == "place"]
    if len(placed) != len(found) or len(placed) != len(matching.live):
        return None
    return placed


def take_back(engine: Engine, batch: Batch) -> None:
    """Take over what happened since `flying`."""
    matching = engine.matching
    engine.postpone(batch.due, batch.moves, batch.tell, *batch.ended)
    for client_id in [each for each in matching.live if engine.has_ended(each)]:
        del matching.live[client_id], matching.orders[client_id]
    instruments = engine.catalog.instruments
    keys = batch.at // DAY * len(instruments) + batch.traded
    for key in np.unique(keys).tolist():
        day, index = divmod(key, len(instruments))
        fills = keys == key
        value = sum(batch.values[fills].tolist())
        matching.turnover.add(instruments[index].settle_asset, day * DAY, value)
        matching.changed[index] = int(batch.at[fills][-1])
    matching.accounts.balances.update(batch.balances)
    for name, lots in batch.positions.items():
        matching.accounts.positions[name] = _position(lots)
    matching.timers.clear()
    matching.said = max(matching.said, batch.said)
    for order, ts, arrival in batch.flying:
        if order.client_id not in matching.live:
            matching.register(order, ts)
        request = Requested(
            action="place", client_id=order.client_id, order=order, ts=ts, arrival=arrival
        )
        matching.said = max(matching.said, ts)
        matching.set_timer(arrival, request)
    engine.in_flight = len(matching.timers)
    engine.now, engine.last_arrival = batch.now, batch.last_arrival


def _position(lots: list[tuple[int, int]]) -> Position:
    total = sum(size for size, _ in lots)
    return Position(
        side=Side.BUY if total > 0 else Side.SELL,
        lots=total,
        cost=sum(cost for _, cost in lots),
        parts=[[abs(size), cost] for size, cost in lots],
    )
