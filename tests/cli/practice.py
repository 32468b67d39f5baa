"""A practice exchange as a process of its own, a folder whose node trades there, and the audit of
both at the end.
"""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ccxt

from seawall.core.errors import StoreError
from seawall.core.orders import Fill
from seawall.core.records import (
    AccountsOpened,
    FillBooked,
    FundingBooked,
    Halted,
    OrderCreated,
    Record,
)
from seawall.node.books import Books as NodeBooks
from seawall.risk.breakers import BREAKERS
from seawall.storage.journal import JournalReader
from seawall.venues.ccxt.client import practice
from tests.cli.processes import Running, Shell

KEY, SECRET, ADMIN = "k5ec2e7" * 9, "s5ec2e7hush" * 4, "admin5ec2e7hush5ec2"
READER, GREEDY = "r5ec2e7" * 9, "g5ec2e7" * 9
SETTINGS = """
capital = 100000
[live]
exchange = "binance"
product = "{product}"
url = "http://127.0.0.1:{port}"
[feed]
symbols = [{symbols}]
[estimation]
halflife_s = 10
volatility_halflife_s = 10
[decision]
deadband = 0.2
minimum_hold_s = 1
strategy = "turns.py"
[risk]
volatility_threshold = 10.0
flash_crash_threshold = 0.5
max_position_size = 0.4
[venue]
maker_fee_ppm = 1000
taker_fee_ppm = 1000
"""
TURNS = '''
"""Much and little in turns, by the number of rows alone, so that there is trading."""

import msgspec
import numpy as np

from seawall.decision.strategies import Kind


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    every: int = 2
    low: float = 0.1


class Turns:
    name = "turns"

    def __init__(self, shape, cadence):
        self._shape = shape

    def start(self):
        return {"rows": 0}

    def exposures(self, rows, state):
        at = state["rows"] + np.arange(len(rows))
        state["rows"] += len(rows)
        return np.where(at // self._shape.every % 2 == 0, 0.9, self._shape.low)


STRATEGY = Kind(Shape, Turns)
'''
SYMBOLS = {"spot": ["BTC/USDT", "ETH/USDT"], "linear": ["BTC/USDT:USDT", "ETH/USDT:USDT"]}
ENVIRONMENT = {"SEAWALL_SECRET_BINANCE_API_KEY": KEY, "SEAWALL_SECRET_BINANCE_API_SECRET": SECRET}


@dataclass
class Practice:
    """The exchange's process, and what a test does to it.

    Attributes:
        product: spot or linear, what the node trades.
        account: of the node's, where it has several.
    """

    shell: Shell
    running: Running
    port: int
    product: str
    account: str = ""

    @property
    def symbols(self) -> list[str]:
        """That are traded there."""
        return SYMBOLS[self.product]

    def fault(self, rule: str) -> None:
        """Put a fault into force, in the words of `seawall exchange --fault`."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/admin/faults",
            rule.encode(),
            {"X-Admin-Key": ADMIN},
            method="POST",
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=20) as answer:
            assert answer.status == 200

    def client(self) -> Any:
        """An independent client of the same account: plain ccxt, its numbers as texts."""
        kind = ccxt.binance if self.product == "spot" else ccxt.binanceusdm
        made = kind({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False})
        made.number = str
        made.options["fetchMarkets"] = {"types": [self.product]}
        made.options["warnOnFetchOpenOrdersWithoutSymbol"] = False
        made.has["fetchCurrencies"] = False
        made.urls = practice(made.urls, f"http://127.0.0.1:{self.port}")
        made.session.trust_env = False
        return made

    def node(self, *arguments: object, **environment: str) -> Running:
        """A node that trades there."""
        return node_of(self.shell, *arguments, **{**ENVIRONMENT, **environment})

    @property
    def journal(self) -> Path:
        """The node's."""
        name = "accounts" if self.account else f"binance-{self.product}"
        folder = f"live-{name}-practice"
        return self.shell.folder / "seawall-data" / folder / "journal.sqlite"

    def orders_made(self) -> int:
        """Orders of this account in the journal so far."""
        return len(self.orders())

    def orders(self) -> list[OrderCreated]:
        """Those orders."""
        made = [one for one in self._records() if isinstance(one, OrderCreated)]
        return [one for one in made if one.order.instrument in self._instruments]

    def fills(self) -> list[FillBooked]:
        """Fills of this account in the journal so far: not every order comes to one."""
        made = [one for one in self._records() if isinstance(one, FillBooked)]
        return [one for one in made if one.fill.instrument in self._instruments]

    @property
    def _instruments(self) -> set[str]:
        return {f"{symbol}@binance" for symbol in self.symbols}

    def _records(self) -> list[Record]:
        if not self.journal.exists():
            return []
        try:
            reader = JournalReader(self.journal)
        except StoreError:
            return []  # it is being made
        try:
            return [record for _, record in reader.read()]
        finally:
            reader.close()


def node_of(shell: Shell, *arguments: object, **environment: str) -> Running:
    """A node in live mode, with the settings of the folder."""
    return shell.start("run", "--mode", "live", "--no-dashboard", *arguments, **environment)


class Books:
    """What a journal comes to, or one account of it."""

    def __init__(self, journal: Path, account: str = "") -> None:
        reader = JournalReader(journal)
        try:
            written = [record for _, record in reader.read()]
        finally:
            reader.close()
        opened = [record for record in written if isinstance(record, AccountsOpened)]
        names = list(dict.fromkeys(name for record in opened for name in record.accounts))
        self.whole = NodeBooks(BREAKERS, names)
        self.fills: list[Fill] = []
        self.halts: list[str] = []
        self.funding = 0
        for record in written:
            for fold in self.whole.folds:
                fold.apply(record)
            if isinstance(record, Halted) and record.reason and record.account == account:
                self.halts.append(record.reason)
            if self.whole.whose(record) not in ("", account):
                continue
            if isinstance(record, FillBooked):
                self.fills.append(record.fill)
            elif isinstance(record, FundingBooked):
                self.funding += 1
        share = self.whole.shares[account] if account else self.whole
        self.ledger, self.orders = share.ledger, share.orders


@contextmanager
def exchange_in(folder: Path, shell: Shell, *more: object) -> Iterator[tuple[Running, int]]:
    """An exchange that keeps what it knows in a folder; and its port."""
    ring = {
        "admin": ADMIN,
        "keys": [
            {"account": "main", "key": KEY, "secret": SECRET},
            {"account": "main", "key": READER, "secret": SECRET, "permissions": ["read"]},
            {
                "account": "main",
                "key": GREEDY,
                "secret": SECRET,
                "permissions": ["read", "trade", "withdraw"],
            },
        ],
    }
    keys = folder.with_suffix(".keys")
    keys.write_text(json.dumps(ring))
    keys.chmod(0o600)
    with shell.start(
        "exchange", "--key-file", keys, "--port", "0", "--folder", folder, *more
    ) as running:
        running.said("http://127.0.0.1:")
        yield running, int(running.out.rpartition("http://127.0.0.1:")[2].split()[0])


@contextmanager
def trading_place(
    folder: Path, product: str = "spot", speed: float = 30.0, *more: str
) -> Iterator[Practice]:
    """A practice exchange, and a folder in which a node finds its settings and its strategy."""
    shell = Shell(folder)
    (folder / "turns.py").write_text(TURNS)
    with exchange_in(folder / "exchange", shell, "--speed", speed, *more) as (running, port):
        symbols = ", ".join(f'"{symbol}"' for symbol in SYMBOLS[product])
        text = SETTINGS.format(product=product, port=port, symbols=symbols)
        (folder / "seawall.toml").write_text(text)
        yield Practice(shell, running, port, product)


def audit(place: Practice) -> Books:
    """Venue and ledger are equal to the last unit, and no trade is missing or twice."""
    books, client = Books(place.journal, place.account), place.client()
    books.ledger.conservation()
    books.whole.conservation()
    traded: Counter[tuple[str, str]] = Counter()
    for symbol in place.symbols:
        after, page = 0, [{}]
        while page:
            page = client.fetch_my_trades(symbol, None, 1000, {"fromId": after})
            traded.update((symbol, trade["id"]) for trade in page)
            after = max([after, *(int(trade["id"]) + 1 for trade in page)])
    booked = Counter((fill.instrument.split("@")[0], fill.fill_id) for fill in books.fills)
    assert booked == traded
    assert max(booked.values(), default=1) == 1
    assert client.fetch_open_orders() == []
    assert books.orders.open == {}
    found = client.fetch_balance()
    if place.product == "spot":
        theirs = {a: t for a, t in found["total"].items() if t and Fraction(t)}
    else:
        theirs = {
            one["asset"]: one["walletBalance"]
            for one in found["info"]["assets"]
            if Fraction(one["walletBalance"])
        }
    units = {asset: Fraction(text) * 10**8 for asset, text in theirs.items()}
    assert {a: n for a, n in books.ledger.cash.items() if n} == units
    if place.product == "linear":
        held = {
            p["symbol"]: Fraction(p["contracts"]) * (-1 if p["side"] == "short" else 1)
            for p in client.fetch_positions()
            if Fraction(p["contracts"] or "0")
        }
        lots = {name.split("@")[0]: n for name, n in books.ledger.positions.items()}
        assert set(held) == set(lots)
        for symbol, size in held.items():
            step = Fraction(client.markets[symbol]["precision"]["amount"])
            assert size == lots[symbol] * step
    return books


def everything_left(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """All files below a folder, but the exchanges' own and the compiled ones."""
    for path in sorted(folder.rglob("*")):
        ours = not path.relative_to(folder).parts[0].startswith("exchange")
        if ours and path.is_file() and "__pycache__" not in path.parts:
            yield path, path.read_bytes()
