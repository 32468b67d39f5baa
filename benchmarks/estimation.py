"""Robust estimation: one update of location and scatter, beside scikit-learn's in the same run."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import MinCovDet

from benchmarks.measure import (
    Bench,
    Floor,
    Part,
    Result,
    Timings,
    alternate,
    nothing,
    same,
)
from seawall.core.randomness import generator
from seawall.estimation import CatoniMean, Estimate, Mrcd, Reservoir
from seawall.estimation.location_kernels import catoni_columns

N, D = 1000, 8
FRESH = 100  # rows that a warm start has not seen yet
Array = NDArray[np.float64]


def _at_most(milliseconds: float) -> tuple[Floor, ...]:
    return (Floor(milliseconds, "goal", at_least=False),)


def estimation(bench: Bench) -> Iterator[Result]:
    """Cold and warm MRCD by the side of MinCovDet, Catoni's means, and the reservoir."""
    rows = _rows(N + FRESH)
    before, window = rows[:N], np.ascontiguousarray(rows[FRESH:])
    start, out = Mrcd().fit(before), np.empty(D)

    def catoni() -> Array:
        catoni_columns(window, 1.0, 2.0, out)
        return out

    times = 1 if bench.quick else 10
    works: list[tuple[str, int, tuple[Floor, ...], Callable[[], Estimate | Array]]] = [
        ("MRCD, cold", times, _at_most(20), partial(Mrcd().fit, window)),
        ("MRCD, warm start", 10 * times, _at_most(0.6), partial(Mrcd().fit, window, start=start)),
        ("Catoni's means, scale given", 100 * times, _at_most(0.15), catoni),
        ("Catoni's means, own scale, bound", 10 * times, (), partial(CatoniMean().fit, window)),
    ]
    parts: list[Part[object, object, str]] = [
        (nothing, partial(_repeated, work, count), _hash) for _, count, _, work in works
    ]
    peer: Part[object, object, str] = (
        nothing,
        lambda _: MinCovDet(random_state=0).fit(window).raw_location_,
        _hash,
    )
    for _, _, _, work in works:
        work()  # kernels loaded
    *ours, theirs = alternate(bench.runs, *parts, peer)
    on = f"{N} rows, {D} columns"
    for (what, count, floors, _), timed in zip(works, ours, strict=True):
        yield _milliseconds(what, on, timed, count, floors)
    yield _milliseconds("scikit-learn's MinCovDet, cold", on, theirs, 1, ())
    cold = [
        peer / (mine / works[0][1]) for peer, mine in zip(theirs.wall, ours[0].wall, strict=True)
    ]
    yield Result("estimation", "MinCovDet over MRCD, cold", on, "×", cold)
    yield from _sampling(bench)


def _sampling(bench: Bench) -> Iterator[Result]:
    count = 2000 if bench.quick else 500_000
    draw = generator(1, "benchmarks.reservoir")
    source, event = draw.integers(0, 5, count), np.arange(count)
    trust, rows = draw.uniform(0.3, 1.0, count), draw.standard_normal((count, D))

    def offer(reservoir: Reservoir) -> Reservoir:
        reservoir.offer(source, event, trust, rows)
        return reservoir

    ways = (("keys of events", False), ("exponential jumps", True))
    for _, jumps in ways:
        _reservoir(jumps).offer(source[:9], event[:9], trust[:9], rows[:9])
    parts: list[Part[Reservoir, Reservoir, str]] = [
        (partial(_reservoir, jumps), offer, _sample_hash) for _, jumps in ways
    ]
    for (way, _), timed in zip(ways, alternate(bench.runs, *parts), strict=True):
        yield Result(
            "estimation",
            f"rows into the reservoir, {way}",
            f"{count:,} rows, 5 sources, {N} kept, 250 of one",
            "rows/s",
            timed.rates(count),
            timed.cpu_rate(count),
            note=same("sample", timed.outcomes),
        )


def _rows(count: int) -> Array:
    """Gaussian, correlated 0.5, a tenth of them in a far cluster, in no order."""
    draw = generator(1, "benchmarks.estimation")
    rows = np.sqrt(0.5) * (draw.standard_normal((count, 1)) + draw.standard_normal((count, D)))
    rows[draw.permutation(count)[: count // 10]] += np.where(np.arange(D) % 2, 6.0, -6.0)
    return np.asarray(rows, np.float64)


def _reservoir(jumps: bool) -> Reservoir:
    return Reservoir(N, N // 4, 1, jumps=jumps)


def _repeated(work: Callable[[], object], count: int, _: object) -> object:
    for _number in range(count - 1):
        work()
    return work()


def _milliseconds(
    what: str, on: str, timed: Timings[str], count: int, floors: tuple[Floor, ...]
) -> Result:
    values = [1000.0 * seconds / count for seconds in timed.wall]
    by_cpu = 1000.0 * timed.cpu_median / count
    note = same("means", timed.outcomes)
    return Result("estimation", what, on, "ms", values, by_cpu, floors, note)


def _hash(found: object) -> str:
    mean = found.mean if isinstance(found, Estimate) else found
    return hashlib.sha256(np.asarray(mean, np.float64).tobytes()).hexdigest()


def _sample_hash(reservoir: Reservoir) -> str:
    return hashlib.sha256(reservoir.events().tobytes()).hexdigest()
