"""CONSENSUS rows written by hand: with trouble, with what an attacker may do, and without."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.consensus import CONSENSUS, WIDTH
from seawall.core.frames import FrameFlag, Regime
from seawall.decision.kernels import PRICE_REACH

GROUPS = 3
BOUNDS = (0.15, 0.50, 0.60)  # annualised volatility from which NORMAL, HIGH, EXTREME begin


def widened(
    random: np.random.Generator, values: NDArray[np.float64], spread: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds around values, most of them close, some wide, a few none at all."""
    sides = []
    for sign in (-1.0, 1.0):
        width = spread * np.abs(random.standard_t(2, values.shape))
        width[random.uniform(size=values.shape) < 0.1] = 0.0
        width[random.uniform(size=values.shape) < 0.02] = np.inf
        sides.append(values + sign * width)
    return sides[0], sides[1]


def clean(seed: int, boundaries: int, groups: int = 1) -> NDArray[Any]:
    """Rows of some groups, interleaved by boundary, without trouble; each value has bounds."""
    random = np.random.default_rng(seed)
    count = boundaries * groups
    rows = np.zeros(count, CONSENSUS)
    rows["index"] = np.repeat(np.arange(boundaries), groups)
    rows["ts"] = (rows["index"] + 1) * SECOND
    rows["group"] = np.tile(np.arange(groups), boundaries)
    rows["flags"], rows["votes"] = FrameFlag.VALID, 5
    rows["price"] = 100.0 * np.exp(np.cumsum(1e-3 * random.standard_normal(count)))
    low, high = widened(random, np.log(rows["price"]), 1e-3)
    rows["price_low"], rows["price_high"] = np.exp(low), np.exp(high)
    rows["value"] = random.uniform(-1.2, 1.2, (count, WIDTH))
    rows["low"], rows["high"] = widened(random, rows["value"], 0.1)
    rows["mean"] = random.uniform(-0.2, 0.2, (count, WIDTH))
    rows["mean_bound"] = 0.02 * np.abs(random.standard_t(2, (count, WIDTH)))
    rows["scale"] = 1e-3
    rows["volatility"] = random.choice([0.1, 0.3, 0.55, 0.9], count)
    for column, least in (("scale", 1e-5), ("volatility", 0.01)):
        low, high = widened(random, np.log(rows[column]), 0.2)
        rows[f"{column}_low"] = np.maximum(np.exp(low), least)
        rows[f"{column}_high"] = np.minimum(np.exp(high), 1.0)
        rows[f"{column}_high"] = np.maximum(rows[f"{column}_high"], rows[column])
    rows["regime"] = regimes(rows["volatility"])
    return rows


def regimes(volatility: NDArray[np.float64]) -> NDArray[np.int64]:
    """As analysis names them."""
    return int(Regime.LOW_VOL) + np.searchsorted(BOUNDS, volatility, side="right")


def synthetic(seed: int, boundaries: int, groups: int = GROUPS) -> NDArray[Any]:
    """Rows of several groups with every kind of trouble in them."""
    random = np.random.default_rng(seed)
    rows = clean(seed, boundaries, groups)
    odd = random.uniform(size=len(rows))
    flags = rows["flags"]
    flags[odd < 0.05] |= np.uint16(FrameFlag.UNCORROBORATED)
    flags[(odd > 0.05) & (odd < 0.1)] &= ~np.uint16(FrameFlag.VALID)
    flags[(odd > 0.1) & (odd < 0.13)] |= np.uint16(FrameFlag.RESET)
    flags[(odd > 0.13) & (odd < 0.15)] |= np.uint16(FrameFlag.BAR)
    rows["price"][odd > 0.99] = 0.0
    rows["scale"][odd > 0.98] = rows["scale_low"][odd > 0.98] = 0.0
    rows["mean_bound"][odd > 0.97] = np.inf
    rows["regime"][(odd > 0.9) & (odd < 0.95)] = Regime.UNKNOWN
    return rows


def certain(rows: NDArray[Any]) -> NDArray[Any]:
    """The same rows where nobody can have lied: all bounds are the values themselves."""
    sure = rows.copy()
    for column in ("price", "scale", "volatility"):
        sure[f"{column}_low"] = sure[f"{column}_high"] = rows[column]
    sure["low"] = sure["high"] = rows["value"]
    sure["mean_bound"] = 0.0
    return sure


def otherwise(
    rows: NDArray[Any], seed: int, corners: bool, columns: tuple[str, ...]
) -> NDArray[Any]:
    """What the rows may have been without the attack: these columns anywhere in their bounds.

    corners: at either end. What has no end goes as far as the consumer has to reckon with.
    """
    random = np.random.default_rng(seed)
    other = rows.copy()

    def between(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
        share = random.uniform(size=low.shape)
        if corners:
            share = np.round(share)
        return low * (1.0 - share) + high * share

    for column in columns:
        if column == "price":
            reach = np.multiply.outer([1.0 - PRICE_REACH, 1.0 + PRICE_REACH], rows["price"])
            low, high = (
                np.maximum(rows["price_low"], reach[0]),
                np.minimum(rows["price_high"], reach[1]),
            )
        elif column == "value":
            low, high = np.maximum(rows["low"], -1e3), np.minimum(rows["high"], 1e3)
        elif column == "mean":
            bound = np.minimum(rows["mean_bound"], 1e3)
            low, high = rows["mean"] - bound, rows["mean"] + bound
        else:
            low, high = rows[f"{column}_low"], rows[f"{column}_high"]
        other[column] = between(low, high)
        if column == "price":
            other["price"][rows["price"] == 0.0] = 0.0
        if column == "scale":
            other["scale"][rows["scale"] == 0.0] = 0.0
        elif column == "volatility":
            other["regime"] = np.where(
                rows["regime"] == Regime.UNKNOWN, Regime.UNKNOWN, regimes(other["volatility"])
            )
    return other
