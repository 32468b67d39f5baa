"""The robust core's review of one group, beside scikit-learn's MinCovDet in the same run."""

import hashlib
from collections.abc import Iterator

import numpy as np
from sklearn.covariance import MinCovDet

from benchmarks.measure import Bench, Floor, Result, Timings, alternate, nothing, same
from seawall.core.consensus import WIDTH
from seawall.gating import reference as references
from seawall.lab import twin

ROWS, SOURCES = 1000, 5


def robust(bench: Bench) -> Iterator[Result]:
    """Judging five sources and updating the model from 1000 rows of eight features."""
    panel = twin.market(twin.MarketPanel(), ROWS + 200, SOURCES, 0)
    run = twin.run(panel)
    gating, group = run.gating, run.group
    reference = group.reference
    assert reference is not None
    now, times = gating.reviewed, 1 if bench.quick else 50
    view = gating._view(0, now, 0.1, {})

    def judge(_: object) -> str:
        for _ in range(times):
            found = gating._judge(0, now)
        return str(sorted(found.items()))

    def update(_: object) -> str:
        for _ in range(times):
            group.review(view, True)
        return str(group.figures.window)

    def certify(_: object) -> str:
        for _ in range(times):
            _, ends, _, _ = references.evaluate(
                view.panel,
                view.factor,
                view.member,
                0,
                reference.rule,
                reference.usual,
                reference.centre,
                reference.scale,
                view.barred,
            )
        return str(ends)

    window = np.ascontiguousarray(panel[-ROWS:, 0, :WIDTH])

    def peer(_: object) -> str:
        return str(MinCovDet(random_state=0).fit(window).raw_location_)

    parts = [(nothing, work, _hash) for work in (judge, update, certify, peer)]
    for _, work, _ in parts:
        work(None)  # kernels loaded
    judged, updated, certified, theirs = alternate(bench.runs, *parts)
    on = f"{ROWS} rows, {WIDTH} features, {SOURCES} sources"
    goal = (Floor(2.0, "goal", at_least=False),)
    yield _milliseconds("robust update: clip, Catoni, MRCD, market gate", on, updated, times, goal)
    yield _milliseconds("authenticity gate, all sources", on, judged, times, ())
    yield _milliseconds(
        "certificate: consensus, location and scatter with bounds",
        on,
        certified,
        times,
        (Floor(1.0, "goal", at_least=False),),
    )
    yield _milliseconds("scikit-learn's MinCovDet", on, theirs, 1, ())
    ratio = [p / (u / times) for p, u in zip(theirs.wall, updated.wall, strict=True)]
    yield Result("robust", "MinCovDet over the robust update", on, "×", ratio)


def _hash(outcome: str) -> str:
    return hashlib.sha256(outcome.encode()).hexdigest()


def _milliseconds(
    what: str, on: str, timed: Timings[str], times: int, floors: tuple[Floor, ...]
) -> Result:
    values = [seconds / times * 1e3 for seconds in timed.wall]
    return Result(
        "robust", what, on, "ms", values, floors=floors, note=same("result", timed.outcomes)
    )
