"""Features: each held to its formula, and all to themselves when split, cut off and restarted."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.events import Raw
from seawall.core.frames import FRAME, FrameFlag
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID, next_price, size_at
from seawall.market import MarketShape
from seawall.market.features import (
    COLUMNS,
    FeatureReader,
    Features,
    features_of,
    flow_kernels,
    matrix,
)
from seawall.market.features.flow_kernels import LEVELS, MESSAGES, NOWHERE
from tests.market.features import reference
from tests.tapes import (
    BUY,
    COMPILED,
    SELL,
    Rows,
    at,
    bar,
    carry,
    catalog_of,
    depth,
    down,
    perceived,
    perception,
    pieces_of,
    quote,
    simulated,
    snapshot,
    spoiled,
    tape,
    tick,
    trade,
)

VALID, RESET = int(FrameFlag.VALID), int(FrameFlag.RESET)
ONE = catalog_of(("USD",))
LONG = 1_300 if COMPILED else 120  # seconds; VPIN needs a thousand frames with trades
SPARSE = ("kyle", "huang_stoll")  # what the reference estimates now and then only
FITTED = ("micro_price", "micro_price_deviation")  # see test_micro_price.py


@pytest.fixture(scope="module")
def golden() -> tuple[Any, dict[str, Any]]:
    """One book's features, and the same by the reference."""
    catalog, rows = simulated(LONG, outages_per_hour=0.0)
    rows = Raw(rows[(rows["instrument"] == 0) & (rows["source"] == 0)])
    found = features_of(catalog, [rows])
    frames, instrument = found.frames, catalog.instrument_of(0)
    assert (frames["flags"] & VALID).all()
    assert np.flatnonzero(frames["flags"] & RESET).tolist() == [0]
    said = reference.told(rows, frames["ts"], catalog.books[0])
    wanted = reference.columns(frames, said, instrument.tick_float, instrument.lot_float, 1.0)
    return found.features, wanted


@pytest.mark.parametrize("column", [name for name in COLUMNS if name not in FITTED])
def test_each_feature_equals_its_formula(golden: tuple[Any, dict[str, Any]], column: str) -> None:
    features, wanted = golden
    got = matrix(features)[:, COLUMNS.index(column)]
    expected = np.asarray(wanted[column], float)
    if column.startswith(SPARSE):
        told = ~np.isnan(expected)
        got, expected = got[told], expected[told]
    if COMPILED:
        assert np.isfinite(expected).sum() >= 30
        assert np.nanstd(expected) > 0
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-8, equal_nan=True)


@pytest.mark.parametrize("hostile", [False, True])
def test_the_frames_say_the_same_of_what_they_know(hostile: bool) -> None:
    catalog, rows = simulated(60 if COMPILED else 4, snapshots_per_minute=30.0)
    rows = spoiled(rows) if hostile else rows
    found = features_of(catalog, [rows], MarketShape(cadence_ns=SECOND // 10))
    frames, features = found
    good = (frames["flags"] & (VALID | RESET)) == VALID
    assert good.sum() > (500 if COMPILED else 20)
    frames, features = frames[good], features[good]
    assert (features["ofi"][:, 0] == frames["ofi"]).all()
    np.testing.assert_allclose(features["queue_imbalance"][:, 0], frames["imbalance"])
    np.testing.assert_allclose(features["queue_imbalance"][:, 1], frames["imbalance_5"])
    np.testing.assert_allclose(features["weighted_mid"], frames["micro"])


def test_the_touch_queues_explain_the_order_flow(golden: tuple[Any, dict[str, Any]]) -> None:
    features, _ = golden
    lot = simulated(1)[0].instrument_of(0).lot_float
    bids = features["bid_added"] - features["bid_removed"]
    asks = features["ask_added"] - features["ask_removed"]
    np.testing.assert_allclose(bids - asks, features["ofi"][:, 0] * lot, atol=1e-9)


def levels(reader: FeatureReader, book: int, side: int) -> list[tuple[int, int]]:
    """The ladder's best ten levels of a side."""
    ladder, found = reader.market.state.ladders[book], []
    price = int(ladder["best"][side])
    while len(found) < LEVELS and price not in (NO_BID, NO_ASK):
        found.append((price, int(size_at(ladder, side, price))))
        price = int(next_price(ladder, side, price))
    return found


def kept(reader: FeatureReader, book: int, side: int) -> list[tuple[int, int]]:
    """The levels that the flow keeps of it, after the last whole message."""
    flow = reader.features.flows[book]
    return [
        (int(-key if side == BID else key), int(size))
        for key, size in zip(flow["seen_key"][side], flow["seen_size"][side], strict=True)
        if key != NOWHERE
    ]


@pytest.mark.parametrize("hostile", [False, True])
def test_the_ten_levels_kept_are_those_of_the_ladder(hostile: bool) -> None:
    catalog, rows = simulated(40 if COMPILED else 3, snapshots_per_minute=20.0)
    rows = spoiled(rows) if hostile else rows
    ends = np.flatnonzero(rows["flags"] & 2)
    reader, compared = FeatureReader(catalog), 0
    start = 0
    for end in ends[:: 37 if COMPILED else 5]:
        reader.observe(Raw(rows[start : end + 1]))
        start = end + 1
        for book, state in enumerate(reader.market.state.books):
            whole = reader.features.flows[book]["linked"]
            if state["valid"] and whole:
                for side in (BID, ASK):
                    assert kept(reader, book, side) == levels(reader, book, side)
                compared += 1
    assert compared > (100 if COMPILED else 10)


DEPTHS = st.tuples(st.sampled_from([BUY, SELL]), st.integers(0, 14), st.sampled_from([0, 0, 1, 7]))


@settings(max_examples=100 if COMPILED else 10, deadline=None)
@given(st.lists(st.lists(DEPTHS, min_size=1, max_size=6), min_size=1, max_size=20))
def test_levels_that_come_and_go_at_the_edge(messages: list[list[tuple[int, int, int]]]) -> None:
    book = snapshot(at(0.5), 100, {99 - k: 5 for k in range(9)}, {101 + k: 5 for k in range(12)})
    diffs = [
        depth(
            at(1 + number / 100),
            101 + number,
            *((side, 99 - k if side == BUY else 101 + k, size) for side, k, size in changes),
        )
        for number, changes in enumerate(messages)
    ]
    reader = FeatureReader(ONE)
    for piece in (book, *diffs):
        reader.observe(Raw(piece))
        if reader.market.state.books[0]["valid"]:
            for side in (BID, ASK):
                assert kept(reader, 0, side) == levels(reader, 0, side)


def joined(reader: FeatureReader, blocks: Sequence[Rows]) -> tuple[bytes, bytes, bytes]:
    """Bytes of the frames, the features and the carry after these blocks."""
    found = [one for block in blocks for one in reader.observe(Raw(block))] + reader.flush()
    return (
        b"".join(one.frames.tobytes() for one in found),
        b"".join(one.features.tobytes() for one in found),
        carry((reader.features.flows, reader.features.states, reader.features.vpins)),
    )


@pytest.fixture(scope="module")
def rough() -> tuple[Any, Raw, tuple[bytes, bytes, bytes]]:
    """A tape with everything in it, and what is read in one piece."""
    catalog, rows = simulated(100 if COMPILED else 2)
    rows = spoiled(rows)
    return catalog, rows, joined(FeatureReader(catalog, QUICK), [rows])


QUICK = MarketShape(cadence_ns=SECOND // 5)


@settings(max_examples=12 if COMPILED else 3, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=6))
def test_any_split_gives_the_same_bits(rough: Any, cuts: list[float]) -> None:
    catalog, rows, whole = rough
    assert joined(FeatureReader(catalog, QUICK), pieces_of(rows, cuts)) == whole


def test_row_by_row_gives_the_same_bits(rough: Any) -> None:
    catalog, rows, _ = rough
    rows = rows[: 5_000 if COMPILED else 500]
    whole = joined(FeatureReader(catalog, QUICK), [rows])
    assert (
        joined(FeatureReader(catalog, QUICK), [rows[i : i + 1] for i in range(len(rows))]) == whole
    )


@settings(max_examples=8 if COMPILED else 2, deadline=None)
@given(st.floats(0.05, 0.95))
def test_the_future_changes_no_earlier_feature(rough: Any, cut: float) -> None:
    catalog, rows, (_, features, _) = rough
    past, _ = pieces_of(rows, [cut])
    reader = FeatureReader(catalog, QUICK)
    early = b"".join(one.features.tobytes() for one in reader.observe(past))
    assert early or not COMPILED
    assert features.startswith(early)


def test_nothing_reaches_across_a_reset(rough: Any) -> None:
    """Features after a RESET are those of somebody who has seen nothing before it."""
    catalog, rows, _ = rough
    reader = FeatureReader(catalog, QUICK)
    taken = list(reader.read(rows))
    frames = np.concatenate([one.frames for one in taken])
    samples = np.concatenate([one.samples for one in taken])
    features = reader.features.observe(frames, samples)
    seen = 0
    for book in np.unique(frames["book"]):
        mine = frames["book"] == book
        told, taken_then, said = frames[mine], samples[mine], features[mine]
        for start in np.flatnonzero(told["flags"] & RESET)[1:9]:
            some = slice(start, start + 250)
            fresh = Features(catalog, QUICK).observe(told[some], taken_then[some])
            assert fresh.tobytes() == said[some].tobytes()
            seen += 1
    assert seen >= (5 if COMPILED else 1)


@pytest.mark.parametrize("hostile", [False, True])
def test_the_frames_are_those_of_perception(hostile: bool) -> None:
    """Reading with features is reading as ever, also across reviews by the gates."""
    catalog, rows = simulated(150 if COMPILED else 2)
    rows = spoiled(rows) if hostile else rows
    wanted, one = perceived(catalog, rows, cadence_ns=QUICK.cadence_ns)
    found = [part.frames for part in FeatureReader(catalog, QUICK).read(rows)]
    frames = np.concatenate(found)
    assert len(frames) == len(wanted) > 0
    for name in FRAME.names or ():
        if name not in ("location", "scale", "gate", "regime", "volatility"):  # of later stages
            assert (frames[name] == wanted[name]).all(), name
    assert not any(one.gating.admits(source.name)[1] for source in catalog.sources)


def test_a_message_may_be_told_after_it_was_taken() -> None:
    """Beside perception's own loop, which takes depth messages in one go."""
    catalog, rows = simulated(60 if COMPILED else 1)
    want = list(FeatureReader(catalog, QUICK).read(rows))
    one, features = perception(catalog, cadence_ns=QUICK.cadence_ns), Features(catalog, QUICK)
    market, samples = one.market.state, []
    reasons, gap = np.zeros(len(rows), np.uint8), int(market.clock["gap"][0])
    starts = [*np.flatnonzero(rows["flags"] & 1), len(rows)]
    for start, stop in pairwise(starts):
        for found in one.observe(Raw(rows[start:stop])):  # frames close before the rows are taken
            samples.append(features.new_samples(len(found.frames)))
            size = len(found.frames)
            flow_kernels.take_all(features.flows, found.frames, 0, size, samples[-1])
        at = int(catalog.book_of[rows["instrument"][start], rows["source"][start]])
        parts = features.flows[at], market.ladders[at], market.books[at]
        flow_kernels.run(*parts, rows, reasons, start, stop, gap)
    assert not any(len(counts) > 1 for counts in one.admission.counts().values())
    got = np.concatenate(samples).tobytes()
    assert got == np.concatenate([part.samples for part in want]).tobytes()
    assert len(got) > 0


def test_a_source_that_comes_back_starts_from_nothing() -> None:
    first = [
        snapshot(at(0.5), 100, {99: 5, 98: 6}, {101: 5, 102: 6}),
        trade(at(0.7), 1, BUY, 101, 1),
        trade(at(0.8), 2, SELL, 99, 2),
    ]
    again = [
        snapshot(at(10.2), 200, {100: 3}, {102: 9}),
        trade(at(10.3), 3, BUY, 102, 1),
        trade(at(10.4), 4, SELL, 100, 1),
        trade(at(10.5), 5, BUY, 102, 1),
        depth(at(11.5), 201, (BUY, 100, 4)),
        tick(at(12.5)),
    ]
    whole = features_of(ONE, [tape(*first, down(at(2.5)), *again)])
    alone = features_of(ONE, [tape(*again)])
    late = whole.frames["ts"] >= at(11)
    assert whole.features[late].tobytes() == alone.features.tobytes()
    assert alone.features["ofi"][:, 0].tolist() == [0, 1]


def test_a_gap_breaks_every_chain() -> None:
    """After 30 s of silence the book is the same, but no change is counted across."""
    rows = tape(
        snapshot(at(0.5), 100, {99: 5, 98: 6}, {101: 5, 102: 6}),
        trade(at(0.7), 1, BUY, 101, 1),
        trade(at(0.8), 2, SELL, 99, 1),
        depth(at(40.2), 101, (BUY, 99, 50)),
        trade(at(40.3), 3, BUY, 101, 1),
        depth(at(40.4), 102, (BUY, 99, 51)),
        tick(at(41.5)),
    )
    reader = FeatureReader(ONE)
    found = reader.observe(rows)
    times = np.concatenate([one.frames["ts"] for one in found])
    flow = np.concatenate([one.features["ofi"][:, 0] for one in found])
    assert ((times - at(0)) // SECOND).tolist() == [1, 41]
    assert flow.tolist() == [0, 1]
    assert reader.features.flows[0]["chain"] == 1


def test_a_book_that_crosses_is_forgotten() -> None:
    """Its next snapshot is a beginning: nothing is counted from before the crossing."""
    rows = tape(
        snapshot(at(0.5), 100, {99: 5}, {101: 5}),
        depth(at(1.2), 101, (BUY, 102, 3)),
        snapshot(at(1.4), 110, {98: 7}, {101: 9}),
        depth(at(1.6), 111, (BUY, 98, 8)),
        tick(at(2.5)),
    )
    frames, features = features_of(ONE, [rows])
    assert features["ofi"][:, 0].tolist() == frames["ofi"].tolist() == [0, 1]


def test_while_a_book_is_not_valid_nothing_is_said() -> None:
    rows = tape(
        snapshot(at(0.5), 100, {99: 5}, {101: 5}),
        depth(at(1.5), 101, (SELL, 101, 0)),
        depth(at(2.5), 102, (SELL, 103, 7)),
        tick(at(3.5)),
    )
    found = features_of(ONE, [rows])
    assert (found.frames["flags"] & VALID).tolist() == [1, 0, 1]
    empty = np.isnan(matrix(found.features)).all(axis=1)
    assert empty.tolist() == [False, True, False]
    assert found.features["spread"].tolist()[::2] == [2, 4]


def test_the_fair_value_is_that_of_a_published_example() -> None:
    """StockCharts' worked example of Kaufman's average (10, 2, 30), from 28 May 2015."""
    closes = [
        11046, 10980, 11017, 10982, 11015, 10931, 10905, 10794, 10776, 10924, 10940, 10850,
        10796, 10855, 10885, 11044, 10989, 11070, 11079, 11022,
    ]  # fmt: skip
    efficiency = [
        0.184669, 0.217391, 0.359350, 0.198748, 0.204403, 0.158931, 0.113514, 0.388732,
        0.432240, 0.160656,
    ]  # fmt: skip
    fair = [
        109.244940, 109.216492, 109.117350, 109.098101, 109.089370, 109.124040, 109.137562,
        109.276864, 109.436482, 109.456856,
    ]  # fmt: skip
    quotes = [quote(at(k + 0.5), k + 1, p - 1, p + 1) for k, p in enumerate(closes)]
    features = features_of(ONE, [tape(*quotes, tick(at(len(closes) + 0.5)))]).features
    assert np.isnan(features["fair_value"][:10]).all()
    assert features["efficiency"][10:].tolist() == pytest.approx(efficiency, abs=1e-6)
    assert (features["fair_value"][10:] / 100).tolist() == pytest.approx(fair, abs=1e-6)


def test_a_book_of_quotes_has_one_level() -> None:
    rows = tape(
        quote(at(0.5), 1, 99, 101, (4, 6)),
        quote(at(1.2), 2, 100, 101, (3, 6)),
        quote(at(1.3), 3, 100, 101, (2, 9)),
        tick(at(2.5)),
    )
    features = features_of(ONE, [rows]).features
    # 3 new bids at a better price; then one bid fewer and three asks more
    assert features["ofi"].tolist() == [[0, 0, 0], [3 - 1 - 3] * 3]
    assert features["queue_imbalance"][1].tolist() == pytest.approx([-7 / 11] * 3)
    assert features["bid_depth"].tolist() == pytest.approx([0.004, 0.002])


def test_bars_have_prices_volumes_and_volatility_and_nothing_else() -> None:
    catalog = catalog_of(("USD",), bar_span=60 * SECOND)
    random = np.random.default_rng(3)
    close, bars = 10_000, []
    for number in range(1, 140):
        opened, close = close, close + int(random.integers(-9, 10))
        high, low = max(opened, close) + 4, min(opened, close) - 3
        bars.append(bar(at(60 * number), 60 * SECOND, (opened, high, low, close), 50 + number))
    found = features_of(catalog, [tape(*bars)])
    assert len(found.frames) == 139
    known = ~np.isnan(matrix(found.features)[-1])
    names = {name for name, there in zip(COLUMNS, known, strict=True) if there}
    volatilities = {name for name in COLUMNS if "_volatility_" in name}
    prices = {"mid", "fair_value_10", "fair_value_deviation_10", "efficiency_10"}
    assert names == volatilities | prices | {"volume", "volume_z_100", "vwap_deviation"}
    high, low = found.frames["high"][-20:], found.frames["low"][-20:]
    wanted = np.sqrt(np.mean(np.log(high / low) ** 2) / (4 * np.log(2)))
    assert found.features["parkinson_volatility"][-1, 0] == pytest.approx(wanted, rel=1e-12)


def test_the_aggressor_is_found_where_nobody_tells() -> None:
    """Lee and Ready 1991: against the mid, at it by the last change of price."""
    unknown = 2
    rows = tape(
        snapshot(at(0.5), 100, {99: 5}, {101: 5}),
        trade(at(1.1), 1, unknown, 101, 1),  # above the mid
        trade(at(2.1), 2, unknown, 99, 1),  # below it
        trade(at(3.1), 3, unknown, 100, 1),  # at it, the price has risen
        trade(at(4.1), 4, unknown, 100, 1),  # at it, the last change was a rise
        trade(at(4.2), 5, SELL, 101, 3),  # the venue's word counts
        trade(at(5.1), 6, unknown, 100, 1),  # at it, the price has fallen
        tick(at(6.5)),
    )
    features = features_of(ONE, [rows], MarketShape(silent_ns=20 * SECOND)).features
    assert features["trade_sign"].tolist() == [0, 1, -1, 1, 0, -1]
    signed = [0, 0.001, -0.001, 0.001, -0.002, -0.001]
    assert features["signed_volume"].tolist() == pytest.approx(signed)


def test_a_message_that_changes_nothing_near_counts_as_a_message() -> None:
    rows = tape(
        snapshot(at(0.5), 100, {99: 5}, {101 + k: 5 for k in range(10)}),
        depth(at(0.6), 101, (SELL, 500, 1)),
        depth(at(0.7), 102, (SELL, 500, 2)),
    )
    reader = FeatureReader(ONE)
    reader.observe(rows)
    flow = reader.features.flows[0]
    assert flow["sums"][MESSAGES] == 2
    assert flow["displayed_sum"] == 2 * 55
    assert not flow["level_ofi"].any()
