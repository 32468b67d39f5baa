"""An exchange whose plain rules run elsewhere for a while: what it hands out, and takes back.

Plain is an exchange in the node's own process at which nothing rests or waits: orders arrive, take
what they find and are done.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from seawall.core.events import Side
from seawall.core.orders import Fill, Order, OrderReport
from seawall.venues.simulated.accounts import Position
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Requested
from seawall.venues.simulated.shape import VenueShape


class Batch(NamedTuple):
    """What happened at an exchange, in order.

    Attributes:
        placed: orders and when they were sent (ns UTC). reports: with the time at which each
            reaches the node. flying: orders that have not arrived, with when they were sent and
            when they will.
        balances: asset → smallest units. positions: instrument → [lots, cost] of the open lots,
            oldest first, lots signed.
        now, last_arrival: ns UTC.
    """

    placed: Iterable[tuple[Order, int]]
    reports: Iterable[tuple[Fill | OrderReport, int]]
    flying: Iterable[tuple[Order, int, int]]
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
    for order, ts in batch.placed:
        matching.register(order, ts)
    for report, due in batch.reports:
        matching.keep(report, due)
        working = matching.orders[report.client_id]
        if isinstance(report, Fill):
            instrument = engine.catalog.instruments[working.index]
            value = instrument.value(report.price, report.size)
            matching.turnover.add(instrument.settle_asset, report.ts, value)
            matching.changed[working.index] = report.ts
            working.filled += report.size
        else:
            working.report = report
            if report.state.final:
                del matching.live[report.client_id]
    matching.accounts.balances.update(batch.balances)
    for name, lots in batch.positions.items():
        matching.accounts.positions[name] = _position(lots)
    matching.timers.clear()
    for order, ts, arrival in batch.flying:
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
