"""Exact money: amounts are integers of an asset's smallest unit; these are their only roundings."""

from decimal import Decimal
from fractions import Fraction

PPM = 1_000_000
RATE = 10**12  # a funding rate is given in millionths of a millionth


def fee(value: int, rate_ppm: int) -> int:
    """A fee on a cash value, in the same smallest units.

    Rounded up, towards the venue (a rebate is rounded down in size), so that the account is never
    credited with a unit that the venue would not pay.
    """
    return -((-abs(value) * rate_ppm) // PPM)


def funding(value: int, rate: int) -> int:
    """What a position pays at a funding time, in the same smallest units; below 0 it receives.

    Rounded towards the venue, like a fee.

    Args:
        value: of the position, signed: positive is long. rate: in 1 / RATE; longs pay above 0.
    """
    return -((-value * rate) // RATE)


def text(amount: int, decimals: int) -> str:
    """A plain decimal such as ``-0.00012``, with no trailing zeros."""
    whole, part = divmod(abs(amount), 10**decimals)
    digits = f"{part:0{decimals}d}".rstrip("0") if part else ""
    return ("-" if amount < 0 else "") + str(whole) + (f".{digits}" if digits else "")


def units(amount: str | Decimal, decimals: int) -> int:
    """The smallest units in a decimal amount; ValueError where it is finer than those."""
    exact = Fraction(str(amount)) * Fraction(10) ** decimals
    if exact.denominator != 1:
        raise ValueError(f"{amount} is finer than {decimals} decimals")
    return int(exact)
