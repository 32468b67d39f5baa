"""The terms of the practice exchange: what its accounts begin with, and its limits."""

import msgspec

from seawall.core.clock import MINUTE
from seawall.core.errors import SettingError
from seawall.core.money import RATE
from seawall.exchange.listing import Market
from seawall.venues.simulated.shape import FundingRate, VenueShape

FUNDING_AHEAD = 1_000  # funding times that are known at a start
HIGHEST_LEVERAGE = 125
MAINTENANCE_PPM = 4_000
LIQUIDATION_FEE_PPM = 12_500
_NO_LIMIT = 10**12


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of the exchange keeps to.

    Attributes:
        spot, usdm: asset → whole units that each account begins with.
        spot_fees_ppm, usdm_fees_ppm: of makers and takers.
        strict_client_ids: a client id is never used twice; False: not among open orders.
        weight: request weight that an address has in a minute, in spot and in USD-M.
        orders_10s, orders_minute: new orders of an account, in spot (10 s) and USD-M (both).
        orders_day: new orders of a spot account in a day.
        funding_minutes: between two funding times. funding_ppm: paid at each.
        leverage: of a new account.
    """

    spot: dict[str, int] = msgspec.field(default_factory=lambda: {"USDT": 100_000, "BTC": 1})
    usdm: dict[str, int] = msgspec.field(default_factory=lambda: {"USDT": 100_000})
    spot_fees_ppm: tuple[int, int] = (1_000, 1_000)
    usdm_fees_ppm: tuple[int, int] = (200, 500)
    strict_client_ids: bool = False
    weight: tuple[int, int] = (6_000, 2_400)
    orders_10s: tuple[int, int] = (100, 300)
    orders_minute: int = 1_200
    orders_day: int = 200_000
    funding_minutes: int = 480
    funding_ppm: int = 100
    leverage: int = 20

    def check(self) -> "Terms":
        """Self. SettingError: something is out of its range."""
        for name, low, high in (("funding_minutes", 1, 1_440), ("leverage", 1, HIGHEST_LEVERAGE)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(
                    f"practice exchange: {name} is {value}; allowed is {low} to {high}"
                )
        return self

    def unlimited(self) -> "Terms":
        """The same without rate limits that anybody could reach."""
        return msgspec.structs.replace(
            self,
            weight=(_NO_LIMIT, _NO_LIMIT),
            orders_10s=(_NO_LIMIT, _NO_LIMIT),
            orders_minute=_NO_LIMIT,
            orders_day=_NO_LIMIT,
        )

    def limit(self, market: Market) -> int:
        """Request weight of a minute."""
        return self.weight[market is Market.USDM]

    def funding_after(self, ts: int) -> int:
        """The next funding time after a time, ns UTC."""
        span = self.funding_minutes * MINUTE
        return (ts // span + 1) * span

    def shape(self, market: Market, contracts: list[str], start: int) -> VenueShape:
        """The simulated venue of one account's half.

        Args:
            contracts: names of the instruments that pay funding. start: ns UTC.
        """
        futures = market is Market.USDM
        maker, taker = self.usdm_fees_ppm if futures else self.spot_fees_ppm
        given = self.usdm if futures else self.spot
        first, span = self.funding_after(start), self.funding_minutes * MINUTE
        rates = tuple(
            FundingRate(name, first + k * span, self.funding_ppm * RATE // 1_000_000)
            for k in range(FUNDING_AHEAD if futures else 0)
            for name in contracts
        )
        return VenueShape(
            balances={asset: amount * 10**8 for asset, amount in given.items()},
            maker_fee_ppm=maker,
            taker_fee_ppm=taker,
            entry_latency_ns=0,
            response_latency_ns=0,
            max_leverage=HIGHEST_LEVERAGE,
            max_open_orders=1_024,
            funding=rates,
            maintenance_ppm=MAINTENANCE_PPM if futures else 0,
            liquidation_fee_ppm=LIQUIDATION_FEE_PPM,
        )
