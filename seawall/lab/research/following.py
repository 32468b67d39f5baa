"""The fast tier: an account that follows wanted exposures over a perceived market.

It leaves out what one run of the whole node has beside the strategy (breakers, limits, journal,
orders under way); the same rules otherwise. How far the two are apart is measured in benchmarks/.
"""

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.analysis import VolatilityShape
from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.instruments import Kind
from seawall.lab.research.following_kernels import ACCOUNT, FILL, PPM, Rule, run
from seawall.lab.research.market import Market

Array = NDArray[np.float64]
LEAST_EXPIRY = 60 * SECOND  # of a goal, as the orchestrator has it
EXPIRY = 2  # cadences
MOST_FILLS_PER_ROW = 3


class FollowingShape(msgspec.Struct, frozen=True, kw_only=True):
    """How exposure becomes positions, and what that costs.

    Attributes:
        capital: quote units at the start.
        cap: exposure at full strength, share of equity.
        deadband: share of the cap that the wanted exposure must move before it is asked for.
        hold: seconds in which exposure, once asked for, may shrink but not grow or turn.
        taker_fee_ppm: millionths of the traded value.
        half_spread_ppm: assumed of bars; books have their own.
        participation: largest share of a bar's volume that our orders may take.
        slippage_bps: how much worse than the touch of a book what does not fit there is filled.
        latency: rows between a decision and its fill. 1: at the next row's touch, of bars at their
            opening; 0: at once.
        stop, take: fraction of the entry price at which a position is closed; 0 for never.
        leverage: multiple of equity that a position may grow to before it is cut back.
        volatility: annualised, from which NORMAL, HIGH and EXTREME begin; for strategies that ask.
    """

    capital: float = 100_000.0
    cap: float = 0.1
    deadband: float = 0.15
    hold: float = 30.0
    taker_fee_ppm: int = 500
    half_spread_ppm: int = 100
    participation: float = 0.1
    slippage_bps: float = 20.0
    latency: int = 1
    stop: float = 0.0
    take: float = 0.0
    leverage: float = 2.0
    volatility: tuple[float, float, float] = VolatilityShape().bounds

    def __post_init__(self) -> None:
        if not (self.capital > 0.0 and 0.0 < self.cap <= 100.0 and 0.0 <= self.deadband <= 1.0):
            raise SettingError("following: capital and cap must be > 0, deadband in [0, 1]")
        if self.latency not in (0, 1):
            raise SettingError(f"following: latency is {self.latency}; it is 0 or 1 rows")
        if not (self.hold >= 0.0 and 0.0 < self.participation <= 1.0):
            raise SettingError("following: hold must be >= 0 s and participation in (0, 1]")
        if not (0.0 <= self.stop < 1.0 and self.take >= 0.0 and self.leverage > 0.0):
            raise SettingError("following: stop must be in [0, 1), take >= 0 and leverage > 0")
        if not (self.half_spread_ppm >= 0 and self.slippage_bps >= 0.0):
            raise SettingError("following: half_spread_ppm and slippage_bps must be >= 0")


class Costs(msgspec.Struct, frozen=True):
    """What trading cost, in quote units; against the mid at the decision, negative is a gain.

    spread: from mid to touch. slippage: beyond the touch. latency: the mid's way from the decision
    to the fill. They and the fees sum to the shortfall (Perold 1988).
    """

    fees: float
    spread: float
    slippage: float
    latency: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.fees + self.spread + self.slippage + self.latency


class Account(NamedTuple):
    """What came of following.

    Attributes:
        capital: at the start. equity: (n,) at the end of each row; both in quote units.
        fills: FILL rows, empty where they were not asked for. unit: quote units per tick x lot.
        traded: quote units bought and sold. orders: how many fills.
        lots: held at the end.
    """

    capital: float
    equity: Array
    fills: NDArray[Any]
    unit: float
    costs: Costs
    traded: float
    orders: int
    lots: int

    @property
    def returns(self) -> Array:
        """(n,) simple returns, the first one on the capital."""
        return returns_of(self.equity, self.capital)

    @property
    def trades(self) -> Array:
        """Profit of each fill that closed something, after its own fee and its share of the
        opening's, quote units."""
        return trades_of(self.fills, self.unit)


class Follower:
    """An account in the middle of a market: rows in blocks, in order.

    Args:
        capacity: fills that are kept; 0 for none.
    """

    def __init__(self, market: Market, shape: FollowingShape, capacity: int) -> None:
        instrument = market.instrument
        self.unit = instrument.tick_float * instrument.lot_float
        self._capital = shape.capital
        self._account = np.zeros(1, ACCOUNT)
        self._account["cash"] = self._account["equity"] = shape.capital / self.unit
        self._fills = np.empty(capacity, FILL)
        self._seen = 0
        self._rule = Rule(
            cap=shape.cap,
            deadband=shape.deadband,
            hold=round(shape.hold * SECOND),
            expiry=max(LEAST_EXPIRY, EXPIRY * market.cadence),
            fee=shape.taker_fee_ppm / PPM,
            half_spread_ppm=shape.half_spread_ppm,
            participation_ppm=round(shape.participation * PPM),
            slippage=shape.slippage_bps / 1e4,
            latency=shape.latency,
            stop=shape.stop,
            take=shape.take,
            leverage=shape.leverage,
            long_only=instrument.kind is Kind.SPOT,
        )

    def follow(self, path: NDArray[Any], exposures: Array, equity: Array) -> None:
        """The next rows of the path and what is wanted at each, a share of the cap in [-1, 1];
        NaN leaves what is held. `equity` (same length) takes quote units."""
        run(self._account[0], path, exposures, self._rule, self._seen, equity, self._fills)
        equity *= self.unit
        self._seen += len(path)

    def account(self, equity: Array) -> Account:
        """The account with the curve that `follow` gave."""
        at = self._account[0]
        kept = min(int(at["fills"]), len(self._fills))
        fees, spread, slippage, latency, traded = (
            float(at[part]) * self.unit
            for part in ("fees", "spread", "slippage", "latency", "traded")
        )
        return Account(
            self._capital,
            equity,
            self._fills[:kept],
            self.unit,
            Costs(fees, spread, slippage, latency),
            traded,
            int(at["fills"]),
            int(at["lots"]),
        )


def follow(market: Market, exposures: Array, shape: FollowingShape, fills: bool = True) -> Account:
    """Follow exposures over the whole market.

    Args:
        exposures: (n,) wanted after each row as a share of the cap, in [-1, 1]; NaN: as it is.
        fills: whether to keep them.
    """
    capacity = MOST_FILLS_PER_ROW * len(market.path) if fills else 0
    follower = Follower(market, shape, capacity)
    equity = np.empty(len(market.path))
    follower.follow(market.path, exposures, equity)
    return follower.account(equity)


def buy_and_hold(market: Market, shape: FollowingShape) -> Account:
    """What one has who buys at the start for all the capital and keeps it, at the same costs.

    After a break in the data it buys anew.
    """
    # Fully invested stays fully invested: the deadband only lets a partial first fill be finished.
    held = msgspec.structs.replace(shape, cap=1.0, deadband=0.5, stop=0.0, take=0.0)
    return follow(market, np.ones(len(market.path)), held)


def returns_of(equity: Array, capital: float) -> Array:
    """(n,) simple returns per row, the first one on the capital; 0 once nothing is left."""
    before = np.concatenate(([capital], equity[:-1]))
    return np.divide(equity - before, before, out=np.zeros(len(equity)), where=before > 0.0)


def trades_of(fills: NDArray[Any], unit: float) -> Array:
    """Profit of each fill that closed something, quote units, fees of both ends in it.

    The opening's fee is taken at the rate of the closing's, on the average entry price.
    """
    closes = (fills["held"] != 0) & (np.sign(fills["held"]) != np.sign(fills["lots"]))
    closing = fills[closes]
    size = np.minimum(np.abs(closing["held"]), np.abs(closing["lots"]))
    rate = closing["fee"] / (np.abs(closing["lots"]) * closing["price"])
    entry = size * closing["price"] - np.sign(closing["held"]) * closing["realised"]
    fees = rate * (size * closing["price"] + entry)
    profits: Array = (closing["realised"] - fees) * unit
    return profits
