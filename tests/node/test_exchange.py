"""The settings of the exchange become its terms, and those of perpetuals come from a table."""

from pathlib import Path

import pytest

from seawall.core.clock import SECOND
from seawall.core.errors import DataError, SettingError
from seawall.core.instruments import Kind
from seawall.core.money import RATE
from seawall.core.settings import Settings, VenueSettings, load
from seawall.node.exchange import venue_shape
from seawall.venues.simulated.shape import FeeTier, FundingRate, VenueShape
from tests.ingestion.test_funding import CATALOG, PERP
from tests.node.short_runs import QUICK, START, node_on, tape


def test_the_defaults_are_those_of_the_exchange() -> None:
    assert venue_shape(Settings(), CATALOG, {"USDT": 5}) == VenueShape(balances={"USDT": 5})


def test_every_setting_reaches_the_exchange(tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("ts,symbol,rate\n7,BTCUSDT,0.01\n")
    file = tmp_path / "terms.toml"
    file.write_text(
        f"""
        seed = 3
        [venue]
        maker_fee_ppm = 20
        taker_fee_ppm = 50
        fee_tiers = ["1000:10:40", "5000:-5:30"]
        entry_latency_ms = 1.5
        response_latency_ms = 2.5
        latency_jitter = 0.5
        latency_source = "feed"
        half_spread_ppm = 7
        bar_participation = 0.25
        queue_model = "probabilistic"
        queue_power = 3
        trade_lots = "whole"
        impact = "square_root"
        impact_ppm = 11
        impact_window_s = 2
        funding = "{rates}"
        maintenance_ppm = 5000
        liquidation_fee_ppm = 12500
        """
    )
    assert venue_shape(load(file, {}, {}), CATALOG, {}) == VenueShape(
        maker_fee_ppm=20,
        taker_fee_ppm=50,
        fee_tiers=(
            FeeTier(volume=1_000, maker_fee_ppm=10, taker_fee_ppm=40),
            FeeTier(volume=5_000, maker_fee_ppm=-5, taker_fee_ppm=30),
        ),
        entry_latency_ns=1_500_000,
        response_latency_ns=2_500_000,
        latency_jitter=0.5,
        feed_latency=True,
        half_spread_ppm=7,
        bar_participation=0.25,
        queue_model="probabilistic",
        queue_power=3,
        share_trades=False,
        impact="square_root",
        impact_ppm=11,
        impact_window_ns=2 * 10**9,
        funding=(FundingRate(PERP.name, 7, RATE // 100),),
        maintenance_ppm=5_000,
        liquidation_fee_ppm=12_500,
        seed=3,
    )
    left_out = set(VenueSettings.model_fields) - set(file.read_text().split()) - {"url"}
    assert not left_out


def test_terms_that_make_no_sense_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="fee tier from 5 on"):
        venue_shape(Settings(venue=VenueSettings(fee_tiers=("9:1:1", "5:1:1"))), CATALOG, {})
    with pytest.raises(SettingError, match="is 'often', allowed is VOLUME:"):
        load(None, {}, {"SEAWALL_VENUE__FEE_TIERS": "often"})
    with pytest.raises(DataError, match="cannot be read"):
        venue_shape(Settings(venue=VenueSettings(funding=str(tmp_path / "none.csv"))), CATALOG, {})


def test_a_whole_node_pays_funding_and_its_books_agree(tmp_path: Path) -> None:
    catalog, rows = tape(120)
    contract = next(i for i in catalog.instruments if i.kind is not Kind.SPOT)
    rates = tmp_path / "rates.csv"
    times = [START + second * SECOND for second in range(20, 120, 10)]
    rates.write_text("ts,symbol,rate\n" + "".join(f"{ts},{contract.name},0.0001\n" for ts in times))
    settings = QUICK.model_copy(update={"venue": VenueSettings(funding=str(rates))})
    node = node_on(catalog, rows, settings)
    node.run()
    ledger = node.action.books.ledger
    ledger.conservation()
    assert any(ledger.funding.values())
    assert node.action.disagreements() == []
    assert not node.action.books.tally.halted
