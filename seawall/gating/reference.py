"""The trusted reference: what a group's consensus and each of its sources look like when all is
well.

It is fitted on a golden set, a window of the panel that somebody vouches for, and everything later
is measured in its units. Limits come from the golden set by the stationary bootstrap (Politis and
Romano 1994), with the closed forms of DEFINITIONS 12 as a floor.
"""

import functools
import hashlib
import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from seawall.core.consensus import FEATURES, LEVEL, PANEL_WIDTH, SCALED, WIDTH
from seawall.core.randomness import generator
from seawall.estimation import Mrcd
from seawall.gating import kernels
from seawall.gating.corridor import Bounded, extent

Array = NDArray[np.float64]
VERSION = 1
LEAST_ROWS = 480  # of a golden set
MOST_ROWS = 10_000
LOOK = 64  # rows over which a source is judged
BOOTSTRAPS = 64
HEADROOM = 1.5  # limits stand this far above the largest honest value seen
TAIL = 1e-4  # of the anchor anomaly
FLOORS = {
    "location": 8.0,
    "spread": 6.0,
    "outside": 0.15,
    "gross": 0.05,
    "level": 8.0,
    "drift": 8.0,
}
UNBOUNDED = np.array([name in ("return", "micro", "spread") for name in FEATURES])
ENOUGH = 50  # windows of a golden set on which a limit can rest
RIDGE = 4.0  # times the golden set's own bound on its covariance
MOST_YOUTH = 4.0
MOST_NOISE = 5.0  # a source that is noisier than so many others has no excuse
MOST_HALFWIDTH = 0.35  # a feature whose location could be moved further than this is not learned
LEVEL_FLOOR = 1e-4  # sources whose prices agree to a basis point are not told apart by price
SPECTRUM_FACTORS = {1: 3.5, 2: 4.6, 3: 5.7, 4: 6.7, 8: 8.7, 16: 11.0, 32: 14.5}  # DEFINITIONS 12


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """The constants of the robust update.

    Attributes:
        faulty: hostile sources that are withstood.
        radius: clipping per axis, reference units; sqrt of the 99 % quantile of chi-square(8).
        c: of Catoni's psi.
    """

    faulty: int = 1
    radius: float = 4.48
    c: float = 2.0

    def array(self) -> Array:
        """[faulty, radius, c], as the kernels take it."""
        return np.array([self.faulty, self.radius, self.c])


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How far clean windows stray, as multiples of the closed forms of DEFINITIONS 12 (>= 1).

    slack: what the sources' own disagreement adds to distance, |log eigenvalue| and KL; the gate
    cannot see finer than that, and the clean run's answer would not be known.
    """

    distance: float = 1.0
    spectrum: float = 1.0
    divergence: float = 1.0
    slack: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def at(self, rows: int, golden: int, width: int) -> tuple[float, float, float]:
        """(D, |log eigenvalue|, KL) limits for a window of `rows` against `golden` rows.

        Wider where the golden set holds few windows of that length: it has not seen the market's
        own changes.
        """
        young = youth(golden / max(rows, 1))
        distance, spectrum, divergence = _closed(rows, golden, max(1, width))
        return (
            young * self.distance * distance + self.slack[0],
            young * self.spectrum * spectrum + self.slack[1],
            young * young * self.divergence * divergence + self.slack[2],
        )


def _chi_squared(degrees: float) -> float:
    """The quantile at 99.9 %; scipy.stats has the same, and takes long to import."""
    return float(2.0 * gammaincinv(degrees / 2.0, 0.999))


@functools.lru_cache(maxsize=4096)
def _closed(rows: int, golden: int, width: int) -> tuple[float, float, float]:
    """The closed forms of DEFINITIONS 12 at 99.9 %."""
    effective = 1.0 / (1.0 / max(rows, 2) + 1.0 / max(golden, 2))
    nearest = min((w for w in SPECTRUM_FACTORS if w >= width), default=32)
    return (
        math.sqrt(_chi_squared(width) / effective),
        SPECTRUM_FACTORS[nearest] / math.sqrt(effective),
        _chi_squared(width * (width + 3) / 2) / (2.0 * effective),
    )


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """The reference of one group, in plain arrays.

    Attributes:
        group: its name. sources: in the order of the panel's slots.
        rows: of the golden set. provisional: taken from a run's own beginning, vouched for by
        nobody. centre, scale: (WIDTH,) of the features (the scaled ones over the volatility
        factor); a
            feature that does not move has scale 0 and is off.
        mean, covariance: location and scatter of the golden set in these units.
        ridge: (WIDTH,) added to both covariances that the market gate compares.
        shape: MRCD covariance in these units. tail: Mahalanobis distance beyond which one golden
            row in 1/TAIL lies. golden: (rows, WIDTH) in these units.
        usual: (sources, PANEL_WIDTH) median residual of each source, in the units of `scaled`.
        noise: (sources, PANEL_WIDTH) how many typical spreads each source's own is, at least 1.
        spread: (PANEL_WIDTH,) typical spread of residuals. weight: (PANEL_WIDTH,) independent
            residuals that stand behind `usual`.
        judged: limits of the tests of authenticity.
    """

    group: str
    sources: tuple[str, ...]
    rows: int
    provisional: bool
    rule: Rule
    centre: Array
    scale: Array
    mean: Array
    covariance: Array
    ridge: Array
    shape: Array
    tail: float
    golden: Array
    usual: Array
    noise: Array
    spread: Array
    weight: Array
    limits: Limits
    judged: dict[str, float]

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which features move."""
        return self.scale > 0.0

    @property
    def name(self) -> str:
        """Twelve hexadecimal digits over its numbers."""
        digest = hashlib.sha256()
        for array in (self.centre, self.scale, self.mean, self.covariance, self.golden):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:12]


def fit(
    group: str,
    sources: tuple[str, ...],
    panel: Array,
    factor: Array,
    rule: Rule,
    provisional: bool,
    seed: int = 0,
) -> Reference:
    """The reference of a golden window.

    Args:
        panel: (n, sources, PANEL_WIDTH); factor: (n, 3), volatility before each row.
    """
    panel, factor = panel[-MOST_ROWS:], factor[-MOST_ROWS:]
    members = np.ones(len(sources), np.uint8)
    usual, noise, spread, weight, judged = _sources(scaled(panel, factor), members)
    centre, scale = _units(panel, factor, members, rule, usual)
    boxed, ends, pair, _ = evaluate(panel, factor, members, 0, rule, usual, centre, scale)
    reach = np.maximum(ends[0] - ends[1], ends[2] - ends[0])
    off = reach > MOST_HALFWIDTH  # the sources do not agree well enough for it to be learned
    scale = np.where(off, 0.0, scale)
    for array in (boxed, ends):
        array[..., off] = 0.0
    golden = boxed[0]
    active = scale > 0.0
    shape = np.eye(WIDTH)
    if active.any():
        shape[np.ix_(active, active)] = Mrcd().fit(golden[:, active]).covariance
    covariance = filled(pair[0], active)
    zeros, none = np.zeros(WIDTH), np.zeros((WIDTH, WIDTH))
    ridge = RIDGE * pair[1].sum(axis=1)
    return Reference(
        group=group,
        sources=sources,
        rows=len(panel),
        provisional=provisional,
        rule=rule,
        centre=centre,
        scale=scale,
        mean=ends[0],
        covariance=covariance,
        ridge=ridge,
        shape=shape,
        tail=_tail(golden, ends[0], shape),
        golden=golden,
        usual=usual,
        noise=noise,
        spread=spread,
        weight=weight,
        limits=_limits(boxed, Bounded(ends[0], zeros, covariance, none), active, ridge, rule, seed),
        judged=judged,
    )


def evaluate(
    panel: Array,
    factor: Array,
    member: NDArray[np.uint8],
    banned: int,
    rule: Rule,
    usual: Array,
    centre: Array,
    scale: Array,
    barred: NDArray[np.int64] | None = None,
) -> tuple[Array, Array, Array, int]:
    """The robust update: boxed (3, n, WIDTH), ends (3, WIDTH), pair (2, WIDTH, WIDTH), and how many
    rows had too few sources; see `kernels.update`."""
    n = len(panel)
    boxed = np.empty((3, n, WIDTH))
    ends = np.empty((3, WIDTH))
    pair = np.empty((2, WIDTH, WIDTH))
    if barred is None:
        barred = np.zeros(n, np.int64)
    short = kernels.update(
        panel,
        factor,
        barred,
        member,
        banned,
        rule.array(),
        usual,
        centre,
        scale,
        boxed,
        ends,
        pair,
    )
    return boxed, ends, pair, short


def _units(
    panel: Array, factor: Array, members: NDArray[np.uint8], rule: Rule, usual: Array
) -> tuple[Array, Array]:
    """Median and 1.4826 MAD of each feature's consensus; 1.2533 x mean deviation where MAD is 0."""
    wide = Rule(faulty=rule.faulty, radius=1e300)
    zeros, ones = np.zeros(WIDTH), np.ones(WIDTH)
    boxed, _, _, _ = evaluate(panel, factor, members, 0, wide, usual, zeros, ones)
    values = boxed[0]
    centre: Array = np.median(values, axis=0)
    away = np.abs(values - centre)
    scale: Array = 1.482602218505602 * np.median(away, axis=0)
    scale = np.where(scale > 0.0, scale, 1.2533141373155003 * away.mean(axis=0))
    return centre, np.where(scale > 1e-12, scale, 0.0)


def filled(covariance: Array, active: NDArray[np.bool_]) -> Array:
    """The covariance with ones for the features that are off, so that it can be inverted."""
    filled = covariance.copy()
    filled[~active] = 0.0
    filled[:, ~active] = 0.0
    filled[~active, ~active] = 1.0
    return filled


def _limits(
    boxed: Array,
    golden: Bounded,
    active: NDArray[np.bool_],
    ridge: Array,
    rule: Rule,
    seed: int,
) -> Limits:
    """What windows drawn from the golden set reach, against the closed forms, and their slack."""
    n, width = boxed.shape[1], int(active.sum())
    if not width:
        return Limits()
    length = max(LOOK, n // 2)
    young = youth(n / length)
    closed = Limits().at(length, n, width)
    closed = (closed[0] / young, closed[1] / young, closed[2] / young**2)
    block = max(8.0, n ** (1.0 / 3.0))
    worst, slack = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    for draw in range(BOOTSTRAPS):
        random = generator(seed, "gating.bootstrap", draw)
        drawn = np.ascontiguousarray(boxed[:, _stationary(random, n, length, block)])
        ends, pair = np.empty((3, WIDTH)), np.empty((2, WIDTH, WIDTH))
        kernels.summarise(drawn, rule.c, ends, pair)
        found, _, greatest = extent(bounded(ends, pair, active), golden, active, ridge)
        worst = [max(w, r / c) for w, r, c in zip(worst, found.triple, closed, strict=True)]
        apart = [g - r for g, r in zip(greatest, found.triple, strict=True)]
        slack = [max(s, HEADROOM * a) for s, a in zip(slack, apart, strict=True)]
    grown = [w * HEADROOM if w > 1.0 else 1.0 for w in worst]
    return Limits(
        distance=grown[0],
        spectrum=grown[1],
        divergence=grown[2],
        slack=(slack[0], slack[1], slack[2]),
    )


def bounded(ends: Array, pair: Array, active: NDArray[np.bool_]) -> Bounded:
    """The results of the robust update as a location and a scatter with their bounds."""
    reach = np.maximum(ends[0] - ends[1], ends[2] - ends[0])
    return Bounded(ends[0], reach, filled(pair[0], active), pair[1])


def _stationary(
    random: np.random.Generator, n: int, length: int, block: float
) -> NDArray[np.int64]:
    """Rows of one draw of the stationary bootstrap: blocks of geometric length, wrapped around."""
    starts = random.integers(0, n, length)
    fresh = random.random(length) < 1.0 / block
    fresh[0] = True
    rows = np.empty(length, np.int64)
    for i in range(length):
        rows[i] = starts[i] if fresh[i] else (rows[i - 1] + 1) % n
    return rows


def distances(rows: Array, mean: Array, covariance: Array) -> Array:
    """Mahalanobis distances of (n, WIDTH) rows."""
    lower = np.linalg.cholesky(covariance)
    found: Array = np.sqrt(np.sum(np.linalg.solve(lower, (rows - mean).T) ** 2, axis=0))
    return found


def _tail(golden: Array, mean: Array, shape: Array) -> float:
    """Distance that a share TAIL of golden rows exceeds: generalised Pareto over the top tenth.

    Pickands 1975; never below the largest distance seen.
    """
    far = np.sort(distances(golden, mean, shape))
    start = far[int(0.9 * len(far))]
    beyond = far[far > start] - start
    most = float(far[-1])
    if len(beyond) < 10 or beyond.max() <= 0.0:
        return most
    mean_excess, variance = float(beyond.mean()), float(beyond.var())
    xi = 0.5 * (1.0 - mean_excess**2 / variance) if variance > 0.0 else 0.0  # by moments
    xi = min(0.5, max(-0.5, xi))
    beta = mean_excess * (1.0 - xi)
    share = len(beyond) / len(far)
    grown = (share / TAIL) ** xi
    reach = beta * math.log(share / TAIL) if abs(xi) < 1e-6 else beta * (grown - 1.0) / xi
    return max(most, float(start) + reach)


# --- sources ---


def scaled(panel: Array, factor: Array) -> Array:
    """The panel with its first SCALED features over the volatility factor (n, 3) of each row."""
    found = panel.copy()
    found[:, :, :SCALED] /= np.maximum(factor[:, None, :1], kernels.LEAST_FACTOR)
    return found


class Found(msgspec.Struct, frozen=True):
    """Residuals of each source against the others: `numbers` (5, sources, PANEL_WIDTH), see
    `kernels.compare`; `counts` (sources, PANEL_WIDTH)."""

    numbers: Array
    counts: NDArray[np.int64]


def compare(
    panel: Array,
    member: NDArray[np.uint8],
    judged: NDArray[np.uint8],
    usual: Array,
    noise: Array,
) -> Found:
    """The residuals of the judged sources in a window against the median of the voting others."""
    numbers = np.empty((5, panel.shape[1], PANEL_WIDTH))
    counts = np.empty((panel.shape[1], PANEL_WIDTH), np.int64)
    kernels.compare(panel, member, judged, usual, noise, numbers, counts)
    return Found(numbers, counts)


def _sources(
    panel: Array, members: NDArray[np.uint8]
) -> tuple[Array, Array, Array, Array, dict[str, float]]:
    """What is usual for each source, and limits from the golden set's own stretches of LOOK
    rows.
    """
    slots = panel.shape[1]
    zeros = np.zeros((slots, PANEL_WIDTH))
    if slots < 3:
        ones = np.ones((slots, PANEL_WIDTH))
        return zeros, ones, np.zeros(PANEL_WIDTH), ones[0], dict(FLOORS)
    whole = compare(panel, members, members, zeros, zeros + 1.0)
    usual = np.nan_to_num(whole.numbers[0])
    own = whole.numbers[1]
    spread = np.array([finite_median(own[:, column]) for column in range(PANEL_WIDTH)])
    noise = np.nan_to_num(own / np.where(spread > 0.0, spread, np.inf))
    noise = np.clip(noise, 1.0, MOST_NOISE)
    free = np.empty((slots, PANEL_WIDTH))
    kernels.independent(whole.counts, whole.numbers[3], free)
    weight = np.array([finite_median(free[:, column]) for column in range(PANEL_WIDTH)])
    worst = dict.fromkeys(FLOORS, 0.0)
    stretches = range(0, len(panel) - LOOK + 1, LOOK // 2)
    for start in stretches:
        found = compare(panel[start : start + LOOK], members, members, usual, noise)
        for name, values in scores(found, usual, noise, spread, weight, members).items():
            worst[name] = max(worst[name], float(values.max()))
    return usual, noise, spread, weight, {k: max(FLOORS[k], HEADROOM * worst[k]) for k in FLOORS}


def youth(windows: float) -> float:
    """How much wider a limit stands that rests on fewer than ENOUGH windows of a golden set."""
    return min(MOST_YOUTH, max(1.0, math.sqrt(ENOUGH / max(windows, 1e-9))))


def scores(
    found: Found,
    usual: Array,
    noise: Array,
    spread: Array,
    weight: Array,
    member: NDArray[np.uint8],
) -> dict[str, Array]:
    """Test statistics of each source, (sources, features); "level" (sources, 1).

    location: |median residual - usual| in standard errors of two medians, 1.2533 s / sqrt(n) each,
    with s the larger of the source's own spread and what is usual for it, and n reduced to the
    independent ones. spread: spread of the residuals over what is usual. outside: share of
    residuals far from the usual, beyond what the others show, of the features that have no bounds
    of their own. gross: share of those that are absurd. level: the distance of the price, over the
    larger of the sources' own dispersion and LEVEL_FLOOR.
    """
    tests = np.empty((5, len(usual), PANEL_WIDTH))
    kernels.score(
        found.numbers,
        found.counts,
        usual,
        noise,
        spread,
        weight,
        member,
        LOOK // 4,
        LEVEL_FLOOR,
        tests,
    )
    return {
        "location": tests[0, :, :WIDTH],
        "spread": tests[1, :, :WIDTH],
        "outside": np.where(UNBOUNDED, tests[2, :, :WIDTH], 0.0),
        "gross": np.where(UNBOUNDED, tests[4, :, :WIDTH], 0.0),
        "level": tests[3, :, LEVEL : LEVEL + 1],
    }


def finite_median(values: Array) -> float:
    """Median of the finite values, 0 where there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else 0.0


def describe(reference: Reference) -> dict[str, Any]:
    """Its figures, for people."""
    return {
        "name": reference.name,
        "group": reference.group,
        "rows": reference.rows,
        "provisional": reference.provisional,
        "sources": list(reference.sources),
        "features": [f for f, on in zip(FEATURES, reference.active, strict=True) if on],
    }
