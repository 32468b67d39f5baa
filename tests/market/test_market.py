"""Books and frames: held to a plain model, to hand-made cases, and to themselves when split."""

from functools import cached_property
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.admission import Admission, AdmissionShape
from seawall.core.clock import SECOND
from seawall.core.events import Raw, Side
from seawall.core.frames import FrameFlag
from seawall.core.instruments import Catalog
from seawall.market import Market, MarketShape, closing
from seawall.market.kernels import BY_DEPTH, BY_QUOTE
from tests.market import reference
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
    pieces_of,
    quote,
    simulated,
    snapshot,
    spoiled,
    tape,
    tick,
    trade,
)

BOOK = snapshot(at(0.5), 100, {99: 5, 98: 6}, {101: 5, 102: 6})
ONE = catalog_of(("USD",))
MIDNIGHT = 1_700_006_400 * SECOND


def flags_of(frame: Any) -> FrameFlag:
    return FrameFlag(int(frame["flags"])) & ~FrameFlag.UNCORROBORATED


@pytest.fixture(scope="module")
def market() -> tuple[Catalog, Raw]:
    return simulated(60 if COMPILED else 3)


def same(frames: Rows, expected: list[dict[str, Any]]) -> None:
    """Every column that the model knows, in every frame."""
    assert len(frames) == len(expected)
    columns = sorted({name for one in expected for name in one})
    for name in columns:
        known = [k for k, one in enumerate(expected) if name in one]
        wanted = np.array([expected[k][name] for k in known])
        got = frames[name][known]
        if np.issubdtype(got.dtype, np.integer):
            assert got.tolist() == wanted.tolist(), name
        else:
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("cadence_ms", [1000, 100])
def test_frames_equal_a_plain_model_of_the_market(
    market: tuple[Catalog, Raw], cadence_ms: int
) -> None:
    catalog, rows = market
    shape = MarketShape(cadence_ns=cadence_ms * 1_000_000, silent_ns=4 * SECOND, gap_ns=9 * SECOND)
    if not COMPILED:
        rows = Raw(rows[:1_000])
    frames, one = perceived(
        catalog, rows, cadence_ns=shape.cadence_ns, silent_ns=shape.silent_ns, gap_ns=shape.gap_ns
    )
    assert sum(len(c) - 1 for c in one.admission.counts().values()) == 0  # nothing refused
    same(frames, reference.frames_of(catalog, rows, shape))
    if COMPILED:
        met = np.bitwise_or.reduce(frames["flags"])
        assert met == sum(FrameFlag) - FrameFlag.BAR - (len(set(frames["votes"])) < 4) * 32


def test_frames_across_gaps_equal_the_plain_model(market: tuple[Catalog, Raw]) -> None:
    catalog, rows = market
    rows = Raw(rows[: 6_000 if COMPILED else 600].copy())
    begin = np.flatnonzero(rows["flags"] & 1)
    third = int(begin[len(begin) // 3])
    for column in ("recv_ts", "exch_ts"):
        rows[column][third:] += 31 * SECOND + 12_345
    same(perceived(catalog, rows)[0], reference.frames_of(catalog, rows, MarketShape()))


def test_a_frame_holds_exactly_the_rows_received_by_its_boundary() -> None:
    boundary = at(2)
    rows = tape(
        BOOK,
        trade(boundary - 1, 1, BUY, 101, 1),
        trade(boundary, 2, BUY, 101, 10),
        trade(boundary + 1, 3, BUY, 101, 100),
        tick(at(3) + 1),
    )
    frames, _ = perceived(ONE, rows)
    assert frames["ts"].tolist() == [at(1), at(2), at(3)]
    assert frames["tape"].tolist() == [5, 7, 8]
    assert frames["buy_volume"].tolist() == pytest.approx([0, 0.011, 0.1])


def test_a_trade_whose_taker_nobody_names_counts_for_both_sides() -> None:
    unknown = int(Side.UNKNOWN)
    trades = (trade(at(1) + 1, 1, BUY, 100, 10), trade(at(1) + 2, 2, unknown, 106, 20))
    frames, _ = perceived(ONE, tape(BOOK, *trades, tick(at(2) + 1)))
    assert frames["buy_volume"][-1] == pytest.approx(0.020)
    assert frames["sell_volume"][-1] == pytest.approx(0.010)
    assert frames["vwap"][-1] == pytest.approx((100 * 10 + 106 * 20) / 30)


def test_no_frame_is_made_before_its_boundary_has_passed() -> None:
    frames, one = perceived(ONE, BOOK, trade(at(1), 1, BUY, 101, 1))
    assert len(frames) == 0
    (last,) = one.flush()
    assert last.frames["ts"].tolist() == [at(1)]
    frames, one = perceived(ONE, BOOK, trade(at(1) - 1, 1, BUY, 101, 1))
    assert len(frames) == 0
    assert list(one.flush()) == []


@pytest.mark.parametrize("cadence", [SECOND, SECOND // 10, 7 * SECOND])
def test_boundaries_are_multiples_of_the_cadence(cadence: int) -> None:
    rows = tape(BOOK, *(depth(at(k), 100 + k, (BUY, 98, k)) for k in range(1, 30)))
    frames, _ = perceived(ONE, rows, cadence_ns=cadence)
    assert not (frames["ts"] % cadence).any()
    assert set(np.diff(frames["ts"])) == {cadence}
    assert frames["index"].tolist() == list(range(len(frames)))


def test_a_gap_makes_no_frames_and_no_return_crosses_it() -> None:
    rows = tape(
        BOOK,
        depth(at(2), 101, (BUY, 99, 7)),
        depth(at(40), 102, (BUY, 100, 7)),
        depth(at(41.5), 103, (BUY, 100, 8)),
        tick(at(42.5)),
    )
    frames, _ = perceived(ONE, rows)
    assert frames["ts"].tolist() == [at(1), at(2), at(40), at(41), at(42)]
    reset = FrameFlag.VALID | FrameFlag.RESET
    assert [flags_of(f) for f in frames] == [reset, 1, reset, 1, 1]
    assert not frames["return_"].any()
    assert not frames["realised_variance"].any()
    assert frames["open"].tolist() == [100, 100, 100.5, 100.5, 100.5]


def test_silence_up_to_the_gap_limit_is_no_gap() -> None:
    rows = tape(BOOK, tick(at(30.5)), depth(at(30.6), 101, (BUY, 100, 7)), tick(at(32)))
    frames, _ = perceived(ONE, rows)
    assert frames["ts"].tolist() == [at(k) for k in range(1, 32)]


def test_a_silent_book_goes_stale_then_has_no_frame_and_returns_with_a_reset() -> None:
    loud = [depth(at(k + 0.2), 101 + k, (BUY, 50, 1 + k), book=(1, 1)) for k in range(1, 50)]
    rows = np.concatenate(
        [
            BOOK,
            snapshot(at(0.5), 101, {99: 1, 50: 1}, {101: 1}, book=(1, 1)),
            *loud,
            depth(at(45.5), 101, (BUY, 100, 5)),
            tick(at(52)),
        ]
    )
    rows = rows[np.argsort(rows["recv_ts"], kind="stable")]
    frames, _ = perceived(catalog_of(("USD",), ("USD",)), rows)
    mine = frames[frames["book"] == 0]
    seconds = ((mine["ts"] - at(0)) // SECOND).tolist()
    assert seconds == [*range(1, 31), *range(46, 52)]
    by_second = dict(zip(seconds, mine, strict=True))
    for second in range(1, 6):
        assert flags_of(by_second[second]) & FrameFlag.VALID
    for second in range(6, 31):
        assert flags_of(by_second[second]) & (FrameFlag.VALID | FrameFlag.STALE) == FrameFlag.STALE
        assert by_second[second]["votes"] == 1
    assert flags_of(by_second[46]) == FrameFlag.VALID | FrameFlag.RESET
    assert flags_of(by_second[47]) == FrameFlag.VALID
    assert (by_second[46]["return_"], by_second[46]["realised_variance"]) == (0, 0)
    assert by_second[46]["open"] == 100.5  # the mid from before the silence is not its first
    assert len(frames[frames["book"] == 1]) == 51


def test_rows_that_come_late_flag_their_frame() -> None:
    delay = SECOND // 100
    rows = tape(
        BOOK,
        depth(at(0.6), 101, (BUY, 98, 1), exch=at(0.6) - delay),
        depth(at(1.5), 102, (BUY, 98, 2), exch=at(1.5) - delay),
        depth(at(2.5), 103, (BUY, 98, 3), exch=at(1.9) - delay),  # before the frame (2, 3]
        depth(at(3.5), 104, (BUY, 98, 4), exch=at(3.01) - delay),
        tick(at(4.5)),
    )
    frames, _ = perceived(ONE, rows)
    late = [bool(flags_of(f) & FrameFlag.LATE) for f in frames]
    assert late == [False, False, True, False]
    assert frames["delay"].tolist() == pytest.approx([0, 0, 0.6, 0.49], abs=1e-3)


def test_a_one_sided_book_is_not_valid() -> None:
    rows = tape(BOOK, depth(at(1.5), 101, (SELL, 101, 0), (SELL, 102, 0)), tick(at(2.5)))
    frames, _ = perceived(ONE, rows)
    assert [bool(f["flags"] & FrameFlag.VALID) for f in frames] == [True, False]


def test_a_refused_diff_makes_the_book_unusable_until_the_next_snapshot() -> None:
    rows = tape(
        BOOK,
        depth(at(1.5), 102, (BUY, 98, 1), previous=101),
        depth(at(2.5), 103, (BUY, 98, 2)),
        snapshot(at(3.5), 110, {99: 5}, {103: 5}),
        tick(at(4.5)),
    )
    frames, one = perceived(ONE, rows)
    assert [bool(f["flags"] & FrameFlag.VALID) for f in frames] == [True, False, False, True]
    assert frames["mid"].tolist() == [100, 0, 0, 101]
    assert frames["return_"].tolist() == [0, 0, 0, 0]
    assert one.market.checks()["BTC/USD@v0/v0"]["voided"] == 1


def test_a_source_that_goes_down_takes_its_book_with_it() -> None:
    rows = tape(
        BOOK,
        depth(at(1.2), 101, (BUY, 99, 1)),
        down(at(1.5)),
        snapshot(at(2.5), 110, {109: 5}, {111: 5}),
        tick(at(3.5)),
    )
    frames, _ = perceived(ONE, rows)
    valid = [bool(f["flags"] & FrameFlag.VALID) for f in frames]
    assert valid == [True, False, True]
    assert frames["return_"].tolist() == [0, 0, 0]
    assert frames["realised_variance"].tolist() == [0, 0, 0]
    assert flags_of(frames[2]) & FrameFlag.RESET


def test_a_diff_that_crosses_the_book_voids_it() -> None:
    rows = tape(BOOK, depth(at(1.5), 101, (BUY, 101, 1)), tick(at(2.5)))
    frames, one = perceived(ONE, rows)
    assert [bool(f["flags"] & FrameFlag.VALID) for f in frames] == [True, False]
    assert one.market.checks()["BTC/USD@v0/v0"]["crossings"] == 1


def test_a_crossed_book_waits_for_a_snapshot() -> None:
    rows = tape(
        BOOK,
        depth(at(1.5), 101, (BUY, 101, 1)),
        depth(at(2.5), 102, (BUY, 90, 1), (SELL, 120, 1)),  # two far levels are not the book
        tick(at(3.5)),
    )
    frames, _ = perceived(ONE, rows)
    assert not frames["flags"][1:].astype(int).tolist()[-1] & FrameFlag.VALID


def test_quotes_are_the_book_where_no_depth_is_sent() -> None:
    rows = tape(
        quote(at(0.5), 1, 99, 101, sizes=(4, 12)),
        quote(at(1.5), 2, 100, 101, sizes=(3, 12)),
        tick(at(2.5)),
    )
    frames, one = perceived(ONE, rows)
    assert one.market.state.books["made_of"][0] == BY_QUOTE
    assert frames["bid"].tolist() == [99, 100]
    assert frames["micro"].tolist() == [99.5, 100.2]
    assert frames["ofi"].tolist() == [0, 3]
    assert frames["imbalance_5"].tolist() == frames["imbalance"].tolist() == [-0.5, -0.6]
    assert frames["return_"][1] == 100.5 / 100 - 1


def touches(rows: Rows) -> tuple[int, int]:
    _, one = perceived(ONE, rows)
    assert one.market.state.books["made_of"][0] == BY_DEPTH
    found = one.market.checks()["BTC/USD@v0/v0"]
    return found["coincidences"], found["mismatches"]


def test_the_top_of_book_is_held_against_the_venues_quote_at_the_same_update_id() -> None:
    update = depth(at(1.5), 101, (BUY, 100, 7))
    right = quote(at(1.5), 101, 100, 101, sizes=(7, 5))
    assert touches(tape(BOOK, update, right)) == (1, 0)
    assert touches(tape(BOOK, right, update)) == (1, 0)
    other_id = quote(at(1.5), 102, 55, 56)
    assert touches(tape(BOOK, update, other_id)) == (0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        quote(at(1.5), 101, 99, 101, sizes=(7, 5)),
        quote(at(1.5), 101, 100, 102, sizes=(7, 5)),
        quote(at(1.5), 101, 100, 101, sizes=(8, 5)),
        quote(at(1.5), 101, 100, 101, sizes=(7, 6)),
    ],
)
def test_a_mismatch_is_found_in_either_order_of_arrival(wrong: Rows) -> None:
    update = depth(at(1.5), 101, (BUY, 100, 7))
    assert touches(tape(BOOK, update, wrong)) == (1, 1)
    assert touches(tape(BOOK, wrong, update)) == (1, 1)


def test_an_update_id_is_compared_once_however_often_it_comes() -> None:
    update = depth(at(1.5), 101, (BUY, 100, 7))
    right = quote(at(1.5), 101, 100, 101, sizes=(7, 5))
    assert touches(tape(BOOK, update, right, right, update, right)) == (1, 0)


def test_a_snapshot_at_a_compared_id_is_not_counted_again() -> None:
    update = depth(at(1.5), 101, (BUY, 100, 7))
    right = quote(at(1.5), 101, 100, 101, sizes=(7, 5))
    again = snapshot(at(1.6), 101, {100: 7, 99: 5}, {101: 5, 102: 6})
    assert touches(tape(BOOK, update, right, again)) == (1, 0)


# Bars


MINUTE = 60 * SECOND
BARS = catalog_of(("USD",), bar_span=MINUTE)


def bars(first: int, *closes: int, volume: int = 10) -> list[Rows]:
    """Bars from close to close, one a minute, the first one closing at `first`."""
    opens = [closes[0], *closes]
    return [
        bar(first + k * MINUTE, MINUTE, (o, max(o, c) + 1, min(o, c) - 1, c), volume)
        for k, (o, c) in enumerate(zip(opens, closes, strict=False))
    ]


def test_a_bar_is_never_visible_before_its_close() -> None:
    messages = bars(MIDNIGHT, 100, 110, 120)
    for known in range(1, 4):
        frames, _ = perceived(BARS, tape(*messages[:known], tick(MIDNIGHT + known * MINUTE - 1)))
        assert frames["ts"].tolist() == [MIDNIGHT + k * MINUTE for k in range(known)]
        assert frames["mid"].tolist() == [100, 110, 120][:known]


def test_the_fields_of_a_bar() -> None:
    messages = [
        bar(MIDNIGHT, MINUTE, (100, 130, 90, 110), 40),
        bar(MIDNIGHT + MINUTE, MINUTE, (111, 125, 105, 121), 60),
    ]
    frames, _ = perceived(BARS, tape(*messages, tick(MIDNIGHT + 2 * MINUTE)))
    first, second = frames
    assert flags_of(first) == FrameFlag.VALID | FrameFlag.BAR | FrameFlag.RESET
    assert flags_of(second) == FrameFlag.VALID | FrameFlag.BAR
    for name, wanted in (("open", 111), ("high", 125), ("low", 105), ("mid", 121), ("bid", 121)):
        assert second[name] == wanted
    assert second["ask"] == second["bid"]
    assert second["return_"] == 121 / 110 - 1
    assert second["buy_volume"] == second["sell_volume"] == pytest.approx(0.03)
    assert second["vwap"] == pytest.approx(121)
    assert second["realised_variance"] == pytest.approx((11 / 110) ** 2)
    assert (second["trades"], second["messages"], second["age"]) == (1, 1, 0)
    assert (second["spread_bps"], second["ofi"]) == (0, 0)


def test_a_missing_bar_leaves_a_stale_frame() -> None:
    messages = bars(MIDNIGHT, 100, 101, 102, 103)
    frames, _ = perceived(BARS, tape(*messages[:2], messages[3], tick(MIDNIGHT + 4 * MINUTE)))
    assert [bool(f["flags"] & FrameFlag.VALID) for f in frames] == [True, True, False, True]
    assert bool(frames["flags"][2] & FrameFlag.STALE)
    assert frames["return_"][3] == 0
    assert flags_of(frames[3]) & FrameFlag.RESET


def test_bars_survive_243_days_without_data_and_carry_no_band_across() -> None:
    later = MIDNIGHT + 243 * 86_400 * SECOND
    before, after = bars(MIDNIGHT, *range(100, 120)), bars(later, *range(1000, 1020))
    frames, one = perceived(BARS, tape(*before, *after, tick(later + 20 * MINUTE)))
    assert one.admission.counts() == {"v0": {"admitted": 160}}
    assert len(frames) == 40
    assert frames["mid"].tolist() == [*range(100, 120), *range(1000, 1020)]
    resets = np.flatnonzero(frames["flags"] & FrameFlag.RESET).tolist()
    assert resets == [0, 20]
    assert abs(frames["return_"]).max() < 0.02
    for column in ("location", "scale"):  # nothing is learned from the leap
        assert frames[column][20] == frames[column][19] < 0.02


def test_a_bar_outside_the_band_is_refused_and_the_next_one_believed_where_it_stays() -> None:
    messages = bars(MIDNIGHT, 100, 101, 200, 201, 202)
    frames, one = perceived(BARS, tape(*messages, tick(MIDNIGHT + 5 * MINUTE)))
    assert one.admission.counts()["v0"]["price_band"] > 0
    assert one.market.checks()["BTC/USD@v0/v0"]["reanchored"] == 1
    assert frames["mid"][-1] == 202


# The band of prices


def test_the_band_follows_the_market_and_stops_a_forged_touch() -> None:
    rows = tape(
        BOOK,
        depth(at(1.5), 101, (BUY, 98, 1)),
        trade(at(2.5), 1, BUY, 127, 1),
        trade(at(2.6), 2, BUY, 125, 1),
        trade(at(2.7), 3, SELL, 74, 1),
        trade(at(2.8), 4, SELL, 75, 1),
        tick(at(3.5)),
    )
    frames, one = perceived(ONE, rows)
    assert one.admission.counts()["v0"]["price_band"] == 2
    assert frames["trades"].tolist() == [0, 0, 2]


def test_a_market_that_really_moved_is_found_again_after_an_epoch_without_it() -> None:
    jumped = [snapshot(at(k + 0.5), 200 + k, {199: 5}, {201: 5}) for k in range(2, 190, 2)]
    frames, one = perceived(ONE, tape(BOOK, depth(at(1.5), 101, (BUY, 98, 1)), *jumped))
    valid = (frames["flags"] & FrameFlag.VALID) > 0
    again = frames[valid & (frames["mid"] == 200)]
    assert (again["ts"][0] - at(0)) // SECOND in range(119, 124)
    assert one.market.checks()["BTC/USD@v0/v0"]["reanchored"] == 1


# The same bits however it is fed


class Inputs:
    """What the market kernel takes: rows, their books, admission's reasons and extras."""

    def __init__(self, catalog: Catalog, rows: Raw) -> None:
        self.catalog, self.rows = catalog, rows
        admission = Admission(catalog, AdmissionShape())
        self.verdict = admission.state.verdict
        self.reasons = admission.admit(rows).reasons
        table = catalog.book_of
        known = (rows["instrument"] < table.shape[0]) & (rows["source"] < table.shape[1])
        self.books = np.full(len(rows), -1, np.int64)
        self.books[known] = table[rows["instrument"][known], rows["source"][known]]
        self.books[self.reasons == 1] = -1
        self.extras = np.maximum(0, rows["recv_ts"] - rows["exch_ts"]) % (3 * SECOND)

    @cached_property
    def whole(self) -> tuple[bytes, bytes, bytes]:
        """All rows as one block."""
        return self.run([])

    def start(self) -> tuple[Market, Any, Rows]:
        """A new market, a copy of the verdict, room for frames."""
        market = Market(self.catalog, MarketShape(), "USD")
        return market, self.verdict.copy(), market.new_frames(6_000)

    def run(self, cuts: list[float], until: int | None = None) -> tuple[bytes, bytes, bytes]:
        """Frames, state and verdict after the rows up to `until`, in pieces."""
        market, verdict, frames = self.start()
        columns = (self.rows, self.books, self.reasons, self.extras)
        parts = [pieces_of(column[:until], cuts) for column in columns]
        count = 0
        for piece in zip(*parts, strict=True):
            count += closing.run(market.state, verdict, *piece, frames[count:])
        return frames[:count].tobytes(), carry(market.state), verdict.tobytes()


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    catalog, rows = simulated(20 if COMPILED else 1)
    return Inputs(catalog, spoiled(rows.copy(), seed=9))


@settings(max_examples=20 if COMPILED else 2, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=6))
def test_any_split_gives_the_same_bits(inputs: Inputs, cuts: list[float]) -> None:
    assert inputs.run(cuts) == inputs.whole


@pytest.mark.skipif(not COMPILED, reason="step by step is all there is without the compiler")
def test_step_by_step_gives_the_same_bits(inputs: Inputs) -> None:
    until = 4_000
    market, verdict, frames = inputs.start()
    count = 0
    for i in range(until):
        count = closing.step(
            market.state,
            verdict,
            inputs.books[i],
            inputs.rows[i],
            inputs.reasons[i],
            inputs.extras[i],
            frames,
            count,
        )
    got = frames[:count].tobytes(), carry(market.state), verdict.tobytes()
    assert got == inputs.run([], until)


def test_a_snapshot_of_the_market_rebuilds_its_books(market: tuple[Catalog, Raw]) -> None:
    catalog, rows = market
    begin = np.flatnonzero(rows["flags"] & 1)
    rows = Raw(rows[: begin[len(begin) // 2]])  # between two messages
    _, one = perceived(catalog, rows)
    copy = one.market.snapshot(int(rows["recv_ts"][-1]))
    _, again = perceived(catalog, copy)
    usable = one.market.state.books["valid"] == 1
    assert usable.sum() >= 2
    for name in ("bid", "ask", "bid_size", "ask_size", "sequence"):
        ours, theirs = one.market.state.books[name], again.market.state.books[name]
        assert ours[usable].tolist() == theirs[usable].tolist()
    assert again.market.snapshot(int(rows["recv_ts"][-1])).tobytes() == copy.tobytes()


def test_asset_marks_are_what_the_consensus_says() -> None:
    _, one = perceived(ONE, tape(BOOK, tick(at(1.5))))
    assert one.market.asset_marks() == {"USD": 1.0, "BTC": 100.0}
