"""The market gate: does the consensus still look like the reference? It may only freeze learning.

Each answer also says whether the run without the attack must have had the same one, from the
bounds on what went in; the certificate needs that (DEFINITIONS 13, "State").
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.gating.corridor import Bounded, Corridor, Triple, extent

TESTS = ("location", "spectrum", "KL")


class MarketVerdict(msgspec.Struct, frozen=True):
    """What the market gate says.

    passes: of our run. alike: the clean run's answer is the same for certain. figures: D, the
    spectrum and KL of the window against the walking reference. limits: D, |log eigenvalue|, KL.
    """

    passes: bool
    alike: bool
    figures: Corridor
    limits: Triple
    reason: str


def judge(
    window: Bounded,
    reference: Bounded,
    limits: Triple,
    active: NDArray[np.bool_],
    ridge: NDArray[np.float64],
) -> MarketVerdict:
    """Location, spectrum and KL of the window against the reference."""
    figures, least, greatest = extent(window, reference, active, ridge)
    failed = [
        f"{name} {value:.3g} over {limit:.3g}"
        for name, value, limit in zip(TESTS, figures.triple, limits, strict=True)
        if value > limit
    ]
    surely_fails = any(value > limit for value, limit in zip(least, limits, strict=True))
    surely_passes = all(value <= limit for value, limit in zip(greatest, limits, strict=True))
    return MarketVerdict(
        not failed, surely_passes or surely_fails, figures, limits, ", ".join(failed)
    )
