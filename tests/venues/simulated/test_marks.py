"""Checkpoints of the exchange's log: a start from one is a start from the whole log, but sooner."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import OrderRefusedError, StoreError
from seawall.core.events import Raw, Side
from seawall.core.orders import Fill, OrderReport, OrderState
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Entry, Log, Opened, Reported, Requested
from tests.house import ROOT
from tests.venues.simulated.market import CATALOG, LINEAR, NAMES, SHAPE, order, tape
from tests.venues.simulated.test_invariants import POOR, SEEDS, Wish, market, tell, wishes
from tests.venues.simulated.test_log import known, no_space_for
from tests.venues.simulated.test_server import Node, Process

FOREVER = 1 << 60
OPENING = """
import sys, time
from pathlib import Path
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Log
from tests.venues.simulated.market import CATALOG, SHAPE
began = time.process_time()
log = Log(Path(sys.argv[1]))
engine = Engine(CATALOG, SHAPE, log)
ready = time.process_time()
assert len(engine.reports(200_000, 1 << 60, 1_000)) == 1_000
page = time.process_time()
entries = sum(1 for _ in log.entries())
print(ready - began, entries, len(engine.reports(0, 1 << 60)), page - ready)
"""


def marks_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.marks")


def told(engine: Engine, names: list[str]) -> tuple[object, ...]:
    """All that an exchange tells, in every way of asking, and what it holds within."""
    last = len(engine.reports(0, FOREVER))
    return (
        *known(engine),
        [engine.reports(after, FOREVER) for after in range(last + 1)],
        [engine.reports(after, 150, 3) for after in range(last + 1)],
        [engine.fills(after) for after in range(last + 2)],
        [engine.movements(after, 2) for after in range(last + 2)],
        engine.orders(),
        [engine.orders([name]) for name in names],
        engine.accounts.positions,
    )


def stands(engine: Engine) -> tuple[object, ...]:
    """What a restart puts back."""
    timers = [
        (ts, what if isinstance(what, Requested) else what.order)
        for ts, _, what in sorted(engine.matching.timers, key=lambda timer: timer[:2])
    ]
    queues = [[(w.order, w.filled, w.slot, w.response) for w in q] for q in engine.desk._queues]
    waiting = [[(w.order, w.watched) for w in q] for q in engine.desk._waiting]
    return timers, queues, waiting, engine.now, engine.last_arrival, engine.in_flight


def live(engine: Engine, rows: Raw, asked: list[Wish], begin: int) -> None:
    last = begin
    for wish in asked:
        block = rows[(rows["recv_ts"] > last) & (rows["recv_ts"] <= wish.ts)]
        last = wish.ts
        engine.observe(Raw(block), wish.ts)
        tell(engine, wish)


@settings(max_examples=60, deadline=None)
@given(SEEDS, SEEDS, st.integers(0, 40), st.integers(0, 30))
def test_a_mark_is_as_good_as_the_whole_log(
    tmp_path_factory: pytest.TempPathFactory, seed: int, wish_seed: int, stop: int, every: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    rows, asked = market(seed), wishes(wish_seed)
    names = [wish.order.client_id for wish in asked]
    quiet = Engine(CATALOG, POOR)
    log = Log(folder / "a", mark_every=every)
    engine = Engine(CATALOG, POOR, log)
    for each in (engine, quiet):
        live(each, rows, asked[:stop], 0)
    assert told(engine, names) == told(quiet, names)
    log.close()
    begin = asked[:stop][-1].ts if asked[:stop] else 0
    for life in range(2):  # the second goes on from what the first made of it
        shutil.copy(folder / "a", folder / "b")
        marks_of(folder / "b").unlink(missing_ok=True)
        logs = Log(folder / "a", mark_every=every), Log(folder / "b")
        short, full = (Engine(CATALOG, POOR, each) for each in logs)
        assert told(short, names) == told(full, names)
        assert stands(short) == stands(full)
        for each in (short, full):
            for name in names:
                if each.orders([name]):
                    with pytest.raises(OrderRefusedError, match="used before"):
                        each.place(order(name, Side.BUY, 1, 100), begin)
            live(each, rows, [] if life else asked[stop:], begin)
            each.observe(Raw(rows[rows["recv_ts"] > begin]), 400)
        assert told(short, names) == told(full, names)
        for each_log in logs:
            each_log.close()
        begin = 400
        assert (folder / "a").read_bytes() == (folder / "b").read_bytes()


def lived(path: Path) -> list[str]:
    """A log with several marks."""
    rows, asked = market(7), wishes(11)
    log = Log(path, mark_every=8)
    engine = Engine(CATALOG, POOR, log)
    live(engine, rows, asked, 0)
    engine.observe(tape(), 500)
    log.close()
    return [wish.order.client_id for wish in asked]


def opened(path: Path, names: list[str]) -> tuple[tuple[object, ...], int]:
    """What is known after a start, and how many marks held."""
    log = Log(path, mark_every=8)
    held = len(log._marks.good)
    engine = Engine(CATALOG, POOR, log)
    answer = told(engine, names), stands(engine)
    log.close()
    return answer, held


def test_a_mark_that_is_torn_or_wrong_is_passed_over(tmp_path: Path) -> None:
    path, marks = tmp_path / "v", marks_of(tmp_path / "v")
    names = lived(path)
    log, whole = path.read_bytes(), marks.read_bytes()
    right, most = opened(path, names)
    assert most >= 3
    dice, seen = Random(3), set()
    for at in [0, *dice.sample(range(len(whole)), 60)]:
        changed = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        for data in (whole[:at], changed):
            path.write_bytes(log)
            marks.write_bytes(data)
            answer, held = opened(path, names)
            assert answer == right
            seen.add(held)
            again, now = opened(path, names)
            assert again == right
            assert now >= held
    assert seen >= set(range(most))


def test_marks_of_another_log_do_not_hold(tmp_path: Path) -> None:
    names = lived(tmp_path / "v")
    other = Log(tmp_path / "w")
    Engine(CATALOG, POOR, other).place(order("z", Side.BUY, 1, 100), 5)
    other.close()
    right, _ = opened(tmp_path / "w", names)
    shutil.copy(marks_of(tmp_path / "v"), marks_of(tmp_path / "w"))
    assert opened(tmp_path / "w", names) == (right, 0)
    whole = (tmp_path / "v").read_bytes()
    (tmp_path / "v").write_bytes(whole[: len(whole) // 2])  # an older copy: some marks are ahead
    _, held = opened(tmp_path / "v", names)
    assert 0 < held < 4


def test_damage_before_a_mark_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "v"
    lived(path)
    whole = path.read_bytes()
    for at in Random(1).sample(range(len(whole)), 60):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(StoreError, match=r"damaged|not a venue's log"):
            Log(path)


def test_a_mark_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    path = tmp_path / "v"
    marks_of(path).mkdir()
    names = lived(path)
    right, held = opened(path, names)
    assert held == 0
    marks_of(path).rmdir()
    assert opened(path, names) == (right, 0)
    assert opened(path, names) == (right, 1)
    log = Log(path, mark_every=8)
    with no_space_for(path), pytest.raises(StoreError, match="cannot be written"):
        Engine(CATALOG, POOR, log).place(order("new", Side.BUY, 1, 100), 600)
    log.close()
    assert opened(path, names)[0] == right


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_about_the_marks(tmp_path: Path, kills: int) -> None:
    log = tmp_path / "log"
    node = Node(log, seed=kills)
    listen = f"unix:{tmp_path / 'socket'}"
    for _ in range(kills):
        process = Process(log, listen, "--mark-every", "5")
        try:
            node.trade_until_killed(process)
        finally:
            process.stop()
    assert marks_of(log).stat().st_size > 0
    process = Process(log, listen, "--mark-every", "5")
    try:
        node.settle(process)
    finally:
        process.stop()


def long_past(path: Path, orders: int) -> None:
    """Three entries an order, and an exchange that was open on them once."""
    log = Log(path)
    log.append([Opened(shape=SHAPE, instruments=CATALOG.instruments)])
    for number in range(orders):
        ts = number + 1
        side = Side.BUY if number % 2 == 0 else Side.SELL
        placed = order(f"0badcafe-{number}", side, 3, 100)
        asked = Requested(
            action="place", client_id=placed.client_id, order=placed, ts=ts, arrival=ts
        )
        fill = Fill(
            sequence=2 * number + 1,
            fill_id=f"{2 * number + 1}",
            client_id=placed.client_id,
            instrument=NAMES[LINEAR],
            side=side,
            price=100,
            size=3,
            fee=1,
            fee_asset="USD",
            maker=False,
            ts=ts,
        )
        done = OrderReport(
            sequence=2 * number + 2,
            client_id=placed.client_id,
            instrument=NAMES[LINEAR],
            state=OrderState.FILLED,
            filled=3,
            ts=ts,
        )
        told_of: list[Entry] = [Reported(report=fill, due=ts), Reported(report=done, due=ts)]
        log.append([asked])
        log.append(told_of)
    log.close()


@pytest.mark.slow
def test_six_hundred_thousand_entries_open_in_time(tmp_path: Path) -> None:
    path = tmp_path / "v"
    long_past(path, 200_000)
    log = Log(path)
    Engine(CATALOG, SHAPE, log)  # marks it
    log.close()
    answer = subprocess.run(
        [sys.executable, "-c", OPENING, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    busy, entries, reports, last = map(float, answer.stdout.split())
    print(f"\n{entries:,.0f} entries: {busy:.2f} s of computing, {last * 1000:.1f} ms for one page")
    assert (entries, reports) == (600_001, 400_000)
    assert busy <= 1.5
