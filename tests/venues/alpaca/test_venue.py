"""An account at Alpaca, by the real alpaca-py over real HTTP and WebSockets, at a local broker."""

import logging
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from seawall.core.clock import SECOND, SystemClock
from seawall.core.errors import (
    OrderRefusedError,
    SettingError,
    VenueError,
    VenueUnreachableError,
)
from seawall.core.events import EventKind, Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.orders import (
    Fill,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Report,
    TimeInForce,
    Trigger,
)
from seawall.core.settings import Settings
from seawall.node.live import accounts_of, feed_of, instruments_of
from seawall.storage.secrets import EnvironmentSecrets
from seawall.venues.ccxt import terms
from seawall.venues.ccxt.client import Account, Credentials, client_of
from seawall.venues.ccxt.preflight import Expected
from seawall.venues.ccxt.venue import CcxtVenue
from tests.venues.alpaca.broker import KEY, SECRET, Broker, broker

pytest.importorskip("alpaca.trading.requests", reason="alpaca-py is not installed")

PATIENCE = 60.0
BTC = Instrument(
    venue="alpaca", symbol="BTC/USD", kind=Kind.SPOT, base="BTC", quote="USD",
    tick="0.01", lot="0.0001", settle_decimals=9, base_decimals=9,
)  # fmt: skip
SECRETS = {"SEAWALL_SECRET_ALPACA_API_KEY": KEY, "SEAWALL_SECRET_ALPACA_API_SECRET": SECRET}
EXPECTED = Expected(leverage=1.0, largest=20_000.0, maker_ppm=2_500, taker_ppm=2_500)


def account(port: int, **more: Any) -> Account:
    given = {"exchange": "alpaca", "product": "spot", "keys": "alpaca"}
    return Account(**{**given, "url": f"http://127.0.0.1:{port}", **more})


class Trading:
    """An opened account and what was heard of it."""

    def __init__(self, server: Broker, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.clock = SystemClock()
        self.heard: list[Report] = []
        self.lost: list[str] = []
        self.count = 0
        self.venue = self.opened()

    def opened(self, after: int = 0) -> CcxtVenue:
        where = account(self.server.port)
        log = self.folder / "venue.log"
        made = CcxtVenue(where, EnvironmentSecrets(SECRETS), [BTC], self.clock, log, after)
        made.fills(0)  # what the account held is known from here on
        return made

    def order(self, **changed: Any) -> Order:
        self.count += 1
        given: dict[str, Any] = {
            "client_id": f"1a2b3c4d-{self.count}",
            "instrument": BTC.name,
            "side": Side.BUY,
            "type": OrderType.MARKET,
            "size": 100,
            "accept_until": self.clock.now() + 2 * SECOND,
        }
        return Order(**{**given, **changed})

    def resting(self, **changed: Any) -> Order:
        return self.order(type=OrderType.LIMIT, price=50_000_00, **changed)

    def place(self, order: Order) -> Order:
        self.venue.place(order)
        return order

    def listen(self) -> None:
        try:
            self.heard += self.venue.poll(self.clock.now())
        except VenueUnreachableError as error:
            self.lost.append(str(error))

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

    def reasons(self, order: Order) -> list[str]:
        return [
            r.reason
            for r in self.heard
            if isinstance(r, OrderReport) and r.client_id == order.client_id and r.reason
        ]

    def fills(self) -> list[Fill]:
        return [r for r in self.heard if isinstance(r, Fill)]

    def told(self, order: Order, state: OrderState) -> None:
        self.until(lambda: state in self.states(order), f"{state} of {order.client_id}")

    def posts(self) -> list[Any]:
        return [body for method, _, body in self.server.requests if method == "POST"]

    def holds(self) -> dict[str, int]:
        held = {"USD": int(self.server.cash * 10**9), "BTC": int(self.server.coins * 10**9)}
        return {asset: units for asset, units in held.items() if units}


@pytest.fixture
def trading(tmp_path: Path) -> Iterator[Trading]:
    with broker() as server:
        made = Trading(server, tmp_path)
        try:
            yield made
        finally:
            made.venue.close()


def test_orders_go_out_and_answers_come_in(trading: Trading) -> None:
    bought = trading.place(trading.order())
    trading.told(bought, OrderState.FILLED)
    trading.until(trading.fills, "its fill")
    (fill,) = trading.fills()
    assert (fill.client_id, fill.side, fill.price, fill.size) == (
        bought.client_id,
        Side.BUY,
        60_000_00,
        100,
    )
    sent = trading.posts()[0]
    assert sent == {
        "symbol": "BTC/USD",
        "qty": 0.01,
        "side": "buy",
        "type": "market",
        "time_in_force": "gtc",
        "client_order_id": bought.client_id,
    }

    rests = trading.place(trading.resting())
    trading.told(rests, OrderState.NEW)
    assert [r.client_id for r in trading.venue.orders()] == [rests.client_id]
    trading.venue.cancel(BTC.name, rests.client_id)
    trading.told(rests, OrderState.CANCELED)
    again, other = trading.place(trading.resting()), trading.resting(time_in_force=TimeInForce.GTC)
    trading.told(again, OrderState.NEW)
    trading.venue.replace(again.client_id, other)
    trading.told(again, OrderState.CANCELED)
    trading.told(other, OrderState.NEW)
    unfilled = trading.place(trading.resting(time_in_force=TimeInForce.IOC))
    trading.told(unfilled, OrderState.EXPIRED)
    assert trading.posts()[-1]["time_in_force"] == "ioc"

    sequences = [report.sequence for report in trading.heard]
    assert sequences == list(range(1, len(sequences) + 1))
    assert trading.venue.fills(0) == trading.fills()
    assert trading.venue.positions() == {}


def test_what_a_trade_cost_is_what_the_account_lacks(trading: Trading) -> None:
    opened = trading.venue.balances()
    bought = trading.place(trading.order())
    trading.until(lambda: len(trading.fills()) == 1, "the first fill")
    sold = trading.place(trading.order(side=Side.SELL, size=33))
    trading.until(lambda: len(trading.fills()) == 2, "the second fill")
    first, second = trading.fills()
    assert (first.client_id, first.fee_asset, first.fee) == (bought.client_id, "BTC", 25_000)
    assert (second.client_id, second.fee_asset) == (sold.client_id, "USD")
    held = dict(opened)
    for fill in (first, second):
        sign = fill.side.sign
        held["BTC"] = held.get("BTC", 0) + sign * fill.size * BTC.base_unit
        held["USD"] -= sign * BTC.value(fill.price, fill.size)
        held[fill.fee_asset] -= fill.fee
    assert held == trading.venue.balances() == trading.holds()


def test_a_partial_fill_is_told_and_what_is_left_can_be_cancelled(trading: Trading) -> None:
    rests = trading.place(trading.resting(size=200))
    trading.told(rests, OrderState.NEW)
    order = next(iter(trading.server.orders.values()))
    trading.server.do(lambda: trading.server.match(order, Decimal("0.005")))
    trading.told(rests, OrderState.PARTIALLY_FILLED)
    trading.until(lambda: sum(f.size for f in trading.fills()) == 50, "its fill")
    trading.venue.cancel(BTC.name, rests.client_id)
    trading.told(rests, OrderState.CANCELED)
    assert [r.filled for r in trading.venue.orders([rests.client_id])] == [50]
    assert trading.venue.balances() == trading.holds()


def test_a_stop_with_a_limit_price_waits_there_and_triggers(trading: Trading) -> None:
    trading.told(trading.place(trading.order()), OrderState.FILLED)
    stop = trading.place(
        trading.order(
            side=Side.SELL,
            type=OrderType.STOP_LIMIT,
            size=50,
            price=54_000_00,
            trigger=Trigger(price=55_000_00),
        )
    )
    trading.told(stop, OrderState.NEW)
    sent = trading.posts()[-1]
    assert (sent["type"], sent["stop_price"], sent["limit_price"]) == ("stop_limit", 55_000, 54_000)
    trading.server.do(lambda: trading.server.move("54900.00", "54910.00"))
    trading.told(stop, OrderState.FILLED)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"type": OrderType.STOP, "trigger": Trigger(price=50_000_00)}, "limit price only"),
        ({"type": OrderType.LIMIT, "price": 1_000_00, "post_only": True}, "only add to the book"),
        (
            {"type": OrderType.LIMIT, "price": 1_000_00, "time_in_force": TimeInForce.FOK},
            "GTC or IOC",
        ),
        ({"type": OrderType.LIMIT, "price": 1_000_00, "size": 1}, "minimal amount of order 10"),
        ({"size": 10**6}, "insufficient balance"),
        ({"side": Side.SELL}, "insufficient balance"),
    ],
)
def test_what_alpaca_does_not_take_is_refused_in_a_line(
    trading: Trading, changed: dict[str, Any], why: str
) -> None:
    refused = trading.place(trading.order(**changed))
    trading.told(refused, OrderState.REJECTED)
    (reason,) = trading.reasons(refused)
    assert why in reason
    assert "\n" not in reason


@pytest.mark.parametrize("how", ["lost", "cut", "504", "503"])
def test_an_order_without_an_answer_is_unknown_until_it_is_found(
    trading: Trading, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        trading.venue.desk, "terms", _soon(trading.venue.desk.terms)
    )  # else its absence is believed after three minutes
    trading.server.fault("POST", "/orders", how)
    order = trading.place(trading.order())
    trading.until(lambda: trading.states(order), "any word of it")
    if how != "lost":  # else the stream may be the first to tell of it
        assert trading.states(order)[0] is OrderState.UNKNOWN
    assert len(trading.posts()) == 1  # alpaca-py sends again what got 504; ours does not
    trading.until(lambda: trading.clock.now() > order.accept_until + SECOND, "its time to be over")
    found = trading.venue.orders([order.client_id])
    done = 100 if how == "lost" else 0
    assert [r.filled for r in found] == ([done] if done else [])
    assert sum(f.size for f in trading.venue.fills(0) if isinstance(f, Fill)) == done


def _soon(known: terms.Terms) -> terms.Terms:
    return msgspec.structs.replace(known, absence_ns=2 * SECOND)


def test_an_id_that_was_used_proves_nothing_of_this_order(trading: Trading) -> None:
    first = trading.place(trading.resting())
    trading.told(first, OrderState.NEW)
    trading.venue.desk.told.clear()  # as after a kill, before anything was asked
    trading.heard.clear()
    trading.venue.place(first)
    trading.told(first, OrderState.UNKNOWN)
    assert [r.state for r in trading.venue.orders([first.client_id])] == [OrderState.NEW]


def test_too_many_requests_stop_requests(trading: Trading) -> None:
    trading.server.fault("POST", "/orders", "429")
    refused = trading.place(trading.order())
    trading.told(refused, OrderState.REJECTED)
    assert len(trading.posts()) == 1
    with pytest.raises(OrderRefusedError, match="not sent: the exchange asked for a pause"):
        trading.venue.place(trading.order())
    trading.until(lambda: not trading.venue.budget.blocks("place"), "the pause to end")
    trading.told(trading.place(trading.order()), OrderState.FILLED)


def test_a_lost_stream_is_told_and_what_it_missed_is_found(trading: Trading) -> None:
    rests = trading.place(trading.resting())
    trading.told(rests, OrderState.NEW)
    trading.until(lambda: trading.server.sockets, "the stream")
    trading.server.drop()
    trading.server.do(lambda: trading.server.move("48999.00", "49000.00"))
    trading.until(lambda: trading.lost, "the loss")
    assert "user stream was lost" in trading.lost[0]
    trading.told(rests, OrderState.FILLED)
    trading.until(lambda: trading.server.sockets, "the stream again")


def test_no_restart_loses_a_fill_or_brings_it_twice(trading: Trading) -> None:
    rests = trading.place(trading.resting())
    trading.told(rests, OrderState.NEW)
    trading.told(trading.place(trading.order()), OrderState.FILLED)
    trading.until(trading.fills, "its fill")
    trading.venue.close()
    last = max(report.sequence for report in trading.heard)
    trading.server.do(lambda: trading.server.move("48999.00", "49000.00"))
    trading.venue = trading.opened(after=last)
    new = trading.venue.fills(last)
    assert [f.client_id for f in new if isinstance(f, Fill)] == [rests.client_id]
    assert len(trading.venue.fills(0)) == 2


def test_preflight_looks_at_key_clock_and_fees(trading: Trading) -> None:
    findings = {f.look: f for f in trading.venue.preflight(EXPECTED, 20.0)}
    assert not [f for f in findings.values() if f.level == "stop"]
    assert findings["key permissions"].level == "good"
    assert findings["fees"].text == "maker 1500 ppm, taker 2500 ppm"
    trading.server.account |= {"transfers_blocked": False}
    trading.server.wallets = [{"asset": "BTC"}]
    withdraws = {f.look: f for f in trading.venue.preflight(EXPECTED, 20.0)}
    assert withdraws["key permissions"].level == "stop"
    assert "can withdraw" in withdraws["key permissions"].text


def test_what_cannot_be_opened_says_why_in_a_line(tmp_path: Path) -> None:
    wrong = {**SECRETS, "SEAWALL_SECRET_ALPACA_API_SECRET": "wrong5ec2e7" * 3}

    def opened(given: dict[str, str], symbol: str, where: Account) -> str:
        instrument = Instrument(
            venue="alpaca", symbol=symbol, kind=Kind.SPOT, base="BTC", quote="USD",
            tick="0.01", lot="0.0001",
        )  # fmt: skip
        log = tmp_path / "venue.log"
        with pytest.raises((VenueError, SettingError)) as caught:
            CcxtVenue(where, EnvironmentSecrets(given), [instrument], SystemClock(), log)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    with broker() as server:
        here = account(server.port)
        assert "does not accept the API key or its secret" in opened(wrong, "BTC/USD", here)
        assert wrong["SEAWALL_SECRET_ALPACA_API_SECRET"] not in opened(wrong, "BTC/USD", here)
        assert "does not list XYZ/USD" in opened(SECRETS, "XYZ/USD", here)
        server.skew = 5.0
        assert "this machine's clock is" in opened(SECRETS, "BTC/USD", here)
        linear = account(server.port, product="linear")
        assert "at spot only" in opened(SECRETS, "BTC/USD", linear)
    assert "NetworkError" in opened(SECRETS, "BTC/USD", here)


def test_without_alpaca_py_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "alpaca.trading.client", None)
    where = account(1)
    with pytest.raises(SettingError, match=r"pip install 'seawall\[alpaca\]'"):
        client_of(where, Credentials(EnvironmentSecrets(SECRETS), where), 1.0)


def test_the_node_gets_its_markets_from_there_with_the_account_s_keys(tmp_path: Path) -> None:
    live = {"exchange": "alpaca", "url": "http://127.0.0.1:1"}
    with broker() as server:
        live["url"] = f"http://127.0.0.1:{server.port}"
        settings = Settings.model_validate(
            {"mode": "live", "feed": {"symbols": ["BTC/USD"]}, "live": live, "data_dir": tmp_path}
        )
        accounts, clock = accounts_of(settings), SystemClock()
        feed = feed_of(settings, accounts, clock, EnvironmentSecrets(SECRETS))
        try:
            (instrument,) = instruments_of(settings, feed.catalog, accounts)[""]
            assert (instrument.symbol, instrument.tick, instrument.lot) == (
                "BTC/USD",
                "0.01",
                "0.0001",
            )
            assert (instrument.settle_decimals, instrument.base_decimals) == (9, 9)
            kinds: set[int] = set()
            end = time.monotonic() + PATIENCE
            while not {int(EventKind.DEPTH), int(EventKind.TRADE)} <= kinds:
                assert time.monotonic() < end
                rows = feed.read(0.1)
                assert rows is not None
                kinds |= set(rows["kind"].tolist())
        finally:
            feed.close()


def test_no_secret_comes_out_whatever_goes_wrong(
    trading: Trading, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    said = [repr(trading.venue), repr(trading.venue.desk.client)]
    for what in ("503", "cut", "429"):
        trading.server.fault("GET", "/", what)
        try:
            trading.venue.balances()
        except VenueUnreachableError as error:
            said += [str(error), repr(error.__cause__)]
    trading.server.drop()
    trading.until(lambda: trading.lost, "the loss")
    trading.until(lambda: trading.server.sockets, "the stream again")
    trading.venue.close()
    said += [caplog.text, *capfd.readouterr(), *trading.lost]
    text = "\n".join(said)
    for secret in (KEY, SECRET):
        assert secret not in text
        assert secret.encode() not in (trading.folder / "venue.log").read_bytes()
