"""What has ended is known, however it was told."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from seawall.venues.simulated.ended import Ended

IDS = st.integers(0, 400).map(lambda n: f"{'ab'[n % 2]}-{n}")


@given(
    told=st.lists(st.tuples(st.booleans(), st.lists(IDS, max_size=8)), max_size=12),
    asked=st.lists(IDS | st.text(max_size=3), max_size=20),
)
def test_it_is_as_good_as_a_dict(told: list[tuple[bool, list[str]]], asked: list[str]) -> None:
    ended, plain = Ended(), dict[str, int]()
    for marked, names in told:
        new = [name for name in dict.fromkeys(names) if name not in plain]  # no order ends twice
        finals = range(len(plain), len(plain) + len(new))
        plain.update(zip(new, finals, strict=True))
        if marked:
            ended.keep(new, array("q", finals).tobytes())
        else:
            ended.update(zip(new, finals, strict=True))
        assert len(ended) == len(plain)
    for name in [*asked, *plain]:
        assert ended.get(name) == plain.get(name)
        assert (name in ended) == (name in plain)
    assert len(ended) == len(plain)


def test_a_new_id_looks_through_none_that_it_cannot_be_in() -> None:
    ended = Ended()
    for first in range(100_000, 200_000, 1_000):
        names = [f"run-{n}" for n in range(first, first + 1_000)]
        ended.keep(names, array("q", range(1_000)).tobytes())
    assert "run-200000" not in ended
    assert not ended._known
    assert ended.get("run-150007") == 7
    assert len(ended._known) == 1_000
