import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.ingestion.tape import write_tape
from seawall.lab.market_making.calibration import calibrate
from seawall.lab.market_making.making import Quoting, outcome_of, trade
from seawall.lab.market_making.quotes import Quotes, glft
from seawall.venues.simulated.exact import ExactShape, constant, feed_of
from seawall.venues.simulated.exact_state import BUY, OURS
from tests.recorded import BOOKS, recorded
from tests.venues.simulated.exact_markets import MARKET_ROWS, catalog, rows_of, tape

ROOT = Path(__file__).parents[3]
SHAPE = ExactShape(maker_fee_ppm=100, most_fills=10_000)
BOOK = [(1000, "bid", 90, 50), (1000, "ask", 110, 50)]


def made_on(told, form, quoting, latency=(3, 4), shape=SHAPE, start=0):
    feed = feed_of(tape(*told), catalog())
    return feed, trade(feed, shape, constant(*latency), form, quoting, start or feed.start)


def fills_of(made):
    return [(int(f["side"]), int(f["price"]), int(f["lots"])) for f in made.fills]


def test_a_fill_moves_both_quotes_down_by_the_skew():
    # mid 100: bid 95, ask 105; one order held: 92 and 102
    told = [*BOOK, (1100, "sold", 95, 2), (1200, "sold", 93, 9), (1300, "bought", 103, 9)]
    told += [(1400, "bid", 89, 1)]
    quoting = Quoting(lots=2, most=4, every_ns=10)
    _, leaning = made_on(told, Quotes(5.0, 0.0, 3.0, 0.0), quoting)
    assert fills_of(leaning) == [(BUY, 95, 2), (1 - BUY, 102, 2)]
    assert leaning.position == 0
    _, naive = made_on(told, Quotes(5.0, 0.0, 0.0, 0.0), quoting)
    assert fills_of(naive) == [(BUY, 95, 2), (BUY, 95, 2)]


@pytest.mark.parametrize(
    ("first", "second", "best"), [("sold", "bought", 91), ("bought", "sold", 109)]
)
def test_a_quote_stops_short_of_the_other_side(first, second, best):
    """An order held asks for 30 ticks: the quote would cross, and is put just inside the book."""
    told = [*BOOK, (1100, first, 95 if first == "sold" else 105, 2), (1300, second, 100, 9)]
    told.append((1400, "bid", 89, 1))
    shape = ExactShape(rule="partial", most_fills=10_000)
    quoting = Quoting(lots=2, most=2, every_ns=10)
    _, made = made_on(told, Quotes(5.0, 0.0, 30.0, 0.0), quoting, shape=shape)
    assert fills_of(made)[1][1:] == (best, 2)
    assert made.sent == 5  # two, one moved, two again when flat: none was refused and sent again


def test_the_horizon_comes_again():
    """The rate counts in full as a horizon begins, and not at its end."""
    sold = [(second * SECOND, "sold", 96, 1) for second in range(1, 13)]
    told = [*BOOK, *sold, (13 * SECOND, "bid", 90, 50)]
    quoting = Quoting(lots=1, most=100, every_ns=SECOND // 10, horizon_ns=6 * SECOND)
    # half spread: 1 tick at the end, 7 at the beginning; 4 or less is within reach of the trades
    _, made = made_on(told, Quotes(1.0, 1.0, 0.0, 0.0), quoting)
    filled = (made.fills["ts"] // SECOND).tolist()
    assert filled == [4, 5, 6, 10, 11, 12]


def test_a_ladder_stands_a_step_apart_and_waits_for_its_start():
    told = [*BOOK, (1050, "sold", 80, 99), (1200, "sold", 80, 99), (1300, "bid", 90, 50)]
    quoting = Quoting(lots=2, most=100, every_ns=10, rungs=3, step=2)
    _, made = made_on(told, Quotes(5.0, 0.0, 0.0, 0.0), quoting, start=1100)
    assert fills_of(made) == [(BUY, 95, 2), (BUY, 93, 2), (BUY, 91, 2)]


def test_money_of_a_round_trip_by_hand():
    told = [*BOOK, (1100, "sold", 95, 2), (1300, "bought", 103, 9), (1400, "bid", 89, 1)]
    feed, made = made_on(told, Quotes(5.0, 0.0, 3.0, 0.0), Quoting(lots=2, most=4, every_ns=10))
    told_of = outcome_of(made, feed.instrument, feed.start)
    unit = 0.1 * 0.001  # USDT of a tick and a lot
    assert told_of.gross == pytest.approx(2 * (102 - 95) * unit)
    assert told_of.fees == pytest.approx(2 * (102 + 95) * unit * 100e-6)
    assert told_of.net == pytest.approx(told_of.gross - told_of.fees)
    assert told_of.break_even_ppm == pytest.approx(2 * 7 / (2 * (102 + 95)) * 1e6)
    assert (told_of.fills, told_of.lots, told_of.position, told_of.furthest) == (2, 4, 0, 2)


@settings(deadline=None, max_examples=150)
@given(
    drawn=MARKET_ROWS,
    half=st.floats(0, 3),
    skew=st.floats(-2, 2),
    lots=st.integers(1, 5),
    most=st.integers(1, 8),
    every=st.integers(1, 12),
    rungs=st.integers(1, 3),
    latency=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    rule=st.sampled_from(["shared", "partial", "whole"]),
)
def test_never_more_than_the_most_whatever_happens(
    drawn, half, skew, lots, most, every, rungs, latency, rule
):
    quoting = Quoting(lots=lots, most=most, every_ns=every, rungs=rungs)
    form = Quotes(half, 0.0, skew, 0.0)
    shape = ExactShape(rule=rule, most_fills=10_000)
    feed, made = made_on(rows_of(drawn), form, quoting, latency, shape)
    if rule == "shared":
        assert outcome_of(made, feed.instrument, feed.start).furthest <= most
        assert made.fills["maker"].all()
    signed = np.where(made.fills["side"] == BUY, made.fills["lots"], -made.fills["lots"])
    assert np.abs(np.cumsum(signed)).max(initial=0) <= most
    _, again = made_on(rows_of(drawn), form, quoting, latency, shape)
    assert again.digest == made.digest
    assert again.marks.tobytes() == made.marks.tobytes()


def test_a_setting_out_of_range_is_named():
    with pytest.raises(SettingError, match="rungs is 0; allowed is 1 to 128"):
        Quoting(lots=1, most=1, rungs=0).check()


def test_the_example_runs_on_a_tape(tmp_path: Path) -> None:
    told = [(SECOND, "bid", 9990, 50), (SECOND, "ask", 10010, 50)]
    for k in range(3000):
        sign = 1 if k % 2 else -1
        away = 10 + (k * 7 % 23) * (k * 11 % 13) // 9
        told.append((SECOND + (k + 1) * SECOND // 25, "bought" if k % 2 else "sold",
                     10_000 + sign * away, 4))  # fmt: skip
    write_tape(tmp_path / "night", catalog(), tape(*told))
    command = [sys.executable, "examples/market_making.py", str(tmp_path / "night")]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "PnL after fees, USDT" in made.stdout
    command[-1] = str(tmp_path / "nowhere")
    gone = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert gone.returncode == 1
    assert len(gone.stderr.splitlines()) == 1


@pytest.mark.recorded
@pytest.mark.slow
def test_leaning_holds_less_and_swings_less_on_a_recorded_night(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """That it earns is not said: on this night both lose. The figures are printed as they are."""
    read = recorded(BOOKS)
    name = "BTCUSDT@binance-usdm"
    feed = feed_of(read.rows, read.catalog, name, base_latency_ns=1_000_000)
    first, last = (int(feed.rows["ts"][OURS][k]) for k in (0, -1))
    split = first + (last - first) // 3
    fitted = calibrate(feed, split, SECOND // 10)
    form = glft(fitted.market, 0.1 * fitted.market.k)
    quoting = Quoting(lots=fitted.trade_lots, most=10 * fitted.trade_lots)
    latency = constant(5_000_000, 5_000_000)
    runs = [
        trade(feed, ExactShape(), latency, quotes, quoting, split)
        for quotes in (form, form._replace(skew=0.0))
    ]
    assert runs[0].digest == trade(feed, ExactShape(), latency, form, quoting, split).digest
    leaning, naive = (outcome_of(made, feed.instrument, split) for made in runs)
    with capsys.disabled():
        print(f"\n{fitted.market}\nleaning {leaning}\nnaive   {naive}")
    assert min(leaning.fills, naive.fills) > 100
    assert max(leaning.furthest, naive.furthest) <= quoting.most
    assert leaning.typical < naive.typical
    assert leaning.swing < naive.swing
