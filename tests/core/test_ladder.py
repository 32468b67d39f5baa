"""The compiled book is held to a plain dictionary."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core import ladder as kernel
from seawall.core.ladder import ASK, BID, FAR, NO_ASK, NO_BID, WINDOW
from seawall.core.order_book import new_ladders

near = st.integers(WINDOW * 3 - 20, WINDOW * 3 + 20)
edges = st.integers(0, 8).map(lambda k: WINDOW * k // 2 + 1)
anywhere = st.integers(1, WINDOW * 6)
levels = st.tuples(st.integers(0, 1), st.one_of(near, edges, anywhere), st.integers(0, 3))


def best_of(book: dict[int, int], side: int) -> int:
    if not book:
        return NO_BID if side == BID else NO_ASK
    return max(book) if side == BID else min(book)


def walked(ladder: np.void, side: int) -> dict[int, int]:
    found = {}
    price = int(ladder["best"][side])
    while price not in (NO_BID, NO_ASK):
        found[price] = int(kernel.size_at(ladder, side, price))
        price = int(kernel.next_price(ladder, side, price))
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(levels, max_size=60))
def test_book_equals_a_dictionary(rows: list[tuple[int, int, int]]) -> None:
    ladder = new_ladders(1)[0]
    plain: list[dict[int, int]] = [{}, {}]
    for side, price, size in rows:
        kernel.put(ladder, side, price, size)
        if size:
            plain[side][price] = size
        else:
            plain[side].pop(price, None)
        for s in (BID, ASK):
            assert ladder["best"][s] == best_of(plain[s], s)
    for s in (BID, ASK):
        assert walked(ladder, s) == plain[s]
        assert kernel.depth(ladder, s, 5) == sum(
            plain[s][p] for p in sorted(plain[s], reverse=s == BID)[:5]
        )


def test_far_levels_are_bounded_and_the_farthest_go_first() -> None:
    ladder = new_ladders(1)[0]
    kernel.put(ladder, BID, 10 * WINDOW, 1)
    kernel.put(ladder, ASK, 10 * WINDOW + 1, 1)
    for i in range(FAR + 10):
        kernel.put(ladder, BID, 1 + i, 1)
        kernel.put(ladder, ASK, 20 * WINDOW - i, 1)
    assert ladder["dropped"] == 20
    assert kernel.size_at(ladder, BID, 10) == 0
    assert kernel.size_at(ladder, BID, 11) == 1
    assert kernel.size_at(ladder, ASK, 20 * WINDOW - 9) == 0
    assert kernel.size_at(ladder, ASK, 20 * WINDOW - 10) == 1


def test_clear_forgets_everything() -> None:
    ladder = new_ladders(2)[1]
    for price in (5, WINDOW * 2):
        kernel.put(ladder, BID, price, 7)
    kernel.clear(ladder)
    assert ladder["best"][BID] == NO_BID
    assert not ladder["cells"].any()
    kernel.put(ladder, ASK, 9, 1)
    assert walked_book_one(ladder) == 9


def walked_book_one(ladder: np.void) -> int:
    assert kernel.next_price(ladder, ASK, 9) == NO_ASK
    return int(ladder["best"][ASK])


@pytest.mark.parametrize("price", [1, WINDOW // 2, WINDOW - 1])
def test_small_prices_keep_the_window_at_zero(price: int) -> None:
    ladder = new_ladders(1)[0]
    kernel.put(ladder, BID, price, 2)
    kernel.put(ladder, ASK, price + 1, 2)
    assert ladder["origin"] >= 0
    assert np.array_equal(ladder["best"], [price, price + 1])
