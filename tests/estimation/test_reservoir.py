"""The weighted reservoir: its law, its caps, and keys that belong to their events."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from seawall.core.errors import DataError
from seawall.estimation import Reservoir
from tests.tapes import COMPILED

Kept = set[tuple[int, int]]


def kept(reservoir: Reservoir) -> Kept:
    """(source, event) of everything that is held."""
    return set(zip(reservoir.sample()[1].tolist(), reservoir.events().tolist(), strict=True))


def stream(n: int, sources: int = 4, seed: int = 0) -> tuple[NDArray[np.int64], ...]:
    """Sources, events, trusts and rows; a row tells its event."""
    rng = np.random.default_rng(seed)
    source = rng.integers(0, sources, n)
    return source, np.arange(n), rng.uniform(0.2, 1.0, n), np.arange(n)[:, None] * [1.0, 2.0]


def filled(parts: tuple[NDArray[np.int64], ...], *, cap: int = 8, jumps: bool = False) -> Reservoir:
    reservoir = Reservoir(20, cap, 5, jumps=jumps)
    reservoir.offer(*parts)
    return reservoir


def law(trusts: list[float], k: int) -> dict[frozenset[int], float]:
    """Chances of each set of k in successive draws by weight, without replacement."""
    chances: dict[frozenset[int], float] = Counter()

    def draw(taken: tuple[int, ...], chance: float) -> None:
        if len(taken) == k:
            chances[frozenset(taken)] += chance
            return
        left = [i for i in range(len(trusts)) if i not in taken]
        total = sum(trusts[i] for i in left)
        for i in left:
            draw((*taken, i), chance * trusts[i] / total)

    draw((), 1.0)
    return chances


@pytest.mark.parametrize("jumps", [False, True])
@pytest.mark.parametrize("one_source", [False, True])
def test_what_is_kept_has_the_law_of_successive_weighted_draws(
    jumps: bool, one_source: bool
) -> None:
    trusts, times = [1.0, 0.2, 0.5, 3.0, 0.7, 1.0], 6000 if COMPILED else 1500
    source = np.zeros(6, np.int64) if one_source else np.arange(6) % 2
    expected = law(trusts, 3)
    seen: Counter[frozenset[int]] = Counter()
    for seed in range(times):
        reservoir = Reservoir(3, 3, seed, jumps=jumps)
        reservoir.offer(source, np.arange(6), trusts, np.zeros((6, 1)))
        seen[frozenset(reservoir.events().tolist())] += 1
    sets = [frozenset(one) for one in combinations(range(6), 3)]
    counts, means = [seen[one] for one in sets], [times * expected[one] for one in sets]
    assert chisquare(counts, means).pvalue > 1e-3


@pytest.mark.parametrize("jumps", [False, True])
def test_a_long_stream_is_kept_by_its_weights(jumps: bool) -> None:
    n, times = 300, 300 if COMPILED else 60
    trust = np.where(np.arange(n) % 3 == 0, 1.0, 0.25)
    seen = np.zeros(n)
    for seed in range(times):
        reservoir = Reservoir(30, 30, seed, jumps=jumps)
        reservoir.offer(np.arange(n) % 2, np.arange(n), trust, np.zeros((n, 1)))
        seen[reservoir.events()] += 1
    share = seen.reshape(10, 10, 3).sum(axis=(1,)) / (10 * times)
    assert share[:, 0] == pytest.approx(np.full(10, 0.195), abs=0.03 if COMPILED else 0.07)
    assert share[:, 1:] == pytest.approx(np.full((10, 2), 0.052), abs=0.02 if COMPILED else 0.04)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.integers(1, 120), st.integers(1, 12), st.integers(1, 6))
def test_the_best_keys_of_each_source_then_the_best_of_all(
    seed: int, n: int, cap: int, sources: int
) -> None:
    source, event, trust, row = stream(n, sources, seed)
    reservoir = Reservoir(12, cap, seed)
    reservoir.offer(source, event, trust, row)
    key = np.log(reservoir.uniforms(source, event)) / trust
    best = [
        i
        for one in range(sources)
        for i in sorted(np.flatnonzero(source == one), key=lambda i: -key[i])[:cap]
    ]
    expected = sorted(best, key=lambda i: -key[i])[:12]
    assert kept(reservoir) == {(int(source[i]), int(event[i])) for i in expected}
    rows, sources_of = reservoir.sample()
    assert np.array_equal(rows[:, 0], reservoir.events())
    assert np.array_equal(sources_of, source[reservoir.events()])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 100), max_size=4), st.booleans())
def test_no_split_into_blocks_changes_anything(cuts: list[int], jumps: bool) -> None:
    parts = stream(100)
    pieces = Reservoir(20, 8, 5, jumps=jumps)
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 100], strict=True):
        pieces.offer(*(part[begin:end] for part in parts))
    whole = filled(parts, jumps=jumps).state()
    assert all(np.array_equal(whole[name], value) for name, value in pieces.state().items())


def test_one_row_is_offered_as_a_block_of_one() -> None:
    source, event, trust, row = stream(60)
    single = Reservoir(20, 8, 5)
    taken = [single.offer(source[i], event[i], trust[i], row[i]) for i in range(60)]
    assert kept(single) == kept(filled((source, event, trust, row)))
    assert sum(taken) >= len(kept(single))
    assert single.offered == 60


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_the_order_of_offers_does_not_matter(random: object) -> None:
    order = list(range(100))
    random.shuffle(order)  # type: ignore[attr-defined]
    parts = stream(100)
    shuffled = filled(tuple(part[order] for part in parts))
    assert kept(shuffled) == kept(filled(parts))
    assert np.array_equal(shuffled.sample()[0], filled(parts).sample()[0])


def test_an_event_that_is_added_changes_no_other_key() -> None:
    source, event, trust, row = stream(100)
    with_all, missing = filled((source, event, trust, row)), 0
    for left_out in range(100):
        rest = np.arange(100) != left_out
        without = filled((source[rest], event[rest], trust[rest], row[rest]))
        gone, come = kept(with_all) - kept(without), kept(without) - kept(with_all)
        assert gone <= {(int(source[left_out]), left_out)}
        assert len(come) == len(gone)
        missing += len(gone)
    assert missing == 20


def test_with_jumps_an_added_event_moves_no_other_source() -> None:
    parts = [np.concatenate([part, part]) for part in stream(400)]
    parts[0][400:] += 4  # twice the stream, under other names, so that caps bind and nothing else
    reservoir = Reservoir(1000, 10, 5, jumps=True)
    reservoir.offer(*parts)
    alone = Reservoir(1000, 10, 5, jumps=True)
    alone.offer(*(part[:400] for part in parts))
    assert {one for one in kept(reservoir) if one[0] < 4} == kept(alone)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.booleans(), min_size=100, max_size=100), st.booleans())
def test_merged_parts_are_the_whole(side: list[bool], overlap: bool) -> None:
    parts, left = stream(100), np.array(side)
    first = filled(tuple(part[left] for part in parts))
    other = ~left | (np.arange(100) % 5 == 0) if overlap else ~left
    first.merge(filled(tuple(part[other] for part in parts)))
    assert kept(first) == kept(filled(parts))


@pytest.mark.parametrize("jumps", [False, True])
def test_colluding_sources_hold_no_more_than_their_caps(jumps: bool) -> None:
    reservoir = Reservoir(20, 4, 5, jumps=jumps)
    n = 3000
    source = np.arange(n) % 10
    trust = np.where(source < 2, 1e6, 0.01)  # two sources that everybody trusts, and flood
    reservoir.offer(source, np.arange(n), trust, np.zeros((n, 1)))
    held = Counter(reservoir.sample()[1].tolist())
    assert max(held.values()) == 4
    assert held[0] + held[1] <= 2 * 4
    assert sum(held.values()) == 20


def test_what_is_not_trusted_is_never_kept() -> None:
    reservoir = Reservoir(5, 5, 1)
    assert reservoir.offer([0, 0], [1, 2], [0.0, 0.0], [[1.0], [2.0]]) == 0
    assert reservoir.sample()[0].shape == (0, 1)
    assert Reservoir(5, 5, 1).sample()[0].shape == (0, 0)


def test_an_event_offered_again_counts_once() -> None:
    parts = stream(100)
    reservoir = filled(parts)
    reservoir.offer(*parts)
    assert kept(reservoir) == kept(filled(parts))
    assert max(Counter(reservoir.events().tolist()).values()) == 1


@pytest.mark.parametrize("jumps", [False, True])
def test_a_restored_reservoir_goes_on_as_if_nothing_had_happened(jumps: bool) -> None:
    parts = stream(200)
    whole = filled(parts, jumps=jumps)
    first = filled(tuple(part[:90] for part in parts), jumps=jumps)
    second = Reservoir(20, 8, 5, jumps=jumps)
    second.restore(first.state())
    second.offer(*(part[90:] for part in parts))
    assert kept(second) == kept(whole)
    assert kept(first) != kept(second), "a copy, not the same arrays"
    second.restore({})
    assert kept(second) == set()
    with pytest.raises(DataError, match="restore it with the settings"):
        Reservoir(7, 7, 5).restore(first.state())


def test_keys_are_uniform_and_follow_seed_source_and_event() -> None:
    event = np.arange(5000)
    one = Reservoir(2, 2, 1).uniforms(np.zeros(5000, np.int64), event)
    assert 0.0 < one.min() < one.max() < 1.0
    assert chisquare(np.histogram(one, 20, (0.0, 1.0))[0]).pvalue > 1e-3
    others = (
        Reservoir(2, 2, 2).uniforms(np.zeros(5000, np.int64), event),
        Reservoir(2, 2, 1).uniforms(np.ones(5000, np.int64), event),
        Reservoir(2, 2, 1).uniforms(np.zeros(5000, np.int64), event, 1),
        Reservoir(2, 2, 1).uniforms(np.zeros(5000, np.int64), event + 1),
    )
    for other in others:
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.06
    assert np.array_equal(others[3][:-1], one[1:])


def test_what_cannot_be_offered_is_refused() -> None:
    reservoir = Reservoir(5, 5, 1)
    reservoir.offer(0, 0, 1.0, [1.0, 2.0])
    for call, words in (
        (lambda: Reservoir(0, 1, 1), "a reservoir of 0 rows"),
        (lambda: Reservoir(5, 6, 1), "no larger cap"),
        (lambda: reservoir.offer([0, 1], [0], [1.0], [[1.0, 2.0]]), "one of each per row"),
        (lambda: reservoir.offer(-1, 0, 1.0, [1.0, 2.0]), "a source outside"),
        (lambda: reservoir.offer(5000, 0, 1.0, [1.0, 2.0]), "a source outside"),
        (lambda: reservoir.offer(0, 1, -1.0, [1.0, 2.0]), "trust finite and not negative"),
        (lambda: reservoir.offer(0, 1, 1.0, [math.nan, 2.0]), "must be finite"),
        (lambda: reservoir.offer(0, 1, 1.0, [1.0]), "rows of 1 columns for a reservoir of 2"),
        (lambda: reservoir.merge(Reservoir(5, 5, 2)), "merge only with equal"),
        (lambda: reservoir.merge(Reservoir(5, 5, 1, jumps=True)), "without jumps"),
    ):
        with pytest.raises(DataError, match=words):
            call()
