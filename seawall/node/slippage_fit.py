"""The slippage model of a run's own fills, from its journal and its tape."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from seawall.core.settings import Settings
from seawall.execution.slippage import SlippageModel, fit
from seawall.node.slippage import WINDOW, footprint
from seawall.node.tca import courses


def fitted(
    journal: Path,
    tape: Path,
    settings: Settings,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[SlippageModel, int]:
    """The model of a run's own fills, and how many orders it was fitted to.

    Raises:
        DataError, StoreError: journal or tape cannot be used, or there are too few fills.
    """
    orders, costs = [], []
    for course, market, instrument in courses(journal, tape, settings, progress):
        columns = market.columns[instrument.name]
        for ts, trades in course.by_order():
            row = int(np.searchsorted(market.ts, ts, side="right"))
            first = int(np.searchsorted(market.ts, ts - WINDOW, side="right"))
            part = slice(first, row)
            traded = np.nansum(columns["buy_volume"][part] + columns["sell_volume"][part])
            lots = sum(trade.lots for trade in trades)
            price = math.fsum(trade.price * trade.lots for trade in trades) / lots
            mid, half = trades[0].mid, trades[0].half_spread
            orders.append(
                footprint(
                    columns["mid"][part],
                    float(traded) / instrument.lot_float,
                    mid - half,
                    mid + half,
                    lots,
                )
            )
            costs.append(course.side.sign * (price / mid - 1.0) * 1e4)
    model = fit(orders, costs)
    return model, len(model.residuals)
