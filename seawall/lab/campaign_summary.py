"""What a campaign found, in a few figures."""

from collections.abc import Sequence

import msgspec

from seawall.lab import ablation
from seawall.lab.adaptive import GOALS
from seawall.lab.campaign import Beaten, Campaign, Line, beaten, number, scenarios

FAULTY = 1  # what the certificate of the twin withstands


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """The best of all restarts on one market with one goal.

    ratio: largest shift (goals mean, axis) or difference of exposure over its bound. shift,
    certificate: of what the goal counts: reference sigma, or shares of the cap. axis: largest
    shift of one axis. naive: the same attack's shift of a plain mean.
    """

    market: str
    goal: str
    ratio: float
    shift: float
    certificate: float
    axis: float
    naive: float
    evaluations: int
    restarts: int


class Ablated(msgspec.Struct, frozen=True, kw_only=True):
    """The best without a defence, and with it, by the same search; over the bound."""

    defence: str
    summary: str
    term: str
    ratio: float
    whole: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. cells: of the grid, `covered` by a certificate; grid_ratio: the largest of these.

    false_rejects: of honest sources on markets that nobody attacks, of `judged`.
    """

    searches: tuple[Search, ...]
    ablations: tuple[Ablated, ...]
    cells: int
    covered: int
    grid_ratio: float
    false_rejects: int
    judged: int
    evaluations: int
    beaten: tuple[Beaten, ...]


def summary_of(campaign: Campaign, lines: Sequence[Line]) -> Summary:
    """The figures of results."""
    grid = [line for line in lines if line.job.part == "grid"]
    covered = [line for line in grid if line.job.kind and line.job.hostile <= FAULTY]
    clean = [line for line in grid if not line.job.kind]
    searched = [line for line in lines if line.job.part == "search"]
    return Summary(
        searches=tuple(_searches(campaign, searched)),
        ablations=tuple(_ablations(lines)),
        cells=len(grid),
        covered=len(covered),
        grid_ratio=max((number(line.result["ratio"]) for line in covered), default=0.0),
        false_rejects=sum(line.result["false_rejects"] for line in clean),
        judged=sum(line.result["judged"] for line in clean),
        evaluations=sum(line.result["evaluations"] for line in searched),
        beaten=tuple(beaten(lines, FAULTY)),
    )


def _searches(campaign: Campaign, lines: Sequence[Line]) -> list[Search]:
    found = []
    for market in scenarios(campaign):
        for goal in GOALS:
            of = [line for line in lines if (line.job.market, line.job.kind) == (market, goal)]
            if not of:
                continue
            best = max((line.result for line in of), key=lambda result: number(result["worst"]))
            exposure = goal == "exposure"
            found.append(
                Search(
                    market=market,
                    goal=goal,
                    ratio=number(best["exposure_ratio" if exposure else "ratio"]),
                    shift=number(best[{"exposure": "exposure", "axis": "axis"}.get(goal, "shift")]),
                    certificate=number(best["exposure_bound" if exposure else "certificate"]),
                    axis=number(best["axis"]),
                    naive=number(best["naive"]),
                    evaluations=sum(line.result["evaluations"] for line in of),
                    restarts=len(of),
                )
            )
    return found


def _ablations(lines: Sequence[Line]) -> list[Ablated]:
    found = []
    for name, each in ablation.ABLATIONS.items():
        of = [
            line.result for line in lines if line.job.part == "ablation" and line.job.market == name
        ]
        if of:
            found.append(
                Ablated(
                    defence=name,
                    summary=each.summary,
                    term=each.term,
                    ratio=max(number(result["worst"]) for result in of),
                    whole=max(number(result["whole"]) for result in of),
                )
            )
    return found
