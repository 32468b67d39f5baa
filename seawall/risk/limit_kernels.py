"""The caps of `risk.limits`, compiled: what one strategy may hold of an instrument."""

import numpy as np
from numba import njit

from seawall.core.instruments import PRODUCT_LIMIT

LOTS_BOUND = 1 << 40  # leaves room for prices of 2**22 ticks under PRODUCT_LIMIT
MOST = float(PRODUCT_LIMIT)
NO_CAP, POSITION, LEVERAGE, EXACT, SHORT = range(5)
CAPS = ("", "position", "leverage", "exact books", "short sale")


@njit(cache=True)
def whole_lots(notional: float, value: float) -> int:
    """Whole lots, toward zero, that are worth no more than `notional`; 0 where it is negative."""
    if notional <= 0.0:
        return 0
    lots = np.int64(min(notional / value, MOST))
    return int(lots) if lots * value <= notional else int(lots) - 1


@njit(cache=True)
def capped(
    wanted: float, value: float, position: float, leverage: float, shortable: bool
) -> tuple[int, int]:
    """The least of what is wanted and every cap: lots, without a sign, and the cap that made it so.

    Args:
        wanted: signed notional, not 0. value: of a lot, > 0. position, leverage: notional that
            these limits leave for the instrument.
    """
    lots, cap = whole_lots(abs(wanted), value), NO_CAP
    most = whole_lots(position, value)
    if most < lots:
        lots, cap = most, POSITION
    most = whole_lots(leverage, value)
    if most < lots:
        lots, cap = most, LEVERAGE
    if lots > LOTS_BOUND:
        lots, cap = LOTS_BOUND, EXACT
    if lots > 0 and wanted < 0.0 and not shortable:
        lots, cap = 0, SHORT
    return lots, cap
