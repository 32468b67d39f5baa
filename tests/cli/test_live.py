"""A node in live mode against the practice exchange: real processes, real HTTP and WebSockets."""

import contextlib
import os
import signal
import time
from pathlib import Path

import ccxt
import pytest

from tests.cli.practice import (
    ENVIRONMENT,
    GREEDY,
    READER,
    SECRET,
    Practice,
    audit,
    everything_left,
    trading_place,
)
from tests.cli.processes import Running, assert_one_line, until


def orders(place: Practice, node: Running, more: int) -> None:
    """Wait until the node has made so many orders more."""
    wanted = place.orders_made() + more
    node.until(lambda: place.orders_made() >= wanted, f"{more} more orders")


def stopped(node: Running) -> None:
    """Stop in order."""
    node.signal(signal.SIGTERM)
    ended = node.end()
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.out + ended.err


def no_secret_in(folder: Path) -> None:
    """Neither key nor secret is in anything that a run left behind."""
    for path, content in everything_left(folder):
        for text in ENVIRONMENT.values():
            assert text.encode() not in content, path


def test_a_node_trades_through_drops_limits_and_a_kill(tmp_path: Path) -> None:
    with trading_place(tmp_path) as place:
        with place.node() as node:
            orders(place, node, 4)
            place.fault("drop count=1")
            orders(place, node, 2)
            place.fault("rate_limit count=2 seconds=1")
            place.fault("ack_lost path=/api/v3/order method=POST probability=0.5 count=3")
            orders(place, node, 4)
            node.signal(signal.SIGKILL)
            node.process.wait()
        with place.node() as node:
            orders(place, node, 2)
            node.until(lambda: len(place.fills()) >= 10, "ten fills")
            stopped(node)
        books = audit(place)
        assert not books.halts
        no_secret_in(tmp_path)


@pytest.mark.slow
def test_each_mistake_is_one_clear_line(tmp_path: Path) -> None:
    with trading_place(tmp_path) as place:
        shell = place.shell

        def looked(**changed: str) -> str:
            ended = shell("preflight", **{**ENVIRONMENT, **changed})
            assert SECRET not in ended.out + ended.err
            assert ended.code == 1, ended.out + ended.err
            stops = [line for line in ended.out.splitlines() if line.startswith("stop")]
            assert len(stops) == 1, ended.out
            return stops[0]

        assert "this key can withdraw money" in looked(SEAWALL_SECRET_BINANCE_API_KEY=GREEDY)
        assert "may not trade spot" in looked(SEAWALL_SECRET_BINANCE_API_KEY=READER)

        wrong = {**ENVIRONMENT, "SEAWALL_SECRET_BINANCE_API_SECRET": "wrong5ec2e7" * 4}
        ended = shell("run", "--mode", "live", "--no-dashboard", **wrong)
        said = assert_one_line(ended, 7, "does not accept the API key or its secret")
        assert "wrong5ec2e7" not in said
        none = shell("run", "--mode", "live", "--no-dashboard")
        assert_one_line(none, 2, "seawall keys add binance")

        toml = tmp_path / "seawall.toml"
        text = toml.read_text()
        toml.write_text(text.replace('"BTC/USDT", "ETH/USDT"', '"DOGE/USDT"'))
        unknown = shell("run", "--mode", "live", "--no-dashboard", **ENVIRONMENT)
        assert_one_line(unknown, 4, "DOGE/USDT")
        toml.write_text(text.replace("capital = 100000", "capital = 5"))
        assert "smallest order" in looked()
        toml.write_text(text)

        place.fault("skew seconds=5")
        skewed = shell("run", "--mode", "live", "--no-dashboard", **ENVIRONMENT)
        assert_one_line(skewed, 7, "clock is 5.0 s behind", "set it")


def test_real_money_asks_first(tmp_path: Path) -> None:
    with trading_place(tmp_path) as place:
        toml = tmp_path / "seawall.toml"
        lines = toml.read_text().splitlines()
        toml.write_text("\n".join(line for line in lines if not line.startswith("url")))
        for given in ((), ("--real-money", "kraken")):
            ended = place.shell("run", "--mode", "live", "--no-dashboard", *given, **ENVIRONMENT)
            assert_one_line(ended, 2, "real money was not confirmed")
        assert place.shell.hosts_asked == []


def silence(place: Practice, stopped: bool) -> None:
    """Four seconds of a pause, as whoever goes on sees it: the exchange lets a request of that
    patience go without an answer, or its clock goes on."""
    client, seen = place.client(), []
    client.timeout = 4_000
    if stopped:
        with pytest.raises(ccxt.RequestTimeout):
            client.fetch_time()
        return

    def over() -> bool:
        with contextlib.suppress(ccxt.NetworkError):  # the faults are meant for whoever asks
            seen.append(int(client.fetch_time()))
        return bool(seen) and seen[-1] >= seen[0] + 4_000

    until(over, "four seconds of the exchange")


@pytest.mark.slow
@pytest.mark.parametrize("product", ["spot", "linear"])
def test_an_hour_of_trouble_ends_with_equal_books(tmp_path: Path, product: str) -> None:
    """An hour of the tape at sixty times its pace: sockets dropped, 429 and 503, answers lost and
    late, a silent exchange, a paused one, a paused node and a node killed at any moment."""
    with trading_place(tmp_path, product, 60.0, "--funding-minutes", "10") as place:
        began = time.monotonic()
        trouble = [
            "drop count=1",
            "rate_limit count=3 seconds=1",
            "ack_lost path=order method=POST probability=0.5 count=3",
            "timeout path=order method=POST probability=0.5 count=3",
            "late path=order method=POST seconds=1 count=2",
            "error status=503 probability=0.3 count=6",
            "request_lost path=order count=2",
            "duplicate probability=0.3 count=10",
            "reorder probability=0.3 count=10",
            "silent seconds=4",
            "drop count=1",
        ]
        for life in range(3):
            with place.node() as node:
                orders(place, node, 2)
                for rule in trouble[life::3]:
                    place.fault(rule)
                    orders(place, node, 3)
                for paused in (place.running.process, node.process):
                    os.kill(paused.pid, signal.SIGSTOP)
                    silence(place, paused is place.running.process)
                    os.kill(paused.pid, signal.SIGCONT)
                orders(place, node, 2)
                node.signal(signal.SIGKILL)
                node.process.wait()
        with place.node() as node:
            orders(place, node, 2)
            while time.monotonic() - began < 60 or place.orders_made() < 40:
                orders(place, node, 2)
            stopped(node)
        books = audit(place)
        assert len(books.fills) >= 30
        assert not [reason for reason in books.halts if "differ" in reason]
        no_secret_in(tmp_path)
