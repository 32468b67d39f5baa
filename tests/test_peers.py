"""The comparisons with other systems: what our halves do, how both are asked and judged."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import data
from benchmarks.measure import Bench, Timings
from benchmarks.peers import candles_compare, environments, nautilus_compare
from benchmarks.peers.candles_seldom import Seldom, SeldomShape
from benchmarks.peers.environments import Half, Peer, interpreter
from seawall.core.clock import MINUTE
from seawall.core.consensus import CONSENSUS
from seawall.core.errors import DataError
from seawall.core.frames import FrameFlag
from seawall.decision.strategies import CrossShape, MovingAverageCross
from tests.tapes import COMPILED

TINY = """
import sys
sys.path.insert(0, {peers!r})
import time
from talking import answer, job
given = job()
count = 0
def work(run):
    global count
    count += 1
    if run == "die":
        sys.exit(3)
    print("a library prints this")
    told = {{"run": run, "count": count, "word": given["word"]}}
    return told | {{"seconds": float(count), "cpu": 2.0}}
answer(work)
"""


@pytest.fixture
def half(tmp_path: Path) -> Iterator[Half]:
    script, path = tmp_path / "half.py", tmp_path / "job.json"
    peers = str(Path(environments.__file__).parent)
    script.write_text(TINY.format(peers=peers))
    path.write_text(json.dumps({"core": environments.core(), "word": "here"}))
    made = Half([sys.executable, script], path)
    yield made
    made.end()


def test_a_half_is_asked_run_by_run_and_the_first_only_warms_it(tmp_path: Path, half: Half) -> None:
    one, other = environments.in_turns(Bench(2, tmp_path), (half, "one"), (half, "other"))
    half.end()
    assert half.process.returncode == 0
    assert [told["run"] for told in one.outcomes] == ["one"] * 2
    assert [told["count"] for told in one.outcomes] == [3, 5]
    assert other.wall == [4.0, 6.0]
    assert one.outcomes[0]["word"] == "here"
    assert 1e6 < one.outcomes[0]["peak"] < 1e8, "its own, not that of the process it came from"
    assert environments.ratios(other, one) == ([4 / 3, 6 / 5], 1.0)


def test_a_half_that_has_ended_is_said_in_one_line(half: Half) -> None:
    with pytest.raises(DataError, match=r"half.py ended with 3; see what it said"):
        half.turn("die")


def test_a_peer_without_its_python_is_said_in_one_line() -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert interpreter(Peer("a", ("a==1",))) == sys.executable
    assert interpreter(Peer("a", ("a==1",), ("2.6", here))) == sys.executable
    with pytest.raises(DataError, match=r"a==1 needs Python 2.5 or 2.6, and there is none"):
        interpreter(Peer("a", ("a==1",), ("2.5", "2.6")))


@pytest.mark.skipif(not COMPILED, reason="interpreted kernels take too long")
def test_our_half_leaves_the_orders_that_theirs_sends(tmp_path: Path) -> None:
    bench = Bench(1, tmp_path, quick=True)
    market = data.market(bench)
    book = nautilus_compare.busiest(market.catalog, market.rows)
    part = nautilus_compare.Part("tiny", book.rows, book.cadence_ms, book)
    folder = tmp_path / "job"
    job = nautilus_compare._job(market, part, folder)
    (folder / "job.json").write_text(json.dumps(job))
    told = nautilus_compare.Ours(job).run("")
    orders, fills = np.load(job["orders"]), np.load(folder / "ours.npy")
    assert told["orders"] == len(orders) > 5
    assert told["fills"] == len(fills) >= len(orders)
    assert (np.diff(orders[:, 0]) > 0).all()
    timed = Timings([told["seconds"]], [told["cpu"]], [told])
    np.save(folder / "theirs-shared.npy", fills)
    same = nautilus_compare._same(folder, "shared", timed)
    assert f"{len(orders)} of {len(orders)} orders filled alike, positions the same" in same
    changed = fills.copy()
    changed[3, 3] += 1
    changed[3, 4] -= 1
    np.save(folder / "theirs-shared.npy", changed)
    same = nautilus_compare._same(folder, "shared", timed)
    assert f"{len(orders) - 1} of {len(orders)} orders filled alike, positions DIFFER" in same


@pytest.mark.skipif(not COMPILED, reason="interpreted kernels take too long")
def test_our_half_of_the_candles_trades_at_their_closes(tmp_path: Path) -> None:
    bench = Bench(1, tmp_path, quick=True)
    read, _ = data.minutes(bench)
    gone = dataclasses.replace(read, rows=np.delete(read.rows, np.s_[400:440]))  # ten candles
    made = candles_compare._end_to_end(gone)
    assert (np.diff(made.rows["recv_ts"][::4]) == MINUTE).all()
    folder = tmp_path / "candles"
    job = candles_compare._job(made, folder)
    candles = np.load(job["candles"])
    told = candles_compare.Ours(job).run("1")
    fills = np.load(folder / "ours-1.npy")
    assert told["orders"] == len(fills) > 0
    closes = dict(zip(candles[:, 0] + 60_000, candles[:, 2], strict=True))
    tick = float(read.catalog.instruments[0].tick) / candles_compare.FINER
    assert all(abs(price - closes[when]) <= 1.01 * tick for when, _, price, _ in fills)
    np.save(folder / "jesse-1.npy", fills)
    timed = Timings([1.0], [1.0], [told])
    same = candles_compare._same(folder, "jesse", 1, timed, timed)
    count = len(fills)
    assert same.startswith(f"{count} and {count} fills, {count} of one moment and side")


@pytest.mark.parametrize("split", [1, 7, 24, 241])
def test_the_seldom_cross_is_the_cross_of_every_so_manieth_row(split: int) -> None:
    random = np.random.default_rng(3)
    rows = np.zeros(2_000, CONSENSUS)
    rows["price"] = 100 * np.exp(np.cumsum(random.normal(0, 0.01, len(rows))))
    rows["flags"] = FrameFlag.VALID
    seldom = Seldom(SeldomShape(fast=2, slow=5, every=24), 1)
    state = seldom.start()
    parts = [seldom.exposures(rows[at : at + split], state) for at in range(0, len(rows), split)]
    found = np.concatenate(parts)
    cross = MovingAverageCross(CrossShape(fast=2, slow=5), 1)
    wanted = cross.exposures(rows[23::24].copy(), cross.start())
    np.testing.assert_array_equal(found[23::24], wanted)
    assert np.isnan(np.delete(found, np.s_[23::24])).all()
    assert set(wanted[~np.isnan(wanted)]) == {1.0, -1.0}
