"""Perception as one fold: the same bits however it is fed, and nothing of the future in it."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.admission import Reason
from seawall.core.clock import SECOND
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.decision.agents import AGENTS, build
from seawall.node.perception import Perception, PerceptionShape
from tests.tapes import (
    COMPILED,
    Rows,
    at,
    carry,
    catalog_of,
    depth,
    perceived,
    pieces_of,
    simulated,
    snapshot,
    spoiled,
    tape,
    tick,
)

RECORDED = Path(os.environ.get("RECORDED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def all_state(one: Perception) -> bytes:
    """Every byte that perception hands on from block to block, and the last refused rows."""
    parts = (one.admission.state, one.market.state, one.moments.state, one.volatility.state)
    return carry(parts) + one.admission.kept.tobytes() + one.frames_hash.encode()


class Tape:
    """A catalog, its rows and what perception makes of them in one block."""

    def __init__(self, catalog: Catalog, rows: Raw) -> None:
        self.catalog, self.rows = catalog, rows

    @cached_property
    def whole(self) -> tuple[Rows, bytes]:
        frames, one = perceived(self.catalog, self.rows)
        return frames, all_state(one)


@pytest.fixture(scope="module")
def clean() -> Tape:
    return Tape(*simulated(40 if COMPILED else 8))


@pytest.fixture(scope="module")
def nasty() -> Tape:
    catalog, rows = simulated(40 if COMPILED else 8)
    return Tape(catalog, spoiled(rows.copy(), seed=3))


@pytest.fixture(scope="module", params=["clean", "nasty"])
def either(request: pytest.FixtureRequest) -> Tape:
    found: Tape = request.getfixturevalue(request.param)
    return found


def same_bits(one: Tape, blocks: list[Raw]) -> None:
    frames, perception = perceived(one.catalog, *blocks)
    expected, state = one.whole
    assert frames.tobytes() == expected.tobytes()
    assert all_state(perception) == state


@settings(max_examples=20 if COMPILED else 2, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=6))
def test_any_split_gives_the_same_bits(either: Tape, cuts: list[float]) -> None:
    same_bits(either, pieces_of(either.rows, cuts))


def test_row_by_row_gives_the_same_bits(either: Tape) -> None:
    rows = Raw(either.rows[: 3_000 if COMPILED else 300])
    same_bits(Tape(either.catalog, rows), [Raw(rows[i : i + 1]) for i in range(len(rows))])


def test_a_nasty_tape_holds_what_it_should(nasty: Tape) -> None:
    _, one = perceived(nasty.catalog, nasty.rows)
    met = {reason for counts in one.admission.counts().values() for reason in counts}
    wanted = {Reason.UNREGISTERED, Reason.DUPLICATE, Reason.GAP, Reason.MALFORMED}
    assert met >= {reason.name.lower() for reason in wanted}
    assert np.diff(nasty.rows["recv_ts"]).max() > 30 * SECOND


def test_more_frames_than_the_buffer_holds_come_in_order(
    clean: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, state = clean.whole
    monkeypatch.setattr("seawall.node.perception.FRAMES", 7)
    frames, one = perceived(clean.catalog, clean.rows)
    assert frames.tobytes() == expected.tobytes()
    assert all_state(one) == state


def test_the_same_tape_twice_gives_the_same_hash_and_another_seed_another(clean: Tape) -> None:
    hashes = [perceived(clean.catalog, clean.rows)[1].frames_hash for _ in range(2)]
    assert hashes[0] == hashes[1]
    other = clean.rows.copy()
    other["size"][other["kind"] == 3] += 1  # one lot more in every trade
    assert perceived(clean.catalog, other)[1].frames_hash != hashes[0]


def test_it_says_how_far_it_has_seen(clean: Tape) -> None:
    _, one = perceived(clean.catalog, clean.rows)
    assert one.rows == len(clean.rows)
    assert one.last_ts == clean.rows["recv_ts"][-1]
    assert one.cadence_ns == SECOND


def opinions_on(catalog: Catalog, frames: Rows) -> dict[str, Rows]:
    """Every registered agent's opinions."""
    found = {}
    for name in AGENTS:
        agent = build(name, catalog, SECOND)
        found[name] = agent.opine(frames, agent.start())
    return found


@settings(max_examples=12 if COMPILED else 2, deadline=None)
@given(cut=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_what_comes_later_changes_no_frame_and_no_opinion(
    either: Tape, cut: float, seed: int
) -> None:
    rows = either.rows
    where = int(cut * len(rows))
    frames, _ = either.whole
    known = frames[frames["ts"] < rows["recv_ts"][where]]
    opinions = {
        name: said[: len(known)] for name, said in opinions_on(either.catalog, frames).items()
    }
    other = rows.copy()  # another future: the same times, other prices, sizes and sides
    random = np.random.default_rng(seed)
    for column in ("price", "size", "side", "sequence", "exch_ts"):
        other[column][where:] = random.permutation(other[column][where:])
    for future in (rows[: where + 1], other):
        again, _ = perceived(either.catalog, future)
        assert again[: len(known)].tobytes() == known.tobytes()
        later = opinions_on(either.catalog, again)
        for name, said in opinions.items():
            assert later[name][: len(known)].tobytes() == said.tobytes()


@settings(max_examples=10 if COMPILED else 2, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=5))
def test_agents_say_the_same_however_the_frames_are_split(either: Tape, cuts: list[float]) -> None:
    frames, _ = either.whole
    for name, whole in opinions_on(either.catalog, frames).items():
        agent = build(name, either.catalog, SECOND)
        state = agent.start()
        said = [agent.opine(piece, state) for piece in pieces_of(frames, cuts)]
        assert np.concatenate(said).tobytes() == whole.tobytes()


def test_all_stages_fill_in_their_columns(clean: Tape) -> None:
    frames, _ = clean.whole
    for column in ("mid", "consensus", "location", "scale", "volatility"):
        assert np.isfinite(frames[column]).all()
        assert (frames[column] != 0).mean() > 0.3, column


def test_a_verdict_is_in_force_from_the_next_epoch_on() -> None:
    catalog = catalog_of(("USD",))
    one = Perception(catalog, PerceptionShape(), "USD")
    steps = [depth(at(k), 100 + k, (0, 98, k)) for k in range(1, 70)]
    list(one.observe(tape(snapshot(at(0.5), 100, {99: 5}, {101: 5}), *steps, tick(at(70.5)))))
    verdict = one.admission.state.verdict[0]
    assert verdict["epoch"] == at(60) // (60 * SECOND) + 1
    assert (verdict["low"], verdict["high"]) == (75, 126)


@pytest.mark.skipif(not COMPILED, reason="three million rows take hours without the compiler")
@pytest.mark.recorded
def test_six_recorded_books_equal_the_venues_own_best_bid_and_ask() -> None:
    sets = sorted((RECORDED / "l2_tick").glob("binance_*_20240808_*.parquet"))
    if not sets:
        pytest.skip(f"no recorded sets at {RECORDED / 'l2_tick'} (set RECORDED_DATA)")
    from seawall.ingestion.binance import read_sets

    imported = read_sets(sets)
    catalog, rows = imported.catalog, imported.rows
    assert len(catalog.books) == 6
    runs = [observed_in_blocks(catalog, rows, size) for size in (1 << 16, 99_991)]
    assert runs[0][1] == runs[1][1]
    one = runs[0][0]
    checks = one.market.checks().values()
    assert sum(book["coincidences"] for book in checks) == 7_471
    assert [book["mismatches"] for book in checks] == [0] * 6
    assert [book["crossings"] for book in checks] == [0] * 6
    assert [book["voided"] for book in checks] == [0] * 6
    for counts in one.admission.counts().values():
        assert list(counts) == ["admitted"]
    assert sum(c["admitted"] for c in one.admission.counts().values()) == len(rows)


def observed_in_blocks(catalog: Catalog, rows: Any, size: int) -> tuple[Perception, str]:
    one = Perception(catalog, PerceptionShape(), catalog.numeraire("auto"))
    for start in range(0, len(rows), size):
        for _ in one.observe(Raw(rows[start : start + size])):
            pass
    return one, one.frames_hash
