"""What a tear sheet is made of is what the node knew: the account, the fills and the book."""

import math
from pathlib import Path

import numpy as np
import pytest

from seawall.core.errors import DataError
from seawall.core.records import FillBooked, OrderCreated
from seawall.core.settings import Settings
from seawall.ingestion.tape import write_tape
from seawall.lab.tearsheet import Sheet, page
from seawall.lab.tearsheet.sheet import costs_of, trips_of
from seawall.node.node import Node
from seawall.node.perception import Perceived
from seawall.node.summary import Summary
from seawall.node.tearsheet import gather
from seawall.storage.journal import JournalReader, MemoryJournal
from tests.node.recorded_runs import record
from tests.node.short_runs import QUICK, node_on, tape

SECONDS = 120


def quiet(done: int, total: int) -> None:
    """No progress."""


class Ran:
    """A backtest with its files, and what the node thought of its account at each boundary."""

    def __init__(self, folder: Path, settings: Settings = QUICK) -> None:
        self.catalog, self.rows = tape(SECONDS)
        self.tape, self.journal = folder / "tape", folder / "run.journal"
        write_tape(self.tape, self.catalog, self.rows)
        self.account: dict[int, tuple[float, float, float]] = {}
        kept = MemoryJournal()
        node = node_on(self.catalog, self.rows, settings, journal=kept, watch=self.watch)
        self.summary: Summary = node.run()
        node.action.value()  # with what was still booked while it stopped
        self.end = node.action.portfolio
        kept.write(self.journal)

    def watch(self, node: Node, seen: Perceived) -> None:
        portfolio = node.action.portfolio
        assert portfolio is not None
        found = portfolio.equity, portfolio.gross, portfolio.net
        self.account[int(seen.frames["ts"][0])] = found

    def sheet(self) -> Sheet:
        return gather(self.journal, self.tape, QUICK, quiet)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("ran"))


def test_the_account_is_what_the_node_thought(ran: Ran) -> None:
    track = ran.sheet().track
    assert track.ts[: len(ran.account)].tolist() == list(ran.account)
    thought = np.array(list(ran.account.values()))
    for mine, theirs in zip(track[1:], thought.T, strict=True):
        known = np.isfinite(theirs)
        assert known.sum() > SECONDS // 2
        np.testing.assert_allclose(mine[: len(known)][known], theirs[known], rtol=1e-9, atol=1e-6)


def test_the_end_is_that_of_the_summary(ran: Ran) -> None:
    sheet, summary = ran.sheet(), ran.summary
    costs = costs_of(sheet)
    assert len(sheet.executions) == summary.fills > 20
    assert ran.end is not None
    assert costs.net == pytest.approx(ran.end.equity - summary.equity_start)
    assert costs.fees == pytest.approx(ran.end.fees)
    assert sheet.capital == pytest.approx(summary.equity_start)
    assert (sheet.orders, sheet.intents) == (summary.orders, summary.intents)
    assert dict(sheet.reproduce)["journal hash"] == summary.journal_hash
    trips = trips_of(sheet.executions, sheet.open_marks)
    assert sum(trip.pnl for trip in trips) == pytest.approx(costs.net, rel=1e-6)
    agrees = [words for words in sheet.seen if "digests" in words]
    assert agrees == ["The curve agrees with the equity in the journal's 1 digests."]


def test_fills_stand_in_the_book_as_it_was(ran: Ran) -> None:
    """The simulated exchange walks the very book that the tape tells of."""
    sheet = ran.sheet()
    reader = JournalReader(ran.journal)
    records = [record for _, record in reader.read()]
    reader.close()
    decided = {r.order.client_id: r.ts for r in records if isinstance(r, OrderCreated)}
    booked = [r.fill for r in records if isinstance(r, FillBooked)]
    for one, fill in zip(sheet.executions, booked, strict=True):
        assert one.decided == decided[fill.client_id] < one.ts
        assert one.touch_then > 0
        assert one.through >= -1e-9  # a taker never fills better than the touch
        assert one.sign * (one.touch - one.mid) > 0
    at_touch = sum(abs(one.through) < 1e-9 for one in sheet.executions)
    assert at_touch > len(booked) // 2


def test_a_paper_run_of_two_lives(tmp_path: Path) -> None:
    folder = tmp_path / "simulated"
    catalog, rows = tape(SECONDS)
    half, cuts = len(rows) // 2, list(range(500, len(rows) // 2 - 600, 500))
    record(folder, catalog, rows[:half], cuts, past=half // 4)
    record(folder, catalog, rows[half:], cuts, end=len(cuts) - 2, flatten=True)
    (found,) = folder.glob("tape-*")
    sheet = gather(folder / "journal.sqlite", found, QUICK, quiet)
    assert ("lives", "2: it was stopped or killed, and went on") in sheet.about
    assert [one.text.split(",")[1] for one in sheet.incidents if "starts" in one.text] == [
        " paper",
        " paper",
    ]
    assert math.isfinite(sheet.track.equity[-1])
    assert "<canvas" in page(sheet)


def test_a_journal_of_another_tape(ran: Ran, tmp_path: Path) -> None:
    from tests.tapes import catalog_of

    other = catalog_of(("USD",))
    write_tape(tmp_path / "other", other, ran.rows[:0])
    with pytest.raises(DataError, match="was on another tape"):
        gather(ran.journal, tmp_path / "other", QUICK, quiet)
