"""What happened in a compiled pass, told as records of the journal and reports of the venue."""

from collections.abc import Mapping, Sequence
from typing import Any

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


class Telling:
    """Tells of one pass: first `reports`, then `records`.

    Attributes:
        orders: made in the pass. approved: number of the event -> what was approved.
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
        self._fills: dict[int, Fill] = {}
        self.orders: list[Order] = []
        self.approved: dict[int, Approved] = {}

    def reports(self, rows: NDArray[Any]) -> list[tuple[Fill | OrderReport, int]]:
        """The venue's reports, and when each reaches the node. rows: REPORT."""
        found: list[tuple[Fill | OrderReport, int]] = []
        for row in rows.tolist():
            sequence, what, at, number, side, price, size, fee, filled, whole, ts, due = row
            client_id = f"{self._prefix}-{number}"
            if what == exchanges.FILLED_LOTS:
                fill = Fill(
                    sequence=sequence,
                    fill_id=f"{sequence}",
                    client_id=client_id,
                    instrument=self._names[at],
                    side=SIDES[side],
                    price=price,
                    size=size,
                    fee=fee,
                    fee_asset=self._assets[at],
                    maker=False,
                    ts=ts,
                )
                self._fills[sequence] = fill
                found.append((fill, due))
                continue
            if what == exchanges.TOLD:
                state = OrderState.FILLED if whole else OrderState.PARTIALLY_FILLED
            else:
                state = OrderState.NEW if what == exchanges.NEW else OrderState.CANCELED
            report = OrderReport(
                sequence=sequence,
                client_id=client_id,
                instrument=self._names[at],
                state=state,
                filled=filled,
                ts=ts,
                reason=NOT_FILLED if what == exchanges.CANCELED else "",
            )
            found.append((report, due))
        return found

    def records(self, events: NDArray[Any]) -> list[AnyRecord]:
        """The journal's records, in order. events: EVENT."""
        strategy, names = self._orchestrator.strategy, self._names
        records: list[AnyRecord] = []
        intents: dict[int, Target | Close] = {}
        for place, event in enumerate(events.tolist()):
            what, ts, at, number, sequence, side, price, size, filled, *more = event
            _, _, decided, flag, cap, tape, row, exposure, strength = more
            if what == kernels.WANTED:
                intent = intents[at] = self._orchestrator.intent(
                    names[at], exposure, ts, tape, strength, self._opinions, row
                )
                records.append(IntentDecided(ts=ts, intent=intent))
            elif what == kernels.APPROVED:
                approved = approved_as(intents[at], size, bool(flag), cap)
                self.approved[place] = approved
                records.append(IntentApproved(ts=ts, approved=approved))
            elif what == kernels.SENT:
                order = Order(
                    client_id=f"{self._prefix}-{number}",
                    instrument=names[at],
                    side=SIDES[side],
                    type=OrderType.LIMIT,
                    size=size,
                    price=price,
                    time_in_force=TimeInForce.IOC,
                    reduce_only=bool(flag),
                    accept_until=ts + self._accept,
                    strategy=strategy,
                    intent_ts=decided,
                )
                self.orders.append(order)
                records.append(OrderCreated(ts=ts, order=order))
                records.append(
                    OrderChanged(ts=ts, client_id=order.client_id, state=OrderState.SENT)
                )
            elif what == kernels.FILL:
                records.append(FillBooked(ts=ts, fill=self._fills[sequence], strategy=strategy))
            else:
                ended = what == kernels.ENDED
                records.append(
                    OrderChanged(
                        ts=ts,
                        client_id=f"{self._prefix}-{number}",
                        state=OrderState.CANCELED if ended else OrderState.NEW,
                        filled=filled,
                        reason=NOT_FILLED if ended else "",
                        venue_sequence=sequence,
                    )
                )
        return records
