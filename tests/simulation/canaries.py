"""One planted bug for each check: put into the node of a world, never into the code.

A search that does not find one of them is blind on that side.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec

from seawall.core.errors import InvariantError, VenueUnreachableError
from seawall.core.records import FillBooked
from seawall.node.node import Node
from seawall.risk.limits import Limits
from seawall.simulation.world import World

_LIVES = count()


def forgets_a_unit(node: Node, world: World) -> None:
    """A maker's fill brings one unit too much."""
    ledger: Any = node.action.books.ledger
    apply = ledger.apply

    def generous(record: Any) -> None:
        apply(record)
        if isinstance(record, FillBooked) and record.fill.maker:
            ledger._cash[record.fill.fee_asset] += 1

    ledger.apply = generous


def never_asks_for_fills(node: Node, world: World) -> None:
    """What was missed is never fetched."""
    executor: Any = node.action.executor
    executor.sync_fills = lambda now: 0


def doubles_the_limits(node: Node, world: World) -> None:
    """Risk knows other limits than the settings."""
    limits = node.action.limits
    node.action.limits = Limits(position=2 * limits.position, leverage=2 * limits.leverage)


def knows_no_blocks(node: Node, world: World) -> None:
    """Breakers and halts stop nothing."""
    action: Any = node.action
    action.blocks = list


def stops_without_closing(node: Node, world: World) -> None:
    """An operator who wants all positions closed is not heard to the end."""
    breakers: Any = node.action.books.breakers
    trip = breakers.trip
    breakers.trip = lambda name, ts, who: trip("emergency_stop", ts, who)


def quotes_again(node: Node, world: World) -> None:
    """A ladder is filled up again after each fill."""
    quoting: Any = node.action.executor._quoting
    aim = quoting.aim

    def endless(approval: Any) -> None:
        aim(approval)
        for key, ladder in quoting.standing.items():
            quoting.standing[key] = ladder._replace(high=10**12, low=-(10**12))

    quoting.aim = endless


def works_at_once(node: Node, world: World) -> None:
    """A parent order begins, and all of it leaves at once."""
    goals: Any = node.action.executor._goals
    pace = goals._pace
    goals._pace = lambda goal, delta, touch, now: pace(goal, delta, touch, now)._replace(lots=delta)


def leaves_a_leg(node: Node, world: World) -> None:
    """A basket of which one leg has come to its end is taken for complete."""
    carrying: Any = node.action.executor._carrying
    held = carrying._held

    def hopeful(basket: Any, instrument: str) -> int:
        for course in carrying._baskets.open.values():
            if course.basket is basket and instrument == basket.legs[0].instrument:
                return int(course.wanted[instrument])
        return int(held(basket, instrument))

    carrying._held = hopeful


def protects_too_late(node: Node, world: World) -> None:
    """Positions are to have stops, and nobody sends them."""
    protecting: Any = node.action.executor._protecting
    protecting._keep = lambda *given: None


def bans_in_name_only(node: Node, world: World) -> None:
    """A ban is journaled, and admission does not hear of it."""
    perception: Any = node.perception
    perception.tell = lambda: None


def cools_down_at_once(node: Node, world: World) -> None:
    """Breakers close as soon as it is calm."""
    breakers: Any = node.action.books.breakers
    hasty = {k: msgspec.structs.replace(b, cooldown=0) for k, b in breakers.definitions.items()}
    breakers._breakers = hasty
    node.action.gauges._breakers = hasty
    for rows in (node.action.gauges.measures, node.action.gauges.models):
        rows["cooldown"] = 0


def leaves_a_fold_out(node: Node, world: World) -> None:
    """One fold is not told of what is journaled."""
    recorder: Any = node.recorder
    recorder._folds = [fold for fold in recorder._folds if fold.name != "tally"]


def loses_a_strategy(node: Node, world: World) -> None:
    """What is bought to close a short position is not the strategy's."""
    ledger: Any = node.action.books.ledger
    apply = ledger.apply

    def careless(record: Any) -> None:
        apply(record)
        if isinstance(record, FillBooked) and record.fill.sequence % 7 == 0:
            ledger._strategies[record.strategy][record.fill.instrument].position -= 1

    ledger.apply = careless


def sends_again(node: Node, world: World) -> None:
    """No answer is taken for a failure."""
    line: Any = node.ports.venue
    place = line.place

    def stubborn(order: Any) -> None:
        try:
            place(order)
        except VenueUnreachableError:
            place(order)

    line.place = stubborn


def learns_in_secret(node: Node, world: World) -> None:
    """A review moves a model by more than it says."""
    perception: Any = node.perception
    review = perception.review

    def biased(now: int) -> None:
        review(now)
        for group in perception.gating.groups:
            if group.model is not None:
                mean = tuple(value + 0.001 for value in group.model.mean)
                group.model = msgspec.structs.replace(group.model, mean=mean)

    perception.review = biased


def dies_of_a_repetition(node: Node, world: World) -> None:
    """A report that comes twice is taken for a contradiction."""
    executor: Any = node.action.executor
    take, heard = executor.take, set()

    def strict(report: Any, now: int) -> None:
        if report.sequence in heard:
            raise InvariantError(f"report {report.sequence} comes again")
        heard.add(report.sequence)
        take(report, now)

    executor.take = strict


def never_follows_up(node: Node, world: World) -> None:
    """Orders without an answer are never asked about."""
    executor: Any = node.action.executor
    executor._chase = lambda now: None


def remembers_other_runs(node: Node, world: World) -> None:
    """Something that outlives the run gets into an order."""
    executor: Any = node.action.executor
    executor.shape = msgspec.structs.replace(executor.shape, accept_ns=10**9 + next(_LIVES))


CANARIES: dict[str, Callable[[Node, World], None]] = {
    "conservation": forgets_a_unit,
    "venue": never_asks_for_fills,
    "limits": doubles_the_limits,
    "blocked": knows_no_blocks,
    "emergency": stops_without_closing,
    "quotes": quotes_again,
    "parents": works_at_once,
    "baskets": leaves_a_leg,
    "protection": protects_too_late,
    "admission": bans_in_name_only,
    "breakers": cools_down_at_once,
    "journal": leaves_a_fold_out,
    "strategies": loses_a_strategy,
    "once": sends_again,
    "models": learns_in_secret,
    "halts": dies_of_a_repetition,
    "liveness": never_follows_up,
    "determinism": remembers_other_runs,
}
