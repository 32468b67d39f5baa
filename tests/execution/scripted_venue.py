"""A venue that does what a test tells it to: it refuses, falls silent, repeats and reorders.

It keeps a truth of its own (orders, fills, balances, positions) in the plainest way there is, so
that our books can be held against it whatever was lost on the way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from seawall.core.errors import OrderRefusedError, VenueUnreachableError
from seawall.core.events import Side
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.orders import (
    Fill,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Report,
    TimeInForce,
)

UNIT = {"tick": "1", "lot": "1", "settle_decimals": 0, "base_decimals": 0}
PERP = Instrument(venue="v", symbol="BTC-PERP", kind=Kind.LINEAR, base="BTC", quote="USD", **UNIT)
OTHER = Instrument(venue="v", symbol="ETH-PERP", kind=Kind.LINEAR, base="ETH", quote="USD", **UNIT)
SPOT = Instrument(venue="v", symbol="BTC/USD", kind=Kind.SPOT, base="BTC", quote="USD", **UNIT)
CATALOG = Catalog(
    (PERP, OTHER, SPOT), (Source(name="v", venue="v"),), ((0, 0), (1, 0), (2, 0))
).check()
BALANCES = {"USD": 100_000_000}
TOUCH = (9_999, 10_001)
RESTING = (OrderState.NEW, OrderState.PARTIALLY_FILLED)


@dataclass(kw_only=True)
class Faults:
    """What goes wrong, until it is changed.

    refuse: a new order is turned away at the door. no_stops: every order that waits is. reject: it
    is taken, and the book rejects it.
    lose_request: no answer, and it never arrives. slow_request: no answer, and it arrives so many
    ns later. lose_answer: no answer, but it was accepted. lose_cancel: a cancel is answered and
    nothing happens. lose_cancel_answer: it happens and is not answered. hold_reports: reports wait.
    repeat: they come twice, and those of the last time again. scramble: newest first, the oldest of
    them one time later. drop: of those that are told, every second one never comes.
    keep: an amendment arrives and is refused, what it was to replace stays. lag_fills: asked for
    fills it knows of none yet. deaf: questions are not answered. dead: nothing is.
    """

    refuse: str = ""
    reject: str = ""
    no_stops: str = ""
    lose_request: bool = False
    slow_request: int = 0
    lose_answer: bool = False
    lose_cancel: bool = False
    lose_cancel_answer: bool = False
    hold_reports: bool = False
    repeat: bool = False
    scramble: bool = False
    drop: bool = False
    keep: bool = False
    lag_fills: bool = False
    deaf: bool = False
    dead: bool = False


@dataclass
class Standing:
    """An order as the venue has it."""

    order: Order
    state: OrderState
    filled: int = 0
    told: int = 0  # the last report's sequence
    best: int = 0  # price that a trailing stop has seen
    forgone: int = 0  # lots that the order before it took while this one was on its way

    @property
    def left(self) -> int:
        return self.order.size - self.forgone - self.filled


@dataclass
class ScriptedVenue:
    """Gateway, Account and Stream in one.

    Attributes:
        touches: instrument → best bid and ask. depth: lots that one order can take there.
        clip: most lots of one fill. watch: is shown every order that is sent, before all else.
        requested: client ids that were ever sent here.
    """

    catalog: Catalog = CATALOG
    balances_: dict[str, int] = field(default_factory=lambda: dict(BALANCES))
    faults: Faults = field(default_factory=Faults)
    depth: int = 1_000_000
    clip: int = 1_000_000
    fee_per_lot: int = 1
    now: int = 0
    watch: Callable[[Order], None] = lambda order: None

    def __post_init__(self) -> None:
        self.touches = dict.fromkeys(self.catalog.by_name, TOUCH)
        self.standing: dict[str, Standing] = {}
        self.requested: list[str] = []
        self.cancels: list[str] = []
        self.history: list[Report] = []
        self.questions = 0
        self._entries: dict[str, list[int]] = {}  # derivative → price of each open lot, oldest
        self._signs: dict[str, int] = {}
        self._queue: list[Report] = []
        self._again: list[Report] = []
        self._late: list[tuple[int, Order, str]] = []

    gateway = account = stream = property(lambda self: self)

    # --- Gateway ---

    def place(self, order: Order) -> None:
        self.watch(order)
        assert order.client_id not in self.requested, f"{order.client_id} is sent a second time"
        self.requested.append(order.client_id)
        self._must_live()
        if self.faults.refuse:
            raise OrderRefusedError(self.faults.refuse)
        if self.faults.no_stops and order.type.waits:
            raise OrderRefusedError(self.faults.no_stops)
        if self.faults.lose_request:
            raise VenueUnreachableError("no answer")
        if self.faults.slow_request:
            self._late.append((self.now + self.faults.slow_request, order, ""))
            raise VenueUnreachableError("no answer")
        self._arrive(order)
        if self.faults.lose_answer:
            raise VenueUnreachableError("no answer")

    def cancel(self, instrument: str, client_id: str) -> None:
        self.cancels.append(client_id)
        self._must_live()
        held = self.standing.get(client_id)
        if held is None or held.order.instrument != instrument:
            raise OrderRefusedError(f"no order {client_id} on {instrument}")
        if held.state.final:
            raise OrderRefusedError(f"{client_id} is {held.state}")
        if not self.faults.lose_cancel:
            self._tell(held, OrderState.CANCELED, "cancelled")
        if self.faults.lose_cancel_answer:
            raise VenueUnreachableError("no answer")

    def replace(self, client_id: str, order: Order) -> None:
        self.watch(order)
        assert order.client_id not in self.requested, f"{order.client_id} is sent a second time"
        self.requested.append(order.client_id)
        self._must_live()
        if self.faults.refuse:
            raise OrderRefusedError(self.faults.refuse)
        if self.faults.lose_request:
            raise VenueUnreachableError("no answer")
        if self.faults.slow_request:
            self._late.append((self.now + self.faults.slow_request, order, client_id))
            raise VenueUnreachableError("no answer")
        self._take_place(client_id, order)
        if self.faults.lose_answer:
            raise VenueUnreachableError("no answer")

    # --- Account ---

    def orders(self, client_ids: Sequence[str] | None = None) -> list[OrderReport]:
        self._must_answer()
        if client_ids is None:
            chosen = [held for held in self.standing.values() if not held.state.final]
        else:
            chosen = [self.standing[name] for name in client_ids if name in self.standing]
        return [self._word(held, held.told) for held in chosen]

    def fills(self, after: int) -> list[Fill]:
        self._must_answer()
        known = [] if self.faults.lag_fills else self.trades
        return [fill for fill in known if fill.sequence > after]

    def balances(self) -> Mapping[str, int]:
        self._must_answer()
        return dict(self.balances_)

    def positions(self) -> Mapping[str, int]:
        self._must_answer()
        names = [i.name for i in self.catalog.instruments if i.kind is not Kind.SPOT]
        return {name: lots for name in names if (lots := self.lots(name))}

    # --- Stream ---

    def poll(self, until: int) -> list[Report]:
        self._must_live()
        if self.faults.hold_reports:
            return []
        told, self._queue = self._queue, []
        if self.faults.scramble and told:
            self._queue = told[:1]
            told = told[:0:-1]
        if self.faults.drop:
            told = told[::2]
        if self.faults.repeat:
            told, self._again = [*self._again, *(r for r in told for _ in range(2))], told
        return told

    # --- the script ---

    @property
    def trades(self) -> list[Fill]:
        """All fills there ever were."""
        return [report for report in self.history if isinstance(report, Fill)]

    def live(self, instrument: str) -> list[Standing]:
        """Orders that could still fill."""
        held = [h for h in self.standing.values() if h.order.instrument == instrument]
        return [h for h in held if not h.state.final]

    def lots(self, name: str) -> int:
        """Signed lots held, by the fills."""
        return sum(fill.side.sign * fill.size for fill in self.trades if fill.instrument == name)

    def pass_to(self, now: int) -> None:
        """Time goes on; requests that were under way arrive."""
        self.now = now
        due = [late for late in self._late if late[0] <= now]
        self._late = [late for late in self._late if late[0] > now]
        for _, order, before in due:
            if before:
                self._take_place(before, order)
            else:
                self._arrive(order)
        for held in list(self.standing.values()):
            if held.order.type.waits and not held.state.final:
                self._look(held)

    def trade(self, client_id: str, lots: int) -> None:
        """Somebody takes our resting order."""
        held = self.standing[client_id]
        self._fill(held, held.order.price or 0, min(lots, held.left))

    def _look(self, held: Standing) -> None:
        """Has the touch met a trigger? The middle counts; then it is a market order."""
        order, (bid, ask) = held.order, self.touches[held.order.instrument]
        trigger, buys = order.trigger, held.order.side is Side.BUY
        assert trigger is not None
        price = (bid + ask) // 2
        at = trigger.price
        if trigger.trail:
            held.best = held.best or price
            held.best = min(held.best, price) if buys else max(held.best, price)
            at = held.best + (trigger.trail if buys else -trigger.trail)
        if price >= at if buys else price <= at:
            left = min(held.left, max(0, -self.lots(order.instrument) * order.side.sign))
            while left:
                lots = min(left, self.clip)
                self._fill(held, ask if buys else bid, lots)
                left -= lots
            if not held.state.final:
                self._tell(held, OrderState.CANCELED, "reduce-only: there is nothing to reduce")

    def expire(self, client_id: str) -> None:
        """The venue ends an order of its own accord."""
        self._tell(self.standing[client_id], OrderState.EXPIRED, "its time is over")

    def tell(self, *reports: Report) -> None:
        """Say something on the stream, true or not."""
        self._queue += reports

    # --- its truth ---

    def _must_live(self) -> None:
        if self.faults.dead:
            raise VenueUnreachableError("the connection is gone")

    def _must_answer(self) -> None:
        self.questions += 1
        self._must_live()
        if self.faults.deaf:
            raise VenueUnreachableError("no answer to the question")

    def _take_place(self, client_id: str, order: Order) -> None:
        """An amendment arrives: the old order goes, unless it has gone before."""
        old = self.standing.get(client_id)
        late = order.accept_until and self.now > order.accept_until
        if old is None or old.state.final or self.faults.keep or late:
            self._tell(self._stand(order), OrderState.REJECTED, "what it amends is not to be had")
            return
        self._tell(old, OrderState.CANCELED, f"replaced by {order.client_id}")
        forgone = old.filled - order.carried
        if forgone >= order.size:
            self._tell(self._stand(order), OrderState.REJECTED, "the order before it took it all")
        else:
            self._arrive(order, forgone)

    def _stand(self, order: Order) -> Standing:
        return self.standing.setdefault(order.client_id, Standing(order, OrderState.SENT))

    def _arrive(self, order: Order, forgone: int = 0) -> None:
        held = self._stand(order)
        held.forgone = forgone
        bid, ask = self.touches[order.instrument]
        buys = order.side is Side.BUY
        price = order.price if order.price is not None else (ask if buys else bid)
        crosses = not order.type.waits and (price >= ask if buys else price <= bid)
        at = order.trigger.price if order.trigger else 0
        middle = (bid + ask) // 2
        reducible = max(0, -self.lots(order.instrument) * order.side.sign)
        size = min(held.left, reducible) if order.reduce_only else held.left
        reason = self.faults.reject
        if order.accept_until and self.now > order.accept_until:
            reason = "too late"
        elif at and (middle >= at if buys else middle <= at):
            reason = "it would trigger at once"
        elif order.post_only and crosses:
            reason = "post-only: it would trade at once"
        elif not size:
            reason = "reduce-only: there is nothing to reduce"
        if reason:
            self._tell(held, OrderState.REJECTED, reason)
            return
        self._tell(held, OrderState.NEW)
        if order.type.waits:
            return
        left = min(size, self.depth) if crosses else 0
        while left:
            lots = min(left, self.clip)
            self._fill(held, ask if buys else bid, lots)
            left -= lots
        rests = order.type is OrderType.LIMIT and order.time_in_force is TimeInForce.GTC
        if not rests and not held.state.final:
            self._tell(held, OrderState.CANCELED, "IOC: what could not be filled at once")

    def _fill(self, held: Standing, price: int, lots: int) -> None:
        order, number = held.order, len(self.history) + 1
        fill = Fill(
            sequence=number,
            fill_id=f"trade-{number}",
            client_id=order.client_id,
            instrument=order.instrument,
            side=order.side,
            price=price,
            size=lots,
            fee=lots * self.fee_per_lot,
            fee_asset="USD",
            maker=order.post_only,
            ts=self.now,
        )
        self._say(fill)
        held.filled += lots
        self._pay(fill)
        self._tell(held, OrderState.PARTIALLY_FILLED if held.left else OrderState.FILLED)
        for other in list(self.standing.values()):  # reduce-only never stands for nothing
            one = other.order
            same = one.instrument == order.instrument and other.state in RESTING
            if same and one.reduce_only and self.lots(one.instrument) * one.side.sign >= 0:
                self._tell(other, OrderState.CANCELED, "reduce-only: there is nothing to reduce")

    def _pay(self, fill: Fill) -> None:
        """Every lot is one entry in a list: slow, and hard to get wrong."""
        instrument, sign = self.catalog.by_name[fill.instrument], fill.side.sign
        self.balances_["USD"] -= fill.fee
        if instrument.kind is Kind.SPOT:
            self.balances_["USD"] -= sign * fill.price * fill.size  # see UNIT
            base = self.balances_.get(instrument.base, 0) + sign * fill.size
            self.balances_[instrument.base] = base
            return
        entries = self._entries.setdefault(instrument.name, [])
        for _ in range(fill.size):
            held = self._signs.get(instrument.name, sign)
            if entries and held != sign:
                self.balances_["USD"] += held * (fill.price - entries.pop(0))
            else:
                entries.append(fill.price)
                self._signs[instrument.name] = sign

    def _word(self, held: Standing, sequence: int, reason: str = "") -> OrderReport:
        return OrderReport(
            sequence=sequence,
            client_id=held.order.client_id,
            instrument=held.order.instrument,
            state=held.state,
            filled=held.filled,
            ts=self.now,
            reason=reason,
        )

    def _tell(self, held: Standing, state: OrderState, reason: str = "") -> None:
        held.state, held.told = state, len(self.history) + 1
        self._say(self._word(held, held.told, reason))

    def _say(self, report: Report) -> None:
        self.history.append(report)
        self._queue.append(report)
