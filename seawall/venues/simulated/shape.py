"""What kind of exchange is simulated: its fees, latencies and limits."""

from itertools import pairwise
from typing import Literal

import msgspec

from seawall.core.errors import SettingError
from seawall.core.money import PPM, RATE
from seawall.venues.simulated.queue_kernels import PROBABILISTIC, RISK_AVERSE

MOST_OPEN_ORDERS = 4096


class FeeTier(msgspec.Struct, frozen=True, kw_only=True):
    """Fees from a volume on.

    Attributes:
        volume: whole units of the settle asset, traded in thirty days.
        maker_fee_ppm, taker_fee_ppm: millionths of a trade's value; below 0 is a rebate.
    """

    volume: int
    maker_fee_ppm: int
    taker_fee_ppm: int


class FundingRate(msgspec.Struct, frozen=True, array_like=True):
    """One funding time of a perpetual contract. rate: see core.money.funding."""

    instrument: str
    ts: int  # ns UTC
    rate: int


class VenueShape(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a simulated exchange.

    Attributes:
        balances: asset → smallest units deposited before the first order.
        maker_fee_ppm, taker_fee_ppm: millionths of a trade's value; below 0 is a rebate.
        fee_tiers: lower fees for those who have traded more (see fees), by growing volume.
        entry_latency_ns, response_latency_ns: from the node to the venue's book, and back.
        latency_jitter: both latencies are drawn from latency x [1 - jitter, 1 + jitter],
            0 <= jitter < 1, one draw each per client id; neither way is ever reordered.
        feed_latency: both latencies also grow by what the last row of the instrument's source came
            later than its fastest one.
        half_spread_ppm: where there are bars only, the touch stands this far from the close.
        bar_participation: share of a bar's volume that our orders may take, (0, 1].
        max_leverage: value of a derivative exposure over equity that an order must not pass.
        max_open_orders: orders resting at one time, 1 to 4096.
        seed: of the latency draws.
        queue_model: which of those who leave our price stood before us (see queue_kernels).
        queue_power: of the probabilistic model, 1 to 64.
        share_trades: our orders share the lots of a trade; False: each meets the whole of it, as
            in hftbacktest.
        impact: how what we took moves the prices that we take next (see flow); none: not at all.
        impact_ppm: the move, in millionths of the price, where we took as much as was traded.
        impact_window_ns: how long what we took counts.
        funding: what perpetual contracts pay and when, ordered by time.
        maintenance_ppm: of a position's value that equity must cover, else it is closed; 0: never.
        liquidation_fee_ppm: what that costs beside the taker's fee.
    """

    balances: dict[str, int] = {}
    maker_fee_ppm: int = 200
    taker_fee_ppm: int = 500
    entry_latency_ns: int = 5_000_000
    response_latency_ns: int = 5_000_000
    latency_jitter: float = 0.0
    half_spread_ppm: int = 100
    bar_participation: float = 0.1
    max_leverage: int = 20
    max_open_orders: int = 256
    seed: int = 0
    queue_model: Literal["risk_averse", "probabilistic"] = "risk_averse"
    queue_power: int = 1
    share_trades: bool = True
    fee_tiers: tuple[FeeTier, ...] = ()
    feed_latency: bool = False
    impact: Literal["none", "linear", "square_root"] = "none"
    impact_ppm: int = 1_000
    impact_window_ns: int = 60 * 10**9
    funding: tuple[FundingRate, ...] = ()
    maintenance_ppm: int = 0
    liquidation_fee_ppm: int = 5_000

    @property
    def participation_ppm(self) -> int:
        """`bar_participation` in millionths."""
        return round(self.bar_participation * PPM)

    @property
    def queue(self) -> tuple[int, int]:
        """The queue model and its power, as queue_kernels.MODEL has them."""
        kinds = {"risk_averse": RISK_AVERSE, "probabilistic": PROBABILISTIC}
        return kinds[self.queue_model], self.queue_power

    def check(self) -> "VenueShape":
        """Self; SettingError names the first value that is out of its range."""
        for name, low, high in (
            ("maker_fee_ppm", -PPM, PPM),
            ("taker_fee_ppm", -PPM, PPM),
            ("entry_latency_ns", 0, 60 * 10**9),
            ("response_latency_ns", 0, 60 * 10**9),
            ("latency_jitter", 0.0, 0.999),
            ("half_spread_ppm", 0, 100_000),
            ("bar_participation", 1 / PPM, 1.0),
            ("max_leverage", 1, 1000),
            ("max_open_orders", 1, MOST_OPEN_ORDERS),
            ("queue_power", 1, 64),
            ("impact_ppm", 0, 100_000),
            ("maintenance_ppm", 0, PPM - 1),
            ("liquidation_fee_ppm", 0, 100_000),
            ("impact_window_ns", 1_000_000, 86_400 * 10**9),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(
                    f"simulated venue: {name} is {value}; allowed is {low} to {high}"
                )
        before = FeeTier(
            volume=0, maker_fee_ppm=self.maker_fee_ppm, taker_fee_ppm=self.taker_fee_ppm
        )
        for tier in self.fee_tiers:
            lower = (
                -PPM <= tier.maker_fee_ppm <= before.maker_fee_ppm
                and -PPM <= tier.taker_fee_ppm <= before.taker_fee_ppm
            )
            if tier.volume <= before.volume or not lower:
                raise SettingError(
                    f"simulated venue: the fee tier from {tier.volume} on must have a larger "
                    "volume than the one before it, and fees that are not higher"
                )
            before = tier
        if any(b.ts < a.ts for a, b in pairwise(self.funding)):
            raise SettingError("simulated venue: the funding rates must be ordered by time")
        wild = [each for each in self.funding if abs(each.rate) > RATE]
        if wild:
            raise SettingError(
                f"simulated venue: {wild[0].instrument} has a funding rate beyond the whole value"
            )
        poor = [asset for asset, amount in self.balances.items() if amount < 0]
        if poor:
            raise SettingError(f"simulated venue: the balance of {poor[0]} is below 0")
        return self
