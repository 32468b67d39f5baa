"""The exchange as a process: real sockets, real kills, and a client that never sends twice."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest

from seawall.core.clock import MILLISECOND, TapeClock
from seawall.core.errors import (
    OrderRefusedError,
    SettingError,
    VenueError,
    VenueUnreachableError,
)
from seawall.core.events import Raw, Side
from seawall.core.orders import OrderState, Report
from seawall.venues.simulated import SimulatedVenue, server, wire
from seawall.venues.simulated.client import RemoteVenue
from tests.house import ROOT
from tests.venues.simulated.market import (
    BOOK,
    CATALOG,
    LINEAR,
    NAMES,
    SHAPE,
    depth,
    fold,
    order,
    tape,
    trade,
)
from tests.venues.simulated.test_invariants import POOR, market, wishes

FOREVER = 1 << 60
MODULE = "seawall.venues.simulated.server"


class Process:
    """A running exchange."""

    def __init__(self, log: Path, listen: str, *more: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", MODULE, "--listen", listen, "--log", str(log), *more],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.address = line.removeprefix("ready ").strip()
        if not line:
            assert self.process.stderr is not None
            self.words = self.process.stderr.read().strip()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        _, words = self.process.communicate(timeout=60)
        return self.process.returncode, words


@contextmanager
def running(log: Path, listen: str = "tcp:127.0.0.1:0") -> Iterator[Process]:
    exchange = Process(log, listen)
    try:
        yield exchange
    finally:
        exchange.stop(signal.SIGKILL)


def remote(address: str, clock: TapeClock, shape: object = SHAPE, **more: float) -> RemoteVenue:
    patience = {"timeout": 120.0, **more}  # a busy machine may compile kernels meanwhile
    return RemoteVenue(address, CATALOG, shape, clock, **patience)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One process for all tests that leave it in peace."""
    with running(tmp_path_factory.mktemp("venue") / "log") as process:
        yield process


def test_over_the_socket_all_is_as_in_the_process(tmp_path: Path) -> None:
    clock = TapeClock(1)
    rows, asked = market(11), wishes(5)
    listen = f"unix:{tmp_path / 'socket'}"
    with running(tmp_path / "log", listen) as process:
        assert process.address == listen
        far = remote(process.address, clock, POOR)
        near = SimulatedVenue(CATALOG, POOR, clock)
        last = 0
        for wish in asked:
            clock.wait(wish.ts)
            block = Raw(rows[(rows["recv_ts"] > last) & (rows["recv_ts"] <= wish.ts)])
            last = wish.ts
            for venue in (far, near):
                venue.observe(block, wish.ts)
                venue.gateway.place(wish.order)
                if wish.cancels:
                    venue.gateway.cancel(wish.order.instrument, wish.order.client_id)
                if wish.replaces:
                    again = msgspec.structs.replace(wish.order, client_id=f"{last}-again")
                    if not venue.account.orders([again.client_id]):
                        venue.gateway.replace(wish.order.client_id, again)
            assert far.stream.poll(last) == near.stream.poll(last)
        far.observe(Raw(rows[rows["recv_ts"] > last]), 500)
        near.observe(Raw(rows[rows["recv_ts"] > last]), 500)
        reports = far.poll(FOREVER)
        assert reports[-1].sequence > 50
        assert reports == near.poll(FOREVER)
        assert far.poll(FOREVER) == []
        for venue in (far, near):
            assert venue.account.fills(0)
        assert far.fills(3) == near.fills(3)
        assert (far.balances(), far.positions()) == (near.balances(), near.positions())
        names = [wish.order.client_id for wish in asked]
        assert far.orders(names) == near.orders(names)
        assert sorted(far.orders(), key=str) == sorted(near.orders(), key=str)
        with pytest.raises(OrderRefusedError, match="used before"):
            far.place(asked[0].order)
        far.close()
        assert process.stop() == (0, "")
    assert not (tmp_path / "socket").exists()


def test_much_goes_in_many_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(wire, "REPORTS_AT_ONCE", 2)
    exchange = server.Server("tcp:127.0.0.1:0", tmp_path / "log")
    stop, wake = socket.socketpair()
    thread = threading.Thread(target=exchange.serve, args=(stop,))
    thread.start()
    venue = remote(exchange.address, TapeClock(1))
    try:
        venue.observe(tape(*BOOK), 5)
        venue.place(order("many", Side.BUY, 12))
        venue.observe(tape(), 6)
        assert [fill.price for fill in venue.fills(0)] == [101, 102, 103]
        assert [report.sequence for report in venue.poll(6)] == list(range(1, 8))
    finally:
        venue.close()
        wake.close()
        thread.join(timeout=60)
        exchange.close()
        stop.close()


def test_rows_that_were_not_taken_in_are_told_with_the_next_answer(tmp_path: Path) -> None:
    """Rows are sent without waiting, so an exchange that cannot take them says so afterwards."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "venue"))
    listener.listen()
    heard: list[str] = []

    decoder = msgspec.msgpack.Decoder(wire.Numbered)

    def answer() -> None:
        for _ in range(2):
            framer = wire.Framer()
            with listener.accept()[0] as node:
                while data := node.recv(1 << 20):
                    for message in framer.feed(data):
                        node.sendall(wire.framed(msgspec.msgpack.encode(answered(message))))

    def answered(message: bytes) -> wire.Reply:
        asked = decoder.decode(message)
        kind = type(asked.request).__name__
        heard.append(kind)
        first = kind == "Observe" and heard.count(kind) == 1
        result = msgspec.Raw(b"\x80" if kind == "Positions" else b"\x90")  # {} or []
        return wire.Reply(asked.number, result, failed="the disk is full" if first else "")

    thread = threading.Thread(target=answer)
    thread.start()
    clock = TapeClock(10)
    venue = remote(f"unix:{tmp_path / 'venue'}", clock)
    venue.observe(tape(*BOOK), 10)
    with pytest.raises(VenueUnreachableError, match="the disk is full"):
        venue.poll(10)
    clock.wait(10**9)
    for _ in range(300):  # on the next connection; nobody asks, and the answers are heard
        venue.observe(tape(), 10**9)
    assert venue.poll(10**9) == []
    assert heard[:3] == ["Hello", "Observe", "Poll"]
    assert heard.count("Hello") == 2
    assert heard.count("Observe") == 301
    venue.close()
    thread.join(10)
    listener.close()


def test_a_newer_node_replaces_the_older_and_finds_void_books(exchange: Process) -> None:
    clock = TapeClock(10)
    old, new = remote(exchange.address, clock), remote(exchange.address, clock)
    old.balances()
    assert old.needs_snapshot  # from its first connection on
    old.observe(tape(*BOOK), 10)
    assert not old.needs_snapshot
    new.place(order("new", Side.BUY, 1))
    with pytest.raises(VenueUnreachableError):
        old.balances()
    new.observe(tape(depth(20, Side.SELL, 101, 5)), 30)
    assert new.orders(["new"])[0].reason == "the book is void: its data has not come or has stopped"
    old.balances()  # the older one comes back as the newer
    assert old.needs_snapshot
    old.observe(tape(*[(40, *each[1:]) for each in BOOK]), 41)
    assert not old.needs_snapshot
    old.place(order("old", Side.BUY, 1))
    old.observe(tape(), 50)
    assert old.orders(["old"])[0].state is OrderState.FILLED
    old.close()
    new.close()


def test_a_poll_that_went_with_the_time_is_answered_once_and_never_late(exchange: Process) -> None:
    """Where something else was asked in between, what is polled is asked for anew."""
    clock = TapeClock(100)
    venue = remote(exchange.address, clock)
    held = venue.positions()
    venue.observe(tape(*BOOK), 100)
    venue.place(order("early", Side.BUY, 1, 90))
    venue.observe(tape(), 10**9)
    first = venue.poll(10**9)
    assert [r.sequence for r in first] == list(range(1, len(first) + 1))
    assert venue.poll(10**9) == []
    venue.observe(tape(), 2 * 10**9)
    clock.wait(2 * 10**9)
    venue.cancel(NAMES[LINEAR], "early")
    venue.observe(tape(), 3 * 10**9)
    assert venue.positions() == held
    assert [r.sequence for r in venue.poll(3 * 10**9)] == [len(first) + 1]
    venue.close()


def test_reports_that_were_lost_on_the_way_come_again(exchange: Process) -> None:
    clock = TapeClock(100)
    venue = remote(exchange.address, clock)
    venue.observe(tape(*BOOK), 100)
    venue.place(order("again", Side.BUY, 1, 90))
    venue.observe(tape(), 101)
    first = venue.poll(FOREVER)
    assert [r.sequence for r in first] == list(range(1, len(first) + 1))
    other = remote(exchange.address, clock, after=first[-2].sequence)
    assert other.poll(FOREVER) == first[-1:]
    other.close()
    venue.close()


def test_nobody_there(tmp_path: Path) -> None:
    clock = TapeClock(1)
    venue = remote(f"unix:{tmp_path / 'nothing'}", clock)
    with pytest.raises(VenueUnreachableError, match="No such file"):
        venue.balances()
    for wait in (50, 100, 200, 400, 800, 1600, 2000, 2000):
        with pytest.raises(VenueUnreachableError, match="has to wait"):
            venue.balances()
        clock.wait(clock.now() + wait * MILLISECOND)
        with pytest.raises(VenueUnreachableError, match="No such file"):
            venue.balances()
    with pytest.raises(SettingError, match="write unix:"):
        remote("tcp:example.org:80", clock)


def test_a_late_answer_is_not_taken_for_the_next(tmp_path: Path) -> None:
    """A stand-in that answers the first request only after the second was asked."""
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            framer, late = wire.Framer(), []
            with connection:
                while data := connection.recv(1 << 16):
                    for message in framer.feed(data):
                        asked = msgspec.msgpack.decode(message, type=wire.Numbered)
                        body = msgspec.msgpack.encode({"USD": asked.number})
                        reply = wire.framed(
                            msgspec.msgpack.encode(wire.Reply(asked.number, msgspec.Raw(body)))
                        )
                        if isinstance(asked.request, wire.Positions):
                            late.append(reply)
                            continue
                        for each in (*late, reply):
                            connection.sendall(each[:7])
                            connection.sendall(each[7:])

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        venue = remote(f"unix:{path}", TapeClock(1), timeout=0.1)
        with pytest.raises(VenueUnreachableError, match=r"no answer in 0\.1 s"):
            venue.positions()
        assert venue.balances() == {"USD": 3}
        venue.close()
        thread.join(timeout=30)


@pytest.mark.parametrize(
    "words",
    [b"\xff\xff\xff\xffhello", wire.framed(b"\xc1\xc1"), wire.framed(b"\x93\x01\x02\x03")],
    ids=["too long", "no MessagePack", "no request"],
)
def test_nonsense_ends_the_connection_and_nothing_else(exchange: Process, words: bytes) -> None:
    _, host, port = exchange.address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(words)
        assert connection.recv(10) == b""
    venue = remote(exchange.address, TapeClock(1))
    assert "USD" in venue.balances()
    venue.close()


def test_before_hello_nothing_is_answered(exchange: Process) -> None:
    _, host, port = exchange.address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        asked = wire.Numbered(1, wire.Balances())
        connection.sendall(wire.framed(msgspec.msgpack.encode(asked)))
        (message,) = wire.Framer().feed(connection.recv(1 << 16))
        assert "hello first" in msgspec.msgpack.decode(message, type=wire.Reply).refused


def test_terms_that_cannot_be(exchange: Process) -> None:
    wrong = msgspec.structs.replace(SHAPE, bar_participation=2.0)
    venue = remote(exchange.address, TapeClock(1), wrong)
    with pytest.raises(VenueError, match="bar_participation is 2"):
        venue.balances()
    venue.close()


def test_one_line_where_it_cannot_run(exchange: Process, tmp_path: Path) -> None:
    taken = Process(tmp_path / "log", exchange.address)
    assert taken.stop()[0] == 6
    assert "choose another address" in taken.words
    (tmp_path / "bad").write_bytes(b"SWVENUE1 and then nonsense")
    bad = Process(tmp_path / "bad", "tcp:127.0.0.1:0")
    assert bad.stop()[0] == 5
    assert "damaged at byte 8" in bad.words
    assert len((taken.words + bad.words).splitlines()) == 1


class Node:
    """One who trades through kills, and remembers all that it was ever told."""

    def __init__(self, log: Path, seed: int) -> None:
        self.log = log
        self.dice = Random(seed)
        self.clock = TapeClock(1)
        self.accepted: list[str] = []
        self.told: dict[int, Report] = {}
        self.count = 0

    def trade_until_killed(self, process: Process) -> None:
        """Ends with the venue unreachable."""
        venue = remote(process.address, self.clock, POOR, after=max(self.told, default=0))
        end = self.log.stat().st_size + self.dice.randint(1, 20_000)
        over = threading.Event()
        killer = threading.Thread(target=self.kill_when, args=(process.process, end, over))
        killer.start()
        try:
            while True:
                self.act(venue)
        except VenueUnreachableError:
            pass
        finally:
            over.set()
            killer.join()
            venue.close()

    def kill_when(self, process: "subprocess.Popen[str]", size: int, over: threading.Event) -> None:
        while self.log.stat().st_size < size and not over.wait(0.0002):
            pass
        os.kill(process.pid, signal.SIGKILL)

    def act(self, venue: RemoteVenue) -> None:
        now = self.clock.now() + self.dice.randint(1, 9)
        self.clock.wait(now)
        rows = [(now, *each[1:]) for each in BOOK]
        price = self.dice.randint(97, 104)
        rows.append(trade(now, self.dice.choice([Side.BUY, Side.SELL]), price, 9))
        venue.observe(tape(*rows), now)
        for report in venue.poll(now):
            assert report.sequence not in self.told
            self.told[report.sequence] = report
        self.count += 1
        name = f"{self.count}"
        venue.place(
            order(
                name,
                self.dice.choice([Side.BUY, Side.SELL]),
                self.dice.randint(1, 9),
                self.dice.choice([None, price, price - 2, price + 2]),
            )
        )
        self.accepted.append(name)
        if self.dice.random() < 0.3:
            venue.cancel(NAMES[LINEAR], self.dice.choice(self.accepted))
        with pytest.raises(OrderRefusedError, match="used before"):
            venue.place(order(self.dice.choice(self.accepted), Side.BUY, 1))

    def settle(self, process: Process) -> None:
        """After the last restart everything ever told is still true."""
        venue = remote(process.address, self.clock, POOR)
        known = venue.orders(self.accepted)
        assert [report.client_id for report in known] == self.accepted
        venue.observe(tape(*[(self.clock.now(), *each[1:]) for each in BOOK]), FOREVER)
        assert all(r.state is not OrderState.SENT for r in venue.orders(self.accepted))
        reports = venue.poll(2 * FOREVER)
        assert [r.sequence for r in reports] == list(range(1, len(reports) + 1))
        for sequence, report in self.told.items():
            assert reports[sequence - 1] == report
        news = [r.client_id for r in reports if getattr(r, "state", None) is OrderState.NEW]
        assert len(set(news)) == len(news)
        fills = venue.fills(0)
        assert fills
        assert (venue.balances(), venue.positions()) == fold(POOR.balances, fills)
        venue.close()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_loses_nothing_that_was_said(tmp_path: Path, kills: int) -> None:
    log = tmp_path / "log"
    node = Node(log, seed=kills)
    for _ in range(kills):
        with running(log, f"unix:{tmp_path / 'socket'}") as process:
            node.trade_until_killed(process)
    assert len(node.accepted) > kills
    with running(log, f"unix:{tmp_path / 'socket'}") as process:
        node.settle(process)


def test_the_same_client_goes_on_after_a_restart(tmp_path: Path) -> None:
    clock = TapeClock(10)
    listen = f"unix:{tmp_path / 'socket'}"
    with running(tmp_path / "log", listen):
        venue = remote(listen, clock)
        venue.observe(tape(*BOOK), 10)
        venue.place(order("a", Side.BUY, 2, 100))
        venue.observe(tape(), 11)
        assert len(venue.poll(11)) == 1
    with pytest.raises(VenueUnreachableError):
        venue.observe(tape(), 12)
    with pytest.raises(VenueUnreachableError):
        venue.balances()
    with running(tmp_path / "log", listen):
        clock.wait(10**9)
        assert [r.client_id for r in venue.orders()] == ["a"]
        assert venue.needs_snapshot
        whole = [(10**9, *each[1:]) for each in BOOK]
        venue.observe(tape(*whole, trade(10**9, Side.SELL, 99, 1)), 10**9)
        assert not venue.needs_snapshot
        assert [r.sequence for r in venue.poll(10**9)] == [2, 3]
        venue.close()
