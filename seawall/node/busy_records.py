"""What happened in a compiled pass: records, of the few that somebody needs, and reports."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from seawall.core.events import Side
from seawall.core.instruments import Instrument
from seawall.core.intents import Approved
from seawall.core.orders import Fill, Order, OrderReport, OrderState, Report
from seawall.core.records import AnyRecord, FillBooked, IntentApproved, OrderCreated
from seawall.node import busy_kernels as kernels
from seawall.node import busy_venue_kernels as exchanges
from seawall.node.action import Action
from seawall.node.busy_writer import NOT_FILLED, Writer

SIDES = (Side.BUY, Side.SELL)


class Telling:
    """One pass, as rows of the journal.

    Attributes:
        events: EVENT. packed: their rows.
        sent, answers, fills, ended: places of the orders, of all that the venue said, of the fills
            among that, and of what ended an order.
    """

    def __init__(
        self,
        action: Action,
        writer: Writer,
        events: NDArray[Any],
        opinions: Mapping[str, NDArray[Any]],
        seq: int,
    ) -> None:
        what = events["what"]
        sends = what == kernels.SENT
        self.events = events
        self.packed = writer.write(events, words_of(action, events, opinions), seq)
        self.sent = np.flatnonzero(sends)
        self.answers = np.flatnonzero(what > kernels.SENT)
        self.fills = np.flatnonzero(what == kernels.FILL)
        last = (what == kernels.FILL) & (events["flag"] == 1)
        self.ended = np.flatnonzero((what == kernels.ENDED) | last)
        self._rows = np.arange(len(events)) + np.cumsum(sends) - sends  # the first of each event

    def record(self, place: int) -> AnyRecord:
        """Of the event at this place; of SENT the order."""
        return self.packed.record(self._rows[place])

    def order(self, number: int) -> tuple[Order, int] | None:
        """An order, and when it was sent (ns UTC); None where that was before the pass."""
        if not len(self.sent) or number < (first := self.events["number"][self.sent[0]]):
            return None
        created = cast(OrderCreated, self.record(self.sent[number - first]))
        return created.order, created.ts

    def approved(self, place: int) -> Approved:
        """By the event at this place."""
        return cast(IntentApproved, self.record(place)).approved

    def fill(self, place: int) -> Fill:
        """The one of the event at this place."""
        return cast(FillBooked, self.record(place)).fill

    def approvals(self) -> list[AnyRecord]:
        """Of all, the first and the last of a Target and of a Close in each instrument."""
        found = np.flatnonzero(self.events["what"] == kernels.APPROVED)
        forms = self.packed.kinds[self._rows[found]]
        keys = self.events["instrument"][found] * (1 + forms.max(initial=0)) + forms
        first = np.unique(keys, return_index=True)[1]
        last = len(found) - 1 - np.unique(keys[::-1], return_index=True)[1]
        return [self.record(place) for place in found[np.union1d(first, last)]]


def words_of(
    action: Action, events: NDArray[Any], opinions: Mapping[str, NDArray[Any]]
) -> list[str]:
    """Why each intent was formed."""
    wanted = events[events["what"] == kernels.WANTED]
    rationale = action.orchestrator.rationale
    return [
        rationale(strength, opinions, row)
        for strength, row in zip(wanted["strength"].tolist(), wanted["row"].tolist(), strict=True)
    ]


def later(
    rows: NDArray[Any], instruments: Sequence[Instrument], prefix: str
) -> tuple[int, Callable[[], list[Report]]]:
    """How many reports there are, and what puts them into words. rows: REPORT."""
    return len(rows), lambda: reports_of(rows, instruments, prefix)


def reports_of(rows: NDArray[Any], instruments: Sequence[Instrument], prefix: str) -> list[Report]:
    """The venue's reports. rows: REPORT."""
    found: list[Report] = []
    for row in rows.tolist():
        sequence, what, at, number, side, price, size, fee, filled, whole, ts, _ = row
        instrument, client_id = instruments[at], f"{prefix}-{number}"
        if what == exchanges.FILLED_LOTS:
            fill = Fill(
                sequence=sequence,
                fill_id=f"{sequence}",
                client_id=client_id,
                instrument=instrument.name,
                side=SIDES[side],
                price=price,
                size=size,
                fee=fee,
                fee_asset=instrument.settle_asset,
                maker=False,
                ts=ts,
            )
            found.append(fill)
            continue
        if what == exchanges.TOLD:
            state = OrderState.FILLED if whole else OrderState.PARTIALLY_FILLED
        else:
            state = OrderState.NEW if what == exchanges.NEW else OrderState.CANCELED
        report = OrderReport(
            sequence=sequence,
            client_id=client_id,
            instrument=instrument.name,
            state=state,
            filled=filled,
            ts=ts,
            reason=NOT_FILLED if what == exchanges.CANCELED else "",
        )
        found.append(report)
    return found
