"""Panel and consensus: held to the formulas written out, and to every lie that a few can tell."""

import itertools
import math
import statistics
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.consensus import FEATURES, HORIZON, LEVEL, PANEL_WIDTH, VOLUME, WIDTH
from seawall.core.frames import FRAME, FrameFlag
from seawall.core.instruments import Catalog
from seawall.market import Consensus, agreement
from tests.tapes import (
    COMPILED,
    Rows,
    carry,
    catalog_of,
    observed,
    perception,
    simulated,
    spoiled,
)

USD = ("USD",)
FIVE = catalog_of(USD, USD, USD, USD, USD)
SPAN = HORIZON // SECOND
VALID, RESET, BAR = int(FrameFlag.VALID), int(FrameFlag.RESET), int(FrameFlag.BAR)
ALONE = int(FrameFlag.UNCORROBORATED)


def consensus(catalog: Catalog, faulty: int = 1, cadence: int = SECOND) -> Consensus:
    groups = sorted({i.consensus_group for i in catalog.instruments})
    return Consensus(catalog, groups, cadence, faulty)


# --- the panel, written out ---


def said_in(frame: Any) -> dict[str, float]:
    """What one valid frame says, before any mean."""
    size = float(frame["bid_size"]) + float(frame["ask_size"])
    return {
        "value": frame["mid"] * frame["quote_mark"],
        "high": frame["high"] * frame["quote_mark"],
        "low": frame["low"] * frame["quote_mark"],
        "micro": (frame["micro"] - frame["mid"]) / frame["mid"],
        "imbalance": frame["imbalance"],
        "imbalance_5": frame["imbalance_5"],
        "ofi": min(1.0, max(-1.0, frame["ofi"] / size)) if size else 0.0,
        "spread": frame["spread_bps"] / 10_000,
        "volume": frame["buy_volume"] + frame["sell_volume"],
        "net": frame["buy_volume"] - frame["sell_volume"],
    }


def features_of(past: list[dict[str, float]], span: int) -> list[float]:
    """The PANEL_WIDTH columns of a source that has said all this since it was last silent."""
    newest = past[-1]
    level = [math.log(newest["value"]), newest["volume"]]
    if len(past) <= span:
        return [math.nan] * WIDTH + level
    window, before = past[-span:], past[-span - 1]
    volume = sum(one["volume"] for one in window)
    spread = statistics.fmean(one["spread"] for one in window)
    high, low = max(one["high"] for one in window), min(one["low"] for one in window)
    found = {
        name: statistics.fmean(one[name] for one in window)
        for name in ("micro", "imbalance", "imbalance_5", "ofi")
    }
    found["return"] = math.log(newest["value"] / before["value"]) / math.sqrt(span)
    found["position"] = (2 * newest["value"] - high - low) / (high - low) if high > low else 0.0
    found["flow"] = sum(one["net"] for one in window) / volume if volume else 0.0
    found["spread"] = math.log(spread) if spread > 0 else 0.0
    return [found[name] for name in FEATURES] + level


def panel_of(catalog: Catalog, frames: Rows, span: int) -> dict[tuple[int, str, str], list[float]]:
    """(boundary, group, source) → columns; a silent source has none."""
    past: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    sources = {
        (catalog.instrument_of(b).consensus_group, catalog.sources[s].name)
        for b, (_, s) in enumerate(catalog.books)
    }
    found = {}
    for ts in sorted(set(frames["ts"].tolist())):
        spoke = defaultdict(list)
        for frame in frames[frames["ts"] == ts]:
            book = int(frame["book"])
            source = catalog.sources[catalog.books[book][1]].name
            key = catalog.instrument_of(book).consensus_group, source
            if frame["flags"] & VALID and frame["mid"] > 0 and frame["quote_mark"] > 0:
                spoke[key].append(frame)
        for key in sources:
            if not spoke[key]:
                past[key].clear()
                continue
            if spoke[key][0]["flags"] & RESET:
                past[key].clear()
            said = [said_in(frame) for frame in spoke[key]]
            past[key].append({name: statistics.fmean(s[name] for s in said) for name in said[0]})
            found[(ts, *key)] = features_of(past[key], span)
    return found


MIXED = catalog_of(("USD", "USDT"), USD, ("USDT",), USD)


def agrees_with_the_formulas(
    catalog: Catalog, frames: Rows, cadence: int = SECOND
) -> tuple[int, int]:
    """Returns how many cells held a price, and how many held all features."""
    one = consensus(catalog, cadence=cadence)
    rows, panel = one.observe(frames)
    expected = panel_of(catalog, frames, max(1, HORIZON // cadence))
    some, whole = 0, 0
    for row, cells in zip(rows, panel, strict=True):
        group = one.groups[row["group"]]
        for slot, cell in enumerate(cells):
            names = one.sources[row["group"]]
            source = names[slot] if slot < len(names) else ""
            wanted = expected.get((int(row["ts"]), group, source), [math.nan] * PANEL_WIDTH)
            np.testing.assert_allclose(cell, wanted, rtol=1e-9, atol=1e-12)
            some += bool(np.isfinite(cell[LEVEL]))
            whole += bool(np.isfinite(cell).all())
    return some, whole


@pytest.mark.parametrize("nasty", [False, True])
def test_the_panel_equals_the_formulas_on_a_market(nasty: bool) -> None:
    catalog, rows = simulated(40 if COMPILED else 14)
    rows = spoiled(rows.copy(), seed=3) if nasty else rows
    frames = observed(perception(catalog), rows).frames
    some, whole = agrees_with_the_formulas(catalog, frames)
    assert some > 20
    assert nasty or whole > (20 if COMPILED else 0)


def made(seed: int, boundaries: int, catalog: Catalog = MIXED) -> Rows:
    """Frames with all that a stage may meet: silence, resets, bars, empty books, nothing traded."""
    random = np.random.default_rng(seed)
    books = len(catalog.books)
    frames = np.zeros(boundaries * books, FRAME)
    count = len(frames)
    frames["index"] = np.repeat(np.arange(boundaries), books)
    frames["ts"], frames["tape"] = SECOND * (1 + frames["index"]), 10 * frames["index"]
    frames["book"] = np.tile(np.arange(books), boundaries)
    frames["mid"] = 100.0 * np.exp(1e-3 * random.standard_normal(count))
    frames["quote_mark"] = np.where(frames["book"] % 2, 0.9, 1.0)
    frames["micro"] = frames["mid"] * (1.0 + 1e-4 * random.standard_normal(count))
    frames["high"] = frames["mid"] * (1.0 + 1e-3 * random.uniform(size=count))
    frames["low"] = frames["mid"] * (1.0 - 1e-3 * random.uniform(size=count))
    frames["spread_bps"] = random.choice([0.0, 1.0, 5.0], count)
    frames["bid_size"] = random.integers(0, 3, count)
    frames["ask_size"] = random.integers(0, 3, count)
    frames["ofi"] = random.normal(0.0, 3.0, count)
    for name in ("imbalance", "imbalance_5"):
        frames[name] = random.uniform(-1.0, 1.0, count)
    for name in ("buy_volume", "sell_volume"):
        frames[name] = random.integers(0, 2, count) * random.integers(0, 2, count)
    odd = random.uniform(size=count)
    frames["flags"] = VALID
    frames["flags"][odd < 0.03] = 0
    frames["flags"][(odd > 0.03) & (odd < 0.05)] |= RESET
    frames["flags"][(odd > 0.05) & (odd < 0.2)] |= BAR
    frames["mid"][odd > 0.995] = frames["quote_mark"][(odd > 0.99) & (odd < 0.995)] = 0.0
    return frames[odd < 0.985] if boundaries > 1 else frames


@settings(max_examples=15 if COMPILED else 2, deadline=None)
@given(seed=st.integers(0, 2**32), cadence=st.sampled_from([SECOND, 4 * SECOND, 60 * SECOND]))
def test_the_panel_equals_the_formulas_on_any_frames(seed: int, cadence: int) -> None:
    agrees_with_the_formulas(MIXED, made(seed, 60 if COMPILED else 15), cadence)


def test_a_source_has_features_from_when_it_has_spoken_for_the_whole_horizon() -> None:
    frames = made(1, 40, FIVE)
    frames = frames[np.isin(frames["book"], [0, 1])]
    frames["mid"], frames["quote_mark"], frames["flags"] = 100.0, 1.0, VALID
    frames = frames[(frames["book"] == 1) | ~np.isin(frames["index"], [20])]
    frames["flags"][(frames["book"] == 1) & (frames["index"] == 25)] |= RESET
    _, panel = consensus(FIVE).observe(frames)
    known = np.isfinite(panel[:, :2, :WIDTH]).all(axis=2)
    present = np.zeros((40, 2), bool)
    for frame in frames:
        present[frame["index"], frame["book"]] = True
    lived = np.zeros(2, int)
    for index in range(40):
        lived = np.where(present[index], lived + 1, 0)
        if index == 25 and present[25, 1]:
            lived[1] = 1
        assert known[index].tolist() == (lived > SPAN).tolist()


def test_a_bar_longer_than_the_horizon_is_compared_with_the_bar_before() -> None:
    one = consensus(FIVE, cadence=60 * SECOND)
    frames = made(1, 2, FIVE)[:0]
    frames = np.zeros(2, FRAME)
    frames["ts"], frames["flags"] = [60 * SECOND, 120 * SECOND], VALID | BAR
    frames["mid"], frames["quote_mark"] = [100.0, 110.0], 1.0
    frames["high"], frames["low"] = [100.0, 112.0], [100.0, 104.0]
    rows, panel = one.observe(frames)
    assert panel[1, 0, 0] == pytest.approx(math.log(1.1))
    assert panel[1, 0, 1] == pytest.approx((220 - 216) / 8)
    assert rows["flags"].tolist() == [VALID | RESET | BAR | ALONE, VALID | BAR | ALONE]


# --- the consensus, written out ---


@settings(max_examples=30 if COMPILED else 3, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    member=st.lists(st.booleans(), min_size=5, max_size=5),
    faulty=st.integers(0, 2),
)
def test_rows_are_medians_with_the_order_statistics_around_them(
    seed: int, member: list[bool], faulty: int
) -> None:
    one = consensus(FIVE, faulty)
    one.member[0] = member
    frames = made(seed, 40 if COMPILED else 13, FIVE)
    rows, panel = one.observe(frames)
    barred = 5 - sum(member)
    for row, cells in zip(rows, panel, strict=True):
        votes = [cell for cell, votes in zip(cells, member, strict=True) if votes]
        said = sorted(cell[LEVEL] for cell in votes if np.isfinite(cell[LEVEL]))
        assert (row["votes"], row["excluded"]) == (len(said), barred)
        middle, low, high = agreed(said, barred, faulty)
        assert row["price"] == pytest.approx(math.exp(middle) if said else 0.0)
        assert row["price_low"] == pytest.approx(math.exp(low))
        assert row["price_high"] == pytest.approx(math.exp(high) if high < math.inf else high)
        traded = [cell[VOLUME] for cell in votes if np.isfinite(cell[VOLUME])]
        assert row["volume"] == pytest.approx(statistics.median(traded) if traded else 0.0)
        for k in range(WIDTH):
            found = row["value"][k], row["low"][k], row["high"][k]
            known = sorted(cell[k] for cell in votes if np.isfinite(cell[k]))
            assert found == pytest.approx(agreed(known, barred, faulty))
        returns = any(np.isfinite(cell[0]) for cell in votes)
        flags = VALID * bool(said) | RESET * (not returns) | ALONE * (len(said) < 3)
        assert int(row["flags"]) & ~BAR == flags
        mine = frames[frames["ts"] == row["ts"]]
        live = mine[(mine["flags"] & VALID > 0) & (mine["mid"] > 0) & (mine["quote_mark"] > 0)]
        assert bool(row["flags"] & BAR) == bool(np.all(live["flags"] & BAR))


def agreed(said: list[float], barred: int, faulty: int) -> tuple[float, float, float]:
    """Median (0 of nothing) and the order statistics that hold the clean one (DEFINITIONS 13)."""
    place = (len(said) + barred + 1) // 2 - faulty - barred
    if not said:
        return 0.0, -math.inf, math.inf
    middle = statistics.median(said)
    return (middle, said[place - 1], said[-place]) if place >= 1 else (middle, -math.inf, math.inf)


def bounds(said: list[float], barred: int, faulty: int) -> tuple[float, float, float]:
    """The kernel's median and interval."""
    scratch = np.array([*said, 0.0])
    middle, low, high = agreement.agree_on(scratch, len(said), barred, faulty)
    return float(middle), float(low), float(high)


GRID = (-1e9, 0.0, 1.0, 2.0, 3.0, 1e9)


def test_no_lie_of_one_and_no_exclusion_takes_the_clean_median_out_of_the_interval() -> None:
    """All sources, all hostile subsets, all lies and silences, all true values on a grid."""
    shifts = (-math.inf, *GRID, math.inf)
    worlds = 0
    for count in range(1, 6):
        for truth in itertools.combinations_with_replacement((0.0, 1.0, 2.0, 3.0), count):
            for order in {truth, truth[::-1], truth[1::2] + truth[::2]}:
                for hostile, barred in itertools.product(range(count), (None, *range(count))):
                    for lie in (*shifts[1:-1], None):
                        worlds += holds(order, {hostile: lie}, {barred} - {None}, 1)
    assert worlds > 5_000


@settings(max_examples=1_000 if COMPILED else 300, deadline=None)
@given(data=st.data(), count=st.integers(1, 9), faulty=st.integers(0, 3))
def test_no_lie_of_any_few_takes_the_clean_median_out_of_the_interval(
    data: st.DataObject, count: int, faulty: int
) -> None:
    number = st.sampled_from(GRID) | st.floats(-5, 5)
    truth = tuple(data.draw(st.lists(number, min_size=count, max_size=count)))
    some = st.sets(st.integers(0, count - 1), max_size=min(faulty, count))
    lies = {at: data.draw(st.none() | number) for at in sorted(data.draw(some))}
    barred = data.draw(st.sets(st.integers(0, count - 1), max_size=min(3, count)))
    holds(truth, lies, barred, faulty)


def holds(
    truth: tuple[float, ...], lies: dict[int, float | None], barred: set[int], faulty: int
) -> bool:
    """What is observed bounds the median of what all, or all the honest, would have said."""
    observed = [lies.get(at, value) for at, value in enumerate(truth) if at not in barred]
    said = [value for value in observed if value is not None]
    _, low, high = bounds(said, len(barred), faulty)
    for missing in ((), *((at,) for at in lies), tuple(lies)):  # without the attack some are away
        clean = [value for at, value in enumerate(truth) if at not in missing]
        if clean:
            assert low <= statistics.median(clean) <= high, (truth, lies, barred, missing)
    return True


def test_the_interval_is_no_wider_than_the_lies_that_can_be_told() -> None:
    """Five sources, one hostile: each end is the clean median of some world with these values."""
    said = [0.0, 1.0, 2.0, 3.0, 4.0]
    middle, low, high = bounds(said, 0, 1)
    worlds = [
        statistics.median(said[:at] + said[at + 1 :] + [truth])
        for at in range(5)
        for truth in (-1e9, 1e9)
    ]
    assert (middle, low, high) == (2.0, min(worlds), max(worlds)) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize(("sources", "faulty"), [(1, 1), (2, 1), (4, 2)])
def test_too_few_sources_bound_nothing(sources: int, faulty: int) -> None:
    assert bounds([1.0] * sources, 0, faulty)[1:] == (-math.inf, math.inf)


def test_three_sources_hold_one_liar_between_the_least_and_the_greatest() -> None:
    assert bounds([5.0, 1.0, 3.0], 0, 1) == (3.0, 1.0, 5.0)
    assert bounds([5.0, 1.0, 3.0], 1, 1)[1:] == (-math.inf, math.inf)


@pytest.mark.parametrize("faulty", [0, 1])
def test_one_of_five_cannot_widen_the_interval_beyond_what_the_others_say(faulty: int) -> None:
    honest = [1.0, 2.0, 3.0, 4.0]
    for lie in GRID:
        _, low, high = bounds([*honest, lie], 0, faulty)
        assert 1.0 <= low <= high <= 4.0


# --- splits ---


@settings(max_examples=20 if COMPILED else 3, deadline=None)
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_any_split_at_boundaries_gives_the_same_bits(seed: int, cuts: list[int]) -> None:
    frames = made(seed, 40)
    whole, split = consensus(MIXED), consensus(MIXED)
    rows, panel = whole.observe(frames)
    at = np.searchsorted(frames["index"], sorted(cuts))
    parts = [split.observe(block) for block in np.split(frames, at)]
    assert np.concatenate([part[0] for part in parts]).tobytes() == rows.tobytes()
    assert np.concatenate([part[1] for part in parts]).tobytes() == panel.tobytes()
    past = whole.state._replace(scratch=np.zeros(0)), split.state._replace(scratch=np.zeros(0))
    assert carry(past[0]) == carry(past[1])
