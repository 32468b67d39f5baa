"""What we hold: positions, cash and profit, as an exact fold over the journal."""

from seawall.ledger.ledger import Ledger
from seawall.ledger.portfolio import Holding, Portfolio
from seawall.ledger.positions import Book, Traded

__all__ = ["Book", "Holding", "Ledger", "Portfolio", "Traded"]
