"""The attack campaign: a grid of known attacks, a search by one who knows everything, ablations.

Each cell and each restart is a job of its own, whose result is a line of results.jsonl as soon as
it is known; a campaign that was interrupted goes on with what is missing. The same settings give
the same bytes.
"""

import hashlib
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError, SettingError, StoreError
from seawall.lab import ablation, adaptive, panel_attacks, twin
from seawall.lab.adaptive import ATTACK_FROM, GOALS, Scenario
from seawall.lab.twin import MarketPanel, Run

Array = NDArray[np.float64]
RESULTS = "results.jsonl"
VERSION = 1
MARKETS: dict[str, MarketPanel] = {
    "iid": MarketPanel(tau=0.1),
    "garch": MarketPanel(tau=0.2, garch=(0.1, 0.88)),
    "outages": MarketPanel(tau=0.2, tail=5.0, offsets=0.3, outage=0.001),
    "memory": MarketPanel(tau=0.3, memory=0.8),
    "wide": MarketPanel(tau=0.8),
}
GRID_MARKET = "garch"
HOSTILE = (1, 2)
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
SIZES = (1.0, 3.0, 5.0, 10.0)
THRESHOLDS = tuple(float(x) for x in np.geomspace(0.05, 20.0, 53))
LEAST_SOURCES = 5  # that a certificate takes
LEAST_ROWS = ATTACK_FROM + 2 * twin.REVIEW
ABLATION_RESTARTS = 2
ABLATION_EVALUATIONS = 20
INSIDE = 1.0 + 1e-9  # times its bound: what is above has beaten the certificate


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be attacked, and how long.

    Attributes:
        sources: of each market. rows: frames of each market. evaluations: of the search in all,
            shared by the restarts. seed: of the markets and the search.
        panels: recorded markets: name → SHA-256 of the array's bytes; the array itself is
            `panel-NAME.npy` in the folder.
        kinds, shares, sizes: of the grid.
    """

    sources: int = 5
    rows: int = 3600
    evaluations: int = 10_000
    restarts: int = 60
    seed: int = 0
    panels: dict[str, str] = {}
    kinds: tuple[str, ...] = tuple(panel_attacks.KINDS)
    shares: tuple[float, ...] = SHARES
    sizes: tuple[float, ...] = SIZES
    version: int = VERSION

    def check(self) -> "Campaign":
        """Self, or SettingError."""
        limits = (
            ("--sources", self.sources, LEAST_SOURCES, 60),
            ("--rows", self.rows, LEAST_ROWS, 1_000_000),
            ("--evaluations", self.evaluations, 1, 100_000_000),
            ("--restarts", self.restarts, 1, self.evaluations),
        )
        for name, value, least, most in limits:
            if not least <= value <= most:
                raise SettingError(f"{name} is {value:,}; give a number from {least:,} to {most:,}")
        return self

    @property
    def name(self) -> str:
        """Twelve hexadecimal digits over the settings."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of the grid, one restart of the search, or one of a search without a defence.

    part: "grid", "search" or "ablation". market: the scenario's name; of an ablation, the defence.
    """

    part: str
    market: str
    kind: str = ""  # of the grid's attack, or the goal of the search
    hostile: int = 1
    share: float = 0.0
    size: float = 0.0
    seed: int = 0
    evaluations: int = 0

    @property
    def key(self) -> str:
        """Its name among the results."""
        if self.part == "grid":
            strength = f"{self.hostile}/{self.share:g}/{self.size:g}"
            return f"grid/{self.market}/{self.kind or 'clean'}/{strength}"
        return f"{self.part}/{self.market}/{self.kind}/{self.seed}/{self.evaluations}"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One result on disk; `campaign` is the name of the settings."""

    campaign: str
    job: Job
    result: dict[str, Any]


Report = Callable[[int, int], None]


def grid_jobs(campaign: Campaign) -> list[Job]:
    """The market without an attack, then every attack at every strength."""
    jobs = [Job(part="grid", market=name, hostile=0) for name in scenarios(campaign)]
    for kind in campaign.kinds:
        for hostile in HOSTILE:
            for share in campaign.shares:
                jobs += [
                    Job(
                        part="grid",
                        market=GRID_MARKET,
                        kind=kind,
                        hostile=hostile,
                        share=share,
                        size=size,
                    )
                    for size in campaign.sizes
                ]
    return jobs


def search_jobs(campaign: Campaign) -> list[Job]:
    """Restarts, spread evenly over scenarios and goals; then the ablations."""
    places = [(market, goal) for goal in GOALS for market in scenarios(campaign)]
    jobs = []
    for restart in range(campaign.restarts):
        market, goal = places[restart % len(places)]
        share = campaign.evaluations * (restart + 1) // campaign.restarts
        share -= campaign.evaluations * restart // campaign.restarts
        jobs.append(
            Job(
                part="search",
                market=market,
                kind=goal,
                seed=campaign.seed + restart // len(places),
                evaluations=share,
            )
        )
    jobs += [
        Job(
            part="ablation",
            market=name,
            kind=each.goal,
            seed=campaign.seed + restart,
            evaluations=min(ABLATION_EVALUATIONS, campaign.evaluations),
        )
        for name, each in ablation.ABLATIONS.items()
        for restart in range(ABLATION_RESTARTS)
    ]
    return jobs


def scenarios(campaign: Campaign) -> tuple[str, ...]:
    """Names of the markets that are attacked."""
    return (*MARKETS, *campaign.panels)


# --- one job ---


def panel_of(campaign: Campaign, folder: Path, market: str) -> Array:
    """A market's honest panel (rows, sources, PANEL_WIDTH).

    Raises:
        DataError: a recorded one is missing or is not the one of the settings.
    """
    if market in MARKETS:
        return twin.market(MARKETS[market], campaign.rows, campaign.sources, campaign.seed)
    panel = load_panel(folder, market)
    if panel is None or digest_of(panel) != campaign.panels[market]:
        raise DataError(
            f"{panel_path(folder, market)}: has changed; start the campaign anew in another folder"
        )
    return panel


def load_panel(folder: Path, market: str) -> Array | None:
    """A recorded panel, None where there is none.

    Raises:
        DataError: it cannot be read.
    """
    path = panel_path(folder, market)
    if not path.exists():
        return None
    try:
        panel: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        raise DataError(f"{path}: cannot be read; start the campaign anew elsewhere") from None
    return panel


def save_panel(folder: Path, market: str, panel: Array) -> None:
    """Store a recorded panel, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    path = panel_path(folder, market)
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as file:
            np.save(file, panel, allow_pickle=False)
        os.replace(draft, path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {(error.strerror or 'unknown').lower()}") from None


def panel_path(folder: Path, market: str) -> Path:
    """Where a recorded panel lies."""
    return folder / f"panel-{market}.npy"


def digest_of(panel: Array) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(panel, dtype="<f8").tobytes()).hexdigest()


@lru_cache(maxsize=16)
def _scenario(settings: bytes, folder: Path, market: str) -> Scenario:
    campaign = msgspec.json.decode(settings, type=Campaign)
    return adaptive.scenario(market, panel_of(campaign, folder, market))


def work(settings: bytes, folder: Path, job: Job) -> dict[str, Any]:
    """Do one job; settings: a Campaign as JSON."""
    if job.part == "ablation":
        return _ablated(msgspec.json.decode(settings, type=Campaign), job)
    market = _scenario(settings, folder, job.market)
    if job.part == "grid":
        return _cell(market, job)
    return _found(adaptive.search(market, job.kind, job.evaluations, job.seed))


def _ablated(campaign: Campaign, job: Job) -> dict[str, Any]:
    each = ablation.ABLATIONS[job.market]
    panel = twin.market(each.market, campaign.rows, campaign.sources, campaign.seed)
    start = None if each.start is None else np.array(each.start)
    with each.weaken():
        market = adaptive.scenario(f"ablation.{each.name}", panel)
        weak = adaptive.search(market, each.goal, job.evaluations, job.seed, start)
    market = adaptive.scenario(f"ablation.{each.name}", panel)
    whole = adaptive.search(market, each.goal, job.evaluations, job.seed, start)
    return {**_found(weak), "term": each.term, "whole": whole.worst}


def _found(found: adaptive.Found) -> dict[str, Any]:
    return {
        "worst": found.worst,
        "knobs": [float(k) for k in found.knobs],
        "evaluations": found.evaluations,
        **{name: float(value) for name, value in found.excess._asdict().items()},
    }


def _cell(market: Scenario, job: Job) -> dict[str, Any]:
    """One cell of the grid: shifts, certificate, and what the authenticity gate made of it."""
    from_review = ATTACK_FROM // twin.REVIEW
    if not job.kind:
        run = market.clean
    else:
        panel = panel_attacks.attacked(
            market.panel, market.scale, job.kind, job.hostile, job.share, job.size, ATTACK_FROM
        )
        run = adaptive.run(market, panel)
    excess = twin.excess(market.clean, run, from_review)
    names = [source.name for source in twin.catalog_of(market.panel.shape[1]).sources]
    return {
        **{name: float(value) for name, value in excess._asdict().items()},
        **_gate(run, names, job.hostile if job.kind else 0, from_review),
        "learned": sum(not reason for reason in run.decision[from_review:]),
    }


def _gate(run: Run, names: list[str], hostile: int, first: int) -> dict[str, Any]:
    """Delay in seconds, false accepts and rejects, and reviews by score, of hostile and honest."""
    accused = run.accused[first:]
    liars, others = set(names[:hostile]), set(names[hostile:])
    hits = [at for at, who in enumerate(accused) if who & liars]
    scores = run.scores[first:]
    passed = run.votes[first:, :hostile] & ~(scores[:, :hostile] >= 1.0)
    return {
        "delay": float((hits[0] + 1) * twin.REVIEW) if hits else None,
        "false_accepts": int(passed.sum()),
        "attacked": int(passed.size),
        "false_rejects": sum(len(who & others) for who in accused),
        "judged": len(accused) * len(others),
        "hostile_scores": _beyond(scores[:, :hostile]),
        "honest_scores": _beyond(scores[:, hostile:]),
    }


def _beyond(scores: Array) -> list[int]:
    """How many were judged, then how many reached each of THRESHOLDS."""
    known = scores[np.isfinite(scores)]
    return [len(known), *(int((known >= limit).sum()) for limit in THRESHOLDS)]


# --- all of them ---


def run(
    campaign: Campaign,
    folder: Path,
    jobs: list[Job],
    workers: int,
    report: Report = lambda done, total: None,
    complain: Callable[[str], None] = lambda words: None,
) -> dict[str, dict[str, Any]]:
    """Do what is missing of `jobs`; key → result of them all.

    A KeyboardInterrupt stops the workers; what was finished is on disk.

    Args:
        workers: processes; 1: this one. report: is told (done, total). complain: of lines that
            cannot be used.

    Raises:
        StoreError: the folder cannot be written. DataError: it holds another campaign.
    """
    settings = msgspec.json.encode(campaign, order="sorted")
    lines = read(folder, campaign.name, complain)
    todo = [job for job in jobs if job.key not in lines]
    report(len(jobs) - len(todo), len(jobs))
    if todo:
        try:
            with (folder / RESULTS).open("ab") as file:
                _finish_line(folder / RESULTS, file)
                for done, (job, result) in enumerate(_results(settings, folder, todo, workers), 1):
                    line = Line(campaign=campaign.name, job=job, result=result)
                    lines[job.key] = line
                    file.write(msgspec.json.encode(line) + b"\n")
                    file.flush()
                    report(len(jobs) - len(todo) + done, len(jobs))
        except OSError as error:
            why = (error.strerror or "unknown").lower()
            raise StoreError(f"cannot write {folder / RESULTS}: {why}") from None
    _put_in_order(folder, lines)
    return {job.key: lines[job.key].result for job in jobs}


def _results(
    settings: bytes, folder: Path, todo: list[Job], workers: int
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Each job's result as it comes, by so many processes; none of them outlives this."""
    if workers <= 1:
        for job in todo:
            yield job, work(settings, folder, job)
        return
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(todo))
    under_way: dict[Connection, Job] = {}
    processes = []
    try:
        for _ in range(min(workers, len(todo))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(settings, folder, theirs), daemon=True)
            process.start()
            processes.append(process)
            theirs.close()
            under_way[ours] = waiting.pop()
            ours.send(under_way[ours])
        while under_way:
            for ready in wait(list(under_way)):
                assert isinstance(ready, Connection)  # nothing else is waited for
                job, result = under_way.pop(ready), _received(ready)
                if waiting:
                    under_way[ready] = waiting.pop()
                    ready.send(under_way[ready])
                yield job, result
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _received(connection: Connection) -> dict[str, Any]:
    try:
        result = connection.recv()
    except EOFError:
        raise DataError(
            "a worker process died, maybe for want of memory; go on with --resume and fewer "
            "--workers"
        ) from None
    if isinstance(result, Exception):
        raise result
    found: dict[str, Any] = result
    return found


def _worker(settings: bytes, folder: Path, connection: Connection) -> None:
    """Do jobs until nobody asks for more; an interrupt is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            connection.send(work(settings, folder, job))
        except Exception as error:  # noqa: BLE001 - it is the parent's to tell
            connection.send(error)


def read(
    folder: Path, name: str = "", complain: Callable[[str], None] = lambda words: None
) -> dict[str, Line]:
    """Key → line of what a folder holds; `complain` is told of lines that cannot be read.

    Raises:
        DataError: it holds another campaign than the one of this name (empty: whichever it is).
    """
    path = folder / RESULTS
    if not path.exists():
        return {}
    lines: dict[str, Line] = {}
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.DecodeError:
            complain(f"{path}, line {number}: cannot be read and is done again")
            continue
        if name and line.campaign != name:
            raise DataError(
                f"{folder} holds a campaign with other settings; give its settings again, or "
                "another folder with --out"
            )
        lines[line.job.key] = line
    return lines


def _finish_line(path: Path, file: Any) -> None:
    """A campaign that died in the middle of a line leaves it without an end."""
    if path.stat().st_size and path.read_bytes()[-1:] != b"\n":
        file.write(b"\n")


def _put_in_order(folder: Path, lines: Mapping[str, Line]) -> None:
    """Write the results in the order of their keys, so that the same campaign is the same file."""
    written = b"".join(msgspec.json.encode(lines[key]) + b"\n" for key in sorted(lines))
    path = folder / RESULTS
    if path.exists() and path.read_bytes() == written:
        return
    draft = folder / f".{RESULTS}.part"
    draft.write_bytes(written)
    os.replace(draft, path)


class Beaten(msgspec.Struct, frozen=True):
    """A bound that did not hold: where, over which goal, by how much, and how to do it again."""

    key: str
    ratio: float
    exposure_ratio: float
    knobs: tuple[float, ...] = ()


def beaten(lines: Iterable[Line], faulty: int = 1) -> list[Beaten]:
    """What lies above its certificate with all defences on and as many hostile as it withstands."""
    found = []
    for line in lines:
        job, result = line.job, line.result
        if job.part == "ablation" or job.hostile > faulty:
            continue
        ratio, exposure = (number(result.get(name)) for name in ("ratio", "exposure_ratio"))
        if max(ratio, exposure) > INSIDE or number(result.get("outside", 0.0)) > twin.SLACK:
            found.append(Beaten(job.key, ratio, exposure, tuple(result.get("knobs", ()))))
    return found


def number(value: Any) -> float:
    """A figure of a result; JSON has no infinity and says null."""
    return math.inf if value is None else float(value)
