"""What state the market is in: volatility and its regime."""

from seawall.analysis.volatility import Volatility, VolatilityShape

__all__ = ["Volatility", "VolatilityShape"]
