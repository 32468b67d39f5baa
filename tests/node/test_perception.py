"""Perception as one fold: the same bits however it is fed, and nothing of the future in it."""

import hashlib
import os
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.admission import Reason
from seawall.core.clock import SECOND
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.decision.agents import AGENTS, build
from seawall.node.perception import Perceived, Perception, PerceptionShape
from tests.tapes import (
    COMPILED,
    Rows,
    at,
    carry,
    catalog_of,
    depth,
    observed,
    perceived,
    perception,
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
    parts = (
        one.admission.state,
        one.market.state,
        one.consensus.state,
        one.moments.state,
        one.volatility.state,
        one.gating.window,
        one.gating.toxicity,
        one.gating.member,
    )
    said = judged(one).encode() + one.frames_hash.encode()
    return carry(parts) + one.admission.kept.tobytes() + said


def judged(one: Perception) -> str:
    """All that the gates hold and have said, in words that show every bit of each number."""
    gating = one.gating
    groups = [
        {name: words(value) for name, value in sorted(vars(group).items())}
        for group in gating.groups
    ]
    return repr((groups, gating.sources, gating.records, gating.reports, gating.reviewed))


def words(value: Any) -> str:
    """An attribute of a group: arrays by their bytes, structs and the rest by what they say."""
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {value.tobytes().hex()}"
    if isinstance(value, msgspec.Struct):
        return repr([words(getattr(value, name)) for name in value.__struct_fields__])
    if isinstance(value, dict):
        return repr({key: words(one) for key, one in value.items()})
    if isinstance(value, list | tuple):
        return repr([words(one) for one in value])
    held = getattr(value, "__dict__", None)
    return repr({key: words(one) for key, one in held.items()}) if held else repr(value)


class Tape:
    """A catalog, its rows and what perception makes of them in one block."""

    def __init__(self, catalog: Catalog, rows: Raw) -> None:
        self.catalog, self.rows = catalog, rows

    @cached_property
    def whole(self) -> tuple[Perceived, bytes]:
        one = perception(self.catalog)
        return observed(one, self.rows), all_state(one)


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
    again = perception(one.catalog)
    seen = observed(again, *blocks)
    expected, state = one.whole
    assert digest(seen.frames.tobytes()) == digest(expected.frames.tobytes())
    assert digest(seen.rows.tobytes()) == digest(expected.rows.tobytes())
    assert digest(all_state(again)) == digest(state)


def digest(found: bytes) -> str:
    """Short, because a failing comparison of long bytes is explained for minutes."""
    return hashlib.sha256(found).hexdigest()


@settings(max_examples=20 if COMPILED else 2, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=6))
def test_any_split_gives_the_same_bits(either: Tape, cuts: list[float]) -> None:
    same_bits(either, pieces_of(either.rows, cuts))


def test_row_by_row_gives_the_same_bits(either: Tape) -> None:
    rows = Raw(either.rows[: 3_000 if COMPILED else 300])
    same_bits(Tape(either.catalog, rows), [Raw(rows[i : i + 1]) for i in range(len(rows))])


@pytest.mark.skipif(not COMPILED, reason="thousands of frames take minutes without the compiler")
def test_any_split_gives_the_same_bits_where_the_gates_learn_and_ban() -> None:
    catalog, rows = simulated(780, outages_per_hour=30.0)
    rows = rows.copy()
    liar = (rows["source"] == 4) & (rows["recv_ts"] > at(615)) & (rows["price"] > 0)
    rows["price"][liar] += rows["price"][liar] // 50
    whole = perception(catalog)
    expected = observed(whole, rows)
    group = whole.gating.groups[0]
    assert group.model is not None
    assert group.counts["learned"] > 0
    assert not whole.gating.sources[catalog.sources[4].name].votes
    assert whole.gating.records
    random = np.random.default_rng(2)
    review = int(np.searchsorted(rows["recv_ts"], at(660)))
    at_reviews = [review - 1, review, review + 1]
    for cuts in ([], at_reviews, *(np.sort(random.integers(0, len(rows), 40)) for _ in range(4))):
        again = perception(catalog)
        seen = observed(again, *np.split(rows, cuts))
        assert digest(seen.frames.tobytes()) == digest(expected.frames.tobytes())
        assert digest(seen.rows.tobytes()) == digest(expected.rows.tobytes())
        assert digest(all_state(again)) == digest(all_state(whole))


def test_a_nasty_tape_holds_what_it_should(nasty: Tape) -> None:
    _, one = perceived(nasty.catalog, nasty.rows)
    met = {reason for counts in one.admission.counts().values() for reason in counts}
    wanted = {Reason.UNREGISTERED, Reason.DUPLICATE, Reason.GAP, Reason.MALFORMED}
    assert met >= {reason.name.lower() for reason in wanted}
    assert np.diff(nasty.rows["recv_ts"]).max() > 30 * SECOND


def test_more_frames_than_the_buffer_holds_come_in_order(
    clean: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(clean.whole[0].frames) > 14
    monkeypatch.setattr("seawall.node.perception.FRAMES", 7)
    same_bits(clean, [clean.rows])


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


def groups_of(rows: Rows) -> int:
    return int(rows["group"].max()) + 1


def opinions_on(rows: Rows) -> dict[str, Rows]:
    """Every registered agent's opinions."""
    found = {}
    for name in AGENTS:
        agent = build(name, groups_of(rows), SECOND)
        found[name] = agent.opine(rows, agent.start())
    return found


@settings(max_examples=12 if COMPILED else 2, deadline=None)
@given(cut=st.floats(0.3, 0.95), seed=st.integers(0, 99))
def test_what_comes_later_changes_no_frame_no_row_and_no_opinion(
    either: Tape, cut: float, seed: int
) -> None:
    rows = either.rows
    where = int(cut * len(rows))
    seen, _ = either.whole
    past = rows["recv_ts"][where]
    known = Perceived(*(part[part["ts"] < past] for part in seen[:2]))
    opinions = {name: said[: len(known.rows)] for name, said in opinions_on(seen.rows).items()}
    other = rows.copy()  # another future: the same times, other prices, sizes and sides
    random = np.random.default_rng(seed)
    for column in ("price", "size", "side", "sequence", "exch_ts"):
        other[column][where:] = random.permutation(other[column][where:])
    for future in (rows[: where + 1], other):
        again = observed(perception(either.catalog), future)
        for part, before in zip(again[:2], known[:2], strict=True):
            assert part[: len(before)].tobytes() == before.tobytes()
        later = opinions_on(again.rows)
        for name, said in opinions.items():
            assert later[name][: len(known.rows)].tobytes() == said.tobytes()


@settings(max_examples=10 if COMPILED else 2, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=5))
def test_agents_say_the_same_however_the_rows_are_split(either: Tape, cuts: list[float]) -> None:
    rows = either.whole[0].rows
    for name, whole in opinions_on(rows).items():
        agent = build(name, groups_of(rows), SECOND)
        state = agent.start()
        said = [agent.opine(piece, state) for piece in pieces_of(rows, cuts)]
        assert np.concatenate(said).tobytes() == whole.tobytes()


@pytest.mark.skipif(not COMPILED, reason="the first seconds of a market have no model yet")
def test_all_stages_fill_in_their_columns(clean: Tape) -> None:
    seen, _ = clean.whole
    for column in ("mid", "consensus", "location", "scale", "volatility"):
        assert np.isfinite(seen.frames[column]).all()
        assert (seen.frames[column] != 0).mean() > 0.3, column
    for column in ("price", "volume", "location", "scale", "factor", "volatility"):
        assert np.isfinite(seen.rows[column]).all()
        assert (seen.rows[column] != 0).mean() > 0.3, column
    lived = seen.rows["index"] > 20
    assert (seen.rows["value"][lived] != 0).mean() > 0.8
    assert np.all(seen.rows["low"] <= seen.rows["value"])
    assert np.all(seen.rows["value"] <= seen.rows["high"])


def test_what_is_known_of_a_group_stands_in_the_frames_of_its_books(nasty: Tape) -> None:
    frames, rows, _ = nasty.whole[0]
    group = perception(nasty.catalog).consensus.state.group
    of_row = {(one["ts"], one["group"]): one for one in rows}
    for frame in frames:
        mine = of_row[frame["ts"], group[frame["book"]]]
        for column in ("location", "scale", "gate", "regime", "volatility"):
            assert frame[column] == mine[column]
    assert len(of_row) == len(rows) == len(set(frames["ts"])) * (int(group.max()) + 1)


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
