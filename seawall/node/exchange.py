"""The simulated exchange's terms, as the settings want them."""

from pathlib import Path

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.instruments import Catalog
from seawall.core.settings import Settings
from seawall.ingestion.funding import read_funding
from seawall.venues.simulated.shape import FeeTier, VenueShape


def venue_shape(settings: Settings, catalog: Catalog, balances: dict[str, int]) -> VenueShape:
    """The shape of the exchange of a run.

    Args:
        catalog: whose contracts the funding rates are looked up for.
        balances: asset → smallest units deposited.

    Raises:
        DataError: the funding rates cannot be read. SettingError: terms that make no sense.
    """
    given = settings.venue
    funding = read_funding(Path(given.funding).expanduser(), catalog) if given.funding else ()
    return VenueShape(
        balances=balances,
        maker_fee_ppm=given.maker_fee_ppm,
        taker_fee_ppm=given.taker_fee_ppm,
        fee_tiers=tuple(tier_of(text) for text in given.fee_tiers),
        entry_latency_ns=round(given.entry_latency_ms * MILLISECOND),
        response_latency_ns=round(given.response_latency_ms * MILLISECOND),
        latency_jitter=given.latency_jitter,
        feed_latency=given.latency_source == "feed",
        half_spread_ppm=given.half_spread_ppm,
        bar_participation=given.bar_participation,
        queue_model=given.queue_model,
        queue_power=given.queue_power,
        share_trades=given.trade_lots == "shared",
        impact=given.impact,
        impact_ppm=given.impact_ppm,
        impact_window_ns=round(given.impact_window_s * SECOND),
        funding=funding,
        maintenance_ppm=given.maintenance_ppm,
        liquidation_fee_ppm=given.liquidation_fee_ppm,
        seed=settings.seed,
    ).check()


def tier_of(text: str) -> FeeTier:
    """``1000000:160:400`` → from a volume of 1,000,000 on, 160 ppm for makers, 400 for takers."""
    volume, maker, taker = (int(part) for part in text.split(":"))
    return FeeTier(volume=volume, maker_fee_ppm=maker, taker_fee_ppm=taker)
