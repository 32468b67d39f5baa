"""What the market is: books, trades, bars and the consensus of sources, read off in frames."""

from seawall.market.consensus import Consensus
from seawall.market.market import Market, MarketShape

__all__ = ["Consensus", "Market", "MarketShape"]
