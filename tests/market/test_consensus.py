"""Consensus: one vote per source, whatever a minority says; quote assets marked by cross rates."""

import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.frames import FrameFlag
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from tests.tapes import COMPILED, Rows, at, catalog_of, perceived, quote, snapshot, tick

USD = ("USD",)
FIVE = catalog_of(USD, USD, USD, USD, USD)


def told(catalog: Catalog, mids: dict[int, int], seconds: float = 0.5) -> list[Rows]:
    """A quote of each book (by number) around its mid."""
    return [
        quote(at(seconds), 1 + int(seconds), mid - 1, mid + 1, book=catalog.books[number])
        for number, mid in mids.items()
    ]


def last_frames(catalog: Catalog, *messages: Rows, numeraire: str = "USD") -> Rows:
    """The frames of the last boundary, one per book."""
    frames, _ = perceived(catalog, np.concatenate(messages), numeraire=numeraire)
    return frames[frames["ts"] == frames["ts"].max()]


def after_one_second(catalog: Catalog, mids: dict[int, int]) -> Rows:
    return last_frames(catalog, *told(catalog, mids), tick(at(1.5)))


@pytest.mark.parametrize("mids", [[1000], [1000, 1010], [1000, 1010, 1050], [9, 5, 1000, 8, 7]])
def test_the_consensus_is_the_median_of_the_sources(mids: list[int]) -> None:
    frames = after_one_second(FIVE, dict(enumerate(mids)))
    assert set(frames["consensus"]) == {statistics.median(mids)}
    assert set(frames["votes"]) == {len(mids)}


@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_below_three_votes_a_frame_is_uncorroborated(sources: int) -> None:
    frames = after_one_second(FIVE, dict.fromkeys(range(sources), 1000))
    alone = (frames["flags"] & FrameFlag.UNCORROBORATED) > 0
    assert alone.tolist() == [sources < 3] * sources


def test_a_source_has_one_vote_however_many_books_it_has() -> None:
    catalog = Catalog(
        instruments=tuple(
            Instrument(
                venue=venue,
                symbol=symbol,
                kind=Kind.LINEAR,
                base="BTC",
                quote="USD",
                tick="1",
                lot="1",
            )
            for venue, symbol in [
                ("loud", "A"),
                ("x", "A"),
                ("loud", "B"),
                ("y", "A"),
                ("loud", "C"),
            ]
        ),
        sources=tuple(Source(name=name, venue=name) for name in ("loud", "x", "y")),
        books=((0, 0), (1, 1), (2, 0), (3, 2), (4, 0)),
    ).check()
    frames = after_one_second(catalog, {0: 2000, 2: 2100, 4: 2200, 1: 1000, 3: 1010})
    assert set(frames["votes"]) == {3}
    assert set(frames["consensus"]) == {1010}
    frames = after_one_second(catalog, {0: 2000, 2: 2100, 4: 2200})
    assert set(frames["votes"]) == {1}
    assert set(frames["consensus"]) == {2100}  # the mean of its books


def test_assets_have_a_consensus_each() -> None:
    catalog = Catalog(
        instruments=tuple(
            Instrument(
                venue="v", symbol=base, kind=Kind.SPOT, base=base, quote="USD", tick="1", lot="1"
            )
            for base in ("BTC", "ETH")
        ),
        sources=(Source(name="v", venue="v"),),
        books=((0, 0), (1, 0)),
    )
    assert after_one_second(catalog, {0: 1000, 1: 50})["consensus"].tolist() == [1000, 50]


@settings(max_examples=60 if COMPILED else 10, deadline=None)
@given(
    honest=st.lists(st.integers(900, 1100), min_size=4, max_size=4),
    lie=st.integers(3, 1 << 39),
    liar=st.integers(0, 4),
)
def test_a_liar_among_five_cannot_move_the_consensus_out_of_the_honest_range(
    honest: list[int], lie: int, liar: int
) -> None:
    mids = [*honest[:liar], lie, *honest[liar:]]
    frames = after_one_second(FIVE, dict(enumerate(mids)))
    assert set(frames["votes"]) == {5}
    assert min(honest) <= frames["consensus"][0] <= max(honest)


def test_how_often_a_source_speaks_gives_it_no_more_weight() -> None:
    flood = [quote(at(0.5), 2 + k, 4999, 5001, book=(4, 4)) for k in range(500)]
    mids = {0: 1000, 1: 1001, 2: 1002, 3: 1003, 4: 5000}
    frames = last_frames(FIVE, *told(FIVE, mids), *flood, tick(at(1.5)))
    assert set(frames["consensus"]) == {1002}


def test_stale_and_invalid_books_do_not_vote() -> None:
    three = catalog_of(USD, USD, USD)
    early = told(three, {0: 1000, 1: 1100, 2: 1300})
    later = told(three, {0: 1010, 1: 1100}, seconds=4.5)
    frames = last_frames(three, *early, *later, tick(at(6.5)))
    assert frames["votes"].tolist() == [2, 2, 2]
    assert frames["consensus"].tolist() == [1055] * 3
    assert bool(frames["flags"][2] & FrameFlag.STALE)
    one_sided = quote(at(4.6), 9, 1098, 1099, sizes=(1, 0), book=(1, 1))
    frames = last_frames(three, *early, *later, one_sided, tick(at(6.5)))
    assert frames["votes"].tolist() == [1, 1, 1]
    assert frames["consensus"].tolist() == [1010] * 3


def test_where_nobody_votes_there_is_no_consensus() -> None:
    one = catalog_of(USD)
    frames, perception = perceived(one, np.concatenate([*told(one, {0: 1000}), tick(at(9.5))]))
    assert frames["votes"].tolist() == [1] * 5 + [0] * 4
    assert frames["consensus"].tolist() == [1000] * 5 + [0] * 4
    assert frames["deviation_bps"].tolist() == [0] * 9
    assert perception.market.asset_marks()["BTC"] == 1000  # the last one known


def test_the_deviation_is_the_distance_from_the_consensus() -> None:
    frames = after_one_second(FIVE, {0: 1000, 1: 1000, 2: 1010})
    assert frames["deviation_bps"].tolist() == pytest.approx([0, 0, 100])


# Quote assets


def test_a_quote_asset_is_marked_by_cross_rates() -> None:
    catalog = catalog_of(("USD", "USDT"), ("USD", "USDT"), ("USDT",))
    mids = {0: 1000, 1: 1250, 2: 1000, 3: 1250, 4: 1300}
    frames = after_one_second(catalog, mids)
    assert frames["quote_mark"].tolist() == [1, 0.8, 1, 0.8, 0.8]
    assert set(frames["votes"]) == {3}  # the third source votes too, by the mark
    assert set(frames["consensus"]) == {1000}
    assert frames["deviation_bps"].tolist() == pytest.approx([0, 0, 0, 0, 400])


def test_the_mark_of_a_quote_asset_is_the_mean_over_groups() -> None:
    pairs = [("BTC", "USD"), ("BTC", "USDT"), ("ETH", "USD"), ("ETH", "USDT")]
    catalog = Catalog(
        instruments=tuple(
            Instrument(
                venue="v",
                symbol=f"{base}/{unit}",
                kind=Kind.SPOT,
                base=base,
                quote=unit,
                tick="1",
                lot="1",
            )
            for base, unit in pairs
        ),
        sources=(Source(name="v", venue="v"),),
        books=tuple((k, 0) for k in range(4)),
    ).check()
    frames = after_one_second(catalog, {0: 1000, 1: 1250, 2: 90, 3: 100})
    assert frames["quote_mark"].tolist() == pytest.approx([1, 0.85, 1, 0.85])


def test_a_stablecoin_is_not_assumed_to_be_one() -> None:
    catalog = catalog_of(USD, ("USDT",))
    silent_usd = after_one_second(catalog, {1: 1000})
    assert silent_usd["quote_mark"].tolist() == [0]
    assert silent_usd["votes"].tolist() == [0]
    assert silent_usd["consensus"].tolist() == [0]
    assert silent_usd["deviation_bps"].tolist() == [0]
    both = after_one_second(catalog, {0: 900, 1: 1000})
    assert both["quote_mark"].tolist() == [1, 0.9]


def test_a_tape_all_in_one_asset_can_be_marked_in_it() -> None:
    catalog = catalog_of(("USDT",), ("USDT",), ("USDT",))
    mids: dict[int, Any] = {0: 1000, 1: 1001, 2: 1002}
    frames = last_frames(catalog, *told(catalog, mids), tick(at(1.5)), numeraire="USDT")
    assert set(frames["quote_mark"]) == {1}
    assert set(frames["consensus"]) == {1001}


def test_a_book_that_was_voided_does_not_vote() -> None:
    catalog = catalog_of(USD, USD)
    books = [
        snapshot(at(0.5), 1, {999: 1}, {1001: 1}),
        snapshot(at(0.5), 1, {1999: 1}, {2001: 1}, book=(1, 1)),
    ]
    crossed = snapshot(at(1.5), 2, {999: 1}, {998: 1})
    frames = last_frames(catalog, *books, crossed, tick(at(2.5)))
    assert frames["votes"].tolist() == [1, 1]
    assert frames["consensus"].tolist() == [2000, 2000]


def test_a_frame_counts_time_from_the_last_message() -> None:
    frames = last_frames(FIVE, *told(FIVE, {0: 1000}, 0.25), tick(at(1.5)))
    assert frames["age"].tolist() == [0.75]
    assert frames["ts"].tolist() == [at(0) + SECOND]
