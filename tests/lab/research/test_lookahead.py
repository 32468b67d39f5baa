"""Five planted cheats are caught, and the honest strategies pass."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seawall.core.clock import MINUTE
from seawall.core.errors import SettingError
from seawall.decision.strategies import (
    STRATEGIES,
    CrossShape,
    MovingAverageCross,
    Strategy,
    kind_of,
)
from seawall.lab.research.lookahead import check_lookahead
from tests.lab.research.walks import walk

BARS = walk(2_000, 7).rows
BOOKS = walk(2_000, 7, bars=False).rows


class Rule:
    """A strategy that sees its whole block at once: a place to plant a cheat in."""

    def __init__(self, name: str, rule: Callable[[np.ndarray], np.ndarray]) -> None:
        self.name = name
        self._rule = rule

    def start(self) -> None:
        return None

    def exposures(self, rows: Any, state: None) -> np.ndarray:
        return np.clip(self._rule(rows["price"]), -1.0, 1.0)


def future_bar(price: np.ndarray) -> np.ndarray:
    """Goes where the next bar goes."""
    return np.sign(np.append(price[1:], price[-1]) - price)


def centred_window(price: np.ndarray) -> np.ndarray:
    """Below a moving average that is centred on the bar."""
    padded = np.pad(price, 5, mode="edge")
    smooth = np.convolve(padded, np.ones(11) / 11, mode="valid")
    return np.sign(smooth - price)


def full_sample_scaling(price: np.ndarray) -> np.ndarray:
    """Standardised by mean and deviation of all prices."""
    return -(price - price.mean()) / price.std()


def label_leak(price: np.ndarray) -> np.ndarray:
    """A label is known only when its horizon is over; this one uses it at once."""
    horizon = 20
    ahead = np.append(price[horizon:], np.full(horizon, price[-1]))
    label = np.sign(ahead / price - 1.0)
    return np.convolve(label, np.ones(5) / 5, mode="full")[: len(price)]


def resample_leak(price: np.ndarray) -> np.ndarray:
    """The close of the hour, at each minute of it."""
    hour = np.arange(len(price)) // 60
    last = np.minimum((hour + 1) * 60, len(price)) - 1
    return np.sign(price[last] - price)


CHEATS = (future_bar, centred_window, full_sample_scaling, label_leak, resample_leak)


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_a_cheat_is_caught(cheat: Callable[[np.ndarray], np.ndarray], seed: int) -> None:
    found = check_lookahead(Rule(cheat.__name__, cheat), BARS, seed=seed)
    assert not found.honest
    assert any(one.test in ("cut", "noise") for one in found.differences)
    assert "LOOKS AHEAD" in found.words


def test_the_words_say_how_far_it_sees() -> None:
    assert "sees 1 row ahead" in check_lookahead(Rule("next", future_bar), BARS).words
    assert "up to 5 rows" in check_lookahead(Rule("centred", centred_window), BARS).words
    assert "whole sample" in check_lookahead(Rule("scaled", full_sample_scaling), BARS).words


def exposes(name: str) -> bool:
    """What quotes says no exposures: there is nothing that this check could compare."""
    kind = kind_of(name)
    return isinstance(kind.build(kind.shape(), MINUTE), Strategy)


@pytest.mark.parametrize("name", sorted(filter(exposes, STRATEGIES)))
@pytest.mark.parametrize("rows", [BARS, BOOKS], ids=["bars", "books"])
def test_the_honest_ones_pass(name: str, rows: Any) -> None:
    kind = kind_of(name)
    found = check_lookahead(kind.build(kind.shape(), MINUTE), rows)
    assert found.honest, found.words
    assert found.tests >= 60


def test_what_says_nothing_is_told_so() -> None:
    kind = kind_of("order_flow")  # bars have no order flow
    assert "decided nothing" in check_lookahead(kind.build(kind.shape(), MINUTE), BARS).words


def test_a_cheat_hidden_in_an_honest_rule_is_caught() -> None:
    class Sly(MovingAverageCross):
        """Honest but for one row in a thousand."""

        def exposures(self, rows: Any, state: Any) -> np.ndarray:
            said = super().exposures(rows, state)
            price = rows["price"]
            for row in range(999, len(rows) - 400, 1000):
                said[row] = np.sign(price[row + 400] - price[row])
            return said

    assert not check_lookahead(Sly(CrossShape(), MINUTE), BARS).honest


def test_what_only_another_future_shows_is_caught() -> None:
    def warned(price: np.ndarray) -> np.ndarray:
        """Stays out of a market that will crash. This one did not."""
        return np.full(len(price), 0.0 if price.min() < 0.5 * price[0] else 1.0)

    found = check_lookahead(Rule("warned", warned), BARS)
    assert {one.test for one in found.differences} == {"noise"}


def test_what_is_computed_over_a_block_must_be_carried() -> None:
    def ranked(price: np.ndarray) -> np.ndarray:
        """Against the first price of the block: causal, but another one in each split."""
        return np.sign(price - price[0])

    found = check_lookahead(Rule("ranked", ranked), BARS)
    assert {one.test for one in found.differences} == {"split"}
    assert "carried in the state" in found.words


def test_a_strategy_that_loses_rows_is_told_so() -> None:
    with pytest.raises(SettingError, match="one per row"):
        check_lookahead(Rule("short", lambda price: price[1:]), BARS)
    with pytest.raises(SettingError, match="too few"):
        check_lookahead(Rule("next", future_bar), BARS[:10])


def test_a_strategy_fits_the_interface() -> None:
    honest: Strategy = Rule("flat", np.zeros_like)
    assert check_lookahead(honest, BARS).honest
