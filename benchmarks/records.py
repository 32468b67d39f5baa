"""Records as a trading node makes them: whole lives of orders, the same each time."""

from collections.abc import Iterator

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.events import Side
from seawall.core.instruments import Instrument
from seawall.core.intents import Approved, Target
from seawall.core.orders import Fill, Order, OrderState, OrderType, TimeInForce
from seawall.core.records import (
    AnyRecord,
    Deposited,
    FillBooked,
    IntentApproved,
    IntentDecided,
    OrderChanged,
    OrderCreated,
    RunStarted,
)
from seawall.ingestion.simulated import MarketShape

START = 1_700_000_040 * SECOND
CATALOG = MarketShape().catalog()
INSTRUMENTS = CATALOG.instruments
STRATEGIES = ("trend", "order_flow")
LIFE = 6  # records of one order


def opening() -> list[AnyRecord]:
    """What begins a journal."""
    started = RunStarted(
        ts=START,
        run="benchmark",
        mode="paper",
        seed=0,
        settings="",
        numeraire="USD",
        instruments=INSTRUMENTS,
    )
    return [started, Deposited(ts=START, asset="USD", amount=10**13)]


def lives() -> Iterator[list[AnyRecord]]:
    """Orders without end, each with all its records; each instrument is bought, then sold."""
    number = 0
    while True:
        number += 1
        yield life(number)


def life(number: int) -> list[AnyRecord]:
    """The records of one order from the wish to the fill."""
    instrument = INSTRUMENTS[number % len(INSTRUMENTS)]
    ts = START + number * 100 * MILLISECOND
    fill = fill_of(number, instrument, ts)
    intent = Target(
        strategy=STRATEGIES[number % 2],
        ts=ts,
        tape=number * 1000,
        expiry=ts + SECOND,
        rationale="trend 0.412, order flow -0.118",
        instrument=instrument.name,
        exposure=fill.side.sign * 1234.5,
    )
    order = Order(
        client_id=fill.client_id,
        instrument=instrument.name,
        side=fill.side,
        type=OrderType.LIMIT,
        size=fill.size,
        price=fill.price,
        time_in_force=TimeInForce.IOC,
        accept_until=ts + SECOND,
        strategy=intent.strategy,
    )
    approved = Approved(intent=intent, instrument=instrument.name, position=fill.size)
    return [
        IntentDecided(ts=ts, intent=intent),
        IntentApproved(ts=ts, approved=approved),
        OrderCreated(ts=ts, order=order),
        OrderChanged(ts=ts, client_id=order.client_id, state=OrderState.SENT),
        OrderChanged(
            ts=ts,
            client_id=order.client_id,
            state=OrderState.NEW,
            venue_sequence=2 * number - 1,
        ),
        FillBooked(ts=ts, fill=fill, strategy=intent.strategy),
    ]


def fill_of(number: int, instrument: Instrument, ts: int) -> Fill:
    """The only fill of an order. Numbers that look random and are none."""
    turn = number // len(INSTRUMENTS)
    size = 1 + (turn // 2 * 7919) % 100
    return Fill(
        sequence=2 * number,
        fill_id=f"f{number:08d}",
        client_id=f"benchmark-{number:08d}",
        instrument=instrument.name,
        side=Side.SELL if turn % 2 else Side.BUY,
        price=100_000 + (number * 104_729) % 1000,
        size=size,
        fee=size * 40,
        fee_asset=instrument.settle_asset,
        maker=False,
        ts=ts,
    )
