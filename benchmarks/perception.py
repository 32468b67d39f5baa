"""Perception with admission: rows in memory to finished frames and consensus rows."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import data
from benchmarks.measure import Bench, Floor, Result, itself, repeat, same
from seawall.core.settings import FeedSettings, Settings
from seawall.node.assembly import perception_of
from seawall.node.perception import Perception

CADENCES = (1000, 100)  # ms
FLOORS = (Floor(5e6, "first version"), Floor(40e6, "goal"))


def perception(bench: Bench) -> Iterator[Result]:
    """All stages of perception over the whole tape, signatures off."""
    market = data.market(bench)
    blocks, rows = market.blocks, len(market.rows)

    def work(stages: Perception) -> tuple[str, int]:
        frames = sum(len(made.frames) for block in blocks for made in stages.observe(block))
        frames += sum(len(made.frames) for made in stages.flush())
        return stages.frames_hash, frames

    for cadence in CADENCES:
        settings = backtest_settings(market.folder, cadence)
        work(perception_of(settings, market.catalog))  # kernels loaded, pages touched
        timed = repeat(bench.runs, partial(perception_of, settings, market.catalog), work, itself)
        hashes = [one for one, _ in timed.outcomes]
        yield Result(
            "perception",
            f"perception with admission, frames every {cadence} ms",
            market.label,
            "rows/s",
            timed.rates(rows),
            timed.cpu_rate(rows),
            FLOORS,
            f"{same('frames', hashes)}, {timed.outcomes[0][1]:,} frames",
        )


def backtest_settings(folder: Path, cadence_ms: int) -> Settings:
    """The defaults, on this tape."""
    return Settings(
        mode="backtest", feed=FeedSettings(name="replay", tape=folder, cadence_ms=cadence_ms)
    )
