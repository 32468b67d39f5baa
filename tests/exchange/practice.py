"""A practice exchange in a thread of its own, and the ccxt clients that trade there."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from seawall.core.clock import SECOND, SystemClock
from seawall.core.events import EVENT, EventFlag, EventKind, Side
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.exchange.exchange import Exchange
from seawall.exchange.faults import Faults
from seawall.exchange.keys import ApiKey, KeyRing
from seawall.exchange.server import Server
from seawall.exchange.terms import Terms
from seawall.ingestion.tape import Tape, open_tape, write_tape

BID, ASK = 60_000_00, 60_000_10  # ticks of 0.01
BEGIN = 1_700_000_000 * SECOND
DEADLINE = 300.0  # seconds: of who waits for what must come, on however busy a machine
ALICE = ApiKey(account="alice", key="a" * 64, secret="alice-secret-alice-secret")
BOB = ApiKey(account="bob", key="b" * 64, secret="bob-secret-bob-secret-bob")
READER = ApiKey(account="alice", key="r" * 64, secret="reader-secret-1234", permissions=("read",))
RING = KeyRing(admin="admin-key-admin-key", keys=(ALICE, BOB, READER)).check()

CATALOG = Catalog(
    instruments=(
        Instrument(
            venue="x",
            symbol="BTCUSDT",
            kind=Kind.SPOT,
            base="BTC",
            quote="USDT",
            tick="0.01",
            lot="0.00001",
        ),
    ),
    sources=(Source(name="x", venue="x"),),
    books=((0, 0),),
).check()

Row = tuple[float, EventKind, Side, int, int]


def rows(*given: Row) -> np.ndarray:
    """(second, kind, side, ticks, lots) of the one instrument, each a message of its own."""
    made = np.zeros(len(given), EVENT)
    for row, (second, kind, side, price, size) in zip(made, given, strict=True):
        row["recv_ts"] = row["exch_ts"] = BEGIN + int(second * SECOND)
        row["kind"], row["side"], row["price"], row["size"] = kind, side, price, size
        row["previous"] = -1
        row["flags"] = EventFlag.BEGIN | EventFlag.END
    return made


def book(second: float, levels: int = 30, lots: int = 100_000, lower: int = 0) -> list[Row]:
    """A whole book, as many lots at each 0.10; `lower`: ticks that it has fallen."""
    made: list[Row] = [(second, EventKind.SNAPSHOT, Side.UNKNOWN, 0, 0)]
    for k in range(levels):
        made.append((second, EventKind.DEPTH, Side.BUY, BID - lower - 10 * k, lots))
        made.append((second, EventKind.DEPTH, Side.SELL, ASK - lower + 10 * k, lots))
    return made


def tape_of(folder: Path, *given: Row) -> Tape:
    """A tape on disk."""
    made = rows(*given)
    snapshots = made["kind"] == EventKind.SNAPSHOT
    ends = np.flatnonzero(snapshots)
    for at in ends:
        depth = np.flatnonzero(made["recv_ts"] == made["recv_ts"][at])
        made["flags"][depth] = 0
        made["flags"][depth[0]] = EventFlag.BEGIN
        made["flags"][depth[-1]] = EventFlag.END
    write_tape(folder, CATALOG, made)
    return open_tape(folder)


class Practice:
    """A server in a thread; without rate limits unless `terms` has them."""

    def __init__(
        self,
        folder: Path,
        tape: Tape | None = None,
        speed: float = 1.0,
        terms: Terms | None = None,
        port: int = 0,
        skip: float = 0.0,
        ring: KeyRing = RING,
    ) -> None:
        self.port = port
        self._ring = ring
        self._opened = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(
            target=self._run,
            args=(folder, tape, speed, terms or Terms().unlimited(), skip),
            name="practice",
        )
        self._thread.start()
        assert self._opened.wait(DEADLINE)  # kernels may have to be compiled
        if self._failed:
            raise self._failed[0]

    def _run(
        self, folder: Path, tape: Tape | None, speed: float, terms: Terms, skip: float
    ) -> None:
        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            self.server = Server(self.exchange, self._ring, Faults(7))
            await self.server.run(self.port, self._ready)

        try:
            self.exchange = Exchange(
                folder, self._ring.accounts, SystemClock(), terms, tape, speed, skip
            )
            try:
                asyncio.run(main())
            finally:
                self.exchange.close()
        except BaseException as error:  # noqa: BLE001 - the test that waits hears of it
            self._failed.append(error)
            self._opened.set()

    def _ready(self, port: int) -> None:
        self.port = port
        self._opened.set()

    def do(self, work: Callable[[], Any]) -> Any:
        """Do something in the server's own thread."""

        async def doing() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(doing(), self.loop).result(DEADLINE)

    def close(self) -> None:
        if self._thread.is_alive() and not self._failed:
            self.loop.call_soon_threadsafe(self.server.stop)
        self._thread.join(DEADLINE)
        assert not self._failed, self._failed


@contextmanager
def practice(folder: Path, *of: Any, **more: Any) -> Iterator[Practice]:
    server = Practice(folder, *of, **more)
    try:
        yield server
    finally:
        server.close()


def urls(port: int) -> dict[str, Any]:
    """What a ccxt client's `urls["api"]` must be to trade here."""
    http, ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    found: dict[str, Any] = {
        "public": f"{http}/api/v3",
        "private": f"{http}/api/v3",
        "v1": f"{http}/api/v1",
        "sapi": f"{http}/sapi/v1",
        "fapiPublic": f"{http}/fapi/v1",
        "fapiPublicV2": f"{http}/fapi/v2",
        "fapiPrivate": f"{http}/fapi/v1",
        "fapiPrivateV2": f"{http}/fapi/v2",
        "fapiPrivateV3": f"{http}/fapi/v3",
    }
    found["ws"] = {
        "spot": f"{ws}/stream/ws",
        "linear": f"{ws}/fstream/ws",
        "ws-api": {"spot": f"{ws}/ws-api/v3", "linear": f"{ws}/ws-fapi/v1"},
    }
    return found


def client(kind: Any, port: int, key: ApiKey | None = ALICE, **options: Any) -> Any:
    """A ccxt client, unmodified but for its URLs."""
    config: dict[str, Any] = {
        "options": {"fetchMarkets": {"types": ["spot", "linear"]}, **options},
        "enableRateLimit": False,
        "timeout": int(DEADLINE * 1_000),
    }
    if key is not None:
        config |= {"apiKey": key.key, "secret": key.secret}
    made = kind(config)
    made.urls["api"] = made.deep_extend(made.urls["api"], urls(port))
    return made
