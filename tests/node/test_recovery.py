"""The state that a restart finds is the state that was lost, wherever the run was cut off."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import MINUTE
from seawall.core.events import EventFlag
from seawall.core.records import AnyRecord, FillBooked, OrderChanged
from seawall.core.settings import Settings
from seawall.ingestion.tape import open_tape
from seawall.node import assembly
from seawall.node.books import Books
from seawall.risk.breakers import BREAKERS
from seawall.storage import Durability, MemoryJournal, Recorder, SqliteJournal, recover
from tests.node.short_runs import QUICK, every, node_on, tape
from tests.tapes import COMPILED


@cache
def journaled() -> list[AnyRecord]:
    """What a node journals in a lively minute."""
    catalog, rows = tape(60)
    node = node_on(catalog, rows, QUICK, every(rows, 500))
    node.run()
    found = [record for _, record in node.recorder.journal.read()]
    assert sum(isinstance(one, FillBooked | OrderChanged) for one in found) > 20
    return found


def states(books: Books) -> dict[str, bytes]:
    return {fold.name: msgspec.msgpack.encode(fold.state()) for fold in books.folds}


def folded(records: list[AnyRecord]) -> Books:
    """From the first row on."""
    books = Books(BREAKERS)
    for record in records:
        for fold in books.folds:
            fold.apply(record)
    return books


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_snapshot_and_tail_come_to_what_all_rows_come_to(data: Any) -> None:
    records = journaled()
    cut = data.draw(st.integers(0, len(records)))
    often = data.draw(st.integers(1, 50))
    journal, books = MemoryJournal(), Books(BREAKERS)
    recorder = Recorder(journal, books.folds, every=often)
    at = 0
    while at < cut:
        some = data.draw(st.integers(1, 30))
        recorder.record(*records[at : min(at + some, cut)])
        at += some
    again = Books(BREAKERS)
    found = recover(journal, again.folds)
    assert found.snapshot + found.replayed == cut
    assert found.snapshot > 0 or cut < often
    assert states(again) == states(books) == states(folded(records[:cut]))
    rest = Recorder(journal, again.folds, every=often)
    rest.record(*records[cut:])  # and goes on to the same end
    assert states(again) == states(folded(records))


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_flipped_bit_of_a_snapshot_never_makes_a_wrong_state(
    data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = journaled()
    path = tmp_path_factory.mktemp("flipped") / "journal.sqlite"
    journal = SqliteJournal(path, Durability.PROCESS)
    Recorder(journal, Books(BREAKERS).folds, every=len(records)).record(*records)
    raw = journal._connection.exec_driver_sql
    kept = raw("SELECT rowid, state FROM snapshots").all()
    row, state = data.draw(st.sampled_from(kept))
    bit = data.draw(st.integers(0, 8 * len(state) - 1))
    flipped = bytearray(state)
    flipped[bit // 8] ^= 1 << bit % 8
    raw("UPDATE snapshots SET state = ? WHERE rowid = ?", (bytes(flipped), row))
    said: list[str] = []
    again = Books(BREAKERS)
    assert recover(journal, again.folds, said.append).snapshot == 0
    assert said == [f"journal: the snapshot after row {len(records):,} is damaged and is not used"]
    assert states(again) == states(folded(records))
    journal.close()


@pytest.mark.skipif(not COMPILED, reason="a quarter of an hour of market needs the compiler")
def test_a_start_soon_after_goes_on_where_its_tape_ends(tmp_path: Path) -> None:
    given = Settings(
        mode="paper", seed=7, data_dir=tmp_path, feed={"name": "simulated", "hostile": "none"}
    )
    looked_back = []
    for _ in range(2):
        node = assembly.paper(given, assembly.Silent(), lambda text: None)
        looked_back.append(node.started.first - node.started.taped)
        node.stop("enough")
        node.run()
        node.recorder.journal.close()
        node.ports.venue.close()
    assert looked_back[1] < looked_back[0] // 10, "the past was made up again"
    taped = node.started.taped
    (folder,) = (tmp_path / "simulated").glob("tape-*")
    rows = np.concatenate([block.copy() for block in open_tape(folder).blocks(1 << 16)])
    late = (rows["flags"][taped:] & EventFlag.RECORDED_LATE) != 0
    assert not late.any()
    assert rows["recv_ts"][taped] - rows["recv_ts"][0] > 14 * MINUTE
