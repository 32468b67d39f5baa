"""What a review looks at and what it measures: influence, corroboration, concentration, anchors."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from seawall.core.consensus import LEVEL, WIDTH
from seawall.gating import kernels
from seawall.gating import reference as references
from seawall.gating.corridor import Bounded, Corridor
from seawall.gating.reference import LOOK, TAIL, Reference

Array = NDArray[np.float64]
CLUSTER = 10  # rows that one event can fill: the horizon of a return


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What a review looks at: the group's window, oldest row first, and who is under suspicion.

    panel: (n, sources, PANEL_WIDTH). factor: (n, 3). barred: (n,) bits. ts: (n,). member:
    (sources,).
    accused: source → ns UTC of the first suspicion. doubted: not accused, but under suspicion.
    """

    now: int
    panel: Array
    factor: Array
    barred: NDArray[np.int64]
    ts: NDArray[np.int64]
    member: NDArray[np.uint8]
    vpin: float
    accused: dict[str, int]
    doubted: frozenset[str] = frozenset()


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the last review measured, for people and for the breakers."""

    ts: int = 0
    rows: int = 0
    shift: float = math.nan  # ||location - mean||
    window: Corridor = Corridor(math.nan, (math.nan, math.nan), math.nan)
    limits: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    model: Corridor = Corridor(math.nan, (math.nan, math.nan), math.nan)  # S0's corridor
    anchor_rate: float = math.nan  # share of golden rows beyond the tail
    anchor_surprise: float = math.nan  # -log10 of the binomial test's p
    concentration: float = math.nan  # normalised Herfindahl index
    herfindahl: float = math.nan
    entropy: float = math.nan  # bits
    vpin: float = math.nan
    corroboration: float = math.nan
    naive: tuple[float, ...] = (math.nan,) * WIDTH  # plain mean of all that the sources said


def summarised(
    seen: Review, member: NDArray[np.uint8], reference: Reference
) -> tuple[Bounded, Array, float]:
    """The robust update of a window: its summary, its rows (n, WIDTH), the share with few
    sources.
    """
    banned = sum(1 << slot for slot in range(len(member)) if not member[slot])
    boxed, ends, pair, lacking = references.evaluate(
        seen.panel,
        seen.factor,
        member,
        banned,
        reference.rule,
        reference.usual,
        reference.centre,
        reference.scale,
        seen.barred,
    )
    summary = references.bounded(ends, pair, reference.active)
    return summary, boxed[0], lacking / len(seen.panel)


def corroboration(seen: Review, reference: Reference, location: Array, anchor: Array) -> float:
    """Share of the live sources whose own last rows show the consensus's move from the anchor.

    Half and more: the market has moved. Less: few sources carry the move.
    """
    move = (location - anchor)[reference.active]
    size = float(np.sqrt(move @ move))
    if size < 1e-9:
        return 1.0
    panel = np.ascontiguousarray(seen.panel[-LOOK:])
    own = np.empty((panel.shape[1], WIDTH))
    kernels.own_locations(
        panel, seen.factor[-LOOK:], reference.usual, reference.centre, reference.scale, own
    )
    told = np.isfinite(panel[:, :, LEVEL]).sum(axis=0) >= LOOK // 4
    live = told & np.isfinite(own).all(axis=1)
    if not live.any():
        return 0.0
    along = (own[live] - anchor)[:, reference.active] @ move
    return float((along >= 0.5 * size * size).mean())


def concentration(seen: Review) -> tuple[float, float, float]:
    """Normalised Herfindahl index, raw one, entropy in bits, of the votes of the last rows.

    H* = (sum p^2 - 1/S) / (1 - 1/S) over the S sources that voted (DEFINITIONS 12).
    """
    votes = np.isfinite(seen.panel[-LOOK:, :, LEVEL]).sum(axis=0) * seen.member
    total = float(votes.sum())
    live = int((votes > 0).sum())
    if live < 2:
        return (1.0, 1.0, 0.0) if live else (0.0, 0.0, 0.0)
    shares = votes[votes > 0] / total
    raw = float((shares**2).sum())
    entropy = float(-(shares * np.log2(shares)).sum())
    return (raw - 1.0 / live) / (1.0 - 1.0 / live), raw, entropy


def influences(
    seen: Review,
    reference: Reference,
    sources: Sequence[str],
    member: NDArray[np.uint8],
    location: Array,
) -> dict[str, float]:
    """Source → how far the window's location is from what it would be without that source."""
    found: dict[str, float] = {}
    for slot, name in enumerate(sources):
        if member[slot]:
            kept = member.copy()
            kept[slot] = 0
            found[name] = float(np.linalg.norm(location - located(seen, kept, reference)))
    return found


def located(seen: Review, member: NDArray[np.uint8], reference: Reference) -> Array:
    """The location of the window's consensus of these sources, whoever may vote."""
    rule = msgspec.structs.replace(reference.rule, faulty=0)
    _, ends, _, _ = references.evaluate(
        seen.panel,
        seen.factor,
        member,
        0,
        rule,
        reference.usual,
        reference.centre,
        reference.scale,
    )
    location: Array = ends[0]
    return location


def exceedances(far: Array, tail: float) -> tuple[int, float]:
    """Golden rows beyond the tail, and -log10 of the chance of so many (exact binomial).

    Rows nearer than CLUSTER to the last one beyond belong to the same event, and so many rows make
    one trial. A set too small to show a rate of TAIL is held to one event in all of it.
    """
    places = np.flatnonzero(far > tail)
    events = 1 + int((np.diff(places) > CLUSTER).sum()) if len(places) else 0
    trials = max(1, len(far) // CLUSTER)
    rate = max(TAIL * CLUSTER, 1.0 / trials)
    return len(places), -math.log10(max(_at_least(events, trials, min(1.0, rate)), 1e-300))


def _at_least(events: int, trials: int, rate: float) -> float:
    """The chance of so many in so many trials, to the bit as scipy.stats.binom.sf(events - 1, ...)
    has it, whose import takes longer than all else at a start."""
    if not 0 < events <= trials:
        return float(events <= 0)
    return float(betainc(events, trials - events + 1, rate))


def naive(seen: Review, reference: Reference) -> Array:
    """What a naive model believes: the plain mean of everything that every source said."""
    found = np.empty(WIDTH)
    kernels.plain_mean(seen.panel, seen.factor, reference.centre, reference.scale, found)
    return found
