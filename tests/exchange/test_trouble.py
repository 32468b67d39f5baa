"""When things go wrong: rate limits, faults on request, listen keys, keys of other kinds."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import ccxt.pro
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from seawall.core.errors import SettingError
from seawall.exchange.doors import LISTEN_KEY_LIFE
from seawall.exchange.faults import Faults, fault_of
from seawall.exchange.keys import ApiKey, KeyRing
from seawall.exchange.limits import PATIENCE, Limits
from seawall.exchange.listing import Market
from seawall.exchange.refusals import RefusalError
from seawall.exchange.terms import Terms
from tests.exchange.practice import DEADLINE, RING, Practice, book, client, practice, tape_of

SPOT = "BTC/USDT"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Practice]:
    with practice(tmp_path / "state", tape_of(tmp_path / "tape", *book(0))) as running:
        yield running


@pytest.fixture
def trader(server: Practice) -> Any:
    made = client(ccxt.binance, server.port)
    made.load_markets()
    return made


def admin(server: Practice, method: str, rule: str | None = None, key: str = RING.admin) -> Any:
    answer = httpx.request(
        method,
        f"http://127.0.0.1:{server.port}/admin/faults",
        content=rule or "",
        headers={"X-Admin-Key": key},
    )
    return answer.status_code, answer.json()


# --- rate limits ---


def test_who_asks_too_much_is_told_to_wait_and_then_banned(tmp_path: Path) -> None:
    terms = Terms(weight=(120, 2_400))
    with practice(tmp_path / "state", tape_of(tmp_path / "tape", *book(0)), terms=terms) as server:
        base = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=base) as asking:
            answers = [asking.get("/api/v3/exchangeInfo") for _ in range(7 + PATIENCE)]
        used = [int(each.headers["X-MBX-USED-WEIGHT-1M"]) for each in answers[:6]]
        assert used == [20, 40, 60, 80, 100, 120]
        assert answers[6].status_code == 429
        assert 1 <= int(answers[6].headers["Retry-After"]) <= 60
        assert answers[6].json()["code"] == -1003
        assert answers[-1].status_code == 418
        assert int(answers[-1].headers["Retry-After"]) == 120
        assert httpx.get(f"{base}/fapi/v1/time").status_code == 200
        with pytest.raises(ccxt.DDoSProtection):
            client(ccxt.binance, server.port).fetch_time()


def test_orders_have_a_limit_of_their_own() -> None:
    limits = Limits(Terms(orders_10s=(3, 300)))
    now = 1_700_000_000_000
    assert [limits.orders(Market.SPOT, "a", 1, now)[0] for _ in range(3)] == [1, 2, 3]
    with pytest.raises(RefusalError, match="Too many new orders; current limit is 3") as refused:
        limits.orders(Market.SPOT, "a", 1, now)
    assert (refused.value.code, refused.value.status) == (-1015, 429)
    assert limits.orders(Market.SPOT, "b", 1, now) == (1, 1)
    assert limits.orders(Market.SPOT, "a", 1, now + 10_000)[0] == 1


def test_a_ban_ends_and_the_next_one_is_longer() -> None:
    limits = Limits(Terms(weight=(10, 10)))
    now = 1_700_000_000_000
    for longest in (120, 240):
        refused: list[RefusalError] = []
        while not refused or refused[-1].status != 418:
            try:
                limits.request(Market.SPOT, "ip", 1, now)
            except RefusalError as refusal:
                refused.append(refusal)
        assert len(refused) == PATIENCE + 1
        assert refused[-1].retry_after == longest
        now += longest * 1_000 + 60_000
        assert limits.request(Market.SPOT, "ip", 1, now) == 1


# --- faults ---


def test_a_lost_answer_leaves_the_order_and_a_lost_request_none(
    server: Practice, trader: Any
) -> None:
    for rule, there in (("ack_lost path=/order count=1", True), ("request_lost count=1", False)):
        assert admin(server, "POST", rule)[0] == 200
        name = "lost" if there else "never"
        with pytest.raises(ccxt.NetworkError):
            trader.create_order(SPOT, "limit", "buy", 0.01, 50_000, {"clientOrderId": name})
        if there:
            assert trader.fetch_order(None, SPOT, {"origClientOrderId": name})["status"] == "open"
        else:
            with pytest.raises(ccxt.OrderNotFound):
                trader.fetch_order(None, SPOT, {"origClientOrderId": name})
    assert admin(server, "GET")[1]["injected"] == {"ack_lost": 1, "request_lost": 1}


def test_a_late_request_takes_effect_only_within_its_window(server: Practice, trader: Any) -> None:
    trader.options["recvWindow"] = 2_000
    for name, seconds in (("soon", 0.05), ("too-late", 2.5)):
        admin(server, "POST", f"late path=/order count=1 seconds={seconds}")
        with pytest.raises(ccxt.NetworkError):
            trader.create_order(SPOT, "limit", "buy", 0.01, 50_000, {"clientOrderId": name})
    trader.options["recvWindow"] = 10_000
    deadline = time.monotonic() + 60
    while not trader.fetch_open_orders(SPOT):
        assert time.monotonic() < deadline
    while server.do(lambda: len(server.server._later)):
        assert time.monotonic() < deadline
    assert [each["clientOrderId"] for each in trader.fetch_open_orders(SPOT)] == ["soon"]


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ("error path=/account status=503", ccxt.ExchangeNotAvailable),
        ("error path=/account status=500", ccxt.OperationFailed),
        ("rate_limit path=/account seconds=3", ccxt.DDoSProtection),
        ("ban path=/account seconds=3", ccxt.DDoSProtection),
        ("timeout path=/account", ccxt.RequestTimeout),
    ],
)
def test_answers_that_were_asked_for(
    server: Practice, trader: Any, rule: str, error: type[Exception]
) -> None:
    admin(server, "POST", rule)
    with pytest.raises(error):
        trader.fetch_balance()
    admin(server, "DELETE")
    assert trader.fetch_balance()["USDT"]["total"] == 100_000


def test_the_clock_can_be_put_ahead(server: Practice, trader: Any) -> None:
    admin(server, "POST", "skew seconds=30")
    with pytest.raises(ccxt.InvalidNonce):
        trader.fetch_balance()
    trader.load_time_difference()
    assert -31_000 < trader.options["timeDifference"] < -29_000
    assert trader.fetch_balance()["USDT"]["total"] == 100_000


def test_it_can_fall_silent(server: Practice, trader: Any) -> None:
    admin(server, "POST", "silent seconds=0.5")
    until = server.do(lambda: server.server._quiet_until)
    trader.fetch_balance()
    assert server.do(server.loop.time) >= until


def test_user_events_come_twice_or_in_another_order(server: Practice) -> None:
    async def main(rule: str) -> list[tuple[int, str]]:
        trader = client(ccxt.pro.binance, server.port)
        session = aiohttp.ClientSession()
        try:
            await trader.load_markets()
            url = f"ws://127.0.0.1:{server.port}/ws-api/v3"
            async with session.ws_connect(url) as socket:
                ask = {"id": 1, "method": "userDataStream.subscribe.signature"}
                await socket.send_json({**ask, "params": trader.sign_params({})})
                assert (await socket.receive_json())["status"] == 200
                assert admin(server, "POST", rule)[0] == 200
                order = await trader.create_order(SPOT, "limit", "buy", 0.01, 50_000)
                await trader.cancel_order(order["id"], SPOT)
                heard = []
                while len(heard) < (8 if rule.startswith("duplicate") else 4):
                    event = (await socket.receive_json(timeout=DEADLINE))["event"]
                    heard.append((event.get("i", 0), event.get("x", event["e"])))
                return heard
        finally:
            admin(server, "DELETE")
            await session.close()
            await trader.close()

    kinds = [what for _, what in asyncio.run(main("duplicate"))]
    assert kinds[:2] == ["NEW", "NEW"]
    kinds = [what for _, what in asyncio.run(main("reorder count=1"))]
    assert kinds[:2] == ["outboundAccountPosition", "NEW"]


def test_a_dropped_socket_is_dialled_again(server: Practice) -> None:
    async def main() -> None:
        trader = client(ccxt.pro.binance, server.port)
        try:
            await trader.load_markets()
            await trader.watch_order_book(SPOT)
            admin(server, "POST", "drop count=1")
            while True:
                try:
                    await asyncio.wait_for(trader.watch_order_book(SPOT), 0.5)
                except ccxt.NetworkError:
                    break
                except TimeoutError:
                    continue
            assert (await trader.watch_order_book(SPOT))["bids"]
        finally:
            await trader.close()

    asyncio.run(main())


def test_the_admin_key_is_needed_and_rules_are_checked(server: Practice) -> None:
    assert admin(server, "POST", "delay", key="x" * 20)[0] == 401
    status, said = admin(server, "POST", "explode")
    assert status == 400
    assert "explode" in said["msg"]
    for text in ("delay seconds=-1", "delay of=x", "error status=200", "delay seconds"):
        with pytest.raises(SettingError):
            fault_of(text)


def test_the_same_seed_draws_the_same_faults() -> None:
    def drawn(seed: int) -> list[bool]:
        faults = Faults(seed, (fault_of("delay probability=0.3"),))
        return [faults.draw("delay") is not None for _ in range(200)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 30 < sum(drawn(1)) < 90


# --- keys ---


def test_a_listen_key_ends_after_its_hour(server: Practice) -> None:
    async def main() -> None:
        trader = client(ccxt.pro.binance, server.port)
        try:
            key = (await trader.fapiPrivatePostListenKey())["listenKey"]
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(
                    f"ws://127.0.0.1:{server.port}/fstream/private/ws?listenKey={key}"
                ) as socket,
            ):
                while not server.do(
                    lambda: any(s.accounts for s in server.server.streams.listeners)
                ):
                    await asyncio.sleep(0)
                server.do(lambda: server.server.doors.listen_keys.update({key: 0}))
                event = await socket.receive_json(timeout=DEADLINE)
                assert (event["e"], event["listenKey"]) == ("listenKeyExpired", key)
                assert (await socket.receive(timeout=DEADLINE)).type is aiohttp.WSMsgType.CLOSE
            with pytest.raises(ccxt.AuthenticationError, match="-1125"):
                await trader.fapiPrivatePutListenKey()
            assert (await trader.fapiPrivatePostListenKey())["listenKey"] == key
        finally:
            await trader.close()

    assert LISTEN_KEY_LIFE == 3_600_000
    asyncio.run(main())


def test_an_ed25519_key_signs_requests_and_sessions(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = ApiKey(account="alice", key="e" * 64, public_key=public.decode()).check()
    ring = KeyRing(admin=RING.admin, keys=(key,)).check()
    with practice(tmp_path / "state", tape_of(tmp_path / "tape", *book(0)), ring=ring) as server:
        trader = client(ccxt.binance, server.port, key)
        trader.secret = pem
        assert trader.fetch_balance()["USDT"]["total"] == 100_000

        async def main() -> None:
            pro = client(ccxt.pro.binance, server.port, key)
            pro.secret = pem
            try:
                order = await pro.create_order_ws(SPOT, "limit", "buy", 0.01, 50_000)
                assert order["status"] == "open"
            finally:
                await pro.close()

        asyncio.run(main())


def test_secrets_are_in_no_text_of_a_key() -> None:
    assert "alice-secret" not in repr(RING.keys[0])
    assert "admin-key" not in repr(RING)
    assert json.loads(json.dumps(repr(RING)))
