"""The microstructure features: rows in memory to frames with features, and a frame by itself."""

import hashlib
from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks import data
from benchmarks.measure import Bench, Result, itself, repeat, same
from seawall.market import MarketShape
from seawall.market.features import COLUMNS, FeatureReader, Features

CADENCES = (1000, 100)  # ms


def features(bench: Bench) -> Iterator[Result]:
    """All features of all books over the whole tape; then frames that lie ready."""
    market = data.market(bench)
    blocks, rows = market.blocks, len(market.rows)

    def read(reader: FeatureReader) -> tuple[str, int]:
        digest, frames = hashlib.sha256(), 0
        for one in (one for block in blocks for one in reader.observe(block)):
            digest.update(one.features.data)
            frames += len(one.frames)
        return digest.hexdigest(), frames

    for cadence in CADENCES:
        shape = MarketShape(cadence_ns=cadence * 1_000_000)
        read(FeatureReader(market.catalog, shape))  # kernels loaded, pages touched
        timed = repeat(bench.runs, partial(FeatureReader, market.catalog, shape), read, itself)
        hashes = [one for one, _ in timed.outcomes]
        yield Result(
            "features",
            f"admission, books and {len(COLUMNS)} features, frames every {cadence} ms",
            market.label,
            "rows/s",
            timed.rates(rows),
            timed.cpu_rate(rows),
            note=f"{same('features', hashes)}, {timed.outcomes[0][1]:,} frames",
        )
    reader = FeatureReader(market.catalog, shape)
    taken = [one for block in blocks for one in reader.read(block)]
    frames = np.concatenate([one.frames for one in taken])
    samples = np.concatenate([one.samples for one in taken])
    timed = repeat(
        bench.runs,
        partial(Features, market.catalog, shape),
        lambda state: state.observe(frames, samples),
        lambda found: hashlib.sha256(found.data).hexdigest(),
    )
    yield Result(
        "features",
        f"{len(COLUMNS)} features of a frame",
        f"{len(frames):,} frames every {CADENCES[-1]} ms, {market.label}",
        "µs",
        [seconds / len(frames) * 1e6 for seconds in timed.wall],
        timed.cpu_median / len(frames) * 1e6,
        note=same("features", timed.outcomes),
    )
