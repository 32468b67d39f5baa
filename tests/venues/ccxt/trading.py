"""An opened account at a practice exchange, and what was heard of it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seawall.core.clock import SECOND, SystemClock
from seawall.core.errors import VenueUnreachableError
from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.orders import Fill, Order, OrderReport, OrderState, OrderType, Report
from seawall.exchange.faults import fault_of
from seawall.storage.secrets import EnvironmentSecrets
from seawall.venues.ccxt.client import Account
from seawall.venues.ccxt.venue import CcxtVenue
from tests.exchange.practice import ALICE, BID, Practice, book, practice, tape_of

PATIENCE = 120.0  # seconds; kernels may have to be compiled first
SPOT = Instrument(
    venue="binance", symbol="BTC/USDT", kind=Kind.SPOT, base="BTC", quote="USDT",
    tick="0.01", lot="0.00001",
)  # fmt: skip
LINEAR = Instrument(
    venue="binance", symbol="BTC/USDT:USDT", kind=Kind.LINEAR, base="BTC", quote="USDT",
    settle="USDT", tick="0.01", lot="0.00001",
)  # fmt: skip
OF = {"spot": SPOT, "linear": LINEAR}
SECRETS = {
    "SEAWALL_SECRET_BINANCE_API_KEY": ALICE.key,
    "SEAWALL_SECRET_BINANCE_API_SECRET": ALICE.secret,
}


class Trading:
    """An opened account and what was heard of it."""

    def __init__(self, server: Practice, folder: Path, product: str) -> None:
        self.server, self.folder, self.product = server, folder, product
        self.instrument = OF[product]
        self.clock = SystemClock()
        self.heard: list[Report] = []
        self.lost: list[str] = []
        self.count = 0
        self.venue = self.opened()

    def opened(self, after: int = 0) -> CcxtVenue:
        account = Account(
            exchange="binance",
            product=self.product,
            keys="binance",
            url=f"http://127.0.0.1:{self.server.port}",
        )
        secrets = EnvironmentSecrets(SECRETS)
        log = self.folder / "venue.log"
        return CcxtVenue(account, secrets, [self.instrument], self.clock, log, after)

    def fault(self, text: str) -> None:
        self.server.do(lambda: self.server.server.inject(fault_of(text)))

    def order(self, **changed: Any) -> Order:
        self.count += 1
        given: dict[str, Any] = {
            "client_id": f"1a2b3c4d-{self.count}",
            "instrument": self.instrument.name,
            "side": Side.BUY,
            "type": OrderType.MARKET,
            "size": 1_000,
            "accept_until": self.clock.now() + 2 * SECOND,
        }
        return Order(**{**given, **changed})

    def resting(self) -> Order:
        return self.order(type=OrderType.LIMIT, price=BID - 1_000_00)

    def place(self, order: Order) -> Order:
        self.venue.place(order)
        return order

    def listen(self) -> None:
        try:
            self.heard += self.venue.poll(self.clock.now())
        except VenueUnreachableError as error:
            said = str(error)
            if "no answer for" not in said:  # a slow machine: it is said at each look
                self.lost.append(said)

    def until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what}: {self.heard[-5:]} {self.lost[-5:]}"
            self.listen()
            time.sleep(0.01)

    def states(self, order: Order) -> list[OrderState]:
        return [
            r.state
            for r in self.heard
            if isinstance(r, OrderReport) and r.client_id == order.client_id
        ]

    def fills(self) -> list[Fill]:
        return [r for r in self.heard if isinstance(r, Fill)]

    def told(self, order: Order, state: OrderState) -> None:
        self.until(lambda: state in self.states(order), f"{state} of {order.client_id}")


def opened(folder: Path, product: str, lots: int = 100_000) -> Iterator[Trading]:
    """An account and its exchange, whose books show so many lots at each price."""
    tape = tape_of(folder / "tape", *book(0, lots=lots), *book(100_000, lots=lots))
    with practice(folder / "exchange", tape) as server:
        made = Trading(server, folder, product)
        try:
            yield made
        finally:
            made.venue.close()
