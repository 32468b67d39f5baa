"""Ledger against venue: what counts as a difference."""

from collections.abc import Mapping

import pytest

from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.records import Deposited, RunStarted
from seawall.ledger import Ledger
from seawall.node.reconciliation import differences

SPOT = Instrument(
    venue="x", symbol="BTC/USDT", kind=Kind.SPOT, base="BTC", quote="USDT", tick="0.01", lot="0.01"
)
CATALOG = Catalog(
    instruments=(SPOT,), sources=(Source(name="x", venue="x"),), books=((0, 0),)
).check()


class Shown:
    """A venue that shows balances, and has no positions."""

    def __init__(self, balances: Mapping[str, int]) -> None:
        self.account = self
        self._balances = balances

    def balances(self) -> Mapping[str, int]:
        return self._balances

    def positions(self) -> Mapping[str, int]:
        return {}


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        ({"USDT": 100, "BNB": -3}, []),
        ({"USDT": 100}, []),  # fees in a coin that the venue leaves aside
        ({"USDT": 100, "BNB": 5}, ["BNB: ledger -3, venue 5"]),
        ({"USDT": 90}, ["USDT: ledger 100, venue 90"]),
        ({}, ["USDT: ledger 100, venue 0"]),
    ],
)
def test_a_coin_that_nothing_trades_counts_where_the_venue_shows_it(
    theirs: dict[str, int], found: list[str]
) -> None:
    ledger = Ledger()
    ledger.apply(
        RunStarted(
            ts=0, run="r", mode="live", seed=1, settings="", numeraire="USDT", instruments=(SPOT,)
        )
    )
    for asset, amount in (("USDT", 100), ("BNB", -3)):
        ledger.apply(Deposited(ts=0, asset=asset, amount=amount))
    assert [str(one) for one in differences(ledger, Shown(theirs), CATALOG)] == found
