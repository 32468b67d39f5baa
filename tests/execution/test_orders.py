"""The orders' fold: every life that the states allow, and none that they do not."""

from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import InvariantError
from seawall.core.events import Side
from seawall.core.orders import TRANSITIONS, Fill, Order, OrderState, OrderType
from seawall.core.records import (
    Digest,
    FillBooked,
    Halted,
    OrderChanged,
    OrderCreated,
)
from seawall.execution.orders import KEPT, Orders
from seawall.storage import MemoryJournal, Recorder, recover

S = OrderState
ALLOWED = [(old, new) for old in OrderState for new in OrderState if new in TRANSITIONS[old]]
FORBIDDEN = [
    (old, new)
    for old in OrderState
    for new in OrderState
    if new not in TRANSITIONS[old] and not old.final
]


def order(
    client_id: str = "a-1", side: Side = Side.BUY, size: int = 10, instrument: str = "BTC@v"
) -> Order:
    return Order(
        client_id=client_id, instrument=instrument, side=side, type=OrderType.MARKET, size=size
    )


def created(client_id: str = "a-1", ts: int = 1, **about: object) -> OrderCreated:
    return OrderCreated(ts=ts, order=order(client_id, **about))


def changed(state: OrderState, client_id: str = "a-1", ts: int = 2, sequence: int = 0):
    return OrderChanged(ts=ts, client_id=client_id, state=state, venue_sequence=sequence)


def filled(size: int, sequence: int = 1, client_id: str = "a-1") -> FillBooked:
    return FillBooked(
        ts=3,
        strategy="rules",
        fill=Fill(
            sequence=sequence,
            fill_id=f"f{sequence}",
            client_id=client_id,
            instrument="BTC@v",
            side=Side.BUY,
            price=100,
            size=size,
            fee=1,
            fee_asset="USD",
            maker=False,
            ts=3,
        ),
    )


def path_to(state: OrderState) -> list[OrderState]:
    """The shortest life from INTENT to a state."""
    paths = {S.INTENT: []}
    for seen in range(len(OrderState)):
        for old, path in [p for p in paths.items() if len(p[1]) == seen]:
            for new in sorted(TRANSITIONS[old]):
                paths.setdefault(new, [*path, new])
    return paths[state]


def order_in(state: OrderState) -> Orders:
    orders = Orders()
    orders.apply(created())
    for step in path_to(state):
        orders.apply(changed(step))
    return orders


def test_every_state_can_be_reached():
    assert [path_to(state) for state in OrderState]


@pytest.mark.parametrize(("old", "new"), ALLOWED)
def test_an_order_goes_where_its_states_allow(old, new):
    orders = order_in(old)
    orders.apply(changed(new, ts=7))
    entry = orders.done[-1] if new.final else orders.open["a-1"]
    assert (entry.state, entry.changed) == (new, 7)
    assert ("a-1" in orders.open) is not new.final
    assert orders.finished == ({new: 1} if new.final else {})


@pytest.mark.parametrize(("old", "new"), FORBIDDEN)
def test_an_order_goes_nowhere_else(old, new):
    orders = order_in(old)
    before = orders.state()
    with pytest.raises(InvariantError, match=f"cannot go from {old} to {new}"):
        orders.apply(changed(new))
    assert orders.state() == before


@pytest.mark.parametrize("final", [state for state in OrderState if state.final])
def test_after_its_end_an_order_hears_nothing(final):
    orders = order_in(final)
    for record in (changed(S.NEW), changed(S.CANCELED), filled(1)):
        with pytest.raises(InvariantError, match="not open"):
            orders.apply(record)


def test_an_order_is_created_once():
    orders = order_in(S.NEW)
    with pytest.raises(InvariantError, match="created twice"):
        orders.apply(created())
    assert orders.created == 1


@pytest.mark.parametrize("record", [changed(S.SENT), filled(1)])
def test_an_order_that_is_not_ours_stops_the_books(record):
    with pytest.raises(InvariantError, match="not open in our books"):
        Orders().apply(record)


def test_fills_add_up_to_the_end_of_an_order():
    orders = order_in(S.NEW)
    orders.apply(filled(4, 1))
    assert orders.open["a-1"].state is S.PARTIALLY_FILLED
    assert orders.open["a-1"].remaining == 6
    orders.apply(filled(6, 2))
    assert orders.open == {}
    assert orders.done[-1].state is S.FILLED
    assert [fill.size for fill in orders.fills] == [4, 6]


@pytest.mark.parametrize(("first", "then"), [(0, 11), (4, 7), (9, 2)])
def test_no_order_is_filled_beyond_its_size(first, then):
    orders = order_in(S.NEW)
    if first:
        orders.apply(filled(first, 1))
    with pytest.raises(InvariantError, match="beyond its size"):
        orders.apply(filled(then, 2))
    assert sum(fill.size for fill in orders.fills) == orders.open["a-1"].filled == first


@pytest.mark.parametrize("state", [S.SENT, S.UNKNOWN, S.NEW, S.PARTIALLY_FILLED])
def test_a_fill_proves_that_an_order_works(state):
    orders = order_in(state)
    orders.apply(filled(1))
    assert orders.open["a-1"].state is S.PARTIALLY_FILLED


@pytest.mark.parametrize("state", [S.PENDING_CANCEL, S.PENDING_REPLACE])
def test_a_fill_does_not_answer_a_cancel(state):
    orders = order_in(state)
    orders.apply(filled(1, 1))
    assert (orders.open["a-1"].state, orders.open["a-1"].filled) == (state, 1)
    orders.apply(filled(9, 2))
    assert orders.done[-1].state is S.FILLED


@pytest.mark.parametrize("size", [1, 10])
def test_an_order_that_never_left_cannot_be_filled(size):
    orders = order_in(S.INTENT)
    with pytest.raises(InvariantError, match="cannot go from INTENT"):
        orders.apply(filled(size))
    assert orders.open["a-1"].filled == 0


def test_what_open_orders_can_still_do_is_told_by_side_and_instrument():
    orders = Orders()
    orders.apply(created("a-1", side=Side.BUY, size=10))
    orders.apply(created("a-2", side=Side.SELL, size=4))
    orders.apply(created("a-3", side=Side.BUY, size=7, instrument="ETH@v"))
    orders.apply(changed(S.SENT, "a-1"))
    orders.apply(filled(3))
    assert orders.worst("BTC@v") == (7, 4)
    assert orders.worst("ETH@v") == (7, 0)
    assert orders.worst("XRP@v") == (0, 0)
    assert [entry.order.client_id for entry in orders.of("BTC@v")] == ["a-1", "a-2"]


def test_the_venues_last_word_is_remembered():
    orders = order_in(S.SENT)
    orders.apply(changed(S.NEW, sequence=4))
    orders.apply(filled(1, sequence=6))
    orders.apply(changed(S.CANCELED, sequence=5))
    assert orders.sequence == 6


def test_what_has_ended_is_kept_within_bounds():
    orders = Orders()
    for number in range(1, KEPT + 51):
        client_id = f"a-{number}"
        for record in (
            created(client_id, size=1),
            changed(S.SENT, client_id),
            filled(1, number, client_id),
        ):
            orders.apply(record)
    assert (len(orders.done), len(orders.fills)) == (KEPT, KEPT)
    assert orders.done[-1].order.client_id == f"a-{KEPT + 50}"
    assert orders.fills[0].fill_id == "f51"
    assert orders.finished == {S.FILLED: KEPT + 50}
    assert orders.created == KEPT + 50
    restored = Orders()
    restored.restore(orders.state())
    for number in (KEPT + 51, KEPT + 52):
        restored.apply(created(f"a-{number}"))
        restored.apply(changed(S.CANCELED, f"a-{number}"))
    assert len(restored.done) == KEPT


def test_other_records_do_not_concern_it():
    orders = order_in(S.NEW)
    before = orders.state()
    orders.apply(Halted(ts=9, reason="x"))
    orders.apply(Digest(ts=9, tape=1, frames="", marks={}, equity=1.0, peak=1.0))
    assert orders.state() == before


@given(st.data())
def test_any_life_survives_a_snapshot_and_a_replay(data):
    journal, orders, numbers = MemoryJournal(), Orders(), count(1)
    recorder = Recorder(journal, [orders], every=7)
    for _ in range(data.draw(st.integers(0, 40))):
        if not orders.open or data.draw(st.integers(0, 3)) == 0:
            recorder.record(created(f"a-{orders.created + 1}", size=data.draw(st.integers(1, 9))))
            continue
        name = data.draw(st.sampled_from(sorted(orders.open)))
        entry = orders.open[name]
        left = entry.remaining
        if entry.state is not S.INTENT and data.draw(st.booleans()):
            size = data.draw(st.integers(1, left))
            recorder.record(filled(size, next(numbers), name))
        else:
            state = data.draw(st.sampled_from(sorted(TRANSITIONS[entry.state])))
            recorder.record(changed(state, name))
    wire = msgspec.msgpack.decode(msgspec.msgpack.encode(orders.state()))
    restored, replayed = Orders(), Orders()
    restored.restore(wire)
    recover(journal, [replayed])
    assert restored.state() == replayed.state() == orders.state()
    assert restored.open == orders.open
    assert sum(orders.finished.values()) + len(orders.open) == orders.created


def test_a_restored_fold_shares_nothing_with_the_one_it_came_from():
    orders = order_in(S.NEW)
    restored = Orders()
    restored.restore(orders.state())
    restored.apply(filled(3))
    assert orders.open["a-1"].filled == 0
