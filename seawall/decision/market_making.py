"""A market maker that quotes both sides about the middle, wider in restless times, and leans."""

import math
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from seawall.core.clock import SECOND, YEAR
from seawall.core.errors import SettingError
from seawall.core.frames import FrameFlag, Regime
from seawall.decision.quoting import QUOTE

GOOD, UNKNOWN = int(FrameFlag.VALID), int(Regime.UNKNOWN)


class MarketMakingShape(msgspec.Struct, frozen=True, kw_only=True):
    """How it quotes.

    Attributes:
        half_bps: distance of the first rung from the middle at least. width: standard deviations
            of the price over `horizon_s` that it is at least, too. lean: parts of the half spread
            that both sides go down where all of the cap is held. size: of one rung, a share of the
            cap. rungs: on each side. step_bps: from one to the next.
    """

    half_bps: Annotated[float, Meta(ge=0.1, le=100.0, extra={"log": True})] = 3.0
    width: Annotated[float, Meta(ge=0.0, le=5.0)] = 1.0
    horizon_s: Annotated[float, Meta(ge=0.1, le=600.0, extra={"log": True})] = 5.0
    lean: Annotated[float, Meta(ge=0.0, le=5.0)] = 1.0
    size: Annotated[float, Meta(ge=0.01, le=1.0)] = 0.2
    rungs: Annotated[int, Meta(ge=1, le=10)] = 2
    step_bps: Annotated[float, Meta(ge=0.0, le=100.0)] = 2.0

    def __post_init__(self) -> None:
        numbers = (self.half_bps, self.width, self.horizon_s, self.lean, self.size, self.step_bps)
        if not all(math.isfinite(number) and number >= 0.0 for number in numbers):
            raise SettingError("market_making: its parameters must be 0 or more")
        if not (self.half_bps > 0.0 and 0.0 < self.size <= 1.0 and 1 <= self.rungs <= 100):
            raise SettingError(
                "market_making: half_bps must be above 0, size in (0, 1] and rungs 1 to 100"
            )


class MarketMaking:
    """See Quoter. Where the volatility is not known yet it does not quote."""

    name: ClassVar[str] = "market_making"

    def __init__(self, shape: MarketMakingShape, cadence: int) -> None:
        self._shape = shape
        self._years = shape.horizon_s * SECOND / YEAR

    @property
    def rungs(self) -> int:
        """See Quoter."""
        return self._shape.rungs

    @property
    def step(self) -> float:
        """See Quoter."""
        return self._shape.step_bps / 1e4

    def start(self) -> None:
        """It remembers nothing."""

    def quotes(self, rows: NDArray[Any], state: None) -> NDArray[Any]:
        """See Quoter."""
        said = np.zeros(len(rows), QUOTE)
        spread = self._shape.width * rows["volatility"] * math.sqrt(self._years)
        known = (rows["flags"] & GOOD > 0) & (rows["regime"] != UNKNOWN)
        said["half"] = np.where(known, np.maximum(self._shape.half_bps / 1e4, spread), np.nan)
        said["skew"] = self._shape.lean * said["half"]
        said["size"] = self._shape.size
        return said
