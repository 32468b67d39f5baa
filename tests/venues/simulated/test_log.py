"""The exchange's log: a restart knows everything, a torn tail is cut off, damage is an error."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import TapeClock
from seawall.core.errors import OrderRefusedError, StoreError
from seawall.core.events import Raw, Side
from seawall.core.instruments import Catalog
from seawall.core.orders import OrderState, TimeInForce
from seawall.venues.simulated import SimulatedVenue
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import MAGIC, Log, Opened, Requested
from tests.venues.simulated.market import (
    BOOK,
    CATALOG,
    LINEAR,
    MS,
    NAMES,
    SHAPE,
    depth,
    order,
    tape,
    trade,
)
from tests.venues.simulated.test_invariants import POOR, SEEDS, market, tell, wishes

SLOW = msgspec.structs.replace(SHAPE, entry_latency_ns=5 * MS, response_latency_ns=3 * MS)
FOREVER = 1 << 60


def known(engine: Engine) -> tuple[object, ...]:
    """All that an exchange tells about itself."""
    return (
        engine.reports(0, FOREVER),
        [len(engine.reports(0, ts)) for ts in range(0, 300, 7)],
        engine.fills(0),
        sorted(engine.orders(), key=lambda report: report.client_id),
        engine.balances(),
        engine.positions(),
    )


@settings(max_examples=60, deadline=None)
@given(SEEDS, SEEDS, st.integers(0, 40))
def test_a_restart_at_any_point_knows_what_was_said(
    tmp_path_factory: pytest.TempPathFactory, tape_seed: int, wish_seed: int, stop: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "venue.log"
    rows, asked = market(tape_seed), wishes(wish_seed)
    log = Log(path)
    engine, quiet = Engine(CATALOG, POOR, log), Engine(CATALOG, POOR)
    last = 0
    for wish in asked[:stop]:
        block = rows[(rows["recv_ts"] > last) & (rows["recv_ts"] <= wish.ts)]
        last = wish.ts
        for each in (engine, quiet):
            each.observe(Raw(block), wish.ts)
            tell(each, wish)
    assert known(engine) == known(quiet)  # to be logged changes nothing
    log.close()
    log = Log(path)
    again = Engine(CATALOG, POOR, log)
    assert known(again) == known(engine)
    for wish in asked[:stop]:
        if engine.orders([wish.order.client_id]):
            with pytest.raises(OrderRefusedError, match="used before"):
                again.place(wish.order, last)
    again.observe(tape(), 1000)
    assert [r.sequence for r in again.reports(0, FOREVER)] == list(
        range(1, len(again.reports(0, FOREVER)) + 1)
    )
    assert all(r.state is not OrderState.SENT for r in again.orders())
    after = known(again)
    log.close()
    log = Log(path)
    assert known(Engine(CATALOG, POOR, log)) == after
    log.close()


def venue(path: Path, clock: TapeClock, after: int = 0) -> SimulatedVenue:
    return SimulatedVenue(CATALOG, SLOW, clock, path, after)


def test_resting_orders_go_on_with_the_next_book(tmp_path: Path) -> None:
    clock = TapeClock(10)
    first = venue(tmp_path / "v", clock)
    first.observe(tape(*BOOK), 10)
    first.place(order("a", Side.BUY, 2, 100))
    first.place(order("b", Side.SELL, 2, 110, time_in_force=TimeInForce.GTD, expires=10**9))
    clock.wait(20 * MS)
    first.observe(tape(), clock.now())
    assert [r.sequence for r in first.poll(clock.now())] == [1, 2]
    assert first.poll(clock.now()) == []
    first.place(order("c", Side.BUY, 1))
    first.close()

    second = venue(tmp_path / "v", clock, after=1)
    assert [r.client_id for r in second.stream.poll(clock.now())] == ["b"]
    assert {r.client_id: r.state.value for r in second.account.orders()} == {
        "a": "NEW",
        "b": "NEW",
        "c": "SENT",
    }
    clock.wait(30 * MS)
    late = [depth(21 * MS, Side.SELL, 90, 9), trade(22 * MS, Side.SELL, 90, 9)]
    second.observe(tape(*late), clock.now())
    (c,) = second.orders(["c"])
    assert (c.state, c.reason[:16]) == (OrderState.REJECTED, "the book is void")
    assert second.fills(0) == []  # nothing is believed before a whole book
    whole = [(31 * MS, *each[1:]) for each in BOOK]
    second.observe(tape(*whole, trade(32 * MS, Side.SELL, 100, 6)), 32 * MS)
    assert [(f.client_id, f.size) for f in second.fills(0)] == [("a", 1)]
    second.observe(tape(), 2 * 10**9)
    assert second.orders(["b"])[0].state is OrderState.EXPIRED
    assert second.positions() == {NAMES[LINEAR]: 1}
    second.close()


def test_what_was_filled_before_is_not_filled_again(tmp_path: Path) -> None:
    clock = TapeClock(10)
    first = venue(tmp_path / "v", clock)
    first.observe(tape(*BOOK), 10)
    first.place(order("a", Side.BUY, 9, 100))
    first.observe(tape(trade(20 * MS, Side.SELL, 100, 7)), 20 * MS)
    first.close()
    second = venue(tmp_path / "v", clock)
    whole = [(31 * MS, *each[1:]) for each in BOOK]
    second.observe(tape(*whole, trade(32 * MS, Side.SELL, 90, 50)), 32 * MS)
    assert [fill.size for fill in second.fills(0)] == [2, 7]
    assert second.orders(["a"])[0].state is OrderState.FILLED
    second.close()


def test_a_wish_to_cancel_survives(tmp_path: Path) -> None:
    clock = TapeClock(10)
    first = venue(tmp_path / "v", clock)
    first.observe(tape(*BOOK), 10)
    first.gateway.place(order("a", Side.BUY, 2, 100))
    first.replace("a", order("b", Side.BUY, 2, 99))
    first.cancel(NAMES[LINEAR], "b")
    first.close()
    second = venue(tmp_path / "v", clock)
    second.observe(tape(*BOOK), 20 * MS)
    assert [r.state.value for r in second.orders(["a", "b"])] == ["CANCELED", "CANCELED"]
    second.close()


def written(path: Path) -> bytes:
    log = Log(path)
    Engine(CATALOG, SHAPE, log).place(order("a", Side.BUY, 1, 100), 5)
    log.append([Requested(action="cancel", client_id="a", ts=6, arrival=6)])
    log.close()
    return path.read_bytes()


def test_every_torn_tail_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "v"
    whole = written(path)
    seen = set()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        log = Log(path)
        entries = list(log.entries())
        seen.add(len(entries))
        log.append([Requested(action="cancel", client_id="z", ts=1, arrival=1)])
        log.close()
        again = Log(path)
        assert list(again.entries())[:-1] == entries
        again.close()
    assert seen == {0, 1, 2}
    path.write_bytes(whole + bytes(100))  # what a power cut may leave
    log = Log(path)
    assert len(list(log.entries())) == 3
    log.close()


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "v"
    whole = written(path)
    for at in Random(1).sample(range(len(whole)), 150):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(StoreError, match=r"damaged|not a venue's log"):
            Log(path)


def test_a_frame_of_another_log_does_not_fit(tmp_path: Path) -> None:
    whole = written(tmp_path / "v")
    first = len(MAGIC) + 12 + int.from_bytes(whole[8:12], "little")
    (tmp_path / "w").write_bytes(whole[: len(MAGIC)] + whole[first:])
    with pytest.raises(StoreError, match="damaged at byte 8"):
        Log(tmp_path / "w")


def test_only_one_exchange_at_a_time(tmp_path: Path) -> None:
    log = Log(tmp_path / "v", sync=True)
    with pytest.raises(StoreError, match="another exchange is using it"):
        Log(tmp_path / "v")
    log.append([])
    log.close()
    with pytest.raises(StoreError, match="choose a writable place"):
        Log(tmp_path)


@contextmanager
def no_space_for(path: Path) -> Iterator[None]:
    """No file may grow beyond this one by more than ten bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_written_is_not_accepted(tmp_path: Path) -> None:
    path = tmp_path / "v"
    log = Log(path)
    engine = Engine(CATALOG, SHAPE, log)
    engine.observe(tape(*BOOK), 5)
    before = path.read_bytes()
    with no_space_for(path), pytest.raises(StoreError, match="cannot be written"):
        engine.place(order("a", Side.BUY, 1, 100), 5)
    assert engine.orders(["a"]) == []
    assert path.read_bytes() == before
    with pytest.raises(StoreError, match="an earlier write failed"):
        engine.place(order("b", Side.BUY, 1, 100), 5)
    log.close()


def test_an_exchange_that_could_not_write_says_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "v"
    log = Log(path)
    engine = Engine(CATALOG, SHAPE, log)
    engine.observe(tape(*BOOK), 5)
    engine.place(order("a", Side.BUY, 1, 100), 5)
    with no_space_for(path), pytest.raises(StoreError, match="cannot be written"):
        engine.observe(tape(), 9)
    for tells in (engine.orders, engine.balances, engine.positions):
        with pytest.raises(StoreError, match="start it again"):
            tells()
    with pytest.raises(StoreError, match="start it again"):
        engine.reports(0, 99)
    with pytest.raises(StoreError, match="start it again"):
        engine.fills(0)
    with pytest.raises(StoreError, match="start it again"):
        engine.observe(tape(), 10)
    with pytest.raises(OrderRefusedError, match="start it again"):
        engine.place(order("b", Side.BUY, 1, 100), 10)
    with pytest.raises(OrderRefusedError, match="start it again"):
        engine.cancel(NAMES[LINEAR], "a", 10)
    log.close()
    log = Log(path)
    (a,) = Engine(CATALOG, SHAPE, log).orders()
    assert a.state is OrderState.SENT
    log.close()


def test_other_terms_are_noted_and_deposit_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path / "v")
    Engine(CATALOG, SHAPE, log)
    log.close()
    richer = msgspec.structs.replace(SHAPE, balances={"USD": 1}, taker_fee_ppm=0)
    for _ in range(2):
        log = Log(tmp_path / "v")
        assert Engine(CATALOG, richer, log).balances() == SHAPE.balances
        assert [type(entry) for entry in log.entries()] == [Opened, Opened]
        log.close()


def test_what_is_open_must_still_be_traded(tmp_path: Path) -> None:
    log = Log(tmp_path / "v")
    Engine(CATALOG, SHAPE, log).place(order("a", Side.BUY, 1, 100), 5)
    log.close()
    finer = msgspec.structs.replace(CATALOG.instruments[LINEAR], tick="0.5")
    other = (CATALOG.instruments[0], finer, CATALOG.instruments[2])
    log = Log(tmp_path / "v")
    with pytest.raises(StoreError, match="BTC-PERP@x, which the market data lacks"):
        Engine(Catalog(other, CATALOG.sources, CATALOG.books), SHAPE, log)
    with pytest.raises(StoreError, match="lacks"):
        Engine(Catalog(other[:1], CATALOG.sources, ((0, 0),)), SHAPE, log)
    log.close()
