"""Admission: a golden case for each reason, and the same bits however the tape is cut."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.admission import Admission, Reason, kernels
from seawall.admission.admission import KEPT
from seawall.core.clock import SECOND
from seawall.core.events import EventFlag, EventKind, Raw
from tests.admission.admitting import BOOK, admission, last_reason, reasons_of
from tests.tapes import (
    BUY,
    COMPILED,
    SELL,
    START,
    Rows,
    at,
    bar,
    carry,
    catalog_of,
    depth,
    down,
    message,
    pieces_of,
    quote,
    simulated,
    snapshot,
    spoiled,
    tape,
    tick,
    trade,
)


def test_a_book_its_diffs_trades_and_quotes_are_admitted() -> None:
    one = admission()
    assert (
        reasons_of(
            one,
            BOOK,
            depth(at(1), 101, (BUY, 99, 0), (BUY, 98, 9)),
            trade(at(1), 1, SELL, 98, 1),
            quote(at(1), 101, 98, 101),
            depth(at(2), 102, (SELL, 103, 4)),
        )
        == [Reason.ADMITTED] * 5
    )
    assert one.counts() == {"v0": {"admitted": 5 + 2 + 1 + 2 + 1}}
    assert len(one.kept) == 0


@pytest.mark.parametrize(
    ("book", "kind"),
    [((7, 0), EventKind.TRADE), ((0, 1), EventKind.TRADE), ((0, 0), 0), ((0, 0), 11)],
)
def test_what_no_book_of_the_catalog_has_is_unregistered(book: tuple[int, int], kind: int) -> None:
    rows = message(at(0), 1, [(int(kind), BUY, 100, 1)], book=book)
    assert reasons_of(admission(), rows) == [Reason.UNREGISTERED]


def test_a_banned_source_is_refused_from_the_verdict_on() -> None:
    one = admission()
    assert reasons_of(one, trade(at(0), 1, BUY, 100, 1)) == [Reason.ADMITTED]
    one.state.verdict["banned"] = 1
    assert reasons_of(one, trade(at(1), 2, BUY, 100, 1)) == [Reason.BANNED]
    one.state.verdict["banned"] = 0
    assert reasons_of(one, trade(at(2), 3, BUY, 100, 1)) == [Reason.ADMITTED]


@pytest.mark.parametrize("rows", [trade(at(5), 9, SELL, 98, 1), depth(at(5), 102, (BUY, 99, 1))])
def test_the_tail_of_a_message_whose_beginning_was_never_seen_is_refused(rows: Rows) -> None:
    """What is decided at a first row was never decided for it: not even whether it is banned."""
    tail = rows.copy()
    tail["flags"] &= ~np.uint8(EventFlag.BEGIN)
    assert reasons_of(admission(), tail) == [Reason.GAP]
    known = admission()
    assert reasons_of(known, BOOK, depth(at(1), 101, (BUY, 99, 0))) == [Reason.ADMITTED] * 2
    known.state.verdict["banned"] = True
    assert reasons_of(known, tail, tail) == [Reason.GAP] * 2


def test_a_source_below_the_least_trust_is_refused() -> None:
    one = admission(trust_minimum=0.3)
    one.state.verdict["trust"] = 0.3
    assert reasons_of(one, trade(at(0), 1, BUY, 100, 1)) == [Reason.ADMITTED]
    one.state.verdict["trust"] = 0.29
    assert reasons_of(one, trade(at(1), 2, BUY, 100, 1)) == [Reason.UNTRUSTED]


def test_a_bucket_holds_its_burst_and_refills_by_the_rate() -> None:
    one = admission(rows_per_second=2, burst_rows=3)
    at_once = [trade(at(0), i, BUY, 100, 1) for i in range(5)]
    assert reasons_of(one, *at_once) == [Reason.ADMITTED] * 3 + [Reason.RATE] * 2
    assert reasons_of(one, trade(at(0.4), 10, BUY, 100, 1)) == [Reason.RATE]
    later = [trade(at(0.5), 20 + i, BUY, 100, 1) for i in range(2)]
    assert reasons_of(one, *later) == [Reason.ADMITTED, Reason.RATE]
    full = [trade(at(100), 30 + i, BUY, 100, 1) for i in range(4)]
    assert reasons_of(one, *full) == [Reason.ADMITTED] * 3 + [Reason.RATE]


def test_a_rate_refusal_takes_the_whole_message_and_the_book_waits_for_a_snapshot() -> None:
    one = admission(rows_per_second=1, burst_rows=5)
    assert reasons_of(
        one,
        BOOK,
        depth(at(1), 101, (BUY, 98, 1)),
        depth(at(1.5), 102, (BUY, 98, 2), (BUY, 97, 2), (BUY, 96, 2)),
        depth(at(60), 103, (BUY, 98, 3)),
        snapshot(at(61), 104, {99: 1}, {101: 1}),
        depth(at(62), 105, (BUY, 98, 4)),
    ) == [
        Reason.ADMITTED,
        Reason.ADMITTED,
        Reason.RATE,
        Reason.GAP,
        Reason.ADMITTED,
        Reason.ADMITTED,
    ]


def test_a_message_that_began_within_its_rate_is_not_cut() -> None:
    one = admission(rows_per_second=1, burst_rows=2)
    assert reasons_of(one, BOOK) == [Reason.ADMITTED]


def test_a_quota_counts_rows_by_epoch_of_sixty_seconds() -> None:
    one = admission(rows_per_epoch=3)
    first = [trade(at(i), i, BUY, 100, 1) for i in range(5)]
    assert reasons_of(one, *first) == [Reason.ADMITTED] * 3 + [Reason.QUOTA] * 2
    assert reasons_of(one, trade(at(59.999), 8, BUY, 100, 1)) == [Reason.QUOTA]
    assert reasons_of(one, trade(at(60), 9, BUY, 100, 1)) == [Reason.ADMITTED]


def test_one_sources_flood_leaves_the_others_their_rate() -> None:
    one = admission(catalog_of(("USD",), ("USD",)), rows_per_second=1, burst_rows=2)
    flood = [trade(at(0), i, BUY, 100, 1) for i in range(9)]
    assert reasons_of(one, *flood)[-1] == Reason.RATE
    assert reasons_of(one, trade(at(0), 1, BUY, 100, 1, book=(1, 1))) == [Reason.ADMITTED]


@pytest.mark.parametrize("kind", ["depth", "trade", "quote", "bar"])
def test_a_sequence_that_was_seen_is_a_duplicate_and_harms_nothing(kind: str) -> None:
    def one_more(seconds: float, sequence: int) -> Rows:
        if kind == "depth":
            return depth(at(seconds), sequence, (BUY, 98, 1))
        if kind == "trade":
            return trade(at(seconds), sequence, BUY, 100, 1)
        if kind == "quote":
            return quote(at(seconds), sequence, 99, 101)
        rows = bar(at(seconds), SECOND, (100, 101, 99, 100), 5)
        rows["sequence"] = sequence
        return rows

    one = admission()
    assert reasons_of(
        one, BOOK, one_more(1, 101), one_more(2, 101), one_more(3, 50), one_more(4, 102)
    ) == [
        Reason.ADMITTED,
        Reason.ADMITTED,
        Reason.DUPLICATE,
        Reason.DUPLICATE,
        Reason.ADMITTED,
    ]


def test_kinds_are_numbered_apart() -> None:
    one = admission()
    messages = [BOOK, trade(at(1), 7, BUY, 100, 1), quote(at(1), 3, 99, 101)]
    assert reasons_of(one, *messages) == [Reason.ADMITTED] * 3


def test_diffs_before_the_first_snapshot_wait() -> None:
    one = admission()
    assert reasons_of(one, depth(at(0), 100, (BUY, 99, 1)), BOOK) == [Reason.GAP, Reason.ADMITTED]


def test_after_a_missing_diff_all_wait_for_the_next_snapshot() -> None:
    one = admission()
    assert reasons_of(
        one,
        BOOK,
        depth(at(1), 101, (BUY, 98, 1)),
        depth(at(2), 103, (BUY, 98, 3)),
        depth(at(3), 104, (BUY, 98, 4)),
        trade(at(3), 1, BUY, 101, 1),
        snapshot(at(4), 110, {99: 1}, {101: 1}),
        depth(at(5), 111, (BUY, 98, 1)),
    ) == [
        Reason.ADMITTED,
        Reason.ADMITTED,
        Reason.GAP,
        Reason.GAP,
        Reason.ADMITTED,
        Reason.ADMITTED,
        Reason.ADMITTED,
    ]


def test_the_first_diff_may_straddle_the_snapshots_id() -> None:
    one = admission()
    straddling = depth(at(1), 103, (BUY, 98, 1), previous=97)  # updates 98 … 103, snapshot at 100
    follower = depth(at(2), 105, (BUY, 98, 2), previous=103)
    assert reasons_of(one, BOOK, straddling, follower) == [Reason.ADMITTED] * 3


def test_a_venue_that_gives_no_previous_id_has_no_gaps() -> None:
    one = admission()
    rows = depth(at(1), 900, (BUY, 98, 1), previous=-1)
    assert reasons_of(one, BOOK, rows) == [Reason.ADMITTED] * 2


def test_a_source_that_went_down_waits_for_a_snapshot() -> None:
    one = admission()
    assert reasons_of(
        one,
        BOOK,
        down(at(1)),
        depth(at(2), 101, (BUY, 98, 1)),
        snapshot(at(3), 102, {99: 1}, {101: 1}),
        depth(at(4), 103, (BUY, 98, 1)),
    ) == [Reason.ADMITTED, Reason.ADMITTED, Reason.GAP, Reason.ADMITTED, Reason.ADMITTED]


@pytest.mark.parametrize(
    "rows",
    [
        trade(at(1), 1, BUY, 0, 1),
        trade(at(1), 1, BUY, -5, 1),
        trade(at(1), 1, BUY, kernels.PRICE_LIMIT, 1),
        trade(at(1), 1, BUY, 100, 0),
        trade(at(1), 1, BUY, 100, -1),
        trade(at(1), 1, BUY, 100, kernels.SIZE_LIMIT),
        trade(at(1), 1, 3, 100, 1),
        depth(at(1), 101, (2, 100, 1)),
        depth(at(1), 101, (BUY, 0, 1)),
        depth(at(1), 101, (BUY, -1, 0)),
        depth(at(1), 101, (BUY, 1 << 62, 1)),
        depth(at(1), 101, (BUY, 98, -1)),
        depth(at(1), 101, (BUY, 98, 1), (255, 98, 1)),
        quote(at(1), 1, 0, 101),
        quote(at(1), 1, 99, 101, sizes=(1, -1)),
        bar(at(1), SECOND, (100, 99, 98, 98), 1),  # high below open
        bar(at(1), SECOND, (100, 102, 101, 102), 1),  # low above open
        bar(at(1), SECOND, (100, 102, 98, 103), 1),  # close above high
        bar(at(1), SECOND, (100, 102, 98, 97), 1),  # close below low
        bar(at(1), SECOND, (100, 102, 98, 100), -1),
        bar(at(1), SECOND, (100, 102, 0, 100), 1),
    ],
)
def test_impossible_numbers_are_malformed(rows: Rows) -> None:
    one = admission()
    reasons_of(one, BOOK)
    assert last_reason(one, rows) == Reason.MALFORMED


def test_the_rows_behind_a_malformed_one_are_refused_with_it() -> None:
    one = admission()
    reasons_of(one, BOOK)
    rows = depth(at(1), 101, (BUY, 98, 1), (BUY, 0, 1), (BUY, 97, 1))
    bad = int(Reason.MALFORMED)
    assert one.admit(Raw(rows)).reasons.tolist() == [0, bad, bad]
    assert reasons_of(one, depth(at(2), 102, (BUY, 98, 1))) == [Reason.GAP]


def test_bounds_themselves_are_fine() -> None:
    one = admission()
    biggest = trade(at(1), 1, 2, kernels.PRICE_LIMIT - 1, 1)
    flat = bar(at(1), SECOND, (100, 100, 100, 100), 0)
    removal = depth(at(1), 101, (BUY, 98, 0))
    assert reasons_of(one, BOOK, biggest, flat, removal) == [Reason.ADMITTED] * 4


@pytest.mark.parametrize(
    "rows",
    [
        quote(at(1), 1, 101, 101),
        quote(at(1), 1, 102, 101),
        snapshot(at(1), 101, {99: 1, 101: 1}, {101: 1}),
        snapshot(at(1), 101, {99: 1, 98: 1}, {102: 1, 97: 1}),
    ],
)
def test_a_crossed_quote_or_snapshot_is_refused(rows: Rows) -> None:
    assert last_reason(admission(), rows) == Reason.CROSSED


def test_a_crossed_snapshot_does_not_start_a_book() -> None:
    one = admission()
    crossed = snapshot(at(1), 101, {99: 1, 102: 1}, {101: 1})
    assert last_reason(one, crossed) == Reason.CROSSED
    assert reasons_of(one, depth(at(2), 102, (BUY, 98, 1))) == [Reason.GAP]


BAND = (90, 110)


def banded() -> Admission:
    one = admission()
    one.state.verdict["low"], one.state.verdict["high"] = BAND
    reasons_of(one, BOOK)
    return one


@pytest.mark.parametrize(
    "rows",
    [
        depth(at(1), 101, (BUY, 111, 1)),
        depth(at(1), 101, (SELL, 89, 1)),
        trade(at(1), 1, BUY, 111, 1),
        trade(at(1), 1, SELL, 89, 1),
        quote(at(1), 1, 89, 100),
        quote(at(1), 1, 100, 111),
        bar(at(1), SECOND, (100, 111, 95, 100), 1),
        bar(at(1), SECOND, (100, 105, 89, 100), 1),
        snapshot(at(1), 101, {111: 1}, {112: 1}),
        snapshot(at(1), 101, {88: 1}, {89: 1}),
    ],
)
def test_prices_that_would_set_the_touch_outside_the_band_are_refused(rows: Rows) -> None:
    assert last_reason(banded(), rows) == Reason.PRICE_BAND


@pytest.mark.parametrize(
    "rows",
    [
        depth(at(1), 101, (BUY, 110, 1)),
        depth(at(1), 101, (SELL, 90, 1)),
        depth(at(1), 101, (BUY, 1, 1), (SELL, 1_000_000, 1)),  # deep levels
        depth(at(1), 101, (BUY, 111, 0)),  # a removal
        trade(at(1), 1, BUY, 110, 1),
        trade(at(1), 1, SELL, 90, 1),
        quote(at(1), 1, 90, 110),
        bar(at(1), SECOND, (90, 110, 90, 110), 1),
        snapshot(at(1), 101, {99: 1, 2: 1}, {101: 1, 5_000: 1}),
    ],
)
def test_the_band_includes_its_ends_and_lets_deep_levels_be(rows: Rows) -> None:
    assert reasons_of(banded(), rows) == [Reason.ADMITTED]


def test_each_source_is_held_to_its_own_verdict() -> None:
    one = admission(catalog_of(("USD",), ("USD",)))
    one.state.verdict["banned"][1] = 1
    pair = [trade(at(0), 1, BUY, 100, 1), trade(at(0), 1, BUY, 100, 1, book=(1, 1))]
    assert reasons_of(one, *pair) == [Reason.ADMITTED, Reason.BANNED]
    assert one.counts() == {"v0": {"admitted": 1}, "v1": {"admitted": 0, "banned": 1}}


def test_time_passing_is_nobodys_row() -> None:
    one = admission()
    assert reasons_of(one, tick(at(0)), tick(at(1))) == [Reason.ADMITTED] * 2
    assert one.counts() == {"v0": {"admitted": 0}}


SIGNED, FORGED = EventFlag.SIGNED, EventFlag.FORGED
REPLAYED, REORDERED = EventFlag.REPLAYED, EventFlag.REORDERED


def signed_admission(**limits: Any) -> Admission:
    """v0 signs, v1 does not."""
    catalog = catalog_of(("USD",), ("USD",))
    signing = msgspec.structs.replace(catalog.sources[0], signature="ed25519")
    sources = (signing, catalog.sources[1])
    return admission(msgspec.structs.replace(catalog, sources=sources), **limits)


def marked(rows: Rows, marks: int) -> Rows:
    found = rows.copy()
    found["flags"] |= np.uint16(marks)
    return found


BAD_MARKS = [
    (0, Reason.UNSIGNED),
    (FORGED, Reason.FORGED),
    (SIGNED | FORGED, Reason.FORGED),
    (SIGNED | FORGED | REPLAYED, Reason.FORGED),
    (SIGNED | REPLAYED, Reason.REPLAYED),
    (SIGNED | REPLAYED | REORDERED, Reason.REPLAYED),
    (SIGNED | REORDERED, Reason.REORDERED),
    (REORDERED, Reason.REORDERED),
]
MESSAGES = [
    snapshot(at(5), 900, {1: 5}, {2: 5}),
    depth(at(5), 101, (BUY, 98, 1)),
    depth(at(5), 900, (BUY, 98, 1)),
    depth(at(5), 101, (BUY, 98, 1), exch=at(3_600)),
    trade(at(5), 900, BUY, 100, 1),
    trade(at(5), 900, BUY, 0, -1),
    quote(at(5), 900, 99, 101),
    bar(at(5), SECOND, (100, 101, 99, 100), 5),
    down(at(5)),
]


@pytest.mark.parametrize("rows", MESSAGES)
@pytest.mark.parametrize(("marks", "reason"), BAD_MARKS)
def test_what_its_source_cannot_be_shown_to_have_sent_is_refused_and_touches_nothing(
    rows: Rows, marks: int, reason: Reason
) -> None:
    one = signed_admission()
    assert reasons_of(one, marked(BOOK, SIGNED)) == [Reason.ADMITTED]
    before = carry(one.state._replace(refused=np.zeros(0)))
    assert reasons_of(one, marked(rows, marks)) == [reason]
    assert carry(one.state._replace(refused=np.zeros(0))) == before
    assert one.counts()["v0"] == {"admitted": len(BOOK), reason.name.lower(): len(rows)}
    follower = marked(depth(at(6), 101, (BUY, 98, 1)), SIGNED)
    assert reasons_of(one, follower) == [Reason.ADMITTED], "the honest book has not suffered"


def test_each_row_must_carry_the_mark_not_only_a_messages_first() -> None:
    one = signed_admission()
    reasons_of(one, marked(BOOK, SIGNED))
    rows = marked(depth(at(1), 101, (BUY, 98, 1), (BUY, 97, 1), (BUY, 96, 1)), SIGNED)
    rows["flags"][1] &= ~np.uint16(SIGNED)
    rows["flags"][2] |= np.uint16(FORGED)
    expected = [Reason.ADMITTED, Reason.UNSIGNED, Reason.FORGED]
    assert one.admit(Raw(rows)).reasons.tolist() == expected


def test_a_flood_of_forgeries_costs_the_honest_source_neither_rate_nor_quota() -> None:
    one = signed_admission(rows_per_second=1, burst_rows=6, rows_per_epoch=6)
    flood = [marked(trade(at(0), i, BUY, 100, 1), FORGED) for i in range(50)]
    assert set(reasons_of(one, *flood)) == {Reason.FORGED}
    assert reasons_of(one, marked(BOOK, SIGNED)) == [Reason.ADMITTED]


def test_a_refusal_of_what_the_source_did_sign_unsyncs_its_book() -> None:
    one = signed_admission()
    bad = marked(depth(at(1), 101, (BUY, 0, 1)), SIGNED)
    next_one = marked(depth(at(2), 102, (BUY, 98, 1)), SIGNED)
    assert reasons_of(one, marked(BOOK, SIGNED), bad, next_one) == [
        Reason.ADMITTED,
        Reason.MALFORMED,
        Reason.GAP,
    ]


def test_a_source_that_does_not_sign_needs_no_mark_and_no_forged_batch_speaks_for_it() -> None:
    one = signed_admission()
    rows = [trade(at(i), i, BUY, 100, 1, book=(1, 1)) for i in range(1, 5)]
    marks = [0, SIGNED, FORGED, SIGNED | FORGED]
    pairs = [marked(row, mark) for row, mark in zip(rows, marks, strict=True)]
    assert reasons_of(one, *pairs) == [Reason.ADMITTED] * 2 + [Reason.FORGED] * 2


@pytest.fixture(scope="module")
def nasty() -> tuple[Any, Raw]:
    catalog, rows = simulated(20 if COMPILED else 1)
    return catalog, spoiled(rows.copy())


def test_counts_by_source_and_reason_sum_to_the_rows(nasty: tuple[Any, Raw]) -> None:
    catalog, rows = nasty
    one = admission(catalog, rows_per_second=20, burst_rows=60)
    reasons = one.admit(rows).reasons
    silent = (rows["kind"] == EventKind.TICK) & (reasons == 0)
    counts = one.counts()
    assert sum(sum(c.values()) for c in counts.values()) == int((~silent).sum())
    for at_source, source in enumerate(catalog.sources):
        mine = rows["source"] == at_source
        assert counts[source.name]["admitted"] == int((mine & (reasons == 0) & ~silent).sum())
        for reason in (Reason.RATE, Reason.GAP, Reason.DUPLICATE, Reason.MALFORMED):
            expected = int((mine & (reasons == reason)).sum())
            assert counts[source.name].get(reason.name.lower(), 0) == expected


def test_the_last_refused_rows_are_kept_and_bounded(nasty: tuple[Any, Raw]) -> None:
    catalog, rows = nasty
    one = admission(catalog)
    reasons = np.concatenate([one.admit(p).reasons for p in pieces_of(rows, [0.3, 0.31, 0.8])])
    refused = rows[reasons != 0]
    assert not COMPILED or len(refused) > KEPT
    assert len(one.kept) == min(KEPT, len(refused))
    assert one.kept.tobytes() == refused[-KEPT:].tobytes()


def test_messages_are_refused_as_a_whole_where_it_is_decided_at_their_first_row(
    nasty: tuple[Any, Raw],
) -> None:
    catalog, rows = nasty
    reasons = admission(catalog, rows_per_second=20, burst_rows=60).admit(rows).reasons
    whole = [Reason.BANNED, Reason.UNTRUSTED, Reason.RATE, Reason.QUOTA, Reason.STALE]
    whole += [Reason.CLOCK_STEP, Reason.DUPLICATE, Reason.GAP]
    starts = np.flatnonzero(rows["flags"] & 1)
    seen = set()
    for mine in np.split(reasons, starts[1:]):
        if mine[0] in whole:
            assert (mine == mine[0]).all()
            seen.add(int(mine[0]))
    assert seen >= {int(Reason.RATE), int(Reason.GAP)}


@settings(max_examples=25 if COMPILED else 2, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=6))
def test_any_split_gives_the_same_bits(nasty: tuple[Any, Raw], cuts: list[float]) -> None:
    catalog, rows = nasty
    whole = admission(catalog)
    expected = whole.admit(rows).reasons
    split = admission(catalog)
    got = np.concatenate([split.admit(piece).reasons for piece in pieces_of(rows, cuts)])
    assert got.tobytes() == expected.tobytes()
    assert carry(split.state) == carry(whole.state)


@pytest.mark.skipif(not COMPILED, reason="step by step is all there is without the compiler")
def test_step_by_step_gives_the_same_bits(nasty: tuple[Any, Raw]) -> None:
    catalog, rows = nasty
    rows = Raw(rows[:4_000])
    whole, single = admission(catalog), admission(catalog)
    expected = whole.admit(rows).reasons
    got = [kernels.step(single.state, row) for row in rows]
    assert got == expected.tolist()
    assert carry(single.state) == carry(whole.state)


def test_a_block_takes_any_rows_of_a_day() -> None:
    messages = [BOOK, *(trade(START + i * SECOND, i, BUY, 100, 1) for i in range(1, 50))]
    assert not admission().admit(tape(*messages)).reasons.any()
