"""A market without a network: one latent price per asset, seen through several imperfect sources.

A deterministic function of (shape, seed, start, start prices): fat tails, regimes, jumps, ten-level
books, trades that lean on the moves, latencies and outages; the same bytes however it is asked.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MILLISECOND, SECOND, YEAR, Clock
from seawall.core.errors import SettingError
from seawall.core.events import EventKind, Raw, empty, ordered
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.randomness import generator
from seawall.ingestion import simulated_kernels as kernels

STEPS = 20  # steps of the latent price in a second
STEP = SECOND // STEPS
LATENCY_SPREAD = 0.35  # standard deviation of the logarithm of a latency
SIZE_SPREAD = 0.8  # the same of a level's size
EXCITATION_MEMORY = 0.7  # share of the trades' excitement that is left a second later
EXCITATION_GAIN = 0.2  # excitement per trade: each trade brings 0.2 / (1 − 0.7) = 2/3 of another
TRADES_MOST = 50.0  # a second's trades per instrument are drawn with at most this mean
LEAN = 1.5  # slope of the odds that an aggressor buys, per standard deviation of the move
PRESSURE_MEMORY = 0.95  # share of the market's common pressure that is left a second later
PRESSURE_LEAN = 0.7  # logarithm of the sizes at bid over mid, per unit of pressure
SMALLEST_PRICE = 10_000  # ticks: below, ten levels a side would be coarse
CATCH_UP = 10 * SECOND  # a feed that was held up reads at most this much at once
POLL = 20 * MILLISECOND


class AssetShape(msgspec.Struct, frozen=True, kw_only=True):
    """One asset, quoted in USD.

    Attributes:
        base: its name.
        price: USD at the start where the caller gives none.
        tick, lot: increments in USD and in base units, decimal strings.
        volatility: annualised, of the continuous part in the normal regime (0.5 is 50 %).
        jump_bps: standard deviation of a jump, basis points.
        size: median size of the best level, base units.
    """

    base: str
    price: float
    tick: str
    lot: str
    volatility: float
    jump_bps: float
    size: float


class SourceShape(msgspec.Struct, frozen=True, kw_only=True):
    """One source, a venue of its own.

    Attributes:
        name: of the source and of its venue.
        latency_ms: mean time from the venue to us, milliseconds.
        noise_bps: standard deviation of the noise in each message's price, basis points.
        basis_bps: standard deviation of its slow difference from the latent price, basis points.
        half_spread_bps: in the normal regime; at least half of the market's `grid_bps`.
        depth_rate: book messages a second and instrument in the normal regime.
        trade_rate: trades a second and instrument that no other trade has brought about.
    """

    name: str
    latency_ms: float
    noise_bps: float = 0.1
    basis_bps: float = 0.8
    half_spread_bps: float = 0.35
    depth_rate: float = 12.0
    trade_rate: float = 0.6


class RegimeShape(msgspec.Struct, frozen=True, kw_only=True):
    """A regime: mean length in seconds, factors on volatility, spread and message rate."""

    length: float
    volatility: float
    spread: float
    rate: float


ASSETS = (
    AssetShape(
        base="BTC",
        price=60_000.0,
        tick="0.01",
        lot="0.00001",
        volatility=0.30,
        jump_bps=12.0,
        size=0.6,
    ),
    AssetShape(
        base="ETH",
        price=3_000.0,
        tick="0.01",
        lot="0.0001",
        volatility=0.36,
        jump_bps=15.0,
        size=8.0,
    ),
)
SOURCES = (
    SourceShape(name="sim-a", latency_ms=5.0, depth_rate=14.0, noise_bps=0.06),
    SourceShape(name="sim-b", latency_ms=12.0, depth_rate=13.0),
    SourceShape(name="sim-c", latency_ms=22.0, depth_rate=12.0),
    SourceShape(name="sim-d", latency_ms=38.0, depth_rate=11.0, half_spread_bps=0.45),
    SourceShape(name="sim-e", latency_ms=60.0, depth_rate=10.0, half_spread_bps=0.6),
)
CALM = RegimeShape(length=120.0, volatility=0.5, spread=1.0, rate=0.85)
NORMAL = RegimeShape(length=180.0, volatility=1.0, spread=1.0, rate=1.0)
VOLATILE = RegimeShape(length=45.0, volatility=2.5, spread=1.8, rate=1.4)


class MarketShape(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a simulated market.

    Attributes:
        assets, sources: each source lists each asset.
        correlation: of the assets' innovations, 0 ≤ correlation < 1.
        tail: degrees of freedom of the Student-t innovations, > 2.
        regimes: calm, normal, volatile; the chain moves between neighbours.
        jumps_per_hour: jumps that all assets share; each opens a volatile regime.
        basis_memory: time constant of the sources' bases, seconds.
        outages_per_hour: mean number, per source.
        outage_s: shortest and longest outage, seconds, at least 1.
        snapshots_per_minute: full books in between, per instrument.
        churn: chance that a book message redraws the size of a level.
        grid_bps: mean distance of the levels, basis points of the start price.
    """

    assets: tuple[AssetShape, ...] = ASSETS
    sources: tuple[SourceShape, ...] = SOURCES
    correlation: float = 0.75
    tail: float = 4.0
    regimes: tuple[RegimeShape, RegimeShape, RegimeShape] = (CALM, NORMAL, VOLATILE)
    jumps_per_hour: float = 4.0
    basis_memory: float = 300.0
    outages_per_hour: float = 2.0
    outage_s: tuple[float, float] = (5.0, 20.0)
    snapshots_per_minute: float = 1.0
    churn: float = 0.06
    grid_bps: float = 0.4

    def catalog(self) -> Catalog:
        """Instruments (source by source, asset by asset), sources and books.

        The instruments are linear perpetuals without funding, settled in USD, so that a position
        may be short; instruments of one base form a consensus group.
        """
        instruments = tuple(
            Instrument(
                venue=source.name,
                symbol=f"{asset.base}/USD",
                kind=Kind.LINEAR,
                base=asset.base,
                quote="USD",
                settle="USD",
                tick=asset.tick,
                lot=asset.lot,
                group=asset.base,
            )
            for source in self.sources
            for asset in self.assets
        )
        sources = tuple(Source(name=source.name, venue=source.name) for source in self.sources)
        books = tuple((index, index // len(self.assets)) for index in range(len(instruments)))
        return Catalog(instruments=instruments, sources=sources, books=books).check()


class Moment(NamedTuple):
    """A second of the latent market.

    event: the number that keys its randomness. start: ns UTC. price: (assets, STEPS) USD, constant
    within a step. move: (assets,) the second's return in standard deviations. pressure: (assets,)
    how much more all venues' books are bid than offered, of unit variance. regime: its shape.
    """

    event: int
    start: int
    price: NDArray[np.float64]
    move: NDArray[np.float64]
    pressure: NDArray[np.float64]
    regime: RegimeShape


class LatentPrice:
    """The efficient log-prices: a Markov chain of regimes over correlated Student-t innovations.

    The innovations of a step share one chi-square draw (multivariate t), so that assets have
    their large moves together; jumps come as in Merton (1976).
    """

    def __init__(self, shape: MarketShape, seed: int, prices: NDArray[np.float64]) -> None:
        self._shape = shape
        self._seed = seed
        self._log_price = np.log(prices)
        self._regime = 1
        count = len(shape.assets)
        self._pressure = np.zeros(count)
        correlation = np.full((count, count), shape.correlation) + np.eye(count) * (
            1.0 - shape.correlation
        )
        self._mix = np.linalg.cholesky(correlation)
        self._step_volatility = np.array([a.volatility for a in shape.assets]) * np.sqrt(
            STEP / YEAR
        )
        self._jump = np.array([a.jump_bps for a in shape.assets]) * 1e-4

    def second(self, event: int, start: int) -> Moment:
        """The next second."""
        random = generator(self._seed, "simulated.price", event)
        leave, where, jump, jump_step, jump_size = random.random(5)
        common = random.standard_normal()
        self._walk_regime(leave, where)
        regime = self._shape.regimes[self._regime]
        volatility = self._step_volatility * regime.volatility
        tail = self._shape.tail
        normals = random.standard_normal((len(volatility), STEPS))
        heavy = np.sqrt((tail - 2.0) / random.chisquare(tail, STEPS))
        innovations = (self._mix @ normals) * heavy * volatility[:, None]
        if jump < self._shape.jumps_per_hour / 3600.0:
            innovations[:, int(jump_step * STEPS)] += self._jump * common * (0.8 + 0.4 * jump_size)
            self._regime = 2
        path = self._log_price[:, None] + np.cumsum(innovations, axis=1)
        move = (path[:, -1] - self._log_price) / (volatility * np.sqrt(STEPS))
        self._log_price = path[:, -1]
        shock = generator(self._seed, "simulated.pressure", event).standard_normal(len(move))
        keep = PRESSURE_MEMORY
        self._pressure = keep * self._pressure + np.sqrt(1.0 - keep * keep) * shock
        return Moment(event, start, np.exp(path), move, self._pressure, regime)

    def _walk_regime(self, leave: float, where: float) -> None:
        """Leave the regime with the chance that its mean length gives, for a neighbour."""
        if leave < 1.0 / self._shape.regimes[self._regime].length:
            self._regime = 1 if self._regime != 1 else (0 if where < 0.6 else 2)


class Outage(NamedTuple):
    """When a source is away, ns UTC: [start, end)."""

    start: int
    end: int


class SourceStream:
    """One source: how it sees the latent price, what it sends, and when that reaches us.

    The steps stand apart, each to be replaced by whoever plays an attacker: `quotes` (the prices it
    believes in), `messages` (what it says about them), `deliver` (when we hear of it).
    """

    def __init__(self, shape: MarketShape, seed: int, index: int, moment: Moment) -> None:
        self._shape = shape
        self._source = shape.sources[index]
        self._index = index
        self._seed = seed
        self._tick = np.array([float(Fraction(a.tick)) for a in shape.assets])
        self._lots = np.array([a.size / float(Fraction(a.lot)) for a in shape.assets])
        count = len(shape.assets)
        self._basis = np.zeros(count)
        self._excitement = np.zeros(count)
        self._outage = Outage(moment.start, moment.start)
        self._opening = moment.start
        self._last_receive = moment.start
        self._books = self._new_books(moment.price[:, 0] / self._tick)

    def _new_books(self, ticks: NDArray[np.float64]) -> kernels.Books:
        count = len(ticks)
        random = generator(self._seed, f"simulated.grid.{self._source.name}")
        step = np.maximum(1, np.rint(ticks * self._shape.grid_bps * 1e-4)).astype(np.int64)
        jitter = random.integers(0, step[:, None], (count, kernels.JITTER))
        return kernels.Books(
            best=np.zeros((count, 2), np.int64),
            size=np.zeros((count, 2, kernels.LEVELS), np.int64),
            sent_best=np.zeros((count, 2), np.int64),
            sent_size=np.zeros((count, 2, kernels.LEVELS), np.int64),
            counter=np.zeros((count, 2), np.int64),
            step=step,
            jitter=jitter,
        )

    def second(self, moment: Moment) -> NDArray[Any]:
        """The rows that the source sends in this second, receive times rising."""
        random = generator(self._seed, f"simulated.source.{self._source.name}", moment.event)
        self._walk(random, moment)
        times, messages = self.messages(random, moment)
        rows = np.empty(len(times) * kernels.ROWS_PER_MESSAGE, dtype=empty(0).dtype)
        owner = np.empty(len(rows), np.int64)
        count = kernels.emit(self._books, messages, self._shape.churn, rows, owner)
        rows, owner = rows[:count].copy(), owner[:count]
        rows["instrument"] += np.uint16(self._index * len(self._tick))
        rows["source"] = self._index
        received = self.deliver(random, times)
        rows["recv_ts"] = received[owner]
        rows["exch_ts"] = np.where(
            rows["kind"] == EventKind.DOWN,  # the loss is seen on our side
            rows["recv_ts"],
            times[owner],
        )
        return rows

    def _walk(self, random: np.random.Generator, moment: Moment) -> None:
        """The slow state: the basis (Ornstein and Uhlenbeck 1930, exact step) and outages."""
        keep = np.exp(-1.0 / self._shape.basis_memory)
        shock = random.standard_normal(len(self._basis)) * self._source.basis_bps
        self._basis = self._basis * keep + shock * np.sqrt(1.0 - keep * keep)
        chance, offset, length = random.random(3)
        shortest, longest = self._shape.outage_s
        quiet = self._outage.end < moment.start and moment.start > self._opening
        if quiet and chance < self._shape.outages_per_hour / 3600.0:
            start = moment.start + int(offset * SECOND)
            seconds = shortest + (longest - shortest) * length
            self._outage = Outage(start, start + int(seconds * SECOND))

    def messages(
        self, random: np.random.Generator, moment: Moment
    ) -> tuple[NDArray[np.int64], kernels.Messages]:
        """What it says in this second: (n,) times of its own clock in ns UTC, and the messages."""
        times, asset, kind = self._schedule(random, moment)
        count = len(times)
        away = (times >= self._outage.start) & (times < self._outage.end)
        bid, ask = self.quotes(random, moment, times, asset)
        buys = 1.0 / (1.0 + np.exp(-LEAN * (moment.move + moment.pressure)))
        draws = 2 * kernels.LEVELS
        outer = 1.0 + 0.3 * (np.arange(draws) % kernels.LEVELS)
        lean = np.where(np.arange(draws) < kernels.LEVELS, PRESSURE_LEAN, -PRESSURE_LEAN)
        sizes = np.exp(
            SIZE_SPREAD * random.standard_normal((count, draws))
            + moment.pressure[asset][:, None] * lean
        )
        sizes *= outer
        trade_sizes = 0.1 * np.exp(random.standard_normal(count))
        lots = self._lots[asset]
        return times, kernels.Messages(
            asset=asset,
            kind=kind,
            muted=away & (kind != kernels.MESSAGE_DOWN),
            bid=bid,
            ask=ask,
            side=(random.random(count) >= buys[asset]).astype(np.int64),
            lots=np.maximum(1, trade_sizes * lots).astype(np.int64),
            change=random.random((count, draws)),
            fresh=np.maximum(2, sizes * lots[:, None]).astype(np.int64),
        )

    def _schedule(
        self, random: np.random.Generator, moment: Moment
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Times, assets and kinds of the second's messages, in the order of time."""
        assets = np.arange(len(self._tick))
        depth = random.poisson(self._source.depth_rate * moment.regime.rate, len(assets))
        own = self._source.trade_rate * (0.5 + np.minimum(np.abs(moment.move), 5.0))
        trades = random.poisson(np.minimum(own + self._excitement, TRADES_MOST))
        self._excitement = EXCITATION_MEMORY * self._excitement + EXCITATION_GAIN * trades
        full = np.minimum(depth, random.random(len(assets)) < self._full_chance())
        special_times, special_kinds = self._turns(moment)
        kinds = [np.repeat(special_kinds, len(assets))]
        owners = [np.tile(assets, len(special_kinds))]
        for kind, counts in (
            (kernels.MESSAGE_SNAPSHOT, full),
            (kernels.MESSAGE_DEPTH, depth - full),
            (kernels.MESSAGE_TRADE, trades),
        ):
            owners.append(np.repeat(assets, counts))
            kinds.append(np.full(int(counts.sum()), kind))
        asset, kind_of = np.concatenate(owners), np.concatenate(kinds)
        special = np.repeat(special_times, len(assets))
        drawn = moment.start + random.integers(0, SECOND, len(asset) - len(special))
        times = np.concatenate([special, drawn])
        order = np.argsort(times, kind="stable")
        return times[order], asset[order], kind_of[order]

    def _full_chance(self) -> float:
        return self._shape.snapshots_per_minute / 60.0

    def _turns(self, moment: Moment) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The second's turns, for all assets: opening, going away, coming back."""
        turns = [
            (self._opening, kernels.MESSAGE_SNAPSHOT),
            (self._outage.start, kernels.MESSAGE_DOWN),
            (self._outage.end, kernels.MESSAGE_SNAPSHOT),
        ]
        if self._outage.start == self._outage.end:
            turns = turns[:1]
        here = [turn for turn in turns if moment.start <= turn[0] < moment.start + SECOND]
        times = np.array([time for time, _ in here], np.int64)
        return times, np.array([kind for _, kind in here], np.int64)

    def quotes(
        self,
        random: np.random.Generator,
        moment: Moment,
        times: NDArray[np.int64],
        asset: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The best bid and ask that it wants at each message, (n,) ticks."""
        latent = moment.price[asset, (times - moment.start) // STEP]
        noise = random.standard_normal(len(times)) * self._source.noise_bps
        middle = latent / self._tick[asset] * (1.0 + 1e-4 * (self._basis[asset] + noise))
        half = middle * (1e-4 * self._source.half_spread_bps * moment.regime.spread)
        return middle - half, middle + half

    def deliver(self, random: np.random.Generator, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """When the messages reach us, (n,) ns UTC: a connection does not reorder."""
        spread = LATENCY_SPREAD
        normals = random.standard_normal(len(times))
        latency = self._source.latency_ms * np.exp(spread * normals - spread * spread / 2.0)
        received = times + np.maximum(1, latency * MILLISECOND).astype(np.int64)
        received = np.maximum.accumulate(np.maximum(received, self._last_receive))
        if len(received):
            self._last_receive = int(received[-1])
        return received


class SimulatedMarket:
    """The market from `start` on; each call hands out the rows that have come in since the last.

    Args:
        seed: of all its randomness.
        start: ns UTC.
        shape: its parameters.
        prices: base → USD at the start, where they are not the shape's; a restart gives the last
            marks and goes on near them.

    Raises:
        SettingError: a start price is not positive or too small for its tick.
    """

    def __init__(
        self,
        seed: int,
        start: int,
        shape: MarketShape | None = None,
        prices: Mapping[str, float] | None = None,
    ) -> None:
        self.shape = shape or MarketShape()
        self.catalog = self.shape.catalog()
        self._seed, self._prices = seed, dict(prices or {})
        self.position = start  # everything received by then has been handed out
        self._complete = start  # rows received before are all made
        self._latent = LatentPrice(self.shape, seed, self._start_prices(self._prices))
        self._moment = self._latent.second(start // SECOND, start)
        self._streams = [
            SourceStream(self.shape, seed, index, self._moment)
            for index in range(len(self.shape.sources))
        ]
        self._ready = empty(0)
        self._late = empty(0)  # made, but received after `_complete`

    def _start_prices(self, given: Mapping[str, float]) -> NDArray[np.float64]:
        prices = np.array([given.get(a.base, a.price) for a in self.shape.assets])
        for asset, price in zip(self.shape.assets, prices, strict=True):
            least = SMALLEST_PRICE * Fraction(asset.tick)
            if not (np.isfinite(price) and price >= least):
                raise SettingError(
                    f"simulated market: the start price of {asset.base} is {price}; "
                    f"give a number of at least {float(least)}"
                )
        return prices

    def generate(self, until: int) -> Raw:
        """Rows received after the last call's `until` and by this one (ns UTC), in tape order."""
        made = [self._ready]
        while self._complete <= until:
            made.append(self._second())
        rows = np.concatenate(made)
        cut = int(np.searchsorted(rows["recv_ts"], until, side="right"))
        self._ready = rows[cut:]
        self.position = max(self.position, until)
        return Raw(rows[:cut])

    def begun(self, start: int) -> "SimulatedMarket":
        """The same market with another start (ns UTC)."""
        return SimulatedMarket(self._seed, start, self.shape, self._prices)

    def record(self, duration: int) -> Raw:
        """Rows of the next `duration` ns, at once."""
        return self.generate(self.position + duration)

    def _second(self) -> NDArray[Any]:
        """Make one more second; its rows, with those of before that are received in it."""
        moment = self._moment
        rows = ordered(
            np.concatenate([self._late, *(stream.second(moment) for stream in self._streams)])
        )
        self._complete = moment.start + SECOND
        cut = int(np.searchsorted(rows["recv_ts"], self._complete, side="left"))
        self._late = rows[cut:].copy()
        self._moment = self._latent.second(moment.event + 1, self._complete)
        return rows[:cut]


class SimulatedFeed:
    """The simulated market in real time, or whatever time the clock keeps."""

    def __init__(self, market: SimulatedMarket, clock: Clock) -> None:
        self._market = market
        self._clock = clock
        self._closed = False

    @property
    def catalog(self) -> Catalog:
        """Instruments, sources and books."""
        return self._market.catalog

    def follow(self, last: int) -> None:
        """Begin behind a tape that ends at `last` (ns UTC) where the past would reach into it."""
        if last > self._market.position:
            self._market = self._market.begun(last)

    def history(self, until: int) -> Raw:
        """The rows received up to `until` (ns UTC), at once: what a run looks back on."""
        return self._market.generate(until)

    def read(self, timeout: float) -> Raw | None:
        """The rows received by now; none where `timeout` seconds bring none; None once closed."""
        deadline = self._clock.now() + int(timeout * SECOND)
        while not self._closed:
            now = self._clock.now()
            behind = min(now, self._market.position + CATCH_UP)
            rows = self._market.generate(max(behind, self._market.position))
            if len(rows) or now >= deadline:
                return rows
            self._clock.wait(min(deadline, now + POLL))
        return None

    def close(self) -> None:
        """End the feed."""
        self._closed = True
