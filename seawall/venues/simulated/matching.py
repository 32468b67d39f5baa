"""The life of an order at the exchange: it arrives, takes, rests, is filled, and ends.

Everything that happens makes a report; the reports are the truth that the log keeps.
"""

import heapq
from bisect import bisect_right

from seawall.core import money
from seawall.core.events import Side
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.core.money import PPM
from seawall.core.orders import (
    Fill,
    Funding,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Report,
    TimeInForce,
    TriggerBy,
)
from seawall.core.randomness import generator
from seawall.venues.simulated import funds, kernels, margin
from seawall.venues.simulated.accounts import Accounts
from seawall.venues.simulated.desk import Desk, Happened, Plan, Working
from seawall.venues.simulated.fees import Turnover
from seawall.venues.simulated.flow import Flow
from seawall.venues.simulated.log import Reported, Requested, Watched
from seawall.venues.simulated.margin import Exposed
from seawall.venues.simulated.shape import FundingRate, VenueShape
from seawall.venues.simulated.told import Told

Timer = Requested | Working | tuple[FundingRate, ...]  # the rates of one time


class Matching:
    """Orders, accounts and the desk, and what they do to each other.

    Args:
        told: where reports are kept. logged: whether they are collected for a log.

    Attributes:
        orders: all, less those that the last checkpoint ended. live: the open ones.
        turnover: what fees go by. flow: what else of the tape matters.
        changed: instrument → ns UTC of the last change of its position.
        timers: (ns UTC, number, what is due), a heap.
        said: ns UTC, the latest time of any request or report.
        batch: reports, and what stops have seen, that the log does not hold yet.
    """

    def __init__(self, catalog: Catalog, shape: VenueShape, told: Told, logged: bool) -> None:
        self.catalog = catalog
        self.shape = shape
        self.accounts = Accounts(shape.balances)
        self.desk = Desk(catalog, shape)
        self.turnover = Turnover()
        self.flow = Flow(catalog, shape, self.desk.floor.book_of)
        self.index = {
            i.name: k for k, i in enumerate(catalog.instruments) if i.name in catalog.primary
        }
        self.changed: dict[int, int] = {}
        self.orders: dict[str, Working] = {}
        self.live: dict[str, Working] = {}
        self.timers: list[tuple[int, int, Timer]] = []
        self.said = 0
        self.batch: list[Reported | Watched] = []
        self._told = told
        self._logged = logged
        self._numbers = 0

    def latency(self, way: str, event: str, base: int) -> int:
        """Ns that a message takes; one draw for each event."""
        jitter = self.shape.latency_jitter
        if not jitter or not base:
            return base
        draw = generator(self.shape.seed, f"venue.{way}", event).random()
        return int(base * (1.0 + jitter * (2.0 * float(draw) - 1.0)))

    def register(self, order: Order, ts: int) -> None:
        """The order exists from here on; it has not arrived."""
        working = self._working(order, ts)
        self.orders[order.client_id] = working
        self.live[order.client_id] = working

    def _working(self, order: Order, ts: int) -> Working:
        self._numbers += 1
        return Working(
            order=order,
            index=self.index.get(order.instrument, -1),
            placed=ts,
            number=self._numbers,
            response=self.latency("response", order.client_id, self.shape.response_latency_ns),
            report=OrderReport(
                sequence=0,
                client_id=order.client_id,
                instrument=order.instrument,
                state=OrderState.SENT,
                filled=0,
                ts=ts,
            ),
        )

    def set_timer(self, ts: int, what: Timer) -> None:
        """`what` is due at `ts`."""
        self._numbers += 1
        heapq.heappush(self.timers, (ts, self._numbers, what))

    # --- arrival ---

    def arrive(self, working: Working, ts: int) -> None:
        """The order reaches the book."""
        order = working.order
        size = self.open_size(working)
        waits = order.type.waits
        plan = Plan([], 0, None) if waits else self._plan(working, size, ts)
        reason = self._untimely(order, ts)
        if not reason and not size:
            reason = "reduce-only: there is nothing to reduce"
        if not reason:
            reason = (
                self.desk.why_not_wait(working) if waits else self._objection(working, plan, size)
            )
        if reason:
            self.finish(working, OrderState.REJECTED, ts, reason)
            return
        self._report(working, OrderState.NEW, ts)
        if waits:
            self.desk.wait(working, size)
            self._set_expiry(working)
        else:
            self._execute(working, plan, size, ts)

    def _plan(self, working: Working, size: int, ts: int, first: int = 0) -> Plan:
        """What the order would take now, moved by what we took before."""
        shift, side = 0, working.order.side
        if self.flow.moves:
            touched = self.desk.touch(working.index)[1 - int(side)]
            shift = self.flow.shift(working.index, side, touched, ts)
        return self.desk.plan(working, size, first, shift)

    def _objection(self, working: Working, plan: Plan, size: int) -> str:
        """Why book or account cannot take the order; empty when they can."""
        return self.desk.objection(working, plan) or funds.objection(
            self.accounts, self.desk, self.shape, working, plan.levels, size
        )

    def _fire(self, working: Working, lots: int, price: int, ts: int) -> None:
        """A stop was triggered: it is a market or a limit order now."""
        order = working.order
        self.desk.leave(working)
        working.triggered = True
        watched = Watched(client_id=order.client_id, triggered=True, activation=0, extreme=price)
        working.watched = watched
        if self._logged:
            self.batch.append(watched)
        size = self.open_size(working)
        if lots == kernels.UNBOUNDED:
            by_trade = order.trigger is not None and order.trigger.by is TriggerBy.LAST
            plan = self._plan(working, size, ts, first=price if by_trade else 0)
            reason = self._objection(working, plan, size)
        else:
            plan = self._bar_plan(order, min(lots, size), price)
            reason = funds.objection(
                self.accounts, self.desk, self.shape, working, plan.levels, size
            )
            if plan.levels and order.post_only:
                reason = "post-only: it would trade at once"
        if reason:
            self.finish(working, OrderState.CANCELED, ts, f"triggered at {price}: {reason}")
            return
        self._execute(working, plan, size, ts, of_bar=lots != kernels.UNBOUNDED)

    def _bar_plan(self, order: Order, lots: int, price: int) -> Plan:
        """What a stop gets of the bar that triggered it, at most at its limit."""
        limit = order.price
        beyond = limit is not None and (price - limit) * order.side.sign > 0
        return Plan([(price, lots)] if lots and not beyond else [], 0 if beyond else lots, None)

    def _execute(
        self, working: Working, plan: Plan, size: int, ts: int, of_bar: bool = False
    ) -> None:
        """Take what the plan found; what is left rests or ends.

        Args:
            of_bar: the plan's lots are a bar's, and gone from it already.
        """
        order = working.order
        if order.time_in_force is TimeInForce.FOK and plan.size < size:
            self.finish(working, OrderState.CANCELED, ts, "FOK: not all of it can be filled")
            return
        if not of_bar:
            self.desk.take(working, plan)
        self.flow.took(working.index, order.side, plan.size, ts)
        for price, lots in plan.levels:
            self._book(working, price, lots, False, ts)
        if working.report.state.final:
            return
        reason = self.desk.why_not_rest(working, plan)
        if not reason and order.reduce_only and not self._reducible(order):
            reason = "reduce-only: there is nothing left to reduce"
        if reason:
            self.finish(working, OrderState.CANCELED, ts, reason)
            return
        self.desk.rest(working, self.open_size(working))
        if not working.triggered:
            self._set_expiry(working)

    def _set_expiry(self, working: Working) -> None:
        if working.order.time_in_force is TimeInForce.GTD:
            self.set_timer(working.order.expires, working)

    def _untimely(self, order: Order, ts: int) -> str:
        if order.accept_until and ts > order.accept_until:
            return "too late"
        if order.time_in_force is TimeInForce.GTD and order.expires <= ts:
            return "it had expired before it arrived"
        return ""

    def _reducible(self, order: Order) -> int:
        """Lots that an order can take off the position."""
        held = self.accounts.lots(order.instrument)
        return max(0, -held * order.side.sign)

    def open_size(self, working: Working) -> int:
        """Lots that an order may still fill."""
        left = working.left
        return min(left, self._reducible(working.order)) if working.order.reduce_only else left

    def reopen(self, working: Working, queue: int) -> None:
        """After a restart: an open order waits or rests again, with so many lots before it."""
        if working.order.type.waits and not working.triggered:
            self.desk.wait(working, self.open_size(working))
        else:
            self.desk.rest(working, self.open_size(working), queue)
        self._set_expiry(working)

    # --- fills ---

    def meet(self, happened: Happened, ts: int) -> None:
        """The market came to one of our orders."""
        working = happened.working
        if working.report.state.final:
            return  # an earlier fill of the same row left it nothing to reduce
        if happened.fired:
            self._fire(working, happened.lots, happened.price, ts)
        else:
            self._fill_resting(working, happened.lots, ts)

    def _fill_resting(self, working: Working, lots: int, ts: int) -> None:
        order = working.order
        lots = min(lots, self.open_size(working))
        price = order.price or 0
        instrument = self.catalog.instruments[working.index]
        if instrument.kind is Kind.SPOT and order.side is Side.BUY:
            # Each partial fill rounds its fee up by itself, which may pass what was set aside.
            rate = self.turnover.rate(self.shape, instrument, True, ts)
            needed = funds.purchase(instrument, price, lots, rate)
            if needed > self.accounts.balances.get(instrument.settle_asset, 0):
                self.finish(working, OrderState.CANCELED, ts, "insufficient balance for its fee")
                return
        self._book(working, price, lots, True, ts)
        if not working.report.state.final:
            self.desk.resize(working, self.open_size(working))

    def _book(self, working: Working, price: int, lots: int, maker: bool, ts: int) -> None:
        """One fill of an order, and what it does to that order and to reduce-only ones."""
        self._fill(working, price, lots, maker, ts)
        if working.left <= 0:
            self.finish(working, OrderState.FILLED, ts, "")
        else:
            self._report(working, OrderState.PARTIALLY_FILLED, ts)
        if self.catalog.instruments[working.index].kind is not Kind.SPOT:
            self._refit(working.index, ts)

    def _fill(
        self,
        working: Working,
        price: int,
        lots: int,
        maker: bool,
        ts: int,
        liquidation: bool = False,
    ) -> None:
        """One fill: into the accounts and to the node."""
        order = working.order
        instrument = self.catalog.instruments[working.index]
        rate = self.turnover.rate(self.shape, instrument, maker, ts)
        if liquidation:
            rate += self.shape.liquidation_fee_ppm
        sequence = len(self._told.due) + 1
        fill = Fill(
            sequence=sequence,
            fill_id=f"{sequence}",
            client_id=order.client_id,
            instrument=order.instrument,
            side=order.side,
            price=price,
            size=lots,
            fee=money.fee(instrument.value(price, lots), rate),
            fee_asset=instrument.settle_asset,
            maker=maker,
            ts=ts,
            liquidation=liquidation,
        )
        self.settle(fill, instrument)
        self.changed[working.index] = ts
        working.filled += lots
        self._tell(fill, working.response, working.index, ts)

    def settle(self, fill: Fill, instrument: Instrument) -> None:
        """A fill's effect on the account."""
        value = instrument.value(fill.price, fill.size)
        self.accounts.book(instrument, fill.side, fill.size, value, fill.fee)
        self.turnover.add(instrument.settle_asset, fill.ts, value)

    def _refit(self, index: int, ts: int) -> None:
        """The position changed: reduce-only orders never stand for more than it."""
        for other in self.desk.reduce_only(index):
            size = self.open_size(other)
            if size:
                self.desk.resize(other, size)
            else:
                self.finish(
                    other, OrderState.CANCELED, ts, "reduce-only: there is nothing left to reduce"
                )

    # --- funding and margin ---

    def schedule_funding(self, after: int) -> None:
        """The next funding time after `after` is due."""
        rates = self.shape.funding
        first = bisect_right(rates, after, key=lambda rate: rate.ts)
        if first < len(rates):
            ts = rates[first].ts
            last = bisect_right(rates, ts, key=lambda rate: rate.ts)
            self.set_timer(ts, rates[first:last])

    def pay_funding(self, rate: FundingRate, ts: int) -> None:
        """A funding time: what is held pays, or is paid."""
        lots = self.accounts.lots(rate.instrument)
        index = self.index.get(rate.instrument, -1)
        if not lots or index < 0:
            return
        instrument = self.catalog.instruments[index]
        price = self.desk.mark(index) or int(self.desk.floor.markets[index]["last"])
        cost = self.accounts.positions[rate.instrument].cost
        value = instrument.value(price, abs(lots)) if price else cost
        funding = Funding(
            sequence=len(self._told.due) + 1,
            instrument=rate.instrument,
            lots=lots,
            price=price,
            rate=rate.rate,
            amount=money.funding(value if lots > 0 else -value, rate.rate),
            asset=instrument.settle_asset,
            ts=ts,
        )
        self.accounts.pay(funding.asset, funding.amount)
        event = f"funding/{funding.sequence}"
        response = self.latency("response", event, self.shape.response_latency_ns)
        self._tell(funding, response, index, ts)

    def review_margin(self, ts: int) -> None:
        """Close positions whose account can no longer carry them, the most demanding first."""
        for asset in sorted({self.desk.instruments[k].settle_asset for k in self.index.values()}):
            for each in self._exposed(asset):
                reason = margin.shortfall(self.accounts, asset, self._exposed(asset))
                if not reason:
                    break
                self._cancel_all(asset, ts, reason)
                self._liquidate(each, ts)

    def _exposed(self, asset: str) -> list[Exposed]:
        maintenance = self.shape.maintenance_ppm
        return margin.exposures(self.accounts, self.desk, asset, self.changed, maintenance)

    def _cancel_all(self, asset: str, ts: int, reason: str) -> None:
        """No open order of a contract that settles in the asset stays."""
        for working in list(self.live.values()):
            instrument = self.catalog.instruments[working.index]
            derivative = instrument.kind is not Kind.SPOT and instrument.settle_asset == asset
            if derivative and working.report.state is not OrderState.SENT:
                self.finish(working, OrderState.CANCELED, ts, reason)

    def _liquidate(self, exposed: Exposed, ts: int) -> None:
        """Close one position as far as the book goes; what is left waits for the next look."""
        order = Order(
            client_id=f"liquidation-{len(self._told.due) + 1}",
            instrument=self.catalog.instruments[exposed.index].name,
            side=Side.SELL if exposed.lots > 0 else Side.BUY,
            type=OrderType.MARKET,
            size=abs(exposed.lots),
            reduce_only=True,
        )
        working = self._working(order, ts)
        plan = self.desk.plan(working, working.order.size)
        self.desk.take(working, plan)
        for shown, lots in plan.levels:
            self._fill(working, self._worse(exposed, shown), lots, False, ts, liquidation=True)

    def _worse(self, exposed: Exposed, shown: int) -> int:
        """On bars a position goes at the far end of the bar that made it fall, not at its close."""
        market = self.desk.floor.markets[exposed.index]
        if market["made_of"] != kernels.BY_BAR or not exposed.price:
            return shown
        away = exposed.price * self.shape.half_spread_ppm // PPM
        if exposed.lots > 0:
            return max(1, min(shown, exposed.price - away))
        return max(shown, exposed.price + away)

    # --- reports ---

    def finish(self, working: Working, state: OrderState, ts: int, reason: str) -> None:
        """Nothing more happens to the order."""
        self.desk.leave(working)
        del self.live[working.order.client_id]
        self._report(working, state, ts, reason)

    def _report(self, working: Working, state: OrderState, ts: int, reason: str = "") -> None:
        report = OrderReport(
            sequence=len(self._told.due) + 1,
            client_id=working.order.client_id,
            instrument=working.order.instrument,
            state=state,
            filled=working.filled,
            ts=ts,
            reason=reason,
        )
        working.report = report
        self._tell(report, working.response, working.index, ts)

    def _tell(self, report: Report, response: int, index: int, ts: int) -> None:
        last = self._told.due[-1] if self._told.due else 0
        due = max(ts + response + self.flow.delay(index), last)
        self.keep(report, due)
        if self._logged:
            self.batch.append(Reported(report=report, due=due))

    def keep(self, report: Report, due: int) -> None:
        """A report was made; it reaches the node at `due`."""
        self._told.keep(report, due)
        self.said = max(self.said, report.ts)
