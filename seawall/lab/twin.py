"""The robust core alone, on a panel: what each source said in each frame, without tapes and orders.

An attacker who owns a source can say anything in any frame, so whatever an attack on the tape can
do to the core is some other panel. The twin of an attacked run is the same panel with what the
hostile source would have said.
"""

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.analysis import Volatility, VolatilityShape
from seawall.core.clock import SECOND
from seawall.core.consensus import CONSENSUS, LEVEL, PANEL_WIDTH, VOLUME, WIDTH
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.randomness import generator
from seawall.decision.agents import AGENTS, build
from seawall.decision.orchestrator import Orchestrator
from seawall.estimation import Moments, MomentsShape
from seawall.gating import Gating, GatingShape, GroupShape
from seawall.gating.group import Group
from seawall.market import agreement

Array = NDArray[np.float64]
CADENCE = SECOND
REVIEW = 60  # frames
GROUP = "X"
JUMP = 40.0
SLACK = 1e-9  # of rounding, added to each bound


class Run(NamedTuple):
    """What a run over a panel came to; one entry per review (K) or frame (T).

    mean, bound: (K, WIDTH) reference standard deviations; naive: the same as mean, of a plain mean
    of everything every source said (NaN before there is a reference). standing: (K,) what the
    certificate was worth. decision: (K,) why nothing was learned, empty where it was. scores:
    (K, sources) of the authenticity gate, 1 and more rejects; NaN where a source was not judged.
    votes: (K, sources) who votes after the review. exposure: (T, 3) wanted exposure and its
    interval. group, gating: as they ended.
    """

    ts: NDArray[np.int64]
    mean: Array
    bound: Array
    naive: Array
    standing: list[str]
    decision: list[str]
    exposure: Array
    accused: list[set[str]]
    scores: Array
    votes: NDArray[np.bool_]
    group: Group
    gating: Gating


def catalog_of(sources: int) -> Catalog:
    """So many venues that list one perpetual."""
    names = [f"s{i}" for i in range(sources)]
    return Catalog(
        instruments=tuple(
            Instrument(
                venue=name,
                symbol="X/USD",
                kind=Kind.LINEAR,
                base=GROUP,
                quote="USD",
                settle="USD",
                tick="0.01",
                lot="0.001",
                group=GROUP,
            )
            for name in names
        ),
        sources=tuple(Source(name=name, venue=name) for name in names),
        books=tuple((i, i) for i in range(sources)),
    ).check()


class Twin:
    """The core under way: frames of a panel in, a review after each REVIEW of them.

    The market stage's horizon is behind it: a panel holds features, not frames.
    """

    def __init__(self, sources: int, shape: GatingShape | None = None, seed: int = 0) -> None:
        shape = shape or GatingShape(group=GroupShape(explain=False))
        self.catalog = catalog_of(sources)
        self.names = tuple(source.name for source in self.catalog.sources)
        member = np.ones((1, sources), np.uint8)
        self._agreement = _agreement(member, shape.group.rule.faulty)
        self.gating = Gating([GROUP], [self.names], member, shape, CADENCE, {}, seed)
        self._moments = Moments(1, MomentsShape(), CADENCE)
        self._volatility = Volatility(1, VolatilityShape(), CADENCE)
        self._agents = {name: build(name, 1, CADENCE) for name in AGENTS}
        self._states = {name: agent.start() for name, agent in self._agents.items()}
        self._orchestrator = Orchestrator(
            self.catalog,
            [GROUP],
            dict.fromkeys(AGENTS, 1.0),
            CADENCE,
            None,
            [self.catalog.instruments[0].name],
        )
        self._reviews: list[_Seen] = []
        self._exposures: list[Array] = []
        self.frames = 0

    def observe(self, panel: Array) -> None:
        """Up to REVIEW frames (n, sources, PANEL_WIDTH), and the review after them."""
        part = np.ascontiguousarray(panel)
        rows = np.zeros(len(part), CONSENSUS)
        rows["index"] = np.arange(self.frames, self.frames + len(part))
        rows["ts"] = (rows["index"] + 1) * CADENCE
        self.frames += len(part)
        agreement.agree(self._agreement, rows, part)
        self._moments.observe(rows)
        self.gating.observe(rows, part)
        self._volatility.observe(rows)
        opinions = {
            name: agent.opine(rows, self._states[name]) for name, agent in self._agents.items()
        }
        self._exposures.append(self._orchestrator.strengths(rows, opinions))
        self._review(int(rows["ts"][-1]))

    def _review(self, now: int) -> None:
        before = dict(self.gating.sources)
        self.gating.review(now)
        self.gating.records.clear()
        group, after = self.gating.groups[0], self.gating.sources
        known = group.model is not None
        judged = [after[n].admitted or before[n].admitted for n in self.names]
        scores = [
            after[n].score if told and known else math.nan
            for n, told in zip(self.names, judged, strict=True)
        ]
        self._reviews.append(
            _Seen(
                now,
                np.array(group.model.mean if group.model else (0.0,) * WIDTH),
                group.bound.axes.copy() if known else np.zeros(WIDTH),
                np.array(group.figures.naive) if known else np.full(WIDTH, math.nan),
                group.certificate.standing.value if group.certificate else "none",
                group.reason,
                {n for n in self.names if after[n].rejections > before[n].rejections},
                np.array(scores),
                np.array([after[n].votes for n in self.names]),
            )
        )

    def result(self) -> Run:
        """What it has come to so far."""
        seen = self._reviews
        return Run(
            ts=np.array([s.ts for s in seen]),
            mean=np.array([s.mean for s in seen]),
            bound=np.array([s.bound for s in seen]),
            naive=np.array([s.naive for s in seen]),
            standing=[s.standing for s in seen],
            decision=[s.decision for s in seen],
            exposure=np.concatenate(self._exposures),
            accused=[s.accused for s in seen],
            scores=np.array([s.scores for s in seen]),
            votes=np.array([s.votes for s in seen]),
            group=self.gating.groups[0],
            gating=self.gating,
        )


class _Seen(NamedTuple):
    """One review of a run; see Run."""

    ts: int
    mean: Array
    bound: Array
    naive: Array
    standing: str
    decision: str
    accused: set[str]
    scores: Array
    votes: NDArray[np.bool_]


def run(panel: Array, shape: GatingShape | None = None, seed: int = 0) -> Run:
    """The core over a panel (T, sources, PANEL_WIDTH), one row a second."""
    return resume(Twin(panel.shape[1], shape, seed), panel)


def resume(twin: Twin, panel: Array) -> Run:
    """Go on with the rest of a panel of which a twin has seen the first `twin.frames`."""
    for start in range(twin.frames, len(panel), REVIEW):
        twin.observe(panel[start : start + REVIEW])
    return twin.result()


def saved(panel: Array, first: int, last: int) -> tuple[Run, dict[int, Twin]]:
    """A run over a panel, and copies of the twin after each review from frame `first` to `last`."""
    twin = Twin(panel.shape[1])
    copies = {}
    for start in range(0, len(panel), REVIEW):
        if first <= start <= last:
            copies[start] = copy.deepcopy(twin)
        twin.observe(panel[start : start + REVIEW])
    return twin.result(), copies


def _agreement(member: NDArray[np.uint8], faulty: int) -> agreement.AgreementState:
    sources = member.shape[1]
    return agreement.AgreementState(
        group=np.zeros(sources, np.int64),
        slot=np.arange(sources, dtype=np.int64),
        member=member,
        registered=np.array([sources], np.int64),
        past=np.zeros((1, sources, 2, agreement.FRAME_WIDTH)),
        lived=np.zeros((1, sources), np.int64),
        counts=np.zeros((1, sources), np.int64),
        scratch=np.zeros(sources),
        faulty=np.array([faulty], np.int64),
    )


class Excess(NamedTuple):
    """How an attacked run stands against its twin.

    shift: largest ||mean' - mean|| over the certified reviews, reference standard deviations. axis:
    the same for one axis. ratio: largest shift over bound, on an axis or in norm; above 1 the
    certificate is violated. exposure: largest |exposure' - exposure|; exposure_ratio: over its
    bound.
    certificate: largest bound that was given.
    """

    shift: float
    axis: float
    ratio: float
    exposure: float
    exposure_ratio: float
    certificate: float
    exposure_bound: float
    naive: float = 0.0
    axis_ratio: float = 0.0
    outside: float = 0.0


def excess(clean: Run, attacked: Run, from_review: int = 0) -> Excess:
    """Compare the two at every review and frame; only what was certified or sound counts."""
    given = np.array([s not in ("none",) for s in attacked.standing])
    given[:from_review] = False
    moved = np.abs(attacked.mean - clean.mean)[given]
    bound = attacked.bound[given]
    if not len(moved):
        return Excess(0.0, 0.0, 0.0, 0.0, 0.0, math.inf, math.inf)
    norms, bounds = np.linalg.norm(moved, axis=1), np.linalg.norm(bound, axis=1)
    axis_ratio = float((moved / (bound + SLACK)).max())
    apart, over, reach, outside = _exposures(clean, attacked, from_review * REVIEW)
    return Excess(
        shift=float(norms.max()),
        axis=float(moved.max()),
        ratio=max(float((norms / (bounds + SLACK)).max()), axis_ratio),
        exposure=apart,
        exposure_ratio=over,
        certificate=float(bounds.max()),
        exposure_bound=reach,
        naive=float(np.linalg.norm((attacked.naive - clean.naive)[given], axis=1).max()),
        axis_ratio=axis_ratio,
        outside=outside,
    )


def _exposures(clean: Run, attacked: Run, first: int) -> tuple[float, float, float, float]:
    """Largest difference, over its bound, largest bound, furthest outside, from a frame on."""
    ours, theirs = attacked.exposure[first:], clean.exposure[first:]
    both = np.isfinite(ours[:, 0]) & np.isfinite(theirs[:, 0])
    if not both.any():
        return 0.0, 0.0, math.inf, 0.0
    (wanted, low, high), other = ours[both].T, theirs[both, 0]
    apart, bound = np.abs(other - wanted), np.maximum(high - wanted, wanted - low)
    outside = np.maximum(other - high, low - other).max()
    return (
        float(apart.max()),
        float((apart / (bound + SLACK)).max()),
        float(bound.max()),
        max(0.0, float(outside)),
    )


class MarketPanel(NamedTuple):
    """Parameters of a synthetic panel.

    tau: residual noise of each source over the feature's own scale. tail: degrees of freedom of
    Student-t (inf: Gaussian). garch: (alpha, beta) of a common GARCH(1,1) volatility, (0, 0): none.
    offsets: scale of constant differences between sources. outage: chance a second that a source
    goes away for 20 s. memory: correlation of neighbouring frames. jumps: chance a frame of a jump
    by JUMP spreads that half of the sources do not show.
    """

    tau: float = 0.1
    tail: float = math.inf
    garch: tuple[float, float] = (0.0, 0.0)
    offsets: float = 0.0
    outage: float = 0.0
    memory: float = 0.0
    jumps: float = 0.0


def market(shape: MarketPanel, rows: int, sources: int, seed: int) -> Array:
    """A panel of honest sources over a common market, (rows, sources, PANEL_WIDTH)."""
    random = generator(seed, "lab.panel")
    common = _draw(random, (rows, 1, WIDTH), shape.tail)
    noise = shape.tau * _draw(random, (rows, sources, WIDTH), shape.tail)
    keep = shape.memory
    for series in (common, noise):
        for t in range(1, rows):
            series[t] = keep * series[t - 1] + math.sqrt(1.0 - keep * keep) * series[t]
    sigma = _volatility(random, rows, shape.garch)[:, None]
    offset = shape.offsets * random.standard_normal((sources, WIDTH))
    features = common + noise + offset
    panel = np.full((rows, sources, PANEL_WIDTH), np.nan)
    step = 1e-4  # one basis point a second
    panel[:, :, 0] = step * sigma * (common[:, :, 0] + noise[:, :, 0])
    panel[:, :, 1] = np.tanh(0.5 * features[:, :, 1])
    panel[:, :, 2] = 0.1 * step * features[:, :, 2]
    for k in range(3, 7):
        panel[:, :, k] = np.tanh(0.5 * features[:, :, k])
    panel[:, :, 7] = math.log(step) + 0.2 * features[:, :, 7]
    path = np.cumsum(step * sigma * common[:, :, 0], axis=0)
    basis = step * shape.tau * _draw(random, (rows, sources), math.inf)
    panel[:, :, LEVEL] = math.log(50_000.0) + path + basis
    panel[:, :, VOLUME] = np.exp(0.5 * random.standard_normal((rows, sources)))
    if shape.outage > 0.0:
        starts = random.random((rows, sources)) < shape.outage
        for t, s in zip(*np.nonzero(starts), strict=True):
            panel[t : t + 20, s] = np.nan
    if shape.jumps > 0.0:
        chosen = random.random((rows, 1)) < shape.jumps
        sides = np.where(random.random((rows, 1)) < 0.5, -JUMP, JUMP)
        shown = random.random((rows, sources)) < 0.5
        panel[:, :, 2] += 0.1 * step * np.where(chosen & shown, sides, 0.0)
    return panel


def _draw(random: np.random.Generator, size: Sequence[int], tail: float) -> Array:
    """Unit-variance draws, Gaussian or Student-t."""
    if math.isinf(tail):
        return random.standard_normal(size)
    return random.standard_t(tail, size) * math.sqrt((tail - 2.0) / tail)


def _volatility(random: np.random.Generator, rows: int, garch: tuple[float, float]) -> Array:
    """A GARCH(1,1) path of unit mean variance (Bollerslev 1986)."""
    alpha, beta = garch
    if alpha == 0.0:
        return np.ones(rows)
    variance = np.empty(rows)
    variance[0] = 1.0
    shocks = random.standard_normal(rows)
    for t in range(1, rows):
        variance[t] = 1.0 - alpha - beta + (alpha * shocks[t - 1] ** 2 + beta) * variance[t - 1]
    return np.sqrt(variance)
