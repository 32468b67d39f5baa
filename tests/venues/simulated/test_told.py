"""What the exchange remembers of orders that ended while it ran compiled."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seawall.venues.simulated.told import Told

prefixes = st.sampled_from(["r", "r-1", "1", ""])
runs = st.lists(
    st.tuples(prefixes, st.dictionaries(st.integers(1, 60), st.integers(1, 1 << 62), max_size=8)),
    max_size=6,
)


@given(runs)
def test_an_order_that_ended_is_found_by_its_client_id_and_no_other_is(passes):
    told, known = Told(None), {}
    for prefix, finals in passes:
        numbers, sequences = [*finals], [*finals.values()]
        told.end(prefix, np.array(numbers, np.int64), np.array(sequences, np.int64))
        known |= {f"{prefix}-{number}": last for number, last in finals.items()}
    for prefix in ("r", "r-1", "1", "", "other"):
        for number in [*range(62), "07", "\u0661", "", "x", "-1", "1 "]:
            client_id = f"{prefix}-{number}"
            assert told.final_of(client_id) == known.get(client_id)
    assert told.final_of("1") is None


def test_those_of_checkpoints_are_found_as_well():
    told = Told(None)
    told.ended.update({"r-1": 7})
    told.end("r", np.array([2]), np.array([9]))
    assert [told.final_of(f"r-{number}") for number in (1, 2, 3)] == [7, 9, None]
