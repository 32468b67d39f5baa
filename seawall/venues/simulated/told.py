"""What the exchange has told: every report, the latest in memory, the older ones in its log.

Of what lies before the last checkpoint only the due times, the client ids and where to look in the
log are held; a report from there is read when somebody asks for it.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.orders import Fill, Funding, Movement, OrderReport, Report
from seawall.venues.simulated.ended import Ended
from seawall.venues.simulated.log import Log, Reported

_BLOCK = 256  # entries, at least, that are read together
_CACHED = 32  # blocks


class Past(msgspec.Struct, frozen=True, array_like=True):
    """What a checkpoint adds to the ones before it; the bytes are 64-bit integers.

    Attributes:
        names: client ids of the orders that ended. finals: sequence of the last report of each.
        due: of each report. blocks, firsts: see Told.
    """

    names: list[str]
    finals: bytes
    due: bytes
    blocks: bytes
    firsts: bytes


class Told:
    """All reports ever made, in order; `due` is when each reaches the node.

    Attributes:
        ended: sequence of the last report of the orders before the last checkpoint.
            See `end` for those that ended while the exchange ran compiled.
        unmarked: entries of the log since then.
    """

    def __init__(self, log: Log | None) -> None:
        self.due = array("q")
        self.ended = Ended()
        self.unmarked = 0
        self._finals: dict[str, array[int]] = {}  # prefix → by number the last report; 0: none
        self._log = log
        self._archived = 0  # reports before the last checkpoint
        self._recent: list[Report | None] = []  # the others; None: see `postpone`
        self._movements = array("q")  # the sequences of fills and funding among those
        self._postponed: list[tuple[int, int, Callable[[], list[Report]]]] = []
        self._blocks = array("q")  # where parts of the log begin,
        self._firsts = array("q")  # and the sequence of the first report from there on
        self._in_block = _BLOCK
        self._end = 0  # of the last block before the checkpoint
        self._saved = 0, 0  # reports and blocks that the checkpoints hold
        self._cache: dict[int, list[Report]] = {}

    # --- taking in ---

    def keep(self, report: Report, due: int) -> None:
        """One more report."""
        self.due.append(due)
        self._recent.append(report)
        if isinstance(report, Fill | Funding):
            self._movements.append(report.sequence)

    def postpone(
        self,
        due: NDArray[np.int64],
        moves: NDArray[np.int64],
        tell: Sequence[tuple[int, Callable[[], list[Report]]]],
    ) -> None:
        """Reports that are put into words when somebody asks for one of them; there is no log.

        Args:
            due: of each. moves: the sequences of the fills among them. tell: parts, how many
                reports they are and what puts them into words.
        """
        for count, words in tell:
            first = len(self._recent)
            self._postponed.append((first, first + count, words))
            self._recent.extend([None] * count)
        self.due.frombytes(due.tobytes())
        self._movements.frombytes(moves.tobytes())

    def end(self, prefix: str, numbers: NDArray[np.int64], sequences: NDArray[np.int64]) -> None:
        """Orders that are done, by number: client ids are ``PREFIX-NUMBER``, counted from 1.

        Args:
            sequences: of the last report of each.
        """
        finals = self._finals.setdefault(prefix, array("q"))
        missing = int(numbers.max(initial=-1)) + 1 - len(finals)
        finals.frombytes(bytes(max(0, missing) * finals.itemsize))
        np.frombuffer(finals, np.int64)[numbers] = sequences

    def final_of(self, client_id: str) -> int | None:
        """Sequence of the last report of an order that is in `ended` or came to its `end`."""
        sequence = self.ended.get(client_id)
        if sequence is None:
            prefix, dash, digits = client_id.rpartition("-")
            finals = self._finals.get(prefix)
            if finals and dash and digits.isdecimal() and digits == str(number := int(digits)):
                sequence = finals[number] or None if number < len(finals) else None
        return sequence

    def _from(self, begin: int, end: int) -> list[Report]:
        """A part of the recent reports."""
        if None in self._recent[begin:end]:
            left = []
            for first, past, tell in self._postponed:
                if first < end and begin < past:
                    self._recent[first:past] = tell()
                else:
                    left.append((first, past, tell))
            self._postponed = left
        return cast(list[Report], self._recent[begin:end])

    def framed(self, at: int, entries: int, first: int) -> None:
        """A frame of the log begins at byte `at`; its first report is, or would be, `first`."""
        self.unmarked += entries
        if self._in_block >= _BLOCK:
            self._blocks.append(at)
            self._firsts.append(first)
            self._in_block = 0
        self._in_block += entries

    # --- telling ---

    def between(self, after: int, until: int, most: int | None = None) -> list[Report]:
        """Reports with a sequence above `after` that are due by `until`; the first `most`."""
        end = bisect_right(self.due, until, lo=after)
        if most is not None:
            end = min(end, after + most)
        if after >= self._archived:
            return self._from(after - self._archived, end - self._archived)
        return list(islice(self._since(after), end - after))

    def movements(self, after: int, most: int | None = None) -> list[Movement]:
        """Fills and funding with a sequence above `after`; the first `most`."""
        if after >= self._archived:
            begin = bisect_right(self._movements, after)
            end = len(self._movements) if most is None else begin + most
            moved = [
                self._from(sequence - 1 - self._archived, sequence - self._archived)[0]
                for sequence in self._movements[begin:end]
            ]
            return cast(list[Movement], moved)
        reports = self._since(max(0, after))
        found = (report for report in reports if isinstance(report, Fill | Funding))
        return list(islice(found, most))

    def last_of(self, client_id: str) -> OrderReport | None:
        """The last report of an order of `final_of`."""
        sequence = self.final_of(client_id)
        if sequence is None:
            return None
        if sequence > self._archived:
            at = sequence - 1 - self._archived
            last = self._from(at, at + 1)[0]
            return last if isinstance(last, OrderReport) else None
        block = bisect_right(self._firsts, sequence) - 1
        reports = self._cache.get(block)
        if reports is None:
            reports = self._read(block)
            if len(self._cache) >= _CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[block] = reports
        report = reports[sequence - self._firsts[block]]
        return report if isinstance(report, OrderReport) else None

    def _since(self, after: int) -> Iterator[Report]:
        sequence = after + 1
        while sequence <= self._archived:
            block = bisect_right(self._firsts, sequence) - 1
            reports = self._cache.get(block) or self._read(block)
            yield from reports[sequence - self._firsts[block] :]
            sequence = self._firsts[block] + len(reports)
        yield from self._from(sequence - 1 - self._archived, len(self._recent))

    def _read(self, block: int) -> list[Report]:
        """The reports of a block that lies before the last checkpoint."""
        assert self._log is not None
        following = block + 1
        end = self._end
        if following < len(self._blocks):
            end = min(end, self._blocks[following])
        frames = self._log.frames(self._blocks[block], end)
        return [e.report for _, entries in frames for e in entries if isinstance(e, Reported)]

    # --- checkpoints ---

    def past(self, ended: Sequence[OrderReport]) -> Past:
        """What a checkpoint now adds, with the last reports of the orders that have ended."""
        reports, blocks = self._saved
        return Past(
            names=[report.client_id for report in ended],
            finals=array("q", [report.sequence for report in ended]).tobytes(),
            due=self.due[reports:].tobytes(),
            blocks=self._blocks[blocks:].tobytes(),
            firsts=self._firsts[blocks:].tobytes(),
        )

    def archive(self, ended: Sequence[OrderReport], end: int) -> None:
        """A checkpoint was written at byte `end` of the log: what it holds is let go."""
        self.ended.update((report.client_id, report.sequence) for report in ended)
        self._recent, self._movements = [], array("q")
        self._settle(end)

    def restore(self, pasts: Sequence[Past], end: int) -> None:
        """Begin with what the checkpoints hold, the last of them at byte `end` of the log."""
        for past in pasts:
            self.ended.keep(past.names, past.finals)
            for values, more in (
                (self.due, past.due),
                (self._blocks, past.blocks),
                (self._firsts, past.firsts),
            ):
                values.frombytes(more)
        self._settle(end)

    def _settle(self, end: int) -> None:
        self._archived = len(self.due)
        self._saved = len(self.due), len(self._blocks)
        self._in_block = _BLOCK  # a block never reaches over a checkpoint
        self._end = end
        self.unmarked = 0
