"""What the exchange owes us: balances, positions and the margin they need, in exact integers.

Cost is first in, first out. A fill that closes several lots splits its value over them by floor
division, and what is left over stays for the next part, so that nothing is ever lost.
"""

from dataclasses import dataclass, field

from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind


@dataclass(slots=True)
class Position:
    """Open lots of one derivative: `parts` are [lots > 0, cost >= 0], oldest first.

    lots: signed, of all parts. cost: smallest settle units that they were worth at their entries.
    """

    side: Side = Side.BUY
    lots: int = 0
    cost: int = 0
    parts: list[list[int]] = field(default_factory=list)

    @property
    def open_lots(self) -> list[tuple[int, int]]:
        """Open lots, oldest first: (signed lots, cost)."""
        return [(self.side.sign * size, cost) for size, cost in self.parts]

    def trade(self, inverse: bool, side: Side, size: int, value: int) -> int:
        """Take in a fill of `size` lots worth `value`; returns the realised profit or loss.

        It closes the oldest lots first; what goes beyond them opens the other way.
        """
        if not self.parts or side is self.side:
            self._open(side, size, value)
            return 0
        realised = 0
        gains_up = (self.side is Side.BUY) != inverse
        while size and self.parts:
            part = self.parts[0]
            lots = min(size, part[0])
            value_part = value * lots // size
            cost_part = part[1] * lots // part[0]
            realised += value_part - cost_part if gains_up else cost_part - value_part
            size, value = size - lots, value - value_part
            part[0] -= lots
            part[1] -= cost_part
            self.lots -= self.side.sign * lots
            self.cost -= cost_part
            if not part[0]:
                del self.parts[0]
        if size:
            self._open(side, size, value)
        return realised

    def _open(self, side: Side, size: int, value: int) -> None:
        self.side = side
        self.lots += side.sign * size
        self.cost += value
        self.parts.append([size, value])

    def unrealised(self, inverse: bool, value: int) -> int:
        """Profit or loss if all lots were closed for `value`."""
        gains_up = (self.side is Side.BUY) != inverse
        return value - self.cost if gains_up else self.cost - value


class Accounts:
    """Balances per asset and positions per derivative instrument; a fold over fills."""

    def __init__(self, balances: dict[str, int]) -> None:
        self.balances = dict(balances)
        self.positions: dict[str, Position] = {}

    def lots(self, instrument: str) -> int:
        """Signed lots held of a derivative."""
        position = self.positions.get(instrument)
        return position.lots if position else 0

    def book(self, instrument: Instrument, side: Side, size: int, value: int, fee: int) -> None:
        """One fill: `value` and `fee` in smallest settle units (SPOT: quote units)."""
        if instrument.kind is Kind.SPOT:
            self._move(instrument.base, side.sign * size * instrument.base_unit)
            self._move(instrument.settle_asset, -side.sign * value - fee)
            return
        position = self.positions.setdefault(instrument.name, Position())
        realised = position.trade(instrument.kind is Kind.INVERSE, side, size, value)
        self._move(instrument.settle_asset, realised - fee)

    def pay(self, asset: str, amount: int) -> None:
        """Something was paid out of a balance (below 0: was received)."""
        self._move(asset, -amount)

    def _move(self, asset: str, amount: int) -> None:
        self.balances[asset] = self.balances.get(asset, 0) + amount
