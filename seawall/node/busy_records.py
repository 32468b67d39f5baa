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
        self.packed = writer.write(events, *words_of(action, events, opinions), seq)
        self.sent = np.flatnonzero(sends)
        self.answers = np.flatnonzero(what > kernels.SENT)
        self.fills = np.flatnonzero(what == kernels.FILL)
        last = (what == kernels.FILL) & (events["flag"] == 1)
        self.ended = np.flatnonzero((what == kernels.ENDED) | last)
        self._rows = np.arange(len(events)) + np.cumsum(sends) - sends  # the first of each event

    def records(self, places: NDArray[np.int64]) -> list[AnyRecord]:
        """Of the events at these places; of SENT the order."""
        return self.packed.records(self._rows[places])

    def orders(self, numbers: Sequence[int]) -> dict[int, tuple[Order, int]]:
        """Those of them that were made in the pass, and when each was sent (ns UTC)."""
        if not len(self.sent):
            return {}
        first = int(self.events["number"][self.sent[0]])
        mine = [number for number in numbers if number >= first]
        places = self.sent[np.array(mine, np.int64) - first]
        made = cast(list[OrderCreated], self.records(places))
        return {number: (one.order, one.ts) for number, one in zip(mine, made, strict=True)}

    def approved(self, place: int) -> Approved:
        """By the event at this place."""
        (record,) = self.records(np.array([place]))
        return cast(IntentApproved, record).approved

    def newest_fills(self, most: int) -> list[Fill]:
        """So many of the last."""
        booked = cast(list[FillBooked], self.records(self.fills[-most:]))
        return [each.fill for each in booked]

    def approvals(self) -> list[AnyRecord]:
        """Of all, the first and the last of a Target and of a Close in each instrument."""
        found = np.flatnonzero(self.events["what"] == kernels.APPROVED)
        forms = self.packed.kinds[self._rows[found]]
        keys = self.events["instrument"][found] * (1 + forms.max(initial=0)) + forms
        first = np.unique(keys, return_index=True)[1]
        last = len(found) - 1 - np.unique(keys[::-1], return_index=True)[1]
        return self.records(found[np.union1d(first, last)])


def words_of(
    action: Action, events: NDArray[Any], opinions: Mapping[str, NDArray[Any]]
) -> tuple[list[str], NDArray[np.int64]]:
    """Why intents were formed, and the place among these words of each intent's."""
    wanted = events["what"] == kernels.WANTED
    strengths, rows = events["strength"][wanted], events["row"][wanted]
    return action.orchestrator.rationales(strengths, opinions, rows)


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
