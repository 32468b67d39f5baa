"""Spaces: from a shape's annotations, from a person, drawn and on a grid."""

from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from seawall.core.errors import SettingError
from seawall.decision.strategies import STRATEGIES, kind_of, shape_of
from seawall.lab.research.space import Dimension, Space, space_of


class Shape(msgspec.Struct, kw_only=True):
    """One of each kind."""

    length: Annotated[int, Meta(ge=2, le=64, extra={"log": True})] = 8
    gain: Annotated[float, Meta(ge=0.5, le=2.0)] = 1.0
    free: float = 3.0


def test_the_annotations_make_the_space() -> None:
    space = space_of(Shape, {})
    assert space.dimensions == (
        Dimension("length", 2.0, 64.0, True, True),
        Dimension("gain", 0.5, 2.0),
    )
    assert space.fixed == {}


def test_what_is_given_stands_in_its_place() -> None:
    space = space_of(Shape, {"length": "4:16:3", "gain": "1.5", "free": "1,2.5"})
    assert space.fixed == {"gain": 1.5}
    assert list(space.sets()) == [
        {"gain": 1.5, "length": length, "free": free}
        for length in (4, 10, 16)
        for free in (1.0, 2.5)
    ]
    assert space.size == 6


@given(seed=st.integers(0, 50), number=st.integers(0, 10_000))
def test_a_draw_is_a_function_of_seed_and_number(seed: int, number: int) -> None:
    space = space_of(Shape, {"free": "0.1:10:log"})
    drawn = space.draw(seed, number)
    assert drawn == space.draw(seed, number)
    assert isinstance(drawn["length"], int)
    assert 2 <= drawn["length"] <= 64
    assert 0.5 <= drawn["gain"] <= 2.0
    assert 0.1 <= drawn["free"] <= 10.0


def test_each_whole_number_is_as_likely_as_the_other() -> None:
    space = Space((Dimension("n", 1, 4, True),))
    drawn = [space.draw(0, k)["n"] for k in range(4000)]
    for value in (1, 2, 3, 4):
        assert drawn.count(value) == pytest.approx(1000, abs=120)


def test_a_logarithmic_grid_goes_by_ratio() -> None:
    assert Dimension("n", 1, 16, True, True, points=5).grid == (1, 2, 4, 8, 16)
    assert Dimension("n", 1, 3, True, points=9).grid == (1, 2, 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"speed": "1:2"}, "no parameter 'speed'"),
        ({"length": "1.5:3"}, "whole numbers"),
        ({"gain": "2:1"}, "low not above high"),
        ({"gain": "0:1:log"}, "above 0"),
        ({"gain": "nan"}, "give a number"),
        ({"gain": "a:b"}, "give a number"),
        ({"length": "4", "gain": "1"}, "nothing varies"),
    ],
)
def test_what_makes_no_sense_is_told(given: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        space_of(Shape, given)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_has_a_space_that_it_takes_most_of(name: str) -> None:
    kind = kind_of(name)
    space = space_of(kind.shape, {})
    taken = 0
    for number in range(100):
        try:
            shape_of(kind, space.draw(0, number))
            taken += 1
        except SettingError:
            pass
    assert taken >= 50


def test_a_shape_takes_only_what_it_knows() -> None:
    kind = kind_of("moving_average_cross")
    with pytest.raises(SettingError, match="no parameter 'speed'"):
        shape_of(kind, {"speed": 3})
    with pytest.raises(SettingError, match="must be shorter"):
        shape_of(kind, {"fast": 50, "slow": 20})
    with pytest.raises(SettingError, match="choose from"):
        kind_of("nothing")
