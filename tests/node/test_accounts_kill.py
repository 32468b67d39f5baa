"""kill -9 of a paper run with two accounts; each one's exchange, inside it, keeps a log of its own.

Afterwards each account is equal to its exchange, order for order and unit for unit.
"""

import tempfile
from pathlib import Path

import pytest

from seawall.core.orders import OrderState
from seawall.core.records import (
    AnyRecord,
    Deposited,
    FillBooked,
    Halted,
    OrderChanged,
    OrderCreated,
    RunStarted,
)
from seawall.ingestion.simulated import MarketShape
from seawall.node.books import Books
from seawall.risk.breakers import BREAKERS
from seawall.storage import JournalReader
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Log
from seawall.venues.simulated.shape import VenueShape
from tests.node.audit import money, ours, same_orders, theirs
from tests.node.crash import SETTINGS, Run

ACCOUNTS = """instruments = ["BTC/USD@sim-a", "BTC/USD@sim-c"]
[[accounts]]
name = "left"
venues = ["sim-a"]
capital = 60000
[[accounts]]
name = "right"
venues = ["sim-c"]
capital = 40000
[accounts.venue]
taker_fee_ppm = 100
"""
LETTERS = {"left": "a", "right": "b"}


def client_id(record: AnyRecord) -> str:
    """Of the order that a record is about; empty: it is about none."""
    match record:
        case OrderCreated(order=order):
            return order.client_id
        case OrderChanged(client_id=name):
            return name
        case FillBooked(fill=fill):
            return fill.client_id
    return ""


def audit(data: Path, logs: Path | None = None) -> dict[str, int]:
    """Hold each account against its exchange's log; how many fills each had."""
    logs = data if logs is None else logs
    reader = JournalReader(data / "journal.sqlite")
    try:
        reader.verify()
        records = [record for _, record in reader.read()]
    finally:
        reader.close()
    assert not [record for record in records if isinstance(record, Halted)]
    books = Books(BREAKERS, list(LETTERS))
    for record in records:
        for fold in books.folds:
            fold.apply(record)
    books.conservation()
    started = next(record for record in records if isinstance(record, RunStarted))
    instruments = {each.name: each for each in started.instruments}
    deposits = [record for record in records if isinstance(record, Deposited)]
    assert [each.account for each in deposits] == list(LETTERS)
    found = {}
    for deposit in deposits:
        letter = LETTERS[deposit.account]
        here = ours([r for r in records if client_id(r).split("-")[0][-1:] == letter])
        log = Log(logs / f"venue-{deposit.account}.log")
        try:
            there = theirs(log)
            engine = Engine(MarketShape().catalog(), VenueShape(), log)
            balances = {asset: units for asset, units in engine.balances().items() if units}
            positions = dict(engine.positions())
        finally:
            log.close()
        same_orders(here, there)
        assert here.fills == there.fills
        earned, held = money(here.fills, instruments)
        ledger = books.shares[deposit.account].ledger
        assert balances == {deposit.asset: deposit.amount + earned}
        assert {a: n for a, n in ledger.cash.items() if n} == balances
        assert ledger.positions == positions == held
        assert not [e for e in books.shares[deposit.account].orders.open.values()
                    if e.state is OrderState.UNKNOWN]  # fmt: skip
        found[deposit.account] = len(here.fills)
    return found


def settle(folder: Path, accounts: str) -> None:
    """Write the settings: the first line is of [decision], the rest tables of accounts."""
    before, after = SETTINGS.split("[risk]\n")
    instruments, tables = accounts.split("\n", 1)
    text = f"{before}{instruments}\n[risk]\n{after}{tables}"
    (folder / "seawall.toml").write_text(text)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_the_node_dies_with_both_exchanges_inside(tmp_path: Path, times: int) -> None:
    run = Run(tmp_path, None, seed=66)
    settle(tmp_path, ACCOUNTS)
    run.log = run.data / "venue-left.log"
    try:
        run.start_node()
        for _ in range(times):
            run.trade()
            run.await_moment()
            run.kill("node")
            run.start_node()
        run.trade()
        run.stop("node")
    finally:
        run.end()
    fills = audit(run.data)
    print(f"\n{run.lives} lives: {fills}")
    assert min(fills.values()) > 2 * times


def test_the_exchange_of_one_dies_and_the_other_goes_on(tmp_path: Path) -> None:
    run = Run(tmp_path, None, seed=77)
    with tempfile.TemporaryDirectory(prefix="seawall-") as sockets:
        accounts = ACCOUNTS.replace(
            "capital = 60000\n",
            f'capital = 60000\n[accounts.venue]\nurl = "unix:{sockets}/left"\n',
        )
        settle(tmp_path, f'{accounts}url = "unix:{sockets}/right"\n')

        def start(name: str) -> None:
            module = "seawall.venues.simulated.server"
            log = tmp_path / f"venue-{name}.log"
            listen = ["--listen", f"unix:{sockets}/{name}", "--log", str(log)]
            run._start(name, ["-m", module, *listen])

        try:
            for name in LETTERS:
                start(name)
            run.start_node()
            run.trade()
            for name in LETTERS:
                run.kill(name)
                goal = run.orders + 30  # at most one of them was under way to the dead one
                run.until("orders in the other account", lambda goal=goal: run.orders >= goal)
                start(name)
                back = f"trading again in {name}"
                run.until(back, lambda back=back: back in run.words("node"))
                run.trade()
            run.stop("node")
            for name in LETTERS:
                run.stop(name)
        finally:
            run.end()
    fills = audit(run.data, tmp_path)
    print(f"\n{fills}")
    assert min(fills.values()) > 20
    for name in LETTERS:
        assert f"not trading in account {name}: the venue does not answer" in run.words("node")
