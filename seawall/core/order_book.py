"""Room for compiled order books.

In Python, not in a kernel: NumPy takes zeros from the system and touches no page, while a compiled
`zeros` writes each of them, a megabyte and a half per book.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core import order_book_kernels as kernels
from seawall.core.ladder import LADDER, NO_ASK, NO_BID


def new_ladders(count: int) -> NDArray[Any]:
    """Empty books by price, (count,) of LADDER."""
    ladders = np.zeros(count, LADDER)
    ladders["origin"] = -1  # unset, so that nobody clears, and touches, cells that are zero
    ladders["best"] = NO_BID, NO_ASK
    return ladders


def new_order_book() -> kernels.OrderBook:
    """An empty book by order."""
    return kernels.OrderBook(
        np.zeros(kernels.TABLE, kernels.ORDER), np.zeros(1, kernels.COUNTS), new_ladders(1)
    )
