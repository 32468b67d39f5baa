"""The tape's layout and order."""

import numpy as np
import pytest

from seawall.core.errors import DataError
from seawall.core.events import EVENT, EventFlag, EventKind, Side, checked, empty, ordered


def test_the_layout_is_fixed() -> None:
    """Recorded segments hold these bytes: a change needs a new version of the tape."""
    assert EVENT.itemsize == 56
    assert EVENT.names == (
        "recv_ts",
        "exch_ts",
        "sequence",
        "previous",
        "price",
        "size",
        "instrument",
        "source",
        "kind",
        "side",
        "flags",
    )
    assert [int(kind) for kind in EventKind] == list(range(1, 15))
    assert [int(flag) for flag in EventFlag] == [1, 2, 4, 8, 16, 32, 64]


def test_a_side_has_a_sign_and_an_opposite() -> None:
    assert [side.sign for side in Side] == [1, -1, 0]
    assert [side.opposite for side in Side] == [Side.SELL, Side.BUY, Side.UNKNOWN]


def test_rows_are_ordered_by_receive_time_then_source_then_as_given() -> None:
    rows = empty(6)
    rows["recv_ts"] = [5, 3, 5, 3, 5, 3]
    rows["source"] = [1, 2, 0, 1, 1, 2]
    rows["sequence"] = [9, 8, 7, 6, 5, 4]
    assert ordered(rows)["sequence"].tolist() == [6, 8, 4, 7, 9, 5]


def test_ordering_twice_changes_nothing_and_loses_nothing() -> None:
    random = np.random.default_rng(1)
    rows = empty(500)
    rows["recv_ts"] = random.integers(0, 40, 500)
    rows["source"] = random.integers(0, 3, 500)
    rows["sequence"] = np.arange(500)
    once = ordered(rows)
    assert ordered(once).tobytes() == once.tobytes()
    assert sorted(once["sequence"].tolist()) == list(range(500))
    assert (np.diff(once["recv_ts"]) >= 0).all()


@pytest.mark.parametrize("times", [[], [1], [1, 1, 2]])
def test_rows_in_order_are_a_tape(times: list[int]) -> None:
    rows = empty(len(times))
    rows["recv_ts"] = times
    assert checked(rows, "here") is rows


def test_rows_that_go_back_in_time_are_refused_with_their_place() -> None:
    rows = empty(4)
    rows["recv_ts"] = [1, 5, 4, 6]
    with pytest.raises(DataError, match=r"day\.tape: receive time goes back at row 2;"):
        checked(rows, "day.tape")


def test_rows_of_another_layout_are_refused() -> None:
    with pytest.raises(DataError, match="not the tape's"):
        checked(np.zeros(3, np.dtype([("recv_ts", "<i8")])), "day.tape")
