"""`seawall exchange` as a user starts it: its keys, its errors, and kill -9."""

import json
import re
import signal
import stat
import threading
from pathlib import Path
from typing import Any

import ccxt
import pytest

from seawall.cli import main
from seawall.core.clock import SECOND
from seawall.core.errors import StoreError
from seawall.exchange.keys import ApiKey
from tests.cli.processes import ROOT, Running, Shell, assert_one_line, until
from tests.exchange.practice import BEGIN, book, client, practice, tape_of

SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    tape_of(tmp_path / "tape", *book(0, lots=1_000_000))
    return Shell(tmp_path)


def started(shell: Shell, *more: str) -> tuple[Running, int]:
    """An exchange that answers, and its port."""
    running = shell.start("exchange", "--tape", "tape", "--folder", "state", "--port", "0", *more)
    running.said("http://127.0.0.1:")
    found = re.search(r"http://127\.0\.0\.1:(\d+)", running.out)
    assert found
    return running, int(found[1])


def key_in(text: str) -> ApiKey:
    found = re.search(r"key +(\w+)\n +secret +(\w+)", text)
    assert found, text
    return ApiKey(account="main", key=found[1], secret=found[2])


def state_of(trader: Any) -> Any:
    """All that the exchange says of an account."""
    found: list[Any] = [trader.fetch_balance(), trader.fetch_balance({"type": "swap"})]
    for symbol in (SPOT, SWAP):
        found += [trader.fetch_orders(symbol), trader.fetch_my_trades(symbol)]
        found.append(trader.fetch_open_orders(symbol))
    found.append(trader.fetch_open_orders(SWAP, params={"trigger": True}))
    positions = trader.fetch_positions([SWAP])
    found.append([(each["side"], each["contracts"], each["entryPrice"]) for each in positions])
    for each in found[:2]:
        del each["info"]
        each.pop("timestamp", None)
        each.pop("datetime", None)
    return found


def test_keys_are_made_once_shown_once_and_readable_by_their_owner_alone(shell: Shell) -> None:
    first, port = started(shell)
    with first:
        key = key_in(first.out)
        trader = client(ccxt.binance, port, key)
        assert trader.fetch_balance()["USDT"]["total"] == 100_000
        kept = shell.folder / "state" / "exchange-keys"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        first.signal(signal.SIGTERM)
        assert first.end().code == 0
    second, port = started(shell)
    with second:
        assert key.secret not in second.out + second.err
        trader = client(ccxt.binance, port, key)
        assert trader.fetch_balance()["USDT"]["total"] == 100_000


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_kill_9_loses_nothing_that_was_answered(shell: Shell, rounds: int) -> None:
    """Orders are placed without a pause while the exchange is killed, again and again."""
    running, port = started(shell)
    key = key_in(running.out)
    answered: dict[str, str] = {}
    for round_ in range(rounds):
        trader = client(ccxt.binance, port, key)
        trader.load_markets()
        if round_ == 0:
            trader.create_order(SPOT, "market", "buy", 0.01)
            trader.create_order(SWAP, "market", "sell", 0.3)
            order = trader.create_order(SWAP, "limit", "buy", 0.1, 59_000)
            trader.edit_order(order["id"], SWAP, "limit", "buy", 0.2, 59_100)
            trader.create_order(SWAP, "market", "buy", 0.1, None, {"stopLossPrice": 61_000})
            trader.set_leverage(7, SWAP)
        before = state_of(trader)
        began = threading.Event()

        def place(
            trader: Any = trader, began: threading.Event = began, round_: int = round_
        ) -> None:
            for k in range(10_000):
                name = f"{round_}-{k}"
                try:
                    made = trader.create_order(
                        SPOT, "limit", "buy", 0.0001, 50_000 + k % 100, {"clientOrderId": name}
                    )
                    answered[name] = made["id"]
                    began.set()
                    if k % 3 == 0:
                        trader.cancel_order(made["id"], SPOT)
                        del answered[name]
                except ccxt.NetworkError:
                    return
                except ccxt.InvalidOrder:  # too many are open
                    trader.cancel_all_orders(SPOT)
                    answered.clear()

        placing = threading.Thread(target=place)
        placing.start()
        assert began.wait(30)
        running.process.kill()
        placing.join(30)
        running.end()
        running, port = started(shell)
        after = client(ccxt.binance, port, key)
        after.load_markets()
        found = {each["clientOrderId"]: each["id"] for each in after.fetch_open_orders(SPOT)}
        lost = {name: number for name, number in answered.items() if found.get(name) != number}
        # The one whose answer the kill has cut off may stand or not; so may its cancellation.
        assert lost == {} or len(lost) == 1
        if found:
            after.cancel_all_orders(SPOT)
        answered.clear()
        now = state_of(after)
        assert now[0]["BTC"] == before[0]["BTC"]
        assert now[1]["USDT"] == before[1]["USDT"]
        assert now[3] == before[3]
        assert now[5:] == before[5:]
        assert after.fetch_leverage(SWAP)["longLeverage"] == 7
    running.signal(signal.SIGINT)
    assert running.end().code == 0


def test_what_is_in_use_is_said(shell: Shell) -> None:
    running, port = started(shell)
    with running:
        assert_one_line(
            shell("exchange", "--folder", "other", "--port", port), 6, "--port", str(port)
        )
        assert_one_line(
            shell("exchange", "--folder", "state", "--port", "0"), 5, "another exchange"
        )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--key-file", "open.json"], 5, ["chmod 600"]),
        (["--key-file", "wrong.json"], 2, ["wrong.json", "no keys of the exchange"]),
        (["--key-file", "none.json"], 2, ["no such file"]),
        (["--fault", "explode"], 2, ["explode", "ack_lost"]),
        (["--speed", "0"], 2, ["--speed"]),
        (["--spot", "BTC"], 2, ["USDT=100000"]),
        (["--funding-minutes", "0"], 2, ["funding_minutes"]),
        (["--tape", "nowhere"], 3, ["nowhere"]),
    ],
)
def test_mistakes_are_one_line_each(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, mode in (("open.json", 0o644), ("wrong.json", 0o600)):
        Path(name).write_text("{}")
        Path(name).chmod(mode)
    with pytest.raises(SystemExit) as left:
        main(["exchange", "--port", "0", *arguments])
    said = capsys.readouterr().err
    assert left.value.code == code, said
    assert said.count("\n") == 1
    assert all(word in said for word in words), said


def test_the_example_of_the_page_runs(shell: Shell) -> None:
    page = (ROOT / "docs" / "how-to" / "practice-exchange.md").read_text()
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    running, port = started(shell)
    with running:
        key = key_in(running.out)
        for old, new in (
            ('"apiKey": "…"', f'"apiKey": "{key.key}"'),
            ('"secret": "…"', f'"secret": "{key.secret}"'),
            ("8200", str(port)),
        ):
            first, second = first.replace(old, new), second.replace(old, new)
        names: dict[str, Any] = {"print": lambda *_: None}
        exec(first + second, names)
        assert names["order"]["status"] == "open"
        assert names["api"]["ws"]["spot"] == f"ws://127.0.0.1:{port}/stream/ws"


def test_two_accounts_and_what_they_begin_with(shell: Shell) -> None:
    running, port = started(
        shell, "--account", "alice", "--account", "bob", "--spot", "USDT=500", "--usdm", "USDT=70"
    )
    with running:
        found = re.findall(r"key +(\w+)\n +secret +(\w+)", running.out)
        assert len(found) == 2
        for name, secret in found:
            trader = client(ccxt.binance, port, ApiKey(account="x", key=name, secret=secret))
            assert trader.fetch_balance()["USDT"]["total"] == 500
            assert trader.fetch_balance({"type": "swap"})["USDT"]["total"] == 70


def test_the_place_on_the_tape_is_kept(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    tape_of(tmp_path / "tape", *book(0), *book(30, lots=7), *book(100_000))
    running, port = started(shell, "--speed", "60")
    with running:
        trader = client(ccxt.binance, port, key_in(running.out))
        trader.load_markets()
        until(lambda: trader.fetch_order_book(SPOT)["asks"][0][1] == 0.00007, "the second book")
        place = tmp_path / "state" / "place.json"
        until(lambda: json.loads(place.read_text())["position"] > BEGIN + 30 * SECOND, "a note")
        running.process.kill()
        running.end()
    running, port = started(shell, "--speed", "1")
    with running:
        trader = client(ccxt.binance, port, None)
        trader.load_markets()
        assert trader.fetch_order_book(SPOT)["asks"][0][1] == 0.00007
        running.signal(signal.SIGTERM)
        running.end()
    tape_of(tmp_path / "another", *book(-1_000), *book(30, lots=7))
    shell.folder.joinpath("tape").rename(shell.folder / "old")
    shell.folder.joinpath("another").rename(shell.folder / "tape")
    running, port = started(shell)
    with running:
        trader = client(ccxt.binance, port, None)
        trader.load_markets()
        assert trader.fetch_order_book(SPOT)["asks"][0][1] == 1.0


def test_orders_of_another_market_are_not_taken_over(tmp_path: Path) -> None:
    with practice(tmp_path / "state", tape_of(tmp_path / "tape", *book(0))) as server:
        trader = client(ccxt.binance, server.port)
        trader.create_order(SPOT, "limit", "buy", 0.01, 50_000)
    with pytest.raises(StoreError, match="another --folder"), practice(tmp_path / "state"):
        pass
