"""The space of a strategy's parameters: from its shape's annotations, or as a person gives it."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import msgspec.inspect
import numpy as np

from seawall.core.errors import SettingError
from seawall.core.randomness import generator

POINTS = 5  # of a range on a grid, where nobody says how many
ATTEMPTS = 1000  # to draw a set that the strategy takes

Value = int | float
Parameters = dict[str, Value]


class Dimension(msgspec.Struct, frozen=True):
    """One parameter: a range [low, high], or the values named.

    whole: integers only. log: gone through by ratio. values: where given, nothing else is tried.
    points: of the range on a grid, its ends among them.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False
    values: tuple[Value, ...] = ()
    points: int = POINTS

    def at(self, share: float) -> Value:
        """The value that lies `share` of the way, in [0, 1)."""
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if self.whole:
            low, high = self.low - 0.5, self.high + 0.5
            value = low * (high / low) ** share if self.log else low + share * (high - low)
            return int(min(max(round(value), self.low), self.high))
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return float(self.low + share * (self.high - self.low))

    @property
    def grid(self) -> tuple[Value, ...]:
        """The values of it on a grid, ascending, none twice."""
        if self.values:
            return self.values
        if self.low == self.high:
            return (int(self.low) if self.whole else self.low,)
        space = np.geomspace if self.log else np.linspace
        values = space(self.low, self.high, self.points).tolist()
        if not self.whole:
            return tuple(values)
        return tuple(dict.fromkeys(round(value) for value in values))


class Space(msgspec.Struct, frozen=True):
    """The dimensions that vary, and what is held fixed."""

    dimensions: tuple[Dimension, ...]
    fixed: Parameters = {}

    def draw(self, seed: int, number: int) -> Parameters:
        """The set with this number of a random search: a function of seed and number alone."""
        shares = generator(seed, "lab.research.space", number).random(len(self.dimensions))
        drawn = zip(self.dimensions, shares.tolist(), strict=True)
        return {**self.fixed, **{one.name: one.at(share) for one, share in drawn}}

    def sets(self) -> Iterator[Parameters]:
        """All sets of the grid, the last dimension fastest."""
        names = [one.name for one in self.dimensions]
        for values in itertools.product(*(one.grid for one in self.dimensions)):
            yield {**self.fixed, **dict(zip(names, values, strict=True))}

    @property
    def size(self) -> int:
        """How many sets the grid has."""
        return math.prod(len(one.grid) for one in self.dimensions)


def space_of(shape: type[msgspec.Struct], given: Mapping[str, str]) -> Space:
    """The space of a shape: what its annotations say, with what is given in its place.

    Args:
        given: parameter → ``20`` (held fixed), ``5,10,20`` (these values), ``5:50`` (range),
            ``5:50:10`` (range, ten points on a grid), each with ``:log`` behind it if wanted.

    Raises:
        SettingError: a parameter or a range that makes no sense, or nothing that varies.
    """
    fields = {field.name: field for field in msgspec.inspect.type_info(shape).fields}  # type: ignore[attr-defined]
    for name in given:
        if name not in fields:
            raise SettingError(f"there is no parameter {name!r}; there are {', '.join(fields)}")
    dimensions: list[Dimension] = []
    fixed: Parameters = {}
    for name, field in fields.items():
        whole, own = _annotated(name, field.type)
        if name not in given:
            dimensions += [own] if own is not None else []
            continue
        told = _parsed(name, given[name], whole)
        if len(told.values) == 1:
            fixed[name] = told.values[0]
        else:
            dimensions.append(told)
    if not dimensions:
        raise SettingError("nothing varies: give a range, such as --param fast=5:50")
    return Space(tuple(dimensions), fixed)


def _annotated(name: str, kind: Any) -> tuple[bool, Dimension | None]:
    """Whether a field is whole, and its range if the annotation gives one."""
    log = False
    if isinstance(kind, msgspec.inspect.Metadata):
        log = bool((kind.extra or {}).get("log"))
        kind = kind.type
    whole = isinstance(kind, msgspec.inspect.IntType)
    low, high = getattr(kind, "ge", None), getattr(kind, "le", None)
    if low is None or high is None:
        return whole, None
    return whole, Dimension(name, float(low), float(high), whole, log)


def _parsed(name: str, text: str, whole: bool) -> Dimension:
    parts = text.split(":")
    log = len(parts) > 1 and parts[-1] == "log"
    parts = parts[:-1] if log else parts
    try:
        if len(parts) == 1:
            return Dimension(name, values=_numbers(parts[0].split(","), whole))
        low, high = _numbers(parts[:2], whole)
        points = int(parts[2]) if len(parts) > 2 else POINTS
    except ValueError:
        raise SettingError(
            f"{name}={text}: give a number, numbers (5,10,20) or a range (5:50, 5:50:10, "
            f"5:50:log){' of whole numbers' if whole else ''}"
        ) from None
    if not low <= high or (log and low <= 0) or points < 2 or len(parts) > 3:
        raise SettingError(
            f"{name}={text}: a range is low:high or low:high:points, low not above high, above 0 "
            "with :log, points 2 or more"
        )
    return Dimension(name, float(low), float(high), whole, log, points=points)


def _numbers(texts: Sequence[str], whole: bool) -> tuple[Value, ...]:
    values = tuple(int(text) if whole else float(text) for text in texts)
    if not all(math.isfinite(value) for value in values):
        raise ValueError("not finite")
    return values
