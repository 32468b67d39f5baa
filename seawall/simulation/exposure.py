"""The limits of the settings, recomputed from the shadow's account at the node's marks."""

import math
from collections.abc import Mapping

from seawall.core.instruments import Instrument, Kind
from seawall.core.sections import RiskSettings
from seawall.node.prices import Prices
from seawall.simulation.shadow import Shadow

WEI = 1.0 + 1e-9  # two ways to sum the same floats


class Exposure:
    """What is held and may come to be held, in the numeraire.

    Args:
        prices: what perception said last.
    """

    def __init__(
        self, shadow: Shadow, instruments: Mapping[str, Instrument], risk: RiskSettings
    ) -> None:
        self._shadow = shadow
        self._instruments = instruments
        self._risk = risk

    def excess(self, lots: Mapping[str, int], prices: Prices, numeraire: str, room: float) -> str:
        """Which limit is passed with some instruments at `lots`; empty where none is.

        Args:
            lots: instrument → lots, either way; all others are at their worst.
            room: by what factor a limit may be passed.
        """
        equity = self._equity(prices, numeraire) * room * WEI
        if not math.isfinite(equity):
            return "the equity is not known"
        gross = 0.0
        assets: dict[str, float] = {}
        for name, instrument in self._instruments.items():
            low, high = self._shadow.worst(name)
            most = lots.get(name, max(abs(low), abs(high)))
            if most:
                value = most * instrument.lot_float * _mark(prices, instrument)
                gross += value
                group = instrument.consensus_group
                assets[group] = assets.get(group, 0.0) + value
        cap = self._risk.max_position_size * equity
        for group in {self._instruments[name].consensus_group for name in lots}:
            if not assets.get(group, 0.0) <= cap:
                return f"{assets[group]:.2f} of {group} is over {cap:.2f}"
        cap = self._risk.max_leverage * equity
        return "" if gross <= cap else f"{gross:.2f} in all is over {cap:.2f}"

    def _equity(self, prices: Prices, numeraire: str) -> float:
        equity = 0.0
        for asset, units in self._shadow.cash.items():
            if units:
                mark = prices.asset_marks.get(asset, 1.0 if asset == numeraire else math.nan)
                equity += units / 10 ** self._decimals(asset) * mark
        for name in self._shadow.positions:
            instrument = self._instruments[name]
            if instrument.kind is not Kind.SPOT:
                ticks = prices.marks.get(name, math.nan) / instrument.tick_float
                earned = self._shadow.unrealised(name, ticks) * instrument.tick_float
                quote = prices.asset_marks.get(instrument.quote, math.nan)
                equity += earned * instrument.lot_float * quote
        return equity

    def _decimals(self, asset: str) -> int:
        for instrument in self._instruments.values():
            if asset == instrument.settle_asset:
                return instrument.settle_decimals
            if asset == instrument.base:
                return instrument.base_decimals
        raise KeyError(asset)


def _mark(prices: Prices, instrument: Instrument) -> float:
    quote = prices.asset_marks.get(instrument.quote, math.nan)
    return prices.marks.get(instrument.name, math.nan) * quote
