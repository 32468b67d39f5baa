"""Orchestrator: turns the agents' opinions into intents, seldom and in measure.

It remembers only what it last asked for, and falls back on the positions held once that has
expired; so a fresh one after a restart goes on from the positions alone.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.frames import Regime
from seawall.core.instruments import Catalog, Kind
from seawall.core.intents import Close, Target
from seawall.decision.kernels import Blend, blend_run
from seawall.decision.windows import frame_seconds

STRATEGY = "rules"  # the sub-ledger of what the orchestrator trades
LEAST_EXPIRY = 60 * SECOND


class OrchestratorShape(msgspec.Struct, frozen=True, kw_only=True):
    """How opinions become exposure.

    Attributes:
        cap_fraction: exposure of one instrument at full strength, share of equity.
        deadband: share of the cap that the wanted exposure must move before it is asked for.
        hold: seconds after an intent in which exposure may shrink but not grow or turn.
        expiry: cadences that an intent stays in force, at least 60 s.
        most_age: seconds; an older opinion does not count.
        least_confidence: where no agent is as confident as this, nothing is decided.
        high_volatility, extreme_volatility: scale of exposure in these regimes.
        uncorroborated: scale of exposure where fewer than three sources voted.
    """

    cap_fraction: float = 0.1
    deadband: float = 0.25
    hold: float = 60.0
    expiry: int = 2
    most_age: float = 60.0
    least_confidence: float = 0.5
    high_volatility: float = 0.5
    extreme_volatility: float = 0.25
    uncorroborated: float = 0.5

    def __post_init__(self) -> None:
        shares = (
            self.cap_fraction,
            self.deadband,
            self.least_confidence,
            self.high_volatility,
            self.extreme_volatility,
            self.uncorroborated,
        )
        if not all(0.0 <= share <= 1.0 for share in shares):
            raise SettingError("orchestrator: shares, scales and confidence must lie in [0, 1]")
        if not (self.hold >= 0.0 and self.most_age >= 0.0 and self.expiry >= 1):
            raise SettingError(
                "orchestrator: hold and most_age must be >= 0 s, expiry >= 1 cadence"
            )


class Standing(msgspec.Struct, frozen=True):
    """What was last asked for: numeraire exposure, when (ns UTC), and until when it is in force."""

    exposure: float
    ts: int
    expiry: int


class Orchestrator:
    """Decides each instrument by the opinions on its primary book.

    Args:
        weights: agent → weight >= 0; agents that are not named do not count.
        cadence: ns between two frames of a book that is not made of bars.
        traded: instruments to decide on; None for all.
    """

    def __init__(
        self,
        catalog: Catalog,
        weights: Mapping[str, float],
        cadence: int,
        shape: OrchestratorShape | None = None,
        traded: Collection[str] | None = None,
    ) -> None:
        if not all(math.isfinite(weight) and weight >= 0.0 for weight in weights.values()):
            raise SettingError(f"agents' weights are {dict(weights)}; each must be zero or more")
        self.standing: dict[str, Standing] = {}
        self._shape = shape or OrchestratorShape()
        self._agents = tuple(weights)
        wanted = catalog.primary.keys() if traded is None else traded
        self._primary = {book: name for name, book in catalog.primary.items() if name in wanted}
        self._long_only = {i.name for i in catalog.instruments if i.kind is Kind.SPOT}
        spans = frame_seconds(catalog, cadence) * SECOND * self._shape.expiry
        self._expiry = [max(LEAST_EXPIRY, int(span)) for span in spans]
        regime = np.ones(len(Regime))
        regime[Regime.HIGH_VOL] = self._shape.high_volatility
        regime[Regime.EXTREME_VOL] = self._shape.extreme_volatility
        self._blend = Blend(
            np.array([weights[agent] for agent in self._agents], dtype=np.float64),
            self._shape.most_age,
            self._shape.least_confidence,
            regime,
            self._shape.uncorroborated,
        )

    def strengths(
        self, frames: NDArray[Any], opinions: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        """Wanted exposure of each FRAME row as a share of the cap, in [-1, 1].

        NaN where nothing may be decided: the market cannot be traded on, or nobody is confident.

        Args:
            opinions: agent → OPINION rows, one per frame; an agent that is missing is silent.
        """
        shape = (len(frames), len(self._agents))
        scores, confidences, ages = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for column, agent in enumerate(self._agents):
            if agent in opinions:
                scores[:, column] = opinions[agent]["score"]
                confidences[:, column] = opinions[agent]["confidence"]
                ages[:, column] = opinions[agent]["age"]
        strengths = np.empty(len(frames))
        blend_run(frames, scores, confidences, ages, self._blend, strengths)
        return strengths

    def decide(
        self,
        frames: NDArray[Any],
        opinions: Mapping[str, NDArray[Any]],
        equity: float,
        positions: Mapping[str, float],
        now: int,
        tape: int,
    ) -> list[Target | Close]:
        """Intents at one boundary, in the order of its frames.

        Args:
            frames: FRAME rows of one boundary.
            opinions: agent → OPINION rows, one per frame.
            equity: numeraire; where it is unknown or not positive nothing is decided.
            positions: instrument → signed notional in the numeraire; NaN where unknown.
            now: ns UTC. tape: rows of the tape seen.
        """
        if not 0.0 < equity < math.inf:
            return []
        intents: list[Target | Close] = []
        strengths = self.strengths(frames, opinions).tolist()
        for row, book in enumerate(frames["book"].tolist()):
            name = self._primary.get(book)
            if name is None or math.isnan(strengths[row]):
                continue
            cap = self._shape.cap_fraction * equity
            wanted = self._wanted(name, strengths[row], cap, positions.get(name, 0.0), now)
            if wanted is None:
                continue
            expiry = now + self._expiry[book]
            self.standing[name] = Standing(wanted, now, expiry)
            words = self._rationale(strengths[row], opinions, row)
            intents.append(_intent(name, wanted, now, tape, expiry, words))
        return intents

    def _wanted(
        self, name: str, strength: float, cap: float, held: float, now: int
    ) -> float | None:
        """The exposure to ask for now, None where what stands is good enough."""
        if not math.isfinite(held):
            return None
        wanted = strength * cap
        if name in self._long_only:
            wanted = max(0.0, wanted)
        standing = self.standing.get(name)
        reference = standing.exposure if standing and now < standing.expiry else held
        band = self._shape.deadband * cap
        turns = reference != 0.0 and wanted * reference <= 0.0
        if turns and abs(wanted) <= band:
            wanted = 0.0
        elif not turns and abs(wanted - reference) <= band:
            return None
        grows = abs(wanted) > abs(reference) or (turns and wanted != 0.0)
        if grows and standing and now - standing.ts < self._shape.hold * SECOND:
            return 0.0 if turns else None  # out at once, in again after the hold
        return wanted

    def _rationale(self, strength: float, opinions: Mapping[str, NDArray[Any]], row: int) -> str:
        """Who said what, for people."""
        votes = []
        for agent in self._agents:
            if agent in opinions:
                opinion = opinions[agent][row]
                votes.append(f"{agent} {opinion['score']:+.2f} ({opinion['confidence']:.2f})")
        return f"strength {strength:+.2f}: {', '.join(votes)}"


def _intent(
    name: str, wanted: float, now: int, tape: int, expiry: int, words: str
) -> Target | Close:
    """A Close where nothing is wanted, else a Target."""
    if wanted == 0.0:
        return Close(
            strategy=STRATEGY, ts=now, tape=tape, expiry=expiry, rationale=words, instrument=name
        )
    return Target(
        strategy=STRATEGY,
        ts=now,
        tape=tape,
        expiry=expiry,
        rationale=words,
        instrument=name,
        exposure=wanted,
    )
