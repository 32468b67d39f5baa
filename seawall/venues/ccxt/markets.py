"""The instruments that ccxt's market metadata describe, with exact increments."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from seawall.core.errors import FeedError
from seawall.core.instruments import Instrument, Kind


def instrument_of(
    exchange: str, market: Mapping[str, Any], precision_mode: int, decimals: int = 8
) -> Instrument:
    """The instrument that ccxt's market metadata describe.

    Args:
        precision_mode: ccxt's: 2 decimal places, 4 tick size.
        decimals: that smallest units have at least.

    Raises:
        FeedError: no spot or linear or inverse contract, or no increments.
    """
    symbol = str(market["symbol"])
    if market.get("spot"):
        kind = Kind.SPOT
    elif market.get("option") or not (market.get("linear") or market.get("inverse")):
        raise FeedError(f"{symbol} is neither spot nor a linear or inverse contract")
    else:
        kind = Kind.INVERSE if market.get("inverse") else Kind.LINEAR
    precision = market.get("precision") or {}
    tick = _increment(precision.get("price"), precision_mode)
    lot = _increment(precision.get("amount"), precision_mode)
    if tick is None or lot is None:
        raise FeedError(f"{exchange} does not say the increments of {symbol}")
    contract = 1 if kind is Kind.SPOT else market.get("contractSize") or 1
    multiplier = Decimal(str(contract))
    cash = tick * lot * multiplier if kind is not Kind.INVERSE else Decimal(1)
    instrument = Instrument(
        venue=exchange,
        symbol=symbol,
        kind=kind,
        base=str(market["base"]),
        quote=str(market["quote"]),
        settle="" if kind is Kind.SPOT else str(market.get("settle") or ""),
        tick=f"{tick.normalize():f}",
        lot=f"{lot.normalize():f}",
        multiplier=f"{multiplier.normalize():f}",
        settle_decimals=max(decimals, _decimals(cash)),
        base_decimals=max(decimals, _decimals(lot)),
    )
    instrument.check()
    return instrument


def _increment(value: object, precision_mode: int) -> Decimal | None:
    """An increment from ccxt's precision, None where there is none."""
    if precision_mode == 2 and isinstance(value, int):
        return Decimal(1).scaleb(-value)
    if precision_mode != 4 or isinstance(value, bool):
        return None
    try:
        increment = Decimal(str(value))
    except InvalidOperation:
        return None
    return increment if increment.is_finite() and increment > 0 else None


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
