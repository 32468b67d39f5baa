"""The simulated market: the same bytes however it is asked, sound books, and a market's manners."""

from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import MILLISECOND, SECOND, YEAR, TapeClock
from seawall.core.errors import SettingError
from seawall.core.events import EventFlag, EventKind, Raw, Side
from seawall.core.instruments import Kind
from seawall.ingestion.simulated import MarketShape, SimulatedFeed, SimulatedMarket
from seawall.ingestion.simulated_kernels import LEVELS

START = 1_700_000_000 * SECOND + 123_456_789
RESTLESS = MarketShape(outages_per_hour=150.0, jumps_per_hour=60.0, snapshots_per_minute=4.0)
LONG = 1800  # seconds
BOOK_KINDS = (EventKind.DEPTH, EventKind.SNAPSHOT)


@cache
def recorded(seed: int, seconds: int, restless: bool) -> Raw:
    shape = RESTLESS if restless else MarketShape()
    return SimulatedMarket(seed, START, shape).record(seconds * SECOND)


def touches(rows: Any) -> np.ndarray:
    """(messages, 2) best bid and ask of one book after each of its book messages; NaN when down.

    Fails where a book is ever crossed, even within a message, or has other than ten levels.
    """
    sides: list[dict[int, int]] = [{}, {}]
    up = False
    found = []
    for kind, side, price, size, flags in rows[["kind", "side", "price", "size", "flags"]].tolist():
        if kind in (EventKind.SNAPSHOT, EventKind.DOWN):
            sides = [{}, {}]
            up = kind == EventKind.SNAPSHOT
        elif kind == EventKind.DEPTH:
            assert up
            if size == 0:
                del sides[side][price]
            else:
                sides[side][price] = size
            if sides[0] and sides[1]:
                assert max(sides[0]) < min(sides[1])
        else:
            assert up
            best = min(sides[1]) if side == Side.BUY else max(sides[0])
            assert price == best
            assert size > 0
        if flags & EventFlag.END and kind in BOOK_KINDS:
            assert [len(levels) for levels in sides] == [LEVELS, LEVELS]
            found.append((max(sides[0]), min(sides[1])))
        elif kind == EventKind.DOWN:
            found.append((np.nan, np.nan))
    return np.array(found)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**63),
    st.lists(st.integers(0, 40 * SECOND), max_size=12),
)
def test_any_split_gives_the_same_bytes(seed: int, cuts: list[int]) -> None:
    whole = SimulatedMarket(seed, START, RESTLESS).record(40 * SECOND)
    market = SimulatedMarket(seed, START, RESTLESS)
    ends = [START + cut for cut in sorted(cuts)] + [START + 40 * SECOND]
    pieces = [market.generate(end) for end in ends]
    for piece, end in zip(pieces, ends, strict=True):
        assert not len(piece) or piece["recv_ts"][-1] <= end
        assert not len(piece) or piece["flags"][0] & EventFlag.BEGIN
        assert not len(piece) or piece["flags"][-1] & EventFlag.END
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


def test_the_seed_alone_decides() -> None:
    again = SimulatedMarket(3, START, RESTLESS).record(30 * SECOND)
    other = SimulatedMarket(4, START, RESTLESS).record(30 * SECOND)
    rows = SimulatedMarket(3, START, RESTLESS).record(30 * SECOND)
    assert rows.tobytes() == again.tobytes()
    assert rows.tobytes() != other.tobytes()


def test_another_source_changes_nothing_of_the_first() -> None:
    fewer = msgspec.structs.replace(RESTLESS, sources=RESTLESS.sources[:2])
    rows = SimulatedMarket(5, START, fewer).record(60 * SECOND)
    all_rows = SimulatedMarket(5, START, RESTLESS).record(60 * SECOND)
    assert all_rows[all_rows["source"] < 2].tobytes() == rows.tobytes()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**63))
def test_books_are_sound(seed: int) -> None:
    rows = SimulatedMarket(seed, START, RESTLESS).record(60 * SECOND)
    for instrument in range(10):
        bests = touches(rows[rows["instrument"] == instrument])
        assert len(bests) > 100


@pytest.mark.parametrize("restless", [False, True])
def test_messages_sequences_and_times_are_those_of_a_tape(restless: bool) -> None:
    rows = recorded(11, 300, restless)
    catalog = SimulatedMarket(11, START).catalog
    assert (np.diff(rows["recv_ts"]) >= 0).all()
    assert np.array_equal(np.lexsort((rows["source"], rows["recv_ts"])), np.arange(len(rows)))
    begins = rows["flags"] & EventFlag.BEGIN > 0
    ends = rows["flags"] & EventFlag.END > 0
    assert begins[0]
    assert ends[-1]
    assert np.array_equal(begins[1:], ends[:-1])
    message = np.cumsum(begins)
    for field in ("recv_ts", "exch_ts", "sequence", "previous", "instrument", "source"):
        same = rows[field][1:] == rows[field][:-1]
        assert same[np.diff(message) == 0].all()
    assert (catalog.book_of[rows["instrument"], rows["source"]] >= 0).all()
    assert (rows["recv_ts"] >= rows["exch_ts"]).all()
    for instrument in range(10):
        first = rows[(rows["instrument"] == instrument) & begins]
        trades = first[first["kind"] == EventKind.TRADE]
        assert (np.diff(trades["sequence"]) >= 1).all()
        books = first[np.isin(first["kind"], (EventKind.DEPTH, EventKind.SNAPSHOT))]
        assert books["kind"][0] == EventKind.SNAPSHOT
        depth = np.flatnonzero(books["kind"] == EventKind.DEPTH)
        assert np.array_equal(books["previous"][depth], books["sequence"][depth - 1])
        assert (books["previous"][books["kind"] == EventKind.SNAPSHOT] == -1).all()
        assert (np.diff(books["sequence"]) >= 1).all()


def test_outages_are_said_and_ended_by_a_full_book() -> None:
    rows = recorded(11, 300, True)
    outages = 0
    for instrument in range(10):
        own = rows[(rows["instrument"] == instrument) & (rows["flags"] & EventFlag.BEGIN > 0)]
        for down in np.flatnonzero(own["kind"] == EventKind.DOWN):
            assert own["kind"][down - 1] != EventKind.DOWN
            if down + 1 < len(own):
                outages += 1
                assert own["kind"][down + 1] == EventKind.SNAPSHOT
                away = own["exch_ts"][down + 1] - own["recv_ts"][down]
                assert 4.5 * SECOND < away < 20.5 * SECOND
    assert outages >= 20
    quiet = msgspec.structs.replace(RESTLESS, outages_per_hour=0.0)
    rows = SimulatedMarket(11, START, quiet).record(120 * SECOND)
    assert not (rows["kind"] == EventKind.DOWN).any()


@cache
def seconds_of_price(seed: int) -> np.ndarray:
    """Middle price of BTC at sim-a at the end of each second of half an hour."""
    own = recorded(seed, LONG, False)
    own = own[own["instrument"] == 0]
    said = np.isin(own["kind"], (*BOOK_KINDS, EventKind.DOWN)) & (own["flags"] & EventFlag.END > 0)
    bests = touches(own)
    times = own["recv_ts"][said]
    up = ~np.isnan(bests[:, 0])
    at = np.searchsorted(times[up], START + np.arange(1, LONG) * SECOND, side="right") - 1
    middle: np.ndarray = bests[up].mean(axis=1)[at]
    return middle


def test_returns_have_fat_tails_and_the_stated_volatility() -> None:
    returns = [np.diff(np.log(seconds_of_price(seed))) for seed in (1, 2)]
    yearly = [float(r.std() * np.sqrt(YEAR / SECOND)) for r in returns]
    assert all(0.2 < volatility < 0.8 for volatility in yearly)
    for r in returns:
        assert float(((r - r.mean()) ** 4).mean() / r.var() ** 2) > 4.0


def test_volatility_clusters() -> None:
    size = np.abs(np.diff(np.log(seconds_of_price(1))))
    minutes = size[: len(size) // 60 * 60].reshape(-1, 60).mean(axis=1)
    shuffled_spread = size.std() / np.sqrt(60)
    assert minutes.std() > 2 * shuffled_spread


def test_aggressors_lean_on_the_move() -> None:
    rows = recorded(1, LONG, False)
    trades = rows[(rows["instrument"] == 0) & (rows["kind"] == EventKind.TRADE)]
    second = np.clip((trades["exch_ts"] - START) // SECOND, 1, LONG - 2)
    flow = np.bincount(second, np.where(trades["side"] == Side.BUY, 1.0, -1.0), LONG)[1 : LONG - 1]
    move = np.diff(np.log(seconds_of_price(1)))
    assert np.corrcoef(flow, move)[0, 1] > 0.3


def test_rates_and_latencies_are_those_of_the_shape() -> None:
    rows = recorded(1, LONG, False)
    first = rows[rows["flags"] & EventFlag.BEGIN > 0]
    for index, source in enumerate(MarketShape().sources):
        own = first[(first["source"] == index) & (first["kind"] != EventKind.DOWN)]
        assert 10 < len(own) / LONG / 2 < 20
        # A connection does not reorder: waiting behind a slow message adds a little.
        mean = float((own["recv_ts"] - own["exch_ts"]).mean()) / MILLISECOND
        assert source.latency_ms <= mean * 1.02
        assert mean < 1.5 * source.latency_ms


def test_assets_move_together_and_sources_tell_one_price() -> None:
    rows = recorded(1, LONG, False)
    trades = rows[rows["kind"] == EventKind.TRADE]
    prices = {}
    for instrument in (0, 1, 4, 8):
        own = trades[trades["instrument"] == instrument]
        at = np.searchsorted(own["recv_ts"], START + np.arange(10, LONG, 10) * SECOND) - 1
        prices[instrument] = np.log(own["price"][np.maximum(at, 0)])
    together = np.corrcoef(np.diff(prices[0]), np.diff(prices[1]))[0, 1]
    assert 0.4 < together < 0.95
    for other in (4, 8):
        assert np.abs(prices[other] - prices[0]).mean() < 10e-4


def test_a_restart_goes_on_near_the_given_prices() -> None:
    market = SimulatedMarket(1, START, prices={"BTC": 91_234.5})
    rows = market.record(5 * SECOND)
    btc = rows[(rows["instrument"] == 0) & (rows["price"] > 0)]["price"] * 0.01
    assert np.abs(btc / 91_234.5 - 1.0).max() < 0.01
    eth = rows[(rows["instrument"] == 1) & (rows["price"] > 0)]["price"] * 0.01
    assert np.abs(eth / 3_000.0 - 1.0).max() < 0.01


@pytest.mark.parametrize("price", [0.0, -5.0, float("nan"), float("inf"), 1.0])
def test_a_start_price_that_is_none(price: float) -> None:
    with pytest.raises(SettingError, match="start price of ETH"):
        SimulatedMarket(1, START, prices={"ETH": price})


def test_the_catalog() -> None:
    catalog = SimulatedMarket(1, START).catalog
    assert [source.name for source in catalog.sources] == [f"sim-{x}" for x in "abcde"]
    assert len(catalog.instruments) == len(catalog.books) == 10
    assert {i.kind for i in catalog.instruments} == {Kind.LINEAR}
    assert {i.consensus_group for i in catalog.instruments} == {"BTC", "ETH"}
    assert {i.settle_asset for i in catalog.instruments} == {"USD"}
    assert catalog.instruments[0].name == "BTC/USD@sim-a"
    assert catalog.numeraire("auto") == "USD"


def test_the_feed_keeps_the_clock_s_time() -> None:
    clock = TapeClock(START)
    feed = SimulatedFeed(SimulatedMarket(9, START), clock)
    got = []
    while clock.now() < START + 3 * SECOND:
        rows = feed.read(1.0)
        assert rows is not None
        assert len(rows)
        assert rows["recv_ts"][-1] <= clock.now()
        got.append(rows)
        clock.wait(clock.now() + 5 * MILLISECOND)
    got.append(feed.read(0.0))
    whole = SimulatedMarket(9, START).generate(clock.now())
    assert np.concatenate(got).tobytes() == whole.tobytes()
    feed.close()
    assert feed.read(1.0) is None


def test_a_feed_begins_behind_the_tape_that_it_goes_on() -> None:
    clock = TapeClock(START + 900 * SECOND)
    feed = SimulatedFeed(SimulatedMarket(1, START), clock)
    feed.follow(START - 1)
    feed.follow(START + 880 * SECOND + 7)
    rows = feed.history(clock.now())
    assert rows["recv_ts"].min() > START + 880 * SECOND
    assert set(rows["instrument"]) == set(range(len(feed.catalog.instruments)))
    again = SimulatedMarket(1, START + 880 * SECOND + 7)
    assert rows.tobytes() == again.generate(clock.now()).tobytes()


def test_a_feed_that_was_held_up_catches_up_in_pieces() -> None:
    clock = TapeClock(START)
    feed = SimulatedFeed(SimulatedMarket(9, START), clock)
    clock.wait(START + 25 * SECOND)
    reads = [feed.read(0.0) for _ in range(3)]
    assert all(rows is not None and len(rows) for rows in reads)
    assert reads[0] is not None
    assert reads[0]["recv_ts"][-1] <= START + 10 * SECOND
    last = feed.read(0.0)
    assert last is not None
    assert len(last) == 0
