"""What each attack does to a source, as DEFINITIONS 11 has it, on books rebuilt in plain Python."""

from typing import Any

import numpy as np
import pytest

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.events import EventKind, Raw, Side
from seawall.lab.attacks import attack_of, timing
from seawall.lab.attacks.shadow_kernels import FALLBACK, MATURE
from seawall.lab.attacks.values import StoryAttack
from tests.lab.attacks.markets import (
    LAST,
    START,
    TAPE,
    Rows,
    books,
    displaced,
    market,
    mids,
    of_book,
    of_source,
)
from tests.tapes import COMPILED

BEGINS, LASTS = (70, 60) if COMPILED else (3, 6)
LONG = {"after": f"{BEGINS}s", "duration": f"{LASTS}s"}
DURING = slice(BEGINS + 1, BEGINS + LASTS)  # seconds that lie in the attack
BTC, ETH = 8, 9  # instruments of the last source
LAGS = 1e-5  # what a book may have moved between two messages: told and true lag alike, nearly


def attack(name: str, seed: int = 3, **words: str) -> tuple[StoryAttack, Raw, Raw]:
    """(the attack, the honest tape, the attacked one)."""
    catalog, rows = market()
    one: Any = attack_of(name, catalog, LONG | words, seed)
    return one, rows, one.apply(rows)


def shift(one: StoryAttack, rows: Rows, made: Rows, instrument: int, source: int = LAST) -> Any:
    """(seconds,) sigmas between the told and the true mid."""
    group = ("BTC", "ETH")[instrument % 2]
    return displaced(rows, made, instrument, source, TAPE) / one.sigma(group)


@pytest.mark.skipif(not COMPILED, reason="a sigma takes a minute of the tape")
def test_a_sigma_is_the_others_median_return() -> None:
    one, rows, _ = attack("mean_shift")
    for instrument, group in ((0, "BTC"), (1, "ETH")):
        lines = np.array([mids(of_book(rows, 2 * s + instrument, s), BEGINS) for s in range(LAST)])
        # whoever had no mid a second ago has no return
        returns = np.nanmedian(lines[:, 1:] / lines[:, :-1] - 1.0, axis=0)
        assert len(returns) >= MATURE
        assert one.sigma(group) == pytest.approx(float(np.sqrt(np.mean(returns**2))), rel=1e-9)
        assert one.sigma(group) != FALLBACK


def test_until_it_is_measured_a_sigma_is_the_fallback() -> None:
    one, _, _ = attack("mean_shift", after="1", duration="3")
    assert one.sigma("BTC") == FALLBACK


@pytest.mark.skipif(not COMPILED, reason="returns take many frames")
def test_mean_shift_adds_its_offset_to_the_return_of_each_chosen_frame() -> None:
    one, rows, made = attack("mean_shift", offset="4")
    for instrument in (BTC, ETH):
        moved = shift(one, rows, made, instrument)[BEGINS : BEGINS + LASTS]
        assert np.allclose(moved, 4.0 * np.arange(1, LASTS + 1), rtol=2e-3, atol=0.2)
    one, rows, made = attack("mean_shift", seed=4, share="0.4", offset="5")
    moved = shift(one, rows, made, BTC)[BEGINS : BEGINS + LASTS]
    steps = np.diff(moved, prepend=0.0)
    assert set(np.rint(steps).tolist()) == {0.0, 5.0}
    mean, variance = steps.mean(), steps.var()
    assert mean == pytest.approx(5.0 * np.mean(steps > 2.5), abs=0.05)
    assert variance == pytest.approx((steps > 2.5).var() * 25.0, rel=0.05)
    one, rows, made = attack("mean_shift", samples="7", offset="5")
    moved = shift(one, rows, made, BTC)[BEGINS : BEGINS + LASTS]
    assert np.allclose(moved[7:], 35.0, rtol=2e-3, atol=0.2)
    _, _, prices = attack("mean_shift", of="price", offset="4")
    _, _, poisoned = attack("data_poisoning", offset="4")
    assert prices.tobytes() == poisoned.tobytes()


def test_data_poisoning_moves_the_mid_by_its_offset() -> None:
    one, rows, made = attack("data_poisoning", offset="4")
    for instrument in (BTC, ETH):
        moved = shift(one, rows, made, instrument)
        assert np.allclose(moved[DURING], 4.0, atol=0.1)
        assert np.all(moved[: BEGINS - 1] == 0.0)
        assert np.all(moved[BEGINS + LASTS + 1 :] == 0.0)


def test_a_moved_mid_keeps_the_whole_book_and_its_trades_together() -> None:
    _, rows, made = attack("data_poisoning", offset="-6")
    true, told = (of_book(some, BTC) for some in (rows, made))
    first, last = (START + s * SECOND for s in (BEGINS + 1, BEGINS + LASTS - 1))
    offset = 0
    for (ts, bids, asks), (same, *moved) in zip(books(true), books(told), strict=True):
        assert ts == same
        if first < ts < last:
            offset = max(moved[0]) - max(bids)
            assert offset < 0
            assert moved[0] == {price + offset: size for price, size in bids.items()}
            assert moved[1] == {price + offset: size for price, size in asks.items()}
    trades = [some[some["kind"] == EventKind.TRADE] for some in (true, told)]
    inside = (trades[0]["recv_ts"] > first) & (trades[0]["recv_ts"] < last)
    gaps = trades[1]["price"][inside] - trades[0]["price"][inside]
    assert len(set(gaps.tolist())) == 1
    assert gaps[0] == offset


@pytest.mark.skipif(not COMPILED, reason="a share takes many frames")
def test_a_share_of_the_frames_is_poisoned_and_no_more_than_asked() -> None:
    one, rows, made = attack("data_poisoning", seed=4, share="0.4", offset="5")
    moved = shift(one, rows, made, BTC)[BEGINS : BEGINS + LASTS]
    assert set(np.rint(moved).tolist()) == {0.0, 5.0}
    assert 0.2 < np.mean(moved > 2.5) < 0.6
    for share in ("1", "0.4"):
        one, rows, made = attack("data_poisoning", share=share, samples="7", offset="5")
        assert np.sum(shift(one, rows, made, BTC) > 2.5) == 7


def test_slow_drift_goes_at_its_speed_up_to_its_limit() -> None:
    one, rows, made = attack("slow_drift", speed="60")
    moved = shift(one, rows, made, BTC)[BEGINS : BEGINS + LASTS]
    assert np.allclose(moved, np.arange(1, LASTS + 1), atol=0.15 + 0.01 * LASTS)
    steps = np.diff(moved)
    assert np.all(np.abs(steps - 1.0) < 0.2)
    one, rows, made = attack("slow_drift", speed="-600", limit="20")
    moved = shift(one, rows, made, BTC)[BEGINS + 3 : BEGINS + LASTS]
    assert np.allclose(moved, -20.0, atol=0.4)


def test_colluding_sources_move_as_one() -> None:
    one, rows, made = attack("colluding_sources", members="3", offset="2", noise="1")
    moved = np.array([shift(one, rows, made, 2 * s, s)[DURING] for s in (2, 3, 4)])
    assert np.allclose(moved[0], moved[1], atol=0.15)
    assert np.allclose(moved[0], moved[2], atol=0.15)
    if COMPILED:
        assert abs(moved[0].mean() - 2.0) < 0.6
        assert 0.6 < moved[0].std() < 1.4
    for source in (0, 1):
        assert of_source(made, source).tobytes() == of_source(rows, source).tobytes()


def test_an_outlier_burst_lasts_its_count_of_frames() -> None:
    one, rows, made = attack("outlier_burst", count="4", magnitude="40")
    moved = shift(one, rows, made, ETH)
    assert np.allclose(np.abs(moved[BEGINS : BEGINS + 4]), 40.0, atol=0.6)
    assert np.all(moved[BEGINS + 4 :] == 0.0)


@pytest.mark.skipif(not COMPILED, reason="a distribution takes many frames")
def test_noise_has_its_standard_deviation_and_random_values_their_bound() -> None:
    one, rows, made = attack("quote_noise", intensity="8")
    noise = np.concatenate([shift(one, rows, made, book)[DURING] for book in (BTC, ETH)])
    assert 6.5 < noise.std() < 9.5
    assert abs(noise.mean()) < 2.5
    one, rows, made = attack("random", bound="30")
    values = np.concatenate([shift(one, rows, made, book)[DURING] for book in (BTC, ETH)])
    assert np.abs(values).max() < 30.5
    assert 14.0 < values.std() < 20.5  # uniform: 17.3
    assert values.min() < -20.0 < 20.0 < values.max()


@pytest.mark.parametrize("intensity", [0.05, 0.5])
def test_wash_trading_adds_its_share_of_volume_and_moves_nothing(intensity: float) -> None:
    _, rows, made = attack("wash_trading", intensity=str(intensity), duration="0")
    honest, told = (of_source(some) for some in (rows, made))
    quiet = [some[some["kind"] != EventKind.TRADE] for some in (honest, told)]
    assert quiet[0].tobytes() == quiet[1].tobytes()
    for book in (BTC, ETH):
        true, all_of_them = (
            some[(some["kind"] == EventKind.TRADE) & (some["instrument"] == book)]
            for some in (honest, told)
        )
        late = true["recv_ts"] >= START + BEGINS * SECOND
        added = int(all_of_them["size"].sum() - true["size"].sum())
        volume = int(true["size"][late].sum())
        if COMPILED:
            assert added / (added + volume) == pytest.approx(intensity, rel=0.25)
        numbers = all_of_them["sequence"]
        assert np.array_equal(numbers, np.arange(numbers[0], numbers[0] + len(numbers)))


def test_wash_trades_are_pairs_of_round_sizes_at_the_touch() -> None:
    _, rows, made = attack("wash_trading", intensity="0.6")
    for book in (BTC, ETH):
        honest = [tuple(row)[:2] + tuple(row)[4:] for row in of_book(rows, book).tolist()]
        left, bid, ask, pair = iter(honest), 0, 0, []
        following = {(ts, tuple(b), tuple(a)) for ts, b, a in books(of_book(rows, book))}
        assert following
        expected = next(left)
        levels: list[dict[int, int]] = [{}, {}]
        found = 0
        for row in of_book(made, book):
            if tuple(row.tolist())[:2] + tuple(row.tolist())[4:] == expected:
                expected = next(left, None)
                kind, side, price, size = (int(row[k]) for k in ("kind", "side", "price", "size"))
                if kind == EventKind.SNAPSHOT:
                    levels = [{}, {}]
                elif kind == EventKind.DEPTH:
                    levels[side][price] = size
                    if not size:
                        del levels[side][price]
                if levels[0] and levels[1]:
                    bid, ask = max(levels[0]), min(levels[1])
                continue
            assert row["kind"] == EventKind.TRADE
            assert row["price"] == (ask if row["side"] == Side.BUY else bid)
            assert str(int(row["size"])).rstrip("0") in ("1", "2", "5")
            pair.append((int(row["side"]), int(row["size"])))
            if len(pair) == 2:
                assert {side for side, _ in pair} == {0, 1}
                assert pair[0][1] == pair[1][1]
                pair, found = [], found + 1
        assert expected is None
        assert pair == []
        assert found > 1


@pytest.mark.parametrize(("name", "layers"), [("spoofing", 1), ("layering", 4)])
def test_spoof_orders_stand_behind_one_touch_and_never_at_it(name: str, layers: int) -> None:
    one, rows, made = attack(name, lifetime="2", intensity="9")
    for book in (BTC, ETH):
        trades = [some[some["kind"] == EventKind.TRADE] for some in (rows, made)]
        assert trades[0].tobytes() == trades[1].tobytes()
        sides_seen, standing = [], {}
        for (ts, *true), (same, *told) in zip(
            books(of_book(rows, book)), books(of_book(made, book)), strict=True
        ):
            assert ts == same
            touch = [(max(b), b[max(b)], min(a), a[min(a)]) for b, a in (true, told)]
            assert touch[0] == touch[1]
            extra = [
                {p: size - true[side].get(p, 0) for p, size in told[side].items()}
                for side in (0, 1)
            ]
            extra = [{p: more for p, more in levels.items() if more} for levels in extra]
            inside = one.active(ts)
            assert sorted(map(len, extra)) == ([0, layers] if inside else [0, 0])
            if inside:
                side = 0 if extra[0] else 1
                turn = (ts - one.start) // (2 * SECOND)
                assert side == turn % 2
                sides_seen.append(side)
                best = sorted(true[side], reverse=side == 0)[:5]
                size = round(9 * sum(true[side][price] for price in best) / 5)
                if extra[side] != standing:  # shown with this message
                    assert set(extra[side].values()) == {size}
                standing = extra[side]
        assert set(sides_seen) == {0, 1}


def test_a_stale_feed_says_the_same_later() -> None:
    for restamp in ("yes", "no"):
        _, rows, made = attack("stale_feed", delay="2", restamp=restamp)
        true, told = of_source(rows), of_source(made)
        due = true["recv_ts"].copy()
        inside = (due >= START + BEGINS * SECOND) & (due < START + (BEGINS + LASTS) * SECOND)
        due[inside] += 2 * SECOND
        due = np.maximum.accumulate(due)
        assert np.array_equal(told["recv_ts"], due[: len(told)])
        assert len(true) == len(told)
        late = due - true["recv_ts"] if restamp == "yes" else 0
        assert np.array_equal(told["exch_ts"], true["exch_ts"] + late)
        for field in ("sequence", "previous", "price", "size", "instrument", "side", "kind"):
            assert np.array_equal(true[field], told[field])


def test_what_is_due_after_the_tape_is_not_on_it() -> None:
    _, rows, made = attack("stale_feed", delay="4", duration="0")
    true, told = of_source(rows), of_source(made)
    due = np.where(true["recv_ts"] >= START + BEGINS * SECOND, 4 * SECOND, 0) + true["recv_ts"]
    assert np.sum(due <= rows["recv_ts"][-1]) - len(told) in (0, 1)
    assert len(told) < len(true)


def test_a_stale_feed_without_room_lets_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "HELD", 50)
    one, rows, made = attack("stale_feed", delay="3")
    true, told = of_source(rows), of_source(made)
    assert np.array_equal(true["sequence"], told["sequence"])
    assert np.all(told["recv_ts"] >= true["recv_ts"])
    assert one._lanes["early"][0] > 0  # type: ignore[attr-defined]


def test_a_frozen_feed_repeats_one_book() -> None:
    _, rows, made = attack("frozen_feed")
    first, last = (START + s * SECOND for s in (BEGINS, BEGINS + LASTS))
    told = of_book(made, BTC)
    inside = told[(told["recv_ts"] >= first) & (told["recv_ts"] < last)]
    seen = [sides for _, *sides in books(inside)]
    assert LASTS - 1 <= len(seen) <= LASTS
    assert all(one == seen[0] for one in seen)
    assert seen[0] == [sides for ts, *sides in books(of_book(rows, BTC)) if ts < first][-1]
    assert set(inside["kind"].tolist()) == {EventKind.SNAPSHOT, EventKind.DEPTH}
    heads = inside[inside["kind"] == EventKind.SNAPSHOT]
    assert np.all(np.diff(heads["sequence"]) > 0)
    assert np.all(heads["recv_ts"] - heads["exch_ts"] < SECOND)


def test_silence_is_silence_until_a_whole_book_comes() -> None:
    _, rows, made = attack("silence")
    told = of_source(made)
    times = told["recv_ts"] - START
    assert not np.any((times >= BEGINS * SECOND) & (times < (BEGINS + LASTS) * SECOND))
    assert np.sum(times < BEGINS * SECOND) == np.sum(
        of_source(rows)["recv_ts"] < START + BEGINS * SECOND
    )
    for book in (BTC, ETH):
        after = of_book(made, book)
        after = after[after["recv_ts"] >= START + (BEGINS + LASTS) * SECOND]
        after = after[after["kind"] != EventKind.TRADE]
        assert after["kind"][0] == EventKind.SNAPSHOT


def test_a_replay_tells_the_old_rows_with_fresh_times_and_numbers() -> None:
    length = 20 if COMPILED else 2
    _, rows, made = attack("replayed_feed", length=str(length))
    first = START + BEGINS * SECOND
    told = of_source(made)
    start = first - length * SECOND
    recorded = of_source(rows)
    recorded = recorded[(recorded["recv_ts"] >= start) & (recorded["recv_ts"] < first)]
    rounds = LASTS // length
    assert rounds == 3
    for n in range(rounds):
        low, high = (first + k * length * SECOND for k in (n, n + 1))
        again = told[(told["recv_ts"] >= low) & (told["recv_ts"] < high)]
        for book in (BTC, ETH):
            mine, true = (some[some["instrument"] == book] for some in (again, recorded))
            trades = [some[some["kind"] == EventKind.TRADE] for some in (mine, true)]
            shift = (n + 1) * length * SECOND
            for field in ("price", "size", "side"):
                assert np.array_equal(trades[0][field], trades[1][field])
            for field in ("recv_ts", "exch_ts"):
                assert np.array_equal(trades[0][field], trades[1][field] + shift)
            # the first book message is the whole book, then all is as it was
            whole = books(of_book(rows[rows["recv_ts"] < first], book))
            whole = [(ts + shift, *sides) for ts, *sides in whole if ts >= start]
            assert books(mine) == whole
    for book in (BTC, ETH):
        for kinds in ((EventKind.TRADE,), (EventKind.DEPTH, EventKind.SNAPSHOT)):
            stream = of_book(made, book)
            stream = stream[np.isin(stream["kind"], kinds) & (stream["flags"] & 1 > 0)]
            assert np.all(np.diff(stream["sequence"]) > 0)


def test_a_replay_waits_until_it_has_its_recording() -> None:
    catalog, rows = market()
    one = attack_of("replayed_feed", catalog, {"after": "0", "length": "5", "duration": "3"})
    made = one.apply(rows)
    cut = rows["recv_ts"] < START + 5 * SECOND
    assert made[: cut.sum()].tobytes() == rows[cut].tobytes()
    assert (one.start - rows["recv_ts"][0], one.end - one.start) == (5 * SECOND, 3 * SECOND)


def test_a_replay_remembers_whole_messages_up_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "RECORDED", 300)
    _, _, made = attack("replayed_feed", length="20" if COMPILED else "3")
    for book in (BTC, ETH):
        books(of_book(made, book))  # fails on a torn message


def test_time_skew_touches_exchange_times_alone() -> None:
    _, rows, made = attack("time_skew", offset="-0.05", drift="1000")
    true, told = of_source(rows), of_source(made)
    moved = told["exch_ts"] - true["exch_ts"]
    passed = true["recv_ts"] - START - BEGINS * SECOND
    # `after` counts from the first row of all
    passed -= rows["recv_ts"][0] - START
    inside = (passed >= 0) & (passed < LASTS * SECOND)
    assert np.all(moved[~inside] == 0)
    assert np.all(np.abs(moved[inside] - (passed[inside] // 1000 - 50 * MILLISECOND)) <= 1)
    plain = told.copy()
    plain["exch_ts"] = true["exch_ts"]
    assert plain.tobytes() == true.tobytes()


def test_label_flipping_swaps_its_share_of_sides_and_nothing_else() -> None:
    _, rows, made = attack("label_flipping", share="0.3", after="0", duration="0")
    true, told = of_source(rows), of_source(made)
    flipped = true["side"] != told["side"]
    trades = true["kind"] == EventKind.TRADE
    assert not np.any(flipped & ~trades)
    if COMPILED:
        assert 0.2 < flipped[trades].mean() < 0.4
    plain = told.copy()
    plain["side"] = true["side"]
    assert plain.tobytes() == true.tobytes()


def test_another_trade_changes_no_other_flip() -> None:
    catalog, rows = market()
    words = {"after": "0", "share": "0.5"}
    whole = attack_of("label_flipping", catalog, words, 5).apply(rows)
    mine = (rows["source"] == LAST) & (rows["kind"] == EventKind.TRADE)
    less = np.delete(rows, np.flatnonzero(mine)[3])
    fewer = attack_of("label_flipping", catalog, words, 5).apply(Raw(less))
    assert np.delete(whole, np.flatnonzero(mine)[3]).tobytes() == fewer.tobytes()
