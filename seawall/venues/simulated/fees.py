"""Fees by tier: who has traded more in the last thirty days pays less.

The tier of a UTC day is that of the thirty whole days before it, so it changes at midnight alone,
as on the large exchanges. Volume counts in each settle asset by itself.
"""

from collections.abc import Mapping

from seawall.core.clock import SECOND
from seawall.core.instruments import Instrument
from seawall.venues.simulated.shape import VenueShape

DAY = 86_400 * SECOND
DAYS = 30


class Turnover:
    """Value traded by settle asset and UTC day, smallest units; a fold over fills."""

    def __init__(self) -> None:
        self.days: dict[str, dict[int, int]] = {}

    def add(self, asset: str, ts: int, value: int) -> None:
        """A fill at `ts` (ns UTC)."""
        today = ts // DAY
        days = self.days.setdefault(asset, {})
        if today not in days:
            for day in [day for day in days if day < today - DAYS]:
                del days[day]
            days[today] = 0
        days[today] += value

    def volume(self, asset: str, ts: int) -> int:
        """Of the thirty whole days before the one of `ts`."""
        today = ts // DAY
        days = self.days.get(asset, {})
        return sum(value for day, value in days.items() if today - DAYS <= day < today)

    def rate(self, shape: VenueShape, instrument: Instrument, maker: bool, ts: int) -> int:
        """The fee of a fill, millionths of its value."""
        found = shape.maker_fee_ppm if maker else shape.taker_fee_ppm
        if shape.fee_tiers:
            volume = self.volume(instrument.settle_asset, ts)
            unit = int(10**instrument.settle_decimals)
            for tier in shape.fee_tiers:
                if volume >= tier.volume * unit:
                    found = tier.maker_fee_ppm if maker else tier.taker_fee_ppm
        return found

    def state(self) -> dict[str, list[tuple[int, str]]]:
        """For a checkpoint: asset → (day, value in digits)."""
        return {
            asset: [(day, str(value)) for day, value in days.items()]
            for asset, days in self.days.items()
        }

    def restore(self, state: Mapping[str, list[tuple[int, str]]]) -> None:
        """Take over what `state` gave."""
        self.days = {
            asset: {day: int(value) for day, value in days} for asset, days in state.items()
        }
