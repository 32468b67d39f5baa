"""From what risk approved to orders at a venue, and from the venue's answers to our books."""

from seawall.execution.executor import ExecutionShape, Executor
from seawall.execution.orders import OrderEntry, Orders

__all__ = ["ExecutionShape", "Executor", "OrderEntry", "Orders"]
