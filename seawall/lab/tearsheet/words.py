"""How the page writes times, spans, money and shares."""

import math
from datetime import UTC, datetime

from seawall.core.clock import SECOND

DAY_S = 86_400.0
LARGE = 100_000.0


def moment(ns: int) -> str:
    """``2024-08-08 00:00``, of ns UTC."""
    return datetime.fromtimestamp(ns // SECOND, UTC).strftime("%Y-%m-%d %H:%M")


def length(ns: float) -> str:
    """A span of time in the unit that tells most."""
    if not math.isfinite(ns):
        return "–"
    seconds = ns / SECOND
    for unit, size in (("days", DAY_S), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{_brief_number(seconds / size)} {unit}"
    return f"{_brief_number(seconds)} s"


def _brief_number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def money(value: float, sign: str = "") -> str:
    """``1,234.50``, large sums without their cents; a dash where it is not known."""
    digits = 0 if abs(value) >= LARGE else 2
    return f"{value:{sign},.{digits}f}" if math.isfinite(value) else "–"


def share(value: float, digits: int = 2) -> str:
    """``1.23 %``; a dash where it is not known."""
    return f"{value * 100:,.{digits}f} %" if math.isfinite(value) else "–"


def plain(value: float, digits: int = 2) -> str:
    """``1,234.50``; a dash where it is not known."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def signed(value: float, digits: int = 2) -> str:
    """``+1,234.50``; a dash where it is not known."""
    return f"{value:+,.{digits}f}" if math.isfinite(value) else "–"


def tone(value: float) -> str:
    return "up" if value > 0 else "down" if value < 0 else ""
