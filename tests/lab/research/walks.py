"""Markets for tests of research: random walks of bars or books, as perception would give them."""

from typing import Any

import numpy as np

from seawall.core.clock import MINUTE
from seawall.core.consensus import CONSENSUS
from seawall.core.frames import FrameFlag
from seawall.core.instruments import Instrument, Kind
from seawall.core.randomness import generator
from seawall.lab.research.following_kernels import BAR, PATH, TRADABLE
from seawall.lab.research.market import Market

START = 1_700_000_040_000_000_000


def instrument(kind: Kind = Kind.LINEAR) -> Instrument:
    """Tick 0.5, lot 0.001: a tick x lot is 0.0005 USD."""
    return Instrument(
        venue="v", symbol="BTC/USD", kind=kind, base="BTC", quote="USD", tick="0.5", lot="0.001"
    )


def walk(
    rows: int,
    seed: int = 0,
    *,
    bars: bool = True,
    drift: float = 0.0,
    kind: Kind = Kind.LINEAR,
    volatility: float = 0.004,
) -> Market:
    """A random walk with everything in the rows that strategies read."""
    random = generator(seed, "tests.research")
    steps = random.standard_normal(rows) * volatility + drift
    close = np.maximum(np.rint(40_000 * np.exp(np.cumsum(steps))), 100).astype(np.int64)
    path = np.zeros(rows, PATH)
    path["ts"] = START + MINUTE * np.arange(1, rows + 1)
    opens = np.concatenate(([40_000], close[:-1]))
    reach = np.rint(close * volatility * random.random((2, rows)))
    path["open"] = opens
    path["high"] = np.maximum(opens, close) + reach[0]
    path["low"] = np.minimum(opens, close) - reach[1]
    path["mark"] = close
    path["bid"], path["ask"] = (close, close) if bars else (close - 1, close + 1)
    path["bid_size"] = path["ask_size"] = random.integers(1, 40_000, rows)
    path["flags"] = TRADABLE | (BAR if bars else 0)
    return Market(instrument(kind), MINUTE, rows_of(path, random, bars), path)


def rows_of(path: Any, random: np.random.Generator, bars: bool = True) -> Any:
    """CONSENSUS rows that go with a path."""
    rows = np.zeros(len(path), CONSENSUS)
    rows["ts"] = path["ts"]
    rows["index"] = np.arange(len(path))
    rows["flags"] = int(FrameFlag.VALID | (FrameFlag.BAR if bars else 0))
    rows["flags"][0] |= int(FrameFlag.RESET)
    rows["votes"] = 5
    rows["price"] = path["mark"] * 0.5
    rows["price_low"], rows["price_high"] = rows["price"] * 0.999, rows["price"] * 1.001
    rows["volume"] = random.random(len(path))
    rows["value"] = random.standard_normal(rows["value"].shape) * 0.3
    rows["scale"], rows["scale_high"] = 0.004, 1.0
    rows["regime"] = 2
    rows["volatility"] = 0.3
    return rows
