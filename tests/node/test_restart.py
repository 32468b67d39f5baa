"""Restart with a long past: a journal of a million rows, and the exchange's log that belongs to it.

A new process must be ready to decide within three seconds, in the very state that the old one had.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from seawall.core import money
from seawall.core.clock import MILLISECOND, SECOND, SystemClock
from seawall.core.events import Side
from seawall.core.instruments import Instrument
from seawall.core.intents import Approved, Target
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
    Deposited,
    Digest,
    FillBooked,
    IntentApproved,
    IntentDecided,
    OrderChanged,
    OrderCreated,
    RunStarted,
)
from seawall.ingestion.simulated import MarketShape
from seawall.node.books import Books
from seawall.risk.breakers import configured
from seawall.storage import Durability, Recorder, SqliteJournal
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Entry, Log, Opened, Reported, Requested
from seawall.venues.simulated.shape import VenueShape
from tests.house import ROOT

ROWS = 1_000_000
LIMIT = 3.0  # seconds
CAPITAL = 100_000 * 10**8
INSTRUMENTS = MarketShape().catalog().instruments
PRICES = {"BTC": 6_000_000, "ETH": 300_000}
RESTART = """
import hashlib, json, sys, time
from pathlib import Path
import msgspec
from seawall.core.settings import Settings
from seawall.node import action, assembly, node
began = time.perf_counter(), time.process_time()
url = sys.argv[2]
data = Path(sys.argv[1])
settings = Settings(mode="paper", data_dir=data, feed={"name": "simulated"}, venue={"url": url})
node = assembly.paper(settings, assembly.Silent(), lambda text: None)
state = msgspec.msgpack.encode([fold.state() for fold in node.action.books.folds])
while node.status != "trading":
    rows = node.ports.feed.read(1.0)
    if len(rows):
        node.take(rows)
ready = time.perf_counter() - began[0], time.process_time() - began[1]
print(json.dumps([*ready, hashlib.sha256(state).hexdigest(), node.action.blocks()]))
"""


def life(number: int, ts: int, sequence: int) -> tuple[list[AnyRecord], list[list[Entry]]]:
    """One order from intent to end: six rows of the journal, two frames of the exchange's log."""
    instrument = INSTRUMENTS[number % len(INSTRUMENTS)]
    side = Side.BUY if number // len(INSTRUMENTS) % 2 == 0 else Side.SELL
    order = order_of(number, instrument, side, ts)
    tape, name = number * 50, instrument.name
    intent = Target(
        strategy="rules",
        ts=ts,
        tape=tape,
        expiry=ts + 60 * SECOND,
        rationale="strength +0.05: trend +0.03 (0.25), order_flow +0.15 (0.50)",
        instrument=name,
        exposure=1_000.0,
    )
    price = order.price or 0
    value = instrument.value(price, order.size)
    fill = Fill(
        sequence=sequence + 2,
        fill_id=str(sequence + 2),
        client_id=order.client_id,
        instrument=name,
        side=side,
        price=price,
        size=order.size,
        fee=money.fee(value, 500),
        fee_asset=instrument.settle_asset,
        maker=False,
        ts=ts,
    )
    held = order.size if side is Side.BUY else 0
    approved = Approved(intent=intent, instrument=name, position=held)
    changed = [
        OrderChanged(ts=ts, client_id=order.client_id, state=state, venue_sequence=heard)
        for state, heard in ((OrderState.SENT, 0), (OrderState.NEW, sequence + 1))
    ]
    records: list[AnyRecord] = [
        IntentDecided(ts=ts, intent=intent),
        IntentApproved(ts=ts, approved=approved),
        OrderCreated(ts=ts, order=order),
        *changed,
        FillBooked(ts=ts, fill=fill, strategy="rules"),
    ]
    reports = [
        report_of(order, OrderState.NEW, 0, sequence + 1, ts),
        fill,
        report_of(order, OrderState.FILLED, order.size, sequence + 3, ts),
    ]
    asked = Requested(action="place", client_id=order.client_id, order=order, ts=ts, arrival=ts)
    return records, [[asked], [Reported(report=report, due=ts) for report in reports]]


def order_of(number: int, instrument: Instrument, side: Side, ts: int) -> Order:
    return Order(
        client_id=f"0badcafe-{number + 1}",
        instrument=instrument.name,
        side=side,
        type=OrderType.LIMIT,
        size=100 + number % 7,
        price=PRICES[instrument.base] + number % 1_000,
        time_in_force=TimeInForce.IOC,
        accept_until=ts + 2 * SECOND,
        strategy="rules",
    )


def report_of(order: Order, state: OrderState, filled: int, sequence: int, ts: int) -> OrderReport:
    return OrderReport(
        sequence=sequence,
        client_id=order.client_id,
        instrument=order.instrument,
        state=state,
        filled=filled,
        ts=ts,
    )


def past(begin: int) -> Iterator[tuple[list[AnyRecord], list[list[Entry]]]]:
    """The whole past, a thousand orders at a time, each batch closed by a digest."""
    number = 0
    while True:
        records: list[AnyRecord] = []
        frames: list[list[Entry]] = []
        for _ in range(1_000):
            ts = begin + number * 100 * MILLISECOND
            told, logged = life(number, ts, 3 * number)
            records += told
            frames += logged
            number += 1
        marks = {i.name: PRICES[i.base] / 100 for i in INSTRUMENTS}
        equity = CAPITAL / 10**8
        records.append(
            Digest(ts=ts, tape=number * 50, frames="", marks=marks, equity=equity, peak=equity)
        )
        yield records, frames


def write_past(folder: Path) -> str:
    """Journal and log of a long run; the hash of the state that the folds were left in."""
    shape = VenueShape(balances={"USD": CAPITAL})
    begin = SystemClock().now() - 20_000 * SECOND
    started = RunStarted(
        ts=begin,
        run="0badcafe",
        mode="paper",
        seed=0,
        settings="",
        numeraire="USD",
        instruments=INSTRUMENTS,
    )
    books = Books(configured({}))
    with (
        closing(SqliteJournal(folder / "journal.sqlite", Durability.PROCESS)) as journal,
        closing(Log(folder / "venue.log")) as log,
    ):
        recorder = Recorder(journal, books.folds)
        recorder.record(started, Deposited(ts=begin, asset="USD", amount=CAPITAL))
        log.append([Opened(shape=shape, instruments=INSTRUMENTS)])
        for records, frames in past(begin):
            recorder.record(*records)
            for frame in frames:
                log.append(frame)
            if journal.rows >= ROWS:
                break
    state = msgspec.msgpack.encode([fold.state() for fold in books.folds])
    return hashlib.sha256(state).hexdigest()


@pytest.mark.slow
def test_a_million_rows_are_taken_up_in_three_seconds(tmp_path: Path) -> None:
    """Counted is the process's own time once it is loaded, as other tests run beside it.

    The exchange's log has its own length: read by a process of its own it costs the node nothing.
    """
    folder = tmp_path / "simulated"
    folder.mkdir()
    before = write_past(folder)
    with closing(Log(folder / "venue.log")) as log:  # an exchange that lived through it keeps marks
        Engine(MarketShape().catalog(), VenueShape(balances={"USD": CAPITAL}), log)
    shutil.copytree(folder, tmp_path / "copy" / "simulated")
    with tempfile.TemporaryDirectory(prefix="seawall-") as place:
        url = f"unix:{place}/venue"
        listen = ["--listen", url, "--log", str(folder / "venue.log")]
        with subprocess.Popen(
            [sys.executable, "-m", "seawall.venues.simulated.server", *listen],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        ) as venue:
            assert venue.stdout is not None
            assert venue.stdout.readline()
            restart(tmp_path, url, before)  # now there is a tape, as a killed run has one
            beside = restart(tmp_path, url)
            venue.terminate()
    restart(tmp_path / "copy", "", before)
    inside = restart(tmp_path / "copy", "")
    print(f"\nrestart with {ROWS:,} rows: {beside}; with the exchange inside: {inside}")
    assert beside.busy <= LIMIT
    assert inside.busy <= LIMIT


class Took(NamedTuple):
    """Seconds by the clock, and of computing."""

    elapsed: float
    busy: float


def restart(data: Path, url: str, before: str = "") -> Took:
    """Start anew in a process of its own; ready is when it trades, in the state of before, where
    that is known."""
    answer = subprocess.run(
        [sys.executable, "-c", RESTART, str(data), url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    elapsed, busy, after, blocks = json.loads(answer.stdout.splitlines()[-1])
    assert after == before or not before
    assert blocks == []
    return Took(round(elapsed, 2), round(busy, 2))
