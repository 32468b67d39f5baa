"""Acts at many boundaries in one go where nothing is out of the ordinary: backtests alone.

The state of the action side and of the simulated venue is laid out in arrays, `busy_kernels.go`
goes on from there until something is not plain, and what happened is journaled and taken back in
one batch. Acting at every boundary in Python gives the same journal.
"""

import gc
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.events import Raw
from seawall.core.instruments import Catalog, Kind
from seawall.core.intents import Close, Target, Urgency
from seawall.core.orders import Order, OrderState, OrderType, Purpose, TimeInForce
from seawall.core.records import Fold
from seawall.execution.goals import ACCOUNT
from seawall.execution.orders import KEPT, OrderEntry
from seawall.ledger import Traded
from seawall.ledger.kernels import CASH, HELD
from seawall.node import busy_kernels as kernels
from seawall.node import busy_venue_kernels as exchanges
from seawall.node.action import Action
from seawall.node.busy_records import Telling, later
from seawall.node.busy_writer import NOT_FILLED, Writer
from seawall.node.quiet import Quiet
from seawall.node.quiet_kernels import Plan
from seawall.risk.breakers import Action as BreakerAction
from seawall.storage.journal import MemoryJournal
from seawall.storage.recorder import Recorder
from seawall.venues.simulated import batch
from seawall.venues.simulated.venue import SimulatedVenue

ROOM = 512  # lots that may be opened in one instrument at a time, beyond those that are open
EVENTS = 1 << 15  # of one pass
LARGEST = 1 << 60
ENDS = {kernels.ENDED: OrderState.CANCELED, kernels.FILL: OrderState.FILLED}


class Busy:
    """Goes through boundaries for one action side and one simulated venue."""

    def __init__(
        self, action: Action, quiet: Quiet, catalog: Catalog, venue: object, recorder: Recorder
    ) -> None:
        self._action = action
        self._quiet = quiet
        self._recorder = recorder
        journal = recorder.journal
        self._journal = journal if isinstance(journal, MemoryJournal) else None
        self._venue = venue if isinstance(venue, SimulatedVenue) and venue.plain else None
        self._instruments = list(catalog.by_name.values())
        executor, orchestrator = action.executor, action.orchestrator
        self._writer = Writer(
            self._instruments,
            orchestrator.strategy,
            executor.prefix,
            orchestrator.expiry,
            executor.shape.accept_ns,
        )
        self._names = [instrument.name for instrument in self._instruments]
        self._index = {name: at for at, name in enumerate(self._names)}
        self._assets = quiet.assets
        self._terms = self._lay_out_terms()
        self._divisors = np.full(len(self._assets), np.nan)
        for instrument in self._instruments:
            settle = self._assets[instrument.settle_asset]
            self._divisors[settle] = float(10**instrument.settle_decimals)
            if instrument.kind is Kind.SPOT:
                self._divisors[self._assets[instrument.base]] = float(10**instrument.base_decimals)
        self._failed = 0  # ns UTC of the boundary at which it last stopped
        self._events = np.zeros(EVENTS, kernels.EVENT)
        self._reports = np.zeros(EVENTS, exchanges.REPORT)

    def go_through(
        self,
        frames: NDArray[Any],
        edges: NDArray[np.int64],
        strengths: NDArray[np.float64],
        opinions: Mapping[str, NDArray[Any]],
        boundary: int,
        digest: tuple[int, int, int],
        rows: Raw,
        at: int,
    ) -> tuple[int, int]:
        """The first boundary from `boundary` on that has to be acted at, and up to which row the
        venue has lived.

        Args:
            edges, strengths, digest: as for `Quiet.pass_over`. opinions: on the rows of all
                boundaries. rows: of the tape. at: up to which the venue has lived.
        """
        now = int(frames["ts"][edges[boundary]])
        if self._venue is None or self._journal is None or now == self._failed:
            return boundary, at
        if not self._ordinary(self._venue):
            return boundary, at
        first = slice(edges[boundary], edges[boundary + 1])
        plan = self._quiet.plan(frames[first], digest)
        if plan is None:
            return boundary, at
        exchange = self._exchange(self._venue, at)
        if exchange is None:
            return boundary, at
        side = self._side(plan, exchange)
        action, gauges = self._action, self._action.gauges
        view: NDArray[Any] = np.ascontiguousarray(rows).view()
        view.flags.writeable = False
        reached = int(
            kernels.go(
                frames,
                edges,
                strengths,
                len(strengths) // (len(edges) - 1),
                boundary,
                plan,
                self._quiet.scratch(plan),
                action.orchestrator.wishes,
                gauges.gauge[0],
                gauges.falls[0],
                gauges.ranges,
                gauges.measures,
                gauges.models,
                view,
                self._venue.engine.desk.floor,
                exchange,
                side,
            )
        )
        action.max_drawdown = max(action.max_drawdown, float(plan.limits["drawdown"][0]))
        self._failed = int(frames["ts"][edges[reached]]) if reached < len(edges) - 1 else 0
        collecting = gc.isenabled()
        gc.disable()  # much is made here and all of it stays: looking through it again is in vain
        try:
            self._take_back(exchange, side, opinions)
        finally:
            if collecting:
                gc.enable()
        return reached, int(exchange.stand["at"][0])

    # --- what is laid out ---

    def _ordinary(self, venue: SimulatedVenue) -> bool:
        """Whether nothing is under way but plain orders and goals."""
        action, executor, breakers = (
            self._action,
            self._action.executor,
            self._action.books.breakers,
        )
        strategy = action.orchestrator.strategy
        freezes = breakers.restrains(BreakerAction.FREEZE) or breakers.acts(BreakerAction.REDUCE)
        if (
            action.accounts.several
            or not executor.plain
            or action.several
            or action.orchestrator.protection is not None
            or action.orchestrator.pace is not None
            or action.compare_due
            or action.portfolio is None
            or freezes
        ):
            return False
        if action.reasons or action.blocks() or venue.heard != venue.engine.made:
            return False
        orders = [entry.order for entry in action.books.orders.open.values()]
        plain = all(
            order.type is OrderType.LIMIT
            and order.time_in_force is TimeInForce.IOC
            and order.purpose is Purpose.GOAL
            and order.strategy == strategy
            for order in orders
        )
        intents = [goal.intent for goal in executor.goals.values()]
        return plain and all(
            isinstance(intent, Target | Close)
            and intent.urgency is Urgency.NORMAL
            and intent.pace is None
            and intent.strategy == strategy
            for intent in intents
        )

    def _lay_out_terms(self) -> NDArray[Any]:
        terms = np.zeros(len(self._instruments), exchanges.TERM)
        groups = list(dict.fromkeys(i.consensus_group for i in self._instruments))
        for row, instrument in zip(terms, self._instruments, strict=True):
            row["spot"] = instrument.kind is Kind.SPOT
            row["inverse"] = instrument.kind is Kind.INVERSE
            row["settle"] = self._assets[instrument.settle_asset]
            row["base"], row["quote"] = (
                self._assets[instrument.base],
                self._assets[instrument.quote],
            )
            row["group"] = groups.index(instrument.consensus_group)
            row["lot"] = instrument.lot_float
            if instrument.kind is not Kind.INVERSE:
                row["unit"] = min(LARGEST, instrument.cash_unit.numerator)
                row["base_unit"] = min(LARGEST, instrument.base_unit)
        return terms

    def _exchange(self, venue: SimulatedVenue, at: int) -> exchanges.Exchange | None:
        """The venue and the books in arrays; None where they are not plain, or too large."""
        action, engine = self._action, venue.engine
        flying = batch.flying(engine)
        ledger, opened = action.books.ledger, action.books.orders.open
        if flying is None or [each.client_id for each in flying] != list(opened):
            return None
        for at_, row in enumerate(self._terms):
            row["deposited"] = bool(ledger.deposits.get(self._instruments[at_].settle_asset))
        strategy = action.orchestrator.strategy
        found: list[Mapping[str, list[tuple[int, int]]]] = [
            {name: book.lots for name, book in ledger.books().items()},
            {name: book.lots for name, book in ledger.books(strategy).items()},
            {name: held.open_lots for name, held in engine.accounts.positions.items()},
        ]
        longest = max((len(lots) for books in found for lots in books.values()), default=0)
        count = len(self._instruments)
        books = np.zeros((3, count), exchanges.BOOK)
        lots = np.zeros((3, count, longest + ROOM, 2), np.int64)
        books["trades"][0] = -1
        for whose, mine in enumerate(found):
            for name, parts in mine.items():
                index = self._index[name]
                if parts and self._instruments[index].kind is Kind.INVERSE:
                    return None
                if sum(cost for _, cost in parts) > LARGEST or any(
                    abs(size) >= exchanges.NARROW for size, _ in parts
                ):
                    return None
                one = books[whose, index]
                one["trades"] = 0
                one["position"] = sum(size for size, _ in parts)
                one["cost"], one["count"] = sum(cost for _, cost in parts), len(parts)
                if parts:
                    lots[whose, index, : len(parts)] = [(abs(size), cost) for size, cost in parts]
        cash = np.zeros((2, len(self._assets)), np.int64)
        for whose, amounts in enumerate((ledger.cash, engine.accounts.balances)):
            for asset, amount in amounts.items():
                if abs(amount) > LARGEST or asset not in self._assets:
                    return None
                if math.isnan(self._divisors[self._assets[asset]]):
                    return None
                cash[whose, self._assets[asset]] = amount
        orders = np.zeros(count, exchanges.ORDER)
        flight = np.zeros(count + 1, np.int64)
        for place, request in enumerate(flying):
            order = request.order
            if order is None or opened[order.client_id].state is not OrderState.SENT:
                return None
            index = self._index[order.instrument]
            if orders[index]["number"]:
                return None
            number = int(order.client_id.rpartition("-")[2])
            only, until = int(order.reduce_only), order.accept_until
            price = order.price or 0
            orders[index] = (
                *(number, int(order.side), price, order.size, 0, only),
                *(request.ts, request.arrival, until),
            )
            flight[place] = index
        shape = engine.shape
        stand = np.zeros(1, exchanges.STAND)
        stand["entry"], stand["response"] = shape.entry_latency_ns, shape.response_latency_ns
        stand["taker_ppm"], stand["max_leverage"] = shape.taker_fee_ppm, shape.max_leverage
        stand["at"], stand["now"], stand["last_arrival"] = at, engine.now, engine.last_arrival
        stand["sequence"], stand["last_due"] = engine.made, engine.last_due
        stand["flying"] = len(flying)
        return exchanges.Exchange(
            self._terms, books, lots, cash, orders, flight, self._reports, engine.desk.walked, stand
        )

    def _side(self, plan: Plan, exchange: exchanges.Exchange) -> kernels.Side:
        """What the action side holds, in arrays."""
        action, count = self._action, len(self._instruments)
        executor, ledger = action.executor, action.books.ledger
        traded = len(plan.traded)
        holding = np.zeros(count, HELD)
        for row, instrument in zip(holding, self._instruments, strict=True):
            row["instrument"] = self._index[instrument.name]
            row["settle"] = self._assets[instrument.settle_asset]
            row["quote"] = self._assets[instrument.quote]
            row["spot"] = instrument.kind is Kind.SPOT
            row["inverse"] = instrument.kind is Kind.INVERSE
            row["tick"] = instrument.tick_float
            row["divisor"] = float(10**instrument.settle_decimals)
        accounts = np.zeros(count, np.int64)
        accounts[: len(ledger.books())] = [self._index[name] for name in ledger.books()]
        goals, aims = np.zeros(count, kernels.GOAL), np.zeros(count + 1, np.int64)
        for at, ((name, _), goal) in enumerate(executor.goals.items()):
            closes = isinstance(goal.intent, Close)
            aims[at] = self._index[name]
            intent = goal.intent
            goals[aims[at]] = (
                *(goal.position, goal.reduce_only, intent.ts, intent.expiry, closes, -1),
            )
        course = np.zeros(1, kernels.COURSE)
        course["trades"] = 1
        course["position"], course["leverage"] = action.limits.position, action.limits.leverage
        course["expiry"] = action.orchestrator.expiry
        course["accept"], course["answer"] = executor.shape.accept_ns, executor.shape.answer_ns
        course["slippage_bps"] = executor.shape.slippage_bps
        course["rows"] = self._recorder.left
        course["created"] = action.books.orders.created
        course["aims"], course["accounts"] = len(executor.goals), len(ledger.books())
        return kernels.Side(
            goals,
            aims,
            accounts,
            np.zeros(count, HELD),
            holding,
            np.zeros(len(self._assets), CASH),
            self._divisors,
            np.full(traded, np.nan),
            np.zeros(traded, np.int64),
            np.zeros(traded, np.int64),
            np.zeros(count),
            np.zeros(count),
            np.full(count, np.nan),
            np.zeros(traded, np.int64),
            self._events,
            course,
        )

    # --- what is taken back ---

    def _take_back(
        self,
        exchange: exchanges.Exchange,
        side: kernels.Side,
        opinions: Mapping[str, NDArray[Any]],
    ) -> None:
        """Journal what happened, and let everybody know."""
        action, executor, journal = self._action, self._action.executor, self._journal
        assert journal is not None
        course = side.course[0]
        events = side.events[: course["events"]]
        telling = Telling(action, self._writer, events, opinions, journal.rows)
        self._venue_takes_back(exchange, telling)
        if len(events):
            books = action.books
            moved: list[Fold] = [books.ledger, books.orders, books.tally]
            moved += [books.parents, books.protections]
            idle: list[Fold] = [books.breakers, books.models, books.sources, books.updates]
            idle += [books.baskets, books.foreign]
            self._recorder.carry(
                journal,
                telling.packed,
                [*moved, *idle],
                lambda: self._books_take_back(exchange, telling),
            )
        goals = {}
        for index in side.aims[: course["aims"]].tolist():
            key, aimed = (self._names[index], ACCOUNT), int(side.goals[index]["aimed"])
            goals[key] = telling.approved(aimed) if aimed >= 0 else executor.goals[key]
        executor.goals.clear()
        executor.goals.update(goals)
        for name, target in zip(self._names, side.targets.tolist(), strict=True):
            if not math.isnan(target):
                action.targets[name] = target
        action.orchestrator.stood(side.asked)

    def _venue_takes_back(self, exchange: exchanges.Exchange, telling: Telling) -> None:
        executor, venue = self._action.executor, self._venue
        assert venue is not None
        stand, prefix = exchange.stand[0], executor.prefix
        reports = exchange.reports[: stand["reported"]].copy()
        heard = int(stand["sequence"] - stand["reported"] + stand["heard"])
        ended = (reports["what"] == exchanges.CANCELED) | (
            (reports["what"] == exchanges.TOLD) & (reports["whole"] == 1)
        )
        moved = np.flatnonzero(reports["what"] == exchanges.FILLED_LOTS)
        traded = reports["instrument"][moved]
        value = reports["price"][moved] * reports["size"][moved] * self._terms["unit"][traded]
        flying = exchange.orders[exchange.flight[: stand["flying"]]]
        known = self._orders(telling, flying["number"].tolist())
        times = (flying[name].tolist() for name in ("sent", "arrival"))
        parts = reports[: stand["heard"]], reports[stand["heard"] :]
        done = batch.Batch(
            reports["due"],
            reports["sequence"][moved],
            [later(part, self._instruments, prefix) for part in parts],
            int(reports["ts"][-1]) if len(reports) else 0,
            (prefix, reports["number"][ended], reports["sequence"][ended]),
            traded,
            reports["ts"][moved],
            value,
            list(zip(known, *times, strict=True)),
            {
                asset: int(exchange.cash[1, at])
                for asset, at in self._assets.items()
                if not math.isnan(self._divisors[at])
            },
            {
                name: _lots_of(exchange, exchanges.VENUE, at)
                for at, name in enumerate(self._names)
                if exchange.books[exchanges.VENUE, at]["trades"]
            },
            int(stand["now"]),
            int(stand["last_arrival"]),
        )
        batch.take_back(venue.engine, done)
        venue.hear(heard)
        executor.hear(heard)

    def _orders(self, telling: Telling, numbers: Sequence[int]) -> list[Order]:
        """Those that were made in the pass, or were open before."""
        made, prefix = telling.orders(numbers), self._action.executor.prefix
        opened = self._action.books.orders.open
        return [
            made[number][0] if number in made else opened[f"{prefix}-{number}"].order
            for number in numbers
        ]

    def _books_take_back(self, exchange: exchanges.Exchange, telling: Telling) -> None:
        """The folds: as if they had heard of the records one by one."""
        books, events = self._action.books, telling.events
        self._orders_take_back(exchange, telling)
        strategy = self._action.orchestrator.strategy
        filled, reported = (events[name][telling.fills] for name in ("instrument", "sequence"))
        traded = list(dict.fromkeys(filled.tolist()))
        last: dict[str, int] = {}
        for at in traded:
            venue = self._instruments[at].venue
            newest = int(reported[filled == at][-1])
            last[venue] = max(newest, last.get(venue, 0))
        books.ledger.carry(
            strategy,
            {
                self._names[at]: (
                    _traded(exchange, exchanges.LEDGER, at),
                    _traded(exchange, exchanges.STRATEGY, at),
                )
                for at in traded
            },
            last,
        )
        wanted = int((events["what"] == kernels.WANTED).sum())
        books.tally.carry(wanted, len(telling.sent), len(telling.fills))
        for record in telling.approvals():
            books.parents.apply(record)
            books.protections.apply(record)

    def _orders_take_back(self, exchange: exchanges.Exchange, telling: Telling) -> None:
        orders, events = self._action.books.orders, telling.events
        prefix = self._action.executor.prefix
        standing = sorted(filter(None, exchange.orders["number"].tolist()))
        names = {f"{prefix}-{number}" for number in standing}
        opened = {name: entry for name, entry in orders.open.items() if name in names}
        for order, ts in telling.orders(standing).values():
            opened[order.client_id] = OrderEntry(
                order=order, state=OrderState.SENT, filled=0, changed=ts
            )
        last = events[telling.ended[-KEPT:]]
        columns = (last[name].tolist() for name in ("what", "filled", "ts"))
        done = [
            OrderEntry(
                order=order,
                state=ENDS[what],
                filled=filled,
                changed=ts,
                reason=NOT_FILLED if what == kernels.ENDED else "",
            )
            for order, what, filled, ts in zip(
                self._orders(telling, last["number"].tolist()), *columns, strict=True
            )
        ]
        ended = Counter(events["what"][telling.ended].tolist())
        orders.carry(
            len(telling.sent),
            opened,
            {ENDS[what]: count for what, count in ended.items()},
            done,
            telling.newest_fills(KEPT),
            int(events["sequence"][telling.answers].max(initial=0)),
        )


def _traded(exchange: exchanges.Exchange, whose: int, index: int) -> Traded:
    """What the fills of the pass left of a position."""
    book = exchange.books[whose, index]
    names = ("realised", "flow", "volume", "trades", "fees")
    return Traded(_lots_of(exchange, whose, index), *(int(book[name]) for name in names))


def _lots_of(exchange: exchanges.Exchange, whose: int, index: int) -> list[tuple[int, int]]:
    """Open lots, signed, and their cost, oldest first."""
    book, lots = exchange.books[whose, index], exchange.lots[whose, index]
    sign = 1 if book["position"] > 0 else -1
    at = (int(book["first"]) + np.arange(int(book["count"]))) % len(lots)
    return [(sign * size, cost) for size, cost in lots[at].tolist()]
