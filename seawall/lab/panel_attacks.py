"""The attacks of lab.attacks as they look on a panel: what hostile sources say in each frame.

Strength is a share of the frames and a size. A size counts in spreads of a feature over time; where
an attack has no such thing, its docstring says what it is. Timing attacks come in stretches.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.core.consensus import FEATURES, LEVEL, VOLUME, WIDTH
from seawall.core.randomness import generator

Array = NDArray[np.float64]
STRETCH = 30  # frames that a timing attack lasts at a time
BOUNDED = [FEATURES.index(name) for name in ("position", "imbalance", "imbalance_5", "ofi", "flow")]


class Told(NamedTuple):
    """What an attack may look at, from its first frame on.

    own: (T, m, PANEL_WIDTH) what the hostile sources see. middle: (T, PANEL_WIDTH) the honest
    consensus. scale: (PANEL_WIDTH,) spreads. size: of the attack. random: its own draws.
    """

    own: Array
    middle: Array
    scale: Array
    size: float
    random: np.random.Generator


def mean_shift(told: Told) -> Array:
    """Every feature and the price, off by a constant."""
    return _pushed(told, np.ones(WIDTH + 1))


def slow_drift(told: Told) -> Array:
    """Further off in every frame, up to twice the size at the end."""
    ramp = 2.0 * np.arange(1, len(told.own) + 1) / len(told.own)
    return _pushed(told, np.ones(WIDTH + 1), ramp[:, None, None])


def colluding_sources(told: Told) -> Array:
    """All say the same: the consensus of the honest, off by a wave of a quarter of an hour."""
    wave = np.sin(2.0 * np.pi * np.arange(len(told.own)) / 900.0)[:, None]
    said = told.middle[:, : WIDTH + 1] + told.size * wave * told.scale[: WIDTH + 1]
    found = told.own.copy()
    found[:, :, : WIDTH + 1] = said[:, None]
    return _held(found)


def stale_feed(told: Told) -> Array:
    """What was said half a minute before, times the size."""
    return _earlier(told.own, round(STRETCH * told.size))


def replayed_feed(told: Told) -> Array:
    """What was said so many minutes before, as if it were new; the price goes on."""
    found = _earlier(told.own, round(60 * told.size))
    found[:, :, LEVEL] = told.own[:, :, LEVEL]
    return found


def time_skew(told: Told) -> Array:
    """Late by so many frames."""
    return _earlier(told.own, round(told.size))


def outlier_burst(told: Told) -> Array:
    """Values a hundred sizes away, to either side."""
    sides = np.where(told.random.random((*told.own.shape[:2], WIDTH + 1)) < 0.5, -100.0, 100.0)
    found = told.own.copy()
    found[:, :, : WIDTH + 1] += told.size * sides * told.scale[: WIDTH + 1]
    return _held(found)


def label_flipping(told: Told) -> Array:
    """Who bought has sold, and more of it: flow and order-flow imbalance turned, times the size."""
    found = told.own.copy()
    for name in ("flow", "ofi"):
        found[:, :, FEATURES.index(name)] *= -told.size
    return _held(found)


def spoofing(told: Told) -> Array:
    """A heavy side of the book near the touch, in turns of a minute, and what follows from it."""
    return _pushed(told, _on("imbalance", "imbalance_5", "micro"), _turns(len(told.own)))


def layering(told: Told) -> Array:
    """A heavy side of the book below the touch, in turns of a minute."""
    return _pushed(told, _on("imbalance_5"), _turns(len(told.own)))


def wash_trading(told: Told) -> Array:
    """Trades with oneself: volume times 1 + size, as much bought as sold."""
    found = told.own.copy()
    found[:, :, VOLUME] *= 1.0 + told.size
    found[:, :, FEATURES.index("flow")] /= 1.0 + told.size
    return found


def silence(told: Told) -> Array:
    """Nothing at all; the size does not matter."""
    return np.full_like(told.own, np.nan)


def quote_noise(told: Told) -> Array:
    """Gaussian noise on everything."""
    return _pushed(told, told.random.standard_normal((*told.own.shape[:2], WIDTH + 1)))


KINDS: dict[str, Callable[[Told], Array]] = {
    kind.__name__: kind
    for kind in (
        mean_shift,
        slow_drift,
        colluding_sources,
        wash_trading,
        spoofing,
        layering,
        stale_feed,
        replayed_feed,
        time_skew,
        outlier_burst,
        label_flipping,
        silence,
        quote_noise,
    )
}
IN_STRETCHES = {"stale_feed", "replayed_feed", "time_skew", "silence"}


def attacked(
    panel: Array, scale: Array, kind: str, hostile: int, share: float, size: float, first: int
) -> Array:
    """A panel (T, sources, PANEL_WIDTH) whose first so many sources attack from a frame on.

    Args:
        kind: of KINDS. share: of the frames that are attacked, drawn by chance. size: see the kind.
            scale: (PANEL_WIDTH,) spreads of the features.
    """
    found = panel.copy()
    own = panel[first:, :hostile]
    random = generator(0, f"lab.panel_attacks.{kind}")
    with np.errstate(invalid="ignore"):
        honest = np.sort(panel[first:, hostile:], axis=1)  # NaN last
    count = np.isfinite(honest).sum(axis=1)
    at = np.maximum(count - 1, 0) // 2
    middle = np.take_along_axis(honest, at[:, None], axis=1)[:, 0]
    length = STRETCH if kind in IN_STRETCHES else 1
    draws = random.random((-(-len(own) // length), hostile))
    chosen = np.repeat(draws, length, axis=0)[: len(own)] < share
    said = KINDS[kind](Told(own, middle, scale, size, random))
    found[first:, :hostile] = np.where(chosen[:, :, None], said, own)
    return found


def _held(found: Array) -> Array:
    """Features that have bounds stay inside of them: nothing else comes off a tape."""
    found[:, :, BOUNDED] = np.clip(found[:, :, BOUNDED], -1.0, 1.0)
    return found


def _pushed(told: Told, direction: Array, course: Array | float = 1.0) -> Array:
    found = told.own.copy()
    found[:, :, : WIDTH + 1] += course * told.size * direction * told.scale[: WIDTH + 1]
    return _held(found)


def _on(*names: str) -> Array:
    direction = np.zeros(WIDTH + 1)
    direction[[FEATURES.index(name) for name in names]] = 1.0
    return direction


def _turns(frames: int) -> Array:
    """(frames, 1, 1) one minute up, one minute down."""
    return np.where((np.arange(frames) // 60) % 2 == 0, 1.0, -1.0)[:, None, None]


def _earlier(own: Array, frames: int) -> Array:
    """What was said so many frames before; in the first ones, the first."""
    return own[np.maximum(np.arange(len(own)) - frames, 0)].copy()
