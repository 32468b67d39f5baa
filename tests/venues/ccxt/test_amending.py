"""One order in the place of another, at a practice exchange: in one request where it has that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seawall.core.clock import SECOND
from seawall.core.orders import Order, OrderReport, OrderState, OrderType
from tests.exchange.practice import ASK, BID
from tests.venues.ccxt.trading import Trading, opened


@pytest.fixture
def spot(tmp_path: Path) -> Iterator[Trading]:
    yield from opened(tmp_path, "spot")


@pytest.fixture
def asked(spot: Trading, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ccxt is asked for orders."""
    names: list[str] = []
    ask = spot.venue.desk.ask

    async def recorded(purpose: str, name: str, *arguments: Any) -> Any:
        if name in ("create_order", "edit_order", "cancel_order"):
            names.append(name)
        return await ask(purpose, name, *arguments)

    monkeypatch.setattr(spot.venue.desk, "ask", recorded)
    return names


def rested(spot: Trading) -> Order:
    order = spot.place(spot.resting())
    spot.told(order, OrderState.NEW)
    return order


def test_one_request_cancels_the_one_and_places_the_other(spot: Trading, asked: list[str]) -> None:
    old, new = rested(spot), spot.order(type=OrderType.LIMIT, price=BID - 2_000_00, post_only=True)
    spot.venue.replace(old.client_id, new)
    spot.told(old, OrderState.CANCELED)
    spot.told(new, OrderState.NEW)
    assert asked == ["create_order", "edit_order"]
    assert [r.client_id for r in spot.venue.orders()] == [new.client_id]
    sequences = [report.sequence for report in spot.heard]
    assert sequences == list(range(1, len(sequences) + 1))


def test_what_it_filled_unknown_to_us_comes_off_the_new_one(
    spot: Trading, asked: list[str]
) -> None:
    old = spot.place(spot.order(type=OrderType.LIMIT, price=ASK, size=100_400))
    spot.told(old, OrderState.PARTIALLY_FILLED)
    told = spot.venue.desk.told[old.client_id]
    told.state, told.filled = OrderState.NEW, 0  # as if its fill had not been heard of yet
    new = spot.order(type=OrderType.LIMIT, price=BID - 1_000_00, size=100_400)
    spot.venue.replace(old.client_id, new)
    spot.told(old, OrderState.CANCELED)
    spot.told(new, OrderState.NEW)
    assert asked == ["create_order", "edit_order", "cancel_order", "create_order"]
    (record,) = spot.server.do(lambda: spot.server.exchange.accounts["alice"].spot.open_of(None))
    assert (record.wish.client, record.left) == (new.client_id, 400)


def test_where_the_new_one_is_refused_the_old_one_has_ended(spot: Trading) -> None:
    old, new = rested(spot), spot.order(type=OrderType.LIMIT, price=BID - 2_000_00, size=10**8)
    spot.venue.replace(old.client_id, new)
    spot.told(old, OrderState.CANCELED)
    spot.told(new, OrderState.REJECTED)
    assert spot.venue.orders() == []
    reasons = [
        r.reason for r in spot.heard if isinstance(r, OrderReport) and r.client_id == new.client_id
    ]
    assert "insufficient balance" in reasons[-1]
    assert "\n" not in reasons[-1]


@pytest.mark.parametrize("how", ["ack_lost", "request_lost"])
def test_without_an_answer_both_are_asked_for(spot: Trading, how: str) -> None:
    old = rested(spot)
    spot.fault(f"{how} path=/api/v3/order/cancelReplace count=1")
    new = spot.resting()
    spot.venue.replace(old.client_id, new)
    spot.until(lambda: spot.states(new) or spot.states(old)[1:], "any word of them")
    spot.until(lambda: spot.clock.now() > new.accept_until + SECOND, "its time to be over")
    found = {r.client_id: r.state for r in spot.venue.orders([old.client_id, new.client_id])}
    done = {old.client_id: OrderState.CANCELED, new.client_id: OrderState.NEW}
    assert found == (done if how == "ack_lost" else {old.client_id: OrderState.NEW})
