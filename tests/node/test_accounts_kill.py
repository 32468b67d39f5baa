"""kill -9 of a paper run with two accounts; each one's exchange, inside it, keeps a log of its own.

Afterwards each account is equal to its exchange, order for order and unit for unit.
"""

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


def audit(data: Path) -> dict[str, int]:
    """Hold each account against its exchange's log; how many fills each had."""
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
        log = Log(data / f"venue-{deposit.account}.log")
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


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_the_node_dies_with_both_exchanges_inside(tmp_path: Path, times: int) -> None:
    run = Run(tmp_path, None, seed=66)
    decision, rest = SETTINGS.split("[risk]\n")
    (tmp_path / "seawall.toml").write_text(
        f"{decision}{ACCOUNTS.split('[[', 1)[0]}[risk]\n{rest}[[{ACCOUNTS.split('[[', 1)[1]}"
    )
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
