import math

import numpy as np
import pytest

from seawall.core.settings import Settings
from seawall.lab.execution.crash import BANDS, PER_SECOND, Scene
from seawall.node.crash import detect


def falling(fall: float, over: int) -> Scene:
    """A calm minute, then a fall by a share over some seconds, then a calm half minute."""
    down = np.clip((np.arange(150 * PER_SECOND) - 60 * PER_SECOND) / (over * PER_SECOND), 0, 1)
    mid = 10_000.0 * np.exp(np.log1p(-fall) * down)
    offset, size = np.geomspace(1e-5, 2e-2, BANDS)[None, :], np.full((1, BANDS), 5.0)
    return Scene(f"{fall:.0%} in {over} s/0", "scaled", mid, offset, size, 1.3e-4)


@pytest.mark.parametrize("cadence", [1_000, 100])
def test_the_breaker_opens_at_the_next_frame_after_five_per_cent_in_a_minute(cadence: int) -> None:
    settings = Settings(mode="backtest", feed={"cadence_ms": cadence})
    fast, slow = detect(settings, [falling(0.10, 60), falling(0.04, 60)])
    assert fast.crossed == pytest.approx(60 + 60 * math.log(0.95) / math.log(0.9), abs=0.2)
    assert 0.0 <= fast.delay <= cadence / 1_000 + 1e-9
    assert math.isnan(slow.crossed)
    assert math.isnan(slow.delay)
