"""From what risk approved to orders at a venue, and from the venue's answers to our books."""

from seawall.execution.baskets import Baskets
from seawall.execution.desk import ExecutionShape
from seawall.execution.executor import Executor
from seawall.execution.goals import ACCOUNT, Due, Pace
from seawall.execution.orders import OrderEntry, Orders
from seawall.execution.protection import Protections

__all__ = [
    "ACCOUNT",
    "Baskets",
    "Due",
    "ExecutionShape",
    "Executor",
    "OrderEntry",
    "Orders",
    "Pace",
    "Protections",
]
