import numpy as np
import polars as pl
import pytest

from seawall.core.errors import DataError
from seawall.execution.volume_curve import DAY, learn
from tests.recorded import DATA

HOUR = DAY // 24


def days(count: int, profile: np.ndarray, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(5)
    ts = np.arange(count * 24) * HOUR
    volume = np.tile(profile, count) * np.exp(noise * draws.standard_normal(len(ts)))
    return ts, volume


def test_a_curve_without_noise_is_the_profile_smoothed() -> None:
    profile = np.linspace(1.0, 2.0, 24)
    curve = learn(*days(10, profile), HOUR)
    smooth = (np.roll(profile, 1) + 2 * profile + np.roll(profile, -1)) / 4
    assert np.allclose(curve.shares, smooth / smooth.sum())
    assert curve.days == 10


def test_wild_days_and_hours_move_it_little() -> None:
    profile = 1.0 + np.sin(np.arange(24) / 24 * 2 * np.pi) ** 2
    ts, volume = days(41, profile, 0.1)
    clean = learn(ts, volume, HOUR).shares
    wild = volume.copy()
    wild[: 10 * 24] *= np.random.default_rng(1).pareto(0.5, 10 * 24)
    assert np.abs(learn(ts, wild, HOUR).shares / clean - 1).max() < 0.1


def test_expected_volumes_of_a_span_add_up_across_midnight() -> None:
    curve = learn(*days(6, np.arange(1.0, 25.0)), HOUR)
    parts = curve.between(22 * HOUR + 17, DAY + 3 * HOUR, 37)
    assert (parts > 0).all()
    assert parts.sum() == pytest.approx(curve.between(22 * HOUR + 17, DAY + 3 * HOUR, 1)[0])
    assert curve.between(5, 5 + DAY, 96).sum() == pytest.approx(1.0)


def test_too_few_days_are_said() -> None:
    ts, volume = days(4, np.ones(24))
    with pytest.raises(DataError, match="4 whole days"):
        learn(ts, volume, HOUR)
    with pytest.raises(DataError, match="divide a day"):
        learn(ts, volume, HOUR - 1)


@pytest.mark.recorded
def test_on_recorded_bars_it_foretells_later_days_better_than_an_even_one() -> None:
    path = DATA / "ohlcv" / "binance_perp_15m" / "BTCUSDT.parquet"
    if not path.exists():
        pytest.skip(f"no recorded market at {path} (set RECORDED_DATA)")
    bars = pl.read_parquet(path).sort("ts")
    ts = bars["ts"].cast(pl.Datetime("ns")).cast(pl.Int64).to_numpy()
    volume = bars["volume"].to_numpy()
    half = int(np.searchsorted(ts, ts[len(ts) // 2] // DAY * DAY))
    curve = learn(ts[:half], volume[:half], DAY // 96).shares
    day = ts[half:] // DAY
    whole = np.isin(
        day, [d for d, n in zip(*np.unique(day, return_counts=True), strict=True) if n == 96]
    )
    rows = volume[half:][whole].reshape(-1, 96)
    shares = rows / rows.sum(axis=1, keepdims=True)
    ours = np.abs(np.cumsum(shares - curve, axis=1)).max(axis=1)
    flat = np.abs(np.cumsum(shares - 1 / 96, axis=1)).max(axis=1)
    assert np.median(ours) < np.median(flat)
    assert (ours < flat).mean() > 0.5
