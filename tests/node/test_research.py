"""Perception for research: kept and found again; and a fast tier that agrees with the node."""

from pathlib import Path

import numpy as np
import pytest

from seawall.core.clock import HOUR, SECOND
from seawall.core.errors import DataError, SettingError
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.randomness import generator
from seawall.core.settings import DecisionSettings, FeedSettings, RiskSettings, Settings
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import write_tape
from seawall.lab.research.evaluation import Plan, account_of
from seawall.lab.research.market import Market, load
from seawall.lab.research.performance import max_drawdown
from seawall.node import assembly, research
from tests.tapes import bar

BARS = 2_500
START = 1_700_000_000 // 3600 * HOUR
NO_BREAKERS = RiskSettings(
    volatility_threshold=10.0, flash_crash_threshold=0.5, drawdown_threshold=0.5
)


def settings(folder: Path, tape: Path) -> Settings:
    return Settings(
        mode="backtest",
        data_dir=folder,
        feed=FeedSettings(name="replay", tape=tape, speed="max"),
        risk=NO_BREAKERS,
        decision=DecisionSettings(trend_fast_s=4 * 3600, trend_slow_s=24 * 3600),
    )


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hourly bars of a perpetual, a random walk."""
    catalog = Catalog(
        instruments=(
            Instrument(
                venue="v",
                symbol="BTCUSD",
                kind=Kind.LINEAR,
                base="BTC",
                quote="USD",
                tick="0.1",
                lot="0.001",
            ),
        ),
        sources=(Source(name="v", venue="v", bar_span=HOUR),),
        books=((0, 0),),
    ).check()
    random = generator(5, "tests.node.research")
    close = np.rint(300_000 * np.exp(np.cumsum(random.standard_normal(BARS) * 0.006))).astype(int)
    pieces = []
    last = 300_000
    for number, price in enumerate(close.tolist()):
        reach = int(abs(random.standard_normal()) * 400)
        prices = (last, max(last, price) + reach, min(last, price) - reach, price)
        pieces.append(bar(START + (number + 1) * HOUR, HOUR, prices, 5_000_000))
        last = price
    folder = tmp_path_factory.mktemp("tapes") / "bars"
    write_tape(folder, catalog, np.concatenate(pieces))
    return folder


def test_on_bars_the_fast_tier_is_the_node_to_the_last_fill(bars: Path, tmp_path: Path) -> None:
    given = settings(tmp_path, bars)
    exact = assembly.backtest(given, bars, None, lambda done, total: None)
    market = research.perceived_market(given, bars)
    plan = Plan(strategy="rules", following=research.following_of(given, latency=0))
    shape = {"trend_fast_s": 4 * 3600.0, "trend_slow_s": 24 * 3600.0}
    fast = account_of(market, plan, shape)
    assert exact.breakers == ()
    assert fast.orders > 20
    assert abs(fast.orders - exact.fills) <= 2  # the node closes what is open when the tape ends
    assert fast.costs.fees == pytest.approx(exact.fees, rel=0.02)
    assert fast.equity[-1] == pytest.approx(exact.equity_end, abs=0.0005 * 100_000 * 0.1)
    assert max_drawdown(fast.equity, 100_000.0) == pytest.approx(exact.max_drawdown, abs=1e-5)


def same(one: Market, other: Market) -> bool:
    return one.rows.tobytes() == other.rows.tobytes() and one.path.tobytes() == other.path.tobytes()


def test_it_is_perceived_once(bars: Path, tmp_path: Path) -> None:
    given = settings(tmp_path, bars)
    told: list[tuple[int, int]] = []
    first = research.perceive(given, bars, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (4 * BARS, 4 * BARS)
    written = (first / "path.npy").stat().st_mtime_ns
    assert research.perceive(given, bars) == first
    assert (first / "path.npy").stat().st_mtime_ns == written
    other = research.perceive(settings(tmp_path / "other", bars), bars)
    assert same(load(other), load(first))
    changed = given.model_copy(update={"seed": 1})
    assert research.perceive(changed, bars) != first


def test_a_market_on_disk_is_read_only(bars: Path, tmp_path: Path) -> None:
    market = load(research.perceive(settings(tmp_path, bars), bars))
    with pytest.raises(ValueError, match="read-only"):
        market.path["bid"][0] = 1
    with pytest.raises(DataError, match="no perceived market"):
        load(tmp_path)


def test_the_path_is_what_the_bars_say(bars: Path, tmp_path: Path) -> None:
    market = load(research.perceive(settings(tmp_path, bars), bars))
    assert market.cadence == HOUR
    assert len(market.path) == len(market.rows) == BARS
    path = market.path[1:]
    assert np.array_equal(path["bid"], path["ask"])
    assert (path["bid_size"] == 5_000_000).all()
    assert np.array_equal(path["open"][1:], path["bid"][:-1])
    assert (path["low"] <= path["bid"]).all()
    assert (path["high"] >= path["bid"]).all()
    assert path["mark"] == pytest.approx(path["bid"])
    assert (path["flags"] == 3).all()


def test_of_several_instruments_one_must_be_named(tmp_path: Path) -> None:
    simulated = SimulatedMarket(7, 1_700_000_000 * SECOND)
    tape = tmp_path / "tape"
    write_tape(tape, simulated.catalog, simulated.record(30 * SECOND))
    given = settings(tmp_path, tape)
    with pytest.raises(SettingError, match="--symbol"):
        research.perceive(given, tape)
    name = simulated.catalog.instruments[0].name
    market = load(research.perceive(given, tape, name))
    assert market.instrument.name == name
    assert len(market.path) == len(market.rows) >= 29
    assert (market.path["ask"][5:] > market.path["bid"][5:]).all()
    with pytest.raises(DataError, match="not on this tape"):
        research.perceive(given, tape, "nothing")
