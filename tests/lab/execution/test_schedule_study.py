from pathlib import Path

import numpy as np
import pytest

from seawall.core.clock import SECOND
from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventFlag, EventKind, Side, empty
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.execution.volume_curve import VolumeCurve
from seawall.lab.execution.recording import recording_of, recordings, sampled
from seawall.lab.execution.schedule_study import MARKET, StudyShape, summary, work

LEVELS = 10


def catalog() -> Catalog:
    instrument = Instrument(
        venue="x",
        symbol="BTCUSDT",
        kind=Kind.LINEAR,
        base="BTC",
        quote="USDT",
        tick="0.1",
        lot="0.001",
    )
    return Catalog((instrument,), (Source(name="x", venue="x"),), ((0, 0),))


def steady(seconds: int, slope: float = 0.0) -> np.ndarray:
    """A whole book each 100 ms, 100 lots a level and one tick apart, and a trade a second."""
    steps = seconds * 10
    rows = empty(steps * (2 * LEVELS + 1)).reshape(steps, -1)
    ts = 10**18 + np.arange(steps) * SECOND // 10
    mid = 100_000 + np.rint(np.arange(steps) * slope).astype(np.int64)
    rows["recv_ts"] = rows["exch_ts"] = ts[:, None]
    rows["sequence"] = np.arange(1, steps + 1)[:, None]
    rows["previous"] = -1
    rows["kind"], rows["size"] = EventKind.DEPTH, 100
    rows["kind"][:, 0] = EventKind.SNAPSHOT
    rows["flags"][:, 0], rows["flags"][:, -1] = EventFlag.BEGIN, EventFlag.END
    for side, part in ((Side.BUY, slice(1, LEVELS + 1)), (Side.SELL, slice(LEVELS + 1, None))):
        rows["side"][:, part] = side
        rows["price"][:, part] = mid[:, None] - side.sign * np.arange(1, LEVELS + 1)
    trades = empty(seconds)
    trades["recv_ts"] = trades["exch_ts"] = ts[::10] + 1
    trades["kind"], trades["size"], trades["price"] = EventKind.TRADE, 500, 100_000
    trades["side"], trades["previous"] = Side.BUY, -1
    trades["flags"] = EventFlag.BEGIN | EventFlag.END
    whole = np.concatenate([rows.reshape(-1), trades])
    return whole[np.argsort(whole["recv_ts"], kind="stable")]


def test_in_a_still_book_without_impact_costs_are_the_walk() -> None:
    recording = recording_of(steady(200), catalog())
    assert recording.touch == 100
    shape = StudyShape(multiples=(1.0, 4.0), horizon=60 * SECOND, slices=12, impact="none")
    rows = {(r.way, r.multiple): r for r in summary(work(recording, shape))}
    # half a spread of a tick of 100,000 is 0.1 bps; four levels cost 1, 2, 3 and 4 ticks
    assert rows[MARKET, 1.0].mean == pytest.approx(0.1)
    assert rows[MARKET, 4.0].mean == pytest.approx(0.25)
    assert rows["TWAP", 4.0].mean == pytest.approx(0.1)  # each child finds a fresh touch
    assert all(row.filled == 1.0 for row in rows.values())


def test_drift_cancels_in_the_mean_and_shows_in_the_spread() -> None:
    recording = recording_of(steady(200, slope=1.0), catalog())
    shape = StudyShape(multiples=(1.0,), horizon=60 * SECOND, slices=12, impact="none")
    rows = {r.way: r for r in summary(work(recording, shape))}
    assert rows["TWAP"].mean == pytest.approx(0.1, abs=0.05)
    assert rows["TWAP"].spread > 20 * rows[MARKET].spread
    bends = ["TWAP", "Almgren-Chriss, bend 2", "Almgren-Chriss, bend 6"]
    spreads = [rows[name].spread for name in bends]
    assert spreads == sorted(spreads, reverse=True)


def test_impact_costs_more_the_more_is_taken_and_vwap_needs_a_curve() -> None:
    recording = recording_of(steady(200, slope=0.2), catalog())
    shape = StudyShape(multiples=(1.0, 4.0), horizon=60 * SECOND, slices=12)
    found = work(recording, shape, VolumeCurve(np.full(24, 1 / 24), 9))
    rows = {(r.way, r.multiple): r for r in summary(found)}
    assert rows["TWAP", 4.0].mean > rows["TWAP", 1.0].mean > 0.1
    assert ("VWAP", 1.0) in rows
    assert found == work(recording, shape, VolumeCurve(np.full(24, 1 / 24), 9))


def test_the_book_is_sampled_as_it_stands() -> None:
    seen = sampled(recording_of(steady(10, slope=3.0), catalog()), SECOND, 3)
    assert seen.whole.all()
    assert np.allclose(np.diff(seen.mid), 30.0)
    assert (seen.levels[:, 0, :, 0] - seen.mid[:, None] == [-1, -2, -3]).all()
    assert (seen.levels[:, :, :, 1] == 100).all()


def test_what_cannot_be_studied_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the study needs 132 s"):
        work(recording_of(steady(60), catalog()), StudyShape())
    with pytest.raises(DataError, match="no book of nothing"):
        recording_of(steady(5), catalog(), "nothing")
    with pytest.raises(SettingError, match="impact"):
        StudyShape(impact="cubic").check()
    with pytest.raises(DataError):
        recordings([tmp_path])
