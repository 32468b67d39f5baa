"""A real account, by the real ccxt client over real HTTP and WebSockets, at a practice exchange."""

import gc
import logging
import ssl
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import ccxt
import pytest

from seawall.core.clock import SECOND
from seawall.core.errors import OrderRefusedError, SettingError, VenueUnreachableError
from seawall.core.events import Side
from seawall.core.orders import (
    Fill,
    OrderState,
    OrderType,
    TimeInForce,
    Trigger,
)
from seawall.storage.secrets import EnvironmentSecrets
from seawall.venues.ccxt.client import Account, Credentials, client_of
from seawall.venues.ccxt.preflight import Expected
from tests.exchange.practice import ALICE, ASK, BID, client
from tests.venues.ccxt.trading import SECRETS, Trading, opened


@pytest.fixture(params=["spot", "linear"])
def trading(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trading]:
    yield from opened(tmp_path, request.param)


@pytest.fixture
def spot(tmp_path: Path) -> Iterator[Trading]:
    yield from opened(tmp_path, "spot")


def test_orders_go_out_and_answers_come_in(
    trading: Trading, caplog: pytest.LogCaptureFixture
) -> None:
    bought = trading.place(trading.order())
    trading.told(bought, OrderState.FILLED)
    trading.until(lambda: sum(f.size for f in trading.fills()) == 1_000, "its fills")
    first = trading.fills()[0]
    assert (first.client_id, first.side, first.price) == (bought.client_id, Side.BUY, ASK)
    assert first.fee > 0

    rests = trading.place(trading.resting())
    trading.told(rests, OrderState.NEW)
    trading.venue.cancel(trading.instrument.name, rests.client_id)
    trading.told(rests, OrderState.CANCELED)
    again = trading.place(trading.resting())
    trading.told(again, OrderState.NEW)
    other = trading.resting()
    trading.venue.replace(again.client_id, other)
    trading.told(again, OrderState.CANCELED)
    trading.told(other, OrderState.NEW)

    refused = trading.place(trading.order(size=10**12))
    trading.told(refused, OrderState.REJECTED)
    late = trading.place(trading.order(accept_until=trading.clock.now() - 1))
    trading.told(late, OrderState.REJECTED)
    unfilled = trading.place(
        trading.order(type=OrderType.LIMIT, price=BID, time_in_force=TimeInForce.IOC)
    )
    trading.told(unfilled, OrderState.EXPIRED)

    sequences = [report.sequence for report in trading.heard]
    assert sequences == list(range(1, len(sequences) + 1))
    assert [r.client_id for r in trading.venue.orders()] == [other.client_id]
    held = {} if trading.product == "spot" else {trading.instrument.name: 1_000}
    assert trading.venue.positions() == held
    assert trading.venue.fills(0) == trading.fills()
    trading.venue.close()
    gc.collect()  # what failed in a task that nobody waits for is told now
    assert "never retrieved" not in caplog.text


def test_a_stop_waits_at_the_venue_and_can_be_taken_back(trading: Trading) -> None:
    bought = trading.place(trading.order())
    trading.told(bought, OrderState.FILLED)
    stop = trading.place(
        trading.order(
            side=Side.SELL,
            type=OrderType.STOP_LIMIT,
            price=BID - 2_000_00,
            trigger=Trigger(price=BID - 1_000_00),
            reduce_only=True,
        )
    )
    trading.told(stop, OrderState.NEW)
    assert [r.client_id for r in trading.venue.orders()] == [stop.client_id]
    assert [r.state for r in trading.venue.orders([stop.client_id])] == [OrderState.NEW]
    trading.venue.cancel(trading.instrument.name, stop.client_id)
    trading.told(stop, OrderState.CANCELED)
    assert trading.venue.orders() == []


@pytest.mark.parametrize("how", ["ack_lost", "timeout", "late", "request_lost"])
def test_an_order_without_an_answer_is_unknown_until_it_is_found(spot: Trading, how: str) -> None:
    spot.fault(f"{how} path=/api/v3/order method=POST count=1 seconds=0.3")
    order = spot.place(spot.order())
    spot.until(lambda: spot.states(order), "any word of it")
    if how in ("timeout", "request_lost"):
        assert spot.states(order)[0] in (OrderState.UNKNOWN, OrderState.FILLED)
    spot.until(lambda: spot.clock.now() > order.accept_until + SECOND, "its time to be over")
    found = spot.venue.orders([order.client_id])
    done = 0 if how == "request_lost" else 1_000
    assert [r.filled for r in found] == ([done] if done else [])
    assert sum(f.size for f in spot.venue.fills(0) if isinstance(f, Fill)) == done


def test_no_kill_loses_a_fill_or_brings_it_twice(spot: Trading) -> None:
    first = spot.place(spot.order())
    spot.told(first, OrderState.FILLED)
    spot.until(spot.fills, "its fill")
    spot.venue.close()
    last = max(report.sequence for report in spot.heard)

    unheard = client(ccxt.binance, spot.server.port)  # what an order of ours did meanwhile
    unheard.create_order("BTC/USDT", "market", "buy", 0.01, None, {"clientOrderId": "1a2b3c4d-77"})
    spot.heard.clear()
    spot.venue = spot.opened(after=last)
    new = spot.venue.fills(last)
    assert [f.client_id for f in new if isinstance(f, Fill)] == ["1a2b3c4d-77"]
    assert all(f.sequence > last for f in new)
    spot.until(spot.fills, "the same over the stream")
    assert spot.fills() == new
    assert len(spot.venue.fills(0)) == 2


def test_a_lost_stream_is_told_once_and_what_it_missed_is_found(spot: Trading) -> None:
    first = spot.place(spot.order())
    spot.told(first, OrderState.FILLED)
    spot.fault("drop count=1")
    other = client(ccxt.binance, spot.server.port)
    other.create_order("BTC/USDT", "market", "buy", 0.02, None, {"clientOrderId": "1a2b3c4d-88"})
    spot.until(lambda: spot.lost, "the loss")
    spot.until(lambda: len(spot.fills()) == 2, "the fill that was missed")
    assert "user stream was lost" in spot.lost[0]
    count = len(spot.lost)
    again = spot.place(spot.order())
    spot.told(again, OrderState.FILLED)
    assert len(spot.lost) <= count + 1  # both of its streams may have ended apart


def test_too_many_requests_stop_requests(spot: Trading) -> None:
    spot.fault("rate_limit path=/api/v3/order count=1 seconds=2")
    refused = spot.place(spot.order())
    spot.told(refused, OrderState.REJECTED)
    with pytest.raises(OrderRefusedError, match="not sent: the exchange asked for a pause"):
        spot.venue.place(spot.order())
    spot.until(lambda: not spot.venue.budget.blocks("place"), "the pause to end")
    accepted = spot.place(spot.order())
    spot.told(accepted, OrderState.FILLED)
    assert len(spot.venue.fills(0)) == 1


def test_what_others_do_in_the_account_has_their_names(trading: Trading) -> None:
    kind = ccxt.binance if trading.product == "spot" else ccxt.binanceusdm
    other = client(kind, trading.server.port)
    symbol = trading.instrument.symbol
    other.create_order(symbol, "limit", "buy", 0.01, 50_000, {"clientOrderId": "web-1"})
    assert [r.client_id for r in trading.venue.orders()] == ["web-1"]
    other.create_order(symbol, "market", "buy", 0.01, None, {"clientOrderId": "web-2"})
    trading.until(trading.fills, "the fill")
    assert trading.fills()[0].client_id == "web-2"


@pytest.mark.parametrize("trading", ["linear"], indirect=True)
def test_a_contract_account_arms_its_dead_mans_switch_and_disarms_it(trading: Trading) -> None:
    trading.until(lambda: trading.venue.link.armed, "the switch")
    rests = trading.place(trading.resting())
    trading.told(rests, OrderState.NEW)
    trading.venue.close()
    assert not trading.venue.link.armed
    trading.venue = trading.opened(after=100)
    assert [r.client_id for r in trading.venue.orders()] == [rests.client_id]


def test_preflight_finds_nothing_wrong(trading: Trading) -> None:
    expected = Expected(leverage=2.0, largest=20_000.0, maker_ppm=1_000, taker_ppm=1_000)
    findings = {f.look: f for f in trading.venue.preflight(expected, 20.0)}
    assert not [f for f in findings.values() if f.level == "stop"]
    assert findings["key permissions"].level == "good"
    tight = Expected(leverage=500.0, largest=1.0, maker_ppm=0, taker_ppm=0)
    strict = {f.look: f for f in trading.venue.preflight(tight, 20.0)}
    assert strict["symbols"].level == "stop"
    assert strict["fees"].level == "warning"
    if trading.product == "linear":
        assert strict["leverage"].level == "stop"


def test_no_secret_comes_out_whatever_goes_wrong(
    spot: Trading, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    spot.venue.desk.client.verbose = True
    said = [repr(spot.venue), repr(spot.venue.__dict__.get("_credentials"))]
    for fault in ("error status=503 count=1", "request_lost count=1", "timeout count=1"):
        spot.fault(f"{fault} path=/api/v3")
        try:
            spot.venue.orders(["1a2b3c4d-9"])
            spot.venue.balances()
        except VenueUnreachableError as error:
            said += [str(error), repr(error.__cause__)]
    wrong = {**SECRETS, "SEAWALL_SECRET_BINANCE_API_SECRET": "wrong5ec2e7" * 4}
    with pytest.raises(SettingError) as caught:
        Credentials(EnvironmentSecrets({}), spot.venue.account_of)
    said += [str(caught.value), caplog.text, *capfd.readouterr()]
    text = "\n".join(said)
    for secret in (ALICE.key, ALICE.secret, *wrong.values()):
        assert secret not in text
    assert ALICE.secret.encode() not in (spot.folder / "venue.log").read_bytes()


def test_tls_is_no_older_than_wanted(spot: Trading) -> None:
    for wanted, version in (("1.2", ssl.TLSVersion.TLSv1_2), ("1.3", ssl.TLSVersion.TLSv1_3)):
        account = Account(exchange="kraken", product="spot", keys="binance", tls=wanted)
        made = client_of(account, Credentials(EnvironmentSecrets(SECRETS), account), 1.0)
        assert made.ssl_context.minimum_version is version
    session = spot.venue.desk.client
    assert session.tcp_connector._ssl is session.ssl_context


def test_balances_are_exact(spot: Trading) -> None:
    order = spot.place(spot.order(size=333))
    spot.told(order, OrderState.FILLED)
    spot.until(spot.fills, "its fill")
    plain = client(ccxt.binance, spot.server.port)
    plain.number = str
    total = {a: t for a, t in plain.fetch_balance()["total"].items() if Fraction(t)}
    assert spot.venue.balances() == {a: int(Fraction(t) * 10**8) for a, t in total.items()}
