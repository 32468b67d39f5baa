"""Writes what happened in a compiled pass as rows of the journal."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.instruments import Instrument
from seawall.core.intents import Close, Target
from seawall.core.orders import Fill, Order, OrderState, OrderType, TimeInForce
from seawall.core.records import (
    SCHEMA,
    AnyRecord,
    FillBooked,
    IntentApproved,
    IntentDecided,
    OrderChanged,
    OrderCreated,
    encode,
)
from seawall.node import busy_kernels as kernels
from seawall.node import busy_record_kernels as kernel
from seawall.node.busy_record_kernels import DIGITS, INTEGER, NAME, NOTHING, REAL, TEXT, TRUTH
from seawall.risk.limit_kernels import CAPS
from seawall.risk.limits import approved_as
from seawall.storage.schema import LINK, Packed

NOT_FILLED = f"{TimeInForce.IOC}: what could not be filled at once"
FIRST_FORMS = np.array(  # of each kind of event: plain, and where a Close is wanted
    [(0, 1), (2, 3), (4, 4), (6, 6), (7, 7), (8, 8)]
)
_FIELDS = list(kernels.EVENT.fields or ())
_MARK = re.compile(rb"\xa4\0(\d{3})")  # as MessagePack has the text of a mark
_NUMBER = 24  # bytes that a number takes at most, also in digits
_TEXTS = 4  # that a record has at most

_text = msgspec.msgpack.encode


class Writer:
    """Writes the events of passes as rows of the journal.

    What a record looks like is asked of msgspec: one of each form is encoded with marks in place of
    what differs from event to event; the kernel copies what stands between the marks.

    Args:
        prefix: of client ids. expiry: ns that an intent stands. accept: ns that the venue may take
            an order.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        strategy: str,
        prefix: str,
        expiry: int,
        accept: int,
    ) -> None:
        self._cells: list[tuple[int, ...]] = []  # how, field, plus, wanted: of each mark
        texts = [instrument.name for instrument in instruments]
        texts += [instrument.settle_asset for instrument in instruments]
        self._texts = [*map(_text, texts), *map(_text, CAPS)]
        self._prefix = f"{prefix}-".encode()
        self._newest = np.zeros(len(instruments), np.int64)
        forms = (
            *self._decided(len(instruments), strategy, expiry),
            *self._ordered(strategy, accept),
            *self._answered(len(instruments), strategy),
        )
        self._kinds = [str(form.__struct_config__.tag) for form in forms]
        self._lay_out([encode(form) for form in forms])

    def _mark(self, how: int, field: str, plus: int = 0, wanted: bool = False) -> Any:
        """What stands for a field of the event (`wanted`: of the WANTED one before it)."""
        self._cells.append((how, _FIELDS.index(field), plus, wanted))
        return f"\0{len(self._cells) - 1:03}"

    def _decided(self, count: int, strategy: str, expiry: int) -> tuple[AnyRecord, ...]:
        """Intents, and what is approved of them: a Target's and a Close's."""
        mark = self._mark
        ts = mark(INTEGER, "ts")
        about = {
            "strategy": strategy,
            "ts": mark(INTEGER, "ts", wanted=True),
            "tape": mark(INTEGER, "tape", wanted=True),
            "expiry": mark(INTEGER, "ts", plus=expiry, wanted=True),
            "rationale": mark(TEXT, "size", plus=len(self._texts), wanted=True),
            "instrument": mark(TEXT, "instrument"),
        }
        both = Target(**about, exposure=mark(REAL, "exposure", wanted=True)), Close(**about)
        allowed = (
            mark(INTEGER, "size"),
            mark(TRUTH, "flag"),
            mark(TEXT, "cap", plus=2 * count),
        )
        return (
            *(IntentDecided(ts=ts, intent=one) for one in both),
            *(IntentApproved(ts=ts, approved=approved_as(one, *allowed)) for one in both),
        )

    def _ordered(self, strategy: str, accept: int) -> tuple[AnyRecord, ...]:
        """An order, and that it was sent."""
        mark = self._mark
        ts, name = mark(INTEGER, "ts"), mark(NAME, "number")
        order = Order(
            client_id=name,
            instrument=mark(TEXT, "instrument"),
            side=mark(INTEGER, "side"),
            type=OrderType.LIMIT,
            size=mark(INTEGER, "size"),
            price=mark(INTEGER, "price"),
            time_in_force=TimeInForce.IOC,
            reduce_only=mark(TRUTH, "flag"),
            accept_until=mark(INTEGER, "ts", plus=accept),
            strategy=strategy,
            intent_ts=mark(INTEGER, "decided"),
        )
        sent = OrderChanged(ts=ts, client_id=name, state=OrderState.SENT)
        return OrderCreated(ts=ts, order=order), sent

    def _answered(self, count: int, strategy: str) -> tuple[AnyRecord, ...]:
        """What the venue says: that it has the order, a fill, that the order is done."""
        mark = self._mark
        ts, name, sequence = mark(INTEGER, "ts"), mark(NAME, "number"), mark(INTEGER, "sequence")
        change = {"ts": ts, "client_id": name, "venue_sequence": sequence}
        change["filled"] = mark(INTEGER, "filled")
        fill = Fill(
            sequence=sequence,
            fill_id=mark(DIGITS, "sequence"),
            client_id=name,
            instrument=mark(TEXT, "instrument"),
            side=mark(INTEGER, "side"),
            price=mark(INTEGER, "price"),
            size=mark(INTEGER, "size"),
            fee=mark(INTEGER, "fee"),
            fee_asset=mark(TEXT, "instrument", plus=count),
            maker=False,
            ts=mark(INTEGER, "venue_ts"),
        )
        return (
            OrderChanged(**change, state=OrderState.NEW),
            FillBooked(ts=ts, fill=fill, strategy=strategy),
            OrderChanged(**change, state=OrderState.CANCELED, reason=NOT_FILLED),
        )

    def _lay_out(self, forms: Sequence[bytes]) -> None:
        """Take the forms apart at their marks."""
        fixed, begins = b"", []
        cells: list[tuple[int, ...]] = []
        for form in forms:
            begins.append(len(cells))
            parts = _MARK.split(form)
            marks = [self._cells[int(mark)] for mark in parts[1::2]]
            for kept, cell in zip(parts[::2], [*marks, (NOTHING, 0, 0, False)], strict=True):
                cells.append((len(fixed), len(fixed) + len(kept), *cell))
                fixed += kept
        self._fixed = np.frombuffer(fixed, np.uint8)
        self._form = np.array(cells, kernel.CELL), np.array(begins)
        most = max(form.count(b"\xa4\0") for form in forms) * (_NUMBER + len(self._prefix))
        self._widest = LINK + max(map(len, forms)) + most

    def write(
        self, events: NDArray[Any], words: Sequence[str], places: NDArray[np.int64], seq: int
    ) -> Packed:
        """The rows that follow row `seq`.

        Args:
            events: EVENT; those that are WANTED get the places of their words into `size`.
            words: why. places: of each one's words among them.
        """
        wanted = events["what"] == kernels.WANTED
        events["size"][wanted] = places
        texts = self._texts + [_text(word) for word in words]
        rows = np.zeros(len(events) + int((events["what"] == kernels.SENT).sum()), kernel.ROW)
        kernel.lay_out(events, FIRST_FORMS, self._newest, rows)
        out = np.empty(len(rows) * (self._widest + _TEXTS * max(map(len, texts))), np.uint8)
        script = kernel.Script(
            self._fixed,
            *self._form,
            np.frombuffer(b"".join(texts), np.uint8),
            np.cumsum([0, *map(len, texts)]),
            np.frombuffer(self._prefix, np.uint8),
        )
        fields = events.view(np.int64).reshape(-1, len(_FIELDS))
        kernel.write(fields, script, rows, seq, SCHEMA, out)
        data = out[: rows["end"].max(initial=0)].tobytes()
        return Packed(seq, data, rows["end"], rows["ts"], rows["form"], self._kinds)
