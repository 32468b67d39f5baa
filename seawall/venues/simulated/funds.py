"""Whether the account can carry an order: cash for spot, initial margin for derivatives.

Both are looked at once, when the order arrives or its trigger is met. What becomes of a position
that loses too much is said in margin.
"""

from collections.abc import Sequence

from seawall.core import money
from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.orders import TimeInForce
from seawall.venues.simulated.accounts import Accounts
from seawall.venues.simulated.desk import Desk, Working
from seawall.venues.simulated.shape import VenueShape

Levels = Sequence[tuple[int, int]]  # (ticks, lots)


def objection(
    accounts: Accounts, desk: Desk, shape: VenueShape, working: Working, levels: Levels, size: int
) -> str:
    """Why the account cannot carry the order; empty when it can.

    Args:
        levels: what it takes at once. size: lots of the whole order.
    """
    order = working.order
    instrument = desk.instruments[working.index]
    taken = sum(lots for _, lots in levels)
    at_once = order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
    rest = size - taken if order.type.priced and not at_once else 0
    price = order.price or 0
    if instrument.kind is not Kind.SPOT:
        costs = [*levels, (price, rest)] if rest else levels
        return _over_margin(accounts, desk, shape.max_leverage, working, costs)
    if order.side is Side.SELL:
        asset = instrument.base
        needed = (taken + rest) * instrument.base_unit
    else:
        asset = instrument.settle_asset
        needed = sum(purchase(instrument, *level, shape.taker_fee_ppm) for level in levels)
        needed += purchase(instrument, price, rest, shape.maker_fee_ppm)
    free = accounts.balances.get(asset, 0) - _locked(desk, shape, asset)
    return "" if needed <= free else f"insufficient {asset}: {needed} needed, {free} free"


def purchase(instrument: Instrument, price: int, lots: int, fee_ppm: int) -> int:
    """What buying spot takes from the quote balance; a rebate is not counted on."""
    value = instrument.value(price, lots)
    return value + money.fee(value, max(0, fee_ppm))


def _locked(desk: Desk, shape: VenueShape, asset: str) -> int:
    """What resting spot orders may still need of an asset."""
    total = 0
    for other in desk.resting():
        instrument = desk.instruments[other.index]
        if instrument.kind is not Kind.SPOT:
            continue
        left = other.left
        if other.order.side is Side.SELL and instrument.base == asset:
            total += left * instrument.base_unit
        elif other.order.side is Side.BUY and instrument.settle_asset == asset:
            total += purchase(instrument, other.order.price or 0, left, shape.maker_fee_ppm)
    return total


def _over_margin(
    accounts: Accounts, desk: Desk, max_leverage: int, working: Working, costs: Levels
) -> str:
    """Why the exposure would be too large; empty when it is not, or does not grow."""
    order, index = working.order, working.index
    held = accounts.lots(order.instrument)
    open_lots = desk.open_lots(index)
    before = _worst(held, open_lots)
    open_lots[order.side] += sum(lots for _, lots in costs)
    after = _worst(held, open_lots)
    if order.reduce_only or after <= before:
        return ""
    asset = desk.instruments[index].settle_asset
    equity = accounts.balances.get(asset, 0)
    exposure = desk.instruments[index].value(costs[-1][0], after)
    for k, instrument in enumerate(desk.instruments):
        if instrument.kind is Kind.SPOT or instrument.settle_asset != asset:
            continue
        position = accounts.positions.get(instrument.name)
        mark = desk.mark(k)
        if position and position.lots and mark:
            value = instrument.value(mark, abs(position.lots))
            equity += position.unrealised(instrument.kind is Kind.INVERSE, value)
        if k == index:
            continue
        worst = _worst(position.lots if position else 0, desk.open_lots(k))
        if worst and mark:
            exposure += instrument.value(mark, worst)
        elif position:
            exposure += position.cost
    if exposure <= equity * max_leverage:
        return ""
    return f"insufficient margin: exposure {exposure} over equity {equity} {asset}"


def _worst(held: int, open_lots: Sequence[int]) -> int:
    """Lots of the larger exposure, if all orders of one side were filled."""
    buys, sells = open_lots
    return max(abs(held + buys), abs(held - sells))
