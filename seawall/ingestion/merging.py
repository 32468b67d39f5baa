"""Several recorded markets as one: tapes side by side, their sources in common consensus groups.

Each venue is imported with its own flags; merging puts them on one tape, in the order of receive
time. Instruments of one base asset (or one named group) then price it together.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventKind, ordered
from seawall.core.instruments import Catalog, Instrument, Source
from seawall.ingestion import tables

FOREVER = (1 << 63) - 1


def merged(parts: Sequence[tables.Imported], names: Sequence[str]) -> tables.Imported:
    """All rows on one tape: instruments and books of the parts in their order, sources by name.

    A source that several parts name is one source, if they say the same of it. The smallest units
    of assets are made fine enough for all parts.

    Args:
        parts: what each importer has read, or what a tape holds.
        names: what to call each part in an error, such as its file.

    Raises:
        DataError: an instrument is on two parts, or two parts disagree on a source.
    """
    instruments: list[Instrument] = []
    sources: list[Source] = []
    books: list[tuple[int, int]] = []
    rows: list[NDArray[Any]] = []
    notes: list[str] = []
    owner: dict[str, str] = {}
    for part, name in zip(parts, names, strict=True):
        first = len(instruments)
        for instrument in part.catalog.instruments:
            if instrument.name in owner:
                raise DataError(
                    f"{name}: {instrument.name} is also on {owner[instrument.name]}; import one of "
                    "them under another --venue"
                )
            owner[instrument.name] = name
            instruments.append(instrument)
        place = [_place(source, sources, name) for source in part.catalog.sources]
        books += [(first + i, place[s]) for i, s in part.catalog.books]
        rows.append(_moved(part.rows, first, place))
        notes += part.notes
    catalog = Catalog(
        instruments=tables.fit_decimals(instruments), sources=tuple(sources), books=tuple(books)
    )
    return tables.Imported(catalog.check(), ordered(np.concatenate(rows)), tuple(notes))


def _place(source: Source, sources: list[Source], name: str) -> int:
    """Where a source stands among those so far; a new one is added."""
    for at, known in enumerate(sources):
        if known.name == source.name:
            if known != source:
                raise DataError(
                    f"{name}: the source {source.name} has bars of another span, or another venue, "
                    "than on the tapes before it; import it under another --venue"
                )
            return at
    sources.append(source)
    return len(sources) - 1


def _moved(rows: NDArray[Any], first: int, place: Sequence[int]) -> NDArray[Any]:
    """A copy whose indices are those of the common catalog; ticks belong to nobody and stay."""
    moved = rows.copy()
    own = moved["kind"] != EventKind.TICK
    moved["instrument"][own] += np.uint16(first)
    moved["source"][own] = np.asarray(place, np.uint16)[rows["source"][own]]
    return moved


def span_of(
    start: str, until: str, options: tuple[str, str] = ("--from", "--until")
) -> tuple[int, int]:
    """Two moments such as ``2023-03-06`` or ``2023-03-06T12:30`` (UTC) → ns; empty: no limit.

    Args:
        options: what the two are called, for the message.

    Raises:
        SettingError: not a moment, or the end is not after the start.
    """
    found = []
    limits = (-FOREVER, FOREVER)
    for option, text, none in zip(options, (start, until), limits, strict=True):
        try:
            moment = datetime.fromisoformat(text) if text else None
        except ValueError:
            raise SettingError(
                f"{option} {text!r} is not a time; give such as 2023-03-06 or 2023-03-06T12:30"
            ) from None
        if moment is not None and moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        found.append(none if moment is None else round(moment.timestamp()) * SECOND)
    if found[0] >= found[1]:
        raise SettingError(f"{options[1]} {until} is not after {options[0]} {start}")
    return found[0], found[1]


def between(part: tables.Imported, start: int, end: int, name: str) -> tables.Imported:
    """The rows received from `start` on and before `end`, ns UTC; messages stay whole.

    Raises:
        DataError: nothing is left; or a front is to be cut off order books, whose rows build on
            what came before.
    """
    at = part.rows["recv_ts"]
    kept = part.rows[(at >= start) & (at < end)]
    if len(kept) == 0:
        raise DataError(f"{name}: no rows are left; choose other times for --from and --until")
    if at[0] < start and (kept["kind"] == EventKind.DEPTH).any():
        raise DataError(
            f"{name}: holds order books, which build on the rows before {tables.when(start)}; only "
            "bars, trades and quotes can be cut at the front"
        )
    return tables.Imported(part.catalog, kept, part.notes)
