"""A node that trades two live accounts, each at a practice exchange of its own: real processes,
real HTTP and WebSockets, the real ccxt client."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.cli.practice import (
    KEY,
    SECRET,
    SETTINGS,
    TURNS,
    Practice,
    audit,
    everything_left,
    exchange_in,
    node_of,
)
from tests.cli.processes import Running, Shell, assert_one_line

KEYS = {
    f"SEAWALL_SECRET_{name}_{part}": text
    for name in ("LEFT", "RIGHT")
    for part, text in (("API_KEY", KEY), ("API_SECRET", SECRET))
}
PRODUCTS = {"left": "spot", "right": "linear"}
TRADED = ["BTC/USDT", "ETH/USDT:USDT"]
ACCOUNT = """
[[accounts]]
name = "{name}"
capital = 50000
[accounts.live]
product = "{product}"
keys = "{name}"
url = "http://127.0.0.1:{port}"
"""


def settings_of(ports: dict[str, int]) -> str:
    """Of two accounts at two exchanges."""
    symbols = ", ".join(f'"{symbol}"' for symbol in TRADED)
    text = SETTINGS.format(product="spot", port=0, symbols=symbols)
    text = text.replace('url = "http://127.0.0.1:0"\n', "")
    names = ", ".join(f'"{symbol}@binance"' for symbol in TRADED)
    text = text.replace("[decision]", f"[decision]\ninstruments = [{names}]")
    for name, product in PRODUCTS.items():
        text += ACCOUNT.format(name=name, product=product, port=ports[name])
    return text


@contextmanager
def two_places(folder: Path, speed: float = 30.0) -> Iterator[tuple[Practice, Practice]]:
    """Two practice exchanges, and a folder in which a node finds its settings and its strategy."""
    shell = Shell(folder)
    (folder / "turns.py").write_text(TURNS)
    with (
        exchange_in(folder / "exchange-left", shell, "--speed", speed) as (left, one),
        exchange_in(folder / "exchange-right", shell, "--speed", speed) as (right, other),
    ):
        (folder / "seawall.toml").write_text(settings_of({"left": one, "right": other}))
        yield (
            Practice(shell, left, one, PRODUCTS["left"], "left"),
            Practice(shell, right, other, PRODUCTS["right"], "right"),
        )


def orders(node: Running, *more: tuple[Practice, int]) -> None:
    """Wait until so many orders more are made in these accounts."""
    wanted = [(place, place.orders_made() + count) for place, count in more]

    def made() -> bool:
        return all(place.orders_made() >= count for place, count in wanted)

    node.until(made, f"more orders: {[count for _, count in more]}")


def node_at(place: Practice) -> Running:
    """A node that trades at both."""
    return node_of(place.shell, **KEYS)


def accounts_at(url: str) -> dict[str, Any]:
    """What the node's API says of each account."""
    answer = httpx.get(f"{url}/api/accounts", trust_env=False)
    return {one["name"]: one for one in answer.json()["accounts"]}


def test_what_happens_in_one_account_without_us_stops_it_until_it_is_adopted(
    tmp_path: Path,
) -> None:
    with two_places(tmp_path) as (left, right):
        shell = left.shell
        with shell.start("run", "--mode", "live", "--port", "0", **KEYS) as node:
            orders(node, (left, 1), (right, 1))
            url = node.out.partition("dashboard: ")[2].split()[0]
            right.client().create_order("ETH/USDT:USDT", "market", "buy", "0.05")
            node.said("not trading in account right: trades in the account that are not ours")
            node.until(lambda: accounts_at(url)["right"]["state"] == "halted", "right halted")
            stopped = accounts_at(url)
            assert stopped["left"]["state"] == "trading"
            assert "seawall reconcile --adopt --account right" in stopped["right"]["reason"]
            orders(node, (left, 2))
            adopt = ("reconcile", "--adopt", "--url", url, "--account")
            wrong = shell(*adopt, "rihgt")
            assert_one_line(wrong, 3, "there is no account rihgt; choose from left, right")
            assert shell(*adopt, "right").code == 0
            node.said("trading again in right")
            orders(node, (left, 1), (right, 1))
            node.until(lambda: accounts_at(url)["right"]["state"] == "trading", "right trading")
            told = accounts_at(url)
            node.signal(signal.SIGTERM)
            assert node.end().code == 0
        for place in (left, right):
            books = audit(place)
            assert books.halts == []
            assert told[place.account]["compared"] > 0
            assert told[place.account]["equity"] > 0


def test_two_accounts_trade_through_a_pause_of_one_and_a_kill(tmp_path: Path) -> None:
    with two_places(tmp_path) as (left, right):
        with node_at(left) as node:
            orders(node, (left, 3), (right, 3))
            os.kill(right.running.process.pid, signal.SIGSTOP)
            node.said("not trading in account right: ")
            before = len(right.orders())
            orders(node, (left, 4))
            assert all(one.order.reduce_only for one in right.orders()[before:])
            os.kill(right.running.process.pid, signal.SIGCONT)
            node.said("trading again in right")
            orders(node, (left, 2), (right, 2))
            assert "not trading in account left" not in node.out
            node.signal(signal.SIGKILL)
            node.process.wait()
        with node_at(left) as node:
            orders(node, (left, 2), (right, 2))
            node.signal(signal.SIGTERM)
            ended = node.end()
        assert ended.code == 0, ended.err
        assert "Traceback" not in ended.out + ended.err
        for place in (left, right):
            books = audit(place)
            assert len(books.fills) >= 5
            assert books.halts == []
            letter = {"left": "a", "right": "b"}[place.account]
            ids = [one.order.client_id for one in place.orders()]
            assert {name.rpartition("-")[0][-1] for name in ids} == {letter}
        for path, content in everything_left(tmp_path):
            assert SECRET.encode() not in content, path
            assert KEY.encode() not in content, path
