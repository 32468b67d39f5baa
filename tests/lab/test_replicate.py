"""Replicas tell one market: sound tapes, as unlike as they should be, the same bytes always."""

import itertools
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.admission import Admission, AdmissionShape
from seawall.core.clock import SECOND
from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventKind, Raw
from seawall.core.instruments import Catalog, Kind
from seawall.core.order_book import new_ladders
from seawall.ingestion.inspection import Inspection, inspect_rows
from seawall.ingestion.tables import Imported
from seawall.lab import replicate, replicate_kernels
from seawall.lab.replicate import (
    PERSISTENCE,
    TAU,
    THIN,
    WHITE,
    Original,
    ReplicaShape,
    Replication,
    replicated,
    robust_scale,
    survey,
)
from tests.recorded import BOOKS, recorded
from tests.tapes import (
    COMPILED,
    START,
    Rows,
    at,
    bar,
    catalog_of,
    depth,
    down,
    message,
    pieces_of,
    quote,
    simulated,
    snapshot,
    tape,
    trade,
)

MINUTE = 60 * SECOND
SECONDS = 40 if COMPILED else 12
EXACT: dict[str, Any] = {"tau": 0.0, "thin": 0.0}


@lru_cache(maxsize=1)
def market() -> tuple[Catalog, Raw]:
    """One source of the simulated market, two instruments, with its outages."""
    from seawall.ingestion.simulated import SOURCES

    return simulated(SECONDS, sources=SOURCES[:1], outages_per_hour=200.0, outage_s=(2.0, 3.0))


def replicas(
    catalog: Catalog, *blocks: Rows, seed: int = 3, names: tuple[str, ...] = (), **shape: Any
) -> tuple[Catalog, Raw]:
    """Catalog and rows of the replicas."""
    rows = [Raw(block) for block in blocks]
    one = Replication(catalog, survey(catalog, rows, names), ReplicaShape(**shape), seed)
    return one.catalog, tape(*replicated(rows, one))


def bars(count: int = 400, seed: int = 1, volume: int = 1_000) -> tuple[Catalog, Raw]:
    """Minute bars of a random walk, 10 bps a minute."""
    random = np.random.default_rng(seed)
    close = np.rint(6e6 * np.exp(np.cumsum(1e-3 * random.standard_normal(count + 1)))).astype(int)
    rows = []
    for number in range(count):
        first, last = int(close[number]), int(close[number + 1])
        prices = (first, max(first, last) + 50, min(first, last) - 50, last)
        rows.append(bar(START + (number + 1) * MINUTE, MINUTE, prices, volume + number))
    return catalog_of(("USD",), bar_span=MINUTE), tape(*rows)


def inspected(catalog: Catalog, rows: Raw) -> Inspection:
    return inspect_rows(catalog, [rows])


def mids(catalog: Catalog, rows: Raw) -> dict[int, tuple[Rows, Rows]]:
    """Book → numbers of its seconds and its log-mid at their ends."""
    books = np.zeros(len(catalog.books), replicate_kernels.BOOK)
    books["frame"] = [catalog.sources[s].bar_span or SECOND for _, s in catalog.books]
    samples = np.empty((len(rows), 3), np.int64)
    book_of = catalog.book_of.astype(np.int64)
    count = replicate_kernels.survey(new_ladders(len(books)), books, book_of, rows, samples)
    found = samples[:count]
    own = [found[found[:, 0] == book] for book in range(len(books))]
    return {book: (one[:, 1], np.log(one[:, 2])) for book, one in enumerate(own)}


# -- what a replica's tape is --------------------------------------------------------------------


def test_each_source_is_a_venue_with_its_own_instrument_in_the_group_of_the_recorded_one() -> None:
    catalog = replicate.replica_catalog(market()[0], survey(market()[0], [market()[1]]), sources=3)
    assert [source.name for source in catalog.sources] == ["r1", "r2", "r3"]
    assert [one.name for one in catalog.instruments[:3]] == [
        "BTC/USD@r1",
        "ETH/USD@r1",
        "BTC/USD@r2",
    ]
    assert {one.consensus_group for one in catalog.instruments} == {"BTC", "ETH"}
    assert catalog.books == ((0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2))


def test_spot_becomes_a_linear_perpetual_so_that_a_position_may_be_short() -> None:
    catalog, _ = replicas(*bars(), sources=1)
    one = catalog.instruments[0]
    assert (one.kind, one.settle_asset, one.tick) == (Kind.LINEAR, "USD", "1")


def test_books_hold_together_without_gap_break_or_crossing() -> None:
    catalog, rows = replicas(*market(), thin=0.4)
    report = inspected(catalog, rows)
    assert len(report.books) == 10
    for book in report.books:
        assert book.messages > 20
        assert (book.sequence_breaks, book.duplicates, book.crossed) == (0, 0, 0)
    assert [source.gap_count for source in report.sources] == [0] * 5
    assert (np.diff(rows["recv_ts"]) >= 0).all()


def test_admission_lets_every_row_in() -> None:
    catalog, rows = replicas(*market())
    admitted = Admission(catalog, AdmissionShape()).admit(rows)
    assert (admitted.reasons == 0).all()


@settings(max_examples=10 if COMPILED else 2, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=5))
def test_the_same_bytes_however_the_tape_is_cut(cuts: list[float]) -> None:
    catalog, rows = market()
    _, whole = replicas(catalog, rows)
    one = Replication(catalog, survey(catalog, [rows]), ReplicaShape(), 3)
    cut = tape(*replicated(pieces_of(rows, cuts), one))
    assert cut.tobytes() == whole.tobytes()


def test_rows_of_one_moment_keep_their_order_when_the_cut_runs_through_it() -> None:
    catalog = catalog_of(("USD",), bar_span=MINUTE)
    other = msgspec.structs.replace(catalog.instruments[0], symbol="ETH/USD", base="ETH")
    both = Catalog((*catalog.instruments, other), catalog.sources, ((0, 0), (1, 0))).check()
    _, one = bars(30)
    second = one.copy()
    second["instrument"] = 1
    rows = Raw(np.concatenate([one.reshape(-1, 4), second.reshape(-1, 4)], axis=1).reshape(-1))
    _, whole = replicas(both, rows)
    assert replicas(both, rows[:100], rows[100:])[1].tobytes() == whole.tobytes()


def test_another_seed_gives_another_tape() -> None:
    assert replicas(*bars(), seed=1)[1].tobytes() != replicas(*bars(), seed=2)[1].tobytes()


def test_the_randomness_of_a_message_does_not_depend_on_the_room_for_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, whole = replicas(*market())
    monkeypatch.setattr(replicate, "ROOM", 1)
    assert replicas(*market())[1].tobytes() == whole.tobytes()


# -- how the sources differ ----------------------------------------------------------------------


def test_without_noise_and_thinning_every_book_is_the_recorded_one() -> None:
    catalog, rows = market()
    own_catalog, own = replicas(catalog, rows, sources=2, **EXACT)
    recorded_tops, tops = last_tops(catalog, rows), last_tops(own_catalog, own)
    assert tops == {
        0: recorded_tops[0],
        1: recorded_tops[1],
        2: recorded_tops[0],
        3: recorded_tops[1],
    }


def last_tops(catalog: Catalog, rows: Raw) -> dict[int, list[int]]:
    """Book → best bid and ask in ticks after the last row."""
    books = np.zeros(len(catalog.books), replicate_kernels.BOOK)
    ladders = new_ladders(len(books))
    for row in rows:
        book = int(catalog.book_of[row["instrument"], row["source"]])
        if row["kind"] in (EventKind.DEPTH, EventKind.SNAPSHOT):
            replicate_kernels.take(ladders[book], books[book], row)
    return {book: ladders["best"][book].tolist() for book in range(len(books))}


@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_the_residual_is_as_large_as_tau_says_and_as_white(tau: float) -> None:
    catalog, rows = replicas(*bars(3_000), sources=4, tau=tau)
    closes = mids(catalog, rows)
    scale = robust_scale(np.diff(mids(*bars(3_000))[0][1]))
    for a, b in itertools.combinations(range(4), 2):
        difference = np.diff(closes[a][1] - closes[b][1])
        assert robust_scale(difference) / np.sqrt(2) == pytest.approx(tau * scale, rel=0.08)
        assert lagged(difference, 1) == pytest.approx(-WHITE / 2, abs=0.06)


def test_the_noise_of_books_is_tau_of_their_second() -> None:
    if not COMPILED:
        pytest.skip("minutes of books take long without the compiler")
    from seawall.ingestion.simulated import SOURCES

    catalog, rows = simulated(600, sources=SOURCES[:1], outages_per_hour=0.0)
    (original, _) = survey(catalog, [rows])
    own_catalog, own = replicas(
        catalog, rows, sources=2, tau=0.5, thin=0.0, latency_ms=(0.01, 0.01)
    )
    seconds = mids(own_catalog, own)
    _, first, second = np.intersect1d(seconds[0][0], seconds[2][0], return_indices=True)
    difference = np.diff(seconds[0][1][first] - seconds[2][1][second])
    assert robust_scale(difference) / np.sqrt(2) == pytest.approx(0.5 * original.scale, rel=0.15)


def test_delays_are_lognormal_about_each_sources_median_and_keep_the_order() -> None:
    steps = [depth(at(k / 4), 2 + k, (0, 98, 1 + k % 3)) for k in range(2_000 if COMPILED else 200)]
    book = tape(snapshot(at(0), 1, {99: 5}, {101: 5}), *steps)
    _, rows = replicas(catalog_of(("USD",)), book, **EXACT, latency_ms=(5.0, 80.0))
    for source, median in enumerate((5, 10, 20, 40, 80)):
        own = rows[rows["source"] == source]
        delay = (own["recv_ts"] - own["exch_ts"]) / 1e6
        assert (delay > 0).all()
        assert np.median(delay) == pytest.approx(median, rel=0.15)
        assert np.std(np.log(delay)) == pytest.approx(0.35, rel=0.2)
        assert (np.diff(own["sequence"]) >= 0).all()


def test_a_thinned_source_skips_messages_and_its_book_catches_up_with_the_next() -> None:
    count = 600 if COMPILED else 150
    steps = [depth(at(k / 4), 2 + k, (0, 90 - k % 8, 1 + k)) for k in range(count)]
    book = tape(snapshot(at(0), 1, {99: 5}, {101: 5}), *steps)
    catalog, rows = replicas(catalog_of(("USD",)), book, tau=0.0, thin=0.5, sources=3)
    for one in inspected(catalog, rows).books:
        assert one.messages == pytest.approx(count / 2, rel=0.25)
        assert one.sequence_breaks == 0
    assert set(last_sizes(rows, 0)) <= {5, *range(count - 16, count + 1)}


def last_sizes(rows: Raw, source: int) -> list[int]:
    """The sizes that a source's bids have in the end."""
    bids = rows[
        (rows["source"] == source) & (rows["kind"] == EventKind.DEPTH) & (rows["side"] == 0)
    ]
    return [size for size in dict(zip(bids["price"], bids["size"], strict=True)).values() if size]


def test_trades_are_shared_out_to_the_last_lot() -> None:
    trades = [trade(at(k), k + 1, k % 2, 100, 7 * k + 1) for k in range(1, 60)]
    book = tape(
        snapshot(at(0), 1, {99: 5}, {101: 5}),
        *(depth(at(k / 2), 2 + k, (0, 99 - k % 2, 4)) for k in range(2)),
    )
    steady = [depth(at(1 + k), 4 + k, (0, 97, 1 + k), (1, 101 + k % 2, k % 3)) for k in range(59)]
    mixed = tape(book, *itertools.chain.from_iterable(zip(trades, steady, strict=True)))
    for thin in (0.0, 0.8):
        _, rows = replicas(catalog_of(("USD",)), mixed, tau=0.0, thin=thin)
        told = rows[rows["kind"] == EventKind.TRADE]
        assert (told["size"] > 0).all()
        assert told["size"].sum() == sum(7 * k + 1 for k in range(1, 60))
        for side in (0, 1):
            assert told["size"][told["side"] == side].sum() == sum(
                7 * k + 1 for k in range(1, 60) if k % 2 == side
            )


def test_a_trade_at_the_touch_is_told_at_the_touch_of_each_sources_own_book() -> None:
    steps = []
    for k in range(60):
        mid = 6_000_000 + 900 * (k * k % 7)
        steps.append(snapshot(at(k), 2 * k + 1, {mid - 10: 5}, {mid + 10: 5}))
        steps.append(trade(at(k + 0.5), k + 1, 0, mid + 10, 1_000_000))
    _, rows = replicas(catalog_of(("USD",)), tape(*steps), tau=2.0, sources=2, thin=0.0)
    for source in range(2):
        own = rows[rows["source"] == source]
        asks = own[(own["kind"] == EventKind.DEPTH) & (own["side"] == 1)]
        trades = own[own["kind"] == EventKind.TRADE]
        assert np.array_equal(trades["price"], asks["price"])
        assert len(set((trades["price"] % 900).tolist())) > 20


def test_a_bar_stays_a_bar_at_its_close_and_volume_is_shared_out() -> None:
    catalog, rows = bars(60)
    _, told = replicas(catalog, rows, tau=2.0)
    assert len(told) == 5 * len(rows)
    for source in range(5):
        own = told[told["source"] == source].reshape(-1, 4)
        assert np.array_equal(own["recv_ts"].ravel(), rows["recv_ts"])
        assert np.array_equal(own["exch_ts"].ravel(), rows["exch_ts"])
        low = np.minimum(own["price"][:, 0], own["price"][:, 3])
        assert (own["price"][:, 1] >= np.maximum(own["price"][:, 0], own["price"][:, 3])).all()
        assert (own["price"][:, 2] <= low).all()
        assert own["size"][:, 3].min() > 0
    assert told["size"].sum() == rows["size"].sum()


def test_best_bid_and_ask_are_told_where_there_is_no_depth_and_only_there() -> None:
    quotes = [quote(at(k / 2), k + 1, 6_000 + k % 7, 6_002 + k % 7, (3, 4)) for k in range(80)]
    catalog, rows = replicas(catalog_of(("USD",)), tape(*quotes), sources=2)
    assert set(rows["kind"].tolist()) == {EventKind.QUOTE}
    pairs = rows.reshape(-1, 2)
    assert (pairs["price"][:, 1] - pairs["price"][:, 0] == 2).all()
    assert inspected(catalog, rows).books[0].sequence_breaks == 0
    book = snapshot(at(0), 1, {99: 5}, {101: 5})
    moves = [depth(at(k / 2), 2 + k, (0, 98, 1 + k)) for k in range(40)]
    _, rows = replicas(catalog_of(("USD",)), tape(book, *moves, quotes[-1]))
    assert EventKind.QUOTE not in rows["kind"].tolist()


def test_when_the_recorded_source_goes_all_go_and_come_back_with_a_snapshot() -> None:
    def market_from(start: float, sequence: int) -> list[Rows]:
        diffs = [depth(at(start + k / 2), sequence + k, (0, 98, k)) for k in range(1, 30)]
        return [snapshot(at(start), sequence, {99: 5}, {101: 5}), *diffs]

    gone = tape(*market_from(0, 1), down(at(20)), *market_from(21, 100))
    _, rows = replicas(catalog_of(("USD",)), gone, sources=2, thin=0.5)
    for source in range(2):
        own = rows[rows["source"] == source]
        gone_at = int(np.flatnonzero(own["kind"] == EventKind.DOWN)[0])
        assert own["kind"][gone_at + 1] == EventKind.SNAPSHOT
        assert (own["kind"] == EventKind.SNAPSHOT).sum() == 2


def test_rows_that_no_market_sends_are_left_out() -> None:
    good = [depth(at(k / 2), 2 + k, (0, 98, 1 + k)) for k in range(40)]
    bad = [
        message(at(20), 50, [(int(EventKind.TRADE), 0, 0, 5)]),
        message(at(20), 51, [(int(EventKind.DEPTH), 3, 99, 5)], previous=41),
        message(at(20), 52, [(int(EventKind.DEPTH), 0, 500, 5)], previous=51),
    ]
    book = tape(snapshot(at(0), 1, {99: 5}, {101: 5}), *good, *bad)
    catalog, rows = replicas(catalog_of(("USD",)), book, **EXACT)
    assert EventKind.TRADE not in rows["kind"].tolist()
    assert sum(one.crossed for one in inspected(catalog, rows).books) == 0


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "what"),
    [
        ({"sources": 0}, "--sources is 0"),
        ({"tau": -0.1}, "--tau is -0.1"),
        ({"tau": float("nan")}, "--tau is nan"),
        ({"thin": 1.0}, "--thin is 1"),
        ({"latency_ms": (5.0, 0.0)}, "--latency-ms is 0"),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused(shape: dict[str, Any], what: str) -> None:
    with pytest.raises(SettingError, match=what):
        ReplicaShape(**shape).check()


def test_delays_are_read_from_one_or_two_numbers() -> None:
    assert replicate.parse_latencies("5,60") == (5.0, 60.0)
    assert replicate.parse_latencies("20") == (20.0, 20.0)
    for text in ("", "a", "1,2,3"):
        with pytest.raises(SettingError, match="--latency-ms"):
            replicate.parse_latencies(text)


def test_a_tape_that_cannot_be_told_again_is_refused() -> None:
    catalog, rows = bars(60)
    with pytest.raises(DataError, match=r"unknown instrument 'x'; the tape has BTC/USD@v0"):
        survey(catalog, [rows], ["x"])
    with pytest.raises(DataError, match=r"too few to measure"):
        survey(catalog, [Raw(rows[:40])])
    two = catalog_of(("USD",), ("USD",), bar_span=MINUTE)
    with pytest.raises(
        DataError, match=r"both of the group BTC; choose .* --instrument BTC/USD@v0"
    ):
        survey(two, [rows])
    only = survey(two, [rows], ["BTC/USD@v0"])
    assert [one.name for one in only] == ["BTC/USD@v0"]


def test_a_price_that_mostly_stands_still_still_has_a_scale() -> None:
    values = np.zeros(100)
    values[:10] = 1e-3
    assert robust_scale(values) == pytest.approx(1.2533e-4)
    assert robust_scale(np.random.default_rng(0).standard_normal(20_000)) == pytest.approx(
        1.0, rel=0.03
    )


# -- recorded markets ----------------------------------------------------------------------------


def lagged(values: Rows, lag: int) -> float:
    """Autocorrelation of values cut at 5 scales about their median."""
    cut = 5.0 * robust_scale(values)
    centred = np.clip(values - np.median(values), -cut, cut)
    return float((centred[lag:] * centred[:-lag]).mean() / (centred * centred).mean())


def fitted(name: str) -> Rows:
    """Medians over pairs: residual bps, tau, autocorrelation, persistence; and share of stills."""
    read = recorded(name)
    span = read.catalog.sources[0].bar_span
    pairs, stills = [], []
    for one, other in itertools.combinations(closes(read), 2):
        ts, first, second = np.intersect1d(one[0], other[0], return_indices=True)
        levels = one[1][first], other[1][second]
        follows = np.diff(ts) == span
        a, b = (np.diff(level)[follows] for level in levels)
        residual, moves = robust_scale(a - b) / np.sqrt(2), robust_scale((a + b) / 2)
        apart = levels[0] - levels[1]
        kept = max(0.0, lagged(apart, 10) / lagged(apart, 1)) ** (1 / 9)
        pairs.append((residual * 1e4, residual / moves, lagged(a - b, 1), kept))
        stills += [np.mean(a[b != 0] == 0), np.mean(b[a != 0] == 0)]
    return np.array([*np.median(pairs, axis=0), np.median(stills)])


def closes(read: Imported) -> list[tuple[Rows, Rows]]:
    """Receive times and log-closes of each book."""
    found = []
    for instrument, _ in read.catalog.books:
        own = read.rows["instrument"] == instrument
        own = read.rows[own & (read.rows["kind"] == EventKind.BAR_CLOSE)]
        tick = read.catalog.instruments[instrument].tick_float
        found.append((own["recv_ts"], np.log(own["price"] * tick)))
    return found


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("venues-2022", (1.09, 0.485, -0.40, 0.986, 0.12)),
        ("depeg-2023", (4.12, 0.91, -0.30, 0.999, 0.05)),
        ("spot-2017", (7.76, 1.12, -0.11, 0.996, 0.15)),
        ("perpetuals-15m", (0.81, 0.05, -0.40, 0.993, 0.00)),
    ],
)
def test_the_fit_that_the_module_states_is_what_the_recordings_say(
    name: str, table: tuple[float, ...]
) -> None:
    assert fitted(name) == pytest.approx(table, abs=0.0055)


def test_the_defaults_are_those_of_the_five_sources_of_2022() -> None:
    assert (TAU, WHITE, PERSISTENCE, THIN) == (0.485, -2 * -0.40, 0.986, 0.12)


@pytest.mark.slow
@pytest.mark.skipif(not COMPILED, reason="half a million rows take an hour without the compiler")
@pytest.mark.recorded
def test_the_recorded_perpetual_of_2024_08_08_told_by_five() -> None:
    read = recorded(BOOKS)
    name = "BTCUSDT@binance-usdm"
    originals = survey(read.catalog, [Raw(read.rows)], [name])
    assert isinstance(originals[0], Original)
    one = Replication(read.catalog, originals, ReplicaShape(), 0)
    rows = tape(*replicated([Raw(read.rows)], one))
    report = inspected(one.catalog, rows)
    assert len(rows) > 1_500_000
    assert sum(b.sequence_breaks + b.duplicates + b.crossed for b in report.books) == 0
    assert sum(source.gap_count for source in report.sources) == 0
