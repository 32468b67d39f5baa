"""What was learned is learned again step by step, without those who were in doubt."""

from collections.abc import Iterator

import numpy as np
import pytest

from seawall.core.consensus import WIDTH
from seawall.gating.relearning import REMEMBERED, Step, Steps

RATE = 0.05
LIAR = frozenset({"liar"})


def walked(random: np.random.Generator, count: int, from_step: int) -> Iterator[tuple[Step, bool]]:
    """Locations that wander; from a step on the liar is in doubt and adds 3 to all of them."""
    honest = np.zeros(WIDTH)
    for at in range(count):
        honest = 0.9 * honest + random.standard_normal(WIDTH)
        doubt = at >= from_step
        told = honest + 3.0 * doubt
        yield Step(at + 1, told, LIAR if doubt else frozenset(), honest if doubt else None), doubt


def test_the_steps_are_taken_again_as_if_the_liar_had_not_been_there() -> None:
    random = np.random.Generator(np.random.Philox(1))
    steps, honest = Steps(), np.zeros(WIDTH)
    checkpoint = honest
    for step, _ in walked(random, 60, 40):
        steps.keep(step)
        told = step.location if step.without is None else step.without
        honest = (1.0 - RATE) * honest + RATE * told
        if step.ts == 30:
            checkpoint = honest
    again = steps.again(checkpoint, 30, 30, RATE, LIAR, np.full(WIDTH, 99.0))
    np.testing.assert_allclose(again, honest, atol=1e-12)


def test_whoever_was_in_doubt_and_is_not_accused_keeps_its_say() -> None:
    steps = Steps()
    steps.keep(Step(1, np.ones(WIDTH), LIAR, np.zeros(WIDTH)))
    for accused, mean in ((LIAR, 0.0), (frozenset({"another"}), RATE), (LIAR | {"another"}, RATE)):
        again = steps.again(np.zeros(WIDTH), 0, 1, RATE, accused, np.zeros(WIDTH))
        np.testing.assert_allclose(again, mean)


@pytest.mark.parametrize(("made", "forgotten"), [(REMEMBERED, 0), (REMEMBERED + 40, 40)])
def test_what_is_no_longer_remembered_goes_toward_what_the_others_say_now(
    made: int, forgotten: int
) -> None:
    steps = Steps()
    for at in range(made):
        steps.keep(Step(at + 1, np.zeros(WIDTH), frozenset(), None))
    again = steps.again(np.zeros(WIDTH), 0, made, RATE, LIAR, np.ones(WIDTH))
    kept = (1.0 - RATE) ** REMEMBERED
    np.testing.assert_allclose(again, kept * (1.0 - (1.0 - RATE) ** forgotten), atol=1e-12)


def test_what_an_operator_went_back_from_is_not_learned_again() -> None:
    steps = Steps()
    for at in range(4):
        steps.keep(Step(at + 1, np.full(WIDTH, 5.0), frozenset(), None))
    steps.forget(2)
    again = steps.again(np.zeros(WIDTH), 2, 2, RATE, LIAR, np.zeros(WIDTH))
    np.testing.assert_allclose(again, 0.0)
