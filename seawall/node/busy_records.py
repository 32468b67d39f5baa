"""What happened in a compiled pass, told as records of the journal and reports of the venue."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from seawall.core.events import Side
from seawall.core.instruments import Instrument
from seawall.core.intents import Approved, Close, Target
from seawall.core.orders import (
    Fill,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Report,
    TimeInForce,
)
from seawall.core.records import (
    AnyRecord,
    FillBooked,
    IntentApproved,
    IntentDecided,
    OrderChanged,
    OrderCreated,
)
from seawall.node import busy_kernels as kernels
from seawall.node import busy_venue_kernels as exchanges
from seawall.node.action import Action
from seawall.risk.limits import approved_as

NOT_FILLED = f"{TimeInForce.IOC}: what could not be filled at once"
SIDES = (Side.BUY, Side.SELL)


class Done(NamedTuple):
    """How an order ended; ts: ns UTC."""

    number: int
    state: OrderState
    filled: int
    ts: int
    reason: str


class Telling:
    """Puts one pass into words.

    Attributes:
        records: of the journal, in order. orders: made in the pass, by number. done: final states
            of orders, in order. fills: in order. approved: by the number of the event.
    """

    def __init__(
        self,
        action: Action,
        instruments: Sequence[Instrument],
        opinions: Mapping[str, NDArray[Any]],
    ) -> None:
        self._names = [instrument.name for instrument in instruments]
        self._assets = [instrument.settle_asset for instrument in instruments]
        self._prefix = action.executor.prefix
        self._accept = action.executor.shape.accept_ns
        self._orchestrator = action.orchestrator
        self._opinions = opinions
        self._intents: dict[int, Target | Close] = {}
        self.records: list[AnyRecord] = []
        self.orders: dict[int, Order] = {}
        self.done: list[Done] = []
        self.fills: list[Fill] = []
        self.approved: dict[int, Approved] = {}

    def tell(self, events: NDArray[Any]) -> None:
        """Go through what happened. events: EVENT."""
        records = self.records
        for place, event in enumerate(events.tolist()):
            what, ts, at, number, sequence, side, price, size, filled, *more = event
            fee, venue_ts, decided, flag, cap, tape, row, exposure, strength = more
            if what == kernels.WANTED:
                intent = self._orchestrator.intent(
                    self._names[at], exposure, ts, tape, strength, self._opinions, row
                )
                self._intents[at] = intent
                records.append(IntentDecided(ts=ts, intent=intent))
            elif what == kernels.APPROVED:
                approved = approved_as(self._intents[at], size, bool(flag), cap)
                self.approved[place] = approved
                records.append(IntentApproved(ts=ts, approved=approved))
            elif what == kernels.SENT:
                self._sent(ts, self._names[at], number, side, price, size, flag, decided)
            elif what == kernels.FILL:
                told = (sequence, at, number, side, price, size, fee, venue_ts)
                fill = fill_of(told, self._prefix, self._names, self._assets)
                self.fills.append(fill)
                records.append(FillBooked(ts=ts, fill=fill, strategy=self._orchestrator.strategy))
                if flag:
                    self.done.append(Done(number, OrderState.FILLED, filled, ts, ""))
            else:
                ended = what == kernels.ENDED
                change = OrderChanged(
                    ts=ts,
                    client_id=f"{self._prefix}-{number}",
                    state=OrderState.CANCELED if ended else OrderState.NEW,
                    filled=filled,
                    reason=NOT_FILLED if ended else "",
                    venue_sequence=sequence,
                )
                records.append(change)
                if ended:
                    self.done.append(Done(number, change.state, filled, ts, change.reason))

    def _sent(
        self, ts: int, name: str, number: int, side: int, price: int, size: int, only: int, by: int
    ) -> None:
        order = Order(
            client_id=f"{self._prefix}-{number}",
            instrument=name,
            side=SIDES[side],
            type=OrderType.LIMIT,
            size=size,
            price=price,
            time_in_force=TimeInForce.IOC,
            reduce_only=bool(only),
            accept_until=ts + self._accept,
            strategy=self._orchestrator.strategy,
            intent_ts=by,
        )
        self.orders[number] = order
        sent = OrderChanged(ts=ts, client_id=order.client_id, state=OrderState.SENT)
        self.records += OrderCreated(ts=ts, order=order), sent

    def later(self, rows: NDArray[Any]) -> tuple[int, Callable[[], list[Report]]]:
        """How many reports there are, and what puts them into words. rows: REPORT."""
        names, assets, prefix = self._names, self._assets, self._prefix
        return len(rows), lambda: reports_of(rows, names, assets, prefix)


def reports_of(
    rows: NDArray[Any], names: Sequence[str], assets: Sequence[str], prefix: str
) -> list[Report]:
    """The venue's reports. rows: REPORT."""
    found: list[Report] = []
    for row in rows.tolist():
        sequence, what, at, number, side, price, size, fee, filled, whole, ts, _ = row
        if what == exchanges.FILLED_LOTS:
            told = (sequence, at, number, side, price, size, fee, ts)
            found.append(fill_of(told, prefix, names, assets))
            continue
        if what == exchanges.TOLD:
            state = OrderState.FILLED if whole else OrderState.PARTIALLY_FILLED
        else:
            state = OrderState.NEW if what == exchanges.NEW else OrderState.CANCELED
        report = OrderReport(
            sequence=sequence,
            client_id=f"{prefix}-{number}",
            instrument=names[at],
            state=state,
            filled=filled,
            ts=ts,
            reason=NOT_FILLED if what == exchanges.CANCELED else "",
        )
        found.append(report)
    return found


def fill_of(
    told: tuple[int, ...], prefix: str, names: Sequence[str], assets: Sequence[str]
) -> Fill:
    """A taker's fill: sequence, instrument, order, side, price, size, fee, time at the venue."""
    sequence, at, number, side, price, size, fee, ts = told
    return Fill(
        sequence=sequence,
        fill_id=f"{sequence}",
        client_id=f"{prefix}-{number}",
        instrument=names[at],
        side=SIDES[side],
        price=price,
        size=size,
        fee=fee,
        fee_asset=assets[at],
        maker=False,
        ts=ts,
    )
