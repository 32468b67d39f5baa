"""The terms of an exchange are found again from what a run on it wrote down."""

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core import money
from seawall.core.clock import MILLISECOND, SECOND, TapeClock
from seawall.core.errors import DataError
from seawall.core.events import Raw, Side
from seawall.core.orders import Fill, Order, OrderState, OrderType, TimeInForce
from seawall.core.records import AnyRecord, FillBooked, OrderChanged, OrderCreated, RunStarted
from seawall.core.settings import Settings, load
from seawall.ingestion.tape import write_tape
from seawall.lab import venue_fit
from seawall.node.exchange import venue_shape
from seawall.storage.journal import MemoryJournal
from seawall.venues.simulated import SimulatedVenue
from seawall.venues.simulated.fees import DAY
from seawall.venues.simulated.shape import FeeTier, VenueShape
from tests.node.short_runs import ONE_SOURCE, START, tape

SECONDS = 400
TRUE = VenueShape(
    balances={"USD": 10**15},
    maker_fee_ppm=120,
    taker_fee_ppm=450,
    entry_latency_ns=30 * MILLISECOND,
    response_latency_ns=80 * MILLISECOND,
    latency_jitter=0.4,
    queue_model="probabilistic",
    queue_power=3,
)


def quiet(done: int, total: int) -> None:
    """No progress."""


class Trader:
    """Rests at the touch, takes now and then, and writes down what a node writes down."""

    def __init__(self, venue: SimulatedVenue, clock: TapeClock, instrument: str) -> None:
        self.venue, self.clock, self.instrument = venue, clock, instrument
        self.index = venue.engine.matching.index[instrument]
        self.dice = Random(1)
        self.records: list[AnyRecord] = []
        self.made = 0
        self.resting: dict[str, int] = {}

    def boundary(self, now: int, number: int) -> None:
        for report in self.venue.poll(now):
            if isinstance(report, Fill):
                self.records.append(FillBooked(ts=now, fill=report, strategy="s"))
            elif report.state.final:
                self.resting.pop(report.client_id, None)
        bid, ask = self.venue.engine.desk.touch(self.index)
        if bid <= 0 or ask >= 1 << 62:
            return
        if number % 3 == 0:
            self.place(Side.BUY, ask, takes=True)
            return
        for name, since in list(self.resting.items()):
            if number - since >= 8:
                pending = OrderState.PENDING_CANCEL
                self.records.append(OrderChanged(ts=now, client_id=name, state=pending))
                self.venue.cancel(self.instrument, name)
                del self.resting[name]
        self.place(Side.BUY, bid, takes=False)
        self.place(Side.SELL, ask, takes=False)

    def place(self, side: Side, price: int, takes: bool) -> None:
        now = self.clock.now()
        self.made += 1
        name = f"t-{self.made}"
        order = Order(
            client_id=name,
            instrument=self.instrument,
            side=side,
            type=OrderType.LIMIT,
            size=self.dice.randint(1, 400),
            price=price,
            time_in_force=TimeInForce.IOC if takes else TimeInForce.GTC,
            post_only=not takes,
            accept_until=now + 2 * SECOND,
        )
        self.records.append(OrderCreated(ts=now, order=order))
        self.records.append(OrderChanged(ts=now, client_id=name, state=OrderState.SENT))
        self.venue.place(order)
        if not takes:
            self.resting[name] = now // SECOND


def lived(folder: Path, shape: VenueShape, delay: bool = False) -> Path:
    """A run's folder, as far as the fit reads it."""
    catalog, rows = tape(SECONDS, shape=ONE_SOURCE)
    if delay:  # some of the rows come late, by the feed's word
        rows = Raw(rows.copy())
        rows["exch_ts"] -= (rows["recv_ts"] // SECOND % 7) * 40 * MILLISECOND
    clock = TapeClock(int(rows["recv_ts"][0]))
    instrument = catalog.instruments[0]
    assets = {i.settle_asset for i in catalog.instruments} | {i.base for i in catalog.instruments}
    rich = msgspec.structs.replace(shape, balances=dict.fromkeys(assets, 10**25), max_leverage=1000)
    trader = Trader(SimulatedVenue(catalog, rich, clock), clock, instrument.name)
    at = 0
    for number in range(START // SECOND + 1, START // SECOND + SECONDS):
        now = number * SECOND
        past = int((rows["recv_ts"] <= now).sum())
        trader.venue.observe(Raw(rows[at:past]), now)
        clock.wait(now)
        trader.boundary(now, number)
        at = past
    journal = MemoryJournal()
    journal.append(
        [
            RunStarted(
                ts=0,
                run="r",
                mode="paper",
                seed=0,
                settings="",
                numeraire="USD",
                instruments=catalog.instruments,
                values=Settings().canonical(),
            ),
            *trader.records,
        ]
    )
    folder.mkdir(parents=True)
    journal.write(folder / "journal.sqlite")
    write_tape(folder / "tape-1", catalog, rows)
    return folder


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> venue_fit.VenueFit:
    run = venue_fit.read_run(lived(tmp_path_factory.mktemp("data") / "run", TRUE))
    return venue_fit.fit(run, quiet)


def test_fees_are_found_exactly(found: venue_fit.VenueFit) -> None:
    (tier,) = found.fees.tiers
    assert (tier.volume, tier.maker_fee_ppm, tier.taker_fee_ppm) == (0, 120, 450)
    assert found.fees.fills > 100


def test_latencies_are_found(found: venue_fit.VenueFit) -> None:
    latency = found.latency
    assert latency is not None
    assert latency.samples > 80
    assert latency.entry[1] == pytest.approx(30, rel=0.1)
    assert latency.jitter == pytest.approx(0.4, abs=0.06)
    assert latency.source == "own"
    # drawn from 48 to 112 ms: no single one explains all fills, but most
    assert 40 <= latency.response[0] <= latency.response[1] <= 120
    assert latency.told / latency.heard > 0.9


def test_the_queue_model_is_found(found: venue_fit.VenueFit) -> None:
    best = found.queue[0]
    assert best.error < 0.02
    assert (best.model, best.power) == ("probabilistic", 3)
    averse = next(fit for fit in found.queue if fit.model == "risk_averse")
    assert best.later_ms < 5 < 50 < averse.later_ms
    assert best.orders > 200


def test_the_terms_are_read_back_as_settings(found: venue_fit.VenueFit, tmp_path: Path) -> None:
    file = tmp_path / "terms.toml"
    file.write_text(venue_fit.toml(found))
    catalog, _ = tape(SECONDS, shape=ONE_SOURCE)
    shape = venue_shape(load(file, {}, {}), catalog, {})
    assert (shape.maker_fee_ppm, shape.taker_fee_ppm) == (120, 450)
    assert shape.queue_model == "probabilistic"
    assert 25 * MILLISECOND < shape.entry_latency_ns < 35 * MILLISECOND


def test_the_feed_s_delay_is_told_from_the_venue_s(tmp_path: Path) -> None:
    shape = msgspec.structs.replace(TRUE, latency_jitter=0.0, feed_latency=True)
    run = venue_fit.read_run(lived(tmp_path / "run", shape, delay=True))
    latency = venue_fit.fit_latency(run)
    assert latency is not None
    assert latency.source == "feed"
    assert latency.entry == pytest.approx((30.0, 30.0, 30.0))
    assert latency.jitter == 0.0


def test_tiers_are_found_where_the_fees_fall() -> None:
    """Fills of four days, the fee lower from the third day on."""
    catalog, _ = tape(SECONDS, shape=ONE_SOURCE)
    instrument = next(i for i in catalog.instruments if i.settle_decimals)
    tier = FeeTier(volume=1, maker_fee_ppm=50, taker_fee_ppm=300)
    orders, volumes, dice = [], [], Random(5)
    for day in range(4):
        total = 0
        for k in range(30):
            maker, lots, price = bool(k % 2), dice.randint(1, 10**6), dice.randint(10**5, 10**6)
            value = instrument.value(price, lots)
            low, high = tier.maker_fee_ppm, tier.taker_fee_ppm
            rate = (low if maker else high) if day >= 2 else (120 if maker else 450)
            total += value
            fill = Fill(
                sequence=len(orders) + 1,
                fill_id="f",
                client_id="c",
                instrument=instrument.name,
                side=Side.BUY,
                price=price,
                size=lots,
                fee=money.fee(value, rate),
                fee_asset=instrument.settle_asset if k else "BNB",
                maker=maker,
                ts=day * DAY + k,
            )
            order = Order(
                client_id="c",
                instrument=instrument.name,
                side=Side.BUY,
                type=OrderType.MARKET,
                size=lots,
            )
            orders.append(venue_fit.Sent(order, sent=1, fills=[(fill.ts, fill)]))
        volumes.append(total)
    made: Any = venue_fit.Run(orders, None, {instrument.name: instrument}, 0)  # type: ignore[arg-type]
    fees = venue_fit.fit_fees(made)
    assert [(t.maker_fee_ppm, t.taker_fee_ppm) for t in fees.tiers] == [(120, 450), (50, 300)]
    assert fees.left_out == 4
    whole = sum(volumes[:2]) // 10**instrument.settle_decimals
    assert fees.tiers[1].volume == pytest.approx(whole, rel=0.1)


@given(st.integers(1, 10**15), st.integers(-5_000, 10_000))
def test_what_a_fee_can_have_come_from_holds_the_truth(value: int, rate: int) -> None:
    low, high = venue_fit.possible(value, money.fee(value, rate))
    assert low <= rate <= high
    for tried in {low, high, low - 1, high + 1}:
        assert (money.fee(value, tried) == money.fee(value, rate)) == (low <= tried <= high)
    assert low <= venue_fit.plainest(low, high) <= high


def test_a_run_without_orders_is_one_clear_line(tmp_path: Path) -> None:
    journal = MemoryJournal()
    journal.write(tmp_path / "journal.sqlite")
    with pytest.raises(DataError, match="has sent no order"):
        venue_fit.read_run(tmp_path)
