"""A recorded run comes out the same; and whatever was changed in the record is found and named."""

import math
import shutil
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.cli.new import strategy
from seawall.core.commands import BAN, CLOSE, EMERGENCY_STOP, RELEASE, UNBAN, Command
from seawall.core.errors import DataError, SettingError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.orders import Fill
from seawall.core.records import (
    BreakerChanged,
    FillBooked,
    OperatorCommanded,
    OrderCreated,
    RunStarted,
)
from seawall.core.settings import VenueSettings
from seawall.ingestion.tape import open_tape, write_tape
from seawall.node.parity import Recorded, verify
from seawall.node.parity_model import Modelled, compare
from seawall.storage.journal import Durability, JournalReader, SqliteJournal
from seawall.venues.simulated.log import Log, Reported
from tests.node.recorded_runs import PAPER, record
from tests.node.short_runs import EAGER, tape
from tests.node.test_accounts import DECISION, TWO

SECONDS = 150


def quiet(done: int, total: int) -> None:
    """No progress."""


@cache
def rows() -> tuple[Catalog, Raw]:
    return tape(SECONDS)


def blocks(seed: int, count: int = 300, of: int | None = None) -> list[int]:
    """Random places at which blocks end, between messages."""
    length = len(rows()[1]) if of is None else of
    random = np.random.default_rng(seed)
    return sorted(set(random.integers(1, length, count).tolist()))


def said(name: str, target: str = "sim-b") -> Command:
    return Command(name=name, target=target, who="a test")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two lives: one killed, one stopped with positions closed; a ban in between."""
    folder = tmp_path_factory.mktemp("data") / "simulated"
    catalog, all_rows = rows()
    half = len(all_rows) // 2
    record(
        folder,
        catalog,
        Raw(all_rows[:half]),
        [c for c in blocks(1) if c < half * 0.9],
        past=half // 5,
        commands={
            15: said(EMERGENCY_STOP, CLOSE),
            25: said(RELEASE, "emergency_close"),
            40: said(BAN),
            70: said(UNBAN),
        },
    )
    rest = Raw(all_rows[half:])
    record(folder, catalog, rest, blocks(2, of=len(rest)), end=280, flatten=True)
    return folder


def copied(run: Path, to: Path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(run, to / run.name)
    return to / run.name


def test_the_journal_comes_out_the_same(run: Path) -> None:
    recorded = Recorded(run)
    kinds = [type(r) for r in recorded.records]
    assert kinds.count(RunStarted) == 2
    assert kinds.count(OperatorCommanded) == 4
    assert kinds.count(BreakerChanged) >= 3
    assert kinds.count(FillBooked) > 10
    closing = [r for r in recorded.records if isinstance(r, OrderCreated)][-1]
    assert closing.order.strategy == "operator"
    found = verify(recorded, quiet)
    assert [life.difference for life in found.lives] == [None, None]
    assert found.identical
    reader = JournalReader(run / "journal.sqlite")
    assert (found.rows, found.replayed) == (reader.rows, reader.head)
    reader.close()


def test_a_run_with_several_accounts_comes_out_the_same(tmp_path: Path) -> None:
    """Two lives, the first killed; each account's exchange answers from a log of its own."""
    folder = tmp_path / "simulated"
    catalog, all_rows = rows()
    two = TWO.model_copy(update={"mode": "paper", "decision": DECISION})
    half = len(all_rows) // 2
    record(folder, catalog, Raw(all_rows[:half]), blocks(3, of=half), past=half // 5, settings=two)
    rest = Raw(all_rows[half:])
    record(folder, catalog, rest, blocks(4, of=len(rest)), end=280, settings=two)
    recorded = Recorded(folder)
    assert recorded.answers.keys() == {"left", "right"}
    booked = {r.fill.instrument for r in recorded.records if isinstance(r, FillBooked)}
    assert booked == {"BTC/USD@sim-a", "BTC/USD@sim-b"}
    found = verify(recorded, quiet)
    assert [life.difference for life in found.lives] == [None, None]
    assert found.identical
    modelled = compare(recorded, None, quiet)
    assert (modelled.matched, modelled.equal) == (modelled.recorded.orders,) * 2
    assert modelled.difference == 0.0
    (folder / "venue-right.log").unlink()
    with pytest.raises(DataError, match=r"there is no venue-right\.log"):
        Recorded(folder)


@given(seed=st.integers(0, 1 << 32), count=st.integers(1, 400), end=st.floats(0.3, 1.0))
@settings(max_examples=6, deadline=None)
def test_however_the_rows_came(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, end: float
) -> None:
    """Where blocks ended and when it was stopped is of no meaning to the replay."""
    folder = tmp_path_factory.mktemp("cuts") / "simulated"
    catalog, all_rows = rows()
    piece = Raw(all_rows[: len(all_rows) // 3])
    cuts = blocks(seed, count, len(piece))
    record(folder, catalog, piece, cuts, end=int(end * len(cuts)))
    assert verify(Recorded(folder), quiet).identical


def test_a_strategys_own_file_is_run_only_where_the_user_says_so(tmp_path: Path) -> None:
    """Whoever made the folder chose the file that its journal names."""
    ran = tmp_path / "ran"
    file = tmp_path / "mine.py"
    strategy("mine", False, tmp_path)
    file.write_text(file.read_text() + f'open({str(ran)!r}, "w").close()\n')
    decision = EAGER.model_copy(
        update={"strategy": str(file), "parameters": ("lookback=5", "threshold=0")}
    )
    folder = tmp_path / "data" / "simulated"
    catalog, all_rows = rows()
    piece = Raw(all_rows[: len(all_rows) // 3])
    chosen = PAPER.model_copy(update={"decision": decision})
    record(folder, catalog, piece, blocks(3, of=len(piece)), end=150, settings=chosen)
    ran.unlink()
    with pytest.raises(SettingError, match="say --trust-strategy"):
        verify(Recorded(folder), quiet)
    assert not ran.exists()
    assert verify(Recorded(folder, trusting=True), quiet).identical
    assert ran.exists()


def test_another_answer_is_found(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    log = Log(folder / "venue.log")
    entries = list(log.entries())
    log.close()
    for name in ("venue.log", "venue.log.marks"):
        (folder / name).unlink(missing_ok=True)
    at = next(
        at
        for at, e in enumerate(entries)
        if isinstance(e, Reported) and isinstance(e.report, Fill) and e.report.sequence > 20
    )
    changed = entries[at]
    assert isinstance(changed, Reported)
    fill = msgspec.structs.replace(changed.report, price=changed.report.price + 1)  # type: ignore[union-attr]
    entries[at] = msgspec.structs.replace(changed, report=fill)
    log = Log(folder / "venue.log")
    for entry in entries:
        log.append([entry])
    log.close()
    found = verify(Recorded(folder), quiet)
    assert not found.identical
    difference = next(life.difference for life in found.lives if life.difference)
    assert difference.fields == {"fill.price": (fill.price - 1, fill.price)}
    recorded = Recorded(run).records[difference.row - 1]
    assert isinstance(recorded, FillBooked)
    assert recorded.fill.sequence == fill.sequence


def test_another_market_is_found(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    (path,) = folder.glob("tape-*")
    read = open_tape(path)
    changed = read.read()
    half = len(changed) // 3
    changed["price"][half : half + 400] += 100
    write_tape(path, read.catalog, changed, force=True)
    found = verify(Recorded(folder), quiet)
    assert not found.identical
    assert found.lives[0].rows > 1
    assert found.lives[0].difference is not None


def test_a_row_that_is_missing_at_the_end_is_found(run: Path, tmp_path: Path) -> None:
    """The record of a run that was stopped in order is whole, or it is not the same."""
    folder = tmp_path / "simulated"
    folder.mkdir()
    source = copied(run, tmp_path / "from")
    journal = SqliteJournal(folder / "journal.sqlite", Durability.PROCESS)
    records = Recorded(source).records
    del records[-2]  # of the drain
    journal.append(records)
    journal.close()
    for path in source.iterdir():
        if not path.name.startswith("journal"):
            path.rename(folder / path.name)
    found = verify(Recorded(folder), quiet)
    assert not found.identical
    assert found.lives[-1].difference is not None


def test_the_same_model_is_the_same(run: Path) -> None:
    found = compare(Recorded(run), None, quiet)
    assert found.recorded == found.modelled
    assert found.matched == found.equal > 10
    assert found.causes == found.examples == ()
    assert found.recorded.slippage > 0  # it takes liquidity


def explained(found: Modelled) -> dict[str, tuple[int, float]]:
    total = sum(cause.pnl for cause in found.causes)
    assert math.isclose(total, found.difference, abs_tol=1e-6)
    return {cause.name: (cause.orders, cause.pnl) for cause in found.causes}


def test_other_fees_are_told_as_fees(run: Path) -> None:
    found = compare(Recorded(run), VenueSettings(taker_fee_ppm=1_000), quiet)
    causes = explained(found)
    assert causes["fees"][1] == pytest.approx(-found.recorded.fees, rel=0.01)
    others = sum(abs(pnl) for name, (_, pnl) in causes.items() if name != "fees")
    assert others < 0.05 * found.recorded.fees  # with less to trade with, sizes differ a little


def test_a_slower_exchange_is_told_as_latency(run: Path) -> None:
    found = compare(Recorded(run), VenueSettings(entry_latency_ms=300), quiet)
    causes = explained(found)
    assert causes["latency"][0] > 5
    assert "queue" not in causes
    assert found.matched < found.recorded.orders or found.equal < found.matched


def test_an_exchange_out_of_time_is_told_as_refusal(run: Path) -> None:
    """Beyond `accept_until` nothing is taken."""
    found = compare(Recorded(run), VenueSettings(entry_latency_ms=2_500), quiet)
    causes = explained(found)
    assert causes["refusal"][0] >= 1
    assert found.modelled.fills == 0 < found.modelled.refused_orders


def test_what_cannot_be_replayed_says_so(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no journal\.sqlite; name the folder of a paper run"):
        Recorded(tmp_path)
    folder = copied(run, tmp_path)
    recorded = Recorded(folder)
    started = recorded.records[0]
    assert isinstance(started, RunStarted)
    recorded.records[0] = msgspec.structs.replace(started, taped=-1)
    with pytest.raises(DataError, match="did not note where on the tape"):
        recorded.lives()
    recorded.records[0] = msgspec.structs.replace(started, values="")
    with pytest.raises(SettingError, match="did not journal its settings"):
        recorded.settings(recorded.lives()[0])
    recorded.records[0] = msgspec.structs.replace(started, settings="0" * 64)
    with pytest.raises(SettingError, match="mean something else"):
        recorded.settings(recorded.lives()[0])
