"""Does a strategy look ahead? It is run again on data whose future was cut off, replaced by noise
or withheld row by row, and must say the same of the past.

Nothing that a strategy computes from the rows can hide from this. What it brings along from
elsewhere (a file of labels, weights fitted to the same days) it can: fit inside the strategy.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.consensus import CONSENSUS
from seawall.core.errors import SettingError
from seawall.core.randomness import generator
from seawall.decision.strategies import Strategy

Array = NDArray[np.float64]
CUTS = 24
LEAST_ROWS = 64  # of a sample, and of a piece where it is split
TOLERANCE = 1e-12  # of exposure: the order of a sum may differ, a decision may not
NOISE = 0.02  # standard deviation of the false future's returns per row
WHOLE = 0.5  # of the past changed: it is not a few rows that the strategy sees ahead


class Difference(NamedTuple):
    """Where the past came out otherwise.

    Attributes:
        test: cut, noise or split. cut: first row of the future that was tampered with.
        row: the first past row that changed. changed: how many did.
        before, after: what was said there with the true future, and without.
    """

    test: str
    cut: int
    row: int
    changed: int
    before: float
    after: float

    @property
    def reach(self) -> int:
        """Rows that lie between: at least so far ahead the strategy has seen."""
        return self.cut - self.row


class Lookahead(msgspec.Struct, frozen=True):
    """The verdict on a strategy.

    Attributes:
        rows, tests: how many rows it was tried on, and how often.
        differences: what changed; empty for an honest strategy.
        decided: share of rows where it said something: what is silent cannot be caught.
    """

    strategy: str
    rows: int
    tests: int
    differences: tuple[Difference, ...]
    decided: float

    @property
    def honest(self) -> bool:
        """Whether nothing changed."""
        return not self.differences

    @property
    def words(self) -> str:
        """The verdict for people."""
        if not self.decided:
            return f"{self.strategy} decided nothing on {self.rows:,} rows: give it more of them"
        if self.honest:
            return (
                f"{self.strategy} does not look ahead: {self.tests} tests on {self.rows:,} rows "
                "changed nothing before the cut"
            )
        worst = max(self.differences, key=lambda one: one.changed)
        seen = [one for one in self.differences if one.test != "split"]
        if not seen:
            return (
                f"{self.strategy} depends on how its rows are cut into blocks: fed in two pieces "
                f"at row {worst.cut:,} it says {worst.after:+.4f} of row {worst.row:,}, else "
                f"{worst.before:+.4f}; what is computed over a block must be carried in the state"
            )
        far = max(one.reach for one in seen)
        if worst.changed > WHOLE * worst.cut:
            how = "its past depends on the whole sample (a scale or a fit over all of it?)"
        elif far == 1:
            how = "it sees 1 row ahead (the next bar?)"
        else:
            how = f"it sees up to {far:,} rows ahead (a centred window, a label, a coarser bar?)"
        return (
            f"{self.strategy} LOOKS AHEAD: {how}; without the rows from {worst.cut:,} on it says "
            f"{worst.after:+.4f} of row {worst.row:,}, with them {worst.before:+.4f}; "
            f"{len(self.differences)} of {self.tests} tests failed"
        )


def check_lookahead(
    strategy: Strategy, rows: NDArray[Any], *, cuts: int = CUTS, seed: int = 0
) -> Lookahead:
    """Try a strategy on the rows as they are and with their future spoiled at many places.

    Args:
        rows: (n,) CONSENSUS of one group; a few thousand are plenty.
        cuts: places; a third of them the last rows, where a short look ahead shows first.

    Raises:
        SettingError: too few rows.
    """
    if len(rows) < LEAST_ROWS:
        raise SettingError(
            f"look-ahead: {len(rows)} rows are too few; it takes {LEAST_ROWS} or more"
        )
    whole = _said(strategy, rows)
    differences: list[Difference] = []
    tests = 0
    for number, cut in enumerate(places(len(rows), cuts, seed)):
        spoiled = np.concatenate([rows[:cut], noise(rows, cut, seed, number)])
        found = {
            "cut": _said(strategy, rows[:cut]),
            "noise": _said(strategy, spoiled)[:cut],
        }
        if min(cut, len(rows) - cut) >= LEAST_ROWS:
            found["split"] = _said(strategy, rows[:cut], rows[cut:])
        for test, said in found.items():
            tests += 1
            difference = _difference(test, cut, whole[: len(said)], said)
            differences += [difference] if difference is not None else []
    decided = float(np.mean(np.isfinite(whole)))
    return Lookahead(strategy.name, len(rows), tests, tuple(differences), decided)


def places(rows: int, cuts: int, seed: int) -> list[int]:
    """Where to cut, ascending: some at random, so that no grid of coarser bars is met by all."""
    random = generator(seed, "lab.research.lookahead")
    late = random.integers(rows * 3 // 4, rows, max(1, cuts // 3))
    anywhere = random.integers(rows // 8, rows, cuts - len(late))
    return sorted({*late.tolist(), *anywhere.tolist(), rows - 1})


def noise(rows: NDArray[Any], cut: int, seed: int, number: int) -> NDArray[Any]:
    """False rows from `cut` on: a walk of its own in price, the true rows' features in another
    order and turned about, so that neither level nor sign nor scale survives."""
    false = rows[cut:].copy()
    random = generator(seed, "lab.research.lookahead.noise", number)
    steps = np.cumsum(random.standard_normal(len(false)) * NOISE)
    start = rows["price"][cut - 1]
    factors = (
        np.exp(steps)
        * (start if start > 0.0 else 1.0)
        / np.where(false["price"] > 0.0, false["price"], 1.0)
    )
    for column in ("price", "price_low", "price_high"):
        false[column] *= factors
    false["value"] = -3.0 * random.permutation(false["value"], axis=0)
    false["mean"] = -3.0 * random.permutation(false["mean"], axis=0)
    for column in ("volume", "scale", "volatility", "vpin"):
        false[column] = random.permutation(false[column]) * np.exp(
            random.standard_normal(len(false))
        )
    false["location"] = -3.0 * random.permutation(false["location"])
    for column in (false.dtype.names or ())[len(CONSENSUS.names or ()) :]:  # features
        false[column] = -3.0 * random.permutation(false[column])
    return false


def _said(strategy: Strategy, *blocks: NDArray[Any]) -> Array:
    """What a fresh start of the strategy says of the blocks, one after the other."""
    state = strategy.start()
    said: Sequence[Array] = [strategy.exposures(block.copy(), state) for block in blocks]
    for block, wanted in zip(blocks, said, strict=True):
        if len(wanted) != len(block):
            raise SettingError(
                f"{strategy.name}: {len(wanted)} exposures for {len(block)} rows; give one per row"
            )
    return np.concatenate(said)


def _difference(test: str, cut: int, whole: Array, said: Array) -> Difference | None:
    silent, quiet = np.isnan(whole), np.isnan(said)
    apart = np.abs(np.where(silent, 0.0, whole) - np.where(quiet, 0.0, said)) > TOLERANCE
    rows = np.flatnonzero(apart | (silent != quiet))
    if not len(rows):
        return None
    row = int(rows[0])
    return Difference(test, cut, row, len(rows), float(whole[row]), float(said[row]))
