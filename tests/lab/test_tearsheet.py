"""The tear sheet's figures add up, and its page stands whatever the run was like."""

import json
import math
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.clock import HOUR, SECOND
from seawall.core.events import Side
from seawall.execution.tca import Analysis, Course, Trade, analyse
from seawall.lab.tearsheet import Execution, Incident, Sheet, Surface, Track, page
from seawall.lab.tearsheet.sheet import (
    DAY,
    Line,
    costs_of,
    figures_of,
    periods_of,
    rolling_of,
    thinned,
    trips_of,
)

START = 1_700_000_000 * SECOND
NAN = math.nan


def fill(
    sign: int = 1,
    quantity: float = 1.0,
    price: float = 100.0,
    *,
    ts: int = START,
    fee: float = 0.0,
    inverse: bool = False,
    mid: float = NAN,
    touch: float = NAN,
    then: float = NAN,
    maker: bool = False,
    name: str = "BTC/USD@v",
) -> Execution:
    return Execution(
        ts, ts, name, "s", sign, quantity, price, 1.0, inverse, fee, maker, mid, touch, then
    )


def track_of(equity: Any, step: int = SECOND) -> Track:
    values = np.asarray(equity, np.float64)
    ts = START + step * np.arange(len(values), dtype=np.int64)
    return Track(ts, values, np.abs(values) * 0.1, values * 0.1)


def sheet_of(
    executions: tuple[Execution, ...] = (), equity: Any = (100.0, 101.0), **more: Any
) -> Sheet:
    track = more.pop("track", None) or track_of(equity)
    names = list(dict.fromkeys(one.instrument for one in executions)) or ["BTC/USD@v"]
    given: dict[str, Any] = {
        "title": "a run",
        "about": (("market", "one"),),
        "numeraire": "USD",
        "capital": 100.0,
        "track": track,
        "prices": {name: Line(track.ts, np.full(len(track.ts), 100.0)) for name in names},
        "executions": executions,
        "open_marks": dict.fromkeys(names, 100.0),
        "funding": 0.0,
        "intents": 1,
        "approved": 1,
        "orders": len(executions),
        "refusals": (),
        "incidents": (),
        "decisions": {},
        "seen": ("from a test",),
        "reproduce": (("seed", "0"),),
        "settings": "{}",
    }
    return Sheet(**{**given, **more})


# --- what it cost ---


def test_the_parts_of_a_cost_worked_by_hand() -> None:
    """Decided at 100 with the ask at 100.05, which was 100.10 when two were bought at 100.12."""
    bought = fill(1, 2.0, 100.12, fee=0.1, mid=100.0, touch=100.05, then=100.10)
    assert bought.slippage == pytest.approx(12.0)
    assert bought.through == pytest.approx(2.0 / 100.10 * 100.0, rel=1e-9)
    costs = costs_of(sheet_of((bought,), (1000.0, 1001.0), funding=0.05))
    assert costs.spread == pytest.approx(0.10)
    assert costs.latency == pytest.approx(0.10)
    assert costs.impact == pytest.approx(0.04)
    assert (costs.fees, costs.funding, costs.net) == (0.1, 0.05, 1.0)
    assert costs.gross == pytest.approx(1.0 + 0.10 + 0.10 + 0.04 + 0.1 + 0.05)


def test_a_maker_earns_the_spread_and_an_inverse_contract_costs_in_coins() -> None:
    made = fill(-1, 3.0, 100.05, maker=True, mid=100.0, touch=99.95)
    assert costs_of(sheet_of((made,))).spread == pytest.approx(-0.15)
    inverse = fill(1, 1000.0, 101.0, inverse=True, mid=100.0, touch=100.0, then=100.0)
    assert costs_of(sheet_of((inverse,))).impact == pytest.approx(1000 / 100 - 1000 / 101)


fills = st.builds(
    fill,
    st.sampled_from([1, -1]),
    st.floats(0.01, 10.0),
    st.floats(50.0, 200.0),
    fee=st.floats(-1.0, 1.0),
    inverse=st.just(False),
    mid=st.floats(50.0, 200.0) | st.just(NAN),
    touch=st.floats(50.0, 200.0) | st.just(NAN),
    then=st.floats(50.0, 200.0) | st.just(NAN),
    maker=st.booleans(),
    name=st.sampled_from(["A", "B"]),
)


@given(st.lists(fills, max_size=30), st.floats(50.0, 200.0), st.booleans())
def test_round_trips_leave_nothing_out(made: list[Execution], last: float, inverse: bool) -> None:
    """Their profit is that of all fills at the last price; none spans a flat position."""
    made = [one._replace(inverse=inverse, ts=START + at * SECOND) for at, one in enumerate(made)]
    trips = trips_of(made, {"A": last, "B": last})
    whole = sum(
        one.sign * (one.worth(last, one.quantity) - one.worth(one.price, one.quantity)) - one.fee
        for one in made
    )
    assert sum(trip.pnl for trip in trips) == pytest.approx(whole, abs=1e-6)
    assert sum(trip.fees for trip in trips) == pytest.approx(sum(o.fee for o in made), abs=1e-9)
    for name in ("A", "B"):
        mine = [trip for trip in trips if trip.instrument == name]
        assert all(one.closed <= other.opened for one, other in pairwise(mine))
        assert all(not trip.open for trip in mine[:-1])


@given(st.lists(fills, max_size=20))
def test_costs_lead_from_gross_to_net(made: list[Execution]) -> None:
    costs = costs_of(sheet_of(tuple(made)))
    taken = costs.spread + costs.latency + costs.impact + costs.fees + costs.funding
    assert costs.gross - taken == pytest.approx(costs.net)


# --- the account ---


def test_figures_of_a_rise_and_a_fall() -> None:
    days = 400
    equity = 100.0 * np.cumprod(np.where(np.arange(days) % 2, 1.02, 0.99))
    figures = figures_of(sheet_of(track=track_of(equity, DAY)), ())
    assert figures.step == DAY
    assert figures.total_return == pytest.approx(equity[-1] / equity[0] - 1.0)
    assert figures.max_drawdown == pytest.approx(0.01)
    assert figures.annual_return == pytest.approx(
        (equity[-1] / equity[0]) ** (365 / (days - 1)) - 1.0
    )
    assert figures.longest_drawdown <= 3 * DAY
    rolling = rolling_of(track_of(equity, DAY))
    assert rolling.yearly
    assert rolling.sharpe[-1] == pytest.approx(figures.sharpe, rel=0.05)


@given(st.lists(st.floats(50.0, 200.0), min_size=2, max_size=200), st.sampled_from([SECOND, HOUR]))
def test_the_calendar_compounds_to_the_whole(equity: list[float], step: int) -> None:
    _, columns, rows = periods_of(track_of(equity, step))
    product = math.prod(1.0 + v for row in rows.values() for v in row.values())
    assert product == pytest.approx(equity[-1] / equity[0], rel=1e-9)
    assert all(column in columns for row in rows.values() for column in row)


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(NAN), min_size=1, max_size=3000),
    st.integers(8, 200),
)
def test_thinning_keeps_peaks_and_troughs(values: list[float], most: int) -> None:
    ts = START + SECOND * np.arange(len(values), dtype=np.int64)
    times, kept = thinned(ts, np.array(values), most)
    known = [v for v in kept if v is not None]
    real = [v for v in values if math.isfinite(v)]
    assert len(times) == len(kept) <= max(len(values), 2 * most)
    assert times == sorted(times)
    if real:
        assert max(known) == pytest.approx(max(real), rel=1e-6)
        assert min(known) == pytest.approx(min(real), rel=1e-6)


def test_no_line_is_drawn_over_a_silence() -> None:
    ts = np.array([0, 1, 2, 3, 1000, 1001, 1002], np.int64) * SECOND
    times, kept = thinned(ts, np.ones(7), 100)
    assert kept == [1.0, 1.0, 1.0, 1.0, None, 1.0, 1.0, 1.0]
    assert times == sorted(times)


# --- the page ---


def parts_of(html: str) -> tuple[str, dict[str, Any]]:
    """What is read, and what the script gets."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.S)
    assert found
    return html[: found.start()], json.loads(found[1])


MANY = tuple(
    fill(1 if n % 2 else -1, 1.0, 100.0 + n % 7, ts=START + n * SECOND, fee=0.05, mid=101.0)
    for n in range(20_000)
)
CASES = {
    "nothing at all": sheet_of(track=track_of([])),
    "no trades": sheet_of(),
    "one trade": sheet_of((fill(mid=99.9, touch=100.0, then=100.0),)),
    "ten thousand trades": sheet_of(MANY, equity=np.linspace(100, 90, 20_000)),
    "account unknown": sheet_of((fill(),), equity=[NAN] * 50),
    "account unknown in between": sheet_of((fill(),), equity=[100.0, NAN, 101.0, NAN, 99.0]),
    "account lost": sheet_of((fill(),), equity=[100.0, 0.0, -5.0]),
    "one boundary": sheet_of(equity=[100.0]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_page_stands(case: str) -> None:
    html = page(CASES[case])
    read, data = parts_of(html)
    words = re.sub(r"<style>.*?</style>|<[^>]+>", " ", read, flags=re.S)
    assert not re.search(r"\b(nan|inf|None)\b", words, re.I), words
    assert not re.search(r"(src|href)=|https?://|url\(|@import", html)
    assert len(html) < 4_000_000
    assert data["from"] < data["to"]
    assert len(data["trips"]) <= 10_000
    json.dumps(data, allow_nan=False)


def test_what_a_stranger_named_cannot_act() -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    html = page(
        sheet_of(
            (fill(name=evil),),
            title=evil,
            about=((evil, evil),),
            refusals=(("risk", evil, 1),),
            incidents=(Incident(START, "gate", evil),),
            seen=(evil,),
            reproduce=((evil, evil),),
            settings=evil,
            surface=Surface(evil, evil, ("1", "2"), (evil, "b"), np.eye(2), evil, evil),
        )
    )
    assert "<img" not in html
    assert html.count("</script>") == 2
    assert parts_of(html)[1]["names"] == [evil]


# --- parent orders ---


def parent(algorithm: str, prices: tuple[float, ...], mid: float = 100.0) -> Analysis:
    """Ten lots to buy, two at each of these prices with a fee of 2 bps."""
    return analyse(
        Course(
            name="p",
            instrument="BTC/USD@v",
            strategy="s",
            algorithm=algorithm,
            side=Side.BUY,
            lots=10,
            decided=START,
            begun=START,
            ended=START + 60 * SECOND,
            decided_mid=mid,
            begun_mid=mid,
            ended_mid=101.0,
            vwap=100.5,
            twap=100.5,
            trades=tuple(Trade(price, 2, 0.02, 100.0, 0.01, START) for price in prices),
        )
    )


def test_parents_are_shown_part_by_part_and_in_groups() -> None:
    found = (parent("twap", (100.1,) * 5), parent("almgren_chriss", (100.2,) * 3))
    text = page(sheet_of((fill(),), parents=found))
    section = text[text.index("<h2>Parent orders") : text.index("<h2>Round trips")]
    whole, part = found
    assert whole.shortfall == pytest.approx(12.0)  # 10 bps of price, 2 of fees
    assert part.shortfall == pytest.approx(6 / 10 * 22.0 + 4 / 10 * 100.0)
    assert "BTC/USD@v, s, almgren chriss" in section
    for one in found:
        assert f"<b>{one.shortfall:+.2f}</b>" in section
        assert f"<td>{one.opportunity:+.2f}</td>" in section or not one.opportunity
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", section)
    assert heads.count("schedule") == 3  # which, and what it cost in both tables
    assert heads.index("shortfall") < heads.index("delay")


def test_of_many_parents_the_last_are_shown_and_one_without_prices_is_a_dash() -> None:
    found = tuple(parent("", (100.1,)) for k in range(230))
    unknown = parent("", (100.1,), NAN)
    text = page(sheet_of((fill(),), parents=(*found, unknown)))
    assert "The last 200 of 231, the latest first" in text
    assert "1 of unknown prices" in text
    assert "nan" not in text[text.index("<h2>Parent orders") : text.index("<h2>Round trips")]
    assert "<h2>Parent orders" not in page(sheet_of((fill(),)))
