"""The slippage model at work: fitted to a run, it bounds the prices of the next and judges it."""

from pathlib import Path

import numpy as np
import pytest

from seawall.core.errors import DataError
from seawall.core.events import Side
from seawall.core.orders import OrderType, Purpose
from seawall.core.records import BreakerChanged, FillBooked, OrderCreated
from seawall.core.settings import ExecutionSettings, Settings
from seawall.execution.slippage import SlippageModel
from seawall.ingestion.tape import write_tape
from seawall.node.slippage import BREAKER, Watch, footprint, load, save
from seawall.node.slippage_fit import fitted
from tests.node.short_runs import QUICK, node_on, records, tape

SECONDS = 300


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SlippageModel:
    """Of the fills of a run."""
    folder = tmp_path_factory.mktemp("slippage")
    catalog, rows = tape(SECONDS)
    node = node_on(catalog, rows, QUICK)
    node.run()
    node.recorder.journal.write(folder / "run.journal")
    write_tape(folder / "tape", catalog, rows)
    made, orders = fitted(folder / "run.journal", folder / "tape", QUICK)
    assert orders == len(made.residuals) >= 30
    return made


def with_model(path: Path) -> Settings:
    return QUICK.model_copy(update={"execution": ExecutionSettings(slippage_model=str(path))})


def test_a_model_is_kept_as_it_is(tmp_path: Path, model: SlippageModel) -> None:
    save(model, tmp_path / "m.json")
    assert load(tmp_path / "m.json") == model
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(DataError, match="calibrate slippage"):
        load(tmp_path / "m.json")
    with pytest.raises(DataError, match="no slippage model"):
        load(tmp_path / "none.json")


def test_it_bounds_the_prices_of_the_next_run_and_finds_nothing_odd(
    tmp_path: Path, model: SlippageModel
) -> None:
    save(model, tmp_path / "m.json")
    node = node_on(*tape(SECONDS), with_model(tmp_path / "m.json"))
    summary = node.run()
    assert summary.fills > 0
    plain = node_on(*tape(SECONDS), QUICK)
    plain.run()
    bounded, free = (
        [
            r.order
            for r in records(one, OrderCreated)
            if r.order.purpose is Purpose.GOAL and r.order.type is OrderType.LIMIT
        ]
        for one in (node, plain)
    )
    assert bounded[0].side is free[0].side
    assert bounded[0].side.sign * (free[0].price - bounded[0].price) > 0  # 20 bp are far more
    opened = [r for r in records(node, BreakerChanged) if r.name == BREAKER]
    assert len(opened) <= 2  # a tenth of a per cent of normal fills lies beyond


def test_fills_worse_than_the_model_allows_open_the_breaker(tmp_path: Path) -> None:
    strict = SlippageModel(0.0, 0.5, tuple(np.linspace(-1e-6, 1e-6, 99).tolist()))
    save(strict, tmp_path / "m.json")
    node = node_on(*tape(120), with_model(tmp_path / "m.json"))
    node.run()
    opened = [r for r in records(node, BreakerChanged) if r.name == BREAKER]
    first = min(r.ts for r in records(node, FillBooked))
    assert opened
    assert opened[0].state == "OPEN"
    assert opened[0].ts >= first
    assert opened[0].measure > 2.5


def test_footprints_say_what_they_are_called() -> None:
    mids = np.array([100.0, 101.0, np.nan, 101.0, 100.0])
    found = footprint(mids, 50.0, 99.9, 100.1, 5.0)
    assert found.half_spread == pytest.approx(10.0)
    assert found.share == pytest.approx(0.1)
    assert found.volatility == pytest.approx(np.sqrt(2) * np.log(1.01) * 1e4)
    assert footprint(np.array([]), 0.0, 99.0, 101.0, 2.0).share == 2.0


def test_without_samples_nothing_is_bounded_or_scored() -> None:
    catalog, _ = tape(30)
    watch = Watch(SlippageModel(), catalog)
    assert watch.price(catalog.instruments[0].name, Side.BUY, 5, (99, 101)) is None
    others: dict[str, dict[str, float]] = {"vpin_toxicity": {"BTC": 0.5}}
    told = watch.measures(others)
    assert told[BREAKER] == {"BTC": 0.0}
    assert watch.measures(others) is told
