"""Protective orders that wait at the exchange, trigger there and close the position."""

from collections.abc import Iterator
from pathlib import Path

import ccxt
import pytest

from seawall.core.events import Side
from seawall.core.orders import Fill, Order, OrderState, OrderType, Trigger
from tests.exchange.practice import ASK, BID, BOB, client
from tests.venues.ccxt.trading import Trading, opened

AWAY = 20  # ticks that the market moves: two levels
LOTS = 10_000  # at each price: 0.1 BTC


@pytest.fixture(params=["linear", "spot"])
def trading(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trading]:
    yield from opened(tmp_path, request.param, LOTS)


def long(trading: Trading) -> Order:
    bought = trading.place(trading.order())
    trading.told(bought, OrderState.FILLED)
    trading.until(lambda: sum(f.size for f in trading.fills()) == 1_000, "its fills")
    return bought


def other(trading: Trading, side: str, size: float) -> None:
    """Somebody else trades at the market."""
    kind = ccxt.binance if trading.product == "spot" else ccxt.binanceusdm
    theirs = client(kind, trading.server.port, BOB)
    theirs.create_order(trading.instrument.symbol, "market", side, size)


@pytest.mark.parametrize(
    ("kind", "trigger", "side"),
    [
        (OrderType.STOP, BID - AWAY, "sell"),
        (OrderType.STOP_LIMIT, BID - AWAY, "sell"),
        (OrderType.TAKE_PROFIT, ASK + AWAY, "buy"),
        (OrderType.TAKE_PROFIT_LIMIT, ASK + AWAY, "buy"),
    ],
)
def test_it_triggers_and_closes_the_position(
    trading: Trading, kind: OrderType, trigger: int, side: str
) -> None:
    if trading.product == "spot" and side == "sell":
        other(trading, "buy", 0.3)  # so that there is something to sell
    long(trading)
    stop = trading.place(
        trading.order(
            side=Side.SELL,
            type=kind,
            price=BID - 1_000 if kind.priced else None,
            trigger=Trigger(price=trigger),
            reduce_only=True,
            accept_until=0,
        )
    )
    trading.told(stop, OrderState.NEW)
    assert [r.client_id for r in trading.venue.orders()] == [stop.client_id]
    other(trading, side, 0.25)
    trading.told(stop, OrderState.FILLED)
    trading.until(lambda: sum(f.size for f in trading.fills()) == 2_000, "its fills")
    sold = [f for f in trading.fills() if f.side is Side.SELL]
    assert {f.client_id for f in sold} == {stop.client_id}
    assert trading.venue.positions() == {}
    assert trading.venue.orders() == []
    (found,) = trading.venue.orders([stop.client_id])
    assert (found.state, found.filled) == (OrderState.FILLED, 1_000)
    if trading.product == "linear":
        assert all(f.realised is not None for f in sold)

    trading.venue.close()  # and a new life finds the same
    last = max(report.sequence for report in trading.heard)
    trading.venue = trading.opened(after=last)
    assert [m for m in trading.venue.fills(last) if isinstance(m, Fill)] == []
    assert trading.venue.orders([stop.client_id]) == [found]
