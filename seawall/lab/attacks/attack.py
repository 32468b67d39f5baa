"""An attack: a causal transformation of the tape by whoever owns some of its sources.

The attacker sees every row and may change, add, hold back or leave out those of its own sources.
Rows go through one message at a time, so any split of a tape gives the same bytes.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import InvariantError, SettingError
from seawall.core.events import EventKind, Raw, empty
from seawall.core.instruments import Catalog
from seawall.core.order_book import new_ladders
from seawall.lab.attacks import shadow_kernels as shadows
from seawall.lab.attacks.draws import key_of
from seawall.lab.attacks.parameters import Parameters

FOREVER = 1 << 62
ROWS_AT_ONCE = 1 << 15


class Attack:
    """One attack on one catalog.

    Attributes:
        name, summary: of the type; the summary is one line.
        Told: the record of its parameters.
        sources: indices of the attacker's own sources in the catalog.
        start, end: ns UTC, [start, end); FOREVER until the first row has come.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    Told: ClassVar[type[Parameters]] = Parameters
    owned: ClassVar[int] = 1  # sources, where none is named

    def __init__(self, catalog: Catalog, parameters: Parameters, seed: int = 0) -> None:
        """Make ready.

        Raises:
            SettingError: a named source is not in the catalog.
        """
        self.catalog = catalog
        self.parameters = parameters
        self.sources = self._indices()
        self.key = key_of(seed, f"attack.{self.name}")
        self.frame_ns = max((s.bar_span for s in catalog.sources), default=0) or SECOND
        self.start = FOREVER
        self.end = FOREVER
        self._begun = False
        self._own = np.zeros(1 << 16, np.bool_)
        self._own[list(self.sources)] = True
        self._read_ts = -(1 << 63)  # of the last row that came
        self._told_ts = -(1 << 63)  # and of the last one that went

    def _indices(self) -> tuple[int, ...]:
        names = [source.name for source in self.catalog.sources]
        wanted = self.parameters.sources or names[-self._how_many() :]
        for name in wanted:
            if name not in names:
                raise SettingError(
                    f"attack {self.name}: there is no source {name!r}; choose from "
                    f"{', '.join(names)}"
                )
        return tuple(sorted({names.index(name) for name in wanted}))

    def _how_many(self) -> int:
        return self.owned

    def count_from(self, ts: int) -> None:
        """Let `after` count from here (ns UTC) and not from the first row."""
        if self._begun:
            return
        self._begun = True
        told = self.parameters
        self.start = told.start or ts + round(told.after * SECOND)
        if told.duration > 0.0:
            self.end = self.start + round(told.duration * SECOND)

    def active(self, ts: int) -> bool:
        """Whether messages received at `ts` (ns UTC) are attacked."""
        return self.start <= ts < self.end

    def describe(self) -> str:
        """One line for people: what, by whom, since when."""
        names = ", ".join(self.catalog.sources[index].name for index in self.sources)
        told = self.parameters
        begins = f"from {told.after:g} s on" if not told.start else "from a given time on"
        lasts = f" for {told.duration:g} s" if told.duration > 0.0 else ""
        return f"{self.name} by {names}: {self.detail()}, {begins}{lasts}"

    def detail(self) -> str:
        """What is done, in a few words."""
        raise NotImplementedError

    def transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows as the attacker lets them be; the others' rows as they are."""
        raise NotImplementedError

    def apply(self, rows: Raw) -> Raw:
        """The next rows of the tape, attacked.

        Raises:
            InvariantError: a row of somebody else was touched, or the order of time was.
        """
        if not len(rows):
            return rows
        if not self._begun:
            self.count_from(int(rows["recv_ts"][0]))
        made = self.transform(rows)
        self._check(rows, made)
        return Raw(made)

    def _check(self, rows: NDArray[Any], made: NDArray[Any]) -> None:
        theirs, kept = rows[~self.own(rows)], made[~self.own(made)]
        if theirs.tobytes() != kept.tobytes():
            raise InvariantError(f"attack {self.name} has touched a source that is not its own")
        if _rising(rows, self._read_ts) and not _rising(made, self._told_ts):
            raise InvariantError(f"attack {self.name} has put rows out of the order of time")
        self._read_ts = int(rows["recv_ts"][-1])
        if len(made):
            self._told_ts = int(made["recv_ts"][-1])

    def own(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """(rows,) which rows are of the attacker's sources."""
        return np.asarray(self._own[rows["source"]] & (rows["kind"] != EventKind.TICK))

    def during(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """(rows,) which rows are received while the attack lasts."""
        times = rows["recv_ts"]
        return np.asarray((times >= self.start) & (times < self.end))

    def new_shadow(self) -> shadows.Shadow:
        """The attacker's view of the catalog's books, nothing seen yet."""
        catalog = self.catalog
        groups = sorted({i.consensus_group for i in catalog.instruments})
        books = np.zeros(len(catalog.books), shadows.BOOK)
        books["own"] = [self._own[source] for _, source in catalog.books]
        books["group"] = [
            groups.index(catalog.instruments[i].consensus_group) for i, _ in catalog.books
        ]
        clock = np.zeros(1, shadows.CLOCK)
        clock["frame"] = self.frame_ns
        return shadows.Shadow(
            ladders=new_ladders(len(books)),
            books=books,
            groups=np.zeros(max(1, len(groups)), shadows.GROUP),
            clock=clock,
            book_of=catalog.book_of.astype(np.int64),
            scratch=np.zeros(max(1, len(books))),
        )


def _rising(rows: NDArray[Any], last: int) -> bool:
    """Whether receive times do not go back, nor before `last`."""
    times = rows["recv_ts"]
    return not len(times) or bool(times[0] >= last and np.all(times[1:] >= times[:-1]))


def driven(rows: NDArray[Any], run: Callable[[int, NDArray[Any]], tuple[int, int]]) -> NDArray[Any]:
    """All that a kernel writes for `rows`, in as many calls as its output needs.

    Args:
        run: (first row, output) → (next row, rows written).
    """
    out = empty(ROWS_AT_ONCE + shadows.ROOM)
    pieces = []
    at = 0
    while at < len(rows):
        at, count = run(at, out)
        pieces.append(out[:count].copy())
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
