"""The practice exchange over loopback: requests a second, ack latency, and tick to wire.

The exchange is a process of its own; the client is raw sockets with requests signed beforehand, so
that what is measured is the exchange and not a client library.
"""

import asyncio
import hashlib
import hmac
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.measure import Bench, Result

GROUP = "exchange"
PRACTICE = "loopback, simulated market"


@dataclass(frozen=True)
class Running:
    """The exchange's process."""

    port: int
    key: str
    secret: str
    process: int

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def practice(folder: Path, *more: str) -> Iterator[Running]:
    """`seawall exchange` until the measurement is over."""
    command = [sys.executable, "-m", "seawall", "exchange", "--port", "0", "--no-limits"]
    process = subprocess.Popen(
        [*command, "--folder", str(folder), *more], stdout=subprocess.PIPE, text=True
    )
    try:
        text = ""
        assert process.stdout is not None
        for line in process.stdout:
            text += line
            if "http://" in line:
                break
        port = re.search(r":(\d+) ", text)
        key = re.search(r"key +(\w+)\n +secret +(\w+)", text)
        assert port is not None, text
        assert key is not None, text
        yield Running(int(port[1]), key[1], key[2], process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _signed(running: Running, method: str, path: str, **params: object) -> bytes:
    given = {**params, "timestamp": int(time.time() * 1000), "recvWindow": 60_000}
    query = "&".join(f"{name}={value}" for name, value in given.items())
    mac = hmac.new(running.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    return (
        f"{method} {path}?{query}&signature={mac} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"X-MBX-APIKEY: {running.key}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def _plain(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


async def _ask(running: Running, requests: list[bytes]) -> list[float]:
    """Seconds until each answer, one request after the other on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    waited = []
    for request in requests:
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
        body = await reader.readexactly(length)
        waited.append(time.perf_counter() - began)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(body.decode())
    writer.close()
    return waited


def _orders(running: Running, count: int) -> list[bytes]:
    """An order and its cancellation, again and again."""
    made = []
    for k in range(count // 2):
        name = f"b{k}-{time.time_ns()}"
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        made.append(
            _signed(
                running,
                "POST",
                "/api/v3/order",
                **order,
                quantity="0.001",
                price="30000",
                newClientOrderId=name,
            )
        )
        made.append(
            _signed(running, "DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId=name)
        )
    return made


async def _ticks(running: Running, seconds: float) -> list[float]:
    """Seconds from when a trade was due to when a listener has it; both by the machine's clock."""
    late = []
    url = f"ws://127.0.0.1:{running.port}/stream/ws/btcusdt@trade"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            message = await socket.receive(timeout=30)
            late.append(time.time() - json.loads(message.data)["T"] / 1000)
    return late


def _p(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=1_000)[round(share * 1_000) - 1]


def exchange(bench: Bench) -> Iterator[Result]:
    """Requests a second on one connection, latencies of acks, and market data's way."""
    count = 200 if bench.quick else 4_000
    with practice(bench.scratch / "exchange") as running:
        kinds = (
            (
                "GET depth, 5 levels",
                lambda: [_plain("/api/v3/depth?symbol=BTCUSDT&limit=5")] * count,
            ),
            ("orders placed and cancelled, signed, logged", lambda: _orders(running, count)),
        )
        for what, make in kinds:
            rates, median, worst, cpu = [], [], [], []
            for _ in range(bench.runs):
                requests = make()
                began, used = time.perf_counter(), running.cpu()
                waited = asyncio.run(_ask(running, requests))
                rates.append(len(requests) / (time.perf_counter() - began))
                cpu.append(len(requests) / max(running.cpu() - used, 1e-9))
                median.append(1e3 * statistics.median(waited))
                worst.append(1e3 * _p(waited, 0.99))
            yield Result(GROUP, what, PRACTICE, "requests/s", rates, statistics.median(cpu))
            yield Result(GROUP, f"{what}: median latency", PRACTICE, "ms", median)
            yield Result(GROUP, f"{what}: p99 latency", PRACTICE, "ms", worst)
    with practice(bench.scratch / "ticks", "--speed", "60") as running:
        late = asyncio.run(_ticks(running, 1.0 if bench.quick else 20.0))
    note = f"{len(late)} trades at 60 x"
    for share in (0.5, 0.99):
        value = [1e3 * _p(late, share)]
        what = f"trade due → received by a listener, p{share * 100:g}"
        yield Result(GROUP, what, PRACTICE, "ms", value, note=note)
