"""Tapes of several venues become one; what does not go together is refused."""

import numpy as np
import pytest

from seawall.core.errors import DataError, SettingError
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.ingestion.merging import FOREVER, between, merged, span_of
from seawall.ingestion.tables import Imported, fit_decimals
from tests.recorded import BAR_SETS, BOOKS, recorded
from tests.tapes import START, Rows, at, depth, snapshot, tape, tick, trade

HOUR = 3_600_000_000_000


def part(venue: str, *rows: Rows, lot: str = "0.001", span: int = 0) -> Imported:
    """What an importer has read of one venue that trades BTC/USD."""
    one = Instrument(
        venue=venue, symbol="BTC/USD", kind=Kind.SPOT, base="BTC", quote="USD", tick="0.01", lot=lot
    )
    source = Source(name=venue, venue=venue, bar_span=span)
    catalog = Catalog(fit_decimals([one]), (source,), ((0, 0),)).check()
    return Imported(catalog, tape(*rows), (f"of {venue}",))


def test_rows_stand_in_the_order_of_time_and_point_at_their_own_venue() -> None:
    a = part("a", trade(at(1), 1, 0, 10, 1), trade(at(3), 2, 0, 10, 2))
    b = part("b", trade(at(2), 1, 1, 11, 3), trade(at(3), 2, 1, 11, 4), tick(at(4)))
    whole = merged([a, b], ["a", "b"])
    assert whole.rows["recv_ts"].tolist() == [at(1), at(2), at(3), at(3), at(4)]
    assert whole.rows["source"].tolist() == [0, 1, 0, 1, 0]
    assert whole.rows["instrument"].tolist() == [0, 1, 0, 1, 0]
    assert whole.rows["size"][:4].tolist() == [1, 3, 2, 4]
    assert [one.name for one in whole.catalog.instruments] == ["BTC/USD@a", "BTC/USD@b"]
    assert {one.consensus_group for one in whole.catalog.instruments} == {"BTC"}
    assert whole.catalog.books == ((0, 0), (1, 1))
    assert whole.notes == ("of a", "of b")
    assert b.rows["source"].tolist() == [0, 0, 0]


def test_the_smallest_units_are_those_of_the_finest_part() -> None:
    rows = trade(at(1), 1, 0, 10, 1)
    whole = merged([part("a", rows), part("b", rows, lot="0.0000000001")], ["a", "b"])
    assert [one.settle_decimals for one in whole.catalog.instruments] == [12, 12]
    assert [one.base_decimals for one in whole.catalog.instruments] == [10, 10]


def test_an_instrument_on_two_tapes_is_refused() -> None:
    one = part("a", trade(at(1), 1, 0, 10, 1))
    with pytest.raises(DataError, match=r"second: BTC/USD@a is also on first; .* --venue"):
        merged([one, one], ["first", "second"])


def test_two_tapes_that_disagree_on_a_source_are_refused() -> None:
    rows = trade(at(1), 1, 0, 10, 1)
    first, second = part("a", rows), part("a", rows, span=60)
    renamed = Catalog(part("b", rows).catalog.instruments, second.catalog.sources, ((0, 0),))
    with pytest.raises(DataError, match="second: the source a has bars of another span"):
        merged([first, Imported(renamed, second.rows)], ["first", "second"])


def test_a_tape_is_cut_to_the_times_asked_for() -> None:
    one = part("a", *(trade(at(k), k, 0, 10, 1) for k in range(1, 9)))
    kept = between(one, at(3), at(6), "a")
    assert kept.rows["recv_ts"].tolist() == [at(3), at(4), at(5)]
    assert np.array_equal(between(one, -FOREVER, FOREVER, "a").rows, one.rows)
    with pytest.raises(DataError, match="no rows are left"):
        between(one, at(20), at(30), "a")


def test_a_book_keeps_its_front() -> None:
    book = snapshot(at(1), 1, {99: 5}, {101: 5})
    one = part("a", book, depth(at(2), 2, (0, 98, 1)), depth(at(5), 3, (0, 97, 1)))
    assert len(between(one, at(1), at(3), "a").rows) == len(book) + 1
    with pytest.raises(DataError, match="a: holds order books, which build on the rows before"):
        between(one, at(2), at(9), "a")


def test_times_are_utc_unless_they_say_otherwise() -> None:
    day = START // (24 * HOUR) * 24 * HOUR
    assert span_of("2023-11-14", "2023-11-14T02:00+01:00") == (day, day + HOUR)
    assert span_of("", "") == (-FOREVER, FOREVER)
    with pytest.raises(SettingError, match="--until 'x' is not a time"):
        span_of("", "x")
    with pytest.raises(SettingError, match="is not after --from"):
        span_of("2023-11-14", "2023-11-14")


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("name", "sources", "rows"),
    [
        ("depeg-2023", 4, 283_168),
        ("venues-2022", 5, 23_044),
        ("spot-2017", 2, 34_556),
        ("perpetuals-15m", 2, 767_576),
        (BOOKS, 3, 1_828_356),
    ],
)
def test_the_recorded_sets_price_one_asset_in_one_group(name: str, sources: int, rows: int) -> None:
    read = recorded(name)
    catalog = read.catalog
    assert (len(catalog.sources), len(read.rows)) == (sources, rows)
    assert {one.consensus_group for one in catalog.instruments} == {"BTC"}
    assert np.unique(read.rows["source"]).tolist() == list(range(sources))
    assert (np.diff(read.rows["recv_ts"]) >= 0).all()
    assert catalog.numeraire("auto") in ("USD", "USDT")
    if name in BAR_SETS:
        assert len({source.bar_span for source in catalog.sources}) == 1
