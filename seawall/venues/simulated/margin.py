"""Margin: what the account is worth against what its positions need, and what happens below that.

All positions that settle in one asset share its balance (cross margin).
"""

from dataclasses import dataclass

from seawall.core import money
from seawall.core.instruments import Kind
from seawall.venues.simulated import kernels
from seawall.venues.simulated.accounts import Accounts
from seawall.venues.simulated.desk import Desk


@dataclass(frozen=True, slots=True)
class Exposed:
    """One position and its worth.

    Attributes:
        price: ticks, the mark; the far end of the bar where bars are all there is; 0: not known.
        needed: maintenance margin, smallest settle units.
    """

    index: int
    lots: int
    price: int
    needed: int
    unrealised: int


def price_of(desk: Desk, index: int, lots: int, changed: int) -> int:
    """What a position is valued at.

    Bars tell what the market went through, so a position as old as the bar is valued at the far
    end of it.

    Args:
        changed: ns UTC, when the position changed last.
    """
    market = desk.floor.markets[index]
    if market["made_of"] == kernels.BY_BAR and changed <= market["opened"]:
        return int(market["low"] if lots > 0 else market["high"])
    return desk.mark(index) or int(market["last"])


def exposures(
    accounts: Accounts, desk: Desk, asset: str, changed: dict[int, int], maintenance_ppm: int
) -> list[Exposed]:
    """The positions that settle in an asset, the most demanding first."""
    found = []
    for index, instrument in enumerate(desk.instruments):
        position = accounts.positions.get(instrument.name)
        if instrument.settle_asset != asset or position is None or not position.lots:
            continue
        price = price_of(desk, index, position.lots, changed.get(index, 0))
        value = instrument.value(price, abs(position.lots)) if price else position.cost
        found.append(
            Exposed(
                index=index,
                lots=position.lots,
                price=price,
                needed=money.fee(value, maintenance_ppm),
                unrealised=position.unrealised(instrument.kind is Kind.INVERSE, value),
            )
        )
    return sorted(found, key=lambda each: (-each.needed, each.index))


def shortfall(accounts: Accounts, asset: str, exposed: list[Exposed]) -> str:
    """Why positions must be closed; empty where the account carries them."""
    needed = sum(each.needed for each in exposed)
    equity = accounts.balances.get(asset, 0) + sum(each.unrealised for each in exposed)
    if not exposed or equity >= needed:
        return ""
    return f"liquidation: equity {equity} under the maintenance margin {needed} {asset}"
